"""Looks at growing seeds: which look it is, and levels that keep the error of all looks together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri

from openrlb_analysis.sequential import added_error, look_level, standing


def test_the_same_runs_again_are_the_same_look_and_another_set_is_a_new_one() -> None:
    first, second, third = {"a"}, {"a", "b"}, {"a", "b", "c"}
    assert standing(first, []).number == 1
    assert standing(third, [first, second, second, first]).number == 3
    assert standing(third, [first, second]).growing
    again = standing(second, [first, second, third])
    assert (again.number, again.repeated, again.before) == (2, True, (0,))


def test_a_chosen_part_of_the_seeds_is_a_look_that_does_not_grow() -> None:
    found = standing({"a", "c"}, [{"a", "b", "c"}, {"a", "b"}])
    assert (found.number, found.growing) == (3, False)


@pytest.mark.parametrize("information", [(5, 7, 10), (3, 4, 5, 6, 20), (10, 20)])
def test_levels_spend_just_what_they_may(information: tuple[float, ...]) -> None:
    """A Brownian motion seen at growing information leaves the edges of its looks as often as the spending allows."""
    rng = np.random.default_rng(0)
    steps = np.diff([0, *information])
    motion = np.cumsum(rng.normal(size=(400_000, len(steps))) * np.sqrt(steps), axis=1) / np.sqrt(information)
    edges = [-ndtri(look_level(information[:look], 0.05) / 2) for look in range(1, len(steps) + 1)]
    left = np.abs(motion) >= edges
    first = left & (np.cumsum(left, axis=1) == 1)
    for look, share in enumerate(first.mean(axis=0), start=1):
        wanted = added_error(look, 0.05)
        assert share == pytest.approx(wanted, abs=4 * np.sqrt(wanted / 400_000))


@settings(max_examples=25)
@given(st.lists(st.floats(1.02, 3.0), max_size=6), st.floats(1e-4, 0.3))
def test_a_later_look_gets_no_less_than_bonferroni_and_never_the_whole_error(growth: list[float], alpha: float) -> None:
    information = np.cumprod([5.0, *growth]).tolist()
    level = look_level(information, alpha)
    assert added_error(len(information), alpha) <= level < alpha


def test_runs_that_did_not_grow_fall_back_to_bonferroni() -> None:
    for information in ([5.0, 5.0], [0.0, 7.0], [7.0, 5.0]):
        assert look_level(information, 0.05) == added_error(2, 0.05)
