"""What is read of W&B projects, by the genuine client from a local server."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from wandb_fixtures import HISTORY, METADATA, QUERY, RETURN, as_known, fetch, fetch_one, rows, server, service, wandb_run
from wandb_server import Fault, WandbRun, WandbServer

from openrlb.errors import MapError, NothingMatched, SelectionError
from openrlb.sources.mapping import Map
from openrlb.sources.presets import load_presets
from openrlb.sources.wandb import WandbQuery, plan
from openrlb.store import Store
from openrlb.types import Curve, RunBatch, Selection
from openrlb_analysis.cuts import align_steps

__all__ = ["server", "service"]

UNKNOWN = WandbQuery("lab", "runs")


def split(kind: str, table: list[dict[str, Any]]) -> dict[str, Any]:
    """The same rows live, exported, in two exports, or exported with a live tail."""
    third = len(table) // 3
    parts: dict[str, Any] = {
        "live": {"live": table, "exported": ()},
        "export": {"live": (), "exported": [table]},
        "exports": {"live": (), "exported": [table[:third], table[third:]]},
        "tail": {"live": table[2 * third :], "exported": [table[:third], table[third : 2 * third]]},
    }
    return parts[kind]


@pytest.mark.parametrize("kind", ["live", "export", "exports", "tail"])
def test_the_same_rows_wherever_they_are_kept(service: WandbServer, kind: str) -> None:
    table = rows(30)
    table[3][RETURN] = math.nan
    table[4][RETURN] = math.inf
    table[5][RETURN] = -math.inf
    for row in table[::2]:
        row["eval/episodic_return"] = row["_step"] * 10.0  # another rate
    del table[7][RETURN]
    service.projects["lab/runs"] = [wandb_run(**split(kind, table))]
    batch = fetch_one()
    found = {metric.metric.name: metric for metric in batch.metrics}
    assert set(found) == {RETURN, "eval/episodic_return"}
    kept = [row for row in table if RETURN in row]
    np.testing.assert_array_equal(found[RETURN].steps, [row["global_step"] for row in kept])
    np.testing.assert_array_equal(found[RETURN].values, [row[RETURN] for row in kept])
    np.testing.assert_array_equal(found[RETURN].times_ms, [row["_runtime"] * 1000 for row in kept])
    np.testing.assert_array_equal(found["eval/episodic_return"].values, [row["_step"] * 10.0 for row in table[::2]])
    assert found[RETURN].metric.kind == "episode" and found["eval/episodic_return"].metric.kind == "eval"
    assert batch.run.line_count == 30
    assert not [note for note in batch.run.notes if "wandb counts" in note or "twice" in note]


def test_exports_that_overlap_or_come_in_another_order_are_one_history(service: WandbServer) -> None:
    table = rows(40)
    service.projects["lab/runs"] = [wandb_run(live=(), exported=[table[15:30], table[:20], table[30:]], line_count=40)]
    batch = fetch_one()
    assert batch.metrics[0].values.tolist() == [float(i) for i in range(40)]
    assert batch.metrics[0].steps.tolist() == [i * 500 for i in range(40)]
    assert any(note.startswith("5 rows came twice") for note in batch.run.notes)


@pytest.mark.parametrize("kind", ["live", "export", "tail"])
def test_sparse_rows_take_a_handful_of_requests(service: WandbServer, kind: str) -> None:
    service.projects["lab/runs"] = [wandb_run(**split(kind, rows(2000, every=500)))]
    batch = fetch_one()
    assert len(batch.metrics[0].steps) == 2000 and batch.metrics[0].steps[-1] == 999_500
    assert service.requests(*HISTORY) <= 5, service.counts


def test_string_columns_and_column_types_of_exports(service: WandbServer) -> None:
    table = rows(6, key="words")
    words = ["1.5", "NaN", "Infinity", "-Infinity", "text", "NaN"]
    for row, word in zip(table, words, strict=True):
        row |= {"words": word, RETURN: row["_step"], "flag": row["_step"] % 2 == 0, "nested": {"deep": {"x": 1.0}}}
    service.projects["lab/runs"] = [wandb_run(live=(), exported=[table])]
    found = {metric.metric.name: metric for metric in fetch_one(replace(QUERY, all_metrics=True)).metrics}
    np.testing.assert_array_equal(found["words"].values, [math.nan, math.inf, -math.inf, math.nan])
    np.testing.assert_array_equal(found["words"].steps, [500, 1000, 1500, 2500])
    assert found["flag"].values.tolist() == [1, 0, 1, 0, 1, 0] and found["nested.deep.x"].values.tolist() == [1.0] * 6


def test_only_returns_by_default_and_everything_on_request(service: WandbServer) -> None:
    table = rows(10, **{"losses/td": 0.5, "nested": {"x": 2}, "video": {"_type": "video-file", "size": 3}, "text": "no number"})
    events = [{"_timestamp": 1.7e9 + i, "_runtime": float(i), "system.gpu.0.gpu": 50.0 + i} for i in range(5)]
    service.projects["lab/runs"] = [wandb_run(live=table, events=events)]
    assert [metric.metric.name for metric in fetch_one().metrics] == [RETURN]
    everything = fetch_one(replace(QUERY, all_metrics=True, system=True))
    found = {metric.metric.name: metric for metric in everything.metrics}
    assert set(found) == {RETURN, "losses/td", "nested.x", "system.gpu.0.gpu"}
    gpu = found["system.gpu.0.gpu"]
    assert gpu.metric.kind == "system" and gpu.times_ms is not None
    assert gpu.times_ms.tolist() == [0, 1000, 2000, 3000, 4000]
    assert gpu.steps.tolist() == [0, 0, 500, 1000, 1000]  # the last training step logged by then


def test_provenance_without_people_and_machines(service: WandbServer) -> None:
    requirements = b"torch==2.4.1\n-e /home/ann/code\n"
    files = {"requirements.txt": requirements, "wandb-metadata.json": METADATA, "output.log": b"x" * 100}
    config = {"user": "ann", "lr": 0.1, "path": "/home/ann/data", "inner": {"email": "a@b.org", "k": [1, 2]}}
    service.projects["lab/runs"] = [
        wandb_run(files=files, config=config, tags=["v1", "best"], summary={"best": math.nan, "note": "by ann@example.org"})
    ]
    batch = fetch_one()
    run = batch.run
    assert set(batch.blobs) == {"requirements.txt", "wandb-metadata.json", "summary.json"}
    assert batch.blobs["requirements.txt"] == b"torch==2.4.1\n-e ~/code\n"
    assert run.requirements == hashlib.sha256(batch.blobs["requirements.txt"]).hexdigest()
    assert run.git_commit == "c0ffee" and run.tags == ("v1", "best") and run.created == "2026-01-02T03:04:05+00:00"
    assert run.hardware == {"gpu": "NVIDIA H100", "python": "CPython 3.11.7"}
    known = {"exp_name": "ppo", "env_id": "Hopper-v4", "seed": 1}
    assert run.config == {**known, "lr": 0.1, "path": "~/data", "inner": {"k": [1, 2]}}
    kept = json.loads(batch.blobs["wandb-metadata.json"])
    assert kept["git"] == {"commit": "c0ffee", "remote": "github.com:lab/code.git"} and kept["program"] == "~/train.py"
    assert json.loads(batch.blobs["summary.json"]) == {"best": "NaN", "note": "by [e-mail]"}
    whole = json.dumps(run.to_json()) + "".join(data.decode() for data in batch.blobs.values())
    assert not [word for word in ("ann", "box7", "example.org") if word in whole]
    personal = fetch_one(replace(QUERY, keep_personal=True))
    assert json.loads(personal.blobs["wandb-metadata.json"])["host"] == "box7"
    assert personal.blobs["requirements.txt"] == requirements and personal.run.config["user"] == "ann"


@pytest.mark.parametrize("state", ["finished", "running", "crashed", "failed", "killed"])
def test_states_and_missing_files_are_kept_and_said(service: WandbServer, state: str) -> None:
    service.projects["lab/runs"] = [wandb_run(state=state)]
    run = fetch_one().run
    assert run.state == state and run.source == "wandb:lab/runs" and run.run == "r1" and run.seed == 1
    assert run.requirements is None and any("requirements.txt" in note for note in run.notes)


def test_a_capped_page_is_continued_and_a_shortfall_said(service: WandbServer) -> None:
    service.projects["lab/runs"] = [wandb_run("capped", live=rows(50)), wandb_run("short", live=rows(50), line_count=60)]
    service.page_limit = 20
    found = fetch()
    capped, short = found["capped"], found["short"]
    assert isinstance(capped, RunBatch) and isinstance(short, RunBatch)
    assert len(capped.metrics[0].steps) == 50 and not [note for note in capped.run.notes if "wandb counts" in note]
    assert len(short.metrics[0].steps) == 50
    assert "wandb counts 60 rows and gave 50: 10 are missing here" in short.run.notes


def test_a_page_that_is_too_large_is_made_smaller(service: WandbServer) -> None:
    service.projects["lab/runs"] = [wandb_run(live=rows(12_000, every=10))]
    service.faults.append(Fault("HistoryPage", status=504, times=4))  # twice by wandb-core, twice by us
    assert len(fetch_one().metrics[0].steps) == 12_000
    assert 4 + 8 <= service.counts["HistoryPage"] <= 14


def test_rows_without_the_step_key(service: WandbServer) -> None:
    table = rows(10)
    for row in table:
        if row["_step"] % 3:
            del row["global_step"]
    del table[0]["global_step"]
    service.projects["lab/runs"] = [wandb_run("sparse", live=table), wandb_run("none", live=rows(10, every=2))]
    for row in service.projects["lab/runs"][1].live:
        del row["global_step"]
    found = fetch()
    sparse, none = found["sparse"], found["none"]
    assert isinstance(sparse, RunBatch) and isinstance(none, RunBatch)
    assert sparse.metrics[0].steps.tolist() == [1500, 1500, 1500, 3000, 3000, 3000, 4500]
    assert any(note.startswith("4 values were logged without global_step") for note in sparse.run.notes)
    assert any(note.startswith("3 values before the first global_step were left out") for note in sparse.run.notes)
    assert none.metrics[0].steps.tolist() == list(range(0, 20, 2)) and none.run.step_unit == "unknown"
    assert any("no global_step was logged" in note or "no step was logged" in note for note in none.run.notes)


def test_agent_steps_and_frames_end_at_the_same_x(service: WandbServer) -> None:
    user = {"frames": {"project": "runs", "entity": "lab", "step": "frames", "step_unit": "frame", "frames_per_step": 4}}
    assert QUERY.preset is not None
    preset = replace(load_presets(user)["frames"], env=("env_id",), algo=("exp_name",), metrics=QUERY.preset.metrics)
    table = rows(11, scale=4_000_000)
    for row in table:
        row["frames"] = row.pop("global_step")
    service.projects["lab/runs"] = [wandb_run("agent", env="Pong-v5", live=rows(11, scale=1_000_000))]
    agent = fetch_one()
    service.projects["lab/runs"] = [wandb_run("frame", env="Pong-v5", live=table)]
    frame = fetch_one(replace(QUERY, preset=preset))
    assert (agent.run.step_unit, frame.run.step_unit, frame.run.frames_per_step) == ("agent_step", "frame", 4)
    assert agent.metrics[0].steps[-1] == 10_000_000 and frame.metrics[0].steps[-1] == 40_000_000
    curves = [Curve(b.run, m.metric, m.steps, m.values, m.steps) for b in (agent, frame) for m in b.metrics]
    ends = [curve.steps[-1] for curve in align_steps(curves)]
    assert ends == [10_000_000, 10_000_000]


def test_unknown_names_are_guessed_and_the_guess_is_a_map(service: WandbServer) -> None:
    config = {"agent": {"algorithm": "mine"}, "environment": "Hopper-v4", "seed": "7"}
    run = wandb_run(live=rows(key="train/score"))
    run.config = config
    service.projects["lab/runs"] = [run]
    made = plan(UNKNOWN, {})
    assert made.guess is not None and made.counts == {("mine", "Hopper-v4"): 1}
    batch = fetch_one(replace(UNKNOWN, map=Map.parse([made.guess])))
    assert (batch.run.algo, batch.run.env, batch.run.seed) == ("mine", "Hopper-v4", 7)
    assert batch.metrics[0].metric.canonical == "episodic_return" and batch.metrics[0].steps[1] == 500
    assert plan(replace(UNKNOWN, map=Map.parse([made.guess])), {}).guess is None


def test_a_map_goes_before_the_preset_and_reads_names(service: WandbServer) -> None:
    run = wandb_run(name="x", live=rows(key="my/metric"))
    run.name, run.config = "Ant-v4__sac__12__1700000000", {"lr": 1}
    service.projects["lab/runs"] = [run]
    words = ["path:{env}__{algo}__{seed}__{_}", "impl='ours'", "value=my/metric", "kind=eval"]
    batch = fetch_one(replace(QUERY, map=Map.parse(words)))
    assert (batch.run.env, batch.run.algo, batch.run.seed, batch.run.impl) == ("Ant-v4", "sac", 12, "ours")
    assert batch.metrics[0].metric.kind == "eval" and batch.metrics[0].metric.canonical == "episodic_return"


@pytest.mark.parametrize(
    ("change", "needle"),
    [({"env_id": None}, "env='NAME'"), ({"exp_name": None}, "algo='NAME'"), ({}, "value=METRIC")],
)
def test_a_project_that_nothing_describes_names_the_gap(service: WandbServer, change: dict[str, Any], needle: str) -> None:
    run = wandb_run(live=rows(key="losses/td"))
    run.config = {key: value for key, value in {**run.config, **change}.items() if value is not None}
    service.projects["lab/runs"] = [run]
    with pytest.raises(MapError) as caught:
        plan(QUERY, {})
    assert needle in caught.value.fix and "losses/td" in caught.value.why


def test_runs_that_fit_no_description_are_named_and_the_others_taken(service: WandbServer) -> None:
    other = wandb_run("other", live=rows(key="losses/td"))
    empty = wandb_run("empty", live=())
    service.projects["lab/runs"] = [wandb_run("good"), other, empty]
    made = plan(QUERY, {})
    reasons = {item.location.rsplit("/", 1)[-1]: item.reason for item in made.excluded}
    assert set(reasons) == {"other", "empty"} and "losses/td" in reasons["other"]
    assert made.runs == made.to_fetch == 1 and made.requests == 5


def test_selection_narrows_on_the_server_and_is_judged_here(service: WandbServer) -> None:
    service.projects["lab/runs"] = [
        wandb_run(f"{env}-{algo}-{seed}", algo, env, seed, tags=[f"t{seed}"])
        for env in ("Hopper-v4", "HopperBulletEnv-v0", "Ant-v4")
        for algo in ("ppo", "ppo_lstm")
        for seed in (1, 2)
    ]
    query = replace(QUERY, selection=Selection(env=("hopper",), algo=("PPO",), seed=(2,), tag=("t2",)))
    made = plan(query, {})
    assert {listed.run.run for listed in made.listed} == {"Hopper-v4-ppo-2"}
    assert made.unselected == 7  # W&B kept Ant out, not the other seed, algorithm and HopperBullet
    assert plan(replace(QUERY, selection=Selection(env=("Hopper*",))), {}).runs == 8


def test_a_condition_on_the_configuration_costs_no_history(service: WandbServer) -> None:
    runs = [wandb_run(f"r{index}", seed=index, config={"lr": index / 10}) for index in range(6)]
    service.projects["lab/runs"] = runs
    made = plan(replace(QUERY, selection=Selection(where="config.lr < 0.2 AND seed < 9")), {})
    assert [listed.run.run for listed in made.listed] == ["r0", "r1"] and made.unselected == 4
    assert plan(replace(QUERY, selection=Selection(where="steps > 0 AND config.lr < 0.2")), {}).runs == 6  # needs the points
    with pytest.raises(NothingMatched):
        plan(replace(QUERY, selection=Selection(where="config.lr > 7")), {})
    service.counts.clear()
    with pytest.raises(SelectionError):
        plan(replace(QUERY, selection=Selection(where="1) OR (1")), {})
    assert not service.counts


def test_more_runs_than_a_page_and_more_than_thirty_algorithms(service: WandbServer) -> None:
    service.projects["lab/runs"] = [wandb_run(f"r{i}", f"algo{i % 41}", seed=i, live=rows(2)) for i in range(123)]
    made = plan(QUERY, {})
    assert made.runs == 123 and len(made.counts) == 41 and service.counts["Runs"] == 2
    assert service.requests() == 2  # configurations come with the pages


def test_unchanged_runs_are_not_fetched_again_and_changed_ones_are(service: WandbServer) -> None:
    service.projects["lab/runs"] = [wandb_run(f"r{i}", seed=i, live=rows(**{"losses/td": 1.0})) for i in range(6)]
    known = as_known(fetch())
    assert len(known) == 6
    service.counts.clear()
    again = plan(QUERY, known)
    assert (again.runs, again.unchanged, again.to_fetch, again.requests, again.bytes) == (6, 6, 0, 0, 0)
    assert fetch(known=known) == {} and service.requests() == 2  # two listings
    first, second, third, fourth, *_ = service.projects["lab/runs"]
    first.live = rows(25)
    first._pages = None
    second.heartbeat = "2026-02-01T00:00:00Z"
    third.state = "crashed"
    fourth.tags = ["new"]
    assert set(fetch(known=known)) == {"r0", "r1", "r2", "r3"}
    assert plan(replace(QUERY, all_metrics=True), known).to_fetch == 6  # losses/td is not there yet
    assert as_known(fetch(replace(QUERY, all_metrics=True))) and plan(replace(QUERY, system=True), known).to_fetch == 4


def test_an_all_metrics_fetch_is_unchanged_the_second_time(service: WandbServer) -> None:
    table = rows(**{"losses/td": 1.0, "nested": {"x": 1.0}, "text": "a"})
    service.projects["lab/runs"] = [wandb_run(live=table, events=[{"_timestamp": 1.7e9, "_runtime": 1.0, "system.cpu": 1.0}])]
    query = replace(QUERY, all_metrics=True, system=True)
    assert plan(query, as_known(fetch(query))).to_fetch == 0


def test_reading_twice_gives_equal_batches(service: WandbServer) -> None:
    from openrlb.store import content_digest

    files = {"requirements.txt": b"a==1\n", "wandb-metadata.json": METADATA}
    service.projects["lab/runs"] = [wandb_run(files=files, exported=[rows(30)], live=())]
    assert content_digest(fetch_one()) == content_digest(fetch_one())


def test_another_reading_of_an_unchanged_run_is_fetched_again(service: WandbServer) -> None:
    """W&B's own line count and heartbeat do not move when the user says something else, or edits a run years later."""
    table = [{**row, "frames": row["global_step"] * 4} for row in rows()]
    service.projects["lab/runs"] = [wandb_run(config={"other": "Ant-v4"}, live=table)]
    known = as_known(fetch())
    assert plan(QUERY, known).to_fetch == 0
    for words in ("env=other", "step=frames", f"value={RETURN},kind=eval"):
        query = replace(QUERY, map=Map.parse([words]))
        assert plan(query, known).to_fetch == 1, words
        assert plan(query, as_known(fetch(query))).to_fetch == 0, words
    assert plan(replace(QUERY, step_unit="frame"), known).to_fetch == 1
    assert plan(replace(QUERY, frames_per_step=2), known).to_fetch == 1
    personal = replace(QUERY, keep_personal=True)
    assert plan(personal, known).to_fetch == 1
    assert plan(personal, as_known(fetch(personal))).to_fetch == 0 and plan(QUERY, as_known(fetch(personal))).to_fetch == 1
    [run] = service.projects["lab/runs"]
    run.config = {**run.config, "lr": 0.5}
    assert plan(QUERY, known).to_fetch == 1
    run.config, run.name = {key: value for key, value in run.config.items() if key != "lr"}, "renamed"
    assert plan(QUERY, known).to_fetch == 1


def test_a_changed_run_keeps_what_was_asked_for_before(service: WandbServer) -> None:
    table = rows(**{"losses/td": 1.0})
    service.projects["lab/runs"] = [wandb_run(live=table, events=[{"_timestamp": 1.7e9, "_runtime": 1.0, "system.cpu": 1.0}])]
    known = as_known(fetch(replace(QUERY, all_metrics=True, system=True)))
    service.projects["lab/runs"][0].heartbeat = "2026-02-01T00:00:00Z"
    [batch] = fetch(known=known).values()
    assert isinstance(batch, RunBatch)
    assert {metric.metric.name for metric in batch.metrics} == {RETURN, "losses/td", "system.cpu"}


def test_a_run_that_a_shifting_listing_gives_twice_is_one_run(service: WandbServer) -> None:
    service.projects["lab/runs"] = [wandb_run("a"), wandb_run("b", seed=2), wandb_run("a", live=rows(30))]
    assert plan(QUERY, {}).runs == 2
    assert set(fetch()) == {"a", "b"}


@pytest.mark.parametrize("kind", ["live", "export"])
def test_rows_and_values_without_a_place_are_left_out_and_counted(service: WandbServer, kind: str) -> None:
    table = rows(30)
    table[3]["_step"] = -5 if kind == "export" else 10**30
    table[4]["global_step"] = float(2**62)
    table[5]["global_step"] = math.inf
    service.projects["lab/runs"] = [wandb_run(**split(kind, table))]
    batch = fetch_one()
    assert batch.metrics[0].steps.tolist() == [row["global_step"] for row in rows(30)[:3] + rows(30)[6:]]
    assert "1 rows without a usable _step were left out" in batch.run.notes
    assert "2 values were left out: their global_step is infinite or beyond 2^62" in batch.run.notes
    assert "wandb counts 30 rows and gave 29: 1 are missing here" in batch.run.notes


def test_a_run_of_which_nothing_can_be_used_says_why(service: WandbServer) -> None:
    from openrlb.types import Skipped

    service.projects["lab/runs"] = [wandb_run(live=[{**row, "global_step": 2.0**62} for row in rows()])]
    [skipped] = fetch().values()
    assert isinstance(skipped, Skipped) and "beyond 2^62" in skipped.reason


@pytest.mark.parametrize("kind", ["live", "export"])
def test_values_that_are_no_numbers_are_counted(service: WandbServer, kind: str) -> None:
    table: list[dict[str, Any]] = [{**row, RETURN: "high" if index < 3 else "NaN"} for index, row in enumerate(rows())]
    service.projects["lab/runs"] = [wandb_run(**split(kind, table))]
    batch = fetch_one()
    assert len(batch.metrics[0].values) == 17
    assert f"3 values of {RETURN} are no numbers and were left out" in batch.run.notes


def test_seeds_are_exact_and_what_is_none_is_said(service: WandbServer) -> None:
    seeds: list[Any] = [2**53 + 1, 2**63 - 1, "7", 3.0, -3, 2**63, [1, 2], "s1"]
    service.projects["lab/runs"] = [wandb_run(f"r{index}", seed=seed) for index, seed in enumerate(seeds)]
    found = [item.run for item in fetch().values() if isinstance(item, RunBatch)]
    assert [run.seed for run in sorted(found, key=lambda run: run.run)] == [*seeds[:2], 7, 3, None, None, None, None]
    said = {run.run for run in found if any(note.startswith("its seed is not known") for note in run.notes)}
    assert said == {"r4", "r5", "r6", "r7"}


def test_a_name_that_is_no_name_and_a_configuration_that_is_too_large_are_said(service: WandbServer) -> None:
    large = {"a": {str(index): index for index in range(100_001)}}
    service.projects["lab/runs"] = [
        wandb_run("good"),
        wandb_run("odd", config={"env_id": {"a": 1}}),
        wandb_run("large", config=large),
    ]
    made = plan(QUERY, {})
    assert made.runs == 2 and "no env_id that is a name" in made.excluded[0].reason
    large_run = fetch()["large"]
    assert isinstance(large_run, RunBatch) and large_run.run.config == {}
    assert any(note.startswith("its configuration is not kept: more than 100,000") for note in large_run.run.notes)


class OddRun(WandbRun):
    """A run whose record in the listing is not as it should be."""

    def node(self, project: str) -> dict[str, Any]:
        return super().node(project) | dict(self.summary)


def odd_run(name: str, **changes: Any) -> WandbRun:
    return OddRun(name, {"exp_name": "ppo", "env_id": "Hopper-v4", "seed": 3}, live=rows(), summary=changes)


@pytest.mark.parametrize("changes", [{"config": "{broken"}, {"summaryMetrics": "{broken"}, {"user": None}])
def test_a_record_that_the_client_cannot_make_out_costs_its_run_and_not_its_page(
    service: WandbServer, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    """wandb would skip the whole page, and say nothing, when the request for it is repeated."""
    from openrlb.sources.wandb import client

    monkeypatch.setattr(client, "RUNS_PER_PAGE", 3)
    runs = [wandb_run(f"r{index}", seed=index) for index in range(7)]
    runs.insert(4, odd_run("odd", **changes))
    service.projects["lab/runs"] = runs
    made = plan(QUERY, {})
    assert made.runs == 7 and service.counts["Runs"] == 3
    [odd] = made.excluded
    assert odd.location == "wandb:lab/runs/odd" and odd.damaged and "could not be understood" in odd.reason


def test_runs_that_a_listing_leaves_out_are_counted(service: WandbServer, monkeypatch: pytest.MonkeyPatch) -> None:
    service.projects["lab/runs"] = [wandb_run()]
    answer = service.answer
    monkeypatch.setattr(
        service,
        "answer",
        lambda operation, *rest: json.loads(json.dumps(answer(operation, *rest)).replace('"runCount": 1', '"runCount": 9')),
    )
    made = plan(QUERY, {})
    assert made.runs == 1 and made.excluded[0].reason == "W&B counts 9 runs that fit and listed 1"


@pytest.mark.parametrize(
    "changes",
    [
        {"historyKeys": None}, {"historyKeys": {"keys": {RETURN: None, "global_step": 3}, "lastStep": "x"}},
        {"historyKeys": {"keys": {RETURN: None, "global_step": 3}, "lastStep": 5}}, {"historyLineCount": -5},
        {"commit": {"a": 1}}, {"tags": None}, {"displayName": None}, {"createdAt": "garbage"}, {"state": None},
        {"systemMetrics": None},
    ],
)  # fmt: skip
def test_a_listing_that_does_not_tell_costs_no_row_and_no_other_run(service: WandbServer, changes: dict[str, Any]) -> None:
    service.projects["lab/runs"] = [wandb_run("good"), odd_run("odd", **changes)]
    batches = [item for item in fetch().values() if isinstance(item, RunBatch)]
    assert [len(batch.metrics[0].steps) for batch in batches] == [20, 20]
    store = Store()
    store.write(batches)
    assert store.fold().new == 2


def test_an_export_of_another_shape_costs_its_run_alone(service: WandbServer) -> None:
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    def export(name: str, names: list[str], *columns: list[Any]) -> WandbRun:
        buffer = io.BytesIO()
        pq.write_table(pa.table([pa.array(column) for column in columns], names=names), buffer)
        run = wandb_run(name, live=(), exported=[rows()])
        run._parquet[0] = buffer.getvalue()
        return run

    steps, values = [0.0, 1.0, math.nan], [1.0, 2.0, 3.0]
    service.projects["lab/runs"] = [
        wandb_run("good"),
        export("twice", ["_step", RETURN, RETURN, "global_step"], steps, values, values, values),
        export("floats", ["_step", RETURN, "global_step"], steps, values, values),
        export("words", ["_step", RETURN, "global_step"], ["a", "b", "c"], values, values),
    ]
    found = fetch()
    good, floats = found["good"], found["floats"]
    assert isinstance(good, RunBatch) and isinstance(floats, RunBatch) and floats.metrics[0].values.tolist() == [1.0, 2.0]
    assert not isinstance(found["twice"], RunBatch) and "one name for two columns" in found["twice"].reason
    assert not isinstance(found["words"], RunBatch) and "3 rows without a usable _step" in found["words"].reason


def test_names_made_anew_and_hardware_that_is_no_number_are_counted(
    service: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from openrlb.sources.wandb import reading

    monkeypatch.setattr(reading, "MAX_COLUMNS", 5)
    table = [{**row, **{f"made/{index}": 1.0 for index in range(9)}} for row in rows(3)]
    events = [{"_timestamp": 1.7e9, "_runtime": 1.0, "system.cpu": 1.0, "system.name": "a"}]
    service.projects["lab/runs"] = [wandb_run(live=table, events=events)]
    batch = fetch_one(replace(QUERY, all_metrics=True, system=True))
    assert [metric.metric.name for metric in batch.metrics] == [RETURN, *(f"made/{index}" for index in range(4)), "system.cpu"]
    assert any(note.startswith("10 metrics are more than a log has") for note in batch.run.notes)
    assert "1 hardware values of system.name are no numbers and were left out" in batch.run.notes
