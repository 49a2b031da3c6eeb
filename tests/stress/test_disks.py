"""Disks that are full at a random moment, and stores that cannot be written: named, nothing lost, and then it goes on."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_runner import write_runner
from stressed import Tally, assert_named, check_consistent, contents, must, openrlb, write_logs

from openrlb.store import Store

pytestmark = pytest.mark.stress
RUNS, POINTS = 60, 200


def mounted(place: Path, *words: str) -> Iterator[Path]:
    place.mkdir()
    made = subprocess.run(["mount", *words, str(place)], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"mounting needs rights that are not here: {made.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of eight megabytes."""
    yield from mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=8m", "tmpfs")


def leave(disk: Path, count: int) -> Path:
    """Fills a disk but for some bytes."""
    filler = disk / "filler"
    filler.unlink(missing_ok=True)
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    filler.write_bytes(bytes(max(0, free - count)))
    return filler


def test_a_disk_that_fills_up_while_it_is_written(
    tmp_path: Path, disk: Path, chance: random.Random, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, logs = disk / "home", tmp_path / "logs"
    monkeypatch.setenv("OPENRLB_HOME", str(home))
    write_logs(logs, 0, RUNS, POINTS)
    must("fetch", logs)
    whole = sum(path.stat().st_size for path in home.rglob("*") if path.is_file())
    store = Store(home / "store")
    for trial in range(1, 15):
        write_logs(logs, trial, RUNS, POINTS)
        before = contents(store)["points"]
        filler = leave(disk, int(chance.uniform(0, 2) * whole))
        exports = trial % 4 == 0
        words = ("export", "--bundle", disk / "bundle") if exports else ("fetch", logs)
        done = openrlb(*words)
        if done.returncode:
            assert "cannot be written" in assert_named(done)
            assert exports or contents(store)["points"] == before
        assert check_consistent(store, POINTS) == RUNS
        filler.unlink()
        must(*words)
        assert check_consistent(store, POINTS) == RUNS
        tally.add("full disk", hit=bool(done.returncode), remark="fetch or export; hit: it did not fit, and was said")
        shutil.rmtree(disk / "bundle", ignore_errors=True)
        for path in (store.layout.data / "project=logs").rglob("*.parquet"):
            assert path.stat().st_size
    last = store.query(f"SELECT DISTINCT value - {POINTS * 0.5} - seed FROM points WHERE step = {POINTS} AND seed % 2 = 1").rows
    assert last == [(14.0,)]  # the last generation that was fetched


def test_runs_on_a_disk_that_fills_up(
    tmp_path: Path, disk: Path, chance: random.Random, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = disk / "home"
    monkeypatch.setenv("OPENRLB_HOME", str(home))
    write_runner(home / "runners" / "fake")
    words = ("run", "walk", "--env", "Line-v0", "--seeds", "4", "--steps", "200", "--workers", "2", "--threads", "1")
    must(*words[:3], "Line-v1", *words[4:])
    store = Store(home / "store")
    for trial in range(5):
        filler = leave(disk, chance.randrange(0, 200_000))
        done = openrlb(*words[:3], f"Plane-v{trial}", *words[4:])
        assert "Traceback" not in done.stderr and "itself failed" not in done.stderr, done.stderr
        assert not done.returncode or done.stderr.strip(), done
        filler.unlink()
        must(*words[:3], f"Plane-v{trial}", *words[4:])
        sql = f"SELECT run, state, count(*) FROM runs WHERE env = 'Plane-v{trial}' AND state = 'finished' GROUP BY ALL"
        assert [count for *_, count in store.query(sql).rows] == [1] * 4
        tally.add("full disk under run", hit=bool(done.returncode))
    assert store.query("SELECT count(*) FROM runs WHERE state = 'finished'").rows == [(24,)]


READING = (
    ("list", "--json"),
    ("query", "SELECT count(*) FROM points"),
    ("plot", "--metric", "iqm", "--format", "json", "--resamples", "100"),
    ("compare", "ppo", "a2c", "--env", "Hopper"),
    ("report", "-o", "report.html"),
    ("export", "--runs", "-o", "runs.csv"),
    ("doctor",),
)
WRITING = (("fetch", "{logs}"), ("doctor", "--rebuild"))


def test_a_read_only_store(tmp_path: Path, tally: Tally, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that reads works, with what waited in the spool left there; what writes says that it cannot."""
    home = tmp_path / "home"
    monkeypatch.setenv("OPENRLB_HOME", str(home))
    must("fetch", "sample", "--env", "Hopper")
    write_logs(tmp_path / "logs", 0, RUNS, POINTS)
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    place = iter(mounted(tmp_path / "read-only", "--bind", str(home)))
    locked = next(place)
    made = subprocess.run(["mount", "-o", "remount,bind,ro", str(locked)], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    monkeypatch.setenv("OPENRLB_HOME", str(locked))
    try:
        for words in READING:
            done = openrlb(*words)
            assert done.returncode == (1 if words[0] == "doctor" else 0), f"{words}: {done.stderr}{done.stdout}"
            tally.add("read-only store: reading")
        for words in WRITING:
            assert "cannot be written" in assert_named(openrlb(*(word.format(logs=tmp_path / "logs") for word in words)))
            tally.add("read-only store: writing", remark="named, exit 1")
    finally:
        next(place, None)
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before
