"""Scores: one number for each run, by a named rule, from the values it logged up to the cut. Plain arrays in and out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from openrlb.errors import SelectionError, UsageError
from openrlb_analysis.rules import ScoreRule

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from openrlb.types import Steps, Values

BINS = 100
"""Equal step bins from 0 to the cut; ``final:10%`` averages the last 10 of them."""


@dataclass(frozen=True, slots=True)
class Score:
    """One run's score.

    Attributes:
        value: The score; NaN where a value in the scoring window is not finite (the run diverged); None where the
            window holds no value at all.
        points: How many logged values stand behind it.
        episodes: The values themselves where the run carries no step, so that their spread can be told; else empty.
    """

    value: float | None
    points: int
    episodes: tuple[float, ...] = ()


def bin_of(steps: Steps, cut: int, bins: int = BINS) -> NDArray[np.int64]:
    """The bin of each step: bin j holds the steps in ``(cut * j / bins, cut * (j + 1) / bins]``, in whole numbers.

    Args:
        steps: Steps, shape ``(n,)``, each at most ``2**63 / bins``.
        cut: The last step that counts, at least 1.
        bins: How many bins reach from 0 to the cut.

    Returns:
        Shape ``(n,)``; -1 for step 0 and below, ``bins`` and more beyond the cut.

    >>> bin_of(np.array([0, 1, 900_000, 900_001, 1_000_000]), 1_000_000).tolist()
    [-1, 0, 89, 90, 99]
    """
    index: NDArray[np.int64] = np.maximum((np.asarray(steps, dtype=np.int64) * bins - 1) // cut, -1)
    return index


def bin_means(steps: Steps, values: Values, cut: int, bins: int = BINS) -> Values:
    """The mean of a run's values in each bin up to the cut.

    Returns:
        Shape ``(bins,)``, NaN where the run has no value in the bin, or one that is not finite.

    >>> bin_means(np.array([1, 2, 4]), np.array([1.0, 3.0, 5.0]), 4, bins=2).tolist()
    [2.0, 5.0]
    """
    index = bin_of(steps, cut, bins)
    inside = (index >= 0) & (index < bins)
    counts = np.bincount(index[inside], minlength=bins)
    sums = np.bincount(index[inside], weights=values[inside], minlength=bins)
    means: Values = np.divide(sums, counts, out=np.full(bins, np.nan), where=counts > 0)
    return means


def score(steps: Steps, values: Values, cut: int, rule: ScoreRule) -> Score:
    """Scores one run by any rule that looks at one run alone.

    Args:
        steps: Training steps, ascending, shape ``(n,)``.
        values: Logged values, shape ``(n,)``.
        cut: The last step that counts, at least 1.
        rule: Any rule but ``best-of-mean-curve``, which needs all runs: :func:`best_of_mean_curve`.

    Raises:
        UsageError: The rule is ``best-of-mean-curve``.

    >>> score(np.array([5, 10]), np.array([1.0, 4.0]), 10, ScoreRule("last"))
    Score(value=4.0, points=1, episodes=())
    """
    if rule.name == "final":
        first = BINS - int(rule.argument or 10)
        index = bin_of(steps, cut)
        inside = (index >= first) & (index < BINS)
        if not inside.any():
            return Score(None, 0)
        with np.errstate(all="ignore"):  # what overflows has diverged
            means = bin_means(steps[inside], values[inside], cut)[np.unique(index[inside])]
            return Score(_finite_or_nan(float(np.mean(means))), int(inside.sum()))
    end = min(cut, int(rule.argument or cut)) if rule.name == "at" else cut
    reached = steps <= end
    steps, values = steps[reached], values[reached]
    if not len(values):
        return Score(None, 0)
    if rule.name in ("last", "at"):
        return Score(_finite_or_nan(float(values[-1])), 1)
    if not np.isfinite(values).all():
        return Score(float("nan"), len(values))
    if rule.name == "mean":
        return Score(float(np.mean(values)), len(values))
    if rule.name == "auc":
        return Score(_mean_height(steps, values), len(values))
    if rule.name == "best-per-run":
        return Score(float(np.max(values)), len(values))
    raise UsageError(
        f"{rule.text} needs all runs of a group", "it looks for the best point of their mean curve", "use best_of_mean_curve"
    )


def best_of_mean_curve(runs: Sequence[tuple[Steps, Values]], cut: int) -> list[Score]:
    """Scores runs at the step where their mean curve is highest: optimistic, as the step is chosen after the fact.

    The rule of the TD3 paper's Table 1 (Fujimoto et al. 2018). The curve lies on the steps that all runs share; where
    these are fewer than half of a run's steps, on the bins in which every run has a value. The first highest point
    counts. Runs with a value that is not finite score NaN and take no part in the mean curve.

    Args:
        runs: ``(steps, values)`` of each run of one group and environment.
        cut: The last step that counts, at least 1.

    Raises:
        SelectionError: The runs have no position in common.

    >>> runs = [(np.array([1, 2]), np.array([5.0, 4.0])), (np.array([1, 2]), np.array([1.0, 4.0]))]
    >>> [one.value for one in best_of_mean_curve(runs, 2)]
    [4.0, 4.0]
    """
    cropped = [(steps[steps <= cut], values[steps <= cut]) for steps, values in runs]
    whole = [len(values) > 0 and bool(np.isfinite(values).all()) for _, values in cropped]
    usable = [one for one, good in zip(cropped, whole, strict=True) if good]
    if usable:
        table = _on_common_positions(usable, cut)
        best = int(np.argmax(table.mean(axis=0)))
        found = iter(table[:, best])
    return [
        Score(float(next(found)) if good else None if not len(values) else float("nan"), len(values))
        for (_, values), good in zip(cropped, whole, strict=True)
    ]


def score_stepless(values: Values, rule: ScoreRule) -> Score:
    """Scores a run whose values carry no training step: a score table's single number, or evaluation episodes.

    Args:
        values: Shape ``(n,)``.
        rule: With a single value, any; with several, ``mean``, ``final`` (which is then the mean) or ``best-per-run``.

    Raises:
        UsageError: A rule that asks for an order which several stepless values do not have.

    >>> score_stepless(np.array([1.0, 3.0]), ScoreRule("mean"))
    Score(value=2.0, points=2, episodes=(1.0, 3.0))
    """
    if not len(values):
        return Score(None, 0)
    if len(values) > 1 and rule.name not in ("mean", "final", "best-per-run"):
        raise UsageError(
            f"the rule {rule.text} has no meaning for values without steps",
            f"a run has {len(values)} of them, in no order",
            "use --score mean",
        )
    value = np.max(values) if rule.name == "best-per-run" else np.mean(values)
    finite = bool(np.isfinite(values).all())
    return Score(float(value) if finite else float("nan"), len(values), tuple(values.tolist()))


def mean_per_step(steps: Steps, values: Values) -> tuple[Steps, Values]:
    """Values that share a step become their mean; steps ascend.

    >>> [part.tolist() for part in mean_per_step(np.array([1, 1, 2]), np.array([1.0, 3.0, 5.0]))]
    [[1, 2], [2.0, 5.0]]
    """
    if (steps[1:] > steps[:-1]).all():  # as nearly every run has them
        return steps, values
    unique, index, counts = np.unique(steps, return_inverse=True, return_counts=True)
    if len(unique) == len(steps):
        order = np.argsort(steps, kind="stable")
        return steps[order], values[order]
    return unique, np.bincount(index, weights=values) / counts


def _on_common_positions(runs: Sequence[tuple[Steps, Values]], cut: int) -> Values:
    """The runs' values on positions that all of them have, shape ``(runs, positions)``."""
    curves = [mean_per_step(steps, values) for steps, values in runs]
    common = curves[0][0]
    for steps, _ in curves[1:]:
        common = np.intersect1d(common, steps, assume_unique=True)
    binned = np.stack([bin_means(steps, values, cut) for steps, values in runs])
    everywhere = np.isfinite(binned).all(axis=0)
    if 2 * len(common) >= max(len(steps) for steps, _ in curves) or (len(common) and not everywhere.any()):
        return np.stack([values[np.searchsorted(steps, common)] for steps, values in curves])
    if not everywhere.any():
        raise SelectionError(
            "best-of-mean-curve finds no mean curve",
            "the runs share no step and no hundredth of the cut",
            "use --score final:10%",
        )
    return np.asarray(binned[:, everywhere])


def _mean_height(steps: Steps, values: Values) -> float:
    """The area under the curve by the trapezoidal rule, divided by the steps it spans; the mean where it spans none."""
    span = float(steps[-1] - steps[0])
    return float(np.trapezoid(values, steps)) / span if span else float(np.mean(values))


def _finite_or_nan(value: float) -> float:
    """The value, NaN in place of an infinity."""
    return value if np.isfinite(value) else float("nan")
