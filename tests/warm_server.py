"""A parent for ``warm.py``, as tests need it: starts it, tells it lines, and collects what it says."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from openrlb_runners import warm
from openrlb_runners.environment import child_variables

WAIT_SECONDS = 120.0


class WarmServer:
    """A running server; leaving the context ends it."""

    def __init__(self, entry: Path, *words: str, python: Path = Path(sys.executable), script: Path = Path(warm.__file__)) -> None:
        self.variables = child_variables(1)
        self.process = subprocess.Popen(
            [python, script, "--entry", entry, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.variables,
        )
        self.events: list[dict[str, Any]] = []
        self.part = b""

    def __enter__(self) -> WarmServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process.stdin and not self.process.stdin.closed:
            self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            for pipe in (self.process.stdout, self.process.stderr):
                if pipe:
                    pipe.close()

    def tell(self, line: object) -> None:
        """Writes a line."""
        assert self.process.stdin
        self.process.stdin.write((line if isinstance(line, str) else json.dumps(line)).encode() + b"\n")
        self.process.stdin.flush()

    def start(self, name: str, folder: Path, *arguments: object, **variables: str) -> None:
        """Starts a run whose standard output and error go to files of ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        files = {"stdout": str(folder / "stdout"), "stderr": str(folder / "stderr")}
        words = [str(argument) for argument in arguments]
        self.tell({"start": name, "arguments": words, **files, "environment": self.variables | variables})

    def train(self, name: str, folder: Path, spec: dict[str, Any], *words: str) -> None:
        """Starts a training as the contract has it."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "spec.json").write_text(json.dumps(spec))
        self.start(name, folder, "--spec", folder / "spec.json", "--out", folder, *words)

    def wait(self, kind: str, name: str | None = None, count: int = 1) -> dict[str, Any]:
        """The last of ``count`` events of a kind, of one run where it is named.

        Raises:
            TimeoutError: It did not come.
        """
        assert self.process.stdout
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            found = [event for event in self.events if kind in event and (name is None or event[kind] == name)]
            if len(found) >= count:
                return found[-1]
            if not select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f"no {kind} of {name}: {self.events}")
            data = os.read(self.process.stdout.fileno(), 1 << 16)
            if not data:
                raise TimeoutError(f"the server ended before {kind} of {name}: {self.events}")
            *lines, self.part = (self.part + data).split(b"\n")
            self.events += map(json.loads, lines)


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pid: int, seconds: float = 10.0) -> bool:
    """Whether a process ends in time."""
    deadline = time.monotonic() + seconds
    while is_alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
