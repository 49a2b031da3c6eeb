"""75 runs killed at random moments: the run itself, what forks it, or openrlb; each is stored once, as finished or crashed."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from fake_runner import write_runner
from stressed import Tally

from openrlb.api.opened import opened
from openrlb.store import Store
from openrlb.tracking.folder import runs_dir

pytestmark = pytest.mark.stress
KILLS = 75
SEEDS, STEPS, EVERY = 30, 200, 10


def batch(number: int, errors: Path) -> subprocess.Popen[bytes]:
    words = ["run", "walk", "--env", f"Line-v{number}", "--seeds", str(SEEDS), "--steps", str(STEPS), "--set", "pause=0.02"]
    command = [sys.executable, "-m", "openrlb", *words, "--workers", "4", "--threads", "1"]
    with errors.open("ab") as file:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=file, start_new_session=True)


def kill_something(process: subprocess.Popen[bytes], chance: random.Random) -> bool:
    """Kills a run, the server or openrlb itself; True for the last."""
    try:
        servers = psutil.Process(process.pid).children()
        runs = [run for server in servers for run in server.children()]
    except psutil.Error:
        return False
    if not runs:  # still starting
        return False
    what = chance.choices(("run", "server", "openrlb"), (6, 1, 1))[0]
    targets = {"run": runs, "server": servers, "openrlb": [psutil.Process(process.pid)]}[what]
    for target in chance.sample(targets, min(len(targets), 1)):
        try:
            target.kill()
        except psutil.Error:
            return False
    if what == "openrlb":
        process.wait()
        assert psutil.wait_procs([*servers, *runs], timeout=15)[1] == []  # nothing outlives it
    return what == "openrlb"


def check(store: Store, errors: Path) -> tuple[int, int]:
    """Every run that was ever started is stored once, with the rows it had written; returns started and crashed ones."""
    opened(store)
    assert not [path for path in runs_dir(store.layout).glob("*/*") if path.is_dir()]
    started = set(re.findall(r"started as ([0-9a-f]{16})", errors.read_text()))
    if not started and not store.exists:
        return 0, 0
    rows = store.query("SELECT run, state, count(*) FROM runs GROUP BY ALL").rows
    assert {state for _, state, _ in rows} <= {"finished", "crashed"}
    assert [count for *_, count in rows] == [1] * len(rows) and len({run for run, *_ in rows}) == len(rows)
    assert started <= {run for run, *_ in rows}
    sql = """SELECT state, n, firsts, distincts FROM (SELECT run, count(*) AS n, min(step) AS firsts, count(DISTINCT step) AS
    distincts FROM points WHERE metric = 'episodic_return' GROUP BY run) JOIN runs USING (run)"""
    for state, count, first, distinct in store.query(sql).rows:
        assert first == EVERY and distinct == count <= STEPS // EVERY
        assert count == STEPS // EVERY or state == "crashed"
    return len(started), sum(state == "crashed" for _, state, _ in rows)


def test_runs_killed_at_random_moments_are_stored_once(
    isolation: Path, tmp_path: Path, chance: random.Random, tally: Tally
) -> None:
    write_runner(isolation / "runners" / "fake", fork=True)
    store, killed, number, whole = Store(), 0, 0, 0
    logs: list[Path] = []
    while killed < KILLS:
        number += 1
        errors = tmp_path / f"errors-{number}"
        logs.append(errors)
        process = batch(number, errors)
        deadline = time.monotonic() + 300
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(chance.uniform(0.02, 0.6))
            whole += kill_something(process, chance)
        assert process.wait() in (0, 1, -9), errors.read_text()
        everything = tmp_path / "everything"
        everything.write_text("".join(log.read_text() for log in logs))
        started, killed = check(store, everything)
        assert not list(Path(os.environ["OPENRLB_HOME"]).rglob("*.corrupt"))
    tally.add("kill -9 of a run or its server", started, killed, f"{number} batches; openrlb itself killed {whole} times")
    for again in (number, 1):
        assert batch(again, tmp_path / "last").wait() == 0, (tmp_path / "last").read_text()
    finished = store.query(f"SELECT count(*) FROM runs WHERE env IN ('Line-v1', 'Line-v{number}') AND state = 'finished'").rows
    assert finished == [(SEEDS * len({1, number}),)]
    check(store, everything)
