"""Settings as the command line reads them: what options are called in files and variables, and which of those hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

import typer
from typer.exceptions import TyperException

from openrlb.cli.misuse import misuse
from openrlb.config import STORE_LOCK
from openrlb.errors import OpenrlbError
from openrlb.paths import HOME_VARIABLE

PREFIX = "OPENRLB_"
OTHERS = frozenset({HOME_VARIABLE, STORE_LOCK, "OPENRLB_SHARED_DATA"})
"""Variables that no option has: where everything is kept, what keeps its lock, and where the tests' data are."""


def unread_variables(
    group: Any,  # noqa: ANN401 - typer vendors click and exports no types for it
    verbs: Iterable[tuple[str, Any]],
    environment: Mapping[str, str],
) -> list[str]:
    """A warning for each variable named like ours that no option reads.

    Args:
        group: The program, with its own flags.
        verbs: Every verb by name.
        environment: ``os.environ``.
    """
    candidates = sorted(name for name in environment if name.upper().startswith(PREFIX) and name not in OTHERS)
    if not candidates:
        return []
    known = {*OTHERS, *_variables("", group)}
    for name, verb in verbs:
        known.update(_variables(f"{name.upper().replace('.', '_').replace('-', '_')}_", verb))
    told = []
    for name in candidates:
        if name not in known:
            close = get_close_matches(name.upper(), sorted(known), n=1)
            told.append(f"the environment variable {name} sets nothing" + (f": did you mean {close[0]}?" if close else ""))
    return told


def _variables(middle: str, verb: Any) -> Iterator[str]:  # noqa: ANN401
    """The variables that a verb's options are read from; an argument has one only where it names it."""
    for one in verb.params:
        if one.envvar:
            yield from [one.envvar] if isinstance(one.envvar, str) else one.envvar
        if one.param_type_name == "option" and not one.name.endswith("_"):  # nobody would type OPENRLB_PLOT_FORMAT_
            yield f"{PREFIX}{middle}{one.name.upper()}"


def unfit_default(ctx: typer.Context, verbs: Iterable[tuple[str, Any]]) -> OpenrlbError | None:
    """The first value of a settings file that its option does not take; None where all fit.

    Args:
        ctx: The program's context, with the files' values as its default map.
        verbs: Every verb by name.
    """
    for name, verb in verbs:
        table: Any = ctx.default_map or {}
        inner: Any = ctx
        for part in name.split("."):
            table = table.get(part) or {}
            inner = typer.Context(verb, parent=inner, info_name=part)
        for one in verb.params:
            if one.name in table:
                try:
                    one.handle_parse_result(inner, {}, [])
                except OpenrlbError as error:  # a callback of the option
                    return error
                except TyperException as error:
                    return misuse(error)
    return None
