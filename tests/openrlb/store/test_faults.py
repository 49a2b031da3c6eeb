"""Damage and clocks that jump: found by tests/stress, each once more without chance."""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from builders import batch

from openrlb.api.opened import opened
from openrlb.errors import StoreDamaged
from openrlb.store import Store, health, merge
from openrlb.store.layout import Layout
from openrlb.store.lock import PROBE_PREFIX
from openrlb.types import Selection


def add(store: Store, *names: str, **fields: int) -> None:
    for name in names:
        store.write([batch(name, **fields)])
        store.fold()


def counted(store: Store) -> dict[str, int]:
    return dict(store.query("SELECT run, count(*) FROM points GROUP BY run").rows)


def test_a_clock_set_back_between_two_writes_does_not_bring_the_older_content_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time_ns()
    store.write([batch("a", points=10)])
    monkeypatch.setattr(time, "time_ns", lambda: now - 3_600_000_000_000)
    store.write([batch("a", points=20)])
    store.fold()
    assert counted(store) == {"a": 20}


@pytest.mark.parametrize("text", [b"", b"\0\0\0", b"7.5", b"-3", b"1", b"99999999999", b"9" * 10_000, b"\xff\xfe"])
def test_a_counter_of_run_ids_that_cannot_be_right_is_counted_anew(store: Store, text: bytes) -> None:
    add(store, "a", "b", "b", points=10)
    store.layout.counter.write_bytes(text)
    store.layout.catalog.unlink()  # which else would tell the largest number
    add(store, "c", points=5)
    assert counted(store) == {"a": 10, "b": 10, "c": 5}
    assert store.layout.counter.read_text() == "4"


@pytest.mark.parametrize("damage", ["torn", "garbage", "empty", "another table"])
def test_a_damaged_file_of_metric_names_is_made_again(store: Store, damage: str) -> None:
    add(store, "a")
    whole = store.layout.metrics.read_bytes()
    other = next(iter(store.layout.data_files("points"))).read_bytes()
    bad = {"torn": whole[: len(whole) // 2], "garbage": b"garbage", "empty": b"", "another table": other}[damage]
    store.layout.metrics.write_bytes(bad)
    add(store, "b")
    assert counted(store) == {"a": 50, "b": 50}
    assert store.query("SELECT DISTINCT metric FROM points").rows == [("eval/mean_reward",)]
    assert [path.name for path in store.layout.quarantine.iterdir()] == ["metrics.parquet"]
    store.layout.metrics.write_bytes(bad)
    store.rebuild()
    assert counted(store) == {"a": 50, "b": 50}


def test_torn_points_are_named_and_stop_only_who_asks_for_them(store: Store) -> None:
    add(store, "a")
    add(store, "b", seed=1)
    for path in store.layout.data_files("points"):  # the first one tells DuckDB the columns of all
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        assert [row.record.run for row in store.runs()] == ["a", "b"]
        assert len(store.query("SELECT * FROM scores").rows) == 6
        for ask in (
            lambda: store.query("SELECT sum(value) FROM points"),
            lambda: store.curves(Selection(), [("eval/mean_reward", "eval")]),
        ):
            with pytest.raises(StoreDamaged, match=rf"could not be read .*{path.name}.*doctor --rebuild"):
                ask()
        assert store.health().damaged == (store.layout.relative(path),)
        path.write_bytes(whole)
    assert counted(store) == {"a": 50, "b": 50}


@pytest.mark.parametrize("kind", ["points", "runs"])
@pytest.mark.parametrize("lost", [True, False])
def test_a_damaged_file_in_a_crowded_partition_stops_no_fold_and_costs_nobody_elses_points(
    store: Store, monkeypatch: pytest.MonkeyPatch, kind: str, lost: bool
) -> None:
    monkeypatch.setattr(merge, "FILES_PER_PARTITION", 2)
    add(store, "r0", "r1")
    damaged = store.layout.data_files(kind)[0]
    if lost:
        damaged.unlink()
    else:
        damaged.write_bytes(damaged.read_bytes()[:-1])
    add(store, "r2")  # the third file: this would merge
    assert len(store.runs()) == 3 and len(store.layout.data_files("points")) == 3 - (lost and kind == "points")
    assert len(store.rebuild()) >= 1
    assert counted(store) == {"r1": 50, "r2": 50}
    add(store, "r0")
    assert counted(store) == {"r0": 50, "r1": 50, "r2": 50}


@pytest.mark.parametrize("kind", ["metrics", "points", "runs"])
@pytest.mark.parametrize("column", [0, 1])
def test_one_changed_byte_relabels_no_value_and_changes_no_number(store: Store, kind: str, column: int) -> None:
    add(store, "a")
    before = store.query("SELECT * FROM points ORDER BY ALL").rows
    (path,) = [store.layout.metrics] if kind == "metrics" else store.layout.data_files(kind)
    with pq.ParquetFile(path) as file:
        page = file.metadata.row_group(0).column(file.metadata.num_columns - 1 - column if kind == "points" else column)
    data = bytearray(path.read_bytes())
    data[(page.dictionary_page_offset or page.data_page_offset) + page.total_compressed_size - 2] ^= 1  # its last page
    path.write_bytes(data)
    assert any("damaged" in warning for warning in store.rebuild()) or kind == "metrics"
    assert [row for row in store.query("SELECT * FROM points").rows if row not in before] == []
    add(store, "a")
    assert store.query("SELECT * FROM points ORDER BY ALL").rows == before
    assert len(list(store.layout.quarantine.iterdir())) >= 1


def test_a_store_that_may_not_be_looked_at_is_none_to_this_user_and_no_traceback(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", locked)  # as Python 3.11 does in a folder of somebody else
    assert not store.exists
    assert opened(store) is store


@pytest.mark.parametrize("kind", ["segment", "points"])
def test_a_column_that_ends_before_the_others_is_damage(store: Store, kind: str) -> None:
    """One bit turns the only page of a column into one of an unknown kind: Arrow skips it, and ends its batches there."""
    add(store, "a")
    path = store.write([batch("b")]) if kind == "segment" else next(iter(store.layout.data_files("points")))
    data, told = bytearray(path.read_bytes()), pq.read_metadata(path)
    place = told.row_group(0).column(told.num_columns - 1).data_page_offset
    assert data[place : place + 2] == b"\x15\x00"  # Thrift: the field 1, a page of data
    data[place + 1] = 0x20
    path.write_bytes(data)
    if kind == "segment":
        ((name, why),) = store.fold().quarantined
        assert name == path.name and "some of its columns end before others" in why and counted(store) == {"a": 50}
    else:
        (warning,) = (line for line in store.rebuild() if "0 of its 50 rows can be read" in line)
        assert store.layout.relative(path) in warning
    add(store, "b")
    assert counted(store)["b"] == 50


@pytest.mark.parametrize("column", ["value", "step"])
def test_a_row_without_a_number_is_damage(store: Store, column: str) -> None:
    add(store, "a")
    add(store, "b", seed=1)
    path = next(iter(store.layout.data_files("points")))
    with pq.ParquetFile(path) as file:
        table = file.read()
    kept = pc.if_else(pa.array([row != 7 for row in range(len(table))]), table[column], pa.scalar(None, table[column].type))
    place = table.schema.get_field_index(column)
    pq.write_table(table.set_column(place, table.schema.field(place).with_nullable(True), kept), path)
    with pytest.raises(StoreDamaged, match="without a number") as caught:
        store.curves(Selection(), [("eval/mean_reward", "eval")])
    assert "openrlb doctor --rebuild" in caught.value.fix
    store.rebuild()
    assert [curve.run.run for curve in store.curves(Selection(), [("eval/mean_reward", "eval")])] == ["b"]


def test_a_catalog_that_ends_early_is_the_damage_and_not_the_question(store: Store) -> None:
    for number in range(3):  # a catalog whose blocks lie apart
        add(store, *(f"{number}-{other}" for other in range(2)))
    whole, question = store.layout.catalog.read_bytes(), "SELECT run, config, algo FROM runs ORDER BY run"
    expected = store.query(question).rows
    damaged = 0
    for end in range(0, len(whole), len(whole) // 40):
        store.layout.catalog.write_bytes(whole[:end])
        try:
            assert store.query(question).rows == expected
        except StoreDamaged as error:
            assert "openrlb doctor --rebuild" in error.fix
            damaged += 1
    assert damaged > 10


def test_a_reader_sees_one_catalog_although_it_is_replaced_while_it_is_opened(store: Store) -> None:
    """DuckDB opens a file twice: its head and its rest are to be of one catalog."""
    add(store, "a")
    before = store.layout.catalog.read_bytes()
    store.write([batch(f"b{number}", env=f"Env{number % 50}-v1", points=3) for number in range(400)])
    store.fold()
    after, place, over = store.layout.catalog.read_bytes(), store.layout.catalog, threading.Event()
    assert len(after) > len(before)

    def replace_all_along() -> None:
        for number in itertools.count():
            if over.is_set():
                return
            beside = place.with_name(f"catalog{number % 3}")
            beside.write_bytes((before, after)[number % 2])
            beside.replace(place)

    writer = threading.Thread(target=replace_all_along)
    writer.start()
    seen = set()
    try:
        for _ in range(150):
            with store.reading() as con:
                runs, told = con.execute("SELECT count(*), count(DISTINCT digest) FROM catalog.runs").fetchall()[0]
                metrics = con.execute("SELECT count(DISTINCT run_id) FROM catalog.run_metrics").fetchall()[0][0]
            seen.add((runs, told, metrics))
    finally:
        over.set()
        writer.join()
    assert {runs for runs, _, _ in seen} == {1, 401}, seen
    assert all(runs == metrics for runs, _, metrics in seen), seen


def test_a_look_at_a_store_that_a_fold_overtakes_names_nobodys_files(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    add(store, "a")
    inspected = health.inspect

    def overtaken(con: duckdb.DuckDBPyConnection, layout: Layout, seen: health.OnDisk) -> health.Health:
        """The catalog is open, and another process stores a run."""
        add(Store(), "b", seed=1)
        return inspected(con, layout, seen)

    monkeypatch.setattr("openrlb.store.store.inspect", overtaken)
    assert store.health().unknown == ()
    monkeypatch.undo()
    stray = next(iter(store.layout.data_files("points"))).with_name("points-stray.parquet")
    stray.write_bytes(next(iter(store.layout.data_files("points"))).read_bytes())
    store.layout.journal.write_text(json.dumps([store.layout.relative(stray)]))
    assert store.health().unknown == (), "a fold is making it"
    store.layout.journal.unlink()
    assert store.health().unknown == (store.layout.relative(stray),)


def test_a_fold_leaves_the_file_by_which_another_process_tries_a_lock(store: Store) -> None:
    add(store, "a")
    probe, left = (store.layout.root / f"{PROBE_PREFIX}{name}" for name in ("young", "old"))
    for path in (probe, left):
        path.touch()
    os.utime(left, (0, 0))
    add(store, "b", seed=1)
    assert probe.exists() and not left.exists()
