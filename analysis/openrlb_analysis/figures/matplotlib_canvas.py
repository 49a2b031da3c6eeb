"""A printed page's surface: places in points from the upper left corner, one look for every axis and text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from openrlb_analysis.figures.matplotlib_text import LINE, font, tick_words, ticks
from openrlb_analysis.figures.theme import GRID, GROUND, INK, QUIET, Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import XAxis, YAxis
    from matplotlib.figure import Figure

TICKS = 14.0
"""The height of tick marks with their numbers."""
EDGE = 2.0
"""What stays free around everything."""
ASCENT = 7.4
"""From a line's upper edge to its base line."""
HAIR, RULE, CURVE = 0.5, 0.7, 1.1
DASHES: dict[str, Any] = {
    "solid": "-",
    "dash": (0, (5, 2)),
    "dot": (0, (1, 1.6)),
    "dashdot": (0, (5, 1.6, 1, 1.6)),
    "longdash": (0, (9, 2.5)),
}
MARKERS = {
    "circle": "o", "square": "s", "diamond": "D", "triangle-up": "^", "triangle-down": "v", "cross": "P", "x": "X",
}  # fmt: skip


class Canvas:
    """One figure with its measures in points.

    Args:
        width: In points.
        height: In points.
    """

    def __init__(self, width: float, height: float) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        self.figure: Figure = Figure(figsize=(width / 72, height / 72), dpi=72, facecolor=GROUND)
        FigureCanvasAgg(self.figure)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """A panel whose upper left corner is at ``(left, top)``."""
        place = (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        made = self.figure.add_axes(place, facecolor="none")
        made.set_axisbelow(True)
        for side in ("top", "right"):
            made.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            made.spines[side].set(linewidth=RULE, color=INK)
        made.tick_params(width=RULE, length=2.5, pad=2, color=INK, labelcolor=INK)
        return made

    def text(self, x: float, y: float, words: Sequence[str], *, bold: bool = False, color: str = INK, ha: str = "left") -> None:
        """Lines of text, the first one's upper edge at ``y``; their base lines are level whatever their letters are."""
        for place, line in enumerate(words):
            at = (x / self.width, 1 - (y + ASCENT + place * LINE) / self.height)
            self.figure.text(*at, line, ha=ha, va="baseline", fontproperties=font(bold), color=color, parse_math=False)

    def upright(self, x: float, y: float, words: Sequence[str]) -> None:
        """Lines of text that are read from below, the first one's left edge at ``x``, their middle at ``y``."""
        for place, line in enumerate(words):
            at = ((x + ASCENT + place * LINE) / self.width, 1 - y / self.height)
            look: dict[str, Any] = {"rotation": 90, "rotation_mode": "anchor", "ha": "center", "va": "baseline"}
            self.figure.text(*at, line, fontproperties=font(), color=INK, parse_math=False, **look)


def number_axis(
    axis: XAxis | YAxis, ends: tuple[float, float], room: float, vertical: bool = False, at: Sequence[float] | None = None
) -> None:
    """Round numbers along an axis, and a light line at each."""
    found = list(ticks(ends, room, vertical) if at is None else at)
    say = tick_words(*ends)
    axis.set_ticks(found, [say(one) for one in found], fontproperties=font())
    axis.grid(True, color=GRID, linewidth=HAIR)


def line_look(style: Style, width: float = CURVE) -> dict[str, Any]:
    """How a group's line looks: colour, dash and mark."""
    return {
        "color": style.color,
        "linewidth": width,
        "linestyle": DASHES[style.dash],
        "solid_capstyle": "round",
        "marker": MARKERS[style.symbol],
        "markersize": 3.4 if style.symbol not in ("diamond", "square") else 2.9,
        "markerfacecolor": style.color if style.filled else GROUND,
        "markeredgecolor": style.color,
        "markeredgewidth": 0.6,
    }


def marked_line(panel: Axes, at: float, upright: bool = True) -> None:
    """A dotted line at a value or a step that must be seen."""
    (panel.axvline if upright else panel.axhline)(at, color=QUIET, linewidth=RULE, linestyle=(0, (1, 1.8)), zorder=0.5)
