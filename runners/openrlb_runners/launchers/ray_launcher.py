"""Ray: each task of a job is a detached actor that holds the resources, and executes the job's script on its node.

A job is a folder ``<root>/<id>/`` with its script, what it was submitted as, a log for each task, and a record for each time that
a task was begun; another process that is given the same root goes on where this one was. Ray says which actors there are, the
records say how commands ended: an actor that is gone without such a word is ``lost``. Where a node dies, Ray begins its tasks
again on another one.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from openrlb.errors import LauncherError
from openrlb.store.files import unwritable
from openrlb_runners.environment import child_variables
from openrlb_runners.launchers.job_folder import (
    RECORD,
    SCRIPT,
    command_lines,
    job_words,
    log_files,
    make_folder,
    read_record,
    secret_files,
)
from openrlb_runners.launchers.protocol import Job, JobState, TaskState, WorkerArray, together
from openrlb_runners.launchers.ray_options import RayOptions
from openrlb_runners.launchers.ray_process import AUTO, RayProcess, joined, leave
from openrlb_runners.run_folder import STDERR, STDOUT

LOOK_SECONDS = 1.0
"""A cluster serves many: it is asked no more often."""
MOST_RESTARTS = 100
"""So often Ray begins a task again whose node was lost; a node that kills what it gets is not fed for ever."""
CANCELLED = "cancelled"
_SIGTERM, _SIGKILL = 15, 9
_UNKNOWN = JobState("lost", reason="it was not submitted to the end")


class RayLauncher:
    """Executes jobs on a Ray cluster. They outlive this process, and end with the cluster.

    Args:
        root: Where jobs' folders lie, on a file system that the nodes see.
        options: Where the cluster is, and what a task takes of it.
    """

    def __init__(self, root: Path, options: RayOptions | None = None) -> None:
        self.root, self.options = root.absolute(), options or RayOptions()
        self._namespace = f"openrlb-{hashlib.sha256(str(self.root).encode()).hexdigest()[:8]}"
        self._jobs: dict[str, Job] = {}
        self._known: set[str] = set()
        self._seen: dict[str, tuple[float, list[TaskState]]] = {}

    def text(self, job: Job | WorkerArray) -> str:
        """The script that would be submitted for a job.

        Raises:
            StoreUnwritable: A runner's files cannot be put into the cache.
        """
        folder, wanted = self.root / job.id, self.options.of_task(job.threads)
        needs, count = words_of(wanted), job.tasks if isinstance(job, WorkerArray) else 1
        lines = [
            "#!/bin/bash",
            f"# Ray executes it {count} times, each with {needs}:",
            f"# detached actors {job.id}-0 to {job.id}-{count - 1} of the namespace {self._namespace}",
        ]
        if isinstance(job, WorkerArray):
            return "\n".join([*lines, *command_lines(job.words, job.variables, secret_files(folder, job)), ""])
        variables = {**child_variables(job.threads), **job.variables}
        return "\n".join([*lines, *command_lines(job_words(job), variables, {}), ""])

    def check(self, job: Job | WorkerArray) -> str:
        """Makes sure that the cluster can be joined; nothing is written and nothing submitted.

        Returns:
            A sentence where no node has what a task needs, so that all wait for one to join.

        Raises:
            UsageError: Ray is not installed, or the cluster runs another version.
            LauncherError: The cluster does not answer.
        """
        wanted = self.options.of_task(job.threads)
        has_room = self._cluster(self._address()).ask("room", options=wanted)["room"]
        return "" if has_room else f"{no_room(wanted)}: what is submitted waits until one joins"

    def submit(self, job: Job | WorkerArray) -> None:
        """Queues a job; one that was submitted to its end is left as it is, of another one what is missing is submitted.

        Raises:
            UsageError: Ray is not installed, or the cluster runs another version.
            LauncherError: The cluster refuses it, or does not answer; nothing is left then but what was submitted before.
            StoreUnwritable: Its folder cannot be written; nothing is submitted then.
        """
        if isinstance(job, Job):
            self._jobs[job.id] = job
        self._known.add(job.id)
        folder, before = self.root / job.id, read_record(self.root / job.id)
        if before.get("submitted"):
            return
        cluster = self._cluster(str(before.get("address") or self._address()))
        count = job.tasks if isinstance(job, WorkerArray) else 1
        wanted = self.options.of_task(job.threads)
        record = {"format": 1, "launcher": "ray", "address": cluster.address, "tasks": count, "options": wanted}
        try:
            make_folder(folder, job, self.text(job), json.dumps({**record, "submitted": False}).ljust(1024))
        except OSError as error:
            self._drop(folder, before)
            raise unwritable(folder, error) from error
        tasks = [task for task in range(count) if not _attempts(folder, task)]
        asked = [self._asked(job, task) for task in tasks]
        options = {**wanted, "max_restarts": MOST_RESTARTS if isinstance(job, WorkerArray) else 0}
        try:
            cluster.ask("submit", names=[f"{job.id}-{task}" for task in tasks], options=options, asked=asked)
        except LauncherError:
            self._drop(folder, before)
            raise
        with suppress(OSError), (folder / RECORD).open("r+", encoding="utf-8") as file:  # else it is seen by its actors
            file.write(json.dumps({**record, "submitted": True}).ljust(1024))

    def _drop(self, folder: Path, before: Mapping[str, Any]) -> None:
        """Leaves nothing of a submission that failed; by the folder of an earlier one its tasks are found and ended."""
        if not before:
            shutil.rmtree(folder, ignore_errors=True)

    def state(self, job_id: str) -> JobState:
        """How a job stands; an array counts as one."""
        return together([one.state for one in self.tasks(job_id)])

    def tasks(self, job_id: str) -> list[TaskState]:
        """How each task of a job stands, as of no longer than a second ago.

        Raises:
            LauncherError: The cluster does not answer, and never did.
        """
        when, before = self._seen.get(job_id, (0.0, []))
        if before and (all(one.state.is_over for one in before) or time.monotonic() - when < LOOK_SECONDS):
            return before
        record = read_record(self.root / job_id)
        try:
            found = self._look(job_id, record) if record else [TaskState(0, _UNKNOWN)]
        except LauncherError:
            if not before:
                raise
            return before
        self._known.add(job_id)
        self._seen[job_id] = time.monotonic(), found
        return found

    def wait(self, seconds: float) -> None:
        """Waits: nobody is told when something happens."""
        time.sleep(seconds)

    def logs(self, job_id: str) -> tuple[Path, Path]:
        """The files of a job's standard output and standard error; those of an array's first task."""
        return log_files(self.root / job_id, self._jobs.get(job_id))

    def cancel(self, job_id: str, force: bool = False) -> None:
        """Takes a job's tasks out of the queue, or asks its processes to end (SIGTERM, and after 30 seconds SIGKILL).

        Raises:
            LauncherError: The cluster does not answer.
        """
        record = read_record(self.root / job_id)
        if not record or self.state(job_id).is_over:
            return
        cluster = self._cluster(str(record["address"]))
        with suppress(OSError):
            (self.root / job_id / CANCELLED).touch()  # a task that is about to begin sees it
        names = [f"{job_id}-{one.task}" for one in self.tasks(job_id) if not one.state.is_over]
        cluster.ask("stop", names=names, number=_SIGKILL if force else _SIGTERM)
        self._seen.pop(job_id, None)

    def lost(self) -> list[str]:
        """The jobs of which nobody can say how they ended."""
        return sorted(job_id for job_id in self._known if self.state(job_id).phase == "lost")

    def forget(self, job_id: str) -> None:
        """Drops what is known of a job that is over, its folder included."""
        if self.state(job_id).is_over:
            shutil.rmtree(self.root / job_id, ignore_errors=True)
            self._known.discard(job_id)
            self._seen.pop(job_id, None)
            self._jobs.pop(job_id, None)

    def close(self) -> None:
        """Ends the connection: the jobs go on."""
        leave(self._namespace)

    def number(self, job_id: str) -> None:
        """None: Ray numbers nothing."""

    def where(self, job_id: str) -> str:
        """A job in words."""
        return f"{job_id} on the Ray cluster {read_record(self.root / job_id).get('address', self._address())}"

    def holds(self, job_id: str) -> bool:
        """Whether a job was submitted to the very cluster that new ones go to.

        Raises:
            LauncherError: That cluster does not answer.
        """
        return bool(read_record(self.root / job_id).get("address") == self._cluster(self._address()).address)

    def _address(self) -> str:
        """Where new jobs go."""
        return self.options.address or AUTO

    def _cluster(self, address: str) -> RayProcess:
        """The connection to a cluster."""
        return joined(address, self._namespace)

    def _asked(self, job: Job | WorkerArray, task: int) -> dict[str, Any]:
        """What the guard of a task is told."""
        folder = self.root / job.id
        log = folder / f"task-{task}.log"
        out, err = (job.folder / STDOUT, job.folder / STDERR) if isinstance(job, Job) else (log, log)
        words = ["/bin/bash", str(folder / SCRIPT)]
        return {"words": words, "folder": str(folder), "out": str(out), "err": str(err), "stem": str(folder / f"task-{task}")}

    def _look(self, job_id: str, record: Mapping[str, Any]) -> list[TaskState]:
        """Reads the tasks' records, and asks Ray for those that are not over."""
        folder, tasks = self.root / job_id, range(int(record["tasks"]))
        read = {task: _attempts(folder, task) for task in tasks}
        left = [task for task in tasks if _phase(read[task]) != "ended"]
        there, silent, has_room = set[str](), set[str](), True
        if left:
            begun = [f"{job_id}-{task}" for task in left if _phase(read[task]) == "running"]
            words = {"names": [f"{job_id}-{task}" for task in left], "begun": begun, "options": record["options"]}
            answer = self._cluster(str(record["address"])).ask("look", **words)
            there, silent, has_room = set(answer["there"]), set(answer["silent"]), answer["room"]
            read |= {task: _attempts(folder, task) for task in left}  # what ended meanwhile is no longer there
        waits_for = "Resources" if has_room else no_room(record["options"])
        found = []
        for task in tasks:
            name = f"{job_id}-{task}"
            one = self._task(task, read[task], folder, name in there, name in silent)
            found.append(TaskState(task, one, *_place(read[task]), waits_for if one.phase == "waiting" else ""))
        return found

    def _task(self, task: int, attempts: Sequence[Mapping[str, Any]], folder: Path, there: bool, silent: bool) -> JobState:
        """How a task stands."""
        phase, last = _phase(attempts), attempts[-1] if attempts else {}
        if phase == "ended":
            return JobState(
                "ended",
                None,
                last.get("code"),
                last.get("signal"),
                float(last.get("seconds") or 0),
                reason=str(last.get("reason", "")),
            )
        if there:
            return JobState("running" if phase == "running" and not silent else "waiting")
        if (folder / CANCELLED).exists():
            return JobState("ended", signal=_SIGTERM)
        unseen = f"it ended before it began: does its node see {folder}?"
        return JobState("lost", reason="its node failed, or its actor was ended" if attempts else unseen)


def _attempts(folder: Path, task: int) -> list[dict[str, Any]]:
    """The records of a task, one for each time that it was begun."""
    found: list[dict[str, Any]] = []
    while (path := folder / f"task-{task}.{len(found) + 1}.json").exists():
        try:
            found.append(dict(json.loads(path.read_bytes())))
        except (OSError, ValueError, TypeError):
            found.append({})  # it is just begun
    return found


def _phase(attempts: Sequence[Mapping[str, Any]]) -> str:
    """What the newest record says."""
    return str(attempts[-1].get("phase", "")) if attempts else ""


def _place(attempts: Sequence[Mapping[str, Any]]) -> tuple[str, int]:
    """The node of the newest record, and how often the task was begun again."""
    return (str(attempts[-1].get("node", "")), len(attempts) - 1) if attempts else ("", 0)


def words_of(wanted: Mapping[str, Any]) -> str:
    """What a task takes, in words.

    >>> words_of({"num_cpus": 2, "resources": {"big": 1}})
    'num_cpus=2, resources.big=1'
    """
    flat = {name: value for name, value in wanted.items() if name != "resources"}
    flat |= {f"resources.{name}": value for name, value in wanted.get("resources", {}).items()}
    return ", ".join(f"{name}={value:g}" for name, value in flat.items())


def no_room(wanted: Mapping[str, Any]) -> str:
    """What is said where no node can take a task.

    >>> no_room({"num_cpus": 64})
    'no node of the Ray cluster has num_cpus=64'
    """
    return f"no node of the Ray cluster has {words_of(wanted)}"
