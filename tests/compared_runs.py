"""Runs at a level of their own and what ``openrlb compare`` says of them, for its tests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from builders import RETURN
from typer.testing import Result

import openrlb
from openrlb.api.compare import CompareAnswer, CompareOptions
from openrlb.api.compare_inputs import ScoreOptions
from openrlb.store import Store
from openrlb.types import MetricBatch, Run, RunBatch, Selection

Cli = Callable[..., Result]


def run(algo: str, seed: int | None, level: float, *, env: str = "Hopper-v4", name: str = "", **fields: Any) -> RunBatch:
    """One run that is at ``level`` plus noise of its seed, standard deviation 10."""
    metric, first, blobs = fields.pop("metric", RETURN), fields.pop("first", 1), fields.pop("blobs", {})
    noise = fields.pop("noise", np.random.default_rng([seed or 0, *algo.encode(), *env.encode()]).normal(0, 10))
    steps = np.arange(first, first + 50, dtype=np.int64) * 1000
    values: dict[str, Any] = {"source": "folder", "project": "logs", "state": "finished", "step_unit": "agent_step", **fields}
    values["files"] = {key: hashlib.sha256(data).hexdigest() for key, data in blobs.items()}
    key = name or f"{algo}-{env}-{values.get('impl', '')}-{seed}-{json.dumps(values.get('config', {}))}"
    record = Run(run=key, name=key, algo=algo, env=env, seed=seed, **values)
    return RunBatch(record, (MetricBatch(metric, steps, np.full(50, level + noise)),), blobs)


def fill(store: Store, batches: Sequence[RunBatch]) -> None:
    store.write(batches)
    store.fold()


def group(algo: str, level: float, seeds: int = 5, **fields: Any) -> list[RunBatch]:
    return [run(algo, seed, level, **fields) for seed in range(seeds)]


def compared(cli: Cli, *words: object) -> dict[str, Any]:
    result = cli("compare", *words, "--json", "--resamples", 2000)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def looked(*groups: str, seed: Sequence[int] = (), level: float = 0.95, **options: Any) -> CompareAnswer:
    """The library's answer, with few resamples."""
    named = {name: options.pop(name) for name in ("metric", "by", "normalize", "random") if name in options}
    score = ScoreOptions(resamples=300, level=level, **named)
    return openrlb.compare(groups, Selection(seed=tuple(seed)), CompareOptions(score, **options))
