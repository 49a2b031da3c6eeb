"""The seed guard: runs that a study chose by never enter a figure or a comparison unless somebody asks for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from openrlb.api.filtered import filtered
from openrlb.api.list import REPRODUCTION, nothing_fits
from openrlb.errors import SelectionError
from openrlb.store import RunRow, Store
from openrlb.types import Selection

if TYPE_CHECKING:
    from openrlb_analysis.result import Excluded

ROLES = ("none", "test")
"""Roles of runs that count: the others were looked at by a study that chose, or repeat another run."""


def guarded_runs(store: Store, selection: Selection, orlb_filters: Sequence[str] = ()) -> tuple[list[RunRow], list[RunRow]]:
    """The selected runs that count, and those that a study's choice keeps out; reproductions are in neither.

    Args:
        store: The store.
        selection: Which runs; where it names roles, runs of these count.
        orlb_filters: rlops' filter strings, which narrow the selection.

    Raises:
        NothingMatched: No run fits.
        SelectionError: There are runs, but a study chose by all of them.
    """
    selected = store.runs(selection)
    found = [row for row in selected if row.columns["role"] != REPRODUCTION]
    if not found and selected:
        why = f"all {len(selected)} selected runs repeat other runs: counted beside these, a seed would count twice"
        raise SelectionError(
            "no run is left", why, f"select the runs that they repeat; openrlb list --role {REPRODUCTION} names them"
        )
    if not found:
        raise nothing_fits(store, selection)
    found = filtered(found, orlb_filters)
    allowed = set(selection.role) or set(ROLES)
    rows = [row for row in found if row.columns["role"] in allowed]
    guarded = [row for row in found if row.columns["role"] not in allowed]
    if not rows:
        role = guarded[0].record.role
        why = f"all {len(guarded)} selected runs are a study's {role} runs: it chose by them, so that their scores flatter"
        raise SelectionError("no run is left", why, f"select its test runs, or add --role {role} to take these")
    return rows, guarded


def role_notes(mine: Sequence[RunRow], guarded: Sequence[RunRow]) -> list[str]:
    """What the seed guard kept out, or what was let in although a study chose by it."""
    notes = []
    for role, count in sorted(Counter(row.columns["role"] for row in guarded).items()):
        notes.append(f"{count} {role} runs are left out: a study chose by them (--role {role} takes them)")
    for role, count in sorted(Counter(row.columns["role"] for row in mine if row.columns["role"] not in ROLES).items()):
        notes.append(f"{count} {role} runs are in, as asked: a study chose by such runs, so that their scores are optimistic")
    return notes


def left_out(guarded: Sequence[RunRow]) -> list[Excluded]:
    """The runs that were kept out, with the reason."""
    from openrlb_analysis.result import Excluded

    return [Excluded(row.record.run, f"{row.record.role} run: a study chose by it") for row in guarded]
