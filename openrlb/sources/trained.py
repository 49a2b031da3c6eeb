"""A folder that one of our runners wrote: ``metrics.jsonl``, ``config.json``, ``env.json`` and, if it finished, ``done.json``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from openrlb.errors import SourceError
from openrlb.sources.protocol import MAX_SEED, STEP_LIMIT
from openrlb.types import EPISODIC_RETURN, Metric, MetricBatch, Role, Run, RunBatch, RunKey, RunState

RETURN = Metric("episodic_return", "episode", EPISODIC_RETURN)
LENGTH = Metric("episodic_length", "episode", "episodic_length")
EVALUATION = Metric("eval/episodic_return", "eval", EPISODIC_RETURN)


def read_trained(folder: Path, *, impl: str, runner_source: bytes, role: Role = "none", source: str = "openrlb") -> RunBatch:
    """Reads one run folder.

    Args:
        folder: What ``run.py --out`` wrote.
        impl: The runner's name.
        runner_source: The bytes of its ``run.py``, kept with the run.
        role: What the run was for.
        source: The run's source.

    Raises:
        SourceError: A record that is missing or cannot be read.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        seen = json.loads((folder / "env.json").read_text(encoding="utf-8"))
        requirements = "".join(f"{line}\n" for line in seen["packages"]).encode()
        if type(config["seed"]) is not int or not 0 <= config["seed"] <= MAX_SEED:
            raise ValueError(f"the seed {str(config['seed'])[:40]} is no whole number from 0 to 2**63 - 1")
        key = RunKey(
            algo=config["algo"],
            runner_source=hashlib.sha256(runner_source).hexdigest(),
            lock=hashlib.sha256(requirements).hexdigest(),
            env=config["env"],
            env_kwargs=config["env_kwargs"],
            hyperparameters=config["hyperparameters"],
            steps=config["steps"],
            role=role,
            seed=config["seed"],
            threads=config["threads"],
            device=config["device"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = f"{type(error).__name__}: {error}"
        raise SourceError(f"{folder.name} is no run folder", why, "train it again: the runner writes its records") from error
    metrics, notes = _metrics(folder / "metrics.jsonl")
    run = Run(
        source=source,
        run=key.digest,
        project=source,
        name=f"{config['algo']}-{config['env']}-{config['seed']}",
        algo=config["algo"],
        impl=impl,
        env=config["env"],
        seed=config["seed"],
        state=_state(folder),
        role=role,
        config={**config["hyperparameters"], "steps": config["steps"]},
        step_unit=config["step_unit"],
        wrappers=tuple(config["wrappers"]),
        requirements=key.lock,
        files={"run.py": key.runner_source, "requirements.txt": key.lock},
        hardware={"system": seen["system"], "python": seen["python"], "threads": config["threads"], "device": config["device"]},
        notes=tuple(notes),
    )
    return RunBatch(run, tuple(metrics), {"run.py": runner_source, "requirements.txt": requirements})


def _state(folder: Path) -> RunState:
    """Finished only where the runner's last act was seen."""
    return "finished" if (folder / "done.json").is_file() else "crashed"


def _rows(path: Path) -> Iterator[Mapping[str, Any] | None]:
    """The rows of ``metrics.jsonl``; None for one that is torn."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            yield row if isinstance(row, dict) else None


def _metrics(path: Path) -> tuple[list[MetricBatch], list[str]]:
    """One batch for each metric, and a note where rows were torn."""
    import numpy as np

    found: dict[Metric, list[tuple[int, float, int]]] = {}
    torn = 0
    for row in _rows(path):
        try:
            if row is None:
                raise ValueError
            step, time_ms = int(row["step"]), round(float(row.get("time", -0.001)) * 1000)
            if abs(step) >= STEP_LIMIT or abs(time_ms) >= STEP_LIMIT:
                raise ValueError
            pairs = {"episode": [(RETURN, "return"), (LENGTH, "length")], "eval": [(EVALUATION, "return")]}.get(row["t"])
            for metric, name in pairs or [(Metric(str(row["k"])), "v")]:
                found.setdefault(metric, []).append((step, float(row[name]), time_ms))
        except (KeyError, TypeError, ValueError, OverflowError):
            torn += 1
    batches = []
    for metric, values in found.items():
        steps, numbers, times = (np.array(column) for column in zip(*values, strict=True))
        known = times.astype(np.int64) if (times >= 0).all() else None
        batches.append(MetricBatch(metric, steps.astype(np.int64), numbers.astype(np.float64), known))
    return batches, [f"{torn} rows of metrics.jsonl were torn and left out"] if torn else []
