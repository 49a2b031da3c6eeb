"""The sbx runner in its own environment: the contract, what it applies, and what Stable-Baselines Jax would only seem to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from built import built_environment

from openrlb.errors import UsageError
from openrlb_runners.conformance import look_at_contract
from openrlb_runners.launchers.local import LocalLauncher
from openrlb_runners.published import published
from openrlb_runners.request import PinnedRunner, TrainingRequest, pin
from openrlb_runners.resolve import resolve
from openrlb_runners.spec import Probe, find_runner, source_files

if TYPE_CHECKING:
    from openrlb_runners.environment import Environment

RUNNER = find_runner("sbx")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The runner's environment, really built; the tests are skipped where torch's CPU wheel cannot be had."""
    return built_environment("sbx", tmp_path_factory.mktemp("environments"))


@pytest.fixture(scope="module")
def runner(built: Environment) -> PinnedRunner:
    """The runner in it."""
    return pin(RUNNER, built)


@pytest.fixture(scope="module")
def launcher() -> Iterator[LocalLauncher]:
    """One launcher: JAX is imported once for all forks."""
    with LocalLauncher() as opened:
        yield opened


def test_the_contract_is_kept(runner: PinnedRunner, launcher: LocalLauncher) -> None:
    probe = Probe("ppo", "CartPole-v1", 256, {"n_steps": 128, "n_epochs": 2})
    found = list(look_at_contract(runner, RUNNER, probe, launcher))
    assert [finding for finding in found if not finding.ok] == []
    assert {"ppo: forked equals cold", "ppo: divergence exits 4"} <= {finding.what for finding in found}


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"hyperparameters": {"use_sde": True}}, "sac has no hyperparameter use_sde"),
    ({"hyperparameters": {"policy_kwargs": {"log_std_init": -2}}}, "policy_kwargs has no log_std_init"),
    ({"algo": "td3", "hyperparameters": {"learning_rate": "lin_1e-3"}}, "td3 here keeps the one it begins with"),
    ({"algo": "ppo", "hyperparameters": {"clip_range_vf": 0.2}}, "ppo has no hyperparameter clip_range_vf"),
    ({"algo": "dqn", "hyperparameters": {"policy_kwargs": {"net_arch": [64, 32]}}}, "dqn here has two layers of one width"),
    ({"algo": "dqn"}, "dqn needs Discrete actions, Pendulum-v1 has Box"),
    ({"device": "cuda"}, "a name and cpu are needed"),
]


def test_what_is_published_is_held_and_what_would_be_left_unused_is_refused(
    runner: PinnedRunner, launcher: LocalLauncher
) -> None:
    entry = published(RUNNER, "crossq", "Hopper-v5")
    assert entry
    [config] = resolve(runner, [TrainingRequest("crossq", "Hopper-v5", 7, entry.steps or 0, entry.hyperparameters)], launcher)
    held = config["hyperparameters"]
    assert held["policy_kwargs"]["net_arch"] == {"pi": [256, 256], "qf": [2048, 2048]}
    assert (held["policy_delay"], held["learning_rate"], held["buffer_size"]) == (3, 0.001, 1_000_000)
    assert held["policy_kwargs"]["optimizer_kwargs"] == {"b1": 0.5}  # its own, read back
    assert (config["threads"], config["step_unit"], config["frames_per_step"]) == (1, "agent_step", 4)
    for change, words in REFUSALS:
        request = TrainingRequest(**{"algo": "sac", "env": "Pendulum-v1", "seed": 7, "steps": 100} | change)
        with pytest.raises(UsageError) as caught:
            resolve(runner, [request], launcher)
        assert words in caught.value.why
    # A fork is safe because nothing but the import has happened: JAX has started none of its threads.
    tasks = [Path(f"/proc/{server.process.pid}/task") for server in launcher._servers.values()]
    if all(folder.is_dir() for folder in tasks):  # Linux
        assert {len(list(folder.iterdir())) for folder in tasks} == {1}


def test_its_files_are_those_of_sb3_but_for_the_library() -> None:
    ours, theirs = source_files(RUNNER), source_files(find_runner("sb3"))
    assert {name for name in ours if ours[name] != theirs[name]} == {"library.py", "run.py"}
    assert set(ours) == set(theirs)
