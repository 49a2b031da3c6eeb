"""The store as every verb opens it: runs whose process died are stored first."""

from __future__ import annotations

import warnings
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar

from openrlb.errors import UsageError
from openrlb.store import Store
from openrlb.store.files import is_there

Kept = TypeVar("Kept")


CHOSEN: ContextVar[Store | None] = ContextVar("CHOSEN", default=None)
"""The store that is read where none is named, instead of the user's own: the command line's ``--store``."""


class TrackedRunWarning(UserWarning):
    """A run that ended is not in the store; the text says why and where it is."""


def given(value: Kept | None, kind: type[Kept], name: str) -> Kept:
    """An argument, or its default where none was given.

    Args:
        value: The argument.
        kind: What it has to be; called without arguments it is the default.
        name: Its name.

    Raises:
        UsageError: It is something else.

    >>> given(None, dict, "options"), given({"a": 1}, dict, "options")
    ({}, {'a': 1})
    """
    if value is None:
        return kind()
    if not isinstance(value, kind):
        why = f"it is a {type(value).__name__}: {str(value)[:60]!r}"
        raise UsageError(f"{name} is no {kind.__name__}", why, f"give a {kind.__name__}(...), or leave it out")
    return value


def open_store(place: str | Path) -> Store:
    """A store by its folder, or by its address on a web server: then it can only be read.

    Args:
        place: The folder, or ``https://...``.

    Raises:
        UsageError: The address is none.
    """
    if "://" not in str(place):
        return Store(Path(place))
    from openrlb.sources.web_store import WebStore

    return WebStore(str(place))


def opened(store: Store | None = None, to_write: bool = False) -> Store:
    """The named store, or the chosen one, or the user's own.

    What ended runs left there, tracked or trained, is swept into its spool.

    Reading folds the spool. A store that cannot be written is opened all the same: it can still be read. What could not be
    swept is told as a :class:`TrackedRunWarning`.

    Args:
        store: The store.
        to_write: Make sure first that it can be locked.

    Raises:
        UsageError: It is no store.
        StoreUnwritable: It is to be written to, and its lock would not keep others out.
    """
    store = given(CHOSEN.get() if store is None else store, Store, "store")
    if to_write:
        store.check_lock()
    if not _runs_begun(store):
        return store
    from openrlb.tracking.sweeping import TRACKED, sweep
    from openrlb_runners.sweeping import TRAINED

    for kind, word in ((TRACKED, "tracked"), (TRAINED, "trained")):
        report = sweep(store, kind)
        for name, why in report.damaged:
            warnings.warn(f"the {word} run {name} was set aside: {why}", TrackedRunWarning, stacklevel=2)
        if report.waiting:
            warnings.warn(f"{word} runs wait to be stored: {report.waiting}", TrackedRunWarning, stacklevel=2)
    return store


def going_on(store: Store | None = None) -> int:
    """How many runs are being written now, tracked or trained here: no verb shows them before they end."""
    if (store is None and CHOSEN.get() is not None) or not _runs_begun(store or Store()):
        return 0
    from openrlb.tracking.sweeping import TRACKED, running
    from openrlb_runners.sweeping import TRAINED

    return sum(running(store, kind) for kind in (TRACKED, TRAINED))


def _runs_begun(store: Store) -> bool:
    """Whether any run was ever tracked or trained there: one look, before what tells more is imported."""
    return is_there(store.layout.root / "runs")
