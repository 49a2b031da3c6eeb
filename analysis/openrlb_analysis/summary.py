"""The answer to "which is better": the runs x environments scores become aggregates with intervals, in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from openrlb.errors import UsageError
from openrlb.store.normalizations import FrozenNormalization
from openrlb.types import Curve
from openrlb_analysis.aggregates import AGGREGATES, iqm
from openrlb_analysis.analyse import Analysis, Scored, analyse, check_aggregate, common_bounds, range_logged
from openrlb_analysis.curves import learning_curves
from openrlb_analysis.intervals import (
    DEFAULT_METHOD,
    FEWEST_RUNS,
    bootstrap_interval,
    interval_method,
    interval_note,
    reaches_gamma,
)
from openrlb_analysis.measured import MEASURES
from openrlb_analysis.result import EnvResult, GroupResult, IntervalMethod, PlotResult
from openrlb_analysis.rules import ScoreRule
from openrlb_analysis.variants import Group

if TYPE_CHECKING:
    from openrlb.types import Values

__all__ = ["learning_curves", "summarize", "summary_of"]

Ends = tuple[float | None, float | None, float | None]
Bounds = tuple[float, float]
Estimator = Callable[[list["Values"], Bounds | None], Ends]
"""From one array of scores for each environment, and what they lie between if known, to a statistic and its interval's ends."""

BEYOND_NAMED = 4
_ROUNDING = 1e-14
"""What is smaller than this share of the scores is their rounding."""
MANY_FAILED = 0.10
"""Above this share of runs lost to failures a group's result is also given with them at the failure score."""


def summarize(
    curves: Sequence[Curve],
    *,
    of: str,
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
) -> PlotResult:
    """The answer of ``openrlb plot``: one aggregate with its interval for each group, and everything behind it.

    Args:
        curves: One curve of each run, of one metric.
        of: The name of the logged quantity, for the output.
        metric: The aggregate: ``iqm``, ``mean``, ``median`` or ``optimality-gap``.
        rule: The score rule; None for ``final:10%``.
        at: The step to cut at; see :func:`analyse`, as for the options not named here.
        ddof: Delta degrees of freedom of every ``std``.
        normalize: A table's name, ``none``, a frozen normalisation, or None for the table that fits.
        by: What defines a group.
        labels: New names of groups.
        pool: One group for each algorithm and implementation.
        interval: The interval method, one of :data:`openrlb_analysis.intervals.METHODS`.
        interval_from: The fewest runs of an environment that get an interval.
        level: Its nominal coverage.
        resamples: Bootstrap resamples.
        seed: Seed of the bootstrap; every group uses the same, so that the order of groups changes nothing.
        frames_per_step: Frames in an agent step, for runs that do not say.
        allow_mixed_kinds: Let values of different kinds meet.
        versions_as_one: Make the versions of an environment one task, and say so.

    Raises:
        NothingMatched: No curve was given, or none is left.
        SelectionError: Runs that cannot be compared.
        UsageError: An option that has no meaning.
    """
    method = interval_method(interval, level, resamples, seed, interval_from)
    analysis = analyse(
        curves, rule=rule, at=at, normalize=normalize, by=by, labels=labels, pool=pool,
        frames_per_step=frames_per_step, allow_mixed_kinds=allow_mixed_kinds, versions_as_one=versions_as_one,
    )  # fmt: skip
    return summary_of(analysis, of=of, metric=check_aggregate(metric, analysis.normalization), method=method, ddof=ddof)


def summary_of(
    analysis: Analysis,
    *,
    of: str,
    metric: str,
    method: IntervalMethod,
    ddof: int = 1,
    estimate: Estimator | None = None,
    pools: bool | None = None,
    told: Callable[[Sequence[int]], str] | None = None,
) -> PlotResult:
    """The answer of ``openrlb plot`` from scores that are there already.

    Args:
        analysis: The scored groups.
        of: The name of the logged quantity.
        metric: The statistic's name.
        method: How intervals are computed.
        ddof: Delta degrees of freedom of every ``std``.
        estimate: From the scores of each environment to the statistic and its interval; None for the aggregate ``metric``.
        pools: Whether environments are pooled; by default where there is a normalisation.
        told: From the numbers of runs to what is said of the intervals, where ``estimate`` computes them in its own way.

    Raises:
        UsageError: A ddof below 0.
    """
    if ddof < 0:
        raise UsageError(
            f"ddof {ddof} has no meaning", "it is subtracted from the number of runs", "use --ddof 1, or 0 for published tables"
        )
    compute = estimate or partial(_aggregate, name=metric, method=method)
    name, prepared = metric, analysis.prepared
    envs = list(prepared.cuts)
    shared = tuple(env for env in envs if all((group.label, env) in analysis.scored for group in prepared.groups))
    pools = analysis.normalization.pools if pools is None else pools
    pooled = shared if pools or len(envs) == 1 else ()
    groups = tuple(_group_result(group, analysis, compute, ddof, pooled) for group in prepared.groups)
    every = [env for group in groups for env in group.per_env]
    notes = [
        *analysis.notes,
        *_pooling_notes(analysis, name, envs, shared, pooled),
        *_interval_notes(analysis, name, method, groups),
        *(_failed_notes(analysis, name, compute, pooled) if any(env.value is not None for env in every) else []),
    ]
    with_bounds = any(env.low is not None for env in every) and name not in ("iqr", *MEASURES)
    if with_bounds:
        notes += _beyond_notes(analysis, groups) if name != "optimality-gap" else []
    counts = [env.runs for env in every]
    units = {cut.unit for cut in prepared.cuts.values()}
    return PlotResult(
        metric=name,
        of=of,
        kind=analysis.kind,
        step_unit=units.pop() if len(units) == 1 else "mixed",
        rule=analysis.rule.text,
        step={env: cut.step for env, cut in prepared.cuts.items() if cut.step is not None},
        cut_cause={env: cut.cause for env, cut in prepared.cuts.items() if cut.step is not None},
        ddof=ddof,
        normalization=analysis.normalization.text,
        interval=replace(method, note=told(counts) if told else interval_note(method.method, counts, name)),
        groups=groups,
        excluded=analysis.excluded,
        sources=_sources(analysis),
        notes=tuple(notes),
        pooled_envs=pooled,
        references=dict(analysis.normalization.references),
        bounds=common_bounds(analysis) if with_bounds else {},
    )


def _group_result(group: Group, analysis: Analysis, compute: Estimator, ddof: int, pooled: tuple[str, ...]) -> GroupResult:
    """One group's pooled answer and its answers in each environment."""
    mine = {env: one for (label, env), one in analysis.scored.items() if label == group.label}
    per_env = tuple(_env_result(env, mine[env], compute, ddof, analysis, group.label) for env in sorted(mine))
    ends = _estimate([mine[env].scores for env in pooled], compute, bounds_of(analysis, group.label, pooled))
    value, low, high = (_snapped(end, [mine[env].scores for env in pooled], analysis) for end in ends)
    runs = sum(len(one.scores) for one in mine.values())
    return GroupResult(group.label, group.algo, group.impl, group.variant, group.by, value, low, high, runs, len(mine), per_env)


def _env_result(env: str, one: Scored, compute: Estimator, ddof: int, analysis: Analysis, label: str) -> EnvResult:
    """One group's answer in one environment."""
    bounds = bounds_of(analysis, label, (env,))
    value, low, high = (_snapped(end, [one.scores], analysis) for end in _estimate([one.scores], compute, bounds))
    spread = np.array(one.episodes) if one.episodes else one.scores
    return EnvResult(
        env=env,
        runs=len(one.scores),
        seeds=tuple(curve.run.seed for curve in one.curves),
        value=value,
        low=low,
        high=high,
        mean=float(_snapped(float(one.scores.mean()), [one.scores], analysis) or 0.0),
        std=float(spread.std(ddof=ddof)) if len(spread) > max(ddof, 1) else None,
        iqm=float(_snapped(iqm([one.scores]), [one.scores], analysis) or 0.0),
        spread="episodes" if one.episodes else "runs",
        points=(min(one.points), max(one.points)),
        scores=tuple(one.scores.tolist()),
        run_ids=tuple(curve.run.run for curve in one.curves),
    )


def _snapped(value: float | None, tasks: Sequence[Values], analysis: Analysis) -> float | None:
    """A number that is 0 but for rounding of the scores it was computed of as 0; normalised ones are of the size of 1."""
    scale = max([float(analysis.normalization.pools), *(float(np.abs(scores).max()) for scores in tasks)])
    return 0.0 if value is not None and abs(value) <= _ROUNDING * scale else value


def bounds_of(analysis: Analysis, label: str, envs: Sequence[str]) -> Bounds | None:
    """Between which scores a group's runs of some environments must lie; None where one environment's are not known.

    Args:
        analysis: The scored groups.
        label: The group.
        envs: The environments.
    """
    known = [analysis.bounds.get((label, env)) for env in envs]
    ends = [pair for pair in known if pair is not None]
    return (min(low for low, _ in ends), max(high for _, high in ends)) if ends and len(ends) == len(known) else None


def _estimate(tasks: list[Values], compute: Estimator, bounds: Bounds | None) -> Ends:
    """The statistic and its interval; None where there is nothing to compute it of, or too few runs."""
    return compute(tasks, bounds) if tasks else (None, None, None)


def _aggregate(tasks: list[Values], bounds: Bounds | None, name: str, method: IntervalMethod) -> Ends:
    """An aggregate and its interval."""
    low, high = bootstrap_interval(tasks, name, method, bounds) or (None, None)
    return AGGREGATES[name](tasks), low, high


def _pooling_notes(analysis: Analysis, name: str, envs: list[str], shared: tuple[str, ...], pooled: tuple[str, ...]) -> list[str]:
    """What was pooled, what was not, and unequal numbers of runs."""
    notes = []
    if len(envs) > 1 and not analysis.normalization.pools and not pooled:
        notes.append(f"no pooled number: {len(envs)} environments and no normalisation; each environment is shown apart")
    elif not shared:
        notes.append("no pooled number: no environment has runs of every group")
    elif len(shared) < len(envs):
        apart = ", ".join(env for env in envs if env not in shared)
        notes.append(f"pooled over {', '.join(shared)}; shown apart, as not every group has them: {apart}")
    counts = {(label, env): len(one.scores) for (label, env), one in analysis.scored.items()}
    most = max(counts.values())
    fewer = [f"{label}, {env}: {count}" for (label, env), count in sorted(counts.items()) if count < most]
    if fewer:
        weighing = "; every environment counts equally" if len(pooled) > 1 else ""
        notes.append(f"unequal numbers of runs, used as they are (others have {most}): {'; '.join(fewer)}{weighing}")
    if name == "median" and len(pooled) <= 1:
        notes.append("the median is taken over environments' means; of one environment it is that mean")
    return notes


def _beyond_notes(analysis: Analysis, groups: Sequence[GroupResult]) -> list[str]:
    """Names the intervals that reach beyond every value logged, where no bound is known."""
    ranges = {env: _seen(analysis, env) for env in analysis.prepared.cuts}
    beyond = []
    for group in groups:
        for one in group.per_env:
            if (group.label, one.env) in analysis.bounds:
                continue
            low, high = ranges[one.env]
            ends = [f"{end:.6g}" for end in (one.low, one.high) if end is not None and not low <= end <= high]
            if ends and one.low is not None:
                beyond.append(f"{group.label}, {one.env}: {' and '.join(ends)} (logged: {low:.6g} to {high:.6g})")
    if not beyond:
        return []
    more = f"; and {len(beyond) - BEYOND_NAMED} more" if len(beyond) > BEYOND_NAMED else ""
    return [f"interval ends beyond every value logged there, as there are few runs: {'; '.join(beyond[:BEYOND_NAMED])}{more}"]


def _seen(analysis: Analysis, env: str) -> Bounds:
    """The lowest and the highest value that the runs that count logged in an environment, and their scores."""
    pairs = [
        range_logged(curve, analysis.normalization, env)
        for key, one in analysis.scored.items()
        if key[1] == env
        for curve in one.curves
    ]
    scores = [one.scores for key, one in analysis.scored.items() if key[1] == env]
    lows, highs = [float(some.min()) for some in scores], [float(some.max()) for some in scores]
    return min([*lows, *(pair[0] for pair in pairs if pair)]), max([*highs, *(pair[1] for pair in pairs if pair)])


def _interval_notes(analysis: Analysis, name: str, method: IntervalMethod, groups: Sequence[GroupResult]) -> list[str]:
    """Where there is no interval, and where it is a point or rests on a bound alone."""
    notes = []
    cells = sorted(analysis.scored.items())
    single = [f"{label}, {env}" for (label, env), one in cells if len(one.scores) == 1]
    if single:
        notes.append(f"no interval where there is one run: {'; '.join(single)}")
    few = [f"{label}, {env}: {len(one.scores)}" for (label, env), one in cells if 1 < len(one.scores) < method.fewest]
    if few:
        notes.append(f"no interval below {method.fewest} runs: {'; '.join(few)}; --interval-from 2 asks for one, which is wide")
    many = [(key, one.scores) for key, one in cells if len(one.scores) >= method.fewest]
    points = {(group.label, one.env) for group in groups for one in group.per_env if one.low is not None and one.low == one.high}
    if name == "optimality-gap" and method.method == "calibrated":
        full = [f"{label}, {env}" for (label, env), scores in many if reaches_gamma([scores])]
        if full:
            bound = "the upper end is binomial and holds if no score lies below 0"
            notes.append(f"no run falls short of gamma, {bound}: {'; '.join(full)}")
    equal = [f"{label}, {env}" for (label, env), scores in many if (label, env) in points and scores.min() == scores.max()]
    if equal:
        notes.append(f"all runs gave the same score, so that the interval is a point: {'; '.join(equal)}")
    return notes


def _failed_notes(analysis: Analysis, name: str, compute: Estimator, pooled: tuple[str, ...]) -> list[str]:
    """For groups that lost many runs to failures: the result with those runs at the failure score."""
    notes = []
    prepared = analysis.prepared
    for label in dict.fromkeys([*(group.label for group in prepared.groups), *(label for label, _ in prepared.failed)]):
        lost = {env: len(runs) for (of, env), runs in sorted(prepared.failed.items()) if of == label}
        total = sum(lost.values())
        every = total + sum(len(cell.curves) for (of, _), cell in prepared.cells.items() if of == label)
        if not total or total <= MANY_FAILED * every:
            continue
        together = pooled if all((label, env) in analysis.scored for env in pooled) else ()
        within = [together] if any(env in lost for env in together) else []
        parts = [_with_failed(analysis, label, part, lost, name, compute) for part in within]
        parts += [f"{env}: {_with_failed(analysis, label, (env,), lost, name, compute)}" for env in lost if env not in together]
        notes.append(
            f"{label}: {total} of {every} runs failed and are left out; with them at the failure score: {'; '.join(parts)}"
        )
    return notes


def _with_failed(
    analysis: Analysis, label: str, envs: tuple[str, ...], lost: Mapping[str, int], name: str, compute: Estimator
) -> str:
    """A group's estimate over some environments with its failed runs at the failure score, in place of what it is."""
    scores = {env: analysis.scored[label, env].scores for env in envs if (label, env) in analysis.scored}
    floor = {env: analysis.failure_of(label, env) for env in envs}
    if any(lost.get(env) and floor[env] is None for env in envs):
        return "there is none"
    worse = [np.append(scores.get(env, []), [floor[env]] * lost.get(env, 0)).astype(float) for env in envs]
    bounds = bounds_of(analysis, label, envs)
    if bounds is not None and any(scores.min() < bounds[0] or scores.max() > bounds[1] for scores in worse):
        bounds = None  # a run that is left out of the result logged a value beyond
    then = _printed(*_estimate(worse, compute, bounds))
    now = (
        _printed(*_estimate(list(scores.values()), compute, bounds_of(analysis, label, tuple(scores)))) if scores else "no result"
    )
    return f"{name} {then} in place of {now}"


def _printed(value: float | None, low: float | None, high: float | None) -> str:
    """An estimate for a sentence."""
    return "no value" if value is None else f"{value:.6g}" + ("" if low is None or high is None else f" [{low:.6g}, {high:.6g}]")


def _sources(analysis: Analysis) -> tuple[str, ...]:
    """Where the runs that count came from."""
    runs = [curve.run for one in analysis.scored.values() for curve in one.curves]
    return tuple(sorted({run.source if run.project in run.source else f"{run.source}:{run.project}" for run in runs}))
