"""``report``: one page with everything about some runs, to be read, kept and sent to others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from openrlb.api.opened import given
from openrlb.api.plot import Gathered, PlotAnswer, PlotOptions, answered, gathered
from openrlb.errors import OpenrlbError, UsageError
from openrlb.store import Store
from openrlb.types import Selection

if TYPE_CHECKING:
    from openrlb.types import Curve
    from openrlb_analysis.pages.report_page import Measured, NotDrawn

SUFFIXES = (".html", ".htm")
FURTHER = (
    *("poi", "win-rate", "rank", "critical-difference", "slopes", "profile", "efficiency", "steps-to-threshold"),
    *("interval-width", "runtime"),
)
"""The metrics with figures of their own, in the order of the page."""
MOST_IN_PAIRS = 8
"""Pairs of more groups than these are shown in a matrix only."""


@dataclass(frozen=True, slots=True)
class ReportAnswer:
    """A report that was written.

    Attributes:
        path: The page.
        size: Its bytes.
        runs: The selected runs, those that do not count as well.
        counted: How many of them count.
        groups: The groups' labels.
        figures: The headings of the sections that have a figure, studies aside.
        not_drawn: The figures that the runs do not allow, with the reason.
        studies: How many studies it shows.
        notes: What a reader must know.
    """

    path: Path
    size: int
    runs: int
    counted: int
    groups: tuple[str, ...]
    figures: tuple[str, ...]
    not_drawn: tuple[NotDrawn, ...]
    studies: int
    notes: tuple[str, ...] = ()


def report(
    selection: Selection | None = None,
    options: PlotOptions | None = None,
    *,
    output: str | Path = "report.html",
    title: str = "",
    orlb_filters: Sequence[str] = (),
    command: str = "",
    storage: str | None = None,
    store: Store | None = None,
) -> ReportAnswer:
    """Writes one self-contained page about the selected runs: results, every figure, studies, each run, and their origin.

    Args:
        selection: Which runs; all by default, reproductions never.
        options: How they are scored and grouped; its metric and those beside it are the page's first figure.
        output: The page.
        title: Its title; what is shown by default.
        orlb_filters: rlops' filter strings, which narrow the selection.
        command: What a reader types to get the page again.
        storage: The database of the studies; the file in the store by default.
        store: The user's own store by default.

    Raises:
        NothingMatched: No run fits, or none logged the quantity.
        SelectionError: The runs cannot be grouped or compared as asked.
        UsageError: Words that have no meaning, or a file that is no page.
        OpenrlbError: The page cannot be written.
    """
    from openrlb.api.report_origin import origin_facts, packages_of, run_facts
    from openrlb.api.report_runs import report_runs
    from openrlb.api.report_studies import report_studies
    from openrlb_analysis.pages.report_page import ReportContent, report_page
    from openrlb_analysis.report import write_page

    selection, options, output = given(selection, Selection, "selection"), given(options, PlotOptions, "options"), Path(output)
    check(output, options)
    runs = gathered(selection, options, orlb_filters=orlb_filters, store=store)
    main = answered(runs, options, curves=True)
    measured, missing = _further(runs, options, main)
    every = sorted(
        (*runs.rows, *runs.kept_out), key=lambda row: (row.record.algo, row.record.env, row.record.seed or 0, row.record.run)
    )
    packages = packages_of(runs.store)
    shown = report_runs(every, [*runs.found, *_kept_out(runs, selection)], main.result, packages, runs.store)
    studies = report_studies({row.record.run for row in every}, runs.store, storage)
    content = ReportContent(
        title=title,
        selected=selected_words(selection, orlb_filters),
        command=command,
        result=main.result,
        beside=main.beside,
        curves=main.curves,
        measured=measured,
        not_drawn=missing,
        runs=shown.table,
        details=shown.details,
        shared=shown.shared,
        run_rows=shown.rows,
        studies=studies,
        facts=run_facts(every, packages),
        origin=origin_facts(every, runs.store),
    )
    page = report_page(content)
    write_page(output, page)
    figures = tuple(section.heading for section in page.sections if section.figure is not None)
    labels = tuple(group.label for group in main.result.groups)
    counted, shown_studies = len(page.provenance.run_ids), sum(bool(section.folded) for section in studies)
    return ReportAnswer(
        output, output.stat().st_size, len(every), counted, labels, figures, missing, shown_studies, main.result.notes
    )


def check(output: Path, options: PlotOptions) -> None:
    """Refuses what makes no report, before anything is read.

    Args:
        output: The page.
        options: How runs are scored.

    Raises:
        UsageError: The file is no page, or the metric is one of those that every report has.
        StoreUnwritable: The page cannot be written.
    """
    from openrlb.store.files import check_writable

    if output.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{output} cannot be written", "a report is a page", "end -o in .html (openrlb plot -o draws images)")
    if options.metric in FURTHER:
        fix = "name iqm, mean, median, optimality-gap, cvar or iqr, or several with commas"
        raise UsageError(f"--metric {options.metric} is no aggregate", "a report has a figure of it anyway", fix)
    check_writable(output)


def _kept_out(runs: Gathered, selection: Selection) -> list[Curve]:
    """The curves of runs that a study chose by: they do not count, and are shown."""
    roles = tuple(sorted({row.record.role for row in runs.kept_out}))
    logged = sorted({(curve.metric.name, curve.metric.kind) for curve in runs.found})
    return runs.store.curves(replace(selection, role=roles), logged) if roles else []


def _further(runs: Gathered, options: PlotOptions, main: PlotAnswer) -> tuple[tuple[Measured, ...], tuple[NotDrawn, ...]]:
    """Every metric with a figure of its own that the runs allow, and the others with the reason."""
    from openrlb_analysis.aggregates import AGGREGATES
    from openrlb_analysis.pages.report_page import Measured, NotDrawn

    options = replace(options, beside=(), aggregate=options.metric if options.metric in AGGREGATES else options.aggregate)
    found, missing = [], []
    for name in FURTHER:
        if name == "win-rate" and len(main.result.groups) == 2:
            continue  # of two groups it is the probability of improvement, drawn twice
        if name == "poi" and len(main.result.groups) > MOST_IN_PAIRS:
            pairs = len(main.result.groups) * (len(main.result.groups) - 1) // 2
            what = f"{pairs:,} pairs are more rows than anybody reads, and the matrix of win rates has the same numbers"
            missing.append(NotDrawn(name, what, f"select {MOST_IN_PAIRS} groups or fewer"))
            continue
        try:
            one = answered(runs, replace(options, metric=name))
        except OpenrlbError as error:
            missing.append(NotDrawn(name, f"{error.what} ({error.why})", error.fix))
            continue
        if one.measure is not None:
            found.append(Measured(one.result, one.measure))
    return tuple(found), tuple(missing)


def selected_words(selection: Selection, orlb_filters: Sequence[str] = ()) -> str:
    """A selection as its flags.

    Args:
        selection: Which runs.
        orlb_filters: rlops' filter strings.

    >>> selected_words(Selection(env=("Hopper",), seed=(1, 2))), selected_words(Selection())
    ('--env Hopper --seed 1 --seed 2', 'every stored run')
    """
    words: list[str] = []
    for name in ("env", "algo", "impl", "seed", "tag", "source", "role"):
        words += [word for value in getattr(selection, name) for word in (f"--{name}", quote(str(value)))]
    for name in ("where", "since"):
        words += [f"--{name}", quote(value)] if (value := getattr(selection, name)) else []
    words += [word for value in orlb_filters for word in ("--orlb-filter", quote(value))]
    return " ".join(words) or "every stored run"
