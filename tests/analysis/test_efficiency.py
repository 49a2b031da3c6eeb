"""Efficiency curves: common positions without stretching, shared draws, areas, bands for the whole curve, thresholds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from openrlb.errors import SelectionError, UsageError
from openrlb_analysis.aggregates import AGGREGATES
from openrlb_analysis.bootstrap import bootstrap_curves
from openrlb_analysis.efficiency import EfficiencyTables, efficiency_curve, efficiency_tables, efficiency_tables_of
from openrlb_analysis.engine import rliable_curve
from openrlb_analysis.intervals import bootstrap_interval, interval_method
from openrlb_analysis.thresholds import steps_to_threshold

PERCENTILE = interval_method("percentile", 0.95, 4_000, 0)
CALIBRATED = interval_method("calibrated", 0.95, 4_000, 0)


def walk(seed: int, runs: int, points: int, every: int = 10, drift: float = 0.1) -> list[tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(seed)
    steps = np.arange(1, points + 1) * every
    return [(steps, generator.normal(drift, 0.2, size=points).cumsum()) for _ in range(runs)]


def test_runs_that_log_at_the_same_steps_keep_their_values() -> None:
    runs = walk(0, 4, 20)
    laid = efficiency_tables([runs], points=20)
    assert laid.x.tolist() == list(range(10, 201, 10)) and not laid.notes
    assert sorted(laid.tables[0].tolist()) == sorted(values.tolist() for _, values in runs)


def test_positions_are_no_finer_than_every_run_logs() -> None:
    laid = efficiency_tables({"Pong": walk(0, 3, 100), "Qbert": walk(1, 2, 20, every=50)})
    assert len(laid.x) == 20 and laid.x[-1] == 1000
    assert any("20 positions in place of 100" in note for note in laid.notes)
    first = walk(0, 3, 100)[0][1]
    assert first.reshape(20, 5).mean(axis=1) in laid.tables[0]


def test_groups_are_laid_on_the_same_positions_and_read_at_the_same_steps() -> None:
    runs = walk(0, 3, 100)
    seldom = [(steps[9::10], values[9::10]) for steps, values in runs]
    laid = efficiency_tables_of({"often": [runs], "seldom": [seldom]})
    assert laid["often"].x.tolist() == laid["seldom"].x.tolist() == list(range(100, 1001, 100))
    assert laid["often"].tables[0].tolist() == laid["seldom"].tables[0].tolist()
    half = [(steps[4::5], values[4::5]) for steps, values in runs]  # two points in a bin: the fifth and the tenth
    coarse = efficiency_tables_of(
        {"often": [runs], "half": [half], "late": [[(np.arange(50, 1001, 50), np.zeros(20))]]}, points=10
    )
    assert coarse["often"].tables[0] == pytest.approx(coarse["half"].tables[0])
    mean = efficiency_tables_of({"often": [runs], "seldom": [seldom]}, matched=False)["often"].tables[0]
    assert sorted(mean[:, 0]) == pytest.approx(sorted(values[:10].mean() for _, values in runs))
    with pytest.raises(UsageError, match="not of the same environments"):
        efficiency_tables_of({"one": [runs], "two": [runs, runs]})


def test_a_run_cut_short_is_refused_and_never_stretched() -> None:
    """As published: a run that crashed at 30 % was stretched to the end, its 30 % score counted as final."""
    full, cut = walk(0, 2, 100), walk(1, 1, 30)
    with pytest.raises(SelectionError, match="ends at 300, and the end is 1000; nothing is stretched"):
        efficiency_tables([full + cut], ends=1000)
    laid = efficiency_tables([full + cut])
    assert laid.x[-1] == 300  # without an end the curves end where the first run does
    assert cut[0][1][-1] in laid.tables[0][:, -1]


def test_a_diverged_run_stands_at_its_failure_score_from_then_on() -> None:
    runs = [(steps, values + 5) for steps, values in walk(0, 3, 10)]
    runs[1][1][4:] = np.nan
    laid = efficiency_tables([runs], points=10, failure=-2.0)
    (row,) = [row for row in laid.tables[0] if row[-1] == -2.0]
    assert row[4:].tolist() == [-2.0] * 6 and row[3] == runs[1][1][3]
    assert laid.notes == ("environment 1: 1 of 3 runs diverged and count at -2 from there on",)
    lowest = min(float(values[np.isfinite(values)].min()) for _, values in runs)
    assert efficiency_tables([runs], points=10).tables[0].min() == lowest


def test_unlike_budgets_are_shares_of_each_environments_own_end() -> None:
    laid = efficiency_tables([walk(0, 3, 50), walk(1, 3, 100)], ends=[500, 1000], points=50)
    assert laid.shares and laid.x.tolist() == pytest.approx(np.linspace(0.02, 1.0, 50).tolist())
    assert any("share of each environment's own end (500 to 1000)" in note for note in laid.notes)
    alike = efficiency_tables([walk(0, 3, 50), walk(1, 3, 100)], points=50)
    assert not alike.shares and alike.x[-1] == 500  # by default nothing beyond the first run's end


@pytest.mark.parametrize("name", AGGREGATES)
def test_points_and_ends_are_those_of_the_scores_at_each_position(name: str) -> None:
    laid = efficiency_tables([walk(0, 4, 6), walk(1, 5, 6)], points=6)
    curve = efficiency_curve(laid, name, CALIBRATED)
    for place in range(6):
        tasks = [table[:, place] for table in laid.tables]
        assert curve.value[place] == pytest.approx(AGGREGATES[name](tasks), abs=1e-12)
        ends = bootstrap_interval(tasks, name, CALIBRATED)
        assert ends is not None
        width = ends[1] - ends[0]
        assert (curve.low[place], curve.high[place]) == pytest.approx(ends, abs=0.12 * width)  # other draws of the same law


def test_rliable_within_its_monte_carlo_error() -> None:
    laid = efficiency_tables([walk(env, 6, 5) for env in range(4)], points=5)
    theirs = rliable_curve(laid.tables, "iqm", interval_method("percentile", 0.95, 1_000, 0))
    ours = efficiency_curve(laid, "iqm", interval_method("percentile", 0.95, 20_000, 0))
    assert ours.value == pytest.approx(theirs[0], abs=1e-12)
    spread = bootstrap_curves(laid.tables, "iqm", resamples=2_000).std(axis=1)
    for mine, other in ((ours.low, theirs[1]), (ours.high, theirs[2])):
        assert (np.abs(mine - other) < 5 * 0.085 * spread).all()  # 0.085: an end's error with 1,000 draws, in sd


def test_the_area_is_that_of_whole_runs() -> None:
    """One run's luck lasts: drawing anew at each position would make the area's interval far too narrow."""
    runs = [(np.arange(1, 41), np.full(40, float(level))) for level in range(5)]
    curve = efficiency_curve(efficiency_tables([runs], points=40), "mean", PERCENTILE)
    assert curve.area.value == pytest.approx(2.0)
    assert curve.area.low is not None and curve.area.high is not None
    assert (curve.area.low, curve.area.high) == pytest.approx((curve.low[0], curve.high[0]), abs=1e-9)
    anew = np.mean([np.random.default_rng(0).integers(0, 5, size=(2_000, 40, 5)).mean(axis=2)], axis=2)
    assert np.ptp(np.quantile(anew, (0.025, 0.975))) < 0.3 * (curve.area.high - curve.area.low)


@pytest.mark.parametrize("name", ["mean", "iqm"])
def test_the_area_of_unequal_steps_is_trapezoidal(name: str) -> None:
    laid = EfficiencyTables(np.array([1.0, 2.0, 6.0]), (np.random.default_rng(0).normal(size=(4, 3)),), False, ())
    curve = efficiency_curve(laid, name, PERCENTILE)
    assert curve.area.value == pytest.approx(np.trapezoid(curve.value, laid.x) / 5.0)


def test_the_band_holds_whole_resampled_curves_and_no_wider_than_needed() -> None:
    laid = efficiency_tables([walk(env, 8, 20) for env in range(3)], points=20)
    curve = efficiency_curve(laid, "mean", PERCENTILE)
    assert (curve.band_low <= curve.low).all() and (curve.high <= curve.band_high).all()
    draws = bootstrap_curves(laid.tables, "mean", resamples=4_000, seed=99)
    inside = ((draws >= curve.band_low[:, None]) & (draws <= curve.band_high[:, None])).all(axis=0).mean()
    pointwise = ((draws >= curve.low[:, None]) & (draws <= curve.high[:, None])).all(axis=0).mean()
    assert pointwise < 0.85 < 0.93 < inside < 0.975
    constant = efficiency_curve(EfficiencyTables(laid.x, (np.ones((3, 20)),), False, ()), "mean", PERCENTILE)
    assert constant.band_low.tolist() == constant.band_high.tolist() == [1.0] * 20
    # One position is no multiplicity.
    single = efficiency_curve(EfficiencyTables(np.array([1.0]), (laid.tables[0][:, :1],), False, ()), "mean", CALIBRATED)
    assert (single.band_low[0], single.band_high[0]) == pytest.approx((single.low[0], single.high[0]), rel=0.03)


def test_the_band_of_few_runs_allows_for_errors_of_its_own_at_each_position() -> None:
    """Simulated sup-t: of three runs the largest t statistic along a curve is far beyond what resamples of them show."""
    covered = {"calibrated": 0, "percentile": 0}
    for seed in range(60):
        table = np.random.default_rng(seed).normal(size=(4, 12))
        laid = EfficiencyTables(np.arange(1.0, 13.0), (table,), False, ())
        for name in covered:
            curve = efficiency_curve(laid, "mean", interval_method(name, 0.9, 400, 0))
            covered[name] += bool(((curve.band_low <= 0) & (curve.band_high >= 0)).all())
    assert covered["calibrated"] >= 50 and covered["percentile"] <= 45  # 54 are meant; resamples alone hold far fewer


def test_few_runs_have_a_curve_and_no_interval() -> None:
    curve = efficiency_curve([walk(0, 2, 10)], "mean")
    assert np.isfinite(curve.value).all()
    assert np.isnan([curve.low, curve.high, curve.band_low, curve.band_high]).all() and curve.area.low is None


def test_the_order_of_runs_changes_nothing() -> None:
    runs = walk(0, 5, 10)
    once, again = (efficiency_curve([order], "iqm", CALIBRATED) for order in (runs, runs[::-1]))
    assert once.low.tobytes() == again.low.tobytes() and once.area == again.area


@pytest.mark.parametrize(
    ("curves", "words"),
    [
        ([], "there are no curves"),
        ([[]], "a run without values"),
        ([[(np.array([1, 2]), np.array([1.0]))]], "a pair .steps, values."),
        ([[(np.array([1]), np.array([np.nan]))]], "every run of environment 1 diverged"),
    ],
)
def test_what_can_be_no_curve_is_said(curves: list, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        efficiency_tables(curves)


def test_runs_that_never_reach_a_threshold_are_counted() -> None:
    """Two of four reach 1.0, at 20 and 30 of 40 steps; the others are said, and count at the end."""
    steps = np.array([10, 20, 30, 40])
    rows = [[0.0, 1.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.9], [0.5, 0.5, 0.5, 0.5]]
    laid = efficiency_tables([[(steps, np.array(row)) for row in rows]], points=4)
    found = steps_to_threshold(laid, 1.0, "mean", CALIBRATED)
    assert (found.reached, found.runs, found.end) == ((2,), (4,), 40.0)
    assert found.median == math.inf  # half of them did not: it lies beyond what was seen
    assert found.restricted_mean.value == (20 + 30 + 40 + 40) / 4
    assert found.restricted_mean.low is not None and found.restricted_mean.low < 32.5
    assert any("2 of 4 runs did not reach 1 before the end" in note for note in found.notes)
    assert (found.curve, found.curve_high) == (math.inf, math.inf)
    easy = steps_to_threshold(laid, 0.0, "mean", CALIBRATED)
    assert (easy.median, easy.curve, easy.curve_low, easy.curve_high) == (10.0, 10.0, 10.0, 10.0)
    with pytest.raises(UsageError):
        steps_to_threshold(laid, math.nan)


def test_the_curves_place_has_the_law_of_whole_runs() -> None:
    laid = EfficiencyTables(
        np.arange(1.0, 6.0), (np.array([[0, 0, 1, 1, 1], [0, 1, 1, 1, 1], [0, 0, 0, 0, 1]], dtype=float),), False, ()
    )
    found = steps_to_threshold(laid, 0.5, "mean", interval_method("percentile", 0.5, 50_000, 0))
    places = []
    for drawn in np.ndindex(3, 3, 3):
        above = laid.tables[0][list(drawn)].mean(axis=0) >= 0.5
        places.append(float(laid.x[np.argmax(above)]))
    assert (found.curve_low, found.curve_high) == (
        sorted(places)[math.ceil(27 / 4) - 1],
        sorted(places)[math.ceil(27 * 3 / 4) - 1],
    )
    gap = steps_to_threshold(laid, 0.5, "optimality-gap", CALIBRATED)  # lower is better: reached from above
    assert gap.curve == found.curve


def test_the_mean_time_lies_between_nothing_and_the_end_or_is_not_reached() -> None:
    rows = np.array([[0.0, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]])
    laid = EfficiencyTables(np.array([1000.0, 2000.0, 3000.0, 4000.0]), (rows,), False, ())
    found = steps_to_threshold(laid, 1.0, "mean", CALIBRATED).restricted_mean
    assert found.low is not None and found.high is not None
    assert 0.0 <= found.low < found.value == 3000.0 < found.high <= 4000.0
    never = steps_to_threshold(laid, 2.0, "mean", CALIBRATED)
    assert (never.reached, never.restricted_mean.low, never.restricted_mean.high) == ((0,), None, None)
    assert any(note.startswith("not reached: 2 ") for note in never.notes)
    at_once = steps_to_threshold(laid, 0.0, "mean", CALIBRATED).restricted_mean  # equal runs say little of others
    assert at_once.low is not None and at_once.high is not None and 0 < at_once.low < 1000.0 < at_once.high < 4000.0
