"""Steps to a threshold: how long training takes until a score is reached, runs that never reach it included.

A run that does not reach the threshold before the curves end is right-censored: it took longer than can be seen. It is
never dropped. What has a meaning then is the share of runs that reached it, the median (unknown where half did not), and
the mean up to the end (the restricted mean; Royston and Parmar 2013), which counts such a run as having taken the whole way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from openrlb.errors import UsageError
from openrlb_analysis.aggregates import AGGREGATES, aggregate_name
from openrlb_analysis.bootstrap import bootstrap_curves
from openrlb_analysis.efficiency import EfficiencyTables
from openrlb_analysis.estimates import CALIBRATED, Estimate, estimate
from openrlb_analysis.intervals import interval_note, tails
from openrlb_analysis.result import IntervalMethod

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from openrlb.types import Values


@dataclass(frozen=True, slots=True)
class StepsToThreshold:
    """How long it takes until a score is reached.

    Attributes:
        threshold: The score.
        end: Where the curves end; no time beyond it is known.
        reached: How many runs reached it, in each environment.
        runs: How many runs there are, in each environment.
        median: The mean over environments of the median run's time; infinity where half the runs of one did not reach it.
        restricted_mean: The mean time up to the end, environments counting equally: runs that did not reach it count at the
            end. Its interval lies within 0 and the end; there is none where no run reached it.
        curve: Where the aggregate's curve first reaches it, infinity where it does not; its ends may be infinity too.
        curve_low: The lower end of that place's interval (percentile), None where there is none.
        curve_high: The upper end.
        notes: What a reader must know.
    """

    threshold: float
    end: float
    reached: tuple[int, ...]
    runs: tuple[int, ...]
    median: float
    restricted_mean: Estimate
    curve: float
    curve_low: float | None
    curve_high: float | None
    notes: tuple[str, ...]


def steps_to_threshold(
    laid: EfficiencyTables, threshold: float, name: str = "iqm", method: IntervalMethod = CALIBRATED
) -> StepsToThreshold:
    """How long training takes until the threshold is reached, by run and by the aggregate's curve.

    Args:
        laid: Curves on common positions, from :func:`openrlb_analysis.efficiency.efficiency_tables`; times are their bins' ends.
        threshold: The score to reach.
        name: The aggregate of the curve.
        method: How intervals are computed; the curve's own place has a percentile interval, since infinity is a value of it.

    Raises:
        UsageError: A threshold that is no number, or no such aggregate.

    >>> laid = EfficiencyTables(np.array([1.0, 2.0]), (np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]),), False, ())
    >>> found = steps_to_threshold(laid, 0.5, "mean")
    >>> found.reached, found.median, round(found.restricted_mean.value, 3), found.curve
    ((2,), 2.0, 1.667, 2.0)
    """
    if not math.isfinite(threshold):
        raise UsageError(f"{threshold} is no threshold", "it is a score", "give a number")
    name = aggregate_name(name)
    gap = name == "optimality-gap"
    end = float(laid.x[-1])
    times = [_first(table >= threshold, laid.x) for table in laid.tables]
    reached, runs = tuple(int(np.isfinite(one).sum()) for one in times), tuple(len(one) for one in times)
    notes = list(laid.notes)
    if sum(reached) < sum(runs):
        late = sum(runs) - sum(reached)
        counted = f"they count at {end:g}, so that the mean is a lower bound"
        notes.append(f"{late} of {sum(runs)} runs did not reach {threshold:g} before the end: {counted}")
    restricted = estimate([np.minimum(one, end) for one in times], "mean", method, bounds=(0.0, end))["mean"]
    restricted = replace(restricted, name=f"restricted mean time to {threshold:g}")
    if not any(reached):
        notes.append(f"not reached: {threshold:g} was reached by no run before {end:g}, and the time it takes has no interval")
        restricted = replace(restricted, low=None, high=None)
    median = float(np.mean([_median(one) for one in times]))
    value = np.array([AGGREGATES[name]([table[:, at] for table in laid.tables]) for at in range(len(laid.x))])
    curve = float(_first((value <= threshold if gap else value >= threshold)[None, :], laid.x)[0])
    low = high = None
    if min(runs) >= method.fewest:
        draws = bootstrap_curves(laid.tables, name, resamples=method.resamples, seed=method.seed)
        places = np.sort(_first((draws <= threshold if gap else draws >= threshold).T, laid.x))
        outside = tails(method.level)[0]
        last = len(places) - 1
        low, high = float(places[math.floor(outside * last)]), float(places[last - math.floor(outside * last)])
        notes.append(f"the curve's place: {interval_note('percentile', runs)}")
    return StepsToThreshold(threshold, end, reached, runs, median, restricted, curve, low, high, tuple(notes))


def _first(above: NDArray[np.bool_], x: Values) -> Values:
    """For each row the first position that is above, infinity where none is."""
    return np.where(above.any(axis=1), x[np.argmax(above, axis=1)], np.inf)


def _median(times: Values) -> float:
    """The median time; infinity where half the runs or more have none."""
    ordered = np.sort(times)
    middle = ordered[(len(times) - 1) // 2], ordered[len(times) // 2]
    return float(np.mean(middle)) if np.isfinite(middle).all() else math.inf
