"""W&B projects from the command line, through the genuine client and a local server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result
from wandb_fixtures import HISTORY, rows, server, service, wandb_run
from wandb_server import WandbRun, WandbServer

Cli = Callable[..., Result]

__all__ = ["server", "service"]


def add(service: WandbServer, project: str, *runs: WandbRun) -> None:
    service.projects.setdefault(project, []).extend(runs)


def test_unknown_key_names_reach_one_figure_beside_a_baseline_in_two_commands(cli: Cli, service: WandbServer) -> None:
    assert cli("fetch", "sample", "--algo", "ppo").exit_code == 0  # the baseline that is there already
    history = [{"_step": i, "_runtime": float(i), "t": i * 1000, "score/mean": float(i)} for i in range(101)]
    for seed in (1, 2, 3):
        config = {"agent": {"kind": "mine"}, "task": "Hopper-v5", "random": seed}
        add(service, "lab/odd", WandbRun(f"odd{seed}", config, live=history))
    words = "algo=config.agent.kind,env=config.task,seed=config.random,step=t,value=score/mean,kind=episode"
    fetched = cli("fetch", "wandb:lab/odd", "--map", words, "--step-unit", "agent_step")
    assert fetched.exit_code == 0, fetched.stderr
    assert "3 new, 0 changed, 0 unchanged" in fetched.stderr
    done = cli("plot", "--env", "Hopper", "-o", "both.html", "--format", "tsv")
    assert done.exit_code == 0, done.stderr
    assert [line.split("\t")[0] for line in done.stdout.splitlines()[1:]] == ["mine", "ppo"]
    assert Path("both.html").exists()


def test_a_preset_a_dry_run_and_what_is_unchanged(cli: Cli, service: WandbServer) -> None:
    for seed in (1, 2):
        add(service, "openrlbenchmark/cleanrl", wandb_run(f"r{seed}", seed=seed))
    dry = cli("fetch", "cleanrl", "--env", "Hopper", "--dry-run")
    assert dry.exit_code == 0, dry.stderr
    assert "wandb:openrlbenchmark/cleanrl: 2 runs fit, 0 unchanged, 2 to fetch" in dry.stderr
    assert "would store: 2 runs found in 1 environment: 2 new" in dry.stderr
    assert cli("list").exit_code == 3
    assert "2 new, 0 changed, 0 unchanged" in cli("fetch", "cleanrl").stderr
    before = service.requests(*HISTORY)
    again = cli("fetch", "cleanrl")
    assert "0 new, 0 changed, 2 unchanged" in again.stderr, again.stderr
    assert service.requests(*HISTORY) == before
    assert {row["source"] for row in json.loads(cli("list", "--json").stdout)} == {"wandb:openrlbenchmark/cleanrl"}


def test_the_filters_of_rlops(cli: Cli, service: WandbServer) -> None:
    add(service, "lab/runs", wandb_run("a", algo="ppo", tags=["v1", "good"]))
    add(service, "lab/runs", wandb_run("b", algo="ppo", seed=2, tags=["v1"]))
    header = "?we=lab&wpn=runs&ceik=env_id&cen=exp_name&metric=charts/episodic_return"
    done = cli("fetch", "--orlb-filter", header, "--orlb-filter", "ppo?tag=v1&tag=good")
    assert done.exit_code == 0, done.stderr
    assert [row["run"] for row in json.loads(cli("list", "--json").stdout)] == ["a"]
    assert cli("fetch", "--orlb-filter", "ppo").exit_code == 2


def test_more_than_500_runs_are_fetched_only_after_a_yes(cli: Cli, service: WandbServer, monkeypatch: pytest.MonkeyPatch) -> None:
    import openrlb.cli.fetch as verb

    monkeypatch.setattr(verb, "ASK_ABOVE", 1)
    for seed in (1, 2):
        add(service, "lab/runs", wandb_run(f"r{seed}", seed=seed, live=rows(5)))
    refused = cli("fetch", "wandb:lab/runs")
    assert refused.exit_code == 2
    assert "add --yes" in refused.stderr
    assert cli("fetch", "wandb:lab/runs", "--yes").exit_code == 0


def test_without_a_key_it_is_one_sentence_and_exit_5(cli: Cli, isolation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(isolation))
    done = cli("fetch", "wandb:openrlbenchmark/cleanrl")
    assert done.exit_code == 5
    assert done.stderr.splitlines()[0].startswith("error: ")
    assert "key" in done.stderr
    assert cli("fetch", "wandb:nonsense").exit_code == 2
