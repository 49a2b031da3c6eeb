"""The store as every verb opens it: runs whose process died are stored first."""

from __future__ import annotations

from openrlb.store import Store


def opened(store: Store | None = None) -> Store:
    """The named store, or the user's own, with what ended tracked runs left swept into its spool.

    Reading folds the spool. A store that cannot be written is opened all the same: it can still be read.
    """
    from openrlb.tracking import sweep

    store = store or Store()
    if store.layout.root.exists():
        sweep(store)
    return store
