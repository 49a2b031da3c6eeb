"""Batches and studies whose workers are elsewhere: what ``status`` says of them, and what they leave in a store."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from typer.testing import Result

from openrlb.store import Store

Cli = Callable[..., Result]


def looked(cli: Cli, *words: str) -> dict[str, Any]:
    """What status says of one batch or study."""
    ended = cli("status", *words, "--json")
    assert ended.exit_code == 0, ended.stderr
    rows: list[dict[str, Any]] = json.loads(ended.stdout)
    assert len(rows) == 1
    return rows[0]


def until(cli: Cli, *words: str, **wanted: Any) -> dict[str, Any]:
    """Waits until status says something."""
    deadline = time.monotonic() + 90
    while not wanted.items() <= (row := looked(cli, *words)).items():
        assert time.monotonic() < deadline, row
        time.sleep(0.2)
    return row


def shape(store: Store) -> list[tuple[Any, ...]]:
    """What a store holds of runs, without times."""
    columns = "run, algo, impl, env, seed, role, state, steps"
    runs = store.query(f"SELECT {columns} FROM runs ORDER BY run").rows
    points = store.query("SELECT run, metric, step, value FROM points ORDER BY run, metric, step, value").rows
    return [*runs, *((run, metric, step, str(value)) for run, metric, step, value in points)]
