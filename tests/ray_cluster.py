"""A real Ray of two nodes on this machine, in a temporary folder and on ports of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

NODES = ("head", "second")
VARIABLES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_memory_monitor_refresh_ms": "0",  # the machine's memory is shared with whatever else runs here
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
    "PYTHONWARNINGS": "ignore",
}
MARK = "RAY_TEST_NODE"


class RayCluster:
    """The cluster's nodes, each a child of this process.

    Args:
        folder: An empty folder with a short path: sockets lie in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            with suppress(OSError):
                one.connect(("192.0.2.1", 9))  # nothing is sent: it is how Ray finds the address that it listens on
            self.host = one.getsockname()[0].replace("0.0.0.0", "127.0.0.1")
        with socket.socket() as one, socket.socket() as two:
            one.bind((self.host, 0))
            two.bind((self.host, 0))
            self.port, port = one.getsockname()[1], two.getsockname()[1]
        self.client_address = f"ray://{self.host}:{port}"  # for machines that are no node of it
        self._client = (f"--ray-client-server-port={port}",) if find_spec("grpc") else ()
        self.nodes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def address(self) -> str:
        """Where its head listens."""
        return f"{self.host}:{self.port}"

    def start(self) -> None:
        """Starts both nodes."""
        head = ("--head", f"--port={self.port}", f"--temp-dir={self.folder}", "--include-dashboard=false")
        self._start("head", *head, *self._client)
        self.start_node("second")

    def start_node(self, node: str) -> None:
        """Starts a node beside the head."""
        self._start(node, f"--address={self.address}")

    def kill_node(self, node: str) -> None:
        """Ends a node as a power cut does: its daemons and everything that runs there, at once."""
        process, mark = self.nodes.pop(node), f"{MARK}={self.folder}/{node}".encode()
        found = {process.pid: psutil.Process(process.pid)}
        for path in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError, psutil.Error):
                if mark in path.read_bytes().split(b"\0"):
                    one = psutil.Process(int(path.parent.name))
                    found |= {each.pid: each for each in (one, *one.children(recursive=True))}
        for one in found.values():  # no gentle end in between
            with suppress(psutil.Error):
                one.suspend()
        for one in found.values():
            with suppress(psutil.Error):
                one.kill()
        process.wait()

    def stop(self) -> None:
        """Ends both nodes, the head last."""
        for node in reversed(NODES):
            if node in self.nodes:
                self.kill_node(node)

    def _start(self, node: str, *words: str) -> None:
        """Starts a node in the foreground, in a session of its own, and waits until it is there."""
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=2", "--object-store-memory=80000000"]
        own = ["--disable-usage-stats", "--include-log-monitor=false", "--min-worker-port=0", "--max-worker-port=0"]
        told = self.folder / f"{node}.{time.monotonic_ns()}.out"
        with told.open("wb") as out:
            self.nodes[node] = subprocess.Popen(
                [*ray, *own, f'--resources={{"{node}": 4}}', *words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, **VARIABLES, MARK: f"{self.folder}/{node}"},
                start_new_session=True,
                cwd=self.folder,
            )
        self._until(lambda: "Ray runtime started" in told.read_text(errors="replace"), node, told)

    def _until(self, holds: Callable[[], bool], node: str, told: Path) -> None:
        """Waits until something holds; says what the node said where it never does."""
        deadline = time.monotonic() + 60
        while not holds():
            if self.nodes[node].poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{node}: not there\n{told.read_text(errors='replace')[-1500:]}")
            time.sleep(0.05)


@contextmanager
def ray_cluster() -> Iterator[RayCluster]:
    """A running cluster; the test is skipped, with the reason, where there can be none."""
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed here: pip install -e '.[ray]'")
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    cluster = RayCluster(folder)
    try:
        try:
            cluster.start()
        except RuntimeError as error:
            pytest.skip(f"Ray does not start here: {error}")
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)
