"""What a page says: headings, figures, tables and provenance as plain records; :mod:`openrlb_analysis.report` writes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from openrlb_analysis.figures.diagram import Drawn
from openrlb_analysis.result import Excluded


@dataclass(frozen=True, slots=True)
class Column:
    """A column's heading, and whether its cells are numbers (set right-aligned)."""

    name: str
    numeric: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts.

    Attributes:
        caption: What the table shows.
        columns: The headings; the first column names the row.
        rows: Cells, as many in each row as there are columns.
        folded: True where a reader must open the table first; for long lists of ids.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    folded: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """A heading with a figure, its caption, its numbers and what must be known.

    Attributes:
        heading: The heading.
        figure: What to draw, or None.
        caption: Sentences below the figure.
        tables: The numbers.
        notes: Sentences a reader must not miss.
    """

    heading: str
    figure: Drawn | None = None
    caption: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a page's numbers come from.

    Attributes:
        command: The command line that made the page.
        sources: Where the runs came from.
        run_ids: The runs that count.
        versions: Names and versions of the software.
        created: When, in the caller's words; empty so that equal input gives equal bytes.
    """

    command: str
    sources: tuple[str, ...]
    run_ids: tuple[str, ...]
    versions: Mapping[str, str]
    created: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """A whole page.

    Attributes:
        title: The page's title.
        headline: One or two sentences that say what is shown.
        sections: The page's content, in order.
        provenance: Where it comes from.
        excluded: Every run that was left out; None where runs are not the page's subject.
        data: The result as JSON values, embedded for scripts; numbers that are not finite become null.
    """

    title: str
    headline: str
    sections: tuple[Section, ...]
    provenance: Provenance
    excluded: tuple[Excluded, ...] | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
