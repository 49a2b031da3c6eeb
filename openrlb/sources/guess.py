"""Fitting a map to a table: what the user left out is guessed from the usual names, and what is absent is named."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from dataclasses import replace

from openrlb.errors import MapError
from openrlb.sources.mapping import Expression, Map
from openrlb.sources.metrics import KNOWN, USUAL_COLUMNS
from openrlb.sources.pattern import PathPattern
from openrlb.sources.table import Table
from openrlb.types import EPISODIC_RETURN

_SHOWN = 30


def fit(given: Map, table: Table, found_in_path: Collection[str]) -> Map:
    """Completes a map for one table.

    Args:
        given: What the user typed.
        table: The table.
        found_in_path: The fields that the file's path gives.

    Returns:
        A map that names a value, an algorithm and an environment (the latter two may come from the path).

    Raises:
        MapError: A column that the map names is absent, or something needed can neither be found nor guessed.

    >>> table = Table(("Algorithm", "env_id", "seed", "return"), load=lambda names: None)
    >>> str(fit(Map(), table, ()))
    'algo=Algorithm,env=env_id,seed=seed,value=return'
    """
    for column in given.columns():
        if column not in table.columns:
            raise absent(column, table.columns)
    fields, values = dict(given.fields), given.values
    taken = {source.text for source in fields.values() if not source.constant} | set(values)
    for name in ("algo", "impl", "env", "seed", "step", "time"):
        if name not in fields and name not in found_in_path:
            guessed = table.defaults.get(name) or usual(name, table.columns, taken)
            if guessed:
                fields[name] = Expression(guessed)
                taken.add(guessed)
    if not values:
        guessed = table.defaults.get("value") or usual("value", table.columns, taken)
        values = (guessed,) if guessed else ()
    fitted = replace(given, fields=fields, values=values)
    missing = [name for name in ("algo", "env") if name not in fields and name not in found_in_path]
    missing += [] if values else ["value"]
    if missing:
        raise _not_guessable(fitted, missing, table, bool(given.columns() or given.fields or given.paths))
    return fitted


def usual(field: str, columns: Sequence[str], taken: Collection[str] = ()) -> str | None:
    """The column that usually holds a field, or None.

    >>> usual("env", ["Game", "score"]), usual("value", ["charts/episodic_return"]), usual("seed", ["score"])
    ('Game', 'charts/episodic_return', None)
    """
    free = [column for column in columns if column not in taken]
    by_name = {column.lower(): column for column in reversed(free)}
    for name in USUAL_COLUMNS.get(field, ()):
        if name in by_name:
            return by_name[name]
    if field == "value":
        return next((column for column in free if KNOWN.get(column, (None, None))[1] == EPISODIC_RETURN), None)
    return None


def absent(column: str, columns: Sequence[str]) -> MapError:
    """The error for a column that is not there, with the nearest names."""
    near = difflib.get_close_matches(column, columns, n=3, cutoff=0.5)
    near += [name for name in columns if name.lower() == column.lower() and name not in near]
    hint = f"did you mean {' or '.join(near)}?" if near else "name one of them"
    fix = f"{hint} (for the same text in every row, quote it: \"{column}='...'\" or field='{column}')"
    return MapError(f"there is no column {column!r}", f"the columns are {shown(columns)}", fix)


def shown(columns: Sequence[str]) -> str:
    """Column names for a message."""
    rest = len(columns) - _SHOWN
    return ", ".join(columns[:_SHOWN]) + (f" and {rest:,} more" if rest > 0 else "")


def _not_guessable(fitted: Map, missing: Sequence[str], table: Table, typed: bool) -> MapError:
    """The error for a table that lacks something, with a map to start from."""
    likely = {name: column for name, column in table.suggested.items() if column in table.columns}
    fields, paths = dict(fitted.fields), fitted.paths
    for name in missing:
        if name in likely:
            fields[name] = Expression(likely[name])
        elif name == "env" and table.defaults:  # an array: nothing but its path can tell
            paths = (*paths, PathPattern.parse("{env}_{seed}"))
        elif name != "value":
            fields[name] = Expression("NAME" if name == "algo" else "COLUMN", constant=name == "algo")
    if "seed" in likely and "seed" not in fields:
        fields["seed"] = Expression(likely["seed"])
    example = replace(fitted, fields=fields, paths=paths, values=fitted.values or ("COLUMN",))
    guess = f"the columns for {' and '.join(missing)} cannot be guessed"
    what = f"the map gives no {' and no '.join(missing)}" if typed else guess
    return MapError(what, f"the columns are {shown(table.columns)}", f'say it with --map "{example}"')
