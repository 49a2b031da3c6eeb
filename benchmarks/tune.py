"""What a study costs beside its runs: the wall time of ``openrlb tune`` over that of the same trainings in a bare loop.

    python benchmarks/tune.py [--rounds 3] [--steps 16384] [--budget 30] [--workers 2] [--torch-source DIR]

A study of short PPO runs on CartPole-v1 is trained as its own command with an empty store, from the first import to the printed
result. A bare Stable-Baselines3 script trains the same configurations with the same seeds, read from the study's ledger, on as
many processes, each of which imports once and takes the next run from one list: no rows, no records, no planning, and no run that
has to wait for another one's score. Both have the same processors. Processor time stands beside wall time, for other work on the
machine stretches the latter: the ratio is for a quiet machine, where nothing else runs.

Each round is study, loop, loop, study, and its ratio is that of the sums, so that a machine that becomes slower or faster all
along a round, as one that warms up does, counts for both alike. Which worker ends first may decide what the second study tries:
the ratio is for each run, and no hyperparameter in the space changes how long one takes.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measured import machine

from openrlb import paths
from openrlb_hpo.ledger import default_url, open_ledger
from openrlb_hpo.records import BASELINE, StudyRecord
from openrlb_runners.environment import build, child_variables, default_variant
from openrlb_runners.spec import find_runner

SPACE = """
[ppo]
learning_rate = { log = [1e-4, 1e-3] }
clip_range = { uniform = [0.1, 0.4] }
gamma = { uniform = [0.95, 0.999] }
gae_lambda = { uniform = [0.9, 1.0] }
"""
"""Nothing in it changes how long a run takes, so that rounds can be compared."""

BARE = """
import json, multiprocessing, sys

def begin():
    global PPO
    import torch
    torch.set_num_threads(1)
    from stable_baselines3 import PPO

def train(run):
    PPO("MlpPolicy", run["env"], seed=run["seed"], device="cpu", **run["hyperparameters"]).learn(run["steps"])

if __name__ == "__main__":
    workers, runs = int(sys.argv[1]), json.load(sys.stdin)
    with multiprocessing.get_context("fork").Pool(workers, begin) as pool:
        pool.map(train, runs, chunksize=1)
"""


@dataclass(frozen=True)
class Spent:
    """Seconds: what a clock on the wall shows, and processor time with all children."""

    wall: float
    processor: float


def timed(words: list[str], given: str = "", **variables: str) -> Spent:
    """Runs a command, which must succeed."""
    used, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(words, input=given, env={**child_variables(1), **variables}, capture_output=True, text=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(words[:4])} ... failed: {done.stderr[-2000:]}")
    return Spent(wall, after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime)


def joined(halves: Sequence[Spent]) -> Spent:
    """The sum of both halves."""
    return Spent(sum(half.wall for half in halves), sum(half.processor for half in halves))


def study(home: Path, number: int, options: argparse.Namespace) -> tuple[Spent, StudyRecord]:
    """A study in a home of its own, with the environments that are built already; equal numbers give equal studies."""
    home.mkdir()
    (home / "cache").symlink_to(paths.cache_dir())
    space = home / "short.toml"
    space.write_text(SPACE)
    sizes = {"steps": options.steps, "budget": options.budget, "workers": options.workers, "study-seed": number, "test-seeds": 5}
    words = [
        sys.executable,
        "-m",
        "openrlb",
        "tune",
        "ppo",
        "--env",
        "CartPole-v1",
        "--space",
        str(space),
        "--baseline",
        "default",
    ]
    for name, value in sizes.items():
        words += [f"--{name}", str(value)]
    spent = timed(words, OPENRLB_HOME=str(home))
    with open_ledger(default_url(home / "store")) as ledger:
        (record,) = ledger.studies()
    return spent, record


def trained(record: StudyRecord) -> list[dict[str, Any]]:
    """The trainings of a study, each once, in the order in which they were reserved."""
    runs = {}
    for row in record.reservations:
        if row.configuration.startswith(BASELINE):
            asked = next(one for one in record.settings.baselines if one.configuration == row.configuration).hyperparameters[
                row.env
            ]
        else:
            asked = record.trials[int(row.configuration.partition(":")[2])].hyperparameters
        runs.setdefault(
            row.run, {"env": row.env, "seed": row.seed, "steps": record.settings.steps, "hyperparameters": dict(asked)}
        )
    return list(runs.values())


def main() -> None:
    """Prints ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=16_384)
    parser.add_argument("--budget", type=int, default=30)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--torch-source", default=None)
    options = parser.parse_args()
    spec = find_runner("sb3")
    python = build(spec, default_variant(spec), torch_source=options.torch_source, say=print).python
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.workers])
    walls, processors = [], []
    print(f"{machine()}\n")
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            load = os.getloadavg()[0]
            first, record = study(Path(folder) / f"{number}a", number, options)
            runs = trained(record)
            theirs = joined([timed([str(python), "-c", BARE, str(options.workers)], json.dumps(runs)) for _ in range(2)])
            second, again = study(Path(folder) / f"{number}b", number, options)
            ours = joined((first, second))
            share = 2 * len(runs) / (len(runs) + len(trained(again)))
            walls.append(share * ours.wall / theirs.wall)
            processors.append(share * ours.processor / theirs.processor)
            trained_s = sum(row.seconds for half in (record, again) for row in half.reservations)
            busy = trained_s / (options.workers * ours.wall)
            per_run = theirs.wall * options.workers / (2 * len(runs))
            print(
                f"round {number + 1}: twice {len(runs)} runs of {options.steps:,} steps on {options.workers} processes,"
                f" load {load:.1f}"
            )
            print(f"  study     {ours.wall:7.1f} s, processor {ours.processor:7.1f} s; {100 * busy:.0f} % of it training")
            print(f"  bare loop {theirs.wall:7.1f} s, processor {theirs.processor:7.1f} s; {per_run:.1f} s a run")
            print(f"  ratio {walls[-1]:.3f}, of processor time {processors[-1]:.3f}")
            sys.stdout.flush()
    for name, ratios in (("wall time", walls), ("processor time", processors)):
        print(f"{name}, study / bare loop: median {statistics.median(ratios):.3f}, from {min(ratios):.3f} to {max(ratios):.3f}")


if __name__ == "__main__":
    main()
