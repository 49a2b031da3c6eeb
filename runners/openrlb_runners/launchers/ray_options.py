"""Which of Ray's options a user may set, and how they are written."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from openrlb.errors import UsageError

KNOWN = ("address", "memory", "num_cpus", "num_gpus", "resources")
CUSTOM = "resources."
_RESOURCE = re.compile(r"[A-Za-z_][\w.:-]{0,99}")


@dataclass(frozen=True)
class RayOptions:
    """Where a cluster is, and what each worker takes of it.

    Attributes:
        address: ``HOST:PORT`` or ``ray://HOST:PORT``; None where it was not said.
        num_cpus: Processors; None for as many as a worker has threads.
        num_gpus: Graphics processors.
        memory: Bytes of memory, by which Ray chooses a node; it holds nobody to it.
        resources: The cluster's own resources by name.
    """

    address: str | None = None
    num_cpus: float | None = None
    num_gpus: float = 0.0
    memory: int = 0
    resources: Mapping[str, float] = field(default_factory=dict)

    def of_task(self, threads: int) -> dict[str, object]:
        """What one task asks for, as Ray's actors take it.

        Args:
            threads: Threads of the task.

        >>> RayOptions(num_gpus=1).of_task(2)
        {'num_cpus': 2, 'num_gpus': 1}
        """
        told: dict[str, object] = {"num_cpus": threads if self.num_cpus is None else self.num_cpus}
        found = {"num_gpus": self.num_gpus, "memory": self.memory, "resources": dict(self.resources)}
        return told | {name: value for name, value in found.items() if value}


def checked_ray_options(words: Mapping[str, object]) -> RayOptions:
    """Options as a user wrote them.

    Args:
        words: Values by name: ``{"address": "10.0.0.1:6379", "num_gpus": 1, "resources.big": 1}``.

    Raises:
        UsageError: There is no such option, or its value has no meaning.

    >>> checked_ray_options({"num_cpus": "2", "resources.big": "1"})
    RayOptions(address=None, num_cpus=2, num_gpus=0.0, memory=0, resources={'big': 1})
    """
    flat: dict[str, object] = {}
    for key, value in words.items():
        name = str(key).strip().lstrip("-").replace("-", "_") if not str(key).startswith(CUSTOM) else str(key)
        flat |= {f"{CUSTOM}{one}": two for one, two in value.items()} if isinstance(value, dict) else {name: value}
    resources: dict[str, float] = {}
    found: dict[str, float] = {}
    address: str | None = None
    for name, value in flat.items():
        if name == "address":
            address = str(value).strip()
        elif name in ("num_cpus", "num_gpus", "memory"):
            found[name] = _amount(name, value)
        elif name.startswith(CUSTOM) and _RESOURCE.fullmatch(name.removeprefix(CUSTOM)):
            resources[name.removeprefix(CUSTOM)] = _amount(name, value)
        else:
            close = get_close_matches(name, KNOWN, n=1)
            fix = f"did you mean {close[0]}?" if close else f"write {', '.join(KNOWN[:-1])}, or {CUSTOM}NAME"
            raise UsageError(f"--ray {name[:60]} was not understood", "openrlb passes no such option on", fix)
    memory = int(found.pop("memory", 0))
    return RayOptions(address, found.get("num_cpus"), found.get("num_gpus", 0.0), memory, resources)


def _amount(name: str, value: object) -> float:
    """A number that is not negative.

    Raises:
        UsageError: It is none.
    """
    try:
        number = float(value)  # type: ignore[arg-type]
        if isinstance(value, bool) or not math.isfinite(number) or number < 0:
            raise ValueError(value)
    except (TypeError, ValueError) as error:
        what = "a number of bytes" if name == "memory" else "a number"
        raise UsageError(f"--ray {name}={str(value)[:60]} was not understood", f"it is not {what}", f"write {name}=1") from error
    return int(number) if number == int(number) else number
