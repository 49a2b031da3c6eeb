"""Faults of rlops 0.3.1 in plots and statistics that openrlb must not have, on runs made by hand.

B3 to B12 are also held from W&B to the output in tests/openrlb/sources/test_wandb_defects.py; these hold the statistics
themselves, and each would fail with the fault. B13 and B14 are here alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

import openrlb_analysis as stats
from openrlb.errors import SelectionError, UsageError
from openrlb.types import EPISODIC_RETURN, Curve, Metric, Run
from openrlb_analysis.summary import learning_curves, summarize


def run(algo: str, seed: int, steps: np.ndarray, values: np.ndarray, *, env: str = "Hopper-v4", state: str = "finished") -> Curve:
    record = Run(
        "folder", f"{algo}-{env}-{seed}", "made", "", algo, env, seed=seed, state=state, step_unit="agent_step"
    )  # fmt: skip
    metric = Metric("eval/return", "eval", EPISODIC_RETURN)
    return Curve(record, metric, steps.astype(np.int64), values.astype(float), (steps * 2).astype(np.int64))


def ramp(last: int, *, top: float = 1.0, every: int = 1_000) -> tuple[np.ndarray, np.ndarray]:
    steps = np.arange(every, last + 1, every)
    return steps, top * steps / last


def value(curves: list[Curve], label: str, **options: object) -> float:
    result = summarize(curves, of="eval/return", resamples=200, **options)  # type: ignore[arg-type]
    (group,) = [group for group in result.groups if group.label.startswith(label)]
    assert group.value is not None
    return group.value


def test_b3_the_last_episode_is_not_the_score() -> None:
    steps, values = ramp(100_000)
    noisy = values.copy()
    noisy[-1] = -500.0
    curves = [run("ppo", seed, steps, noisy) for seed in range(3)]
    assert value(curves, "ppo", metric="iqm") == pytest.approx(np.mean([*values[-10:-1], -500.0]))
    table = stats.read_scores({
        "group": ["ppo"] * len(steps), "env": ["Hopper"] * len(steps), "seed": [0] * len(steps), "step": steps, "value": noisy,
    })  # fmt: skip
    assert table.tasks("ppo")[0][0] == pytest.approx(np.mean([*values[-10:-1], -500.0]))


def test_b4_a_run_cut_at_thirty_percent_is_neither_stretched_nor_counted() -> None:
    full, cut = ramp(100_000), ramp(30_000, top=0.3)
    curves = [run("ppo", seed, *full) for seed in range(4)] + [run("ppo", 9, *cut)]
    result = summarize(curves, of="eval/return", resamples=200)
    assert [(gone.run, "short" in gone.reason) for gone in result.excluded] == [("ppo-Hopper-v4-9", True)]
    assert value(curves, "ppo") == value(curves[:4], "ppo")
    with pytest.raises(SelectionError, match="nothing is stretched"):
        stats.efficiency_tables([[full, full, cut]], ends=100_000)


def test_b5_every_seed_of_every_environment_counts() -> None:
    scores = {"Hopper": np.arange(5.0), "Ant": np.array([10.0, 20.0, 60.0])}
    assert stats.mean(list(scores.values())) == (2.0 + 30.0) / 2
    found = stats.estimate(scores, ["mean"])["mean"]
    assert (found.value, found.runs) == (16.0, 8)  # rlops: three seeds each, 15.5
    assert stats.probability_of_improvement(scores, {env: one + 0.5 for env, one in scores.items()}).runs == (8, 8)


@pytest.mark.parametrize(
    "measure",
    [
        lambda table: stats.estimate(table.tasks("A"), ["iqm"])["iqm"],
        lambda table: stats.performance_profile(table.tasks("A"), np.array([0.5])).low.tolist(),
        lambda table: stats.cvar(table.tasks("A")),
        lambda table: stats.probability_of_improvement(table.tasks("A"), table.tasks("B")).low,
    ],
    ids=["iqm", "profile", "cvar", "improvement"],
)
def test_b7_another_algorithm_changes_no_number(measure: Callable[[stats.ScoreTable], object]) -> None:
    generator = np.random.default_rng(0)
    groups = {name: {env: generator.normal(size=5) for env in ("Hopper", "Ant")} for name in ("A", "B")}
    more = {**groups, "C": {env: generator.normal(50.0, 1.0, size=5) for env in ("Hopper", "Ant")}}
    assert measure(stats.score_table(groups)) == measure(stats.score_table(more))
    # Nor where a run of it diverged: what that run counts as is the group's own affair.
    groups["A"]["Ant"][2] = more["A"]["Ant"][2] = math.nan
    more["C"]["Ant"][0] = -1e6
    assert measure(stats.score_table(groups)) == measure(stats.score_table(more))


@pytest.mark.parametrize("metric", ["iqm", "mean"])
def test_b7_a_diverged_run_counts_the_same_beside_any_other_algorithm(metric: str) -> None:
    steps, values = ramp(100_000)
    broken = values.copy()
    broken[60:] = math.nan
    curves = [run("ppo", 0, steps, broken), *(run("ppo", seed, steps, values + seed) for seed in (1, 2, 3))]
    worse = [run("bad", seed, steps, values - 1_000.0) for seed in range(3)]
    alone, beside = (summarize(some, of="eval/return", metric=metric, resamples=200) for some in (curves, curves + worse))
    (mine,) = [group for group in beside.groups if group.label.startswith("ppo")]
    assert mine == alone.groups[0]
    assert any("lowest finite value logged there up to the cut by ppo itself" in note for note in beside.notes)
    by_step = [
        learning_curves(some, of="eval/return", metric=metric, resamples=200).bands[-1].value for some in (curves, curves + worse)
    ]
    assert np.array_equal(*by_step)


def test_b7_a_group_that_logged_nothing_finite_still_counts_and_says_at_what() -> None:
    steps, values = ramp(100_000)
    lost = [run("ppo", seed, steps, np.full(len(steps), math.nan)) for seed in range(2)]
    result = summarize([*lost, *(run("a2c", seed, steps, values) for seed in range(3))], of="eval/return", resamples=200)
    assert {group.label: group.runs for group in result.groups} == {"a2c": 3, "ppo": 2}
    assert any("ppo logged none, so that another selection may give another number" in note for note in result.notes)


def test_b8_a_curve_by_time_ends_at_the_runs_whole_time() -> None:
    curves = [run("ppo", seed, *ramp(100_000)) for seed in range(3)]
    (band,) = learning_curves(curves, of="eval/return", x="time", metric="mean", resamples=200).bands
    assert band.x[-1] * 3_600_000 == pytest.approx(200_000)  # rlops: the mean of the last tenth, about 5 % less


def test_b9_a_nan_is_an_outcome_the_first_time_and_the_second() -> None:
    steps, values = ramp(100_000)
    broken = values.copy()
    broken[60:] = math.nan
    curves = [run("ppo", 0, steps, broken), *(run("ppo", seed, steps, values) for seed in (1, 2))]
    first, second = (summarize(curves, of="eval/return", metric="mean", resamples=200) for _ in range(2))
    assert first == second
    assert first.groups[0].runs == 3 and any("diverged" in note for note in first.notes)


def test_b11_forty_algorithms_are_forty_results() -> None:
    curves = [run(f"algo{number:02}", seed, *ramp(10_000, top=number)) for number in range(40) for seed in range(3)]
    assert len(summarize(curves, of="eval/return", resamples=50).groups) == 40
    assert len(learning_curves(curves, of="eval/return", resamples=50).bands) == 40
    assert len(stats.rank_frequencies({str(name): [np.arange(3.0) + name] for name in range(40)}, resamples=20).groups) == 40


def test_b12_what_is_missing_is_said_in_words() -> None:
    with pytest.raises(UsageError, match="the frame has no column step, value"):
        stats.read_curves({"group": ["A"], "env": ["Hopper"], "seed": [0], "global_step": [1]})


def test_b13_no_jump_where_a_short_run_ends() -> None:
    """A low run that ends at 60 % would lift the mean over those that are left: it is in no position, and named."""
    low, high = ramp(60_000, top=0.0), ramp(100_000, top=1.0)
    curves = [run("ppo", 0, *low), *(run("ppo", seed, *high) for seed in (1, 2, 3))]
    result = learning_curves(curves, of="eval/return", metric="mean", resamples=200)
    (band,) = result.bands
    assert set(band.runs.tolist()) == {3.0}
    assert np.diff(band.value).max() == pytest.approx(0.01)
    assert [gone.run for gone in result.excluded] == ["ppo-Hopper-v4-0"]
    laid = stats.efficiency_tables([[low, high, high]])
    assert laid.x[-1] == 60_000 and laid.tables[0].shape[0] == 3  # the same runs at every position


def test_b13_a_position_that_some_runs_lack_says_so() -> None:
    steps, values = ramp(100_000)
    gap = np.ones(len(steps), dtype=bool)
    gap[40:60] = False
    curves = [run("ppo", 0, steps[gap], values[gap]), *(run("ppo", seed, steps, values) for seed in (1, 2))]
    result = learning_curves(curves, of="eval/return", metric="mean", resamples=200)
    assert result.bands[0].runs.min() == 2 and any("positions with fewer runs" in note for note in result.notes)


def test_b14_unlike_budgets_are_scored_at_the_same_step() -> None:
    """PPO trained three times as long is not judged by its last rows; the cut and its cause are told."""
    curves = [run("ppo", seed, *ramp(300_000, top=3.0)) for seed in range(3)]
    curves += [run("sac", seed, *ramp(100_000, top=2.0)) for seed in range(3)]
    result = summarize(curves, of="eval/return", metric="mean", resamples=200)
    assert result.step == {"Hopper-v4": 100_000} and "sac" in result.cut_cause["Hopper-v4"]
    values = {group.algo: group.value for group in result.groups}
    assert values["ppo"] == pytest.approx(0.955) and values["sac"] == pytest.approx(1.91)
    bands = learning_curves(curves, of="eval/return", resamples=200).bands
    assert {float(band.x[-1]) for band in bands} == {100_000.0}
