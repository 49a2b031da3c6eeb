"""Presets: how a library logs to Weights & Biases, so that ``openrlb fetch sb3`` needs no map.

The packaged ones are in ``presets.toml`` beside this file; a user's ``openrlb.toml`` adds or changes them in
``[wandb.NAME]`` tables with the same keys.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from importlib.resources import files
from typing import Any, cast, get_args

from openrlb.errors import UsageError
from openrlb.sources.metrics import declared
from openrlb.types import Metric, MetricKind, StepUnit

TABLE = "wandb"
"""The table of ``openrlb.toml`` whose tables are presets."""

_KEYS = ("entity", "project", "env", "algo", "seed", "impl", "step", "step_unit", "frames_per_step", "metrics")
_KINDS = get_args(MetricKind)
_UNITS = get_args(StepUnit)


@dataclass(frozen=True, slots=True)
class Preset:
    """How one project logs.

    Attributes:
        name: The name that ``openrlb fetch`` takes.
        entity: The W&B entity, or an empty string where the user names the project.
        project: The W&B project, or an empty string.
        env: Configuration keys of the environment's id, the likeliest first; a quoted text is a constant.
        algo: Configuration keys of the algorithm.
        seed: Configuration keys of the training seed.
        impl: The implementation's name.
        step: The logged key of the x axis; empty where the usual names are tried.
        step_unit: What the steps count.
        frames_per_step: Globs of environments with the frames of one agent step; the first that fits is used.
        metrics: The returns, with what one value is.
    """

    name: str
    entity: str = ""
    project: str = ""
    env: tuple[str, ...] = ()
    algo: tuple[str, ...] = ()
    seed: tuple[str, ...] = ()
    impl: str = ""
    step: str = ""
    step_unit: StepUnit = "unknown"
    frames_per_step: tuple[tuple[str, int], ...] = ()
    metrics: tuple[Metric, ...] = ()

    def frames(self, env: str) -> int | None:
        """Frames of one agent step in an environment, where known.

        >>> load_presets()["cleanrl"].frames("PongNoFrameskip-v4"), load_presets()["cleanrl"].frames("Hopper-v4")
        (4, None)
        """
        return next((frames for glob, frames in self.frames_per_step if fnmatchcase(env, glob)), None)


def load_presets(user: Mapping[str, Any] | None = None) -> dict[str, Preset]:
    """The packaged presets with the user's over them, by name.

    Args:
        user: The ``[wandb]`` table of ``openrlb.toml``: preset names with tables.

    Raises:
        UsageError: A preset that is no table, an unknown key, or a value of the wrong kind; the key is named.

    >>> presets = load_presets({"mine": {"entity": "me", "project": "p", "metrics": {"score": "eval"}}})
    >>> presets["mine"].metrics
    (Metric(name='score', kind='eval', canonical='episodic_return'),)
    >>> presets["sb3"].project, presets["tianshou"].entity
    ('sb3', 'tianshou')
    """
    packaged = tomllib.loads(files("openrlb.sources").joinpath("presets.toml").read_text(encoding="utf-8"))
    tables: dict[str, dict[str, Any]] = dict(packaged)
    for name, table in (user or {}).items():
        if not isinstance(table, Mapping):
            raise _wrong(name, f"it is {table!r}, and a preset is a table", f"write [{TABLE}.{name}] and its keys below it")
        tables[name] = {**tables.get(name, {}), **table}
    return {name: _preset(name, table) for name, table in tables.items()}


def _preset(name: str, table: Mapping[str, Any]) -> Preset:
    """One checked preset."""
    for key in table:
        if key not in _KEYS:
            close = get_close_matches(key, _KEYS, n=1)
            raise _wrong(name, f"it has a key {key!r}", f"did you mean {close[0]}?" if close else f"keys are {', '.join(_KEYS)}")
    unit = _text(name, table, "step_unit") or "unknown"
    if unit not in _UNITS:
        raise _wrong(name, f"step_unit is {unit!r}", f"use one of {', '.join(_UNITS)}")
    return Preset(
        name=name,
        entity=_text(name, table, "entity"),
        project=_text(name, table, "project"),
        env=_texts(name, table, "env"),
        algo=_texts(name, table, "algo"),
        seed=_texts(name, table, "seed"),
        impl=_text(name, table, "impl"),
        step=_text(name, table, "step"),
        step_unit=cast(StepUnit, unit),
        frames_per_step=_frames(name, table.get("frames_per_step", {})),
        metrics=_metrics(name, table.get("metrics", {})),
    )


def _text(name: str, table: Mapping[str, Any], key: str) -> str:
    """A text, or an empty one where the key is absent."""
    value = table.get(key, "")
    if not isinstance(value, str):
        raise _wrong(name, f"{key} is {value!r}", f'write {key} = "text"')
    return value


def _texts(name: str, table: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """One text or a list of them."""
    value = table.get(key, [])
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(item, str) and item for item in listed):
        raise _wrong(name, f"{key} is {value!r}", f'write {key} = ["key"]')
    return tuple(listed)


def _frames(name: str, value: object) -> tuple[tuple[str, int], ...]:
    """Frames of an agent step by glob; a bare number is for every environment."""
    table = {"*": value} if isinstance(value, int) else value
    if not isinstance(table, Mapping) or not all(type(count) is int and count > 0 for count in table.values()):
        raise _wrong(name, f"frames_per_step is {value!r}", 'write frames_per_step = 4, or { "*NoFrameskip-v4" = 4 }')
    return tuple(table.items())


def _metrics(name: str, value: object) -> tuple[Metric, ...]:
    """The metrics table."""
    if not isinstance(value, Mapping):
        raise _wrong(name, f"metrics is {value!r}", 'write metrics = { "eval/return" = "eval" }')
    found = []
    for logged, entry in value.items():
        kind, canonical = (entry.get("kind"), entry.get("canonical")) if isinstance(entry, Mapping) else (entry, None)
        unknown = set(entry) - {"kind", "canonical"} if isinstance(entry, Mapping) else set()
        if kind not in _KINDS or not isinstance(canonical, str | None) or unknown:
            raise _wrong(name, f"metrics.{logged} is {entry!r}", f"say what one value is: {', '.join(_KINDS)}")
        checked = cast(MetricKind, kind)
        found.append(Metric(logged, checked, canonical) if canonical else declared(logged, checked))
    return tuple(found)


def _wrong(name: str, why: str, fix: str) -> UsageError:
    """The error for a preset that cannot be used."""
    return UsageError(f"the preset [{TABLE}.{name}] cannot be used", why, fix)
