"""Settings: flag > OPENRLB_* variable > ./openrlb.toml > user config > default.

Typer itself ranks flags, variables and defaults; this module reads the two files and hands their values down as each
verb's defaults.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from openrlb import paths
from openrlb.errors import StoreUnwritable, UsageError

PRESETS = "presets"


def read_file(path: Path) -> dict[str, Any]:
    """One settings file.

    Raises:
        UsageError: It cannot be read, or is not TOML; the line is named.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
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


def checked_defaults(options: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Any]]:
    """The defaults of every verb from the settings files.

    Args:
        options: The option names that each verb has.

    Raises:
        UsageError: A table that is no verb, or a key that is no option of its verb.
    """
    from difflib import get_close_matches

    found = {}
    for verb, table in merged().items():
        if verb == PRESETS:
            continue
        if verb not in options:
            close = get_close_matches(verb, [*options, PRESETS], n=1)
            hint = f"did you mean [{close[0]}]?" if close else f"use one of: {', '.join(options)}, {PRESETS}"
            raise UsageError(f"openrlb.toml has a table [{verb}]", "no verb has that name", hint)
        renamed = {key.replace("-", "_"): value for key, value in table.items()}
        for key in renamed:
            if key not in options[verb]:
                close = get_close_matches(key, options[verb], n=1)
                hint = f"did you mean {close[0]}?" if close else f"openrlb {verb} --help names its options"
                raise UsageError(f"openrlb.toml sets {key} in [{verb}]", f"{verb} has no such option", hint)
        found[verb] = renamed
    return found


def preset(name: str) -> tuple[str, ...]:
    """The ``--map`` words kept under a name by ``fetch --save-preset``.

    Raises:
        UsageError: No such preset.
    """
    known = merged().get(PRESETS, {})
    entry = known.get(name)
    if not isinstance(entry, dict) or not isinstance(entry.get("map"), list):
        listed = ", ".join(sorted(known)) or "none yet"
        fix = f"keep one with: openrlb fetch FOLDER --map ... --save-preset {name}"
        raise UsageError(f"there is no preset {name!r}", f"presets in openrlb.toml: {listed}", fix)
    return tuple(str(word) for word in entry["map"])


def save_preset(name: str, words: Sequence[str]) -> Path:
    """Keeps ``--map`` words under a name in ``./openrlb.toml``; returns the file.

    Raises:
        UsageError: The name is taken by other words, or is no plain word.
        StoreUnwritable: The file cannot be written.
    """
    path = paths.project_config_file() or Path.cwd() / "openrlb.toml"
    known = read_file(path).get(PRESETS, {}) if path.is_file() else {}
    if not name.replace("-", "").replace("_", "").isalnum():
        raise UsageError(f"{name!r} cannot name a preset", "it has other signs than letters, digits, - and _", "choose another")
    if name in known:
        if list(known[name].get("map", [])) == list(words):
            return path
        raise UsageError(f"the preset {name!r} is taken", f"{path.name} holds other words for it", "choose another name")
    try:
        with path.open("a", encoding="utf-8") as handle:
            handle.write(f"\n[{PRESETS}.{name}]\nmap = {json.dumps(list(words), ensure_ascii=False)}\n")
    except OSError as error:
        raise StoreUnwritable(f"{path} cannot be written", error.strerror or str(error), "choose another folder") from error
    return path
