"""The ledger of studies: every run is reserved in one transaction that checks roles, freeze and budget before it inserts.

It lies in the database that Optuna's own tables lie in (SQLite on one machine, PostgreSQL across several). Nothing of a study
is kept anywhere else, so that a worker that is killed at any moment leaves nothing behind but an open row.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from openrlb.errors import NothingMatched, StoreUnwritable, UsageError
from openrlb.store.studies import FILE_NAME
from openrlb_hpo.records import Reservation, ReservationState, StudyRecord, StudyRole, StudySettings, Trial, TrialState
from openrlb_hpo.seeds import own_seeds

if TYPE_CHECKING:
    import sqlalchemy as sa

LEASE_SECONDS = 120.0
"""A run whose worker has shown no life for so long is taken by another one; a worker shows life four times as often."""
BUSY_SECONDS = 60.0


def default_url(store_folder: Path) -> str:
    """The ledger of a store, where no other is named."""
    return f"sqlite:///{store_folder / FILE_NAME}"


class Ledger:
    """The studies of one database. A context manager.

    Args:
        url: A database address as SQLAlchemy takes it.

    Raises:
        UsageError: The address has no meaning, or its driver is not installed.
        StoreUnwritable: The database cannot be reached, or not be written.
    """

    def __init__(self, url: str) -> None:
        import sqlalchemy as sa

        self.url = url
        try:
            address = sa.make_url(url)
            self.shown = shown_address(address)
            self.engine = _engine(address)
        except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ImportError) as error:
            scheme = re.match(r"[a-z0-9+]+://", url)
            shown = url if re.fullmatch(r"[\w .+-]*", url) else f"{scheme.group() if scheme else ''}..."  # it may hold a password
            fix = "use sqlite:///FILE.db, or postgresql+psycopg://USER@HOST/DATABASE with psycopg installed"
            raise UsageError(f"--storage {shown} cannot be used", _without(url, error), fix) from error
        try:
            self._create()
        except sa.exc.DatabaseError as error:
            raise self._unreachable(error) from error
        except OSError as error:
            raise self._unreachable(error) from error

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.engine.dispose()

    def _create(self) -> None:
        """Makes folder and tables; one at a time, since two that do so at once would collide."""
        from openrlb_hpo.tables import create

        if self.engine.dialect.name == "sqlite" and self.engine.url.database not in (None, "", ":memory:"):
            Path(str(self.engine.url.database)).parent.mkdir(parents=True, exist_ok=True)
        with self.engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7249013)")
            create(connection)

    def _unreachable(self, error: Exception) -> StoreUnwritable:
        """The refusal for a database that does not answer."""
        said = str(getattr(error, "orig", None) or error)
        fix = "see that it is running and may be written, or leave --storage out for a file in the store"
        return StoreUnwritable(f"the studies in {self.shown} cannot be opened", " ".join(said.split())[:200], fix)

    @contextmanager
    def transaction(self, study: str = "") -> Iterator[Transaction]:
        """One change that happens whole or not at all; nobody else changes the study meanwhile.

        Raises:
            StoreUnwritable: The database does not answer, or stays busy.
        """
        import sqlalchemy as sa

        try:
            with self.engine.begin() as connection:
                if connection.dialect.name == "postgresql" and study:
                    connection.execute(sa.text("SELECT 1 FROM openrlb_studies WHERE study = :study FOR UPDATE"), {"study": study})
                yield Transaction(connection)
        except sa.exc.DatabaseError as error:
            raise self._unreachable(error) from error

    def begin(self, settings: StudySettings, budget: int) -> StudyRecord:
        """Begins a study, or goes on with the one that has these settings; a larger budget extends it.

        Raises:
            UsageError: Its test phase has begun, and the budget is another.
        """
        with self.transaction(settings.digest) as change:
            if not change.has(settings.digest):
                if change.connection.dialect.name == "postgresql":  # there is no row yet that could be locked
                    change.connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7249015)")
                if not change.has(settings.digest):
                    change.insert_study(settings, budget)
            record = change.read(settings.digest)
            if record.frozen_at is not None and budget > record.budget:
                why = f"its test phase began at {record.frozen_at} with a budget of {record.budget}: tuning is over"
                raise UsageError(f"{settings.name} cannot be extended", why, "begin another one: add --new-study")
            if record.frozen_at is None and budget > record.budget:
                change.extend(settings.digest, budget)
            return change.read(settings.digest)

    def read(self, name: str) -> StudyRecord:
        """A study by its name, its id, or the beginning of either.

        Raises:
            NothingMatched: There is none.
            UsageError: There are several.
        """
        with self.transaction() as change:
            names = change.names()
            found = [study for study, told in names.items() if name in (study, told)]
            found = found or [study for study, told in names.items() if study.startswith(name) or told.startswith(name)]
            if not found:
                known = ", ".join(list(names.values())[:10]) or "none yet"
                raise NothingMatched(f"there is no study {name!r}", f"studies in {self.shown}: {known}", "see openrlb study list")
            if len(found) > 1:
                told = ", ".join(names[study] for study in found[:10])
                raise UsageError(f"{name!r} names several studies", told, "write more of the name")
            return change.read(found[0])

    def studies(self) -> list[StudyRecord]:
        """Every study, the newest last."""
        with self.transaction() as change:
            return sorted((change.read(study) for study in change.names()), key=lambda record: (record.created, record.id))


def open_ledger(url: str) -> Ledger:
    """Opens the ledger of a database; see :class:`Ledger`."""
    return Ledger(url)


def shown_address(address: sa.URL) -> str:
    """A database's address for people: no password, wherever it stands.

    >>> import sqlalchemy as sa
    >>> shown_address(sa.make_url("postgresql+psycopg://me:secret@host/db?user=me&password=secret"))
    'postgresql+psycopg://me:***@host/db?password=***&user=me'
    """
    hidden = {name: "***" for name in address.query if "pass" in name.lower() or "key" in name.lower()}
    return address.update_query_dict(hidden).render_as_string(hide_password=True).replace("%2A%2A%2A", "***")


def _without(url: str, error: Exception) -> str:
    """An error's words without the address, which they may repeat."""
    return " ".join(str(error).replace(url, "the address").split())[:200]


def _engine(address: sa.URL) -> sa.Engine:
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


@dataclass(frozen=True)
class Transaction:
    """What may be done to studies inside one transaction of :meth:`Ledger.transaction`."""

    connection: sa.Connection

    def names(self) -> dict[str, str]:
        """The names of all studies by id, in the order in which they were begun."""
        import sqlalchemy as sa

        from openrlb_hpo.tables import STUDIES

        rows = self.connection.execute(sa.select(STUDIES.c.study, STUDIES.c.name).order_by(STUDIES.c.created))
        return {str(study): str(name) for study, name in rows}

    def has(self, study: str) -> bool:
        """Whether there is a study of that id."""
        return study in self.names()

    def insert_study(self, settings: StudySettings, budget: int) -> None:
        """Begins a study."""
        import sqlalchemy as sa

        from openrlb_hpo.tables import STUDIES

        told = json.dumps(settings.to_json(), sort_keys=True)
        words = {"study": settings.digest, "name": settings.name, "settings": told, "budget": budget, "created": _now()}
        self.connection.execute(sa.insert(STUDIES), words)

    def extend(self, study: str, budget: int) -> None:
        """Gives a study a larger budget."""
        import sqlalchemy as sa

        from openrlb_hpo.tables import STUDIES

        self.connection.execute(sa.update(STUDIES).where(STUDIES.c.study == study).values(budget=budget))

    def freeze(self, study: str, incumbent: int) -> None:
        """Chooses a study's incumbent, and begins its test phase."""
        import sqlalchemy as sa

        from openrlb_hpo.tables import STUDIES

        change = sa.update(STUDIES).where(STUDIES.c.study == study, STUDIES.c.frozen_at.is_(None))
        self.connection.execute(change.values(incumbent=incumbent, frozen_at=_now()))

    def add_trial(self, study: str, trial: Trial) -> None:
        """Begins a trial."""
        import sqlalchemy as sa

        from openrlb_hpo.tables import TRIALS

        table = asdict(trial) | {"study": study}
        for name in ("params", "hyperparameters", "attributes"):
            table[name] = json.dumps(table[name], sort_keys=True)
        self.connection.execute(sa.insert(TRIALS), table)

    def close_trial(self, study: str, number: int, state: TrialState, reason: str = "") -> None:
        """Ends a trial that runs."""
        import sqlalchemy as sa

        from openrlb_hpo.tables import TRIALS

        change = sa.update(TRIALS).where(TRIALS.c.study == study, TRIALS.c.number == number, TRIALS.c.state == "running")
        self.connection.execute(change.values(state=state, reason=reason))

    def reserve(
        self, study: str, configuration: str, role: StudyRole, env: str, seed_index: int, seed: int, run: str, worker: str
    ) -> Reservation:
        """Reserves a run for a worker, who begins to train it.

        Raises:
            UsageError: A rule of the study forbids it (:func:`openrlb_hpo.rules.refusal`).
        """
        import sqlalchemy as sa

        from openrlb_hpo.rules import refusal
        from openrlb_hpo.tables import RESERVATIONS

        what, fix = f"{configuration} cannot be trained on {env}, seed {seed}", "let openrlb plan the study"
        why = refusal(self.read(study), configuration, role, env, seed_index, seed)
        if why:
            raise UsageError(what, why, fix)

        row = {"study": study, "configuration": configuration, "role": role, "env": env, "seed_index": seed_index, "seed": seed}
        row |= {"seed_end": own_seeds(seed)[1], "run": run, "charge": int(role != "test"), "state": "open", "worker": worker}
        row |= {"lease": self.clock() + LEASE_SECONDS, "attempts": 1}
        try:
            number = self.connection.execute(sa.insert(RESERVATIONS), row).inserted_primary_key
        except sa.exc.IntegrityError as error:
            why = " ".join(str(error.orig).removeprefix("openrlb: ").split())
            raise UsageError(what, why, fix) from error
        return self._reservation(number[0] if number else 0)

    def retake(self, number: int, worker: str) -> Reservation:
        """Takes an open run whose worker is gone."""
        import sqlalchemy as sa

        from openrlb_hpo.tables import RESERVATIONS

        change = sa.update(RESERVATIONS).where(RESERVATIONS.c.number == number, RESERVATIONS.c.state == "open")
        lease = self.clock() + LEASE_SECONDS
        self.connection.execute(change.values(worker=worker, lease=lease, attempts=RESERVATIONS.c.attempts + 1))
        return self._reservation(number)

    def close(
        self,
        number: int,
        worker: str,
        state: ReservationState,
        *,
        score: float | None = None,
        steps: int = 0,
        seconds: float = 0.0,
        reason: str = "",
    ) -> bool:
        """Writes down how a run ended; ``open`` gives it back. False where another worker has taken it meanwhile."""
        import sqlalchemy as sa

        from openrlb_hpo.tables import RESERVATIONS

        mine = (RESERVATIONS.c.number == number, RESERVATIONS.c.worker == worker, RESERVATIONS.c.state == "open")
        values = {"state": state, "score": score, "steps": steps, "seconds": RESERVATIONS.c.seconds + seconds, "reason": reason}
        if state == "open":
            values |= {"worker": "", "lease": 0.0}
        return bool(self.connection.execute(sa.update(RESERVATIONS).where(*mine).values(**values)).rowcount)

    def uncount(self, number: int) -> None:
        """Does not count the last attempt of a run: its user ended it."""
        import sqlalchemy as sa

        from openrlb_hpo.tables import RESERVATIONS

        change = sa.update(RESERVATIONS).where(RESERVATIONS.c.number == number)
        self.connection.execute(change.values(attempts=RESERVATIONS.c.attempts - 1))

    def renew(self, worker: str) -> None:
        """Shows that a worker lives."""
        import sqlalchemy as sa

        from openrlb_hpo.tables import RESERVATIONS

        mine = (RESERVATIONS.c.worker == worker, RESERVATIONS.c.state == "open")
        self.connection.execute(sa.update(RESERVATIONS).where(*mine).values(lease=self.clock() + LEASE_SECONDS))

    def held(self, study: str) -> frozenset[int]:
        """The open runs of a study that a living worker trains, as far as can be told: its lease runs, and it is not dead."""
        import sqlalchemy as sa

        from openrlb_hpo.owners import is_dead
        from openrlb_hpo.tables import RESERVATIONS

        table = RESERVATIONS.c
        chosen = sa.select(table.number, table.worker, table.lease).where(table.study == study, table.state == "open")
        now = self.clock()
        return frozenset(
            number for number, worker, lease in self.connection.execute(chosen) if lease > now and not is_dead(worker)
        )

    def clock(self) -> float:
        """The database's own time in seconds: machines' clocks differ."""
        import sqlalchemy as sa

        if self.connection.dialect.name == "postgresql":
            return float(self.connection.execute(sa.text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
        return datetime.now(UTC).timestamp()

    def read(self, study: str) -> StudyRecord:
        """A study as it is."""
        import sqlalchemy as sa

        from openrlb_hpo.tables import RESERVATIONS, STUDIES, TRIALS

        row = self.connection.execute(sa.select(STUDIES).where(STUDIES.c.study == study)).one()
        trials = self.connection.execute(sa.select(TRIALS).where(TRIALS.c.study == study).order_by(TRIALS.c.number))
        runs = self.connection.execute(
            sa.select(RESERVATIONS).where(RESERVATIONS.c.study == study).order_by(RESERVATIONS.c.number)
        )
        settings = StudySettings.from_json(json.loads(row.settings))
        return StudyRecord(
            settings=settings,
            budget=row.budget,
            created=row.created,
            trials=tuple(_trial(dict(one)) for one in trials.mappings()),
            reservations=tuple(_row(dict(one)) for one in runs.mappings()),
            incumbent=row.incumbent,
            frozen_at=row.frozen_at,
            test_peeks=self._peeks(settings),
        )

    def _peeks(self, settings: StudySettings) -> int:
        """How many studies of the same algorithm have begun to test in one of these environments with these test seeds."""
        import sqlalchemy as sa

        from openrlb_hpo.tables import STUDIES

        frozen = self.connection.execute(sa.select(STUDIES.c.settings).where(STUDIES.c.frozen_at.is_not(None)))
        others = [json.loads(text) for (text,) in frozen]
        return sum(
            one["algo"] == settings.algo and one["test_block"] == settings.test_block and bool({*one["envs"]} & {*settings.envs})
            for one in others
        )

    def _reservation(self, number: int) -> Reservation:
        """One row."""
        import sqlalchemy as sa

        from openrlb_hpo.tables import RESERVATIONS

        found = self.connection.execute(sa.select(RESERVATIONS).where(RESERVATIONS.c.number == number))
        return _row(dict(found.mappings().one()))


def _row(row: Mapping[str, Any]) -> Reservation:
    """A row of the table as a record."""
    return Reservation(**{name: row[name] for name in Reservation.__dataclass_fields__})


def _trial(row: Mapping[str, Any]) -> Trial:
    """A row of the table as a record."""
    table = {name: row[name] for name in Trial.__dataclass_fields__}
    for name in ("params", "hyperparameters", "attributes"):
        table[name] = json.loads(table[name])
    return Trial(**table)


def _now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
