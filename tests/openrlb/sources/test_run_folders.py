"""Logs of Stable-Baselines3, rl_zoo3, baselines and Spinning Up."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from openrlb.sources import ReadOptions, read
from openrlb.types import MetricBatch, Run, RunBatch, Skipped


def load(path: Path, *maps: str, **options: object) -> tuple[list[RunBatch], list[Skipped]]:
    records = list(read(path, ReadOptions(map=maps, **options)))  # type: ignore[arg-type]
    return [r for r in records if isinstance(r, RunBatch)], [r for r in records if isinstance(r, Skipped)]


def metrics(batch: RunBatch) -> dict[str, MetricBatch]:
    assert len({(m.metric.name, m.metric.kind) for m in batch.metrics}) == len(batch.metrics)
    return {metric.metric.name: metric for metric in batch.metrics}


def monitor(path: Path, rows: str, env: str = "Hopper-v4", t_start: float = 1000.0, columns: str = "r,l,t") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#{json.dumps({'t_start': t_start, 'env_id': env})}\n{columns}\n{rows}", encoding="utf-8")
    return path


def load_results(folder: Path) -> pd.DataFrame:
    """What stable_baselines3.common.monitor.load_results computes, written from its documentation with pandas."""
    frames, starts = [], []
    for path in sorted(folder.glob("*monitor.csv")):
        with path.open() as handle:
            header = json.loads(handle.readline()[1:])
            frame = pd.read_csv(handle, index_col=None)
        frame["t"] += header["t_start"]
        frames.append(frame)
        starts.append(header["t_start"])
    frame = pd.concat(frames).sort_values("t", kind="stable").reset_index(drop=True)
    frame["t"] -= min(starts)
    return frame


def test_published_agents_equal_load_results(shared_data: Path) -> None:
    root = shared_data / "sb3_trained_agents"
    runs, skipped = load(root)
    assert len(runs) == 33 and skipped == []
    assert len({batch.run.run for batch in runs}) == 33
    for batch in runs:
        run, found = batch.run, metrics(batch)
        algo, folder = run.location.split("/")
        assert (run.algo, run.impl, run.env, run.step_unit) == (algo, "sb3", folder.rsplit("_", 1)[0], "agent_step")
        assert run.seed is not None and run.config["policy"] and not {"log_folder", "seed", "algo"} & set(run.config)
        frame = load_results(root / run.location)
        if len(frame):
            np.testing.assert_array_equal(found["r"].values, frame["r"])
            np.testing.assert_array_equal(found["r"].steps, np.cumsum(frame["l"]))
            np.testing.assert_allclose(found["r"].times_ms, frame["t"] * 1000, atol=0.51)
            assert (found["r"].metric.kind, found["r"].metric.canonical) == ("episode", "episodic_return")
        archive = np.load(root / run.location / "evaluations.npz")
        np.testing.assert_allclose(
            found["eval/mean_reward"].values, archive["results"].reshape(len(archive["timesteps"]), -1).mean(1)
        )
        np.testing.assert_array_equal(found["eval/mean_reward"].steps, archive["timesteps"])
        assert len(found["eval/episode_reward"].values) == archive["results"].size
    cartpole = next(batch.run for batch in runs if batch.run.location == "a2c/CartPole-v1_1")
    assert cartpole.seed == 252933904 and cartpole.config["n_timesteps"] == 500000.0
    assert cartpole.created == "2021-03-01T17:22:08.331583+00:00"


def test_the_published_benchmark_table(zoo_benchmark: Path, shared_data: Path) -> None:
    runs, skipped = load(zoo_benchmark)
    assert len(runs) == 204 and skipped == []
    lines = (shared_data / "zoo_benchmark" / "benchmark.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")][2:]
    assert len(rows) == 199
    by_key = {(batch.run.algo, batch.run.env): batch for batch in runs}
    assert len(by_key) == 204
    for algo, env, mean, std, _, steps, episodes in rows:
        batch = by_key[algo, env]
        returns, lengths = metrics(batch)["r"], metrics(batch)["l"]
        assert (batch.run.step_unit, returns.metric.kind, set(returns.steps)) == ("none", "eval", {0})
        assert f"{returns.values.mean():.3f}" == mean and f"{returns.values.std(ddof=0):.3f}" == std
        assert len(returns.values) == int(episodes) and int(lengths.values.sum()) == int(steps)


def test_files_of_one_vector_environment_are_one_run(tmp_path: Path) -> None:
    monitor(tmp_path / "log" / "0.monitor.csv", "1,10,1.0\n3,10,3.0\n", t_start=1000.0)
    monitor(tmp_path / "log" / "1.monitor.csv", "2,5,1.5\n4,5,2.0\n", t_start=1000.25)
    ((batch,), _) = load(tmp_path)
    assert metrics(batch)["r"].values.tolist() == [1, 2, 4, 3]
    assert metrics(batch)["r"].steps.tolist() == [10, 15, 20, 30]
    assert metrics(batch)["r"].times_ms.tolist() == [1000, 1750, 2250, 3000]  # type: ignore[union-attr]


def test_the_same_names_in_train_and_eval_folders_are_two_runs(tmp_path: Path) -> None:
    for name in ("train", "eval"):
        monitor(tmp_path / name / "0.monitor.csv", "1,10,1\n2,10,2\n")
    runs, _ = load(tmp_path, "algo='mine'")
    evaluation, train = runs
    assert (evaluation.run.step_unit, metrics(evaluation)["r"].metric.kind) == ("none", "eval")
    assert (train.run.step_unit, metrics(train)["r"].steps.tolist()) == ("agent_step", [10, 20])
    assert evaluation.run.run != train.run.run


def test_several_environments_in_one_folder_are_not_mixed(tmp_path: Path) -> None:
    monitor(tmp_path / "a.monitor.csv", "1,10,1\n", env="Hopper-v4")
    monitor(tmp_path / "b.monitor.csv", "2,10,1\n", env="Ant-v4")
    runs, _ = load(tmp_path)
    assert sorted(batch.run.env for batch in runs) == ["Ant-v4", "Hopper-v4"]
    assert len({batch.run.run for batch in runs}) == 2


def test_atari_monitors_count_frames(tmp_path: Path) -> None:
    monitor(tmp_path / "0.monitor.csv", "1,400,1\n", env="PongNoFrameskip-v4")
    ((alone,), _) = load(tmp_path)
    assert (alone.run.step_unit, alone.run.frames_per_step, metrics(alone)["r"].steps.tolist()) == ("frame", 4, [400])
    np.savez(tmp_path / "evaluations.npz", timesteps=np.array([100]), results=np.ones((1, 3)))
    ((both,), _) = load(tmp_path)
    assert (both.run.step_unit, metrics(both)["r"].steps.tolist(), metrics(both)["r"].values.tolist()) == (
        "agent_step",
        [100],
        [1.0],
    )
    assert metrics(both)["l"].values.tolist() == [400]


def test_extra_columns_and_not_a_number(tmp_path: Path) -> None:
    monitor(tmp_path / "monitor.csv", "nan,3,1,1,\n2,3,2,,x\n", columns="r,l,t,is_success,word")
    ((batch,), skipped) = load(tmp_path)
    found = metrics(batch)
    assert np.isnan(found["r"].values[0]) and found["is_success"].values.tolist() == [1.0]
    assert found["is_success"].metric.kind == "other" and "word" not in found
    assert any("word" in note for note in batch.run.notes) and skipped == []


@pytest.mark.parametrize("ending", ["7.5,1", "7.5,10,", "7.5,10,0.2", "x,10,9.0\n", "\x00\x00\x00\n"])
def test_a_cut_last_line_loses_only_itself(tmp_path: Path, ending: str) -> None:
    monitor(tmp_path / "0.monitor.csv", f"1,10,1.0\r\n2,10,2.0\r\n{ending}")
    ((batch,), skipped) = load(tmp_path)
    assert metrics(batch)["r"].values.tolist() == [1, 2] and metrics(batch)["r"].steps.tolist() == [10, 20]
    (left_out,) = skipped
    assert left_out.damaged and "1 rows" in left_out.reason and left_out.location == "0.monitor.csv"


def test_byte_order_mark_and_carriage_returns(tmp_path: Path) -> None:
    text = '\ufeff#{"t_start": 5.0, "env_id": "Hopper-v4"}\r\nr,l,t\r\n1.5,10,1.0\r\n'
    (tmp_path / "0.monitor.csv").write_bytes(text.encode())
    ((batch,), skipped) = load(tmp_path)
    assert metrics(batch)["r"].values.tolist() == [1.5] and skipped == []


def test_a_run_without_an_episode_is_named(tmp_path: Path) -> None:
    monitor(tmp_path / "0.monitor.csv", "")
    runs, (skipped,) = load(tmp_path)
    assert runs == [] and "no episode" in skipped.reason and not skipped.damaged


def test_one_log_stands_for_its_run(tmp_path: Path) -> None:
    monitor(tmp_path / "ppo" / "Hopper-v4_1" / "0.monitor.csv", "1,10,1\n")
    monitor(tmp_path / "ppo" / "Hopper-v4_1" / "1.monitor.csv", "2,10,1\n")
    ((by_folder,), _) = load(tmp_path)
    ((by_file,), _) = load(tmp_path / "ppo" / "Hopper-v4_1" / "1.monitor.csv")
    assert by_file.run.run == by_folder.run.run and len(metrics(by_file)["r"].values) == 2
    assert by_folder.run.algo == "ppo" and by_folder.run.location == "ppo/Hopper-v4_1"


def test_the_map_names_what_the_logs_do_not(tmp_path: Path) -> None:
    monitor(tmp_path / "mine" / "x__3__170" / "0.monitor.csv", "1,10,1\n", env="None")
    runs, (skipped,) = load(tmp_path)
    assert runs == [] and "environment is not known" in skipped.reason and "--map" in skipped.reason
    ((batch,), _) = load(tmp_path, "path:{algo}/{_}__{seed}__{_},env='Hopper-v4',impl='own',tag='t',config.lr='0.1'")
    run = batch.run
    assert (run.algo, run.env, run.seed, run.impl, run.tags, run.config) == ("mine", "Hopper-v4", 3, "own", ("t",), {"lr": "0.1"})


def test_progress_csv_keeps_every_rate(tmp_path: Path) -> None:
    (tmp_path / "progress.csv").write_text(
        "rollout/ep_rew_mean,time/time_elapsed,time/total_timesteps,eval/mean_reward,train/loss,note\n"
        "1.5,10,2048,,,a\n2.5,20.5,4096,7.0,nan,b\n,21,4196,8.0,0.25,\n"
    )
    ((batch,), skipped) = load(tmp_path, "algo='ppo',env='Hopper-v4',seed='3'")
    found = metrics(batch)
    assert found["rollout/ep_rew_mean"].steps.tolist() == [2048, 4096]
    assert (found["rollout/ep_rew_mean"].metric.kind, found["rollout/ep_rew_mean"].metric.canonical) == (
        "rolling_mean",
        "episodic_return",
    )
    assert found["eval/mean_reward"].steps.tolist() == [4096, 4196] and found["eval/mean_reward"].metric.kind == "eval"
    assert found["eval/mean_reward"].times_ms.tolist() == [20500, 21000]  # type: ignore[union-attr]
    assert np.isnan(found["train/loss"].values[0]) and found["train/loss"].values[1] == 0.25
    assert "note" not in found and any("note" in text for text in batch.run.notes) and skipped == []
    assert (batch.run.seed, batch.run.impl, batch.run.step_unit) == (3, "sb3", "agent_step")


@pytest.mark.parametrize(
    ("name", "text", "impl", "metric", "kind"),
    [
        ("progress.csv", "eprewmean,misc/total_timesteps\n3,100\n", "baselines", "eprewmean", "rolling_mean"),
        ("progress.csv", "EpRewMean,TimestepsSoFar\n3,100\n", "baselines", "EpRewMean", "rolling_mean"),
        ("progress.txt", "Epoch\tAverageTestEpRet\tTotalEnvInteracts\n0\t3\t100\n", "spinningup", "AverageTestEpRet", "eval"),
    ],
)
def test_other_loggers(tmp_path: Path, name: str, text: str, impl: str, metric: str, kind: str) -> None:
    (tmp_path / name).write_text(text)
    (tmp_path / "config.json").write_text('{"env_name": "Hopper-v4", "seed": 7, "algo": "sac", "lr": 0.1}')
    ((batch,), _) = load(tmp_path)
    assert (batch.run.impl, batch.run.env, batch.run.seed, batch.run.algo) == (impl, "Hopper-v4", 7, "sac")
    assert batch.run.config == {"lr": 0.1}
    assert metrics(batch)[metric].steps.tolist() == [100] and metrics(batch)[metric].metric.kind == kind


def test_evaluations_win_over_the_logger_and_the_rest_is_read(tmp_path: Path) -> None:
    monitor(tmp_path / "0.monitor.csv", "1,10,1\n")
    (tmp_path / "progress.csv").write_text("time/total_timesteps,eval/mean_reward,train/loss\n10,5,1\n")
    np.savez(
        tmp_path / "evaluations.npz", timesteps=np.array([10]), results=np.full((1, 2), 6.0), successes=np.array([[True, False]])
    )
    ((batch,), _) = load(tmp_path)
    found = metrics(batch)
    assert found["eval/mean_reward"].values.tolist() == [6.0] and found["eval/success_rate"].values.tolist() == [0.5]
    assert {"r", "l", "train/loss", "eval/episode_reward"} <= set(found)
    (tmp_path / "evaluations.npz").write_bytes((tmp_path / "evaluations.npz").read_bytes()[:200])
    ((batch,), (skipped,)) = load(tmp_path)
    assert metrics(batch)["eval/mean_reward"].values.tolist() == [5.0] and metrics(batch)["r"].values.tolist() == [1.0]
    assert skipped.damaged and skipped.location == "evaluations.npz"


def test_pickled_evaluations_are_refused(tmp_path: Path) -> None:
    ragged = np.array([[1.0], [1.0, 2.0]], dtype=object)
    np.savez(tmp_path / "evaluations.npz", timesteps=np.array([1, 2]), results=ragged)
    runs, (skipped,) = load(tmp_path, "env='Hopper-v4'")
    assert runs == [] and "pickles are never opened" in skipped.reason


ZOO = "!!python/object/apply:collections.OrderedDict\n- - - algo\n    - ppo\n  - - env\n    - Hopper-v4\n  - - seed\n    - 5\n"


def zoo_folder(root: Path, args: str) -> Path:
    folder = root / "ppo" / "Hopper-v4_1"
    monitor(folder / "0.monitor.csv", "1,10,1\n")
    (folder / "Hopper-v4").mkdir()
    (folder / "Hopper-v4" / "args.yml").write_text(args)
    return folder


def test_settings_hold_no_personal_data(tmp_path: Path) -> None:
    extra = "  - - log_folder\n    - /home/ann/logs\n  - - wandb_entity\n    - ann\n  - - load\n    - /home/ann/x/model.zip\n"
    folder = zoo_folder(tmp_path, ZOO + extra + "  - - contact\n    - ann@example.org\n  - - hostname\n    - box7\n")
    (folder / "Hopper-v4" / "vecnormalize.pkl").write_bytes(b"\x80\x04")
    (folder / "best_model.zip").write_bytes(b"PK\x03\x04")
    ((batch,), skipped) = load(tmp_path)
    assert batch.run.config == {"load": "~/x/model.zip", "contact": "[e-mail]"}
    assert (batch.run.algo, batch.run.seed) == ("ppo", 5) and skipped == []
    assert str(tmp_path) not in json.dumps(batch.run.to_json())


@pytest.mark.parametrize(
    "payload",
    [
        "!!python/object/apply:os.mkdir ['{trap}']\n",
        "!!python/object/apply:collections.OrderedDict\n- - - algo\n    - !!python/object/apply:os.mkdir ['{trap}']\n",
        "a: !!python/object/new:os.mkdir ['{trap}']\n",
        "a: !!python/name:os.mkdir\n",
    ],
)
def test_a_python_tag_makes_nothing(tmp_path: Path, payload: str) -> None:
    trap = tmp_path / "trap"
    folder = zoo_folder(tmp_path / "logs", payload.replace("{trap}", str(trap)))
    ((batch,), (skipped,)) = load(tmp_path / "logs")
    assert not trap.exists()
    assert skipped.damaged and "never made" in skipped.reason and skipped.location.endswith("args.yml")
    assert metrics(batch)["r"].values.tolist() == [1.0] and batch.run.seed is None
    assert folder.name == "Hopper-v4_1"


def test_a_yaml_bomb_is_refused(tmp_path: Path) -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    zoo_folder(tmp_path, "\n".join(levels))
    ((batch,), (skipped,)) = load(tmp_path)
    assert batch.run.config == {} and "100,000" in skipped.reason


def test_runs_are_the_same_whatever_folder_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zoo_folder(tmp_path, ZOO)
    whole = load(tmp_path)[0][0].run
    again = load(tmp_path)[0][0].run
    monkeypatch.chdir(tmp_path / "ppo")
    inner = load(Path("Hopper-v4_1"))[0][0].run
    dots = load(Path("../ppo/Hopper-v4_1/../Hopper-v4_1"))[0][0].run
    assert whole == again and whole.run == inner.run == dots.run
    assert (inner.project, inner.location, dots.project) == ("Hopper-v4_1", ".", "Hopper-v4_1")
    assert isinstance(whole, Run) and len(whole.run) == 12


def test_a_monitor_that_cannot_be_opened_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monitor(tmp_path / "a" / "0.monitor.csv", "1,10,1\n")
    monitor(tmp_path / "b" / "0.monitor.csv", "1,10,1\n")
    refused = tmp_path / "a" / "0.monitor.csv"
    real = Path.open

    def denied(self: Path, *args: object, **kwargs: object) -> object:
        if self == refused:
            raise PermissionError(13, "Permission denied", os.fspath(self))
        return real(self, *args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", denied)
    runs, (skipped,) = load(tmp_path)
    assert [batch.run.location for batch in runs] == ["b"]
    assert skipped.location == "a/0.monitor.csv" and "Permission denied" in skipped.reason and skipped.damaged


def test_a_map_may_name_settings_and_says_when_it_names_none(tmp_path: Path) -> None:
    zoo_folder(tmp_path, ZOO + "  - - agent\n    - name: mine\n")
    ((batch,), _) = load(tmp_path, "algo=config.agent.name,impl=no.such")
    assert (batch.run.algo, batch.run.impl) == ("mine", "sb3")
    assert "the map's impl=no.such names no setting of this run" in batch.run.notes
