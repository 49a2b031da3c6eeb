"""What a run's record may hold: the one check before a segment is written, folded or read from a bundle."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_args

from openrlb.types import MetricKind, Role, RunState, StepUnit

_NAMES = ("source", "run", "project", "name", "algo", "env")
_TEXTS = ("impl", "location")
_TEXTS_OR_NONE = ("normalized", "git_commit", "created", "heartbeat")
_LISTS = ("tags", "wrappers", "notes")
_MAPPINGS = ("config", "hardware")
_CHOICES = {"state": get_args(RunState), "role": get_args(Role), "step_unit": get_args(StepUnit)}
_WHOLE = {  # the lowest and the highest value, and whether None may stand for it
    "seed": (-(2**63), 2**63 - 1, True),
    "frames_per_step": (1, 2**31 - 1, True),
    "attempt": (0, 2**31 - 1, False),
    "line_count": (0, 2**63 - 1, True),
    "steps": (0, 2**63 - 1, True),
}
_SHA256 = re.compile(r"[0-9a-f]{64}")


def check_record(record: Mapping[str, Any]) -> None:
    """Checks one entry of a segment's footer: ``{"run", "metrics", "digest", "blobs"}``, the last two where they are there.

    ``run`` is :meth:`openrlb.types.Run.to_json`; the six names are required, every other field may be missing and then has
    its default. ``metrics`` is a list of ``[name, kind, canonical or None]``.

    Args:
        record: The entry; anything, it comes from a file.

    Raises:
        ValueError: A field is missing, of another type, or out of its range; the message names it.

    >>> names = dict.fromkeys(("source", "run", "project", "name", "algo", "env"), "x")
    >>> check_record({"run": names | {"seed": 1}, "metrics": [["return", "episode", None]]})
    >>> check_record({"run": names | {"seed": 2**63}, "metrics": []})
    Traceback (most recent call last):
    ValueError: seed is 9223372036854775808, not a whole number from -9223372036854775808 to 9223372036854775807
    """
    if not isinstance(record, Mapping):
        raise ValueError(f"a record is {_shown(record)}, not an object")
    run = record.get("run")
    if not isinstance(run, Mapping):
        raise ValueError(f"run is {_shown(run)}, not an object")
    _check_run(run)
    metrics = record.get("metrics")
    if not isinstance(metrics, list | tuple):
        raise ValueError(f"metrics is {_shown(metrics)}, not a list")
    for metric in metrics:
        _check_metric(metric)
    if not isinstance(record.get("digest", ""), str):
        raise ValueError(f"digest is {_shown(record['digest'])}, not a text")
    _check_hashes("blobs", record.get("blobs", {}), may_be_none=False)


def _check_run(run: Mapping[str, Any]) -> None:
    """Every field of a run."""
    for name in _NAMES:
        if name not in run:
            raise ValueError(f"{name} is missing")
        if not isinstance(run[name], str) or not run[name]:
            raise ValueError(f"{name} is {_shown(run[name])}, not a text that says something")
    for name in _TEXTS + _TEXTS_OR_NONE:
        none_is_fine = name in _TEXTS_OR_NONE
        value = run.get(name, "")
        if not (isinstance(value, str) or (value is None and none_is_fine)):
            raise ValueError(f"{name} is {_shown(value)}, not a text")
    for name, (least, most, none_is_fine) in _WHOLE.items():
        if name in run and not (run[name] is None and none_is_fine) and not _is_whole(run[name], least, most):
            raise ValueError(f"{name} is {_shown(run[name])}, not a whole number from {least} to {most}")
    for name in _LISTS:
        value = run.get(name, [])
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise ValueError(f"{name} is {_shown(value)}, not a list of texts")
    for name in _MAPPINGS:
        value = run.get(name, {})
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise ValueError(f"{name} is {_shown(value)}, not an object")
    for name, choices in _CHOICES.items():
        if name in run and run[name] not in choices:
            raise ValueError(f"{name} is {_shown(run[name])}, not one of {', '.join(choices)}")
    _check_hashes("files", run.get("files", {}), may_be_none=True)
    _check_hashes("requirements", {"requirements": run.get("requirements")}, may_be_none=True)


def _check_metric(metric: object) -> None:
    """One ``[name, kind, canonical or None]``."""
    if not isinstance(metric, list | tuple) or len(metric) != 3:
        raise ValueError(f"a metric is {_shown(metric)}, not [name, kind, canonical]")
    name, kind, canonical = metric
    if not isinstance(name, str):
        raise ValueError(f"a metric's name is {_shown(name)}, not a text")
    if kind not in get_args(MetricKind):
        raise ValueError(f"the kind of {_shown(name)} is {_shown(kind)}, not one of {', '.join(get_args(MetricKind))}")
    if canonical is not None and not isinstance(canonical, str):
        raise ValueError(f"the canonical name of {_shown(name)} is {_shown(canonical)}, not a text")


def _check_hashes(field: str, files: object, *, may_be_none: bool) -> None:
    """File names and their sha256."""
    if not isinstance(files, Mapping):
        raise ValueError(f"{field} is {_shown(files)}, not an object")
    for name, digest in files.items():
        known = isinstance(digest, str) and _SHA256.fullmatch(digest)
        if not isinstance(name, str) or not (known or (digest is None and may_be_none)):
            raise ValueError(f"{field} names {_shown(name)} by {_shown(digest)}, not by its sha256")


def _is_whole(value: object, least: int, most: int) -> bool:
    """True for a whole number in a range; a truth value is none."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _shown(value: object) -> str:
    """A foreign value in a message, cut where it is long."""
    if isinstance(value, int) and abs(value) >= 2**256:
        return "a huge number"
    if not isinstance(value, str | int | float | list | tuple | None):
        return f"of the type {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
