"""Typed values of flags without pydantic, which typer imports for any flag: a seventh of the time that ``openrlb list`` takes.

What most flags are given (texts, their own defaults, words of a choice, paths) is what it shall be, or is made so by typer's
own functions. Anything else, and whatever fails here, goes to typer, which words the error.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import typer
from typer._coercion import RuntimeParam, TypeDescriptor, build_runtime_param
from typer._param_types import coerce_cli_path, routes_to_path

HELP = ("-h", "--help")


@dataclass(frozen=True)
class LightParam(RuntimeParam):
    """One flag's or argument's conversion."""

    descriptor: TypeDescriptor

    def _coerce_value(self, value: Any, param: Any, ctx: Any) -> Any:  # noqa: ANN401 - any flag's value
        """The value as its annotation has it."""
        with suppress(ValueError, TypeError):
            return self._plainly(value, param, ctx)
        return build_runtime_param(self.descriptor).coerce(value, param=param, ctx=ctx)

    def _plainly(self, value: Any, param: Any, ctx: Any) -> Any:  # noqa: ANN401
        """The same where that is plain.

        Raises:
            ValueError: It is not.
        """
        kind, about = self.annotation, self.parameter_info
        if about.parser is not None and isinstance(value, str):
            return about.parser(value)
        if kind is str and type(value) is str:
            return value
        if kind == list[str] and about.parser is None and all(type(one) is str for one in value):
            return list(value)
        if isinstance(kind, type) and issubclass(kind, Enum):
            return kind(value)
        if kind is Path and value and routes_to_path(kind, about) and not about.allow_dash:
            return coerce_cli_path(Path(value), about, path_type=Path, param=param, ctx=ctx)
        if type(value) is kind and value == param.default:
            return value
        raise ValueError(value)


def lighten(command: Any) -> Any:  # noqa: ANN401 - typer vendors click and exports no types for it
    """A command, or a group with those of its commands that are built, whose flags are converted by :class:`LightParam`."""
    shown = command.get_help_option(typer.Context(command, help_option_names=list(HELP)))
    for one in (*command.params, shown):
        if one is not None and one._runtime_param is None:
            described = one.type_descriptor
            one._runtime_param = LightParam(described.parameter_info, described.annotation, described)
    inner = getattr(command, "commands", None)
    for one in inner.values() if isinstance(inner, dict) else ():
        lighten(one)
    return command
