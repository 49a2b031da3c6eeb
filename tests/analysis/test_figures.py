"""Figures: what is drawn, in which style, and that nothing is dropped, moved or hidden on the way."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from figure_results import band, curves_result, env_result, group, many, plot_result
from hypothesis import given, settings
from hypothesis import strategies as st

from openrlb.cli.plot import table_rows
from openrlb_analysis.figures.alternative_text import alternative_text
from openrlb_analysis.figures.matplotlib_text import tick_words
from openrlb_analysis.figures.plot_page import plot_page
from openrlb_analysis.figures.plotly_layout import layout
from openrlb_analysis.figures.plotly_painter import paint, traces
from openrlb_analysis.figures.spec import CurvesFigure, IntervalFigure, curves_figure, interval_figure
from openrlb_analysis.figures.theme import PALETTE, styles, tick_format
from openrlb_analysis.figures.words import seeds, wrapped
from openrlb_analysis.result import CurveBand

WIDTHS = (340, 600, 960, 1000)


@given(st.lists(st.text(max_size=8), min_size=1, max_size=20, unique=True), st.randoms(use_true_random=False))
def test_a_labels_style_depends_on_the_set_of_labels_alone(labels: list[str], random: Any) -> None:
    shuffled = list(labels)
    random.shuffle(shuffled)
    assert styles(labels) == styles(shuffled)
    assert len(set(styles(labels).values())) == len(labels)


def test_the_first_seven_labels_get_the_palette_in_its_order_and_solid_lines() -> None:
    made = styles([f"algo{index}" for index in (10, 9, 1, 2, 3, 4, 5)])
    assert [made[f"algo{index}"].color for index in (1, 2, 3, 4, 5, 9, 10)] == list(PALETTE)
    assert {style.dash for style in made.values()} == {"solid"}
    assert len({style.symbol for style in made.values()}) == 7, "marks tell lines apart in grey"


def test_a_label_looks_the_same_in_scores_and_curves_whatever_the_order() -> None:
    result, curves = many(9, 2)
    backwards = plot_result(*reversed(result.groups))
    assert interval_figure(result).styles == interval_figure(backwards).styles == curves_figure(curves, backwards).styles


NUMBERS = st.floats(-1e9, 1e9) | st.sampled_from([0.0, 1e-9, -1e6, float("nan"), float("inf")])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(NUMBERS, min_size=1, max_size=6), min_size=1, max_size=4))
def test_every_finite_number_is_drawn_inside_its_axis(rows: list[list[float]]) -> None:
    with np.errstate(all="ignore"):
        figure = interval_figure(plot_result(*(group(f"g{i}", env_result("e", scores)) for i, scores in enumerate(rows))))
    (panel,) = figure.panels
    low, high = panel.x_range
    assert math.isfinite(low) and math.isfinite(high) and low < high
    for mark, scores in zip(panel.marks, rows, strict=True):
        assert list(mark.scores) == [score for score in scores if math.isfinite(score)]
        assert all(low <= number <= high for number in (*mark.scores, mark.value, mark.low, mark.high) if number is not None)
        assert bool(mark.note) == (mark.low is None or len(mark.scores) < len(scores)), "what is missing is named"
    paint(figure)


def test_without_normalisation_there_is_a_panel_for_each_environment_and_gaps_are_named() -> None:
    result = plot_result(group("ppo", env_result("a", [1, 2]), env_result("b", [5.0])), group("sac", env_result("a", [3, 4])))
    figure = interval_figure(result)
    assert [panel.title for panel in figure.panels] == ["a", "b"]
    assert [mark.note for mark in figure.panels[1].marks] == ["1 run, no interval", "no runs"]
    assert "no runs" in json.dumps(layout(figure, 960, False)["annotations"])
    assert "sac no runs" in alternative_text(figure)


def test_pooled_values_get_one_panel_and_the_environments_on_request() -> None:
    envs = (env_result("a", [1, 2]), env_result("b", [3, 4]))
    result = plot_result(
        group("ppo", *envs, value=0.5), group("sac", *envs, value=0.7), normalization="atari57-human v1", pooled_envs=("a", "b")
    )
    pooled, apart = interval_figure(result), interval_figure(result, "environments")
    assert [panel.title for panel in pooled.panels] == ["pooled over 2 environments"]
    assert [(mark.value, mark.low, mark.high, mark.scores) for mark in pooled.panels[0].marks] == [
        (0.5, 0.4, 0.6, ()),
        (0.7, 0.6, 0.7 + 0.1, ()),
    ]
    assert [panel.title for panel in apart.panels] == ["a", "b"]
    assert "normalised (atari57-human v1)" in pooled.value_title


def test_a_pooled_panel_counts_only_the_pooled_environments_and_their_runs() -> None:
    a, b, c = env_result("a", [1, 2]), env_result("b", [3, 4]), env_result("c", [5, 6])
    facts = {"normalization": "dmc v1", "pooled_envs": ("a", "b")}
    result = plot_result(group("ppo", a, b, c, value=0.5), group("sac", a, b, value=0.7), **facts)
    (panel,) = interval_figure(result).panels
    assert panel.title == "pooled over 2 of 3 environments" and [mark.runs for mark in panel.marks] == [4, 4]
    table = plot_page(result, (), "openrlb plot").sections[0].tables[0]
    assert [row[:3] for row in table.rows] == [("ppo", "2", "4"), ("sac", "2", "4")]
    rows = [(row["label"], row["env"], row["seeds"], row["runs"]) for row in table_rows(result) if "pooled" in row["env"]]
    assert rows == [("ppo", "(2 pooled)", 2, 4), ("sac", "(2 pooled)", 2, 4)]
    one = replace(result, pooled_envs=("a",))
    assert [each.title for each in interval_figure(one).panels] == ["a", "b", "c"]
    assert not any("pooled" in row["env"] for row in table_rows(one))


def test_the_footer_says_rule_cut_cause_interval_ddof_normalisation_and_exclusions() -> None:
    result = plot_result(group("ppo", env_result("a", [1, 2]), env_result("b", [1, 2, 3])), step={"a": 1_000_000, "b": 250_000})
    text = " ".join(interval_figure(result).footer.sentences())
    for fact in (
        "final:10%", "1M agent steps in a (the median last step of sac)", "250k agent steps in b", "95 % percentile",
        "50,000 resamples, seed 7", "too narrow below 10 seeds", "ddof 1", "Not normalised", "1 run left out", "2 to 3 runs",
    ):  # fmt: skip
        assert fact in text


def test_more_groups_than_a_panel_can_show_are_split_with_equal_axes_and_none_is_lost() -> None:
    result, curves = many(35)
    figure = curves_figure(curves, result)
    assert figure.split and [len(panel.lines) for panel in figure.panels] == [7] * 5
    assert len({(panel.x_range, panel.y_range) for panel in figure.panels}) == 1
    assert sorted(line.label for panel in figure.panels for line in panel.lines) == sorted(g.label for g in result.groups)
    named = [trace for trace in traces(figure) if trace["showlegend"]]
    assert len(named) == 35 and len({(t["line"]["color"], t["line"]["dash"], t["marker"]["symbol"]) for t in named}) == 35


@pytest.mark.parametrize(("longest", "unit", "scale"), [(10.0, "hours", 1), (1.5, "minutes", 60), (0.01, "seconds", 3600)])
def test_wall_time_is_drawn_in_a_unit_that_suits_it(longest: float, unit: str, scale: float) -> None:
    result = plot_result(group("ppo", env_result("Hopper-v4", [1, 2])))
    figure = curves_figure(curves_result(band("ppo", last=longest), unit="hours"), result)
    assert figure.x_title == f"wall time ({unit})"
    assert figure.panels[0].lines[0].x[-1] == pytest.approx(longest * scale)
    assert figure.panels[0].cut is None, "a cut counts steps, not hours"


def test_the_cut_is_marked_where_the_axis_counts_the_same_steps() -> None:
    result = plot_result(group("ppo", env_result("Hopper-v4", [1, 2])))
    steps, frames = (
        curves_figure(curves_result(band("ppo")), result),
        curves_figure(curves_result(band("ppo"), unit="frame"), result),
    )
    assert steps.panels[0].cut == 1000 and frames.panels[0].cut is None
    assert len(layout(steps, 960, False)["shapes"]) == 1 and "dotted line is the cut" in " ".join(steps.footer.sentences())


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_a_band_is_closed_around_each_stretch_and_never_bridges_a_gap(known: list[bool]) -> None:
    ends = np.where(known, 1.0, np.nan)
    here = CurveBand("ppo", "e", np.arange(len(known)) + 1.0, np.ones(len(known)), ends - 2, ends + 2, np.ones(len(known)))
    figure = curves_figure(curves_result(here), plot_result(group("ppo", env_result("e", [1, 2]))))
    areas = [trace for trace in traces(figure) if trace.get("fill")]
    if not any(known):
        assert not areas
        return
    (area,) = areas
    xs, ys = np.asarray(area["x"]), np.asarray(area["y"])
    pieces = [piece[np.isfinite(piece)] for piece in np.split(xs, np.flatnonzero(np.isnan(xs)))]
    drawn = [sorted(set(piece.tolist())) for piece in pieces]
    assert [x for piece in drawn for x in piece] == [i + 1.0 for i, yes in enumerate(known) if yes]
    assert all(piece == list(np.arange(piece[0], piece[-1] + 1)) for piece in drawn)
    assert sorted(ys[np.isfinite(ys)].tolist()) == [-1.0] * sum(known) + [3.0] * sum(known)


def test_curves_are_straight_lines_through_every_point() -> None:
    figure = curves_figure(
        curves_result(band("ppo", points=500, gap=slice(5, 9))), plot_result(group("ppo", env_result("Hopper-v4", [1, 2])))
    )
    area, line = traces(figure)
    assert len(line["y"]) == 500 and np.isnan(line["y"][5:9]).all()
    assert line["line"]["simplify"] is False and "shape" not in line["line"] and line["line"]["dash"] == "solid"
    assert 0.15 <= float(area["fillcolor"].rsplit(",", 1)[1].rstrip(")")) <= 0.18


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("groups", "envs"), [(1, 1), (3, 6), (5, 26), (2, 57), (35, 1), (12, 3)])
def test_panels_lie_apart_inside_the_figure_and_the_footer_below_everything(groups: int, envs: int, width: int) -> None:
    result, curves = many(groups, envs)
    for figure in (interval_figure(result), curves_figure(curves, result)):
        made = layout(figure, width, True)
        check_panels(figure, made)
        *_, x_title, footer = made["annotations"]
        margin = made["margin"]
        lines = footer["text"].count("<br>") + 1
        assert footer["yshift"] <= x_title["yshift"] - 16 * (x_title["text"].count("<br>") + 1)
        assert -footer["yshift"] + lines * 15 <= margin["b"]
        assert margin["l"] + margin["r"] < 0.62 * width, "the panels keep most of the width"


def check_panels(figure: IntervalFigure | CurvesFigure, made: dict[str, Any]) -> None:
    boxes = []
    for index in range(len(figure.panels)):
        name = index + 1 if index else ""
        (left, right), (low, high) = made[f"xaxis{name}"]["domain"], made[f"yaxis{name}"]["domain"]
        assert 0 <= left < right <= 1 and 0 <= low < high <= 1
        boxes.append((left, right, low, high))
    for index, one in enumerate(boxes):
        for other in boxes[index + 1 :]:
            assert one[1] <= other[0] or other[1] <= one[0] or one[3] <= other[2] or other[3] <= one[2]


def test_plotly_accepts_what_is_painted_and_takes_labels_literally() -> None:
    hostile = "<b>bold</b> & %{x} $x$"
    result = plot_result(group(hostile, env_result("<i>env</i>", [1, 2, 3]), env_result("b", [1.0])))
    curves = curves_result(band(hostile, "<i>env</i>"))
    for figure in (interval_figure(result), curves_figure(curves, result)):
        text = json.dumps(paint(figure, 800).to_plotly_json(), default=str)
        assert "<i>" not in text and "<b>bold" not in text and "&lt;" in text
        assert "%{x} $x$" not in "".join(trace.get("hovertemplate", "") for trace in traces(figure))


def test_ticks_use_si_letters_for_large_numbers_only() -> None:
    ranges = ((0, 1e6), (-30_000, 10), (-3000, 10), (0, 1), (99_999.9, 100_000.1), (-1, 0.5))
    assert [tick_format(*ends) for ends in ranges] == ["~s", "~s", ",~r", ",~r", ",~r", ",~r"]
    assert [tick_words(-1500, 0)(at) for at in (-1500, -750, 0)] == ["\u22121,500", "\u2212750", "0"], "no 1k beside 500"


@given(st.lists(st.integers(-5, 60), max_size=40), st.integers(0, 3))
def test_seed_ranges_hold_exactly_the_seeds(numbers: list[int], unknown: int) -> None:
    found: list[int] = []
    for part in filter(None, seeds([*map(abs, numbers), *[None] * unknown]).split(", ")):
        if part.endswith("not stated"):
            assert int(part.split()[0]) == unknown
            continue
        ends = [int(number) for number in part.split("-")]
        found += range(ends[0], ends[-1] + 1)
    assert found == sorted(map(abs, numbers))


@given(st.text(max_size=80), st.integers(1, 30))
def test_wrapping_keeps_every_printable_character_and_the_width(text: str, width: int) -> None:
    lines = wrapped(text, width)
    shown = "".join(sign if sign.isprintable() else " " for sign in text)
    assert "".join("".join(lines).split()) == "".join(shown.split())
    assert all(len(line) <= width for line in lines)


def test_importing_the_analysis_page_loads_no_painter() -> None:
    heavy = ("plotly", "numpy", "polars", "matplotlib", "duckdb")
    code = f"import sys, openrlb_analysis.report; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
