"""What the calibrated interval rests on: contributions, standard errors, degrees of freedom, cumulants."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrlb_analysis.aggregates import AGGREGATES
from openrlb_analysis.calibration import bca_probabilities, contributions, jackknife, shown_shares, spread

SIZES = (4, 10, 6)


def table(seed: int, sizes: tuple[int, ...] = SIZES) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.normal(place, 0.5, size=size) for place, size in enumerate(sizes)]


@pytest.mark.parametrize("name", ["mean", "optimality-gap", "iqm", "median"])
def test_contributions_are_the_derivative(name: str) -> None:
    """Moving one run by a little moves the aggregate by its contribution's own move, over the environment's runs."""
    tasks = [scores + 10 * place for place, scores in enumerate(table(1))]  # the median then follows one environment
    sizes = [len(scores) for scores in tasks]
    before = contributions(name, np.concatenate(tasks), sizes)
    slopes, expected, start = [], [], 0
    for env, scores in enumerate(tasks):
        for run in range(len(scores)):
            moved = [one.copy() for one in tasks]
            moved[env][run] += 1e-6
            slopes.append((AGGREGATES[name](moved) - AGGREGATES[name](tasks)) / 1e-6)
            after = contributions(name, np.concatenate(moved), sizes)
            own = (after - before)[start : start + len(scores)].sum() / len(scores)
            others = (after - before).sum() if name == "iqm" else 0.0
            expected.append(own / 1e-6 if not others else None)
        start += len(scores)
    if name == "iqm":  # a kept run's derivative is its weight among the kept; trimmed runs have none
        assert min(slopes) == pytest.approx(0, abs=1e-9) and sum(slopes) == pytest.approx(1)
    else:
        assert slopes == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("runs", [4, 8, 12, 20])
def test_the_error_of_a_trimmed_mean_is_tukeys(runs: int) -> None:
    from scipy.stats import mstats

    scores = np.random.default_rng(runs).standard_t(3, size=runs)
    found = spread(contributions("iqm", scores, [runs]), [runs])
    assert float(found.error) == pytest.approx(float(mstats.trimmed_stde(scores, limits=(0.25, 0.25))))
    assert float(found.degrees) == pytest.approx(runs - 1)


@given(st.integers(0, 1000), st.sampled_from(["iqm", "mean", "median", "optimality-gap"]))
@settings(max_examples=30, deadline=None)
def test_many_tables_at_once_are_the_tables_one_by_one(seed: int, name: str) -> None:
    scores = np.stack([np.concatenate(table(seed + step)) for step in range(3)])
    together = spread(contributions(name, scores, SIZES), SIZES)
    for index, row in enumerate(scores):
        alone = spread(contributions(name, row, SIZES), SIZES)
        for field in ("error", "resampled", "degrees", "skewness", "acceleration"):
            assert getattr(together, field)[index] == pytest.approx(float(getattr(alone, field)), rel=1e-9, abs=1e-12)


def test_the_jackknife_of_a_linear_statistic_is_its_contribution() -> None:
    tasks = table(2)
    parts = jackknife(lambda kept: AGGREGATES["mean"](kept), tasks)
    found = spread(np.concatenate(parts), SIZES)
    exact = spread(contributions("mean", np.concatenate(tasks), SIZES), SIZES)
    for field in ("error", "degrees", "skewness"):
        assert float(getattr(found, field)) == pytest.approx(float(getattr(exact, field)))


def test_cumulants_are_unbiased() -> None:
    """Over many samples of 3 and 5 exponential runs the third cumulant of the mean comes out right."""
    scores = np.random.default_rng(0).exponential(size=(200_000, 8))
    found = spread(contributions("mean", scores, [3, 5]), [3, 5])
    third = (found.skewness * found.error**3).mean()
    expected = (2 / 3**2 + 2 / 5**2) / 2**3  # an exponential's third cumulant is 2; a mean over two environments
    assert third == pytest.approx(expected, rel=0.05)
    assert (found.error**2).mean() == pytest.approx((1 / 3 + 1 / 5) / 4, rel=0.02)


def test_the_median_follows_the_environments_in_the_middle() -> None:
    tasks = [np.random.default_rng(0).normal(place * 100, 1, size=5) for place in range(5)]
    part = contributions("median", np.concatenate(tasks), [5] * 5).reshape(5, 5)
    assert part.std(axis=1) == pytest.approx([0, 0, tasks[2].std(), 0, 0])
    even = contributions("median", np.concatenate(tasks[:4]), [5] * 4).reshape(4, 5)
    assert even.std(axis=1) == pytest.approx([0, tasks[1].std() / 2, tasks[2].std() / 2, 0])


def test_bca_says_where_it_has_no_meaning() -> None:
    assert np.isnan(bca_probabilities(0.0, 0.1, 0.95)).all()
    assert np.isnan(bca_probabilities(1.0, 0.1, 0.95)).all()
    assert np.isnan(bca_probabilities(0.5, np.nan, 0.95)).all()
    assert np.isnan(bca_probabilities(0.5, 0.6, 0.95)[1])
    low, high = bca_probabilities(0.6, 0.05, 0.95)
    assert 0.025 < float(low) < float(high) and float(high) > 0.975


@pytest.mark.parametrize("runs", [4, 5, 10, 23])
def test_resamples_of_a_trimmed_mean_vary_more_than_new_runs(runs: int) -> None:
    """Against simulated studies and their resamples, drawn one by one."""
    generator = np.random.default_rng(runs)
    cut = runs // 4
    scores = generator.normal(size=(4_000, runs))
    drawn = np.take_along_axis(scores[:, None, :], generator.integers(0, runs, (4_000, 100, runs)), axis=2)
    resampled = np.sort(drawn, axis=2)[..., cut : runs - cut].mean(axis=2).var(axis=1, ddof=1).mean()
    new = np.sort(generator.normal(size=(200_000, runs)), axis=1)[:, cut : runs - cut].mean(axis=1).var()
    (share,) = shown_shares("iqm", [runs])
    assert share * (runs - 1) / runs == pytest.approx(resampled / new, rel=0.05)
    assert share > 1.0 and (runs > 10 or resampled > new)  # those of a mean vary less
    assert shown_shares("mean", [runs]) == [1.0] and shown_shares("iqm", [runs, runs]) == [1.0, 1.0]
