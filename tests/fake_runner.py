"""A runner of a few lines that speaks the contract, and misbehaves when its hyperparameters tell it to.

It is a folder like any other runner's, so that what trains it is what trains a real one; it needs no packages.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from openrlb_runners.request import PinnedRunner, TrainingRequest, WorkItem, pin
from openrlb_runners.spec import RunnerSpec, read_runner

MANIFEST = """
name = "{name}"
python = "3.11"
entry = "run.py"
algorithms = ["walk", "jump"]
preload = ["json"]
fork = {fork}
torch = []
step_unit = "agent_step"
[metrics]
episode = "episodic_return"
eval = "episodic_return"
"""

SCRIPT = """
import argparse, json, os, random, signal, sys, time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--spec")
parser.add_argument("--out")
parser.add_argument("--resolve", action="store_true")
words = parser.parse_args()
spec, out = json.loads(Path(words.spec).read_text()), Path(words.out)
DEFAULTS = {"rate": 0.5, "act": "none", "at": 0, "pause": 0.0, "every": 10, "net": {"arch": [8], "act": "tanh"}}


def fail(code, sentence):
    print(sentence, file=sys.stderr)
    sys.exit(code)


def put(name, value):
    (out / (name + ".tmp")).write_text(json.dumps(value))
    os.replace(out / (name + ".tmp"), out / name)


if spec["algo"] not in ("walk", "jump"):
    fail(2, "unknown algorithm " + spec["algo"])
if not spec["env"].startswith(("Line", "Plane")):
    fail(3, spec["env"] + " cannot be made")
if spec["algo"] == "jump" and spec["env"].startswith("Plane"):
    fail(2, "jump needs discrete actions")
unknown = [key for key in spec["hyperparameters"] if key not in DEFAULTS]
if unknown:
    fail(2, "walk has no hyperparameter " + unknown[0])
values = {**DEFAULTS, **spec["hyperparameters"]}
values["net"] = {**DEFAULTS["net"], **values["net"]}
act, at = values["act"], values["at"]
config = {key: spec[key] for key in ("algo", "env", "env_kwargs", "seed", "steps", "evaluation", "threads", "device")}
config |= {"hyperparameters": values, "wrappers": ["Count"], "step_unit": "agent_step", "frames_per_step": None}
config |= {"environment": {}, "seeds": {"env": [1], "eval": [2]}}
if act == "stubborn":
    config["hyperparameters"] = {**values, "rate": 0.25}
if not words.resolve:
    config["seed"] += act == "other seed"
    config["hyperparameters"] = {**config["hyperparameters"], **({"rate": 9} if act == "other rate" else {})}
put("config.json", config)
seen = {"python": sys.version.split()[0], "system": "test", "cpu": "test", "host": "a-secret-host", "packages": ["a==1"]}
put("env.json", seen)
if words.resolve:
    sys.exit(0)
if act == "garbage config":
    (out / "config.json").write_text("{")
rng, total, start = random.Random(spec["seed"]), 0.0, time.monotonic()
with (out / "metrics.jsonl").open("w", buffering=1) as rows:

    def row(**told):
        rows.write(json.dumps({**told, "time": round(time.monotonic() - start, 3)}) + "\\n")

    for step in range(values["every"], spec["steps"] + 1, values["every"]):
        total += rng.random() * values["rate"]
        row(t="episode", step=step, **{"return": total}, length=values["every"])
        evaluation = spec["evaluation"]
        if evaluation and step % evaluation["every"] == 0:
            for episode in range(evaluation["episodes"]):
                row(t="eval", step=step, **{"return": total + episode}, length=5, episode=episode)
        row(t="scalar", step=step, k="train/loss", v=float("nan") if step == 20 else 1.0 / step)
        if values["pause"]:
            time.sleep(values["pause"])
        if act == "none" or step < at:
            continue
        if act == "diverge":
            row(t="scalar", step=step, k="train/loss", v=float("nan"))
            fail(4, f"a weight is not finite at step {step}")
        elif act == "crash":
            raise ValueError("the env at " + str(Path.home() / "env.xml") + " fell over")
        elif act == "die":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif act == "die once":
            mark = Path(os.environ["TMPDIR"]) / ("died-%s" % spec["seed"])
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        elif act == "hang":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                time.sleep(0.05)
        elif act == "eat":
            held = [bytearray(30_000_000) for _ in range(10)]
            for one in held:
                one[::4096] = b"x" * len(one[::4096])
            time.sleep(60)
        elif act == "no memory":
            fail(5, "out of memory: asked for too much")
        elif act == "grandchild":
            if os.fork() == 0:
                (out / "pid.txt").write_text(str(os.getpid()))
                while True:
                    time.sleep(0.05)
            act = "hang"
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            while True:
                time.sleep(0.05)
        elif act == "talk":
            print("a warning of no weight", file=sys.stderr)
        elif act == "garbage":
            rows.write("no row\\n[1]\\n" + json.dumps({"t": "episode", "step": "x", "return": 1, "length": 1}) + "\\n")
            rows.write("{" + "x" * 100_000 + "\\n")
            rows.write(json.dumps({"t": "scalar", "step": step, "k": "", "v": 1}) + "\\n")
            os.write(1, b"\\xff\\x00" * 50)
            os.write(2, b"\\xff\\x00\\x1b[2J" * 2000)
        elif act == "leave":
            (out / "model.zip").write_text("weights")
        elif act == "quit":
            sys.exit(0)
        elif act == "code":
            sys.exit(values["net"]["arch"][0])
        act = "none" if act in ("talk", "garbage", "leave") else act
steps = spec["steps"] // 2 if act == "short" else spec["steps"]
if act != "no word":
    put("done.json", {"steps": steps, "seconds": time.monotonic() - start, "episodes": spec["steps"] // values["every"]})
"""


def write_runner(folder: Path, name: str = "fake", fork: bool = False, script: str = SCRIPT) -> RunnerSpec:
    """A runner folder with an empty lock."""
    (folder / "lock").mkdir(parents=True)
    (folder / "lock" / "base.txt").write_text("# nothing\n")
    (folder / "runner.toml").write_text(MANIFEST.format(name=name, fork=str(fork).lower()))
    (folder / "run.py").write_text(script)
    return read_runner(folder)


class ThisPython:
    """The environment of a runner that needs no packages: the Python that runs the tests."""

    name, variant, lock, size_bytes = "fake", "any", "0" * 64, 0
    python = Path(sys.executable)


def fake_runner(folder: Path, fork: bool = False) -> PinnedRunner:
    """The fake runner, ready to run under the tests' own Python."""
    return pin(write_runner(folder, fork=fork), ThisPython())  # type: ignore[arg-type]


def request(seed: int = 1, steps: int = 50, algo: str = "walk", env: str = "Line-v0", **hyperparameters: Any) -> TrainingRequest:
    """A request for the fake runner."""
    return TrainingRequest(algo, env, seed, steps, hyperparameters)


def item(runner: PinnedRunner, asked: TrainingRequest, **fields: Any) -> WorkItem:
    """A work item, resolved as the fake runner would."""
    defaults = {"rate": 0.5, "act": "none", "at": 0, "pause": 0.0, "every": 10}
    net = {"arch": [8], "act": "tanh", **asked.hyperparameters.get("net", {})}
    effective = {**asked.to_spec(), "hyperparameters": {**defaults, **asked.hyperparameters, "net": net}}
    return WorkItem(runner, asked, json.loads(json.dumps(effective)), **fields)
