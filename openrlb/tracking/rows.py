"""The row file of a tracked run: one ``write`` for each logged row, so that a killed process loses none of them.

A frame is ``crc32, length of the body, shape`` (three little-endian uint32) and the body. Shape 0 is JSON: what a shape's
columns are, or what a metric is. Any other shape is a row: step and milliseconds as int64, then its values as float64.
Beside a JSON line for each row (benchmarks/tracking.py) it costs as much or less, every bit of a value and a step is kept,
and a torn row is known by its checksum.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openrlb.tracking.metrics import metric_of
from openrlb.types import Metric, MetricBatch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HEADER = struct.Struct("<III")
MAX_SHAPES = 4096
"""Different sets of names that a run may log together; a row of any further set is written value by value."""

_DEFINITION = 0


class RowWriter:
    """Appends rows to a file. Not locked: the run that owns it is.

    Args:
        path: The file; made where it is missing, appended to where it is not.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._shapes: dict[tuple[str, ...], tuple[struct.Struct, int, int]] = {}
        self._numbers = count(1)

    def append(self, step: int, time_ms: int, names: tuple[str, ...], values: Sequence[float]) -> None:
        """Writes one row; once this returns, the row survives the end of the process.

        Args:
            step: The training step.
            time_ms: Milliseconds since the run began.
            names: The metrics' names, at least one.
            values: One value for each name.

        Raises:
            OSError: The row could not be written; nothing of it is left in the file.
            struct.error: The step is outside int64.
        """
        known = self._shapes.get(names)
        if known is None:
            if len(self._shapes) >= MAX_SHAPES and len(names) > 1:
                for name, value in zip(names, values, strict=True):
                    self.append(step, time_ms, (name,), (value,))
                return
            known = (struct.Struct(f"<IIqq{len(names)}d"), 16 + 8 * len(names), next(self._numbers))
            row = known[0].pack(*known[1:], step, time_ms, *values)
            self._write(_described({"shape": known[2], "names": names}) + _checked(row))
            self._shapes[names] = known  # only now: a row that was not written must describe its shape again
        else:
            row = known[0].pack(known[1], known[2], step, time_ms, *values)
            self._write(zlib.crc32(row).to_bytes(4, "little") + row)

    def define(self, metric: Metric) -> None:
        """Writes what a metric is.

        Raises:
            OSError: It could not be written.
        """
        self._write(_described({"metric": [metric.name, metric.kind, metric.canonical]}))

    def copy_to(self, path: Path) -> None:
        """Goes on in another file that holds everything written so far: for a run whose folder was taken away.

        Raises:
            OSError: The new file cannot be written; the old one stays in use.
        """
        new = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_EXCL, 0o644)
        try:
            position = 0
            while chunk := os.pread(self._file, 1 << 20, position):
                position += len(chunk)
                if os.write(new, chunk) != len(chunk):
                    raise OSError("the disk is full")
        except OSError:
            os.close(new)
            path.unlink(missing_ok=True)
            raise
        os.close(self._file)
        self._file = new

    def is_at(self, path: Path) -> bool:
        """Whether the file is still the one that a path names."""
        try:
            return os.path.samestat(os.fstat(self._file), path.stat())
        except OSError:
            return False

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)

    def _write(self, frame: bytes) -> None:
        """One write; a short one is taken back, so that later rows do not follow half a row."""
        written = os.write(self._file, frame)
        if written != len(frame):
            os.ftruncate(self._file, os.fstat(self._file).st_size - written)
            raise OSError("the disk is full")


def _checked(rest: bytes) -> bytes:
    """A frame from what follows its checksum."""
    return zlib.crc32(rest).to_bytes(4, "little") + rest


def _described(content: dict[str, Any]) -> bytes:
    """A frame of JSON."""
    body = json.dumps(content).encode()
    return _checked(struct.pack("<II", len(body), _DEFINITION) + body)


@dataclass(frozen=True, slots=True)
class Rows:
    """What a row file holds.

    Attributes:
        metrics: One batch for each metric, in the order of first logging.
        count: The number of rows.
        torn: Bytes after the last whole row.
        backward: How often a row's step is smaller than the one before it.
    """

    metrics: tuple[MetricBatch, ...]
    count: int
    torn: int
    backward: int


@dataclass(slots=True)
class _Shape:
    """Rows of one set of names: their bodies end to end, and their places in the file."""

    names: tuple[str, ...]
    bodies: bytearray = field(default_factory=bytearray)
    places: array[int] = field(default_factory=lambda: array("q"))


def read_rows(data: bytes) -> Rows:
    """Reads a row file up to its first damaged frame.

    Args:
        data: The file's bytes.

    Returns:
        All whole rows; a row that was torn by a kill is the last one and is left out.
    """
    shapes: list[_Shape] = []
    current: dict[int, _Shape] = {}
    declared: dict[str, Metric] = {}
    view, position, place = memoryview(data), 0, 0
    while position + HEADER.size <= len(data):
        checksum, length, number = HEADER.unpack_from(data, position)
        start, end = position + HEADER.size, position + HEADER.size + length
        if end > len(data) or zlib.crc32(view[position + 4 : end]) != checksum:
            break
        if number == _DEFINITION:
            try:
                _define(json.loads(data[start:end]), shapes, current, declared)
            except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
                break
        else:
            shape = current.get(number)
            if shape is None or length != 16 + 8 * len(shape.names):
                break
            shape.bodies += view[start:end]
            shape.places.append(place)
            place += 1
        position = end
    metrics, backward = _batches(shapes, declared)
    return Rows(metrics, place, len(data) - position, backward)


def _define(content: dict[str, Any], shapes: list[_Shape], current: dict[int, _Shape], declared: dict[str, Metric]) -> None:
    """Takes in one frame of JSON."""
    if "shape" in content:
        shape = _Shape(tuple(str(name) for name in content["names"]))
        shapes.append(shape)
        current[int(content["shape"])] = shape
    else:
        name, kind, canonical = content["metric"]
        declared[name] = Metric(name, kind, canonical)


def _batches(shapes: list[_Shape], declared: dict[str, Metric]) -> tuple[tuple[MetricBatch, ...], int]:
    """One batch for each name, its rows in logged order whatever they were logged with."""
    import numpy as np

    columns: dict[str, list[tuple[NDArray[np.int64], ...]]] = {}
    order: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for shape in shapes:
        if not shape.places:
            continue  # described, and then killed before the row
        rows = np.frombuffer(shape.bodies, [("step", "<i8"), ("ms", "<i8"), ("values", "<f8", (len(shape.names),))])
        places = np.frombuffer(shape.places, np.int64)
        order.append((places, rows["step"]))
        for column, name in enumerate(shape.names):
            columns.setdefault(name, []).append((places, rows["step"], rows["ms"], rows["values"][:, column]))
    metrics = []
    for name, parts in columns.items():
        places, steps, times, values = (np.concatenate(part) for part in zip(*parts, strict=True))
        sort = np.argsort(places, kind="stable")
        metric = declared.get(name) or metric_of(name)
        metrics.append(MetricBatch(metric, steps[sort], values[sort].astype(np.float64), times[sort]))
    if not order:
        return (), 0
    places, steps = (np.concatenate(part) for part in zip(*order, strict=True))
    return tuple(metrics), int((np.diff(steps[np.argsort(places)]) < 0).sum())
