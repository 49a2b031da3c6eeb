"""JSON documents and JSON lines as tables."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openrlb.errors import SourceError
from openrlb.sources.files import Unpacked
from openrlb.sources.protocol import MAX_DOCUMENT_BYTES
from openrlb.sources.table import Loaded, Table, limited

if TYPE_CHECKING:
    import pyarrow as pa

_MAX_DEPTH = 12
_FIX = "write a list of objects, one for each value"


def open_document(path: Path) -> list[Table]:
    """Every way to see a JSON file as a table, the most natural first.

    - a list of objects: one row each; nested keys get dots (``config.env.name``)
    - an object of equally long lists: the lists are columns
    - an object of objects: one row each, with its name in the column ``key``
    - any other object or nested list: the columns ``key``, ``key2`` ..., ``index`` ... and ``value``

    Raises:
        SourceError: Not JSON, cut short, too large or too deep.
        OSError: The file cannot be opened.
    """
    with Unpacked(path, MAX_DOCUMENT_BYTES) as raw:
        data = raw.read()
        damage = raw.damage
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        if b"\n" in data.strip() and data.lstrip()[:1] == b"{" and "Extra data" in str(error):
            return open_lines(path)
        why = damage or f"it is not well-formed JSON: {error}"
        raise SourceError(f"{path.name} is not read", why, "get the file again, or save it as JSON lines") from error
    if isinstance(document, list) and document and sum(isinstance(row, dict) for row in document) * 2 > len(document):
        return [_records(path, document)]
    forms = []
    if isinstance(document, dict) and document:
        items = list(document.values())
        if all(isinstance(item, list) for item in items) and len({len(item) for item in items}) == 1:
            forms.append(_of_columns(path, document))
        if all(isinstance(item, dict) for item in items):
            forms.append(_records(path, [{"key": key, **item} for key, item in document.items()]))
    if isinstance(document, list | dict):
        forms.append(_long(path, document))
    if not forms:
        raise SourceError(f"{path.name} is not read", "it holds a single value", _FIX)
    return forms


def open_lines(path: Path) -> list[Table]:
    """A JSON-lines file as a table; lines that are no object are counted and left out.

    Raises:
        SourceError: Too large, or no line of it can be read.
        OSError: The file cannot be opened.
    """
    rows: list[Any] = []
    bad = 0
    with Unpacked(path, MAX_DOCUMENT_BYTES) as raw:
        for line in io.BufferedReader(raw):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if isinstance(row, dict):
                rows.append(row)
            else:
                bad += 1
        damage = raw.damage
    if not rows:
        raise SourceError(f"{path.name} is not read", damage or "no line of it is a JSON object", _FIX)
    return [_records(path, rows, bad, damage)]


def _records(path: Path, rows: Sequence[Any], bad: int = 0, damage: str | None = None) -> Table:
    """Objects as rows."""
    flat = []
    for row in rows:
        if isinstance(row, dict):
            flat.append(dict(_flattened(path, row)))
        else:
            bad += 1
    names = limited(path, list(dict.fromkeys(name for row in flat for name in row)))

    def load(wanted: Sequence[str]) -> Loaded:
        columns = {name: _array([row.get(name) for row in flat]) for name in wanted}
        return Loaded(columns, len(flat), bad, damage)

    return Table(names, load)


def _flattened(path: Path, row: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """The keys of an object with dots between the levels."""
    if depth > _MAX_DEPTH:
        raise SourceError(f"{path.name} is not read", f"its objects are nested deeper than {_MAX_DEPTH}", _FIX)
    for key, value in row.items():
        if isinstance(value, dict):
            yield from _flattened(path, value, f"{prefix}{key}.", depth + 1)
        else:
            yield f"{prefix}{key}".strip(), value


def _of_columns(path: Path, document: Mapping[str, list[Any]]) -> Table:
    """An object of equally long lists."""
    names = limited(path, list(document))
    lists = dict(zip(names, document.values(), strict=True))
    rows = len(next(iter(lists.values())))
    return Table(names, lambda wanted: Loaded({name: _array(lists[name]) for name in wanted}, rows))


def _long(path: Path, document: object) -> Table:
    """Every single value in nested objects and lists, with the keys and positions that lead to it."""
    keys: list[list[str | None]] = []
    places: list[list[int | None]] = []
    values: list[Any] = []

    def note(into: list[list[Any]], trail: Sequence[Any]) -> None:
        while len(into) < len(trail):
            into.append([None] * len(values))
        for level, column in enumerate(into):
            column.append(trail[level] if level < len(trail) else None)

    stack: list[tuple[object, tuple[str, ...], tuple[int, ...]]] = [(document, (), ())]
    while stack:
        item, key, place = stack.pop()
        if len(key) + len(place) > _MAX_DEPTH:
            raise SourceError(f"{path.name} is not read", f"it is nested deeper than {_MAX_DEPTH}", _FIX)
        if isinstance(item, dict):
            stack += [(inner, (*key, name), place) for name, inner in reversed(item.items())]
        elif isinstance(item, list):
            stack += [(inner, key, (*place, number)) for number, inner in reversed(list(enumerate(item)))]
        else:
            note(keys, key)
            note(places, place)
            values.append(item)
    columns: dict[str, list[Any]] = {"key" if level == 0 else f"key{level + 1}": column for level, column in enumerate(keys)}
    columns |= {"index" if level == 0 else f"index{level + 1}": column for level, column in enumerate(places)}
    columns["value"] = values
    suggested = {"env": "key2", "algo": "key"} if "key2" in columns else {"env": "key"}
    suggested |= {"seed": "index"} if "index" in columns else {}

    def load(wanted: Sequence[str]) -> Loaded:
        return Loaded({name: _array(columns[name]) for name in wanted}, len(values))

    return Table(tuple(columns), load, suggested=suggested)


def _array(cells: Sequence[Any]) -> pa.Array:
    """Cells as an Arrow array; of mixed types, as text."""
    import pyarrow as pa

    try:
        return pa.array(cells)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        pass
    if all(cell is None or isinstance(cell, int | float) for cell in cells):
        return pa.array([None if cell is None else _float(cell) for cell in cells], pa.float64())
    texts = (None if cell is None else cell if isinstance(cell, str) else json.dumps(cell) for cell in cells)
    whole = [None if text is None else text.encode(errors="replace") for text in texts]  # JSON can say half a character
    return pa.array(whole, pa.large_binary()).cast(pa.large_string())


def _float(number: float) -> float:
    """A number as a float; integers beyond a float's range become infinite."""
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")
