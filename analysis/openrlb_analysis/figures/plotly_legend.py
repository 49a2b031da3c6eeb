"""Legends whose size is known beforehand, so that nothing lies below them: one on top, or one for each panel."""

from __future__ import annotations

from typing import Any

from openrlb_analysis.figures.grid import Grid
from openrlb_analysis.figures.spec import CurvesFigure
from openrlb_analysis.figures.theme import text_width
from openrlb_analysis.figures.words import wrapped

FONT = 12
ROW, MORE_LINES, SYMBOL = 22, 16, 46
WIDEST = 285
"""Longer labels are wrapped, so that a legend also fits a phone; in pixels."""


def legend_lines(label: str) -> list[str]:
    """A label as the legend shows it."""
    return wrapped(label, WIDEST, lambda text: text_width(text, FONT))


def entry_width(figure: CurvesFigure) -> float:
    """The width of the longest entry with its symbol, in pixels."""
    longest = max((text_width(line, FONT) for row in figure.rows for line in legend_lines(row)), default=0)
    return longest + 8 + SYMBOL


def legend_height(figure: CurvesFigure, width: float) -> float:
    """The height of the legend: of all entries in rows across the figure, or of a panel's entries below each other."""
    if figure.split:
        return max((_stacked([line.label for line in panel.lines]) for panel in figure.panels), default=0)
    across = max(int((width - 20) // entry_width(figure)), 1)
    rows = [figure.rows[start : start + across] for start in range(0, len(figure.rows), across)]
    return sum(ROW + MORE_LINES * (max(len(legend_lines(label)) for label in row) - 1) for row in rows)


def _stacked(labels: list[str]) -> float:
    """The height of entries below each other."""
    return sum(ROW - 3 + MORE_LINES * (len(legend_lines(label)) - 1) for label in labels) + 6


def legends(figure: CurvesFigure, placed: Grid, head: float) -> dict[str, Any]:
    """The layout's legends: ``head`` is the height of a panel's title."""
    m = placed.margins
    inner = max(placed.width - m.left - m.right, 1), max(placed.height - m.top - m.bottom, 1)
    look = {"xanchor": "left", "yanchor": "bottom", "font": {"size": FONT}, "tracegroupgap": 0, "bgcolor": "rgba(0,0,0,0)"}
    if figure.split:
        places = [{"x": box.x[0], "y": box.y[1] + 2 / inner[1]} for box in placed.boxes]
        return {f"legend{index + 1 if index else ''}": {**look, **place} for index, place in enumerate(places)}
    place = {"x": max(-(m.left - 8) / inner[0], -2), "y": min(1 + head / inner[1], 3)}
    entries = {"orientation": "h", "entrywidth": entry_width(figure) - SYMBOL, "entrywidthmode": "pixels"}
    return {"legend": {**look, **place, **entries}}
