"""Trains one Stable-Baselines3 or sb3-contrib agent: python run.py --spec spec.json --out DIR [--resolve].

Imports nothing of openrlb; files are the seam. In: spec.json. Out, in DIR: config.json (what was really applied, read back
from the model), env.json (what this process runs on), metrics.jsonl (a row for each episode, evaluation episode and scalar,
line-buffered) and, last and by rename, done.json. With --resolve the model is made, the first two files are written, and
nothing is trained. hyperparameters.py beside this file says which hyperparameters there are; records.py fills env.json.

Exit codes: 0 done, 2 bad spec, 3 no such environment, 4 diverged, 5 out of memory; one sentence on standard error says why.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import gymnasium
import numpy as np
import torch
from hyperparameters import ALGORITHMS, BadSpec, Hyperparameters, applied, nearest, requested
from records import environment_record, write_json
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper, VecNormalize

REQUIRED = ("algo", "env", "seed", "steps")
OPTIONAL = {"format": 1, "env_kwargs": {}, "hyperparameters": {}, "evaluation": None, "threads": 1, "device": "cpu"}
EVALUATION = {"every": 10_000, "episodes": 10, "deterministic": True}
LARGEST_SEED = 2**32 - 1  # NumPy's global generator takes no more
CHECK_EVERY = 1000  # agent steps between two looks at the weights


class NoSuchEnvironment(Exception):  # noqa: N818
    """The environment cannot be made; exit code 3."""


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
    if not isinstance(spec["env"], str) or not re.fullmatch(r"cpu|cuda(:\d+)?", str(spec["device"])):
        raise BadSpec(f"env is {spec['env']!r} and device {spec['device']!r}; a name and cpu or cuda are needed")
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


# --- environments -----------------------------------------------------------------------------------------------------------


def make_environment(spec: dict[str, Any]) -> gymnasium.Env:
    """One environment as the spec says.

    Raises:
        NoSuchEnvironment: Gymnasium does not know it, it takes other arguments, or what it needs is not installed.
    """
    try:
        return gymnasium.make(spec["env"], **spec["env_kwargs"])
    except (gymnasium.error.Error, ImportError, TypeError, ValueError) as error:
        raise NoSuchEnvironment(f"{spec['env']} cannot be made: {one_line(error)}") from error


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


def training_environment(spec: dict[str, Any], hyperparameters: Hyperparameters, seeds: list[int]) -> VecEnv:
    """The vector environment to train in; Monitor lies inside VecNormalize, so that it sees raw rewards."""
    env: VecEnv = SeededVecEnv([lambda: Monitor(make_environment(spec))] * hyperparameters.n_envs, seeds)
    if hyperparameters.normalize is not None:
        env = VecNormalize(env, **hyperparameters.normalize)
    return env


def base_of(env: VecEnv) -> DummyVecEnv:
    """The vector environment inside its wrappers."""
    while isinstance(env, VecEnvWrapper):
        env = env.venv
    return env


def wrappers_of(env: VecEnv) -> Iterator[str]:
    """The names of all wrappers, outermost first."""
    layer: Any = env
    while layer is not None:
        if not isinstance(layer, gymnasium.Wrapper | VecEnv):
            return
        yield "DummyVecEnv" if isinstance(layer, SeededVecEnv) else type(layer).__name__
        layer = layer.envs[0] if isinstance(layer, DummyVecEnv) else getattr(layer, "venv", None) or getattr(layer, "env", None)


# --- the model and its configuration ----------------------------------------------------------------------------------------


def make_model(spec: dict[str, Any], hyperparameters: Hyperparameters, env: VecEnv) -> BaseAlgorithm:
    """The model, which logs nowhere yet.

    Raises:
        BadSpec: The algorithm does not fit the environment, or a hyperparameter has no meaning.
    """
    cls = ALGORITHMS[spec["algo"]]
    if spec["algo"] == "ars" and env.num_envs > 1:
        raise BadSpec("ars takes n_envs = 1 only: with more, sb3-contrib counts its steps several times")
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


def configuration(spec: dict[str, Any], model: BaseAlgorithm, effective: dict[str, Any], seeds: dict[str, Any]) -> dict[str, Any]:
    """What config.json says: everything that was applied, read back where it can be."""
    inner = base_of(model.get_env()).envs[0]
    about = inner.spec
    entry = about.entry_point
    return {
        **{key: spec[key] for key in ("algo", "env", "env_kwargs", "steps", "evaluation")},
        "seed": torch.initial_seed(),
        "hyperparameters": effective,
        "wrappers": list(wrappers_of(model.get_env())),
        "threads": torch.get_num_threads(),
        "device": str(model.device),
        "step_unit": "agent_step",
        "frames_per_step": getattr(inner.unwrapped, "frame_skip", None),
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
    """Runs evaluation episodes in an environment and with random numbers of its own, so that training goes on as without."""

    def __init__(self, spec: dict[str, Any], seed: int) -> None:
        self.every, self.episodes, self.deterministic = (spec["evaluation"][key] for key in EVALUATION)
        self.env = make_environment(spec)
        self.seed: int | None = seed
        self.next = self.every
        self.random: tuple[Any, ...] | None = None

    def run(self, model: BaseAlgorithm) -> Iterator[tuple[float, int]]:
        """The return and length of each evaluation episode."""
        while self.next <= model.num_timesteps:
            self.next += self.every
        training = random_state(model)
        if self.random is None:
            random.seed(self.seed)
            np.random.seed(self.seed)
            torch.manual_seed(self.seed)
            model.action_space.seed(self.seed)
        else:
            set_random_state(model, self.random)
        try:
            for _ in range(self.episodes):
                yield self.episode(model)
        finally:
            self.random = random_state(model)
            set_random_state(model, training)

    def episode(self, model: BaseAlgorithm) -> tuple[float, int]:
        """The return and length of one episode; VecNormalize's statistics are used, not changed."""
        normalize = model.get_vec_normalize_env()
        observation, _ = self.env.reset(seed=self.seed)
        self.seed = None  # the environment's generator goes on from here
        state, begins, total, length, over = None, np.ones(1, dtype=bool), 0.0, 0, False
        while not over:
            seen = np.asarray(observation, dtype=self.env.observation_space.dtype)[None]
            seen = seen if normalize is None else normalize.normalize_obs(seen)
            action, state = model.predict(seen, state=state, episode_start=begins, deterministic=self.deterministic)
            observation, reward, terminated, truncated, _ = self.env.step(action[0])
            begins[0] = False
            total, length, over = total + float(reward), length + 1, terminated or truncated
        return total, length


def random_state(model: BaseAlgorithm) -> tuple[Any, ...]:
    """The state of every random generator that training draws from."""
    on_gpu = torch.cuda.get_rng_state(model.device) if model.device.type == "cuda" else None
    actions = model.action_space.np_random.bit_generator.state
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), on_gpu, actions


def set_random_state(model: BaseAlgorithm, state: tuple[Any, ...]) -> None:
    """Puts every random generator back."""
    random.setstate(state[0])
    np.random.set_state(state[1])
    torch.set_rng_state(state[2])
    if state[3] is not None:
        torch.cuda.set_rng_state(state[3], model.device)
    model.action_space.np_random.bit_generator.state = state[4]


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
        if not finite_weights(self.model):
            raise Diverged(f"a weight is not finite at step {self.num_timesteps}")
        actions = self.locals.get("actions")
        if actions is not None and not np.isfinite(torch.as_tensor(actions).cpu().numpy()).all():
            raise Diverged(f"an action is not finite at step {self.num_timesteps}")


def finite_weights(model: BaseAlgorithm) -> bool:
    """Whether every parameter of the policy is finite."""
    return all(bool(torch.isfinite(parameter).all()) for parameter in model.policy.parameters())


# --- training ---------------------------------------------------------------------------------------------------------------


def train(spec: dict[str, Any], out: Path, resolve_only: bool) -> None:
    """Makes environment and model, records what they are, and trains.

    Raises:
        BadSpec: The request has no meaning.
        NoSuchEnvironment: The environment cannot be made.
        Diverged: A return, a weight or an action is not finite.
    """
    prepare_torch(spec)
    hyperparameters = requested(spec["algo"], spec["hyperparameters"])
    seeds = seeds_of(spec["seed"], hyperparameters.n_envs)
    env = training_environment(spec, hyperparameters, seeds["env"])
    model = make_model(spec, hyperparameters, env)
    write_json(out / "config.json", configuration(spec, model, applied(model, hyperparameters), seeds))
    write_json(out / "env.json", environment_record(model.device))
    if resolve_only:
        return
    evaluation = Evaluation(spec, seeds["eval"][0]) if spec["evaluation"] else None
    with (out / "metrics.jsonl").open("w", buffering=1, encoding="utf-8") as stream:
        rows = Rows(stream)
        model.set_logger(Logger(None, [Scalars(rows)]))
        recorder = Recorder(rows, base_of(env).envs, evaluation)
        try:
            model.learn(spec["steps"], callback=recorder)
        except (Diverged, MemoryError):
            raise
        except Exception as error:
            if not finite_weights(model) or re.search(r"\b(nan|inf)\b|invalid values", str(error), re.IGNORECASE):
                raise Diverged(f"diverged at step {model.num_timesteps}: {one_line(error)}") from error
            raise
        recorder.check()
    # What was really trained: Stable-Baselines3 finishes the rollout that it began, and so may train more than was asked.
    seconds = round(time.monotonic() - rows.start, 3)
    write_json(out / "done.json", {"steps": model.num_timesteps, "seconds": seconds, "episodes": recorder.episodes})


def prepare_torch(spec: dict[str, Any]) -> None:
    """Threads, and determinism where a GPU would not give it."""
    torch.set_num_threads(spec["threads"])
    if spec["device"] == "cpu":
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if not torch.cuda.is_available():
        raise BadSpec(f"device is {spec['device']}, but this environment's torch sees no CUDA device")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def one_line(error: BaseException) -> str:
    """An error's words on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


def main() -> None:
    """Reads the words and turns failures into exit codes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
    except RuntimeError as error:  # torch's allocator for the CPU has no class of its own
        if "allocate memory" not in str(error) and "not enough memory" not in str(error):
            raise
        code, message = 5, f"out of memory: {one_line(error)}"
    if code:
        print(message, file=sys.stderr)
        raise SystemExit(code)


if __name__ == "__main__":
    main()
