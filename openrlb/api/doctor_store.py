"""What ``doctor`` looks at in a store: its catalog, its files, its looks and its studies."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator

from openrlb.api.opened import TrackedRunWarning, going_on, opened
from openrlb.errors import OpenrlbError
from openrlb.store import Store
from openrlb.types import Finding

STORAGE = "OPENRLB_STORAGE"
KEPT_FIX = "restore blobs/ from a copy, or run: openrlb doctor --rebuild, and fetch their runs again"
REBUILD = "run: openrlb doctor --rebuild"


def swept_findings(store: Store) -> Iterator[Finding]:
    """Runs that ended, tracked or trained here, and cannot be put into the store."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", TrackedRunWarning)
        opened(store)
    for one in told:
        yield Finding(
            "runs that ended", False, str(one.message), "make room for them, or look in quarantine/ for what was set aside"
        )


def store_findings(store: Store) -> Iterator[Finding]:
    """The store's own health."""
    if not store.exists:
        yield Finding("store", True, "empty; fill it with: openrlb fetch, or openrlb fetch FOLDER")
        return
    try:
        health = store.health()
    except OpenrlbError as error:
        yield Finding("store", False, f"{error.what} ({error.why})", error.fix)
        return
    yield Finding("store", True, f"{health.runs:,} runs, {health.values:,} values, {health.bytes_on_disk / 1e6:.1f} MB")
    if health.waiting:
        yield Finding("spool", True, f"segments that wait for the next fetch: {health.waiting}")
    for names, what, told, fix in (
        (health.missing, "data files", "files that are gone, though the catalog names them", f"restore them, or {REBUILD}"),
        (health.unknown, "data files", "in no catalog", REBUILD),
        (
            health.damaged,
            "data files",
            "cut off, or changed",
            f"restore them, or {REBUILD} and fetch their runs again",
        ),
        (
            health.altered,
            "kept files",
            "kept with runs, but not what was stored",
            KEPT_FIX,
        ),
        (health.gone, "kept files", "runs that lack one that was kept", KEPT_FIX),
        (
            health.quarantined,
            "quarantine",
            "files that could not be read, or that others stand for",
            "fetch again what list lacks, then remove them from quarantine/",
        ),
    ):
        if names:
            yield Finding(what, False, f"{told}: {len(names)}, for instance {names[0]}", fix)
    if count := going_on(store):
        yield Finding("going on", True, f"runs that are being written now, and stored on finishing: {count}")


def look_findings(store: Store) -> Iterator[Finding]:
    """Whether the looks of ``compare`` can be counted."""
    from openrlb.store.looks import NAME, LookWarning, read_looks

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", LookWarning)
        looks = read_looks(store.layout)
    for one in told:
        fix = f"restore {NAME} from a copy, or remove what is torn in it: those looks are lost"
        yield Finding("looks", False, str(one.message), fix)
    if looks:
        yield Finding("looks", True, f"looks of compare that are counted: {len(looks)}")


def study_findings(store: Store) -> Iterator[Finding]:
    """Whether the databases of studies can be read: the store's own, and the one that ``OPENRLB_STORAGE`` names."""
    from openrlb.store.studies import FILE_NAME

    own = (store.layout.root / FILE_NAME).is_file()
    named = os.environ.get(STORAGE)
    for what, storage, there in (("studies", None, own), (f"studies of {STORAGE}", named, bool(named))):
        if there:
            yield _studies(what, storage, store)
    if not own and not named:
        yield Finding("studies", True, "none yet; openrlb tune begins one")


def _studies(what: str, storage: str | None, store: Store) -> Finding:
    """One database of studies."""
    from openrlb.api.study import existing_ledger

    try:
        with existing_ledger(storage, store) as ledger, ledger.transaction() as change:
            return Finding(what, True, f"{len(change.names())} in {ledger.shown}")
    except OpenrlbError as error:
        return Finding(what, False, f"{error.what} ({error.why})", error.fix)
