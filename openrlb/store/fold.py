"""Fold: moves the spool's segments into partitions and puts a changed copy of the catalog in place.

Killed at any moment it loses nothing and doubles nothing: segments are removed only after the catalog that holds their
runs is in place, and the files a killed fold left are named in its journal and swept by the next one.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openrlb.errors import SourceError
from openrlb.store.arrow import distinct
from openrlb.store.catalog import StoredRun, attach, changing, connection, insert_runs
from openrlb.store.described import add_described, binned_metrics, described
from openrlb.store.files import TEMPORARY_PREFIX, writing
from openrlb.store.incoming import Incoming, in_files, read_rows
from openrlb.store.layout import VALUES, Layout
from openrlb.store.points import ordered, write_points, write_runs
from openrlb.store.registry import assign_metric_ids, next_run_id, read_metrics, restore_metrics, update_metrics
from openrlb.store.segment import check_rows, checked_entry, origin, read_footer
from openrlb.store.sweep import making, sweep
from openrlb.types import Run

if TYPE_CHECKING:
    import duckdb


@dataclass(slots=True)
class FoldReport:
    """What a fold did.

    Attributes:
        new: Runs the store did not have.
        changed: Runs whose content differs from what the store had.
        unchanged: Runs the store had already, digest for digest.
        superseded: Attempts that a finished one had superseded already.
        quarantined: Segments that could not be read, with the reason.
    """

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    superseded: int = 0
    quarantined: list[tuple[str, str]] = field(default_factory=list)


def fold(layout: Layout, merge: Callable[[Layout], None]) -> FoldReport:
    """Folds everything the spool holds. The caller holds the lock and has made sure of a readable catalog.

    Args:
        layout: The store.
        merge: Called at the end; joins small files of crowded partitions.

    Raises:
        StoreError: The store cannot be written or read.
    """
    sweep(layout)
    report = FoldReport()
    segments = sorted(layout.spool.glob("*.parquet")) if layout.spool.is_dir() else []
    segments = [path for path in segments if not path.name.startswith(TEMPORARY_PREFIX)]
    incoming, partly = _read_segments(layout, segments, report)
    with connection() as con:
        attach(con, layout.catalog)
        known = {(source, run): row for source, run, *row in con.execute(_KNOWN).fetchall()}
        free = max((row[0] for row in known.values()), default=0) + 1
    winners = _winners(incoming, known, report)
    if winners:
        _commit(layout, winners, known, free)
        merge(layout)
    for path in partly:
        layout.set_aside(path)
    for path in segments:
        path.unlink(missing_ok=True)
    return report


_KNOWN = "SELECT source, run, run_id, digest, state FROM catalog.runs"


def _read_segments(layout: Layout, segments: Iterable[Path], report: FoldReport) -> tuple[list[Incoming], list[Path]]:
    """The runs of all segments, oldest first, and the segments that hold something that cannot be stored.

    An unreadable segment is set aside at once; of one with an unusable run the others are stored, and it is set aside after.
    """
    incoming: list[Incoming] = []
    partly = []
    for path in segments:
        try:
            footer = read_footer(path)
            runs = footer["runs"]
            rows = check_rows(path, [len(entry["metrics"]) if _has_metrics(entry) else 0 for entry in runs])
        except SourceError as error:
            layout.set_aside(path)
            report.quarantined.append((path.name, str(error)))
            continue
        for position in range(len(runs)):
            try:
                entry = checked_entry(footer, position)
            except ValueError as error:
                report.quarantined.append((f"{path.name}, run {position + 1}", str(error)))
                partly += [] if path in partly else [path]
                continue
            run = Run.from_json(entry["run"])
            incoming.append(Incoming(path, position, run, entry["digest"], entry["metrics"], entry["kept"], rows[position]))
    return incoming, partly


def _has_metrics(entry: object) -> bool:
    """True for a footer's entry that lists metrics."""
    return isinstance(entry, dict) and isinstance(entry.get("metrics"), list)


def _winners(
    incoming: list[Incoming], known: dict[tuple[str, str], list[Any]], report: FoldReport
) -> dict[tuple[str, str], Incoming]:
    """The version of each run that is to be stored: the newest, but a finished attempt stays before crashed ones."""
    winners: dict[tuple[str, str], Incoming] = {}
    for item in incoming:
        key = (item.run.source, item.run.run)
        rival = winners.get(key)
        current = rival.run.state if rival else known[key][2] if key in known else None
        if current == "finished" and origin(item.run.source) == "openrlb" and item.run.state != "finished":
            report.superseded += 1
        else:
            winners[key] = item
    for key, item in list(winners.items()):
        if key in known and known[key][1] == item.digest:
            report.unchanged += 1
            del winners[key]
        elif key in known:
            report.changed += 1
        else:
            report.new += 1
    return winners


def _commit(layout: Layout, winners: dict[tuple[str, str], Incoming], known: dict[tuple[str, str], list[Any]], free: int) -> None:
    """Writes blobs, metric ids, data files and, last, the catalog."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    requirements = _keep_blobs(layout, winners.values())
    restore_metrics(layout)
    metric_ids = assign_metric_ids(layout, (metric for item in winners.values() for metric in item.metrics))
    next_id = next_run_id(layout, len(winners), free)
    metrics = read_metrics(layout)
    numbered = {next_id + offset: item for offset, item in enumerate(winners.values())}
    stored = {
        run_id: StoredRun(run_id, item.run, item.digest, now, kept=tuple(sorted(item.kept))) for run_id, item in numbered.items()
    }
    partitions: dict[tuple[str, str], dict[int, Incoming]] = {}
    for run_id, item in numbered.items():
        partitions.setdefault((item.run.project, item.run.env), {})[run_id] = item
    generation = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}"
    chunks = [(key, chunk) for key, runs in partitions.items() for chunk in in_files(runs)]
    named = {
        kind: [layout.partition(*key) / f"{kind}-{generation}-{number}.parquet" for number, (key, _) in enumerate(chunks)]
        for kind in (*VALUES, "runs")
    }
    replaced = [known[key][0] for key in winners if key in known]
    with making(layout, [path for paths in named.values() for path in paths]):
        files: list[tuple[str, str, str, str, int]] = []
        binned = binned_metrics(metrics)
        parts = []
        for number, (key, chunk) in enumerate(chunks):
            tables = read_rows(chunk, metric_ids)
            held = {kind: distinct(rows["run_id"]) for kind, rows in tables.items()}
            for run_id in chunk:
                stored[run_id] = replace(stored[run_id], kinds=tuple(kind for kind in tables if run_id in held[kind]))
            for kind, rows in tables.items():
                rows = ordered(rows)
                parts.append(described(rows, binned))
                files.append((layout.relative(named[kind][number]), kind, *key, write_points(named[kind][number], rows, metrics)))
            write_runs(named["runs"][number], [stored[run_id] for run_id in chunk])
            files.append((layout.relative(named["runs"][number]), "runs", *key, len(chunk)))
        with changing(layout) as con:
            forget_runs(con, replaced)
            update_metrics(con, layout)
            insert_runs(con, stored.values(), requirements)
            con.executemany("INSERT INTO catalog.files VALUES (?, ?, ?, ?, ?, NULL)", files)
            add_described(con, parts)


def _keep_blobs(layout: Layout, items: Iterable[Incoming]) -> dict[str, list[str]]:
    """Writes the runs' files by their hash; returns the packages of those that are requirements."""
    requirements: dict[str, list[str]] = {}
    for item in items:
        for data in item.kept.values():
            path = layout.blobs / hashlib.sha256(data).hexdigest()
            if not path.exists():
                with writing(path) as temporary:
                    temporary.write_bytes(data)
        if item.run.requirements:
            requirements[item.run.requirements] = packages_of(layout, item.run.requirements)
    return requirements


def packages_of(layout: Layout, digest: str) -> list[str]:
    """The packages that a kept requirements file names, sorted; empty where the file is not kept."""
    path = layout.blobs / digest
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    return sorted(line.strip() for line in lines if line.strip() and not line.lstrip().startswith(("#", "-")))


def forget_runs(con: duckdb.DuckDBPyConnection, run_ids: list[int]) -> None:
    """Removes superseded runs from the catalog; their rows stay in the Parquet files until a merge."""
    if run_ids:
        listed = ", ".join(map(str, run_ids))
        for table in ("runs", "params", "run_metrics"):
            con.execute(f"DELETE FROM catalog.{table} WHERE run_id IN ({listed})")
