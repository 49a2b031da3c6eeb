"""kill -9 at random moments, and several openrlb at once: nothing lost, nothing doubled, nobody blocked."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from openrlb.store import Store

pytestmark = pytest.mark.stress
KILLS = 35
RUNS, POINTS = 300, 400


def write_logs(folder: Path, generation: int) -> None:
    """A table of runs; the generation changes half of them, so that refetching supersedes."""
    folder.mkdir(exist_ok=True)
    lines = ["algo,env,seed,step,eval_return"]
    for run in range(RUNS):
        shift = generation if run % 2 else 0
        lines += [f"ppo,Env{run % 5}-v0,{run},{step},{step * 0.5 + run + shift}" for step in range(1, POINTS + 1)]
    (folder / "results.csv").write_text("\n".join(lines) + "\n")


def start(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "openrlb", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def openrlb(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "openrlb", *words], capture_output=True, check=True)


def check_consistent(store: Store) -> int:
    """Every stored run is whole and there once; returns how many there are."""
    rows = store.query("SELECT source, run, count(*) FROM runs GROUP BY ALL").rows
    assert all(count == 1 for *_, count in rows)
    broken = store.query(f"SELECT run, count(*) FROM points GROUP BY run HAVING count(*) <> {POINTS}").rows
    assert broken == []
    assert store.query("SELECT count(DISTINCT run) FROM points").rows == [(len(rows),)]
    return len(rows)


def killed_within(seconds: float, *words: str) -> float | None:
    """Starts openrlb and kills it after some seconds; None, or how long it took where it ended before."""
    began = time.monotonic()
    process = start(*words)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return None
    return time.monotonic() - began


def test_kill_9_at_random_moments_of_fetch_and_fold(tmp_path: Path) -> None:
    logs, store = tmp_path / "logs", Store()
    write_logs(logs, 0)
    began = time.monotonic()
    openrlb("fetch", str(logs))
    whole = time.monotonic() - began
    random.seed(0)
    killed = trials = 0
    while killed < KILLS:
        trials += 1
        write_logs(logs, trials)
        took = killed_within(random.uniform(0.2, 1.0) * whole, "fetch", str(logs))
        killed += took is None
        whole = took or whole
        assert check_consistent(store) == RUNS, f"trial {trials}"
    print(f"{killed} of {trials} trials hit a running fetch of about {whole:.1f} s")
    openrlb("fetch", str(logs))
    assert check_consistent(store) == RUNS
    last = store.query(f"SELECT value FROM points JOIN runs USING (run) WHERE runs.seed = 1 AND step = {POINTS}").rows
    assert last == [(POINTS * 0.5 + 1 + trials,)]
    before = store.query("SELECT * FROM runs ORDER BY ALL").rows
    store.rebuild()
    assert store.query("SELECT * FROM runs ORDER BY ALL").rows == before
    assert check_consistent(store) == RUNS


def test_kill_9_of_the_first_fold_into_an_empty_store(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    write_logs(logs, 0)
    random.seed(1)
    for trial in range(10):
        os.environ["OPENRLB_HOME"] = str(tmp_path / f"home{trial}")
        store = Store()
        killed_within(random.uniform(0.3, 2.0), "fetch", str(logs))
        if store.exists:
            assert check_consistent(store) in range(RUNS + 1)
        openrlb("fetch", str(logs))
        assert check_consistent(store) == RUNS


def test_two_fetches_and_two_readers_at_once(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_logs(tmp_path / name, 0)
    openrlb("fetch", str(tmp_path / "one"))
    for generation in range(1, 6):
        for name in ("one", "two"):
            write_logs(tmp_path / name, generation)
        count = ("query", "SELECT count(*) AS n FROM points", "--json")
        commands = [("fetch", str(tmp_path / "one")), ("fetch", str(tmp_path / "two")), count, count]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        processes = [subprocess.Popen([sys.executable, "-m", "openrlb", *words], **pipes) for words in commands]
        outputs = [process.communicate() for process in processes]
        assert [process.returncode for process in processes] == [0, 0, 0, 0], outputs
        for text, _ in outputs[2:]:
            assert json.loads(text)[0]["n"] % POINTS == 0
    assert check_consistent(Store()) == 2 * RUNS
