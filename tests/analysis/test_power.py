"""Seeds needed: for the margin, from the spread's upper limit, never for the observed difference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrlb.errors import UsageError
from openrlb_analysis.intervals import difference_interval
from openrlb_analysis.power import Pilot, parts_of, pilot_spread, seeds_needed
from openrlb_analysis.result import IntervalMethod


def test_known_seeds_of_the_t_test() -> None:
    """Cohen's table: 17, 26 and 64 for effect sizes of 1, 0.8 and 0.5 at 80 % power."""
    for effect, seeds in ((1.0, 17), (0.8, 26), (0.5, 64)):
        assert seeds_needed(Pilot(2**0.5, 2**0.5, 1e6, 2.0), effect).difference == seeds


@given(st.lists(st.floats(-100, 100), min_size=3, max_size=8).filter(lambda one: np.ptp(one) > 1e-3), st.floats(-1e3, 1e3))
def test_seeds_do_not_depend_on_the_observed_difference(scores: list[float], shift: float) -> None:
    first = np.array(scores)
    alike = pilot_spread([*parts_of("mean", [first]), *parts_of("mean", [first])])
    apart = pilot_spread([*parts_of("mean", [first]), *parts_of("mean", [first + shift])])
    assert alike is not None and apart is not None
    assert apart.upper == pytest.approx(alike.upper, rel=1e-6)
    assert alike.upper > alike.spread


def test_the_upper_limit_lies_above_the_true_spread_in_four_pilots_of_five() -> None:
    rng = np.random.default_rng(0)
    pilots = [pilot_spread([rng.normal(size=5), rng.normal(size=5)]) for _ in range(2000)]
    above = np.mean([pilot.upper >= 2**0.5 for pilot in pilots if pilot is not None])
    assert above == pytest.approx(0.8, abs=0.04)
    plain = np.mean([pilot.spread >= 2**0.5 for pilot in pilots if pilot is not None])
    assert plain < 0.5  # the spread itself is too small more often than not


def test_so_many_seeds_do_find_the_margin() -> None:
    """With the true spread known, the counted seeds give compare's own verdict the power that was asked for."""
    rng = np.random.default_rng(0)
    seeds = seeds_needed(Pilot(2**0.5, 2**0.5, 1e6, 2.0), 1.2).difference
    assert seeds is not None
    method = IntervalMethod("calibrated", 0.95, 500, 0)
    drawn = [([rng.normal(1.2, 1, seeds)], [rng.normal(0, 1, seeds)]) for _ in range(300)]
    ends = [difference_interval(first, second, "mean", method) for first, second in drawn]
    assert np.mean([low > 0 for low, _ in filter(None, ends)]) == pytest.approx(0.8, abs=0.08)


def test_more_environments_need_fewer_seeds_and_one_group_stands_for_two() -> None:
    rng = np.random.default_rng(0)
    tasks = [rng.normal(size=8) for _ in range(10)]
    one = pilot_spread(parts_of("mean", tasks[:1]), alone=True)
    many = pilot_spread(parts_of("mean", tasks), alone=True)
    both = pilot_spread([*parts_of("mean", tasks), *parts_of("mean", tasks)])
    assert one is not None and many is not None and both is not None
    assert many.spread < one.spread and many.spread == pytest.approx(both.spread)
    few, lots = seeds_needed(many, 0.5).difference, seeds_needed(one, 0.5).difference
    assert few is not None and lots is not None and few < lots


def test_what_cannot_be_planned_is_said() -> None:
    assert pilot_spread([np.ones(5), np.ones(5)]) is None
    assert seeds_needed(Pilot(1.0, 1.0, 8, 2), 1e-6).difference is None
    with pytest.raises(UsageError, match="margin"):
        seeds_needed(Pilot(1.0, 1.0, 8, 2), 0.0)
    with pytest.raises(UsageError, match="power"):
        seeds_needed(Pilot(1.0, 1.0, 8, 2), 1.0, power=1.0)


def test_scores_without_end_plan_nothing_and_warn_of_nothing() -> None:
    """R12: an infinite spread was said to need 3 seeds."""
    found = seeds_needed(Pilot(np.inf, np.inf, np.nan, np.nan), 1.0)
    assert (found.difference, found.equivalence) == (None, None)
    assert seeds_needed(Pilot(1.0, 1.0, np.nan, np.nan), 1.0).difference is None
    huge = pilot_spread([np.array([1e300, -1e300, 0.0]), np.array([1e300, 2e299, 0.0])])
    assert huge is not None and 1e300 < huge.upper < np.inf and seeds_needed(huge, 1.0).difference is None
    small = pilot_spread([np.array([1.0, -1.0, 0.0]), np.array([1.0, 0.2, 0.0])])
    assert small is not None and huge.spread == pytest.approx(1e300 * small.spread)
    beyond = pilot_spread([np.array([np.inf, 1.0]), np.array([1.0, 2.0])])
    assert beyond is not None and seeds_needed(beyond, 1.0).difference is None
