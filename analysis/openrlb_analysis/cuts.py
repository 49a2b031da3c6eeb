"""How far each environment is compared: one unit of steps, one cut, and the runs that reach it. Nothing is stretched."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from openrlb.errors import SelectionError, UsageError
from openrlb.store.environments import base_name
from openrlb.types import Curve, StepUnit
from openrlb_analysis.result import Excluded
from openrlb_analysis.variants import Group, Grouping

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

REACHED = 0.95
"""A run that ends before this share of the cut is ``short``."""

FAILED = ("crashed", "failed", "killed")
"""States of runs that an infrastructure failure ended: they are missing, not bad."""


@dataclass(frozen=True, slots=True)
class Cut:
    """How far one environment is compared.

    Attributes:
        env: The environment's id.
        unit: What its steps count.
        step: The last step that counts; None where the values carry no steps.
        cause: Who or what set it, in words.
    """

    env: str
    unit: StepUnit
    step: int | None
    cause: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One group's runs in one environment.

    Attributes:
        cut: The environment's cut.
        curves: The runs that count, sorted by seed.
    """

    cut: Cut
    curves: tuple[Curve, ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is left to compare.

    Attributes:
        groups: The groups that have a run left.
        cuts: The cut of each environment that has a run left.
        cells: Runs by (group label, environment).
        failed: Runs ended by an infrastructure failure, by (group label, environment), also where no run is left.
        excluded: Every run left out, with its reason.
        notes: What a reader must know.
    """

    groups: tuple[Group, ...]
    cuts: dict[str, Cut]
    cells: dict[tuple[str, str], Cell]
    failed: dict[tuple[str, str], tuple[Curve, ...]]
    excluded: tuple[Excluded, ...]
    notes: tuple[str, ...]


def align_steps(curves: Sequence[Curve], frames_per_step: int | None = None, *, to: str = "agent_step") -> list[Curve]:
    """Brings the steps of each environment to one unit.

    Environments whose runs all count the same are left alone, unless ``to`` is ``frame``. Frames become agent steps by
    division (rounded down), by each run's own ``frames_per_step`` or else by the argument. With ``frames_per_step=1``
    a frame is an agent step, and even unknown units agree.

    Args:
        curves: One curve of each run.
        frames_per_step: Frames in one agent step, for runs that do not say.
        to: ``agent_step``, or ``frame`` to turn everything into frames.

    Raises:
        SelectionError: An environment's runs count differently, and nothing tells how to convert.
        UsageError: A number of frames below 1.
    """
    if frames_per_step is not None and frames_per_step < 1:
        raise UsageError(
            f"{frames_per_step} frames per step have no meaning", "a step has at least one frame", "try --frames-per-step 4"
        )
    units: dict[str, set[StepUnit]] = defaultdict(set)
    for curve in curves:
        units[curve.run.env].add(curve.run.step_unit)
    return [_converted(curve, units[curve.run.env], frames_per_step, to) for curve in curves]


def _converted(curve: Curve, units: set[StepUnit], frames_per_step: int | None, to: str) -> Curve:
    """One curve in its environment's common unit."""
    run, unit = curve.run, curve.run.step_unit
    if (len(units) == 1 and (to == "agent_step" or unit == to)) or units == {"none"}:
        return curve
    frames = run.frames_per_step or frames_per_step
    target: StepUnit = "frame" if to == "frame" else "agent_step"
    if unit == target or (unit in ("agent_step", "frame", "unknown") and frames_per_step == 1 and frames == 1):
        steps = curve.steps
    elif unit == "frame" and frames:
        steps = curve.steps // frames
    elif unit == "agent_step" and frames and target == "frame":
        steps = curve.steps * frames
    else:
        named = ", ".join(sorted(units))
        why = f"steps of {run.env} count {named}" if len(units) > 1 else f"run {run.run} does not say how many frames a step has"
        raise SelectionError(f"runs of {run.env} cannot be put on one step axis", why, _how_to_align(units))
    return replace(curve, run=replace(run, step_unit=target), steps=steps)


def _how_to_align(units: set[StepUnit]) -> str:
    """What to type where steps count unlike things.

    >>> _how_to_align({"agent_step", "unknown"})
    'add --frames-per-step 1 (if both count agent steps), or fetch the unknown ones again with --step-unit agent_step or frame'
    """
    if "none" in units:
        return "select runs that carry steps, or those that carry none (--source, --algo)"
    if "unknown" in units:
        again = "fetch the unknown ones again with --step-unit agent_step or frame"
        both = "if both count agent steps" if units == {"agent_step", "unknown"} else "if all count the same"
        return f"add --frames-per-step 1 ({both}), or {again}"
    return "add --frames-per-step N, the frames of one agent step (4 with Atari's usual frame skip, 1 without)"


def merge_versions(grouping: Grouping) -> Grouping:
    """Makes the versions of an environment one task, named without a version; environments of one version keep their id.

    It comes after grouping, so that runs with equal seeds in two versions are no doubles.

    Args:
        grouping: The groups.
    """
    versions: dict[str, set[str]] = defaultdict(set)
    for group in grouping.groups:
        for curve in group.curves:
            versions[base_name(curve.run.env)].add(curve.run.env)
    merged = {env: name for name, envs in versions.items() if len(envs) > 1 for env in envs}
    named = [f"{name} is {', '.join(sorted(envs))}" for name, envs in sorted(versions.items()) if len(envs) > 1]
    if not named:
        return replace(grouping, notes=(*grouping.notes, "no environment has runs in several versions: nothing was merged"))
    groups = tuple(
        replace(
            group,
            curves=tuple(
                replace(curve, run=replace(curve.run, env=merged.get(curve.run.env, curve.run.env))) for curve in group.curves
            ),
        )
        for group in grouping.groups
    )
    note = f"environment versions count as one task, though their dynamics and returns may differ: {'; '.join(named)}"
    return replace(grouping, groups=groups, notes=(*grouping.notes, note))


def realign(grouping: Grouping, frames_per_step: int | None = None, *, to: str = "agent_step") -> Grouping:
    """:func:`align_steps` of grouped runs, whose environments were merged since.

    Args:
        grouping: The groups.
        frames_per_step: As in :func:`align_steps`.
        to: As there.

    Raises:
        SelectionError: As there.
        UsageError: As there.
    """
    every = iter(align_steps([curve for group in grouping.groups for curve in group.curves], frames_per_step, to=to))
    groups = tuple(replace(group, curves=tuple(next(every) for _ in group.curves)) for group in grouping.groups)
    return replace(grouping, groups=groups)


def prepare(grouping: Grouping, at: int | None = None) -> Prepared:
    """Finds each environment's cut and the runs that count.

    The cut is the smallest, over groups, of the group's median last step; only runs that ended by themselves and did
    not diverge have a say. Runs that end before 95 % of it are short. Diverged runs always count.

    Args:
        grouping: The groups, their steps aligned.
        at: The cut to use in every environment in place of that.

    Raises:
        UsageError: ``at`` is below 1, or no run has steps.
        SelectionError: No run reaches ``at``.
    """
    if at is not None and at < 1:
        raise UsageError(f"a cut at step {at} leaves nothing", "steps count from 1", "leave --at out")
    excluded = list(grouping.excluded)
    members: dict[tuple[str, str], list[Curve]] = defaultdict(list)
    failed: dict[tuple[str, str], list[Curve]] = defaultdict(list)
    for group in grouping.groups:
        for curve in sorted(group.curves, key=_by_seed):
            key = (group.label, curve.run.env)
            if reason := _unusable(curve):
                excluded.append(Excluded(curve.run.run, reason))
            else:
                (failed if curve.run.state in FAILED else members)[key].append(curve)
    excluded += [Excluded(curve.run.run, curve.run.state) for curves in failed.values() for curve in curves]
    envs = sorted({env for _, env in members})
    cuts = {env: _cut(env, {label: members[label, env] for label, of in members if of == env}, at) for env in envs}
    if at is not None and cuts and all(cut.step is None for cut in cuts.values()):
        raise UsageError(f"there is no step {at}", "the values carry no steps", "leave --at out")
    cells = {}
    for (label, env), curves in members.items():
        left = tuple(curve for curve in curves if not is_short(curve, cuts[env]))
        excluded += [
            Excluded(curve.run.run, f"short (ends at {last_step(curve)}, cut {cuts[env].step})")
            for curve in curves
            if is_short(curve, cuts[env])
        ]
        if left:
            cells[label, env] = Cell(cuts[env], left)
    if at is not None and cuts and not cells:
        furthest = max(last_step(curve) for curves in members.values() for curve in curves)
        raise SelectionError(
            f"no run reaches step {at}", f"the furthest ends at {furthest}", f"use --at {furthest} or less, or leave it out"
        )
    present = {label for label, _ in cells}
    groups = tuple(group for group in grouping.groups if group.label in present)
    notes = (*grouping.notes, *(f"{group.label}: no run is left" for group in grouping.groups if group.label not in present))
    left_envs = {env for _, env in cells}
    lost = {key: tuple(curves) for key, curves in failed.items() if curves}
    return Prepared(groups, {env: cut for env, cut in cuts.items() if env in left_envs}, cells, lost, tuple(excluded), notes)


def last_step(curve: Curve) -> int:
    """The last step of a curve, 0 where it has no values."""
    return int(curve.steps[-1]) if len(curve.steps) else 0


def is_short(curve: Curve, cut: Cut) -> bool:
    """True for a run that ends before 95 % of the cut and did not diverge."""
    return cut.step is not None and not has_diverged(curve) and last_step(curve) * 100 < cut.step * round(REACHED * 100)


def has_diverged(curve: Curve) -> bool:
    """True for a run whose source says that it diverged, or whose last logged value is NaN or infinite."""
    return curve.run.state == "diverged" or (len(curve.values) > 0 and not math.isfinite(float(curve.values[-1])))


def _by_seed(curve: Curve) -> tuple[bool, int, str]:
    """Sorts runs by seed, those without one last."""
    return curve.run.seed is None, curve.run.seed or 0, curve.run.run


def _unusable(curve: Curve) -> str:
    """Why a run cannot count at all, or an empty text."""
    if curve.run.role == "reproduction":
        return "reproduction of another run"
    if curve.run.state in ("running", "invalid"):
        return curve.run.state
    if not len(curve.values) and curve.run.state != "diverged" and curve.run.state not in FAILED:
        return f"no value of {curve.metric.name}"
    return ""


def _cut(env: str, groups: dict[str, list[Curve]], at: int | None) -> Cut:
    """One environment's cut."""
    every = [curve for curves in groups.values() for curve in curves]
    units = {curve.run.step_unit for curve in every}
    unit = units.pop()
    if unit == "none" or _all_zero(curve.steps for curve in every):
        return Cut(env, "none", None, "the values carry no steps")
    if at is not None:
        return Cut(env, unit, at, "asked for")
    steady = {label: [curve for curve in curves if not has_diverged(curve)] for label, curves in groups.items()}
    counted = {label: curves for label, curves in steady.items() if curves} or groups
    medians = {label: int(statistics.median(last_step(curve) for curve in curves)) for label, curves in counted.items()}
    return _smallest_median(env, unit, medians)


def _smallest_median(env: str, unit: StepUnit, medians: dict[str, int]) -> Cut:
    """The cut at the smallest of the groups' median last steps, and whose it is."""
    step = max(1, min(medians.values()))
    if len(medians) == 1 or len(set(medians.values())) == 1:
        return Cut(env, unit, step, "the median last step" + (" of every group" if len(medians) > 1 else ""))
    shortest = ", ".join(sorted(label for label, last in medians.items() if last == min(medians.values())))
    return Cut(env, unit, step, f"{shortest}: median last step, the smallest of {len(medians)} groups")


def _all_zero(steps: Iterable[NDArray[np.int64]]) -> bool:
    """True where no run ever counts beyond step 0."""
    return not any(len(one) and one[-1] > 0 for one in steps)
