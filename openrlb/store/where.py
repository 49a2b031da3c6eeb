"""``--where`` for runs that are not stored yet: the same SQL over the same columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from openrlb.errors import QueryRefused, SelectionError
from openrlb.store.catalog import StoredRun, connection, insert_runs
from openrlb.store.sandbox import check
from openrlb.store.schema import TABLES
from openrlb.types import Run, RunBatch

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


TABLES_ASKED = ("runs", "params", "requirements")
"""Tables that a run which is not stored yet is put into."""

UNTOLD = ("steps", "metrics", "requirements", "git_commit", "notes", "fetched", "digest", "record")
"""Columns that a record alone, before its points and files are there, does not tell."""


def told(runs: Sequence[Run], where: str) -> list[bool] | None:
    """Whether runs meet a condition, by their records alone: before their points are fetched.

    Args:
        runs: The records.
        where: The condition.

    Returns:
        An answer for each run; None where the condition asks for what a record does not tell (:data:`UNTOLD`).

    Raises:
        SelectionError: The condition does not parse.
    """
    import duckdb

    check_where(where)
    with connection() as con:
        con.execute("ATTACH ':memory:' AS catalog")
        for table in TABLES_ASKED:
            con.execute(f"CREATE TABLE catalog.{table} ({TABLES[table]})")
        insert_runs(con, [StoredRun(number, run, "", "") for number, run in enumerate(runs)], {})
        for column in UNTOLD:
            con.execute(f"ALTER TABLE catalog.runs DROP COLUMN {column}")
        con.execute("SET temp_directory = ''; SET enable_external_access = false; SET lock_configuration = true")
        try:
            met = {row[0] for row in con.execute(check(f"SELECT run_id FROM catalog.runs WHERE (\n{where}\n)")).fetchall()}
        except (duckdb.Error, QueryRefused):
            return None  # :func:`meeting` says what is wrong, where something is
    return [number in met for number in range(len(runs))]


@contextmanager
def meeting(where: str | None) -> Iterator[Callable[[RunBatch], bool]]:
    """A function that tells whether a run, not yet stored, meets a condition over the columns of the ``runs`` view.

    DuckDB is opened once for all runs: for each of them it would take 20 ms.

    Args:
        where: The condition; None is met by every run.

    Raises:
        SelectionError: The condition does not parse, or refers to no column.
    """
    if where is None:
        yield lambda _: True
        return
    import duckdb

    check_where(where)
    asked = f"SELECT 1 FROM catalog.runs WHERE (\n{where}\n)"
    try:
        check(asked)
    except QueryRefused as error:
        raise refuse(error) from error
    with connection() as con:
        con.execute("ATTACH ':memory:' AS catalog")
        for table in TABLES_ASKED:
            con.execute(f"CREATE TABLE catalog.{table} ({TABLES[table]})")
        con.execute("SET temp_directory = ''; SET enable_external_access = false; SET lock_configuration = true")

        def meets(batch: RunBatch) -> bool:
            steps = max((int(metric.steps.max()) for metric in batch.metrics if len(metric.steps)), default=0)
            names = sorted(metric.metric.name for metric in batch.metrics)
            for table in TABLES_ASKED:
                con.execute(f"DELETE FROM catalog.{table}")
            insert_runs(con, [StoredRun(1, batch.run, "", "")], {})
            con.execute("UPDATE catalog.runs SET steps = greatest(steps, ?), metrics = ?", [steps, names])
            try:
                return bool(con.execute(asked).fetchone())
            except duckdb.Error as error:
                raise refuse(error) from error

        yield meets
