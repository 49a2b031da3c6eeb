"""How fast workers claim runs of one study on PostgreSQL, and what a run costs on SLURM and on Ray beside what it costs here.

    python benchmarks/distributed.py --claims 1 4 16 64 --rows 100 1000 [--method tpe]
    python benchmarks/distributed.py --claimers 1000 --budget 3000 --behind 100 1000
    python benchmarks/distributed.py --overhead 40

A claim is what a worker does for each run: the study is read and held against its contract, the next run reserved, and its end
written down, all in real transactions of a real server with ``fsync``; nothing is trained. ``--claims`` has a process for each
worker. ``--claimers`` are too many for that: they are threads of two processes, each a worker of its own to the database, behind
30 connections as behind a pooler; between a claim and its end each sleeps, and the study goes on to its end, so that its budget
and its test phase are held against the rules. Those of one process share what they remember of the study, since two cores cannot
read it for a thousand machines: ``--behind`` measures what that costs a machine that has not looked since so many runs.

SLURM and Ray are two nodes on this machine each, so that all share the same cores. They and the server are those of the tests,
which start them in temporary folders; the load of the machine is printed with each figure.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import sqlalchemy as sa
from fake_runner import write_runner
from postgresql_server import PostgresqlServer, postgresql_server
from ray_cluster import ray_cluster
from slurm_cluster import slurm_cluster

from openrlb.store import Store
from openrlb.types import EPISODIC_RETURN, Metric, MetricBatch, Run, RunBatch
from openrlb_hpo import ledger as ledger_module
from openrlb_hpo import source as source_module
from openrlb_hpo.ledger import Ledger, Transaction
from openrlb_hpo.records import StudySettings
from openrlb_hpo.source import StudySource
from openrlb_runners.request import Outcome, PinnedRunner, TrainingRequest, WorkItem

SECONDS = 15.0
RUNNER = PinnedRunner("fake", "run.py", (), False, {"run.py": b"x"}, {}, "lock", Path("python"))
SPACE = {"name": "n", "algo": "walk", "parameters": {"rate": {"uniform": [0.1, 2.0]}}}


METHOD = "random"
CONNECTIONS, PROCESSES, BEFORE = 30, 2, 3


def settings(seed: int) -> StudySettings:
    """A study of one seed a configuration, so that no claim has to wait for another run."""
    words = ("walk", "fake", RUNNER.source, RUNNER.lock, ("Line-v0",), 100, SPACE, "n", "d")
    return StudySettings(*words, method=METHOD, study_seed=seed, tuning_seeds=1, confirm=0, test_seeds=1, eta=1)


def effective(request: TrainingRequest) -> Mapping[str, Any]:
    """What a runner would say that a request means."""
    return {"env_kwargs": {}, "hyperparameters": dict(request.hyperparameters), "seed": request.seed}


def outcome(item: WorkItem) -> Outcome:
    """What came of a run that was not trained."""
    import numpy as np

    steps = np.arange(10, 110, 10)
    run = Run("openrlb", item.key.digest, "openrlb", "x", "walk", "Line-v0", "fake", item.request.seed, "finished")
    batch = RunBatch(run, (MetricBatch(Metric("episodic_return", "episode", EPISODIC_RETURN), steps, steps / 100.0),))
    return Outcome(run, batch, 0, "", 1.0, stored=True)


def joined(ledger: Ledger, seed: int) -> StudySource:
    """A worker's view of a study that has begun."""
    return StudySource(ledger, ledger.read(settings(seed).digest), Store(), RUNNER, effective)


def claim(source: StudySource, most: int, deadline: float) -> tuple[int, float, float, list[float]]:
    """Claims and ends runs: how many, the processor time, that in transactions, and the seconds of each."""
    held = Held(source.ledger)
    times: list[float] = []
    began = time.process_time()
    while len(times) < most and time.monotonic() < deadline:
        start = time.perf_counter()
        item = source.take()
        if isinstance(item, WorkItem):
            source.finished(item, outcome(item))
            times.append(time.perf_counter() - start)
    return len(times), time.process_time() - began, held.seconds, times


class Held:
    """The processor time that a worker spends inside transactions, while the others wait for the study.

    Args:
        ledger: Whose transactions are looked at.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.seconds = self._began = 0.0
        sa.event.listen(ledger.engine, "begin", self._begin)
        for name in ("commit", "rollback"):
            sa.event.listen(ledger.engine, name, self._end)

    def _begin(self, connection: object) -> None:
        self._began = time.process_time()

    def _end(self, connection: object) -> None:
        self.seconds += time.process_time() - self._began


def worker(url: str, seed: int, started: Any, results: Any) -> None:  # noqa: ANN401 - multiprocessing's own
    """One of many: is connected and has claimed already, waits for the others, then claims."""
    with Ledger(url) as ledger:
        source = joined(ledger, seed)
        claim(source, BEFORE, float("inf"))
        started.wait()
        results.put(claim(source, sys.maxsize, time.monotonic() + SECONDS))


def claims(server: PostgresqlServer, workers: int, rows: int, seed: int) -> dict[str, Any]:
    """The claim rate of so many workers of one study that has so many runs already."""
    url = server.fresh()
    with Ledger(url) as ledger:
        ledger.begin(settings(seed), 1_000_000)
        claim(joined(ledger, seed), max(0, rows - BEFORE * workers), float("inf"))
    context = multiprocessing.get_context("fork")  # imports are shared, connections are not yet made
    started, results = context.Barrier(workers + 1), context.SimpleQueue()
    processes = [context.Process(target=worker, args=(url, seed, started, results)) for _ in range(workers)]
    for process in processes:
        process.start()
    started.wait()
    began = time.monotonic()
    found = [results.get() for _ in processes]
    seconds = time.monotonic() - began
    for process in processes:
        process.join()
    times = sorted(one for *_, some in found for one in some)
    count = len(times)
    with Ledger(url) as ledger:
        (record,) = ledger.studies()
    runs = {row.run for row in record.reservations}
    wanted = count + max(rows, BEFORE * workers)
    assert len(runs) == len(record.reservations) == wanted, "a run was claimed twice, or lost"
    return {
        "workers": workers,
        "runs before": rows,
        "claims": count,
        "claims per second": round(count / seconds, 1),
        "median ms": round(1000 * times[count // 2], 1) if times else None,
        "slowest ms": round(1000 * times[-1], 1) if times else None,
        "processor ms per claim": round(1000 * sum(cpu for _, cpu, _, _ in found) / max(1, count), 1),
        "of these in transactions": round(1000 * sum(cpu for _, _, cpu, _ in found) / max(1, count), 1),
        "load": os.getloadavg()[0],
    }


def server_seconds(server: PostgresqlServer) -> float:
    """The processor time of the server's processes that have ended, one for each connection."""
    import psutil

    times = psutil.Process(server.pid).cpu_times()
    return float(times.children_user + times.children_system)


def claimers(server: PostgresqlServer, count: int, budget: int, training: float) -> dict[str, Any]:
    """A whole study by very many claimers: how long they wait, and whether the rules held."""
    url = server.fresh()
    with Ledger(url) as ledger:
        ledger.begin(settings(0), budget)
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    began = time.monotonic()
    shares = [count // PROCESSES + (number < count % PROCESSES) for number in range(PROCESSES)]
    server_before = server_seconds(server)
    processes = [
        context.Process(target=crowd, args=(url, share, f"{number}", training, budget, results))
        for number, share in enumerate(shares)
    ]
    for process in processes:
        process.start()
    found = [results.get() for _ in processes]
    seconds = time.monotonic() - began
    for process in processes:
        process.join()
    time.sleep(1)
    waits = sorted(one for some, *_ in found for one in some)
    with Ledger(url) as ledger:
        record = ledger.read(settings(0).digest)
    rows = record.reservations
    counts = (len({row.run for row in rows}), len(rows), len(waits), budget + 1)
    assert len(set(counts)) == 1, f"a run was claimed twice, or lost: {counts}"
    assert record.spent == budget and {row.state for row in rows} == {"finished"} and {row.attempts for row in rows} == {1}
    assert rows[-1].role == "test" and all(row.role == "tuning" for row in rows[:-1]), "a test before the freeze"
    busy = max(one for _, one, _ in found)
    return {
        "claimers": count,
        "connections": CONNECTIONS,
        "claims": len(waits),
        "claimers that had a run": len({row.worker for row in rows}),
        "seconds a run": training,
        "claims per second": round(len(waits) / seconds, 1),
        "until the last tuning claim": round(busy - began, 1),
        "median wait ms": round(1000 * waits[len(waits) // 2], 1),
        "99 % wait ms": round(1000 * waits[int(0.99 * len(waits))], 1),
        "slowest ms": round(1000 * waits[-1], 1),
        "processor ms per claim": round(1000 * sum(cpu for *_, cpu in found) / len(waits), 1),
        "server's processor ms per claim": round(1000 * (server_seconds(server) - server_before) / len(waits), 1),
        "load": os.getloadavg()[0],
    }


def crowd(url: str, count: int, name: str, training: float, budget: int, results: Any) -> None:  # noqa: ANN401
    """One process's share of the claimers."""
    source_module.BEHIND_SECONDS = float("inf")
    ledger_module.LEASE_SECONDS = 3600.0  # instead of a thread for each that renews it
    places = threading.BoundedSemaphore(CONNECTIONS // PROCESSES)
    waits: list[float] = []
    last = [0.0]
    cpu = time.process_time()
    with Ledger(url) as ledger:
        record = ledger.read(settings(0).digest)
        sources = [StudySource(ledger, record, Store(), RUNNER, effective) for _ in range(count)]
        for source in sources:  # it is used inside transactions alone, of which there is one at a time
            source._reader, source._follower = sources[0]._reader, sources[0]._follower

        def go(number: int) -> None:
            source, dice = sources[number], random.Random(f"{name}:{number}")
            source.worker = f"simulated-{name}:{number}:0"  # of another machine, as far as the others can tell
            time.sleep(dice.uniform(0, training))
            while True:
                began = time.monotonic()
                with places:
                    item = source.take()
                if item is None:
                    return
                if isinstance(item, WorkItem):
                    waits.append(time.monotonic() - began)
                    last[0] = max(last[0], time.monotonic()) if item.request.role == "tuning" else last[0]
                    time.sleep(dice.uniform(0.5, 1.5) * training)
                    with places:
                        source.finished(item, outcome(item))
                else:
                    time.sleep(0.2)

        threads = [threading.Thread(target=go, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    results.put((waits, last[0], time.process_time() - cpu))


def behind(server: PostgresqlServer, runs: int, times: int = 20) -> dict[str, Any]:
    """What a claim costs a worker that has not looked since others began so many runs, and how much of it the others wait for."""
    url = server.fresh()
    with Ledger(url) as ledger:
        record = ledger.begin(settings(0), 1_000_000)
        late = [StudySource(ledger, record, Store(), RUNNER, effective) for _ in range(times)]
        busy = StudySource(ledger, record, Store(), RUNNER, effective)
        for number, source in enumerate((busy, *late)):
            source.worker = f"simulated-{number}:{number}:0"
        for _ in range(runs):
            item = busy.take()
            assert isinstance(item, WorkItem)
            busy.finished(item, outcome(item))
        locked: list[float] = []
        real = Transaction.lock

        def lock(change: Transaction, study: str) -> None:
            real(change, study)
            if study:
                began = time.process_time()
                sa.event.listen(change.connection, "commit", lambda _: locked.append(time.process_time() - began), once=True)

        Transaction.lock = lock  # type: ignore[method-assign]
        began = time.process_time()
        for source in late:
            assert isinstance(source.take(), WorkItem)
        whole = time.process_time() - began
        Transaction.lock = real  # type: ignore[method-assign]
    told = {"runs that it has not seen": runs, "processor ms of its claim": round(1000 * whole / times, 1)}
    return {**told, "of these while others wait": round(1000 * sum(locked) / times, 1), "load": os.getloadavg()[0]}


def overhead(runs: int) -> list[dict[str, Any]]:
    """The wall time of a batch of runs that do next to nothing, here, on SLURM and on Ray, with two workers each."""
    found = []
    with slurm_cluster(), ray_cluster() as ray, tempfile.TemporaryDirectory() as folder:
        for place in ("local", "slurm", "ray") * 2:  # alternating: the machine may be shared
            home = Path(folder) / f"{place}-{len(found)}"
            write_runner(home / "runners" / "fake")
            variables = {**os.environ, "OPENRLB_HOME": str(home), "RAY_ADDRESS": ray.address}
            program = [sys.executable, "-m", "openrlb"]
            subprocess.run([*program, "runner", "install", "fake"], env=variables, check=True, capture_output=True)
            batch = [*program, "run", "walk", "--env", "Line-v0", "--steps", "20", "--workers", "2", "--launcher", place]
            began = time.monotonic()
            subprocess.run([*batch, "--seeds", str(runs)], env=variables, check=True, capture_output=True)
            submitted = time.monotonic() - began
            while place != "local":
                told = subprocess.run([*program, "status", "--json"], env=variables, check=True, capture_output=True, text=True)
                (row,) = json.loads(told.stdout)
                if row["state"] == "finished":
                    break
                time.sleep(1)
            whole = time.monotonic() - began
            table = {"place": place, "runs": runs, "seconds": round(whole, 1), "seconds per run": round(whole / runs, 2)}
            found.append({**table, "until submitted": round(submitted, 1), "load": os.getloadavg()[0]})
            print(json.dumps(found[-1]), flush=True)
    return found


def main() -> None:
    """Reads the flags, and prints a line of JSON for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--claims", type=int, nargs="*", default=[], metavar="WORKERS")
    parser.add_argument("--rows", type=int, nargs="*", default=[100], metavar="RUNS", help="runs that the study has before")
    parser.add_argument("--overhead", type=int, default=0, metavar="RUNS")
    parser.add_argument("--claimers", type=int, default=0, metavar="N", help="threads behind few connections")
    parser.add_argument("--budget", type=int, default=3000, metavar="RUNS", help="of the claimers' study")
    parser.add_argument("--training", type=float, default=10.0, metavar="SECONDS", help="how long a claimer sleeps for a run")
    parser.add_argument("--behind", type=int, nargs="*", default=[], metavar="RUNS", help="that a claimer has not seen")
    parser.add_argument("--method", default=METHOD, help="how trials are proposed")
    words = parser.parse_args()
    globals()["METHOD"] = words.method
    if words.claims:
        with postgresql_server(safe=True, connections=200) as server:
            for rows in words.rows:
                for number, workers in enumerate(words.claims):
                    print(json.dumps(claims(server, workers, rows, 1000 * rows + number)), flush=True)
    if words.claimers:
        with postgresql_server(safe=True, connections=100) as server:
            print(json.dumps(claimers(server, words.claimers, words.budget, words.training)), flush=True)
    if words.behind:
        with postgresql_server(safe=True) as server:
            for runs in words.behind:
                print(json.dumps(behind(server, runs)), flush=True)
    if words.overhead:
        overhead(words.overhead)


if __name__ == "__main__":
    main()
