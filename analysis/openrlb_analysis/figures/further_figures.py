"""Figures of measures about pairs, environments, seeds and machines: matrices, slopes and critical-difference diagrams."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from openrlb_analysis.figures.diagram import Cell, DiagramFigure, DiagramPanel, Dot, MatrixFigure, Stroke, Tick
from openrlb_analysis.figures.spec import better_words, normalised_words, padded
from openrlb_analysis.figures.theme import INK, PALETTE, QUIET
from openrlb_analysis.figures.words import count, duration, listed, metric_name, number
from openrlb_analysis.measured import CriticalDifferences, Improvements, Ranks, RunTimes, Slope, Slopes

if TYPE_CHECKING:
    from openrlb_analysis.figures.footer import Footer
    from openrlb_analysis.result import PlotResult

SHADES = ("#FFFFFF", "#E3EEF7", "#BBD6EC", "#86B9DE", "#4A97CB")
"""From white to blue, ever darker, so that they stay in order in grey; black text is read on each."""
HIGHER, LOWER, NEITHER = PALETTE[0], PALETTE[1], "#8a8a8a"
MOST_LINES = 12
"""More environments than these are drawn as rows: lines between two columns would cross too often to be told apart."""
MOST_NAMED = 8
"""Columns of a matrix up to these have their labels above them; of more the numbers of a list."""
ROW = 19.0


def win_matrix(measured: Improvements, title: str, footer: Footer) -> MatrixFigure:
    """How often a run of the row's group beats one of the column's, the group that wins most on top.

    Args:
        measured: Every pair.
        title: What is pooled.
        footer: What must be read beside it.
    """
    found: dict[tuple[str, str], Cell] = {}
    sums: dict[str, list[float]] = {}
    for one in measured.pairs:
        sums.setdefault(one.first, []).append(one.value)
        sums.setdefault(one.second, []).append(1.0 - one.value)
        ends = (one.low, one.high) if one.low is not None and one.high is not None else None
        found[one.first, one.second] = _win(one.first, one.second, one.value, ends)
        back = None if ends is None else (1.0 - ends[1], 1.0 - ends[0])
        found[one.second, one.first] = _win(one.second, one.first, 1.0 - one.value, back)
    order = sorted(sums, key=lambda label: (-sum(sums[label]) / len(sums[label]), label))
    rows = tuple(f"{place}. {label}" for place, label in enumerate(order, 1))
    columns = tuple(order) if len(order) <= MOST_NAMED else tuple(str(place) for place in range(1, len(order) + 1))
    rows = tuple(order) if len(order) <= MOST_NAMED else rows
    cells = tuple(tuple(found.get((first, second), Cell(None, "")) for second in order) for first in order)
    said = "probability that a run of the row's group beats one of the column's"
    look = title, rows, columns, cells, SHADES, (0.0, 1.0), "against group", said, footer, "Win rates"
    return MatrixFigure(*look, strong="its interval leaves 0.5", weak="its interval holds 0.5")


def _win(first: str, second: str, value: float, ends: tuple[float, float] | None) -> Cell:
    """One pair's cell."""
    strong = ends is not None and not ends[0] <= 0.5 <= ends[1]
    interval = "no interval" if ends is None else f"[{number(ends[0])}, {number(ends[1])}]"
    return Cell(value, _share(value), strong, f"{first} beats {second}: {number(value)} {interval}")


def rank_matrix(measured: Ranks, title: str, footer: Footer) -> MatrixFigure:
    """How often each group has each rank, the best mean rank on top.

    Args:
        measured: The frequencies.
        title: What is pooled.
        footer: What must be read beside it.
    """
    order = sorted(measured.ranks, key=lambda one: (math.isnan(one.mean_rank), one.mean_rank, one.label))
    cells = tuple(
        tuple(
            Cell(None if math.isnan(share) else share, _share(share), about=f"{one.label}, rank {place}: {number(share)}")
            for place, share in enumerate(one.frequency, 1)
        )
        for one in order
    )
    columns = tuple(str(place) for place in range(1, len(order) + 1))
    said = "bootstrap frequency of each rank (1 is best)"
    return MatrixFigure(title, tuple(one.label for one in order), columns, cells, SHADES, (0.0, 1.0), "rank", said, footer,
                        "Rank frequencies")  # fmt: skip


def _share(share: float) -> str:
    """A share in a small cell.

    >>> _share(0.004), _share(0.126), _share(1.0), _share(float("nan"))
    ('0', '.13', '1', '')
    """
    if math.isnan(share):
        return ""
    return "1" if share >= 0.995 else f"{share:.2f}".removeprefix("0") if share >= 0.005 else "0"


def runtime_matrix(measured: RunTimes, footer: Footer) -> MatrixFigure:
    """Time to the cut and speed, a row for each environment and a column for each group (or turned, where groups are more).

    Args:
        measured: The times.
        footer: What must be read beside it.
    """
    labels = list(dict.fromkeys(one.label for one in measured.times))
    found = {(one.label, one.env): one.time for one in measured.times}
    turned = len(labels) > max(len(measured.envs), MOST_NAMED)
    rows, heads = (labels, list(measured.envs)) if turned else (list(measured.envs), labels)
    unit = {"agent_step": "steps", "frame": "frames"}.get(measured.step_unit, "steps")
    cells = []
    for row in rows:
        line = []
        for head in heads:
            one = found.get((row, head) if turned else (head, row))
            if one is None:
                line.append(Cell(None, "", about="no times"))
                continue
            spread = "" if one.runs == 1 else f" ({duration(one.shortest)} to {duration(one.longest)})"
            about = f"{row}, {head}: {duration(one.hours)}{spread}, {number(one.speed)} {unit}/s, {count(one.runs, 'run')}"
            line.append(Cell(math.log10(one.hours), f"{duration(one.hours)}\n{_speed(one.speed)}/s", about=about))
        cells.append(tuple(line))
    values = [cell.value for line in cells for cell in line if cell.value is not None]
    numbered = len(heads) > MOST_NAMED
    names = tuple(str(place) for place in range(1, len(heads) + 1)) if numbered else tuple(heads)
    key = listed(f"{place}={head}" for place, head in enumerate(heads, 1)) if numbered else ""
    said = f"mean time to the cut, and {unit} per second; darker takes longer"
    shown = padded(values, 0.35) if len(set(values)) > 1 else (min(values) - 1, max(values) + 1)
    return MatrixFigure("", tuple(rows), names, tuple(cells), SHADES, shown, key, said, footer, "Run times", apart=True)


def _speed(speed: float) -> str:
    """Steps for each second, as short as a cell.

    >>> _speed(12345.6), _speed(8.76)
    ('12,346', '8.8')
    """
    return f"{speed:,.0f}" if speed >= 100 else f"{speed:.2g}"


def slopes_figure(measured: Slopes, result: PlotResult, footer: Footer) -> DiagramFigure:
    """Two groups' scores joined in each environment: lines between two columns, or rows where there are many environments.

    Args:
        measured: The scores.
        result: The plain answer beside it.
        footer: What must be read beside it.
    """
    kinds = [_kind(slope) for slope in measured.slopes]
    words = {HIGHER: "clearly higher", LOWER: "clearly lower", NEITHER: "undecided"}
    dashes = {HIGHER: "solid", LOWER: "dash", NEITHER: "dot"}
    key = tuple(
        (color, dashes[color], f"{measured.second} {said} than {measured.first} ({kinds.count(color)})" if color != NEITHER
         else f"{said} ({kinds.count(color)})")
        for color, said in words.items()
        if color in kinds
    )  # fmt: skip
    named = f"{metric_name(measured.aggregate)} of {result.of}{normalised_words(result.normalization)}"
    title = f"{named}{better_words(measured.aggregate)}"
    told = tuple(
        f"{slope.env}: {measured.first} {number(slope.first)}, {measured.second} {number(slope.second)}"
        for slope in measured.slopes
    )
    lead, rows = "Scores of two groups in each environment", (measured.first, measured.second)
    if not measured.pools and len(measured.slopes) > 1:
        panels = tuple(_two_columns(measured, [slope], dashes, slope.env) for slope in measured.slopes)
        return DiagramFigure(panels, "", title, footer, lead, told, key, rows)
    if len(measured.slopes) <= MOST_LINES:
        panel = _two_columns(measured, measured.slopes, dashes, "")
        return DiagramFigure((panel,), "", title, footer, lead, told, key, rows)
    key += ((INK, "", f"hollow: {measured.first}, filled: {measured.second}"),)
    return DiagramFigure((_dumbbells(measured, dashes),), title, "", footer, lead, told, key, rows)


def _kind(slope: Slope) -> str:
    """The colour of a difference: clear where its interval leaves 0."""
    if slope.low is not None and slope.low > 0:
        return HIGHER
    return LOWER if slope.high is not None and slope.high < 0 else NEITHER


def _two_columns(measured: Slopes, slopes: Sequence[Slope], dashes: Mapping[str, str], title: str) -> DiagramPanel:
    """Lines from the first group's scores to the second's, the environments named at the right end."""
    strokes, dots = [], []
    for slope in slopes:
        color = _kind(slope)
        strokes.append(Stroke(((0.0, slope.first), (1.0, slope.second)), color, 1.8, dashes[color]))
        for at, value, label in ((0.0, slope.first, measured.first), (1.0, slope.second, measured.second)):
            about = f"{label}, {slope.env}: {number(value)}"
            dots.append(Dot(at, value, color, filled=at == 1.0, about=about))
    ends = padded([value for slope in slopes for value in (slope.first, slope.second)], 0.12 if len(slopes) == 1 else 0.06)
    named = tuple(Tick(slope.second, slope.env, _kind(slope)) for slope in slopes) if not title else ()
    height = 150.0 if title else max(220.0, 24.0 * len(slopes))
    ticks = Tick(0.0, measured.first), Tick(1.0, measured.second)
    return DiagramPanel(title, (-0.12, 1.12), ends, height, tuple(strokes), tuple(dots), (), ticks, False, None, named)


def _dumbbells(measured: Slopes, dashes: Mapping[str, str]) -> DiagramPanel:
    """A row for each environment, the largest gain on top: a hollow dot for the first group, a filled one for the second."""
    ordered = sorted(measured.slopes, key=lambda slope: (-slope.difference, slope.env))
    strokes, dots, left, right = [], [], [], []
    widest = max(abs(slope.difference) for slope in ordered)
    for row, slope in enumerate(ordered):
        color = _kind(slope)
        strokes.append(Stroke(((slope.first, float(row)), (slope.second, float(row))), color, 2.0, dashes[color]))
        dots.append(Dot(slope.first, row, color, filled=False, about=f"{measured.first}, {slope.env}: {number(slope.first)}"))
        dots.append(Dot(slope.second, row, color, about=f"{measured.second}, {slope.env}: {number(slope.second)}"))
        left.append(Tick(float(row), slope.env))
        interval = "" if slope.low is None else f" [{_short(slope.low, widest)}, {_short(slope.high, widest)}]"
        gain = f"{'+' if slope.difference > 0 else ''}{_short(slope.difference, widest)}"
        words, short = (said.replace("-", "\u2212") for said in (f"{gain}{interval}", gain))
        right.append(Tick(float(row), words, color if color != NEITHER else QUIET, short))
    ends = padded([value for slope in ordered for value in (slope.first, slope.second)], 0.04)
    y_range = len(ordered) - 0.4, -0.6
    height = ROW * len(ordered)
    return DiagramPanel("", ends, y_range, height, tuple(strokes), tuple(dots), (), None, False, tuple(left), tuple(right))


def _short(value: float | None, widest: float) -> str:
    """A difference beside much larger ones: three decimals are enough, the table has the others.

    >>> _short(0.00011, 2.9), _short(-2.8e-05, 2.9), _short(0.00011, 0.002)
    ('0.000', '0.000', '0.00011')
    """
    tiny = value is not None and abs(value) < 0.001 and widest >= 0.1
    return f"{value:.3f}".replace("-0.000", "0.000") if tiny else number(value)


def ranks_diagram(measured: CriticalDifferences, footer: Footer) -> DiagramFigure:
    """Demsar's diagram: mean ranks on a line, a thick bar over groups that cannot be told apart.

    Args:
        measured: The ranks.
        footer: What must be read beside it.
    """
    found = measured.found
    places = dict(zip(found.groups, found.mean_rank, strict=True))
    size = len(found.groups)
    levels = _levels(found.cliques, places)
    nemenyi = found.pairwise == "nemenyi"
    top = 1.1 if nemenyi else 0.0
    below = top + 0.55 * (max(levels, default=-1) + 1) + 0.6
    half = (size + 1) // 2
    low, high = 1.0 - 0.03 * (size - 1), size + 0.03 * (size - 1)
    strokes: list[Stroke] = []
    dots: list[Dot] = []
    left: list[Tick] = []
    right: list[Tick] = []
    for index, label in enumerate(found.groups):
        on_left = index < half
        row = below + (index if on_left else size - 1 - index)
        place = places[label]
        strokes.append(Stroke(((place, 0.0), (place, row), (low if on_left else high, row)), INK, 1.1))
        dots.append(Dot(place, 0.0, INK, size=5.0, about=f"{label}: mean rank {number(place)}"))
        (left if on_left else right).append(Tick(row, f"{label}  {place:.2f}" if on_left else f"{place:.2f}  {label}"))
    for clique, level in zip(found.cliques, levels, strict=True):
        row, room = top + 0.55 * (level + 1), 0.012 * (size - 1)
        ends = (places[clique[0]] - room, row), (places[clique[-1]] + room, row)
        strokes.append(Stroke(ends, PALETTE[0], 5.0))
    if nemenyi:
        strokes.append(Stroke(((1.0, 0.65), (1.0 + found.distance, 0.65)), INK, 3.0))
    ticks = tuple(Tick(float(rank), str(rank)) for rank in _rank_ticks(size))
    rows = below + half - 0.4
    panel = DiagramPanel("", (low, high), (rows, 0.0), rows * ROW, tuple(strokes), tuple(dots), (), ticks, True,
                         tuple(left), tuple(right))  # fmt: skip
    told = (
        "mean ranks: " + ", ".join(f"{label} {place:.2f}" for label, place in places.items()),
        "not told apart: " + ("; ".join(", ".join(clique) for clique in found.cliques) or "none: every pair differs"),
    )
    key: tuple[tuple[str, str, str], ...] = ()
    if found.cliques:
        key += ((PALETTE[0], "solid", "joined groups cannot be told apart"),)
    if nemenyi:
        key += ((INK, "solid", f"critical difference {found.distance:.2f}"),)
    return DiagramFigure((panel,), f"mean rank over {count(found.envs, 'environment')} (1 is best)", "", footer,
                         "Critical-difference diagram", told, key, found.groups)  # fmt: skip


def _levels(cliques: Sequence[Sequence[str]], places: Mapping[str, float]) -> list[int]:
    """A height for each bar, so that bars over the same ranks lie above each other."""
    ends: list[float] = []
    levels = []
    for clique in cliques:
        first, last = places[clique[0]], places[clique[-1]]
        level = next((at for at, end in enumerate(ends) if end < first - 0.02 * len(places)), len(ends))
        ends[level : level + 1] = [last]
        levels.append(level)
    return levels


def _rank_ticks(size: int) -> list[int]:
    """Ranks to label: all of a few, else about eight.

    >>> _rank_ticks(5), _rank_ticks(35)
    ([1, 2, 3, 4, 5], [1, 5, 10, 15, 20, 25, 30, 35])
    """
    step = 1 if size <= 12 else 2 if size <= 20 else 5
    return sorted({1, *range(step, size + 1, step)} - ({size - 1} if step > 1 and size % step == 1 else set()))
