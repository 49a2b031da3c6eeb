"""This machine: one warm process for each environment, which forks the runs (``warm.py`` says how they talk)."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from openrlb import paths
from openrlb.store.files import TEMPORARY_PREFIX, unwritable
from openrlb_runners.environment import child_variables
from openrlb_runners.launchers.protocol import Job, JobState
from openrlb_runners.request import PinnedRunner
from openrlb_runners.run_folder import STDERR, STDOUT, last_line

WARM = Path(__file__).parent.parent / "warm.py"
CLOSE_SECONDS = 8.0
"""A server gives its children 5 seconds after SIGTERM; then it is ended itself, and what is left dies with it."""


@dataclass
class _Server:
    """One warm process."""

    process: subprocess.Popen[bytes]
    log: Path
    part: bytes = b""
    reason: str = ""
    jobs: set[str] = field(default_factory=set)


class LocalLauncher:
    """Executes jobs on this machine. A context manager: leaving it ends what still runs."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="openrlb-"))
        self._selector = selectors.DefaultSelector()
        self._servers: dict[tuple[str, str, bool, int], _Server] = {}
        self._jobs: dict[str, tuple[Job, _Server | None]] = {}
        self._states: dict[str, JobState] = {}

    def __enter__(self) -> LocalLauncher:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def submit(self, job: Job) -> None:
        """Starts a job; one that was submitted already is left as it is.

        Raises:
            StoreUnwritable: The runner's files cannot be put into the cache.
        """
        if job.id in self._jobs:
            return
        entry = unpacked(job.runner)
        try:
            server = self._server(job, entry)
        except OSError as error:
            self._jobs[job.id] = job, None
            self._states[job.id] = JobState("lost", reason=f"{job.runner.python.name} cannot be started: {error.strerror}")
            return
        self._jobs[job.id] = job, server
        self._states[job.id] = JobState("waiting")
        server.jobs.add(job.id)
        out, err = self.logs(job.id)
        message = {"start": job.id, "arguments": list(job.arguments)}
        variables = {**child_variables(job.threads), **job.variables}
        self._tell(server, {**message, "stdout": str(out), "stderr": str(err), "environment": variables})

    def state(self, job_id: str) -> JobState:
        """How a job stands."""
        return self._states[job_id]

    def wait(self, seconds: float) -> None:
        """Reads what the servers say; returns at once where they have said something."""
        if not self._servers:
            time.sleep(seconds)
            return
        for key, _ in self._selector.select(seconds):
            self._hear(key.data)

    def logs(self, job_id: str) -> tuple[Path, Path]:
        """The files of a job's standard output and standard error."""
        folder = self._jobs[job_id][0].folder
        return folder / STDOUT, folder / STDERR

    def cancel(self, job_id: str, force: bool = False) -> None:
        """Asks a job's processes to end, or ends them."""
        server, state = self._jobs[job_id][1], self._states[job_id]
        if server is None or state.is_over:
            return
        if force and state.phase == "waiting":
            server.process.kill()  # it still imports, and would hear nothing before it is done
        else:
            self._tell(server, {"stop": job_id, "signal": int(signal.SIGKILL if force else signal.SIGTERM)})

    def lost(self) -> list[str]:
        """The jobs whose server died."""
        return [job_id for job_id, state in self._states.items() if state.phase == "lost"]

    def forget(self, job_id: str) -> None:
        """Drops what is known of a job that is over."""
        if self._states[job_id].is_over:
            del self._states[job_id], self._jobs[job_id]

    def close(self) -> None:
        """Ends everything that still runs, the servers last."""
        for server in self._servers.values():
            with suppress(OSError):
                server.process.stdin.close()  # type: ignore[union-attr]
        deadline = time.monotonic() + CLOSE_SECONDS
        for server in list(self._servers.values()):
            try:
                server.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                server.process.kill()
            self._bury(server, "openrlb has ended")
        self._servers.clear()
        self._selector.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _server(self, job: Job, entry: Path) -> _Server:
        """The warm process for a job, started where there is none that lives.

        Raises:
            OSError: The environment's Python cannot be started.
        """
        runner = job.runner
        key = (str(runner.python), str(entry), runner.fork, job.threads)
        found = self._servers.get(key)
        if found is not None:
            return found
        log = self._folder / f"server-{uuid.uuid4().hex[:8]}"
        words = [str(runner.python), str(WARM), "--entry", str(entry), "--preload", ",".join(runner.preload)]
        with log.open("wb") as errors:
            process = subprocess.Popen(
                words if runner.fork else [*words, "--cold"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=child_variables(job.threads),
                start_new_session=True,
            )
        server = _Server(process, log)
        self._servers[key] = server
        self._selector.register(process.stdout, selectors.EVENT_READ, server)  # type: ignore[arg-type]
        return server

    def _tell(self, server: _Server, message: dict[str, Any]) -> None:
        """Writes one line to a server; one that is dead is buried when its silence is heard."""
        with suppress(OSError):
            os.write(server.process.stdin.fileno(), json.dumps(message).encode() + b"\n")  # type: ignore[union-attr]

    def _hear(self, server: _Server) -> None:
        """Takes in what a server says."""
        data = os.read(server.process.stdout.fileno(), 65536)  # type: ignore[union-attr]
        if not data:
            self._servers = {key: one for key, one in self._servers.items() if one is not server}
            self._bury(server, "the process that starts runs has ended")
            return
        *lines, server.part = (server.part + data).split(b"\n")
        for message in _messages(lines):
            self._note(server, message)

    def _note(self, server: _Server, message: dict[str, Any]) -> None:
        """One word of a server about a job."""
        kind = next((word for word in ("started", "ended", "failed") if word in message), None)
        job_id = str(message[kind]) if kind else ""
        if kind == "failed" and message[kind] is None:
            server.reason = str(message.get("reason"))
        if job_id not in server.jobs:
            return
        before = self._states[job_id]
        if kind == "started":
            self._states[job_id] = replace(before, phase="running", pid=int(message["pid"]))
            return
        server.jobs.discard(job_id)
        if kind == "failed":
            self._states[job_id] = replace(before, phase="lost", reason=str(message.get("reason")))
            return
        ended = JobState("ended", before.pid, message.get("code"), message.get("signal"), float(message.get("seconds") or 0))
        self._states[job_id] = replace(ended, max_rss_mb=message.get("max_rss_mb"))

    def _bury(self, server: _Server, reason: str) -> None:
        """Ends what a dead server has left, and counts its jobs as lost."""
        with suppress(KeyError, ValueError):
            self._selector.unregister(server.process.stdout)  # type: ignore[arg-type]
        code = server.process.wait()
        said = last_line(server.log.read_text(encoding="utf-8", errors="replace")[-4096:]) if server.log.exists() else ""
        words = f"{reason} (exit code {code}): {server.reason or said}".rstrip(": ")
        for job_id in server.jobs:
            before = self._states[job_id]
            if before.pid is not None:
                with suppress(OSError):
                    os.killpg(before.pid, signal.SIGKILL)
            self._states[job_id] = replace(before, phase="lost", reason=words)
        server.jobs.clear()
        for pipe in (server.process.stdin, server.process.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]


def _messages(lines: list[bytes]) -> Iterator[dict[str, Any]]:
    """The lines that are messages; what a module prints on import is none."""
    for line in lines:
        with suppress(ValueError):
            message = json.loads(line)
            if isinstance(message, dict):
                yield message


def unpacked(runner: PinnedRunner) -> Path:
    """The runner's entry in a folder of the cache that is named by the hash of its sources, made where it is missing.

    What runs is that copy, checked byte for byte: an edit of the runner's folder during a batch changes nothing.

    Raises:
        StoreUnwritable: The cache cannot be written.
    """
    folder = paths.cache_dir() / "runners" / f"{runner.name}-{runner.source[:16]}"
    if all((folder / name).is_file() and (folder / name).read_bytes() == data for name, data in runner.sources.items()):
        return folder / runner.entry
    temporary = folder.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:12]}")
    try:
        temporary.mkdir(parents=True)
        for name, data in runner.sources.items():
            (temporary / name).write_bytes(data)
        if folder.exists():  # tampered with, or cut short
            folder.rename(temporary.with_name(f"{temporary.name}.old"))
        with suppress(FileExistsError):
            temporary.rename(folder)
    except OSError as error:
        if not (folder / runner.entry).is_file():
            raise unwritable(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(temporary.with_name(f"{temporary.name}.old"), ignore_errors=True)
    return folder / runner.entry
