"""Runs of one implementation on the same seeds: differences within pairs, which share what the seed decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from openrlb_analysis.aggregates import AGGREGATES
from openrlb_analysis.bootstrap import Draws, Statistic, draw_runs
from openrlb_analysis.intervals import interval_of
from openrlb_analysis.power import parts_of
from openrlb_analysis.result import IntervalMethod

if TYPE_CHECKING:
    from openrlb.types import Values


def paired_interval(
    first: Sequence[Values], second: Sequence[Values], name: str, method: IntervalMethod
) -> tuple[float, float] | None:
    """The interval of the difference of an aggregate between two groups whose runs are pairs: pairs are resampled whole.

    Args:
        first: One array of finite scores for each environment.
        second: The same of the other group; run i of an environment belongs to run i of ``first``.
        name: The aggregate.
        method: How.

    Returns:
        The ends, or None where an environment has fewer pairs than ``method.fewest``.

    >>> method = IntervalMethod("calibrated", 0.95, 1000, 0)
    >>> paired_interval([np.array([1.0, 5.0, 9.0])], [np.array([0.0, 4.0, 8.0])], "mean", method)
    (1.0, 1.0)
    """
    sizes = [len(scores) for scores in first]
    if not sizes or min(sizes) < method.fewest:
        return None
    orders = [np.lexsort((two, one)) for one, two in zip(first, second, strict=True)]  # the order of seeds changes nothing
    groups = [[scores[order] for scores, order in zip(tasks, orders, strict=True)] for tasks in (first, second)]
    statistics = [Statistic(name, tasks) for tasks in groups]
    draws = [statistics[0].of(drawn) - statistics[1].of(drawn) for drawn in draw_runs(sizes, method.resamples, method.seed)]
    apart = paired_parts(name, *groups)
    estimate = AGGREGATES[name](groups[0]) - AGGREGATES[name](groups[1])
    return interval_of(estimate, Draws(np.concatenate(draws)), apart, method)


def paired_parts(name: str, first: Sequence[Values], second: Sequence[Values]) -> list[Values]:
    """What each pair contributes to the difference of an aggregate, environment by environment.

    >>> [part.tolist() for part in paired_parts("mean", [np.array([1.0, 3.0])], [np.array([0.5, 0.5])])]
    [[0.5, 2.5]]
    """
    return [one - other for one, other in zip(parts_of(name, first), parts_of(name, second), strict=True)]


def seed_correlation(first: Sequence[Values], second: Sequence[Values]) -> float | None:
    """How much two groups' scores on the same seeds go together: Pearson's correlation within environments.

    Near 0, pairing wins nothing; below 0 it widens the interval.

    Returns:
        None where one group's scores do not differ within any environment.

    >>> round(seed_correlation([np.array([1.0, 2.0, 3.0])], [np.array([2.0, 4.0, 7.0])]), 3)
    0.993
    """
    ones = np.concatenate([scores - scores.mean() for scores in first])
    others = np.concatenate([scores - scores.mean() for scores in second])
    scale = float(np.sqrt((ones**2).sum() * (others**2).sum()))
    return float(np.clip((ones * others).sum() / scale, -1.0, 1.0)) if scale > 0 else None
