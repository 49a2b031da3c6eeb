"""How often the intervals cover the truth, and how wide they are: simulated studies of known populations.

    nice -n 10 python benchmarks/coverage.py --data FOLDER --results coverage.jsonl --report docs/coverage.md

A cell is a statistic, a population, a number of environments and of seeds. Its result is one line of the results file;
a cell that is there is not run again, so that the study goes on where it stopped, and a statistic added to STATISTICS
costs only itself. Simulations come in chunks of 100 that share the environments' arrangement and the bootstrap's draws;
a spread arrangement is drawn anew for each chunk, so that no cell hangs on one placing of its environments. Intervals
come from the functions that openrlb ships. One core: the whole study takes about half an hour of it.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from coverage_populations import CLASSES, Arrangement, Population, populations

from openrlb_analysis.bootstrap import Statistic, draw_runs
from openrlb_analysis.bounded import (
    ceiling_gap,
    clopper_pearson,
    difference_of,
    fraction_ends,
    improvement_ends,
    mean_of,
    newcombe_ends,
    unseen_share,
    wilson,
)
from openrlb_analysis.calibration import (
    Spread,
    bca_probabilities,
    calibrated_ends,
    contributions,
    shown_shares,
    spread,
    student_ends,
)
from openrlb_analysis.intervals import aggregate_bounds

LEVEL = 0.95
TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
CHUNK = 100
AGGREGATES = ("iqm", "mean", "median", "optimality-gap")
THRESHOLD = 0.9
MOST_CAPPED = 6  # at a ceiling more environments show nothing new
SMALL = 40  # up to so many runs all simulations of a chunk are sorted in one call

Ends = dict[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Group:
    """A chunk's simulated runs of one group, and its resamples.

    Attributes:
        arrangement: Where the environments lie.
        scores: Shape ``(simulations, runs)``, environment by environment.
        sizes: Runs in each environment.
        drawn: Which runs each resample holds, shape ``(resamples, runs)``.
        counts: How often, shape ``(resamples, runs)``.
        known: What statistics of the group have been computed, by name, so that a difference need not do it again.
    """

    arrangement: Arrangement
    scores: np.ndarray
    sizes: tuple[int, ...]
    drawn: np.ndarray
    counts: np.ndarray
    known: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=dict)

    def weights(self) -> np.ndarray:
        """What each run weighs in a mean over environments."""
        return np.repeat(1.0 / (np.array(self.sizes) * len(self.sizes)), self.sizes)

    def slices(self) -> list[slice]:
        """Where each environment's runs stand."""
        ends = np.cumsum(self.sizes)
        return [slice(end - size, end) for end, size in zip(ends.tolist(), self.sizes, strict=True)]


@dataclass(frozen=True)
class Cell:
    """One cell's name."""

    statistic: str
    population: str
    tasks: int
    arrangement: str
    seeds: str


@dataclass
class Tally:
    """What became of one method's intervals."""

    below: int = 0
    above: int = 0
    points: int = 0
    width: float = 0.0

    def add(self, low: np.ndarray, high: np.ndarray, truth: float) -> None:
        """Counts a chunk; ``below`` means that the truth lies below the interval."""
        slack = 1e-9 * max(1.0, abs(truth))  # a fraction's end at the truth itself covers it, but for rounding
        self.below += int((truth < low - slack).sum())
        self.above += int((truth > high + slack).sum())
        self.points += int((high - low < 1e-12).sum())
        self.width += float((high - low).sum())


def sizes_of(seeds: str, tasks: int, second: bool = False) -> tuple[int, ...]:
    """Runs in each environment; mixed: 3 and 10 in turns, the second group the other way round."""
    if seeds != "3|10":
        return (int(seeds),) * tasks
    return tuple((3, 10)[(index + second) % 2] for index in range(tasks))


def simulate(arrangement: Arrangement, sizes: tuple[int, ...], resamples: int, generator: np.random.Generator) -> Group:
    """A chunk of one group."""
    scores = arrangement.sample(sizes, CHUNK, generator)
    drawn = np.concatenate(list(draw_runs(sizes, resamples, int(generator.integers(2**31))))).astype(np.intp)
    flat = (drawn + np.arange(resamples)[:, None] * drawn.shape[1]).ravel()
    counts = np.bincount(flat, minlength=drawn.size).reshape(drawn.shape).astype(np.float64)
    return Group(arrangement, scores, sizes, drawn, counts)


def known_of(name: str, group: Group) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The aggregate of each simulation, of its resamples, and the runs' contributions to it."""
    if name not in group.known:
        group.known[name] = (*values_of(name, group), contributions(name, group.scores, group.sizes))
    return group.known[name]


def values_of(name: str, group: Group) -> tuple[np.ndarray, np.ndarray]:
    """The aggregate of each simulation, shape ``(simulations,)``, and of its resamples, ``(simulations, resamples)``."""
    if name == "iqm":
        return _iqm(group)
    if name == "median":
        whole = np.ones((1, group.scores.shape[1]))
        estimate, draws = (np.median(_task_means(group, counts), axis=-1) for counts in (whole, group.counts))
        return estimate[:, 0], draws
    scores = np.minimum(group.scores, 1.0) if name == "optimality-gap" else group.scores
    estimate, draws = scores @ group.weights(), scores @ (group.counts * group.weights()).T
    return (1.0 - estimate, 1.0 - draws) if name == "optimality-gap" else (estimate, draws)


def _task_means(group: Group, counts: np.ndarray) -> np.ndarray:
    """Means of each environment's runs, shape ``(simulations, len(counts), environments)``."""
    return np.stack([group.scores[:, part] @ (counts[:, part].T / counts[:1, part].sum()) for part in group.slices()], axis=-1)


def _iqm(group: Group) -> tuple[np.ndarray, np.ndarray]:
    """The interquartile mean, through the shipped code but for small full tables, which tests hold to it."""
    runs = group.scores.shape[1]
    if len(set(group.sizes)) == 1 and runs <= SMALL:
        kept = slice(runs // 4, runs - runs // 4)
        estimate = np.sort(group.scores, axis=-1)[:, kept].mean(axis=-1)
        return estimate, np.sort(group.scores[:, group.drawn], axis=-1)[..., kept].mean(axis=-1)
    whole = np.arange(runs)[None, :]
    estimate, draws = np.empty(len(group.scores)), np.empty((len(group.scores), len(group.drawn)))
    for index, scores in enumerate(group.scores):
        statistic = Statistic("iqm", [scores[part] for part in group.slices()])
        estimate[index], draws[index] = statistic.of(whole)[0], statistic.of(group.drawn)
    return estimate, draws


def methods(estimate: np.ndarray, draws: np.ndarray, found: Spread, fewest: int, student: Spread) -> Ends:
    """Every method's ends, as :func:`openrlb_analysis.intervals.interval_of` has them for one simulation."""
    outside = (1.0 - LEVEL) / 2.0
    draws = np.sort(draws, axis=1)
    low, high = _quantile(draws, np.full(len(draws), outside)), _quantile(draws, np.full(len(draws), 1.0 - outside))
    slack = 1e-9 * (draws[:, -1:] - draws[:, :1])
    apart = draws - estimate[:, None]
    share = (apart < -slack).mean(axis=1) + 0.5 * (np.abs(apart) <= slack).mean(axis=1)
    moved = bca_probabilities(share, found.acceleration, LEVEL)
    usable = np.isfinite(moved[0]) & np.isfinite(moved[1]) & (fewest >= 4)
    bca = [_quantile(draws, np.where(usable, to, plain)) for to, plain in zip(moved, (outside, 1.0 - outside), strict=True)]
    return {
        "percentile": (low, high),
        "basic": (2 * estimate - high, 2 * estimate - low),
        "bca": (bca[0], bca[1]),
        "calibrated": calibrated_ends(estimate, draws.mean(axis=1), low, high, found, LEVEL),
        "t": student_ends(estimate, student, LEVEL),
    }


def _quantile(ordered: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Each row's quantile at its own probability, interpolated linearly."""
    place = probability * (ordered.shape[1] - 1)
    below = np.floor(place).astype(np.intp)
    rows = np.arange(len(ordered))
    low, high = ordered[rows, below], ordered[rows, np.minimum(below + 1, ordered.shape[1] - 1)]
    return np.asarray(low + (high - low) * (place - below))


def welch(found: Spread, contributed: np.ndarray, sizes: tuple[int, ...], free: np.ndarray) -> Spread:
    """The spread with Welch and Satterthwaite's own degrees of freedom, for the t interval that widths are measured by."""
    ends = np.cumsum(sizes)
    parts = [contributed[:, end - size : end] for end, size in zip(ends, sizes, strict=True)]
    variances = np.stack([part.var(axis=-1, ddof=1) / part.shape[-1] for part in parts], axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        degrees = variances.sum(axis=-1) ** 2 / (variances**2 / free).sum(axis=-1)
    return Spread(found.error, found.resampled, degrees, found.skewness, found.acceleration)


def free_of(name: str, group: Group, contributed: np.ndarray) -> np.ndarray:
    """Each environment's degrees of freedom: runs less one; of a trimmed mean kept runs less one (Tukey and McLaughlin)."""
    if name != "iqm":
        return np.broadcast_to(np.array(group.sizes) - 1.0, (len(group.scores), len(group.sizes)))
    least, most = contributed.min(axis=-1, keepdims=True), contributed.max(axis=-1, keepdims=True)
    low = np.where(contributed == least, group.scores, -np.inf).max(axis=-1, keepdims=True)
    high = np.where(contributed == most, group.scores, np.inf).min(axis=-1, keepdims=True)
    kept = (group.scores >= low) & (group.scores <= high)
    return np.stack([np.maximum(kept[:, part].sum(axis=-1) - 1.0, 1.0) for part in group.slices()], axis=-1)


def aggregate(name: str) -> Callable[[Group, Group], tuple[float, Ends]]:
    """One aggregate of the first group."""

    def run(group: Group, _: Group) -> tuple[float, Ends]:
        """A chunk: the truth and every method's ends."""
        estimate, draws, contributed = known_of(name, group)
        found = spread(contributed, group.sizes, shown_shares(name, group.sizes))
        student = welch(found, contributed, group.sizes, free_of(name, group, contributed))
        ends = methods(estimate, draws, found, min(group.sizes), student)
        if name == "optimality-gap":
            low, high = ends["calibrated"]
            full = (group.scores >= 1.0).all(axis=1)
            ends["calibrated"] = np.maximum(low, 0.0), np.where(full, ceiling_gap(group.sizes, LEVEL), high)
        if group.arrangement.bounds is not None:
            ends["bounded"] = bounded(name, group, estimate, ends["calibrated"], group.arrangement.bounds)
        return group.arrangement.truth(name), ends

    return run


def bounded(name: str, group: Group, estimate: np.ndarray, ends: Any, bounds: tuple[float, float]) -> Any:  # noqa: ANN401
    """The calibrated ends where the bounds are known, as :func:`openrlb_analysis.intervals.in_bounds` has them."""
    least, most = aggregate_bounds(name, bounds)
    share, one = unseen_share(name, group.sizes, LEVEL), one_score(group)
    low, high = np.clip(ends[0], least, most), np.clip(ends[1], least, most)
    lost = np.where(low == high, ends[1] - ends[0], 0.0)
    low, high = np.maximum(low - lost, least), np.minimum(high + lost, most)
    return np.where(one, estimate - share * (estimate - least), low), np.where(one, estimate + share * (most - estimate), high)


def one_score(group: Group) -> np.ndarray:
    """In which simulations all runs are equal."""
    return np.asarray(np.ptp(group.scores, axis=1) == 0)


def difference(name: str) -> Callable[[Group, Group], tuple[float, Ends]]:
    """The first group's aggregate less the second's."""

    def run(first: Group, second: Group) -> tuple[float, Ends]:
        """A chunk: the truth and every method's ends."""
        (one, one_draws, one_part), (other, other_draws, other_part) = known_of(name, first), known_of(name, second)
        sizes = (*first.sizes, *second.sizes)
        parts = np.concatenate([one_part, -other_part], axis=1)
        found = spread(parts, sizes, [*shown_shares(name, first.sizes), *shown_shares(name, second.sizes)])
        free = np.concatenate([free_of(name, first, one_part), free_of(name, second, other_part)], axis=1)
        ends = methods(one - other, one_draws - other_draws, found, min(sizes), welch(found, parts, sizes, free))
        if name == "optimality-gap":
            gaps = [aggregate(name)(group, group)[1]["calibrated"] for group in (first, second)]
            ends["calibrated"] = difference_of((one, *gaps[0]), (other, *gaps[1]))
        if first.arrangement.bounds is not None:
            alone = [aggregate(name)(group, group)[1]["bounded"] for group in (first, second)]
            composed = difference_of((one, *alone[0]), (other, *alone[1]))
            either = one_score(first) | one_score(second) | (name == "optimality-gap")
            furthest = np.ptp(aggregate_bounds(name, first.arrangement.bounds))
            plain = (np.clip(end, -furthest, furthest) for end in ends["calibrated"])
            low, high = (np.where(either, by, end) for by, end in zip(composed, plain, strict=True))
            ends["bounded"] = low, high
        return first.arrangement.truth(name) - second.arrangement.truth(name), ends

    return run


def improvement(far: float) -> Callable[[Group, Group], tuple[float, Ends]]:
    """The probability that a run of the first group beats one of the second, which is moved up by ``far`` scales."""

    def run(first: Group, second: Group) -> tuple[float, Ends]:
        """A chunk: the truth, the interval that openrlb gives, Newcombe's part of it and the percentile interval."""
        scale = first.arrangement.scales
        moved = second.scores + np.repeat(far * scale, second.sizes)
        won, draws = [], []
        for one, other in zip(first.slices(), second.slices(), strict=True):
            x, y = first.scores[:, one], moved[:, other]
            wins = (x[:, :, None] > y[:, None, :]) + 0.5 * (x[:, :, None] == y[:, None, :])
            won.append(wins)
            # A resample's share of won pairs is counts_x' W counts_y / nm: linear in W, the same for all simulations.
            pairs = (first.counts[:, one, None] * second.counts[:, None, other]).reshape(len(first.counts), -1)
            draws.append(wins.reshape(len(wins), -1) @ pairs.T / pairs.shape[1])
        resampled = np.mean(draws, axis=0)
        low, high = np.quantile(resampled, TAILS, axis=1)
        truth = first.arrangement.improvement(second.arrangement, far * scale)
        return truth, {
            "calibrated": improvement_ends(won, resampled.mean(axis=1), low, high, LEVEL),
            "newcombe": newcombe_ends(won, LEVEL),
            "percentile": (low, high),
        }

    return run


def fraction(group: Group, _: Group) -> tuple[float, Ends]:
    """A point of the performance profile: the share of runs above a threshold."""
    above = (group.scores > THRESHOLD).astype(np.float64)
    counts, trials = np.stack([above[:, part].sum(axis=1) for part in group.slices()], axis=-1), np.array(group.sizes)
    low, high = np.quantile(above @ (group.counts * group.weights()).T, TAILS, axis=1)
    return group.arrangement.share_above(THRESHOLD), {
        "calibrated": fraction_ends(above, group.sizes, low, high, LEVEL),
        "wilson": mean_of(counts / trials, *wilson(counts, trials, LEVEL)),
        "clopper-pearson": mean_of(counts / trials, *clopper_pearson(counts, trials, LEVEL)),
        "percentile": (low, high),
    }


STATISTICS: dict[str, Callable[[Group, Group], tuple[float, Ends]]] = {
    **{name: aggregate(name) for name in AGGREGATES},
    **{f"{name} difference": difference(name) for name in AGGREGATES},
    "improvement": improvement(0.0),
    "improvement, far apart": improvement(1.5),
    "profile": fraction,
}
"""Every statistic of the study: from a chunk of two groups to the truth and the methods' ends."""
OF_TWO = tuple(name for name in STATISTICS if "difference" in name or "improvement" in name)


def cells(known: dict[str, Population]) -> Iterator[tuple[Population, int, str, str, list[Cell]]]:
    """The study: for each population, environments, arrangement and seeds the cells that share simulations."""
    for tasks, arrangement in ((1, "alone"), (6, "spread"), (26, "spread"), (6, "identical"), (26, "identical")):
        for population in known.values():
            if tasks > population.most_tasks or (arrangement == "identical" and population.family not in CLASSES["must"]):
                continue
            if tasks > MOST_CAPPED and population.family in CLASSES["ceiling"]:
                continue
            for seeds in ("3", "5", "10", "3|10"):
                names = [
                    name
                    for name in STATISTICS
                    if not (tasks == 1 and (name.startswith("median") or (seeds == "3|10" and name not in OF_TWO)))
                ]
                yield (
                    population, tasks, arrangement, seeds,
                    [Cell(name, population.name, tasks, arrangement, seeds) for name in names],
                )  # fmt: skip


def _seed_words(text: str) -> list[int]:
    """Whole numbers from a name, so that a cell's random numbers do not hang on which cells ran before it."""
    return list(text.encode())


def run_cells(population: Population, wanted: list[Cell], simulations: int, resamples: int, seed: int) -> list[dict[str, Any]]:
    """Simulates cells that share everything but the statistic; one result for each."""
    first = wanted[0]
    words = _seed_words(f"{first.population}/{first.tasks}/{first.arrangement}/{first.seeds}")
    generator = np.random.default_rng([seed, *words])
    tallies: dict[str, dict[str, Tally]] = {cell.statistic: {} for cell in wanted}
    began = time.process_time()
    for _ in range(simulations // CHUNK):
        one, other = population.arrange(first.tasks, first.arrangement, generator)
        groups = (
            simulate(one, sizes_of(first.seeds, first.tasks), resamples, generator),
            simulate(other, sizes_of(first.seeds, first.tasks, second=True), resamples, generator),
        )
        for name, found in tallies.items():
            truth, ends = STATISTICS[name](*groups)
            for method, (low, high) in ends.items():
                found.setdefault(method, Tally()).add(low, high, truth)
    about = {"simulations": simulations // CHUNK * CHUNK, "resamples": resamples, "seed": seed, "family": population.family}
    about["seconds"] = round((time.process_time() - began) / len(wanted), 2)
    return [
        {**asdict(cell), **about, "methods": {name: asdict(tally) for name, tally in tallies[cell.statistic].items()}}
        for cell in wanted
    ]


def key_of(record: dict[str, Any]) -> tuple[Any, ...]:
    """What makes a result the same cell of the same study."""
    names = ("statistic", "population", "tasks", "arrangement", "seeds", "simulations", "resamples", "seed")
    return tuple(record[name] for name in names)


def main() -> None:
    """Runs what is missing and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with atari100k_rliable and simbav2_gym; without it no real cells")
    parser.add_argument("--results", type=Path, default=Path("coverage.jsonl"))
    parser.add_argument("--report", type=Path, help="write the tables to this Markdown file")
    parser.add_argument("--simulations", type=int, default=10_000)
    parser.add_argument("--resamples", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="only cells whose name holds this text, e.g. 'normal/1/'")
    options = parser.parse_args()
    known, missing = populations(options.data)
    for sentence in missing:
        print(sentence)
    text = options.results.read_text() if options.results.exists() else ""
    done = {key_of(record) for record in map(json.loads, text.splitlines())}
    about = {"simulations": options.simulations // CHUNK * CHUNK, "resamples": options.resamples, "seed": options.seed}
    for population, tasks, arrangement, seeds, every in cells(known):
        wanted = [cell for cell in every if key_of({**asdict(cell), **about}) not in done]
        name = f"{population.name}/{tasks}/{arrangement}/{seeds}"
        if wanted and options.only in name:
            found = run_cells(population, wanted, options.simulations, options.resamples, options.seed)
            with options.results.open("a") as file:
                file.writelines(json.dumps(record) + "\n" for record in found)
            print(f"{name}: {len(found)} cells, {sum(record['seconds'] for record in found):.1f} s")
            sys.stdout.flush()
    if options.report is not None:
        from coverage_report import write_report

        records = [json.loads(line) for line in options.results.read_text().splitlines()]
        wanted_key = (about["simulations"], options.seed)
        matching = [record for record in records if (record["simulations"], record["seed"]) == wanted_key]
        present = {key_of(record) for record in matching}
        absent = Counter(
            f"{tasks} environments {arrangement}"
            for _, tasks, arrangement, _, every in cells(known)
            for cell in every
            if key_of({**asdict(cell), **about}) not in present
        )
        if absent:
            parts = ", ".join(f"{count} cells of {name}" for name, count in absent.items())
            missing.append(f"**This run of the study is not finished**; still to come: {parts}")
        write_report(options.report, matching, options.resamples, missing)


if __name__ == "__main__":
    main()
