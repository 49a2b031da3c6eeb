"""The database that studies are kept in: its address for people, and how it is spoken to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlalchemy as sa

BUSY_SECONDS = 60.0
"""How long a transaction waits for others."""
IDLE_SECONDS = 600
"""How long a transaction may do nothing: a machine that stands still must not stop all others."""
LIBPQ = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
"""A server that is gone is noticed, also by who waits for its answer."""


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


def parsed(url: str) -> sa.URL:
    """An address as SQLAlchemy reads it.

    Raises:
        sqlalchemy.exc.ArgumentError: It is none, or a part of its password would be read as a host, which is shown to people.

    >>> parsed("sqlite:///hpo.db").database
    'hpo.db'
    """
    import sqlalchemy as sa

    try:
        address = sa.make_url(url)
    except ValueError as error:  # its words may hold a part of the password
        raise sa.exc.ArgumentError("its port is no number; in a name or a password @ is written %40") from error
    if address.get_backend_name() != "sqlite" and "@" in f"{address.host}{address.database}":
        raise sa.exc.ArgumentError("it has an @ too many: in a name or a password it is written %40")
    return address


def is_away(error: Exception) -> bool:
    """Whether an error says that a server is not there, does not know the database, or refuses who asks.

    PostgreSQL's drivers give no code for what goes wrong before they are connected; else the class of the code tells
    (PostgreSQL's manual, appendix A).

    >>> is_away(OSError("a disk"))
    False
    """
    import sqlalchemy as sa

    cause = getattr(error, "orig", None)
    if not isinstance(error, sa.exc.OperationalError) or "sqlite3" in type(cause).__module__:
        return False
    code = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or "08"
    return str(code).startswith(("08", "28", "3D", "57P", "53300"))


def engine_of(address: sa.URL) -> sa.Engine:
    """An engine whose transactions exclude each other from their beginning."""
    import sqlalchemy as sa

    if address.get_backend_name() == "postgresql":
        return _postgresql(address)
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


def _postgresql(address: sa.URL) -> sa.Engine:
    """An engine that neither waits for ever nor lets others do so."""
    import sqlalchemy as sa

    asked = {} if address.get_driver_name() not in ("psycopg", "psycopg2") else LIBPQ
    arguments: dict[str, Any] = {name: value for name, value in asked.items() if name not in address.query}
    if address.get_driver_name() == "psycopg":
        arguments["prepare_threshold"] = None  # a pooler gives each transaction another connection, which knows no statement
        address = address.difference_update_query(["prepare_threshold"])
    engine = sa.create_engine(address, pool_pre_ping=True, connect_args=arguments)

    @sa.event.listens_for(engine, "connect")
    def _bounded(connection: Any, record: object) -> None:  # noqa: ANN401 - the driver's own connection
        del record
        cursor = connection.cursor()
        cursor.execute(f"SET lock_timeout = '{BUSY_SECONDS:.0f}s'")
        cursor.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'")
        cursor.close()
        connection.commit()  # else the first rollback takes it back

    return engine
