"""Which groups differ over many environments: mean ranks, Friedman's test, and pairwise tests (Demsar 2006).

Demsar, "Statistical comparisons of classifiers over multiple data sets", JMLR 7 (2006), with environments in place of data
sets. The environments are the sample: a group's score in each is taken as it is, however few seeds it rests on. Ranks say how
often a group is ahead, never by how much, and a group's mean rank depends on which other groups are ranked with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from openrlb.errors import UsageError

if TYPE_CHECKING:
    from openrlb.types import Values

PAIRWISE = ("wilcoxon", "nemenyi")
FEWEST_ENVIRONMENTS = 2


@dataclass(frozen=True, slots=True)
class PairTest:
    """One pair of groups.

    Attributes:
        first: The group with the better mean rank.
        second: The other.
        p: The two-sided p-value, adjusted for all pairs (Holm for Wilcoxon's, Tukey's distribution for Nemenyi's).
        differ: Whether the pair differs at the level.
    """

    first: str
    second: str
    p: float
    differ: bool


@dataclass(frozen=True, slots=True)
class CriticalDifference:
    """Mean ranks, and what can be told apart.

    Attributes:
        groups: The groups, the best mean rank first.
        mean_rank: Their mean ranks, 1 for the best.
        envs: How many environments they are means over.
        chi_square: Friedman's statistic with its correction for ties.
        friedman_p: The p-value of Iman and Davenport's F that follows from it: how likely ranks this unlike are among equals.
        pairwise: ``wilcoxon`` (signed ranks, Holm) or ``nemenyi``.
        level: The tests' level is one minus this.
        distance: Nemenyi's critical difference of mean ranks; with Wilcoxon's test it decides nothing.
        pairs: Every pair of groups.
        cliques: The longest runs of neighbours in rank of which no two differ, as labels; a bar joins each.
        notes: What a reader must know.
    """

    groups: tuple[str, ...]
    mean_rank: tuple[float, ...]
    envs: int
    chi_square: float
    friedman_p: float
    pairwise: str
    level: float
    distance: float
    pairs: tuple[PairTest, ...]
    cliques: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def critical_difference(
    groups: Mapping[str, Sequence[float] | Values], *, pairwise: str = "wilcoxon", level: float = 0.95
) -> CriticalDifference:
    """Ranks groups within each environment, tests whether ranks differ at all, and then which pairs do.

    Friedman's chi-square (Demsar 2006, section 3.2.2, corrected for ties) becomes Iman and Davenport's F. Pairs are tested by
    Wilcoxon's signed ranks over environments (:func:`wilcoxon_p`) with Holm's step-down, or by Nemenyi's critical difference
    ``q sqrt(k (k + 1) / (6 N))``. Nemenyi's answer on a pair depends on the groups beside it; Wilcoxon's does not (Benavoli,
    Corani and Mangili 2016, "Should we really use post-hoc tests based on mean-ranks?").

    Args:
        groups: For each group one score for each environment, higher is better, the same environments in the same order.
        pairwise: ``wilcoxon`` or ``nemenyi``.
        level: One minus the tests' level.

    Raises:
        UsageError: Fewer than three groups or two environments, unlike environments, or no such test.

    >>> found = critical_difference({"A": [3, 6, 9, 4, 5, 7], "B": [2, 5, 8, 3, 4, 6], "C": [1, 1, 2, 1, 1, 2]})
    >>> found.groups, found.mean_rank, round(found.friedman_p, 4)
    (('A', 'B', 'C'), (1.0, 2.0, 3.0), 0.0)
    >>> found.cliques, [pair.p for pair in found.pairs]
    ((('A', 'B', 'C'),), [0.09375, 0.09375, 0.09375])
    """
    table = _checked(groups, pairwise)
    labels, (count, envs) = list(groups), table.shape
    ranks = _ranks(table)
    means = ranks.mean(axis=1)
    order = sorted(range(count), key=lambda at: (means[at], labels[at]))
    chi_square, p = _friedman(ranks)
    distance = float(_studentized(level, count) / math.sqrt(2.0) * math.sqrt(count * (count + 1) / (6.0 * envs)))
    found = [(labels[one], labels[other]) for one, other in combinations(order, 2)]
    where = {label: at for at, label in enumerate(labels)}
    if pairwise == "nemenyi":
        spread = math.sqrt(count * (count + 1) / (12.0 * envs))
        values = [_tukey_p((means[where[other]] - means[where[one]]) / spread, count) for one, other in found]
    else:
        values = _holm([wilcoxon_p(table[where[one]], table[where[other]]) for one, other in found])
    pairs = tuple(PairTest(*names, value, value <= 1.0 - level) for names, value in zip(found, values, strict=True))
    ordered = tuple(labels[at] for at in order)
    told = tuple(float(means[at]) for at in order)
    return CriticalDifference(
        ordered, told, envs, chi_square, p, pairwise, level, distance, pairs, _cliques(ordered, pairs),
        _notes(count, envs, pairwise, p, level),
    )  # fmt: skip


def _checked(groups: Mapping[str, Sequence[float] | Values], pairwise: str) -> Values:
    """The scores as groups x environments."""
    if pairwise not in PAIRWISE:
        raise UsageError(f"no pairwise test {pairwise!r}", "there are wilcoxon and nemenyi", "use one of them")
    rows = [np.asarray(scores, dtype=np.float64) for scores in groups.values()]
    if len(rows) < 3:
        fix = "select three groups or more; compare and --metric slopes are about two"
        raise UsageError("ranks over environments are about three groups or more", f"there are {len(rows)}", fix)
    if len({row.shape for row in rows}) != 1 or rows[0].ndim != 1 or not all(np.isfinite(row).all() for row in rows):
        why = "each needs one finite score for each environment, the same ones"
        raise UsageError("the groups' scores do not fit together", why, "hand over one list of numbers for each group")
    if len(rows[0]) < FEWEST_ENVIRONMENTS:
        fix = "select more environments, or compare runs in this one (openrlb compare)"
        raise UsageError("environments are the sample of this test", f"there is {len(rows[0])}", fix)
    return np.stack(rows)


def _ranks(table: Values) -> Values:
    """Ranks within each column, 1 for the highest; equal scores share theirs."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(-table, axis=0), dtype=np.float64)


def _friedman(ranks: Values) -> tuple[float, float]:
    """Friedman's chi-square with its correction for ties, and the p-value of Iman and Davenport's F."""
    from scipy.special import fdtrc

    count, envs = ranks.shape
    middle = (count + 1) / 2.0
    within = float(((ranks - middle) ** 2).sum())
    if within == 0.0:
        return 0.0, 1.0
    chi_square = (count - 1) * float(((ranks.sum(axis=1) - envs * middle) ** 2).sum()) / within
    left = envs * (count - 1) - chi_square
    if left <= 1e-12 * envs * (count - 1):
        return chi_square, 0.0
    return chi_square, float(fdtrc(count - 1, (count - 1) * (envs - 1), (envs - 1) * chi_square / left))


def _studentized(level: float, count: int) -> float:
    """The studentized range's quantile with infinite degrees of freedom."""
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(level, count, np.inf))


def _tukey_p(distance: float, count: int) -> float:
    """How likely two of ``count`` equals lie as far apart, in units of the studentized range."""
    from scipy.stats import studentized_range

    return float(np.clip(studentized_range.sf(distance, count, np.inf), 0.0, 1.0)) if distance > 0 else 1.0


def wilcoxon_p(first: Values, second: Values) -> float:
    """The two-sided p-value of Wilcoxon's signed ranks over environments, exact also with ties.

    Equal scores keep their ranks and lose their sign (Pratt 1959), and every way to give the others a sign is counted.

    Args:
        first: One score for each environment, shape ``(envs,)``.
        second: The other group's.

    >>> wilcoxon_p(np.array([3.0, 6.0, 9.0, 4.0, 5.0]), np.array([2.0, 5.0, 8.0, 3.0, 4.0]))
    0.0625
    """
    from scipy.stats import rankdata

    apart = first - second
    signed = apart != 0
    if not signed.any():
        return 1.0
    doubled = np.rint(2 * rankdata(np.abs(apart))[signed]).astype(np.int64)  # halves are ranks of ties
    total = int(doubled.sum())
    ways = np.zeros(total + 1)
    ways[0] = 1.0
    for rank in doubled:
        ways[rank:] = (ways[rank:] + ways[: total + 1 - rank]) / 2.0
        ways[:rank] /= 2.0
    observed = abs(2 * int(doubled[apart[signed] > 0].sum()) - total)
    return float(min(1.0, ways[np.abs(2 * np.arange(total + 1) - total) >= observed].sum()))


def _holm(values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (1979).

    >>> _holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted, largest = [0.0] * len(values), 0.0
    for rank, at in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - rank) * values[at]))
        adjusted[at] = largest
    return adjusted


def _cliques(ordered: Sequence[str], pairs: Sequence[PairTest]) -> tuple[tuple[str, ...], ...]:
    """The longest runs of neighbours in rank of which no two differ."""
    differ = {(pair.first, pair.second) for pair in pairs if pair.differ}
    found: list[tuple[int, int]] = []
    for start in range(len(ordered)):
        stop = start + 1
        while stop < len(ordered) and not any((ordered[at], ordered[stop]) in differ for at in range(start, stop)):
            stop += 1
        if stop - start > 1 and not (found and found[-1][1] >= stop):
            found.append((start, stop))
    return tuple(tuple(ordered[start:stop]) for start, stop in found)


def _notes(count: int, envs: int, pairwise: str, p: float, level: float) -> tuple[str, ...]:
    """The limits of what the ranks say."""
    notes = [
        "environments are the sample: the ranks take each group's score in an environment as exact, however few seeds it has",
        "ranks say how often a group is ahead, not by how much, and they depend on which groups are ranked together",
    ]
    pairs = count * (count - 1) // 2
    smallest = 2.0 ** (1 - envs) * pairs
    if pairwise == "wilcoxon" and smallest > 1.0 - level:
        needed = 1 + math.ceil(math.log2(pairs / (1.0 - level)))
        notes.append(
            f"{envs} environments cannot tell any two of {count} groups apart by Wilcoxon's test with Holm's correction: the "
            f"smallest p-value it can reach is {min(smallest, 1.0):.3g}; {needed} environments could"
        )
    if p > 1.0 - level:
        notes.append("Friedman's test finds no difference among the groups: differences between pairs are not to be read")
    if pairwise == "nemenyi":
        notes.append("Nemenyi's answer on a pair depends on the groups beside it; --pairwise wilcoxon does not")
    return tuple(notes)
