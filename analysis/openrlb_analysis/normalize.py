"""Normalisation: named, versioned reference returns, never the smallest and largest of what is selected.

A normalised score is ``(return - low) / (high - low)``. Published tables are the TOML files beside this module; scores of
stored runs, frozen under a name, serve where there is none (:mod:`openrlb_analysis.reference_scores`). MuJoCo locomotion
has no table: no random and expert returns of it are agreed upon.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from openrlb.config import read_toml
from openrlb.errors import SelectionError, UsageError
from openrlb.store.normalizations import FrozenNormalization, Scale

NONE = "none"
RECIPES = ("ref", "minmax", "cdf")
"""What ``--normalize RECIPE:GROUP`` may begin with."""
_OWN = "minmax:GROUP or ref:GROUP, a group's own scores (ref needs runs of a random agent)"
RUNS_NAMED = 40
"""Of more reference runs than these a note names so many and counts the rest; the result's references name all."""

LOWEST = "the lowest return there can be"
"""The word for a table's 0 where its two ends are those that the environment itself allows."""

_Numbers = TypeVar("_Numbers")  # a float or an array of floats


@dataclass(frozen=True, slots=True)
class Table:
    """Reference returns of many environments.

    Attributes:
        name: What a reader types after ``--normalize``.
        version: Raised whenever a number in the table changes.
        about: What 0 and 1 mean.
        source: Where the numbers come from.
        zero: Whose score 0 is, in words.
        patterns: Recognise an environment's id; the group ``key`` of the first that fits is looked up in ``scores``.
        scores: ``(low, high)`` by key, the key in lower case without underscores and hyphens.
        by_name_only: True where the table is never chosen unless somebody names it.
    """

    name: str
    version: int
    about: str
    source: str
    zero: str
    patterns: tuple[re.Pattern[str], ...]
    scores: Mapping[str, tuple[float, float]]
    by_name_only: bool = False

    def references(self, env: str) -> tuple[float, float] | None:
        """``(low, high)`` of an environment, or None where the table does not hold it."""
        for pattern in self.patterns:
            if (found := pattern.fullmatch(env)) and (pair := self.scores.get(_plain(found["key"]))):
                return pair
        return None

    def scales(self, envs: Iterable[str]) -> dict[str, Scale]:
        """The references of those environments that the table holds."""
        return {env: Scale(*pair) for env in envs if (pair := self.references(env))}


@dataclass(frozen=True, slots=True)
class Normalization:
    """The normalisation of one analysis.

    Attributes:
        name: The table's name, or ``none``.
        version: The table's version; None for ``none`` and for scores that were normalised elsewhere.
        references: The reference scores of each environment whose raw returns are normalised.
        given: The name that values already normalised carry (:attr:`openrlb.types.Run.normalized`), or None.
        note: What a reader must know, or an empty text.
        zero: Whose score 0 is, in words; empty where a failed run may score less, so that 0 does not stand for it.
    """

    name: str = NONE
    version: int | None = None
    references: Mapping[str, Scale] = field(default_factory=dict)
    given: str | None = None
    note: str = ""
    zero: str = ""

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
        """Normalises returns of one environment; NaN stays NaN.

        Args:
            env: The environment's id.
            values: A number or an array.
            already: The normalisation that the values carry, or None for raw returns.

        >>> normalization("dmc", ["walker-walk"]).apply("walker-walk", 250.0)
        0.25
        """
        if already is not None or env not in self.references:
            return values
        scale, numbers = self.references[env], values
        if scale.scores:
            return _shares(scale.scores, numbers)
        raw: Any = numbers
        return (raw - scale.low) / (scale.high - scale.low)  # type: ignore[no-any-return]

    def bounds(self, env: str, already: str | None = None) -> tuple[float, float] | None:
        """The lowest and the highest score that an environment allows, where that is known.

        Args:
            env: The environment's id.
            already: The normalisation that the values carry, or None for raw returns.

        >>> normalization("none", []).bounds("CartPole-v1"), normalization("dmc", ["walker-walk"]).bounds("walker-walk")
        ((0.0, 500.0), (0.0, 1.0))
        >>> normalization("none", []).bounds("Hopper-v4") is None
        True
        """
        if already is not None:
            return None
        if env in self.references and self.references[env].scores:
            return 0.0, 1.0
        raw = known_bounds(env)
        return None if raw is None else (self.apply(env, raw[0]), self.apply(env, raw[1]))

    def failure_score(self, env: str) -> float | None:
        """The normalised score of a failed run: 0 where that is the random agent's or the lowest there is, else None."""
        return 0.0 if self.zero and env in self.references else None


def known_bounds(env: str) -> tuple[float, float] | None:
    """The lowest and the highest return that an environment allows, from the tables whose two ends these are.

    >>> known_bounds("Acrobot-v1"), known_bounds("walker-walk"), known_bounds("ALE/Pong-v5")
    ((-500.0, 0.0), (0.0, 1000.0), None)
    """
    return next((pair for table in tables().values() if table.zero == LOWEST and (pair := table.references(env))), None)


@cache
def tables() -> Mapping[str, Table]:
    """Every normalisation table by name.

    >>> sorted(tables())
    ['atari57-human', 'classic-control', 'd4rl', 'dmc']
    """
    folder = resources.files("openrlb_analysis").joinpath("normalizations")
    found = [_read(entry.read_text("utf-8")) for entry in folder.iterdir() if entry.name.endswith(".toml")]
    return {table.name: table for table in sorted(found, key=lambda table: table.name)}


def read_table(path: Path) -> Table:
    """Reads a table of one's own: ``name``, ``about``, ``source``, and ``[scores]`` with ``ENV = [low, high]``.

    Args:
        path: The TOML file.

    Raises:
        UsageError: It cannot be read, or holds something else.
    """
    fix = 'write name, about, source, and a table [scores] with lines such as "CartPole-v1" = [0.0, 500.0]'
    try:
        content = read_toml(path)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"the normalisation {path} cannot be read", str(error), fix) from error
    scores = content.get("scores")
    if not isinstance(scores, dict) or not scores:
        raise UsageError(f"the normalisation {path.name} cannot be used", "it has no table [scores]", fix)
    for env, pair in scores.items():
        numbers = isinstance(pair, list) and len(pair) == 2 and all(isinstance(end, int | float) for end in pair)
        if not numbers or not all(abs(end) < 1e300 for end in pair) or not pair[0] < pair[1]:
            raise UsageError(f"the normalisation {path.name} cannot be used", f"{env} has no lower and higher return", fix)
    words = {key: str(content.get(key, default)) for key, default in (("name", path.stem), ("about", ""), ("source", path.name))}
    exact = re.compile("(?P<key>.+)")
    pairs = {_plain(env): (float(low), float(high)) for env, (low, high) in scores.items()}
    return Table(**words, version=1, zero="", patterns=(exact,), scores=pairs, by_name_only=True)


def check_name(name: str | None, frozen: Iterable[str] = ()) -> None:
    """Makes sure that a word names a normalisation, before anything is computed.

    Args:
        name: A table's name, ``none``, ``ref:GROUP``, ``minmax:GROUP``, ``cdf:GROUP``, a frozen name, or None.
        frozen: The frozen names that there are.

    Raises:
        UsageError: Neither; the nearest names are given.
    """
    from difflib import get_close_matches

    known = [*tables(), NONE, *frozen]
    if name is None or name in known or recipe_of(name):
        return
    begun = [one for one in known if one.startswith(name)] if len(name) > 2 else []
    close = begun or get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f"did you mean {close[0]}?" if close else f"use one of them, or {_OWN}"
    recipe = name.partition(":")[0]
    if recipe in RECIPES:
        hint = f"name the group whose scores it shall be: --normalize {recipe}:GROUP"
    elif "mujoco" in name.casefold():
        hint = f"MuJoCo has no agreed reference returns: use {_OWN}"
    raise UsageError(f"there is no normalisation {name!r}", f"they are {', '.join(known)}, and {_recipes()}", hint)


def recipe_of(name: str) -> tuple[str, str] | None:
    """The recipe and the group of ``ref:GROUP``, ``minmax:GROUP`` or ``cdf:GROUP``; None for another word.

    >>> recipe_of("ref:ppo (sb3)"), recipe_of("ref:"), recipe_of("dmc")
    (('ref', 'ppo (sb3)'), None, None)
    """
    recipe, _, group = name.partition(":")
    return (recipe, group.strip()) if recipe in RECIPES and group.strip() else None


def normalization(
    name: str | FrozenNormalization | None, envs: Iterable[str], already: Iterable[str | None] = ()
) -> Normalization:
    """Chooses the normalisation of an analysis.

    Args:
        name: A table's name, ``none``, a frozen normalisation, or None for the table that holds every environment
            (``none`` if there is none).
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
    word = name.name if isinstance(name, FrozenNormalization) else name
    if len(given) > 1 or (given and word not in (None, NONE, *given)):
        names = ", ".join(sorted(str(one) for one in given | ({word} if word else set())))
        raise SelectionError(
            "scores of different normalisations cannot be compared",
            f"the runs and --normalize name {names}",
            "select runs of one of them",
        )
    if isinstance(name, FrozenNormalization):
        return _frozen(name, wanted)
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
    references = known.scales(wanted)
    if None in carried and len(references) < len(wanted):
        raise _lacking(known, wanted)
    return Normalization(known.name, known.version if None in carried else None, references, declared, zero=known.zero)


def _of_raw(name: str | None, envs: list[str]) -> Normalization:
    """The normalisation of raw returns."""
    if name == NONE:
        return Normalization()
    if name is None:
        for table in (one for one in tables().values() if not one.by_name_only):
            references = table.scales(envs)
            if envs and len(references) == len(envs):
                return Normalization(table.name, table.version, references, zero=table.zero)
            if references:
                others = ", ".join(env for env in envs if env not in references)
                return Normalization(note=f"not normalised: {table.name} holds {', '.join(references)} but not {others}")
        return Normalization()
    check_name(name)
    if name not in tables():
        why = "its reference scores are made of stored runs, and none were handed over"
        raise UsageError(f"{name} is not frozen", why, f"freeze it first: openrlb plot --normalize {name}")
    chosen = tables()[name]
    references = chosen.scales(envs)
    if len(references) < len(envs):
        raise _lacking(chosen, envs)
    return Normalization(chosen.name, chosen.version, references, zero=chosen.zero)


def _frozen(chosen: FrozenNormalization, envs: Sequence[str]) -> Normalization:
    """A frozen normalisation of the environments, with what it was made of in words.

    Raises:
        SelectionError: It lacks an environment.
    """
    lacking = [env for env in envs if env not in chosen.scales]
    if lacking:
        why = f"it was frozen for {', '.join(sorted(chosen.scales))}"
        fix = f"add it with the runs of {chosen.group} there: openrlb plot --normalize {chosen.method}:{chosen.group}"
        fix += "" if chosen.name == f"{chosen.method}:{chosen.group}" else f" --freeze {chosen.name}"
        raise SelectionError(f"{chosen.name} cannot normalise {', '.join(lacking)}", why, f"{fix}, or select other environments")
    scales = {env: chosen.scales[env] for env in envs}
    zero = chosen.zero if chosen.method == "ref" else ""
    return Normalization(chosen.name, chosen.version, scales, note=_made_of(chosen, scales), zero=zero)


def _made_of(chosen: FrozenNormalization, scales: Mapping[str, Scale]) -> str:
    """What a frozen normalisation is, with its cuts and runs."""
    what = {
        "ref": f"0 is {chosen.zero} score, 1 the mean score of {chosen.group}",
        "minmax": f"0 is the lowest and 1 the highest score of a run of {chosen.group}",
        "cdf": f"a score is the share of the runs of {chosen.group} that score at most as much",
    }[chosen.method]
    cuts = sorted({(scale.step, scale.step_unit) for scale in scales.values() if scale.step is not None})
    steps = [f"{step:,} {unit.replace('_', ' ')}s" for step, unit in cuts]
    at = f" at {steps[0]}" if len(steps) == 1 else f" at {len(steps)} cuts from {steps[0]} to {steps[-1]}" if steps else ""
    runs = list(dict.fromkeys(run for scale in scales.values() for run in (*scale.high_runs, *scale.low_runs)))
    more = f" and {len(runs) - RUNS_NAMED} more" if len(runs) > RUNS_NAMED else ""
    when = f"frozen {chosen.created[:10]}" if chosen.created else "NOT frozen: another selection gives other numbers"
    named = f"{', '.join(runs[:RUNS_NAMED])}{more}"
    return f"{chosen.name} v{chosen.version} ({when}): {what}, {chosen.rule}{at}; from {len(runs)} runs: {named}"


def _shares(scores: tuple[float, ...], values: _Numbers) -> _Numbers:
    """The empirical distribution function of reference scores.

    Jordan et al. 2020, "Evaluating the Performance of Reinforcement Learning Algorithms": performance percentiles.
    """
    import numpy as np

    raw = np.asarray(values, dtype=np.float64)
    found = np.searchsorted(np.asarray(scores), raw, side="right") / len(scores)
    known = np.where(np.isnan(raw), np.nan, found)
    result: Any = known if raw.ndim else float(known)
    return result  # type: ignore[no-any-return]


def _recipes() -> str:
    """The recipes, as a reader types them."""
    return ", ".join(f"{recipe}:GROUP" for recipe in RECIPES)


def _lacking(table: Table, envs: list[str]) -> SelectionError:
    """The error for environments that a table does not hold."""
    names = ", ".join(env for env in envs if table.references(env) is None)
    return SelectionError(
        f"{table.name} cannot normalise {names}",
        "the table does not hold it",
        f"use --normalize none, or {_OWN}, or select other environments",
    )


def _plain(key: str) -> str:
    """A key without case, underscores and hyphens."""
    return key.casefold().replace("_", "").replace("-", "")


def _read(text: str) -> Table:
    """Reads one table; ``scores``, ``tasks`` and ``families`` are three ways to write its keys."""
    content = tomllib.loads(text)
    pairs: dict[str, tuple[float, float]] = {key: (low, high) for key, (low, high) in content.get("scores", {}).items()}
    domains = content.get("tasks", {})
    for domain, names in [*domains.items(), *((alias, domains[of]) for alias, of in content.get("aliases", {}).items())]:
        pairs.update({f"{domain}-{task}": (content["default"]["low"], content["default"]["high"]) for task in names})
    for family in content.get("families", []):
        endings = ["", *(f"-v{number}" for number in family["versions"])]
        for env, (low, high) in family["scores"].items():
            pairs.update({f"{env}-{data}{ending}": (low, high) for data in family["datasets"] for ending in endings})
    scores = {_plain(key): pair for key, pair in pairs.items()}
    patterns = tuple(re.compile(pattern, re.ASCII) for pattern in content["patterns"])
    about = {key: content[key] for key in ("name", "version", "about", "source", "zero")}
    return Table(**about, patterns=patterns, scores=scores, by_name_only=bool(content.get("by_name_only")))
