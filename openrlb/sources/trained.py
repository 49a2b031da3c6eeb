"""What a runner writes: ``metrics.jsonl``, ``config.json``, ``env.json`` and, if it came to its end, ``done.json``."""

from __future__ import annotations

import hashlib
import json
import math
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from openrlb.sources.metrics import EPISODIC_LENGTH, metric
from openrlb.sources.protocol import MAX_FRAMES_PER_STEP, MAX_SETTINGS_BYTES, MAX_TABLE_BYTES, STEP_LIMIT
from openrlb.types import EPISODIC_RETURN, Metric, MetricBatch, Run, RunBatch, RunKey, RunState

RETURN = Metric("episodic_return", "episode", EPISODIC_RETURN)
LENGTH = Metric("episodic_length", "episode", EPISODIC_LENGTH)
EVALUATION = Metric("eval/episodic_return", "eval", EPISODIC_RETURN)
EVALUATION_LENGTH = Metric("eval/episodic_length", "eval", EPISODIC_LENGTH)
EPISODES = {"episode": ((RETURN, "return"), (LENGTH, "length")), "eval": ((EVALUATION, "return"), (EVALUATION_LENGTH, "length"))}
"""The metrics of a row, by what the row is, and the entries that hold their values."""

METRICS, CONFIG, ENV, DONE = "metrics.jsonl", "config.json", "env.json", "done.json"
FINGERPRINT = ("python", "implementation", "system", "machine", "libc", "cpu", "cpu_flags", "gpu", "torch", "variables")
"""The entries of ``env.json`` that describe the machine; others are not kept, for a runner may write a host's name."""

MAX_LINE_BYTES = 65_536
MAX_NAMES = 1000
_MAX_NAME = 200


@dataclass(slots=True)
class Output:
    """What lies in the folder that a runner wrote into.

    Attributes:
        config: What it really applied, or None where it wrote nothing that can be read.
        env: What it saw of the machine and its packages, likewise.
        done: Its last word, likewise.
        metrics: One batch for each metric.
        notes: What a reader should know.
        kept: The bytes of these files.
    """

    config: dict[str, Any] | None = None
    env: dict[str, Any] | None = None
    done: dict[str, Any] | None = None
    metrics: tuple[MetricBatch, ...] = ()
    notes: list[str] = field(default_factory=list)
    kept: dict[str, bytes] = field(default_factory=dict)


def read_output(folder: Path) -> Output:
    """Reads what a runner left, however it ended: good rows and records are kept, the others noted."""
    output = Output()
    for name in (CONFIG, ENV, DONE):
        try:
            setattr(output, name.removesuffix(".json"), _document(folder / name, output.kept))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, RecursionError) as error:
            output.notes.append(f"{name} cannot be read ({error})")
    output.kept.pop(DONE, None)
    output.metrics, notes = read_rows(folder / METRICS)
    output.notes += notes
    return output


def _document(path: Path, kept: dict[str, bytes]) -> dict[str, Any]:
    """A JSON object of bounded size.

    Raises:
        ValueError: It is no object, or too large.
    """
    if path.stat().st_size > MAX_SETTINGS_BYTES:
        raise ValueError(f"it is larger than {MAX_SETTINGS_BYTES >> 20} MiB")
    data = path.read_bytes()
    document = json.loads(data)
    if not isinstance(document, dict):
        raise ValueError("it holds no object")
    kept[path.name] = data
    return document


def kept_files(sources: Mapping[str, bytes], locks: Mapping[str, bytes]) -> dict[str, bytes]:
    """The names that a run's kept files have: the runner's own, and its locks below ``lock/``."""
    return {**sources, **{f"lock/{name}": data for name, data in locks.items()}}


def batch_of(output: Output, key: RunKey, *, impl: str, state: RunState, source: str, files: Mapping[str, bytes]) -> RunBatch:
    """A run from its key and what its runner left.

    Args:
        output: What the runner left.
        key: What the run is.
        impl: The runner's name.
        state: How it ended.
        source: The run's source, and its project.
        files: Files to keep with the run beside the runner's own records.

    Raises:
        TypeError: A record holds something of the wrong kind.
    """
    config, env = output.config or {}, output.env or {}
    packages = env.get("packages")
    blobs = {**output.kept, **files}
    if isinstance(packages, list):
        blobs["requirements.txt"] = "".join(f"{line}\n" for line in packages).encode(errors="replace")
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in blobs.items()}
    frames, wrappers, unit = config.get("frames_per_step"), config.get("wrappers"), config.get("step_unit")
    steps = (output.done or {}).get("steps")  # a last episode may have ended long before
    machine = {name: env[name] for name in FINGERPRINT if name in env}
    run = Run(
        source=source,
        run=key.digest,
        project=source,
        name=f"{key.algo}-{key.env}-{key.seed}",
        algo=key.algo,
        impl=impl,
        env=key.env,
        seed=key.seed,
        state=state,
        role=key.role,
        config=settings_of(key),
        step_unit=unit if unit in ("agent_step", "frame") else "unknown",
        frames_per_step=frames if type(frames) is int and 1 <= frames <= MAX_FRAMES_PER_STEP else None,
        wrappers=tuple(map(str, wrappers)) if isinstance(wrappers, list) else (),
        steps=steps if type(steps) is int and 0 <= steps < STEP_LIMIT else None,
        requirements=digests.get("requirements.txt"),
        files=digests,
        hardware={**machine, "threads": key.threads, "device": key.device},
        notes=tuple(output.notes),
    )
    return RunBatch(run, output.metrics, blobs)


def settings_of(key: RunKey) -> dict[str, Any]:
    """The settings that tell a run's variant: hyperparameters, steps, and what the environment and evaluations were told.

    >>> key = RunKey("ppo", "s", "l", "Hopper-v5", {}, {"n_steps": 8}, 1000, "none", 1, 1, "cpu", {"every": 10, "episodes": 2})
    >>> settings_of(key)
    {'n_steps': 8, 'steps': 1000, 'eval_every': 10, 'eval_episodes': 2}
    """
    evaluation = {f"eval_{name}": value for name, value in key.evaluation.items() if name != "deterministic" or value is False}
    kwargs = {"env_kwargs": dict(key.env_kwargs)} if key.env_kwargs else {}
    return {**key.hyperparameters, "steps": key.steps, **kwargs, **evaluation}


def values_of(row: Mapping[str, Any]) -> tuple[int, float, list[tuple[Metric, float]]]:
    """The step, the time in seconds (-1 where it is not told) and the values of one row of ``metrics.jsonl``.

    Raises:
        ValueError: An entry out of its range.
        KeyError, TypeError: An entry that is missing, or of another kind.

    >>> values_of({"t": "scalar", "step": 5, "k": "train/loss", "v": 0.5, "time": 1.0})
    (5, 1.0, [(Metric(name='train/loss', kind='other', canonical=None), 0.5)])
    """
    step, seconds = _number(row["step"]), _number(row.get("time", -1.0))
    if not abs(step) < STEP_LIMIT or not abs(seconds) * 1000 < STEP_LIMIT or step != int(step):
        raise ValueError("a step or a time that is none")
    if row["t"] in EPISODES:
        told = [(named, key) for named, key in EPISODES[row["t"]] if key in row or key == "return"]
        return int(step), seconds, [(named, float(_number(row[key]))) for named, key in told]
    name = row["k"]
    if row["t"] != "scalar" or not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME or not name.isprintable():
        raise ValueError("a row of another kind, or a name that is none")
    return int(step), seconds, [(metric(name), float(_number(row["v"])))]


def _number(value: object) -> int | float:
    """A number; a truth value is none.

    Raises:
        TypeError: Something else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("no number")
    return value


def read_rows(path: Path) -> tuple[tuple[MetricBatch, ...], list[str]]:
    """One batch for each metric of a ``metrics.jsonl``, in logged order, and notes on what was left out."""
    import numpy as np

    found: dict[Metric, tuple[array[int], array[float], array[int]]] = {}
    torn = crowded = 0
    for row in _rows(path):
        try:
            if row is None:
                raise ValueError
            step, seconds, values = values_of(row)
        except (KeyError, TypeError, ValueError, OverflowError):
            torn += 1
            continue
        for named, value in values:
            if named not in found and len(found) >= MAX_NAMES:
                crowded += 1
                continue
            columns = found.setdefault(named, (array("q"), array("d"), array("q")))
            columns[0].append(step)
            columns[1].append(value)
            columns[2].append(math.floor(seconds * 1000 + 0.5))
    batches = []
    for named, (steps, numbers, times) in found.items():
        clock = np.array(times, np.int64)
        known = clock if (clock >= 0).all() else None
        batches.append(MetricBatch(named, np.array(steps, np.int64), np.array(numbers, np.float64), known))
    notes = [f"{torn} rows of {METRICS} were torn and left out"] if torn else []
    notes += [f"{crowded} values of metrics beyond the first {MAX_NAMES} names were left out"] if crowded else []
    if path.is_file() and path.stat().st_size > MAX_TABLE_BYTES:
        notes.append(f"rows beyond the first {MAX_TABLE_BYTES >> 30} GiB of {METRICS} were left out")
    return tuple(batches), notes


def _rows(path: Path) -> Iterator[Mapping[str, Any] | None]:
    """The rows of ``metrics.jsonl``; None for one that is torn or far too long."""
    try:
        file: IO[bytes] = path.open("rb")
    except OSError:
        return
    with file:
        left, whole = MAX_TABLE_BYTES, True
        while left > 0 and (line := file.readline(MAX_LINE_BYTES)):
            left -= len(line)
            begun, whole = whole, line.endswith(b"\n")
            if begun:
                yield parse_row(line)


def parse_row(line: bytes) -> Mapping[str, Any] | None:
    """One line as a row, or None where it is none.

    >>> parse_row(b'{"t": "eval"}'), parse_row(b'{"t": "ev'), parse_row(b'[]')
    ({'t': 'eval'}, None, None)
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None
