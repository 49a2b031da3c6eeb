"""Matrices in print: shaded cells with their numbers, or with a dot where numbers do not fit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from openrlb_analysis.figures.diagram import MatrixFigure
from openrlb_analysis.figures.matplotlib_canvas import EDGE, Canvas
from openrlb_analysis.figures.matplotlib_text import LINE, label_lines, lines, widest
from openrlb_analysis.figures.size import Size, no_room
from openrlb_analysis.figures.theme import GROUND, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PITCH = 13.0
DOT = 2.4


@dataclass(frozen=True, slots=True)
class Plan:
    """Where things lie, in points.

    Attributes:
        labels: The rows' labels in lines.
        heads: The columns' labels in lines.
        over: The title and what the columns are, in lines.
        under: What a cell says, in lines.
        left: The width of the labels' column.
        room: A cell's width.
        pitch: A cell's height.
        written: Whether the cells' numbers fit.
        dots: Where they do not: whether a dot marks what would be bold, or what would not, whichever is rarer.
    """

    labels: list[list[str]]
    heads: list[list[str]]
    over: list[list[str]]
    under: list[str]
    left: float
    room: float
    pitch: float
    written: bool
    dots: bool

    def around(self) -> float:
        """The height of everything but the cells."""
        head = max(map(len, self.heads), default=1) * LINE + 3
        return 2 * EDGE + sum(map(len, self.over)) * LINE + head + 5 + len(self.under) * LINE


def matrix_parts(figure: MatrixFigure, size: Size) -> list[Figure]:
    """The matrix, in several parts of rows where it is taller than a page, of columns where that makes room for numbers.

    Args:
        figure: What to draw.
        size: How large.

    Raises:
        UsageError: A fixed height that does not hold its rows.
    """
    figures = _apart(figure, size) if figure.apart and size.height is None else [figure]
    if len(figures) > 1:
        return [part for one in figures for part in matrix_parts(replace(one, apart=False), size)]
    plan, count = _plan(figure, size), max(len(figure.rows), 1)
    if size.height is not None:
        pitch = (size.height - plan.around()) / count
        least = max(map(len, plan.labels), default=1) * LINE + 0.4
        if pitch < least:
            raise no_room(plan.around() + least * count)
        return [_draw(figure, size, replace(plan, pitch=pitch), slice(0, count))]
    fitting = max(int((size.tallest - plan.around()) // plan.pitch), 1)
    each = -(-count // -(-count // fitting))
    return [_draw(figure, size, plan, slice(start, start + each)) for start in range(0, count, each)]


def _apart(figure: MatrixFigure, size: Size) -> list[MatrixFigure]:
    """As few figures of some columns each as it takes to write their numbers; the whole where nothing helps."""
    count = len(figure.columns)
    for parts in range(1, count + 1):
        each = -(-count // parts)
        chunks = [slice(start, start + each) for start in range(0, count, each)]
        figures = [
            replace(figure, columns=figure.columns[chunk], cells=tuple(row[chunk] for row in figure.cells)) for chunk in chunks
        ]
        if all(_plan(one, size).written for one in figures):
            return figures
    return [figure]


def _plan(figure: MatrixFigure, size: Size) -> Plan:
    labels = [label_lines(row, 0.36 * size.width) for row in figure.rows]
    left = EDGE + widest([line for label in labels for line in label]) + 5
    room = (size.width - left - EDGE - 1) / max(len(figure.columns), 1)
    texts = [line for row in figure.cells for cell in row for line in cell.text.split("\n")]
    deep = max((cell.text.count("\n") + 1 for row in figure.cells for cell in row), default=1)
    written = widest(texts) <= room - 1.5
    tall = max(map(len, labels), default=1)
    pitch = max(PITCH if written else 11.0, tall * LINE + 3, deep * LINE + 4 if written else 0.0)
    whole = size.width - 2 * EDGE
    over = [lines(text, whole - left, bold) for text, bold in ((figure.title, True), (figure.column_title, False)) if text]
    heads = [label_lines(head, max(room - 3, 8.0)) for head in figure.columns]
    kinds = [cell.strong for row in figure.cells for cell in row if cell.value is not None]
    dots = 2 * sum(kinds) <= len(kinds) or not figure.weak
    marked = f"bold: {figure.strong}" if written else f"dot: {figure.strong if dots else figure.weak}"
    said = [figure.value_title, *([marked] if figure.strong else []), *([] if written else ["the numbers do not fit this size"])]
    under = lines("; ".join(said), whole)
    return Plan(labels, heads, over, under, left, room, pitch, written, dots)


def _draw(figure: MatrixFigure, size: Size, plan: Plan, chunk: slice) -> Figure:
    rows, labels = figure.cells[chunk], plan.labels[chunk]
    canvas = Canvas(size.width, plan.around() + len(labels) * plan.pitch)
    top = EDGE
    for place, text in enumerate(plan.over):
        canvas.text(plan.left, top, text, bold=place == 0 and bool(figure.title))
        top += len(text) * LINE
    deepest = max(map(len, plan.heads), default=1)
    step = _every(figure, plan)
    for column, head in enumerate(plan.heads):
        if column % step == 0:
            middle = plan.left + (column + 0.5) * plan.room
            canvas.text(middle, top + (deepest - len(head)) * LINE, head, ha="center")
    top += deepest * LINE + 3
    axes = canvas.axes(plan.left, top, plan.room * len(figure.columns), plan.pitch * len(labels))
    axes.set_axis_off()
    axes.set_xlim(0, len(figure.columns))
    axes.set_ylim(len(labels), 0)
    for row, (label, cells) in enumerate(zip(labels, rows, strict=True)):
        at = top + row * plan.pitch + (plan.pitch - len(label) * LINE) / 2
        canvas.text(plan.left - 4, at, label, ha="right")
        for column, cell in enumerate(cells):
            if cell.value is None:
                continue
            _shade(axes, column, row, _color(figure, cell.value))
            said = cell.text.split("\n") if plan.written else []
            down = top + row * plan.pitch + (plan.pitch - len(said) * LINE) / 2
            canvas.text(plan.left + (column + 0.5) * plan.room, down, said, bold=cell.strong, ha="center")
            if figure.strong and cell.strong == plan.dots and not plan.written:
                axes.plot([column + 0.5], [row + 0.5], "o", color=INK, markersize=DOT, markeredgewidth=0)
    canvas.text(size.width / 2, canvas.height - EDGE - len(plan.under) * LINE, plan.under, ha="center")
    return canvas.figure


def _every(figure: MatrixFigure, plan: Plan) -> int:
    """Every how many columns are labelled, so that labels do not touch."""
    needed = widest([line for head in plan.heads for line in head]) + 2
    return 1 if needed <= plan.room or not figure.columns else -(-int(needed) // max(int(plan.room), 1))


def _shade(axes: Axes, column: int, row: int, color: str) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((column, row), 1, 1, facecolor=color, edgecolor=GROUND, linewidth=0.6))


def _color(figure: MatrixFigure, value: float) -> str:
    """A value's colour, between the two that lie beside it on the scale."""
    low, high = figure.ends
    place = min(max((value - low) / (high - low), 0.0), 1.0) * (len(figure.scale) - 1)
    first = min(int(place), len(figure.scale) - 2)
    pairs = zip(*([int(color[at : at + 2], 16) for at in (1, 3, 5)] for color in figure.scale[first : first + 2]), strict=True)
    return "#" + "".join(f"{round(one + (other - one) * (place - first)):02x}" for one, other in pairs)
