"""What our runners cost: a run's start through the warm server beside a process of its own, and tracking beside a bare script.

    python benchmarks/runners.py [--starts 10] [--rounds 3] [--ppo-steps 40000] [--sac-steps 3000] [--torch-source DIR]

Start: the wall time from handing a run to the launcher until it has ended, for a training of five steps, so that nearly all of it
is start and end. The first run of the warm server, which waits for its imports, is told apart.
Tracking: the processor time, children included, of the bare Stable-Baselines3 script and of the same training through
``openrlb_runners.worker.work``: the runner with its rows and records, the server, and the parent that tails and stores. The two
take turns, so that a busy machine slows both; the ratio of each round is taken, and the median of the ratios is printed.
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


def start_seconds(runner: PinnedRunner, request: TrainingRequest, store: Store, count: int) -> list[float]:
    """Wall seconds of runs, one after the other through one launcher."""
    (effective,) = resolve(runner, [request])
    found = []
    with LocalLauncher() as launcher:
        for number in range(count):
            item = WorkItem(runner, replace(request, seed=request.seed + number), effective, use_memo=False)
            folder = claim(store.layout, item, 1 + number)
            assert folder is not None
            began = time.perf_counter()
            launcher.submit(Job(str(number), runner, ("--spec", str(folder / SPEC), "--out", str(folder)), folder))
            while not launcher.state(str(number)).is_over:
                launcher.wait(1.0)
            found.append(time.perf_counter() - began)
            if launcher.state(str(number)).code != 0:
                sys.exit(f"the run failed: {(folder / 'stderr').read_text()}")
    return found


def processor_seconds() -> float:
    """What this process and its ended children have used."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in both)


def bare(python: Path, request: TrainingRequest) -> float:
    """Processor seconds of the bare script."""
    began = processor_seconds()
    words = [request.algo, request.env, str(request.seed), str(request.steps)]
    subprocess.run([str(python), "-c", BARE, *words], env=child_variables(1), check=True)
    return processor_seconds() - began


def tracked(item: WorkItem, store: Store) -> float:
    """Processor seconds of the same training, tracked and stored."""
    began = processor_seconds()
    source = One(item)
    work(source, workers=1, store=store)
    spent = processor_seconds() - began
    if source.outcome is None or source.outcome.state != "finished":
        sys.exit(f"the run failed: {source.outcome}")
    return spent


def overhead(runner: PinnedRunner, request: TrainingRequest, store: Store, rounds: int) -> None:
    """Prints the ratio of tracked to bare."""
    cold = replace(runner, fork=False)
    (effective,) = resolve(cold, [request])
    item = WorkItem(cold, request, effective, use_memo=False)
    pairs = []
    for number in range(rounds):
        turns = [lambda: bare(cold.python, request), lambda: tracked(item, store)]
        spent = [turn() for turn in turns] if number % 2 == 0 else [turn() for turn in reversed(turns)][::-1]
        pairs.append((spent[0], spent[1]))
    ratios = [ours / theirs for theirs, ours in pairs]
    told = ", ".join(f"{ours:.1f}/{theirs:.1f} s" for theirs, ours in pairs)
    name = f"{request.algo} {request.env} {request.steps:,} steps"
    print(f"{name:<34} tracked/bare processor time {statistics.median(ratios):.3f}   ({told})")


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
        warm = start_seconds(runner, tiny, store, words.starts + 1)
        cold = start_seconds(replace(runner, fork=False), replace(tiny, seed=10_001), store, words.starts)
        print(f"a run of five steps, median of {words.starts}")
        medians = statistics.median(warm[1:]), statistics.median(cold)
        print(f"  warm   {medians[0]:.3f} s   (slowest {max(warm[1:]):.3f} s; the first, with the imports, {warm[0]:.2f} s)")
        print(f"  cold   {medians[1]:.3f} s   {medians[1] / medians[0]:.1f} times as long")
        for request in (
            TrainingRequest("ppo", "CartPole-v1", 1, words.ppo_steps),
            TrainingRequest("sac", "Hopper-v5", 1, words.sac_steps),
        ):
            overhead(runner, request, store, words.rounds)


if __name__ == "__main__":
    main()
