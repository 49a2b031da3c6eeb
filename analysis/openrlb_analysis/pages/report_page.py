"""Composes the page of ``openrlb report``: what was selected, its results, every figure, studies, runs, and their origin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from openrlb_analysis.figures.footer import MOST_CUTS, cuts_of, kind_words
from openrlb_analysis.figures.measure_tables import measure_rows
from openrlb_analysis.figures.numbers import figure_rows
from openrlb_analysis.figures.page import Column, Detail, Numbers, Page, Provenance, Section, Table
from openrlb_analysis.figures.plot_page import SOFTWARE, headline, plot_page
from openrlb_analysis.figures.spec import CurvesFigure, environments_of
from openrlb_analysis.figures.words import bounds_words, count, listed, metric_name, seeds, short_steps, unit_name
from openrlb_analysis.measured import CriticalDifferences, Efficiencies, Profiles
from openrlb_analysis.pages.thinning import thinned

if TYPE_CHECKING:
    from openrlb_analysis.measured import Measure
    from openrlb_analysis.result import CurvesResult, PlotResult

MOST_NAMED = 12
MOST_ROWS = 12
"""A figure's table with more rows than these is opened by those who want to read it."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric that has a figure of its own."""

    result: PlotResult
    measure: Measure


@dataclass(frozen=True, slots=True)
class NotDrawn:
    """A figure that the selection does not allow.

    Attributes:
        figure: Its metric.
        what: What is missing.
        fix: What would bring it.
    """

    figure: str
    what: str
    fix: str


@dataclass(frozen=True, slots=True, eq=False)
class ReportContent:
    """What a report is made of.

    Attributes:
        title: Its title; a sentence of the selection where empty.
        selected: What was asked for, in words.
        command: What was typed.
        result: The aggregate of every group.
        beside: Further aggregates.
        curves: Learning curves.
        measured: The metrics with figures of their own.
        not_drawn: Those that could not be computed, with the reason.
        runs: The table of runs.
        details: What its links lead to.
        shared: Tables that several details have.
        run_rows: Everything about the runs, to save.
        studies: Sections about studies.
        facts: Further names and values for the summary.
        origin: Further names and values of where it comes from.
    """

    title: str
    selected: str
    command: str
    result: PlotResult
    beside: tuple[PlotResult, ...]
    curves: tuple[CurvesResult, ...]
    measured: tuple[Measured, ...]
    not_drawn: tuple[NotDrawn, ...]
    runs: Table
    details: tuple[Detail, ...]
    shared: Mapping[str, Table]
    run_rows: Sequence[Mapping[str, Any]]
    studies: tuple[Section, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    origin: tuple[tuple[str, str], ...] = field(default_factory=tuple)


def report_page(content: ReportContent) -> Page:
    """The page of a report.

    Args:
        content: What it is made of.
    """
    result = content.result
    main = plot_page(result, content.curves, content.command, None, content.beside)
    figures = [_with_numbers(section, result, content.curves) for section in main.sections]
    said = {note for section in figures for note in section.notes}
    for one in content.measured:
        figures.append(_measured(one, said))
        said |= set(figures[-1].notes)
    sections = [Section("Summary", facts=_summary(content)), *figures]
    if content.not_drawn:
        sections.append(_not_drawn(content.not_drawn))
    if content.studies:
        sections.append(Section("Studies", parts=content.studies))
    sections.append(
        Section(
            "Runs",
            tables=(content.runs,),
            details=content.details,
            shared=content.shared,
            numbers=_numbers("Every run", content.run_rows),
        )
    )
    used = tuple(dict.fromkeys(run for group in result.groups for entry in group.per_env for run in entry.run_ids))
    provenance = Provenance(content.command, result.sources, used, {name: version(name) for name in SOFTWARE}, "", content.origin)
    data = {
        **asdict(result),
        "beside": [asdict(one) for one in content.beside],
        "not_drawn": [asdict(one) for one in content.not_drawn],
    }
    title = content.title or f"{main.title}: {listed(environments_of(result), 3)}"
    return Page(title, headline(result), tuple(sections), provenance, result.excluded, data, contents=True)


def _summary(content: ReportContent) -> tuple[tuple[str, str], ...]:
    """What was selected and how it was scored."""
    result = content.result
    entries = [entry for group in result.groups for entry in group.per_env]
    counted = sum(entry.runs for entry in entries)
    sizes = sorted({entry.runs for entry in entries}) or [0]
    each = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    numbers = sorted({seed for entry in entries for seed in entry.seeds}, key=lambda seed: (seed is None, seed or 0))
    how, envs = result.interval, environments_of(result)
    aggregates = [metric_name(one.metric) for one in (result, *content.beside)]
    facts = [
        ("Selected", content.selected),
        ("Groups", f"{len(result.groups)}: {listed((group.label for group in result.groups), MOST_NAMED)}"),
        ("Environments", f"{len(envs)}: {listed(envs, MOST_NAMED)}"),
        ("Runs", f"{counted:,} counted, {each} per group and environment; {len(result.excluded):,} left out"),
        ("Seeds", seeds(numbers) if len(numbers) <= 60 else f"{count(len(numbers), 'seed')}, {numbers[0]} to {numbers[-1]}"),
        ("Quantity", f"{result.of}{kind_words(result.kind)}"),
        ("Statistic", listed(aggregates)),
        ("Score of a run", f"rule {result.rule}"),
        ("Cut", _cut(result)),
        ("Interval", f"{how.level * 100:g} % {how.note or how.method}; {how.resamples:,} resamples, seed {how.seed}"),
        ("Normalisation", "none" if result.normalization in ("", "none") else result.normalization),
        ("Standard deviations", f"ddof {result.ddof}"),
    ]
    if result.bounds:
        facts.append(("Bounds of scores", bounds_words(result.bounds)))
    return (*facts, *content.facts)


def _cut(result: PlotResult) -> str:
    """Where scores are read."""
    cuts, unit = cuts_of(result.step, result.cut_cause), unit_name(result.step_unit)
    if not cuts:
        return "none: the values carry no steps"
    if len(cuts) > MOST_CUTS:
        ends = sorted(cut.step for cut in cuts)
        return (
            f"{short_steps(ends[0])} to {short_steps(ends[-1])} {unit}, chosen for each environment (the table below the scores)"
        )
    told = [f"{short_steps(cut.step)} {unit} in {listed(cut.envs, 4)}" + (f" ({cut.cause})" if cut.cause else "") for cut in cuts]
    return "; ".join(told)


def _with_numbers(section: Section, result: PlotResult, curves: Sequence[CurvesResult]) -> Section:
    """A section of the result with what can be saved of it."""
    figure = section.figure
    if isinstance(figure, CurvesFigure):
        drawn, told = thinned(figure)
        return replace(
            section,
            figure=drawn,
            caption=(*section.caption, *([told] if told else [])),
            numbers=_numbers(section.heading, figure_rows(figure)),
        )
    if figure is None:
        return section
    rows = figure_rows(figure)
    scores = [
        {"label": group.label, "env": entry.env, "run": run, "seed": seed, "score": score}
        for group in result.groups
        for entry in group.per_env
        for run, seed, score in zip(entry.run_ids, entry.seeds, entry.scores, strict=True)
    ]
    return replace(section, numbers=(*_numbers(section.heading, rows), *_numbers("Scores of every run", scores)))


def _measured(one: Measured, said: set[str]) -> Section:
    """A metric's own figure, without the notes that stand elsewhere."""
    section = plot_page(one.result, (), "", one.measure).sections[0]
    notes = tuple(note for note in section.notes if note not in said)
    figure, told = section.figure, ""
    if isinstance(figure, CurvesFigure) and not figure.bars:
        figure, told = thinned(figure)
    caption = (*section.caption, *([told] if told else []))
    rows = measure_rows(one.measure)
    name = metric_name(one.result.metric)
    shown = f"{name[:1].upper()}{name[1:]}"
    if isinstance(one.measure, Profiles | Efficiencies):
        listed, every = len(section.tables[0].rows), len(rows)
        shown += f": {listed:,} of {every:,} positions; all are in the numbers to save" if listed < every else ""
    elif isinstance(one.measure, CriticalDifferences):
        shown += "; the numbers to save are every pair with its p-value"
    tables = tuple(replace(table, caption=shown, folded=len(table.rows) > MOST_ROWS) for table in section.tables)
    return replace(section, figure=figure, caption=caption, notes=notes, tables=tables, numbers=_numbers(section.heading, rows))


def _numbers(name: str, rows: Sequence[Mapping[str, Any]]) -> tuple[Numbers, ...]:
    return (Numbers(name, rows),) if rows else ()


def _not_drawn(missing: Sequence[NotDrawn]) -> Section:
    """Figures that there are not, equal reasons together."""
    together: dict[tuple[str, str], list[str]] = {}
    for one in missing:
        what = one.what.removeprefix(f"{one.figure} ")
        together.setdefault((what, one.fix), []).append(metric_name(one.figure))
    rows = tuple((listed(figures), what, fix) for (what, fix), figures in together.items())
    columns = (Column("Figure"), Column("Why there is none"), Column("What would bring it"))
    return Section("Figures that are not drawn", tables=(Table("Figures that these runs do not allow", columns, rows),))
