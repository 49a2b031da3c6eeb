"""Looks: which comparisons were made of which runs, kept for good, because looking again with more seeds costs certainty.

``looks.jsonl`` lies beside the catalog and is its own truth: nothing else can tell what somebody looked at, so that
``doctor --rebuild`` leaves it alone. One line of JSON for each look, appended under a lock of its own and brought to the disk
before the verdict is told. Under the same lock a writer makes sure that nobody else looked since it counted. A line that a
killed writer left half-written is closed by the next one; readers skip it and say so.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from openrlb.store.files import sync_folder, unwritable
from openrlb.store.layout import Layout
from openrlb.store.lock import locked

NAME = "looks.jsonl"
LOCK_SECONDS = 60.0


class LookWarning(UserWarning):
    """A look that cannot be read or kept, so that it is not counted."""


@dataclass(frozen=True, slots=True)
class Look:
    """One comparison that somebody saw.

    Attributes:
        comparison: What was compared: a hash of the groups' definitions and the question.
        groups: The two groups' labels, for people.
        envs: The environments.
        statistic: The statistic.
        runs: ``source run`` of every run of both groups, sorted.
        time: When, ISO 8601 in UTC.
        verdict: What came of it.
        difference: The difference that was shown.
        low: The lower end of its interval, or None.
        high: The upper end.
        alpha: The error that the look added, of all comparisons made together with it.
        information: How much was known: grows with the runs, in a unit of its own.
        sequential: Whether that error was corrected for the looks before.
        margin: The margin, or None.
        question: A hash of the statistic, what it is of, how it is scored and the environments.
        first: Those of ``runs`` that are the first group's; the others are the second's.
        level: The adjusted level of the interval.
    """

    comparison: str
    groups: tuple[str, str]
    envs: tuple[str, ...]
    statistic: str
    runs: tuple[str, ...]
    time: str
    verdict: str
    difference: float
    low: float | None
    high: float | None
    alpha: float
    information: float
    sequential: bool
    margin: float | None = None
    question: str = ""
    first: tuple[str, ...] = ()
    level: float | None = None


def read_looks(layout: Layout) -> list[Look]:
    """Every look in the order in which they were taken; what cannot be read is told as a :class:`LookWarning`."""
    try:
        looks, torn = _read(_path(layout))
    except OSError as error:
        told = f"{NAME} cannot be read ({error.strerror or error}), so that earlier looks are not counted"
        warnings.warn(told, LookWarning, stacklevel=2)
        return []
    if torn:
        told = f"{torn} line{'s' if torn > 1 else ''} of {NAME} cannot be read: what was looked at there is not counted"
        warnings.warn(told, LookWarning, stacklevel=2)
    return looks


def add_looks(layout: Layout, looks: Sequence[Look], counted: int | None = None) -> bool:
    """Appends looks in one piece; any number of processes may do so at once, and a kill loses no look told before.

    Args:
        layout: Where the store lies.
        looks: The looks.
        counted: How many looks :func:`read_looks` gave before these were counted; None if they do not depend on others.

    Returns:
        False, with nothing written, where somebody else looked since then: read and count again.

    Raises:
        StoreUnwritable: No permission, no space, or a read-only disk.
        StoreBusy: Another process has held the file for a minute.
    """
    if not looks:
        return True
    path = _path(layout)
    data = b"".join(json.dumps(asdict(look), ensure_ascii=False).encode() + b"\n" for look in looks)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(layout, path.with_suffix(".lock").name, LOCK_SECONDS, "the look was not noted") as still_held:
            if counted is not None and len(_read(path)[0]) != counted:
                return False
            new = not path.exists()
            with path.open("ab+") as file:
                if file.tell() and not _ends_a_line(file.fileno(), file.tell()):
                    data = b"\n" + data
                still_held()
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if new:
                sync_folder(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    return True


def _read(path: Path) -> tuple[list[Look], int]:
    """All looks of a file, and how many lines of it are none; no file, no looks."""
    try:
        lines = [line for line in path.read_bytes().split(b"\n") if line]
    except FileNotFoundError:
        return [], 0
    found = [_parsed(line) for line in lines]
    return [look for look in found if look is not None], found.count(None)


def _path(layout: Layout) -> Path:
    """Where looks lie."""
    return layout.root / NAME


def _ends_a_line(handle: int, size: int) -> bool:
    """Whether the last byte of a file is a line's end."""
    return os.pread(handle, 1, size - 1) == b"\n"


def _parsed(line: bytes) -> Look | None:
    """One line as a look; None for a torn one, or one without what a look needs."""
    try:
        entry: dict[str, Any] = json.loads(line)
        known = {name: entry[name] for name in Look.__dataclass_fields__ if name in entry}
        for name in ("groups", "envs", "runs"):
            known[name] = tuple(map(str, known[name]))
        known["first"] = tuple(map(str, known.get("first", ())))
        look = Look(**known)
        numbers = isinstance(look.alpha, float) and isinstance(look.information, float)
        return look if isinstance(look.comparison, str) and numbers else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
