"""The folder of a run that is being tracked, and how it becomes a segment of the spool.

::

    runs/<run_key>/<attempt>/  tracked.json  rows.bin  end.json  kept/<file>  git/{git-status.txt,changes.diff}

It appears whole, by rename. ``end.json`` is made full-sized at the start and overwritten in place at the end, so that a run
can say how it ended on a full disk. A folder is always read in the same way, by the run itself or by a later sweep, and
(source, run) is unique in the store: to store it twice is to store it once.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from openrlb.errors import SourceError
from openrlb.store import write_segment
from openrlb.store.files import TEMPORARY_PREFIX, unwritable
from openrlb.store.layout import Layout
from openrlb.store.records import check_record
from openrlb.tracking.owner import is_alive
from openrlb.tracking.provenance import REQUIREMENTS, read_git
from openrlb.tracking.rows import Rows, read_rows
from openrlb.types import Run, RunBatch, RunState

FORMAT = 1
RECORD = "tracked.json"
ROWS = "rows.bin"
END = "end.json"
KEPT = "kept"
GIT = "git"
END_BYTES = 4096
"""The size of ``end.json``: one page, so that it is written in one piece."""

OWN_SECONDS = 60.0
_MAX_RECORD_BYTES = 64 << 20


def runs_dir(layout: Layout) -> Path:
    """Where the folders of running runs lie."""
    return layout.root / "runs"


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended, by its own word.

    Attributes:
        state: The state.
        rows: Rows that ``log`` took.
        lost: Rows that could not be written.
        notes: What else was noticed.
        hardware: What was seen of the hardware only at the end.
    """

    state: RunState
    rows: int = 0
    lost: int = 0
    notes: tuple[str, ...] = ()
    hardware: Mapping[str, Any] | None = None


def make_folder(layout: Layout, key: str, attempt: str, record: Run, owner: Mapping[str, Any], kept: Mapping[str, bytes]) -> Path:
    """Makes a run folder, whole or not at all.

    Args:
        layout: The store.
        key: The run's key.
        attempt: What tells executions of the key apart.
        record: The run's record, as far as it is known.
        owner: The process that will write the rows.
        kept: Files to keep with the run.

    Raises:
        StoreUnwritable: No permission, no space, or a read-only disk.
    """
    root = runs_dir(layout)
    temporary = root / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:12]}"
    path = root / key / attempt
    try:
        for name in (KEPT, GIT):
            (temporary / name).mkdir(parents=True)
        content = {"format": FORMAT, "run": record.to_json(), "owner": dict(owner)}
        (temporary / RECORD).write_text(json.dumps(content), encoding="utf-8")
        (temporary / END).write_bytes(b" " * END_BYTES)
        (temporary / ROWS).touch()
        for name, data in kept.items():
            (temporary / KEPT / name).write_bytes(data)
        _appear(temporary, path)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise unwritable(path, error) from error
    return path


def _appear(temporary: Path, path: Path) -> None:
    """Renames a folder into place, however often the last run of the same key takes the parent away meanwhile."""
    for remaining in range(9, -1, -1):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.rename(path)
            return
        except FileNotFoundError:
            if not remaining:
                raise


def mark_end(folder: Path, end: End) -> None:
    """Writes down how a run ended, in the space that was set aside for it.

    Raises:
        OSError: It could not be written.
    """
    content = {"state": end.state, "rows": end.rows, "lost": end.lost, "hardware": dict(end.hardware or {})}
    data = json.dumps({**content, "notes": list(end.notes)}).encode()
    if len(data) > END_BYTES:
        data = json.dumps({**content, "notes": [*(note[:300] for note in end.notes[:3])], "hardware": {}}).encode()
    with (folder / END).open("rb+") as file:
        file.write(data.ljust(END_BYTES))


def read_folder(folder: Path) -> RunBatch:
    """Reads a run folder as a run: the same folder always gives the same run.

    Raises:
        SourceError: Its record cannot be read.
        FileNotFoundError: Another process stored and removed it meanwhile.
    """
    record = _record(folder)[0]
    end = _end(folder)
    rows_file = folder / ROWS
    rows = read_rows(rows_file.read_bytes())
    blobs = {path.name: path.read_bytes() for path in sorted((folder / KEPT).iterdir())}
    commit, changes, notes = read_git(folder / GIT)
    blobs |= changes
    last_row = rows_file.stat().st_mtime  # read last: it fails where the folder was removed while the rest was read
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in blobs.items()}
    run = replace(
        record,
        state=end.state if end else "crashed",
        git_commit=commit or record.git_commit,
        requirements=digests.get(REQUIREMENTS),
        files=digests,
        hardware={**record.hardware, **((end.hardware if end else None) or {})},
        line_count=end.rows if end else rows.count,
        heartbeat=None if end else datetime.fromtimestamp(last_row, tz=UTC).isoformat(timespec="seconds"),
        notes=(*record.notes, *notes, *_noticed(rows, end)),
    )
    return RunBatch(run, rows.metrics, blobs)


def _noticed(rows: Rows, end: End | None) -> list[str]:
    """What a reader of the run must know of its rows."""
    notes = list(end.notes) if end else ["the process ended without a word (killed, or out of memory)"]
    if end and end.lost:
        notes.append(f"{end.lost} of {end.rows} rows were lost: the disk could not be written")
    if rows.torn:
        notes.append(f"a torn row at the end ({rows.torn} bytes) was left out")
    if rows.backward:
        notes.append(f"the step goes back {rows.backward} times")
    return notes


def _record(folder: Path) -> tuple[Run, dict[str, Any]]:
    """A folder's run record and owner.

    Raises:
        SourceError: It cannot be read.
        FileNotFoundError: There is none.
    """
    try:
        if (folder / RECORD).stat().st_size > _MAX_RECORD_BYTES:
            raise ValueError("it is larger than 64 MiB")
        content = json.loads((folder / RECORD).read_bytes())
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']}, not {FORMAT}")
        check_record({"run": content["run"], "metrics": [], "blobs": {}})
        return Run.from_json(content["run"]), dict(content["owner"])
    except FileNotFoundError:
        raise
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        why = f"{type(error).__name__}: {error}"
        raise SourceError(f"the run folder {folder.name} cannot be read", why, f"look into {folder}") from error


def _end(folder: Path) -> End | None:
    """How the run ended, or None where it did not say."""
    try:
        content = json.loads((folder / END).read_bytes())
        notes = tuple(str(note) for note in content["notes"])
        return End(content["state"], int(content["rows"]), int(content["lost"]), notes, dict(content["hardware"]))
    except (OSError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return None


def is_running(folder: Path) -> bool:
    """Whether a run folder's owner lives and has not ended the run; after the end it has a minute to store the run itself.

    Raises:
        SourceError: Its record cannot be read.
        FileNotFoundError: It is gone.
    """
    owner = _record(folder)[1]
    if _end(folder) is not None and abs(time.time() - (folder / END).stat().st_mtime) > OWN_SECONDS:
        return False
    return is_alive(owner, (folder / ROWS).stat().st_mtime)


def store_folders(layout: Layout, folders: Sequence[Path]) -> list[Run]:
    """Writes run folders as one segment into the spool, then removes them.

    Killed at any moment it loses nothing: a folder goes only after its segment is there, and a folder that is stored again
    gives the same run again. A folder that somebody else is storing at the same time may be stored by both.

    Args:
        layout: The store.
        folders: The folders; one that is gone was stored by somebody else.

    Returns:
        The runs.

    Raises:
        StoreUnwritable: No permission, no space, or a read-only disk; nothing was removed.
        SourceError: A record cannot be read.
    """
    return [batch.run for batch in store_each(layout, folders, read_folder, remove_folder)]


def store_each(
    layout: Layout, folders: Sequence[Path], read: Callable[[Path], RunBatch], remove: Callable[[Path], None]
) -> list[RunBatch]:
    """The same for folders of any kind.

    Args:
        layout: The store.
        folders: The folders; one that is gone was stored by somebody else.
        read: Reads a folder as a run.
        remove: Removes a folder.

    Returns:
        What was stored.

    Raises:
        StoreUnwritable: No permission, no space, or a read-only disk; nothing was removed.
        SourceError: A record cannot be read.
    """
    batches, present = [], []
    for folder in folders:
        with suppress(FileNotFoundError):
            batches.append(read(folder))
            present.append(folder)
    if batches:
        write_segment(layout.spool, batches)
    for folder in present:
        remove(folder)
    return batches


def remove_folder(folder: Path) -> None:
    """Removes a run folder; from the first moment on nobody takes what is left of it for a run."""
    grave = folder.parent.parent / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:12]}"
    with suppress(OSError):
        folder.rename(grave)
        shutil.rmtree(grave, ignore_errors=True)
        os.rmdir(folder.parent)  # noqa: PTH106 - only where it is empty, and it may be anything but there
