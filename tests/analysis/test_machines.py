"""Machines, run times, and how intervals narrow with seeds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrlb.types import Curve, Metric, Run
from openrlb_analysis.interval_width import width_curve
from openrlb_analysis.intervals import bootstrap_interval, interval_method
from openrlb_analysis.machines import machine_words, machines_of, pause_notes, runs_at_once, unlike_machines
from openrlb_analysis.runtime import run_time

SPANS = st.lists(
    st.tuples(st.floats(0, 100), st.floats(0.01, 50)).map(lambda pair: (pair[0], pair[0] + pair[1])), min_size=1, max_size=8
)
METHOD = interval_method("calibrated", 0.95, 500, 0)


def curve(name: str, times: list[int], steps: list[int] | None = None, **fields: object) -> Curve:
    run = Run("openrlb", name, "openrlb", name, "ppo", "Hopper-v4", **fields)  # type: ignore[arg-type]
    at = np.array(steps or range(1, len(times) + 1), dtype=np.int64)
    return Curve(run, Metric("r", "eval", "episodic_return"), at, np.zeros(len(times)), np.array(times, dtype=np.int64))


@settings(max_examples=80, deadline=None)
@given(SPANS)
def test_runs_at_once_is_each_runs_shared_time(spans: list[tuple[float, float]]) -> None:
    for (start, end), found in zip(spans, runs_at_once(spans), strict=True):
        shared = sum(max(0.0, min(end, other_end) - max(start, other)) for other, other_end in spans)
        assert found == pytest.approx(shared / (end - start), rel=1e-6, abs=1e-6)


def test_settings_that_do_not_decide_speed_make_no_other_machine() -> None:
    one, other = (
        {"cpu": "EPYC", "python": "3.11", "gpu": "H100", "device": "cpu"},
        {"cpu": "EPYC", "python": "3.12", "device": "cpu"},
    )
    assert machine_words(one) == machine_words(other) == "EPYC"
    assert machine_words({"cpu": ["no text"], "cpu_count": True, "gpu": 3}) == ""


def test_groups_machines_unknown_ones_and_runs_beside_them() -> None:
    new_year = "2026-01-01T00:00:00+00:00"
    known = [curve(f"k{at}", [1000, 10_000], hardware={"cpu": "EPYC"}, created=new_year) for at in range(2)]
    found = machines_of({"a": known, "b": [curve("x", [-1, -1])]})
    assert found[0].words() == "EPYC, 2 runs at a time" and found[1].words() == "hardware not recorded"
    assert unlike_machines(found) == ()
    mixed = machines_of({"a": [*known, curve("y", [1], hardware={"cpu": "Xeon"})]})
    assert mixed[0].words() == "EPYC (2 runs), Xeon (1 run), 2 runs at a time" and unlike_machines(mixed) == ("EPYC", "Xeon")


def test_pauses_are_named_with_the_longest() -> None:
    even = [60_000 * at for at in range(1, 9)]
    once, twice = [*even, even[-1] + 3_600_000], [*even, even[-1] + 7_200_000]
    assert pause_notes([curve("even", even)]) == []
    assert pause_notes([curve("once", once)]) == ["once logged nothing for 1 hour: if that was a pause, the times count it"]
    (both,) = pause_notes([curve("once", once), curve("twice", twice)])
    assert both.startswith("2 runs logged nothing for ten minutes or more, twice for 2 hours")


def test_run_times_stop_at_the_cut_and_leave_out_runs_without_times() -> None:
    runs = [curve("a", [1000, 2000, 9000], [10, 20, 30]), curve("b", [2000, 4000], [10, 20]), curve("c", [-1, -1], [10, 20])]
    found = run_time(runs, 20, METHOD)
    assert found is not None and found.runs == 2 and (found.low, found.high) == (None, None)
    assert (found.shortest, found.longest, found.hours) == pytest.approx((2 / 3600, 4 / 3600, 3 / 3600))
    assert found.speed == pytest.approx((10.0 + 5.0) / 2)
    assert run_time(runs[2:], None, METHOD) is None


def test_widths_fall_with_the_root_of_seeds_and_end_in_the_interval_itself() -> None:
    rng = np.random.default_rng(0)
    tasks = [rng.normal(size=24), rng.normal(size=24)]
    found = width_curve(tasks, "mean", METHOD, subsets=12)
    assert found is not None and found.seeds[0] == 3 and found.seeds[-1] == 24 and found.subsets[-1] == 1
    low, high = bootstrap_interval(tasks, "mean", METHOD) or (0.0, 0.0)
    assert found.width[-1] == pytest.approx(high - low) and found.root == pytest.approx((high - low) * 24**0.5)
    six = found.width[list(found.seeds).index(6.0)] if 6.0 in found.seeds else found.width[2]
    assert 1.3 < six / found.width[-1] < 3.5  # about the root of 4
    assert (np.diff(found.width) < 0).all() and (found.low <= found.width).all() and (found.width <= found.high).all()


def test_widths_stand_on_the_smallest_environment_and_are_the_same_twice() -> None:
    rng = np.random.default_rng(3)
    tasks = [rng.normal(size=5), rng.normal(size=9)]
    found, again = (width_curve(order, "iqm", METHOD, subsets=4) for order in (tasks, [tasks[0][::-1], tasks[1]]))
    assert found is not None and again is not None
    assert found.seeds.tolist() == [3, 4, 5] and found.subsets == (4, 4, 4)
    assert found.width.tolist() == again.width.tolist(), "the order of runs changes nothing"
    assert width_curve([tasks[0][:2], tasks[1]], "iqm", METHOD) is None
