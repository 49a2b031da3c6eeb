"""The probability of improvement: how likely a run of one group beats a run of another in the same environment.

Agarwal et al. 2021, section 4.3: the mean over environments of the Mann-Whitney statistic U / (n m), equal scores
counting half. It says how often, not by how much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from openrlb.errors import UsageError
from openrlb_analysis.bootstrap import Draws
from openrlb_analysis.bounded import improvement_ends
from openrlb_analysis.estimates import CALIBRATED
from openrlb_analysis.inputs import check_tasks
from openrlb_analysis.intervals import interval_note, interval_of, tails
from openrlb_analysis.result import IntervalMethod

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from openrlb.types import Values

_CHUNK = 2048


@dataclass(frozen=True, slots=True)
class Improvement:
    """The probability that a run of the first group scores higher than one of the second.

    Attributes:
        value: The mean over environments.
        low: The interval's lower end within [0, 1]; None where there is none (too few runs).
        high: The upper end.
        per_env: The probability in each environment, shape ``(environments,)``.
        runs: Runs of the first and of the second group.
        interval: How the interval was computed.
    """

    value: float
    low: float | None
    high: float | None
    per_env: Values
    runs: tuple[int, int]
    interval: IntervalMethod


def wins(first: Sequence[Values], second: Sequence[Values]) -> list[Values]:
    """Who wins each pair of runs, environment by environment: 1 the first, 0 the second, 0.5 where they are equal.

    Args:
        first: One array of scores for each environment, ``(n_e,)``.
        second: The same of the other group, the same environments in the same order, ``(m_e,)``.

    Returns:
        For each environment shape ``(n_e, m_e)``.

    >>> wins([np.array([1.0, 3.0])], [np.array([2.0, 3.0])])[0].tolist()
    [[0.0, 0.0], [1.0, 0.5]]
    """
    return [(np.sign(one[:, None] - other[None, :]) + 1.0) / 2.0 for one, other in zip(first, second, strict=True)]


def probability_of_improvement(
    first: Sequence[Values] | Mapping[str, Values],
    second: Sequence[Values] | Mapping[str, Values],
    method: IntervalMethod = CALIBRATED,
) -> Improvement:
    """The probability that a run of the first group beats one of the second, with its interval.

    Runs of the two groups are resampled independently, as rliable does. ``calibrated`` is the wider of the calibrated
    bootstrap interval and Newcombe's (:func:`openrlb_analysis.bounded.improvement_ends`), so that five runs above five
    others do not say "always".

    Args:
        first: One array of scores for each environment.
        second: The same of the other group. Two mappings may hold their environments in any order.
        method: How the interval is computed.

    Raises:
        UsageError: A matrix in place of one array for each environment, or unlike environments.

    >>> found = probability_of_improvement([np.arange(8.0) + 0.5], [np.arange(8.0)])
    >>> found.value, 0.0 < found.low < found.value < found.high < 1.0
    (0.5625, True)
    """
    if isinstance(first, Mapping) and isinstance(second, Mapping) and set(first) == set(second):
        second = {env: second[env] for env in first}
    one, other = check_tasks(first, "the first group's scores"), check_tasks(second, "the second group's scores")
    if len(one) != len(other) or (isinstance(first, Mapping) and isinstance(second, Mapping) and set(first) != set(second)):
        why = f"the first has {len(one)} environments, the second {len(other)}" if len(one) != len(other) else "they differ"
        raise UsageError("the two groups do not have the same environments", why, "hand over those that both have")
    one, other = ([np.sort(scores) for scores in group] for group in (one, other))
    table = wins(one, other)
    per_env = np.array([won.mean() for won in table])
    value = float(per_env.mean())
    sizes = [len(scores) for scores in (*one, *other)]
    low, high = _interval(value, table, method) if min(sizes) >= method.fewest else (None, None)
    told = replace(method, note=interval_note(method.method, sizes, "probability of improvement"))
    return Improvement(value, low, high, per_env, (sum(map(len, one)), sum(map(len, other))), told)


def _interval(value: float, table: Sequence[Values], method: IntervalMethod) -> tuple[float, float]:
    """The interval within [0, 1]."""
    draws = Draws(improvement_draws(table, resamples=method.resamples, seed=method.seed))
    if method.method == "calibrated":
        below, above = draws.quantiles(tails(method.level))
        low, high = improvement_ends(table, draws.mean(), below, above, method.level)
    else:
        parts = [won.mean(axis=axis) / len(table) for won in table for axis in (1, 0)]
        low, high = np.clip(interval_of(value, draws, parts, method), 0.0, 1.0)
    return float(low), float(high)


def improvement_draws(table: Sequence[Values], *, resamples: int = 50_000, seed: int = 0) -> Values:
    """Resampled probabilities of improvement.

    A resample is told by how often it holds each run; with these counts c and d an environment's probability is
    ``c' G d / (n m)``, G from :func:`wins`.

    Args:
        table: For each environment who wins each pair of runs, shape ``(n_e, m_e)``.
        resamples: Bootstrap resamples.
        seed: Seed of the random numbers.

    Returns:
        Shape ``(resamples,)``.

    >>> improvement_draws([np.array([[1.0, 1.0]])], resamples=3).tolist()
    [1.0, 1.0, 1.0]
    """
    streams = [np.random.Generator(np.random.SFC64(child)) for child in np.random.SeedSequence(seed).spawn(2)]
    total = np.zeros(resamples)
    for begin in range(0, resamples, _CHUNK):
        rows = min(_CHUNK, resamples - begin)
        for won in table:
            first, second = (_counts(stream, rows, size) for stream, size in zip(streams, won.shape, strict=True))
            total[begin : begin + rows] += np.einsum("ij,ij->i", first @ won, second) / won.size
    return total / len(table)


def _counts(generator: np.random.Generator, rows: int, size: int) -> NDArray[np.float64]:
    """How often each of ``size`` runs is among ``size`` drawn ones, for each row."""
    drawn = generator.integers(0, size, size=(rows, size), dtype=np.uint8 if size <= 1 << 8 else np.uint32)
    flat = drawn + np.arange(rows, dtype=np.int64)[:, None] * size
    return np.bincount(flat.ravel(), minlength=rows * size).reshape(rows, size).astype(np.float64)
