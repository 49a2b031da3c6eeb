"""Runs of ``openrlb.track`` in this process, and what of them reached the spool, for the tests of tracking."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from openrlb.store import Store, read_segment
from openrlb.tracking import TrackedRun, track
from openrlb.types import Run, RunBatch


def start(**fields: Any) -> TrackedRun:
    return track(**{"algo": "ppo", "env": "Hopper-v5", "seed": 1, "capture": False, **fields})


def spooled() -> list[RunBatch]:
    """The runs in the spool, oldest first; reading them there spares each test a fold."""
    return [batch for path in sorted(Store().layout.spool.glob("*.parquet")) for batch in read_segment(path)]


def stored() -> Run:
    """The one run that reached the spool."""
    (batch,) = spooled()
    return batch.run


def points(name: str) -> list[tuple[int, float]]:
    """What the last run in the spool logged under a name, in logged order."""
    found = {batch.metric.name: batch for batch in spooled()[-1].metrics}
    return list(zip(found[name].steps.tolist(), found[name].values.tolist(), strict=True))


def folders() -> list[Path]:
    return [path for path in (Store().layout.root / "runs").glob("*/*") if path.is_dir()]
