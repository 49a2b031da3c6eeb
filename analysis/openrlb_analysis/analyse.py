"""From curves to scores: grouping, the cut, exclusions, normalisation and what stands for a diverged run.

Both the summary numbers and the learning curves start here, so that they are always about the same runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from openrlb.errors import NothingMatched, SelectionError, UsageError
from openrlb.store.normalizations import FrozenNormalization
from openrlb.types import EPISODIC_RETURN, Curve, Metric
from openrlb_analysis.aggregates import aggregate_name
from openrlb_analysis.cuts import REACHED, Cell, Cut, Prepared, align_steps, has_diverged, merge_versions, prepare, realign
from openrlb_analysis.normalize import NONE, Normalization, normalization
from openrlb_analysis.result import Excluded
from openrlb_analysis.rules import DEFAULT_RULE, ScoreRule, parse_rule
from openrlb_analysis.scores import Score, best_of_mean_curve, score, score_stepless
from openrlb_analysis.variants import Group, group_runs

if TYPE_CHECKING:
    from openrlb.types import Values

FEW_POINTS = 3
"""A score over fewer logged points than this is flagged."""
_SLACK = 1e-9
"""Values may lie beyond known bounds by this share of their width: rounding of logs."""


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores of one group in one environment, normalised, diverged runs at the failure score.

    Attributes:
        cell: The runs and the cut.
        scores: Shape ``(runs,)``, in the order of ``curves``.
        curves: The runs that have a score.
        points: Logged points behind each score.
        episodes: Normalised values of a single run without steps, whose spread can be told; else empty.
        diverged: Ids of the runs that stand at the failure score.
    """

    cell: Cell
    scores: Values
    curves: tuple[Curve, ...]
    points: tuple[int, ...]
    episodes: tuple[float, ...]
    diverged: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Analysis:
    """Everything decided before an aggregate is computed; what :func:`summarize` and the learning curves share.

    Attributes:
        kind: The kind of the metric's values; several are joined by ``+``.
        rule: The score rule in force.
        normalization: The normalisation in force.
        prepared: Groups, cuts and the runs that count.
        scored: Scores by (group label, environment).
        failure: The failure score of each environment, where there is one; without a known one the lowest finite value
            that any of the selected runs logged.
        own_failure: What a failed run of a group counts as, by (group label, environment): it does not depend on which
            other groups are selected, unless the group itself logged nothing (:meth:`failure_of`).
        bounds: The lowest and the highest score there can be, by (group label, environment), where the environment's
            rewards and time limit tell and no run of the group logged a value beyond.
        excluded: Every run left out, with its reason.
        notes: What a reader must know.
    """

    kind: str
    rule: ScoreRule
    normalization: Normalization
    prepared: Prepared
    scored: dict[tuple[str, str], Scored]
    failure: dict[str, float | None]
    excluded: tuple[Excluded, ...]
    notes: tuple[str, ...]
    own_failure: Mapping[tuple[str, str], float] = field(default_factory=dict)
    bounds: Mapping[tuple[str, str], tuple[float, float]] = field(default_factory=dict)

    def failure_of(self, label: str, env: str) -> float | None:
        """What a failed run of a group counts as in an environment; None where nothing could stand for it."""
        return self.own_failure.get((label, env), self.failure.get(env))


def analyse(
    curves: Sequence[Curve],
    *,
    rule: str | ScoreRule | None = None,
    at: int | None = None,
    normalize: str | FrozenNormalization | None = None,
    by: Sequence[str] = (),
    labels: Mapping[str, str] | Sequence[str] = (),
    pool: bool = False,
    frames_per_step: int | None = None,
    allow_mixed_kinds: bool = False,
    versions_as_one: bool = False,
    step_unit: str = "agent_step",
) -> Analysis:
    """Groups runs, finds the cuts, leaves out what does not count, and scores the rest.

    Args:
        curves: One curve of each run, of one metric.
        rule: The score rule; None for ``final:10%``.
        at: The step to cut at in every environment; None for the smallest of the groups' median last steps.
        normalize: A table's name, ``none``, a frozen normalisation, or None for the table that fits.
        by: What defines a group (:func:`openrlb_analysis.variants.group_runs`).
        labels: New names of groups.
        pool: One group for each algorithm and implementation.
        frames_per_step: Frames in an agent step, for runs that do not say.
        allow_mixed_kinds: Let values of different kinds meet; each label then carries its kind.
        versions_as_one: Make the versions of an environment one task, and say so.
        step_unit: ``agent_step``, or ``frame`` to compare by frames.

    Raises:
        NothingMatched: No curve was given, or none is left.
        SelectionError: Runs that cannot be compared.
        UsageError: An option that has no meaning.
    """
    if not curves:
        raise NothingMatched("there is nothing to analyse", "no run was selected", "select other runs, or fetch some")
    chosen, at = _rule_and_cut(rule, at)
    kinds = _kinds(curves, allow_mixed_kinds)
    grouping = group_runs(align_steps(curves, frames_per_step, to=step_unit), tuple(by), labels, pool)
    if len(kinds) > 1:
        grouping = replace(grouping, groups=tuple(_with_kind(group) for group in grouping.groups))
    if versions_as_one:
        grouping = realign(merge_versions(grouping), frames_per_step, to=step_unit)
    prepared = prepare(grouping, at)
    if not prepared.cells:
        reasons = ", ".join(sorted({gone.reason.split(" (")[0] for gone in prepared.excluded}))
        raise NothingMatched("no run is left to analyse", f"all were left out: {reasons}", "select other runs")
    norm = _normalization(normalize, prepared)
    chosen, notes = _effective_rule(chosen, prepared)
    failure, own = _failure_scores(prepared, norm)
    scored, excluded, more = _score_all(prepared, chosen, norm, failure, own)
    if not scored:
        causes = sorted({gone.reason for gone in excluded})
        told = "; ".join(causes[:3]) or f"{chosen.text} finds no value in any run"
        raise NothingMatched("no run has a score", told, "use another --score or --at, or look at the values with openrlb query")
    labels_left, envs_left = {label for label, _ in scored}, {env for _, env in scored}
    notes = [*prepared.notes, *([norm.note] if norm.note else []), *notes, *more]
    notes += [f"{group.label}: no run is left" for group in prepared.groups if group.label not in labels_left]
    prepared = replace(
        prepared,
        groups=tuple(group for group in prepared.groups if group.label in labels_left),
        cuts={env: cut for env, cut in prepared.cuts.items() if env in envs_left},
    )
    return Analysis(
        "+".join(kinds), chosen, norm, prepared, scored, failure, (*prepared.excluded, *excluded), tuple(notes), own,
        _known_bounds(scored, norm),
    )  # fmt: skip


def check_aggregate(metric: str, norm: Normalization) -> str:
    """The aggregate's name, where it has a meaning for these scores.

    Raises:
        UsageError: No such aggregate, or an optimality gap of raw returns.

    >>> check_aggregate("IQM", normalization("none", []))
    'iqm'
    """
    name = aggregate_name(metric)
    if name == "optimality-gap" and not norm.pools:
        raise UsageError(
            "raw returns have no optimality gap",
            "it counts what is missing to a normalised score of 1",
            "name a table with --normalize",
        )
    return name


def _rule_and_cut(rule: str | ScoreRule | None, at: int | None) -> tuple[ScoreRule, int | None]:
    """The rule asked for, and the cut: the step of ``at:STEP`` is the cut where no other is asked for."""
    chosen = rule if isinstance(rule, ScoreRule) else parse_rule(rule or DEFAULT_RULE)
    if chosen.name != "at":
        return chosen, at
    if at is not None and int(chosen.argument or 0) > at:
        fix = "use one of --at and --score at:STEP"
        raise UsageError(f"the rule {chosen.text} looks beyond the cut", f"the cut is {at}", fix)
    return chosen, chosen.argument if at is None else at


def _kinds(curves: Sequence[Curve], allow_mixed: bool) -> list[str]:
    """The kinds of the curves' values, several only where that is allowed."""
    kinds: list[str] = sorted({curve.metric.kind for curve in curves})
    if len(kinds) > 1 and not allow_mixed:
        what = f"values of the kinds {' and '.join(kinds)} cannot be compared"
        raise SelectionError(what, "they measure different things", "name one quantity with --of")
    return kinds


def _normalization(name: str | FrozenNormalization | None, prepared: Prepared) -> Normalization:
    """The normalisation of the runs that count; by default none for what is no return, as tables hold returns.

    Raises:
        SelectionError: Reference scores of another quantity.
    """
    used = [curve for cell in prepared.cells.values() for curve in cell.curves]
    given = [curve.run.normalized for curve in used]
    if isinstance(name, FrozenNormalization):
        unlike = sorted({(quantity(curve.metric), curve.metric.kind) for curve in used} - {(name.of, name.kind)})
        if unlike:
            why = f"it was made of {name.of} ({name.kind}), and these are {', '.join(f'{of} ({kind})' for of, kind in unlike)}"
            fix = f"freeze one of these: --normalize {name.method}:GROUP --freeze NAME"
            raise SelectionError(f"{name.name} is about another quantity", why, fix)
    if name is None and not any(given) and any(curve.metric.canonical != EPISODIC_RETURN for curve in used):
        name = NONE
    return normalization(name, prepared.cuts, given)


def quantity(metric: Metric) -> str:
    """What a metric measures, whatever a source calls it."""
    return metric.canonical or metric.name


def _with_kind(group: Group) -> Group:
    """A group whose label carries the kind of its values."""
    return replace(group, label=f"{group.label} [{'+'.join(sorted({curve.metric.kind for curve in group.curves}))}]")


def _effective_rule(rule: ScoreRule, prepared: Prepared) -> tuple[ScoreRule, list[str]]:
    """The rule in force, where values without steps may call for another, and what must be said of it."""
    notes = []
    if rule.optimistic:
        notes.append(f"{rule.text} is optimistic: the best point is chosen after the fact")
    stepless = [cell for cell in prepared.cells.values() if cell.cut.step is None]
    several = sorted({cell.cut.env for cell in stepless if any(len(curve.values) > 1 for curve in cell.curves)})
    if several and rule.name == "final":
        notes.append(f"scores of {', '.join(several)} are the mean of each run's values: they carry no steps")
        if len(stepless) == len(prepared.cells):
            return ScoreRule("mean"), notes
    return rule, notes


def _failure_scores(prepared: Prepared, norm: Normalization) -> tuple[dict[str, float | None], dict[tuple[str, str], float]]:
    """What a failed run counts as: in each environment, and for each group there.

    Where the normalisation knows none it is the lowest value that the group itself logged, so that selecting another
    group changes no number.
    """
    failure = {env: norm.failure_score(env) for env in prepared.cuts}
    own: dict[tuple[str, str], float] = {}
    for key in [*prepared.cells, *(key for key in prepared.failed if key not in prepared.cells)]:
        cut = prepared.cuts.get(key[1])
        if cut is None:
            continue
        mine = (*(prepared.cells[key].curves if key in prepared.cells else ()), *prepared.failed.get(key, ()))
        known = failure[key[1]]
        lowest = _lowest_logged(mine, cut, norm) if known is None else known
        if lowest is not None:
            own[key] = lowest
    for env in prepared.cuts:
        if failure[env] is None:
            failure[env] = min((value for (_, of), value in own.items() if of == env), default=None)
    return failure, own


def _score_all(
    prepared: Prepared,
    rule: ScoreRule,
    norm: Normalization,
    failure: Mapping[str, float | None],
    own: Mapping[tuple[str, str], float],
) -> tuple[dict[tuple[str, str], Scored], list[Excluded], list[str]]:
    """Scores every cell; diverged runs stand at their failure score."""
    raw = {key: _raw_scores(cell, rule, norm) for key, cell in prepared.cells.items()}
    scored, excluded, notes = {}, [], []
    for key, (values, found) in raw.items():
        cell, floor = prepared.cells[key], own.get(key, failure[key[1]])
        kept, scores, diverged = [], [], []
        for curve, value, one in zip(cell.curves, values, found, strict=True):
            if value is None and not has_diverged(curve):
                excluded.append(Excluded(curve.run.run, f"no value in the window of {rule.text}"))
            elif value is not None and math.isfinite(value):
                kept.append((curve, one))
                scores.append(value)
            elif floor is None:
                excluded.append(
                    Excluded(curve.run.run, f"diverged, and {key[1]} has no failure score: no run logged a finite value")
                )
            else:
                kept.append((curve, one))
                scores.append(floor)
                diverged.append(curve.run.run)
        if diverged:
            which = _failure_words(norm, key, key in own)
            share = f"{len(diverged)} of {len(kept)} runs diverged and count at {floor:g}, {which}"
            notes.append(f"{key[0]}, {key[1]}: {share}: {', '.join(diverged)}")
        if kept:
            scored[key] = _scored(cell, kept, scores, diverged, norm)
    return scored, excluded, [*notes, *_point_notes(scored, rule)]


def _failure_words(norm: Normalization, key: tuple[str, str], own: bool) -> str:
    """Which number stands for a failed run."""
    if norm.failure_score(key[1]) is not None:
        return norm.zero
    lowest = "the lowest finite value logged there up to the cut"
    if own:
        return f"{lowest} by {key[0]} itself"
    return f"{lowest} by any group: {key[0]} logged none, so that another selection may give another number"


def _known_bounds(scored: Mapping[tuple[str, str], Scored], norm: Normalization) -> dict[tuple[str, str], tuple[float, float]]:
    """Between which scores each group's runs must lie, where that is known of their returns and true of what they logged."""
    found = {}
    for key, one in scored.items():
        given = {curve.run.normalized for curve in one.curves}
        known = norm.bounds(key[1], given.pop()) if len(given) == 1 else None
        if known is None or any(curve.metric.canonical != EPISODIC_RETURN for curve in one.curves):
            continue
        logged = [value for curve in one.curves if (value := range_logged(curve, norm, key[1])) is not None]
        low, high = (
            min(*(low for low, _ in logged), *one.scores, known[0]),
            max(*(high for _, high in logged), *one.scores, known[1]),
        )
        slack = _SLACK * (known[1] - known[0])
        if low >= known[0] - slack and high <= known[1] + slack:
            found[key] = float(low), float(high)
    return found


def common_bounds(analysis: Analysis) -> dict[str, tuple[float, float]]:
    """The bounds of the environments in which every group's runs are known to lie between them.

    Args:
        analysis: The scored groups.
    """
    found: dict[str, tuple[float, float]] = {}
    for env in analysis.prepared.cuts:
        pairs = [analysis.bounds.get(key) for key in analysis.scored if key[1] == env]
        known = [pair for pair in pairs if pair is not None]
        if known and len(known) == len(pairs):
            found[env] = min(low for low, _ in known), max(high for _, high in known)
    return found


def range_logged(curve: Curve, norm: Normalization, env: str) -> tuple[float, float] | None:
    """The lowest and the highest finite value of a run, normalised; None without one.

    Args:
        curve: The run.
        norm: The normalisation.
        env: Its environment.
    """
    finite = curve.values[np.isfinite(curve.values)]
    if not len(finite):
        return None
    low, high = (norm.apply(env, float(end), curve.run.normalized) for end in (finite.min(), finite.max()))
    return low, high


def _lowest_logged(curves: Sequence[Curve], cut: Cut, norm: Normalization) -> float | None:
    """The lowest finite value, normalised, that any of a group's runs logged up to the cut; None without one."""
    lowest = []
    for curve in curves:
        values = curve.values if cut.step is None else curve.values[curve.steps <= cut.step]
        finite = values[np.isfinite(values)]
        if len(finite):
            lowest.append(norm.apply(cut.env, float(finite.min()), curve.run.normalized))
    return min((value for value in lowest if math.isfinite(value)), default=None)


def _raw_scores(cell: Cell, rule: ScoreRule, norm: Normalization) -> tuple[list[float | None], list[Score]]:
    """Each run's normalised score (NaN: diverged, None: no value) and the score as it was found."""
    cut, curves = cell.cut.step, cell.curves
    if cut is None:
        found = [score_stepless(curve.values, rule) for curve in curves]
    elif rule.name == "best-of-mean-curve":
        steady = [(curve.steps, curve.values) for curve in curves if curve.run.state != "diverged"]
        scores = iter(best_of_mean_curve(steady, cut))
        found = [Score(math.nan, len(curve.values)) if curve.run.state == "diverged" else next(scores) for curve in curves]
    else:
        found = [score(curve.steps, curve.values, cut, rule) for curve in curves]
    values: list[float | None] = []
    for curve, one in zip(curves, found, strict=True):
        if curve.run.state == "diverged":
            values.append(math.nan)
        else:
            values.append(None if one.value is None else norm.apply(cell.cut.env, one.value, curve.run.normalized))
    return values, found


def _scored(cell: Cell, kept: list[tuple[Curve, Score]], scores: list[float], diverged: list[str], norm: Normalization) -> Scored:
    """The record of one cell's scores."""
    episodes: tuple[float, ...] = ()
    if len(kept) == 1 and not diverged and len(kept[0][1].episodes) > 1:
        curve, one = kept[0]
        episodes = tuple(norm.apply(cell.cut.env, value, curve.run.normalized) for value in one.episodes)
    points = tuple(one.points for _, one in kept)
    return Scored(cell, np.array(scores), tuple(curve for curve, _ in kept), points, episodes, tuple(diverged))


def _point_notes(scored: dict[tuple[str, str], Scored], rule: ScoreRule) -> list[str]:
    """Flags scores that rest on very few points, or on a point far before the cut."""
    few, early = [], []
    for (label, env), one in scored.items():
        cut = one.cell.cut.step
        if cut is None:
            continue
        steady = [
            (curve, count) for curve, count in zip(one.curves, one.points, strict=True) if curve.run.run not in one.diverged
        ]
        if rule.name == "final" and min((count for _, count in steady), default=FEW_POINTS) < FEW_POINTS:
            few.append(f"{label}, {env}")
        if rule.name in ("last", "at"):
            end = min(cut, rule.argument or cut)
            ends = [(curve.run.run, int(curve.steps[curve.steps <= end][-1])) for curve, _ in steady]
            early += [f"{run} (at {step})" for run, step in ends if step * 100 < end * round(REACHED * 100)]
    notes = [f"fewer than {FEW_POINTS} points in the window of {rule.text}: {'; '.join(few)}"] if few else []
    return notes + ([f"the last point lies before {REACHED * 100:.0f} % of the cut: {', '.join(early)}"] if early else [])
