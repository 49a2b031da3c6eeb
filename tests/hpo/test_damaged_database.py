"""A damaged database of studies is a named error wherever it is read, and never other numbers."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from builders import batch

from openrlb.errors import OpenrlbError
from openrlb.store import Store
from openrlb_hpo.ledger import Ledger, default_url, open_ledger
from openrlb_hpo.owners import worker_name
from openrlb_hpo.records import Baseline, StudyRecord, StudySettings, Trial
from openrlb_hpo.seeds import seed_of

ENV = "CartPole-v1"
SETTINGS = StudySettings(
    "ppo", "sb3", "source", "lock", (ENV,), 1000, {}, "zoo", "digest", baselines=(Baseline("default", {ENV: {}}, "the library"),)
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with one run, and a study with a trial and a run of it."""
    store = Store(tmp_path / "store")
    store.write([batch("a")])
    store.fold()
    with Ledger(default_url(store.layout.root)) as ledger:
        ledger.begin(SETTINGS, 20)
        with ledger.transaction(SETTINGS.digest) as change:
            change.add_trial(SETTINGS.digest, Trial(0, {"lr": 0.1}, {"learning_rate": 0.1}))
            row = change.reserve(
                change.read(SETTINGS.digest), "trial:0", "tuning", ENV, 0, seed_of("tuning", 0), "run", worker_name()
            )
            change.close(row.number, row.worker, "finished", score=7.0)
    return store


def read_everywhere(store: Store) -> list[object]:
    """What each reader of the database says: rows, or the error that it names."""

    def studies() -> tuple[StudyRecord, ...]:
        with open_ledger(default_url(store.layout.root)) as ledger:
            return tuple(ledger.studies())

    def views() -> list[tuple[object, ...]]:
        return store.query("SELECT * FROM studies JOIN trials USING (study)").rows

    said: list[object] = []
    readers: tuple[Callable[[], object], ...] = studies, views
    for reader in readers:
        try:
            said.append(reader())
        except OpenrlbError as error:
            assert error.what and error.why and error.fix
            said.append(type(error))
    return said


def columns(file: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(file)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = [table for table in tables if table.startswith(("openrlb_", "reservations"))]
        return [(table, row[1]) for table in rows for row in connection.execute(f"PRAGMA table_info({table})")]


VALUES = ("x'fffe00'", "'not json'", "'[]'", "'{}'", "NULL", "-1", "1e300", f"'{'[' * 2000}'")


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.stress)])
def test_any_cell_that_holds_something_else_is_refused_by_name_or_read(store: Store, every: bool) -> None:
    """One value in each column of openrlb's tables, another one in the next; or every value in every column."""
    file = store.layout.root / "hpo.db"
    whole = file.read_bytes()
    tried = 0
    for number, (table, column) in enumerate(columns(file)):
        for value in VALUES if every else (VALUES[number % len(VALUES)],):
            for leftover in file.parent.glob("hpo.db-*"):
                leftover.unlink()
            file.write_bytes(whole)
            with closing(sqlite3.connect(file, isolation_level=None)) as connection:
                for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                    connection.execute(f"DROP TRIGGER {trigger}")
                connection.execute("PRAGMA foreign_keys = OFF")
                connection.execute("PRAGMA ignore_check_constraints = ON")
                try:
                    connection.execute(f"UPDATE {table} SET {column} = {value}")
                except sqlite3.IntegrityError:  # SQLite itself keeps gaps out
                    continue
            read_everywhere(store)
            tried += 1
    assert tried > (200 if every else 25)


def test_a_torn_file_is_refused_or_read_as_it_was(store: Store) -> None:
    """Cut off anywhere, or zeros from there on: as a crash leaves it."""
    file = store.layout.root / "hpo.db"
    whole, sound, chance = file.read_bytes(), read_everywhere(store), random.Random(7)
    refused = 0
    for _ in range(12):
        for leftover in file.parent.glob("hpo.db-*"):
            leftover.unlink()
        cut = chance.randrange(1, len(whole))
        file.write_bytes(whole[:cut] + bytes(len(whole) - cut if chance.random() < 0.5 else 0))
        for said, before in zip(read_everywhere(store), sound, strict=True):
            assert said == before or (isinstance(said, type) and issubclass(said, OpenrlbError))
            refused += isinstance(said, type)
    assert refused > 10
    assert store.query("SELECT run FROM runs").rows == [("a",)]  # who does not ask for studies is not disturbed
