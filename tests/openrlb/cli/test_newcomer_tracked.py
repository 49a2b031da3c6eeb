"""What a newcomer to tracked runs stumbled over, once each."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from builders import EPISODES, batch
from typer.testing import Result
from wandb_fixtures import server, service, wandb_run
from wandb_server import WandbRun, WandbServer

from openrlb.errors import UsageError
from openrlb.store import Store
from openrlb.types import RunBatch

Cli = Callable[..., Result]

__all__ = ["server", "service"]


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
        for words in (("list",), ("plot", "--table"), ("fetch", "sample")):
            done = cli(*words)
            assert done.exit_code == 0 and "note: 1 tracked run is going on" in done.stderr, done.stderr
        assert "going on" not in cli("-q", "list").stderr
    done = cli("list", "--algo", "mine")
    assert done.exit_code == 0 and "going on" not in done.stderr


RIGHT = "env=problem,algo=agent.name,seed=rng,step=frames_seen,value=perf/test_score,kind=eval"


def weird(service: WandbServer, count: int = 3) -> None:
    """A project whose key names nobody could know."""
    history = [{"_step": i, "_runtime": float(i), "frames_seen": i * 100, "perf/test_score": float(i)} for i in range(11)]
    service.projects["lab/weird"] = [
        WandbRun(f"w{n}", {"agent": {"name": "mine"}, "problem": "Hopper-v5", "rng": n}, live=history) for n in range(count)
    ]


def test_a_wandb_project_is_kept_under_a_name_and_read_again(cli: Cli, service: WandbServer) -> None:
    weird(service)
    done = cli(
        "fetch", "https://wandb.ai/lab/weird/workspace", "--map", RIGHT, "--step-unit", "agent_step", "--save-preset", "my_weird"
    )
    assert done.exit_code == 0 and "openrlb.toml: openrlb fetch my_weird" in done.stderr, done.stderr
    assert "select them with --source wandb:lab/weird" in done.stderr and "note: wandb keeps no requirements" not in done.stderr
    assert "3 unchanged" in cli("fetch", "my_weird").stderr
    [row] = json.loads(cli("fetch", "--presets", "my_weird", "--json").stdout)
    assert (row["source"], row["use"], row["step_unit"]) == ("wandb:lab/weird", "openrlb fetch my_weird", "agent_step")
    assert (
        row["map"] == "algo=agent.name,env=problem,seed=rng,step=frames_seen,value=perf/test_score"
        and row["kept"] == "openrlb.toml"
    )
    assert row["metrics"] == {"perf/test_score": "eval"}
    again = cli("fetch", "wandb:lab/weird", "--map", RIGHT.replace("eval", "episode"), "--step-unit", "agent_step")
    assert "3 changed (read with another map or other flags), 0 unchanged" in again.stderr
    assert cli("fetch", "wandb:lab/weird", "--map", "path:{algo}/{env}", "--save-preset", "other").exit_code == 2


def test_presets_are_listed(cli: Cli) -> None:
    lines = cli("fetch", "--presets").stdout.splitlines()
    assert lines[0].split("\t")[:4] == ["name", "use", "source", "map"]
    assert any(line.startswith("sb3\topenrlb fetch sb3\twandb:openrlbenchmark/sb3\talgo=algo,env=env,") for line in lines)
    wrong = cli("fetch", "--presets", "cleanrll")
    assert wrong.exit_code == 2 and "did you mean cleanrl" in wrong.stderr
    assert "openrlb fetch sb3" in cli("fetch", "logs/", "--preset", "sb3").stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--map", "algo=x"), "fix: name it: openrlb fetch FOLDER"),
        (("--step-unit", "frame"), "no source is named"),
        (("cleanrll",), "did you mean the preset cleanrl?"),
        (("lab/weird",), "write wandb:lab/weird"),
        (("https://wandb.ai/lab/weird/runs/abc",), "openrlb fetch wandb:lab/weird --where \"run = 'abc'\""),
        (("ppo", "--orlb-filter", "?we=a&wpn=b", "--orlb-filter", "?we=c&wpn=d"), "write each one after its header"),
    ],
)
def test_words_that_name_no_source_are_told_what_they_may_mean(cli: Cli, words: tuple[str, ...], told: str) -> None:
    done = cli("fetch", *words)
    assert done.exit_code in (1, 2) and told in done.stderr, done.stderr


def test_experiments_of_a_filter_stand_after_it_as_rlops_users_type_them(cli: Cli, service: WandbServer) -> None:
    service.projects["lab/runs"] = [wandb_run("a"), wandb_run("b", algo="a2c"), wandb_run("c", algo="ddpg")]
    done = cli("fetch", "--orlb-filter", "?we=lab&wpn=runs&metric=charts/episodic_return", "ppo?cl=Mine", "a2c", "a2x")
    assert done.exit_code == 0, done.stderr
    assert {row["algo"] for row in json.loads(cli("list", "--json").stdout)} == {"ppo", "a2c"}
    assert "its figure: openrlb plot --source wandb:lab/runs --of charts/episodic_return" in done.stderr
    assert '--label "ppo=Mine"' in done.stderr and "warning: the filter 'a2x'" in done.stderr


def test_a_project_that_cannot_be_had_does_not_cost_the_others(cli: Cli, service: WandbServer, tmp_path: Path) -> None:
    weird(service)
    table(tmp_path / "good" / "a.csv")
    done = cli("fetch", "wandb:lab/gone", tmp_path / "good", "wandb:lab/weird", "--map", "algo='x'", "--json")
    assert done.exit_code == 1, done.stderr
    assert "warning: wandb:lab/gone could not be fetched" in done.stderr and "3 runs found" in done.stderr
    assert [failed["source"] for failed in json.loads(done.stdout)["failed"]] == ["wandb:lab/gone", "wandb:lab/weird"]
    assert len(json.loads(cli("list", "--json").stdout)) == 3


def test_words_that_match_nothing_are_named_for_folders_too(cli: Cli) -> None:
    done = cli("fetch", "sample", "--env", "Hopper", "--env", "Hoper", "--seed", "1", "--seed", "99")
    assert done.exit_code == 0
    assert "warning: --env Hoper (did you mean Hopper-v5?): no run of the named folders has that" in done.stderr
    assert "warning: --seed 99: no run" in done.stderr and "--seed 1:" not in done.stderr


def test_a_missing_seed_is_said_with_the_settings_that_may_be_it(cli: Cli, service: WandbServer) -> None:
    weird(service)
    done = cli("fetch", "wandb:lab/weird", "--map", RIGHT.replace("seed=rng,", ""))
    assert "note: no seed is known: --map seed=KEY says it; different whole numbers in each run: rng (3 runs" in done.stderr
    assert "note: what a step counts is not said: --step-unit" in done.stderr


def test_a_file_that_may_not_be_read_is_told_how_to_allow_it(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import openrlb.sources.folder as folder

    def refused(path: Path) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(folder.TableSource, "recognises", lambda self, path: refused(path))
    done = cli("fetch", table(tmp_path / "a.csv"))
    assert done.exit_code == 3 and f"fix: allow reading it: chmod -R u+rX {tmp_path / 'a.csv'}" in done.stderr
