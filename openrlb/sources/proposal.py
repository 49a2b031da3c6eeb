"""A whole ``--map`` to paste, from what runs hold: for the error that says everything that is missing at once."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from openrlb.sources.identity import is_personal
from openrlb.sources.mapping import Expression, Map
from openrlb.sources.metrics import KNOWN, USUAL_COLUMNS, names_something_else
from openrlb.types import EPISODIC_RETURN, MetricKind, StepUnit

KEYS_SHOWN = 16
KINDS = "kinds: eval, episode, rolling_mean, other"
_ENV_ID = re.compile(
    r"-v\d+$|^(ALE|procgen|dm_control|minigrid)[/_:]|^[a-z]+-(walk|run|stand|hop|swingup|balance)\w*$", re.IGNORECASE
)
_NAMES = {
    "env": re.compile(r"env|task|game|domain|scenario|problem|world|level", re.IGNORECASE),
    "algo": re.compile(r"algo|agent|method|model|policy|learner|exp_?name", re.IGNORECASE),
    "seed": re.compile(r"seed|rng|random|trial|repeat|replicat", re.IGNORECASE),
    "step": re.compile(r"(^|[/_. -])(global|total|env|train)?_?(step|frame|timestep|sample|interaction)", re.IGNORECASE),
    "value": re.compile(r"return|reward|score|(^|[/_. -])ret([/_. -]|$)|performance", re.IGNORECASE),
}  # fmt: skip
_KINDS: tuple[tuple[str, MetricKind], ...] = (
    (r"eval|test|valid", "eval"),
    (r"mean|avg|average|running|smooth|ema", "rolling_mean"),
    (r"episod|epis|train|rollout", "episode"),
)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A map with what the user said and what the runs' own names suggest.

    Attributes:
        map: The map; what nothing suggests is ``'NAME'``, or ``METRIC`` for the return.
        guessed: The fields that were guessed.
        unknown: The fields that nothing suggests.
        step_unit: What the steps seem to count; ``unknown`` where there is no step.
    """

    map: Map
    guessed: tuple[str, ...]
    unknown: tuple[str, ...]
    step_unit: StepUnit

    def flags(self) -> str:
        """The map and the step unit as they are typed."""
        unit = f" --step-unit {self.step_unit}" if self.step_unit != "unknown" else ""
        return f'--map "{self.map}"{unit}'

    def remark(self) -> str:
        """What a reader must check before pasting it."""
        parts = [f"guessed: {', '.join(self.guessed)}"] if self.guessed else []
        parts += [f"yours to fill in: {', '.join(self.unknown)}"] if self.unknown else []
        return f"({'; '.join([*parts, KINDS])})"


def propose(given: Map, keys: Mapping[str, Any], logged: Collection[str], counting: Sequence[str] = ()) -> Proposal:
    """Completes a map from the names of settings and of logged metrics.

    Args:
        given: What the user said and holds.
        keys: The settings' single values by dotted key, each with an example.
        logged: The names of logged numbers.
        counting: Settings that hold a different whole number in each run.

    >>> keys = {"agent.name": "mine", "problem": "Hopper-v4", "rng": 3, "lr": 0.1}
    >>> found = propose(Map(), keys, ["frames_seen", "perf/test_score", "loss"])
    >>> str(found.map), found.step_unit
    ('algo=agent.name,env=problem,seed=rng,step=frames_seen,kind=eval,value=perf/test_score', 'frame')
    """
    fields, values = dict(given.fields), given.values
    in_path = given.path_fields()
    guessed: list[str] = []
    unknown: list[str] = []
    texts = {key: value for key, value in keys.items() if isinstance(value, str) and value and not is_personal(key)}
    numbers = [key for key, value in keys.items() if isinstance(value, int) and not isinstance(value, bool)]
    taken = {source.text.removeprefix("config.") for source in fields.values() if not source.constant}
    for name in ("env", "algo", "seed"):
        if name in fields or name in in_path:
            continue
        found = _seed(numbers, counting) if name == "seed" else _text(name, {k: v for k, v in texts.items() if k not in taken})
        if found:
            fields[name] = Expression(found)
            taken.add(found)
            guessed.append(name)
        elif name != "seed":
            fields[name] = Expression("NAME", constant=True)
            unknown.append(name)
    if "step" not in fields and (step := _likely("step", sorted(logged))):
        fields["step"] = Expression(step)
        guessed.append("step")
    if not values:
        value = _value([name for name in sorted(logged) if name != getattr(fields.get("step"), "text", None)])
        values = (value,) if value else ("METRIC",)
        (guessed if value else unknown).append("value")
    if "kind" not in fields and values != ("METRIC",):
        fields["kind"] = Expression(_kind(values[0]), constant=True)
        guessed.append("kind")
    axis = fields["step"].text.lower() if "step" in fields else ""
    unit: StepUnit = "unknown" if not axis else "frame" if "frame" in axis else "agent_step"
    guessed += ["--step-unit"] if axis else []
    return Proposal(replace(given, fields=fields, values=values), tuple(guessed), tuple(unknown), unit)


def described(keys: Mapping[str, Any]) -> str:
    """Settings with an example value each.

    >>> described({"agent.name": "mine", "rng": 3})
    "agent.name ('mine'), rng (3)"
    """
    shown = [f"{key} ({str(value)[:24]!r})" if isinstance(value, str) else f"{key} ({value})" for key, value in keys.items()]
    rest = len(shown) - KEYS_SHOWN
    return ", ".join(shown[:KEYS_SHOWN]) + (f" and {rest} more" if rest > 0 else "") or "none"


def _text(name: str, texts: Mapping[str, str]) -> str | None:
    """The setting that names the algorithm or the environment, by its value, else by its own name."""
    ids = [key for key, value in texts.items() if _ENV_ID.search(value)]
    if name == "env" and ids:
        return next((key for key in ids if _NAMES["env"].search(key)), ids[0])
    return _likely(name, [key for key in texts if key not in ids])


def _likely(name: str, names: Sequence[str]) -> str | None:
    """The first name that is usual for a field, else one that sounds like it."""
    usual = {key.lower(): key for key in reversed(names)} | {key.rsplit(".", 1)[-1].lower(): key for key in reversed(names)}
    return next((usual[word] for word in USUAL_COLUMNS[name] if word in usual), None) or next(
        (key for key in names if _NAMES[name].search(key)), None
    )


def _seed(numbers: Sequence[str], counting: Sequence[str]) -> str | None:
    """The setting that holds the seed: it sounds like one, or is the only one that differs in each run."""
    return _likely("seed", numbers) or (counting[0] if len(counting) == 1 else None)


def _value(names: Sequence[str]) -> str | None:
    """The logged name of the return."""
    known = [name for name in names if KNOWN.get(name, (None, None))[1] == EPISODIC_RETURN]
    likely = [name for name in names if _NAMES["value"].search(name) and not names_something_else(name)]
    return next(iter([*known, *sorted(likely, key=lambda name: not re.search(_KINDS[0][0], name, re.IGNORECASE))]), None)


def _kind(name: str) -> MetricKind:
    """What one value of a metric seems to be."""
    if name in KNOWN:
        return KNOWN[name][0]
    return next((kind for pattern, kind in _KINDS if re.search(pattern, name, re.IGNORECASE)), "other")
