"""``plot -o fig.pdf``: what is written, what is said of it, and what is refused before anything is computed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from reported import everything
from typer.testing import Result

import openrlb
from openrlb.errors import UsageError
from openrlb.store import Store

Cli = Callable[..., Result]


@pytest.mark.parametrize("suffix", [".pdf", ".SVG", ".png"])
def test_an_image_comes_with_caption_sources_and_numbers_and_each_is_named(
    cli: Cli, runs: Store, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["openrlb", "plot", "--resamples", "200"])
    done = cli("plot", "--resamples", 200, "-o", f"out/fig{suffix}", "--size", "80x40mm", "--numbers", "json")
    assert done.exit_code == 0, done.stderr
    names = [f"fig{suffix}", "fig-caption.tex", "fig-numbers.json", "fig-sources.bib"]
    assert sorted(path.name for path in Path("out").iterdir()) == sorted(names)
    assert all(f"out/{name}: " in done.stderr for name in names)
    assert "plot --resamples 200" in Path("out/fig-caption.tex").read_text(), "the command is kept"
    again = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    assert cli("plot", "--resamples", 200, "-o", f"out/fig{suffix}", "--size", "80x40mm", "--numbers", "json").exit_code == 0
    assert {path.name: path.read_bytes() for path in Path("out").iterdir()} == again


def test_a_papers_own_files_are_not_overwritten(cli: Cli, runs: Store) -> None:
    for name in ("paper.tex", "paper.bib", "paper.csv"):
        Path(name).write_text("mine")
    assert cli("plot", "--resamples", 200, "-o", "paper.pdf").exit_code == 0
    assert {Path(name).read_text() for name in ("paper.tex", "paper.bib", "paper.csv")} == {"mine"}


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("-o", "x.pdf", "--size", "A4"), "--size 'A4' was not understood"),
        (("-o", "x.docx"), "x.docx cannot be written"),
        (("-o", "x.pdf", "--numbers", "xlsx"), "xlsx"),
        (("-o", "x.pdf", "--size", "100x20mm"), "--size '100x20mm' is no figure's size"),
    ],
)
def test_what_cannot_be_drawn_is_a_usage_error_and_leaves_no_file(
    cli: Cli, runs: Store, words: tuple[str, ...], what: str
) -> None:
    done = cli("plot", "--resamples", 200, *words)
    assert done.exit_code == 2 and what in done.stderr and "Traceback" not in done.stderr
    assert not list(Path.cwd().iterdir())


def test_flags_of_images_without_an_image_are_told(cli: Cli, runs: Store) -> None:
    assert "--size is for images" in cli("plot", "--resamples", 200, "--size", "column", "-o", "x.html").stderr
    assert "--numbers is for images" in cli("plot", "--resamples", 200, "--numbers", "json", "--json").stderr
    assert "is for images" not in cli("plot", "--resamples", 200, "-o", "x.svg", "--size", "column").stderr


def test_a_notebook_saves_the_same_figure(cli: Cli, runs: Store) -> None:
    answer = openrlb.plot(options=openrlb.PlotOptions(resamples=200))
    written, notes = openrlb.save_figure(answer, "a/fig.pdf", size="column", command="c")
    assert [one.path.name for one in written] == [
        "fig.pdf",
        "fig-caption.tex",
        "fig-numbers.csv",
        "fig-sources.bib",
    ] and not notes
    assert cli("plot", "--resamples", 200, "-o", "b/fig.pdf", "--size", "column").exit_code == 0
    assert Path("a/fig-numbers.csv").read_bytes() == Path("b/fig-numbers.csv").read_bytes()
    (page,), _ = openrlb.save_figure(answer, "a/fig.html")
    assert page.path.read_text().startswith("<!doctype html>")
    with pytest.raises(UsageError):
        openrlb.save_figure(answer, "a/fig.gif")


def test_a_logarithmic_axis_and_another_aggregate_are_said_and_kept_in_a_recipe(cli: Cli, runs: Store) -> None:
    words = ["--env", "Hopper-v4", "--metric", "efficiency", "--resamples", "200", "--aggregate", "median", "--log-x"]
    done = cli("plot", *words, "-o", "log.pdf", "--save-recipe", "log.toml")
    assert done.exit_code == 0, done.stderr
    said = Path("log-caption.tex").read_text()
    assert "median of" in said and "the x axis is logarithmic" in said and "agarwal" in said
    recipe = Path("log.toml").read_text()
    assert 'aggregate = "median"' in recipe and "log-x = true" in recipe
    assert cli("plot", "--recipe", "log.toml", "-o", "log.html").exit_code == 0
    page = everything(Path("log.html"))
    assert '"type":"log"' in page and "the x axis is logarithmic" in page
    bars = cli("plot", "--env", "Hopper-v4", "--resamples", "200", "--log-x", "-o", "bars.pdf")
    assert bars.exit_code == 0 and "no x axis is logarithmic" in bars.stderr
    raw = cli("plot", *words[:-2], "optimality-gap", "-o", "gap.pdf")
    assert raw.exit_code == 2 and "raw returns have no optimality gap" in raw.stderr
