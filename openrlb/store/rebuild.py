"""Rebuild: makes the catalog again from the Parquet files alone. Also how a catalog of an older schema is migrated."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openrlb.errors import StoreDamaged, StoreError
from openrlb.store.arrow import numbers, to_numpy
from openrlb.store.catalog import StoredRun, attach, changing, connection, insert_runs
from openrlb.store.described import add_described, binned_metrics, described
from openrlb.store.fold import packages_of
from openrlb.store.generations import AGAIN, KINDS, Generation, Settled, read_generations, replaces, settle
from openrlb.store.layout import VALUES, Layout
from openrlb.store.points import write_runs
from openrlb.store.registry import read_metrics, restore_metrics, update_metrics
from openrlb.store.sweep import sweep_journal

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
    listed = _listed(layout) - sweep_journal(layout, known=set())
    restore_metrics(layout)
    found = read_generations(layout, [layout.data / path for path in sorted(listed)], warnings)
    settled = settle(layout, found, warnings)
    live = _without_colliding(layout, settled, warnings)
    warnings += _forget_content(layout, found, live, settled.system)
    newest: dict[tuple[str, str], StoredRun] = {}
    for stored in (stored for one in live for stored in one.records.values()):
        key = (stored.run.source, stored.run.run)
        if key not in newest or stored.run_id > newest[key].run_id:
            newest[key] = stored
    warnings += _losses(layout, settled, newest)
    runs = sorted(newest.values(), key=lambda stored: stored.run_id)
    digests = {stored.run.requirements for stored in runs if stored.run.requirements}
    kept = [one for one in live if one.records]
    partitions = {one.name.parent: (run.project, run.env) for one in kept for run in [next(iter(one.records.values())).run]}
    files = {kind: [one.parts[kind] for one in kept] for kind in ("points", "runs")} | {"system": settled.system}
    retired = settled.retired + [path for one in live if not one.records for kind, path in one.parts.items() if kind != "system"]
    rows: list[list[Any]] = [
        [layout.relative(path), kind, *partitions.get(path.parent, ("", "")), _rows(path), None]
        for kind, paths in files.items()
        for path in paths
    ]
    rows += [  # they go once no reader can hold an old list any more
        [layout.relative(path), path.name.split("-")[0], *partitions.get(path.parent, ("", "")), _rows(path), time.time()]
        for path in retired
    ]
    with changing(layout, fresh=True) as con:
        update_metrics(con, layout)
        insert_runs(con, runs, {digest: packages_of(layout, digest) for digest in digests})
        if rows:
            con.executemany("INSERT INTO catalog.files VALUES (?, ?, ?, ?, ?, ?)", rows)
        ids, binned = {run.run_id for run in runs}, binned_metrics(read_metrics(layout))
        add_described(con, (_described(path, ids, binned) for kind in VALUES for path in files[kind]))
    return warnings


def _listed(layout: Layout) -> set[str]:
    """The data files that the catalog names, where it can still be read."""
    if layout.catalog.exists():
        with suppress(StoreError), connection() as con:
            attach(con, layout.catalog)
            return {path for (path,) in con.execute("SELECT path FROM catalog.files WHERE retired IS NULL").fetchall()}
    return set()


def _described(path: Path, live: Collection[int], binned: Collection[int]) -> pa.Table:
    """What the catalog keeps of the live runs' metrics in one points file."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        found = described(file.read(), binned)
    return found.filter(numbers(pa.bool_(), np.isin(to_numpy(found["run_id"]), np.array(sorted(live), np.int32))))


def replaced_files(layout: Layout, stray: Iterable[Path]) -> set[str]:
    """Those of some stray files that a merged file replaces: leftovers, not somebody's runs."""
    import pyarrow as pa

    replaced: set[str] = set()
    for kind in KINDS:
        for path in layout.data_files(kind):
            with suppress(OSError, ValueError, KeyError, TypeError, pa.ArrowException):
                replaced.update(replaces(path))
    return replaced & {layout.relative(path) for path in stray}


def _without_colliding(layout: Layout, settled: Settled, warnings: list[str]) -> list[Generation]:
    """Sets aside a generation whose run ids a newer one holds too: their points could not be told apart."""
    seen: set[int] = set()
    kept = []
    for one in reversed(settled.live):
        if one.records.keys() & seen:
            warnings.append(f"{layout.relative(one.name)}: another file holds the same run ids; {AGAIN}")
            for path in one.parts.values():
                layout.set_aside(path)
            settled.system = [path for path in settled.system if path not in one.parts.values()]
        else:
            kept.append(one)
        seen |= one.records.keys()
    return kept[::-1]


def _losses(layout: Layout, settled: Settled, newest: Mapping[tuple[str, str], StoredRun]) -> list[str]:
    """Says where runs are lost with a generation that was set aside."""
    known = {run_id for one in settled.live for run_id in one.records}
    ids = {key: stored.run_id for key, stored in newest.items()}
    told = []
    for one in settled.useless:
        lost = any(ids.get((stored.run.source, stored.run.run), -1) < run_id for run_id, stored in one.records.items())
        if not one.parts:
            told.append(
                f"{layout.relative(one.name)}: nothing of what it held can be read; {AGAIN}, unless they are still listed"
            )
        elif lost or not (one.records or one.ids() <= known):
            missing = " and ".join(sorted({"points", "runs"} - one.parts.keys()))
            told.append(f"{layout.relative(one.name)}: the {missing} that belong to it are lost; {AGAIN}")
        else:
            told.append(f"{layout.relative(one.name)}: a part of it is lost; other files hold its runs")
    return told


def _forget_content(layout: Layout, found: Mapping[Path, Generation], live: list[Generation], system: list[Path]) -> list[str]:
    """Takes their digest from runs whose hardware series are lost: else another fetch would find them unchanged.

    Returns:
        Warnings.
    """
    having = {run_id for one in found.values() if one.parts.get("system") in system for run_id in one.held["system"]}
    told = []
    for one in live:
        parts = [one, *(found[name] for name in one.made_of if name in found)]
        torn = {kind for part in parts for kind in part.torn}
        told_apart = {run_id for part in parts[1:] if "system" not in part.torn for run_id in part.ids()}  # these had none
        lost = {run_id for run_id, stored in one.records.items() if stored.digest} - having - told_apart
        if "system" in torn and "system" not in one.parts and lost:
            one.records |= {run_id: replace(one.records[run_id], digest="") for run_id in lost}
            write_runs(one.parts["runs"], list(one.records.values()), replaces(one.parts["runs"]))
            told.append(f"{layout.relative(one.name)}: hardware series of its runs are lost; {AGAIN}")
    return told


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
