"""Draws figure specs with plotly: the interactive figures of HTML pages, and images where a browser is found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openrlb_analysis.figures.diagram import DiagramFigure, Drawn, MatrixFigure
from openrlb_analysis.figures.plotly_diagram import diagram_traces
from openrlb_analysis.figures.plotly_layout import anchor, layout, mark_text, plain
from openrlb_analysis.figures.plotly_legend import legend_lines
from openrlb_analysis.figures.plotly_matrix import matrix_traces
from openrlb_analysis.figures.spec import CurveLine, CurvesFigure, IntervalFigure, IntervalPanel, Mark
from openrlb_analysis.figures.theme import BAND_ALPHA, GROUND, INTERVAL_ALPHA, Style, rgba
from openrlb_analysis.figures.words import count

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from openrlb.types import Values


def paint(figure: Drawn, width: int = 1000, footer: bool = True) -> Figure:
    """A plotly figure of a spec.

    Args:
        figure: What to draw.
        width: The width in pixels that panels, labels and legend are arranged for.
        footer: Whether the facts beside the picture are drawn below it.
    """
    from plotly.graph_objects import Figure

    return Figure(data=traces(figure), layout={**layout(figure, width, footer), "width": width})


def traces(figure: Drawn) -> list[dict[str, Any]]:
    """The traces alone; they are the same at every width."""
    if isinstance(figure, MatrixFigure):
        return matrix_traces(figure)
    if isinstance(figure, DiagramFigure):
        return diagram_traces(figure)
    if isinstance(figure, IntervalFigure):
        return [trace for index, panel in enumerate(figure.panels) for trace in _interval_traces(figure, panel, index)]
    if figure.bars:
        return [_bar(line, figure.styles[line.label]) for panel in figure.panels for line in panel.lines]
    return _curve_traces(figure)


def _interval_traces(figure: IntervalFigure, panel: IntervalPanel, index: int) -> list[dict[str, Any]]:
    """A panel's bars, single runs and point estimates: three traces, however many groups there are."""
    place = {"xaxis": anchor("x", index), "yaxis": anchor("y", index), "showlegend": False, "hoverinfo": "text"}
    rows = [(row, mark, figure.styles[mark.label].color) for row, mark in enumerate(panel.marks)]
    bars = [(row, mark, color) for row, mark, color in rows if mark.low is not None and mark.high is not None]
    dots = [(row + shift, score, color) for row, mark, color in rows for shift, score in spread(mark.scores)]
    points = [(row, mark, color) for row, mark, color in rows if mark.value is not None]
    bar = {
        "type": "bar",
        "orientation": "h",
        "y": [row for row, _, _ in bars],
        "base": [mark.low for _, mark, _ in bars],
        "x": [mark.high - mark.low for _, mark, _ in bars],  # type: ignore[operator]
        "width": 0.62,
        "marker": {"color": [rgba(color, INTERVAL_ALPHA) for _, _, color in bars], "line": {"width": 0}},
        "hovertext": [_hover(mark, panel.title) for _, mark, _ in bars],
    }
    runs = {
        "type": "scatter",
        "mode": "markers",
        "x": [score for _, score, _ in dots],
        "y": [row for row, _, _ in dots],
        "marker": {"color": [color for _, _, color in dots], "size": 5, "opacity": 0.75, "line": {"width": 0.6, "color": GROUND}},
        "hovertext": [f"single run: {score:,.6g}" for _, score, _ in dots],
        "cliponaxis": False,
    }
    shapes = [("line-ns", 18, 3.0) if mark.low is not None else ("diamond", 10, 0.0) for _, mark, _ in points]
    colors = [color for _, _, color in points]
    estimate = {
        "type": "scatter",
        "mode": "markers",
        "x": [mark.value for _, mark, _ in points],
        "y": [row for row, _, _ in points],
        "marker": {
            "symbol": [symbol for symbol, _, _ in shapes],
            "size": [size for _, size, _ in shapes],
            "color": colors,
            "line": {"width": [width for _, _, width in shapes], "color": colors},
        },
        "hovertext": [_hover(mark, panel.title) for _, mark, _ in points],
        "cliponaxis": False,
    }
    return [{**trace, **place} for trace in (bar, runs, estimate) if trace["y"]]


def _curve_traces(figure: CurvesFigure) -> list[dict[str, Any]]:
    """Bands first, then lines, so that no band covers a line; a label's legend entry toggles it in every panel."""
    import numpy as np

    width = 2.0 if len(figure.panels) == 1 else 1.6
    made: list[dict[str, Any]] = []
    named: set[str] = set()
    for index, panel in enumerate(figure.panels):
        place = {"xaxis": anchor("x", index), "yaxis": anchor("y", index)}
        if figure.split:
            place["legend"] = anchor("legend", index)
        styled = [(line, figure.styles[line.label]) for line in panel.lines]
        made += [{**_band(line, style), **place} for line, style in styled if np.isfinite(line.low).any()]
        for line, style in styled:
            made.append({**_line(line, style, width), **place, "showlegend": figure.split or line.label not in named})
            named.add(line.label)
    return made


def _band(line: CurveLine, style: Style) -> dict[str, Any]:
    """The pointwise interval as closed shapes, one for each stretch without a gap."""
    x, y = _outline(line)
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "fill": "toself",
        "fillcolor": rgba(style.color, BAND_ALPHA),
        "line": {"width": 0, "color": style.color, "simplify": False},
        "hoverinfo": "skip",
        "showlegend": False,
        "legendgroup": plain(line.label),
    }


def _line(line: CurveLine, style: Style, width: float) -> dict[str, Any]:
    """The curve itself, with a few marks that tell it apart in grey."""
    import numpy as np

    beside = np.column_stack([line.low, line.high, line.runs]).astype(np.float32)
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": line.x.astype(np.float32),
        "y": line.value.astype(np.float32),
        "customdata": beside,
        "name": "<br>".join(map(plain, legend_lines(line.label))),
        "legendgroup": plain(line.label),
        "line": {"color": style.color, "width": width, "dash": style.dash, "simplify": False},
        "marker": {
            "symbol": style.symbol if style.filled else f"{style.symbol}-open",
            "size": 6,
            "color": style.color,
            "maxdisplayed": 7,
        },
        "hovertemplate": "%{x:,.6~r}: %{y:,.5~r}  [%{customdata[0]:,.5~r}, %{customdata[1]:,.5~r}]  %{customdata[2]} runs",
    }


def _bar(line: CurveLine, style: Style) -> dict[str, Any]:
    """One group's bars, beside those of the others."""
    return {
        "type": "bar",
        "x": line.x,
        "y": line.value,
        "name": "<br>".join(map(plain, legend_lines(line.label))),
        "legendgroup": plain(line.label),
        "marker": {"color": style.color, "line": {"width": 0}},
        "hovertemplate": "%{x}: %{y:,.5~r}",
    }


def _outline(line: CurveLine) -> tuple[Values, Values]:
    """A band's outline: up along the high ends, back along the low ends, NaN between stretches."""
    import numpy as np

    known = np.isfinite(line.low) & np.isfinite(line.high) & np.isfinite(line.x)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(np.int8)))
    xs: list[Values] = []
    ys: list[Values] = []
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        part = slice(start, stop)
        xs += [line.x[part], line.x[part][::-1], np.full(1, np.nan)]
        ys += [line.high[part], line.low[part][::-1], np.full(1, np.nan)]
    if not xs:
        return np.empty(0), np.empty(0)
    return np.concatenate(xs)[:-1].astype(np.float32), np.concatenate(ys)[:-1].astype(np.float32)


def spread(scores: tuple[float, ...]) -> list[tuple[float, float]]:
    """Single runs with a small shift up or down each, the same every time, so that equal scores stay visible.

    Args:
        scores: The runs' scores; one alone has no dot, because the point estimate is that run.
    """
    golden = 0.618033988749895
    if len(scores) < 2:
        return []  # the point estimate is that run
    return [(((index + 1) * golden % 1 - 0.5) * 0.4, score) for index, score in enumerate(scores)]


def _hover(mark: Mark, panel: str) -> str:
    """A row's numbers in words."""
    return f"<b>{plain(mark.label)}</b><br>{plain(panel)}<br>{plain(mark_text(mark))}<br>{count(mark.runs, 'run')}"
