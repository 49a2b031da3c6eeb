"""Metric ids: given under the lock, kept in ``data/metrics.parquet``, copied into the catalog."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from openrlb.errors import StoreError
from openrlb.store.files import writing
from openrlb.store.layout import Layout

if TYPE_CHECKING:
    import duckdb


def assign_metric_ids(layout: Layout, metrics: Iterable[Sequence[Any]]) -> dict[tuple[str, str], int]:
    """Ids for every (name, kind), kept in ``data/metrics.parquet`` before any points file uses them.

    Raises:
        StoreError: More than 32,767 different metrics.
    """
    known = read_metrics(layout)
    ids = {(name, kind): metric_id for metric_id, name, kind, _ in known}
    added = False
    for name, kind, canonical in metrics:
        if (name, kind) not in ids:
            ids[name, kind] = len(ids)
            known.append((ids[name, kind], name, kind, canonical))
            added = True
    if len(ids) > 32_767:
        fix = "fetch fewer columns: name them with --map value=COLUMN"
        raise StoreError("the store is full of metric names", f"{len(ids):,} different ones, 32,767 at most", fix)
    if added:
        _write_metrics(layout, known)
    return ids


def read_metrics(layout: Layout) -> list[tuple[int, str, str, str | None]]:
    """The metric ids given so far: (id, name, kind, canonical name)."""
    import pyarrow.parquet as pq

    if not layout.metrics.exists():
        return []
    rows = pq.read_table(layout.metrics).to_pylist()
    return [(row["metric_id"], row["name"], row["kind"], row["canonical"]) for row in rows]


def _write_metrics(layout: Layout, metrics: list[tuple[int, str, str, str | None]]) -> None:
    """Puts the metric ids in place."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ("metric_id", "name", "kind", "canonical")
    schema = pa.schema([("metric_id", pa.int16()), *((name, pa.string()) for name in names[1:])])
    rows = [dict(zip(names, row, strict=True)) for row in metrics]
    with writing(layout.metrics) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), temporary)


def update_metrics(con: duckdb.DuckDBPyConnection, layout: Layout) -> None:
    """Copies the metric ids into the catalog."""
    con.execute("DELETE FROM catalog.metrics")
    rows = read_metrics(layout)
    if rows:
        con.executemany("INSERT INTO catalog.metrics VALUES (?, ?, ?, ?)", rows)
