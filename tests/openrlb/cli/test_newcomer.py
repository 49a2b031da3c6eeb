"""What a newcomer stumbled over, once each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from builders import RETURN, batch
from typer.testing import Result

from openrlb.store import Store
from openrlb.types import MetricBatch, RunBatch

Cli = Callable[..., Result]
HEADER = "algo,env,seed,step,score,lr\n"


def sweep_table(path: Path) -> Path:
    rows = [f"ppo,E-v0,{seed},{step},{100 / lr},{lr}" for lr in (0.1, 0.2) for seed in range(3) for step in (1, 2, 3)]
    path.write_text(HEADER + "\n".join(rows) + "\n")
    return path


def test_a_preset_keeps_every_flag_that_decides_how_steps_are_read(cli: Cli, tmp_path: Path) -> None:
    np.save(tmp_path / "A_E-v0_1.npy", np.arange(5.0))
    words = ["--map", "algo='A',path:A_{env}_{seed},kind=eval", "--step-every", "5000", "--step-unit", "agent_step"]
    assert cli("fetch", tmp_path, *words, "--save-preset", "mine").exit_code == 0
    again = cli("fetch", tmp_path, "--preset", "mine")
    assert "0 new, 0 changed, 1 unchanged" in again.stderr, again.stderr
    assert json.loads(cli("list", "--json").stdout)[0]["steps"] == 20_000


def test_a_map_that_would_average_over_learning_rates_is_refused(cli: Cli, tmp_path: Path) -> None:
    table = sweep_table(tmp_path / "lr.csv")
    for words in ([], ["--map", "algo=algo,env=env,seed=seed,step=step,value=score"]):
        done = cli("fetch", table, *words)
        assert done.exit_code in (2, 3)
        assert "lr tells them apart" in done.stderr
        assert "config.lr=lr" in done.stderr
    assert cli("fetch", table, "--map", "algo=algo,env=env,seed=seed,step=step,value=score,config.lr=lr").exit_code == 0
    labels = [row["label"] for row in json.loads(cli("plot", "--table", "--json").stdout)]
    assert labels == ["ppo lr=0.1", "ppo lr=0.2"]


def test_several_evaluation_episodes_at_a_step_are_not_taken_for_runs(cli: Cli, tmp_path: Path) -> None:
    rows = [f"ppo,E-v0,1,{step},{episode},{step + episode}" for step in (1, 2, 3) for episode in range(4)]
    (tmp_path / "a.csv").write_text("algo,env,seed,step,episode,score\n" + "\n".join(rows) + "\n")
    assert cli("fetch", tmp_path / "a.csv").exit_code == 0
    assert "several values stand at one step" in cli("plot", "--table").stderr


def test_folders_called_logs_are_told_apart(cli: Cli, tmp_path: Path) -> None:
    for name, value in (("exp1", 1000.0), ("exp2", 2000.0)):
        folder = tmp_path / name / "logs"
        folder.mkdir(parents=True)
        (folder / "results.csv").write_text(HEADER + "".join(f"ppo,E-v0,{seed},1,{value},0.1\n" for seed in range(3)))
        assert cli("fetch", folder).exit_code == 0
    rows = json.loads(cli("plot", "--table", "--json").stdout)
    assert {row["label"]: row["mean"] for row in rows} == {"ppo (exp1/logs)": 1000.0, "ppo (exp2/logs)": 2000.0}


def test_of_doubles_without_a_time_the_last_fetched_counts(cli: Cli, tmp_path: Path, store: Store) -> None:
    store.write([batch("zzz", points=10)])
    store.fold()
    time.sleep(1.1)
    store.write([batch("aaa", points=10, offset=100.0)])
    store.fold()
    result = json.loads(cli("plot", "--json").stdout)
    assert result["groups"][0]["per_env"][0]["run_ids"] == ["aaa"]
    assert result["excluded"][0]["run"] == "zzz"
    assert "other values" in result["excluded"][0]["reason"]
    assert (result["excluded"][0]["algo"], result["excluded"][0]["seed"]) == ("ppo", 0)


def test_a_metric_named_return_is_a_return(cli: Cli, tmp_path: Path) -> None:
    rows = "".join(f"ppo,E-v0,{seed},{step},{name},{step}\n" for seed in (1, 2) for step in (1, 2) for name in ("return", "loss"))
    (tmp_path / "long.csv").write_text("algo,env,seed,step,what,v\n" + rows)
    assert (
        cli("fetch", tmp_path / "long.csv", "--map", "algo=algo,env=env,seed=seed,step=step,metric=what,value=v").exit_code == 0
    )
    assert json.loads(cli("plot", "--json").stdout)["of"] == "return"


def test_a_misspelt_normalisation_is_refused_before_anything_is_stored(cli: Cli, tmp_path: Path, runs: Store) -> None:
    sweep_table(tmp_path / "lr.csv")
    done = cli("fetch", tmp_path / "lr.csv", "--already-normalized", "atari")
    assert done.exit_code == 2
    assert "did you mean atari57-human?" in done.stderr
    assert "did you mean atari57-human?" in cli("plot", "--normalize", "atari").stderr
    assert len(runs.runs()) == 3


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--seed", "99"], "fits --seed 99"),
        (["--where", "steps > 1e9"], "fits --where steps > 1e9"),
        (["--since", "2026-01-31"], "fits --since 2026-01-31"),
        (["--seed", "1", "--where", "seed = 2"], "none fits all of them"),
    ],
)
def test_an_empty_answer_names_the_flag_to_blame(cli: Cli, runs: Store, words: list[str], why: str) -> None:
    for verb in ("list", "plot"):
        done = cli(verb, *words)
        assert done.exit_code == 3
        assert why in done.stderr


def test_an_empty_word_is_no_source(cli: Cli) -> None:
    assert cli("fetch", "").exit_code == 2


def test_nan_is_said_at_fetch_and_named_where_it_decides(cli: Cli, tmp_path: Path) -> None:
    rows = "".join(f"ppo,E-v0,{seed},{step},nan,0.1\n" for seed in (1, 2) for step in (1, 2))
    (tmp_path / "nan.csv").write_text(HEADER + rows)
    assert "holds NaN or infinite values; they are kept (2 runs" in cli("fetch", tmp_path / "nan.csv").stderr
    done = cli("plot")
    assert done.exit_code == 3
    assert "finite" in done.stderr or "diverged" in done.stderr, done.stderr


def test_a_run_with_several_returns_asks_which_one(cli: Cli, store: Store) -> None:
    one = batch("a")
    other = MetricBatch(type(RETURN)("eval/other", "eval", "episodic_return"), one.metrics[0].steps, one.metrics[0].values)
    store.write([RunBatch(one.run, (*one.metrics, other))])
    done = cli("plot")
    assert done.exit_code == 2
    assert "--of eval/mean_reward" in done.stderr
    assert cli("plot", "--of", "eval/other").exit_code == 0


def test_a_wrong_suffix_fails_before_the_work(cli: Cli) -> None:
    assert cli("plot", "-o", "x.docx").exit_code == 2  # the store is empty: that would be exit 3


def test_steps_may_be_written_as_people_do(cli: Cli, runs: Store) -> None:
    assert json.loads(cli("plot", "--at", "4e4", "--json").stdout)["step"] == {"Hopper-v4": 40_000}
    assert cli("plot", "--at", "soon").exit_code == 2


def test_table_rows_say_how_they_came_about(cli: Cli, runs: Store) -> None:
    row = json.loads(cli("plot", "--table", "--json").stdout)[0]
    assert (row["rule"], row["cut"], row["normalization"], row["excluded"]) == ("final:10%", 50_000, "none", 0)
    assert "calibrated, fewer than 10 seeds" in row["interval"]


def test_curves_are_in_the_json_too(cli: Cli, runs: Store) -> None:
    answer = json.loads(cli("plot", "--curves", "--json").stdout)
    assert [one["x_unit"] for one in answer["curves"]] == ["agent_step", "hours"]
    assert "--table writes numbers only" in cli("plot", "--curves", "--table").stderr


def test_selection_takes_a_single_name() -> None:
    from openrlb import Selection

    assert Selection(env="Hopper", seed=1) == Selection(env=("Hopper",), seed=(1,))


def test_ctrl_c_ends_with_130_and_a_sentence(runs: Store) -> None:
    sql = "SELECT count(*) FROM range(100000000) a, range(100000) b WHERE a.range + b.range = 7"
    # a shell that starts tests in the background leaves SIGINT ignored; a terminal does not
    program = """
import os, signal, sys, threading, time
def interrupt():
    while "duckdb" not in sys.modules:  # however slow the machine: the verb has begun
        time.sleep(0.05)
    time.sleep(1)
    os.kill(os.getpid(), signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)
threading.Thread(target=interrupt, daemon=True).start()
from openrlb.__main__ import main
main()
"""
    command = [sys.executable, "-c", program, "query", sql]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
    try:
        _, told = process.communicate(timeout=100)  # the query itself would take an hour
    finally:
        process.kill()
    assert process.returncode == 130, told
    assert told.startswith("interrupted;")


def test_debug_shows_the_traceback_and_keeps_the_exit_code(cli: Cli) -> None:
    done = cli("--debug", "list")
    assert done.exit_code == 3
    assert "Traceback" in done.stderr
    assert "error: the store is empty" in done.stderr


def test_a_run_that_logged_nothing_does_not_stop_the_figure_and_a_diverged_one_counts(cli: Cli, runs: Store) -> None:
    runs.write(
        [RunBatch(batch("empty", seed=7, state="crashed").run, ()), RunBatch(batch("nan", seed=8, state="diverged").run, ())]
    )
    answer = json.loads(cli("plot", "--json").stdout)
    assert [item["run"] for item in answer["excluded"]] == ["empty"]
    assert "nan" in answer["groups"][0]["per_env"][0]["run_ids"]
    assert any("nan" in note for note in answer["notes"])


def test_a_folder_and_one_inside_it_give_each_run_once(cli: Cli, tmp_path: Path) -> None:
    inner = tmp_path / "all/inner"
    inner.mkdir(parents=True)
    (inner / "a.csv").write_text(HEADER + "ppo,E-v0,1,1,5,0.1\nppo,E-v0,2,1,6,0.1\n")
    done = cli("fetch", tmp_path / "all", inner, "--project", "mine")
    assert done.exit_code == 0, done.stderr
    assert "2 runs found" in done.stderr


def test_a_folder_without_results_is_told_every_format_that_is_read(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "notes.xyz").write_text("nothing")
    done = cli("fetch", tmp_path)
    fix = done.stderr.splitlines()[2]
    assert done.exit_code == 3 and all(name in fix for name in (".wandb", "tensorboard", "Optuna", "parquet", "npz", "bundles"))
