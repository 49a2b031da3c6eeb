"""Parts of a page: which points are drawn of long curves, and what is packed."""

from __future__ import annotations

import base64
import gzip
import json

import numpy as np
from figure_results import band, curves_result, env_result, group, plot_result
from hypothesis import given
from hypothesis import strategies as st

from openrlb_analysis.figures.page import Numbers, Table, Trend
from openrlb_analysis.figures.spec import curves_figure
from openrlb_analysis.pages.elements import downloads, slug, table, trend
from openrlb_analysis.pages.packed import columnar, packed
from openrlb_analysis.pages.thinning import kept_points, rounded, thinned

VALUES = st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), min_size=1, max_size=300)


@given(VALUES, st.integers(1, 20), st.booleans())
def test_no_peak_is_lost_and_no_point_is_made_up(values: list[float], stretches: int, uneven: bool) -> None:
    value = np.array(values)
    x = (
        np.cumsum(np.abs(value[::-1]).astype(np.int64) % 50 + 1.0)
        if uneven and np.isfinite(value).all()
        else np.arange(len(value)) * 1.0
    )
    kept = kept_points(x, value, stretches)
    assert kept.tolist() == sorted(set(kept.tolist())) and kept[0] == 0 and kept[-1] == len(value) - 1
    assert len(kept) <= max(2 * stretches + 2, 2 * stretches) and (len(value) > 2 * stretches or len(kept) == len(value))
    known = value[np.isfinite(value)]
    if len(known):
        drawn = value[kept][np.isfinite(value[kept])]
        assert drawn.min() == known.min() and drawn.max() == known.max()


def test_a_short_figure_is_left_as_it_is_and_a_long_one_says_what_is_drawn() -> None:
    result = plot_result(group("ppo", env_result("Hopper-v4", [1.0, 2.0])))
    short = curves_figure(curves_result(band("ppo", points=100)), result)
    assert thinned(short) == (short, "")
    long = curves_figure(curves_result(band("ppo", points=5000)), result)
    drawn, told = thinned(long)
    line = drawn.panels[0].lines[0]
    assert len(line.x) == len(line.low) == len(line.runs) <= 242 and told.startswith(
        f"{len(line.x)} of 5,000 positions are drawn"
    )
    assert set(line.x) <= set(long.panels[0].lines[0].x) and drawn.panels[0].y_range == long.panels[0].y_range


@given(st.lists(st.fixed_dictionaries({"a": st.integers() | st.none(), "b": st.text(max_size=5)}), max_size=5))
def test_packed_rows_come_back(rows: list[dict[str, object]]) -> None:
    found = json.loads(gzip.decompress(base64.b64decode(packed(columnar(rows)))))
    plain = [{"a": row["a"], "b": str(row["b"]).encode("utf-8", "replace").decode()} for row in rows]
    assert [dict(zip(found, each, strict=True)) for each in zip(*found.values(), strict=True)] == plain
    assert packed(columnar(rows)) == packed(columnar(rows))


def test_rounded_numbers_are_within_a_pixel() -> None:
    values = np.random.default_rng(0).normal(size=100) * 10.0 ** np.arange(-50, 50)
    assert all(
        one is not None and abs(one - value) <= 5e-5 * abs(value)
        for one, value in zip(rounded(values), values.tolist(), strict=True)
    )


def test_trends_with_gaps_single_values_and_none() -> None:
    assert trend(Trend((1.0, None, 2.0, 3.0), "x")).count("<polyline") == 1 and "<circle" in trend(
        Trend((1.0, None, 2.0, 3.0), "x")
    )
    assert "<polyline" not in trend(Trend((None, float("nan")), "x")) and "nan" not in trend(Trend((5.0, 5.0, float("inf")), "x"))
    assert "&lt;b&gt;" in trend(Trend((1.0,), "<b>"))


def test_names_of_parts_are_unique_and_hold_no_markup() -> None:
    taken: set[str] = set()
    names = [slug(text, taken) for text in ("Runs", "Runs", "<script>", "", "é", "Runs-2")]
    assert len(set(names)) == 6 and all(name.replace("-", "").isalnum() for name in names)
    assert "<b>" not in downloads([Numbers("<b>", [{"a": 1}])], "x") and table(Table("<b>", (), ())).count("<b>") == 0
