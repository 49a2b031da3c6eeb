"""Arrow arrays over memory that is there already, and numpy over theirs.

``pa.array``, ``pa.scalar``, ``Table.from_pylist`` and ``to_numpy`` look whether they meet pandas, and import it for that: a
third of a second and 50 MB, more than a fold itself takes. Arrays made of buffers do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray


def numbers(kind: pa.DataType, values: NDArray[Any] | Iterable[Any], missing: NDArray[Any] | None = None) -> pa.Array:
    """An Arrow array of whole or real numbers, or of truth values.

    Args:
        kind: Its type.
        values: The numbers, shape ``(n,)``; numpy's memory is used where it is of that type. In a list None is a gap.
        missing: Where the gaps are, shape ``(n,)``, bool; None for no gap.

    Raises:
        OverflowError: A whole number that the type cannot hold.

    >>> import pyarrow as pa
    >>> numbers(pa.int64(), [1, None]).to_pylist(), numbers(pa.bool_(), [True, False]).to_pylist()
    ([1, None], [True, False])
    """
    import numpy as np
    import pyarrow as pa

    if not isinstance(values, np.ndarray):
        listed = list(values)
        if None in listed:
            missing = np.array([value is None for value in listed])
            listed = [0 if value is None else value for value in listed]
        values = np.array(listed, _numpy_type(kind))
    size = len(values)
    valid = None if missing is None else pa.py_buffer(np.packbits(~missing, bitorder="little"))
    if pa.types.is_boolean(kind):
        return pa.Array.from_buffers(kind, size, [valid, pa.py_buffer(np.packbits(values, bitorder="little"))])
    return pa.Array.from_buffers(kind, size, [valid, pa.py_buffer(np.ascontiguousarray(values, _numpy_type(kind)))])


def texts(values: Iterable[str | None]) -> pa.Array:
    """An Arrow array of texts; None is a gap.

    >>> texts(["a", None, "", "ü"]).to_pylist()
    ['a', None, '', 'ü']
    """
    import numpy as np
    import pyarrow as pa

    parts = [None if value is None else value.encode() for value in values]
    offsets = _offsets([len(part or b"") for part in parts], np.int64)
    missing = np.array([part is None for part in parts], bool)
    valid = pa.py_buffer(np.packbits(~missing, bitorder="little")) if missing.any() else None
    data = pa.py_buffer(b"".join(part for part in parts if part))
    return pa.Array.from_buffers(pa.large_string(), len(parts), [valid, pa.py_buffer(offsets), data])


def text_lists(values: Sequence[Sequence[str]]) -> pa.Array:
    """An Arrow array of lists of texts.

    >>> text_lists([["a", "b"], [], ["c"]]).to_pylist()
    [['a', 'b'], [], ['c']]
    """
    import numpy as np
    import pyarrow as pa

    offsets = _offsets([len(value) for value in values], np.int32)
    inner = texts(text for value in values for text in value)
    kind = pa.list_(pa.large_string())
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(offsets)], children=[inner])


def to_numpy(column: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    """A column of numbers without gaps as numpy, without a copy where it is in one piece.

    >>> import pyarrow as pa
    >>> to_numpy(numbers(pa.int32(), [1, 2])).tolist()
    [1, 2]
    """
    import numpy as np
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        if not column.num_chunks:
            return np.zeros(0, _numpy_type(column.type))
        column = column.combine_chunks()
    return np.from_dlpack(column)


def distinct(ids: pa.Array | pa.ChunkedArray) -> set[int]:
    """The different ids of a column in which equal ones come in long stretches."""
    found = to_numpy(ids)
    return set(found[:1].tolist()) | set(found[1:][found[1:] != found[:-1]].tolist())


def filled(column: pa.Array | pa.ChunkedArray) -> tuple[NDArray[Any], NDArray[Any]]:
    """A column of whole or real numbers as numpy, 0 in its gaps, and where it has no gap.

    >>> import pyarrow as pa
    >>> [part.tolist() for part in filled(numbers(pa.int64(), [1, None, 3]))]
    [[1, 0, 3], [True, False, True]]
    """
    import numpy as np
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else numbers(column.type, [])
    bits, data = column.buffers()
    bare = to_numpy(pa.Array.from_buffers(column.type, len(column), [None, data], offset=column.offset))
    if bits is None:
        return bare, np.ones(len(column), bool)
    end = column.offset + len(column)
    known = np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little", count=end)[column.offset :].astype(bool)
    return np.where(known, bare, 0), known


def chosen(table: pa.Table, rows: NDArray[Any]) -> pa.Table:
    """Some rows of a table of numbers; Arrow's own ``take`` and ``filter`` import a module of 8 MB.

    Args:
        table: Columns of whole or real numbers.
        rows: Places of rows, or for each row whether it is one of them.

    >>> import numpy as np
    >>> import pyarrow as pa
    >>> table = pa.Table.from_arrays([numbers(pa.int64(), [7, None, 9])], names=["t"])
    >>> chosen(table, np.array([2, 1]))["t"].to_pylist(), chosen(table, np.array([True, False, False]))["t"].to_pylist()
    ([9, None], [7])
    """
    import pyarrow as pa

    columns = []
    for column in table.columns:
        values, known = filled(column)
        columns.append(numbers(column.type, values[rows], None if known.all() else ~known[rows]))
    return pa.Table.from_arrays(columns, schema=table.schema)


def few_heaps() -> None:
    """Has glibc keep two heaps for all threads that begin from now on, not one for each: what one frees another one takes."""
    import ctypes
    from contextlib import suppress

    with suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).mallopt(-8, 2)  # M_ARENA_MAX


def release_memory() -> None:
    """Gives memory that was freed back to the system: C's allocator keeps what each thread freed, as Arrow's own does."""
    import pyarrow as pa

    pa.system_memory_pool().release_unused()
    pa.default_memory_pool().release_unused()


def _offsets(sizes: list[int], kind: Any) -> NDArray[Any]:  # noqa: ANN401 - a numpy type
    """Where each of several parts begins, and where the last one ends."""
    import numpy as np

    return np.concatenate([np.zeros(1, kind), np.cumsum(sizes, dtype=kind)])


def _numpy_type(kind: pa.DataType) -> str:
    """The numpy type of the same name."""
    return {"bool": "bool", "double": "float64"}.get(str(kind), str(kind))
