"""Performance profiles: the exact bootstrap law, counted by hand and against rliable's simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrlb.errors import UsageError
from openrlb_analysis.engine import rliable_profile
from openrlb_analysis.intervals import interval_method
from openrlb_analysis.profiles import mean_profile, performance_profile, run_share_quantiles, tau_grid

PERCENTILE = interval_method("percentile", 0.95, 20_000, 0, 2)
CALIBRATED = interval_method("calibrated", 0.95, 20_000, 0)
TASKS = st.lists(st.lists(st.integers(0, 4).map(float), min_size=1, max_size=4), min_size=1, max_size=3)


@given(TASKS, st.integers(-1, 4), st.sampled_from([0.025, 0.3, 0.5, 0.9, 0.975]))
@settings(max_examples=60)
def test_the_law_is_that_of_every_resample_counted(tasks: list[list[float]], tau: int, probability: float) -> None:
    sizes = [len(scores) for scores in tasks]
    choices = [[sum(one > tau for one in drawn) for drawn in itertools.product(scores, repeat=len(scores))] for scores in tasks]
    law = np.zeros(1)
    law[0] = 1.0
    shares = np.zeros(1)
    for counts, size in zip(choices, sizes, strict=True):  # each environment's law, all combined
        values, times = np.unique(np.array(counts) / (size * len(sizes)), return_counts=True)
        law = (law[:, None] * (times / times.sum())).ravel()
        shares = (shares[:, None] + values).ravel()
    order = np.argsort(shares)
    reached = np.cumsum(law[order])
    # Sums of shares differ by rounding; the law steps only between values that differ.
    expected = shares[order][np.searchsorted(reached, probability - 1e-9)]
    above = np.array([[sum(one > tau for one in scores) for scores in tasks]], dtype=float)
    (found,) = run_share_quantiles(above, sizes, [probability])
    assert found[0] == pytest.approx(expected, abs=1e-9)


def test_unequal_sizes_whose_grid_is_too_fine_are_simulated() -> None:
    sizes = [7, 11, 13, 17, 19, 23]
    above = np.array([[3.0, 5, 6, 8, 9, 11]])
    low, high = run_share_quantiles(above, sizes, [0.025, 0.975], resamples=50_000)
    spread = np.sqrt(sum((k / n) * (1 - k / n) / n for k, n in zip(above[0], sizes, strict=True))) / 6
    middle = float(np.mean(above[0] / sizes))
    assert (low[0], high[0]) == pytest.approx((middle - 1.96 * spread, middle + 1.96 * spread), abs=0.2 * spread)


@pytest.mark.parametrize("of", ["runs", "means"])
def test_rliable_within_its_monte_carlo_error(of: str) -> None:
    matrix = np.random.default_rng(5).gamma(2.0, 0.4, size=(8, 11))
    taus = np.linspace(0.0, 3.0, 13)
    theirs = rliable_profile(list(matrix.T), taus, interval_method("percentile", 0.95, 1_500, 0), of=of)
    ours = (performance_profile if of == "runs" else mean_profile)(list(matrix.T), taus, PERCENTILE)
    assert ours.value == pytest.approx(theirs.value, abs=1e-12)
    step = 1 / matrix.size if of == "runs" else 1 / matrix.shape[1]
    for mine, other in ((ours.low, theirs.low), (ours.high, theirs.high)):
        assert np.abs(mine - other).max() <= 1.01 * step  # their quantile of 1,500 draws may be one step of the law away


def test_every_environment_counts_equally() -> None:
    profile = performance_profile([np.array([1.0, 1.0, 0.0, 0.0]), np.array([1.0])], np.array([0.5]), PERCENTILE)
    assert profile.value.tolist() == [0.75]  # not 3 of 5 runs
    assert np.isnan(profile.low).all()  # an environment with one run has no interval


@given(
    st.lists(st.lists(st.floats(-3, 3), min_size=3, max_size=6), min_size=1, max_size=4), st.sampled_from(["calibrated", "basic"])
)
@settings(max_examples=30)
def test_ends_lie_within_bounds_and_around_the_value(tasks: list[list[float]], name: str) -> None:
    arrays, method = [np.array(scores) for scores in tasks], interval_method(name, 0.95, 500, 0)
    for profile in (
        performance_profile(arrays, np.linspace(-4, 4, 9), method),
        mean_profile(arrays, np.linspace(-4, 4, 9), method),
    ):
        assert (profile.low >= 0).all() and (profile.high <= 1).all()
        assert (profile.low <= profile.value + 1e-12).all() and (profile.value <= profile.high + 1e-12).all()
        assert (np.diff(profile.value) <= 1e-12).all()


def test_neither_end_is_a_point_at_zero_or_one() -> None:
    profile = performance_profile([np.arange(5.0)] * 3, np.array([-1.0, 9.0]), CALIBRATED)
    assert profile.value.tolist() == [1.0, 0.0]
    assert 0.5 < profile.low[0] < 1.0 and profile.high[0] == 1.0
    assert profile.low[1] == 0.0 and 0.0 < profile.high[1] < 0.5
    bootstrap = performance_profile([np.arange(5.0)] * 3, np.array([-1.0, 9.0]), PERCENTILE)
    assert bootstrap.low.tolist() == bootstrap.high.tolist() == [1.0, 0.0]  # what a bootstrap alone would say
    assert "fewer than 10 seeds" in profile.interval.note and "too narrow" in bootstrap.interval.note


def test_calibrated_means_are_wider_than_resampled_ones() -> None:
    tasks = [np.random.default_rng(env).normal(size=4) for env in range(6)]
    taus = np.linspace(-1, 1, 21)
    wide, narrow = (mean_profile(tasks, taus, method) for method in (CALIBRATED, PERCENTILE))
    assert ((wide.high - wide.low) >= (narrow.high - narrow.low) - 1e-12).all()
    assert (wide.high - wide.low).sum() > (narrow.high - narrow.low).sum()


def test_grids_reach_from_the_lowest_to_the_highest() -> None:
    groups = [[np.array([0.0, 1.0]), np.array([5.0])], [np.array([-2.0, 9.0])]]
    assert tau_grid(groups, 12).tolist() == pytest.approx(np.linspace(-2.0, 9.0, 12).tolist())
    crowded = [[np.append(np.linspace(0.0, 1.0, 99), 100.0)]]
    where = tau_grid(crowded, 51, spacing="quantile")
    assert np.sum(where <= 1.0) > 45 and where[-1] == 100.0
    with pytest.raises(UsageError):
        tau_grid(groups, 1)
    with pytest.raises(UsageError, match="no BCa"):
        performance_profile([np.arange(5.0)], np.array([1.0]), interval_method("bca", 0.95, 100, 0))
