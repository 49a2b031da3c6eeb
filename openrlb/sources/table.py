"""A table before it is read: its column names are known, and any of its columns can be loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from openrlb.errors import MapError, SourceError
from openrlb.sources.protocol import MAX_COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

MISSING = ("", "NA", "N/A", "null", "None", "none", "NULL")
"""Texts that stand for no value; ``nan`` is a value."""
_NUMBER = r"^[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[nN][aA][nN]|[iI][nN][fF]([iI][nN][iI][tT][yY])?)$"


@dataclass(frozen=True, slots=True)
class Loaded:
    """Columns of a table.

    Attributes:
        columns: An Arrow array for each loaded column, all of the same length.
        rows: How many rows there are.
        bad_rows: How many rows were garbled and are left out.
        damage: What is wrong with the file as a whole (cut short), or None.
        notes: What else was noticed.
    """

    columns: Mapping[str, pa.ChunkedArray | pa.Array]
    rows: int
    bad_rows: int = 0
    damage: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """One table, or one way to see a file as a table.

    Attributes:
        columns: The names of its columns.
        load: Loads the named columns; raises SourceError where they cannot be read.
        defaults: What a column is when the map does not say it, by field (an array's axes).
        suggested: What a column probably is, by field, for the example in an error only.
        notes: What a reader of the runs should know.
    """

    columns: tuple[str, ...]
    load: Callable[[Sequence[str]], Loaded]
    defaults: Mapping[str, str] = field(default_factory=dict)
    suggested: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def limited(path: Path, columns: Sequence[str]) -> tuple[str, ...]:
    """The column names, made unique.

    Raises:
        SourceError: More columns than a log has.
    """
    if len(columns) > MAX_COLUMNS:
        why = f"it has {len(columns):,} columns, and {MAX_COLUMNS:,} are the most that are read"
        raise SourceError(f"{path.name} is not read", why, "write one row for each value, with a column for the metric's name")
    unique: list[str] = []
    seen: set[str] = set()
    for number, column in enumerate(columns, start=1):
        name = base = column.strip() or f"column {number}"
        repeat = 1
        while name in seen:
            repeat += 1
            name = f"{base} ({repeat})"
        seen.add(name)
        unique.append(name)
    return tuple(unique)


@dataclass(frozen=True, slots=True)
class Numbers:
    """A column as numbers.

    Attributes:
        values: Shape ``(rows,)``; NaN where missing or bad.
        there: Where a value is given; NaN counts as given.
        bad: Where something stands that is no number.
    """

    values: NDArray[np.float64]
    there: NDArray[np.bool_]
    bad: NDArray[np.bool_]


def numbers(array: pa.ChunkedArray | pa.Array, name: str, field_name: str) -> Numbers:
    """A column as floating-point numbers.

    Args:
        array: The column.
        name: Its name.
        field_name: What it was mapped to, for the error.

    Raises:
        MapError: It holds something else, or mostly text.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _text_numbers(array, name, field_name)
    if kind != array.type:
        array = array.cast(kind)
    if pa.types.is_null(kind):
        array = array.cast(pa.float64())
    elif pa.types.is_timestamp(kind):
        array = pc.divide(array.cast(pa.timestamp("us")).cast(pa.int64()).cast(pa.float64()), 1e6)
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind)):
        raise MapError(f"{field_name}={name} is not usable", f"the column holds {kind}, not numbers", "name another column")
    there = array.is_valid().to_numpy(zero_copy_only=False) if isinstance(array, pa.Array) else array.is_valid().to_numpy()
    filled = array.cast(pa.float64(), safe=False).fill_null(float("nan"))
    values = filled.to_numpy(zero_copy_only=False) if isinstance(filled, pa.Array) else filled.to_numpy()
    return Numbers(values, there, np.zeros(len(values), bool))


def _text_numbers(array: pa.ChunkedArray | pa.Array, name: str, field_name: str) -> Numbers:
    """Text as numbers; rows that are none are marked, and a column that mostly holds text is refused.

    Of a coded column each different text is looked at once: a long one that stands in every row is held once.

    Raises:
        MapError: It mostly holds text.
    """
    import pyarrow as pa

    if pa.types.is_dictionary(array.type):
        place, distinct = codes(array, name, field_name)
        texts = pa.array([*distinct, None], pa.large_string())
        rows = np.where(place < 0, len(distinct), place)
        values, there, bad = _parsed(texts)
        found = Numbers(values[rows], there[rows], bad[rows])
    else:
        texts, rows = array, np.arange(len(array))
        found = Numbers(np.empty(len(array)), np.empty(len(array), bool), np.empty(len(array), bool))
        start = 0
        for chunk in array.chunks if isinstance(array, pa.ChunkedArray) else [array]:  # beside each other they take gigabytes
            part = slice(start, start + len(chunk))
            found.values[part], found.there[part], found.bad[part] = _parsed(chunk)
            start = part.stop
    told = int(found.there.sum() + found.bad.sum())
    if found.bad.sum() * 2 > told:
        examples = [f"row {row + 1}: {texts[int(rows[row])].as_py()!r}" for row in np.flatnonzero(found.bad)[:3].tolist()]
        why = f"{int(found.bad.sum()):,} of {told:,} entries are no numbers ({', '.join(examples)})"
        raise MapError(f"{field_name}={name} is not usable", why, "name a column that holds numbers")
    return found


def _parsed(texts: pa.Array) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Texts as numbers, which of them are one, and which are something else."""
    import pyarrow as pa
    import pyarrow.compute as pc

    trimmed = pc.utf8_trim_whitespace(texts)
    missing = pc.is_in(trimmed, value_set=pa.array(MISSING, trimmed.type))
    trimmed = pc.if_else(missing, pa.scalar(None, trimmed.type), trimmed)
    there = trimmed.is_valid().to_numpy(zero_copy_only=False)
    bad = np.zeros(len(trimmed), bool)
    try:
        parsed = trimmed.cast(pa.float64())
    except pa.ArrowInvalid:
        good = pc.match_substring_regex(trimmed, _NUMBER).fill_null(True).to_numpy(zero_copy_only=False)
        parsed = pc.if_else(pa.array(good), trimmed, pa.scalar(None, trimmed.type)).cast(pa.float64())
        there, bad = there & good, ~good
    return parsed.fill_null(float("nan")).to_numpy(zero_copy_only=False), there, bad


def codes(array: pa.ChunkedArray | pa.Array, name: str, field_name: str) -> tuple[NDArray[np.int64], list[Any]]:
    """A column as codes into its distinct values; -1 where missing.

    Raises:
        MapError: It holds lists or objects.
    """
    import pyarrow as pa

    if pa.types.is_nested(array.type):
        raise MapError(f"{field_name}={name} is not usable", f"the column holds {array.type}", "name a column of single values")
    chunked = array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])
    if pa.types.is_null(chunked.type):
        return np.full(len(chunked), -1, np.int64), []
    if not pa.types.is_dictionary(chunked.type):
        chunked = chunked.dictionary_encode()
    parts = chunked.unify_dictionaries().chunks
    distinct = parts[0].dictionary.to_pylist() if parts else []
    found = [part.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64) for part in parts]
    joined = np.concatenate(found) if found else np.zeros(0, np.int64)
    blank = [
        number for number, value in enumerate(distinct) if value is None or (isinstance(value, str) and value.strip() in MISSING)
    ]
    joined[np.isin(joined, blank)] = -1
    return joined, distinct
