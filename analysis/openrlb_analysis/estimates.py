"""An aggregate with its interval: plain arrays in, one frozen record out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from openrlb_analysis.aggregates import AGGREGATES, aggregate_name
from openrlb_analysis.inputs import check_tasks
from openrlb_analysis.intervals import bootstrap_intervals, interval_note
from openrlb_analysis.result import IntervalMethod

if TYPE_CHECKING:
    from openrlb.types import Values

CALIBRATED = IntervalMethod("calibrated", 0.95, 50_000, 0)
"""How intervals are computed unless something else is asked for: :func:`openrlb_analysis.intervals.interval_method`."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A statistic and its interval.

    Attributes:
        name: The statistic.
        value: Its value.
        low: The interval's lower end; None where there is none (too few runs).
        high: The upper end.
        runs: Runs behind it.
        envs: Environments behind it.
        interval: How the interval was computed, with what a reader must know in its note.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    runs: int
    envs: int
    interval: IntervalMethod


def estimate(
    tasks: Sequence[Values] | Mapping[str, Values],
    names: str | Sequence[str] = ("iqm",),
    method: IntervalMethod = CALIBRATED,
    bounds: tuple[float, float] | None = None,
) -> dict[str, Estimate]:
    """Aggregates with their intervals, all from the same resamples.

    Args:
        tasks: One array of scores for each environment.
        names: Aggregates, as in :data:`openrlb_analysis.aggregates.AGGREGATES`; one or several.
        method: How intervals are computed.
        bounds: The lowest and the highest score there can be, if known (0 and 1 of a success rate): intervals stay within,
            and runs that all reach a bound are given what so few could hide. Either may be infinite.

    Raises:
        UsageError: A matrix in place of one array for each environment, no such aggregate, or a score beyond the bounds.

    >>> found = estimate({"Pong": [1.0, 2.0, 3.0], "Qbert": [2.0, 4.0, 9.0]}, ["iqm", "mean"])
    >>> found["mean"].value, found["mean"].low < 3.5 < found["mean"].high
    (3.5, True)
    >>> success = estimate([[1.0, 1.0, 1.0, 1.0, 1.0]], "mean", bounds=(0, 1))["mean"]
    >>> round(success.low, 3), success.high
    (0.478, 1.0)
    """
    scores = check_tasks(tasks)
    wanted = [aggregate_name(name) for name in ([names] if isinstance(names, str) else names)]
    counts = [len(one) for one in scores]
    ends = bootstrap_intervals(scores, wanted, method, bounds)
    found = {}
    for name in wanted:
        low, high = ends[name] or (None, None)
        told = replace(method, note=interval_note(method.method, counts, name))
        found[name] = Estimate(name, AGGREGATES[name](scores), low, high, sum(counts), len(counts), told)
    return found
