"""``openrlb export``: tables of every format, bundles there and back, and no secret in any of them."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from builders import batch
from typer.testing import Result

from openrlb.api.export import export, export_bundle
from openrlb.api.fetch import fetch
from openrlb.api.show import show
from openrlb.errors import NothingMatched, UsageError
from openrlb.sources.bundle.write import _alone
from openrlb.store import Store
from openrlb.types import Metric, MetricBatch, RunBatch, Selection

Cli = Callable[..., Result]


def stored(*batches: RunBatch, folder: Path | None = None) -> Store:
    store = Store(folder)
    store.write(batches)
    store.fold()
    return store


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def kept_with(text: bytes, **fields: Any) -> dict[str, Any]:
    return {"files": {"run.py": hashlib.sha256(text).hexdigest()}, **fields}


@pytest.fixture
def varied() -> Store:
    """Two algorithms in two environments, one run with NaN values, hardware series, a kept file and a note."""
    first = batch("a0", seed=0, config={"lr": 1e-4, "deep": {"x": [1, None, "=1+1"]}}, tags=("t",), **kept_with(b"print()\n"))
    system = MetricBatch(Metric("cpu", "system"), np.array([1, 2]), np.array([0.5, math.nan]))
    first = RunBatch(first.run, (*first.metrics, system), {"run.py": b"print()\n"})
    runs = [first, *(batch(f"a{seed}", seed=seed, offset=seed, config={"lr": 1e-4}) for seed in range(1, 5))]
    for env, name, seeds in (("Hopper-v4", "b", (1, 2)), ("ALE/Pong-v5", "p", (0, 1, 2))):
        made = {"created": "2026-01-01T00:00:00+00:00", "state": "finished"}
        runs += [batch(f"{name}{seed}", algo="sac", env=env, seed=seed, episodes=True, **made) for seed in seeds]
    return stored(*runs)


def test_export_then_fetch_then_export_gives_equal_bytes(varied: Store, tmp_path: Path) -> None:
    done = export_bundle(tmp_path / "one" / "shared", license_="cc-by-4.0", store=varied)
    again = export_bundle(tmp_path / "two" / "shared", license_="cc-by-4.0", store=varied)
    assert files(tmp_path / "one") == files(tmp_path / "two") and done.runs == again.runs == 10
    other = Store(tmp_path / "elsewhere")
    report = fetch([tmp_path / "one" / "shared"], store=other)
    assert (report.found, report.new) == (10, 10)
    export_bundle(tmp_path / "three" / "shared", license_="cc-by-4.0", store=other)
    assert files(tmp_path / "three") == files(tmp_path / "one")
    mine, its = ({row.record.run: row.record.to_json() for row in store.runs()} for store in (varied, other))
    assert {run: {**record, "source": f"bundle:{record['source']}"} for run, record in mine.items()} == its
    asked = "SELECT run, metric, kind, step, time_s, value FROM points ORDER BY ALL"
    params = "SELECT * FROM params ORDER BY ALL"
    assert repr(varied.query(asked)) == repr(other.query(asked)) and varied.query(params) == other.query(params)
    assert (other.layout.blobs / hashlib.sha256(b"print()\n").hexdigest()).read_bytes() == b"print()\n"
    report = fetch([tmp_path / "one" / "shared"], store=other)
    assert (report.found, report.unchanged) == (10, 10)


def test_a_run_and_its_copy_count_once_in_either_order(varied: Store, tmp_path: Path, cli: Cli) -> None:
    from openrlb.api.plot import PlotOptions, plot

    export_bundle(tmp_path / "shared", store=varied)
    report = fetch([tmp_path / "shared"], store=varied)
    assert (report.found, report.unchanged, report.copies) == (10, 10, 10) and len(varied.runs()) == 10
    other = Store(tmp_path / "elsewhere")
    fetch([tmp_path / "shared"], store=other)
    fetch([tmp_path / "shared"], store=other)
    other.write(
        [one for name in ("a1", "a2") for one in [batch(name, seed=int(name[1]), offset=int(name[1]), config={"lr": 1e-4})]]
    )
    other.fold()
    result = plot(Selection(env=("Hopper",), algo=("ppo",)), PlotOptions(by=("algo",), resamples=200), store=other).result
    assert [group.runs for group in result.groups] == [5]
    assert {item.run: item.reason for item in result.excluded} == dict.fromkeys(
        ("a1", "a2"), "copy from a bundle of a run that is there itself (folder; the same values)"
    )
    assert show("a1", store=other).row.record.source == "folder" and show("a3", store=other).row.record.source == "bundle:folder"
    done = export_bundle(tmp_path / "again", store=other)
    assert done.runs == 10 and [run for run, _ in done.left_out] == ["a1", "a2"]


def test_a_run_of_the_same_id_and_other_values_never_replaces_ones_own(tmp_path: Path) -> None:
    mine = stored(batch("x", source="openrlb", offset=1.0))
    export_bundle(tmp_path / "theirs", store=stored(batch("x", source="openrlb", offset=2.0), folder=tmp_path / "their"))
    report = fetch([tmp_path / "theirs"], store=mine)
    assert (report.new, report.changed, report.copies) == (1, 0, 0)
    assert sorted((row.record.source, row.record.run) for row in mine.runs()) == [("bundle:openrlb", "x"), ("openrlb", "x")]
    (curve,) = mine.curves(Selection(where="source = 'openrlb'"), [("eval/mean_reward", "eval")])
    assert curve.values[0] == 1.0


def test_a_crashed_copy_never_replaces_a_finished_one(tmp_path: Path) -> None:
    for state in ("finished", "crashed"):
        export_bundle(tmp_path / state, store=stored(batch("x", source="openrlb", state=state), folder=tmp_path / f"of-{state}"))
    mine = Store()
    for state in ("finished", "crashed"):
        fetch([tmp_path / state], store=mine)
    assert [(row.record.source, row.record.state) for row in mine.runs()] == [("bundle:openrlb", "finished")]


SECRETS = {
    "WANDB_API_KEY": "0123456789abcdef0123456789abcdef01234567",
    "HF_TOKEN": "plain-looking-secret-value",
}
PLANTED = (*SECRETS.values(), "ghp_aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789", "hunter2hunter2", "ann", "box7", "dora@example.org")


def tainted() -> RunBatch:
    """A run with secrets wherever one may get to."""
    token = PLANTED[2]
    texts = {
        "command.json": json.dumps({"command": ["train.py", "--wandb-api-key", SECRETS["WANDB_API_KEY"]], "cwd": "/home/ann/x"}),
        "wandb-metadata.json": json.dumps(
            {"host": "box7", "email": "dora@example.org", "git": {"remote": f"https://ann:{token}@github.com/l/r"}}
        ),
        "changes.diff": f"+ os.environ['X'] = '{SECRETS['HF_TOKEN']}'\n+ password = 'hunter2hunter2'\n+ /Users/ann/data\n",
        "binary.bin": "",
        "run.py": "print('nothing to hide', api_key=api_key)  # by eve@example.org\n",
    }
    data = {name: text.encode() for name, text in texts.items()} | {
        "binary.bin": b"\xff\xfe/home/ann/\x80" + SECRETS["HF_TOKEN"].encode()
    }
    digests = {name: hashlib.sha256(one).hexdigest() for name, one in data.items()}
    config = {
        "lr": 0.1,
        "api_key": "hunter2hunter2",
        "nested": {"path": ["/home/ann/logs"], "user": "ann"},
        "remote": f"https://{token}@github.com/l/r.git",
    }
    fields = {"config": config, "files": digests, "requirements": digests["changes.diff"], "location": "/home/ann/logs/1.csv"}
    fields |= {
        "notes": ("read from /root/x by dora@example.org",),
        "tags": (f"key={SECRETS['WANDB_API_KEY']}",),
        "hardware": {"hostname": "box7"},
    }
    one = batch("t", project="https://ann:hunter2hunter2@example.org/p", **fields)
    named = MetricBatch(Metric("/home/ann/return", "other"), np.array([1]), np.array([2.5]))
    return RunBatch(one.run, (*one.metrics, named), data)


def everything(folder: Path) -> str:
    """All that a bundle says, unpacked."""
    told = []
    for path in sorted(folder.rglob("*")):
        told.append(str(path))
        if path.suffix == ".parquet":
            told.append(str(pq.read_table(path, partitioning=None).to_pylist()))
        if path.is_file():
            told.append(path.read_bytes().decode("latin-1"))
    return "\n".join(told)


def test_no_secret_reaches_a_bundle_and_what_was_taken_out_is_said(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", "/work/scratch/dora")
    one = tainted()
    store = stored(one, batch("clean", config={"lr": 0.2}))
    done = cli("export", "--bundle", tmp_path / "b", "--license", "mit")
    assert done.exit_code == 0, done.stderr
    told = everything(tmp_path / "b")
    for secret in PLANTED:
        assert not re.search(rf"(?<![A-Za-z]){re.escape(secret)}(?![A-Za-z])", told), secret
    assert "nothing to hide" in told and "0.1" in told
    removed = json.loads((tmp_path / "b" / "bundle.json").read_text())["removed"]
    expected = {
        "config.api_key",
        "config.nested.path",
        "config.nested.user",
        "config.remote",
        "file changes.diff",
        "file command.json",
    }
    assert expected | {
        "file binary.bin",
        "file wandb-metadata.json",
        "hardware.hostname",
        "location",
        "notes",
        "project",
        "tags",
    } <= set(removed)
    assert set(removed.values()) == {1} and "file run.py" not in removed and "config.lr" not in removed
    assert all(f"taken out: {name} of 1 run" in done.stderr for name in removed)
    assert "config.api_key: in 1 runs" in (tmp_path / "b" / "README.md").read_text().replace("\\", "")
    other = Store(tmp_path / "elsewhere")
    fetch([tmp_path / "b"], store=other)
    export_bundle(tmp_path / "c" / "b", license_="mit", store=other)
    assert files(tmp_path / "c" / "b") == files(tmp_path / "b")
    report = fetch([tmp_path / "b"], store=store)  # one's own run is known in spite of what was taken out
    assert (report.unchanged, report.copies) == (2, 2)


def test_a_kept_file_whose_name_alone_tells_something_is_named_anew(tmp_path: Path) -> None:
    data = b"calm"
    one = batch("named", files={"/home/ann/f.txt": hashlib.sha256(data).hexdigest()})
    done = export_bundle(tmp_path / "b", license_="mit", store=stored(RunBatch(one.run, one.metrics, {"/home/ann/f.txt": data})))
    assert done.removed == {"file ~/f.txt": 1} and "/home/ann" not in everything(tmp_path / "b")


def test_two_exports_into_one_folder_do_not_mix(tmp_path: Path) -> None:
    store = stored(batch("a"))
    export_bundle(tmp_path / "b", license_="mit", store=store)
    before = files(tmp_path / "b")
    with _alone((tmp_path / "b").absolute()), pytest.raises(UsageError, match="no bundle is written") as refusal:
        export_bundle(tmp_path / "b", license_="cc-by-4.0", store=store)
    assert "another openrlb export" in refusal.value.why and files(tmp_path / "b") == before


def test_no_secret_reaches_a_table_and_what_was_taken_out_is_said(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    one = tainted()
    stored(one, *(batch(f"clean{seed}", config={"lr": 0.2}, seed=seed) for seed in range(3)))
    for number, words in enumerate((["--runs"], ["--points"], [], ["--by", "config.api_key"])):
        for suffix in (".csv", ".json", ".md", ".parquet", *((".tex", ".bib") if number > 1 else ())):
            path = tmp_path / f"{number}{suffix}"
            done = cli("export", *words, "-o", path)
            assert done.exit_code == 0, done.stderr
            told = str(pq.read_table(path).to_pylist()) if suffix == ".parquet" else path.read_text()
            for secret in PLANTED:
                assert not re.search(rf"(?<![A-Za-z]){re.escape(secret)}(?![A-Za-z])", told), (path.name, secret)
            assert number > 1 or "taken out: config.api_key of 1 run" in done.stderr
    listed = {row["run"]: row for row in rows(tmp_path / "0.csv")}
    assert (
        json.loads(listed[one.run.run]["config"])["lr"] == 0.1 and listed[one.run.run]["steps"] == listed["clean0"]["steps"] != ""
    )


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def test_results_are_those_of_plot_in_every_format(varied: Store, cli: Cli, tmp_path: Path) -> None:
    said = ("--env", "Hopper", "--resamples", "200", "--metric", "iqm,mean")
    drawn = json.loads(cli("plot", *said, "--table", "--json").stdout)
    for suffix in ("csv", "json", "parquet", "md", "tex", "bib"):
        done = cli("export", *said, "-o", tmp_path / f"r.{suffix}")
        assert done.exit_code == 0 and done.stdout == "", done.stderr
    assert [row["value"] for row in drawn] == [float(row["value"]) for row in rows(tmp_path / "r.csv")]
    wrote = json.loads((tmp_path / "r.json").read_text())
    assert [{key: row.get(key) for key in wrote[0]} for row in drawn] == wrote
    assert pq.read_table(tmp_path / "r.parquet").column("low").to_pylist() == [row["low"] for row in drawn]
    assert (tmp_path / "r.md").read_text().count("\n") == len(drawn) + 2
    table = (tmp_path / "r.tex").read_text()
    assert table.count("\\toprule") == table.count("\\bottomrule") == 2 and table.count("{") == table.count("}")
    assert re.search(r"Hopper-v4 & ppo.* & \d & \$", table) and re.search(r"\[\$[\d.]+\$, \$[\d.]+\$\]", table)
    assert "@misc{openrlb," in (tmp_path / "r.bib").read_text()


def test_every_run_and_value_is_written_with_all_its_digits(varied: Store, tmp_path: Path) -> None:
    for suffix in ("csv", "parquet", "json"):
        done = export(tmp_path / f"runs.{suffix}", "runs", store=varied)
        assert (done.rows, done.runs) == (10, 10)
        assert export(tmp_path / f"points.{suffix}", "points", store=varied).rows == 10 * 50 + 5 * 5 + 2
    table = pq.read_table(tmp_path / "runs.parquet")
    assert table.column("seed").to_pylist().count(0) == 2 and {"lr": 1e-4} in map(json.loads, table.column("config").to_pylist())
    assert {row["run"] for row in json.loads((tmp_path / "runs.json").read_text())} == {
        row["run"] for row in rows(tmp_path / "runs.csv")
    }
    points = pq.read_table(tmp_path / "points.parquet")
    told = varied.query("SELECT run, metric, step, value FROM points WHERE NOT isnan(value) ORDER BY ALL").rows
    mine = list(zip(*(points.column(name).to_pylist() for name in ("run", "metric", "step", "value")), strict=True))
    assert sorted(row for row in mine if row[3] == row[3]) == told
    written = sorted((row["run"], row["metric"], int(row["step"]), float(row["value"])) for row in rows(tmp_path / "points.csv"))
    assert [row for row in written if row[3] == row[3]] == told and len(written) == len(told) + 1  # the NaN is there too
    one = export(tmp_path / "returns.csv", "points", metrics=["episodic_return"], store=varied)
    assert one.rows == 10 * 50 + 5 * 5
    with pytest.raises(NothingMatched, match="no run logged 'eposodic_return'"):
        export(tmp_path / "x.csv", "points", metrics=["eposodic_return"], store=varied)
    assert not (tmp_path / "x.csv").exists()


def test_cells_that_a_spreadsheet_would_run_are_inert_and_numbers_stay_numbers(tmp_path: Path) -> None:
    names = ("=HYPERLINK(1)", "+1+1", "-2+3", "@SUM(A1)", "\tx", "plain", "-12")
    store = stored(*(batch(f"r{number}", algo=name, seed=None, offset=-5.0) for number, name in enumerate(names)))
    for what in ("runs", "points"):
        export(tmp_path / "t.csv", what, store=store)  # type: ignore[arg-type]
        assert {row["algo"] for row in rows(tmp_path / "t.csv")} == {*(f"'{name}" for name in names[:5]), "plain", "-12"}
    assert float(rows(tmp_path / "t.csv")[0]["value"]) == -5.0
    export(tmp_path / "t.md", "runs", store=store)
    assert len((tmp_path / "t.md").read_text().splitlines()) == len(names) + 2


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "neither -o nor --bundle"),
        (("-o", "x.csv", "--bundle", "b"), "exclude each other"),
        (("-o", "x.csv", "--runs", "--points"), "--runs and --points exclude"),
        (("--bundle", "b", "--runs"), "--bundle and --runs exclude"),
        (("-o", "x.xlsx"), "names no format"),
        (("-o", "x.tex", "--points"), ".tex is for results"),
        (("-o", "x.csv", "--metric", "profile"), "has no result table"),
        (("-o", "x.csv", "--of", "a", "--of", "b"), "--of is given twice"),
        (("--bundle", "b", "--license", "my own!"), "--license"),
    ],
)
def test_words_that_mean_nothing_exit_2_and_write_nothing(runs: Store, cli: Cli, words: tuple[str, ...], why: str) -> None:
    done = cli("export", *words)
    assert done.exit_code == 2 and why in done.stderr
    assert list(Path.cwd().iterdir()) == []


LIVE = '\x1b[31mred\u202e[x](javascript:alert(1))![y](http://127.0.0.1:9/z) "quoted"'


def test_a_name_is_no_link_no_command_and_no_quotation_that_latex_cannot_set(cli: Cli) -> None:
    stored(*(batch(f"{LIVE} {seed}", algo=LIVE, seed=seed) for seed in range(3)))
    for words in (("--runs",), ("--points",), ("--resamples", "100")):
        for suffix in ("csv", "tsv", "md"):
            assert cli("export", *words, "-o", f"table.{suffix}").exit_code == 0
            text = Path(f"table.{suffix}").read_text()
            assert "\x1b" not in text and "\u202e" not in text and "\\x1b" in text, (words, suffix)
            assert suffix != "md" or ("[x](" not in text and "\\[x\\](javascript" in text)
    assert cli("export", "--resamples", "100", "-o", "table.tex").exit_code == 0
    text = Path("table.tex").read_text()
    assert "textquotedbl" not in text and r"{\ttfamily\char34}quoted" in text and "\x1b" not in text
    assert cli("export", "--runs", "-o", "runs.json").exit_code == 0
    assert json.loads(Path("runs.json").read_text())[0]["algo"] == LIVE, "JSON and Parquet keep every character"


def test_json_without_a_file_is_the_table_on_standard_output(varied: Store, cli: Cli) -> None:
    for words in (("--runs",), ("--points", "--of", "episodic_return"), ("--resamples", "100")):
        done = cli("export", *words, "--json")
        assert done.exit_code == 0, done.stderr
        beside = cli("export", *words, "-o", "table.json", "--json")
        assert done.stdout == Path("table.json").read_text() and json.loads(done.stdout)
        assert json.loads(beside.stdout)["path"] == "table.json", "beside a file it says what was written"
        assert f"standard output: {len(json.loads(done.stdout)):,} rows" in done.stderr
    assert cli("export", "--runs").exit_code == 2


def test_nothing_matched_exits_3_and_leaves_no_bundle(runs: Store, cli: Cli) -> None:
    assert cli("export", "--bundle", "b", "--algo", "nobody").exit_code == 3
    assert not Path("b").exists()


def test_what_the_command_says_can_be_typed(runs: Store, cli: Cli) -> None:
    done = cli("export", "--bundle", "my runs", "--title", "Hopper", "--json")
    told = json.loads(done.stdout)
    assert (told["what"], told["runs"], told["rows"]) == ("bundle", 3, 150)
    assert "--license" in done.stderr and "openrlb fetch 'my runs'" in done.stderr
    assert "3 unchanged" in cli("fetch", "my runs").stderr


def test_an_export_through_python_refuses_what_is_no_bundle(runs: Store, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"notes.txt"):
        export_bundle(tmp_path, store=runs)
