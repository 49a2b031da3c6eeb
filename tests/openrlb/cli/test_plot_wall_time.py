"""Figures by wall time: machines are named, unlike ones refused, runs beside each other counted; run times."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builders import batch
from typer.testing import Result

from openrlb.store import Store

Cli = Callable[..., Result]
SMALL, LARGE = {"cpu": "EPYC", "threads": 1, "device": "cpu"}, {"cpu": "EPYC", "gpu": "H100", "threads": 4, "device": "cuda"}


def trained(store: Store, algo: str, hardware: dict[str, Any], seeds: int = 3, **fields: Any) -> None:
    """Runs of 50,000 steps in 100 seconds, one after the other from midnight on."""
    store.write(
        batch(
            f"{algo}-{seed}", algo=algo, seed=seed, offset=10.0 * seed, source="openrlb", project="openrlb", state="finished",
            hardware=hardware, created=f"2026-01-01T00:{2 * seed:02d}:00+00:00", **fields,
        )
        for seed in range(seeds)
    )  # fmt: skip
    store.fold()


TIMED = (
    ("--metric", "runtime"),
    ("--metric", "efficiency", "--x", "time"),
    ("--metric", "steps-to-threshold", "--threshold", "20", "--x", "time"),
    ("--curves", "--x", "time"),
)


def test_unlike_machines_are_refused_by_wall_time_unless_allowed(cli: Cli, store: Store) -> None:
    trained(store, "ppo", SMALL)
    trained(store, "sac", LARGE)
    for words in TIMED:
        refused = cli("plot", "--json", "--resamples", 200, *words)
        assert refused.exit_code == 2 and len(refused.stderr.splitlines()) == 3, refused.stderr
        assert "ppo: EPYC, 1 thread" in refused.stderr and "sac: H100, EPYC, 4 threads" in refused.stderr
        assert "--allow-mixed-hardware" in refused.stderr
    for words in TIMED[1:]:
        allowed = cli("plot", "--json", "--resamples", 200, "--allow-mixed-hardware", *words)
        assert allowed.exit_code == 0, allowed.stderr
        answer = json.loads(allowed.stdout)
        assert {one["label"]: one["machines"] for one in answer["machines"]} == {
            "ppo": {"EPYC, 1 thread": 3}, "sac": {"H100, EPYC, 4 threads": 3},
        }  # fmt: skip
        assert any("unlike, as allowed" in note for note in answer["notes"])
    assert cli("plot", "--json", "--resamples", 200, "--metric", "runtime", "--algo", "ppo").exit_code == 0


def test_curves_without_an_axis_named_leave_wall_time_out_and_say_so(cli: Cli, store: Store) -> None:
    trained(store, "ppo", SMALL)
    trained(store, "sac", LARGE)
    answer = json.loads(cli("plot", "--json", "--resamples", 200, "--curves").stdout)
    assert [one["x_unit"] for one in answer["curves"]] == ["agent_step"] and answer["machines"] == []
    assert any("no curves by wall time" in note and "--allow-mixed-hardware" in note for note in answer["notes"])


def test_machines_and_runs_at_once_are_in_the_caption(cli: Cli, store: Store, tmp_path: Path) -> None:
    trained(store, "ppo", SMALL)
    trained(store, "other", SMALL, env="Ant-v4")  # not in the figure, but beside each of its runs
    page = tmp_path / "page.html"
    assert cli("plot", "--env", "Hopper", "--curves", "--resamples", 200, "-o", page).exit_code == 0
    assert page.read_text().count("Trained on: EPYC, 1 thread, 2 runs at a time") >= 1
    alone = json.loads(cli("plot", "--json", "--metric", "runtime", "--env", "Hopper", "--where", "seed = 2").stdout)
    assert alone["machines"][0]["at_once"] == [2, 2]


def test_hardware_that_is_not_recorded_is_said_and_not_refused(cli: Cli, store: Store) -> None:
    trained(store, "ppo", SMALL)
    trained(store, "sac", {})
    answer = json.loads(cli("plot", "--json", "--metric", "runtime", "--resamples", 200).stdout)
    assert any("the hardware of 3 runs is not recorded" in note for note in answer["notes"])


def test_run_times_are_hours_to_the_cut_and_steps_per_second(cli: Cli, store: Store) -> None:
    trained(store, "ppo", SMALL)
    trained(store, "sac", SMALL, points=100)  # twice as long, at the same speed
    rows = json.loads(cli("plot", "--json", "--table", "--metric", "runtime", "--resamples", 200).stdout)
    assert {(row["label"], row["env"], row["runs"]) for row in rows} == {("ppo", "Hopper-v4", 3), ("sac", "Hopper-v4", 3)}
    for row in rows:
        assert row["hours"] == pytest.approx(100 / 3600) and row["steps_per_second"] == pytest.approx(500.0)
        assert row["machines"].startswith("EPYC, 1 thread")


def test_a_long_time_without_a_value_is_named(cli: Cli, store: Store) -> None:
    import numpy as np

    from openrlb.types import MetricBatch, RunBatch

    whole = batch("paused", source="openrlb", project="openrlb", hardware=SMALL)
    (values,) = whole.metrics
    times = values.steps * 2 + np.where(values.steps > 25_000, 7_200_000, 0)
    store.write([RunBatch(whole.run, (MetricBatch(values.metric, values.steps, values.values, times),))])
    answer = json.loads(cli("plot", "--json", "--metric", "runtime").stdout)
    assert any("paused logged nothing for 2 hours" in note for note in answer["notes"])


# Several aggregates, and the other new metrics on the command line -----------------------------------------------------


@pytest.fixture
def three(store: Store) -> Store:
    """Three groups in five environments."""
    store.write(
        batch(f"{algo}-{env}-{seed}", algo=algo, env=env, seed=seed, offset=10.0 * place + seed)
        for place, algo in enumerate(("a2c", "ppo", "sac"))
        for env in ("Ant-v4", "Hopper-v4", "Walker2d-v4", "Humanoid-v4", "Swimmer-v4", "Reacher-v4", "Pusher-v4")
        for seed in range(3)
    )
    store.fold()
    return store


def test_several_aggregates_equal_each_alone(cli: Cli, three: Store, tmp_path: Path) -> None:
    words = ("--json", "--resamples", 200, "--normalize", "minmax:*")
    both = json.loads(cli("plot", "--metric", "median,IQM", *words).stdout)
    assert both["metric"] == "median" and [one["metric"] for one in both["beside"]] == ["iqm"]
    for found in (both, *both["beside"]):
        alone = json.loads(cli("plot", "--metric", found["metric"], *words).stdout)
        assert [(g["value"], g["low"], g["high"]) for g in found["groups"]] == [
            (g["value"], g["low"], g["high"]) for g in alone["groups"]
        ]
        assert [g["per_env"] for g in found["groups"]] == [g["per_env"] for g in alone["groups"]]
    page = tmp_path / "p.html"
    rows = cli("plot", "--metric", "median,iqm", "--normalize", "minmax:*", "--resamples", 200, "-o", page)
    assert rows.exit_code == 0 and {line.split("\t")[0] for line in rows.stdout.splitlines()[1:]} == {"median", "iqm"}
    assert "Median, IQM of eval/mean_reward" in page.read_text()


def test_several_metrics_that_cannot_stand_together(cli: Cli, three: Store) -> None:
    refused = cli("plot", "--metric", "iqm,poi")
    assert refused.exit_code == 2 and "poi stands alone" in refused.stderr
    assert "did you mean --metric optimality-gap?" in cli("plot", "--metric", "iqm,optimalitygap").stderr


@pytest.mark.parametrize("metric", ["win-rate", "critical-difference", "slopes", "interval-width"])
def test_new_metrics_have_numbers_and_a_print(cli: Cli, three: Store, metric: str, tmp_path: Path) -> None:
    words = ["--metric", metric, "--normalize", "minmax:*", "--resamples", 200]
    words += ["--algo", "ppo", "--algo", "sac"] if metric == "slopes" else []
    drawn = cli("plot", *words, "-o", tmp_path / "print.png")
    assert drawn.exit_code == 0 and len(drawn.stdout.splitlines()) > 2, drawn.stderr
    assert (tmp_path / "print.png").stat().st_size > 5_000


def test_a_critical_difference_tells_ranks_apart(cli: Cli, three: Store) -> None:
    """sac is ahead everywhere: three groups in seven environments are told apart by Wilcoxon, p = 3 x 2/128."""
    found = json.loads(cli("plot", "--json", "--metric", "critical-difference", "--normalize", "none").stdout)
    found = found["critical_difference"]["found"]
    assert found["groups"] == ["sac", "ppo", "a2c"] and found["mean_rank"] == [1.0, 2.0, 3.0] and found["cliques"] == []
    assert {pair["p"] for pair in found["pairs"]} == {3 * 2 / 2**7}
    nemenyi = json.loads(cli("plot", "--json", "--metric", "critical-difference", "--pairwise", "nemenyi").stdout)
    assert nemenyi["critical_difference"]["found"]["cliques"] == [["sac", "ppo"], ["ppo", "a2c"]]
    two = cli("plot", "--metric", "critical-difference", "--algo", "ppo", "--algo", "sac")
    assert two.exit_code == 2 and "three groups or more" in two.stderr


def test_slopes_are_about_two_groups(cli: Cli, three: Store) -> None:
    refused = cli("plot", "--metric", "slopes")
    assert refused.exit_code == 2 and "slopes join two groups" in refused.stderr
    answer = json.loads(cli("plot", "--json", "--metric", "slopes", "--algo", "ppo", "--algo", "sac").stdout)
    assert [one["difference"] for one in answer["slopes"]["slopes"]] == [pytest.approx(10.0)] * 7
    assert any("sac is higher than ppo in 7 of 7 environments" in note for note in answer["notes"])
