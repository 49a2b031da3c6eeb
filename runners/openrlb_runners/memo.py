"""Which runs are there already: a finished run of the same key is not trained again."""

from __future__ import annotations

import os
from collections.abc import Iterable

from openrlb.errors import NothingMatched
from openrlb.store import Store
from openrlb.store.schema import literal
from openrlb.types import Run, Selection

SOURCE = "openrlb"


class Memo:
    """What the store holds of the runs that are to be trained.

    Looking costs a fold of what waits in the spool; :attr:`is_stale` tells without it whether another openrlb has stored
    something since.

    Args:
        store: The store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen: object = None

    def stored(self, digests: Iterable[str]) -> dict[str, Run]:
        """The stored run of each key that has one, whatever its state."""
        self._seen = self._mark()
        listed = ", ".join(literal(digest) for digest in sorted(set(digests)))
        if not listed:
            return {}
        try:
            rows = self._store.runs(Selection(where=f"source = '{SOURCE}' AND run IN ({listed})"))
        except NothingMatched:
            return {}
        return {row.record.run: row.record for row in rows}

    @property
    def is_stale(self) -> bool:
        """True where another openrlb may have stored a run since the last look."""
        return self._mark() != self._seen

    def _mark(self) -> object:
        """What changes when another process stores something: the catalog, and segments that are not ours."""
        layout = self._store.layout
        try:
            catalog = layout.catalog.stat()
            seen: object = (catalog.st_mtime_ns, catalog.st_ino, catalog.st_size)
        except OSError:
            seen = None
        try:
            names = frozenset(path.name for path in layout.spool.iterdir())
        except OSError:
            names = frozenset()
        own = str(os.getpid())
        return seen, frozenset(name for name in names if name.split("-")[1:2] != [own] and not name.startswith("."))
