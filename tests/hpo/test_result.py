"""A study's answer: what a reader may quote, for studies of every kind, finished or not."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hpo.study_builder import Outcome, StudyBuilder, settings
from hypothesis import given
from hypothesis import strategies as st

from openrlb.errors import UsageError
from openrlb_analysis.comparison import Contest, verdict
from openrlb_analysis.intervals import interval_method
from openrlb_hpo.racing import ranking, value_at, worst_scores
from openrlb_hpo.records import Baseline, Reservation, StudyRecord, Trial
from openrlb_hpo.result import result_lines, study_result

TEST = [350.0, 360.0, 370.0, 340.0, 330.0, 380.0, 390.0, 320.0, 365.0, 345.0]
DEFAULT = [300.0, 310.0, 290.0, 320.0, 280.0, 315.0, 285.0, 305.0, 295.0, 300.0]
RESAMPLES = 2000
JSON_KEYS = {"study", "budget", "spent", "incumbent", "test", "gap", "verdict", "seeds", "test_peeks"}
TWO = ("CartPole-v1", "Acrobot-v1")
SCALE = {"CartPole-v1": (0.0, 500.0), "Acrobot-v1": (-500.0, 0.0)}


def plain(test: list[Any] = TEST, default: list[Any] = DEFAULT, **changed: Any) -> StudyRecord:
    builder = StudyBuilder(**changed)
    builder.trial([200.0]).trial([430.0, 440.0, 441.0], [400.0, 410.0, 420.0]).trial([300.0, 310.0, 320.0])
    return builder.test(1, test, default=default).record()


def answer(record: StudyRecord, **more: Any) -> Any:
    return study_result(record, resamples=RESAMPLES, **more)


def test_what_is_left_of_a_budget_is_named_with_the_reason() -> None:
    notes = [line for line in result_lines(answer(plain(budget=12))) if "left over" in line]
    assert notes == ["note: 2 of 12 runs of the budget are left over: one more configuration and its confirmation may take 9."]
    assert not any("left over" in line for line in result_lines(answer(plain(budget=10))))


def test_the_answer_of_a_whole_study_line_by_line() -> None:
    found = answer(plain())
    low, high = found.test.low, found.test.high
    assert found.test.score == 355.0 and low < 355.0 < high and 30 < high - low < 40  # t at 9 degrees: 2.26 * 22.7 / 10 ** 0.5
    lines = result_lines(found)
    assert lines[0] == (
        f"tuned 437.0 (tuning, optimistic) -> test 355.0 [{low:.1f}, {high:.1f}] on 10 unseen seeds; "
        f"default on the same test seeds 300.0 [{found.baselines[0].low:.1f}, {found.baselines[0].high:.1f}]; "
        f"difference +55.00 [{found.difference.low:.2f}, {found.difference.high:.2f}]: better; test seeds looked at once"
    )
    assert lines[1:3] == [
        "incumbent: trial 1 (sampled), learning_rate=0.002",
        "confirmed at 410.0 on 3 confirm seeds, which it was chosen by",
    ]
    assert lines[3].startswith("gap (tuning - test) +82.00 [") and "ignores that the incumbent was selected" in lines[3]
    assert lines[4] == "trials: 2 complete, 1 pruned, 0 failed; runs: 0 diverged, 0 lost, 0 failed"
    assert lines[5] == (
        "cost: 10 of 100 budget runs (7 tuning, 3 confirm) and 20 test runs, 1,500,000 environment steps, 0.300 hours of "
        "processes (all runs and attempts); 3 configurations tried (the budget of papers that do not count seeds), "
        "2.33 times all tuning seeds"
    )
    assert lines[6:] == [
        "note: 90 of 100 runs of the budget are left over: one more configuration and its confirmation may take 9."
    ]


def test_json_has_the_keys_that_scripts_rely_on() -> None:
    found = answer(plain()).to_json()
    assert set(found) >= JSON_KEYS
    assert set(found["incumbent"]) >= {"params", "tuning_score"} and found["incumbent"]["params"] == {"learning_rate": 0.002}
    assert set(found["test"]) == {"incumbent", "baselines"} and list(found["test"]["baselines"]) == ["default"]
    assert set(found["seeds"]) == {"tuning", "confirm", "test"}
    assert found["seeds"]["tuning"] == [100_000_000, 100_001_000, 100_002_000]
    assert found["seeds"]["test"][:2] == [300_000_000, 300_001_000] and len(found["seeds"]["test"]) == 10
    assert found["verdict"] == "better" and found["gap"]["value"] == 82.0 and found["test_peeks"] == 1
    assert found["cost"]["configurations"] == 3 and found["spent"] == 10 and found["budget"] == 100
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize(("seeds", "why"), [(1, "there is 1"), (2, "there are 2")])
def test_too_few_test_seeds_give_no_interval_and_no_evidence(seeds: int, why: str) -> None:
    found = answer(plain([400.0, 410.0][:seeds], [100.0, 101.0][:seeds], test_seeds=seeds))
    assert found.finished and (found.test.low, found.difference.low, found.gap.low) == (None, None, None)
    assert found.verdict == "no evidence"
    lines = result_lines(found)
    unseen = "1 unseen seed;" if seeds == 1 else "2 unseen seeds;"
    assert unseen in lines[0] and "no evidence of a difference (no interval)" in lines[0]
    assert any(f"no interval: an interval needs 3 runs, {why}" in line for line in lines)
    assert any("no interval, too few seeds" in line for line in lines)


def test_fewer_than_ten_test_seeds_are_said() -> None:
    few = "Fewer than 10 test seeds: a failure that none of them had is not in the interval."
    assert few in answer(plain(TEST[:5], DEFAULT[:5], test_seeds=5)).notes
    assert few not in answer(plain()).notes


def test_without_a_baseline_there_is_nothing_to_compare_with() -> None:
    found = answer(plain(baselines=()))
    assert found.finished and found.difference is None and found.verdict is None and found.gap.value == 82.0
    assert "no baseline was declared" in result_lines(found)[0] and found.to_json()["test"]["baselines"] == {}


def test_a_diverged_test_run_counts_at_the_worst_score_of_the_study_and_is_said() -> None:
    test: list[Outcome] = [*TEST[:8], "diverged", "diverged"]
    found = answer(plain(test))
    assert found.test.score == (sum(TEST[:8]) + 2 * 200.0) / 10 and found.test.runs == 10 and found.test.diverged == 2
    assert "on 10 unseen seeds (2 of 10 diverged)" in result_lines(found)[0]
    assert any("2 of 10 test runs in CartPole-v1 diverged and count at 200.0" in note for note in found.notes)
    worse = answer(plain(test, [*DEFAULT[:9], 50.0]))  # a baseline's test run may be the worst of the study
    assert worse.test.score == (sum(TEST[:8]) + 2 * 50.0) / 10


def test_lost_and_failed_test_runs_are_missing_and_named() -> None:
    found = answer(plain([*TEST[:8], "lost", "failed"]))
    assert found.finished and found.test.score == np.mean(TEST[:8]) and found.test.runs == 8 and found.test.declared == 10
    assert [(one.state, one.seed) for one in found.test.missing] == [("lost", 300_008_000), ("failed", 300_009_000)]
    assert "on 8 of 10 runs on 10 unseen seeds (2 lost or failed)" in result_lines(found)[0]
    assert any(
        f"test run {found.test.missing[0].run} of seed 300008000 in CartPole-v1 does not count: lost" in n for n in found.notes
    )


def test_when_every_test_run_is_lost_there_is_no_score_and_no_verdict() -> None:
    found = answer(plain(["lost"] * 10))
    assert (found.test.score, found.gap, found.difference, found.verdict) == (None, None, None, None)
    assert found.finished and "-> test none on 0 of 10 runs" in result_lines(found)[0]
    assert any("no test run counts in CartPole-v1" in note for note in found.notes)
    json.dumps(found.to_json(), allow_nan=False)


def test_when_every_run_diverged_there_is_nothing_to_count_them_at() -> None:
    record = StudyBuilder().trial(["diverged"] * 3).test(0, ["diverged"] * 10, default=["diverged"] * 10).record()
    found = answer(record)
    assert found.incumbent.tuning_score is None and found.test.score is None and found.counts.runs_diverged == 23
    assert any("diverged and has no finite score to count at" in note for note in found.notes)


def test_the_stronger_baseline_is_the_one_that_is_compared_with() -> None:
    names = Baseline("default", {}, "defaults"), Baseline("published", {}, "a zoo")
    builder = StudyBuilder(baselines=names).trial([430.0, 440.0, 441.0])
    record = builder.test(0, TEST, default=DEFAULT, published=[one + 100 for one in DEFAULT]).record()
    found = answer(record)
    assert found.difference.baseline == "published" and found.difference.value == -45.0 and found.verdict == "worse"
    assert any(line.startswith("default on the same test seeds 300.0 [") for line in result_lines(found))


def test_a_margin_makes_equivalence_and_must_mean_something() -> None:
    same = plain(TEST, [one + 1 for one in TEST])
    assert answer(same).verdict == "no evidence"
    found = answer(same, margin=50.0)
    assert found.verdict == "equivalent" and "equivalent within 50.00" in result_lines(found)[0]
    with pytest.raises(UsageError):
        answer(same, margin=-1.0)


def test_an_unfinished_study_has_no_result_and_says_what_is_missing() -> None:
    empty = answer(StudyBuilder().record())
    assert result_lines(empty)[0] == "no result yet: no trial has all its tuning seeds; 0 of 100 runs spent"
    tuning = answer(StudyBuilder().trial([10.0, 20.0, 30.0]).trial([40.0], state="running").record())
    expected = "no result yet: best so far trial 0 tuned 20.00 (tuning, optimistic); not tested; 4 of 100 runs spent"
    assert result_lines(tuning)[0] == expected
    assert tuning.incumbent is None and tuning.best_so_far.trial == 0 and tuning.to_json()["incumbent"] is None
    assert any("9 more are kept for the confirmation" in note for note in tuning.notes)
    for found in (empty, tuning):
        assert (found.test, found.gap, found.verdict, found.finished) == (None, None, None, False)
        assert set(found.to_json()) >= JSON_KEYS


@pytest.mark.parametrize("last", [[], ["open"]])
def test_no_verdict_is_given_before_every_test_run_has_its_outcome(last: list[Any]) -> None:
    found = answer(plain([one + 1000 for one in TEST], [*DEFAULT[:9], *last]))
    assert (found.verdict, found.difference, found.gap, found.finished) == (None, None, None, False)
    assert result_lines(found)[0] == "tuned 437.0 (tuning, optimistic); no test score yet: 19 of 20 test runs are done"
    assert found.baselines[0].unfinished == 1 and "test phase is not over" in found.notes[0]


@given(st.integers(0, 19), st.lists(st.floats(600, 1e6), min_size=20, max_size=20, unique=True))
def test_no_test_score_is_shown_before_the_last_one_is_there(done: int, scores: list[float]) -> None:
    """Whatever is done, and however it lies in what is shown."""
    own, other = scores[0:done:2], scores[1:done:2]
    found = study_result(plain(own, other), resamples=50)
    told = json.dumps(found.to_json()) + "\n".join(result_lines(found))
    assert not any(f"{score!r}" in told for score in scores) and found.test is not None
    every = [found.test, *found.baselines]
    assert [one.runs for one in every] == [len(own), len(other)]
    assert all((one.score, one.low, one.high, one.diverged) == (None, None, None, 0) for one in every)
    assert all(env.scores == () and env.score is None for one in every for env in one.per_env)


def one_configuration(published: list[float] | None = None) -> StudyRecord:
    """A study whose incumbent is its default baseline: their test runs are the same."""
    names = (Baseline("default", {}, "defaults"), *([Baseline("published", {}, "a zoo")] if published else []))
    builder = StudyBuilder(baselines=names).trial([430.0, 440.0, 441.0], origin="default")
    record = builder.test(0, TEST, default=TEST, **({"published": published} if published else {})).record()
    own = {row.seed: row.run for row in record.rows("trial:0", "test")}
    rows = [replace(row, run=own[row.seed]) if row.configuration == "baseline:default" else row for row in record.reservations]
    return replace(record, reservations=tuple(rows))


def test_an_incumbent_that_is_a_baseline_is_not_compared_with_itself() -> None:
    found = answer(one_configuration())
    assert (found.incumbent_is, found.difference, found.verdict) == ("default", None, "is a baseline")
    assert "unseen seeds; the incumbent is the baseline default; test seeds" in result_lines(found)[0]
    assert not any("default on the same test seeds" in line for line in result_lines(found))
    weaker = answer(one_configuration([one - 50 for one in TEST]))
    assert weaker.verdict == "is a baseline" and "the baseline default, and no other is stronger;" in result_lines(weaker)[0]
    stronger = answer(one_configuration([one + 200 for one in TEST]))
    assert stronger.verdict == "worse" and stronger.difference.baseline == "published"
    assert "the incumbent is the baseline default; published on the same test seeds" in result_lines(stronger)[0]
    assert answer(plain(TEST, TEST)).incumbent_is is None  # equal scores are no equal runs


def two_environments(**changed: Any) -> StudyRecord:
    cart, acro = [250.0, 260.0, 240.0, 250.0], [-100.0, -90.0, -110.0, -100.0]
    builder = StudyBuilder(envs=TWO, scale=SCALE, normalization="ends", test_seeds=4, **changed)
    builder.trial({"CartPole-v1": [500.0] * 3, "Acrobot-v1": [-50.0] * 3})
    default = {"CartPole-v1": [200.0, 210.0, 190.0, 200.0], "Acrobot-v1": [-200.0, -190.0, "diverged", -200.0]}
    return builder.test(0, {"CartPole-v1": cart, "Acrobot-v1": acro}, default=default).record()


def test_two_environments_count_equally_on_their_own_scale() -> None:
    found = answer(two_environments())
    assert found.incumbent.tuning_score == pytest.approx((1.0 + 0.9) / 2)
    assert found.test.score == pytest.approx((0.5 + 0.8) / 2) and found.test.declared == 8
    assert [(one.env, one.score) for one in found.test.per_env] == [("CartPole-v1", 250.0), ("Acrobot-v1", -100.0)]
    assert found.baselines[0].score == pytest.approx((0.4 + (0.6 + 0.62 + 0.6 + 0.6) / 4) / 2)  # diverged: at -200, the worst
    lines = result_lines(found)
    assert "on 4 unseen seeds in each of 2 environments" in lines[0]
    assert (
        sum(line.startswith(("CartPole-v1 (test): incumbent 250.0", "Acrobot-v1 (test): incumbent -100.0")) for line in lines)
        == 2
    )
    assert "Scores are normalised by ends, every environment counting equally." in found.notes


def test_several_environments_without_a_common_scale_are_refused() -> None:
    with pytest.raises(UsageError, match="no common scale"):
        study_result(StudyRecord(settings(envs=TWO), 100, "2026-01-01T00:00:00Z"))
    with pytest.raises(UsageError, match="has no length"):
        study_result(StudyRecord(settings(scale={"CartPole-v1": (1.0, 1.0)}), 100, "2026-01-01T00:00:00Z"))


def test_at_a_ceiling_an_interval_has_a_width_and_stays_below_the_ceiling() -> None:
    record = StudyBuilder().trial([9.0]).trial([500.0] * 3).test(1, [500.0] * 10, default=[500.0] * 10).record()
    found = answer(record)
    reach = 1 - 0.025 ** (1 / 10)  # Clopper and Pearson's limit of a share of which ten runs showed nothing
    assert found.test.high == 500.0 and found.test.low == pytest.approx(500 - reach * 491) and found.test.ceiling
    assert found.difference.low < 0 < found.difference.high and found.verdict == "no evidence"
    assert answer(record, margin=10.0).verdict == "no evidence"  # ten equal runs do not show that no run can differ
    assert any("scored alike" in note for note in found.notes)


def test_runs_that_are_all_equal_say_nothing_of_their_spread() -> None:
    found = answer(StudyBuilder().trial([500.0] * 3).test(0, [500.0] * 10, default=[500.0] * 10).record(), margin=10.0)
    assert (found.test.low, found.difference.low, found.gap.low, found.verdict) == (None, None, None, "no evidence")
    assert any("which says nothing of how much runs differ" in note for note in found.notes)


def test_full_separation_at_a_ceiling_is_still_better() -> None:
    record = StudyBuilder().trial([9.0]).trial([500.0] * 3).test(1, [500.0] * 10, default=[9.0] * 10).record()
    assert answer(record).verdict == "better"


def test_several_looks_at_the_test_seeds_are_said() -> None:
    builder = StudyBuilder().trial([430.0, 440.0, 441.0]).test(0, TEST, default=DEFAULT, peeks=3)
    found = answer(builder.record())
    assert result_lines(found)[0].endswith("test seeds looked at 3 times") and any("each look a chance" in n for n in found.notes)


def test_names_and_reasons_of_others_stay_on_their_line() -> None:
    hostile = Baseline("mine\n\x1b[31mbetter", {}, "a file")
    builder = StudyBuilder(baselines=(hostile,)).trial([430.0, 440.0, 441.0], params={"act\nivation": "re\rlu"})
    lines = result_lines(answer(builder.test(0, TEST, **{hostile.name: DEFAULT}).record()))
    assert all(line.isprintable() for line in lines) and "mine [31mbetter on the same" in lines[0]


finite = st.floats(-1e4, 1e4).map(lambda value: round(value, 3))
outcomes = st.one_of(finite, st.sampled_from(["diverged", "lost", "failed", "open"]))


@given(st.lists(finite, min_size=4, max_size=8), st.lists(finite, min_size=4, max_size=8))
def test_the_verdict_is_the_one_of_openrlb_compare(first: list[float], second: list[float]) -> None:
    size = min(len(first), len(second))
    first, second = first[:size], second[:size]
    if len(set(first)) == 1 and len(set(second)) == 1:
        return  # a bootstrap of equal runs has no width; the tests of ceilings are about those
    builder = StudyBuilder(test_seeds=size).trial([0.0, 0.0, 0.0]).test(0, first, default=second)
    found = study_result(builder.record(), resamples=200).difference
    how = interval_method("calibrated", 0.95, 200, 0)
    contest = Contest("incumbent", "default", ("CartPole-v1",), (np.array(first),), (np.array(second),))
    ends = contest.interval("mean", how)
    assert ends is not None and (found.low, found.high) == pytest.approx(ends, rel=1e-9, abs=1e-9)
    assert found.value == pytest.approx(contest.estimate("mean"), rel=1e-9, abs=1e-9)
    word = verdict(*ends)
    assert found.verdict == ("no evidence" if word == "undecided" else word)


@given(
    st.lists(st.lists(outcomes, min_size=0, max_size=3), min_size=1, max_size=4),
    st.lists(outcomes, max_size=5),
    st.lists(outcomes, max_size=5),
    st.booleans(),
)
def test_every_study_has_an_answer(trials: list[list[Any]], test: list[Any], default: list[Any], frozen: bool) -> None:
    builder = StudyBuilder(test_seeds=5)
    for runs in trials:
        broken = any(one in ("lost", "failed") for one in runs)
        builder.trial(runs, state="failed" if broken else "running" if "open" in runs or not runs else None)
    if frozen:
        builder.test(0, test, default=default)
    record = builder.record()
    found = study_result(record, resamples=50)
    assert json.loads(json.dumps(found.to_json(), allow_nan=False)) == found.to_json()
    lines = result_lines(found)
    assert len(lines) >= 3 and all(line.isprintable() for line in lines)
    assert sum(row.charge for row in record.reservations) == found.spent
    best = ranking(record)
    assert (found.best_so_far is None) == (not best)
    value = value_at(record, best[0], 3, worst_scores(record)) if best else 0.0
    if best and np.isfinite(value):  # the planner and the answer mean the same score
        assert found.best_so_far is not None and found.best_so_far.tuning_score == pytest.approx(value)
    if frozen:
        counted = [one for one in test if isinstance(one, float)]
        every = [one.score for one in record.reservations if one.score is not None]
        counted += [min(every)] * test.count("diverged") if every else []
        expected = None if not counted else pytest.approx(float(np.mean(counted)))
        assert found.test is not None and found.test.runs == len(counted)
        assert found.test.score == (expected if found.finished else None)
        assert found.test.low is None or found.test.low < found.test.high
        settled = sum(one != "open" for one in [*test, *default])
        assert found.finished == (settled == 10) and (found.finished or found.verdict is None)


@given(st.lists(finite, min_size=5, max_size=5, unique=True), st.lists(finite, min_size=5, max_size=5, unique=True), finite)
def test_a_score_unit_with_another_zero_changes_no_difference(first: list[float], second: list[float], zero: float) -> None:
    def moved(by: float) -> Any:
        builder = StudyBuilder(test_seeds=5).trial([by, by + 1, by + 2])
        return study_result(builder.test(0, [x + by for x in first], default=[x + by for x in second]).record(), resamples=100)

    here, there = moved(0.0), moved(zero)
    assert there.difference.value == pytest.approx(here.difference.value, abs=1e-6)
    assert there.gap.value == pytest.approx(here.gap.value, abs=1e-6)
    assert there.gap.low == pytest.approx(here.gap.low, abs=1e-5, rel=1e-6)
    assert there.test.score == pytest.approx(here.test.score + zero, abs=1e-6)


def test_an_interval_stays_within_what_the_environment_allows() -> None:
    asked = replace(settings(), envs=("CartPole-v1",), confirm=0, test_seeds=3)
    rows = [
        Reservation(number, *told, "finished", score)  # type: ignore[call-arg]
        for number, (told, score) in enumerate(
            [(("trial:0", "tuning", "CartPole-v1", i, i, f"t{i}", 1), 300.0 + i) for i in range(asked.tuning_seeds)]
            + [(("trial:0", "test", "CartPole-v1", i, i, f"e{i}", 0), score) for i, score in enumerate((20.0, 500.0, 90.0))]
        )
    ]
    trial = Trial(0, {}, {"learning_rate": 0.1}, state="complete")
    record = StudyRecord(replace(asked, baselines=()), 9, "now", (trial,), tuple(rows), 0, "now", 1)
    found = study_result(record, resamples=500)
    assert found.test is not None and found.test.low is not None and found.test.high is not None
    assert found.test.low >= 0.0 and found.test.high <= 500.0
