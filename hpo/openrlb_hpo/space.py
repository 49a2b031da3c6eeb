"""Search spaces: plain TOML files, checked before anything trains, hashed so that two studies can say they searched alike."""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from openrlb.errors import UsageError
from openrlb.paths import asset
from openrlb.types import stable_hash

Scale = Literal["uniform", "log", "integers", "log_integers", "choices"]
RANGES: tuple[Scale, ...] = ("uniform", "log", "integers", "log_integers")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One hyperparameter's range.

    Attributes:
        name: The library's own name for it.
        scale: How values are drawn.
        values: The two ends of a range, both included, or the choices.
    """

    name: str
    scale: Scale
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Space:
    """The search space of one algorithm.

    Attributes:
        name: The file's name for itself.
        algo: The algorithm.
        source: Where the ranges come from.
        parameters: In the file's order.
    """

    name: str
    algo: str
    source: str
    parameters: tuple[Parameter, ...]

    @property
    def digest(self) -> str:
        """A hash of the ranges alone: equal for equal spaces, whatever their names and order.

        >>> a, b = (Space(n, "ppo", "", (Parameter("lr", "log", (1e-5, 1e-2)),)) for n in "ab")
        >>> a.digest == b.digest
        True
        """
        return stable_hash([self.algo, sorted([p.name, p.scale, list(p.values)] for p in self.parameters)])


def load_space(name: str, algo: str) -> Space:
    """Reads the space of an algorithm from a packaged file or one of the user's.

    Args:
        name: A packaged space (``eimer2023``), or the path of a TOML file.
        algo: The algorithm.

    Raises:
        UsageError: No such space, no table for the algorithm, or a range that has no meaning; the line is named.
    """
    path = Path(name)
    if path.suffix != ".toml":
        try:
            path = asset("hpo", "spaces", f"{name}.toml")
        except FileNotFoundError:
            known = ", ".join(sorted(file.stem for file in asset("hpo", "spaces").glob("*.toml")))
            raise UsageError(f"there is no space {name!r}", f"packaged spaces: {known}", "name one, or a .toml file") from None
    try:
        text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"the space {path.name} cannot be read", str(error), "mend the file") from error
    entries = table.get(algo)
    if not isinstance(entries, dict) or not entries:
        held = ", ".join(key for key, value in table.items() if isinstance(value, dict)) or "none"
        raise UsageError(f"{path.name} has no space for {algo}", f"it holds: {held}", f"write a table [{algo}]")
    parameters = tuple(_parameter(key, entry, path.name, text) for key, entry in entries.items())
    return Space(str(table.get("name", path.stem)), algo, str(table.get("source", "")), parameters)


def _parameter(name: str, entry: object, file: str, text: str) -> Parameter:
    """One checked line of a space."""
    line = next((number for number, row in enumerate(text.splitlines(), 1) if re.match(rf"\s*{re.escape(name)}\s*=", row)), 0)

    def wrong(why: str) -> UsageError:
        fix = f"write for instance {name} = {{ log = [1e-5, 1e-2] }} or {{ choices = [32, 64] }}"
        return UsageError(f"{file}, line {line}: {name} has no meaning", why, fix)

    if not isinstance(entry, dict) or len(entry) != 1:
        raise wrong("it needs exactly one of uniform, log, integers, log_integers, choices")
    ((scale, values),) = entry.items()
    if scale == "choices":
        if not isinstance(values, list) or not values:
            raise wrong("choices is an empty list, or none")
        return Parameter(name, "choices", tuple(values))
    if scale not in RANGES:
        raise wrong(f"{scale} is none of uniform, log, integers, log_integers, choices")
    numbers = isinstance(values, list) and len(values) == 2 and all(_is_number(value) for value in values)
    if not numbers or values[0] >= values[1]:
        raise wrong(f"{scale} needs a lower and a larger upper end")
    if scale.startswith("log") and values[0] <= 0:
        raise wrong("a logarithmic range cannot reach 0")
    if "integers" in scale and not all(isinstance(value, int) for value in values):
        raise wrong("the ends of a whole-number range are whole numbers")
    return Parameter(name, scale, tuple(values))


def _is_number(value: object) -> bool:
    """True for finite numbers; booleans are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
