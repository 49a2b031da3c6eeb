"""What few seeds hide from a bootstrap, added by formula: degrees of freedom, the lost variance, and skewness.

A resample of n runs has (n - 1) / n of the variance that n new runs would have, its quantiles are those of a normal
where Student's are due, and a percentile interval makes up a third of what skewness asks for. All three follow from the
linear part of the statistic: what each run contributes to it. Everything here works on arrays whose last axis is the
runs, so that a learning curve's positions, or thousands of simulated studies, are one call.

Sources: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapters 14 (BCa) and 21 (influence); Welch 1947
and Satterthwaite 1946 for the degrees of freedom; Johnson 1978, "Modified t tests and confidence intervals for
asymmetrical populations", and Hall 1992, "The Bootstrap and Edgeworth Expansion", section 3.6, for skewness; Tukey and
McLaughlin 1963 for winsorised contributions. How well it works is measured: docs/coverage.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from openrlb_analysis.aggregates import GAMMA, quarter, run_weights
from openrlb_analysis.bootstrap import draw_runs
from openrlb_analysis.quantiles import gamma_quantile, normal_quantile, student_quantile

if TYPE_CHECKING:
    from openrlb.types import Values

_MEDIAN_RESAMPLES = 500
_SIMULATED = 1_000_000
_ROUNDING = 1e-9
_BLIND = 0.05
"""An interval narrower than this share of the t interval shows nothing: of untied runs it is about as wide."""
_FEWEST_TRIMMED = 4
# fmt: off
_TRIMMED_SHARES = (
    1.5401774319954378, 1.3835255886451836, 1.3110395574725793, 1.2382188054101027, 1.3004372977828738, 1.2387202268881925,
    1.2285654063531932, 1.1828538713780463, 1.1946848763259998, 1.1699521841159544, 1.160386796646261, 1.1523371022202455,
    1.1554696601899486, 1.1355790520739146, 1.136163111314124, 1.1240183694003187, 1.120834746646532, 1.1158886754545327,
    1.1200377366461243, 1.100409139784808, 1.098600223530467, 1.0877587974911438, 1.0970012178782325, 1.0920385830603099,
    1.1141121757928032, 1.1016168765715855, 1.0775830773586863, 1.059456457259377, 1.0791507880985725, 1.066697023474603,
    1.0782873281244614, 1.0612717705487844, 1.067941437801892, 1.0545702583637429, 1.059599600861232, 1.050893692486076,
    1.0567438534632654, 1.0595924046223582, 1.0704748480733082, 1.0758685467738256, 1.0642709951857392, 1.0538020625883022,
    1.0266549715298339, 1.0285545216501066, 1.0553088815321199, 1.045521782864845, 1.0410432136628331, 1.017693678698471,
    1.0719085789412475, 1.0269236643469393, 1.0789471507931778, 1.0393227690655509, 1.0321213253078938, 1.040791846561849,
    1.042840738526687, 1.0319189708335725, 1.032540500422413, 1.0300869592041435, 1.0086704658726626, 1.023931042600824,
    1.0650189402301142,
)
# fmt: on
"""What :func:`simulated_share` gives for 4 runs and more; beyond the last it is nearly 1."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How an estimate varies, from the runs' contributions; each field has the shape of the estimates.

    Attributes:
        error: The standard error, from the environments' unbiased variances.
        resampled: The standard error that resampling shows, from variances divided by n (:func:`shown_shares`).
        degrees: Degrees of freedom of ``error``: n - 1 for one environment; Welch and Satterthwaite's for several, with
            each variance at its upper 90 % limit: one of few runs comes out too small more often than one of many, and
            would then borrow the degrees of the others. With equally many runs that changes nothing.
        skewness: The estimate's skewness, from unbiased third cumulants (environments of two runs count as symmetric).
        acceleration: Efron's acceleration, a sixth of the skewness that resampling shows.
    """

    error: Values
    resampled: Values
    degrees: Values
    skewness: Values
    acceleration: Values


def contributions(name: str, scores: Values, sizes: Sequence[int]) -> Values:
    """What each run contributes to an aggregate: its linear part, up to a constant.

    Near the scores the aggregate is the sum over environments of the mean of the runs' contributions. For the
    interquartile mean a trimmed run contributes the nearest score that is kept (winsorising). The median follows the
    environments in the middle: each counts by how often resamples put it there. Where the runs that count tie, as at a
    ceiling that most runs reach, both would say that nothing varies: the mean's contributions stand in.

    Args:
        name: The aggregate, as in :data:`openrlb_analysis.aggregates.AGGREGATES`.
        scores: Finite scores, the environments' runs one after another, shape ``(..., sum(sizes))``.
        sizes: Runs in each environment.

    Returns:
        The shape of ``scores``.

    >>> contributions("mean", np.array([1.0, 3.0, 7.0]), [2, 1]).tolist()
    [0.5, 1.5, 3.5]
    """
    envs = len(sizes)
    if name == "iqm":
        return _unless_tied(_winsorised(scores, sizes), scores, sizes)
    if name == "median":
        return _unless_tied(scores * np.repeat(_middle_shares(scores, sizes), sizes, axis=-1), scores, sizes)
    if name == "optimality-gap":
        return np.asarray(-np.minimum(scores, GAMMA) / envs)
    return scores / envs


def _unless_tied(contributed: Values, scores: Values, sizes: Sequence[int]) -> Values:
    """Contributions as they are, or the mean's where they are the same, but for rounding, for all runs of each environment."""
    starts = np.cumsum(sizes) - np.asarray(sizes)
    apart = np.maximum.reduceat(contributed, starts, axis=-1) - np.minimum.reduceat(contributed, starts, axis=-1)
    tied = apart.max(axis=-1, keepdims=True) <= _ROUNDING * np.abs(contributed).max(axis=-1, keepdims=True)
    return np.asarray(np.where(tied, scores / len(sizes), contributed))


def _winsorised(scores: Values, sizes: Sequence[int]) -> Values:
    """Scores drawn in to the outermost kept ones, over the share of the weight that is kept."""
    weights = np.repeat(run_weights(sizes), sizes)
    limit = quarter(weights.sum())
    order = np.argsort(scores, axis=-1, kind="stable")
    ordered, weights = np.take_along_axis(scores, order, axis=-1), weights[order]
    below = np.cumsum(weights, axis=-1)
    above = below[..., -1:] - below + weights
    kept = (below > limit) & (above > limit)
    low = np.where(kept, ordered, np.inf).min(axis=-1, keepdims=True)
    high = np.where(kept, ordered, -np.inf).max(axis=-1, keepdims=True)
    share = np.where(kept, weights, 0).sum(axis=-1, keepdims=True) / below[..., -1:]
    return np.asarray(np.clip(scores, low, high) / (share * len(sizes)))


def _middle_shares(scores: Values, sizes: Sequence[int]) -> Values:
    """How often each environment's mean is the middle one of a resample; shape ``(..., environments)``, sums to 1."""
    envs = len(sizes)
    if envs == 1:
        return np.ones((*scores.shape[:-1], 1))
    drawn = np.concatenate(list(draw_runs(sizes, _MEDIAN_RESAMPLES, 0))).astype(np.int64)
    rows = np.arange(len(drawn))[:, None] * scores.shape[-1]
    counts = np.bincount((drawn + rows).ravel(), minlength=len(drawn) * scores.shape[-1]).reshape(len(drawn), -1)
    starts = np.cumsum(sizes) - np.asarray(sizes)
    means = np.stack(
        [
            scores[..., start : start + size] @ (counts[:, start : start + size].T / size)
            for start, size in zip(starts, sizes, strict=True)
        ],
        axis=-1,
    )
    order = np.argsort(means, axis=-1)
    middle = order[..., [(envs - 1) // 2, envs // 2]]
    return np.stack([(middle == env).mean(axis=(-2, -1)) for env in range(envs)], axis=-1)


def jackknife(statistic: Callable[[Sequence[Values]], float], tasks: Sequence[Values]) -> list[Values]:
    """The runs' contributions to any statistic, by leaving each out in turn (Tukey's jackknife, environment by environment).

    Args:
        statistic: A function of one array of scores for each environment.
        tasks: Those arrays, each of shape ``(n_e,)``, ``n_e >= 2``.

    Returns:
        One array of contributions for each environment.

    >>> [part.tolist() for part in jackknife(lambda tasks: float(np.mean(tasks[0])), [np.array([1.0, 2.0, 6.0])])]
    [[-8.0, -7.0, -3.0]]
    """
    parts = []
    for index, scores in enumerate(tasks):
        without = [statistic([*tasks[:index], np.delete(scores, run), *tasks[index + 1 :]]) for run in range(len(scores))]
        parts.append(-(len(scores) - 1) * np.array(without))
    return parts


def shown_shares(name: str, sizes: Sequence[int]) -> list[float]:
    """How much of an aggregate's variance its resamples show in each environment, over what those of a mean show.

    A resample of n runs shows (n - 1) / n of a mean's variance. An interquartile mean of one environment loses nothing: its
    resamples hold the outer runs several times over, so that trimming keeps some, and vary more than new runs would (by a
    tenth in variance with 5 normal runs). How much more is found by simulating normal runs, for up to 64 of them; pooled
    environments have too many runs for it to matter.

    Args:
        name: The aggregate.
        sizes: Runs in each environment of one group.

    >>> shown_shares("mean", [5]), shown_shares("iqm", [3]), [round(share, 1) for share in shown_shares("iqm", [5])]
    ([1.0], [1.0], [1.4])
    """
    if name != "iqm" or len(sizes) > 1:
        return [1.0] * len(sizes)
    cut, last = sizes[0] // 4, len(_TRIMMED_SHARES) + _FEWEST_TRIMMED
    return [_TRIMMED_SHARES[sizes[0] - _FEWEST_TRIMMED] if cut and sizes[0] < last else 1.0]


def simulated_share(runs: int) -> float:
    """The variance that resamples of an interquartile mean show, over (n - 1) / n of its variance, for normal runs.

    Args:
        runs: At least 4. It takes 50 ms, so that the first are kept in ``_TRIMMED_SHARES``; a test computes some again.
    """
    cut = runs // 4
    generator = np.random.Generator(np.random.SFC64(np.random.SeedSequence(runs)))
    scores = np.sort(generator.standard_normal((_SIMULATED // runs, runs)), axis=1)
    kept = np.sort(generator.integers(0, runs, (_SIMULATED // 2 // runs, runs)), axis=1)[:, cut : runs - cut]
    flat = kept + np.arange(len(kept))[:, None] * runs
    weights = np.bincount(flat.ravel(), minlength=len(kept) * runs).reshape(-1, runs) / kept.shape[1]
    shown = float(((scores @ np.cov(weights.T)) * scores).sum(axis=1).mean())
    return shown / float(scores[:, cut : runs - cut].mean(axis=1).var()) * runs / (runs - 1)


def spread(contributed: Values, sizes: Sequence[int], shares: Sequence[float] | None = None) -> Spread:
    """How an estimate varies, from its runs' contributions.

    Args:
        contributed: Shape ``(..., sum(sizes))``. For a difference of two independent groups: both groups' contributions
            one after the other, the second's negated.
        sizes: Runs in each environment (of each group), each at least 2.
        shares: From :func:`shown_shares`, for each of them; None for a statistic whose resamples show what a mean's do.

    >>> found = spread(contributions("mean", np.array([1.0, 2.0, 3.0]), [3]), [3])
    >>> float(found.error) == (1 / 3) ** 0.5, float(found.degrees), float(found.skewness)
    (True, 2.0, 0.0)
    """
    runs = np.asarray(sizes, dtype=np.float64)
    starts = np.cumsum(sizes) - np.asarray(sizes)
    means = np.add.reduceat(contributed, starts, axis=-1) / runs
    apart = contributed - np.repeat(means, sizes, axis=-1)
    squares = np.add.reduceat(apart**2, starts, axis=-1)
    cubes = np.add.reduceat(apart**3, starts, axis=-1)
    variances = squares / (runs * (runs - 1))
    variance, shown = variances.sum(axis=-1), (squares / runs**2).sum(axis=-1)
    resampled = shown if shares is None else (squares / runs**2 * np.asarray(shares)).sum(axis=-1)
    unbiased = np.where(runs > 2, cubes / (runs * (runs - 1) * np.maximum(runs - 2, 1)), 0.0).sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        upper = variances * [_upper_limit(int(size)) for size in sizes]
        degrees = np.where(variance > 0, runs[0] - 1, np.nan)
        if len(runs) > 1:
            degrees = upper.sum(axis=-1) ** 2 / (upper**2 / (runs - 1)).sum(axis=-1)
        skewness = unbiased / variance**1.5
        acceleration = (cubes / runs**3).sum(axis=-1) / (6 * shown**1.5)
    return Spread(np.sqrt(variance), np.sqrt(resampled), degrees, skewness, acceleration)


@cache
def _upper_limit(runs: int) -> float:
    """The upper 90 % limit of a variance of so many runs, as a multiple of it."""
    half = (runs - 1) / 2
    return half / gamma_quantile(half, 0.1) if runs > 1 else np.nan


def calibrated_ends(
    estimate: Values | float, centre: Values | float, low: Values | float, high: Values | float, found: Spread, level: float
) -> tuple[Values, Values]:
    """The calibrated interval: percentile distances from the resamples' centre, widened by Student's t and by skewness.

    With t the quantile of Student's distribution at ``found.degrees`` and z the normal one, the distances of the
    percentile ends from the resamples' mean are multiplied by ``(error / resampled) * t / z`` and laid off from the
    estimate; measuring them from the resamples' own mean keeps the bootstrap's bias from being counted twice. A
    percentile interval holds ``a (z**2 - 1)`` of the ``a (2 z**2 + 1)`` standard errors by which skewness ``6 a``
    moves both ends (Hall 1992); the missing ``a (t**2 + 2)`` are added where they widen the interval, never where they
    would shorten it, since a skewness of few runs is mostly noise. Where the ends would meet though runs differ (so many
    tie that hardly a resample moves), it is the t interval.

    Args:
        estimate: The estimate.
        centre: The resamples' mean.
        low: The resamples' lower quantile, at ``(1 - level) / 2``.
        high: Their upper quantile.
        found: The estimate's spread.
        level: The nominal coverage.

    Returns:
        The lower and the upper end, the estimate twice where all runs of each environment are equal.

    >>> scores = np.array([1.0, 2.0, 3.0])
    >>> low, high = calibrated_ends(2.0, 2.0, 1.2, 2.8, spread(contributions("mean", scores, [3]), [3]), 0.95)
    >>> round(float(low), 3), round(float(high), 3)
    (-0.151, 4.151)
    """
    outside = (1.0 - level) / 2.0
    with np.errstate(divide="ignore", invalid="ignore"):
        student = student_quantile(found.degrees, 1.0 - outside)
        factor = found.error / found.resampled * student / normal_quantile(1.0 - outside)
        shift = found.skewness / 6.0 * (student**2 + 2.0) * found.error
        lower = estimate - factor * np.maximum(np.subtract(centre, low), 0.0) + np.minimum(shift, 0.0)
        upper = estimate + factor * np.maximum(np.subtract(high, centre), 0.0) + np.maximum(shift, 0.0)
        half = student * found.error
        half = np.where(upper - lower <= 2.0 * _BLIND * half, half, 0.0)  # resamples that show nothing of runs that differ
    varies = found.resampled > 0
    return np.where(varies, lower - half, estimate), np.where(varies, upper + half, estimate)


def student_ends(estimate: Values | float, found: Spread, level: float) -> tuple[Values, Values]:
    """The t interval, with no bootstrap: the estimate and Student's quantile times its standard error on each side.

    >>> low, high = student_ends(2.0, spread(contributions("mean", np.array([1.0, 2.0, 3.0]), [3]), [3]), 0.95)
    >>> round(float(low), 3), round(float(high), 3)
    (-0.484, 4.484)
    """
    with np.errstate(invalid="ignore"):
        half = np.where(found.error > 0, student_quantile(found.degrees, 0.5 + level / 2.0) * found.error, 0.0)
    return np.asarray(estimate - half), np.asarray(estimate + half)


def bca_probabilities(share_below: Values | float, acceleration: Values | float, level: float) -> tuple[Values, Values]:
    """Which quantiles of the resamples a BCa interval takes (Efron 1987, "Better Bootstrap Confidence Intervals").

    Args:
        share_below: The share of resamples below the estimate, those equal to it counted half.
        acceleration: Efron's acceleration.
        level: The nominal coverage.

    Returns:
        The lower and the upper probability, NaN where the correction has no meaning: all resamples on one side of the
        estimate, no acceleration (equal runs), or a correction beyond its pole.

    >>> low, high = bca_probabilities(0.5, 0.0, 0.95)
    >>> round(float(low), 4), round(float(high), 4)
    (0.025, 0.975)
    """
    from scipy.special import ndtr, ndtri

    normal = ndtri(0.5 + level / 2.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        bias = ndtri(np.asarray(share_below, dtype=np.float64))
        ends = []
        for side in (-normal, normal):
            pole = 1.0 - np.asarray(acceleration) * (bias + side)
            ends.append(np.where(np.isfinite(bias) & (pole > 0), ndtr(bias + (bias + side) / pole), np.nan))
    return ends[0], ends[1]
