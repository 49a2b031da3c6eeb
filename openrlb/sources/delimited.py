"""CSV and TSV files, plain or gzipped; of a damaged one, the good rows."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from openrlb.errors import SourceError
from openrlb.sources.files import Unpacked, check_rows
from openrlb.sources.protocol import MAX_TABLE_BYTES
from openrlb.sources.table import MISSING, Loaded, Table, limited

if TYPE_CHECKING:
    import pyarrow as pa
    from _typeshed import WriteableBuffer

_MAX_HEADER_BYTES = 4 * 1024**2
_FIX = "look at the file's first lines"


def open_delimited(path: Path) -> Table:
    """Reads the header of a CSV or TSV file.

    Raises:
        SourceError: No text, no header, or too many columns.
        OSError: The file cannot be opened.
    """
    line, encoding = _first_line(path)
    separator = _separator(path, line)
    try:
        header = next(csv.reader([line], delimiter=separator), [])
    except csv.Error as error:
        raise SourceError(f"{path.name} is not read", f"its header cannot be read: {error}", _FIX) from error
    if not header:
        raise SourceError(f"{path.name} is not read", "its first line is empty", _FIX)
    columns = limited(path, header)
    return Table(columns, lambda wanted: _load(path, columns, separator, encoding, wanted))


def header_looks_like_data(columns: Sequence[str]) -> bool:
    """Whether a header holds numbers where names should stand.

    >>> header_looks_like_data(["0", "12.5", "ppo"]), header_looks_like_data(["step", "0", "1"])
    (True, False)
    """

    def number(text: str) -> bool:
        try:
            float(text)
        except ValueError:
            return False
        return True

    return bool(columns) and sum(map(number, columns)) * 2 > len(columns) and number(columns[0])


def _first_line(path: Path) -> tuple[str, str]:
    """The header line and the file's encoding."""
    with io.BufferedReader(Unpacked(path, MAX_TABLE_BYTES)) as stream:
        line = stream.readline(_MAX_HEADER_BYTES + 1)
    if len(line) > _MAX_HEADER_BYTES:
        why = "its first line is longer than 4 MiB, so it has too many columns for a log"
        raise SourceError(f"{path.name} is not read", why, "write one row for each value")
    if b"\0" in line or not line.strip():
        why = "it is empty" if not line.strip() else "it is not text"
        raise SourceError(f"{path.name} is not read", why, _FIX)
    try:
        return line.decode("utf-8-sig").rstrip("\r\n"), "utf8"
    except UnicodeDecodeError:
        return line.decode("latin-1").rstrip("\r\n"), "latin1"


def _separator(path: Path, line: str) -> str:
    """The character between two columns: what the name says, else the most frequent in the header."""
    if ".tsv" in path.name.lower():
        return "\t"
    counts = {mark: line.count(mark) for mark in (",", "\t", ";")}
    return max(counts, key=lambda mark: counts[mark])


class _Lines(Unpacked):
    """A file's bytes, as many lines of them as a table may have rows."""

    _lines = 0

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fills the buffer.

        Raises:
            SourceError: More bytes than the limit, or more lines than a table has rows, came out.
        """
        count = super().readinto(buffer)
        self._lines += bytes(memoryview(buffer).cast("B")[:count]).count(b"\n")
        check_rows(self.path, self._lines)
        return count


class _Text(_Lines):
    """A file's bytes; where one is no UTF-8 they are refused, whichever columns are wanted: each load has the same rows."""

    def __init__(self, path: Path, limit: int, encoding: str) -> None:
        super().__init__(path, limit)
        self._decoder = codecs.getincrementaldecoder(encoding)()

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fills the buffer.

        Raises:
            UnicodeDecodeError: It is no text of the encoding.
            SourceError: More than :class:`_Lines` lets through.
        """
        count = super().readinto(buffer)
        self._decoder.decode(memoryview(buffer).cast("B")[:count], final=not count)
        return count


def _load(path: Path, columns: Sequence[str], separator: str, encoding: str, wanted: Sequence[str]) -> Loaded:
    """Loads columns as text; every cell keeps what was written."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    try:
        with _Text(path, MAX_TABLE_BYTES, encoding) as stream:
            table = arrow_csv.read_csv(
                stream,
                read_options=arrow_csv.ReadOptions(column_names=list(columns), skip_rows=1, encoding=encoding, use_threads=False),
                parse_options=arrow_csv.ParseOptions(delimiter=separator),
                convert_options=arrow_csv.ConvertOptions(
                    column_types=dict.fromkeys(columns, pa.string()),
                    include_columns=list(wanted),
                    null_values=list(MISSING),
                    strings_can_be_null=True,
                ),
            )
            if stream.damage is None:
                return Loaded({name: table[name] for name in wanted}, table.num_rows)
    except (pa.ArrowInvalid, UnicodeDecodeError):
        pass
    return _load_by_rows(path, columns, separator, encoding, wanted)


def _load_by_rows(path: Path, columns: Sequence[str], separator: str, encoding: str, wanted: Sequence[str]) -> Loaded:
    """Reads a file that Arrow refuses (rows of unlike length, bytes that are no text, a cut archive), row by row."""
    import pyarrow as pa

    places = [columns.index(name) for name in wanted]
    cells: list[list[str | None]] = [[] for _ in wanted]
    bad = 0
    with _Lines(path, MAX_TABLE_BYTES) as raw, io.TextIOWrapper(io.BufferedReader(raw), encoding, errors="replace") as stream:
        next(stream, None)
        for line in stream:
            if not line.strip():
                continue
            try:
                row = next(csv.reader([line], delimiter=separator, strict=True), [])
            except csv.Error:
                row = []
            cut = raw.damage is not None and not line.endswith("\n")
            if cut or len(row) != len(columns) or "\0" in line or "�" in line:
                bad += 1
                continue
            for column, place in zip(cells, places, strict=True):
                column.append(None if row[place].strip() in MISSING else row[place])
        damage = raw.damage
    rows = len(cells[0]) if cells else 0
    arrays: dict[str, pa.Array] = {name: pa.array(column, pa.large_string()) for name, column in zip(wanted, cells, strict=True)}
    return Loaded(arrays, rows, bad, damage)
