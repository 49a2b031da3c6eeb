"""Intervals of bounded quantities from few runs: they stay in their bounds and have a width at full separation.

A bootstrap of five runs that all succeeded says "exactly 1"; these say what five successes can show. Fractions use the
score interval (Wilson 1927) or the exact one (Clopper and Pearson 1934), the probability of improvement Newcombe's
interval for the Mann-Whitney statistic (Newcombe 2006, "Confidence intervals for an effect size measure based on the
Mann-Whitney statistic", part 2, method 5), and means over environments as well as differences are composed of such
intervals by the square-and-add rule (Zou and Donner 2008, "Construction of confidence limits about effect measures").
Over many environments square and add leaves skewness out and covers too little (docs/coverage.md); the calibrated
bootstrap has it but sees nothing at full separation. The ends for figures are therefore the wider of the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from openrlb.errors import UsageError
from openrlb_analysis.aggregates import GAMMA
from openrlb_analysis.calibration import calibrated_ends, spread
from openrlb_analysis.quantiles import normal_quantile

if TYPE_CHECKING:
    from openrlb.types import Values


def wilson(successes: Values | float, trials: Values | float, level: float = 0.95) -> tuple[Values, Values]:
    """Wilson's score interval of a fraction; close to its level on average over fractions, at few trials too.

    Args:
        successes: How many of the trials succeeded, 0 to ``trials``.
        trials: How many there were, at least 1.
        level: The nominal coverage.

    Returns:
        The ends, elementwise.

    >>> low, high = wilson(5, 5)
    >>> round(float(low), 3), float(high)
    (0.566, 1.0)
    """
    counts, total = _checked(successes, trials)
    square = normal_quantile(0.5 + level / 2.0) ** 2
    middle = (counts + square / 2.0) / (total + square)
    half = np.sqrt(square * (counts * (total - counts) / total + square / 4.0)) / (total + square)
    low = np.where(counts == 0, 0.0, np.maximum(middle - half, 0.0))
    return low, np.where(counts == total, 1.0, np.minimum(middle + half, 1.0))


def clopper_pearson(successes: Values | float, trials: Values | float, level: float = 0.95) -> tuple[Values, Values]:
    """The exact interval of a fraction: never below its level, wider than :func:`wilson`.

    Args:
        successes: How many of the trials succeeded, 0 to ``trials``.
        trials: How many there were, at least 1.
        level: The nominal coverage.

    Returns:
        The ends, elementwise.

    >>> low, high = clopper_pearson(0, 5)
    >>> float(low), round(float(high), 3)
    (0.0, 0.522)
    """
    from scipy.special import betaincinv

    counts, total = _checked(successes, trials)
    outside = (1.0 - level) / 2.0
    with np.errstate(invalid="ignore"):
        low = np.where(counts == 0, 0.0, betaincinv(np.maximum(counts, 1), total - counts + 1, outside))
        high = np.where(counts == total, 1.0, betaincinv(counts + 1, np.maximum(total - counts, 1), 1.0 - outside))
    return low, high


def _checked(successes: Values | float, trials: Values | float) -> tuple[Values, Values]:
    """Both as arrays of doubles.

    Raises:
        UsageError: More successes than trials, fewer than none, or no trial.
    """
    counts, total = np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    if not (np.all(total >= 1) and np.all(counts >= 0) and np.all(counts <= total)):
        why = "successes lie between 0 and the trials, of which there is at least one"
        raise UsageError("no such fraction", why, "count again")
    return counts, total


def improvement_interval(estimate: Values | float, first: int, second: int, level: float = 0.95) -> tuple[Values, Values]:
    """Newcombe's interval of the probability that a run of one group beats a run of another, in one environment.

    It solves ``|theta - estimate| = z sqrt(V(theta))`` with Hanley and McNeil's variance under exponential scores, their
    two group sizes replaced by the mean one: ``V = theta (1 - theta) (1 + N ((1 - theta) / (2 - theta)
    + theta / (1 + theta))) / (first * second)``, ``N = (first + second) / 2 - 1``.

    Args:
        estimate: The share of pairs of runs in which the first group's is higher, equal ones counted half.
        first: Runs of the first group.
        second: Runs of the second.
        level: The nominal coverage.

    Raises:
        UsageError: No probability, or a group without runs.

    Returns:
        The ends, elementwise, within [0, 1]; with 5 against 5 runs fully apart the lower end is about 0.6.

    >>> low, high = improvement_interval(1.0, 5, 5)
    >>> 0.5 < float(low) < 0.7, float(high)
    (True, 1.0)
    """
    found = np.asarray(estimate, dtype=np.float64)
    if first < 1 or second < 1 or not np.all((found >= 0) & (found <= 1)):
        why = "it lies between 0 and 1, over at least one run on each side"
        raise UsageError("no such probability of improvement", why, "count again")
    normal, more = normal_quantile(0.5 + level / 2.0), (first + second) / 2.0 - 1.0

    values, where = np.unique(found, return_inverse=True)  # few different ones: n x m pairs have so many shares

    def believed(theta: Values) -> Values:
        """Whether theta is not too far from the estimate."""
        inner = 1.0 + more * ((1.0 - theta) / (2.0 - theta) + theta / (1.0 + theta))
        return np.asarray((theta - values) ** 2 <= normal**2 * theta * (1.0 - theta) * inner / (first * second))

    ends = []
    for bound in (0.0, 1.0):
        inside, beyond = values.copy(), np.full_like(values, bound)
        for _ in range(50):  # halving: belief ends once between the estimate and the bound
            middle = (inside + beyond) / 2.0
            near = believed(middle)
            inside, beyond = np.where(near, middle, inside), np.where(near, beyond, middle)
        ends.append(np.where(values == bound, bound, inside)[where].reshape(found.shape))
    return ends[0], ends[1]


def mean_of(estimates: Values, lows: Values, highs: Values) -> tuple[Values, Values]:
    """The interval of a mean over environments, from each environment's own interval (square and add).

    Args:
        estimates: One estimate for each environment, shape ``(..., environments)``.
        lows: Their intervals' lower ends.
        highs: Their upper ends.

    Returns:
        The ends, shape ``(...,)``; within the bounds of the parts.

    >>> low, high = mean_of(np.array([1.0, 1.0]), np.array([0.4, 0.4]), np.array([1.0, 1.0]))
    >>> round(float(low), 3), float(high)
    (0.576, 1.0)
    """
    centre, envs = estimates.mean(axis=-1), estimates.shape[-1]
    below = np.sqrt(((estimates - lows) ** 2).sum(axis=-1)) / envs
    above = np.sqrt(((highs - estimates) ** 2).sum(axis=-1)) / envs
    return np.asarray(centre - below), np.asarray(centre + above)


def fraction_ends(above: Values, sizes: Sequence[int], low: Values, high: Values, level: float = 0.95) -> tuple[Values, Values]:
    """The interval of a fraction of runs, environments weighing the same.

    Of one environment's runs it is the exact binomial one, for there the count is binomial and a t factor on its resamples
    would reach from 0 to 1 at five runs. Over several it is Wilson's or the calibrated, whichever is wider.

    Args:
        above: Which runs count (1 or True), environment by environment, shape ``(..., sum(sizes))``.
        sizes: Runs in each environment.
        low: The lower quantile of the fraction's resamples at ``(1 - level) / 2``, shape ``(...,)``.
        high: The upper one.
        level: The nominal coverage.

    Returns:
        The ends, within [0, 1].

    >>> low, high = fraction_ends(np.array([1.0, 1.0, 1.0, 1.0, 0.0]), [5], np.array(0.4), np.array(1.0))
    >>> round(float(low), 3), round(float(high), 3)
    (0.284, 0.995)
    """
    counted = np.asarray(above, dtype=np.float64)
    if len(sizes) == 1:
        return clopper_pearson(counted.sum(axis=-1), sizes[0], level)
    counts = np.add.reduceat(counted, np.cumsum(sizes) - np.asarray(sizes), axis=-1)
    fractions, estimate = counts / np.asarray(sizes), (counts / np.asarray(sizes)).mean(axis=-1)
    exact = mean_of(fractions, *wilson(counts, np.asarray(sizes), level))
    if min(sizes) < 2:
        return exact
    resampled = calibrated_ends(estimate, estimate, low, high, spread(counted / len(sizes), sizes), level)
    return _wider(exact, resampled)


def newcombe_ends(wins: Sequence[Values], level: float = 0.95) -> tuple[Values, Values]:
    """The interval of the mean probability of improvement by square and add of the environments' own alone.

    Args:
        wins: As in :func:`improvement_ends`.
        level: The nominal coverage.

    >>> low, high = newcombe_ends([np.ones((5, 5)), np.ones((3, 3))])
    >>> 0.6 < float(low) < 0.8, float(high)
    (True, 1.0)
    """
    estimates = np.stack([won.mean(axis=(-2, -1)) for won in wins], axis=-1)
    shapes = np.array([won.shape[-2:] for won in wins])
    lows, highs = np.empty_like(estimates), np.empty_like(estimates)
    for first, second in np.unique(shapes, axis=0).tolist():
        same = np.all(shapes == (first, second), axis=1)
        lows[..., same], highs[..., same] = improvement_interval(estimates[..., same], first, second, level)
    return mean_of(estimates, lows, highs)


def improvement_ends(
    wins: Sequence[Values], centre: Values | float, low: Values | float, high: Values | float, level: float = 0.95
) -> tuple[Values, Values]:
    """The interval of the probability of improvement over environments: Newcombe's or the calibrated, whichever is wider.

    Args:
        wins: For each environment who wins each pair: 1 where the first group's run is higher, 0.5 where they are equal,
            shape ``(..., first's runs, second's runs)``.
        centre: The mean of the resampled probabilities, shape ``(...,)``.
        low: Their lower quantile at ``(1 - level) / 2``.
        high: Their upper one.
        level: The nominal coverage.

    Returns:
        The ends, within [0, 1].

    >>> low, high = improvement_ends([np.ones((5, 5))], 1.0, 1.0, 1.0)
    >>> 0.5 < float(low) < 0.7, float(high)
    (True, 1.0)
    """
    estimates = np.stack([won.mean(axis=(-2, -1)) for won in wins], axis=-1)
    exact = newcombe_ends(wins, level)
    parts = [won.mean(axis=axis) / len(wins) for won in wins for axis in (-1, -2)]
    sizes = [part.shape[-1] for part in parts]
    if min(sizes) < 2:
        return exact
    found = spread(np.concatenate(parts, axis=-1), sizes)
    return _wider(exact, calibrated_ends(estimates.mean(axis=-1), centre, low, high, found, level))


def _wider(first: tuple[Values, Values], second: tuple[Values, Values]) -> tuple[Values, Values]:
    """On each side the end that is farther out, within [0, 1]."""
    low, high = np.minimum(first[0], second[0]), np.maximum(first[1], second[1])
    return np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0)


def difference_of(
    first: tuple[Values | float, Values | float, Values | float], second: tuple[Values | float, Values | float, Values | float]
) -> tuple[Values, Values]:
    """The interval of a difference of independent estimates, each given as (estimate, low, high), by square and add.

    >>> low, high = difference_of((1.0, 0.5, 1.0), (0.25, 0.25, 0.25))
    >>> float(low), float(high)
    (0.25, 0.75)
    """
    between = np.subtract(first[0], second[0])
    low = between - np.hypot(np.subtract(first[0], first[1]), np.subtract(second[2], second[0]))
    return low, between + np.hypot(np.subtract(first[2], first[0]), np.subtract(second[0], second[1]))


def ceiling_gap(sizes: Sequence[int], level: float = 0.95) -> float:
    """The upper end of an optimality gap of which no run shows anything, because all reach gamma.

    The gap is then at most the probability of falling short, if no score is below 0 (a random agent's, normalised).
    Clopper and Pearson's limit of that probability, averaged over environments, is largest where it is equal in all of
    them: ``1 - ((1 - level) / 2) ** (1 / N)``; N counts the runs as if every environment had as many as the one with the
    fewest, which makes it a little larger than needed where they are unequal.

    Args:
        sizes: Runs in each environment.
        level: The nominal coverage.

    >>> round(ceiling_gap([5]), 3), round(ceiling_gap([5] * 26), 3)
    (0.522, 0.028)
    """
    return GAMMA * unseen_share("optimality-gap", sizes, level)


def unseen_share(name: str, sizes: Sequence[int], level: float = 0.95) -> float:
    """How far an aggregate may lie from the one score that all runs have, as a share of the way to the bound.

    The runs that were not seen may lie at the bound with the probability p of :func:`ceiling_gap`. A mean then lies p of the
    way from the runs' score, an interquartile mean only what p reaches of the middle half, ``(p - 1/4) / (1/2)``, and a
    median over environments what half the environments (the fewest that can move it) may hide.

    Args:
        name: The aggregate.
        sizes: Runs in each environment.
        level: The nominal coverage.

    >>> [round(unseen_share(name, [5, 5]), 3) for name in ("mean", "iqm", "median")]
    [0.308, 0.117, 0.522]
    """
    envs = (len(sizes) + 1) // 2 if name == "median" else len(sizes)
    hidden = float(1.0 - ((1.0 - level) / 2.0) ** (1.0 / (min(sizes) * envs)))
    return min(max(2.0 * hidden - 0.5, 0.0), 1.0) if name == "iqm" else hidden
