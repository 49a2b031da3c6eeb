"""Rebuild: makes the catalog again from the Parquet files alone. Also how a catalog of an older schema is migrated."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openrlb.errors import StoreDamaged
from openrlb.store.arrow import numbers, to_numpy
from openrlb.store.catalog import StoredRun, attach, changing, connection, insert_runs
from openrlb.store.described import add_described, binned_metrics, described
from openrlb.store.fold import packages_of
from openrlb.store.layout import VALUES, Layout
from openrlb.store.registry import footer_of, read_metrics, restore_metrics, update_metrics
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
    sweep_journal(layout, known=set())
    restore_metrics(layout)
    files, torn = _readable(layout, warnings)
    records = {path: _read_runs(path, warnings) for path in files["runs"]}
    retired = _retire(layout, files, records, torn, warnings)
    _pair_up(layout, files, warnings)
    _drop_colliding(layout, files, records, warnings)
    newest: dict[tuple[str, str], StoredRun] = {}
    partitions: dict[Path, tuple[str, str]] = {}
    for path in files["runs"]:
        for stored in records[path]:
            partitions[path.parent] = (stored.run.project, stored.run.env)
            key = (stored.run.source, stored.run.run)
            if key not in newest or stored.run_id > newest[key].run_id:
                newest[key] = stored
    runs = sorted(newest.values(), key=lambda stored: stored.run_id)
    digests = {stored.run.requirements for stored in runs if stored.run.requirements}
    rows: list[list[Any]] = [
        [layout.relative(path), kind, *partitions[path.parent], _rows(path), None]
        for kind, paths in files.items()
        for path in paths
        if path.parent in partitions
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
        live, binned = {run.run_id for run in runs}, binned_metrics(read_metrics(layout))
        add_described(con, (_described(path, live, binned) for kind in VALUES for path in files[kind]))
    return warnings


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
    replaced: set[str] = set()
    for kind in (*VALUES, "runs"):
        for path in layout.data_files(kind):
            with suppress(OSError, ValueError):
                replaced.update(replaces(path))
    return replaced & {layout.relative(path) for path in stray}


def _pair_up(layout: Layout, files: dict[str, list[Path]], warnings: list[str]) -> None:
    """Sets aside points without their runs and runs without their points: neither is of use alone."""
    for kind, other in (("runs", "points"), ("points", "runs"), ("system", "runs")):
        there = {beside(path, other, kind) for path in files[other]}
        for path in [path for path in files[kind] if path not in there]:
            warnings.append(f"{layout.relative(path)}: the {other} that belong to it are lost; fetch its runs again")
            files[kind].remove(path)
            layout.set_aside(path)


def beside(path: Path, kind: str, other: str) -> Path:
    """The file of another kind that was written together with one."""
    return path.with_name(path.name.replace(f"{kind}-", f"{other}-", 1))


def _drop_colliding(
    layout: Layout, files: dict[str, list[Path]], records: dict[Path, list[StoredRun]], warnings: list[str]
) -> None:
    """Sets aside a file whose run ids a newer file holds too: their points could not be told apart."""
    seen: set[int] = set()
    for path in sorted(files["runs"], key=lambda path: path.name, reverse=True):
        ids = {stored.run_id for stored in records[path]}
        if ids & seen:
            warnings.append(f"{layout.relative(path)}: another file holds the same run ids; fetch its runs again")
            for mine in _take_out(files, path):
                layout.set_aside(mine)
        seen |= ids


def _readable(layout: Layout, warnings: list[str]) -> tuple[dict[str, list[Path]], set[Path]]:
    """The readable files of each kind, and the run records' names beside which another lay that was not and was set aside."""
    files: dict[str, list[Path]] = {kind: [] for kind in (*VALUES, "runs")}
    torn: set[Path] = set()
    for kind, readable in files.items():
        for path in layout.data_files(kind):
            try:
                replaces(path)
                _read_through(path)
                readable.append(path)
            except (OSError, ValueError) as error:
                warnings.append(f"{layout.relative(path)} is damaged and was put into {layout.quarantine.name}/: {error}")
                layout.set_aside(path)
                torn.add(beside(path, kind, "runs"))
    return files, torn


def _retire(
    layout: Layout,
    files: dict[str, list[Path]],
    records: dict[Path, list[StoredRun]],
    torn: Collection[Path],
    warnings: list[str],
) -> list[Path]:
    """Takes out what merged files replace. One that has lost a part goes itself where its originals are there.

    Returns:
        What was replaced.
    """
    for path in [path for path in files["runs"] if path in torn]:
        originals = [one for one in _whole(files) if layout.relative(one) in replaces(path)]
        held = {stored.run_id for one in originals for stored in records[one]}
        if held and {stored.run_id for stored in records[path]} <= held:
            warnings.append(f"{layout.relative(path)}: a part of it is lost; the files that it was merged from are used again")
            for mine in _take_out(files, path):
                layout.set_aside(mine)
    whole = {beside(path, "runs", kind) for path in _whole(files) for kind in files}
    replaced = {name for paths in files.values() for path in paths if path in whole for name in replaces(path)}
    retired: list[Path] = []
    for paths in files.values():
        retired += [path for path in paths if layout.relative(path) in replaced]
        paths[:] = [path for path in paths if layout.relative(path) not in replaced]
    return retired


def _whole(files: dict[str, list[Path]]) -> list[Path]:
    """The run records whose points are there, too."""
    points = set(files["points"])
    return [path for path in files["runs"] if beside(path, "runs", "points") in points]


def _take_out(files: dict[str, list[Path]], runs: Path) -> list[Path]:
    """Takes the run records and what belongs to them out of what there is."""
    mine = [beside(runs, "runs", kind) for kind in files]
    taken = [path for paths in files.values() for path in paths if path in mine]
    for paths in files.values():
        paths[:] = [path for path in paths if path not in mine]
    return taken


def _refuse_newer(layout: Layout) -> None:
    """Leaves the catalog of a newer openrlb alone: what its Parquet files hold may be new as well.

    Raises:
        StoreTooNew: It is one.
    """
    if layout.catalog.exists():
        with suppress(StoreDamaged), connection() as con:
            attach(con, layout.catalog)


def _read_through(path: Path) -> None:
    """Decodes every column of a file, so that damage shows before the catalog is made.

    Raises:
        OSError: It cannot be read.
        ValueError: It can be read in part, or has rows without what each row has (all but a wall time).
    """
    import pyarrow.parquet as pq

    rows = 0
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        for batch in file.iter_batches():
            rows += batch.num_rows
            gaps = [name for name, column in zip(batch.schema.names, batch.columns, strict=True) if column.null_count]
            if gaps and gaps != ["t_ms"]:
                raise ValueError(f"rows without {' and '.join(gaps)}")
        if rows != file.metadata.num_rows:  # batches end with the shortest column, without a word
            raise ValueError(f"{rows:,} of its {file.metadata.num_rows:,} rows can be read")


def replaces(path: Path) -> list[str]:
    """The files that a merged file names in its footer."""
    return list(json.loads(footer_of(path).get(b"replaces", b"[]")))


def _rows(path: Path) -> int:
    """The number of rows of a Parquet file."""
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)


def _read_runs(path: Path, warnings: list[str]) -> list[StoredRun]:
    """The run records of one file."""
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:  # read_table would read the folders' names, too
            rows = file.read().to_pylist()
        return [StoredRun.from_json(row["run_id"], row["record"]) for row in rows]
    except (OSError, KeyError, TypeError, ValueError) as error:
        warnings.append(f"{path.name} is damaged and its runs were left out: {error}")
        return []
