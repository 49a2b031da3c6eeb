"""The only HTML writer: one self-contained file with figures, numbers and provenance; nothing is loaded from a network.

Everything that a user or a log file supplied is escaped, and a content security policy lets no script run but this module's
own, so that a hostile label can do nothing even in a browser with a fault. Equal input gives equal bytes. Secrets, e-mail
addresses and home folders are taken out of every page (:mod:`openrlb.scrubbing`): pages are sent to others.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path

from openrlb.errors import OpenrlbError, StoreUnwritable
from openrlb.paths import cache_dir
from openrlb.scrubbing import scrubbed
from openrlb.store.files import writing
from openrlb_analysis.figures.alternative_text import alternative_text
from openrlb_analysis.figures.diagram import Drawn
from openrlb_analysis.figures.page import Column, Page, Provenance, Section, Table
from openrlb_analysis.figures.plot_page import plot_page
from openrlb_analysis.pages.elements import downloads, facts, notes, slug, table
from openrlb_analysis.pages.packed import embedded, packed, typed

__all__ = ["Column", "Page", "Provenance", "Section", "Table", "html", "plot_page", "write_page"]

LEFT_OUT, ORIGIN = "Runs left out", "Where this comes from"
WIDTHS = (340, 600, 960)
"""The widths, in pixels, that figures are arranged for: a phone, a tablet, a desk."""
IMAGE_WIDTH = 1000
LIBRARY_LEVEL = 6  # 9 takes a third longer for 0.2 % of the bytes


def write_page(path: Path, page: Page) -> None:
    """Writes a page as one HTML file, whole or not at all.

    Args:
        path: The file; its folder is made where it is missing.
        page: What it says.

    Raises:
        OpenrlbError: The file cannot be written: no permission, no space, a read-only disk.
    """
    content = html(page).encode("utf-8", "replace")  # a file name may hold bytes that are no text
    try:
        with writing(path) as temporary:
            temporary.write_bytes(content)
    except (StoreUnwritable, OSError) as error:
        why = error.why if isinstance(error, StoreUnwritable) else error.strerror or str(error)
        raise OpenrlbError(f"{path} cannot be written", why, "free some space, or name a file elsewhere with -o") from error


def html(page: Page) -> str:
    """The page as HTML text; equal pages give equal text."""
    page = scrubbed(page)
    taken: set[str] = set()
    sections = [_section(section, taken) for section in page.sections]
    if page.excluded is not None:
        sections.append(_section(_excluded(page), taken))
    sections.append(_provenance(page.provenance, taken))
    every = list(_every(page.sections))
    drawing = any(one.figure or one.details for one in every)
    moving = any(one.numbers or one.details or any(each.filters for each in one.tables) for one in every)
    library, allowed = _library() if drawing else ("", "")
    scripts = [_asset("pages", "unpack.js")] if drawing or moving else []
    scripts += [_asset("figures", "page.js")] if drawing else []
    scripts += [_asset("pages", "report.js")] if moving else []
    digests = [_digest(script.encode()) for script in scripts]
    style = _asset("figures", "page.css") + (_asset("pages", "report.css") if moving or page.contents else "")
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_policy([*digests, allowed])}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            '<meta name="referrer" content="no-referrer">',
            '<link rel="icon" href="data:,">',
            f"<title>{escape(page.title)}</title>",
            f"<style>\n{style}</style>",
            "</head>",
            "<body>",
            *(['<a class="skip" href="#content">Skip to the content</a>'] if page.contents else []),
            f'<header>\n<h1>{escape(page.title)}</h1>\n<p class="headline">{escape(page.headline)}</p>\n</header>',
            *([_contents(page)] if page.contents else []),
            '<main id="content">',
            *sections,
            "</main>",
            f'<script type="application/json" id="openrlb-data">{embedded(page.data)}</script>',
            *([f'<script type="application/json" id="plotly-library">"{library}"</script>'] if drawing else []),
            *(f"<script>{script}</script>" for script in scripts),
            "</body>",
            "</html>",
            "",
        ]
    )


def _every(sections: Iterable[Section]) -> Iterator[Section]:
    """Sections with everything in them."""
    for section in sections:
        yield section
        yield from _every(section.parts)


def _contents(page: Page) -> str:
    """A list of the page's sections; it names them just as they are named when they are written."""
    taken: set[str] = set()
    links = []
    for section in page.sections:
        links.append((_named(section, taken), section.heading))
        for part in _every(section.parts):
            _named(part, taken)
    links += [(slug(heading, taken), heading) for heading in ([LEFT_OUT] if page.excluded is not None else []) + [ORIGIN]]
    items = "".join(f'<li><a href="#{name}">{escape(heading)}</a></li>' for name, heading in links)
    return f'<nav aria-label="Contents"><ul>{items}</ul></nav>'


def _named(section: Section, taken: set[str]) -> str:
    return slug(section.heading, taken)


def _section(section: Section, taken: set[str], level: int = 2) -> str:
    """A section with its parts, whose headings are a level lower."""
    name = _named(section, taken)
    parts = [facts(section.facts)]
    if section.figure is not None:
        parts.append(_figure(section.figure, f"figure-{name}", section))
    elif section.caption:
        parts.append(f"<p>{escape(' '.join(section.caption))}</p>")
    parts.append(notes(section.notes))
    parts += [table(one) for one in section.tables]
    if section.details:
        parts.append(_details(section, name))
    parts.append(downloads(section.numbers, name))
    inner = "\n".join(_section(part, taken, min(level + 1, 6)) for part in section.parts)
    if section.folded:
        inner = f'<details class="folded"><summary>{escape(section.folded)}</summary>\n{inner}\n</details>'
    heading = f"<h{level}>{escape(section.heading)}</h{level}>"
    return "\n".join(one for one in (f'<section id="{name}">', heading, *parts, inner, "</section>") if one)


def _details(section: Section, name: str) -> str:
    """Where the details of a table's rows are shown, and what they are, compressed."""
    data = packed({"details": section.details, "shared": section.shared})
    return (
        f'<div id="detail" class="detail" data-home="{name}" hidden></div>\n'
        f'<script type="application/json" id="detail-data">"{data}"</script>'
    )


def _figure(figure: Drawn, name: str, section: Section) -> str:
    """The place of a figure, its caption, and what the page's script draws there."""
    from openrlb_analysis.figures.plotly_layout import layout
    from openrlb_analysis.figures.plotly_painter import traces

    layouts = {width: layout(figure, width, False) for width in WIDTHS}
    drawing = {
        "data": [typed(trace) for trace in traces(figure)],
        "layouts": [{"width": width, "layout": each} for width, each in layouts.items()],
        "image": {"width": IMAGE_WIDTH, "layout": {**layout(figure, IMAGE_WIDTH, True), "width": IMAGE_WIDTH}},
    }
    file = slug(section.heading)
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
            f'<script type="application/json" id="{name}-drawing">"{packed(drawing)}"</script>',
        ]
    )


def _excluded(page: Page) -> Section:
    """The runs that do not count."""
    runs = page.excluded or ()
    if not runs:
        return Section(LEFT_OUT, caption=("None.",))
    rows = tuple((e.run, e.reason) for e in runs)
    return Section(LEFT_OUT, tables=(Table(f"Runs left out ({len(runs):,})", (Column("Run"), Column("Reason")), rows),))


def _provenance(provenance: Provenance, taken: set[str]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in provenance.versions.items())
    told = [("Command", provenance.command), ("Software", versions)]
    if provenance.created:
        told.append(("Created", provenance.created))
    told += [("Sources", ", ".join(provenance.sources) or "none stated"), *provenance.more]
    ids = " ".join(f"<code>{escape(run)}</code>" for run in provenance.run_ids)
    runs = f"<details><summary>Runs that count ({len(provenance.run_ids):,})</summary>\n<p>{ids}</p></details>" if ids else ""
    return f'<section id="{slug(ORIGIN, taken)}">\n<h2>{ORIGIN}</h2>\n{facts(told, ("Command",))}\n{runs}\n</section>'


def _asset(folder: str, name: str) -> str:
    return (files(f"openrlb_analysis.{folder}") / name).read_text(encoding="utf-8")


@cache
def _library() -> tuple[str, str]:
    """The library that draws, compressed to a third, and the digest under which a page's policy lets it run.

    To compress it takes 0.14 s, a tenth of a large figure: it is kept in the cache, by its own digest and with that of what
    is kept, so that neither another version's nor a damaged one is taken for it.
    """
    script = _plotly_js()
    digest = _digest(script)
    name = hashlib.sha256(f"{digest} {LIBRARY_LEVEL}".encode()).hexdigest()[:16]
    kept = cache_dir() / "pages" / f"plotly-{name}.txt"
    with suppress(OSError, ValueError):
        proof, content = kept.read_bytes().split(b"\n")
        if proof.decode("ascii") == _digest(content):
            return content.decode("ascii"), digest
    packed_script = packed(script.decode("utf-8"), LIBRARY_LEVEL)
    with suppress(OSError, OpenrlbError), writing(kept) as temporary:
        temporary.write_text(f"{_digest(packed_script.encode())}\n{packed_script}", encoding="ascii")
    return packed_script, digest


def _plotly_js() -> bytes:
    """What ``plotly.offline.get_plotlyjs`` reads, as it lies in the package: to import that takes longer than the rest."""
    return (files("plotly") / "package_data" / "plotly.min.js").read_bytes()


def _digest(script: bytes) -> str:
    """A script's digest as a content security policy writes it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"


def _policy(digests: Sequence[str]) -> str:
    """A content security policy: only the scripts of these digests run, and nothing is fetched from anywhere."""
    allowed = " ".join(filter(None, digests)) or "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
