"""Critical differences: against published numbers, scipy, and every arrangement counted by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrlb.errors import UsageError
from openrlb_analysis.critical_difference import critical_difference, wilcoxon_p

DEMSAR = """
0.763 0.768 0.771 0.798
0.599 0.591 0.590 0.569
0.954 0.971 0.968 0.967
0.628 0.661 0.654 0.657
0.882 0.888 0.886 0.898
0.936 0.931 0.916 0.931
0.661 0.668 0.609 0.685
0.583 0.583 0.563 0.625
0.775 0.838 0.866 0.875
1.000 1.000 1.000 1.000
0.940 0.962 0.965 0.962
0.619 0.666 0.614 0.669
0.972 0.981 0.9751 0.975
0.957 0.978 0.946 0.970
"""
"""Demsar 2006, Table 6: areas under the curve of four variants of C4.5 on fourteen data sets."""
VARIANTS = ("C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf")


def demsar() -> dict[str, list[float]]:
    table = [[float(number) for number in line.split()] for line in DEMSAR.strip().splitlines()]
    return dict(zip(VARIANTS, map(list, zip(*table, strict=True)), strict=True))


def test_the_numbers_of_demsars_example() -> None:
    found = critical_difference(demsar(), pairwise="nemenyi")
    ranks = dict(zip(found.groups, found.mean_rank, strict=True))
    assert found.distance == pytest.approx(1.25, abs=0.005) and found.envs == 14  # section 3.2.2: q = 2.569, CD = 1.25
    assert ranks["C4.5"] == pytest.approx(3.143, abs=0.001) and ranks["C4.5+m+cf"] == pytest.approx(1.964, abs=0.001)
    ninety = critical_difference(demsar(), pairwise="nemenyi", level=0.9)
    assert ninety.distance == pytest.approx(1.12, abs=0.005)
    differing = {(pair.first, pair.second) for pair in ninety.pairs if pair.differ}
    assert differing == {("C4.5+m+cf", "C4.5"), ("C4.5+m", "C4.5")}  # as the paper says of the level 0.10


def test_friedman_equals_scipys_with_ties() -> None:
    from scipy.stats import friedmanchisquare

    rng = np.random.default_rng(1)
    for _ in range(10):
        table = rng.integers(0, 5, size=(4, 12)).astype(float)
        found = critical_difference({str(row): scores for row, scores in enumerate(table)})
        assert found.chi_square == pytest.approx(friedmanchisquare(*table).statistic)


SCORES = st.lists(st.integers(-4, 4), min_size=2, max_size=9)


@settings(max_examples=60, deadline=None)
@given(SCORES)
def test_wilcoxon_counts_every_way_to_give_signs(apart: list[int]) -> None:
    from scipy.stats import rankdata

    differences = np.array(apart, dtype=float)
    signed = differences[differences != 0]
    p = wilcoxon_p(differences, np.zeros(len(differences)))
    if not len(signed):
        assert p == 1.0
        return
    ranks = rankdata(np.abs(differences))[differences != 0]
    sums = [sum(sign * rank for sign, rank in zip(signs, ranks, strict=True)) for signs in product((-1, 1), repeat=len(ranks))]
    observed = abs(float(np.sum(np.sign(signed) * ranks)))
    assert p == pytest.approx(np.mean([abs(total) >= observed - 1e-9 for total in sums]))


def test_wilcoxon_equals_scipys_exact_test_without_ties() -> None:
    from scipy.stats import wilcoxon

    rng = np.random.default_rng(2)
    for size in (5, 11, 26, 57):
        first, second = rng.normal(size=size) + 0.3, rng.normal(size=size)
        assert wilcoxon_p(first, second) == pytest.approx(wilcoxon(first, second, method="exact").pvalue)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 6), min_size=8, max_size=8), min_size=3, max_size=6),
    st.sampled_from(["wilcoxon", "nemenyi"]),
)
def test_the_order_of_groups_changes_nothing_and_bars_join_exactly_what_does_not_differ(rows: list[list[int]], test: str) -> None:
    groups = {f"g{at}": [float(score) for score in row] for at, row in enumerate(rows)}
    found = critical_difference(groups, pairwise=test)
    back = critical_difference(dict(reversed(groups.items())), pairwise=test)
    assert (found.groups, found.mean_rank, found.friedman_p, found.cliques) == (
        back.groups,
        back.mean_rank,
        back.friedman_p,
        back.cliques,
    )
    assert sum(found.mean_rank) == pytest.approx(len(rows) * (len(rows) + 1) / 2)
    differ = {frozenset((pair.first, pair.second)) for pair in found.pairs if pair.differ}
    for clique in found.cliques:
        assert len(clique) > 1 and not any({one, other} in differ for one in clique for other in clique if one != other)
    neighbours = [frozenset(pair) for pair in zip(found.groups, found.groups[1:], strict=False)]
    assert {pair for pair in neighbours if pair not in differ} == {
        pair for pair in neighbours if any(pair <= set(clique) for clique in found.cliques)
    }


def test_equal_groups_are_not_told_apart_and_limits_are_said() -> None:
    same = critical_difference({name: [1.0, 2.0, 3.0] for name in "abc"})
    assert same.friedman_p == 1.0 and same.cliques == (("a", "b", "c"),)
    told = " ".join(same.notes)
    assert "Friedman's test finds no difference" in told and "environments are the sample" in told
    assert "3 environments cannot tell any two of 3 groups apart" in told and "7 environments could" in told


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        ({"a": [1.0, 2.0], "b": [1.0, 2.0]}, "three groups or more"),
        ({"a": [1.0], "b": [1.0], "c": [2.0]}, "environments are the sample"),
        ({"a": [1.0, 2.0], "b": [1.0], "c": [2.0, 1.0]}, "do not fit together"),
        ({"a": [1.0, float("nan")], "b": [1.0, 1.0], "c": [2.0, 1.0]}, "do not fit together"),
    ],
)
def test_what_has_no_meaning_is_refused(groups: dict[str, list[float]], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        critical_difference(groups)
    with pytest.raises(UsageError, match="no pairwise test"):
        critical_difference(demsar(), pairwise="t")
