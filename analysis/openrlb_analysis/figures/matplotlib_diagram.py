"""Diagrams in print: strokes, dots and words in equal panels, labels at both sides, what colours mean on top."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from openrlb_analysis.figures.diagram import DiagramFigure, DiagramPanel, Tick
from openrlb_analysis.figures.grid import columns, parted
from openrlb_analysis.figures.matplotlib_canvas import DASHES, EDGE, HAIR, MARKERS, RULE, TICKS, Canvas, number_axis
from openrlb_analysis.figures.matplotlib_text import LINE, MOST_LINES, label_lines, lines, tick_words, ticks, widest
from openrlb_analysis.figures.places import spread_places
from openrlb_analysis.figures.size import Size, no_room
from openrlb_analysis.figures.theme import GRID, GROUND, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SCREEN = 0.66
"""Points of print for a pixel of a screen: texts of 13 pixels are 8 points here."""
NARROWEST, MOST_ACROSS = 60.0, 6
SAMPLE = 22.0
BEFORE, BESIDE = 0.36, 0.4
"""The share of a figure's width that labels at its left and at its right may take."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Where things lie, in points.

    Attributes:
        left: The room left of the first panel, labels or numbers in it.
        right: The room right of the last panel's area.
        gap: Between columns.
        across: Panels side by side.
        panel: A panel's width.
        high: A panel's height.
        head: The height of a panel's title.
        key: What colours mean, in lines.
        y_title: The title of the y axes in lines.
        x_title: The title of the x axes in lines.
        over: The height of the x axis above a panel; 0 where it is below.
        under: The height of the labels of the x axis below a panel.
        allowed: Lines of a label at a side.
    """

    left: float
    right: float
    gap: float
    across: int
    panel: float
    high: float
    head: float
    key: list[list[str]]
    y_title: list[str]
    x_title: list[str]
    over: float
    under: float
    allowed: int

    def top(self) -> float:
        """The height above the panels."""
        return EDGE + sum(map(len, self.key)) * LINE + (4 if self.key else 0)

    def height(self, rows: int) -> float:
        """The height of a figure with so many rows of panels."""
        foot = 0.0 if self.over else len(self.x_title) * LINE + 2
        return self.top() + rows * (self.head + self.over + self.high + self.under) + (rows - 1) * 8 + foot + EDGE


def diagram_parts(figure: DiagramFigure, size: Size) -> list[Figure]:
    """The diagram, in several parts of panels or of rows where it is taller than a page; a single panel is pressed to fit.

    Args:
        figure: What to draw.
        size: How large.

    Raises:
        UsageError: A fixed height that does not hold a panel.
    """
    figure = _fitted(figure, size.width)
    limit = size.height if size.height is not None else size.tallest
    for allowed in range(MOST_LINES, 0, -1):  # labels of fewer lines where a page would not hold them
        plan = _plan(figure, size, allowed)
        rows = -(-len(figure.panels) // plan.across)
        least = max((_least(panel, size.width, allowed) for panel in figure.panels), default=3 * LINE)
        if plan.height(1) - plan.high + least <= limit:
            break
    around = plan.height(1) - plan.high
    if size.height is None and around + least > limit and (halves := _halves(figure)):
        return [part for half in halves for part in diagram_parts(half, size)]
    if size.height is not None or (rows == 1 and plan.height(1) > limit):
        high = plan.high + (limit - plan.height(rows)) / rows
        if high < least and size.height is not None:
            raise no_room(plan.height(rows) - (plan.high - least) * rows)
        return [_draw(figure, replace(plan, high=max(high, least)), size)]
    return [_draw(replace(figure, panels=group), plan, size) for group in parted(figure.panels, plan.across, plan.height, limit)]


def _halves(figure: DiagramFigure) -> list[DiagramFigure]:
    """The upper and the lower half of a single panel's rows; empty where it has none that stand by themselves."""
    (panel, *more), count = figure.panels, len(figure.panels[0].left or ())
    if more or panel.x_on_top or count < 2:
        return []
    halves = []
    for first, after in ((0, (count + 1) // 2), ((count + 1) // 2, count)):
        ends = first - 0.5, after - 0.5
        part = replace(
            panel,
            y_range=(after - 0.4, first - 0.6),
            height=panel.height * (after - first) / count,
            strokes=tuple(one for one in panel.strokes if ends[0] < one.points[0][1] < ends[1]),
            dots=tuple(one for one in panel.dots if ends[0] < one.y < ends[1]),
            left=tuple(one for one in panel.left or () if ends[0] < one.at < ends[1]),
            right=tuple(one for one in panel.right if ends[0] < one.at < ends[1]),
        )
        halves.append(replace(figure, panels=(part,)))
    return halves


def _plan(figure: DiagramFigure, size: Size, allowed: int) -> Plan:
    beside = [tick for panel in figure.panels for tick in panel.left or ()]
    axis = [tick_words(*p.y_range)(at) for p in figure.panels if p.left is None for at in ticks(p.y_range, 150.0, True)]
    y_title = lines(figure.y_title, 150.0) if figure.y_title else []
    words = max(_widest(beside, size.width * BEFORE, allowed), widest(axis) if axis else 0.0)
    left = EDGE + len(y_title) * LINE + words + 6
    right = max(EDGE + 6, _widest([tick for panel in figure.panels for tick in panel.right], size.width * BESIDE, allowed) + 9)
    gap = (widest(axis) + 12) if axis else 14.0
    room = size.width - left - right
    across = columns(len(figure.panels), room + gap, NARROWEST + gap, MOST_ACROSS)
    panel = (room - (across - 1) * gap) / across
    head = max((len(lines(one.title, panel, True)) * LINE + 3 for one in figure.panels if one.title), default=0.0)
    key = [lines(said, size.width - 2 * EDGE - SAMPLE) for _, _, said in figure.key]
    high = max(
        [one.height * SCREEN for one in figure.panels] + [_least(one, size.width, allowed) for one in figure.panels],
        default=100.0,
    )
    x_title = lines(figure.x_title, size.width - 2 * EDGE) if figure.x_title else []
    on_top = any(one.x_on_top for one in figure.panels)
    deep = max((len(_tick_lines(tick, one, panel)) for one in figure.panels for tick in one.x_ticks or ()), default=1)
    under = 0.0 if on_top else TICKS + (deep - 1) * LINE
    over = TICKS + len(x_title) * LINE if on_top else 0.0
    return Plan(left, right, gap, across, panel, high, head, key, y_title, x_title, over, under, allowed)


def _fitted(figure: DiagramFigure, width: float) -> DiagramFigure:
    """The figure with the short form of all labels at the right where one of them would not fit in a line."""
    right = [tick for panel in figure.panels for tick in panel.right]
    if not all(tick.short for tick in right) or widest([tick.text for tick in right]) <= width * BESIDE:
        return figure
    panels = (replace(panel, right=tuple(replace(tick, text=tick.short) for tick in panel.right)) for panel in figure.panels)
    return replace(figure, panels=tuple(panels))


def _least(panel: DiagramPanel, width: float, allowed: int) -> float:
    """The height that a panel's labels need, which lie above each other at both sides: rows are one apart."""
    needed = 0.0
    for ticks_, share in ((panel.left or (), BEFORE), (panel.right, BESIDE)):
        deepest = max((len(label_lines(tick.text, width * share, allowed)) for tick in ticks_), default=0)
        rows = len(ticks_) if panel.left is None else abs(panel.y_range[1] - panel.y_range[0])
        needed = max(needed, LINE * 1.02 * deepest * rows)
    return needed


def _widest(ticks_: list[Tick], most: float, allowed: int) -> float:
    return widest([line for tick in ticks_ for line in label_lines(tick.text, most, allowed)])


def _tick_lines(tick: Tick, panel: DiagramPanel, room: float) -> list[str]:
    """A label of the x axis in lines that leave its neighbours their room."""
    return label_lines(tick.text, room / max(len(panel.x_ticks or ()), 1) + 8)


def _draw(figure: DiagramFigure, plan: Plan, size: Size) -> Figure:
    rows = -(-len(figure.panels) // plan.across)
    canvas = Canvas(size.width, plan.height(rows))
    down = EDGE
    for (color, dash, _), said in zip(figure.key, plan.key, strict=True):
        if dash:
            _sample(canvas, down, color, dash)
        canvas.text(EDGE + (SAMPLE if dash else 0), down, said)
        down += len(said) * LINE
    pitch = plan.head + plan.over + plan.high + plan.under + 8
    for index, panel in enumerate(figure.panels):
        row, column = divmod(index, plan.across)
        left, top = plan.left + column * (plan.panel + plan.gap), plan.top() + row * pitch
        if panel.title:
            title = lines(panel.title, plan.panel, True)
            canvas.text(left, top + plan.head - 3 - len(title) * LINE, title, bold=True)
        place = top + plan.head + plan.over
        axes = canvas.axes(left, place, plan.panel, plan.high)
        _axes(axes, panel, plan)
        _contents(axes, panel)
        _labels(canvas, panel, plan, left, place)
    middle = plan.left + (size.width - plan.left - plan.right) / 2
    if plan.over:
        canvas.text(middle, plan.top() + plan.head, plan.x_title, ha="center")
    else:
        canvas.text(middle, canvas.height - EDGE - len(plan.x_title) * LINE, plan.x_title, ha="center")
    canvas.upright(EDGE, plan.top() + (canvas.height - plan.top()) / 2, plan.y_title)
    return canvas.figure


def _sample(canvas: Canvas, down: float, color: str, dash: str) -> None:
    """A stroke in the key."""
    from matplotlib.lines import Line2D

    xs, y = [EDGE / canvas.width, (EDGE + 17) / canvas.width], 1 - (down + LINE / 2) / canvas.height
    canvas.figure.add_artist(
        Line2D(xs, [y, y], color=color, linewidth=1.8, linestyle=DASHES[dash], transform=canvas.figure.transFigure)
    )


def _axes(axes: Axes, panel: DiagramPanel, plan: Plan) -> None:
    """Ranges, numbers and lines of a panel's axes; labels are texts of their own."""
    axes.set_xlim(*panel.x_range)
    axes.set_ylim(*panel.y_range)
    if panel.left is None:
        number_axis(axes.yaxis, panel.y_range, plan.high, vertical=True)
    else:
        axes.spines["left"].set_visible(False)
        axes.set_yticks([])
        for tick in panel.left if not panel.x_on_top else ():
            axes.axhline(tick.at, color=GRID, linewidth=HAIR, zorder=0.5)
    if panel.x_ticks is None:
        number_axis(axes.xaxis, panel.x_range, plan.panel)
        return
    axes.set_xticks([tick.at for tick in panel.x_ticks], [""] * len(panel.x_ticks))
    if panel.x_on_top:
        axes.xaxis.tick_top()
        axes.spines["bottom"].set_visible(False)
        axes.spines["top"].set(visible=True, linewidth=RULE, color=INK)


def _contents(axes: Axes, panel: DiagramPanel) -> None:
    """Strokes and dots."""
    for stroke in panel.strokes:
        xs, ys = [x for x, _ in stroke.points], [y for _, y in stroke.points]
        look: dict[str, Any] = {"linestyle": DASHES[stroke.dash], "solid_capstyle": "butt", "zorder": 2, "clip_on": False}
        axes.plot(xs, ys, color=stroke.color, linewidth=stroke.width * 0.62, **look)
    for dot in panel.dots:
        face = dot.color if dot.filled else GROUND
        look = {"markersize": dot.size * 0.55, "markeredgewidth": 0.9, "zorder": 3, "clip_on": False}
        axes.plot([dot.x], [dot.y], MARKERS[dot.symbol], color=dot.color, markerfacecolor=face, **look)


def _labels(canvas: Canvas, panel: DiagramPanel, plan: Plan, left: float, top: float) -> None:
    """Texts at the sides, inside, and of the x axis."""
    low, high = panel.y_range
    across = plan.panel / (panel.x_range[1] - panel.x_range[0])

    def down(y: float) -> float:
        return top + plan.high * (1 - (y - low) / (high - low))

    def write(x: float, y: float, said: list[str], ha: str, color: str) -> None:
        canvas.text(x, y - len(said) * LINE / 2, said, ha=ha, color=color or INK)

    for tick in panel.left or ():
        write(left - 4, down(tick.at), label_lines(tick.text, canvas.width * BEFORE, plan.allowed), "right", tick.color)
    beside = [label_lines(tick.text, canvas.width * BESIDE, plan.allowed) for tick in panel.right]
    apart = LINE * max(map(len, beside), default=1)
    places = spread_places([-down(tick.at) for tick in panel.right], apart, (-top - plan.high, -top))
    for tick, place, said in zip(panel.right, places, beside, strict=True):
        write(left + plan.panel + 6, -place, said, "left", tick.color)
    for word in panel.words:
        write(left + (word.x - panel.x_range[0]) * across, down(word.y), [word.text], word.align, word.color)
    for tick in _shown_ticks(panel, plan.panel):
        said = _tick_lines(tick, panel, plan.panel)
        at = top - 4 - len(said) * LINE if panel.x_on_top else top + plan.high + 4
        middle, half = left + (tick.at - panel.x_range[0]) * across, widest(said) / 2
        room = (left - 4 + half, left + plan.panel + 4 - half)
        middle = min(max(middle, room[0]), room[1]) if len(panel.x_ticks or ()) == 2 else middle
        canvas.text(middle, at, said, ha="center")


def _shown_ticks(panel: DiagramPanel, room: float) -> tuple[Tick, ...]:
    """The labels of the x axis; of ranks every second or third where they would touch."""
    every = panel.x_ticks or ()
    if not panel.x_on_top or not every:
        return every
    step = -(-int((widest([tick.text for tick in every]) + 4) * len(every)) // max(int(room), 1))
    return every[::step]
