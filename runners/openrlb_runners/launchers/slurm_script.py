"""The batch script of a SLURM job, and which options of sbatch a user may set."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from shlex import quote

from openrlb.errors import UsageError
from openrlb_runners.launchers.job_folder import command_lines

OURS = {
    "array": "it is how many workers there are: use --workers",
    "chdir": "jobs start in their own folder",
    "error": "each task has its own log, which openrlb reads",
    "export": "the script says what a worker needs",
    "job-name": "openrlb finds its jobs again by their names",
    "open-mode": "a task that is requeued goes on in its log",
    "output": "each task has its own log, which openrlb reads",
    "parsable": "openrlb reads what sbatch prints",
    "test-only": "use --dry-run",
    "wait": "use openrlb status --watch",
    "wrap": "openrlb writes the script",
}
"""Options that openrlb decides, and why."""

COMMON = (
    *("account", "begin", "clusters", "comment", "constraint", "cpus-per-task", "deadline", "exclude", "exclusive", "gpus"),
    *("gpus-per-task", "gres", "licenses", "mail-type", "mail-user", "mem", "mem-per-cpu", "mem-per-gpu", "mincpus", "nice"),
    *("no-requeue", "nodelist", "nodes", "oversubscribe", "partition", "priority", "qos", "requeue", "reservation", "signal"),
    *("spread-job", "threads-per-core", "time", "time-min", "tmp", "wckey"),
)
"""Options that are often asked for: a misspelt one is told by them. Others are passed on: sbatch knows best."""

MOST_SIGNS = 512
_KEY = re.compile(r"[a-z][a-z0-9-]*")


@dataclass(frozen=True)
class Script:
    """A command that SLURM executes as an array of equal tasks.

    Attributes:
        name: The job's name.
        words: The command.
        folder: Where its logs go, and where it starts.
        tasks: How many there are.
        options: sbatch's options by their long names; an empty value stands for a flag.
        variables: Environment variables; no secrets, for the script is there to be read.
        secrets: Environment variables whose values lie in files that only their owner reads, by name.
        threads: Threads of a task, for ``cpus-per-task``.
        output: The file of the tasks' standard output; ``%a`` is a task's number.
        error: That of standard error; the same file by default.
    """

    name: str
    words: Sequence[str]
    folder: Path
    tasks: int = 1
    options: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Path] = field(default_factory=dict)
    threads: int = 1
    output: Path | None = None
    error: Path | None = None

    @property
    def text(self) -> str:
        """The script. It ends in ``exec``, so that what SLURM signals is the command itself."""
        options = {"cpus-per-task": str(self.threads), "requeue": ""} | dict(self.options)
        if "no-requeue" in options:
            del options["requeue"]
        output = _pattern(self.folder) + "/task-%a.log" if self.output is None else _pattern(self.output)
        options |= {"job-name": self.name, "array": f"0-{self.tasks - 1}", "output": output, "open-mode": "append"}
        options |= {} if self.error is None else {"error": _pattern(self.error)}
        options |= {"chdir": str(self.folder)}
        lines = ["#!/bin/bash", *(f"#SBATCH --{key}{'=' + quote(one) if one else ''}" for key, one in sorted(options.items()))]
        return "\n".join([*lines, *command_lines(self.words, self.variables, self.secrets), ""])


def _pattern(path: Path) -> str:
    """A path where SLURM fills in patterns."""
    return str(path).replace("%", "%%").replace("\\", "\\\\")


def checked_options(words: Mapping[str, object]) -> dict[str, str]:
    """Options of sbatch as a user wrote them.

    Args:
        words: Values by name, with or without dashes in front: ``{"partition": "gpu", "exclusive": True}``.

    Returns:
        Texts by long names; an option that is only a flag has an empty text, one that is switched off is left out.

    Raises:
        UsageError: openrlb decides the option itself, it is misspelt, or it could be read as something else.

    >>> checked_options({"--partition": "gpu", "time": 60, "exclusive": True})
    {'partition': 'gpu', 'time': '60', 'exclusive': ''}
    """
    found: dict[str, str] = {}
    for key, value in words.items():
        name = str(key).strip().lstrip("-").replace("_", "-")
        if name in OURS:
            raise UsageError(f"--slurm {name} cannot be set", OURS[name], "leave it out")
        if not _KEY.fullmatch(name):
            raise UsageError(f"--slurm {str(key)[:40]!r} was not understood", "it names no option", "write --slurm partition=gpu")
        close = [] if name in COMMON else get_close_matches(name, COMMON, n=1, cutoff=0.8)
        if close:
            raise UsageError(f"sbatch has no option {name}", f"did you mean {close[0]}?", f"write --slurm {close[0]}=...")
        if isinstance(value, list | dict) or value is None:
            raise UsageError(f"--slurm {name} was not understood", f"{value!r} is no text or number", f"write --slurm {name}=...")
        text = "" if value is True else str(value)
        if len(text) > MOST_SIGNS or not text.isprintable():
            why = "its value is too long, or has signs that cannot be printed"
            raise UsageError(f"--slurm {name} cannot be used", why, "write it in plain signs")
        if value is not False:
            found[name] = text
    return found
