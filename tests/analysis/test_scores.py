"""Scores on plain arrays: bins, windows, and what a value that is not finite does."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrlb.errors import SelectionError, UsageError
from openrlb_analysis.rules import parse_rule
from openrlb_analysis.scores import best_of_mean_curve, bin_means, bin_of, mean_per_step, score, score_stepless

STEPS = st.lists(st.integers(0, 10**12), min_size=1, max_size=60).map(lambda steps: np.array(sorted(steps), dtype=np.int64))


def scored(text: str, steps: list[int], values: list[float], cut: int) -> tuple[float | None, int]:
    one = score(np.array(steps), np.array(values, dtype=float), cut, parse_rule(text))
    return one.value, one.points


@settings(deadline=None)
@given(STEPS, st.integers(1, 10**12), st.integers(1, 1000))
def test_bins_hold_the_steps_between_their_edges(steps: np.ndarray, cut: int, bins: int) -> None:
    for step, index in zip(steps.tolist(), bin_of(steps, cut, bins).tolist(), strict=True):
        if step == 0:
            assert index == -1
        else:
            assert Fraction(cut * index, bins) < step <= Fraction(cut * (index + 1), bins)


@settings(deadline=None)
@given(STEPS, st.integers(1, 10**12), st.data())
def test_bin_means_are_means(steps: np.ndarray, cut: int, data: st.DataObject) -> None:
    values = np.array(data.draw(st.lists(st.floats(-1e6, 1e6), min_size=len(steps), max_size=len(steps))))
    means = bin_means(steps, values, cut, bins=10)
    index = bin_of(steps, cut, 10)
    for place in range(10):
        inside = values[index == place]
        assert means[place] == pytest.approx(inside.mean(), abs=1e-6) if len(inside) else math.isnan(means[place])


def test_final_window_is_open_below_and_closed_above() -> None:
    assert scored("final:10%", [900, 901, 1000, 1001], [1, 2, 4, 8], 1000) == (3.0, 2)
    assert scored("final:100%", [0, 500, 1000], [100, 2, 4], 1000) == (3.0, 2)


def test_final_averages_bins_not_points() -> None:
    # Three points in the first hundredth of the window, one in the last: dense logging weighs no more.
    assert scored("final:10%", [901, 902, 903, 1000], [0, 0, 0, 10], 1000) == (5.0, 4)


def test_final_window_without_points_has_no_value() -> None:
    assert scored("final:3%", [100, 960], [1, 2], 1000) == (None, 0)


def test_last_and_at_take_the_last_point_at_or_before() -> None:
    steps, values = [10, 20, 30], [1, 2, 3]
    assert scored("last", steps, values, 30) == (3.0, 1)
    assert scored("last", steps, values, 29) == (2.0, 1)
    assert scored("at:20", steps, values, 30) == (2.0, 1)
    assert scored("at:25", steps, values, 22) == (2.0, 1)
    assert scored("at:9", steps, values, 30) == (None, 0)


def test_mean_and_auc_differ_where_points_are_uneven() -> None:
    steps, values = [0, 10, 100], [0.0, 10.0, 10.0]
    assert scored("mean", steps, values, 100) == (pytest.approx(20 / 3), 3)
    assert scored("auc", steps, values, 100) == (pytest.approx((50 + 900) / 100), 3)
    assert scored("auc", [5], [7.0], 100) == (7.0, 1)
    assert scored("auc", [5, 5], [7.0, 9.0], 100) == (8.0, 2)


def test_best_per_run_looks_no_further_than_the_cut() -> None:
    assert scored("best-per-run", [1, 2, 3], [1, 5, 9], 2) == (5.0, 2)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("rule", ["final:10%", "last", "at:100", "mean", "auc", "best-per-run"])
def test_a_value_that_is_not_finite_makes_the_score_nan(rule: str, bad: float) -> None:
    value, _ = scored(rule, [50, 95, 100], [1, 2, bad], 100)
    assert value is not None and math.isnan(value)


def test_a_value_before_the_window_changes_nothing() -> None:
    assert scored("final:10%", [50, 95, 100], [math.nan, 2, 4], 100) == (3.0, 2)
    assert scored("last", [50, 95, 100], [math.nan, 2, 4], 100) == (4.0, 1)


def test_overflow_counts_as_divergence_without_a_warning() -> None:
    value, _ = scored("final:10%", [95, 96, 100, 100], [1e308, 1e308, 1e308, 1e308], 100)
    assert value is not None and math.isnan(value)
    value, _ = scored("final:10%", [95, 100], [math.inf, -math.inf], 100)
    assert value is not None and math.isnan(value)


def test_best_of_mean_curve_takes_each_run_at_the_common_best_step() -> None:
    steps = np.array([1, 2, 3])
    runs = [(steps, np.array([9.0, 4.0, 0.0])), (steps, np.array([0.0, 6.0, 9.5]))]
    # The means are 4.5, 5, 4.75: step 2, though each run was better elsewhere.
    assert [one.value for one in best_of_mean_curve(runs, 3)] == [4.0, 6.0]
    assert [one.value for one in best_of_mean_curve(runs, 1)] == [9.0, 0.0]


def test_best_of_mean_curve_takes_the_first_of_equal_points() -> None:
    steps = np.array([1, 2])
    runs = [(steps, np.array([3.0, 1.0])), (steps, np.array([1.0, 3.0]))]
    assert [one.value for one in best_of_mean_curve(runs, 2)] == [3.0, 1.0]


def test_best_of_mean_curve_without_common_steps_uses_bins() -> None:
    odd, even = np.arange(1, 200, 2), np.arange(2, 201, 2)
    runs = [(odd, odd.astype(float)), (even, even.astype(float))]
    assert [one.value for one in best_of_mean_curve(runs, 200)] == [199.0, 200.0]


def test_best_of_mean_curve_is_not_misled_by_one_step_in_common() -> None:
    one, other = np.array([1, 11, 101, 199]), np.array([1, 12, 102, 200])
    runs = [(one, np.array([0.0, 1, 2, 3])), (other, np.array([0.0, 1, 2, 3]))]
    assert [found.value for found in best_of_mean_curve(runs, 200)] == [3.0, 3.0]


def test_best_of_mean_curve_leaves_a_diverged_run_out_of_the_mean() -> None:
    steps = np.array([1, 2])
    runs = [(steps, np.array([1.0, 2.0])), (steps, np.array([5.0, math.nan])), (steps[:0], np.array([]))]
    found = [one.value for one in best_of_mean_curve(runs, 2)]
    assert found[0] == 2.0 and found[1] is not None and math.isnan(found[1]) and found[2] is None


def test_best_of_mean_curve_refuses_runs_without_a_common_place() -> None:
    runs = [(np.array([10]), np.array([1.0])), (np.array([90]), np.array([1.0]))]
    with pytest.raises(SelectionError):
        best_of_mean_curve(runs, 100)


def test_stepless_values() -> None:
    assert score_stepless(np.array([7.0]), parse_rule("last")).value == 7.0
    assert score_stepless(np.array([1.0, 3.0]), parse_rule("final:10%")).value == 2.0
    assert score_stepless(np.array([1.0, 3.0]), parse_rule("best-per-run")).value == 3.0
    assert score_stepless(np.array([]), parse_rule("mean")).value is None
    for rule in ("last", "auc", "at:5", "best-of-mean-curve"):
        with pytest.raises(UsageError, match="has no meaning"):
            score_stepless(np.array([1.0, 3.0]), parse_rule(rule))


def test_best_of_mean_curve_cannot_score_one_run() -> None:
    with pytest.raises(UsageError):
        scored("best-of-mean-curve", [1], [1.0], 1)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.floats(-10, 10)), min_size=1, max_size=20))
def test_mean_per_step(points: list[tuple[int, float]]) -> None:
    points.sort(key=lambda point: point[0])
    steps, values = mean_per_step(np.array([step for step, _ in points]), np.array([value for _, value in points]))
    assert steps.tolist() == sorted({step for step, _ in points})
    for step, value in zip(steps.tolist(), values.tolist(), strict=True):
        assert value == pytest.approx(np.mean([one for at, one in points if at == step]), abs=1e-9)
