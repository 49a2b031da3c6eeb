"""NumPy arrays and Parquet files as tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from openrlb.errors import MapError, SourceError
from openrlb.sources.files import check_rows, too_large
from openrlb.sources.npz import members, read_member, read_npy
from openrlb.sources.protocol import MAX_COLUMNS, MAX_TABLE_BYTES, MAX_VALUES, ReadOptions
from openrlb.sources.table import Loaded, Table, limited

if TYPE_CHECKING:
    import pyarrow as pa

UNPACKED_BYTES, UNPACKED_SHARE, UNPACKED_ROW = 64 * 1024**2, 100, 64
"""How large a Parquet file may be unpacked: so many bytes, and so many for each byte of the file and each row."""


def open_npy(path: Path, options: ReadOptions) -> Table:
    """An npy file as a table with a column for each axis and the column ``value``.

    Raises:
        MapError: The axes are not named, or not as many as there are.
        SourceError: Damaged, or holding Python objects.
    """
    return of_array(path, read_npy(path), options)


def open_npz(path: Path, options: ReadOptions, values: Sequence[str]) -> list[Table]:
    """An npz file as a table: equally long lists are columns; else one array with its axes.

    Args:
        path: The file.
        options: How to read arrays.
        values: The members that the map names as values; without any, the file's single numeric one.

    Raises:
        MapError: There are several arrays and none is named, or the axes are not named.
        SourceError: Damaged, or holding Python objects.
    """
    names = members(path)
    listed = ", ".join(names) or "nothing"
    if values and not set(values) <= set(names):
        return [_members(path, names)]  # the map's own check then names the nearest
    if (len(values) == 1 and read_member(path, values[0]).ndim > 1) or len(names) == 1:
        name = values[0] if values else names[0]
        return [of_array(path, read_member(path, name), options, name)]
    arrays = {name: read_member(path, name) for name in names}
    if arrays and len({array.shape for array in arrays.values()}) == 1 and next(iter(arrays.values())).ndim == 1:
        return [_members(path, names)]
    numeric = [name for name, array in arrays.items() if array.dtype.kind in "iufb" and array.ndim]
    chosen = values or numeric
    if len(chosen) != 1:
        raise MapError(f"{path.name} is not read", f"it holds several arrays: {listed}", "name one with --map value=NAME")
    return [of_array(path, arrays[chosen[0]], options, chosen[0])]


def _members(path: Path, names: Sequence[str]) -> Table:
    """The members of an npz file as columns."""

    def load(wanted: Sequence[str]) -> Loaded:
        import pyarrow as pa

        arrays = {name: read_member(path, name) for name in wanted}
        columns = {name: pa.array(array.tolist() if array.dtype.kind in "US" else array) for name, array in arrays.items()}
        return Loaded(columns, len(next(iter(arrays.values()))) if arrays else 0)

    return Table(limited(path, names), load)


def of_array(path: Path, array: NDArray[Any], options: ReadOptions, value: str = "value") -> Table:
    """An array as a table: a column with the position along each named axis, and one with the values.

    Raises:
        MapError: The axes are not named, or not as many as there are, or the values are no real numbers.
    """
    if array.dtype.kind not in "iufb":
        raise MapError(
            f"{path.name} is not read", f"the array holds {array.dtype}, not real numbers", "save the real numbers only"
        )
    axes = options.axes or (("step",) if array.ndim == 1 else ())
    shape = " x ".join(map(str, array.shape))
    if len(axes) != array.ndim:
        why = f"its shape is {shape or 'a single value'}, and {len(axes)} axes are named"
        raise MapError(f"{path.name} is not read", why, "name every axis in order, for instance --axes seed,step")
    if len(set(axes)) != len(axes) or value in axes:
        raise MapError(
            f"{path.name} is not read", f"the axes {', '.join(axes)} and {value} share a name", "give each its own name"
        )
    every = options.step_every
    if every is not None and every < 1:
        raise MapError("--step-every is not usable", f"{every} steps between two entries", "give a whole number above 0")
    columns: dict[str, NDArray[Any]] = {}
    for number, axis in enumerate(axes):
        position = np.arange(array.shape[number], dtype=np.int64) * (every or 1 if axis == "step" else 1)
        view = position.reshape([-1 if axis_number == number else 1 for axis_number in range(array.ndim)])
        columns[axis] = np.broadcast_to(view, array.shape).reshape(-1)
    columns[value] = array.reshape(-1)
    notes = []
    if "step" in axes:
        last = (array.shape[axes.index("step")] - 1) * (every or 1)
        said = f"--step-every {every}" if every else "no --step-every was given: entries are counted"
        notes.append(f"steps are positions in an array, 0 to {last:,} ({said})")

    def load(wanted: Sequence[str]) -> Loaded:
        import pyarrow as pa

        return Loaded({name: pa.array(columns[name]) for name in wanted}, array.size)

    defaults = {axis: axis for axis in axes if axis in ("seed", "step")} | {"value": value}
    return Table(tuple(columns), load, defaults, notes=tuple(notes))


def open_parquet(path: Path) -> Table:
    """A Parquet file; fields of nested columns get dots.

    Raises:
        SourceError: Damaged, too large, or with too many columns.
        OSError: The file cannot be opened.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.stat().st_size > MAX_TABLE_BYTES:
        raise too_large(path, MAX_TABLE_BYTES)
    try:
        with pq.ParquetFile(path) as file:
            leaves = len(file.schema)
            lists: list[str] = []
            names = _leaf_names(file.schema_arrow, lists) if leaves <= MAX_COLUMNS else [str(number) for number in range(leaves)]
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise _damaged(path, error) from error
    notes = (f"columns that hold lists are not read: {', '.join(lists)}",) if lists else ()
    return Table(limited(path, names), lambda wanted: _load_parquet(path, wanted), notes=notes)


def _damaged(path: Path, error: Exception) -> SourceError:
    """The error for a Parquet file that Arrow cannot read."""
    first = (str(error) or type(error).__name__).splitlines()[0]
    return SourceError(f"{path.name} is damaged", first, "get the file again")


def _leaf_names(schema: pa.Schema, lists: list[str]) -> list[str]:
    """Every column, with the fields of nested ones by their dotted names; those that hold lists are noted instead."""
    import pyarrow as pa

    found: list[str] = []
    stack = [(field, field.name) for field in reversed(list(schema))]
    while stack:
        field, name = stack.pop()
        if pa.types.is_struct(field.type):
            stack += [(inner, f"{name}.{inner.name}") for inner in reversed(list(field.type))]
        else:
            (lists if pa.types.is_nested(field.type) else found).append(name)
    return found


def far_too_large(metadata: Any, size: int) -> str | None:  # noqa: ANN401 -- pyarrow ships no types
    """What a Parquet file claims to hold, where its bytes cannot honestly hold that much; None where they can.

    Its chunks of columns are not looked at one by one: a damaged one ends the process (seen with pyarrow 26).

    Args:
        metadata: The file's.
        size: Its bytes.
    """
    rows = metadata.num_rows
    claimed = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    if claimed <= UNPACKED_BYTES + UNPACKED_SHARE * size + UNPACKED_ROW * rows:
        return None
    return f"it claims {rows:,} rows and {claimed:,} bytes unpacked, more than such a file can hold"


def _load_parquet(path: Path, wanted: Sequence[str]) -> Loaded:
    """Loads columns of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        leaves = [item.path for item in pq.read_metadata(path).schema]
        with pq.ParquetFile(path, read_dictionary=leaves) as file:  # a text is held once, however often it is there
            rows = file.metadata.num_rows
            check_rows(path, rows)
            values = rows * max(1, len(wanted))
            if why := far_too_large(file.metadata, path.stat().st_size):
                raise SourceError(f"{path.name} is not read", why, "get the file again")
            if values > MAX_VALUES:
                why = f"{values:,} values would be read ({rows:,} rows), and {MAX_VALUES:,} are the most"
                raise SourceError(f"{path.name} is not read", why, "split the file, or map fewer columns")
            table = file.read(columns=list(wanted), use_threads=False) if wanted else None
            if table is not None:
                table.validate(full=True)  # texts that are none, too
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _damaged(path, error) from error
    if table is not None and table.num_rows != rows:
        raise SourceError(f"{path.name} is damaged", f"it holds {table.num_rows:,} rows and says {rows:,}", "get the file again")
    while table is not None and any(pa.types.is_struct(column.type) for column in table.schema):
        table = table.flatten()
    return Loaded({name: table[name] for name in wanted} if table is not None else {}, rows)
