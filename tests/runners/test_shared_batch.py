"""A batch that several workers train: each run once, whatever becomes of whom."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fake_runner import fake_runner, item, request

from openrlb.errors import NothingMatched, SourceError, UsageError
from openrlb.store import Store
from openrlb_runners import run_folder, shared_batch
from openrlb_runners.memo import Memo
from openrlb_runners.request import PinnedRunner, WorkItem
from openrlb_runners.run_folder import ENDED, RECORD, Ended, claim, mark_ended, store_folders
from openrlb_runners.shared_batch import SharedBatch, batch_name, ended_states, read_batch, write_batch
from openrlb_runners.worker import LATER, work


@pytest.fixture
def runner(tmp_path: Path) -> PinnedRunner:
    return fake_runner(tmp_path / "fake")


@pytest.fixture
def items(runner: PinnedRunner) -> list[WorkItem]:
    return [item(runner, request(seed=seed), tags=("a",)) for seed in (3, 1, 2)]


def begun(store: Store, items: list[WorkItem]) -> str:
    return write_batch(store.layout, items, Memo(store), device="cpu", wandb="off").name


def worker_of(store: Store, name: str, runner: PinnedRunner) -> SharedBatch:
    return SharedBatch(store, read_batch(store.layout, name), {"fake": runner}, Memo(store))


def of_another_machine(folder: Path, seconds: float) -> None:
    """Makes a run folder one that another machine has written to for the last time so long ago."""
    record = json.loads((folder / RECORD).read_text())
    (folder / RECORD).write_text(json.dumps({**record, "owner": {**record["owner"], "machine": "another"}}))
    for name in (RECORD, ENDED):
        os.utime(folder / name, (time.time() - seconds,) * 2)


def test_a_batch_comes_back_as_it_was_written(store: Store, items: list[WorkItem], runner: PinnedRunner) -> None:
    name = begun(store, items)
    assert name == batch_name(items[::-1]) and name.startswith("batch-walk-Line-v0-")
    record = read_batch(store.layout, name[:-3])
    assert [one.run for one in record.items] == [one.key.digest for one in items]  # in their order
    source = worker_of(store, name, runner)
    taken = [source.take() for _ in items]
    assert taken == items
    assert source.take() is None
    two = json.loads((store.layout.root / "batches" / name / "batch.json").read_text())
    assert len(two["groups"]) == 1  # what they share is written once
    with pytest.raises(NothingMatched):
        read_batch(store.layout, "batch-nothing")
    begun(store, [*items, item(runner, request(seed=9))])
    with pytest.raises(UsageError, match="several"):
        read_batch(store.layout, "batch-walk")


def test_two_workers_train_each_run_once(store: Store, items: list[WorkItem], runner: PinnedRunner) -> None:
    name = begun(store, items)
    first, second = worker_of(store, name, runner), worker_of(store, name, runner)
    mine = first.take()
    assert isinstance(mine, WorkItem)
    folder = claim(store.layout, mine, 1)
    assert folder is not None
    assert [second.take(), second.take(), second.take()] == [items[1], items[2], LATER]  # the first is elsewhere
    mark_ended(folder, Ended("crashed", ("it fell over",)))
    store_folders(store.layout, [folder])
    third = worker_of(store, name, runner)  # before the first could note it
    assert [third.take(), third.take(), third.take()] == [items[1], items[2], None]
    assert ended_states(store.layout, name) == {mine.key.digest: "crashed"}


def test_all_of_it_is_trained_and_noted(store: Store, items: list[WorkItem], runner: PinnedRunner) -> None:
    broken = item(runner, request(seed=4, act="crash"))
    name = begun(store, [*items, broken])
    work(worker_of(store, name, runner), workers=2, store=store)
    states = ended_states(store.layout, name)
    assert [states[one.key.digest] for one in items] == ["finished"] * 3 and states[broken.key.digest] == "crashed"
    assert worker_of(store, name, runner).take() is None
    begun(store, [*items, broken])  # asked for again: what did not finish is to be trained
    assert worker_of(store, name, runner).take() == broken


def test_a_run_whose_openrlb_is_gone_is_begun_again(
    store: Store, items: list[WorkItem], runner: PinnedRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = begun(store, items[:1])
    folder = claim(store.layout, items[0], 1)
    assert folder is not None
    of_another_machine(folder, run_folder.LEASE_SECONDS - 60)
    assert worker_of(store, name, runner).take() is LATER
    of_another_machine(folder, run_folder.LEASE_SECONDS + 60)
    assert worker_of(store, name, runner).take() == items[0]
    store_folders(store.layout, [folder])
    assert worker_of(store, name, runner).take() == items[0]
    monkeypatch.setattr(shared_batch, "MOST_ATTEMPTS", 1)
    assert worker_of(store, name, runner).take() is None
    assert ended_states(store.layout, name) == {items[0].key.digest: "lost"}


def test_an_interrupted_run_is_left_to_the_others(store: Store, items: list[WorkItem], runner: PinnedRunner) -> None:
    name = begun(store, items[:1])
    folder = claim(store.layout, items[0], 1)
    assert folder is not None
    mark_ended(folder, Ended("killed", ("interrupted",)))
    store_folders(store.layout, [folder])
    assert worker_of(store, name, runner).take() == items[0]


def test_a_worker_whose_run_was_taken_stores_it_not_twice(
    store: Store, runner: PinnedRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stood still for longer than its lease, and another one has stored the run as crashed."""
    from openrlb_runners import worker

    long = item(runner, request(steps=100_000, pause=0.02))
    name = begun(store, [long])
    told: list[str] = []
    monkeypatch.setattr(worker, "LIFE_SECONDS", 0.2)
    stolen = store.layout.root / "runs" / long.key.digest / "1"
    source = worker_of(store, name, runner)
    given = iter([source.take()])
    monkeypatch.setattr(source, "take", lambda: next(given, None))

    def steal(event: worker.Event) -> None:
        if event.kind == "progress" and event.progress is not None and event.progress.step > 30 and stolen.exists():
            store_folders(store.layout, [stolen])
        if event.kind == "warning":
            told.append(event.text)

    work(source, workers=1, store=store, on_event=steal)
    assert any("took this one for dead" in text for text in told)
    store.fold()
    rows = store.query("SELECT state, attempt FROM runs").rows
    assert rows == [("crashed", 1)] and not ended_states(store.layout, name)
    assert worker_of(store, name, runner).take() == long


def test_a_record_that_contradicts_itself_is_refused(store: Store, items: list[WorkItem], runner: PinnedRunner) -> None:
    name = begun(store, items)
    path = store.layout.root / "batches" / name / "batch.json"
    table = json.loads(path.read_text())
    table["groups"][0]["request"]["steps"] = 7
    path.write_text(json.dumps(table))
    with pytest.raises(SourceError, match="cannot be trained"):
        worker_of(store, name, runner).take()
    other = replace(runner, lock="f" * 64)
    needed = read_batch(store.layout, name).runners[0]
    with pytest.raises(UsageError, match="cannot go on here"):
        needed.check(name, other.name, other.lock, other.source, "fix")
