"""Learning curves, profiles and rank frequencies in print: small multiples, the legend on top, lines that differ in grey."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from openrlb_analysis.figures.grid import columns, parted
from openrlb_analysis.figures.matplotlib_canvas import (
    CURVE,
    EDGE,
    TICKS,
    Canvas,
    line_look,
    marked_line,
    number_axis,
)
from openrlb_analysis.figures.matplotlib_text import LINE, label_lines, lines, log_ticks, tick_words, ticks, widest, width
from openrlb_analysis.figures.places import spread_places
from openrlb_analysis.figures.size import Size, no_room
from openrlb_analysis.figures.spec import CurveLine, CurvesFigure, CurvesPanel
from openrlb_analysis.figures.theme import BAND_ALPHA, INK, Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NARROWEST, SMALLEST, MOST_ACROSS = 74.0, 64.0, 5
"""The least width of a panel in points: of a few, and of more than :data:`FEW`, which shall fit a page together."""
FEW = 9
LOWEST, HIGHEST = 40.0, 150.0
"""The least and the most height of a panel, in points."""
RIGHT, SIGN = 4.0, 14.0
"""What stays free right of the last panel, and what a label's mark there takes."""
SAMPLE = 22.0
"""The width of a legend's sample with the room beside it."""
BAR = 0.7
"""How wide bars are, of the way from one to the next."""
MARKS = 6
"""Marks on each curve."""
HATCHES = ("", "////", "....", "xxxx", "----", "\\\\\\\\", "++++")


@dataclass(frozen=True, slots=True)
class Plan:
    """Where things lie, in points.

    Attributes:
        left: The room left of the first panel.
        gap: Between columns: numbers of the y axis, and room.
        across: Panels side by side.
        panel: A panel's width.
        high: A panel's height.
        head: The height of a panel's title, and of its own legend where it has one.
        legend: The height of the legend over all panels.
        entry: The width of a legend's entry.
        y_title: The title of the y axes in lines.
        foot: The height of the title of the x axes.
        right: The room right of the last panel.
        direct: Whether labels stand there, in place of a legend.
    """

    left: float
    gap: float
    across: int
    panel: float
    high: float
    head: float
    legend: float
    entry: float
    y_title: list[str]
    foot: float
    right: float
    direct: bool

    def height(self, rows: int) -> float:
        """The height of a figure with so many rows of panels."""
        return 2 * EDGE + self.legend + rows * (self.head + self.high + TICKS) + (rows - 1) * 6 + self.foot


def curves_parts(figure: CurvesFigure, size: Size) -> list[Figure]:
    """The figure, in several parts where it is taller than a page."""
    plan = _plan(figure, size)
    if size.height is not None and plan.height(1) > size.height + 0.01:
        raise no_room(plan.height(1))
    groups = parted(figure.panels, plan.across, plan.height, size.tallest)
    if size.height is not None:  # every part fills its height
        most = -(-len(groups[0]) // plan.across)
        plan = replace(plan, high=plan.high + (size.height - plan.height(most)) / most)
    return [_draw(replace(figure, panels=group), plan, size) for group in groups]


def _plan(figure: CurvesFigure, size: Size) -> Plan:
    numbers = widest([tick_words(*p.y_range)(at) for p in figure.panels for at in ticks(p.y_range, HIGHEST, True)]) + 5
    beside = widest(list(figure.direct())) + SIGN
    direct = SIGN < beside <= 0.3 * size.width
    right = beside if direct else max([RIGHT, *(_overhang(panel, figure.log_x) for panel in figure.panels)])
    whole = size.width - 2 * EDGE - right
    entry = max((width(line) for label in figure.rows for line in _label(label, whole)), default=0.0) + SAMPLE
    gap = numbers + 8
    narrowest = max(NARROWEST if len(figure.panels) <= FEW else SMALLEST, entry if figure.split else 0) + gap
    across = columns(len(figure.panels), whole - LINE, min(narrowest, whole - LINE), MOST_ACROSS)
    x_title = lines(figure.x_title, whole)
    y_title: list[str] = [figure.y_title]
    for _ in range(2):  # the title's lines take width, and width decides the height that its lines have
        left = EDGE + len(y_title) * LINE + 2 + numbers
        panel = (whole - left + EDGE - (across - 1) * gap) / across
        high = min(max((0.68 if len(figure.panels) <= FEW else 0.55) * panel, LOWEST), HIGHEST)
        rows = -(-len(figure.panels) // across)
        y_title = lines(figure.y_title, rows * (high + 30) - 20 if rows > 1 else high + 14)
    legend = 0.0 if figure.split or direct else _rows_height(_entries(figure.rows, entry, size.width - left), whole) + 3
    titles = max((len(lines(one.title, panel, True)) for one in figure.panels), default=1)
    own = (
        max((_stacked([line.label for line in one.lines], panel) for one in figure.panels), default=0.0) if figure.split else 0.0
    )
    plan = Plan(
        left, gap, across, panel, high, titles * LINE + 3 + own, legend, entry, y_title, len(x_title) * LINE + 2, right, direct
    )
    if size.height is None:
        return plan
    fixed = plan.height(rows) - rows * plan.high
    return replace(plan, high=max((size.height - fixed) / rows, LOWEST))


def _overhang(panel: CurvesPanel, log_x: bool) -> float:
    """How far the last number of an x axis reaches beyond it."""
    low, high = panel.x_range
    last = max((log_ticks if log_x else ticks)(panel.x_range, HIGHEST), default=low)
    inside = math.log(high / last) / math.log(high / low) if log_x else (high - last) / (high - low)
    return width(tick_words(low, high)(last)) / 2 - HIGHEST * inside


def _label(label: str, room: float) -> list[str]:
    return label_lines(label, min(room, 196.0) - SAMPLE)


def _entries(labels: Sequence[str], entry: float, room: float) -> list[list[str]]:
    """A legend's rows of labels."""
    across = max(int((room + 8) // (entry + 8)), 1)
    across = -(-len(labels) // max(-(-len(labels) // across), 1)) if labels else 1
    return [list(labels[start : start + across]) for start in range(0, len(labels), across)]


def _rows_height(rows: list[list[str]], whole: float) -> float:
    return sum(max(len(_label(label, whole)) for label in row) * LINE + 1.5 for row in rows)


def _stacked(labels: Sequence[str], room: float) -> float:
    """The height of a panel's own legend."""
    return sum(len(label_lines(label, room - SAMPLE)) * LINE for label in labels) + 3


def _draw(figure: CurvesFigure, plan: Plan, size: Size) -> Figure:
    rows = -(-len(figure.panels) // plan.across)
    height = plan.height(rows)
    canvas = Canvas(size.width, height)
    whole = size.width - 2 * EDGE - plan.right
    if plan.legend:
        top = EDGE
        for entries in _entries(figure.rows, plan.entry, size.width - plan.left):
            for place, label in enumerate(entries):
                start = max(min(plan.left, size.width - EDGE - plan.entry), EDGE)  # the longest may need the whole width
                _entry(canvas, start + place * (plan.entry + 8), top, _label(label, whole), figure, label)
            top += _rows_height([entries], whole)
    for index, panel in enumerate(figure.panels):
        row, column = divmod(index, plan.across)
        left = plan.left + column * (plan.panel + plan.gap)
        top = EDGE + plan.legend + row * (plan.head + plan.high + TICKS + 6)
        title = lines(panel.title, plan.panel, True)
        above = 0.0 if figure.split else plan.head - 3 - len(title) * LINE  # a short title stands close to its panel
        canvas.text(left, top + above, title, bold=True)
        if figure.split:
            down = top + len(title) * LINE + 2
            for line in panel.lines:
                words = label_lines(line.label, plan.panel - SAMPLE)
                _entry(canvas, left, down, words, figure, line.label)
                down += len(words) * LINE
        _panel(canvas.axes(left, top + plan.head, plan.panel, plan.high), figure, panel, plan)
        if plan.direct:
            _at_ends(canvas, figure, plan, left, top + plan.head)
    middle = EDGE + plan.legend + (height - 2 * EDGE - plan.legend - plan.foot) / 2
    canvas.upright(EDGE, middle, plan.y_title)
    across = min(len(figure.panels), plan.across)
    centre = plan.left + (across * (plan.panel + plan.gap) - plan.gap) / 2
    words = lines(figure.x_title, whole)
    centre = max(min(centre, size.width - EDGE - widest(words) / 2), EDGE + widest(words) / 2)
    canvas.text(centre, height - plan.foot - EDGE + 1, words, ha="center")
    return canvas.figure


def _at_ends(canvas: Canvas, figure: CurvesFigure, plan: Plan, left: float, top: float) -> None:
    """Each label beside the end of its line, with the line's mark, moved apart where ends are close."""
    from matplotlib.lines import Line2D

    low, high = figure.panels[0].y_range
    beside = figure.direct()
    wanted = [(value - low) / (high - low) * plan.high for value in beside.values()]
    for label, place in zip(beside, spread_places(wanted, LINE, (0.0, plan.high)), strict=True):
        down, start = top + plan.high - place, left + plan.panel + 7
        at = [start / canvas.width], [1 - down / canvas.height]
        look = {**line_look(figure.styles[label]), "linestyle": "none"}
        canvas.figure.add_artist(Line2D(*at, transform=canvas.figure.transFigure, **look))
        canvas.text(start + 5, down - LINE / 2, [label])


def _entry(canvas: Canvas, left: float, top: float, words: list[str], figure: CurvesFigure, label: str) -> None:
    """A sample of the line, or of the bar, and its label."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

    style = figure.styles[label]
    y = 1 - (top + LINE / 2) / canvas.height
    if figure.bars:
        corner = ((left + 4) / canvas.width, y - 3 / canvas.height)
        sample = Rectangle(corner, 12 / canvas.width, 6 / canvas.height, transform=canvas.figure.transFigure, **_bar_look(style))
        canvas.figure.add_artist(sample)
    else:
        xs = [(left + at) / canvas.width for at in (0, 9, 18)]
        canvas.figure.add_artist(Line2D(xs, [y] * 3, markevery=[1], transform=canvas.figure.transFigure, **line_look(style)))
    canvas.text(left + SAMPLE, top, words)


def _panel(axes: Axes, figure: CurvesFigure, panel: CurvesPanel, plan: Plan) -> None:
    """Bands first, then lines, so that no band covers a line."""
    import numpy as np

    axes.set_xlim(*panel.x_range)
    axes.set_ylim(*panel.y_range)
    if figure.log_x:
        axes.set_xscale("log")
        axes.minorticks_off()
    number_axis(axes.xaxis, panel.x_range, plan.panel, at=_positions(figure, panel.x_range, plan.panel))
    number_axis(axes.yaxis, panel.y_range, plan.high, vertical=True)
    if panel.cut is not None:
        marked_line(axes, panel.cut)
    if figure.bars:
        axes.xaxis.grid(False)
        _bars(axes, panel, figure)
        return
    for line in panel.lines:
        known = np.isfinite(line.low) & np.isfinite(line.high) & np.isfinite(line.x)
        if known.any():
            color = figure.styles[line.label].color
            axes.fill_between(line.x, line.low, line.high, where=known, color=color, alpha=BAND_ALPHA, linewidth=0)
    for place, line in enumerate(panel.lines):
        look = line_look(figure.styles[line.label], CURVE if len(figure.panels) < 3 else 0.9)
        axes.plot(
            line.x, line.value, markevery=_marked(line, place, len(panel.lines)), zorder=3 - place * 0.01, clip_on=False, **look
        )


def _positions(figure: CurvesFigure, ends: tuple[float, float], room: float) -> list[float] | None:
    """Where numbers stand on the x axis; None for round ones, of whole numbers every one where there is room for each."""
    if figure.log_x:
        found = log_ticks(ends, room)
        return [at for at in found if at.is_integer()] if figure.whole else found
    if not figure.whole:
        return None
    whole = range(math.ceil(ends[0]), int(ends[1]) + 1)
    if len(whole) * 14 <= room:
        return [float(at) for at in whole]
    return [at for at in ticks(ends, room) if at.is_integer()]


def _marked(line: CurveLine, place: int, of: int) -> list[int]:
    """Where a line has its marks: a few known positions, shifted from line to line so that marks do not hide each other."""
    import numpy as np

    known = np.flatnonzero(np.isfinite(line.value))
    if len(known) <= MARKS:
        return [int(at) for at in known]
    step = len(known) / MARKS
    return [int(known[int((count + (place + 0.5) / max(of, 1)) * step)]) for count in range(MARKS)]


def _bars(axes: Axes, panel: CurvesPanel, figure: CurvesFigure) -> None:
    """Groups on each other at each whole number, the legend's first at the bottom."""
    below: dict[float, float] = {}
    for line in panel.lines:
        for at, value in zip(line.x.tolist(), line.value.tolist(), strict=True):
            if value > 0:  # an edge around nothing would be a line
                axes.bar(at, value, BAR, below.get(at, 0.0), **_bar_look(figure.styles[line.label]))
                below[at] = below.get(at, 0.0) + value


def _bar_look(style: Style) -> dict[str, Any]:
    """A bar's fill and, so that it differs in grey, its hatching."""
    from openrlb_analysis.figures.theme import PALETTE

    hatch = HATCHES[PALETTE.index(style.color)]
    return {"facecolor": style.color, "edgecolor": INK, "linewidth": 0.4, "hatch": hatch, "hatch_linewidth": 0.4}
