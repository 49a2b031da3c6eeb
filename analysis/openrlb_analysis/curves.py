"""Learning curves: an aggregate over runs at each position, by steps, frames or wall time, with pointwise bands."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from openrlb.errors import UsageError
from openrlb.store.normalizations import FrozenNormalization
from openrlb.types import Curve
from openrlb_analysis.aggregates import aggregate_along
from openrlb_analysis.analyse import Analysis, Scored, analyse, check_aggregate, common_bounds
from openrlb_analysis.cuts import has_diverged
from openrlb_analysis.intervals import DEFAULT_METHOD, FEWEST_RUNS, curve_interval, interval_method, interval_note
from openrlb_analysis.result import CurveBand, CurvesResult, Excluded, IntervalMethod
from openrlb_analysis.rules import ScoreRule
from openrlb_analysis.scores import BINS, bin_means, mean_per_step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from openrlb.types import Steps, Values

MILLISECONDS_PER_HOUR = 3_600_000
MAX_POINTS = 10_000
BEYOND_NAMED = 4
BRIEF = 100
"""A curve that is shorter than the longest by this factor is a speck at the left edge."""


@dataclass(frozen=True, slots=True)
class _Line:
    """One run's normalised values along x, up to where it diverged."""

    positions: Steps
    values: Values
    floor: float | None


def learning_curves(
    curves: Sequence[Curve],
    *,
    of: str,
    x: str = "steps",
    points: int = BINS,
    metric: str = "iqm",
    rule: str | ScoreRule | None = None,
    at: int | None = None,
    ddof: int = 1,
    normalize: str | FrozenNormalization | None = None,
    by: Sequence[str] = (),
    labels: Mapping[str, str] | Sequence[str] = (),
    pool: bool = False,
    interval: str = DEFAULT_METHOD,
    interval_from: int = FEWEST_RUNS,
    level: float = 0.95,
    resamples: int = 50_000,
    seed: int = 0,
    frames_per_step: int | None = None,
    allow_mixed_kinds: bool = False,
    versions_as_one: bool = False,
    band: str = "pointwise",
) -> CurvesResult:
    """One band for each group and environment, over the runs that :func:`openrlb_analysis.summary.summarize` counts.

    Where all runs of a group log at the same steps, these are the positions; else (and for one run with more points
    than ``points``) the way to the cut is divided into equal bins, a run's value in a bin is the mean of its points
    there, and the position is the bin's end; a bin in which no run has a value is no position. A run that
    diverged stands at the environment's failure score from then on. By time, each run is binned by its own elapsed
    time, up to its group's median last time, in bins no finer than the group's runs log. Nothing is interpolated,
    stretched or smoothed.

    Args:
        curves: One curve of each run, of one metric.
        of: The name of the logged quantity, for the output.
        x: ``steps``, ``frames`` or ``time`` (hours of wall time).
        points: Bins, where runs do not log at the same steps.
        metric: The aggregate over runs at each position.
        rule: The score rule, which decides the failure score; see :func:`openrlb_analysis.analyse.analyse`, as for
            the options not named here.
        at: The step to cut at.
        ddof: Not used; taken so that the options of a summary fit.
        normalize: A table's name, ``none``, a frozen normalisation, or None for the table that fits.
        by: What defines a group.
        labels: New names of groups.
        pool: One group for each algorithm and implementation.
        interval: The interval method, one of :data:`openrlb_analysis.intervals.METHODS`.
        interval_from: The fewest runs at a position that get an interval.
        level: Its nominal coverage at each position.
        resamples: Bootstrap resamples.
        seed: Seed of the bootstrap.
        frames_per_step: Frames in an agent step, for runs that do not say.
        allow_mixed_kinds: Let values of different kinds meet.
        versions_as_one: Make the versions of an environment one task, and say so.
        band: ``pointwise``, or ``simultaneous`` for bands that hold a whole curve at the level.

    Raises:
        NothingMatched: No curve was given, or none is left.
        SelectionError: Runs that cannot be compared, or whose frames are not known.
        UsageError: An option that has no meaning.
    """
    analysis = analyse(
        curves, rule=rule, at=at, normalize=normalize, by=by, labels=labels, pool=pool, frames_per_step=frames_per_step,
        allow_mixed_kinds=allow_mixed_kinds, versions_as_one=versions_as_one,
        step_unit="frame" if x == "frames" else "agent_step",
    )  # fmt: skip
    return curves_of(
        analysis, of=of, x=x, points=points, metric=metric, interval=interval, interval_from=interval_from, level=level,
        resamples=resamples, seed=seed, band=band,
    )  # fmt: skip


def curves_of(
    analysis: Analysis,
    *,
    of: str,
    x: str = "steps",
    points: int = BINS,
    metric: str = "iqm",
    interval: str = DEFAULT_METHOD,
    interval_from: int = FEWEST_RUNS,
    level: float = 0.95,
    resamples: int = 50_000,
    seed: int = 0,
    band: str = "pointwise",
) -> CurvesResult:
    """:func:`learning_curves` of runs that are scored already; along frames, of an analysis that counts frames.

    Args:
        analysis: The scored groups.
        of: As of :func:`learning_curves`, like all that follow.
        x: ``steps``, ``frames`` or ``time``.
        points: Bins.
        metric: The aggregate.
        interval: The interval method.
        interval_from: The fewest runs.
        level: The nominal coverage.
        resamples: Bootstrap resamples.
        seed: The bootstrap's seed.
        band: ``pointwise`` or ``simultaneous``.

    Raises:
        UsageError: An option that has no meaning.
    """
    if x not in ("steps", "frames", "time"):
        raise UsageError(f"no x axis {x!r}", "there are steps, frames and time", "try --x steps")
    if band not in ("pointwise", "simultaneous"):
        raise UsageError(f"no band {band!r}", "there are pointwise and simultaneous", "try --band pointwise")
    if not 1 <= points <= MAX_POINTS:
        raise UsageError(f"{points} points make no curve", f"there are 1 to {MAX_POINTS}", f"leave the default of {BINS}")
    method = interval_method(interval, level, resamples, seed, interval_from)
    name = check_aggregate(metric, analysis.normalization)
    scored, excluded, notes = _with_axis(analysis, x)
    ends, causes = _ends(scored, x)
    bands: list[CurveBand] = []
    seen: dict[str, tuple[float, float]] = {}
    for key, one in scored.items():
        if key in ends:
            lines = [_line(curve, one, key, analysis, x) for curve in one.curves]
            one_band = _band(key, lines, ends[key], points, x == "time", name, method, together=band == "simultaneous")
            if (within := analysis.bounds.get(key)) is not None:
                low, high = np.clip(one_band.low, *within), np.clip(one_band.high, *within)
                one_band = replace(one_band, low=low, high=high)
            seen[key[1]] = _range_of(lines, ends[key], seen.get(key[1], (math.inf, -math.inf)))
            bands.append(replace(one_band, x=one_band.x / MILLISECONDS_PER_HOUR) if x == "time" else one_band)
    seen = {env: (low, high) for env, (low, high) in seen.items() if low <= high}
    notes += _beyond_notes([one for one in bands if (one.label, one.env) not in analysis.bounds], seen)
    notes += _thin_notes(bands) + _brief_notes(ends) + _band_notes(bands, band, level)
    units = {one.cell.cut.unit for key, one in scored.items() if key in ends}
    furthest = {env: max(end for (_, other), end in ends.items() if other == env) for _, env in ends}
    counts = [int(band.runs.max(initial=0)) for band in bands]
    return CurvesResult(
        x_unit="hours" if x == "time" else units.pop() if len(units) == 1 else "mixed" if units else "unknown",
        metric=name,
        of=of,
        interval=replace(method, note=interval_note(method.method, counts, name)),
        bands=tuple(bands),
        notes=(*analysis.notes, *notes),
        kind=analysis.kind,
        normalization=analysis.normalization.text,
        end={env: end / MILLISECONDS_PER_HOUR if x == "time" else float(end) for env, end in furthest.items()},
        cut_cause=causes,
        excluded=(*analysis.excluded, *excluded),
        band=band,
        bounds=common_bounds(analysis),
        seen=seen,
    )


def _range_of(lines: Sequence[_Line], end: int, known: tuple[float, float]) -> tuple[float, float]:
    """The lowest and the highest value up to the end, of these runs and of those that were looked at before."""
    low, high = known
    for line in lines:
        values = line.values[line.positions <= end]
        parts = [float(value) for value in ((values.min(), values.max()) if len(values) else ())]
        parts += [] if line.floor is None else [line.floor]
        low, high = min([low, *parts]), max([high, *parts])
    return low, high


def _beyond_notes(bands: Sequence[CurveBand], seen: Mapping[str, tuple[float, float]]) -> list[str]:
    """Names the bands that reach beyond every value that a run has there."""
    beyond = []
    for one in bands:
        known = np.concatenate([one.low[np.isfinite(one.low)], one.high[np.isfinite(one.high)]])
        if len(known) and one.env in seen and (known.min() < seen[one.env][0] or known.max() > seen[one.env][1]):
            low, high = seen[one.env]
            beyond.append(f"{one.label}, {one.env}: {known.min():.5g} to {known.max():.5g} (values: {low:.5g} to {high:.5g})")
    more = f"; and {len(beyond) - BEYOND_NAMED} more" if len(beyond) > BEYOND_NAMED else ""
    told = f"bands that reach beyond every value of a run, as there are few runs: {'; '.join(beyond[:BEYOND_NAMED])}{more}"
    return [told] if beyond else []


def _with_axis(analysis: Analysis, x: str) -> tuple[dict[tuple[str, str], Scored], list[Excluded], list[str]]:
    """The cells that have an x axis, the runs left out for want of one, and notes."""
    stepless = [env for env, cut in analysis.prepared.cuts.items() if cut.step is None]
    cells = {key: one for key, one in analysis.scored.items() if x == "time" or key[1] not in stepless}
    notes = [f"no learning curve by {x} of {', '.join(stepless)}: the values carry no steps"] if stepless and x != "time" else []
    if x != "time":
        return cells, [], notes
    timed, excluded = {}, []
    for key, one in cells.items():
        kept = tuple(curve for curve in one.curves if len(curve.times_ms) and int(curve.times_ms.min()) >= 0)
        excluded += [
            Excluded(curve.run.run, "no wall times") for curve in one.curves if all(curve is not other for other in kept)
        ]
        if kept:
            timed[key] = replace(one, curves=kept)
    if excluded:
        notes.append(f"no wall times, not drawn by time: {', '.join(gone.run for gone in excluded)}")
    return timed, excluded, notes


def _ends(scored: Mapping[tuple[str, str], Scored], x: str) -> tuple[dict[tuple[str, str], int], dict[str, str]]:
    """Where each group's curve ends in each environment, and why there."""
    if x != "time":
        cuts = {key: one.cell.cut for key, one in scored.items()}
        return {key: cut.step for key, cut in cuts.items() if cut.step}, {env: cut.cause for (_, env), cut in cuts.items()}
    ends: dict[tuple[str, str], int] = {}
    for key, one in scored.items():
        steady = [curve for curve in one.curves if not has_diverged(curve)] or one.curves
        last = int(statistics.median(int(curve.times_ms[-1]) for curve in steady))
        if last > 0:
            ends[key] = last
    return ends, {env: "each group at its own median last time" for _, env in ends}


def _brief_notes(ends: Mapping[tuple[str, str], int]) -> list[str]:
    """Names the curves that are so short beside the longest that an eye may miss them."""
    notes = []
    for (label, env), end in ends.items():
        longest = max(other for (_, place), other in ends.items() if place == env)
        if end * BRIEF <= longest:
            lengths = f"{end / 1000:g} s, and the longest {longest / 1000:,.0f} s"
            notes.append(f"{label}, {env}: its curve by time stands at the left edge: it ends after {lengths}")
    return notes


def _line(curve: Curve, one: Scored, key: tuple[str, str], analysis: Analysis, x: str) -> _Line:
    """One run along x: its finite values and, where it diverged, the failure score that follows them."""
    label, env = key
    values = analysis.normalization.apply(env, curve.values, curve.run.normalized)
    finite = np.isfinite(values)
    diverged = curve.run.run in one.diverged
    if diverged and not has_diverged(curve):
        finite &= np.arange(len(values)) < int(np.argmin(finite))  # it failed at its first NaN, though it went on logging
    positions = curve.times_ms if x == "time" else curve.steps
    floor = analysis.failure_of(label, env)
    return _Line(positions[finite], values[finite], floor if diverged or has_diverged(curve) else None)


def _band(
    key: tuple[str, str],
    lines: Sequence[_Line],
    end: int,
    points: int,
    timed: bool,
    name: str,
    method: IntervalMethod,
    together: bool,
) -> CurveBand:
    """The aggregate and its interval at each position, over the runs that have a value there."""
    positions, table = _table(lines, end, points, timed)
    positions, table = positions[np.isfinite(table).any(axis=0)], table[:, np.isfinite(table).any(axis=0)]
    present = np.isfinite(table)
    value, low, high = (np.full(len(positions), np.nan) for _ in range(3))
    for pattern, columns in _patterns(present):
        runs = table[pattern][:, columns]
        value[columns] = aggregate_along(name, runs)
        low[columns], high[columns] = curve_interval(runs, name, method)
    if together:
        low, high = _simultaneous(positions, table, name, method)
    return CurveBand(key[0], key[1], positions, value, low, high, present.sum(axis=0).astype(np.float64))


def _patterns(present: NDArray[np.bool_]) -> list[tuple[NDArray[np.bool_], NDArray[np.intp]]]:
    """Which runs have a value together, and at which positions; shape ``(runs, positions)`` is given.

    >>> _patterns(np.array([[True, True], [True, False]]))
    [(array([ True, False]), array([1])), (array([ True,  True]), array([0]))]
    """
    if present.all():
        return [(present[:, 0], np.arange(present.shape[1]))] if present.size else []
    patterns, which = np.unique(present, axis=1, return_inverse=True)
    return [(pattern, np.flatnonzero(which.ravel() == index)) for index, pattern in enumerate(patterns.T)]


def _simultaneous(positions: Values, table: Values, name: str, method: IntervalMethod) -> tuple[Values, Values]:
    """The ends of a band for the whole curve, over the positions that all runs reach; NaN elsewhere."""
    from openrlb_analysis.efficiency import EfficiencyTables, efficiency_curve

    low, high = np.full((2, len(positions)), np.nan)
    full = np.isfinite(table).all(axis=0)
    if full.any() and len(table) >= method.fewest:
        found = efficiency_curve(EfficiencyTables(positions[full], (table[:, full],), False, ()), name, method)
        low[full], high[full] = found.band_low, found.band_high
    return low, high


def _band_notes(bands: Sequence[CurveBand], band: str, level: float) -> list[str]:
    """What the bands hold."""
    if not any(np.isfinite(one.low).any() for one in bands):
        return []
    if band == "pointwise":
        return [f"bands are pointwise: {100 * level:g} % at each position by itself"]
    notes = [f"bands are simultaneous: the whole curve lies in its band at {100 * level:g} %"]
    gaps = [f"{one.label}, {one.env}" for one in bands if 0 < np.isfinite(one.low).sum() < len(one.x)]
    return notes + ([f"no simultaneous band where some runs logged nothing: {'; '.join(gaps)}"] if gaps else [])


def _thin_notes(bands: Sequence[CurveBand]) -> list[str]:
    """Says where a band does not stand on the same number of runs everywhere."""
    thin = []
    for band in bands:
        fewer = int((band.runs < band.runs.max(initial=0)).sum())
        if fewer:
            thin.append(f"{band.label}, {band.env} ({fewer} of {len(band.x)})")
    return [f"positions with fewer runs, because the others logged nothing there: {'; '.join(thin)}"] if thin else []


def _table(lines: Sequence[_Line], end: int, points: int, timed: bool) -> tuple[Values, Values]:
    """The runs' values on common positions: shape ``(positions,)`` and ``(runs, positions)``, NaN where a run has none."""
    inside = [(line.positions[line.positions <= end], line.values[line.positions <= end]) for line in lines]
    curves = [mean_per_step(positions, values) for positions, values in inside]
    grid = max((positions for positions, _ in curves), key=len)
    alike = all(np.array_equal(positions, grid[: len(positions)]) for positions, _ in curves)
    shared = not timed and alike and (len(lines) > 1 or 0 < len(grid) <= points)
    if shared:
        places: Values = grid.astype(np.float64)
        table = np.full((len(lines), len(grid)), np.nan)
        for row, (_, values) in zip(table, curves, strict=True):
            row[: len(values)] = values
    else:
        if timed:
            points = max(1, min(points, int(statistics.median(len(positions) for positions, _ in curves))))
        places = np.arange(1, points + 1, dtype=np.float64) * (end / points)
        table = np.stack([bin_means(steps, values, end, points) for steps, values in inside])
    for row, line in zip(table, lines, strict=True):
        if line.floor is not None:
            known = np.flatnonzero(np.isfinite(row))
            row[known[-1] + 1 if len(known) else 0 :] = line.floor
    return places, table
