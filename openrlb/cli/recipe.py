"""``--recipe`` and ``--save-recipe``: a verb's typed flags and a recipe's, which decides, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from openrlb.errors import UsageError

if TYPE_CHECKING:
    from openrlb.api.recipe import Flag, Recipe
    from openrlb.cli.options import Format

NOT_IN_A_RECIPE = ("recipe", "save-recipe", "output", "json", "format", "table", "help")
"""Flags that say where an answer goes, not what the figure shows."""
KEPT = "openrlb.recipe"
REPLACING = {"COMMANDLINE": "was typed", "ENVIRONMENT": "is set in the environment"}
"""Where a value came from that goes before a recipe's; typer vendors click and exports no names of these."""


def use_recipe(ctx: typer.Context, name: str | None) -> str | None:
    """Makes a recipe's flags, and nothing of openrlb.toml, the defaults of the flags that are not typed.

    Raises:
        UsageError: No such recipe, or one that is not understood.
    """
    if name is not None and name != "list":
        from openrlb.api.recipe import read_recipe

        parameters = _parameters(ctx)
        lists = [flag for flag, parameter in parameters.items() if parameter.multiple]
        found = read_recipe(name, parameters, lists)
        _check(found, parameters)
        decided = {str(parameter.name) for parameter in parameters.values()}
        own = {name: value for name, value in (ctx.default_map or {}).items() if name not in decided}  # settings must not leak in
        ctx.default_map = {**own, **{str(parameters[flag].name): value for flag, value in found.flags.items()}}
        ctx.meta[KEPT] = found
    return name


def list_recipes(chosen: Format, output: Path | None) -> None:
    """Writes which recipes are packaged, and what each shows."""
    from openrlb.api.recipe import recipes
    from openrlb.cli.render import emit_rows

    rows = [{"recipe": one.name, "about": one.about} for one in recipes()]
    emit_rows(rows, ("recipe", "about"), chosen, output)


def tell_overridden(ctx: typer.Context, say: Callable[[str], None]) -> None:
    """Says which flags of the recipe give way to typed ones."""
    found: Recipe | None = ctx.meta.get(KEPT)
    if found is None:
        return
    for flag, parameter in _parameters(ctx).items():
        source = getattr(ctx.get_parameter_source(str(parameter.name)), "name", "")
        used, value = _plain(ctx.params[str(parameter.name)]), found.flags.get(flag)
        if source in REPLACING and used != value:
            old = f"it replaces {_words(value)} of" if value is not None else "it is not set in"
            say(f"note: --{flag} {_words(used)} {REPLACING[source]}: {old} the recipe {found.name}")


def save_recipe(ctx: typer.Context, path: Path, command: str) -> None:
    """Writes every flag that decides the figure, defaults too: a later openrlb with other defaults draws the same.

    Raises:
        UsageError: The file's suffix is not .toml.
        OpenrlbError: It cannot be written.
    """
    from openrlb import __version__
    from openrlb.api.recipe import recipe_text, write_recipe

    flags: dict[str, Flag | None] = {
        flag: _plain(ctx.params[str(parameter.name)]) for flag, parameter in _parameters(ctx).items()
    }
    about = [f"openrlb plot --recipe {path.name}", f"Saved by openrlb {__version__} from: {command}"]
    write_recipe(path, recipe_text(flags, about))


def _parameters(ctx: typer.Context) -> dict[str, Any]:
    """The verb's options that decide a figure, by their long names without dashes."""
    named = {max(parameter.opts, key=len).lstrip("-"): parameter for parameter in ctx.command.params}
    return {flag: parameter for flag, parameter in named.items() if flag not in NOT_IN_A_RECIPE}


def _check(found: Recipe, parameters: dict[str, Any]) -> None:
    """Refuses text for switches and switches for text; everything else is checked as if it had been typed."""
    for flag, value in found.flags.items():
        if parameters[flag].is_flag != isinstance(value, bool):
            wanted = "true or false" if parameters[flag].is_flag else "a value, not true or false"
            what = f"{found.name} sets {flag!r} to {_words(value)}"
            raise UsageError(what, f"--{flag} is {'a switch' if parameters[flag].is_flag else 'no switch'}", f"write {wanted}")


def _plain(value: Any) -> Any:  # noqa: ANN401 - any flag's value
    """A parsed flag as TOML can say it."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, list | tuple):
        return [str(_plain(one)) for one in value]
    return str(value) if isinstance(value, Path) else value


def _words(value: object) -> str:
    return (
        ", ".join(map(str, value)) if isinstance(value, list) else str(value).lower() if isinstance(value, bool) else str(value)
    )
