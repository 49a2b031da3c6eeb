"""Names that other people's logs hold: terminals, spreadsheets, Markdown and the file system take them for text."""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from builders import batch
from typer.testing import Result

from openrlb.store import Store

Cli = Callable[..., Result]
ORDERS = "\x1b[31m\x1b]0;owned\x07\x9b2J\u202egnp\u2066\u200f\x00\u2028x"
"""What a terminal obeys: colours, its title, an erased screen, text that runs the other way."""
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
FORMULA = '=HYPERLINK("http://127.0.0.1:9")'
PLACES = (
    "../../x",
    "/etc/passwd",
    "..",
    ".hidden",
    "a\x00b",
    "a\nb",
    "C:\\x",
    "CON",
    "x" * 4096,
    "$(id)",
    "%2e%2e%2f",
    "-rf",
    "~",
)
"""Names that would lead out of a folder, or that no file may have."""


def fill(store: Store, name: str, of_folder: str = "logs") -> None:
    """Three seeds of two algorithms, with a name wherever a log may hold text."""
    told = {"impl": name, "tags": (name,), "config": {name: name}, "notes": (name,), "location": name, "git_commit": name}
    store.write(
        [
            batch(
                f"{name}{algo}{seed}", algo=name + algo, env=f"{name}E", seed=seed, project=of_folder, source=f"s{name}", **told
            )
            for seed in range(3)
            for algo in ("", "2")
        ]
    )
    store.fold()


def test_a_terminal_obeys_no_name(store: Store, cli: Cli) -> None:
    fill(store, ORDERS)
    plain = "list|list --format table|list --format csv|list --format md|plot --table --format table|list --env nobody"
    asked = [tuple(words.split()) for words in plain.split("|")]
    asked += [
        ("show", f"{ORDERS}0"),
        ("query", "SELECT config, run FROM runs"),
        ("compare", ORDERS, f"{ORDERS}2"),
        ("compare", "a", "b"),
    ]
    for words in asked:
        done = cli(*words)
        assert done.exit_code in (0, 3) and "owned" in done.output + done.stderr, words
        assert not OBEYED.search(done.output + done.stderr), words


def cells(text: str) -> list[str]:
    return [cell for row in csv.reader(io.StringIO(text)) for cell in row]


def test_no_cell_of_a_spreadsheet_is_a_formula_and_numbers_stay_numbers(store: Store, cli: Cli) -> None:
    fill(store, FORMULA)
    texts = [
        cli("list", "--format", "csv").stdout,
        cli("query", "--format", "csv", "SELECT run, -1.5 AS a, -2 AS b FROM runs").stdout,
    ]
    for words in ("list -o l.csv", "list -o l.tsv", "plot -o p.svg --numbers csv", "plot --table -o t.csv", "compare -o c.csv"):
        assert cli(*words.split(), *([FORMULA, f"{FORMULA}2"] if "compare" in words else [])).exit_code == 0, words
    texts += [path.read_text() for path in sorted(Path.cwd().glob("*.csv"))]
    assert len(texts) == 6 and all("HYPERLINK" in text for text in texts)
    assert [cell for text in texts for cell in cells(text) if cell.startswith(("=", "+", "@", "\t"))] == []
    assert {"-1.5", "-2"} <= set(cells(texts[1])) and "\t'=HYPER" in Path("l.tsv").read_text()
    assert FORMULA in cli("list").stdout  # bare TSV is for programs: every byte of a name is as it was logged


def test_a_markdown_table_holds_no_html(store: Store, cli: Cli) -> None:
    fill(store, "<script>alert(1)</script>|`x`")
    text = cli("list", "--format", "md").stdout
    assert "<" not in text and {len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines()} == {
        text.splitlines()[1].count("|")
    }


def test_no_name_leads_out_of_the_store(store: Store, cli: Cli, isolation: Path) -> None:
    before = {*isolation.parent.iterdir(), *Path.cwd().iterdir()}
    for name in PLACES:
        told = {"project": name, "source": name, "location": name, "files": {}, "tags": (name,)}
        store.write([batch(name + algo, algo=name + algo, env=name, impl=name, **told) for algo in ("", "2")])  # type: ignore[arg-type]
    store.fold()
    assert cli("export", "--bundle", "bundle", "--license", "mit").exit_code == 0
    for folder in (store.layout.root, Path("bundle")):
        files = list(folder.rglob("*"))
        assert len(files) > 2 * len(PLACES)
        assert all(path.resolve().is_relative_to(folder.resolve()) and ".." not in path.parts for path in files)
        assert all(len(path.name.encode()) < 256 and path.name.isprintable() for path in files)
    assert {*isolation.parent.iterdir(), *Path.cwd().iterdir()} - before == {Path.cwd() / "bundle"}
    assert len(store.query("SELECT run FROM runs").rows) == 2 * len(PLACES)


def test_bytes_that_are_no_text_are_shown_and_end_nothing(tmp_path: Path, isolation: Path) -> None:
    place = os.fsencode(tmp_path) + b"/caf\xe9"
    Path(os.fsdecode(place)).mkdir()
    Path(os.fsdecode(place + b"/scor\xe9.csv")).write_text("algo,env,seed,step,return\nppo,E-v0,1,0,2.5\n")
    asked = {
        (b"fetch", place): 0,
        (b"list", b"--json"): 0,
        (b"fetch", b"/no/\xff"): 1,
        (b"list", b"--where", b"algo = '\xff'"): 2,
    }
    for words, code in asked.items():
        done = subprocess.run([sys.executable, "-m", "openrlb", *words], capture_output=True, check=False)
        assert (done.returncode, b"Traceback" in done.stderr) == (code, False), (words, done.stderr)
        assert done.stdout.decode() or done.stderr.decode()
