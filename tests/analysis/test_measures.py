"""What ``plot --metric`` computes beside aggregates, versions as one task, the task bootstrap, and input that has no answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from openrlb.errors import SelectionError, UsageError
from openrlb.store.normalizations import Scale
from openrlb.types import EPISODIC_RETURN, Curve, Metric, MetricKind, Run
from openrlb_analysis.analyse import Analysis, analyse
from openrlb_analysis.estimators import estimator, interval_words
from openrlb_analysis.figures.alternative_text import alternative_text
from openrlb_analysis.figures.measure_figures import measure_figure
from openrlb_analysis.figures.measure_tables import measure_rows, shown_rows
from openrlb_analysis.figures.plotly_painter import paint
from openrlb_analysis.intervals import interval_method
from openrlb_analysis.measured import Efficiencies, Improvements, Measure, Profiles, Ranks, Thresholds
from openrlb_analysis.measures import MEASURES, MeasureOptions, measure, measured_result
from openrlb_analysis.reference_scores import reference_scales
from openrlb_analysis.report import html, plot_page
from openrlb_analysis.summary import summary_of
from openrlb_analysis.task_bootstrap import task_bootstrap_interval, task_draws

METHOD = interval_method("calibrated", 0.95, 500, 0)
OF_TWO = tuple(metric for metric in MEASURES if metric != "critical-difference")
"""Measures that two groups in one environment have; tests of the other one are in test_critical_difference.py."""


def curve(algo: str, seed: int, values: Sequence[float], env: str = "Hopper-v4", every: int = 100, **fields: Any) -> Curve:
    """One run that logs its values at equal steps, two milliseconds a step."""
    kind: MetricKind = fields.pop("kind", "eval")
    chosen: dict[str, Any] = {"state": "finished", "step_unit": "agent_step", **fields}
    run = Run("folder", f"{algo}-{env}-{seed}", "logs", "", algo, env, seed=seed, **chosen)
    steps = np.arange(1, len(values) + 1, dtype=np.int64) * every
    return Curve(run, Metric("r", kind, EPISODIC_RETURN), steps, np.array(values, dtype=float), steps * 2)


def rising(algo: str, heights: Sequence[float], env: str = "Hopper-v4", **fields: Any) -> list[Curve]:
    """A run for each height, which it reaches on a straight line over ten points."""
    return [
        curve(algo, seed, np.linspace(height / 10, height, 10).tolist(), env, **fields) for seed, height in enumerate(heights)
    ]


def scored(curves: Sequence[Curve], **options: Any) -> Analysis:
    return analyse(curves, **({"rule": "last", "normalize": "none"} | options))


def found(metric: str, curves: Sequence[Curve], **options: Any) -> Measure:
    return measure(metric, scored(curves), METHOD, MeasureOptions(**options))


TWO = [*rising("a", [4.0, 5.0, 6.0]), *rising("b", [1.0, 2.0, 3.0, 4.5])]


# The measures --------------------------------------------------------------------------------------------------------


def test_improvement_counts_pairs_of_runs_and_needs_no_normalisation() -> None:
    curves = [*TWO, *rising("a", [100.0] * 3, "Ant-v4"), *rising("b", [200.0] * 3, "Ant-v4")]
    poi = found("poi", curves)
    assert isinstance(poi, Improvements)
    (pair,) = poi.pairs
    assert pair.per_env == {"Ant-v4": 0.0, "Hopper-v4": pytest.approx(11 / 12)}
    assert pair.value == pytest.approx(11 / 24) and pair.runs == (6, 7)
    assert pair.low is not None and 0 <= pair.low < pair.value
    rows = measure_rows(poi)
    assert [row["env"] for row in rows] == ["(2 pooled)", "Ant-v4", "Hopper-v4"]
    assert shown_rows(poi)[0] == rows[:1]


def test_environments_that_not_every_group_has_are_left_out_and_said() -> None:
    analysis = scored([*TWO, *rising("a", [1.0] * 3, "Ant-v4")])
    poi = measure("poi", analysis, METHOD, MeasureOptions())
    assert poi.envs == ("Hopper-v4",)
    notes = measured_result("poi", analysis, poi, of="r").notes
    assert "pooled over Hopper-v4; shown apart, as not every group has them: Ant-v4" in notes


def test_profile_is_the_share_of_runs_above() -> None:
    profiles = found("profile", TWO)
    assert isinstance(profiles, Profiles)
    for one, scores in zip(profiles.profiles, ([4, 5, 6], [1, 2, 3, 4.5]), strict=True):
        assert one.value.tolist() == [sum(score > tau for score in scores) / len(scores) for tau in one.tau]
    rows, note = shown_rows(profiles)
    every = len(measure_rows(profiles))
    assert len(rows) == 22 and f"22 of {every} positions" in note and 202 < every <= 404


def test_ranks_without_a_normalisation_are_within_environments() -> None:
    curves = [*TWO, *rising("a", [100.0, 101.0, 99.0], "Ant-v4"), *rising("b", [200.0, 201.0, 199.0], "Ant-v4")]
    ranks = found("rank", curves)
    assert isinstance(ranks, Ranks)
    assert sum(one.mean_rank for one in ranks.ranks) == pytest.approx(3.0)
    assert any("within each environment" in note for note in ranks.notes)
    assert any("not a posterior probability" in note for note in ranks.notes)


def test_efficiency_follows_training_up_to_the_cut() -> None:
    curves = found("efficiency", TWO)
    assert isinstance(curves, Efficiencies)
    a = next(one for one in curves.curves if one.label == "a")
    assert a.x.tolist() == list(range(100, 1001, 100))
    assert a.value == pytest.approx(np.linspace(0.5, 5.0, 10))
    assert a.area == pytest.approx(2.75)
    wide = found("efficiency", TWO, band="simultaneous")
    assert isinstance(wide, Efficiencies)
    assert all(np.all(w.low <= p.low + 1e-9) for w, p in zip(wide.curves, curves.curves, strict=True))


def log_seldom(every: Sequence[Curve], of: int, algo: str) -> list[Curve]:
    """The same runs under another name, logged at each ``of``-th step only."""
    return [
        Curve(replace(one.run, algo=algo, run=f"{algo}-{one.run.run}"), one.metric, one.steps[of - 1 :: of],
              one.values[of - 1 :: of], one.times_ms[of - 1 :: of])
        for one in every
    ]  # fmt: skip


@pytest.mark.parametrize("x", ["steps", "time"])
@pytest.mark.parametrize("metric", ["efficiency", "steps-to-threshold"])
def test_how_often_a_group_logs_changes_no_number(metric: str, x: str) -> None:
    """The same algorithm logged every 100 and every 1,000 steps: areas 0.505 and 0.55 if each had positions of its own."""
    generator = np.random.default_rng(0)
    often = [curve("often", seed, (np.arange(1, 101) / 100 + generator.normal(0, 0.02, 100)).tolist()) for seed in range(4)]
    found_in = found(metric, [*often, *log_seldom(often, 10, "seldom")], threshold=0.5, x=x)
    rows = {label: [row for row in measure_rows(found_in) if row["label"] == label] for label in ("often", "seldom")}
    assert [{**row, "label": ""} for row in rows["often"]] == [{**row, "label": ""} for row in rows["seldom"]]
    if isinstance(found_in, Efficiencies):
        one, other = found_in.curves
        assert (one.area, one.area_low) == (other.area, other.area_low) and len(one.x) == 10
    assert any(note.startswith("10 positions in place of 100") for note in found_in.notes)
    assert any("count as many points in a bin" in note for note in found_in.notes)


def test_single_episodes_stand_for_the_way_to_them_and_are_all_averaged() -> None:
    often = [curve("often", seed, np.linspace(0.01, 1, 100).tolist(), kind="episode") for seed in range(3)]
    curves = found("efficiency", [*often, *log_seldom(often, 10, "seldom")])
    assert isinstance(curves, Efficiencies)
    assert curves.curves[0].value[0] == pytest.approx(0.055) and curves.curves[1].value[0] == pytest.approx(0.1)
    assert not any("as many points" in note for note in curves.notes)


def test_what_only_a_simultaneous_band_has_is_not_said_of_others() -> None:
    assert not any("simultaneous" in note for note in found("efficiency", TWO).notes)
    notes = [note for note in found("efficiency", TWO, band="simultaneous").notes if "simultaneous" in note]
    assert notes == ["the simultaneous band is 1 times as wide as the pointwise one"]  # straight lines: one multiplicity


def test_a_run_that_diverged_stands_at_the_failure_score_from_there() -> None:
    curves = [*rising("a", [4.0, 4.0]), curve("a", 9, [1.0, 2.0, float("nan")]), curve("a", 10, [1.0], state="diverged")]
    efficiency = found("efficiency", curves)
    assert isinstance(efficiency, Efficiencies)
    (a,) = efficiency.curves
    assert a.runs == 4 and a.value[-1] == pytest.approx((4.0 + 0.4) / 2)  # the middle two of 0.4, 0.4, 4, 4


def test_efficiency_by_time_leaves_untimed_runs_out_by_number() -> None:
    untimed = curve("a", 7, [1.0] * 10)
    untimed.times_ms[:] = -1
    timed = found("efficiency", [*TWO, untimed], x="time")
    assert isinstance(timed, Efficiencies)
    assert timed.x_unit == "hours" and any("1 runs are left out" in note for note in timed.notes)
    with pytest.raises(SelectionError, match="no curve by time"):
        found("efficiency", [untimed], x="time")


def test_steps_to_threshold_counts_runs_that_never_reach_it() -> None:
    thresholds = found("steps-to-threshold", TWO, threshold=4.0)
    assert isinstance(thresholds, Thresholds)
    a, b = thresholds.thresholds
    assert a.reached == {"Hopper-v4": 3} and b.reached == {"Hopper-v4": 1} and b.runs == {"Hopper-v4": 4}
    assert a.value == pytest.approx((1000 + 800 + 700) / 3)
    assert any("3 of 4 runs did not reach 4" in note for note in thresholds.notes)
    assert measure_rows(thresholds)[1]["median"] is None  # half the runs never reach it
    assert "b: no median: half the runs or more did not reach it in Hopper-v4" in thresholds.notes
    (columns,) = [note for note in thresholds.notes if note.startswith("value, median and curve count agent steps:")]
    assert "empty: not reached" in columns
    with pytest.raises(UsageError, match="no threshold is named"):
        found("steps-to-threshold", TWO)


@pytest.mark.parametrize("metric", OF_TWO)
def test_every_measure_can_be_drawn_and_names_what_must_be_known(metric: str) -> None:
    analysis = scored(TWO)
    measured = measure(metric, analysis, METHOD, MeasureOptions(threshold=3.0))
    result = measured_result(metric, analysis, measured, of="r")
    assert result.metric == metric and {group.label for group in result.groups} == {"a", "b"}
    figure = measure_figure(measured, result)
    assert paint(figure).data
    said = " ".join(figure.footer.sentences())
    assert "Cut: 1k agent steps" in said and "no run was left out" in said.lower()


def page_of(metric: str, curves: Sequence[Curve]) -> str:
    analysis = scored(curves)
    measured = measure(metric, analysis, METHOD, MeasureOptions(threshold=3.0))
    return html(plot_page(measured_result(metric, analysis, measured, of="r"), (), "openrlb plot", measured))


@pytest.mark.parametrize("metric", OF_TWO)
def test_captions_say_what_is_shown_and_nothing_else(metric: str) -> None:
    equal = [*rising("a", [5.0] * 3), *rising("b", [1.0, 2.0, 4.0])]
    page = page_of(metric, equal)
    assert "interval is a point" not in page  # these intervals are none of single scores
    assert "Scores of r, rule last, by environment" in page
    assert ("one score per run" in page) == (metric not in ("efficiency", "steps-to-threshold", "runtime"))
    assert ("ower is better" in page) == (metric == "steps-to-threshold")


def test_efficiency_bands_lie_within_bounds_and_say_so() -> None:
    wild = rising("a", [100.0, 300.0, 500.0], "CartPole-v1")
    curves = found("efficiency", wild)
    assert isinstance(curves, Efficiencies)
    assert curves.curves[0].low.min() == 0.0 and curves.curves[0].high.max() == 500.0 and curves.seen == (10.0, 500.0)
    assert "ointwise bands lie within what can be scored: 0 to 500 in CartPole-v1" in page_of("efficiency", wild)


def test_ranks_are_bars_at_whole_numbers() -> None:
    analysis = scored(TWO)
    measured = measure("rank", analysis, METHOD, MeasureOptions())
    figure = measure_figure(measured, measured_result("rank", analysis, measured, of="r"))
    drawn = paint(figure)
    assert [(trace.type, list(trace.x)) for trace in drawn.data] == [("bar", [1.0, 2.0]), ("bar", [1.0, 2.0])]
    assert (drawn.layout.xaxis.tickmode, drawn.layout.xaxis.dtick) == ("linear", 1)
    assert " at 1, " in alternative_text(figure)


def test_the_restricted_mean_says_what_its_interval_is_about() -> None:
    told = found("steps-to-threshold", TWO, threshold=3.0).interval.note
    assert "restricted mean" in told and "score distributions" not in told


# Input that has no answer --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["poi", "rank"])
def test_one_group_is_told_how_to_get_two(metric: str) -> None:
    with pytest.raises(SelectionError, match=f"{metric} compares groups") as error:
        found(metric, rising("a", [1.0, 2.0, 3.0]))
    assert "--by" in error.value.fix


def test_groups_without_a_common_environment_are_told_which_have_which() -> None:
    with pytest.raises(SelectionError, match="every group has runs in") as error:
        found("poi", [*rising("a", [1.0, 2.0]), *rising("b", [1.0, 2.0], "Hopper-v2")])
    assert "a has Hopper-v4; b has Hopper-v2" in error.value.why and "--merge-versions" in error.value.fix


@pytest.mark.parametrize("metric", ["profile", "efficiency", "steps-to-threshold"])
def test_returns_of_several_environments_are_on_no_common_scale(metric: str) -> None:
    with pytest.raises(SelectionError, match="pools environments") as error:
        found(metric, [*rising("a", [1.0] * 3), *rising("a", [1.0] * 3, "Ant-v4")], threshold=1.0)
    assert "--normalize ref:GROUP" in error.value.fix


@pytest.mark.parametrize("metric", [metric for metric in OF_TWO if metric != "interval-width"])
def test_one_seed_has_values_and_no_interval(metric: str) -> None:
    measured = found(metric, [*rising("a", [2.0]), *rising("b", [1.0])], threshold=0.5)
    ends = [row.get("low") for row in measure_rows(measured)]
    assert all(end is None for end in ends)


def test_mixed_kinds_are_refused() -> None:
    with pytest.raises(SelectionError, match="kinds episode and eval cannot be compared"):
        scored([*rising("a", [1.0]), *rising("b", [1.0], kind="episode")])


def test_disjoint_step_ranges_leave_the_short_group_scored_at_its_own_cut() -> None:
    late = curve("late", 0, [1.0, 2.0])
    late.steps[:] = [100_000, 200_000]
    analysis = scored([late, *rising("early", [1.0, 2.0, 3.0])], rule="final:10%")
    assert {label for label, _ in analysis.scored} == {"early"}
    assert any("no value in the window" in gone.reason for gone in analysis.excluded)
    assert any(note == "late: no run is left" for note in analysis.notes)


def test_a_transposed_matrix_cannot_enter() -> None:
    from openrlb_analysis import estimate, performance_profile, probability_of_improvement

    matrix = np.arange(60.0).reshape(10, 6)
    for call in (
        lambda: estimate(matrix), lambda: estimate(matrix.T), lambda: performance_profile(matrix, np.zeros(1)),
        lambda: probability_of_improvement(matrix, matrix),
    ):  # fmt: skip
        with pytest.raises(UsageError, match="matrix"):
            call()
    # Long rows cannot be transposed: environments and seeds are named, so that 6 environments with 10 seeds stay just that.
    curves = [curve("a", seed, [matrix[seed, env]], f"E{env}-v0") for seed in range(10) for env in range(6)]
    assert {key: len(one.scores) for key, one in scored(curves).scored.items()} == {("a", f"E{env}-v0"): 10 for env in range(6)}


# Versions as one task ------------------------------------------------------------------------------------------------


def test_versions_are_one_task_only_where_asked_and_equal_seeds_are_no_doubles() -> None:
    curves = [*rising("a", [1.0, 2.0], "Hopper-v2"), *rising("a", [3.0, 4.0], "Hopper-v4"), *rising("a", [5.0], "Ant-v4")]
    assert set(scored(curves).prepared.cuts) == {"Ant-v4", "Hopper-v2", "Hopper-v4"}
    merged = scored(curves, versions_as_one=True)
    assert set(merged.prepared.cuts) == {"Ant-v4", "Hopper"}
    assert sorted(merged.scored["a", "Hopper"].scores) == [1.0, 2.0, 3.0, 4.0]
    assert any("Hopper is Hopper-v2, Hopper-v4" in note for note in merged.notes)
    assert merged.excluded == ()


def test_merged_versions_that_count_unlike_steps_are_refused_or_aligned() -> None:
    curves = [*rising("a", [1.0, 2.0], "Pong-v0", step_unit="frame"), *rising("a", [3.0], "Pong-v5")]
    with pytest.raises(SelectionError, match="cannot be put on one step axis"):
        scored(curves, versions_as_one=True)
    assert scored(curves, versions_as_one=True, frames_per_step=1, normalize=None).normalization.text == "atari57-human v1"


def test_nothing_to_merge_is_said() -> None:
    assert any("nothing was merged" in note for note in scored(TWO, versions_as_one=True).notes)


# Reference scores ----------------------------------------------------------------------------------------------------


def ids(algo: str, count: int, env: str = "Hopper-v4") -> set[tuple[str, str]]:
    return {("folder", f"{algo}-{env}-{seed}") for seed in range(count)}


def test_reference_scores_are_the_runs_own() -> None:
    curves = [*rising("a", [4.0, 5.0, 9.0]), *rising("random", [1.0, 3.0])]
    analysis = scored(curves)
    high, low = (
        tuple(f"folder a-Hopper-v4-{seed}" for seed in range(3)),
        tuple(f"folder random-Hopper-v4-{seed}" for seed in (0, 1)),
    )
    assert reference_scales("ref", analysis, "a", ids("a", 3), ids("random", 2)) == {
        "Hopper-v4": Scale(2.0, 6.0, (), low, high, 1000, "agent_step")
    }
    assert reference_scales("minmax", analysis, "a", ids("a", 3))["Hopper-v4"] == Scale(
        4.0, 9.0, (), (), high, 1000, "agent_step"
    )
    assert reference_scales("cdf", analysis, "a", ids("a", 3))["Hopper-v4"].scores == (4.0, 5.0, 9.0)


def test_a_table_gives_the_random_agent_where_it_knows_one() -> None:
    analysis = scored(rising("a", [1.0, 5.0], "Pong-v5"))
    assert reference_scales("ref", analysis, "a", ids("a", 2, "Pong-v5"))["Pong-v5"].low == -20.7
    for env in ("Hopper-v4", "walker-walk"):  # the lowest return of a DMC task is no random agent's
        with pytest.raises(SelectionError, match=f"no random agent's score is known for {env}") as error:
            reference_scales("ref", scored(rising("a", [1.0, 5.0], env)), "a", ids("a", 2, env))
        assert "--random GROUP" in error.value.fix


def test_ends_that_are_not_apart_are_refused() -> None:
    curves = [*rising("a", [2.0, 2.0]), *rising("random", [3.0])]
    with pytest.raises(SelectionError, match="ref:a cannot normalise") as error:
        reference_scales("ref", scored(curves), "a", ids("a", 2), ids("random", 1))
    assert "not above the random agent's 3" in error.value.why
    with pytest.raises(SelectionError, match="minmax:a cannot normalise"):
        reference_scales("minmax", scored(curves), "a", ids("a", 2))
    with pytest.raises(SelectionError, match="cannot normalise Ant-v4"):
        reference_scales("minmax", scored([*curves, *rising("b", [1.0], "Ant-v4")]), "a", ids("a", 2))


# Spread, engine, task bootstrap --------------------------------------------------------------------------------------


def test_spread_over_runs_in_each_environment() -> None:
    analysis = scored(rising("a", [0.0, 1.0, 2.0, 3.0, 4.0]))
    for metric, value in (("cvar", 0.2), ("iqr", 2.0)):  # the worst 1.25 runs: 0 and a quarter of 1
        result = summary_of(analysis, of="r", metric=metric, method=METHOD, estimate=estimator(metric, METHOD))
        assert result.groups[0].value == pytest.approx(value)
        assert result.groups[0].per_env[0].low is not None


def test_the_intervals_of_spread_and_of_unseen_tasks_say_what_they_are() -> None:
    analysis = scored([*rising("a", [0.0, 1.0, 2.0, 3.0, 4.0]), *rising("b", np.arange(20.0).tolist())])
    cvar = {"told": interval_words("cvar", METHOD, worst_share=0.1), "estimate": estimator("cvar", METHOD, worst_share=0.1)}
    note = summary_of(analysis, of="r", metric="cvar", method=METHOD, **cvar).interval.note
    assert "10 % of 5 runs is at most one run: it is the worst run alone" in note and "of 20" not in note
    method = interval_method("percentile", 0.95, 200, 0)
    tasks = {
        "told": interval_words("iqm", method, task_bootstrap=True),
        "estimate": estimator("iqm", method, task_bootstrap=True),
    }
    note = summary_of(analysis, of="r", metric="iqm", method=method, **tasks).interval.note
    assert "environments fixed" not in note and "environments like these, which are resampled too" in note
    assert interval_words("iqm", method) is None


def test_rliable_computes_where_it_can_and_says_why_where_not() -> None:
    pytest.importorskip("rliable")
    method = interval_method("percentile", 0.95, 200, 0)
    tasks = [np.array([1.0, 2.0, 4.0]), np.array([3.0, 5.0, 9.0])]
    compute = estimator("iqm", method, engine="rliable")
    assert compute is not None and compute(tasks, None)[0] == pytest.approx(3.5)
    with pytest.raises(UsageError, match="equally many runs"):
        compute([*tasks, np.array([1.0])], None)
    with pytest.raises(UsageError, match="no calibrated interval"):
        estimator("iqm", METHOD, engine="rliable")(tasks, None)  # type: ignore[misc]
    with pytest.raises(UsageError, match="rliable has no cvar"):
        estimator("cvar", method, engine="rliable")


def test_task_bootstrap_agrees_with_its_definition_and_with_the_order_of_tasks() -> None:
    rng = np.random.default_rng(1)
    tasks = [rng.normal(place, 1.0, 6) for place in range(5)]
    draws = task_draws(tasks, "mean", resamples=40_000)
    assert draws.mean() == pytest.approx(np.mean(tasks), abs=0.02)
    means, within = np.array([one.mean() for one in tasks]), np.mean([one.var() / 6 for one in tasks])
    assert draws.var() == pytest.approx((means.var() + within) / 5, rel=0.04)
    assert task_draws(tasks[::-1], "iqm", resamples=50).tolist() == task_draws(tasks, "iqm", resamples=50).tolist()
    method = interval_method("percentile", 0.95, 500, 0)
    assert task_bootstrap_interval(tasks[:2], "iqm", method)[1:] == (None, None)
    with pytest.raises(UsageError, match="no calibrated interval"):
        estimator("iqm", METHOD, task_bootstrap=True)
