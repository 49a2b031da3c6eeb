"""A clock that jumps by days between, and within, what openrlb does: nothing depends on it but the times that are shown."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from builders import batch
from fake_runner import write_runner
from stressed import PROGRAM, Tally, check_consistent, must, write_logs

from openrlb.store import Store

pytestmark = pytest.mark.stress
DAY = 86_400
RUNS, POINTS = 20, 50

CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long shift(void) { const char *said = getenv("CLOCK_SHIFT"); return said ? atol(said) : 0; }
int clock_gettime(clockid_t clock, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int done = real(clock, at);
    if (!done && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) at->tv_sec += shift();
    return done;
}
time_t time(time_t *at) { struct timespec now; clock_gettime(CLOCK_REALTIME, &now); if (at) *at = now.tv_sec; return now.tv_sec; }
int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec now; clock_gettime(CLOCK_REALTIME, &now); at->tv_sec = now.tv_sec; at->tv_usec = now.tv_nsec / 1000; return 0;
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that moves the time of day of the processes it is loaded into."""
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("a clock that jumps needs a C compiler")
    folder = tmp_path_factory.mktemp("clock")
    (folder / "clock.c").write_text(CLOCK)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", "clock.so", "clock.c", "-ldl"], cwd=folder, check=True)
    return folder / "clock.so"


def at(library: Path, shift: int) -> dict[str, dict[str, str]]:
    return {"env": {"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(shift)}}


def test_the_clock_of_the_tests_jumps(library: Path) -> None:
    words = ["-c", "import time, datetime; print(time.time(), datetime.datetime.now().timestamp())"]
    told = must(*words, program=(PROGRAM[0],), **at(library, -DAY)).split()
    assert all(abs(float(one) - (time.time() - DAY)) < 600 for one in told)


def test_fetches_and_folds_of_any_time(tmp_path: Path, library: Path, chance: random.Random, tally: Tally) -> None:
    """Each fetch has another time of day, and some segments wait for the next one: the newest content always stays."""
    logs, store, newest = tmp_path / "logs", Store(), dict[str, int]()
    for trial in range(1, 13):
        write_logs(logs, trial, RUNS, POINTS)
        shift = chance.randrange(-10 * DAY, 10 * DAY)
        for name in chance.sample(range(8), 3):  # segments of this clock, which the fetch of another one folds
            newest[f"r{name}"] = trial
            store.write([batch(f"r{name}", seed=name, points=POINTS, offset=float(trial))])
        must("fetch", logs, **at(library, shift))
        assert check_consistent(store, POINTS) == RUNS + len(newest)
        tally.add("clock that jumps: fetch and fold", remark="each at another time within 20 days")
    offsets = store.query("SELECT run, min(value) FROM points WHERE run LIKE 'r%' AND length(run) = 2 GROUP BY run").rows
    assert {run: int(offset) for run, offset in offsets} == newest
    last = f"SELECT DISTINCT value - {POINTS * 0.5} - seed FROM points WHERE step = {POINTS} AND env LIKE 'Env%' AND seed % 2 = 1"
    assert store.query(last).rows == [(12.0,)]


def test_runs_whose_clock_is_another_are_left_alone_and_stored_once(
    isolation: Path, library: Path, chance: random.Random, tally: Tally
) -> None:
    """While runs train, others look at the store at other times of day: no living run is taken for dead."""
    write_runner(isolation / "runners" / "fake")
    for trial in range(3):
        words = ["run", "walk", "--env", f"Line-v{trial}", "--seeds", "4", "--steps", "400", "--set", "pause=0.05"]
        shift = (-3 * DAY, 3 * DAY, chance.choice((-3 * DAY, 3 * DAY)))[trial]
        env = at(library, shift)["env"]

        running = subprocess.Popen(
            [*PROGRAM, *words, "--workers", "2", "--threads", "1"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**os.environ, **env},
        )  # fmt: skip
        try:
            while running.poll() is None:
                must("doctor", "--json", **at(library, chance.randrange(-9 * DAY, 9 * DAY)))
        finally:
            said = running.communicate()[1]
        assert running.returncode == 0, said
        states = json.loads(
            must("query", f"SELECT state, count(*) AS n FROM runs WHERE env = 'Line-v{trial}' GROUP BY ALL", "--json")
        )
        assert states == [{"state": "finished", "n": 4}], said
        tally.add("clock that jumps: runs", 4, 4)
    listed = json.loads(must("list", "--since", "1d", "--json"))
    created = {row["env"]: row["created"] for row in json.loads(must("list", "--json"))}
    assert {row["env"] for row in listed} == {
        env for env, when in created.items() if when > time.strftime("%Y-%m-%d", time.gmtime())
    }


def test_a_study_goes_on_at_any_time(isolation: Path, tmp_path: Path, library: Path, chance: random.Random, tally: Tally) -> None:
    """Killed and taken up at other times of day it charges no run twice."""
    write_runner(isolation / "runners" / "fake")
    space = tmp_path / "space.toml"
    space.write_text("[walk]\nrate = { uniform = [0.1, 2.0] }\n")
    words = "tune walk --env Line-v0 --steps 100 --budget 15 --confirm 1 --test-seeds 2 --workers 1 --space".split()

    for _ in range(4):
        env = {**os.environ, **at(library, chance.randrange(-9 * DAY, 9 * DAY))["env"]}
        process = subprocess.Popen(
            [*PROGRAM, *words, str(space)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env, start_new_session=True
        )
        try:
            process.wait(chance.uniform(2, 6))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        tally.add("clock that jumps: tune killed and resumed")
    must(*words, space, **at(library, -5 * DAY))
    (study,) = json.loads(must("study", "list", "--json"))
    assert study["spent"] <= 15, study
