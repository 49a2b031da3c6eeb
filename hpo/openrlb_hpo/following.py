"""A study that is held against its contract again and again while it grows: only what is new has to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from openrlb_hpo.contract import broken_by_trial, check
from openrlb_hpo.records import Reservation, StudyRecord, Trial
from openrlb_hpo.rules import broken_rules, place


class Follower:
    """Holds a study against its contract each time that it was read.

    What openrlb itself does to a study is little: trials and runs are added at the end, and those that are open end. Where
    nothing but that has happened since the last time, and nothing of it is wrong, the study is what it has to be; in every
    other case the whole of it is looked at (:func:`openrlb_hpo.contract.check`), which alone decides.
    """

    def __init__(self) -> None:
        self._last: StudyRecord | None = None
        self._places: set[tuple[str, str, str, int]] = set()
        self._runs: set[str] = set()
        self._shared: set[str] = set()
        self.whole_looks = 0

    def check(self, record: StudyRecord) -> None:
        """Refuses a study that breaks its contract.

        Args:
            record: The study. Records in it that are the same objects as the last time are not compared.

        Raises:
            ContractBroken: Something is wrong.
        """
        last, self._last = self._last, None
        known = 0 if last is None else len(last.reservations)
        if last is None or not self._goes_on(last, record):
            self.whole_looks += 1
            check(record)
            known = 0
            self._places.clear()
            self._runs.clear()
            self._shared.clear()
        for row in islice(record.reservations, known, None):
            self._places.add(place(row))
            (self._shared if row.run in self._runs else self._runs).add(row.run)
        self._last = record

    def _goes_on(self, last: StudyRecord, record: StudyRecord) -> bool:
        """Whether a study is the last one with nothing but new or ended trials and runs, none of which breaks a rule."""
        if _head(last) != _head(record) or record.spent > record.budget:
            return False
        trials = _trials_since(last.trials, record.trials)
        rows = _rows_since(last.reservations, record.reservations)
        if trials is None or rows is None:
            return False
        if record.frozen_at is not None and (trials or any(row.role != "test" for row in rows)):
            return False  # the incumbent is chosen: its choice is held against all that was tuned
        new = record.reservations[len(last.reservations) :]
        if any(row.role != "test" for row in new) and any(row.role == "test" for row in record.reservations):
            return False
        runs, places = {row.run for row in new}, {place(row) for row in new}
        if len(runs) < len(new) or len(places) < len(new) or runs & self._runs or places & self._places:
            return False
        if any(row.run in self._shared for row in rows):  # equal configurations share a run, and have to agree on its score
            return False
        broken = (sentence for row in rows for sentence in broken_rules(record, row))
        of_trials = (sentence for number, one in trials for sentence in broken_by_trial(record, number, one))
        return next(broken, None) is None and next(of_trials, None) is None


def _head(record: StudyRecord) -> tuple[object, ...]:
    """What a study is apart from its trials and runs."""
    names = (record.stored_id, record.stored_name, record.created)
    return record.settings, record.budget, record.incumbent, record.frozen_at, *names


def _trials_since(last: Sequence[Trial], now: Sequence[Trial]) -> list[tuple[int, Trial]] | None:
    """Trials that are new, or have ended, with their places; None where anything else has happened."""
    if len(now) < len(last):
        return None
    found = []
    for number, (old, new) in enumerate(zip(last, now, strict=False)):
        if new is old or new == old:
            continue
        if old.state != "running" or replace(new, state=old.state, reason=old.reason) != old:
            return None
        found.append((number, new))
    return [*found, *enumerate(now[len(last) :], len(last))]


def _rows_since(last: Sequence[Reservation], now: Sequence[Reservation]) -> list[Reservation] | None:
    """Runs that are new, or were open; None where anything else has happened."""
    if len(now) < len(last) or (last and any(row.number <= last[-1].number for row in now[len(last) :])):
        return None
    found = []
    for old, new in zip(last, now, strict=False):
        if new is old or new == old:
            continue
        if old.state != "open" or _reserved(new) != _reserved(old):
            return None
        found.append(new)
    return [*found, *now[len(last) :]]


def _reserved(row: Reservation) -> tuple[object, ...]:
    """What a run was reserved for, which never changes."""
    return row.number, *place(row), row.seed, row.seed_end, row.run, row.charge
