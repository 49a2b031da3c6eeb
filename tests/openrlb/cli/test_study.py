"""``openrlb study`` and ``run --from``: what a finished study and an unfinished one say, and how to train with them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import Result

from openrlb.api.study import Incumbent, incumbent, progress_of
from openrlb.api.study_report import tune_command
from openrlb.cli.tune_progress import describe_study
from openrlb.store import Store
from openrlb_hpo.ledger import open_ledger
from openrlb_hpo.records import StudySettings

Cli = Callable[..., Result]
SPACE = """
[walk]
rate = { uniform = [0.1, 2.0] }
act = { choices = ["none", "talk"] }
at = { integers = [0, 40], when = { act = "talk" } }
"""


@pytest.fixture
def study(cli: Cli, fake: Path) -> str:
    """The name of a finished study."""
    Path("space.toml").write_text(SPACE)
    words = ("--env", "Line-v0", "--steps", 50, "--space", "space.toml", "--budget", 4, "--tuning-seeds", 1, "--confirm", 0)
    result = cli("tune", "walk", *words, "--test-seeds", 3, "--set", "net.act=tanh", "--json")
    assert result.exit_code == 0, result.stderr
    return str(json.loads(result.stdout)["study"])


def test_a_finished_study_is_listed_shown_reported_exported_and_trained_further(cli: Cli, study: str, tmp_path: Path) -> None:
    (row,) = json.loads(cli("study", "list", "--json").stdout)
    assert (row["study"], row["phase"], row["spent"], row["configurations"]) == (study, "finished", 4, 4)
    shown = cli("study", "show", study[:12], "--margin", 1000, "--json")
    assert shown.exit_code == 0, shown.stderr
    found = json.loads(shown.stdout)
    assert found["verdict"] == "equivalent" and found["test"]["incumbent"]["score"] == pytest.approx(row["test_score"])
    assert cli("study", "show", study).stdout.startswith("tuned ")
    for name, words in (
        ("r.html", (study, "content-security-policy", "incumbent")),
        ("c.md", ("# Reproducibility",)),
        ("c.tex", ("enumerate",)),
    ):
        written = cli("study", "report", study, "-o", tmp_path / name)
        assert written.exit_code == 0, written.stderr
        text = (tmp_path / name).read_text().lower()
        assert all(word.lower() in text for word in words)
    exported = cli("study", "export", study, "-o", tmp_path / "tuned.toml")
    assert exported.exit_code == 0, exported.stderr
    command = shlex.split(cli("study", "export", study, "--seeds", 2).stdout)
    ways = [
        cli(*command[1:], "--json"),
        cli("run", "walk", "--env", "Line-v0", "--hyperparameters", tmp_path / "tuned.toml", "--seeds", 2, "--json"),
        cli("run", "--from", study, "--seeds", 3, "--json"),
    ]
    runs = [[(run["run"], run["seed"], run["trained"]) for run in json.loads(way.stdout)["runs"]] for way in ways]
    assert [trained for *_, trained in runs[0]] == [True, True]
    assert [one[:2] for one in runs[1]] == [one[:2] for one in runs[0]] == [one[:2] for one in runs[2][:2]]
    last = next(row.record for row in Store().runs() if row.record.run == runs[2][2][0])
    assert (last.role, last.seed, last.tags) == ("none", 3, (f"study:{study}",))
    assert f"hyperparameters: the incumbent of the study {study}" in ways[2].stderr
    for flag in (("--set", "rate=1"), ("--impl", "fake"), ("--hyperparameters", "library")):
        refused = cli("run", "--from", study, *flag)
        assert refused.exit_code == 2 and "the study has decided it" in refused.stderr
    with open_ledger(f"sqlite:///{Store().layout.root / 'hpo.db'}") as ledger:
        record = ledger.read(study)
    told = tune_command(record)
    assert (
        told.startswith("openrlb tune walk --impl fake --env Line-v0 --budget 4 --steps 50")
        and "--set 'net.act=\"tanh\"'" in told
    )
    assert describe_study(progress_of(record, 1)).startswith(
        "finished: 4 of 4 runs spent, 6 of 6 test runs over, 4 configurations"
    )


def test_an_unfinished_study_says_so_and_exports_nothing(cli: Cli, fake: Path) -> None:
    assert cli("study", "list").exit_code == cli("study", "show", "x").exit_code == 3
    assert not Store().layout.root.exists()  # looking makes nothing
    settings = StudySettings(
        "walk", "fake", "s", "l", ("Line-v0",), 50, {"name": "n", "algo": "walk", "parameters": {}}, "n", "d"
    )
    with open_ledger(f"sqlite:///{Store().layout.root / 'hpo.db'}") as ledger:
        ledger.begin(settings, 30)
        ledger.begin(replace(settings, study_seed=1), 30)
    assert [row["phase"] for row in json.loads(cli("study", "list", "--json").stdout)] == ["tuning", "tuning"]
    shown = cli("study", "show", settings.name)
    assert shown.exit_code == 0 and shown.stdout.startswith("no result yet")
    ambiguous = cli("study", "show", "walk")
    assert ambiguous.exit_code == 2 and "several studies" in ambiguous.stderr
    for words in (("study", "export", settings.name), ("run", "--from", settings.name)):
        refused = cli(*words)
        assert refused.exit_code == 2 and "has no incumbent yet" in refused.stderr
    assert cli("study", "report", settings.name, "-o", "x.pdf").exit_code == 2


def test_what_toml_cannot_say_is_named() -> None:
    found = Incumbent(
        "s", "ppo", "sb3", ("A-v1",), 10, {"clip": None, "net": {"a": 1, "b": None}, "lr": 1e-5}, {}, None, 1, "cpu"
    )
    import tomllib

    text = found.to_toml()
    assert tomllib.loads(text) == {"ppo": {"A-v1": {"steps": 10, "net": {"a": 1}, "lr": 1e-5}}}
    assert "--set clip=null" in text and "--set net.b=null" in text
    assert "--set clip=null" in found.command() and "--set net.b=null" in found.command()


def test_the_incumbent_for_notebooks(study: str) -> None:
    found = incumbent(study)
    assert (
        found.algo == "walk" and 0.1 <= found.hyperparameters["rate"] <= 2.0 and found.hyperparameters["net"] == {"act": "tanh"}
    )
