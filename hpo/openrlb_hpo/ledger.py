"""The ledger of studies: every run is reserved in one transaction that checks roles, freeze and budget before it inserts.

It lies in the database that Optuna's own tables lie in (SQLite on one machine, PostgreSQL across several). Nothing of a study
is kept anywhere else, so that a worker that is killed at any moment leaves nothing behind but an open row.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from openrlb.errors import (
    ContractBroken,
    NothingMatched,
    StoreDamaged,
    StoreTooNew,
    StoreUnreachable,
    StoreUnwritable,
    UsageError,
)
from openrlb.store.studies import FILE_NAME
from openrlb_hpo.contract import check
from openrlb_hpo.database import engine_of, is_away, parsed, shown_address, without_address
from openrlb_hpo.reading import json_of, reservation_of
from openrlb_hpo.records import Reservation, ReservationState, StudyRecord, StudyRole, StudySettings, Trial, TrialState
from openrlb_hpo.seeds import own_seeds

if TYPE_CHECKING:
    import sqlalchemy as sa

LEASE_SECONDS = 120.0
"""A run whose worker has shown no life for so long is taken by another one; a worker shows life four times as often."""


def default_url(store_folder: Path) -> str:
    """The ledger of a store, where no other is named."""
    return f"sqlite:///{store_folder / FILE_NAME}"


class Ledger:
    """The studies of one database. A context manager.

    Args:
        url: A database address as SQLAlchemy takes it.

    Raises:
        UsageError: The address has no meaning, or its driver is not installed.
        StoreUnreachable: Its server does not answer, or refuses the credentials.
        StoreUnwritable: The database cannot be written.
        StoreTooNew: A newer openrlb has made its tables.
    """

    def __init__(self, url: str) -> None:
        import sqlalchemy as sa

        self.url = url
        try:
            address = parsed(url)
            self.shown = shown_address(address)
            self.engine = engine_of(address)
        except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ImportError) as error:
            scheme = re.match(r"[a-z0-9+]+://", url)
            shown = url if re.fullmatch(r"[\w .+-]*", url) else f"{scheme.group() if scheme else ''}..."  # it may hold a password
            fix = "use sqlite:///FILE.db, or postgresql+psycopg://USER@HOST/DATABASE after: pip install 'openrlb[postgres]'"
            raise UsageError(f"--storage {shown} cannot be used", without_address(url, error), fix) from error
        try:
            self._create()
        except (sa.exc.DatabaseError, OSError) as error:
            raise self._unreachable(error) from error
        except StoreTooNew:
            self.engine.dispose()
            raise

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
        what = f"the studies in {self.shown} cannot be opened"
        if is_away(error):
            fix = "see that the server runs, and that the credentials and the database in --storage are right"
            return StoreUnreachable(what, " ".join(said.split())[:200], fix)
        if self.engine.dialect.name != "sqlite":
            fix = "see that it is running and may be written, or leave --storage out for a file in the store"
        elif isinstance(getattr(error, "orig", None), sqlite3.OperationalError) or isinstance(error, OSError):
            fix = "see that the file and its folder can be written, and that no other program holds the file"
        else:  # a file that is no database, or a damaged one
            fix = "restore that file from a copy, or move it away: the studies in it are lost then, the runs in the store are not"
        return StoreUnwritable(what, " ".join(said.split())[:200], fix)

    @contextmanager
    def transaction(self, study: str = "") -> Iterator[Transaction]:
        """One change that happens whole or not at all; nobody else changes the study meanwhile.

        Raises:
            UsageError: A rule of the database refuses the change.
            StoreUnreachable: The server does not answer, or refuses the credentials.
            StoreUnwritable: The database cannot be written, or stays busy.
        """
        import sqlalchemy as sa

        try:
            with self.engine.begin() as connection:
                change = Transaction(connection)
                change.lock(study)
                yield change
        except sa.exc.IntegrityError as error:
            raise UsageError("this change of a study is refused", _rule(error), "let openrlb plan the study") from error
        except (sa.exc.DatabaseError, UnicodeDecodeError) as error:  # damaged texts are not UTF-8
            raise self._unreachable(error) from error

    def begin(self, settings: StudySettings, budget: int) -> StudyRecord:
        """Begins a study, or goes on with the one that has these settings; a larger budget extends it.

        Raises:
            UsageError: Its test phase has begun, and the budget is another.
            ContractBroken: It is there, and breaks its own rules.
        """
        with self.transaction() as change:
            if change.connection.dialect.name == "postgresql":  # there may be no row yet that could be locked
                change.connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7249015)")
            study = change.find(settings)
            if study is None:
                change.insert_study(settings, budget)
            change.lock(study or settings.digest)
            record = change.read(study or settings.digest)
            check(record)
            if record.frozen_at is not None and budget > record.budget:
                why = f"its test phase began at {record.frozen_at} with a budget of {record.budget}: tuning is over"
                raise UsageError(f"{record.name} cannot be extended", why, "begin another one: add --new-study")
            if budget > record.budget:
                change.extend(record.id, budget)
            return change.read(record.id)

    def read(self, name: str) -> StudyRecord:
        """A study by its name, its id, or the beginning of either.

        Raises:
            NothingMatched: There is none.
            UsageError: There are several.
            ContractBroken: It breaks its own rules.
        """
        with self.transaction() as change:
            change.hold_still()
            names = change.names()
            found = [study for study, told in names.items() if name in (study, told)]
            found = found or [study for study, told in names.items() if study.startswith(name) or told.startswith(name)]
            if not found:
                known = ", ".join(list(names.values())[:10]) or "none yet"
                raise NothingMatched(f"there is no study {name!r}", f"studies in {self.shown}: {known}", "see openrlb study list")
            if len(found) > 1:
                told = ", ".join(names[study] for study in found[:10])
                raise UsageError(f"{name!r} names several studies", told, "write more of the name")
            record = change.read(found[0])
            check(record)
            return record

    def studies(self, on_unreadable: Callable[[str], None] | None = None) -> list[StudyRecord]:
        """Every study, the newest last; also those that break their rules (:func:`openrlb_hpo.contract.verify`).

        Args:
            on_unreadable: Told of each study that cannot be read, which is left out then; without it that is an error.

        Raises:
            StoreDamaged, StoreTooNew, ContractBroken: A study cannot be read.
        """
        return [record for record, _ in self.standing(on_unreadable)]

    def standing(self, on_unreadable: Callable[[str], None] | None = None) -> list[tuple[StudyRecord, frozenset[int]]]:
        """Every study, as :meth:`studies` has it, with the open runs that a living worker trains, both of the same moment.

        Looked for later, a run that has ended meanwhile would be open and without a worker: lost, as it seems.

        Args:
            on_unreadable: Told of each study that cannot be read, which is left out then; without it that is an error.

        Raises:
            StoreDamaged, StoreTooNew, ContractBroken: A study cannot be read.
        """
        found = []
        with self.transaction() as change:
            change.hold_still()
            for study, name in change.names().items():
                try:
                    record = change.read(study)
                    found.append((record, change.held(record.id)))
                except (StoreDamaged, StoreTooNew, ContractBroken) as error:
                    if on_unreadable is None:
                        raise
                    on_unreadable(f"the study {name} is left out: {error.what}: {error.why}")
        return sorted(found, key=lambda one: (one[0].created, one[0].id))


def open_ledger(url: str) -> Ledger:
    """Opens the ledger of a database; see :class:`Ledger`."""
    return Ledger(url)


@dataclass(frozen=True)
class Transaction:
    """What may be done to studies inside one transaction of :meth:`Ledger.transaction`."""

    connection: sa.Connection

    def lock(self, study: str) -> None:
        """Lets nobody else change a study before the transaction ends; SQLite does so of itself."""
        import sqlalchemy as sa

        if self.connection.dialect.name == "postgresql" and study:
            self.connection.execute(sa.text("SELECT 1 FROM openrlb_studies WHERE study = :study FOR UPDATE"), {"study": study})

    def hold_still(self) -> None:
        """Lets this transaction see one state of all tables, before its first look; SQLite does so of itself.

        Else a study that others go on with meanwhile is read as rows of several moments, which breaks its rules.
        """
        if self.connection.dialect.name == "postgresql":
            self.connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")

    def names(self) -> dict[str, str]:
        """The names of all studies by id, in the order in which they were begun."""
        import sqlalchemy as sa

        from openrlb_hpo.tables import STUDIES

        rows = self.connection.execute(sa.select(STUDIES.c.study, STUDIES.c.name).order_by(STUDIES.c.created))
        return {str(study): str(name) for study, name in rows}

    def find(self, settings: StudySettings) -> str | None:
        """The id of the study of these settings; None where there is none."""
        import sqlalchemy as sa

        from openrlb_hpo.tables import STUDIES

        rows = self.connection.execute(sa.select(STUDIES.c.study, STUDIES.c.settings)).all()
        if any(study == settings.digest for study, _ in rows):
            return settings.digest
        told = json.loads(json.dumps(settings.to_json()))  # an older openrlb may have given it another id
        return next((str(study) for study, text in rows if _is_json(text, told)), None)

    def insert_study(self, settings: StudySettings, budget: int) -> None:
        """Begins a study."""
        import sqlalchemy as sa

        from openrlb_hpo.tables import STUDIES

        told = json.dumps(settings.to_json(), sort_keys=True)
        words = {"study": settings.digest, "name": settings.name, "settings": told, "budget": budget, "created": _now()}
        self.connection.execute(sa.insert(STUDIES), words)

    def extend(self, study: str, budget: int) -> None:
        """Gives a study a larger budget; the database refuses a smaller one."""
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
        self,
        study: str | StudyRecord,
        configuration: str,
        role: StudyRole,
        env: str,
        seed_index: int,
        seed: int,
        run: str,
        worker: str,
    ) -> Reservation:
        """Reserves a run for a worker, who begins to train it.

        Args:
            study: Its id, or what it is in this transaction, where somebody has read it already.
            configuration: What is trained.
            role: What for.
            env: In which environment.
            seed_index: With which seed of the role.
            seed: The seed itself.
            run: The run's id.
            worker: Who.

        Raises:
            UsageError: A rule of the study forbids it (:func:`openrlb_hpo.rules.refusal`).
        """
        import sqlalchemy as sa

        from openrlb_hpo.rules import refusal
        from openrlb_hpo.tables import RESERVATIONS

        what, fix = f"{configuration} cannot be trained on {env}, seed {seed}", "let openrlb plan the study"
        record = self.read(study) if isinstance(study, str) else study
        why = refusal(record, configuration, role, env, seed_index, seed)
        if why:
            raise UsageError(what, why, fix)

        row: dict[str, Any] = {"configuration": configuration, "role": role, "env": env, "seed_index": seed_index, "seed": seed}
        row |= {"seed_end": own_seeds(seed)[1], "run": run, "charge": int(role != "test"), "worker": worker, "attempts": 1}
        insert = sa.insert(RESERVATIONS).values(**row, study=record.id, state="open", lease=self._clock() + LEASE_SECONDS)
        try:
            number = self.connection.execute(insert).inserted_primary_key
        except sa.exc.IntegrityError as error:
            raise UsageError(what, _rule(error), fix) from error
        return Reservation(number=number[0] if number else 0, **row)

    def retake(self, number: int, worker: str) -> Reservation:
        """Takes an open run whose worker is gone."""
        import sqlalchemy as sa

        from openrlb_hpo.tables import RESERVATIONS

        change = sa.update(RESERVATIONS).where(RESERVATIONS.c.number == number, RESERVATIONS.c.state == "open")
        lease = self._clock() + LEASE_SECONDS
        self.connection.execute(change.values(worker=worker, lease=lease, attempts=RESERVATIONS.c.attempts + 1))
        found = self.connection.execute(sa.select(RESERVATIONS).where(RESERVATIONS.c.number == number))
        return reservation_of(dict(found.mappings().one()))

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

    def uncount(self, number: int, worker: str) -> None:
        """Does not count a worker's last attempt of a run: its user ended it. Another worker's attempt is left alone."""
        import sqlalchemy as sa

        from openrlb_hpo.tables import RESERVATIONS

        mine = (RESERVATIONS.c.number == number, RESERVATIONS.c.worker == worker, RESERVATIONS.c.state == "open")
        self.connection.execute(sa.update(RESERVATIONS).where(*mine).values(attempts=RESERVATIONS.c.attempts - 1))

    def renew(self, worker: str, study: str) -> None:
        """Shows that a worker of a study lives."""
        import sqlalchemy as sa

        from openrlb_hpo.tables import RESERVATIONS

        mine = (RESERVATIONS.c.study == study, RESERVATIONS.c.worker == worker, RESERVATIONS.c.state == "open")
        self.connection.execute(sa.update(RESERVATIONS).where(*mine).values(lease=self._clock() + LEASE_SECONDS))

    def held(self, study: str) -> frozenset[int]:
        """The open runs of a study that a living worker trains, as far as can be told: its lease runs, and it is not dead."""
        import sqlalchemy as sa

        from openrlb_hpo.owners import is_dead
        from openrlb_hpo.tables import RESERVATIONS

        table = RESERVATIONS.c
        mine = (table.study == study, table.state == "open", table.lease > self._clock())
        rows = self.connection.execute(sa.select(table.number, table.worker).where(*mine)).all()
        dead = {worker for worker in {worker for _, worker in rows} if is_dead(worker)}
        return frozenset(number for number, worker in rows if worker not in dead)

    def _clock(self) -> sa.ColumnElement[float]:
        """The database's own time in seconds, as a part of statements: machines' clocks differ."""
        import sqlalchemy as sa

        if self.connection.dialect.name == "postgresql":
            return sa.cast(sa.literal_column("extract(epoch FROM clock_timestamp())"), sa.Float)
        return sa.literal(datetime.now(UTC).timestamp(), sa.Float)

    def read(self, study: str) -> StudyRecord:
        """A study as it is."""
        from openrlb_hpo.reading import StudyReader

        return StudyReader(study).read(self)

    def lookers(self, settings: StudySettings) -> frozenset[str]:
        """The names of the studies of the same algorithm that have begun to test in one of these environments on these seeds."""
        import sqlalchemy as sa

        from openrlb_hpo.tables import STUDIES

        chosen = sa.select(STUDIES.c.name, STUDIES.c.settings).where(STUDIES.c.frozen_at.is_not(None))
        frozen = self.connection.execute(chosen).all()
        # not as settings: a newer openrlb's look is a look, too
        return frozenset(str(name) for name, text in frozen if _looks_at(text, settings))


def _rule(error: sa.exc.IntegrityError) -> str:
    """The sentence of the rule that a change breaks; PostgreSQL adds where it stands."""
    return str(error.orig).partition("\n")[0].removeprefix("openrlb: ")


def _is_json(text: str, table: Mapping[str, Any]) -> bool:
    """Whether a text says the same as settings do, whatever format it has."""
    try:
        return {**json_of(text), "format": table["format"]} == table
    except StoreDamaged:  # of another study, then
        return False


def _looks_at(text: str, settings: StudySettings) -> bool:
    """Whether a frozen study with this text of settings tests on the same seeds; what cannot be read may have done so."""
    try:
        one = json_of(text)
        same = one.get("algo") == settings.algo and one.get("test_block", 0) == settings.test_block
        return same and bool({*one.get("envs", ())} & {*settings.envs})
    except (StoreDamaged, TypeError):
        return True


def _now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
