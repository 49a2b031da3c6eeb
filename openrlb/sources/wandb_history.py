"""The metrics of a ``.wandb`` file on their axes, each with its own rows: metrics of different rates are never joined."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openrlb.sources.guess import absent, shown, usual
from openrlb.sources.metrics import FRAME_COLUMNS
from openrlb.sources.protocol import Reading
from openrlb.sources.tracked import Series
from openrlb.sources.wandb_log import Log
from openrlb.types import StepUnit

Floats = NDArray[np.float64]
CLOCKS = ("_step", "_runtime", "_timestamp")


def series(log: Log, reading: Reading, notes: list[str]) -> tuple[dict[str, Series], StepUnit]:
    """Every metric on its axis, and what the axis says of its unit.

    The axis is what the map says, else ``global_step``, else what the run defined for the metric, else a column that usually
    is one, else wandb's own row count ``_step``.

    Raises:
        MapError: The map names an axis or a clock that was not logged.
    """
    dense: dict[str, Floats] = {}
    names = [name for name in sorted(log.columns) if name not in CLOCKS and not name.startswith("_wandb")]
    mapped = {name: reading.map.fields[name].text for name in ("step", "time") if name in reading.map.fields}
    for column in mapped.values():
        if column not in log.columns:
            raise absent(column, [*names, *CLOCKS])
    common = mapped.get("step") or ("global_step" if "global_step" in names else None)
    likely = usual("step", names) or "_step"
    clock = _clock(log, mapped.get("time"))
    axes = {name: common or _defined(log, name, names) or likely for name in names}
    used = set(axes.values())
    if axes and used == {"_step"}:
        notes.append("it logged no global_step: its steps are wandb's count of log calls (_step); --map step=NAME names another")
    if len(used) > 1:
        notes.append(f"its metrics stand on several axes, as the run defined them: {shown(sorted(used))}")
    found: dict[str, Series] = {}
    for name in names:
        if name in used:
            continue
        rows, values = _column(log, name)
        axis = axes[name]
        if axis not in dense:
            dense[axis] = _axis(log, axis)
        steps = dense[axis][rows]
        good = np.isfinite(steps) & (np.abs(steps) < 2**62)
        good &= np.equal(steps, np.floor(steps), where=good, out=np.zeros(len(steps), bool))
        if not good.all():
            lost = len(good) - int(good.sum())
            notes.append(f"{name}: {lost:,} of {len(good):,} values stand at no whole {axis} and are left out")
        seconds = None if clock is None else clock[rows[good]]
        times = None if seconds is None or np.isnan(seconds).any() else np.round(seconds * 1000).astype(np.int64)
        found[name] = Series(steps[good].astype(np.int64), values[good], times)
    unit: StepUnit = "frame" if used and all(name.lower() in FRAME_COLUMNS for name in used) else "unknown"
    return found, unit


def _column(log: Log, name: str) -> tuple[NDArray[np.int64], Floats]:
    rows, values = log.columns[name]
    return np.frombuffer(rows, np.int64), np.frombuffer(values, np.float64)


def _dense(log: Log, name: str) -> Floats:
    """A column with a place for every row, NaN where the row has none."""
    found = np.full(log.rows, np.nan)
    if name in log.columns:
        rows, values = _column(log, name)
        found[rows] = values
    return found


def _axis(log: Log, name: str) -> Floats:
    """An axis for every row. Where it always equals ``_step``, a row that lacks it stands at its ``_step``."""
    axis, own = _dense(log, name), _dense(log, "_step")
    there = ~np.isnan(axis)
    return own if there.any() and np.array_equal(axis[there], own[there]) else axis


def _defined(log: Log, name: str, names: list[str]) -> str | None:
    """The axis that the run defined for a metric (``define_metric``), where it was logged."""
    patterns = [pattern for pattern in log.axes if pattern.endswith("*") and name.startswith(pattern[:-1])]
    found = log.axes.get(name) or (log.axes[max(patterns, key=len)] if patterns else None)
    return found if found in names and found != name else None


def _clock(log: Log, mapped: str | None) -> Floats | None:
    """Seconds since the run began for every row, or None where nothing tells."""
    if mapped or "_runtime" in log.columns:
        seconds = _dense(log, mapped or "_runtime")
    elif "_timestamp" in log.columns:
        stamps = _dense(log, "_timestamp")
        finite = stamps[np.isfinite(stamps)]
        if log.started is None and not len(finite):
            return None
        seconds = stamps - (log.started if log.started is not None else float(finite.min()))
    else:
        return None
    return np.where(np.abs(seconds) < 1e12, seconds, np.nan)
