"""A figure's files for a paper: the images, and beside them caption, bibliography and numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openrlb.errors import OpenrlbError, StoreUnwritable, UsageError
from openrlb.scrubbing import scrubbed
from openrlb_analysis.figures.caption import caption
from openrlb_analysis.figures.citations import bibliography
from openrlb_analysis.figures.matplotlib_painter import SUFFIXES, image_parts, write_image
from openrlb_analysis.figures.numbers import NumbersFormat, figure_rows, write_numbers
from openrlb_analysis.figures.size import Size

if TYPE_CHECKING:
    from collections.abc import Callable

    from openrlb_analysis.figures.page import Page, Section
    from openrlb_analysis.result import PlotResult


@dataclass(frozen=True, slots=True)
class Written:
    """A file that was written, and what it is."""

    path: Path
    what: str


@dataclass(frozen=True, slots=True)
class Export:
    """How figures become files.

    Attributes:
        output: The first figure's image; its suffix decides the format, the others are named after it.
        size: How large figures are.
        numbers: The format of the numbers.
    """

    output: Path
    size: Size
    numbers: NumbersFormat = "csv"


def write_figures(
    page: Page, result: PlotResult, wanted: Export, measured: Sequence[Mapping[str, Any]] | None = None
) -> tuple[list[Written], list[str]]:
    """Writes every figure of a page, each with its caption and numbers, and the bibliography.

    Args:
        page: Its sections' figures are drawn: the first is ``output`` itself, others carry their heading in their name.
        result: The analysis behind them.
        wanted: Where, how large, and the numbers' format.
        measured: The rows of the first figure's numbers, where they are a measure's; else what is drawn.

    Returns:
        The files in order, and what a reader must know of them.

    Raises:
        UsageError: The suffix is no image's, or there is no figure to draw.
        OpenrlbError: A file cannot be written.
    """
    page, result, measured = scrubbed((page, result, measured))  # papers are read by others
    output, suffix = wanted.output, wanted.output.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"{output} cannot be drawn", f"{suffix!r} is no image", f"end it in {', '.join(SUFFIXES)}")
    sections = [section for section in page.sections if section.figure is not None]
    if not sections:
        notes = " ".join(page.sections[0].notes[:1]) if page.sections else ""
        raise UsageError("there is no figure to draw", notes or "no run counts", "select other runs")
    written: list[Written] = []
    told: list[str] = []
    stems: set[str] = set()
    for index, section in enumerate(sections):
        stem = output.stem if index == 0 else f"{output.stem}-{_slug(section.heading)}"
        stem = stem if stem not in stems else f"{stem}-{index}"
        stems.add(stem)
        files, lacking = _images(section, stem, wanted, page)
        written += files
        told += [note for note in lacking if note not in told]
        names = [one.path.name for one in files]
        text = caption(section.figure, result, names, page.provenance.command)  # type: ignore[arg-type]
        written.append(_text(output.with_name(f"{stem}-caption.tex"), text, "its caption"))
        rows = measured if index == 0 and measured else figure_rows(section.figure)  # type: ignore[arg-type]
        if rows:
            path = output.with_name(f"{stem}-numbers.{wanted.numbers}")
            _write(path, lambda temporary, rows=rows: write_numbers(temporary, rows, wanted.numbers))  # type: ignore[misc]
            written.append(Written(path, "its numbers"))
    written.append(_text(output.with_name(f"{output.stem}-sources.bib"), bibliography(result), "what they rest on, for BibTeX"))
    return written, told


def _images(section: Section, stem: str, wanted: Export, page: Page) -> tuple[list[Written], list[str]]:
    """The images of one figure, which is split where it is taller than a page."""
    figure = section.figure
    if figure is None:
        return [], []
    suffix = wanted.output.suffix.lower()
    parts = image_parts(figure, wanted.size)
    description = " ".join(figure.footer.sentences())
    about = {"title": section.heading, "description": description, "command": page.provenance.command}
    written, told = [], []
    for part, drawn in enumerate(parts, 1):
        path = wanted.output.with_name(f"{stem}{'' if part == 1 else f'-part{part}'}{wanted.output.suffix}")
        notes: list[str] = []
        _write(path, lambda temporary, drawn=drawn, notes=notes: notes.extend(write_image(drawn, temporary, suffix, about)))  # type: ignore[misc]
        told += notes
        written.append(Written(path, section.heading + (f", part {part} of {len(parts)}" if len(parts) > 1 else "")))
    return written, told


def _text(path: Path, text: str, what: str) -> Written:
    _write(path, lambda temporary: temporary.write_text(text, encoding="utf-8", errors="replace"))
    return Written(path, what)


def _write(path: Path, fill: Callable[[Path], object]) -> None:
    """Writes a file whole or not at all.

    Raises:
        OpenrlbError: It cannot be written.
    """
    from openrlb.store.files import writing

    try:
        with writing(path) as temporary:
            fill(temporary)
    except StoreUnwritable as error:
        raise OpenrlbError(f"{path} cannot be written", error.why, "free some space, or name a file elsewhere with -o") from error


def _slug(heading: str) -> str:
    """A heading as part of a file's name.

    >>> _slug("Learning curves by wall time")
    'learning-curves-by-wall-time'
    """
    return re.sub(r"[^a-z0-9]+", "-", heading.casefold()).strip("-")[:60] or "figure"
