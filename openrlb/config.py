"""Settings: flag > OPENRLB_* variable > ./openrlb.toml > user config > default.

Typer itself ranks flags, variables and defaults; this module reads the two files and hands their values down as each
verb's defaults.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from openrlb import paths
from openrlb.errors import StoreUnwritable, UsageError

PRESETS = "presets"
TRACKED = "wandb"
"""The table of W&B projects (openrlb/sources/presets.toml shows one)."""
SLURM = "slurm"
"""The table of sbatch's options, for run and tune with --launcher slurm."""
STORE = "store"
"""The table of what holds for the store: ``lock``."""
STORE_LOCK = "OPENRLB_STORE_LOCK"
"""The variable that goes before ``lock``: a PostgreSQL server's address, or ``file``."""
RAY = "ray"
"""Where the Ray cluster is and what a worker takes of it, for --launcher ray."""
OF_NO_VERB = (PRESETS, TRACKED, SLURM, RAY, STORE)

PRESET_KEYS: dict[str, type] = {
    "map": list,
    "step_every": int,
    "axes": list,
    "already_normalized": str,
    "step_unit": str,
    "frames_per_step": int,
}
"""What a preset keeps: everything that decides how values and steps are read."""


MAX_TOML_BYTES = 1024**2
"""No file that a person writes is larger."""
_DOTS, _DEPTH = 1000, 50
"""Dots of a line, levels of tables: Python's parser takes minutes over a key of a hundred thousand parts."""


def parsed_toml(text: str) -> dict[str, Any]:
    """A TOML document. Python's parser fails in other ways at thousands of brackets and of digits: here all are of one kind.

    Raises:
        tomllib.TOMLDecodeError: It is none.

    >>> parsed_toml("a = 1")
    {'a': 1}
    """
    if any(line.count(".") > _DOTS for line in text.splitlines()):
        raise tomllib.TOMLDecodeError(f"a line has more than {_DOTS} dots")
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        raise tomllib.TOMLDecodeError(f"a value is too long or too deep: {error}") from error
    if is_deep(table):
        raise tomllib.TOMLDecodeError(f"it is nested deeper than {_DEPTH}")
    return table


def is_deep(value: object) -> bool:
    """Whether a value is nested deeper than a setting is.

    >>> is_deep({"a": [[1]]}), is_deep(json.loads("[" * 60 + "]" * 60))
    (False, True)
    """
    level = [value]
    for _ in range(_DEPTH):
        pairs = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list))
        level = [inner for pair in pairs for inner in pair]
    return bool(level)


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file of bounded size.

    Raises:
        OSError: It cannot be read.
        UnicodeDecodeError: It is no UTF-8.
        tomllib.TOMLDecodeError: It is no TOML, or too large.
    """
    with path.open("rb") as file:
        data = file.read(MAX_TOML_BYTES + 1)
    if len(data) > MAX_TOML_BYTES:
        raise tomllib.TOMLDecodeError(f"it is larger than {MAX_TOML_BYTES >> 20} MiB")
    return parsed_toml(data.decode("utf-8"))


def read_file(path: Path) -> dict[str, Any]:
    """One settings file.

    Raises:
        UsageError: It cannot be read, or is not TOML; the line is named.
    """
    try:
        return read_toml(path)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path.name} was not understood", str(error), f"mend or remove {path}") from error


def merged() -> dict[str, dict[str, Any]]:
    """The tables of both files, the project's over the user's.

    Raises:
        UsageError: A file cannot be read, or holds something outside a table.
    """
    tables: dict[str, dict[str, Any]] = {}
    for path in (paths.user_config_file(), paths.project_config_file()):
        if path is None or not path.is_file():
            continue
        for name, table in read_file(path).items():
            if not isinstance(table, dict):
                fix = f"write it under the verb it is for, for instance [plot] and below it {name} = ..."
                raise UsageError(f"{path.name}: {name} is outside a table", "settings belong to a verb", fix)
            tables.setdefault(name, {}).update(table)
    return tables


def setting_file(verb: str, names: Iterable[str] = ()) -> Path:
    """The settings file that a verb's table stands in, or that sets an option of it: the one that counts.

    Args:
        verb: The table, for instance ``plot`` or ``runner.install``.
        names: What the option may be called; none for the table itself.

    Raises:
        UsageError: A file cannot be read.
    """
    wanted = {name.replace("-", "_") for name in names}
    for path in (paths.project_config_file(), paths.user_config_file()):
        table: Any = read_file(path) if path is not None and path.is_file() else None
        for part in verb.split("."):
            table = table.get(part) if isinstance(table, dict) else None
        if isinstance(table, dict) and (not wanted or wanted & {key.replace("-", "_") for key in table}):
            return path or paths.user_config_file()
    return paths.user_config_file()


def checked_defaults(options: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, Any]]:
    """The defaults of every verb from the settings files.

    Args:
        options: For each verb the names that a settings file may use, and the parameter each one means. The verb
            ``runner install`` is ``runner.install`` here, and a table ``[runner.install]`` there.

    Raises:
        UsageError: A table that is no verb, or a key that is no option of its verb.
    """
    from difflib import get_close_matches

    found: dict[str, dict[str, Any]] = {}
    for verb, table in _by_verb(options):
        if verb not in options:
            close = get_close_matches(verb, [*options, *OF_NO_VERB], n=1)
            hint = f"did you mean [{close[0]}]?" if close else f"use one of: {', '.join(options)}, {PRESETS}"
            raise UsageError(f"{setting_file(verb)} has a table [{verb}]", "no verb has that name", hint)
        renamed = {key.replace("-", "_"): value for key, value in table.items()}
        for key in renamed:
            if key not in options[verb]:
                close = get_close_matches(key, options[verb], n=1)
                hint = f"did you mean {close[0]}?" if close else f"openrlb {verb} --help names its options"
                raise UsageError(f"{setting_file(verb, [key])} sets {key} in [{verb}]", f"{verb} has no such option", hint)
        group, _, inner = verb.rpartition(".")
        (found.setdefault(group, {}) if group else found)[inner] = {options[verb][key]: value for key, value in renamed.items()}
    return found


def _by_verb(options: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The tables that belong to verbs, those of a group's verbs under their full names."""
    groups = {verb.split(".")[0] for verb in options if "." in verb}
    for verb, table in merged().items():
        if verb in groups:
            plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
            yield from ((f"{verb}.{key}", value) for key, value in table.items() if isinstance(value, dict))
            if plain:
                yield verb, plain
        elif verb not in OF_NO_VERB:
            yield verb, table


def store_lock() -> str | None:
    """What keeps the store's lock: ``file``, a PostgreSQL server's address, or None where nothing is set.

    Raises:
        UsageError: ``[store]`` holds something else.
    """
    if chosen := os.environ.get(STORE_LOCK):
        return chosen
    table = merged().get(STORE, {})
    lock = table.get("lock")
    if set(table) - {"lock"} or not isinstance(lock, str | None) or lock == "":
        fix = 'write lock = "file", or lock = "postgresql+psycopg://USER@HOST/DATABASE"'
        raise UsageError(f"[{STORE}] in {setting_file(STORE)} was not understood", "it holds one text, lock", fix)
    return lock


def preset(name: str) -> dict[str, Any]:
    """The reading flags kept under a name by ``fetch --save-preset``: ``map`` and its companions.

    Raises:
        UsageError: No such preset, or one that holds something else.
    """
    known = merged().get(PRESETS, {})
    entry = known.get(name)
    if entry is None:
        listed = ", ".join(sorted(known)) or "none yet"
        fix = f"keep one with: openrlb fetch FOLDER --map ... --save-preset {name}"
        raise UsageError(f"there is no preset {name!r}", f"presets in openrlb.toml: {listed}", fix)
    wrong = sorted(set(entry) - set(PRESET_KEYS)) if isinstance(entry, dict) else ["it"]
    if wrong or not all(isinstance(entry.get(key, kind()), kind) for key, kind in PRESET_KEYS.items()):
        why = f"{', '.join(wrong)} is not known" if wrong else "a value is of the wrong kind"
        fix = f"a preset holds {', '.join(PRESET_KEYS)}"
        raise UsageError(f"the preset {name!r} in openrlb.toml was not understood", why, fix)
    return dict(entry)


def save_preset(name: str, flags: Mapping[str, Any], table: str = PRESETS) -> Path:
    """Keeps reading flags, or how a W&B project logs, under a name in ``./openrlb.toml``; returns the file.

    Args:
        name: The preset's name.
        flags: Those of :data:`PRESET_KEYS` that were used, or a project's keys.
        table: :data:`PRESETS`, or :data:`TRACKED` for a project.

    Raises:
        UsageError: The name is taken by other flags, or is no plain word.
        StoreUnwritable: The file cannot be written.
    """
    path = paths.project_config_file() or Path.cwd() / "openrlb.toml"
    tables = read_file(path) if path.is_file() else {}
    if not name.replace("-", "").replace("_", "").isalnum():
        raise UsageError(f"{name!r} cannot name a preset", "it has other signs than letters, digits, - and _", "choose another")
    for kept in (PRESETS, TRACKED):
        if name in tables.get(kept, {}):
            if kept == table and tables[kept][name] == dict(flags):
                return path
            why = f"{path.name} holds other flags for it in [{kept}.{name}]"
            raise UsageError(f"the preset {name!r} is taken", why, "choose another name")
    lines = "".join(f"{key} = {_as_toml(value)}\n" for key, value in flags.items())
    try:
        with path.open("a", encoding="utf-8") as handle:
            handle.write(f"\n[{table}.{name}]\n{lines}")
    except OSError as error:
        raise StoreUnwritable(f"{path} cannot be written", error.strerror or str(error), "choose another folder") from error
    return path


def _as_toml(value: object) -> str:
    """A text, number, list or table of such as TOML.

    >>> _as_toml({"eval/return": "eval", "a b": [1, "c"]})
    '{ "eval/return" = "eval", "a b" = [1, "c"] }'
    """
    if isinstance(value, Mapping):
        return (
            "{ " + ", ".join(f"{json.dumps(str(key), ensure_ascii=False)} = {_as_toml(one)}" for key, one in value.items()) + " }"
        )
    return json.dumps(value, ensure_ascii=False)
