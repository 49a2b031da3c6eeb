"""Executes one command on a node of a Ray cluster, writes down how it stands, and ends it when its actor is gone.

``ray_bridge.py`` sends this file's text to the node, whose Python executes it: the standard library only, no import of openrlb.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

GRACE_SECONDS, ORPHANED_SECONDS = 30.0, 10.0
"""From SIGTERM to SIGKILL: where it was asked to end, and where its node or its actor is gone."""


def write(path: Path, table: dict[str, Any]) -> None:
    """Writes a file that nobody ever sees half."""
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(json.dumps(table), encoding="utf-8")
    temporary.replace(path)


class Guarded:
    """The command.

    Args:
        words: It.
        folder: Where it starts.
        out: The file that its standard output is appended to.
        err: That of its standard error; may be the same.
    """

    def __init__(self, words: list[str], folder: str, out: str, err: str) -> None:
        self.lost = False
        with Path(out).open("ab") as output, Path(err).open("ab") as errors:
            self.process = subprocess.Popen(
                words, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, start_new_session=True
            )

    def signal(self, number: int) -> None:
        """Signals the command's processes."""
        with suppress(OSError):
            os.killpg(self.process.pid, number)

    def end(self, seconds: float) -> None:
        """Asks them to end, and ends them after some seconds."""
        self.signal(signal.SIGTERM)
        timer = threading.Timer(seconds, self.signal, (signal.SIGKILL,))
        timer.daemon = True
        timer.start()

    def hear(self) -> None:
        """Takes the words of the actor, one number in each line; its silence means that it is gone."""
        for line in sys.stdin:
            if int(line) == signal.SIGKILL:
                self.signal(signal.SIGKILL)
            else:
                self.end(GRACE_SECONDS)
        self.lost = True
        self.end(ORPHANED_SECONDS)


def main() -> None:
    """Executes what its argument says."""
    asked = json.loads(sys.argv[1])
    if os.fork():  # Ray kills the children of an actor that ends: this one has to outlive it
        os._exit(0)
    os.setsid()
    record, began = Path(asked["record"]), time.monotonic()
    told: dict[str, Any] = {"node": asked["node"]}
    try:
        guarded = Guarded(asked["words"], asked["folder"], asked["out"], asked["err"])
    except OSError as error:
        write(record, {**told, "phase": "ended", "code": 127, "signal": None, "reason": str(error)})
        return
    write(record, {**told, "phase": "running", "pid": guarded.process.pid})
    sys.stdout.write(f"{guarded.process.pid}\n")
    sys.stdout.flush()
    threading.Thread(target=guarded.hear, daemon=True).start()
    code = guarded.process.wait()
    guarded.signal(signal.SIGKILL)  # what it has left
    ended = {"phase": "lost"} if guarded.lost else {"phase": "ended", "code": code, "signal": None}
    if code < 0 and not guarded.lost:
        ended |= {"code": None, "signal": -code}
    write(record, {**told, **ended, "seconds": round(time.monotonic() - began, 3)})


if __name__ == "__main__":
    main()
