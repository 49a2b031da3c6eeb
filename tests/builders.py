"""Small deterministic runs for the store's and the command line's tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from openrlb.store import Store
from openrlb.types import Metric, MetricBatch, Run, RunBatch

RETURN = Metric("eval/mean_reward", "eval", "episodic_return")
VIEWS = ("runs", "points", "params", "scores", "trials", "requirements")
EPISODES = Metric("r", "episode", "episodic_return")


def batch(
    name: str = "a",
    *,
    env: str = "Hopper-v4",
    algo: str = "ppo",
    seed: int | None = 0,
    points: int = 50,
    every: int = 1000,
    offset: float = 0.0,
    episodes: bool = False,
    **fields: Any,
) -> RunBatch:
    """One run whose return grows by one at each of ``points`` evaluations, from ``offset``."""
    values = {"source": "folder", "project": "logs", "state": "unknown", "step_unit": "agent_step", "config": {}, **fields}
    run = Run(run=name, name=name, algo=algo, env=env, seed=seed, **values)
    steps = np.arange(1, points + 1, dtype=np.int64) * every
    metrics = [MetricBatch(RETURN, steps, np.arange(points, dtype=np.float64) + offset, steps * 2)]
    if episodes:
        metrics.append(MetricBatch(EPISODES, np.full(5, every, np.int64), np.arange(5, dtype=np.float64)))
    return RunBatch(run, tuple(metrics))


def with_load(name: str, **more: Any) -> RunBatch:
    """A run with hardware series."""
    one = batch(name, **more)
    load = MetricBatch(Metric("system.cpu", "system"), np.arange(3), np.arange(3.0), np.arange(3))
    return RunBatch(one.run, (*one.metrics, load))


def everything(store: Store) -> dict[str, list[tuple[object, ...]]]:
    """All views, as comparable rows (NaN equals NaN)."""
    return {view: [tuple(map(repr, row)) for row in store.query(f"SELECT * FROM {view} ORDER BY ALL").rows] for view in VIEWS}


def held_by(path: Path) -> set[int]:
    """The runs that a data file has something of."""
    with pq.ParquetFile(path) as file:
        return set(file.read(columns=["run_id"])["run_id"].to_pylist())
