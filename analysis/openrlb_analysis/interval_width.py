"""How an aggregate's interval narrows with the number of seeds: its mean width over random subsets of the runs there are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from openrlb_analysis.inputs import check_tasks
from openrlb_analysis.intervals import bootstrap_interval, interval_note
from openrlb_analysis.result import IntervalMethod

if TYPE_CHECKING:
    from openrlb.types import Values

SUBSETS = 30
"""Random subsets of each size: the mean width is then known to about a tenth of the widths' own spread twice over."""
RESAMPLES = 1_000
"""Resamples of each subset's interval: its ends move by a few hundredths of their spread, and thirty of them are averaged."""
SIZES = 10
MIDDLE = (0.1, 0.9)


@dataclass(frozen=True, slots=True)
class WidthCurve:
    """Interval widths against seeds.

    Attributes:
        seeds: Numbers of seeds in each environment, rising; the last is what there is.
        width: The mean width over random subsets of so many seeds, shape ``(k,)``.
        low: The width that a tenth of the subsets fall short of.
        high: The width that a tenth exceed.
        subsets: How many subsets stand behind each size; the last size has one.
        root: The width at the last size times the root of its seeds: what the law ``width = root / sqrt(seeds)`` goes on with.
        interval: How intervals were computed.
    """

    seeds: Values
    width: Values
    low: Values
    high: Values
    subsets: tuple[int, ...]
    root: float
    interval: IntervalMethod


def width_curve(
    tasks: Sequence[Values], name: str, method: IntervalMethod, *, subsets: int = SUBSETS, most: int | None = None
) -> WidthCurve | None:
    """The mean width of an aggregate's interval at rising numbers of seeds.

    At each size, subsets are drawn at random without replacement within each environment, and each one's interval is computed
    as if there were no other run. The subsets of a few runs overlap: close to all runs the widths vary less than those of new
    runs would, and the last point is one interval.

    Args:
        tasks: One array of finite scores for each environment.
        name: The aggregate.
        method: How intervals are computed; :data:`RESAMPLES` resamples at most.
        subsets: Random subsets of each size.
        most: The largest size; by default the smallest environment's number of runs.

    Returns:
        None where an environment has fewer runs than ``method.fewest``.

    >>> rng = np.random.default_rng(0)
    >>> method = IntervalMethod("calibrated", 0.95, 500, 0)
    >>> found = width_curve([rng.normal(size=40)], "mean", method, subsets=10)
    >>> found.seeds.tolist()[0], found.seeds.tolist()[-1], bool(found.width[0] > 2 * found.width[-1])
    (3.0, 40.0, True)
    """
    checked = check_tasks(tasks)
    largest = min(len(scores) for scores in checked)
    largest = largest if most is None else min(largest, most)
    if largest < method.fewest:
        return None
    told = replace(method, resamples=min(method.resamples, RESAMPLES))
    rows: list[list[float]] = []
    sizes = _sizes(method.fewest, largest)
    for size, stream in zip(sizes, np.random.SeedSequence(method.seed).spawn(len(sizes)), strict=True):
        generator = np.random.default_rng(stream)
        alone = all(len(scores) == size for scores in checked)
        widths = []
        for draw in range(1 if alone else subsets):
            part = [np.sort(generator.choice(scores, size, replace=False)) for scores in map(np.sort, checked)]
            ends = bootstrap_interval(part, name, replace(told, seed=method.seed + draw))
            widths.append(math.nan if ends is None else ends[1] - ends[0])
        rows.append(widths)
    last = float(np.mean(rows[-1]))
    return WidthCurve(
        seeds=np.array(sizes, dtype=np.float64),
        width=np.array([float(np.mean(widths)) for widths in rows]),
        low=np.array([float(np.quantile(widths, MIDDLE[0])) for widths in rows]),
        high=np.array([float(np.quantile(widths, MIDDLE[1])) for widths in rows]),
        subsets=tuple(map(len, rows)),
        root=last * math.sqrt(largest),
        interval=replace(told, note=interval_note(method.method, [largest], name)),
    )


def _sizes(fewest: int, most: int) -> list[int]:
    """Rising numbers of seeds, about evenly apart on a logarithmic scale, from the fewest that have an interval.

    >>> _sizes(3, 5), _sizes(3, 100)
    ([3, 4, 5], [3, 4, 7, 10, 14, 21, 31, 46, 68, 100])
    """
    return sorted({round(float(size)) for size in np.geomspace(fewest, most, SIZES)})
