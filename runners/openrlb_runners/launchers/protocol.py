"""What a place that executes runs can do. ``local`` is this machine; batch systems follow the same protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True)
class WorkerArray:
    """Equal processes that take work until there is no more.

    Attributes:
        id: A name that is unique for the launcher's root.
        words: The command.
        tasks: How many of it.
        threads: Threads of each.
        variables: Environment variables; no secrets.
        secrets: Environment variables that nobody else may read.
    """

    id: str
    words: tuple[str, ...]
    tasks: int
    threads: int = 1
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskState:
    """One task of an array as its place knows it.

    Attributes:
        task: Its number.
        state: How it stands.
        node: Where it runs or ran; empty before.
        restarts: How often it was begun again elsewhere.
        waiting_for: The place's word for why it waits (``Resources``, ``Priority``); empty where it does not.
    """

    task: int
    state: JobState
    node: str = ""
    restarts: int = 0
    waiting_for: str = ""


def together(states: Sequence[JobState]) -> JobState:
    """An array's tasks as one job: it runs while one runs, and has ended well where all have.

    Args:
        states: Those of its tasks; at least one.

    >>> together([JobState("ended", code=0), JobState("waiting")]).phase
    'waiting'
    """
    for phase in ("running", "waiting"):
        if found := next((one for one in states if one.phase == phase), None):
            return found
    bad = [one for one in states if one.code != 0]
    return bad[0] if bad else states[0]


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


class Cluster(Launcher, Protocol):
    """A place whose jobs outlive whoever submits them, and that takes arrays of workers beside single jobs."""

    def text(self, job: Job | WorkerArray) -> str:
        """The script that would be submitted for a job."""

    def check(self, job: Job | WorkerArray) -> str:
        """Makes sure that the place would take a job; nothing is written and nothing submitted.

        Returns:
            What is to be said of it nevertheless; mostly empty.
        """

    def submit(self, job: Job | WorkerArray) -> None:
        """Queues a job; one that was submitted already is left as it is."""

    def tasks(self, job_id: str) -> list[TaskState]:
        """How each task of a job stands."""

    def number(self, job_id: str) -> int | None:
        """The place's number of a job; None where it gives none."""

    def where(self, job_id: str) -> str:
        """A job in words: ``SLURM job 7``."""

    def holds(self, job_id: str) -> bool:
        """Whether a job was submitted to the very place that new ones go to."""
