"""A study as its tables hold it: whole the first time, then only what somebody has written since.

What has been written is told by the database, not by what may change in a study that nobody tampers with: PostgreSQL keeps
with each row the transaction that wrote it and the place where it lies (its system columns ``xmin`` and ``ctid``), so that a
row which was altered by hand is read again, too. Other databases are asked for every row, and equal ones are built once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from openrlb.errors import ContractBroken, StoreDamaged
from openrlb_hpo.records import Reservation, StudyRecord, StudySettings, Trial

if TYPE_CHECKING:
    import sqlalchemy as sa

    from openrlb_hpo.ledger import Transaction

MOST_ONE_BY_ONE = 200
"""So many changed rows are asked for by their numbers; of more, the whole table is read."""

Row = Mapping[str, Any]
Kept = TypeVar("Kept")
Versions = Mapping[str, Mapping[Any, str]]
"""By table and key: what tells one state of a row from another one."""


class StudyReader:
    """Reads one study, again and again.

    Args:
        study: Its id.
    """

    def __init__(self, study: str) -> None:
        self.study = study
        self.forget()

    def forget(self) -> None:
        """Reads everything the next time: it may be a restored server that answers then."""
        from openrlb_hpo.tables import RESERVATIONS, STUDIES, TRIALS

        self._head: tuple[Row, StudyRecord] | None = None
        self._studies: _Table[Row] = _Table(STUDIES, "study", dict)
        self._trials = _Table(TRIALS, "number", trial_of)
        self._rows = _Table(RESERVATIONS, "number", reservation_of)

    def read(self, change: Transaction) -> StudyRecord:
        """The study as it is; what nobody has written to since the last time is the very same object as then.

        ``test_peeks`` is counted anew whenever the row of the study itself has changed.

        Args:
            change: A transaction that has not written to the study yet.

        Raises:
            StoreTooNew, StoreDamaged, ContractBroken: It cannot be read.
        """
        from dataclasses import replace

        versions = None
        if self._head is not None and change.connection.dialect.name == "postgresql":
            versions = _versions(change.connection, self.study)
        own = self._studies.read(change.connection, self.study, versions)
        if len(own) != 1:
            raise StoreDamaged("a study cannot be read", "its own row is not there under its id", "restore it from a copy")
        row = own[0]
        if self._head is None or self._head[0] is not row:
            self._head = row, _head(change, row)
        trials = self._trials.read(change.connection, self.study, versions)
        rows = self._rows.read(change.connection, self.study, versions)
        return replace(self._head[1], trials=trials, reservations=rows)


class _Table(Generic[Kept]):
    """One table's rows of a study.

    Args:
        table: The table.
        key: The column that tells a study's rows apart.
        build: Makes a record of a row.
    """

    def __init__(self, table: sa.Table, key: str, build: Callable[[Row], Kept]) -> None:
        self._table, self._key, self._build = table, key, build
        self._kept: dict[Any, tuple[object, Kept]] = {}

    def read(self, connection: sa.Connection, study: str, versions: Versions | None) -> tuple[Kept, ...]:
        """The rows as records, in the order of their keys.

        Args:
            connection: To the database.
            study: The study's id.
            versions: What there is, where the database tells it; else every row is asked for.
        """
        kept = self._kept
        if versions is None:
            there: Mapping[Any, object] = {}
            wanted = None
        else:
            there = versions[self._table.name]
            wanted = [key for key, version in there.items() if key not in kept or kept[key][0] != version]
        fresh = {} if wanted == [] else self._select(connection, study, wanted)
        if wanted is None or len(wanted) > MOST_ONE_BY_ONE:
            there = {key: version for key, (version, _) in fresh.items()}
        self._kept = {
            key: kept[key] if key in kept and kept[key][0] == version else (version, self._build(fresh[key][1]))
            for key, version in there.items()
        }
        return tuple(record for _, record in self._kept.values())

    def _select(self, connection: sa.Connection, study: str, wanted: Sequence[Any] | None) -> dict[Any, tuple[object, Row]]:
        """Rows with their versions by key, in order; all of them where no, or very many, keys are wanted."""
        import sqlalchemy as sa

        columns, key = self._table.c, self._table.c[self._key]
        told = [_version(self._table)] if connection.dialect.name == "postgresql" else []
        chosen = sa.select(*columns, *told).where(columns.study == study).order_by(key)
        if wanted is not None and len(wanted) <= MOST_ONE_BY_ONE:
            chosen = chosen.where(key.in_(wanted))
        rows = connection.execute(chosen).all()  # all at once: a result half read would hold a lock
        at = [column.name for column in columns].index(self._key)
        return {row[at]: (row[-1] if told else tuple(row), cast("Row", row._mapping)) for row in rows}


def _version(table: sa.Table) -> sa.Label[str]:
    """What PostgreSQL gives each state of a row anew."""
    import sqlalchemy as sa

    return sa.literal_column(f"{table.name}.xmin::text || {table.name}.ctid::text").label("version")


def _versions(connection: sa.Connection, study: str) -> Versions:
    """The versions of all rows of a study, in the order of their keys."""
    import sqlalchemy as sa

    from openrlb_hpo.tables import RESERVATIONS, STUDIES, TRIALS

    parts = [
        sa.select(sa.literal_column(f"'{table.name}'"), number.label("number"), _version(table)).where(table.c.study == study)
        for table, number in (
            (STUDIES, sa.literal_column("0")),
            (TRIALS, TRIALS.c.number),
            (RESERVATIONS, RESERVATIONS.c.number),
        )
    ]
    found: dict[str, dict[Any, str]] = {STUDIES.name: {}, TRIALS.name: {}, RESERVATIONS.name: {}}
    for name, number, version in connection.execute(sa.union_all(*parts).order_by("number")):
        found[name][study if name == STUDIES.name else number] = version
    return found


def _head(change: Transaction, row: Row) -> StudyRecord:
    """What a study's own row says of it."""
    settings = StudySettings.from_json(json_of(row["settings"]))
    return StudyRecord(
        settings=settings,
        budget=row["budget"],
        created=row["created"],
        incumbent=row["incumbent"],
        frozen_at=row["frozen_at"],
        test_peeks=len(change.lookers(settings)),
        stored_id=row["study"],
        stored_name=row["name"],
    )


def reservation_of(row: Row) -> Reservation:
    """A row of the table as a record.

    Raises:
        ContractBroken: A column holds another kind of value.
    """
    return Reservation(*_values(row, tuple(Reservation.__dataclass_fields__)))


def trial_of(row: Row) -> Trial:
    """A row of the table as a record.

    Raises:
        StoreDamaged, ContractBroken: A column holds no JSON, or another kind of value.
    """
    number, params, hyperparameters, origin, state, attributes, reason = _values(row, tuple(Trial.__dataclass_fields__))
    return Trial(number, json_of(params), json_of(hyperparameters), origin, state, json_of(attributes), reason)


_WHOLE = ("number", "seed_index", "seed", "seed_end", "charge", "attempts", "steps")
_SOUND: set[tuple[object, ...]] = set()
"""The types of rows that were looked at: a study has thousands of rows, and they are all alike."""


def _values(row: Row, names: tuple[str, ...]) -> list[Any]:
    """Some columns of a row; SQLite would keep text in a column of numbers.

    Raises:
        ContractBroken: One holds a value of another kind.
    """
    values = [row[name] for name in names]
    types = (names, *map(type, values))
    if types in _SOUND:
        return values
    for name, value in zip(names, values, strict=True):
        kinds: tuple[type, ...] = (int,) if name in _WHOLE else (int, float) if name in ("score", "seconds") else (str,)
        if not isinstance(value, kinds) and not (name == "score" and value is None):
            what = f"the study {row['study']} breaks its own rules, so that no result of it holds"
            why = f"{name} of row {row['number']} is {value!r}"
            raise ContractBroken(what, why, "restore its database from a copy, or begin another one with --new-study")
    _SOUND.add(types)
    return values


def json_of(text: str) -> dict[str, Any]:
    """A table that is stored as text.

    Raises:
        StoreDamaged: It is none.

    >>> json_of('{"lr": 0.1}')
    {'lr': 0.1}
    """
    try:
        table = json.loads(text)
        if not isinstance(table, dict):
            raise ValueError("it is no table")
    except (ValueError, RecursionError) as error:
        raise StoreDamaged("a study cannot be read", f"a text of it is no JSON: {error}", "restore it from a copy") from error
    return table
