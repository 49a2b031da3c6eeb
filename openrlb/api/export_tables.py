"""Tables as files: one row after the other, in every format that people and programs read."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from openrlb.cells import inert, markdown
from openrlb.errors import NothingMatched, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

Rows: TypeAlias = Iterable[Sequence[Mapping[str, Any]]]
"""Rows, a handful at a time."""

SUFFIXES = (".parquet", ".csv", ".tsv", ".json", ".md", ".tex", ".bib")
ROWS_AT_ONCE = 131_072


def check_suffix(path: Path, what: str) -> None:
    """Makes sure that a file's suffix names a format for what is written.

    Raises:
        UsageError: It does not.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(
            f"{path.name} cannot be written", f"its suffix {suffix!r} names no format", f"use one of {', '.join(SUFFIXES)}"
        )
    if suffix in (".tex", ".bib") and what != "results":
        why = f"{suffix} is for results: a paper prints no {what}"
        raise UsageError(f"{path.name} cannot be written", why, f"leave --{what} out, or use .parquet, .csv or .json")


def write_text(path: Path, text: str) -> None:
    """Writes a text, whole or not at all.

    Raises:
        StoreUnwritable: It cannot be written.
    """
    from openrlb.store.files import writing

    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")


def write_rows(path: Path, columns: Mapping[str, str] | Sequence[str], rows: Rows) -> int:
    """Writes rows, whole or not at all; the file's suffix chooses the format.

    Args:
        path: The file.
        columns: The columns in order, with what each holds: ``text``, ``texts``, ``whole``, ``real`` or ``json``. Names alone
            where the rows are few: then they tell it themselves.
        rows: The rows.

    Returns:
        How many rows there were.

    Raises:
        StoreUnwritable: It cannot be written.
    """
    from openrlb.store.files import writing

    if not isinstance(columns, Mapping):
        rows = [list(some) for some in rows]
        columns = {name: _kind([row.get(name) for some in rows for row in some]) for name in columns}
    count = [0]
    with writing(path) as temporary:
        if path.suffix.lower() == ".parquet":
            _parquet(temporary, columns, _counted(rows, count))
        else:
            with temporary.open("w", encoding="utf-8", newline="", errors="replace") as handle:
                _FORMATS[path.suffix.lower()](handle, columns, _counted(rows, count))
    return count[0]


def write_tables(path: Path, tables: Iterable[pa.Table]) -> int:
    """Writes Arrow tables of equal columns as one table, whole or not at all; the file's suffix chooses the format.

    Returns:
        How many rows there were.

    Raises:
        NothingMatched: There are none.
        StoreUnwritable: It cannot be written.
    """
    import pyarrow as pa

    from openrlb.store.files import writing

    suffix = path.suffix.lower()
    waiting = _large(tables)
    first = next(waiting, None)
    if first is None:
        raise NothingMatched(
            "nothing is written", "the selected runs logged no value", "openrlb show RUN names what a run logged"
        )
    every = chain([first], waiting)
    if suffix not in (".parquet", ".csv", ".tsv"):
        kinds = ["text" if pa.types.is_large_string(one.type) else "real" for one in first.schema]
        return write_rows(path, dict(zip(first.column_names, kinds, strict=True)), (one.to_pylist() for one in every))
    count = 0
    with writing(path) as temporary, _writer(temporary, suffix, first.schema) as write:
        for one in every:
            write(one)
            count += one.num_rows
    return count


@contextmanager
def _writer(path: Path, suffix: str, schema: pa.Schema) -> Iterator[Callable[[pa.Table], object]]:
    """What writes tables one after the other: as Parquet, or as CSV or TSV with one header."""
    if suffix == ".parquet":
        import pyarrow.parquet as pq

        with pq.ParquetWriter(path, schema, compression="zstd", version="2.6") as writer:
            yield writer.write_table
        return
    import polars as pl

    with path.open("wb") as handle:

        def write(table: pa.Table) -> None:
            rows = pl.DataFrame(_inert_table(table))
            rows.write_csv(handle, include_header=handle.tell() == 0, separator="," if suffix == ".csv" else "\t")

        yield write


def _large(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of a good size, texts as texts."""
    import pyarrow as pa

    waiting: list[pa.Table] = []
    for table in tables:
        plain = [(one.name, one.type.value_type if pa.types.is_dictionary(one.type) else one.type) for one in table.schema]
        waiting.append(table.cast(pa.schema(plain)))
        if sum(one.num_rows for one in waiting) >= ROWS_AT_ONCE:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _inert_table(table: pa.Table) -> pa.Table:
    """A table in which no text is a formula."""
    import pyarrow as pa

    from openrlb.store.arrow import texts

    for place, name in enumerate(table.column_names):
        if pa.types.is_large_string(table.schema.field(name).type):
            coded = table[name].dictionary_encode().combine_chunks()
            coded = coded.chunk(0) if isinstance(coded, pa.ChunkedArray) else coded
            words = texts(inert(word) for word in coded.dictionary.to_pylist())
            table = table.set_column(place, name, pa.DictionaryArray.from_arrays(coded.indices, words).cast(pa.large_string()))
    return table


def _counted(rows: Rows, count: list[int]) -> Iterator[Sequence[Mapping[str, Any]]]:
    """The same rows, counted."""
    for some in rows:
        count[0] += len(some)
        yield some


def _kind(values: Sequence[Any]) -> str:
    """What a column holds."""
    there = [value for value in values if value is not None]
    if there and all(isinstance(value, int) and not isinstance(value, bool) for value in there):
        return "whole"
    return "real" if there and all(isinstance(value, int | float) for value in there) else "text"


def _parquet(path: Path, columns: Mapping[str, str], rows: Rows) -> None:
    """Apache Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"text": pa.string(), "json": pa.string(), "texts": pa.list_(pa.string()), "whole": pa.int64(), "real": pa.float64()}
    schema = pa.schema([(name, kinds[kind]) for name, kind in columns.items()])
    with pq.ParquetWriter(path, schema, compression="zstd", version="2.6") as writer:
        waiting: list[Mapping[str, Any]] = []
        for some in rows:
            waiting += some
            if len(waiting) >= ROWS_AT_ONCE:
                writer.write_table(_arrow(schema, columns, waiting))
                waiting = []
        writer.write_table(_arrow(schema, columns, waiting))


def _arrow(schema: Any, columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> Any:  # noqa: ANN401 - pyarrow ships no types
    """Rows as an Arrow table."""
    import pyarrow as pa

    listed = {name: [_typed(row.get(name), kind) for row in rows] for name, kind in columns.items()}
    return pa.table([pa.array(values, schema.field(name).type) for name, values in listed.items()], schema=schema)


def _typed(value: Any, kind: str) -> Any:  # noqa: ANN401 - any cell
    """A cell as its column's type."""
    if value is None:
        return None
    if kind == "json":
        return json.dumps(value, sort_keys=True)
    return list(value) if kind == "texts" else str(value) if kind == "text" else value


def _separated(separator: str) -> Any:  # noqa: ANN401 - a function
    """The writer of CSV or TSV."""
    import csv

    def write(handle: IO[str], columns: Mapping[str, str], rows: Rows) -> None:
        writer = csv.writer(handle, delimiter=separator, lineterminator="\n")
        writer.writerow([inert(name) for name in columns])
        for some in rows:
            writer.writerows([_cell(row.get(name)) for name in columns] for row in some)

    return write


def _cell(value: Any) -> Any:  # noqa: ANN401 - any cell
    """A cell of CSV: numbers with all their digits, texts that are no formula."""
    if value is None or isinstance(value, int | float):
        return "" if value is None else value
    return inert(_words(value))


def _words(value: Any) -> str:  # noqa: ANN401 - any cell
    """A cell as text."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return json.dumps(value, sort_keys=True)
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _json(handle: IO[str], columns: Mapping[str, str], rows: Rows) -> None:
    """A JSON array with an object on each line; NaN and infinities are null, for which JSON has no word."""
    separator = "[\n"
    for some in rows:
        for row in some:
            handle.write(
                separator + json.dumps({name: _finite(row.get(name)) for name in columns}, ensure_ascii=False, default=str)
            )
            separator = ",\n"
    handle.write("[]\n" if separator == "[\n" else "\n]\n")


def _finite(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """A value that JSON has a word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def _markdown(handle: IO[str], columns: Mapping[str, str], rows: Rows) -> None:
    """A Markdown table."""
    handle.write(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n")
    for some in rows:
        for row in some:
            cells = (_words(row.get(name)) for name in columns)
            handle.write(f"| {' | '.join(markdown(cell) for cell in cells)} |\n")


_FORMATS: dict[str, Any] = {".csv": _separated(","), ".tsv": _separated("\t"), ".json": _json, ".md": _markdown}
