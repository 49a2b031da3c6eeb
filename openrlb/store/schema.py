"""The catalog's tables, and the views that ``openrlb query`` promises.

Everything here can be made again from the Parquet files, so a catalog of an older schema is not patched: it is rebuilt.
No table has a key or an index: DuckDB's secondary indexes cost ingest speed (measured 6 times) and had checkpoint bugs.
"""

from __future__ import annotations

SCHEMA_VERSION = 2

TABLES = {
    "meta": "key VARCHAR, value VARCHAR",
    "runs": """run_id INTEGER, source VARCHAR, run VARCHAR, project VARCHAR, name VARCHAR, algo VARCHAR, impl VARCHAR,
        variant VARCHAR, env VARCHAR, seed BIGINT, role VARCHAR, state VARCHAR, steps BIGINT, step_unit VARCHAR,
        frames_per_step INTEGER, metrics VARCHAR[], tags VARCHAR[], created VARCHAR, fetched VARCHAR, normalized VARCHAR,
        git_commit VARCHAR, requirements VARCHAR, attempt INTEGER, location VARCHAR, notes VARCHAR[], config JSON,
        digest VARCHAR, record VARCHAR""",
    "params": "run_id INTEGER, key VARCHAR, value VARCHAR, number DOUBLE",
    "requirements": "hash VARCHAR, packages VARCHAR[]",
    "metrics": "metric_id SMALLINT, name VARCHAR, kind VARCHAR, canonical VARCHAR",
    "run_metrics": """run_id INTEGER, metric_id SMALLINT, n BIGINT, first_step BIGINT, last_step BIGINT,
        last_value DOUBLE, mean DOUBLE, final DOUBLE, lowest DOUBLE, middle DOUBLE, highest DOUBLE, bins DOUBLE[]""",
    "files": "path VARCHAR, kind VARCHAR, project VARCHAR, env VARCHAR, rows BIGINT, retired DOUBLE",
    "studies": "study VARCHAR, algo VARCHAR, env VARCHAR, storage VARCHAR, config JSON",
    "trials": "study VARCHAR, number INTEGER, state VARCHAR, value DOUBLE, params JSON",
}
"""Column definitions by table. ``run_metrics`` has the means of 100 equal step bins up to the metric's last step: of the last ten
the mean (``final``), of all the lowest, mean and highest, and each (``bins``) of metrics known by a canonical name."""

RUN_COLUMNS = (
    *("run", "source", "project", "name", "algo", "impl", "variant", "env", "seed", "role", "state", "steps", "step_unit"),
    *("metrics", "tags", "created"),
)
"""The columns of ``list --json``, in order."""

VIEWS = {
    "runs": f"""SELECT {", ".join(RUN_COLUMNS)}, fetched, normalized, frames_per_step, git_commit, requirements, attempt,
        location, notes, config FROM catalog.runs ORDER BY project, algo, env, seed, run""",
    "params": "SELECT run, key, value, number FROM catalog.params JOIN catalog.runs USING (run_id)",
    "scores": """SELECT run, metric.name AS metric, rule, last_step AS step, value FROM (
        SELECT run_id, metric_id, last_step, 'last' AS rule, last_value AS value FROM catalog.run_metrics
        UNION ALL SELECT run_id, metric_id, last_step, 'mean', mean FROM catalog.run_metrics
        UNION ALL SELECT run_id, metric_id, last_step, 'final:10%', final FROM catalog.run_metrics
            WHERE last_step > 0
    ) JOIN catalog.runs USING (run_id) JOIN catalog.metrics AS metric USING (metric_id)""",
    "trials": "SELECT study, number, state, value, params FROM catalog.trials",
    "studies": "SELECT study, algo, env, config FROM catalog.studies",
    "requirements": "SELECT hash, packages FROM catalog.requirements",
    "points": """SELECT run, project, algo, impl, env, seed, metric.name AS metric, kind, step, t_ms / 1000.0 AS time_s, value
        FROM {points} AS point JOIN catalog.runs USING (run_id) JOIN catalog.metrics AS metric USING (metric_id)""",
}
"""The views of ``openrlb query``; their columns are contract. ``{points}`` is the scan of the live Parquet files."""

POINT_COLUMNS = "run_id INTEGER, metric_id SMALLINT, step BIGINT, t_ms BIGINT, value DOUBLE"


def scan(paths: list[str]) -> str:
    """A FROM item over points files; an empty table with the same columns where there is none.

    Each row has its ``file_row_number`` as well: a filtered scan gives small groups of rows late, so that nothing but this
    number tells their order, whatever DuckDB's settings are.

    >>> scan([]).startswith("(SELECT")
    True
    """
    if not paths:
        columns = ", ".join(f"NULL::{part.split()[1]} AS {part.split()[0]}" for part in POINT_COLUMNS.split(", "))
        return f"(SELECT {columns}, NULL::BIGINT AS file_row_number WHERE false)"
    return f"read_parquet([{', '.join(map(literal, paths))}], hive_partitioning = false, file_row_number = true)"


def refusing(why: str) -> str:
    """A FROM item with the columns of :func:`scan` that fails as soon as it is read.

    >>> refusing("it is torn").endswith("(VALUES (error('it is torn'))))")
    True
    """
    columns = ", ".join(f"NULL::{part.split()[1]} AS {part.split()[0]}" for part in POINT_COLUMNS.split(", "))
    return f"(SELECT {columns}, NULL::BIGINT AS file_row_number FROM (VALUES (error({literal(why)}))))"


def literal(text: str) -> str:
    """A string as a SQL literal.

    >>> literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"
