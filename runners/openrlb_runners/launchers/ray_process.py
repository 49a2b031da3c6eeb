"""The process that talks to a Ray cluster (``ray_bridge.py``), and what it cannot do, in words."""

from __future__ import annotations

import json
import os
import selectors
import socket
import subprocess
import sys
import tempfile
import weakref
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from openrlb.errors import LauncherError, UsageError
from openrlb_runners.run_folder import last_line

BRIDGE = Path(__file__).with_name("ray_bridge.py")
ANSWER_SECONDS, REACH_SECONDS, CLOSE_SECONDS = 60.0, 5.0, 5.0
AUTO = "auto"
"""The cluster that this machine is a node of."""

VARIABLES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL": "minor",  # what is sent there is small, and lasts for a minor version
    "PYTHONWARNINGS": "ignore",
}
_UNREACHED = "see that it runs (ray status), and give its address: --ray address=HOST:PORT"


_KEPT: dict[tuple[str, str], RayProcess] = {}


def joined(address: str, namespace: str) -> RayProcess:
    """The connection to a cluster: joining takes seconds, so one is kept for whoever asks next, until it has been idle.

    Args:
        address: ``HOST:PORT`` of the cluster's head, or :data:`AUTO`.
        namespace: What the names of actors belong to.

    Raises:
        UsageError: Ray is not installed, or the cluster runs another version of Ray or Python.
        LauncherError: Nothing answers there.
    """
    found = _KEPT.get((address, namespace))
    if found is not None and found.is_alive:
        _reach(found.address)  # Ray's own wait for a head that is gone is a minute
    else:
        found = _KEPT[address, namespace] = RayProcess(address, namespace)
        _KEPT[found.address, namespace] = found
    return found


def leave(namespace: str) -> None:
    """Ends the connections of a namespace.

    Args:
        namespace: What they were joined with.
    """
    for key in [key for key in _KEPT if key[1] == namespace]:
        _KEPT.pop(key).close()


class RayProcess:
    """A connection to a cluster; it ends with this object, and what it has submitted goes on.

    Args:
        address: ``HOST:PORT`` of the cluster's head, or :data:`AUTO`.
        namespace: What the names of actors belong to.

    Raises:
        UsageError: Ray is not installed, or the cluster runs another version of Ray or Python.
        LauncherError: Nothing answers there.
    """

    def __init__(self, address: str, namespace: str) -> None:
        if find_spec("ray") is None:
            why = "the extra ray is not installed"
            raise UsageError("there is no Ray here", why, "pip install 'openrlb[ray]' with the cluster's version of Ray")
        _reach(address)
        self._said = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - it lives as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(BRIDGE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env={**os.environ, **VARIABLES},
            start_new_session=True,
        )
        self._end = weakref.finalize(self, _ended, self._process, self._said)
        try:
            self.address = str(self._asked("connect", address=address, namespace=namespace)["address"])
        except _RefusedError as refused:
            self.close()
            raise _not_joined(address, refused) from refused
        except LauncherError:
            self.close()
            raise

    def ask(self, what: str, **words: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever JSON can say
        """What the cluster answers.

        Args:
            what: A call of the bridge.
            **words: Its arguments.

        Raises:
            LauncherError: It refuses, does not answer, or is gone.
        """
        try:
            return self._asked(what, **words)
        except _RefusedError as refused:
            raise LauncherError("Ray does not take it", refused.why, "nothing was submitted; see the cluster's logs") from refused

    def close(self) -> None:
        """Ends the connection."""
        self._end()

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked again."""
        return self._end.alive and self._process.poll() is None

    def _asked(self, what: str, **words: Any) -> dict[str, Any]:  # noqa: ANN401
        """One call.

        Raises:
            LauncherError: There is no answer.
            _RefusedError: It is an error.
        """
        line = b""
        with suppress(OSError, ValueError):
            self._process.stdin.write(json.dumps({"do": what, **words}).encode() + b"\n")  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]
            with selectors.DefaultSelector() as selector:
                selector.register(self._process.stdout, selectors.EVENT_READ)  # type: ignore[arg-type]
                if selector.select(ANSWER_SECONDS):
                    line = self._process.stdout.readline()  # type: ignore[union-attr]
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError:
            ended, said = self._process.poll() is not None, self._last_words()
            self.close()
            why = f"its cluster is gone: {said}" if ended else f"its cluster is silent for {ANSWER_SECONDS:.0f} s: {said}"
            raise LauncherError("Ray does not answer", why.removesuffix(": "), _UNREACHED) from None
        if "error" in answer:
            raise _RefusedError(str(answer["error"]), str(answer["why"]))
        return answer

    def _last_words(self) -> str:
        """The last line that the process has said."""
        with suppress(OSError, ValueError):
            self._said.seek(max(0, self._said.seek(0, os.SEEK_END) - 4096))
            return last_line(self._said.read().decode(errors="replace"))[:200]
        return ""


class _RefusedError(Exception):
    """What the bridge was told by Ray."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        lines = [line.strip() for line in why.splitlines() if line.strip()]
        self.kind, self.lines, self.why = kind, lines, (" ".join(lines[: 1 + lines[0].endswith(":")]) if lines else kind)[:300]


def _not_joined(address: str, refused: _RefusedError) -> UsageError | LauncherError:
    """Why a cluster was not joined."""
    if "ersion mismatch" in refused.why:
        told = [line for line in refused.lines[1:] if line.startswith(("Ray:", "Python:", "This process"))]
        why = "its " + ", ".join(told[:2]) + "; here " + ", ".join(told[-2:]) if len(told) >= 4 else " ".join(refused.lines)
        fix = "install openrlb with the cluster's versions: ray start and openrlb from one environment"
        return UsageError("the Ray cluster has another version of Ray or Python", why[:300], fix)
    if refused.kind == "ConnectionError" and address == AUTO:
        why = "no cluster runs on this machine, and no address is given"
        return LauncherError("there is no Ray cluster", why, "give its address: --ray address=HOST:PORT, or RAY_ADDRESS")
    if "client" in refused.why and "://" in address:
        return UsageError("a ray:// address cannot be used here", refused.why, "pip install 'ray[client]'")
    return LauncherError(f"the Ray cluster at {address} cannot be joined", refused.why, _UNREACHED)


def _reach(address: str) -> None:
    """Makes sure that something listens: Ray itself would try for minutes.

    Raises:
        UsageError: It is no address.
        LauncherError: Nothing listens.
    """
    if address == AUTO:
        return
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        why = "it is not of the form HOST:PORT"
        raise UsageError(f"{address[:80]!r} is no address of a Ray cluster", why, "write --ray address=HOST:6379")
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH_SECONDS).close()
    except OSError as error:
        why = error.strerror or str(error)
        raise LauncherError(f"no Ray cluster answers at {address}", why, f"{_UNREACHED}; nothing was submitted") from error


def _ended(process: subprocess.Popen[bytes], said: Any) -> None:  # noqa: ANN401 - a temporary file has no public type
    """Lets the process end."""
    with suppress(OSError):
        process.stdin.close()  # type: ignore[union-attr]
    try:
        process.wait(CLOSE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()  # type: ignore[union-attr]
    said.close()
