"""Who writes a run folder, and whether that process still lives."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from openrlb.types import stable_hash

LEASE_SECONDS = 7200.0
"""How long a run of another machine on a shared folder counts as alive after its last row. Too short does no harm: a run
that was taken for dead notices it, writes its folder again, and its end replaces what was stored too early."""

_SAME_START = 5.0
"""Seconds by which two readings of one process's start may differ: the system computes it from the clock."""


def this_process() -> dict[str, Any]:
    """What a run folder keeps of its owner: the process, its start, and a hash of the machine."""
    import psutil

    return {"pid": os.getpid(), "started": psutil.Process().create_time(), "machine": machine()}


def machine() -> str:
    """A hash that is equal for processes that can see each other: same machine, same container."""
    seen = [platform.node()]
    with suppress(OSError):
        seen.append(Path("/etc/machine-id").read_text())
    with suppress(OSError):
        seen.append(str(Path("/proc/self/ns/pid").readlink()))
    return stable_hash(seen)


def is_alive(owner: Mapping[str, Any], last_row: float) -> bool:
    """Whether the owner of a run folder may still write to it.

    Args:
        owner: What :func:`this_process` gave it.
        last_row: When it last wrote, in seconds since 1970.
    """
    import psutil

    if owner.get("machine") != machine():
        return time.time() - last_row < LEASE_SECONDS
    try:
        process = psutil.Process(int(owner["pid"]))
        same = abs(process.create_time() - float(owner["started"])) < _SAME_START
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.AccessDenied:
        return True
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False
