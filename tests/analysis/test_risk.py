"""Risk and ranks: the worst runs, the middle half, bands that hold most runs, and frequencies of ranks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from openrlb.errors import UsageError
from openrlb_analysis.bootstrap import Draws
from openrlb_analysis.inputs import score_table
from openrlb_analysis.intervals import interval_method, interval_of
from openrlb_analysis.ranks import rank_frequencies
from openrlb_analysis.risk import _cvar_weights, _influence, _iqr_weights, cvar, iqr, tolerance_band

FEW = interval_method("percentile", 0.95, 500, 0)
SCORES = st.lists(st.floats(-5, 5), min_size=1, max_size=9)


@given(st.lists(SCORES, min_size=1, max_size=4), st.floats(0.01, 1.0))
@settings(max_examples=50)
def test_cvar_is_the_mean_of_the_lowest_share(tasks: list[list[float]], alpha: float) -> None:
    each = []
    for scores in tasks:  # the definition: the quantile function's mean over (0, alpha)
        edges = np.unique(np.clip(np.append(np.arange(len(scores) + 1) / len(scores), alpha), 0, alpha))
        middle = (edges[:-1] + edges[1:]) / 2
        quantiles = np.sort(scores)[np.minimum((middle * len(scores)).astype(int), len(scores) - 1)]
        each.append(float(np.sum(quantiles * np.diff(edges)) / alpha))
    assert cvar([np.array(one) for one in tasks], alpha, FEW).value == pytest.approx(np.mean(each), abs=1e-9)


def test_cvar_of_less_than_one_run_is_the_worst_and_says_so() -> None:
    found = cvar([np.arange(5.0)], 0.05)
    assert found.value == 0.0 and "5 % of 5 runs is at most one run: it is the worst run alone" in found.interval.note
    assert "one run" not in cvar([np.arange(40.0)], 0.05).interval.note
    assert cvar([np.arange(5.0)], 1.0).value == 2.0
    for alpha in (0.0, -1.0, 1.5):
        with pytest.raises(UsageError):
            cvar([np.arange(5.0)], alpha)


@given(st.lists(SCORES, min_size=1, max_size=4))
@settings(max_examples=50)
def test_iqr_is_scipys(tasks: list[list[float]]) -> None:
    arrays = [np.array(one) for one in tasks]
    assert iqr(arrays, FEW).value == pytest.approx(np.mean([stats.iqr(one) for one in arrays]), abs=1e-9)


@pytest.mark.parametrize("function", [cvar, iqr])
def test_the_percentile_interval_is_that_of_every_resample(function: object) -> None:
    assert callable(function)
    tasks = [np.array([0.0, 1.0, 5.0]), np.array([2.0, 2.5])]
    choices = [[np.array(part) for part in itertools.product(scores, repeat=len(scores))] for scores in tasks]
    law = [
        function([one, other], method=interval_method("percentile", 0.95, 1, 0)).value
        for one in choices[0]
        for other in choices[1]
    ]
    found = function(tasks, method=interval_method("percentile", 0.5, 60_000, 0, 2))
    for end, probability in ((found.low, 0.25), (found.high, 0.75)):
        below, upto = np.mean(np.array(law) < end - 1e-9), np.mean(np.array(law) <= end + 1e-9)
        assert below - 0.02 <= probability <= upto + 0.02


@pytest.mark.parametrize("method", ["calibrated", "percentile", "basic", "bca"])
@pytest.mark.parametrize("function", [cvar, iqr])
def test_intervals_hold_the_value_and_calibrated_ones_are_wider(function: object, method: str) -> None:
    assert callable(function)
    tasks = [np.random.default_rng(env).normal(size=5) for env in range(4)]
    found = function(tasks, method=interval_method(method, 0.95, 4_000, 0))
    assert found.low < found.high
    if method == "calibrated":
        narrow = function(tasks, method=interval_method("percentile", 0.95, 4_000, 0))
        assert found.low <= found.value <= found.high
        assert found.high - found.low > narrow.high - narrow.low


def test_the_calibrated_cvar_reaches_lower_by_its_bias() -> None:
    """The worst quarter of 5 normal runs is too high on average: by what resamples show or by what normal runs would have."""
    scores = np.array([-1.5, -0.5, 0.1, 0.4, 1.5])
    found = cvar([scores], 0.25, interval_method("calibrated", 0.95, 20_000, 0))
    weights = np.array([0.8, 0.2, 0.0, 0.0, 0.0])
    rng = np.random.default_rng(0)
    of_five = np.mean(np.sort(rng.normal(size=(200_000, 5)), axis=1) @ weights)
    bias = float(scores.std(ddof=1)) * (of_five + stats.norm.pdf(stats.norm.ppf(0.25)) / 0.25)
    assert bias > 0.1
    draws = Draws(np.sort(scores[rng.integers(0, 5, size=(100_000, 5))], axis=1) @ weights)
    shown = float(draws.mean()) - found.value
    plain = interval_of(found.value, draws, [_influence(scores, weights)], interval_method("calibrated", 0.95, 100, 0))
    assert found.low == pytest.approx(plain[0] - max(bias, shown), abs=0.08)
    assert found.high == pytest.approx(plain[1], abs=0.08)


@pytest.mark.parametrize("function", [cvar, iqr])
def test_influences_are_what_moving_a_little_mass_to_a_run_does(function: object) -> None:
    """The definition of the influence function: the statistic of a sample with a run repeated, less the statistic."""
    assert callable(function)
    scores = np.sort(np.random.default_rng(3).normal(size=400))
    weights = _cvar_weights(400, 0.25) if function is cvar else _iqr_weights(400)
    mine = _influence(scores, weights)
    own = float(weights @ scores)
    added = []
    for place in range(10, 400, 25):
        many = np.sort(np.append(np.repeat(scores, 50), np.repeat(scores[place], 100)))
        law = _cvar_weights(len(many), 0.25) if function is cvar else _iqr_weights(len(many))
        added.append((float(law @ many) - own) / (100 / len(many)))
    there = mine[10::25]
    assert there - there.mean() == pytest.approx(np.array(added) - np.mean(added), abs=0.15 * np.ptp(added))


@given(
    st.integers(2, 60),
    st.sampled_from([0.5, 0.75, 0.9]),
    st.sampled_from([0.8, 0.95]),
    st.sampled_from(["both", "lower", "upper"]),
)
@settings(max_examples=80)
def test_tolerance_bands_claim_what_wilks_allows(runs: int, content: float, confidence: float, side: str) -> None:
    band = tolerance_band(np.arange(float(runs)), content, confidence, side=side)
    ends = 2 if side == "both" else 1
    # Wilks 1941: the r-th ends hold the share with probability P(Binomial(n, content) <= n - ends * r).
    attained = [stats.binom.cdf(runs - ends * rank, runs, content) for rank in range(1, runs // ends + 1)]
    possible = [rank for rank, found in enumerate(attained, start=1) if found >= confidence]
    assert (band.needed <= runs) == bool(possible)
    if possible:
        rank = max(possible)
        assert band.low == (-np.inf if side == "upper" else rank - 1)
        assert band.high == (np.inf if side == "lower" else runs - rank)
        assert band.confidence == pytest.approx(attained[rank - 1]) and band.confidence >= confidence
        assert band.attainable >= content - 1e-9
    else:
        assert np.isnan(band.low) and np.isnan(band.high)
        assert f"{runs} runs are too few" in band.note and band.attainable < content + 1e-9


def test_tolerance_bands_of_curves_are_pointwise() -> None:
    curves = np.random.default_rng(0).normal(size=(60, 4))
    band = tolerance_band(curves)
    for place in range(4):
        alone = tolerance_band(curves[:, place])
        assert (band.low[place], band.high[place]) == (float(alone.low), float(alone.high))
    assert tolerance_band(curves, 0.999, 0.95).needed == 4742  # the textbook's number
    for wrong in ({"content": 1.0}, {"confidence": 0.0}, {"side": "left"}):
        with pytest.raises(UsageError):
            tolerance_band(curves, **wrong)
    with pytest.raises(UsageError, match="not finite"):
        tolerance_band(np.array([1.0, np.nan]))


def test_tolerance_bands_hold_as_often_as_they_say() -> None:
    generator = np.random.default_rng(7)
    held = 0
    for _ in range(600):
        band = tolerance_band(generator.exponential(size=30), 0.8, 0.9, side="lower")
        held += np.exp(-float(band.low)) >= 0.8
    assert held / 600 >= 0.9 - 3 * np.sqrt(0.09 / 600)


def test_ranks_of_separate_groups_are_certain_and_equal_ones_share() -> None:
    groups = {"low": [np.arange(4.0)] * 2, "high": [np.arange(4.0) + 9] * 2, "also low": [np.arange(4.0)] * 2}
    found = rank_frequencies(groups, "mean", resamples=20_000)
    assert found.frequency[1].tolist() == [1.0, 0.0, 0.0]
    assert found.frequency[0, 1:] == pytest.approx([0.5, 0.5], abs=0.02)
    assert found.frequency.sum(axis=0) == pytest.approx(np.ones(3)) and found.frequency.sum(axis=1) == pytest.approx(np.ones(3))
    assert found.mean_rank == pytest.approx([2.5, 1.0, 2.5], abs=0.03)
    assert "not a posterior probability" in found.label
    ties = rank_frequencies({name: [np.ones(3)] for name in "abc"}, resamples=50)
    assert ties.frequency == pytest.approx(np.full((3, 3), 1 / 3))


def test_lower_is_better_for_the_optimality_gap() -> None:
    groups = {"good": [np.full(3, 0.9)], "bad": [np.full(3, 0.1)]}
    assert rank_frequencies(groups, "optimality-gap", resamples=20).frequency[0, 0] == 1.0
    assert rank_frequencies(groups, "iqm", resamples=20).frequency[0, 0] == 1.0


def test_two_groups_rank_as_often_as_resamples_say() -> None:
    """Against every pair of resamples of three and two runs."""
    first, second = np.array([0.0, 2.0, 4.0]), np.array([1.0, 3.0])
    better = [
        (np.mean(one) > np.mean(two)) + 0.5 * (np.mean(one) == np.mean(two))
        for one in itertools.product(first, repeat=3)
        for two in itertools.product(second, repeat=2)
    ]
    found = rank_frequencies({"A": [first], "B": [second]}, "mean", resamples=60_000)
    assert found.frequency[0, 0] == pytest.approx(np.mean(better), abs=0.015)


def test_ranks_within_environments_and_whatever_the_order_of_groups() -> None:
    groups = {"A": [np.arange(3.0) + 9, np.arange(3.0)], "B": [np.arange(3.0), np.arange(3.0) + 9]}
    found = rank_frequencies(groups, within_environments=True, resamples=200)
    assert found.frequency.tolist() == [[0.5, 0.5], [0.5, 0.5]] and found.name == "mean within each environment"
    generator = np.random.default_rng(0)
    groups = {name: [generator.normal(size=4)] for name in "abc"}
    turned = dict(reversed(list(groups.items())))
    once, again = rank_frequencies(groups, resamples=300), rank_frequencies(turned, resamples=300)
    assert once.frequency.tolist() == again.frequency[::-1].tolist()
    table = score_table({"A": {"Pong": [1.0, 2.0], "Ant": [1.0]}, "B": {"Pong": [3.0, 4.0, 5.0]}})
    ranked = rank_frequencies(table, resamples=50)
    assert ranked.groups == ("A", "B") and any("Ant" in note for note in ranked.notes)
    for wrong in ({"A": [first := np.arange(3.0)]}, {"A": [first], "B": [first, first]}, {"A": {"x": first}, "B": {"y": first}}):
        with pytest.raises(UsageError):
            rank_frequencies(wrong)


@pytest.mark.parametrize("within", [False, True])
def test_one_run_has_no_rank_frequencies(within: bool) -> None:
    """Drawn anew it is the same run: 1.0 for the first rank would be certainty from one seed."""
    found = rank_frequencies({"A": [np.array([2.0])], "B": [np.array([1.0, 3.0])]}, within_environments=within, resamples=50)
    assert np.isnan(found.frequency).all() and np.isnan(found.mean_rank).all() and found.value.tolist() == [2.0, 2.0]
    assert any("no rank frequencies" in note and note.endswith("of A") for note in found.notes)
