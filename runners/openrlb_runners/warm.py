"""Starts runs without paying their imports again: ``python warm.py --entry run.py --preload torch,gymnasium [--cold]``.

Standard library only, for it runs under a runner's own Python. It imports what is named once, then forks a process for each
run and runs the entry in it as ``python run.py`` would. With ``--cold`` nothing is imported and each run is a new interpreter.
The parent talks JSON lines, one object a line:

- in: ``{"start": ID, "arguments": [...], "stdout": PATH, "stderr": PATH, "environment": {...}}``; ``{"stop": ID, "signal": 15}``
- out: ``{"ready": seconds}``; ``{"started": ID, "pid": N}``; ``{"ended": ID, "code": N or null, "signal": N or null,
  "seconds": x, "max_rss_mb": y}``; ``{"failed": ID or null, "reason": ".."}`` for a line that could not be obeyed, and, before
  it exits with 1, for a preload that could not be imported

Each run leads its own session and process group; what is left of the group dies with it. End of input (the parent died, even
by kill -9), SIGTERM and SIGHUP end every run: TERM, after five seconds KILL. SIGINT is ignored here and in the runs.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import sys
import threading
import time
from typing import Any, NamedTuple, NoReturn

GRACE_SECONDS = 5.0
LONGEST_LINE = 1 << 24
SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP)
_PR_SET_PDEATHSIG = 1
_RSS_UNIT = 2**20 if sys.platform == "darwin" else 2**10  # ru_maxrss counts bytes there, kilobytes elsewhere


class Child(NamedTuple):
    """A running run."""

    name: str
    pid: int
    began: float


class Launch(NamedTuple):
    """What a forked process is to run."""

    entry: str
    arguments: list[str]
    environment: dict[str, str]


class Server:
    """Starts, stops and reaps runs; single-threaded, so that forking is safe.

    Args:
        entry: The script to run.
        events: The file descriptor that events are written to.
    """

    def __init__(self, entry: str, events: int) -> None:
        self.entry, self.events = entry, events
        self.children: dict[int, Child] = {}
        self.ended: set[str] = set()
        self.buffer = b""
        self.closing: float | None = None
        self.wake_read, self.wake_write = os.pipe()
        os.set_blocking(self.wake_write, False)
        signal.set_wakeup_fd(self.wake_write, warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, self.signalled)

    def signalled(self, number: int, frame: object) -> None:
        """Only notes that the server is to end; the wakeup descriptor interrupts the wait."""
        del frame
        if number != signal.SIGCHLD and self.closing is None:
            self.closing = time.monotonic()

    def say(self, **event: Any) -> None:  # noqa: ANN401
        """Writes an event; nobody may be left to read it."""
        data = json.dumps(event).encode() + b"\n"
        try:
            while data:
                data = data[os.write(self.events, data) :]
        except OSError:
            self.closing = self.closing or time.monotonic()

    def serve(self) -> Launch | None:
        """Answers until the input ends and every run has; in a forked run, returns at once what is to be run."""
        terminated = False
        while self.children or self.closing is None:
            if self.closing is not None:
                late = time.monotonic() - self.closing > GRACE_SECONDS
                if late or not terminated:
                    self.signal_all(signal.SIGKILL if late else signal.SIGTERM)
                    terminated = True
            waits = [self.wake_read] if self.closing is not None else [self.wake_read, 0]
            ready = select.select(waits, [], [], 0.5 if self.closing is not None else 60.0)[0]
            if self.wake_read in ready:
                os.read(self.wake_read, 4096)
            self.reap()
            if 0 in ready:
                launch = self.read()
                if launch is not None:
                    return launch
        return None

    def read(self) -> Launch | None:
        """Takes what the parent wrote; returns in a forked run only."""
        data = os.read(0, 1 << 16)
        if not data or len(self.buffer) > LONGEST_LINE:
            self.closing = self.closing or time.monotonic()
            return None
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        for line in lines:
            launch = self.obey(line) if line.strip() else None
            if launch is not None:
                return launch
        return None

    def obey(self, line: bytes) -> Launch | None:
        """Does what a line says; a line without meaning is answered, not fatal."""
        name = None
        try:
            words = json.loads(line)
            name = words.get("start", words.get("stop"))
            if not isinstance(name, str):
                raise ValueError("a line starts or stops a run by its name")
            if "stop" in words:
                self.stop(name, int(words.get("signal", signal.SIGTERM)))
                return None
            environment = {str(key): str(value) for key, value in words["environment"].items()}
            launch = Launch(self.entry, [str(word) for word in words["arguments"]], environment)
            return launch if self.start(name, words["stdout"], words["stderr"]) else None
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            self.say(failed=name, reason=f"{type(error).__name__}: {error}")
        return None

    def start(self, name: str, stdout: str, stderr: str) -> bool:
        """Forks a run; true in the run itself.

        Raises:
            ValueError: A run of this name is there.
            OSError: A file cannot be opened, or there is no room for a process.
        """
        if any(child.name == name for child in self.children.values()):
            raise ValueError(f"{name} is running")
        files = [os.open(os.devnull, os.O_RDONLY)]
        try:
            files += [os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666) for path in (stdout, stderr)]
            sys.stdout.flush()
            sys.stderr.flush()
            server = os.getpid()
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # a stop that comes at once must find the default handlers
            pid = os.fork()
            if pid == 0:
                self.become_run(files, server)
                return True
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            for file in files:
                os.close(file)
        self.children[pid] = Child(name, pid, time.monotonic())
        self.ended.discard(name)
        self.say(started=name, pid=pid)
        return False

    def become_run(self, files: list[int], server: int) -> None:
        """In a forked process: a session of its own, its own files, default signals, and death with the server."""
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            for number in SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            for target, file in enumerate(files):
                os.dup2(file, target)
            for own in (self.events, self.wake_read, self.wake_write):
                os.close(own)
            die_with(server)
        except BaseException as error:  # whatever it is, this process must not go on as a second server
            os.write(2, f"the run could not begin: {error}\n".encode())
            os._exit(1)

    def stop(self, name: str, number: int) -> None:
        """Signals a run's whole process group; one that has ended by itself meanwhile needs no word."""
        for child in self.children.values():
            if child.name == name:
                signal_run(child.pid, number)
                return
        if name not in self.ended:
            raise ValueError(f"no run {name}")

    def signal_all(self, number: int) -> None:
        """Signals every run's process group."""
        for pid in self.children:
            signal_run(pid, number)

    def reap(self) -> None:
        """Reports the runs that have ended, and ends what they left behind."""
        for child in list(self.children.values()):
            if hasattr(os, "waitid"):  # the leader's number is ours while it is not reaped, so the group cannot be another's
                if os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                    continue
                signal_group(child.pid, signal.SIGKILL)
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            if pid == 0:
                continue
            if not hasattr(os, "waitid"):
                signal_group(child.pid, signal.SIGKILL)
            del self.children[child.pid]
            self.ended.add(child.name)
            code = os.waitstatus_to_exitcode(status)
            seconds, size = round(time.monotonic() - child.began, 3), round(usage.ru_maxrss / _RSS_UNIT, 1)
            ending = {"code": None, "signal": -code} if code < 0 else {"code": code, "signal": None}
            self.say(ended=child.name, **ending, seconds=seconds, max_rss_mb=size)


def signal_group(pid: int, number: int) -> bool:
    """Signals a process group; false where it is gone."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):  # the latter on macOS, where only a zombie is left
        return False
    return True


def signal_run(pid: int, number: int) -> None:
    """Signals a run's process group, or the run alone where it has not come to lead one yet."""
    if not signal_group(pid, number):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def die_with(server: int) -> None:
    """Ends this process when the server does, however that happens; beside Linux a cold run outlives a server's kill -9."""
    if sys.platform == "linux":
        if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
        if os.getppid() != server:
            os._exit(1)
        return

    def watch() -> None:
        while os.getppid() == server:
            time.sleep(1.0)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def run_here(launch: Launch) -> NoReturn:
    """Runs the entry in this process as ``python entry`` would, and ends it as that would end.

    Tearing down an interpreter that has imported torch takes longer than starting a short run. So what an exit owes to others
    is done (threads are joined, exit functions run, files closed) and the memory is left to the system.
    """
    os.environ.clear()
    os.environ.update(launch.environment)
    sys.argv = [launch.entry, *launch.arguments]
    sys.path.insert(0, os.path.dirname(os.path.realpath(launch.entry)))  # noqa: PTH120
    sys.dont_write_bytecode = True  # the folder of a run keeps what was put there, and nothing else
    code = 0
    try:
        runpy.run_path(launch.entry, run_name="__main__")
    except SystemExit as error:
        code = exit_code(error.code)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    gc.collect()  # closes, and so flushes, what a run left open
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


def exit_code(value: object) -> int:
    """The exit code that Python makes of ``SystemExit(value)``; words go to standard error."""
    if value is None:
        return 0
    if isinstance(value, int):
        return value & 0xFF
    sys.stderr.write(f"{value}\n")
    return 1


def preload(names: list[str]) -> str | None:
    """Imports modules; returns why one could not be."""
    for name in names:
        try:
            importlib.import_module(name)
        except BaseException as error:  # a module may exit
            return f"{name} cannot be imported: {type(error).__name__}: {error}"
    return None


def main() -> None:
    """Reads the words, preloads and serves."""
    parser = argparse.ArgumentParser(description="Starts runs without paying their imports again; see the file's first lines.")
    parser.add_argument("--entry", required=True)
    parser.add_argument("--preload", default="")
    parser.add_argument("--cold", action="store_true")
    words = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    here = os.path.dirname(os.path.realpath(__file__))  # noqa: PTH120
    sys.path[:] = [path for path in sys.path if path != here]  # this file's neighbours are no modules for a runner
    events = os.dup(1)
    os.dup2(2, 1)  # a module that prints while it is imported must not break the protocol
    began = time.monotonic()
    reason = None if words.cold else preload([name for name in words.preload.split(",") if name])
    server = Server(words.entry, events)
    if reason is not None:
        server.say(failed=None, reason=reason)
        raise SystemExit(reason)
    gc.freeze()  # a collection in a run would touch, and so copy, every page it shares with the server
    server.say(ready=round(time.monotonic() - began, 3))
    launch = server.serve()
    if launch is None:
        return
    if words.cold:
        os.execve(sys.executable, [sys.executable, "-B", launch.entry, *launch.arguments], launch.environment)  # noqa: S606
    run_here(launch)


if __name__ == "__main__":
    main()
