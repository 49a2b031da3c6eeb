"""The store as every verb opens it: runs whose process died are stored first."""

from __future__ import annotations

import warnings

from openrlb.store import Store


class TrackedRunWarning(UserWarning):
    """A tracked run that ended is not in the store; the text says why and where it is."""


def opened(store: Store | None = None) -> Store:
    """The named store, or the user's own, with what ended runs left, tracked or trained here, swept into its spool.

    Reading folds the spool. A store that cannot be written is opened all the same: it can still be read. What could not be
    swept is told as a :class:`TrackedRunWarning`.
    """
    from openrlb.tracking import sweep

    store = store or Store()
    if store.layout.root.exists():
        report = sweep(store)
        for name, why in report.damaged:
            warnings.warn(f"the tracked run {name} was set aside: {why}", TrackedRunWarning, stacklevel=2)
        if report.waiting:
            warnings.warn(f"tracked runs wait to be stored: {report.waiting}", TrackedRunWarning, stacklevel=2)
    return store


def going_on(store: Store | None = None) -> int:
    """How many tracked runs are being written now: no verb shows them before they end."""
    from openrlb.tracking.sweeping import running

    return running(store)
