"""Salvage: writes runs whose parts lie in several files together again."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from openrlb.store.catalog import StoredRun
from openrlb.store.files import time_after
from openrlb.store.generations import KINDS, Generation
from openrlb.store.layout import VALUES, Layout
from openrlb.store.points import no_points, ordered, read_points, write_points, write_runs
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
    known = (one.name.stem.split("-")[1] for one in [*recovery.live, *recovery.retired, *recovery.left])
    stamp = f"{time_after(known)}-{uuid.uuid4().hex[:8]}"
    made = []
    for number, ((folder, _), records) in enumerate(groups.items()):
        held = {kind: records.keys() & recovery.holders[kind].keys() for kind in VALUES}
        kinds = [kind for kind in KINDS if kind != "system" or held[kind]]
        parts = {kind: folder / f"{kind}-{stamp}-{number}.parquet" for kind in kinds}
        made.append(Generation(parts["runs"], parts, held=held, records=records))
    return made


def write(one: Generation, holders: Mapping[str, Mapping[int, Generation]], metrics: Sequence[Sequence[Any]]) -> None:
    """Writes a planned generation, its records last.

    Args:
        one: The generation.
        holders: Of each kind of values, the generation that has a run's rows, by its id.
        metrics: The metric ids with their names.
    """
    import pyarrow as pa

    for kind in VALUES:
        if kind in one.parts:
            sources: dict[Path, list[int]] = {}
            for run_id in sorted(one.held[kind]):
                sources.setdefault(holders[kind][run_id].parts[kind], []).append(run_id)
            rows = pa.concat_tables([no_points(), *(read_points(path, ids) for path, ids in sources.items())])
            write_points(one.parts[kind], ordered(rows), metrics)
    write_runs(one.parts["runs"], list(one.records.values()))
