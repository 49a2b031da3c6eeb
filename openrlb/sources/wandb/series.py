"""From a run's history to series of one metric each, on the step axis that the run logged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from openrlb.sources.wandb.history import History
from openrlb.sources.wandb.rows import INTERNAL, RUNTIME, TIMESTAMP, Part
from openrlb.types import Metric, MetricBatch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_STEP = 2**62
EXACT_STEP = 2**53
"""Larger whole numbers than this a float cannot tell apart, and W&B's are floats in its exports."""


def batches(history: History, metrics: Mapping[str, Metric], step_key: str) -> tuple[list[MetricBatch], list[str]]:
    """One batch for each metric that was logged, each with its own rows: metrics of different rates are never joined.

    A row that has the metric but not the step key takes the last step logged before it; one before the first logged step,
    or with a step that is infinite or beyond 2^62, has no place on the axis and is left out. All of it is said.

    Args:
        history: The run's rows.
        metrics: What to take, by logged name.
        step_key: The key of the x axis; empty for ``_step``.

    Returns:
        The batches in the order of ``metrics``, and notes.
    """
    import numpy as np

    notes: list[str] = []
    axis, carried, beyond = _axis(history, step_key, notes)
    clock = _clock(history)
    found = []
    placed = dropped = outside = 0
    for name, metric in metrics.items():
        if name not in history.columns or name == step_key:
            continue
        rows, values = history.columns[name]
        known = ~np.isnan(axis[rows])
        outside += int(beyond[rows].sum())
        dropped += int((~known & ~beyond[rows]).sum())
        rows, values = rows[known], values[known]
        placed += int(carried[rows].sum())
        if not len(rows):
            continue
        times = clock[rows]
        whole = None if np.isnan(times).any() else np.rint(times * 1000).astype(np.int64)
        found.append(MetricBatch(metric, axis[rows].astype(np.int64), np.ascontiguousarray(values), whole))
    if placed:
        notes.append(f"{placed:,} values were logged without {step_key}; they stand at the last one logged before them")
    if dropped:
        notes.append(f"{dropped:,} values before the first {step_key} were left out: they have no step")
    if outside:
        notes.append(f"{outside:,} values were left out: their {step_key} is infinite or beyond 2^62")
    return found, notes


def _axis(history: History, step_key: str, notes: list[str]) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """The step of each row (NaN where it has none), whether it was carried on from a row before, and whether it is no step."""
    import numpy as np

    size = len(history.steps)
    if step_key not in history.columns:
        name = f"no {step_key} was logged" if step_key else "no step was logged"
        notes.append(f"{name}: x is wandb's own _step, which counts log calls")
        return history.steps.astype(np.float64), np.zeros(size, np.bool_), np.zeros(size, np.bool_)
    rows, values = history.columns[step_key]
    beyond = np.zeros(size, np.bool_)
    beyond[rows] = np.isinf(values) | (np.abs(values) >= MAX_STEP)
    usable = np.isfinite(values) & (np.abs(values) < MAX_STEP)
    rows, values = rows[usable], values[usable]
    if (values != np.floor(values)).any():
        notes.append(f"{step_key} holds values that are not whole; they were rounded down")
    if (np.abs(values) > EXACT_STEP).any():
        notes.append(f"{step_key} goes beyond 2^53, where neighbouring steps become one")
    own = np.zeros(size, np.bool_)
    own[rows] = True
    axis = np.full(size, np.nan)
    axis[rows] = np.floor(values)
    before = np.maximum.accumulate(np.where(own, np.arange(size), -1)) if size else np.zeros(0, np.int64)
    filled = np.where((before >= 0) & ~beyond, axis[before], np.nan)
    return filled, ~own, beyond


def _clock(part: Part) -> NDArray[np.float64]:
    """Seconds since the run began for each row; NaN where no clock was logged."""
    import numpy as np

    clock = np.full(len(part.steps), np.nan)
    stamps = np.full(len(part.steps), np.nan)
    for name, into in ((RUNTIME, clock), (TIMESTAMP, stamps)):
        if name in part.columns:
            rows, values = part.columns[name]
            into[rows] = np.where(np.isfinite(values), values, np.nan)
    both = ~np.isnan(clock) & ~np.isnan(stamps)
    if np.isnan(clock).any() and not np.isnan(stamps).all():
        began = np.median((stamps - clock)[both]) if both.any() else np.nanmin(stamps)
        clock = np.where(np.isnan(clock), stamps - began, clock)
    return np.where(np.abs(clock) < MAX_STEP / 1000, clock, np.nan)


def system_batches(events: Part, history: History, step_key: str) -> list[MetricBatch]:
    """The hardware metrics, of kind ``system``: exact in time, and at the last training step logged before each of them."""
    import numpy as np

    axis, _, _ = _axis(history, step_key, [])
    clock, moments = _clock(history), _clock(events)
    timed = np.flatnonzero(~np.isnan(clock) & ~np.isnan(axis))
    found = []
    for name, (rows, values) in sorted(events.columns.items()):
        if name in INTERNAL:
            continue
        steps = np.zeros(len(rows), np.int64)
        if len(timed):
            before = np.searchsorted(clock[timed], moments[rows], side="right") - 1
            steps = np.where(before >= 0, axis[timed][np.maximum(before, 0)], 0).astype(np.int64)
        whole = None if np.isnan(moments[rows]).any() else np.rint(moments[rows] * 1000).astype(np.int64)
        found.append(MetricBatch(Metric(name, "system"), steps, values, whole))
    return found
