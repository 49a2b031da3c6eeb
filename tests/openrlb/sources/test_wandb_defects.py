"""Faults of rlops 0.3.1 that openrlb must not have, B1 to B12 of the project's list; each test would fail with the fault.

Every one goes the whole way: from the local W&B server through the genuine client into a store, and out as numbers.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from wandb_fixtures import QUERY, RETURN, fetch, fetch_one, rows, server, service, wandb_run
from wandb_server import WandbServer

from openrlb.api.plot import PlotAnswer, PlotOptions, plot
from openrlb.errors import MapError, NothingMatched, OpenrlbError, UsageError
from openrlb.sources import wandb as source
from openrlb.sources.orlb_filter import OrlbFilter, parse
from openrlb.store import Store, content_digest
from openrlb.types import RunBatch, Selection

__all__ = ["server", "service"]

FAST = PlotOptions(resamples=200)


def store_all(query: source.WandbQuery = QUERY) -> dict[str, RunBatch]:
    """Fetches and stores; the runs by id."""
    found = {name: item for name, item in fetch(query).items() if isinstance(item, RunBatch)}
    Store().write(found.values())
    Store().fold()
    return found


def answer(options: PlotOptions = FAST, curves: bool = False, **selection: Any) -> PlotAnswer:
    return plot(Selection(**selection), options, curves=curves)


def curve(values: list[float], **more: Any) -> dict[str, Any]:
    """Rows with these returns, one every 1000 steps."""
    table = rows(len(values), scale=1000)
    for row, value in zip(table, values, strict=True):
        row[RETURN] = value
    return {"live": table, **more}


def filtered(*words: str) -> OrlbFilter:
    [group] = parse(["?we=lab&wpn=runs&ceik=env_id&cen=exp_name", *words])
    return group


def people(service: WandbServer) -> None:
    """Two users, two algorithms, two environments, seeds 1 to 3, with tags of their own."""
    service.projects["lab/runs"] = [
        wandb_run(f"{user}-{algo}-{env}-{seed}", algo, env, seed, username=user, tags=["all", f"s{seed}", user])
        for user in ("ann", "bob")
        for algo in ("ppo", "sac")
        for env in ("Hopper-v4", "Ant-v4")
        for seed in (1, 2, 3)
    ]


def test_b1_a_user_narrows_the_other_conditions_and_does_not_replace_them(service: WandbServer) -> None:
    people(service)
    group = filtered("ppo?user=ann")
    query = replace(QUERY, filters=(group.mongo(),), selection=Selection(env=("Hopper-v4",)))
    assert set(store_all(query)) == {f"ann-ppo-Hopper-v4-{seed}" for seed in (1, 2, 3)}
    result = answer(env=("Hopper-v4",), algo=("ppo",)).result
    assert sorted(result.groups[0].per_env[0].run_ids) == [f"ann-ppo-Hopper-v4-{seed}" for seed in (1, 2, 3)]
    with pytest.raises(UsageError, match="user=ann"):  # never silently somebody else's runs
        [group.fits(row.record) for row in Store().runs()]


@pytest.mark.parametrize(
    "words", ["ppo?seed=1", "ppo?seed=1&seed=3", "ppo?tag=all&tag=s2", "ppo?tag=all&tag=ann&seed=2", "sac?tag=s1&tag=bob"]
)
def test_b2_config_filters_and_several_tags_are_the_same_offline(service: WandbServer, words: str) -> None:
    people(service)
    group = filtered(words)
    online = {listed.run.run for listed in source.plan(replace(QUERY, filters=(group.mongo(),)), {}).listed}
    store_all()
    assert len(Store().runs()) == 24
    offline = {row.record.run for row in Store().runs() if group.fits(row.record)}
    assert offline == online and 0 < len(online) < 12
    seed = tuple(range(1, 4))
    assert len(Store().runs(Selection(algo=("ppo",), seed=seed[:1]))) == 4


def test_b3_a_score_is_the_mean_of_the_last_tenth_everywhere_and_not_the_last_point(service: WandbServer) -> None:
    values = [100.0] * 100
    values[-1] = -5000.0  # one bad last episode
    service.projects["lab/runs"] = [wandb_run(f"r{seed}", seed=seed, **curve(values)) for seed in range(4)]
    store_all()
    group = answer().result.groups[0]
    entry = group.per_env[0]
    assert group.value is not None
    assert group.value == pytest.approx(entry.mean) == pytest.approx(entry.iqm)
    assert -600 < group.value < 0  # a tenth of the points, of which one is bad; never -5000
    assert entry.points == (10, 10)


def test_b4_a_crashed_run_is_neither_stretched_nor_final(service: WandbServer) -> None:
    whole = [float(i) for i in range(100)]
    service.projects["lab/runs"] = [wandb_run(f"r{seed}", seed=seed, **curve(whole)) for seed in range(3)]
    store_all()
    before = answer().result.groups[0].value
    service.projects["lab/runs"].append(wandb_run("cut", seed=9, **curve(whole[:30]), state="crashed"))
    service.projects["lab/runs"].append(wandb_run("short", seed=10, **curve(whole[:30])))
    store_all()
    result = answer().result
    assert result.groups[0].value == before and result.groups[0].runs == 3
    reasons = {item.run: item.reason for item in result.excluded}
    assert "crashed" in reasons["cut"] and "short" in reasons["short"]


def test_b5_every_seed_counts_though_environments_have_unlike_many(service: WandbServer) -> None:
    service.projects["lab/runs"] = [
        wandb_run(f"{env}-{seed}", env=env, seed=seed, **curve([float(seed)] * 50))
        for env, seeds in (("Hopper-v4", 5), ("Ant-v4", 3))
        for seed in range(seeds)
    ]
    store_all()
    group = answer().result.groups[0]
    assert group.runs == 8
    assert {entry.env: (len(entry.run_ids), entry.mean) for entry in group.per_env} == {"Hopper-v4": (5, 2.0), "Ant-v4": (3, 1.0)}


def test_b6_an_environment_without_runs_is_named_wherever_it_stands(service: WandbServer) -> None:
    service.projects["lab/runs"] = [wandb_run("a", env="Hopper-v4"), wandb_run("b", env="Ant-v4", seed=2)]
    made = source.plan(replace(QUERY, selection=Selection(env=("Hopper", "Walker2d", "Ant"), seed=(1, 2, 7))), {})
    assert made.runs == 2 and made.unmatched == ("--env Walker2d", "--seed 7")
    with pytest.raises(NothingMatched):
        source.plan(replace(QUERY, selection=Selection(env=("Walker2d",))), {})
    store_all()
    with pytest.raises(NothingMatched, match="Walker2d"):
        answer(env=("Hopper", "Walker2d"))


def test_b7_scores_do_not_change_when_another_algorithm_is_added(service: WandbServer) -> None:
    service.projects["lab/runs"] = [wandb_run(f"p{seed}", seed=seed, **curve([float(seed)] * 50)) for seed in range(3)]
    store_all()
    before = answer().result
    huge = [wandb_run(f"h{seed}", "huge", seed=seed, **curve([1e6 * seed] * 50)) for seed in range(3)]
    service.projects["lab/runs"] += huge
    store_all()
    after = answer().result
    assert len(after.groups) == 2
    [same] = [group for group in after.groups if group.algo == "ppo"]
    assert same.value == before.groups[0].value and after.normalization == before.normalization == "none"


def test_b8_the_time_of_a_run_is_its_whole_time(service: WandbServer) -> None:
    table = rows(101, scale=1000)
    for row in table:
        row["_runtime"] = row["_step"] * 20.0  # 2000 s in all
    service.projects["lab/runs"] = [wandb_run(f"r{seed}", seed=seed, live=table) for seed in range(2)]
    found = store_all()
    times = found["r0"].metrics[0].times_ms
    assert times is not None and times[-1] == 2_000_000
    [_, timed] = answer(curves=True).curves
    assert timed.x_unit == "hours" and timed.end["Hopper-v4"] == pytest.approx(2000 / 3600)


def test_b9_nan_is_a_value_the_first_time_and_the_second(service: WandbServer) -> None:
    values = [float(i) for i in range(60)]
    values[10] = math.nan  # arrives as the text "NaN"
    service.projects["lab/runs"] = [wandb_run(f"r{seed}", seed=seed, **curve(values)) for seed in range(2)]
    first = store_all()
    first_value = answer().result.groups[0].value
    second = store_all()
    np.testing.assert_array_equal(first["r0"].metrics[0].values, values)
    assert {name: content_digest(batch) for name, batch in first.items()} == {
        name: content_digest(batch) for name, batch in second.items()
    }
    assert first_value == answer().result.groups[0].value and first_value is not None and math.isfinite(first_value)


def test_b10_metrics_of_different_rows_both_have_values(service: WandbServer) -> None:
    table: list[dict[str, Any]] = []
    for i in range(100):
        row = {"_step": i, "_runtime": float(i), "global_step": i * 1000}
        row["charts/episodic_length" if i % 2 else RETURN] = float(i)
        table.append(row)
    service.projects["lab/runs"] = [wandb_run(f"r{seed}", seed=seed, live=table) for seed in range(2)]
    store_all()
    for name in (RETURN, "charts/episodic_length"):
        group = answer(replace(FAST, of=name)).result.groups[0]
        assert group.value is not None and math.isfinite(group.value) and group.runs == 2


def test_b11_more_than_thirty_algorithms_are_all_there(service: WandbServer) -> None:
    names = [f"algo{index:02d}" for index in range(33)]
    service.projects["lab/runs"] = [wandb_run(name, name, **curve([1.0] * 20)) for name in names]
    group = filtered(*names)
    store_all(replace(QUERY, filters=(group.mongo(),)))
    result = plot(Selection(), replace(FAST, by=("algo",))).result
    assert {entry.algo for entry in result.groups} == set(names)


def test_b12_a_missing_axis_or_metric_is_said_in_words(service: WandbServer) -> None:
    table = rows()
    for row in table:
        del row["global_step"]
    service.projects["lab/runs"] = [wandb_run(live=table)]
    batch = fetch_one()
    assert batch.metrics[0].steps.tolist() == list(range(20)) and any("_step" in note for note in batch.run.notes)
    for row in table:
        row["losses/td"] = row.pop(RETURN)
    service.projects["lab/runs"] = [wandb_run(live=table)]
    with pytest.raises(MapError) as caught:
        fetch()
    assert "losses/td" in caught.value.why and "--map" in caught.value.fix
    for row in table:
        del row["_runtime"], row["_timestamp"]
        row[RETURN] = 1.0
    service.projects["lab/runs"] = [wandb_run(live=table)]
    assert fetch_one().metrics[0].times_ms is None
    store_all()
    with pytest.raises(OpenrlbError, match="no/such/metric"):
        answer(replace(FAST, of="no/such/metric"))
