"""Stable-Baselines3's ``evaluations.npz``: what ``EvalCallback`` saw, several episodes at each evaluation."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openrlb.errors import SourceError
from openrlb.sources.metrics import EPISODIC_LENGTH, SUCCESS_RATE
from openrlb.sources.npz import members, read_member
from openrlb.sources.protocol import STEP_LIMIT
from openrlb.types import EPISODIC_RETURN, Metric, MetricBatch

_FIX = "look at the file with numpy.load(..., allow_pickle=False)"


def is_evaluations(path: Path) -> bool:
    """Whether an npz file is one that ``EvalCallback`` wrote."""
    try:
        return {"timesteps", "results"} <= set(members(path))
    except (OSError, SourceError, zipfile.BadZipFile):
        return path.name == "evaluations.npz"  # a damaged one, to be named as such


def read_evaluations(path: Path) -> tuple[list[MetricBatch], int]:
    """Reads the means over the episodes of each evaluation, and the single episodes.

    Returns:
        The metrics, and how many evaluations are left out because their timestep is out of range.

    Raises:
        SourceError: Damaged, holding Python objects, or with arrays of unlike length.
        OSError: The file cannot be read.
    """
    names = members(path)
    steps = _numeric(path, "timesteps", 1)
    if not np.array_equal(steps, np.floor(steps)):
        raise SourceError(f"{path.name} is not read", "its timesteps are not whole numbers", _FIX)
    kept = (steps > -STEP_LIMIT) & (steps < STEP_LIMIT)
    steps = np.where(kept, steps, 0).astype(np.int64)
    results = _numeric(path, "results", 2)
    batches = [_mean("eval/mean_reward", EPISODIC_RETURN, steps, results, path)]
    if "ep_lengths" in names:
        batches.append(_mean("eval/mean_ep_length", EPISODIC_LENGTH, steps, _numeric(path, "ep_lengths", 2), path))
    if "successes" in names:
        batches.append(_mean("eval/success_rate", SUCCESS_RATE, steps, _numeric(path, "successes", 2), path))
    batches = [MetricBatch(batch.metric, batch.steps[kept], batch.values[kept]) for batch in batches]
    repeated = np.repeat(steps[kept], results.shape[1])
    batches.append(MetricBatch(Metric("eval/episode_reward"), repeated, results[kept].reshape(-1)))
    return batches, int((~kept).sum())


def _numeric(path: Path, name: str, axes: int) -> NDArray[Any]:
    """One array with the given number of axes; axes of length 1 behind them are taken away."""
    array = read_member(path, name)
    while array.ndim > axes and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != axes or array.dtype.kind not in "iufb":
        raise SourceError(f"{path.name} is not read", f"{name} has shape {array.shape} and type {array.dtype}", _FIX)
    return array.astype(np.float64 if axes == 2 or array.dtype.kind == "f" else np.int64)


def _mean(name: str, canonical: str, steps: NDArray[np.int64], episodes: NDArray[Any], path: Path) -> MetricBatch:
    """The mean over the episodes of each evaluation."""
    if len(episodes) != len(steps) or not episodes.shape[1]:
        why = f"{len(steps)} timesteps, but {name} of shape {episodes.shape}"
        raise SourceError(f"{path.name} is not read", why, _FIX)
    return MetricBatch(Metric(name, "eval", canonical), steps, episodes.mean(axis=1))
