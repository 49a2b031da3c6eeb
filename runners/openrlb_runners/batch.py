"""A batch: what an algorithm trains with in an environment, and the queue that a worker takes runs from."""

from __future__ import annotations

import tomllib
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openrlb.config import read_toml
from openrlb.errors import UsageError
from openrlb.store.environments import nearest
from openrlb_runners.request import Outcome, WorkItem
from openrlb_runners.spec import RunnerSpec, find_runner

PUBLISHED, LIBRARY = "published", "library"
DEFAULT_STEPS = 1_000_000
LARGEST_SEED = 2**32 - 1
"""NumPy's generators, and with them most libraries, take no larger one."""


@dataclass(frozen=True)
class Choice:
    """Which runner trains an algorithm.

    Attributes:
        algo: The algorithm, as the runner writes it.
        spec: The runner.
        others: Other runners that have the algorithm.
    """

    algo: str
    spec: RunnerSpec
    others: tuple[str, ...] = ()


def choose(algo: str, impl: str | None, runners: Sequence[RunnerSpec]) -> Choice:
    """The runner for an algorithm: the named one, else the first that has it.

    Args:
        algo: The algorithm; case does not matter.
        impl: The runner's name, or None.
        runners: All runners, those that ship with openrlb first.

    Raises:
        UsageError: No runner has the algorithm, or the named one has not; the nearest names are given.
    """
    asked = [find_runner(impl)] if impl else list(runners)
    having = [(spec, name) for spec in asked for name in spec.algorithms if name.lower() == algo.lower()]
    if having:
        spec, name = having[0]
        return Choice(name, spec, tuple(other.name for other, _ in having[1:]))
    known = sorted({name for spec in asked for name in spec.algorithms})
    close = nearest(algo, known)
    where = f"the runner {impl}" if impl else "any runner"
    elsewhere = [spec.name for spec in runners if algo.lower() in map(str.lower, spec.algorithms)]
    fix = f"did you mean {' or '.join(close)}?" if close else f"use one of: {', '.join(known)}"
    if elsewhere:
        fix = f"use --impl {elsewhere[0]}"
    raise UsageError(f"{algo!r} cannot be trained", f"it is no algorithm of {where}", fix)


@dataclass(frozen=True)
class Settings:
    """What an algorithm is asked to train with in an environment.

    Attributes:
        hyperparameters: Those that are asked for; the library's own defaults are not among them.
        steps: Training steps.
        hyperparameters_source: Where the hyperparameters come from, in words.
        steps_source: Where the number of steps comes from, in words.
    """

    hyperparameters: Mapping[str, Any]
    steps: int
    hyperparameters_source: str
    steps_source: str


def settings_for(choice: Choice, env: str, source: str, steps: int | None, changes: Mapping[str, Any]) -> Settings:
    """What to train with.

    Args:
        choice: Algorithm and runner.
        env: The environment.
        source: ``published``, ``library``, or a TOML file.
        steps: The number of steps that was asked for, or None.
        changes: Single hyperparameters (``--set``), nested; they win.

    Raises:
        UsageError: A file that cannot be read, or has nothing for the algorithm and environment.
    """
    base: dict[str, Any] = {}
    words, told, told_words = f"the defaults of {choice.spec.name}'s library", None, "the default"
    if source == PUBLISHED:
        from openrlb_runners.published import published

        found = published(choice.spec, choice.algo, env)
        if found is None:
            words += f" (none are published for {choice.algo} on {env})"
        else:
            base, told, words = dict(found.hyperparameters), found.steps, f"published: {found.source}"
            told_words = f"as {words}"
    elif source != LIBRARY:
        base = read_hyperparameters(Path(source), choice.algo, env)
        told, words, told_words = base.pop("steps", None), Path(source).name, f"as in {Path(source).name}"
    if changes:
        words += " and --set"
    if steps is not None:
        told, told_words = steps, "as asked"
    both = merged(base, changes)
    changed_first = {key: both[key] for key in (*changes, *both)}  # what a person set is what they look for in the plan
    return Settings(changed_first, told or DEFAULT_STEPS, words, told_words)


def read_hyperparameters(path: Path, algo: str, env: str) -> dict[str, Any]:
    """The hyperparameters of a TOML file: its own lines, or those of the table ``[algo."env"]``; ``steps`` may be among them.

    Raises:
        UsageError: The file cannot be read, has no entry for the two, or steps that are none.
    """
    try:
        table = read_toml(path)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        fix = f"use {PUBLISHED}, {LIBRARY} or a TOML file"
        raise UsageError(f"--hyperparameters {path} cannot be read", str(error), fix) from error
    if isinstance(table.get(algo), dict):
        entry = table[algo].get(env)
        if not isinstance(entry, dict):
            held = ", ".join(sorted(table[algo])) or "nothing"
            raise UsageError(f"{path.name} has nothing for {algo} on {env}", f"for {algo} it holds {held}", "add a table")
        table = entry
    steps = table.get("steps", 1)
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise UsageError(f"{path.name} cannot be used", f"steps is {steps!r}", "write a whole number above 0")
    return dict(table)


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings with changes, which win key by key.

    >>> merged({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}, "d": 4})
    {'a': {'b': 3, 'c': 2}, 'd': 4}
    """
    result = dict(base)
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result


def nested(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Settings with dotted keys as nested ones.

    >>> nested([("policy_kwargs.net_arch", [64, 64]), ("gamma", 0.9)])
    {'policy_kwargs': {'net_arch': [64, 64]}, 'gamma': 0.9}

    Raises:
        UsageError: A key that is a value already, or the other way round.
    """
    result: dict[str, Any] = {}
    for key, value in pairs:
        *path, last = key.split(".")
        place = result
        for part in path:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise UsageError(f"--set {key} was not understood", f"{part} is a value already", "set it once")
        if last in place:
            raise UsageError(f"--set {key} was not understood", f"{last} is set already", "set it once")
        place[last] = value
    return result


@dataclass
class Batch:
    """A fixed list of runs as a worker takes them.

    Attributes:
        waiting: What is not taken yet.
        outcomes: What came of the others, in the order in which they ended.
    """

    waiting: deque[WorkItem]
    outcomes: list[tuple[WorkItem, Outcome]] = field(default_factory=list)

    def take(self) -> WorkItem | None:
        """The next run, or None where there is no more."""
        return self.waiting.popleft() if self.waiting else None

    def finished(self, item: WorkItem, outcome: Outcome) -> None:
        """Notes what came of a run."""
        self.outcomes.append((item, outcome))
