"""The only code that writes results: a table on a terminal, TSV off it, and what ``--format`` or a suffix asks for.

No format ever cuts a value. NaN and infinities are ``null`` in JSON, which has no word for them.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from openrlb.cells import inert, markdown, printable
from openrlb.cli.options import Format
from openrlb.errors import StoreUnwritable, UsageError
from openrlb.tabular import shown_number

SUFFIXES = {".json": Format.json, ".csv": Format.csv, ".tsv": Format.tsv, ".md": Format.md, ".txt": Format.table}

FOLDED, GAP = 8, 2
"""Text is folded down to so many characters; so many lie between columns."""
WHOLE = ("run", "seed", "study")
"""Columns to copy from: never folded, no separators."""

Rows = Sequence[Mapping[str, Any]]


def chosen_format(as_json: bool, wanted: Format | None, output: Path | None) -> Format:
    """The format: the file's suffix, ``--json``, ``--format``, else a table on a terminal and TSV off it.

    Raises:
        UsageError: A suffix that means nothing here.
    """
    if output is not None:
        if output.suffix.lower() not in SUFFIXES:
            fix = f"use one of {', '.join(SUFFIXES)}"
            raise UsageError(f"{output.name} cannot be written", f"its suffix {output.suffix!r} names no format", fix)
        return SUFFIXES[output.suffix.lower()]
    if as_json:
        return Format.json
    return wanted or (Format.table if sys.stdout.isatty() else Format.tsv)


def emit_rows(rows: Rows, columns: Sequence[str], chosen: Format, output: Path | None = None, title: str = "") -> None:
    """Writes rows; JSON keeps every key, the other formats the named columns.

    Raises:
        StoreUnwritable: The file cannot be written.
    """
    if chosen is Format.json:
        emit_json([dict(row) for row in rows], output)
    elif chosen is Format.table and output is None:
        _table(rows, columns, title)
    else:
        separator = {Format.csv: ",", Format.md: "|"}.get(chosen, "\t")
        safe = _SAFE[Format.csv] if output and chosen is Format.tsv else _SAFE.get(chosen, str)  # bare TSV is for programs
        emit_text(_lines(rows, columns, chosen, separator, safe), output)


def emit_json(value: object, output: Path | None = None) -> None:
    """Writes a JSON value with two-space indents; equal values give equal bytes."""
    emit_text(json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False), output)


def emit_text(text: str, output: Path | None = None) -> None:
    """Writes text to standard output or, by rename, to a file.

    Raises:
        StoreUnwritable: The file cannot be written.
    """
    if output is None:
        typer.echo(text)
        return
    from openrlb.store.files import writing

    try:
        with writing(output) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    except StoreUnwritable as error:
        fix = "free some space, or name a file elsewhere with -o"
        raise StoreUnwritable(f"{output} cannot be written", error.why, fix) from error


def emit_lines(lines: Iterable[str], output: Path | None = None) -> None:
    """Writes lines, each one line of text that a terminal does not obey.

    Raises:
        StoreUnwritable: The file cannot be written.
    """
    emit_text("\n".join(map(printable, lines)), output)


def plain(value: Any) -> Any:  # noqa: ANN401 - any result
    """A value as JSON can say it: dates as text, numbers that are none as null.

    >>> plain({"a": float("nan"), "b": (1, 2)})
    {'a': None, 'b': [1, 2]}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if value is None or isinstance(value, str | int | bool):
        return value
    if isinstance(value, bytes):
        return value.hex()
    return plain(value.tolist()) if hasattr(value, "tolist") else str(value)  # numpy's arrays and numbers


def text(value: Any) -> str:  # noqa: ANN401 - any cell
    """A cell as text on one line: nothing for None, commas between list items, numbers with all their digits.

    >>> text(None), text(["a", "b"]), text(0.1)
    ('', 'a,b', '0.1')
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list | tuple):
        texts = all(isinstance(one, str) for one in value)
        return printable(",".join(value)) if texts else ",".join(map(text, value))
    if isinstance(value, Mapping):
        return printable(json.dumps(plain(value), ensure_ascii=False))
    return printable(str(value))


_SAFE: dict[Format, Callable[[str], str]] = {Format.csv: inert, Format.md: markdown}
"""How a text becomes one that a format's readers take for nothing else."""


def _lines(rows: Rows, columns: Sequence[str], chosen: Format, separator: str, safe: Callable[[str], str]) -> str:
    """Rows as TSV, CSV or a Markdown table."""
    cells = [list(map(safe, columns)), *([safe(text(row.get(name))) for name in columns] for row in rows)]
    if chosen is Format.csv:
        import csv
        import io

        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerows(cells)
        return buffer.getvalue().rstrip("\n")
    if chosen is Format.md:
        cells.insert(1, ["---"] * len(columns))
        return "\n".join(f"| {' | '.join(line)} |" for line in cells)
    return "\n".join(separator.join(line) for line in cells)


def _table(rows: Rows, columns: Sequence[str], title: str) -> None:
    """A table for eyes; long cells are folded onto further lines, never cut."""
    import os

    from rich.console import Console
    from rich.table import Table

    plain_text = bool(os.environ.get("NO_COLOR"))
    console = Console(color_system=None if plain_text else "auto", highlight=False, markup=False)
    cells = {name: [text(row.get(name)) if name in WHOLE else shown(row.get(name)) for row in rows] for name in columns}
    numeric = {name for name in columns if all(isinstance(row.get(name), int | float | None) for row in rows)}
    kept = _fitting({name: _least(name, cells[name], name in numeric) for name in columns}, console.width)
    if left := [name for name in columns if name not in kept]:
        typer.echo(f"note: too narrow for {', '.join(left)}: widen the terminal, or use --json", err=True)
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in kept:
        whole = name in WHOLE or name in numeric
        table.add_column(name, overflow="fold", justify="right" if name in numeric else "left", no_wrap=whole)
    for row in zip(*(cells[name] for name in kept), strict=True):
        table.add_row(*row)
    console.print(table)


def _least(name: str, cells: Sequence[str], numeric: bool) -> int:
    """The fewest characters that a column takes: numbers are never folded, text is down to its name or 8 characters."""
    longest = max(map(len, cells), default=0)
    return max(len(name), longest) if numeric or name in WHOLE else max(len(name), min(longest, FOLDED))


def _fitting(least: Mapping[str, int], width: int) -> list[str]:
    """The columns that there is room for: from the last on those with numbers that would be broken are left out.

    >>> _fitting({"label": 8, "value": 9, "std": 9}, 22), _fitting({"label": 8, "value": 9, "std": 9}, 40)
    (['label', 'value'], ['label', 'value', 'std'])
    """
    kept = list(least)
    while len(kept) > 2 and sum(least[name] for name in kept) + GAP * (len(kept) - 1) > width:
        kept.pop()
    return kept


def shown(value: Any) -> str:  # noqa: ANN401 - any cell
    """A cell for eyes: floats to five significant digits, whole numbers with separators.

    >>> shown(1234567), shown(3.14159265), shown(None)
    ('1,234,567', '3.1416', '')
    """
    return shown_number(value) if isinstance(value, int | float) else text(value)
