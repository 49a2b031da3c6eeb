"""Points files: narrow rows sorted by (metric, run, step), and what the catalog knows of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openrlb.store.arrow import numbers, texts
from openrlb.store.catalog import StoredRun
from openrlb.store.files import writing
from openrlb.store.schema import PARQUET_OPTIONS, literal, scan

if TYPE_CHECKING:
    import duckdb

BINS = 100
"""Equal step bins up to a metric's last step; the last ten of them are the ``final:10%`` window."""


def write_points(
    con: duckdb.DuckDBPyConnection, path: Path, rows: str, metrics: Sequence[Sequence[Any]], replaces: Sequence[str] = ()
) -> int:
    """Writes a points file from a SQL FROM item with the point columns and ``place``, the logged order.

    Args:
        con: Any connection.
        path: Where the file shall be.
        rows: A FROM item that gives run_id, metric_id, step, t_ms, value, place.
        metrics: The metric ids with their names, kept in the footer so that they can never be lost.
        replaces: Names of files this one replaces, kept in its footer so that a rebuild skips them.

    Returns:
        The number of rows written.
    """
    ordered = f"SELECT run_id, metric_id, step, t_ms, value FROM {rows} ORDER BY metric_id, run_id, step, place"
    with writing(path) as temporary:
        kept = {"replaces": list(replaces), "metrics": [list(metric) for metric in metrics]}
        footer = "KV_METADATA {" + ", ".join(f"{key}: {literal(json.dumps(value))}" for key, value in kept.items()) + "}"
        row = con.execute(f"COPY ({ordered}) TO {literal(str(temporary))} ({PARQUET_OPTIONS}, {footer})").fetchone()
    return int(row[0]) if row else 0


def write_runs(path: Path, runs: Sequence[StoredRun], replaces: Sequence[str] = ()) -> None:
    """Writes the run records that a rebuild makes the catalog from."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [numbers(pa.int32(), [run.run_id for run in runs]), texts(run.to_json() for run in runs)]
    table = pa.Table.from_arrays(columns, names=["run_id", "record"], metadata={"replaces": json.dumps(list(replaces))})
    with writing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def describe(con: duckdb.DuckDBPyConnection, paths: list[str], live: str) -> None:
    """Adds ``run_metrics`` for the live runs in points files, and fills the runs' ``steps`` and ``metrics``.

    Args:
        con: A connection with the catalog attached for writing.
        paths: The points files.
        live: A SQL query for the run ids to describe.
    """
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE described AS
        WITH point AS (SELECT *, file_row_number AS place FROM {scan(paths)} WHERE run_id IN ({live})),
        whole AS (SELECT run_id, metric_id, count(*) AS n, min(step) AS first_step, max(step) AS last_step,
            last(value ORDER BY place) AS last_value, avg(value) AS mean FROM point GROUP BY ALL),
        binned AS (SELECT run_id, metric_id, avg(value) AS mean,
            greatest(0, (step::HUGEINT * {BINS} - 1) // last_step)::INTEGER AS bin
            FROM point JOIN whole USING (run_id, metric_id) WHERE last_step > 0 GROUP BY ALL),
        every AS (SELECT run_id, metric_id, bin FROM whole, range({BINS}) AS place(bin) WHERE last_step > 0),
        listed AS (SELECT run_id, metric_id, list(binned.mean ORDER BY every.bin) AS bins
            FROM every LEFT JOIN binned USING (run_id, metric_id, bin) GROUP BY ALL)
        SELECT whole.*, bins FROM whole LEFT JOIN listed USING (run_id, metric_id)"""
    )
    con.execute("INSERT INTO catalog.run_metrics BY NAME SELECT * FROM described ORDER BY run_id, metric_id")
    con.execute(
        """UPDATE catalog.runs SET steps = greatest(found.steps, runs.steps), metrics = found.metrics FROM (
            SELECT run_id, max(last_step) AS steps, list(name ORDER BY name) AS metrics
            FROM described JOIN catalog.metrics USING (metric_id) GROUP BY run_id) AS found
        WHERE runs.run_id = found.run_id"""
    )
    con.execute("UPDATE catalog.runs SET steps = coalesce(steps, 0), metrics = [] WHERE metrics IS NULL")
