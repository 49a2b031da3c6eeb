"""Touching other people's files: what is in a folder, what kind a file is, bounded and salvaging reads."""

from __future__ import annotations

import gzip
import io
import os
import stat
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, cast

from openrlb.errors import SourceError
from openrlb.sources.protocol import MAX_ROWS

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Content = Literal["parquet", "npy", "zip", "gzip", "text", "binary", "empty"]
_HEAD_BYTES = 8192
UNPACKED_BYTES, UNPACKED_SHARE = 64 * 1024**2, 100
"""How much a packed text may unpack to: so many bytes, and so many for each of its own."""
ROWS, ROWS_SHARE = 10_000_000, 20
"""How many rows a table may have, or entries an array: so many, and so many for each byte of the file. Of what is equal all
along (zeros, gaps) half a megabyte would else be hundreds of millions."""


@dataclass(slots=True)
class Listing:
    """What one folder holds, sorted by name.

    Attributes:
        files: Regular files.
        folders: Sub-folders that are walked.
        left_out: Names that are not followed, with the reason.
    """

    files: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    left_out: list[tuple[Path, str]] = field(default_factory=list)


def listing(folder: Path, root: Path) -> Listing:
    """Lists a folder. Links are never followed: one that stays inside the root leads to a file that is met anyway.

    Raises:
        OSError: The folder cannot be listed.
    """
    found = Listing()
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries)
    for name in names:
        path = folder / name
        try:
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                if not path.resolve().is_relative_to(root):
                    found.left_out.append((path, "a link that leads out of the fetched folder is not followed"))
            elif stat.S_ISDIR(mode):
                if not name.startswith(".") and name != "__pycache__":
                    found.folders.append(path)
            elif stat.S_ISREG(mode):
                found.files.append(path)
        except FileNotFoundError:
            found.left_out.append((path, "it vanished while the folder was read"))
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
            found.left_out.append((path, f"it cannot be looked at: {error}"))
    return found


def content(path: Path) -> Content:
    """What a file is by its first bytes.

    Raises:
        OSError: The file cannot be opened.
    """
    with open_regular(path) as handle:
        head = handle.read(_HEAD_BYTES)
    if not head:
        return "empty"
    for magic, name in ((b"PAR1", "parquet"), (b"\x93NUMPY", "npy"), (b"PK\x03\x04", "zip"), (b"\x1f\x8b", "gzip")):
        if head.startswith(magic):
            return cast("Content", name)
    first_line, newline, _ = head.partition(b"\n")
    # a crash can leave zeros at a log's end: only those in its first line make it no text
    return "binary" if b"\0" in first_line or (b"\0" in head and not newline) else "text"


def open_regular(path: Path) -> BinaryIO:
    """Opens a regular file for reading; anything else (a pipe, a device) is refused instead of waited for.

    Raises:
        OSError: No such file, no permission, or not a regular file.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(f"{path.name} is not a regular file")
    return path.open("rb")


def read_bounded(path: Path, limit: int) -> bytes:
    """The whole of a small file.

    Raises:
        SourceError: Larger than the limit.
        OSError: It cannot be read.
    """
    with open_regular(path) as handle:
        data = handle.read(limit + 1)
    if len(data) > limit:
        raise too_large(path, limit)
    return data


def too_large(path: Path, limit: int) -> SourceError:
    """The error for a file beyond a limit."""
    size = f"{limit / 1024**2:,.0f} MiB"
    return SourceError(f"{path.name} is not read", f"it is larger than {size}, the most this format is given", "split the file")


def check_rows(path: Path, rows: int) -> None:
    """Refuses a table of more rows, or an array of more entries, than can be held in memory or honestly fit into its file.

    Raises:
        SourceError: It is one.
        OSError: The file cannot be looked at.
    """
    most = min(MAX_ROWS, ROWS + ROWS_SHARE * path.stat().st_size)
    if rows > most:
        why = f"it has {rows:,} rows or entries, and {most:,} are the most that a file of its size is read with"
        raise SourceError(f"{path.name} is not read", why, "split the file")


class Unpacked(io.RawIOBase):
    """The bytes of a file, unpacked where it is gzipped; of a truncated archive, everything before the cut.

    Attributes:
        damage: What is wrong with the archive, or None.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self.path = path
        self.limit = limit
        self.damage: str | None = None
        self._count = 0
        self._raw = open_regular(path)
        packed = self._raw.read(2) == b"\x1f\x8b"
        self._raw.seek(0)
        if packed:
            self.limit = min(limit, UNPACKED_BYTES + UNPACKED_SHARE * path.stat().st_size)
        self._stream = cast("BinaryIO", gzip.GzipFile(fileobj=self._raw)) if packed else self._raw

    def readable(self) -> bool:
        """Always true."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fills the buffer; 0 at the end, or where a broken archive gives no more.

        Raises:
            SourceError: More bytes than the limit came out.
        """
        view = memoryview(buffer).cast("B")
        try:
            # read1 hands over what was unpacked before it looks at the next block, so that a cut loses nothing before it
            piece = self._stream.read1(len(view)) if isinstance(self._stream, gzip.GzipFile) else self._stream.read(len(view))
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            self.damage = f"the archive is cut short or broken ({error})"
            return 0
        self._count += len(piece)
        if self._count > self.limit:
            raise too_large(self.path, self.limit)
        view[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        """Closes the file."""
        self._stream.close()
        self._raw.close()
        super().close()
