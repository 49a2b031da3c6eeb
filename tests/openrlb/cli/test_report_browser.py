"""The report in a real browser: figures, filters, sorting, details, downloads, keyboard, phone, dark and print."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, opened_browser
from reported import HOSTILE, packed

import openrlb
from openrlb.store import Store
from openrlb_analysis.report import Page, Provenance, Section, plot_page, write_page

ROWS = "[...document.querySelectorAll('#runs tbody tr')].filter((row) => !row.hidden && !row.closest('#detail'))"
CATCH = "window.saved = new Promise((done) => { URL.createObjectURL = (blob) => { blob.text().then(done); return 'data:,'; }; });"
NAMED = (
    "(() => { const one = document.activeElement; return one === document.body ? null : "
    "[one.tagName, one.type || '', one.getAttribute('aria-label') || one.textContent.slice(0, 40), one.id]; })()"
)
CONTROLS = """(() => {
  const all = [...document.querySelectorAll('a[href], button, input, select, summary, [tabindex="0"]')];
  const reached = all.filter((one) => one.getClientRects().length && !one.closest('svg'));
  reached.forEach((one, at) => { one.dataset.at = at; });
  window.seen = [];
  document.addEventListener('focusin', (event) => window.seen.push(event.target.dataset.at ?? event.target.outerHTML));
  return reached.length;
})()"""
LUMINANCE = """((color) => {
  const parts = color.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
  const [red, green, blue] = parts.map((p) => (p <= 0.04045 ? p / 12.92 : ((p + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
})"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with opened_browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, hostile_report: Path) -> Iterator[Path]:
    """The page; whatever a test does with it, it says nothing on the console and asks for nothing but itself."""
    browser.said.clear()
    browser.asked.clear()
    yield hostile_report
    assert browser.said == []
    assert {address.split("#")[0] for address in browser.asked} == {hostile_report.as_uri()}


def rows(browser: Browser) -> list[list[str]]:
    found: list[list[str]] = browser.value(f"{ROWS}.map((row) => [...row.cells].map((cell) => cell.textContent))")
    return found


def test_every_figure_is_drawn_and_no_log_can_write_into_the_page(browser: Browser, page: Path) -> None:
    browser.open(page)
    marks = "box.querySelectorAll('.trace, .hm, .point').length"
    about = "box.getAttribute('role'), box.getAttribute('aria-label').length"
    seen = f"[...document.querySelectorAll('.plot')].map((box) => [box.querySelectorAll('.main-svg').length, {marks}, {about}])"
    boxes: list[Any] = browser.value(seen)
    assert len(boxes) >= 7 and all(svgs and marks and role == "img" and told > 40 for svgs, marks, role, told in boxes), boxes
    assert browser.value("document.images.length") == 0 and "owned" not in browser.value("document.title")
    assert browser.value("document.title").startswith("for [e-mail]: [secret]")
    assert any(HOSTILE.split("\u2028")[0] in row[1] for row in rows(browser))


def test_runs_are_searched_chosen_and_sorted(browser: Browser, page: Path) -> None:
    browser.open(page)
    told = "document.querySelector('.filters output').textContent"
    assert len(rows(browser)) == 14 and browser.value(told) == "14 of 14 rows"
    browser.value("document.querySelector('.filters input').focus()")
    for letter in "ant":
        browser.press(letter)
    assert {row[3] for row in rows(browser)} == {"Ant-v4"} and browser.value(told) == "6 of 14 rows"
    choose = (
        "(() => {{ const one = [...document.querySelectorAll('.filters label')].find((each) => each.firstChild.data === '{}')"
    )
    choose += ".querySelector('select'); one.value = '{}'; one.dispatchEvent(new Event('input', {{ bubbles: true }})); }})()"
    browser.value(choose.format("Algorithm", "ppo"))
    assert [row[:2] for row in rows(browser)] == [[f"ppo-Ant-v4-{seed}", "ppo"] for seed in range(3)]
    browser.value("document.querySelector('.filters button').click()")
    browser.value(choose.format("Role", "tuning"))
    assert [row[0] for row in rows(browser)] == ["tuned"]
    browser.value("document.querySelector('.filters button').click()")
    before = [row[0] for row in rows(browser)]
    head = "[...document.querySelectorAll('#runs th .sort')].find((one) => one.textContent === 'Score')"
    browser.value(f"{head}.focus()")
    for turn in ("ascending", "descending"):
        browser.press("Enter")
        assert browser.value(f"{head}.closest('th').getAttribute('aria-sort')") == turn
        scores = [float(row[6].replace(",", "")) for row in rows(browser) if row[6] != "-"]
        assert scores == sorted(scores, reverse=turn == "descending") and len(scores) == 12
        assert [row[6] for row in rows(browser)][12:] == ["-", "-"], "what has no score comes last, either way"
    browser.press("Enter")
    assert [row[0] for row in rows(browser)] == before


def test_a_run_opens_with_the_keyboard_has_an_address_and_leads_back(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.value("document.querySelector('a[href^=\"#run=\"]').focus()")
    browser.press("Enter")
    browser.until("document.querySelector('#detail .main-svg')")
    first = browser.value("document.activeElement.textContent")
    assert first.startswith("Run ") and browser.value("location.hash").startswith("#run=folder%2F")
    shown = browser.value("document.getElementById('detail').textContent")
    for words in (
        "All parameters",
        "gamma",
        "Logged metrics",
        "every logged value" if "crashed" in first else "of 600 logged values",
    ):
        assert words in shown, words
    assert browser.value("document.getElementById('detail').querySelectorAll('img, script').length") == 0
    browser.press("Tab")
    assert browser.value("document.activeElement.textContent") == "Next"
    browser.press("Enter")
    browser.until(f"document.querySelector('#detail h3').textContent !== {first!r}")
    address = browser.value("location.hash")
    browser.value(
        "[...document.querySelectorAll('#detail nav a')].find((one) => one.textContent === 'Back to the table').click()"
    )
    browser.until("document.getElementById('detail').hidden")
    browser.open(page, fragment=address)
    browser.until("document.querySelector('#detail .main-svg')")
    for odd in ("#run=%E0%A4%A", "#run=nothing", "#run="):
        browser.open(page, fragment=odd)
        assert browser.value("document.readyState") == "complete"


def test_what_is_saved_is_every_number_and_no_formula(browser: Browser, page: Path) -> None:
    browser.open(page)
    text = page.read_text(encoding="utf-8")
    browser.value(CATCH + "document.querySelector('#scores [data-as=json]').click()")
    saved = browser.value("window.saved.then(JSON.parse)")
    columns = packed(text, "scores-numbers-0")
    assert saved == [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    browser.value(CATCH + "document.querySelector('#runs [data-as=csv]').click()")
    lines = browser.value("window.saved")
    assert lines.startswith("run,source,project,") and lines.count("folder,logs") == 14
    browser.value("document.querySelector('#runs [data-as=csv]').dataset.numbers = 'planted'")
    planted = browser.value(
        "(async () => { const data = JSON.stringify({a: ['=1+1', '+x', '@x', 'a,\"b\"'], n: [-1.5, 2, null, 4]});"
        "const stream = new Blob([data]).stream().pipeThrough(new CompressionStream('gzip'));"
        "const bytes = new Uint8Array(await new Response(stream).arrayBuffer());"
        "const made = document.createElement('script'); made.type = 'application/json'; made.id = 'planted';"
        "made.textContent = JSON.stringify(btoa(String.fromCharCode(...bytes))); document.body.append(made);"
        + CATCH
        + "document.querySelector('#runs [data-as=csv]').click(); return window.saved; })()"
    )
    assert planted == 'a,n\n\'=1+1,-1.5\n\'+x,2\n\'@x,\n"a,""b""",4\n'


def test_a_keyboard_reaches_every_control_in_order(browser: Browser, page: Path) -> None:
    browser.open(page)
    count = browser.value(CONTROLS)
    browser.press("Tab")
    assert browser.value(NAMED)[2] == "Skip to the content"
    for _ in range(count - 1):
        browser.press("Tab")
    assert browser.value("window.seen") == [str(place) for place in range(count)]


def test_a_phone_does_not_scroll_sideways(browser: Browser, page: Path) -> None:
    overflow = "[document.documentElement.scrollWidth, innerWidth]"
    browser.open(page, width=375, height=800)
    assert browser.value(overflow) == [375, 375]
    browser.value("document.querySelector('a[href^=\"#run=\"]').click()")
    browser.until("document.querySelector('#detail .main-svg')")
    browser.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert browser.value(overflow) == [375, 375]
    assert browser.value(
        "Math.min(...[...document.querySelectorAll('.plot .main-svg')].map((one) => one.getBoundingClientRect().width)) > 280"
    )


def test_the_dark_is_dark_and_can_be_read(browser: Browser, page: Path) -> None:
    browser.open(page, dark=True)
    assert browser.value(f"{LUMINANCE}(getComputedStyle(document.body).backgroundColor)") < 0.02
    parts = ", ".join(
        f".plot {one}" for one in (".xtick text", ".ytick text", ".g-xtitle text", ".annotation-text", ".legendtext")
    )
    texts = browser.value(f"[...document.querySelectorAll('{parts}')].map((one) => {LUMINANCE}(getComputedStyle(one).fill))")
    assert texts and min(texts) > 0.3
    cells = browser.value(
        f"[...document.querySelectorAll('.heatmaplayer text')].map((one) => {LUMINANCE}(getComputedStyle(one).fill))"
    )
    assert max(cells, default=0.0) < 0.05, "numbers on light cells stay dark"


def test_a_print_has_pages(browser: Browser, page: Path) -> None:
    browser.open(page)
    paper = browser.printed()
    pages = len(re.findall(rb"/Type\s*/Page\b(?!s)", paper))
    assert paper.startswith(b"%PDF") and pages >= 4 and len(paper) > 60_000


def test_a_folded_part_is_drawn_when_it_is_opened_and_printed_whole(browser: Browser, runs: Store, tmp_path: Path) -> None:
    result = openrlb.plot(options=openrlb.PlotOptions(resamples=200), store=runs).result
    figures = plot_page(result, (), "openrlb plot").sections
    provenance = Provenance("openrlb report", (), (), {})
    write_page(
        tmp_path / "folded.html", Page("Title", "Headline", (Section("Study", parts=figures, folded="Everything"),), provenance)
    )
    browser.said.clear()
    browser.open(tmp_path / "folded.html")
    drawn = "document.querySelectorAll('.main-svg').length"
    assert browser.value(drawn) == 0
    paper = browser.printed()
    browser.until("!document.querySelector('details.folded').open")
    browser.value("document.querySelector('summary').click()")
    browser.until(drawn)
    assert len(paper) > 8_000 and browser.said == []
