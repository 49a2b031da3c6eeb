"""How long runs took and how fast they were: hours to the cut, and steps for each second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from openrlb_analysis.intervals import bootstrap_interval
from openrlb_analysis.result import IntervalMethod

if TYPE_CHECKING:
    from openrlb.types import Curve

MILLISECONDS_PER_HOUR = 3_600_000


@dataclass(frozen=True, slots=True)
class RunTime:
    """How long runs took.

    Attributes:
        runs: Runs that logged times.
        hours: The mean time to the last value up to the cut, in hours.
        shortest: The shortest such time.
        longest: The longest.
        speed: The mean of the runs' steps for each second up to there.
        low: The lower end of its interval; None where there is none.
        high: The upper end.
    """

    runs: int
    hours: float
    shortest: float
    longest: float
    speed: float
    low: float | None
    high: float | None


def run_time(curves: Sequence[Curve], cut: int | None, method: IntervalMethod) -> RunTime | None:
    """The times of some runs of one environment, up to the last value that each logged at or before the cut.

    Times begin where the run's clock does and end with a logged value: what comes before the first and after the last
    (imports, saving) is in no log.

    Args:
        curves: The runs; those without times are left out.
        cut: The last step that counts, None for all.
        method: How the interval of the mean speed is computed.

    Returns:
        None where no run logged times.
    """
    hours, speeds = [], []
    for curve in curves:
        times, steps = curve.times_ms, curve.steps
        if not len(times) or int(times.min()) < 0:
            continue
        inside = np.flatnonzero(steps <= cut) if cut is not None else np.arange(len(steps))
        if not len(inside) or times[inside[-1]] <= 0:
            continue
        last = int(inside[-1])
        hours.append(float(times[last]) / MILLISECONDS_PER_HOUR)
        speeds.append(float(steps[last]) / (float(times[last]) / 1000.0))
    if not hours:
        return None
    low, high = bootstrap_interval([np.array(speeds)], "mean", method, (0.0, np.inf)) or (None, None)
    return RunTime(len(hours), float(np.mean(hours)), min(hours), max(hours), float(np.mean(speeds)), low, high)
