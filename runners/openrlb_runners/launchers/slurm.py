"""SLURM: jobs by ``sbatch``, their states by ``scontrol`` and, where there is accounting, ``sacct``.

A job is a folder ``<root>/<id>/`` with its script and, once it is submitted, its number; another process that is given the same
root goes on where this one was. SLURM forgets: a job that neither program knows any more is ``lost``, whatever became of it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from openrlb.errors import LauncherError, UsageError
from openrlb.store.files import unwritable
from openrlb_runners.environment import child_variables
from openrlb_runners.launchers.job_folder import RECORD, SCRIPT, job_words, log_files, make_folder, read_record, secret_files
from openrlb_runners.launchers.protocol import Job, JobState, TaskState, WorkerArray, together
from openrlb_runners.launchers.slurm_script import Script
from openrlb_runners.launchers.slurm_states import (
    FORGOTTEN,
    MAY_RETURN,
    SACCT_FIELDS,
    read_sacct,
    read_scontrol,
)

LOOK_SECONDS = 1.0
"""The controller of a cluster serves many: it is asked no more often."""
ANSWER_SECONDS = 60.0
SILENT = "SLURM does not answer"
NEEDED = ("sbatch", "scontrol", "scancel", "squeue")
_UNKNOWN = re.compile(r"invalid job id|invalid job array", re.IGNORECASE)
_OPTION = re.compile(r"(unrecognized|invalid|ambiguous) option|option .* (requires|is ambiguous|doesn't allow)|Invalid --")


class SlurmLauncher:
    """Executes jobs on the cluster that this machine submits to. They outlive it.

    Args:
        root: Where jobs' folders lie, on a file system that the nodes see.
        options: Options of sbatch by their long names (:func:`~openrlb_runners.launchers.slurm_script.checked_options`).

    Raises:
        UsageError: SLURM's commands are not on the path.
    """

    def __init__(self, root: Path, options: Mapping[str, str] | None = None) -> None:
        if missing := [name for name in NEEDED if shutil.which(name) is None]:
            why = f"{', '.join(missing)} cannot be found on the path"
            raise UsageError("there is no SLURM here", why, "type it on a machine that submits jobs, or leave --launcher out")
        self.root, self.options = root.absolute(), dict(options or {})
        self._jobs: dict[str, Job] = {}
        self._numbers: dict[str, int] = {}
        self._seen: dict[str, tuple[float, list[TaskState]]] = {}

    def script(self, job: Job | WorkerArray) -> Script:
        """What would be submitted for a job: a lost run is begun again by whoever asked for it, lost workers by SLURM.

        Raises:
            StoreUnwritable: A runner's files cannot be put into the cache.
        """
        folder = self.root / job.id
        name = f"openrlb-{job.id}"
        if isinstance(job, WorkerArray):
            told = (self.options, dict(job.variables), secret_files(folder, job), job.threads)
            return Script(name, job.words, folder, job.tasks, *told)
        options = {name: value for name, value in self.options.items() if name != "requeue"} | {"no-requeue": ""}
        variables = {**child_variables(job.threads), **job.variables}
        return Script(name, job_words(job), folder, 1, options, variables, {}, job.threads, *log_files(folder, job))

    def text(self, job: Job | WorkerArray) -> str:
        """The script that would be submitted for a job."""
        return self.script(job).text

    def check(self, job: Job | WorkerArray) -> str:
        """Makes sure that SLURM would take a job; nothing is written and nothing submitted.

        Raises:
            LauncherError: It would not, or does not answer.
        """
        self._refused(_ask(["sbatch", "--test-only"], self.text(job)))
        return ""

    def submit(self, job: Job | WorkerArray) -> None:
        """Queues a job; one whose number is noted, or that SLURM has under its name, is left as it is.

        Raises:
            LauncherError: SLURM refuses it, or does not answer; nothing is left of it then.
            StoreUnwritable: Its folder cannot be written; nothing is submitted then.
        """
        if isinstance(job, Job):
            self._jobs[job.id] = job
        if self.number(job.id) is not None:
            return
        self.check(job)
        folder, script = self.root / job.id, self.script(job)
        try:
            make_folder(folder, job, script.text, " " * 256)  # the room for the number, on a disk that fills up meanwhile
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise unwritable(folder, error) from error
        try:
            said = self._refused(_ask(["sbatch", "--parsable", str(folder / SCRIPT)]))
        except LauncherError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._note(job.id, int(said.split(";")[0].split()[-1]), script.tasks)

    def state(self, job_id: str) -> JobState:
        """How a job stands; an array counts as one."""
        return together([one.state for one in self.tasks(job_id)])

    def tasks(self, job_id: str) -> list[TaskState]:
        """How each task of a job stands, as of no longer than a second ago.

        Raises:
            LauncherError: SLURM does not answer, and never did.
        """
        when, before = self._seen.get(job_id, (0.0, []))
        over = bool(before) and all(one.state.is_over and one.state.reason not in MAY_RETURN for one in before)
        if over or (before and time.monotonic() - when < LOOK_SECONDS):
            return before
        number = self.number(job_id)
        found = [] if number is None else self._look(number, before)
        found = found or [TaskState(0, FORGOTTEN)]
        self._seen[job_id] = time.monotonic(), found
        return found

    def wait(self, seconds: float) -> None:
        """Waits: SLURM tells nobody when something happens."""
        time.sleep(seconds)

    def logs(self, job_id: str) -> tuple[Path, Path]:
        """The files of a job's standard output and standard error; those of an array's first task."""
        return log_files(self.root / job_id, self._jobs.get(job_id))

    def cancel(self, job_id: str, force: bool = False) -> None:
        """Takes a job out of the queue, or asks its processes to end (SIGTERM, and after the cluster's KillWait SIGKILL).

        Raises:
            LauncherError: SLURM does not answer.
        """
        number = self.number(job_id)
        if number is None or self.state(job_id).is_over:
            return
        if force:
            _ask(["scancel", "--quiet", "--batch", "--signal=KILL", "--state=RUNNING", str(number)])
            _ask(["scancel", "--quiet", "--state=PENDING", str(number)])  # it fails where no task waits
        else:
            self._refused(_ask(["scancel", "--quiet", str(number)]), "the job was not cancelled")
        self._seen.pop(job_id, None)

    def lost(self) -> list[str]:
        """The jobs of which SLURM can no longer say how they ended."""
        return [job_id for job_id in self._numbers if self.state(job_id).phase == "lost"]

    def forget(self, job_id: str) -> None:
        """Drops what is known of a job that is over, its folder included."""
        if self.state(job_id).is_over:
            shutil.rmtree(self.root / job_id, ignore_errors=True)
            for known in (self._numbers, self._seen, self._jobs):
                known.pop(job_id, None)

    def close(self) -> None:
        """Nothing: the jobs go on."""

    def number(self, job_id: str) -> int | None:
        """SLURM's number of a job: as noted, or, where a submitter died before it could note it, as the queue has it."""
        if job_id in self._numbers:
            return self._numbers[job_id]
        path = self.root / job_id / RECORD
        if not path.is_file():
            return None
        try:
            self._numbers[job_id] = int(json.loads(path.read_text(encoding="utf-8"))["job"])
        except (ValueError, KeyError, TypeError):
            words = ["squeue", "--noheader", "--me", "--states=all", f"--name=openrlb-{job_id}", "--format=%F"]
            found = self._refused(_ask(words), SILENT).split()
            if not found:
                return None
            self._numbers[job_id] = int(found[0])
        return self._numbers[job_id]

    def where(self, job_id: str) -> str:
        """A job in words."""
        return f"SLURM job {self.number(job_id)}"

    def holds(self, job_id: str) -> bool:
        """Whether a job was submitted to SLURM."""
        return bool(read_record(self.root / job_id).get("launcher", "slurm") == "slurm")

    def _note(self, job_id: str, number: int, tasks: int) -> None:
        """Writes down a job's number, in the room that was made for it."""
        self._numbers[job_id] = number
        with suppress(OSError), (self.root / job_id / RECORD).open("r+", encoding="utf-8") as file:  # else the queue has it
            file.write(json.dumps({"format": 1, "launcher": "slurm", "job": number, "tasks": tasks}).ljust(256))

    def _look(self, number: int, before: list[TaskState]) -> list[TaskState]:
        """Asks for a job: the controller first, the accounting for what it has forgotten."""
        told = _ask(["scontrol", "show", "job", "--oneliner", str(number)])
        if told.returncode and not _UNKNOWN.search(told.stderr):
            if before:
                return before  # it does not answer now
            self._refused(told, SILENT)
        now = read_scontrol(told.stdout)
        known = {one.task for one in now}
        wanted = {one.task for one in before} - known
        if not wanted and known:
            return now
        words = ["sacct", "--noheader", "--parsable2", f"--format={','.join(SACCT_FIELDS)}", f"--jobs={number}"]
        past = read_sacct(_ask(words).stdout) if shutil.which("sacct") else []
        now += [one for one in past if one.task not in known]
        known = {one.task for one in now}
        now += [TaskState(task, FORGOTTEN) for task in wanted - known]
        return sorted(now, key=lambda one: one.task)

    def _refused(self, told: subprocess.CompletedProcess[str], what: str = "SLURM does not take the job") -> str:
        """What a command printed.

        Raises:
            LauncherError: It failed.
        """
        if not told.returncode:
            return told.stdout
        lines = [re.split("(?:error|fatal): ", line, maxsplit=1)[-1].strip() for line in told.stderr.splitlines() if line.strip()]
        why = lines[-1].removeprefix("Batch job submission failed: ").removeprefix("allocation failure: ") if lines else ""
        detail = next((line for line in lines[:-1] if "partition" in line or "specified" in line), "")
        fix = "see sinfo for partitions and limits, and mend --slurm or [slurm] in openrlb.toml; nothing was submitted"
        if option := next((line for line in lines if _OPTION.search(line)), ""):
            detail = option.removeprefix(f"{told.args[0]}: ")
            fix = f"mend --slurm or [slurm] in openrlb.toml; {told.args[0]} --help lists the options; nothing was submitted"
        if any(word in told.stderr for word in ("ontact", "onnect", "configuration source")):
            fix = "see that its controller runs (scontrol ping), and type it again"
        raise LauncherError(what, detail or why or f"{told.args[0]} ended with exit code {told.returncode}", fix)


def _ask(words: Sequence[str], text: str | None = None) -> subprocess.CompletedProcess[str]:
    """One of SLURM's commands, in English and without the caller's own defaults for it."""
    own = ("SBATCH_", "SCANCEL_", "SQUEUE_", "SACCT_")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(own)} | {"LC_ALL": "C"}
    variables.pop("SLURM_TIME_FORMAT", None)
    try:
        return subprocess.run(
            list(words), input=text or "", capture_output=True, text=True, env=variables, timeout=ANSWER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        why = f"{words[0]}: unable to contact the controller in {ANSWER_SECONDS:.0f} s"
        return subprocess.CompletedProcess(
            list(words), 1, "", why if isinstance(error, subprocess.TimeoutExpired) else str(error)
        )
