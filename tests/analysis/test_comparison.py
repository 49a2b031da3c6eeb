"""The one verdict rule: its words, Holm's step-down by intervals, pairs, and how often it errs in a small study."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri

from openrlb.errors import SelectionError, UsageError
from openrlb_analysis.comparison import Contest, compare_contests, compare_groups, step_down, verdict
from openrlb_analysis.paired import paired_interval, seed_correlation
from openrlb_analysis.result import IntervalMethod
from openrlb_analysis.verdict_words import Setting, sentence

FAST = IntervalMethod("calibrated", 0.95, 2000, 0)


@given(st.floats(-10, 10), st.floats(0, 10), st.one_of(st.none(), st.floats(0.1, 10)))
def test_the_verdict_follows_the_interval_alone(low: float, width: float, margin: float | None) -> None:
    high = low + width
    word = verdict(low, high, margin)
    within = margin is not None and -margin <= low and high <= margin
    assert (word == "equivalent") == within
    if not within:
        assert (word == "better") == (low > 0)
        assert (word == "worse") == (high < 0)
    opposite = {"better": "worse", "worse": "better"}
    assert verdict(-high, -low, margin) == opposite.get(word, word)


@given(st.lists(st.floats(-4, 4), min_size=1, max_size=6))
def test_step_down_decides_just_what_holms_p_values_reject(z: list[float]) -> None:
    def interval_at(index: int, share: float) -> tuple[tuple[float, float], float]:
        half = -ndtri(share / 2)
        return (z[index] - half, z[index] + half), 1 - share

    p = sorted((2 * ndtr(-abs(value)), index) for index, value in enumerate(z))
    rejected = set()
    for place, (value, index) in enumerate(p):
        if value >= 0.05 / (len(z) - place):
            break
        rejected.add(index)
    found = step_down(len(z), interval_at, None, 0.05)
    assert {index for index, (_, _, word) in enumerate(found) if word != "undecided"} == rejected
    assert all(level >= 0.95 for _, level, _ in found)


def test_a_clear_difference_a_small_one_and_none() -> None:
    base = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 2.5, 3.5, 3.0])
    method = FAST
    better = compare_groups({"a": [base + 10], "b": [base]}, margin=5.0, method=method)[0]
    assert (better.verdict, better.beyond_margin) == ("better", True)
    assert compare_groups({"a": [base - 10], "b": [base]}, method=method)[0].verdict == "worse"
    assert compare_groups({"a": [base + 0.1], "b": [base]}, margin=5.0, method=method)[0].verdict == "equivalent"
    assert compare_groups({"a": [base + 0.1], "b": [base]}, method=method)[0].verdict == "undecided"  # no margin, no equality
    assert better.probability_of_improvement.value == 1.0 and better.secondary.permutation is not None


def test_more_comparisons_widen_the_undecided_ones() -> None:
    base = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 2.5, 3.5, 3.0])
    groups = {"a": [base], "b": [base + 0.2], "c": [base - 0.1], "d": [base + 20]}
    alone = compare_groups({"a": groups["a"], "b": groups["b"]}, method=FAST)[0]
    among = {(one.first, one.second): one for one in compare_groups(groups, method=FAST)}
    assert alone.low is not None and among["a", "b"].low is not None and among["a", "b"].low < alone.low
    assert among["a", "b"].level == pytest.approx(1 - 0.05 / 3)  # the three clear ones are out of the way
    assert among["a", "d"].level == pytest.approx(1 - 0.05 / 6) and among["a", "d"].verdict == "worse"
    first = compare_groups(groups, method=FAST, against_first=True)
    assert [(one.first, one.second) for one in first] == [("a", "b"), ("a", "c"), ("a", "d")]


def test_the_order_of_groups_turns_the_sign_and_nothing_else() -> None:
    rng = np.random.default_rng(1)
    first, second = [rng.normal(1, 1, 6), rng.normal(1, 1, 5)], [rng.normal(0, 1, 7), rng.normal(0, 2, 5)]
    one = compare_groups({"a": first, "b": second}, method=FAST)[0]
    other = compare_groups({"b": second, "a": first}, method=FAST)[0]
    assert one.difference == pytest.approx(-other.difference)
    assert one.low == pytest.approx(-(other.high or 0.0), rel=0.05)


def test_too_few_runs_are_undecided_and_cost_the_others_nothing() -> None:
    three = Contest("a", "b", ("e",), (np.arange(4.0) + 50,), (np.arange(4.0),))
    one = Contest("a", "c", ("e",), (np.arange(4.0) + 50,), (np.array([1.0]),))
    found = compare_contests([three, one], metric="mean", method=FAST)
    assert (found[0].verdict, found[0].level) == ("better", 0.95)
    assert (found[1].verdict, found[1].low) == ("undecided", None)


def test_pairs_win_what_they_share_and_refuse_what_is_no_pair() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 5, 8)
    first, second = [shared + rng.normal(1, 0.3, 8)], [shared]
    paired = compare_groups({"a": first, "b": second}, paired=True, method=FAST)[0]
    free = compare_groups({"a": first, "b": second}, method=FAST)[0]
    assert paired.verdict == "better" and free.verdict == "undecided"
    assert paired.secondary.seed_correlation is not None and paired.secondary.seed_correlation > 0.95
    assert paired.secondary.t_test is not None and paired.secondary.t_test.name == "paired"
    order = rng.permutation(8)
    again = paired_interval([first[0][order]], [second[0][order]], "iqm", FAST)
    assert again == paired_interval(first, second, "iqm", FAST)  # the order of the seeds changes nothing
    assert seed_correlation([np.ones(3)], [np.arange(3.0)]) is None
    with pytest.raises(SelectionError, match="no pairs"):
        compare_groups({"a": [np.arange(4.0)], "b": [np.arange(5.0)]}, paired=True)


def test_what_cannot_be_compared_says_so() -> None:
    with pytest.raises(SelectionError, match="two groups"):
        compare_groups({"a": [np.arange(4.0)]})
    with pytest.raises(UsageError, match="matrix"):
        compare_groups({"a": np.zeros((5, 3)), "b": np.zeros((5, 3))})  # type: ignore[dict-item]
    with pytest.raises(UsageError, match="no verdict about"):
        compare_groups({"a": [np.arange(4.0)], "b": [np.arange(4.0)]}, metric="optimality-gap")
    with pytest.raises(UsageError, match="margin"):
        compare_groups({"a": [np.arange(4.0)], "b": [np.arange(4.0)]}, margin=-1)


def test_the_sentence_says_the_verdict_first_and_how_it_came_about() -> None:
    base = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    setting = Setting("iqm", "final:10%", 0.95, 1, 5.0, 3, name_envs=False)
    worse = compare_groups({"ppo": [base - 100], "a2c": [base]}, margin=5.0, method=FAST)[0]
    text = sentence(worse, setting, ("tuned against untuned", ""))
    assert text.startswith("ppo vs a2c: worse by 100 [9")  # how much it lacks, the smaller end first
    assert text.endswith("more than the margin of 5 (IQM of final:10%, 95 % Holm over 1 comparison, 5 v 5 seeds); "
                         "tuned against untuned; fewer than 10 seeds")  # fmt: skip
    few = compare_groups({"ppo": [base[:2]], "a2c": [base]}, method=FAST)[0]
    assert "no interval (IQM of final:10%, 2 v 5 seeds: an interval needs 3)" in sentence(few, setting)


def test_no_certainty_from_groups_whose_runs_all_agree() -> None:
    """R2: three equal runs against three other equal ones were ``better by 1 [1, 1]``."""
    setting = Setting("iqm", "final:10%", 0.95, 1, None, 3, name_envs=False)
    few = compare_groups({"a": [np.ones(3)], "b": [np.zeros(3)]}, method=FAST)[0]
    assert (few.verdict, few.low, few.high, few.difference) == ("undecided", None, None, 1.0)
    assert few.without_spread == (("a", "1"), ("b", "1"))
    assert sentence(few, setting).startswith("a vs b: undecided: no spread seen in 3 v 3 seeds, difference 1")
    shifted = np.array([0.1, 0.2, 0.3, 0.4])
    pairs = compare_groups({"a": [shifted + 1], "b": [shifted]}, paired=True, method=FAST)[0]
    assert (pairs.verdict, pairs.low) == ("undecided", None)  # the pairs' differences are all 1
    assert compare_groups({"a": [np.ones(3)], "b": [np.zeros(3)]}, margin=2.0, method=FAST)[0].verdict == "undecided"
    one = compare_groups({"a": [np.ones(5)], "b": [np.array([0.0, 0.1, 0.2, 0.1, 0.0])]}, method=FAST)[0]
    assert one.verdict == "better" and "; no spread seen in a; fewer than 10 seeds" in sentence(one, setting)
    many = compare_groups({"a": [np.ones(10)], "b": [np.zeros(10)]}, method=FAST)[0]
    assert many.verdict == "better" and "no spread seen in a and b" in sentence(many, setting)


def test_a_comparison_without_spread_still_counts_among_the_others() -> None:
    clear, still = (np.arange(4.0) + 50, np.arange(4.0)), (np.ones(4), np.zeros(4))
    found = compare_contests(
        [Contest("a", "b", ("e",), (clear[0],), (clear[1],)), Contest("c", "d", ("e",), (still[0],), (still[1],))],
        metric="mean", method=FAST,
    )  # fmt: skip
    assert [one.verdict for one in found] == ["better", "undecided"]
    assert found[0].level == 0.975


def test_a_difference_within_the_margin_or_about_it_says_so() -> None:
    """N7: the margin fell silent where a difference was there but not shown to exceed it."""
    base = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 2.5, 3.5, 3.0])
    setting = Setting("iqm", "final:10%", 0.95, 1, 4.5, 3, name_envs=False)
    found = compare_groups({"a": [base + 5], "b": [base]}, margin=4.5, method=FAST)[0]
    assert (found.verdict, found.beyond_margin) == ("better", False)
    assert "]; not shown to exceed the margin 4.5 (IQM" in sentence(found, setting)


def test_with_a_margin_the_error_of_all_comparisons_holds() -> None:
    """R4: Holm's step-down with a margin erred in 6.4 to 6.9 %: a right ``better`` freed an error that was spent."""
    rng = np.random.default_rng(0)
    true, errors, margin, trials = np.array([10.0001] * 4 + [0.0]), np.array([1.0] * 4 + [20.0]), 10.0, 8000
    edges = {5 - done: float(-ndtri(0.05 / (5 - done) / 2)) for done in range(5)}
    wrong = 0
    for _ in range(trials):
        seen = true + errors * rng.standard_normal(5)

        def interval_at(at: int, share: float, seen: np.ndarray = seen) -> tuple[tuple[float, float], float]:
            half = edges[round(0.05 / share)] * errors[at]
            return (seen[at] - half, seen[at] + half), 1 - share

        words = [word for _, _, word in step_down(5, interval_at, margin, 0.05)]
        wrong += any(
            (word == "better" and one <= 0) or (word == "worse" and one >= 0) or (word == "equivalent" and abs(one) > margin)
            for word, one in zip(words, true, strict=True)
        )
    assert wrong / trials <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / trials)  # 5.5 %


def test_pairs_are_judged_by_both_groups_of_runs() -> None:
    """The spread of pairs is that of their differences, not of one group."""
    first, second = np.array([1.0, 3.0, 8.0, 2.0]), np.array([0.5, 2.0, 7.0, 2.5])
    contest = Contest("a", "b", ("e",), (first,), (second,), paired=True)
    assert contest.parts("mean")[0].tolist() == [0.5, 1.0, 1.0, -0.5]
    paired = paired_interval([first], [second], "mean", FAST)
    alone = paired_interval([first], [np.zeros(4)], "mean", FAST)
    assert paired is not None and alone is not None
    assert paired[1] - paired[0] < 0.5 * (alone[1] - alone[0])


def test_seeds_are_counted_for_the_adjusted_level() -> None:
    base = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 2.5, 3.5, 3.0])
    groups = {"a": [base], "b": [base + 0.1], "c": [base - 0.1]}
    among = compare_groups(groups, margin=1.0, method=FAST)[0].seeds_needed
    alone = compare_groups({"a": groups["a"], "b": groups["b"]}, margin=1.0, method=FAST)[0].seeds_needed
    assert among is not None and alone is not None and among.difference is not None and alone.difference is not None
    assert among.level == pytest.approx(1 - 0.05 / 3) and alone.level == 0.95
    assert among.difference > alone.difference


def test_scores_without_a_variance_are_refused_in_a_sentence() -> None:
    with pytest.raises(SelectionError, match="a cannot be compared") as refused:
        compare_groups({"a": [np.array([1e300, 2e300, 1.0])], "b": [np.arange(3.0)]})
    assert "reach 2e+300" in refused.value.why
    assert compare_groups({"a": [np.arange(4.0) * 1e59], "b": [np.arange(4.0)]}, method=FAST)[0].low is not None


def test_the_library_offers_comparisons_by_its_own_name() -> None:
    import openrlb_analysis as stats

    ppo, a2c = [np.array([5.0, 6.0, 7.0, 6.5, 5.5])], [np.array([1.0, 2.0, 3.0, 2.5, 1.5])]
    assert stats.compare_groups({"ppo": ppo, "a2c": a2c})[0].verdict == "better"
    found, size = stats.permutation(ppo, a2c), stats.hedges_g(ppo, a2c)
    assert found is not None and found.p == found.smallest and size is not None and size.g > 1
    pilot = stats.pilot_spread([*stats.parts_of("iqm", ppo), *stats.parts_of("iqm", a2c)])
    assert pilot is not None and (stats.seeds_needed(pilot, 1.0).difference or 0) > 5


@pytest.fixture(scope="module")
def study() -> Iterator[ModuleType]:
    """benchmarks/verdicts.py."""
    path = Path(__file__).parents[2] / "benchmarks" / "verdicts.py"
    spec = importlib.util.spec_from_file_location("openrlb_verdict_study", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_equal_groups_are_seldom_called_different_even_with_three_looks(study: ModuleType) -> None:
    for what, rate in study.same(study.DISTRIBUTIONS["normal"], 150, 400).items():
        allowed = 0.06 if "uncorrected" not in what else 0.14
        assert rate.share <= allowed + 3 * rate.error, what


def test_equal_groups_at_a_ceiling_are_seldom_called_different(study: ModuleType) -> None:
    for what, rate in study.same(study.DISTRIBUTIONS["ceiling"], 150, 400).items():
        allowed = 0.06 if "uncorrected" not in what else 0.14
        assert rate.share <= allowed + 3 * rate.error, what


def test_a_difference_of_two_margins_is_found(study: ModuleType) -> None:
    rates = study.found(study.DISTRIBUTIONS["normal"], 60, 400)
    assert next(rate.share for what, rate in rates.items() if what.endswith("better")) >= 0.8
