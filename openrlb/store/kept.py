"""Files kept with runs: each is named by the sha256 of its bytes, so that one that is lost or changed shows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from openrlb.errors import StoreDamaged
from openrlb.store.catalog import StoredRun
from openrlb.store.layout import Layout

REQUIREMENTS = "requirements.txt"
FIX = "run: openrlb doctor --rebuild, then fetch its runs again; what cannot be fetched stays without it"


def named_files(files: Mapping[str, Any], requirements: str | None) -> dict[str, str]:
    """The files that a run's source named, and their sha256; not every source gives all of them.

    Args:
        files: The record's files.
        requirements: The record's requirements.

    >>> named_files({"run.py": "ab", "video": None}, "cd")
    {'run.py': 'ab', 'requirements.txt': 'cd'}
    """
    named = dict(files)
    if requirements and requirements not in named.values():
        named.setdefault(REQUIREMENTS, requirements)
    return {name: digest for name, digest in named.items() if digest}


def altered_files(layout: Layout) -> list[Path]:
    """Kept files that are not what their names say.

    Args:
        layout: The store.
    """
    return [path for path in sorted(layout.blobs.glob("[!.]*")) if _is_altered(path)]


def gone_files(layout: Layout, runs: Iterable[tuple[int, Sequence[str], Mapping[str, str]]]) -> dict[int, list[str]]:
    """What was kept with runs and is gone.

    Args:
        layout: The store.
        runs: The id of each, the names of what was kept with it, and what :func:`named_files` gives.

    Returns:
        Names of files by run id, of those runs that lack one.
    """
    there = {path.name for path in layout.blobs.glob("[!.]*")}
    lacking = {run_id: [name for name in kept if name in named and named[name] not in there] for run_id, kept, named in runs}
    return {run_id: names for run_id, names in lacking.items() if names}


def _is_altered(path: Path) -> bool:
    """Whether a kept file is not what its name says."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while part := file.read(1 << 20):
                digest.update(part)
    except OSError:
        return True
    return digest.hexdigest() != path.name


class KeptFiles:
    """Kept files by their hash; most runs share theirs, so that the last ones read stay in memory."""

    _MOST = 64

    def __init__(self, layout: Layout) -> None:
        """Args: layout: The store."""
        self._layout = layout
        self._recent: dict[str, bytes] = {}

    def of(self, stored: StoredRun) -> dict[str, bytes]:
        """A run's kept files by name; one that its source named but never gave is not among them.

        Raises:
            StoreDamaged: One is gone, or not what its name says.
        """
        found = {name: self._read(digest) for name, digest in named_files(stored.run.files, stored.run.requirements).items()}
        if lost := [name for name in stored.kept if name in found and found[name] is None]:
            why = f"{lost[0]} of {stored.run.run} ({stored.run.env}) is gone from {self._layout.blobs.name}/"
            raise StoreDamaged("a file kept with a run is lost", why, FIX)
        return {name: data for name, data in found.items() if data is not None}

    def _read(self, digest: str) -> bytes | None:
        """A kept file, or None where there is none.

        Raises:
            StoreDamaged: It is not what its name says.
        """
        if digest not in self._recent:
            path = self._layout.blob(digest)
            if not path.is_file():
                return None
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() != digest:
                raise StoreDamaged("a file kept with a run is damaged", f"{path} is not what its name says", FIX)
            if len(self._recent) >= self._MOST:
                del self._recent[next(iter(self._recent))]
            self._recent[digest] = data
        return self._recent[digest]
