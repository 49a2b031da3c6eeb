"""Fonts and measured texts of printed figures: 8 point, TrueType, never wider than planned."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from openrlb_analysis.figures.places import log_places
from openrlb_analysis.figures.theme import tick_format
from openrlb_analysis.figures.words import wrapped

if TYPE_CHECKING:
    from matplotlib.font_manager import FontProperties

SIZE = 8.0
"""Every text's size in points, at print size."""
LINE = 9.6
"""From one line of text to the next."""
LEADING = 1.05
"""The same for matplotlib, in heights of the font."""
MOST_LINES = 3
"""Lines of a label beside a row; more would tear rows apart."""
FAMILIES = ("Arial", "Liberation Sans", "DejaVu Sans")
"""The first that is installed as TrueType is used, the others for characters that it lacks. Arial's and Liberation Sans's
characters are equally wide, so that a figure is the same on most systems; DejaVu Sans comes with matplotlib."""
FILES = ("arial.ttf", "arialbd.ttf", "arial bold.ttf", "liberationsans-regular.ttf", "liberationsans-bold.ttf")


@functools.cache
def families() -> list[str]:
    """The fonts of :data:`FAMILIES` that are installed as TrueType files: others cannot be embedded whole in a PDF."""
    from pathlib import Path

    from matplotlib.font_manager import findSystemFonts, fontManager

    listed = {entry.fname for entry in fontManager.ttflist}  # kept between sessions: it may be older than a font
    for found in sorted(findSystemFonts()):
        if Path(found).name.casefold() in FILES and found not in listed:
            fontManager.addfont(found)
    known = {entry.name for entry in fontManager.ttflist if entry.fname.lower().endswith(".ttf")}
    return [name for name in FAMILIES if name in known]


@functools.cache
def font(bold: bool = False) -> FontProperties:
    """The font that every text is set in."""
    from matplotlib.font_manager import FontProperties

    return FontProperties(family=families(), weight="bold" if bold else "normal", size=SIZE)


@functools.cache
def width(text: str, bold: bool = False) -> float:
    """How wide a text is, in points, as it will be drawn."""
    from matplotlib.textpath import text_to_path

    return float(text_to_path.get_text_width_height_descent(text, font(bold), False)[0]) if text else 0.0


def lines(text: str, room: float, bold: bool = False) -> list[str]:
    """A text in lines that fit ``room`` points."""
    return wrapped(text, max(room, 20.0), functools.partial(width, bold=bold))


def label_lines(text: str, room: float, allowed: int = MOST_LINES) -> list[str]:
    """A label in a few lines at most: the middle of a longer one is left out, since labels differ at their ends.

    The caption's file has such labels in full, as the numbers do.

    Args:
        text: The label.
        room: The width in points that it may take.
        allowed: How many lines.
    """
    found = lines(text, room)
    least, most = 1, len(text)
    while len(found) > allowed and least < most:
        kept = (least + most + 1) // 2
        shorter = lines(f"{text[: (kept + 1) // 2].rstrip()}\u2026{text[len(text) - kept // 2 :].lstrip()}", room)
        least, most = (kept, most) if len(shorter) <= allowed else (least, kept - 1)
        if least == most:
            return lines(f"{text[: (least + 1) // 2].rstrip()}\u2026{text[len(text) - least // 2 :].lstrip()}", room)
    return found


def widest(texts: Sequence[str]) -> float:
    """The width of the widest text in points, 0 without any."""
    return max(map(width, texts), default=0.0)


def tick_words(low: float, high: float) -> Callable[[float], str]:
    r"""How numbers on an axis are written: as the interactive figures do, SI letters from ten thousand on.

    >>> say = tick_words(0, 1_500_000)
    >>> say(0), say(500_000), say(1_500_000), tick_words(-1, 1)(-0.25)
    ('0', '500k', '1.5M', '−0.25')
    """
    letters = tick_format(low, high) == "~s"

    def say(value: float) -> str:
        near = 0.0 if abs(value) < 1e-9 * max(abs(low), abs(high)) else value
        size, letter = next(((s, n) for s, n in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if letters and abs(near) >= s), (1.0, ""))
        return f"{near / size:,.6g}{letter}".replace("-", "\u2212")

    return say


def ticks(ends: tuple[float, float], room: float, vertical: bool = False) -> list[float]:
    """Round positions on an axis whose labels do not touch.

    Args:
        ends: The axis.
        room: Its length in points.
        vertical: Whether labels lie above each other.
    """
    from matplotlib.ticker import MaxNLocator

    say = tick_words(*ends)
    for most in range(6, 0, -1):
        found = [float(at) for at in MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]).tick_values(*ends)]
        inside = [at for at in found if ends[0] - 1e-9 * abs(ends[0]) <= at <= ends[1] + 1e-9 * abs(ends[1])]
        each = 1.8 * LINE if vertical else max(map(width, map(say, inside)), default=0.0) + 8
        if len(inside) * each <= room + each or most == 1:
            return [at for at in inside if math.isfinite(at)]
    return []


def log_ticks(ends: tuple[float, float], room: float) -> list[float]:
    """Round positions on a logarithmic axis whose labels do not touch.

    Args:
        ends: The axis, above 0.
        room: Its length in points.
    """
    say = tick_words(*ends)
    return log_places(ends, room, lambda at: width(say(at)), ticks(ends, room))
