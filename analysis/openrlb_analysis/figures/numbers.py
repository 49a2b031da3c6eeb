"""The numbers behind a figure as rows, exactly as they are drawn, in CSV, JSON or Parquet."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from openrlb.cells import inert
from openrlb_analysis.figures.diagram import MatrixFigure
from openrlb_analysis.figures.spec import CurveLine, CurvesFigure, IntervalFigure, Mark

if TYPE_CHECKING:
    from openrlb_analysis.figures.diagram import Drawn

NumbersFormat = Literal["csv", "json", "parquet"]
Rows = list[dict[str, Any]]


def figure_rows(figure: Drawn) -> Rows:
    """Every number that a figure draws, in a row for each mark, position or cell; all rows have equal keys.

    Args:
        figure: The figure. A diagram's numbers are not in its drawing: it has no rows, and its measure's are used.
    """
    if isinstance(figure, IntervalFigure):
        return [row for panel in figure.panels for mark in panel.marks for row in _mark(panel.title, mark)]
    if isinstance(figure, CurvesFigure):
        return [row for panel in figure.panels for line in panel.lines for row in _line(panel.title, line)]
    if isinstance(figure, MatrixFigure):
        return [
            {"row": row, "column": column, "value": None if cell.value is None else _known(cell.value), "text": cell.text}
            for row, cells in zip(figure.rows, figure.cells, strict=True)
            for column, cell in zip(figure.columns, cells, strict=True)
        ]
    return []


def write_numbers(path: Path, rows: Sequence[Mapping[str, Any]], kind: NumbersFormat) -> None:
    """Writes rows; equal rows give equal bytes, and every digit is kept.

    Args:
        path: The file.
        rows: Rows with equal keys; at least one.
        kind: ``csv``, ``json`` or ``parquet``.
    """
    if kind == "parquet":
        import polars as pl

        pl.DataFrame(list(rows), infer_schema_length=None).write_parquet(path, compression="zstd")
    elif kind == "json":
        path.write_text(json.dumps(list(rows), indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    else:
        with path.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)


def _cell(value: Any) -> Any:  # noqa: ANN401 - any cell
    """A cell of CSV: a label that no spreadsheet takes for a formula, or a number with all its digits."""
    return "" if value is None else inert(value) if isinstance(value, str) else value


def _mark(panel: str, mark: Mark) -> Rows:
    """A group's row, and one for each single run that is drawn as a dot."""
    shared = {"panel": panel, "label": mark.label}
    estimate = {"what": "estimate", "value": mark.value, "low": mark.low, "high": mark.high, "runs": mark.runs, "note": mark.note}
    single = {"what": "run", "low": None, "high": None, "runs": 1, "note": ""}
    return [{**shared, **estimate}, *({**shared, **single, "value": score} for score in mark.scores)]


def _line(panel: str, line: CurveLine) -> Rows:
    """A row for each position of a curve."""
    arrays = [getattr(line, name).tolist() for name in ("x", "value", "low", "high")]
    return [
        {
            "panel": panel,
            "label": line.label,
            "x": x,
            "value": _known(value),
            "low": _known(low),
            "high": _known(high),
            "runs": int(runs),
        }
        for x, value, low, high, runs in zip(*arrays, line.runs.tolist(), strict=True)
    ]


def _known(number: float) -> float | None:
    """A finite number, or None."""
    return number if math.isfinite(number) else None
