"""Final scores of many runs from the catalog alone, without reading a value that was logged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openrlb.store.select import condition
from openrlb.store.store import known_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb
    import pyarrow as pa

    from openrlb.types import Selection

FULL = 0.95
"""A run that ends before this share of the cut is short, as it is for ``plot``."""

JUDGED = """
WITH logged AS (
    SELECT run_id, env, state, last_step, final FROM catalog.run_metrics JOIN catalog.runs USING (run_id)
    WHERE metric_id IN ({metrics}) AND {chosen}
), cuts AS (
    SELECT env, ({cut})::BIGINT AS cut FROM logged WHERE state IN ('finished', 'unknown') GROUP BY env
)
SELECT run_id, last_step, final, cut, CASE
    WHEN state NOT IN ('finished', 'unknown') THEN state
    WHEN last_step < {full} * cut THEN 'short: it ends before 95 % of the cut'
    WHEN last_step = cut AND final IS NULL THEN 'it logged nothing in the last tenth' END AS left_out,
    coalesce(last_step = cut AND left_out IS NULL, false) AS exact
FROM logged LEFT JOIN cuts USING (env)
"""
"""How far each run came, and the final mean of those that end at the cut: their score to the last digit."""

MEANS = """
SELECT run_id, list_avg(bins[1 + round(90 * cut / judged.last_step)::INTEGER :
    round(least(100, 100 * cut / judged.last_step))::INTEGER]) AS mean
FROM catalog.run_metrics JOIN judged USING (run_id) WHERE metric_id IN ({metrics}) AND left_out IS NULL AND NOT exact
"""
"""Estimates of the others' scores from coarse means, which are most of the catalog and are read only where they are needed."""

SCORES = """
SELECT source, run, project, algo, impl, env, seed, last_step, cut,
    CASE WHEN left_out IS NULL THEN CASE WHEN exact THEN final ELSE mean END END AS score, exact,
    CASE WHEN left_out IS NULL AND NOT exact AND mean IS NULL
        THEN 'nothing in the last tenth of the cut, or no means of bins that are so fine' ELSE left_out END AS left_out
FROM judged JOIN catalog.runs USING (run_id) LEFT JOIN ({means}) USING (run_id)
"""

NONE_NEEDED = "SELECT NULL::INTEGER AS run_id, NULL::DOUBLE AS mean WHERE false"


def metric_kinds(con: duckdb.DuckDBPyConnection, of: str) -> list[tuple[int, str, str]]:
    """The id, name and kind of each metric that has a name or is known by it."""
    return con.execute(
        "SELECT metric_id, name, kind FROM catalog.metrics WHERE ? IN (name, canonical) ORDER BY name", [of]
    ).fetchall()


def runs_with(
    con: duckdb.DuckDBPyConnection, selection: Selection, roles: tuple[str, ...], metrics: Mapping[str, list[int]]
) -> tuple[dict[str, tuple[int, int]], int]:
    """How many of the selected runs logged some metrics of each kind, and how often they did; how many logged any.

    Args:
        con: A connection to the catalog.
        selection: Which runs.
        roles: Roles of the runs that count.
        metrics: The metrics of each kind; at least one.
    """
    counted = [f"count(*) FILTER (metric_id IN ({_numbers(ids)})) AS kind{at}" for at, ids in enumerate(metrics.values())]
    summed = [f"count_if(kind{at} > 0), sum(kind{at})" for at in range(len(metrics))]
    sql = f"""SELECT count(*), {", ".join(summed)} FROM (SELECT {", ".join(counted)} FROM catalog.run_metrics
        WHERE metric_id IN ({_numbers([one for ids in metrics.values() for one in ids])})
        AND run_id IN (SELECT run_id FROM catalog.runs WHERE {_chosen(con, selection, roles)})
        GROUP BY run_id)"""
    any_of, *counts = (int(one or 0) for one in con.execute(sql).fetchall()[0])
    return dict(zip(metrics, zip(counts[::2], counts[1::2], strict=True), strict=True)), any_of


def runs_in(con: duckdb.DuckDBPyConnection, selection: Selection, roles: tuple[str, ...]) -> int:
    """How many runs are selected."""
    sql = f"SELECT count(*) FROM catalog.runs WHERE {_chosen(con, selection, roles)}"
    return int(con.execute(sql).fetchall()[0][0])


def coarse_scores(
    con: duckdb.DuckDBPyConnection, selection: Selection, roles: tuple[str, ...], metrics: list[int], at: int | None
) -> pa.Table:
    """The final score of each selected run at one cut in each environment, in no order: to sort takes longer than to judge.

    Args:
        con: A connection to the catalog.
        selection: Which runs; a condition (``where``) is not taken.
        roles: Roles of the runs that count.
        metrics: What is scored; each run logged at most one of them.
        at: The cut; None for the median last step of each environment's runs that ended well.
    """
    cut = str(int(at)) if at is not None else "quantile_disc(last_step, 0.5)"
    sql = JUDGED.format(chosen=_chosen(con, selection, roles), metrics=_numbers(metrics), cut=cut, full=FULL)
    con.execute(f"CREATE TEMP TABLE judged AS {sql}")
    try:
        ((coarse,),) = con.execute("SELECT count(*) FROM judged WHERE left_out IS NULL AND NOT exact").fetchall()
        means = MEANS.format(metrics=_numbers(metrics)) if coarse else NONE_NEEDED
        return con.sql(SCORES.format(means=means)).to_arrow_table()
    finally:
        con.execute("DROP TABLE judged")


def _numbers(values: list[int]) -> str:
    return ", ".join(str(int(one)) for one in values)


def _chosen(con: duckdb.DuckDBPyConnection, selection: Selection, roles: tuple[str, ...]) -> str:
    """The condition of the runs that are asked for."""
    listed = ", ".join(f"'{one}'" for one in roles)
    return f"({condition(selection, known_names(con, selection))}) AND role IN ({listed})"
