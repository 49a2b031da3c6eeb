"""The program in processes of its own, as a user or a machine starts and ends it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable


def start(*words: object) -> subprocess.Popen[str]:
    """The program in a process of its own, in a session of its own as under a terminal."""
    command = [sys.executable, "-m", "openrlb", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_until(holds: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
