"""kill -9 at any moment, full disks, two at once: every row that ``log`` took is in the store, once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from openrlb.store import Store
from openrlb.tracking import sweep

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the trials fork")

LIGHT_HEAD = """
import json, os, random, signal, sys, time
from openrlb.tracking import sweep, track

def start(seed, **fields):
    return track(algo="ppo", env="Hopper-v5", seed=seed, config={"lr": 0.1}, **fields)
"""

HEAD = (
    LIGHT_HEAD
    + """
import pandas, psutil, pyarrow.parquet, numpy  # what the first segment loads: children are to be killed while writing it

def trial(act, seconds, at_once=False):
    "Forks, acts in the child, kills it within some seconds of its first word; returns what it said before."
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        act(write)
        os._exit(0)
    os.close(write)
    said = b"" if at_once else os.read(read, 1)
    time.sleep(random.uniform(0, seconds))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(read, "rb") as pipe:
        return (said + pipe.read()).decode().split()

def die_at(module, name, when):
    "From now on this process kills itself before, or right after, it calls a function."
    genuine = getattr(module, name)
    def dying(*words, **named):
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        genuine(*words, **named)
        os.kill(os.getpid(), signal.SIGKILL)
    setattr(module, name, dying)
"""
)


def script(body: str, *words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs a Python script of its own."""
    command = [sys.executable, "-c", HEAD + body, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=check, timeout=120)


def states() -> dict[str, int]:
    return dict(Store().query("SELECT state, count(*) FROM runs GROUP BY ALL").rows)


def test_every_row_that_log_took_survives_kill_9() -> None:
    """24 trials at random moments; a quarter of them while the run is still being set up."""
    body = """
random.seed(0)
def act(seed):
    def child(pipe):
        run = start(seed, capture=seed % 4 == 0)
        os.write(pipe, run.id.encode() + b" ")
        for step in range(10_000_000):
            run.log(step, {"eval/mean_reward": step * 2.0} if step % 3 else {"loss": 1.0, "eval/mean_reward": step * 2.0})
            os.write(pipe, b"%d " % step)
    return child
print(json.dumps([trial(act(seed), 0.03, at_once=seed < 6) for seed in range(24)]))
"""
    trials = json.loads(script(body).stdout)
    acknowledged = {words[0]: int(words[-1]) + 1 for words in trials if len(words) > 1}
    assert len(acknowledged) >= 10
    report = sweep()
    assert (report.running, report.damaged, report.waiting) == (0, [], None)
    assert Store().fold().new == len(report.stored)
    sql = """SELECT run, count(*), min(step), max(step), count(DISTINCT step), bool_and(value = step * 2)
        FROM points WHERE metric = 'eval/mean_reward' GROUP BY ALL"""
    stored = {run: row for run, *row in Store().query(sql).rows}
    for run, rows in acknowledged.items():
        count, first, last, different, right = stored[run]
        assert rows <= count <= rows + 1  # the row whose acknowledgement the kill cut off may be there
        assert (first, last, different, right) == (0, count - 1, count, True)
    assert set(states()) == {"crashed"}
    assert sweep().stored == []


ENDING = [
    *((name, when) for name in ("mark_end", "store_folders") for when in ("before", "after")),
    *((name, when) for name in ("read_folder", "write_segment", "remove_folder") for when in ("before", "after")),
    ("shutil.rmtree", "before"),
]


def test_kill_9_at_each_step_of_the_end_of_a_run_loses_and_doubles_nothing() -> None:
    body = """
import openrlb.tracking.folder as folder, openrlb.tracking.run as run_module
for seed, (name, when) in enumerate(json.loads(sys.argv[1])):
    child = os.fork()
    if child == 0:
        run = start(seed, capture=False)
        for step in range(50):
            run.log(step, loss=float(step))
        if name in ("mark_end", "store_folders"):
            die_at(run_module, name, when)
        elif name == "shutil.rmtree":
            die_at(folder.shutil, "rmtree", when)
        else:
            die_at(folder, name, when)
        run.finish()
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert script(body, json.dumps(ENDING)).stdout.split() == ["-9"] * len(ENDING)
    sweep()
    Store().fold()
    sql = "SELECT seed, state, count(*), sum(value) FROM points JOIN runs USING (run, seed) GROUP BY ALL ORDER BY ALL"
    unsaid = ENDING.index(("mark_end", "before"))
    expected = [(seed, "crashed" if seed == unsaid else "finished", 50, 1225.0) for seed in range(len(ENDING))]
    assert Store().query(sql).rows == expected
    assert Store().query("SELECT count(*), count(DISTINCT run) FROM runs").rows == [(len(ENDING), len(ENDING))]
    assert sweep().stored == []
    assert [path for path in (Store().layout.root / "runs").glob("*/*") if not path.parent.name.startswith(".tmp-")] == []


def test_kill_9_in_the_middle_of_sweeps_and_four_sweeps_at_once() -> None:
    body = """
import openrlb.tracking.folder as folder

def leave(first, last):
    "Dead runs, as a killed process leaves them."
    for seed in range(first, last):
        child = os.fork()
        if child == 0:
            run = start(seed, capture=False)
            for step in range(20):
                run.log(step, loss=1.0)
            os._exit(1)
        os.waitpid(child, 0)

leave(0, 12)
for name, when in (("read_folder", "after"), ("write_segment", "before"), ("write_segment", "after"), ("remove_folder", "after")):
    def act(pipe):
        die_at(folder, name, when)
        sweep()
    child = os.fork()
    if child == 0:
        act(None)
    os.waitpid(child, 0)
random.seed(2)
for _ in range(4):
    trial(lambda pipe: sweep(), 0.05, at_once=True)
leave(12, 20)
children = []
for _ in range(4):
    child = os.fork()
    if child == 0:
        sweep()
        os._exit(0)
    children.append(child)
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""
    assert json.loads(script(body).stdout) == [0, 0, 0, 0]
    assert sweep().stored == []
    Store().fold()
    rows = Store().query("SELECT seed, count(*), sum(value) FROM points GROUP BY ALL ORDER BY ALL").rows
    assert rows == [(seed, 20, 20.0) for seed in range(20)]
    assert states() == {"crashed": 20}


def test_a_disk_that_fills_up_costs_rows_but_neither_the_training_nor_the_end() -> None:
    body = """
import resource
run = start(1, capture=False)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
for step in range(1000):
    run.log(step, loss=float(step))
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
for step in range(1000, 1200):
    run.log(step, loss=float(step))
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
run.finish("diverged")
print("the training went on")
"""
    done = script(body)
    assert done.stdout == "the training went on\n"
    warnings = done.stderr.splitlines()
    assert len([line for line in warnings if "rows of" in line and "being lost" in line]) == 1, done.stderr
    sweep()
    Store().fold()
    (row,) = Store().runs()
    ((count, last),) = Store().query("SELECT count(*), max(step) FROM points WHERE value = step").rows
    assert (row.columns["state"], last) == ("diverged", 1199)
    assert row.record.line_count == 1200
    assert row.record.notes == (f"{1200 - count} of 1200 rows were lost: the disk could not be written",)
    assert 200 < count < 600


ENDS: list[tuple[str, int, str, str | None]] = [
    ("", 0, "unknown", "the script ended without run.finish()"),
    ("sys.exit(3)", 3, "unknown", "the script ended without run.finish()"),
    ("raise ValueError('of somebody')", 1, "failed", "ended by ValueError"),
    ("os.kill(os.getpid(), signal.SIGINT); time.sleep(9)", -signal.SIGINT, "killed", "ended by KeyboardInterrupt"),
    ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)", -signal.SIGTERM, "crashed", "the process ended without a word"),
    ("os._exit(0)", 0, "crashed", "the process ended without a word"),
    ("run.finish()", 0, "finished", None),
]


def test_every_way_of_ending_without_the_with_block_is_told_apart(tmp_path: Path) -> None:
    processes = []
    for seed, (end, *_) in enumerate(ENDS):
        program = tmp_path / f"train{seed}.py"
        program.write_text(f"{LIGHT_HEAD}\nrun = start({seed}, capture=False)\nrun.log(1, loss=1.0)\n{end}\n")
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        processes.append(subprocess.Popen([sys.executable, str(program)], **pipes))
    outputs = [process.communicate(timeout=60) for process in processes]
    said = [b"openrlb" in errors or b"Exception ignored" in errors for _, errors in outputs]
    assert said == [end == "run.finish()" for end, *_ in ENDS], outputs
    assert outputs[-1][1].startswith(b"openrlb: ") and outputs[-1][1].count(b"\n") == 1
    assert [process.returncode for process in processes] == [code for _, code, *_ in ENDS], outputs
    sweep()
    assert Store().fold().new == len(ENDS)
    found = {row.columns["seed"]: (row.columns["state"], row.record.notes) for row in Store().runs()}
    for seed, (end, _, state, note) in enumerate(ENDS):
        assert found[seed][0] == state, end
        assert [told[: len(note or "")] for told in found[seed][1]] == ([note] if note else []), end


def test_scripts_that_run_at_once_share_a_store() -> None:
    program = HEAD + "with start(int(sys.argv[1])) as run:\n    for step in range(2000):\n        run.log(step, loss=1.0)\n"
    processes = [subprocess.Popen([sys.executable, "-c", program, str(seed)]) for seed in range(3)]
    deadline = time.monotonic() + 60
    while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
        sweep()
        Store().fold()
    assert [process.wait() for process in processes] == [0] * 3
    Store().fold()
    assert Store().query(
        "SELECT seed, state, count(*) FROM points JOIN runs USING (run, seed) GROUP BY ALL ORDER BY ALL"
    ).rows == [(seed, "finished", 2000) for seed in range(3)]


def test_the_example_of_the_documentation_runs_as_it_stands(tmp_path: Path) -> None:
    import openrlb.tracking

    text = (openrlb.tracking.__doc__ or "").split("::\n\n", 1)[1].split("\n\nThen", 1)[0]
    assert len([line for line in text.splitlines() if line.strip()]) <= 10
    setup = """
import types
agent = types.SimpleNamespace(learn=lambda steps: 0.5)
evaluate = lambda agent: 100.0
import openrlb
"""
    path = tmp_path / "train.py"
    path.write_text(setup + "\n".join(line[4:] for line in text.splitlines()).replace("1_000_000", "20_480"))
    subprocess.run([sys.executable, str(path)], check=True, capture_output=True, timeout=60)
    Store().fold()
    (row,) = Store().runs()
    assert (row.columns["algo"], row.columns["state"], row.columns["steps"]) == ("my-ppo", "finished", 18_432)
    assert row.columns["metrics"] == ["episodic_return", "loss"]
