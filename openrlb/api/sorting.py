"""Columns of ``list`` by name, and runs sorted by them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

from openrlb.api.run_scores import key_of, preferred, returns_of
from openrlb.errors import UsageError
from openrlb.store import RunRow, Store
from openrlb.store.variant import flat_config

CONFIG = "config."
SCORE = "score"

Item = TypeVar("Item")


def words_of(keys: Sequence[str]) -> list[str]:
    """Keys as people give them: repeated, or with commas between.

    >>> words_of(["algo, env", "-steps"])
    ['algo', 'env', '-steps']
    """
    return [word for key in keys for part in key.split(",") if (word := part.strip())]


def column(rows: Sequence[RunRow], name: str, store: Store) -> list[Any]:
    """One column of runs: a column of ``list --json``, ``score``, or a setting of the configuration (``config.KEY``).

    Args:
        rows: The runs.
        name: The column's name.
        store: Where the runs are, for their scores.

    Raises:
        UsageError: There is no such column; the nearest is named.
    """
    if name == SCORE:
        returns = returns_of(rows, store)
        found = [preferred(returns[key_of(row)]) for row in rows]
        return [None if logged is None else logged.final for logged in found]
    if rows and name in rows[0].columns:
        return [row.columns[name] for row in rows]
    if name.startswith(CONFIG):
        settings = [flat_config(row.record.config) for row in rows]
        known = sorted({f"{CONFIG}{key}" for one in settings for key in one})
        if not rows or name in known:
            return [one.get(name.removeprefix(CONFIG)) for one in settings]
        raise unknown(name, known)
    raise unknown(name, [*(rows[0].columns if rows else ()), SCORE, f"{CONFIG}KEY"])


def unknown(name: str, known: Sequence[str]) -> UsageError:
    """The error for a key that there is not."""
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    listed = f"{', '.join(known[:20])}{' ...' if len(known) > 20 else ''}" if known else "these runs have no configuration"
    return UsageError(f"there is no column {name!r}", listed, f"did you mean {close[0]}?" if close else "name one of these")


def in_order(rows: Sequence[RunRow], keys: Sequence[str], store: Store) -> list[RunRow]:
    """Runs sorted by columns.

    Args:
        rows: The runs.
        keys: Names of columns, the first one first; a minus sign before a name turns it round.
        store: Where the runs are.

    Raises:
        UsageError: There is no such column.
    """
    words = words_of(keys)
    columns = {word.lstrip("-"): column(rows, word.lstrip("-"), store) for word in words}
    order = sorted_by(range(len(rows)), words, lambda index, name: columns[name][index])
    return [rows[index] for index in order]


def sorted_by(items: Sequence[Item], keys: Sequence[str], value: Callable[[Item, str], Any]) -> list[Item]:
    """Items sorted by several keys, each in its own direction; what has no value comes last whichever way it goes.

    Args:
        items: The items; equal ones stay in their order.
        keys: The keys, the first one first; a minus sign turns a key round.
        value: An item's value of a key.

    >>> sorted_by([{"a": 2}, {"a": None}, {"a": 10}], ["-a"], lambda item, key: item[key])
    [{'a': 10}, {'a': 2}, {'a': None}]
    """
    order = list(items)
    for word in reversed(keys):
        name, descending = word.lstrip("-"), word.startswith("-")
        having = [item for item in order if _is_there(value(item, name))]
        lacking = [item for item in order if not _is_there(value(item, name))]
        order = sorted(having, key=lambda item: _rank(value(item, name)), reverse=descending) + lacking
    return order


def _is_there(value: object) -> bool:
    """Whether there is a value to sort by: NaN compares with nothing."""
    return value not in (None, "") and not (isinstance(value, float) and math.isnan(value))


def _rank(value: Any) -> tuple[int, float, str]:  # noqa: ANN401 - any cell
    """Numbers by size before texts by letter."""
    if isinstance(value, int | float):
        return 0, value, ""
    if isinstance(value, list | tuple):
        return 1, 0.0, ",".join(map(str, value)).casefold()
    return 1, 0.0, (str(sorted(value.items())) if isinstance(value, Mapping) else str(value)).casefold()
