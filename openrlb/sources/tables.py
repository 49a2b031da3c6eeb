"""Tables as a source: CSV, TSV, JSON, JSON lines (all also gzipped), Parquet, npy and npz."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from openrlb.errors import MapError, OpenrlbError, SourceError
from openrlb.sources.arrays import open_npy, open_npz, open_parquet
from openrlb.sources.delimited import header_looks_like_data, open_delimited
from openrlb.sources.documents import open_document, open_lines
from openrlb.sources.files import content
from openrlb.sources.grouping import runs_of
from openrlb.sources.guess import fit
from openrlb.sources.mapping import Map
from openrlb.sources.protocol import Guess, Reading, Record
from openrlb.sources.table import Table

TEXT_SUFFIXES = {"csv": "delimited", "tsv": "delimited", "json": "document", "jsonl": "lines", "ndjson": "lines"}
BINARY_SUFFIXES = {"parquet": "parquet", "pq": "parquet", "npy": "npy", "npz": "npz"}


class TableSource:
    """Any table that a map fits, typed or guessed."""

    name = "table"

    def recognises(self, path: Path) -> bool:
        """Whether a file is a table by its name's ending or by its first bytes."""
        return format_of(path) is not None

    def read(self, path: Path, reading: Reading) -> Iterator[Record]:
        """Reads one table; the map that was guessed for it is yielded before its first run."""
        in_path = path_fields(reading, path)
        tables = open_tables(path, reading)
        table, fitted = _choose(tables, reading.map, in_path)
        if fitted != reading.map:
            text = str(fitted)
            if text not in reading.guesses:
                reading.guesses.add(text)
                yield Guess(reading.location(path), text)
        yield from runs_of(table, fitted, in_path, path, reading)


def format_of(path: Path) -> str | None:
    """How a file is to be read as a table, or None where it is none.

    Raises:
        OSError: The file cannot be opened.
    """
    ending = path.name.lower().removesuffix(".gz").rpartition(".")[2] if "." in path.name else ""
    found = content(path)
    if found == "parquet" or found == "npy":
        return str(found)
    if found == "zip":
        return "npz" if ending == "npz" else None
    if ending in BINARY_SUFFIXES:
        return BINARY_SUFFIXES[ending]  # named as one and not one: opening it says what is wrong
    return TEXT_SUFFIXES.get(ending)


def open_tables(path: Path, reading: Reading, kind: str | None = None) -> list[Table]:
    """Every way to see a file as a table.

    Raises:
        SourceError: It cannot be read.
        MapError: The array's axes or members are not named.
    """
    kind = kind or format_of(path) or "delimited"
    found = content(path)
    if found == "empty":
        raise SourceError(f"{path.name} is not read", "it is empty", "get the file again")
    expected = {"parquet": "parquet", "npy": "npy", "npz": "zip"}.get(kind)
    if (expected and found != expected) or (not expected and found not in ("text", "gzip")):
        raise SourceError(f"{path.name} is not read", f"its content is not {kind if expected else 'text'}", "look at the file")
    match kind:
        case "parquet":
            return [open_parquet(path)]
        case "npy":
            return [open_npy(path, reading.options)]
        case "npz":
            return open_npz(path, reading.options, reading.map.values)
        case "document":
            return open_document(path)
        case "lines":
            return open_lines(path)
        case _:
            return [open_delimited(path)]


def path_fields(reading: Reading, path: Path) -> dict[str, str]:
    """What the map's patterns say about a path.

    Raises:
        MapError: There are patterns and none fits, or one fits in several ways.
    """
    if not reading.map.paths:
        return {}
    components = reading.components(path)
    for pattern in reading.map.paths:
        found = pattern.match(components)
        if found is not None:
            return {name: value for name, value in found.items() if name not in reading.map.fields}
    patterns = " or ".join(f"path:{pattern.text}" for pattern in reading.map.paths)
    why = f"the path is {'/'.join(components)}"
    raise MapError(
        f"{patterns} does not fit", why, "write a pattern for the last parts of the path, for instance path:{algo}/{env}_{seed}"
    )


def _choose(tables: list[Table], given: Map, in_path: dict[str, str]) -> tuple[Table, Map]:
    """The first way to see a file as a table that the map fits."""
    errors: list[MapError] = []
    for table in tables:
        try:
            return table, fit(given, table, in_path)
        except MapError as error:
            errors.append(error)
    if header_looks_like_data(tables[0].columns):
        why = f"its first line holds values, not names: {', '.join(tables[0].columns[:8])}"
        raise MapError("the columns have no names", why, "write the columns' names into the first line")
    if len(tables) > 1 and given.columns():
        other = "; or ".join(", ".join(table.columns[:8]) for table in tables[1:])
        raise MapError(errors[0].what, f"{errors[0].why}; or, one row for each value: {other}", errors[0].fix)
    raise errors[-1]


def guessed_map(path: Path) -> str | None:
    """The guess for a table, as a ``--map`` to paste; None where nothing can be guessed.

    Args:
        path: A table file.
    """
    from openrlb.sources.protocol import ReadOptions, start

    try:
        reading = start(path, ReadOptions(), None)
        if reading.named is None or format_of(reading.named) is None:
            return None
        return str(_choose(open_tables(reading.named, reading), Map(), {})[1])
    except (OpenrlbError, OSError):
        return None
