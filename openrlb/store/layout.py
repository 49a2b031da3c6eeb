"""Where things lie in a store's folder."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from openrlb.store.files import TEMPORARY_PREFIX, quoted

_SHA256 = re.compile(r"[0-9a-f]{64}")
_DATA_FILE = re.compile(r"project=([^/.\0][^/\0]*)?/env=([^/.\0][^/\0]*)?/(points|system|runs)-[\w-]+\.parquet")

VALUES = ("points", "system")
"""Kinds of files that hold values: hardware series lie apart, since they are many and rarely asked for."""


def _nothing() -> None:
    """Nobody else can have taken the lock."""


def is_data_file(path: object) -> bool:
    """Whether a path is that of a data file below ``data``: a catalog, a journal and a footer are somebody else's words.

    >>> [is_data_file(path) for path in ("project=logs/env=Hopper-v4/points-0-a.parquet", "../hpo.db", "/etc/hosts", None)]
    [True, False, False, False]
    """
    return isinstance(path, str) and _DATA_FILE.fullmatch(path) is not None


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one store.

    ::

        catalog.duckdb  store.lock  fold.json  spool/*.parquet  quarantine/  blobs/<sha256>  runs/<run_key>/<attempt>/
        data/project=<quoted>/env=<quoted>/{points,system,runs}-*.parquet  data/metrics.parquet  data/next_run_id
        data/normalizations.parquet  batches/<name>/{batch.json,ended/}  launches/<name>.<n>/
    """

    root: Path
    still_held: Callable[[], None] = field(default=_nothing, compare=False, repr=False)
    """Makes sure, before anything is put in place, that whoever writes still holds the store's lock."""

    elsewhere: Callable[[Path], None] | None = field(default=None, compare=False, repr=False)
    """Of a store that lies elsewhere, and can only be read: brings one of its files here, where it has that file."""

    @property
    def catalog(self) -> Path:
        """The DuckDB file; made again by ``doctor --rebuild``."""
        return self.root / "catalog.duckdb"

    @property
    def lock(self) -> Path:
        """Held by whoever folds, merges or rebuilds."""
        return self.root / "store.lock"

    @property
    def journal(self) -> Path:
        """The files a running fold is about to make, so that the next one can sweep them if it was killed."""
        return self.root / "fold.json"

    @property
    def spool(self) -> Path:
        """Where writers leave complete segments."""
        return self.root / "spool"

    @property
    def quarantine(self) -> Path:
        """Segments that could not be read: kept, out of the way."""
        return self.root / "quarantine"

    @property
    def blobs(self) -> Path:
        """Files kept with runs, named by their sha256."""
        return self.root / "blobs"

    @property
    def data(self) -> Path:
        """The only folder that ``query`` may read."""
        return self.root / "data"

    @property
    def metrics(self) -> Path:
        """Metric ids; the truth that the catalog's table is a copy of."""
        return self.data / "metrics.parquet"

    @property
    def normalizations(self) -> Path:
        """Frozen normalisations; their own truth, which nothing else can tell."""
        return self.data / "normalizations.parquet"

    @property
    def counter(self) -> Path:
        """The next run id: never given twice, whatever becomes of the catalog."""
        return self.data / "next_run_id"

    def blob(self, digest: str) -> Path:
        """Where the file kept with a run is that has this sha256; there is none where it was not kept.

        Raises:
            OpenrlbError: The store lies elsewhere, and does not answer.
        """
        path = self.blobs / (digest if _SHA256.fullmatch(digest) else "none")
        if self.elsewhere is not None and path.name != "none":
            self.elsewhere(path)
        return path

    def partition(self, project: str, env: str) -> Path:
        """The folder of one project's runs in one environment."""
        return self.data / f"project={quoted(project)}" / f"env={quoted(env)}"

    def relative(self, path: Path) -> str:
        """A data file's path as the catalog keeps it."""
        return path.relative_to(self.data).as_posix()

    def set_aside(self, path: Path) -> None:
        """Moves a segment, a data file or a file kept with runs that cannot be used into the quarantine, where it is kept.

        Raises:
            StoreBusy: The lock was lost: it may be half of what somebody else writes now.
        """
        self.still_held()
        root = next((root for root in (self.spool, self.blobs) if path.is_relative_to(root)), self.data)
        self.quarantine.mkdir(parents=True, exist_ok=True)
        path.replace(self.quarantine / path.relative_to(root).as_posix().replace("/", ","))

    def data_files(self, kind: str) -> list[Path]:
        """Every data file of a kind (``points``, ``system`` or ``runs``) that lies on disk, complete ones only."""
        found = self.data.glob(f"project=*/env=*/{kind}-*.parquet")
        return sorted(path for path in found if not path.name.startswith(TEMPORARY_PREFIX))
