"""What a newcomer to tracked runs stumbled over, once each."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from builders import EPISODES, batch
from typer.testing import Result

from openrlb.errors import UsageError
from openrlb.store import Store
from openrlb.types import RunBatch

Cli = Callable[..., Result]


def table(path: Path, *rows: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = rows or [f"ppo,E-v0,{seed},{step},{seed + step}" for seed in range(3) for step in (1, 2, 3)]
    path.write_text("algo,env,seed,step,episodic_return\n" + "\n".join(lines) + "\n")
    return path


def test_a_source_is_named_by_how_it_ends(cli: Cli, tmp_path: Path, runs: Store) -> None:
    table(tmp_path / "rl" / "logs" / "a.csv")
    assert cli("fetch", tmp_path / "rl" / "logs").exit_code == 0
    assert {row["project"] for row in json.loads(cli("list", "--json").stdout)} == {"logs", "rl/logs"}
    for word, projects in (
        ("logs", {"logs"}),
        ("rl/logs", {"rl/logs"}),
        ("./rl/logs/", {"rl/logs"}),
        ("fold*", {"logs", "rl/logs"}),
    ):
        done = cli("list", "--source", word, "--json")
        assert done.exit_code == 0, done.stderr
        assert {row["project"] for row in json.loads(done.stdout)} == projects
    other = cli("list", "--source", "nope", "--json")
    assert other.exit_code == 3 and "known are folder, logs, rl/logs" in other.stderr


def test_the_end_of_a_name_means_a_project_where_no_project_has_that_name(cli: Cli, store: Store) -> None:
    store.write([batch("a", source="wandb:lab/weird", project="weird"), batch("b", project="rl/logs")])
    for word, found in (("logs", ["b"]), ("weird", ["a"]), ("lab/weird", ["a"])):
        assert [row["run"] for row in json.loads(cli("list", "--source", word, "--json").stdout)] == found


def test_kinds_that_differ_come_with_the_whole_command(cli: Cli, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = batch("raw", algo="mine", episodes=True)
    store.write([batch("a"), RunBatch(raw.run, tuple(item for item in raw.metrics if item.metric == EPISODES))])
    monkeypatch.setattr(sys, "argv", ["/bin/openrlb", "plot", "--env", "Hopper v4", "--table"])
    done = cli("plot", "--env", "Hopper", "--table")
    assert done.exit_code == 2
    assert (
        "  fix: openrlb plot --env 'Hopper v4' --table --allow-mixed-kinds (each label then carries its kind), or" in done.stderr
    )
    assert cli("plot", "--env", "Hopper", "--table", "--allow-mixed-kinds", "--at", "1000").exit_code == 0


def test_unlike_steps_name_the_flag_that_puts_them_side_by_side(cli: Cli, store: Store) -> None:
    store.write([batch("a"), batch("b", algo="mine", step_unit="unknown")])
    done = cli("plot", "--table")
    assert done.exit_code == 2
    assert "add --frames-per-step 1 (if both count agent steps)" in done.stderr
    assert cli("plot", "--table", "--frames-per-step", "1").exit_code == 0


def test_an_error_says_in_one_line_what_to_do() -> None:
    import openrlb

    with pytest.raises(UsageError, match=r"seed='one' is no seed \(.*\); give seed=, for instance seed=1"):
        openrlb.track(algo="a", env="Hopper-v5", seed="one")  # type: ignore[arg-type]


def test_a_tracked_run_that_goes_on_is_mentioned(cli: Cli, runs: Store) -> None:
    import openrlb

    with openrlb.track(algo="mine", env="Hopper-v4", seed=1, capture=False) as run:
        run.episode(1, episodic_return=1.0)
        for words in (("list",), ("plot", "--table")):
            done = cli(*words)
            assert done.exit_code == 0 and "note: 1 tracked run is going on" in done.stderr, done.stderr
        assert "going on" not in cli("-q", "list").stderr
    done = cli("list", "--algo", "mine")
    assert done.exit_code == 0 and "going on" not in done.stderr
