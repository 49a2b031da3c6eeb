"""Looks are kept for good: by writers that are killed, by two at once, through a rebuild."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from openrlb.errors import StoreBusy, StoreUnwritable
from openrlb.store import Store
from openrlb.store.layout import Layout
from openrlb.store.looks import NAME, Look, LookWarning, add_looks, read_looks

LOOK = Look(
    comparison="c1", groups=("ppo", "a2c"), envs=("Hopper-v5",), statistic="iqm", runs=("folder a", "folder b"),
    time="2026-01-31T00:00:00+00:00", verdict="undecided", difference=1.5, low=-1.0, high=4.0, alpha=0.05, information=2.5,
    sequential=False, margin=None,
)  # fmt: skip


def test_looks_come_back_in_order_as_they_were_taken(store: Store) -> None:
    assert read_looks(store.layout) == []
    add_looks(store.layout, [LOOK, replace(LOOK, comparison="c2", margin=3.0)])
    add_looks(store.layout, [replace(LOOK, runs=("folder a", "folder ä b"))])
    add_looks(store.layout, [])
    assert [look.comparison for look in read_looks(store.layout)] == ["c1", "c2", "c1"]
    assert read_looks(store.layout)[2].runs == ("folder a", "folder ä b")


@pytest.mark.parametrize("keep", [1, 20, 150])
def test_a_torn_line_loses_nothing_but_itself(store: Store, keep: int) -> None:
    add_looks(store.layout, [LOOK])
    path = store.layout.root / NAME
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:keep])  # killed while it wrote the second
    add_looks(store.layout, [replace(LOOK, comparison="c3")])
    with pytest.warns(LookWarning, match="1 line of looks.jsonl cannot be read"):
        assert [look.comparison for look in read_looks(store.layout)] == ["c1", "c3"]


def test_lines_that_are_no_looks_are_passed_over(store: Store) -> None:
    add_looks(store.layout, [LOOK])
    path = store.layout.root / NAME
    entry = json.loads(path.read_text())
    newer = json.dumps({**entry, "added_later": 1})
    lacking = json.dumps({key: value for key, value in entry.items() if key != "runs"})
    path.write_text("\n".join([newer, lacking, "[]", "null", json.dumps({**entry, "alpha": "much"}), "\x00"]))
    with pytest.warns(LookWarning, match="5 lines of looks.jsonl cannot be read"):
        assert read_looks(store.layout) == [LOOK]


def test_looks_that_cannot_be_read_are_not_taken_for_none(store: Store) -> None:
    (store.layout.root / NAME).mkdir(parents=True)
    with pytest.warns(LookWarning, match="looks.jsonl cannot be read .*not counted"):
        assert read_looks(store.layout) == []


def test_nobody_writes_while_another_holds_the_lock(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    add_looks(store.layout, [LOOK])
    monkeypatch.setattr("openrlb.store.looks.LOCK_SECONDS", 0.05)
    with FileLock(store.layout.root / "looks.lock"), pytest.raises(StoreBusy, match="not noted"):
        add_looks(store.layout, [LOOK])
    assert len(read_looks(store.layout)) == 1


def test_a_look_counted_before_somebody_else_looked_is_counted_again(store: Store) -> None:
    assert add_looks(store.layout, [LOOK], counted=0)
    assert not add_looks(store.layout, [replace(LOOK, comparison="c2")], counted=0)
    assert [look.comparison for look in read_looks(store.layout)] == ["c1"]
    assert add_looks(store.layout, [replace(LOOK, comparison="c2")], counted=1)


def _add(root: Path, name: str) -> None:
    """Twenty looks, one at a time."""
    for at in range(20):
        add_looks(
            Layout(root), [replace(LOOK, comparison=f"{name}{at}", runs=tuple(f"folder {name} {run}" for run in range(200)))]
        )


def test_two_processes_write_at_once(store: Store) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_add, args=(store.layout.root, name)) for name in "xy"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert sorted(look.comparison for look in read_looks(store.layout)) == sorted(
        f"{name}{at}" for name in "xy" for at in range(20)
    )


def test_a_rebuild_keeps_them(runs: Store) -> None:
    add_looks(runs.layout, [LOOK])
    runs.rebuild()
    runs.fold()
    assert read_looks(runs.layout) == [LOOK]


def test_a_full_disk_is_told(small_disk: Path) -> None:
    layout = Layout(small_disk / "store")
    add_looks(layout, [LOOK])
    (small_disk / "ballast").write_bytes(b"x" * 1_000_000)
    with pytest.raises(StoreUnwritable):
        add_looks(layout, [replace(LOOK, runs=tuple(f"folder {run}" for run in range(40_000)))])
    with pytest.warns(LookWarning):
        assert read_looks(layout)[0] == LOOK
