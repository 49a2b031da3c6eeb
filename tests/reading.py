"""What the tests of tracked files share: a folder read at once, and a run's metrics by name."""

from __future__ import annotations

from pathlib import Path

from openrlb.sources import Guess, ReadOptions, read
from openrlb.types import MetricBatch, RunBatch, Skipped


def load(path: Path, *maps: str, **options: object) -> tuple[list[RunBatch], list[Skipped], list[str]]:
    found = list(read(path, ReadOptions(map=maps, **options)))  # type: ignore[arg-type]
    runs = [record for record in found if isinstance(record, RunBatch)]
    guesses = [record.map for record in found if isinstance(record, Guess)]
    return runs, [record for record in found if isinstance(record, Skipped)], guesses


def metrics(batch: RunBatch) -> dict[str, MetricBatch]:
    assert len({metric.metric.name for metric in batch.metrics}) == len(batch.metrics)
    return {metric.metric.name: metric for metric in batch.metrics}
