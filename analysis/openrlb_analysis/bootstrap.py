"""The stratified bootstrap, vectorised: runs are drawn with replacement within each environment, environments stay.

The law is that of rliable's ``StratifiedBootstrap`` (Agarwal et al. 2021, section 4.1); tests hold the two together.
Three things make it fast: small random integers from SFC64, ranks in place of scores (sorting 32-bit whole numbers is
what processors do best, and the scores come back unrounded), and chunks that stay in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from openrlb_analysis.aggregates import GAMMA, quarter, run_weights
from openrlb_analysis.counts import CountStatistic, draw_counts, with_doubles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from openrlb.types import Values

    Indices = NDArray[Any]

_CHUNK_ELEMENTS = 1 << 14  # larger arrays are given back to the system and fetched again each time: measured 4 times slower
_CURVE_ELEMENTS = 1 << 17
_FEW_ROWS = 4
"""To sort every draw is faster than to order distinct ones by reference, unless those are fewer by this factor."""


def draw_runs(sizes: Sequence[int], resamples: int, seed: int) -> Iterator[Indices]:
    """Yields which runs each resample holds, chunk by chunk.

    Args:
        sizes: Runs in each environment, each at least 1.
        resamples: How many resamples in all.
        seed: Seed of the random numbers; equal arguments give equal draws.

    Yields:
        Positions in the environments' concatenated scores, shape ``(rows, sum(sizes))``; within a row the columns of
        one environment lie together and hold positions of that environment only.

    >>> [chunk.shape for chunk in draw_runs([2, 3], 4, 0)]
    [(4, 5)]
    """
    generator = np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed)))
    ends = np.cumsum(sizes)
    starts = ends - sizes
    total = int(ends[-1])
    rows = max(32, _CHUNK_ELEMENTS // total)
    blocks: list[tuple[int, Indices, Indices]] = []
    for size in sorted(set(sizes)):
        members = np.flatnonzero(np.asarray(sizes) == size)
        columns = (starts[members][:, None] + np.arange(size)).ravel()
        blocks.append((size, columns, np.repeat(starts[members], size).astype(_smallest(total))))
    for begin in range(0, resamples, rows):
        count = min(rows, resamples - begin)
        if len(blocks) == 1:
            size, _, offsets = blocks[0]
            yield generator.integers(0, size, size=(count, total), dtype=_smallest(size)) + offsets
            continue
        chunk = np.empty((count, total), dtype=_smallest(total))
        for size, columns, offsets in blocks:
            chunk[:, columns] = generator.integers(0, size, size=(count, len(columns)), dtype=_smallest(size)) + offsets
        yield chunk


def _smallest(bound: int) -> type[np.uint8] | type[np.uint16] | type[np.uint32]:
    """The smallest unsigned type that holds whole numbers below ``bound``; fewer bytes mean fewer random bits to make."""
    return np.uint8 if bound <= 1 << 8 else np.uint16 if bound <= 1 << 16 else np.uint32


class Statistic:
    """One aggregate, ready to be computed for many resamples of the same scores at once.

    Args:
        name: ``iqm``, ``mean``, ``median`` or ``optimality-gap`` (:data:`openrlb_analysis.aggregates.AGGREGATES`).
        tasks: One array of finite scores for each environment, each of shape ``(n_e,)``.
    """

    def __init__(self, name: str, tasks: Sequence[Values]) -> None:
        self.name = name
        sizes = np.array([len(scores) for scores in tasks])
        values = np.concatenate(tasks).astype(np.float64)
        if name == "iqm":
            weights = np.repeat(run_weights(sizes.tolist()), sizes)
            order = np.lexsort((weights, values))
            self._ranks = np.empty(len(values), dtype=np.int32)
            self._ranks[order] = np.arange(len(values), dtype=np.int32)
            self._values, self._weights = values[order], weights[order]
            self._equal = bool(np.all(weights == weights[0]))
            self._limit = quarter(weights.sum())
        else:
            self._values = np.minimum(values, GAMMA) if name == "optimality-gap" else values
            self._shares = np.repeat(1.0 / (sizes * len(sizes)), sizes)
            self._starts, self._sizes = np.cumsum(sizes) - sizes, sizes

    def of(self, drawn: Indices) -> Values:
        """The aggregate of each resample.

        Args:
            drawn: A chunk of :func:`draw_runs`, shape ``(rows, runs)``.

        Returns:
            Shape ``(rows,)``.
        """
        if self.name == "iqm":
            return self._iqm(drawn)
        scores = self._values.take(drawn, mode="clip")
        if self.name == "median":
            means = np.add.reduceat(scores, self._starts, axis=1) / self._sizes
            means.sort(axis=1)
            return np.asarray((means[:, (means.shape[1] - 1) // 2] + means[:, means.shape[1] // 2]) / 2)
        means = scores @ self._shares
        return GAMMA - means if self.name == "optimality-gap" else means

    def _iqm(self, drawn: Indices) -> Values:
        """The interquartile mean of each row, dropping whole runs as :func:`openrlb_analysis.aggregates.iqm` does."""
        ranks = self._ranks.take(drawn, mode="clip")
        ranks.sort(axis=1)
        if self._equal:
            dropped = ranks.shape[1] // 4
            return np.asarray(self._values.take(ranks[:, dropped : ranks.shape[1] - dropped], mode="clip").mean(axis=1))
        weights = self._weights.take(ranks, mode="clip")
        below = np.cumsum(weights, axis=1)
        above = below[:, -1:] - below + weights
        weights = np.where((below > self._limit) & (above > self._limit), weights, 0).astype(np.float64)
        return np.asarray((self._values.take(ranks, mode="clip") * weights).sum(axis=1) / weights.sum(axis=1))


def bootstrap(tasks: Sequence[Values], names: Sequence[str], *, resamples: int = 50_000, seed: int = 0) -> dict[str, Values]:
    """Resampled values of several aggregates, all from the same draws.

    Scores are put in order within each environment first, so that the order in which runs are listed changes nothing.

    Args:
        tasks: One array of finite scores for each environment, each of shape ``(n_e,)``, ``n_e >= 1``.
        names: Aggregates, as in :data:`openrlb_analysis.aggregates.AGGREGATES`.
        resamples: Bootstrap resamples.
        seed: Seed of the random numbers.

    Returns:
        For each name an array of shape ``(resamples,)``.

    >>> draws = bootstrap([np.array([1.0, 1.0, 1.0])], ["iqm"], resamples=100)["iqm"]
    >>> draws.shape, draws.min(), draws.max()
    ((100,), np.float64(1.0), np.float64(1.0))
    """
    ordered = [np.sort(scores) for scores in tasks]
    statistics = [CountStatistic(name, ordered) for name in names]
    draws = {name: np.empty(resamples) for name in names}
    for place, counts, doubles in with_doubles([len(scores) for scores in ordered], resamples, seed):
        for statistic in statistics:
            draws[statistic.name][place] = statistic.of(counts, doubles)
    return draws


def resampled_means(tasks: Sequence[Values], *, resamples: int = 50_000, seed: int = 0) -> Values:
    """Each environment's mean score in each resample.

    Args:
        tasks: One array of finite scores for each environment, each of shape ``(n_e,)``, ``n_e >= 1``.
        resamples: Bootstrap resamples.
        seed: Seed of the random numbers.

    Returns:
        Shape ``(environments, resamples)``.

    >>> resampled_means([np.array([1.0, 1.0]), np.array([2.0])], resamples=2).tolist()
    [[1.0, 1.0], [2.0, 2.0]]
    """
    statistic = CountStatistic("mean", tasks)
    means = np.empty((len(tasks), resamples))
    for place, _, doubles in with_doubles([len(scores) for scores in tasks], resamples, seed):
        means[:, place] = statistic.means(doubles)
    return means


def bootstrap_curves(tables: Sequence[Values], name: str, *, resamples: int = 50_000, seed: int = 0) -> Values:
    """An aggregate's resamples along learning curves of several environments, whole runs being drawn.

    One draw of runs serves all positions, as a run is one thing: what depends on several positions (an area, the first
    step above a threshold, a band for the whole curve) has its right law. rliable draws anew at each position.

    Args:
        tables: For each environment finite values, shape ``(n_e, positions)``.
        name: The aggregate.
        resamples: Bootstrap resamples.
        seed: Seed of the random numbers.

    Returns:
        Shape ``(positions, resamples)``.

    >>> bootstrap_curves([np.array([[1.0, 2.0], [1.0, 2.0]])], "iqm", resamples=3).tolist()
    [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]
    """
    positions = tables[0].shape[1]
    statistics = [CountStatistic(name, [table[:, position] for table in tables]) for position in range(positions)]
    draws = np.empty((positions, resamples))
    for place, counts, doubles in with_doubles([len(table) for table in tables], resamples, seed):
        for position, statistic in enumerate(statistics):
            draws[position, place] = statistic.of(counts, doubles)
    return draws


@dataclass(frozen=True, slots=True)
class Draws:
    """Resampled values of one statistic, each as often as ``counts`` says; None counts every value once.

    Attributes:
        values: Shape ``(k,)``.
        counts: How often each was drawn, shape ``(k,)``.
    """

    values: Values
    counts: NDArray[np.int64] | None = None

    def quantiles(self, probabilities: Sequence[float]) -> Values:
        """Quantiles, interpolated linearly, as ``numpy.quantile`` does.

        >>> Draws(np.array([3.0, 1.0]), np.array([1, 2])).quantiles([0.5, 0.75]).tolist()
        [1.0, 2.0]
        """
        if self.counts is None:
            return np.asarray(np.quantile(self.values, probabilities))
        order = np.argsort(self.values)
        ends = np.cumsum(self.counts[order])
        place = np.asarray(probabilities) * (ends[-1] - 1)
        below = np.floor(place).astype(np.int64)
        low, high = (
            self.values[order[np.searchsorted(ends, index, side="right")]]
            for index in (below, np.minimum(below + 1, ends[-1] - 1))
        )
        return np.asarray(low + (high - low) * (place - below))

    def mean(self) -> float:
        """Their mean."""
        return float(np.average(self.values, weights=self.counts))

    def share_below(self, value: float) -> float:
        """The share of draws below a value, those equal to it (but for rounding) counted half.

        >>> Draws(np.array([0.0, 1.0, 1.0, 2.0])).share_below(1.0)
        0.5
        """
        slack = 1e-9 * float(np.ptp(self.values))
        side = np.where(np.abs(self.values - value) <= slack, 0.5, (self.values < value).astype(np.float64))
        return float(np.average(side, weights=self.counts))


def curve_draws(curves: Values, name: str, *, resamples: int = 50_000, seed: int = 0) -> Iterator[Draws]:
    """Yields an aggregate's resamples at each position of one environment's learning curves.

    Runs are drawn by their rank at the position, as :func:`bootstrap` draws them, and the same draws serve all
    positions: each aggregate of one environment weighs the ordered scores, so that the draws become one matrix of
    weights. Pointwise this is the law of resampled runs, and equal to :func:`bootstrap` position by position.

    Args:
        curves: Finite values, shape ``(runs, positions)``.
        name: The aggregate.
        resamples: Bootstrap resamples.
        seed: Seed of the random numbers.

    Yields:
        The draws of one position after the other.

    >>> [draws.mean() for draws in curve_draws(np.array([[1.0, 2.0], [1.0, 2.0]]), "mean", resamples=10)]
    [1.0, 2.0]
    """
    weights, counts = _rank_weights(len(curves), name == "iqm", resamples, seed)
    for scores in _ordered(curves, name):
        values = weights @ scores
        yield Draws(GAMMA - values if name == "optimality-gap" else values, counts)


def curve_centres(curves: Values, name: str, *, resamples: int = 50_000, seed: int = 0) -> Values:
    """The mean of the draws of :func:`curve_draws` at each position, shape ``(positions,)``.

    >>> curve_centres(np.array([[1.0, 2.0], [1.0, 2.0]]), "mean", resamples=10).tolist()
    [1.0, 2.0]
    """
    weights, counts = _rank_weights(len(curves), name == "iqm", resamples, seed)
    means = _ordered(curves, name) @ np.average(weights, axis=0, weights=counts)
    return np.asarray(GAMMA - means if name == "optimality-gap" else means)


def bootstrap_curve(curves: Values, name: str, quantiles: Sequence[float], *, resamples: int = 50_000, seed: int = 0) -> Values:
    """Quantiles of an aggregate's resamples at each position of one environment's learning curves.

    Args:
        curves: Finite values, shape ``(runs, positions)``.
        name: The aggregate.
        quantiles: Probabilities in [0, 1].
        resamples: Bootstrap resamples.
        seed: Seed of the random numbers.

    Returns:
        Shape ``(len(quantiles), positions)``; quantiles are interpolated linearly, as ``numpy.quantile`` does.

    >>> bootstrap_curve(np.array([[1.0, 2.0], [1.0, 2.0]]), "mean", [0.5], resamples=10).tolist()
    [[1.0, 2.0]]
    """
    weights, counts = _rank_weights(len(curves), name == "iqm", resamples, seed)
    ordered = _ordered(curves, name)
    found = np.empty((len(quantiles), len(ordered)))
    rows = max(1, _CURVE_ELEMENTS // len(weights))
    for start in range(0, len(ordered), rows):
        part = slice(start, start + rows)
        values = ordered[part] @ weights.T
        found[:, part] = _row_quantiles(GAMMA - values if name == "optimality-gap" else values, counts, quantiles)
    return found


def _ordered(curves: Values, name: str) -> Values:
    """The scores at each position in order, shape ``(positions, runs)``; those above gamma count as gamma where only gaps do."""
    scores = np.ascontiguousarray(np.transpose(np.minimum(curves, GAMMA) if name == "optimality-gap" else curves))
    return np.sort(scores, axis=1)


def _row_quantiles(values: Values, counts: NDArray[np.int64] | None, probabilities: Sequence[float]) -> Values:
    """:meth:`Draws.quantiles` of each row; shape ``(len(probabilities), rows)``."""
    if counts is None:
        values.sort(axis=1)
        last = values.shape[1] - 1
    else:
        order = np.argsort(values, axis=1)
        ends = np.cumsum(counts[order], axis=1)
        last = int(ends[0, -1]) - 1
    found = np.empty((len(probabilities), len(values)))
    for row, probability in zip(found, probabilities, strict=True):
        place = probability * last
        below = int(place)
        if counts is None:
            low, high = (values[:, index] for index in (below, min(below + 1, last)))
        else:
            reached = ((ends <= index).sum(axis=1, keepdims=True) for index in (below, min(below + 1, last)))
            low, high = (np.take_along_axis(values, np.take_along_axis(order, index, axis=1), axis=1)[:, 0] for index in reached)
        row[:] = low + (high - low) * (place - below)
    return found


@lru_cache(maxsize=16)
def _rank_weights(runs: int, trimmed: bool, resamples: int, seed: int) -> tuple[Values, NDArray[np.int64] | None]:
    """What each ordered score weighs in the (trimmed) mean of a resample: distinct rows and how often each, if few, else all."""
    dropped = runs // 4 if trimmed else 0
    sums = [np.cumsum(counts, axis=0, dtype=np.int64) for counts in draw_counts([runs], resamples, seed)]
    reached = np.clip(np.concatenate(sums, axis=1).T, dropped, runs - dropped) - dropped
    rows, counts = np.unique(np.diff(reached, axis=1, prepend=0), axis=0, return_counts=True)
    weights = rows / (runs - 2 * dropped)
    few = len(rows) * _FEW_ROWS <= resamples
    return (weights, counts) if few else (np.repeat(weights, counts, axis=0), None)
