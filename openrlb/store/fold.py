"""Fold: moves the spool's segments into partitions and puts a changed copy of the catalog in place.

Killed at any moment it loses nothing and doubles nothing: segments are removed only after the catalog that holds their
runs is in place, and the files a killed fold left are named in its journal and swept by the next one.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openrlb.errors import SourceError
from openrlb.store.arrow import numbers, texts
from openrlb.store.catalog import StoredRun, attach, changing, connection, insert_runs
from openrlb.store.files import TEMPORARY_PREFIX, writing
from openrlb.store.layout import VALUES, Layout
from openrlb.store.points import describe, write_points, write_runs
from openrlb.store.registry import assign_metric_ids, next_run_id, read_metrics, restore_metrics, update_metrics
from openrlb.store.schema import literal
from openrlb.store.segment import check_rows, checked_entry, origin, read_footer
from openrlb.store.sweep import sweep, write_journal
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


@dataclass(frozen=True, slots=True)
class _Incoming:
    """One run of one segment, with the place of its rows."""

    segment: Path
    position: int
    run: Run
    digest: str
    metrics: list[list[Any]]
    kept: dict[str, bytes]


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


def _read_segments(layout: Layout, segments: Iterable[Path], report: FoldReport) -> tuple[list[_Incoming], list[Path]]:
    """The runs of all segments, oldest first, and the segments that hold something that cannot be stored.

    An unreadable segment is set aside at once; of one with an unusable run the others are stored, and it is set aside after.
    """
    incoming: list[_Incoming] = []
    partly = []
    for path in segments:
        try:
            footer = read_footer(path)
            runs = footer["runs"]
            check_rows(path, [len(entry["metrics"]) if _has_metrics(entry) else 0 for entry in runs])
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
            incoming.append(_Incoming(path, position, run, entry["digest"], entry["metrics"], entry["kept"]))
    return incoming, partly


def _has_metrics(entry: object) -> bool:
    """True for a footer's entry that lists metrics."""
    return isinstance(entry, dict) and isinstance(entry.get("metrics"), list)


def _winners(
    incoming: list[_Incoming], known: dict[tuple[str, str], list[Any]], report: FoldReport
) -> dict[tuple[str, str], _Incoming]:
    """The version of each run that is to be stored: the newest, but a finished attempt stays before crashed ones."""
    winners: dict[tuple[str, str], _Incoming] = {}
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


def _commit(
    layout: Layout, winners: dict[tuple[str, str], _Incoming], known: dict[tuple[str, str], list[Any]], free: int
) -> None:
    """Writes blobs, metric ids, data files and, last, the catalog."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    requirements = _keep_blobs(layout, winners.values())
    restore_metrics(layout)
    metric_ids = assign_metric_ids(layout, (metric for item in winners.values() for metric in item.metrics))
    next_id = next_run_id(layout, len(winners), free)
    metrics = read_metrics(layout)
    numbered = {next_id + offset: item for offset, item in enumerate(winners.values())}
    stored = {run_id: StoredRun(run_id, item.run, item.digest, now) for run_id, item in numbered.items()}
    partitions: dict[tuple[str, str], list[int]] = {}
    for run_id, item in numbered.items():
        partitions.setdefault((item.run.project, item.run.env), []).append(run_id)
    generation = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}"
    folders = {key: layout.partition(*key) for key in partitions}
    write_journal(layout, [folder / f"{kind}-{generation}.parquet" for folder in folders.values() for kind in (*VALUES, "runs")])
    files: list[tuple[str, str, str, str, int]] = []
    with connection(threads=2) as con:
        _register(con, numbered, metric_ids)
        for (project, env), run_ids in partitions.items():
            runs = folders[project, env] / f"runs-{generation}.parquet"
            for kind in VALUES:
                if kind == "points" or any(_is_system(metric) for run_id in run_ids for metric in numbered[run_id].metrics):
                    path = folders[project, env] / f"{kind}-{generation}.parquet"
                    rows = write_points(con, path, _incoming_rows(run_ids, numbered, kind == "system"), metrics)
                    files.append((layout.relative(path), kind, project, env, rows))
            write_runs(runs, [stored[run_id] for run_id in run_ids])
            files.append((layout.relative(runs), "runs", project, env, len(run_ids)))
    replaced = [known[key][0] for key in winners if key in known]
    with changing(layout.catalog) as con:
        forget_runs(con, replaced)
        update_metrics(con, layout)
        insert_runs(con, stored.values(), requirements)
        con.executemany("INSERT INTO catalog.files VALUES (?, ?, ?, ?, ?, NULL)", files)
        paths = [str(layout.data / path) for path, kind, *_ in files if kind in VALUES]
        describe(con, paths, ", ".join(map(str, numbered)))
    layout.journal.unlink(missing_ok=True)


def _register(con: duckdb.DuckDBPyConnection, numbered: dict[int, _Incoming], metric_ids: dict[tuple[str, str], int]) -> None:
    """Gives DuckDB the two tables that turn a segment's names into ids."""
    import pyarrow as pa

    whole, items = pa.int32(), numbered.values()
    runs = {
        "filename": texts(str(item.segment) for item in items),
        "run": numbers(whole, [item.position for item in items]),
        "run_id": numbers(whole, list(numbered)),
    }
    rows = [(run_id, place, *metric[:2]) for run_id, item in numbered.items() for place, metric in enumerate(item.metrics)]
    metrics = {
        "run_id": numbers(whole, [row[0] for row in rows]),
        "metric": numbers(whole, [row[1] for row in rows]),
        "metric_id": numbers(pa.int16(), [metric_ids[name, kind] for _, _, name, kind in rows]),
        "system": numbers(pa.bool_(), [kind == "system" for *_, kind in rows]),
    }
    con.register("run_numbers", pa.Table.from_arrays(list(runs.values()), names=list(runs)))
    con.register("metric_numbers", pa.Table.from_arrays(list(metrics.values()), names=list(metrics)))


def _is_system(metric: list[Any]) -> bool:
    """True for a hardware series."""
    return bool(metric[1] == "system")


def _incoming_rows(run_ids: list[int], numbered: dict[int, _Incoming], system: bool) -> str:
    """A FROM item over the segments that hold the named runs: their hardware series, or everything else."""
    paths = sorted({str(numbered[run_id].segment) for run_id in run_ids})
    listed = ", ".join(map(literal, paths))
    source = f"read_parquet([{listed}], filename = true, file_row_number = true, hive_partitioning = false)"
    return f"""(SELECT run_id, metric_id, step, t_ms, value, file_row_number AS place FROM {source}
        JOIN run_numbers USING (filename, run) JOIN metric_numbers USING (run_id, metric)
        WHERE system = {system} AND run_id IN ({", ".join(map(str, run_ids))}))"""


def _keep_blobs(layout: Layout, items: Iterable[_Incoming]) -> dict[str, list[str]]:
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
