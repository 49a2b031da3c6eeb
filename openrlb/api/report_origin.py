"""Versions, machines, times and digests of a report's runs."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from openrlb.store import RunRow, Store

NAMED = (
    *("python", "stable-baselines3", "sb3-contrib", "sbx-rl", "cleanrl", "torch", "jax", "gymnasium", "gym", "mujoco"),
    *("mujoco-py", "ale-py", "dm-control", "envpool", "numpy"),
)
"""What decides a result most often: the summary names its versions, a run's own details those of every package."""

Packages = Mapping[str, Sequence[tuple[str, str]]]
"""Names and versions of packages by the hash of the requirements file that lists them."""


def packages_of(store: Store) -> Packages:
    """The packages of every requirements file that the store knows.

    Args:
        store: The store.
    """
    found = store.query("SELECT hash, packages FROM requirements").rows
    return {name: [_pinned(line) for line in lines or ()] for name, lines in found}


def run_facts(rows: Sequence[RunRow], packages: Packages) -> tuple[tuple[str, str], ...]:
    """What runs were made with, and when.

    Args:
        rows: The runs.
        packages: The packages of requirements files.
    """
    versions: dict[str, Counter[str]] = {}
    machines: Counter[str] = Counter()
    for row in rows:
        hardware = row.record.hardware
        known = {re.sub(r"[-_.]+", "-", name).lower(): number for name, number in packages.get(row.record.requirements or "", ())}
        known |= {"python": str(hardware["python"]).split(" ", maxsplit=1)[0]} if hardware.get("python") else {}
        for name in NAMED:
            if name in known:
                versions.setdefault(name, Counter())[known[name]] += 1
        if hardware.get("cpu"):
            machines[" ".join(str(hardware["cpu"]).split())] += 1
    told = [f"{name} {counted(versions[name], len(rows))}" for name in NAMED if name in versions]
    lacking = sum(not row.record.requirements for row in rows)
    told += [f"{lacking:,} of {len(rows):,} runs came without exact versions"] if lacking else []
    days = sorted(row.record.created[:10] for row in rows if row.record.created)
    facts = [("Versions", "; ".join(told))]
    facts += [("Processors", counted(machines, len(rows)))] if machines else []
    facts += [("Trained", days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}")] if days else []
    return tuple(facts)


def counted(values: Mapping[str, int], every: int) -> str:
    """Values, each with its runs where they are several or not of all runs.

    Args:
        values: How many runs have each.
        every: How many runs there are.

    >>> counted({"1.0": 3}, 3), counted({"1.0": 2, "1.1": 1}, 3)
    ('1.0', '1.0 (2 runs), 1.1 (1 run)')
    """
    if len(values) == 1 and next(iter(values.values())) == every:
        return next(iter(values))
    return ", ".join(f"{value} ({count:,} {'run' if count == 1 else 'runs'})" for value, count in values.items())


def origin_facts(rows: Sequence[RunRow], store: Store) -> tuple[tuple[str, str], ...]:
    """What proves which runs these were: equal runs, records and points, have an equal digest.

    Args:
        rows: The runs.
        store: Where they lie.
    """
    digests = store.digests()
    keys = sorted((row.record.source, row.record.run) for row in rows)
    lines = "".join(f"{source}\t{run}\t{digests.get((source, run), '')}\n" for source, run in keys)
    return (("Digest of the selected runs", f"sha256 {hashlib.sha256(lines.encode()).hexdigest()}"),)


def _pinned(line: str) -> tuple[str, str]:
    """A line of a requirements file as name and version."""
    name, _, number = line.partition("==")
    return name, number or "as given"
