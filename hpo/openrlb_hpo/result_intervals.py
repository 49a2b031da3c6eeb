"""Intervals of a study's scores: openrlb_analysis's own, and where all runs are equal what an unseen run could do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from openrlb_analysis.bounded import clopper_pearson, difference_of, mean_of
from openrlb_analysis.intervals import bootstrap_interval, difference_interval
from openrlb_analysis.result import IntervalMethod

if TYPE_CHECKING:
    from openrlb.types import Values

Ends = tuple[float, float]


def mean_interval(
    tasks: Sequence[Values], ranges: Sequence[Ends | None], method: IntervalMethod, bounds: Ends | None = None
) -> Ends | None:
    """The interval of the mean over environments of each environment's mean score.

    Args:
        tasks: One array of finite scores for each environment, each of shape ``(n_e,)``.
        ranges: The worst and the best score that the study has of each environment, on the same scale.
        method: How.
        bounds: The worst and the best score that there can be, or None.

    Returns:
        The ends; None with too few runs, or where every run of the study scored the same.

    >>> from openrlb_analysis.intervals import interval_method
    >>> how = interval_method("calibrated", 0.95, 1000, 0)
    >>> low, high = mean_interval([np.full(10, 500.0)], [(0.0, 500.0)], how)
    >>> round(low), high
    (346, 500.0)
    """
    if equal_runs(tasks):
        return ceiling_interval(tasks, ranges, method)
    return bootstrap_interval(tasks, "mean", method, _holding(bounds, tasks))


def mean_difference_interval(
    first: Sequence[Values],
    second: Sequence[Values],
    ranges: Sequence[Ends | None],
    method: IntervalMethod,
    bounds: Ends | None = None,
) -> Ends | None:
    """The interval of the difference of two such means of independent runs, the first less the second.

    Args:
        first: One array of finite scores for each environment.
        second: The same of the other side.
        ranges: As in :func:`mean_interval`.
        method: How.
        bounds: As in :func:`mean_interval`.

    Returns:
        The ends; None with too few runs on either side, or where no run of the study differs from another.
    """
    if not (equal_runs(first) and equal_runs(second)):
        return difference_interval(first, second, "mean", method, _holding(bounds, [*first, *second]))
    sides = []
    for tasks in (first, second):
        ends = ceiling_interval(tasks, ranges, method)
        if ends is None:
            return None
        sides.append((float(np.mean([scores[0] for scores in tasks])), *ends))
    low, high = difference_of(sides[0], sides[1])
    return float(low), float(high)


def _holding(bounds: Ends | None, tasks: Sequence[Values]) -> Ends | None:
    """Bounds, if every score lies between them: an environment's arguments may have changed its rewards."""
    if bounds is None or any(scores.min() < bounds[0] or scores.max() > bounds[1] for scores in tasks):
        return None
    return bounds


def equal_runs(tasks: Sequence[Values]) -> bool:
    """Whether the runs of each environment are all equal, so that they show no spread at all.

    >>> equal_runs([np.array([1.0, 1.0]), np.array([2.0])]), equal_runs([np.array([1.0, 2.0])])
    (True, False)
    """
    return all(len(scores) > 0 and bool(scores.min() == scores.max()) for scores in tasks)


def ceiling_interval(tasks: Sequence[Values], ranges: Sequence[Ends | None], method: IntervalMethod) -> Ends | None:
    """An interval from runs that are all equal, as at an environment's ceiling: a bootstrap would say "exactly this".

    Of n equal runs the exact limit of the share of runs that differ is Clopper and Pearson's (1934), ``1 - ((1 - level) /
    2) ** (1 / n)``. The interval reaches as far as the mean would lie if so many runs had the worst score, or the best
    one, that the study has seen in that environment; environments go together by square and add
    (:func:`openrlb_analysis.bounded.mean_of`). A run may be worse than any that the study has seen.

    Args:
        tasks: One array of equal scores for each environment.
        ranges: The worst and the best score that the study has of each environment, on the same scale.
        method: Whose level and fewest runs count.

    Returns:
        The ends; None with too few runs, or where the study has no other score.
    """
    if min(len(scores) for scores in tasks) < method.fewest:
        return None
    values = np.array([scores[0] for scores in tasks])
    shares = np.array([float(clopper_pearson(0, len(scores), method.level)[1]) for scores in tasks])
    known = [ends if ends is not None else (value, value) for ends, value in zip(ranges, values.tolist(), strict=True)]
    worst, best = (np.array([ends[side] for ends in known]) for side in (0, 1))
    low, high = mean_of(values, values - shares * (values - worst), values + shares * (best - values))
    return None if low == high else (float(low), float(high))
