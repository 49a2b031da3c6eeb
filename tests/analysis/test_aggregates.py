"""Point estimates: equal to rliable on a full matrix, and right by hand on a ragged one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrlb.errors import UsageError
from openrlb_analysis.aggregates import AGGREGATES, aggregate_name, iqm, mean, median, optimality_gap, run_weights

SCORES = st.floats(-1e6, 1e6)
TASKS = st.lists(st.lists(SCORES, min_size=1, max_size=12), min_size=1, max_size=8)


def arrays(tasks: Sequence[Sequence[float]]) -> list[np.ndarray]:
    return [np.array(scores, dtype=float) for scores in tasks]


def exact_iqm(tasks: Sequence[Sequence[float]]) -> float:
    """The definition in exact arithmetic: drop the longest prefix of whole runs up to a quarter from each end."""
    items = sorted((value, Fraction(1, len(scores))) for scores in tasks for value in scores)
    quarter = sum(weight for _, weight in items) / 4
    kept = list(items)
    for end in (0, -1):
        dropped = Fraction(0)
        while dropped + kept[end][1] <= quarter:
            dropped += kept.pop(end)[1]
    return float(sum(Fraction(value) * weight for value, weight in kept) / sum(weight for _, weight in kept))


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(1, 9), st.integers(0, 2**32 - 1), st.booleans())
def test_equal_to_rliable_on_a_full_matrix(runs: int, tasks: int, seed: int, ties: bool) -> None:
    from rliable import metrics

    generator = np.random.default_rng(seed)
    matrix = generator.integers(0, 4, size=(runs, tasks)) / 3 if ties else generator.normal(0.5, 1, size=(runs, tasks))
    columns = list(matrix.T)
    assert iqm(columns) == pytest.approx(metrics.aggregate_iqm(matrix), abs=1e-12)
    assert mean(columns) == pytest.approx(metrics.aggregate_mean(matrix), abs=1e-12)
    assert median(columns) == pytest.approx(metrics.aggregate_median(matrix), abs=1e-12)
    assert optimality_gap(columns) == pytest.approx(metrics.aggregate_optimality_gap(matrix), abs=1e-12)


@settings(deadline=None)
@given(TASKS)
def test_iqm_follows_its_definition(tasks: list[list[float]]) -> None:
    assert iqm(arrays(tasks)) == pytest.approx(exact_iqm(tasks), rel=1e-12, abs=1e-9)


@settings(deadline=None)
@given(TASKS, st.randoms(use_true_random=False), st.sampled_from(sorted(AGGREGATES)))
def test_order_of_runs_and_environments_changes_nothing(tasks: list[list[float]], random: object, name: str) -> None:
    mixed = [random.sample(scores, len(scores)) for scores in tasks]  # type: ignore[attr-defined]
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert AGGREGATES[name](arrays(mixed)) == pytest.approx(AGGREGATES[name](arrays(tasks)), rel=1e-9, abs=1e-6)


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(-1000, 1000).map(float), min_size=1, max_size=12), min_size=1, max_size=8),
    st.sampled_from([0.125, 0.5, 2.0, 64.0]),  # exact, so that rounding makes no new ties
    st.integers(-1000, 1000),
    st.sampled_from(["iqm", "mean", "median"]),
)
def test_a_change_of_scale_changes_the_number_alike(tasks: list[list[float]], factor: float, shift: int, name: str) -> None:
    moved = [scores * factor + shift for scores in arrays(tasks)]
    assert AGGREGATES[name](moved) == pytest.approx(AGGREGATES[name](arrays(tasks)) * factor + shift, rel=1e-9, abs=1e-9)


@settings(deadline=None)
@given(TASKS, st.sampled_from(["iqm", "mean", "median"]))
def test_the_number_lies_among_the_scores(tasks: list[list[float]], name: str) -> None:
    flat = [value for scores in tasks for value in scores]
    assert min(flat) - 1e-9 <= AGGREGATES[name](arrays(tasks)) <= max(flat) + 1e-9


@settings(deadline=None)
@given(st.lists(st.lists(SCORES, min_size=1, max_size=5), min_size=1, max_size=5), st.integers(2, 3))
def test_repeating_every_run_changes_no_mean_and_no_median(tasks: list[list[float]], times: int) -> None:
    for name in ("mean", "median"):
        again = AGGREGATES[name](arrays([scores * times for scores in tasks]))
        assert again == pytest.approx(AGGREGATES[name](arrays(tasks)), rel=1e-9, abs=1e-6)


def test_every_environment_counts_equally() -> None:
    many, few = np.zeros(100), np.ones(2)
    assert mean([many, few]) == 0.5
    assert iqm([many, few]) == pytest.approx(0.5)


def test_a_transposed_matrix_gives_another_median() -> None:
    matrix = np.array([[0.0, 1.0, 5.0], [2.0, 1.0, 9.0]])  # 2 runs of 3 environments
    assert median(list(matrix.T)) == 1.0  # of the environments' means 1, 1, 7
    assert median(list(matrix)) == 3.0  # of the runs' means: the published mistake


def test_weights_too_large_for_whole_numbers_still_make_equal_environments() -> None:
    sizes = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61]
    weights = run_weights(sizes)
    assert weights.dtype == np.float64
    assert weights * np.array(sizes) == pytest.approx(np.ones(len(sizes)))
    generator = np.random.default_rng(0)
    tasks = [generator.normal(size=size).tolist() for size in sizes]
    assert iqm(arrays(tasks)) == pytest.approx(exact_iqm(tasks), abs=1e-9)


@settings(deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=9))
def test_whole_weights_are_exact(sizes: list[int]) -> None:
    weights = run_weights(sizes)
    totals = weights * np.array(sizes)
    assert weights.dtype == np.int64
    assert len(set(totals.tolist())) == 1
    assert totals[0] == math.lcm(*sizes)


def test_unknown_aggregate() -> None:
    with pytest.raises(UsageError, match="no aggregate 'max'"):
        aggregate_name("max")
