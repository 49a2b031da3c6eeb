"""Intervals: what is checked, what is said beside them, and when there is none."""

from __future__ import annotations

import numpy as np
import pytest

from openrlb.errors import UsageError
from openrlb_analysis.intervals import bootstrap_interval, interval_method, interval_note, tails


def test_note_is_the_words_that_scripts_look_for() -> None:
    assert interval_note("percentile", [10, 9]) == "percentile, too narrow below 10 seeds"
    assert interval_note("percentile", [10, 11]) == "percentile"


@pytest.mark.parametrize(
    ("method", "level", "resamples", "seed"),
    [("bca", 0.95, 100, 0), ("percentile", 0.0, 100, 0), ("percentile", 1.0, 100, 0), ("percentile", 95.0, 100, 0),
     ("percentile", 0.95, 0, 0),     ("percentile", 0.95, 10, -1), ("percentile", float("nan"), 10, 0)],
)  # fmt: skip
def test_refuses(method: str, level: float, resamples: int, seed: int) -> None:
    with pytest.raises(UsageError):
        interval_method(method, level, resamples, seed)


def test_a_higher_level_is_wider() -> None:
    scores = [np.random.default_rng(0).normal(size=10)]
    wide = bootstrap_interval(scores, "iqm", interval_method("percentile", 0.99, 5_000, 0))
    narrow = bootstrap_interval(scores, "iqm", interval_method("percentile", 0.5, 5_000, 0))
    assert wide is not None and narrow is not None
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    assert tails(0.95) == pytest.approx((0.025, 0.975), abs=1e-15)


def test_one_run_anywhere_means_no_interval() -> None:
    method = interval_method("percentile", 0.95, 100, 0)
    assert bootstrap_interval([np.array([1.0])], "mean", method) is None
    assert bootstrap_interval([np.array([1.0, 2.0]), np.array([3.0])], "mean", method) is None
    assert bootstrap_interval([], "mean", method) is None
    assert bootstrap_interval([np.array([1.0, 2.0]), np.array([3.0, 3.0])], "mean", method) is not None
