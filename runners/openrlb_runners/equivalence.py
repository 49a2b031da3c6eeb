"""Fresh seeds against stored ones: are two groups of final scores the same within a margin?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

LEVEL = 0.95
"""The two-sided level of the interval; all of it within the margin is two one-sided tests at 2.5 % each."""

MARGIN_SHARE = 0.1
"""The default margin: this share of the stored group's mean score, in absolute value."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One group's scores.

    Attributes:
        n: How many seeds.
        mean: Their mean score.
        std: Their standard deviation (ddof 1).
    """

    n: int
    mean: float
    std: float


@dataclass(frozen=True, slots=True)
class Equivalence:
    """The difference between two groups' mean scores.

    Attributes:
        verdict: ``equivalent`` where the interval lies within the margin; else ``different`` where it excludes 0; else
            ``undecided``.
        difference: The new mean less the stored one.
        low: The lower end of Welch's interval.
        high: Its upper end.
        level: The interval's two-sided level.
        margin: The largest difference that still counts as the same.
        stored: The stored group.
        now: The group trained anew.
    """

    verdict: Literal["equivalent", "different", "undecided"]
    difference: float
    low: float
    high: float
    level: float
    margin: float
    stored: Sample
    now: Sample


def equivalence(stored: Sequence[float], now: Sequence[float], margin: float, level: float = LEVEL) -> Equivalence:
    """Welch's interval for the difference of two means, held against a margin.

    Welch, B. L. (1947), "The generalization of Student's problem when several different population variances are involved",
    Biometrika 34; the reading as equivalence is Schuirmann's (1987) two one-sided tests.

    Args:
        stored: The stored runs' scores, at least two, all finite.
        now: The new runs' scores, likewise.
        margin: The largest difference that still counts as the same, above 0.
        level: The interval's two-sided level.

    >>> one = equivalence([1.0, 2.0, 3.0], [1.1, 2.1, 3.1], margin=5.0)
    >>> one.verdict, round(one.difference, 3)
    ('equivalent', 0.1)
    >>> equivalence([500.0, 500.0], [500.0, 500.0], margin=50.0).verdict
    'equivalent'
    """
    from scipy.stats import t

    before, after = _sample(stored), _sample(now)
    parts = [one.std**2 / one.n for one in (before, after)]
    error = math.sqrt(sum(parts))
    difference = after.mean - before.mean
    half = 0.0
    if error > 0:
        shares = [part / sum(parts) for part in parts]
        freedom = 1 / sum(share**2 / (one.n - 1) for share, one in zip(shares, (before, after), strict=True))
        half = float(t.ppf((1 + level) / 2, freedom)) * error
    low, high = difference - half, difference + half
    verdict: Literal["equivalent", "different", "undecided"] = "undecided"
    if -margin <= low and high <= margin:
        verdict = "equivalent"
    elif low > 0 or high < 0:
        verdict = "different"
    return Equivalence(verdict, difference, low, high, level, margin, before, after)


def _sample(scores: Sequence[float]) -> Sample:
    """Count, mean and standard deviation."""
    import statistics

    return Sample(len(scores), statistics.fmean(scores), statistics.stdev(scores))
