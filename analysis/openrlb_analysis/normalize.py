"""Normalisation: named, versioned tables of reference returns, never the smallest and largest of what is selected.

A normalised score is ``(return - low) / (high - low)``. The tables are the TOML files beside this module. MuJoCo
locomotion has none: no random and expert returns of it are agreed upon.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, TypeVar

from openrlb.errors import SelectionError, UsageError

NONE = "none"

_Numbers = TypeVar("_Numbers")  # a float or an array of floats


@dataclass(frozen=True, slots=True)
class Table:
    """Reference returns of many environments.

    Attributes:
        name: What a reader types after ``--normalize``.
        version: Raised whenever a number in the table changes.
        about: What 0 and 1 mean.
        source: Where the numbers come from.
        pattern: Recognises an environment's id; its group ``key`` is looked up in ``scores``.
        scores: ``(low, high)`` by key, the key in lower case without underscores and hyphens.
    """

    name: str
    version: int
    about: str
    source: str
    pattern: re.Pattern[str]
    scores: Mapping[str, tuple[float, float]]

    def references(self, env: str) -> tuple[float, float] | None:
        """``(low, high)`` of an environment, or None where the table does not hold it."""
        found = self.pattern.fullmatch(env)
        return self.scores.get(_plain(found["key"])) if found else None


@dataclass(frozen=True, slots=True)
class Normalization:
    """The normalisation of one analysis.

    Attributes:
        name: The table's name, or ``none``.
        version: The table's version; None for ``none`` and for scores that were normalised elsewhere.
        references: ``(low, high)`` of each environment whose raw returns the table normalises.
        given: The name that values already normalised carry (:attr:`openrlb.types.Run.normalized`), or None.
        note: What a reader must know, or an empty text.
    """

    name: str = NONE
    version: int | None = None
    references: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    given: str | None = None
    note: str = ""

    @property
    def text(self) -> str:
        """Name and version, as outputs print them.

        >>> normalization("atari57-human", ["Pong"]).text, normalization(None, ["Hopper-v4"]).text
        ('atari57-human v1', 'none')
        """
        if self.version is None:
            return f"{self.name} (as given)" if self.given else self.name
        return f"{self.name} v{self.version}"

    @property
    def pools(self) -> bool:
        """True where scores of different environments are on one scale."""
        return self.name != NONE

    def apply(self, env: str, values: _Numbers, already: str | None = None) -> _Numbers:
        """Normalises returns of one environment.

        Args:
            env: The environment's id.
            values: A number or an array.
            already: The normalisation that the values carry, or None for raw returns.

        >>> normalization("dmc", ["walker-walk"]).apply("walker-walk", 250.0)
        0.25
        """
        if already is not None or env not in self.references:
            return values
        low, high = self.references[env]
        numbers: Any = values
        return (numbers - low) / (high - low)  # type: ignore[no-any-return]

    def failure_score(self, env: str) -> float | None:
        """The normalised score of a failed run: the random agent's, where the table knows it, else None."""
        return 0.0 if env in self.references else None


@cache
def tables() -> Mapping[str, Table]:
    """Every normalisation table by name.

    >>> sorted(tables())
    ['atari57-human', 'd4rl', 'dmc']
    """
    folder = resources.files("openrlb_analysis").joinpath("normalizations")
    found = [_read(entry.read_text("utf-8")) for entry in folder.iterdir() if entry.name.endswith(".toml")]
    return {table.name: table for table in sorted(found, key=lambda table: table.name)}


def check_name(name: str | None) -> None:
    """Makes sure that a word names a normalisation, before anything is computed.

    Args:
        name: A table's name, ``none``, or None.

    Raises:
        UsageError: Neither; the nearest names are given.
    """
    from difflib import get_close_matches

    known = [*tables(), NONE]
    if name is not None and name not in known:
        close = get_close_matches(name, known, n=1, cutoff=0.3)
        hint = f"did you mean {close[0]}?" if close else "use one of them"
        raise UsageError(f"there is no normalisation {name!r}", f"they are {', '.join(known)}", hint)


def normalization(name: str | None, envs: Iterable[str], already: Iterable[str | None] = ()) -> Normalization:
    """Chooses the normalisation of an analysis.

    Args:
        name: A table's name, ``none``, or None for the table that holds every environment (``none`` if there is none).
        envs: The environments' ids.
        already: What each run's values carry: the name of a normalisation, or None for raw returns.

    Raises:
        UsageError: There is no such table.
        SelectionError: The table lacks an environment, or values that carry different normalisations meet.

    >>> normalization(None, ["ALE/Pong-v5", "BreakoutNoFrameskip-v4"]).name
    'atari57-human'
    """
    wanted = sorted(set(envs))
    carried = set(already) or {None}
    given = carried - {None}
    if len(given) > 1 or (given and name not in (None, NONE, *given)):
        names = ", ".join(sorted(str(one) for one in given | ({name} if name else set())))
        raise SelectionError(
            "scores of different normalisations cannot be compared",
            f"the runs and --normalize name {names}",
            "select runs of one of them",
        )
    if not given:
        return _of_raw(name, wanted)
    (declared,) = given
    if None in carried and (name == NONE or declared not in tables()):
        raise SelectionError(
            f"raw returns and scores normalised by {declared} cannot be compared",
            "the raw ones would need a table of that name" if name != NONE else "--normalize none leaves both as they are",
            f"use --normalize {declared}, or select runs of one kind" if declared in tables() else "select runs of one kind",
        )
    known = tables().get(str(declared))
    if known is None:
        return Normalization(str(declared), None, {}, declared)
    references = {env: pair for env in wanted if (pair := known.references(env))}
    if None in carried and len(references) < len(wanted):
        raise _lacking(known, wanted)
    return Normalization(known.name, known.version if None in carried else None, references, declared)


def _of_raw(name: str | None, envs: list[str]) -> Normalization:
    """The normalisation of raw returns."""
    if name == NONE:
        return Normalization()
    if name is None:
        for table in tables().values():
            references = {env: pair for env in envs if (pair := table.references(env))}
            if envs and len(references) == len(envs):
                return Normalization(table.name, table.version, references)
            if references:
                others = ", ".join(env for env in envs if env not in references)
                return Normalization(note=f"not normalised: {table.name} holds {', '.join(references)} but not {others}")
        return Normalization()
    if name not in tables():
        raise UsageError(
            f"no normalisation {name!r}", "there are " + ", ".join([*tables(), NONE]), "leave --normalize out to use what fits"
        )
    chosen = tables()[name]
    if any(chosen.references(env) is None for env in envs):
        raise _lacking(chosen, envs)
    return Normalization(chosen.name, chosen.version, {env: pair for env in envs if (pair := chosen.references(env))})


def _lacking(table: Table, envs: list[str]) -> SelectionError:
    """The error for environments that a table does not hold."""
    names = ", ".join(env for env in envs if table.references(env) is None)
    return SelectionError(
        f"{table.name} cannot normalise {names}",
        "the table does not hold it",
        "use --normalize none, or select other environments",
    )


def _plain(key: str) -> str:
    """A key without case, underscores and hyphens."""
    return key.casefold().replace("_", "").replace("-", "")


def _read(text: str) -> Table:
    """Reads one table; ``scores``, ``tasks`` and ``families`` are three ways to write its keys."""
    content = tomllib.loads(text)
    pairs: dict[str, tuple[float, float]] = {key: (low, high) for key, (low, high) in content.get("scores", {}).items()}
    for domain, names in content.get("tasks", {}).items():
        pairs.update({f"{domain}-{task}": (content["default"]["low"], content["default"]["high"]) for task in names})
    for family in content.get("families", []):
        for env, (low, high) in family["scores"].items():
            pairs.update({f"{env}-{data}-v{number}": (low, high) for data in family["datasets"] for number in family["versions"]})
    scores = {_plain(key): pair for key, pair in pairs.items()}
    return Table(
        content["name"], content["version"], content["about"], content["source"], re.compile(content["pattern"], re.ASCII), scores
    )
