"""What the algorithm files share: the request, the environments, the records and the exit codes. Nothing of it learns.

    python run.py --spec spec.json --out DIR [--resolve]

In: spec.json. Out, in DIR: config.json (what was applied), env.json (what this process runs on), metrics.jsonl (a row for each
episode, evaluation episode and scalar, line-buffered) and, last and by rename, done.json. With --resolve environments and agent
are made, the first two files are written, and nothing is trained. Exit codes: 0 done, 2 bad spec, 3 no such environment,
4 diverged, 5 out of memory; one sentence on standard error says why.

An algorithm is a class with HYPERPARAMETERS, a dataclass, ACTIONS, the kinds of action spaces that it can act in, and

    __init__(task, hyperparameters)               make networks, buffer and optimizer
    learn()                                       train until ``task.steps`` reaches ``task.total``
    act(observations, deterministic, random)      actions for [n, ...] observations; ``random`` is a NumPy Generator
    parameters                                    the tensors that must stay finite

It steps its environments with ``task.step``, which records episodes, evaluates and watches for divergence by itself.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import hashlib
import json
import math
import os
import platform
import random
import re
import sys
import time
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO

import gymnasium
import numpy as np
import torch

REQUIRED = ("algo", "env", "seed", "steps")
OPTIONAL = {"format": 1, "env_kwargs": {}, "hyperparameters": {}, "evaluation": None, "threads": 1, "device": "cpu"}
EVALUATION = {"every": 10_000, "episodes": 10, "deterministic": True}
LARGEST_SEED = 2**32 - 1  # NumPy's global generator takes no more
CHECK_EVERY = 1000  # agent steps between two looks at the weights
VARIABLES = (
    "OMP_NUM_THREADS MKL_NUM_THREADS OPENBLAS_NUM_THREADS PYTHONHASHSEED CUBLAS_WORKSPACE_CONFIG CUDA_VISIBLE_DEVICES"
    " MKL_CBWR MKL_DEBUG_CPU_TYPE ATEN_CPU_CAPABILITY MUJOCO_GL".split()
)

# What a hyperparameter may be; ``Annotated`` holds the least and the largest number, or the pattern of a word.
Count = Annotated[int, 1, math.inf]
Natural = Annotated[int, 0, math.inf]
Share = Annotated[float, 0, 1]
NotNegative = Annotated[float, 0, math.inf]
Linear = Annotated[str, r"lin_\d+(\.\d*)?([eE][-+]?\d+)?"]  # RL Zoo's word for a rate that falls linearly to 0
Rate = NotNegative | Linear
AutoCoefficient = Annotated[str, r"auto(_\d+(\.\d*)?([eE][-+]?\d+)?)?"]  # learned; "auto_0.1" begins at 0.1


class BadSpec(Exception):  # noqa: N818
    """The request has no meaning."""

    code = 2


class NoSuchEnvironment(Exception):  # noqa: N818
    """The environment cannot be made."""

    code = 3


class Diverged(Exception):  # noqa: N818
    """A return, a weight or an action is not finite."""

    code = 4


# --- the spec ---------------------------------------------------------------------------------------------------------------


def read_spec(path: Path, algorithms: Iterable[str]) -> dict[str, Any]:
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
    if str(spec["algo"]) not in algorithms:
        raise BadSpec(f"unknown algorithm {spec['algo']!r}{nearest(str(spec['algo']), algorithms)}")
    for key, least, most in (("seed", 0, LARGEST_SEED), ("steps", 1, 10**12), ("threads", 1, 1024)):
        spec[key] = checked(key, spec[key], Annotated[int, least, most])
    for key, kind in (("env", str), ("env_kwargs", dict), ("hyperparameters", dict)):
        if not isinstance(spec[key], kind):
            raise BadSpec(f"{key} is {spec[key]!r}, but must be {'a name' if kind is str else 'an object'}")
    if spec["device"] != "cpu":
        raise BadSpec(f"device is {spec['device']!r}, but this runner trains on the cpu: its networks are too small for a GPU")
    if spec["evaluation"] is not None:
        if not isinstance(spec["evaluation"], dict) or set(spec["evaluation"]) - set(EVALUATION):
            raise BadSpec(f"evaluation takes {', '.join(EVALUATION)}")
        given, kinds = {**EVALUATION, **spec["evaluation"]}, {"every": Count, "episodes": Count, "deterministic": bool}
        spec["evaluation"] = {key: checked(f"evaluation {key}", given[key], kinds[key]) for key in EVALUATION}
    return spec


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: what may have been meant, or all there is."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3)
    return f"; did you mean {' or '.join(near)}?" if near else f"; there are {', '.join(names)}"


# --- hyperparameters --------------------------------------------------------------------------------------------------------


def filled(cls: type, given: Mapping[str, Any], lacks: str) -> Any:  # noqa: ANN401 - an instance of cls
    """A dataclass of hyperparameters with what is requested over its defaults.

    Args:
        cls: The dataclass.
        given: What is requested, by name.
        lacks: How a sentence about an unknown name begins ("ppo has no hyperparameter").

    Raises:
        BadSpec: A name is unknown, or a value is of the wrong kind or out of its bounds.
    """
    kinds = typing.get_type_hints(cls, include_extras=True)
    for name in given:
        if name not in kinds:
            raise BadSpec(f"{lacks} {name}{nearest(name, kinds)}")
    return cls(**{name: checked(name, value, kinds[name]) for name, value in given.items()})


def checked(name: str, value: Any, kind: Any) -> Any:  # noqa: ANN401
    """A value in the type of its annotation, so that 1 and 1.0 are one configuration.

    Raises:
        BadSpec: It is of another kind.
    """
    for one in alternatives(kind):
        if dataclasses.is_dataclass(one) and isinstance(value, dict):
            return filled(typing.cast(type, one), value, f"{name} has no")
        origin, arguments = typing.get_origin(one) or one, typing.get_args(one)
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if origin is Annotated and arguments[0] is str:
            if isinstance(value, str) and re.fullmatch(arguments[1], value):
                return value
        elif origin is Annotated:
            if number and arguments[1] <= value <= arguments[2] and (arguments[0] is float or float(value).is_integer()):
                return arguments[0](value)
        elif origin is Literal:
            if value in arguments:
                return value
        elif origin is list and isinstance(value, list):
            return [checked(name, inner, arguments[0]) for inner in value]
        elif origin is dict and isinstance(value, dict):
            return {checked(name, key, arguments[0]): checked(name, inner, arguments[1]) for key, inner in value.items()}
        elif (origin is float and number) or (origin in (bool, types.NoneType) and isinstance(value, origin)):
            return float(value) if origin is float else value
    raise BadSpec(f"{name} is {value!r}, but must be {' or '.join(map(in_words, alternatives(kind)))}")


def alternatives(kind: Any) -> tuple[Any, ...]:  # noqa: ANN401
    """The members of a union, or the one kind itself."""
    return typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)


def in_words(kind: Any) -> str:  # noqa: ANN401
    """A kind of value as a sentence names it."""
    origin, arguments = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin is Annotated and arguments[0] is str:
        return {Linear: "lin_ and a number", AutoCoefficient: "auto, or auto_ and a number"}[kind]
    if origin is Annotated:
        number = "a whole number" if arguments[0] is int else "a number"
        return f"{number} from {arguments[1]}" + (f" to {arguments[2]}" if math.isfinite(arguments[2]) else "")
    if origin is Literal:
        return " or ".join(map(str, arguments))
    words = {bool: "true or false", float: "a number", list: "a list", types.NoneType: "null"}
    return words.get(origin, "an object")


def scheduled(rate: float | str, remaining: float) -> float:
    """A rate now: ``"lin_X"`` begins at X and falls linearly to 0 with what remains of training (1 to 0)."""
    return float(rate.removeprefix("lin_")) * remaining if isinstance(rate, str) else rate


# --- environments -----------------------------------------------------------------------------------------------------------


def make_environment(spec: Mapping[str, Any]) -> gymnasium.Env:
    """One environment as the spec says.

    Raises:
        NoSuchEnvironment: Gymnasium does not know it, it takes other arguments, or what it needs is not installed.
    """
    try:
        return gymnasium.make(spec["env"], **spec["env_kwargs"])
    except (gymnasium.error.Error, ImportError, TypeError, ValueError) as error:
        raise NoSuchEnvironment(f"{spec['env']} cannot be made: {one_line(error)}") from error


class Task:
    """What an agent is trained in: environments side by side, the count of steps, random numbers, and the records.

    Attributes:
        total: The agent steps to train for.
        steps: The agent steps done, over all environments.
        observations: What the environments show now, [n_envs, ...]; after an episode's end the next one's first.
        random: The generator that the agent's random numbers come from.
        observation_size: Numbers in an observation.
        action_space: The actions of one environment.
    """

    def __init__(self, spec: Mapping[str, Any], n_envs: int, needs: tuple[type[gymnasium.Space], ...]) -> None:
        training, evaluation, agent = np.random.SeedSequence(spec["seed"]).spawn(3)
        # Independent seeds: with seed + i, environments of neighbouring runs would be the same ones.
        self.seeds = {"env": training.generate_state(n_envs).tolist(), "eval": evaluation.generate_state(1).tolist()}
        random.seed(spec["seed"])
        np.random.seed(spec["seed"])  # for environments that draw from the global generators
        torch.manual_seed(spec["seed"])
        self.random = np.random.default_rng(agent)
        self.spec, self.total, self.steps, self.episodes = spec, int(spec["steps"]), 0, 0
        self.envs = [make_environment(spec) for _ in range(n_envs)]
        self.action_space = self.envs[0].action_space
        space = self.envs[0].observation_space
        if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
            raise BadSpec(f"{spec['algo']} needs a vector of numbers to observe, {spec['env']} has {space}")
        if not isinstance(self.action_space, needs) or getattr(self.action_space, "start", 0) != 0:
            kinds = " or ".join(one.__name__ for one in needs)
            raise BadSpec(f"{spec['algo']} needs {kinds} actions, {spec['env']} has {self.action_space}")
        self.observation_size = space.shape[0]
        self.observations = np.zeros((n_envs, *space.shape), space.dtype)
        self.returns, self.lengths = [0.0] * n_envs, [0] * n_envs

    @property
    def remaining(self) -> float:
        """What remains of training, from 1 to 0."""
        return max(0.0, 1.0 - self.steps / self.total)

    def begin(self, agent: Any, stream: TextIO) -> None:  # noqa: ANN401 - an algorithm's class
        """Resets the environments; from now on rows are written."""
        self.agent, self.stream, self.start = agent, stream, time.monotonic()
        self.evaluation = Evaluation(self.spec, self.seeds["eval"][0]) if self.spec["evaluation"] else None
        self.next_check = CHECK_EVERY
        self.next_look = min(self.next_check, self.evaluation.next if self.evaluation else self.next_check)
        for index, env in enumerate(self.envs):
            self.observations[index], _ = env.reset(seed=self.seeds["env"][index])

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Steps every environment, and begins the next episode where one has ended.

        Returns:
            What each action led to, [n_envs, ...] (the last observation of an episode that ended, while ``observations`` holds
            the next one's first), and the rewards, whether it was terminated, and whether it was truncated, [n_envs] each.

        Raises:
            Diverged: A return, a weight or an action is not finite.
        """
        n_envs = len(self.envs)
        successors, rewards = np.empty_like(self.observations), np.empty(n_envs)
        terminated, truncated = np.zeros(n_envs, bool), np.zeros(n_envs, bool)
        self.observations = successors
        self.steps += n_envs
        for index, env in enumerate(self.envs):
            successors[index], reward, terminal, cut, _ = env.step(actions[index])
            rewards[index] = reward
            self.returns[index] += float(reward)
            self.lengths[index] += 1
            if terminal or cut:
                terminated[index], truncated[index] = terminal, cut
                if self.observations is successors:
                    self.observations = successors.copy()
                self.end_episode(index)
        if n_envs > 1 and self.observations is not successors:  # environments after the one that ended
            over = terminated | truncated
            self.observations[~over] = successors[~over]
        if self.steps >= self.next_look:
            self.look(actions)
        return successors, rewards, terminated, truncated

    def end_episode(self, index: int) -> None:
        """Records an episode's raw return, and begins the next one."""
        total, length = self.returns[index], self.lengths[index]
        self.returns[index], self.lengths[index] = 0.0, 0
        self.episodes += 1
        self.observations[index], _ = self.envs[index].reset()
        self.write({"t": "episode", "step": self.steps, "return": total, "length": length})
        if not math.isfinite(total):
            raise Diverged(f"the return is {total} at step {self.steps}")

    def look(self, actions: np.ndarray) -> None:
        """Looks for divergence, and evaluates where it is due."""
        if self.steps >= self.next_check:
            self.next_check = self.steps + CHECK_EVERY
            self.check(actions)
        if self.evaluation is not None and self.steps >= self.evaluation.next:
            for episode, (total, length) in enumerate(self.evaluation.run(self.agent, self.steps)):
                self.write({"t": "eval", "step": self.steps, "return": total, "length": length, "episode": episode})
                if not math.isfinite(total):
                    raise Diverged(f"the return is {total} at step {self.steps}")
        self.next_look = min(self.next_check, self.evaluation.next if self.evaluation else self.next_check)

    def check(self, actions: np.ndarray | None = None) -> None:
        """Refuses weights and actions that are not finite; most algorithms would train on without a word."""
        if not finite(self.agent):
            raise Diverged(f"a weight is not finite at step {self.steps}")
        if actions is not None and not np.isfinite(actions).all():
            raise Diverged(f"an action is not finite at step {self.steps}")

    def scalars(self, values: Mapping[str, float]) -> None:
        """Records numbers of the training itself."""
        for name in sorted(values):
            self.write({"t": "scalar", "step": self.steps, "k": f"train/{name}", "v": float(values[name])})

    def write(self, row: dict[str, Any]) -> None:
        """Adds a row; its time is in seconds since training began."""
        row["time"] = round(time.monotonic() - self.start, 3)
        self.stream.write(json.dumps(row) + "\n")


def finite(agent: Any) -> bool:  # noqa: ANN401 - an algorithm's class
    """Whether every weight is finite."""
    return all(bool(torch.isfinite(parameter).all()) for parameter in agent.parameters)


class Evaluation:
    """Runs evaluation episodes in an environment and with random numbers of its own, so that training goes on as without."""

    def __init__(self, spec: Mapping[str, Any], seed: int) -> None:
        self.every, self.episodes, self.deterministic = (spec["evaluation"][key] for key in EVALUATION)
        self.env = make_environment(spec)
        self.seed: int | None = seed
        self.random = np.random.default_rng(seed)
        self.next = self.every

    def run(self, agent: Any, steps: int) -> Iterator[tuple[float, int]]:  # noqa: ANN401 - an algorithm's class
        """The return and length of each evaluation episode."""
        while self.next <= steps:
            self.next += self.every
        for _ in range(self.episodes):
            observation, _ = self.env.reset(seed=self.seed)
            self.seed = None  # the environment's generator goes on from here
            total, length, over = 0.0, 0, False
            while not over:
                action = agent.act(np.asarray(observation)[None], self.deterministic, self.random)[0]
                observation, reward, terminated, truncated, _ = self.env.step(action)
                total, length, over = total + float(reward), length + 1, terminated or truncated
            yield total, length


# --- the records ------------------------------------------------------------------------------------------------------------


def configuration(task: Task, hyperparameters: Any) -> dict[str, Any]:  # noqa: ANN401 - an algorithm's dataclass
    """What config.json says: everything that is applied."""
    env, spec = task.envs[0], task.spec
    about = env.spec
    entry = about.entry_point if about else None
    return {
        **{key: spec[key] for key in ("algo", "env", "env_kwargs", "steps", "evaluation")},
        "seed": torch.initial_seed(),
        "hyperparameters": dataclasses.asdict(hyperparameters),
        "wrappers": list(wrappers_of(env)),
        "threads": torch.get_num_threads(),
        "device": "cpu",
        "step_unit": "agent_step",
        "frames_per_step": getattr(env.unwrapped, "frame_skip", None),
        "environment": {
            "entry_point": entry if isinstance(entry, str) else getattr(entry, "__qualname__", None),
            "max_episode_steps": about.max_episode_steps if about else None,
            "observation_space": str(env.observation_space),
            "action_space": str(env.action_space),
        },
        "seeds": task.seeds,
    }


def wrappers_of(env: gymnasium.Env) -> Iterator[str]:
    """The names of an environment's wrappers, outermost first."""
    while isinstance(env, gymnasium.Wrapper):
        yield type(env).__name__
        env = env.env


def environment_record() -> dict[str, Any]:
    """What env.json says: enough to tell whether two runs can be bit-equal, and never a host or user name."""
    cpu, flags = processor()
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": platform.system(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "cpu": cpu,
        "cpu_flags": hashlib.sha256(" ".join(sorted(flags)).encode()).hexdigest() if flags else None,
        "gpu": None,
        "torch": {"version": torch.__version__, "config": hashlib.sha256(torch.__config__.show().encode()).hexdigest()},
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "packages": sorted({f"{item.name}=={item.version}" for item in distributions()}, key=str.lower),
    }


def processor() -> tuple[str | None, list[str]]:
    """The processor's model and its feature flags; flags are known on Linux only."""
    path = Path("/proc/cpuinfo")
    about = path.read_text(encoding="utf-8", errors="replace").split("\n\n")[0] if path.exists() else ""  # one speaks for all
    entries = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in about.splitlines())}
    return entries.get("model name", platform.processor() or None), entries.get("flags", entries.get("Features", "")).split()


def write_json(path: Path, value: object) -> None:
    """Puts a JSON file in place by rename, so that it is there whole or not at all."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    temporary.replace(path)


# --- from request to exit code ----------------------------------------------------------------------------------------------


def train(spec: dict[str, Any], out: Path, algorithm: Any, resolve_only: bool) -> None:  # noqa: ANN401 - an algorithm's class
    """Makes environments and agent, records what they are, and trains.

    Raises:
        BadSpec: The request has no meaning.
        NoSuchEnvironment: The environment cannot be made.
        Diverged: A return, a weight or an action is not finite.
    """
    torch.set_num_threads(spec["threads"])
    hyperparameters = filled(algorithm.HYPERPARAMETERS, spec["hyperparameters"], f"{spec['algo']} has no hyperparameter")
    task = Task(spec, hyperparameters.n_envs, algorithm.ACTIONS)
    agent = algorithm(task, hyperparameters)
    write_json(out / "config.json", configuration(task, hyperparameters))
    write_json(out / "env.json", environment_record())
    if resolve_only:
        return
    with (out / "metrics.jsonl").open("w", buffering=1, encoding="utf-8") as stream, np.errstate(all="ignore"):
        task.begin(agent, stream)
        try:
            agent.learn()
        except (Diverged, MemoryError):
            raise
        except Exception as error:
            if not finite(agent):
                raise Diverged(f"diverged at step {task.steps}: {one_line(error)}") from error
            raise
        task.check()
    # What was really trained: an algorithm finishes the rollout that it began, and so may train more than was asked.
    seconds = round(time.monotonic() - task.start, 3)
    write_json(out / "done.json", {"steps": task.steps, "seconds": seconds, "episodes": task.episodes})


def one_line(error: BaseException) -> str:
    """An error's words on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


def main(algorithms: Mapping[str, Any]) -> None:
    """Reads the words, runs the algorithm that the spec names, and turns failures into exit codes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spec", type=Path, required=True, help="what to train, as JSON")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write to")
    parser.add_argument("--resolve", action="store_true", help="write config.json and env.json, and train nothing")
    words = parser.parse_args()
    code, message = 0, ""
    try:
        spec = read_spec(words.spec, algorithms)
        words.out.mkdir(parents=True, exist_ok=True)
        train(spec, words.out, algorithms[spec["algo"]], words.resolve)
    except (BadSpec, NoSuchEnvironment, Diverged) as error:
        code, message = error.code, str(error)
    except (MemoryError, RuntimeError) as error:  # torch's allocator for the CPU has no class of its own
        no_memory = re.search(r"allocate memory|not enough memory|array is too big|Maximum allowed dimension", str(error))
        if not isinstance(error, MemoryError) and not no_memory:
            raise
        code, message = 5, f"out of memory: {one_line(error)}"
    if code:
        print(message, file=sys.stderr)
        raise SystemExit(code)
