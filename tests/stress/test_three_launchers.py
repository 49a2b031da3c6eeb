"""The same forty runs here, on SLURM and on Ray leave equal stores: same seeds, same ids, same hashes of their rows."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ray_cluster import ray_cluster
from slurm_cluster import slurm_cluster

from openrlb.store import Store

if TYPE_CHECKING:
    from openrlb_runners.environment import Environment

pytestmark = [pytest.mark.stress, pytest.mark.cluster]
SEEDS, SECONDS = 40, 1200
BATCH = (
    *("run", "ppo", "--env", "CartPole-v1", "--impl", "sb3", "--steps", "256", "--set", "n_steps=32", "--set", "n_envs=1"),
    *("--set", "n_epochs=2", "--seeds", str(SEEDS), "--workers", "2"),
)


def openrlb(*words: str) -> Any:
    """What a command says in JSON."""
    ended = subprocess.run([sys.executable, "-m", "openrlb", *words, "--json"], capture_output=True, text=True, timeout=SECONDS)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def trained(*words: str) -> dict[str, dict[str, Any]]:
    """Trains the batch somewhere, and takes the store away: what it held, by run."""
    began = time.monotonic()
    report = openrlb(*BATCH, *words)
    if report["launched"] is not None:
        name = report["launched"]["name"]
        while (row := openrlb("status", name)[0])["state"] != "finished" or row["workers"]:
            assert time.monotonic() - began < SECONDS, row
            time.sleep(1)
    print(f"{' '.join(words)}: {time.monotonic() - began:.0f} s")
    store = Store()
    store.fold()
    found = held(store)
    store.layout.root.rename(store.layout.root.with_name("-".join(["was", *words])))
    return found


def held(store: Store) -> dict[str, dict[str, Any]]:
    """Each run's record without times and machines, the hash of its rows without wall times, and its parameters."""
    columns = "run, seed, state, attempt, role, algo, impl, env, steps"
    runs = {
        str(row[0]): dict(zip(columns.split(", "), row, strict=True)) for row in store.query(f"SELECT {columns} FROM runs").rows
    }
    for table, what in (("points", "metric, kind, step, value"), ("params", "key, value")):
        rows: dict[str, list[str]] = {}
        skipped = "WHERE metric NOT LIKE 'time/%'" if table == "points" else ""
        for run, *values in store.query(f"SELECT run, {what} FROM {table} {skipped}").rows:
            rows.setdefault(str(run), []).append(repr(values))
        for run, one in runs.items():
            one[table] = hashlib.sha256("\n".join(sorted(rows[run])).encode()).hexdigest(), len(rows[run])
    return runs


def test_forty_runs_are_the_same_wherever_they_are_trained(sb3_environment: Environment, isolation: Path) -> None:
    here = trained("--launcher", "local")
    assert len(here) == SEEDS and {run["state"] for run in here.values()} == {"finished"}
    assert {run["seed"] for run in here.values()} == set(range(1, SEEDS + 1))
    assert len({run["points"] for run in here.values()}) == SEEDS and min(run["points"][1] for run in here.values()) > 20
    with slurm_cluster():
        assert trained("--launcher", "slurm") == here
    with ray_cluster() as cluster:
        assert trained("--launcher", "ray", "--ray", f"address={cluster.address}") == here
