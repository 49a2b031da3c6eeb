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

import numpy as np
from numpy.typing import NDArray

from openrlb.errors import SourceError, UsageError
from openrlb.sources.files import open_regular, read_bounded
from openrlb.sources.protocol import MAX_SETTINGS_BYTES, MAX_VALUES, STEP_LIMIT, Reading, Record
from openrlb.types import RunBatch

MANIFEST = "bundle.json"
FORMAT = "openrlb-bundle"
SCHEMA = 1
_RUNS_PER_SEGMENT = 200
_COLUMNS = {"run": "int32", "metric": "int32", "step": "int64", "t_ms": "int64", "value": "double"}
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
            try:
                _check_segment(segment, rows)
            except (ValueError, SourceError) as error:
                why, fix = (error.why, error.fix) if isinstance(error, SourceError) else (str(error), _FIX)
                raise SourceError(f"the bundle {path.name} is not read", f"{segment.name}: {why}", fix) from error
        for segment, _ in segments:
            yield from read_segment(segment)


def _check_segment(segment: Path, rows: object) -> None:
    """Checks every record, kept file and row of a segment.

    Raises:
        ValueError: Something is missing, of another type, or out of its range.
        SourceError: Not a segment.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from openrlb.store.records import check_record
    from openrlb.store.segment import read_footer

    footer = read_footer(segment)
    records, kept = footer.get("runs"), footer.get("blobs")
    if not isinstance(records, list) or not isinstance(kept, dict):
        raise ValueError("its runs are no list, or its kept files no object")
    for number, record in enumerate(records):
        try:
            check_record(record)
        except ValueError as error:
            raise ValueError(f"run {number + 1}: {error}") from error
        for name, digest in record.get("blobs", {}).items():
            if digest not in kept:
                raise ValueError(f"run {number + 1}: the kept file {name!r} is missing")
        if not {"metrics", "blobs"} <= set(record):
            raise ValueError(f"run {number + 1}: metrics or blobs are missing")
    _check_kept(kept)
    try:
        with pq.ParquetFile(segment) as file:
            found = file.metadata.num_rows
            if found != rows or found > MAX_VALUES // len(_COLUMNS):
                raise ValueError(f"{found} rows where the manifest says {rows!r}")
            if {field.name: str(field.type) for field in file.schema_arrow} != _COLUMNS:
                raise ValueError("its columns are not those of a segment")
            sizes = np.array([len(record["metrics"]) for record in records], np.int64)
            for batch in file.iter_batches(columns=["run", "metric", "step", "value"], use_threads=False):
                _check_rows(batch, sizes)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"it is damaged: {error}") from error


def _check_kept(kept: dict[str, Any]) -> None:
    """Unpacks every kept file; each is what its sha256 says."""
    from openrlb.store.segment import unpacked

    for digest, text in kept.items():
        try:
            right = hashlib.sha256(unpacked(text)).hexdigest() == digest
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"the kept file {digest[:12]} is damaged: {error}") from error
        if not right:
            raise ValueError(f"the kept file {digest[:12]} is not what its sha256 says")


def _check_rows(batch: Any, sizes: NDArray[np.int64]) -> None:  # noqa: ANN401 -- pyarrow ships no types
    """Every row belongs to a metric of a run, at a step in range."""
    if any(batch[name].null_count for name in ("run", "metric", "step", "value")):
        raise ValueError("rows without a run, metric, step or value")
    run, metric, step = (batch[name].to_numpy() for name in ("run", "metric", "step"))
    if not ((run >= 0) & (run < len(sizes))).all() or not ((metric >= 0) & (metric < sizes[run])).all():
        raise ValueError("rows of a run or metric that it does not name")
    if not ((step > -STEP_LIMIT) & (step < STEP_LIMIT)).all():
        raise ValueError("a step is not between -2**62 and 2**62")


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
