"""kill -9 at random moments of fetch, fold and export: nothing lost, nothing doubled, and the same command again goes on."""

from __future__ import annotations

import hashlib
import random
import shutil
import time
from pathlib import Path

import pytest
from builders import batch
from stressed import Tally, check_consistent, killed_within, must, write_logs

from openrlb.store import Store

pytestmark = pytest.mark.stress
FETCHES, FIRST_FETCHES, FOLDS, EXPORTS = 35, 10, 30, 30
RUNS, POINTS = 150, 400


def test_kill_9_at_random_moments_of_fetch_and_fold(tmp_path: Path, chance: random.Random, tally: Tally) -> None:
    logs, store = tmp_path / "logs", Store()
    write_logs(logs, 0, RUNS, POINTS)
    began = time.monotonic()
    must("fetch", logs)
    whole = time.monotonic() - began
    killed = trials = 0
    while killed < FETCHES:
        trials += 1
        write_logs(logs, trials, RUNS, POINTS)
        took = killed_within(chance.uniform(0.2, 1.0) * whole, "fetch", str(logs))
        killed += took is None
        tally.add("kill -9 of fetch", hit=took is None)
        whole = took or whole
        assert check_consistent(store, POINTS) == RUNS, f"trial {trials}"
    must("fetch", logs)
    assert check_consistent(store, POINTS) == RUNS
    last = store.query(f"SELECT value FROM points JOIN runs USING (run) WHERE runs.seed = 1 AND step = {POINTS}").rows
    assert last == [(POINTS * 0.5 + 1 + trials,)]
    before = store.query("SELECT * FROM runs ORDER BY ALL").rows
    store.rebuild()
    assert store.query("SELECT * FROM runs ORDER BY ALL").rows == before
    assert check_consistent(store, POINTS) == RUNS


def test_kill_9_of_the_first_fetch_into_an_empty_store(
    tmp_path: Path, chance: random.Random, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = tmp_path / "logs"
    write_logs(logs, 0, RUNS, POINTS)
    for trial in range(FIRST_FETCHES):
        monkeypatch.setenv("OPENRLB_HOME", str(tmp_path / f"home{trial}"))
        store = Store()
        tally.add("kill -9 of a first fetch", hit=killed_within(chance.uniform(0.3, 2.0), "fetch", str(logs)) is None)
        if store.exists:
            assert check_consistent(store, POINTS) in range(RUNS + 1)
        must("fetch", logs)
        assert check_consistent(store, POINTS) == RUNS


def test_kill_9_of_folds_and_merges(chance: random.Random, tally: Tally) -> None:
    """Runs wait in the spool, some of them superseding others, and a reader that folds them is killed."""
    store = Store()
    killed = trials = 0
    whole = 1.5
    newest: dict[str, int] = {}
    while killed < FOLDS:
        trials += 1
        for name in chance.sample(range(200), 40):  # with many generations in one partition, every 17th fold merges
            newest[f"r{name}"] = trials
            store.write([batch(f"r{name}", seed=name, points=300, offset=float(trials))])
        took = killed_within(chance.uniform(0.3, 1.0) * whole, "query", "SELECT count(*) FROM runs")
        killed += took is None
        tally.add("kill -9 of a fold", hit=took is None)
        whole = took or whole
        if trials % 5 == 0:  # else the next fold finds what several dead ones left
            assert check_consistent(store, 300) == len(newest)
            offsets = store.query("SELECT run, min(value) FROM points GROUP BY run").rows
            assert {run: int(offset) for run, offset in offsets} == newest
    assert check_consistent(store, 300) == len(newest)
    assert store.health().unknown == store.health().missing == ()


def tree(folder: Path) -> dict[str, str]:
    """The files of a folder with their hashes, without hidden ones."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.relative_to(folder).parts[0].startswith(".")]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_kill_9_of_export(tmp_path: Path, chance: random.Random, tally: Tally) -> None:
    """A bundle is the old one, or none and told so, or the new one; a table is there or not; the same command again goes on."""
    must("fetch", "sample")
    began = time.monotonic()
    must("export", "--bundle", tmp_path / "whole")
    whole = time.monotonic() - began
    must("export", "--points", "-o", tmp_path / "whole.parquet")
    bundle, table = tree(tmp_path / "whole"), (tmp_path / "whole.parquet").read_bytes()
    folder, file = tmp_path / "bundle", tmp_path / "points.parquet"
    killed = trials = 0
    while killed < EXPORTS:
        trials += 1
        words = ("--bundle", str(folder)) if trials % 3 else ("--points", "-o", str(file))
        moment = chance.uniform(0.3, 1.0) * whole
        if trials % 3 == 1:  # most of the renames happen at the very end
            moment = chance.uniform(0.85, 1.0) * whole
        took = killed_within(moment, "export", *words)
        killed += took is None
        tally.add("kill -9 of export", hit=took is None)
        whole = took or whole
        assert not file.exists() or file.read_bytes() == table
        if (folder / "bundle.json").exists():
            assert tree(folder) == {**bundle, "README.md": tree(folder)["README.md"], "bundle.json": tree(folder)["bundle.json"]}
        if trials % 4 == 0:
            must("export", "--bundle", folder)
            must("fetch", folder, env={"OPENRLB_HOME": str(tmp_path / "other")})
            if chance.random() < 0.5:
                shutil.rmtree(folder)
    must("export", "--bundle", folder)
    assert {name: tree(folder)[name] for name in bundle if name.startswith("data/")} == {
        name: digest for name, digest in bundle.items() if name.startswith("data/")
    }
    must("export", "--points", "-o", file)
    assert file.read_bytes() == table
