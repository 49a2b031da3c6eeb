"""``plot``: from stored runs to an honest figure with its numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from openrlb.api.list import nothing_fits
from openrlb.api.opened import opened
from openrlb.errors import KindsDiffer, NothingMatched, SelectionError
from openrlb.store import MetricSummary, RunRow, Store
from openrlb.types import EPISODIC_RETURN, Curve, Metric, Selection

if TYPE_CHECKING:
    from openrlb_analysis.result import CurvesResult, Excluded, PlotResult

CURVE_RESAMPLES = 2_000
"""Resamples of a curve's bands at most: beyond it the ends move by less than 0.06 of their own standard deviation."""

KINDS = ("eval", "episode", "rolling_mean", "other")
"""Kinds of a return in the order in which they are preferred."""

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class PlotOptions:
    """How to score, group and aggregate; the flags of ``openrlb plot``.

    Attributes:
        metric: The aggregate: iqm, mean, median or optimality-gap.
        of: The logged quantity; by default a return of one kind that every selected run has.
        by: What makes a group: algo, impl, source, project, tag, study, commit, config.X.
        label: ``OLD=NEW`` names for groups.
        pool: Pool configurations that differ, and say so.
        score: The score rule.
        at: The cut in steps; by default the smallest over groups of the group's median last step.
        ddof: Delta degrees of freedom of standard deviations.
        normalize: A normalisation table, or ``none``; by default the table that fits, else none.
        interval: The interval method: ``calibrated``, ``percentile`` (rliable's), ``basic`` or ``bca``.
        interval_from: The fewest runs of an environment that get an interval; two only on request.
        level: Its nominal coverage.
        resamples: Bootstrap resamples.
        seed: The bootstrap's seed.
        frames_per_step: Frames for each agent step, where runs that count frames meet runs that count steps.
        allow_mixed_kinds: Let a run without the common kind show its own; each label then carries its kind.
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
    interval: str = "calibrated"
    interval_from: int = 3
    level: float = 0.95
    resamples: int = 50_000
    seed: int = 0
    frames_per_step: int | None = None
    allow_mixed_kinds: bool = False


@dataclass(frozen=True, slots=True)
class PlotAnswer:
    """A result with its learning curves (empty where none were asked for)."""

    result: PlotResult
    curves: tuple[CurvesResult, ...] = ()


def plot(
    selection: Selection | None = None,
    options: PlotOptions | None = None,
    *,
    curves: bool = False,
    store: Store | None = None,
) -> PlotAnswer:
    """Scores the selected runs, groups them and gives each group its value and interval.

    Args:
        selection: Which runs; all by default, reproductions never.
        options: How.
        curves: Also compute learning curves, by step and, where runs logged times, by wall time.
        store: The user's own store by default.

    Raises:
        NothingMatched: No run fits, or none logged the quantity.
        KindsDiffer: The runs share no kind of return.
        SelectionError: They cannot be grouped or compared as asked.
        UsageError: A rule, metric or table that does not exist.
    """
    from openrlb_analysis.normalize import check_name
    from openrlb_analysis.summary import learning_curves, summarize

    check_name(options.normalize if options else None)
    selection, options, store = selection or Selection(), options or PlotOptions(), opened(store)
    rows = [row for row in store.runs(selection) if row.record.role != "reproduction"]
    if not rows:
        raise nothing_fits(store, selection)
    chosen, without = choose_metric(rows, store.metrics_of([_key(row) for row in rows]), options.of, options.allow_mixed_kinds)
    found = _curves(store, selection, chosen)
    found += _without_values(rows, chosen, found)
    without = [item for item in without if item.run not in {curve.run.run for curve in found}]
    names = {metric for metric, _ in chosen.values()}
    arguments: dict[str, Any] = {
        "metric": options.metric,
        "rule": options.score,
        "at": options.at,
        "ddof": options.ddof,
        "normalize": options.normalize,
        "by": options.by,
        "labels": options.label,
        "pool": options.pool,
        "interval": options.interval,
        "interval_from": options.interval_from,
        "level": options.level,
        "resamples": options.resamples,
        "seed": options.seed,
        "frames_per_step": options.frames_per_step,
        "allow_mixed_kinds": options.allow_mixed_kinds,
        "of": options.of or (next(iter(names)) if len(names) == 1 else EPISODIC_RETURN),
    }
    result = summarize(found, **arguments)
    notes = result.notes if len(names) == 1 else (*result.notes, f"{arguments['of']} was logged as {', '.join(sorted(names))}")
    notes = (*notes, *_reading_notes(found))
    result = replace(result, excluded=_named((*result.excluded, *without), rows), notes=notes)
    if not curves:
        return PlotAnswer(result)
    arguments["resamples"] = min(options.resamples, CURVE_RESAMPLES)
    steps = learning_curves(found, x="steps", **arguments)
    if any((curve.times_ms >= 0).all() and len(curve.times_ms) for curve in found):
        return PlotAnswer(result, (steps, learning_curves(found, x="time", **arguments)))
    return PlotAnswer(replace(result, notes=(*notes, "no curves by wall time: no run logged times")), (steps,))


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
    return row.record.source, row.record.run
