"""Sweep: removes what killed folds and merges left, and nothing else."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from openrlb.errors import StoreBusy, StoreError
from openrlb.store.catalog import attach, changing, connection
from openrlb.store.files import TEMPORARY_PREFIX, writing
from openrlb.store.layout import Layout, is_data_file
from openrlb.store.lock import PROBE_PREFIX

RETIRED_FILES_STAY = 3600.0
"""Seconds that a merged-away file stays for readers that still hold the old list."""
PROBES_STAY = 30 * 86_400.0
"""Seconds that a file by which locks are tried stays, where the process that tried was killed; clocks may be days apart."""

JOURNAL_BYTES = 256 * 2**20
"""More than the names of a million files take: what is longer is no journal."""


@contextmanager
def making(layout: Layout, paths: list[Path]) -> Iterator[None]:
    """Data files are made, and the catalog is changed to name them. The journal names them first, for whoever comes after a kill.

    Who took a lost lock may have swept that journal already, so that then the files are removed here.

    Raises:
        StoreBusy: The lock was lost. What the files hold must stay where else it is: whoever took the lock may sweep them.
    """
    with writing(layout.journal, layout.still_held) as temporary:
        temporary.write_text(json.dumps([layout.relative(path) for path in paths]))
    try:
        try:
            yield
        except (StoreError, OSError):  # perhaps for want of a file that was swept
            layout.still_held()
            raise
    except StoreBusy:
        for path in paths:
            path.unlink(missing_ok=True)
        raise
    layout.still_held()  # else the journal may be that of whoever took the lock, who may have swept the files as well
    layout.journal.unlink(missing_ok=True)
    layout.still_held()  # only what was unlinked while it was held was one's own: until here nothing may go that the files hold


def sweep(layout: Layout) -> None:
    """Removes what a killed fold left: journalled files that no catalog names, half-written ones, long-retired ones.

    A data file that neither the journal nor the catalog names is never touched: it may be somebody's runs.
    """
    with connection() as con:
        attach(con, layout.catalog)
        known = {path for (path,) in con.execute("SELECT path FROM catalog.files").fetchall()}
        old = time.time() - RETIRED_FILES_STAY
        retired = con.execute("SELECT path FROM catalog.files WHERE retired < ?", [old]).fetchall()
    layout.still_held()  # else a journal and files that are half written may be those of whoever took the lock
    sweep_journal(layout, known)
    if retired:
        with changing(layout) as con:
            con.execute("DELETE FROM catalog.files WHERE retired < ?", [old])
        for (path,) in retired:
            if is_data_file(path):
                (layout.data / path).unlink(missing_ok=True)
    for path in layout.data.rglob(f"{TEMPORARY_PREFIX}*"):
        path.unlink(missing_ok=True)
    for path in layout.root.glob(f"{TEMPORARY_PREFIX}*"):
        path.unlink(missing_ok=True)
    for path in layout.root.glob(f"{PROBE_PREFIX}*"):  # one that is young is somebody's question, which needs no lock
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < time.time() - PROBES_STAY:
                path.unlink()
    for path in layout.spool.glob(f"{TEMPORARY_PREFIX}*") if layout.spool.is_dir() else ():
        if path.stat().st_mtime < time.time() - 86_400:
            path.unlink(missing_ok=True)


def journalled(layout: Layout) -> set[str]:
    """The data files that the journal names: none of what else somebody may have written into it."""
    with suppress(FileNotFoundError, ValueError, RecursionError):
        with layout.journal.open("rb") as file:
            told = json.loads(file.read(JOURNAL_BYTES))
        return {path for path in told if is_data_file(path)} if isinstance(told, list) else set()
    return set()


def sweep_journal(layout: Layout, known: set[str]) -> None:
    """Removes the journalled files that no catalog names.

    While the journal stands, what those files hold stands elsewhere too: a fold removes its segments, and a merge's
    sources are swept, only after the journal is gone.
    """
    if layout.journal.exists():
        for path in journalled(layout) - known:
            (layout.data / path).unlink(missing_ok=True)
        layout.journal.unlink()
