"""How large a figure is in print: the widths of columns and pages that papers have, or any size in millimetres."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from openrlb.errors import UsageError

NAMED = {"column": 82.5, "page": 139.7}
"""Widths in millimetres: a column of a two-column paper (ICML: 3.25 in), and the text of a one-column paper (NeurIPS and ICLR:
5.5 in)."""
TALLEST = 205.0
"""The height in millimetres beyond which a figure is split into parts: what a page (9 in) leaves beside a caption."""
LEAST, MOST = 30.0, 2000.0
POINTS_PER_MM = 72 / 25.4


@dataclass(frozen=True, slots=True)
class Size:
    """A figure's size in print.

    Attributes:
        width: In points (1/72 inch).
        height: In points; None where it follows from what is drawn.
    """

    width: float
    height: float | None

    @property
    def tallest(self) -> float:
        """The height in points that no part of the figure exceeds."""
        return self.height if self.height is not None else TALLEST * POINTS_PER_MM


def no_room(height: float) -> UsageError:
    """The error for a fixed size that does not hold one row of panels.

    Args:
        height: The height in points that one row needs.
    """
    least = math.ceil(height / POINTS_PER_MM)
    why = f"its labels, numbers and titles at 8 point need at least {least} mm of height"
    return UsageError("the figure does not fit that --size", why, f"make it {least} mm high, or use --size column or page")


def size_of(word: str) -> Size:
    """The size that a word asks for.

    Args:
        word: ``column``, ``page``, or width and height as ``WxHmm``.

    Raises:
        UsageError: Neither, or a size that no figure has.

    >>> round(size_of("page").width, 1), size_of("page").height
    (396.0, None)
    >>> [round(end / POINTS_PER_MM, 1) for end in (size_of("120x60.5mm").width, size_of("120x60.5mm").height)]
    [120.0, 60.5]
    """
    if word in NAMED:
        return Size(NAMED[word] * POINTS_PER_MM, None)
    found = re.fullmatch(r"(\d{1,5}(?:\.\d+)?)\s*[x\u00d7]\s*(\d{1,5}(?:\.\d+)?)\s*mm", word.strip().casefold())
    if found is None:
        raise UsageError(f"--size {word!r} was not understood", "it is no name and no WxHmm", "write column, page, or 120x60mm")
    ends = float(found[1]), float(found[2])
    if not all(LEAST <= end <= MOST for end in ends):
        why = f"width and height lie between {LEAST:g} and {MOST:g} mm"
        raise UsageError(f"--size {word!r} is no figure's size", why, "write column, page, or 120x60mm")
    return Size(ends[0] * POINTS_PER_MM, ends[1] * POINTS_PER_MM)
