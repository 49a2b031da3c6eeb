"""What is printed of stored runs holds no secret: a terminal's text ends in an issue, a notebook in a repository."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from builders import batch
from reported import CAROL, HOSTILE, PLANTED, SECRETS, fill
from typer.testing import Result

import openrlb
from openrlb.store import Store

Cli = Callable[..., Result]
RUN = "ppo-Hopper-v4-1"


@pytest.fixture(autouse=True)
def planted(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    fill(store)
    odd = {"wandb_api_key": "planted-password", "hub": {"token": "planted-hub-token"}, "host": "a-machine", "lr": 0.5}
    one = batch("odd", env="Hopper-v4", algo="ppo", seed=5, config=odd, location="/home/alice/logs")
    store.write([replace(one, run=replace(one.run, name="run of carol@example.org"))])
    store.fold()
    return store


def found(text: str) -> list[str]:
    return [secret for secret in PLANTED if secret in text]


PRINTED = (
    ("list",), ("list", "--json"), ("list", "--format", "table", "--curve"), ("list", "--format", "csv"),
    ("list", "--group-by", "config.wandb_api_key,config.logs,tags", "--json"),
    *(("show", run, *form) for run in (RUN, "odd") for form in (("--json",), ("--format", "table"), ("--format", "tsv"))),
    ("plot", "--table", "--json", "--resamples", 100), ("plot", "--resamples", 100, "--table"),
    ("power", "ppo", "--env", "Hopper", "--by", "algo", "--margin", 10, "--json"),
)  # fmt: skip


def test_no_verb_prints_a_secret(cli: Cli) -> None:
    for words in PRINTED:
        done = cli(*words)
        assert done.exit_code == 0, (words, done.stderr)
        assert found(done.stdout + done.stderr) == [], words


def test_an_error_that_names_groups_by_their_settings_holds_none(cli: Cli) -> None:
    done = cli("compare", "ppo", HOSTILE, "--env", "Hopper", "--resamples", 100)
    assert done.exit_code == 2 and "means 3 groups" in done.stderr and found(done.stderr) == []


@pytest.mark.parametrize(
    "words", [("list", "--tag", "nothing"), ("--debug", "list", "--tag", CAROL[:-1]), ("--debug", "plot", "--tag", "x")]
)
def test_an_error_that_says_what_is_known_holds_none(cli: Cli, words: tuple[str, ...]) -> None:
    done = cli(*words)
    assert done.exit_code == 3 and "known are" in done.stderr and "[e-mail]" in done.stderr
    assert found(done.stderr) == []


def test_show_says_what_it_hides_and_query_has_it(cli: Cli) -> None:
    shown = json.loads(cli("show", "odd", "--json").stdout)
    assert shown["config"] == {"wandb_api_key": "[secret]", "hub": {"token": "[secret]"}, "host": "[personal]", "lr": 0.5}
    told = "not shown: config.host, config.hub.token, config.wandb_api_key, location, name; openrlb query prints what is stored"
    assert shown["notes"][-1] == told
    asked = cli("query", "SELECT value FROM params WHERE run = 'odd' AND key = 'wandb_api_key'")
    assert "planted-password" in asked.stdout
    assert cli("show", "run of [e-mail]").exit_code == 0, "a run is found by what list printed"


def test_a_notebook_shows_none_and_the_values_have_them() -> None:
    details, runs = openrlb.show("odd"), openrlb.runs()
    asked = openrlb.query("SELECT name, config FROM runs")
    plotted = openrlb.plot(options=openrlb.PlotOptions(resamples=100))
    for one in (details, runs, plotted, openrlb.show(RUN)):
        assert found(one._repr_html_() + repr(one)) == []
    assert details.row.record.config["wandb_api_key"] == "planted-password"
    assert "run of carol@example.org" in runs.to_polars()["name"].to_list()
    assert "planted-password" in str(asked.to_polars()["config"].to_list())
    assert not list(Path().iterdir())
