"""What wall time was spent on: the machines of the groups of an analysis, and what else the store says ran beside their runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from openrlb.errors import HardwareDiffers, NothingMatched
from openrlb.store import Store
from openrlb.types import Selection

if TYPE_CHECKING:
    from openrlb.types import Curve
    from openrlb_analysis.analyse import Analysis
    from openrlb_analysis.machines import GroupMachines, Span

OWN = "openrlb"
"""The source of runs that openrlb trained: of these alone it is known when they ran, and on what."""
LONGEST = timedelta(days=7)
"""How long before a run another may have begun that still ran beside it."""


def group_machines(store: Store, analysis: Analysis) -> tuple[GroupMachines, ...]:
    """The machines of each group, and how many runs were trained there at once.

    Runs of ours that are not part of the analysis count too where they ran at the same time on an equal machine.

    Args:
        store: Where such runs are looked for.
        analysis: The scored groups.
    """
    from openrlb_analysis.machines import machines_of

    groups: dict[str, list[Curve]] = {group.label: [] for group in analysis.prepared.groups}
    for (label, _), one in analysis.scored.items():
        groups[label] += one.curves
    return machines_of(groups, _beside(store, groups))


def _beside(store: Store, groups: Mapping[str, Sequence[Curve]]) -> list[Span]:
    """When runs of ours that are not in the groups were trained on machines like theirs, at the time of theirs."""
    from openrlb.store.schema import literal
    from openrlb_analysis.machines import machine_words, span_of

    mine = [curve for curves in groups.values() for curve in curves if curve.run.source == OWN]
    spans = [span for curve in mine if (span := span_of(curve)) is not None]
    if not spans:
        return []
    alike, taken = {machine_words(curve.run.hardware) for curve in mine}, {curve.run.run for curve in mine}
    first = datetime.fromtimestamp(min(start for start, _ in spans), UTC) - LONGEST
    last = datetime.fromtimestamp(max(end for _, end in spans), UTC)
    within = f"created BETWEEN {literal(first.isoformat())} AND {literal(last.isoformat())}"
    try:
        rows = store.runs(Selection(where=f"source = {literal(OWN)} AND {within}"))
    except NothingMatched:
        return []
    others = {
        row.record.run: row.record.created
        for row in rows
        if row.record.run not in taken and machine_words(row.record.hardware) in alike and row.record.created
    }
    if not others:
        return []
    where = f"run IN ({', '.join(map(literal, sorted(others)))}) AND kind IN ('episode', 'eval') AND time_s > 0"
    found = []
    for run, seconds in store.query(f"SELECT run, max(time_s) FROM points WHERE {where} GROUP BY run").rows:
        start = datetime.fromisoformat(others[run]).timestamp()
        found.append((start, start + float(seconds)))
    return found


def check_alike(machines: Sequence[GroupMachines], allowed: bool) -> list[str]:
    """Makes sure that wall times of unlike machines are compared only where that was asked for.

    Args:
        machines: The groups' machines.
        allowed: Whether it was asked for.

    Returns:
        What must be said.

    Raises:
        HardwareDiffers: The machines are unlike.
    """
    from openrlb_analysis.machines import unlike_machines

    kinds = unlike_machines(machines)
    told = "; ".join(f"{one.label}: {one.words()}" for one in machines[:6]) + ("; ..." if len(machines) > 6 else "")
    if kinds and not allowed:
        raise HardwareDiffers(
            "wall times of unlike machines say nothing of algorithms", told,
            "select runs of one machine (--where), use --x steps, or add --allow-mixed-hardware",
        )  # fmt: skip
    notes = [f"the machines are unlike, as allowed: {told}"] if kinds else []
    unknown = sum(one.unknown for one in machines)
    if unknown:
        notes.append(f"the hardware of {unknown} runs is not recorded: whether their times can be compared, nobody can tell")
    return notes
