"""Intervals: the methods against their definitions, what is checked, what is said beside them, and when there is none."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrlb.errors import UsageError
from openrlb_analysis.aggregates import AGGREGATES
from openrlb_analysis.bootstrap import Draws, bootstrap
from openrlb_analysis.bounded import ceiling_gap, unseen_share
from openrlb_analysis.calibration import contributions, spread
from openrlb_analysis.intervals import (
    METHODS,
    aggregate_bounds,
    bootstrap_interval,
    curve_interval,
    difference_interval,
    interval_method,
    interval_note,
    interval_of,
    tails,
)
from openrlb_analysis.result import IntervalMethod

NAMES = ("iqm", "mean", "median", "optimality-gap")


def how(
    method: str = "calibrated", level: float = 0.95, resamples: int = 2_000, seed: int = 0, fewest: int = 3
) -> IntervalMethod:
    return interval_method(method, level, resamples, seed, fewest)


def ends(tasks: list[np.ndarray], name: str, method: IntervalMethod) -> tuple[float, float]:
    found = bootstrap_interval(tasks, name, method)
    assert found is not None
    return found


def test_note_is_the_words_that_scripts_look_for() -> None:
    assert interval_note("percentile", [10, 9]) == "percentile, too narrow below 10 seeds"
    assert interval_note("basic", [3]) == "basic, too narrow below 10 seeds"
    assert interval_note("percentile", [10, 11]) == "percentile"
    assert "fewer than 10 seeds" in interval_note("calibrated", [9]) and "fewer" not in interval_note("calibrated", [10])
    assert "the percentile interval stands in below 4 runs" in interval_note("bca", [10, 3])
    assert "stands in" not in interval_note("bca", [10, 4])
    assert interval_note("calibrated", [10], "iqm").endswith(
        "for the iqm of the score distributions that seeds are drawn from, environments fixed"
    )


@pytest.mark.parametrize(
    ("method", "level", "resamples", "seed", "fewest"),
    [("studentised", 0.95, 100, 0, 3), ("percentile", 0.0, 100, 0, 3), ("percentile", 1.0, 100, 0, 3), ("bca", 95.0, 100, 0, 3),
     ("basic", 0.95, 0, 0, 3), ("percentile", 0.95, 10, -1, 3), ("percentile", float("nan"), 10, 0, 3),
     ("calibrated", 0.95, 10, 0, 1)],
)  # fmt: skip
def test_refuses(method: str, level: float, resamples: int, seed: int, fewest: int) -> None:
    with pytest.raises(UsageError):
        interval_method(method, level, resamples, seed, fewest)


@pytest.mark.parametrize("method", METHODS)
def test_a_higher_level_is_wider(method: str) -> None:
    scores = [np.random.default_rng(0).normal(size=10)]
    wide, narrow = (ends(scores, "iqm", how(method, level)) for level in (0.99, 0.5))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    assert tails(0.95) == pytest.approx((0.025, 0.975), abs=1e-15)


def test_too_few_runs_anywhere_mean_no_interval() -> None:
    three = np.array([1.0, 2.0, 4.0])
    for method in METHODS:
        assert bootstrap_interval([np.array([1.0])], "mean", how(method)) is None
        assert bootstrap_interval([three, np.array([3.0])], "mean", how(method, fewest=2)) is None
        assert bootstrap_interval([three, np.array([3.0, 5.0])], "mean", how(method)) is None
        assert bootstrap_interval([], "mean", how(method)) is None
        assert bootstrap_interval([three, np.array([3.0, 5.0])], "mean", how(method, fewest=2)) is not None
    assert difference_interval([three], [np.array([3.0, 5.0])], "mean", how()) is None
    assert np.isnan(curve_interval(np.ones((2, 4)), "mean", how())).all()


def test_two_runs_on_request_are_very_wide() -> None:
    low, high = ends([np.array([1.0, 2.0])], "mean", how(fewest=2, resamples=50_000))
    assert 8 < high - low < 13  # the t interval of one degree of freedom: 12.7 on each side of a standard error of 0.5


@pytest.mark.parametrize("runs", [3, 5, 10])
def test_calibrated_is_the_formula_of_the_document(runs: int) -> None:
    """One environment, mean: distances from the resamples' mean, times sqrt(n / (n - 1)) t / z, and skewness outwards."""
    from scipy import stats

    scores = np.random.default_rng(runs).gamma(2.0, size=runs)
    draws = bootstrap([scores], ["mean"], resamples=2_000)["mean"]
    student = stats.t.ppf(0.975, runs - 1)
    factor = np.sqrt(runs / (runs - 1)) * student / stats.norm.ppf(0.975)
    low, high = np.quantile(draws, tails(0.95))
    error = scores.std(ddof=1) / np.sqrt(runs)
    skewness = stats.kstat(scores, 3) / stats.kstat(scores, 2) ** 1.5 / np.sqrt(runs)
    shift = skewness / 6 * (student**2 + 2) * error
    expected = (
        scores.mean() + factor * (low - draws.mean()) + min(shift, 0),
        scores.mean() + factor * (high - draws.mean()) + max(shift, 0),
    )
    assert ends([scores], "mean", how()) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", ["mean", "iqm"])
def test_basic_and_bca_are_scipys(name: str) -> None:
    """scipy's BCa takes its acceleration from the jackknife; for a mean that is the influence function's."""
    from scipy import stats

    scores = np.random.default_rng(5).gamma(1.5, size=12)
    statistic = {"mean": np.mean, "iqm": lambda x, axis: stats.trim_mean(x, 0.25, axis=axis)}[name]
    for method, theirs in (("basic", "basic"), ("bca", "BCa")):
        if (name, method) == ("iqm", "bca"):
            continue  # a jackknife of a trimmed mean trims another share
        result = stats.bootstrap((scores,), statistic, n_resamples=30_000, method=theirs, rng=np.random.default_rng(0))
        found = ends([scores], name, how(method, resamples=30_000))
        assert found == pytest.approx(tuple(result.confidence_interval), abs=0.06 * result.standard_error), method


def test_bca_without_meaning_is_the_percentile_interval() -> None:
    three, constant = [np.array([1.0, 2.0, 9.0])], [np.full(5, 2.0)]
    assert ends(three, "mean", how("bca")) == ends(three, "mean", how("percentile"))
    assert ends(constant, "mean", how("bca")) == (2.0, 2.0)
    four = [np.array([1.0, 2.0, 4.0, 9.0])]
    assert ends(four, "mean", how("bca")) != ends(four, "mean", how("percentile"))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NAMES)
def test_equal_runs_give_a_point(method: str, name: str) -> None:
    tasks = [np.full(4, 0.5), np.full(3, 0.25)]
    low, high = ends(tasks, name, how(method))
    assert low == high == pytest.approx({"optimality-gap": 0.625, "median": 0.375, "mean": 0.375}.get(name, low))


@given(
    st.integers(0, 10_000), st.floats(0.01, 100), st.floats(-100, 100), st.sampled_from(["iqm", "mean", "median"]),
    st.sampled_from(METHODS),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_scale_and_sign_change_the_interval_alike(seed: int, factor: float, shift: float, name: str, method: str) -> None:
    generator = np.random.default_rng(seed)
    tasks = [generator.gamma(1.0, size=size) for size in (5, 4, 10)]
    low, high = ends(tasks, name, how(method, resamples=200))
    moved = ends([scores * factor + shift for scores in tasks], name, how(method, resamples=200))
    assert moved == pytest.approx((low * factor + shift, high * factor + shift), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", ["iqm", "mean", "median"])
def test_the_interval_of_negated_scores_is_mirrored(name: str) -> None:
    """Long tails are treated alike on both sides; the draws differ, so that it holds within Monte-Carlo error."""
    tasks = [np.random.default_rng(seed).gamma(1.0, size=6) for seed in range(3)]
    low, high = ends(tasks, name, how(resamples=50_000))
    mirrored = ends([-scores for scores in tasks], name, how(resamples=50_000, seed=1))
    assert (-mirrored[1], -mirrored[0]) == pytest.approx((low, high), abs=0.04 * (high - low))


def test_a_gap_stays_in_its_bounds_and_has_a_width_at_the_ceiling() -> None:
    full = [np.array([1.0, 1.5, 2.0]), np.array([3.0, 1.0, 1.0])]
    assert ends(full, "optimality-gap", how()) == (0.0, ceiling_gap([3, 3]))
    assert ends(full, "optimality-gap", how("percentile")) == (0.0, 0.0)  # rliable's
    low, high = ends([np.array([1.0, 1.0, 0.9])], "optimality-gap", how())
    assert low == 0.0 < high
    against = difference_interval(full, [np.full(3, 0.5), np.full(3, 0.5)], "optimality-gap", how())
    assert against == pytest.approx((-0.5, -0.5 + ceiling_gap([3, 3])))


def test_a_difference_counts_both_groups_and_turns_with_them() -> None:
    generator = np.random.default_rng(3)
    first, second = [generator.normal(size=10)], [generator.normal(2.0, 3.0, size=4)]
    for name in NAMES:
        low, high = difference_interval(first, second, name, how(resamples=50_000)) or (np.nan, np.nan)
        back = difference_interval(second, first, name, how(resamples=50_000)) or (np.nan, np.nan)
        assert (-back[1], -back[0]) == pytest.approx((low, high), abs=0.03 * (high - low)), name
        assert high - low > ends(first, name, how())[1] - ends(first, name, how())[0]


def test_two_groups_of_equal_sizes_are_drawn_independently() -> None:
    """With the same draws for both groups the difference of a group and its copy would be a point."""
    scores = [np.random.default_rng(4).normal(size=8)]
    low, high = difference_interval(scores, scores, "mean", how("percentile")) or (0.0, 0.0)
    alone = ends(scores, "mean", how("percentile"))
    assert (high - low) / (alone[1] - alone[0]) == pytest.approx(np.sqrt(2), rel=0.1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NAMES)
def test_a_curve_has_the_intervals_of_its_positions(method: str, name: str) -> None:
    runs = np.random.default_rng(8).normal(size=(6, 4)).cumsum(axis=1)
    low, high = curve_interval(runs, name, how(method))
    for position in range(runs.shape[1]):
        alone = ends([runs[:, position]], name, how(method))
        assert (low[position], high[position]) == pytest.approx(alone, abs=1e-9)


def test_any_statistic_has_an_interval_through_its_contributions() -> None:
    tasks = [np.random.default_rng(6).normal(size=7), np.random.default_rng(7).normal(size=5)]
    draws = Draws(bootstrap(tasks, ["mean"], resamples=2_000)["mean"])
    parts = np.split(contributions("mean", np.concatenate(tasks), [7, 5]), [7])
    estimate = float(np.mean([scores.mean() for scores in tasks]))
    assert interval_of(estimate, draws, parts, how()) == pytest.approx(ends(tasks, "mean", how()), rel=1e-12)


def test_unequal_seeds_count_the_few_for_more() -> None:
    """3 runs against 10: fewer degrees of freedom than Welch's where the 3 make up much of the error; else the same."""
    from scipy import stats

    few, many = np.array([0.0, 1.0, 2.5]), np.random.default_rng(0).normal(size=10)
    parts = np.concatenate([contributions("mean", few, [3]), -contributions("mean", many, [10])])
    found = spread(parts, [3, 10])
    welch = stats.ttest_ind(few, many, equal_var=False)
    assert float(found.error) == pytest.approx(abs((few.mean() - many.mean()) / welch.statistic))
    assert 2 < float(found.degrees) < welch.df
    same = np.concatenate([contributions("mean", few, [3]), -contributions("mean", many[:3], [3])])
    assert float(spread(same, [3, 3]).degrees) == pytest.approx(stats.ttest_ind(few, many[:3], equal_var=False).df)


def test_no_warning_reaches_the_reader() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for method in METHODS:
            for name in NAMES:
                bootstrap_interval([np.full(5, 1.0), np.array([1.0, 1.0, 2.0, 2.0])], name, how(method, resamples=50))


# Ties, ceilings and bounds -------------------------------------------------------------------------------------------


def test_runs_that_differ_are_no_point_though_the_middle_ties() -> None:
    """Winsorised scores vanish at a ceiling; the interval does not, and holds what the percentile interval holds."""
    tied = np.array([0.0, 500.0, 500.0, 500.0, 500.0])
    low, high = ends([tied], "iqm", how())
    below, above = ends([tied], "iqm", how("percentile"))
    assert low < below < above == 500.0 <= high
    for many in (10, 12, 16, 20, 40):  # a bootstrap hardly ever draws the one or two that differ
        one = np.append(np.full(many - 1, 500.0), 0.0)
        two = np.append(np.full(many - 2, 500.0), [0.0, 1000.0])
        for scores in (one, two):
            low, high = ends([scores], "iqm", how())
            assert low < 500.0 <= high, many
    still = [np.full(5, 1.0), np.full(5, 2.0), np.array([3.0, 3.0, 9.0, 3.0, 3.0])]
    low, high = ends(still, "median", how())  # the environment in the middle does not vary
    assert low <= 2.0 < high


def test_two_groups_whose_middle_ties_are_not_told_apart() -> None:
    first, second = [np.array([0.0, 500.0, 500.0, 500.0, 500.0])], [np.array([499.0, 499.0, 499.0, 499.0, 10.0])]
    low, high = difference_interval(first, second, "iqm", how()) or (1.0, 1.0)
    assert low < -100 and high > 100
    low, high = difference_interval(first, [np.full(5, 499.0)], "iqm", how()) or (1.0, 1.0)
    assert low < 0 < high


def test_a_curve_and_pooled_environments_at_a_ceiling_have_a_width() -> None:
    runs = np.array([[0.0, 500.0], [500.0, 500.0], [500.0, 500.0], [500.0, 500.0], [500.0, 0.0]])
    low, high = curve_interval(runs, "iqm", how())
    assert (low < 350).all() and (high >= 500).all()
    pooled = [np.array([1.0, 1.0, 1.0]), np.array([1.0, 0.0, 1.0]), np.array([1.0, 1.0, 1.0])]
    low, high = ends(pooled, "iqm", how())
    assert low < 1.0 <= high


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=4, max_size=12), st.sampled_from(["iqm", "mean", "median"]))
@settings(max_examples=60, deadline=None)
def test_only_equal_runs_make_a_point(scores: list[float], name: str) -> None:
    low, high = ends([np.array(scores)], name, how(resamples=300))
    assert (low == high) == (min(scores) == max(scores))
    inside = bootstrap_interval([np.array(scores)], name, how(resamples=300), (0.0, 1.0))
    assert inside is not None and 0.0 <= inside[0] <= inside[1] <= 1.0
    assert inside[0] < inside[1]  # 12 equal runs leave the interquartile mean something to hide


@pytest.mark.parametrize("method", METHODS)
@given(
    st.lists(st.lists(st.floats(-1, 2), min_size=3, max_size=6), min_size=1, max_size=3), st.sampled_from(NAMES)
)  # fmt: skip
@settings(max_examples=15, deadline=None)
def test_bounded_scores_have_bounded_intervals(method: str, tasks: list[list[float]], name: str) -> None:
    arrays, bounds = [np.array(scores) for scores in tasks], (-1.0, 2.0)
    least, most = aggregate_bounds(name, bounds)
    low, high = bootstrap_interval(arrays, name, how(method, resamples=200), bounds) or (np.nan, np.nan)
    assert least <= low <= high <= most
    low, high = difference_interval(arrays, arrays[::-1], name, how(method, resamples=200), bounds) or (np.nan, np.nan)
    assert least - most - 1e-9 <= low <= high <= most - least + 1e-9


def test_equal_runs_at_a_bound_hide_what_so_few_can() -> None:
    full, share = [np.full(5, 500.0)], 1 - 0.025 ** (1 / 5)
    assert bootstrap_interval(full, "mean", how(), (0, 500)) == pytest.approx((500 - 500 * share, 500.0))
    assert bootstrap_interval(full, "iqm", how(), (0, 500)) == pytest.approx((500 - 500 * (2 * share - 0.5), 500.0))
    assert bootstrap_interval(full, "iqm", how("percentile"), (0, 500)) == (500.0, 500.0)  # rliable's
    assert bootstrap_interval(full, "mean", how(), (0, np.inf)) == (500.0, 500.0)  # nothing tells how far a mean may lie
    middle = bootstrap_interval([np.full(5, 0.5)], "mean", how(), (0, 1)) or (0, 0)
    assert middle == pytest.approx((0.5 - 0.5 * share, 0.5 + 0.5 * share))
    gap = bootstrap_interval([np.full(5, 1.0)], "optimality-gap", how(), (-1, 1)) or (0, 0)
    assert gap == pytest.approx((0.0, 2 * share))  # below 0 there is more to lose than gamma
    low, high = difference_interval(full, [np.full(5, 0.0)], "mean", how(), (0, 500)) or (0, 0)
    assert high == 500.0 and low == pytest.approx(500 - 500 * share * np.sqrt(2))
    curve = curve_interval(np.full((5, 2), 500.0), "mean", how(), (0, 500))
    assert curve[0] == pytest.approx([500 - 500 * share] * 2) and curve[1].tolist() == [500.0, 500.0]


def test_what_runs_hide_is_the_worst_case_that_is_left() -> None:
    """No distribution that gives 4 x 3 runs at the bound in 2.5 % of cases has an aggregate farther away."""
    sizes = [3] * 4
    generator = np.random.default_rng(0)
    for _ in range(200):
        free = generator.dirichlet(np.ones(4)) * -np.log(0.025) / 3  # the environments' -log(1 - p), which share what is left
        failing = 1 - np.exp(-free)
        pool = [np.where(np.arange(1000) < round(1000 * share), 0.0, 1.0) for share in failing]
        for name in ("mean", "iqm", "median"):
            assert 1 - AGGREGATES[name](pool) <= unseen_share(name, sizes) + 0.003, name


@pytest.mark.parametrize("bounds", [(1, 0), (0, 0), (0, float("nan")), (0, 0.5), (2, 3), (0, 1, 2)])
def test_bounds_that_are_none_are_refused(bounds: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="bounds"):
        bootstrap_interval([np.array([0.0, 0.5, 1.0])], "mean", how(), bounds)  # type: ignore[arg-type]
    rounded = np.array([1.0, 1.0, 1.0 + 1e-15])
    assert bootstrap_interval([rounded], "mean", how(), (0, 1)) is not None
