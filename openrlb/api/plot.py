"""``plot``: from stored runs to an honest figure with its numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from openrlb.api.normalization import check_freeze, frozen_now, stored_normalization
from openrlb.api.opened import given, opened
from openrlb.api.seed_guard import guarded_runs, left_out, role_notes
from openrlb.api.shown import PlotShown
from openrlb.errors import HardwareDiffers, KindsDiffer, NothingMatched, SelectionError
from openrlb.store import MetricSummary, RunRow, Store
from openrlb.types import EPISODIC_RETURN, Curve, Metric, Selection

if TYPE_CHECKING:
    from openrlb.store.normalizations import FrozenNormalization
    from openrlb_analysis.analyse import Analysis
    from openrlb_analysis.estimators import Estimator
    from openrlb_analysis.machines import GroupMachines
    from openrlb_analysis.measured import Measure
    from openrlb_analysis.result import CurvesResult, Excluded, IntervalMethod, PlotResult

CURVE_RESAMPLES = 2_000
"""Resamples of a curve's bands at most: beyond it the ends move by less than 0.06 of their own standard deviation."""

KINDS = ("eval", "episode", "rolling_mean", "other")
"""Kinds of a return in the order in which they are preferred."""

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class PlotOptions:
    """How to score, group and aggregate; the flags of ``openrlb plot``.

    Attributes:
        metric: An aggregate (iqm, mean, median, optimality-gap), cvar, iqr, or one of
            :data:`openrlb_analysis.measures.MEASURES`.
        of: The logged quantity; by default a return of one kind that every selected run has.
        by: What makes a group: algo, impl, source, project, tag, study, commit, config.X.
        label: ``OLD=NEW`` names for groups.
        pool: Pool configurations that differ, and say so.
        score: The score rule.
        at: The cut in steps; by default the smallest over groups of the group's median last step.
        ddof: Delta degrees of freedom of standard deviations.
        normalize: A normalisation table, ``none``, a frozen name, or ``ref:GROUP``, ``minmax:GROUP``, ``cdf:GROUP``, which
            is frozen when first used; by default the table that fits, else none.
        freeze: The name to freeze it by, in place of the words of ``normalize``.
        random: The group that ``ref:GROUP`` puts at 0; by default one called random, else the table's random agent.
        interval: The interval method: ``calibrated``, ``percentile`` (rliable's), ``basic`` or ``bca``.
        interval_from: The fewest runs of an environment that get an interval; two only on request.
        level: Its nominal coverage.
        resamples: Bootstrap resamples.
        seed: The bootstrap's seed.
        frames_per_step: Frames for each agent step, where runs that count frames meet runs that count steps.
        allow_mixed_kinds: Let a run without the common kind show its own; each label then carries its kind.
        merge_versions: Make the versions of an environment one task.
        x: What curves run along: steps, frames or time; by default steps, and for learning curves time too.
        band: ``pointwise``, or ``simultaneous`` for bands that hold whole curves.
        threshold: The score of steps-to-threshold.
        worst_share: The share of worst runs that cvar averages.
        engine: ``openrlb``, or ``rliable`` for rliable's own code.
        task_bootstrap: Resample environments too.
        beside: Further aggregates of the same scores, each with a panel of its own.
        pairwise: The test of pairs in a critical-difference diagram: ``wilcoxon`` or ``nemenyi``.
        allow_mixed_hardware: Compare wall times of unlike machines.
        aggregate: What efficiency, steps-to-threshold, rank, slopes, interval-width and, beside them, learning curves show.
    """

    metric: str = "iqm"
    of: str | None = None
    by: tuple[str, ...] = ()
    label: tuple[str, ...] = ()
    pool: bool = False
    score: str = "final:10%"
    at: int | None = None
    ddof: int = 1
    normalize: str | None = None
    freeze: str | None = None
    random: str | None = None
    interval: str = "calibrated"
    interval_from: int = 3
    level: float = 0.95
    resamples: int = 50_000
    seed: int = 0
    frames_per_step: int | None = None
    allow_mixed_kinds: bool = False
    merge_versions: bool = False
    x: str | None = None
    band: str = "pointwise"
    threshold: float | None = None
    worst_share: float = 0.25
    engine: str = "openrlb"
    task_bootstrap: bool = False
    beside: tuple[str, ...] = ()
    pairwise: str = "wilcoxon"
    allow_mixed_hardware: bool = False
    aggregate: str = "iqm"


@dataclass(frozen=True, slots=True, repr=False)
class PlotAnswer(PlotShown):
    """A result, what a metric has beside one number for each group, learning curves, and further aggregates where asked for."""

    result: PlotResult
    curves: tuple[CurvesResult, ...] = ()
    measure: Measure | None = None
    beside: tuple[PlotResult, ...] = ()


def plot(
    selection: Selection | None = None,
    options: PlotOptions | None = None,
    *,
    curves: bool = False,
    orlb_filters: Sequence[str] = (),
    store: Store | None = None,
) -> PlotAnswer:
    """Scores the selected runs, groups them and gives each group its value and interval.

    Args:
        selection: Which runs; all by default, reproductions never.
        options: How.
        curves: Also compute learning curves, by step and, where runs logged times, by wall time.
        orlb_filters: rlops' filter strings, which narrow the selection.
        store: The user's own store by default.

    Raises:
        NothingMatched: No run fits, or none logged the quantity.
        KindsDiffer: The runs share no kind of return.
        HardwareDiffers: Wall times of unlike machines.
        SelectionError: They cannot be grouped or compared as asked.
        UsageError: A rule, metric or table that does not exist.
    """
    options = given(options, PlotOptions, "options")
    return answered(gathered(selection, options, orlb_filters=orlb_filters, store=store), options, curves=curves)


@dataclass(frozen=True, slots=True)
class Gathered:
    """Runs that are read, scored and grouped, for one answer about them or several.

    Attributes:
        store: Where they lie.
        rows: The selected runs that count.
        kept_out: Those that a study's choice keeps out.
        without: Those that logged nothing of the quantity.
        names: What the quantity was logged as.
        of: The quantity.
        found: Its values, a curve of each run.
        analysis: The scored groups.
    """

    store: Store
    rows: Sequence[RunRow]
    kept_out: Sequence[RunRow]
    without: Sequence[Excluded]
    names: frozenset[str]
    of: str
    found: Sequence[Curve]
    analysis: Analysis


def gathered(
    selection: Selection | None, options: PlotOptions, *, orlb_filters: Sequence[str] = (), store: Store | None = None
) -> Gathered:
    """Reads, scores and groups the selected runs.

    Args:
        selection: Which runs; all by default, reproductions never.
        options: How; what is then computed of them, as the metric, is not used yet.
        orlb_filters: rlops' filter strings, which narrow the selection.
        store: The user's own store by default.

    Raises:
        NothingMatched: As :func:`plot`, like the errors below.
        KindsDiffer: The runs share no kind of return.
        SelectionError: They cannot be grouped as asked.
        UsageError: A rule or table that does not exist.
    """
    from openrlb_analysis.analyse import analyse

    selection, store = given(selection, Selection, "selection"), opened(store)
    check_freeze(options.normalize, options.freeze, options.random)
    wanted = stored_normalization(store, options.normalize)
    with store.at_once():
        rows, kept_out = guarded_runs(store, selection, orlb_filters)
        chosen, without = choose_metric(rows, logged_of(store, rows, options.of), options.of, options.allow_mixed_kinds)
        found = _curves(store, selection, chosen)
    found += _without_values(rows, chosen, found)
    without = [item for item in without if item.run not in {curve.run.run for curve in found}]
    names = frozenset(metric for metric, _ in chosen.values())
    of = options.of or (next(iter(names)) if len(names) == 1 else EPISODIC_RETURN)
    arguments: dict[str, Any] = {
        "rule": options.score,
        "at": options.at,
        "by": options.by,
        "labels": options.label,
        "pool": options.pool,
        "frames_per_step": options.frames_per_step,
        "allow_mixed_kinds": options.allow_mixed_kinds,
        "versions_as_one": options.merge_versions,
    }
    arguments["normalize"] = _normalization(wanted, rows, found, options, arguments, store)
    analysis = analyse(found, **arguments, step_unit=_step_unit(options))
    return Gathered(store, rows, kept_out, without, names, of, found, analysis)


def answered(runs: Gathered, options: PlotOptions, *, curves: bool = False) -> PlotAnswer:
    """A metric of gathered runs.

    Args:
        runs: The runs; gathered with the same options but for the metric and what belongs to it.
        options: Which metric, and how.
        curves: Also compute learning curves.

    Raises:
        HardwareDiffers: Wall times of unlike machines.
        SelectionError: The groups cannot be compared as asked.
        UsageError: A metric that does not exist.
    """
    machines, told, axes = _clocked(runs.store, runs.analysis, options, curves)
    shared = _shared(options)
    result, measured = _answer(runs.analysis, runs.of, options, shared)
    beside = tuple(_answer(runs.analysis, runs.of, replace(options, metric=name), shared)[0] for name in options.beside)
    if measured is not None:
        from openrlb_analysis.measured import RunTimes

        measured = replace(measured, machines=machines) if isinstance(measured, RunTimes) else measured
    result = replace(result, machines=machines, notes=(*told, *result.notes))
    several = [] if len(runs.names) == 1 else [f"{runs.of} was logged as {', '.join(sorted(runs.names))}"]
    notes = (*result.notes, *several, *role_notes(runs.rows, runs.kept_out), *_reading_notes(runs.found))
    excluded = _named((*result.excluded, *runs.without, *left_out(runs.kept_out)), [*runs.rows, *runs.kept_out])
    result = replace(result, excluded=excluded, notes=notes)
    if not curves:
        return PlotAnswer(result, (), measured, beside)
    drawn = _learning_curves(runs.analysis, runs.of, options, axes)
    return PlotAnswer(result, drawn, measured, beside)


def _clocked(
    store: Store, analysis: Analysis, options: PlotOptions, curves: bool
) -> tuple[tuple[GroupMachines, ...], list[str], list[str]]:
    """Where wall time is shown: the groups' machines and what must be said of them; and along which axes curves are drawn.

    Raises:
        HardwareDiffers: Wall times of unlike machines were asked for, and that they may be unlike was not.
    """
    from openrlb.api.machines import check_alike, group_machines
    from openrlb_analysis.machines import pause_notes

    every = [curve for one in analysis.scored.values() for curve in one.curves]
    timed = any((curve.times_ms >= 0).all() and len(curve.times_ms) for curve in every)
    asked = options.metric == "runtime" or (
        options.x == "time" and (curves or options.metric in ("efficiency", "steps-to-threshold"))
    )
    axes = [options.x] if options.x else ["steps", "time"] if timed else ["steps"]
    if not asked and (not curves or "time" not in axes):
        return (), ["no curves by wall time: no run logged times"] if curves and not timed else [], axes
    machines = group_machines(store, analysis)
    try:
        notes = check_alike(machines, options.allow_mixed_hardware)
    except HardwareDiffers as error:
        if asked:
            raise
        return (), [f"no curves by wall time: {error.what} ({error.why}); --allow-mixed-hardware draws them"], ["steps"]
    return machines, [*notes, *([] if options.metric == "runtime" else pause_notes(every))], axes


def _normalization(
    wanted: str | FrozenNormalization | None,
    rows: Sequence[RunRow],
    found: Sequence[Curve],
    options: PlotOptions,
    arguments: dict[str, Any],
    store: Store,
) -> str | FrozenNormalization | None:
    """The normalisation as an analysis takes it; a recipe is frozen now where it is not yet."""
    from openrlb_analysis.analyse import analyse, quantity
    from openrlb_analysis.normalize import recipe_of

    word = options.normalize or ""
    if recipe_of(word) is None or not found:
        return wanted
    raw = analyse(found, normalize="none", **arguments, step_unit=_step_unit(options))
    of = "+".join(sorted({quantity(curve.metric) for curve in found}))
    return frozen_now(
        store, word, rows, raw, of=of, name=options.freeze, random=options.random, by=options.by, pool=options.pool
    )  # fmt: skip


def _method(options: PlotOptions) -> IntervalMethod:
    """How intervals are computed."""
    from openrlb_analysis.intervals import interval_method

    return interval_method(options.interval, options.level, options.resamples, options.seed, options.interval_from)


def _shared(options: PlotOptions) -> dict[str, Estimator]:
    """Estimators of several aggregates from the same resamples, where several are asked for."""
    from openrlb_analysis.aggregates import AGGREGATES
    from openrlb_analysis.estimators import together

    names = [name for name in (options.metric, *options.beside) if name in AGGREGATES]
    own = options.engine == "openrlb" and not options.task_bootstrap
    return together(names, _method(options)) if own and len(names) > 1 else {}


def _answer(analysis: Analysis, of: str, options: PlotOptions, shared: dict[str, Estimator]) -> tuple[PlotResult, Measure | None]:
    """The metric of the scored groups."""
    from openrlb_analysis.analyse import check_aggregate
    from openrlb_analysis.estimators import SPREADS, estimator, interval_words
    from openrlb_analysis.measures import MEASURES, MeasureOptions, measure, measured_result
    from openrlb_analysis.summary import summary_of

    method = _method(options)
    if options.metric in MEASURES:
        if options.metric in ("efficiency", "steps-to-threshold"):
            method = replace(method, resamples=min(method.resamples, CURVE_RESAMPLES))
        asked = MeasureOptions(
            x=options.x or "steps", threshold=options.threshold, band=options.band, engine=options.engine,
            task_bootstrap=options.task_bootstrap, pairwise=options.pairwise, aggregate=options.aggregate,
        )  # fmt: skip
        measured = measure(options.metric, analysis, method, asked)
        return measured_result(options.metric, analysis, measured, of=of, ddof=options.ddof), measured
    name = options.metric if options.metric in SPREADS else check_aggregate(options.metric, analysis.normalization)
    compute = shared.get(name) or estimator(
        name, method, worst_share=options.worst_share, engine=options.engine, task_bootstrap=options.task_bootstrap
    )
    told = interval_words(name, method, worst_share=options.worst_share, task_bootstrap=options.task_bootstrap)
    result = summary_of(analysis, of=of, metric=name, method=method, ddof=options.ddof, estimate=compute, told=told)
    return replace(result, notes=(*_metric_notes(name, options), *result.notes)), None


def _step_unit(options: PlotOptions) -> str:
    """What cuts count."""
    return "frame" if options.x == "frames" else "agent_step"


def _metric_notes(metric: str, options: PlotOptions) -> list[str]:
    """What must be said of how a number was computed."""
    notes = []
    if metric == "cvar":
        notes.append(f"cvar is the mean of the worst {100 * options.worst_share:g} % of runs")
    if metric == "iqr":
        notes.append("iqr is the interquartile range over runs: small where runs agree, and no measure of how good they are")
    if options.engine == "rliable":
        notes.append("values and intervals are computed by rliable 1.2.0")
    if options.task_bootstrap:
        notes.append(
            "pooled intervals resample environments too: they are about environments like these; none for one environment"
        )
    return notes


def _learning_curves(analysis: Analysis, of: str, options: PlotOptions, axes: Sequence[str]) -> tuple[CurvesResult, ...]:
    """Learning curves along some axes."""
    from openrlb_analysis.aggregates import AGGREGATES
    from openrlb_analysis.curves import curves_of

    return tuple(
        curves_of(
            analysis, x=x, of=of, metric=options.metric if options.metric in AGGREGATES else options.aggregate,
            interval=options.interval, interval_from=options.interval_from, level=options.level,
            resamples=min(options.resamples, CURVE_RESAMPLES), seed=options.seed, band=options.band,
        )
        for x in axes
    )  # fmt: skip


def _reading_notes(found: Sequence[Curve]) -> tuple[str, ...]:
    """What was noticed when the runs were fetched and bears on their numbers, with how many runs it is about."""
    counts = Counter(note for curve in found for note in curve.run.notes if "several values stand at one step" in note)
    return tuple(f"{note} ({count} runs)" for note, count in counts.items())


def _named(excluded: Sequence[Excluded], rows: Sequence[RunRow]) -> tuple[Excluded, ...]:
    """The runs left out, with what a person knows them by."""
    records = {row.record.run: row.record for row in rows}
    return tuple(
        replace(item, algo=run.algo, env=run.env, seed=run.seed) if (run := records.get(item.run)) else item for item in excluded
    )


def logged_of(store: Store, rows: Sequence[RunRow], of: str | None) -> dict[Key, list[MetricSummary]]:
    """What runs logged of a quantity; where none of them logged it, all that they logged, so that it can be told.

    Args:
        store: Where the runs are.
        rows: The runs.
        of: A logged or canonical name, or None for a return.
    """
    keys = [_key(row) for row in rows]
    found = store.metrics_of(keys, of=of or EPISODIC_RETURN)
    return found if any(found.values()) else store.metrics_of(keys)


def choose_metric(
    rows: Sequence[RunRow], logged: dict[Key, list[MetricSummary]], of: str | None, mixed: bool = False
) -> tuple[dict[Key, tuple[str, str]], list[Excluded]]:
    """Which logged metric of each run is the quantity to plot.

    Without a name it is a return of one kind that every run with a return has, ``eval`` before ``episode`` before
    ``rolling_mean``; kinds are never mixed. Runs without any return are left out by name.

    Args:
        rows: The selected runs.
        logged: What each of them logged.
        of: A logged or canonical name, or None.
        mixed: Take each run's own best kind where no kind is common to all.

    Returns:
        The (metric, kind) of each run, and the runs that never logged it.

    Raises:
        NothingMatched: No run logged it.
        KindsDiffer: No kind of return is common to the runs that logged one.
        SelectionError: A run logged several of one kind.
    """
    from openrlb_analysis.result import Excluded

    name = of or EPISODIC_RETURN
    offers: dict[Key, dict[str, str]] = {}
    for row in rows:
        fitting = [item.metric for item in logged[_key(row)] if name in (item.metric.name, item.metric.canonical)]
        offers[_key(row)] = _offer(row, sorted(fitting, key=lambda metric: (metric.kind, metric.name)))
    counts = Counter(kind for offer in offers.values() for kind in offer)
    having = sum(1 for offer in offers.values() if offer)
    if not having:
        names = sorted({item.metric.name for items in logged.values() for item in items})
        why = f"the {len(rows)} selected runs logged: {', '.join(names[:12]) or 'nothing'}{' ...' if len(names) > 12 else ''}"
        what = f"no run logged {of}" if of else "no run logged a metric that is known as a return"
        raise NothingMatched(what, why, "name one of them: --of NAME")
    shared = [kind for kind in (*KINDS, "system") if counts[kind] == having]
    if not shared and not mixed:
        raise _no_common_kind(rows, offers, counts, of)
    order = shared[:1] or [*KINDS, "system"]
    chosen = {key: next((offer[kind], kind) for kind in order if kind in offer) for key, offer in offers.items() if offer}
    return chosen, [Excluded(row.record.run, f"logged no {name}") for row in rows if not offers[_key(row)]]


def _offer(row: RunRow, fitting: Sequence[Metric]) -> dict[str, str]:
    """The one fitting metric of each kind that a run logged.

    Raises:
        SelectionError: Several of one kind: which is meant, nobody can tell.
    """
    names: dict[str, list[str]] = {}
    for metric in fitting:
        names.setdefault(metric.kind, []).append(metric.name)
    for kind, several in names.items():
        if len(several) > 1:
            told = f"{row.record.name} logged {', '.join(several[:6])}, all of them returns of kind {kind}"
            raise SelectionError("several metrics could be meant", told, f"choose one: --of {several[0]}")
    return {kind: several[0] for kind, several in names.items()}


def _no_common_kind(
    rows: Sequence[RunRow], offers: dict[Key, dict[str, str]], counts: Counter[str], of: str | None
) -> KindsDiffer:
    """The error for runs that share no kind of return."""
    told = ", ".join(f"{counts[kind]} of {len(rows)} logged {kind}" for kind in (*KINDS, "system") if counts[kind])
    lacking = sorted({row.record.project for row in rows if not offers[_key(row)]})
    if lacking:
        told += f"; none of {', '.join(lacking[:3])}"
    names = sorted({name for offer in offers.values() for name in offer.values()})
    what = f"the selected runs share no kind of {of or 'return'}"
    others = f"or choose one with --of ({', '.join(names[:6])}), or select fewer runs (--source, --algo)"
    return KindsDiffer(what, told, f"add --allow-mixed-kinds (each label then carries its kind), {others}")


def _curves(store: Store, selection: Selection, chosen: dict[Key, tuple[str, str]]) -> list[Curve]:
    """The chosen metric's values of every chosen run."""
    found = store.curves(selection, sorted(set(chosen.values())))
    return [curve for curve in found if chosen.get((curve.run.source, curve.run.run)) == (curve.metric.name, curve.metric.kind)]


def _without_values(rows: Sequence[RunRow], chosen: dict[Key, tuple[str, str]], found: Sequence[Curve]) -> list[Curve]:
    """Empty curves for diverged runs that logged no value: they are an outcome, not a gap."""
    import numpy as np

    metric = found[0].metric if found else None
    none = np.zeros(0, np.int64)
    return [
        Curve(row.record, metric, none, none.astype(np.float64), none, row.fetched)
        for row in rows
        if metric is not None and row.record.state == "diverged" and _key(row) not in chosen
    ]


def _key(row: RunRow) -> Key:
    """What a run is known by."""
    return row.columns["source"], row.columns["run"]
