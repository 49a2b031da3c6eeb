"""How far a run is: its ``metrics.jsonl`` as it grows, never read twice."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openrlb.sources.trained import RETURN, parse_row, values_of
from openrlb.types import RunBatch

EPISODES = 10
"""The return that is shown is the mean over so many last episodes."""

READ_BYTES = 1 << 20
"""The most that one look reads; a runner that writes faster is only shown later than it is."""

MAX_PART_BYTES = 1 << 16


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        step: Its last step.
        steps: How many it is to take.
        episodic_return: The mean return of its last 10 training episodes, or None before the first.
        steps_per_second: Its pace, or None before the first row.
        seconds_left: How long it still takes at that pace, or None.
    """

    step: int
    steps: int
    episodic_return: float | None = None
    steps_per_second: float | None = None
    seconds_left: float | None = None


def last_of(batch: RunBatch) -> tuple[int | None, float | None]:
    """A run's steps, or its last row's where it does not tell them; the mean return of its last 10 training episodes, or None."""
    step = max((int(metric.steps.max()) for metric in batch.metrics if len(metric.steps)), default=None)
    step = step if batch.run.steps is None else max(step or 0, batch.run.steps)
    returns = next((metric.values[-EPISODES:] for metric in batch.metrics if metric.metric == RETURN), None)
    return step, None if returns is None else float(returns.mean())


class Tail:
    """Reads what was added to a ``metrics.jsonl`` since the last look.

    Args:
        path: The file; it may not be there yet.
        steps: How many steps the run is to take.

    Attributes:
        is_behind: True where the last look left something for the next.
    """

    def __init__(self, path: Path, steps: int) -> None:
        self._path, self._steps = path, steps
        self._file: int | None = None
        self._part = b""
        self._returns: deque[float] = deque(maxlen=EPISODES)
        self._step, self._seconds = 0, 0.0
        self.is_behind = False

    def look(self) -> list[Mapping[str, Any]]:
        """The good rows that were added; a line that is not whole yet waits for the next look."""
        if self._file is None:
            with suppress(OSError):
                self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        if self._file is None:
            return []
        added = os.read(self._file, READ_BYTES)
        self.is_behind = len(added) == READ_BYTES
        *lines, self._part = (self._part + added).split(b"\n")
        if len(self._part) > MAX_PART_BYTES:
            self._part = b""
        rows = []
        for line in lines:
            row = parse_row(line)
            if row is not None and self._take(row):
                rows.append(row)
        return rows

    def _take(self, row: Mapping[str, Any]) -> bool:
        """Counts a row; False for one that is none."""
        try:
            step, seconds, values = values_of(row)
        except (KeyError, TypeError, ValueError, OverflowError):
            return False
        self._step, self._seconds = max(self._step, step), max(self._seconds, seconds)
        self._returns.extend(value for metric, value in values if metric == RETURN)
        return True

    @property
    def progress(self) -> Progress:
        """How far the run is, as of the last look."""
        pace = self._step / self._seconds if self._seconds > 0 and self._step > 0 else None
        left = max(0.0, (self._steps - self._step) / pace) if pace else None
        shown = sum(self._returns) / len(self._returns) if self._returns else None
        return Progress(self._step, self._steps, shown, pace, left)

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
