"""How many seeds a comparison needs: for a difference that one cares about, never for the one that was observed.

The spread of a few pilot runs is as uncertain as their mean, and too small about half the time. Seeds are therefore
counted with the upper limit of the pilot's spread at 80 % confidence (Browne 1995, "On the use of a pilot sample for
sample size determination", Statistics in Medicine 14): four pilots out of five then get the power they ask for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from openrlb.errors import UsageError
from openrlb_analysis.calibration import contributions
from openrlb_analysis.intervals import FEWEST_RUNS

if TYPE_CHECKING:
    from openrlb.types import Values

CONFIDENCE = 0.8
"""How sure the upper limit of the pilot's spread is."""
MOST_SEEDS = 100_000
"""More seeds than these are not counted."""


@dataclass(frozen=True, slots=True)
class Pilot:
    """How much single runs vary, as far as the statistic feels it.

    Attributes:
        spread: The standard deviation that, divided by the root of the seeds, is the standard error of the difference.
        upper: Its upper limit, which seeds are counted with.
        degrees: Degrees of freedom of ``spread``.
        shape: Degrees of freedom that one more seed in every group and environment adds to the comparison.
    """

    spread: float
    upper: float
    degrees: float
    shape: float


@dataclass(frozen=True, slots=True)
class SeedsNeeded:
    """Seeds for each group (in each environment).

    Attributes:
        difference: So many find a true difference as large as the margin; None where they are more than 100,000, or the
            spread is not finite.
        equivalence: So many show that two groups without any difference are equivalent within the margin.
        margin: The margin.
        power: How often they shall do so.
        level: The level of the comparison's interval.
        confidence: How sure the upper limit of the spread is.
        pilot: The spread they are counted with.
    """

    difference: int | None
    equivalence: int | None
    margin: float
    power: float
    level: float
    confidence: float
    pilot: Pilot


def pilot_spread(parts: Sequence[Values], *, alone: bool = False, confidence: float = CONFIDENCE) -> Pilot | None:
    """The spread behind the standard error of a difference between two groups.

    Args:
        parts: What the pilot runs contribute to the statistic
            (:func:`openrlb_analysis.calibration.contributions`): one array for each environment of each group, for pairs
            one of their differences, each of shape ``(n_e,)``, ``n_e >= 2``.
        alone: The parts are those of one group, and the other is taken to vary as much.
        confidence: How sure the upper limit shall be.

    Returns:
        None where no environment's runs differ: there is nothing to plan with. A spread beyond the largest number is
        infinite, and so is its upper limit.

    >>> found = pilot_spread([np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0])])
    >>> found is not None and (round(found.spread, 3), round(found.degrees, 3), found.shape)
    (1.414, 4.0, 2.0)
    """
    from scipy.special import chdtri

    scale = max(float(np.abs(part).max()) for part in parts)  # squares of large scores would overflow
    if not math.isfinite(scale):
        return Pilot(math.inf, math.inf, math.nan, math.nan)
    variances, runs = [float((part / (scale or 1.0)).var(ddof=1)) for part in parts], [len(part) for part in parts]
    total = sum(variances)
    if not total > 0:
        return None
    degrees = total**2 / sum(variance**2 / (size - 1) for variance, size in zip(variances, runs, strict=True))
    shape = total**2 / sum(variance**2 for variance in variances)
    if alone:
        total, shape = 2.0 * total, 2.0 * shape
    upper = math.sqrt(degrees / float(chdtri(degrees, confidence)))  # chdtri takes the probability above
    spread = math.sqrt(total) * scale
    return Pilot(spread, spread * upper, degrees, shape)


def parts_of(name: str, tasks: Sequence[Values]) -> list[Values]:
    """What the runs of one group contribute to a statistic, environment by environment.

    >>> [part.tolist() for part in parts_of("mean", [np.array([1.0, 3.0]), np.array([5.0])])]
    [[0.5, 1.5], [2.5]]
    """
    sizes = [len(scores) for scores in tasks]
    return list(np.split(contributions(name, np.concatenate(tasks), sizes), np.cumsum(sizes)[:-1]))


def seeds_needed(
    pilot: Pilot, margin: float, *, power: float = 0.8, level: float = 0.95, confidence: float = CONFIDENCE
) -> SeedsNeeded:
    """How many seeds each group needs.

    For a difference: the power of the two-sided t interval to leave out 0, from the noncentral t distribution (Cohen
    1988, "Statistical Power Analysis", chapter 2). For equivalence: that it lies within the margin where there is no
    difference (Julious 2004, "Sample sizes for clinical trials with normal data", section 5).

    Args:
        pilot: The spread, from :func:`pilot_spread`.
        margin: The smallest difference that matters, in the scores' unit.
        power: How often the verdict shall be reached, between 0.5 and 1.
        level: The level of the comparison's interval.
        confidence: The confidence that ``pilot.upper`` was computed with.

    Raises:
        UsageError: A margin, power or level without meaning.

    >>> pilot = Pilot(2**0.5, 2**0.5, 1e6, 2.0)  # a standard deviation of 1 in both groups, known for certain
    >>> seeds_needed(pilot, 1.0).difference, seeds_needed(pilot, 0.5).difference
    (17, 64)
    """
    checked_margin(margin)
    if not 0.5 <= power < 1.0 or not 0.0 < level < 1.0:
        raise UsageError(f"power {power:g} at level {level:g} has no meaning", "both are shares below 1", "try --power 0.8")
    if not all(math.isfinite(one) for one in (pilot.upper, pilot.degrees, pilot.shape)):
        return SeedsNeeded(None, None, margin, power, level, confidence, pilot)

    def finds(seeds: int) -> float:
        from scipy.special import nctdtr, stdtrit

        degrees = pilot.shape * (seeds - 1)
        shift = margin / pilot.upper * math.sqrt(seeds)
        return float(1.0 - nctdtr(degrees, shift, float(stdtrit(degrees, 0.5 + level / 2.0))))

    def equates(seeds: int) -> float:
        from scipy.special import stdtr, stdtrit

        degrees = pilot.shape * (seeds - 1)
        room = margin / pilot.upper * math.sqrt(seeds) - stdtrit(degrees, 0.5 + level / 2.0)
        return float(2.0 * stdtr(degrees, float(room)) - 1.0)

    return SeedsNeeded(_fewest(finds, power), _fewest(equates, power), margin, power, level, confidence, pilot)


def checked_margin(margin: float) -> float:
    """The margin, if it is one.

    Raises:
        UsageError: It is not a number above 0.

    >>> checked_margin(10.0)
    10.0
    """
    if not (math.isfinite(margin) and margin > 0):
        why = "it is the smallest difference that matters, in the unit of the scores"
        raise UsageError(f"a margin of {margin:g} has no meaning", why, "name a number above 0, for instance --margin 100")
    return margin


def _fewest(reached: Callable[[int], float], power: float) -> int | None:
    """The fewest seeds that reach a power that grows with them; None above the most."""
    low, high = FEWEST_RUNS - 1, FEWEST_RUNS
    while reached(high) < power:
        if high >= MOST_SEEDS:
            return None
        low, high = high, min(2 * high, MOST_SEEDS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) >= power else (middle, high)
    return high
