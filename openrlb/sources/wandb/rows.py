"""History rows as columns: what a number is, and which rows have one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STEP, RUNTIME, TIMESTAMP = "_step", "_runtime", "_timestamp"
INTERNAL = (STEP, RUNTIME, TIMESTAMP)
WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf, "nan": math.nan, "inf": math.inf, "-inf": -math.inf}
"""How W&B writes numbers that JSON cannot say."""
LARGEST_STEP = 2**62
LARGEST = 10**300
"""JSON's whole numbers have no end; those beyond a float's become infinite."""


@dataclass(slots=True)
class Part:
    """Some rows of a history, by column.

    Attributes:
        steps: ``_step`` of each row, shape ``(rows,)``, int64.
        columns: For each key the positions of the rows that hold a number, and the numbers, both of shape ``(n,)``.
        unplaced: Rows that were left out because their ``_step`` is none.
        texts: For each key how many values are no numbers and were left out.
    """

    steps: NDArray[np.int64]
    columns: dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]] = field(default_factory=dict)
    unplaced: int = 0
    texts: dict[str, int] = field(default_factory=dict)


def collect(rows: Iterable[Mapping[str, Any]], wants: Callable[[str], bool]) -> Part:
    """Rows as columns; each column keeps only the rows that hold a number.

    A number is one that JSON can say, true or false, or one of the words that W&B writes for what JSON cannot. Rows without
    a usable ``_step``, and values that are no numbers, are left out and counted.

    >>> rows = [{"_step": 0, "r": "NaN"}, {"_step": 2, "loss": 1}, {"_step": 5, "r": 3.5, "x": {"y": 2}}]
    >>> part = collect(rows, lambda key: True)
    >>> part.steps.tolist(), sorted(part.columns), part.columns["r"][0].tolist(), part.columns["r"][1].tolist()
    ([0, 2, 5], ['loss', 'r', 'x.y'], [0, 2], [nan, 3.5])
    >>> collect([{"_step": 2**70, "r": 1}, {"r": 2}, {"_step": 1, "r": "high"}], lambda key: True)
    Part(steps=array([1]), columns={}, unplaced=2, texts={'r': 1})
    """
    import numpy as np

    every = [dict(_pairs(row)) if isinstance(row, dict) and dict in map(type, row.values()) else row for row in rows]
    table: list[Mapping[str, Any]] = [row for row in every if isinstance(row, dict) and _is_step(row.get(STEP))]
    part = Part(np.array([int(row[STEP]) for row in table], np.int64), unplaced=len(every) - len(table))
    for key in sorted(set().union(*table) - {STEP}):
        if key not in INTERNAL and not wants(key):
            continue
        held = [position for position, row in enumerate(table) if key in row]
        found = [table[position][key] for position in held]
        if not set(map(type, found)) <= {float, int} or max(found) > LARGEST or min(found) < -LARGEST:
            numbers = [
                (position, number) for position, value in zip(held, found, strict=True) if (number := _number(value)) is not None
            ]
            texts = sum(value is not None for value in found) - len(numbers)
            part.texts |= {key: texts} if texts else {}
            held, found = [position for position, _ in numbers], [number for _, number in numbers]
        if held:
            part.columns[key] = (np.array(held, np.int64), np.array(found, np.float64))
    return part


def _is_step(value: object) -> bool:
    """Whether a logged ``_step`` is a place in the history."""
    return isinstance(value, int | float) and 0 <= value < LARGEST_STEP


def _pairs(row: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """A row's keys and values; nested mappings become dotted keys, media and histograms (``_type``) stay out."""
    for key, value in row.items():
        if type(value) is dict:
            if depth < 5 and "_type" not in value:
                yield from _pairs(value, f"{prefix}{key}.", depth + 1)
        else:
            yield prefix + key, value


def _number(value: object) -> float | None:
    """A logged value as a number, or None where it is none."""
    if isinstance(value, int | float):  # true and false too
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    return WORDS.get(value) if isinstance(value, str) else None
