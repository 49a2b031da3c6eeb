"""Composes the page of ``openrlb plot``: figures, their numbers, what was left out, and where it all comes from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from openrlb_analysis.figures.alternative_text import last_known
from openrlb_analysis.figures.footer import cuts_of, kind_words
from openrlb_analysis.figures.measure_figures import measure_figure, title_of
from openrlb_analysis.figures.measure_tables import shown_rows
from openrlb_analysis.figures.page import Column, Page, Provenance, Section, Table
from openrlb_analysis.figures.spec import (
    curves_figure,
    environments_of,
    interval_figure,
    is_pooled,
    metrics_figure,
    normalised_words,
    value_title,
)
from openrlb_analysis.figures.words import count, listed, metric_name, number, seeds, sentence, short_steps, unit_name
from openrlb_analysis.measured import RunTimes, Slopes

if TYPE_CHECKING:
    from openrlb.types import Values
    from openrlb_analysis.figures.spec import CurvesFigure
    from openrlb_analysis.measured import Measure
    from openrlb_analysis.result import CurvesResult, EnvResult, GroupResult, PlotResult

SOFTWARE = ("openrlb", "numpy", "polars", "plotly")
OF_CURVES = ("efficiency", "steps-to-threshold", "runtime")
"""Metrics of whole curves, which use no score."""
CURVE_DIGITS = 7
_POWERS = tuple(float(10**power) for power in range(23))  # those that a float holds exactly, so that a quotient rounds once
"""Significant digits of the curves in the page's JSON; scores keep all of theirs."""


def plot_page(
    result: PlotResult,
    curves: Sequence[CurvesResult],
    command: str,
    measured: Measure | None = None,
    beside: Sequence[PlotResult] = (),
) -> Page:
    """The page of an analysis.

    Args:
        result: The analysis.
        curves: Its learning curves, one entry for each kind of x axis; may be empty.
        command: The command line that was typed, for the provenance.
        measured: What its metric has beside one number for each group.
        beside: Further aggregates of the same scores.
    """
    pooled = is_pooled(result)
    sections = (
        _together(result, beside) if beside else [_scores(result, pooled)] if measured is None else _measured(result, measured)
    )
    if pooled and measured is None:
        figure = interval_figure(result, "environments")
        sections.append(Section("Scores by environment", figure, figure.footer.sentences(), (_by_environment(result),)))
    sections += [_learning_curves(entry, result) for entry in curves]
    used = [run for group in result.groups for entry in group.per_env for run in entry.run_ids]
    provenance = Provenance(command, result.sources, tuple(dict.fromkeys(used)), {name: version(name) for name in SOFTWARE})
    data: dict[str, Any] = {**asdict(result), "beside": [asdict(one) for one in beside]} if beside else asdict(result)
    data = {**data, "curves": [_curves_json(entry) for entry in curves]}
    if measured is not None:
        data[measured.key] = asdict(measured)
    title = value_title(result)
    return Page(title[:1].upper() + title[1:], headline(result), tuple(sections), provenance, result.excluded, data)


def headline(result: PlotResult) -> str:
    """What is plotted, in words."""
    runs = {run for group in result.groups for entry in group.per_env for run in entry.run_ids}
    how = result.interval
    cuts = set(result.step.values())
    at = (
        f" of the first {short_steps(next(iter(cuts)))} {unit_name(result.step_unit)}"
        if len(cuts) == 1
        else " of each environment's cut"
    )
    scored = f"one score per run by the rule {result.rule}" if result.metric not in OF_CURVES else "from every value"
    shown = f"{value_title(result)}{kind_words(result.kind)}, {scored}{at if cuts else ''}"
    intervals = ("poi", "win-rate", "profile", "slopes", "interval-width")
    pooled = any(group.low is not None for group in result.groups) or result.metric in intervals
    pooled = pooled and result.metric != "rank"
    some = pooled or any(entry.low is not None for group in result.groups for entry in group.per_env)
    interval = f"with {how.level * 100:g} % {how.method} bootstrap intervals" if some else "without intervals"
    sizes = [
        count(len(result.groups), "group"),
        count(len(environments_of(result)), "environment"),
        f"{count(len(runs), 'run')} counted",
        f"{count(len(result.excluded), 'run')} left out",
    ]
    return f"{sentence(f'{shown}, {interval}')} {', '.join(sizes)}."


def _scores(result: PlotResult, pooled: bool) -> Section:
    """The first figure with its numbers and every note."""
    figure = interval_figure(result)
    if not figure.panels:
        return Section("Scores", notes=("No run counts, so there is no score.", *result.notes))
    tables = [_pooled(result) if pooled else _by_environment(result)]
    if len(cuts_of(result.step, result.cut_cause)) > 1:
        tables.append(_cuts(result))
    heading = f"Scores {figure.panels[0].title}" if pooled else "Scores"
    return Section(heading, figure, figure.footer.sentences(), tuple(tables), result.notes)


def _together(result: PlotResult, beside: Sequence[PlotResult]) -> list[Section]:
    """Several aggregates side by side, with the numbers of each."""
    every = (result, *beside)
    figure = metrics_figure(every)
    heading = f"{listed([metric_name(one.metric) for one in every])} of {result.of}"
    tables = tuple(_pooled(one) if is_pooled(one) else _by_environment(one) for one in every)
    notes = tuple(dict.fromkeys(note for one in every for note in one.notes))
    return [Section(heading[:1].upper() + heading[1:], figure, figure.footer.sentences(), tables, notes)]


def _measured(result: PlotResult, measured: Measure) -> list[Section]:
    """A measure's figure with its numbers and every note, and the scores that it was computed from."""
    figure = measure_figure(measured, result)
    rows, more = shown_rows(measured)
    columns = tuple(Column(name.replace("_", " ").capitalize(), not isinstance(first, str)) for name, first in rows[0].items())
    cells = tuple(tuple(_cell(name, value) for name, value in row.items()) for row in rows)
    name = metric_name(result.metric)
    numbers = Table(f"{name[:1].upper()}{name[1:]}" + (f" ({more})" if more else ""), columns, cells)
    apart = isinstance(measured, Slopes | RunTimes) and len(measured.envs) > 1
    over = f"in {len(measured.envs)} environments" if apart else title_of(measured.envs)
    heading = f"{name[:1].upper()}{name[1:]}, {over}"
    section = Section(heading, figure, figure.footer.sentences(), (numbers,), result.notes)
    beside = f"Scores of {result.of}{normalised_words(result.normalization)}, rule {result.rule}"
    return [section, Section("Scores by environment", tables=(_by_environment(result, beside),))]


def _cell(name: str, value: object) -> str:
    """A number of a measure as a table shows it."""
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return "-" if value is None else f"{value:,.0f}" if name == "x" and float(str(value)) >= 1000 else number(float(str(value)))


def _pooled(result: PlotResult) -> Table:
    columns = (Column("Group"), Column("Environments", True), Column("Runs", True), *_estimate(result))
    envs = f"{len(result.pooled_envs):,}"
    rows = [(g.label, envs, f"{result.pooled_runs(g):,}", number(g.value), _interval(g)) for g in result.groups]
    return Table(f"{value_title(result)}, pooled", columns, tuple(rows))


def _by_environment(result: PlotResult, title: str = "") -> Table:
    """One row for each group and environment, environments together; of a measure these are the scores it is about."""
    order = environments_of(result)
    entries = [(group.label, entry) for env in order for group in result.groups for entry in group.per_env if entry.env == env]
    valued = any(entry.value is not None for _, entry in entries)
    more = [column for column in (Column("Mean", True), Column("IQM", True)) if column.name.lower() != result.metric]
    columns = (
        Column("Group"),
        Column("Environment"),
        Column("Runs", True),
        Column("Seeds"),
        *(_estimate(result) if valued else ()),
        *more,
        Column(f"Std (ddof {result.ddof})", True),
        Column("Points per run", True),
    )
    rows = [_cells(label, entry, [column.name.lower() for column in more], valued) for label, entry in entries]
    return Table(f"{title or value_title(result)}, by environment", columns, tuple(rows))


def _cells(label: str, entry: EnvResult, more: Sequence[str], valued: bool) -> tuple[str, ...]:
    """One row; ``more`` names the plain statistics that are not the analysis's own, which a measure has none of."""
    low, high = entry.points
    points = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    spread = f"{number(entry.std)} over {entry.spread}" if entry.std is not None else "none"
    own = (number(entry.value), _interval(entry)) if valued else ()
    numbers = (*own, *(number(getattr(entry, name)) for name in more), spread)
    return (label, entry.env, f"{entry.runs:,}", seeds(entry.seeds), *numbers, points)


def _estimate(result: PlotResult) -> tuple[Column, Column]:
    name = metric_name(result.metric)
    return Column(name[:1].upper() + name[1:], True), Column(f"{result.interval.level * 100:g} % interval", True)


def _interval(entry: EnvResult | GroupResult) -> str:
    return "none" if entry.low is None or entry.high is None else f"{number(entry.low)} to {number(entry.high)}"


def _cuts(result: PlotResult) -> Table:
    rows = [(env, f"{step:,}", result.cut_cause.get(env, "")) for env, step in result.step.items()]
    columns = (Column("Environment"), Column(f"Cut ({unit_name(result.step_unit)})", True), Column("Caused by"))
    return Table("Where scores are read", columns, tuple(rows))


def _learning_curves(curves: CurvesResult, result: PlotResult) -> Section:
    """A figure of curves with the numbers they end in."""
    figure = curves_figure(curves, result)
    axis = {"agent_step": "agent step", "frame": "frame", "hours": "wall time"}.get(curves.x_unit, "step")
    heading = f"Learning curves by {axis}"
    notes = tuple(note for note in curves.notes if note not in result.notes)  # those are said with the scores
    if not figure.panels:
        return Section(heading, notes=("There is no curve to draw.", *notes))
    ends = (
        "The table gives each curve where it ends, at one position; a score is one number for each run by the rule "
        f"{result.rule}, before the aggregate: the two differ wherever a curve still rises or falls."
    )
    return Section(heading, figure, figure.footer.sentences(), (_ends(figure, curves),), (ends, *notes))


def _ends(figure: CurvesFigure, curves: CurvesResult) -> Table:
    name = metric_name(curves.metric)
    estimate = (Column(name[:1].upper() + name[1:], True), Column(f"{curves.interval.level * 100:g} % interval", True))
    columns = (Column("Group"), Column("Environment"), Column(f"Last {figure.x_title}", True), *estimate, Column("Runs", True))
    rows = []
    for panel in figure.panels:
        for line in panel.lines:
            last = last_known(line)
            if last is None:
                rows.append((line.label, panel.env, "-", "no value", "none", "0"))
                continue
            ends = [float(array[last]) for array in (line.low, line.high)]
            interval = " to ".join(number(end) for end in ends) if all(map(math.isfinite, ends)) else "none"
            x = number(float(line.x[last])) if curves.x_unit == "hours" else f"{line.x[last]:,.0f}"
            rows.append((line.label, panel.env, x, number(float(line.value[last])), interval, f"{int(line.runs[last]):,}"))
    return Table("Where the curves end", columns, tuple(rows))


def _curves_json(curves: CurvesResult) -> dict[str, Any]:
    """The curves as JSON values; arrays in plain lists."""
    bands = []
    for band in curves.bands:
        arrays = {name: _rounded(getattr(band, name)) for name in ("x", "value", "low", "high")}
        bands.append({"label": band.label, "env": band.env, **arrays, "runs": [int(size) for size in band.runs]})
    about = {"x_unit": curves.x_unit, "metric": curves.metric, "of": curves.of, "interval": asdict(curves.interval)}
    return {**about, "significant_digits": CURVE_DIGITS, "notes": list(curves.notes), "bands": bands}


def _rounded(numbers: Values) -> list[float | None]:
    """Numbers with enough digits to draw them again; None for what is not finite."""
    import numpy as np

    size = np.abs(numbers, where=np.isfinite(numbers) & (numbers != 0), out=np.ones(len(numbers)))
    places = CURVE_DIGITS - 1 - np.floor(np.log10(size)).astype(np.int64)
    if np.abs(places).max(initial=0) >= len(_POWERS):
        rounded = np.array([float(f"{value:.{CURVE_DIGITS}g}") for value in numbers.tolist()])
    else:
        power = np.array(_POWERS)[np.abs(places)]
        rounded = np.where(places > 0, np.rint(numbers * power) / power, np.rint(numbers / power) * power)
    found, whole = rounded.astype(object), np.isfinite(rounded) & (rounded == np.rint(rounded))
    found[whole] = list(map(int, rounded[whole].tolist()))
    found[~np.isfinite(rounded)] = None
    plain: list[float | None] = found.tolist()
    return plain
