"""Looking again with more seeds: which level each look must have, so that all looks together keep to theirs.

Who compares five seeds, then seven, then ten, and stops at the first verdict, errs more often than one look does. Here look
k may add ``alpha / (k (k + 1))`` to the error; the sum over all k is alpha, so that neither looks nor seeds need be planned
(error spending: Lan and DeMets 1983, "Discrete sequential boundaries for clinical trials"). Runs that were looked at before
are looked at again, and the estimates of growing runs move as a Brownian motion in the information, the reciprocal of the
variance. The level that spends just that much follows by the recursive integration of Armitage, McPherson and Rowe (1969,
"Repeated significance tests on accumulating data"), and is used as the level of the interval at hand (Jennison and Turnbull
1999, "Group Sequential Methods", sections 3.7 and 9.1: repeated confidence intervals, valid wherever one stops). Where the
runs did not just grow, Bonferroni's inequality takes the recursion's place.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from openrlb.types import Values

_NODES = 200
_SMALLEST_GROWTH = 1.01
"""Information that grows by less is no new look that the integration could resolve."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Which look at a comparison one is.

    Attributes:
        number: 1 for the first look; looks at the same runs are one look.
        repeated: True where these runs were looked at before.
        growing: True where every look was at all runs of the look before it, and at further ones.
        before: Positions of the different looks before this one, the first at each set of runs.
    """

    number: int
    repeated: bool
    growing: bool
    before: tuple[int, ...]


def standing(now: Set[str], earlier: Sequence[Set[str]]) -> Standing:
    """Counts looks: each different set of runs is one, in the order in which they were first looked at.

    Args:
        now: The runs of this look.
        earlier: The runs of every earlier look, oldest first.

    >>> standing({"a", "b"}, [{"a"}, {"a"}])
    Standing(number=2, repeated=False, growing=True, before=(0,))
    >>> standing({"a"}, [{"a"}, {"a", "b"}])
    Standing(number=1, repeated=True, growing=True, before=())
    """
    different = [at for at, runs in enumerate(earlier) if runs not in earlier[:at]]
    again = next((place for place, at in enumerate(different) if earlier[at] == now), None)
    before = different[:again] if again is not None else different
    chain = [*(earlier[at] for at in before), now]
    growing = all(less < more for less, more in pairwise(chain))
    return Standing(len(chain), again is not None, growing, tuple(before))


def added_error(look: int, alpha: float) -> float:
    """The error that one look may add to that of the looks before it.

    Args:
        look: 1 for the first.
        alpha: The error of all looks together, for instance 0.05.

    >>> [round(added_error(look, 0.05), 5) for look in (1, 2, 3)]
    [0.025, 0.00833, 0.00417]
    """
    return alpha / (look * (look + 1))


def look_level(information: Sequence[float], alpha: float) -> float:
    """The two-sided error level of the last of several looks.

    Args:
        information: What is known at each look, in any unit: the reciprocal of the estimate's variance, which grows with
            the runs. Where it does not grow the answer is Bonferroni's.
        alpha: The error of all looks together.

    Returns:
        At least ``added_error(len(information), alpha)``: what the looks before have in common with this one comes on top.

    >>> [round(look_level(runs, 0.05), 4) for runs in ([5], [5, 7], [5, 7, 10], [5, 3])]
    [0.025, 0.0175, 0.0102, 0.0083]
    """
    least = added_error(len(information), alpha)
    steps = np.asarray(information, dtype=np.float64)
    if not (np.isfinite(steps).all() and steps[0] > 0 and np.all(steps[1:] >= _SMALLEST_GROWTH * steps[:-1])):
        return least
    from scipy.special import ndtr

    edge = _edge(added_error(1, alpha))  # in standard errors
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    places = edge * nodes * np.sqrt(steps[0])  # where the motion can be, if it never left
    mass = weights * edge * np.exp(-((edge * nodes) ** 2) / 2.0) / np.sqrt(2.0 * np.pi)
    for look in range(1, len(steps)):
        scale, moved = float(np.sqrt(steps[look])), float(np.sqrt(steps[look] - steps[look - 1]))
        edge = _leaving(added_error(look + 1, alpha), places, mass, scale, moved)
        there = edge * nodes * scale
        kernel = np.exp(-(((there[:, None] - places[None, :]) / moved) ** 2) / 2.0) / (moved * np.sqrt(2.0 * np.pi))
        places, mass = there, weights * edge * scale * (kernel @ mass)
    return max(least, float(2.0 * ndtr(-edge)))


def _edge(error: float) -> float:
    """The standard errors beyond which a normal estimate lies with this probability."""
    from scipy.special import ndtri

    return -float(ndtri(error / 2.0))


def _leaving(error: float, places: Values, mass: Values, scale: float, moved: float) -> float:
    """The edge, in standard errors, beyond which a motion that never left before lies now with this probability."""
    from scipy.optimize import brentq
    from scipy.special import ndtr

    def excess(edge: float) -> float:
        outside = ndtr((places - edge * scale) / moved) + ndtr((-places - edge * scale) / moved)
        return float((mass * outside).sum()) - error

    return float(brentq(excess, 0.0, _edge(error) + 1e-6, xtol=1e-9))
