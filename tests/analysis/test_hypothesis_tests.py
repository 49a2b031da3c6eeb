"""The secondary tests against scipy's own, and what they must do whatever the numbers are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from openrlb_analysis.hypothesis_tests import hedges_g, noncentral_t, permutation, t_test

SCORES = st.lists(st.integers(-1000, 1000).map(float), min_size=2, max_size=6)


@settings(max_examples=50)
@given(SCORES, SCORES)
@pytest.mark.filterwarnings("ignore:Precision loss:RuntimeWarning")  # scipy's, of one group without spread
def test_welch_is_scipys(first: list[float], second: list[float]) -> None:
    found = t_test([np.array(first)], [np.array(second)])
    if len(set(first)) == 1 and len(set(second)) == 1:
        assert found is None
        return
    wanted = stats.ttest_ind(first, second, equal_var=False)
    assert found is not None
    assert found.t == pytest.approx(wanted.statistic, rel=1e-9, abs=1e-12)
    assert found.degrees == pytest.approx(wanted.df, rel=1e-9)
    assert found.p == pytest.approx(wanted.pvalue, rel=1e-7, abs=1e-12)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(-99, 99), st.integers(-99, 99)), min_size=2, max_size=7))
@pytest.mark.filterwarnings("ignore:Precision loss:RuntimeWarning")
def test_the_paired_t_is_scipys(pairs: list[tuple[int, int]]) -> None:
    first, second = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    found = t_test([first], [second], paired=True)
    if len(set((first - second).tolist())) == 1:
        assert found is None
        return
    wanted = stats.ttest_rel(first, second)
    assert found is not None and found.name == "paired"
    assert (found.t, found.p) == (pytest.approx(wanted.statistic, abs=1e-12), pytest.approx(wanted.pvalue, rel=1e-7, abs=1e-12))


@settings(max_examples=30)
@given(SCORES.filter(lambda one: len(one) < 6), SCORES.filter(lambda one: len(one) < 6))
def test_the_exact_permutation_is_scipys(first: list[float], second: list[float]) -> None:
    found = permutation([np.array(first)], [np.array(second)])
    wanted = stats.permutation_test(
        (first, second), lambda x, y, axis: abs(np.mean(x, axis=axis) - np.mean(y, axis=axis)), vectorized=True,
        alternative="greater", n_resamples=np.inf,
    )  # fmt: skip
    assert found.exact and found.arrangements == math.comb(len(first) + len(second), len(first))
    assert found.p == pytest.approx(wanted.pvalue)
    assert 0 < found.smallest <= found.p <= 1


def test_five_against_five_can_reach_two_in_252_and_three_against_three_never_reach_five_percent() -> None:
    apart = permutation([np.arange(5.0)], [np.arange(5.0) + 100])
    assert apart.p == apart.smallest == pytest.approx(2 / 252)
    assert permutation([np.arange(3.0)], [np.arange(3.0) + 100]).smallest == pytest.approx(0.1)


def test_signs_of_pairs_are_flipped_and_many_environments_are_dealt_at_random() -> None:
    pairs = permutation([np.arange(5.0) + 1], [np.zeros(5)], paired=True)
    assert pairs.exact and pairs.p == pairs.smallest == pytest.approx(2 / 32)
    rng = np.random.default_rng(0)
    first = [rng.normal(size=5) for _ in range(4)]
    many = permutation(first, [scores + 3 for scores in first], arrangements=999)
    assert not many.exact and many.p == many.smallest == pytest.approx(1 / 1000)
    assert permutation(first, [scores[::-1] for scores in first], arrangements=500).p == 1.0  # no difference at all


def test_effect_size_is_the_known_one_and_its_interval_covers() -> None:
    found = hedges_g([np.array([4.0, 5.0, 6.0])], [np.array([1.0, 2.0, 3.0])])
    assert found is not None and found.g == pytest.approx(3.0 * math.exp(math.lgamma(2) - math.lgamma(1.5)) / math.sqrt(2))
    rng = np.random.default_rng(0)
    draws = [(rng.normal(1.0, 1.0, 6), rng.normal(0.0, 1.0, 6)) for _ in range(300)]
    sizes = [hedges_g([one], [other]) for one, other in draws]
    values = np.array([size.g for size in sizes if size is not None])
    assert values.mean() == pytest.approx(1.0, abs=0.1)  # unbiased: the plain ratio would give 1.08
    covered = np.mean([size.low <= 1.0 <= size.high for size in sizes if size and size.low is not None and size.high is not None])
    assert 0.92 <= covered <= 0.98


@settings(max_examples=30)
@given(SCORES, SCORES)
def test_effect_size_turns_round_with_the_groups_and_has_its_ends_on_both_sides(first: list[float], second: list[float]) -> None:
    one, other = hedges_g([np.array(first)], [np.array(second)]), hedges_g([np.array(second)], [np.array(first)])
    if one is None or other is None:
        assert one is other is None
        return
    assert one.g == pytest.approx(-other.g)
    if one.low is not None and one.high is not None and other.high is not None:
        assert one.low < one.high and one.low == pytest.approx(-other.high, rel=1e-5, abs=1e-5)


def test_no_spread_means_no_effect_size_and_no_t() -> None:
    flat = [np.array([1.0, 1.0, 1.0])]
    assert hedges_g(flat, flat) is None and t_test(flat, flat) is None
    assert permutation(flat, flat).p == 1.0
    assert hedges_g([np.array([1.0])], [np.array([2.0])]) is None


@pytest.mark.parametrize("degrees", [1, 4, 30, 2000])
@pytest.mark.parametrize("t", [0.0, 0.01, 1.0, 11.9, 40.0])
@pytest.mark.parametrize("shift", [-6.0, 0.0, 1.0, 15.0, 30.0])
def test_the_noncentral_t_is_scipys_where_that_is_known(degrees: int, t: float, shift: float) -> None:
    theirs = float(stats.nct.cdf(t, degrees, shift))
    if math.isfinite(theirs):
        assert noncentral_t(t, degrees, shift) == pytest.approx(theirs, abs=1e-9)


def test_large_effects_have_intervals_on_their_own_side() -> None:
    """PPO against A2C on Walker2d with three seeds gave [-18.5, 16.4] where scipy's noncentral t gives [3.2, 16.4]."""
    apart = [np.array([0.0, 1.0, 2.0]) + 12.2], [np.array([0.0, 1.0, 2.0])]
    found = hedges_g(*apart)
    assert found is not None and found.low is not None and found.high is not None
    assert 0 < found.low < found.g < found.high
    root, unbiased = math.sqrt(2 / 3), found.g / 12.2
    for end, probability in ((found.low, 0.975), (found.high, 0.025)):
        assert stats.nct.cdf(12.2 / root, 4, end / root / unbiased) == pytest.approx(probability, abs=1e-6)
    for far in (1e2, 1e4, 1e8):
        large = hedges_g([np.array([0.0, 1.0, 2.0]) + far], [np.array([0.0, 1.0, 2.0])])
        assert large is not None and large.low is not None and large.high is not None
        assert 0.2 < large.low / large.g < 0.5 and 1.3 < large.high / large.g < 2.0
