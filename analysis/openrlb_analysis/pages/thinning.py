"""Fewer points for the eye: what a page draws of long curves; the numbers to save are all of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from openrlb_analysis.figures.spec import CurveLine, CurvesFigure

if TYPE_CHECKING:
    from openrlb.types import Values

STRETCHES = 120
"""Of so many equal stretches of a curve its lowest and its highest point are drawn."""
DIGITS = 5
"""Significant digits of drawn points; on a figure 1,000 pixels high the fifth moves nothing."""


def kept_points(x: Values, value: Values, stretches: int = STRETCHES) -> NDArray[np.int64]:
    """Which points of a curve are drawn: the first, the last, and the lowest and the highest of each stretch of the x axis.

    Nothing is averaged, so that no peak is lost; a curve with no more points than would be drawn keeps all of them.

    Args:
        x: Positions, shape ``(n,)``, rising.
        value: Values, shape ``(n,)``; NaN where there is none.
        stretches: Into how many equal parts the axis is cut.

    Returns:
        Rising indices.

    >>> import numpy as np
    >>> kept_points(np.arange(10.0), np.array([0, 5, 1, 1, 1, 1, 1, -3, 1, 2.0]), 2).tolist()
    [0, 1, 7, 9]
    """
    if len(x) <= 2 * stretches:
        return np.arange(len(x))
    span = float(x[-1] - x[0]) or 1.0
    part = np.minimum(((x - x[0]) / span * stretches).astype(np.int64), stretches - 1)
    known = np.isfinite(value)
    low = np.where(known, value, np.inf)
    high = np.where(known, value, -np.inf)
    starts = np.flatnonzero(np.diff(part, prepend=-1))
    kept = {0, len(x) - 1}
    for start, end in zip(starts, [*starts[1:], len(x)], strict=True):
        kept |= {int(start + low[start:end].argmin()), int(start + high[start:end].argmax())}
    return np.array(sorted(kept))


def thinned(figure: CurvesFigure) -> tuple[CurvesFigure, str]:
    """A figure of curves with fewer points, and a sentence that says so; the figure itself and nothing where it has few.

    Args:
        figure: The figure.
    """
    every = drawn = 0
    panels = []
    for panel in figure.panels:
        lines = []
        for line in panel.lines:
            places = kept_points(line.x, line.value)
            every, drawn = every + len(line.x), drawn + len(places)
            arrays = {name: getattr(line, name)[places] for name in ("x", "value", "low", "high", "runs")}
            lines.append(CurveLine(line.label, **arrays))
        panels.append(replace(panel, lines=tuple(lines)))
    if drawn == every:
        return figure, ""
    told = f"{drawn:,} of {every:,} positions are drawn, the lowest and the highest of each of {STRETCHES} stretches of a curve"
    return replace(figure, panels=tuple(panels)), f"{told}; the numbers to save are all."


def rounded(numbers: Values) -> list[float | None]:
    """Numbers with as many digits as a figure shows; None for what is not finite.

    >>> import numpy as np
    >>> rounded(np.array([1.23456789, np.nan, 1000000.0]))
    [1.2346, None, 1000000]
    """
    found: list[float | None] = []
    for value in numbers.tolist():
        if not np.isfinite(value):
            found.append(None)
            continue
        short = float(f"{value:.{DIGITS}g}")
        found.append(int(short) if short.is_integer() and abs(short) < 1e15 else short)
    return found
