"""Salvage: writes runs whose parts lie in several files together again."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from openrlb.store.arrow import numbers, to_numpy
from openrlb.store.catalog import StoredRun
from openrlb.store.generations import Generation
from openrlb.store.layout import VALUES, Layout
from openrlb.store.points import no_points, ordered, write_points, write_runs
from openrlb.store.recovery import Recovery


def planned(layout: Layout, recovery: Recovery) -> list[Generation]:
    """The generations that shall hold the runs that lie apart; of each points file that has some of them, one in a partition.

    Args:
        layout: The store.
        recovery: What was decided.

    Returns:
        They have records and the names of their files; nothing was written.
    """
    groups: dict[tuple[Path, str], dict[int, StoredRun]] = {}
    for run_id in recovery.apart:
        stored = recovery.runs[run_id]
        holder = recovery.holders["points"].get(run_id)
        place = layout.partition(stored.run.project, stored.run.env), "" if holder is None else str(holder.name)
        groups.setdefault(place, {})[run_id] = stored
    stamp = f"{_later(recovery):020d}-{uuid.uuid4().hex[:8]}"
    made = []
    for number, ((folder, _), records) in enumerate(groups.items()):
        held = {kind: records.keys() & recovery.holders[kind].keys() for kind in VALUES}
        kinds = [kind for kind in (*VALUES, "runs") if kind != "system" or held[kind]]
        parts = {kind: folder / f"{kind}-{stamp}-{number}.parquet" for kind in kinds}
        told = {
            run_id: replace(stored, kinds=tuple(kind for kind in VALUES if run_id in held[kind]))
            for run_id, stored in records.items()
        }
        made.append(Generation(parts["runs"], parts, held=held, records=told))
    return made


def _later(recovery: Recovery) -> int:
    """A time in nanoseconds after that of every file, for a clock may have jumped back."""
    generations = [*recovery.live, *recovery.retired, *recovery.left]
    stamps = [one.name.name.split("-")[1].removesuffix(".parquet") for one in generations]
    return max([time.time_ns(), *(int(stamp) + 1 for stamp in stamps if stamp.isdecimal() and len(stamp) == 20)])


def write(one: Generation, holders: Mapping[str, Mapping[int, Generation]], metrics: Sequence[Sequence[Any]]) -> None:
    """Writes a planned generation, its records last.

    Args:
        one: The generation.
        holders: Of each kind of values, the generation that has a run's rows, by its id.
        metrics: The metric ids with their names.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    for kind in VALUES:
        if kind in one.parts:
            sources: dict[Path, list[int]] = {}
            for run_id in sorted(one.held[kind]):
                sources.setdefault(holders[kind][run_id].parts[kind], []).append(run_id)
            parts = [no_points()]
            for path, ids in sources.items():
                with pq.ParquetFile(path, page_checksum_verification=True) as file:
                    rows = file.read().replace_schema_metadata(None)
                parts.append(rows.filter(numbers(pa.bool_(), np.isin(to_numpy(rows["run_id"]), np.array(ids, np.int32)))))
            write_points(one.parts[kind], ordered(pa.concat_tables(parts)), metrics)
    write_runs(one.parts["runs"], list(one.records.values()))
