"""``openrlb study`` and ``run --from``: what a finished study and an unfinished one say, and how to train with them."""

from __future__ import annotations

import json
import shlex
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hpo.study_builder import StudyBuilder
from studied import Studied
from typer.testing import Result

from openrlb.api.study import Incumbent, check_random, incumbent, progress_of
from openrlb.api.study_command import input_files, tune_command, write_inputs
from openrlb.cli.app import Talk
from openrlb.cli.tune_progress import StudyLines, describe_study
from openrlb.errors import UsageError
from openrlb.store import Store
from openrlb_hpo.ledger import open_ledger
from openrlb_hpo.records import StudyRecord, StudySettings
from openrlb_hpo.result_words import random_words
from openrlb_runners.progress import Progress
from openrlb_runners.worker import Event

Cli = Callable[..., Result]


def ledger_record(name: str) -> StudyRecord:
    with open_ledger(f"sqlite:///{Store().layout.root / 'hpo.db'}") as ledger:
        return ledger.read(name)


def test_a_finished_study_is_listed_shown_reported_and_compared(cli: Cli, studied: Studied, tmp_path: Path) -> None:
    study = studied.name
    (row,) = json.loads(cli("study", "list", "--json").stdout)
    assert (row["study"], row["phase"], row["running"], row["spent"]) == (study, "finished", False, 8)
    shown = cli("study", "show", study[:12], "--margin", 1000, "--json")
    assert shown.exit_code == 0, shown.stderr
    found = json.loads(shown.stdout)
    assert found["verdict"] == "equivalent" and found["test"]["incumbent"]["score"] == pytest.approx(row["test_score"])
    told = cli("study", "show", study)
    assert told.stdout.startswith("tuned ") and f"{study}: finished: 8 of 8 runs spent, 9 of 9 test runs over" in told.stderr
    commands = dict(line.split(": ", 1) for line in told.stderr.splitlines() if ": openrlb " in line)
    assert set(commands) == {"compare", "plot", "report", "train more seeds"}
    compared = cli(*shlex.split(commands["compare"])[1:], "--json")
    assert compared.exit_code == 0, compared.stderr
    scores = {name: one["score"] for name, one in found["test"]["baselines"].items()}
    labels = [f"walk tuned (study {study})", "walk default", "walk mine"]
    answer = json.loads(compared.stdout)
    assert [group["label"] for group in answer["groups"]] == labels and answer["excluded"] == []
    values = dict(zip(labels, [found["test"]["incumbent"]["score"], scores["default"], scores["mine"]], strict=True))
    for pair in answer["comparisons"]:  # what the study has found, from the same runs
        assert pair["difference"] == pytest.approx(values[pair["first"]] - values[pair["second"]])
    plotted = cli(*shlex.split(commands["plot"])[1:], "--json")
    assert {group["label"]: group["value"] for group in json.loads(plotted.stdout)["groups"]} == pytest.approx(values)
    for short in (("tuned", "default"), (study, "walk default"), ("walk tuned", "walk mine")):
        assert cli("compare", *short, "--by", "study").exit_code == 0, short


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE reservations SET score = score + 500 WHERE role = 'test' AND configuration = 'trial:%d'", "a score of"),
        ("UPDATE openrlb_trials SET hyperparameters = '{\"rate\": 0.123}' WHERE number = %d", "other hyperparameters"),
    ],
)
def test_made_up_scores_and_hyperparameters_are_no_result(cli: Cli, studied: Studied, change: str, told: str) -> None:
    chosen = ledger_record(studied.name).incumbent
    with closing(sqlite3.connect(Store().layout.root / "hpo.db", isolation_level=None)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute(change % chosen)
    for words in (("study", "show"), ("study", "export"), ("run", "--dry-run", "--from")):
        refused = cli(*words, studied.name)
        assert refused.exit_code == 2 and told in " ".join(refused.stderr.split()), refused.stderr
    (row,) = json.loads(cli("study", "list", "--json").stdout)
    assert row["phase"] == "broken" and row["test_score"] is None


def test_a_report_is_text_unless_a_file_is_named(cli: Cli, studied: Studied, tmp_path: Path) -> None:
    study, before = studied.name, set(Path.cwd().iterdir())
    told = cli("study", "report", study)
    assert told.exit_code == 0 and told.stdout == cli("study", "show", study).stdout and set(Path.cwd().iterdir()) == before
    for name, words in (
        ("r.html", (study, "content-security-policy", "incumbent")),
        ("c.md", ("# Reproducibility", "--inputs . writes space-small.toml, mine.toml")),
        ("c.tex", ("enumerate",)),
    ):
        written = cli("study", "report", study, "-o", tmp_path / name)
        assert written.exit_code == 0, written.stderr
        text = (tmp_path / name).read_text().lower().replace("\\", "")
        assert all(word.lower() in text for word in words), name


def test_an_incumbent_is_exported_and_trained_further(cli: Cli, studied: Studied, tmp_path: Path) -> None:
    study = studied.name
    exported = cli("study", "export", study, "-o", tmp_path / "tuned.toml")
    assert exported.exit_code == 0, exported.stderr
    command = shlex.split(cli("study", "export", study, "--seeds", 1).stdout)
    ways = [
        cli(*command[1:], "--json"),
        cli("run", "walk", "--env", "Line-v0", "--hyperparameters", tmp_path / "tuned.toml", "--seeds", 1, "--json"),
        cli("run", "--from", study, "--seeds", 2, "--json"),
    ]
    runs = [[(run["run"], run["seed"], run["trained"]) for run in json.loads(way.stdout)["runs"]] for way in ways]
    assert [trained for *_, trained in runs[0]] == [True]
    assert [one[:2] for one in runs[1]] == [one[:2] for one in runs[0]] == [one[:2] for one in runs[2][:1]]
    last = next(row.record for row in Store().runs() if row.record.run == runs[2][1][0])
    assert (last.role, last.seed, last.tags) == ("none", 2, (f"study:{study}",))
    assert f"hyperparameters: the incumbent of the study {study}" in ways[2].stderr
    for flag in (("--set", "rate=1"), ("--impl", "fake"), ("--hyperparameters", "library")):
        refused = cli("run", "--from", study, *flag)
        assert refused.exit_code == 2 and "the study has decided it" in refused.stderr
    found = incumbent(study)
    assert found.algo == "walk" and 0.1 <= found.hyperparameters["rate"] <= 2.0
    assert found.hyperparameters["net"]["act"] == "tanh"


def test_the_command_of_a_study_typed_again_is_the_same_study(cli: Cli, studied: Studied) -> None:
    """Its space and a baseline were files, which lie somewhere else now."""
    exported = cli("study", "export", studied.name, "--inputs", "again")
    assert exported.exit_code == 0, exported.stderr
    assert {path.name for path in Path("again").iterdir()} == {"space-small.toml", "mine.toml"}
    plan = json.loads(cli(*shlex.split(exported.stdout)[1:], "--dry-run", "--json").stdout)
    assert (plan["study"], plan["state"], plan["time"]["runs"]) == (studied.name, "finished", 0)
    Path("again/mine.toml").write_text("other")
    assert "another file of that name is there" in cli("study", "export", studied.name, "--inputs", "again").stderr


@pytest.mark.parametrize(
    "words",
    [
        "--space space.toml",
        "--space space.toml --tuning-seeds 1 --confirm 0 --test-seeds 4 --method qmc --objective at:20 --racing 3 --study-seed 7",
        "--space space.toml --set act=talk --set pause=0.5 --threads 2 --eval-every 10 --eval-episodes 3",
        "--space space.toml --fresh-test-seeds --baseline mine.toml --env-set length=3",
        "--space space.toml --env Line-v1 --normalize ends.toml --method random --objective auc --confirm 1",
    ],
)
def test_every_flag_of_a_study_is_in_its_command(cli: Cli, fake: Path, whole_study: Studied, words: str, tmp_path: Path) -> None:
    for name, text in whole_study.files.items():
        Path(name).write_text(text)
    Path("ends.toml").write_text('name = "my ends"\n[scores]\n"Line-v0" = [0, 10]\n"Line-v1" = [-1.5, 20]\n')
    first = cli(*shlex.split(f"tune walk --env Line-v0 --steps 50 --budget 20 {words}"), "--dry-run", "--json")
    assert first.exit_code == 0, first.stderr
    plan = json.loads(first.stdout)
    record = StudyRecord(StudySettings.from_json(plan["settings"]), plan["budget"], "now")
    write_inputs(record, tmp_path)
    again = cli(*shlex.split(tune_command(record, str(tmp_path)))[1:], "--dry-run", "--json")
    assert again.exit_code == 0, again.stderr
    told = json.loads(again.stdout)
    assert told["settings"] == plan["settings"] and told["study"] == plan["study"] == record.settings.name


def test_a_packaged_space_and_table_are_named_and_not_written() -> None:
    from openrlb_hpo.space import load_space

    space = load_space("zoo", "ppo")
    known = {"space": space.to_json(), "space_name": "zoo", "space_digest": space.digest}
    scale = {"CartPole-v1": (0.0, 500.0), "Acrobot-v1": (-500.0, 0.0)}
    record = StudyBuilder(envs=tuple(scale), scale=scale, normalization="classic-control v1", **known).record()
    assert input_files(record) == {} and "--space zoo" in tune_command(record)
    assert "--normalize classic-control" in tune_command(record)
    other = StudyBuilder(**{**known, "space_digest": "of an older zoo"}).record()
    assert list(input_files(other)) == ["space-zoo.toml"] and "--space x/space-zoo.toml" in tune_command(other, "x")


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


def test_names_of_studies_are_whole_on_a_narrow_terminal(cli: Cli, studied: Studied, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    listed = cli("study", "list", "--format", "table")
    assert studied.name in listed.stdout and "finished" in listed.stdout and max(map(len, listed.stdout.splitlines())) <= 60
    assert "too narrow for" in listed.stderr


def test_only_a_random_search_of_the_same_settings_stands_beside_a_study() -> None:
    def record(budget: int = 60, **changed: Any) -> StudyRecord:
        return StudyBuilder(budget=budget, **changed).record()

    mine = record()
    check_random(mine, record(method="random", study_seed=3))
    for unlike, word in (
        (record(), "no random search"),
        (record(method="random", steps=10), "--steps"),
        (record(method="random", envs=("Acrobot-v1",)), "--env"),
        (record(method="random", space_digest="e"), "--space"),
        (record(method="random", eta=1), "--racing"),
        (record(method="random", objective="auc"), "--objective"),
        (record(method="random", tuning_seeds=1), "--tuning-seeds"),
        (record(method="random", fixed={"gamma": 0.5}), "--set"),
    ):
        with pytest.raises(UsageError, match=word):
            check_random(mine, unlike)
    assert random_words(mine, record(method="random")).endswith(") with the same budget and test seeds")
    assert random_words(mine, record(30, method="random")).endswith(") with the same test seeds and a budget of 30 runs, not 60")
    assert random_words(mine, record(method="random", test_block=1)).endswith(") with the same budget and other test seeds")


def test_what_toml_cannot_say_is_named() -> None:
    found = Incumbent(
        "s", "ppo", "sb3", ("A-v1",), 10, {"clip": None, "net": {"a": 1, "b": None}, "lr": 1e-5}, {}, None, 1, "cpu"
    )
    import tomllib

    text = found.to_toml()
    assert tomllib.loads(text) == {"ppo": {"A-v1": {"steps": 10, "net": {"a": 1}, "lr": 1e-5}}}
    assert "--set clip=null" in text and "--set net.b=null" in text
    assert "--set clip=null" in found.command() and "--set net.b=null" in found.command()


def test_how_far_a_study_is_and_how_long_it_takes() -> None:
    builder = StudyBuilder(budget=30, test_seeds=2, confirm=1).trial([1.0, 2.0, 3.0]).trial([1.0])
    tuning = progress_of(builder.record(), 2)
    assert (tuning.runs_left, tuning.seconds_left) == (30 - 4 + 4, 30 * 36.0 / 2)  # each run of the builder took 36 s
    assert describe_study(tuning).endswith("best so far trial 0 at 2 (tuning, optimistic), about 9 min 0 s left")
    first = StudyBuilder(budget=30).trial([1.0, 2.0, 3.0], origin="default")
    assert ", at least " in describe_study(progress_of(first.record(), 2))  # sampled configurations often train slower
    stopped = describe_study(tuning, stopped=True)
    assert stopped.startswith("tuning (stopped): 4 of 30") and stopped.endswith(", the same openrlb tune command goes on")
    testing = progress_of(builder.test(0, [1.0], default=[2.0]).record(), 1)
    assert (testing.phase, testing.runs_left) == ("testing", 2)  # what is left of the budget is not spent any more
    over = StudyBuilder(test_seeds=1).trial([1.0] * 3).test(0, [1.0], default=[1.0])
    assert "left" not in describe_study(progress_of(over.record(), 1))
    broken = StudyBuilder(budget=3)
    for _ in range(10):
        broken.trial([], state="failed")
    assert describe_study(progress_of(broken.record(), 1), stopped=True).endswith("it is over and has no result")


def test_the_first_run_tells_how_long_a_study_takes() -> None:
    class Heard(Talk):
        def say(self, text: str) -> None:
            said.append(text)

    said: list[str] = []
    view = StudyLines(Heard())
    view.study.workers = 2
    view.step(StudyBuilder(budget=40, test_seeds=5).record())
    assert said[-1].endswith("time left unknown")
    for step, pace in ((1_000, 500.0), (5_000, None), (5_000, 500.0), (9_000, 100.0)):
        view.take(Event("progress", progress=Progress(step, 50_000, None, pace, None)))
    assert len(said) == 2 and said[-1].endswith(
        "about 42 min 30 s left at the first run's speed"
    )  # 50 runs of 102 s, two at a time
