"""Intervals: from resampled values to a lower and an upper end, and what a reader must know about them.

What they cover: the statistic of the distributions that the runs' scores are drawn from, one for each environment, the
environments fixed. For the interquartile mean that is the mean of the middle half of those distributions together, not
the average of what so many runs would give. How often they cover it is measured: docs/coverage.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from openrlb.errors import UsageError
from openrlb_analysis.aggregates import AGGREGATES, GAMMA, aggregate_along
from openrlb_analysis.bootstrap import Draws, bootstrap, bootstrap_curve, curve_centres, curve_draws
from openrlb_analysis.bounded import ceiling_gap, difference_of, unseen_share
from openrlb_analysis.calibration import bca_probabilities, calibrated_ends, contributions, shown_shares, spread
from openrlb_analysis.result import IntervalMethod

if TYPE_CHECKING:
    from openrlb.types import Values

    Bounds = tuple[float, float]

METHODS = ("calibrated", "percentile", "basic", "bca")
DEFAULT_METHOD = METHODS[0]
FEW_RUNS = 10
"""Below so many runs the uncalibrated intervals cover less than they say (50 to 92 % where 95 % is meant, docs/coverage.md)."""
FEWEST_RUNS = 3
"""Fewer runs give no interval unless asked for: two differ by one number, and their t interval is 13 times as wide."""
BCA_RUNS = 4
"""Below so many runs the BCa interval's acceleration means nothing; the percentile interval stands in."""
_ROUNDING = 1e-9


def interval_method(method: str, level: float, resamples: int, seed: int, fewest: int = FEWEST_RUNS) -> IntervalMethod:
    """Checks how intervals shall be computed.

    Args:
        method: One of :data:`METHODS`.
        level: The nominal coverage.
        resamples: Bootstrap resamples.
        seed: Seed of the bootstrap.
        fewest: The fewest runs of an environment that get an interval, 2 or more.

    Raises:
        UsageError: An unknown method, or a level, number of resamples, seed or number of runs that has no meaning.

    >>> interval_method("percentile", 0.95, 50_000, 0).level
    0.95
    """
    if method not in METHODS:
        raise UsageError(
            f"no interval method {method!r}", "the methods are " + ", ".join(METHODS), f"try --interval {DEFAULT_METHOD}"
        )
    if not 0.0 < level < 1.0:
        raise UsageError(f"a coverage of {level:g} has no meaning", "the level lies between 0 and 1", "try --level 0.95")
    if resamples < 1:
        raise UsageError(f"{resamples} resamples give no interval", "at least 1 is needed", "leave the default of 50000")
    if seed < 0:
        raise UsageError(f"{seed} is no seed", "a seed is 0 or larger", "try --bootstrap-seed 0")
    if fewest < 2:
        raise UsageError(
            f"no interval from {fewest} runs", "one run says nothing of how much runs differ", "use --interval-from 2 or more"
        )
    return IntervalMethod(method, level, resamples, seed, fewest=fewest)


def estimand(name: str) -> str:
    """What an interval covers, in words.

    >>> estimand("iqm")
    'the iqm of the score distributions that seeds are drawn from, environments fixed'
    """
    return f"the {name} of the score distributions that seeds are drawn from, environments fixed"


def tails(level: float) -> tuple[float, float]:
    """The two probabilities between which an interval of this level lies.

    >>> tails(0.9)
    (0.05, 0.95)
    """
    outside = round((1.0 - level) / 2.0, 12)
    return outside, 1.0 - outside


def interval_of(
    estimate: float, draws: Draws, parts: Sequence[Values], method: IntervalMethod, shares: Sequence[float] | None = None
) -> tuple[float, float]:
    """The interval of any statistic, from its resamples and its runs' contributions.

    ``percentile`` (Efron 1979) lies between two quantiles of the resamples, ``basic`` reflects them at the estimate,
    ``bca`` (Efron 1987) moves them for bias and skewness, ``calibrated`` widens them by Student's t and for skewness
    (:func:`openrlb_analysis.calibration.calibrated_ends`).

    Args:
        estimate: The statistic of the scores.
        draws: Its resamples.
        parts: For each environment (for a difference: of each group) the runs' contributions to the statistic,
            each of shape ``(n_e,)``, ``n_e >= 2``; from :func:`openrlb_analysis.calibration.contributions`, or for
            other statistics from :func:`openrlb_analysis.calibration.jackknife`.
        method: How.
        shares: What the resamples show of each part's variance (:func:`openrlb_analysis.calibration.shown_shares`), None
            for what those of a mean show.

    Returns:
        The lower and the upper end; twice the estimate where the runs of each part do not differ.
    """
    probabilities = tails(method.level)
    low, high = draws.quantiles(probabilities).tolist()
    if method.method == "percentile":
        return low, high
    if method.method == "basic":
        return 2.0 * estimate - high, 2.0 * estimate - low
    found = spread(np.concatenate(parts), [len(part) for part in parts], shares)
    if method.method == "bca":
        moved = bca_probabilities(draws.share_below(estimate), found.acceleration, method.level)
        if min(len(part) for part in parts) < BCA_RUNS or not np.isfinite(moved).all():
            return low, high
        low, high = draws.quantiles([float(end) for end in moved]).tolist()
        return low, high
    lower, upper = calibrated_ends(estimate, draws.mean(), low, high, found, method.level)
    return float(lower), float(upper)


def bootstrap_interval(
    tasks: Sequence[Values], name: str, method: IntervalMethod, bounds: Bounds | None = None
) -> tuple[float, float] | None:
    """The interval of an aggregate, or None where an environment has fewer runs than ``method.fewest``.

    A calibrated optimality gap stays at or above 0, and where every run reaches gamma it is given the binomial upper
    end of :func:`openrlb_analysis.bounded.ceiling_gap` in place of none. With bounds every interval stays within them, and
    a calibrated one of runs that are all equal reaches as far as so many runs could hide
    (:func:`openrlb_analysis.bounded.unseen_share`); without them it is a point.

    Args:
        tasks: One array of finite scores for each environment, each of shape ``(n_e,)``.
        name: The aggregate.
        method: How; checked by :func:`interval_method`.
        bounds: The lowest and the highest score there can be, if known; either may be infinite.

    Raises:
        UsageError: Bounds that are none, or a score beyond them.

    >>> method = interval_method("calibrated", 0.95, 100, 0)
    >>> bootstrap_interval([np.array([1.0])], "mean", method) is None
    True
    >>> low, high = bootstrap_interval([np.full(5, 500.0)], "mean", method, bounds=(0, 500))
    >>> round(low, 1), high
    (239.1, 500.0)
    """
    return bootstrap_intervals(tasks, [name], method, bounds)[name]


def bootstrap_intervals(
    tasks: Sequence[Values], names: Sequence[str], method: IntervalMethod, bounds: Bounds | None = None
) -> dict[str, tuple[float, float] | None]:
    """The same of several aggregates, all from one set of resamples.

    >>> found = bootstrap_intervals([np.array([1.0, 2.0, 3.0])], ["mean", "median"], interval_method("percentile", 0.95, 99, 0))
    >>> found["mean"] == found["median"]
    True
    """
    check_bounds(bounds, tasks)
    if not tasks or min(len(scores) for scores in tasks) < method.fewest:
        return dict.fromkeys(names)
    ordered = [np.sort(scores) for scores in tasks]
    found: dict[str, tuple[float, float] | None] = {}
    for name, draws in bootstrap(ordered, names, resamples=method.resamples, seed=method.seed).items():
        shares = shown_shares(name, [len(scores) for scores in ordered])
        ends = interval_of(AGGREGATES[name](ordered), Draws(draws), _parts(ordered, name), method, shares)
        found[name] = in_bounds(ends, ordered, name, method, bounds)
    return found


def difference_interval(
    first: Sequence[Values], second: Sequence[Values], name: str, method: IntervalMethod, bounds: Bounds | None = None
) -> tuple[float, float] | None:
    """The interval of the difference of an aggregate between two groups of independent runs, the first's less the second's.

    A calibrated difference of optimality gaps is composed of the two gaps' own intervals, which stay in their bounds, and
    so is one of bounded scores of which all runs of a group are equal.

    Args:
        first: One array of finite scores for each environment of one group.
        second: The same of the other; their runs need not be equally many.
        name: The aggregate.
        method: How.
        bounds: The lowest and the highest score there can be, if known; either may be infinite.

    Returns:
        The ends, or None where an environment of either group has fewer runs than ``method.fewest``.

    Raises:
        UsageError: Bounds that are none, or a score beyond them.

    >>> groups = [np.array([1.0, 2.0, 3.0])], [np.array([11.0, 12.0, 13.0])]
    >>> low, high = difference_interval(*groups, "mean", interval_method("calibrated", 0.95, 1000, 0))
    >>> -15 < low < -12 and -8 < high < -5
    True
    """
    check_bounds(bounds, [*first, *second])
    if min((len(scores) for scores in [*first, *second]), default=0) < method.fewest:
        return None
    composed = name == "optimality-gap" or (bounds is not None and (_one_score(first) or _one_score(second)))
    if composed and method.method == "calibrated":
        alone = [(AGGREGATES[name](tasks), bootstrap_interval(tasks, name, method, bounds)) for tasks in (first, second)]
        one, other = ((value, *ends) for value, ends in alone if ends is not None)
        low, high = difference_of(one, other)
        return float(low), float(high)
    groups = [[np.sort(scores) for scores in tasks] for tasks in (first, second)]
    other_seed = int(np.random.SeedSequence([method.seed, 1]).generate_state(1)[0])  # equal draws would be paired ones
    one_draw, other_draw = (
        bootstrap(tasks, [name], resamples=method.resamples, seed=seed)[name]
        for tasks, seed in zip(groups, (method.seed, other_seed), strict=True)
    )
    parts = [*_parts(groups[0], name), *(-part for part in _parts(groups[1], name))]
    estimate = AGGREGATES[name](groups[0]) - AGGREGATES[name](groups[1])
    shares = [share for tasks in groups for share in shown_shares(name, [len(scores) for scores in tasks])]
    ends = interval_of(estimate, Draws(one_draw - other_draw), parts, method, shares)
    if bounds is None:
        return ends
    least, most = aggregate_bounds(name, bounds)
    return max(ends[0], least - most), min(ends[1], most - least)


def curve_interval(runs: Values, name: str, method: IntervalMethod, bounds: Bounds | None = None) -> tuple[Values, Values]:
    """The interval of an aggregate at each position of one environment's learning curves, each position by itself.

    Args:
        runs: Finite values, shape ``(runs, positions)``.
        name: The aggregate.
        method: How.
        bounds: The lowest and the highest value there can be, if known; either may be infinite.

    Returns:
        The ends, each of shape ``(positions,)``; NaN where there are fewer runs than ``method.fewest``.

    Raises:
        UsageError: Bounds that are none, or a value beyond them.
    """
    check_bounds(bounds, [runs])
    ends = np.full((2, runs.shape[1]), np.nan)
    if len(runs) < method.fewest or not runs.shape[1]:
        return ends[0], ends[1]
    ordered, sizes, shares = np.sort(runs, axis=0), [len(runs)], shown_shares(name, [len(runs)])
    values = aggregate_along(name, ordered)
    drawn: dict[str, int] = {"resamples": method.resamples, "seed": method.seed}
    parts = contributions(name, np.ascontiguousarray(ordered.T), sizes)
    if method.method == "bca":  # its quantiles differ from position to position
        every = zip(values, curve_draws(ordered, name, **drawn), parts, strict=True)
        ends[:] = np.transpose([interval_of(value, draws, [part], method, shares) for value, draws, part in every])
    else:
        low, high = bootstrap_curve(ordered, name, tails(method.level), **drawn)
        if method.method == "calibrated":
            centre, varying = curve_centres(ordered, name, **drawn), spread(parts, sizes, shares)
            low, high = calibrated_ends(values, centre, low, high, varying, method.level)
        ends[:] = (2.0 * values - high, 2.0 * values - low) if method.method == "basic" else (low, high)
    if bounds is not None or name == "optimality-gap":
        for position, scores in enumerate(ordered.T):
            ends[:, position] = in_bounds((float(ends[0, position]), float(ends[1, position])), [scores], name, method, bounds)
    return ends[0], ends[1]


def reaches_gamma(tasks: Sequence[Values]) -> bool:
    """Whether no run falls short of gamma, so that the optimality gap is 0.

    >>> reaches_gamma([np.array([1.0, 2.5])])
    True
    """
    return bool(min(float(scores.min()) for scores in tasks) >= GAMMA)


def _parts(tasks: Sequence[Values], name: str) -> list[Values]:
    """Each environment's contributions."""
    sizes = [len(scores) for scores in tasks]
    return list(np.split(contributions(name, np.concatenate(tasks), sizes), np.cumsum(sizes)[:-1]))


def check_bounds(bounds: Bounds | None, tasks: Sequence[Values]) -> None:
    """Refuses bounds that are none, and scores beyond them.

    Args:
        bounds: The lowest and the highest score there can be, or None.
        tasks: The scores.

    Raises:
        UsageError: They are not two numbers with the lower one first, or a score lies beyond.

    >>> check_bounds((0, 1), [np.array([0.5, 1.5])])
    Traceback (most recent call last):
    ...
    openrlb.errors.UsageError: a score of 1.5 lies beyond the bounds 0 to 1 (...); ...
    """
    if bounds is None:
        return
    if len(bounds) != 2 or not bounds[0] < bounds[1]:
        why = "they are the lowest and the highest score there can be"
        raise UsageError(f"{bounds!r} are no bounds", why, "try bounds=(0.0, 1.0)")
    for scores in tasks:
        beyond = scores[(scores < bounds[0] - _slack(bounds)) | (scores > bounds[1] + _slack(bounds))]
        if len(beyond):
            what = f"a score of {beyond[0]:g} lies beyond the bounds {bounds[0]:g} to {bounds[1]:g}"
            raise UsageError(what, "then they are no bounds", "give the range that scores can have, or none")


def _slack(bounds: Bounds) -> float:
    """By how much rounding may carry a score beyond its bounds."""
    return _ROUNDING * max((abs(end) for end in bounds if math.isfinite(end)), default=0.0)


def aggregate_bounds(name: str, bounds: Bounds) -> Bounds:
    """The lowest and the highest value that an aggregate of bounded scores can have.

    >>> aggregate_bounds("iqm", (0.0, 2.0)), aggregate_bounds("optimality-gap", (0.0, 2.0))
    ((0.0, 2.0), (0.0, 1.0))
    """
    if name != "optimality-gap":
        return float(bounds[0]), float(bounds[1])
    return GAMMA - min(float(bounds[1]), GAMMA), GAMMA - min(float(bounds[0]), GAMMA)


def in_bounds(
    ends: tuple[float, float], tasks: Sequence[Values], name: str, method: IntervalMethod, bounds: Bounds | None = None
) -> tuple[float, float]:
    """An interval within what its aggregate can be: of an optimality gap, and of scores with bounds; else as it is.

    Args:
        ends: The interval.
        tasks: One array of finite scores for each environment.
        name: The aggregate.
        method: How it was computed; only a calibrated one is widened where all runs are equal.
        bounds: The lowest and the highest score there can be, if known.

    >>> in_bounds((-0.1, 0.2), [np.array([0.9, 1.2])], "optimality-gap", interval_method("calibrated", 0.95, 99, 0))
    (0.0, 0.2)
    """
    low, high = ends
    gap, calibrated = name == "optimality-gap", method.method == "calibrated"
    sizes = [len(scores) for scores in tasks]
    if bounds is None:
        if not (gap and calibrated):
            return ends
        return max(low, 0.0), ceiling_gap(sizes, method.level) if reaches_gamma(tasks) else high
    least, most = aggregate_bounds(name, bounds)
    if (
        calibrated
        and math.isfinite(most - least)
        and _one_score([np.minimum(scores, GAMMA) if gap else scores for scores in tasks])
    ):
        value, share = AGGREGATES[name](tasks), unseen_share(name, sizes, method.level)
        low, high = value - share * max(value - least, 0.0), value + share * max(most - value, 0.0)
    inside = min(max(low, least), most), max(min(high, most), least)
    if calibrated and inside[0] == inside[1] and low < high:  # runs differ, and all its width lay beyond the bound
        inside = max(inside[0] - (high - low), least), min(inside[1] + (high - low), most)
    return inside


def _one_score(tasks: Sequence[Values]) -> bool:
    """Whether all runs of all environments have the same score."""
    return bool(max(float(scores.max()) for scores in tasks) == min(float(scores.min()) for scores in tasks))


def interval_note(method: str, runs: Iterable[int], name: str = "") -> str:
    """What the output says beside the intervals.

    Args:
        method: The method's name.
        runs: How many runs stand behind each (group, environment).
        name: The statistic, for the words about what the intervals cover.

    >>> interval_note("percentile", [10, 5])
    'percentile, too narrow below 10 seeds'
    >>> interval_note("calibrated", [10, 5])
    'calibrated, fewer than 10 seeds: a failure that none of them had is not in it'
    >>> interval_note("percentile", [10, 12])
    'percentile'
    """
    counts, words = list(runs), []
    if min(counts, default=FEW_RUNS) < FEW_RUNS:
        unseen = f"fewer than {FEW_RUNS} seeds: a failure that none of them had is not in it"
        words.append(unseen if method == "calibrated" else f"too narrow below {FEW_RUNS} seeds")
    if method == "bca" and any(1 < count < BCA_RUNS for count in counts):
        words.append(f"the percentile interval stands in below {BCA_RUNS} runs")
    if name:
        words.append(f"for {estimand(name)}")
    return f"{method}, {'; '.join(words)}" if words else method
