"""``openrlb tune`` as a user types it, with a runner of their own: whole studies, killed ones, several at once, bad requests."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from programs import start, wait_until
from studied import Studied
from typer.testing import Result

import openrlb
from openrlb.api.tune_plan import TuneOptions
from openrlb.api.tune_time import BESIDE_SECONDS, STARTUP_SECONDS
from openrlb.store import Store
from openrlb_hpo.ledger import FILE_NAME, open_ledger

Cli = Callable[..., Result]
SPACE = """
name = "small"
[walk]
rate = { uniform = [0.1, 2.0] }
net.arch = { choices = [[8], [16]] }
"""
SMALL = ("--tuning-seeds", 2, "--confirm", 1, "--test-seeds", 3, "--workers", 1)


@pytest.fixture
def tune(fake: Path) -> tuple[object, ...]:
    """The beginning of a command that tunes a small space."""
    Path("space.toml").write_text(SPACE)
    return ("tune", "walk", "--env", "Line-v0", "--steps", 50, "--space", Path("space.toml").absolute())


def database() -> Path:
    return Store().layout.root / FILE_NAME


def table(sql: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(f"file:{database()}?mode=ro", uri=True) as connection:
        return connection.execute(sql).fetchall()


def ledger() -> dict[str, list[tuple[Any, ...]]]:
    """Everything of the studies that must not hang on who was killed when."""
    rows = "configuration, role, env, seed_index, seed, run, charge, state, score, steps"
    return {
        "reservations": table(f"SELECT study, {rows} FROM reservations ORDER BY number"),
        "trials": table("SELECT study, number, params, origin, state FROM openrlb_trials ORDER BY study, number"),
        "studies": table("SELECT study, settings, budget, incumbent FROM openrlb_studies ORDER BY study"),
    }


def reserved() -> int:
    try:
        return int(table("SELECT count(*) FROM reservations")[0][0])
    except sqlite3.Error:
        return 0


def test_a_study_is_planned_tuned_confirmed_tested_and_not_trained_again(cli: Cli, studied: Studied) -> None:
    for said in (
        "walk (fake) on Line-v0 (as asked)",
        "50 steps a run (as asked)\n  score final:10% of the training episodes' returns",
        "  tuning 100000000, 100001000\n  confirm 200000000, 200001000\n  test 300000000, 300001000, 300002000\n",
        "tried first: default",
        "mine.toml names 100 steps; its baseline is tested with 50",
        "budget 8 runs = up to 2 for confirmation + 6 for tuning = at least 3 configurations on 2 seeds each\n"
        "  papers that do not count seeds would call this 4\n  the test phase adds 9 runs\n",
        "(tuning, optimistic)",
    ):
        assert said in studied.said.stderr, said
    found = json.loads(studied.said.stdout)
    assert {"study", "budget", "spent", "incumbent", "test", "gap", "verdict", "seeds", "test_peeks"} <= set(found)
    assert (found["budget"], found["spent"], found["test_peeks"]) == (8, 8, 1)
    assert set(found["incumbent"]) >= {"params", "tuning_score"} and list(found["test"]["baselines"]) == ["default", "mine"]
    assert found["seeds"]["test"] == [300_000_000, 300_001_000, 300_002_000]
    rows = ledger()
    roles = Counter(row[2] for row in rows["reservations"])
    assert roles == {"tuning": 6, "confirm": 2, "test": 9} and {row[8] for row in rows["reservations"]} == {"finished"}
    stored = {row.record.run: row.record for row in Store().runs()}
    assert {row[6]: (row[2], row[5]) for row in rows["reservations"]} == {
        run: (record.role, record.seed) for run, record in stored.items()
    }
    assert {record.tags for record in stored.values() if record.role == "tuning"} == {(f"study:{found['study']}",)}
    baselines = {(f"baseline-of:{found['study']}", f"baseline:{name}") for name in ("default", "mine")}
    assert {record.tags for record in stored.values()} == {(f"study:{found['study']}",), *baselines}
    again = cli(*studied.words, "--json")
    assert again.exit_code == 0 and "is finished" in again.stderr and "nothing is left to train" in again.stderr
    assert json.loads(again.stdout) == found and ledger() == rows and len(Store().runs()) == len(stored)
    text = cli(*studied.words).stdout.splitlines()
    assert text[0].startswith("tuned ") and "unseen seeds; " in text[0] and " on the same test seeds" in text[0]
    refused = cli(*studied.words, "--budget", 20)
    assert refused.exit_code == 2 and "tuning is over" in refused.stderr and "--new-study" in refused.stderr
    assert len(table("SELECT * FROM trials WHERE state = 'COMPLETE'")) == 3  # Optuna's own table


def test_a_dry_run_says_everything_and_makes_nothing(cli: Cli, tune: tuple[object, ...], fake: Path) -> None:
    before = {path for path in fake.rglob("*") if "cache" not in path.parts}
    planned = cli(*tune, "--budget", 40, "--dry-run")
    assert planned.exit_code == 0 and "space small (" in planned.stdout and "expected time: not known" in planned.stdout
    told = json.loads(cli(*tune, "--budget", 40, "--dry-run", "--json").stdout)
    assert told["state"] == "new" and told["settings"]["first"][0]["origin"] == "default" and told["seconds"] is None
    options = TuneOptions("walk", 40, envs=("Line-v0",), steps=50, space=str(Path("space.toml").absolute()))
    shown = openrlb.tune(options, dry_run=True)
    assert repr(shown).startswith("<a plan of study ") and "40 runs of " in repr(shown) and "nothing was trained>" in repr(shown)
    assert set(shown.to_polars()["hyperparameter"]) == set(told["settings"]["space"]["parameters"])
    assert all(name in shown._repr_html_() for name in told["settings"]["space"]["parameters"])
    assert {path for path in fake.rglob("*") if "cache" not in path.parts} == before


def test_what_is_not_named_is_chosen_and_said(cli: Cli, isolation: Path) -> None:
    planned = cli("tune", "ppo", "--budget", 100, "--dry-run")
    assert planned.exit_code == 0, planned.stderr
    for said in (
        "ppo (sb3) on CartPole-v1 (the default for algorithms that have discrete actions)",
        "100,000 steps a run (as published: RL Baselines3 Zoo",
        "space zoo (",
        "baseline default: the defaults of sb3's library",
        "baseline published: RL Baselines3 Zoo",
        "budget 100 runs = up to 9 for confirmation + 91 for tuning = at least 30 configurations on 3 seeds each\n"
        "  papers that do not count seeds would call this 33\n  the test phase adds 30 runs\n",
    ):
        assert said in planned.stdout, planned.stdout
    for algo, env in (("sac", "Pendulum-v1"), ("td3", "Pendulum-v1"), ("dqn", "CartPole-v1"), ("a2c", "CartPole-v1")):
        plan = json.loads(cli("tune", algo, "--budget", 30, "--dry-run", "--json").stdout)
        assert plan["settings"]["envs"] == [env]
    assert not (isolation / "store").exists()


def test_a_study_that_was_killed_is_the_study_that_was_not(cli: Cli, tune: tuple[object, ...]) -> None:
    """Two kills; tests/stress/test_tune_kills.py kills twenty times."""
    words = (*tune, "--budget", 4, "--tuning-seeds", 1, "--confirm", 1, "--test-seeds", 2, "--workers", 1)
    assert cli(*words).exit_code == 0
    whole = ledger()
    home = Path(os.environ["OPENRLB_HOME"])
    (home / "store").rename(home / "whole")
    for goal in (2, 6):  # in the tuning, and in the test phase
        process = start(*words)
        wait_until(lambda goal=goal: reserved() >= goal, 60)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    shown = cli("study", "show", table("SELECT name FROM openrlb_studies")[0][0])
    assert "testing (stopped): " in shown.stderr and "the same openrlb tune command goes on" in shown.stderr
    assert json.loads(cli("study", "list", "--json").stdout)[0]["running"] is False
    last = cli(*words)
    assert last.exit_code == 0, last.stderr
    assert "goes on: " in last.stderr and ledger() == whole


def test_two_commands_at_once_share_one_study_and_its_budget(tune: tuple[object, ...]) -> None:
    words = (*tune, "--budget", 6, "--tuning-seeds", 2, "--confirm", 1, "--test-seeds", 2, "--workers", 1)
    both = [start(*words) for _ in range(2)]
    ended = [process.communicate(timeout=180) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    assert ended[0][0] == ended[1][0] and " (tuning, optimistic) -> test " in ended[0][0]
    rows = ledger()["reservations"]
    assert len({row[1:5] for row in rows}) == len(rows) >= len({row[6] for row in rows})
    assert sum(row[7] for row in rows) <= 6 and {row[8] for row in rows} == {"finished"}
    assert {row.record.attempt for row in Store().runs()} == {1} and len(Store().runs()) == len({row[6] for row in rows})


def test_a_worker_joins_and_one_of_another_source_is_refused(cli: Cli, tune: tuple[object, ...], fake: Path) -> None:
    words = ("--budget", 5, "--tuning-seeds", 1, "--confirm", 0, "--test-seeds", 2, "--workers", 1)
    first = start(*tune, *words, "--set", "pause=1")  # nine runs of a second: time enough to join
    wait_until(lambda: reserved() >= 1, 60)
    name = table("SELECT name FROM openrlb_studies")[0][0]
    joined = cli("worker", name, "--workers", 1)
    assert joined.exit_code == 0 and f"joins {name}: 1 at a time" in joined.stderr and "is over" in joined.stderr
    _, err = first.communicate(timeout=180)
    assert first.returncode == 0, err
    assert len({worker for (worker,) in table("SELECT worker FROM reservations")}) == 2
    script = fake / "runners" / "fake" / "run.py"
    script.write_text(script.read_text() + "\n# changed\n")
    refused = cli("worker", name)
    assert refused.exit_code == 2 and "cannot go on here" in refused.stderr and "runner's source" in refused.stderr
    assert cli("worker", "nobody").exit_code == 3


def test_ctrl_c_says_that_the_same_command_goes_on(cli: Cli, tune: tuple[object, ...]) -> None:
    words = (*tune, "--budget", 8, *SMALL, "--set", "pause=0.2")
    process = start(*words)
    wait_until(lambda: reserved() >= 1, 60)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "the same command again goes on" in err and "Traceback" not in err
    assert {state for (state,) in table("SELECT state FROM reservations")} <= {"open", "finished"}
    planned = cli(*words, "--dry-run")
    assert "would go on: " in planned.stdout and json.loads(cli(*words, "--dry-run", "--json").stdout)["state"] == "goes on"


def test_baselines_by_file_and_run_random_search_and_another_study(cli: Cli, tune: tuple[object, ...]) -> None:
    run = json.loads(cli("run", "walk", "--env", "Line-v0", "--steps", 50, "--set", "rate=1.5", "--json").stdout)["runs"][0][
        "run"
    ]
    Path("mine.toml").write_text('[walk."Line-v0"]\nrate = 0.75\n')
    asked = ("--baseline", "default", "--baseline", "mine.toml", "--baseline", run[:8])
    words = (*tune, "--tuning-seeds", 1, "--confirm", 0, "--test-seeds", 1, "--budget", 3, "--set", "every=5", *asked)
    result = cli(*words, "--compare-random", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    scores = {name: one["score"] for name, one in found["test"]["baselines"].items()}
    assert scores["mine"] < scores[run] and list(scores) == ["default", "mine", run]
    assert found["random"]["method"] == "random" and found["random"]["test"]["baselines"]["mine"]["score"] == scores["mine"]
    assert found["test_peeks"] == 2
    random, other = found["random"]["study"], found["study"]
    beside = f"random search ({random}) with the same budget and test seeds:"
    assert beside in cli(*words, "--compare-random").stdout and beside in cli("study", "report", other).stdout
    assert beside in cli("study", "report", other, "--random", random).stdout
    assert "is no random search" in cli("study", "report", random, "--random", other).stderr
    by_run = {row.record.run: row.record.config for row in Store().runs() if row.record.role == "tuning"}
    assert {values["every"] for values in by_run.values()} == {5}
    warm = cli(*words, "--init-from", found["study"], "--study-seed", 7, "--dry-run", "--json")
    origins = [one["origin"] for one in json.loads(warm.stdout)["settings"]["first"]]
    assert origins == ["default", *[f"study {found['study']}"] * 2]
    other = cli(*tune, "--budget", 12, "--init-from", found["study"], "--set", "net.arch=[8]")
    assert other.exit_code == 2 and "its space is" in other.stderr


def test_several_environments_need_a_scale_and_count_equally(cli: Cli, tune: tuple[object, ...]) -> None:
    words = (*tune, "--env", "Line-v1", "--tuning-seeds", 1, "--confirm", 0, "--test-seeds", 2, "--budget", 4)
    bare = cli(*words)
    assert bare.exit_code == 2 and "no normalisation table holds all of them" in bare.stderr
    cli("run", "walk", "--env", "Line-v0", "--env", "Line-v1", "--steps", 50, "--seeds", 3)
    frozen = cli("plot", "--env", "Line-v0", "--env", "Line-v1", "--normalize", "minmax:walk", "--freeze", "lines", "--json")
    assert frozen.exit_code == 0, frozen.stderr
    result = cli(*words, "--normalize", "lines", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["normalization"] == "lines v1" and found["envs"] == ["Line-v0", "Line-v1"] and found["spent"] == 4
    per_env = [one["score"] for one in found["test"]["incumbent"]["per_env"]]
    (settings,) = table("SELECT settings FROM openrlb_studies")[0]
    scale = json.loads(settings)["scale"]
    shares = [
        (score - scale[env][0]) / (scale[env][1] - scale[env][0]) for env, score in zip(found["envs"], per_env, strict=True)
    ]
    assert found["test"]["incumbent"]["score"] == pytest.approx(sum(shares) / 2)


def test_tables_and_files_that_hold_the_environments_and_those_that_do_not(cli: Cli) -> None:
    bare = ("tune", "ppo", "--budget", 40, "--dry-run", "--json", "--env", "CartPole-v1", "--env")
    known = cli(*bare, "Acrobot-v1", "--steps", 1000)
    assert known.exit_code == 0, known.stderr
    settings = json.loads(known.stdout)["settings"]
    assert settings["normalization"] == "classic-control v1"
    assert settings["scale"] == {"CartPole-v1": [0.0, 500.0], "Acrobot-v1": [-500.0, 0.0]}
    Path("mine.toml").write_text('name = "mine"\n[scores]\n"CartPole-v1" = [10, 500]\n"Acrobot-v1" = [-500, -80]\n')
    own = cli(*bare, "Acrobot-v1", "--steps", 1000, "--normalize", "mine.toml")
    assert json.loads(own.stdout)["settings"]["scale"]["Acrobot-v1"] == [-500.0, -80.0]
    lacking = cli(*bare, "MountainCar-v0", "--steps", 1000, "--normalize", "mine.toml")
    assert lacking.exit_code == 2 and "mine.toml cannot normalise MountainCar-v0" in lacking.stderr
    assert cli(*bare, "Acrobot-v1", "--steps", 1000, "--normalize", "none.toml").exit_code == 2
    differ = cli(*bare, "Acrobot-v1")
    assert differ.exit_code == 2 and "the environments differ in their steps" in differ.stderr


def test_a_study_whose_every_run_fails_ends_with_the_reason(cli: Cli, tune: tuple[object, ...]) -> None:
    result = cli(*tune, "--budget", 4, "--tuning-seeds", 1, "--confirm", 0, "--test-seeds", 2, "--set", "act=short")
    assert result.exit_code == 1, result.stderr
    assert "ended without a result" in result.stderr and "no trial was trained on all its seeds" in result.stderr
    assert {state for (state,) in table("SELECT state FROM reservations")} == {"failed"}


def test_evaluations_are_scored_where_they_are_asked_for(cli: Cli, tune: tuple[object, ...]) -> None:
    words = (*tune, "--budget", 2, "--tuning-seeds", 1, "--confirm", 0, "--test-seeds", 2, "--eval-every", 50)
    result = cli(*words, "--eval-episodes", 3, "--json")
    assert result.exit_code == 0 and "score final:10% of evaluations every 50 steps" in result.stderr
    run, score = table("SELECT run, score FROM reservations ORDER BY number LIMIT 1")[0]
    sql = f"SELECT avg(value) FROM points WHERE run = '{run}' AND metric = 'eval/episodic_return' AND step = 50"
    assert json.loads(result.stdout)["kind"] == "eval" and Store().query(sql).rows == [(pytest.approx(score),)]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ("--budget", 11),
            2,
            "add --budget 30, which tries 7 configurations or more (12 has room for one), or --confirm 0, which needs 3",
        ),
        (("--budget", 0), 2, "--budget 0 has no meaning"),
        (("--budget", 30, "--test-seeds", 0), 2, "--test-seeds 0 has no meaning"),
        (("--budget", 30, "--tuning-seeds", 0), 2, "--tuning-seeds 0 has no meaning"),
        (("--budget", 30, "--tuning-seeds", 1001), 2, "there are no 1001 tuning seeds"),
        (("--budget", 30, "--space", "outside.toml"), 2, "outside.toml, line 2: rate has no meaning"),
        (("--budget", 30, "--space", "zoo"), 2, "has no space for walk"),
        (("--budget", 30, "--storage", "mysql://me:secret@127.0.0.1:1/x"), 2, "--storage mysql://..."),
        (("--budget", 30, "--storage", "no address"), 2, "--storage no address cannot be used"),
        (("--budget", 30, "--storage", "sqlite:////proc/none/x.db"), 2, "there is no folder /proc/none"),
        (("--budget", 30, "--storage", "sqlite:////proc/x.db"), 1, "cannot be opened"),
        (("--budget", 30, "--method", "pbt"), 2, "there is no method 'pbt'"),
        ((), 2, "no --budget is named"),
        (("--budget", 30, "--objective", "best-per-run"), 2, "cannot be an objective"),
        (("--budget", 30, "--objective", "bogus"), 2, "fix: use final:P% (final:10%), last, at:STEP, mean or auc"),
        (("--budget", 30, "--space", "nofile"), 2, "fix: write --space zoo or eimer2023, or the path of a .toml file"),
        (("--budget", 30, "--space", "nofile.toml"), 2, "fix: write --space zoo or eimer2023, or the path of a .toml file"),
        (("--budget", 30, "--objective", "at:1e6"), 2, "looks beyond the end"),
        (("--budget", 30, "--set", "speed=1"), 2, "no hyperparameter speed"),
        (("--budget", 30, "--set", "rate=1", "--set", "net.arch=[8]"), 2, "nothing to search"),
        (("--budget", 30, "--baseline", "published"), 2, "there is no published baseline"),
        (("--budget", 30, "--baseline", "mine.toml"), 2, "the baseline mine.toml cannot be used"),
        (("--budget", 30, "--baseline", "0123456789"), 3, "no stored run's id"),
        (("--budget", 30, "--baseline", "x' OR true --"), 3, "no stored run's id"),
        (("--budget", 30, "--init-from", "nothing"), 3, "there is no study 'nothing'"),
        (("--budget", 30, "--env", "Cube-v0"), 2, "cannot be averaged"),
        (("--budget", 30, "--normalize", "dmc"), 2, "--normalize has nothing to do"),
        (("--budget", 30, "--compare-random", "--method", "random"), 2, "has nothing to compare"),
        (("--budget", 30, "-o", "figure.pdf"), 2, "names no format"),
        (("--budget", 30, "--device", "tpu"), 2, "there is no device"),
    ],
)
def test_a_request_without_meaning_is_refused_before_anything_is_trained(
    cli: Cli, tune: tuple[object, ...], words: tuple[object, ...], code: int, said: str
) -> None:
    Path("outside.toml").write_text("[walk]\nrate = { uniform = [0.1, 2.0], default = 3.0 }\n")
    result = cli(*tune, *words)
    assert result.exit_code == code and said in result.stderr, result.stderr
    assert "secret" not in result.stderr and "Traceback" not in result.stderr
    assert not Store().exists and reserved() == 0


def test_a_live_view_on_a_terminal(tune: tuple[object, ...]) -> None:
    import pty

    main, terminal = pty.openpty()
    words = [
        str(word) for word in (*tune, "--budget", 2, "--tuning-seeds", 1, "--confirm", 0, "--test-seeds", 1, "--set", "pause=0.2")
    ]
    command = [sys.executable, "-m", "openrlb", *words]
    with subprocess.Popen(command, stdout=terminal, stderr=terminal, stdin=terminal, start_new_session=True) as process:
        os.close(terminal)
        seen = b""
        while True:
            try:
                data = os.read(main, 65536)
            except OSError:
                break
            seen += data
        assert process.wait(60) == 0
    os.close(main)
    text = seen.decode()
    for word in ("tuning: ", "of 2 runs spent", "running", "testing: ", "1 of 2 test runs over", "next: openrlb study report"):
        assert word in text, text
    ends = re.findall(r"(walk-Line-v0-\d+): finished at step \d+ after [^,\r\n]*(, return)?", text)
    assert {bool(told) for name, told in ends if name.endswith("-300000000")} == {False}, text
    assert {bool(told) for name, told in ends if name.endswith("-100000000")} == {True}, text


def test_a_misspelled_name_in_a_space_is_refused_before_anything_trains(
    cli: Cli, tune: tuple[object, ...], tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text("[walk]\nrat = { uniform = [0.1, 2.0] }\n")
    refused = cli(*tune, "--budget", 6, *SMALL, "--space", tmp_path / "mine.toml")
    assert refused.exit_code == 2 and "cannot be searched" in refused.stderr and "rat" in refused.stderr
    assert not (Store().layout.root / "hpo.db").exists() or not table("SELECT name FROM openrlb_studies")


def test_a_plain_run_does_not_take_a_studys_seeds(cli: Cli, fake: Path) -> None:
    refused = cli("run", "walk", "--env", "Line-v0", "--seed", 300_000_000)
    assert refused.exit_code == 2 and "one of those that tune gives out" in refused.stderr


def test_a_study_that_is_not_over_is_named_with_what_sets_it_apart(cli: Cli, studied: Studied) -> None:
    with open_ledger(f"sqlite:///{database()}") as ledger:
        first = ledger.read(studied.name).settings
        left = replace(first, study_seed=3)
        ledger.begin(left, 30)
    planned = cli(*studied.words, "--steps", 60, "--dry-run")
    unlike = f"note: {left.name} is not finished, and differs from this study (--steps: 50 and 60; --study-seed: 3 and 0)"
    assert f"{unlike}: openrlb worker {left.name} goes on with it" in planned.stdout, planned.stdout


def test_the_time_of_plain_runs_is_said_to_be_too_low(
    cli: Cli, tune: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openrlb.api.tune_time.stored_paces", lambda store, kinds: dict.fromkeys(kinds, 5.0))  # steps a second
    planned = cli(*tune, "--budget", 40, "--dry-run", "--workers", 1)
    assert (STARTUP_SECONDS, BESIDE_SECONDS) == (2.0, 0.3)  # so that a run takes 12.3 seconds
    assert "expected time: about 12 min 18 s for 60 runs of 50 steps, from runs of openrlb run" in planned.stdout
    assert "that is likely too low: settings that are searched may train several times slower" in planned.stdout
