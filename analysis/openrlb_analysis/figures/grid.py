"""Where panels lie: a grid in pixels that every painter can turn into its own units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

Panel = TypeVar("Panel")


@dataclass(frozen=True, slots=True)
class Margins:
    """Pixels around the area that holds the panels."""

    left: float
    right: float
    top: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Box:
    """One panel's place as fractions of the panels' area, from its lower left corner; row 0 is on top."""

    row: int
    column: int
    x: tuple[float, float]
    y: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Grid:
    """Panels of one height, filled row by row.

    Attributes:
        width: The whole figure's width in pixels.
        height: Its height, which grows with the number of rows.
        margins: Pixels around the panels' area.
        boxes: One for each panel.
        panel_width: The width of a panel in pixels.
    """

    width: float
    height: float
    margins: Margins
    boxes: tuple[Box, ...]
    panel_width: float


def columns(panels: int, width: float, narrowest: float, most: int = 4) -> int:
    """How many panels stand side by side: as many as fit, and as even a last row as that allows.

    Args:
        panels: How many panels there are.
        width: The width they share, in pixels.
        narrowest: The width below which a panel is hard to read.
        most: Never more than these.

    >>> [columns(n, 1000, 220) for n in (1, 2, 3, 4, 5, 6, 7, 26, 57)]
    [1, 2, 3, 4, 3, 3, 4, 4, 4]
    >>> columns(26, 340, 300)
    1
    """
    fitting = max(1, min(panels, most, int(width // narrowest)))
    rows = -(-panels // fitting)
    return -(-panels // rows)


def grid(panels: int, width: float, margins: Margins, panel_height: float, gap: tuple[float, float], across: int) -> Grid:
    """Places ``panels`` panels in rows of ``across``.

    Args:
        panels: How many panels there are; at least 1.
        width: The figure's width in pixels.
        margins: Pixels around the panels' area.
        panel_height: The height of one panel in pixels.
        gap: Pixels between columns and between rows.
        across: Panels in a row.

    >>> placed = grid(3, 200, Margins(0, 0, 10, 10), 50, (20, 30), 2)
    >>> placed.height, placed.panel_width, placed.boxes[2].x, placed.boxes[2].y
    (150, 90.0, (0.0, 0.45), (0.0, 0.38462))
    """
    rows = -(-panels // across)
    inner_width = max(width - margins.left - margins.right, 1)
    inner_height = rows * panel_height + (rows - 1) * gap[1]
    panel_width = max((inner_width - (across - 1) * gap[0]) / across, 1)
    boxes = []
    for index in range(panels):
        row, column = divmod(index, across)
        left = column * (panel_width + gap[0])
        top = row * (panel_height + gap[1])
        x = _fractions(left, left + panel_width, inner_width)
        y = _fractions(inner_height - top - panel_height, inner_height - top, inner_height)
        boxes.append(Box(row, column, x, y))
    return Grid(width, inner_height + margins.top + margins.bottom, margins, tuple(boxes), panel_width)


def parted(panels: Sequence[Panel], across: int, height: Callable[[int], float], tallest: float) -> list[tuple[Panel, ...]]:
    """Panels in as few parts as a page's height needs, the parts as even as that allows.

    Args:
        panels: The panels in order.
        across: Panels in a row.
        height: The height of a figure with so many rows.
        tallest: The height that no part exceeds, unless one row does.

    >>> [len(part) for part in parted(range(26), 4, lambda rows: 20.0 + 80 * rows, 500)]
    [16, 10]
    """
    rows = -(-len(panels) // across)
    fitting = max((count for count in range(1, rows + 1) if height(count) <= tallest), default=1)
    parts = -(-rows // fitting) if rows else 0
    each = -(-rows // parts) * across if parts else 1
    return [tuple(panels[start : start + each]) for start in range(0, len(panels), each)]


def _fractions(low: float, high: float, whole: float) -> tuple[float, float]:
    """A stretch as fractions of the whole, within 0 and 1."""
    return round(max(low / whole, 0.0), 5), round(min(high / whole, 1.0), 5)
