"""Metric ids: given under the lock, kept in ``data/metrics.parquet``, copied into the catalog."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openrlb.errors import StoreDamaged, StoreError
from openrlb.store.arrow import numbers, texts
from openrlb.store.files import writing
from openrlb.store.layout import VALUES, Layout

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


def restore_metrics(layout: Layout) -> None:
    """Puts ``data/metrics.parquet`` back from the footers of the points files, where it is lost or damaged.

    Without it old ids would be given to new names.

    Raises:
        StoreDamaged: Points are there, but none of them names the metrics.
    """
    if layout.metrics.exists():
        try:
            read_metrics(layout)
            return
        except (OSError, ValueError, KeyError) as error:
            if getattr(error, "errno", None):  # it may be whole: only it cannot be read now
                raise
            layout.set_aside(layout.metrics)
    points = [path for kind in VALUES for path in layout.data_files(kind)]
    known: dict[int, tuple[int, str, str, str | None]] = {}
    for path in points:
        with suppress(OSError, ValueError):
            for entry in json.loads(footer_of(path).get(b"metrics", b"[]")):
                known[entry[0]] = (entry[0], entry[1], entry[2], entry[3])
    if not known and any(_holds_points(path) for path in points):
        fix = "restore it from a backup, or move the data folder away and fetch its runs again"
        raise StoreDamaged("the names of the stored metrics are lost", f"{layout.metrics.name} is gone", fix)
    if known:
        _write_metrics(layout, [known[number] for number in sorted(known)])


def _holds_points(path: Path) -> bool:
    """Whether a points file has rows: runs that were killed before their first one leave empty files; True where unreadable."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return bool(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException):
        return True


def next_run_id(layout: Layout, count: int, at_least: int) -> int:
    """Takes ``count`` run ids; they are given once, even where the catalog was lost or an old one put back.

    Args:
        layout: The store.
        count: How many are needed.
        at_least: The smallest id that the catalog leaves free.

    Returns:
        The first of them.
    """
    first = max(at_least, 1)
    kept = _kept_counter(layout)
    if kept is not None:
        first = max(first, kept)
    else:
        first = max([first, *(_largest_id(path) + 1 for kind in (*VALUES, "runs") for path in layout.data_files(kind))])
    with writing(layout.counter, layout.still_held) as temporary:
        temporary.write_text(str(first + count))
    return first


def _kept_counter(layout: Layout) -> int | None:
    """What ``data/next_run_id`` says; None where it is lost or says nothing that can be the next number."""
    with suppress(OSError, ValueError):
        text = layout.counter.read_bytes()[:32].strip()
        return int(text) if text.isdigit() and int(text) < 2**31 else None
    return None


def footer_of(path: Path) -> dict[bytes, bytes]:
    """A Parquet file's own key and value pairs."""
    import pyarrow.parquet as pq

    return dict(pq.read_metadata(path).metadata or {})


def _largest_id(path: Path) -> int:
    """The largest run id in a data file; 0 where it cannot be read."""
    import pyarrow.compute
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            return int(pyarrow.compute.max(file.read(columns=["run_id"])["run_id"]).as_py() or 0)
    except (OSError, ValueError, KeyError, TypeError, pyarrow.ArrowException):
        return 0


def read_metrics(layout: Layout) -> list[tuple[int, str, str, str | None]]:
    """The metric ids given so far: (id, name, kind, canonical name).

    Raises:
        OSError: The file cannot be read, or its bytes are not those that were written.
        ValueError: It holds something else.
    """
    import pyarrow.parquet as pq

    if not layout.metrics.exists():
        return []
    with pq.ParquetFile(layout.metrics, page_checksum_verification=True) as file:  # pq.read_table would import pandas
        rows = file.read().to_pylist()
    return [(row["metric_id"], row["name"], row["kind"], row["canonical"]) for row in rows]


def _write_metrics(layout: Layout, metrics: list[tuple[int, str, str, str | None]]) -> None:
    """Puts the metric ids in place."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ("metric_id", "name", "kind", "canonical")
    numbered, named, kinds, canonical = zip(*metrics, strict=True)
    columns = [numbers(pa.int16(), numbered), texts(named), texts(kinds), texts(canonical)]
    with writing(layout.metrics, layout.still_held) as temporary:
        pq.write_table(pa.Table.from_arrays(columns, names=names), temporary, write_page_checksum=True)


def update_metrics(con: duckdb.DuckDBPyConnection, layout: Layout) -> None:
    """Copies the metric ids into the catalog."""
    con.execute("DELETE FROM catalog.metrics")
    rows = read_metrics(layout)
    if rows:
        con.executemany("INSERT INTO catalog.metrics VALUES (?, ?, ?, ?)", rows)
