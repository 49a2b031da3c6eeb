"""The store's face: what sources write to, and what verbs read from."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import chain, count
from pathlib import Path
from threading import get_ident
from typing import TYPE_CHECKING, Any

from openrlb import paths
from openrlb.errors import NothingMatched, QueryRefused, StoreBusy, StoreDamaged, StoreUnwritable
from openrlb.store.catalog import REBUILD, attach, changing, connection
from openrlb.store.curves import read_curves
from openrlb.store.files import check_place, is_there, unwritable
from openrlb.store.fold import FoldReport, fold
from openrlb.store.health import Health, inspect, look
from openrlb.store.layout import VALUES, Layout
from openrlb.store.lock import check_lock, locked
from openrlb.store.merge import merge_crowded
from openrlb.store.rebuild import rebuild
from openrlb.store.sandbox import OutdatedError, check, rows_of, sandbox
from openrlb.store.schema import RUN_COLUMNS, SCHEMA_VERSION, scan
from openrlb.store.segment import content_digest, write_segment
from openrlb.store.select import Known, condition
from openrlb.store.where import check_where, refuse
from openrlb.tabular import Tabular
from openrlb.types import Curve, Metric, Run, RunBatch, Selection

if TYPE_CHECKING:
    import duckdb


LOCK_SECONDS = 600.0
"""How long to wait for another openrlb that is folding."""


class RunRow:
    """One line of ``openrlb list``: the columns of ``list --json``, in order, and the full record.

    Args:
        columns: The columns.
        record: The full record, or its JSON as the catalog keeps it, which is read when it is first asked for: thousands of
            runs are listed by their columns alone.
        fetched: When it was stored, ISO 8601.
    """

    __slots__ = ("_record", "columns", "fetched")

    def __init__(self, columns: dict[str, Any], record: Run | str, fetched: str) -> None:
        self.columns = columns
        self.fetched = fetched
        self._record = record

    @property
    def record(self) -> Run:
        """The full record."""
        if isinstance(self._record, str):
            self._record = Run.from_json(json.loads(self._record)["run"])
        return self._record

    def __repr__(self) -> str:
        """The columns."""
        return f"RunRow({self.columns!r})"


@dataclass(frozen=True, slots=True, repr=False)
class QueryResult(Tabular):
    """The answer of ``openrlb query``: column names and rows of plain values."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]

    @property
    def names(self) -> list[str]:
        """The columns' names, each its own: of two with one name the second is ``NAME_1``."""
        names: list[str] = []
        for name in self.columns:
            taken = {*self.columns, *names} if name in names else set(names)
            names.append(next(one for one in chain([name], (f"{name}_{number}" for number in count(1))) if one not in taken))
        return names

    def records(self) -> list[dict[str, Any]]:
        """The rows by column name."""
        names = self.names
        return [dict(zip(names, row, strict=True)) for row in self.rows]

    def headline(self) -> str:
        """How many rows there are."""
        return f"{len(self.rows):,} row{'s' if len(self.rows) != 1 else ''}"

    def __repr__(self) -> str:
        """The headline and the columns."""
        return f"<{self.headline()}: {', '.join(self.columns)}>"


@dataclass(frozen=True, slots=True)
class MetricSummary:
    """What the catalog knows of one metric of one run.

    Attributes:
        metric: What was logged.
        n: How many values.
        first_step: The first one's step.
        last_step: The last one's step.
        last_value: The last one.
        final: The mean of the means of the last 10 of 100 equal step bins that have a value; None where none has.
        lowest: The lowest of the means of 100 equal step bins; None where no bin has a number.
        middle: The mean of them.
        highest: The highest of them.
        bins: Each of them, None where a bin has no value; empty for a metric without a canonical name.
    """

    metric: Metric
    n: int
    first_step: int
    last_step: int
    last_value: float
    final: float | None = None
    lowest: float | None = None
    middle: float | None = None
    highest: float | None = None
    bins: tuple[float | None, ...] = field(default=())


class Store:
    """A folder of runs.

    Args:
        folder: The store's folder; the user's own by default. It is made by the first write.
    """

    _open: tuple[int, duckdb.DuckDBPyConnection] | None = None

    def __init__(self, folder: Path | None = None) -> None:
        self.layout = Layout(folder or paths.store_dir())
        self.set_aside: list[tuple[str, str]] = []
        """What could not be read while catching up, with the reason; ``doctor`` names it too."""

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return str(self.layout.root)

    @property
    def exists(self) -> bool:
        """True where something was ever stored here."""
        return any(map(is_there, (self.layout.catalog, self.layout.data, self.layout.spool)))

    def write(self, batches: Iterable[RunBatch]) -> Path:
        """Writes runs as one segment into the spool; any number of writers may do so at once.

        Raises:
            StoreUnwritable: No permission, no space, or a read-only disk.
            StoreError: The store's folder cannot be one.
        """
        check_place(self.layout.root)
        return write_segment(self.layout.spool, batches)

    def fold(self, wait: float = LOCK_SECONDS) -> FoldReport:
        """Takes the lock and folds the spool into the store. Idempotent; safe to kill.

        Args:
            wait: Seconds to wait for another openrlb that folds.

        Raises:
            StoreBusy: Another one is folding still.
            StoreError: The store cannot be written or read.
        """
        with self._locked(wait) as layout:
            self._prepare(layout)
            return fold(layout, merge_crowded)

    def check_lock(self) -> None:
        """Makes sure, before there is anything to write, that the store's lock keeps out who else may write to it.

        Raises:
            StoreUnwritable: It does not, or the server that keeps it does not answer; the error names what would do.
        """
        check_lock(self.layout)

    def rebuild(self) -> list[str]:
        """Makes the catalog again from the Parquet files; returns warnings for files that could not be read."""
        with self._locked() as layout:
            return rebuild(layout)

    def catch_up(self) -> None:
        """Folds what waits in the spool, if nobody else is at it and the store can be written: reading never waits.

        Raises:
            StoreError: The store is of a newer openrlb, or damaged.
        """
        if self.layout.spool.is_dir() and any(self.layout.spool.glob("[!.]*.parquet")):
            with suppress(StoreBusy, StoreUnwritable):
                self.set_aside += self.fold(wait=0.0).quarantined

    @contextmanager
    def _locked(self, wait: float = LOCK_SECONDS) -> Iterator[Layout]:
        """Holds the store's lock; gives the layout by which whoever writes makes sure that it is held still."""
        try:
            self.layout.root.mkdir(parents=True, exist_ok=True)
            with locked(self.layout, self.layout.lock.name, wait, "the store is busy") as still_held:
                yield replace(self.layout, still_held=still_held)
        except OSError as error:
            raise unwritable(self.layout.root, error) from error

    def _prepare(self, layout: Layout) -> None:
        """Makes sure of a catalog with the current schema: a new one, a rebuilt one, or the one there is."""
        if not layout.catalog.exists():
            if layout.data_files("runs"):
                rebuild(layout)
            else:
                with changing(layout, fresh=True):
                    pass
            return
        with connection() as con:
            outdated = attach(con, layout.catalog) < SCHEMA_VERSION
        if outdated:
            rebuild(layout)

    @contextmanager
    def reading(self, views: bool = False, studies: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """A sandboxed connection to the store's catalog. Never blocks a writer, never blocked by one.

        Args:
            views: Have the views of ``openrlb query`` too.
            studies: In these, read the store's database of studies.

        Raises:
            NothingMatched: Nothing was ever stored.
            StoreTooNew: Written by a newer openrlb.
        """
        if self._open is not None and self._open[0] == get_ident() and not views and not studies:
            yield self._open[1]
            return
        if not self.exists:
            check_place(self.layout.root)
            missing = os.environ.get(paths.HOME_VARIABLE) and not self.layout.root.parent.exists()
            raise NothingMatched(
                "the store is empty",
                f"nothing was fetched into {self.layout.root}"
                + (": that folder is not there (a disk that is not mounted?)" if missing else ""),
                "run: openrlb fetch (the packaged sample), or openrlb fetch FOLDER",
            )
        if not self.layout.catalog.exists():
            self._made_ready()
        self.catch_up()
        with ExitStack() as stack:
            try:
                con = stack.enter_context(sandbox(self.layout, views, studies))
            except OutdatedError:
                self._made_ready()
                con = stack.enter_context(sandbox(self.layout, views, studies))
            yield con

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """What is read inside it by this thread is read through one connection, of one state of the catalog.

        To open and close one takes 15 ms. Nothing is to be written meanwhile: it would not be seen.

        Raises:
            NothingMatched: As :meth:`reading`.
        """
        with self.reading() as con:
            before, self._open = self._open, (get_ident(), con)
            try:
                yield
            finally:
                self._open = before

    def _made_ready(self) -> None:
        """Makes the catalog, or makes one of an older schema anew."""
        with self._locked() as layout:
            self._prepare(layout)

    def digests(self) -> dict[tuple[str, str], str]:
        """The content digests of all stored runs by (source, run)."""
        if not self.exists:
            return {}
        with self.reading() as con:
            rows = con.execute("SELECT source, run, digest FROM catalog.runs").fetchall()
        return {(source, run): digest for source, run, digest in rows}

    def changed(self, batches: Iterable[RunBatch]) -> list[RunBatch]:
        """The runs that the store does not hold in just this form."""
        known = self.digests()
        return [batch for batch in batches if known.get((batch.run.source, batch.run.run)) != content_digest(batch)]

    def known(self) -> Known:
        """The distinct names in the store."""
        with self.reading() as con:
            return known_names(con)

    def runs(self, selection: Selection | None = None) -> list[RunRow]:
        """The selected runs, sorted by project, algorithm, environment, seed and id.

        Raises:
            NothingMatched: A name that no run has, or an empty store.
            SelectionError: A condition that does not parse or refers to no column.
        """
        with self.reading(views=bool(selection and selection.where)) as con:  # a condition may ask the views
            return [_run_row(row) for row in _select(con, selection or Selection(), _ROW_COLUMNS)]

    def metrics_of(
        self, run_ids: Sequence[tuple[str, str]], bins: bool = False, of: str | None = None
    ) -> dict[tuple[str, str], list[MetricSummary]]:
        """What the named runs logged, by (source, run).

        Args:
            run_ids: The runs.
            bins: With the coarse bins, which are most of the bytes.
            of: Only what was logged by this name, or is known by it.
        """
        found: dict[tuple[str, str], list[MetricSummary]] = {key: [] for key in run_ids}
        if not found:
            return {}
        named, values = ("AND ? IN (metric.name, canonical)", [of]) if of else ("", [])
        with self.reading() as con:
            rows = con.execute(
                f"""SELECT source, run, metric.name, kind, canonical, n, first_step, last_step, last_value,
                final, lowest, middle, highest, {"bins" if bins else "NULL"} FROM catalog.run_metrics
                JOIN catalog.runs USING (run_id) JOIN catalog.metrics AS metric USING (metric_id)
                WHERE run IN (SELECT unnest(?)) {named} ORDER BY run_id, metric.name, kind""",
                [[run for _, run in run_ids], *values],
            ).fetchall()
        for source, run, name, kind, known, n, first, last, value, *ends, means in rows:
            if (source, run) in found:
                final, lowest, middle, highest = ends
                told = MetricSummary(Metric(name, kind, known), n, first, last, value, final, lowest, middle, highest)
                one = replace(told, bins=tuple(means)) if means else told
                found[source, run].append(one)
        return found

    def curves(self, selection: Selection, metrics: Sequence[tuple[str, str]]) -> list[Curve]:
        """The selected runs' values of the named (metric, kind) pairs, sorted as :meth:`runs` and by metric name.

        Raises:
            NothingMatched: As :meth:`runs`.
        """
        with self.reading(views=bool(selection.where)) as con:
            rows = _select(con, selection, ("run_id", "record", "project", "env", "fetched"))
            runs: dict[int, tuple[Run, str]] = {row[0]: (Run.from_json(json.loads(row[1])["run"]), row[4]) for row in rows}
            wanted = {tuple(pair) for pair in metrics}
            known = con.execute("SELECT metric_id, name, kind, canonical FROM catalog.metrics ORDER BY name, kind").fetchall()
            names = {row[0]: Metric(*row[1:]) for row in known if (row[1], row[2]) in wanted}
            if not runs or not names:
                return []
            system = any(metric.kind == "system" for metric in names.values())
            kinds, partitions = VALUES if system else VALUES[:1], {(row[2], row[3]) for row in rows}
            return read_curves(con, self.points(con, partitions, kinds, runs, names), runs, names)

    def points(
        self,
        con: duckdb.DuckDBPyConnection,
        partitions: set[tuple[str, str]],
        kinds: Sequence[str],
        runs: Collection[int],
        metrics: Collection[int],
    ) -> str:
        """A FROM item with the rows of some runs and metrics in some partitions, and perhaps others.

        Raises:
            StoreDamaged: A points file is gone.
        """
        del runs, metrics  # DuckDB reads what the condition asks for
        return scan(self.points_files(con, partitions, kinds))

    def points_files(
        self, con: duckdb.DuckDBPyConnection, partitions: set[tuple[str, str]] | None, kinds: Sequence[str]
    ) -> list[str]:
        """The live points files of some partitions (all for None).

        Raises:
            StoreDamaged: One of them is gone.
        """
        paths = [self.layout.data / path for path in live_files(con, partitions, kinds)]
        lost = [path for path in paths if not path.exists()]
        if lost:
            fix = "restore it, or run openrlb doctor --rebuild and fetch its runs again"
            raise StoreDamaged("points of these runs are lost", f"{self.layout.relative(lost[0])} is gone", fix)
        return list(map(str, paths))

    def health(self) -> Health:
        """Compares the catalog with what lies on the disk.

        Raises:
            StoreError: The catalog cannot be opened.
        """
        seen = look(self.layout)
        with self.reading() as con:
            return inspect(con, self.layout, seen)

    def query(self, sql: str) -> QueryResult:
        """Runs one SELECT over the views.

        Raises:
            QueryRefused: Anything but one SELECT, or one that fails.
        """
        import duckdb

        checked = check(sql)
        with self.reading(views=True, studies=any(name in sql.lower() for name in ("trials", "studies"))) as con:
            if "points" in sql.lower():
                self.points_files(con, None, VALUES)
            try:
                return _interruptibly(con, checked)
            except duckdb.Error as error:
                told = str(error).partition("Stack Trace:")[0]
                why = " ".join(told.split())[:400]
                torn = "points" in sql.lower() and str(self.layout.data) in told
                torn = torn and not isinstance(error, duckdb.PermissionException)
                cut = isinstance(error, duckdb.IOException) and str(self.layout.catalog) in told
                if isinstance(error, duckdb.OutOfMemoryException):
                    first = why.partition(" Database is launched")[0]
                    raise QueryRefused("the SQL needs too much memory", first, "select less, or aggregate earlier") from error
                cut = cut or ("Corrupt database" in told and not isinstance(error, duckdb.DataError | duckdb.ProgrammingError))
                if torn or cut or isinstance(error, duckdb.SerializationException):
                    fix = f"{REBUILD}, then fetch what it names again"
                    raise StoreDamaged("a file of the store could not be read", why, fix) from error
                raise QueryRefused("the SQL failed", why, "openrlb query --help names the views and their columns") from error


def live_files(con: duckdb.DuckDBPyConnection, partitions: set[tuple[str, str]] | None, kinds: Sequence[str]) -> list[str]:
    """The paths below ``data`` of the files that hold the values of some partitions (all for None)."""
    rows = con.execute(
        "SELECT path, project, env FROM catalog.files WHERE list_contains(?, kind) AND retired IS NULL ORDER BY path",
        [list(kinds)],
    ).fetchall()
    return [path for path, *key in rows if partitions is None or tuple(key) in partitions]


def _interruptibly(con: duckdb.DuckDBPyConnection, sql: str) -> QueryResult:
    """The answer to a query that Ctrl-C ends: DuckDB looks at signals only between its tasks, which may take minutes."""
    from threading import Event, Thread

    found: list[QueryResult | Exception] = []
    over = Event()

    def ask() -> None:
        try:
            cursor = con.execute(sql)
            found.append(QueryResult(tuple(str(column[0]) for column in cursor.description or ()), rows_of(cursor)))
        except Exception as error:  # raised again below, where it was asked
            found.append(error)
        over.set()

    asking = Thread(target=ask, daemon=True)
    try:
        asking.start()
        over.wait()  # no join: one that Ctrl-C interrupts takes the thread for ended (Python 3.11)
    except KeyboardInterrupt:
        while asking.ident is not None and not over.wait(0.05):  # an interrupt before the query has begun is none
            con.interrupt()
        raise
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


_ROW_COLUMNS = (*RUN_COLUMNS, "record", "fetched")


def known_names(con: duckdb.DuckDBPyConnection, asked: Selection | None = None) -> Known:
    """The distinct names that the catalog holds, where a selection names some; all of them without one."""

    def distinct(column: str, field: str) -> list[str]:
        if asked is not None and not getattr(asked, field):
            return []
        name = column if column != "tag" else "unnest(tags)"
        return [row[0] for row in con.execute(f"SELECT DISTINCT {name} FROM catalog.runs ORDER BY 1").fetchall()]

    fields = {name: name for name in ("env", "algo", "impl", "source", "tag")} | {"project": "source"}
    return Known(**{column: distinct(column, field) for column, field in fields.items()})


def _select(con: duckdb.DuckDBPyConnection, selection: Selection, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """The selected rows of the catalog, sorted."""
    import duckdb

    check_where(selection.where)
    where = condition(selection, known_names(con, selection))
    sql = f"SELECT {', '.join(columns)} FROM catalog.runs WHERE {where} ORDER BY project, algo, env, seed, run"
    try:
        return con.execute(check(sql) if selection.where else sql).fetchall()
    except (duckdb.Error, QueryRefused) as error:
        raise refuse(error) from error


def _run_row(row: tuple[Any, ...]) -> RunRow:
    """One row of the runs view as a record."""
    columns = dict(zip(RUN_COLUMNS, row, strict=False))
    return RunRow(columns, row[-2], row[-1])
