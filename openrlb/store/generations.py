"""Generations: the files that one fold or merge wrote together, and which of them a rebuild goes on with."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from openrlb.store.arrow import to_numpy
from openrlb.store.catalog import StoredRun
from openrlb.store.layout import VALUES, Layout
from openrlb.store.points import points_columns, write_runs
from openrlb.store.registry import footer_of

if TYPE_CHECKING:
    import pyarrow as pa

KINDS = (*VALUES, "runs")
AGAIN = "fetch its runs again"


@dataclass(slots=True, eq=False)
class Generation:
    """The files that were written together.

    Attributes:
        name: Where its run records are, or would be.
        parts: Its readable files, by kind.
        torn: The kinds of those that were there and cannot be read.
        made_of: The names of the generations that a merge made it of.
        covered: Its hardware series stand for these files.
        held: The runs that each readable file has rows of.
        records: Its run records by run id.
    """

    name: Path
    parts: dict[str, Path] = field(default_factory=dict)
    torn: set[str] = field(default_factory=set)
    made_of: set[Path] = field(default_factory=set)
    covered: set[Path] = field(default_factory=set)
    held: dict[str, set[int]] = field(default_factory=dict)
    records: dict[int, StoredRun] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether it has the run records and their points."""
        return {"points", "runs"} <= self.parts.keys()

    def ids(self) -> set[int]:
        """The ids of its runs, as far as a readable file tells."""
        return set(self.records).union(*self.held.values())


@dataclass(slots=True)
class Settled:
    """What a rebuild goes on with.

    Attributes:
        live: Generations that hold the store's runs, oldest first.
        system: The hardware series that are theirs.
        retired: Files that others replace.
        useless: Generations of which too much is lost; they lie in the quarantine.
    """

    live: list[Generation]
    system: list[Path]
    retired: list[Path]
    useless: list[Generation]


def beside(path: Path, kind: str, other: str) -> Path:
    """The file of another kind that was written together with one."""
    return path.with_name(path.name.replace(f"{kind}-", f"{other}-", 1))


def replaces(path: Path) -> list[str]:
    """The files that a merged file names in its footer."""
    return list(json.loads(footer_of(path).get(b"replaces", b"[]")))


def read_generations(layout: Layout, listed: Iterable[Path], warnings: list[str]) -> dict[Path, Generation]:
    """Reads every data file through; one that is damaged is named and set aside.

    Args:
        layout: The store.
        listed: Files that ought to be there, as far as a catalog still tells.
        warnings: Where to name what is damaged.
    """
    import pyarrow as pa

    found: dict[Path, Generation] = {}
    for kind in KINDS:
        for path in layout.data_files(kind):
            name = beside(path, kind, "runs")
            one = found.setdefault(name, Generation(name))
            try:
                named = [layout.data / text for text in replaces(path)]
                held, records = _read_through(path, kind)
            except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
                why = " ".join(str(error).split())
                warnings.append(f"{layout.relative(path)} is damaged and was put into {layout.quarantine.name}/: {why}")
                layout.set_aside(path)
                one.torn.add(kind)
                continue
            one.parts[kind] = path
            one.held[kind] = held
            one.records |= records
            one.made_of |= {beside(old, kind, "runs") for old in named}
            one.covered |= set(named) if kind == "system" else set()
    for path in listed:
        kind = path.name.split("-")[0]
        name = beside(path, kind, "runs")
        one = found.setdefault(name, Generation(name))
        one.torn |= {kind} - one.parts.keys()
    return found


def _read_through(path: Path, kind: str) -> tuple[set[int], dict[int, StoredRun]]:
    """Decodes every column of a file, so that damage shows before the catalog is made.

    Returns:
        The runs that it has rows of, and their records in a file of these.

    Raises:
        OSError: It cannot be read.
        ValueError: It can be read in part, has other columns, or rows without what each row has (all but a wall time).
        KeyError: A record lacks something.
        TypeError: A record is something else.
        ArrowException: It cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [("run_id", pa.int32()), ("record", pa.large_string())] if kind == "runs" else points_columns()
    rows = 0
    held: set[int] = set()
    records: dict[int, StoredRun] = {}
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        if [(one.name, pa.large_string() if one.type == pa.string() else one.type) for one in file.schema_arrow] != columns:
            raise ValueError(f"its columns are {', '.join(file.schema_arrow.names)}")
        for batch in file.iter_batches():
            rows += batch.num_rows
            gaps = [name for name, column in zip(batch.schema.names, batch.columns, strict=True) if column.null_count]
            if gaps and gaps != ["t_ms"]:
                raise ValueError(f"rows without {' and '.join(gaps)}")
            ids = to_numpy(batch["run_id"])
            held.update(ids[:1].tolist(), ids[1:][ids[1:] != ids[:-1]].tolist())
            records |= _records(batch) if kind == "runs" else {}
        if rows != file.metadata.num_rows:  # batches end with the shortest column, without a word
            raise ValueError(f"{rows:,} of its {file.metadata.num_rows:,} rows can be read")
    return held, records


def _records(batch: pa.RecordBatch) -> dict[int, StoredRun]:
    """The run records of some rows."""
    return {row["run_id"]: StoredRun.from_json(row["run_id"], row["record"]) for row in batch.to_pylist()}


def settle(layout: Layout, found: dict[Path, Generation], warnings: list[str]) -> Settled:
    """Decides which generations a rebuild goes on with.

    A merged one replaces what it was made of. One that has lost a part does so only where it alone has some of its runs: where
    what it was made of is there and whole, that is used again. Run records that are lost are made again from those of other
    generations. What is left over goes into the quarantine.
    """
    again = {one for one in found.values() if one.parts and _lost_a_part(one, found) and _is_held(one, found)}
    replaced = _replaced(found, again)
    _restore_records(layout, found, {one for one in found.values() if one not in again and one.name not in replaced}, warnings)
    replaced = _replaced(found, again)
    old = {one for one in found.values() if one.name in replaced}
    rest = [found[name] for name in sorted(found, key=lambda name: name.name) if found[name] not in old | again]
    live = [one for one in rest if one.is_whole]
    useless = [one for one in rest if not one.is_whole]
    system = _systems([*live, *old], [*useless, *(again - old)], {run_id for one in live for run_id in one.records})
    for path in sorted(path for one in [*useless, *(again - old)] for path in one.parts.values() if path not in system):
        layout.set_aside(path)
    again, useless = {one for one in again - old if _is_new(one, system)}, [one for one in useless if _is_new(one, system)]
    for one in sorted(again, key=lambda one: one.name):
        warnings.append(f"{layout.relative(one.name)}: a part of it is lost; what it was merged from is used again")
    retired = sorted(path for one in [*old, *live] for path in one.parts.values() if one in old or path.name.startswith("system"))
    return Settled(live, system, [path for path in retired if path not in system], useless)


def _replaced(found: dict[Path, Generation], again: set[Generation]) -> set[Path]:
    """The generations that a whole one was made of."""
    return {name for one in found.values() if one.is_whole and one not in again for name in one.made_of}


def _is_new(one: Generation, system: list[Path]) -> bool:
    """Whether a generation that is given up was not given up by an earlier rebuild, which kept its hardware series."""
    return bool(one.torn) or bool(set(one.parts.values()) - set(system))


def _lost_a_part(one: Generation, found: dict[Path, Generation]) -> bool:
    """Whether a generation lacks run records, points, or hardware series that it had."""
    if not one.is_whole or "system" in one.torn:
        return True
    return "system" not in one.parts and any(
        path in found and {"system"} & (found[path].parts.keys() | found[path].torn) for path in one.made_of
    )


def _is_held(one: Generation, found: dict[Path, Generation]) -> bool:
    """Whether those that a generation was made of are there without a loss, and have all of its runs."""
    sources = [found[name] for name in one.made_of if name in found]
    ids = one.ids()
    return bool(ids) and ids <= {run_id for old in sources if not _lost_a_part(old, found) for run_id in old.records}


def _restore_records(layout: Layout, found: dict[Path, Generation], needed: set[Generation], warnings: list[str]) -> None:
    """Makes run records again, from those of other generations, where there are points without them."""
    known = {run_id: record for one in found.values() for run_id, record in one.records.items()}
    for one in sorted(needed, key=lambda one: one.name):
        ids = one.ids() & known.keys()
        if "points" in one.parts and "runs" not in one.parts and ids:
            unknown = len(one.ids() - ids)
            whole = {run_id for name in one.made_of if name in found and found[name].is_whole for run_id in found[name].records}
            if unknown and ids <= whole:
                continue  # it would gain nothing, and hide what it was made of: an older version of what is lost
            lost = f", but for {unknown} whose records are lost unless newer ones are there; {AGAIN}" if unknown else ""
            one.records = {run_id: known[run_id] for run_id in sorted(ids)}
            write_runs(one.name, list(one.records.values()), [layout.relative(name) for name in sorted(one.made_of)])
            one.parts["runs"], one.held["runs"] = one.name, ids
            warnings.append(f"{layout.relative(one.name)}: made again from the run records of other files{lost}")


def _systems(sound: Iterable[Generation], others: Iterable[Generation], live: set[int]) -> list[Path]:
    """The hardware series that hold live runs' rows and that no others stand for; of other generations those that hold more."""
    having = [one for one in sound if "system" in one.parts]
    covered = {path for one in having for path in one.covered}
    system = {one.parts["system"]: one.held["system"] for one in having}
    system = {path: ids & live for path, ids in system.items() if path not in covered and ids & live}
    for one in sorted(others, key=lambda one: one.name.name, reverse=True):
        ids = one.held.get("system", set()) & live
        same = {path: held for path, held in system.items() if held & ids}  # a run's rows are whole wherever they are
        if ids > set().union(*same.values()):
            system = {path: held for path, held in system.items() if path not in same} | {one.parts["system"]: ids}
    return sorted(system)
