"""What reading and folding cost, in things that can be counted: groups of rows read, connections opened, files written again."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import RETURN, batch
from hypothesis import given, settings
from hypothesis import strategies as st

from openrlb.store import Store, incoming, merge
from openrlb.store.described import BINS, described
from openrlb.store.points import no_points, ordered
from openrlb.types import MetricBatch, RunBatch, Selection

NAME = [(RETURN.name, RETURN.kind)]
ENVS = ("Hopper-v4", "Ant-v4", "Walker2d-v4", "Swimmer-v4", "Humanoid-v4")


def long_runs(count: int, rows: int) -> list[RunBatch]:
    """Runs of several environments in turn, as a project gives them."""
    found = []
    for number in range(count):
        steps = np.arange(rows, dtype=np.int64)
        values = MetricBatch(RETURN, steps, np.sin(steps + number))
        found.append(RunBatch(batch(f"r{number:02}", env=ENVS[number % len(ENVS)], seed=number).run, (values,)))
    return found


def curves(store: Store) -> dict[str, list[float]]:
    return {curve.run.run: curve.values.tolist() for curve in store.curves(Selection(), NAME)}


def test_a_fold_reads_every_group_of_rows_once_however_many_environments_there_are(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = long_runs(10, 20_000)
    groups = pq.read_metadata(store.write(runs)).num_row_groups
    assert groups == len(runs)  # none holds rows of two runs, since each has enough of them
    taken = []
    read = pq.ParquetFile.read_row_group

    def counted(self: pq.ParquetFile, group: int) -> pa.Table:
        taken.append(group)
        return read(self, group)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    store.fold()
    assert sorted(taken) == list(range(groups))
    assert curves(store) == {run.run.run: run.metrics[0].values.tolist() for run in runs}


def test_listing_runs_opens_duckdb_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    import duckdb

    store.write(long_runs(3, 10))
    store.fold()
    opened = []
    connect = duckdb.connect
    monkeypatch.setattr(duckdb, "connect", lambda *words, **more: opened.append(1) or connect(*words, **more))
    assert len(store.runs()) == 3
    assert len(opened) == 1


def test_many_rows_of_one_partition_become_several_files_that_read_as_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "ROWS_PER_FILE", 100)
    runs = [batch(f"r{number}", seed=number, points=40) for number in range(6)]
    store.write([*runs, batch("long", points=500)])
    store.fold()
    assert len(store.layout.data_files("points")) == len(store.layout.data_files("runs")) == 4
    before = curves(store)
    assert {name: len(values) for name, values in before.items()} == {**{f"r{n}": 40 for n in range(6)}, "long": 500}
    store.layout.catalog.unlink()
    assert store.rebuild() == []
    assert curves(store) == before


def test_what_has_grown_big_is_not_merged_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "ROWS_PER_FILE", 200)
    monkeypatch.setattr(merge, "FILES_PER_PARTITION", 4)
    written = []
    write = merge.write_points
    monkeypatch.setattr(merge, "write_points", lambda *words: written.append(write(*words)) or written[-1])
    count = 16
    for number in range(count):
        store.write([batch(f"r{number}", seed=number, points=50)])
        store.fold()
    assert {name: len(values) for name, values in curves(store).items()} == {f"r{number}": 50 for number in range(count)}
    assert 0 < sum(written) <= 2 * 50 * count, "a row is written again a few times, not for every few runs that come after it"
    before = curves(store)
    assert store.rebuild() == []
    assert curves(store) == before


def test_a_fold_a_listing_and_curves_import_neither_pandas_nor_polars(store: Store) -> None:
    store.write(long_runs(2, 10))
    code = (
        "import sys; from openrlb.store import Store; from pathlib import Path;"
        "from openrlb.types import Selection;"
        "s = Store(Path(sys.argv[1])); s.fold(); assert len(s.runs()) == 2;"
        f"assert len(s.curves(Selection(), {NAME!r})) == 2;"
        "assert not {'pandas', 'polars', 'plotly', 'scipy', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(store.layout.root)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


Rows = list[tuple[int, int, int, float]]
STEPS = st.one_of(st.integers(-5, 400), st.sampled_from([0, 2**62, 2**63 - 1]))
VALUES = st.floats(width=32, allow_infinity=False)


def table(rows: Rows) -> pa.Table:
    """Rows of (metric, run, step, value), in the order given."""
    names = no_points().schema.names
    columns = [
        [row[1] for row in rows],
        [row[0] for row in rows],
        [row[2] for row in rows],
        [None] * len(rows),
        [r[3] for r in rows],
    ]
    kinds = no_points().schema.types
    return pa.Table.from_arrays([pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)], names=names)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), STEPS, VALUES), max_size=60))
def test_rows_are_sorted_and_described_as_one_would_by_hand(rows: Rows) -> None:
    found = ordered(table(rows))
    expected = sorted(rows, key=lambda row: row[:3])  # Python's sort keeps the order of equal keys
    mine = list(zip(*(found[name].to_pylist() for name in ("metric_id", "run_id", "step", "value")), strict=True))
    assert repr(mine) == repr(expected)
    told = {(one["metric_id"], one["run_id"]): one for one in described(found, {0, 1}).to_pylist()}
    assert set(told) == {row[:2] for row in rows}
    for (metric, run), one in told.items():
        group = [row for row in expected if row[:2] == (metric, run)]
        steps, values = [row[2] for row in group], [row[3] for row in group]
        assert (one["n"], one["first_step"], one["last_step"]) == (len(group), min(steps), max(steps))
        assert same(one["last_value"], values[-1])
        assert same(one["mean"], sum(values) / len(values))
        bins: list[float | None] = [None] * BINS
        if max(steps) > 0:
            for place in {place_of(step, max(steps)) for step in steps}:
                part = [value for step, value in zip(steps, values, strict=True) if place_of(step, max(steps)) == place]
                bins[place] = sum(part) / len(part)
        assert (one["bins"] is not None) == (metric < 2 and max(steps) > 0)
        if one["bins"] is not None:
            assert all(same(a, b) for a, b in zip(one["bins"], bins, strict=True))
        late = [value for value in bins[90:] if value is not None]
        assert same(one["final"], sum(late) / len(late) if late else None)
        known = [value for value in bins if value is not None and not math.isnan(value)]
        assert same(one["lowest"], min(known, default=None)) and same(one["highest"], max(known, default=None))
        assert same(one["middle"], sum(known) / len(known) if known else None)


def place_of(step: int, last: int) -> int:
    """A step's bin."""
    return max(0, (step * BINS - 1) // last)


def same(one: float | None, other: float | None) -> bool:
    """Equal up to rounding; NaN is NaN, and nothing is nothing."""
    if one is None or other is None:
        return one is other
    return (math.isnan(one) and math.isnan(other)) or math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-30 + 1e-12 * abs(other))
