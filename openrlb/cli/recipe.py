"""Recipes: a figure's flags in a TOML file. Flags that are typed win over the recipe's."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from openrlb.errors import UsageError
from openrlb.paths import asset


def find_recipe(name: str) -> Path:
    """A recipe file by its path, or a packaged one by its name.

    Raises:
        UsageError: Neither; the packaged ones are named.
    """
    path = Path(name)
    if path.suffix == ".toml":
        return path
    folder = asset("analysis", "recipes")
    if (folder / f"{name}.toml").is_file():
        return folder / f"{name}.toml"
    known = ", ".join(sorted(file.stem for file in folder.glob("*.toml")))
    raise UsageError(f"there is no recipe {name!r}", f"packaged recipes: {known}", "name one of them, or a .toml file")


def read_recipe(name: str, options: list[str]) -> dict[str, Any]:
    """The flags that a recipe sets, as defaults for the verb.

    Args:
        name: A packaged recipe's name, or a file.
        options: The option names that the verb has.

    Raises:
        UsageError: No such recipe, no TOML, no table ``[plot]``, or a key that is no flag.
    """
    path = find_recipe(name)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"the recipe {path.name} cannot be read", str(error), "mend the file") from error
    flags = table.get("plot")
    if set(table) - {"plot"}:
        why = f"it holds {', '.join(sorted(set(table) - {'plot'}))} beside the table [plot]"
        raise UsageError(f"{path.name} is no recipe", why, "write the figure's flags under [plot], and nothing else")
    if not isinstance(flags, dict):
        raise UsageError(f"{path.name} is no recipe", "it has no table [plot]", "write the figure's flags under [plot]")
    renamed = {key.replace("-", "_"): value for key, value in flags.items()}
    unknown = sorted(set(renamed) - set(options))
    if unknown:
        why = f"plot has no flag {', '.join('--' + key for key in unknown)}"
        raise UsageError(f"{path.name} sets what plot does not know", why, "openrlb plot --help names its flags")
    return renamed
