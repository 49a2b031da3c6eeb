"""``import openrlb``: light, typed, and in a notebook nothing that a log file says becomes HTML."""

from __future__ import annotations

import base64
import math
import signal
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from builders import batch
from hypothesis import given
from hypothesis import strategies as st
from programs import wait_until
from studied import Studied

import openrlb
from openrlb.errors import NothingMatched, UsageError
from openrlb.store import Store
from openrlb.tabular import ROWS_SHOWN, Tabular, curve, fragment, image

HOSTILE = "<script>alert(1)</script>\"' onload=x><img src=x onerror=alert(1)>"
TAGS = {"div", "p", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "svg", "path", "img"}
ATTRIBUTES = {
    "style",
    "scope",
    "role",
    "aria-label",
    "width",
    "height",
    "viewbox",
    "d",
    "fill",
    "stroke",
    "stroke-width",
    "alt",
    "src",
}


class Seen(HTMLParser):
    """The texts of a piece of HTML, made sure that nothing in it can act."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS, tag
        assert {name for name, _ in attrs} <= ATTRIBUTES, attrs
        sources = [value or "" for name, value in attrs if name == "src"]
        assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
        assert all(b"<script" not in base64.b64decode(source.split(",")[1]) for source in sources)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def stored(count: int = 6, **fields: Any) -> Store:
    """Runs of two algorithms, three seeds each, whose names are HTML."""
    store = Store()
    store.write(
        [
            batch(f"r{n}", algo=("ppo", "a2c")[n % 2], seed=n // 2, offset=float(n * n % 7), config={HOSTILE: HOSTILE}, **fields)
            for n in range(count)
        ]
    )
    store.fold()
    return store


def test_importing_loads_nothing_heavy_and_names_every_verb() -> None:
    heavy = "torch wandb pandas polars optuna plotly duckdb scipy matplotlib rliable pyarrow numpy typer rich"
    code = f"""
import sys, openrlb
loaded = set({heavy!r}.split()) & set(sys.modules)
assert not loaded, loaded
assert not [name for name in sys.modules if name.startswith("openrlb.")], "a module of ours was loaded too"
dir(openrlb)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    verbs = (
        "report export export_bundle fetch runs list_runs show query plot compare power run tune study studies reproduce doctor"
    )
    assert set(verbs.split()) <= set(dir(openrlb))
    for name in openrlb.__all__:
        assert getattr(openrlb, name) is not None and (getattr(openrlb, name).__doc__ or "").strip(), name
    with pytest.raises(AttributeError, match="no attribute 'plto'"):
        _ = openrlb.plto
    stub = Path(openrlb.__file__).with_name("py.typed")
    assert stub.exists()


def test_errors_are_those_of_the_command_line() -> None:
    with pytest.raises(openrlb.OpenrlbError) as told:
        openrlb.runs()
    assert isinstance(told.value, NothingMatched) and told.value.exit_code == 3 and "openrlb fetch" in told.value.fix
    stored()
    with pytest.raises(NothingMatched, match="did you mean Hopper"):
        openrlb.runs(env="Hoper")
    with pytest.raises(UsageError, match="no column"):
        openrlb.runs(sort="sead")


def test_arguments_of_another_kind_are_refused_in_words(tmp_path: Path) -> None:
    wrong: Any = "Hopper"
    calls = [
        lambda: openrlb.plot(wrong),
        lambda: openrlb.plot(options={"metric": "iqm"}),  # type: ignore[arg-type]
        lambda: openrlb.compare(["ppo", "a2c"], wrong),
        lambda: openrlb.power(["ppo", "a2c"], 1.0, wrong),
        lambda: openrlb.fetch([tmp_path], selection=wrong),
        lambda: openrlb.export(tmp_path / "x.csv", selection=wrong),
        lambda: openrlb.report({"env": "Hopper"}),  # type: ignore[arg-type]
        lambda: openrlb.list_runs(wrong),
        lambda: openrlb.list_runs(store=tmp_path),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises(UsageError, match="is no") as refusal:
            call()
        assert "leave it out" in refusal.value.fix


def test_runs_are_a_list_a_frame_and_a_table() -> None:
    stored()
    runs = openrlb.runs(env="Hopper", algo=("ppo", "a2c"), sort=["algo", "-seed"])
    assert [(row.record.algo, row.record.seed) for row in runs] == [(algo, seed) for algo in ("a2c", "ppo") for seed in (2, 1, 0)]
    assert repr(runs) == "<6 runs, 2 algorithms, 1 environment>"
    frame = runs.to_polars()
    assert frame.columns == [*runs[0].columns, "score", "score_of", "score_kind"] and frame["seed"].to_list() == [2, 1, 0] * 2
    assert runs.to_pandas()["seed"].tolist() == [2, 1, 0] * 2
    seen = Seen(runs._repr_html_())
    assert "r0" in seen.texts and runs._repr_html_().count("<svg") == 6
    groups = openrlb.group_runs(runs, ["algo"])
    assert groups.to_polars()["runs"].to_list() == [3, 3] and "a2c" in Seen(groups._repr_html_()).texts
    assert openrlb.runs(seed=1).records()[0]["seed"] == 1


def test_a_long_list_says_how_many_it_does_not_show() -> None:
    stored(ROWS_SHOWN + 5)
    runs = openrlb.runs()
    html = runs._repr_html_()
    assert html.count("<tr>") == ROWS_SHOWN + 1 and any(text.startswith("5 more runs") for text in Seen(html).texts)
    assert runs.to_polars().height == ROWS_SHOWN + 5
    asked = openrlb.query("SELECT unnest(range(100)) AS n")
    assert any(text.startswith("70 more rows") for text in Seen(asked._repr_html_()).texts) and asked.to_polars().height == 100


def test_every_result_is_inert_in_a_notebook_and_whole_in_a_frame() -> None:
    stored(project=HOSTILE, impl=HOSTILE, notes=(HOSTILE,))
    selection = openrlb.Selection(env="Hopper")
    plotted = openrlb.plot(selection, openrlb.PlotOptions(resamples=200), curves=True)
    compared = openrlb.compare(["ppo", "a2c"], selection, openrlb.CompareOptions(openrlb.ScoreOptions(resamples=200), margin=1.0))
    planned = openrlb.power(["ppo", "a2c"], 1.0, selection)
    shown = openrlb.show("r0")
    asked = openrlb.query("SELECT project, impl, NULL AS nothing, 'nan'::DOUBLE AS odd, 1 AS project FROM runs")
    for result in (plotted, compared, planned, shown, asked, openrlb.runs(), openrlb.doctor()):
        assert isinstance(result, Tabular)
        seen = Seen(result._repr_html_())
        assert "".join(seen.texts).strip()
        assert repr(result).startswith("<") and len(repr(result)) < 1000
        frame, records = result.to_polars(), result.records()
        assert frame.height == len(records) and frame.columns == list(records[0])
        assert list(result.to_pandas().columns) == frame.columns
    assert HOSTILE in "".join(Seen(asked._repr_html_()).texts)
    assert plotted._repr_html_().count("<img") >= 2
    assert plotted.to_polars()["value"].to_list() == [group.per_env[0].value for group in plotted.result.groups]
    assert compared.to_polars()["verdict"].to_list() == [compared.verdict]
    odd = asked.to_polars()
    assert odd["odd"].is_nan().all() and odd["nothing"].is_null().all() and odd.columns[-1] == "project_1"


def test_measures_have_their_own_numbers() -> None:
    stored()
    answer = openrlb.plot(options=openrlb.PlotOptions(metric="profile", resamples=200, normalize="none"))
    assert {"label", "tau", "value"} <= set(answer.to_polars().columns)
    Seen(answer._repr_html_())


def test_a_study_and_the_list_of_studies(studied: Studied) -> None:
    studies = openrlb.studies()
    assert [row.study for row in studies] == [studied.name] and studies.to_polars()["phase"].to_list() == ["finished"]
    study = openrlb.study(studied.name)
    names = study.to_polars()["name"].to_list()
    assert names[0] == "incumbent" and len(names) == 3
    seen = Seen(study._repr_html_())
    assert any("tuning, optimistic" in text for text in seen.texts) and repr(study).startswith(f"<{studied.name}: ")
    Seen(studies._repr_html_())


def test_one_source_need_not_be_in_a_list(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "a.csv").write_text("algo,env,seed,step,return\nppo,Hopper-v4,1,10,5.0\nppo,Hopper-v4,1,20,7.0\n")
    report = openrlb.fetch(str(folder))
    assert repr(report) == "<1 run found in 1 environment: 1 new, 0 changed, 0 unchanged>"
    assert openrlb.fetch(folder).unchanged == 1
    assert report.to_polars().to_dicts() == [{"env": "Hopper-v4", "runs": 1}]


def test_an_interrupted_fetch_leaves_a_store_that_the_next_one_completes(tmp_path: Path) -> None:
    for seed in range(3):
        (tmp_path / f"{seed}.csv").write_text(f"algo,env,seed,step,return\nppo,Hopper-v4,{seed},10,5.0\n")
    files: list[Path] = []

    def interrupt(path: Path) -> None:
        files.append(path)
        if len(files) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        openrlb.fetch(tmp_path, on_file=interrupt)
    assert openrlb.fetch(tmp_path).found == 3
    assert openrlb.runs().to_polars()["seed"].to_list() == [0, 1, 2]


def test_ctrl_c_ends_a_query_and_not_the_session(tmp_path: Path) -> None:
    stored()
    code = """
import openrlb
from pathlib import Path
openrlb.query("SELECT 1")  # everything is imported
try:
    Path("asked").touch()
    openrlb.query("SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range + b.range < 0")
except KeyboardInterrupt:
    print("interrupted", openrlb.query("SELECT count(*) FROM runs").rows)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as child:
        wait_until((tmp_path / "asked").exists)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=120)
    assert out.split() == ["interrupted", "[(6,)]"], err


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: openrlb.runs("Hopper"), "openrlb.runs was given 'Hopper' without a name"),
        (lambda: openrlb.save_figure(None, "a.pdf"), "answer is nothing that can be drawn"),  # type: ignore[arg-type]
    ],
)
def test_what_python_was_given_wrongly_is_told_in_words(call: Callable[[], object], told: str) -> None:
    with pytest.raises(UsageError, match=told) as raised:
        call()
    assert "openrlb." in raised.value.fix


TEXTS = st.text(st.characters(codec="utf-8"), max_size=30) | st.just(HOSTILE)
CELLS = st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats() | TEXTS | st.lists(TEXTS, max_size=3)


@given(TEXTS, TEXTS, st.lists(CELLS, min_size=1, max_size=5), TEXTS)
def test_whatever_a_table_holds_it_is_text(headline: str, name: str, cells: list[Any], note: str) -> None:
    html = fragment(headline, [{name: cell} for cell in cells], [note])
    seen = "".join(Seen(html).texts).replace("\r", "\n")
    for text in (headline, note, name):
        assert text.replace("\r", "\n") in seen


@given(st.lists(st.none() | st.floats() | st.sampled_from([1.7e308, -1.7e308]), max_size=20), TEXTS)
def test_whatever_a_curve_goes_through_its_drawing_is_finite(means: list[float | None], words: str) -> None:
    svg = curve(means, words)
    Seen(svg)
    known = [value for value in means if value is not None and math.isfinite(value)]
    assert bool(svg) == bool(known) and "nan" not in svg.split('d="')[-1] and "inf" not in svg.split('d="')[-1]


def test_an_image_keeps_its_words_in_its_attributes() -> None:
    Seen(image(b"<svg/>", HOSTILE))
