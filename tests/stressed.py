"""What the stress suite shares: openrlb as a process that is killed, what each fault must leave, and what is counted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openrlb.store import Store

PROGRAM = (sys.executable, "-m", "openrlb")
CODES = (1, 2, 3, 4, 5)
"""Exit codes of a failure that is named."""


FAMILIES = {
    "kills": ("kill",),
    "damaged files": ("torn", "corrupt", "garbage", "damaged"),
    "faults of a server": ("W&B",),
    "full and read-only disks": ("disk", "read-only"),
    "fetches and reads side by side": ("writers", "open reader"),
}
OTHERS = "clocks, users and others"


@dataclass
class Tally:
    """How often what was tried, and how often it hit; a loss fails its test, so that what is printed was survived.

    Attributes:
        seed: What every random moment follows from.
        seconds: How long writers and readers run side by side.
        rows: Faults with what was tried, what of it hit, and a remark.
        began: When the first test that counts began, as seconds since 1970.
    """

    seed: int
    seconds: float
    rows: dict[str, list[Any]] = field(default_factory=dict)
    began: float = field(default_factory=time.time)

    def add(self, fault: str, tried: int = 1, hit: int = 1, remark: str = "") -> None:
        """Counts trials of a fault."""
        row = self.rows.setdefault(fault, [0, 0, ""])
        row[0] += tried
        row[1] += hit
        row[2] = remark or row[2]

    def lines(self) -> list[str]:
        """The table."""
        width = max(map(len, self.rows), default=0)
        heads = f"{'fault':{width}}  tried    hit"
        return [heads, *(f"{name:{width}}  {row[0]:5}  {row[1]:5}  {row[2]}".rstrip() for name, row in self.rows.items())]

    def totals(self) -> list[str]:
        """One line for each family of faults: how many were tried, and how many of them hit."""
        found = {family: [0, 0] for family in (*FAMILIES, OTHERS)}
        for name, (tried, hits, _) in self.rows.items():
            total = found[next((family for family, words in FAMILIES.items() if any(word in name for word in words)), OTHERS)]
            total[0] += tried
            total[1] += hits
        return [f"{family}: {tried:,}, of which {hits:,} hit" for family, (tried, hits) in found.items() if tried]


def start(*words: object, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Openrlb as a process of its own session; what it says is thrown away."""
    return subprocess.Popen(
        [*PROGRAM, *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, env=env
    )


def openrlb(*words: object, env: Mapping[str, str] | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    """Openrlb, however it ends."""
    environment = {**os.environ, **(env or {})}
    program = options.pop("program", PROGRAM)
    command = [*program, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, **options)


def must(*words: object, **options: Any) -> str:
    """Openrlb, which has to do what it is told; gives its standard output."""
    done = openrlb(*words, **options)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def killed_within(seconds: float, *words: object) -> float | None:
    """Starts openrlb and kills it after some seconds; None, or how long it took where it ended before."""
    began = time.monotonic()
    process = start(*words)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return None
    return time.monotonic() - began


def assert_named(done: subprocess.CompletedProcess[str]) -> str:
    """A failure in three lines with its exit code, and nothing that openrlb did not foresee; gives the first line."""
    assert done.returncode in CODES, done
    lines = [line for line in done.stderr.splitlines() if line.startswith(("error:", "  why:", "  fix:"))]
    assert len(lines) == 3, done.stderr
    assert "Traceback" not in done.stderr and "openrlb itself failed" not in done.stderr, done.stderr
    return lines[0]


def write_logs(folder: Path, generation: int, runs: int, points: int) -> None:
    """A table of runs; the generation changes half of them, so that fetching again supersedes."""
    folder.mkdir(exist_ok=True)
    lines = ["algo,env,seed,step,eval_return"]
    for run in range(runs):
        shift = generation if run % 2 else 0
        lines += [f"ppo,Env{run % 5}-v0,{run},{step},{step * 0.5 + run + shift}" for step in range(1, points + 1)]
    (folder / "results.csv").write_text("\n".join(lines) + "\n")


def check_consistent(store: Store, points: int) -> int:
    """Every stored run is whole and there once; returns how many there are."""
    rows = store.query("SELECT source, run, count(*) FROM runs GROUP BY ALL").rows
    assert all(count == 1 for *_, count in rows)
    assert store.query(f"SELECT run, count(*) FROM points GROUP BY run HAVING count(*) <> {points}").rows == []
    assert store.query("SELECT count(DISTINCT run) FROM points").rows == [(len(rows),)]
    return len(rows)


def contents(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that the views say, to compare with what they said before."""
    return {
        "runs": store.query("SELECT * FROM runs ORDER BY source, run").rows,
        "points": store.query("SELECT run, metric, kind, step, time_s, value FROM points ORDER BY ALL").rows,
        "params": store.query("SELECT * FROM params ORDER BY ALL").rows,
    }
