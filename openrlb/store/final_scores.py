"""Final scores of many runs from the catalog alone, without reading a value that was logged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openrlb.store.select import condition
from openrlb.store.store import known_names
from openrlb.types import Selection

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

FULL = 0.95
"""A run that ends before this share of the cut is short, as it is for ``plot``."""

SCORES = """
WITH chosen AS (
    SELECT run_id, source, run, project, algo, impl, env, seed, state FROM catalog.runs WHERE ({where}) AND role IN ({roles})
), logged AS (
    SELECT chosen.*, metric_id, last_step, final
    FROM catalog.run_metrics JOIN chosen USING (run_id) WHERE metric_id IN ({metrics})
), cuts AS (
    SELECT env, {cut} AS cut FROM logged WHERE state IN ('finished', 'unknown') GROUP BY env
), judged AS (
    SELECT logged.*, cut, CASE
        WHEN state NOT IN ('finished', 'unknown') THEN state
        WHEN last_step < {full} * cut THEN 'short: it ends before 95 % of the cut'
        END AS left_out
    FROM logged JOIN cuts USING (env)
), coarse AS (
    SELECT run_id, metric_id, list_avg(bins[1 + round(90 * cut / judged.last_step)::INTEGER :
        round(least(100, 100 * cut / judged.last_step))::INTEGER]) AS mean
    FROM catalog.run_metrics JOIN judged USING (run_id, metric_id) WHERE judged.last_step <> cut AND left_out IS NULL
)
SELECT source, run, project, algo, impl, env, seed, last_step, cut::BIGINT AS cut,
    CASE WHEN left_out IS NULL THEN CASE WHEN last_step = cut THEN final ELSE mean END END AS score,
    last_step = cut AND left_out IS NULL AS exact,
    CASE WHEN left_out IS NOT NULL THEN left_out
        WHEN last_step <> cut AND mean IS NULL THEN 'nothing in the last tenth of the cut, or no means of bins that are so fine'
        WHEN last_step = cut AND final IS NULL THEN 'it logged nothing in the last tenth' END AS left_out
FROM judged LEFT JOIN coarse USING (run_id, metric_id)
ORDER BY project, algo, env, seed, run
"""
"""The score of each run at the cut of its environment; a run whose last step is the cut has it to the last digit."""


def metric_kinds(con: duckdb.DuckDBPyConnection, of: str) -> list[tuple[int, str, str]]:
    """The id, name and kind of each metric that has a name or is known by it."""
    return con.execute(
        "SELECT metric_id, name, kind FROM catalog.metrics WHERE ? IN (name, canonical) ORDER BY name", [of]
    ).fetchall()


def runs_with(
    con: duckdb.DuckDBPyConnection, selection: Selection, roles: tuple[str, ...], metrics: list[int]
) -> tuple[int, int]:
    """How many of the selected runs logged any of some metrics, and how often they did."""
    sql = f"""SELECT count(DISTINCT run_id), count(*) FROM catalog.run_metrics WHERE metric_id IN ({_numbers(metrics)})
        AND run_id IN (SELECT run_id FROM catalog.runs WHERE ({_where(con, selection)}) AND role IN ({_texts(roles)}))"""
    runs, rows = con.execute(sql).fetchall()[0]
    return int(runs), int(rows)


def runs_in(con: duckdb.DuckDBPyConnection, selection: Selection, roles: tuple[str, ...]) -> int:
    """How many runs are selected."""
    sql = f"SELECT count(*) FROM catalog.runs WHERE ({_where(con, selection)}) AND role IN ({_texts(roles)})"
    return int(con.execute(sql).fetchall()[0][0])


def coarse_scores(
    con: duckdb.DuckDBPyConnection, selection: Selection, roles: tuple[str, ...], metrics: list[int], at: int | None
) -> pa.Table:
    """The final score of each selected run at one cut in each environment.

    Args:
        con: A connection to the catalog.
        selection: Which runs; a condition (``where``) is not taken.
        roles: Roles of the runs that count.
        metrics: What is scored; each run logged at most one of them.
        at: The cut; None for the median last step of each environment's runs that ended well.
    """
    cut = str(int(at)) if at is not None else "quantile_disc(last_step, 0.5)"
    sql = SCORES.format(
        where=_where(con, selection), roles=_texts(roles), metrics=_numbers(metrics), cut=cut, full=FULL,
    )  # fmt: skip
    return con.sql(sql).to_arrow_table()


def _where(con: duckdb.DuckDBPyConnection, selection: Selection) -> str:
    """The condition that selects runs; names are looked up only where some are given."""
    return "true" if selection == Selection() else condition(selection, known_names(con))


def _numbers(values: list[int]) -> str:
    return ", ".join(str(int(one)) for one in values)


def _texts(values: tuple[str, ...]) -> str:
    return ", ".join(f"'{one}'" for one in values)
