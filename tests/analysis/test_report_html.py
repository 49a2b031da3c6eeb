"""The HTML page: what it says, that hostile names do nothing, and what a real browser makes of it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from figure_results import METHOD, drawn, runs
from reported import packed

from openrlb.errors import OpenrlbError
from openrlb_analysis.analyse import analyse
from openrlb_analysis.figures.plot_page import plot_page
from openrlb_analysis.figures.spec import CurvesFigure, interval_figure, metrics_figure, with_log_x
from openrlb_analysis.measures import MEASURES
from openrlb_analysis.report import Column, Page, Provenance, Section, Table, html, write_page
from openrlb_analysis.result import CurveBand, CurvesResult, EnvResult, Excluded, GroupResult, IntervalMethod, PlotResult
from openrlb_analysis.summary import summary_of

HOW = IntervalMethod("percentile", 0.95, 50_000, 0, "too narrow below 10 seeds")
HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>\u2028 & <b>"
PLAIN = Provenance("openrlb plot", ("td3",), ("r1",), {"openrlb": "0.1.0"})
PROBE = "http://127.0.0.1:9/probe"
INSTRUMENT = (
    """addEventListener("load", () => setTimeout(async () => {
  const waiting = () => [...document.querySelectorAll(".plot")].some((box) => !box.querySelector(".main-svg"));
  while (waiting()) await new Promise((done) => setTimeout(done, 20));
  const style = (element) => getComputedStyle(element);
  const seen = { overflow: document.documentElement.scrollWidth - innerWidth, ground: style(document.body).backgroundColor };
  seen.figures = [...document.querySelectorAll(".plot")].map((box) => {
    const all = (selector) => [...box.querySelectorAll(selector)];
    const at = box.getBoundingClientRect();
    const texts = all(".infolayer text, .xaxislayer-above text, .yaxislayer-above text").map((text) => {
      const r = text.getBoundingClientRect();
      return { text: text.textContent, box: [r.left - at.left, r.top - at.top, r.right - at.left, r.bottom - at.top] };
    });
    return {
      width: at.width, height: at.height, texts: texts.filter((each) => each.box[2] > each.box[0]),
      inks: all(".infolayer text, .xaxislayer-above text, .yaxislayer-above text").map((text) => style(text).fill),
      lines: all(".js-line").map((line) => style(line).stroke).filter((color) => color !== "none"),
      grid: all(".gridlayer path").map((line) => style(line).stroke),
    };
  });
  new Image().src = "PROBE";
  const make = URL.createObjectURL;
  const saved = new Promise((done) => { URL.createObjectURL = (blob) => { blob.text().then(done); return make(blob); }; });
  HTMLAnchorElement.prototype.click = function () { seen.name = this.download; };
  document.querySelector("button[data-save=svg]").click();
  seen.saved = await saved;
  await new Promise((done) => setTimeout(done, 200));
  document.documentElement.dataset.seen = btoa(unescape(encodeURIComponent(JSON.stringify(seen))));
}, 500));"""
).replace("PROBE", PROBE)


def group(label: str, envs: Sequence[str], seeds: int = 4, shift: float = 0.0) -> GroupResult:
    per_env = []
    for place, env in enumerate(envs):
        scores = tuple(float(shift + 100 * (place + 1) + 7 * seed) for seed in range(seeds))
        ids = tuple(f"{label}-{env}-{seed}" for seed in range(seeds))
        ends = (min(scores), max(scores)) if seeds > 1 else (None, None)
        value, spread = float(np.mean(scores)), float(np.std(scores, ddof=1)) if seeds > 1 else None
        per_env.append(
            EnvResult(env, seeds, tuple(range(seeds)), value, *ends, value, spread, value, "runs", (5, 5), scores, ids)
        )
    pooled = per_env[0].value if len(envs) == 1 else None
    return GroupResult(
        label, label, "sb3", "v", {"algo": label}, pooled, None, None, seeds * len(envs), len(envs), tuple(per_env)
    )


def result_of(labels: Sequence[str], envs: Sequence[str], **changes: Any) -> PlotResult:
    facts: dict[str, Any] = {
        "metric": "iqm", "of": "eval/mean_reward", "kind": "eval", "step_unit": "agent_step", "rule": "final:10%",
        "step": dict.fromkeys(envs, 90_000), "cut_cause": dict.fromkeys(envs, "the median last step of sac"), "ddof": 1,
        "normalization": "none", "interval": HOW,
        "groups": tuple(group(label, envs, shift=20.0 * place) for place, label in enumerate(labels)),
        "excluded": (Excluded("run-x", "short: it ends at 400"), Excluded("run-y", "crashed")), "sources": ("td3",),
        "notes": ("A note that must be read.",),
    }  # fmt: skip
    return PlotResult(**{**facts, **changes})


def curves_of(result: PlotResult, unit: str = "agent_step", points: int = 60) -> CurvesResult:
    rng = np.random.default_rng(0)
    last = 100_000 if unit == "agent_step" else 3.0
    x, bands = np.linspace(last / points, last, points), []
    for each in result.groups:
        for entry in each.per_env:
            value = entry.value * (1 - np.exp(-np.arange(points) / 12)) + rng.normal(size=points)
            bands.append(CurveBand(each.label, entry.env, x, value, value - 9, value + 9, np.full(points, entry.runs)))
    return CurvesResult(unit, result.metric, result.of, HOW, tuple(bands))


def page_of(labels: Sequence[str] = ("ppo", "sac", "td3"), envs: Sequence[str] = ("Hopper-v4", "Ant-v4")) -> Page:
    result = result_of(labels, envs)
    return plot_page(result, [curves_of(result), curves_of(result, "hours")], "openrlb plot --metric iqm -o page.html")


class Elements(HTMLParser):
    """Every element with its attributes and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append((self.found[-1][0] if self.found else "", data))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def embedded_json(text: str, name: str = "openrlb-data") -> Any:
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', text, re.S)
    assert found is not None
    return json.loads(found.group(1), parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))


def test_hostile_names_stay_text_everywhere() -> None:
    result = result_of(
        [HOSTILE, "ppo"], [HOSTILE, "Hopper-v4"], of=HOSTILE, excluded=(Excluded(HOSTILE, HOSTILE),), notes=(HOSTILE,)
    )
    page = plot_page(result, [curves_of(result)], HOSTILE)
    text = html(page)
    elements, calm = Elements(text), Elements(html(page_of(("a", "ppo"), ("b", "Hopper-v4"))))
    assert "img" not in {tag for tag, _ in elements.found}
    assert {tag for tag, _ in elements.found} == {tag for tag, _ in calm.found}
    ours = [attributes for attributes in elements.of("script") if attributes.get("type") != "application/json"]
    assert len(ours) == 2, "the page's own scripts; what draws is unpacked by them"
    assert text.count("</script") == len(elements.of("script"))
    data = embedded_json(text)
    assert data["groups"][0]["label"] == data["of"] == data["excluded"][0]["reason"] == HOSTILE
    assert any(HOSTILE.split("\u2028")[0] in words for tag, words in elements.texts if tag == "th"), "the label is shown as it is"


def test_nothing_is_loaded_and_only_known_scripts_may_run() -> None:
    text = html(page_of())
    for tag, attributes in Elements(text).found:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, attributes)
    (policy,) = [a["content"] for a in Elements(text).of("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None and policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "'unsafe-inline'" not in policy.split(";")[1] and "http" not in policy
    scripts = re.findall(r"<script>(.*?)</script>", text, re.S)
    library = packed(text, "plotly-library")
    assert len(scripts) == 2 and policy.count("'sha256-") == 3 and "plotly.js v" in library[:200]
    for script in [*scripts, library]:
        assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy
    assert not re.search(r"@import|url\(|cdn\.plot\.ly/plotly|MathJax\.js", text)


def test_the_page_holds_the_result_for_scripts() -> None:
    result = result_of(("ppo", "sac"), ("Hopper-v4", "Ant-v4"))
    odd = CurveBand(
        "ppo",
        "Hopper-v4",
        np.array([1.0, 2.0]),
        np.array([np.nan, 0.123456789]),
        np.full(2, np.nan),
        np.full(2, np.inf),
        np.array([0, 1]),
    )
    data = embedded_json(html(plot_page(result, [CurvesResult("agent_step", "iqm", "r", HOW, (odd,))], "openrlb plot")))
    keys = {
        "metric",
        "of",
        "kind",
        "step_unit",
        "rule",
        "step",
        "ddof",
        "normalization",
        "interval",
        "groups",
        "excluded",
        "sources",
    }
    assert keys <= set(data) and {"method", "level", "resamples", "seed"} <= set(data["interval"])
    first = data["groups"][0]
    assert {"label", "algo", "impl", "variant", "by", "value", "low", "high", "runs", "envs", "per_env"} <= set(first)
    assert first["per_env"][1]["scores"] == list(result.groups[0].per_env[1].scores), "scores keep every digit"
    drawn = data["curves"][0]["bands"][0]
    assert (drawn["value"], drawn["low"], drawn["high"], drawn["runs"]) == ([None, 0.1234568], [None, None], [None, None], [0, 1])


def test_equal_input_gives_equal_bytes_in_every_process(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, importlib.util as u; s = u.spec_from_file_location('t', sys.argv[1]); m = u.module_from_spec(s);"
        "sys.modules['t'] = m; s.loader.exec_module(m); m.write_page(pathlib.Path(sys.argv[2]), m.page_of())"
    )
    target = tmp_path / "other.html"
    other = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": str(Path(__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code, __file__, str(target)], check=True, env=other)
    write_page(tmp_path / "here.html", page_of())
    assert (tmp_path / "here.html").read_bytes() == target.read_bytes()
    assert target.stat().st_size < 2_400_000


def test_the_page_says_everything_beside_the_figure() -> None:
    text = html(page_of())
    elements = Elements(text)
    words = " ".join(data for tag, data in elements.texts if tag not in ("script", "style"))
    for fact in (
        "IQM of eval/mean_reward (evaluation episodes), one score per run by the rule final:10% of the first 90k agent steps",
        "95 % percentile bootstrap intervals (50,000 resamples, seed 0): too narrow below 10 seeds",
        "4 runs per group and environment",
        "ddof 1", "Not normalised", "2 runs left out", "the median last step of sac", "A note that must be read.", "run-x",
        "short: it ends at 400", "run-y", "crashed", "openrlb plot --metric iqm -o page.html", "plotly 7", "ppo-Hopper-v4-0",
        "The table gives each curve where it ends",
        "Learning curves by agent step", "Learning curves by wall time", "9.04 over runs",
    ):  # fmt: skip
        assert fact in words, fact


def test_readers_without_eyes_or_a_mouse_are_served() -> None:
    elements = Elements(html(page_of()))
    assert elements.of("html")[0]["lang"] == "en" and any(
        "IQM of eval/mean_reward" in t for tag, t in elements.texts if tag == "title"
    )
    assert len(elements.of("table")) == len(elements.of("caption"))
    assert all(attributes.get("scope") in ("col", "row") for attributes in elements.of("th"))
    assert all(a.get("tabindex") == "0" and a.get("aria-label") for a in elements.of("div") if a.get("role") == "region")
    names = [a["aria-label"] or "" for a in elements.of("div") if a.get("role") == "img"]
    assert len(names) == 3 and "Hopper-v4: ppo 110.5 (100.0 to 121.0)" in names[0] and "ends at" in names[1]
    assert [tag for tag, _ in elements.found if tag in ("h1", "h2", "h3")] == ["h1", *["h2"] * 5]
    assert all(attributes.get("type") == "button" for attributes in elements.of("button"))


def test_a_page_without_figures_carries_no_script_and_no_plotly() -> None:
    table = Table("A table", (Column("Name"), Column("Value", True)), (("a", "1"),), folded=True)
    text = html(Page("Title", "Headline", (Section("Heading", tables=(table,)),), PLAIN, None, {"a": float("inf")}))
    assert len(text) < 20_000 and "<script>" not in text and "script-src 'none'" in text
    assert embedded_json(text) == {"a": None} and "Runs left out" not in text


def test_nothing_to_show_is_said() -> None:
    text = html(plot_page(result_of((), (), excluded=()), [CurvesResult("agent_step", "iqm", "r", HOW, ())], "openrlb plot"))
    assert "No run counts" in text and "There is no curve to draw." in text and "<p>None.</p>" in text


def test_a_single_run_is_said_to_have_no_interval() -> None:
    alone = result_of((), (), groups=(group("mine", ["Hopper-v4"], seeds=1),))
    page = plot_page(alone, [], "openrlb plot")
    assert "without intervals" in page.headline and "No interval: one run alone has none." in page.sections[0].caption
    assert [mark.note for mark in interval_figure(alone).panels[0].marks] == ["1 run, no interval"]


def test_a_file_name_that_is_no_text_is_written(tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", Page("odd \udce4 name", "x", (), PLAIN, None, {"run": "\udce4"}))
    assert "odd ? name" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_folder_that_cannot_be_written_is_a_three_line_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OpenrlbError) as caught:
        write_page(tmp_path / "file" / "page.html", page_of())
    assert "page.html cannot be written" in caught.value.what and caught.value.why and "-o" in caught.value.fix


def test_a_full_disk_keeps_the_old_page_and_leaves_nothing_behind(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="file size limits exist on Unix only")
    import signal

    page, target = page_of(), tmp_path / "page.html"
    target.write_text("the old page")
    limits, before = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
        with pytest.raises(OpenrlbError, match="cannot be written"):
            write_page(target, page)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert target.read_text() == "the old page" and list(tmp_path.iterdir()) == [target]


@dataclass(frozen=True)
class Visit:
    """A document as a browser left it, what it logged, and the addresses it asked for."""

    document: str
    log: str
    requests: list[str]

    @property
    def seen(self) -> Any:
        found = re.search(r'data-seen="([^"]*)"', self.document)
        assert found is not None, "the test's own script ran"
        return json.loads(base64.b64decode(found.group(1)))


@pytest.fixture
def browse(tmp_path: Path) -> Callable[..., Visit]:
    """Opens a page in a real browser."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine, so the page was not drawn")

    def visit(page: Page, *flags: str, width: int = 1200, instrument: bool = False, policy: bool = True) -> Visit:
        path, network = tmp_path / "page.html", tmp_path / "network.json"
        write_page(path, page)
        if instrument:
            text = path.read_text(encoding="utf-8").replace("</body>", f"<script>{INSTRUMENT}</script></body>")
            allowed = f"script-src 'sha256-{base64.b64encode(hashlib.sha256(INSTRUMENT.encode()).digest()).decode()}'"
            text = text.replace("script-src", allowed, 1) if policy else text.replace("Content-Security-Policy", "x-none", 1)
            path.write_text(text, encoding="utf-8")
        command = [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},2000", "--virtual-time-budget=8000",
            "--enable-logging=stderr", f"--log-net-log={network}", *flags, "--dump-dom", path.as_uri(),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
        return Visit(done.stdout, done.stderr, asked_by_the_page(json.loads(network.read_text(encoding="utf-8"))))

    return visit


def asked_by_the_page(network: Any) -> list[str]:
    """The addresses in Chromium's network log that a page asked for; the browser's own traffic has no initiator."""
    starts = [event["params"] for event in network["events"] if "initiator" in event.get("params", {})]
    return [start["url"] for start in starts if start["initiator"] != "not an origin"]


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.2 between two colours as browsers print them."""

    def luminance(color: str) -> float:
        parts = [float(part) / 255 for part in re.findall(r"[\d.]+", color)[:3]]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def check_texts(figures: Any) -> None:
    """No text of a figure covers another one or leaves the figure."""
    for figure in figures:
        assert figure["texts"]
        for index, one in enumerate(figure["texts"]):
            left, top, right, bottom = one["box"]
            assert left >= -1 and top >= -1, f"{one['text']} leaves the figure"
            assert right <= figure["width"] + 1 and bottom <= figure["height"] + 1, f"{one['text']} leaves the figure"
            for other in figure["texts"][index + 1 :]:
                left2, top2, right2, bottom2 = other["box"]
                across, down = min(right, right2) - max(left, left2), min(bottom, bottom2) - max(top, top2)
                assert across <= 1 or down <= 3, f"{one['text']!r} covers {other['text']!r}"


def test_a_browser_draws_every_figure_without_an_error_or_a_request(browse: Callable[..., Visit]) -> None:
    visit = browse(page_of(("ppo", "sac", HOSTILE)))
    assert "CONSOLE" not in visit.log, visit.log
    assert visit.requests == []
    assert "owned" not in re.findall(r"<title>(.*?)</title>", visit.document)[0] and "<img" not in visit.document
    drawn = visit.document.split('class="plot js-plotly-plot"')[1:]
    assert len(drawn) == 3 and "This figure is drawn by a script" not in visit.document
    assert all('class="main-svg"' in part for part in drawn)
    assert drawn[0].count('class="point"') == 2 * 3 * (1 + 1 + 4), "per panel and group: a bar, an estimate, four runs"
    for part in drawn[1:]:
        assert part.count('class="js-line"') >= 2 * 3 and part.count('class="js-fill"') == 2 * 3


def every_kind() -> list[Section]:
    """A section with the figure of each measure, of few groups and of many, along each axis, and of several aggregates."""
    asked: list[tuple[str, dict[str, Any]]] = [(metric, {}) for metric in MEASURES if metric != "steps-to-threshold"]
    asked += [("steps-to-threshold", {"threshold": 0.3}), ("critical-difference", {"pairwise": "nemenyi"})]
    asked += [("efficiency", {"x": "time"}), ("efficiency", {"band": "simultaneous"})]
    made = [drawn(metric, runs(2 if metric == "slopes" else 4, 3, seeds=4), **options)[0] for metric, options in asked]
    made += [drawn(metric, runs(16, 3))[0] for metric in ("rank", "poi", "profile", "efficiency")]
    made.append(drawn("slopes", runs(2, 14))[0])
    made += [log for one in made if isinstance(one, CurvesFigure) and (log := with_log_x(one)) is not None]
    analysis = analyse(runs(3, 2), rule="last")
    several = [summary_of(analysis, of="r", metric=metric, method=METHOD) for metric in ("iqm", "mean", "optimality-gap")]
    made.append(metrics_figure(several))
    return [Section(f"Figure {place}", one, tuple(one.footer.sentences())) for place, one in enumerate(made)]


def test_a_browser_draws_every_kind_of_figure_without_an_error_and_no_text_covers_another(browse: Callable[..., Visit]) -> None:
    sections = every_kind()
    visit = browse(Page("Every kind", "", tuple(sections), PLAIN, None, {}), instrument=True)
    said = [line for line in visit.log.splitlines() if "CONSOLE" in line and PROBE not in line]
    assert not said and visit.requests == [], "the probe alone is refused and told"
    shown = visit.document.split('class="plot js-plotly-plot"')[1:]
    assert len(shown) == len(sections) > 20 and all('class="main-svg"' in part for part in shown)
    assert visit.seen["overflow"] <= 0
    check_texts(visit.seen["figures"])


def test_in_a_browser_no_text_covers_another(browse: Callable[..., Visit]) -> None:
    labels = [f"ppo sb3 learning_rate={index}e-4 gamma=0.99" for index in range(9)]
    visit = browse(page_of(labels, ("Hopper-v4", "ALE/MontezumaRevenge-v5", "Ant-v4")), instrument=True)
    assert visit.requests == [] and "Content Security Policy" in visit.log, "even a script that got in could not phone home"
    seen = visit.seen
    assert seen["overflow"] <= 0
    check_texts(seen["figures"])
    assert seen["name"] == "scores.svg" and "final:10%" in seen["saved"], "a saved image carries the facts beside it"


def test_on_a_narrow_dark_screen_everything_can_be_read(browse: Callable[..., Visit]) -> None:
    page = page_of([f"algorithm {index}" for index in range(8)])  # all colours of the palette, black among them
    visit = browse(page, "--blink-settings=preferredColorScheme=0", width=500, instrument=True, policy=False)
    assert visit.requests == [PROBE], "the log of requests sees what a page without a policy asks for"
    seen = visit.seen
    assert seen["overflow"] <= 0, "a phone does not scroll sideways"
    check_texts(seen["figures"])
    ground = seen["ground"]
    assert contrast(ground, "rgb(0, 0, 0)") < 1.5, "the ground is dark"
    for figure in seen["figures"]:
        assert figure["inks"] and min(contrast(color, ground) for color in figure["inks"]) >= 4.5
        assert figure["grid"] and max(contrast(color, ground) for color in figure["grid"]) < 2, "the grid stays in the background"
    lines = [color for figure in seen["figures"][1:] for color in figure["lines"]]
    assert len(set(lines)) == 7 and min(contrast(color, ground) for color in lines) >= 3
