"""The one loop that trains: takes work items, starts them on a launcher, watches them, stores what came of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Literal, Protocol

from openrlb.store import Store
from openrlb.tracking.mirror import Mode
from openrlb_runners.launchers.protocol import Launcher
from openrlb_runners.request import Outcome, WorkItem


class Later(Enum):
    """What a source says that has nothing now and may have something later."""

    LATER = "later"


LATER = Later.LATER


class WorkSource(Protocol):
    """Where work comes from: a batch (``run``), a study (``tune``), a reproduction."""

    def take(self) -> WorkItem | Later | None:
        """The next item, ``LATER`` where there is none before another one has ended, or None where there is no more."""

    def finished(self, item: WorkItem, outcome: Outcome) -> None:
        """Told once for each item that was taken, however it ended."""


@dataclass(frozen=True)
class Limits:
    """What ends a run from outside.

    Attributes:
        wall_seconds: The longest that a run may take, or None.
        memory_bytes: The most memory that a run's processes may hold together, or None.
    """

    wall_seconds: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True)
class Event:
    """Something to tell the user.

    Attributes:
        kind: ``started``, ``progress``, ``ended``, ``elsewhere`` (another openrlb trains that very run) or ``warning``.
        item: What it is about.
        attempt: The attempt's number.
        progress: How far the run is.
        outcome: What came of it, at its end.
        text: The words of a warning.
    """

    kind: Literal["started", "progress", "ended", "elsewhere", "warning"]
    item: WorkItem
    attempt: int = 0
    progress: None = None
    outcome: Outcome | None = None
    text: str = ""


def work(
    source: WorkSource,
    *,
    workers: int,
    store: Store,
    launcher: Launcher | None = None,
    limits: Limits | None = None,
    wandb: Mode = "off",
    on_event: Callable[[Event], None] | None = None,
) -> None:
    """Trains what a source gives until it gives no more, several runs at a time, in one thread.

    A finished run of the same key is not trained again (its record is the outcome); one that another openrlb is training is
    waited for. Ctrl-C and SIGTERM stop the running ones, store them as ``killed`` and raise; a second one does not wait.

    Args:
        source: Where items come from.
        workers: How many runs to train at a time.
        store: Where runs go.
        launcher: Where they execute; a local one by default, which is closed at the end.
        limits: What ends a run from outside.
        wandb: ``offline`` or ``online`` to mirror the rows to Weights & Biases.
        on_event: Told what happens.

    Raises:
        KeyboardInterrupt: After Ctrl-C or SIGTERM, when everything is stored.
        StoreUnwritable: The store cannot be written; what was running has ended before, and waits in its folders.
    """
    raise NotImplementedError
