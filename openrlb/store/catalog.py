"""The catalog: a small DuckDB file that is never changed in place. Writers change a copy and rename it.

A connection always attaches the file to an in-memory database: ``duckdb.connect(path)`` would hand a second caller in
the same process the first one's cached instance, and with it the catalog of before a fold (seen with duckdb 2.0.0).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openrlb.errors import StoreBusy, StoreDamaged, StoreTooNew
from openrlb.store.arrow import numbers, text_lists, texts
from openrlb.store.files import unwritable, writing
from openrlb.store.lock import CURE
from openrlb.store.schema import SCHEMA_VERSION, TABLES, literal
from openrlb.store.variant import flat_config, variant_of
from openrlb.types import Run

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from openrlb.store.layout import Layout

REBUILD = "run: openrlb doctor --rebuild"
ATTACH_TRIES = 50
"""To open a catalog takes a millisecond, to replace one half a second."""
UNWRITABLE = ("No space left", "Could not write", "File too large", "Permission denied", "Read-only", "CHECKPOINT", "truncate")
"""Words of DuckDB by which a failed write is known."""


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run as the catalog takes it: the record with the ids and marks that fold gives.

    Attributes:
        run_id: The store's own number.
        run: The record.
        digest: The hash of everything the run holds.
        fetched: When it was written, ISO 8601 in UTC.
        kinds: The kinds of files that have rows of it, so that it shows when one is lost; None where that was not written down.
        kept: The names of the files that were kept with it, for the same reason.
    """

    run_id: int
    run: Run
    digest: str
    fetched: str
    kinds: tuple[str, ...] | None = None
    kept: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from other runs, whatever its version."""
        return self.run.source, self.run.run

    def to_json(self) -> str:
        """The line that ``runs-*.parquet`` keeps, enough to make the catalog again."""
        record = {"run": self.run.to_json(), "digest": self.digest, "fetched": self.fetched}
        return json.dumps(record | ({} if self.kinds is None else {"kinds": self.kinds, "kept": self.kept}), default=str)

    @classmethod
    def from_json(cls, run_id: int, text: str) -> StoredRun:
        """Rebuilds the record from :meth:`to_json`."""
        record = json.loads(text)
        kinds = tuple(map(str, record["kinds"])) if "kinds" in record else None
        kept = tuple(map(str, record.get("kept", ())))
        return cls(run_id, Run.from_json(record["run"]), record["digest"], record["fetched"], kinds, kept)


@contextmanager
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """An in-memory DuckDB with openrlb's settings, closed on leaving.

    One thread adds floats in one order: equal inputs then give equal bytes.

    Raises:
        StoreUnwritable: DuckDB could not write a file (space, permission).
        StoreDamaged: Any other failure of DuckDB, with its own words.
    """
    import duckdb

    con = duckdb.connect()
    try:
        con.execute("SET preserve_insertion_order = true; SET memory_limit = '4GB'; SET threads = 1")
        with suppress(duckdb.InvalidInputException):  # in a notebook without ipywidgets there is no bar, nor a way to say so
            con.execute("SET enable_progress_bar = false")  # DuckDB draws it on standard output, where results go
        yield con
    except duckdb.Error as error:
        why = str(error).splitlines()[0]
        if any(sign in why for sign in UNWRITABLE):
            raise unwritable(Path("the store"), OSError(f"is the disk full? {why}")) from error
        raise StoreDamaged("a file of the store could not be read", why, f"{REBUILD}, then fetch what it names again") from error
    except RuntimeError as error:  # DuckDB's word for Ctrl-C
        if "interrupt" in str(error).lower():
            raise KeyboardInterrupt from error
        raise
    finally:
        con.close()


def attach(con: duckdb.DuckDBPyConnection, path: Path) -> int:
    """Attaches a catalog read-only under the name ``catalog``; returns its schema version.

    DuckDB opens a file twice, first for its head and then for the rest. Where a fold puts another in place between the two, it
    reads the rest of one by the head of the other: an error, or no rows at all. Such a pair is given up and opened again.

    Raises:
        StoreBusy: It was replaced each time.
        StoreTooNew: Written by a newer openrlb.
        StoreDamaged: Not a catalog.
    """
    import duckdb

    for _ in range(ATTACH_TRIES):
        before = _mark(path)
        try:
            con.execute(f"ATTACH {literal(str(path))} AS catalog (READ_ONLY)")
        except duckdb.Error as error:
            if _mark(path) == before:
                raise StoreDamaged(f"{path.name} cannot be opened", str(error).splitlines()[0], REBUILD) from error
            continue
        if _mark(path) == before:
            break
        con.execute("DETACH catalog")
    else:
        raise StoreBusy(f"{path.name} cannot be opened", "it is replaced again and again", "wait until what writes there is done")
    version = schema_version(con)
    if version > SCHEMA_VERSION:
        why = f"its schema is {version}, this openrlb reads up to {SCHEMA_VERSION}"
        raise StoreTooNew("the store was written by a newer openrlb", why, "install it: pip install --upgrade openrlb")
    return version


def schema_version(con: duckdb.DuckDBPyConnection) -> int:
    """The schema version of the attached catalog; 0 where it names none."""
    import duckdb

    try:
        row = con.execute("SELECT value FROM catalog.meta WHERE key = 'schema_version'").fetchone()
    except duckdb.CatalogException:
        return 0
    return int(row[0]) if row else 0


@contextmanager
def changing(layout: Layout, fresh: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to a copy of the catalog (an empty one where asked) that takes its place on success.

    Readers see the catalog of before or after, never between; one that stays open keeps what it opened.

    Raises:
        StoreBusy: Somebody else took the lock meanwhile, or wrote a catalog although it was held; nothing took its place.
        StoreUnwritable: It cannot be written.
    """
    path = layout.catalog
    before = _mark(path)

    def ready() -> None:
        layout.still_held()
        if _mark(path) != before:
            why = "another process wrote to it meanwhile: the file locks there do not keep it out"
            raise StoreBusy("nothing was put in place", why, CURE)

    with writing(path, ready) as temporary:
        if not fresh:
            shutil.copyfile(path, temporary)
        with connection() as con:
            con.execute(f"ATTACH {literal(str(temporary))} AS catalog (STORAGE_VERSION 'v1.5.0')")
            if fresh:
                create_tables(con)
            con.execute("BEGIN")
            yield con
            con.execute("COMMIT")
            con.execute("DETACH catalog")


def _mark(path: Path) -> tuple[int, int, int] | None:
    """What tells one catalog from the next, which is another file; None where none can be seen."""
    try:
        seen = path.stat()
    except OSError:
        return None
    return seen.st_ino, seen.st_mtime_ns, seen.st_size


def create_tables(con: duckdb.DuckDBPyConnection) -> None:
    """Makes the empty tables of the current schema."""
    for name, columns in TABLES.items():
        con.execute(f"CREATE TABLE catalog.{name} ({columns})")
    con.execute(f"INSERT INTO catalog.meta VALUES ('schema_version', '{SCHEMA_VERSION}')")


def insert_runs(con: duckdb.DuckDBPyConnection, runs: Iterable[StoredRun], requirements: Mapping[str, list[str]]) -> None:
    """Adds runs and their parameters; ``metrics``, and ``steps`` where no record tells them, follow from the points."""
    import pyarrow as pa

    rows = [run_row(stored) for stored in runs]
    if rows:
        columns = {name: _column(name, [row[name] for row in rows]) for name in rows[0]}
        con.register("new_runs", pa.Table.from_arrays(list(columns.values()), names=list(columns)))
        con.execute("INSERT INTO catalog.runs BY NAME SELECT * FROM new_runs")
        con.unregister("new_runs")
    params = [row for stored in rows for row in param_rows(stored["run_id"], json.loads(stored["config"]))]
    if params:
        columns = {name: _column(name, [row[name] for row in params]) for name in params[0]}
        con.register("new_params", pa.Table.from_arrays(list(columns.values()), names=list(columns)))
        con.execute("INSERT INTO catalog.params BY NAME SELECT * FROM new_params")
        con.unregister("new_params")
    known = {row[0] for row in con.execute("SELECT hash FROM catalog.requirements").fetchall()}
    for digest, packages in sorted(requirements.items()):
        if digest not in known:
            con.execute("INSERT INTO catalog.requirements VALUES (?, ?)", [digest, packages])


def run_row(stored: StoredRun) -> dict[str, Any]:
    """A run as one row of the catalog."""
    run = stored.run
    return {
        **{name: getattr(run, name) for name in ("source", "run", "project", "name", "algo", "impl", "env", "seed", "role")},
        **{name: getattr(run, name) for name in ("state", "steps", "step_unit", "frames_per_step", "created", "normalized")},
        **{name: getattr(run, name) for name in ("git_commit", "requirements", "attempt", "location")},
        "run_id": stored.run_id,
        "variant": variant_of(run.config),
        "tags": list(run.tags),
        "notes": list(run.notes),
        "fetched": stored.fetched,
        "config": json.dumps(run.config, default=str, sort_keys=True),
        "digest": stored.digest,
        "record": stored.to_json(),
    }


def _column(name: str, values: list[Any]) -> pa.Array:
    """One column of :func:`run_row` or :func:`param_rows` as Arrow takes it."""
    import pyarrow as pa

    kinds = {"run_id": pa.int32(), "seed": pa.int64(), "steps": pa.int64(), "frames_per_step": pa.int32(), "attempt": pa.int32()}
    if name in ("tags", "notes"):
        return text_lists(values)
    kind = kinds.get(name) or (pa.float64() if name == "number" else None)
    return texts(values) if kind is None else numbers(kind, values)


def param_rows(run_id: int, config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The long form of a configuration: one row for each leaf, numbers also as numbers.

    >>> [row["number"] for row in param_rows(1, {"lr": 0.1, "policy": "mlp", "flag": True})]
    [0.1, None, None]
    """
    for key, value in flat_config(config).items():
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
        text = value if isinstance(value, str) else json.dumps(value, default=str, sort_keys=True)
        yield {"run_id": run_id, "key": key, "value": text, "number": number}
