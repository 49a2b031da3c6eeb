"""Published hyperparameters: whose they are, and for which environment."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from openrlb.errors import UsageError
from openrlb_runners.published import origin, published
from openrlb_runners.spec import RunnerSpec, find_runner


@pytest.fixture
def runner(tmp_path: Path) -> RunnerSpec:
    """A runner whose folder is the test's own."""
    return dataclasses.replace(find_runner("sb3"), folder=tmp_path)


def test_the_zoos_hyperparameters_come_with_their_source_and_steps() -> None:
    found = published(find_runner("sb3"), "ppo", "CartPole-v1")
    assert found is not None
    assert found.steps == 100_000
    assert found.source == "RL Baselines3 Zoo 2.9.2, ppo on CartPole-v1"
    assert dict(found.hyperparameters) == {
        "n_envs": 8,
        "policy": "MlpPolicy",
        "n_steps": 32,
        "batch_size": 256,
        "gae_lambda": 0.8,
        "gamma": 0.98,
        "n_epochs": 20,
        "ent_coef": 0.0,
        "learning_rate": "lin_0.001",
        "clip_range": "lin_0.2",
    }


def test_an_older_version_of_an_environment_serves_and_is_named() -> None:
    found = published(find_runner("sb3"), "trpo", "Hopper-v5")
    assert found is not None
    assert found.source == "RL Baselines3 Zoo 2.9.2, trpo on Hopper-v4"
    assert found.hyperparameters["n_critic_updates"] == 20
    own = published(find_runner("sb3"), "ppo_lstm", "HumanoidStandup-v5")
    assert own is not None
    assert own.source.endswith("HumanoidStandup-v2")


@pytest.mark.parametrize("env", ["ALE/Pong-v5", "BreakoutNoFrameskip-v4"])
def test_one_entry_serves_all_that_a_pattern_names(env: str) -> None:
    found = published(find_runner("sb3"), "qrdqn", env)
    assert found is not None
    assert found.source == "RL Baselines3 Zoo 2.9.2, qrdqn on atari"
    assert (found.steps, found.hyperparameters["frame_stack"]) == (10_000_000, 4)
    assert published(find_runner("sb3"), "sac", env) is None


@pytest.mark.parametrize(
    ("algo", "env"), [("ppo", "Hopper-v1"), ("dqn", "Hopper-v5"), ("source", "name"), ("nobody", "CartPole-v1")]
)
def test_nothing_is_made_up_where_nothing_is_published(algo: str, env: str) -> None:
    assert published(find_runner("sb3"), algo, env) is None


def test_a_runner_may_ship_none_or_say_less(runner: RunnerSpec) -> None:
    assert published(runner, "ppo", "CartPole-v1") is None
    assert origin(runner) is None
    assert origin(find_runner("sb3")) == "RL Baselines3 Zoo 2.9.2"
    (runner.folder / "hyperparameters.toml").write_text('[ppo."A-v0"]\ngamma = 0.9\n')
    found = published(runner, "ppo", "A-v0")
    assert found is not None
    assert (dict(found.hyperparameters), found.steps, found.source) == ({"gamma": 0.9}, None, "hyperparameters.toml, ppo on A-v0")


@pytest.mark.parametrize(
    "text",
    [
        "[ppo",
        "\xff",
        'ppo = "fast"',
        '[ppo]\n"A-v0" = 3',
        '[ppo."A-v0"]\nsteps = 0',
        '[ppo."A-v0"]\nsteps = true',
        "stands_for = []",
        '[stands_for]\n"A-v0" = "B-v0"',
    ],
)
def test_a_damaged_file_is_refused_in_a_sentence(runner: RunnerSpec, text: str) -> None:
    (runner.folder / "hyperparameters.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match="was not understood"):
        published(runner, "ppo", "A-v0")
