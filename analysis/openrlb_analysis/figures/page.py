"""What a page says: headings, figures, tables and provenance as plain records; :mod:`openrlb_analysis.report` writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
class Link:
    """A cell that leads to the :class:`Detail` of this name."""

    text: str
    detail: str


@dataclass(frozen=True, slots=True)
class Trend:
    """A cell with a small line of values, None where there is none, and what a screen reader says of it."""

    values: tuple[float | None, ...]
    about: str


Cell = str | Link | Trend


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts.

    Attributes:
        caption: What the table shows.
        columns: The headings; the first column names the row.
        rows: Cells, as many in each row as there are columns.
        folded: True where a reader must open the table first; for long lists of ids.
        filters: Columns by whose values a reader can choose rows; there is a field to search for text as well then.
        sortable: Whether a reader can sort it by a column.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    folded: bool = False
    filters: tuple[str, ...] = ()
    sortable: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """Rows that a reader can save as CSV or JSON: equal keys, plain values."""

    name: str
    rows: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A small figure of a detail: values along an axis, and what a screen reader says of it."""

    x: Sequence[float]
    y: Sequence[float | None]
    x_title: str
    y_title: str
    caption: str
    about: str


@dataclass(frozen=True, slots=True, eq=False)
class Detail:
    """Everything about one row of a table, shown when a reader asks for it.

    Attributes:
        name: What a :class:`Link` calls it; unique on the page.
        title: Its heading.
        facts: Names and values.
        tables: Its tables; a cell is a text.
        notes: What a reader must know.
        line: A small figure.
        command: What to type to get the same again; empty where nothing does.
        command_note: What the command does, or why there is none.
        shared: Names of tables of the page's :attr:`Section.shared` that belong to it too.
    """

    name: str
    title: str
    facts: tuple[tuple[str, str], ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    line: Line | None = None
    command: str = ""
    command_note: str = ""
    shared: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """A heading with a figure, its caption, its numbers and what must be known.

    Attributes:
        heading: The heading.
        figure: What to draw, or None.
        caption: Sentences below the figure.
        tables: The numbers.
        notes: Sentences a reader must not miss.
        facts: Names and values.
        numbers: What a reader can save: every number of the figure and the tables.
        parts: Sections within it.
        folded: What is said where a reader must open the section's parts first; empty where they are open.
        details: What the links of its tables lead to.
        shared: Tables that several details have, by name.
    """

    heading: str
    figure: Drawn | None = None
    caption: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    numbers: tuple[Numbers, ...] = ()
    parts: tuple[Section, ...] = ()
    folded: str = ""
    details: tuple[Detail, ...] = ()
    shared: Mapping[str, Table] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a page's numbers come from.

    Attributes:
        command: The command line that made the page.
        sources: Where the runs came from.
        run_ids: The runs that count.
        versions: Names and versions of the software.
        created: When, in the caller's words; empty so that equal input gives equal bytes.
        more: Further names and values.
    """

    command: str
    sources: tuple[str, ...]
    run_ids: tuple[str, ...]
    versions: Mapping[str, str]
    created: str = ""
    more: tuple[tuple[str, str], ...] = ()


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
        contents: Whether the page begins with a list of its sections.
    """

    title: str
    headline: str
    sections: tuple[Section, ...]
    provenance: Provenance
    excluded: tuple[Excluded, ...] | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    contents: bool = False
