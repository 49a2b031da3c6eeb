"""Which function computes a metric that is one number for each group: aggregates, and what is said of runs' risk and spread."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from openrlb.errors import UsageError

if TYPE_CHECKING:
    from openrlb.types import Values
    from openrlb_analysis.estimates import Estimate
    from openrlb_analysis.result import IntervalMethod

    Estimator = Callable[[list[Values]], tuple[float | None, float | None, float | None]]

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
        return lambda tasks: task_bootstrap_interval(tasks, metric, method)
    if engine == "rliable":
        from openrlb_analysis.engine import rliable_estimate

        return lambda tasks: _ends(rliable_estimate(tasks, [metric], method)[metric])
    return None


def _spread(metric: str, worst_share: float, method: IntervalMethod) -> Estimator:
    """CVaR or the interquartile range."""
    from openrlb_analysis.risk import cvar, iqr

    if metric == "iqr":
        return lambda tasks: _ends(iqr(tasks, method))
    return lambda tasks: _ends(cvar(tasks, worst_share, method))


def _ends(found: Estimate) -> tuple[float | None, float | None, float | None]:
    """An estimate as a summary takes it."""
    return found.value, found.low, found.high
