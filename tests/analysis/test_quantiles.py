"""Quantiles against scipy's, and constants against what they are computed from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammainc, gammaincinv, ndtri, stdtr, stdtrit

from openrlb_analysis.calibration import shown_shares, simulated_share
from openrlb_analysis.quantiles import gamma_quantile, normal_quantile, student_quantile

PROBABILITY = st.one_of(st.sampled_from([0.75, 0.9, 0.95, 0.975, 0.995, 0.9995]), st.floats(0.51, 1 - 1e-9))


@settings(max_examples=150, deadline=None)
@given(st.floats(0.3, 1e5), PROBABILITY)
def test_students_quantile_is_scipys(degrees: float, probability: float) -> None:
    found = float(student_quantile(degrees, probability))
    assert found == pytest.approx(float(stdtrit(degrees, probability)), rel=1e-11)
    assert float(stdtr(degrees, found)) == pytest.approx(probability, rel=1e-12)


def test_students_quantile_of_many_and_of_none() -> None:
    few = np.array([[1.0, 4.0, np.nan], [4.0, 1.0, 250.5]])
    found = student_quantile(few, 0.975)
    assert np.array_equal(np.isnan(found), np.isnan(few))
    assert found[0, 1] == found[1, 0]
    many = np.linspace(1.0, 80.0, 700)  # more than are computed one by one
    assert student_quantile(many, 0.975)[::50] == pytest.approx(
        [float(student_quantile(one, 0.975)) for one in many[::50]], rel=1e-12
    )


@settings(max_examples=150, deadline=None)
@given(st.floats(0.5, 5e3), st.sampled_from([0.001, 0.05, 0.1, 0.5]))
def test_the_gamma_quantile_is_scipys(shape: float, probability: float) -> None:
    found = gamma_quantile(shape, probability)
    assert found == pytest.approx(float(gammaincinv(shape, probability)), rel=1e-11)
    assert float(gammainc(shape, found)) == pytest.approx(probability, rel=1e-9)


@settings(max_examples=100, deadline=None)
@given(st.floats(1e-9, 1 - 1e-9))
def test_the_normal_quantile_is_scipys(probability: float) -> None:
    assert normal_quantile(probability) == pytest.approx(float(ndtri(probability)), rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("runs", [4, 5, 10, 33, 64])
def test_what_resamples_show_of_an_iqm_is_what_it_was_computed_to_be(runs: int) -> None:
    assert shown_shares("iqm", [runs]) == pytest.approx([simulated_share(runs)], rel=1e-12)


def test_what_resamples_show_is_all_where_nothing_is_trimmed() -> None:
    assert shown_shares("iqm", [3]) == shown_shares("iqm", [65]) == shown_shares("mean", [10]) == [1.0]
