"""The tables of an Optuna study database (SQLite, Optuna 2 to 5), read as what they are: somebody else's file.

Only plain values are taken. Optuna keeps a sampler's state as a pickle among the system attributes; those are never read but
for the names of objectives.
"""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from openrlb.errors import SourceError
from openrlb.sources.files import open_regular, too_large
from openrlb.sources.protocol import MAX_RUNS_PER_TABLE, MAX_TABLE_BYTES, STEP_LIMIT

MAGIC = b"SQLite format 3\0"
NEEDED = frozenset({"studies", "trials", "trial_params", "trial_values"})
MOST_ROWS = 5_000_000
"""The most rows of one table that are held in memory."""
_MOST_SECONDS = 300.0  # a hostile file can make one row of work without end
_LONGEST_CELL = 16 * 1024**2
_OPERATIONS = 10_000
_FIX = "look at it with optuna.load_study, or get the file again"
_FLOAT32_MAX = 3.4028234663852886e38  # what infinity was stored as before Optuna 3
_INFINITE = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}
_METRIC_NAMES = "study:metric_names"


@dataclass(slots=True)
class OptunaTrial:
    """One trial as its rows say.

    Attributes:
        number: Its number in the study.
        state: Optuna's word for its state.
        started: When it began as stored, or None.
        params: Its params, choices as what they stand for.
        values: Its final values by objective, from 0.
        intermediate: Its intermediate values by step.
        attributes: What the user's code noted.
        heartbeat: Its last sign of life as stored (UTC), or None.
    """

    number: int
    state: str
    started: str | None
    params: dict[str, Any] = field(default_factory=dict)
    values: dict[int, float] = field(default_factory=dict)
    intermediate: dict[int, float] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    heartbeat: str | None = None


@dataclass(slots=True)
class OptunaStudy:
    """One study of a database.

    Attributes:
        name: Its name.
        directions: ``MINIMIZE`` or ``MAXIMIZE`` by objective.
        metric_names: The objectives' names, where the study gives any.
        attributes: What the user's code noted.
        trials: Its trials by number.
    """

    name: str
    directions: dict[int, str] = field(default_factory=dict)
    metric_names: tuple[str, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    trials: list[OptunaTrial] = field(default_factory=list)


@dataclass(slots=True)
class OptunaDatabase:
    """Everything that was read of a file.

    Attributes:
        studies: Its studies in the order in which they were made.
        version: The version of Optuna that wrote its schema, or an empty text.
        damage: The tables that could not be read to their end, with the reason; and rows that were left out.
    """

    studies: list[OptunaStudy]
    version: str = ""
    damage: list[str] = field(default_factory=list)


def is_optuna(path: Path) -> bool:
    """Whether a file is an Optuna database, or a SQLite file too damaged to tell.

    Raises:
        OSError: It cannot be opened.
    """
    with open_regular(path) as handle:
        if handle.read(len(MAGIC)) != MAGIC:
            return False
    try:
        with _opened(path) as connection:
            return _tables(connection) >= NEEDED
    except (sqlite3.Error, UnicodeDecodeError):
        return True


def read_optuna(path: Path) -> OptunaDatabase:
    """Reads every study of a database.

    Raises:
        SourceError: It is no Optuna database, too large, locked, or too damaged.
        OSError: It cannot be opened.
    """
    if path.stat().st_size > MAX_TABLE_BYTES:
        raise too_large(path, MAX_TABLE_BYTES)
    try:
        with _opened(path) as connection:
            tables = _tables(connection)
            if not tables >= NEEDED:
                why = f"it is a SQLite database, but none of Optuna (tables: {', '.join(sorted(tables)[:8]) or 'none'})"
                raise SourceError(f"{path.name} is not read", why, "export its table as CSV or Parquet and fetch that")
            return _Reader(path, connection, tables).database()
    except (sqlite3.Error, UnicodeDecodeError) as error:  # its words may hold damaged names
        why = f"the SQLite database cannot be read: {error}"
        if "locked" in str(error) or "interrupted" in str(error):
            why += "; a process holds it, or it takes too long"
        raise SourceError(f"{path.name} is not read", why, _FIX) from error


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that can only read, and that gives up in time.

    A file in WAL mode without a log beside it is opened as one that nobody changes: SQLite would make files beside it else.
    """
    with open_regular(path) as handle:
        head = handle.read(20)
    log = path.with_name(f"{path.name}-wal")
    alone = head[18:19] == b"\x02" and not (log.is_file() and log.stat().st_size)
    address = f"file:{quote(str(path.resolve()))}?mode=ro{'&immutable=1' if alone else ''}"
    with closing(sqlite3.connect(address, uri=True, timeout=10)) as connection:
        end = time.monotonic() + _MOST_SECONDS
        connection.set_progress_handler(lambda: int(time.monotonic() > end), _OPERATIONS)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_CELL)
        connection.text_factory = lambda data: data.decode("utf-8", errors="replace")
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        yield connection


def _tables(connection: sqlite3.Connection) -> set[str]:
    """The names of real tables: a view can be a program."""
    return {str(row[0]) for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


class _Reader:
    """Reads one database table by table.

    Args:
        path: The file.
        connection: A connection to it.
        tables: Its tables.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, tables: set[str]) -> None:
        self.path = path
        self.connection = connection
        self.columns = {
            table: {str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})")} for table in tables & _KNOWN
        }
        self.damage: list[str] = []

    def database(self) -> OptunaDatabase:
        """All studies."""
        studies: dict[int, OptunaStudy] = {}
        for key, name in self.rows("studies", "study_id", "study_name"):
            studies[key] = OptunaStudy(str(name))
        for key, number, direction in self.rows("study_directions", "study_id", "objective", "direction"):
            if key in studies and isinstance(number, int):
                studies[key].directions[number] = str(direction)
        for key, direction in self.rows("studies", "study_id", "direction"):
            if direction is not None and key in studies:
                studies[key].directions.setdefault(0, str(direction))
        for key, name, text in self.rows("study_user_attributes", "study_id", "key", "value_json"):
            if key in studies:
                studies[key].attributes[str(name)] = _json(text)
        for key, name, text in self.rows("study_system_attributes", "study_id", "key", "value_json"):
            names = _json(text) if key in studies and name == _METRIC_NAMES else None
            if isinstance(names, list):
                studies[key].metric_names = tuple(str(one)[:200] for one in names)
        trials = self._trials(studies)
        self._details(trials)
        for study in studies.values():
            study.trials.sort(key=lambda trial: trial.number)
        version = next((str(row[0]) for row in self.rows("version_info", "library_version")), "")
        return OptunaDatabase(list(studies.values()), version, self.damage)

    def _trials(self, studies: dict[int, OptunaStudy]) -> dict[int, OptunaTrial]:
        """All trials, by their key in the database."""
        trials: dict[int, OptunaTrial] = {}
        lost = 0
        for key, study, number, state, started in self.rows(
            "trials", "trial_id", "study_id", "number", "state", "datetime_start"
        ):
            if study not in studies or not isinstance(key, int):
                lost += 1
                continue
            count = number if isinstance(number, int) else len(studies[study].trials)
            trials[key] = OptunaTrial(count, str(state), None if started is None else str(started))
            studies[study].trials.append(trials[key])
            if len(trials) > MAX_RUNS_PER_TABLE:
                why = f"it holds more than {MAX_RUNS_PER_TABLE:,} trials"
                raise SourceError(f"{self.path.name} is not read", why, "export the study that you need")
        if lost:
            self.damage.append(f"{lost:,} trials belong to no study and are left out")
        return trials

    def _details(self, trials: dict[int, OptunaTrial]) -> None:
        """What the other tables say of the trials."""
        for key, name, value, text in self.rows("trial_params", "trial_id", "param_name", "param_value", "distribution_json"):
            if key in trials:
                trials[key].params[str(name)] = _param(value, _json(text))
        for key, name, text in self.rows("trial_user_attributes", "trial_id", "key", "value_json"):
            if key in trials:
                trials[key].attributes[str(name)] = _json(text)
        for key, beat in self.rows("trial_heartbeats", "trial_id", "heartbeat"):
            if key in trials:
                trials[key].heartbeat = str(beat)
        for key, value in self.rows("trials", "trial_id", "value"):  # before Optuna 2.4
            if key in trials and value is not None:
                trials[key].values[0] = _number(value, None)
        for key, place, value, kind in self.rows("trial_values", "trial_id", "objective", "value", "value_type?"):
            if key in trials and isinstance(place, int):
                trials[key].values[place] = _number(value, kind)
        names = ("trial_id", "step", "intermediate_value", "intermediate_value_type?")
        rows = [self.rows("trial_intermediate_values", *names), self.rows("trial_values", "trial_id", "step", "value", "-?")]
        for table in rows:  # the second is how it was before Optuna 2.4
            for key, step, value, kind in table:
                if key in trials and isinstance(step, int) and abs(step) < STEP_LIMIT:
                    trials[key].intermediate[step] = _number(value, kind)

    def rows(self, table: str, *columns: str) -> Iterator[tuple[Any, ...]]:
        """A table's rows, none where it or a column is not there; one with a ``?`` may be missing.

        A damaged table keeps the rows before the damage.
        """
        known = self.columns.get(table, set())
        if not all(name.endswith("?") or name in known for name in columns):
            return
        wanted = ", ".join("NULL" if name[:-1] not in known and name.endswith("?") else name.rstrip("?") for name in columns)
        try:
            for count, row in enumerate(self.connection.execute(f"SELECT {wanted} FROM {table} ORDER BY rowid")):
                if count >= MOST_ROWS:
                    why = f"its table {table} has more than {MOST_ROWS:,} rows"
                    raise SourceError(f"{self.path.name} is not read", why, "export the study that you need")
                yield row
        except (sqlite3.Error, UnicodeDecodeError) as error:  # its words may hold damaged names
            if table in ("studies", "trials"):
                raise
            self.damage.append(f"the table {table} is damaged ({error}): what stands before the damage is kept")


_KNOWN = NEEDED | {
    "study_directions", "study_user_attributes", "study_system_attributes", "trial_user_attributes",
    "trial_intermediate_values", "trial_heartbeats", "version_info",
}  # fmt: skip


def _json(text: object) -> Any:  # noqa: ANN401 - any JSON value
    """A JSON cell, or None."""
    try:
        return json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None


def _param(value: object, distribution: object) -> Any:  # noqa: ANN401 - any JSON value
    """A param as the user's code saw it: of choices, what the stored position stands for."""
    if not isinstance(value, int | float) or not isinstance(distribution, dict):
        return value if isinstance(value, int | float | str) else None
    name, attributes = str(distribution.get("name", "")), distribution.get("attributes")
    choices = attributes.get("choices") if isinstance(attributes, dict) else None
    whole = math.isfinite(value) and float(value).is_integer()
    if name == "CategoricalDistribution" and isinstance(choices, list):
        return choices[int(value)] if whole and 0 <= value < len(choices) else None
    return int(value) if name.startswith("Int") and whole else value


def _number(value: object, kind: object) -> float:
    """A stored value: infinities and NaN are words beside it, or float32's largest number before Optuna 3."""
    if isinstance(kind, str) and kind in _INFINITE:
        return _INFINITE[kind]
    if not isinstance(value, int | float):
        return math.nan
    return math.copysign(math.inf, value) if kind is None and abs(value) >= _FLOAT32_MAX else float(value)
