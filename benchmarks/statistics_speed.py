"""Our statistics beside rliable's, in one process, on the same scores: how many times faster, and how far apart.

    python benchmarks/statistics_speed.py [--rounds 5] [--quick]

Both run on one thread, in turns, so that a busy machine slows both; processor time counts, and the median of the rounds'
ratios is printed. Resamples are equal, but rliable may run fewer and its time be scaled: its bootstrap is a plain loop,
and the line "linear" shows that two thousand repetitions cost twice as much as one thousand. The last column is the
largest distance between interval ends, in standard deviations of the bootstrap (profiles: in steps of their law): with
few repetitions of rliable it is rliable's own Monte-Carlo error.
(The name of this file is not statistics.py because that would hide the standard library's module from its neighbours.)
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from measured import machine

from openrlb_analysis.bootstrap import bootstrap, bootstrap_curve, bootstrap_curves, curve_draws
from openrlb_analysis.efficiency import EfficiencyTables, efficiency_curve
from openrlb_analysis.engine import rliable_curve, rliable_estimate, rliable_improvement, rliable_profile
from openrlb_analysis.estimates import estimate
from openrlb_analysis.improvement import improvement_draws, probability_of_improvement, wins
from openrlb_analysis.intervals import interval_method
from openrlb_analysis.profiles import performance_profile
from openrlb_analysis.result import IntervalMethod

NAMES = ("iqm", "mean", "median", "optimality-gap")
ENDS = (0.025, 0.975)


@dataclass(frozen=True)
class Case:
    """One comparison: both functions return interval ends, shape ``(2, k)``; ``aim`` is the ratio it shall have."""

    name: str
    aim: int
    resamples: int
    repetitions: int
    ours: Callable[[], np.ndarray]
    rliable: Callable[[], np.ndarray]
    unit: np.ndarray


def percentile(resamples: int) -> IntervalMethod:
    """Rliable's intervals, so that both sides do the same."""
    return interval_method("percentile", 0.95, resamples, 0)


def scores(runs: int, tasks: int, seed: int = 0) -> list[np.ndarray]:
    """Skewed scores, one array for each environment."""
    return list(np.random.default_rng(seed).gamma(2.0, 0.4, size=(runs, tasks)).T)


def aggregates(runs: int, tasks: int, resamples: int, repetitions: int) -> Case:
    """Four aggregates at once."""
    given = scores(runs, tasks)

    def ends(found: dict) -> np.ndarray:
        return np.array([[found[name].low for name in NAMES], [found[name].high for name in NAMES]])

    return Case(
        f"4 aggregates, {tasks} x {runs}",
        80,
        resamples,
        repetitions,
        lambda: ends(estimate(given, NAMES, percentile(resamples))),
        lambda: ends(rliable_estimate(given, NAMES, percentile(repetitions))),
        np.array([draws.std() for draws in bootstrap(given, NAMES, resamples=2_000).values()]),
    )


def curves(tasks: int, runs: int, frames: int, resamples: int, repetitions: int) -> Case:
    """The interquartile mean over environments along training; ours with whole runs drawn, and a band for the whole curve."""
    tables = [np.random.default_rng(env).normal(size=(runs, frames)).cumsum(axis=1) for env in range(tasks)]
    laid = EfficiencyTables(np.arange(1.0, frames + 1), tuple(tables), False, ())

    def ours() -> np.ndarray:
        found = efficiency_curve(laid, "iqm", percentile(resamples))
        return np.stack([found.low, found.high])

    return Case(
        f"iqm curve, {frames} positions, {tasks} x {runs}",
        120,
        resamples,
        repetitions,
        ours,
        lambda: np.stack(rliable_curve(tables, "iqm", percentile(repetitions))[1:]),
        bootstrap_curves(tables, "iqm", resamples=1_000).std(axis=1),
    )


def single_curve(runs: int, frames: int, resamples: int, repetitions: int) -> Case:
    """The interquartile mean of one environment's learning curve, position by position."""
    table = np.random.default_rng(1).normal(size=(runs, frames)).cumsum(axis=1)

    def ours() -> np.ndarray:
        curve_draws.__globals__["_rank_weights"].cache_clear()  # no round may profit from the one before
        return bootstrap_curve(table, "iqm", ENDS, resamples=resamples)

    return Case(
        f"iqm curve, {frames} positions, 1 x {runs}",
        120,
        resamples,
        repetitions,
        ours,
        lambda: np.stack(rliable_curve([table], "iqm", percentile(repetitions))[1:]),
        bootstrap_curves([table], "iqm", resamples=1_000).std(axis=1),
    )


def improvement(runs: int, tasks: int, resamples: int, repetitions: int) -> Case:
    """The probability of improvement of one pair of groups."""
    first, second = scores(runs, tasks), scores(runs, tasks, 1)

    def ends(found: object) -> np.ndarray:
        return np.array([[found.low], [found.high]])  # type: ignore[attr-defined]

    return Case(
        f"probability of improvement, {tasks} x {runs}",
        900,
        resamples,
        repetitions,
        lambda: ends(probability_of_improvement(first, second, percentile(resamples))),
        lambda: ends(rliable_improvement(first, second, percentile(repetitions))),
        improvement_draws(wins(first, second), resamples=2_000).std(keepdims=True),
    )


def profile(runs: int, tasks: int, taus: int, resamples: int, repetitions: int) -> Case:
    """A performance profile; ours is the exact law, whatever the number of resamples."""
    given, grid = scores(runs, tasks), np.linspace(0.0, 3.0, taus)

    def ends(found: object) -> np.ndarray:
        return np.stack([found.low, found.high])  # type: ignore[attr-defined]

    return Case(
        f"profile, {taus} tau, {tasks} x {runs}",
        300,
        resamples,
        repetitions,
        lambda: ends(performance_profile(given, grid, percentile(resamples))),
        lambda: ends(rliable_profile(given, grid, percentile(repetitions))),
        np.array([1.0 / (runs * tasks)]),
    )


def timed(function: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    """Processor seconds and the result."""
    begin = time.process_time()
    result = function()
    return time.process_time() - begin, result


def compare(case: Case, rounds: int) -> str:
    """One line of the table."""
    case.ours()  # tables that are looked up are made once for each process, and rliable imports what it needs
    case.rliable()
    pairs = [(timed(case.ours), timed(case.rliable)) for _ in range(rounds)]
    scale = case.resamples / case.repetitions
    ratio = statistics.median(theirs[0] * scale / ours[0] for ours, theirs in pairs)
    ours, theirs = (statistics.median(pair[side][0] for pair in pairs) for side in (0, 1))
    apart = float(np.max(np.abs(pairs[0][0][1] - pairs[0][1][1]) / case.unit))
    scaled = f"{case.repetitions} x {scale:g}"
    sides = f"{case.name:<42}{case.resamples:>8}{ours:>10.4f}{theirs * scale:>11.2f}{scaled:>13}"
    return f"{sides}{ratio:>8.0f}{case.aim:>6}{apart:>9.3f}"


def main() -> None:
    """Runs the comparisons and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions of rliable")
    options = parser.parse_args()
    less = 4 if options.quick else 1
    cases = [
        aggregates(10, 26, 50_000, 2_000 // less),
        aggregates(5, 57, 50_000, 2_000 // less),
        single_curve(10, 101, 50_000, 80 // less),
        curves(26, 10, 101, 50_000, 40 // less),
        improvement(10, 26, 50_000, 80 // less),
        improvement(10, 26, 2_000, 80 // less),
        profile(10, 26, 81, 2_000, 400 // less),
    ]
    print(f"{machine()}\n")
    print(f"processor seconds, one thread, median of {options.rounds} rounds in turns")
    print(f"{'case':<42}{'resamples':>8}{'openrlb':>9}{'rliable':>11}{'scaled':>13}{'times':>8}{'aim':>6}{'apart':>9}")
    for case in cases:
        print(compare(case, options.rounds), flush=True)
    given = scores(10, 26)
    once, twice = (
        statistics.median(timed(lambda reps=reps: rliable_estimate(given, NAMES, percentile(reps)))[0] for _ in range(3))  # type: ignore[misc]
        for reps in (1_000 // less, 2_000 // less)
    )
    print(f"linear: rliable's aggregates cost {twice / once:.2f} times as much at twice the repetitions")
    five = [scores(10, 26, seed) for seed in range(5)]
    whole = statistics.median(
        timed(lambda: np.array([one.low for group in five for one in estimate(group, NAMES, percentile(50_000)).values()]))[0]
        for _ in range(options.rounds)
    )
    print(f"4 aggregates of 5 groups, 26 x 10, 50000 resamples: {whole:.2f} s of processor time (aim: below 1)")


if __name__ == "__main__":
    main()
