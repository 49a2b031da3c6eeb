"""What a training script hands over, as plain values: numbers for rows, JSON without personal data for records."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Mapping
from typing import Any

from openrlb.errors import UsageError

MAX_NAME = 200
"""Characters of a metric's name."""

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+")
_HOMES = re.compile(r"(?:/home/|/Users/|(?<![\w])[A-Za-z]:[\\/]Users[\\/])[^\\/\s'\",;:]+|(?<![\w/.])/root(?=/|$)")
_PERSONAL_KEYS = frozenset(
    "user username user_name login author host hostname host_name node email e_mail mail entity wandb_entity".split()
)
_SECRET = re.compile(r"(.*[_.-])?(api_?key|password|passwd|secret|(auth|access)_?token)", re.IGNORECASE)
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
"""Where an object lies in memory: another place in each execution, which would make each a group of its own."""
_MAX_DEPTH = 50


def number(name: str, value: object) -> float:
    """One logged value as a float; NaN and infinities are values.

    Args:
        name: The metric, for the error.
        value: A Python number, or anything of one element with ``item()``: numpy, torch and JAX scalars.

    Raises:
        UsageError: Text, nothing, a complex number, or more than one element; the metric is named.

    >>> number("loss", True), number("loss", 3), number("loss", float("nan"))
    (1.0, 3.0, nan)
    """
    item = value
    if not isinstance(value, int | float):
        item = _item(name, value)
    if isinstance(item, str | bytes) or item is None or not hasattr(item, "__float__"):
        raise _not_a_number(name, value)
    try:
        return float(item)
    except OverflowError:
        return math.inf if item > 0 else -math.inf  # type: ignore[operator]  # an integer beyond a float's range
    except (TypeError, ValueError) as error:
        raise _not_a_number(name, value) from error


def _item(name: str, value: Any) -> object:  # noqa: ANN401 - whatever a script logs
    """The one element of an array or tensor; any other value as it is."""
    take = getattr(value, "item", None)
    if not callable(take):
        return value
    try:
        found: object = take()
    except (TypeError, ValueError, RuntimeError) as error:  # torch raises RuntimeError for more than one element
        raise _not_a_number(name, value) from error
    return found


def _not_a_number(name: str, value: object) -> UsageError:
    """The error for a value that is no single number."""
    shape = getattr(value, "shape", None)
    told = f"of shape {tuple(shape)}" if isinstance(shape, tuple) else f"{str(value)[:40]!r}"
    fix = f"log one number for each name, for instance log(step, {{{name!r}: float(...)}}); settings belong in config="
    return UsageError(f"the metric {name!r} was not logged", f"its value is no number: {type(value).__name__} {told}", fix)


def whole(step: object) -> int:
    """A training step as an integer.

    Raises:
        UsageError: Not a whole number of 0 or more.

    >>> whole(1e6)
    1000000
    """
    item = step if isinstance(step, int | float) else _item("step", step)
    if isinstance(item, int | float) and 0 <= item < 2**63 and item == int(item):
        return int(item)
    raise UsageError(f"{step!r} is no training step", "a step is a whole number, 0 or more", "log(step, name=value)")


def checked_name(name: object) -> str:
    """A metric's name.

    Raises:
        UsageError: Not a text, empty, longer than 200 characters, or not printable.
    """
    if isinstance(name, str) and name.strip() and len(name) <= MAX_NAME and name.isprintable():
        return name
    fix = "name a metric by a short text, for instance eval/mean_reward"
    raise UsageError(f"{str(name)[:60]!r} cannot name a metric", f"a name has 1 to {MAX_NAME} printable characters", fix)


def settings(config: object) -> dict[str, Any]:
    """A configuration as plain JSON values without user and host names, secrets, e-mail addresses and home folders.

    Args:
        config: A mapping, a dataclass, or an object with attributes (``argparse.Namespace``); None for an empty one.

    Raises:
        UsageError: Something else, or nested deeper than 50 levels.

    >>> from pathlib import PurePosixPath
    >>> settings({"lr": 1e-3, "logs": PurePosixPath("/home/ann/logs"), "user": "ann", "layers": (64, 64)})
    {'lr': 0.001, 'logs': '~/logs', 'layers': [64, 64]}
    """
    if config is None:
        return {}
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        config = dataclasses.asdict(config)
    elif not isinstance(config, Mapping) and hasattr(config, "__dict__") and not isinstance(config, type):
        config = vars(config)
    if not isinstance(config, Mapping):
        fix = "give the hyperparameters by name: config={'learning_rate': 3e-4}, or config=vars(args)"
        raise UsageError("config= was not understood", f"it is {type(config).__name__}, not a mapping", fix)
    plain = _plain(config, 0)
    return plain if isinstance(plain, dict) else {}


def _plain(value: Any, depth: int) -> Any:  # noqa: ANN401 - any value of a configuration
    """One value of a configuration, with everything in it."""
    if depth > _MAX_DEPTH:
        raise UsageError("config= was not understood", "it is nested deeper than 50 levels", "give a flatter mapping")
    if isinstance(value, Mapping):
        kept = ((text(str(key)), item) for key, item in value.items())
        return {key: _plain(item, depth + 1) for key, item in kept if not _is_personal(key)}
    if isinstance(value, set | frozenset):  # in one order: Python's own is another in each execution
        return sorted((_plain(item, depth + 1) for item in value), key=repr)
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < 2**63 else str(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    if callable(getattr(value, "item", None)) and getattr(value, "size", 0) == 1:  # a numpy scalar
        return _plain(value.item(), depth + 1)
    if callable(getattr(value, "tolist", None)):
        return _plain(value.tolist(), depth + 1)
    return text(_ADDRESS.sub("", str(value)))


def _is_personal(key: str) -> bool:
    """Whether a key names a person, a machine or a secret."""
    return key.rsplit(".", 1)[-1].lower().replace("-", "_") in _PERSONAL_KEYS or is_secret(key)


def is_secret(name: str) -> bool:
    """Whether a setting or a flag holds a secret.

    >>> is_secret("--wandb-api-key"), is_secret("max_tokens")
    (True, False)
    """
    return _SECRET.fullmatch(name.replace("-", "_")) is not None


def text(value: str) -> str:
    """A text that can be stored: whole characters, no e-mail address, no home folder.

    >>> text("/home/ann/data by ann@example.org")
    '~/data by [e-mail]'
    """
    clean = value.encode("utf-8", "replace").decode()
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where there is none
    if len(home) > 1:
        clean = re.sub(re.escape(home) + r"(?=[/\\]|$)", "~", clean)
    return _HOMES.sub("~", _EMAIL.sub("[e-mail]", clean))
