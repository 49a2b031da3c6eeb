"""A PostgreSQL server for the ledger's tests, where there is one on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from postgresql_server import PostgresqlServer, postgresql_server


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """A server that runs during the tests; skips where there is none."""
    with postgresql_server() as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_url(postgresql: PostgresqlServer) -> Callable[[], str]:
    """Gives addresses of empty schemas."""
    return postgresql.fresh
