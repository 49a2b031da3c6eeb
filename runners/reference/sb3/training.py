"""What run.py does: reads the spec, makes environment and model, trains, and records what came of it.

library.py beside this file names the library's classes, hyperparameters.py says which hyperparameters there are,
environments.py makes and wraps environments, records.py fills env.json.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import gymnasium
import library
import numpy as np
import torch
from environments import (
    NoSuchEnvironment,
    base_of,
    defaults_for,
    effective_kwargs,
    frames_per_step,
    monitors_of,
    seeds_of,
    vector_environment,
    wrappers_of,
)
from hyperparameters import BadSpec, Hyperparameters, applied, nearest, one_line, requested
from library import ALGORITHMS
from records import environment_record, write_json
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack, VecNormalize, unwrap_vec_normalize, unwrap_vec_wrapper

REQUIRED = ("algo", "env", "seed", "steps")
OPTIONAL = {"format": 1, "env_kwargs": {}, "hyperparameters": {}, "evaluation": None, "threads": 1, "device": "cpu"}
EVALUATION = {"every": 10_000, "episodes": 10, "deterministic": True}
LARGEST_SEED = 2**32 - 1  # NumPy's global generator takes no more
CHECK_EVERY = 1000  # agent steps between two looks at the weights


class Diverged(Exception):  # noqa: N818
    """A return, a weight or an action is not finite; exit code 4."""


# --- the spec ---------------------------------------------------------------------------------------------------------------


def read_spec(path: Path) -> dict[str, Any]:
    """The spec with its defaults filled in, every entry checked.

    Raises:
        BadSpec: It cannot be read, or an entry is missing, unknown or has no meaning.
    """
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadSpec(f"the spec cannot be read: {error}") from error
    if not isinstance(given, dict):
        raise BadSpec("the spec is no JSON object")
    for key in given:
        if key not in OPTIONAL and key not in REQUIRED:
            raise BadSpec(f"the spec has no entry {key}{nearest(key, (*REQUIRED, *OPTIONAL))}")
    for key in REQUIRED:
        if key not in given:
            raise BadSpec(f"the spec lacks {key}")
    spec = {**OPTIONAL, **given}
    if spec["format"] != 1:
        raise BadSpec(f"the spec has format {spec['format']!r}, this runner reads format 1")
    if str(spec["algo"]) not in ALGORITHMS:
        raise BadSpec(f"unknown algorithm {spec['algo']!r}{nearest(str(spec['algo']), ALGORITHMS)}")
    for key, least, most in (("seed", 0, LARGEST_SEED), ("steps", 1, 10**12), ("threads", 1, 1024)):
        whole(spec[key], key, least, most)
    for key in ("env_kwargs", "hyperparameters"):
        if not isinstance(spec[key], dict):
            raise BadSpec(f"{key} is no JSON object")
    if spec["evaluation"] is not None:
        spec["evaluation"] = checked_evaluation(spec["evaluation"])
    if not isinstance(spec["env"], str) or not re.fullmatch(library.DEVICES, str(spec["device"])):
        raise BadSpec(f"env is {spec['env']!r} and device {spec['device']!r}; a name and {library.DEVICE_WORDS} are needed")
    return spec


def whole(value: object, name: str, least: int, most: int) -> None:
    """Refuses what is not a whole number within its bounds."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise BadSpec(f"{name} is {value!r}, but must be a whole number from {least} to {most}")


def checked_evaluation(given: Any) -> dict[str, Any]:  # noqa: ANN401
    """How to evaluate, with defaults filled in."""
    if not isinstance(given, dict) or set(given) - set(EVALUATION):
        raise BadSpec(f"evaluation takes {', '.join(EVALUATION)}")
    evaluation = {**EVALUATION, **given}
    whole(evaluation["every"], "evaluation every", 1, 10**12)
    whole(evaluation["episodes"], "evaluation episodes", 1, 10**6)
    if not isinstance(evaluation["deterministic"], bool):
        raise BadSpec("evaluation deterministic must be true or false")
    return evaluation


# --- the model and its configuration ----------------------------------------------------------------------------------------


def make_model(spec: dict[str, Any], hyperparameters: Hyperparameters, env: VecEnv) -> BaseAlgorithm:
    """The model, which logs nowhere yet.

    Raises:
        BadSpec: The algorithm does not fit the environment, or a hyperparameter has no meaning.
    """
    cls = ALGORITHMS[spec["algo"]]
    arguments = hyperparameters.arguments(env.action_space)
    try:
        return cls(hyperparameters.policy, env, seed=spec["seed"], device=spec["device"], **arguments)
    except (AssertionError, TypeError, ValueError, NotImplementedError) as error:
        if re.search("array is too big|Maximum allowed dimension", str(error)):
            raise MemoryError(one_line(error)) from error
        needed = re.findall(r"spaces\.\w+\.(\w+)'", str(error)) if "as action spaces" in str(error) else []
        if needed:
            space = str(env.action_space)
            raise BadSpec(f"{spec['algo']} needs {' or '.join(needed)} actions, {spec['env']} has {space}") from error
        raise BadSpec(f"{spec['algo']} on {spec['env']}: {one_line(error)}") from error


def configuration(spec: dict[str, Any], model: BaseAlgorithm, asked: Hyperparameters, seeds: dict[str, Any]) -> dict[str, Any]:
    """What config.json says: everything that was applied, read back where it can be."""
    env = model.get_env()
    inner = base_of(env).envs[0]
    about = inner.spec
    entry = about.entry_point
    return {
        **{key: spec[key] for key in ("algo", "env", "steps", "evaluation")},
        "env_kwargs": effective_kwargs(spec, asked),
        "seed": torch.initial_seed(),
        "hyperparameters": applied(model, asked),
        "wrappers": wrappers_of(env),
        "threads": library.threads(),
        "device": str(model.device),
        "step_unit": "agent_step",
        "frames_per_step": frames_per_step(env),
        "environment": {
            "entry_point": entry if isinstance(entry, str) else getattr(entry, "__qualname__", None),
            "max_episode_steps": about.max_episode_steps,
            "observation_space": str(inner.observation_space),
            "action_space": str(inner.action_space),
        },
        "seeds": seeds,
    }


# --- what is recorded while it trains ---------------------------------------------------------------------------------------


class Rows:
    """Writes metrics.jsonl; a row's time is in seconds since training began."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.start = time.monotonic()

    def write(self, row: dict[str, Any]) -> None:
        """Adds a row."""
        row["time"] = round(time.monotonic() - self.start, 3)
        self.stream.write(json.dumps(row) + "\n")


class Scalars(KVWriter):
    """Takes the losses and rates that Stable-Baselines3 logs; its rolling means are left out, the raw episodes are there."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """A row for each number under train/ that is meant for a log."""
        for key, value in sorted(key_values.items()):
            if key.startswith("train/") and "tensorboard" not in key_excluded[key] and np.ndim(value) == 0:
                self.rows.write({"t": "scalar", "step": step, "k": key, "v": float(value)})

    def close(self) -> None:
        """Nothing to close: the rows are not ours."""


class Evaluation:
    """Runs evaluation episodes in an environment and with random numbers of its own, so that training goes on as without.

    Atari's agents play whole games, wrapped as in training; what is recorded are the games' raw scores.
    """

    def __init__(self, spec: dict[str, Any], hyperparameters: Hyperparameters, seed: int) -> None:
        self.every, self.episodes, self.deterministic = (spec["evaluation"][key] for key in EVALUATION)
        self.env = vector_environment(spec, hyperparameters, [seed], train=False)
        self.monitor = monitors_of(self.env)[0]
        self.is_masked = hyperparameters.is_masked
        self.seed = seed
        self.next = self.every
        self.random: tuple[Any, ...] | None = None
        self.observation: Any = None
        self.state: Any = None
        self.begins = np.ones(1, dtype=bool)

    def run(self, model: BaseAlgorithm) -> Iterator[tuple[float, int]]:
        """The return and length of each evaluation episode."""
        while self.next <= model.num_timesteps:
            self.next += self.every
        training = library.random_state(model)
        if self.random is None:
            library.seed_afresh(model, self.seed)
            self.env.seed()
            self.observation = self.env.reset()
        else:
            library.set_random_state(model, self.random)
        self.normalize_as(model.get_vec_normalize_env())
        try:
            for _ in range(self.episodes):
                yield self.episode(model)
        finally:
            self.random = library.random_state(model)
            library.set_random_state(model, training)

    def normalize_as(self, training: VecNormalize | None) -> None:
        """Takes over training's statistics, for the first observation too, which was made before they were."""
        own = unwrap_vec_normalize(self.env)
        if training is None or own is None or not own.norm_obs:
            return
        own.obs_rms = training.obs_rms
        self.observation = own.normalize_obs(own.get_original_obs())
        if (stack := unwrap_vec_wrapper(self.env, VecFrameStack)) is not None:
            self.observation = stack.stacked_obs.reset(self.observation)

    def episode(self, model: BaseAlgorithm) -> tuple[float, int]:
        """The return and length of one episode; the next one has begun then."""
        returns, lengths = self.monitor.get_episode_rewards(), self.monitor.get_episode_lengths()
        before = len(returns)
        while len(returns) == before:
            words = {"state": self.state, "episode_start": self.begins, "deterministic": self.deterministic}
            if self.is_masked:
                words["action_masks"] = np.stack(self.env.env_method("action_masks"))
            action, self.state = model.predict(self.observation, **words)
            self.observation, _, self.begins, _ = self.env.step(action)
        return returns[-1], lengths[-1]


class Recorder(BaseCallback):
    """Writes a row for each finished episode, evaluates, and stops what has diverged.

    Episodes come from the Monitors rather than from ``infos``, which ARS does not hand to callbacks.
    """

    def __init__(self, rows: Rows, monitors: list[Monitor], evaluation: Evaluation | None) -> None:
        super().__init__()
        self.rows, self.monitors, self.evaluation = rows, monitors, evaluation
        self.episodes = 0
        self.returns = [monitor.get_episode_rewards() for monitor in monitors]  # lists that the Monitors append to
        self.written = [0] * len(monitors)
        self.next_check = CHECK_EVERY

    def _on_step(self) -> bool:
        for index, returns in enumerate(self.returns):
            while self.written[index] < len(returns):
                at = self.written[index]
                self.record("episode", returns[at], self.monitors[index].get_episode_lengths()[at])
                self.written[index] += 1
                self.episodes += 1
        if self.num_timesteps >= self.next_check:
            self.next_check = self.num_timesteps + CHECK_EVERY
            self.check()
        if self.evaluation is not None and self.num_timesteps >= self.evaluation.next:
            for episode, (total, length) in enumerate(self.evaluation.run(self.model)):
                self.record("eval", total, length, episode=episode)
        return True

    def record(self, kind: str, total: float, length: int, **more: int) -> None:
        """A row for an episode."""
        self.rows.write({"t": kind, "step": self.num_timesteps, "return": float(total), "length": int(length), **more})
        if not math.isfinite(total):
            raise Diverged(f"the return is {total} at step {self.num_timesteps}")

    def check(self) -> None:
        """Refuses weights and actions that are not finite; off-policy algorithms would train on without a word."""
        if not library.weights_are_finite(self.model):
            raise Diverged(f"a weight is not finite at step {self.num_timesteps}")
        actions = self.locals.get("actions")
        if actions is not None and not np.isfinite(torch.as_tensor(actions).cpu().numpy()).all():
            raise Diverged(f"an action is not finite at step {self.num_timesteps}")


# --- training ---------------------------------------------------------------------------------------------------------------


def train(spec: dict[str, Any], out: Path, resolve_only: bool) -> None:
    """Makes environment and model, records what they are, and trains.

    Raises:
        BadSpec: The request has no meaning.
        NoSuchEnvironment: The environment cannot be made.
        Diverged: A return, a weight or an action is not finite.
    """
    if why := library.prepare(spec["threads"], spec["device"]):
        raise BadSpec(why)
    hyperparameters = requested(spec["algo"], spec["hyperparameters"], defaults_for(spec["env"], spec["env_kwargs"]))
    seeds = seeds_of(spec["seed"], hyperparameters.n_envs)
    env = vector_environment(spec, hyperparameters, seeds["env"])
    model = make_model(spec, hyperparameters, env)
    write_json(out / "config.json", configuration(spec, model, hyperparameters, seeds))
    write_json(out / "env.json", environment_record(model.device))
    if resolve_only:
        return
    evaluation = Evaluation(spec, hyperparameters, seeds["eval"][0]) if spec["evaluation"] else None
    with (out / "metrics.jsonl").open("w", buffering=1, encoding="utf-8") as stream:
        rows = Rows(stream)
        model.set_logger(Logger(None, [Scalars(rows)]))
        recorder = Recorder(rows, monitors_of(env), evaluation)
        try:
            model.learn(spec["steps"], callback=recorder)
        except (Diverged, MemoryError):
            raise
        except gymnasium.error.DependencyNotInstalled as error:  # some environments look for what they draw with when they begin
            raise NoSuchEnvironment(f"{spec['env']} cannot be run: {one_line(error)}") from error
        except Exception as error:
            if not library.weights_are_finite(model) or re.search(r"\b(nan|inf)\b|invalid values", str(error), re.IGNORECASE):
                raise Diverged(f"diverged at step {model.num_timesteps}: {one_line(error)}") from error
            raise
        recorder.check()
    # What was really trained: Stable-Baselines3 finishes the rollout that it began, and so may train more than was asked.
    seconds = round(time.monotonic() - rows.start, 3)
    write_json(out / "done.json", {"steps": model.num_timesteps, "seconds": seconds, "episodes": recorder.episodes})


def main(description: str | None) -> None:
    """Reads the words and turns failures into exit codes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spec", type=Path, required=True, help="what to train, as JSON")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write to")
    parser.add_argument("--resolve", action="store_true", help="write config.json and env.json, and train nothing")
    words = parser.parse_args()
    code, message = 0, ""
    try:
        spec = read_spec(words.spec)
        words.out.mkdir(parents=True, exist_ok=True)
        train(spec, words.out, words.resolve)
    except BadSpec as error:
        code, message = 2, str(error)
    except NoSuchEnvironment as error:
        code, message = 3, str(error)
    except Diverged as error:
        code, message = 4, str(error)
    except (MemoryError, torch.OutOfMemoryError) as error:
        code, message = 5, f"out of memory: {one_line(error)}"
    except RuntimeError as error:  # torch's and JAX's allocators for the CPU have no class of their own
        if not re.search("allocate memory|not enough memory|RESOURCE_EXHAUSTED", str(error)):
            raise
        code, message = 5, f"out of memory: {one_line(error)}"
    if code:
        print(message, file=sys.stderr)
        raise SystemExit(code)
