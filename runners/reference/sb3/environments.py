"""Environments as they are trained in and evaluated in: what they are wrapped in, how they are seeded, where a return is read.

Atari games get the standard preprocessing (Mnih et al. 2015; Stable-Baselines3's AtariWrapper) around one Monitor that sees
whole games: raw scores, counted in the agent's steps, whatever lives and clipped rewards the agent is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import gymnasium
import numpy as np
from hyperparameters import BadSpec, Hyperparameters, one_line
from stable_baselines3.common import atari_wrappers
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper, VecFrameStack, VecNormalize

with suppress(ImportError):  # only where the runner's lock has Atari's games
    import ale_py

    gymnasium.register_envs(ale_py)
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)  # else every game greets on standard error

NOOPS, SKIP = 30, 4  # Mnih et al. 2015: at most so many no-ops begin a game; frames that an action is repeated for


class NoSuchEnvironment(Exception):  # noqa: N818
    """The environment cannot be made; exit code 3."""


def make_environment(spec: dict[str, Any]) -> gymnasium.Env:
    """One environment as the spec says, with nothing around it.

    Raises:
        NoSuchEnvironment: Gymnasium does not know it, it takes other arguments, or what it needs is not installed.
    """
    try:
        return gymnasium.make(spec["env"], **spec["env_kwargs"])
    except (gymnasium.error.Error, ImportError, TypeError, ValueError) as error:
        raise NoSuchEnvironment(f"{spec['env']} cannot be made: {one_line(error)}") from error


def defaults_for(env: str, env_kwargs: dict[str, Any]) -> dict[str, Any]:
    """The hyperparameters whose default hangs on the environment: Atari's screens are wrapped, stacked and seen by a CNN."""
    if is_atari(env) and env_kwargs.get("obs_type", "rgb") == "rgb":
        return {"policy": "CnnPolicy", "env_wrapper": "AtariWrapper", "frame_stack": 4}
    return {}


def is_atari(env: str) -> bool:
    """Whether an id is one of the Arcade Learning Environment's."""
    with suppress(gymnasium.error.Error):
        return str(gymnasium.spec(env).entry_point).startswith("ale_py")
    return False


def effective_kwargs(spec: dict[str, Any], hyperparameters: Hyperparameters) -> dict[str, Any]:
    """The environment's arguments: an ``ALE/`` game skips no frames by itself where the wrapper skips them.

    Its sticky actions stay as the id has them (``ALE/Pong-v5`` repeats an action with probability 0.25, PongNoFrameskip-v4
    never), frame by frame.
    """
    if hyperparameters.values["env_wrapper"] and spec["env"].startswith("ALE/"):
        return {"frameskip": 1, **spec["env_kwargs"]}
    return dict(spec["env_kwargs"])


class GameMonitor(Monitor):
    """Counts a game's steps as the agent takes them; its score is that of all its frames, the first no-ops' too."""

    def __init__(self, env: gymnasium.Env, frames: Monitor) -> None:
        super().__init__(env)
        self.frames = frames

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Takes a step; the end of a game is recorded with the score of its frames."""
        taken = super().step(action)
        if taken[2] or taken[3]:
            self.episode_returns[-1] = sum(self.frames.rewards)
        return taken


class InfoActionMask(gymnasium.Wrapper):
    """Hands on the mask of allowed actions that an environment tells in ``info["action_mask"]`` (Taxi)."""

    def reset(self, **words: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401
        """Begins an episode."""
        observation, info = self.env.reset(**words)
        self.mask = np.asarray(info["action_mask"], dtype=bool)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Takes a step."""
        taken = self.env.step(action)
        self.mask = np.asarray(taken[4]["action_mask"], dtype=bool)
        return taken

    def action_masks(self) -> np.ndarray:
        """Which actions are allowed now; the name is sb3-contrib's."""
        return self.mask


def prepared(spec: dict[str, Any], hyperparameters: Hyperparameters) -> gymnasium.Env:
    """One environment with everything that belongs around it.

    Raises:
        NoSuchEnvironment: It cannot be made, or has no action masks where the algorithm needs them.
        BadSpec: It is no Atari game, and Atari's wrapper was asked for.
    """
    env = make_environment({**spec, "env_kwargs": effective_kwargs(spec, hyperparameters)})
    if hyperparameters.values["env_wrapper"]:
        return atari(spec["env"], env)
    return masked(spec["env"], Monitor(env)) if hyperparameters.is_masked else Monitor(env)


def atari(name: str, env: gymnasium.Env) -> gymnasium.Env:
    """An Atari game in Stable-Baselines3's wrappers, in their order; one that skips frames by itself is not made to skip more.

    Raises:
        BadSpec: It is no Atari game with colours.
    """
    if not is_atari(name) or len(env.observation_space.shape or ()) != 3:
        raise BadSpec(f"env_wrapper AtariWrapper is for Atari's screens in colour, {name} has {env.observation_space}")
    frames = Monitor(env)
    env = atari_wrappers.NoopResetEnv(frames, NOOPS)
    if env.unwrapped._frameskip == 1:
        env = atari_wrappers.MaxAndSkipEnv(env, SKIP)
    env = atari_wrappers.EpisodicLifeEnv(GameMonitor(env, frames))
    if "FIRE" in env.unwrapped.get_action_meanings():
        env = atari_wrappers.FireResetEnv(env)
    return atari_wrappers.ClipRewardEnv(atari_wrappers.WarpFrame(env))


def masked(name: str, env: gymnasium.Env) -> gymnasium.Env:
    """An environment that says which actions are allowed: by a method of its own, or else in its info.

    Raises:
        NoSuchEnvironment: It says neither.
    """
    with suppress(AttributeError):
        env.get_wrapper_attr("action_masks")
        return env
    if "action_mask" in env.reset(seed=0)[1]:
        return InfoActionMask(env)
    raise NoSuchEnvironment(f"{name} has no action masks: neither a method action_masks nor an action_mask in its info")


class SeededVecEnv(DummyVecEnv):
    """A vector environment in one process, whose seeds are given.

    Stable-Baselines3 would seed environment i with seed + i: environments of neighbouring runs would then be the same ones.
    """

    def __init__(self, makers: list[Callable[[], gymnasium.Env]], seeds: list[int]) -> None:
        super().__init__(makers)
        self.own_seeds = seeds

    def seed(self, seed: int | None = None) -> list[int]:
        """Takes the seeds that were given, whatever the model's seed is."""
        self._seeds = list(self.own_seeds)
        return self._seeds


def seeds_of(seed: int, environments: int) -> dict[str, list[int]]:
    """Independent seeds for the training environments and, on another branch, for the evaluation."""
    training, evaluation = np.random.SeedSequence(seed).spawn(2)
    return {"env": training.generate_state(environments).tolist(), "eval": evaluation.generate_state(1).tolist()}


def vector_environment(spec: dict[str, Any], hyperparameters: Hyperparameters, seeds: list[int], *, train: bool = True) -> VecEnv:
    """As many environments side by side as there are seeds; the Monitors lie inside VecNormalize, so that they see raw rewards.

    Args:
        spec: What is asked for.
        hyperparameters: The same, checked.
        seeds: One for each environment.
        train: False for an evaluation, which changes no statistics of VecNormalize.
    """
    env: VecEnv = SeededVecEnv([lambda: prepared(spec, hyperparameters)] * len(seeds), seeds)
    if hyperparameters.normalize is not None:
        env = VecNormalize(env, training=train, **hyperparameters.normalize)
    if hyperparameters.values["frame_stack"] > 1:
        try:
            env = VecFrameStack(env, hyperparameters.values["frame_stack"])
        except (AssertionError, NotImplementedError) as error:
            raise BadSpec(f"frame_stack on {spec['env']}: {one_line(error)}") from error
    return env


def base_of(env: VecEnv) -> DummyVecEnv:
    """The vector environment inside its wrappers."""
    while isinstance(env, VecEnvWrapper):
        env = env.venv
    return env


def monitors_of(env: VecEnv) -> list[Monitor]:
    """What counts the episodes of each environment: the outermost Monitor."""
    found = []
    for layer in base_of(env).envs:
        while not isinstance(layer, Monitor):
            layer = layer.env
        found.append(layer)
    return found


def layers_of(env: VecEnv) -> Iterator[Any]:
    """All wrappers and the vector environment, outermost first."""
    layer: Any = env
    while isinstance(layer, gymnasium.Wrapper | VecEnv):
        yield layer
        layer = layer.envs[0] if isinstance(layer, DummyVecEnv) else getattr(layer, "venv", None) or getattr(layer, "env", None)


def wrappers_of(env: VecEnv) -> list[str]:
    """The names of all wrappers, outermost first."""
    return ["DummyVecEnv" if isinstance(layer, SeededVecEnv) else type(layer).__name__ for layer in layers_of(env)]


def frames_per_step(env: VecEnv) -> int | None:
    """How many frames one step of the agent takes, where the environment has frames and their number is fixed."""
    inner = base_of(env).envs[0].unwrapped
    own = getattr(inner, "frame_skip", getattr(inner, "_frameskip", None))  # MuJoCo's name and Atari's
    skips = [layer._skip for layer in layers_of(env) if isinstance(layer, atari_wrappers.MaxAndSkipEnv)]
    return own * (skips[0] if skips else 1) if isinstance(own, int) else None
