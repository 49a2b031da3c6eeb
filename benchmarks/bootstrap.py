"""Our bootstrap beside rliable's, in one process, on the same scores.

    python benchmarks/bootstrap.py [--resamples 50000] [--rliable-reps 500] [--rounds 3]

rliable runs fewer repetitions and its time is scaled linearly, which the table says. Both run on one thread, in turns,
so that a busy machine slows both; the median of the rounds is printed. The last column is the largest distance between
interval ends in standard deviations of the bootstrap: with few repetitions of rliable it is rliable's Monte-Carlo error.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from openrlb_analysis.bootstrap import bootstrap, bootstrap_curve

ENDS = (0.025, 0.975)
NAMES = ("iqm", "mean", "median", "optimality-gap")


@dataclass(frozen=True)
class Case:
    """One comparison: both functions return interval ends, shape ``(2, k)``."""

    name: str
    ours: Callable[[], np.ndarray]
    rliable: Callable[[], np.ndarray]
    spread: np.ndarray


def aggregates(runs: int, tasks: int, resamples: int, reps: int) -> Case:
    """Four aggregates at once over ``runs`` runs of ``tasks`` environments."""
    from rliable import library, metrics

    matrix = np.random.default_rng(0).gamma(2.0, 0.4, size=(runs, tasks))
    functions = (metrics.aggregate_iqm, metrics.aggregate_mean, metrics.aggregate_median, metrics.aggregate_optimality_gap)

    def ours() -> np.ndarray:
        draws = bootstrap(list(matrix.T), NAMES, resamples=resamples)
        return np.stack([np.quantile(draws[name], ENDS) for name in NAMES], axis=1)

    def theirs() -> np.ndarray:
        np.random.seed(0)
        scores = {"a": matrix}
        return library.get_interval_estimates(scores, lambda x: np.array([f(x) for f in functions]), reps=reps)[1]["a"]

    spread = np.array([draws.std() for draws in bootstrap(list(matrix.T), NAMES, resamples=2_000).values()])
    return Case(f"4 aggregates, {tasks} x {runs}", ours, theirs, spread)


def curve(runs: int, frames: int, resamples: int, reps: int) -> Case:
    """The interquartile mean of one environment's learning curves at each frame."""
    from rliable import library, metrics

    curves = np.random.default_rng(1).normal(size=(runs, frames)).cumsum(axis=1)

    def ours() -> np.ndarray:
        bootstrap_curve.__globals__["_rank_weights"].cache_clear()  # no round may profit from the one before
        return bootstrap_curve(curves, "iqm", ENDS, resamples=resamples)

    def theirs() -> np.ndarray:
        np.random.seed(0)
        frame = lambda x: np.array([metrics.aggregate_iqm(x[..., index]) for index in range(x.shape[-1])])  # noqa: E731
        return library.get_interval_estimates({"a": curves[:, None, :]}, frame, reps=reps)[1]["a"]

    spread = np.array([bootstrap([curves[:, index]], ["iqm"], resamples=2_000)["iqm"].std() for index in range(frames)])
    return Case(f"iqm curve, {frames} frames, 1 x {runs}", ours, theirs, spread)


def timed(function: Callable[[], np.ndarray]) -> tuple[float, float, np.ndarray]:
    """Processor seconds, wall seconds and the result."""
    processor, wall = time.process_time(), time.perf_counter()
    result = function()
    return time.process_time() - processor, time.perf_counter() - wall, result


def main() -> None:
    """Runs the comparison and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resamples", type=int, default=50_000)
    parser.add_argument("--rliable-reps", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    resamples, reps = options.resamples, options.rliable_reps
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = [aggregates(10, 26, resamples, reps), aggregates(5, 57, resamples, reps), curve(10, 101, resamples, reps)]
        print(f"{resamples} resamples; rliable measured at {reps}, times {resamples / reps:g}; median of {options.rounds} rounds")
        print(f"{'environments x runs':<28}{'openrlb cpu s':>14}{'rliable cpu s':>15}{'x cpu':>8}{'x wall':>8}{'apart, sd':>11}")
        for case in cases:
            rounds = [(timed(case.ours), timed(case.rliable)) for _ in range(options.rounds)]
            ours, theirs = (statistics.median(pair[side][0] for pair in rounds) for side in (0, 1))
            ours_wall, theirs_wall = (statistics.median(pair[side][1] for pair in rounds) for side in (0, 1))
            theirs, theirs_wall = theirs * resamples / reps, theirs_wall * resamples / reps
            apart = float(np.max(np.abs(rounds[0][0][2] - rounds[0][1][2]) / case.spread))
            ratios = f"{theirs / ours:>8.0f}{theirs_wall / ours_wall:>8.0f}"
            print(f"{case.name:<28}{ours:>14.3f}{theirs:>15.1f}{ratios}{apart:>11.3f}")


if __name__ == "__main__":
    main()
