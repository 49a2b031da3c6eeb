"""How a run's process ended, in the words of the contract; and what makes a parent end it."""

from __future__ import annotations

import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from openrlb.types import RunState
from openrlb_runners.launchers.protocol import JobState
from openrlb_runners.run_folder import Ended, last_line

EXITS: dict[int, tuple[RunState, str]] = {
    2: ("failed", "the runner refused the request"),
    3: ("failed", "the environment cannot be made"),
    4: ("diverged", "diverged"),
    5: ("crashed", "out of memory"),
    124: ("killed", "wall limit"),
}
"""What a runner's exit codes mean; 0 is done, any other a crash."""

OUT_OF_MEMORY = "out of memory"
GRACE_SECONDS = 5.0
"""Between SIGTERM and SIGKILL."""


@dataclass(frozen=True)
class Limits:
    """What ends a run from outside.

    Attributes:
        wall_seconds: The longest that a run may take, or None.
        memory_bytes: The most memory that a run's processes may hold together, or None.
    """

    wall_seconds: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True)
class Stopped:
    """Why the parent ended a run.

    Attributes:
        state: The state that the run then has.
        note: The reason.
    """

    state: RunState
    note: str


def interrupted() -> Stopped:
    """The user wants no more of it."""
    return Stopped("killed", "interrupted")


def ending(job: JobState, stopped: Stopped | None, tail: str, oom_kills: int, has_done: bool) -> Ended:
    """What to write down of a run that is over.

    Args:
        job: What the launcher saw.
        stopped: Why the parent ended it, where it did.
        tail: The end of its standard error.
        oom_kills: How many processes the system ended for want of memory while it ran.
        has_done: Whether its ``done.json`` is there.
    """
    said = last_line(tail)
    words = [f"its last words: {said}"] if said else []
    if stopped is not None and not (job.code == 0 and has_done):
        return Ended(stopped.state, (stopped.note, *words), job.code, job.seconds)
    if job.phase == "lost":
        return Ended("crashed", (f"lost: {job.reason}", *words), None, job.seconds)
    if job.signal is not None:
        name = _signal_name(job.signal)
        note = f"ended by {name}"
        if job.signal == signal.SIGKILL and oom_kills > 0:
            note = f"{OUT_OF_MEMORY}: the system ended it ({name})"
        return Ended("crashed", (note, *words), None, job.seconds)
    if job.code == 0:
        return Ended("finished", (), 0, job.seconds) if has_done else Ended("crashed", (_NO_DONE, *words), 0, job.seconds)
    state, note = EXITS.get(job.code or 1, ("crashed", f"ended with exit code {job.code}"))
    return Ended(state, (note, *words), job.code, job.seconds)


_NO_DONE = "it ended with exit code 0 but wrote no done.json"


def _signal_name(number: int) -> str:
    """A signal by its name.

    >>> _signal_name(9), _signal_name(200)
    ('SIGKILL', 'signal 200')
    """
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def over_limit(limits: Limits, seconds: float, pid: int | None) -> Stopped | None:
    """Why a run has to end now, or None.

    Args:
        limits: What is allowed.
        seconds: How long it has run.
        pid: Its process, where it is one of this machine.
    """
    if limits.wall_seconds is not None and seconds > limits.wall_seconds:
        return Stopped("killed", f"wall limit of {limits.wall_seconds:g} s")
    if limits.memory_bytes is not None and pid is not None:
        held = memory_of(pid)
        if held > limits.memory_bytes:
            note = f"{OUT_OF_MEMORY}: {held / 1e9:.2f} GB held, the limit is {limits.memory_bytes / 1e9:.2f} GB"
            return Stopped("crashed", note)
    return None


def memory_of(pid: int) -> int:
    """The bytes that a process and its descendants hold, pages that they share counted for each of them; 0 where it is gone."""
    import psutil

    held = 0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                held += one.memory_info().rss
    return held


def oom_kills() -> int:
    """How many processes Linux has ended for want of memory since it started; 0 where that cannot be told."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
