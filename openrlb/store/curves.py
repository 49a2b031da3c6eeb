"""Curves out of a store's points."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from openrlb.errors import StoreDamaged
from openrlb.store.catalog import REBUILD
from openrlb.types import Curve, Metric, Run

if TYPE_CHECKING:
    import duckdb

    from openrlb.types import Steps


def _in_order(run: Steps, metric: Steps, place: Steps) -> bool:
    """Whether the rows of each (metric, run) lie together, in their file's order."""
    import numpy as np

    if len(run) < 2:
        return True
    edge = (run[1:] != run[:-1]) | (metric[1:] != metric[:-1])
    starts = np.flatnonzero(np.concatenate(([True], edge)))
    keys = set(zip(run[starts].tolist(), metric[starts].tolist(), strict=True))
    return len(keys) == len(starts) and bool(np.all(edge | (place[1:] > place[:-1])))


def read_curves(
    con: duckdb.DuckDBPyConnection, points: str, runs: dict[int, tuple[Run, str]], names: dict[int, Metric]
) -> list[Curve]:
    """Reads curves; rows of one (metric, run) lie together in one file, sorted by step and then by logged order.

    Args:
        con: A connection to the store.
        points: A FROM item with the rows.
        runs: The runs by their ids, with when they were stored.
        names: The metrics by their ids.

    Raises:
        StoreDamaged: A row lacks a number.
    """
    import numpy as np

    ids, metrics = ", ".join(map(str, runs)), ", ".join(map(str, names))
    rows = con.execute(
        f"""SELECT run_id, metric_id, step, coalesce(t_ms, -1) AS t_ms, value, file_row_number AS place FROM {points}
        WHERE metric_id IN ({metrics}) AND run_id IN ({ids})"""
    ).fetchnumpy()  # a third of the time of Arrow's table, which takes as long again to import
    if any(np.ma.isMaskedArray(column) for column in rows.values()):
        fix = f"{REBUILD}, then fetch what it names again"
        raise StoreDamaged("a points file of the store is damaged", "it has rows without a number", fix)
    columns = [np.asarray(column) for column in rows.values()]
    if not _in_order(columns[0], columns[1], columns[5]):
        order = np.lexsort((columns[5], columns[0], columns[1]))
        columns = [column[order] for column in columns]
    run, metric, step, time, value, _ = columns
    edges = np.flatnonzero(np.diff(run) | np.diff(metric)) + 1 if len(run) else np.zeros(0, np.int64)
    bounds = [0, *edges.tolist(), len(run)] if len(run) else [0]
    found: dict[tuple[int, int], Curve] = {}
    for start, end in pairwise(bounds):
        part = slice(start, end)
        key = (int(run[start]), int(metric[start]))
        record, fetched = runs[key[0]]
        found[key] = Curve(record, names[key[1]], step[part], value[part], time[part], fetched)
    return [found[run_id, metric_id] for run_id in runs for metric_id in names if (run_id, metric_id) in found]
