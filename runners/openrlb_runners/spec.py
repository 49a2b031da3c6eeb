"""What a runner folder says of itself in ``runner.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openrlb.errors import UsageError
from openrlb.paths import asset

STEP_UNITS = ("agent_step", "frame")
TORCH_VARIANTS = ("cpu", "cuda")


@dataclass(frozen=True, slots=True)
class RunnerSpec:
    """One runner.

    Attributes:
        name: Its name, and its folder's.
        folder: Where it lies.
        python: The Python version its environment is built with.
        entry: The script that trains, relative to the folder.
        algorithms: What it can train.
        preload: Modules to import once before runs are forked.
        fork: False where forking after an import is unsafe (JAX).
        torch: The torch variants it has locks for; empty where it needs none.
        step_unit: What its steps count.
        metrics: The canonical name of each kind of row it writes.
    """

    name: str
    folder: Path
    python: str
    entry: str
    algorithms: tuple[str, ...]
    preload: tuple[str, ...]
    fork: bool
    torch: tuple[str, ...]
    step_unit: str
    metrics: Mapping[str, str]


def reference_runners() -> list[RunnerSpec]:
    """The runners that ship with openrlb, by name."""
    folders = sorted(path.parent for path in asset("runners", "reference").glob("*/runner.toml"))
    return [read_runner(folder) for folder in folders]


def read_runner(folder: Path) -> RunnerSpec:
    """Reads and checks a runner folder's ``runner.toml``.

    Raises:
        UsageError: No such file, no TOML, or an entry that is missing, unknown or of the wrong kind.
    """
    path = folder / "runner.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(
            f"{folder.name} is no runner", f"runner.toml: {error}", "write one (runners/reference/sb3 is a model)"
        ) from error
    kinds = {"name": str, "python": str, "entry": str, "algorithms": list, "preload": list, "fork": bool, "torch": list}
    kinds |= {"step_unit": str, "metrics": dict}
    for key in (*kinds, *table):
        if key not in table:
            raise _wrong(folder, f"{key} is missing", f"add {key} = ...")
        if key not in kinds:
            raise _wrong(folder, f"{key} is not known", f"use: {', '.join(kinds)}")
        if not isinstance(table[key], kinds[key]):
            raise _wrong(folder, f"{key} is not a {kinds[key].__name__}", f"mend the line of {key}")
    return _checked(folder, table)


def _checked(folder: Path, table: dict[str, Any]) -> RunnerSpec:
    """The spec, its values checked."""
    words: dict[str, Any] = {key: tuple(map(str, table[key])) for key in ("algorithms", "preload", "torch")}
    if not words["algorithms"]:
        raise _wrong(folder, "algorithms is empty", "name what the runner trains")
    if table["step_unit"] not in STEP_UNITS:
        raise _wrong(folder, f"step_unit is {table['step_unit']!r}", f"use one of {', '.join(STEP_UNITS)}")
    if not set(words["torch"]) <= set(TORCH_VARIANTS):
        raise _wrong(folder, f"torch is {list(words['torch'])}", f"use some of {', '.join(TORCH_VARIANTS)}, or []")
    entry = Path(table["entry"])
    if entry.is_absolute() or ".." in entry.parts:
        raise _wrong(folder, f"entry {table['entry']!r} lies outside the folder", "name a script inside it")
    rest = {key: table[key] for key in ("name", "python", "entry", "fork", "step_unit", "metrics")}
    return RunnerSpec(folder=folder, **words, **rest)


def _wrong(folder: Path, why: str, fix: str) -> UsageError:
    """The error for a runner.toml that has no meaning."""
    return UsageError(f"{folder.name}/runner.toml was not understood", why, fix)
