"""Results as rows: polars and pandas frames, and what a notebook shows of them.

Everything that a log file or a user supplied is escaped: the name of a run cannot be HTML. Secrets, e-mail addresses and home
folders are not shown in notebooks, which are handed on; frames keep them. Whole pages are the business of
:mod:`openrlb_analysis.report`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

ROWS_SHOWN = 30
"""So many rows of a result a notebook shows; how many more there are is said."""

_CELL = "padding:2px 10px 2px 0;text-align:{side};vertical-align:top"


class Tabular:
    """A result that is rows of plain values: it becomes a frame, and a table in a notebook."""

    __slots__ = ()

    def records(self) -> list[dict[str, Any]]:
        """The result's rows, all with the same keys."""
        raise NotImplementedError

    def headline(self) -> str:
        """The result in a sentence."""
        return ""

    def remarks(self) -> Sequence[str]:
        """What a reader must know beside the rows."""
        return ()

    def to_polars(self) -> pl.DataFrame:
        """The rows as a polars frame, with nothing left out."""
        import polars as pl

        rows = self.records()
        return pl.DataFrame(rows, schema=None if rows else [], infer_schema_length=None, strict=False)

    def to_pandas(self) -> pd.DataFrame:
        """The rows as a pandas frame, with nothing left out."""
        return self.to_polars().to_pandas()

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return fragment(self.headline(), self.records(), self.remarks())


def fragment(headline: str, rows: Sequence[Mapping[str, Any]], notes: Sequence[str] = (), images: Sequence[str] = ()) -> str:
    """A piece of HTML for a notebook: a sentence, a table, notes; no script, no style sheet, nothing from elsewhere.

    Args:
        headline: The sentence; none where empty.
        rows: Rows of one shape; the first 30 are shown.
        notes: Sentences below.
        images: HTML of images, from :func:`image` or :func:`curve`.

    >>> fragment("", [{"run": "<b>", "score": 1.5}]).count("&lt;b&gt;")
    1
    """
    from openrlb.scrubbing import scrubbed

    headline, notes = scrubbed((headline, [*notes]))
    parts = [f"<p>{escape(headline)}</p>"] if headline else []
    parts += [*images, *([table(rows)] if rows else [])]
    more = len(rows) - ROWS_SHOWN
    told = [*([f"{more:,} more rows: to_polars() has all {len(rows):,}"] if more > 0 else []), *notes]
    if told:
        parts.append(f'<ul style="font-size:smaller">{"".join(f"<li>{escape(note)}</li>" for note in told)}</ul>')
    return f"<div>{''.join(parts)}</div>"


def table(rows: Sequence[Mapping[str, Any]], drawn: Mapping[str, Sequence[str]] | None = None) -> str:
    """Rows as an HTML table of escaped texts; at most the first 30.

    Args:
        rows: Rows of one shape.
        drawn: Further columns that are HTML already (:func:`curve`), by heading.
    """
    from openrlb.scrubbing import scrubbed

    shown_rows = scrubbed([dict(row) for row in rows[:ROWS_SHOWN]])
    columns = list(shown_rows[0])
    side = {name: "right" if all(_is_number(row.get(name)) for row in shown_rows) else "left" for name in columns}
    head = [f'<th scope="col" style="{_CELL.format(side=side[name])}">{escape(name)}</th>' for name in columns]
    head += [f'<th scope="col" style="{_CELL.format(side="left")}">{escape(name)}</th>' for name in drawn or ()]
    lines = []
    for index, row in enumerate(shown_rows):
        cells = [f'<td style="{_CELL.format(side=side[name])}">{escape(shown(row.get(name)))}</td>' for name in columns]
        cells += [f'<td style="{_CELL.format(side="left")}">{values[index]}</td>' for values in (drawn or {}).values()]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table><thead><tr>{''.join(head)}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def shown(value: Any) -> str:  # noqa: ANN401 - any cell
    """A cell for eyes: numbers to five significant digits, lists with commas.

    >>> shown(3.14159265), shown(["a", "b"]), shown(None)
    ('3.1416', 'a, b', '')
    """
    if value is None:
        return ""
    if isinstance(value, int | float):
        return shown_number(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={shown(one)}" for key, one in value.items())
    return ", ".join(map(shown, value)) if isinstance(value, list | tuple) else str(value)


def shown_number(value: float) -> str:
    """A number or a truth value for eyes: five significant digits, separators in large whole numbers.

    >>> shown_number(1234567), shown_number(3.14159265), shown_number(True)
    ('1,234,567', '3.1416', 'true')
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    return f"{value:,.2f}" if 1000 <= abs(value) < 1e9 else f"{value:.5g}"


def _is_number(value: object) -> bool:
    """Whether a cell is set to the right."""
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def curve(means: Sequence[float | None], words: str, width: int = 120, height: int = 24) -> str:
    """A curve as a small inline SVG; a gap where a mean is missing or is no number.

    Args:
        means: Means of equal step bins.
        words: What it shows, for a screen reader.
        width: In pixels.
        height: In pixels.
    """
    places = heights(means)
    if not any(place is not None for place in places):
        return ""
    from openrlb.scrubbing import scrubbed

    across, words = (width - 2) / max(1, len(means) - 1), scrubbed(words)
    path, pen = [], "M"
    for index, place in enumerate(places):
        if place is None:
            pen = "M"
            continue
        path.append(f"{pen}{1 + index * across:.1f} {height - 1 - place * (height - 2):.1f}")
        pen = "L"
    return (
        f'<svg role="img" aria-label="{escape(words)}" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        f'<path d="{"".join(path)}" fill="none" stroke="currentColor" stroke-width="1.5"/></svg>'
    )


def heights(means: Sequence[float | None]) -> list[float | None]:
    """How high values lie between the lowest and the highest one, from 0 to 1; None where there is none or it is not finite.

    >>> heights([2.0, None, 4.0, float("nan"), 3.0]), heights([5.0])
    ([0.0, None, 1.0, None, 0.5], [0.0])
    """
    known = [value for value in means if value is not None and math.isfinite(value)]
    low = min(known, default=0.0) / 2  # halves: the difference of the largest numbers is none
    span = max(known, default=0.0) / 2 - low or 1.0
    return [None if value is None or not math.isfinite(value) else (value / 2 - low) / span for value in means]


def image(svg: bytes, words: str) -> str:
    """An SVG drawing as an image, in which no script can run.

    Args:
        svg: The drawing.
        words: What it shows, for a screen reader.
    """
    import base64

    from openrlb.scrubbing import scrubbed

    data = base64.b64encode(svg).decode()
    return f'<img alt="{escape(scrubbed(words))}" style="max-width:100%;background:white" src="data:image/svg+xml;base64,{data}">'
