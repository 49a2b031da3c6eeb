"""Figures for print: the same numbers as in HTML, at the size asked for, in embedded TrueType, distinct without colour."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from figure_results import HOW, band, curves_result, env_result, group, many, plot_result
from hypothesis import given
from hypothesis import strategies as st

from openrlb.errors import UsageError
from openrlb_analysis.figures.matplotlib_painter import image_parts, painting, write_image
from openrlb_analysis.figures.measure_figures import measure_figure
from openrlb_analysis.figures.plotly_painter import traces
from openrlb_analysis.figures.size import POINTS_PER_MM, TALLEST, size_of
from openrlb_analysis.figures.spec import CurvesFigure, IntervalFigure, curves_figure, interval_figure
from openrlb_analysis.measured import GroupRanks, Ranks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAGE = size_of("page")
Spec = IntervalFigure | CurvesFigure


def drawn(figure: Spec, word: str = "page") -> list[Figure]:
    return image_parts(figure, size_of(word))


def axes_of(parts: list[Figure]) -> list[Axes]:
    return [axes for part in parts for axes in part.axes]


@given(st.integers(30, 2000), st.integers(30, 2000), st.sampled_from(["x", "\u00d7", " x "]))
def test_a_size_in_millimetres_is_that_size(width: int, height: int, sign: str) -> None:
    size = size_of(f"{width}{sign}{height}mm")
    assert size.height is not None
    assert (size.width / POINTS_PER_MM, size.height / POINTS_PER_MM) == (pytest.approx(width), pytest.approx(height))


@pytest.mark.parametrize("word", ["", "A4", "10x10mm", "100x2001mm", "100x50", "100x50cm", "-1x50mm", "1e9x50mm", "nanxinfmm"])
def test_other_sizes_are_refused(word: str) -> None:
    with pytest.raises(UsageError, match="column, page, or 120x60mm"):
        size_of(word)


def test_intervals_estimates_and_single_runs_are_those_of_the_interactive_figure() -> None:
    result = plot_result(
        group("ppo", env_result("a", [1, 2, 6]), env_result("b", [5.0])), group("sac", env_result("a", [3, 4], 2.5, 4.5))
    )
    figure = interval_figure(result)
    for index, axes in enumerate(axes_of(drawn(figure))):
        place = f"x{index + 1 if index else ''}"
        shown = [trace for trace in traces(figure) if trace["xaxis"] == place]
        bars = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in axes.patches]
        bar = next((trace for trace in shown if trace["type"] == "bar"), {"base": [], "x": []})
        assert bars == [(base, pytest.approx(base + width)) for base, width in zip(bar["base"], bar["x"], strict=True)]
        dots = [float(x) for line in axes.lines if line.get_marker() == "o" for x in np.asarray(line.get_xdata())]
        points = [float(np.asarray(line.get_xdata())[0]) for line in axes.lines if line.get_marker() != "o"]
        theirs = [list(trace["x"]) for trace in shown if trace["type"] == "scatter"]
        assert sorted(dots + points) == sorted(float(x) for xs in theirs for x in xs)
        assert axes.get_xlim() == figure.panels[index].x_range


def test_curves_and_bands_are_those_of_the_interactive_figure_and_gaps_stay_gaps() -> None:
    result, _ = many(2, 2)
    bands = [band(one.label, env, gap=slice(5, 9)) for env in ("ALE/Game0-v5", "ALE/Game1-v5") for one in result.groups]
    figure = curves_figure(curves_result(*bands), result)
    lines = [trace for trace in traces(figure) if trace.get("name")]
    ours = [line for axes in axes_of(drawn(figure)) for line in axes.lines if len(np.asarray(line.get_xdata())) > 2]
    assert len(ours) == len(lines) == 4
    for line, trace in zip(ours, lines, strict=True):
        np.testing.assert_allclose(np.asarray(line.get_xdata(), float), trace["x"], rtol=1e-6)
        np.testing.assert_allclose(np.asarray(line.get_ydata(), float), trace["y"], rtol=1e-6)
    for axes in axes_of(drawn(figure)):
        for collection in axes.collections:
            assert len(collection.get_paths()) == 2, "a band never bridges a gap"


def test_every_text_is_literal_whatever_a_label_holds() -> None:
    hostile = ["$x^2$ 50% \\input{a}", "{\\bf b} & #1 _x_", "<i>c</i>", "d\u8d64"]
    result = plot_result(*(group(label, env_result("$e$", [1, 2, 3])) for label in hostile))
    curves = curves_result(*(band(label, "$e$") for label in hostile))
    for figure in (interval_figure(result), curves_figure(curves, result)):
        (part,) = drawn(figure)
        texts = " ".join(text.get_text().replace("\n", " ") for text in part.findobj(match=_text_class()))  # type: ignore[attr-defined]
        shown = texts.replace(" ", "")
        assert all(label.replace(" ", "") in shown for label in hostile) and "$e$" in shown
        notes = write_image(part, Path("hostile.pdf"), ".pdf", {"title": hostile[0], "description": hostile[1], "command": ""})
        assert not notes or "characters" in notes[0]


def _text_class() -> Any:
    from matplotlib.text import Text

    return Text


def test_pdf_fonts_are_embedded_truetype_and_every_text_is_8_point() -> None:
    result, curves = many(3, 2)
    for name, figure in (("i", interval_figure(result)), ("c", curves_figure(curves, result))):
        (part,) = drawn(figure)
        write_image(part, Path(f"{name}.pdf"), ".pdf", {"title": "t", "description": "what is shown", "command": "openrlb plot"})
        raw = Path(f"{name}.pdf").read_bytes()
        assert b"/FontFile2" in raw and b"/Type3" not in raw and b"/FontFile3" not in raw
        fonts = re.findall(rb"/Subtype /(CIDFontType2|TrueType)", raw)
        assert fonts, "a font is there, and it is TrueType"
        sizes = {float(size) for stream in _streams(raw) for size in re.findall(rb"/F\d+ ([\d.]+) Tf", stream)}
        assert sizes == {8.0}
        assert b"what is shown" in raw and b"openrlb plot" in raw, "the facts travel inside the file"
        box = [float(end) for end in re.search(rb"/MediaBox \[ ([\d. ]+) \]", raw)[1].split()]  # type: ignore[index]
        assert box[2] == pytest.approx(PAGE.width, abs=0.01) and box[3] == pytest.approx(part.get_figheight() * 72, abs=0.01)


def _streams(raw: bytes) -> list[bytes]:
    found = []
    for match in re.finditer(rb"stream\r?\n(.*?)endstream", raw, re.DOTALL):
        try:
            found.append(zlib.decompress(match[1]))
        except zlib.error:
            found.append(match[1])
    return found


@pytest.mark.parametrize(
    ("groups", "envs", "word"),
    [(1, 1, "column"), (3, 6, "column"), (12, 3, "column"), (35, 1, "page"), (2, 14, "page")],
)
def test_texts_lie_inside_and_apart_and_no_part_is_taller_than_a_page(groups: int, envs: int, word: str) -> None:
    result, curves = many(groups, envs)
    for figure in (interval_figure(result), curves_figure(curves, result)):
        parts = drawn(figure, word)
        assert all(part.get_figheight() * 72 <= TALLEST * POINTS_PER_MM + 0.01 for part in parts)
        assert all(part.get_figwidth() * 72 == pytest.approx(size_of(word).width) for part in parts)
        check_texts(parts[0])
        check_texts(parts[-1])
        if isinstance(figure, IntervalFigure):
            rows = [text.get_text() for axes in axes_of(parts) for text in axes.get_yticklabels()]
            assert {"".join(text.split()) for text in rows if text} == {"".join(row.split()) for row in figure.rows}
        else:
            shown = [line for axes in axes_of(parts) for line in axes.lines if len(np.asarray(line.get_xdata())) > 2]
            assert len(shown) == sum(len(panel.lines) for panel in figure.panels), "no curve is lost between parts"


def check_texts(part: Figure) -> None:
    """Panels lie apart, and every text inside the paper and on no other text."""
    with painting():
        part.canvas.draw()  # type: ignore[no-untyped-call]
    shown = [text for text in part.findobj(match=_text_class()) if text.get_visible() and text.get_text().strip()]  # type: ignore[attr-defined]
    boxes = [text.get_window_extent() for text in shown]
    width, height = part.get_figwidth() * 72, part.get_figheight() * 72
    for text, box in zip(shown, boxes, strict=True):
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1.5 and box.y1 <= height + 1, text.get_text()
    places = np.array([[box.x0 + 0.6, box.y0 + 1.2, box.x1 - 0.6, box.y1 - 1.2] for box in boxes])  # letters are lower than boxes
    over = (places[:, None, 0] < places[None, :, 2]) & (places[None, :, 0] < places[:, None, 2])
    over &= (places[:, None, 1] < places[None, :, 3]) & (places[None, :, 1] < places[:, None, 3])
    np.fill_diagonal(over, False)
    assert not over.any(), [(shown[i].get_text(), shown[j].get_text()) for i, j in np.argwhere(over)[:3]]


def test_a_fixed_size_is_kept_and_filled() -> None:
    result, curves = many(3, 4)
    for figure in (interval_figure(result), curves_figure(curves, result)):
        (part,) = image_parts(figure, size_of("160x90mm"))
        assert (part.get_figwidth() * 25.4, part.get_figheight() * 25.4) == (pytest.approx(160), pytest.approx(90))
        check_texts(part)
        tops = [axes.get_position().y1 for axes in part.axes]
        bottoms = [axes.get_position().y0 for axes in part.axes]
        assert max(tops) > 0.75 and min(bottoms) < 0.3, "the panels fill the height"


def test_a_size_without_room_for_one_panel_is_refused() -> None:
    result, curves = many(12, 1)
    for figure in (interval_figure(result), curves_figure(curves, result)):
        with pytest.raises(UsageError, match="mm high"):
            image_parts(figure, size_of("80x30mm"))


def test_groups_differ_without_colour() -> None:
    result, curves = many(14)
    figure = curves_figure(curves, result)
    (axes,) = axes_of(drawn(figure))
    lines = [line for line in axes.lines if len(np.asarray(line.get_xdata())) > 2]
    looks = {(line.get_marker(), line.get_linestyle(), line.get_markerfacecolor() == "#ffffff") for line in lines}
    assert len(looks) == 14


def test_bars_of_ranks_differ_without_colour_and_have_the_frequencies() -> None:
    result = plot_result(*(group(name, env_result("e", [1, 2, 3])) for name in "abc"))
    shares = {"a": (0.5, 0.25, 0.25), "b": (0.5, 0.5, 0.0), "c": (0.0, 0.25, 0.75)}
    ranks = Ranks(tuple(GroupRanks(name, 2.0, share) for name, share in shares.items()), "IQM", ("e",), HOW)
    figure = measure_figure(ranks, result)
    (axes,) = axes_of(image_parts(figure, PAGE))
    heights = sorted(round(patch.get_height(), 6) for patch in axes.patches)
    assert heights == sorted(share for one in shares.values() for share in one if share)
    assert len({patch.get_hatch() for patch in axes.patches}) == 3


@pytest.mark.parametrize("suffix", [".pdf", ".svg", ".png"])
def test_equal_figures_give_equal_bytes_and_a_users_settings_change_nothing(suffix: str) -> None:
    import matplotlib as mpl

    result, curves = many(2)
    about = {"title": "t", "description": "d \u03c4 \u00e9", "command": "c"}
    for name, rc in (("a", {}), ("b", {"font.size": 20.0, "axes.facecolor": "red", "svg.fonttype": "none", "pdf.fonttype": 3})):
        with mpl.rc_context(rc):  # type: ignore[arg-type]
            before = dict(mpl.rcParams)
            (part,) = drawn(curves_figure(curves, result))
            write_image(part, Path(name), suffix, about)
            assert dict(mpl.rcParams) == before, "and ours do not leak"
    assert Path("a").read_bytes() == Path("b").read_bytes()


def test_png_is_for_print_and_carries_its_facts() -> None:
    from PIL import Image

    result, _ = many(1)
    (part,) = drawn(interval_figure(result))
    write_image(part, Path("x"), ".png", {"title": "t", "description": "n and rule", "command": "openrlb plot"})
    with Image.open(io.BytesIO(Path("x").read_bytes())) as image:
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert image.info["Description"] == "n and rule" and image.info["Source"] == "openrlb plot"


def test_drawing_for_print_needs_no_display_and_no_pyplot() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from figure_results import many\n"
        "from openrlb_analysis.figures.spec import interval_figure\n"
        "from openrlb_analysis.figures.size import size_of\n"
        "from openrlb_analysis.figures.matplotlib_painter import image_parts\n"
        "image_parts(interval_figure(many(1)[0]), size_of('page'))\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    folder = str(Path(__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
