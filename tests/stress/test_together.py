"""Several openrlb at once on one store: nobody is blocked, nothing is lost, nothing doubled, and no reader sees a half."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from stressed import Tally, check_consistent, openrlb, write_logs

from openrlb.store import Store

pytestmark = pytest.mark.stress
RUNS, POINTS = 40, 100
WRITERS, READERS = 8, 4
QUESTIONS = (
    ("query", "SELECT run, count(*) AS n FROM points GROUP BY run", "--json"),
    ("list", "--json"),
    ("plot", "--metric", "iqm", "--of", "eval_return", "--format", "json", "--resamples", "100"),
    ("export", "--runs", "-o", "{file}"),
)


def write_all_along(folder: Path, until: float, counts: dict[Path, int], failures: list[str]) -> None:
    """Fetches one generation of a folder after another."""
    generation = 0
    while time.monotonic() < until and not failures:
        generation += 1
        write_logs(folder, generation, RUNS, POINTS)
        done = openrlb("fetch", folder)
        if done.returncode:
            failures.append(done.stderr)
        counts[folder] = generation


def read_all_along(number: int, until: float, folder: Path, counts: list[int], failures: list[str]) -> None:
    """Asks one question again and again: a run is there with all its values, or not at all."""
    while time.monotonic() < until and not failures:
        done = openrlb(*(word.format(file=folder / f"runs{number}.json") for word in QUESTIONS[number]))
        if done.returncode:
            failures.append(f"{QUESTIONS[number]}: {done.returncode}: {done.stderr}")
        elif number == 0 and (halves := [row for row in json.loads(done.stdout) if row["n"] != POINTS]):
            failures.append(f"half runs: {halves}")
        elif number == 1:
            runs = [(row["source"], row["run"]) for row in json.loads(done.stdout)]
            if len(runs) != len(set(runs)):
                failures.append("a run is there twice")
        counts[number] += 1


def test_eight_writers_and_four_readers(tmp_path: Path, tally: Tally) -> None:
    folders = [tmp_path / f"writer{number}" for number in range(WRITERS)]
    write_logs(folders[0], 0, RUNS, POINTS)
    assert openrlb("fetch", folders[0]).returncode == 0
    until, failures = time.monotonic() + tally.seconds, list[str]()
    wrote, read = dict.fromkeys(folders, 0), [0] * READERS
    threads = [threading.Thread(target=write_all_along, args=(folder, until, wrote, failures)) for folder in folders]
    threads += [
        threading.Thread(target=read_all_along, args=(number, until, tmp_path, read, failures)) for number in range(READERS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    tally.add(f"{WRITERS} writers, {READERS} readers: fetches", sum(wrote.values()), sum(wrote.values()))
    remark = f"{tally.seconds:.0f} s"
    tally.add(f"{WRITERS} writers, {READERS} readers: reads", sum(read), sum(read), remark)
    store = Store()
    assert check_consistent(store, POINTS) == WRITERS * RUNS
    last = f"SELECT project, value - {POINTS * 0.5} - seed FROM points WHERE step = {POINTS} AND seed % 2 = 1 GROUP BY ALL"
    assert dict(store.query(last).rows) == {folder.name: float(generation) for folder, generation in wrote.items()}
    assert (store.health().unknown, store.health().missing, store.health().damaged) == ((), (), ())


def test_a_reader_that_stays_open_sees_one_store(tmp_path: Path, tally: Tally) -> None:
    """While others fold and merge, an open connection's answers stay what they were."""
    logs, store = tmp_path / "logs", Store()
    write_logs(logs, 0, RUNS, POINTS)
    assert openrlb("fetch", logs).returncode == 0
    with store.reading(views=True) as con:
        before = con.execute("SELECT run, sum(value) FROM points GROUP BY run ORDER BY run").fetchall()
        for generation in range(1, 21):
            write_logs(logs, generation, RUNS, POINTS)
            assert openrlb("fetch", logs).returncode == 0
            assert con.execute("SELECT run, sum(value) FROM points GROUP BY run ORDER BY run").fetchall() == before
            tally.add("folds and merges under an open reader")
    assert check_consistent(store, POINTS) == RUNS
