"""The bootstrap: rliable's law within Monte-Carlo error, the exact law where it can be counted, repeatable bytes."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrlb_analysis.aggregates import AGGREGATES
from openrlb_analysis.bootstrap import Statistic, bootstrap, bootstrap_curve, draw_runs

NAMES = tuple(AGGREGATES)
ENDS = (0.025, 0.975)


def interval(tasks: Sequence[np.ndarray], name: str, resamples: int = 50_000, seed: int = 0) -> np.ndarray:
    return np.quantile(bootstrap(tasks, [name], resamples=resamples, seed=seed)[name], ENDS)


def rliable_interval(matrix: np.ndarray, resamples: int) -> tuple[np.ndarray, np.ndarray]:
    """rliable's point estimates and intervals of the four aggregates; its global random state is the only one it heeds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from rliable import library, metrics

        functions = (metrics.aggregate_iqm, metrics.aggregate_mean, metrics.aggregate_median, metrics.aggregate_optimality_gap)
        np.random.seed(7)
        points, ends = library.get_interval_estimates(
            {"a": matrix}, lambda scores: np.array([function(scores) for function in functions]), reps=resamples
        )
    return points["a"], ends["a"]


@pytest.mark.parametrize("shape", [(10, 6), (5, 11), (8, 1)], ids=["10x6", "5x11", "8x1"])
def test_rliable_in_the_same_process(shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(3).gamma(2.0, 0.4, size=shape)
    resamples = 4_000
    points, ends = rliable_interval(matrix, resamples)
    draws = bootstrap(list(matrix.T), NAMES)
    for index, name in enumerate(NAMES):
        assert AGGREGATES[name](list(matrix.T)) == pytest.approx(points[index], abs=1e-12)
        # An end at 2.5 % of 4,000 draws is off by about 0.042 standard deviations (density 0.058); allow five times that.
        allowed = 5 * 0.042 * draws[name].std()
        assert np.quantile(draws[name], ENDS) == pytest.approx(ends[:, index], abs=allowed), name


def test_a_transposed_matrix_gives_another_interval() -> None:
    """Environments far apart, runs alike: resampling runs within environments says nearly nothing changes."""
    matrix = np.random.default_rng(0).normal(scale=0.01, size=(5, 4)) + np.array([0.0, 1.0, 2.0, 7.0])
    _, ends = rliable_interval(matrix, 2_000)
    low, high = interval(list(matrix.T), "median", 5_000)
    wrong_low, wrong_high = interval(list(matrix), "median", 5_000)
    assert (low, high) == pytest.approx(ends[:, 2], abs=0.003)
    assert high - low < 0.05 < 1.0 < wrong_high - wrong_low


@pytest.mark.parametrize("name", NAMES)
def test_the_exact_law_of_a_ragged_table(name: str) -> None:
    """Every resample of 3 + 2 runs counted: 3^3 * 2^2 = 108 equally likely ones."""
    tasks = [np.array([0.1, 0.35, 0.9]), np.array([0.2, 1.4])]
    choices = [[np.array(part) for part in itertools.product(scores, repeat=len(scores))] for scores in tasks]
    law = [AGGREGATES[name]([first, second]) for first in choices[0] for second in choices[1]]
    draws = bootstrap(tasks, [name], resamples=100_000)[name]
    for value in sorted({round(value, 9) for value in law}):
        expected = np.mean(np.array(law) <= value + 1e-7)
        assert np.mean(draws <= value + 1e-7) == pytest.approx(expected, abs=5 * 0.5 / np.sqrt(100_000))


@given(
    st.lists(st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=6), min_size=1, max_size=5),
    st.sampled_from(NAMES),
    st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_each_draw_is_the_aggregate_of_its_runs(tasks: list[list[float]], name: str, seed: int) -> None:
    arrays = [np.array(scores) for scores in tasks]
    statistic = Statistic(name, arrays)
    flat, ends = np.concatenate(arrays), np.cumsum([len(scores) for scores in arrays])
    for chunk in draw_runs([len(scores) for scores in arrays], 8, seed):
        found = statistic.of(chunk)
        for row, value in zip(chunk.astype(int), found, strict=True):
            starts = [0, *ends[:-1]]
            for start, end in zip(starts, ends, strict=True):
                assert ((row[start:end] >= start) & (row[start:end] < end)).all()
            drawn = [flat[row[start:end]] for start, end in zip(starts, ends, strict=True)]
            assert value == pytest.approx(AGGREGATES[name](drawn), abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_same_inputs_same_bytes_whatever_the_order_of_runs(name: str) -> None:
    generator = np.random.default_rng(1)
    tasks = [generator.normal(size=size) for size in (5, 10, 5, 7)]
    once = bootstrap(tasks, [name], resamples=3_000, seed=5)[name]
    again = bootstrap([scores[::-1] for scores in tasks], NAMES, resamples=3_000, seed=5)[name]
    assert once.tobytes() == again.tobytes()
    assert once.tobytes() != bootstrap(tasks, [name], resamples=3_000, seed=6)[name].tobytes()


@given(st.floats(0.01, 100), st.floats(-100, 100), st.sampled_from(["iqm", "mean", "median"]))
@settings(max_examples=20, deadline=None)
def test_a_change_of_scale_changes_the_interval_alike(factor: float, shift: float, name: str) -> None:
    generator = np.random.default_rng(2)
    tasks = [generator.normal(size=size) for size in (6, 4, 6)]
    moved = interval([scores * factor + shift for scores in tasks], name, 500)
    assert moved == pytest.approx(interval(tasks, name, 500) * factor + shift, rel=1e-9, abs=1e-9)


def test_ragged_code_agrees_with_full_code_where_runs_are_equally_many() -> None:
    generator = np.random.default_rng(4)
    tasks = [generator.normal(size=6) for _ in range(5)]
    full, forced = Statistic("iqm", tasks), Statistic("iqm", tasks)
    forced._equal = False
    for chunk in draw_runs([6] * 5, 2_000, 0):
        assert forced.of(chunk) == pytest.approx(full.of(chunk), abs=1e-12)


def test_large_tables_need_wider_integers() -> None:
    sizes = [300, 2, 300]
    drawn = np.concatenate(list(draw_runs(sizes, 2_000, 0)))
    assert drawn.dtype.itemsize > 1
    assert drawn[:, :300].min() == 0 and drawn[:, :300].max() == 299
    assert set(np.unique(drawn[:, 300:302])) == {300, 301}
    assert drawn[:, 302:].min() == 302 and drawn[:, 302:].max() == 601
    # Each run of an environment is drawn equally often.
    counts = np.bincount(drawn[:, :300].ravel().astype(int), minlength=300)
    assert counts.std() / counts.mean() < 2 / np.sqrt(2_000)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("runs", [2, 5, 10, 23])
def test_a_curve_has_the_same_intervals_as_its_positions(name: str, runs: int) -> None:
    curves = np.random.default_rng(8).normal(size=(runs, 4)).cumsum(axis=1)
    band = bootstrap_curve(curves, name, ENDS, resamples=3_000, seed=3)
    for position in range(curves.shape[1]):
        assert band[:, position] == pytest.approx(interval([curves[:, position]], name, 3_000, 3), abs=1e-10)
