"""How often the intervals of risk, mean profiles and efficiency curves hold the truth, on simulated studies.

    python benchmarks/measure_coverage.py [--studies 400] [--resamples 2000]

Aggregates, profiles of runs and the probability of improvement are in benchmarks/coverage.py. Each line is one design
(runs x environments, normal or skewed scores) and says, in percent of studies, how often the interval held the truth;
"whole curve, pointwise" is how often a pointwise band holds the whole curve, which it does not claim.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
from collections import defaultdict
from collections.abc import Callable

import numpy as np
from scipy import stats

from openrlb_analysis.efficiency import EfficiencyTables, efficiency_curve
from openrlb_analysis.estimates import Estimate
from openrlb_analysis.intervals import interval_method
from openrlb_analysis.profiles import mean_profile
from openrlb_analysis.risk import ALPHA, cvar, iqr

DESIGNS = ((3, 1), (5, 1), (10, 1), (5, 6), (10, 6), (5, 26), (10, 26))
POSITIONS = 30
LAWS: dict[str, stats.rv_continuous] = {"normal": stats.norm(), "skewed": stats.expon(loc=-1.0)}


def truth(law: stats.rv_continuous) -> dict[str, float]:
    """CVaR and IQR of a law, by its quantile function."""
    shares = (np.arange(200_000) + 0.5) / 200_000 * ALPHA
    return {"cvar": float(law.ppf(shares).mean()), "iqr": float(law.ppf(0.75) - law.ppf(0.25))}


TRUTH = {label: truth(law) for label, law in LAWS.items()}


def study(generator: np.random.Generator, label: str, runs: int, envs: int, resamples: int) -> dict[str, bool]:
    """One simulated study: which intervals hold the truth."""
    held: dict[str, bool] = {}
    law, expected, levels = LAWS[label], TRUTH[label], generator.normal(scale=0.7, size=envs)
    tasks = [law.rvs(size=runs, random_state=generator) for _ in range(envs)]
    measures: dict[str, Callable[..., Estimate]] = {"cvar": lambda given, how: cvar(given, ALPHA, how), "iqr": iqr}
    for name in ("calibrated", "percentile"):
        method = interval_method(name, 0.95, resamples, 0)
        for measure, function in measures.items():
            found = function(tasks, method)
            held[f"{measure} {name}"] = found.low <= expected[measure] <= found.high
        profile = mean_profile([one + level for one, level in zip(tasks, levels, strict=True)], np.array([0.05]), method)
        held[f"mean profile {name}"] = profile.low[0] - 1e-9 <= np.mean(levels > 0.05) <= profile.high[0] + 1e-9
    tables = []
    for _ in range(envs):  # a run's own luck, a walk, and noise at each position
        walk = law.rvs(size=(runs, POSITIONS), random_state=generator).cumsum(axis=1) / np.sqrt(POSITIONS)
        noise = law.rvs(size=(runs, POSITIONS), random_state=generator)
        tables.append(0.7 * law.rvs(size=(runs, 1), random_state=generator) + 0.7 * walk + 0.5 * noise)
    laid = EfficiencyTables(np.arange(1.0, POSITIONS + 1), tuple(tables), False, ())
    curve = efficiency_curve(laid, "mean", interval_method("calibrated", 0.95, resamples, 0))
    held["whole curve, simultaneous"] = bool(np.all((curve.band_low <= 0) & (curve.band_high >= 0)))
    held["whole curve, pointwise"] = bool(np.all((curve.low <= 0) & (curve.high >= 0)))
    held["area"] = curve.area.low is not None and curve.area.high is not None and curve.area.low <= 0 <= curve.area.high
    return held


def main() -> None:
    """Runs the studies and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--resamples", type=int, default=2_000)
    parser.add_argument("--only", default="", help="designs, as 5x1,10x26")
    options = parser.parse_args()
    error = 200 * np.sqrt(0.95 * 0.05 / options.studies)
    print(f"percent of {options.studies} studies that hold the truth, +-{error:.1f} points; {options.resamples} resamples")
    wanted = options.only.split(",") if options.only else [f"{runs}x{envs}" for runs, envs in DESIGNS]
    for runs, envs in (design for design in DESIGNS if f"{design[0]}x{design[1]}" in wanted):
        for label in LAWS:
            generator, held = np.random.default_rng([runs, envs]), defaultdict(list)
            for _ in range(options.studies):
                for name, good in study(generator, label, runs, envs, options.resamples).items():
                    held[name].append(good)
            shares = ", ".join(f"{name} {100 * np.mean(goods):.0f}" for name, goods in held.items())
            print(f"{runs} x {envs}, {label}: {shares}", flush=True)


if __name__ == "__main__":
    main()
