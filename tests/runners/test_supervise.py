"""How a process ended, in the words of the contract."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from openrlb_runners.interrupts import Interrupts
from openrlb_runners.launchers.protocol import JobState
from openrlb_runners.supervise import Limits, Stopped, ending, memory_of, over_limit


@pytest.mark.parametrize(
    ("code", "number", "done", "state", "note"),
    [
        (0, None, True, "finished", None),
        (0, None, False, "crashed", "done.json"),
        (2, None, False, "failed", "refused"),
        (3, None, False, "failed", "environment"),
        (4, None, False, "diverged", "diverged"),
        (5, None, False, "crashed", "out of memory"),
        (124, None, False, "killed", "wall limit"),
        (1, None, False, "crashed", "exit code 1"),
        (137, None, True, "crashed", "exit code 137"),
        (None, signal.SIGSEGV, False, "crashed", "SIGSEGV"),
        (None, signal.SIGKILL, False, "crashed", "SIGKILL"),
    ],
)
def test_every_exit_has_its_state(code: int | None, number: int | None, done: bool, state: str, note: str | None) -> None:
    ended = ending(JobState("ended", 1, code, number, 2.0), None, "a\nlast words\n", 0, done)
    assert ended.state == state and ended.seconds == 2.0 and ended.code == code
    assert note is None or note in ended.notes[0]
    assert state == "finished" or ended.notes[-1] == "its last words: last words"


def test_a_kill_while_the_system_ran_out_of_memory_says_so() -> None:
    ended = ending(JobState("ended", 1, None, signal.SIGKILL), None, "", 1, False)
    assert ended.notes[0].startswith("out of memory")


def test_what_the_parent_stopped_has_the_parent_s_reason() -> None:
    stopped = Stopped("killed", "wall limit of 2 s")
    for job in (JobState("ended", 1, None, signal.SIGTERM), JobState("ended", 1, 0), JobState("lost", reason="gone")):
        assert ending(job, stopped, "", 0, False).notes == ("wall limit of 2 s",)
    assert ending(JobState("ended", 1, 0), stopped, "", 0, True).state == "finished"  # it came to its end all the same


def test_a_lost_job_is_crashed() -> None:
    ended = ending(JobState("lost", reason="the process that starts runs has ended"), None, "", 0, False)
    assert ended.state == "crashed" and "the process that starts runs" in ended.notes[0]


def test_limits() -> None:
    assert over_limit(Limits(), 1e9, os.getpid()) is None
    stopped = over_limit(Limits(wall_seconds=2.0), 2.5, None)
    assert stopped is not None and stopped.state == "killed" and "2 s" in stopped.note
    stopped = over_limit(Limits(memory_bytes=1000), 0.0, os.getpid())
    assert stopped is not None and stopped.state == "crashed" and stopped.note.startswith("out of memory")


def test_memory_counts_descendants_and_what_is_gone_holds_nothing() -> None:
    alone = memory_of(os.getpid())
    held = "x = bytearray(80_000_000); x[::4096] = b'y' * len(x[::4096]); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", held], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert memory_of(os.getpid()) > alone + 60_000_000
        child.kill()
    assert memory_of(child.pid) == 0


def test_interrupts_are_counted_and_handlers_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupts() as signals:
        for count, number in enumerate((signal.SIGINT, signal.SIGTERM, signal.SIGINT), start=1):
            os.kill(os.getpid(), number)
            deadline = time.monotonic() + 60
            while signals.count < count and time.monotonic() < deadline:  # another thread may get it, and two alike make one
                time.sleep(0.01)
            assert signals.count == count
    assert signal.getsignal(signal.SIGINT) is before
