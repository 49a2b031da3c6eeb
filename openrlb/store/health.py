"""Health: does the catalog say what lies on the disk?"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from openrlb.store.files import TEMPORARY_PREFIX
from openrlb.store.kept import altered_files, gone_files, named_files
from openrlb.store.layout import VALUES, Layout
from openrlb.store.rebuild import replaced_files
from openrlb.store.sweep import journalled

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
        gone: Of each run that lacks a file that was kept with it, the first such one.
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
    gone: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OnDisk:
    """What lay on the disk before the catalog was opened: what a fold makes meanwhile is then no stray.

    Attributes:
        files: Data files by their names below ``data``.
        making: The names that a fold or a merge has in its journal: it is making them, or was killed, and the next one sweeps.
    """

    files: dict[str, Path]
    making: frozenset[str]


def look(layout: Layout) -> OnDisk:
    """Lists the data files, then the journal. A file in neither the journal nor a catalog that is opened later is nobody's.

    Args:
        layout: The store.
    """
    files = {layout.relative(path): path for kind in (*VALUES, "runs") for path in layout.data_files(kind)}
    making: set[str] = set()
    with suppress(OSError):
        making = journalled(layout)
    return OnDisk(files, frozenset(making))


def inspect(con: duckdb.DuckDBPyConnection, layout: Layout, seen: OnDisk) -> Health:
    """Compares the catalog with the folder.

    Args:
        con: A connection with the catalog attached.
        layout: The store.
        seen: What :func:`look` saw before the connection was made.
    """
    known = con.execute("SELECT path, retired, rows FROM catalog.files").fetchall()
    named = {path: retired for path, retired, _ in known}
    stray = {name: path for name, path in seen.files.items() if name not in named and name not in seen.making}
    replaced = replaced_files(layout, stray.values()) if stray else set()
    live = {name: layout.data / name for name, retired in named.items() if retired is None}
    there = {name: path for name, path in live.items() if path.exists()}
    runs, values = (
        con.execute(sql).fetchone() for sql in ("SELECT count(*) FROM catalog.runs", "SELECT sum(n) FROM catalog.run_metrics")
    )
    return Health(
        runs=int(runs[0]) if runs else 0,
        values=int(values[0] or 0) if values else 0,
        bytes_on_disk=sum(map(_size, layout.root.rglob("*"))),
        waiting=sum(1 for path in layout.spool.glob("*.parquet") if not path.name.startswith(TEMPORARY_PREFIX)),
        missing=tuple(sorted(live.keys() - there.keys())),
        unknown=tuple(sorted(stray.keys() - replaced)),
        quarantined=tuple(sorted(path.name for path in layout.quarantine.glob("*"))),
        damaged=tuple(sorted(name for name, retired, rows in known if retired is None and _is_damaged(there.get(name), rows))),
        altered=tuple(path.name for path in altered_files(layout)),
        gone=_gone(con, layout),
    )


def _gone(con: duckdb.DuckDBPyConnection, layout: Layout) -> tuple[str, ...]:
    """Of each run that lacks a file that was kept with it, the first such one."""
    rows = con.execute(
        """SELECT run_id, run, record ->> '$.kept' AS kept, record ->> '$.run.files', requirements FROM catalog.runs
        WHERE kept <> '[]' ORDER BY run_id"""
    ).fetchall()
    runs = {run_id: run for run_id, run, *_ in rows}
    held = ((run_id, json.loads(kept), named_files(json.loads(files), digest)) for run_id, _, kept, files, digest in rows)
    return tuple(f"{names[0]} of {runs[run_id]}" for run_id, names in gone_files(layout, held).items())


def _size(path: Path) -> int:
    """A file's bytes; 0 of a folder, and of what is gone meanwhile."""
    with suppress(OSError):
        return path.stat().st_size if path.is_file() else 0
    return 0


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
