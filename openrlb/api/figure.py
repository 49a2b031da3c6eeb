"""``plot -o``: an answer's figures as a page, or as images for a paper with caption, sources and numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from openrlb.errors import UsageError

if TYPE_CHECKING:
    from openrlb.api.plot import PlotAnswer
    from openrlb_analysis.figures.export import Written
    from openrlb_analysis.figures.numbers import NumbersFormat
    from openrlb_analysis.figures.page import Page

PAGE_SUFFIXES = (".html", ".htm")
IMAGE_SUFFIXES = (".pdf", ".png", ".svg")


def save_figure(
    answer: PlotAnswer,
    path: str | Path,
    *,
    size: str = "page",
    numbers: NumbersFormat = "csv",
    log_x: bool = False,
    command: str = "",
) -> tuple[list[Written], list[str]]:
    """Writes the figures of an answer.

    Args:
        answer: What :func:`openrlb.plot` gave.
        path: The file: ``.html`` for one page with everything in it; ``.pdf``, ``.png`` or ``.svg`` for images, each with its
            caption (LaTeX) and its numbers beside it, and one bibliography (BibTeX).
        size: An image's size: ``column``, ``page``, or ``WxHmm``.
        numbers: The format of the numbers beside images.
        log_x: Draw curves along a logarithmic axis.
        command: What a reader types to get the figure again; it is kept with it.

    Returns:
        The files that were written, and what a reader must know of them.

    Raises:
        UsageError: A size or a suffix that there is not, nothing to draw, or what is no answer of :func:`openrlb.plot`.
        OpenrlbError: A file cannot be written.
    """
    from openrlb.api.plot import PlotAnswer
    from openrlb_analysis.figures.export import Export, Written, write_figures
    from openrlb_analysis.figures.measure_tables import measure_rows
    from openrlb_analysis.figures.size import size_of
    from openrlb_analysis.report import plot_page, write_page

    if not isinstance(answer, PlotAnswer):
        why = f"it is a {type(answer).__name__}: {str(answer)[:60]!r}"
        raise UsageError("answer is nothing that can be drawn", why, "give what openrlb.plot(...) returned")
    path = Path(path)
    told: list[str] = []
    page = plot_page(answer.result, answer.curves, command, answer.measure, answer.beside)
    if log_x:
        page, told = _logarithmic(page)
    if path.suffix.lower() in PAGE_SUFFIXES:
        write_page(path, page)
        return [Written(path, "the page")], told
    measured = None if answer.measure is None else measure_rows(answer.measure)
    written, notes = write_figures(page, answer.result, Export(path, size_of(size), numbers), measured)
    return written, [*told, *notes]


def _logarithmic(page: Page) -> tuple[Page, list[str]]:
    """The page with curves along logarithmic axes; and what is said where it has none."""
    from openrlb_analysis.figures.spec import CurvesFigure, with_log_x

    sections = []
    for section in page.sections:
        figure = with_log_x(section.figure) if isinstance(section.figure, CurvesFigure) else None
        sections.append(section if figure is None else replace(section, figure=figure, caption=figure.footer.sentences()))
    if all(one is other for one, other in zip(sections, page.sections, strict=True)):
        return page, ["no x axis is logarithmic: no figure here has curves along steps, time or seeds"]
    return replace(page, sections=tuple(sections)), []
