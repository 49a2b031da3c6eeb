"""Stable-Baselines3's ``monitor.csv``: one line for each episode, one file for each environment of a vector environment."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openrlb.errors import SourceError
from openrlb.sources.files import open_regular, read_bounded
from openrlb.sources.metrics import EPISODIC_LENGTH
from openrlb.sources.pauses import pauses_of
from openrlb.sources.protocol import MAX_TABLE_BYTES
from openrlb.types import EPISODIC_RETURN, Metric, MetricBatch, MetricKind

Floats = NDArray[np.float64]
_SAME_START_SECONDS = 600.0
_MOST_STEPS = 2.0**53
_MOST_SECONDS = 1e12  # larger ones are no clock, and their milliseconds fit no integer
_BOOLEANS = {"True": 1.0, "False": 0.0}


@dataclass(slots=True)
class MonitorFile:
    """One monitor file.

    Attributes:
        path: The file.
        env: The environment's id, or None where the header names none.
        t_start: When the file was opened, Unix time in seconds.
        columns: The columns by name, each of shape ``(episodes,)``; ``t`` counts seconds since ``t_start``.
        notes: What was dropped or looks odd.
        bad_rows: How many rows could not be read.
        sessions: When later sessions went on with the file, Unix time in seconds.
    """

    path: Path
    env: str | None
    t_start: float
    columns: dict[str, Floats]
    notes: list[str] = field(default_factory=list)
    bad_rows: int = 0
    sessions: list[float] = field(default_factory=list)


def is_environment(path: Path) -> bool:
    """Whether a monitor file's name is one that a run's environment gets: ``3.monitor.csv`` or ``monitor.csv``.

    >>> [is_environment(Path(name)) for name in ("3.monitor.csv", "monitor.csv", "seed3.monitor.csv")]
    [True, True, False]
    """
    return re.fullmatch(r"([0-9]+\.)?monitor\.csv", path.name) is not None


def seed_in_name(path: Path) -> int | None:
    """The seed in a monitor file's name (``seed3.monitor.csv``, ``s3.monitor.csv``), or None.

    >>> [seed_in_name(Path(f"{name}.monitor.csv")) for name in ("seed3", "s12", "3", "steps3")]
    [3, 12, None, None]
    """
    found = re.fullmatch(r"(?:seed|s)[_-]?([0-9]{1,18})\.monitor\.csv", path.name, re.IGNORECASE)
    return int(found[1]) if found else None


def header_of(path: Path) -> dict[str, Any] | None:
    """The JSON header of a monitor file, or None where the file is none.

    Raises:
        OSError: The file cannot be opened.
    """
    with open_regular(path) as handle:
        return _header(handle.readline(65_536))


def _header(line: bytes) -> dict[str, Any] | None:
    text = line.decode("utf-8-sig", errors="replace").strip()
    if not text.startswith("#"):
        return None
    try:
        header = json.loads(text[1:])
    except (ValueError, RecursionError):
        return None
    if not isinstance(header, dict) or not isinstance(header.get("t_start"), int | float):
        return None
    if not abs(header["t_start"]) <= _MOST_SECONDS:  # NaN too
        return None
    return header if "env_id" in header or "gym_version" in header else None


def read_monitor(path: Path) -> MonitorFile:
    """Reads one monitor file; rows that are cut or garbled are counted and left out.

    Raises:
        SourceError: No monitor file, or without the columns ``r``, ``l`` and ``t``.
        OSError: The file cannot be read.
    """
    data = read_bounded(path, MAX_TABLE_BYTES)
    first, _, body = data.partition(b"\n")
    header = _header(first)
    if header is None:
        raise SourceError(f"{path.name} is no monitor file", "its first line is not #{json}", "look at the file")
    env = header.get("env_id")
    names, _, rows = body.partition(b"\n")
    columns = [name.strip() for name in names.decode("utf-8", errors="replace").split(",")]
    found = MonitorFile(path, env if isinstance(env, str) and env not in ("", "None") else None, float(header["t_start"]), {})
    if not {"r", "l", "t"} <= set(columns):
        if not rows.strip():  # a run that was killed before its first episode ended
            found.columns = {name: np.zeros(0) for name in ("r", "l", "t")}
            found.notes.append(f"{path.name} holds no episode")
            return found
        why = f"its columns are {', '.join(columns)}"
        raise SourceError(f"{path.name} has no columns r, l and t", why, "look at the file's second line")
    found.columns = _clean_rows(rows, columns) or _dirty_rows(rows, columns, found)
    _cut_last_line(found, terminated=rows.endswith(b"\n"))
    if not len(found.columns["t"]):
        found.notes.append(f"{path.name} holds no episode")
    elif np.any(np.diff(found.columns["t"]) < 0):
        found.notes.append(f"{path.name}: its clock goes backwards, as where a second session wrote into the same file")
    return found


def _clean_rows(rows: bytes, columns: list[str]) -> dict[str, Floats] | None:
    """The columns of a file without a flaw, or None where a row-by-row look is needed."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    if not rows.strip():
        return {name: np.zeros(0) for name in columns}
    types = dict.fromkeys(columns, pa.float64())
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(rows),
            read_options=arrow_csv.ReadOptions(column_names=columns, use_threads=False),
            convert_options=arrow_csv.ConvertOptions(column_types=types, null_values=[""]),
        )
    except (pa.ArrowException, KeyError):
        return None
    found = {name: table[name].to_numpy() for name in columns}
    lengths = found["l"]
    whole = (lengths >= 0).all() and (lengths <= _MOST_STEPS).all() and (lengths == np.floor(lengths)).all()
    return found if whole and (np.abs(found["t"]) <= _MOST_SECONDS).all() and not table["r"].null_count else None


def _dirty_rows(rows: bytes, columns: list[str], found: MonitorFile) -> dict[str, Floats]:
    """The good rows of a damaged file; extra columns that are not numeric are left out by name."""
    kept: list[list[float]] = []
    textual: set[str] = set()
    shift = 0.0
    for line in re.split(r"\r\n|\r|\n", rows.decode("utf-8", errors="replace")):
        try:
            row = next(csv.reader([line]), [])
        except csv.Error:
            found.bad_rows += 1
            continue
        if not row or row == columns:
            continue
        if row[0].startswith("#"):  # a second session wrote its own header
            later = _header(",".join(row).encode())
            if later:
                found.sessions.append(float(later["t_start"]))
                shift = found.sessions[-1] - found.t_start
            continue
        numbers = _numbers(row, columns, textual)
        if numbers is None:
            found.bad_rows += 1
            continue
        numbers[columns.index("t")] += shift
        kept.append(numbers)
    if textual:
        found.notes.append(f"{found.path.name}: columns that hold text are not read: {', '.join(sorted(textual))}")
    if found.bad_rows:
        found.notes.append(f"{found.path.name}: {found.bad_rows} rows could not be read")
    table = np.array(kept, dtype=np.float64).reshape(len(kept), len(columns))
    return {name: table[:, number] for number, name in enumerate(columns) if name not in textual}


def _numbers(row: list[str], columns: list[str], textual: set[str]) -> list[float] | None:
    """One row as numbers, or None where ``r``, ``l`` or ``t`` is none."""
    if len(row) != len(columns):
        return None
    numbers = []
    for name, text in zip(columns, row, strict=True):
        try:
            numbers.append(_BOOLEANS[text] if text in _BOOLEANS else float(text or "nan"))
        except ValueError:
            if name in ("r", "l", "t"):
                return None
            textual.add(name)
            numbers.append(np.nan)
    length, clock = numbers[columns.index("l")], numbers[columns.index("t")]
    whole = 0 <= length <= _MOST_STEPS and length == int(length)
    return numbers if whole and abs(clock) <= _MOST_SECONDS and row[columns.index("r")].strip() else None


def _cut_last_line(found: MonitorFile, *, terminated: bool) -> None:
    """Drops a last line that was cut inside its clock: its numbers are all there, but the last one is too short."""
    clock = found.columns["t"]
    if terminated or len(clock) < 2 or clock[-1] >= clock[-2]:
        return
    found.columns = {name: column[:-1] for name, column in found.columns.items()}
    found.bad_rows += 1
    found.notes.append(f"{found.path.name}: its last line is cut and left out")


def merge(
    files: Sequence[MonitorFile], kind: MetricKind = "episode", *, with_steps: bool = True
) -> tuple[list[MetricBatch], list[str]]:
    """Merges the files of one vector environment by absolute time, as Stable-Baselines3's ``load_results`` does.

    The step of an episode is the sum of the lengths of all episodes that ended up to it.

    Args:
        files: The monitor files of one folder.
        kind: What the episodes are.
        with_steps: False where the episodes belong to no training step; all steps are then 0.

    Returns:
        A batch for ``r``, for ``l`` and for each extra numeric column, and notes.
    """
    names = list(dict.fromkeys(name for file in files for name in file.columns))
    sizes = [len(file.columns["t"]) for file in files]
    clock = np.concatenate([file.columns["t"] + file.t_start for file in files])
    order = np.argsort(clock, kind="stable")
    starts = [file.t_start for file in files]
    pauses = pauses_of(clock, [start for file in files for start in file.sessions])
    times = np.round((pauses.without(clock[order]) - min(starts)) * 1000).astype(np.int64)
    notes = [*(note for file in files for note in file.notes), *pauses.note()]
    if len(files) > 1:
        notes.append(f"merged {len(files)} environments' monitor files")
    if max(starts) - min(starts) > _SAME_START_SECONDS:
        minutes = (max(starts) - min(starts)) / 60
        notes.append(f"the monitor files began up to {minutes:.0f} minutes apart: there may be several runs in this folder")
    lengths = np.concatenate([file.columns["l"] for file in files])[order].astype(np.int64)
    steps = np.cumsum(lengths) if with_steps else np.zeros(len(order), np.int64)
    batches = []
    known: dict[str, Metric] = {"r": Metric("r", kind, EPISODIC_RETURN), "l": Metric("l", kind, EPISODIC_LENGTH)}
    for name in ["r", "l", *(name for name in names if name not in ("r", "l", "t"))]:
        parts = [file.columns.get(name, np.full(size, np.nan)) for file, size in zip(files, sizes, strict=True)]
        column = np.concatenate(parts)[order]
        there = np.ones(len(order), bool) if name in known else ~np.isnan(column)
        batches.append(MetricBatch(known.get(name, Metric(name)), steps[there], column[there], times[there]))
    return batches, notes
