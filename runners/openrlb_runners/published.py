"""The hyperparameters that somebody has published for an algorithm on an environment, where a runner ships them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from openrlb.config import read_toml
from openrlb.errors import UsageError
from openrlb_runners.spec import RunnerSpec

FILE = "hyperparameters.toml"
SOURCE, STANDS_FOR = "source", "stands_for"


@dataclass(frozen=True, slots=True)
class Published:
    """What is published for an algorithm on an environment.

    Attributes:
        hyperparameters: What differs from the implementation's defaults, under the runner's names.
        steps: For how many steps they were published, or None where that is not said.
        source: Who published them, and for which environment.
    """

    hyperparameters: Mapping[str, Any]
    steps: int | None
    source: str


def published(spec: RunnerSpec, algo: str, env: str) -> Published | None:
    """What a runner's ``hyperparameters.toml`` says of an algorithm on an environment, or None.

    The file has a table ``[algo."environment id"]`` for each pair, ``[source]`` with name and version, and ``[stands_for]``,
    which lists for an environment, or for all that a pattern names, the entries that serve where there is none of its own
    (``"Hopper-v5" = ["Hopper-v4"]``, ``"ALE/*" = ["atari"]``).

    Raises:
        UsageError: The file is there, but cannot be read or is not of this shape.
    """
    tables = _tables(spec)
    if tables is None or algo in (SOURCE, STANDS_FOR):
        return None
    entries, stand_ins = _table(spec, tables, algo), _table(spec, tables, STANDS_FOR)
    others: Any = next((stand_ins[pattern] for pattern in stand_ins if fnmatchcase(env, pattern)), [])
    if not isinstance(others, list):
        raise _wrong(spec, f"{STANDS_FOR} of {env} is no list")
    for name in (env, *map(str, others)):
        if name in entries:
            return _entry(spec, tables, algo, name)
    return None


def origin(spec: RunnerSpec) -> str | None:
    """Whose hyperparameters a runner ships, or None where it ships none.

    Raises:
        UsageError: The file is there, but cannot be read or is not of its shape.
    """
    tables = _tables(spec)
    return None if tables is None else _origin(spec, tables)


def _tables(spec: RunnerSpec) -> dict[str, Any] | None:
    """The file's tables, or None where there is no file."""
    path = spec.folder / FILE
    if not path.is_file():
        return None
    try:
        return read_toml(path)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _wrong(spec, str(error)) from error


def _origin(spec: RunnerSpec, tables: Mapping[str, Any]) -> str:
    """Who published the file's values, in words."""
    source = _table(spec, tables, SOURCE)
    return " ".join(str(source[key]) for key in ("name", "version") if key in source) or FILE


def _entry(spec: RunnerSpec, tables: dict[str, Any], algo: str, env: str) -> Published:
    """One entry of the file."""
    values = dict(_table(spec, tables[algo], env))
    steps = values.pop("steps", None)
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int) or steps < 1):
        raise _wrong(spec, f"steps of {algo} on {env} is {steps!r}")
    return Published(values, steps, f"{_origin(spec, tables)}, {algo} on {env}")


def _table(spec: RunnerSpec, tables: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A table inside another; empty where it is not there."""
    table = tables.get(name, {})
    if not isinstance(table, dict):
        raise _wrong(spec, f"{name} is no table")
    return table


def _wrong(spec: RunnerSpec, why: str) -> UsageError:
    """The error for a file that has no meaning."""
    return UsageError(f"{spec.name}/{FILE} was not understood", why, "mend that line, or train with --hyperparameters library")
