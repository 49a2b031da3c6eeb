"""Curves in a terminal: a line of bars in a table, and a small chart by itself."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

from openrlb.tabular import heights

BARS = "▁▂▃▄▅▆▇█"


def can_draw() -> bool:
    """Whether standard output's encoding has bars."""
    try:
        BARS.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def binned(bins: Sequence[float | None], width: int) -> list[float | None]:
    """Means of fewer bins; None where a bin holds no finite value.

    >>> binned((0.0, 2.0, None, float("inf")), 2)
    [1.0, None]
    """
    cells = min(width, len(bins))
    means: list[float | None] = []
    for cell in range(cells):
        part = [value for value in bins[cell * len(bins) // cells : (cell + 1) * len(bins) // cells] if value is not None]
        finite = [value for value in part if math.isfinite(value)]
        means.append(sum(value / len(finite) for value in finite) if finite else None)
    return means


def sparkline(bins: Sequence[float | None], width: int = 50) -> str:
    """Bin means as a line of bars; a bin without a value is a space.

    >>> sparkline((0.0, None, 1.0), width=3)
    '▁ █'
    """
    places = heights(binned(bins, width))
    return "".join(" " if place is None else BARS[int(place * (len(BARS) - 1))] for place in places)


def chart(bins: Sequence[float | None], width: int = 60, height: int = 6) -> list[str]:
    """Bin means as lines of bars, the highest line first; a column is as full as its mean is high.

    Args:
        bins: Means of equal step bins, None where there is none.
        width: Columns at most.
        height: Lines.

    >>> chart((0.0, 1.0, 2.0), width=3, height=2)
    [' ▁█', '▁██']
    """
    places = heights(binned(bins, width))
    eighths = [None if place is None else 1 + round(place * (8 * height - 1)) for place in places]
    lines = []
    for line in range(height - 1, -1, -1):
        filled = [0 if full is None else min(8, max(0, full - 8 * line)) for full in eighths]
        lines.append("".join(" " if part == 0 else BARS[part - 1] for part in filled))
    return lines
