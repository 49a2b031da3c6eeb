"""Sweep: every verb first stores the runs whose process is gone."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from openrlb.errors import SourceError, StoreUnwritable
from openrlb.store import Store
from openrlb.store.files import TEMPORARY_PREFIX
from openrlb.store.layout import Layout
from openrlb.tracking.folder import RECORD, is_running, runs_dir, store_folders
from openrlb.types import Run

RUNS_PER_SEGMENT = 64
_LEFTOVERS_STAY = 86_400.0


@dataclass(slots=True)
class SweepReport:
    """What a sweep found.

    Attributes:
        stored: The ids of runs that were put into the spool: ended ones and, as ``crashed``, those whose process died.
        running: The number of runs that are being written.
        damaged: Folders that could not be read, with the reason; they were moved into the store's quarantine.
        waiting: Why ended runs could not be stored (an unwritable store), or None.
    """

    stored: list[str] = field(default_factory=list)
    running: int = 0
    damaged: list[tuple[str, str]] = field(default_factory=list)
    waiting: str | None = None


@dataclass(frozen=True)
class FolderKind:
    """Run folders of one kind, and how they are read.

    Attributes:
        record: The file that makes a folder one of them.
        is_running: Whether a folder's owner still writes to it.
        store: Writes folders into the spool as one segment, and removes them.
    """

    record: str
    is_running: Callable[[Path], bool]
    store: Callable[[Layout, Sequence[Path]], list[Run]]


TRACKED = FolderKind(RECORD, is_running, store_folders)


def sweep(store: Store | None = None, kind: FolderKind = TRACKED) -> SweepReport:
    """Puts every run that has ended, or whose process died, into the spool. The caller folds.

    Any number of sweeps may run at once, and be killed: nothing is lost and nothing is stored twice. Without run folders
    it costs one look at the disk. A store that cannot be written is reported, not raised: a reader can still read.

    Args:
        store: The user's own store by default.
        kind: Which folders: those of tracked scripts by default.
    """
    layout = (store or Store()).layout
    report = SweepReport()
    ended = []
    for folder in _run_folders(layout, kind.record):
        try:
            if kind.is_running(folder):
                report.running += 1
            else:
                ended.append(folder)
        except FileNotFoundError:
            continue
        except SourceError as error:
            _set_aside(layout, folder, error, report)
    try:
        for start in range(0, len(ended), RUNS_PER_SEGMENT):
            _store(layout, ended[start : start + RUNS_PER_SEGMENT], kind, report)
    except StoreUnwritable as error:
        report.waiting = str(error)
    return report


def running(store: Store | None = None, kind: FolderKind = TRACKED) -> int:
    """How many runs are being written now; nothing is swept.

    Args:
        store: The user's own store by default.
        kind: Which folders: those of tracked scripts by default.
    """
    count = 0
    for folder in _run_folders((store or Store()).layout, kind.record):
        with suppress(FileNotFoundError, SourceError):
            count += kind.is_running(folder)
    return count


def _store(layout: Layout, folders: Sequence[Path], kind: FolderKind, report: SweepReport) -> None:
    """Stores folders together; where one of them cannot be stored, one by one."""
    try:
        report.stored += [run.run for run in kind.store(layout, folders)]
    except SourceError as error:
        if len(folders) == 1:
            _set_aside(layout, folders[0], error, report)
            return
        for folder in folders:
            _store(layout, [folder], kind, report)


def _run_folders(layout: Layout, record: str) -> list[Path]:
    """The folders that hold such a record; a folder without one belongs to somebody else. Old leftovers are removed."""
    root = runs_dir(layout)
    found = []
    with suppress(OSError):
        for key in sorted(root.iterdir()):
            if key.name.startswith(TEMPORARY_PREFIX):
                _forget(key)
            elif key.is_dir():
                found += [path for path in sorted(key.iterdir()) if (path / record).is_file()]
    return found


def _forget(leftover: Path) -> None:
    """Removes what a killed process left half made or half removed, after a day."""
    with suppress(OSError):
        if leftover.stat().st_mtime < time.time() - _LEFTOVERS_STAY:
            shutil.rmtree(leftover, ignore_errors=True)


def _set_aside(layout: Layout, folder: Path, error: SourceError, report: SweepReport) -> None:
    """Moves a folder that cannot be read out of the way, and keeps it."""
    report.damaged.append((folder.name, str(error)))
    with suppress(OSError):
        layout.quarantine.mkdir(parents=True, exist_ok=True)
        folder.rename(layout.quarantine / f"run-{folder.parent.name}-{folder.name}")
