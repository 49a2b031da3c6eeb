"""Generations: the files that one fold or merge wrote together."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from openrlb.store.arrow import distinct
from openrlb.store.catalog import StoredRun
from openrlb.store.layout import VALUES, Layout, is_data_file
from openrlb.store.points import points_columns
from openrlb.store.registry import footer_of

if TYPE_CHECKING:
    import pyarrow as pa

KINDS = (*VALUES, "runs")


@dataclass(slots=True, eq=False)
class Generation:
    """The files that were written together.

    Attributes:
        name: Where its run records are, or would be.
        parts: Its readable files, by kind.
        torn: The kinds of those that were there and cannot be read.
        made_of: The names of the generations that a merge made it of.
        held: The runs that each readable file has rows of.
        records: Its run records by run id.
    """

    name: Path
    parts: dict[str, Path] = field(default_factory=dict)
    torn: set[str] = field(default_factory=set)
    made_of: set[Path] = field(default_factory=set)
    held: dict[str, set[int]] = field(default_factory=dict)
    records: dict[int, StoredRun] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether it has the run records and their points."""
        return {"points", "runs"} <= self.parts.keys()

    def ids(self) -> set[int]:
        """The ids of its runs, as far as a readable file tells."""
        return set(self.records).union(*self.held.values())


def beside(path: Path, kind: str, other: str) -> Path:
    """The file of another kind that was written together with one."""
    return path.with_name(path.name.replace(f"{kind}-", f"{other}-", 1))


def replaces(path: Path) -> list[str]:
    """The data files that a merged file names in its footer."""
    return [name for name in json.loads(footer_of(path).get(b"replaces", b"[]")) if is_data_file(name)]


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
            except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, pa.ArrowException) as error:
                why = " ".join(str(error).split())
                warnings.append(f"{layout.relative(path)} is damaged and was put into {layout.quarantine.name}/: {why}")
                layout.set_aside(path)
                one.torn.add(kind)
                continue
            one.parts[kind] = path
            one.held[kind] = held
            one.records |= records
            one.made_of |= {beside(old, kind, "runs") for old in named}
    for path in listed:
        kind = path.name.split("-")[0]
        name = beside(path, kind, "runs")
        one = found.setdefault(name, Generation(name))
        if kind not in one.parts and kind not in one.torn:
            warnings.append(f"{layout.relative(path)} is gone")
            one.torn.add(kind)
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
            held |= distinct(batch["run_id"])
            records |= _records(batch) if kind == "runs" else {}
        if rows != file.metadata.num_rows:  # batches end with the shortest column, without a word
            raise ValueError(f"{rows:,} of its {file.metadata.num_rows:,} rows can be read")
    return held, records


def _records(batch: pa.RecordBatch) -> dict[int, StoredRun]:
    """The run records of some rows."""
    return {row["run_id"]: StoredRun.from_json(row["run_id"], row["record"]) for row in batch.to_pylist()}
