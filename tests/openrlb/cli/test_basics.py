"""The program itself: light to start, every verb explained, errors in three lines, output that scripts can rely on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from builders import batch
from typer.testing import Result

from openrlb.store import Store

Cli = Callable[..., Result]
HEAVY = "torch wandb pandas polars optuna plotly duckdb scipy matplotlib rliable pyarrow numpy"


@pytest.mark.parametrize("words", ["['--help']", "['fetch', '--help']", "['plot', '--help']"])
def test_help_imports_nothing_heavy(words: str) -> None:
    code = f"""
import sys
from openrlb.cli.app import app
try:
    app({words})
except SystemExit as end:
    assert not end.code, end.code
loaded = set({HEAVY!r}.split()) & set(sys.modules)
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_every_verb_has_help_with_an_example(cli: Cli) -> None:
    import typer

    from openrlb.cli.app import app, verbs

    found = dict(verbs(typer.main.get_command(app)))
    assert set(found) >= {"fetch", "list", "show", "query", "plot", "doctor", "runner.install"}
    for name, verb in found.items():
        text = cli(*name.split("."), "--help").output
        assert f"openrlb {name.replace('.', ' ')}" in (verb.epilog or ""), f"{name} has no example"
        assert len(verb.help or "") > 20
        for parameter in verb.params:
            assert getattr(parameter, "help", None), f"{name} {parameter.name} has no help"
        assert "Usage" in text


@pytest.mark.parametrize("program", [["-m", "openrlb"]])
def test_python_m_openrlb_and_the_exit_code_of_no_words(program: list[str]) -> None:
    done = subprocess.run([sys.executable, *program, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("openrlb ")
    assert subprocess.run([sys.executable, *program], capture_output=True, check=False).returncode == 2


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (["list"], 3, "the store is empty"),
        (["show", "x"], 3, "the store is empty"),
        (["plot"], 3, "the store is empty"),
        (["fetch", "--env", "Hoper"], 3, "no run fits the selection"),
        (["fetch", "no-such-folder"], 1, "no-such-folder does not exist"),
        (["query", "DELETE FROM runs"], 2, "the SQL was not run"),
        (["list", "--seed", "x"], 2, "--seed 'x' was not understood"),
        (["list", "-o", "x.docx"], 3, "the store is empty"),
        (["plot", "--recipe", "nothing"], 2, "there is no recipe 'nothing'"),
        (["fetch", "wandb:a/b"], 5, ""),
    ],
)
def test_errors_are_three_lines_on_stderr_with_a_documented_code(cli: Cli, words: list[str], code: int, what: str) -> None:
    done = cli(*words)
    assert done.exit_code == code
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert lines[0].startswith(f"error: {what}")
    assert lines[1].startswith("  why: ")
    assert lines[2].startswith("  fix: ")
    assert len(lines) == 3


def test_wrong_words_are_usage_errors_with_a_suggestion(cli: Cli) -> None:
    assert cli("plto").exit_code == 2
    assert "plot" in cli("plto").stderr
    assert cli("plot", "--metric", "best").exit_code == 2
    assert cli("plot", "--resamples", "1").exit_code == 2


def test_a_bug_of_ours_is_three_lines_and_a_traceback_only_with_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
import openrlb.api.list, sys
def broken(*words, **more): raise RuntimeError("boom")
openrlb.api.list.list_runs = broken
from openrlb.cli.app import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code, "list"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[:2] == ["error: openrlb itself failed", "  why: RuntimeError: boom"]
    done = subprocess.run([sys.executable, "-c", code, "--debug", "list"], capture_output=True, text=True, check=False)
    assert "Traceback" in done.stderr


def test_off_a_terminal_a_table_is_tsv_and_never_cut(cli: Cli) -> None:
    store = Store()
    name = "a-very-long-run-name-" * 10
    store.write([batch(name, env="an/environment-" * 8 + "v0")])
    store.fold()
    out = cli("list").stdout.splitlines()
    assert out[0].split("\t")[:3] == ["run", "source", "project"]
    assert name in out[1]
    assert "an/environment-" * 8 in out[1]


def test_list_json_has_the_promised_keys_and_the_same_bytes_twice(cli: Cli, runs: Store) -> None:
    first, second = cli("list", "--json"), cli("list", "--json")
    assert first.stdout == second.stdout
    rows = json.loads(first.stdout)
    promised = "run source project name algo impl variant env seed role state steps step_unit metrics tags created"
    assert list(rows[0]) == [*promised.split(), "score", "score_of", "score_kind"]
    assert [row["seed"] for row in rows] == [0, 1, 2]


@pytest.mark.parametrize("suffix", ["json", "csv", "tsv", "md"])
def test_the_output_files_suffix_chooses_the_format(cli: Cli, tmp_path: Path, suffix: str, runs: Store) -> None:
    path = tmp_path / f"new folder/runs.{suffix}"
    done = cli("list", "-o", path)
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == f"made the folder {path.parent}\nwritten: {path}\n"
    to_stdout = cli("list", "--format", suffix).stdout
    assert path.read_text() == to_stdout


def test_show_finds_a_run_by_the_beginning_of_its_id(cli: Cli, runs: Store) -> None:
    assert json.loads(cli("show", "run1", "--json").stdout)["seed"] == 1
    assert cli("show", "run").exit_code == 2
    assert "means 3 runs" in cli("show", "run").stderr
    assert "did you mean run1" in cli("show", "rum1").stderr
    text = cli("show", "run1", "--format", "table").stdout
    assert "eval/mean_reward" in text
    assert "█" in text


def test_query_writes_rows_and_refuses_everything_else(cli: Cli, runs: Store) -> None:
    assert (
        cli("query", "SELECT seed, count(*) AS n FROM points GROUP BY seed ORDER BY seed").stdout
        == "seed\tn\n0\t50\n1\t50\n2\t50\n"
    )
    assert json.loads(cli("query", "SELECT 'nan'::DOUBLE AS a, 1 AS a", "--json").stdout) == [{"a": None, "a_1": 1}]


def test_doctor_is_well_and_finds_what_is_not(cli: Cli, runs: Store) -> None:
    report = json.loads(cli("doctor", "--json").stdout)
    assert report["ok"], report
    assert any("3 runs" in finding["detail"] for finding in report["findings"])
    next(iter(runs.layout.data.rglob("points-*.parquet"))).unlink()
    done = cli("doctor")
    assert done.exit_code == 1
    assert "files that are gone" in done.stdout


def test_doctor_rebuild_gives_the_same_list(cli: Cli, runs: Store) -> None:
    before = cli("list", "--json").stdout
    runs.layout.catalog.unlink()
    assert cli("doctor", "--rebuild").exit_code == 0
    assert cli("list", "--json").stdout == before


def test_settings_rank_flag_variable_file_default(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, isolation: Path, runs: Store
) -> None:

    def used(*words: str) -> str:
        out = cli("list", *words).stdout
        return "json" if out.startswith("[") else "md" if out.startswith("|") else "csv" if "," in out.splitlines()[0] else "tsv"

    assert used() == "tsv"
    (isolation / "config.toml").write_text("[list]\nformat = 'csv'\n")
    assert used() == "csv"
    Path("openrlb.toml").write_text("[list]\nformat = 'md'\n")
    assert used() == "md"
    monkeypatch.setenv("OPENRLB_FORMAT", "json")
    assert used() == "json"
    assert used("--format", "tsv") == "tsv"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[plto]\nlevel = 0.9", "did you mean [plot]?"),
        ("[plot]\nlevle = 0.9", "did you mean level?"),
        ("level = 0.9", "outside a table"),
        ("[plot\n", "was not understood"),
    ],
)
def test_a_misspelt_setting_is_named(cli: Cli, text: str, what: str) -> None:
    Path("openrlb.toml").write_text(text)
    done = cli("list")
    assert done.exit_code == 2
    assert what in done.stderr


def test_a_closed_pipe_is_no_error(runs: Store) -> None:
    script = f'{sys.executable} -m openrlb query "SELECT unnest(range(100000))" | head -1'
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {script}"], capture_output=True, text=True, check=False)
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("verb", ["--version", "list --json"])
def test_output_that_nothing_more_fits_into_is_no_bug(runs: Store, verb: str, unbuffered: str) -> None:
    words = [sys.executable, "-m", "openrlb", *verb.split()]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            words, stdout=full, stderr=subprocess.PIPE, env=os.environ | {"PYTHONUNBUFFERED": unbuffered}, check=False
        )
    assert done.returncode == 1
    lines = done.stderr.decode().splitlines()
    assert (lines[0], len(lines)) == ("error: not everything could be written", 3), lines


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_fits_in_part_is_named(runs: Store, tmp_path: Path, unbuffered: str) -> None:
    code = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512)); from openrlb.__main__ import main; main()"
    words = [sys.executable, "-c", code, "list", "--json"]
    with (tmp_path / "runs.json").open("w") as output:
        done = subprocess.run(
            words, stdout=output, stderr=subprocess.PIPE, env=os.environ | {"PYTHONUNBUFFERED": unbuffered}, check=False
        )
    assert done.returncode == 1
    assert done.stderr.decode().startswith("error: not everything could be written")
    assert (tmp_path / "runs.json").stat().st_size == 512


def test_shell_completion_is_there() -> None:
    done = subprocess.run([sys.executable, "-m", "openrlb", "--help"], capture_output=True, text=True, check=True)
    assert "--install-completion" in done.stdout


def test_fetch_takes_only_what_was_selected(cli: Cli) -> None:
    done = cli("fetch", "sample", "--algo", "PPO", "--where", "seed <= 3 AND steps > 1000", "--seed", "2-9")
    assert done.exit_code == 0, done.stderr
    assert "10 runs found in 5 environments: 10 new, 0 changed, 0 unchanged, 65 not selected" in done.stderr
    assert cli("fetch", "sample", "--where", "nonsense > 1").exit_code == 2
    assert "--where was not understood" in cli("fetch", "sample", "--where", "1 = 1) OR (1 = 1").stderr


def test_a_dry_run_stores_nothing(cli: Cli) -> None:
    done = cli("fetch", "--dry-run")
    assert "would store: 75 runs found in 5 environments" in done.stderr
    assert cli("list").exit_code == 3


def test_the_first_command_of_the_readme(cli: Cli) -> None:
    assert "--env Hopper matched Hopper-v5 (15 runs)" in cli("fetch", "--env", "Hopper").stderr
    done = cli("plot", "--metric", "iqm", "--curves")
    assert done.exit_code == 0, done.stderr
    page = Path("iqm.html").read_text()
    assert page.count("<html") == 1
    assert "interval: calibrated, fewer than 10 seeds" in done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == ["label", "a2c", "ppo", "trpo"]
    assert all(row[2] == "5" for row in rows[1:])


def test_the_sample_names_what_trained_it(cli: Cli) -> None:
    cli("fetch")
    rows = json.loads(cli("query", "SELECT packages FROM requirements", "--json").stdout)
    assert any(package.startswith("stable_baselines3==") for package in rows[0]["packages"])
    runs = json.loads(cli("list", "--json").stdout)
    assert len(runs) == 75
    assert {(run["state"], run["impl"], run["step_unit"]) for run in runs} == {("finished", "sb3", "agent_step")}
    seeds: dict[tuple[str, str], list[int]] = {}
    for run in runs:
        assert run["steps"] >= 99_000 and {"episodic_return", "episodic_length"} <= set(run["metrics"]), run["name"]
        seeds.setdefault((run["env"], run["algo"]), []).append(run["seed"])
    assert all(sorted(of) == [1, 2, 3, 4, 5] for of in seeds.values()) and len(seeds) == 15
    shown = json.loads(cli("show", runs[0]["run"], "--json").stdout)
    assert shown["config"]["gamma"] == 0.99
    assert {"run.py", "lock/base.txt", "lock/torch-cpu.txt", "spec.json", "config.json", "env.json"} <= set(shown["files"])


def test_presets_are_kept_and_used(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "odd.csv").write_text("who,where_,nr,t,score\nme,Hopper-v4,1,10,5.0\nme,Hopper-v4,2,10,7.0\n")
    words = ["--map", "algo=who,env=where_,seed=nr,step=t,value=score"]
    assert cli("fetch", tmp_path / "odd.csv", *words, "--save-preset", "odd").exit_code == 0
    assert "[presets.odd]" in Path("openrlb.toml").read_text()
    again = cli("fetch", tmp_path / "odd.csv", "--preset", "odd")
    assert "2 unchanged" in again.stderr
    assert cli("fetch", tmp_path / "odd.csv", "--preset", "even").exit_code == 2
    assert cli("list").exit_code == 0


def test_completion_knows_the_stores_names(store: Store) -> None:
    from openrlb.cli.options import completing

    assert completing("env")("") == []
    store.write([batch()])
    assert completing("env")("hop") == ["Hopper-v4"]
    assert completing("algo")("x") == []


def test_verbose_names_every_excluded_run(cli: Cli) -> None:
    store = Store()
    store.write([batch(f"long{seed}", seed=seed) for seed in range(12)])
    store.write([batch(f"short{seed}", seed=100 + seed, points=10) for seed in range(10)])
    store.fold()
    brief, whole = cli("plot", "--table"), cli("--verbose", "plot", "--table")
    assert "2 more" in brief.stderr
    assert whole.stderr.count("excluded: short") == 10
    assert cli("--quiet", "plot", "--table").stderr == ""


def test_every_flag_has_a_variable_and_a_setting(cli: Cli, runs: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def level() -> float:
        return float(json.loads(cli("plot", "--json").stdout)["interval"]["level"])

    Path("openrlb.toml").write_text("[plot]\nlevel = 0.8\n")
    assert level() == 0.8
    monkeypatch.setenv("OPENRLB_PLOT_LEVEL", "0.7")
    assert level() == 0.7
