"""Ranks of several groups over resamples: how often each comes first, second, ... when the runs are drawn anew.

These are bootstrap frequencies: how much the order depends on which runs there happened to be. They are no posterior
probabilities that a group is the best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from openrlb.errors import UsageError
from openrlb_analysis.aggregates import AGGREGATES, aggregate_name
from openrlb_analysis.bootstrap import bootstrap, resampled_means
from openrlb_analysis.inputs import ScoreTable, check_tasks

if TYPE_CHECKING:
    from openrlb.types import Values

LABEL = "bootstrap frequency of each rank, not a posterior probability"


@dataclass(frozen=True, slots=True)
class RankFrequencies:
    """How often each group takes each rank among the resamples.

    Attributes:
        name: The statistic that ranks: an aggregate, or ``mean within each environment``.
        groups: The groups' labels.
        frequency: Row i, column r: the share of resamples in which group i has rank r + 1; rows and columns sum to 1. NaN
            where a group has one run in an environment, which drawing anew never changes.
        mean_rank: Each group's mean rank, 1 for the best; NaN where the frequencies are.
        value: The statistic of each group's own scores (the mean over environments where ranks are within each).
        resamples: Bootstrap resamples.
        seed: Their seed.
        label: What these numbers are.
        notes: What a reader must know.
    """

    name: str
    groups: tuple[str, ...]
    frequency: Values
    mean_rank: Values
    value: Values
    resamples: int
    seed: int
    label: str = LABEL
    notes: tuple[str, ...] = field(default_factory=tuple)


def rank_frequencies(
    groups: Mapping[str, Sequence[Values] | Mapping[str, Values]] | ScoreTable,
    name: str = "iqm",
    *,
    within_environments: bool = False,
    resamples: int = 50_000,
    seed: int = 0,
) -> RankFrequencies:
    """How often each group takes each rank when the runs are drawn anew, groups independently.

    Equal values share their ranks evenly. Lower is better for the optimality gap, higher for all others. One run drawn
    anew is the same run: where a group has a single one in an environment no frequency is given, and a note says so.

    Args:
        groups: For each group one array of scores for each environment, the same environments in the same order.
        name: The aggregate that ranks.
        within_environments: Rank by the mean in each environment and average over environments, as Agarwal et al. 2021
            do in their rank figures; ``name`` is then not used.
        resamples: Bootstrap resamples.
        seed: Seed of the random numbers.

    Raises:
        UsageError: Fewer than two groups, unlike environments, no such aggregate, or a matrix in place of a list.

    >>> found = rank_frequencies({"A": [np.array([3.0, 4.0])], "B": [np.array([1.0, 2.0])]}, resamples=100)
    >>> found.frequency.tolist(), found.mean_rank.tolist()
    ([[1.0, 0.0], [0.0, 1.0]], [1.0, 2.0])
    """
    notes = groups.notes if isinstance(groups, ScoreTable) else ()
    if isinstance(groups, ScoreTable):
        groups = {group: groups.tasks(group) for group in groups.scores}
    if len(groups) < 2:
        raise UsageError("one group has no rank", "ranks are among two groups or more", "name another group")
    first = next(iter(groups.values()))
    tasks = {}
    for group, given in groups.items():
        if isinstance(first, Mapping) and isinstance(given, Mapping) and set(given) == set(first):
            given = {env: given[env] for env in first}
        tasks[group] = [np.sort(scores) for scores in check_tasks(given, f"the scores of {group}")]
    counts = {len(one) for one in tasks.values()}
    if len(counts) > 1 or any(isinstance(given, Mapping) and set(given) != set(first) for given in groups.values()):
        raise UsageError("the groups do not have the same environments", "ranks over unlike ones say nothing", "compare fewer")
    name = "mean" if within_environments else aggregate_name(name)
    value = np.array([AGGREGATES[name](one) for one in tasks.values()])
    told = "mean within each environment" if within_environments else name
    if single := [group for group, one in tasks.items() if min(len(scores) for scores in one) < 2]:
        none = np.full((len(tasks), len(tasks)), np.nan)
        notes = (*notes, f"no rank frequencies: one run says nothing of how ranks vary, and there is one of {', '.join(single)}")
        return RankFrequencies(told, tuple(tasks), none, none[0].copy(), value, resamples, seed, notes=notes)
    own = [int(child.generate_state(1)[0]) for child in np.random.SeedSequence(seed).spawn(len(tasks))]
    seeds = dict(zip(sorted(tasks), own, strict=True))  # the order in which groups are named changes nothing
    if within_environments:
        drawn = [resampled_means(one, resamples=resamples, seed=seeds[group]) for group, one in tasks.items()]
    else:
        drawn = [bootstrap(one, [name], resamples=resamples, seed=seeds[group])[name][None, :] for group, one in tasks.items()]
    lower_is_better = name == "optimality-gap"
    frequency = np.mean([_frequency(np.stack(rows), lower_is_better) for rows in zip(*drawn, strict=True)], axis=0)
    ranks = np.arange(1, len(tasks) + 1, dtype=np.float64)
    return RankFrequencies(told, tuple(tasks), frequency, frequency @ ranks, value, resamples, seed, notes=notes)


def _frequency(drawn: Values, lower_is_better: bool) -> Values:
    """How often each row of draws takes each rank; of equal ones each takes each of their ranks equally often."""
    groups = len(drawn)
    values = drawn if lower_is_better else -drawn
    frequency = np.zeros((groups, groups))
    for group in range(groups):
        better = (values < values[group]).sum(axis=0)
        equal = (values == values[group]).sum(axis=0)
        for many in np.unique(equal):
            times = np.bincount(better[equal == many], minlength=groups)
            for shift in range(int(many)):
                frequency[group, shift:] += times[: groups - shift] / many
    return np.asarray(frequency / drawn.shape[1])
