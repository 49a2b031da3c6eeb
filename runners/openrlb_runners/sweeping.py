"""Sweep: every verb first stores the runs whose openrlb is gone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from openrlb.store import Store
from openrlb.store.layout import Layout
from openrlb.tracking.sweeping import FolderKind, SweepReport, sweep
from openrlb.types import Run
from openrlb_runners.run_folder import RECORD, is_running, store_folders


def _store(layout: Layout, folders: Sequence[Path]) -> list[Run]:
    """Stores folders; returns the runs."""
    return [batch.run for batch in store_folders(layout, folders)]


TRAINED = FolderKind(RECORD, is_running, _store)


def sweep_trained(store: Store | None = None) -> SweepReport:
    """Puts every run of our runners into the spool whose openrlb died before it could: as ``crashed``, with its rows.

    A run whose own last word is there is ``finished``: only openrlb did not see it.

    Args:
        store: The user's own store by default.
    """
    return sweep(store, TRAINED)
