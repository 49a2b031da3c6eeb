"""Reading a folder or a file: a tree at a time, in a fixed order, every file either read or named with a reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from openrlb.errors import MapError, SourceError
from openrlb.sources.bundle.read import BundleSource
from openrlb.sources.files import Listing, content, listing
from openrlb.sources.optuna_db import OptunaSource
from openrlb.sources.protocol import Reading, ReadOptions, Record, Source, start
from openrlb.sources.run_folder import RunFolderSource
from openrlb.sources.tables import TableSource
from openrlb.sources.tensorboard import TensorboardSource
from openrlb.sources.wandb_file import WandbFileSource
from openrlb.types import RunBatch, Selection, Skipped

PICKLES = (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt", ".dill", ".cloudpickle")
ARTEFACTS = (
    *PICKLES,
    ".zip",
    ".h5",
    ".hdf5",
    ".onnx",
    ".safetensors",
    ".msgpack",
    ".pb",
    ".mp4",
    ".gif",
    ".png",
    ".jpg",
    ".svg",
    ".pdf",
)
DOCUMENTS = (".md", ".rst", ".txt", ".py", ".ipynb", ".sh", ".toml", ".cfg", ".ini", ".lock", ".log", ".html", ".tex", ".bib")
NO_LOGS = ("license", "licence", "readme", "copying", "notice", "changelog", "makefile", "dockerfile")
_DATABASE = "a database, but none of Optuna; export its table as CSV or Parquet and fetch that"
OTHER_LOGS = dict.fromkeys((".db", ".sqlite", ".sqlite3"), _DATABASE)
MARKED: tuple[Source, ...] = (WandbFileSource(), OptunaSource())
"""Files that say by their first bytes what they are."""
NEVER_OPENED = "pickles are never opened: they can run any code; save the numbers as CSV, JSON or .npz"
_NAMED_FILES = 5
_MAYBE_LOGS = (".log", ".txt")


def read(
    path: Path, options: ReadOptions, on_file: Callable[[Path], None] | None = None, wanted: Selection | None = None
) -> Iterator[Record]:
    """See :func:`openrlb.sources.read`."""
    try:
        reading = start(Path(path), options, on_file, wanted)
    except FileNotFoundError as error:
        raise SourceError(f"{path} cannot be read", "there is no such file or folder", "check the path") from error
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a null byte in the name
        raise SourceError(f"{path} cannot be read", str(error), "check the path and its permissions") from error
    return _everything(reading)


def _everything(reading: Reading) -> Iterator[Record]:
    """All records; a typed map that fits nothing at all, or a typed key that no run has, is an error at the end."""
    runs = 0
    held: set[str] = set()
    for record in _file(reading.named, reading) if reading.named else _tree(reading):
        if isinstance(record, RunBatch):
            runs += 1
            held |= {name for name in ("seed", "impl", "name") if getattr(record.run, name) not in (None, "")}
        yield record
    if reading.unfit and reading.options.map and not runs:
        raise reading.unfit[0]
    for name, error in reading.unheld.items():
        if name not in held:
            raise error


def _tree(reading: Reading) -> Iterator[Record]:
    """Walks the root, a folder's own files before its sub-folders."""
    waiting = [reading.root]
    while waiting:
        folder = waiting.pop()
        try:
            found = listing(folder, reading.root)
        except OSError as error:
            reason = f"the folder cannot be listed: {error.strerror or error}"
            yield Skipped(reading.location(folder), reason, damaged=True)
            continue
        for path, reason in found.left_out:
            if path not in reading.taken:
                yield Skipped(reading.location(path), reason)
        bundle = BundleSource()
        if bundle.recognises(folder):
            if folder == reading.root:
                yield from bundle.read(folder, reading)
            else:
                yield from _attempt(bundle, folder, reading)
            continue
        yield from _folder(folder, found, reading)
        waiting += reversed(found.folders)
    if reading.unread:
        yield _unread(reading)


def _folder(folder: Path, found: Listing, reading: Reading) -> Iterator[Record]:
    """One folder's own files: a run's logs first, then tables, then the names of what is left."""
    yield from _attempt(RunFolderSource(), folder, reading)
    yield from _attempt(TensorboardSource(), folder, reading)
    left: list[Path] = []
    for path in found.files:
        if path in reading.taken:
            continue
        if path.name.startswith("."):
            left.append(path)
            continue
        try:
            source = next((source for source in (*MARKED, TableSource()) if source.recognises(path)), None)
        except OSError as error:
            yield _unreadable(path, error, reading)
            continue
        if source is not None:
            reading.on_file(path)
            yield from _attempt(source, path, reading)
        else:
            left.append(path)
    yield from _leftovers(folder, left, reading)


def _file(path: Path, reading: Reading) -> Iterator[Record]:
    """The file that was named. One of a run's logs stands for the run, unless the map names value columns in it."""
    logs, events, tables = RunFolderSource(), TensorboardSource(), TableSource()
    if not reading.map.values and logs.recognises(path):
        yield from _attempt(logs, path.parent, reading)
        return
    try:
        if events.recognises(path):
            yield from _attempt(events, path.parent, reading)
            return
        single = next((source for source in MARKED if source.recognises(path)), None)
        if single is not None:
            reading.on_file(path)
            yield from _attempt(single, path, reading)
            return
        readable = tables.recognises(path) or (content(path) == "text" and path.suffix.lower() in (".txt", ".dat", ".log", ""))
    except OSError as error:
        yield _unreadable(path, error, reading)
        return
    if readable:
        reading.on_file(path)
        yield from _attempt(tables, path, reading)
        return
    yield Skipped(reading.location(path), _why_not(path) or "no log or table that openrlb reads")


def _attempt(source: Source, path: Path, reading: Reading) -> Iterator[Record]:
    """Reads one folder or file; what goes wrong is named, and the walk goes on."""
    try:
        yield from source.read(path, reading)
    except MapError as error:
        reading.unfit.append(error)
        if not (reading.named and reading.options.map):
            yield Skipped(reading.location(path), f"{error.what}: {error.why}; {error.fix}")
    except SourceError as error:
        yield Skipped(reading.location(path), error.why, damaged=True)
    except OSError as error:
        yield _unreadable(path, error, reading)


def _unreadable(path: Path, error: OSError, reading: Reading) -> Skipped:
    """A file that the system refuses."""
    reason = (
        "it vanished while it was read"
        if isinstance(error, FileNotFoundError)
        else f"it cannot be read: {error.strerror or error}"
    )
    return Skipped(reading.location(path), reason, damaged=True)


def _leftovers(folder: Path, left: list[Path], reading: Reading) -> Iterator[Skipped]:
    """Names what no source reads, one line for each reason; models beside a run's logs and documents need none."""
    unread = [path for path in left if _is_unread(path)]
    reading.unread += unread  # every run folder has some: they are told once, for the whole walk
    left = [path for path in left if path not in unread]
    beside_logs = reading.inside_run_folder(folder) or any(path in reading.taken for path in folder.iterdir())
    for path in left:
        reason = _why_not(path)
        if reason and path.suffix.lower() not in ARTEFACTS:
            yield Skipped(reading.location(path), reason)
    pickles = [path.name for path in left if path.suffix.lower() in PICKLES]
    if pickles and not beside_logs:
        yield Skipped(reading.location(folder), f"{NEVER_OPENED} ({_some(pickles)})")
    ignored = (*ARTEFACTS, *DOCUMENTS)
    others = [
        path.name
        for path in left
        if path.suffix.lower() not in ignored and not _why_not(path) and not path.name.lower().startswith(NO_LOGS)
    ]
    if others:
        yield Skipped(reading.location(folder), f"no log or table that openrlb reads: {_some(others)}")


def _unread(reading: Reading) -> Skipped:
    """The files of types that are never opened, in one line."""
    kinds = ", ".join(sorted({"hidden" if path.name.startswith(".") else path.suffix.lower() for path in reading.unread}))
    count = f"{len(reading.unread):,} file{'s' if len(reading.unread) > 1 else ''}"
    folders = sorted({path.parent for path in reading.unread})
    where = f" in {len(folders):,} folders" if len(folders) > 1 else ""
    place = reading.location(folders[0]) if len(folders) == 1 else "."
    return Skipped(place, f"{count}{where} of types openrlb does not read ({kinds})")


def _is_unread(path: Path) -> bool:
    """True for a file that is never opened in a walk, although its name does not say that it is no log."""
    name = path.name.lower()
    return name.startswith(".") or (path.suffix.lower() in _MAYBE_LOGS and not name.startswith(NO_LOGS))


def _why_not(path: Path) -> str | None:
    """Why a known kind of file is not read, or None for an unknown one."""
    if path.suffix.lower() in PICKLES:
        return NEVER_OPENED
    return OTHER_LOGS.get(path.suffix.lower())


def _some(names: list[str]) -> str:
    """The first names of a list."""
    rest = len(names) - _NAMED_FILES
    return ", ".join(names[:_NAMED_FILES]) + (f" and {rest} more" if rest > 0 else "")
