"""Who trains a run: names of workers that tell whether their process still lives on this machine."""

from __future__ import annotations

import hashlib
import os
import uuid
from contextlib import suppress
from functools import cache
from pathlib import Path

from openrlb.tracking.owner import START_TICKS, began


def this_machine() -> str:
    """A name of this boot of this machine and its process numbers; it says nothing of the machine itself."""
    parts = []
    with suppress(OSError):
        parts = [Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"), os.readlink("/proc/self/ns/pid")]  # noqa: PTH115
    return hashlib.sha256(repr(parts or [uuid.getnode()]).encode()).hexdigest()[:12]


@cache
def _machine_of(pid: int) -> str:
    """The same, asked for once by each process: it may be wanted for each of many workers."""
    del pid
    return this_machine()


def worker_name(pid: int | None = None) -> str:
    """The name of a process as a worker: machine, number, and when it began, since numbers are used again."""
    number = os.getpid() if pid is None else pid
    return f"{_machine_of(os.getpid())}:{number}:{began(number).rpartition(':')[2]}"


def is_dead(worker: str) -> bool:
    """Whether a worker of this machine has ended; False where it is of another machine, for that cannot be seen from here.

    >>> is_dead(worker_name()), is_dead("elsewhere:1:0.00"), is_dead("")
    (False, False, True)
    """
    if not worker:
        return True
    machine, _, rest = worker.partition(":")
    number, _, when = rest.partition(":")
    if machine != _machine_of(os.getpid()) or not number.isdecimal():
        return False
    try:  # each claim asks this of every worker of its machine
        told = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return told[0] == "Z" or told[START_TICKS] != when
    except (OSError, IndexError):
        return _is_dead(worker, int(number))


def _is_dead(worker: str, number: int) -> bool:
    """The same where the system has no such files, or nothing of that number."""
    import psutil

    try:
        return worker_name(number) != worker or psutil.Process(number).status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return True
