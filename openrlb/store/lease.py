"""A store's lock as a lease in PostgreSQL, for shared folders whose file locks do not keep other machines out.

The lease is one row, judged by the server's clock alone. Its holder renews it; who died lets it lapse. It is fenced: each holder
has a number of its own, and asks the server, before anything is put in place, whether that number still counts. A holder that
stood still for longer than the lease therefore puts nothing in place, and its segments stay in the spool for the next one.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from openrlb.config import STORE_LOCK
from openrlb.errors import StoreBusy, StoreDamaged, StoreUnreachable, StoreUnwritable, UsageError
from openrlb.store.files import writing

if TYPE_CHECKING:
    import psycopg

    from openrlb.store.layout import Layout

MARK = "lease.json"
"""The store's name in the database; who finds it and names no server does not write."""
LEASE_SECONDS = 60.0
POLL_SECONDS = (0.05, 1.0)
"""How long to wait before the lease is asked for again: at first, and at most."""
CONNECT_SECONDS = 10
READERS_CONNECT_SECONDS = 2
"""Who only looks whether it could fold meanwhile does not wait long for a server that is away."""
_LIBPQ = {"keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3"}
_AWAY = ("08", "28", "3D", "57P")
"""Classes of codes by which a server is away, or refuses who asks (PostgreSQL's manual, appendix A)."""
_SCHEMES = ("postgresql+psycopg://", "postgresql://", "postgres://")

_THERE = "SELECT to_regclass('openrlb_store_leases')"
_TABLE = """SELECT pg_advisory_xact_lock(727082);
    CREATE TABLE IF NOT EXISTS openrlb_store_leases (store TEXT NOT NULL, name TEXT NOT NULL, holder TEXT NOT NULL,
        fence BIGINT NOT NULL, expires TIMESTAMPTZ NOT NULL, PRIMARY KEY (store, name))"""
_UNTIL = "clock_timestamp() + make_interval(secs => %(seconds)s)"
_MINE = "WHERE store = %(store)s AND name = %(name)s AND holder = %(holder)s AND fence = %(fence)s"
_TAKE = f"""INSERT INTO openrlb_store_leases AS held VALUES (%(store)s, %(name)s, %(holder)s, 1, {_UNTIL})
    ON CONFLICT (store, name) DO UPDATE SET holder = excluded.holder, fence = held.fence + 1, expires = excluded.expires
    WHERE held.expires < clock_timestamp() RETURNING fence"""
_RENEW = f"UPDATE openrlb_store_leases SET expires = {_UNTIL} {_MINE} RETURNING fence"
_LET_GO = f"UPDATE openrlb_store_leases SET expires = '-infinity' {_MINE}"
_KNOWN = "SELECT 1 FROM openrlb_store_leases WHERE store = %(store)s LIMIT 1"
_FORGET = "DELETE FROM openrlb_store_leases WHERE store = %(store)s"
_REGISTER = "INSERT INTO openrlb_store_leases VALUES (%(store)s, 'store.lock', '', 0, '-infinity')"


class Server:
    """The server that keeps leases; connected when it is first asked, and again where the connection broke.

    Args:
        address: ``postgresql+psycopg://...``, never printed.
        patience: Seconds to wait for a connection.

    Raises:
        UsageError: No such address, or its driver is not installed.
    """

    def __init__(self, address: str, patience: int = CONNECT_SECONDS) -> None:
        try:
            from psycopg.conninfo import conninfo_to_dict, make_conninfo
        except ImportError as error:
            raise UsageError(f"{STORE_LOCK} cannot be used", str(error), "pip install 'openrlb[postgres]'") from error
        import psycopg

        scheme = next((one for one in _SCHEMES if address.startswith(one)), None)
        fix = f"write {STORE_LOCK}=postgresql+psycopg://USER@HOST/DATABASE, or file"
        if scheme is None:
            raise UsageError(f"{STORE_LOCK} was not understood", "it is no address of a PostgreSQL server", fix)
        try:
            plain = "postgresql://" + address.removeprefix(scheme)
            known: dict[str, Any] = conninfo_to_dict(plain)
            if any("@" in str(known.get(part)) for part in ("host", "dbname")):  # the end of a password, which errors would show
                raise UnicodeError("an @ too many")
            self._address = make_conninfo(**{"connect_timeout": patience, **_LIBPQ, **known})
        except (psycopg.Error, UnicodeError) as error:  # its words may repeat the address
            raise UsageError(f"{STORE_LOCK} was not understood", "it cannot be read as an address", fix) from error
        self._secret = str(known.get("password") or "")
        self._connection: psycopg.Connection[Any] | None = None
        self._one = threading.Lock()

    def ask(self, statement: str, values: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """The rows of one statement, which is a transaction of its own.

        Raises:
            StoreUnreachable: The server does not answer, or refuses the credentials.
            StoreUnwritable: It does not do as it is asked.
        """
        import psycopg

        with self._one:
            try:
                if self._connection is None or self._connection.broken or self._connection.closed:
                    self._connection = psycopg.connect(self._address, autocommit=True)
                with self._connection.transaction():
                    cursor = self._connection.execute(statement, values)
                    return list(cursor) if cursor.description else []
            except psycopg.Error as error:
                self._close()
                why = " ".join(str(error).split())[:200].replace(self._secret or "\0", "***")
                fix = f"see that the server runs and lets you write to that database, and {STORE_LOCK}"
                away = isinstance(error, psycopg.OperationalError) and (error.sqlstate or "08").startswith(_AWAY)
                kind = StoreUnreachable if away else StoreUnwritable
                raise kind("the server that keeps the store's lock cannot be asked", why, fix) from error

    def close(self) -> None:
        """Ends the connection."""
        with self._one:
            self._close()

    def _close(self) -> None:
        """Ends the connection, broken or not."""
        with suppress(Exception):
            if self._connection is not None:
                self._connection.close()
        self._connection = None


class Lease:
    """One holder's lease.

    Args:
        server: Who keeps it.
        store: The store's name there.
        name: The lock's name.
    """

    def __init__(self, server: Server, store: str, name: str) -> None:
        self._server = server
        self._values: dict[str, Any] = {"store": store, "name": name, "holder": uuid.uuid4().hex, "seconds": LEASE_SECONDS}
        self._over = threading.Event()
        self._lost = False
        self._renewing = threading.Thread(target=self._renew, daemon=True)

    def take(self, wait: float) -> bool:
        """Takes the lease, where nobody holds it within some seconds; a server that is away is waited for too.

        Raises:
            StoreUnwritable: The server does not answer.
        """
        until, pause = time.monotonic() + wait, POLL_SECONDS[0]
        while True:
            try:
                rows = self._server.ask(_TAKE, self._values)
            except StoreUnwritable:
                if time.monotonic() + pause >= until:
                    raise
                rows = []
            if rows:
                self._values["fence"] = rows[0][0]
                self._renewing.start()
                return True
            if time.monotonic() + pause > until:
                return False
            time.sleep(pause)
            pause = min(2 * pause, POLL_SECONDS[1])

    def _renew(self) -> None:
        """Renews the lease until it is let go or taken."""
        while not self._over.wait(LEASE_SECONDS / 4):
            with suppress(StoreUnwritable):  # the server may be back the next time
                if not self._server.ask(_RENEW, self._values):
                    self._lost = True
                    return

    def check(self) -> None:
        """Makes sure that the lease is held, and holds for a while from now.

        Raises:
            StoreBusy: It was taken by another writer.
            StoreUnwritable: The server does not answer.
        """
        if self._lost or not self._server.ask(_RENEW, self._values):
            self._lost = True
            why = f"this process stood still for longer than {LEASE_SECONDS:.0f} seconds, and another writer took the lock"
            raise StoreBusy("nothing was put in place", why, "nothing is lost: the same command again goes on")

    def let_go(self) -> None:
        """Gives the lease back; where the server does not answer, it lapses."""
        self._over.set()
        self._renewing.join()
        with suppress(StoreUnwritable):
            self._server.ask(_LET_GO, self._values)


@contextmanager
def leased(layout: Layout, address: str, name: str, wait: float, what: str) -> Iterator[Callable[[], None]]:
    """Holds a lock of a store as a lease; the arguments and what is given are those of :func:`openrlb.store.lock.locked`.

    Raises:
        StoreBusy: Somebody else holds it still.
        StoreUnwritable: The server does not answer, or is not the one of this store.
        UsageError: The address is none.
    """
    server = Server(address, CONNECT_SECONDS if wait else READERS_CONNECT_SECONDS)
    try:
        lease = Lease(server, _store_name(layout, server), name)
        if not lease.take(wait):
            why = f"another openrlb has held {name} for {wait:.0f} seconds, as the PostgreSQL server of its lock says"
            raise StoreBusy(what, why, f"wait for it, or end it; who died is waited for up to {LEASE_SECONDS:.0f} seconds")
        try:
            yield lease.check
        finally:
            lease.let_go()
    finally:
        server.close()


def check_lease(layout: Layout, address: str) -> None:
    """Makes sure that the server answers, and is the one of this store; raises as :func:`leased` does."""
    server = Server(address)
    try:
        _store_name(layout, server, make=False)
    finally:
        server.close()


def _store_name(layout: Layout, server: Server, make: bool = True) -> str:
    """The store's name in the database, which every writer finds in the store; made by the first one.

    Raises:
        StoreUnwritable: The database does not know it: it is another one than that of the other writers.
        StoreDamaged: The file is no mark.
    """
    mark = layout.root / MARK
    if server.ask(_THERE) == [(None,)]:
        server.ask(_TABLE)
    if not mark.exists():
        if not make:
            return ""
        name = str(uuid.uuid4())
        server.ask(_REGISTER, {"store": name})  # first here, so that no mark names what nobody knows
        beside = mark.with_name(f"{MARK}.{name}")
        with writing(beside) as temporary:
            temporary.write_text(json.dumps({"format": 1, "store": name}) + "\n")
        try:
            os.link(beside, mark)
        except FileExistsError:  # another writer was first: its name holds
            server.ask(_FORGET, {"store": name})
        finally:
            beside.unlink()
    try:
        name = str(uuid.UUID(json.loads(mark.read_text())["store"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        fix = f"restore {mark} from a copy, or remove it while nobody writes"
        raise StoreDamaged("the store's lock cannot be found", f"{MARK}: {type(error).__name__}", fix) from error
    if not server.ask(_KNOWN, {"store": name}):
        why = "this PostgreSQL database does not know the store: its other writers use another one"
        fix = f"set {STORE_LOCK} as they do, or, while nobody writes, remove {mark}"
        raise StoreUnwritable("the store is not written to", why, fix)
    return name
