"""W&B projects from the command line, through the genuine client and a local server."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result
from wandb_fixtures import HISTORY, rows, server, service, wandb_run
from wandb_server import Fault, WandbRun, WandbServer

from openrlb.store import Store

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


def test_a_kept_file_that_is_lost_is_fetched_again_after_a_rebuild(cli: Cli, service: WandbServer) -> None:
    for seed in (1, 2):
        add(service, "openrlbenchmark/cleanrl", wandb_run(f"r{seed}", seed=seed, files={"requirements.txt": b"a==1\n"}))
    cli("fetch", "cleanrl")
    store = Store()
    lost = min(store.layout.blobs.glob("[!.]*"))  # both runs name it
    text = lost.read_bytes()
    lost.unlink()
    looked = cli("doctor")
    assert looked.exit_code == 1 and "runs that lack one that was kept: 2" in looked.output
    refused = cli("export", "--bundle", "bundle")
    assert refused.exit_code == 1 and "is gone from blobs/" in refused.stderr, refused.output
    assert "files kept are lost of 2 runs: r1 (Hopper-v4), r2 (Hopper-v4)" in cli("doctor", "--rebuild").output
    assert "0 new, 2 changed, 0 unchanged" in cli("fetch", "cleanrl").stderr
    assert lost.read_bytes() == text and cli("export", "--bundle", "bundle").exit_code == 0


def test_the_filters_of_rlops(cli: Cli, service: WandbServer) -> None:
    add(service, "lab/runs", wandb_run("a", algo="ppo", tags=["v1", "good"]))
    add(service, "lab/runs", wandb_run("b", algo="ppo", seed=2, tags=["v1"]))
    header = "?we=lab&wpn=runs&ceik=env_id&cen=exp_name&metric=charts/episodic_return"
    done = cli("fetch", "--orlb-filter", header, "--orlb-filter", "ppo?tag=v1&tag=good")
    assert done.exit_code == 0, done.stderr
    assert [row["run"] for row in json.loads(cli("list", "--json").stdout)] == ["a"]
    assert cli("fetch", "--orlb-filter", "ppo").exit_code == 2


def test_the_filters_of_rlops_judge_stored_runs_as_they_judge_w_and_b(cli: Cli, service: WandbServer) -> None:
    for seed, tags in ((1, ["v1", "good"]), (2, ["v1"]), (3, ["good"])):
        add(service, "lab/runs", wandb_run(f"r{seed}", algo="ppo", seed=seed, tags=tags))
    header = "?we=lab&wpn=runs&ceik=env_id&cen=exp_name&metric=charts/episodic_return"
    assert cli("fetch", "wandb:lab/runs").exit_code == 0
    for experiment, runs in (("ppo?tag=v1&tag=good", ["r1"]), ("ppo?seed=2&seed=3", ["r2", "r3"]), ("ppo", ["r1", "r2", "r3"])):
        words = ("--orlb-filter", header, "--orlb-filter", experiment)
        assert [row["run"] for row in json.loads(cli("list", *words, "--json").stdout)] == runs
        (group,) = json.loads(cli("plot", *words, "--json").stdout)["groups"]
        assert sorted(group["per_env"][0]["run_ids"]) == runs
    for bad, code, words in (("dqn", 3, "no stored run is dqn"), ("ppo?user=ann", 2, "the store keeps no user names")):
        done = cli("list", "--orlb-filter", header, "--orlb-filter", bad)
        assert (done.exit_code, words in done.stderr) == (code, True), done.stderr


def test_groups_of_filters_that_mean_the_same_runs_are_one_query(cli: Cli, service: WandbServer) -> None:
    both = [{**row, "eval/mean_reward": 1.0} for row in rows()]
    add(service, "lab/runs", wandb_run("a", live=both, tags=["v1"]), wandb_run("b", seed=2, live=both))
    header = "?we=lab&wpn=runs&metric="
    words = [f"{header}charts/episodic_return", "ppo?cl=CleanRL PPO", f"{header}eval/mean_reward", "ppo?tag=v1"]
    done = cli("fetch", *(part for word in words for part in ("--orlb-filter", word)))
    assert done.exit_code == 0, done.stderr
    assert "2 runs found in 1 environment: 2 new" in done.stderr
    assert service.counts["HistoryPage"] == 2
    assert "openrlb plot --by tag" not in done.stderr and "CleanRL PPO is a legend: openrlb plot" in done.stderr
    assert {tuple(row["metrics"]) for row in json.loads(cli("list", "--json").stdout)} == {
        ("charts/episodic_return", "eval/mean_reward")
    }
    again = cli("fetch", "wandb:lab/runs", "wandb:lab/runs")
    assert again.stderr.count("2 unchanged") == 2 and "2 runs found" in again.stderr  # once in the plan, once at the end


AT_A_TERMINAL = """
import sys
import openrlb.cli.fetch as verb
from openrlb.cli.app import main
verb.ASK_ABOVE = int(sys.argv.pop(1))
main()
"""


def at_a_terminal(ask_above: int, *words: str, reply: bytes = b"") -> tuple[int, bytes]:
    """The exit code and everything on the terminal; the reply is typed once a question mark is there."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", AT_A_TERMINAL, str(ask_above), *words]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.DEVNULL, stderr=theirs, env={**os.environ, "TERM": "xterm"}
    )
    os.close(theirs)
    seen = b""
    with contextlib.suppress(OSError):  # the terminal is gone when the process is
        while select.select([ours], [], [], 20)[0] and (part := os.read(ours, 65536)):
            seen += part
            if reply and b"?" in seen:
                os.write(ours, reply)
                reply = b""
    os.close(ours)
    process.terminate()
    return process.wait(), seen


def test_a_terminal_shows_a_bar_with_the_number_of_runs_and_a_question_before_many(service: WandbServer) -> None:
    add(service, "lab/runs", *(wandb_run(f"r{seed}", seed=seed) for seed in range(3)))
    service.faults.append(Fault("RunFiles", delay=0.3))
    code, seen = at_a_terminal(2, "fetch", "wandb:lab/runs", reply=b"n\n")
    assert code == 2 and b"Fetch 3 runs?" in seen and b"were not agreed to" in seen
    code, seen = at_a_terminal(2, "fetch", "wandb:lab/runs", reply=b"y\n")
    assert code == 0 and b"3 new" in seen
    assert b"/3 " in seen and "\u2501".encode() in seen


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


def test_without_a_source_the_sample_and_what_can_be_had_of_every_preset(cli: Cli, service: WandbServer) -> None:
    add(service, "openrlbenchmark/cleanrl", *(wandb_run(f"r{seed}", seed=seed) for seed in (1, 2)))
    add(service, "tianshou/atari.benchmark", WandbRun("t", {"algo_name": "dqn", "task": "Pong"}, live=rows(key="test/reward")))
    done = cli("fetch", "--env", "Hopper")
    assert done.exit_code == 0, done.stderr
    assert "17 runs found in 2 environments: 17 new" in done.stderr
    assert "wandb:openrlbenchmark/cleanrl: asking Weights & Biases for its runs" in done.stderr
    assert "warning: wandb:openrlbenchmark/sb3 left out: openrlbenchmark/sb3 could not be listed" in done.stderr
    assert "skipped 1 project: the project has no run that fits (wandb:tianshou/atari.benchmark)" in done.stderr
    assert service.counts["Viewer"] == 10
    with_a_map = cli("fetch", "--map", "algo=x")
    assert "asking" not in with_a_map.stderr and service.counts["Viewer"] == 10


@pytest.mark.parametrize("key", ["short", "f" * 40])
def test_without_a_source_a_service_that_is_not_there_costs_nothing_but_a_line(
    cli: Cli, service: WandbServer, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", key)
    service.faults.append(Fault("Viewer", status=401))
    done = cli("fetch", "--env", "Hopper", "--json")
    assert done.exit_code == 0, done.stderr
    assert "15 new" in done.stderr
    assert "warning: wandb:openrlbenchmark/cleanrl and 9 other projects left out: Weights & Biases refused" in done.stderr
    assert len(json.loads(done.stdout)["unreached"]) == 10 and service.counts["Viewer"] <= 1


def test_projects_are_asked_about_together(cli: Cli, service: WandbServer, monkeypatch: pytest.MonkeyPatch) -> None:
    import openrlb.cli.fetch as verb

    monkeypatch.setattr(verb, "ASK_ABOVE", 3)
    add(service, "openrlbenchmark/cleanrl", *(wandb_run(f"r{seed}", seed=seed, live=rows(5)) for seed in (1, 2)))
    sb3 = [WandbRun(f"s{seed}", {"algo": "ppo", "env": "Hopper-v4", "seed": seed}, live=rows(5, key="eval/mean_reward"))
           for seed in (1, 2)]  # fmt: skip
    add(service, "openrlbenchmark/sb3", *sb3)
    done = cli("fetch", "--env", "Hopper")
    assert done.exit_code == 0 and "17 runs found" in done.stderr
    assert "wandb:openrlbenchmark/sb3 left out: nothing was fetched: 2 runs were not agreed to; add --yes" in done.stderr
    assert "19 runs found" in cli("fetch", "--env", "Hopper", "--yes").stderr


def test_a_run_folder_that_cannot_be_stored_is_told_by_every_verb(cli: Cli, runs: Store) -> None:
    folder = runs.layout.root / "runs" / "key" / "attempt"
    folder.mkdir(parents=True)
    (folder / "tracked.json").write_text("{broken")
    done = cli("list", "--json")
    assert done.exit_code == 0 and len(json.loads(done.stdout)) == 3
    assert done.stderr.startswith("warning: the tracked run attempt was set aside: ")
    assert cli("list", "--json").stderr == ""
