"""Merge: joins the small files of a crowded partition and leaves out rows of superseded runs."""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from pathlib import Path

from openrlb.store.catalog import StoredRun, attach, changing, connection
from openrlb.store.generations import beside, replaces
from openrlb.store.layout import VALUES, Layout
from openrlb.store.points import ROWS_PER_FILE, ordered, read_points, run_ids, write_points, write_runs
from openrlb.store.registry import read_metrics
from openrlb.store.sweep import making

FILES_PER_PARTITION = 16


def merge_crowded(layout: Layout) -> None:
    """Merges the small files of every partition that has more than 16 of them. The caller holds the lock.

    A file that has grown to :data:`ROWS_PER_FILE` rows stays as it is, so that a row is written a few times in all, however many
    runs come after it. The old files are marked as retired, stay for a while for open readers, and are named in the new file's
    footer, so that a rebuild of the catalog counts nothing twice.
    """
    import pyarrow as pa

    with connection() as con:
        attach(con, layout.catalog)
        small = f"kind = 'points' AND retired IS NULL AND rows < {ROWS_PER_FILE}"
        crowded = con.execute(
            f"""SELECT project, env, list([path, rows::VARCHAR] ORDER BY path) FROM catalog.files WHERE {small}
            GROUP BY ALL HAVING count(*) > {FILES_PER_PARTITION} ORDER BY ALL"""
        ).fetchall()
    for project, env, files in crowded:
        for paths in _handfuls([(layout.data / path, int(rows)) for path, rows in files]):
            with suppress(OSError, pa.ArrowException):  # one is lost or damaged: they stay as they are, and doctor names it
                merge_files(layout, project, env, paths)


def _handfuls(files: list[tuple[Path, int]]) -> list[list[Path]]:
    """Neighbouring files that together make one of a bounded size; two at least.

    >>> half = ROWS_PER_FILE // 2
    >>> [[path.name for path in paths] for paths in _handfuls([(Path("a"), half), (Path("b"), half), (Path("c"), 1)])]
    [['a', 'b']]
    """
    found: list[list[Path]] = [[]]
    size = 0
    for path, rows in files:
        if size >= ROWS_PER_FILE:
            found.append([])
            size = 0
        found[-1].append(path)
        size += rows
    return [paths for paths in found if len(paths) > 1]


def merge_files(layout: Layout, project: str, env: str, points: list[Path]) -> None:
    """Joins some of a partition's files, with their hardware series and run records, into one of each kind.

    Args:
        layout: The store.
        project: The partition's project.
        env: The partition's environment.
        points: The points files; what belongs to each lies beside it.

    Raises:
        OSError: One of them is lost or damaged; nothing was changed.
        ArrowException: One of them is damaged; nothing was changed.
    """
    import pyarrow as pa

    generation = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}"
    made = {kind: layout.partition(project, env) / f"{kind}-{generation}.parquet" for kind in (*VALUES, "runs")}
    with making(layout, list(made.values())):
        old = {kind: [beside(one, "points", kind) for one in points] for kind in ("points", "system", "runs")}
        old["system"] = [path for path in old["system"] if path.exists()]  # of the others none may be missing
        further = {kind: sorted({layout.relative(path) for path in old[kind]} | _replaced(old[kind])) for kind in old}
        live = _live(layout, old["runs"])
        counts = {}
        for kind in VALUES:
            if old[kind]:
                rows = pa.concat_tables([read_points(path, live) for path in old[kind]])
                counts[kind] = write_points(made[kind], ordered(rows), read_metrics(layout), further[kind])
        write_runs(made["runs"], list(live.values()), further["runs"])
        counts["runs"] = len(live)
        with changing(layout) as con:
            retired = [(time.time(), layout.relative(path)) for paths in old.values() for path in paths]
            con.executemany("UPDATE catalog.files SET retired = ? WHERE path = ?", retired)
            for kind, number in counts.items():
                row = [layout.relative(made[kind]), kind, project, env, number]
                con.execute("INSERT INTO catalog.files VALUES (?, ?, ?, ?, ?, NULL)", row)


def _live(layout: Layout, files: list[Path]) -> dict[int, StoredRun]:
    """The runs of some files that nothing has superseded, by their id."""
    held = {run_id for path in files for run_id in run_ids(path)}
    with connection() as con:
        attach(con, layout.catalog)
        where = f"WHERE run_id IN ({', '.join(map(str, held)) or 'NULL'}) ORDER BY run_id"
        rows = con.execute(f"SELECT run_id, record FROM catalog.runs {where}").fetchall()
    return {run_id: StoredRun.from_json(run_id, record) for run_id, record in rows}


def _replaced(files: list[Path]) -> set[str]:
    """The files that merged ones stood for themselves."""
    return {name for path in files for name in replaces(path)}
