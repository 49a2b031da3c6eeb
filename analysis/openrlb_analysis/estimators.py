"""Which function computes a metric that is one number for each group: aggregates, and what is said of runs' risk and spread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from openrlb.errors import UsageError

if TYPE_CHECKING:
    from openrlb.types import Values
    from openrlb_analysis.estimates import Estimate
    from openrlb_analysis.result import IntervalMethod

    Bounds = tuple[float, float]
    Ends = tuple[float | None, float | None, float | None]
    Estimator = Callable[[list[Values], Bounds | None], Ends]

SPREADS = ("cvar", "iqr")
"""Metrics about how runs differ."""


def estimator(
    metric: str, method: IntervalMethod, *, worst_share: float = 0.25, engine: str = "openrlb", task_bootstrap: bool = False
) -> Estimator | None:
    """The function of a metric, or None where it is openrlb's own aggregate.

    Args:
        metric: An aggregate, ``cvar`` or ``iqr``.
        method: How intervals are computed.
        worst_share: The share of worst runs that ``cvar`` averages.
        engine: ``rliable`` for rliable's own code.
        task_bootstrap: Resample environments too: intervals are then about environments that were not run.

    Raises:
        UsageError: The engine, the interval method or the task bootstrap does not go with the metric.
    """
    if metric in SPREADS:
        if engine == "rliable" or task_bootstrap:
            what = "rliable has" if engine == "rliable" else "the task bootstrap has"
            raise UsageError(f"{what} no {metric}", "they are about aggregates", "leave --engine and --task-bootstrap out")
        return _spread(metric, worst_share, method)
    if task_bootstrap:
        from openrlb_analysis.task_bootstrap import check_method, task_bootstrap_interval

        check_method(method, engine)
        return lambda tasks, bounds: _within(task_bootstrap_interval(tasks, metric, method), bounds)
    if engine == "rliable":
        from openrlb_analysis.engine import rliable_estimate

        return lambda tasks, _: _ends(rliable_estimate(tasks, [metric], method)[metric])  # its numbers as they are
    return None


def together(names: Sequence[str], method: IntervalMethod) -> dict[str, Estimator]:
    """The functions of several aggregates that share their resamples, so that three cost little more than one.

    Args:
        names: The aggregates.
        method: How intervals are computed.
    """
    from openrlb_analysis.aggregates import AGGREGATES
    from openrlb_analysis.intervals import bootstrap_intervals

    kept: dict[tuple[int, ...], tuple[list[Values], Bounds | None, dict[str, tuple[float, float] | None]]] = {}

    def compute(name: str, tasks: list[Values], bounds: Bounds | None) -> Ends:
        key = tuple(map(id, tasks))
        known = kept.get(key)
        if known is None or known[1] != bounds:  # the arrays are kept beside, so that no other one gets their ids
            known = kept[key] = tasks, bounds, bootstrap_intervals(tasks, names, method, bounds)
        low, high = known[2][name] or (None, None)
        return AGGREGATES[name](tasks), low, high

    return {name: partial(compute, name) for name in names}


def _spread(metric: str, worst_share: float, method: IntervalMethod) -> Estimator:
    """CVaR or the interquartile range."""
    from openrlb_analysis.risk import cvar, iqr

    if metric == "iqr":
        return lambda tasks, bounds: _within(_ends(iqr(tasks, method)), (0.0, bounds[1] - bounds[0]) if bounds else None)
    return lambda tasks, bounds: _within(_ends(cvar(tasks, worst_share, method)), bounds)


def interval_words(
    metric: str, method: IntervalMethod, *, worst_share: float = 0.25, task_bootstrap: bool = False
) -> Callable[[Sequence[int]], str] | None:
    """What is said of the intervals of :func:`estimator`, from the numbers of runs; None where an aggregate's words hold.

    Args:
        metric: As there.
        method: As there.
        worst_share: As there.
        task_bootstrap: As there.

    >>> from openrlb_analysis.intervals import interval_method
    >>> told = interval_words("cvar", interval_method("percentile", 0.95, 100, 0), worst_share=0.1)
    >>> told([20]), told([20, 5]).split('; ')[-1]
    ('percentile', '10 % of 5 runs is at most one run: it is the worst run alone')
    """
    from openrlb_analysis.intervals import interval_note

    if metric in SPREADS:
        from openrlb_analysis.risk import spread_words

        return lambda counts: spread_words(method.method, counts, worst_share if metric == "cvar" else None)
    if task_bootstrap:
        covers = f"for the {metric} over environments like these, which are resampled too, and the runs in them"
        return lambda counts: "; ".join([interval_note(method.method, counts), covers])
    return None


def _within(ends: Ends, bounds: Bounds | None) -> Ends:
    """An interval within what the statistic can be."""
    value, low, high = ends
    if bounds is None or low is None or high is None:
        return ends
    return value, min(max(low, bounds[0]), bounds[1]), max(min(high, bounds[1]), bounds[0])


def _ends(found: Estimate) -> Ends:
    """An estimate as a summary takes it."""
    return found.value, found.low, found.high
