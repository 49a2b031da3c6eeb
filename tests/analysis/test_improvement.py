"""The probability of improvement: Mann-Whitney's statistic, rliable's bootstrap, and an interval at full separation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from openrlb.errors import UsageError
from openrlb_analysis.engine import rliable_improvement
from openrlb_analysis.improvement import improvement_draws, probability_of_improvement, wins
from openrlb_analysis.intervals import interval_method

FEW = interval_method("percentile", 0.95, 500, 0)
SCORES = st.lists(st.integers(0, 5).map(float), min_size=3, max_size=6)


@given(st.lists(st.tuples(SCORES, SCORES), min_size=1, max_size=4))
@settings(max_examples=40)
def test_it_is_mann_whitneys_statistic_ties_counting_half(pairs: list[tuple[list[float], list[float]]]) -> None:
    first, second = ([np.array(pair[side]) for pair in pairs] for side in (0, 1))
    found = probability_of_improvement(first, second, FEW)
    each = [mannwhitneyu(a, b).statistic / (len(a) * len(b)) for a, b in zip(first, second, strict=True)]
    assert found.per_env == pytest.approx(each, abs=1e-12)
    assert found.value == pytest.approx(np.mean(each), abs=1e-12)
    assert found.value + probability_of_improvement(second, first, FEW).value == pytest.approx(1.0, abs=1e-12)


def test_the_law_is_that_of_every_pair_of_resamples() -> None:
    first, second = np.array([0.0, 2.0, 3.0]), np.array([1.0, 2.0])
    (table,) = wins([first], [second])
    law = [
        table[np.ix_(ours, theirs)].mean()
        for ours in itertools.product(range(3), repeat=3)
        for theirs in itertools.product(range(2), repeat=2)
    ]
    draws = improvement_draws([table], resamples=60_000)
    for value in np.unique(law):
        assert np.mean(draws <= value + 1e-9) == pytest.approx(
            np.mean(np.array(law) <= value + 1e-9), abs=5 * 0.5 / np.sqrt(60_000)
        )


def test_rliable_within_its_monte_carlo_error() -> None:
    generator = np.random.default_rng(3)
    first, second = generator.normal(0.2, 1.0, size=(6, 5)), generator.normal(size=(8, 5))
    theirs = rliable_improvement(list(first.T), list(second.T), interval_method("percentile", 0.95, 600, 0))
    ours = probability_of_improvement(list(first.T), list(second.T), interval_method("percentile", 0.95, 50_000, 0))
    assert ours.value == pytest.approx(theirs.value, abs=1e-12)
    assert ours.per_env == pytest.approx(theirs.per_env, abs=1e-12)
    spread = improvement_draws(wins(list(first.T), list(second.T)), resamples=5_000).std()
    # An end at 2.5 % of 600 draws is off by about 0.11 standard deviations; allow five times that.
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=5 * 0.11 * spread)


@pytest.mark.parametrize("envs", [1, 3])
def test_full_separation_is_no_certainty(envs: int) -> None:
    low_scores, high_scores = [np.arange(5.0)] * envs, [np.arange(5.0) + 10] * envs
    found = probability_of_improvement(high_scores, low_scores)
    assert found.value == 1.0 and found.high == 1.0
    assert found.low is not None and 0.5 < found.low < 0.95
    other = probability_of_improvement(low_scores, high_scores)
    assert (other.value, other.low) == (0.0, 0.0) and other.high == pytest.approx(1.0 - found.low, abs=1e-9)
    alone = probability_of_improvement(high_scores, low_scores, FEW)
    assert (alone.low, alone.high) == (1.0, 1.0)  # what a bootstrap alone would say


@pytest.mark.parametrize("method", ["calibrated", "percentile", "basic", "bca"])
def test_ends_stay_within_bounds_with_ragged_seeds(method: str) -> None:
    generator = np.random.default_rng(4)
    first, second = ([generator.normal(shift, 1, size=size) for size in sizes] for shift, sizes in ((1.5, (4, 7)), (0, (5, 4))))
    found = probability_of_improvement(first, second, interval_method(method, 0.95, 2_000, 0))
    assert found.low is not None and found.high is not None
    assert 0.0 <= found.low <= found.value <= found.high <= 1.0
    assert found.runs == (11, 9)


def test_the_order_of_runs_and_of_named_environments_changes_nothing() -> None:
    generator = np.random.default_rng(6)
    first = {env: generator.normal(size=5) for env in ("Pong", "Qbert")}
    second = {env: generator.normal(size=4) for env in ("Pong", "Qbert")}
    turned = {env: second[env][::-1] for env in ("Qbert", "Pong")}
    once, again = (probability_of_improvement(first, other, FEW) for other in (second, turned))
    assert (once.value, once.low, once.high) == (again.value, again.low, again.high)
    with pytest.raises(UsageError, match="same environments"):
        probability_of_improvement(first, {"Pong": [1.0], "Ant": [2.0]})
    with pytest.raises(UsageError, match="the first has 2 environments, the second 1"):
        probability_of_improvement(list(first.values()), [np.arange(3.0)])
    assert probability_of_improvement([np.array([1.0, 2.0])], [np.array([1.0, 2.0])]).low is None
