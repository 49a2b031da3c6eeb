"""Two trainings of one run, row by row: are they the same, and where do they part?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from openrlb.types import Curve, RunBatch, Steps, Values

Rows: TypeAlias = "Mapping[str, tuple[Steps, Values]]"
"""Steps, ascending, and values of each metric that is compared, by its name."""

JUDGED = ("episode", "eval")
"""The kinds of metrics that are compared: raw episodes, of training and of evaluation."""


@dataclass(frozen=True, slots=True)
class FirstDifference:
    """The earliest row in which two trainings differ.

    Attributes:
        metric: What was logged.
        row: The row's number among the metric's rows, from 0.
        step: Its training step: the stored row's, or today's where none was stored.
        stored: The stored value; None where there is no such row.
        now: Today's value; None where there is no such row. Equal to ``stored`` where only the step differs.
        step_now: Today's step; None where there is no such row.
    """

    metric: str
    row: int
    step: int
    stored: float | None
    now: float | None
    step_now: int | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a row-by-row comparison found.

    Attributes:
        rows: How many stored rows of each metric were compared.
        first_difference: Where the two part, or None where every row is the same.
    """

    rows: Mapping[str, int]
    first_difference: FirstDifference | None


def rows_of_curves(curves: Sequence[Curve]) -> Rows:
    """The episodes and evaluations among a stored run's curves; other kinds are left alone."""
    return {curve.metric.name: (curve.steps, curve.values) for curve in curves if curve.metric.kind in JUDGED}


def rows_of_batch(batch: RunBatch) -> Rows:
    """The same of a run that is not read from the store: by step, and within a step as logged."""
    import numpy as np

    rows = {}
    for one in batch.metrics:
        if one.metric.kind in JUDGED:
            order = np.argsort(one.steps, kind="stable")
            rows[one.metric.name] = (one.steps[order], one.values[order])
    return rows


def compare(stored: Rows, now: Rows, *, until: int | None = None, partial: bool = False) -> Comparison:
    """Compares the episodes and evaluations of two trainings, every step and every value with all its bits.

    Rows that one training wrote and the other did not are a difference. NaN equals NaN.

    Args:
        stored: The stored run's rows.
        now: The new run's rows.
        until: The last step to compare.
        partial: True where the stored run was ended from outside, so that rows beyond its last are no difference.
    """
    before, after = _until(stored, until), _until(now, until)
    rows = {name: len(steps) for name, (steps, _) in before.items()}
    found = [_first(name, before.get(name), after.get(name), partial) for name in sorted({*before, *after})]
    parted = [one for one in found if one is not None]
    return Comparison(rows, min(parted, key=lambda one: (one.step, one.row), default=None))


def _until(rows: Rows, until: int | None) -> Rows:
    """The rows up to a step."""
    if until is None:
        return rows
    return {name: (steps[steps <= until], values[steps <= until]) for name, (steps, values) in rows.items()}


def _first(
    metric: str, stored: tuple[Steps, Values] | None, now: tuple[Steps, Values] | None, partial: bool
) -> FirstDifference | None:
    """The first row of one metric that differs."""
    import numpy as np

    empty = (np.zeros(0, np.int64), np.zeros(0, np.float64))
    (steps, values), (steps_now, values_now) = stored or empty, now or empty
    shared = min(len(steps), len(steps_now))
    bits, bits_now = (np.ascontiguousarray(one[:shared], np.float64).view(np.int64) for one in (values, values_now))
    both_nan = np.isnan(values[:shared]) & np.isnan(values_now[:shared])
    differ = np.flatnonzero((steps[:shared] != steps_now[:shared]) | ((bits != bits_now) & ~both_nan))
    if len(differ):
        row = int(differ[0])
        return FirstDifference(metric, row, int(steps[row]), float(values[row]), float(values_now[row]), int(steps_now[row]))
    if len(steps) > shared:
        return FirstDifference(metric, shared, int(steps[shared]), float(values[shared]), None, None)
    if len(steps_now) > shared and not partial:
        step = int(steps_now[shared])
        return FirstDifference(metric, shared, step, None, float(values_now[shared]), step)
    return None
