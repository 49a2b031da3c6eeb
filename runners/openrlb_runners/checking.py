"""What a reproduction is judged by: the episodes' rows and their hash, and the machines' fingerprints.

Standard library only, and nothing of openrlb: the script of ``openrlb reproduce --script`` carries this very file and runs it::

    python checking.py OUT stored-env.json SHA256 EPISODES EVALUATIONS
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

JUDGED = ("python", "implementation", "system", "machine", "libc", "cpu", "cpu_flags", "gpu", "torch", "variables", "packages")
"""The entries of ``env.json`` that a bit-exact result hangs on."""


def rows_digest(episodes: Iterable[tuple[int, float, int]], evaluations: Iterable[tuple[int, float]]) -> str:
    """The sha256 of a run's episodes: every step, return (all 64 bits) and length, in logged order.

    Args:
        episodes: ``(step, return, length)`` of each training episode.
        evaluations: ``(step, return)`` of each evaluation episode.

    >>> rows_digest([(10, 1.5, 10)], [])[:12] == rows_digest([(10, 1.5, 10)], [(10, 1.5)])[:12]
    False
    """
    lines = [f"episode {int(step)} {float(value).hex()} {int(length)}\n" for step, value, length in episodes]
    lines += [f"eval {int(step)} {float(value).hex()}\n" for step, value in evaluations]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_rows(metrics: Path) -> tuple[list[tuple[int, float, int]], list[tuple[int, float]]]:
    """The episodes and evaluation episodes of a runner's ``metrics.jsonl``, by step and within a step as logged."""
    episodes, evaluations = [], []
    with metrics.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row["t"] == "episode":
                episodes.append((int(row["step"]), float(row["return"]), int(row.get("length", 0))))
            elif row["t"] == "eval":
                evaluations.append((int(row["step"]), float(row["return"])))
    return sorted(episodes, key=lambda row: row[0]), sorted(evaluations, key=lambda row: row[0])


def differences(stored: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What differs between two machines as ``env.json`` describes them, by name: the stored value and today's.

    A graphics card counts only where a run trained on one (``device`` is not ``cpu``); the packages count one by one.

    >>> differences({"python": "3.11.4", "packages": ["a==1"]}, {"python": "3.11.4", "packages": ["a==2"]})
    {'packages.a': ('1', '2')}
    """
    before, after = _judged(stored), _judged(now)
    if str(stored.get("device", "cpu")) == str(now.get("device", "cpu")) == "cpu":
        before, after = ({name: one[name] for name in one if name.split(".")[0] != "gpu"} for one in (before, after))
    names = [*before, *(name for name in after if name not in before)]
    return {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}


def _judged(seen: Mapping[str, Any]) -> dict[str, Any]:
    """The judged entries, on one level with dotted names."""
    flat: dict[str, Any] = {}
    for name in (*JUDGED, "threads", "device"):
        value = seen.get(name)
        if name == "packages" and isinstance(value, list):
            pairs = [str(item).partition("==") for item in value]
            value = {package: version for package, _, version in pairs if package != "pip"}  # it installs, and is not imported
        if isinstance(value, Mapping):
            flat.update({f"{name}.{inner}": one for inner, one in sorted(value.items())})
        elif value is not None:
            flat[name] = value
    return flat


def main(words: list[str]) -> int:
    """Judges one run folder; prints the verdict and returns 0 where it is bit-exact, else 1."""
    out, stored = Path(words[0]), json.loads(Path(words[1]).read_text(encoding="utf-8"))
    wanted, counts = words[2], (int(words[3]), int(words[4]))
    episodes, evaluations = read_rows(out / "metrics.jsonl")
    found = rows_digest(episodes[: counts[0]], evaluations[: counts[1]])
    seen, config = (json.loads((out / name).read_text(encoding="utf-8")) for name in ("env.json", "config.json"))
    differ = differences(stored, {**seen, "threads": config.get("threads"), "device": config.get("device")})
    print(f"sha256 of the episodes, stored {wanted}")  # noqa: T201 - it runs as a program
    print(f"sha256 of the episodes, now    {found}")  # noqa: T201
    for name, (before, after) in differ.items():
        print(f"  differs: {name}: {before!r} when it was trained, {after!r} here")  # noqa: T201
    if found == wanted:
        print(f"bit-exact: {counts[0]} episodes and {counts[1]} evaluation episodes are the stored ones")  # noqa: T201
        return 0
    cause = "the differences named above may be the cause" if differ else "although the machine is as it was"
    print(f"not bit-exact: {len(episodes)} episodes, {counts[0]} stored; {cause}")  # noqa: T201
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
