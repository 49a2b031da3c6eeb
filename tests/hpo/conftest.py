"""A PostgreSQL server for the ledger's tests, where there is one on this machine."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest


def _program(name: str) -> str | None:
    """Where one of PostgreSQL's programs lies; Debian keeps them out of the path."""
    found = shutil.which(name) or next((str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))), None)
    return found and str(Path(found).resolve())


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[Callable[[], str]]:
    """Gives addresses of empty schemas of a server that runs during the tests; skips where there is none."""
    initdb, postgres = _program("initdb"), _program("postgres")
    if initdb is None or postgres is None:
        pytest.skip("PostgreSQL is not installed here")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed here")
    import psycopg

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
    made = subprocess.run(
        [*as_user, initdb, "-D", str(folder / "data"), "-U", "postgres", "-A", "trust", "-N", "--locale=C", "-E", "UTF8"],
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert made.returncode == 0, made.stderr
    plain = ["-F", "-c", "listen_addresses=", "-c", "shared_buffers=16MB", "-c", "max_connections=20"]
    server = subprocess.Popen(
        [*as_user, postgres, "-D", str(folder / "data"), "-k", str(folder), *plain],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
    )
    words = {"host": str(folder), "user": "postgres", "dbname": "postgres"}
    try:
        for _ in range(600):
            try:
                psycopg.connect(**words).close()
                break
            except psycopg.OperationalError:
                assert server.poll() is None, "the server has ended"
                time.sleep(0.1)
        numbers = count()

        def fresh() -> str:
            """The address of an empty schema."""
            name = f"s{next(numbers)}"
            with psycopg.connect(**words, autocommit=True) as connection:
                connection.execute(f"CREATE SCHEMA {name}")  # type: ignore[call-overload]
            return f"postgresql+psycopg://postgres@/postgres?host={folder}&options=-csearch_path%3D{name}"

        yield fresh
    finally:
        server.send_signal(signal.SIGINT)  # at once, whoever is still connected
        server.wait(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)
