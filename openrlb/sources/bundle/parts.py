"""Reading one part of a bundle: its tables are checked against each other, and every run against its digest.

A small file that unpacks to far more than it can honestly hold is refused, and a text is held once, however often it is there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from openrlb.errors import SourceError
from openrlb.sources.arrays import far_too_large
from openrlb.sources.bundle.manifest import FIX, MAX_KEPT_BYTES, Part
from openrlb.sources.bundle.tables import LABELS, WHOLE, columns_of_runs
from openrlb.sources.protocol import MAX_VALUES, STEP_LIMIT
from openrlb.store.arrow import filled, to_numpy
from openrlb.store.records import check_record
from openrlb.store.segment import content_digest
from openrlb.types import Metric, MetricBatch, Run, RunBatch

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

MAX_ROWS = MAX_VALUES // 10
"""Rows of a table: it has ten columns."""


def read_part(part: Part, files: Mapping[str, bytes]) -> list[RunBatch]:
    """The runs of a part, as they were written.

    Args:
        part: What the manifest says of it.
        files: The bytes of its files by their paths, each checked against its sha256.

    Raises:
        SourceError: A file is damaged, or says something else than another.
    """
    import pyarrow as pa

    path = part.files[0]
    try:
        records = _records(part, files[path])
        seeds = {(record["run"]["source"], record["run"]["run"]): record["run"].get("seed") for record in records}
        found: dict[tuple[str, str], dict[tuple[str, str], MetricBatch]] = {}
        kept: dict[str, bytes] = {}
        for path in part.files[1:]:
            if path.rsplit("/", 1)[-1].startswith("files-"):
                kept |= _kept(files[path])
                continue
            for source, run, batch in _values(part, files[path], seeds):
                mine = found.setdefault((source, run), {})
                if (batch.metric.name, batch.metric.kind) in mine:
                    raise ValueError(f"the values of {batch.metric.name} of the run {run} are in two places")
                mine[batch.metric.name, batch.metric.kind] = batch
        path = part.files[0]
        batches = [_batch(record, found.pop((record["run"]["source"], record["run"]["run"]), {}), kept) for record in records]
        if found:
            raise ValueError(f"there are values of a run {next(iter(found))[1]!r} that it does not name")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError, pa.ArrowException, OSError) as error:
        why = " ".join(str(error).split())[:300]
        raise SourceError(f"{path} is not read", why or type(error).__name__, FIX) from error
    return batches


def _table(data: bytes) -> pa.Table:
    """A Parquet file's table, its texts kept once however often they stand there, so that a small file stays small.

    Raises:
        ValueError: It is, or claims to be, far larger than its bytes can honestly hold.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = pa.BufferReader(data)
    told = pq.read_metadata(source)
    if why := far_too_large(told, len(data)):
        raise ValueError(why)
    if told.num_rows > MAX_ROWS:
        raise ValueError(f"it claims {told.num_rows:,} rows, more than {MAX_ROWS:,}")
    plain = [told.schema.column(number).path for number in range(told.num_columns)]
    with pq.ParquetFile(pa.BufferReader(data), read_dictionary=plain) as file:
        return file.read(use_threads=False)


def _cells(column: Any) -> list[Any]:  # noqa: ANN401 - pyarrow ships no types
    """A column of texts as Python objects, None in its gaps; equal ones are one object."""
    words, codes, known = _coded(column)
    return [words[code] if there else None for code, there in zip(codes.tolist(), known.tolist(), strict=True)]


def _kept(data: bytes) -> dict[str, bytes]:
    """The files that are kept with a part's runs by their sha256.

    Raises:
        ValueError: One is not what its sha256 says, or too large.
    """
    table = _table(data)
    found: dict[str, bytes] = {}
    for digest, text, binary in zip(*(_cells(table[name]) for name in ("sha256", "text", "data")), strict=True):
        one = binary if text is None else text.encode()
        if (
            not isinstance(one, bytes)
            or len(one) > MAX_KEPT_BYTES
            or digest in found
            or hashlib.sha256(one).hexdigest() != digest
        ):
            raise ValueError(f"the kept file {str(digest)[:12]} is not what its sha256 says, is there twice, or too large")
        found[digest] = one
    return found


def _records(part: Part, data: bytes) -> list[dict[str, Any]]:
    """The records of a part's runs, checked.

    Raises:
        ValueError: One that no reader can take, or columns that do not follow from the records.
    """
    table = _table(data)
    if "record" not in table.column_names or table.num_rows != part.runs:
        raise ValueError(f"{table.num_rows} runs where the manifest says {part.runs}")
    told = _cells(table["record"])
    if len(set(map(id, told))) != len(told):
        raise ValueError("a run is there twice")
    records: list[dict[str, Any]] = [json.loads(text) for text in told]
    for number, record in enumerate(records):
        try:
            check_record(record)
            sizes = record["values"]
            if not isinstance(sizes, list) or len(sizes) != len(record["metrics"]) or not isinstance(record["blobs"], dict):
                raise ValueError("values is no list as long as metrics, or blobs is no object")
        except (ValueError, KeyError) as error:
            raise ValueError(f"run {number + 1}: {error}") from error
        if (record["run"]["env"], record["run"]["algo"]) != (part.env, part.algo):
            raise ValueError(f"run {number + 1} is not of {part.algo} in {part.env}")
    expected = columns_of_runs(records)
    if table.column_names != list(expected) or any(_said(table[name], name) != cells for name, cells in expected.items()):
        raise ValueError("its columns do not say what its records say")
    return records


def _said(column: Any, name: str) -> list[Any]:  # noqa: ANN401 - pyarrow ships no types
    """A column's cells."""
    if name not in WHOLE:
        return _cells(column)
    values, known = filled(column)
    return [value if there else None for value, there in zip(values.tolist(), known.tolist(), strict=True)]


def _values(part: Part, data: bytes, seeds: Mapping[tuple[str, str], int | None]) -> list[tuple[str, str, MetricBatch]]:
    """Each run's values of each metric, with the run's source and id; their canonical names are in the records.

    Raises:
        ValueError: Rows that lack something or are of another part.
    """
    import numpy as np

    table = _table(data)
    size = table.num_rows
    if not size:
        return []
    whole = {name: str(table.schema.field(name).type) for name in ("seed", "step", "t_ms", "value") if name in table.column_names}
    if table.column_names != [*LABELS, *whole] or list(whole.values()) != ["int64", "int64", "int64", "double"]:
        raise ValueError("its columns are not those of values")
    if any(table[name].null_count for name in (*LABELS, "step", "value")):
        raise ValueError("a row lacks its run, metric, step or value")
    words, codes, _ = zip(*(_coded(table[name]) for name in LABELS), strict=True)
    if words[2] != [part.algo] or words[3] != [part.env]:
        raise ValueError(f"a row is not of {part.algo} in {part.env}")
    step, value = to_numpy(table["step"]), to_numpy(table["value"])
    if not ((step > -STEP_LIMIT) & (step < STEP_LIMIT)).all():
        raise ValueError("a step is not between -2**62 and 2**62")
    (time, timed), (seed, seeded) = filled(table["t_ms"]), filled(table["seed"])
    changed = np.zeros(size - 1, bool)
    for one in codes:
        changed |= one[1:] != one[:-1]
    starts = [0, *(np.flatnonzero(changed) + 1).tolist()]
    found = []
    for start, end in zip(starts, [*starts[1:], size], strict=True):
        rows = slice(start, end)
        source, run, _, _, name, kind = (words[place][int(codes[place][start])] for place in range(len(LABELS)))
        told = seeds.get((source, run))
        if not ((seed[rows] == (told or 0)) & (seeded[rows] == (told is not None))).all():
            raise ValueError(f"the seed of the run {run} is another one than in its record, or it has none")
        clock = time[rows] if timed[rows].all() else None
        if clock is None and timed[rows].any():
            raise ValueError(f"the run {run} has a time at some values of {name} only")
        found.append((source, run, MetricBatch(Metric(name, kind), step[rows], value[rows], clock)))
    return found


def _coded(column: Any) -> tuple[list[Any], NDArray[Any], NDArray[Any]]:  # noqa: ANN401 - pyarrow ships no types
    """The different words of a column, the place of each row's among them, and where there is one."""
    import pyarrow as pa

    column = column.unify_dictionaries() if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    words: list[Any] = column.chunk(0).dictionary.to_pylist() if column.num_chunks else []
    codes, known = filled(pa.chunked_array([chunk.indices for chunk in column.chunks], column.type.index_type))
    used = sorted(set(codes[known].tolist()))
    return (
        ([words[place] for place in used], _renumbered(codes, used), known) if len(used) < len(words) else (words, codes, known)
    )


def _renumbered(codes: NDArray[Any], used: Sequence[int]) -> NDArray[Any]:
    """Places among the words that are used."""
    import numpy as np

    return np.searchsorted(np.array(used), codes)


def _batch(record: Mapping[str, Any], values: dict[tuple[str, str], MetricBatch], kept: Mapping[str, bytes]) -> RunBatch:
    """One run with its values and kept files.

    Raises:
        ValueError: They are not those that its record names.
    """
    import numpy as np

    none = np.zeros(0, np.int64)
    name = record["run"]["run"]
    metrics = []
    for (metric, kind, canonical), size in zip(record["metrics"], record["values"], strict=True):
        logged = values.pop((metric, kind), None) or MetricBatch(Metric(metric, kind), none, none.astype(np.float64))
        if len(logged.values) != size:
            raise ValueError(f"the run {name} has {len(logged.values)} values of {metric}, and its record says {size}")
        metrics.append(MetricBatch(Metric(metric, kind, canonical), logged.steps, logged.values, logged.times_ms))
    if values:
        raise ValueError(f"there are values of {next(iter(values))[0]!r} that the run {name} does not name")
    if lost := [digest for digest in record["blobs"].values() if digest not in kept]:
        raise ValueError(f"the kept file {lost[0][:12]} of the run {name} is not among those of its part")
    batch = RunBatch(Run.from_json(record["run"]), tuple(metrics), {file: kept[one] for file, one in record["blobs"].items()})
    if content_digest(batch) != record["digest"]:
        raise ValueError(f"the run {name} is not what its digest says")
    return batch
