"""Segments: the one file format that writers use. Names, never ids, so that a writer needs no catalog.

A segment is one Parquet file with the columns ``run`` (position in the footer's list), ``metric`` (likewise), ``step``,
``t_ms`` and ``value``, and a JSON footer under the key ``openrlb`` with the run records, metrics and kept files.
It appears in the spool by rename, complete or not at all.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import uuid
import zlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openrlb.errors import SourceError
from openrlb.store.arrow import filled, numbers, to_numpy
from openrlb.store.files import time_after, writing
from openrlb.store.records import check_record
from openrlb.types import Metric, MetricBatch, Run, RunBatch, stable_hash

if TYPE_CHECKING:
    import pyarrow as pa

FOOTER_KEY = b"openrlb"
FORMAT = 1
ROWS_PER_GROUP = 16_384
"""A group of rows has at least so many, but for the last one."""

COPIED = "bundle:"
"""What the source of a run that came in a bundle begins with; the rest is where it had come from before."""


def origin(source: str) -> str:
    """Where a run came from before it came in a bundle.

    >>> origin("bundle:wandb:lab/weird"), origin("openrlb")
    ('wandb:lab/weird', 'openrlb')
    """
    return source.removeprefix(COPIED)


def content_digest(batch: RunBatch) -> str:
    """A hash of everything a run holds: equal digests mean that nothing changed since it was last read.

    Rows are hashed in logged order, metrics in name order, so that reading the same files twice gives the same digest. A
    copy that came in a bundle has the digest of the run itself.
    """
    record = batch.run.to_json()
    del record["location"]  # relative to the folder that was named, which may be one above or below
    record["source"] = origin(batch.run.source)
    hasher = hashlib.sha256(stable_hash(storable(record), 64).encode())
    for metric in sorted(batch.metrics, key=lambda item: (item.metric.name, item.metric.kind)):
        hasher.update(stable_hash([metric.metric.name, metric.metric.kind, metric.metric.canonical], 64).encode())
        hasher.update(metric.steps.tobytes())
        hasher.update(metric.values.tobytes())
        hasher.update(b"" if metric.times_ms is None else metric.times_ms.tobytes())
    for name in sorted(batch.blobs):
        hasher.update(name.encode() + hashlib.sha256(batch.blobs[name]).digest())
    return hasher.hexdigest()[:32]


def write_segment(folder: Path, batches: Iterable[RunBatch]) -> Path:
    """Writes runs into one new segment: temporary name, fsync, rename.

    Args:
        folder: The spool, or a bundle's folder; made where it is missing.
        batches: The runs; at least one.

    Returns:
        The segment's path. Names sort in the order of writing.

    Raises:
        StoreUnwritable: No permission, no space, or a read-only disk.
        SourceError: A record that no reader could take.
    """
    import pyarrow.parquet as pq

    table = _table(list(batches))
    path = folder / f"{_stamp(folder)}-{os.getpid()}-{uuid.uuid4().hex[:8]}.parquet"
    with writing(path) as temporary:
        encodings = {"step": "DELTA_BINARY_PACKED", "t_ms": "DELTA_BINARY_PACKED", "value": "BYTE_STREAM_SPLIT"}
        with pq.ParquetWriter(
            temporary,
            table.schema,
            compression="zstd",
            version="2.6",
            write_page_checksum=True,
            use_dictionary=["run", "metric"],
            column_encoding=encodings,
        ) as writer:
            for start, end in pairwise(_group_bounds(table)):
                writer.write_table(table.slice(start, end - start), row_group_size=131_072)
    return path


def _group_bounds(table: pa.Table) -> list[int]:
    """Where groups of rows end: between two runs, so that a fold reads of a segment only the runs that it needs just then."""
    import numpy as np

    run = to_numpy(table["run"])
    bounds = [0]
    for end in (np.flatnonzero(np.diff(run)) + 1).tolist():
        bounds += [end] if end - bounds[-1] >= ROWS_PER_GROUP else []
    return [*bounds, len(run)]


def _stamp(folder: Path) -> str:
    """When it is, as a part of a segment's name: a clock that was set back makes no segment older than another."""
    return time_after(path.name.partition("-")[0] for path in folder.glob("[0-9]*.parquet"))


def _table(batches: Sequence[RunBatch]) -> pa.Table:
    """The rows of all runs, with the footer as schema metadata."""
    import numpy as np
    import pyarrow as pa

    footer: dict[str, Any] = {"format": FORMAT, "runs": [], "blobs": {}}
    columns: list[tuple[Any, ...]] = []
    for position, batch in enumerate(batches):
        metrics = [[storable(m.metric.name), m.metric.kind, m.metric.canonical] for m in batch.metrics]
        blobs = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(batch.blobs.items())}
        footer["blobs"] |= {blobs[name]: packed(data) for name, data in batch.blobs.items()}
        record = {"run": storable(batch.run.to_json()), "digest": content_digest(batch), "metrics": metrics, "blobs": blobs}
        try:
            check_record(record)
        except ValueError as error:
            raise SourceError(f"run {batch.run.name!r} cannot be stored", str(error), "mend what names it in the logs") from error
        footer["runs"].append(record)
        for index, metric in enumerate(batch.metrics):
            size = len(metric.steps)
            times = np.zeros(size, np.int64) if metric.times_ms is None else metric.times_ms
            known = np.full(size, metric.times_ms is not None)
            numbered = np.full(size, position, np.int32), np.full(size, index, np.int32)
            columns.append((*numbered, metric.steps, times, known, metric.values))
    joined: list[Any] = [np.concatenate(parts) for parts in zip(*columns, strict=True)] if columns else [np.zeros(0)] * 6
    run, number, step, times, known, value = joined
    kinds = columns_of_a_segment()
    schema = pa.schema(kinds, metadata={FOOTER_KEY: json.dumps(footer, default=str).encode()})
    missing = None if known.all() else ~known.astype(bool)
    gaps = (None, None, None, missing, None)
    filled = zip(kinds, (run, number, step, times, value), gaps, strict=True)
    return pa.Table.from_arrays([numbers(kind, values, gap) for (_, kind), values, gap in filled], schema=schema)


def storable(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    r"""A JSON value that every reader can take: lone surrogates are replaced, whole numbers beyond 64 bits become text.

    >>> storable({"a": 10**30, "b": ["\udc80", 1]})
    {'a': '1000000000000000000000000000000', 'b': ['?', 1]}
    """
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {storable(str(key)): storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)
    return value


def packed(data: bytes) -> str:
    """A kept file as text, compressed; base 64 behind a colon, for base 85, which segments had first, is 50 times slower.

    >>> unpacked(packed(b"torch==2.13.0"))
    b'torch==2.13.0'
    """
    return ":" + base64.b64encode(zlib.compress(data, 9)).decode()


def unpacked(text: str) -> bytes:
    """The bytes behind :func:`packed`; at most 64 MiB, whatever the text claims.

    >>> unpacked("c-kw;FG|j^wKdW+G}bc!03RO%y#")  # as segments had it first
    b'torch==2.13.0'

    Raises:
        ValueError: Not such a text, or too large.
    """
    try:
        unpacker = zlib.decompressobj()
        coded = base64.b64decode(text[1:], validate=True) if text.startswith(":") else base64.b85decode(text)
        data = unpacker.decompress(coded, 64 << 20)
    except zlib.error as error:
        raise ValueError(f"a kept file is damaged: {error}") from error
    if unpacker.unconsumed_tail:
        raise ValueError("a kept file is larger than 64 MiB")
    return data


def read_footer(path: Path) -> dict[str, Any]:
    """The footer of a segment: ``{"format", "runs": [{"run", "digest", "metrics", "blobs"}], "blobs"}``.

    Raises:
        SourceError: Not a Parquet file, not a segment, or a newer format.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    fix = "move the file out of the store's spool folder, then fetch its runs again"
    try:
        metadata = pq.read_schema(path).metadata or {}
        footer = json.loads(metadata[FOOTER_KEY])
    except (pa.ArrowException, OSError, KeyError, ValueError, RecursionError) as error:
        raise SourceError(f"{path.name} is not a segment of openrlb", f"{type(error).__name__}: {error}", fix) from error
    if not isinstance(footer, dict) or footer.get("format") != FORMAT:
        why = f"its format is not {FORMAT}, the one this openrlb reads"
        raise SourceError(f"{path.name} cannot be read", why, "install a newer openrlb: pip install --upgrade openrlb")
    if not isinstance(footer.get("runs"), list) or not isinstance(footer.get("blobs"), dict):
        raise SourceError(f"{path.name} is damaged", "its footer lists no runs or no kept files", fix)
    return footer


def checked_entry(footer: Mapping[str, Any], position: int) -> dict[str, Any]:
    """One run's entry of a footer, its record checked and its kept files as bytes.

    Args:
        footer: What :func:`read_footer` gave.
        position: The run's place in it.

    Raises:
        ValueError: A field is missing, of another type, or out of its range; or a kept file is damaged.
    """
    entry = footer["runs"][position]
    if not isinstance(entry, dict):
        raise ValueError("an entry of the footer is no object")
    entry = {**entry, "run": storable(entry.get("run"))}
    check_record(entry)
    kept: dict[str, bytes] = {}
    for name, digest in dict(entry.get("blobs") or {}).items():
        text = footer["blobs"].get(digest)
        kept[name] = unpacked(text) if isinstance(text, str) else b""
        if hashlib.sha256(kept[name]).hexdigest() != digest:
            raise ValueError(f"the kept file {name} is not what its hash says")
    return {"digest": "", **entry, "kept": kept}


def check_rows(path: Path, metrics: Sequence[int]) -> list[int]:
    """Reads a segment's rows through once: every one as it was written, and of a run and a metric that the footer names.

    Args:
        path: The segment.
        metrics: How many metrics each run of the footer has.

    Returns:
        How many rows each run has.

    Raises:
        SourceError: They are not.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    fix = "fetch its runs again"
    counts = np.zeros(len(metrics), np.int64)
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if [(name, file.schema_arrow.field(name).type) for name in file.schema_arrow.names] != columns_of_a_segment():
                raise SourceError(f"{path.name} is damaged", "its columns are not those of a segment", fix)
            for rows in file.iter_batches():
                if any(rows.column(name).null_count for name in ("run", "metric", "step", "value")):
                    raise SourceError(f"{path.name} is damaged", "a row lacks its run, metric, step or value", fix)
                run, metric = to_numpy(rows.column("run")), to_numpy(rows.column("metric"))
                sizes = np.array([*metrics, 0])
                if len(run) and (
                    run.min() < 0 or run.max() >= len(metrics) or (metric < 0).any() or (metric >= sizes[run]).any()
                ):
                    raise SourceError(f"{path.name} is damaged", "a row is of a run or metric that its footer lacks", fix)
                counts += np.bincount(run, minlength=len(metrics))
            if counts.sum() != file.metadata.num_rows:  # batches end with the shortest column, without a word
                raise SourceError(f"{path.name} is damaged", "some of its columns end before others", fix)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path.name} is damaged", " ".join(str(error).split())[:200], fix) from error
    return [int(count) for count in counts]


def columns_of_a_segment() -> list[tuple[str, Any]]:
    """The columns of a segment with their Arrow types."""
    import pyarrow as pa

    return [("run", pa.int32()), ("metric", pa.int32()), ("step", pa.int64()), ("t_ms", pa.int64()), ("value", pa.float64())]


def read_segment(path: Path) -> list[RunBatch]:
    """Reads a whole segment back, losslessly.

    Raises:
        SourceError: Not a segment, a newer format, or rows that do not fit the footer.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    footer = read_footer(path)
    try:
        entries = [checked_entry(footer, position) for position in range(len(footer["runs"]))]
    except ValueError as error:
        raise SourceError(f"{path.name} is damaged", str(error), "fetch its runs again") from error
    check_rows(path, [len(entry["metrics"]) for entry in entries])
    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
        run, number, step, value = (to_numpy(table[name]) for name in ("run", "metric", "step", "value"))
        times, known = filled(table["t_ms"])
    except (pa.ArrowException, OSError, KeyError) as error:
        raise SourceError(f"{path.name} is damaged", str(error), "fetch its runs again") from error
    batches = []
    for position, record in enumerate(entries):
        metrics = []
        mine = run == position
        for index, (name, kind, canonical) in enumerate(record["metrics"]):
            rows = np.flatnonzero(mine & (number == index))
            clock = times[rows] if len(rows) and known[rows].all() else None
            metrics.append(MetricBatch(Metric(name, kind, canonical), step[rows], value[rows], clock))
        batches.append(RunBatch(Run.from_json(record["run"]), tuple(metrics), record["kept"]))
    return batches
