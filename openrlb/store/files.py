"""Writing files so that a reader sees the old one or the new one, never half of one."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from openrlb.errors import StoreError, StoreUnwritable
from openrlb.paths import HOME_VARIABLE

TEMPORARY_PREFIX = ".tmp-"


def _ready() -> None:
    """Nothing stands in the way."""


@contextmanager
def writing(path: Path, ready: Callable[[], None] = _ready) -> Iterator[Path]:
    """Gives a temporary path beside ``path``; on leaving, its bytes reach the disk and take the name in one rename.

    Nothing is left behind where writing fails.

    Args:
        path: Where the file shall be; its folder is made where it is missing. Where a link is, what it leads to is written.
        ready: Called before the bytes are brought to the disk, and last; where it raises, nothing takes the name.

    Raises:
        StoreUnwritable: The folder cannot be made, or the file cannot be written (permission, space, read-only).
    """
    place = _led_to(path)
    temporary = place.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:12]}-{place.name[-40:]}")  # of a long name the end
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        ready()
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        ready()
        temporary.replace(place)
        sync_folder(place.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _led_to(path: Path) -> Path:
    """The file itself, or what a link leads to; a folder, a device or a pipe is not replaced by a file."""
    try:
        place = Path(os.path.realpath(path)) if path.is_symlink() else path
        in_the_way = place.exists() and not place.is_file()
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        shown = str(path) if len(str(path)) < 200 else f"{str(path)[:80]}...{str(path)[-80:]}"
        why, fix = error.strerror or str(error), "name a file that you can write"
        raise StoreUnwritable(f"{shown} cannot be written", why, fix) from error
    if in_the_way:
        why, fix = (
            ("it is a folder", "move it away, or name a file in it")
            if place.is_dir()
            else ("it is a device or a pipe", "name a file")
        )
        raise StoreUnwritable(f"{path} cannot be written", why, fix)
    return place


def check_writable(path: Path) -> None:
    """Makes sure, before there is anything to write, that a file can be: a temporary one is made where it shall be.

    Args:
        path: The file; of its folders those that exist are looked at.

    Raises:
        StoreUnwritable: It cannot be.
    """
    fix = "name a file in a folder that you can write"
    folder = next(one for one in _led_to(path).absolute().parents if os.path.lexists(one))
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=TEMPORARY_PREFIX):
            pass
    except OSError as error:
        raise StoreUnwritable(f"{path} cannot be written", f"{error.strerror or error} ({folder})", fix) from error


def check_place(root: Path) -> None:
    """Makes sure that a store can be in a folder, before it is said to be empty: nothing in the way is a file or locked.

    Args:
        root: The store's folder; it need not exist.

    Raises:
        StoreError: It cannot be there.
    """
    folder = next(one for one in (root, *root.absolute().parents) if os.path.lexists(one))
    what, fix = f"openrlb cannot keep anything in {root}", f"set {HOME_VARIABLE} to a folder of yours that you can write"
    if not folder.is_dir():
        raise StoreError(what, f"{folder} is {'a link to nothing' if folder.is_symlink() else 'no folder'}", fix)
    if not os.access(folder, os.R_OK | os.X_OK):
        raise StoreError(what, f"you have no permission to read {folder}", fix)


def is_there(path: Path) -> bool:
    """Whether something is there, as far as this user may look.

    >>> is_there(Path.cwd())
    True
    """
    with suppress(OSError):
        return path.exists()
    return False


def sync_folder(folder: Path) -> None:
    """Makes renames in a folder survive a power cut, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def unwritable(path: Path, error: OSError) -> StoreUnwritable:
    """The three-line error for a file that could not be written."""
    why = error.strerror or str(error)
    fix = "free some space or grant yourself the right to write there, or set OPENRLB_HOME to another folder"
    return StoreUnwritable(f"{path} cannot be written", why, fix)


def quoted(name: str) -> str:
    """A name as part of one path component: percent-encoded, short enough, never hidden and never ``..``.

    >>> quoted("ALE/Pong-v5"), quoted(".."), quoted("Hopper-v4")
    ('ALE%2FPong-v5', '%2E.', 'Hopper-v4')
    """
    text = quote(name, safe="-_.")
    if text.startswith("."):
        text = "%2E" + text[1:]
    if len(text) > 120:  # a path component holds 255 bytes at most, and other parts need room too
        text = f"{text[:100]}%{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return text


def time_after(stamps: Iterable[str]) -> str:
    """The time in nanoseconds, in 20 digits, or one more than the newest of those given: a clock may have been set back.

    Args:
        stamps: What this gave for other files; what is no such text is passed over.

    >>> time_after(["09999999999999999999", "word"])
    '10000000000000000000'
    """
    known = (int(stamp) + 1 for stamp in stamps if stamp.isdecimal() and len(stamp) == 20)
    return f"{max([time.time_ns(), *known]):020d}"
