"""``list``: what the store holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from openrlb.api.filtered import filtered
from openrlb.api.opened import opened
from openrlb.errors import NothingMatched
from openrlb.store import RunRow, Store
from openrlb.types import Selection


def list_runs(
    selection: Selection | None = None, *, orlb_filters: Sequence[str] = (), store: Store | None = None
) -> list[RunRow]:
    """The selected runs, sorted by project, algorithm, environment, seed and id.

    Args:
        selection: Which runs; all by default.
        orlb_filters: rlops' filter strings, which narrow the selection.
        store: The user's own store by default.

    Raises:
        NothingMatched: An empty store, or nothing that fits.
        SelectionError: A condition that does not parse.
    """
    store = opened(store)
    rows = store.runs(selection)
    if not rows:
        raise nothing_fits(store, selection or Selection())
    return filtered(rows, orlb_filters)


def nothing_fits(store: Store, selection: Selection) -> NothingMatched:
    """The error for a selection that fits no run: which flag is to blame.

    Args:
        store: The store.
        selection: What was asked for.
    """
    stored = len(store.runs())
    if not stored:
        return NothingMatched(
            "the store is empty",
            f"it holds no run ({store.layout.root})",
            "run: openrlb fetch (the packaged sample), or openrlb fetch FOLDER",
        )
    for part in fields(selection):
        value = getattr(selection, part.name)
        if value and not store.runs(Selection(**{part.name: value})):
            words = ", ".join(map(str, value)) if isinstance(value, tuple) else value
            why = f"none of the {stored:,} stored runs fits --{part.name} {words}"
            return NothingMatched("no run fits the selection", why, "leave it out, or look at openrlb list")
    why = f"each flag fits some of the {stored:,} stored runs, but none fits all of them"
    return NothingMatched("no run fits the selection", why, "leave a flag out")
