"""Who writes a run folder, and whether that process still lives."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from openrlb.types import stable_hash

LEASE_SECONDS = 7200.0
"""How long a run of another machine on a shared folder counts as alive after its last row. Too short does no harm: a run
that was taken for dead notices it, writes its folder again, and its end replaces what was stored too early."""

START_TICKS = 19
"""The place of ``starttime`` in ``/proc/PID/stat`` behind the program's name (proc(5) counts it as field 22)."""


def this_process() -> dict[str, Any]:
    """What a run folder keeps of its owner: the process, when it began, and a hash of the machine."""
    return {"pid": os.getpid(), "began": began(os.getpid()), "machine": machine()}


def began(pid: int) -> str:
    """When a process began, to tell it from others of its number: the boot and the ticks since then, where the system has them.

    The time of day would not do: it is computed from a clock that people and servers set, so that a living process would seem
    to be another one after each correction.

    Raises:
        psutil.Error: There is no such process, or it may not be looked at.

    >>> began(os.getpid()) == began(os.getpid())
    True
    """
    import psutil

    process = psutil.Process(pid)
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        told = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return f"{boot}:{told.rpartition(')')[2].split()[START_TICKS]}"
    except (OSError, IndexError):
        return f"{process.create_time():.2f}"


def machine() -> str:
    """A hash that is equal for processes that can see each other: same machine, same container."""
    from openrlb.store.lock import host_words

    seen = host_words()
    with suppress(OSError):
        seen.append(str(Path("/proc/self/ns/pid").readlink()))
    return stable_hash(seen)


def is_alive(owner: Mapping[str, Any], last_row: float, lease: float | None = None) -> bool:
    """Whether the owner of a run folder may still write to it.

    Args:
        owner: What :func:`this_process` gave it.
        last_row: When it last wrote, in seconds since 1970.
        lease: How long the owner counts as alive after that, in seconds, where it is on another machine; two hours by default.
    """
    import psutil

    if owner.get("machine") != machine():
        return time.time() - last_row < (LEASE_SECONDS if lease is None else lease)
    try:
        pid = int(owner["pid"])
        return bool(began(pid) == owner["began"] and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.AccessDenied:
        return True
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False
