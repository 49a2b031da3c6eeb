"""The populations of the coverage study: known to the last value, so that the truth needs no second simulation.

A population is a pool of values from which runs are drawn with replacement. Each environment moves and stretches it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openrlb_analysis.aggregates import AGGREGATES, iqm, optimality_gap

POOL = 1_000_000

CLASSES = {
    "must": ("normal", "skewed", "heavy-tailed"),
    "reported": ("very skewed", "bimodal", "rare failure", "real"),
    "held out": ("held out",),
    "ceiling": ("ceiling",),
}
"""Families that the default must cover, that are reported as they come out, that no choice was made by, and with a bound."""


@dataclass(frozen=True)
class Arrangement:
    """A group's environments: environment e has the scores ``locations[e] + scales[e] * value``, value from its pool.

    Attributes:
        pools: Sorted values, one array for each environment; the same object where they share one.
        locations: Shape ``(environments,)``.
        scales: Shape ``(environments,)``.
        bounds: The lowest and the highest score, where these are known and the same in all environments.
    """

    pools: tuple[np.ndarray, ...]
    locations: np.ndarray
    scales: np.ndarray
    bounds: tuple[float, float] | None = None

    def sample(self, sizes: tuple[int, ...], simulations: int, generator: np.random.Generator) -> np.ndarray:
        """Simulated scores, shape ``(simulations, sum(sizes))``."""
        parts = [
            location + scale * pool[generator.integers(len(pool), size=(simulations, size))]
            for pool, location, scale, size in zip(self.pools, self.locations, self.scales, sizes, strict=True)
        ]
        return np.concatenate(parts, axis=1)

    def means(self) -> np.ndarray:
        """Each environment's mean."""
        return self.locations + self.scales * np.array([_sums(pool)[-1] / len(pool) for pool in self.pools])

    def truth(self, name: str) -> float:
        """The aggregate of the distributions themselves."""
        if name in ("mean", "median"):
            return AGGREGATES[name]([np.array([value]) for value in self.means()])
        if len({len(pool) for pool in self.pools}) == 1 and len(self.pools[0]) <= 1000:
            scores = [at + by * pool for pool, at, by in zip(self.pools, self.locations, self.scales, strict=True)]
            return iqm(scores) if name == "iqm" else optimality_gap(scores)
        if name == "optimality-gap":
            share, total = self._below(1.0)
            return float(1.0 - np.mean(total + 1.0 - share))
        low, high = self._quantile(0.25), self._quantile(0.75)
        (share_low, total_low), (share_high, total_high) = self._below(low), self._below(high)
        return float((total_high - total_low).sum() / (share_high - share_low).sum())

    def _below(self, value: float) -> tuple[np.ndarray, np.ndarray]:
        """For each environment the share of its scores below a value, and the sum of those over all; one shared pool."""
        pool = self.pools[0]
        at = np.searchsorted(pool, (value - self.locations) / self.scales)
        share, total = at / len(pool), _sums(pool)[at] / len(pool)
        return share, self.locations * share + self.scales * total

    def _quantile(self, probability: float) -> float:
        """The quantile of all environments' scores together."""
        low = float((self.locations + self.scales * self.pools[0][0]).min())
        high = float((self.locations + self.scales * self.pools[0][-1]).max())
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self._below(middle)[0].mean() < probability else (low, middle)
        return high

    def share_above(self, threshold: float) -> float:
        """The mean over environments of the share of scores above a threshold."""
        return float(
            np.mean(
                [
                    1.0 - np.searchsorted(pool, (threshold - at) / by, side="right") / len(pool)
                    for pool, at, by in zip(self.pools, self.locations, self.scales, strict=True)
                ]
            )
        )

    def improvement(self, other: Arrangement, shifts: np.ndarray) -> float:
        """The probability of a higher score than the other group's, which is moved by ``shifts``: its mean over environments."""
        shares = []
        for index, pool in enumerate(self.pools):
            inner = pool if len(pool) <= 1000 else pool[len(pool) // 2000 :: len(pool) // 1000]
            scores = self.locations[index] + self.scales[index] * inner
            theirs = (scores - other.locations[index] - shifts[index]) / other.scales[index]
            rival = other.pools[index]
            below, upto = np.searchsorted(rival, theirs), np.searchsorted(rival, theirs, side="right")
            shares.append((below + upto).mean() / (2 * len(rival)))
        return float(np.mean(shares))


Arrange = Callable[[int, str, np.random.Generator], tuple[Arrangement, Arrangement]]
"""Two groups' environments, from how many there are, ``alone``, ``spread`` or ``identical``, and a generator."""

_SUMS: dict[int, tuple[np.ndarray, np.ndarray]] = {}


def _sums(pool: np.ndarray) -> np.ndarray:
    """Running sums of a pool, from 0; kept with the pool, so that its id stays its own."""
    if id(pool) not in _SUMS:
        _SUMS[id(pool)] = (pool, np.concatenate([[0.0], np.cumsum(pool)]))
    return _SUMS[id(pool)][1]


@dataclass(frozen=True)
class Population:
    """A named population.

    Attributes:
        name: Its name in the tables.
        family: What it stands for, one of :data:`CLASSES`.
        arrange: How two groups' environments lie.
        most_tasks: How many environments it can fill.
    """

    name: str
    family: str
    arrange: Arrange
    most_tasks: int = 26


def shaped(pool: np.ndarray) -> Arrange:
    """Environments of one shape.

    Alone or identical: location 0.9 and scale 0.3, so that a third of normal scores reach gamma, 1. Spread: locations
    evenly over 0 to 2 and scales 0.1, 0.2, 0.4 and 0.8, both in random order. The second group lies 0.15 higher and
    varies half as much.
    """

    def arrange(tasks: int, how: str, generator: np.random.Generator) -> tuple[Arrangement, Arrangement]:
        """Both groups."""
        locations, scales = np.full(tasks, 0.9), np.full(tasks, 0.3)
        if how == "spread":
            locations = generator.permutation((np.arange(tasks) + 0.5) / tasks * 2)
            scales = 0.1 * 2.0 ** generator.permutation(np.arange(tasks) % 4)
        pools = (pool,) * tasks
        return Arrangement(pools, locations, scales), Arrangement(pools, locations + 0.15, scales / 2)

    return arrange


def capped(share: int) -> Arrange:
    """Environments where so many runs in a hundred have the highest score, 1, and the others lie evenly between 0 and 1.

    The second group has its ties at the ceiling too, as many as the first. Spread: the others lie evenly between 0.1, 0.2,
    0.4 or 0.8 and 1.
    """
    evenly = (np.arange(1000 - 10 * share) + 0.5) / (1000 - 10 * share)
    pool = np.concatenate([evenly - 1.0, np.zeros(10 * share)])

    def arrange(tasks: int, how: str, generator: np.random.Generator) -> tuple[Arrangement, Arrangement]:
        """Both groups."""
        scales = np.ones(tasks)
        if how == "spread":
            scales = 1.0 - 0.1 * 2.0 ** generator.permutation(np.arange(tasks) % 4)
        one = Arrangement((pool,) * tasks, np.ones(tasks), scales, (0.0, 1.0))
        return one, one

    return arrange


def pooled(first: list[np.ndarray], second: list[np.ndarray]) -> Arrange:
    """Environments that each have a pool of their own, drawn without replacement; two groups on the same ones."""

    def arrange(tasks: int, _: str, generator: np.random.Generator) -> tuple[Arrangement, Arrangement]:
        """Both groups."""
        chosen = generator.permutation(len(first))[:tasks]
        pools = (tuple(group[index] for index in chosen) for group in (first, second))
        one, other = (Arrangement(pool, np.zeros(tasks), np.ones(tasks)) for pool in pools)
        return one, other

    return arrange


def _shapes(generator: np.random.Generator) -> dict[tuple[str, str], np.ndarray]:
    """The shapes, each of mean about 0 and standard deviation about 1 (the rare failures' usual values instead)."""
    normal = generator.standard_normal
    lognormal = {sigma: np.exp(sigma * normal(POOL)) for sigma in (0.5, 1.0)}
    spread = {sigma: np.sqrt((np.exp(sigma**2) - 1) * np.exp(sigma**2)) for sigma in lognormal}
    shapes = {
        ("normal", "normal"): normal(POOL),
        ("gamma, skewness 1.4", "skewed"): (generator.gamma(2.0, 1.0, POOL) - 2) / np.sqrt(2),
        ("log-normal, skewness 1.75", "skewed"): (lognormal[0.5] - np.exp(0.125)) / spread[0.5],
        ("Student's t3", "heavy-tailed"): generator.standard_t(3, POOL) / np.sqrt(3),
        ("log-normal, skewness 6.2", "very skewed"): (lognormal[1.0] - np.exp(0.5)) / spread[1.0],
        ("two modes", "bimodal"): (np.where(generator.random(POOL) < 0.5, 1.0, -1.0) + 0.3 * normal(POOL)) / np.sqrt(1.09),
        ("one run in ten fails", "rare failure"): np.where(generator.random(POOL) < 0.1, -3.0, 1 / 3) + 0.33 * normal(POOL),
    }
    held_out = {
        ("Weibull, skewness 1.07", "held out"): (generator.weibull(1.5, POOL) - 0.9027) / 0.6129,
        ("reversed gamma, skewness -1.4", "held out"): -(generator.gamma(2.0, 1.0, POOL) - 2) / np.sqrt(2),
        ("Laplace", "held out"): generator.laplace(0.0, 1 / np.sqrt(2), POOL),
    }
    return {**shapes, **held_out}


def populations(data: Path | None) -> tuple[dict[str, Population], list[str]]:
    """Every population by name, and sentences about those that cannot be had.

    Args:
        data: The folder with real scores, None without one.
    """
    shapes = _shapes(np.random.default_rng(2024))
    made = {name: Population(name, family, shaped(np.sort(pool))) for (name, family), pool in shapes.items()}
    made |= {f"{share} % at the ceiling": Population(f"{share} % at the ceiling", "ceiling", capped(share)) for share in (60, 80)}
    real, missing = {}, []
    for name, folder, read in (
        ("Atari 100k: SPR, DER", "atari100k_rliable", _atari),
        ("MuJoCo final returns", "simbav2_gym", _mujoco),
    ):
        if data is not None and (data / folder).is_dir():
            real[name] = Population(name, "real", read(data / folder))
        else:
            missing.append(f"no cells of {name}: there is no {folder} in the folder given by --data")
    last = {name: one for name, one in made.items() if one.family in (*CLASSES["held out"], *CLASSES["ceiling"])}
    return {**{name: one for name, one in made.items() if name not in last}, **real, **last}, missing


def _atari(folder: Path) -> Arrange:
    """26 games of 100 human-normalised scores of two agents (Agarwal et al. 2021)."""
    reference = json.loads((folder / "atari_reference_scores.json").read_text())
    groups = []
    for agent in ("SPR", "DER"):
        games = json.loads((folder / f"atari_100k_{agent}.json").read_text())
        random, human = reference["random"], reference["human"]
        groups.append([np.sort((np.array(games[game]) - random[game]) / (human[game] - random[game])) for game in sorted(games)])
    return pooled(groups[0], groups[1])


def _mujoco(folder: Path) -> Arrange:
    """Final returns of 7 algorithms in 5 environments, each (algorithm, environment) set to mean 0 and deviation 1."""
    import polars as pl

    rows = pl.read_parquet(folder / "simbav2_gym.parquet")
    cut = rows.group_by("algo", "env").agg(pl.col("step").max().alias("cut"))
    final = (
        rows.join(cut, on=["algo", "env"])
        .filter(pl.col("step") > 0.9 * pl.col("cut"))
        .group_by("algo", "env", "seed")
        .agg(pl.col("ret").mean())
    )
    residuals = []
    for _, cell in sorted(final.group_by("algo", "env"), key=lambda item: str(item[0])):
        scores = np.sort(cell["ret"].to_numpy().astype(np.float64))
        if len(scores) >= 5:
            residuals.append((scores - scores.mean()) / scores.std())
    return shaped(np.sort(np.concatenate(residuals)))
