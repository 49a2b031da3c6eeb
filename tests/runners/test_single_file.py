"""The single_file runner in its own environment: the contract, kept by every algorithm. One warm server trains it all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from built import built_environment
from warm_server import WarmServer

from openrlb_runners.environment import child_variables
from openrlb_runners.published import published
from openrlb_runners.spec import find_runner

if TYPE_CHECKING:
    from openrlb_runners.environment import Environment

RUNNER = find_runner("single_file")
PPO = {"algo": "ppo", "env": "CartPole-v1", "seed": 1, "steps": 500, "hyperparameters": {"n_steps": 128}}
SMALL = {"learning_starts": 50, "batch_size": 16, "buffer_size": 1000, "policy_kwargs": {"net_arch": [8]}}
DQN = {"algo": "dqn", "env": "CartPole-v1", "seed": 1, "steps": 300, "hyperparameters": SMALL | {"target_update_interval": 40}}
SAC = {"algo": "sac", "env": "Pendulum-v1", "seed": 1, "steps": 250, "hyperparameters": SMALL | {"train_freq": 8}}
TD3 = {**SAC, "algo": "td3", "hyperparameters": SAC["hyperparameters"] | {"noise_type": "normal", "noise_std": 0.1}}
SPECS = [spec for spec in (PPO, DQN, SAC, TD3) if spec["algo"] in RUNNER.algorithms]


class Trained:
    """A run's end and its files."""

    def __init__(self, code: int | None, folder: Path) -> None:
        self.code, self.folder = code, folder
        self.said = (folder / "stderr").read_text().strip()

    def file(self, name: str) -> dict[str, Any]:
        """A JSON file that it wrote."""
        return dict(json.loads((self.folder / name).read_text()))

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """Its rows of a kind, without their times."""
        rows = [json.loads(line) for line in (self.folder / "metrics.jsonl").read_text().splitlines()]
        return [{key: value for key, value in row.items() if key != "time"} for row in rows if row["t"] == kind]


class Trainer:
    """Runs specs in forks of one server, several at a time, or one in a process of its own."""

    def __init__(self, server: WarmServer, python: Path, folder: Path) -> None:
        self.server, self.python, self.folder, self.numbers = server, python, folder, count()

    def all(self, specs: list[dict[str, Any]], *words: str) -> list[Trained]:
        """What each spec came to."""
        names = [str(next(self.numbers)) for _ in specs]
        for name, spec in zip(names, specs, strict=True):
            self.server.train(name, self.folder / name, spec, *words)
        return [Trained(self.server.wait("ended", name)["code"], self.folder / name) for name in names]

    def start_cold(self, spec: dict[str, Any], entry: str = RUNNER.entry) -> tuple[subprocess.Popen[bytes], Path]:
        """A run in a process of its own, which is not waited for."""
        folder = self.folder / str(next(self.numbers))
        folder.mkdir()
        (folder / "spec.json").write_text(json.dumps(spec))
        words = [self.python, RUNNER.folder / entry, "--spec", folder / "spec.json", "--out", folder]
        with (folder / "stderr").open("wb") as stderr:
            return subprocess.Popen(words, stderr=stderr, env=child_variables(1)), folder


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The runner's environment, really built; the tests are skipped where torch's CPU wheel cannot be had."""
    return built_environment("single_file", tmp_path_factory.mktemp("environments"))


@pytest.fixture(scope="module")
def trainer(built: Environment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainer]:
    """A warm server for all tests of this file."""
    words = ("--preload", ",".join(RUNNER.preload))
    with WarmServer(RUNNER.folder / RUNNER.entry, *words, python=built.python) as server:
        server.wait("ready")
        yield Trainer(server, built.python, tmp_path_factory.mktemp("runs"))


def test_equal_seeds_repeat_forked_or_cold_others_do_not_and_evaluation_disturbs_nothing(trainer: Trainer) -> None:
    evaluation = {"every": 70, "episodes": 2, "deterministic": False}
    specs = [{**PPO, "hyperparameters": {"n_steps": 128, "normalize": True, "n_envs": 2}}, *SPECS]
    specs.append({**PPO, "env": "Pendulum-v1"})  # continuous actions
    cold = [trainer.start_cold(spec) for spec in SPECS]
    runs = trainer.all([spec | more for spec in specs for more in ({}, {"evaluation": evaluation}, {"seed": 2})])
    for spec, plain, evaluated, other in zip(specs, runs[::3], runs[1::3], runs[2::3], strict=True):
        assert (plain.code, evaluated.code, other.code) == (0, 0, 0), (spec["algo"], plain.said, evaluated.said)
        episodes = plain.rows("episode")
        assert episodes == evaluated.rows("episode"), spec["algo"]
        assert plain.rows("scalar") == evaluated.rows("scalar"), spec["algo"]
        assert episodes != other.rows("episode"), spec["algo"]
        assert plain.file("done.json")["episodes"] == len(episodes) > 0
        rows = evaluated.rows("eval")
        assert [row["episode"] for row in rows] == [0, 1] * (len(rows) // 2)
        assert all(0 <= row["step"] % 70 < 2 for row in rows), spec["algo"]
        assert len({row["return"] for row in rows}) > 1
    for (process, folder), forked in zip(cold, runs[3::3], strict=False):
        process.wait(120)
        assert Trained(process.returncode, folder).rows("episode") == forked.rows("episode")
    seeds = [run.file("config.json")["seeds"] for run in (runs[0], runs[2])]
    assert len({*seeds[0]["env"], *seeds[0]["eval"], *seeds[1]["env"], *seeds[1]["eval"]}) == 6


REFUSALS: list[tuple[dict[str, Any], int, str]] = [
    ({"algo": "ppoo"}, 2, "unknown algorithm 'ppoo'; did you mean ppo?"),
    ({"env": "CartPol-v1"}, 3, "Did you mean: `CartPole`"),
    ({"env": "Hopper-v9"}, 3, "Hopper-v9 cannot be made"),
    ({"env_kwargs": {"wind": 1}}, 3, "unexpected keyword argument 'wind'"),
    ({"env": "FrozenLake-v1"}, 2, "ppo needs a vector of numbers to observe, FrozenLake-v1 has Discrete(16)"),
    ({"hyperparameters": {"learnin_rate": 1}}, 2, "ppo has no hyperparameter learnin_rate; did you mean learning_rate?"),
    ({"hyperparameters": {"n_steps": 2.5}}, 2, "n_steps is 2.5, but must be a whole number from 1"),
    ({"hyperparameters": {"n_steps": 1}}, 2, "n_steps times n_envs must be at least 2"),
    ({"hyperparameters": {"gamma": 1.1}}, 2, "gamma is 1.1, but must be a number from 0 to 1"),
    ({"hyperparameters": {"learning_rate": "cos_1"}}, 2, "a number from 0 or lin_ and a number"),
    ({"hyperparameters": {"normalize_advantage": 1}}, 2, "normalize_advantage is 1, but must be true or false"),
    ({"hyperparameters": {"policy_kwargs": {"activation_fn": "relo"}}}, 2, "must be tanh or relu"),
    ({"hyperparameters": {"policy_kwargs": {"net_ach": [2]}}}, 2, "policy_kwargs has no net_ach; did you mean net_arch?"),
    ({"hyperparameters": {"policy_kwargs": {"net_arch": {"pi": [4], "q": [4]}}}}, 2, "net_arch is 'q', but must be pi or vf"),
    ({"hyperparameters": {"policy_kwargs": {"net_arch": [10**6, 10**7]}}}, 5, "out of memory"),
    ({"steps": 0}, 2, "steps is 0"),
    ({"seed": -1}, 2, "seed is -1"),
    ({"hyperparams": {}}, 2, "did you mean hyperparameters?"),
    ({"device": "cuda"}, 2, "trains on the cpu"),
    ({"evaluation": {"every": 0}}, 2, "evaluation every is 0"),
    ({"algo": "dqn", "env": "Hopper-v5", "hyperparameters": {}}, 2, "dqn needs Discrete actions, Hopper-v5 has Box"),
    ({"algo": "dqn", "hyperparameters": {"buffer_size": 1e13}}, 5, "out of memory"),
    ({"algo": "sac", "hyperparameters": {}}, 2, "sac needs Box actions, CartPole-v1 has Discrete(2)"),
    ({"algo": "td3", "env": "Pendulum-v1", "hyperparameters": {"noise_std": 0.1}}, 2, "noise_type and noise_std come together"),
]


def test_what_cannot_be_trained_is_refused_in_a_sentence(trainer: Trainer) -> None:
    runs = trainer.all([{**PPO, **change} for change, _, _ in REFUSALS], "--resolve")
    for (change, code, words), run in zip(REFUSALS, runs, strict=True):
        assert run.code == code, (change, run.said)
        assert words in run.said, change
        assert len(run.said.splitlines()) == 1, run.said
        assert not (run.folder / "done.json").exists()


def test_what_is_published_is_applied_and_what_is_applied_is_told(trainer: Trainer) -> None:
    found = {(algo, env): published(RUNNER, algo, env) for algo in RUNNER.algorithms for env in ("CartPole-v1", "Hopper-v5")}
    asked = {key: dict(entry.hyperparameters) for key, entry in found.items() if entry is not None}
    assert {algo for algo, _ in asked} == set(RUNNER.algorithms)
    specs = [{"algo": algo, "env": env, "seed": 7, "steps": 9, "hyperparameters": one} for (algo, env), one in asked.items()]
    odd = {"gamma": 1, "n_steps": 64.0, "normalize": {"norm_obs": True}, "policy_kwargs": {"net_arch": {"pi": [4], "vf": [8]}}}
    specs.append({**PPO, "seed": 7, "hyperparameters": odd})
    for spec, run in zip(specs, trainer.all(specs, "--resolve"), strict=True):
        assert (run.code, run.said) == (0, ""), spec["algo"]
        config = run.file("config.json")
        held = config["hyperparameters"]
        for name, value in spec["hyperparameters"].items():
            inner = {key: held[name][key] for key in value} if isinstance(value, dict) else held[name]
            assert inner == value, (spec["algo"], name)
        assert {"learning_rate", "policy_kwargs", "n_envs", "gamma"} <= set(held)
        assert (config["seed"], config["step_unit"], config["threads"]) == (7, "agent_step", 1)
        assert config["frames_per_step"] == (4 if spec["env"] == "Hopper-v5" else None)
        assert config["wrappers"] == ["TimeLimit", "OrderEnforcing", "PassiveEnvChecker"]
        assert not (run.folder / "metrics.jsonl").exists()


def test_returns_are_raw_and_steps_are_those_really_trained(trainer: Trainer) -> None:
    [run] = trainer.all([{**PPO, "hyperparameters": {"n_steps": 128, "normalize": True, "n_envs": 2}}])
    done, rows = run.file("done.json"), run.rows("episode")
    assert done["steps"] == 512  # 500 were asked; the rollout is finished
    assert all(row["return"] == row["length"] for row in rows)  # CartPole pays 1 a step, whatever normalize makes of it
    assert 400 < sum(row["length"] for row in rows) <= 512
    assert [row["step"] for row in rows] == sorted(row["step"] for row in rows)
    assert {row["k"] for row in run.rows("scalar")} >= {"train/approx_kl", "train/value_loss"}
    assert {path.name for path in run.folder.iterdir()} == {
        *("spec.json", "config.json", "env.json", "metrics.jsonl", "done.json", "stdout", "stderr")
    }


def test_what_diverges_stops_and_says_so(trainer: Trainer) -> None:
    specs = [{**spec, "hyperparameters": {**spec["hyperparameters"], "learning_rate": 1e30}} for spec in SPECS]
    for spec, run in zip(specs, trainer.all(specs), strict=True):
        assert run.code == 4, (spec["algo"], run.said)
        assert "step" in run.said
        assert len(run.said.splitlines()) == 1, run.said
        assert not (run.folder / "done.json").exists()


def test_a_killed_run_leaves_whole_rows_and_an_algorithm_file_runs_by_itself(trainer: Trainer) -> None:
    process, folder = trainer.start_cold({**PPO, "steps": 10**9}, entry="ppo.py")
    deadline = time.monotonic() + 100
    while not (folder / "metrics.jsonl").exists() or (folder / "metrics.jsonl").stat().st_size < 2000:
        assert time.monotonic() < deadline
        assert process.poll() is None, (folder / "stderr").read_text()
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL
    run = Trained(process.returncode, folder)
    assert len(run.rows("episode")) > 10
    assert not (folder / "done.json").exists()


def beside_sb3(built_sb3: Environment, what: str) -> dict[str, Any]:
    """What the script beside this file finds, which trains with both in the sb3 runner's environment."""
    words = [built_sb3.python, "-W", "ignore", Path(__file__).with_name("single_file_updates.py"), RUNNER.folder, what]
    done = subprocess.run(words, capture_output=True, text=True, env=child_variables(1), check=False)
    assert done.returncode == 0, done.stderr
    found = dict(json.loads(done.stdout))
    assert set(found) == {*RUNNER.algorithms, "ppo continuous"}
    return found


def test_from_equal_weights_batches_and_noise_an_update_moves_the_weights_as_sb3_does(built_sb3: Environment) -> None:
    for algo, share in beside_sb3(built_sb3, "updates").items():
        # rounding alone; another tau, loss or order of steps comes to a hundredth and more
        assert 0 < share < 1e-3, (algo, share)


def test_from_equal_weights_and_random_numbers_a_training_goes_as_sb3s_does(built_sb3: Environment) -> None:
    for algo, found in beside_sb3(built_sb3, "trainings").items():
        ours, theirs = found["episodes"]
        assert ours == theirs == found["equal lengths"], (algo, found)
        assert 0 < found["cut off"] < ours, (algo, found)  # some by the time limit, which is no end, and some really ended
        assert max(found["returns apart"], found["weights apart"]) < 1e-3, (algo, found)
