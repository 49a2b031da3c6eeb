"""Recipes: the flags that decide a figure, in a TOML file that can be committed, reviewed and drawn again."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from openrlb.config import parsed_toml
from openrlb.errors import OpenrlbError, StoreUnwritable, UsageError
from openrlb.paths import asset

Flag = str | int | float | bool | list[str]
LARGEST = 100_000
"""Bytes of a recipe at most; a figure has some forty flags."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A figure's recipe.

    Attributes:
        name: The file's name without its suffix.
        about: What the figure shows: the comment on top of the file, without commands.
        flags: The flags as ``openrlb plot`` knows them, without the leading dashes.
    """

    name: str
    about: str
    flags: Mapping[str, Flag]


def recipes() -> list[Recipe]:
    """The packaged recipes by name, with what each shows."""
    return [read_recipe(str(file)) for file in sorted(asset("analysis", "recipes").glob("*.toml"))]


def find_recipe(name: str) -> Path:
    """A recipe file by its path, or a packaged one by its name.

    Args:
        name: A path that ends in ``.toml``, or the name of a packaged recipe.

    Raises:
        UsageError: Neither; the nearest name is told, or all of them.
    """
    path = Path(name)
    if path.suffix == ".toml":
        return path
    known = {file.stem: file for file in sorted(asset("analysis", "recipes").glob("*.toml"))}
    if name in known:
        return known[name]
    fix = f"did you mean --recipe {near}?" if (near := nearest(name, known)) else "name one of them, or a .toml file"
    raise UsageError(f"there is no recipe {name!r}", f"packaged recipes: {', '.join(known)}", fix)


def read_recipe(name: str, known: Collection[str] | None = None, lists: Collection[str] | None = None) -> Recipe:
    """Reads a recipe.

    Args:
        name: A packaged recipe's name, or a file.
        known: The flags that a recipe may set; every one by default.
        lists: Those of them that take several values, where a single one becomes a list of one; by default those that have a
            list.

    Raises:
        UsageError: No such recipe, no TOML, no table ``[plot]``, a key that is no flag, or a value of the wrong type.
    """
    path = find_recipe(name)
    text = _text(path)
    try:
        table = parsed_toml(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"the recipe {path.name} cannot be read", str(error), "mend the file") from error
    fix = "write the figure's flags under [plot], and nothing else"
    if set(table) - {"plot"}:
        others = ", ".join(sorted(set(table) - {"plot"}))
        raise UsageError(f"{path.name} is no recipe", f"it holds {others} beside the table [plot]", fix)
    flags = table.get("plot")
    if not isinstance(flags, dict):
        raise UsageError(f"{path.name} is no recipe", "it has no table [plot]", fix)
    found: dict[str, Flag] = {}
    for key, value in flags.items():
        flag = key.replace("_", "-")
        if known is not None and flag not in known:
            raise _unknown(path.name, key, known)
        if flag in found:
            raise UsageError(f"{path.name} sets {flag} twice", f"once as {key}", "leave one of them out")
        found[flag] = _value(path.name, key, value, isinstance(value, list) if lists is None else flag in lists)
    return Recipe(path.stem, _about(text), found)


def recipe_text(flags: Mapping[str, Flag | None], about: Sequence[str]) -> str:
    """A recipe as TOML that reads back to the same flags.

    Args:
        flags: The figure's flags; None and empty lists are left out.
        about: Lines of the comment on top.

    >>> print(recipe_text({"env": ["Hopper"], "level": 0.95, "of": None}, ["Hopper"]))
    # Hopper
    [plot]
    env = ["Hopper"]
    level = 0.95
    <BLANKLINE>
    """
    comment = ["# " + "".join(sign if sign.isprintable() else " " for sign in line) for line in about]
    lines = [f"{key} = {_toml(value)}" for key, value in flags.items() if value is not None and value != []]
    return "\n".join([*comment, "[plot]", *lines, ""])


def write_recipe(path: Path, text: str) -> None:
    """Writes a recipe, whole or not at all.

    Args:
        path: The file; it ends in ``.toml``.
        text: What :func:`recipe_text` made.

    Raises:
        UsageError: Its suffix is another.
        OpenrlbError: It cannot be written.
    """
    from openrlb.store.files import writing

    if path.suffix != ".toml":
        raise UsageError(f"{path} is no recipe's name", f"its suffix is {path.suffix!r}", f"name it {path.with_suffix('.toml')}")
    try:
        with writing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except StoreUnwritable as error:
        raise OpenrlbError(f"{path} cannot be written", error.why, "free some space, or name a file elsewhere") from error


def nearest(word: str, known: Collection[str]) -> str:
    """The known word that is most like a misspelt one, else nothing.

    >>> nearest("metrc", ["metric", "of"]), nearest("zzz", ["metric"])
    ('metric', '')
    """
    from difflib import get_close_matches

    return next(iter(get_close_matches(word, sorted(known), n=1)), "")


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST:
            raise UsageError(f"{path.name} is no recipe", f"it is larger than {LARGEST:,} bytes", "name a recipe's file")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"the recipe {path} cannot be read", error.strerror or str(error), "name another file") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"the recipe {path.name} cannot be read", str(error), "write it in UTF-8") from error


def _unknown(file: str, key: str, known: Collection[str]) -> UsageError:
    near = nearest(key.replace("_", "-"), known)
    fix = f"did you mean {near}?" if near else "openrlb plot --help names its flags"
    return UsageError(f"{file} sets {key!r}", "it is no flag that decides a figure", fix)


def _value(file: str, key: str, value: object, several: bool) -> Flag:
    """A flag's value: one, or a list for flags that are repeatable."""
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str | int | float) for one in values):
        raise UsageError(f"{file} sets {key!r} to no flag's value", f"it is {value!r}", "write a text, a number, true or false")
    if several:
        return [str(one) for one in values]
    if isinstance(value, list):
        raise UsageError(
            f"{file} sets {key!r} to a list",
            "that flag takes one value",
            f"write {key} = {_toml(values[0]) if values else chr(39) * 2}",
        )
    return value  # type: ignore[return-value]


def _about(text: str) -> str:
    """The comment on top, without the line that says how to draw it."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        said = line.lstrip("#").strip()
        if said and not said.startswith("openrlb plot"):
            lines.append(said)
    return " ".join(lines)


def _toml(value: object) -> str:
    """A value as TOML says it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return _string(value) if isinstance(value, str) else repr(value)


def _string(text: str) -> str:
    """A text in quotes; what TOML allows only escaped is escaped."""
    named = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return '"' + "".join(named.get(sign) or _sign(sign) for sign in text) + '"'


def _sign(sign: str) -> str:
    """One character of a text; half of a pair, as a file's name may hold it, has no place in TOML."""
    return sign if sign.isprintable() else "\ufffd" if "\ud800" <= sign <= "\udfff" else f"\\U{ord(sign):08x}"
