"""Whole runs out of the store, a handful at a time: what an export reads, however many there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from openrlb.store.arrow import filled, to_numpy
from openrlb.store.catalog import StoredRun
from openrlb.store.kept import KeptFiles
from openrlb.store.layout import VALUES
from openrlb.types import Metric, MetricBatch, RunBatch

if TYPE_CHECKING:
    import duckdb

    from openrlb.store.store import Store

RUNS_AT_ONCE = 256
VALUES_AT_ONCE = 2_000_000

_RUNS = """SELECT source, run, run_id, project, env, record, coalesce(n, 0) FROM catalog.runs
    LEFT JOIN (SELECT run_id, sum(n)::BIGINT AS n FROM catalog.run_metrics GROUP BY run_id) USING (run_id)
    WHERE run IN (SELECT unnest(?))"""


@dataclass(frozen=True, slots=True)
class _Held:
    """One run of the catalog."""

    run_id: int
    partition: tuple[str, str]
    stored: StoredRun
    values: int


def stored_batches(store: Store, keys: Sequence[tuple[str, str]], metrics: Iterable[str] | None = None) -> Iterator[RunBatch]:
    """Runs as they were stored, in the order of their keys, with every value and kept file.

    What a store does not hold cannot come back: metrics without a value, and the logged order of rows at different steps
    (they are sorted by step; rows at one step keep their order).

    Args:
        store: The store.
        keys: (source, run) of each.
        metrics: Only metrics of these logged or canonical names; all by default.

    Raises:
        StoreDamaged: Points or kept files are lost or changed.
        NothingMatched: The store is empty.
    """
    with store.reading() as con:
        found = con.execute(_RUNS, [[run for _, run in keys]]).fetchall()
        held = {
            (source, run): _Held(run_id, (project, env), StoredRun.from_json(run_id, record), values)
            for source, run, run_id, project, env, record, values in found
        }
        rows = con.execute("SELECT metric_id, name, kind, canonical FROM catalog.metrics ORDER BY name, kind").fetchall()
        names = {number: Metric(*metric) for number, *metric in rows}
        if metrics is not None:
            wanted = set(metrics)
            names = {number: one for number, one in names.items() if {one.name, one.canonical} & wanted}
        kept = KeptFiles(store.layout)
        for some in _handfuls([held[key] for key in keys if key in held]):
            values = _values(store, con, some, names)
            for one in some:
                yield RunBatch(one.stored.run, tuple(values.get(one.run_id, ())), kept.of(one.stored))


def _handfuls(runs: Iterable[_Held]) -> Iterator[list[_Held]]:
    """Runs whose values fit into memory together."""
    some: list[_Held] = []
    for one in runs:
        if some and (len(some) >= RUNS_AT_ONCE or sum(held.values for held in some) + one.values > VALUES_AT_ONCE):
            yield some
            some = []
        some.append(one)
    if some:
        yield some


def _values(
    store: Store, con: duckdb.DuckDBPyConnection, runs: Sequence[_Held], names: dict[int, Metric]
) -> dict[int, list[MetricBatch]]:
    """The values of some runs by run id, metrics in the order of their names."""
    import numpy as np

    if not names:
        return {}
    points = store.points(con, {one.partition for one in runs}, VALUES, {one.run_id for one in runs}, names)
    ids, metrics = ", ".join(str(one.run_id) for one in runs), ", ".join(map(str, names))
    table = con.sql(
        f"""SELECT run_id, metric_id, step, t_ms, value, file_row_number AS place
        FROM {points} WHERE run_id IN ({ids}) AND metric_id IN ({metrics})"""
    ).to_arrow_table()
    time, timed = filled(table["t_ms"])
    run, metric, step, value, place = (to_numpy(table[name]) for name in ("run_id", "metric_id", "step", "value", "place"))
    order = np.lexsort((place, metric, run))  # a run's rows lie in one file, sorted by step and then by logged order
    run, metric, step, time, timed, value = (column[order] for column in (run, metric, step, time, timed, value))
    edges: list[int] = (np.flatnonzero(np.diff(run) | np.diff(metric)) + 1).tolist() if len(run) else []
    found: dict[tuple[int, int], MetricBatch] = {}
    for start, end in pairwise([0, *edges, len(run)] if len(run) else []):
        part = slice(start, end)
        number = int(metric[start])
        times = time[part].copy() if timed[part].all() else None
        found[int(run[start]), number] = MetricBatch(names[number], step[part].copy(), value[part].copy(), times)
    every = {one.run_id: [found[one.run_id, number] for number in names if (one.run_id, number) in found] for one in runs}
    return {run_id: batches for run_id, batches in every.items() if batches}
