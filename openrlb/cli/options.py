"""Flags that several verbs share."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from openrlb.cli.destination import data_destination
from openrlb.errors import SelectionError
from openrlb.types import Selection


def completing(column: str) -> Callable[[str], list[str]]:
    """Shell completion from the names that the store holds in one column; nothing where there is no store."""

    def complete(incomplete: str) -> list[str]:
        from openrlb.errors import OpenrlbError
        from openrlb.store import Store

        try:
            names: list[str] = getattr(Store().known(), column)
        except OpenrlbError:
            return []
        return [name for name in names if name.lower().startswith(incomplete.lower())]

    return complete


class Format(StrEnum):
    """How rows are written."""

    table = "table"
    tsv = "tsv"
    csv = "csv"
    json = "json"
    md = "md"


class StoredRole(StrEnum):
    """What a stored run was trained for."""

    none = "none"
    test = "test"
    tuning = "tuning"
    confirm = "confirm"
    reproduction = "reproduction"


Env = Annotated[
    list[str] | None,
    typer.Option(
        "--env", autocompletion=completing("env"), help="Environment: Hopper (any version), Hopper-v4, or a glob. Repeatable."
    ),
]
Algo = Annotated[
    list[str] | None, typer.Option("--algo", autocompletion=completing("algo"), help="Algorithm, or a glob. Repeatable.")
]
Impl = Annotated[
    list[str] | None, typer.Option("--impl", autocompletion=completing("impl"), help="Implementation, or a glob. Repeatable.")
]
Seed = Annotated[list[str] | None, typer.Option("--seed", help="Seed, or a range such as 1-10. Repeatable.")]
Tag = Annotated[
    list[str] | None, typer.Option("--tag", autocompletion=completing("tag"), help="Tag; runs with any of them. Repeatable.")
]
From = Annotated[
    list[str] | None, typer.Option("--source", autocompletion=completing("source"), help="Source or project. Repeatable.")
]
Where = Annotated[str | None, typer.Option("--where", help='A SQL condition over the runs view, for instance "steps > 1e6".')]
Since = Annotated[
    str | None, typer.Option("--since", help="Runs created since then: a date (2026-01-31), or how long ago (12h, 2d, 3w).")
]
OrlbFilter = Annotated[
    list[str] | None,
    typer.Option("--orlb-filter", help="A filter string of rlops: '?we=..&wpn=..' or 'ppo?tag=..'. Repeatable."),
]
Roles = Annotated[
    list[StoredRole] | None,
    typer.Option("--role", help="Runs with this role only; all but reproductions by default. Repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON to standard output.")]
As = Annotated[
    Format | None, typer.Option("--format", envvar="OPENRLB_FORMAT", help="How to write rows; TSV off a terminal by default.")
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", callback=data_destination, help="Write to this file; its suffix chooses the format."),
]


def selection(
    env: list[str] | None = None,
    algo: list[str] | None = None,
    impl: list[str] | None = None,
    seed: list[str] | None = None,
    tag: list[str] | None = None,
    source: list[str] | None = None,
    where: str | None = None,
    since: str | None = None,
    role: Sequence[StrEnum] | None = None,
) -> Selection:
    """The selection that a verb's flags ask for.

    Raises:
        SelectionError: A seed that is neither a number nor a range.
    """
    return Selection(
        env=tuple(env or ()),
        algo=tuple(algo or ()),
        impl=tuple(impl or ()),
        seed=seeds(seed or ()),
        tag=tuple(tag or ()),
        source=tuple(source or ()),
        where=where,
        since=since,
        role=tuple(one.value for one in role or ()),
    )


def whole_number(text: str | int) -> int:
    """A whole number as people write steps: ``1000000``, ``1e6`` or ``1_000_000``.

    >>> whole_number("1e6"), whole_number("1_000")
    (1000000, 1000)

    Raises:
        SelectionError: Something else.
    """
    try:
        number = float(str(text).replace(",", ""))
        if number != int(number) or number < 1:
            raise ValueError(text)
    except (ValueError, OverflowError) as error:
        raise SelectionError(f"{text!r} is no number of steps", "it is not whole, or below 1", "write 1000000 or 1e6") from error
    return int(number)


def seeds(words: list[str] | tuple[str, ...]) -> tuple[int, ...]:
    """Seeds from words such as ``3`` and ``1-10``.

    >>> seeds(["3", "7-9"])
    (3, 7, 8, 9)

    Raises:
        SelectionError: Neither a number nor a range.
    """
    found: list[int] = []
    for word in words:
        match = re.fullmatch(r"([0-9]{1,19})(?:-([0-9]{1,19}))?", word.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 2**63)
        if last >= 2**63 or last - first not in range(100_000):
            raise SelectionError(f"--seed {word[:60]!r} was not understood", "it is no number and no range", "write 3 or 1-10")
        found.extend(range(first, last + 1))
    return tuple(found)
