"""Health: does the catalog say what lies on the disk?"""

from __future__ import annotations

from dataclasses import dataclass
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
    """

    runs: int
    values: int
    bytes_on_disk: int
    waiting: int
    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    quarantined: tuple[str, ...]


def inspect(con: duckdb.DuckDBPyConnection, layout: Layout) -> Health:
    """Compares the catalog with the folder.

    Args:
        con: A connection with the catalog attached.
        layout: The store.
    """
    named = dict(con.execute("SELECT path, retired FROM catalog.files").fetchall())
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
    )
