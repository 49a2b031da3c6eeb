"""Quantiles of the normal, Student's and the gamma distribution, for intervals: importing scipy takes longer than most figures.

They agree with ``scipy.special`` to 12 digits; tests hold the two together.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from openrlb.types import Values

_PRECISE = 1e-15
_ROUNDS = 200
_TERMS = 100_000
_LARGE = 25.0
_MANY = 500
"""So many different degrees of freedom are faster with scipy, its import included."""


def normal_quantile(probability: float) -> float:
    """The standard normal's quantile (Wichura 1988, algorithm AS 241, in Python's own library).

    >>> round(normal_quantile(0.975), 6)
    1.959964
    """
    return NormalDist().inv_cdf(probability)


def student_quantile(degrees: Values | float, probability: float) -> Values:
    """Quantiles of Student's t distribution.

    Args:
        degrees: Degrees of freedom, above 0; what is not finite gives NaN.
        probability: Above 0.5 and below 1.

    Returns:
        The shape of ``degrees``.

    >>> student_quantile(np.array([2.0, 9.0]), 0.975).round(6).tolist()
    [4.302653, 2.262157]
    """
    known, which = np.unique(np.asarray(degrees, dtype=np.float64), return_inverse=True)
    if len(known) > _MANY:
        from scipy.special import stdtrit

        return np.asarray(stdtrit(degrees, probability))
    found = np.array([_student(float(each), 1.0 - probability) if math.isfinite(each) else math.nan for each in known])
    return np.asarray(found[which].reshape(np.shape(degrees)))


def gamma_quantile(shape: float, probability: float) -> float:
    """The quantile of the gamma distribution with scale 1: half of that of chi-squared with twice the degrees of freedom.

    Args:
        shape: Above 0.
        probability: Above 0 and at most 0.5.

    >>> round(gamma_quantile(1.0, 0.1), 6)
    0.105361
    """
    normal, spread = normal_quantile(probability), 1.0 / (9.0 * shape)
    log_target, log_factor = math.log(probability), math.lgamma(shape + 1.0)
    guess = shape * max(1.0 - spread + normal * math.sqrt(spread), 0.0) ** 3  # Wilson and Hilferty 1931
    least = math.exp((log_target + log_factor) / shape)  # what a small quantile tends to
    place = max(guess, least)
    for _ in range(_ROUNDS):
        series = term = 1.0
        for index in range(1, _TERMS):
            term *= place / (shape + index)
            series += term
            if term < _PRECISE * series:
                break
        log_share = shape * math.log(place) - place - log_factor + math.log(series)  # Abramowitz and Stegun 6.5.29
        step = (log_share - log_target) * series / shape  # Newton's, of the logarithms
        place *= math.exp(-step)
        if abs(step) < _PRECISE * 4:
            break
    return place


@lru_cache(maxsize=4096)
def _student(degrees: float, above: float) -> float:
    """Where the upper tail of Student's t is so large, by Newton's steps in logarithms, in which tails are nearly straight."""
    place = max(-normal_quantile(above), 1e-8)
    half = degrees / 2.0
    log_density = _log_ratio(half) - 0.5 * math.log(degrees * math.pi)
    for _ in range(_ROUNDS):
        tail = _upper_tail(place, degrees, log_density)
        density = math.exp(log_density - (half + 0.5) * math.log1p(place * place / degrees))
        step = math.log(tail / above) * tail / (place * density)
        place *= math.exp(max(min(step, 5.0), -5.0))
        if abs(step) < _PRECISE * 4:
            break
    return place


def _upper_tail(place: float, degrees: float, log_density: float) -> float:
    """The probability of more than ``place``: half an incomplete beta function, by its continued fraction (A. and S. 26.5.8)."""
    square = place * place
    below, beyond = degrees / (degrees + square), square / (degrees + square)
    half = degrees / 2.0
    # x**a (1 - x)**b / B(a, b) with a half the degrees and b a half
    front = math.exp(log_density - half * math.log1p(square / degrees)) * place / math.sqrt(1.0 + square / degrees)
    if below < (half + 1.0) / (half + 2.5):
        return 0.5 * front * _fraction(half, 0.5, below) / half
    return 0.5 - front * _fraction(0.5, half, beyond)


def _fraction(first: float, second: float, place: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's method (1976)."""
    tiny = 1e-300
    upper, lower = 1.0, 1.0 - (first + second) * place / (first + 1.0)
    lower = 1.0 / (lower if abs(lower) > tiny else tiny)
    found = lower
    for index in range(1, _TERMS):
        twice = first + 2 * index
        for part in (
            index * (second - index) * place / ((twice - 1.0) * twice),
            -(first + index) * (first + second + index) * place / (twice * (twice + 1.0)),
        ):
            lower = 1.0 + part * lower
            lower = 1.0 / (lower if abs(lower) > tiny else tiny)
            upper = 1.0 + part / upper
            upper = upper if abs(upper) > tiny else tiny
            found *= upper * lower
        if abs(upper * lower - 1.0) < _PRECISE:
            break
    return found


def _log_ratio(half: float) -> float:
    """The logarithm of gamma(half + 1/2) over gamma(half); the difference of two large ones would lose its digits."""
    if half < _LARGE:
        return math.lgamma(half + 0.5) - math.lgamma(half)
    inverse = 1.0 / half
    series = inverse / 8 - inverse**3 / 192 + inverse**5 / 640 - 17 * inverse**7 / 14336
    return 0.5 * math.log(half) - series
