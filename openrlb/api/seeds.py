"""Runs without a seed: said when they are fetched, with the settings that may be it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

MAX_KEYS = 200
SHOWN = 5

Seedless: TypeAlias = tuple[str, tuple[str, str], dict[str, int]]
"""A run without a seed: its id, its algorithm and environment, and the whole numbers among its settings."""


def whole_numbers(config: Mapping[str, Any], prefix: str = "", depth: int = 0) -> dict[str, int]:
    """The whole numbers of a configuration by dotted key, the first 200.

    >>> whole_numbers({"rng": 3, "lr": 0.1, "net": {"width": 64}, "on": True})
    {'rng': 3, 'net.width': 64}
    """
    found: dict[str, int] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and depth < 5:
            found |= whole_numbers(value, f"{prefix}{key}.", depth + 1)
        elif isinstance(value, int) and not isinstance(value, bool):
            found[f"{prefix}{key}"] = value
        if len(found) >= MAX_KEYS:
            break
    return found


def missing_seeds(seedless: Sequence[Seedless]) -> list[tuple[str, str]]:
    """A note for each run without a seed, as (run, note).

    A key may be the seed where it holds a different whole number in each run of an algorithm and environment.

    >>> missing_seeds([("a", ("ppo", "Hopper-v4"), {"rng": 1, "k": 5}), ("b", ("ppo", "Hopper-v4"), {"rng": 2, "k": 5})])[0]
    ('a', 'no seed is known: --map seed=KEY says it; different whole numbers in each run: rng')
    """
    groups: dict[tuple[str, str], list[dict[str, int]]] = {}
    for _, group, numbers in seedless:
        groups.setdefault(group, []).append(numbers)
    several = [runs for runs in groups.values() if len(runs) > 1]
    keys = [key for key in (several[0][0] if several else ()) if all(_differ(key, runs) for runs in several)]
    told = f"; different whole numbers in each run: {', '.join(keys[:SHOWN])}" if keys else ""
    return [(run, f"no seed is known: --map seed=KEY says it{told}") for run, _, _ in seedless]


def _differ(key: str, runs: Sequence[Mapping[str, int]]) -> bool:
    """Whether a key holds another number in each run."""
    values = [numbers[key] for numbers in runs if key in numbers]
    return len(values) == len(runs) == len(set(values))
