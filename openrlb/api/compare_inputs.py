"""What ``compare`` and ``power`` start from: the runs of the named groups, scored on one quantity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from openrlb.api.group_names import NamedGroup, named_groups
from openrlb.api.normalization import RANDOM, check_freeze, frozen_now, stored_normalization
from openrlb.api.opened import opened
from openrlb.api.plot import _curves, _named, _without_values, choose_metric, logged_of
from openrlb.api.seed_guard import guarded_runs, left_out, role_notes
from openrlb.errors import KindsDiffer, NothingMatched, SelectionError, UsageError
from openrlb.store import RunRow, Store
from openrlb.types import EPISODIC_RETURN, Curve, Selection
from openrlb_analysis.result import Excluded

if TYPE_CHECKING:
    from openrlb_analysis.analyse import Analysis


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """How runs are grouped and scored; the same words as ``openrlb plot``.

    Attributes:
        metric: The statistic: iqm, mean or median.
        of: The logged quantity; by default a return of one kind that every run of the groups has.
        by: What makes a group.
        pool: Pool configurations that differ, and say so.
        score: The score rule.
        at: The cut in steps.
        normalize: A normalisation table, ``none``, a frozen name, or ``ref:GROUP`` and its like of a selected group, which
            need not be compared; by default the table that fits, else none.
        frames_per_step: Frames for each agent step, where runs that count frames meet runs that count steps.
        interval: The interval method.
        interval_from: The fewest runs of an environment that get an interval.
        level: The level of all intervals together.
        resamples: Bootstrap resamples.
        seed: The bootstrap's seed.
        freeze: The name by which ``ref:GROUP`` and its like are frozen.
        random: The group that ``ref:GROUP`` puts at 0; one called random, or a table's, by default.
        allow_mixed_kinds: Let kinds of return meet; each label then carries its kind.
        merge_versions: Make the versions of an environment one task, and say so.
    """

    metric: str = "iqm"
    of: str | None = None
    by: tuple[str, ...] = ()
    pool: bool = False
    score: str = "final:10%"
    at: int | None = None
    normalize: str | None = None
    frames_per_step: int | None = None
    interval: str = "calibrated"
    interval_from: int = 3
    level: float = 0.95
    resamples: int = 50_000
    seed: int = 0
    freeze: str | None = None
    random: str | None = None
    allow_mixed_kinds: bool = False
    merge_versions: bool = False


@dataclass(frozen=True, slots=True)
class Inputs:
    """The named groups and their scores.

    Attributes:
        groups: The groups, in the order in which they were named.
        analysis: Their scores.
        of: What is scored.
        excluded: Every run left out, with its reason.
        notes: What a reader must know.
    """

    groups: tuple[NamedGroup, ...]
    analysis: Analysis
    of: str
    excluded: tuple[Excluded, ...]
    notes: tuple[str, ...]

    @property
    def labels(self) -> list[str]:
        """The groups' labels, in order."""
        return [group.label for group in self.groups]


def score_groups(
    words: Sequence[str],
    selection: Selection,
    options: ScoreOptions,
    *,
    fewest: int,
    orlb_filters: Sequence[str] = (),
    store: Store | None = None,
) -> Inputs:
    """Finds the named groups among the selected runs and scores them.

    Args:
        words: Names of groups.
        selection: Which runs; roles other than none and test only where they are named.
        options: How.
        fewest: So many groups are needed.
        orlb_filters: rlops' filter strings, which narrow the selection.
        store: The user's own store by default.

    Raises:
        NothingMatched: No run fits, or no group has that name.
        KindsDiffer: The groups share no kind of return.
        SelectionError: A name of several groups, too few groups, or runs that cannot be compared.
        UsageError: An option that has no meaning.
    """
    from openrlb_analysis.analyse import analyse, quantity
    from openrlb_analysis.comparison import checked_statistic
    from openrlb_analysis.normalize import recipe_of

    checked_statistic(options.metric)
    check_freeze(options.normalize, options.freeze, options.random)
    store = opened(store)
    stored = stored_normalization(store, options.normalize)
    rows, guarded = guarded_runs(store, selection, orlb_filters)
    groups = named_groups(rows, words, options.by, options.pool) if words else []
    if len(groups) < fewest:
        raise _too_few([group.label for group in groups], fewest, rows)
    mine = [row for group in groups for row in group.rows]
    guarded = [row for row in guarded if row.record.algo in {one.record.algo for one in mine}]
    curves, without, of = _read(store, selection, mine, options)
    if silent := [group for group in groups if {row.record.run for row in group.rows} <= {item.run for item in without}]:
        raise _never_logged(silent, of, store)
    scored = partial(
        analyse, rule=options.score, at=options.at, by=options.by, pool=options.pool, frames_per_step=options.frames_per_step,
        allow_mixed_kinds=options.allow_mixed_kinds, versions_as_one=options.merge_versions,
    )  # fmt: skip
    if options.normalize is not None and recipe_of(options.normalize):
        raw_curves, _, _ = _read(store, selection, [*mine, *_reference_rows(rows, mine, options)], options)
        raw = scored(raw_curves, normalize="none")
        stored = frozen_now(
            store, options.normalize, rows, raw, of="+".join(sorted({quantity(curve.metric) for curve in curves})),
            name=options.freeze, random=options.random, by=options.by, pool=options.pool,
        )  # fmt: skip
    analysis = scored(curves, labels=_same_labels(groups, curves, options), normalize=stored)
    excluded = _named((*analysis.excluded, *without, *left_out(guarded)), [*mine, *guarded])
    found = tuple(replace(group, label=_analysed(group.label, analysis)) for group in groups)
    return Inputs(found, analysis, of, excluded, (*analysis.notes, *role_notes(mine, guarded)))


def _analysed(label: str, analysis: Analysis) -> str:
    """A group's label in the analysis, which names the kind of its values where several kinds meet."""
    kinds = {f"{label} [{kind}]" for kind in [*analysis.kind.split("+"), analysis.kind]}
    return next((group.label for group in analysis.prepared.groups if group.label in kinds), label)


def _reference_rows(rows: Sequence[RunRow], mine: Sequence[RunRow], options: ScoreOptions) -> list[RunRow]:
    """The runs that a normalisation refers to and that are not compared; a name that fits none is told when it is frozen."""
    from openrlb_analysis.normalize import recipe_of

    recipe, group = recipe_of(options.normalize or "") or ("", "")
    known = {row.record.algo.casefold() for row in rows}
    zero = [options.random or RANDOM] if recipe == "ref" and (options.random or RANDOM in known) else []
    found: list[RunRow] = []
    for word in [group, *zero]:
        try:
            found += [row for one in named_groups(rows, [word], options.by, options.pool) for row in one.rows]
        except NothingMatched:
            continue
    have = {(row.record.source, row.record.run) for row in mine}
    return list({key: row for row in found if (key := (row.record.source, row.record.run)) not in have}.values())


def _never_logged(groups: Sequence[NamedGroup], of: str, store: Store) -> SelectionError:
    """The error for groups of which no run logged what shall be compared."""
    told = []
    for group in groups:
        logged = store.metrics_of([(row.record.source, row.record.run) for row in group.rows])
        names = sorted({item.metric.name for items in logged.values() for item in items})
        told.append(f"{group.label} logged {', '.join(names[:6]) or 'nothing'}{' ...' if len(names) > 6 else ''}")
    what = f"{' and '.join(group.label for group in groups)} never logged {of}"
    return SelectionError(what, "; ".join(told), "name a quantity that the runs of all groups logged: --of NAME")


def _read(
    store: Store, selection: Selection, rows: Sequence[RunRow], options: ScoreOptions
) -> tuple[list[Curve], list[Excluded], str]:
    """The groups' curves of one quantity, the runs that never logged it, and what it is called.

    Raises:
        KindsDiffer: The groups share no kind of it.
    """
    try:
        chosen, without = choose_metric(rows, logged_of(store, rows, options.of), options.of, options.allow_mixed_kinds)
    except KindsDiffer as error:
        mixed = "or add --allow-mixed-kinds (each label then carries its kind)"
        error.fix = f"name a quantity that the runs of all groups logged (--of NAME), compare other groups, {mixed}"
        raise
    algos = selection.algo or tuple({row.record.algo for row in rows})
    curves = _curves(store, replace(selection, algo=algos), chosen)
    curves += _without_values(rows, chosen, curves)
    names = {metric for metric, _ in chosen.values()}
    have = {curve.run.run for curve in curves}
    left = [item for item in without if item.run not in have]
    return curves, left, options.of or (next(iter(names)) if len(names) == 1 else EPISODIC_RETURN)


def _same_labels(groups: Sequence[NamedGroup], curves: Sequence[Curve], options: ScoreOptions) -> dict[str, str]:
    """The labels that the groups have by themselves, and those by which they were named among all selected runs.

    Raises:
        SelectionError: By themselves the groups are other ones.
    """
    from openrlb_analysis.variants import group_runs

    label_of = {(row.record.source, row.record.run): group.label for group in groups for row in group.rows}
    labels: dict[str, str] = {}
    for group in group_runs(curves, options.by, (), options.pool).groups:
        named = {label_of[curve.run.source, curve.run.run] for curve in group.curves}
        if len(named) > 1 or named & set(labels.values()):
            what = f"{' and '.join(sorted(named))} cannot be told apart"
            raise SelectionError(
                what, "they share no environment in which they differ", "choose the grouping with --by config.KEY"
            )
        labels[group.label] = named.pop()
    return labels


def _too_few(labels: Sequence[str], fewest: int, rows: Sequence[RunRow]) -> UsageError:
    """The error for too few groups."""
    algos = sorted({row.record.algo for row in rows})
    told = f"{', '.join(labels)} is one group" if labels else f"the selected runs are of {', '.join(algos[:12])}"
    example = " ".join([*labels, *[algo for algo in algos if algo not in labels]][:fewest])
    what = "a comparison needs two groups" if fewest > 1 else "no group is named"
    return UsageError(what, told, f"name them, for instance: {example or 'ppo a2c'} (openrlb list and plot show what there is)")
