"""A runner of a user's own that needs no packages: the template's contract.py around a walk on a line."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from openrlb.paths import asset
from openrlb_runners.spec import RunnerSpec, read_runner

RUN = """
import json.tool, math, random, sys, time
from dataclasses import dataclass
from contract import BadSpec, Diverged, NoSuchEnvironment, Task, main


@dataclass
class Hyperparameters:
    rate: float = 0.5
    every: int = 10


def train(task, hyperparameters):
    if not task.env.startswith("Line"):
        raise NoSuchEnvironment(task.env + " cannot be made")
    if hyperparameters.every < 1:
        raise BadSpec("every must be at least 1")
    numbers = random.Random(task.seed)
    task.begin()
    while not task.over:
        task.step(hyperparameters.every)
        value = numbers.random() * hyperparameters.rate
        task.check_finite(math.sinh(value) if value < 700 else math.inf)
        task.episode(value, hyperparameters.every)
        time.sleep(0.001 if task.total > 10**6 else 0)


main({"walk": (train, Hyperparameters)})
"""

MANIFEST = """
name = "{name}"
python = "{python}"
entry = "run.py"
algorithms = ["walk"]
preload = ["json"]
fork = true
torch = []
step_unit = "agent_step"

[metrics]
episode = "episodic_return"

[check]
algo = "walk"
env = "Line-v0"
steps = 100
diverging = {{ rate = 1e300 }}
"""


def write_own(folder: Path, name: str = "mine", changes: Iterable[tuple[str, str]] = (), lock: bool = True) -> RunnerSpec:
    """Writes it; each change replaces a text that one of its files has."""
    (folder / "lock").mkdir(parents=True)
    (folder / "lock" / "in.txt").write_text("# nothing\n")
    if lock:
        (folder / "lock" / "base.txt").write_text("# nothing\n")
    files = {"run.py": RUN, "runner.toml": MANIFEST.format(name=name, python=".".join(map(str, sys.version_info[:2])))}
    files["contract.py"] = (asset("runners", "template", "own") / "contract.py").read_text()
    for before, after in changes:
        assert sum(text.count(before) for text in files.values()) == 1, before
        files = {file: text.replace(before, after) for file, text in files.items()}
    for file, text in files.items():
        (folder / file).write_text(text)
    return read_runner(folder)
