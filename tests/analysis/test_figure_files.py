"""What lies beside a figure: caption, bibliography and numbers; and that a file is whole or not there."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from figure_results import band, curves_result, env_result, group, many, plot_result
from hypothesis import given
from hypothesis import strategies as st

from openrlb.errors import OpenrlbError, UsageError
from openrlb_analysis.figures.caption import caption
from openrlb_analysis.figures.citations import bibliography, citations, references
from openrlb_analysis.figures.export import Export, write_figures
from openrlb_analysis.figures.latex import latex
from openrlb_analysis.figures.numbers import figure_rows
from openrlb_analysis.figures.plot_page import plot_page
from openrlb_analysis.figures.size import size_of
from openrlb_analysis.figures.spec import curves_figure, interval_figure
from openrlb_analysis.result import Excluded, PlotResult

ACCENTED = r"[`'^~\"=.rvuHckd]\{[A-Za-z]\}"
NAMED = r"(?:text|ldots|l|L|o|O|ae|AE|ss|i)[a-z]*\{\}|texttt\{U\+[0-9A-F]+\}"
COMMANDS = re.compile(rf"\{{\\ttfamily\\char34\}}|\\(?:[\\{{}}$&#%_]|{NAMED}|{ACCENTED})")


@given(st.text(max_size=60))
def test_no_character_of_a_text_is_a_command(text: str) -> None:
    r"""After the escapes that we make, nothing that LaTeX acts on is left: no \ { } $ & # % _ ^ ~ outside of them."""
    made = latex(text)
    rest = COMMANDS.sub("", re.sub(r"\$\\?[a-z-]+\$", "", made))
    assert not re.search(r"[\\$&#%_^\"<>|]", rest), made
    assert rest.replace("{}", "").count("{") == 0 and "\n" not in made
    made.encode("ascii")


def test_latex_keeps_what_it_can_set_and_names_what_it_cannot() -> None:
    assert latex("a_b 5% & #1 {x} $y$ ~^\\") == (
        r"a\_b 5\% \& \#1 \{x\} \$y\$ \textasciitilde{}\textasciicircum{}\textbackslash{}"
    )
    assert latex("\u03c4 \u2265 0.5 \u00b1 1") == r"$\tau$ $\geq$ 0.5 $\pm$ 1"
    assert latex("Gallou\u00e9dec \u0141") == r"Gallou\'{e}dec \L{}"
    assert latex("\u8d64\x00\n\U0001f600") == r"\texttt{U+8D64}  \texttt{U+1F600}"


def ragged() -> PlotResult:
    excluded = (
        Excluded("r1", "short (ends at 40, cut 1000)", "ppo", "Hopper-v4", 3),
        Excluded("r2", "short (ends at 50, cut 1000)"),
        Excluded("r3", "crashed\n\\input{evil}"),
    )
    groups = (
        group("ppo lr=1e-3 50%", env_result("Hopper-v4", [1.1, 2, 1 / 3]), env_result("Ant_v4", [1, 2])),
        group("sac", env_result("Hopper-v4", [4, 5, 7])),
    )
    return plot_result(*groups, excluded=excluded, sources=("wandb:openrlbenchmark/sb3", "folder:my_runs 100%"))


def test_a_caption_states_n_rule_cut_interval_normalisation_and_exclusions() -> None:
    result = ragged()
    text = caption(interval_figure(result), result, ["fig.pdf", "fig-part2.pdf"], "openrlb plot --where 'a % b'")
    (told,) = re.findall(r"^\\caption\{(.*)\}$", text, re.MULTILINE)
    for fact in (
        "2 to 3 runs per group and environment", r"final:10\%", "1k agent steps", r"95 \% percentile bootstrap intervals",
        "50,000 resamples, seed 7", "Not normalised", "3 runs left out: 2 short, 1 crashed", r"folder:my\_runs 100\%",
    ):  # fmt: skip
        assert fact in told, fact
    assert text.count(r"\label{fig:fig}") == 1
    for line in text.splitlines():
        assert line.startswith(("%", r"\caption", r"\label")), "a run's name cannot leave its comment"
    assert "% left out: r1 (ppo, Hopper-v4, seed 3): short (ends at 40, cut 1000)" in text
    assert r"% left out: r3: crashed \input{evil}" in text, "control characters are spaces"
    assert r"\includegraphics{fig-part2.pdf}" in text


def test_every_citation_of_a_caption_is_in_its_bibliography() -> None:
    result = ragged()
    text, entries = caption(interval_figure(result), result, ["f.pdf"], ""), bibliography(result)
    cited = {key for keys in re.findall(r"\\cite\{([^}]*)\}", text) for key in keys.split(",")}
    known = re.findall(r"^@\w+\{([^,]+),$", entries, re.MULTILINE)
    assert cited <= set(known) and len(known) == len(set(known))
    assert {"agarwal2021precipice", "raffin2021stablebaselines3", "huang2024openrlbenchmark"} <= cited
    assert "title = {{Tracked runs: wandb:openrlbenchmark/sb3}}" in entries, "no style may change the case of a command"
    assert "wandb.ai/openrlbenchmark/sb3" in entries and r"folder:my\_runs 100\%" in entries
    for entry in entries.split("\n\n"):
        assert entry.count("{") == entry.count("}") and entry.strip().endswith("}")


def test_references_are_whole_and_named_where_they_are_used() -> None:
    for key, entry in references().items():
        assert entry.startswith("@") and entry.count("{") == entry.count("}"), key
        assert all(f"  {name} = {{" in entry for name in ("title", "author", "year")), key
    atari = plot_result(group("ppo", env_result("Pong", [1, 2])), normalization="atari57-human v1", metric="mean")
    assert citations(atari) == ("raffin2021stablebaselines3", "mnih2015human")


def test_the_numbers_are_exactly_those_that_are_drawn() -> None:
    result = ragged()
    rows = figure_rows(interval_figure(result))
    estimate = next(row for row in rows if row["label"] == "sac" and row["panel"] == "Hopper-v4")
    entry = result.groups[1].per_env[0]
    assert (estimate["value"], estimate["low"], estimate["high"], estimate["runs"]) == (entry.value, entry.low, entry.high, 3)
    singles = [row["value"] for row in rows if row["what"] == "run" and row["panel"] == "Hopper-v4"]
    assert singles == [1.1, 2, 1 / 3, 4, 5, 7]
    missing = next(row for row in rows if row["label"] == "sac" and row["panel"] == "Ant_v4")
    assert missing["value"] is None and missing["note"] == "no runs"
    line = band("sac", "Hopper-v4", gap=slice(3, 5))
    curve = figure_rows(curves_figure(curves_result(line), result))
    assert [row["x"] for row in curve] == line.x.tolist() and [row["runs"] for row in curve] == [5] * 20
    assert [row["value"] for row in curve] == [None if np.isnan(value) else value for value in line.value.tolist()]


def exported(output: str, **changes: Any) -> list[str]:
    result = ragged()
    page = plot_page(result, (curves_result(band("sac", "Hopper-v4")),), "openrlb plot")
    written, notes = write_figures(page, result, Export(Path(output), size_of("column"), **changes))
    assert not notes
    assert sorted(path.name for path in Path(output).parent.iterdir()) == sorted(one.path.name for one in written)
    return [one.path.name for one in written]


def test_each_figure_has_its_caption_and_numbers_and_all_share_a_bibliography() -> None:
    curves = "fig-learning-curves-by-agent-step"
    assert exported("out/fig.pdf") == [
        "fig.pdf", "fig-caption.tex", "fig-numbers.csv",
        f"{curves}.pdf", f"{curves}-caption.tex", f"{curves}-numbers.csv", "fig-sources.bib",
    ]  # fmt: skip
    before = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    exported("out/fig.pdf")
    assert {path.name: path.read_bytes() for path in Path("out").iterdir()} == before, "equal input, equal bytes"
    with Path("out/fig-numbers.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert rows[-1]["value"] == "" and rows[-1]["note"] == "no runs"
    assert {float(row["value"]) for row in rows if row["what"] == "run"} >= {1 / 3}, "every digit is kept"


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_numbers_in_each_format_are_equal(kind: str) -> None:
    import polars as pl

    exported(f"{kind}/fig.svg", numbers=kind)
    path = Path(f"{kind}/fig-learning-curves-by-agent-step-numbers.{kind}")
    read = {"csv": pl.read_csv, "parquet": pl.read_parquet, "json": lambda one: pl.DataFrame(json.loads(one.read_text()))}[kind]
    frame = read(path)  # type: ignore[operator]
    assert frame.columns == ["panel", "label", "x", "value", "low", "high", "runs"]
    assert frame["value"].to_list() == band("sac", "Hopper-v4").value.tolist()


def test_a_tall_figure_is_written_in_parts_that_the_caption_names() -> None:
    result, _ = many(35)
    written, _ = write_figures(plot_page(result, (), ""), result, Export(Path("tall/f.pdf"), size_of("column")))
    images = [one.path.name for one in written if one.path.suffix == ".pdf"]
    assert images == ["f.pdf", "f-part2.pdf"]
    text = Path("tall/f-caption.tex").read_text()
    assert all(rf"\includegraphics{{{name}}}" in text for name in images)


def test_what_cannot_be_written_leaves_nothing_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = ragged()
    page = plot_page(result, (), "")
    with pytest.raises(OpenrlbError, match="cannot be written"):
        write_figures(page, result, Export(tmp_path / "file" / "fig.pdf", size_of("column")))
    with pytest.raises(UsageError, match="no image"):
        write_figures(page, result, Export(tmp_path / "fig.docx", size_of("column")))
    none = plot_result()
    with pytest.raises(UsageError, match="no figure"):
        write_figures(plot_page(none, (), ""), none, Export(tmp_path / "fig.pdf", size_of("column")))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
