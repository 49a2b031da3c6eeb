"""rliable itself on the same scores, and our numbers beside its on Atari-100k and on random matrices."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from openrlb.errors import UsageError
from openrlb_analysis.aggregates import AGGREGATES
from openrlb_analysis.bootstrap import bootstrap
from openrlb_analysis.engine import full_matrix, rliable_curve, rliable_estimate, rliable_improvement, rliable_profile
from openrlb_analysis.estimates import estimate
from openrlb_analysis.improvement import improvement_draws, probability_of_improvement, wins
from openrlb_analysis.intervals import interval_method
from openrlb_analysis.profiles import mean_profile, performance_profile

NAMES = tuple(AGGREGATES)
OURS = interval_method("percentile", 0.95, 50_000, 0)


def theirs(resamples: int, method: str = "percentile", seed: int = 0) -> object:
    return interval_method(method, 0.95, resamples, seed)


@pytest.fixture
def atari(shared_data: Path) -> dict[str, list[np.ndarray]]:
    """Human-normalised scores: 26 games, 100 seeds each."""
    folder = shared_data / "atari100k_rliable"
    reference = json.loads((folder / "atari_reference_scores.json").read_text())
    scale = {_plain(game): (low, reference["human"][game]) for game, low in reference["random"].items()}
    loaded = {}
    for algo in ("SPR", "DrQ_eps", "DER"):
        raw = json.loads((folder / f"atari_100k_{algo}.json").read_text())
        tasks = []
        for game in sorted(raw):
            low, high = scale[_plain(game)]
            tasks.append((np.array(raw[game], dtype=float) - low) / (high - low))
        loaded[algo] = tasks
    return loaded


def _plain(game: str) -> str:
    return game.lower().replace("_", "")


def test_atari_100k_points_are_rliables(atari: dict[str, list[np.ndarray]]) -> None:
    for tasks in atari.values():
        found = rliable_estimate(tasks, NAMES, theirs(2))  # type: ignore[arg-type]
        for name in NAMES:
            assert AGGREGATES[name](tasks) == pytest.approx(found[name].value, abs=1e-9)


def test_atari_100k_interval_ends_on_ten_seeds(atari: dict[str, list[np.ndarray]]) -> None:
    tasks = [scores[:10] for scores in atari["SPR"]]
    reps = 2_000
    found, ours = rliable_estimate(tasks, NAMES, theirs(reps)), estimate(tasks, NAMES, OURS)  # type: ignore[arg-type]
    draws = bootstrap(tasks, NAMES, resamples=5_000)
    for name in NAMES:
        assert ours[name].value == pytest.approx(found[name].value, abs=1e-9)
        allowed = 5 * 0.06 * draws[name].std()  # 0.06: an end's error with 2,000 draws, in standard deviations
        assert (ours[name].low, ours[name].high) == pytest.approx((found[name].low, found[name].high), abs=allowed)


def test_atari_100k_probability_of_improvement(atari: dict[str, list[np.ndarray]]) -> None:
    """The printed numbers of rliable's notebook, and its intervals on ten seeds."""
    few = interval_method("percentile", 0.95, 100, 0)
    assert probability_of_improvement(atari["SPR"], atari["DER"], few).value == pytest.approx(0.6858, abs=5e-5)
    assert probability_of_improvement(atari["SPR"], atari["DrQ_eps"], few).value == pytest.approx(0.6170, abs=5e-5)
    first, second = ([scores[:10] for scores in atari[algo]] for algo in ("SPR", "DER"))
    found = rliable_improvement(first, second, theirs(150))  # type: ignore[arg-type]
    ours = probability_of_improvement(first, second, OURS)
    assert ours.value == pytest.approx(found.value, abs=1e-9)
    assert ours.per_env == pytest.approx(found.per_env, abs=1e-9)
    spread = improvement_draws(wins(first, second), resamples=5_000).std()
    assert (ours.low, ours.high) == pytest.approx((found.low, found.high), abs=5 * 0.22 * spread)


def test_atari_100k_profiles(atari: dict[str, list[np.ndarray]]) -> None:
    tasks, taus = [scores[:10] for scores in atari["SPR"]], np.linspace(0.0, 4.0, 9)
    for of, function, step in (("runs", performance_profile, 1 / 260), ("means", mean_profile, 1 / 26)):
        found, ours = rliable_profile(tasks, taus, theirs(600), of=of), function(tasks, taus, OURS)  # type: ignore[arg-type]
        assert ours.value == pytest.approx(found.value, abs=1e-12)
        assert np.abs(ours.low - found.low).max() <= 2.01 * step and np.abs(ours.high - found.high).max() <= 2.01 * step


@pytest.mark.parametrize("shape", [(3, 4), (7, 1)])
@pytest.mark.parametrize("method", ["percentile", "basic"])
def test_random_matrices(shape: tuple[int, int], method: str) -> None:
    matrix = np.random.default_rng(shape[0]).gamma(2.0, 0.4, size=shape)
    reps = 1_500
    found = rliable_estimate(list(matrix.T), NAMES, theirs(reps, method))  # type: ignore[arg-type]
    ours = estimate(list(matrix.T), NAMES, interval_method(method, 0.95, 50_000, 0))
    draws = bootstrap(list(matrix.T), NAMES, resamples=5_000)
    for name in NAMES:
        assert ours[name].value == pytest.approx(found[name].value, abs=1e-9)
        # Few runs make the law coarse: an end may be the next value of it, besides the error of 1,500 draws.
        near = np.quantile(draws[name], (0.017, 0.033, 0.967, 0.983))
        allowed = max(5 * 0.07 * draws[name].std(), near[1] - near[0], near[3] - near[2])
        assert (ours[name].low, ours[name].high) == pytest.approx((found[name].low, found[name].high), abs=allowed)


def test_the_global_random_numbers_are_seeded_and_put_back() -> None:
    tasks = [np.random.default_rng(0).normal(size=5)]
    np.random.seed(1)
    expected = np.random.random(3)
    np.random.seed(1)
    once, again, other = (rliable_estimate(tasks, ["iqm"], theirs(200, seed=seed))["iqm"] for seed in (4, 4, 5))  # type: ignore[arg-type]
    assert np.random.random(3).tolist() == expected.tolist()
    assert (once.low, once.high) == (again.low, again.high) != (other.low, other.high)
    assert "computed by rliable 1.2.0" in once.interval.note and "too narrow below 10 seeds" in once.interval.note


def test_what_rliable_cannot_do_is_said() -> None:
    ragged = [np.arange(3.0), np.arange(5.0)]
    for call in (
        rliable_estimate,
        lambda tasks: rliable_profile(tasks, np.zeros(1)),
        lambda tasks: rliable_improvement(tasks, tasks),
    ):
        with pytest.raises(UsageError, match=r"equally many runs in every environment .* 3 to 5 runs"):
            call(ragged)
    with pytest.raises(UsageError, match="rliable has no calibrated interval"):
        rliable_estimate([np.arange(3.0)], ["iqm"], interval_method("calibrated", 0.95, 10, 0))
    with pytest.raises(UsageError, match="equally many runs"):
        rliable_curve([np.zeros((3, 2)), np.zeros((4, 2))])
    with pytest.raises(UsageError, match="not one array for each environment"):
        full_matrix([np.zeros((3, 2))])
    single = rliable_estimate([np.array([1.0])], ["mean"])["mean"]
    assert (single.value, single.low, single.high) == (1.0, None, None)  # rliable itself would say [1, 1]
