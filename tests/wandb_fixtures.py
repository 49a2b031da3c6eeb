"""What the tests of W&B projects share: one server and one client for a module, rows, and a fetch in one call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from wandb_server import Row, WandbRun, WandbServer, serving

from openrlb.sources.presets import load_presets
from openrlb.sources.wandb import KnownRun, WandbQuery, client, plan, read
from openrlb.types import RunBatch, Skipped

RETURN = "charts/episodic_return"
QUERY = WandbQuery("lab", "runs", preset=load_presets()["cleanrl"])
HISTORY = ("RunParquetHistory", "RunHistoryKeys", "HistoryPage", "SampledHistoryPage", "RunSampledHistory", "parquet")
METADATA = (
    b'{"host": "box7", "username": "ann", "email": "ann@example.org", "program": "/home/ann/train.py", "gpu": "NVIDIA H100",'
    b' "slurm": {"job_user": "ann", "submit_host": "box7", "job_id": "1"},'
    b' "python": "CPython 3.11.7", "git": {"commit": "c0ffee", "remote": "git@github.com:lab/code.git"}}'
)


@pytest.fixture(scope="module")
def server() -> Iterator[WandbServer]:
    """One server for a module; the client and its process end with it."""
    with serving() as running:
        yield running
    import wandb

    wandb.teardown()


@pytest.fixture
def service(server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WandbServer:
    """The server, empty, as the only W&B that this test's client can see, with little patience."""
    server.forget()
    for name, value in server.environment(str(tmp_path)).items():
        monkeypatch.setenv(name, value)
    patience = {"x_graphql_retry_max": 1, "x_graphql_retry_wait_max_seconds": 1}
    patience |= {"x_file_transfer_retry_max": 1, "x_file_transfer_retry_wait_max_seconds": 1}
    monkeypatch.setattr(client, "CORE_SETTINGS", client.CORE_SETTINGS | patience)
    monkeypatch.setattr(client, "WAIT_SECONDS", 0.01)
    return server


def rows(count: int = 20, *, every: int = 1, scale: int = 500, key: str = RETURN, **more: Any) -> list[Row]:
    """Rows of a return that grows by one, ``every`` steps of ``_step`` apart, ``scale`` training steps for each row."""
    return [
        {"_step": i * every, "_runtime": i * 1.5, "_timestamp": 1.7e9 + i * 1.5, "global_step": i * scale, key: float(i), **more}
        for i in range(count)
    ]


def wandb_run(name: str = "r1", algo: str = "ppo", env: str = "Hopper-v4", seed: int = 1, **more: Any) -> WandbRun:
    """A run as CleanRL logs it; 20 live rows by default."""
    config = {"exp_name": algo, "env_id": env, "seed": seed, **more.pop("config", {})}
    if "live" not in more and "exported" not in more:
        more["live"] = rows()
    return WandbRun(name, config, **more)


def fetch(query: WandbQuery = QUERY, known: Mapping[tuple[str, str], KnownRun] | None = None) -> dict[str, RunBatch | Skipped]:
    """Plans and reads; runs and what was skipped, by run id."""
    found: dict[str, RunBatch | Skipped] = {}
    for item in read(query, plan(query, known or {})):
        found[item.run.run if isinstance(item, RunBatch) else item.location.rsplit("/", 1)[-1]] = item
    return found


def fetch_one(query: WandbQuery = QUERY) -> RunBatch:
    """The one run of a project."""
    [item] = fetch(query).values()
    assert isinstance(item, RunBatch), item
    return item


def as_known(batches: Mapping[str, RunBatch | Skipped]) -> dict[tuple[str, str], KnownRun]:
    """What a store tells of runs that it took."""
    found = {}
    for item in batches.values():
        assert isinstance(item, RunBatch), item
        found[item.run.source, item.run.run] = KnownRun(item.run, frozenset(batch.metric for batch in item.metrics))
    return found
