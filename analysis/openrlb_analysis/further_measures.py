"""Measures about environments, seeds and machines: slopes, critical differences, interval widths, run times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from openrlb.errors import SelectionError
from openrlb_analysis.aggregates import AGGREGATES
from openrlb_analysis.analyse import Analysis
from openrlb_analysis.intervals import difference_interval, interval_note
from openrlb_analysis.measured import CriticalDifferences, GroupTime, RunTimes, Slope, Slopes, Widths
from openrlb_analysis.result import IntervalMethod

if TYPE_CHECKING:
    from openrlb.types import Values

    Tasks = Mapping[str, Sequence[Values]]


def slopes_of(analysis: Analysis, tasks: Tasks, envs: Sequence[str], method: IntervalMethod, aggregate: str) -> Slopes:
    """Two groups' scores in each environment, with the interval of each difference.

    Args:
        analysis: The scored groups.
        tasks: For each label the scores in each environment.
        envs: The environments, in the same order.
        method: How intervals are computed.
        aggregate: What a group's score in one environment is, over its runs.

    Raises:
        SelectionError: There are not two groups.
    """
    if len(tasks) != 2:
        why = f"the selected runs are {len(tasks)} group{'s' * (len(tasks) != 1)}: {', '.join(list(tasks)[:6])}"
        fix = "select two of them (--algo, --impl, --where), or group by something that has two values (--by)"
        raise SelectionError("slopes join two groups", why, fix)
    (first, ones), (second, others) = tasks.items()
    found = []
    for env, one, other in zip(envs, ones, others, strict=True):
        value, later = AGGREGATES[aggregate]([one]), AGGREGATES[aggregate]([other])
        low, high = difference_interval([other], [one], aggregate, method, _bounds(analysis, list(tasks), env)) or (None, None)
        found.append(Slope(env, value, later, later - value, low, high))
    better = sum(slope.difference > 0 for slope in found)
    worse = sum(slope.difference < 0 for slope in found)
    clear = [sum(slope.low is not None and side(slope) for slope in found) for side in (_rises, _falls)]
    notes = [
        f"{second} is higher than {first} in {better} of {len(found)} environments and lower in {worse}; clearly (the "
        f"interval of the difference leaves 0) higher in {clear[0]} and lower in {clear[1]}"
    ]
    if len(found) > 1:
        chance = (1.0 - method.level) * len(found)
        notes.append(
            f"each interval stands by itself: of {len(found)} equal pairs about {chance:.2g} would leave 0 by chance; "
            "openrlb compare adjusts for that"
        )
    sizes = [len(scores) for scores in [*ones, *others]]
    told = replace(method, note=interval_note(method.method, sizes, aggregate))
    return Slopes(first, second, tuple(found), aggregate, analysis.normalization.pools, tuple(envs), told, tuple(notes))


def _bounds(analysis: Analysis, labels: Sequence[str], env: str) -> tuple[float, float] | None:
    """Between which scores all groups' runs of an environment must lie, where that is known of each."""
    known = [pair for label in labels if (pair := analysis.bounds.get((label, env))) is not None]
    return (min(low for low, _ in known), max(high for _, high in known)) if len(known) == len(labels) else None


def _rises(slope: Slope) -> bool:
    return slope.low is not None and slope.low > 0


def _falls(slope: Slope) -> bool:
    return slope.high is not None and slope.high < 0


def critical_differences(tasks: Tasks, envs: Sequence[str], method: IntervalMethod, pairwise: str) -> CriticalDifferences:
    """Mean ranks of the groups' mean scores in each environment, and which of them can be told apart.

    Args:
        tasks: For each label the scores in each environment.
        envs: The environments.
        method: Its level is that of the tests.
        pairwise: ``wilcoxon`` or ``nemenyi``.

    Raises:
        UsageError: Fewer than three groups or two environments.
    """
    from openrlb_analysis.critical_difference import critical_difference

    means = {label: [float(scores.mean()) for scores in mine] for label, mine in tasks.items()}
    found = critical_difference(means, pairwise=pairwise, level=method.level)
    told = replace(method, resamples=0, note="no interval: a test over environments")
    return CriticalDifferences(found, "mean over runs", tuple(envs), told, found.notes)


def interval_widths(tasks: Tasks, envs: Sequence[str], method: IntervalMethod, aggregate: str) -> Widths:
    """How each group's interval narrows with seeds.

    Args:
        tasks: For each label the scores in each environment.
        envs: The environments.
        method: How intervals are computed.
        aggregate: Of what.

    Raises:
        SelectionError: No group has enough runs for an interval.
    """
    from openrlb_analysis.interval_width import SUBSETS, width_curve

    found, notes, told = {}, [], method
    for label, mine in tasks.items():
        curve = width_curve(mine, aggregate, method)
        if curve is None:
            fewest = min(len(scores) for scores in mine)
            notes.append(f"{label} is left out: {fewest} run{'s have' if fewest != 1 else ' has'} no interval")
        elif not np.isfinite(curve.width).all():
            notes.append(f"{label} is left out: its scores are so large that an interval has no finite width")
        else:
            found[label], told = curve, curve.interval
    if not found:
        raise SelectionError(
            f"no group has an interval in {'all of ' * (len(envs) > 1)}{len(envs)} environment{'s' * (len(envs) != 1)}",
            f"it needs {method.fewest} runs",
            "select groups with more runs, or train more seeds",
        )  # fmt: skip
    notes.append(
        f"a point is the mean width over {SUBSETS} random subsets without replacement of the runs there are, the band holds four "
        "of five of them; subsets of nearly all runs are alike, so that the right end varies less than new seeds would"
    )
    doubled = [
        f"{label} {curve.width[-1]:.3g} at {curve.seeds[-1]:.0f} seeds, so {curve.root / (4 * curve.seeds[-1]) ** 0.5:.3g} at "
        f"{4 * curve.seeds[-1]:.0f}"
        for label, curve in list(found.items())[:6]
    ]
    more = f"; and {len(found) - 6} more groups" if len(found) > 6 else ""
    notes.append(f"by the law 1/sqrt(seeds) four times as many seeds halve the last width: {'; '.join(doubled)}{more}")
    return Widths(found, aggregate, tuple(envs), told, tuple(notes))


def run_times(analysis: Analysis, method: IntervalMethod) -> RunTimes:
    """How long every group's runs took in every environment.

    Args:
        analysis: The scored groups.
        method: How the intervals of mean speeds are computed.

    Raises:
        SelectionError: No run logged times.
    """
    from openrlb_analysis.machines import machines_of, pause_notes
    from openrlb_analysis.runtime import run_time

    groups = {group.label: [one for (label, _), one in analysis.scored.items() if label == group.label]
              for group in analysis.prepared.groups}  # fmt: skip
    times, notes = [], []
    for (label, env), one in analysis.scored.items():
        found = run_time(one.curves, one.cell.cut.step, method)
        if found is None or found.runs < len(one.curves):
            missing = len(one.curves) - (found.runs if found else 0)
            notes.append(f"{label}, {env}: {missing} of {len(one.curves)} runs logged no times")
        if found is not None:
            times.append(GroupTime(label, env, found))
    if not times:
        raise SelectionError("there are no times", "no selected run logged any", "select runs that did")
    curves = {label: [curve for one in mine for curve in one.curves] for label, mine in groups.items()}
    notes += pause_notes([curve for mine in curves.values() for curve in mine])
    notes.append("hours run from the first moment of a run's clock to its last value up to the cut; speeds are steps up to there")
    units = {one.cell.cut.unit for one in analysis.scored.values()}
    sizes = [one.time.runs for one in times]
    told = replace(method, note=interval_note(method.method, sizes, "mean"))
    envs = tuple(env for env in analysis.prepared.cuts if any(env == one.env for one in times))
    unit = units.pop() if len(units) == 1 else "mixed"
    return RunTimes(tuple(times), machines_of(curves), unit, envs, told, tuple(notes))
