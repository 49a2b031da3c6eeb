"""What the catalog keeps of every metric of every run: counts, ends, coarse means."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from openrlb.store.arrow import numbers, to_numpy
from openrlb.store.points import no_points

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    from numpy.typing import NDArray

BINS = 100
"""Equal step bins up to a metric's last step."""
FINAL = 90
"""From this bin on they are the ``final:10%`` window."""


def binned_metrics(metrics: Iterable[Sequence[Any]]) -> set[int]:
    """The ids of metrics whose bins are kept: those known by a canonical name.

    Args:
        metrics: What ``read_metrics`` gave.

    >>> binned_metrics([(0, "rollout/ep_rew_mean", "episode", "episodic_return"), (1, "loss", "scalar", None)])
    {0}
    """
    return {metric_id for metric_id, *_, canonical in metrics if canonical}


def described(rows: pa.Table, binned: Collection[int]) -> pa.Table:
    """A row of ``run_metrics`` for each metric of each run.

    Args:
        rows: A points file's rows, in its order: by metric, run and step.
        binned: What :func:`binned_metrics` gave. For all 35 metrics of a run of Open RL Benchmark bins would be 28 kB, of which
            every fold copies all.
    """
    import numpy as np

    metric, run, step, value = (to_numpy(rows[name]) for name in ("metric_id", "run_id", "step", "value"))
    if not len(run):
        return _table({}, np.zeros(0, bool), [])
    key = metric.astype(np.int64) << 32 | run
    starts = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    counts = np.diff(np.concatenate([starts, [len(key)]]))
    last = step[starts + counts - 1]
    with np.errstate(all="ignore"):
        columns = {
            "run_id": run[starts],
            "metric_id": metric[starts],
            "n": counts,
            "first_step": step[starts],
            "last_step": last,
            "last_value": value[starts + counts - 1],
            "mean": np.add.reduceat(value, starts) / counts,
        }
        group, place, mean = _bin_means(step, value, counts, last)
        columns |= _ends(group, place, mean, len(starts))
    keep = np.isin(columns["metric_id"], np.array(sorted(binned), np.int16)) & (last > 0)
    chosen = keep[group]
    row = np.cumsum(keep)[group[chosen]] - 1
    flat = np.zeros(int(keep.sum()) * BINS)
    filled = np.zeros(len(flat), bool)
    flat[row * BINS + place[chosen]], filled[row * BINS + place[chosen]] = mean[chosen], True
    return _table(columns, keep, [flat, filled])


def _bin_means(
    step: NDArray[Any], value: NDArray[Any], counts: NDArray[Any], last: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """The filled bins: which group each belongs to, its place in it, and the mean of its values."""
    import numpy as np

    steps, ends = (step, last) if last.max() < 2**63 // BINS else (step.astype(object), last.astype(object))
    row_last = np.repeat(ends, counts)
    group = np.repeat(np.arange(len(counts)), counts)
    counted = row_last > 0
    if not counted.all():
        steps, value, row_last, group = steps[counted], value[counted], row_last[counted], group[counted]
    if not len(group):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    place = np.maximum(0, (steps * BINS - 1) // row_last).astype(np.int64)
    edges = np.flatnonzero(np.concatenate([[True], (group[1:] != group[:-1]) | (place[1:] != place[:-1])]))
    sizes = np.diff(np.concatenate([edges, [len(group)]]))
    return group[edges], place[edges], np.add.reduceat(value, edges) / sizes


def _ends(group: NDArray[Any], place: NDArray[Any], mean: NDArray[Any], size: int) -> dict[str, NDArray[Any]]:
    """The mean of each group's last bins, and the lowest, mean and highest of those that are a number; masked where none is."""
    import numpy as np

    late = place >= FINAL
    count = np.bincount(group[late], minlength=size)
    final = np.ma.MaskedArray(np.bincount(group[late], mean[late], size) / np.maximum(count, 1), count == 0)
    real = ~np.isnan(mean)
    group, mean = group[real], mean[real]
    count = np.bincount(group, minlength=size)
    lowest, highest = np.full(size, np.inf), np.full(size, -np.inf)
    np.minimum.at(lowest, group, mean)
    np.maximum.at(highest, group, mean)
    middle = np.bincount(group, mean, size) / np.maximum(count, 1)
    binned = {"lowest": lowest, "middle": middle, "highest": highest}
    return {"final": final, **{name: np.ma.MaskedArray(values, count == 0) for name, values in binned.items()}}


def _table(columns: dict[str, NDArray[Any]], keep: NDArray[Any], bins: list[NDArray[Any]]) -> pa.Table:
    """The columns of ``run_metrics`` as Arrow takes them."""
    import numpy as np
    import pyarrow as pa

    whole, real = pa.int64(), pa.float64()
    kinds = {"run_id": pa.int32(), "metric_id": pa.int16(), "n": whole, "first_step": whole, "last_step": whole}
    kinds |= dict.fromkeys(("last_value", "mean", "final", "lowest", "middle", "highest"), real)
    arrays = []
    for name, kind in kinds.items():
        values = columns.get(name, np.zeros(0))
        missing = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
        arrays.append(numbers(kind, np.ma.getdata(values), missing))
    flat, filled = bins or [np.zeros(0), np.zeros(0, bool)]
    offsets = np.concatenate([[0], np.cumsum(keep) * BINS]).astype(np.int32)
    valid = pa.py_buffer(np.packbits(keep, bitorder="little"))
    inner = numbers(real, flat, ~filled)
    arrays.append(pa.Array.from_buffers(pa.list_(real), len(keep), [valid, pa.py_buffer(offsets)], children=[inner]))
    return pa.Table.from_arrays(arrays, names=[*kinds, "bins"])


def add_described(con: duckdb.DuckDBPyConnection, parts: Iterable[pa.Table]) -> None:
    """Adds rows of ``run_metrics``, and fills the ``steps`` and ``metrics`` of their runs.

    Args:
        con: A connection with the catalog attached for writing.
        parts: What :func:`described` gave; all of a run's metrics are among them.
    """
    import pyarrow as pa

    con.register("described", pa.concat_tables([described(no_points(), ()), *parts]))
    con.execute("INSERT INTO catalog.run_metrics BY NAME SELECT * FROM described ORDER BY metric_id, run_id")
    con.execute(
        """UPDATE catalog.runs SET steps = greatest(found.steps, runs.steps), metrics = found.metrics FROM (
            SELECT run_id, max(last_step) AS steps, list(name ORDER BY name) AS metrics
            FROM described JOIN catalog.metrics USING (metric_id) GROUP BY run_id) AS found
        WHERE runs.run_id = found.run_id"""
    )
    con.execute("UPDATE catalog.runs SET steps = coalesce(steps, 0), metrics = [] WHERE metrics IS NULL")
    con.unregister("described")
