"""The database that studies are kept in: its address for people, and how it is spoken to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlalchemy as sa

BUSY_SECONDS = 60.0
"""How long a transaction waits for others."""


def shown_address(address: sa.URL) -> str:
    """A database's address for people: no password, wherever it stands.

    >>> import sqlalchemy as sa
    >>> shown_address(sa.make_url("postgresql+psycopg://me:secret@host/db?user=me&password=secret"))
    'postgresql+psycopg://me:***@host/db?password=***&user=me'
    """
    hidden = {name: "***" for name in address.query if "pass" in name.lower() or "key" in name.lower()}
    return address.update_query_dict(hidden).render_as_string(hide_password=True).replace("%2A%2A%2A", "***")


def without_address(url: str, error: Exception) -> str:
    """An error's words without the address, which they may repeat."""
    return " ".join(str(error).replace(url, "the address").split())[:200]


def engine_of(address: sa.URL) -> sa.Engine:
    """An engine whose transactions exclude each other from their beginning."""
    import sqlalchemy as sa

    if address.get_backend_name() != "sqlite":
        return sa.create_engine(address, pool_pre_ping=True)
    in_memory = address.database in (None, "", ":memory:")
    engine = sa.create_engine(
        address,
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
        poolclass=sa.StaticPool if in_memory else sa.NullPool,
    )

    @sa.event.listens_for(engine, "connect")
    def _plain(connection: Any, record: object) -> None:  # noqa: ANN401 - sqlite3's own connection
        del record
        connection.isolation_level = None  # the driver would begin transactions itself, and too late
        connection.execute("PRAGMA foreign_keys = ON")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
