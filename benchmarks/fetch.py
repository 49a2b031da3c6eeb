"""``openrlb fetch wandb:ENTITY/PROJECT`` beside ``rlops --scan-history``, from one local server, in alternating rounds.

    python benchmarks/fetch.py --rlops-python ENV/bin/python [--rounds 3] [--runs 150] [--rows 2000] [--latency 0.05]

ENV is a throw-away environment: ``python3.10 -m venv ENV && ENV/bin/pip install openrlbenchmark==0.3.1``. Its cache, which
it keeps in its own site-packages, is emptied before each round. Without ``--rlops-python`` only openrlb is measured.

wandb's own ``run.scan_history()`` and ``run.history(samples=ROWS)``, in a loop over the same runs as its documentation shows
them, are measured beside both unless ``--no-loops`` is given: they get the rows and nothing else, and keep nothing.

Both are commands as a user types them, each in a process of its own with an empty store or cache: ``openrlb fetch --yes``
plans, fetches and stores the returns (every logged number with ``--all-metrics``) with requirements, metadata and summary,
which rlops leaves; ``openrlb plot`` then draws, since rlops cannot fetch without drawing. CPU seconds and peak memory are
those of the process and everything it started (wandb-core too), sampled every 20 ms; the server runs in this process and is
in neither, but shares the machine's cores with both. Shown are the medians over the rounds.

Warm is the same again from what is stored, without a server: ``rlops --scan-history --offline``, and ``openrlb plot --metric mean
--curves --pool -o mean.html``. Both draw the mean of each algorithm in each environment along steps and along wall time, with a
band, and tell each one's final scores in a table; rlops writes PNG, PDF and SVG, openrlb one page. (rlops' band is the standard
deviation over 10,000 samples of a smoothed curve; openrlb's is a bootstrap interval at each position that was logged, and its
final scores have intervals too.)
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from measured import machine
from wandb_server import Fault, WandbRun, WandbServer, serving

ENTITY, PROJECT = "bench", "cleanrl"
ENVS = ("HalfCheetah-v4", "Hopper-v4", "Walker2d-v4", "Ant-v4", "Humanoid-v4")
ALGOS = ("ppo", "sac", "td3")
LOOP = """
import sys, wandb
count = 0
for run in wandb.Api().runs(sys.argv[1]):
    count += len({call})
sys.exit(f"{count} rows" if count != int(sys.argv[2]) else 0)
"""
LOOPS = {"scan_history()": "list(run.scan_history())", "history()": "run.history(samples=int(sys.argv[3]))"}
"""How wandb's users read runs; the first gives rows, the second a pandas frame."""

WARM = ("openrlb warm", "rlops warm")


@dataclass(frozen=True)
class Measured:
    """What one command took."""

    name: str
    requests: int
    wall: float
    cpu: float
    memory: float


class Meter:
    """Samples a process and everything below it, but for a fork before its own program begins: its memory is its parent's."""

    def __init__(self, pid: int) -> None:
        self.root = psutil.Process(pid)
        self.words = self.root.cmdline()
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
                    if process == self.root or process.cmdline() != self.words:
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


class FixedRun(WandbRun):
    """A run that answers a listing without counting its rows each time, as a service does."""

    def node(self, project: str) -> dict[str, Any]:
        """The run in a listing."""
        if not hasattr(self, "_node"):
            self._node = super().node(project)
        return self._node


def make_runs(count: int, rows: int, spacing: int, history: str) -> list[WandbRun]:
    """Runs of every algorithm on every environment."""
    found: list[WandbRun] = []
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
        run = FixedRun(f"run{index:04d}", {"env_id": env, "exp_name": algo, "seed": seed, "learning_rate": 3e-4})
        began = f"2024-01-{index // 24 + 1:02d}T{index % 24:02d}:00:00"  # requirements are alike in a project, metadata never
        metadata = {"python": "3.10", "startedAt": began, "args": ["--env-id", env, "--seed", str(seed)]}
        run.files = {
            "requirements.txt": b"torch==2.4.1\ngymnasium==0.29.1\n",
            "wandb-metadata.json": json.dumps(metadata).encode(),
        }
        run.live, run.exported = (table, ()) if history == "live" else ((), [table])
        run.node("")
        if run.live:
            run.pages()
        found.append(run)
        for part in range(len(run.exported)):
            run.parquet(part)
    return found


def one_round(server: WandbServer, arguments: argparse.Namespace, cache: Path | None) -> list[Measured]:
    """Each command once, from nothing."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        environment = {**os.environ, **server.environment(place), "OPENRLB_HOME": f"{place}/openrlb", "OMP_NUM_THREADS": "1"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled once, not in each process
        openrlb = [sys.executable, "-m", "openrlb"]
        words = [*openrlb, "fetch", f"wandb:{ENTITY}/{PROJECT}", "--yes", *(["--all-metrics"] if arguments.all_metrics else [])]
        measured = [measure("openrlb fetch", server, words, environment, folder)]
        listed = subprocess.run([*openrlb, "list", "--json"], env=environment, capture_output=True, text=True, check=True)
        assert listed.stdout.count('"run":') == arguments.runs, "a run is missing"
        words = [*openrlb, "plot", "--metric", "iqm", "--curves", "--pool", "-o", "iqm.html"]
        measured.append(measure("openrlb plot", server, words, environment, folder))
        for name, call in LOOPS.items() if arguments.loops else ():
            words = [f"{ENTITY}/{PROJECT}", str(arguments.runs * arguments.rows), str(arguments.rows)]
            command = [sys.executable, "-c", LOOP.replace("{call}", call), *words]
            measured.append(measure(name, server, command, environment, folder))
        if cache is not None:
            shutil.rmtree(cache, ignore_errors=True)
            header = f"?we={ENTITY}&wpn={PROJECT}&ceik=env_id&cen=exp_name&metric=charts/episodic_return"
            words = [arguments.rlops_python, "-m", "openrlbenchmark.rlops", "--filters", header, *ALGOS, "--env-ids", *ENVS]
            measured.append(measure("rlops", server, [*words, "--scan-history"], environment, folder))
            drawing = [*openrlb, "plot", "--metric", "mean", "--curves", "--pool", "-o", "mean.html"]
            measured.append(measure(WARM[0], server, drawing, environment, folder))
            measured.append(measure(WARM[1], server, [*words, "--scan-history", "--offline"], environment, folder))
    return measured


def compare(server: WandbServer, arguments: argparse.Namespace, history: str) -> list[Measured]:
    """Everything about one kind of history: the median of the rounds for each command."""
    server.forget()
    server.projects[f"{ENTITY}/{PROJECT}"] = make_runs(arguments.runs, arguments.rows, arguments.spacing, history)
    if arguments.latency:
        server.faults.append(Fault("*", delay=arguments.latency))
    cache = None
    if arguments.rlops_python:
        code = "import openrlbenchmark; print(openrlbenchmark.__path__[0])"
        found = subprocess.run([arguments.rlops_python, "-c", code], capture_output=True, text=True, check=True)
        cache = Path(found.stdout.strip()) / "dataset" / ENTITY
    rounds = [one_round(server, arguments, cache) for _ in range(arguments.rounds)]
    medians = []
    for same in zip(*rounds, strict=True):
        numbers = [statistics.median(column) for column in zip(*(astuple(item)[1:] for item in same), strict=True)]
        medians.append(Measured(same[0].name, int(numbers[0]), *numbers[1:]))
    return medians


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rlops-python")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-loops", dest="loops", action="store_false", help="leave out wandb's own loops")
    parser.add_argument("--all-metrics", action="store_true", help="keep every logged number, as rlops' cache does")
    parser.add_argument("--runs", type=int, default=150)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--spacing", type=int, default=1, help="_step from one row to the next")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that the server waits before each answer")
    parser.add_argument("--history", nargs="+", default=["live", "export"], choices=["live", "export"])
    arguments = parser.parse_args()
    latency = f"{arguments.latency * 1000:g} ms of latency"
    print(f"{machine()}\n")
    print(f"{arguments.runs} runs x {arguments.rows} rows, _step every {arguments.spacing}, {latency}, {arguments.rounds} rounds")
    print(f"{'history':<9}{'command':<16}{'requests':>9}{'wall s':>9}{'CPU s':>9}{'peak MiB':>10}")
    with serving() as server:
        for history in arguments.history:
            measured = compare(server, arguments, history)
            for row in measured:
                print(f"{history:<9}{row.name:<16}{row.requests:>9}{row.wall:>9.1f}{row.cpu:>9.1f}{row.memory:>10.0f}")
            fetch, plot, *peers = (row for row in measured if row.name not in WARM)
            for peer in peers:
                wall, cpu, memory = peer.wall / fetch.wall, peer.cpu / fetch.cpu, fetch.memory / peer.memory
                said = f"{peer.name} takes {wall:.1f} times the wall time of openrlb fetch, {cpu:.1f} times the CPU"
                if peer.name == "rlops":
                    wall, cpu = peer.wall / (fetch.wall + plot.wall), peer.cpu / (fetch.cpu + plot.cpu)
                    memory = max(fetch.memory, plot.memory) / peer.memory
                    said += f" ({wall:.1f} and {cpu:.1f} with plot)"
                print(f"{history:<9}{said}; openrlb takes {memory:.2f} of its memory", flush=True)
            warm = [row for row in measured if row.name in WARM]
            if warm:
                mine, theirs = warm
                wall, cpu, memory = theirs.wall / mine.wall, theirs.cpu / mine.cpu, mine.memory / theirs.memory
                said = f"rlops takes {wall:.1f} times the wall time of openrlb, {cpu:.1f} times the CPU"
                print(f"{history:<9}warm, {said}; openrlb takes {memory:.2f} of its memory", flush=True)


if __name__ == "__main__":
    main()
