"""Intervals: from resampled values to a lower and an upper end, and what a reader must know about them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from openrlb.errors import UsageError
from openrlb_analysis.bootstrap import bootstrap
from openrlb_analysis.result import IntervalMethod

if TYPE_CHECKING:
    from openrlb.types import Values

METHODS = ("percentile",)
FEW_RUNS = 10
"""Below so many runs the percentile interval covers less than it says (68 to 92 % at 3 to 5 runs where 95 % is meant)."""


def interval_method(method: str, level: float, resamples: int, seed: int) -> IntervalMethod:
    """Checks how intervals shall be computed.

    Raises:
        UsageError: An unknown method, or a level, number of resamples or seed that has no meaning.

    >>> interval_method("percentile", 0.95, 50_000, 0).level
    0.95
    """
    if method not in METHODS:
        raise UsageError(f"no interval method {method!r}", "the methods are " + ", ".join(METHODS), "try --interval percentile")
    if not 0.0 < level < 1.0:
        raise UsageError(f"a coverage of {level:g} has no meaning", "the level lies between 0 and 1", "try --level 0.95")
    if resamples < 1:
        raise UsageError(f"{resamples} resamples give no interval", "at least 1 is needed", "leave the default of 50000")
    if seed < 0:
        raise UsageError(f"{seed} is no seed", "a seed is 0 or larger", "try --bootstrap-seed 0")
    return IntervalMethod(method, level, resamples, seed)


def tails(level: float) -> tuple[float, float]:
    """The two probabilities between which an interval of this level lies.

    >>> tails(0.9)
    (0.05, 0.95)
    """
    outside = round((1.0 - level) / 2.0, 12)
    return outside, 1.0 - outside


def bootstrap_interval(tasks: Sequence[Values], name: str, method: IntervalMethod) -> tuple[float, float] | None:
    """The interval of an aggregate, or None where an environment has a single run: one run says nothing of its spread.

    The percentile interval (Efron 1979) lies between two quantiles of the resampled values, interpolated linearly.

    Args:
        tasks: One array of finite scores for each environment, each of shape ``(n_e,)``.
        name: The aggregate.
        method: How; checked by :func:`interval_method`.

    >>> bootstrap_interval([np.array([1.0])], "mean", interval_method("percentile", 0.95, 100, 0)) is None
    True
    """
    if not tasks or min(len(scores) for scores in tasks) < 2:
        return None
    draws = bootstrap(tasks, [name], resamples=method.resamples, seed=method.seed)[name]
    low, high = np.quantile(draws, tails(method.level))
    return float(low), float(high)


def interval_note(method: str, runs: Iterable[int]) -> str:
    """What the output says beside the intervals.

    Args:
        method: The method's name.
        runs: How many runs stand behind each (group, environment).

    >>> interval_note("percentile", [10, 5])
    'percentile, too narrow below 10 seeds'
    >>> interval_note("percentile", [10, 12])
    'percentile'
    """
    return f"{method}, too narrow below {FEW_RUNS} seeds" if min(runs, default=FEW_RUNS) < FEW_RUNS else method
