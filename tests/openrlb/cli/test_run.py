"""``openrlb run`` as a user types it: with a runner of their own that misbehaves on demand, and with the real one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from fake_runner import write_runner
from programs import start, wait_until
from typer.testing import Result

import openrlb
from openrlb.store import Store
from openrlb.tracking.folder import runs_dir
from openrlb.words import span

Cli = Callable[..., Result]
WALK = ("run", "walk", "--env", "Line-v0")


def lines(result: Result) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(result.stdout)["runs"]
    return found


def states() -> dict[int | None, str]:
    return {row.record.seed: row.record.state for row in Store().runs()}


def trees(folder: Path) -> set[str]:
    """Everything below a folder but the caches."""
    return {str(path) for path in folder.rglob("*") if "cache" not in path.parts}


def test_a_batch_is_planned_trained_stored_and_not_trained_again(cli: Cli, fake: Path) -> None:
    words = ("run", "walk", "jump", "--env", "Line-v0", "--env", "Line-v1", "--steps", 100, "--set", "rate=0.25", "--seeds", 1)
    first = cli(*words, "--json")
    assert first.exit_code == 0, first.stderr
    assert "4 runs: 4 to train, 0 there already" in first.stderr
    assert "walk on Line-v0: 100 steps (as asked)" in first.stderr and "rate=0.25" in first.stderr
    assert "next: openrlb plot --source openrlb --algo walk --algo jump --env Line-v0 --env Line-v1" in first.stderr
    runs = lines(first)
    assert [(run["algo"], run["env"], run["seed"]) for run in runs] == [
        (algo, env, 1) for algo in ("walk", "jump") for env in ("Line-v0", "Line-v1")
    ]
    assert {(run["state"], run["steps"], run["trained"], run["attempt"]) for run in runs} == {("finished", 100, True, 1)}
    returns = Store().query(
        "SELECT run, avg(value) FROM points WHERE kind = 'episode' AND metric = 'episodic_return' GROUP BY run"
    )
    assert {run["run"]: run["episodic_return"] for run in runs} == pytest.approx(dict(returns.rows))  # each has ten episodes
    again = cli(*words, "--json")
    assert "4 runs: 0 to train, 4 there already" in again.stderr
    assert [{**run, "trained": True, "seconds": 0} for run in lines(again)] == [{**run, "seconds": 0} for run in runs]
    more = cli(*words[:-1], 2, "--json")
    assert sum(run["trained"] for run in lines(more)) == 4 and len(Store().runs()) == 8


def test_a_dry_run_plans_and_changes_nothing(cli: Cli, fake: Path) -> None:
    before = trees(fake)
    planned = cli(*WALK, "--seeds", 2, "--steps", "1e3", "--dry-run", "--json")
    assert planned.exit_code == 0, planned.stderr
    plan = json.loads(planned.stdout)["plan"]
    assert [(run["todo"], run["steps"], len(run["run"])) for run in plan["runs"]] == [("train", 1000, 16)] * 2
    assert plan["groups"][0]["effective"]["net"] == {"arch": [8], "act": "tanh"} and plan["seconds"] is None
    assert trees(fake) == before
    trained = cli(*WALK, "--seeds", 1, "--steps", "1e3", "--json")
    assert lines(trained)[0]["run"] == plan["runs"][0]["run"]
    rows = cli(*WALK, "--seeds", 2, "--steps", "1e3", "--dry-run").stdout.splitlines()
    assert [row.split("\t")[6] for row in rows] == ["todo", "stored", "train"]


def test_a_dry_run_without_an_environment_builds_none(cli: Cli, isolation: Path) -> None:
    write_runner(isolation / "runners" / "fake")
    planned = cli(*WALK, "--dry-run", "--json")
    assert planned.exit_code == 0, planned.stderr
    plan = json.loads(planned.stdout)["plan"]
    assert [(run["run"], run["todo"]) for run in plan["runs"]] == [(None, "unknown")] and not plan["environments"][0]["built"]
    assert "has to be built" in planned.stderr and not (isolation / "cache").exists()
    assert "1 run: at most 1 to train (which are there already is known when the runner is built); " in planned.stderr


def test_a_run_of_whole_rollouts_is_never_told_as_more_than_all_of_it() -> None:
    from openrlb.cli.run_progress import describe  # after the program itself, which imports it
    from openrlb_runners.progress import Progress

    assert describe(Progress(2048, 2000)) == "step 2,048 of 2,000 (it ends with a whole rollout)"
    assert describe(Progress(2000, 2000)) == "step 2,000 of 2,000"


def test_the_expected_time_comes_from_stored_runs(cli: Cli, fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openrlb.tracking.provenance._cpu_model", lambda: "test")
    assert "expected time: not known" in cli(*WALK, "--steps", 100, "--set", "pause=0.02").stderr
    plan = json.loads(cli(*WALK, "--steps", 10_000, "--seeds", 2, "--workers", 1, "--dry-run", "--json").stdout)["plan"]
    assert plan["seconds"] == pytest.approx(sum(run["seconds"] for run in plan["runs"])) and 10 < plan["seconds"] < 300
    planned = openrlb.run(openrlb.RunOptions(["walk"], ["Line-v0"], seeds=[1, 2], steps=10_000, workers=1), dry_run=True)
    assert repr(planned).startswith("<a plan of 2 runs: 2 to train, 0 there already, 1 at a time; time: ")
    assert planned.to_polars()["todo"].to_list() == ["train", "train"] and planned.to_polars()["seconds"].null_count() == 0
    mixed = cli("run", "walk", "jump", "--env", "Line-v0", "--steps", 10_000, "--workers", 1, "--dry-run").stderr.splitlines()[-1]
    known = f"expected time: {span(plan['seconds'] / 2)} for 1 run"
    assert mixed == f"{known}; not known on this machine for 1 (jump in fake on Line-v0): none was trained on its processor yet"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("wlak", "--env", "Line-v0"), "did you mean walk"),
        (("walk", "--env", "Cube-v0"), "Cube-v0 cannot be made"),
        (("jump", "--env", "Plane-v0"), "jump needs discrete actions"),
        (("walk", "--env", "Line-v0", "--steps", "0"), "no number of steps"),
        (("walk", "--env", "Line-v0", "--steps", "-5"), "no number of steps"),
        (("walk", "--env", "Line-v0", "--set", "speed=1"), "no hyperparameter speed"),
        (("walk", "--env", "Line-v0", "--set", "rate"), "no key=value"),
        (("walk", "--env", "Line-v0", "--set", "net=1", "--set", "net.arch=[1]"), "a value already"),
        (("walk", "--env", "Line-v0", "--impl", "fkae"), "did you mean fake"),
        (("walk", "--env", "Line-v0", "--impl", "sb3"), "use --impl fake"),
        (("walk", "--env", "Line-v0", "--seed", "x"), "--seed 'x'"),
        (("walk", "--env", "Line-v0", "--seed", "4294967296"), "seed 4294967296 cannot be used"),
        (("walk", "--env", "Line-v0", "--seed", "1", "--seeds", "2"), "use one of the two"),
        (("walk", "--env", "Line-v0", "--wall-limit", "soon"), "is no duration"),
        (("walk", "--env", "Line-v0", "--memory-limit", "0"), "is no size"),
        (("walk", "--env", "Line-v0", "--wandb", "maybe"), "off, offline or online"),
        (("walk", "--env", "Line-v0", "--launcher", "cloud"), "there is no launcher"),
        (("walk", "--env", "Line-v0", "--device", "cuda"), "cannot train on cuda"),
        (("walk", "--env", "Line-v0", "--device", "tpu"), "cpu or cuda"),
        (("walk", "--env", "Line-v0", "--hyperparameters", "none.toml"), "cannot be read"),
    ],
)
def test_what_has_no_meaning_is_refused_before_anything_is_trained(
    cli: Cli, fake: Path, words: tuple[str, ...], said: str
) -> None:
    result = cli("run", *words)
    assert result.exit_code == 2, result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith(("error:", "  why:", "  fix:"))]
    assert len(errors) == 3 and any(said in line for line in errors)
    assert not runs_dir(Store().layout).exists() and result.stdout == ""


def test_one_refused_request_refuses_the_whole_batch(cli: Cli, fake: Path) -> None:
    assert cli("run", "walk", "jump", "--env", "Line-v0", "--env", "Plane-v0").exit_code == 2
    assert not runs_dir(Store().layout).exists()


def test_runs_that_did_not_finish_are_named_and_make_the_exit_code(cli: Cli, fake: Path) -> None:
    result = cli(*WALK, "--seeds", 2, "--steps", 50, "--set", "act=crash", "--set", "at=20", "--json")
    assert result.exit_code == 1
    (first, second) = json.loads(result.stdout)["unfinished"]
    assert f"walk-Line-v0-1 ({first}) is crashed: ended with exit code 1" in result.stderr
    assert states() == {1: "crashed", 2: "crashed"} and first != second
    again = cli(*WALK, "--seeds", 2, "--steps", 50, "--set", "act=crash", "--set", "at=20", "--json")
    assert "2 tried before without finishing" in again.stderr
    assert [run["attempt"] for run in lines(again)] == [2, 2]


def test_evaluation_is_asked_for_and_recorded(cli: Cli, fake: Path) -> None:
    result = cli(*WALK, "--steps", 100, "--eval-every", 50, "--eval-episodes", 3, "--json")
    (run,) = lines(result)
    rows = Store().query("SELECT step, count(*) FROM points WHERE metric = 'eval/episodic_return' GROUP BY ALL ORDER BY 1").rows
    assert rows == [(50, 3), (100, 3)]
    plain = cli(*WALK, "--steps", 100, "--json")
    assert lines(plain)[0]["run"] != run["run"]


def test_two_commands_at_once_train_nothing_twice_and_both_end_well(fake: Path) -> None:
    words = (*WALK, "--seeds", 4, "--steps", 100, "--set", "pause=0.03", "--json")
    both = [start(*words), start(*words)]
    ended = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    found = [json.loads(out)["runs"] for out, _ in ended]
    assert [[run["state"] for run in runs] for runs in found] == [["finished"] * 4] * 2
    trained = [run["seed"] for runs in found for run in runs if run["trained"]]
    assert sorted(trained) == [1, 2, 3, 4]
    assert [row.record.attempt for row in Store().runs()] == [1] * 4


@pytest.fixture
def long_run(fake: Path) -> Iterator[subprocess.Popen[str]]:
    """Two runs under way that would take minutes."""
    process = start(*WALK, "--seeds", 3, "--workers", 2, "--steps", 100_000, "--set", "pause=0.05")
    wait_until(lambda: len([file for file in metrics() if file.stat().st_size > 500]) == 2)
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


def metrics() -> list[Path]:
    return list(runs_dir(Store().layout).glob("*/*/metrics.jsonl"))


def descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def test_ctrl_c_stores_what_was_running_as_killed(long_run: subprocess.Popen[str]) -> None:
    below = descendants(long_run)
    assert len(below) == 3  # the server and two runs
    long_run.send_signal(signal.SIGINT)
    _, err = long_run.communicate(timeout=30)
    assert long_run.returncode == 130, err
    assert "interrupted" in err and "Traceback" not in err
    assert states() == {1: "killed", 2: "killed"}
    assert psutil.wait_procs(below, timeout=5)[1] == []
    assert Store().query("SELECT count(*) > 2 FROM points").rows == [(True,)]


def test_ctrl_c_twice_does_not_wait_for_a_run_that_will_not_end(fake: Path) -> None:
    process = start(*WALK, "--steps", 100, "--set", "act=hang", "--set", "at=20")
    wait_until(lambda: [file for file in metrics() if file.read_text().count("episode") == 2])
    time.sleep(0.3)
    below = descendants(process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert len(psutil.wait_procs(below, timeout=4.0)[0]) >= 1  # a first one alone would wait 5 seconds after SIGTERM
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert states() == {1: "killed"}


def test_kill_9_leaves_no_process_and_the_next_verb_stores_the_rows(cli: Cli, long_run: subprocess.Popen[str]) -> None:
    below = descendants(long_run)
    long_run.kill()
    long_run.wait()
    assert psutil.wait_procs(below, timeout=10)[1] == []
    written = {file.parent: file.read_text().count('"episode"') for file in metrics()}
    listed = cli("list", "--json")
    assert listed.exit_code == 0, listed.stderr
    assert sorted(run["state"] for run in json.loads(listed.stdout)) == ["crashed", "crashed"]
    rows = Store().query("SELECT count(*) FROM points WHERE metric = 'episodic_return' GROUP BY run ORDER BY 1").rows
    assert [count for (count,) in rows] == sorted(written.values())
    assert not list(runs_dir(Store().layout).iterdir())


def test_a_mirrored_run_is_read_back_from_wandb_s_own_file(cli: Cli, fake: Path, tmp_path: Path) -> None:
    words = (*WALK, "--seeds", 2, "--steps", 60, "--eval-every", 30, "--eval-episodes", 2, "--wandb", "offline")
    env = {**os.environ, "WANDB_DIR": str(tmp_path), "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "openrlb", *map(str, words)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0 and "warning" not in done.stderr, done.stderr
    logs = list(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    assert len(logs) == 2
    fetched = cli("fetch", tmp_path / "wandb", "--map", "step=global_step")
    assert fetched.exit_code == 0, fetched.stderr
    sql = """SELECT metric, kind, points.step, isnan(value), CASE WHEN NOT isnan(value) THEN value END, runs.seed, runs.env,
    runs.algo FROM points JOIN runs USING (run) WHERE runs.source {} 'openrlb' ORDER BY ALL"""
    ours, mirrored = (Store().query(sql.format(sign)).rows for sign in ("=", "<>"))
    names = {row[0] for row in ours}
    assert names == {"episodic_return", "episodic_length", "eval/episodic_return", "eval/episodic_length", "train/loss"}
    assert [row for row in mirrored if row[0] in names] == ours and len(ours) == 2 * (6 * 3 + 2 * 2 * 2)
    (configs,) = Store().query("SELECT count(DISTINCT variant) FROM runs").rows
    assert Store().query("SELECT DISTINCT state FROM runs").rows == [("finished",)], configs
    assert Store().query("SELECT DISTINCT impl, step_unit FROM runs").rows == [("fake", "agent_step")]
    notes = [note for row in Store().runs() if row.record.source != "openrlb" for note in row.record.notes]
    assert sum("this mirrors the run" in note for note in notes) == 2


def test_a_mirror_without_a_key_is_refused_before_training(cli: Cli, fake: Path) -> None:
    result = cli(*WALK, "--wandb", "online")
    assert result.exit_code == 5 and "WANDB_API_KEY" in result.stderr and "--wandb offline" in result.stderr


def test_a_live_table_on_a_terminal(fake: Path) -> None:
    import pty

    main, terminal = pty.openpty()
    command = [sys.executable, "-m", "openrlb", *WALK, "--steps", "400", "--set", "pause=0.05"]
    with subprocess.Popen(command, stdout=terminal, stderr=terminal, stdin=terminal, start_new_session=True) as process:
        os.close(terminal)
        seen = b""
        while True:
            try:
                data = os.read(main, 65536)
            except OSError:
                break
            if not data:
                break
            seen += data
        assert process.wait(30) == 0
    os.close(main)
    text = seen.decode()
    for word in ("steps/s", "left", "walk-Line-v0-1", "running", "last 10 training episodes", "finished at step 400", "next: "):
        assert word in text, text


def test_a_real_training_is_refused_planned_trained_and_told(cli: Cli, sb3_environment: object) -> None:
    """The real runner in its real environment: what only it can tell."""
    unknown = cli("run", "ppo", "--env", "CartPol-v1")
    assert unknown.exit_code == 2 and "did you mean CartPole-v1" in unknown.stderr
    assert cli("run", "td3", "--env", "CartPole-v1").exit_code == 2
    bare = cli("run", "ppo", "--env", "CartPole", "--steps", 256)
    assert bare.exit_code == 2 and "--env CartPole-v0 or CartPole-v1" in bare.stderr
    wrong = cli("run", "ppo", "--env", "CartPole-v1", "--set", "learning_rat=1")
    assert wrong.exit_code == 2 and "learning_rate" in wrong.stderr
    words = ("run", "ppo", "--env", "CartPole-v1", "--seeds", 2, "--steps", 512, "--set", "n_epochs=2", "--eval-every", 256)
    result = cli(*words, "--eval-episodes", 2, "--set", "policy_kwargs.net_arch=[8,8]", "--json")
    assert result.exit_code == 0, result.stderr
    assert "published: RL Baselines3 Zoo" in result.stderr
    assert "(n_epochs=2, policy_kwargs=" in result.stderr  # what was set is named first
    first, second = lines(result)
    assert first["episodic_return"] != second["episodic_return"] and first["steps"] == 512
    run = next(row.record for row in Store().runs() if row.record.seed == 1)
    assert (run.impl, run.config["n_epochs"], run.config["n_envs"], run.config["gamma"]) == ("sb3", 2, 8, 0.98)
    assert run.config["policy_kwargs"]["net_arch"] == [8, 8] and run.step_unit == "agent_step"
    assert {"run.py", "lock/base.txt", "lock/torch-cpu.txt", "runner.toml", "env.json", "requirements.txt"} <= set(run.files)
    assert Store().query("SELECT count(*) FROM points WHERE metric = 'eval/episodic_return'").rows == [(2 * 2 * 2,)]
