"""How figures look: one palette, one fixed style for each label, fonts and tick formats. Nothing here imports a painter."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours (https://jfly.uni-koeln.de/color/), dark first; they stay apart for colour-blind readers."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x")
FONT_FAMILY = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"
FONT_SIZE = 13
BAND_ALPHA = 0.16
INTERVAL_ALPHA = 0.34
LETTERS = 10_000
"""From here on an axis has SI letters; below, ``500`` and ``1k`` would stand on one axis."""
INK, QUIET, GRID, GROUND = "#1a1a1a", "#5f5f5f", "#e6e6e6", "#ffffff"


@dataclass(frozen=True, slots=True)
class Style:
    """How one label is drawn in every figure of a page.

    Attributes:
        color: ``#RRGGBB``.
        dash: A name in :data:`DASHES`; only labels beyond the seventh have one that is not ``solid``.
        symbol: A name in :data:`SYMBOLS`; it tells labels apart where a figure is printed in grey.
        filled: False for every second round through the palette, whose marks are hollow.
    """

    color: str
    dash: str
    symbol: str
    filled: bool


def styles(labels: Iterable[str], more: Iterable[str] = ()) -> dict[str, Style]:
    """One style for each label: it depends on the set of labels, never on their order.

    Args:
        labels: The labels.
        more: Further labels, which take the styles that are left.

    >>> styles(["sac", "ppo"]) == styles(["ppo", "sac", "ppo"])
    True
    >>> styles(["ppo", "sac"])["ppo"].color
    '#0072B2'
    >>> len(set(styles([f"group {i}" for i in range(35)]).values()))
    35
    """
    first = sorted(set(labels), key=_natural)
    ordered = [*first, *sorted(set(more) - set(first), key=_natural)]
    return {label: _style(index) for index, label in enumerate(ordered)}


def rgba(color: str, alpha: float) -> str:
    """A palette colour with transparency.

    >>> rgba("#0072B2", 0.16)
    'rgba(0,114,178,0.16)'
    """
    red, green, blue = (int(color[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"


def tick_format(low: float, high: float) -> str:
    """A d3 number format: SI letters from ten thousand on, and never ``500m`` for 0.5.

    >>> tick_format(0, 1_000_000), tick_format(-1500, 0), tick_format(0, 1)
    ('~s', ',~r', ',~r')
    """
    largest = max(abs(low), abs(high))
    return "~s" if math.isfinite(largest) and largest >= LETTERS and high - low >= 0.004 * LETTERS else ",~r"


def text_width(text: str, size: float = FONT_SIZE) -> float:
    """About how wide a text is in pixels, by the characters of Helvetica and an eighth more, for wider fonts.

    >>> text_width("illicit") < text_width("MAMMOTH") / 2
    True
    """
    return 1.12 * size * sum(_character_width(character) for character in text)


def _character_width(character: str) -> float:
    """A character's width in units of the font size; what is not ASCII may be as wide as it is high."""
    if not character.isascii():
        return 1.0
    if character in "iljtfrI.,:;|!'`()[]/ -":
        return 0.31
    return 0.87 if character in "mwMW@%" else 0.7 if character.isupper() or character in "=<>+&~" else 0.556


def _natural(label: str) -> tuple[list[tuple[int, str]], str]:
    """Sorts ``run2`` before ``run10``."""
    parts = re.split(r"(\d+)", label.casefold())
    return [(int(part), "") if part.isdecimal() and len(part) < 19 else (-1, part) for part in parts], label


def _style(index: int) -> Style:
    round_, position = divmod(index, len(PALETTE))
    return Style(PALETTE[position], DASHES[round_ % len(DASHES)], SYMBOLS[position], round_ % 2 == 0)
