"""``list``: what the store holds."""

from __future__ import annotations

from openrlb.api.opened import opened
from openrlb.errors import NothingMatched
from openrlb.store import RunRow, Store
from openrlb.types import Selection


def list_runs(selection: Selection | None = None, *, store: Store | None = None) -> list[RunRow]:
    """The selected runs, sorted by project, algorithm, environment, seed and id.

    Args:
        selection: Which runs; all by default.
        store: The user's own store by default.

    Raises:
        NothingMatched: An empty store, or nothing that fits.
        SelectionError: A condition that does not parse.
    """
    rows = opened(store).runs(selection)
    if not rows:
        raise NothingMatched("no run fits the selection", "its parts fit runs, but none fits all of them", "leave a flag out")
    return rows
