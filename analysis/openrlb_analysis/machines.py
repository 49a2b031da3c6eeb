"""What wall time was spent on: which machines a group's runs used, how many ran at once, and whether clocks stood still."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from openrlb.types import Curve, Run, Steps, Values

    Span = tuple[float, float]

MILLISECONDS_PER_HOUR = 3_600_000
LONG_GAP_MS = 600_000
LONG_GAP_RATIO = 20.0
"""A run that logs nothing for ten minutes, and twenty times as long as it usually does, may have been paused."""


@dataclass(frozen=True, slots=True)
class GroupMachines:
    """What one group's runs were trained on.

    Attributes:
        label: The group's label.
        machines: For each kind of machine, in words, how many runs.
        unknown: Runs whose machine was not recorded.
        at_once: The smallest and the largest number of runs that were trained at the same time as one of the group (that one
            counted), each averaged over its time and rounded; None where nobody recorded when they began.
    """

    label: str
    machines: Mapping[str, int]
    unknown: int
    at_once: tuple[int, int] | None = None

    def words(self) -> str:
        """The group's machines in words.

        >>> GroupMachines("ppo", {"Xeon, 1 thread": 5}, 0, (1, 2)).words(), GroupMachines("a", {}, 3).words()
        ('Xeon, 1 thread, 1 to 2 runs at a time', 'hardware not recorded')
        """
        kinds = [words if len(self.machines) == 1 else f"{words} ({_runs(count)})" for words, count in self.machines.items()]
        if self.unknown:
            kinds.append("hardware not recorded" if not kinds else f"not recorded ({_runs(self.unknown)})")
        if self.at_once is not None:
            low, high = self.at_once
            kinds.append(f"{low} to {_runs(high)} at a time" if low < high else f"{_runs(low)} at a time")
        return ", ".join(kinds)


def machine_words(hardware: Mapping[str, Any]) -> str:
    """What decides a run's speed, of a hardware record: processor, the accelerator that was used, threads; empty: not recorded.

    >>> machine_words({"cpu": "Xeon", "threads": 1, "device": "cpu", "gpu": "H100", "python": "3.11"})
    'Xeon, 1 thread'
    >>> machine_words({"cpu_count": 8, "gpu": "RTX 3060"}), machine_words({"python": "3.11"})
    ('RTX 3060, 8 cores', '')
    """
    parts = []
    gpu = hardware.get("gpu")
    if isinstance(gpu, str) and gpu and hardware.get("device") != "cpu":
        parts.append(gpu)
    cpu, cores, threads = hardware.get("cpu"), hardware.get("cpu_count"), hardware.get("threads")
    if isinstance(cpu, str) and cpu:
        parts.append(cpu)
    elif isinstance(cores, int) and not isinstance(cores, bool):
        parts.append(f"{cores} cores")
    if parts and isinstance(threads, int) and not isinstance(threads, bool):
        parts.append(f"{threads} thread{'s' if threads > 1 else ''}")
    return ", ".join(parts)


def machines_of(groups: Mapping[str, Sequence[Curve]], others: Sequence[Span] = ()) -> tuple[GroupMachines, ...]:
    """The machines of each group's runs.

    Args:
        groups: For each label the runs that count.
        others: When runs that are not among them were trained on the same machines, as (begin, end) in Unix seconds.
    """
    spans = {run: span for curves in groups.values() for run, span in map(_named_span, curves) if span is not None}
    averages = dict(zip(spans, runs_at_once([*spans.values(), *others]).tolist(), strict=False))
    found = []
    for label, curves in groups.items():
        known = Counter(words for curve in curves if (words := machine_words(curve.run.hardware)))
        mine = [averages[_name(curve.run)] for curve in curves if _name(curve.run) in averages]
        at_once = (round(min(mine)), round(max(mine))) if mine else None
        found.append(GroupMachines(label, dict(known.most_common()), len(curves) - known.total(), at_once))
    return tuple(found)


def unlike_machines(machines: Sequence[GroupMachines]) -> tuple[str, ...]:
    """The kinds of machines where there are several; empty where all that are recorded are alike.

    >>> unlike_machines([GroupMachines("a", {"x": 2}, 0), GroupMachines("b", {"y": 1}, 1)])
    ('x', 'y')
    >>> unlike_machines([GroupMachines("a", {"x": 2}, 0), GroupMachines("b", {}, 1)])
    ()
    """
    kinds = tuple(dict.fromkeys(words for one in machines for words in one.machines))
    return kinds if len(kinds) > 1 else ()


def runs_at_once(spans: Sequence[Span]) -> Values:
    """How many runs, itself among them, were trained during each run, averaged over its time.

    Args:
        spans: When each run began and ended.

    Returns:
        Shape ``(runs,)``.

    >>> runs_at_once([(0.0, 10.0), (5.0, 10.0), (20.0, 30.0)]).tolist()
    [1.5, 2.0, 1.0]
    """
    if not len(spans):
        return np.zeros(0)
    starts, ends = (np.array(side, dtype=np.float64) for side in zip(*spans, strict=True))
    moments = np.concatenate([starts, ends])
    order = np.argsort(moments, kind="stable")
    times = moments[order]
    running = np.cumsum(np.concatenate([np.ones(len(starts)), -np.ones(len(ends))])[order])
    passed = np.concatenate([[0.0], np.cumsum(running[:-1] * np.diff(times))])
    lengths = ends - starts
    shared = np.interp(ends, times, passed) - np.interp(starts, times, passed)
    return np.where(lengths > 0, shared / np.where(lengths > 0, lengths, 1.0), 1.0)


def span_of(curve: Curve) -> Span | None:
    """When a run was trained, up to its last logged value, in Unix seconds; None where that is not recorded."""
    times = curve.times_ms
    if not curve.run.created or not len(times) or int(times.min()) < 0:
        return None
    try:
        began = datetime.fromisoformat(curve.run.created)
    except ValueError:
        return None
    start = (began if began.tzinfo else began.replace(tzinfo=UTC)).timestamp()
    return start, start + float(times.max()) / 1000.0


def longest_gap(times_ms: Steps) -> int:
    """The longest time without a value, in milliseconds, where it is long enough to be a pause; else 0.

    >>> minutes = 60_000 * np.array([1, 2, 3, 4, 5, 6, 500, 501])
    >>> longest_gap(minutes), longest_gap(np.arange(1, 9) * 3_600_000)
    (29640000, 0)
    """
    gaps = np.diff(times_ms)
    if len(gaps) < 3:
        return 0
    longest = int(gaps.max())
    return longest if longest >= max(LONG_GAP_MS, LONG_GAP_RATIO * float(np.median(gaps))) else 0


def pause_notes(curves: Sequence[Curve]) -> list[str]:
    """Names the runs whose times may count a pause."""
    paused = {curve.run.run: gap for curve in curves if len(curve.times_ms) and (gap := longest_gap(curve.times_ms))}
    if not paused:
        return []
    worst = max(paused, key=paused.__getitem__)
    hours = f"{paused[worst] / MILLISECONDS_PER_HOUR:.3g}"
    for_hours = f"for {hours} hour{'' if hours == '1' else 's'}"
    many = f"{len(paused)} runs logged nothing for ten minutes or more, {worst} {for_hours}"
    told = many if len(paused) > 1 else f"{worst} logged nothing {for_hours}"
    return [f"{told}: if that was a pause, the times count it"]


def _runs(count: int) -> str:
    return f"{count} run{'' if count == 1 else 's'}"


def _name(run: Run) -> tuple[str, str]:
    return run.source, run.run


def _named_span(curve: Curve) -> tuple[tuple[str, str], Span | None]:
    return _name(curve.run), span_of(curve)
