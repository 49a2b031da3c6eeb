"""Read-only SQL: one SELECT over the store's views, with no way to write, attach, read other files or reach a network."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from openrlb.errors import QueryRefused
from openrlb.store.catalog import attach, connection
from openrlb.store.layout import Layout
from openrlb.store.schema import SCHEMA_VERSION, VIEWS, literal, refusing, scan
from openrlb.store.studies import add_studies

if TYPE_CHECKING:
    import duckdb

SELECTING = frozenset(("SELECT_NODE", "SET_OPERATION_NODE", "CTE_NODE", "RECURSIVE_CTE_NODE"))
"""Query nodes that only read."""
TABLE_FUNCTIONS = frozenset(
    "generate_series histogram histogram_values json_each json_tree query_table range repeat repeat_row summary unnest".split()
)
"""Those that compute from what they are given. Others read files, or run a text that the check of a statement has not seen:
``json_execute_serialized_sql`` would write a file of the store."""
DESCRIBING = ("duckdb_", "pragma_")
"""How the names of those begin that tell what DuckDB and the views are."""
MAX_CHARACTERS, MAX_DEPTH = 200_000, 250
"""Of one statement, and how many brackets may be open at once: DuckDB's parser takes up to 9 KB of memory for each character, and
time with the square of open brackets, in which no Ctrl-C ends it."""
MAX_ANSWER_BYTES = 2 * 1024**3
"""How much of an answer is held in memory: 64 bytes for each cell, and its text."""


class OutdatedError(Exception):
    """The catalog has an older schema: it is made again before it is read."""


@contextmanager
def sandbox(layout: Layout, views: bool = True, studies: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that sees the catalog and the views of one store and nothing else, and cannot change that.

    Args:
        layout: The store.
        views: Make the views: some 10 ms, and a look at every points file.
        studies: Read its database of studies too.

    Raises:
        OutdatedError: Written by an older openrlb.
        StoreTooNew: Written by a newer one.
        StoreError: The catalog, or the database of studies, cannot be read.
    """
    with connection() as con:
        if attach(con, layout.catalog) < SCHEMA_VERSION:
            raise OutdatedError(layout.catalog.name)
        if views:
            _make_views(con, layout)
        if studies:
            add_studies(con, layout.root)
        con.execute("SET temp_directory = ''")  # else DuckDB would allow ./.tmp beside the one folder
        con.execute(f"SET allowed_directories = [{literal(str(layout.data))}]")
        con.execute("SET enable_external_access = false; SET lock_configuration = true")
        yield con


def _make_views(con: duckdb.DuckDBPyConnection, layout: Layout) -> None:
    """The views of ``openrlb query``."""
    import duckdb

    files = con.execute(
        "SELECT path FROM catalog.files WHERE kind IN ('points', 'system') AND retired IS NULL ORDER BY path"
    ).fetchall()
    paths = [str(layout.data / path) for (path,) in files if (layout.data / path).exists()]  # a lost one: see doctor
    points = refusing("the points of this store lie elsewhere") if layout.elsewhere and len(paths) < len(files) else scan(paths)
    for name, body in VIEWS.items():
        try:
            con.execute(f"CREATE VIEW {name} AS {body.replace('{points}', points)}")
        except duckdb.Error as error:  # what the catalog says can still be read
            con.execute(f"CREATE VIEW {name} AS {body.replace('{points}', refusing(str(error).splitlines()[0]))}")


def check(sql: str) -> str:
    """A user's SQL, if it is one SELECT.

    A statement's kind is checked before it runs: inside the one allowed folder DuckDB itself would let COPY write.

    Raises:
        QueryRefused: Several statements, none, one that is no SELECT, SQL that does not parse, or that is too long or too deep.
    """
    import duckdb

    if len(sql) > MAX_CHARACTERS or _depth(sql) > MAX_DEPTH:
        why = f"it has more than {MAX_CHARACTERS:,} characters, or more than {MAX_DEPTH} brackets that are open at once"
        raise QueryRefused("the SQL was not run", why, "ask for less at once, and join the answers")
    fix = f"write one SELECT over the views {', '.join(VIEWS)} (openrlb query --help)"
    try:
        sql.encode()
        statements = duckdb.extract_statements(sql)
    except (duckdb.Error, UnicodeEncodeError) as error:
        raise QueryRefused("the SQL does not parse", str(error).splitlines()[0], fix) from error
    try:
        kinds = [statement.type.name for statement in statements]
    except ValueError as error:  # a kind that the Python client has no name for
        raise QueryRefused("the SQL was not run", "it is no SELECT", fix) from error
    if kinds != ["SELECT"]:
        why = "it is empty" if not kinds else f"it is {' and '.join(kinds)}, and only one SELECT is allowed"
        raise QueryRefused("the SQL was not run", why, fix)
    try:
        others = sorted(set(_unwanted(sql)))
    except RecursionError as error:
        raise QueryRefused("the SQL was not run", "it is nested too deeply", "use IN for long chains of conditions") from error
    if others:
        raise QueryRefused("the SQL was not run", f"inside it stands {', '.join(others)}, and only SELECT is allowed", fix)
    return sql


def _depth(sql: str) -> int:
    """How many brackets are open at once; those in texts count, too."""
    return max(accumulate((1 if mark in "([{" else -1 for mark in re.findall(r"[][(){}]", sql)), initial=0))


def _unwanted(sql: str) -> Iterator[str]:
    """What stands in a SELECT and is none: since DuckDB 2 a common table expression may hold COPY or INSERT."""
    with connection() as con:
        row = con.execute("SELECT json_serialize_sql(?)", [sql]).fetchone()
    tree = json.loads(row[0]) if row else {"error": True}
    if tree.get("error"):
        yield str(tree.get("error_message", "a statement that is no SELECT"))
    waiting = [tree.get("statements", [])]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            kind, called = item.get("type"), item.get("function")
            if isinstance(kind, str) and kind.endswith("_NODE") and kind not in SELECTING:
                yield kind
            if kind == "TABLE_FUNCTION" and isinstance(called, dict):
                name = str(called.get("function_name")).lower()
                if name not in TABLE_FUNCTIONS and not name.startswith(DESCRIBING):
                    yield f"{name}()"
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def rows_of(cursor: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    """An answer's rows.

    Raises:
        QueryRefused: They would not fit in memory.
    """
    found: list[tuple[Any, ...]] = []
    size = 0
    while some := cursor.fetchmany(10_000):
        size += sum(64 + (len(cell) if isinstance(cell, str | bytes | list) else 0) for row in some for cell in row)
        if size > MAX_ANSWER_BYTES:
            why = f"its answer takes more than {MAX_ANSWER_BYTES >> 30} GiB"
            fix = "add LIMIT or an aggregate; openrlb export --points writes every value to a file"
            raise QueryRefused("the answer is too large", why, fix)
        found += some
    return found
