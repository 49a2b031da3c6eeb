"""Resamples told by how often each run was drawn: quicker to draw, and quicker to sum, than the drawn runs themselves.

Two things make it fast. Several draws among n runs are one random number below n^d, whose counts are looked up. And an
interquartile mean asks for no sorting: with the scores put in order once, the running sums of the counts say how much of
each gap between neighbouring scores lies within the middle half of a resample.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from openrlb_analysis.aggregates import GAMMA, quarter, run_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from openrlb.types import Values

    Counts = NDArray[Any]

_TABLE_ENTRIES = 1 << 14  # a table of 16-byte entries then fits the processor's second cache
_LANES = {8: np.dtype(np.uint64), 16: np.dtype(np.complex128), 32: np.dtype("V32")}
"""Counts of up to so many runs, one byte each, are moved as one element of this type."""
_BLOCK = 32
_ELEMENTS = 1 << 19  # counts in a chunk: measured best where one fits the second cache


def draw_counts(sizes: Sequence[int], resamples: int, seed: int) -> Iterator[Counts]:
    """Yields how often each resample holds each run, chunk by chunk; runs are drawn within their environment.

    Args:
        sizes: Runs in each environment, each at least 1.
        resamples: How many resamples in all.
        seed: Seed of the random numbers; equal arguments give equal draws.

    Yields:
        Whole numbers, shape ``(sum(sizes), columns)``: one column for each resample; the rows of one environment lie
        together and sum to its size. Not to be written to.

    >>> [chunk.shape for chunk in draw_counts([2, 3], 4, 0)]
    [(5, 4)]
    """
    total = int(sum(sizes))
    columns = min(resamples, max(256, _ELEMENTS // total))
    if total * resamples <= _ELEMENTS:
        yield _drawn_once(tuple(sizes), resamples, seed)
    else:
        generator = _generator(seed)
        for begin in range(0, resamples, columns):
            yield _chunk(generator, sizes, min(columns, resamples - begin))


@lru_cache(maxsize=8)
def _drawn_once(sizes: tuple[int, ...], resamples: int, seed: int) -> Counts:
    """What fits one chunk, half a megabyte at most: a figure asks for the same draws for each group and environment."""
    counts = _chunk(_generator(seed), sizes, resamples)
    counts.flags.writeable = False
    return counts


def _generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed)))


def _chunk(generator: np.random.Generator, sizes: Sequence[int], columns: int) -> Counts:
    """The next resamples; shape ``(sum(sizes), columns)``."""
    total = int(sum(sizes))
    chunk = np.empty((total, columns), dtype=_smallest(total))
    row = 0
    for size in sizes:
        chunk[row : row + size] = _counts_of(generator, size, columns).T
        row += size
    return chunk


def with_doubles(sizes: Sequence[int], resamples: int, seed: int) -> Iterator[tuple[slice, Counts, Values]]:
    """Yields chunks of :func:`draw_counts`, each with its place among all resamples and the same counts as doubles.

    >>> [place for place, _, _ in with_doubles([2, 3], 4, 0)]
    [slice(0, 4, None)]
    """
    begin, doubles = 0, np.empty((0, 0))
    for counts in draw_counts(sizes, resamples, seed):
        if doubles.shape != counts.shape:
            doubles = np.empty(counts.shape)
        np.copyto(doubles, counts)
        yield slice(begin, begin + counts.shape[1]), counts, doubles
        begin += counts.shape[1]


def _smallest(largest: int) -> type[np.uint8] | type[np.uint16] | type[np.uint32]:
    """The smallest unsigned type that holds whole numbers up to ``largest``."""
    return np.uint8 if largest < 1 << 8 else np.uint16 if largest < 1 << 16 else np.uint32


def _counts_of(generator: np.random.Generator, size: int, resamples: int) -> Counts:
    """How often each of ``size`` runs is among ``size`` drawn ones: shape ``(resamples, size)``."""
    if size == 1:
        return np.ones((resamples, 1), dtype=np.uint8)
    if size > max(_LANES):
        drawn = generator.integers(0, size, size=(resamples, size), dtype=_smallest(size))
        flat = drawn + np.arange(resamples, dtype=np.int64)[:, None] * size
        return np.bincount(flat.ravel(), minlength=resamples * size).reshape(resamples, size)
    at_once = 1
    while at_once < size and size ** (at_once + 1) <= _TABLE_ENTRIES:
        at_once += 1
    packed = None
    for begin in range(0, size, at_once):
        table = _table(size, min(at_once, size - begin))
        outcome = generator.random(resamples)  # of 2^53 equally likely numbers: no outcome is favoured by more than 1e-11
        outcome *= len(table)
        part = table.take(outcome.astype(np.intp), mode="clip").view(np.uint64)
        packed = part if packed is None else np.add(packed, part, out=packed)
    return np.asarray(packed).view(np.uint8).reshape(resamples, -1)[:, :size]


@lru_cache(maxsize=128)
def _table(size: int, draws: int) -> Counts:
    """The counts of every possible outcome of some draws among ``size`` runs, packed into one element each."""
    lanes = min(width for width in _LANES if width >= size)
    outcomes = np.arange(size**draws)
    counts = np.zeros((len(outcomes), lanes), dtype=np.uint8)
    for place in range(draws):
        counts[outcomes, outcomes // size**place % size] += 1
    return counts.view(_LANES[lanes])[:, 0]


class CountStatistic:
    """One aggregate, ready to be computed for many resamples of the same scores at once.

    Args:
        name: The aggregate, as in :data:`openrlb_analysis.aggregates.AGGREGATES`.
        tasks: One array of finite scores for each environment, each of shape ``(n_e,)``.
    """

    def __init__(self, name: str, tasks: Sequence[Values]) -> None:
        self.name = name
        self._sizes = [len(scores) for scores in tasks]
        if name == "iqm":
            values = np.concatenate(tasks).astype(np.float64)
            weights = np.repeat(run_weights(self._sizes), self._sizes)
            order = np.lexsort((weights, values))
            self._order, self._values, self._weights = order.tolist(), values[order], weights[order]
            self._equal = bool(weights.min() == weights.max())
            return
        capped = [np.minimum(scores, GAMMA) if name == "optimality-gap" else scores for scores in tasks]
        self._bases = np.array([float(scores[0]) for scores in capped])
        self._parts = [(scores - base) / len(scores) for scores, base in zip(capped, self._bases, strict=True)]
        self._shares = np.concatenate(self._parts) / len(tasks)

    def of(self, counts: Counts, doubles: Values) -> Values:
        """The aggregate of each resample.

        Args:
            counts: A chunk of :func:`draw_counts`, shape ``(runs, columns)``.
            doubles: The same as doubles; several statistics share them.

        Returns:
            Shape ``(columns,)``.
        """
        if self.name == "iqm":
            return self._equal_iqm(counts) if self._equal else self._iqm(counts)
        if self.name == "median":
            ordered = np.sort(self.means(doubles).T, axis=1)
            middle = ordered.shape[1] // 2
            return np.asarray((ordered[:, middle - 1 + ordered.shape[1] % 2] + ordered[:, middle]) / 2)
        means = self._shares @ doubles + self._bases.mean()
        return np.asarray(GAMMA - means if self.name == "optimality-gap" else means)

    def means(self, doubles: Values) -> Values:
        """Each environment's mean score in each resample, shape ``(environments, columns)``; of any aggregate but the iqm."""
        means = np.empty((len(self._sizes), doubles.shape[1]))
        row = 0
        for mean, part in zip(means, self._parts, strict=True):
            np.matmul(part, doubles[row : row + len(part)], out=mean)
            row += len(part)
        means += self._bases[:, None]
        return means

    def _equal_iqm(self, counts: Counts) -> Values:
        """The interquartile mean where runs weigh the same: gaps between neighbours, by how much of the middle lies beyond.

        The gaps are laid off from the middle score, so that a score far out adds nothing unless it is kept.
        """
        runs, columns = counts.shape
        below, middle = runs // 4, runs // 2
        above = runs - below
        sums, floats = np.empty((_BLOCK, columns), dtype=counts.dtype), np.empty((_BLOCK, columns))
        rows, gaps = list(counts), np.diff(self._values)
        reached, moved = np.zeros(columns, dtype=counts.dtype), np.zeros(columns)
        for begin, end in [*_blocks(0, middle), *_blocks(middle, runs - 1)]:
            block = sums[: end - begin]
            for row, place in zip(self._order[begin:end], block, strict=True):
                np.add(reached, rows[row], place)
                reached = place
            reached = reached.copy()
            if begin < middle and int(reached.max()) > below:
                np.clip(block, below, above, out=block)
                np.copyto(floats[: len(block)], np.subtract(block, below, out=block))
                moved -= gaps[begin:end] @ floats[: len(block)]
            elif begin >= middle:
                if int(block[0].min()) >= above:
                    break
                np.clip(block, below, above, out=block)
                np.copyto(floats[: len(block)], np.subtract(above, block, out=block))
                moved += gaps[begin:end] @ floats[: len(block)]
        return np.asarray(self._values[middle] + moved / (above - below))

    def _iqm(self, counts: Counts) -> Values:
        """The interquartile mean, dropping whole runs as :func:`openrlb_analysis.aggregates.iqm` does."""
        weights, kind = self._weights, self._weights.dtype
        kept_weight, kept_sum = np.zeros(counts.shape[1]), np.zeros(counts.shape[1])
        before = np.zeros(counts.shape[1], dtype=kind)
        every = np.full(counts.shape[1], np.repeat(run_weights(self._sizes), self._sizes).sum(), dtype=kind)
        limit, base = quarter(every[0]), self._values[len(weights) // 2]
        for row, weight, value in zip(self._order, weights, self._values, strict=True):
            times = counts[row].astype(kind)
            after = before + times * weight
            low = np.clip((limit - before) // weight, 0, times)
            high = np.clip((limit - (every - after)) // weight, 0, times)
            kept = np.maximum(times - low - high, 0) * (weight / weights.max())
            kept_weight += kept
            kept_sum += kept * (value - base)
            before = after
        return np.asarray(base + kept_sum / kept_weight)


def _blocks(begin: int, end: int) -> list[tuple[int, int]]:
    """The way from ``begin`` to ``end`` in blocks of rows."""
    return [(start, min(start + _BLOCK, end)) for start in range(begin, end, _BLOCK)]
