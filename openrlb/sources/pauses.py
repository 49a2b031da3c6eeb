"""Wall time without the pauses of a resumed run: between the last value of one session and the start of the next nothing ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SHORTEST = 60.0
"""Seconds without a value before a new session that count as a pause: less is how often a run logs, and its start."""


@dataclass(frozen=True, slots=True)
class Pauses:
    """When a run stood still.

    Attributes:
        ends: When sessions went on, in Unix seconds, rising.
        lengths: How long the run had stood still before each, in seconds.
    """

    ends: tuple[float, ...]
    lengths: tuple[float, ...]

    def without(self, times: Floats) -> Floats:
        """Times with the pauses before each of them taken out.

        Args:
            times: Unix seconds, shape ``(n,)``.
        """
        if not self.ends:
            return times
        taken = np.concatenate([[0.0], np.cumsum(self.lengths)])
        return np.asarray(times - taken[np.searchsorted(self.ends, times, side="right")], dtype=np.float64)

    def note(self) -> list[str]:
        """What is said of them."""
        if not self.ends:
            return []
        total = sum(self.lengths)
        told = f"{total / 3600:.3g} hours" if total >= 3600 else f"{total / 60:.3g} minutes"
        many = f"{len(self.ends)} pauses of" if len(self.ends) > 1 else "a pause of"
        return [f"resumed: {many} {told} between its sessions {'are' if len(self.ends) > 1 else 'is'} not counted in its times"]


def pauses_of(times: Floats, sessions: Sequence[float]) -> Pauses:
    """The pauses between a run's sessions.

    A session that begins while another one still logs, as parallel environments do, follows no pause.

    Args:
        times: When values were logged, in Unix seconds, in any order.
        sessions: When sessions began, the first one's too or not.

    >>> found = pauses_of(np.array([10.0, 20.0, 1000.0, 1010.0]), [0.0, 990.0])
    >>> found.lengths, found.without(np.array([20.0, 1000.0])).tolist()
    ((970.0,), [20.0, 30.0])
    """
    ordered = np.sort(times[np.isfinite(times)])
    ends: list[float] = []
    lengths: list[float] = []
    for start in sorted(set(sessions)):
        before = int(np.searchsorted(ordered, start))
        gap = start - float(ordered[before - 1]) if before else 0.0
        if gap < SHORTEST or before >= len(ordered):
            continue
        if ends and ends[-1] > ordered[before - 1]:  # a session that logged nothing began in the same pause
            ends.pop()
            lengths.pop()
        ends.append(float(start))
        lengths.append(gap)
    return Pauses(tuple(ends), tuple(lengths))
