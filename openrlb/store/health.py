"""Health: does the catalog say what lies on the disk?"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from openrlb.store.files import TEMPORARY_PREFIX
from openrlb.store.layout import VALUES, Layout
from openrlb.store.rebuild import replaced_files

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True, slots=True)
class Health:
    """What a look at the store found.

    Attributes:
        runs: Stored runs.
        values: Stored values.
        bytes_on_disk: The size of everything in the store's folder.
        waiting: Segments in the spool.
        missing: Files that the catalog names and the disk does not hold.
        unknown: Files on the disk that no catalog names and no other file replaces.
        quarantined: Segments that could not be read.
        damaged: Data files that are cut off, or do not hold the rows that the catalog says.
        altered: Files kept with runs that are not the bytes they were stored as.
    """

    runs: int
    values: int
    bytes_on_disk: int
    waiting: int
    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    quarantined: tuple[str, ...]
    damaged: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()


def inspect(con: duckdb.DuckDBPyConnection, layout: Layout) -> Health:
    """Compares the catalog with the folder.

    Args:
        con: A connection with the catalog attached.
        layout: The store.
    """
    known = con.execute("SELECT path, retired, rows FROM catalog.files").fetchall()
    named = {path: retired for path, retired, _ in known}
    on_disk = {layout.relative(path): path for kind in (*VALUES, "runs") for path in layout.data_files(kind)}
    stray = {name: path for name, path in on_disk.items() if name not in named}
    replaced = replaced_files(layout, stray.values()) if stray else set()
    runs, values = (
        con.execute(sql).fetchone() for sql in ("SELECT count(*) FROM catalog.runs", "SELECT sum(n) FROM catalog.run_metrics")
    )
    return Health(
        runs=int(runs[0]) if runs else 0,
        values=int(values[0] or 0) if values else 0,
        bytes_on_disk=sum(path.stat().st_size for path in layout.root.rglob("*") if path.is_file()),
        waiting=sum(1 for path in layout.spool.glob("*.parquet") if not path.name.startswith(TEMPORARY_PREFIX)),
        missing=tuple(sorted(name for name, retired in named.items() if retired is None and name not in on_disk)),
        unknown=tuple(sorted(stray.keys() - replaced)),
        quarantined=tuple(sorted(path.name for path in layout.quarantine.glob("*"))),
        damaged=tuple(sorted(name for name, retired, rows in known if retired is None and _is_damaged(on_disk.get(name), rows))),
        altered=tuple(sorted(path.name for path in layout.blobs.glob("[!.]*") if _is_altered(path))),
    )


def _is_damaged(path: Path | None, rows: int | None) -> bool:
    """Whether a data file that is there has no readable end, or another number of rows; what lies between is not read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path is None:
        return False
    try:
        found = pq.read_metadata(path).num_rows
    except (OSError, pa.ArrowException):
        return True
    return rows is not None and found != rows


def _is_altered(path: Path) -> bool:
    """Whether a kept file is not what its name says: the sha256 of its bytes."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while part := file.read(1 << 20):
                digest.update(part)
    except OSError:
        return True
    return digest.hexdigest() != path.name
