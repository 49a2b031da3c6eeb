"""Which of a run's logged keys are its metrics and its step axis: in the user's word, the preset's, or by their usual names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from openrlb.sources.mapping import Expression, Map
from openrlb.sources.metrics import KNOWN, USUAL_COLUMNS, declared, metric, names_something_else
from openrlb.sources.wandb.query import WandbQuery
from openrlb.types import EPISODIC_RETURN, Metric

STEP_KEYS = (
    "global_step", "time/total_timesteps", "total_timesteps", "timesteps", "env_step", "env_steps", "global_steps", "frames",
)  # fmt: skip
"""Keys that usually hold the x axis, the likeliest first."""
_SHOWN = 12


@dataclass(slots=True)
class Guesses:
    """What was guessed for the runs of one project, to be printed as a map.

    Attributes:
        fields: Where fields come from; the first guess for each is kept.
        values: The metrics that were taken for returns.
    """

    fields: dict[str, Expression] = field(default_factory=dict)
    values: dict[str, None] = field(default_factory=dict)

    def text(self, given: Map) -> str | None:
        """The whole map, the user's part first; None where nothing was guessed."""
        if not self.fields and not self.values:
            return None
        values = given.values or tuple(self.values)
        return str(Map({**self.fields, **given.fields}, values, given.tags, given.config, given.paths))


def history_keys(remote: Any) -> tuple[frozenset[str] | None, int | None, frozenset[str] | None]:  # noqa: ANN401
    """Logged keys, last step, and those keys that ever held a number; None where W&B does not say."""
    told = getattr(remote, "history_keys", None)  # an answer of another schema may have none
    if not isinstance(told, Mapping) or not isinstance(told.get("keys"), Mapping):
        return None, None, None
    last = told.get("lastStep")
    numeric = set()
    for key, entry in told["keys"].items():
        kinds = {kind.get("type") for kind in entry.get("typeCounts") or ()} if isinstance(entry, Mapping) else set()
        if not key.startswith("_") and ("number" in kinds or not kinds):
            numeric.add(key)
    return frozenset(told["keys"]), last if isinstance(last, int) else None, frozenset(numeric)


def numeric_keys(remote: Any) -> frozenset[str]:  # noqa: ANN401
    """The logged keys that ever held a number, as far as W&B says."""
    return history_keys(remote)[2] or frozenset()


def describe(name: str, query: WandbQuery) -> Metric:
    """A logged name as a metric: in the user's word, the preset's, or as it is known.

    >>> describe("eval/mean_reward", WandbQuery("e", "p")).kind
    'eval'
    """
    said, kind = name in query.map.values, query.map.kind()
    if said and kind:
        return declared(name, kind)
    for item in query.preset.metrics if query.preset else ():
        if item.name == name:
            return item
    return declared(name) if said else metric(name)


def wanted_metrics(query: WandbQuery, logged: frozenset[str] | None, guesses: Guesses) -> dict[str, Metric]:
    """The metrics to take by default: the user's, else the preset's returns, and known names; of a filter only its own."""
    asked = list(query.map.values) or [item.name for item in (query.preset.metrics if query.preset else ())]
    known = [] if query.groups else [name for name in KNOWN if logged is None or name in logged]
    names = [name for name in dict.fromkeys([*asked, *known]) if logged is None or name in logged]
    found = {name: describe(name, query) for name in names}
    if any(item.canonical == EPISODIC_RETURN or item.name in asked for item in found.values()) or query.map.values:
        return found
    if query.preset is None and logged is not None:
        likely = [name for usual in USUAL_COLUMNS["value"] for name in sorted(logged) if _last_part(name) == usual]
        for name in [name for name in likely if not names_something_else(name)][:1]:
            guesses.values.setdefault(name)
            found[name] = declared(name)
    return found if any(item.canonical == EPISODIC_RETURN for item in found.values()) else {}


def _last_part(name: str) -> str:
    """The last part of a logged name, in lower case."""
    return name.replace(".", "/").rsplit("/", 1)[-1].lower()


def choose_step_key(query: WandbQuery, logged: frozenset[str] | None, guesses: Guesses) -> str:
    """The logged key of the x axis; empty where only ``_step`` is left."""
    candidates = query.candidates("step")
    if candidates:
        key = candidates[0].text
        return key if logged is None or key in logged else ""
    for key in STEP_KEYS:
        if logged is not None and key in logged:
            guesses.fields.setdefault("step", Expression(key))
            return key
    return "global_step" if logged is None else ""


def step_unit(query: WandbQuery, step_key: str) -> Any:  # noqa: ANN401 -- a StepUnit
    """What the steps count."""
    if query.step_unit:
        return query.step_unit
    if not step_key:
        return "unknown"
    if query.preset and step_key == query.preset.step:
        return query.preset.step_unit
    return "frame" if step_key == "frames" else "unknown"


def shown(names: Iterable[str]) -> str:
    """Names for a message."""
    listed = sorted(map(str, names))
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more or "none"
