"""The folder of a run that one of our runners trains, and how it becomes a segment of the spool.

::

    runs/<run_key>/<attempt>/  request.json  spec.json  source/*.py  lock/*.txt  runner.toml  stdout  stderr  ended.json
                               metrics.jsonl  config.json  env.json  done.json          <- the runner's own

It appears whole, by rename, which fails where another openrlb has made the same attempt: that is the claim. ``ended.json``
is made full-sized at the start and overwritten in place, so that a run can say how it ended on a full disk. A folder is
always read in the same way, by the openrlb that trained the run or by a later sweep.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from openrlb.errors import SourceError
from openrlb.sources.trained import CONFIG, DONE, ENV, METRICS, Output, batch_of, kept_files, read_output
from openrlb.store.files import TEMPORARY_PREFIX, unwritable
from openrlb.store.layout import Layout
from openrlb.tracking.folder import OWN_SECONDS, remove_folder, runs_dir, store_each
from openrlb.tracking.owner import is_alive, this_process
from openrlb.tracking.values import text
from openrlb.types import RunBatch, RunKey, RunState
from openrlb_runners.request import MANIFEST, WorkItem

FORMAT = 1
RECORD, SPEC, ENDED = "request.json", "spec.json", "ended.json"
SOURCE, LOCK, STDOUT, STDERR = "source", "lock", "stdout", "stderr"
OURS = frozenset({RECORD, SPEC, ENDED, SOURCE, LOCK, MANIFEST, STDOUT, STDERR, METRICS, CONFIG, ENV, DONE})
"""Everything in a run folder that is in the store afterwards, or worth nothing."""

ENDED_BYTES = 4096
TAIL_BYTES = 4096
LEASE_SECONDS = 300.0
"""How long a run of another machine counts as alive after its owner's last sign of life (:func:`show_life`, once a minute)."""

CHECKED = ("algo", "env", "env_kwargs", "steps", "hyperparameters", "evaluation", "threads", "device")
"""The entries of ``config.json`` that have to be what the request resolved to."""

_MAX_NOTE = 300
_SHOWN_KEYS = 8


@dataclass(frozen=True)
class Ended:
    """How the parent saw a run end.

    Attributes:
        state: The state.
        notes: Why, in words.
        code: The exit code; None where a signal ended it.
        seconds: How long the process ran.
    """

    state: RunState
    notes: tuple[str, ...] = ()
    code: int | None = None
    seconds: float = 0.0


def claim(layout: Layout, item: WorkItem, attempt: int) -> Path | None:
    """Makes the folder of an attempt, whole or not at all.

    Args:
        layout: The store.
        item: What is to be trained.
        attempt: The attempt's number.

    Returns:
        The folder, or None where the attempt is somebody else's.

    Raises:
        StoreUnwritable: No permission, no space, or a read-only disk.
    """
    key, root = item.key, runs_dir(layout)
    temporary = root / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:12]}"
    path = root / key.digest / str(attempt)
    record = {
        "format": FORMAT,
        "key": asdict(key),
        "attempt": attempt,
        "runner": item.runner.name,
        "expected": dict(item.effective),
        "tags": list(item.tags),
        "owner": this_process(),
        "created": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    try:
        for name, files in ((SOURCE, item.runner.sources), (LOCK, item.runner.locks)):
            (temporary / name).mkdir(parents=True)
            for inner, data in files.items():
                (temporary / name / inner).write_bytes(data)
        (temporary / MANIFEST).write_bytes(item.runner.manifest)
        (temporary / RECORD).write_text(json.dumps(record), encoding="utf-8")
        (temporary / SPEC).write_text(json.dumps(item.request.to_spec(), indent=1), encoding="utf-8")
        (temporary / ENDED).write_bytes(b" " * ENDED_BYTES)
        return path if _appear(temporary, path) else None
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _appear(temporary: Path, path: Path) -> bool:
    """Renames a folder into place; False where another one is there. The last attempt may take the parent away meanwhile."""
    for remaining in range(9, -1, -1):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.rename(path)
            return True
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return False
            if not isinstance(error, FileNotFoundError) or not remaining:
                raise
    return False


def attempts(layout: Layout, digest: str) -> list[Path]:
    """The folders of a key's attempts that are not stored yet."""
    try:
        return sorted(path for path in (runs_dir(layout) / digest).iterdir() if (path / RECORD).is_file())
    except OSError:
        return []


def next_attempt(layout: Layout, digest: str, stored: int) -> int:
    """The number of the next attempt.

    Args:
        layout: The store.
        digest: The run's key.
        stored: The number of the stored attempt, 0 where there is none.
    """
    names = []
    with suppress(OSError):
        names = [path.name.split(".")[0] for path in (runs_dir(layout) / digest).iterdir()]
    return 1 + max([stored, *(int(name) for name in names if name.isdigit())])


def mark_ended(folder: Path, ended: Ended) -> None:
    """Writes down how a run ended, in the space that was set aside for it.

    Raises:
        OSError: It could not be written.
    """
    content = {**asdict(ended), "notes": [note[:_MAX_NOTE] for note in ended.notes[:_SHOWN_KEYS]]}
    data = json.dumps(content).encode()
    if len(data) > ENDED_BYTES:
        data = json.dumps({**content, "notes": [note.encode("ascii", "replace").decode() for note in content["notes"]]}).encode()
    with (folder / ENDED).open("rb+") as file:
        file.write(data.ljust(ENDED_BYTES))


def read_ended(folder: Path) -> Ended | None:
    """How the parent saw the run end, or None where it did not."""
    try:
        content = json.loads((folder / ENDED).read_bytes())
        code = content["code"]
        notes = tuple(str(note) for note in content["notes"])
        return Ended(content["state"], notes, None if code is None else int(code), float(content["seconds"]))
    except (OSError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return None


def owners(layout: Layout) -> dict[str, dict[str, Any]]:
    """Who trains what just now: by run, ``owner``, ``alive``, ``algo`` and ``env`` of its newest folder that can be read.

    Args:
        layout: The store.
    """
    found: dict[str, dict[str, Any]] = {}
    with suppress(OSError):
        for path in sorted(runs_dir(layout).glob(f"*/*/{RECORD}")):
            with suppress(SourceError, FileNotFoundError):
                record, alive = _record(path.parent), is_running(path.parent)
                key = record["key"]
                found[path.parent.parent.name] = {
                    "owner": record["owner"],
                    "alive": alive,
                    "algo": key["algo"],
                    "env": key["env"],
                }
    return found


def show_life(folder: Path) -> bool:
    """Tells machines that share the store that the run's owner lives; False where one of them took it for dead before."""
    try:
        os.utime(folder / RECORD)
    except FileNotFoundError:
        return False
    except OSError:
        pass  # the folder may be there again in a minute
    return True


def is_running(folder: Path) -> bool:
    """Whether a run folder's owner lives and has not seen the run end; after the end it has a minute to store the run itself.

    Raises:
        SourceError: Its record cannot be read.
        FileNotFoundError: It is gone.
    """
    owner = _record(folder)["owner"]
    ended = (folder / ENDED).stat().st_mtime
    if read_ended(folder) is not None and abs(time.time() - ended) > OWN_SECONDS:
        return False
    signs = [(folder / RECORD).stat().st_mtime, ended]
    with suppress(OSError):
        signs.append((folder / METRICS).stat().st_mtime)
    return is_alive(owner, max(signs), LEASE_SECONDS)


def read_folder(folder: Path) -> RunBatch:
    """Reads a run folder as a run: the same folder always gives the same run.

    Raises:
        SourceError: Its record, or a file that was kept for it, cannot be read.
        FileNotFoundError: Another process stored and removed it meanwhile.
    """
    try:
        return _read(folder)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not (folder / RECORD).exists():
            raise
        what = f"the run folder {folder.parent.name}/{folder.name} cannot be read"
        raise SourceError(what, f"{error.filename}: {error.strerror}", f"look into {folder}") from error


def _read(folder: Path) -> RunBatch:
    """The run of a folder."""
    record = _record(folder)
    key = RunKey(**record["key"])
    output = read_output(folder)
    ended = read_ended(folder)
    files = kept_files(_files(folder / SOURCE), _files(folder / LOCK))
    files |= {name: (folder / name).read_bytes() for name in (SPEC, MANIFEST)}
    tail = stderr_tail(folder)
    if tail:
        files["stderr.txt"] = tail.encode()
    state, notes = _verdict(record["expected"], key, output, ended)
    left = _left(folder)
    if left:
        notes.append(f"the runner left {', '.join(left)}, which stay in {kept_folder(folder).name} beside the store's runs")
    batch = batch_of(output, key, impl=record["runner"], state=state, source="openrlb", files=files)
    (folder / RECORD).stat()  # looked at last: it fails where the folder was removed while the rest was read
    run = replace(
        batch.run,
        attempt=record["attempt"],
        created=record["created"],
        tags=tuple(record["tags"]),
        notes=(*notes, *batch.run.notes),
    )
    return replace(batch, run=run)


def unstored(item: WorkItem, attempt: int, why: str) -> RunBatch:
    """The record of a run whose folder is gone, for whoever asked for it; it is in no store.

    Args:
        item: What was trained.
        attempt: The attempt's number.
        why: Why there is no more of it.
    """
    batch = batch_of(Output(), item.key, impl=item.runner.name, state="killed", source="openrlb", files={})
    return replace(batch, run=replace(batch.run, attempt=attempt, tags=item.tags, notes=(why,)))


def _record(folder: Path) -> dict[str, Any]:
    """A folder's record, checked.

    Raises:
        SourceError: It cannot be read.
        FileNotFoundError: There is none.
    """
    try:
        content: dict[str, Any] = json.loads((folder / RECORD).read_bytes())
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']}, not {FORMAT}")
        kinds = {"attempt": int, "runner": str, "expected": dict, "tags": list, "owner": dict, "created": str, "key": dict}
        for name, kind in kinds.items():
            if not isinstance(content[name], kind):
                raise TypeError(f"{name} is no {kind.__name__}")
        RunKey(**content["key"])
        return content
    except FileNotFoundError:
        raise
    except (OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        why = f"{type(error).__name__}: {error}"
        raise SourceError(f"the run folder {folder.name} cannot be read", why, f"look into {folder}") from error


def _files(folder: Path) -> dict[str, bytes]:
    """The files of a folder by name; what a run made beside them (``__pycache__``) is left out."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def _verdict(expected: Mapping[str, Any], key: RunKey, output: Output, ended: Ended | None) -> tuple[RunState, list[str]]:
    """How the run ended, and why: what the parent saw, then what the records say against it."""
    if ended is not None:
        state, notes = ended.state, list(ended.notes)
    elif output.done is not None:
        state, notes = "finished", ["openrlb was gone when the run ended; the run's own last word is taken"]
    else:
        state, notes = "crashed", ["openrlb was gone before the run ended (killed?)"]
    wrong = differences(expected, key.seed, output.config) if output.config is not None else []
    if state == "finished" and output.config is None:
        wrong = ["config.json was not written, or cannot be read"]
    steps = (output.done or {}).get("steps")
    if state == "finished" and not (type(steps) is int and steps >= key.steps):
        wrong.append(f"it ended after {str(steps)[:20]} of {key.steps} steps")
    if wrong:
        shown = wrong[:_SHOWN_KEYS] + ([f"{len(wrong) - _SHOWN_KEYS} more"] if len(wrong) > _SHOWN_KEYS else [])
        return "invalid", [f"not what was asked for: {'; '.join(shown)}", *(note for note in notes if note not in shown)]
    return state, notes


def differences(expected: Mapping[str, Any], seed: int, applied: Mapping[str, Any]) -> list[str]:
    """What a run applies beside what it was to apply, one sentence for each key.

    Args:
        expected: What the request resolved to.
        seed: The request's seed.
        applied: The ``config.json`` of the run.

    >>> differences({"algo": "ppo", "hyperparameters": {"lr": 0.1}}, 1, {"algo": "ppo", "seed": 2, "hyperparameters": {"lr": 1}})
    ['seed is 2, not 1', 'hyperparameters.lr is 1, not 0.1']
    """
    found = [] if applied.get("seed") == seed else [f"seed is {_shown(applied.get('seed'))}, not {seed}"]
    for name in CHECKED:
        found += _unequal(name, expected.get(name), applied.get(name))
    return found


def _unequal(name: str, wanted: Any, seen: Any) -> list[str]:  # noqa: ANN401 - any JSON value
    """The differences below one key."""
    if isinstance(wanted, Mapping) and isinstance(seen, Mapping):
        keys = [*wanted, *(key for key in seen if key not in wanted)]
        return [line for key in keys for line in _unequal(f"{name}.{key}", wanted.get(key), seen.get(key))]
    same = json.dumps(wanted, sort_keys=True) == json.dumps(seen, sort_keys=True)
    return [] if same else [f"{name} is {_shown(seen)}, not {_shown(wanted)}"]


def _shown(value: object) -> str:
    """A value in a sentence."""
    words = json.dumps(value, default=str)
    return words if len(words) <= 60 else f"{words[:57]}..."


def stderr_tail(folder: Path) -> str:
    """The end of what the run wrote on standard error, without home folders and addresses; empty where it wrote nothing."""
    try:
        with (folder / STDERR).open("rb") as file:
            file.seek(0, os.SEEK_END)
            size = file.tell()
            file.seek(max(0, size - TAIL_BYTES))
            data = file.read(TAIL_BYTES)
    except OSError:
        return ""
    if size > TAIL_BYTES:
        data = data.partition(b"\n")[2] or data
    return text(data.decode("utf-8", "replace"))


def last_line(tail: str) -> str:
    r"""The last line that says something, short enough for a note.

    >>> last_line("Traceback ...\nValueError: no\n\n")
    'ValueError: no'
    """
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    return "".join(sign if sign.isprintable() else " " for sign in lines[-1])[:_MAX_NOTE] if lines else ""


def foreign(folder: Path) -> list[str]:
    """What a runner left beside what it was asked for."""
    return sorted(path.name for path in folder.iterdir() if path.name not in OURS and not path.name.endswith(".tmp"))


def _left(folder: Path) -> list[str]:
    """The same, also where a killed openrlb has moved some of it already."""
    moved: list[str] = []
    with suppress(OSError):
        moved = [path.name for path in kept_folder(folder).iterdir()]
    return sorted({*foreign(folder), *moved})


def kept_folder(folder: Path) -> Path:
    """Where the files that a runner left on its own account stay."""
    return folder.with_name(f"{folder.name}.kept")


def store_folders(layout: Layout, folders: Sequence[Path]) -> list[RunBatch]:
    """Writes run folders as one segment into the spool, then removes them; files that are not ours stay in ``<attempt>.kept``.

    Killed at any moment it loses nothing: a folder goes only after its segment is there, and a folder that is stored again
    gives the same run again.

    Raises:
        StoreUnwritable: No permission, no space, or a read-only disk; nothing was removed.
        SourceError: A record cannot be read.
    """
    return store_each(layout, folders, read_folder, _remove)


def _remove(folder: Path) -> None:
    """Removes a stored run's folder but for the files that are not ours."""
    with suppress(OSError):
        left = foreign(folder)
        if left:
            place = kept_folder(folder)
            place.mkdir(exist_ok=True)
            for name in left:
                (folder / name).replace(place / name)
    remove_folder(folder)


def misapplied(folder: Path, expected: Mapping[str, Any], seed: int) -> list[str]:
    """What a run that has begun applies beside what it was to apply; nothing where ``config.json`` is not whole yet."""
    try:
        applied = json.loads((folder / CONFIG).read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    return differences(expected, seed, applied) if isinstance(applied, dict) else []
