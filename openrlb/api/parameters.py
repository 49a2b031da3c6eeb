"""Which parameters of a run are not the implementation's defaults, and which are not those of the runs beside it.

Defaults are never guessed. They are known where openrlb trained the run and

- nothing but defaults was asked for, or
- the store holds a run of the same code, lock, algorithm and environment that was asked for nothing, or
- the runner was asked for its defaults before (``tune`` and ``run`` keep its answers), or
- the packaged runner ships what it answered: then what was asked for is held against that, and it is said whether the run's own
  code or libraries were others.

Everywhere else it is said that they are not known, and why.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from openrlb.api.shipped_defaults import shipped_defaults
from openrlb.api.tuning_effort import asked_for
from openrlb.errors import OpenrlbError
from openrlb.store import RunRow, Store
from openrlb.store.variant import flat_config, training_config

if TYPE_CHECKING:
    from openrlb.types import Run

SPEC = "spec.json"
NOT_HYPERPARAMETERS = ("env_kwargs", "eval_")
"""What a run's configuration holds beside hyperparameters and ``steps``, by how the key begins."""

Family = tuple[str, str, str, str, str]


@dataclass(frozen=True, slots=True)
class Departure:
    """A parameter that is not what it is elsewhere.

    Attributes:
        key: The dotted key.
        value: This run's value; None where it has none.
        other: The default; or of the runs beside it, each other value and how many runs have it.
    """

    key: str
    value: Any
    other: Any


@dataclass(frozen=True, slots=True)
class Parameters:
    """What sets a run's configuration apart.

    Attributes:
        from_default: The hyperparameters that are not the defaults; None where the defaults are not known.
        defaults: Where the defaults are known from, or why they are not.
        asked: The hyperparameters that were asked for, by dotted key; None where that is not known.
        from_others: The settings that differ from another run of the same source, project, algorithm, implementation and
            environment; seeds, names and logging are no settings.
        others: How many such runs there are.
    """

    from_default: tuple[Departure, ...] | None
    defaults: str
    asked: Mapping[str, Any] | None
    from_others: tuple[Departure, ...]
    others: int


class ParameterReader:
    """Tells what sets runs apart; for many runs of one store it reads each thing once.

    Args:
        rows: All runs that are looked at together.
        store: Where they are.
    """

    def __init__(self, rows: Sequence[RunRow], store: Store) -> None:
        self._store = store
        self._settings: dict[int, dict[str, Any]] = {}
        self._asked: dict[str, dict[str, Any] | None] = {}
        self._families: dict[Family, list[RunRow]] = defaultdict(list)
        self._spreads: dict[Family, dict[str, Counter[str]]] = {}
        for row in rows:
            self._families[_family(row.record)].append(row)

    def of(self, row: RunRow) -> Parameters:
        """What sets one of the runs apart."""
        asked = self._asked_for(row.record)
        default, told = self._default(row, asked)
        departures = None if default is None else tuple(_departures(_hyperparameters(self._of_row(row)), default))
        return Parameters(departures, told, asked, tuple(self._from_others(row)), len(self._families[_family(row.record)]) - 1)

    def _of_row(self, row: RunRow) -> dict[str, Any]:
        """A run's settings, read once."""
        if id(row) not in self._settings:
            self._settings[id(row)] = training_config(row.record.config)
        return self._settings[id(row)]

    def _from_others(self, row: RunRow) -> list[Departure]:
        """The settings that another run has otherwise."""
        mine, spread = self._of_row(row), self._spread_of(_family(row.record))
        found = []
        for key in dict.fromkeys([*mine, *spread]):
            if len(spread[key]) > 1:
                own = _text(mine.get(key))
                found.append(Departure(key, mine.get(key), {text: n for text, n in spread[key].most_common() if text != own}))
        return found

    def _spread_of(self, family: Family) -> dict[str, Counter[str]]:
        """How many runs of a family have each value of each setting; counted once, however many runs ask."""
        if family not in self._spreads:
            every = [self._of_row(row) for row in self._families[family]]
            keys = dict.fromkeys(key for one in every for key in one)
            self._spreads[family] = {key: Counter(_text(one.get(key)) for one in every) for key in keys}
        return self._spreads[family]

    def _asked_for(self, run: Run) -> dict[str, Any] | None:
        """The hyperparameters that a run of ours was asked for; None where that is not kept."""
        digest = run.files.get(SPEC, "")
        if digest not in self._asked:
            asked = asked_for(run, self._store)
            self._asked[digest] = None if asked is None else flat_config(asked)
        return self._asked[digest]

    def _default(self, row: RunRow, asked: Mapping[str, Any] | None) -> tuple[dict[str, Any] | None, str]:
        """The default hyperparameters of a run's implementation, and where they are known from or why they are not."""
        run = row.record
        who = run.impl or run.source
        if asked is None:
            return None, f"the defaults of {who} are not known: the run came without the request that it was trained from"
        if not asked:
            return _hyperparameters(self._of_row(row)), f"nothing but the defaults of {who} was asked for"
        tried: set[str] = set()
        for other in self._families[_family(run)]:
            variant = other.columns["variant"]
            if other is row or variant in tried or _code(other.record) != _code(run):
                continue
            tried.add(variant)
            if self._asked_for(other.record) == {}:
                told = f"the defaults of {who} are those of the run {other.record.run}, which was asked for nothing else"
                return _hyperparameters(self._of_row(other)), told
        if (found := _answered_before(run, self._store)) is not None:
            return flat_config(found), f"the defaults of {who} are what its code answered here, asked for nothing else"
        if (shipped := shipped_defaults(run, _hyperparameters(self._of_row(row)), asked, self._store)) is not None:
            return shipped
        told = f"all but what was asked for is the default of {who}; what the default of these is, nothing stored here tells"
        return None, told


def _family(run: Run) -> Family:
    """Which runs a run stands beside."""
    return run.source, run.project, run.algo, run.impl, run.env


def _code(run: Run) -> dict[str, str]:
    """The digests of what decides a run's defaults: the runner's code and its lock."""
    return {name: digest for name, digest in run.files.items() if name.endswith(".py") or name.startswith("lock/")}


def _answered_before(run: Run, store: Store) -> dict[str, Any] | None:
    """The default hyperparameters that the run's own code once answered with on this machine, or None."""
    from dataclasses import replace
    from pathlib import Path

    from openrlb_runners.reproduction import read_record
    from openrlb_runners.resolve import answered_before

    try:
        record = read_record(run, store.layout)
    except OpenrlbError:
        return None
    config = answered_before(record.pinned(Path()), replace(record.request, hyperparameters={}))
    found = None if config is None else config["hyperparameters"]
    return found if isinstance(found, dict) else None


def _hyperparameters(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters among a run's settings.

    >>> _hyperparameters({"gamma": 0.99, "steps": 1000, "eval_every": 100, "env_kwargs.wind": 1})
    {'gamma': 0.99}
    """
    return {key: value for key, value in settings.items() if key != "steps" and not key.startswith(NOT_HYPERPARAMETERS)}


def _departures(mine: Mapping[str, Any], default: Mapping[str, Any]) -> list[Departure]:
    """Where two flat configurations differ; 1 and 1.0 are the same number."""
    keys = dict.fromkeys([*mine, *default])
    return [Departure(key, mine.get(key), default.get(key)) for key in keys if _text(mine.get(key)) != _text(default.get(key))]


def _text(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """One text for equal JSON values."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    return json.dumps(value, sort_keys=True, default=str)
