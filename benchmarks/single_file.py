"""Steps per second of the single_file runner beside the sb3 runner, like for like, by algorithm and environment.

    python benchmarks/single_file.py [--rounds 3] [--only ppo,sac] [--torch-source DIR]

Both train in their own pinned environments, with the defaults of both, after it was checked that every hyperparameter that both
have is applied with the same value. One process each serves the whole benchmark, so that imports are not measured; the two take
turns, training by training, so that a busy machine slows both. Processor time is measured, of the whole training with its
environments, episodes' rows and records. Each round gives a ratio (SB3's time over ours: 2 is twice the steps per second); the
median of the ratios is printed with the least and the greatest, and the steps per second of processor time of the medians. About
five minutes on one core.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from openrlb_runners.environment import build, child_variables
from openrlb_runners.spec import find_runner

CELLS = (
    ("ppo", "CartPole-v1", 6144),
    ("ppo", "Pendulum-v1", 6144),
    ("ppo", "Hopper-v5", 6144),
    ("dqn", "CartPole-v1", 6000),
    ("sac", "Pendulum-v1", 300),
    ("sac", "Hopper-v5", 300),
    ("td3", "Pendulum-v1", 300),
    ("td3", "Hopper-v5", 300),
)
# Trains each spec whose folder it reads, and answers with the processor time; the two runners' functions have other signatures.
SERVE = """
import pathlib, sys, time
sys.path.insert(0, sys.argv[1])
{imports}
for line in sys.stdin:
    folder = pathlib.Path(line.strip())
    spec = {read}
    start = time.process_time()
    {train}
    print(time.process_time() - start, flush=True)
"""
SB3 = SERVE.format(imports="import run", read="run.read_spec(folder / 'spec.json')", train="run.train(spec, folder, False)")
OURS = SERVE.format(
    imports="import harness, dqn, ppo, sac, td3\nalgorithms = {'dqn': dqn.DQN, 'ppo': ppo.PPO, 'sac': sac.SAC, 'td3': td3.TD3}",
    read="harness.read_spec(folder / 'spec.json', algorithms)",
    train="harness.train(spec, folder, algorithms[spec['algo']], False)",
)


class Trainer:
    """A process that trains with one runner."""

    def __init__(self, name: str, script: str, torch_source: str | None, place: Path) -> None:
        spec = find_runner(name)
        environment = build(spec, "cpu", torch_source=torch_source)
        words = [environment.python, "-c", script, str(spec.folder)]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=child_variables(1))
        self.name, self.place, self.count = name, place, 0

    def train(self, algo: str, env: str, steps: int, seed: int) -> tuple[float, dict[str, Any]]:
        """The processor seconds of a training, and its effective hyperparameters."""
        self.count += 1
        folder = self.place / f"{self.name}-{self.count}"
        folder.mkdir()
        (folder / "spec.json").write_text(json.dumps({"algo": algo, "env": env, "steps": steps, "seed": seed}))
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{folder}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.name} broke while it trained {algo} on {env}")
        assert json.loads((folder / "done.json").read_text())["steps"] == steps
        return float(answer), json.loads((folder / "config.json").read_text())["hyperparameters"]


def check_alike(cell: str, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    """Ends the benchmark where a hyperparameter of ours has another value there; ``auto`` is there the number it stands for."""
    for name, value in ours.items():
        there = theirs.get(name, "nothing")
        if isinstance(value, dict) and isinstance(there, dict):
            there = {key: there.get(key) for key in value}
        if value not in (there, "auto"):
            raise SystemExit(f"{cell}: {name} is {value!r} here and {there!r} there: this would not be like for like")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="ppo,dqn,sac,td3", help="algorithms, separated by commas")
    parser.add_argument("--torch-source")
    words = parser.parse_args()
    cells = [cell for cell in CELLS if cell[0] in words.only.split(",")]
    with tempfile.TemporaryDirectory(prefix="openrlb-benchmark-") as folder:
        pair = [Trainer(name, script, words.torch_source, Path(folder)) for name, script in (("sb3", SB3), ("single_file", OURS))]
        for algo in dict.fromkeys(cell[0] for cell in cells):  # what only a first training loads
            env = next(cell[1] for cell in cells if cell[0] == algo)
            check_alike(algo, *(trainer.train(algo, env, {"ppo": 2048}.get(algo, 120), 0)[1] for trainer in pair))
        print(
            f"{'algorithm':<10}{'environment':<14}{'steps':>6}{'sb3 1/s':>10}{'ours 1/s':>10}{'ratio':>8}   least to greatest",
            flush=True,
        )
        for algo, env, steps in cells:
            seconds: list[list[float]] = [[], []]
            for number in range(words.rounds):
                for index in (0, 1) if number % 2 == 0 else (1, 0):
                    seconds[index].append(pair[index].train(algo, env, steps, number)[0])
            ratios = [theirs / ours for theirs, ours in zip(*seconds, strict=True)]
            rates = "".join(f"{steps / statistics.median(one):>10.0f}" for one in seconds)
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
            print(f"{algo:<10}{env:<14}{steps:>6}{rates}{statistics.median(ratios):>8.2f}   {spread}", flush=True)
        for trainer in pair:
            assert trainer.process.stdin
            trainer.process.stdin.close()
            trainer.process.wait(60)


if __name__ == "__main__":
    main()
