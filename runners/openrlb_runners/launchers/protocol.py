"""What a place that executes runs can do. ``local`` is this machine; batch systems follow the same protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from openrlb_runners.request import PinnedRunner

Phase = Literal["waiting", "running", "ended", "lost"]
"""``waiting`` for its start, ``running``, ``ended`` with a code or a signal, ``lost``: the place cannot say how it ended."""


@dataclass(frozen=True)
class Job:
    """One process to execute: ``run.py`` with its arguments.

    Attributes:
        id: A name that is unique for the launcher.
        runner: What is executed, and by which Python.
        arguments: The arguments of ``run.py``.
        folder: Where ``stdout`` and ``stderr`` go.
        threads: Threads of the process.
        variables: Environment variables beside the scrubbed ones.
    """

    id: str
    runner: PinnedRunner
    arguments: tuple[str, ...]
    folder: Path
    threads: int = 1
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class JobState:
    """How a job stands.

    Attributes:
        phase: Where it is.
        pid: Its process, once it runs on this machine.
        code: Its exit code; None where a signal ended it.
        signal: The signal that ended it.
        seconds: How long it ran.
        max_rss_mb: The most memory it held, in megabytes.
        reason: Why it was lost.
    """

    phase: Phase
    pid: int | None = None
    code: int | None = None
    signal: int | None = None
    seconds: float = 0.0
    max_rss_mb: float | None = None
    reason: str = ""

    @property
    def is_over(self) -> bool:
        """True where nothing more will happen to the job."""
        return self.phase in ("ended", "lost")


class Launcher(Protocol):
    """A place that executes jobs. Calls return at once, except :meth:`wait` and :meth:`close`."""

    def submit(self, job: Job) -> None:
        """Starts a job, or queues it; one that was submitted already is left as it is."""

    def state(self, job_id: str) -> JobState:
        """How a job stands."""

    def wait(self, seconds: float) -> None:
        """Returns when a job's state may have changed, or after some seconds."""

    def logs(self, job_id: str) -> tuple[Path, Path]:
        """The files of a job's standard output and standard error."""

    def cancel(self, job_id: str, force: bool = False) -> None:
        """Asks a job's processes to end (SIGTERM), or ends them (SIGKILL). One that is over stays as it is."""

    def lost(self) -> list[str]:
        """The jobs of which the place can no longer say how they ended."""

    def forget(self, job_id: str) -> None:
        """Drops what is known of a job that is over."""

    def close(self) -> None:
        """Lets go of the place: ``local`` ends what still runs, a batch system's jobs go on."""
