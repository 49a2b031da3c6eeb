"""``query``: read-only SQL over the store."""

from __future__ import annotations

from openrlb.api.opened import opened
from openrlb.store import QueryResult, Store


def query(sql: str, *, store: Store | None = None) -> QueryResult:
    """Runs one SELECT over the views ``runs``, ``points``, ``params``, ``scores``, ``trials``.

    Args:
        sql: One SELECT of DuckDB's dialect.
        store: The user's own store by default.

    Raises:
        QueryRefused: Anything else, or SQL that fails.
        NothingMatched: An empty store.
    """
    return opened(store).query(sql)
