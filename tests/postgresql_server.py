"""A PostgreSQL server of our own, in a temporary folder, where there is PostgreSQL on this machine."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest


def _program(name: str) -> str | None:
    """Where one of PostgreSQL's programs lies; Debian keeps them out of the path."""
    found = shutil.which(name) or next((str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))), None)
    return found and str(Path(found).resolve())


class PostgresqlServer:
    """The server, a child of this process.

    Args:
        folder: An empty folder that the server's user owns.
        as_user: Words in front of its programs.
        safe: Whether every commit is on the disk before it is told (``fsync``).
        connections: How many it takes.
    """

    def __init__(self, folder: Path, as_user: list[str], safe: bool, connections: int) -> None:
        self.folder, self._as_user = folder, as_user
        self._words = [] if safe else ["-F"]
        self._words += ["-c", "listen_addresses=", "-c", "shared_buffers=16MB", "-c", f"max_connections={connections}"]
        self._where = {"host": str(folder), "user": "postgres", "dbname": "postgres"}
        self._numbers = count()
        made = [_program("initdb"), "-D", str(folder / "data"), "-U", "postgres", "-A", "trust", "-N", "--locale=C", "-E", "UTF8"]
        done = subprocess.run([*as_user, *map(str, made)], capture_output=True, text=True, cwd=folder)
        assert done.returncode == 0, done.stderr
        self.start()

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        import psycopg

        self._server = subprocess.Popen(
            [*self._as_user, str(_program("postgres")), "-D", str(self.folder / "data"), "-k", str(self.folder), *self._words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
        )
        for _ in range(600):
            try:
                psycopg.connect(**self._where).close()
                return
            except psycopg.OperationalError:
                assert self._server.poll() is None, "the server has ended"
                time.sleep(0.1)
        raise AssertionError("the server does not answer")

    @property
    def pid(self) -> int:
        """The number of its first process."""
        return self._server.pid

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Ends it: at once, whoever is still connected; with SIGQUIT as a crash does."""
        self._server.send_signal(how)
        self._server.wait(timeout=60)

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """One statement, for itself."""
        import psycopg

        with psycopg.connect(**self._where, autocommit=True) as connection:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
            return list(cursor) if cursor.description else []

    def fresh(self) -> str:
        """The address of an empty schema."""
        name = f"s{next(self._numbers)}"
        self.execute(f"CREATE SCHEMA {name}")
        return f"postgresql+psycopg://postgres@/postgres?host={self.folder}&options=-csearch_path%3D{name}"


@contextmanager
def postgresql_server(*, safe: bool = False, connections: int = 20) -> Iterator[PostgresqlServer]:
    """A running server; the test is skipped, with the reason, where there can be none.

    Args:
        safe: Whether every commit is on the disk before it is told.
        connections: How many it takes.
    """
    if _program("initdb") is None or _program("postgres") is None:
        pytest.skip("PostgreSQL is not installed here")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed here")
    as_user: list[str] = []
    folder = Path(tempfile.mkdtemp(prefix="openrlb-pg-"))
    if os.geteuid() == 0:  # the server refuses to run as root
        if shutil.which("setpriv") is None:
            pytest.skip("PostgreSQL does not run as root, and there is no setpriv")
        try:
            shutil.chown(folder, "postgres", "postgres")
        except LookupError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    try:
        server = PostgresqlServer(folder, as_user, safe, connections)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
