"""Draws matrices with plotly: a heat map whose cells carry their numbers, shrunk to the room that there is."""

from __future__ import annotations

from typing import Any

from openrlb_analysis.figures.diagram import MatrixFigure
from openrlb_analysis.figures.grid import Margins, grid
from openrlb_analysis.figures.plotly_layout import (
    LINE,
    NARROW,
    SMALL,
    base,
    bottom,
    note_lines,
    notes_below,
    plain,
    x_title_below,
)
from openrlb_analysis.figures.theme import FONT_SIZE, GROUND, INK, text_width
from openrlb_analysis.figures.words import wrapped

CELL, MORE_LINES = 26.0, 14.0


def matrix_layout(figure: MatrixFigure, width: int, footer: bool) -> dict[str, Any]:
    """The layout of a matrix.

    Args:
        figure: What is shown.
        width: The width in pixels that it is planned for.
        footer: Whether the facts beside the picture are part of it.
    """
    narrow = width < NARROW
    rows = [wrapped(row, max(width * (0.34 if narrow else 0.32), 80), text_width) for row in figure.rows]
    left = max((text_width(line) for row in rows for line in row), default=0) + 14
    room = max((width - left - 12) / max(len(figure.columns), 1), 10)
    heads = [wrapped(head, max(room - 4, 18), lambda text: text_width(text, SMALL + 1)) for head in figure.columns]
    title = wrapped(figure.title, width - left - 20, text_width) if figure.title else []
    over = wrapped(figure.column_title, width - left - 20, text_width) if figure.column_title else []
    lines = max((cell.text.count("\n") for line in figure.cells for cell in line), default=0)
    pitch = max(CELL + lines * MORE_LINES, max(map(len, rows), default=1) * LINE + 6)
    head = max(map(len, heads), default=1) * (SMALL + 5) + 8
    notes = note_lines(figure, width) if footer else []
    strong = f"; bold: {figure.strong}" if figure.strong else ""
    x_title = wrapped(f"{figure.value_title}{strong}", width - 20, text_width)
    margins = Margins(left, 12, head + (len(title) + len(over)) * LINE + 12, bottom(x_title, notes))
    placed = grid(1, width, margins, max(len(rows), 1) * pitch, (0, 0), 1)
    made = base(placed, narrow)
    bare = {"showgrid": False, "ticks": "", "showline": False, "fixedrange": True, "tickfont": {"size": FONT_SIZE}}
    made["xaxis"] = {
        **bare,
        "side": "top",
        "range": [-0.5, len(figure.columns) - 0.5],
        "tickvals": list(range(len(figure.columns))),
        "ticktext": ["<br>".join(map(plain, lines)) for lines in heads],
        "tickangle": 0,
        "tickfont": {"size": SMALL + 1},
    }
    made["yaxis"] = {
        **bare,
        "range": [len(rows) - 0.5, -0.5],
        "tickvals": list(range(len(rows))),
        "ticktext": ["<br>".join(map(plain, row)) for row in rows],
    }
    above = "<br>".join([*(f"<b>{plain(line)}</b>" for line in title), *map(plain, over)])
    if above:
        place = {"xref": "paper", "x": 0, "xanchor": "left", "yref": "paper", "y": 1, "yanchor": "bottom", "yshift": head}
        made["annotations"].append({**place, "text": above, "align": "left"})
    lowered = [{**one, "yshift": one["yshift"] + 16} for one in [x_title_below(x_title), *notes_below(notes, x_title, placed)]]
    made["annotations"] += lowered
    return made


def matrix_traces(figure: MatrixFigure) -> list[dict[str, Any]]:
    """The heat map, and a second one over it for bold numbers, since a heat map's numbers are all of one weight.

    Args:
        figure: What is shown.
    """
    bold = any(cell.strong for line in figure.cells for cell in line)
    return [_heat(figure, False), *([_heat(figure, True)] if bold else [])]


def _heat(figure: MatrixFigure, strong: bool) -> dict[str, Any]:
    """The cells whose numbers are bold, or all cells with the numbers that are not."""
    steps = max(len(figure.scale) - 1, 1)
    shown = [[cell.value if cell.strong or not strong else None for cell in line] for line in figure.cells]
    texts = [
        ["<br>".join(map(plain, cell.text.split("\n"))) if cell.strong == strong else "" for cell in line]
        for line in figure.cells
    ]
    return {
        "type": "heatmap",
        "z": shown,
        "x": list(range(len(figure.columns))),
        "y": list(range(len(figure.rows))),
        "zmin": figure.ends[0],
        "zmax": figure.ends[1],
        "colorscale": [[place / steps, color] for place, color in enumerate(figure.scale)],
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
        "text": texts,
        "texttemplate": "%{text}",
        "textfont": {"color": INK, "weight": "bold" if strong else "normal"},
        "hoverongaps": False,
        "hovertext": [[plain(cell.about) for cell in line] for line in figure.cells],
        "hoverinfo": "text",
        "hoverlabel": {"bgcolor": GROUND, "font": {"color": INK}},
    }
