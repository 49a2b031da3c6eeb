"""Risk and dispersion over runs: the worst runs' mean, the spread of the middle half, and bands that hold most runs.

CVaR and IQR across runs as in Chan et al. 2020, "Measuring the Reliability of Reinforcement Learning Algorithms";
tolerance bands as Patterson et al. 2024, "Empirical Design in Reinforcement Learning", ask for, from order statistics
(Wilks 1941, "Determination of sample sizes for setting tolerance limits").
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from openrlb.errors import UsageError
from openrlb_analysis.bootstrap import Draws
from openrlb_analysis.counts import with_doubles
from openrlb_analysis.estimates import CALIBRATED, Estimate
from openrlb_analysis.inputs import check_tasks
from openrlb_analysis.intervals import FEW_RUNS, interval_note, interval_of
from openrlb_analysis.result import IntervalMethod

if TYPE_CHECKING:
    from openrlb.types import Values

ALPHA = 0.25
"""The share of worst runs that CVaR averages unless another is asked for."""
_SHORT = "few runs show tails too short: such intervals held the truth in 78 to 100 % of simulated studies"
"""As benchmarks/measure_coverage.py measures it with 3 to 5 runs."""


def cvar(tasks: Sequence[Values] | Mapping[str, Values], alpha: float = ALPHA, method: IntervalMethod = CALIBRATED) -> Estimate:
    """The mean of the worst ``alpha`` share of runs, averaged over environments (conditional value at risk).

    With n runs of an environment the worst ``alpha * n`` count, the last of them in part; where that is less than one
    run, it is the worst run, which is said. Few runs show a tail too short, so that their CVaR is too high on average;
    the calibrated interval reaches that much lower.

    Args:
        tasks: One array of scores for each environment.
        alpha: The share, above 0 and at most 1 (then it is the mean).
        method: How the interval is computed.

    Raises:
        UsageError: A share that has no meaning, or a matrix in place of one array for each environment.

    >>> cvar([np.array([5.0, 1.0, 3.0, 9.0])], 0.5).value
    2.0
    """
    if not 0.0 < alpha <= 1.0:
        raise UsageError(f"a share of {alpha:g} has no meaning", "it lies above 0 and up to 1", f"leave the default of {ALPHA:g}")
    scores = check_tasks(tasks)
    name, weights = f"cvar {100 * alpha:g} %", [_cvar_weights(len(one), alpha) for one in scores]
    found = _by_order(scores, weights, name, -math.exp(-(_normal(alpha) ** 2) / 2) / math.sqrt(2 * math.pi) / alpha, method)
    return replace(found, interval=replace(method, note=spread_words(method.method, [len(one) for one in scores], alpha)))


def spread_words(method: str, sizes: Sequence[int], alpha: float | None = None) -> str:
    """What must be known beside the interval of :func:`cvar` or :func:`iqr`.

    Args:
        method: The interval method's name.
        sizes: Runs in each environment.
        alpha: The share of worst runs of a CVaR; None for an interquartile range.

    >>> spread_words("percentile", [10, 40], 0.05)
    'percentile; 5 % of 10 runs is at most one run: it is the worst run alone'
    """
    words = [interval_note(method, sizes)]
    if min(sizes, default=FEW_RUNS) < FEW_RUNS and method == "calibrated":
        words.append(_SHORT)
    if alpha is not None and (alone := sorted({size for size in sizes if alpha * size <= 1.0 + 1e-9})):
        runs = f"{alone[0]}" if len(alone) == 1 else f"{alone[0]} to {alone[-1]}"
        words.append(f"{100 * alpha:g} % of {runs} runs is at most one run: it is the worst run alone")
    return "; ".join(words)


def iqr(tasks: Sequence[Values] | Mapping[str, Values], method: IntervalMethod = CALIBRATED) -> Estimate:
    """The interquartile range over runs, averaged over environments: how far apart the middle half of runs lies.

    Quartiles are interpolated linearly, as ``scipy.stats.iqr`` does. That of few runs is too small on average (at 5
    normal ones by a quarter); the calibrated interval reaches that much higher.

    Args:
        tasks: One array of scores for each environment.
        method: How the interval is computed.

    Raises:
        UsageError: A matrix in place of one array for each environment.

    >>> iqr([np.array([0.0, 1.0, 2.0, 3.0, 4.0])]).value
    2.0
    """
    scores = check_tasks(tasks)
    found = _by_order(scores, [_iqr_weights(len(one)) for one in scores], "iqr", 2 * _normal(0.75), method)
    return found if found.low is None else replace(found, low=max(found.low, 0.0))


def _cvar_weights(size: int, alpha: float) -> Values:
    """What each ordered score weighs in the mean of the worst."""
    taken = np.clip(alpha * size - np.arange(size), 0.0, 1.0)
    return np.asarray(taken / taken.sum())


def _iqr_weights(size: int) -> Values:
    """What each ordered score weighs in the difference of the quartiles."""
    weights = np.zeros(size)
    for share, sign in ((0.75, 1.0), (0.25, -1.0)):
        place = share * (size - 1)
        below = math.floor(place)
        weights[below] += sign * (1.0 - (place - below))
        weights[min(below + 1, size - 1)] += sign * (place - below)
    return weights


def _normal(probability: float) -> float:
    """The standard normal quantile."""
    from scipy.special import ndtri

    return float(ndtri(probability))


def _by_order(
    tasks: Sequence[Values], weights: Sequence[Values], name: str, of_normal: float, method: IntervalMethod
) -> Estimate:
    """A mean over environments of weighted ordered scores, with its interval.

    Such a mean of few runs is biased; a calibrated interval reaches as much farther on that side as resamples show or
    as normal scores of that spread would have it (``of_normal`` is the measure of a standard normal), whichever is more.
    """
    ordered = [np.sort(scores) for scores in tasks]
    sizes = [len(scores) for scores in ordered]
    value = float(np.mean([weight @ scores for weight, scores in zip(weights, ordered, strict=True)]))
    told = replace(method, note=spread_words(method.method, sizes))
    low = high = None
    if min(sizes) >= method.fewest:
        draws = np.empty(method.resamples)
        for place, counts, _ in with_doubles(sizes, method.resamples, method.seed):
            total, row = np.zeros(counts.shape[1]), 0
            for scores, weight in zip(ordered, weights, strict=True):
                reached = np.cumsum(counts[row : row + len(scores)], axis=0, dtype=np.int64)
                held = np.diff(np.append(0.0, np.cumsum(weight))[reached], axis=0, prepend=0.0)
                total += scores @ held
                row += len(scores)
            draws[place] = total / len(sizes)
        parts = [_influence(scores, weight) / len(sizes) for scores, weight in zip(ordered, weights, strict=True)]
        low, high = interval_of(value, Draws(draws), parts, method)
        if method.method == "calibrated":
            shown, expected = float(draws.mean()) - value, _bias_of_normal(ordered, weights, of_normal)
            low, high = low - max(shown, expected, 0.0), high - min(shown, expected, 0.0)
    return Estimate(name, value, low, high, sum(sizes), len(sizes), told)


def _bias_of_normal(tasks: Sequence[Values], weights: Sequence[Values], of_normal: float) -> float:
    """How much too high the measure of so many normal runs is on average, ordered ones at Blom's (1958) places."""
    from scipy.special import ndtri

    bias = []
    for scores, weight in zip(tasks, weights, strict=True):
        places = ndtri((np.arange(1, len(scores) + 1) - 0.375) / (len(scores) + 0.25))
        bias.append(float(scores.std(ddof=1)) * (float(weight @ places) - of_normal))
    return float(np.mean(bias))


def _influence(ordered: Values, weights: Values) -> Values:
    """What each run contributes to a sum of weighted ordered scores: the empirical influence function, up to a constant.

    Moving the run at place i moves everything above it: its influence is the sum of the gaps below it, each by the
    weight density there (Serfling 1980, "Approximation Theorems of Mathematical Statistics", section 8.1).
    """
    density = len(ordered) * (weights[:-1] + weights[1:]) / 2.0
    return np.append(0.0, np.cumsum(density * np.diff(ordered)))


@dataclass(frozen=True, slots=True)
class ToleranceBand:
    """Between which scores most runs of an algorithm lie, whatever their distribution.

    Attributes:
        low: The lower end, shape of one run's values; minus infinity for ``upper``; NaN where it cannot be had.
        high: The upper end; infinity for ``lower``.
        content: The share of runs that shall lie within.
        confidence: With which confidence they do; never below what was asked for, unless it cannot be had.
        attainable: The largest share that can be claimed with the confidence asked for, from so many runs.
        runs: How many runs there are.
        needed: How many runs it takes to claim the share asked for.
        side: ``both``, ``lower`` or ``upper``.
        note: What a reader must know.
    """

    low: Values
    high: Values
    content: float
    confidence: float
    attainable: float
    runs: int
    needed: int
    side: str
    note: str


def tolerance_band(runs: Values, content: float = 0.9, confidence: float = 0.95, *, side: str = "both") -> ToleranceBand:
    """The ends between which at least ``content`` of all runs lie, with ``confidence``, from order statistics.

    Between the r-th lowest and the r-th highest of n runs lies a share that is Beta(n - 2 r + 1, 2 r) distributed. The
    largest r that keeps the confidence is taken; where even the outermost runs do not, there is no band, and what could
    be claimed instead is said.

    Args:
        runs: Scores of one environment, shape ``(n,)``, or curves, shape ``(n, positions)`` (the band is then pointwise).
        content: The share of runs to hold.
        confidence: The confidence in it.
        side: ``both``; ``lower`` for an end that ``content`` of runs lie above; ``upper`` for one they lie below.

    Raises:
        UsageError: A share or a side that has no meaning, or values that are not finite.

    >>> band = tolerance_band(np.arange(10.0))
    >>> band.needed, round(band.attainable, 3), band.note
    (46, 0.606, '10 runs are too few for 90 % of runs with 95 % confidence (46 needed); the outermost runs hold 60.6 %')
    >>> band = tolerance_band(np.arange(10.0), 0.5)
    >>> float(band.low), float(band.high), round(band.confidence, 3)
    (0.0, 9.0, 0.989)
    """
    table = np.asarray(runs, dtype=np.float64)
    if not (0 < content < 1 and 0 < confidence < 1) or side not in ("both", "lower", "upper"):
        why = "shares lie between 0 and 1, a side is both, lower or upper"
        raise UsageError("no such tolerance band", why, "try content 0.9, confidence 0.95")
    if table.ndim not in (1, 2) or not table.size or not np.isfinite(table).all():
        why = f"they have the shape {table.shape}, or values that are not finite"
        raise UsageError(
            "a tolerance band is over the runs of one environment", why, "hand over one score, or one curve, for each"
        )
    from scipy.special import betaincinv

    size, ends = len(table), 2 if side == "both" else 1
    ordered = np.sort(table, axis=0)
    reachable = [_held_with(size, ends * rank, content) for rank in range(1, size // ends + 1) if size + 1 > ends * rank]
    attainable = float(betaincinv(max(size + 1 - ends, 1), ends, 1.0 - confidence)) if size >= ends else 0.0
    needed = _runs_needed(ends, content, confidence)
    rank = sum(found >= confidence for found in reachable)
    if not rank:
        low = high = np.full(table.shape[1:], np.nan)
        told = f"{size} runs are too few for {100 * content:g} % of runs with {100 * confidence:g} % confidence ({needed} needed)"
        note = f"{told}; the outermost runs hold {100 * attainable:.3g} %"
        return ToleranceBand(low, high, content, reachable[0] if reachable else 0.0, attainable, size, needed, side, note)
    low = ordered[rank - 1] if side != "upper" else np.full(table.shape[1:], -np.inf)
    high = ordered[size - rank] if side != "lower" else np.full(table.shape[1:], np.inf)
    note = f"at least {100 * content:g} % of runs, with {100 * reachable[rank - 1]:.3g} % confidence"
    return ToleranceBand(low, high, content, reachable[rank - 1], attainable, size, needed, side, note)


def _runs_needed(outside: int, content: float, confidence: float) -> int:
    """The fewest runs whose outermost ones hold the share with the confidence."""
    few, many = outside - 1, outside
    while _held_with(many, outside, content) < confidence:
        few, many = many, 2 * many
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if _held_with(middle, outside, content) >= confidence else (middle, many)
    return many


def _held_with(size: int, outside: int, content: float) -> float:
    """The probability that all but ``outside`` of the ``size + 1`` gaps between ordered runs hold at least this share."""
    from scipy.special import betainc

    return float(1.0 - betainc(size + 1 - outside, outside, content)) if size + 1 > outside else 0.0
