"""``power``: how many seeds a comparison needs, from the spread of the runs that are there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openrlb.api.compare_inputs import ScoreOptions, score_groups
from openrlb.api.opened import given
from openrlb.api.shown import PowerShown
from openrlb.errors import SelectionError, UsageError
from openrlb.types import Selection

if TYPE_CHECKING:
    from openrlb.store import Store
    from openrlb_analysis.analyse import Analysis
    from openrlb_analysis.power import SeedsNeeded
    from openrlb_analysis.result import Excluded


@dataclass(frozen=True, slots=True)
class PlannedSeeds:
    """Seeds for each group in one environment, or in each of several that are pooled.

    Attributes:
        envs: The environments.
        runs: The pilot's runs in them, smallest and largest number of an environment.
        needed: The seeds; None where all pilot runs gave the same score.
    """

    envs: tuple[str, ...]
    runs: tuple[int, int]
    needed: SeedsNeeded | None


@dataclass(frozen=True, slots=True, repr=False)
class PowerAnswer(PowerShown):
    """The answer of ``openrlb power``.

    Attributes:
        statistic: The statistic that a verdict shall be about.
        margin: The smallest difference that matters.
        power: How often it shall be found.
        level: The level of all intervals of a later ``compare`` together; ``needed.level`` of each plan is its own share.
        groups: The groups whose spread is used; of one, the other is taken to vary as much.
        plans: Seeds for each environment, and for all of them pooled where scores pool.
        of: What is scored.
        kind: Its kind.
        rule: The score rule.
        normalization: The normalisation.
        excluded: Every run left out, with its reason.
        notes: What a reader must know.
    """

    statistic: str
    margin: float
    power: float
    level: float
    groups: tuple[str, ...]
    plans: tuple[PlannedSeeds, ...]
    of: str
    kind: str
    rule: str
    normalization: str
    excluded: tuple[Excluded, ...]
    notes: tuple[str, ...]


def power(
    groups: Sequence[str],
    margin: float | None,
    selection: Selection | None = None,
    options: ScoreOptions | None = None,
    *,
    wanted: float = 0.8,
    orlb_filters: Sequence[str] = (),
    store: Store | None = None,
) -> PowerAnswer:
    """Counts the seeds that ``compare`` needs to find a difference as large as the margin.

    They follow from the upper limit of the pilot runs' spread, never from the difference that these runs happened to show.

    Args:
        groups: Names of one or two groups, as for ``compare``.
        margin: The smallest difference that matters, in the scores' unit.
        selection: Which runs; all by default.
        options: How they are scored.
        wanted: How often the difference shall be found.
        orlb_filters: rlops' filter strings, which narrow the selection.
        store: The user's own store by default.

    Raises:
        NothingMatched: No run fits, or no group has that name.
        SelectionError: No environment with two runs of each group.
        UsageError: No margin, more than two groups, or an option without meaning.
    """
    from openrlb_analysis.power import checked_margin

    options = given(options, ScoreOptions, "options")
    groups = [groups] if isinstance(groups, str) else groups
    if margin is None:
        why = "seeds are counted for the smallest difference that matters, never for the one that was observed"
        raise UsageError("power needs a margin", why, "name it in the scores' unit: --margin 100")
    checked_margin(margin)
    inputs = score_groups(
        groups, given(selection, Selection, "selection"), options, fewest=1, orlb_filters=orlb_filters, store=store
    )
    labels = inputs.labels
    if len(labels) > 2:
        raise UsageError(f"power plans one comparison, not {len(labels)} groups", ", ".join(labels), "name one group or two")
    plans, notes = _plans(inputs.analysis, labels, margin, wanted, options)
    if len(labels) == 1:
        notes.append(f"the other group is taken to vary as much as {labels[0]}")
    return PowerAnswer(
        statistic=options.metric.lower(),
        margin=margin,
        power=wanted,
        level=options.level,
        groups=tuple(labels),
        plans=tuple(plans),
        of=inputs.of,
        kind=inputs.analysis.kind,
        rule=inputs.analysis.rule.text,
        normalization=inputs.analysis.normalization.text,
        excluded=inputs.excluded,
        notes=(*inputs.notes, *notes),
    )


def _plans(
    analysis: Analysis, labels: Sequence[str], margin: float, wanted: float, options: ScoreOptions
) -> tuple[list[PlannedSeeds], list[str]]:
    """Seeds for each environment and for all of them, and what must be said.

    Raises:
        SelectionError: No environment has two runs of each group.
    """
    from openrlb_analysis.power import MOST_SEEDS

    sizes = {env: [_size(analysis, label, env) for label in labels] for env in analysis.prepared.cuts}
    envs = [env for env, counts in sizes.items() if min(counts) > 1]
    told = "; ".join(f"{env}: {' v '.join(map(str, counts))} seeds" for env, counts in sizes.items())
    if not envs:
        fix = "train or fetch at least two seeds, better five (openrlb run ALGO --env ENV --seeds 5)"
        raise SelectionError("there is no spread to plan with", f"a spread needs two runs of each group: {told}", fix)
    pools = analysis.normalization.pools
    judged = 1 if pools else sum(min(counts) > 0 for counts in sizes.values())
    level = round(1.0 - (1.0 - options.level) / judged, 12)
    groups = [tuple([env] for env in envs), ([*envs],) if len(envs) > 1 and pools else ()]
    plans = [_plan(analysis, labels, part, margin, wanted, options, level) for parts in groups for part in parts]
    notes = [f"left out, with fewer than two runs of a group: {', '.join(env for env in sizes if env not in envs)}"]
    notes = notes if len(envs) < len(sizes) else []
    if judged > 1:
        told = f"compare judges {judged} environments apart, and they share the error"
        notes.append(f"{told}: each is planned at level {level:.4g} ({options.level:g} for one alone: --env)")
    if min(plan.runs[0] for plan in plans) < 5:
        notes.append("fewer than five pilot runs: the upper limit of so few is wide, and more of them would ask for fewer seeds")
    for plan in plans:
        if plan.needed is None:
            notes.append(f"{', '.join(plan.envs)}: all runs gave the same score, no spread to plan with")
        elif not math.isfinite(plan.needed.pilot.upper):
            notes.append(f"{', '.join(plan.envs)}: the scores are too large to count a spread from")
        elif plan.needed.difference is None:
            upper = f"{plan.needed.pilot.upper:.4g}"
            notes.append(f"{', '.join(plan.envs)}: more than {MOST_SEEDS:,} seeds, at a spread of up to {upper}")
    return plans, notes


def _size(analysis: Analysis, label: str, env: str) -> int:
    """How many runs of a group count in an environment."""
    found = analysis.scored.get((label, env))
    return 0 if found is None else len(found.scores)


def _plan(
    analysis: Analysis,
    labels: Sequence[str],
    envs: Sequence[str],
    margin: float,
    wanted: float,
    options: ScoreOptions,
    level: float,
) -> PlannedSeeds:
    """Seeds for some environments, pooled if they are several, at the level of their one interval."""
    from openrlb_analysis.power import parts_of, pilot_spread, seeds_needed

    tasks = [[analysis.scored[label, env].scores for env in envs] for label in labels]
    parts = [part for one in tasks for part in parts_of(options.metric.lower(), one)]
    pilot = pilot_spread(parts, alone=len(labels) == 1)
    needed = seeds_needed(pilot, margin, power=wanted, level=level) if pilot is not None else None
    counts = [len(scores) for one in tasks for scores in one]
    return PlannedSeeds(tuple(envs), (min(counts), max(counts)), needed)
