"""Matrices, diagrams and grids of many groups: what is drawn, in which order, and that both painters take it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from figure_results import METHOD, drawn, runs
from hypothesis import given, settings
from hypothesis import strategies as st

from openrlb.errors import UsageError
from openrlb.types import Curve
from openrlb_analysis.analyse import analyse
from openrlb_analysis.figures.alternative_text import alternative_text
from openrlb_analysis.figures.caption import caption
from openrlb_analysis.figures.citations import citations
from openrlb_analysis.figures.diagram import DiagramFigure, MatrixFigure
from openrlb_analysis.figures.footer import machines_words
from openrlb_analysis.figures.matplotlib_painter import image_parts, painting
from openrlb_analysis.figures.matplotlib_text import MOST_LINES, label_lines, lines, log_ticks, tick_words, width
from openrlb_analysis.figures.measure_tables import measure_rows
from openrlb_analysis.figures.places import spread_places
from openrlb_analysis.figures.plotly_layout import layout, whole_step
from openrlb_analysis.figures.plotly_painter import paint, traces
from openrlb_analysis.figures.size import Size, size_of
from openrlb_analysis.figures.spec import CurveLine, CurvesFigure, CurvesPanel, interval_figure, metrics_figure, with_log_x
from openrlb_analysis.machines import GroupMachines
from openrlb_analysis.measured import Measure
from openrlb_analysis.measures import MeasureOptions, measure
from openrlb_analysis.summary import summary_of

WIDTHS = (340, 600, 960, 1000)


def painted(figure: Any, size: Size | None = None) -> list[Any]:
    """Both painters' work: plotly's checked against its schema, matplotlib's parts really drawn."""
    for pixels in WIDTHS:
        made = layout(figure, pixels, True)
        *_, footer = made["annotations"]
        assert made["margin"]["l"] + made["margin"]["r"] < 0.75 * pixels and footer["text"]
    text = json.dumps(paint(figure, 800).to_plotly_json(), default=str)
    assert "<i>" not in text
    with painting():
        parts = image_parts(figure, size or size_of("page"))
        for part in parts:
            part.canvas.draw()
    return parts


def test_a_win_matrix_is_ordered_and_adds_up() -> None:
    figure, _ = drawn("win-rate", runs(4, 3))
    assert isinstance(figure, MatrixFigure) and figure.columns == figure.rows and len(figure.rows) == 4
    values = [[cell.value for cell in row] for row in figure.cells]
    for at, row in enumerate(values):
        assert row[at] is None and figure.cells[at][at].text == ""
        assert [None if one is None else 1 - one for one in row] == pytest.approx([line[at] for line in values])
    means = [np.mean([value for value in row if value is not None]) for row in values]
    assert means == sorted(means, reverse=True)
    for cell in (cell for row in figure.cells for cell in row if cell.value is not None):
        low, high = (float(end) for end in cell.about.rsplit("[", 1)[1].rstrip("]").split(","))
        assert low - 0.001 <= cell.value <= high + 0.001 and cell.strong == (not low <= 0.5 <= high)
    (part,) = painted(figure)
    assert len(part.axes) == 1


def test_many_pairs_become_a_matrix_with_numbered_columns_that_fits_a_column() -> None:
    figure, _ = drawn("poi", runs(12, 2))
    assert isinstance(figure, MatrixFigure) and figure.columns == tuple(map(str, range(1, 13)))
    assert figure.rows[0].startswith("1. ")
    painted(figure, size_of("column"))
    (part,) = painted(figure)
    written = {text.get_text() for text in part.texts}
    assert {cell.text for row in figure.cells for cell in row if cell.text} <= written
    (small,) = painted(figure, size_of("60x90mm"))
    assert "the numbers do not fit this size" in " ".join(text.get_text() for text in small.texts)
    few, _ = drawn("poi", runs(3, 2))
    assert not isinstance(few, MatrixFigure)
    assert "Numbers" not in alternative_text(figure) and "in the table below" in alternative_text(figure)


def test_bold_numbers_are_a_layer_of_their_own() -> None:
    figure, _ = drawn("win-rate", runs(9, 3))
    layers = traces(figure)
    shown = [[text for row in layer["text"] for text in row] for layer in layers]
    weights = [layer["textfont"]["weight"] for layer in layers]
    assert weights == ["normal", "bold"] and len(layers) == 2
    for normal, bold, cell in zip(*shown, [cell for row in figure.cells for cell in row], strict=True):
        assert (bold if cell.strong else normal) == cell.text and "" in (normal, bold)


def test_rank_frequencies_of_many_groups_are_a_matrix_whose_rows_sum_to_one() -> None:
    figure, _ = drawn("rank", runs(9, 2))
    assert isinstance(figure, MatrixFigure) and len(figure.cells) == 9
    for row in figure.cells:
        assert sum(cell.value or 0.0 for cell in row) == pytest.approx(1.0)
    painted(figure)
    bars, _ = drawn("rank", runs(3, 2))
    assert isinstance(bars, CurvesFigure) and bars.bars and bars.whole


def test_run_times_stand_in_a_cell_for_each_group_and_environment() -> None:
    figure, result = drawn("runtime", runs(3, 4))
    assert isinstance(figure, MatrixFigure) and len(figure.rows) == 4 and len(figure.columns) == 3
    assert figure.cells[0][0].text == "36.0 s\n28/s" and "3 runs" in figure.cells[0][0].about
    turned, _ = drawn("runtime", runs(10, 2))
    assert len(turned.rows) == 10 and turned.columns == ("Env00-v1", "Env01-v1")
    painted(figure)
    told = replace(result, machines=(GroupMachines("a", {"EPYC": 3}, 0, (1, 2)), GroupMachines("b", {"EPYC": 3}, 0, (1, 2))))
    assert machines_words(told) == "EPYC, 1 to 2 runs at a time"


def test_slopes_of_few_environments_are_lines_and_of_many_are_rows() -> None:
    joined, _ = drawn("slopes", runs(2, 5))
    assert isinstance(joined, DiagramFigure) and len(joined.panels) == 1 and len(joined.panels[0].strokes) == 5
    assert [tick.text for tick in joined.panels[0].right] == [f"Env{e:02d}-v1" for e in range(5)]
    rows, _ = drawn("slopes", runs(2, 30))
    (panel,) = rows.panels
    assert panel.left is not None and len(panel.left) == len(panel.right) == 30 and len(panel.dots) == 60
    gains = [stroke.points[1][0] - stroke.points[0][0] for stroke in panel.strokes]
    assert gains == sorted(gains, reverse=True), "the largest gain is on top"
    assert sum(int(words.rsplit("(", 1)[1].rstrip(")")) for _, dash, words in rows.key if dash) == 30
    for figure in (joined, rows):
        painted(figure)
    raw = [replace(curve, run=replace(curve.run, normalized=None)) for curve in runs(2, 3)]
    apart, _ = drawn("slopes", raw)
    assert [panel.title for panel in apart.panels] == ["Env00-v1", "Env01-v1", "Env02-v1"], "no common scale, no common axis"
    painted(apart)


@pytest.mark.parametrize("test", ["wilcoxon", "nemenyi"])
@pytest.mark.parametrize("groups", [3, 8, 20])
def test_critical_difference_diagrams_hold_every_group_once(groups: int, test: str) -> None:
    figure, _ = drawn("critical-difference", runs(groups, 9), pairwise=test)
    assert isinstance(figure, DiagramFigure)
    (panel,) = figure.panels
    texts = [tick.text for tick in (*(panel.left or ()), *panel.right)]
    assert len(texts) == groups and all(any(f"al<i>go {g:02d}" in text for text in texts) for g in range(groups))
    assert len({tick.at for tick in panel.left or ()}) == len(panel.left or ()), "no two labels of a side at one height"
    low, high = sorted(panel.y_range)
    assert all(low <= y <= high for stroke in panel.strokes for _, y in stroke.points)
    assert any("critical difference" in words for _, _, words in figure.key) == (test == "nemenyi")
    assert "Friedman's test" in " ".join(figure.footer.sentences())
    painted(figure)
    painted(figure, size_of("column"))


@pytest.mark.parametrize("metric", ["profile", "efficiency", "interval-width"])
def test_lines_of_many_groups_are_split_by_place_with_equal_axes(metric: str) -> None:
    figure, _ = drawn(metric, runs(16, 2))
    assert isinstance(figure, CurvesFigure) and figure.split
    assert [panel.title for panel in figure.panels] == ["places 1 to 7", "places 8 to 14", "places 15 to 16"]
    assert len({(panel.x_range, panel.y_range) for panel in figure.panels}) == 1
    heights = [float(np.nanmean(line.value)) for panel in figure.panels for line in panel.lines]
    assert heights == sorted(heights, reverse=True) and len(heights) == 16
    assert "placed by the mean height" in " ".join(figure.footer.sentences())
    painted(figure)


def test_a_profile_ends_where_few_runs_are_left_and_says_so() -> None:
    curves = runs(2, 3, seeds=60)
    curves[0].values[:] = 50.0
    figure, _ = drawn("profile", curves)
    (panel,) = figure.panels
    assert panel.x_range[1] < 10 and all(line.x[-1] < 10 for line in panel.lines)
    assert "less than 1% of each group's runs are left: the highest score is 50.00" in " ".join(figure.footer.sentences())
    measured = measure("profile", analyse(curves, rule="last"), METHOD, MeasureOptions())
    assert max(row["tau"] for row in measure_rows(measured)) == 50.0, "the numbers are whole"
    painted(figure)


def test_labels_stand_beside_lines_that_end_apart_and_in_a_legend_elsewhere() -> None:
    figure, _ = drawn("efficiency", runs(4, 2))
    assert list(figure.direct()) == [line.label for line in figure.panels[0].lines]
    wide, phone = layout(figure, 960, False), layout(figure, 340, False)
    assert not wide["showlegend"] and phone["showlegend"]
    beside = [note for note in wide["annotations"] if note.get("xref") == "x domain" and note["x"] == 1]
    assert len(beside) == 4
    (part,) = painted(figure)
    assert {line.label for line in figure.panels[0].lines} <= {text.get_text() for text in part.texts}
    profile, _ = drawn("profile", runs(4, 2))
    assert profile.direct() == {}, "all profiles end at 0"
    early = replace(figure, panels=tuple(replace(panel, x_range=(0.0, 5000.0)) for panel in figure.panels))
    assert early.direct() == {}


def test_many_groups_are_listed_best_first_and_few_in_their_own_order() -> None:
    for groups, first in ((7, "al<i>go 00"), (9, "al<i>go 08")):
        analysis = analyse(runs(groups, 3), rule="last")
        result = summary_of(analysis, of="r", metric="mean", method=METHOD)
        figure = interval_figure(result)
        assert figure.rows[0] == first and sorted(figure.rows) == sorted(group.label for group in result.groups)
        assert [mark.label for mark in figure.panels[0].marks] == list(figure.rows)
        apart = interval_figure(result, "environments")
        assert all([mark.label for mark in panel.marks] == list(apart.rows) for panel in apart.panels)
        assert figure.styles == apart.styles, "an order changes no colour"
    gap = summary_of(analysis, of="r", metric="optimality-gap", method=METHOD)
    assert interval_figure(gap).rows[0] == "al<i>go 08", "the smallest gap is the best"


def test_several_aggregates_share_rows_and_colours() -> None:
    analysis = analyse(runs(3, 3), rule="last")
    results = [summary_of(analysis, of="r", metric=name, method=METHOD) for name in ("iqm", "mean", "optimality-gap")]
    figure = metrics_figure(results)
    assert [panel.title for panel in figure.panels] == ["IQM", "mean", "optimality gap (lower is better)"]
    for panel, result in zip(figure.panels, results, strict=True):
        assert [(mark.value, mark.low) for mark in panel.marks] == [(group.value, group.low) for group in result.groups]
    said = " ".join(figure.footer.sentences())
    assert "IQM, mean, optimality gap of r" in said and "for these statistics of" in said and "for the iqm of" not in said
    painted(figure)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 200), max_size=12))
def test_labels_are_moved_apart_and_kept_in_order(wanted: list[float]) -> None:
    room = 15.0
    found = spread_places(wanted, room, (0.0, 200.0))
    order = sorted(range(len(wanted)), key=lambda at: (wanted[at], at))
    placed = [found[at] for at in order]
    assert all(later - earlier >= room - 1e-6 for earlier, later in pairwise(placed))
    assert not placed or (placed[0] >= -1e-6 and placed[-1] <= 200 + 1e-6)
    if all(later - earlier >= room for earlier, later in pairwise(sorted(wanted))):
        assert found == pytest.approx(wanted)


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_whole_ticks_are_few_and_whole(low: int, length: int) -> None:
    step = whole_step((low, low + length))
    assert isinstance(step, int) and step >= 1 and length / step <= 8


def test_a_matrix_taller_than_a_page_is_drawn_in_parts_with_every_row() -> None:
    figure, _ = drawn("runtime", runs(2, 60, seeds=1))
    parts = painted(figure)
    assert len(parts) == 3 and len({part.get_size_inches()[0] for part in parts}) == 1
    texts = {text.get_text() for part in parts for text in part.texts}
    assert {f"Env{e:02d}-v1" for e in range(60)} <= texts


def test_run_times_of_many_environments_keep_their_numbers_over_parts_of_columns() -> None:
    figure, _ = drawn("runtime", runs(20, 14, seeds=1))
    assert isinstance(figure, MatrixFigure) and len(figure.columns) == 14
    parts = painted(figure, size_of("column"))
    written = [text.get_text() for part in parts for text in part.texts]
    assert len(parts) > 1 and written.count("36.0 s") == 20 * 14 and not any("do not fit" in text for text in written)


def test_ranks_are_stacked_and_fill_each_place() -> None:
    figure, _ = drawn("rank", runs(4, 3))
    (part,) = painted(figure)
    (axes,) = part.axes
    tops: dict[float, float] = {}
    for patch in axes.patches:
        middle = round(patch.get_x() + patch.get_width() / 2, 6)
        assert patch.get_y() == pytest.approx(tops.get(middle, 0.0)), "each bar stands on the one below"
        tops[middle] = patch.get_y() + patch.get_height()
    assert tops == {place: pytest.approx(1.0) for place in (1.0, 2.0, 3.0, 4.0)}
    assert layout(figure, 960, False)["barmode"] == "stack"


@pytest.mark.parametrize("metric", ["efficiency", "interval-width", "slopes", "rank", "steps-to-threshold"])
def test_a_measure_is_of_the_aggregate_that_was_asked_for(metric: str) -> None:
    curves = runs(2, 3, seeds=5)
    found = {}
    for aggregate in ("iqm", "optimality-gap"):
        figure, result = drawn(metric, curves, aggregate=aggregate, threshold=0.3)
        found[aggregate] = json.dumps(measure_rows(measure_of(metric, curves, aggregate)), default=float)
        assert result.aggregate == aggregate
        painted(figure)
    assert found["iqm"] != found["optimality-gap"]
    cited = " ".join(citations(drawn(metric, curves, aggregate="mean", threshold=0.3)[1]))
    assert ("agarwal" in cited) == (metric in ("efficiency", "rank")), "the mean is nobody's"


def measure_of(metric: str, curves: list[Curve], aggregate: str) -> Measure:
    return measure(metric, analyse(curves, rule="last"), METHOD, MeasureOptions(aggregate=aggregate, threshold=0.3))


def test_an_optimality_gap_of_raw_returns_is_no_aggregate() -> None:
    with pytest.raises(UsageError, match="raw returns have no optimality gap"):
        measure_of("slopes", runs(2, 1, normalized=None), "optimality-gap")


def test_a_logarithmic_axis_holds_every_positive_position_and_names_what_it_cannot_hold() -> None:
    figure, _ = drawn("efficiency", runs(3, 2))
    (plain,) = figure.panels
    drawn_log = with_log_x(replace(figure, panels=(with_zero(plain),)))
    assert drawn_log is not None and drawn_log.log_x
    (panel,) = drawn_log.panels
    assert panel.x_range == (100.0, 1000.0)
    assert [line.x.tolist() for line in panel.lines] == [line.x.tolist() for line in plain.lines], "only 0 is left out"
    assert "the x axis is logarithmic, without the values at 0" in " ".join(drawn_log.footer.sentences())
    (part,) = painted(drawn_log)
    (axes,) = part.axes
    assert axes.get_xscale() == "log"
    axis = layout(drawn_log, 960, False)["xaxis"]
    assert axis["type"] == "log" and axis["range"] == pytest.approx([2.0, 3.0]), "plotly takes powers"
    ranks, _ = drawn("rank", runs(3, 2))
    assert with_log_x(ranks) is None
    below = replace(plain, lines=tuple(replace(line, x=line.x - 500) for line in plain.lines))
    assert with_log_x(replace(figure, panels=(below,))) is None


def with_zero(panel: CurvesPanel) -> CurvesPanel:
    """The panel with a value at 0 before each line's first."""
    before = lambda array, value: np.concatenate([[value], array])  # noqa: E731
    longer = [
        CurveLine(
            line.label, before(line.x, 0.0), *(before(array, 0.5) for array in (line.value, line.low, line.high, line.runs))
        )
        for line in panel.lines
    ]
    return replace(panel, lines=tuple(longer))


@settings(max_examples=100, deadline=None)
@given(st.floats(1e-6, 1e9), st.floats(1.001, 1e6), st.floats(40, 400))
def test_numbers_of_a_logarithmic_axis_lie_inside_and_do_not_touch(low: float, factor: float, room: float) -> None:
    ends = (low, low * factor)
    with painting():
        found, say = log_ticks(ends, room), tick_words(*ends)
        widths = [width(say(at)) for at in found]
    assert all(ends[0] * 0.999 <= at <= ends[1] * 1.001 for at in found)
    places = [math.log(at / low) / math.log(factor) * room for at in found]
    assert all(b - a >= (one + other) / 2 for (a, one), (b, other) in pairwise(zip(places, widths, strict=True)))


def test_short_wall_times_are_in_a_unit_that_suits_them() -> None:
    figure, _ = drawn("efficiency", runs(2, 2), x="time")
    (panel,) = figure.panels
    assert figure.x_title == "wall time (seconds)" and panel.x_range[1] == pytest.approx(36.0, rel=0.05)
    marks, _ = drawn("steps-to-threshold", runs(2, 2), x="time", threshold=0.05)
    assert marks.value_title.startswith("wall time (seconds) to 0.05")
    assert all(mark.value is not None and 1 < mark.value <= 36.0 for mark in marks.panels[0].marks)


def test_many_groups_are_ordered_by_their_time_to_a_threshold() -> None:
    figure, _ = drawn("steps-to-threshold", runs(9, 2), threshold=0.3)
    values = [mark.value for mark in figure.panels[0].marks]
    assert values == sorted(values) and len(figure.rows) == 9


def test_differences_beside_larger_ones_take_one_line_in_a_column() -> None:
    figure, _ = drawn("slopes", runs(2, 30))
    (panel,) = figure.panels
    long = replace(panel, right=tuple(replace(tick, text=f"{tick.text} and {tick.text}") for tick in panel.right))
    (part,) = painted(replace(figure, panels=(long,)), size_of("column"))
    written = {text.get_text() for text in part.texts}
    assert {tick.short for tick in panel.right} <= written and not any(" and " in text for text in written)
    (part,) = painted(figure, size_of("column"))
    assert {tick.text for tick in panel.right} <= {text.get_text() for text in part.texts}


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=400), st.floats(25, 200))
def test_a_labels_lines_are_few_and_keep_its_ends(text: str, room: float) -> None:
    whole = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    with painting():
        found = label_lines(whole, room)
        assert len(found) <= MOST_LINES
        if len(lines(whole, room)) <= MOST_LINES:
            assert found == lines(whole, room)
            return
    before, sign, after = "".join("".join(found).split()).partition("\u2026")
    bare = "".join(whole.split())
    assert sign and bare.startswith(before) and bare.endswith(after)


def test_long_names_tear_no_rows_apart_and_no_two_labels_touch() -> None:
    names = [f"ppo {'ent_coef and much more ' * 12} lr={index}e-4" for index in range(6)]
    curves = [
        replace(curve, run=replace(curve.run, algo=names[int(curve.run.algo.split()[-1])])) for curve in runs(6, 4, seeds=4)
    ]
    for metric, options in (("critical-difference", {}), ("win-rate", {}), ("steps-to-threshold", {"threshold": 0.3})):
        figure, result = drawn(metric, curves, **options)
        (part,) = painted(figure, size_of("column"))
        assert part.get_size_inches()[1] * 72 < 400
        assert sum(f"% in full: {name}" in caption(figure, result, ["x.pdf"], "openrlb plot") for name in names) == 6
    diagram, _ = drawn("critical-difference", curves)
    (part,) = painted(diagram, size_of("column"))
    boxes = [text.get_window_extent() for text in part.texts if text.get_text()]
    for at, box in enumerate(boxes):
        for other in boxes[at + 1 :]:
            across, down = min(box.x1, other.x1) - max(box.x0, other.x0), min(box.y1, other.y1) - max(box.y0, other.y0)
            assert across <= 0.5 or down <= 2.5


def test_scores_too_large_for_a_width_are_left_out_and_named() -> None:
    curves = runs(3, 1, seeds=5)
    for curve in curves[:5]:
        curve.values[:] = np.linspace(-1e300, 1e300, 10) * (1 + curve.run.seed)
    with np.errstate(over="ignore", invalid="ignore"):
        figure, result = drawn("interval-width", curves)
    assert [line.label for line in figure.panels[0].lines] == ["al<i>go 01", "al<i>go 02"]
    assert any("al<i>go 00 is left out" in note for note in result.notes)


def test_many_rows_fit_a_page_though_a_name_is_long() -> None:
    curves = [
        replace(curve, run=replace(curve.run, env=curve.run.env.replace("Env07", "ALE/MontezumaRevengeAndMore")))
        for curve in runs(2, 57)
    ]
    figure, _ = drawn("slopes", curves)
    for word in ("column", "page"):
        parts = painted(figure, size_of(word))
        assert all(part.get_size_inches()[1] * 72 <= size_of(word).tallest + 0.5 for part in parts)
        written = [text.get_text() for part in parts for text in part.texts]
        assert {tick.text for tick in figure.panels[0].left or () if tick.text.startswith("Env")} <= set(written)
        drawn_dots = sum(len(line.get_xdata()) for part in parts for line in part.axes[0].lines if line.get_linestyle() == "None")
        assert drawn_dots == 2 * 57, "each row is drawn once"
