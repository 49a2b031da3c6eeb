"""Logger tables of one run: Stable-Baselines3's ``progress.csv``, OpenAI baselines', Spinning Up's ``progress.txt``."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openrlb.errors import MapError, OpenrlbError, SourceError
from openrlb.sources.delimited import open_delimited
from openrlb.sources.metrics import metric
from openrlb.sources.table import numbers
from openrlb.types import MetricBatch, StepUnit


@dataclass(frozen=True, slots=True)
class LoggerFormat:
    """One logger's columns.

    Attributes:
        impl: The implementation.
        step: The column with the training step.
        time: The column with seconds since the run began.
        needs: Columns of which one must be there too, so that a plain table is not taken for a log; empty for none.
        step_unit: What the step counts.
    """

    impl: str
    step: str
    time: str
    needs: tuple[str, ...] = ()
    step_unit: StepUnit = "agent_step"


FORMATS = (
    LoggerFormat("sb3", "time/total_timesteps", "time/time_elapsed"),
    LoggerFormat("baselines", "misc/total_timesteps", "misc/time_elapsed"),
    LoggerFormat("baselines", "total_timesteps", "time_elapsed", ("eprewmean", "ep_reward_mean")),
    LoggerFormat("baselines", "TimestepsSoFar", "TimeElapsed", ("EpRewMean",)),
    LoggerFormat("baselines", "steps", "", ("mean 100 episode reward",)),
    LoggerFormat("spinningup", "TotalEnvInteracts", "Time", ("AverageEpRet", "AverageTestEpRet")),
)


def format_of_columns(columns: Collection[str]) -> LoggerFormat | None:
    """The logger that writes such columns, or None.

    >>> format_of_columns(["time/total_timesteps", "rollout/ep_rew_mean"]).impl
    'sb3'
    >>> format_of_columns(["algo", "env", "total_timesteps", "return"]) is None
    True
    """
    for known in FORMATS:
        if known.step in columns and (not known.needs or any(name in columns for name in known.needs)):
            return known
    return None


def logger_of(path: Path) -> LoggerFormat | None:
    """The logger that wrote a CSV file, or None.

    Raises:
        OSError: The file cannot be opened.
    """
    try:
        return format_of_columns(open_delimited(path).columns)
    except OpenrlbError:
        return None


def read_progress(path: Path, logger: LoggerFormat) -> tuple[list[MetricBatch], list[str], int]:
    """Reads every numeric column at its own rows; a blank is no value, ``nan`` is one.

    Returns:
        The metrics, notes, and how many rows could not be read.

    Raises:
        SourceError: The file cannot be read.
        MapError: The step column holds no steps.
        OSError: The file cannot be opened.
    """
    table = open_delimited(path)
    loaded = table.load(table.columns)
    bad, notes = loaded.bad_rows, []
    step = numbers(loaded.columns[logger.step], logger.step, "step")
    finite = np.abs(step.values) < 2**62  # NaN is not
    usable = step.there & finite & (step.values == np.floor(np.where(finite, step.values, 0)))
    if loaded.rows and not usable.any():
        raise SourceError(f"{path.name} is not read", f"{logger.step} holds no steps", "look at the file")
    bad += int((~usable & (step.there | step.bad)).sum())
    unplaced = int((~step.there & ~step.bad).sum())
    if unplaced:
        notes.append(f"{path.name}: {unplaced} rows without {logger.step} are left out")
    clock = None
    if logger.time in table.columns:
        seconds = numbers(loaded.columns[logger.time], logger.time, "time")
        if (seconds.there & (np.abs(seconds.values) <= 1e12))[usable].all():
            clock = np.round(np.where(usable, seconds.values, 0) * 1000).astype(np.int64)
    textual, batches = [], []
    for name in table.columns:
        if name in (logger.step, logger.time):
            continue
        try:
            column = numbers(loaded.columns[name], name, "value")
        except MapError:
            textual.append(name)
            continue
        bad += int(column.bad.sum())
        rows = np.flatnonzero(usable & column.there)
        if len(rows):
            steps = step.values[rows].astype(np.int64)
            batches.append(MetricBatch(metric(name), steps, column.values[rows], None if clock is None else clock[rows]))
    if textual:
        notes.append(f"{path.name}: columns that hold text are not read: {', '.join(textual)}")
    if bad:
        notes.append(f"{path.name}: {bad} rows or entries could not be read")
    if loaded.damage:
        notes.append(f"{path.name}: {loaded.damage}; the rows before are kept")
    return batches, notes, bad + (loaded.damage is not None)
