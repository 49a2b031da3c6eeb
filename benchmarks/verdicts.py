"""How often ``compare`` errs, and how often it finds what is there: simulated comparisons through the library's own rule.

``python benchmarks/verdicts.py`` prints, each with its Monte-Carlo error (one standard error):

- A/A: two groups of runs of one distribution; ``better`` or ``worse`` is false. One look at 5, 7 and 10 seeds; three looks
  at 5, 7 and 10 growing seeds, of which any false verdict counts, as they are and under ``--sequential``.
- Power: groups of 10 seeds whose true difference is twice the margin, the standard deviation being the margin.
- Equivalence: no difference at all, with a margin of two standard deviations.
- Several: any false verdict among all pairs of four equal groups, and, with a margin, among five comparisons of which four
  differ by just more than the margin.

The distributions are normal, skewed (lognormal), bimodal (a run fails with probability 0.3) and ceiling (a run reaches the
highest score there is with probability 0.6), one environment each; the statistic is the interquartile mean, intervals are
``compare``'s default.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from openrlb_analysis.comparison import UNKNOWN, Contest, Verdict, compare_contests, step_down
from openrlb_analysis.result import IntervalMethod
from openrlb_analysis.sequential import look_level

LOOKS = (5, 7, 10)
ALPHA = 0.05
LEVELS = {look: look_level(LOOKS[:look], ALPHA) for look in range(1, len(LOOKS) + 1)}
Draw = Callable[[np.random.Generator, int], np.ndarray]

DISTRIBUTIONS: dict[str, Draw] = {
    "normal": lambda rng, count: rng.normal(0.0, 1.0, count),
    "skewed": lambda rng, count: rng.lognormal(0.0, 1.0, count),
    "bimodal": lambda rng, count: np.where(rng.random(count) < 0.3, 0.0, 5.0) + rng.normal(0.0, 1.0, count),
    "ceiling": lambda rng, count: np.where(rng.random(count) < 0.6, 5.0, rng.uniform(1.0, 5.0, count)),
}


@dataclass(frozen=True)
class Rate:
    """How often something happened."""

    hits: int
    trials: int

    @property
    def share(self) -> float:
        """The share of trials."""
        return self.hits / self.trials

    @property
    def error(self) -> float:
        """Its Monte-Carlo standard error."""
        return math.sqrt(max(self.share * (1 - self.share), 1 / self.trials) / self.trials)

    def __str__(self) -> str:
        return f"{100 * self.share:.2f} % +- {100 * self.error:.2f}"


def verdict_of(first: np.ndarray, second: np.ndarray, alpha: float, resamples: int, margin: float | None = None) -> Verdict:
    """The verdict of one comparison, as ``compare`` gives it; without what stands beside it, which costs most of the time."""
    contest = Contest("A", "B", ("env",), (first,), (second,))

    def interval_at(_: int, share: float) -> tuple[tuple[float, float], float]:
        return contest.interval("iqm", IntervalMethod("calibrated", 1.0 - share, resamples, 0)) or UNKNOWN, 1.0 - share

    ((_, _, word),) = step_down(1, interval_at, margin, alpha)
    return word


def same(draw: Draw, count: int, resamples: int, seed: int = 0) -> dict[str, Rate]:
    """False verdicts about two equal groups: at each look alone, and at any of three."""
    rng = np.random.default_rng(seed)
    once = dict.fromkeys(LOOKS, 0)
    plain = spent = 0
    for _ in range(count):
        first, second = draw(rng, LOOKS[-1]), draw(rng, LOOKS[-1])
        false = [verdict_of(first[:n], second[:n], ALPHA, resamples) != "undecided" for n in LOOKS]
        for n, wrong in zip(LOOKS, false, strict=True):
            once[n] += wrong
        plain += any(false)
        spent += any(
            verdict_of(first[:n], second[:n], LEVELS[look], resamples) != "undecided" for look, n in enumerate(LOOKS, start=1)
        )
    rates = {f"{n} seeds, one look": Rate(hits, count) for n, hits in once.items()}
    return {**rates, "three looks, uncorrected": Rate(plain, count), "three looks, --sequential": Rate(spent, count)}


def found(draw: Draw, count: int, resamples: int, seeds: int = 10, seed: int = 0) -> dict[str, Rate]:
    """How often a difference of twice the margin is found, and how often none is shown to be within it."""
    rng = np.random.default_rng(seed)
    margin = float(draw(np.random.default_rng(1), 200_000).std())
    better = looks = equal = 0
    for _ in range(count):
        first, second = draw(rng, seeds) + 2.0 * margin, draw(rng, seeds)
        better += verdict_of(first, second, ALPHA, resamples, margin) == "better"
        words = [verdict_of(first[:n], second[:n], LEVELS[at], resamples, margin) for at, n in enumerate(LOOKS, start=1)]
        looks += "better" in words
        equal += verdict_of(first - 2.0 * margin, second, ALPHA, resamples, 2.0 * margin) == "equivalent"
    return {
        f"difference of 2 margins, {seeds} seeds: better": Rate(better, count),
        "the same within three looks, --sequential": Rate(looks, count),
        f"no difference, margin 2 sd, {seeds} seeds: equivalent": Rate(equal, count),
    }


def several(count: int, resamples: int, groups: int = 4, seed: int = 0) -> Rate:
    """Any false verdict among all pairs of equal groups of 10 normal runs, by Holm's step-down through the whole library."""
    rng = np.random.default_rng(seed)
    method, wrong = IntervalMethod("calibrated", 1 - ALPHA, resamples, 0), 0
    for _ in range(count):
        scores = [rng.normal(0.0, 1.0, 10) for _ in range(groups)]
        contests = [
            Contest(str(a), str(b), ("env",), (scores[a],), (scores[b],)) for a in range(groups) for b in range(a + 1, groups)
        ]
        wrong += any(one.verdict != "undecided" for one in compare_contests(contests, metric="iqm", method=method))
    return Rate(wrong, count)


def beside_a_margin(count: int, resamples: int, seed: int = 0) -> Rate:
    """Any false verdict among five comparisons with a margin: four just beyond it, and one of equal groups that vary more."""
    rng = np.random.default_rng(seed)
    method, wrong, margin, seeds = IntervalMethod("calibrated", 1 - ALPHA, resamples, 0), 0, 10.0, 10
    true = [margin * (1 + 1e-9)] * 4 + [0.0]
    for _ in range(count):
        spreads = [1.0] * 4 + [40.0]
        contests = [
            Contest("A", "B", (f"env{at}",), (rng.normal(gap, spread, seeds),), (rng.normal(0.0, spread, seeds),))
            for at, (gap, spread) in enumerate(zip(true, spreads, strict=True))
        ]
        words = [one.verdict for one in compare_contests(contests, metric="iqm", method=method, margin=margin)]
        wrong += "equivalent" in words[:4] or "worse" in words[:4] or words[4] in ("better", "worse")
    return Rate(wrong, count)


def main() -> None:
    """Prints the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument(
        "--resamples", type=int, default=5000, help="compare itself uses 50,000; the ends move by 1 %% of their sd"
    )
    parser.add_argument("--distributions", nargs="*", default=list(DISTRIBUTIONS), choices=list(DISTRIBUTIONS))
    options = parser.parse_args()
    for name in options.distributions:
        start = time.process_time()
        draw = DISTRIBUTIONS[name]
        rates = same(draw, options.simulations, options.resamples) | found(draw, options.simulations, options.resamples)
        print(f"{name}: {options.simulations} simulated comparisons ({time.process_time() - start:.0f} s of CPU)")
        for what, rate in rates.items():
            print(f"  {what:58} {rate}", flush=True)
    margin = beside_a_margin(options.simulations // 4, 1000)
    print(f"four of five comparisons just beyond the margin, one of equal groups: any false verdict {margin}")
    print(f"four equal groups of 10 normal runs, Holm over 6 pairs: any false verdict {several(options.simulations // 4, 1000)}")


if __name__ == "__main__":
    main()
