"""Points files: narrow rows sorted by (metric, run, step)."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openrlb.store.arrow import chosen, distinct, numbers, texts, to_numpy
from openrlb.store.catalog import StoredRun
from openrlb.store.files import writing

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

ROWS_PER_FILE = 4_000_000
"""So many rows are sorted at once and go into one file (more only where a single run has more): it bounds the memory."""

ROWS_PER_GROUP = 30_720
"""Measured: row groups of 122,880 read 2 to 3 times slower."""

TRIED = 4
"""On so many groups of a file's rows encodings are tried."""


def points_columns() -> list[tuple[str, pa.DataType]]:
    """The columns of a points file with their Arrow types."""
    import pyarrow as pa

    whole = pa.int64()
    return [("run_id", pa.int32()), ("metric_id", pa.int16()), ("step", whole), ("t_ms", whole), ("value", pa.float64())]


def no_points() -> pa.Table:
    """The columns of a points file without a row."""
    import pyarrow as pa

    columns = points_columns()
    return pa.Table.from_arrays([numbers(kind, []) for _, kind in columns], schema=pa.schema(columns))


def of_runs(rows: pa.Table, ids: Collection[int]) -> pa.Table:
    """The rows of some runs.

    Args:
        rows: A table with the column ``run_id``.
        ids: The runs.
    """
    import numpy as np
    import pyarrow as pa

    return rows.filter(numbers(pa.bool_(), np.isin(to_numpy(rows["run_id"]), np.array(sorted(ids), np.int32))))


def read_points(path: Path, ids: Collection[int]) -> pa.Table:
    """The rows that a points file has of some runs, its pages checked.

    Args:
        path: The file.
        ids: The runs.

    Raises:
        OSError: It cannot be read.
        ArrowException: It is damaged.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        return of_runs(file.read().replace_schema_metadata(None), ids)


def run_ids(path: Path) -> set[int]:
    """The runs that a data file has something of, its pages checked.

    Args:
        path: The file, of any kind.

    Raises:
        OSError: It cannot be read.
        ArrowException: It is damaged.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        return distinct(file.read(columns=["run_id"])["run_id"])


def ordered(rows: pa.Table) -> pa.Table:
    """Rows sorted by metric, run and step, those of one step in the order given.

    Args:
        rows: The columns of :func:`points_columns`.
    """
    order = _sorting(*(to_numpy(rows[name]) for name in ("metric_id", "run_id", "step")))
    return rows if order is None else chosen(rows, order)


def write_points(path: Path, rows: pa.Table, metrics: Sequence[Sequence[Any]], replaces: Sequence[str] = ()) -> int:
    """Writes a points file.

    Args:
        path: Where the file shall be.
        rows: What :func:`ordered` gave.
        metrics: The metric ids with their names, kept in the footer so that they can never be lost.
        replaces: Names of files this one replaces, kept in its footer so that a rebuild skips them.

    Returns:
        The number of rows written.
    """
    import pyarrow.parquet as pq

    kept = {"replaces": json.dumps(list(replaces)), "metrics": json.dumps([list(metric) for metric in metrics])}
    with writing(path) as temporary:
        pq.write_table(rows.replace_schema_metadata(kept), temporary, **_how(_counted(rows)))
    return int(rows.num_rows)


def _how(counted: bool) -> dict[str, Any]:
    """How Parquet is written: 5 bytes a value, where its defaults take 8.

    Args:
        counted: The values are a few different ones, so that a dictionary of them is shorter.
    """
    encodings = {"step": "DELTA_BINARY_PACKED", "t_ms": "DELTA_BINARY_PACKED"}
    return {
        "compression": "zstd",
        "compression_level": 3,
        "version": "2.6",
        "row_group_size": ROWS_PER_GROUP,
        "write_page_checksum": True,
        "use_dictionary": ["run_id", "metric_id", *(["value"] if counted else [])],
        "column_encoding": encodings if counted else encodings | {"value": "BYTE_STREAM_SPLIT"},
    }


def _counted(rows: pa.Table) -> bool:
    """Whether a dictionary is shorter for a file's values: tried on a few groups of its rows.

    Numbers with two decimals, or whole ones, take half the bytes with it; measured numbers take twice as many.
    """
    import io

    import pyarrow.parquet as pq

    sizes = {False: 0, True: 0}
    values = rows.select(["value"])
    for part in range(min(TRIED, -(-rows.num_rows // ROWS_PER_GROUP))):
        start = part * rows.num_rows // TRIED if rows.num_rows > TRIED * ROWS_PER_GROUP else part * ROWS_PER_GROUP
        for counted in sizes:
            how = _how(counted)
            buffer = io.BytesIO()
            encodings = {"value": "BYTE_STREAM_SPLIT"} if not counted else None
            how |= {"use_dictionary": ["value"] if counted else False, "column_encoding": encodings}
            pq.write_table(values.slice(start, ROWS_PER_GROUP), buffer, **how)
            sizes[counted] += buffer.tell()
    return sizes[True] < sizes[False]


def _sorting(metric: NDArray[Any], run: NDArray[Any], step: NDArray[Any]) -> NDArray[Any] | None:
    """The order by metric, run and step that keeps the order of equal ones; None where it is that already.

    Rows come in long stretches of one metric of one run, nearly always with rising steps: sorting by metric and run alone is
    then quick, and only where steps fall a stretch is sorted by them.
    """
    import numpy as np

    key = metric.astype(np.int64) << 32 | run
    order = None if bool(np.all(key[1:] >= key[:-1])) else np.argsort(key, kind="stable")
    if order is not None:
        key, step = key[order], step[order]
    falls = np.flatnonzero((key[1:] == key[:-1]) & (step[1:] < step[:-1]))
    if not len(falls):
        return order
    order = np.arange(len(key)) if order is None else order
    for one in np.unique(key[falls]):
        start, end = np.searchsorted(key, one, "left"), np.searchsorted(key, one, "right")
        order[start:end] = order[start:end][np.argsort(step[start:end], kind="stable")]
    return order


def write_runs(path: Path, runs: Sequence[StoredRun], replaces: Sequence[str] = ()) -> None:
    """Writes the run records that a rebuild makes the catalog from."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [numbers(pa.int32(), [run.run_id for run in runs]), texts(run.to_json() for run in runs)]
    table = pa.Table.from_arrays(columns, names=["run_id", "record"], metadata={"replaces": json.dumps(list(replaces))})
    with writing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
