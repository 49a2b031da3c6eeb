"""The part of a run's history that W&B has exported to Parquet."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openrlb.sources.arrays import far_too_large
from openrlb.sources.protocol import MAX_VALUES
from openrlb.sources.wandb.client import Client, RefusedError, TransientError, is_permanent
from openrlb.sources.wandb.rows import INTERNAL, LARGEST_STEP, STEP, WORDS, Part
from openrlb.store.arrow import filled, numbers, to_numpy

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

MAX_ROWS = 50_000_000


def read_exports(client: Client, remote: Any, wants: Callable[[str], bool]) -> tuple[list[Part], bool]:  # noqa: ANN401
    """What is exported to Parquet, in order, and whether live rows follow.

    Raises:
        TransientError: An export did not arrive, or arrived torn.
        RefusedError: W&B refuses one, or it cannot be a run's history.
    """
    import pyarrow as pa

    with tempfile.TemporaryDirectory(dir=client.folder) as folder:
        answer = remote.download_history_exports(folder, require_complete_history=False)
        for path, text in (answer.errors or {}).items():
            raise (RefusedError if is_permanent(text) else TransientError)(f"{path.name}: {' '.join(text.split())[:200]}")
        parts = [_parquet(path, wants) for path in sorted(answer.paths, key=_part_number)]
        pa.default_memory_pool().release_unused()  # each of the reading threads would keep its own
        return parts, bool(answer.contains_live_data)


def _part_number(path: Path) -> tuple[int, str]:
    """The order of exports: ``..._10.runhistory.parquet`` is after ``..._9``."""
    number = path.name.split(".")[0].rsplit("_", 1)[-1]
    return (int(number) if number.isdecimal() else 0, path.name)


def _parquet(path: Path, wants: Callable[[str], bool]) -> Part:
    """One export.

    Raises:
        TransientError: It is torn.
        RefusedError: It has no ``_step``, or more rows or values than a run has.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        leaves = [item.path for item in pq.read_metadata(path).schema]
        with pq.ParquetFile(path, read_dictionary=leaves) as file:  # a text is held once, however often it is there
            if why := far_too_large(file.metadata, path.stat().st_size):
                raise RefusedError(f"an export is not read: {why}")
            if file.metadata.num_rows > MAX_ROWS:
                raise RefusedError(f"an export has {file.metadata.num_rows:,} rows, more than {MAX_ROWS:,}")
            names = [item.name for item in file.schema_arrow]
            if names.count(STEP) != 1 or len(set(names)) < len(names):
                raise RefusedError(f"an export has no column {STEP}, or one name for two columns")
            taken = [name for name in names if name in INTERNAL or wants(name) or _wants_inside(file.schema_arrow, name, wants)]
            if file.metadata.num_rows * len(taken) > MAX_VALUES:
                raise RefusedError(f"an export has {file.metadata.num_rows:,} rows of {len(taken):,} columns")
            table = _flat(file.read(columns=taken, use_threads=False))
            table.validate(full=True)  # texts that are none, too
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise TransientError(f"an export arrived torn: {' '.join(str(error).split())[:150]}") from error
    return part_of(table, wants)


def part_of(table: pa.Table, wants: Callable[[str], bool]) -> Part:
    """A table of rows as columns that hold numbers; what is left out is counted."""
    import pyarrow as pa

    steps = _steps(table[STEP])
    usable = (steps >= 0) & (steps < LARGEST_STEP)
    if not usable.all():
        table, steps = table.filter(numbers(pa.bool_(), usable)), steps[usable]
    part = Part(steps, unplaced=int((~usable).sum()))
    for name in table.column_names:
        if name != STEP and (name in INTERNAL or wants(name)):
            found = _numbers(table[name])
            if found is not None and len(found[0]):
                part.columns[name] = found
            texts = len(table) - table[name].null_count - (0 if found is None else len(found[0]))
            part.texts |= {name: texts} if texts and name not in INTERNAL else {}
    return part


def _wants_inside(schema: pa.Schema, name: str, wants: Callable[[str], bool]) -> bool:
    """Whether a nested column holds a wanted key."""
    import pyarrow as pa

    kind = schema.field(name).type
    return pa.types.is_struct(kind) and any(wants(f"{name}.{inner.name}") for inner in kind)


def _flat(table: pa.Table) -> pa.Table:
    """Nested columns as dotted ones."""
    import pyarrow as pa

    for _ in range(5):
        if not any(pa.types.is_struct(kind) for kind in table.schema.types):
            break
        table = table.flatten()
    return table


def _numbers(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
    """The rows of a column that hold numbers, and the numbers; None for a column of something else."""
    import numpy as np
    import pyarrow as pa

    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        values, known = filled(column)
        present = np.flatnonzero(known)
        return present.astype(np.int64), values[present].astype(np.float64)
    if pa.types.is_boolean(kind) or pa.types.is_decimal(kind):
        present = np.flatnonzero(to_numpy(column.is_valid().cast(pa.uint8())))
        return present.astype(np.int64), to_numpy(column.drop_null().cast(pa.float64(), safe=False))
    if pa.types.is_dictionary(kind) and len(column):
        column = column.unify_dictionaries()
        words = [WORDS.get(text) for text in column.chunk(0).dictionary.to_pylist()]
        codes, known = filled(pa.chunked_array([chunk.indices for chunk in column.chunks], kind.index_type))
        pairs = [(index, word) for index in np.flatnonzero(known).tolist() if (word := words[codes[index]]) is not None]
        return np.array([index for index, _ in pairs], np.int64), np.array([value for _, value in pairs], np.float64)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        pairs = [(index, WORDS[text]) for index, text in enumerate(column.to_pylist()) if text in WORDS]
        return np.array([index for index, _ in pairs], np.int64), np.array([value for _, value in pairs], np.float64)
    return None


def _steps(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """``_step`` of each row; -1 where an export leaves it out, or has none that is one."""
    import numpy as np
    import pyarrow as pa

    if pa.types.is_integer(column.type):  # a float holds no step above 2**53 exactly
        values, known = filled(column)
        usable = known & (values >= 0) & (values < LARGEST_STEP)
        return np.where(usable, np.where(usable, values, 0).astype(np.int64), -1)
    found = _numbers(column)
    steps = np.full(len(column), -1, np.int64)
    if found is not None:
        steps[found[0]] = np.where(np.abs(found[1]) < LARGEST_STEP, found[1], -1)
    return steps
