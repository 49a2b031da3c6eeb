"""The only HTML writer: one self-contained file with figures, numbers and provenance; nothing is loaded from a network.

Everything that a user or a log file supplied is escaped, and a content security policy lets no script run but this module's
own, so that a hostile label can do nothing even in a browser with a fault. Equal input gives equal bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass
from html import escape
from importlib.resources import files
from pathlib import Path

from openrlb.errors import OpenrlbError, StoreUnwritable
from openrlb_analysis.figures.alternative_text import alternative_text
from openrlb_analysis.figures.diagram import Drawn
from openrlb_analysis.figures.page import Column, Page, Provenance, Section, Table
from openrlb_analysis.figures.plot_page import plot_page

__all__ = ["Column", "Page", "Provenance", "Section", "Table", "html", "plot_page", "write_page"]

WIDTHS = (340, 600, 960)
"""The widths, in pixels, that figures are arranged for: a phone, a tablet, a desk."""
IMAGE_WIDTH = 1000
SHORT = 24


def write_page(path: Path, page: Page) -> None:
    """Writes a page as one HTML file, whole or not at all.

    Args:
        path: The file; its folder is made where it is missing.
        page: What it says.

    Raises:
        OpenrlbError: The file cannot be written: no permission, no space, a read-only disk.
    """
    from openrlb.store.files import writing

    content = html(page).encode("utf-8", "replace")  # a file name may hold bytes that are no text
    try:
        with writing(path) as temporary:
            temporary.write_bytes(content)
    except (StoreUnwritable, OSError) as error:
        why = error.why if isinstance(error, StoreUnwritable) else error.strerror or str(error)
        raise OpenrlbError(f"{path} cannot be written", why, "free some space, or name a file elsewhere with -o") from error


def html(page: Page) -> str:
    """The page as HTML text; equal pages give equal text."""
    from plotly.offline import get_plotlyjs

    sections = [_section(section, f"figure-{index}") for index, section in enumerate(page.sections, 1)]
    if page.excluded is not None:
        sections.append(_excluded(page))
    scripts = [get_plotlyjs(), _asset("page.js")] if any(section.figure for section in page.sections) else []
    policy = _policy(scripts)
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            '<link rel="icon" href="data:,">',
            f"<title>{escape(page.title)}</title>",
            f"<style>\n{_asset('page.css')}</style>",
            "</head>",
            "<body>",
            f'<header>\n<h1>{escape(page.title)}</h1>\n<p class="headline">{escape(page.headline)}</p>\n</header>',
            "<main>",
            *sections,
            _provenance(page.provenance),
            "</main>",
            f'<script type="application/json" id="openrlb-data">{embedded(page.data)}</script>',
            *(f"<script>{script}</script>" for script in scripts),
            "</body>",
            "</html>",
            "",
        ]
    )


def embedded(value: object) -> str:
    r"""A value as JSON that is safe inside a script element: no character in it can end the element.

    Dataclasses become objects, arrays lists, and numbers that are not finite null.

    >>> embedded({"label": "</script><!--", "value": float("nan")})
    '{"label":"\\u003c/script\\u003e\\u003c!--","value":null}'
    """
    text = json.dumps(_json_value(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _json_value(value: object) -> object:
    """Plain JSON values of a record."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return _json_value(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _json_value(entry) for key, entry in value.items()}
    if hasattr(value, "tolist"):
        return _json_value(value.tolist())
    return [_json_value(entry) for entry in value] if isinstance(value, Iterable) else str(value)


def _section(section: Section, name: str) -> str:
    parts = [f"<section>\n<h2>{escape(section.heading)}</h2>"]
    if section.figure is not None:
        parts.append(_figure(section.figure, name, section))
    if section.notes:
        parts.append(
            '<ul class="notes" aria-label="Notes">' + "".join(f"<li>{escape(note)}</li>" for note in section.notes) + "</ul>"
        )
    parts += [_table(table) for table in section.tables]
    return "\n".join([*parts, "</section>"])


def _figure(figure: Drawn, name: str, section: Section) -> str:
    """The place of a figure, its caption, and what the page's script draws there."""
    from plotly.io.json import to_json_plotly

    from openrlb_analysis.figures.plotly_layout import layout
    from openrlb_analysis.figures.plotly_painter import paint

    painted = paint(figure, IMAGE_WIDTH)
    whole = json.loads(to_json_plotly(painted, engine="json"))
    layouts = {width: layout(figure, width, False) for width in WIDTHS}
    drawing = {
        "data": whole["data"],
        "layouts": [{"width": width, "layout": each} for width, each in layouts.items()],
        "image": {"width": IMAGE_WIDTH, "layout": whole["layout"]},
    }
    file = re.sub(r"[^a-z0-9]+", "-", section.heading.lower()).strip("-")[:60] or name
    buttons = [
        f'<button type="button" data-figure="{name}" data-save="{kind}" data-name="{file}">Save as {kind.upper()}</button>'
        for kind in ("svg", "png")
    ]
    about = f'role="img" aria-label="{escape(alternative_text(figure))}"'
    return "\n".join(
        [
            f'<figure aria-labelledby="{name}-caption">',
            f'<div class="plot" id="{name}" {about} style="min-height:{layouts[WIDTHS[-1]]["height"]}px">',
            "<p>This figure is drawn by a script; its numbers are in the table below.</p></div>",
            f'<div class="tools">{"".join(buttons)}</div>',
            f'<figcaption id="{name}-caption">{escape(" ".join(section.caption))}</figcaption>',
            "</figure>",
            f'<script type="application/json" id="{name}-drawing">{embedded(drawing)}</script>',
        ]
    )


def _table(table: Table) -> str:
    """A table that scrolls by itself on a narrow screen."""
    head = "".join(_cell("th", c.name, c.numeric, ' scope="col"') for c in table.columns)
    rows = []
    for row in table.rows:
        pairs = list(zip(row, table.columns, strict=True))
        first = _cell("th", pairs[0][0], pairs[0][1].numeric, ' scope="row"')
        rows.append(f"<tr>{first}{''.join(_cell('td', text, column.numeric) for text, column in pairs[1:])}</tr>")
    name = escape(table.caption)
    body = (
        f"<table>\n<caption>{name}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n"
        + "\n".join(rows)
        + "\n</tbody>\n</table>"
    )
    region = f'<div class="scroll" role="region" tabindex="0" aria-label="{name}">\n{body}\n</div>'
    return f"<details><summary>{name} ({len(rows):,})</summary>\n{region}\n</details>" if table.folded else region


def _cell(tag: str, text: str, numeric: bool, more: str = "") -> str:
    """A table cell; short texts stay on one line."""
    names = [name for name, wanted in (("number", numeric), ("short", len(text) <= SHORT)) if wanted]
    looks = f' class="{" ".join(names)}"' if names else ""
    return f"<{tag}{looks}{more}>{escape(text)}</{tag}>"


def _excluded(page: Page) -> str:
    runs = page.excluded or ()
    if not runs:
        return "<section>\n<h2>Runs left out</h2>\n<p>None.</p>\n</section>"
    table = Table(f"Runs left out ({len(runs):,})", (Column("Run"), Column("Reason")), tuple((e.run, e.reason) for e in runs))
    return f"<section>\n<h2>Runs left out</h2>\n{_table(table)}\n</section>"


def _provenance(provenance: Provenance) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in provenance.versions.items())
    facts = [("Command", f"<code>{escape(provenance.command)}</code>"), ("Software", escape(versions))]
    if provenance.created:
        facts.append(("Created", escape(provenance.created)))
    facts.append(("Sources", escape(", ".join(provenance.sources) or "none stated")))
    listed = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in facts)
    ids = " ".join(f"<code>{escape(run)}</code>" for run in provenance.run_ids)
    runs = f"<details><summary>Runs that count ({len(provenance.run_ids):,})</summary>\n<p>{ids}</p></details>" if ids else ""
    return f"<section>\n<h2>Where this comes from</h2>\n<dl>{listed}</dl>\n{runs}\n</section>"


def _asset(name: str) -> str:
    return (files("openrlb_analysis.figures") / name).read_text(encoding="utf-8")


def _policy(scripts: list[str]) -> str:
    """A content security policy: only these scripts run, and nothing is fetched from anywhere."""
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes or chr(39) + 'none' + chr(39)}; style-src 'unsafe-inline'; img-src data: blob:"
    )
