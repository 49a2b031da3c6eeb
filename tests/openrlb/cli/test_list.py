"""``openrlb list``: sorted, grouped, since when, on a narrow terminal and through a pipe."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from builders import EPISODES, batch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import Result

import openrlb
from openrlb.api.sorting import sorted_by
from openrlb.store import Store
from openrlb.types import MetricBatch, RunBatch

Cli = Callable[..., Result]


def stored(*batches: RunBatch) -> Store:
    store = Store()
    store.write(batches)
    store.fold()
    return store


def ids(done: Result) -> list[str]:
    assert done.exit_code == 0, done.stderr
    return [row["run"] for row in json.loads(done.stdout)]


def only_episodes(name: str, offset: float = 0.0, **fields: object) -> RunBatch:
    """A run that logged raw episodes and no evaluation."""
    whole = batch(name, offset=offset, **fields)  # type: ignore[arg-type]
    steps, values = whole.metrics[0].steps, whole.metrics[0].values
    return replace(whole, metrics=(MetricBatch(EPISODES, steps, values),))


def test_sorted_by_columns_scores_and_settings_each_in_its_own_direction(cli: Cli) -> None:
    rates = {"a": 0.1, "b": 0.001, "c": 10.0, "d": None}
    stored(
        *(
            batch(name, seed=seed, offset=10.0 * seed, points=0 if name == "d" else 50, config={"rate": rate} if rate else {})
            for seed, (name, rate) in enumerate(rates.items())
        )
    )
    assert ids(cli("list", "--sort", "algo", "--sort", "-seed", "--json")) == ["d", "c", "b", "a"]
    assert ids(cli("list", "--sort", "config.rate", "--json")) == ["b", "a", "c", "d"]  # 0.001 < 0.1 < 10, then without one
    assert ids(cli("list", "--sort=-config.rate", "--json")) == ["c", "a", "b", "d"]
    done = cli("list", "--sort", "algo,-score", "--json")
    assert ids(done) == ["c", "b", "a", "d"]
    scores = [row["score"] for row in json.loads(done.stdout)]
    assert scores == [pytest.approx(67.0), pytest.approx(57.0), pytest.approx(47.0), None]  # the last five of 50 values
    assert "score: final:10% of each run's own steps, of eval/mean_reward (eval)" in done.stderr


def test_a_pipe_a_file_json_and_python_have_the_same_columns_with_the_score(cli: Cli, tmp_path: Path) -> None:
    """Scores stood in the terminal's table alone: what a person saw, no script could read."""
    stored(batch("a"), only_episodes("b", offset=10.0, seed=1), batch("none", seed=2, points=0))
    piped = [line.split("\t") for line in cli("list").stdout.splitlines()]
    as_json = json.loads(cli("list", "--json").stdout)
    frame = openrlb.runs().to_polars()
    assert piped[0] == list(as_json[0]) == frame.columns
    assert cli("list", "-o", tmp_path / "x.csv").exit_code == 0
    assert (tmp_path / "x.csv").read_text().splitlines()[0].split(",") == piped[0]
    found = {row["run"]: (row["score"], row["score_of"], row["score_kind"]) for row in as_json}
    assert found["none"] == (None, None, None)
    assert found["a"] == (pytest.approx(47.0), "eval/mean_reward", "eval") and found["b"][2] == "episode"
    assert dict(zip(frame["run"], frame["score"], strict=True)) == {run: one[0] for run, one in found.items()}
    shown = json.loads(cli("show", "b", "--json").stdout)
    assert (shown["score"], shown["score_of"], shown["score_kind"]) == found["b"]


@pytest.mark.parametrize(
    ("words", "near"),
    [(("--sort", "sead"), "seed"), (("--sort=-config.rat",), "config.rate"), (("--group-by", "algos"), "algo")],
)
def test_a_column_that_there_is_not_is_named_with_the_nearest(cli: Cli, words: tuple[str, ...], near: str) -> None:
    stored(batch("a", config={"rate": 1}))
    done = cli("list", *words)
    assert done.exit_code == 2 and f"did you mean {near}?" in done.stderr


@given(st.lists(st.tuples(st.sampled_from([None, math.nan, 1, 2.5, 10]), st.sampled_from([None, "", "a", "B"]))), st.booleans())
def test_sorting_keeps_everything_and_puts_what_has_no_value_last(items: list[tuple[object, object]], down: bool) -> None:
    named = [{"number": number, "text": text, "place": place} for place, (number, text) in enumerate(items)]
    found = sorted_by(named, [f"{'-' if down else ''}number", "text"], lambda item, key: item[key])
    assert sorted(item["place"] for item in found) == list(range(len(items)))
    numbers = [item["number"] for item in found]
    known = [value for value in numbers if value is not None and not math.isnan(value)]
    assert known == sorted(known, reverse=down)
    assert numbers[: len(known)] == known
    for one, other in itertools.pairwise(found):  # equal ones are in the order of the next key, then of before
        if one["number"] == other["number"] and one["text"] == other["text"]:
            assert one["place"] < other["place"]


def test_groups_count_runs_and_average_only_what_can_be_averaged(cli: Cli) -> None:
    stored(
        *(batch(f"p{seed}", seed=seed, offset=seed, state="finished") for seed in range(3)),
        batch("crash", seed=3, offset=1000, state="crashed"),
        batch("tuned", seed=4, offset=1000, state="finished", role="tuning"),
        batch("nothing", seed=5, points=0, state="finished"),
        batch("a0", algo="a2c", env="Ant-v4", seed=0),
        only_episodes("a1", algo="a2c", env="Ant-v4", seed=1),
        *(batch(f"d{env}", algo="dqn", env=env, seed=0) for env in ("A-v0", "B-v0")),
    )
    done = cli("list", "--group-by", "algo", "--json")
    rows = {row["algo"]: row for row in json.loads(done.stdout)}
    ppo = rows["ppo"]
    assert (ppo["runs"], ppo["seeds"], ppo["envs"], ppo["scored"]) == (6, 6, 1, 3)
    assert ppo["score"] == pytest.approx(48.0)  # 47, 48 and 49
    assert (ppo["metric"], ppo["kind"], ppo["rule"]) == ("eval/mean_reward", "eval", "final:10% of each run's own steps")
    assert set(ppo["left_out"]) == {"1 crashed", "1 of role tuning", "1 without a return"}
    assert rows["a2c"]["score"] is None and rows["a2c"]["left_out"] == ["2 share no kind of return"]
    assert rows["dqn"]["score"] is None and rows["dqn"]["envs"] == 2
    assert rows["dqn"]["left_out"] == ["2 in several environments, whose returns have no common unit"]
    assert "not in a score: " in done.stderr and "1 crashed" in done.stderr
    by_role = json.loads(cli("list", "--group-by", "algo,role", "--algo", "ppo", "--json").stdout)
    assert {(row["role"], row["scored"]) for row in by_role} == {("none", 3), ("tuning", 1)}
    by_env = json.loads(cli("list", "--group-by", "algo", "--group-by", "env", "--sort=-runs", "--json").stdout)
    assert [(row["algo"], row["env"], row["runs"]) for row in by_env][:2] == [("ppo", "Hopper-v4", 6), ("a2c", "Ant-v4", 2)]
    assert sum(row["runs"] for row in by_env) == 10


def test_a_score_that_is_no_number_is_in_no_mean(cli: Cli) -> None:
    odd = batch("odd", seed=1)
    odd = replace(odd, metrics=(replace(odd.metrics[0], values=np.full(50, np.nan)),))
    stored(batch("even", seed=0), odd)
    (row,) = json.loads(cli("list", "--group-by", "env", "--json").stdout)
    assert row["score"] == pytest.approx(47.0) and row["scored"] == 1
    assert row["left_out"] == ["1 without a number at the end"]
    assert [one["score"] for one in json.loads(cli("list", "--sort", "score", "--json").stdout)] == [pytest.approx(47.0), None]


def test_since_takes_a_date_or_how_long_ago(cli: Cli) -> None:
    def ago(hours: float) -> str:
        return (datetime.now(UTC) - timedelta(hours=hours)).isoformat(timespec="seconds")

    stored(batch("new", seed=0, created=ago(5)), batch("old", seed=1, created=ago(50)), batch("ancient", created=ago(5000)))
    assert ids(cli("list", "--since", "12h", "--json")) == ["new"]
    assert sorted(ids(cli("list", "--since", "3d", "--json"))) == ["new", "old"]
    assert len(ids(cli("list", "--since", "2000-01-31", "--json"))) == 3
    done = cli("list", "--since", "yesterday")
    assert done.exit_code == 2 and "2d or 3w for how long ago" in done.stderr


@pytest.mark.parametrize("columns", [80, 160])
def test_on_a_terminal_a_line_for_each_run_with_its_curve(cli: Cli, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    stored(*(batch(f"0123456789abcde{seed}", env="HalfCheetah-v5", seed=seed, impl="sb3", state="finished") for seed in range(3)))
    done = cli("list", "--format", "table")
    lines = done.stdout.splitlines()
    assert len(lines) == 4 and max(map(len, lines)) <= columns
    assert lines[0].split() == ["run", "algo", "env", "seed", "steps", "score", "curve"]
    assert all(f"0123456789abcde{seed}" in line and "▁" in line and "█" in line for seed, line in enumerate(lines[1:]))
    assert "every run: state finished, impl sb3, project logs" in done.stderr


def test_what_does_not_fit_is_named_and_what_differs_is_a_column(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    stored(batch("0123456789abcdef", seed=0, state="finished"), batch("0123456789abcdeg", seed=1, state="crashed"))
    done = cli("list", "--format", "table")
    assert "no room for" in done.stderr and "score" not in done.stdout
    monkeypatch.setenv("COLUMNS", "120")
    wide = cli("list", "--format", "table")
    assert "crashed" in wide.stdout and "no room" not in wide.stderr
    (line,) = cli("list", "--format", "table", "--seed", "1").stdout.splitlines()[1:]  # of one run nothing is "the same"
    assert "crashed" in line


def test_curves_are_for_other_formats_on_request(cli: Cli) -> None:
    stored(batch("a"))
    assert "curve" not in cli("list").stdout and "█" not in cli("list", "--format", "table", "--no-curve").stdout
    rows = list(csv.DictReader(io.StringIO(cli("list", "--curve", "--format", "csv").stdout)))
    assert rows[0]["curve"][0] == "▁" and rows[0]["curve"][-1] == "█" and float(rows[0]["score"]) == pytest.approx(47.0)


def test_a_pipe_gets_every_character_and_closing_it_is_no_error() -> None:
    name = "n" * 2000
    stored(*(batch(f"{name}{seed}", seed=seed, points=1) for seed in range(100)))
    program = [sys.executable, "-m", "openrlb", "list"]
    whole = subprocess.run(program, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(whole) == 101 and all(f"{name}{seed}\t" in line for seed, line in enumerate(whole[1:]))
    script = f"set -o pipefail; {' '.join(program)} | head -1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_has_seen_enough_is_no_failure() -> None:
    openrlb.fetch("sample")
    command = [sys.executable, "-m", "openrlb", "export", "--points", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read().count("Traceback") == 0
    assert process.returncode == 0


def with_a_reproduction() -> Store:
    """A plain run, one of a study, and one that repeats the first."""
    return stored(
        batch("plain", seed=1), batch("tuned", seed=2, role="tuning"), batch("again", seed=1, role="reproduction", state="killed")
    )


def test_reproductions_are_in_no_selection_unless_a_role_names_them(cli: Cli, tmp_path: Path) -> None:
    store = with_a_reproduction()
    told = "1 reproduction left out: --role reproduction selects it"
    done = cli("list", "--json")
    assert sorted(ids(done)) == ["plain", "tuned"]
    assert told in done.stderr
    found = openrlb.runs()
    assert sorted(row.record.run for row in found) == ["plain", "tuned"]
    assert told in found.headline()
    grouped = cli("list", "--group-by", "algo", "--json")
    assert [row["runs"] for row in json.loads(grouped.stdout)] == [2]
    assert told in grouped.stderr
    assert "reproduction" not in cli("list", "--role", "tuning").stderr
    asked = cli("list", "--role", "reproduction", "--role", "none", "--json")
    assert sorted(ids(asked)) == ["again", "plain"]
    assert "left out" not in asked.stderr
    refused = cli("list", "--where", "state = 'killed'")
    assert refused.exit_code != 0
    assert "add --role reproduction" in refused.stderr
    assert "again" in cli("query", "SELECT run FROM runs").stdout
    assert [run for run, _ in openrlb.show("plain").companions] == ["tuned"]
    assert openrlb.show("plain").parameters.others == 1, "the study's run alone"
    assert [run for run, _ in openrlb.show("again", store=store).companions] == ["plain", "tuned"]

    table = tmp_path / "runs.csv"
    for what in ("--runs", "--points"):
        written = cli("export", what, "-o", str(table))
        assert written.exit_code == 0, written.stderr
        assert told in written.stderr
        assert "again" not in table.read_text()
        assert cli("export", what, "--role", "reproduction", "-o", str(table)).exit_code == 0
        assert "again" in table.read_text()
    bundled = cli("export", "--bundle", str(tmp_path / "bundle"))
    assert told in bundled.stderr
    assert "bundle: " in bundled.stderr
    assert ": 2 runs" in bundled.stderr
    named = cli("plot", "--where", "state = 'killed'", "--table")
    assert named.exit_code != 0
    assert "repeat other runs" in named.stderr


def test_roles_that_differ_are_told_apart_on_a_terminal(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    with_a_reproduction()
    wide = cli("list", "--format", "table")
    assert wide.stdout.splitlines()[0].split()[:6] == ["run", "algo", "env", "seed", "role", "steps"]
    assert {"none", "tuning"} < {word for line in wide.stdout.splitlines() for word in line.split()}
    monkeypatch.setenv("COLUMNS", "36")
    narrow = cli("list", "--format", "table")
    assert "role" not in narrow.stdout.splitlines()[0]
    assert "no room for" in narrow.stderr
    assert "role" in narrow.stderr.split("no room for")[1]
    monkeypatch.setenv("COLUMNS", "80")
    same = cli("list", "--role", "none", "--format", "table")
    assert "role" not in same.stdout.splitlines()[0]
