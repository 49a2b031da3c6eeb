"""What a run is called, and what of its settings may be kept: ids that do not change, no personal data."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from openrlb.types import stable_hash

PERSONAL_KEYS = frozenset({
    "user", "username", "user_name", "login", "author", "host", "hostname", "host_name", "node", "email", "e_mail", "mail",
    "entity", "wandb_entity", "wandb_username",
})  # fmt: skip
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(\.[\w-]+)+")  # from a word's beginning alone: a text of a megabyte took hours
_HOME = re.compile(r"(?:/home/|/Users/|(?<![\w])[A-Za-z]:[\\/]Users[\\/])[^\\/\s'\",;:]+|(?<![\w/.])/root(?=/|$)")
_MAX_DEPTH = 50
_MAX_ITEMS = 100_000


def run_id(location: Path, *identity: object) -> str:
    """The id of a run read from files: the same files give the same id, whichever folder above them was fetched.

    Args:
        location: The file or folder that makes the run.
        *identity: What tells runs of one table apart.

    Returns:
        Twelve hexadecimal digits; the path itself is not kept.
    """
    return stable_hash([str(location.resolve()), *identity], 12)


def iso_time(seconds: object) -> str | None:
    """A Unix time as ISO 8601 in UTC, or None where it is none.

    >>> iso_time(0.0), iso_time("yesterday"), iso_time(float("nan"))
    ('1970-01-01T00:00:00+00:00', None, None)
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return None
    try:
        return datetime.fromtimestamp(seconds, tz=UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return None


def clean_settings(settings: Mapping[Any, Any]) -> dict[str, Any]:
    """Settings as plain JSON values without user and host names, e-mail addresses and home folders.

    Raises:
        ValueError: Deeper than 50 levels, or more than 100,000 values (a hostile file).

    >>> clean_settings({"lr": 0.1, "user": "ann", "path": "/home/ann/logs", "note": "ask ann@example.org"})
    {'lr': 0.1, 'path': '~/logs', 'note': 'ask [e-mail]'}
    """
    budget = [_MAX_ITEMS]
    cleaned = _plain(settings, budget, 0)
    return cleaned if isinstance(cleaned, dict) else {}


def _plain(value: object, budget: list[int], depth: int) -> Any:  # noqa: ANN401 -- any JSON value
    """One value of the settings, with everything in it."""
    budget[0] -= 1
    if budget[0] < 0 or depth > _MAX_DEPTH:
        raise ValueError(f"more than {_MAX_ITEMS:,} values, or nested deeper than {_MAX_DEPTH}")
    if isinstance(value, Mapping):
        kept = ((str(key), item) for key, item in value.items())
        return {without_personal(key): _plain(item, budget, depth + 1) for key, item in kept if not is_personal(key)}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, budget, depth + 1) for item in value]
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return without_personal(str(value))


def is_personal(key: str) -> bool:
    """Whether a settings key names a person or a machine.

    >>> is_personal("wandb.Entity"), is_personal("use_sde")
    (True, False)
    """
    return key.rsplit(".", 1)[-1].lower().replace("-", "_") in PERSONAL_KEYS


def without_personal(text: str) -> str:
    """A text with e-mail addresses and home folders taken out.

    >>> without_personal("C:/Users/ann/x and /root/y")
    '~/x and ~/y'
    """
    return _HOME.sub("~", _EMAIL.sub("[e-mail]", text))
