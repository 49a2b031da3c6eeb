"""Fetching a W&B project: openrlb beside ``rlops --scan-history``, from the same local server in the same run.

    python benchmarks/fetch.py --rlops-python ENV/bin/python [--runs 150] [--rows 2000] [--spacing 1] [--latency 0.05]

ENV is a throw-away environment: ``python3.10 -m venv ENV && ENV/bin/pip install openrlbenchmark==0.3.1``. Its cache, which
it keeps in its own site-packages, is emptied first. Without ``--rlops-python`` only openrlb is measured.

``openrlb fetch`` plans, fetches and stores (with requirements, metadata and summary, which rlops leaves); ``openrlb plot``
then draws, since rlops cannot fetch without drawing. CPU seconds and peak memory are those of the process and everything it
started (wandb-core too), sampled every 20 ms; the server runs in this process and is in neither.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from wandb_server import Fault, WandbRun, WandbServer, serving

ENTITY, PROJECT = "bench", "cleanrl"
ENVS = ("HalfCheetah-v4", "Hopper-v4", "Walker2d-v4", "Ant-v4", "Humanoid-v4")
ALGOS = ("ppo", "sac", "td3")

OPENRLB = """
import sys
from openrlb.sources.presets import load_presets
from openrlb.sources.wandb import WandbQuery, end_service, plan, read
from openrlb.store import Store
from openrlb.types import RunBatch
query = WandbQuery(sys.argv[1], sys.argv[2], preset=load_presets()["cleanrl"])
made = plan(query, {})
store, chunk, count = Store(), [], 0
for item in read(query, made):
    assert isinstance(item, RunBatch), item
    chunk.append(item)
    count += 1
    if len(chunk) == 32:
        store.write(chunk)
        chunk = []
if chunk:
    store.write(chunk)
end_service()
store.fold()
assert count == int(sys.argv[3]), count
"""


@dataclass(frozen=True)
class Measured:
    """What one command took."""

    name: str
    requests: int
    wall: float
    cpu: float
    memory: float


class Meter:
    """Samples a process and everything below it."""

    def __init__(self, pid: int) -> None:
        self.root = psutil.Process(pid)
        self.cpu: dict[int, float] = {}
        self.peak = 0
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._sample, daemon=True)
        self.thread.start()

    def _sample(self) -> None:
        while not self.done.wait(0.02):
            try:
                family = [self.root, *self.root.children(recursive=True)]
            except psutil.Error:
                continue
            memory = 0
            for process in family:
                try:
                    times = process.cpu_times()
                    self.cpu[process.pid] = times.user + times.system
                    memory += process.memory_info().rss
                except psutil.Error:
                    continue
            self.peak = max(self.peak, memory)

    def stop(self) -> tuple[float, float]:
        """CPU seconds and peak MiB."""
        self.done.set()
        self.thread.join()
        return sum(self.cpu.values()), self.peak / 2**20


def measure(name: str, server: WandbServer, command: list[str], environment: dict[str, str], folder: Path) -> Measured:
    """Runs one command to its end."""
    server.counts.clear()
    log = folder / f"{name.replace(' ', '-')}.log"
    began = time.perf_counter()
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=output, stderr=output)
        meter = Meter(process.pid)
        code = process.wait()
    wall = time.perf_counter() - began
    cpu, memory = meter.stop()
    if code:
        sys.exit(f"{name} ended with {code}:\n{log.read_text()[-3000:]}")
    print(f"  {name}: {dict(server.counts)}", file=sys.stderr)
    return Measured(name, server.counts.total(), wall, cpu, memory)


def make_runs(count: int, rows: int, spacing: int, history: str) -> list[WandbRun]:
    """Runs of every algorithm on every environment."""
    found = []
    for index in range(count):
        env, algo, seed = ENVS[index % 5], ALGOS[index // 5 % 3], index // 15
        table = [
            {
                "_step": row * spacing, "_runtime": row * 1.25, "_timestamp": 1.7e9 + row * 1.25, "global_step": row * 500,
                "charts/episodic_return": row * 0.1 + seed + (row * 7919 % 101) / 10, "charts/SPS": 400 + row % 37,
                "losses/value_loss": 1 / (row + 1),
            }
            for row in range(rows)
        ]  # fmt: skip
        run = WandbRun(f"run{index:04d}", {"env_id": env, "exp_name": algo, "seed": seed, "learning_rate": 3e-4})
        run.files = {"requirements.txt": b"torch==2.4.1\ngymnasium==0.29.1\n", "wandb-metadata.json": b'{"python": "3.10"}'}
        run.live, run.exported = (table, ()) if history == "live" else ((), [table])
        if run.live:
            run.pages()
        found.append(run)
        for part in range(len(run.exported)):
            run.parquet(part)
    return found


def compare(server: WandbServer, arguments: argparse.Namespace, history: str) -> list[Measured]:
    """Everything about one kind of history."""
    server.forget()
    server.projects[f"{ENTITY}/{PROJECT}"] = make_runs(arguments.runs, arguments.rows, arguments.spacing, history)
    if arguments.latency:
        server.faults.append(Fault("*", delay=arguments.latency))
    measured = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {**os.environ, **server.environment(name), "OPENRLB_HOME": f"{name}/openrlb", "OMP_NUM_THREADS": "1"}
        words = [sys.executable, "-c", OPENRLB, ENTITY, PROJECT, str(arguments.runs)]
        measured.append(measure("openrlb fetch", server, words, environment, folder))
        words = [sys.executable, "-m", "openrlb", "plot", "--metric", "iqm", "--curves", "--pool", "-o", "iqm.html"]
        measured.append(measure("openrlb plot", server, words, environment, folder))
        if arguments.rlops_python:
            found = subprocess.run(
                [arguments.rlops_python, "-c", "import openrlbenchmark; print(openrlbenchmark.__path__[0])"],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            shutil.rmtree(Path(found.stdout.strip()) / "dataset" / ENTITY, ignore_errors=True)
            header = f"?we={ENTITY}&wpn={PROJECT}&ceik=env_id&cen=exp_name&metric=charts/episodic_return"
            words = [arguments.rlops_python, "-m", "openrlbenchmark.rlops", "--filters", header, *ALGOS, "--env-ids", *ENVS]
            measured.append(measure("rlops", server, [*words, "--scan-history"], environment, folder))
    return measured


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rlops-python")
    parser.add_argument("--runs", type=int, default=150)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--spacing", type=int, default=1, help="_step from one row to the next")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that the server waits before each answer")
    parser.add_argument("--history", nargs="+", default=["live", "export"], choices=["live", "export"])
    arguments = parser.parse_args()
    latency = f"{arguments.latency * 1000:g} ms of latency"
    print(f"{arguments.runs} runs x {arguments.rows} rows, _step every {arguments.spacing}, {latency}")
    print(f"{'history':<9}{'command':<16}{'requests':>9}{'wall s':>9}{'CPU s':>9}{'peak MiB':>10}")
    with serving() as server:
        for history in arguments.history:
            measured = compare(server, arguments, history)
            for row in measured:
                print(f"{history:<9}{row.name:<16}{row.requests:>9}{row.wall:>9.1f}{row.cpu:>9.1f}{row.memory:>10.0f}")
            if len(measured) == 3:
                fetch, plot, peer = measured
                wall, cpu = fetch.wall + plot.wall, fetch.cpu + plot.cpu
                print(f"{history:<9}rlops / openrlb fetch: requests {peer.requests / fetch.requests:.2f}", end="")
                print(f", wall {peer.wall / fetch.wall:.1f}, CPU {peer.cpu / fetch.cpu:.1f}", end="")
                print(
                    f", memory {peer.memory / fetch.memory:.2f}; with plot wall {peer.wall / wall:.1f}, CPU {peer.cpu / cpu:.1f}"
                )


if __name__ == "__main__":
    main()
