"""Merge: joins the files of a crowded partition and leaves out rows of superseded runs."""

from __future__ import annotations

import time
import uuid

from openrlb.store.catalog import StoredRun, attach, changing, connection
from openrlb.store.layout import VALUES, Layout
from openrlb.store.points import write_points, write_runs
from openrlb.store.rebuild import replaces
from openrlb.store.registry import read_metrics
from openrlb.store.schema import scan
from openrlb.store.sweep import write_journal

FILES_PER_PARTITION = 16


def merge_crowded(layout: Layout) -> None:
    """Merges every partition that has more than 16 live points files. The caller holds the lock.

    The old files are marked as retired, stay for a while for open readers, and are named in the new file's footer, so
    that a rebuild of the catalog counts nothing twice.
    """
    with connection() as con:
        attach(con, layout.catalog)
        crowded = con.execute(
            f"""SELECT project, env FROM catalog.files WHERE kind = 'points' AND retired IS NULL
            GROUP BY ALL HAVING count(*) > {FILES_PER_PARTITION} ORDER BY ALL"""
        ).fetchall()
    for project, env in crowded:
        merge_partition(layout, project, env)


def merge_partition(layout: Layout, project: str, env: str) -> None:
    """Joins one partition's live files into one points and one runs file."""
    generation = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}"
    folder = layout.partition(project, env)
    made = {kind: folder / f"{kind}-{generation}.parquet" for kind in (*VALUES, "runs")}
    write_journal(layout, list(made.values()))
    counts: dict[str, int] = {}
    with connection() as con:
        attach(con, layout.catalog)
        where = "WHERE project = ? AND env = ? AND retired IS NULL ORDER BY path"
        old = con.execute(f"SELECT path, kind FROM catalog.files {where}", [project, env]).fetchall()
        live = [
            StoredRun.from_json(run_id, record)
            for run_id, record in con.execute(
                "SELECT run_id, record FROM catalog.runs WHERE project = ? AND env = ? ORDER BY run_id", [project, env]
            ).fetchall()
        ]
        ids = ", ".join(str(run.run_id) for run in live) or "NULL"
        for kind in VALUES:
            paths = [str(layout.data / path) for path, its_kind in old if its_kind == kind]
            if paths:
                rows = f"(SELECT *, file_row_number AS place FROM {scan(paths)} WHERE run_id IN ({ids}))"
                replaced = _all_replaced(layout, old, kind)
                counts[kind] = write_points(con, made[kind], rows, read_metrics(layout), replaced)
    write_runs(made["runs"], live, _all_replaced(layout, old, "runs"))
    counts["runs"] = len(live)
    with changing(layout.catalog) as con:
        con.executemany("UPDATE catalog.files SET retired = ? WHERE path = ?", [(time.time(), path) for path, _ in old])
        for kind, number in counts.items():
            row = [layout.relative(made[kind]), kind, project, env, number]
            con.execute("INSERT INTO catalog.files VALUES (?, ?, ?, ?, ?, NULL)", row)
    layout.journal.unlink(missing_ok=True)


def _all_replaced(layout: Layout, old: list[tuple[str, str]], kind: str) -> list[str]:
    """The files that a merged file stands for: the ones merged, and those they stood for themselves."""
    paths = [path for path, its_kind in old if its_kind == kind]
    further = [name for path in paths for name in replaces(layout.data / path)]
    return sorted({*paths, *further})
