"""What commands take: wall time, processor time and peak memory, in rounds; and on what machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

OPENRLB = (sys.executable, "-m", "openrlb")
LIBRARIES = ("openrlb", "duckdb", "pyarrow", "numpy", "polars", "plotly", "typer", "wandb", "optuna", "rliable")


LAUNCHER = """
import os, sys, time
began = time.perf_counter()
child = os.fork()
if not child:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.execvp(sys.argv[1], sys.argv[1:])
_, status, used = os.wait4(child, 0)
print(time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""A small process between: the peak that Linux tells of a child is never below its parent's memory when it was started."""


@dataclass(frozen=True)
class Measured:
    """One process, its children included: seconds of wall and processor time, and the peak of its own memory in MiB."""

    wall: float
    processor: float
    memory: float

    def words(self) -> str:
        """The three, for a cell."""
        return f"{seconds(self.processor)} ({seconds(self.wall)}), {self.memory:,.0f} MiB"


def seconds(value: float) -> str:
    """Seconds with two digits that count.

    >>> seconds(0.01234), seconds(1.234), seconds(123.4)
    ('12 ms', '1.23 s', '123 s')
    """
    return f"{value * 1e3:.0f} ms" if value < 1 else f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


def measure(words: Sequence[str], home: Path | None = None, variables: Mapping[str, str] | None = None) -> Measured:
    """Runs a command, which must succeed; what it prints goes nowhere.

    Args:
        words: The command.
        home: ``OPENRLB_HOME``.
        variables: Further variables.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "COLUMNS": "120", **(variables or {})}
    environment |= {"OPENRLB_HOME": str(home)} if home else {}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled once, not in each process
    given = [sys.executable, "-S", "-E", "-c", LAUNCHER, *map(str, words)]
    done = subprocess.run(given, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))} failed: {done.stderr[-2000:]}")
    return Measured(*map(float, done.stdout.split()))


def median(rounds: Sequence[Measured]) -> Measured:
    """The median of each, and the highest peak."""
    times = (statistics.median(getattr(one, name) for one in rounds) for name in ("wall", "processor"))
    return Measured(*times, max(one.memory for one in rounds))


def machine() -> str:
    """Where and with what it was measured, as a sentence."""
    model = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "processor")
    memory = next((int(line.split()[1]) / 2**20 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    versions = [f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES]
    load = os.getloadavg()[0]
    where = f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}"
    return f"{where}; {', '.join(versions)}; {time.strftime('%Y-%m-%d')}, load {load:.1f} when it began."


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [list(heads), ["---"] * len(heads), *(list(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _lines(path: str) -> list[str]:
    """A system's own words; none where it has no such file."""
    file = Path(path)
    return file.read_text().splitlines() if file.exists() else []
