"""The store's locks: file locks where they keep everybody out, else a lease that a PostgreSQL server keeps.

Several machines may write to a store on a shared folder. Whether the file locks there keep out other machines is looked at once
for each folder and remembered: the mount's options, and two processes that ask for one lock. Where they do not, nothing is
written.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from openrlb import paths
from openrlb.config import STORE_LOCK, store_lock
from openrlb.errors import StoreBusy, StoreUnwritable
from openrlb.store.files import is_there, unwritable
from openrlb.store.mounts import Mount, mount_of

if TYPE_CHECKING:
    from openrlb.store.layout import Layout

FILE = "file"
"""The setting by which somebody vouches for the file locks: only one machine writes, or they are known to hold."""
WRITERS = ".writers"
"""A folder of the store: a mark for each machine that writes to it where nothing tells whom its locks keep out."""
CHECK_SECONDS = 30.0
PROBE_PREFIX = ".probe-"
"""Of files by which locks are tried. A fold, which removes temporary ones, leaves these: it did not make them."""
CURE = (
    "set OPENRLB_HOME to a folder whose locks hold (a local disk, or a mount with locks), or have PostgreSQL keep the lock: "
    f"{STORE_LOCK}=postgresql+psycopg://... (docs/store.md)"
)

_ASK = """import errno, fcntl, sys
with open(sys.argv[1], "rb+") as file:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        sys.exit(0 if error.errno in (errno.EACCES, errno.EAGAIN) else 4)
sys.exit(3)
"""


@contextmanager
def locked(layout: Layout, name: str, wait: float, what: str) -> Iterator[Callable[[], None]]:
    """Holds one of the store's locks.

    Args:
        layout: The store; its folder is there.
        name: The lock's file, for instance ``store.lock``.
        wait: Seconds to wait for whoever holds it.
        what: What did not work, for the error.

    Yields:
        What makes sure that it is held still, called before anything is put in place.

    Raises:
        StoreBusy: Somebody else holds it still.
        StoreUnwritable: Its file locks do not keep other machines out, or the server that keeps the lease does not answer.
        OSError: The lock's file cannot be made.
    """
    setting = store_lock()
    if setting not in (None, FILE):
        from openrlb.store.lease import leased

        with leased(layout, setting, name, wait, what) as still:
            yield still
        return
    from filelock import FileLock, Timeout

    check_lock(layout)
    try:
        with FileLock(layout.root / name, timeout=wait):
            yield _held
    except Timeout as error:
        raise busy(what, name, wait) from error


def busy(what: str, name: str, wait: float) -> StoreBusy:
    """The error for a lock that somebody else holds."""
    return StoreBusy(what, f"another openrlb has held {name} for {wait:.0f} seconds", "wait for it, or end it")


def _held() -> None:
    """A file lock is held until it is let go."""


def check_lock(layout: Layout) -> None:
    """Makes sure that the store's lock keeps everybody out who may write to it.

    On a local disk that costs a look at the mount table; elsewhere two processes ask for one lock, once for each folder.

    Args:
        layout: The store; its folder need not be there.

    Raises:
        StoreUnwritable: It does not; the error names both cures.
    """
    setting = store_lock()
    if setting not in (None, FILE):
        from openrlb.store.lease import check_lease

        check_lease(layout, setting)
        return
    from openrlb.store.lease import MARK

    if is_there(layout.root / MARK):
        why = f"a PostgreSQL server keeps its lock ({MARK}), and none is named here"
        fix = f"set {STORE_LOCK}=postgresql+psycopg://... as its other writers do, or remove {layout.root / MARK} for all of them"
        raise StoreUnwritable("the store is not written to", why, fix)
    try:
        fault = without_locks(layout.root) if setting is None else None
    except OSError as error:
        raise unwritable(layout.root, error) from error
    if fault:
        raise StoreUnwritable("the store is not written to", fault, CURE)


def without_locks(root: Path) -> str | None:
    """Why the file locks of a store's folder do not do; None where they do.

    Args:
        root: The folder; it need not be there.
    """
    folder = next(one for one in (root, *root.absolute().parents) if one.is_dir())
    mount = _mount_at(str(folder), folder.stat().st_dev)
    if os.name != "posix" or (mount is not None and mount.local):
        return None
    on = f"the {mount.kind} file system at {mount.place}" if mount else f"the file system of {folder}"
    if mount is not None and mount.here_only:
        return f"locks of {on} hold on this machine only ({mount.here_only}), so that two machines could spoil it"
    kept = paths.cache_dir() / "locks" / _key(folder, mount)
    if not kept.exists():
        if why := exclusion_fails(folder):
            return f"{on} {why}"
        if folder == root and mount is not None and mount.unknown and (others := _other_writers(root)):
            return (
                f"nothing tells whether locks of {on} keep other machines out, and {others} wrote to it already "
                f"({STORE_LOCK}={FILE} vouches that they do, or that it was this machine under another name)"
            )
        if folder == root:  # of a store that is not there yet there is nothing to remember
            with suppress(OSError):
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.touch()
    return None


def exclusion_fails(folder: Path) -> str | None:
    """How the file locks of a folder fail when two processes ask for one; None where the second is kept out."""
    import fcntl
    import subprocess

    with tempfile.NamedTemporaryFile(dir=folder, prefix=PROBE_PREFIX) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return f"gives no lock: {error.strerror or error}"
        command = [sys.executable, "-I", "-S", "-c", _ASK, file.name]
        try:
            code = subprocess.run(command, capture_output=True, timeout=CHECK_SECONDS, check=False).returncode
        except subprocess.TimeoutExpired:
            return f"does not say within {CHECK_SECONDS:.0f} seconds whether a lock is held"
    if code == 3:
        return "gives one lock to two processes"
    return f"does not say whether a lock is held (a second process ended with {code})" if code else None


@cache
def _mount_at(folder: str, device: int) -> Mount | None:
    """The mount of a folder; asked for once while the device under it is the same."""
    del device
    return mount_of(Path(folder))


def _key(folder: Path, mount: Mount | None) -> str:
    """A folder as it is mounted on this machine: mounted otherwise, or seen from another one, it is looked at again."""
    return hashlib.sha256(repr((os.path.realpath(folder), mount, this_host())).encode()).hexdigest()[:32]


def host_words() -> list[str]:
    """What tells this machine from others: its name, and its number where the system gave it one."""
    import platform

    words = [platform.node()]
    with suppress(OSError):
        words.append(Path("/etc/machine-id").read_text())
    return words


def this_host() -> str:
    """A hash that tells machines apart, and says nothing of them."""
    return hashlib.sha256(repr(host_words()).encode()).hexdigest()[:32]


def _other_writers(root: Path) -> str | None:
    """Marks this machine as one that writes to the store; how many others did before, in words."""
    (root / WRITERS).mkdir(exist_ok=True)
    others = {path.name for path in (root / WRITERS).iterdir()} - {this_host()}
    if others:
        return "another machine" if len(others) == 1 else f"{len(others)} other machines"
    mine = root / WRITERS / this_host()
    if not mine.exists():  # another user of this machine may have made it
        mine.touch()
    return None
