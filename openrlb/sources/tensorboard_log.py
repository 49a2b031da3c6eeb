"""What TensorBoard event files say of one run: scalars, hyperparameters, and the names of what is neither."""

from __future__ import annotations

import ast
import re
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from openrlb.sources.files import open_regular
from openrlb.sources.pauses import pauses_of
from openrlb.sources.protocol import MAX_COLUMNS
from openrlb.sources.tensorboard_events import Damage, events, messages

HPARAMS = b"hparams"
TEXTS = ("hyperparameters/text_summary", "hyperparameters")
"""The text in which CleanRL writes its settings, as torch and tensorboardX name it."""
_TYPES = {1: ("float_val", "<f"), 2: ("double_val", "<d"), 3: ("int_val", "<i"), 9: ("int64_val", "<q")}


@dataclass(slots=True)
class Events:
    """What event files hold.

    Attributes:
        tags: Steps, values and Unix times in seconds by tag, in the order of the events.
        others: Tags that hold no scalars (histograms, images, texts).
        config: Hyperparameters.
        started: The first event's Unix time, or None.
        files: How many files of one folder these are.
        damage: What is wrong, in words.
        notes: What was noticed.
    """

    tags: dict[str, tuple[array[int], array[float], array[float]]] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)
    config: dict[str, Any] = field(default_factory=dict)
    started: float | None = None
    files: int = 1
    damage: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many values there are."""
        return sum(len(steps) for steps, _, _ in self.tags.values())


def read_events(path: Path) -> Events:
    """Reads one event file; of a damaged one, every event that is whole.

    Raises:
        OSError: The file cannot be read.
    """
    found, damage = Events(), Damage()
    with open_regular(path) as handle:
        for event in events(handle, damage):
            if found.started is None or event.wall_time < found.started:
                found.started = event.wall_time
            for value in event.summary.value:
                _take(value, event, found)
        if not handle.tell():
            damage.cut = True
    found.damage = damage.words()
    if found.started is None:
        found.damage = found.damage and "it is no TensorBoard event file, or cut inside its first record"
    return found


def _take(value: Any, event: Any, found: Events) -> None:  # noqa: ANN401 -- a generated message class
    """Takes one value of a summary: a scalar, hyperparameters, or something else that is only named."""
    tag = value.tag.decode("utf-8", errors="replace")
    if value.metadata.plugin_data.plugin_name == HPARAMS:
        found.config |= _hparams(value.metadata.plugin_data.content)
        return
    number = value.simple_value if value.HasField("simple_value") else _scalar(value.tensor) if value.HasField("tensor") else None
    if number is None:
        if tag in TEXTS:
            found.config |= _table_of(b"".join(value.tensor.string_val))
        else:
            found.others.add(tag)
        return
    if tag not in found.tags:
        if len(found.tags) >= MAX_COLUMNS:
            found.others.add("and more tags than a log has")
            return
        found.tags[tag] = (array("q"), array("d"), array("d"))
    steps, values, times = found.tags[tag]
    steps.append(event.step)
    values.append(number)
    times.append(event.wall_time)


def _scalar(tensor: Any) -> float | None:  # noqa: ANN401 -- a generated message class
    """The number in a tensor of one element, or None."""
    if tensor.dtype not in _TYPES or any(dim.size != 1 for dim in tensor.tensor_shape.dim):
        return None
    name, layout = _TYPES[tensor.dtype]
    if tensor.tensor_content:
        fits = len(tensor.tensor_content) == struct.calcsize(layout)
        return float(struct.unpack(layout, tensor.tensor_content)[0]) if fits else None
    stored = getattr(tensor, name)
    return float(stored[0]) if stored else 0.0  # an empty list stands for zeros


def _hparams(content: bytes) -> dict[str, Any]:
    """The hyperparameters of TensorBoard's hparams plugin."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        entries = messages()["HParams"].FromString(content).session_start_info.hparams
    except DecodeError:
        return {}
    found: dict[str, Any] = {}
    for entry in entries:
        key, value = entry.key.decode("utf-8", errors="replace"), entry.value
        if value.HasField("bool_value"):
            found[key] = value.bool_value
        elif value.HasField("number_value"):
            whole = value.number_value.is_integer() and abs(value.number_value) < 2**53
            found[key] = int(value.number_value) if whole else value.number_value
        elif value.HasField("string_value"):
            found[key] = value.string_value.decode("utf-8", errors="replace")
    return found


def _table_of(text: bytes) -> dict[str, Any]:
    r"""The settings in CleanRL's text ``hyperparameters``, a table with a line for each.

    >>> _table_of(b"|param|value|\n|-|-|\n|lr|0.0003|\n|env_id|Hopper-v4|\n|cuda|True|\n|target_kl|None|")
    {'lr': 0.0003, 'env_id': 'Hopper-v4', 'cuda': True, 'target_kl': None}
    """
    found: dict[str, Any] = {}
    for line in text.decode("utf-8", errors="replace").splitlines():
        cells = re.fullmatch(r"\s*\|([^|]+)\|(.*)\|\s*", line)
        if cells and not set(cells[1].strip()) <= {"-", ":"} and cells[1].strip() != "param":
            found[cells[1].strip()] = _literal(cells[2].strip())
    return found


def _literal(text: str) -> object:
    """A Python number, truth value, None or list of them as itself, anything else as text.

    >>> _literal("[1, 2]"), _literal("1e-3"), _literal("Hopper-v4")
    ([1, 2], 0.001, 'Hopper-v4')
    """
    if len(text) > 1000 or not re.match(r"[-+\d.\[(]|True$|False$|None$", text):
        return text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return text


def joined(parts: Sequence[Events]) -> Events:
    """The files of one run in the order in which they began, without the pauses between them."""
    whole = Events()
    for part in sorted(parts, key=lambda part: (part.started is None, part.started)):
        whole.started = part.started if whole.started is None else whole.started
        for tag, columns in part.tags.items():
            into = whole.tags.setdefault(tag, (array("q"), array("d"), array("d")))
            into[0].extend(columns[0])
            into[1].extend(columns[1])
            into[2].extend(columns[2])
        whole.others |= part.others
        whole.config |= part.config
        whole.damage = whole.damage or part.damage
    _skip_pauses(whole, [part.started for part in parts if part.started is not None])
    return whole


def _skip_pauses(whole: Events, sessions: Sequence[float]) -> None:
    """Takes the time between sessions out of the clock."""
    if len(sessions) < 2 or not whole.tags:
        return
    clocks = {tag: np.array(seconds, np.float64) for tag, (_, _, seconds) in whole.tags.items()}
    found = pauses_of(np.concatenate(list(clocks.values())), sessions)
    whole.notes += found.note()
    if found.ends:
        whole.tags = {tag: (*columns[:2], array("d", found.without(clocks[tag]))) for tag, columns in whole.tags.items()}
