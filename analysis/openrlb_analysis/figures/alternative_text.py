"""Figures in words, for readers who do not see them and for the figure's description in images."""

from __future__ import annotations

import math

from openrlb_analysis.figures.diagram import DiagramFigure, Drawn, MatrixFigure
from openrlb_analysis.figures.spec import CurveLine, IntervalFigure, Mark
from openrlb_analysis.figures.words import count, listed, number, sentence, short_steps

MOST_NUMBERS = 40
"""A longer description is not listened to; beyond this it points at the table, which has every number."""


def alternative_text(figure: Drawn) -> str:
    """What a figure shows, with its numbers where they are few enough to listen to."""
    if isinstance(figure, MatrixFigure | DiagramFigure):
        return _other(figure)
    if isinstance(figure, IntervalFigure):
        parts = [(panel.title, [_row(mark) for mark in panel.marks]) for panel in figure.panels]
        lead = f"Interval plot of {figure.value_title}, {_size(len(figure.rows), len(figure.panels))}"
    else:
        parts = [(panel.title, [_bars(line) if figure.bars else _end(line) for line in panel.lines]) for panel in figure.panels]
        lead = f"{figure.lead} of {figure.y_title} against {figure.x_title}, {_size(len(figure.rows), len(figure.panels))}"
    if sum(len(rows) for _, rows in parts) > MOST_NUMBERS:
        return f"{lead}. The groups are {listed(figure.rows, 20)}. The numbers are in the table below."
    return " ".join([sentence(lead), *(sentence(f"{title}: {'; '.join(rows)}") for title, rows in parts)])


def _other(figure: MatrixFigure | DiagramFigure) -> str:
    """A matrix or a diagram in words."""
    if isinstance(figure, MatrixFigure):
        lead = f"{figure.lead}{f', {figure.title}' if figure.title else ''}: {figure.value_title}"
        told = [cell.about for line in figure.cells for cell in line if cell.about]
    else:
        titles = [words for words in (figure.y_title, figure.x_title) if words]
        lead, told = f"{figure.lead}{f', {titles[0]}' if titles else ''}", list(figure.told)
    if len(told) > MOST_NUMBERS:
        return f"{sentence(lead)} The rows are {listed(figure.rows, 20)}. The numbers are in the table below."
    return " ".join([sentence(lead), *map(sentence, told)])


def last_known(line: CurveLine) -> int | None:
    """The last position that has a value, or None."""
    return next((index for index in range(len(line.value) - 1, -1, -1) if math.isfinite(line.value[index])), None)


def _size(rows: int, panels: int) -> str:
    return f"{count(rows, 'group')} in {count(panels, 'panel')}"


def _row(mark: Mark) -> str:
    if mark.value is None:
        return f"{mark.label} {mark.note}"
    interval = f"{number(mark.low)} to {number(mark.high)}" if mark.low is not None else mark.note
    return f"{mark.label} {number(mark.value)} ({interval})"


def _bars(line: CurveLine) -> str:
    known = [(x, value) for x, value in zip(line.x.tolist(), line.value.tolist(), strict=True) if math.isfinite(value)]
    return f"{line.label} " + (", ".join(f"{number(value)} at {x:g}" for x, value in known) or "no value")


def _end(line: CurveLine) -> str:
    last = last_known(line)
    return (
        f"{line.label} no value"
        if last is None
        else f"{line.label} ends at {number(line.value[last])} ({short_steps(line.x[last])})"
    )
