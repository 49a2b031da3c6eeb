"""What a run of a W&B project is called: algorithm, environment, seed and the rest, from its configuration and name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from openrlb.sources.identity import clean_settings
from openrlb.sources.mapping import Expression
from openrlb.sources.metrics import USUAL_COLUMNS, kind_is_unknown
from openrlb.sources.tracked import KIND_UNTOLD, seed_of, without
from openrlb.sources.wandb.query import WandbQuery
from openrlb.sources.wandb.rows import STEP
from openrlb.sources.wandb.wanted import Guesses, choose_step_key, history_keys, shown, step_unit, wanted_metrics
from openrlb.store.variant import is_logging_key
from openrlb.types import Metric, Run, RunState

STATES: dict[str, RunState] = {
    "finished": "finished", "running": "running", "crashed": "crashed", "failed": "failed", "killed": "killed",
    "preempting": "running", "preempted": "killed",
}  # fmt: skip

LOGGED_NOTHING = ("history",)
"""What is missing of a run that is known and empty."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One run of a listing: what W&B tells of it without its history.

    Attributes:
        remote: The wandb client's run.
        run: The record as far as the listing gives it.
        config: The configuration as logged, flattened by dots as well as nested.
        logged: Names of the logged keys, or None where W&B does not say.
        last_step: The highest ``_step``, or None where W&B does not say.
        metrics: The metrics to take, by logged name; ignored with ``all_metrics``.
        step_key: The logged key of the x axis; empty for ``_step``.
        has_events: Whether hardware metrics were logged.
        system: Whether to take them.
    """

    remote: Any
    run: Run
    logged: frozenset[str] | None
    last_step: int | None
    metrics: Mapping[str, Metric]
    step_key: str
    has_events: bool
    system: bool = False


class UnknownRunError(Exception):
    """A run whose algorithm or environment cannot be told, or that logged nothing that is wanted.

    Attributes:
        missing: ``algo``, ``env`` and ``value``, as far as they are not known.
    """

    def __init__(self, missing: tuple[str, ...], reason: str) -> None:
        super().__init__(reason)
        self.missing = missing


def identify(remote: Any, query: WandbQuery, guesses: Guesses) -> Listed:  # noqa: ANN401 -- wandb is not typed
    """The record of a run, from its listing.

    Raises:
        UnknownRunError: Its algorithm or environment cannot be told, or it logged no wanted metric.
    """
    config = dict(remote.config)
    name = str(remote.name or remote.id)
    from_name = _from_name(name, query)
    found = {key: from_name.get(key) or _field(key, config, query, guesses) for key in ("algo", "env", "seed", "impl")}
    missing = [key for key in ("env", "algo") if not found[key] or not isinstance(found[key], str | int | float)]
    reasons = [_missing(key, query) for key in missing]
    reasons += [f"its keys are {shown(key for key, _ in flat(config))}"] if missing else []
    logged, last_step, numeric = history_keys(remote)
    metrics = wanted_metrics(query, logged, guesses)
    if not metrics and not query.all_metrics and not query.system:
        if logged is not None and not numeric:
            raise UnknownRunError(LOGGED_NOTHING, "it logged nothing")
        missing.append("value")
        wanted = " or ".join(query.map.values) if query.groups else "return"
        reasons.append(f"no {wanted} is among what it logged: {shown(numeric or ())}")
    if missing:
        raise UnknownRunError(tuple(missing), "; ".join(reasons))
    step_key = choose_step_key(query, logged, guesses)
    kept, notes = kept_config(without(config, _seed_keys(query)), query)
    seed = seed_of(found["seed"])
    if seed is None and found["seed"] is not None:
        notes.append(f"its seed is not known: {str(found['seed'])[:40]} is no whole number from 0 to 2^63 - 1")
    unit = step_unit(query, step_key)
    if unit == "unknown":
        notes.append("what a step counts is not said: --step-unit agent_step, or frame, puts it beside other runs")
    if any(name in query.map.values and item.kind == "other" and kind_is_unknown(name) for name, item in metrics.items()):
        notes.append(KIND_UNTOLD)
    run = Run(
        source=query.source,
        run=str(remote.id),
        project=query.project,
        name=name,
        algo=str(found["algo"]),
        env=str(found["env"]),
        impl=str(found["impl"] or ""),
        seed=seed,
        state=STATES.get(str(remote.state), "unknown"),
        config=kept,
        tags=tuple(str(tag) for tag in remote.tags or ()),
        step_unit=unit,
        frames_per_step=query.frames_per_step or (query.preset.frames(str(found["env"])) if query.preset else None),
        git_commit=remote.commit if remote.commit and isinstance(remote.commit, str) else None,
        created=iso_utc(remote.created_at),
        line_count=_line_count(remote),
        heartbeat=remote.heartbeat_at or None,
        location=_location(query, str(remote.id), step_key),
        notes=tuple(notes),
    )
    return Listed(remote, run, logged, last_step, metrics, step_key, bool(remote.system_metrics), query.system)


def _location(query: WandbQuery, run: str, step_key: str) -> str:
    """Where and how a run was read: one that is asked for with another axis is another reading of it."""
    personal = "&personal=kept" if query.keep_personal else ""
    return f"{query.entity}/{query.project}/{run}?xaxis={step_key or STEP}{personal}"


def _seed_keys(query: WandbQuery) -> set[str]:
    """Keys that the query says hold the seed, under names that nobody else could know: they make no variants."""
    texts = {source.text.removeprefix("config.") for source in query.candidates("seed") if not source.constant}
    return {text for text in texts if not is_logging_key(text)}


def kept_config(config: Mapping[str, Any], query: WandbQuery) -> tuple[dict[str, Any], list[str]]:
    """The configuration as it is kept: JSON values, without personal ones unless they are asked for; and what to say of it."""
    plain = {key: value for key, value in config.items() if not str(key).startswith("_wandb")}
    if query.keep_personal:
        return plain, []
    try:
        return clean_settings(plain), []
    except ValueError as error:
        return {}, [f"its configuration is not kept: {error}"]


def _from_name(name: str, query: WandbQuery) -> dict[str, str]:
    """What the user's ``path:`` patterns read in a run's name."""
    for pattern in query.map.paths:
        found = pattern.match(name.split("/"))
        if found:
            return found
    return {}


def _field(key: str, config: Mapping[str, Any], query: WandbQuery, guesses: Guesses) -> Any:  # noqa: ANN401 -- a JSON value
    """The value of one field, or None."""
    candidates = query.candidates(key)
    for source in candidates:
        value = source.text if source.constant else lookup(config, source.text)
        if value is not None and value != "":
            return value
    if candidates or (query.preset is not None and key == "impl"):
        return None
    names = {path.lower(): path for path, _ in reversed(list(flat(config)))}
    last = {path.rsplit(".", 1)[-1]: path for path in names}
    for usual in USUAL_COLUMNS[key]:
        path = names.get(usual) or names.get(last.get(usual, ""))
        value = lookup(config, path) if path else None
        if path and isinstance(value, str | int | float) and value != "":
            guesses.fields.setdefault(key, Expression(path))
            return value
    return None


def lookup(config: Mapping[str, Any], text: str) -> Any:  # noqa: ANN401 -- a JSON value
    """A configuration value by its key; dots reach into nested mappings, and ``config.`` may stand before it.

    >>> lookup({"env": {"name": "Hopper-v4"}, "a.b": 1}, "config.env.name"), lookup({"a.b": 1}, "a.b"), lookup({}, "x")
    ('Hopper-v4', 1, None)
    """
    for key in dict.fromkeys((text, text.removeprefix("config."))):
        if key in config:
            return config[key]
        value: Any = config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            return value
    return None


def flat(config: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """A configuration's values by dotted path, outer ones first, without wandb's own.

    >>> list(flat({"agent": {"name": "mine"}, "rng": 3, "_wandb": {"t": 1}}))
    [('rng', 3), ('agent.name', 'mine')]
    """
    plain = {str(key): value for key, value in config.items() if prefix or not str(key).startswith("_wandb")}
    for key, value in plain.items():
        if not isinstance(value, Mapping):
            yield f"{prefix}{key}", value
    for key, value in plain.items():
        if isinstance(value, Mapping) and depth < 5:
            yield from flat(value, f"{prefix}{key}.", depth + 1)


def _line_count(remote: Any) -> int | None:  # noqa: ANN401
    """W&B's own count of logged rows."""
    count = remote.history_line_count
    return count if isinstance(count, int) and 0 <= count < 2**63 else None


def iso_utc(text: object) -> str | None:
    """A time of W&B as ISO 8601 in UTC.

    >>> iso_utc("2026-01-02T03:04:05Z"), iso_utc("2026-01-02T03:04:05"), iso_utc(None), iso_utc("eh")
    ('2026-01-02T03:04:05+00:00', '2026-01-02T03:04:05+00:00', None, None)
    """
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat(timespec="seconds")


def _missing(key: str, query: WandbQuery) -> str:
    """Why a field is not known."""
    names = {"env": "environment", "algo": "algorithm"}
    candidates = [source.text for source in query.candidates(key)] or list(USUAL_COLUMNS[key])
    return f"its {names[key]} is not known: its configuration has no {' or '.join(candidates)} that is a name"
