"""The library's face: arrays and frames in, and what is refused because it would be wrong without looking wrong."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import openrlb_analysis as stats
from openrlb.errors import NothingMatched, SelectionError, UsageError

ROWS = {
    "group": ["A", "A", "A", "B", "B", "A"],
    "env": ["Pong", "Pong", "Qbert", "Pong", "Pong", "Pong"],
    "seed": [0, 1, 0, 0, 1, 2],
    "value": [1.0, 2.0, 7.0, 3.0, 4.0, float("nan")],
}
FRAMES = {"mapping": dict, "pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES.keys())
def test_every_frame_gives_the_same_scores(frame: type) -> None:
    table = stats.read_scores(frame(ROWS))
    assert table.envs == ("Pong",)
    assert table.scores["A"]["Pong"].tolist() == [1.0, 2.0, 1.0]
    assert [scores.tolist() for scores in table.tasks("B")] == [[3.0, 4.0]]
    told = " | ".join(table.notes)
    assert "A, Pong: 1 of 3 runs diverged and count at 1, the lowest finite score there of A itself" in told
    assert "not every group has Qbert" in told
    assert "B, Pong: 2" in told


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES.keys())
def test_every_frame_gives_the_same_curves(frame: type) -> None:
    rows = {
        "group": ["A"] * 4,
        "env": ["Pong"] * 4,
        "seed": [1, 1, 0, 1],
        "step": [20, 10, 10, 20],
        "value": [1.0, 2.0, 3.0, 5.0],
    }
    first, second = stats.read_curves(frame(rows)).curves("A")[0]
    assert (first[0].tolist(), first[1].tolist()) == ([10, 20], [2.0, 3.0])
    assert (second[0].tolist(), second[1].tolist()) == ([10], [3.0])


def test_scores_of_a_frame_with_steps_end_where_the_first_run_ends() -> None:
    """Two budgets: both are scored on the same steps, the longer run's last value is not looked at."""
    steps = {"A": [100, 200, 300, 400], "B": [100, 200]}
    rows = [(group, "Hopper", 0, step, float(step)) for group, those in steps.items() for step in those]
    table = stats.read_scores(pd.DataFrame(rows, columns=["group", "env", "seed", "step", "value"]))
    assert {group: one["Hopper"].tolist() for group, one in table.scores.items()} == {"A": [200.0], "B": [200.0]}
    assert "Hopper: cut at step 200, where the first run ends" in table.notes
    assert "scored by final:10%" in table.notes


def test_a_failure_score_is_taken_where_it_is_given() -> None:
    groups = {"A": {"Pong": [1.0, float("inf")], "Qbert": [float("nan"), 3.0]}}
    assert [scores.tolist() for scores in stats.score_table(groups, failure=-21.0).tasks("A")] == [[1.0, -21.0], [-21.0, 3.0]]
    assert stats.score_table(groups, failure={"Pong": -21.0}).tasks("A")[1].tolist() == [3.0, 3.0]
    with pytest.raises(UsageError, match="every run of Pong diverged"):
        stats.score_table({"A": {"Pong": [float("nan")]}})


@pytest.mark.parametrize(
    "call",
    [
        lambda matrix: stats.estimate(matrix),
        lambda matrix: stats.performance_profile(matrix, np.array([0.0])),
        lambda matrix: stats.mean_profile(matrix, np.array([0.0])),
        lambda matrix: stats.probability_of_improvement(matrix, matrix),
        lambda matrix: stats.cvar(matrix),
        lambda matrix: stats.iqr(matrix),
        lambda matrix: stats.rank_frequencies({"A": matrix, "B": matrix}),
        lambda matrix: stats.rliable_estimate(matrix),
        lambda matrix: stats.tau_grid([matrix]),
        lambda matrix: stats.iqm(matrix),
        lambda matrix: stats.mean(matrix),
        lambda matrix: stats.median(matrix),
        lambda matrix: stats.optimality_gap(matrix),
    ],
    ids=[
        *("estimate", "profile", "mean profile", "improvement", "cvar", "iqr", "ranks", "rliable", "taus"),
        *("iqm", "mean", "median", "optimality-gap"),
    ],
)
def test_a_bare_matrix_is_refused_whichever_way_round(call: object) -> None:
    assert callable(call)
    for matrix in (np.zeros((10, 26)), np.zeros((26, 10)), pd.DataFrame(np.zeros((10, 26)))):
        with pytest.raises(UsageError, match=r"matrix \(it does not say which axis holds the runs\)") as caught:
            call(matrix)
        assert "list(matrix.T)" in caught.value.fix or "read_scores" in caught.value.fix


def test_the_way_that_the_refusal_names_is_the_right_one() -> None:
    matrix = np.random.default_rng(0).normal(scale=0.01, size=(5, 4)) + np.array([0.0, 1.0, 2.0, 7.0])
    right, wrong = stats.estimate(list(matrix.T), ["median"])["median"], stats.estimate(list(matrix), ["median"])["median"]
    assert right.low is not None and right.high is not None and wrong.low is not None and wrong.high is not None
    assert right.high - right.low < 0.1 < 1.0 < wrong.high - wrong.low


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        ([1.0, 2.0], "not one array for each environment"),
        (np.array([1.0, 2.0]), "hand over .scores. for one"),
        ([[1.0], []], "of environment 2 are empty"),
        ([], "hold no environment"),
        ({"Pong": [1.0, float("nan")]}, "1 of 2 in environment Pong"),
        ([np.zeros((3, 2))], "not one array for each environment"),
    ],
)
def test_what_cannot_be_scores_is_said(tasks: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        stats.estimate(tasks)  # type: ignore[arg-type]


def test_frames_that_do_not_fit_are_said() -> None:
    with pytest.raises(UsageError, match="no column seed"):
        stats.read_scores({"group": ["A"], "env": ["Pong"], "value": [1.0]})
    with pytest.raises(UsageError, match="A, Pong, seed 0 has 2 rows"):
        stats.read_scores({"group": ["A"] * 2, "env": ["Pong"] * 2, "seed": [0, 0], "value": [1.0, 2.0]})
    with pytest.raises(NothingMatched):
        stats.read_scores({"group": [], "env": [], "seed": [], "value": []})
    with pytest.raises(UsageError, match="no group 'C'"):
        stats.read_scores(ROWS).tasks("C")
    with pytest.raises(UsageError, match="no environment has runs of every group"):
        stats.score_table({"A": {"Pong": [1.0]}, "B": {"Qbert": [1.0]}}).tasks("A")
    with pytest.raises(UsageError, match="does not say which axis holds runs, environments or steps"):
        stats.efficiency_tables(np.zeros((5, 3, 10)))  # type: ignore[arg-type]
    with pytest.raises(SelectionError):
        stats.efficiency_tables([[(np.array([0]), np.array([1.0]))]], ends=10)


def test_every_name_resolves_and_the_package_stays_light() -> None:
    for name in stats.__all__:
        assert getattr(stats, name).__doc__
    assert set(dir(stats)) == set(stats.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = stats.nothing
    heavy = (
        "import sys, openrlb_analysis; print([m for m in ('numpy', 'scipy', 'pandas', 'polars', 'rliable') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True).stdout == "[]\n"
    light = (
        "import sys; from openrlb_analysis import estimate, cvar; print([m for m in ('pandas', 'rliable') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", light], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_four_aggregates_of_one_call_are_those_of_four_calls() -> None:
    tasks = [np.random.default_rng(2).gamma(2.0, 0.4, size=5) for _ in range(3)]
    together = stats.estimate(tasks, ["iqm", "mean", "median", "optimality_gap"])
    for name, found in together.items():
        assert found == stats.estimate(tasks, [name])[name]
        assert (found.low, found.high) == stats.bootstrap_interval(
            tasks, name, stats.interval_method("calibrated", 0.95, 50_000, 0)
        )
    assert stats.estimate([np.array([1.0])])["iqm"].low is None


def test_one_aggregate_may_be_a_bare_name_and_bounds_are_kept() -> None:
    tasks = {"CartPole": [500.0, 500.0, 400.0, 500.0, 480.0]}
    assert stats.estimate(tasks, "iqm") == stats.estimate(tasks, ["iqm"])
    assert stats.median(tasks) == stats.estimate(tasks, "median")["median"].value
    found, free = (stats.estimate(tasks, "mean", bounds=bounds)["mean"] for bounds in ((0, 500), None))
    assert free.high is not None and free.high > 500.0 == found.high and found.low == free.low
    with pytest.raises(UsageError, match="a score of 500 lies beyond the bounds 0 to 1"):
        stats.estimate(tasks, "iqm", bounds=(0, 1))
