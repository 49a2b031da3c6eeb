"""Interval plots in print: a row for each group, its interval as a bar, single runs as dots, the numbers beside one panel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from openrlb_analysis.figures.grid import columns, parted
from openrlb_analysis.figures.matplotlib_canvas import EDGE, MARKERS, TICKS, Canvas, marked_line, number_axis
from openrlb_analysis.figures.matplotlib_text import LEADING, LINE, font, label_lines, lines, tick_words, ticks, widest
from openrlb_analysis.figures.plotly_layout import mark_text
from openrlb_analysis.figures.plotly_painter import spread
from openrlb_analysis.figures.size import Size, no_room
from openrlb_analysis.figures.spec import IntervalFigure, IntervalPanel, Mark
from openrlb_analysis.figures.theme import GROUND, INTERVAL_ALPHA, QUIET, Style
from openrlb_analysis.figures.words import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NARROWEST, MOST_ACROSS = 66.0, 6
PITCH, TIGHTEST = 13.0, 10.0
"""Points from row to row: what is comfortable, and the least that a fixed height may press it to."""
THICKEST = 11.0
"""The thickest bar in points, where rows are high."""
MANY = 20
"""More runs than these are drawn as small dots, so that the interval below them is seen."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Where things lie, in points.

    Attributes:
        labels: The rows' labels in lines.
        left: The width of the labels' column.
        right: The width of the numbers beside a single panel.
        texts: Those numbers; empty where there is no room for them, or more than one panel.
        across: Panels side by side.
        gap: Between them: what the numbers at their ends need.
        panel: A panel's width.
        head: The height of a panel's title.
        pitch: From row to row.
        foot: The height of the axis title.
    """

    labels: list[list[str]]
    left: float
    right: float
    texts: list[str]
    across: int
    gap: float
    panel: float
    head: float
    pitch: float
    foot: float

    def panel_height(self) -> float:
        """The height of a panel's rows."""
        return max(len(self.labels), 1) * self.pitch + 4

    def height(self, rows: int) -> float:
        """The height of a figure with so many rows of panels."""
        return 2 * EDGE + rows * (self.head + self.panel_height() + TICKS) + (rows - 1) * 6 + self.foot


def interval_parts(figure: IntervalFigure, size: Size) -> list[Figure]:
    """The figure, in several parts where it is taller than a page: panels first, then rows, are split."""
    plan = _plan(figure, size)
    if plan.height(1) > size.tallest and size.height is not None:
        raise no_room(plan.height(1))
    if plan.height(1) > size.tallest:
        fitting = int((size.tallest - 2 * EDGE - plan.head - TICKS - plan.foot - 4) // plan.pitch)
        if 1 <= fitting < len(figure.rows):
            count = -(-len(figure.rows) // fitting)
            each = -(-len(figure.rows) // count)
            chunks = [slice(start, start + each) for start in range(0, len(figure.rows), each)]
            return [part for chunk in chunks for part in interval_parts(_rows(figure, chunk), size)]
    groups = parted(figure.panels, plan.across, plan.height, size.tallest)
    return [_draw(replace(figure, panels=group), plan, size) for group in groups]


def _rows(figure: IntervalFigure, chunk: slice) -> IntervalFigure:
    panels = tuple(replace(panel, marks=panel.marks[chunk]) for panel in figure.panels)
    return replace(figure, rows=figure.rows[chunk], panels=panels)


def _plan(figure: IntervalFigure, size: Size) -> Plan:
    labels = [label_lines(row, 0.36 * size.width) for row in figure.rows]
    left = EDGE + widest([line for label in labels for line in label]) + 6
    texts: list[str] = []
    right = 8.0
    if len(figure.panels) == 1:
        for offered in ([mark_text(mark) for mark in figure.panels[0].marks], [_short(mark) for mark in figure.panels[0].marks]):
            needed = widest(offered) + 8
            if size.width - left - needed >= 0.3 * size.width:
                texts, right = offered, needed
                break
    room = size.width - left - right - EDGE
    numbers = [tick_words(*one.x_range)(at) for one in figure.panels for at in ticks(one.x_range, NARROWEST)]
    gap = min(max(widest(numbers) + 2, 10.0), 26.0)
    across = columns(len(figure.panels), room + gap, NARROWEST + gap, MOST_ACROSS) if figure.panels else 1
    panel = (room - (across - 1) * gap) / across
    head = max((len(lines(one.title, panel, True)) for one in figure.panels), default=1) * LINE + 3
    foot = len(lines(figure.value_title, size.width - 2 * EDGE)) * LINE + 2
    tallest = max(map(len, labels), default=1)
    pitch = max(PITCH, tallest * LINE + 3)
    plan = Plan(labels, left, right, texts, across, gap, panel, head, pitch, foot)
    if size.height is None:
        return plan
    rows = -(-len(figure.panels) // across)
    free = size.height - (plan.height(rows) - rows * plan.panel_height())
    fitted = (free / rows - 4) / max(len(labels), 1)
    return replace(plan, pitch=max(fitted, max(TIGHTEST, tallest * LINE + 0.4)))


def _short(mark: Mark) -> str:
    return number(mark.value) if mark.value is not None else mark.note


def _draw(figure: IntervalFigure, plan: Plan, size: Size) -> Figure:
    rows = -(-len(figure.panels) // plan.across)
    height = plan.height(rows)
    canvas = Canvas(size.width, size.height or height)
    for index, panel in enumerate(figure.panels):
        row, column = divmod(index, plan.across)
        left = plan.left + column * (plan.panel + plan.gap)
        top = EDGE + row * (plan.head + plan.panel_height() + TICKS + 6)
        title = lines(panel.title, plan.panel, True)
        canvas.text(left, top + plan.head - 3 - len(title) * LINE, title, bold=True)
        axes = canvas.axes(left, top + plan.head, plan.panel, plan.panel_height())
        _panel(axes, figure, panel, plan)
        axes.set_yticks(range(len(figure.rows)), ["\n".join(label) for label in plan.labels] if column == 0 else [])
        for label in axes.get_yticklabels():
            label.set(fontproperties=font(), parse_math=False, linespacing=LEADING)
        axes.tick_params(axis="y", length=0, pad=4)
        for position, beside in enumerate(plan.texts):
            _beside(axes, position, beside)
    middle = plan.left + (plan.across * (plan.panel + plan.gap) - plan.gap) / 2
    words = lines(figure.value_title, size.width - 2 * EDGE)
    middle = min(max(middle, EDGE + widest(words) / 2), size.width - EDGE - widest(words) / 2)
    canvas.text(middle, height - plan.foot - EDGE + 1, words, ha="center")
    return canvas.figure


def _panel(axes: Axes, figure: IntervalFigure, panel: IntervalPanel, plan: Plan) -> None:
    """Bars, single runs, estimates and remarks of one panel."""
    axes.set_ylim(max(len(figure.rows), 1) - 0.5, -0.5)
    thick = min(0.62, THICKEST / plan.pitch)
    axes.set_xlim(*panel.x_range)
    number_axis(axes.xaxis, panel.x_range, plan.panel)
    for row, mark in enumerate(panel.marks):
        style = figure.styles[mark.label]
        if mark.low is not None and mark.high is not None:
            axes.barh(row, mark.high - mark.low, thick, mark.low, color=style.color, alpha=INTERVAL_ALPHA, linewidth=0)
        _runs(axes, row, mark, style, thick / 0.62)
        if mark.value is not None and mark.low is not None:
            axes.plot(
                [mark.value] * 2,
                [row - thick / 2, row + thick / 2],
                color=style.color,
                linewidth=1.6,
                solid_capstyle="butt",
                zorder=4,
            )
        elif mark.value is not None:
            axes.plot([mark.value], [row], MARKERS["diamond"], color=style.color, markersize=4, zorder=4, clip_on=False)
        if mark.note and not plan.texts:
            _remark(axes, row, mark, panel)
    if figure.reference is not None:
        marked_line(axes, figure.reference)


def _runs(axes: Axes, row: int, mark: Mark, style: Style, spread_by: float) -> None:
    """Single runs as dots, no further from the middle than the bar."""
    dots = spread(mark.scores)
    few = len(dots) <= MANY
    look: dict[str, Any] = {"markersize": 2.6 if few else 1.5, "markeredgewidth": 0.3 if few else 0, "alpha": 0.8 if few else 0.4}
    axes.plot(
        [x for _, x in dots],
        [row + shift * spread_by for shift, _ in dots],
        "o",
        color=style.color,
        zorder=3,
        clip_on=False,
        markeredgecolor=GROUND,
        **look,
    )


def _remark(axes: Axes, row: int, mark: Mark, panel: IntervalPanel) -> None:
    """Says in a row why its point or its interval is missing, on the side that has room."""
    low, high = panel.x_range
    x, ha, shift = low + 0.02 * (high - low), "left", 0.0
    if mark.value is not None:
        on_left = mark.value <= (low + high) / 2
        x, ha, shift = mark.value, "left" if on_left else "right", 5.0 if on_left else -5.0
    axes.annotate(
        mark.note, (x, row), (shift, 0), textcoords="offset points", ha=ha, va="center_baseline",
        color=QUIET, fontproperties=font(), parse_math=False,
    )  # fmt: skip


def _beside(axes: Axes, row: int, words: str) -> None:
    """A row's numbers, right of a single panel."""
    axes.annotate(
        words, (1, row), (7, 0), xycoords=("axes fraction", "data"), textcoords="offset points", va="center_baseline",
        fontproperties=font(), parse_math=False, annotation_clip=False,
    )  # fmt: skip
