"""The tables of one part of a bundle, as they are written.

Every column but ``record`` is for other readers (polars, DuckDB, ``datasets``): the record is the truth, and a part whose
other columns say something else is refused.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from openrlb.store.arrow import numbers, texts
from openrlb.store.segment import content_digest, storable
from openrlb.types import RunBatch

if TYPE_CHECKING:
    import pyarrow as pa

LABELS = ("source", "run", "algo", "env", "metric", "kind")
"""Columns of the values that are texts."""
TEXTS = (
    *("source", "run", "project", "name", "algo", "impl", "env", "role", "state", "step_unit", "created", "git_commit"),
    "requirements",
)
WHOLE = ("seed", "frames_per_step")


def runs_table(batches: Sequence[RunBatch]) -> pa.Table:
    """A row for each run."""
    import pyarrow as pa

    listed: dict[str, list[Any]] = dict(columns_of_runs([_record(batch) for batch in batches]))
    columns = [numbers(pa.int64(), cells) if name in WHOLE else texts(cells) for name, cells in listed.items()]
    return pa.Table.from_arrays(columns, names=list(listed))


def _record(batch: RunBatch) -> dict[str, Any]:
    """Everything of a run but its values and the bytes of its kept files."""
    return {
        "run": storable(batch.run.to_json()),
        "metrics": [[one.metric.name, one.metric.kind, one.metric.canonical] for one in batch.metrics],
        "values": [len(one.values) for one in batch.metrics],
        "blobs": {name: _sha256(data) for name, data in sorted(batch.blobs.items())},
        "digest": content_digest(batch),
    }


def columns_of_runs(records: Sequence[Mapping[str, Any]]) -> dict[str, list[str | int | None]]:
    """The columns that follow from records: lists and mappings as JSON."""
    runs = [record["run"] for record in records]
    columns: dict[str, list[str | int | None]] = {name: [run.get(name) for run in runs] for name in (*TEXTS, *WHOLE)}
    columns["tags"] = [json.dumps(run.get("tags") or []) for run in runs]
    columns["metrics"] = [json.dumps([name for name, *_ in record["metrics"]]) for record in records]
    columns["config"] = [json.dumps(run.get("config") or {}, sort_keys=True) for run in runs]
    return columns | {"record": [json.dumps(record, sort_keys=True) for record in records]}


def values_table(batches: Sequence[RunBatch], system: bool | None, labels: Sequence[str] = LABELS) -> pa.Table | None:
    """The values of some runs, sorted by metric and then by run, a column keeping each text once; None where they logged none.

    Args:
        batches: The runs.
        system: Only hardware series, or everything but them; all values for None.
        labels: The columns before seed, step, time and value: ``metric``, ``kind`` and texts of the runs' records.
    """
    import numpy as np
    import pyarrow as pa

    rows = [
        ((one.metric.name, one.metric.kind, batch.run.source, batch.run.run), batch.run, one)
        for batch in batches
        for one in batch.metrics
        if system in (None, one.metric.kind == "system") and len(one.values)
    ]
    if not rows:
        return None
    rows.sort(key=lambda row: row[0])
    sizes = [len(one.values) for _, _, one in rows]
    said: dict[str, list[str]] = {"metric": [key[0] for key, *_ in rows], "kind": [key[1] for key, *_ in rows]}
    said |= {name: [getattr(run, name) for _, run, _ in rows] for name in labels if name not in said}
    columns = {name: _repeated(said[name], sizes) for name in labels}
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
