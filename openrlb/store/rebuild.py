"""Rebuild: makes the catalog again from the Parquet files alone. Also how a catalog of an older schema is migrated."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from openrlb.errors import StoreDamaged
from openrlb.store.catalog import StoredRun, attach, changing, connection, insert_runs
from openrlb.store.fold import packages_of
from openrlb.store.layout import Layout
from openrlb.store.points import describe
from openrlb.store.registry import update_metrics
from openrlb.store.sweep import sweep_journal


def rebuild(layout: Layout) -> list[str]:
    """Makes a new catalog and puts it in place. The caller holds the lock.

    Args:
        layout: The store.

    Returns:
        Warnings: data files that could not be read. They stay where they are.

    Raises:
        StoreError: The store cannot be written.
    """
    _refuse_newer(layout)
    warnings: list[str] = []
    sweep_journal(layout, known=set())
    files = {kind: _current(layout, kind, warnings) for kind in ("points", "runs")}
    whole = {path.with_name(path.name.replace("points-", "runs-", 1)) for path in files["points"]}
    for path in [path for path in files["runs"] if path not in whole]:
        warnings.append(f"{layout.relative(path)}: the points of its runs are lost; fetch them again")
        files["runs"].remove(path)
        set_aside(layout, path)
    newest: dict[tuple[str, str], StoredRun] = {}
    partitions: dict[Path, tuple[str, str]] = {}
    for path in files["runs"]:
        for stored in _read_runs(path, warnings):
            partitions[path.parent] = (stored.run.project, stored.run.env)
            key = (stored.run.source, stored.run.run)
            if key not in newest or stored.run_id > newest[key].run_id:
                newest[key] = stored
    runs = sorted(newest.values(), key=lambda stored: stored.run_id)
    digests = {stored.run.requirements for stored in runs if stored.run.requirements}
    orphans = [path for path in files["points"] if path.parent not in partitions]
    warnings += [f"{layout.relative(path)} has no run records beside it and was left out" for path in orphans]
    rows: list[list[Any]] = [
        [layout.relative(path), kind, *partitions[path.parent], _rows(path)]
        for kind, paths in files.items()
        for path in paths
        if path.parent in partitions
    ]
    with changing(layout.catalog, fresh=True) as con:
        update_metrics(con, layout)
        insert_runs(con, runs, {digest: packages_of(layout, digest) for digest in digests})
        if rows:
            con.executemany("INSERT INTO catalog.files VALUES (?, ?, ?, ?, ?, NULL)", rows)
        points = [str(layout.data / str(path)) for path, kind, *_ in rows if kind == "points"]
        describe(con, points, ", ".join(str(run.run_id) for run in runs) or "NULL")
    return warnings


def replaced_files(layout: Layout, stray: Iterable[Path]) -> set[str]:
    """Those of some stray files that a merged file replaces: leftovers, not somebody's runs."""
    replaced: set[str] = set()
    for kind in ("points", "runs"):
        for path in layout.data_files(kind):
            with suppress(OSError, ValueError):
                replaced.update(_replaces(path))
    return replaced & {layout.relative(path) for path in stray}


def _current(layout: Layout, kind: str, warnings: list[str]) -> list[Path]:
    """The readable files of a kind that no merged file replaces."""
    replaced: set[str] = set()
    readable = []
    for path in layout.data_files(kind):
        try:
            replaced.update(_replaces(path))
            _read_through(path)
            readable.append(path)
        except (OSError, ValueError) as error:
            warnings.append(f"{layout.relative(path)} is damaged and was put into {layout.quarantine.name}/: {error}")
            set_aside(layout, path)
    return [path for path in readable if layout.relative(path) not in replaced]


def _refuse_newer(layout: Layout) -> None:
    """Leaves the catalog of a newer openrlb alone: what its Parquet files hold may be new as well.

    Raises:
        StoreTooNew: It is one.
    """
    if layout.catalog.exists():
        with suppress(StoreDamaged), connection() as con:
            attach(con, layout.catalog)


def set_aside(layout: Layout, path: Path) -> None:
    """Moves a data file that cannot be used out of the way; it is kept."""
    layout.quarantine.mkdir(parents=True, exist_ok=True)
    path.replace(layout.quarantine / f"{path.parent.parent.name},{path.parent.name},{path.name}")


def _read_through(path: Path) -> None:
    """Decodes every column of a file, so that damage shows before the catalog is made."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for _ in file.iter_batches():
            pass


def _metadata(path: Path) -> Any:  # noqa: ANN401 - pyarrow ships no types
    """A Parquet file's metadata."""
    import pyarrow.parquet as pq

    return pq.read_metadata(path)


def _replaces(path: Path) -> list[str]:
    """The files that a merged file names in its footer."""
    metadata = _metadata(path).metadata or {}
    return list(json.loads(metadata.get(b"replaces", b"[]")))


def _rows(path: Path) -> int:
    """The number of rows of a Parquet file."""
    return int(_metadata(path).num_rows)


def _read_runs(path: Path, warnings: list[str]) -> list[StoredRun]:
    """The run records of one file."""
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path).to_pylist()
        return [StoredRun.from_json(row["run_id"], row["record"]) for row in rows]
    except (OSError, KeyError, TypeError, ValueError) as error:
        warnings.append(f"{path.name} is damaged and its runs were left out: {error}")
        return []
