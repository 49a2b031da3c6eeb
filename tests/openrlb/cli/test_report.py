"""``openrlb report``: what its page holds, what it leaves out, and that no secret and no markup of a log gets into it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from builders import batch
from reported import FORMULA, HOSTILE, PLANTED, SECRETS, everything, packed
from studied import Studied
from typer.testing import Result

import openrlb
from openrlb.api.report import FURTHER, report
from openrlb.store import Store

Cli = Callable[..., Result]
PAGE = Path("report.html")


def headings(text: str) -> list[str]:
    return [unescape(found) for found in re.findall(r"<h2[^>]*>(.*?)</h2>", text)]


def made(cli: Cli, *words: object) -> tuple[dict[str, Any], str]:
    done = cli("report", "--resamples", 200, *words, "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout), Path(json.loads(done.stdout)["path"]).read_text(encoding="utf-8")


def test_the_sample_has_a_page_with_every_figure_that_it_allows(cli: Cli) -> None:
    assert cli("fetch", "sample", "--env", "Hopper").exit_code == 0
    answer, text = made(cli, "--env", "Hopper", "--threshold", 400)
    assert (answer["runs"], answer["counted"], answer["groups"], answer["studies"]) == (15, 15, ["a2c", "ppo", "trpo"], 0)
    assert {one["figure"] for one in answer["not_drawn"]} == {"critical-difference", "slopes"}
    assert len(answer["figures"]) == 3 + len(FURTHER) - 2 and set(answer["figures"]) <= set(headings(text))
    assert answer["size"] == len(text.encode()) < 2_600_000 and text.count('id="plotly-library"') == 1
    rows = [row for row in re.findall(r"<tr>.*?</tr>", text) if "#run=sample%2F" in row]
    assert len(rows) == 15 and all('<svg class="spark" role="img" aria-label="episodic_return from' in row for row in rows)
    for words in ("select two of them", "stable-baselines3 2.9.2", "Digest of the selected runs", "99.897k agent steps"):
        assert words in unescape(text), words
    details = packed(text, "detail-data")
    first = details["details"][0]
    assert (
        first["command"] == f"openrlb reproduce {first['name'].removeprefix('sample/')}"
        and "openrlb fetch sample" in first["command_note"]
    )
    assert any(row[0] == "gymnasium" for row in details["shared"][first["shared"][0]]["rows"])
    assert {"learning_rate", "gamma"} <= {row[0] for table in first["tables"] for row in table["rows"]}


def test_the_page_says_what_plot_says(hostile_report: Path) -> None:
    text = hostile_report.read_text(encoding="utf-8")
    embedded = re.search(r'id="openrlb-data">(.*?)</script>', text, re.S)
    assert embedded is not None
    mine = json.loads(embedded.group(1))
    store = Store(hostile_report.parent / "store")
    plotted = openrlb.plot(options=openrlb.PlotOptions(resamples=200), store=store).result
    for one, other in zip(mine["groups"], plotted.groups, strict=True):
        for entry, expected in zip(one["per_env"], other.per_env, strict=True):
            assert (entry["value"], entry["low"], entry["high"]) == (expected.value, expected.low, expected.high)
            assert tuple(entry["scores"]) == expected.scores
    saved = packed(text, "scores-numbers-1")
    assert saved["score"] == [score for group in plotted.groups for entry in group.per_env for score in entry.scores]


def test_runs_that_do_not_count_are_named_with_the_reason_and_have_details(hostile_report: Path) -> None:
    text = hostile_report.read_text(encoding="utf-8")
    answer = json.loads(hostile_report.with_name("report.json").read_text())
    assert (answer["runs"], answer["counted"]) == (14, 12)
    left = text[text.index("<h2>Runs left out</h2>") :]
    assert "crashed" in left and "tuning run: a study chose by it" in left
    details = {one["name"]: one for one in packed(text, "detail-data")["details"]}
    assert any("left out: tuning run" in note for note in details["folder/tuned"]["notes"]) and details["folder/tuned"]["line"]
    (power,) = [table for table in details["folder/ppo-Hopper-v4-0"]["tables"] if table["caption"].startswith("System metrics")]
    assert power["rows"] == [["system.gpu.0.powerWatts", "system", "49", "49,000", *["250.0"] * 4]]
    rows = packed(text, "runs-numbers-0")
    assert rows["left_out"][rows["run"].index("tuned")] == "tuning run: a study chose by it" and len(rows["run"]) == 14


def test_numbers_to_save_are_all_of_them_where_a_figure_draws_fewer(hostile_report: Path) -> None:
    text = hostile_report.read_text(encoding="utf-8")
    saved = packed(text, "learning-curves-by-agent-step-numbers-0")
    assert len(saved["x"]) == 4 * 600
    drawing = packed(text, "figure-learning-curves-by-agent-step-drawing")
    drawn = [trace for trace in drawing["data"] if trace.get("mode", "").startswith("lines") and trace.get("x")]
    assert drawn and max(len(line["x"]) for line in drawn) < 600
    assert (
        "positions are drawn, the lowest and the highest of each of 120 stretches of a curve; the numbers to save are all" in text
    )
    lines = [one["line"] for one in packed(text, "detail-data")["details"] if one["line"]]
    assert all(len(line["x"]) <= 202 for line in lines) and "of 600 logged values" in lines[0]["caption"]


def test_no_secret_reaches_a_page(hostile_report: Path) -> None:
    text = everything(hostile_report)
    assert not [planted for planted in PLANTED if planted in text]
    for kept in (
        "https://github.com/lab/code",
        "~/logs",
        "[secret]",
        "[e-mail]",
        "python ~/train.py --wandb-api-key [secret] --lr=0.1",
    ):
        assert kept in text, kept


@pytest.mark.parametrize("name", ["plot.html", "plot.svg"])
def test_the_files_of_a_plot_hold_no_secret_either(cli: Cli, store: Store, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("MY_SECRET", SECRETS["MY_SECRET"])
    store.write([batch(f"run{seed}", seed=seed, project="https://alice-login:planted-password@host/lab") for seed in range(3)])
    store.fold()
    done = cli("plot", "--resamples", 200, "--label", f"ppo=carol@example.org {SECRETS['MY_SECRET']}", "-o", name)
    assert done.exit_code == 0, done.stderr
    texts = {path.name: everything(path) if path.suffix == ".html" else path.read_text() for path in Path().iterdir()}
    assert len(texts) == (1 if name.endswith("html") else 4)
    assert not [(path, planted) for path, text in texts.items() for planted in PLANTED if planted in text]
    assert any("[e-mail] [secret]" in text for text in texts.values()) and any(
        "https://host/lab" in text for text in texts.values()
    )


def test_markup_in_a_log_stays_text(hostile_report: Path) -> None:
    text = hostile_report.read_text(encoding="utf-8")
    assert "<img" not in text and HOSTILE.split("\u2028")[0] in unescape(text)
    scripts = re.findall(r"<script>(.*?)</script>", text, re.S)
    assert len(scripts) == 3, "what unpacks, the figures' script and the report's own"
    assert re.search(r"default-src 'none'; script-src( 'sha256-[^']+'){4}; style-src 'unsafe-inline'; img-src data: blob:", text)
    assert "base-uri 'none'; form-action 'none'" in text
    for match in re.findall(r'(?:src|href)="([^"]*)"', text):
        assert match.startswith(("#", "data:")), match
    details = packed(text, "detail-data")["details"]
    assert FORMULA in {row[0] for one in details for table in one["tables"] for row in table["rows"]}


def test_the_same_runs_give_the_same_bytes(runs: Store) -> None:
    pages = []
    for name in ("one.html", "two.html"):
        report(options=openrlb.PlotOptions(resamples=200), output=name, command="openrlb report")
        pages.append(Path(name).read_bytes())
    assert pages[0] == pages[1]


def test_a_broken_database_of_studies_takes_the_studies_from_the_page_and_nothing_else(cli: Cli, runs: Store) -> None:
    (runs.layout.root / "hpo.db").write_bytes(b"no database" * 500)
    done = cli("report", "--resamples", 200, "--json")
    assert done.exit_code == 0 and json.loads(done.stdout)["studies"] == 0
    told = "tudies are left out of the report: the studies in sqlite:///"
    assert f"warning: s{told}" in done.stderr and "move it away" in done.stderr
    assert f"S{told}" in unescape(PAGE.read_text(encoding="utf-8"))
    named = cli("report", "--resamples", 200, "--storage", f"sqlite:///{runs.layout.root / 'hpo.db'}")
    assert named.exit_code == 1 and "cannot be opened" in named.stderr, "a database that was asked for is not left out"
    for words in (("list",), ("plot", "--table"), ("export", "--runs", "-o", "runs.csv"), ("export", "--bundle", "bundle")):
        assert cli(*words).exit_code == 0, words


def test_studies_of_the_runs_are_in_their_report(cli: Cli, studied: Studied) -> None:
    answer, text = made(cli, "--by", "study")
    assert answer["studies"] == 1
    part = text[text.index(f"Study {studied.name}") : text.index("<h2>Runs</h2>")]
    assert (
        '<details class="folded">' in part
        and "<h4>Reproducibility checklist</h4>" in part
        and "Which hyperparameters mattered" in part
    )
    whole = cli("study", "report", studied.name, "-o", "study.html")
    assert whole.exit_code == 0, whole.stderr
    own = Path("study.html").read_text()
    assert re.findall(r"<h4>(.*?)</h4>", part) == re.findall(r"<h2>(.*?)</h2>", own)[:-1]
    assert "tuning" in packed(text, "runs-numbers-0")["role"], "runs that the study chose by are in the table, and do not count"


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("-o", "report.pdf"), 2, "a report is a page"),
        (("--metric", "poi"), 2, "is no aggregate"),
        (("--env", "Nothing"), 3, "no run has --env 'Nothing'"),
        (("-o", "file/report.html"), 1, "cannot be written"),
    ],
)
def test_a_report_that_cannot_be_made_is_said_in_three_lines(
    cli: Cli, runs: Store, words: tuple[str, ...], code: int, told: str
) -> None:
    Path("file").write_text("")
    done = cli("report", "--resamples", 200, *words)
    assert done.exit_code == code and told in done.stderr and "fix:" in done.stderr, done.stderr


def test_many_groups_are_compared_in_a_matrix_not_in_hundreds_of_rows(cli: Cli, store: Store) -> None:
    store.write(
        [batch(f"a{algo}-{seed}", algo=f"a{algo}", seed=seed, points=5, offset=algo) for algo in range(9) for seed in range(2)]
    )
    store.fold()
    answer, text = made(cli)
    assert {one["figure"]: one["what"] for one in answer["not_drawn"]}["poi"].startswith("36 pairs are more rows")
    assert "Win rates, Hopper-v4" in answer["figures"] and len(packed(text, "win-rates-hopper-v4-numbers-0")["value"]) == 36


def test_an_empty_store_has_no_report(cli: Cli) -> None:
    done = cli("report")
    assert done.exit_code == 3 and "the store is empty" in done.stderr and not PAGE.exists()


def test_runs_of_score_tables_and_single_runs_have_a_report(cli: Cli, store: Store) -> None:
    import numpy as np

    from openrlb.types import Metric, MetricBatch, Run, RunBatch

    metric = Metric("score", "eval", "episodic_return")
    none = np.zeros(3, np.int64)
    table = Run("folder", "table", "scores", "table", "mine", "Pong", state="unknown", step_unit="none")
    store.write([RunBatch(table, (MetricBatch(metric, none, np.array([1.0, np.nan, 3.0])),))])
    store.fold()
    answer, text = made(cli)
    assert answer["counted"] == 1 and "no run logged times" in text
    assert packed(text, "detail-data")["details"][0]["line"]["x"] == [1, 2, 3]
    store.write([batch("alone", algo="other", seed=None, points=1)])
    store.fold()
    answer, _ = made(cli, "--algo", "other")
    assert answer["counted"] == 1 and "Scores" in answer["figures"]
