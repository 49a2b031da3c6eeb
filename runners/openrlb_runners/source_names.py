"""Names that have a default in Python files: what a runner might take as a hyperparameter without saying so."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

_WITH_DEFAULT = ("get", "pop", "setdefault")


def defaults_in(files: Mapping[str, bytes]) -> list[tuple[str, Any]]:
    r"""Every name with a default that is written out.

    These are attributes of classes, arguments of functions, entries of dictionaries, what ``get``, ``pop`` and ``setdefault``
    fall back to, and options of an argument parser. Nothing is run. A file that is no Python says nothing, nor does a default
    that JSON cannot hold.

    Args:
        files: Files by name; those that end in ``.py`` are read.

    Returns:
        Names and defaults: for each name the first default of each kind of value.

    >>> defaults_in({"run.py": b"class H:\n    rate: float = 0.5\nmomentum = given.pop('momentum', 0.9)"})
    [('rate', 0.5), ('momentum', 0.9)]
    """
    found: dict[tuple[str, type], Any] = {}
    for file, data in sorted(files.items()):
        if file.endswith(".py"):
            with suppress(SyntaxError, ValueError, RecursionError, MemoryError):
                for node in ast.walk(ast.parse(data)):
                    for name, value in _pairs(node):
                        with suppress(SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
                            literal = ast.literal_eval(value)
                            json.dumps(literal, allow_nan=False)
                            found.setdefault((name, type(literal)), literal)
    return [(name, value) for (name, _), value in found.items()]


def _pairs(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """The names with a default that one piece of syntax has."""
    if isinstance(node, ast.ClassDef):
        for line in node.body:
            target = line.target if isinstance(line, ast.AnnAssign) else line.targets[0] if isinstance(line, ast.Assign) else None
            if isinstance(target, ast.Name) and isinstance(line, ast.AnnAssign | ast.Assign) and line.value is not None:
                yield target.id, line.value
    elif isinstance(node, ast.arguments):
        several = [*node.posonlyargs, *node.args]
        yield from zip((one.arg for one in several[len(several) - len(node.defaults) :]), node.defaults, strict=True)
        yield from ((one.arg, value) for one, value in zip(node.kwonlyargs, node.kw_defaults, strict=True) if value is not None)
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield key.value, value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
        first = node.args[0]
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            if node.func.attr in _WITH_DEFAULT and len(node.args) == 2:
                yield first.value, node.args[1]
            elif node.func.attr == "add_argument":
                name = first.value.lstrip("-").replace("-", "_")
                yield from ((name, word.value) for word in node.keywords if word.arg == "default")
