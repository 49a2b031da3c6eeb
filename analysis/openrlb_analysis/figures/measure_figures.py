"""Plain figures of what :func:`openrlb_analysis.measures.measure` computes, as the specs that painters know."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from openrlb_analysis.figures.footer import Footer, cuts_of, kind_words, machines_words
from openrlb_analysis.figures.further_figures import rank_matrix, ranks_diagram, runtime_matrix, slopes_figure, win_matrix
from openrlb_analysis.figures.spec import (
    LINES_WHEN_SPLIT,
    MOST_LINES,
    MOST_UNSORTED,
    CurveLine,
    CurvesFigure,
    CurvesPanel,
    IntervalFigure,
    IntervalPanel,
    Mark,
    better_words,
    curves_range,
    normalised_words,
    padded,
    time_unit,
)
from openrlb_analysis.figures.theme import Style, styles
from openrlb_analysis.figures.words import metric_name, number, unit_name
from openrlb_analysis.measured import (
    CriticalDifferences,
    Efficiencies,
    Improvements,
    Measure,
    Profiles,
    Ranks,
    RunTimes,
    Slopes,
    Thresholds,
    Widths,
    WinRates,
)

if TYPE_CHECKING:
    from openrlb.types import Values
    from openrlb_analysis.figures.diagram import Drawn, MatrixFigure
    from openrlb_analysis.result import PlotResult


SHARES = (-0.02, 1.02)
"""The axis of what lies between 0 and 1."""


TAIL = 0.01
"""A profile's axis ends where less than this share of every group's runs is left, where that saves much of it."""
MOST_PAIRS = 45
"""More pairs than those of ten groups are a matrix."""
MOST_BARS = 7
"""More groups than these have too many bars; their rank frequencies are a matrix."""


def measure_figure(measured: Measure, result: PlotResult) -> Drawn:
    """The figure of a measure.

    Args:
        measured: What was computed.
        result: The plain answer beside it: groups, rule, cuts, exclusions.
    """
    drawn = styles(group.label for group in result.groups)
    if isinstance(measured, Improvements):
        if isinstance(measured, WinRates) or len(measured.pairs) > MOST_PAIRS:
            shows = "probability that a run of the row's group scores higher than one of the column's"
            return win_matrix(measured, title_of(measured.envs), _footer(measured, result, shows, ""))
        return _pairs(measured, result, drawn)
    if isinstance(measured, Slopes):
        shows = f"{metric_name(measured.aggregate)} over runs of each group in each environment"
        return slopes_figure(measured, result, _footer(measured, result, shows, "intervals of each difference"))
    if isinstance(measured, CriticalDifferences):
        return ranks_diagram(measured, _footer(measured, result, _rank_words(measured), "none"))
    if isinstance(measured, RunTimes):
        footer = _footer(measured, result, "mean time to the last value up to the cut, and mean speed up to there", "none")
        return runtime_matrix(measured, replace(footer, machines=machines_words(result)))
    if isinstance(measured, Widths):
        return _widths(measured, result, drawn)
    if isinstance(measured, Thresholds):
        return _thresholds(measured, result, drawn)
    if isinstance(measured, Profiles):
        lines = [_line(one.label, one.tau, one.value, one.low, one.high, one.runs) for one in measured.profiles]
        named = normalised_words(result.normalization)
        lines, beyond = _without_tail(lines)
        footer = _footer(measured, result, f"share of runs whose score lies above \u03c4{beyond}", "pointwise bands")
        x_title, y_title = f"score \u03c4{named}", "share of runs above \u03c4"
        return _curves("Performance profiles", lines, measured.envs, x_title, y_title, drawn, footer, SHARES)
    if isinstance(measured, Efficiencies):
        scale, x_title = _x_axis(measured.x_unit, max(float(one.x[-1]) for one in measured.curves))
        lines = [_line(one.label, one.x * scale, one.value, one.low, one.high, one.runs) for one in measured.curves]
        title = f"{metric_name(measured.aggregate)} of {result.of}"
        shows = f"{title} over runs and environments along training, not smoothed"
        y_range, clipped = curves_range(lines, None if measured.aggregate == "optimality-gap" else measured.seen)
        footer = replace(_footer(measured, result, shows, f"{measured.band} bands"), clipped=clipped)
        y_title = f"{title}{normalised_words(result.normalization)}{better_words(measured.aggregate)}"
        return _curves("Efficiency curves", lines, measured.envs, x_title, y_title, drawn, footer, y_range)
    return _ranks(measured, result, drawn)


def _without_tail(lines: list[CurveLine]) -> tuple[list[CurveLine], str]:
    """Profiles up to where few runs of any group are left, where that saves much of the axis; and what is said of it."""
    import numpy as np

    tau, tallest = lines[0].x, np.max([line.value for line in lines], axis=0)
    end = int(np.argmax(tallest < TAIL)) if (tallest < TAIL).any() else len(tau) - 1
    if tau[end] - tau[0] > 0.7 * (tau[-1] - tau[0]):
        return lines, ""
    kept = slice(0, end + 1)
    short = [
        replace(line, x=line.x[kept], value=line.value[kept], low=line.low[kept], high=line.high[kept], runs=line.runs[kept])
        for line in lines
    ]
    return (
        short,
        f", up to where less than {TAIL:.0%} of each group's runs are left: the highest score is {number(float(tau[-1]))}",
    )


def x_words(unit: str) -> str:
    """What an x axis counts.

    >>> x_words("share"), x_words("hours")
    ("share of each environment's steps", 'wall time (hours)')
    """
    return {"share": "share of each environment's steps", "hours": "wall time (hours)"}.get(unit, unit_name(unit))


def _x_axis(unit: str, longest: float) -> tuple[float, str]:
    """By what positions are multiplied, and what they then count: short times are drawn in minutes or seconds."""
    if unit != "hours":
        return 1.0, x_words(unit)
    scale, words = time_unit(longest)
    return scale, f"wall time ({words})"


def title_of(envs: Sequence[str]) -> str:
    """What a measure is pooled over.

    >>> title_of(["Pong"]), title_of(["Pong", "Qbert"])
    ('Pong', 'pooled over 2 environments')
    """
    return envs[0] if len(envs) == 1 else f"pooled over {len(envs)} environments"


def _pairs(measured: Improvements, result: PlotResult, drawn: Mapping[str, Style]) -> IntervalFigure:
    """A row for each pair; the line at one half is where neither group is better."""
    marks, colors = [], {}
    for one in measured.pairs:
        label = f"{one.first} > {one.second}"
        colors[label] = drawn[one.first]
        note = "" if one.low is not None else "no interval"
        marks.append(Mark(label, one.value, one.low, one.high, sum(one.runs), (), note))
    panel = IntervalPanel(title_of(measured.envs), tuple(marks), (0.0, 1.0))
    footer = _footer(measured, result, "probability that a run of the first group scores higher than one of the second", "")
    return IntervalFigure(
        tuple(mark.label for mark in marks), (panel,), "probability of improvement", colors, footer, reference=0.5
    )


def _thresholds(measured: Thresholds, result: PlotResult, drawn: Mapping[str, Style]) -> IntervalFigure:
    """A row for each group: the mean time to the threshold."""
    scale, counted = _x_axis(measured.x_unit, max(one.value for one in measured.thresholds))
    marks = []
    for one in measured.thresholds:
        reached = f"{sum(one.reached.values())} of {sum(one.runs.values())} runs reach it"
        low, high = (None if end is None else end * scale for end in (one.low, one.high))
        marks.append(
            Mark(one.label, one.value * scale, low, high, sum(one.runs.values()), (), "" if low is not None else reached)
        )
    if len(marks) > MOST_UNSORTED:
        marks.sort(key=lambda mark: math.inf if mark.value is None else mark.value)
    ends = [number for mark in marks for number in (mark.value, mark.low, mark.high) if number is not None]
    panel = IntervalPanel(title_of(measured.envs), tuple(marks), padded(ends, 0.05))
    shows = f"mean of {counted} until {measured.threshold:g} is reached, runs that never do counted at the end"
    footer = _footer(measured, result, f"{shows}; lower is better", "")
    title = f"{counted} to {measured.threshold:g}{normalised_words(result.normalization)} (lower is better)"
    return IntervalFigure(tuple(mark.label for mark in marks), (panel,), title, drawn, footer)


def _rank_words(measured: CriticalDifferences) -> str:
    """What a critical-difference diagram shows, with its tests."""
    found = measured.found
    alpha = f"{1 - found.level:.3g}"
    test = (
        f"Nemenyi's test at {alpha}: groups differ whose mean ranks lie further apart than {found.distance:.3g}"
        if found.pairwise == "nemenyi"
        else f"Wilcoxon's signed ranks over environments with Holm's correction at {alpha}"
    )
    p = "below 0.001" if found.friedman_p < 0.001 else f"{found.friedman_p:.3g}"
    return f"mean ranks of the {measured.by} in each environment; Friedman's test of no difference: p {p}; pairs by {test}"


def _widths(measured: Widths, result: PlotResult, drawn: Mapping[str, Style]) -> CurvesFigure:
    """A line for each group: how wide its interval is with so many seeds."""
    lines = [_line(label, one.seeds, one.width, one.low, one.high, 0) for label, one in measured.widths.items()]
    name = metric_name(measured.aggregate)
    shows = f"mean width of the {name}'s interval over random subsets of so many seeds; the band holds four subsets of five"
    footer = _footer(measured, result, shows, f"intervals of the {name}")
    top = max(float(line.high.max()) for line in lines)
    titles = "seeds in each environment", f"width of the {name}'s interval{normalised_words(result.normalization)}"
    figure = _curves("Interval widths", lines, measured.envs, *titles, drawn, footer, (0.0, 1.05 * top))
    return replace(figure, whole=True)


def _ranks(measured: Ranks, result: PlotResult, drawn: Mapping[str, Style]) -> CurvesFigure | MatrixFigure:
    """Bars for each group: how often it has each rank; a matrix where groups are many."""
    import numpy as np

    lines = []
    for one in measured.ranks:
        places, none = np.arange(1.0, len(one.frequency) + 1), np.full(len(one.frequency), np.nan)
        lines.append(_line(one.label, places, np.array(one.frequency), none, none, 0))
    how = f"{measured.interval.resamples:,} resamples, seed {measured.interval.seed}"
    footer = _footer(
        measured, result, f"bootstrap frequency of each rank by {measured.by}, {how}; no posterior probability", "none"
    )
    if len(lines) > MOST_BARS:
        return rank_matrix(measured, title_of(measured.envs), footer)
    titles = "rank (1 is best)", "bootstrap frequency"
    figure = _curves("Rank frequencies", lines, measured.envs, *titles, drawn, footer, SHARES)
    panels = tuple(replace(panel, x_range=(0.5, len(lines) + 0.5)) for panel in figure.panels)
    return replace(figure, panels=panels, bars=True, whole=True)


def _line(label: str, x: Values, value: Values, low: Values, high: Values, runs: int) -> CurveLine:
    """One group's line."""
    import numpy as np

    return CurveLine(label, x, value, low, high, np.full(len(x), float(runs)))


def _curves(
    lead: str,
    lines: Sequence[CurveLine],
    envs: Sequence[str],
    x_title: str,
    y_title: str,
    drawn: Mapping[str, Style],
    footer: Footer,
    y_range: tuple[float, float],
) -> CurvesFigure:
    """One panel with a line for each group; where they are many, several with equal axes, the highest lines first."""
    import numpy as np

    xs = np.concatenate([line.x for line in lines])
    x_range, title = padded(xs[np.isfinite(xs)].tolist(), 0.02), title_of(envs)
    split = len(lines) > MOST_LINES
    if not split:
        panels = (CurvesPanel(title, title, tuple(lines), x_range, y_range, None),)
        return CurvesFigure(tuple(line.label for line in lines), panels, False, x_title, y_title, drawn, footer, lead=lead)
    ordered = sorted(lines, key=lambda line: -float(np.nanmean(line.value)) if np.isfinite(line.value).any() else np.inf)
    parts = [tuple(ordered[start : start + LINES_WHEN_SPLIT]) for start in range(0, len(ordered), LINES_WHEN_SPLIT)]
    names = [f"places {LINES_WHEN_SPLIT * at + 1} to {LINES_WHEN_SPLIT * at + len(part)}" for at, part in enumerate(parts)]
    several = tuple(CurvesPanel(title, name, part, x_range, y_range, None) for name, part in zip(names, parts, strict=True))
    told = replace(footer, shows=f"{footer.shows}; groups are placed by the mean height of their lines")
    return CurvesFigure(tuple(line.label for line in ordered), several, True, x_title, y_title, drawn, told, lead=lead)


def _footer(measured: Measure, result: PlotResult, shows: str, band: str) -> Footer:
    """What must be read beside the figure."""
    entries = [entry.runs for group in result.groups for entry in group.per_env if entry.env in measured.envs] or [0]
    return Footer(
        shows=f"{shows} ({result.of}{kind_words(result.kind)})",
        runs=(min(entries), max(entries)),
        rule="" if isinstance(measured, Efficiencies | Thresholds | RunTimes) else result.rule,
        step_unit=result.step_unit,
        cuts=cuts_of({env: step for env, step in result.step.items() if env in measured.envs}, result.cut_cause),
        interval=measured.interval if min(entries) >= measured.interval.fewest else None,
        pointwise=False,
        ddof=result.ddof,
        normalization=result.normalization,
        excluded=len(result.excluded),
        sources=result.sources,
        band=band,
        bounds=result.bounds if isinstance(measured, Efficiencies) else {},
        machines=machines_words(result) if getattr(measured, "x_unit", "") == "hours" else "",
    )
