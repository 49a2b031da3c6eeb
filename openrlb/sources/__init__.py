"""One file for each place that runs come from.

:func:`read` takes a folder or file and yields its runs, what was left out, and the maps that were guessed. Nothing heavy
is imported before it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from openrlb.sources.protocol import Guess, ReadOptions, Record, Unread
from openrlb.types import RunBatch, Selection

if TYPE_CHECKING:
    from openrlb.sources.bundle.write import Written

__all__ = ["Guess", "ReadOptions", "Record", "Unread", "guessed_map", "read", "write_bundle"]


def read(
    path: Path, options: ReadOptions, on_file: Callable[[Path], None] | None = None, wanted: Selection | None = None
) -> Iterator[Record]:
    """Reads every run below a path; the path and the map are checked at once, the files as the records are taken.

    Args:
        path: A folder or a file. A link inside the folder is not followed.
        options: How to read.
        on_file: Called with each file that is opened for reading.
        wanted: Which runs are wanted; a bundle's files without any of them are not opened. Other sources give every run.

    Returns:
        An iterator over runs (``RunBatch``), what was left out and why (``Skipped``), runs that were not read (``Unread``),
        and, once for each, the maps that were guessed (``Guess``). Reading the same files again gives equal runs in the same
        order.

    Raises:
        SourceError: Nothing is at the path, or it is a bundle that is not what its manifest says.
        MapError: A ``--map`` is not well formed; while iterating, one that fits no file at all.
    """
    from openrlb.sources.folder import read as read_folder

    return read_folder(path, options, on_file, wanted)


def guessed_map(path: Path) -> str | None:
    """The guess for a table file, as a ``--map`` to paste; None where nothing can be guessed."""
    from openrlb.sources.tables import guessed_map as guess

    return guess(path)


def write_bundle(folder: Path, batches: Iterable[RunBatch], *, license_: str = "unknown", title: str = "") -> Written:
    """Writes runs as a bundle to hand on; see :func:`openrlb.sources.bundle.write.write_bundle`."""
    from openrlb.sources.bundle.write import write_bundle as write

    return write(folder, batches, license_=license_, title=title)
