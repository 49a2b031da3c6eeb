"""Reading a bundle, wherever it lies: a folder, a web server, the Hugging Face hub."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Protocol

from openrlb.errors import SourceError
from openrlb.sources.bundle.manifest import (
    FIX,
    FORMAT,
    MAX_MANIFEST_BYTES,
    NAME,
    STAGING,
    Listed,
    Manifest,
    Part,
    leads_out,
    loaded,
)
from openrlb.sources.bundle.parts import read_part
from openrlb.sources.files import open_regular, read_bounded
from openrlb.sources.protocol import Reading, Record, Unread
from openrlb.store.segment import COPIED
from openrlb.types import RunBatch, Selection

SAMPLE = Path(__file__).resolve().parents[2] / "sample"
"""The packaged sample: the one bundle whose runs keep the name of their source, for everybody has it."""


class Place(Protocol):
    """Where a bundle lies."""

    name: str
    """What it is called in messages."""

    def manifest(self) -> bytes:
        """The bytes of ``bundle.json``."""
        ...

    def data(self, path: str, listed: Listed) -> bytes:
        """The bytes of a file, which were checked against its size and sha256.

        Raises:
            SourceError: It is missing, or not what the manifest says.
        """
        ...


class BundleSource:
    """A folder that :func:`openrlb.sources.bundle.write_bundle` made."""

    name = "bundle"

    def recognises(self, path: Path) -> bool:
        """Whether a folder holds a bundle's manifest, or parts of a bundle: with none, or one of which nothing is left."""
        manifest = path / NAME
        if _has_parts(path):
            return True  # no other source may take its tables for somebody's results
        if not manifest.is_file():
            return False
        try:
            data = read_bounded(manifest, MAX_MANIFEST_BYTES)
        except (OSError, SourceError):
            return False
        return f'"{FORMAT}"'.encode() in data or b'"parts"' in data  # either, so that a changed byte does not hide a bundle

    def read(self, path: Path, reading: Reading) -> Iterator[Record]:
        """Reads its runs, or the selected ones, after every checksum was found right.

        Raises:
            SourceError: A manifest that leads out of the folder or is not there, a wrong checksum, or a damaged file.
        """
        if not (path / NAME).exists():
            why = f"it is unfinished, for it has no {NAME}: an export into it goes on or was stopped, or it was copied in part"
            fix = "export into it once more (openrlb export --bundle FOLDER), or get it again from where it came from"
            raise SourceError(f"the bundle {path.name or path} is not read", why, fix)
        place = FolderPlace(path, reading)
        manifest = loaded(place.manifest())
        if reading.wanted is None or not (reading.wanted.env or reading.wanted.algo):
            for file, listed in manifest.files.items():
                place.check(file, listed)
        for record in read_bundle(place, manifest, reading.wanted):
            if isinstance(record, RunBatch) and path.resolve() != SAMPLE:
                record = copied(record)
            yield record


def _has_parts(path: Path) -> bool:
    """Whether a folder has parts of a bundle, or the mark of an export that goes on or was stopped."""
    return (path / STAGING).is_dir() or next(path.glob("data/env=*/algo=*/runs-*.parquet"), None) is not None


def copied(batch: RunBatch) -> RunBatch:
    """A run that came in a bundle: its source says so, and where it had come from before."""
    return replace(batch, run=replace(batch.run, source=COPIED + batch.run.source))


def read_bundle(place: Place, manifest: Manifest, wanted: Selection | None = None) -> Iterator[RunBatch | Unread]:
    """The runs of a bundle, a part at a time, each with the source that it had when the bundle was written.

    Nothing is given before every needed file was found right; they are read and checked once more when it is their turn.

    Args:
        place: Where it lies.
        manifest: Its manifest.
        wanted: Which runs are wanted: parts of other environments and algorithms are not read, and named instead.

    Raises:
        SourceError: A file is missing, damaged or too large.
    """
    parts = []
    for part in manifest.parts:
        if _is_wanted(part, wanted):
            parts.append(part)
        else:
            yield Unread(part.files[0], part.env, part.algo, part.runs)
    for part in parts:
        read(place, manifest, part)
    for part in parts:
        yield from read(place, manifest, part)


def read(place: Place, manifest: Manifest, part: Part) -> list[RunBatch]:
    """The runs of one part.

    Raises:
        SourceError: As :func:`read_bundle`.
    """
    files = {path: place.data(path, manifest.files[path]) for path in part.files}
    try:
        return read_part(part, files)
    except SourceError as error:
        raise SourceError(f"the bundle {place.name} is not read", f"{error.what.split(' ')[0]}: {error.why}", FIX) from error


def _is_wanted(part: Part, wanted: Selection | None) -> bool:
    """Whether a part has runs of a selected environment and algorithm."""
    from openrlb.store.environments import matching
    from openrlb.store.select import named

    if wanted is None:
        return True
    envs = not wanted.env or any(matching(word, [part.env]) for word in wanted.env)
    return envs and (not wanted.algo or any(named(word, [part.algo]) for word in wanted.algo))


class FolderPlace:
    """A bundle in a folder."""

    def __init__(self, folder: Path, reading: Reading) -> None:
        self.folder = folder
        self.name = folder.name
        self._reading = reading
        self._told: set[str] = set()

    def manifest(self) -> bytes:
        """The bytes of ``bundle.json``."""
        self._reading.on_file(self.folder / NAME)
        return read_bounded(self.folder / NAME, MAX_MANIFEST_BYTES)

    def data(self, path: str, listed: Listed) -> bytes:
        """The bytes of a file, checked.

        Raises:
            SourceError: It is missing, or not what the manifest says.
        """
        with self._opened(path) as handle:
            data = handle.read(listed.bytes + 1)
        check(path, listed, len(data), hashlib.sha256(data).hexdigest())
        return data

    def check(self, path: str, listed: Listed) -> None:
        """Checks a file without keeping it.

        Raises:
            SourceError: It is missing, or not what the manifest says.
        """
        hasher, size = hashlib.sha256(), 0
        with self._opened(path) as handle:
            while size <= listed.bytes and (piece := handle.read(1024**2)):
                hasher.update(piece)
                size += len(piece)
        check(path, listed, size, hasher.hexdigest())

    def _opened(self, path: str) -> BinaryIO:
        """A file of the bundle.

        Raises:
            SourceError: A link that leads out, or it cannot be opened.
        """
        if not (self.folder / path).resolve().is_relative_to(self.folder.resolve()):
            raise leads_out(path)
        if path not in self._told:
            self._told.add(path)
            self._reading.on_file(self.folder / path)
        try:
            return open_regular(self.folder / path)
        except OSError as error:
            raise SourceError(f"{path} cannot be read", f"{path}: {error.strerror or error}", FIX) from error


def check(path: str, listed: Listed, size: int, digest: str) -> None:
    """Makes sure that a file is what the manifest says.

    Raises:
        SourceError: It is not.
    """
    if size != listed.bytes:
        more = f"more than {listed.bytes:,}" if size > listed.bytes else f"{size:,}"
        why = f"{path}: it has {more} bytes, and the manifest says {listed.bytes:,}"
    elif digest != listed.sha256:
        why = f"{path}: its sha256 differs from the manifest's: something in it was changed"
    else:
        return
    raise SourceError(f"{path} is not what the manifest says", f"{why}; nothing of the bundle is kept", FIX)
