"""Sample- and walltime-efficiency: one aggregate over environments along training, and what follows from the whole curve.

Agarwal et al. 2021, section 4.4. All positions share one draw of runs (:func:`openrlb_analysis.bootstrap.bootstrap_curves`),
so that the area under the curve, the first step above a threshold and a band for the whole curve have valid intervals.
Nothing is interpolated, stretched or smoothed: positions are bins no finer than every run logs. Groups that are compared
are laid on the same ones (:func:`efficiency_tables_of`): areas and crossings on unlike positions differ by their bins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from openrlb.errors import SelectionError, UsageError
from openrlb_analysis.aggregates import AGGREGATES, aggregate_name
from openrlb_analysis.bootstrap import Draws, bootstrap_curves
from openrlb_analysis.calibration import Spread, contributions, shown_shares, spread
from openrlb_analysis.cuts import REACHED
from openrlb_analysis.estimates import CALIBRATED, Estimate
from openrlb_analysis.intervals import in_bounds, interval_note, interval_of
from openrlb_analysis.result import IntervalMethod

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from openrlb.types import Values

    Run = tuple[NDArray[Any], Values]
    Line = tuple[Values, Values, float | None]
    Counts = NDArray[np.int64]

POINTS = 100
BAND_WORDS = "the simultaneous band is"
"""How the note on the simultaneous band begins."""
_SIMULATED = 1_000


@dataclass(frozen=True, slots=True)
class EfficiencyTables:
    """Runs on common positions, ready for aggregates over environments.

    Attributes:
        x: Positions (the ends of bins) in the unit of the curves, or shares of each environment's own end; shape ``(k,)``.
        tables: For each environment the runs' values there, shape ``(n_e, k)``, all finite, lowest runs first.
        shares: True where x holds shares of each environment's own end, as these differ.
        notes: What a reader must know.
    """

    x: Values
    tables: tuple[Values, ...]
    shares: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EfficiencyCurve:
    """An aggregate along training.

    Attributes:
        name: The aggregate.
        x: Positions, shape ``(k,)``.
        value: The aggregate at each, shape ``(k,)``.
        low: The pointwise interval's lower end, NaN where there is none (too few runs).
        high: Its upper end.
        band_low: The lower end of the simultaneous band, in which the whole curve lies at the level.
        band_high: Its upper end.
        area: The mean height of the curve from the first position to the last, with its interval.
        runs: Runs behind each position.
        envs: Environments behind it.
        interval: How intervals were computed.
        notes: What a reader must know.
    """

    name: str
    x: Values
    value: Values
    low: Values
    high: Values
    band_low: Values
    band_high: Values
    area: Estimate
    runs: int
    envs: int
    interval: IntervalMethod
    notes: tuple[str, ...]


def efficiency_tables(
    curves: Sequence[Sequence[Run]] | Mapping[str, Sequence[Run]],
    *,
    ends: Sequence[float] | float | None = None,
    points: int = POINTS,
    failure: Sequence[float | None] | float | None = None,
    matched: bool = True,
) -> EfficiencyTables:
    """Lays the runs of several environments on common positions.

    The way to the end is divided into equal bins: the most, up to ``points``, in which every run has a value. Runs may
    begin to log within the first tenth; bins before are then left out and said. A run's value in a bin is the mean of
    its points there; of a run that logs more often than another of its environment, of as many of them as the other has,
    evenly apart, the bin's last among them, so that neither is read at an earlier step. From its first NaN on, a run
    stands at the failure score.

    Args:
        curves: For each environment one ``(steps, values)`` pair for each run; steps may be times of any unit.
        ends: Where curves end: one number, or one for each environment (x is then the share of it where they differ);
            None for the place where the first run of all ends.
        points: The most bins.
        failure: What a diverged run counts as, one number or one for each environment; None for the lowest finite
            value that any of the environment's runs logged.
        matched: Whether runs that log more often count as many points as the others; False for values that stand for
            the way to them (single episodes), where the mean over the bin is the same however often one looks.

    Raises:
        SelectionError: A run that ends before the end, or runs that have no bin in common.
        UsageError: Runs that are no pairs of arrays, or no environment at all.

    >>> runs = [(np.array([1, 2, 3, 4]), np.array([0.0, 1.0, 2.0, 3.0])), (np.array([2, 4]), np.array([1.0, 5.0]))]
    >>> found = efficiency_tables([runs], points=4)
    >>> found.x.tolist(), found.tables[0].tolist()
    ([2.0, 4.0], [[1.0, 3.0], [1.0, 5.0]])
    """
    return efficiency_tables_of({"": curves}, ends=ends, points=points, failure={"": failure}, matched=matched)[""]


def efficiency_tables_of(
    groups: Mapping[str, Sequence[Sequence[Run]] | Mapping[str, Sequence[Run]]],
    *,
    ends: Sequence[float] | float | None = None,
    points: int = POINTS,
    failure: Mapping[str, Sequence[float | None] | float | None] | None = None,
    matched: bool = True,
) -> dict[str, EfficiencyTables]:
    """Lays the runs of several groups on the same positions, so that their areas and crossings can be compared.

    Args:
        groups: For each group its curves, as :func:`efficiency_tables` takes them, the same environments in all.
        ends: As there; None for the place where the first run of any group ends.
        points: The most bins.
        failure: What a diverged run counts as, for each group as there.
        matched: As there, over the runs of all groups.

    Raises:
        SelectionError: A run that ends before the end, or runs that have no bin in common.
        UsageError: No group, unlike environments, or runs that are no pairs of arrays.

    >>> often, seldom = (np.arange(1, 9), np.arange(1.0, 9.0)), (np.array([4, 8]), np.array([4.0, 8.0]))
    >>> found = efficiency_tables_of({"A": [[often]], "B": [[seldom]]})
    >>> found["A"].x.tolist(), found["A"].tables[0].tolist() == found["B"].tables[0].tolist()
    ([4.0, 8.0], True)
    """
    listed = {label: _checked_curves(curves) for label, curves in groups.items()}
    if len({len(mine) for mine in listed.values()}) != 1:
        raise UsageError(
            "the groups' curves are not of the same environments", "each needs one list of runs for each", "add them"
        )
    together = [[run for runs in each for run in runs] for each in zip(*listed.values(), strict=True)]
    lengths = _ends_of(together, ends)
    common = max(lengths) == min(lengths)
    cleaned: dict[str, list[list[Line]]] = {}
    notes: dict[str, list[str]] = {label: [] for label in listed}
    for label, mine in listed.items():
        floors = (failure or {}).get(label)
        cleaned[label] = []
        for env, (runs, end) in enumerate(zip(mine, lengths, strict=True), start=1):
            lines, told = _without_nan(runs, floors[env - 1] if isinstance(floors, Sequence) else floors, end, env)
            cleaned[label].append(lines)
            notes[label] += told
    every = [[line for lines in each for line in lines] for each in zip(*cleaned.values(), strict=True)]
    bins, first = _finest(every, lengths, points)
    kept = [_fewest_points(lines, end, bins) if matched else None for lines, end in zip(every, lengths, strict=True)]
    shared = _laid_notes(every, lengths, (bins, first, points), kept)
    x = np.arange(first + 1, bins + 1, dtype=np.float64) * ((lengths[0] if common else 1.0) / bins)
    laid = {}
    for label, lined in cleaned.items():
        tables = [
            np.stack([_binned(steps, values, floor, end, bins, most) for steps, values, floor in lines])
            for lines, end, most in zip(lined, lengths, kept, strict=True)
        ]
        ordered = tuple(table[np.lexsort(table.T[::-1]), first:] for table in tables)  # the order of runs shall change nothing
        laid[label] = EfficiencyTables(x, ordered, not common, (*notes[label], *shared))
    return laid


def _laid_notes(
    every: Sequence[Sequence[Line]], lengths: Sequence[float], laid: tuple[int, int, int], kept: Sequence[Counts | None]
) -> list[str]:
    """What must be said of the common positions."""
    bins, first, points = laid
    notes = []
    if bins < points:
        notes.append(f"{bins} positions in place of {points}: some run logs no more often")
    if first:
        notes.append(f"the first {first} of {bins} positions are left out: not every run has a value there")
    thinned = [
        env
        for env, (lines, end, most) in enumerate(zip(every, lengths, kept, strict=True), start=1)
        if most is not None and any((_points_in(steps, end, bins)[first:] > most[first:]).any() for steps, _, _ in lines)
    ]
    if thinned:
        where = "" if len(thinned) == len(every) else " (" + ", ".join(f"environment {env}" for env in thinned) + ")"
        notes.append(
            f"runs that log more often than others count as many points in a bin as the one with the fewest, evenly apart{where}"
        )
    if max(lengths) != min(lengths):
        notes.append(f"x is the share of each environment's own end ({min(lengths):g} to {max(lengths):g})")
    return notes


def _finest(cleaned: Sequence[Sequence[Line]], lengths: Sequence[float], points: int) -> tuple[int, int]:
    """The most bins in which every run has a value, and the first of them.

    The first tenth may be without values where this at least doubles the positions: many runs log late and then often.
    """
    fewest = min([len(steps) for lines in cleaned for steps, _, floor in lines if floor is None], default=points)
    late: tuple[int, int] | None = None
    for bins in range(min(points, fewest + fewest // 9 + 1), 0, -1):
        rows = (_binned(*line, end, bins) for lines, end in zip(cleaned, lengths, strict=True) for line in lines)
        filled = np.all([np.isfinite(row) for row in rows], axis=0)
        first = int(np.argmax(filled))
        if not filled[first:].all():
            continue
        if not first:
            return late if late and late[0] - late[1] >= 2 * bins else (bins, 0)
        if late is None and first <= bins // 10:
            late = bins, first
    if late is None:
        raise SelectionError("the runs share no positions", "some have no value where others have", "select other runs")
    return late


def _checked_curves(curves: Sequence[Sequence[Run]] | Mapping[str, Sequence[Run]]) -> list[list[Run]]:
    """One list of (steps, values) pairs for each environment."""
    if not isinstance(curves, Sequence | Mapping):
        shape = " x ".join(str(size) for size in np.shape(curves))
        fix = "hand over, for each environment, one (steps, values) pair for each run"
        raise UsageError(f"the curves are a {shape} array", "it does not say which axis holds runs, environments or steps", fix)
    listed: list[list[Run]] = []
    for env, runs in enumerate(curves.values() if isinstance(curves, Mapping) else curves, start=1):
        pairs: list[Run] = []
        for run in runs:
            if not isinstance(run, tuple | list) or len(run) != 2 or np.ndim(run[0]) != 1 or np.shape(run[0]) != np.shape(run[1]):
                why = f"environment {env} holds something else"
                raise UsageError("a run is a pair (steps, values)", why, "hand over two arrays of one length for each run")
            pairs.append((np.asarray(run[0], dtype=np.float64), np.asarray(run[1], dtype=np.float64)))
        if not pairs or not all(len(steps) for steps, _ in pairs):
            raise UsageError(f"environment {env} has a run without values", "it cannot be drawn", "leave it out")
        listed.append(pairs)
    if not listed:
        raise UsageError("there are no curves", "nothing can be computed from nothing", "hand over one list of runs for each")
    return listed


def _ends_of(curves: Sequence[Sequence[Run]], ends: Sequence[float] | float | None) -> list[float]:
    """Where each environment's curves end; every run that did not diverge must reach it."""
    lasts = [[float(steps.max()) for steps, values in runs if np.isfinite(values).all()] for runs in curves]
    reached = [min(last, default=max(float(steps.max()) for steps, _ in runs)) for last, runs in zip(lasts, curves, strict=True)]
    if isinstance(ends, Sequence):
        wanted = [float(end) for end in ends]
    else:
        wanted = [min(reached) if ends is None else float(ends)] * len(curves)
    if len(wanted) != len(curves) or min(wanted) <= 0:
        raise UsageError("each environment needs one end above 0", f"{len(wanted)} for {len(curves)}", "give one number")
    for env, (last, end) in enumerate(zip(reached, wanted, strict=True), start=1):
        if last < REACHED * end:
            why = f"environment {env} has one that ends at {last:g}, and the end is {end:g}; nothing is stretched"
            raise SelectionError("a run ends before the curves do", why, "leave the run out, or end earlier")
    return wanted


def _without_nan(runs: Sequence[Run], floor: float | None, end: float, env: int) -> tuple[list[Line], list[str]]:
    """Runs as (steps, finite values, failure score or None), and what is said of those that diverged."""
    lines, lost = [], 0
    finite = np.concatenate([values[np.isfinite(values) & (steps <= end)] for steps, values in runs])
    for steps, values in runs:
        bad = ~np.isfinite(values)
        stop = int(np.argmax(bad)) if bad.any() else len(values)
        diverged = stop < len(values) and steps[stop] <= end
        if diverged and floor is None:
            if not len(finite):
                raise UsageError(f"every run of environment {env} diverged", "no finite value is left", "give a failure score")
            floor = float(finite.min())
        lost += diverged
        lines.append((steps[:stop], values[:stop], floor if diverged else None))
    return lines, [f"environment {env}: {lost} of {len(runs)} runs diverged and count at {floor:g} from there on"] if lost else []


def _bin_of(steps: Values, end: float, bins: int) -> NDArray[np.int64]:
    """In which bin ``(end * j / bins, end * (j + 1) / bins]`` each point lies; below 0 or from ``bins`` on in none."""
    return np.asarray(np.ceil(steps * (bins / end) * (1.0 - 1e-12)).astype(np.int64) - 1)


def _points_in(steps: Values, end: float, bins: int) -> Counts:
    """How many points of a run lie in each bin."""
    index = _bin_of(steps, end, bins)
    return np.asarray(np.bincount(index[(index >= 0) & (index < bins)], minlength=bins))


def _fewest_points(lines: Sequence[Line], end: float, bins: int) -> Counts:
    """The fewest points that a run has in each bin, of those that have any there."""
    counts = np.stack([_points_in(steps, end, bins) for steps, _, _ in lines])
    return np.asarray(np.where(counts > 0, counts, np.iinfo(np.int64).max).min(axis=0))


def _evenly(index: NDArray[np.int64], steps: Values, bins: int, most: Counts) -> NDArray[np.bool_]:
    """Which points count where each bin may hold so many: as many, evenly apart, the bin's last among them."""
    order = np.lexsort((steps, index))
    counts = np.bincount(index, minlength=bins)
    place = np.arange(len(index)) - np.repeat(np.cumsum(counts) - counts, counts) + 1  # 1 for a bin's first point
    size, limit = counts[index[order]], np.minimum(most, counts)[index[order]]
    chosen = np.empty(len(index), dtype=np.bool_)
    chosen[order] = (place * limit) // size > ((place - 1) * limit) // size
    return chosen


def _binned(steps: Values, values: Values, floor: float | None, end: float, bins: int, most: Counts | None = None) -> Values:
    """One run's mean in each bin, of ``most`` points at most, NaN where it has none."""
    index = _bin_of(steps, end, bins)
    inside = (index >= 0) & (index < bins)
    if most is not None:
        inside[inside] = _evenly(index[inside], steps[inside], bins, most)
    counts = np.bincount(index[inside], minlength=bins)
    sums = np.bincount(index[inside], weights=values[inside], minlength=bins)
    means: Values = np.divide(sums, counts, out=np.full(bins, np.nan), where=counts > 0)
    if floor is not None:
        known = np.flatnonzero(counts)
        means[known[-1] + 1 if len(known) else 0 :] = floor
    return means


def efficiency_curve(
    laid: EfficiencyTables | Sequence[Sequence[Run]] | Mapping[str, Sequence[Run]],
    name: str = "iqm",
    method: IntervalMethod = CALIBRATED,
) -> EfficiencyCurve:
    """An aggregate over environments along training, with pointwise intervals, a simultaneous band and its area.

    The simultaneous band is the pointwise one, its distances multiplied by what it takes for the whole curve (sup-t;
    Montiel Olea and Plagborg-Moller 2019, "Simultaneous confidence bands"): the quantile of the largest deviation along
    the resampled curves in standard deviations over the normal one, and for ``calibrated`` the quantile of the largest
    t statistic over Student's, since few runs have too small a spread somewhere.

    Args:
        laid: Curves on common positions (:func:`efficiency_tables`), or the curves themselves.
        name: The aggregate.
        method: How intervals are computed.

    Raises:
        SelectionError: Runs that share no positions.
        UsageError: No such aggregate, or curves that are no pairs of arrays.

    >>> rng = np.random.default_rng(0)
    >>> runs = [(np.arange(1, 5), np.arange(4) + rng.normal(size=4)) for _ in range(5)]
    >>> curve = efficiency_curve([runs], "mean")
    >>> bool(np.all(curve.band_low <= curve.low) and np.all(curve.high <= curve.band_high))
    True
    """
    if not isinstance(laid, EfficiencyTables):
        laid = efficiency_tables(laid)
    name = aggregate_name(name)
    tables = laid.tables
    sizes, positions = [len(table) for table in tables], len(laid.x)
    value = np.array([AGGREGATES[name]([table[:, place] for table in tables]) for place in range(positions)])
    told = replace(method, note=interval_note(method.method, sizes, name))
    heights = _heights(laid.x)
    low, high, band_low, band_high = (np.full(positions, np.nan) for _ in range(4))
    area_low = area_high = None
    notes = list(laid.notes)
    if min(sizes) >= method.fewest:
        draws = bootstrap_curves(tables, name, resamples=method.resamples, seed=method.seed)
        parts = contributions(name, np.stack([np.concatenate([t[:, at] for t in tables]) for at in range(positions)]), sizes)
        found, shares = spread(parts, sizes), shown_shares(name, sizes)
        for place in range(positions):
            here, tasks = np.split(parts[place], np.cumsum(sizes)[:-1]), [table[:, place] for table in tables]
            ends = interval_of(float(value[place]), Draws(draws[place]), here, method, shares)
            low[place], high[place] = in_bounds(ends, tasks, name, method)
        wider = _wider(draws, parts, found, sizes, method)
        band_low, band_high = value - wider * (value - low), value + wider * (high - value)
        if name == "optimality-gap":
            band_low = np.maximum(band_low, 0.0)
        each = np.split(heights @ parts, np.cumsum(sizes)[:-1])
        area_low, area_high = interval_of(float(heights @ value), Draws(heights @ draws), each, method, shares)
        area_low = max(area_low, 0.0) if name == "optimality-gap" else area_low
        notes.append(f"{BAND_WORDS} {_range(wider)} times as wide as the pointwise one")
    area = Estimate(f"area under the {name} curve", float(heights @ value), area_low, area_high, sum(sizes), len(sizes), told)
    return EfficiencyCurve(
        name, laid.x, value, low, high, band_low, band_high, area, sum(sizes), len(sizes), told, tuple(notes)
    )  # fmt: skip


def _range(numbers: Values) -> str:
    """The smallest and the largest, or the one they both are as printed."""
    low, high = f"{numbers.min():.3g}", f"{numbers.max():.3g}"
    return low if low == high else f"{low} to {high}"


def _heights(x: Values) -> Values:
    """What each position weighs in the curve's mean height by the trapezoidal rule."""
    if len(x) == 1:
        return np.ones(1)
    gaps = np.diff(x)
    return np.asarray((np.append(gaps, 0.0) + np.append(0.0, gaps)) / (2.0 * (x[-1] - x[0])))


def _wider(draws: Values, parts: Values, found: Spread, sizes: Sequence[int], method: IntervalMethod) -> Values:
    """How many times the pointwise distances a band for the whole curve has, at each position."""
    from scipy.special import ndtri, stdtrit

    outside = 0.5 + method.level / 2.0
    varying = found.resampled > 1e-12 * np.maximum(np.abs(draws[:, 0]), 1.0)
    if not varying.any():
        return np.ones(len(draws))
    if method.method == "calibrated":
        largest = _largest_student(parts[varying], sizes, method.level, method.seed)
        return np.asarray(np.maximum(largest / stdtrit(np.where(varying, found.degrees, np.inf), outside), 1.0))
    furthest = np.zeros(draws.shape[1])
    for row in draws[varying]:
        np.maximum(furthest, np.abs(row - row.mean()) / row.std(), out=furthest)
    return np.full(len(draws), max(float(np.quantile(furthest, method.level)) / float(ndtri(outside)), 1.0))


def _largest_student(parts: Values, sizes: Sequence[int], level: float, seed: int) -> float:
    """The quantile of the largest absolute t statistic along the curve, of normal runs with the covariances seen.

    Few runs have standard errors that are too small at some position or other, which the resamples of those runs do not
    show: the statistic is therefore simulated with standard errors of its own at each position.
    """
    generator = np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed)))
    moved, variance = np.zeros((len(parts), _SIMULATED)), np.zeros((len(parts), _SIMULATED))
    for part in np.split(parts, np.cumsum(sizes)[:-1], axis=1):
        size = part.shape[1]
        apart = (part - part.mean(axis=1, keepdims=True)) / np.sqrt(size - 1)
        total, squares = np.zeros_like(moved), np.zeros_like(moved)
        for _ in range(size):
            run = apart @ generator.standard_normal((size, _SIMULATED))
            total += run
            squares += run**2
        moved += total / size
        variance += np.maximum(squares - total**2 / size, 0.0) / (size * (size - 1))
    return float(np.quantile(np.max(np.abs(moved) / np.sqrt(variance), axis=0), level))
