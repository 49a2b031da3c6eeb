"""How many runs this machine can train at a time."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

RUN_BYTES = 1_000_000_000
"""What a run is taken to need where no limit says more: torch, an environment and a small buffer (0.4 to 0.7 GB measured)."""


def default_workers(threads: int, memory_limit: int | None) -> tuple[int, str]:
    """A number of workers that neither share a core nor run out of memory, and the reason in words.

    Args:
        threads: Threads of each run.
        memory_limit: The most memory that one run may take, or None.
    """
    import psutil

    cores = usable_cores()
    by_cores = max(1, cores // threads)
    available = psutil.virtual_memory().available
    by_memory = max(1, int(available // (memory_limit or RUN_BYTES)))
    if by_memory < by_cores:
        return by_memory, f"{available / 1e9:.0f} GB of memory are free"
    return by_cores, f"{cores} physical cores" if cores > 1 else "1 physical core"


def usable_cores() -> int:
    """The physical cores that this process may use: fewer than there are in a container or under taskset."""
    import psutil

    counts = [psutil.cpu_count(logical=False) or os.cpu_count() or 1]
    if hasattr(os, "sched_getaffinity"):
        counts.append(len(os.sched_getaffinity(0)))
    with suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        counts.append(int(quota) // int(period))
    return max(1, min(counts))
