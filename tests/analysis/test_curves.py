"""Learning curves: positions, bins, bands, wall time, frames, diverged runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from openrlb.errors import SelectionError, UsageError
from openrlb.types import Curve, Metric, Run
from openrlb_analysis.curves import learning_curves
from openrlb_analysis.result import CurvesResult
from openrlb_analysis.summary import summarize


def curve(
    seed: int, steps: Sequence[int], values: Sequence[float], *, times: Sequence[int] | None = None, **fields: Any
) -> Curve:
    chosen: dict[str, Any] = {
        "algo": "a", "env": "Hopper-v4", "source": "folder", "project": "logs", "name": "", "state": "finished",
        "step_unit": "agent_step",
    }  # fmt: skip
    run = Run(seed=seed, **(chosen | {"run": f"{fields.get('algo', 'a')}{seed}"} | fields))
    known = np.full(len(steps), -1) if times is None else np.array(times, dtype=np.int64)
    return Curve(run, Metric("r", "eval"), np.array(steps, dtype=np.int64), np.array(values, dtype=float), known)


def drawn(curves: Sequence[Curve], **options: Any) -> CurvesResult:
    return learning_curves(curves, of="r", **({"resamples": 300, "rule": "last", "metric": "mean"} | options))


def noted(result: CurvesResult, *parts: str) -> bool:
    return any(all(part in note for part in parts) for note in result.notes)


def test_shared_steps_are_the_positions() -> None:
    steps = [7, 50, 100]
    result = drawn([curve(0, steps, [1, 2, 3]), curve(1, steps, [3, 4, 9])], interval="percentile", interval_from=2)
    band = result.bands[0]
    assert band.x.tolist() == [7, 50, 100] and band.value.tolist() == [2, 3, 6] and band.runs.tolist() == [2, 2, 2]
    assert (band.low <= band.value).all() and (band.value <= band.high).all()
    assert result.x_unit == "agent_step" and result.interval.note.startswith("percentile, too narrow below 10 seeds")
    assert noted(result, "pointwise")


def test_the_cut_ends_the_curve() -> None:
    curves = [curve(seed, [50, 100, 150, 200], [1, 2, 3, 4]) for seed in range(2)] + [
        curve(seed, [50, 100], [1, 2], algo="b") for seed in range(2)
    ]
    result = drawn(curves)
    assert [band.x.max() for band in result.bands] == [100, 100]
    assert result.end == {"Hopper-v4": 100.0} and "b" in result.cut_cause["Hopper-v4"]


def test_unlike_steps_are_binned_and_gaps_are_said() -> None:
    one, other = curve(0, [1, 9, 100], [2, 4, 10]), curve(1, [5, 60, 100], [6, 7, 20])
    result = drawn([one, other], points=10)
    band = result.bands[0]
    assert band.x.tolist() == [10, 60, 100]  # a bin without a value is no position, or the line would break there
    assert band.runs.tolist() == [2, 1, 2]
    assert band.value.tolist() == [4.5, 7.0, 15.0]
    assert math.isnan(band.low[1])  # one run has no interval
    assert noted(result, "fewer runs", "a, Hopper-v4 (1 of 3)")


def test_a_run_that_ends_a_little_early_is_not_stretched() -> None:
    steps = list(range(10, 1001, 10))
    curves = [curve(seed, steps, [float(seed)] * 100) for seed in range(3)] + [curve(3, steps[:97], [30.0] * 97)]
    band = drawn(curves).bands[0]
    assert band.runs.tolist() == [4] * 97 + [3] * 3
    assert band.value[96] == pytest.approx(33 / 4) and band.value[97] == pytest.approx(1.0)
    assert np.isfinite(band.low).all()


@pytest.mark.parametrize("metric", ["iqm", "mean", "median"])
def test_the_last_position_is_the_summary_of_the_last_value(metric: str) -> None:
    table = np.random.default_rng(0).normal(size=(7, 5)).cumsum(axis=1)
    curves = [curve(seed, [1, 2, 3, 4, 5], row) for seed, row in enumerate(table)]
    band = drawn(curves, metric=metric, resamples=2000, seed=4).bands[0]
    only = summarize(curves, of="r", metric=metric, rule="last", resamples=2000, seed=4).groups[0]
    assert (band.value[-1], band.low[-1], band.high[-1]) == pytest.approx((only.value, only.low, only.high), abs=1e-10)


def test_by_time_runs_are_binned_by_their_own_clock() -> None:
    hour = 3_600_000
    fast = [curve(seed, [1, 2, 3, 4], [1, 2, 3, 4], times=[hour, 2 * hour, 3 * hour, 4 * hour]) for seed in range(2)]
    slow = [
        curve(seed, [1, 2, 3, 4], [1, 2, 3, 4], times=[2 * hour, 4 * hour, 6 * hour, 8 * hour], algo="b") for seed in range(2)
    ]
    result = drawn([*fast, *slow], x="time", points=4)
    bands = {band.label: band for band in result.bands}
    assert result.x_unit == "hours" and result.end == {"Hopper-v4": 8.0} and "each group" in result.cut_cause["Hopper-v4"]
    assert bands["a"].x.tolist() == [1, 2, 3, 4] and bands["a"].value.tolist() == [1, 2, 3, 4]
    assert bands["b"].x.tolist() == [2, 4, 6, 8] and bands["b"].value.tolist() == [1, 2, 3, 4]
    assert not noted(result, "left edge")


def test_by_time_sparse_loggers_are_lines_and_a_fast_group_does_not_cut_the_others() -> None:
    minutes = [[60_000 * (10 * place + seed) for place in range(1, 11)] for seed in range(3)]  # the clocks differ a little
    slow = [curve(seed, range(1, 11), range(10), times=minutes[seed]) for seed in range(3)]
    fast = [curve(seed, range(1, 11), range(10), times=range(1, 11), algo="b") for seed in range(3)]
    result = drawn([*slow, *fast], x="time")
    bands = {band.label: band for band in result.bands}
    assert len(bands["a"].x) == 10 and np.isfinite(bands["a"].value).all() and bands["a"].runs.tolist() == [1] + [3] * 9
    assert bands["a"].x[-1] == pytest.approx(101 / 60) and bands["b"].x[-1] == pytest.approx(0.01 / 3600)
    assert noted(result, "b, Hopper-v4", "left edge", "0.01 s", "6,060 s")


def test_one_run_with_many_points_is_binned_like_the_others() -> None:
    steps = list(range(1, 1001))
    band = drawn([curve(0, steps, [float(step) for step in steps])]).bands[0]
    assert band.x.tolist() == [10.0 * place for place in range(1, 101)] and band.value[0] == 5.5


def test_by_time_runs_without_times_are_named() -> None:
    curves = [curve(0, [1, 2], [1, 2], times=[10, 20]), curve(1, [1, 2], [1, 2]), curve(2, [1, 2], [1, 2], times=[-1, 20])]
    result = drawn(curves, x="time")
    assert [(gone.run, gone.reason) for gone in result.excluded] == [("a1", "no wall times"), ("a2", "no wall times")]
    assert result.bands[0].runs.max() == 1 and noted(result, "no wall times", "a1, a2")
    nobody = drawn([curve(seed, [1, 2], [1, 2]) for seed in range(2)], x="time")
    assert nobody.bands == () and len(nobody.excluded) == 2


def test_by_frames() -> None:
    curves = [curve(0, [10, 20], [1, 2], frames_per_step=4), curve(1, [40, 80], [3, 4], step_unit="frame")]
    result = drawn(curves, x="frames")
    assert result.x_unit == "frame" and result.bands[0].x.tolist() == [40, 80] and result.bands[0].value.tolist() == [2, 3]
    assert drawn([curve(0, [10], [1]), curve(1, [10], [1])], x="frames", frames_per_step=2).bands[0].x.tolist() == [20]
    with pytest.raises(SelectionError):
        drawn([curve(0, [10], [1])], x="frames")


def test_a_diverged_run_stands_at_the_failure_score_from_then_on() -> None:
    steps = [10, 20, 30, 40]
    curves = [curve(0, steps, [8, 8, 8, 8]), curve(1, steps, [8, 6, 6, 2]), curve(2, steps, [8, 5, math.nan, math.nan]),
              curve(3, steps[:2], [8, 5], state="diverged")]  # fmt: skip
    band = drawn(curves).bands[0]
    assert band.runs.tolist() == [4, 4, 4, 4]
    assert band.value.tolist() == [8.0, 6.0, (8 + 6 + 2 + 2) / 4, (8 + 2 + 2 + 2) / 4]


def test_a_run_that_failed_in_the_window_but_went_on_logging() -> None:
    steps = list(range(1, 101))
    broken = [5.0] * 94 + [math.nan] + [5.0] * 5
    result = drawn([curve(0, steps, [9.0] * 100), curve(1, steps, [3.0] * 100), curve(2, steps, broken)], rule="final:10%")
    assert noted(result, "a2", "diverged")
    assert result.bands[0].value[93] == pytest.approx(17 / 3) and result.bands[0].value[-1] == pytest.approx(15 / 3)


def test_normalised_values() -> None:
    curves = [curve(seed, [1, 2], [0, 500], env="walker-walk") for seed in range(2)]
    assert drawn(curves, normalize="dmc").bands[0].value.tolist() == [0, 0.5]
    with pytest.raises(UsageError, match="raw returns"):
        drawn(curves, metric="optimality-gap")


def test_values_without_steps_have_no_curve() -> None:
    result = drawn([curve(0, [0], [5.0], step_unit="none"), curve(0, [1, 2], [5.0, 6.0], env="B-v1", run="b0")])
    assert [band.env for band in result.bands] == ["B-v1"] and noted(result, "no learning curve", "Hopper-v4")
    assert drawn([curve(0, [0], [5.0], step_unit="none")]).bands == ()


def test_repeated_steps_are_averaged() -> None:
    band = drawn([curve(0, [1, 1, 2], [1, 3, 5]), curve(1, [1, 2, 2], [4, 6, 8])]).bands[0]
    assert band.x.tolist() == [1, 2] and band.value.tolist() == [3.0, 6.0]


def test_options_are_checked() -> None:
    with pytest.raises(UsageError):
        drawn([curve(0, [1], [1])], x="epochs")
    with pytest.raises(UsageError):
        drawn([curve(0, [1], [1])], points=0)


def test_same_bytes_each_time() -> None:
    table = np.random.default_rng(1).normal(size=(5, 30))
    curves = [curve(seed, list(range(1, 31)), row) for seed, row in enumerate(table)]
    first, second = drawn(curves), drawn(curves[::-1])
    assert first.bands[0].low.tobytes() == second.bands[0].low.tobytes()
    assert first.bands[0].high.tobytes() == second.bands[0].high.tobytes()
