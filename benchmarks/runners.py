"""What our runners cost: a run's start through the warm server beside a process of its own, and tracking beside a bare script.

    python benchmarks/runners.py [--starts 10] [--rounds 3] [--ppo-steps 40000] [--sac-steps 3000] [--torch-source DIR]

Start: the time from handing a run to the launcher until it has ended, for a training of five steps, so that nearly all of it is
start and end. Processor time stands beside the wall time, for other work on the machine stretches that much less. The first run
of the warm server, which waits for its imports, is told apart.

Tracking: the processor time, children included, of the bare Stable-Baselines3 script and of the same training through
``openrlb_runners.worker.work``: the runner with its rows and records, the server, and the parent that tails and stores. Both are
processes of their own that import everything; a training of hardly any steps is taken off each, so that steps are compared. The
two take turns, so that a busy machine slows both; the ratio of each round is taken, and the median of the ratios is printed.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from openrlb.store import Store
from openrlb_runners.environment import build, child_variables, default_variant
from openrlb_runners.launchers.local import LocalLauncher
from openrlb_runners.launchers.protocol import Job
from openrlb_runners.request import Outcome, PinnedRunner, TrainingRequest, WorkItem, pin
from openrlb_runners.resolve import resolve
from openrlb_runners.run_folder import SPEC, claim
from openrlb_runners.spec import find_runner
from openrlb_runners.worker import work

BARE = """
import sys, torch
torch.set_num_threads(1)
from stable_baselines3 import PPO, SAC
algo, env, seed, steps = sys.argv[1:]
{"ppo": PPO, "sac": SAC}[algo]("MlpPolicy", env, seed=int(seed), device="cpu").learn(int(steps))
"""


class One:
    """A work source of one item."""

    def __init__(self, item: WorkItem) -> None:
        self.items = [item]
        self.outcome: Outcome | None = None

    def take(self) -> WorkItem | None:
        """The item, once."""
        return self.items.pop() if self.items else None

    def finished(self, item: WorkItem, outcome: Outcome) -> None:
        """Keeps the outcome."""
        self.outcome = outcome


def starts(runner: PinnedRunner, request: TrainingRequest, store: Store, count: int) -> tuple[list[float], float]:
    """Wall seconds of runs, one after the other through one launcher, and processor seconds of each but the first on average."""
    (effective,) = resolve(runner, [request])
    walls, spent = [], [0.0]
    with LocalLauncher() as launcher:
        for number in range(count):
            item = WorkItem(runner, replace(request, seed=request.seed + number), effective, use_memo=False)
            folder = claim(store.layout, item, 1 + number)
            assert folder is not None
            began = time.perf_counter()
            launcher.submit(Job(str(number), runner, ("--spec", str(folder / SPEC), "--out", str(folder)), folder))
            while not launcher.state(str(number)).is_over:
                launcher.wait(1.0)
            walls.append(time.perf_counter() - began)
            spent.append(sum(one.children_user + one.children_system for one in served()))
            if launcher.state(str(number)).code != 0:
                sys.exit(f"the run failed: {(folder / 'stderr').read_text()}")
    return walls, (spent[-1] - spent[1]) / (count - 1)


def served() -> list[Any]:
    """The processor times of the warm processes; those of their ended runs are in them."""
    return [child.cpu_times() for child in psutil.Process().children()]


def processor_seconds(who: int = resource.RUSAGE_CHILDREN) -> float:
    """What this process's ended children have used, or the process itself."""
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def bare(python: Path, request: TrainingRequest) -> float:
    """Processor seconds of the bare script."""
    began = processor_seconds()
    words = [request.algo, request.env, str(request.seed), str(request.steps)]
    subprocess.run([str(python), "-c", BARE, *words], env=child_variables(1), check=True)
    return processor_seconds() - began


def tracked(runner: PinnedRunner, request: TrainingRequest, store: Store) -> tuple[float, float]:
    """Processor seconds of the same training, tracked and stored: of the runner and its server, and of the parent."""
    (effective,) = resolve(runner, [request])
    began, parent = processor_seconds(), processor_seconds(resource.RUSAGE_SELF)
    source = One(WorkItem(runner, request, effective, use_memo=False))
    work(source, workers=1, store=store)
    spent = processor_seconds() - began, processor_seconds(resource.RUSAGE_SELF) - parent
    if source.outcome is None or source.outcome.state != "finished":
        sys.exit(f"the run failed: {source.outcome}")
    return spent


def overhead(runner: PinnedRunner, request: TrainingRequest, store: Store, rounds: int, least: int) -> None:
    """Prints the ratio of tracked to bare, without what a training of ``least`` steps costs."""
    cold = replace(runner, fork=False)
    short = replace(request, steps=least)
    whole, inside, told = [], [], []
    for number in range(rounds):
        ours = theirs = parent = 0.0
        for name in ("bare", "tracked") if number % 2 == 0 else ("tracked", "bare"):
            if name == "bare":
                theirs = bare(cold.python, request) - bare(cold.python, short)
            else:
                long, none = tracked(cold, request, store), tracked(cold, short, store)
                ours, parent = long[0] - none[0], long[1] - none[1]
        whole.append((ours + parent) / theirs)
        inside.append(ours / theirs)
        told.append(f"{ours:.1f} + {parent:.1f} / {theirs:.1f} s")
    name = f"{request.algo} {request.env} {request.steps:,} steps"
    print(f"{name}: tracked/bare processor time {statistics.median(whole):.3f}, the runner alone {statistics.median(inside):.3f}")
    print(f"  runner + parent / bare: {'; '.join(told)}", flush=True)


def main() -> None:
    """Prints seconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ppo-steps", type=int, default=40_000)
    parser.add_argument("--sac-steps", type=int, default=3_000)
    parser.add_argument("--torch-source", default=None)
    words = parser.parse_args()
    spec = find_runner("sb3")
    environment = build(spec, default_variant(spec), torch_source=words.torch_source, say=print)
    runner = pin(spec, environment)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        tiny = TrainingRequest("a2c", "CartPole-v1", 1, 5)
        walls, spent = starts(runner, tiny, store, words.starts + 1)
        cold_walls, cold_spent = starts(replace(runner, fork=False), replace(tiny, seed=10_001), store, words.starts + 1)
        cold_walls, first = cold_walls[1:], walls.pop(0)
        warm, cold = statistics.median(walls), statistics.median(cold_walls)
        load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
        print(f"a run of five steps, median of {words.starts}; load {load} on {os.cpu_count()} processors")
        ends = f"slowest {max(walls):.3f} s; the first, with imports, {first:.2f} s"
        ratios = f"{cold / warm:.1f} and {cold_spent / spent:.1f} times as much"
        print(f"  warm  wall {warm:7.3f} s  processor {spent:6.3f} s   {ends}")
        print(f"  cold  wall {cold:7.3f} s  processor {cold_spent:6.3f} s   {ratios}")
        sys.stdout.flush()
        ppo, sac = (
            TrainingRequest("ppo", "CartPole-v1", 1, words.ppo_steps),
            TrainingRequest("sac", "Hopper-v5", 1, words.sac_steps),
        )
        overhead(runner, ppo, store, words.rounds, least=2048)
        overhead(runner, sac, store, words.rounds, least=101)


if __name__ == "__main__":
    main()
