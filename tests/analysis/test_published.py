"""Published numbers, from other people's results to the printed value, straight on arrays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from openrlb.types import EPISODIC_RETURN, Curve, Metric, Run
from openrlb_analysis.result import PlotResult
from openrlb_analysis.summary import learning_curves, summarize

TD3_FOLDERS = {"Walker2d": "Walker"}
TD3_TABLE = {  # mean and std (ddof 0) at the best point of the mean curve, and at the last point
    "Hopper": (3564.07, 114.74, 3390.79, 377.83),
    "HalfCheetah": (9636.95, 859.06, 9566.56, 832.87),
    "Walker2d": (4682.82, 539.64, 4412.89, 1030.09),
    "Ant": (4372.44, 1000.33, 4242.53, 1098.37),
    "InvertedPendulum": (1000.00, 0.00, 1000.00, 0.00),
    "InvertedDoublePendulum": (9337.47, 14.96, 8482.97, 2578.29),
    "Reacher": (-3.70, 0.51, -4.22, 0.63),
}
ATARI_TABLE = {  # median, mean, iqm, optimality gap of human-normalised scores
    "SPR": (0.39562938291779215, 0.6157957428691673, 0.336649, 0.577302),
    "DrQ": (0.21197693941542933, 0.36912351496348683, 0.223595, 0.691732),
    "DER": (0.18936086395020874, 0.35030497562762936, 0.183152, 0.697502),
}


def curve(
    algo: str, env: str, seed: int, steps: Sequence[int], values: Sequence[float], *, normalized: str | None = None
) -> Curve:
    """One run's evaluation curve; a single value at step 0 is a score table's entry."""
    unit = "agent_step" if any(steps) else "none"
    run = Run(
        "folder",
        f"{algo}-{env}-{seed}",
        "published",
        "",
        algo,
        env,
        seed=seed,
        state="finished",
        step_unit=unit,
        normalized=normalized,
    )
    metric = Metric("eval/return", "eval", EPISODIC_RETURN)
    return Curve(run, metric, np.asarray(steps, dtype=np.int64), np.asarray(values, dtype=np.float64), np.full(len(steps), -1))


def td3(shared_data: Path, env: str) -> list[Curve]:
    files = sorted((shared_data / "td3" / "learning_curves" / TD3_FOLDERS.get(env, env)).glob("*.npy"))
    steps = range(0, 1_000_001, 5_000)
    return [curve("td3", f"{env}-v1", seed, steps, np.load(file, allow_pickle=False)) for seed, file in enumerate(files)]


@pytest.mark.parametrize("env", TD3_TABLE)
def test_td3_table(shared_data: Path, env: str) -> None:
    runs = td3(shared_data, env)
    assert len(runs) == 10
    best = summarize(runs, of="eval/return", metric="mean", rule="best-of-mean-curve", ddof=0, resamples=200)
    last = summarize(runs, of="eval/return", metric="mean", rule="last", ddof=0, resamples=200)
    found = [(only.mean, only.std) for result in (best, last) for only in result.groups[0].per_env]
    assert np.ravel(found).tolist() == pytest.approx(TD3_TABLE[env], abs=0.00501)
    assert any("optimistic" in note for note in best.notes)
    assert not any("optimistic" in note for note in last.notes)
    assert best.step == {f"{env}-v1": 1_000_000}
    assert best.groups[0].value == pytest.approx(found[0][0])


def test_td3_single_environment_needs_no_normalisation(shared_data: Path) -> None:
    result = summarize(td3(shared_data, "Hopper"), of="eval/return", resamples=2000)
    assert result.normalization == "none"
    assert result.rule == "final:10%"
    low, value, high = (result.groups[0].low, result.groups[0].value, result.groups[0].high)
    assert low is not None and value is not None and high is not None
    assert low < value < high
    assert result.interval.note.startswith("calibrated, for the iqm of the score distributions")
    assert result.groups[0].per_env[0].points == (20, 20)


def atari(shared_data: Path, algo: str, *, normalized: bool) -> list[Curve]:
    folder = shared_data / "atari100k_rliable"
    scores = json.loads((folder / f"atari_100k_{algo}.json").read_text())
    reference = json.loads((folder / "atari_reference_scores.json").read_text())
    runs = []
    for game, values in scores.items():
        for seed, value in enumerate(values):
            low, high = reference["random"][game], reference["human"][game]
            given = (value - low) / (high - low) if normalized else value
            runs.append(curve(algo, game, seed, [0], [given], normalized="atari57-human" if normalized else None))
    return runs


@pytest.mark.parametrize("normalized", [False, True], ids=["raw", "already-normalised"])
def test_atari_100k(shared_data: Path, normalized: bool) -> None:
    runs = [run for algo in ATARI_TABLE for run in atari(shared_data, algo, normalized=normalized)]
    tolerances = {"median": 1e-9, "mean": 1e-9, "iqm": 1e-5, "optimality-gap": 1e-5}
    for column, (metric, tolerance) in enumerate(tolerances.items()):
        result = summarize(runs, of="score", metric=metric, resamples=20)
        assert result.normalization == ("atari57-human (as given)" if normalized else "atari57-human v1")
        assert result.step == {}
        assert len(result.pooled_envs) == 26
        for group in result.groups:
            assert group.value == pytest.approx(ATARI_TABLE[group.label][column], abs=tolerance), (metric, group.label)
            assert (group.runs, group.envs) == (2600, 26)
            assert group.low is not None and group.low < group.value < (group.high or 0.0)


def simbav2(shared_data: Path, env: str) -> list[Curve]:
    import polars as pl

    table = pl.read_parquet(shared_data / "simbav2_gym" / "simbav2_gym.parquet").filter(pl.col("env") == env)
    runs = []
    for (algo, seed), rows in table.sort("step").group_by("algo", "seed", maintain_order=True):
        runs.append(curve(str(algo), env, int(str(seed)), rows["step"].to_numpy(), rows["ret"].to_numpy()))
    return runs


def test_simbav2_hopper_is_cut_at_a_common_step(shared_data: Path) -> None:
    result = summarize(simbav2(shared_data, "Hopper-v4"), of="ret", metric="mean", rule="last", resamples=500)
    means = {group.label: round(group.per_env[0].mean) for group in result.groups}
    assert (means["sac"], means["REDQ_utd20"]) == (2787, 3299)
    assert result.step == {"Hopper-v4": 1_000_000}
    cause = result.cut_cause["Hopper-v4"]
    assert "simbaV2_utd2" in cause and "median last step" in cause and "sac" not in cause
    assert {group.label: group.runs for group in result.groups} == {
        "CrossQ": 10, "DroQ_utd20": 10, "REDQ_utd20": 10, "bro_utd10": 5, "bro_utd2": 5, "sac": 10, "simbaV2_utd2": 10,
    }  # fmt: skip
    assert any("bro_utd10, Hopper-v4: 5" in note for note in result.notes)
    assert result.interval.note.startswith("calibrated, fewer than 10 seeds")
    assert result.excluded == ()


def test_simbav2_alone_sac_is_not_cut(shared_data: Path) -> None:
    sac = [run for run in simbav2(shared_data, "Hopper-v4") if run.run.algo == "sac"]
    result = summarize(sac, of="ret", metric="mean", rule="last", resamples=50)
    assert round(result.groups[0].per_env[0].mean) == 2556
    assert result.step == {"Hopper-v4": 4_999_800}
    again = summarize(sac, of="ret", metric="mean", rule="at:1000000", resamples=50)
    assert round(again.groups[0].per_env[0].mean) == 2787
    assert again.rule == "at:1000000"


def test_simbav2_curves_lie_on_their_own_steps(shared_data: Path) -> None:
    runs = simbav2(shared_data, "Hopper-v4")
    result = learning_curves(runs, of="ret", metric="mean", resamples=300)
    bands = {band.label: band for band in result.bands}
    assert bands["simbaV2_utd2"].x.max() == 1_000_000
    assert bands["sac"].x.max() <= 1_000_000
    table = np.stack([run.values for run in runs if run.run.algo == "simbaV2_utd2"])
    assert bands["simbaV2_utd2"].value == pytest.approx(table.mean(axis=0))
    assert result.end == {"Hopper-v4": 1_000_000.0}


def results_of(result: PlotResult) -> dict[str, float | None]:
    return {group.label: group.value for group in result.groups}


def test_ragged_seeds_by_hand() -> None:
    """Two environments with 2 and 4 runs: a run weighs 2 or 1, in all 8, and a quarter is 2.

    Sorted with weights: 0 (1), 1 (2), 2 (1), 3 (1), 10 (2), 11 (1). From below 0 (1) goes, then 1 (2) would make 3 > 2:
    it stays. From above 11 (1) goes, then 10 (2) would make 3: it stays. (1*2 + 2*1 + 3*1 + 10*2) / 6 = 27 / 6.
    """
    values = {"walker-walk": (1000.0, 10_000.0), "walker-run": (0.0, 2000.0, 3000.0, 11_000.0)}
    runs = [curve("a", env, seed, [0], [value]) for env, scores in values.items() for seed, value in enumerate(scores)]
    result = summarize(runs, of="score", normalize="dmc", resamples=2000)
    assert results_of(result) == {"a": pytest.approx(27 / 6, abs=1e-12)}
    assert any("walker-walk: 2" in note and "every environment counts equally" in note for note in result.notes)


def test_eight_of_ten_seeds_are_used_as_they_are(shared_data: Path) -> None:
    runs = [run for run in simbav2(shared_data, "Hopper-v4") if run.run.algo in ("sac", "CrossQ")]
    runs = [run for run in runs if run.run.algo != "sac" or run.run.seed not in (3, 7)]
    result = summarize(runs, of="ret", resamples=300)
    sac = next(group for group in result.groups if group.label == "sac")
    assert sac.runs == 8 and sac.per_env[0].seeds == (0, 1, 2, 4, 5, 6, 8, 9)
    assert any("used as they are" in note and "sac, Hopper-v4: 8" in note for note in result.notes)
    assert result.interval.note.startswith("calibrated, fewer than 10 seeds")
