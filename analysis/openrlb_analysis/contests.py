"""Which groups meet on which environments: from scored runs to the comparisons that can be made, or a sentence why none can."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from openrlb.errors import SelectionError
from openrlb.store.environments import base_name
from openrlb_analysis.analyse import Analysis, Scored
from openrlb_analysis.comparison import Contest, pairs_of
from openrlb_analysis.result import Excluded
from openrlb_analysis.variants import Group

if TYPE_CHECKING:
    from openrlb.types import Curve

RunId = tuple[str, str]

MANY_FAILED = 0.10
"""Above this share of runs lost to failures a verdict is also given with them at the failure score, as plot does."""


@dataclass(frozen=True, slots=True)
class Contests:
    """The comparisons of one analysis.

    Attributes:
        contests: The comparisons.
        runs: The (source, run) of every run of the first and of the second group, for each comparison.
        pooled: The environments that are pooled; empty where each stands for itself.
        excluded: Runs without a partner, of pairs.
        notes: What a reader must know.
    """

    contests: tuple[Contest, ...]
    runs: tuple[tuple[frozenset[RunId], frozenset[RunId]], ...]
    pooled: tuple[str, ...]
    excluded: tuple[Excluded, ...]
    notes: tuple[str, ...]


def contests_of(analysis: Analysis, labels: Sequence[str], *, against_first: bool = False, paired: bool = False) -> Contests:
    """The comparisons between groups, over the environments that all of them have.

    Environments are pooled where scores of several are on one scale; else each is a comparison of its own.

    Args:
        analysis: The scored runs.
        labels: The groups, in the order in which they were named.
        against_first: The first group against each other one, not all pairs.
        paired: Runs with equal seeds are pairs.

    Raises:
        SelectionError: A group without a run, no environment in common, or runs that are no pairs.
    """
    groups = {group.label: group for group in analysis.prepared.groups}
    for label in labels:
        if label not in groups:
            raise _emptied(label, analysis)
    envs = {label: [env for env in analysis.prepared.cuts if (label, env) in analysis.scored] for label in labels}
    pairs = pairs_of(labels, against_first)
    shared = [env for env in analysis.prepared.cuts if all(env in envs[label] for label in labels)]
    pools = analysis.normalization.pools or len(analysis.prepared.cuts) == 1
    met = {pair: [env for env in envs[pair[0]] if env in envs[pair[1]]] for pair in pairs}
    if not (shared if pools else any(met.values())):
        raise _apart(labels, envs)
    if paired:
        _check_pairs([groups[label] for label in labels])
    wanted = [(pair, tuple(shared)) for pair in pairs] if pools else [(pair, (env,)) for pair in pairs for env in met[pair]]
    found, runs, excluded = [], [], list[Excluded]()
    for pair, names in wanted:
        cells = [[analysis.scored[label, env] for env in names] for label in pair]
        alone: list[Excluded] = []
        if paired:
            one, alone = _paired(pair, names, cells)
            excluded += alone
        else:
            first, second = (tuple(cell.scores for cell in side) for side in cells)
            one = Contest(*pair, names, first, second)
        found.append(one)
        runs.append((_counted(cells[0], alone), _counted(cells[1], alone)))
    judged = list(dict.fromkeys(env for _, names in wanted for env in names))
    notes = _notes(analysis, labels, envs, judged, pools)
    return Contests(tuple(found), tuple(runs), tuple(shared) if pools else (), tuple(dict.fromkeys(excluded)), notes)


def _notes(
    analysis: Analysis, labels: Sequence[str], envs: dict[str, list[str]], judged: list[str], pools: bool
) -> tuple[str, ...]:
    """What is pooled, what is not, and which groups lack an environment; ``judged`` are those that a verdict is about."""
    every, notes = list(analysis.prepared.cuts), []
    if len(judged) > 1 and not pools:
        notes.append(f"no normalisation: {len(judged)} environments, a verdict for each, which share the error")
    if len(judged) > 1 and pools:
        notes.append(f"pooled over {', '.join(judged)}, each counting equally")
    if pools and (apart := [env for env in every if env not in judged]):
        notes.append(f"left out, as not every group has them: {', '.join(apart)}")
    for env in every if not pools else ():
        if lacking := [label for label in labels if env not in envs[label]]:
            notes.append(f"{env}{'' if env in judged else ' is left out'}: no run of {', '.join(lacking)}")
    return tuple(notes)


def _counted(side: Sequence[Scored], alone: Sequence[Excluded]) -> frozenset[RunId]:
    """The runs of one group that a comparison uses; those in ``alone`` lack a partner."""
    gone = {item.run for item in alone}
    return frozenset((one.run.source, one.run.run) for cell in side for one in cell.curves if one.run.run not in gone)


def _emptied(label: str, analysis: Analysis) -> SelectionError:
    """The error for a group of which no run is left."""
    left = Counter(gone.reason.split(" (")[0] for gone in analysis.excluded)
    steps = {env: cut.step for env, cut in analysis.prepared.cuts.items()}
    why = "; ".join(f"{reason}: {count} runs" for reason, count in left.most_common(3)) or "all of them were left out"
    cuts = [f"{env} is cut at {step:,}" for env, step in steps.items() if step is not None]
    late = [
        f"{label} logs {env} from {first:,} on"
        for (one, env), cell in analysis.prepared.cells.items()
        if one == label and cell.cut.step is not None and (first := _first_step(cell.curves)) > cell.cut.step
    ]
    if late:
        what = f"{label} and the other runs have no step in common"
        fix = "train or fetch runs that log the same steps; no --at or --score can compare these"
        return SelectionError(what, "; ".join([*late, *cuts]), fix)
    fix = "compare at a step that both groups' runs log up to (--at STEP), by another --score, or fetch longer runs"
    return SelectionError(f"{label} has no run left to compare", "; ".join([why, *cuts]), fix)


def _first_step(curves: Sequence[Curve]) -> int:
    """The first step that any of some runs logged; 0 where none did."""
    return min((int(curve.steps[0]) for curve in curves if len(curve.steps)), default=0)


def _apart(labels: Sequence[str], envs: dict[str, list[str]]) -> SelectionError:
    """The error for groups that share no environment."""
    why = "; ".join(f"{label} has {', '.join(envs[label][:6])}{' ...' if len(envs[label]) > 6 else ''}" for label in labels)
    bases = [{base_name(env) for env in envs[label]} for label in labels]
    if set.intersection(*bases):
        why += "; versions of an environment are different tasks (--merge-versions makes them one)"
    fix = "train or fetch runs of one environment for all of them, or compare others (openrlb list shows them)"
    return SelectionError(f"{' and '.join(labels)} share no environment", why, fix)


def _check_pairs(groups: Sequence[Group]) -> None:
    """Makes sure that equal seeds mean something in all groups.

    Raises:
        SelectionError: They are of several implementations, or the implementation is not known.
    """
    impls = sorted({group.impl for group in groups})
    if len(impls) > 1 or not impls[0] or "+" in impls[0]:
        named = ", ".join(f"{group.label}: {group.impl or 'unknown'}" for group in groups)
        why = f"a seed decides the same things only within one implementation ({named})"
        raise SelectionError("these runs are no pairs", why, "leave --paired out: the runs are then independent")


def _paired(pair: tuple[str, str], envs: Sequence[str], cells: Sequence[Sequence[Scored]]) -> tuple[Contest, list[Excluded]]:
    """A comparison of runs with equal seeds, and the runs left without a partner.

    Raises:
        SelectionError: A group with two runs of one seed, or no seed in common.
    """
    sides: list[list[list[float]]] = [[], []]
    excluded: list[Excluded] = []
    for at, env in enumerate(envs):
        by_seed = [_by_seed(label, env, side[at]) for label, side in zip(pair, cells, strict=True)]
        common = sorted(by_seed[0].keys() & by_seed[1].keys())
        if not common:
            why = f"in {env} no seed has a run of both"
            raise SelectionError(f"{pair[0]} and {pair[1]} have no pairs", why, "leave --paired out")
        for side, scores in zip(sides, by_seed, strict=True):
            side.append([scores[seed] for seed in common])
        for side_at, other in enumerate(reversed(pair)):
            reason = f"no partner: {other} has no run of its seed (--paired)"
            alone = [one.run for one in cells[side_at][at].curves if one.run.seed not in common]
            excluded += [Excluded(run.run, reason, run.algo, run.env, run.seed) for run in alone]
    first, second = (tuple(np.array(scores) for scores in side) for side in sides)
    return Contest(*pair, tuple(envs), first, second, paired=True), excluded


def _by_seed(label: str, env: str, cell: Scored) -> dict[int, float]:
    """One group's scores in one environment by seed; runs without a seed have no partner.

    Raises:
        SelectionError: Two runs of one seed.
    """
    found: dict[int, float] = {}
    curves: tuple[Curve, ...] = cell.curves
    for curve, value in zip(curves, cell.scores.tolist(), strict=True):
        if curve.run.seed in found:
            why = f"{label} has several runs of seed {curve.run.seed} in {env}"
            raise SelectionError("these runs are no pairs", why, "leave --pool or --by out, or --paired")
        if curve.run.seed is not None:
            found[curve.run.seed] = value
    return found


def with_failed(contest: Contest, analysis: Analysis) -> tuple[Contest, str] | None:
    """A comparison of which a group lost more than a tenth of its runs to failures, with those at the failure score.

    Args:
        contest: The comparison.
        analysis: The scored runs and what failed.

    Returns:
        That comparison, and which runs it is about; None where few were lost, the failure score is not known, or the runs
        are pairs.
    """
    sides, told = [], []
    for label, side in ((contest.first, contest.first_scores), (contest.second, contest.second_scores)):
        lost = {env: len(analysis.prepared.failed.get((label, env), ())) for env in contest.envs}
        total, every = sum(lost.values()), sum(lost.values()) + sum(len(scores) for scores in side)
        if total > MANY_FAILED * every:
            told.append(f"{label}: {total} of {every} runs failed and are left out")
            if any(analysis.failure_of(label, env) is None for env, count in lost.items() if count):
                return None
            side = tuple(
                np.append(scores, [analysis.failure_of(label, env)] * lost[env]).astype(np.float64)
                for env, scores in zip(contest.envs, side, strict=True)
            )
        sides.append(side)
    if not told or contest.paired:
        return None
    return replace(contest, first_scores=sides[0], second_scores=sides[1]), "; ".join(told)


def too_few(contests: Sequence[Contest], fewest: int) -> SelectionError | None:
    """The error where no comparison has enough runs for an interval, else None.

    Args:
        contests: The comparisons.
        fewest: The fewest runs of a group in an environment.
    """
    lacking: dict[tuple[str, str], int] = {}
    for one in contests:
        sizes = [
            ((label, env), len(scores))
            for label, side in ((one.first, one.first_scores), (one.second, one.second_scores))
            for env, scores in zip(one.envs, side, strict=True)
        ]
        few = {key: size for key, size in sizes if size < fewest}
        if not few:
            return None
        lacking |= few
    told = "; ".join(f"{label}, {env}: {size} seed{'s' if size > 1 else ''}" for (label, env), size in sorted(lacking.items()))
    asks = "--interval-from 2 asks for one from two, which is wide" if 2 in lacking.values() and 1 not in lacking.values() else ""
    fix = "train or fetch more seeds (openrlb run ALGO --env ENV --seeds 5)" + (f"; {asks}" if asks else "")
    return SelectionError("too few seeds to tell a difference", f"an interval needs {fewest} in each group: {told}", fix)
