"""The task bootstrap: environments are drawn anew, then runs within them, for claims about environments that were not run.

rliable's ``task_bootstrap=True``: one draw of environments, with replacement, for each resample, and an independent draw of
runs for each drawn environment. The intervals are wider, and they are only about environments like those that were run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from openrlb.errors import UsageError
from openrlb_analysis.aggregates import AGGREGATES, GAMMA
from openrlb_analysis.intervals import tails
from openrlb_analysis.result import IntervalMethod

if TYPE_CHECKING:
    from openrlb.types import Values

METHODS = ("percentile", "basic")
FEWEST_TASKS = 3
"""Fewer environments say next to nothing of other ones: no interval."""
_ELEMENTS = 1 << 20


def check_method(method: IntervalMethod, engine: str = "openrlb") -> None:
    """Refuses an interval method that the task bootstrap does not have.

    Args:
        method: How intervals shall be computed.
        engine: Whose code.

    Raises:
        UsageError: A calibrated or BCa interval, or rliable's own code.
    """
    if engine != "openrlb":
        raise UsageError("the task bootstrap is openrlb's own here", f"{engine} was asked for", "leave --engine out")
    if method.method not in METHODS:
        why = f"{method.method} widens for runs drawn within fixed environments, and these are drawn too"
        raise UsageError(f"the task bootstrap has no {method.method} interval", why, "add --interval percentile")


def task_bootstrap_interval(
    tasks: Sequence[Values], name: str, method: IntervalMethod
) -> tuple[float, float | None, float | None]:
    """An aggregate with the interval of the task bootstrap.

    Args:
        tasks: One array of finite scores for each environment.
        name: The aggregate.
        method: ``percentile`` or ``basic``, with level, resamples and seed.

    Returns:
        The value and the ends; no ends below :data:`FEWEST_TASKS` environments or ``method.fewest`` runs in one.

    >>> rng = np.random.default_rng(0)
    >>> tasks = [rng.normal(place, 0.1, 5) for place in range(6)]
    >>> value, low, high = task_bootstrap_interval(tasks, "mean", IntervalMethod("percentile", 0.95, 2000, 0))
    >>> high - low > 1.5
    True
    """
    value = AGGREGATES[name](list(tasks))
    if len(tasks) < FEWEST_TASKS or min(len(scores) for scores in tasks) < method.fewest:
        return value, None, None
    draws = task_draws(tasks, name, resamples=method.resamples, seed=method.seed)
    low, high = np.quantile(draws, tails(method.level)).tolist()
    if method.method == "basic":
        low, high = 2.0 * value - high, 2.0 * value - low
    return value, low, high


def task_draws(tasks: Sequence[Values], name: str, *, resamples: int = 50_000, seed: int = 0) -> Values:
    """The aggregate of resamples of environments and of runs within them.

    With unequal numbers of runs a drawn environment gives as many runs as the largest has, so that each counts equally.

    Args:
        tasks: One array of finite scores for each environment.
        name: The aggregate.
        resamples: How many.
        seed: Seed of the random numbers.

    Returns:
        Shape ``(resamples,)``.
    """
    ordered = sorted((np.sort(scores) for scores in tasks), key=lambda scores: scores.tolist())
    sizes = np.array([len(scores) for scores in ordered])
    starts, flat = np.append(0, np.cumsum(sizes)[:-1]), np.concatenate(ordered)
    generator = np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed)))
    count, runs = len(ordered), int(sizes.max())
    rows = max(_ELEMENTS // (count * runs), 1)
    found = []
    for begin in range(0, resamples, rows):
        some = min(rows, resamples - begin)
        envs = generator.integers(0, count, size=(some, count))
        places = (generator.random((some, count, runs)) * sizes[envs][..., None]).astype(np.intp) + starts[envs][..., None]
        found.append(_aggregated(flat[places], name))
    return np.concatenate(found)


def _aggregated(scores: Values, name: str) -> Values:
    """An aggregate of each of many full matrices, shape ``(resamples, environments, runs)``."""
    if name == "iqm":
        pooled = np.sort(scores.reshape(len(scores), -1), axis=1)
        cut = pooled.shape[1] // 4
        return np.asarray(pooled[:, cut : pooled.shape[1] - cut].mean(axis=1))
    if name == "median":
        return np.asarray(np.median(scores.mean(axis=2), axis=1))
    if name == "optimality-gap":
        return np.asarray(GAMMA - np.minimum(scores, GAMMA).mean(axis=(1, 2)))
    return np.asarray(scores.mean(axis=(1, 2)))
