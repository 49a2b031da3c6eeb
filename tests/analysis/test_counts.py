"""Counted resamples: the same law as drawn runs, and each is the aggregate of the runs it counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrlb_analysis.aggregates import AGGREGATES, mean
from openrlb_analysis.bootstrap import bootstrap, bootstrap_curves, resampled_means
from openrlb_analysis.counts import CountStatistic, draw_counts, with_doubles

NAMES = tuple(AGGREGATES)
SCORES = st.lists(st.integers(-5, 5).map(lambda whole: whole / 10), min_size=1, max_size=7)


@given(st.lists(SCORES, min_size=1, max_size=5), st.sampled_from(NAMES), st.integers(0, 99))
@settings(max_examples=80)
def test_each_resample_is_the_aggregate_of_the_runs_it_counts(tasks: list[list[float]], name: str, seed: int) -> None:
    arrays = [np.array(scores) for scores in tasks]
    statistic, sizes = CountStatistic(name, arrays), [len(scores) for scores in arrays]
    for _, counts, doubles in with_doubles(sizes, 8, seed):
        found = statistic.of(counts, doubles)
        for column, value in zip(counts.T, found, strict=True):
            drawn = [np.repeat(one, times) for one, times in zip(arrays, np.split(column, np.cumsum(sizes)[:-1]), strict=True)]
            assert [len(one) for one in drawn] == sizes
            assert value == pytest.approx(AGGREGATES[name](drawn), abs=1e-12)


@pytest.mark.parametrize("size", [1, 2, 3, 8, 9, 10, 16, 17, 32, 33, 300])
def test_every_run_is_drawn_equally_often_and_draws_are_independent(size: int) -> None:
    """Counts of one environment are multinomial: mean 1, variance 1 - 1 / n, covariance -1 / n."""
    counts = np.concatenate([chunk.copy() for chunk in draw_counts([size, 2], 20_000, 3)], axis=1).astype(float)
    assert (counts[:size].sum(axis=0) == size).all() and (counts[size:].sum(axis=0) == 2).all()
    assert counts[:size].mean(axis=1) == pytest.approx(np.ones(size), abs=6 / np.sqrt(20_000))
    assert counts[:size].var(axis=1) == pytest.approx(np.full(size, 1 - 1 / size), abs=0.12)
    if size > 1:
        assert np.cov(counts[0], counts[1])[0, 1] == pytest.approx(-1 / size, abs=6 / np.sqrt(20_000))
    assert abs(np.cov(counts[0], counts[-1])[0, 1]) < 6 / np.sqrt(20_000)


def test_many_environments_of_many_sizes_need_no_whole_weights() -> None:
    """Sizes whose least common multiple passes 62 bits: weights are doubles then."""
    generator = np.random.default_rng(0)
    tasks = [generator.normal(size=size) for size in (7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59)]
    statistic = CountStatistic("iqm", tasks)
    for _, counts, doubles in with_doubles([len(scores) for scores in tasks], 3, 0):
        for column, value in zip(counts.T, statistic.of(counts, doubles), strict=True):
            parts = np.split(column, np.cumsum([len(scores) for scores in tasks])[:-1])
            drawn = [np.repeat(one, times) for one, times in zip(tasks, parts, strict=True)]
            assert value == pytest.approx(AGGREGATES["iqm"](drawn), abs=1e-9)


def test_a_score_far_out_costs_no_digit() -> None:
    """Sums of gaps would lose the small scores beside 1e15, were they laid off from the largest."""
    tasks = [np.array([0.1, 0.2, 0.3, 0.4, 1e15, 1e15, 0.5, 0.6])]
    draws = bootstrap(tasks, ["iqm"], resamples=2_000)["iqm"]
    usual = draws[np.abs(draws) < 1]
    assert len(usual) > 1_200
    assert np.abs(usual * 40 - np.round(usual * 40)).max() < 1e-9  # means of four tenths


@pytest.mark.parametrize("name", NAMES)
def test_equal_scores_come_back_unrounded(name: str) -> None:
    draws = bootstrap([np.full(10, 0.1)] * 26, [name], resamples=500)[name]
    expected = AGGREGATES[name]([np.full(10, 0.1)] * 26)
    assert draws.min() == draws.max() == pytest.approx(expected, abs=1e-15)


def test_means_of_environments_are_what_the_mean_is_over() -> None:
    tasks = [np.sort(np.random.default_rng(1).normal(size=size)) for size in (4, 6)]
    means = resampled_means(tasks, resamples=1_000, seed=4)
    assert means.mean(axis=0) == pytest.approx(bootstrap(tasks, ["mean"], resamples=1_000, seed=4)["mean"], abs=1e-12)
    assert means.mean(axis=1) == pytest.approx([mean([scores]) for scores in tasks], abs=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_one_draw_of_runs_serves_every_position_of_their_curves(name: str) -> None:
    generator = np.random.default_rng(5)
    tables = [generator.normal(size=(size, 3)).cumsum(axis=1) for size in (4, 6)]
    draws = bootstrap_curves(tables, name, resamples=300, seed=2)
    for position in range(3):
        column = [table[:, position] for table in tables]
        statistic = CountStatistic(name, column)
        alone = np.concatenate([statistic.of(counts, doubles) for _, counts, doubles in with_doubles([4, 6], 300, 2)])
        assert draws[position] == pytest.approx(alone, abs=1e-12)
    # Shifting one position by a constant shifts its draws by it: the same runs are meant at both.
    doubled = bootstrap_curves([np.hstack([table, table[:, :1] + 1.0]) for table in tables], "mean", resamples=300, seed=2)
    assert doubled[3] - doubled[0] == pytest.approx(np.ones(300), abs=1e-12)
