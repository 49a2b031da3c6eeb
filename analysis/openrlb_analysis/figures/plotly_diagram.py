"""Draws diagrams with plotly: strokes, dots and words in equal panels, with what their colours mean on top."""

from __future__ import annotations

from typing import Any

from openrlb_analysis.figures.diagram import DiagramFigure, DiagramPanel, Tick
from openrlb_analysis.figures.grid import Box, Margins, columns, grid
from openrlb_analysis.figures.places import spread_places
from openrlb_analysis.figures.plotly_layout import (
    LINE,
    NARROW,
    SMALL,
    TICKS,
    anchor,
    base,
    bottom,
    note_lines,
    notes_below,
    plain,
    x_title_below,
)
from openrlb_analysis.figures.theme import FONT_SIZE, INK, text_width, tick_format
from openrlb_analysis.figures.words import wrapped

KEY_ROW = 20.0
SAMPLE = 34.0
"""The length of a stroke in the key, in pixels."""


def diagram_layout(figure: DiagramFigure, width: int, footer: bool) -> dict[str, Any]:
    """The layout of a diagram.

    Args:
        figure: What is shown.
        width: The width in pixels that it is planned for.
        footer: Whether the facts beside the picture are part of it.
    """
    narrow, panels = width < NARROW, max(len(figure.panels), 1)
    share = 0.3 if narrow else 0.36
    left = max(
        _room([tick for panel in figure.panels for tick in panel.left or ()], width * share), 70.0 if _numbers(figure) else 12
    )
    right = max(_room([tick for panel in figure.panels for tick in panel.right], width * share), 16.0)
    ends = [text_width(panel.x_ticks[-1].text, SMALL) / 2 for panel in figure.panels if panel.x_ticks and not panel.x_on_top]
    right = max(right, min(max(ends, default=0.0), 60.0))
    across = columns(panels, width - left - right, 130 if narrow else 170, 6)
    gap = 56.0
    wide = (width - left - right - (across - 1) * gap) / across
    titles = [wrapped(panel.title, max(wide / 1.07, 40), text_width) for panel in figure.panels]
    head = max((len(title) * LINE + 8 for title in titles if title != [""]), default=8)
    on_top = any(panel.x_on_top for panel in figure.panels)
    key = [wrapped(words, width - 60, text_width) for _, _, words in figure.key]
    above = sum(max(len(lines), 1) * KEY_ROW for lines in key) + 6 * bool(key)
    notes = note_lines(figure, width) if footer else []
    x_title = wrapped(figure.x_title, width - 20, text_width) if figure.x_title else []
    over = TICKS + len(x_title) * LINE if on_top else 0
    margins = Margins(left, right, head + above + over + 4, bottom([] if on_top else x_title, notes))
    beside = [tick.text for panel in figure.panels for tick in (*(panel.left or ()), *panel.right)]
    deepest = max((len(wrapped(text, width * share, text_width)) for text in beside), default=1)
    tall = max((panel.height for panel in figure.panels), default=100) * (1 if deepest == 1 else 0.85 * deepest)
    placed = grid(panels, width, margins, tall, (gap, head + TICKS + 14), across)
    made = base(placed, narrow)
    for index, (panel, box) in enumerate(zip(figure.panels, placed.boxes, strict=False)):
        made[anchor("xaxis", index)] = _x_axis(panel, index, box, wide)
        made[anchor("yaxis", index)] = _y_axis(panel, index, box, width * share)
        if figure.y_title and box.column == 0:
            words = "<br>".join(map(plain, wrapped(figure.y_title, tall, lambda text: text_width(text, SMALL + 1))))
            made[anchor("yaxis", index)]["title"] = {"text": words, "standoff": 6, "font": {"size": SMALL + 1}}
        made["annotations"] += _texts(panel, index, titles[index], over, width * share, tall)
    made["annotations"] += _key(figure, key, placed.margins, head + over)
    made["shapes"] += _samples(figure, key, placed.margins, head + over)
    if x_title and on_top:
        place = {"xref": "paper", "x": 0.5, "xanchor": "center", "yref": "paper", "y": 1, "yanchor": "bottom", "yshift": TICKS}
        made["annotations"].append({**place, "text": "<br>".join(map(plain, x_title))})
    elif x_title:
        made["annotations"].append(x_title_below(x_title))
    made["annotations"] += notes_below(notes, [] if on_top else x_title, placed)
    return made


def diagram_traces(figure: DiagramFigure) -> list[dict[str, Any]]:
    """Strokes of one look together, and the dots of a panel.

    Args:
        figure: What is shown.
    """
    made: list[dict[str, Any]] = []
    for index, panel in enumerate(figure.panels):
        place = {"xaxis": anchor("x", index), "yaxis": anchor("y", index), "showlegend": False, "cliponaxis": False}
        looks = dict.fromkeys((stroke.color, stroke.width, stroke.dash) for stroke in panel.strokes)
        for color, wide, dash in looks:
            alike = [stroke for stroke in panel.strokes if (stroke.color, stroke.width, stroke.dash) == (color, wide, dash)]
            points = [point for stroke in alike for point in (*stroke.points, (None, None))][:-1]
            line = {"color": color, "width": wide, "dash": dash, "simplify": False}
            xs, ys = [x for x, _ in points], [y for _, y in points]
            made.append({"type": "scatter", "mode": "lines", "x": xs, "y": ys, "line": line, "hoverinfo": "skip", **place})
        if panel.dots:
            marker = {
                "color": [dot.color for dot in panel.dots],
                "opacity": 1.0,
                "size": [dot.size for dot in panel.dots],
                "symbol": [dot.symbol if dot.filled else f"{dot.symbol}-open" for dot in panel.dots],
                "line": {"width": [0.0 if dot.filled else 1.6 for dot in panel.dots], "color": [dot.color for dot in panel.dots]},
            }
            xs, ys = [dot.x for dot in panel.dots], [dot.y for dot in panel.dots]
            told = {"hovertext": [plain(dot.about) for dot in panel.dots], "hoverinfo": "text"}
            made.append({"type": "scatter", "mode": "markers", "x": xs, "y": ys, "marker": marker, **told, **place})
    return made


def _room(ticks: list[Tick], most: float) -> float:
    """The margin that labels beside a panel need."""
    return max((text_width(line) for tick in ticks for line in wrapped(tick.text, most, text_width)), default=0.0) + 16


def _numbers(figure: DiagramFigure) -> bool:
    """Whether a panel has an axis of numbers at its left."""
    return any(panel.left is None for panel in figure.panels)


def _x_axis(panel: DiagramPanel, index: int, box: Box, wide: float) -> dict[str, Any]:
    axis: dict[str, Any] = {"domain": box.x, "anchor": anchor("y", index), "range": panel.x_range, "nticks": 6}
    if panel.x_ticks is None:
        return axis | {"tickformat": tick_format(*panel.x_range)}
    room = wide / max(len(panel.x_ticks), 1) - 4
    words = ["<br>".join(map(plain, wrapped(tick.text, max(room, 20), text_width))) for tick in panel.x_ticks]
    side = {"side": "top"} if panel.x_on_top else {}
    return axis | {"tickvals": [tick.at for tick in panel.x_ticks], "ticktext": words, "tickangle": 0, "showgrid": False, **side}


def _y_axis(panel: DiagramPanel, index: int, box: Box, most: float) -> dict[str, Any]:
    axis: dict[str, Any] = {"domain": box.y, "anchor": anchor("x", index), "range": panel.y_range, "nticks": 6}
    if panel.left is None:
        return axis | {"tickformat": tick_format(*panel.y_range)}
    words = ["<br>".join(map(plain, wrapped(tick.text, most, text_width))) for tick in panel.left]
    bare = {"ticks": "", "showline": False, "showgrid": bool(panel.left) and not panel.x_on_top, "tickfont": {"size": FONT_SIZE}}
    return axis | {"tickvals": [tick.at for tick in panel.left], "ticktext": words, **bare}


def _texts(panel: DiagramPanel, index: int, title: list[str], lift: float, most: float, tall: float) -> list[dict[str, Any]]:
    """The panel's title, its words, and the labels at its right."""
    made: list[dict[str, Any]] = []
    x, y = anchor("x", index), anchor("y", index)
    if title != [""]:
        words = "<b>" + "<br>".join(map(plain, title)) + "</b>"
        place = {"xref": f"{x} domain", "x": 0, "yref": f"{y} domain", "y": 1, "xanchor": "left", "yanchor": "bottom"}
        made.append({**place, "text": words, "yshift": 3 + lift, "align": "left"})
    for word in panel.words:
        place = {"xref": x, "x": word.x, "yref": y, "y": word.y, "xanchor": word.align, "yanchor": "middle"}
        made.append({**place, "text": plain(word.text), "font": {"size": SMALL + 1, "color": word.color or INK}})
    low, high = panel.y_range
    scale = tall / (high - low)
    wanted = [(tick.at - low) * scale for tick in panel.right]
    places = spread_places(wanted, LINE - 1.0, (0.0, tall))
    for tick, at, place_at in zip(panel.right, wanted, places, strict=True):
        lines = "<br>".join(map(plain, wrapped(tick.text, most, text_width)))
        place = {"xref": f"{x} domain", "x": 1, "xshift": 8, "yref": y, "y": tick.at, "yshift": place_at - at}
        font = {"size": FONT_SIZE if panel.x_on_top else SMALL + 1, "color": tick.color or INK}
        made.append({**place, "xanchor": "left", "yanchor": "middle", "text": lines, "font": font, "align": "left"})
    return made


def _key(figure: DiagramFigure, key: list[list[str]], margins: Margins, lift: float) -> list[dict[str, Any]]:
    """What colours mean, above everything else."""
    made = []
    down = lift + sum(max(len(lines), 1) * KEY_ROW for lines in key)
    for (_, dash, _), lines in zip(figure.key, key, strict=True):
        shift = -margins.left + 12 + (SAMPLE + 8 if dash else 0)
        place = {"xref": "paper", "x": 0, "xshift": shift, "xanchor": "left", "yref": "paper", "y": 1, "yanchor": "top"}
        made.append({**place, "yshift": down, "text": "<br>".join(map(plain, lines)), "align": "left"})
        down -= max(len(lines), 1) * KEY_ROW
    return made


def _samples(figure: DiagramFigure, key: list[list[str]], margins: Margins, lift: float) -> list[dict[str, Any]]:
    """A stroke beside each meaning, placed by pixels."""
    made = []
    down = lift + sum(max(len(lines), 1) * KEY_ROW for lines in key)
    for (color, dash, _), lines in zip(figure.key, key, strict=True):
        if dash:
            ends = {"x0": -margins.left + 12, "x1": -margins.left + 12 + SAMPLE, "y0": down - 11, "y1": down - 11}
            pixels = {"xsizemode": "pixel", "ysizemode": "pixel", "xanchor": 0, "yanchor": 1}
            look = {"line": {"color": color, "width": 3, "dash": dash}}
            made.append({"type": "line", "xref": "paper", "yref": "paper", **pixels, **ends, **look})
        down -= max(len(lines), 1) * KEY_ROW
    return made
