"""What one ``.wandb`` file says of its run: the client's protobuf records, taken one by one."""

from __future__ import annotations

import json
import math
import time
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openrlb.errors import SourceError
from openrlb.sources.files import open_regular
from openrlb.sources.protocol import MAX_COLUMNS
from openrlb.sources.wandb_records import MAGIC, Damage, records
from openrlb.words import counted

FRESH_SECONDS = 60.0
"""A log without an exit record that changed this recently is a run that still goes on."""
_SPECIAL = {"true": 1.0, "false": 0.0, '"NaN"': math.nan, '"Infinity"': math.inf, '"-Infinity"': -math.inf}
_NO_NUMBER = object()


@dataclass(slots=True)
class Log:
    """What one ``.wandb`` file holds.

    Attributes:
        path: The file.
        run_id: The run's id, or None where the file ends before it.
        project: The run's project.
        name: The run's name for people.
        started: When the run began, Unix time in seconds.
        tags: Its tags.
        commit: The commit of the training code.
        config: Its settings.
        summary: The summary's JSON texts by nested key.
        machine: The environment record, without what names a person or a machine.
        axes: The metric that each metric, or pattern of metrics, says it is drawn against.
        rows: How many history rows there are.
        columns: Row numbers and values by name.
        not_numbers: Names that were logged as something else (texts, histograms, media).
        exit_code: The exit code, or None where there is no exit record.
        damage: What is wrong with the file, in words.
        fresh: True where the file changed within the last minute.
        notes: What was noticed.
    """

    path: Path
    run_id: str | None = None
    project: str = ""
    name: str = ""
    started: float | None = None
    tags: tuple[str, ...] = ()
    commit: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[tuple[str, ...], str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    axes: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    columns: dict[str, tuple[array[int], array[float]]] = field(default_factory=dict)
    not_numbers: set[str] = field(default_factory=set)
    exit_code: int | None = None
    damage: str = ""
    fresh: bool = False
    notes: list[str] = field(default_factory=list)


def read_log(path: Path) -> Log:
    """Reads one ``.wandb`` file; of a damaged one, every record that is whole.

    Raises:
        SourceError: It does not begin as such a file does.
        OSError: It cannot be read.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from wandb.proto.wandb_internal_pb2 import Record as Message  # type: ignore[attr-defined]

    log, damage, garbled = Log(path), Damage(), 0
    with open_regular(path) as handle:
        log.fresh = time.time() - path.stat().st_mtime < FRESH_SECONDS
        if handle.read(len(MAGIC)) != MAGIC:
            raise SourceError(f"{path.name} is not read", "it is no Weights & Biases log", "get the file again")
        for data in records(handle, damage):
            try:
                message = Message.FromString(data)
                garbled += not _take(message, log)
            except DecodeError:
                garbled += 1
    problems = [damage.words()] if damage.words() else []
    problems += (
        [f"{counted(garbled, 'record')} could not be understood and {'is' if garbled == 1 else 'are'} left out"]
        if garbled
        else []
    )
    log.damage = "; ".join(problems)
    return log


def _take(message: Any, log: Log) -> bool:  # noqa: ANN401 -- a generated message class
    """Takes one record; False where its content is no valid JSON."""
    match message.WhichOneof("record_type"):
        case "history":
            return _take_row(message.history, log)
        case "summary":
            for item in message.summary.update:
                log.summary[tuple(item.nested_key) or (item.key,)] = item.value_json
            for item in message.summary.remove:
                log.summary.pop(tuple(item.nested_key) or (item.key,), None)
        case "config":
            return _take_config(message.config, log)
        case "run":
            run = message.run
            log.run_id, log.project = run.run_id or log.run_id, run.project or log.project
            log.name, log.tags = run.display_name or log.name, tuple(run.tags) or log.tags
            if run.start_time.seconds and log.started is None:
                log.started = run.start_time.seconds + run.start_time.nanos / 1e9
            log.commit = run.git.commit or log.commit
            return _take_config(run.config, log)
        case "environment":
            log.commit = message.environment.git.commit or log.commit
            _take_machine(message.environment, log)
        case "metric":
            if message.metric.step_metric:
                log.axes[message.metric.name or message.metric.glob_name] = message.metric.step_metric
        case "exit":
            log.exit_code = message.exit.exit_code
        case _:
            pass
    return True


def _take_row(history: Any, log: Log) -> bool:  # noqa: ANN401 -- a generated message class
    """Takes one history row: numbers by name; what is no number is named once."""
    row, columns, whole = log.rows, log.columns, True
    log.rows += 1
    seen_step = False
    for item in history.item:
        nested = item.nested_key
        name = (nested[0] if len(nested) == 1 else ".".join(nested)) if nested else item.key
        number = _number(item)
        if not isinstance(number, float):
            whole &= number is _NO_NUMBER
            log.not_numbers.add(name)
            continue
        if name not in columns:
            if len(columns) >= MAX_COLUMNS:
                log.not_numbers.add("and more names than a log has")
                continue
            columns[name] = (array("q"), array("d"))
        seen_step |= name == "_step"
        rows, values = columns[name]
        if not rows or rows[-1] != row:
            rows.append(row)
            values.append(number)
    if not seen_step:
        rows, values = columns.setdefault("_step", (array("q"), array("d")))
        rows.append(row)
        values.append(float(history.step.num))
    return whole


def _number(item: Any) -> object:  # noqa: ANN401 -- a generated message class
    """A logged value as a number; ``_NO_NUMBER`` for another one, None for broken JSON."""
    text = item.value_json
    if not text:
        kind = item.WhichOneof("value")
        return float(getattr(item, kind)) if kind in ("boolean", "integer", "number") else _NO_NUMBER
    try:
        return float(text)
    except ValueError:
        pass
    if text in _SPECIAL:
        return _SPECIAL[text]
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return None
    return _NO_NUMBER


def _take_config(config: Any, log: Log) -> bool:  # noqa: ANN401 -- a generated message class
    """Takes changes of the settings."""
    whole = True
    for item in config.update:
        keys = tuple(item.nested_key) or (item.key,)
        try:
            value = json.loads(item.value_json)
        except (ValueError, RecursionError):
            whole = False
            continue
        if keys[0] != "_wandb":
            put(log.config, keys, value)
    for item in config.remove:
        keys = tuple(item.nested_key) or (item.key,)
        place: Any = log.config
        for key in keys[:-1]:
            place = place.get(key) if isinstance(place, dict) else None
        if isinstance(place, dict):
            place.pop(keys[-1], None)
    return whole


def put(into: dict[str, Any], keys: tuple[str, ...], value: object) -> None:
    """Sets a nested key."""
    for key in keys[:-1]:
        inner = into.get(key)
        if not isinstance(inner, dict):
            inner = into[key] = {}
        into = inner
    into[keys[-1]] = value


def _take_machine(environment: Any, log: Log) -> None:  # noqa: ANN401 -- a generated message class
    """Takes what of the environment names neither a person nor a machine; it comes in several parts."""
    found = {
        "system": environment.os,
        "python": environment.python.removeprefix("CPython "),
        "cpu": environment.cpu.model,
        "cpu_count": environment.cpu_count,
        "memory": environment.memory.total,
        "gpu": environment.gpu_type,
        "gpu_count": environment.gpu_count,
        "cuda": environment.cuda_version,
    }
    log.machine |= {key: value for key, value in found.items() if value}
