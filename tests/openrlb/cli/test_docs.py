"""The documentation's links lead somewhere, its site builds, and its verbs and figures are those of the program."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from documented import ROOT, anchors, blocks, links, pages

NAMES = [page.relative_to(ROOT).as_posix() for page in pages()]


@pytest.mark.parametrize("name", NAMES)
def test_every_relative_link_and_anchor_resolves(name: str) -> None:
    page, dead = ROOT / name, []
    for target in links(page):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        there = place.exists() and place.is_relative_to(ROOT)
        if not there or (anchor and (place.suffix != ".md" or anchor not in anchors(place))):
            dead.append(target)
    assert not dead, f"{name}: {dead}"


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("docs/")])
def test_a_page_links_to_nothing_outside_the_site(name: str) -> None:
    outside = [
        one for one in links(ROOT / name) if not (ROOT / name).parent.joinpath(one).resolve().is_relative_to(ROOT / "docs")
    ]
    assert not [one for one in outside if not one.startswith(("https://", "http://"))]


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2]
    listed = {line.split()[-1] for line in navigation.splitlines() if line.endswith(".md")}
    assert listed == {name.removeprefix("docs/") for name in NAMES if name.startswith("docs/")}


def test_every_shell_block_says_what_it_is() -> None:
    unknown = [f"{block.page}:{block.line}" for name in NAMES for block in blocks(ROOT / name) if block.language == "shell"]
    assert not unknown, "call it sh (commands) or console (commands after $, and what they print)"


def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("mkdocs is not installed (pip install -e '.[docs]')")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path), "-f", str(ROOT / "mkdocs.yml")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for page in (tmp_path / "index.html", tmp_path / "verbs/plot.html", tmp_path / "adr/index.html"):
        loaded = re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=\"?((?:https?:)?//[^\"> ]+)", page.read_text())
        assert not loaded, f"{page.name}: {loaded}"
    run_together = []  # lists that GitHub sees and the site does not: no empty line before, or nested by less than four spaces
    for page in tmp_path.rglob("*.html"):
        text = re.sub(r"<(pre|script|style|svg)\b.*?</\1>", "", page.read_text().partition("<article")[2], flags=re.DOTALL)
        run_together += [f"{page.name}: {one}" for one in re.findall(r"\n *(?:- |[1-9]\d?\. )[^\n]{,60}", text)]
    assert not run_together


def test_what_troubleshooting_names_is_what_the_program_says() -> None:
    """Headings are errors as printed, ``...`` standing for what differs."""
    said = "".join(
        path.read_text() for folder in ("openrlb", "hpo", "runners", "analysis") for path in (ROOT / folder).rglob("*.py")
    )
    headings = re.findall(r"^### `(.+)`$", (ROOT / "docs/troubleshooting.md").read_text(), re.MULTILINE)
    assert len(headings) > 10
    unsaid = [line for line in headings if not all(part.strip() in said for part in line.split("..."))]
    assert not unsaid


def test_the_figure_in_the_readme_is_small_and_names_no_folder() -> None:
    figure = (ROOT / "docs/figures/hopper.svg").read_text()
    assert len(figure) < 60_000
    assert not re.search(r"/(home|tmp|root|work)/", figure)
