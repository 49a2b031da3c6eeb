"""The sb3 runner in its own environment: what it refuses, applies, records and repeats. One warm server trains it all."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from warm_server import WarmServer

from openrlb_runners.published import published
from openrlb_runners.spec import find_runner

if TYPE_CHECKING:
    from openrlb_runners.environment import Environment

RUNNER = find_runner("sb3")
PPO = {"algo": "ppo", "env": "CartPole-v1", "seed": 1, "steps": 500, "hyperparameters": {"n_steps": 128}}
DQN = {"algo": "dqn", "env": "CartPole-v1", "seed": 1, "steps": 300, "hyperparameters": {"learning_starts": 50}}
TINY = {"learning_starts": 50, "batch_size": 16, "train_freq": 8, "policy_kwargs": {"net_arch": [8]}}
SAC = {"algo": "sac", "env": "Pendulum-v1", "seed": 1, "steps": 250, "hyperparameters": TINY}
ARS = {"algo": "ars", "env": "CartPole-v1", "seed": 1, "steps": 200, "hyperparameters": {"n_delta": 2}}
LSTM = {"algo": "ppo_lstm", "env": "CartPole-v1", "seed": 1, "steps": 100, "hyperparameters": {"n_steps": 50, "batch_size": 50}}


class Trainer:
    """Runs specs, several at a time."""

    def __init__(self, server: WarmServer, folder: Path) -> None:
        self.server, self.folder, self.numbers = server, folder, count()

    def all(self, specs: list[dict[str, Any]], *words: str) -> list[Trained]:
        """What each spec came to."""
        names = [str(next(self.numbers)) for _ in specs]
        for name, spec in zip(names, specs, strict=True):
            self.server.train(name, self.folder / name, spec, *words)
        return [Trained(self.server.wait("ended", name), self.folder / name) for name in names]

    def one(self, spec: dict[str, Any], *words: str) -> Trained:
        """What one spec came to."""
        return self.all([spec], *words)[0]


class Trained:
    """A run's end and its files."""

    def __init__(self, ended: dict[str, Any], folder: Path) -> None:
        self.code, self.folder = ended["code"], folder
        self.said = (folder / "stderr").read_text().strip()

    def file(self, name: str) -> dict[str, Any]:
        """A JSON file that it wrote."""
        return dict(json.loads((self.folder / name).read_text()))

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """Its rows of a kind, without their times."""
        rows = [json.loads(line) for line in (self.folder / "metrics.jsonl").read_text().splitlines()]
        return [{key: value for key, value in row.items() if key != "time"} for row in rows if row["t"] == kind]


@pytest.fixture(scope="module")
def trainer(built_sb3: Environment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainer]:
    """A warm server for all tests of this file."""
    words = ("--preload", ",".join(RUNNER.preload))
    with WarmServer(RUNNER.folder / RUNNER.entry, *words, python=built_sb3.python) as server:
        server.wait("ready")
        yield Trainer(server, tmp_path_factory.mktemp("runs"))


def test_every_algorithm_holds_what_is_published_for_it_as_published(trainer: Trainer) -> None:
    discrete = {"dqn": "CartPole-v1", "qrdqn": "Acrobot-v1"}
    found = {(algo, env): published(RUNNER, algo, env) for algo in RUNNER.algorithms for env in [discrete.get(algo, "Hopper-v5")]}
    specs = [
        {"algo": algo, "env": env, "seed": 7, "steps": entry.steps, "hyperparameters": dict(entry.hyperparameters)}
        for (algo, env), entry in found.items()
        if entry is not None
    ]
    assert [spec["algo"] for spec in specs] == [algo for algo in RUNNER.algorithms if algo != "ppo_mask"]  # nobody's is published
    for spec, run in zip(specs, trainer.all(specs, "--resolve"), strict=True):
        assert (run.code, run.said) == (0, ""), spec["algo"]
        config = run.file("config.json")
        held = config["hyperparameters"]
        for name, value in spec["hyperparameters"].items():
            inner = {key: held[name][key] for key in value} if isinstance(value, dict) else held[name]
            assert inner == value, (spec["algo"], name)
        assert {"learning_rate", "policy", "policy_kwargs", "n_envs", "normalize"} <= set(held)
        assert (config["seed"], config["steps"]) == (7, spec["steps"])
        assert not (run.folder / "metrics.jsonl").exists()


def test_hyperparameters_are_read_back_from_the_model(trainer: Trainer) -> None:
    asked = {
        "learning_rate": "lin_1e-3",
        "gamma": 1,
        "n_steps": 64.0,
        "n_envs": 2,
        "normalize": {"norm_obs": True, "norm_reward": False, "clip_obs": 5},
        "policy_kwargs": {"activation_fn": "elu", "net_arch": {"pi": [4], "vf": [8]}, "optimizer_class": "rmsprop_tf"},
    }
    td3 = {"train_freq": [1, "episode"], "noise_type": "ornstein-uhlenbeck", "noise_std": 0.5, "gradient_steps": -1, "n_steps": 3}
    a2c = {"use_rms_prop": False, "normalize": True}
    specs = [{**PPO, "hyperparameters": asked}, {**SAC, "algo": "td3", "hyperparameters": td3}]
    specs += [{**PPO, "algo": "a2c", "hyperparameters": a2c}, {**SAC, "hyperparameters": {"train_freq": [4, "step"]}}]
    held, of_td3, of_a2c, of_sac = (run.file("config.json")["hyperparameters"] for run in trainer.all(specs, "--resolve"))
    assert held["learning_rate"] == "lin_1e-3"
    assert (held["gamma"], held["n_steps"], held["n_envs"], held["clip_range"]) == (1.0, 64, 2, 0.2)
    told = {"norm_obs": True, "norm_reward": False, "clip_obs": 5.0, "clip_reward": 10.0, "epsilon": 1e-8}
    assert held["normalize"] == told  # whole, what was not asked for too
    assert {**asked["policy_kwargs"], "ortho_init": True, "log_std_init": 0.0}.items() <= held["policy_kwargs"].items()
    assert td3.items() <= of_td3.items()
    assert (of_a2c["use_rms_prop"], of_a2c["policy_kwargs"]["optimizer_class"], of_a2c["normalize"]) == (False, "adam", True)
    assert (of_sac["train_freq"], of_sac["target_entropy"], of_sac["noise_type"]) == ([4, "step"], -1.0, None)


REFUSALS: list[tuple[dict[str, Any], int, str]] = [
    ({"algo": "ppoo"}, 2, "unknown algorithm 'ppoo'; did you mean ppo?"),
    ({"env": "CartPol-v1"}, 3, "Did you mean: `CartPole`"),
    ({"env": "Hopper-v9"}, 3, "Hopper-v9 cannot be made"),
    ({"env_kwargs": {"wind": 1}}, 3, "unexpected keyword argument 'wind'"),
    ({"algo": "dqn", "env": "Hopper-v5", "hyperparameters": {}}, 2, "dqn needs Discrete actions, Hopper-v5 has Box"),
    ({"algo": "sac", "hyperparameters": {}}, 2, "sac needs Box actions, CartPole-v1 has Discrete(2)"),
    ({"hyperparameters": {"learnin_rate": 1}}, 2, "ppo has no hyperparameter learnin_rate; did you mean learning_rate?"),
    ({"hyperparameters": {"n_steps": 2.5}}, 2, "n_steps is 2.5, but must be a whole number"),
    ({"hyperparameters": {"learning_rate": "cos_1"}}, 2, "a number, or lin_ and a number"),
    ({"hyperparameters": {"policy_kwargs": {"activation_fn": "relo"}}}, 2, "did you mean relu"),
    ({"hyperparameters": {"policy_kwargs": {"net_ach": [2]}}}, 2, "did you mean net_arch?"),
    ({"hyperparameters": {"policy": "CnnPolicy"}}, 2, "ppo on CartPole-v1"),
    ({"hyperparameters": {"use_sde": True}}, 2, "continuous actions"),
    ({"algo": "ars", "hyperparameters": {"n_envs": 2}}, 2, "n_envs = 1 only"),
    ({"algo": "ppo_mask"}, 3, "CartPole-v1 has no action masks"),
    ({"hyperparameters": {"env_wrapper": "AtariWrapper"}}, 2, "is for Atari's screens in colour, CartPole-v1 has Box"),
    ({"env": "ALE/Pong-v5", "hyperparameters": {"env_wrapper": "Atari"}}, 2, "must be AtariWrapper, or null"),
    ({"env": "Taxi-v4", "hyperparameters": {"frame_stack": 4}}, 2, "VecFrameStack only works with"),
    ({"hyperparameters": {"normalize": {"clip_obs": "far"}}}, 2, "normalize.clip_obs is 'far', but must be a number"),
    ({"hyperparameters": {"normalize": {"norm": True}}}, 2, "true, false, or some of norm_obs"),
    ({"hyperparameters": {"frame_stack": 0}}, 2, "frame_stack must be at least 1"),
    ({"env": "ALE/Pung-v5"}, 3, "ALE/Pung-v5 cannot be made"),
    ({"algo": "dqn", "hyperparameters": {"buffer_size": 1e13}}, 5, "out of memory"),
    ({"hyperparameters": {"policy_kwargs": {"net_arch": [10**6, 10**7]}}}, 5, "out of memory"),
    ({"steps": 0}, 2, "steps is 0"),
    ({"seed": -1}, 2, "seed is -1"),
    ({"hyperparams": {}}, 2, "did you mean hyperparameters?"),
    ({"device": "cuda:99"}, 2, "no CUDA device"),
    ({"evaluation": {"every": 0}}, 2, "evaluation every is 0"),
]


def test_what_cannot_be_trained_is_refused_in_a_sentence(trainer: Trainer) -> None:
    runs = trainer.all([{**PPO, **change} for change, _, _ in REFUSALS], "--resolve")
    for (change, code, words), run in zip(REFUSALS, runs, strict=True):
        assert run.code == code, (change, run.said)
        assert words in run.said, change
        assert len(run.said.splitlines()) == 1, run.said
        assert not (run.folder / "done.json").exists()


def test_the_same_seed_repeats_another_does_not_and_evaluation_disturbs_nothing(trainer: Trainer) -> None:
    evaluation = {"every": 70, "episodes": 2, "deterministic": False}
    normalized = {**PPO, "hyperparameters": {"n_steps": 128, "normalize": True, "n_envs": 2}}
    specs = [normalized, DQN, SAC, ARS, LSTM]
    runs = trainer.all([spec | more for spec in specs for more in ({}, {"evaluation": evaluation}, {"seed": 2})])
    for spec, plain, evaluated, other in zip(specs, runs[::3], runs[1::3], runs[2::3], strict=True):
        assert (plain.code, evaluated.code, other.code) == (0, 0, 0), spec["algo"]
        episodes = plain.rows("episode")
        assert episodes == evaluated.rows("episode"), spec["algo"]
        assert plain.rows("scalar") == evaluated.rows("scalar"), spec["algo"]
        assert episodes != other.rows("episode"), spec["algo"]
        assert plain.file("done.json")["episodes"] == len(episodes) > 0
        times = plain.file("done.json")["steps"] // 70
        rows = evaluated.rows("eval")
        assert [row["episode"] for row in rows] == [0, 1] * (len(rows) // 2)
        assert times - 2 <= len(rows) / 2 <= times, spec["algo"]
        assert all(0 <= row["step"] % 70 < 2 for row in rows), spec["algo"]
    seeds = [run.file("config.json")["seeds"] for run in (runs[0], runs[2])]
    assert len({*seeds[0]["env"], *seeds[0]["eval"], *seeds[1]["env"], *seeds[1]["eval"]}) == 6


def test_returns_are_raw_and_steps_are_those_really_trained(trainer: Trainer) -> None:
    run = trainer.one({**PPO, "hyperparameters": {"n_steps": 128, "normalize": True, "n_envs": 2}})
    done, rows = run.file("done.json"), run.rows("episode")
    assert done["steps"] == 512  # 500 were asked; the rollout is finished
    assert all(row["return"] == row["length"] for row in rows)  # CartPole pays 1 a step, whatever VecNormalize makes of it
    assert 400 < sum(row["length"] for row in rows) <= 512
    assert [row["step"] for row in rows] == sorted(row["step"] for row in rows)
    names = {row["k"] for row in run.rows("scalar")}
    assert "train/loss" in names
    assert all(name.startswith("train/") for name in names)
    config = run.file("config.json")
    assert config["wrappers"] == ["VecNormalize", "DummyVecEnv", "Monitor", "TimeLimit", "OrderEnforcing", "PassiveEnvChecker"]
    assert (config["steps"], config["step_unit"], config["frames_per_step"], config["threads"]) == (500, "agent_step", None, 1)
    files = {"spec.json", "config.json", "env.json", "metrics.jsonl", "done.json", "stdout", "stderr"}
    assert {path.name for path in run.folder.iterdir()} == files
    about = run.file("env.json")
    assert any(package.startswith("torch==") for package in about["packages"])
    assert about["variables"]["OMP_NUM_THREADS"] == "1"
    everything = " ".join((run.folder / name).read_text() for name in files)
    assert platform.node() not in everything


def test_what_diverges_stops_and_says_so(trainer: Trainer) -> None:
    specs = [{**spec, "hyperparameters": {**spec["hyperparameters"], "learning_rate": 1e30}} for spec in (PPO, DQN, SAC, LSTM)]
    specs.append({**specs[2], "algo": "td3"})  # its actions stay finite for long: the weights tell
    for spec, run in zip(specs, trainer.all(specs), strict=True):
        assert run.code == 4, (spec["algo"], run.said)
        assert "step" in run.said
        assert not (run.folder / "done.json").exists()
    assert trainer.one({**PPO, "env": "Hopper-v5", "steps": 128}, "--resolve").file("config.json")["frames_per_step"] == 4


GAMES = "ClipRewardEnv WarpFrame FireResetEnv EpisodicLifeEnv GameMonitor MaxAndSkipEnv NoopResetEnv Monitor".split()


def test_an_atari_game_is_wrapped_as_usual_and_its_whole_raw_score_recorded(trainer: Trainer) -> None:
    few = {"learning_starts": 700, "buffer_size": 700, "frame_stack": 2}
    spec = {"algo": "dqn", "env": "QbertNoFrameskip-v4", "seed": 1, "steps": 700, "hyperparameters": few}
    evaluation = {"every": 650, "episodes": 1}
    plain, evaluated = trainer.all([spec, spec | {"evaluation": evaluation}])
    assert (plain.code, plain.said) == (0, "")
    config, games = plain.file("config.json"), plain.rows("episode")
    vectors = ["VecTransposeImage", "VecFrameStack", "DummyVecEnv"]
    assert config["wrappers"][: len(vectors) + len(GAMES)] == [*vectors, *GAMES]
    assert (config["step_unit"], config["frames_per_step"], config["env_kwargs"]) == ("agent_step", 4, {})
    held = config["hyperparameters"]
    assert (held["policy"], held["env_wrapper"], held["frame_stack"]) == ("CnnPolicy", "AtariWrapper", 2)
    assert games == evaluated.rows("episode")
    [played] = evaluated.rows("eval")
    assert 0 < len(games) <= 3  # a life lasts some 80 steps, and a game has four
    assert max(row["return"] for row in games) >= 50  # 25 for a cube: neither clipped, nor cut off with a life
    assert all(row["return"] % 25 == 0 for row in [*games, played])
    assert sum(row["length"] for row in games) >= games[-1]["step"] > 200  # with the no-op after each lost life


def test_what_an_atari_id_says_of_frames_is_kept_and_recorded(trainer: Trainer) -> None:
    pong = {"algo": "ppo", "env": "ALE/Pong-v5", "seed": 1, "steps": 100}
    entry = published(RUNNER, "ppo", "ALE/Pong-v5")
    assert entry
    assert entry.source.endswith("ppo on atari")
    own = {"env_kwargs": {"frameskip": 3}, "hyperparameters": {"n_envs": 2}}
    ram = {"env_kwargs": {"obs_type": "ram"}}
    runs = trainer.all([pong | {"hyperparameters": dict(entry.hyperparameters)}, pong | own, pong | ram], "--resolve")
    usual, skipping, seen = (run.file("config.json") for run in runs)
    assert entry.hyperparameters.items() <= usual["hyperparameters"].items()
    assert (usual["env_kwargs"], usual["frames_per_step"]) == ({"frameskip": 1}, 4)
    assert set(GAMES) <= set(usual["wrappers"])
    assert (skipping["env_kwargs"], skipping["frames_per_step"]) == ({"frameskip": 3}, 3)
    assert "MaxAndSkipEnv" not in skipping["wrappers"]
    assert (seen["hyperparameters"]["policy"], seen["hyperparameters"]["env_wrapper"]) == ("MlpPolicy", None)
    assert (seen["env_kwargs"], seen["frames_per_step"]) == ({"obs_type": "ram"}, 4)


def test_masks_keep_taxi_from_what_is_forbidden(trainer: Trainer) -> None:
    spec = {"algo": "ppo_mask", "env": "Taxi-v4", "seed": 1, "steps": 450, "hyperparameters": {"n_steps": 150}}
    plain, evaluated = trainer.all([spec, spec | {"evaluation": {"every": 200, "episodes": 1, "deterministic": False}}])
    assert (plain.code, evaluated.code, plain.said) == (0, 0, "")
    assert plain.rows("episode") == evaluated.rows("episode")
    rows = [*plain.rows("episode"), *evaluated.rows("eval")]
    assert len(rows) == 2 + 2
    assert all(row["return"] >= -200 for row in rows)  # 200 steps at -1; what masks forbid costs 10
    assert plain.file("config.json")["wrappers"][:3] == ["DummyVecEnv", "InfoActionMask", "Monitor"]


def test_box2d_trains_with_what_is_published(trainer: Trainer) -> None:
    entry = published(RUNNER, "dqn", "LunarLander-v3")
    assert entry
    fewer = dict(entry.hyperparameters) | {"gradient_steps": 1}
    walker = {"algo": "ppo", "env": "BipedalWalker-v3", "seed": 1, "steps": 64, "hyperparameters": {"n_steps": 64}}
    lander = {"algo": "dqn", "env": "LunarLander-v3", "seed": 1, "steps": 300, "hyperparameters": fewer}
    for run in trainer.all([lander, walker]):
        assert (run.code, run.said) == (0, "")
        assert run.file("done.json")["steps"] in (300, 64)
