"""Trains one Stable-Baselines3 or sb3-contrib agent: python run.py --spec spec.json --out DIR.

Imports nothing of openrlb; files are the seam. In: spec.json. Out: metrics.jsonl (line-buffered), config.json (what was
really applied), env.json (versions seen in here) and, last and by rename, done.json.
Exit codes: 0 done, 2 bad spec, 3 no such environment, 4 diverged, 5 out of memory.
"""

from __future__ import annotations

import argparse
import inspect
import json
import math
import os
import platform
import sys
import time
from importlib.metadata import distributions
from pathlib import Path

ALGORITHMS = {
    **dict.fromkeys(("a2c", "ddpg", "dqn", "ppo", "sac", "td3"), "stable_baselines3"),
    **dict.fromkeys(("ars", "crossq", "ppo_lstm", "qrdqn", "tqc", "trpo"), "sb3_contrib"),
}
CLASSES = {"ppo_lstm": "RecurrentPPO", "crossq": "CrossQ"}
POLICIES = {"ppo_lstm": "MlpLstmPolicy"}
MANAGED = {"self", "policy", "env", "seed", "device", "verbose", "tensorboard_log", "_init_setup_model"}


def fail(code: int, message: str) -> None:
    """Ends with a documented exit code and one sentence on standard error."""
    print(message, file=sys.stderr)
    raise SystemExit(code)


def write_json(path: Path, value: object) -> None:
    """Puts a JSON file in place by rename."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(value, indent=1, sort_keys=True, default=repr))
    temporary.replace(path)


def algorithm(name: str) -> type:
    """The class of an algorithm."""
    if name not in ALGORITHMS:
        fail(2, f"unknown algorithm {name!r}; known: {', '.join(sorted(ALGORITHMS))}")
    module = __import__(ALGORITHMS[name])
    return getattr(module, CLASSES.get(name, name.upper()))


def resolved(cls: type, given: dict) -> dict:
    """Every hyperparameter: the library's defaults, and what the spec sets."""
    defaults = {key: parameter.default for key, parameter in inspect.signature(cls.__init__).parameters.items()}
    unknown = sorted(set(given) - set(defaults) | set(given) & MANAGED)
    if unknown:
        fail(2, f"{cls.__name__} has no hyperparameter {', '.join(unknown)}")
    return {**{key: value for key, value in defaults.items() if key not in MANAGED}, **given}


def plain(seen: object, asked: object) -> object:
    """The value a model really holds where it is a plain one, else what was asked for (schedules become functions)."""
    return seen if isinstance(seen, int | float | str | bool) else asked


def make_env(spec: dict) -> object:
    """The environment, with raw episode returns counted inside any later wrapper."""
    import gymnasium
    from stable_baselines3.common.monitor import Monitor

    try:
        return Monitor(gymnasium.make(spec["env"], **spec.get("env_kwargs", {})))
    except (gymnasium.error.Error, ImportError, TypeError) as error:
        fail(3, f"{spec['env']}: {type(error).__name__}: {error}")


def recorder(rows: object, start: float) -> object:
    """A callback that writes a row for each finished training episode."""
    from stable_baselines3.common.callbacks import BaseCallback

    class Recorder(BaseCallback):
        def _on_step(self) -> bool:
            for info in self.locals.get("infos", ()):
                episode = info.get("episode")
                if episode:
                    row = {"t": "episode", "step": self.num_timesteps, "return": float(episode["r"]), "length": int(episode["l"])}
                    rows.write(json.dumps({**row, "time": round(time.monotonic() - start, 3)}) + "\n")
                    if not math.isfinite(row["return"]):
                        fail(4, f"the return is {row['return']} at step {row['step']}")
            return True

    return Recorder()


def train(spec: dict, out: Path) -> None:
    """Trains as the spec says and leaves the records of it."""
    import torch
    from stable_baselines3.common.logger import configure

    torch.set_num_threads(int(spec.get("threads", 1)))
    cls = algorithm(spec["algo"])
    hyperparameters = resolved(cls, spec.get("hyperparameters", {}))
    start = time.monotonic()
    with (out / "metrics.jsonl").open("w", buffering=1) as rows:
        env = make_env(spec)
        try:
            model = cls(
                POLICIES.get(spec["algo"], "MlpPolicy"),
                env,
                seed=int(spec["seed"]),
                device=spec.get("device", "cpu"),
                **spec.get("hyperparameters", {}),
            )
        except (AssertionError, TypeError, ValueError) as error:
            fail(2, f"{cls.__name__} on {spec['env']}: {error}")
        model.set_logger(configure(None, []))
        applied = {key: plain(getattr(model, key, value), value) for key, value in hyperparameters.items()}
        wrappers = str(env).replace(">", "").split("<")[1:-1]
        config = {"algo": spec["algo"], "env": spec["env"], "env_kwargs": spec.get("env_kwargs", {}), "seed": model.seed}
        config |= {"steps": spec["steps"], "hyperparameters": applied, "wrappers": wrappers, "threads": torch.get_num_threads()}
        write_json(out / "config.json", {**config, "device": str(model.device), "step_unit": "agent_step"})
        packages = sorted(f"{item.name}=={item.version}" for item in distributions())
        write_json(out / "env.json", {"python": platform.python_version(), "system": platform.platform(), "packages": packages})
        try:
            model.learn(int(spec["steps"]), callback=recorder(rows, start))
        except ValueError as error:  # torch's distributions refuse NaN before the weights are looked at
            if "nan" in str(error).lower():
                fail(4, f"diverged: {str(error).splitlines()[0]}")
            raise
        if not all(torch.isfinite(parameter).all() for parameter in model.policy.parameters()):
            fail(4, "a weight of the policy is not finite")
    write_json(out / "done.json", {"steps": model.num_timesteps, "seconds": round(time.monotonic() - start, 3)})


def main() -> None:
    """Reads the words and turns failures into exit codes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    words = parser.parse_args()
    try:
        spec = json.loads(words.spec.read_text())
        missing = [key for key in ("algo", "env", "seed", "steps") if key not in spec]
        if missing or int(spec["steps"]) <= 0:
            fail(2, f"the spec lacks {', '.join(missing)}" if missing else "steps must be above 0")
    except (OSError, ValueError, TypeError) as error:
        fail(2, f"the spec cannot be read: {error}")
    words.out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", str(spec.get("threads", 1)))
    try:
        train(spec, words.out)
    except MemoryError:
        fail(5, "out of memory")


if __name__ == "__main__":
    main()
