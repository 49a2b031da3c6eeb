"""Specs of figures that are neither rows of intervals nor curves: matrices of numbers, and drawings of strokes and dots."""

from __future__ import annotations

from dataclasses import dataclass

from openrlb_analysis.figures.footer import Footer
from openrlb_analysis.figures.spec import CurvesFigure, IntervalFigure


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of a matrix.

    Attributes:
        value: What the colour shows; None leaves the cell empty.
        text: What is written in it; lines are divided by a line break.
        strong: Set in bold: what a reader may rely on.
        about: The number in words, for the pointer.
    """

    value: float | None
    text: str
    strong: bool = False
    about: str = ""


@dataclass(frozen=True, slots=True)
class MatrixFigure:
    """A matrix of numbers, the colour and the text of each cell.

    Attributes:
        title: What it is over, above the matrix.
        rows: The rows' labels, from top to bottom.
        columns: The columns' labels, short, from left to right; on top.
        cells: For each row as many as there are columns.
        scale: Colours from the lowest to the highest value, evenly apart, as ``#RRGGBB``.
        ends: The values at the two ends of the scale.
        column_title: What the columns are.
        value_title: What a cell says, below the matrix.
        footer: What a reader must know beside the picture.
        lead: What kind of figure it is, for the alternative text.
        strong: What bold numbers mean; empty where there are none.
        weak: What the others mean, which a dot marks where numbers do not fit and most would be bold.
        apart: True where columns may be divided over parts, so that their numbers fit.
    """

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]
    scale: tuple[str, ...]
    ends: tuple[float, float]
    column_title: str
    value_title: str
    footer: Footer
    lead: str = "Matrix"
    strong: str = ""
    weak: str = ""
    apart: bool = False


@dataclass(frozen=True, slots=True)
class Stroke:
    """A line through some points.

    Attributes:
        points: (x, y) in the panel's units.
        color: ``#RRGGBB``.
        width: In pixels of a screen, of which there are 96 to the inch.
        dash: A name in :data:`openrlb_analysis.figures.theme.DASHES`.
    """

    points: tuple[tuple[float, float], ...]
    color: str
    width: float = 1.4
    dash: str = "solid"


@dataclass(frozen=True, slots=True)
class Dot:
    """A mark at one place; ``symbol`` is a name in :data:`openrlb_analysis.figures.theme.SYMBOLS`."""

    x: float
    y: float
    color: str
    symbol: str = "circle"
    size: float = 7.0
    filled: bool = True
    about: str = ""


@dataclass(frozen=True, slots=True)
class Word:
    """A short text inside a panel; ``align`` is ``left``, ``center`` or ``right`` of (x, y), its middle height at y."""

    x: float
    y: float
    text: str
    align: str = "center"
    color: str = ""


@dataclass(frozen=True, slots=True)
class Tick:
    """A label at a place of an axis; an empty colour is that of the ink, ``short`` what stands where the text has no room."""

    at: float
    text: str
    color: str = ""
    short: str = ""


@dataclass(frozen=True, slots=True)
class DiagramPanel:
    """One drawing.

    Attributes:
        title: Above it; may be empty.
        x_range: The x axis' two ends.
        y_range: The lower and the upper end of the y axis; the lower one may be the larger number.
        height: In pixels of a screen.
        strokes: Lines, the first the lowest.
        dots: Marks.
        words: Texts inside.
        x_ticks: Labels of the x axis; None for numbers.
        x_on_top: Whether the x axis is above the panel.
        left: Labels left of the panel; None for an axis of numbers.
        right: Labels right of it.
    """

    title: str
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    height: float
    strokes: tuple[Stroke, ...] = ()
    dots: tuple[Dot, ...] = ()
    words: tuple[Word, ...] = ()
    x_ticks: tuple[Tick, ...] | None = None
    x_on_top: bool = False
    left: tuple[Tick, ...] | None = ()
    right: tuple[Tick, ...] = ()


@dataclass(frozen=True, slots=True)
class DiagramFigure:
    """Drawings in equal panels.

    Attributes:
        panels: The drawings.
        x_title: What the x axes count; may be empty.
        y_title: What the y axes show; may be empty.
        footer: What a reader must know beside the picture.
        lead: What kind of figure it is, for the alternative text.
        told: What it shows, in sentences, for the alternative text.
        key: What colours and strokes mean, as (colour, dash, words).
        rows: The groups' labels.
    """

    panels: tuple[DiagramPanel, ...]
    x_title: str
    y_title: str
    footer: Footer
    lead: str
    told: tuple[str, ...] = ()
    key: tuple[tuple[str, str, str], ...] = ()
    rows: tuple[str, ...] = ()


Drawn = IntervalFigure | CurvesFigure | MatrixFigure | DiagramFigure
"""Every kind of figure that painters know."""
