"""The filter strings of openrlbenchmark's ``rlops``, so that its users can paste theirs.

::

    '?we=ENTITY&wpn=PROJECT&ceik=ENV_KEY&cen=EXP_KEY&metric=NAME&xaxis=KEY'  'EXP?tag=A&tag=B&user=U&cl=LEGEND&seed=1&seed=2' ...

A string that begins with ``?`` opens a group; every other one is an experiment of the group before it. Tags must all be
there, the values of one key are alternatives, and values are Python literals where they read as such (``seed=1`` is a
number, ``seed='1'`` a text). :meth:`OrlbFilter.mongo` asks W&B, :meth:`OrlbFilter.fits` judges stored runs by the same rules.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from openrlb.errors import UsageError
from openrlb.types import Run

_HEADER = {"we": "entity", "wpn": "project", "ceik": "env_key", "cen": "algo_key", "xaxis": "step_key"}
_FIX = "write it like '?we=openrlbenchmark&wpn=sb3&ceik=env&cen=algo&metric=eval/mean_reward' 'ppo?tag=v1&cl=PPO'"


@dataclass(frozen=True, slots=True)
class Experiment:
    """One line of an rlops figure.

    Attributes:
        name: The value of the group's experiment key.
        tags: Tags that a run must all have.
        user: The W&B user whose runs are meant, or None.
        label: The legend (``cl``), or an empty string.
        conditions: Further configuration keys, each with the values that are allowed.
    """

    name: str
    tags: tuple[str, ...] = ()
    user: str | None = None
    label: str = ""
    conditions: tuple[tuple[str, tuple[Any, ...]], ...] = ()

    def meant_by(self, algo_key: str, config: Mapping[str, Any], tags: Iterable[str]) -> bool:
        """Whether a run with a configuration and tags is this experiment; its user is not looked at."""
        wanted = (*self.conditions, (algo_key, (self.name,)))
        return set(self.tags) <= set(tags) and all(_holds(config, *item) for item in wanted)

    def __str__(self) -> str:
        """The experiment as rlops takes it; parsing it gives an equal one."""
        pairs = [("tag", tag) for tag in self.tags]
        pairs += [("user", self.user)] if self.user else []
        pairs += [("cl", self.label.replace("\n", "\\n"))] if self.label else []
        pairs += [(key, _literal_text(value)) for key, values in self.conditions for value in values]
        return quote(self.name, safe="") + ("?" + _query(pairs) if pairs else "")


@dataclass(frozen=True, slots=True)
class OrlbFilter:
    """One ``--filters`` of rlops: where the runs are, how they log, and which experiments are meant.

    Attributes:
        entity: The W&B entity.
        project: The W&B project.
        env_key: The configuration key of the environment.
        algo_key: The configuration key of the experiment's name.
        metrics: Logged names of the metrics.
        step_key: The logged key of the x axis.
        experiments: The experiments.
    """

    entity: str
    project: str = "cleanrl"
    env_key: str = "env_id"
    algo_key: str = "exp_name"
    metrics: tuple[str, ...] = ("charts/episodic_return",)
    step_key: str = "global_step"
    experiments: tuple[Experiment, ...] = ()

    def words(self) -> list[str]:
        """The strings as rlops takes them: the header, then the experiments."""
        pairs = [(short, getattr(self, name)) for short, name in _HEADER.items()]
        several = "metric" if len(self.metrics) == 1 else "metrics"
        return ["?" + _query(pairs + [(several, name) for name in self.metrics]), *map(str, self.experiments)]

    def mongo(self) -> dict[str, Any]:
        """The filter that W&B is asked with: any of the experiments, each with all its conditions.

        >>> [group] = parse(["?we=e&wpn=p", "ppo?tag=a&tag=b&seed=1&seed=2&user=ann"])
        >>> group.mongo()["$or"][0]["$and"][1:4]
        [{'tags': {'$in': ['a']}}, {'tags': {'$in': ['b']}}, {'username': 'ann'}]
        """
        return {"$or": [self._condition(experiment) for experiment in self.experiments]}

    def fits(self, run: Run) -> bool:
        """Whether a stored run is one of the experiments, by the rules that W&B is asked with.

        Raises:
            UsageError: An experiment is told by its user alone, whom the store does not keep.

        >>> [group] = parse(["?we=e&wpn=p", "ppo?tag=a&tag=b&seed=1&seed=2"])
        >>> run = Run("wandb:e/p", "r", "p", "r", "ppo", "Hopper-v4", config={"exp_name": "ppo", "seed": 2}, tags=("b", "a"))
        >>> from dataclasses import replace
        >>> group.fits(run), group.fits(replace(run, tags=("a",))), group.fits(replace(run, source="wandb:e/q"))
        (True, False, False)
        """
        if run.source != f"wandb:{self.entity}/{self.project}":
            return False
        for experiment in self.experiments:
            if not experiment.meant_by(self.algo_key, run.config, run.tags):
                continue
            if experiment.user:
                why = "the store keeps no user names; W&B judges user= when runs are fetched"
                raise UsageError(f"stored runs cannot be told by user={experiment.user}", why, "leave user= out here")
            return True
        return False

    def labels(self) -> dict[str, str]:
        """The legends that were given, by experiment name.

        Raises:
            UsageError: Two experiments of one name have different legends: a stored run keeps no legend to tell them by.
        """
        found: dict[str, str] = {}
        for experiment in self.experiments:
            label = experiment.label or found.get(experiment.name, "")
            if found.get(experiment.name, label) != label:
                why = f"{found[experiment.name]!r} and {label!r} are both legends of {experiment.name}"
                raise UsageError("two legends for one experiment", why, "fetch them one after the other, and group by tag")
            if label:
                found[experiment.name] = label
        return found

    def _condition(self, experiment: Experiment) -> dict[str, Any]:
        """What one experiment asks for."""
        parts: list[dict[str, Any]] = [{f"config.{self.algo_key}": experiment.name}]
        parts += [{"tags": {"$in": [tag]}} for tag in experiment.tags]
        parts += [{"username": experiment.user}] if experiment.user else []
        parts += [{f"config.{key}": {"$in": list(values)}} for key, values in experiment.conditions]
        return {"$and": parts}


def parse(words: Sequence[str]) -> tuple[OrlbFilter, ...]:
    """Parses rlops' filter strings.

    Args:
        words: Headers and experiments in rlops' order; each header opens a group.

    Raises:
        UsageError: A string that is none of the two, an unknown header key, no entity, or a header without experiments.

    >>> [group] = parse(["?we=openrlbenchmark&wpn=sb3&ceik=env&cen=algo&metric=eval/mean_reward", "ppo?cl=SB3 PPO&seed=1"])
    >>> group.entity, group.env_key, group.metrics, group.step_key
    ('openrlbenchmark', 'env', ('eval/mean_reward',), 'global_step')
    >>> group.experiments
    (Experiment(name='ppo', tags=(), user=None, label='SB3 PPO', conditions=(('seed', (1,)),)),)
    """
    groups: list[tuple[dict[str, Any], list[Experiment]]] = []
    for word in words:
        if not _is_text(word):
            raise UsageError(f"the filter {word!r} was not understood", "it is no UTF-8", _FIX)
        if word.startswith("?"):
            groups.append((_header(word), []))
        elif not groups:
            raise UsageError(f"the filter {word!r} stands alone", "no string with ?we= and ?wpn= is before it", _FIX)
        else:
            groups[-1][1].append(_experiment(word))
    if not groups:
        raise UsageError("no filter was given", "--orlb-filter takes a header and experiments", _FIX)
    for header, experiments in groups:
        if not experiments:
            raise UsageError(f"the filter for {header['entity']} names no experiment", "a header alone selects nothing", _FIX)
    return tuple(OrlbFilter(**header, experiments=tuple(experiments)) for header, experiments in groups)


def _is_text(word: str) -> bool:
    """False for what a shell handed over that is no UTF-8."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


def _holds(config: Mapping[str, Any], key: str, values: tuple[Any, ...]) -> bool:
    """Whether a configuration holds one of some values, of the same type (1 is not True) and equal."""
    value: Any = config.get(key)
    if key not in config:
        value = config
        for part in key.removesuffix(".value").split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
    return any(value == wanted and isinstance(value, bool) == isinstance(wanted, bool) for wanted in values)


def _header(word: str) -> dict[str, Any]:
    """The fields that a header sets."""
    found: dict[str, Any] = {}
    metrics = []
    for key, value in _pairs(word, word[1:]):
        if key in ("metric", "metrics"):
            metrics.append(value)
        elif key not in _HEADER:
            known = ", ".join((*_HEADER, "metric", "metrics"))
            raise UsageError(f"the filter header has a key {key!r}", f"it knows {known}", _FIX)
        elif found.setdefault(_HEADER[key], value) != value:
            raise UsageError(f"the filter header gives {key} twice", f"{found[_HEADER[key]]!r} and {value!r}", "keep one of them")
    if "entity" not in found:
        raise UsageError(f"the filter header {word!r} has no we=", "we= names the W&B entity", _FIX)
    return found | ({"metrics": tuple(dict.fromkeys(metrics))} if metrics else {})


def _experiment(word: str) -> Experiment:
    """One experiment string."""
    name, _, query = word.partition("?")
    if not name.strip():
        raise UsageError(f"the filter {word!r} has no experiment name", "the name stands before the sign ?", _FIX)
    tags: list[str] = []
    users: list[str] = []
    label = ""
    conditions: dict[str, list[Any]] = {}
    for key, value in _pairs(word, query):
        if key == "tag":
            tags.append(value)
        elif key == "user":
            users.append(value)
        elif key == "cl":
            label = value.replace("\\n", "\n")
        else:
            conditions.setdefault(key, []).append(_literal(value))
    if len(set(users)) > 1:
        raise UsageError(f"the filter {word!r} names two users", ", ".join(users), "write one experiment for each user")
    kept = tuple((key, tuple(values)) for key, values in conditions.items())
    return Experiment(unquote(name), tuple(dict.fromkeys(tags)), users[0] if users else None, label, kept)


def _pairs(word: str, query: str) -> list[tuple[str, str]]:
    """The ``key=value`` parts of a string, percent-decoded."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True, errors="strict") if query else []
    except (ValueError, UnicodeDecodeError) as error:
        raise UsageError(f"the filter {word!r} was not understood", f"{error}", "write key=value parts with & between") from error
    for key, value in pairs:
        if not key or not value:
            raise UsageError(f"the filter {word!r} was not understood", f"{key or '='} has no value", _FIX)
    return pairs


def _literal(text: str) -> Any:  # noqa: ANN401 -- any Python literal
    """A value as rlops reads it: a Python literal that JSON can carry, or else the text itself."""
    try:
        value = ast.literal_eval(text)
        json.dumps(value, allow_nan=False)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return text
    return value


def _literal_text(value: object) -> str:
    """The shortest text that :func:`_literal` reads back as the value."""
    return value if isinstance(value, str) and value and _literal(value) == value else repr(value)


def _query(pairs: Sequence[tuple[str, str]]) -> str:
    """A query string; slashes stay readable."""
    return "&".join(f"{quote(key, safe='/')}={quote(value, safe='/')}" for key, value in pairs)
