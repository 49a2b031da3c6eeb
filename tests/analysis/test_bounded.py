"""Bounded statistics: known intervals, bounds that hold, and a width where a bootstrap has none."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrlb.errors import UsageError
from openrlb_analysis.bounded import (
    ceiling_gap,
    clopper_pearson,
    difference_of,
    fraction_ends,
    improvement_ends,
    improvement_interval,
    mean_of,
    newcombe_ends,
    wilson,
)


@pytest.mark.parametrize("trials", [1, 3, 5, 10])
def test_fractions_have_scipys_intervals(trials: int) -> None:
    from scipy.stats import binomtest

    for successes, level in itertools.product(range(trials + 1), (0.8, 0.95)):
        for function, name in ((wilson, "wilson"), (clopper_pearson, "exact")):
            theirs = binomtest(successes, trials).proportion_ci(level, method=name)
            low, high = function(successes, trials, level)
            assert (float(low), float(high)) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@pytest.mark.parametrize(("successes", "trials"), [(4, 3), (-1, 3), (0, 0)])
def test_no_fraction_is_refused(successes: int, trials: int) -> None:
    for function in (wilson, clopper_pearson):
        with pytest.raises(UsageError):
            function(successes, trials)


@given(st.integers(1, 12), st.integers(1, 12), st.floats(0, 1), st.sampled_from([0.8, 0.95, 0.99]))
@settings(max_examples=100, deadline=None)
def test_improvement_solves_its_equation_and_is_mirrored(first: int, second: int, estimate: float, level: float) -> None:
    from scipy.stats import norm

    low, high = (float(end) for end in improvement_interval(estimate, first, second, level))
    assert 0 <= low <= estimate <= high <= 1 and high - low > 0.01
    more = (first + second) / 2 - 1
    for end in (low, high):
        if 0 < end < 1:
            variance = end * (1 - end) * (1 + more * ((1 - end) / (2 - end) + end / (1 + end))) / (first * second)
            assert abs(end - estimate) == pytest.approx(norm.ppf(0.5 + level / 2) * np.sqrt(variance), abs=1e-6)
    other = improvement_interval(1 - estimate, second, first, level)
    assert (1 - float(other[1]), 1 - float(other[0])) == pytest.approx((low, high), abs=1e-9)


def test_full_separation_is_not_certainty() -> None:
    widths = [float(improvement_interval(1.0, runs, runs)[0]) for runs in (3, 5, 10, 50)]
    assert widths == sorted(widths) and 0.3 < widths[0] < 0.6 < widths[1] < widths[-1] < 1.0
    with pytest.raises(UsageError):
        improvement_interval(1.2, 3, 3)
    with pytest.raises(UsageError):
        improvement_interval(0.5, 0, 3)


def test_several_environments_share_their_certainty() -> None:
    wins = [np.ones((3, 3))] * 6
    low, high = newcombe_ends(wins)
    alone = newcombe_ends(wins[:1])
    assert float(alone[0]) < float(low) < 1.0 == float(high)
    assert 1 - float(low) == pytest.approx((1 - float(alone[0])) / np.sqrt(6))


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), min_size=1, max_size=5), st.floats(0, 0.3))
@settings(max_examples=60, deadline=None)
def test_a_mean_of_fractions_stays_in_bounds(cells: list[tuple[int, int]], below: float) -> None:
    sizes = [size for size, _ in cells]
    above = np.concatenate([(np.arange(size) < count).astype(float) for size, count in cells])
    share = float(np.mean([min(count, size) / size for size, count in cells]))
    low, high = fraction_ends(above, sizes, np.array(max(share - below, 0.0)), np.array(min(share + below, 1.0)))
    assert 0 <= float(low) <= share + 1e-12 and share - 1e-12 <= float(high) <= 1 and float(high) - float(low) > 0.05
    counts = np.minimum([count for _, count in cells], sizes)
    alone = clopper_pearson if len(sizes) == 1 else wilson
    binomial = mean_of(counts / np.array(sizes), *alone(counts, np.array(sizes)))
    assert float(low) <= float(binomial[0]) + 1e-12 and float(high) >= float(binomial[1]) - 1e-12


def test_improvement_is_the_wider_of_bootstrap_and_ranks() -> None:
    won = (np.random.default_rng(0).random((2, 5, 4)) < 0.6).astype(float)
    centre = won.mean()
    narrow = improvement_ends(list(won), centre, centre - 0.05, centre + 0.05)
    assert [float(end) for end in narrow] == pytest.approx([float(end) for end in newcombe_ends(list(won))])
    wide = improvement_ends(list(won), centre, centre - 0.4, centre + 0.4)
    assert float(wide[0]) < float(narrow[0]) and float(wide[1]) > float(narrow[1]) and 0 <= wide[0] <= wide[1] <= 1
    blind = improvement_ends(list(won), centre, centre, centre)  # resamples that never move though runs differ: the t interval
    assert float(blind[0]) < float(narrow[0]) and float(blind[1]) > float(narrow[1])
    alone = improvement_ends([np.ones((1, 5))], 1.0, 1.0, 1.0)  # one run shows no spread: the rank interval alone
    assert float(alone[0]) < 0.5 and float(alone[1]) == 1.0


def test_a_difference_keeps_the_bounds_of_its_parts() -> None:
    low, high = difference_of((1.0, 0.4, 1.0), (0.0, 0.0, 0.6))
    assert -1 <= float(low) < float(high) <= 1
    assert float(high) == 1.0 and float(low) == pytest.approx(1 - np.hypot(0.6, 0.6))


def test_the_ceiling_is_the_exact_binomial_limit() -> None:
    assert ceiling_gap([5]) == pytest.approx(float(clopper_pearson(0, 5)[1]))
    assert ceiling_gap([3] * 6) == pytest.approx(float(clopper_pearson(0, 18)[1]))
    assert ceiling_gap([3, 10]) == ceiling_gap([3, 3]) > ceiling_gap([10, 10])


@pytest.mark.parametrize("failing", [0.02, 0.1, 0.3])
def test_the_ceiling_holds_for_rare_failures(failing: float) -> None:
    """Runs that reach gamma or fall to 0: where no failure is seen, the bound is below the truth in at most 2.5 %."""
    for runs in (3, 5, 10):
        unseen = (1 - failing) ** runs
        assert ceiling_gap([runs]) >= failing or unseen <= 0.025
