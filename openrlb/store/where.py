"""``--where`` for runs that are not stored yet: the same SQL over the same columns."""

from __future__ import annotations

from openrlb.errors import QueryRefused, SelectionError
from openrlb.store.catalog import StoredRun, connection, insert_runs
from openrlb.store.sandbox import check
from openrlb.store.schema import TABLES
from openrlb.types import RunBatch

FIX = "use the columns of the runs view, for instance --where \"seed < 5 AND algo = 'ppo'\""


def refuse(error: Exception) -> SelectionError:
    """The error for a condition that means nothing."""
    return SelectionError("--where was not understood", " ".join(str(error).split())[:300], FIX)


def check_where(where: str | None) -> None:
    """Makes sure that a condition parses by itself; one that closes our parenthesis does not.

    Raises:
        SelectionError: It does not.
    """
    if where is None:
        return
    try:
        check(f"SELECT 1 WHERE {where}")
    except QueryRefused as error:
        raise refuse(error) from error


def meets(batch: RunBatch, where: str) -> bool:
    """True where one run, not yet stored, meets a condition over the columns of the ``runs`` view.

    Raises:
        SelectionError: The condition does not parse, or refers to no column.
    """
    import duckdb

    check_where(where)
    steps = max((int(metric.steps.max()) for metric in batch.metrics if len(metric.steps)), default=0)
    names = sorted(metric.metric.name for metric in batch.metrics)
    with connection() as con:
        con.execute("ATTACH ':memory:' AS catalog")
        for table in ("runs", "params", "requirements"):
            con.execute(f"CREATE TABLE catalog.{table} ({TABLES[table]})")
        insert_runs(con, [StoredRun(1, batch.run, "", "")], {})
        con.execute("UPDATE catalog.runs SET steps = ?, metrics = ?", [steps, names])
        con.execute("SET enable_external_access = false; SET lock_configuration = true")
        try:
            return bool(con.execute(check(f"SELECT 1 FROM catalog.runs WHERE (\n{where}\n)")).fetchone())
        except (duckdb.Error, QueryRefused) as error:
            raise refuse(error) from error
