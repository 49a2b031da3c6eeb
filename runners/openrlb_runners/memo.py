"""Which runs are there already: a finished run of the same key is not trained again."""

from __future__ import annotations

import os
from contextlib import suppress

from openrlb.errors import NothingMatched, StoreBusy, StoreUnwritable
from openrlb.store import Store
from openrlb.store.schema import literal
from openrlb.types import Run, Selection

SOURCE = "openrlb"


class Memo:
    """What the store holds of the runs that our runners trained.

    The store is read (and what waits in its spool is folded) once, and again only where another openrlb may have stored
    something since; what this process stores is told by :meth:`note`.

    Args:
        store: The store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._mark: object = self
        self._stored: dict[str, tuple[str, int]] = {}
        self._noted: dict[str, Run] = {}

    def note(self, run: Run) -> None:
        """Takes down what this process has stored; a finished attempt stays before others."""
        before = self._noted.get(run.run)
        if before is None or before.state != "finished" or run.state == "finished":
            self._noted[run.run] = run

    def finished(self, digest: str) -> Run | None:
        """The finished run of a key, or None."""
        noted = self._noted.get(digest)
        if noted is not None and noted.state == "finished":
            return noted
        self._refresh()
        if self._stored.get(digest, ("", 0))[0] != "finished":
            return None
        rows = self._store.runs(Selection(where=f"source = {literal(SOURCE)} AND run = {literal(digest)}"))
        return rows[0].record if rows else None

    def last(self, digest: str) -> tuple[str, int]:
        """The state and the number of the stored attempt of a key; an empty state and 0 where there is none."""
        self._refresh()
        stored = self._stored.get(digest, ("", 0))
        noted = self._noted.get(digest)
        return stored if noted is None or noted.attempt < stored[1] else (noted.state, noted.attempt)

    def _refresh(self) -> None:
        """Reads the store again where another process may have changed it."""
        if self._seen() == self._mark:
            return
        if self._store.layout.spool.is_dir() and any(self._store.layout.spool.glob("[!.]*.parquet")):
            with suppress(StoreBusy, StoreUnwritable):  # another one may be folding just now: what it folds has to be seen
                self._store.fold()
        mark = self._seen()  # before the look: what comes meanwhile is looked at again
        try:
            rows = self._store.query(f"SELECT run, state, attempt FROM runs WHERE source = {literal(SOURCE)}").rows
        except NothingMatched:
            rows = []
        self._stored = {run: (state, attempt) for run, state, attempt in rows}
        self._mark = mark

    def _seen(self) -> tuple[object, frozenset[str]]:
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
