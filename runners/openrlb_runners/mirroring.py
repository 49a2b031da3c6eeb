"""A run's rows to Weights & Biases while it trains: the client works in a thread, so that it never holds up the worker."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from queue import SimpleQueue
from typing import Any

from openrlb.sources.trained import settings_of, values_of
from openrlb.tracking.mirror import Mirror, Mode
from openrlb.types import Run, RunState
from openrlb_runners.request import WorkItem

Rows = Sequence[Mapping[str, Any]]


class RunMirror:
    """One wandb run for one run of ours.

    Args:
        mode: ``offline`` or ``online``.
        item: What is trained.
        attempt: Which attempt it is.
        warnings: Where sentences go when wandb fails; the run goes on.
    """

    def __init__(self, mode: Mode, item: WorkItem, attempt: int, warnings: SimpleQueue[str]) -> None:
        self._mode, self._item, self._attempt = mode, item, attempt
        self._warnings = warnings
        self._queue: SimpleQueue[Rows | RunState] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"wandb {item.request.label}", daemon=True)
        self._thread.start()

    def log(self, rows: Rows) -> None:
        """Hands on rows as they were read."""
        if rows:
            self._queue.put(rows)

    def finish(self, state: RunState) -> None:
        """Says how the run ended; returns at once."""
        self._queue.put(state)

    def wait(self, seconds: float | None) -> bool:
        """Waits until everything is handed over; False where that takes longer."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        """What the thread does."""
        key, request = self._item.key, self._item.request
        record = Run(
            source="openrlb",
            run=f"{key.digest}-{self._attempt}",
            project="openrlb",
            name=request.label,
            algo=request.algo,
            impl=self._item.runner.name,
            env=request.env,
            seed=request.seed,
            role=request.role,
            config=settings_of(key),
            tags=self._item.tags,
        )
        mirror = Mirror(self._mode, record, self._warnings.put, of_this_process=False)
        while not isinstance(told := self._queue.get(), str):
            for row in told:
                step, _, values = values_of(row)
                mirror.log(step, {metric.name: value for metric, value in values})
        mirror.finish(told)
