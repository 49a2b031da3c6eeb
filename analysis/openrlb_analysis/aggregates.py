"""Point estimates over runs and environments: one array of scores for each environment in, one number out.

The input is a sequence with one array per environment, never a bare matrix: a matrix can be handed over transposed
without anyone noticing, a list of environments cannot. With equally many runs everywhere the numbers are those of
rliable (Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice", section 4);
with unequal numbers every environment counts equally, so that one run weighs 1 / (its environment's runs).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from openrlb.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from openrlb.types import Values

GAMMA = 1.0
"""The score above which the optimality gap counts nothing more: human level in human-normalised scores."""

_TOLERANCE = 1e-12  # for weights too large for exact integers


def run_weights(sizes: Sequence[int]) -> NDArray[Any]:
    """The weight of one run in each environment, so that environments weigh the same.

    Whole numbers, exact through the least common multiple, as long as their total fits into 62 bits; else ``1 / n``.

    Args:
        sizes: Runs in each environment, each at least 1.

    >>> run_weights([10, 5]).tolist()
    [1, 2]
    """
    multiple = math.lcm(*sizes)
    if multiple * len(sizes) < 2**62:
        return np.array([multiple // size for size in sizes], dtype=np.int64)
    return np.array([1.0 / size for size in sizes], dtype=np.float64)


def quarter(total: Any) -> Any:  # noqa: ANN401 - a whole number or a float, as the weights are
    """The largest weight that may be dropped from one end: a quarter of the total.

    >>> quarter(np.int64(10))
    np.int64(2)
    """
    return total // 4 if np.issubdtype(type(total), np.integer) else total * (0.25 + _TOLERANCE)


def _one_for_each(tasks: Sequence[Values]) -> Sequence[Values]:
    """The scores as they are; a bare matrix or a frame is refused, since it does not say which axis holds the runs.

    Raises:
        UsageError: With how to hand the scores over.
    """
    if isinstance(tasks, Sequence):
        return tasks
    from openrlb_analysis.inputs import check_tasks

    return check_tasks(tasks)


def iqm(tasks: Sequence[Values]) -> float:
    """The interquartile mean: the mean of the middle half of all runs' scores.

    Scores are sorted by (value, weight); from each end the longest prefix of whole runs that together weigh at most a
    quarter is dropped; the rest is averaged by weight. With n runs in each of m environments this drops
    ``int(0.25 * n * m)`` runs from each end, as ``scipy.stats.trim_mean`` does for rliable.

    Args:
        tasks: One array of scores for each environment, each of shape ``(n_e,)``, ``n_e >= 1``.

    Raises:
        UsageError: A bare matrix, here and in the other aggregates.

    >>> iqm([np.array([0.0, 1.0, 2.0, 100.0])])
    1.5
    """
    tasks = _one_for_each(tasks)
    sizes = [len(scores) for scores in tasks]
    if len(tasks) == 1:  # runs of one environment weigh the same: the same sum without the weights
        kept = np.sort(np.asarray(tasks[0], dtype=np.float64))[sizes[0] // 4 : sizes[0] - sizes[0] // 4]
        return float(np.sum(kept) / len(kept))
    values = np.concatenate(tasks)
    weights = np.repeat(run_weights(sizes), sizes)
    order = np.lexsort((weights, values))
    values, weights = values[order], weights[order]
    from_below, from_above = np.cumsum(weights), np.cumsum(weights[::-1])[::-1]
    limit = quarter(from_below[-1])
    inside = (from_below > limit) & (from_above > limit)
    weight = weights[inside] / weights[inside].max()
    return float(np.sum(values[inside] * weight) / np.sum(weight))


def mean(tasks: Sequence[Values]) -> float:
    """The mean over environments of each environment's mean score.

    >>> mean([np.array([0.0, 2.0]), np.array([5.0])])
    3.0
    """
    tasks = _one_for_each(tasks)
    return float(np.mean([np.mean(scores) for scores in tasks]))


def median(tasks: Sequence[Values]) -> float:
    """The median over environments of each environment's mean score; of one environment, its mean.

    >>> median([np.array([0.0, 2.0]), np.array([5.0]), np.array([9.0])])
    5.0
    """
    tasks = _one_for_each(tasks)
    return float(np.median([np.mean(scores) for scores in tasks]))


def optimality_gap(tasks: Sequence[Values], gamma: float = GAMMA) -> float:
    """How far the scores stay below ``gamma`` on average; scores above it count as ``gamma``. Lower is better.

    >>> optimality_gap([np.array([0.5, 3.0])])
    0.25
    """
    tasks = _one_for_each(tasks)
    return gamma - float(np.mean([np.mean(np.minimum(scores, gamma)) for scores in tasks]))


AGGREGATES: dict[str, Callable[[Sequence[Values]], float]] = {
    "iqm": iqm,
    "mean": mean,
    "median": median,
    "optimality-gap": optimality_gap,
}
"""Every aggregate by the name that ``--metric`` takes."""


def aggregate_along(name: str, curves: Values) -> Values:
    """An aggregate of one environment at each position of its runs' learning curves, to the last bit as position by position.

    Args:
        name: The aggregate.
        curves: Finite values, shape ``(runs, positions)``.

    Returns:
        Shape ``(positions,)``.

    >>> aggregate_along("iqm", np.array([[0.0, 5.0], [1.0, 5.0], [2.0, 5.0], [100.0, 9.0]])).tolist()
    [1.5, 5.0]
    """
    scores = np.ascontiguousarray(np.transpose(curves), dtype=np.float64)  # sums of rows round as sums of one array do
    if name == "iqm":
        runs = scores.shape[1]
        kept = np.sort(scores, axis=1)[:, runs // 4 : runs - runs // 4]
        return np.asarray(np.sum(kept, axis=1) / kept.shape[1])
    if name == "optimality-gap":
        return np.asarray(GAMMA - np.mean(np.minimum(scores, GAMMA), axis=1))
    return np.asarray(np.mean(scores, axis=1))  # the median over one environment is its mean


def aggregate_name(text: str) -> str:
    """The aggregate's own spelling.

    Raises:
        UsageError: There is no such aggregate.

    >>> aggregate_name("Optimality_Gap")
    'optimality-gap'
    """
    name = text.strip().lower().replace("_", "-")
    if name not in AGGREGATES:
        raise UsageError(f"no aggregate {text!r}", "the aggregates are " + ", ".join(AGGREGATES), "try --metric iqm")
    return name
