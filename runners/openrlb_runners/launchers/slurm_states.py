"""What SLURM says of jobs: the lines of ``scontrol`` and ``sacct`` as states of jobs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from openrlb_runners.launchers.protocol import JobState, Phase, TaskState

WAITING = frozenset(
    {"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT", "SUSPENDED", "STOPPED"}
)
RUNNING = frozenset({"CONFIGURING", "COMPLETING", "RESIZING", "RUNNING", "SIGNALING", "STAGE_OUT"})
LOST = {
    "BOOT_FAIL": "its node did not start",
    "DEADLINE": "its deadline passed",
    "NODE_FAIL": "its node failed",
    "OUT_OF_MEMORY": "out of memory",
    "PREEMPTED": "preempted",
    "REVOKED": "its cluster gave it away",
    "TIMEOUT": "time limit",
}
"""How SLURM ends what did not end by itself, in words."""

MAY_RETURN = frozenset({LOST[name] for name in ("BOOT_FAIL", "NODE_FAIL", "PREEMPTED")})
"""A job that is to be requeued is seen like this for a moment."""
FORGOTTEN = JobState("lost", reason="SLURM remembers nothing of it")
SACCT_FIELDS = ("JobID", "State", "ExitCode")
MOST_TASKS = 10_000
_FIELD = re.compile(r"(?:^|\s)(ArrayTaskId|JobState|Reason|ExitCode|Restarts|NodeList)=(\S*)")
_SIGTERM, _SIGKILL = 15, 9


def read_scontrol(text: str) -> list[TaskState]:
    """The tasks of an array as ``scontrol show job --oneliner`` tells them.

    Args:
        text: Its output; a line of several waiting tasks (``ArrayTaskId=2-9%4``) is taken apart.

    >>> line = "JobId=7 ArrayJobId=7 ArrayTaskId=0-1%2 JobState=PENDING Reason=Resources ExitCode=0:0 Restarts=0 NodeList="
    >>> [(one.task, one.state.phase, one.waiting_for) for one in read_scontrol(line)]
    [(0, 'waiting', 'Resources'), (1, 'waiting', 'Resources')]
    """
    found = []
    for line in text.splitlines():
        told = dict(_FIELD.findall(line))
        if "JobState" not in told:
            continue
        state = state_of(told["JobState"], told.get("ExitCode", "0:0"))
        reason = told.get("Reason", "")
        waiting = reason if state.phase == "waiting" and reason != "None" else ""
        node, restarts = told.get("NodeList", "").replace("(null)", ""), told.get("Restarts", "0")
        for task in task_numbers(told.get("ArrayTaskId", "0")):
            found.append(TaskState(task, state, node, int(restarts) if restarts.isdecimal() else 0, waiting))
    return sorted(found, key=lambda one: one.task)


def read_sacct(text: str) -> list[TaskState]:
    r"""The tasks of an array as ``sacct --noheader --parsable2`` tells them, in :data:`SACCT_FIELDS`; steps are left out.

    >>> [(one.task, one.state.code) for one in read_sacct("7_0|COMPLETED|0:0\n7_0.batch|COMPLETED|0:0\n7_1|FAILED|3:0")]
    [(0, 0), (1, 3)]
    """
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition("|")
        word, _, code = rest.partition("|")
        match = re.fullmatch(r"\d+_(\d+|\[[^\]]*\])", name)
        if match:
            for task in task_numbers(match[1].strip("[]")):
                found[task] = TaskState(task, state_of(word, code))
    return [found[task] for task in sorted(found)]


def task_numbers(words: str) -> Iterator[int]:
    """The numbers that SLURM writes as ``0-3,7%2``.

    >>> list(task_numbers("0-2,7%2"))
    [0, 1, 2, 7]
    """
    for part in words.partition("%")[0].split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and (last.isdecimal() or not last):
            yield from range(int(first), min(int(last or first), int(first) + MOST_TASKS) + 1)


def state_of(word: str, exit_code: str) -> JobState:
    """A state of SLURM as one of ours.

    Args:
        word: ``RUNNING``, ``CANCELLED by 0``, ``COMPLETED`` ...
        exit_code: ``CODE:SIGNAL``.

    >>> state_of("FAILED", "3:0").code, state_of("FAILED", "0:9").signal, state_of("NODE_FAIL", "0:0").reason
    (3, 9, 'its node failed')
    """
    name = word.split()[0].rstrip("+") if word.split() else ""
    if name in WAITING or name in RUNNING:
        phase: Phase = "waiting" if name in WAITING else "running"
        return JobState(phase)
    if name in LOST:
        return JobState("lost", reason=LOST[name])
    code, _, signal = exit_code.partition(":")
    number = int(code) if code.isdecimal() else 0
    ended_by = int(signal) if signal.isdecimal() else 0
    if name == "CANCELLED":
        return JobState("ended", signal=ended_by or _SIGTERM)
    if name == "FAILED" and not ended_by and number > 128:  # a shell's word for a signal
        number, ended_by = 0, number - 128
    if name in ("COMPLETED", "FAILED"):
        return JobState("ended", signal=ended_by) if ended_by else JobState("ended", code=number)
    return JobState("lost", reason=f"SLURM says {name[:40] or 'nothing'}")
