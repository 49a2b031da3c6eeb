"""Tables, lists of facts and downloads as HTML elements; every text that a user or a log file supplied is escaped."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import quote

from openrlb_analysis.figures.page import Cell, Column, Link, Numbers, Table, Trend
from openrlb_analysis.pages.packed import columnar, packed

SHORT = 24
TREND_WIDTH, TREND_HEIGHT = 96, 22
"""The size of a trend in a table, in pixels."""


def slug(text: str, taken: set[str] | None = None) -> str:
    """A text as a name for an element or a file; with ``taken`` one that no other element has, which is then taken too.

    >>> names = set()
    >>> slug("Scores in Hopper-v4", names), slug("Scores in Hopper-v4", names), slug("<b>")
    ('scores-in-hopper-v4', 'scores-in-hopper-v4-2', 'b')
    """
    name = first = re.sub(r"[^a-z0-9]+", "-", text.casefold()).strip("-")[:60] or "part"
    if taken is None:
        return name
    number = 1
    while name in taken:
        number += 1
        name = f"{first}-{number}"
    taken.add(name)
    return name


def table(content: Table) -> str:
    """A table that scrolls by itself on a narrow screen; a page's script adds its filters."""
    sorting = ' data-sortable=""' if content.sortable else ""
    head = "".join(_cell("th", one.name, one.numeric, ' scope="col"') for one in content.columns)
    rows = []
    for row in content.rows:
        pairs = list(zip(row, content.columns, strict=True))
        first = _cell("th", pairs[0][0], pairs[0][1].numeric, ' scope="row"')
        rows.append(f"<tr>{first}{''.join(_cell('td', text, column.numeric) for text, column in pairs[1:])}</tr>")
    name = escape(content.caption)
    body = (
        f"<table{sorting}>\n<caption>{name}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n"
        + "\n".join(rows)
        + "\n</tbody>\n</table>"
    )
    region = f'<div class="scroll" role="region" tabindex="0" aria-label="{name}">\n{body}\n</div>'
    if content.filters:
        places = ",".join(str(_place(content.columns, one)) for one in content.filters)
        region = f'<div class="filtered" data-filters="{places}">\n{region}\n</div>'
    return f"<details><summary>{name} ({len(rows):,})</summary>\n{region}\n</details>" if content.folded else region


def facts(content: Iterable[tuple[str, str]], typed: Sequence[str] = ()) -> str:
    """Names and values; those of ``typed`` are what a reader types or copies."""
    told = [(name, f"<code>{escape(text)}</code>" if name in typed else escape(text)) for name, text in content]
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{text}</dd>' for name, text in told)}</dl>" if told else ""


def notes(content: Sequence[str]) -> str:
    """Sentences that a reader must not miss."""
    items = "".join(f"<li>{escape(note)}</li>" for note in content)
    return f'<ul class="notes" aria-label="Notes">{items}</ul>' if items else ""


def downloads(content: Sequence[Numbers], name: str) -> str:
    """Buttons that save rows as CSV or JSON, and the rows, compressed.

    Args:
        content: The rows.
        name: What the page calls them; unique on the page.
    """
    parts = []
    for index, one in enumerate(content):
        key = f"{name}-numbers-{index}"
        file = slug(one.name)
        about = f"{escape(one.name)} ({len(one.rows):,} {'row' if len(one.rows) == 1 else 'rows'})"
        buttons = " ".join(
            f'<button type="button" data-numbers="{key}" data-as="{kind}" data-name="{file}">{kind.upper()}</button>'
            for kind in ("csv", "json")
        )
        data = f'<script type="application/json" id="{key}">"{packed(columnar(one.rows))}"</script>'
        parts.append(f'<div class="tools" role="group" aria-label="Save {about}"><span>{about}</span> {buttons}</div>\n{data}')
    return "\n".join(parts)


def _place(columns: Sequence[Column], name: str) -> int:
    """Where a column stands."""
    return [column.name for column in columns].index(name)


def _cell(tag: str, content: Cell, numeric: bool, more: str = "") -> str:
    """A table cell; short texts stay on one line."""
    if isinstance(content, Trend):
        return f'<{tag} class="trend"{more}>{trend(content)}</{tag}>'
    text = content if isinstance(content, str) else content.text
    names = [name for name, wanted in (("number", numeric), ("short", len(text) <= SHORT)) if wanted]
    looks = f' class="{" ".join(names)}"' if names else ""
    shown = escape(text)
    if isinstance(content, Link):
        shown = f'<a href="#run={quote(content.detail, safe="")}">{shown}</a>'
    return f"<{tag}{looks}{more}>{shown}</{tag}>"


def trend(content: Trend) -> str:
    """A small line as an image with a sentence for those who do not see it.

    >>> trend(Trend((0.0, None, 1.0), "from 0 to 1"))[:57]
    '<svg class="spark" role="img" aria-label="from 0 to 1" vi'
    """
    known = [value for value in content.values if value is not None and math.isfinite(value)]
    low, span = min(known, default=0.0), (max(known, default=1.0) - min(known, default=0.0)) or 1.0
    room, last = TREND_HEIGHT - 4, max(len(content.values) - 1, 1)
    pieces: list[list[str]] = [[]]
    for place, value in enumerate(content.values):
        if value is None or not math.isfinite(value):
            pieces.append([])
            continue
        pieces[-1].append(f"{place * (TREND_WIDTH - 4) / last + 2:.0f},{2 + room - (value - low) / span * room:.1f}")
    drawn = "".join(f'<polyline points="{" ".join(piece)}"/>' for piece in pieces if len(piece) > 1)
    drawn += "".join(
        f'<circle cx="{one[0].split(",")[0]}" cy="{one[0].split(",")[1]}" r="1.5"/>' for one in pieces if len(one) == 1
    )
    box = f'viewBox="0 0 {TREND_WIDTH} {TREND_HEIGHT}" width="{TREND_WIDTH}" height="{TREND_HEIGHT}"'
    return f'<svg class="spark" role="img" aria-label="{escape(content.about)}" {box}>{drawn}</svg>'
