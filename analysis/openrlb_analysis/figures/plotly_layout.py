"""Layouts of plotly figures for a given width: where panels, titles, legend and footer lie, in pixels, so that none overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from openrlb_analysis.figures.diagram import DiagramFigure, Drawn, MatrixFigure
from openrlb_analysis.figures.grid import Box, Grid, Margins, columns, grid
from openrlb_analysis.figures.matplotlib_text import tick_words
from openrlb_analysis.figures.places import log_places, spread_places
from openrlb_analysis.figures.plotly_legend import entry_width, legend_height, legends
from openrlb_analysis.figures.spec import CurvesFigure, CurvesPanel, IntervalFigure, IntervalPanel, Mark
from openrlb_analysis.figures.theme import FONT_FAMILY, FONT_SIZE, GRID, GROUND, INK, QUIET, text_width, tick_format
from openrlb_analysis.figures.words import number, wrapped

NARROW = 560
"""Below this width (a phone) panels stack, and touching a figure scrolls the page instead of zooming."""
LINE, SMALL, TICKS = 16, 11, 26
DIRECT = 0.3
"""The share of a figure's width that labels beside lines may take; longer ones are a legend."""
GLYPHS = {
    "circle": "\u25cf\u25cb", "square": "\u25a0\u25a1", "diamond": "\u25c6\u25c7", "triangle-up": "\u25b2\u25b3",
    "triangle-down": "\u25bc\u25bd", "cross": "\u271a\u271a", "x": "\u2716\u2716",
}  # fmt: skip


def layout(figure: Drawn, width: int, footer: bool) -> dict[str, Any]:
    """A plotly layout as plain values.

    Args:
        figure: What is shown.
        width: The width it is planned for, in pixels; the figure itself stretches to its container.
        footer: Whether the facts beside the picture are part of it; a page prints them as its caption instead.
    """
    if isinstance(figure, MatrixFigure):
        from openrlb_analysis.figures.plotly_matrix import matrix_layout

        return matrix_layout(figure, width, footer)
    if isinstance(figure, DiagramFigure):
        from openrlb_analysis.figures.plotly_diagram import diagram_layout

        return diagram_layout(figure, width, footer)
    return _interval(figure, width, footer) if isinstance(figure, IntervalFigure) else _curves(figure, width, footer)


def plain(text: str) -> str:
    """A text as plotly shows it literally: its labels are a small HTML dialect.

    >>> plain("<b>a & b</b>")
    '&lt;b&gt;a &amp; b&lt;/b&gt;'
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def anchor(kind: str, index: int) -> str:
    """A name as plotly numbers it: ``x``, ``x2``, ... for a trace's axis, ``xaxis``, ``xaxis2``, ... for the layout's."""
    return f"{kind}{index + 1 if index else ''}"


def mark_text(mark: Mark) -> str:
    """A row's numbers: the value with its interval, or why there is none."""
    if mark.value is None:
        return mark.note
    if mark.low is None:
        return f"{number(mark.value)} ({mark.note})"
    return f"{number(mark.value)} [{number(mark.low)}, {number(mark.high)}]"


def _interval(figure: IntervalFigure, width: int, footer: bool) -> dict[str, Any]:
    """Rows of groups; their labels stand left of the first column, so that no legend is needed."""
    narrow, panels = width < NARROW, max(len(figure.panels), 1)
    labels = [wrapped(row, max(width * (0.34 if narrow else 0.32), 80), text_width) for row in figure.rows]
    left = max((text_width(line) for label in labels for line in label), default=0) + 14
    pitch = max(30 if len(figure.rows) <= 7 else 23, max(map(len, labels), default=1) * LINE + 7)
    texts = [mark_text(mark) for mark in figure.panels[0].marks] if len(figure.panels) == 1 and not narrow else []
    right = max((text_width(text, SMALL + 1) for text in texts), default=0) + (20 if texts else 12)
    across = 1 if narrow else columns(panels, width - left - right, 180)
    titles = _titles(figure.panels, (width - left - right - (across - 1) * 22) / across)
    head = max(map(len, titles), default=1) * LINE + 8
    notes = note_lines(figure, width) if footer else []
    x_title = wrapped(figure.value_title, width - 20, text_width)
    margins = Margins(left, right, head + 4, bottom(x_title, notes))
    placed = grid(panels, width, margins, max(len(figure.rows), 1) * pitch + 6, (22, head + TICKS + 8), across)
    made = base(placed, narrow)
    rows = list(range(len(figure.rows)))
    named = {"tickvals": rows, "ticktext": ["<br>".join(map(plain, label)) for label in labels], "tickfont": {"size": FONT_SIZE}}
    for index, (panel, box) in enumerate(zip(figure.panels, placed.boxes, strict=False)):
        made[anchor("xaxis", index)] = _x_axis(index, box, panel.x_range)
        made[anchor("yaxis", index)] = {
            "domain": box.y,
            "anchor": anchor("x", index),
            "range": [max(len(rows), 1) - 0.5, -0.5],
            "showgrid": False,
            "ticks": "",
            "fixedrange": True,
            **(named if box.column == 0 else {"tickvals": rows, "showticklabels": False}),
        }
        made["annotations"] += [_title(index, titles[index]), *([] if texts else _remarks(index, panel))]
        if figure.reference is not None:
            made["shapes"].append(_cut(index, figure.reference))
    made["annotations"] += [_beside(row, text) for row, text in enumerate(texts)]
    made["annotations"] += [x_title_below(x_title), *notes_below(notes, x_title, placed)]
    return made


def _curves(figure: CurvesFigure, width: int, footer: bool) -> dict[str, Any]:
    """A panel for each environment; the legend is on top."""
    narrow, panels = width < NARROW, max(len(figure.panels), 1)
    left, right, gap = (62.0, 16.0, 44.0) if narrow else (70.0, 16.0, 50.0)
    beside = {} if narrow else figure.direct()
    needed = max((text_width(label, SMALL + 1) for label in beside), default=0.0) + 34
    beside = beside if needed <= DIRECT * width else {}
    right = needed if beside else right
    narrowest = (130 if panels > 8 else 300) if narrow else 205
    across = columns(panels, width - left, max(narrowest, entry_width(figure)) if figure.split else narrowest)
    wide = (width - left - right - (across - 1) * gap) / across
    titles = _titles(figure.panels, wide)
    head = max(map(len, titles), default=1) * LINE + 8
    legend = 0.0 if beside else legend_height(figure, width)
    above = head + legend if figure.split else head
    notes = note_lines(figure, width) if footer else []
    x_title = wrapped(figure.x_title, width - 20, text_width)
    height = min(max(0.72 * wide, 130), 340)
    margins = Margins(left, right, legend + head + 6, bottom(x_title, notes))
    placed = grid(panels, width, margins, height, (gap, above + TICKS + 8), across)
    made = base(placed, narrow)
    y_title = "<br>".join(map(plain, wrapped(figure.y_title, height, lambda text: text_width(text, SMALL + 1))))
    for index, (panel, box) in enumerate(zip(figure.panels, placed.boxes, strict=False)):
        made[anchor("xaxis", index)] = _x_axis(index, box, panel.x_range)
        if figure.log_x:
            made[anchor("xaxis", index)] |= _log_axis(panel.x_range, wide)
        elif figure.whole:
            step = whole_step(panel.x_range)
            first = 1 if step == 1 else 0
            made[anchor("xaxis", index)] |= {"tickmode": "linear", "tick0": first, "dtick": step, "tickformat": "d"}
        made[anchor("yaxis", index)] = {
            "domain": box.y,
            "anchor": anchor("x", index),
            "range": panel.y_range,
            "tickformat": tick_format(*panel.y_range),
            "nticks": 6,
        }
        if box.column == 0:
            made[anchor("yaxis", index)]["title"] = {"text": y_title, "standoff": 6, "font": {"size": SMALL + 1}}
        made["annotations"].append(_title(index, titles[index], above - head))
        if panel.cut is not None:
            made["shapes"].append(_cut(index, panel.cut))
    made["annotations"] += [x_title_below(x_title), *notes_below(notes, x_title, placed)]
    if figure.bars:
        made |= {"barmode": "stack", "bargap": 0.3}
    if beside:
        made["annotations"] += _at_ends(figure, beside, height)
        return made
    return made | {"showlegend": True} | legends(figure, placed, head)


def _at_ends(figure: CurvesFigure, beside: dict[str, float], height: float) -> list[dict[str, Any]]:
    """Each label beside the end of its line, with the line's mark, moved apart where ends are close."""
    low, high = figure.panels[0].y_range
    wanted = [(value - low) / (high - low) * height for value in beside.values()]
    made = []
    for label, at, place in zip(beside, wanted, spread_places(wanted, LINE, (0.0, height)), strict=True):
        style = figure.styles[label]
        glyph = GLYPHS[style.symbol][0 if style.filled else 1]
        words = f'<span style="color:{style.color}">{glyph}</span> {plain(label)}'
        place_at = {
            "xref": "x domain",
            "x": 1,
            "xshift": 6,
            "xanchor": "left",
            "yref": "y",
            "y": beside[label],
            "yanchor": "middle",
        }
        made.append({**place_at, "yshift": place - at, "text": words, "font": {"size": SMALL + 1}, "align": "left"})
    return made


def base(placed: Grid, narrow: bool) -> dict[str, Any]:
    """What all figures share; the looks of axes are in the template, so that a panel costs few bytes.

    Args:
        placed: Where panels lie.
        narrow: Whether it is for a phone, where touching a figure scrolls the page.
    """
    line = {"showline": True, "linecolor": INK, "linewidth": 1.2, "ticks": "outside", "ticklen": 4, "tickcolor": INK}
    looks = {**line, "gridcolor": GRID, "zeroline": False, "tickfont": {"size": SMALL}, "fixedrange": narrow, "automargin": False}
    m = placed.margins
    return {
        "template": {"layout": {"xaxis": looks, "yaxis": looks, "annotationdefaults": {"showarrow": False}}},
        "font": {"family": FONT_FAMILY, "size": FONT_SIZE, "color": INK},
        "paper_bgcolor": GROUND,
        "plot_bgcolor": "rgba(0,0,0,0)",
        "height": round(placed.height),
        "margin": {"l": round(m.left), "r": round(m.right), "t": round(m.top), "b": round(m.bottom), "pad": 0},
        "showlegend": False,
        "annotations": [],
        "shapes": [],
        "hovermode": "closest",
        "dragmode": False if narrow else "zoom",
        "hoverlabel": {"font": {"family": FONT_FAMILY, "size": 12}, "align": "left", "namelength": -1},
    }


def whole_step(ends: tuple[float, float]) -> int:
    """How far apart ticks at whole numbers stand.

    >>> whole_step((0.5, 7.5)), whole_step((3, 30)), whole_step((3, 100))
    (1, 5, 20)
    """
    least = (ends[1] - ends[0]) / 8
    return next((step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500) if step >= least), 1000)


def _x_axis(index: int, box: Box, ends: tuple[float, float]) -> dict[str, Any]:
    return {"domain": box.x, "anchor": anchor("y", index), "range": ends, "tickformat": tick_format(*ends), "nticks": 5}


def _log_axis(ends: tuple[float, float], room: float) -> dict[str, Any]:
    """What makes an axis logarithmic, with numbers that do not touch; plotly's own would."""
    say = tick_words(*ends)
    found = log_places(ends, room, lambda at: text_width(say(at), SMALL))
    return {"type": "log", "range": [math.log10(end) for end in ends], "tickvals": found, "ticktext": list(map(say, found))}


def _titles(panels: Sequence[IntervalPanel | CurvesPanel], room: float) -> list[list[str]]:
    """Each panel's title in lines that fit its width."""
    return [wrapped(panel.title, max(room / 1.07, 40), text_width) for panel in panels]


def _title(index: int, lines: list[str], lift: float = 0) -> dict[str, Any]:
    """A panel's title, above its left edge; ``lift`` leaves room for a legend below it."""
    place = {"xref": f"{anchor('x', index)} domain", "x": 0, "yref": f"{anchor('y', index)} domain", "y": 1}
    text = "<b>" + "<br>".join(map(plain, lines)) + "</b>"
    return {**place, "text": text, "xanchor": "left", "yanchor": "bottom", "yshift": 3 + lift, "align": "left"}


def _remarks(index: int, panel: IntervalPanel) -> list[dict[str, Any]]:
    """Says in a row why its point or its interval is missing."""
    font = {"size": SMALL, "color": QUIET}
    made: list[dict[str, Any]] = []
    for row, mark in enumerate(panel.marks):
        if not mark.note:
            continue
        place: dict[str, Any] = {"xref": f"{anchor('x', index)} domain", "x": 0.02, "xanchor": "left"}
        if mark.value is not None:
            on_left = mark.value <= sum(panel.x_range) / 2
            side = {"xanchor": "left", "xshift": 9} if on_left else {"xanchor": "right", "xshift": -9}
            place = {"xref": anchor("x", index), "x": mark.value, **side}
        made.append({**place, "yref": anchor("y", index), "y": row, "text": plain(mark.note), "font": font})
    return made


def _beside(row: int, text: str) -> dict[str, Any]:
    """A row's numbers, right of a single panel."""
    font = {"size": SMALL + 1, "color": INK}
    return {"xref": "paper", "x": 1, "xshift": 10, "xanchor": "left", "yref": "y", "y": row, "text": plain(text), "font": font}


def x_title_below(lines: list[str]) -> dict[str, Any]:
    """One title of the x axes for the whole figure; placed by pixels, because a fraction of a low figure would collide.

    Args:
        lines: The title.
    """
    place = {"xref": "paper", "x": 0.5, "xanchor": "center", "yref": "paper", "y": 0, "yanchor": "top", "yshift": -TICKS}
    return {**place, "text": "<br>".join(map(plain, lines)), "font": {"size": FONT_SIZE}}


def _cut(index: int, step: float) -> dict[str, Any]:
    """The dotted line where scores are read."""
    place = {"xref": anchor("x", index), "x0": step, "x1": step, "yref": f"{anchor('y', index)} domain", "y0": 0, "y1": 1}
    return {"type": "line", **place, "line": {"color": QUIET, "width": 1.2, "dash": "dot"}, "layer": "below"}


def note_lines(figure: Drawn, width: int) -> list[str]:
    """The facts beside the picture in lines that fit the figure's width.

    Args:
        figure: Whose facts.
        width: The width in pixels.
    """
    return wrapped(" ".join(figure.footer.sentences()), width - 20, lambda text: text_width(text, SMALL))


def bottom(x_title: list[str], notes: list[str]) -> float:
    """The margin that holds tick labels, the axis title and the facts.

    Args:
        x_title: The lines of the title.
        notes: The lines of the facts.
    """
    return TICKS + (len(x_title) + 1) * LINE + (len(notes) * (SMALL + 4) + 8 if notes else 0)


def notes_below(lines: list[str], x_title: list[str], placed: Grid) -> list[dict[str, Any]]:
    """The facts beside the picture, at the lower left, below everything else.

    Args:
        lines: The facts.
        x_title: The lines of the title above them.
        placed: Where panels lie.
    """
    if not lines:
        return []
    place = {"xref": "paper", "x": 0, "xshift": -placed.margins.left + 10, "xanchor": "left", "yref": "paper", "y": 0}
    look = {"yanchor": "top", "yshift": -(TICKS + (len(x_title) + 1) * LINE), "align": "left"}
    return [{**place, **look, "font": {"size": SMALL, "color": QUIET}, "text": "<br>".join(map(plain, lines))}]
