"""openrlb's own bundles: runs to hand on, as segments beside a manifest with their checksums.

``bundle.json`` is ``{"format": "openrlb-bundle", "schema": 1, "segments": [{"path", "sha256", "rows"}]}``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO

from openrlb.errors import SourceError, UsageError
from openrlb.sources.files import open_regular, read_bounded
from openrlb.sources.protocol import MAX_SETTINGS_BYTES, Reading, Record
from openrlb.types import RunBatch

MANIFEST = "bundle.json"
FORMAT = "openrlb-bundle"
SCHEMA = 1
_RUNS_PER_SEGMENT = 200
_FIX = "get the bundle again from where it came from"


class BundleSource:
    """A folder that :func:`write_bundle` made."""

    name = "bundle"

    def recognises(self, path: Path) -> bool:
        """Whether a folder holds a bundle's manifest."""
        manifest = path / MANIFEST
        if not manifest.is_file():
            return False
        try:
            return f'"{FORMAT}"'.encode() in read_bounded(manifest, MAX_SETTINGS_BYTES)
        except (OSError, SourceError):
            return False

    def read(self, path: Path, reading: Reading) -> Iterator[Record]:
        """Reads all runs as they were recorded, after every checksum was found right.

        Raises:
            SourceError: A manifest that leads out of the folder, a wrong checksum, or a damaged segment.
        """
        from openrlb.store.segment import read_segment

        segments = _verified(path, reading)
        for segment, rows in segments:
            batches = read_segment(segment)
            found = sum(len(metric.values) for batch in batches for metric in batch.metrics)
            if found != rows:
                raise SourceError(f"{segment.name} is damaged", f"{found} rows where the manifest says {rows}", _FIX)
            yield from batches


def _verified(folder: Path, reading: Reading) -> list[tuple[Path, int]]:
    """The segments that the manifest names, each checked."""
    manifest = folder / MANIFEST
    reading.on_file(manifest)
    try:
        document = json.loads(read_bounded(manifest, MAX_SETTINGS_BYTES))
        entries = document["segments"]
        schema = document["schema"]
        named = [(entry["path"], entry["sha256"], entry["rows"]) for entry in entries]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise SourceError(f"{MANIFEST} is not read", f"it is no manifest: {type(error).__name__} {error}", _FIX) from error
    if schema != SCHEMA:
        fix = "install a newer openrlb: pip install --upgrade openrlb"
        raise SourceError(f"{MANIFEST} is not read", f"its schema is {schema!r}, and {SCHEMA} is the one this openrlb reads", fix)
    checked = []
    for text, digest, rows in named:
        segment = _inside(folder, text)
        reading.on_file(segment)
        try:
            with open_regular(segment) as handle:
                found = _sha256(handle)
        except OSError as error:
            raise SourceError(f"{text} cannot be read", str(error), _FIX) from error
        if found != digest:
            raise SourceError(f"{text} is not what the manifest says", "its sha256 differs", _FIX)
        checked.append((segment, rows))
    return checked


def _sha256(handle: BinaryIO) -> str:
    """The checksum of a file's bytes, a piece at a time."""
    hasher = hashlib.sha256()
    while piece := handle.read(1024**2):
        hasher.update(piece)
    return hasher.hexdigest()


def _inside(folder: Path, text: object) -> Path:
    """A manifest's path, where it is relative and stays in the folder."""
    if isinstance(text, str) and text and "\0" not in text:
        parts = PurePosixPath(text).parts
        foreign = PureWindowsPath(text)
        plain = not (PurePosixPath(text).is_absolute() or foreign.drive or foreign.root or "\\" in text or ".." in parts)
        if plain and (folder / text).resolve().is_relative_to(folder.resolve()):
            return folder / text
    raise SourceError(f"{MANIFEST} is refused", f"the path {text!r} leads out of the bundle", "do not use this bundle")


def write_bundle(folder: Path, batches: Iterable[RunBatch]) -> Path:
    """Writes runs as a bundle; the manifest comes last, so that half a bundle is none.

    Args:
        folder: A new or empty folder.
        batches: The runs.

    Returns:
        The manifest's path.

    Raises:
        UsageError: The folder holds something already.
        StoreUnwritable: The folder cannot be written.
    """
    from openrlb.store.files import writing
    from openrlb.store.segment import write_segment

    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"no bundle is written to {folder}", "the folder is not empty", "name a new folder")
    segments: list[dict[str, Any]] = []
    waiting = iter(batches)
    while some := list(islice(waiting, _RUNS_PER_SEGMENT)):
        written = write_segment(folder, some)
        path = written.rename(folder / f"runs-{len(segments):04d}.parquet")  # a name that tells nothing of the writer
        with path.open("rb") as handle:
            digest = _sha256(handle)
        rows = sum(len(metric.values) for batch in some for metric in batch.metrics)
        segments.append({"path": path.name, "sha256": digest, "rows": rows})
    manifest = folder / MANIFEST
    with writing(manifest) as temporary:
        temporary.write_text(json.dumps({"format": FORMAT, "schema": SCHEMA, "segments": segments}, indent=1) + "\n")
    return manifest
