"""Rows of one run at one step: is a column that the map leaves out what tells them apart?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from openrlb.errors import MapError
from openrlb.sources.mapping import Expression, Map
from openrlb.sources.protocol import MAX_ROWS
from openrlb.sources.table import Loaded, Table, codes
from openrlb.store.variant import is_logging_key

Codes = NDArray[np.int64]
MOST_VALUES = 200
"""A column with more distinct values than this tells rows apart, not runs."""

_INSIDE_A_RUN = frozenset(
    "episode episodes eval_episode rollout row index idx epoch iteration iter update time timestamp".split()
)

_IDENTITIES = frozenset("seed seeds run_id run_name uuid trial_id exp_name experiment_name name id group".split())
"""Columns that are no configuration, but name a run."""


def refuse_merged_runs(table: Table, fitted: Map, taken: Codes, run: Codes, label: Codes, steps: Codes) -> None:
    """Refuses a map that would merge runs which a column keeps apart (a learning rate, a trial's number).

    Args:
        table: The table.
        fitted: The map.
        taken: The rows that are read, shape ``(n,)``.
        run: Each taken row's run, shape ``(n,)``.
        label: Each taken row's metric, shape ``(n,)``.
        steps: Each taken row's step, shape ``(n,)``.

    Raises:
        MapError: Rows of one run share steps, and a column that was left out separates them.
    """
    place = (run, label, steps)
    if not len(taken) or distinct_rows(place) == len(taken):
        return
    left_out = [name for name in table.columns if name not in fitted.columns() and not _is_inside_a_run(name)]
    telling = []
    for name, loaded in _loaded(table, left_out, len(taken)):
        found, distinct = codes(loaded.columns[name], name, "config")
        mine = found[taken]
        if 1 < len(distinct) <= MOST_VALUES and _is_of_a_run(run, mine, steps) and _splits(place, mine):
            telling.append((name, mine))
    kept = _enough(place, telling)
    if kept:
        words = _words(fitted, kept)
        why = f"rows of one run stand at the same step, and {' and '.join(kept)} tells them apart"
        fix = f'read it with --map "{fitted},{words}" (or seed=, or id=, as the column means)'
        raise MapError("the map would merge different runs", why, fix)


def _is_inside_a_run(name: str) -> bool:
    """True for a column that counts within a run, or tells several evaluation episodes at one step apart.

    >>> [_is_inside_a_run(name) for name in ("eval_seed", "test_episode", "log_dir", "seed", "run_id", "lr")]
    [True, True, True, False, False, False]
    """
    plain = name.lower().replace("-", "_").replace(" ", "_")
    if plain in _IDENTITIES:
        return False
    return plain in _INSIDE_A_RUN or plain.endswith(("_seed", "episode")) or is_logging_key(name)


def _loaded(table: Table, names: Sequence[str], rows: int) -> Iterator[tuple[str, Loaded]]:
    """The columns by name, as many at a time as fit in memory."""
    at_once = max(1, MAX_ROWS // max(1, rows))
    for start in range(0, len(names), at_once):
        loaded = table.load(names[start : start + at_once])
        yield from ((name, loaded) for name in names[start : start + at_once])


def _words(fitted: Map, kept: Sequence[str]) -> str:
    """What to add to the map: names of runs are their seed or id, all else is configuration."""
    words: list[str] = []
    free = [name for name in ("seed", "id") if name not in fitted.fields]
    for name in kept:
        field = f"config.{name}"
        if is_logging_key(name):
            fitting = [one for one in free if (one == "seed") == (name.lower() in ("seed", "seeds"))]
            field = fitting[0] if fitting else "tag"
            free = [one for one in free if one != field]
        words.append(f"{field}={Expression(name)}")
    return ",".join(words)


def distinct_rows(keys: Sequence[Codes]) -> int:
    """How many different rows some columns of keys have; rows that stand in order, as logs do, are not sorted.

    >>> distinct_rows([np.array([0, 0, 1, 1]), np.array([5, 7, 5, 5])]), distinct_rows([np.array([2, 1, 2])])
    (3, 2)
    """
    size = len(keys[0])
    if size < 2:
        return size
    falls, same = np.zeros(size - 1, bool), np.ones(size - 1, bool)
    for key in keys:
        falls |= same & (key[1:] < key[:-1])
        same &= key[1:] == key[:-1]
    if falls.any():
        order = np.lexsort(tuple(reversed(keys)))
        same[:] = True
        for key in keys:
            sorted_key = key[order]
            same &= sorted_key[1:] == sorted_key[:-1]
    return size - int(same.sum())


def _is_of_a_run(run: Codes, value: Codes, steps: Codes) -> bool:
    """True for a column whose values each go on over several steps, as a setting does and a measurement does not."""
    return distinct_rows((run, value, steps)) >= 2 * distinct_rows((run, value))


def _splits(place: Sequence[Codes], value: Codes) -> bool:
    """True where a column separates at least some rows at one place."""
    return distinct_rows((*place, value)) > distinct_rows(place)


def _enough(place: Sequence[Codes], telling: Sequence[tuple[str, Codes]]) -> list[str]:
    """The fewest columns, in the table's order, that separate as much as all of them do."""
    kept: list[str] = []
    keys = place
    for name, value in telling:
        longer = (*keys, value)
        if distinct_rows(longer) > distinct_rows(keys):
            kept.append(name)
            keys = longer
    return kept
