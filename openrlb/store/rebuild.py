"""Rebuild: makes the catalog again from the Parquet files alone. Also how a catalog of an older schema is migrated."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openrlb.errors import StoreDamaged, StoreError
from openrlb.store.catalog import attach, changing, connection, insert_runs
from openrlb.store.described import add_described, binned_metrics, described
from openrlb.store.fold import packages_of
from openrlb.store.generations import KINDS, Generation, read_generations, replaces
from openrlb.store.kept import altered_files, gone_files, named_files
from openrlb.store.layout import VALUES, Layout, is_data_file
from openrlb.store.losses import Remembered, losses
from openrlb.store.points import of_runs, run_ids
from openrlb.store.recovery import Recovery, recover
from openrlb.store.registry import read_metrics, restore_metrics, update_metrics
from openrlb.store.salvage import planned, write
from openrlb.store.sweep import journalled, making, sweep_journal

if TYPE_CHECKING:
    import pyarrow as pa


def rebuild(layout: Layout) -> list[str]:
    """Makes a new catalog and puts it in place. The caller holds the lock.

    Args:
        layout: The store.

    Returns:
        Warnings: data files that could not be used. They lie in the quarantine.

    Raises:
        StoreError: The store cannot be written.
    """
    _refuse_newer(layout)
    warnings: list[str] = []
    layout.still_held()  # else the journal may be that of whoever took the lock
    remembered = _remembered(layout)
    sweep_journal(layout, known=set())
    restore_metrics(layout)
    found = read_generations(layout, [layout.data / path for path in sorted(remembered.files)], warnings)
    recovery = recover(found.values())
    made = planned(layout, recovery)
    warnings += _without_lost_files(layout, recovery)
    with making(layout, [path for one in made for path in one.parts.values()]) if made else nullcontext():
        for one in made:
            write(one, recovery.holders, read_metrics(layout))
        _make_catalog(layout, recovery, made)
    for one in recovery.left:  # only now: what could be had of them is in place
        for path in one.parts.values():
            layout.set_aside(path)
    return warnings + losses(layout, recovery, remembered)


def _without_lost_files(layout: Layout, recovery: Recovery) -> list[str]:
    """Sets aside kept files that were altered; runs that lack one lose their digest, so that a fetch brings it back.

    Returns:
        Warnings about the altered ones.
    """
    told = []
    for path in (path for path in altered_files(layout) if os.access(path, os.R_OK)):
        told.append(f"{layout.blobs.name}/{path.name} is not what was kept, and was put into {layout.quarantine.name}/")
        layout.set_aside(path)
    runs = recovery.runs.items()
    held = ((run_id, stored.kept, named_files(stored.run.files, stored.run.requirements)) for run_id, stored in runs)
    for run_id, names in gone_files(layout, held).items():
        recovery.without_files.append(run_id)
        stored = recovery.runs[run_id]
        recovery.runs[run_id] = replace(stored, digest="", kept=tuple(name for name in stored.kept if name not in names))
    return told


def _make_catalog(layout: Layout, recovery: Recovery, made: list[Generation]) -> None:
    """Writes a catalog of what was decided."""
    runs = recovery.runs
    digests = {stored.run.requirements for stored in runs.values() if stored.run.requirements}
    rows: list[list[Any]] = []
    now = time.time()  # what is retired goes once no reader can hold an old list any more
    for one, retired in [(one, None) for one in [*recovery.live, *made]] + [(one, now) for one in recovery.retired]:
        stored = next(iter(one.records.values()), None)
        place = ("", "") if stored is None else (stored.run.project, stored.run.env)
        rows += [[layout.relative(path), kind, *place, _rows(path), retired] for kind, path in one.parts.items()]
    ids, binned = set(runs), binned_metrics(read_metrics(layout))
    with changing(layout, fresh=True) as con:
        update_metrics(con, layout)
        insert_runs(con, [runs[run_id] for run_id in sorted(runs)], {digest: packages_of(layout, digest) for digest in digests})
        if rows:
            con.executemany("INSERT INTO catalog.files VALUES (?, ?, ?, ?, ?, ?)", rows)
        values = (path for one in [*recovery.live, *made] for kind, path in one.parts.items() if kind in VALUES)
        add_described(con, (_described(path, ids, binned) for path in values))


def _remembered(layout: Layout) -> Remembered:
    """What the old catalog still tells, but for what the journal names: that lies elsewhere too, perhaps in the spool."""
    if layout.catalog.exists():
        with suppress(StoreError), connection() as con:
            attach(con, layout.catalog)
            files = {path for (path,) in con.execute("SELECT path FROM catalog.files WHERE retired IS NULL").fetchall()}
            runs = con.execute("SELECT run_id, source, run, coalesce(env, '') FROM catalog.runs").fetchall()
            swept = journalled(layout)
            newest = {run_id for path in swept for run_id in _ids(layout.data / path)}
            files = {path for path in files - swept if is_data_file(path)}
            known = {run_id: ((str(source), str(run)), str(env)) for run_id, source, run, env in runs if run_id not in newest}
            return Remembered(files, known, True)
    return Remembered()


def _ids(path: Path) -> set[int]:
    """The runs that a data file has something of, as far as it can be read."""
    import pyarrow as pa

    with suppress(OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return run_ids(path)
    return set()


def _described(path: Path, live: Collection[int], binned: Collection[int]) -> pa.Table:
    """What the catalog keeps of the live runs' metrics in one points file."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return of_runs(described(file.read(), binned), live)


def replaced_files(layout: Layout, stray: Iterable[Path]) -> set[str]:
    """Those of some stray files that a merged file replaces: leftovers, not somebody's runs."""
    import pyarrow as pa

    replaced: set[str] = set()
    for kind in KINDS:
        for path in layout.data_files(kind):
            with suppress(OSError, ValueError, KeyError, TypeError, RecursionError, pa.ArrowException):
                replaced.update(replaces(path))
    return replaced & {layout.relative(path) for path in stray}


def _refuse_newer(layout: Layout) -> None:
    """Leaves the catalog of a newer openrlb alone: what its Parquet files hold may be new as well.

    Raises:
        StoreTooNew: It is one.
    """
    if layout.catalog.exists():
        with suppress(StoreDamaged), connection() as con:
            attach(con, layout.catalog)


def _rows(path: Path) -> int:
    """The number of rows of a Parquet file."""
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)
