"""One study of PPO on SLURM and PostgreSQL that everything befalls: it spends its budget exactly, and no run is trained twice."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from postgresql_server import PostgresqlServer, postgresql_server
from slurm_cluster import NODES, SlurmCluster, slurm_cluster

from openrlb.api.study import phase_of
from openrlb.store import Store
from openrlb.types import Selection
from openrlb_hpo.contract import verify, verify_runs
from openrlb_hpo.ledger import Ledger
from openrlb_hpo.planner import has_room
from openrlb_hpo.records import StudyRecord

if TYPE_CHECKING:
    from openrlb_runners.environment import Environment

pytestmark = [pytest.mark.stress, pytest.mark.cluster]
BUDGET, SECONDS = 30, 1500
WORDS = (
    *("tune", "ppo", "--env", "CartPole-v1", "--steps", "400", "--budget", str(BUDGET), "--tuning-seeds", "2", "--confirm", "2"),
    *("--test-seeds", "4", "--method", "random", "--objective", "mean", "--launcher", "slurm", "--workers", "4"),
)


@pytest.fixture
def cluster() -> Iterator[SlurmCluster]:
    with slurm_cluster() as running:
        yield running


@pytest.fixture
def server() -> Iterator[PostgresqlServer]:
    with postgresql_server(safe=True) as running:
        yield running


class Watched:
    """The study while others work on it.

    Args:
        url: Its database.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.ended = 0
        self.began = time.monotonic()

    def read(self) -> StudyRecord:
        with Ledger(self.url) as ledger:
            (record,) = ledger.studies()
            return record

    def until(self, holds: Callable[[StudyRecord], object]) -> StudyRecord:
        """Waits until something holds of it."""
        while not holds(record := self.read()):
            assert time.monotonic() - self.began < SECONDS, [(row.role, row.state, row.worker) for row in record.reservations]
            time.sleep(0.5)
        return record

    def until_more(self, count: int) -> None:
        """Waits until so many more runs have ended."""
        record = self.until(lambda one: ended(one) >= self.ended + count or phase_of(one) == "finished")
        assert phase_of(record) != "finished", "it was over before everything had befallen it"
        self.ended = ended(record)
        print(f"{time.monotonic() - self.began:.0f} s: {self.ended} runs have ended")


def ended(record: StudyRecord) -> int:
    return sum(row.state != "open" for row in record.reservations)


def workers() -> list[psutil.Process]:
    """The workers' processes."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if words[:1] == [sys.executable] and "worker" in words and any(one.startswith("ppo-CartPole") for one in words):
            found.append(process)
    return found


def jobs(cluster: SlurmCluster, *words: str) -> list[list[str]]:
    """The tasks of the study's array: number, state, node. The number of an array alone is also that of its last task."""
    told = cluster.ask("squeue", "--noheader", "--array", "--format=%F_%K %T %N", "--partition=main", *words).stdout
    return [line.split() for line in told.splitlines()]


def test_a_study_that_everything_befalls(
    cluster: SlurmCluster, server: PostgresqlServer, sb3_environment: Environment, isolation: Path, store: Store
) -> None:
    url = server.fresh()
    submitted = subprocess.run(
        [sys.executable, "-m", "openrlb", *WORDS, "--storage", url, "--json"], capture_output=True, text=True, timeout=300
    )
    assert submitted.returncode == 0, submitted.stderr  # and it is gone
    study = Watched(url)
    study.until_more(3)
    for _ in range(2):
        workers()[0].send_signal(signal.SIGKILL)
        study.until_more(2)
    node = next(words[2] for words in jobs(cluster) if words[1] == "RUNNING")
    assert cluster.ask("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=maintenance").returncode == 0
    for words in jobs(cluster, f"--nodelist={node}"):
        assert cluster.ask("scontrol", "requeue", words[0]).returncode == 0
    study.until_more(2)
    assert all(words[2] != node for words in jobs(cluster) if words[1] == "RUNNING")
    other = next(one for one in NODES if one != node)
    before = {words[0] for words in jobs(cluster) if words[1] == "RUNNING"}
    urgent = ("sbatch", "--partition=high", f"--nodelist={other}", "--exclusive", "--output=/dev/null", "--wrap=sleep 3")
    assert cluster.ask(*urgent).returncode == 0
    deadline = time.monotonic() + 60
    while before <= {words[0] for words in jobs(cluster) if words[1] == "RUNNING"}:
        assert time.monotonic() < deadline, "nothing was preempted"
        time.sleep(0.2)
    assert cluster.ask("scontrol", "update", f"NodeName={node}", "State=RESUME").returncode == 0
    study.until_more(2)
    server.stop(signal.SIGQUIT)
    time.sleep(3)
    server.start()
    record = study.until(lambda one: phase_of(one) == "finished")
    print(f"{time.monotonic() - study.began:.0f} s: the study is over, {len(record.reservations)} runs")

    assert len(record.reservations) >= 40 and verify(record) == ()
    assert record.spent <= BUDGET and not has_room(record)
    assert {row.state for row in record.reservations} == {"finished"}
    deadline = time.monotonic() + 60
    while workers():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    check_store(store, record)


def check_store(store: Store, record: StudyRecord) -> None:
    """Each run is there and finished, only those that something befell were begun again, and tests began after the freeze."""
    store.fold()
    wanted = {row.run for row in record.reservations}
    rows = store.runs(Selection(role=("tuning", "confirm", "test")))
    runs = {row.record.run: row.record for row in rows}
    assert set(runs) == wanted and {run.state for run in runs.values()} == {"finished"}
    assert verify_runs(record, runs) == ()
    tested = [run.created for run in runs.values() if run.role == "test"]
    assert record.frozen_at is not None and min(filter(None, tested)) > record.frozen_at[:19]
    again = sum(run.attempt > 1 for run in runs.values())
    print(f"{again} runs were begun more than once")
    assert again <= 2 + 2 + 2  # killed, sent away from the drained node, preempted: two at a time at most
