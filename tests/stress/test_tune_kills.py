"""A study killed at 20 random moments is the same study, trial for trial, as one that was not."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_runner import write_runner
from stressed import Tally

pytestmark = pytest.mark.stress
KILLS = 20
SPACE = """
[walk]
rate = { uniform = [0.1, 2.0] }
net.arch = { choices = [[8], [16]] }
act = { choices = ["none", "diverge", "short"] }
at = { integers = [0, 200], when = { act = "diverge" } }
"""
ROWS = "configuration, role, env, seed_index, seed, run, charge, state, score, steps"


def begin(space: Path) -> subprocess.Popen[bytes]:
    words = "tune walk --env Line-v0 --steps 100 --budget 36 --confirm 2 --test-seeds 5 --workers 1 --space".split()
    command = [sys.executable, "-m", "openrlb", *words, str(space)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def ledger(store: Path) -> list[list[tuple[Any, ...]]]:
    with sqlite3.connect(store / "hpo.db") as connection:
        tables = (f"SELECT {ROWS} FROM reservations", "SELECT number, params, origin, state FROM openrlb_trials")
        found = [connection.execute(f"{words} ORDER BY number").fetchall() for words in tables]
        return [*found, connection.execute("SELECT incumbent, budget FROM openrlb_studies").fetchall()]


def test_a_study_killed_twenty_times_is_the_same_study(
    isolation: Path, tmp_path: Path, chance: random.Random, tally: Tally
) -> None:
    write_runner(isolation / "runners" / "fake")
    space = tmp_path / "space.toml"
    space.write_text(SPACE)
    whole = begin(space)
    _, err = whole.communicate(timeout=600)
    assert whole.returncode == 0, err.decode()
    plain = ledger(isolation / "store")
    (isolation / "store").rename(isolation / "whole")
    kills = tries = 0
    while kills < KILLS:
        process = begin(space)
        try:
            _, err = process.communicate(timeout=chance.uniform(1.5, 6.0))
            assert process.returncode == 0, err.decode()
            assert ledger(isolation / "store") == plain
            tries += 1
            (isolation / "store").rename(isolation / f"over-{tries}")  # and once more, until it was killed often enough
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
    last = begin(space)
    _, err = last.communicate(timeout=600)
    assert last.returncode == 0, err.decode()
    assert ledger(isolation / "store") == plain
    tally.add("kill -9 of tune", kills + tries, kills, f"{tries + 1} studies of {len(plain[0])} runs, each as if never killed")
    assert not list(Path(os.environ["OPENRLB_HOME"]).rglob("*.corrupt"))
