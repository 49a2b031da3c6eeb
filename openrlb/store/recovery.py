"""Recovery: which of the files that lie in a store hold its runs, and which runs must be put together from several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from openrlb.store.catalog import StoredRun
from openrlb.store.generations import Generation
from openrlb.store.layout import VALUES

Key = tuple[str, str]


@dataclass(slots=True)
class Recovery:
    """What a rebuild goes on with.

    Attributes:
        runs: The newest version of each run that can be had, by its id.
        live: Generations that hold the runs they have, whole, and each run once; oldest first.
        retired: Generations that live ones were made of.
        left: Other generations: what can be had of their runs lies elsewhere, or shall be put together.
        apart: The ids of runs that no generation holds whole.
        without_series: Those of them whose hardware series are lost.
        without_files: The ids of runs of which a file that was kept with them is lost.
        holders: Of each kind of values, the generation that has a run's rows, by its id.
    """

    runs: dict[int, StoredRun]
    live: list[Generation] = field(default_factory=list)
    retired: list[Generation] = field(default_factory=list)
    left: list[Generation] = field(default_factory=list)
    apart: list[int] = field(default_factory=list)
    without_series: list[int] = field(default_factory=list)
    without_files: list[int] = field(default_factory=list)
    holders: dict[str, dict[int, Generation]] = field(default_factory=dict)


def recover(found: Iterable[Generation]) -> Recovery:
    """Decides run by run, for a version of a run has one id and the same rows wherever it is.

    Of each run the newest version counts whose record is somewhere and whose points are somewhere. A generation is used as it
    is where it has all of these that it has anything of, whole; merged ones come before what they were made of.

    Args:
        found: What lies in the store.
    """
    generations = _by_age(found)
    holdings = _Holdings(generations)
    recovery = Recovery({stored.run_id: stored for stored in holdings.newest().values()}, holders=holdings.holders)
    served: set[int] = set()
    made_of: set[object] = set()
    for one in reversed(generations):
        mine = one.ids() & recovery.runs.keys()
        if (
            one.is_whole
            and not mine & served
            and all(holdings.serves(one, run_id) for run_id in mine)
            and (mine or one.name not in made_of)
        ):
            recovery.live.insert(0, one)
            served |= mine
            made_of |= one.made_of
        elif one.name in made_of and mine <= served:
            recovery.retired.append(one)
        else:
            recovery.left.append(one)
    recovery.apart = sorted(recovery.runs.keys() - served)
    for run_id in recovery.apart:
        stored = recovery.runs[run_id]
        if "system" in holdings.needs(run_id) and run_id not in holdings.holders["system"]:
            recovery.without_series.append(run_id)
            stored = replace(stored, digest="")  # else a fetch would find it unchanged
        recovery.runs[run_id] = replace(stored, kinds=tuple(kind for kind in VALUES if run_id in holdings.holders[kind]))
    return recovery


def _by_age(found: Iterable[Generation]) -> list[Generation]:
    """Generations in the order in which they were made; those that others were made of come first, whatever a clock said."""
    found = list(found)
    replaced = {name for one in found for name in one.made_of}
    return sorted(found, key=lambda one: (one.name not in replaced, one.name.name, str(one.name)))


class _Holdings:
    """What the readable files hold of each run.

    Attributes:
        records: The newest record of each run id.
        holders: Of each kind of values, the generation that has a run's rows, by its id.
    """

    def __init__(self, generations: list[Generation]) -> None:
        """Args: generations: oldest first."""
        self.records = {run_id: stored for one in generations for run_id, stored in one.records.items()}
        self.holders: dict[str, dict[int, Generation]] = {kind: {} for kind in VALUES}
        self._having: dict[int, list[Generation]] = {}
        for one in generations:
            for run_id in one.records:
                self._having.setdefault(run_id, []).append(one)
            for kind in VALUES:
                rows = one.held.get(kind, set())
                self.holders[kind] |= {run_id: one for run_id in rows if self._is_of(one, run_id, run_id in self.holders[kind])}

    def _is_of(self, one: Generation, run_id: int, is_held: bool) -> bool:
        """Whether rows are those of the run that has their id; without a record beside them, where no others are."""
        return self.records[run_id].key == one.records[run_id].key if run_id in one.records else not is_held

    def needs(self, run_id: int) -> set[str]:
        """The kinds of files that have, or had, rows of a run."""
        kinds = self.records[run_id].kinds
        if kinds is not None:
            return set(kinds) & set(VALUES)
        return {kind for kind in VALUES if run_id in self.holders[kind] or self._was_lost(kind, run_id)}

    def _was_lost(self, kind: str, run_id: int) -> bool:
        """Whether rows may have been there which nobody has: for stores of which no record tells."""
        having = self._having.get(run_id, [])
        if any(kind in one.parts for one in having):
            return False
        return kind == "points" or any(kind in one.torn for one in having)

    def newest(self) -> Mapping[Key, StoredRun]:
        """The newest version of each run whose record and points are somewhere."""
        newest: dict[Key, StoredRun] = {}
        for run_id, stored in self.records.items():
            lost = run_id not in self.holders["points"] and "points" in self.needs(run_id)
            if not lost and (stored.key not in newest or newest[stored.key].run_id < run_id):
                newest[stored.key] = stored
        return newest

    def serves(self, one: Generation, run_id: int) -> bool:
        """Whether a generation has a run whole."""
        own = one.records.get(run_id)
        kinds = self.needs(run_id)
        return own is not None and own.key == self.records[run_id].key and all(run_id in one.held.get(kind, ()) for kind in kinds)
