"""Performance profiles: which share of runs (or of environments' means) lies above each score tau.

Agarwal et al. 2021, section 4.2. The number of resampled runs above tau is a sum of independent binomial variables, one
for each environment, so that its bootstrap law is computed, not simulated: no Monte-Carlo error, and milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from openrlb.errors import UsageError
from openrlb_analysis.aggregates import run_weights
from openrlb_analysis.bootstrap import resampled_means
from openrlb_analysis.bounded import fraction_ends
from openrlb_analysis.estimates import CALIBRATED
from openrlb_analysis.inputs import check_tasks
from openrlb_analysis.intervals import interval_note, tails
from openrlb_analysis.result import IntervalMethod

if TYPE_CHECKING:
    from openrlb.types import Values

MAX_LATTICE = 1 << 16
"""The finest common grid of unequal numbers of runs on which the exact law is computed; beyond it, it is simulated."""
_SLACK = 1e-12  # what rounding may add to a probability


@dataclass(frozen=True, slots=True)
class Profile:
    """A performance profile.

    Attributes:
        of: ``runs`` (the share of runs above tau) or ``means`` (the share of environments whose mean is above tau).
        taus: The scores, ascending, shape ``(k,)``.
        value: The share strictly above each, shape ``(k,)``.
        low: The pointwise interval's lower end within [0, 1], NaN where there is none.
        high: The upper end.
        runs: Runs behind it.
        envs: Environments behind it.
        interval: How the interval was computed.
    """

    of: str
    taus: Values
    value: Values
    low: Values
    high: Values
    runs: int
    envs: int
    interval: IntervalMethod


def tau_grid(groups: Sequence[Sequence[Values]], points: int = 101, *, spacing: str = "linear") -> Values:
    """Scores at which profiles of several groups are told, from the lowest score of any group to the highest.

    Args:
        groups: For each group, one array of scores for each environment.
        points: How many, at least 2.
        spacing: ``linear``, or ``quantile``: at quantiles of all groups' scores, groups and environments counting
            equally, which shows where most runs are (rliable's non-linear scaling).

    Raises:
        UsageError: Fewer than two points, no such spacing, or scores that are no list of arrays.

    >>> tau_grid([[np.array([0.0, 1.0])], [np.array([2.0])]], 3).tolist()
    [0.0, 1.0, 2.0]
    """
    if points < 2 or spacing not in ("linear", "quantile"):
        raise UsageError(
            "no such grid of scores", "it has 2 points or more, and is linear or quantile", "leave the default of 101"
        )
    tasks = [scores for group in groups for scores in check_tasks(group)]
    values = np.concatenate(tasks)
    if spacing == "linear":
        return np.linspace(values.min(), values.max(), points)
    weights = np.concatenate(
        [np.full(len(scores), 1.0 / (len(scores) * len(group))) for group in groups for scores in check_tasks(group)]
    )
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    reached /= reached[-1]
    return np.unique(np.interp(np.linspace(0.0, 1.0, points), reached, values[order]))


def performance_profile(
    tasks: Sequence[Values] | Mapping[str, Values], taus: Values, method: IntervalMethod = CALIBRATED
) -> Profile:
    """The share of runs that score above each tau, every environment counting equally.

    ``percentile`` reads its ends off the exact bootstrap law; ``calibrated`` (the default) takes the wider of these,
    calibrated, and of Wilson's, and of one environment the exact binomial interval
    (:func:`openrlb_analysis.bounded.fraction_ends`), so that five runs above tau do not say "certainly all". All ends lie
    in [0, 1].

    Args:
        tasks: One array of scores for each environment.
        taus: Scores, shape ``(k,)``.
        method: How intervals are computed.

    Raises:
        UsageError: A matrix in place of one array for each environment, or an interval method that has no meaning here.

    >>> profile = performance_profile([np.array([1.0, 2.0, 3.0, 4.0])], np.array([0.0, 2.0, 4.0]))
    >>> profile.value.tolist(), profile.high.tolist()[0], bool(profile.low[0] < 1.0)
    ([1.0, 0.5, 0.0], 1.0, True)
    """
    scores, taus = check_tasks(tasks), np.asarray(taus, dtype=np.float64)
    sizes = [len(one) for one in scores]
    counts = _counts_above(scores, taus)
    value = (counts / np.array(sizes)).mean(axis=1)
    low = high = np.full(len(taus), np.nan)
    if min(sizes) >= method.fewest:
        _check(method)
        law_low, law_high = run_share_quantiles(counts, sizes, tails(method.level), resamples=method.resamples, seed=method.seed)
        if method.method == "calibrated":
            above = (np.concatenate(scores)[None, :] > taus[:, None]).astype(np.float64)
            low, high = fraction_ends(above, sizes, law_low, law_high, method.level)
        else:
            low, high = _ends(value, law_low, law_high, method.method)
    return Profile("runs", taus, value, low, high, sum(sizes), len(sizes), _told(method, sizes, "share of runs above tau"))


def mean_profile(tasks: Sequence[Values] | Mapping[str, Values], taus: Values, method: IntervalMethod = CALIBRATED) -> Profile:
    """The share of environments whose mean score lies above each tau (rliable's average-score distribution).

    Each environment's resampled mean lies above tau with some probability; the number of environments above is then
    a sum of independent yes-or-no variables, whose law is computed. ``calibrated`` lays each resampled mean
    ``sqrt(n / (n - 1)) t / z`` times as far from the mean, as a calibrated interval of that mean would.

    Args:
        tasks: One array of scores for each environment.
        taus: Scores, shape ``(k,)``.
        method: How intervals are computed.

    Raises:
        UsageError: As :func:`performance_profile`.

    >>> mean_profile([np.array([1.0, 3.0]), np.array([5.0, 6.0])], np.array([1.0, 4.0, 9.0])).value.tolist()
    [1.0, 0.5, 0.0]
    """
    from scipy.special import ndtri, stdtrit

    scores, taus = [np.sort(one) for one in check_tasks(tasks)], np.asarray(taus, dtype=np.float64)
    sizes = [len(one) for one in scores]
    value = np.mean([[float(one.mean() > tau) for tau in taus] for one in scores], axis=0)
    low = high = np.full(len(taus), np.nan)
    if min(sizes) >= method.fewest:
        _check(method)
        outside = tails(method.level)[1]
        above = np.empty((len(taus), len(scores)))
        drawn = resampled_means(scores, resamples=method.resamples, seed=method.seed)
        for env, (one, means) in enumerate(zip(scores, drawn, strict=True)):
            if method.method == "calibrated":
                size = len(one)
                factor = math.sqrt(size / (size - 1)) * float(stdtrit(size - 1, outside) / ndtri(outside))
                means = one.mean() + factor * (means - one.mean())
            means = np.sort(means)
            above[:, env] = 1.0 - np.searchsorted(means, taus, side="right") / len(means)
        law = _cumulated_law(above, [1] * len(scores), [1] * len(scores))
        law_low, law_high = (_quantile(law, probability) / len(scores) for probability in tails(method.level))
        low, high = _ends(value, law_low, law_high, method.method)
    told = _told(method, sizes, "share of environments whose mean is above tau")
    return Profile("means", taus, value, low, high, sum(sizes), len(sizes), told)


def run_share_quantiles(
    counts: Values, sizes: Sequence[int], probabilities: Sequence[float], *, resamples: int = 50_000, seed: int = 0
) -> list[Values]:
    """Quantiles of the bootstrap law of the share of runs above tau, exact.

    With k of an environment's n runs above tau, a resample has Binomial(n, k / n) of them. The law of their sum, each
    weighing ``1 / n``, is a product of characteristic functions on the grid of the sizes' least common multiple; only
    where that grid has more than :data:`MAX_LATTICE` points is it simulated.

    Args:
        counts: Runs above tau in each environment, shape ``(k, environments)``.
        sizes: Runs in each environment.
        probabilities: Which quantiles: the smallest shares that are not exceeded with these probabilities.
        resamples: Resamples, where it must be simulated.
        seed: Their seed.

    Returns:
        One array of shape ``(k,)`` for each probability.

    >>> [share.tolist() for share in run_share_quantiles(np.array([[2.0]]), [4], [0.1, 0.5, 0.95])]
    [[0.25], [0.5], [1.0]]
    """
    weights = run_weights(sizes)
    whole = np.issubdtype(weights.dtype, np.integer)
    total = int(sum(int(weight) * size for weight, size in zip(weights, sizes, strict=True))) if whole else MAX_LATTICE + 1
    if total <= MAX_LATTICE:
        shares = np.asarray(counts, dtype=np.float64) / np.asarray(sizes)
        law = _cumulated_law(shares, sizes, weights.tolist())
        return [_quantile(law, probability) / total for probability in probabilities]
    generator = np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed)))
    found = []
    for above in counts:
        drawn = generator.binomial(sizes, above / np.asarray(sizes), size=(resamples, len(sizes)))
        found.append(np.quantile((drawn / np.asarray(sizes)).mean(axis=1), probabilities))
    return list(np.array(found).T)


def _counts_above(scores: Sequence[Values], taus: Values) -> Values:
    """How many runs of each environment score above each tau, shape ``(taus, environments)``."""
    return np.stack([len(one) - np.searchsorted(np.sort(one), taus, side="right") for one in scores], axis=1).astype(np.float64)


def _cumulated_law(shares: Values, sizes: Sequence[int], weights: Sequence[int]) -> Values:
    """The distribution function of a weighted sum of independent binomial counts, at 0, 1, ..., total.

    Args:
        shares: The probability of each environment's binomial, shape ``(k, environments)``.
        sizes: Its number of trials.
        weights: What each success weighs, whole numbers.

    Returns:
        Shape ``(k, total + 1)``.
    """
    total = sum(size * weight for size, weight in zip(sizes, weights, strict=True))
    length = 1 << total.bit_length()
    turns = np.arange(length // 2 + 1) / length
    logs = np.zeros((len(shares), len(turns)), dtype=np.complex128)
    for size in sorted(set(sizes)):
        same = np.flatnonzero(np.asarray(sizes) == size)
        different, which = np.unique(shares[:, same], return_inverse=True)
        rows = np.arange(len(shares))[:, None] * len(different)
        times = np.bincount((which.reshape(-1, len(same)) + rows).ravel(), minlength=len(shares) * len(different))
        around = np.exp(-2j * np.pi * turns * float(weights[same[0]]))
        response = 1.0 + different[:, None] * (around - 1.0)
        response[np.abs(response) < 1e-300] = 1e-300  # its logarithm shall be a number
        logs += times.reshape(len(shares), -1) @ (float(size) * np.log(response))
    law = np.fft.irfft(np.exp(logs), n=length, axis=1)[:, : total + 1]
    return np.asarray(np.cumsum(law, axis=1))


def _quantile(law: Values, probability: float) -> Values:
    """The smallest value that is not exceeded with this probability, for each row of distribution functions."""
    return np.asarray(np.argmax(law >= min(probability, 1.0) - _SLACK, axis=1))


def _check(method: IntervalMethod) -> None:
    """Refuses what has no meaning for a fraction."""
    if method.method == "bca":
        why = "its correction asks for a smooth statistic, and a fraction of few runs is none"
        raise UsageError("a performance profile has no BCa interval", why, "use --interval calibrated or percentile")


def _ends(value: Values, low: Values, high: Values, method: str) -> tuple[Values, Values]:
    """Percentile ends as they are, basic ones reflected; within [0, 1]."""
    if method == "basic":
        low, high = 2.0 * value - high, 2.0 * value - low
    return np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0)


def _told(method: IntervalMethod, sizes: Sequence[int], name: str) -> IntervalMethod:
    """The method with what a reader must know."""
    return replace(method, note=interval_note(method.method, sizes, name))
