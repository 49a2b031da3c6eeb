"""A store on a web server, read as it lies."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openrlb import paths
from openrlb.errors import NothingMatched, QueryRefused, StoreBusy, StoreDamaged, StoreError, StoreUnwritable
from openrlb.sources.web_store.asking import Folder, MissingError
from openrlb.sources.web_store.catalog import check_catalog
from openrlb.sources.web_store.pieces import Pieces
from openrlb.store.catalog import REBUILD
from openrlb.store.files import unwritable, writing
from openrlb.store.layout import VALUES, Layout
from openrlb.store.lock import busy
from openrlb.store.store import LOCK_SECONDS, QueryResult, RunRow, Store, live_files

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from openrlb.store.health import Health
    from openrlb.types import Curve, RunBatch, Selection

MAX_CATALOG_BYTES = 2 * 1024**3
MAX_FILE_BYTES = 64 * 1024**2
"""The largest file kept with a run, and the most that frozen normalisations may take."""
ROWS = "rows_from_the_server"


class WebStore(Store):
    """A store that is read over HTTP. The catalog is asked for once by each object, so that what it tells is of one moment.

    Args:
        address: The address of the store's folder.

    Raises:
        UsageError: The address is none.
    """

    def __init__(self, address: str) -> None:
        self.folder = Folder(address)
        super().__init__(paths.home() / "stores" / self.folder.key)
        self.layout = Layout(self.layout.root, elsewhere=self._bring)
        self._pieces = Pieces(self.folder, paths.cache_dir() / "stores" / self.folder.key)
        self._known = self.layout.root / "catalog.json"
        self._fresh = False
        self._brought: set[Path] = set()

    @property
    def exists(self) -> bool:
        """Whether there is a store is seen when it is read."""
        return True

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return self.folder.address

    def write(self, batches: Iterable[RunBatch]) -> Path:
        """Refuses: see :meth:`check_lock`."""
        del batches
        raise self._read_only()

    def check_lock(self) -> None:
        """Refuses.

        Raises:
            StoreUnwritable: A store that is read over HTTP is not written to.
        """
        raise self._read_only()

    def health(self) -> Health:
        """Refuses: what lies on the server's disk is not seen from here."""
        raise self._read_only()

    def catch_up(self) -> None:
        """What waits in the store's spool is folded where it lies."""

    @contextmanager
    def _locked(self, wait: float = 0.0) -> Iterator[Layout]:
        """Refuses."""
        del wait
        raise self._read_only()
        yield self.layout

    def _made_ready(self) -> None:
        """Refuses an older catalog: only its owner can make it anew."""
        why, fix = "its catalog is of an older openrlb", "ask its owner to type: openrlb list"
        raise StoreError(f"{self.place} is not read", why, fix)

    def _read_only(self) -> StoreUnwritable:
        """The error for a change."""
        fix = "leave --store out for a store of your own; what lies there is changed there"
        return StoreUnwritable(f"{self.place} is not written to", "a store is only read over HTTP", fix)

    @contextmanager
    def reading(self, views: bool = False, studies: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """As of any store, once its catalog is here.

        Raises:
            NothingMatched: There is no store.
            QueryRefused: Studies are asked for.
            NetworkError: The server does not answer.
            StoreDamaged: The catalog is none.
        """
        if studies:
            fix = "ask where the store lies; runs of a study have the tag study:NAME"
            raise QueryRefused("studies are not read over HTTP", "they are in a database of their own (hpo.db)", fix)
        self._refresh()
        try:
            with super().reading(views) as con:
                yield con
        except StoreDamaged as error:
            if REBUILD not in error.fix:
                raise
            self._known.unlink(missing_ok=True)  # the next one takes the catalog again, as if it had changed
            shutil.rmtree(self.layout.data, ignore_errors=True)  # and whole points files, of which nothing tells which it was
            raise StoreDamaged(error.what, error.why, f"type it again; if it stays so, tell the owner of {self.place}") from error

    def runs(self, selection: Selection | None = None) -> list[RunRow]:
        """As of any store; a condition over points takes all of them first."""
        self._ready_for(selection.where if selection else None)
        return super().runs(selection)

    def curves(self, selection: Selection, metrics: Sequence[tuple[str, str]]) -> list[Curve]:
        """As of any store; a condition over points takes all of them first."""
        self._ready_for(selection.where)
        return super().curves(selection, metrics)

    def query(self, sql: str) -> QueryResult:
        """As of any store; a question about points takes all of them first, since SQL may ask for anything."""
        self._ready_for(sql)
        return super().query(sql)

    def _ready_for(self, sql: str | None) -> None:
        """Brings every points file here where SQL may ask for them."""
        if sql and "points" in sql.lower():
            with self.reading() as con:
                self.points_files(con, None, VALUES)

    def points(
        self,
        con: duckdb.DuckDBPyConnection,
        partitions: set[tuple[str, str]],
        kinds: Sequence[str],
        runs: Collection[int],
        metrics: Collection[int],
    ) -> str:
        """A FROM item with the rows of some runs and metrics, of which only the groups that may hold them are taken."""
        import pyarrow as pa

        from openrlb.store.points import no_points

        tables: list[pa.Table] = []
        for path in live_files(con, partitions, kinds):
            with self._there(path):
                tables.append(self._pieces.rows(f"data/{path}", runs, metrics))
        none = no_points().append_column("file_row_number", pa.array([], pa.int64()))
        con.register(ROWS, pa.concat_tables(tables) if tables else none)
        return ROWS

    def points_files(
        self, con: duckdb.DuckDBPyConnection, partitions: set[tuple[str, str]] | None, kinds: Sequence[str]
    ) -> list[str]:
        """The live points files of some partitions (all for None), brought here whole."""
        for path in live_files(con, partitions, kinds):
            with self._there(path):
                self._pieces.whole(f"data/{path}", self.layout.data / path)
        return super().points_files(con, partitions, kinds)

    @contextmanager
    def _there(self, path: str) -> Iterator[None]:
        """Reads a file that the catalog names.

        Raises:
            StoreBusy: The server has it no more.
        """
        try:
            yield
        except MissingError as error:
            self._fresh = False
            why = f"the server has no {path}: it was merged since the catalog was read, or is not served"
            raise StoreBusy(f"{self.place} cannot be read", why, "type it again; if it stays so, tell its owner") from error

    def _refresh(self) -> None:
        """Takes the catalog, where it is not the one that is here.

        Raises:
            StoreBusy: Another process has been at it for ten minutes.
            StoreUnwritable: The folder for it cannot be made, or gives no lock.
        """
        from filelock import FileLock, Timeout

        if self._fresh:
            return
        try:
            self.layout.root.mkdir(parents=True, exist_ok=True)
            with FileLock(self.layout.root / "arriving.lock", timeout=LOCK_SECONDS):  # what was checked is what takes the name
                self._take_catalog()
        except Timeout as error:
            raise busy(f"{self.place} cannot be read", "arriving.lock", LOCK_SECONDS) from error
        except OSError as error:
            raise unwritable(self.layout.root, error) from error
        self._fresh = True

    def _take_catalog(self) -> None:
        """See :meth:`_refresh`."""
        try:
            tags = {str(name): str(value) for name, value in json.loads(self._known.read_text()).items()}
        except (OSError, ValueError, AttributeError):
            tags = {}
        arriving = self.layout.root / "arriving.duckdb"
        try:
            there = self.layout.catalog.exists()
            headers = self.folder.take(self.layout.catalog.name, arriving, MAX_CATALOG_BYTES, tags if there else None)
            if headers is not None:
                check_catalog(arriving)
                arriving.replace(self.layout.catalog)
                with writing(self._known) as temporary:
                    temporary.write_text(json.dumps(_tags(headers)))
        except MissingError as error:
            fix = "name the folder that catalog.duckdb is in; a bundle is read by openrlb fetch"
            raise NothingMatched("there is no store there", f"the server has no {self.place}catalog.duckdb", fix) from error
        finally:
            arriving.unlink(missing_ok=True)

    def _bring(self, path: Path) -> None:
        """Brings a file that is kept with runs, or the frozen normalisations; there is none where the server has none.

        Raises:
            StoreDamaged: It is not what its name says.
        """
        if path in self._brought or (path.parent == self.layout.blobs and path.exists()):
            return
        with suppress(MissingError):
            self.folder.take(path.relative_to(self.layout.root).as_posix(), path, MAX_FILE_BYTES)
            if path.parent == self.layout.blobs and hashlib.sha256(path.read_bytes()).hexdigest() != path.name:
                path.unlink()
                why = f"blobs/{path.name[:12]} is not what its name says"
                raise StoreDamaged(f"a file of {self.place} is damaged", why, "tell its owner")
        self._brought.add(path)


def _tags(headers: dict[str, Any]) -> dict[str, str]:
    """The conditions by which an unchanged file is known the next time.

    A date counts in seconds: one that is just over may stand for two files.
    """
    if tag := headers.get("etag"):
        return {"If-None-Match": tag}
    with suppress(KeyError, TypeError, ValueError):
        modified, now = (parsedate_to_datetime(headers[name]) for name in ("last-modified", "date"))
        if (now - modified).total_seconds() > 2:
            return {"If-Modified-Since": headers["last-modified"]}
    return {}
