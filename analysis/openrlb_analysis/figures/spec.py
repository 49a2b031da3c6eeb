"""What a figure shows, said once: painters draw it, captions and alternative texts read it. No painter is imported here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from openrlb_analysis.figures.footer import Footer, curves_footer, kind_words, scores_footer
from openrlb_analysis.figures.theme import Style, styles
from openrlb_analysis.figures.words import metric_name, unit_name

if TYPE_CHECKING:
    from openrlb.types import Values
    from openrlb_analysis.result import CurveBand, CurvesResult, GroupResult, PlotResult

Panels = Literal["auto", "pooled", "environments"]
MOST_LINES = 14
"""More learning curves than these in one panel cannot be told apart; they are split over panels."""
LINES_WHEN_SPLIT = 7
MOST_UNSORTED = 7
"""More groups than these are listed with the best on top; fewer stay in their own order, which may mean something."""
LOWER = ("optimality-gap", "iqr", "steps-to-threshold")
BAND_ROOM = 0.25
"""How far beyond the values seen, in their range, an axis follows a band: few runs have bands that would squash the curves."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One group's row in a panel of an interval plot.

    Attributes:
        label: The group's label.
        value: The point estimate, None where there is none.
        low: The interval's lower end, None where there is no interval.
        high: The interval's upper end.
        runs: How many runs count.
        scores: The single runs' scores; empty in a pooled panel.
        note: Why something is missing (``no runs``), else empty.
    """

    label: str
    value: float | None
    low: float | None
    high: float | None
    runs: int
    scores: tuple[float, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class IntervalPanel:
    """One panel: a row for each group, and the range of the value axis that holds everything drawn."""

    title: str
    marks: tuple[Mark, ...]
    x_range: tuple[float, float]


@dataclass(frozen=True, slots=True)
class IntervalFigure:
    """Groups x panels of point estimates with intervals.

    Attributes:
        rows: The groups' labels, from top to bottom; the same in every panel.
        panels: One pooled panel, or one for each environment.
        value_title: What the value axis shows.
        styles: A style for each label.
        footer: What a reader must know beside the picture.
        reference: A value that a dashed line marks, or None.
    """

    rows: tuple[str, ...]
    panels: tuple[IntervalPanel, ...]
    value_title: str
    styles: Mapping[str, Style]
    footer: Footer
    reference: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class CurveLine:
    """One group's curve and band; arrays of shape ``(k,)``, NaN where there is no value."""

    label: str
    x: Values
    value: Values
    low: Values
    high: Values
    runs: Values


@dataclass(frozen=True, slots=True, eq=False)
class CurvesPanel:
    """The curves of one environment.

    Attributes:
        env: The environment.
        title: The environment, with a part's number where its groups are split over panels.
        lines: The curves.
        x_range: The range of the x axis.
        y_range: The range of the y axis, equal in all parts of an environment.
        cut: Where scores are read, on this x axis; None where the axis does not count steps.
    """

    env: str
    title: str
    lines: tuple[CurveLine, ...]
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    cut: float | None


@dataclass(frozen=True, slots=True, eq=False)
class CurvesFigure:
    """Learning curves, one panel for each environment (several where there are many groups).

    Attributes:
        rows: The groups' labels in the legend's order.
        panels: The panels.
        split: True where groups are split over panels; each panel then has a legend of its own.
        x_title: What the x axis counts.
        y_title: What the y axis shows.
        styles: A style for each label, the same as in the interval plot of the same groups.
        footer: What a reader must know beside the picture.
        lead: What kind of curves they are, for the alternative text.
        bars: True where positions are whole numbers that nothing lies between: stacked bars of shares in place of lines.
        whole: True where only whole numbers are positions: no other is a tick of the x axis.
        log_x: True where the x axis is logarithmic; all positions are then above 0.
    """

    rows: tuple[str, ...]
    panels: tuple[CurvesPanel, ...]
    split: bool
    x_title: str
    y_title: str
    styles: Mapping[str, Style]
    footer: Footer
    lead: str = "Learning curves"
    bars: bool = False
    whole: bool = False
    log_x: bool = False

    def direct(self) -> dict[str, float]:
        """Where each label may stand beside its line's end, in place of a legend; empty where a legend is needed.

        That is so in one panel with at most seven lines that all end at its right and at heights of their own.
        """
        if len(self.panels) != 1 or self.bars or self.split or not 1 < len(self.panels[0].lines) <= LINES_WHEN_SPLIT:
            return {}
        (panel,) = self.panels
        ends = {line.label: _last_point(line) for line in panel.lines}
        low, high = panel.x_range
        nearest = high * (low / high) ** 0.06 if self.log_x else high - 0.06 * (high - low)
        if any(end is None or end[0] < nearest for end in ends.values()):
            return {}
        heights = {label: end[1] for label, end in ends.items() if end is not None}
        least, most = panel.y_range
        return heights if max(heights.values()) - min(heights.values()) >= 0.1 * (most - least) else {}


def interval_figure(result: PlotResult, panels: Panels = "auto") -> IntervalFigure:
    """The interval plot of an analysis.

    Args:
        result: The analysis.
        panels: ``pooled``: one panel over the pooled environments; ``environments``: one for each; ``auto``: pooled where the
            result has pooled values over several environments.
    """
    pooled = panels == "pooled" or (panels == "auto" and is_pooled(result))
    labels, groups = row_order([(result, pooled)]), {group.label: group for group in result.groups}
    if pooled:
        every, used = len(environments_of(result)), len(result.pooled_envs)
        title = f"pooled over {used} environments" if used == every else f"pooled over {used} of {every} environments"
        drawn: tuple[IntervalPanel, ...] = (_interval_panel(title, [_pooled_mark(result, groups[label]) for label in labels]),)
    else:
        drawn = tuple(_interval_panel(env, [_mark(groups[label], env) for label in labels]) for env in environments_of(result))
    axis = value_title(result) + better_words(result.metric)
    return IntervalFigure(labels, drawn, axis, styles(labels), scores_footer(result, not pooled))


def metrics_figure(results: Sequence[PlotResult]) -> IntervalFigure:
    """Several aggregates of the same scores side by side: a panel for each, of each environment where none is pooled.

    Args:
        results: One answer for each aggregate, of the same groups.
    """
    first, pooled = results[0], is_pooled(results[0])
    order = row_order([(one, pooled) for one in results[:1]])
    panels = []
    for env in [""] if pooled else environments_of(first):
        for one in results:
            name = f"{metric_name(one.metric)}{better_words(one.metric)}"
            marks = {group.label: _pooled_mark(one, group) if pooled else _mark(group, env) for group in one.groups}
            title = name if pooled or len(environments_of(first)) == 1 else f"{env}: {name}"
            panels.append(_interval_panel(title, [marks[label] for label in order]))
    footer = scores_footer(first, False)
    shows = f"{', '.join(metric_name(one.metric) for one in results)} of {first.of}{kind_words(first.kind)}"
    if pooled:
        used, every = len(first.pooled_envs), len(environments_of(first))
        shows += f", pooled over {used}{f' of {every}' if used < every else ''} environments"
    title = f"{first.of}{normalised_words(first.normalization)}"
    note = first.interval.note.replace(f"for the {first.metric} of", "for these statistics of")
    interval = None if footer.interval is None else replace(footer.interval, note=note)
    return IntervalFigure(order, tuple(panels), title, styles(order), replace(footer, shows=shows, interval=interval))


def row_order(results: Sequence[tuple[PlotResult, bool]]) -> tuple[str, ...]:
    """The groups' labels from top to bottom: as they are, and where they are many the best first.

    Of several environments it is the mean place among the groups that have runs there.

    Args:
        results: Answers, each with whether its pooled values are drawn.
    """
    result, pooled = results[0]
    labels = [group.label for group in result.groups]
    if len(labels) <= MOST_UNSORTED:
        return tuple(labels)
    sign = 1.0 if result.metric in LOWER else -1.0
    tables = [{group.label: group.value for group in result.groups}] if pooled else [
        {group.label: entry.value for group in result.groups for entry in group.per_env if entry.env == env}
        for env in environments_of(result)
    ]  # fmt: skip
    places: dict[str, list[int]] = {label: [] for label in labels}
    for table in tables:
        known = {label: value for label, value in table.items() if value is not None and math.isfinite(value)}
        for place, label in enumerate(sorted(known, key=lambda label: (sign * known[label], labels.index(label)))):
            places[label].append(place)
    mean = {label: sum(found) / len(found) if found else math.inf for label, found in places.items()}
    return tuple(sorted(labels, key=lambda label: (mean[label], labels.index(label))))


def curves_figure(result: CurvesResult, plot: PlotResult) -> CurvesFigure:
    """The learning curves of an analysis, in the styles of its interval plot.

    Args:
        result: The curves; hours shorter than two are drawn in minutes or seconds.
        plot: The analysis whose groups they are: labels' order, cut, exclusions.
    """
    known = [group.label for group in plot.groups]
    present = dict.fromkeys(band.label for band in result.bands)
    labels = list(dict.fromkeys([*known, *present]))
    longest = max((float(x) for band in result.bands for x in band.x[-1:] if math.isfinite(x)), default=0.0)
    scale, unit = time_unit(longest) if result.x_unit == "hours" else (1.0, unit_name(result.x_unit))
    cuts = plot.step if result.x_unit == plot.step_unit else {}
    order = [*environments_of(plot), *(band.env for band in result.bands)]
    panels: list[CurvesPanel] = []
    split = clipped = False
    for env in dict.fromkeys(order):
        bands = sorted((b for b in result.bands if b.env == env and len(b.x)), key=lambda b: labels.index(b.label))
        seen = result.seen.get(env) if result.metric not in LOWER else None  # a gap is on another scale than the runs' values
        drawn, beyond = _curves_panels(env, bands, scale, cuts.get(env), seen)
        panels += drawn
        clipped |= beyond
        split |= len(bands) > MOST_LINES
    x_title = f"wall time ({unit})" if result.x_unit == "hours" else unit
    y_title = f"{metric_name(result.metric)} of {result.of}{normalised_words(result.normalization)}{better_words(result.metric)}"
    rows = tuple(label for label in labels if label in present)
    footer = curves_footer(result, plot, any(panel.cut is not None for panel in panels), clipped)
    return CurvesFigure(rows, tuple(panels), split, x_title, y_title, styles(known, present), footer)


def with_log_x(figure: CurvesFigure) -> CurvesFigure | None:
    """The same curves along a logarithmic axis, without positions at 0, which such an axis lacks; the footer says so.

    Args:
        figure: The curves.

    Returns:
        None where the positions are ranks, or scores that may lie below 0.
    """
    import numpy as np

    every = [line.x[np.isfinite(line.x)] for panel in figure.panels for line in panel.lines]
    if figure.bars or min((float(x.min()) for x in every if len(x)), default=-1.0) < 0:
        return None
    lost = any((x == 0).any() for x in every)
    said = f"{figure.footer.shows}; the x axis is logarithmic{', without the values at 0' if lost else ''}"
    return replace(figure, panels=tuple(map(_panel_log_x, figure.panels)), footer=replace(figure.footer, shows=said), log_x=True)


def _panel_log_x(panel: CurvesPanel) -> CurvesPanel:
    """A panel without positions at 0, its axis from the first to the last that is left."""
    lines = []
    for line in panel.lines:
        kept = line.x > 0
        lines.append(CurveLine(line.label, *(array[kept] for array in (line.x, line.value, line.low, line.high, line.runs))))
    ends = [float(end) for line in lines if len(line.x) for end in (line.x.min(), line.x.max())] or [1.0]
    x_range = (min(ends), max(ends)) if max(ends) > min(ends) else (ends[0] / 2, ends[0] * 2)
    return replace(panel, lines=tuple(lines), x_range=x_range)


def _last_point(line: CurveLine) -> tuple[float, float] | None:
    """A line's last known point."""
    import numpy as np

    known = np.flatnonzero(np.isfinite(line.x) & np.isfinite(line.value))
    return (float(line.x[known[-1]]), float(line.value[known[-1]])) if len(known) else None


def environments_of(result: PlotResult) -> tuple[str, ...]:
    """Every environment that a group has a result in, in the order of the result's cuts."""
    present = dict.fromkeys(entry.env for group in result.groups for entry in group.per_env)
    return tuple(dict.fromkeys([*(env for env in result.step if env in present), *present]))


def is_pooled(result: PlotResult) -> bool:
    """Whether the analysis has numbers pooled over several environments."""
    return len(result.pooled_envs) > 1 and any(group.value is not None for group in result.groups)


def value_title(result: PlotResult) -> str:
    """What the values are: the aggregate, the logged quantity, and the normalisation where there is one."""
    if result.metric == "runtime":
        return metric_name(result.metric)
    return f"{metric_name(result.metric)} of {result.of}{normalised_words(result.normalization)}"


def better_words(metric: str) -> str:
    """What an axis title says of a metric of which less is better.

    >>> better_words("optimality-gap"), better_words("iqm")
    (' (lower is better)', '')
    """
    return " (lower is better)" if metric in LOWER else ""


def normalised_words(normalization: str) -> str:
    """What an axis title says of a normalisation.

    >>> normalised_words("dmc v1"), normalised_words("none")
    (', normalised (dmc v1)', '')
    """
    return "" if normalization in ("", "none") else f", normalised ({normalization})"


def _pooled_mark(result: PlotResult, group: GroupResult) -> Mark:
    """A group's pooled row; single runs are shown by environment only."""
    note = "" if group.value is not None else "no pooled value"
    return _checked(Mark(group.label, group.value, group.low, group.high, result.pooled_runs(group), (), note))


def _mark(group: GroupResult, env: str) -> Mark:
    """A group's row in one environment."""
    for entry in group.per_env:
        if entry.env == env:
            return _checked(Mark(group.label, entry.value, entry.low, entry.high, entry.runs, entry.scores))
    return Mark(group.label, None, None, None, 0, (), "no runs")


def _checked(mark: Mark) -> Mark:
    """A row whose numbers can all be drawn; what cannot is said in its note."""
    if mark.value is None:
        return mark
    scores = tuple(score for score in mark.scores if math.isfinite(score))
    lost = len(mark.scores) - len(scores)
    value = mark.value if math.isfinite(mark.value) else None
    bounds = [bound for bound in (mark.low, mark.high) if bound is not None and math.isfinite(bound)]
    low, high = bounds if len(bounds) == 2 and value is not None else (None, None)
    reasons = [] if value is not None else ["value not finite"]
    if low is None and value is not None:
        reasons.append("1 run, no interval" if mark.runs == 1 else "no interval")
    if lost:
        reasons.append(f"{lost} of {len(mark.scores)} scores not finite")
    return Mark(mark.label, value, low, high, mark.runs, scores, "; ".join(reasons))


def _interval_panel(title: str, marks: Sequence[Mark]) -> IntervalPanel:
    drawn = [number for m in marks for number in (m.value, m.low, m.high, *m.scores) if number is not None]
    return IntervalPanel(title, tuple(marks), padded(drawn, 0.05))


def _curves_panels(
    env: str, bands: Sequence[CurveBand], scale: float, cut: int | None, seen: tuple[float, float] | None
) -> tuple[list[CurvesPanel], bool]:
    """An environment's panel, or several with equal axes where there are too many lines; whether a band leaves them."""
    import numpy as np

    if not bands:
        return [], False
    lines = []
    for b in bands:
        x, value, low, high = (np.asarray(array, dtype=np.float64) for array in (b.x, b.value, b.low, b.high))
        lines.append(CurveLine(b.label, x * scale, value, low, high, np.asarray(b.runs)))
    xs = np.concatenate([line.x for line in lines])
    y_range, clipped = curves_range(lines, seen)
    ends = xs[np.isfinite(xs)].tolist()
    near_start = [0.0] if ends and 0 < min(ends) < 0.2 * max(ends) else []
    x_range = padded([*ends, *near_start], 0.0)
    size = len(lines) if len(lines) <= MOST_LINES else LINES_WHEN_SPLIT
    parts = [tuple(lines[start : start + size]) for start in range(0, len(lines), size)]
    names = [env] if len(parts) == 1 else [f"{env} ({part} of {len(parts)})" for part in range(1, len(parts) + 1)]
    inside = float(cut) if cut is not None and x_range[0] < cut < x_range[1] else None
    panels = [CurvesPanel(env, name, part, x_range, y_range, inside) for name, part in zip(names, parts, strict=True)]
    return panels, clipped


def curves_range(lines: Sequence[CurveLine], seen: tuple[float, float] | None) -> tuple[tuple[float, float], bool]:
    """The y axis of curves: it holds every curve, and bands as far as a little beyond the values that runs have.

    Args:
        lines: The curves with their bands.
        seen: The lowest and the highest value of a run; None to hold all of the bands.

    Returns:
        The axis, and whether a band reaches beyond it.
    """
    import numpy as np

    values = np.concatenate([line.value for line in lines])
    ends = np.concatenate([array for line in lines for array in (line.low, line.high)])
    values, ends = values[np.isfinite(values)], ends[np.isfinite(ends)]
    if seen is None or not len(ends):
        return padded([*values.tolist(), *ends.tolist()], 0.04), False
    low, high = min([seen[0], *values.tolist()]), max([seen[1], *values.tolist()])
    room = BAND_ROOM * (high - low)
    inside = np.clip(ends, low - room, high + room)
    return padded([*values.tolist(), *inside.tolist()], 0.04), bool((inside != ends).any())


def time_unit(longest: float) -> tuple[float, str]:
    """The factor from hours to the unit that suits an axis, and that unit.

    Args:
        longest: The axis' end in hours.

    >>> time_unit(3.0), time_unit(0.5), time_unit(0.004)
    ((1.0, 'hours'), (60.0, 'minutes'), (3600.0, 'seconds'))
    """
    return (1.0, "hours") if longest >= 2 or longest == 0 else (60.0, "minutes") if longest >= 2 / 60 else (3600.0, "seconds")


def padded(numbers: Iterable[float], share: float) -> tuple[float, float]:
    """A range that holds all numbers with some room; never of zero width.

    Args:
        numbers: What it shall hold; without any it is 0 to 1.
        share: The room on either side, in widths.

    >>> padded([0.0, 10.0], 0.1), padded([], 0.1)
    ((-1.0, 11.0), (0.0, 1.0))
    """
    found = list(numbers)
    if not found:
        return 0.0, 1.0
    low, high = min(found), max(found)
    if high - low <= 1e-9 * max(abs(low), abs(high)) or high == low:
        room = abs(high) * 0.05 or 0.5
        return low - room, high + room
    room = (high - low) * share
    return low - room, high + room
