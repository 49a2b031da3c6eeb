"""``--engine rliable``: rliable 1.2.0 itself on the same scores, for those who want its numbers from its own code.

rliable takes full matrices only, heeds no seed but numpy's global one (which is set here and put back), and needs the
scores as runs x environments: the matrix is built in one place, :func:`full_matrix`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from openrlb.errors import UsageError
from openrlb_analysis.aggregates import aggregate_name
from openrlb_analysis.estimates import Estimate
from openrlb_analysis.improvement import Improvement
from openrlb_analysis.inputs import check_tasks
from openrlb_analysis.intervals import interval_note
from openrlb_analysis.profiles import Profile
from openrlb_analysis.result import IntervalMethod

if TYPE_CHECKING:
    from openrlb.types import Values

METHODS = ("percentile", "basic", "bca")
"""The interval methods that rliable has too."""
_ticking: list[Callable[[int], None]] = []
_drawn = [0]
PERCENTILE = IntervalMethod("percentile", 0.95, 50_000, 0)


def on_resample(tick: Callable[[int], None] | None) -> None:
    """Calls back while rliable draws, which takes minutes: with the number of statistics computed so far.

    Args:
        tick: What is called after each resample; None for nothing.
    """
    _drawn[0] = 0
    _ticking[:] = [tick] if tick else []


def _counted(function: Callable[..., Values]) -> Callable[..., Values]:
    """A statistic that counts how often it is computed."""

    def counting(*scores: Values) -> Values:
        _drawn[0] += 1
        for tick in _ticking:
            tick(_drawn[0])
        return function(*scores)

    return counting


def full_matrix(tasks: Sequence[Values] | Mapping[str, Values], what: str = "the scores") -> Values:
    """The runs x environments matrix that rliable takes.

    Args:
        tasks: One array of scores for each environment, all of one length.
        what: What they are, for the error's words.

    Raises:
        UsageError: Environments have unequal numbers of runs.

    >>> full_matrix([np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0])]).shape
    (3, 2)
    """
    scores = check_tasks(tasks, what)
    sizes = sorted({len(one) for one in scores})
    if len(sizes) > 1:
        why = f"{what} have {sizes[0]} to {sizes[-1]} runs in an environment, and it would need some left out"
        raise UsageError(
            "rliable takes equally many runs in every environment", why, "leave --engine out: openrlb's takes them all"
        )
    return np.stack(scores, axis=1)


def rliable_estimate(
    tasks: Sequence[Values] | Mapping[str, Values], names: Sequence[str] = ("iqm",), method: IntervalMethod = PERCENTILE
) -> dict[str, Estimate]:
    """Aggregates with their intervals by ``rliable.library.get_interval_estimates``.

    Args:
        tasks: One array of scores for each environment, all of one length.
        names: Aggregates, as in :data:`openrlb_analysis.aggregates.AGGREGATES`.
        method: One of :data:`METHODS`, with its level, resamples and seed.

    Raises:
        UsageError: Unequal numbers of runs, an interval method that rliable does not have, or no such aggregate.

    >>> rliable_estimate([np.array([1.0, 2.0, 3.0])], ["mean"], IntervalMethod("percentile", 0.95, 50, 0))["mean"].value
    2.0
    """
    matrix, wanted = full_matrix(tasks), [aggregate_name(name) for name in names]
    from rliable import metrics

    functions = {
        "iqm": metrics.aggregate_iqm,
        "mean": metrics.aggregate_mean,
        "median": metrics.aggregate_median,
        "optimality-gap": metrics.aggregate_optimality_gap,
    }
    points, ends = _run({"": matrix}, lambda scores: np.array([functions[name](scores) for name in wanted]), method, len(matrix))
    told = _told(method, [len(matrix)])
    found = {}
    for place, name in enumerate(wanted):
        low, high = (None, None) if ends is None else (float(ends[0, place]), float(ends[1, place]))
        found[name] = Estimate(name, float(points[place]), low, high, matrix.size, matrix.shape[1], told)
    return found


def rliable_improvement(
    first: Sequence[Values] | Mapping[str, Values],
    second: Sequence[Values] | Mapping[str, Values],
    method: IntervalMethod = PERCENTILE,
) -> Improvement:
    """The probability of improvement by ``rliable.metrics.probability_of_improvement`` and its independent bootstrap.

    Args:
        first: One array of scores for each environment, all of one length.
        second: The same of the other group; its length may be another.
        method: As in :func:`rliable_estimate`.

    Raises:
        UsageError: As :func:`rliable_estimate`, or unlike environments.

    >>> method = IntervalMethod("percentile", 0.95, 20, 0)
    >>> found = rliable_improvement([np.array([1.0, 2.0, 3.0])], [np.array([0.0, 2.0, 2.5])], method)
    >>> found.per_env.round(3).tolist()
    [0.611]
    """
    one, other = full_matrix(first, "the first group's scores"), full_matrix(second, "the second group's scores")
    if one.shape[1] != other.shape[1]:
        why = f"the first has {one.shape[1]} environments, the second {other.shape[1]}"
        raise UsageError("the two groups do not have the same environments", why, "hand over those that both have")
    from rliable import metrics

    def function(ours: Values, theirs: Values) -> Values:
        return np.array([metrics.probability_of_improvement(ours, theirs)])

    points, ends = _run({"": [one, other]}, function, method, min(len(one), len(other)))
    low, high = (None, None) if ends is None else (float(ends[0, 0]), float(ends[1, 0]))
    per_env = np.array([float(function(one[:, [env]], other[:, [env]])[0]) for env in range(one.shape[1])])
    return Improvement(float(points[0]), low, high, per_env, (one.size, other.size), _told(method, [len(one), len(other)]))


def rliable_profile(
    tasks: Sequence[Values] | Mapping[str, Values], taus: Values, method: IntervalMethod = PERCENTILE, *, of: str = "runs"
) -> Profile:
    """A performance profile by ``rliable.library.create_performance_profile``'s functions.

    Args:
        tasks: One array of scores for each environment, all of one length.
        taus: Scores, shape ``(k,)``.
        method: As in :func:`rliable_estimate`.
        of: ``runs`` for the share of runs above tau, ``means`` for the share of environments' means.

    Raises:
        UsageError: As :func:`rliable_estimate`.

    >>> method = IntervalMethod("percentile", 0.95, 20, 0)
    >>> rliable_profile([np.array([1.0, 2.0, 3.0, 4.0])], np.array([0.0, 2.0, 4.0]), method).value.tolist()
    [1.0, 0.5, 0.0]
    """
    matrix, taus = full_matrix(tasks), np.asarray(taus, dtype=np.float64)
    from rliable import library

    law = library.score_distributions if of == "runs" else library.average_score_distributions
    points, ends = _run({"": matrix}, lambda scores: law(scores, taus), method, len(matrix))
    low, high = np.full((2, len(taus)), np.nan) if ends is None else ends
    return Profile(of, taus, points, low, high, matrix.size, matrix.shape[1], _told(method, [len(matrix)]))


def rliable_curve(
    tables: Sequence[Values], name: str = "iqm", method: IntervalMethod = PERCENTILE
) -> tuple[Values, Values, Values]:
    """An aggregate over environments along training, with rliable's own draws at each position.

    Args:
        tables: For each environment the runs' values, shape ``(runs, positions)``, equally many runs in all.
        name: The aggregate.
        method: As in :func:`rliable_estimate`.

    Returns:
        The aggregate and the pointwise interval's ends (NaN where there are too few runs), each of shape ``(positions,)``.

    Raises:
        UsageError: As :func:`rliable_estimate`.

    >>> tables = [np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])]
    >>> rliable_curve(tables, "mean", IntervalMethod("percentile", 0.95, 20, 0))[0].tolist()
    [3.0, 4.0]
    """
    full_matrix([table[:, 0] for table in tables])
    cube, wanted = np.stack(tables, axis=1), aggregate_name(name)
    from rliable import metrics

    aggregate = getattr(metrics, "aggregate_" + wanted.replace("-", "_"))

    def function(scores: Values) -> Values:
        return np.array([aggregate(scores[..., place]) for place in range(scores.shape[-1])])

    points, ends = _run({"": cube}, function, method, len(cube))
    low, high = np.full((2, len(points)), np.nan) if ends is None else ends
    return points, low, high


def _run(
    scores: Mapping[str, Any], function: Callable[..., Values], method: IntervalMethod, runs: int
) -> tuple[Values, Values | None]:
    """The points of rliable and, where there are enough runs, its interval ends."""
    if method.method not in METHODS:
        why = "it has " + ", ".join(METHODS)
        raise UsageError(f"rliable has no {method.method} interval", why, "use --interval percentile, or leave --engine out")
    with _as_rliable_is(method.seed):
        from rliable import library

        if runs < method.fewest:
            (given,) = scores.values()
            return np.asarray(function(*given) if isinstance(given, list) else function(given)), None
        points, ends = library.get_interval_estimates(
            scores, _counted(function), method=method.method, reps=method.resamples, confidence_interval_size=method.level
        )
    return np.asarray(points[""]), np.asarray(ends[""])


@contextmanager
def _as_rliable_is(seed: int) -> Iterator[None]:
    """The global random numbers of numpy seeded and put back, and warnings about rliable's own code kept away."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        np.random.set_state(state)


def _told(method: IntervalMethod, sizes: Sequence[int]) -> IntervalMethod:
    """The method with what a reader must know."""
    return replace(method, note=f"{interval_note(method.method, sizes)}; computed by rliable 1.2.0")
