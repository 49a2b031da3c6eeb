"""Tests and effect sizes that stand beside a verdict, never for it: Welch's t, a permutation test, Hedges' g.

Every function takes two groups, each as one array of scores per environment; environments weigh the same. Paired scores
are those where the arrays of an environment are equally long and run i of one belongs to run i of the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from openrlb.types import Values

MOST_ARRANGEMENTS = 10_000
"""Up to so many arrangements all of them are looked at; of more, this many random ones."""

_NODES = 200
_NEVER = 1e-17
_FAR = 9.0
"""A normal number lies farther out with a probability of 1e-19."""
_SLACK = 1e-10
"""Differences that are equal but for rounding count as equal."""


@dataclass(frozen=True, slots=True)
class TTest:
    """Student's t of a difference in means.

    Attributes:
        name: ``welch`` for independent runs, ``paired`` for pairs.
        t: The difference over its standard error.
        degrees: Degrees of freedom.
        p: The two-sided p-value.
    """

    name: str
    t: float
    degrees: float
    p: float


@dataclass(frozen=True, slots=True)
class Permutation:
    """A permutation test of the difference in means.

    Attributes:
        p: The two-sided p-value.
        smallest: The smallest p-value that so few runs can reach: where it lies above 0.05 the test can never reject.
        arrangements: How many arrangements of the runs were looked at.
        exact: True where these are all there are.
    """

    p: float
    smallest: float
    arrangements: int
    exact: bool


@dataclass(frozen=True, slots=True)
class EffectSize:
    """Hedges' g: the difference in means over the runs' common standard deviation, averaged over environments.

    Attributes:
        g: The effect size.
        low: The lower end of its interval, None where there is none.
        high: The upper end.
    """

    g: float
    low: float | None
    high: float | None


def t_test(first: Sequence[Values], second: Sequence[Values], *, paired: bool = False) -> TTest | None:
    """Welch's t test of the difference between two groups' means over environments, or the paired t test.

    With one environment it is Welch's (1947, Biometrika 34); with several the variance of the mean over environments is
    the sum of theirs, and Satterthwaite's (1946, Biometrics Bulletin 2) degrees of freedom are those of that sum.

    Args:
        first: One array of scores for each environment.
        second: The same of the other group.
        paired: Run i of one group belongs to run i of the other.

    Returns:
        None where a variance is unknown (one run) or all are 0.

    >>> found = t_test([np.array([1.0, 2.0, 3.0])], [np.array([4.0, 5.0, 6.0])])
    >>> found is not None and (round(found.t, 4), round(found.degrees, 4), round(found.p, 4))
    (-3.6742, 4.0, 0.0213)
    """
    from scipy.special import stdtr

    cells = [one - other for one, other in zip(first, second, strict=True)] if paired else [*first, *second]
    if min(len(cell) for cell in cells) < 2:
        return None
    parts = np.array([float(cell.var(ddof=1)) / len(cell) for cell in cells]) / len(first) ** 2
    if not parts.sum() > 0:
        return None
    degrees = float(parts.sum() ** 2 / sum(part**2 / (len(cell) - 1) for part, cell in zip(parts, cells, strict=True)))
    t = mean_difference(first, second) / math.sqrt(parts.sum())
    return TTest("paired" if paired else "welch", t, degrees, float(2.0 * stdtr(degrees, -abs(t))))


def mean_difference(first: Sequence[Values], second: Sequence[Values]) -> float:
    """The mean over environments of the difference between two groups' mean scores.

    >>> mean_difference([np.array([1.0, 3.0])], [np.array([0.5])])
    1.5
    """
    return float(np.mean([one.mean() - other.mean() for one, other in zip(first, second, strict=True)]))


def permutation(
    first: Sequence[Values],
    second: Sequence[Values],
    *,
    paired: bool = False,
    arrangements: int = MOST_ARRANGEMENTS,
    seed: int = 0,
) -> Permutation:
    """Permutes the runs between the groups within each environment; for pairs, within each pair.

    All arrangements are enumerated where they are few (one environment, or pairs), as Fisher (1935, "The Design of
    Experiments", section 21) did; else random ones are drawn and the observed one counts among them (Phipson and Smyth
    2010, "Permutation p-values should never be zero").

    Args:
        first: One array of scores for each environment.
        second: The same of the other group.
        paired: Run i of one group belongs to run i of the other.
        arrangements: How many arrangements at most.
        seed: Seed of the random ones.

    >>> found = permutation([np.array([1.0, 2.0, 3.0])], [np.array([4.0, 5.0, 6.0])])
    >>> found.p, found.smallest, found.arrangements, found.exact
    (0.1, 0.1, 20, True)
    """
    observed = abs(mean_difference(first, second))
    generator = np.random.default_rng(seed)
    if paired:
        found, exact = _flipped(first, second, arrangements, generator)
    else:
        found, exact = _exchanged(first, second, arrangements, generator)
    found = np.abs(found)
    slack = _SLACK * max(float(found.max()), observed, 1e-300)
    reached = int(np.count_nonzero(found >= observed - slack))
    if exact:
        extreme = int(np.count_nonzero(found >= found.max() - slack))
        return Permutation(reached / len(found), extreme / len(found), len(found), True)
    return Permutation((reached + 1) / (len(found) + 1), 1 / (len(found) + 1), len(found), False)


def _exchanged(
    first: Sequence[Values], second: Sequence[Values], most: int, generator: np.random.Generator
) -> tuple[Values, bool]:
    """Differences in means with the runs dealt to the groups anew, and whether these are all arrangements."""
    if len(first) == 1 and math.comb(len(first[0]) + len(second[0]), len(first[0])) <= most:
        joined, size = np.concatenate([first[0], second[0]]), len(first[0])
        chosen = np.array(list(combinations(range(len(joined)), size)))
        sums = joined[chosen].sum(axis=1)
        return sums / size - (joined.sum() - sums) / (len(joined) - size), True
    total = np.zeros(most)
    for one, other in zip(first, second, strict=True):
        joined, size = np.concatenate([one, other]), len(one)
        dealt = joined[generator.random((most, len(joined))).argsort(axis=1)]
        total += dealt[:, :size].mean(axis=1) - dealt[:, size:].mean(axis=1)
    return total / len(first), False


def _flipped(first: Sequence[Values], second: Sequence[Values], most: int, generator: np.random.Generator) -> tuple[Values, bool]:
    """Differences in means with pairs turned round, and whether these are all arrangements."""
    apart = np.concatenate([(one - other) / (len(one) * len(first)) for one, other in zip(first, second, strict=True)])
    exact = 2 ** min(len(apart), 62) <= most
    if exact:
        signs = 1.0 - 2.0 * ((np.arange(2 ** len(apart))[:, None] >> np.arange(len(apart))) & 1)
    else:
        signs = generator.choice(np.array([-1.0, 1.0]), size=(most, len(apart)))
    return np.asarray(signs @ apart), exact


def hedges_g(
    first: Sequence[Values], second: Sequence[Values], level: float = 0.95, *, paired: bool = False
) -> EffectSize | None:
    """Hedges' g with its interval, averaged over environments.

    In one environment g is the difference in means over the pooled standard deviation, without the bias of few runs
    (Hedges 1981, "Distribution theory for Glass's estimator of effect size"); its interval inverts the noncentral t
    distribution, which assumes normal scores of equal variance. Over environments the intervals are joined by the
    square-and-add rule (:func:`openrlb_analysis.bounded.mean_of`).

    Args:
        first: One array of scores for each environment.
        second: The same of the other group.
        level: The interval's level.
        paired: The scores are pairs: the interval above would be wrong, and none is given.

    Returns:
        None where a pooled standard deviation is unknown or 0.

    >>> found = hedges_g([np.array([4.0, 5.0, 6.0])], [np.array([1.0, 2.0, 3.0])])
    >>> found is not None and round(found.g, 3)
    2.394
    """
    from openrlb_analysis.bounded import mean_of

    sizes, lows, highs = [], [], []
    for one, other in zip(first, second, strict=True):
        degrees = len(one) + len(other) - 2
        if degrees < 1:
            return None
        spread = math.sqrt((one.var() * len(one) + other.var() * len(other)) / degrees)
        if not spread > 0:
            return None
        root = math.sqrt(1 / len(one) + 1 / len(other))
        ratio = float(one.mean() - other.mean()) / spread
        unbiased = (
            math.exp(math.lgamma(degrees / 2) - math.lgamma((degrees - 1) / 2)) / math.sqrt(degrees / 2) if degrees > 1 else 0
        )
        sizes.append(ratio * unbiased)
        ends = _noncentrality(ratio / root, degrees, level)
        lows.append(ends[0] * root * unbiased)
        highs.append(ends[1] * root * unbiased)
    low, high = mean_of(np.array(sizes), np.array(lows), np.array(highs))
    known = not paired and bool(np.isfinite(low) and np.isfinite(high))
    return EffectSize(float(np.mean(sizes)), float(low) if known else None, float(high) if known else None)


def _noncentrality(t: float, degrees: int, level: float) -> tuple[float, float]:
    """The noncentrality parameters under which the observed t would be just at the edge of its central range."""
    if t < 0:
        low, high = _noncentrality(-t, degrees, level)
        return -high, -low
    from scipy.optimize import brentq

    def end(probability: float) -> float:
        reach = 10.0 + 4.0 * t
        found = brentq(lambda shift: noncentral_t(t, degrees, shift) - probability, -reach, t + reach, xtol=1e-9)
        return float(found)

    return end(0.5 + level / 2.0), end(0.5 - level / 2.0)


@lru_cache(maxsize=1)
def _legendre(nodes: int) -> tuple[Values, Values]:
    """Gauss and Legendre's places in [-1, 1] and their weights."""
    places, weights = np.polynomial.legendre.leggauss(nodes)
    return np.asarray(places), np.asarray(weights)


def noncentral_t(t: float, degrees: float, shift: float) -> float:
    """The noncentral t distribution function, of any noncentrality: scipy's is NaN or 0 where that is large.

    ``T = (Z + shift) / S`` with ``Z`` normal and ``S`` the root of a chi-square over its degrees, so that it is the mean
    over Z of the probability that ``S >= (Z + shift) / t``: one smooth integral (Gauss and Legendre's rule).

    Args:
        t: Where, 0 or larger.
        degrees: Degrees of freedom.
        shift: The noncentrality.

    >>> round(noncentral_t(2.0, 4, 0.0), 6), round(noncentral_t(40.0, 4, 30.0), 4)
    (0.941942, 0.6895)
    """
    from scipy.special import gammaincc, gammainccinv, gammaincinv, ndtr

    half = degrees / 2.0
    least, most = (float(np.sqrt(ends(half, _NEVER) / half)) for ends in (gammaincinv, gammainccinv))
    low, high = (min(max(t * root - shift, -_FAR), _FAR) for root in (least, most))  # below S is larger for certain, above never
    nodes, weights = _legendre(_NODES)
    z = low + (high - low) / 2.0 * (nodes + 1.0)
    larger = gammaincc(half, half * ((z + shift) / t) ** 2) if t > 0 else np.zeros_like(z)
    density = np.exp(-(z**2) / 2.0) / math.sqrt(2.0 * math.pi)
    return float(ndtr(low) + (high - low) / 2.0 * (weights * density * larger).sum())
