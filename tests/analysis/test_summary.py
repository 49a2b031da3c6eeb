"""The whole answer: cuts, exclusions, diverged and failed runs, normalisation, pooling, intervals."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from openrlb.errors import NothingMatched, SelectionError, UsageError
from openrlb.store.normalizations import FrozenNormalization, Scale
from openrlb.types import EPISODIC_RETURN, Curve, Metric, MetricKind, Run
from openrlb_analysis.figures.footer import scores_footer
from openrlb_analysis.figures.spec import curves_figure
from openrlb_analysis.result import PlotResult
from openrlb_analysis.summary import learning_curves, summarize


def curve(
    algo: str, seed: int | None, values: Sequence[float], *, end: int = 1000, kind: MetricKind = "eval", **fields: Any
) -> Curve:
    """Evenly spaced values up to ``end``; the run's id is algo, environment and seed."""
    env = fields.setdefault("env", "Hopper-v4")
    chosen: dict[str, Any] = {"source": "folder", "project": "logs", "name": "", "state": "finished", "step_unit": "agent_step"}
    run = Run(algo=algo, seed=seed, run=fields.pop("run", f"{algo}-{env}-{seed}"), **(chosen | fields))
    steps = np.array([end * (place + 1) // len(values) for place in range(len(values))], dtype=np.int64)
    steps = steps * 0 if run.step_unit == "none" else steps
    return Curve(run, Metric("r", kind, EPISODIC_RETURN), steps, np.array(values, dtype=float), np.full(len(values), -1))


def flat(algo: str, scores: Sequence[float], **fields: Any) -> list[Curve]:
    """One run per score, ten equal points each."""
    return [curve(algo, seed, [score] * 10, **fields) for seed, score in enumerate(scores)]


def answer(curves: Sequence[Curve], **options: Any) -> PlotResult:
    return summarize(curves, of="r", **({"resamples": 200, "rule": "last"} | options))


def gone(result: PlotResult) -> dict[str, str]:
    return {excluded.run: excluded.reason for excluded in result.excluded}


def noted(result: PlotResult, *parts: str) -> bool:
    return any(all(part in note for part in parts) for note in result.notes)


# The cut -------------------------------------------------------------------------------------------------------------


def test_cut_is_the_smallest_median_last_step_and_says_whose() -> None:
    curves = [curve("long", seed, [1.0] * 100, end=end) for seed, end in enumerate((4000, 5000, 6000))]
    curves += [curve("brief", seed, [1.0] * 100, end=end) for seed, end in enumerate((990, 1000, 3000))]
    result = answer(curves)
    assert result.step == {"Hopper-v4": 1000}
    assert result.cut_cause == {"Hopper-v4": "brief: median last step, the smallest of 2 groups"}
    assert gone(result) == {}


def test_short_runs_are_named_and_nothing_is_stretched() -> None:
    curves = [curve("a", seed, [1.0] * 10, end=end) for seed, end in enumerate((949, 950, 1000, 1000, 1000))]
    result = answer(curves)
    assert gone(result) == {"a-Hopper-v4-0": "short (ends at 949, cut 1000)"}
    assert result.groups[0].runs == 4


def test_at_sets_the_cut() -> None:
    result = answer([curve("a", seed, [1, 2, 3, 4]) for seed in range(2)], at=500)
    assert result.step == {"Hopper-v4": 500} and result.groups[0].value == 2.0
    assert result.cut_cause == {"Hopper-v4": "asked for"}
    with pytest.raises(SelectionError, match="no run reaches step 2000") as error:
        answer(flat("a", [1, 2]), at=2000)
    assert "1000" in error.value.why
    with pytest.raises(UsageError):
        answer(flat("a", [1, 2]), at=0)


def test_at_beyond_one_environment_leaves_the_others() -> None:
    result = answer([*flat("a", [1, 2], env="A-v1", end=100), *flat("a", [3, 4], env="B-v1")], at=1000)
    assert result.step == {"B-v1": 1000}
    assert gone(result) == {f"a-A-v1-{seed}": "short (ends at 100, cut 1000)" for seed in range(2)}


def test_at_rule_beyond_the_cut_is_refused() -> None:
    with pytest.raises(UsageError, match="looks beyond the cut"):
        answer(flat("a", [1, 2]), rule="at:900", at=500)
    assert answer([curve("a", seed, [1, 2, 3, 4]) for seed in range(2)], rule="at:250", at=1000).groups[0].value == 1.0


# What counts ---------------------------------------------------------------------------------------------------------


def test_states_that_do_not_count_are_named() -> None:
    curves = flat("a", [1, 2, 3])
    curves += [
        curve("a", 10 + place, [9.0], state=state)
        for place, state in enumerate(("running", "invalid", "crashed", "killed", "failed"))
    ]
    curves += [curve("a", 20, [2.0], state="unknown"), curve("a", 21, [8.0], role="reproduction"), curve("a", 22, [])]
    result = answer(curves, metric="mean")
    assert result.groups[0].value == 2.0 and result.groups[0].runs == 4
    assert gone(result) == {
        "a-Hopper-v4-10": "running", "a-Hopper-v4-11": "invalid", "a-Hopper-v4-12": "crashed", "a-Hopper-v4-13": "killed",
        "a-Hopper-v4-14": "failed", "a-Hopper-v4-21": "reproduction of another run", "a-Hopper-v4-22": "no value of r",
    }  # fmt: skip


def test_many_failed_runs_give_the_result_with_them_too() -> None:
    curves = [*flat("a", [10.0] * 8), *[curve("a", seed, [5.0], state="crashed") for seed in (8, 9)], *flat("b", [1.0, 2.0])]
    result = answer(curves, metric="mean")
    assert {group.label: group.value for group in result.groups} == {"a": 10.0, "b": 1.5}
    # The failure score is the lowest finite value that a's own runs logged, 5, whatever b did: (8 * 10 + 2 * 5) / 10.
    assert noted(
        result, "a: 2 of 10 runs failed and are left out; with them at the failure score: mean 9 [", "in place of 10 [10, 10]"
    )
    one = answer([*flat("a", [10.0] * 9), curve("a", 9, [5.0], state="crashed")], metric="mean")
    assert not noted(one, "failed")  # 1 of 10 is not above 10 %


def test_a_diverged_run_counts_at_the_lowest_finite_value() -> None:
    curves = [
        *flat("a", [10, 20, 30]),
        curve("a", 3, [5, math.nan]),
        curve("a", 4, [7.0], end=100, state="diverged"),
        *flat("b", [4, 6]),
    ]
    result = answer(curves, metric="mean")
    group = result.groups[0]
    assert group.runs == 5 and group.per_env[0].scores == (10, 20, 30, 5, 5) and group.value == pytest.approx(70 / 5)
    assert noted(result, "2 of 5 runs diverged and count at 5", "a-Hopper-v4-3", "a-Hopper-v4-4", "lowest finite value")
    assert result.step == {"Hopper-v4": 1000} and gone(result) == {}


def test_the_failure_score_is_a_logged_value_and_not_the_lowest_surviving_score() -> None:
    curves = [
        curve("a", 0, [-50, 10, 10, -90], end=1334),
        curve("a", 1, [8] * 4),
        curve("a", 2, [9] * 4),
        curve("a", 3, [math.nan]),
    ]
    result = answer(curves, metric="mean")
    assert result.step == {"Hopper-v4": 1000}  # -90 lies beyond it
    assert result.groups[0].per_env[0].scores == (10, 8, 9, -50)
    assert noted(result, "1 of 4 runs diverged and count at -50", "lowest finite value logged there up to the cut")


@pytest.mark.parametrize("rule", ["final:10%", "last", "mean", "auc", "best-per-run", "best-of-mean-curve"])
def test_a_run_that_ends_in_nan_early_or_diverged_without_a_value_is_an_outcome(rule: str) -> None:
    curves = [*flat("a", [10, 20]), curve("a", 2, [5, 6, math.nan], end=300), curve("a", 3, [], state="diverged")]
    result = answer(curves, rule=rule, metric="mean")
    assert result.groups[0].per_env[0].scores == (10, 20, 5, 5) and gone(result) == {}
    assert noted(result, "2 of 4 runs diverged and count at 5", "a-Hopper-v4-2", "a-Hopper-v4-3")


def test_failed_runs_are_counted_where_no_run_is_left() -> None:
    walk, run = flat("a", [100.0] * 4, env="walker-walk"), flat("a", [1.0] * 4, env="walker-run", state="crashed")
    others = [*flat("b", [300.0] * 4, env="walker-walk"), *flat("b", [500.0] * 4, env="walker-run")]
    result = answer([*walk, *run, *others, *flat("c", [7.0], env="walker-walk", state="killed")], metric="mean")
    assert noted(result, "a: 4 of 8 runs failed", "walker-run: mean 0 [0, 0] in place of no result")
    assert noted(result, "c: 1 of 1 runs failed", "walker-walk: mean 0 in place of no result")
    assert not noted(result, "b: ", "failed")


def test_a_diverged_run_counts_as_the_random_agent_where_the_table_knows_it() -> None:
    curves = [curve("a", seed, values, env="ALE/Pong-v5") for seed, values in enumerate(([14.6], [14.6], [math.inf]))]
    result = answer(curves, metric="mean")
    assert result.normalization == "atari57-human v1"
    assert result.groups[0].per_env[0].scores == pytest.approx((1.0, 1.0, 0.0))
    assert noted(result, "diverged and count at 0", "random agent")


def test_intervals_lie_within_what_the_environment_allows() -> None:
    """Three seeds of CartPole: an interval to 612 of 500 steps says what cannot be."""
    cart = answer(flat("a", [480.0, 499.0, 360.0], env="CartPole-v1"), metric="mean")
    (env,) = cart.groups[0].per_env
    assert env.low is not None and env.high == 500.0 and env.low < 360
    assert cart.bounds == {"CartPole-v1": (0.0, 500.0)} and not noted(cart, "beyond every value")
    said = scores_footer(cart, False).sentences()
    assert "Intervals lie within what can be scored: 0 to 500 in CartPole-v1." in said
    solved = answer(flat("a", [500.0] * 3, env="CartPole-v1"), metric="mean").groups[0].per_env[0]
    assert solved.low is not None and solved.low < 400 and solved.high == 500.0  # what three runs may hide
    share = answer(flat("a", [900.0, 950.0, 990.0], env="walker-walk"), metric="mean")
    assert share.groups[0].high == 1.0 and share.bounds == {"walker-walk": (0.0, 1.0)}


def test_bounds_hold_only_for_returns_within_them() -> None:
    shaped = answer(flat("a", [480.0, 700.0, 360.0], env="CartPole-v1"), metric="mean")
    assert shaped.bounds == {} and shaped.groups[0].per_env[0].high > 700  # type: ignore[operator]
    assert noted(shaped, "interval ends beyond every value logged there", "a, CartPole-v1: ", "(logged: 360 to 700)")
    beside = answer(
        [*flat("a", [480.0, 499.0, 360.0], env="CartPole-v1"), *flat("b", [700.0] * 3, env="CartPole-v1")], metric="mean"
    )
    assert beside.groups[0].per_env[0].high == 500.0  # another group's strange values change no number
    other = [replace(one, metric=replace(one.metric, canonical=None)) for one in flat("a", [4.0, 5.0, 9.0], env="CartPole-v1")]
    assert answer(other, metric="mean").bounds == {}


def test_shares_of_reference_runs_stay_shares() -> None:
    scores = FrozenNormalization(
        "c", "cdf", "a", "", EPISODIC_RETURN, "eval", "final:10%", "2026", {"Hopper-v4": Scale(0.0, 9.0, (1.0, 5.0, 9.0))}
    )
    group = answer(flat("a", [1.0, 5.0, 9.0]), metric="mean", normalize=scores).groups[0]
    assert group.low is not None and group.low >= 0.0 and group.high == 1.0


def test_bands_lie_within_bounds_and_the_axis_follows_curves() -> None:
    wild = [curve("a", seed, [seed * 90 + point for point in range(0, 100, 10)], env="CartPole-v1") for seed in range(3)]
    (band,) = learning_curves(wild, of="r", metric="mean", resamples=200).bands
    assert np.nanmin(band.low) == 0.0 and np.nanmax(band.high) <= 500.0
    free = [replace(one, run=replace(one.run, env="Hopper-v4")) for one in wild]
    curves = learning_curves(free, of="r", metric="mean", resamples=200)
    assert curves.seen == {"Hopper-v4": (0.0, 270.0)} and np.nanmin(curves.bands[0].low) < -100
    assert any("bands that reach beyond every value of a run" in note for note in curves.notes)
    figure = curves_figure(curves, answer(free, metric="mean"))
    low, high = figure.panels[0].y_range
    assert -100 < low < 0 and 270 < high < 370
    assert any(
        "the axis follows curves and values: some band reaches beyond it" in one.lower() for one in figure.footer.sentences()
    )


def test_only_diverged_runs_leave_nothing_to_stand_at() -> None:
    with pytest.raises(NothingMatched):
        answer([curve("a", seed, [math.nan]) for seed in range(2)])
    result = answer([*[curve("a", seed, [math.nan], env="A-v1") for seed in range(2)], *flat("a", [1, 2], env="B-v1")])
    assert [env.env for env in result.groups[0].per_env] == ["B-v1"]
    assert set(gone(result)) == {"a-A-v1-0", "a-A-v1-1"}
    assert result.groups[0].value == 1.5 and set(result.step) == {"B-v1"}


def test_a_group_without_scores_is_named_and_blocks_no_pooling() -> None:
    result = answer([*flat("a", [1, 2]), *[curve("b", seed, [5.0], end=960) for seed in range(2)]], rule="final:3%", at=1000)
    assert [group.label for group in result.groups] == ["a"] and result.groups[0].value == 1.5
    assert noted(result, "b: no run is left") and len(gone(result)) == 2


def test_nan_before_the_window_is_no_divergence() -> None:
    values = [math.nan] + [3.0] * 19
    result = answer([curve("a", seed, values) for seed in range(2)], rule="final:10%")
    assert result.groups[0].value == 3.0 and not noted(result, "diverged")


def test_best_of_mean_curve_with_a_run_its_source_calls_diverged() -> None:
    curves = [*flat("a", [1, 3]), curve("a", 2, [99.0] * 5, end=500, state="diverged")]
    result = answer(curves, rule="best-of-mean-curve", metric="mean")
    assert result.groups[0].per_env[0].scores == (1.0, 3.0, 1.0)


def test_duplicates_are_named() -> None:
    result = answer([*flat("a", [1, 2]), curve("a", 1, [50.0], run="again", created="2024-01-01")])
    assert list(gone(result)) == ["a-Hopper-v4-1"]
    assert gone(result)["a-Hopper-v4-1"].startswith("duplicate of again (same variant, environment and seed; ")
    assert result.groups[0].per_env[0].run_ids == ("a-Hopper-v4-0", "again")


def test_runs_without_a_point_in_the_window_are_named() -> None:
    result = answer([*[curve("a", seed, [1.0] * 100) for seed in range(2)], curve("a", 2, [5.0], end=960)], rule="final:3%")
    assert gone(result) == {"a-Hopper-v4-2": "no value in the window of final:3%"}


def test_a_group_without_runs_is_named() -> None:
    result = answer([*flat("a", [1, 2]), curve("b", 0, [1.0], state="crashed")])
    assert [group.label for group in result.groups] == ["a"]
    assert noted(result, "b: no run is left")


def test_nothing_left() -> None:
    with pytest.raises(NothingMatched):
        answer([])
    with pytest.raises(NothingMatched, match="no run is left") as error:
        answer([curve("a", 0, [1.0], state="running")])
    assert "running" in error.value.why


# Units ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", ["frame", "unknown", "none"])
def test_unlike_steps_are_refused(other: str) -> None:
    with pytest.raises(SelectionError, match="cannot be put on one step axis"):
        answer([*flat("a", [1, 2]), *flat("b", [1, 2], step_unit=other)])


def test_frames_are_aligned_by_frames_per_step() -> None:
    curves = [
        *[curve("a", seed, [1, 2, 3, 4], end=1000) for seed in range(2)],
        *[curve("b", seed, [5, 6, 7, 8], end=4000, step_unit="frame") for seed in range(2)],
    ]
    result = answer(curves, frames_per_step=4, at=500)
    assert {group.label: group.value for group in result.groups} == {"a": 2.0, "b": 6.0}
    assert result.step_unit == "agent_step"
    own = [replace(one, run=replace(one.run, frames_per_step=4)) for one in curves]
    assert answer(own, at=500).groups == answer(curves, frames_per_step=4, at=500).groups
    with pytest.raises(UsageError):
        answer(curves, frames_per_step=0)


def test_one_frame_per_step_aligns_everything_that_has_steps() -> None:
    curves = [*flat("a", [1, 2]), *flat("b", [1, 2], step_unit="frame"), *flat("c", [1, 2], step_unit="unknown")]
    assert answer(curves, frames_per_step=1).step_unit == "agent_step"
    with pytest.raises(SelectionError):
        answer(curves, frames_per_step=4)


def test_alike_units_are_kept_and_mixed_ones_between_environments_said() -> None:
    assert answer(flat("a", [1, 2], step_unit="unknown")).step_unit == "unknown"
    assert answer(flat("a", [1, 2], step_unit="frame")).step_unit == "frame"
    assert answer([*flat("a", [1, 2], step_unit="frame"), *flat("a", [1, 2], env="B-v1")]).step_unit == "mixed"


def test_kinds_are_not_mixed_silently() -> None:
    curves = [*flat("a", [1, 2]), *flat("b", [1, 2], kind="episode")]
    with pytest.raises(SelectionError, match="episode and eval"):
        answer(curves)
    result = answer(curves, allow_mixed_kinds=True)
    assert [group.label for group in result.groups] == ["a [eval]", "b [episode]"]
    assert result.kind == "episode+eval"


# Values without steps ------------------------------------------------------------------------------------------------


def test_a_score_table_needs_no_steps() -> None:
    result = answer(
        [curve("a", seed, [value], step_unit="none") for seed, value in enumerate((1.0, 2.0, 6.0))], rule=None, metric="mean"
    )
    assert result.groups[0].value == 3.0
    assert result.step == {} and result.step_unit == "none" and result.rule == "final:10%"
    assert result.groups[0].per_env[0].spread == "runs"


def test_evaluation_episodes_become_their_mean_and_it_is_said() -> None:
    result = answer([curve("a", 0, [1.0, 2.0, 6.0], step_unit="none")], rule=None, metric="mean", ddof=0)
    only = result.groups[0].per_env[0]
    assert result.rule == "mean" and noted(result, "Hopper-v4", "carry no steps")
    assert (only.mean, only.spread, only.low, only.runs) == (3.0, "episodes", None, 1)
    assert only.std == pytest.approx(np.std([1, 2, 6]))
    assert noted(result, "no interval where there is one run")


@pytest.mark.parametrize("rule", ["last", "auc", "at:10", "best-of-mean-curve"])
def test_rules_that_need_an_order_are_refused_for_episodes(rule: str) -> None:
    with pytest.raises(UsageError):
        answer([curve("a", 0, [1.0, 2.0], step_unit="none")], rule=rule)


def test_at_has_no_meaning_without_steps() -> None:
    with pytest.raises(UsageError, match="there is no step 10"):
        answer([curve("a", 0, [1.0], step_unit="none")], at=10)


# Numbers -------------------------------------------------------------------------------------------------------------


def test_without_normalisation_several_environments_have_no_pooled_number() -> None:
    result = answer([*flat("a", [1, 2], env="Hopper-v4"), *flat("a", [100, 200], env="Ant-v4")], interval_from=2)
    group = result.groups[0]
    assert (group.value, group.low, group.high, group.envs, group.runs) == (None, None, None, 2, 4)
    assert [(env.env, env.value) for env in group.per_env] == [("Ant-v4", 150.0), ("Hopper-v4", 1.5)]
    assert all(env.low is not None for env in group.per_env)
    assert noted(result, "no pooled number") and result.pooled_envs == ()


def test_two_runs_have_an_interval_only_on_request() -> None:
    curves = [*flat("a", [1, 2]), *flat("b", [1, 2, 3])]
    result = answer(curves)
    assert [(group.low is None, group.high is None) for group in result.groups] == [(True, True), (False, False)]
    assert noted(result, "no interval below 3 runs: a, Hopper-v4: 2", "--interval-from 2")
    asked = answer(curves, interval_from=2)
    assert all(group.low is not None for group in asked.groups) and not noted(asked, "no interval")
    with pytest.raises(UsageError, match="no interval from 1 runs"):
        answer(curves, interval_from=1)


def test_the_default_is_wider_than_rliables_and_each_says_what_it_is() -> None:
    curves = flat("a", [1, 2, 4, 9, 3])
    calibrated, percentile = answer(curves), answer(curves, interval="percentile")
    assert (calibrated.interval.method, percentile.interval.method) == ("calibrated", "percentile")
    wide, narrow = calibrated.groups[0], percentile.groups[0]
    assert None not in (wide.low, wide.high, narrow.low, narrow.high)
    assert wide.low < narrow.low <= narrow.high < wide.high
    for result in (calibrated, percentile, answer(curves, interval="bca"), answer(curves, interval="basic")):
        assert "below 10 seeds" in result.interval.note or "fewer than 10 seeds" in result.interval.note
        assert "for the iqm of the score distributions" in result.interval.note


def test_equal_runs_are_said_to_be_a_point() -> None:
    result = answer([*flat("a", [2, 2, 2]), *flat("b", [1, 2, 3])])
    assert (result.groups[0].low, result.groups[0].high) == (2.0, 2.0)
    assert noted(result, "all runs gave the same score, so that the interval is a point: a, Hopper-v4")


def test_a_gap_at_the_ceiling_has_a_binomial_end() -> None:
    runs = [curve("a", seed, [value], env="walker-walk") for seed, value in enumerate((1000.0, 1000.0, 1000.0))]
    group = (result := answer(runs, metric="optimality-gap", normalize="dmc")).groups[0]
    assert (group.value, group.low, group.high) == (0.0, 0.0, pytest.approx(1 - 0.025 ** (1 / 3)))
    assert noted(result, "no run falls short of gamma", "binomial", "a, walker-walk") and not noted(result, "a point")


def test_pooled_numbers_use_the_environments_of_every_group() -> None:
    curves = [
        *flat("a", [100, 200], env="walker-walk"),
        *flat("a", [900, 900], env="walker-run"),
        *flat("b", [300, 300], env="walker-walk"),
    ]
    result = answer(curves, metric="mean")
    assert result.normalization == "dmc v1" and result.pooled_envs == ("walker-walk",)
    assert {group.label: group.value for group in result.groups} == {"a": pytest.approx(0.15), "b": pytest.approx(0.3)}
    assert [len(group.per_env) for group in result.groups] == [2, 1]
    assert noted(result, "shown apart", "walker-run")
    apart = answer([*flat("a", [1, 2], env="walker-walk"), *flat("b", [1, 2], env="walker-run")])
    assert [group.value for group in apart.groups] == [None, None] and noted(apart, "no environment has runs of every group")


def test_one_run_has_no_interval() -> None:
    result = answer(flat("a", [3.0]), ddof=0)
    only = result.groups[0].per_env[0]
    assert (result.groups[0].value, result.groups[0].low, only.low, only.std) == (3.0, None, None, None)


def test_std_takes_ddof() -> None:
    assert answer(flat("a", [1, 3]), ddof=1).groups[0].per_env[0].std == pytest.approx(math.sqrt(2))
    assert answer(flat("a", [1, 3]), ddof=0).groups[0].per_env[0].std == pytest.approx(1.0)
    assert answer(flat("a", [1, 3]), ddof=2).groups[0].per_env[0].std is None
    with pytest.raises(UsageError):
        answer(flat("a", [1, 3]), ddof=-1)


def test_few_points_are_flagged() -> None:
    few = answer([curve("a", seed, [1.0] * 20) for seed in range(2)], rule="final:10%")
    assert few.groups[0].per_env[0].points == (2, 2) and noted(few, "fewer than 3 points", "a, Hopper-v4")
    enough = answer([curve("a", seed, [1.0] * 30) for seed in range(2)], rule="final:10%")
    assert enough.groups[0].per_env[0].points == (3, 3) and not noted(enough, "fewer than 3 points")


def test_a_last_point_far_before_the_cut_is_flagged() -> None:
    sparse = [curve("b", seed, [1, 2], end=1800) for seed in range(2)]
    result = answer([*[curve("a", seed, [1.0] * 100) for seed in range(2)], *sparse])
    assert result.step == {"Hopper-v4": 1000}
    assert noted(result, "before 95 % of the cut", "b-Hopper-v4-0 (at 900)", "b-Hopper-v4-1 (at 900)")
    assert not noted(answer(flat("a", [1, 2])), "before 95 %")


def test_order_of_groups_and_runs_changes_no_byte() -> None:
    generator = np.random.default_rng(0)
    curves = [
        one
        for algo in "abc"
        for env in ("walker-walk", "walker-run")
        for one in flat(algo, generator.uniform(0, 1000, 6), env=env)
    ]
    forward, backward = answer(curves, resamples=2000), answer(curves[::-1], resamples=2000)
    assert forward == backward
    alone = answer([one for one in curves if one.run.algo == "b"], resamples=2000)
    assert alone.groups[0] == forward.groups[1]
    assert forward.groups != answer(curves, resamples=2000, seed=1).groups


def test_optimality_gap_needs_normalised_scores() -> None:
    with pytest.raises(UsageError, match="raw returns"):
        answer(flat("a", [1, 2]), metric="optimality-gap")
    assert answer(flat("a", [500, 500], env="walker-walk"), metric="optimality-gap").groups[0].value == pytest.approx(0.5)


def test_tables_normalise_returns_only() -> None:
    losses = [replace(one, metric=Metric("loss", "other")) for one in flat("a", [1, 2], env="walker-walk")]
    assert answer(losses).normalization == "none"
    assert answer(losses, normalize="dmc").normalization == "dmc v1"
    assert answer(flat("a", [1, 2], env="walker-walk"), normalize="none").normalization == "none"


def test_notes_on_a_ratio_of_pooled_configurations() -> None:
    curves = [curve("a", seed, [float(lr)] * 10, config={"lr": lr}, run=f"{lr}-{seed}") for lr in (1, 2, 3) for seed in range(2)]
    assert [group.label for group in answer(curves).groups] == ["a lr=1", "a lr=2", "a lr=3"]
    pooled = answer(curves, pool=True, metric="mean")
    assert [(group.label, group.runs, group.value) for group in pooled.groups] == [("a", 6, 2.0)]
    assert noted(pooled, "a pools runs that differ in lr")


def test_the_answer_is_json() -> None:
    result = answer([*flat("a", [1, 2, 3]), *flat("b", [1.0])], rule="best-per-run")
    record = json.loads(json.dumps(asdict(result), allow_nan=False))
    assert record["rule"] == "best-per-run" and record["sources"] == ["folder:logs"]
    seen = "fewer than 10 seeds: a failure that none of them had is not in it"
    covers = "for the iqm of the score distributions that seeds are drawn from, environments fixed"
    assert record["interval"]["note"] == f"calibrated, {seen}; {covers}"
    assert record["interval"]["fewest"] == 3
    assert noted(result, "optimistic")
    assert record["groups"][0]["by"] == {"algo": "a", "impl": "", "source": "folder", "project": "logs"}
