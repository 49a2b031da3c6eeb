"""What must hold of whatever comes out of openrlb, and what a kind of input is."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openrlb.types import RunBatch


class BrokenError(AssertionError):
    """What came out cannot be: an altered number, or a run that the store does not give back."""


@dataclass(frozen=True)
class Target:
    """One kind of input.

    Attributes:
        name: What it is called.
        seeds: Valid inputs.
        take: Gives an input to openrlb; the folder is empty and its own.
        words: What means something in this format.
        repaired: Makes an input pass the format's checksums, so that what is behind them is reached; half of the inputs.
    """

    name: str
    seeds: Callable[[], list[bytes]]
    take: Callable[[bytes, Path], object]
    words: Sequence[bytes] = ()
    repaired: Callable[[bytes], bytes] | None = None


def stored(folder: Path, batches: Sequence[RunBatch]) -> None:
    """The store gives runs back as they are, or refuses them."""
    from openrlb.store import content_digest
    from openrlb.store.segment import read_segment, write_segment

    if batches:
        back = read_segment(write_segment(folder / "spool", batches))
        if [content_digest(one) for one in back] != [content_digest(one) for one in batches]:
            raise BrokenError("the store gives back other runs than it was given")


def read_all(place: Path, folder: Path, maps: Sequence[str] = (), **options: Any) -> list[RunBatch]:
    """Everything that a folder or file holds, stored and read back."""
    from openrlb.sources import ReadOptions, read

    found = [one for one in read(place, ReadOptions(map=tuple(maps), **options)) if isinstance(one, RunBatch)]
    stored(folder, found)
    return found


def only(batches: Iterable[RunBatch], allowed: Iterable[float], what: str) -> None:
    """Every value is one that the input holds."""
    held = {struct.pack("<d", number) for number in allowed}
    for batch in batches:
        for metric in batch.metrics:
            for value in metric.values.tolist():
                if not math.isnan(value) and struct.pack("<d", value) not in held:
                    raise BrokenError(f"{metric.metric.name} has {value!r}, which {what} does not hold")


_TOKEN = re.compile(rb"[^\s,;|\"'\[\]{}:()]+")


def tokens(data: bytes) -> list[float]:
    """Everything in a text that is a number."""
    found = [1.0, 0.0, math.inf, -math.inf]
    for word in _TOKEN.findall(data):
        try:
            number = float(word)
        except ValueError:
            continue
        found += [number]
    return found
