"""Incoming runs: what the spool's segments hold of each, read with the store's ids in place of the segment's names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openrlb.store.arrow import chosen, numbers, to_numpy
from openrlb.store.points import ROWS_PER_FILE, no_points, points_columns
from openrlb.types import Run

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Incoming:
    """One run of one segment, with the place of its rows.

    Attributes:
        segment: The segment.
        position: The run's place in its footer.
        run: The record.
        digest: The hash of everything the run holds.
        metrics: ``[name, kind, canonical]`` of each of its metrics.
        kept: The files kept with it.
        rows: How many rows it has.
    """

    segment: Path
    position: int
    run: Run
    digest: str
    metrics: list[list[Any]]
    kept: dict[str, bytes]
    rows: int

    @property
    def has_system(self) -> bool:
        """True where a hardware series is among its metrics."""
        return any(_is_system(metric) for metric in self.metrics)


def in_files(runs: Mapping[int, Incoming]) -> Iterator[dict[int, Incoming]]:
    """Runs of one partition in handfuls that make files of a bounded size.

    Args:
        runs: The runs by their id.
    """
    chunk: dict[int, Incoming] = {}
    rows = 0
    for run_id, item in runs.items():
        if chunk and rows + item.rows > ROWS_PER_FILE:
            yield chunk
            chunk, rows = {}, 0
        chunk[run_id] = item
        rows += item.rows
    if chunk:
        yield chunk


def read_rows(runs: Mapping[int, Incoming], metric_ids: Mapping[tuple[str, str], int]) -> dict[str, pa.Table]:
    """The rows of some runs, in the order in which they were logged, by the kind of file they go to.

    Args:
        runs: The runs by their id.
        metric_ids: The ids of metrics by name and kind.

    Returns:
        ``points`` and, where a run has such metrics, ``system``: the hardware series.
    """
    import pyarrow as pa

    parts: dict[str, list[pa.Table]] = {"points": [], "system": []}
    segments: dict[Path, dict[int, int]] = {}
    for run_id, item in runs.items():
        segments.setdefault(item.segment, {})[item.position] = run_id
    for path, numbered in segments.items():
        for part, system in _segment_rows(path, numbered, runs, metric_ids):
            parts["points"].append(chosen(part, ~system) if system.any() else part)
            if system.any():
                parts["system"].append(chosen(part, system))
    kinds = ["points", *(["system"] if any(item.has_system for item in runs.values()) else [])]
    return {kind: pa.concat_tables(parts[kind]) if parts[kind] else no_points() for kind in kinds}


def _segment_rows(
    path: Path, numbered: Mapping[int, int], runs: Mapping[int, Incoming], metric_ids: Mapping[tuple[str, str], int]
) -> Iterator[tuple[pa.Table, NDArray[Any]]]:
    """The rows of a segment's wanted runs, one group of rows after the other, and which of them are hardware series."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = dict(points_columns())
    ids = np.full(max(numbered) + 2, -1, np.int32)  # a position beyond the last wanted one is looked up in the last place
    first = np.zeros(len(ids), np.int64)
    known: list[tuple[int, bool]] = []
    for position, run_id in numbered.items():
        ids[position], first[position] = run_id, len(known)
        known += [(metric_ids[metric[0], metric[1]], _is_system(metric)) for metric in runs[run_id].metrics]
    number = np.array([metric_id for metric_id, _ in known], np.int16)
    is_system = np.array([system for _, system in known], bool)
    with pq.ParquetFile(path) as file:
        for group in _groups_with(file, list(numbered)):
            rows = file.read_row_group(group)
            run = np.minimum(to_numpy(rows["run"]), len(ids) - 1)
            wanted = ids[run] >= 0
            if not wanted.all():
                rows, run = chosen(rows, wanted), run[wanted]
            place = first[run] + to_numpy(rows["metric"])
            columns = [numbers(kinds["run_id"], ids[run]), numbers(kinds["metric_id"], number[place])]
            columns += [rows[name] for name in ("step", "t_ms", "value")]
            yield pa.Table.from_arrays(columns, schema=pa.schema(list(kinds.items()))), is_system[place]


def _groups_with(file: pq.ParquetFile, positions: Sequence[int]) -> Iterator[int]:
    """The groups of rows that may hold one of some runs: a segment's rows lie run by run."""
    place = file.schema_arrow.get_field_index("run")
    for group in range(file.metadata.num_row_groups):
        told = file.metadata.row_group(group).column(place).statistics
        if told is None or not told.has_min_max or any(told.min <= position <= told.max for position in positions):
            yield group


def _is_system(metric: Sequence[Any]) -> bool:
    """True for a hardware series."""
    return bool(metric[1] == "system")
