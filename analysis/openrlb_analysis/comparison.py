"""Which of two groups is better: one rule, the interval of one declared statistic's difference against 0 and a margin.

The rule, for each comparison, from the interval of its difference (first group's less second's):

- ``equivalent``: the whole interval lies within plus and minus the margin. This goes before the others: a difference that
  is there but too small to matter is no news. Without a margin nothing is equivalent.
- ``better``: else, and the whole interval lies above 0.
- ``worse``: else, and the whole interval lies below 0.
- ``undecided``: else, and wherever no spread was seen in fewer than 10 seeds: equal scores then say nothing of how much
  runs differ. It is no sign of equality.

m comparisons share one error alpha, each at level ``1 - alpha / m`` (Bonferroni). A wrong verdict needs an interval that
misses the true difference, so that any wrong verdict among all has probability alpha at most. With a margin that is all.
Without one the undecided comparisons are looked at again with m their number, as long as some are decided: Holm's step-down
(1979, "A simple sequentially rejective multiple test procedure"), under which the probability of telling any two equal
groups apart stays alpha at most; for a wrong direction that is proved where comparisons are independent (Shaffer 1980,
"Control of directional errors with stagewise multiple test procedures"). With a margin it would not be true: a comparison
that is rightly ``better`` could as well have been wrongly ``equivalent``, so that its share of the error is spent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np

from openrlb.errors import SelectionError, UsageError
from openrlb_analysis.aggregates import AGGREGATES
from openrlb_analysis.estimates import CALIBRATED
from openrlb_analysis.hypothesis_tests import EffectSize, Permutation, TTest, hedges_g, permutation, t_test
from openrlb_analysis.improvement import probability_of_improvement
from openrlb_analysis.inputs import check_tasks
from openrlb_analysis.intervals import FEW_RUNS, difference_interval
from openrlb_analysis.paired import paired_interval, paired_parts, seed_correlation
from openrlb_analysis.power import SeedsNeeded, checked_margin, parts_of, pilot_spread, seeds_needed
from openrlb_analysis.result import IntervalMethod
from openrlb_analysis.sequential import look_level

if TYPE_CHECKING:
    from openrlb.types import Values

Verdict = Literal["better", "worse", "equivalent", "undecided"]
Ends = tuple[float, float]

STATISTICS = ("iqm", "mean", "median")
"""The statistics whose difference a verdict can be about."""
UNKNOWN: Ends = (-math.inf, math.inf)
"""What stands for an interval where no spread was seen: it decides nothing."""
_ROUNDING = 1e-12
_LARGEST = 1e60
"""Powers of larger scores, as intervals need them, exceed the largest number."""


@dataclass(frozen=True, slots=True)
class Contest:
    """Two groups on the same environments.

    Attributes:
        first: The first group's label.
        second: The other's.
        envs: The environments' ids; several are pooled, each counting equally.
        first_scores: The first group's scores, one array for each environment, shape ``(n_e,)``.
        second_scores: The other's; of pairs, run i belongs to run i of the first.
        paired: The runs are pairs.
    """

    first: str
    second: str
    envs: tuple[str, ...]
    first_scores: tuple[Values, ...]
    second_scores: tuple[Values, ...]
    paired: bool = False

    def estimate(self, name: str) -> float:
        """The difference of a statistic, the first group's less the other's."""
        return AGGREGATES[name](self.first_scores) - AGGREGATES[name](self.second_scores)

    @property
    def fewest(self) -> int:
        """The fewest runs that a group has in an environment."""
        return min(len(scores) for scores in (*self.first_scores, *self.second_scores))

    @property
    def still(self) -> tuple[tuple[str, str], ...]:
        """Group and environment wherever several runs all gave the same score."""
        sides = ((self.first, self.first_scores), (self.second, self.second_scores))
        cells = ((label, env, scores) for label, side in sides for env, scores in zip(self.envs, side, strict=True))
        return tuple((label, env) for label, env, scores in cells if len(scores) > 1 and _alike(scores))

    @property
    def without_spread(self) -> bool:
        """Whether no environment's runs differ, of pairs no environment's differences, in fewer than 10 seeds."""
        if self.fewest >= FEW_RUNS:
            return False
        both = zip(self.first_scores, self.second_scores, strict=True)
        if self.paired:
            return all(_alike(one - other, float(np.abs(one).max())) for one, other in both)
        return all(_alike(one) and _alike(other) for one, other in both)

    @property
    def information(self) -> float:
        """The reciprocal of the difference's variance, were every run's variance 1: it grows with the runs."""
        sides = [self.first_scores] if self.paired else [self.first_scores, self.second_scores]
        return len(self.envs) ** 2 / sum(1.0 / len(scores) for side in sides for scores in side)

    def interval(self, name: str, method: IntervalMethod) -> Ends | None:
        """Its interval; None where a group has too few runs, or no spread was seen."""
        if self.without_spread:
            return None
        compute = paired_interval if self.paired else difference_interval
        return compute(self.first_scores, self.second_scores, name, method)

    def parts(self, name: str) -> list[Values]:
        """What each run, or each pair, contributes to the difference, up to its sign."""
        if self.paired:
            return paired_parts(name, self.first_scores, self.second_scores)
        return [*parts_of(name, self.first_scores), *parts_of(name, self.second_scores)]


@dataclass(frozen=True, slots=True)
class Probability:
    """The probability that a run of the first group beats one of the other, with its interval."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Secondary:
    """What stands beside the verdict and never makes it; None where it cannot be computed.

    Attributes:
        t_test: Welch's t test of the means, or the paired one.
        permutation: A permutation test of the means, with the smallest p-value it can reach.
        effect_size: Hedges' g.
        seed_correlation: Of pairs, how much scores on the same seed go together.
    """

    t_test: TTest | None
    permutation: Permutation | None
    effect_size: EffectSize | None
    seed_correlation: float | None


@dataclass(frozen=True, slots=True)
class PairResult:
    """What came of one comparison.

    Attributes:
        first: The first group's label.
        second: The other's.
        envs: The environments; several are pooled.
        runs: Runs of both groups in each environment.
        values: The statistic of both groups.
        difference: The first group's statistic less the other's.
        low: The lower end of the adjusted interval; None where there is none (too few runs, or no spread).
        high: The upper end.
        level: The adjusted level of that interval.
        verdict: By the rule above.
        beyond_margin: The whole interval lies beyond the margin on one side; None without a margin.
        probability_of_improvement: Of the runs as independent ones.
        secondary: Other tests.
        seeds_needed: For the margin; None without one, or without any spread.
        without_spread: Group and environment wherever all runs gave the same score.
    """

    first: str
    second: str
    envs: tuple[str, ...]
    runs: Mapping[str, tuple[int, int]]
    values: tuple[float, float]
    difference: float
    low: float | None
    high: float | None
    level: float
    verdict: Verdict
    beyond_margin: bool | None
    probability_of_improvement: Probability
    secondary: Secondary
    seeds_needed: SeedsNeeded | None
    without_spread: tuple[tuple[str, str], ...] = ()


def verdict(low: float, high: float, margin: float | None = None) -> Verdict:
    """The verdict of one interval, by the rule of this module.

    >>> verdict(120, 504), verdict(-5, -1), verdict(-5, 6), verdict(1, 6, margin=10), verdict(8, 12, margin=10)
    ('better', 'worse', 'undecided', 'equivalent', 'better')
    """
    if margin is not None and -margin <= low and high <= margin:
        return "equivalent"
    if low > 0:
        return "better"
    return "worse" if high < 0 else "undecided"


def step_down(
    count: int, interval_at: Callable[[int, float], tuple[Ends, float]], margin: float | None, alpha: float
) -> list[tuple[Ends, float, Verdict]]:
    """The adjusted intervals and verdicts of several comparisons: Holm's step-down, with a margin Bonferroni's one step.

    Args:
        count: How many comparisons.
        interval_at: For one of them (0 to ``count - 1``) and its share of the error, the interval and the level of that.
        margin: The margin, or None.
        alpha: The error of all of them together.

    Returns:
        For each its adjusted interval, the level of that, and the verdict.

    >>> half_width = {0.025: 2.5, 0.05: 2.0}
    >>> found = step_down(2, lambda which, share: ((3 * (1 - which) + 2.2 - half_width[share], 9.0), 1 - share), None, 0.05)
    >>> [(level, word) for _, level, word in found]
    [(0.975, 'better'), (0.95, 'better')]
    """
    done: dict[int, tuple[Ends, float, Verdict]] = {}
    while True:
        left = [index for index in range(count) if index not in done]
        if not left:
            return [done[index] for index in range(count)]
        looked = {index: interval_at(index, alpha / len(left)) for index in left}
        words = {index: verdict(*ends, margin) for index, (ends, _) in looked.items()}
        decided = [index for index in left if words[index] != "undecided"] if margin is None else left
        for index in decided or left:
            done[index] = (*looked[index], words[index])


def compare_contests(
    contests: Sequence[Contest],
    *,
    metric: str,
    method: IntervalMethod,
    margin: float | None = None,
    information: Sequence[Sequence[float]] | None = None,
    power: float = 0.8,
) -> tuple[PairResult, ...]:
    """Gives each comparison its adjusted interval, its verdict and what stands beside it.

    Comparisons with too few runs for an interval are undecided and do not count among the others: that is known before
    any score is. Those without spread are undecided and count.

    Args:
        contests: The comparisons.
        metric: One of :data:`STATISTICS`.
        method: How intervals are computed; its level is that of all comparisons together.
        margin: The smallest difference that matters, or None.
        information: For intervals that hold over several looks: for each comparison what was known at each look, this one
            last (:attr:`Contest.information`, :func:`openrlb_analysis.sequential.look_level`). None for one look.
        power: For the seeds needed.

    Raises:
        SelectionError: Scores above 1e60, whose powers exceed the largest number.
        UsageError: Another statistic, or a margin that is none.
    """
    metric = checked_statistic(metric)
    if margin is not None:
        checked_margin(margin)
    for one in contests:
        _check_sizes(one)
    alpha = round(1.0 - method.level, 12)
    able = [index for index, one in enumerate(contests) if one.fewest >= method.fewest]

    def level_of(index: int, share: float) -> float:
        return round(1.0 - (share if information is None else look_level(information[index], share)), 12)

    def interval_at(place: int, share: float) -> tuple[Ends, float]:
        level = level_of(able[place], share)
        return contests[able[place]].interval(metric, replace(method, level=level)) or UNKNOWN, level

    found = dict(zip(able, step_down(len(able), interval_at, margin, alpha), strict=True))
    share = alpha / max(len(able), 1)
    return tuple(
        _pair_result(one, metric, method, found.get(index), margin, power, level_of(index, share))
        for index, one in enumerate(contests)
    )


def checked_statistic(name: str) -> str:
    """The statistic's own spelling.

    Raises:
        UsageError: No verdict can be about it.

    >>> checked_statistic("IQM")
    'iqm'
    """
    word = name.strip().lower()
    if word not in STATISTICS:
        raise UsageError(f"no verdict about {name!r}", "it is about " + ", ".join(STATISTICS), "try --metric iqm")
    return word


def _check_sizes(one: Contest) -> None:
    """Refuses scores that no interval can be computed of.

    Raises:
        SelectionError: There are such scores.
    """
    for label, side in ((one.first, one.first_scores), (one.second, one.second_scores)):
        largest = max(float(np.abs(scores).max()) for scores in side)
        if not largest <= _LARGEST:
            why = f"its scores reach {largest:g}, and their powers exceed the largest number there is"
            raise SelectionError(f"{label} cannot be compared", why, "leave such runs out (--where), or normalise the scores")


def _alike(scores: Values, scale: float = 0.0) -> bool:
    """Whether scores are equal, up to the rounding of numbers of their size."""
    return bool(np.ptp(scores) <= _ROUNDING * max(scale, float(np.abs(scores).max())))


def _pair_result(
    one: Contest,
    metric: str,
    method: IntervalMethod,
    decided: tuple[Ends, float, Verdict] | None,
    margin: float | None,
    power: float,
    level: float,
) -> PairResult:
    """Everything about one comparison; ``level`` is that of one among all, which seeds are counted for."""
    first, second = one.first_scores, one.second_scores
    undecided: tuple[Ends | None, float, Verdict] = (None, level, "undecided")
    ends, adjusted, word = decided or undecided
    ends = None if ends == UNKNOWN else ends
    needed = None
    if margin is not None and one.fewest > 1 and not one.without_spread:
        pilot = pilot_spread(one.parts(metric))
        needed = seeds_needed(pilot, margin, power=power, level=level) if pilot is not None else None
    return PairResult(
        first=one.first,
        second=one.second,
        envs=one.envs,
        runs={env: (len(a), len(b)) for env, a, b in zip(one.envs, first, second, strict=True)},
        values=(AGGREGATES[metric](first), AGGREGATES[metric](second)),
        difference=one.estimate(metric),
        low=ends[0] if ends else None,
        high=ends[1] if ends else None,
        level=adjusted,
        verdict=word,
        beyond_margin=None if margin is None else bool(ends and (ends[0] > margin or ends[1] < -margin)),
        probability_of_improvement=_improvement(one, method),
        secondary=_secondary(one, method),
        seeds_needed=needed,
        without_spread=one.still,
    )


def _secondary(one: Contest, method: IntervalMethod) -> Secondary:
    """Other tests of the same scores."""
    first, second = one.first_scores, one.second_scores
    return Secondary(
        t_test(first, second, paired=one.paired),
        permutation(first, second, paired=one.paired, seed=method.seed),
        hedges_g(first, second, method.level, paired=one.paired),
        seed_correlation(first, second) if one.paired else None,
    )


def _improvement(one: Contest, method: IntervalMethod) -> Probability:
    """The probability of improvement at the declared level, not adjusted for other comparisons."""
    found = probability_of_improvement(one.first_scores, one.second_scores, method)
    return Probability(found.value, found.low, found.high)


def compare_groups(
    groups: Mapping[str, Sequence[Values] | Mapping[str, Values]],
    *,
    metric: str = "iqm",
    margin: float | None = None,
    method: IntervalMethod = CALIBRATED,
    against_first: bool = False,
    paired: bool = False,
) -> tuple[PairResult, ...]:
    """Compares groups given as plain arrays; :func:`openrlb.compare` is the same for stored runs.

    Args:
        groups: For each group one array of finite scores for each environment, the same environments for all.
        metric: One of :data:`STATISTICS`.
        margin: The smallest difference that matters, or None.
        method: How intervals are computed, and the level of all comparisons together.
        against_first: Compare the first group with each other one, not all pairs.
        paired: Run i of an environment belongs to run i of every other group.

    Raises:
        SelectionError: Fewer than two groups, unlike environments, or pairs of unequal numbers.
        UsageError: Scores in another form, or another statistic.

    >>> ppo, a2c = [[5.0, 6.0, 7.0, 6.5, 5.5]], [[1.0, 2.0, 3.0, 2.5, 1.5]]
    >>> found = compare_groups({"ppo": ppo, "a2c": a2c}, margin=1.0)[0]
    >>> found.verdict, found.difference, found.beyond_margin
    ('better', 4.0, True)
    """
    tasks = {label: check_tasks(given, f"the scores of {label}") for label, given in groups.items()}
    names = {label: tuple(map(str, given)) if isinstance(given, Mapping) else () for label, given in groups.items()}
    if len(tasks) < 2 or len({(len(given), names[label]) for label, given in tasks.items()}) > 1:
        why = "a comparison is between two groups or more with scores of the same environments in the same order"
        raise SelectionError("these groups cannot be compared", why, "hand over the environments that all of them have")
    envs = next(iter(names.values())) or tuple(str(index + 1) for index in range(len(next(iter(tasks.values())))))
    if paired and any(
        [len(one) for one in given] != [len(one) for one in next(iter(tasks.values()))] for given in tasks.values()
    ):
        raise SelectionError(
            "these runs are no pairs", "the groups have unequal numbers of runs", "keep the seeds that both have"
        )
    contests = [
        Contest(first, second, envs, tuple(tasks[first]), tuple(tasks[second]), paired)
        for first, second in pairs_of(list(tasks), against_first)
    ]
    return compare_contests(contests, metric=metric, method=method, margin=margin)


def pairs_of(labels: Sequence[str], against_first: bool = False) -> list[tuple[str, str]]:
    """Which groups meet: all pairs, or the first with each other one.

    >>> pairs_of(["a", "b", "c"], against_first=True)
    [('a', 'b'), ('a', 'c')]
    """
    return [(labels[0], other) for other in labels[1:]] if against_first else list(combinations(labels, 2))
