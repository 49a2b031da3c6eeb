"""A store shaped like Open RL Benchmark, of any number of runs, written as ``fetch`` writes: segments, then folds.

    python benchmarks/scale_store.py 2500 FOLDER

Runs lie in projects of 2,500: 25 environments x 10 seeds x 10 algorithms, the environment changing fastest, so that 250 runs are
one algorithm and every environment holds as many runs. A run has 20 metrics of 500 to 2,000 rows (two evaluations of 50) and 15
hardware series of 200 to 1,000, some 30,700 values in all; one in twenty crashed before its end. Values are noise of 32 bits, as
``loss.item()`` gives it (hardware series have two decimals), which compresses worse than what an agent logs. Equal numbers give
equal stores.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from openrlb.api.fetch import REMOTE_RUNS_PER_SEGMENT
from openrlb.store import Store
from openrlb.types import EPISODIC_RETURN, Metric, MetricBatch, Run, RunBatch, RunState

ENVS = (
    *("Ant-v4", "HalfCheetah-v4", "Hopper-v4", "Humanoid-v4", "Walker2d-v4", "Swimmer-v4", "Reacher-v4", "Pusher-v4"),
    *("CartPole-v1", "Acrobot-v1", "MountainCar-v0", "LunarLander-v2", "BipedalWalker-v3", "CarRacing-v2"),
    *(f"{game}NoFrameskip-v4" for game in ("Alien", "BeamRider", "Boxing", "Breakout", "Enduro", "Freeway", "Pong", "Qbert")),
    *("SeaquestNoFrameskip-v4", "SpaceInvadersNoFrameskip-v4", "MsPacmanNoFrameskip-v4"),
)
ALGOS = ("a2c", "ars", "c51", "ddpg", "dqn", "ppo", "qrdqn", "sac", "td3", "trpo")
SEEDS = 10
PER_PROJECT = len(ENVS) * SEEDS * len(ALGOS)
SCALARS = tuple(f"losses/quantity_{number}" for number in range(16))
SYSTEM = tuple(f"system/gpu.0.reading_{number}" for number in range(15))
RETURN = Metric("charts/episodic_return", "episode", EPISODIC_RETURN)
LENGTH = Metric("charts/episodic_length", "episode", "episode_length")
EVALUATIONS = (Metric("eval/mean_reward", "eval", EPISODIC_RETURN), Metric("eval/mean_ep_length", "eval"))
STEPS = 1_000_000
CRASHED_EVERY = 20
NOISE = np.random.default_rng(0).standard_normal(1 << 20).astype(np.float32).astype(np.float64)


def noise(rng: np.random.Generator, size: int) -> np.ndarray:
    """A piece of the noise: drawing 800 million numbers would take longer than storing them."""
    start = int(rng.integers(0, len(NOISE) - size))
    return NOISE[start : start + size]


def clock_of(rng: np.random.Generator, steps: np.ndarray) -> np.ndarray:
    """Milliseconds: a step takes some 3, now more, now less."""
    return np.maximum.accumulate(steps * 3 + (noise(rng, len(steps)) * 50).astype(np.int64)) + 200


def metrics_of(rng: np.random.Generator, level: float, share: float) -> Iterator[MetricBatch]:
    """What one run logged, up to some share of its steps: episodes as they ended, updates and readings at regular steps."""
    last = int(STEPS * share)

    def curve(steps: np.ndarray) -> np.ndarray:
        values = level * (1 - np.exp(-3 * steps / STEPS)) + level / 8 * noise(rng, len(steps))
        return values.astype(np.float32).astype(np.float64)

    def regular(fewest: int, most: int) -> tuple[np.ndarray, np.ndarray]:
        rows = int(rng.integers(fewest, most) * share) + 1
        steps = np.arange(1, rows + 1) * (last // rows)
        return steps, clock_of(rng, steps)

    gaps = rng.integers(1, 1000, int(rng.integers(500, 2000) * share) + 1)
    episodes = (np.cumsum(gaps) * (last / gaps.sum())).astype(np.int64)
    clock = clock_of(rng, episodes)
    yield MetricBatch(RETURN, episodes, curve(episodes), clock)
    yield MetricBatch(LENGTH, episodes, np.rint(np.abs(curve(episodes))), clock)
    evaluated = np.linspace(0, last, 50).astype(np.int64)
    for metric in EVALUATIONS:
        yield MetricBatch(metric, evaluated, curve(evaluated), clock_of(rng, evaluated))
    for group in (SCALARS[:8], SCALARS[8:]):
        updates, clock = regular(500, 2000)
        for name in group:
            yield MetricBatch(Metric(name), updates, noise(rng, len(updates)), clock)
    readings, clock = regular(200, 1000)
    for name in SYSTEM:
        yield MetricBatch(Metric(name, "system"), readings, np.round(np.abs(noise(rng, len(readings))) * 30, 2), clock)


def run_of(number: int) -> RunBatch:
    """One run, by its number."""
    project, place = divmod(number, PER_PROJECT)
    algo_number, rest = divmod(place, len(ENVS) * SEEDS)
    seed, env_number = divmod(rest, len(ENVS))
    rng, algo, env = np.random.default_rng(number), ALGOS[algo_number], ENVS[env_number]
    crashed = rng.integers(CRASHED_EVERY) == 0
    share = float(rng.uniform(0.2, 0.9)) if crashed else 1.0
    level = 100.0 * (1 + env_number) * (1 + 0.07 * algo_number + 0.02 * project) * float(rng.normal(1, 0.1))
    packages = [f"package-{index}=={index}.{(index * 7 + project + algo_number) % 11}.0" for index in range(120)]
    requirements = "\n".join(packages).encode()
    digest = hashlib.sha256(requirements).hexdigest()
    state: RunState = "crashed" if crashed else "finished"
    config = {
        "algo": algo,
        "env_id": env,
        "seed": seed,
        "exp_name": f"{algo}_{project}",
        "total_timesteps": STEPS,
        **{f"hyperparameter_{index}": round(0.001 * (index + 1) * (1 + algo_number), 6) for index in range(40)},
    }
    run = Run(
        source=f"wandb:lab{project}/benchmark", run=hashlib.sha256(str(number).encode()).hexdigest()[:8],
        project=f"lab{project}/benchmark", name=f"{env}__{algo}__{seed}__{number}", algo=algo, env=env, impl=f"lab{project}",
        seed=seed, state=state, config=config, tags=(f"v{project}.0", f"pr-{number % 40}"), step_unit="agent_step",
        git_commit=hashlib.sha256(f"{project}{algo}".encode()).hexdigest()[:40], requirements=digest,
        files={"requirements.txt": digest}, hardware={"cpu": "EPYC", "cores": 16, "gpu": "A6000", "python": "3.10.13"},
        created=f"2023-{1 + number % 12:02d}-{1 + number % 28:02d}T10:00:00+00:00",
    )  # fmt: skip
    return RunBatch(run, tuple(metrics_of(rng, level, share)), {"requirements.txt": requirements})


def write_runs(store: Store, first: int, count: int) -> int:
    """Writes runs into the spool, as many to a segment as a fetch puts there.

    Returns:
        How many values they hold.
    """
    values = 0
    for start in range(first, first + count, REMOTE_RUNS_PER_SEGMENT):
        batches = [run_of(number) for number in range(start, min(start + REMOTE_RUNS_PER_SEGMENT, first + count))]
        store.write(batches)
        values += sum(len(metric.steps) for batch in batches for metric in batch.metrics)
    return values


def main() -> None:
    """Makes a store, folding after each project, and says how long each took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=int)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    store = Store(options.folder)
    for first in range(0, options.runs, PER_PROJECT):
        began = time.process_time()
        values = write_runs(store, first, min(PER_PROJECT, options.runs - first))
        written = time.process_time()
        store.fold()
        folded = time.process_time() - written
        print(
            f"{first:>6} {values:>12,} values: written in {written - began:.1f} s, folded in {folded:.1f} s of processor time",
            file=sys.stderr, flush=True,
        )  # fmt: skip


if __name__ == "__main__":
    main()
