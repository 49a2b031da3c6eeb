"""Keeps the contract with openrlb, so that run.py holds only what trains. Standard library; yours to copy and to change.

    python run.py --spec spec.json --out DIR [--resolve]

In: spec.json. Out, in DIR: config.json (what is applied), env.json (what this process runs on), metrics.jsonl (a row for each
episode, evaluation episode and scalar, line by line) and, last and by rename, done.json. With --resolve the first two files are
written and nothing is trained. Exit codes: 0 done, 2 bad spec, 3 no such environment, 4 diverged, 5 out of memory; one sentence
on standard error says why.

run.py calls ``main({"name": (train, Hyperparameters)})``. ``train(task, hyperparameters)`` makes what it needs, calls
``task.begin()`` and trains until ``task.over``. What it refuses (``raise BadSpec("...")``), it refuses before ``begin``.
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
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, TextIO

REQUIRED = {"algo": str, "env": str, "seed": int, "steps": int}
OPTIONAL = {"format": 1, "env_kwargs": {}, "hyperparameters": {}, "evaluation": None, "threads": 1, "device": "cpu"}
EVALUATION = {"every": 10_000, "episodes": 10, "deterministic": True}
VARIABLES = (
    "OMP_NUM_THREADS MKL_NUM_THREADS OPENBLAS_NUM_THREADS PYTHONHASHSEED CUBLAS_WORKSPACE_CONFIG CUDA_VISIBLE_DEVICES"
    " MKL_CBWR MKL_DEBUG_CPU_TYPE ATEN_CPU_CAPABILITY MUJOCO_GL".split()
)


class BadSpec(Exception):  # noqa: N818
    """The request has no meaning."""

    code = 2


class NoSuchEnvironment(Exception):  # noqa: N818
    """The environment cannot be made."""

    code = 3


class Diverged(Exception):  # noqa: N818
    """A return or a weight is not finite."""

    code = 4


class _Resolved(Exception):  # noqa: N818
    """Nothing is to be trained."""


# --- what is asked for ------------------------------------------------------------------------------------------------------


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
        if key not in REQUIRED and key not in OPTIONAL:
            raise BadSpec(f"the spec has no entry {key}{nearest(key, (*REQUIRED, *OPTIONAL))}")
    spec = {**OPTIONAL, **given}
    for key, kind in (REQUIRED | {"env_kwargs": dict, "hyperparameters": dict, "threads": int}).items():
        if type(spec.get(key)) is not kind:
            raise BadSpec(f"{key} is {spec.get(key)!r}, but must be {in_words(kind)}")
    if spec["format"] != 1:
        raise BadSpec(f"the spec has format {spec['format']!r}, this runner reads format 1")
    if spec["algo"] not in algorithms:
        raise BadSpec(f"unknown algorithm {spec['algo']!r}{nearest(spec['algo'], algorithms)}")
    for key, least, most in (("seed", 0, 2**32 - 1), ("steps", 1, 10**12), ("threads", 1, 1024)):
        if not least <= spec[key] <= most:
            raise BadSpec(f"{key} is {spec[key]}, but must be from {least} to {most}")
    if spec["evaluation"] is not None:
        spec["evaluation"] = checked_evaluation(spec["evaluation"])
    return spec


def checked_evaluation(given: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    """How to evaluate, with defaults filled in."""
    if not isinstance(given, dict) or set(given) - set(EVALUATION):
        raise BadSpec(f"evaluation takes {', '.join(EVALUATION)}")
    evaluation = {**EVALUATION, **given}
    if any(type(evaluation[key]) is not int or evaluation[key] < 1 for key in ("every", "episodes")):
        raise BadSpec("evaluation takes whole numbers above 0: every, episodes")
    if not isinstance(evaluation["deterministic"], bool):
        raise BadSpec("evaluation deterministic must be true or false")
    return evaluation


def filled(cls: Any, given: Mapping[str, Any], algo: str) -> Any:  # noqa: ANN401 - a dataclass, and an instance of it
    """A dataclass of hyperparameters with what is requested over its defaults; a value must be of its default's kind.

    Raises:
        BadSpec: A name is unknown, or a value is of another kind.
    """
    defaults = {one.name: getattr(cls(), one.name) for one in dataclasses.fields(cls)}
    values = {}
    for name, value in given.items():
        if name not in defaults:
            raise BadSpec(f"{algo} has no hyperparameter {name}{nearest(name, defaults)}")
        kind, number = type(defaults[name]), type(value) in (int, float) and math.isfinite(value)
        if kind in (int, float) and number and (kind is float or float(value).is_integer()):
            values[name] = kind(value)  # 1 and 1.0 are one configuration
        elif type(value) is kind or (defaults[name] is None and not isinstance(value, dict)):
            values[name] = value
        else:
            raise BadSpec(f"{name} is {value!r}, but must be {in_words(kind)}")
    return cls(**values)


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: what may have been meant, or all there is."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3)
    return f"; did you mean {' or '.join(near)}?" if near else f"; there are: {', '.join(names)}"


def in_words(kind: type) -> str:
    """A kind of value as a sentence names it."""
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a word", list: "a list", dict: "an object"}
    return words.get(kind, kind.__name__)


# --- training ---------------------------------------------------------------------------------------------------------------


class Task:
    """One training run: what is asked for, and the records of it.

    Attributes:
        algo: The algorithm.
        env: The environment's id.
        env_kwargs: Its arguments.
        seed: The seed; ``random`` (and NumPy's and torch's global generators, where run.py imports them) begin with it.
        total: The agent steps to train for.
        steps: The agent steps done; environments from ``make_env`` count them.
        spec: The whole request.
    """

    def __init__(self, spec: dict[str, Any], out: Path, hyperparameters: Any, resolve_only: bool) -> None:  # noqa: ANN401
        self.spec, self.algo, self.env, self.env_kwargs = spec, spec["algo"], spec["env"], spec["env_kwargs"]
        self.seed, self.total, self.steps, self.episodes = spec["seed"], spec["steps"], 0, 0
        self.hyperparameters, self.out, self.resolve_only = hyperparameters, out, resolve_only
        self.seeds: dict[str, list[int]] = {"env": [], "eval": []}
        self.about: dict[str, Any] = {"wrappers": [], "frames_per_step": None, "environment": {}}
        self.act: Callable[[Any, bool], Any] | None = None
        self.stream: TextIO | None = None
        self.next_evaluation: float = math.inf
        self.applied_seed = apply_seed(self.seed, spec["threads"])

    @property
    def over(self) -> bool:
        """Whether all steps are done."""
        return self.steps >= self.total

    def derived_seed(self, purpose: str) -> int:
        """A further seed for ``env`` or ``eval``, noted in config.json; seed + 1 would be the next run's."""
        known = self.seeds[purpose]
        known.append(random.Random(f"{self.seed}/{purpose}/{len(known)}").getrandbits(32))  # noqa: S311
        return known[-1]

    def make_env(self) -> Any:  # noqa: ANN401 - a gymnasium.Env
        """A gymnasium environment that is seeded, counts its steps and records its episodes. Several may be made.

        Raises:
            NoSuchEnvironment: It is not known, takes other arguments, or what it needs is not installed.
        """
        env = self.plain_env()
        entry = env.spec.entry_point
        self.about = {
            "wrappers": wrappers_of(env),
            "frames_per_step": getattr(env.unwrapped, "frame_skip", None),
            "environment": {
                "entry_point": entry if isinstance(entry, str) else getattr(entry, "__qualname__", None),
                "max_episode_steps": env.spec.max_episode_steps,
                "observation_space": str(env.observation_space),
                "action_space": str(env.action_space),
            },
        }
        return recorded(env, self, self.derived_seed("env"))

    def plain_env(self) -> Any:  # noqa: ANN401
        """An environment that nobody counts."""
        import gymnasium

        try:
            return gymnasium.make(self.env, **self.env_kwargs)
        except (gymnasium.error.Error, ImportError, TypeError, ValueError) as error:
            raise NoSuchEnvironment(f"{self.env} cannot be made: {one_line(error)}") from error

    def begin(self, act: Callable[[Any, bool], Any] | None = None) -> None:
        """Writes down what is applied; from now on it trains.

        Args:
            act: The action for ``(observation, deterministic)``, for evaluation episodes. Let it draw no random numbers of the
                training's: a run that evaluates must train as one that does not.
        """
        if self.spec["evaluation"] and act is None:
            raise BadSpec(f"{self.algo} has no evaluation; leave it out")
        if self.spec["evaluation"]:
            self.act, self.next_evaluation = act, self.spec["evaluation"]["every"]
            self.evaluation_env, self.evaluation_seed = self.plain_env(), self.derived_seed("eval")
        write_json(self.out / "config.json", self.configuration())
        write_json(self.out / "env.json", environment_record())
        if self.resolve_only:
            raise _Resolved
        self.stream = (self.out / "metrics.jsonl").open("w", buffering=1, encoding="utf-8")
        self.start = time.monotonic()

    def configuration(self) -> dict[str, Any]:
        """What config.json says: everything that is applied."""
        same = {key: self.spec[key] for key in ("algo", "env", "env_kwargs", "steps", "evaluation", "threads", "device")}
        told = {"seed": self.applied_seed, "hyperparameters": dataclasses.asdict(self.hyperparameters), "seeds": self.seeds}
        return {**same, **told, "step_unit": "agent_step", **self.about}

    def step(self, count: int = 1) -> None:
        """Counts agent steps, and evaluates where it is due; environments from ``make_env`` do it by themselves."""
        self.steps += count
        if self.steps >= self.next_evaluation:
            self.evaluate()

    def episode(self, total: float, length: int | None = None) -> None:
        """Records the raw return of a training episode that has just ended."""
        self.episodes += 1
        self.row("episode", total, length)

    def scalar(self, name: str, value: float) -> None:
        """Records a number of the training itself, such as a loss."""
        self.write({"t": "scalar", "step": self.steps, "k": f"train/{name}", "v": float(value)})

    def check_finite(self, *arrays: Any) -> None:  # noqa: ANN401 - NumPy arrays, torch tensors, numbers
        """Refuses to go on with weights that are not finite; most algorithms would train on without a word.

        Raises:
            Diverged: One is not.
        """
        for array in arrays:
            module = sys.modules["torch"] if type(array).__module__.startswith("torch") else sys.modules.get("numpy", math)
            if not bool(module.isfinite(array) if module is math else module.isfinite(array).all()):
                raise Diverged(f"a weight is not finite at step {self.steps}")

    def evaluate(self) -> None:
        """Runs evaluation episodes in an environment of their own."""
        asked = self.spec["evaluation"]
        self.next_evaluation += asked["every"] * math.ceil((self.steps - self.next_evaluation + 1) / asked["every"])
        for episode in range(asked["episodes"]):
            observation, _ = self.evaluation_env.reset(seed=self.evaluation_seed)
            self.evaluation_seed = None  # the environment's generator goes on from here
            total, length, over = 0.0, 0, False
            while not over:
                action = self.act(observation, asked["deterministic"])  # type: ignore[misc] # evaluation needs it: see begin
                observation, reward, terminated, truncated, _ = self.evaluation_env.step(action)
                total, length, over = total + float(reward), length + 1, terminated or truncated
            self.row("eval", total, length, episode=episode)

    def row(self, kind: str, total: float, length: int | None, **more: int) -> None:
        """A row of an episode.

        Raises:
            Diverged: Its return is not finite.
        """
        known = {} if length is None else {"length": int(length)}
        self.write({"t": kind, "step": self.steps, "return": float(total), **known, **more})
        if not math.isfinite(total):
            raise Diverged(f"the return is {total} at step {self.steps}")

    def write(self, row: dict[str, Any]) -> None:
        """Adds a row; its time is in seconds since training began."""
        if self.stream is None:
            raise RuntimeError("task.begin() was not called")
        self.stream.write(json.dumps({**row, "time": round(time.monotonic() - self.start, 3)}) + "\n")


def recorded(env: Any, task: Task, seed: int) -> Any:  # noqa: ANN401 - gymnasium environments
    """An environment as ``train`` sees it: reset with its seed the first time, counted, its raw returns recorded."""
    import gymnasium

    class Recorded(gymnasium.Wrapper):  # type: ignore[type-arg]
        first: int | None = seed
        total, length = 0.0, 0

        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:  # noqa: ANN401
            self.first, seed = None, self.first if seed is None else seed
            self.total, self.length = 0.0, 0
            return self.env.reset(seed=seed, options=options)

        def step(self, action: Any) -> Any:  # noqa: ANN401
            result = self.env.step(action)
            self.total, self.length = self.total + float(result[1]), self.length + 1
            task.step()
            if result[2] or result[3]:
                task.episode(self.total, self.length)
            return result

    return Recorded(env)


def apply_seed(seed: int, threads: int) -> int:
    """Seeds the global generators of what is imported; returns the seed as torch tells it, where it does."""
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)
    if "torch" not in sys.modules:
        return seed
    torch = sys.modules["torch"]
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    return int(torch.initial_seed())


# --- the records ------------------------------------------------------------------------------------------------------------


def wrappers_of(env: Any) -> list[str]:  # noqa: ANN401
    """The names of an environment's wrappers, outermost first."""
    names = []
    while env is not env.unwrapped:
        names.append(type(env).__name__)
        env = env.env
    return names


def environment_record() -> dict[str, Any]:
    """What env.json says: enough to tell whether two runs can be bit-equal, and never a host or user name."""
    path, torch = Path("/proc/cpuinfo"), sys.modules.get("torch")
    about = path.read_text(encoding="utf-8", errors="replace").split("\n\n")[0] if path.exists() else ""  # one speaks for all
    cpu = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in about.splitlines())}
    flags = sorted(cpu.get("flags", cpu.get("Features", "")).split())
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": platform.system(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "cpu": cpu.get("model name", platform.processor() or None),
        "cpu_flags": hashlib.sha256(" ".join(flags).encode()).hexdigest() if flags else None,
        "gpu": torch.cuda.get_device_name() if torch and torch.cuda.is_available() else None,
        "torch": {"version": torch.__version__, "config": digest(torch.__config__.show())} if torch else None,
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "packages": sorted({f"{item.name}=={item.version}" for item in distributions()}, key=str.lower),
    }


def digest(text: str) -> str:
    """The sha256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def write_json(path: Path, value: object) -> None:
    """Puts a JSON file in place by rename, so that it is there whole or not at all."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    temporary.replace(path)


# --- from request to exit code ----------------------------------------------------------------------------------------------


def one_line(error: BaseException) -> str:
    """An error's words on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


def train(words: argparse.Namespace, algorithms: Mapping[str, tuple[Callable[[Task, Any], None], Any]]) -> None:
    """Reads the request, trains, and writes done.json."""
    spec = read_spec(words.spec, algorithms)
    function, cls = algorithms[spec["algo"]]
    words.out.mkdir(parents=True, exist_ok=True)
    task = Task(spec, words.out, filled(cls, spec["hyperparameters"], spec["algo"]), words.resolve)
    try:
        function(task, task.hyperparameters)
    except _Resolved:
        return
    if task.stream is None:
        raise RuntimeError("train() ended before task.begin()")
    task.stream.close()
    seconds = round(time.monotonic() - task.start, 3)
    write_json(words.out / "done.json", {"steps": task.steps, "seconds": seconds, "episodes": task.episodes})


def main(algorithms: Mapping[str, tuple[Callable[[Task, Any], None], Any]]) -> None:
    """Runs the algorithm that the spec names, and turns failures into exit codes.

    Args:
        algorithms: By name: the function that trains, and the dataclass of its hyperparameters.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spec", type=Path, required=True, help="what to train, as JSON")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write to")
    parser.add_argument("--resolve", action="store_true", help="write config.json and env.json, and train nothing")
    try:
        train(parser.parse_args(), algorithms)
    except (BadSpec, NoSuchEnvironment, Diverged, MemoryError) as error:
        print(str(error) or "out of memory", file=sys.stderr)
        raise SystemExit(getattr(error, "code", 5)) from None
