"""Words that a W&B project does not know: maps, selections and filters, told all at once and with the nearest names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from wandb_fixtures import as_known, fetch, server, service, wandb_run
from wandb_server import WandbRun, WandbServer

from openrlb.errors import MapError, NothingMatched
from openrlb.sources.mapping import Map
from openrlb.sources.orlb_filter import parse
from openrlb.sources.presets import load_presets
from openrlb.sources.wandb import WandbQuery, plan
from openrlb.types import RunBatch, Selection

__all__ = ["server", "service"]

RIGHT = "env=problem,algo=agent.name,seed=rng,step=frames_seen,value=perf/test_score,kind=eval"


def weird(service: WandbServer, count: int = 3) -> None:
    """A project whose key names nobody could know."""
    history = [{"_step": i, "frames_seen": i * 100, "perf/test_score": float(i), "perf/train_score": float(-i)} for i in range(5)]
    service.projects["lab/weird"] = [
        WandbRun(f"w{n}", {"agent": {"name": "mine", "lr": 0.1}, "problem": "Hopper-v4", "rng": 7 * n}, live=history, tags=["v1"])
        for n in range(count)
    ]


def ask(words: str = "", **more: Any) -> WandbQuery:
    return WandbQuery("lab", "weird", map=Map.parse([words]) if words else Map(), **more)


def filtered(*words: str, **more: Any) -> WandbQuery:
    groups = parse(words)
    [group] = groups
    texts = {"env": group.env_key, "algo": group.algo_key, "step": group.step_key}
    fields = Map.parse([",".join(f"{name}={text}" for name, text in texts.items())]).fields
    return WandbQuery(group.entity, group.project, map=Map(fields, group.metrics), groups=groups, **more)


def test_everything_that_is_missing_is_told_at_once_with_one_line_to_paste(service: WandbServer) -> None:
    weird(service)
    with pytest.raises(MapError) as caught:
        plan(ask(), {})
    error = caught.value
    assert "no algorithm and no environment and no return is known" in error.what
    assert "agent.name ('mine')" in error.why and "rng (0)" in error.why and "perf/test_score" in error.why
    words = "algo=agent.name,env=problem,seed=rng,step=frames_seen,kind=eval,value=perf/test_score"
    line = f'openrlb fetch wandb:lab/weird --map "{words}"'
    assert error.fix.startswith(
        f"{line} --step-unit frame  (guessed: env, algo, seed, step, value, kind, --step-unit; kinds: eval,"
    )
    pasted = error.fix.split('"')[1]
    assert plan(ask(pasted), {}).runs == 3


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (RIGHT.replace("rng", "nope"), "has seed=nope"),
        (RIGHT.replace("frames_seen", "frames_sen"), "did you mean step=frames_seen?"),
        (RIGHT.replace("perf/test_score", "perf/tst_score"), "has logged perf/tst_score"),
        (RIGHT.replace("agent.name", "agent"), "algo=agent, which is a record of agent.lr, agent.name"),
        (RIGHT.replace("problem", "problm"), "did you mean env=problem?"),
    ],
)
def test_a_word_of_the_map_that_no_run_knows_is_refused(service: WandbServer, words: str, told: str) -> None:
    weird(service)
    with pytest.raises(MapError) as caught:
        plan(ask(words), {})
    assert told in f"{caught.value.what} {caught.value.fix}"
    assert (
        "settings: " in caught.value.why
        and "logged: " in caught.value.why
        and 'openrlb fetch wandb:lab/weird --map "' in caught.value.fix
    )


def test_a_kind_that_there_is_none_of_is_refused_before_anything_is_asked(service: WandbServer) -> None:
    with pytest.raises(MapError, match="kind=evl is not usable"):
        plan(ask(RIGHT.replace("kind=eval", "kind=evl")), {})
    assert not service.counts["Runs"]


def test_a_corrected_map_is_read_again_and_said_to_be(service: WandbServer) -> None:
    weird(service)
    known = as_known(fetch(ask(RIGHT)))
    assert plan(ask(RIGHT), known).to_fetch == 0
    for change in ({"words": RIGHT.replace("kind=eval", "kind=episode")}, {"words": RIGHT.replace("seed=rng", "seed=agent.lr")}):
        found = plan(ask(**change), known)
        assert (found.to_fetch, found.unchanged, len(found.reread)) == (3, 0, 3)
    assert len(plan(ask(RIGHT, step_unit="frame"), known).reread) == 3
    service.projects["lab/weird"][0].heartbeat = "2026-02-02T03:04:05Z"
    found = plan(ask(RIGHT), known)
    assert (found.to_fetch, found.unchanged, len(found.reread)) == (1, 2, 2)


def test_a_second_metric_does_not_cost_the_first(service: WandbServer) -> None:
    weird(service, 1)
    first = as_known(fetch(ask(RIGHT)))
    other = ask(RIGHT.replace("perf/test_score,kind=eval", "perf/train_score,kind=episode"))
    [batch] = fetch(other, first).values()
    assert isinstance(batch, RunBatch)
    kinds = {item.metric.name: (item.metric.kind, item.metric.canonical) for item in batch.metrics}
    assert kinds == {"perf/test_score": ("eval", "episodic_return"), "perf/train_score": ("episode", "episodic_return")}
    assert plan(other, as_known({"w0": batch})).to_fetch == 0
    assert plan(ask(RIGHT), as_known({"w0": batch})).to_fetch == 0


def test_a_filter_takes_the_metric_it_names_and_no_other(service: WandbServer) -> None:
    history = [{"_step": i, "global_step": i, "rollout/ep_rew_mean": 1.0, "eval/mean_reward": 2.0} for i in range(3)]
    service.projects["lab/runs"] = [wandb_run("a", live=history)]
    header = "?we=lab&wpn=runs&ceik=env_id&cen=exp_name&metric="
    [batch] = fetch(filtered(f"{header}rollout/ep_rew_mean", "ppo")).values()
    assert isinstance(batch, RunBatch) and [item.metric.name for item in batch.metrics] == ["rollout/ep_rew_mean"]
    with pytest.raises(MapError, match="has logged rollout/nope") as caught:
        plan(filtered(f"{header}rollout/nope", "ppo"), {})
    assert "eval/mean_reward, global_step, rollout/ep_rew_mean" in caught.value.why
    assert "--orlb-filter '?we=lab&wpn=runs&ceik=env_id&cen=exp_name&xaxis=global_step&metric=" in caught.value.fix


def test_an_experiment_that_no_run_is_is_named(service: WandbServer) -> None:
    service.projects["lab/runs"] = [wandb_run("a", tags=["v1"]), wandb_run("b", algo="a2c")]
    header = "?we=lab&wpn=runs"
    found = plan(filtered(header, "ppo?tag=v1", "ppo?tag=v9", "a2d", "ppo?x=3"), {})
    assert found.runs == 1 and len(found.unmatched) == 3
    assert "the filter 'ppo?tag=v9'" in found.unmatched
    assert "the filter 'ppo?x=3' (x looked up in the settings)" in found.unmatched
    with pytest.raises(NothingMatched) as caught:
        plan(filtered(header, "a2d"), {})
    assert "it holds a2c, ppo on Hopper-v4" in caught.value.why and caught.value.fix == "did you mean a2c?"
    with pytest.raises(MapError, match="has algo=expname"):
        plan(filtered(f"{header}&cen=expname", "ppo"), {})


def test_a_filter_of_a_known_project_inherits_what_its_steps_count(service: WandbServer) -> None:
    service.projects["lab/runs"] = [wandb_run("a", env="PongNoFrameskip-v4")]
    query = replace(filtered("?we=lab&wpn=runs", "ppo"), preset=load_presets()["cleanrl"])
    [batch] = fetch(query).values()
    assert isinstance(batch, RunBatch)
    assert (batch.run.impl, batch.run.step_unit, batch.run.frames_per_step) == ("cleanrl", "agent_step", 4)
    assert batch.metrics[0].metric.kind == "episode"


def test_selections_have_nearest_names(service: WandbServer) -> None:
    service.projects["lab/runs"] = [wandb_run("a"), wandb_run("b", env="Ant-v4", seed=2)]
    query = WandbQuery("lab", "runs", preset=load_presets()["cleanrl"])
    found = plan(replace(query, selection=Selection(env=("Hopper", "Hoper"), seed=(1, 9))), {})
    assert found.unmatched == ("--env Hoper (did you mean --env Hopper-v4?)", "--seed 9")
    for selection in (Selection(env=("Hoper",)), Selection(algo=("pppo",))):
        with pytest.raises(NothingMatched) as caught:
            plan(replace(query, selection=selection), {})
        assert "did you mean --" in caught.value.fix and "it holds ppo on Ant-v4, Hopper-v4" in caught.value.why


def test_hardware_metrics_that_are_not_there_are_said(service: WandbServer) -> None:
    service.projects["lab/runs"] = [wandb_run("a")]
    query = WandbQuery("lab", "runs", preset=load_presets()["cleanrl"], system=True, all_metrics=True)
    assert plan(query, {}).unmatched == ("--system",)


def test_steps_of_an_unknown_unit_are_said_and_an_empty_run_is_called_that(service: WandbServer) -> None:
    weird(service, 1)
    service.projects["lab/weird"].append(WandbRun("empty", {"agent": {"name": "mine"}, "problem": "Hopper-v4"}, line_count=7))
    found = fetch(ask(RIGHT))
    first, empty = found["w0"], plan(ask(RIGHT), {}).excluded[0]
    assert isinstance(first, RunBatch)
    assert any(note.startswith("what a step counts is not said: --step-unit agent_step") for note in first.run.notes)
    assert empty.reason == "it logged nothing"
    untold = fetch(ask(RIGHT.replace(",kind=eval", "")))["w0"]
    assert isinstance(untold, RunBatch) and any("does not say what one value is (kind=eval" in note for note in untold.run.notes)
    again = fetch(ask(RIGHT, step_unit="agent_step"))["w0"]
    assert isinstance(again, RunBatch) and again.run.notes == (
        "wandb keeps no requirements.txt of it: its dependencies are not known",
    )
