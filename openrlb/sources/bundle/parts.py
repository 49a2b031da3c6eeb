"""One part of a bundle as Parquet tables, there and back without losing a bit.

Every column but ``record`` is for other readers (polars, DuckDB, ``datasets``): the record is the truth, and a part whose
other columns say something else is refused.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from openrlb.errors import SourceError
from openrlb.sources.bundle.manifest import FIX, MAX_KEPT_BYTES, Part
from openrlb.sources.protocol import MAX_VALUES, STEP_LIMIT
from openrlb.store.arrow import filled, numbers, text_lists, texts, to_numpy
from openrlb.store.records import check_record
from openrlb.store.segment import content_digest, storable
from openrlb.types import Metric, MetricBatch, Run, RunBatch

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

LABELS = ("source", "run", "algo", "env", "metric", "kind")
"""Columns of the values that are texts."""
TEXTS = (
    *("source", "run", "project", "name", "algo", "impl", "env", "role", "state", "step_unit", "created", "git_commit"),
    "requirements",
)
COLUMNS = len(LABELS) + 4


def runs_table(batches: Sequence[RunBatch]) -> pa.Table:
    """A row for each run."""
    return _runs_table([_record(batch) for batch in batches])


def _record(batch: RunBatch) -> dict[str, Any]:
    """Everything of a run but its values and the bytes of its kept files."""
    return {
        "run": storable(batch.run.to_json()),
        "metrics": [[one.metric.name, one.metric.kind, one.metric.canonical] for one in batch.metrics],
        "values": [len(one.values) for one in batch.metrics],
        "blobs": {name: _sha256(data) for name, data in sorted(batch.blobs.items())},
        "digest": content_digest(batch),
    }


def _runs_table(records: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The table that follows from records."""
    import pyarrow as pa

    runs = [record["run"] for record in records]
    columns: dict[str, Any] = {name: texts(run.get(name) for run in runs) for name in TEXTS}
    columns["seed"] = numbers(pa.int64(), [run.get("seed") for run in runs])
    columns["frames_per_step"] = numbers(pa.int32(), [run.get("frames_per_step") for run in runs])
    columns["tags"] = text_lists([run.get("tags") or [] for run in runs])
    columns["metrics"] = text_lists([[name for name, *_ in record["metrics"]] for record in records])
    columns["config"] = texts(json.dumps(run.get("config") or {}, sort_keys=True) for run in runs)
    columns["record"] = texts(json.dumps(record, sort_keys=True) for record in records)
    return pa.Table.from_arrays(list(columns.values()), names=list(columns))


def values_table(batches: Sequence[RunBatch], system: bool) -> pa.Table | None:
    """The values of some runs, or their hardware series, sorted by metric and then by run; None where they logged none."""
    import numpy as np
    import pyarrow as pa

    rows = [
        ((one.metric.name, one.metric.kind, batch.run.source, batch.run.run), batch.run, one)
        for batch in batches
        for one in batch.metrics
        if (one.metric.kind == "system") == system and len(one.values)
    ]
    if not rows:
        return None
    rows.sort(key=lambda row: row[0])
    sizes = [len(one.values) for _, _, one in rows]
    said: dict[str, list[str]] = {"metric": [key[0] for key, *_ in rows], "kind": [key[1] for key, *_ in rows]}
    said |= {name: [getattr(run, name) for _, run, _ in rows] for name in ("source", "run", "algo", "env")}
    columns = {name: _repeated(said[name], sizes) for name in LABELS}
    seeds = np.repeat(np.array([run.seed or 0 for _, run, _ in rows], np.int64), sizes)
    unknown = np.repeat(np.array([run.seed is None for _, run, _ in rows]), sizes)
    columns["seed"] = numbers(pa.int64(), seeds, unknown if unknown.any() else None)
    columns["step"] = numbers(pa.int64(), np.concatenate([one.steps for *_, one in rows]))
    times = [np.zeros(len(one.values), np.int64) if one.times_ms is None else one.times_ms for *_, one in rows]
    untimed = np.repeat(np.array([one.times_ms is None for *_, one in rows]), sizes)
    columns["t_ms"] = numbers(pa.int64(), np.concatenate(times), untimed if untimed.any() else None)
    columns["value"] = numbers(pa.float64(), np.concatenate([one.values for *_, one in rows]))
    return pa.Table.from_arrays(list(columns.values()), names=list(columns))


def _repeated(words: Sequence[str], sizes: Sequence[int]) -> Any:  # noqa: ANN401 - pyarrow ships no types
    """Each word as often as its size says, as a column that keeps each word once."""
    import numpy as np
    import pyarrow as pa

    places = {word: place for place, word in enumerate(dict.fromkeys(words))}
    codes = np.repeat(np.array([places[word] for word in words], np.int32), sizes)
    return pa.DictionaryArray.from_arrays(numbers(pa.int32(), codes), texts(places))


def kept_table(batches: Sequence[RunBatch]) -> pa.Table | None:
    """The files that are kept with some runs, each once; None where there are none.

    ``text`` is what is in it, ``data`` its bytes where that is no text; ``name`` is what a run calls it, several may.
    """
    import pyarrow as pa

    kept: dict[str, tuple[str, bytes]] = {}
    for batch in batches:
        for name, data in sorted(batch.blobs.items()):
            kept.setdefault(_sha256(data), (name, data))
    if not kept:
        return None
    listed = [(digest, *kept[digest]) for digest in sorted(kept)]
    bare = [_as_text(data) for *_, data in listed]
    data = pa.array([None if text is not None else data for (*_, data), text in zip(listed, bare, strict=True)], pa.binary())
    columns = {"sha256": texts(digest for digest, *_ in listed), "name": texts(name for _, name, _ in listed)}
    return pa.Table.from_arrays([*columns.values(), texts(bare), data], names=[*columns, "text", "data"])


def _as_text(data: bytes) -> str | None:
    """The text that bytes are, or None."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _sha256(data: bytes) -> str:
    """The hash by which a kept file is known."""
    return hashlib.sha256(data).hexdigest()


def packed(table: pa.Table) -> bytes:
    """A table as the bytes of a Parquet file; equal tables give equal bytes."""
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    encoded = {name: "DELTA_BINARY_PACKED" for name in ("step", "t_ms") if name in table.column_names}
    encoded |= {"value": "BYTE_STREAM_SPLIT"} if "value" in table.column_names else {}
    words = [name for name in table.column_names if name not in (*encoded, "record", "config", "text", "data")]
    pq.write_table(
        table, buffer, compression="zstd", version="2.6", row_group_size=131_072, store_schema=False, use_dictionary=words,
        column_encoding=encoded or None,
    )  # fmt: skip
    return buffer.getvalue()


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


def _table(data: bytes, words: Sequence[str] = ()) -> pa.Table:
    """A Parquet file's table.

    Raises:
        ValueError: It has more rows than can be held in memory.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(pa.BufferReader(data), read_dictionary=list(words)) as file:
        told = file.metadata
        rows = told.num_rows
        claimed = sum(told.row_group(number).total_byte_size for number in range(told.num_row_groups))
        if rows > MAX_VALUES // COLUMNS or claimed > 8 * MAX_VALUES:
            raise ValueError(f"it claims {rows:,} rows and {claimed:,} bytes, more than can be held in memory")
        return file.read(use_threads=False)


def _kept(data: bytes) -> dict[str, bytes]:
    """The files that are kept with a part's runs by their sha256.

    Raises:
        ValueError: One is not what its sha256 says, or too large.
    """
    found: dict[str, bytes] = {}
    for row in _table(data).to_pylist():
        digest, one = row["sha256"], row["data"] if row["text"] is None else row["text"].encode()
        if not isinstance(one, bytes) or len(one) > MAX_KEPT_BYTES or _sha256(one) != digest:
            raise ValueError(f"the kept file {str(digest)[:12]} is not what its sha256 says, or too large")
        found[digest] = one
    return found


def _records(part: Part, data: bytes) -> list[dict[str, Any]]:
    """The records of a part's runs, checked.

    Raises:
        ValueError: One that no reader can take, or columns that do not follow from the records.
    """
    import pyarrow as pa

    table = _table(data)
    if "record" not in table.column_names or table.num_rows != part.runs:
        raise ValueError(f"{table.num_rows} runs where the manifest says {part.runs}")
    records: list[dict[str, Any]] = [json.loads(text) for text in table["record"].to_pylist()]
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
    expected = _runs_table(records)
    if not table.cast(pa.schema(list(expected.schema))).equals(expected):
        raise ValueError("its columns do not say what its records say")
    return records


def _values(part: Part, data: bytes, seeds: Mapping[tuple[str, str], int | None]) -> list[tuple[str, str, MetricBatch]]:
    """Each run's values of each metric, with the run's source and id; their canonical names are in the records.

    Raises:
        ValueError: Rows that lack something or are of another part.
    """
    import numpy as np

    table = _table(data, LABELS)
    size = table.num_rows
    if not size:
        return []
    whole = {name: str(table.schema.field(name).type) for name in ("seed", "step", "t_ms", "value") if name in table.column_names}
    if table.column_names != [*LABELS, *whole] or list(whole.values()) != ["int64", "int64", "int64", "double"]:
        raise ValueError("its columns are not those of values")
    if any(table[name].null_count for name in (*LABELS, "step", "value")):
        raise ValueError("a row lacks its run, metric, step or value")
    words, codes = zip(*(_coded(table[name]) for name in LABELS), strict=True)
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


def _coded(column: Any) -> tuple[list[str], NDArray[Any]]:  # noqa: ANN401 - pyarrow ships no types
    """The different words of a column, and the place of each row's among them."""
    import pyarrow as pa

    column = column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks > 1 else column.chunk(0)
    column = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    words = column.dictionary.to_pylist()
    codes = to_numpy(column.indices)
    used = sorted(set(codes.tolist()))
    return ([words[place] for place in used], _renumbered(codes, used)) if len(used) < len(words) else (words, codes)


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
