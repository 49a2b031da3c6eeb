"""``.wandb`` files: the log that the wandb client writes for every run, offline runs among them.

Every metric, the settings, the summary, the commit, the tags and the environment are read. System metrics (they stand at no
training step) and console output are not.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from openrlb.errors import OpenrlbError, SourceError
from openrlb.sources.files import listing, open_regular, read_bounded
from openrlb.sources.guess import shown
from openrlb.sources.identity import clean_settings, iso_time, without_personal
from openrlb.sources.pauses import pauses_of
from openrlb.sources.protocol import MAX_SETTINGS_BYTES, Reading, Record, kept
from openrlb.sources.tracked import Tracked, run_of
from openrlb.sources.wandb_history import series
from openrlb.sources.wandb_log import Log, put, read_log
from openrlb.sources.wandb_records import MAGIC
from openrlb.types import RunState, Skipped

BESIDE = ("requirements.txt", "wandb-metadata.json", "wandb-summary.json", "config.yaml", "output.log", "conda-environment.yaml")
"""Files of the client in the run's folder ``files``: the log says the same, or they are kept with the run."""
CLIENT_LOGS = ("debug.log", "debug-internal.log", "debug-core.log")
"""What the client wrote of its own doings."""


class WandbFileSource:
    """Runs that the wandb client logged to a file."""

    name = "wandb file"

    def recognises(self, path: Path) -> bool:
        """Whether a file is such a log, by its first bytes or its name."""
        if path.suffix.lower() == ".wandb":
            return True
        with open_regular(path) as handle:
            return handle.read(len(MAGIC)) == MAGIC

    def read(self, path: Path, reading: Reading) -> Iterator[Record]:
        """Reads one run; logs of the same run beside it (a resumed one) are joined.

        Raises:
            MapError: Algorithm or environment are not known, or the map does not fit.
            SourceError: It is no such log, or holds no run.
            OSError: It cannot be read.
        """
        reading.taken.add(path)
        _take_beside(path, reading)
        first = read_log(path)
        if first.run_id is None:
            why = f"this Weights & Biases log holds no run ({first.damage or 'it ends after its header'})"
            raise SourceError(f"{path.name} is not read", why, "get the file again")
        if first.damage:
            yield Skipped(reading.location(path), _kept(first), damaged=True)
        if first.run_id in reading.tracked_ids:
            why = f"a run with the same wandb id ({first.run_id}) was read already"
            yield Skipped(reading.location(path), why, damaged=True)
            return
        reading.tracked_ids.add(first.run_id)
        logs = [first]
        for other in _same_name(path, reading):
            try:
                log = read_log(other)
            except (OpenrlbError, OSError):
                continue  # the walk comes to it and names it
            if (log.run_id, log.project) != (first.run_id, first.project):
                continue
            logs.append(log)
            reading.taken.add(other)
            _take_beside(other, reading)
            reading.on_file(other)
            if log.damage:
                yield Skipped(reading.location(other), _kept(log), damaged=True)
        yield from run_of(_tracked(_joined(logs), path, reading), reading)


def _kept(log: Log) -> str:
    """The damage of a log, and what is left of it."""
    return f"{log.damage}; {kept(log.rows, 'row')}"


def _take_beside(path: Path, reading: Reading) -> None:
    """Marks the client's own files beside a log as used, so that they are not read as tables."""
    reading.taken.update(path.parent / "files" / name for name in BESIDE)
    reading.taken.update(path.parent / "logs" / name for name in CLIENT_LOGS)
    reading.run_folders.add(path.parent)


def _same_name(path: Path, reading: Reading) -> list[Path]:
    """Logs of the same name anywhere below the root: copies, and a resumed run's other sessions."""
    if reading.named is not None:
        return []
    if reading.tracked is None:
        reading.tracked = {}
        waiting = [reading.root]
        while waiting:
            try:
                found = listing(waiting.pop(), reading.root)
            except OSError:
                continue  # the walk names it
            waiting += found.folders
            for file in found.files:
                if file.suffix.lower() == ".wandb":
                    reading.tracked.setdefault(file.name, []).append(file)
    return sorted(other for other in reading.tracked.get(path.name, ()) if other != path and other not in reading.taken)


def _joined(logs: list[Log]) -> Log:
    """The logs of one run in the order in which they began; of copies the longest."""
    logs = sorted(logs, key=lambda log: (log.started or 0.0, -log.rows))
    sessions = [log for number, log in enumerate(logs) if not number or log.started != logs[number - 1].started]
    whole = sessions[0]
    if len(sessions) < len(logs):
        whole.notes.append("another copy of its log is left out")
    if len(sessions) > 1:
        whole.notes.append(f"resumed: logs of {len(sessions)} sessions are joined")
    for log in sessions[1:]:
        for name, (rows, values) in log.columns.items():
            into_rows, into_values = whole.columns.setdefault(name, (array("q"), array("d")))
            into_rows.extend(array("q", [row + whole.rows for row in rows]))
            into_values.extend(values)
        whole.rows += log.rows
        if {"_timestamp", "_runtime"} <= set(whole.columns):  # each session counts its own _runtime
            whole.columns.pop("_runtime")
        whole.config |= log.config
        whole.summary |= log.summary
        whole.axes |= log.axes
        whole.not_numbers |= log.not_numbers
        whole.exit_code, whole.fresh = log.exit_code, log.fresh
        whole.tags, whole.commit = log.tags or whole.tags, log.commit or whole.commit
    if len(sessions) > 1 and "_timestamp" in whole.columns:
        rows, stamps = whole.columns["_timestamp"]
        found = pauses_of(np.array(stamps, np.float64), [log.started for log in sessions if log.started is not None])
        whole.columns["_timestamp"] = rows, array("d", found.without(np.array(stamps, np.float64)))
        whole.notes += found.note()
    return whole


def _tracked(log: Log, path: Path, reading: Reading) -> Tracked:
    """The run that a log tells of."""
    notes = list(log.notes)
    state: RunState = "finished" if log.exit_code == 0 else "failed"
    if log.exit_code is None:
        state = "running" if log.fresh else "crashed"
        notes.append("its log has no exit record: the run still goes on, or its process was killed")
    elif log.exit_code:
        notes.append(f"it ended with exit code {log.exit_code}")
    if log.not_numbers:
        notes.append(f"logged, but no numbers: {shown(sorted(log.not_numbers))}")
    found, unit = series(log, reading, notes)
    place = path.parent.parent.parent if path.parent.parent.name == "wandb" else path.parent
    tracked = Tracked(
        run=str(log.run_id),
        place=place if place.is_relative_to(reading.root) else path,
        location=reading.location(path),
        config=log.config,
        series=found,
        name=without_personal(log.name or str(log.run_id)),
        project=reading.options.project or log.project or reading.project,
        state=state,
        tags=tuple(map(without_personal, log.tags)),
        git_commit=log.commit,
        hardware=clean_settings(log.machine),
        created=iso_time(log.started),
        axis_unit=unit,
        notes=notes,
    )
    _keep(tracked, log, reading)
    return tracked


def _keep(tracked: Tracked, log: Log, reading: Reading) -> None:
    """Keeps the requirements and the summary with the run."""
    requirements = log.path.parent / "files" / "requirements.txt"
    if requirements.is_file() and not requirements.is_symlink():
        reading.on_file(requirements)
        try:
            text = read_bounded(requirements, MAX_SETTINGS_BYTES).decode("utf-8", errors="replace")
            tracked.blobs["requirements.txt"] = without_personal(text).encode()
        except (OpenrlbError, OSError) as error:
            tracked.notes.append(f"requirements.txt was not read: {error}")
    summary: dict[str, Any] = {}
    for keys, text in log.summary.items():
        try:
            put(summary, keys, json.loads(text))
        except (ValueError, RecursionError):
            tracked.notes.append("parts of its summary could not be understood")
    summary.pop("_wandb", None)
    if summary:
        try:
            tracked.blobs["wandb-summary.json"] = json.dumps(clean_settings(summary), sort_keys=True).encode()
        except ValueError as error:
            tracked.notes.append(f"its summary is not kept: {error}")
    tracked.files = {name: hashlib.sha256(data).hexdigest() for name, data in tracked.blobs.items()}
