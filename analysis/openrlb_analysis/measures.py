"""What ``openrlb plot --metric`` offers beside aggregates: comparisons of all groups, whole distributions, whole curves.

Everything starts from one :class:`openrlb_analysis.analyse.Analysis`, so that it is about the same runs, cuts and failure
scores as the aggregates; the statistics themselves are those of the library (:mod:`openrlb_analysis`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from openrlb.errors import SelectionError, UsageError
from openrlb.store.environments import base_name
from openrlb_analysis.analyse import Analysis, Scored, check_aggregate, common_bounds
from openrlb_analysis.cuts import has_diverged
from openrlb_analysis.further_measures import critical_differences, interval_widths, run_times, slopes_of
from openrlb_analysis.measured import (
    MEASURES,
    Efficiencies,
    GroupEfficiency,
    GroupProfile,
    GroupRanks,
    GroupThreshold,
    Improvements,
    Measure,
    PairImprovement,
    Profiles,
    Ranks,
    Thresholds,
    WinRates,
)
from openrlb_analysis.result import IntervalMethod, PlotResult

if TYPE_CHECKING:
    from openrlb.types import Curve, Values
    from openrlb_analysis.efficiency import EfficiencyTables
    from openrlb_analysis.estimates import Estimate
    from openrlb_analysis.improvement import Improvement
    from openrlb_analysis.profiles import Profile

__all__ = ["MEASURES", "MeasureOptions", "measure", "measured_result"]

_RESTRICTED = "for the mean time up to the end of the curves (restricted mean) of runs like these, environments fixed"
MILLISECONDS_PER_HOUR = 3_600_000
ENGINES = ("openrlb", "rliable")
BANDS = ("pointwise", "simultaneous")
AXES = ("steps", "frames", "time")
POOLED = ("profile", "efficiency", "steps-to-threshold", "interval-width")
"""Measures whose one number is over environments, which must then be on one scale."""
FEWEST_RESAMPLES = 2_000
"""Beyond these an interval's end moves by less than 0.06 of its own standard deviation."""
MOST_WORK, PAIR_COST = 10_000_000_000, 1_000
"""Comparisons of runs in all resamples together, which take about ten seconds, and what a pair costs beside its own."""
NOT_RLIABLE = ("slopes", "critical-difference", "interval-width", "runtime")
AGGREGATING = ("efficiency", "steps-to-threshold", "rank", "slopes", "interval-width")
"""Measures of an aggregate over runs, which may be another than the IQM."""


@dataclass(frozen=True, slots=True)
class MeasureOptions:
    """How a measure is computed.

    Attributes:
        aggregate: The aggregate of :data:`AGGREGATING`: what curves show, slopes join and ranks are by.
        x: What efficiency curves run along: ``steps``, ``frames`` or ``time`` (hours).
        threshold: The score whose first crossing is asked for.
        band: ``pointwise``, or ``simultaneous`` for a band that holds the whole curve.
        engine: ``openrlb``, or ``rliable`` for rliable's own code.
        task_bootstrap: Asked for, and refused: it is about aggregates.
        pairwise: The test of pairs in a critical-difference diagram.
    """

    aggregate: str = "iqm"
    x: str = "steps"
    threshold: float | None = None
    band: str = "pointwise"
    engine: str = "openrlb"
    task_bootstrap: bool = False
    pairwise: str = "wilcoxon"


@dataclass(slots=True)
class _Told:
    """Notes that several groups share, each once."""

    heard: dict[str, list[str]] = field(default_factory=dict)

    def add(self, label: str, notes: Sequence[str], envs: Sequence[str] = ()) -> None:
        """Notes of one group; environments that the statistics know by number are named."""
        for note in notes:
            named = re.sub(r"\benvironment (\d+)\b", lambda found: envs[int(found[1]) - 1], note)
            self.heard.setdefault(named, []).append(label)

    def notes(self, groups: int) -> tuple[str, ...]:
        """Every note once: what holds for all groups without a name, what holds for some with theirs."""
        return tuple(note if len(labels) == groups else f"{', '.join(labels)}: {note}" for note, labels in self.heard.items())


def measure(metric: str, analysis: Analysis, method: IntervalMethod, options: MeasureOptions) -> Measure:
    """Computes one of :data:`MEASURES` for the groups of an analysis.

    Only environments count that every group has, every one equally.

    Args:
        metric: Which.
        analysis: The scored groups.
        method: How intervals are computed.
        options: The measure's own options.

    Raises:
        SelectionError: Too few groups, no environment that all have, or scores on no common scale.
        UsageError: An option that has no meaning.
    """
    if options.band not in BANDS or options.x not in AXES or options.engine not in ENGINES:
        raise UsageError("no such band, x axis or engine", f"there are {BANDS}, {AXES}, {ENGINES}", "use one of them")
    if options.task_bootstrap:
        raise UsageError(f"the task bootstrap has no {metric}", "it is about aggregates", "leave --task-bootstrap out")
    if options.engine == "rliable" and metric in NOT_RLIABLE:
        raise UsageError(f"rliable has no {metric}", "it computes nothing of the kind", "leave --engine out")
    if metric == "runtime":
        return run_times(analysis, method)
    if metric in AGGREGATING:
        options = replace(options, aggregate=check_aggregate(options.aggregate, analysis.normalization))
    labels = [group.label for group in analysis.prepared.groups]
    envs = [env for env in analysis.prepared.cuts if all((label, env) in analysis.scored for label in labels)]
    if not envs:
        raise _nothing_shared(metric, analysis, labels)
    if metric in ("poi", "win-rate", "rank") and len(labels) < 2:
        why = f"the selected runs are one group, {labels[0]}"
        raise SelectionError(f"{metric} compares groups", why, "select runs of two groups or more, or split them with --by")
    if metric in POOLED and len(envs) > 1 and not analysis.normalization.pools:
        why = f"{len(envs)} environments and no normalisation: their returns are on no common scale"
        fix = "name a table with --normalize, or a group's own scores (--normalize ref:GROUP), or one environment with --env"
        raise SelectionError(f"{metric} pools environments", why, fix)
    tasks = {label: [analysis.scored[label, env].scores for env in envs] for label in labels}
    if metric in ("poi", "win-rate"):
        found = _improvements(tasks, envs, method, options.engine)
        return found if metric == "poi" else WinRates(found.pairs, found.envs, found.interval, found.notes)
    if metric == "slopes":
        return slopes_of(analysis, tasks, envs, method, options.aggregate)
    if metric == "critical-difference":
        return critical_differences(tasks, envs, method, options.pairwise)
    if metric == "interval-width":
        return interval_widths(tasks, envs, method, options.aggregate)
    if metric == "profile":
        return _profiles(tasks, envs, method, options.engine)
    if metric == "rank":
        return _ranks(tasks, envs, method, analysis.normalization.pools, options)
    if metric == "efficiency":
        return _efficiencies(analysis, labels, envs, method, options)
    return _thresholds(analysis, labels, envs, method, options)


def _nothing_shared(metric: str, analysis: Analysis, labels: Sequence[str]) -> SelectionError:
    """The error for groups that have no environment in common."""
    have = {label: [env for env in analysis.prepared.cuts if (label, env) in analysis.scored] for label in labels}
    told = "; ".join(
        f"{label} has {', '.join(envs[:3])}{' ...' if len(envs) > 3 else ''}" for label, envs in list(have.items())[:4]
    )
    best = max(analysis.prepared.cuts, key=lambda env: sum(env in envs for envs in have.values()))
    fix = f"select groups that share environments (--algo), or one environment (--env {best})"
    if len({base_name(env) for env in analysis.prepared.cuts}) < len(analysis.prepared.cuts):
        fix += ", or make versions one task (--merge-versions)"
    return SelectionError(f"{metric} needs an environment that every group has runs in", told, fix)


def measured_result(metric: str, analysis: Analysis, measured: Measure, *, of: str, ddof: int = 1) -> PlotResult:
    """The plain answer of a measure: the runs that count, and one number for each group where the measure has one.

    Of an efficiency curve that is its area, of rank frequencies the mean rank, of a threshold the mean time to it.

    Args:
        metric: Which measure.
        analysis: The scored groups.
        measured: What :func:`measure` computed of them.
        of: The name of the logged quantity.
        ddof: Delta degrees of freedom of every ``std``.
    """
    from openrlb_analysis.summary import summary_of

    numbers: dict[str, tuple[float | None, float | None, float | None]] = {}
    if isinstance(measured, Efficiencies):
        numbers = {one.label: (one.area, one.area_low, one.area_high) for one in measured.curves}
    elif isinstance(measured, Ranks):
        numbers = {one.label: (one.mean_rank if math.isfinite(one.mean_rank) else None, None, None) for one in measured.ranks}
    elif isinstance(measured, Thresholds):
        numbers = {one.label: (one.value, one.low, one.high) for one in measured.thresholds}
    plain = summary_of(
        analysis, of=of, metric=metric, method=measured.interval, ddof=ddof, estimate=lambda *_: (None, None, None), pools=True
    )
    groups = []
    for group in plain.groups:
        value, low, high = numbers.get(group.label, (None, None, None))
        groups.append(replace(group, value=value, low=low, high=high))
    bounds = common_bounds(analysis) if isinstance(measured, Efficiencies) else {}
    notes = (*measured.notes, *plain.notes)
    by = measured.by if isinstance(measured, Ranks) else getattr(measured, "aggregate", "")
    return replace(plain, groups=tuple(groups), interval=measured.interval, notes=notes, bounds=bounds, aggregate=by)


def _improvements(
    tasks: Mapping[str, Sequence[Values]], envs: Sequence[str], method: IntervalMethod, engine: str
) -> Improvements:
    """The probability of improvement of every pair."""
    from openrlb_analysis.engine import rliable_improvement
    from openrlb_analysis.improvement import probability_of_improvement

    compute = rliable_improvement if engine == "rliable" else probability_of_improvement
    pairs, told = [], method
    if engine != "rliable":
        method = replace(method, resamples=_affordable(tasks, method.resamples))
    for first, second in combinations(tasks, 2):
        found: Improvement = compute(tasks[first], tasks[second], method)
        per_env = dict(zip(envs, found.per_env.tolist(), strict=True))
        pairs.append(PairImprovement(first, second, found.value, found.low, found.high, per_env, found.runs))
        told = found.interval
    notes = ("the probability says how often, not by how much; equal scores count half",)
    return Improvements(tuple(pairs), tuple(envs), told, notes)


def _affordable(tasks: Mapping[str, Sequence[Values]], wanted: int) -> int:
    """Resamples of each pair: as many as wanted, fewer where hundreds of pairs or of runs would take minutes."""
    sizes = [[len(scores) for scores in mine] for mine in tasks.values()]
    work = sum(n * m + PAIR_COST for one, other in combinations(sizes, 2) for n, m in zip(one, other, strict=True))
    return min(wanted, max(FEWEST_RESAMPLES, MOST_WORK // (100 * work) * 100))


def _profiles(tasks: Mapping[str, Sequence[Values]], envs: Sequence[str], method: IntervalMethod, engine: str) -> Profiles:
    """The performance profile of every group."""
    from openrlb_analysis.engine import rliable_profile
    from openrlb_analysis.profiles import performance_profile, tau_grid

    every = list(tasks.values())  # evenly, and close together where many runs are: a few high scores shall not make it coarse
    taus = np.unique(np.concatenate([tau_grid(every), tau_grid(every, spacing="quantile")]))
    taus = taus[np.append(True, np.diff(taus) > 1e-9 * (taus[-1] - taus[0]))]
    compute = rliable_profile if engine == "rliable" else performance_profile
    profiles, told = [], method
    for label, mine in tasks.items():
        found: Profile = compute(mine, taus, method)
        profiles.append(GroupProfile(label, found.taus, found.value, found.low, found.high, found.runs))
        told = found.interval
    return Profiles(tuple(profiles), tuple(envs), told)


def _ranks(
    tasks: Mapping[str, Sequence[Values]], envs: Sequence[str], method: IntervalMethod, pools: bool, options: MeasureOptions
) -> Ranks:
    """How often each group takes each rank."""
    from openrlb_analysis.ranks import rank_frequencies

    if options.engine == "rliable":
        raise UsageError("rliable has no rank frequencies", "it ranks nothing", "leave --engine out")
    within = len(envs) > 1 and not pools
    found = rank_frequencies(tasks, options.aggregate, within_environments=within, resamples=method.resamples, seed=method.seed)
    ranks = tuple(
        GroupRanks(label, float(mean), tuple(row.tolist()))
        for label, mean, row in zip(found.groups, found.mean_rank, found.frequency, strict=True)
    )
    notes = [found.label, *found.notes]
    if within:
        notes.append("ranked by the mean within each environment, averaged over environments: there is no normalisation")
    return Ranks(ranks, found.name, tuple(envs), replace(method, note=found.label), tuple(notes))


def _efficiencies(
    analysis: Analysis, labels: Sequence[str], envs: Sequence[str], method: IntervalMethod, options: MeasureOptions
) -> Efficiencies:
    """The efficiency curve of every group."""
    from openrlb_analysis.efficiency import BAND_WORDS, efficiency_curve
    from openrlb_analysis.intervals import aggregate_bounds
    from openrlb_analysis.summary import bounds_of

    told, curves, how = _Told(), [], method
    simultaneous = options.band == "simultaneous"
    laid = _laid(analysis, labels, envs, options.x, told)
    for label, tables in laid.items():
        found = efficiency_curve(tables, options.aggregate, method)
        low, high = (found.low, found.high) if options.band == "pointwise" else (found.band_low, found.band_high)
        value = found.value
        if options.engine == "rliable":
            value, low, high = _by_rliable(tables, options, method)
        area: Estimate = found.area
        area_low, area_high = area.low, area.high
        within = bounds_of(analysis, label, envs)
        if within is not None and options.engine == "openrlb":
            within = aggregate_bounds(options.aggregate, within)
            low, high = np.clip(low, *within), np.clip(high, *within)
            area_low, area_high = (None if end is None else float(np.clip(end, *within)) for end in (area_low, area_high))
        curves.append(GroupEfficiency(label, found.x, value, low, high, area.value, area_low, area_high, found.runs))
        kept = [note for note in found.notes if simultaneous or not note.startswith(BAND_WORDS)]
        told.add(label, kept, envs)
        how = found.interval
    if options.engine == "rliable":
        how = replace(how, note=f"{how.note}; curves by rliable 1.2.0, areas by openrlb")
    unit = _x_unit(analysis, laid, envs, options.x)
    ends = [float(end) for tables in laid.values() for table in tables.tables for end in (table.min(), table.max())]
    return Efficiencies(
        tuple(curves), options.aggregate, unit, options.band, tuple(envs), how, told.notes(len(curves)), (min(ends), max(ends))
    )


def _by_rliable(tables: EfficiencyTables, options: MeasureOptions, method: IntervalMethod) -> tuple[Values, Values, Values]:
    """The curve and pointwise ends as rliable computes them.

    Raises:
        UsageError: It has no simultaneous band.
    """
    from openrlb_analysis.engine import rliable_curve

    if options.band == "simultaneous":
        why = "it draws each position anew, so that its draws say nothing of a whole curve"
        raise UsageError("rliable has no simultaneous band", why, "leave --engine out")
    return rliable_curve(tables.tables, options.aggregate, method)


def _thresholds(
    analysis: Analysis, labels: Sequence[str], envs: Sequence[str], method: IntervalMethod, options: MeasureOptions
) -> Thresholds:
    """The steps to the threshold of every group."""
    from openrlb_analysis.intervals import interval_note
    from openrlb_analysis.thresholds import steps_to_threshold

    if options.threshold is None or not math.isfinite(options.threshold):
        unit = "a normalised score" if analysis.normalization.pools else "a return"
        raise UsageError("steps to which score?", "no threshold is named", f"add --threshold NUMBER, {unit}")
    if options.engine == "rliable":
        raise UsageError("rliable has no steps to a threshold", "its draws do not hold whole curves", "leave --engine out")
    told, found, how = _Told(), [], method
    laid = _laid(analysis, labels, envs, options.x, told)
    for label, tables in laid.items():
        one = steps_to_threshold(tables, options.threshold, options.aggregate, method)
        mean = one.restricted_mean
        reached, runs = (dict(zip(envs, counts, strict=True)) for counts in (one.reached, one.runs))
        found.append(
            GroupThreshold(
                label, reached, runs, mean.value, mean.low, mean.high, one.median, one.curve, one.curve_low, one.curve_high
            )
        )
        told.add(label, one.notes, envs)
        counts = [count for group in found for count in group.runs.values()]
        how = replace(mean.interval, note=f"{interval_note(method.method, counts)}; {_RESTRICTED}")
        half = [env for env in envs if 2 * reached[env] <= runs[env]]
        if not math.isfinite(one.median):
            told.add(label, [f"no median: half the runs or more did not reach it in {', '.join(half)}"])
    unit = _x_unit(analysis, laid, envs, options.x)
    told.heard[_columns_words(unit, options.aggregate)] = list(labels)
    return Thresholds(tuple(found), options.threshold, options.aggregate, unit, tuple(envs), how, told.notes(len(found)))


def _columns_words(unit: str, aggregate: str) -> str:
    """What the numbers of steps-to-threshold are, and what an empty one means."""
    counted = {"share": "shares of each environment's steps"}.get(unit, unit.replace("_", " ") + "s" * (unit != "hours"))
    return (
        f"value, median and curve count {counted}: value is the mean time, median the mean over environments of the median "
        f"run's, curve where the {aggregate} over runs first reaches it, curve_low to curve_high its interval; empty: not "
        "reached before the end, or too few runs for an interval"
    )


def _laid(analysis: Analysis, labels: Sequence[str], envs: Sequence[str], x: str, told: _Told) -> dict[str, EfficiencyTables]:
    """Every group's runs on the same positions; by steps up to each environment's cut, by time as far as all runs go.

    Raises:
        SelectionError: Values without steps, or runs without times.
    """
    from openrlb_analysis.efficiency import efficiency_tables_of

    cuts = [analysis.prepared.cuts[env].step for env in envs]
    if x != "time" and any(cut is None for cut in cuts):
        stepless = [env for env, cut in zip(envs, cuts, strict=True) if cut is None]
        more = f" and of {len(stepless) - 4} more" if len(stepless) > 4 else ""
        why = f"the values of {', '.join(stepless[:4])}{more} carry none"
        raise SelectionError("there is no curve without steps", why, "select runs with steps, or plot --metric profile or poi")
    every, floors = {}, {}
    for label in labels:
        runs = [_pairs(analysis, analysis.scored[label, env], env, x) for env in envs]
        untimed = sum(len(analysis.scored[label, env].curves) - len(mine) for env, mine in zip(envs, runs, strict=True))
        if not all(runs):
            bare = ", ".join(env for env, mine in zip(envs, runs, strict=True) if not mine)
            why = f"{label} has no run that logged times in {bare}"
            raise SelectionError("there is no curve by time", why, "use --x steps, or select runs that logged times")
        if untimed:
            told.heard.setdefault(f"{untimed} runs are left out of the curve by time: they logged no times", []).append(label)
        every[label], floors[label] = runs, [analysis.failure_of(label, env) for env in envs]
    ends = None if x == "time" else [float(cut or 0) for cut in cuts]
    matched = "episode" not in analysis.kind.split("+")  # an episode stands for the way to it, an evaluation for its step
    laid = efficiency_tables_of(every, ends=ends, failure=floors, matched=matched)
    if x == "time":
        end = f"by time all curves end where the first run of all ends, at {float(laid[labels[0]].x[-1]):.4g} hours"
        for label in labels:
            told.add(
                label, [f"{end}, so that groups are compared at equal times; hours say as much of machines as of algorithms"]
            )
    return laid


def _pairs(analysis: Analysis, one: Scored, env: str, x: str) -> list[tuple[Any, Any]]:
    """The (position, normalised value) pairs of each run that has positions, NaN from where it diverged."""
    pairs = []
    for curve in one.curves:
        positions = _positions(curve, x)
        if positions is None:
            continue
        values = np.asarray(analysis.normalization.apply(env, curve.values, curve.run.normalized), dtype=np.float64)
        if (has_diverged(curve) or curve.run.run in one.diverged) and np.isfinite(values).all():
            end = float(positions[-1]) if len(positions) else 0.0
            positions, values = np.append(positions, end + 1.0), np.append(values, np.nan)
        pairs.append((positions, values))
    return pairs


def _positions(curve: Curve, x: str) -> Values | None:
    """Where a run's values stand on the x axis; None where it logged no times."""
    if x != "time":
        return curve.steps.astype(np.float64)
    if not len(curve.times_ms) or int(curve.times_ms.min()) < 0:
        return None
    return curve.times_ms / MILLISECONDS_PER_HOUR


def _x_unit(analysis: Analysis, laid: Mapping[str, EfficiencyTables], envs: Sequence[str], x: str) -> str:
    """What the positions count."""
    if x == "time":
        return "hours"
    if any(tables.shares for tables in laid.values()):
        return "share"
    units = {analysis.prepared.cuts[env].unit for env in envs}
    return units.pop() if len(units) == 1 else "mixed"
