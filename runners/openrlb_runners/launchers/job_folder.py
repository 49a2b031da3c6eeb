"""The folder of a job that outlives whoever submits it: its script, what it was submitted as, and what is run in it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import Any

from openrlb_runners.launchers.local import unpacked
from openrlb_runners.launchers.protocol import Job, WorkerArray
from openrlb_runners.run_folder import STDERR, STDOUT

SCRIPT, RECORD = "script.sh", "job.json"


def write(path: Path, text: str, mode: int) -> None:
    """Writes a file that nobody ever sees half, and a secret never readable for others.

    Args:
        path: The file.
        text: What it holds.
        mode: Its permissions.

    Raises:
        OSError: It cannot be written.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_record(folder: Path) -> dict[str, Any]:
    """What a job was submitted as; empty where that was not written down, or not to its end.

    Args:
        folder: The job's.
    """
    with suppress(OSError, ValueError):
        table = json.loads((folder / RECORD).read_bytes())
        if isinstance(table, dict):
            return table
    return {}


def secret_file(folder: Path, variable: str) -> Path:
    """The file of a job's folder that holds the value of a secret variable, for its owner alone.

    Args:
        folder: The job's.
        variable: The variable's name.

    >>> secret_file(Path("job"), "OPENRLB_STORAGE").name
    '.openrlb_storage'
    """
    return folder / f".{variable.lower()}"


def secret_files(folder: Path, array: WorkerArray) -> dict[str, Path]:
    """The files of an array's secret variables, by variable.

    Args:
        folder: The job's.
        array: The workers.
    """
    return {variable: secret_file(folder, variable) for variable in array.secrets}


def make_folder(folder: Path, job: Job | WorkerArray, text: str, record: str) -> None:
    """Writes down what is about to be submitted.

    Args:
        folder: The job's.
        job: The job.
        text: Its script.
        record: What it is submitted as, or blanks to keep room for it.

    Raises:
        OSError: It cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / SCRIPT, text, 0o644)
    if isinstance(job, WorkerArray):
        for variable, path in secret_files(folder, job).items():
            write(path, job.secrets[variable], 0o600)
    write(folder / RECORD, record, 0o644)


def log_files(folder: Path, job: Job | None) -> tuple[Path, Path]:
    """The files of a job's standard output and standard error; those of an array's first task.

    Args:
        folder: The job's.
        job: A single job; None for an array.
    """
    return (job.folder / STDOUT, job.folder / STDERR) if job else (folder / "task-0.log",) * 2


def command_lines(words: Sequence[str], variables: Mapping[str, str], secrets: Mapping[str, Path]) -> list[str]:
    """The lines of a script that end in a command: what signals the script then signals that.

    A node that has no such Python as this one says so first.

    Args:
        words: The command.
        variables: Environment variables; no secrets, for the script is there to be read.
        secrets: Environment variables whose values lie in files that only their owner reads, by name.

    >>> command_lines(["sleep", "5"], {"A": "b c"}, {"KEY": Path("/x/.key")})
    ["export A='b c'", 'KEY=$(cat /x/.key) || exit 1', 'export KEY', 'exec sleep 5']
    """
    lines = [f"export {name}={quote(value)}" for name, value in sorted(variables.items())]
    for name, path in sorted(secrets.items()):
        lines += [f"{name}=$(cat {quote(str(path))}) || exit 1", f"export {name}"]
    if words[0] == sys.executable:
        python, version = quote(words[0]), ".".join(map(str, sys.version_info[:2]))
        asked = f"import sys; sys.exit('%d.%d' % sys.version_info[:2] != '{version}')"
        lines += [
            f'if ! {python} -c "{asked}"; then',
            f'  echo "error: this node has no Python {version} as {python}, which submitted the job" >&2',
            "  exit 127",
            "fi",
        ]
    return [*lines, f"exec {' '.join(map(quote, words))}"]


def job_words(job: Job) -> tuple[str, ...]:
    """The command of a single job.

    Args:
        job: The job.

    Raises:
        StoreUnwritable: Its runner's files cannot be put into the cache.
    """
    return ("env", "-u", "PYTHONPATH", "-u", "PYTHONHOME", str(job.runner.python), str(unpacked(job.runner)), *job.arguments)


def worker_words(name: str, *more: str) -> tuple[str, ...]:
    """The command of a worker that joins a batch or a study.

    Args:
        name: What it joins.
        *more: Further words.
    """
    return (sys.executable, "-m", "openrlb", "--no-progress", "worker", name, "--workers", "1", *more)
