"""Points files of which only the needed groups of rows are taken.

A file in the cache is as large as the whole one, with holes where nothing was taken; beside it stands what is there. A data file
never changes under its name, so that what was taken once holds for good.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from openrlb.errors import StoreDamaged
from openrlb.sources.web_store.asking import Folder, NoRangesError
from openrlb.store.arrow import numbers, to_numpy
from openrlb.store.catalog import connection
from openrlb.store.files import writing
from openrlb.store.schema import literal

if TYPE_CHECKING:
    import pyarrow as pa

TAIL = 16 * 1024
"""So much of a file's end is asked for first: its footer, nearly always."""
GAP = 32 * 1024
"""Ranges with less between them are asked for together."""
AT_ONCE = 16 * 1024**2
MOST_BYTES = 4 * 1024**3
"""The largest points file."""
UNPACKED = 100
"""So many bytes at most may come of one."""
COLUMNS = ("run_id", "metric_id", "step", "t_ms", "value")


@dataclass(frozen=True, slots=True)
class Group:
    """A group of rows of a points file.

    Attributes:
        number: Its place among the file's groups.
        rows: How many rows it has.
        start: Its first byte in the file.
        end: The byte after its last one.
        runs: The smallest and the largest run id; None where the footer does not tell.
        metrics: The smallest and the largest metric id.
    """

    number: int
    rows: int
    start: int
    end: int
    runs: tuple[int, int] | None
    metrics: tuple[int, int] | None

    def may_hold(self, runs: Collection[int], metrics: Collection[int]) -> bool:
        """Whether rows of some runs and some metrics may be in it."""
        pairs = ((self.runs, runs), (self.metrics, metrics))
        return all(span is None or any(span[0] <= one <= span[1] for one in wanted) for span, wanted in pairs)


class Pieces:
    """The cache of a store's points files.

    Args:
        folder: The store on the server.
        cache: Where the files are kept.
    """

    def __init__(self, folder: Folder, cache: Path) -> None:
        self._folder, self._cache = folder, cache

    def rows(self, path: str, runs: Collection[int], metrics: Collection[int]) -> pa.Table:
        """The rows of some runs and metrics of one file, with their place in it as ``file_row_number``.

        Raises:
            StoreDamaged: The file is none.
            MissingError: The server has it no more.
            NetworkError: The server does not answer.
        """
        import pyarrow as pa

        for fresh in (False, True):
            try:
                return self._rows(path, runs, metrics)
            except (OSError, ValueError, pa.ArrowException, StoreDamaged) as error:  # a cache that a power cut left torn, perhaps
                self._forget(path)
                if fresh:
                    why = " ".join(str(error).split())[:200]
                    raise StoreDamaged("points of this store cannot be read", f"{path}: {why}", "tell its owner") from error
        raise AssertionError("unreachable")

    def _rows(self, path: str, runs: Collection[int], metrics: Collection[int]) -> pa.Table:
        """As :meth:`rows`, once."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.parquet as pq

        groups = self._groups(path)
        wanted = [group for group in groups if group.may_hold(runs, metrics)]
        self._take(path, wanted)
        with pq.ParquetFile(self._place(path), page_checksum_verification=True) as file:
            table = file.read_row_groups([group.number for group in wanted], columns=list(COLUMNS), use_threads=False)
        if table.num_rows != sum(group.rows for group in wanted):
            raise ValueError("it holds fewer rows than it says")
        firsts = [0, *accumulate(group.rows for group in groups)]
        place = np.concatenate([np.zeros(0, np.int64), *(firsts[one.number] + np.arange(one.rows) for one in wanted)])
        table = table.replace_schema_metadata(None).append_column("file_row_number", numbers(pa.int64(), place))
        run, metric = to_numpy(table["run_id"]), to_numpy(table["metric_id"])
        fit = np.isin(run, list(runs)) & np.isin(metric, list(metrics))
        return table.filter(numbers(pa.bool_(), fit))

    def _groups(self, path: str) -> list[Group]:
        """The file's groups of rows, as its footer tells.

        Raises:
            ValueError: The footer contradicts itself.
            StoreDamaged: It is none.
        """
        place = self._place(path)
        if not place.exists():
            self._begin(path)
        size = place.stat().st_size
        with connection() as con:
            told = con.execute(
                f"""SELECT row_group_id, row_group_num_rows, path_in_schema, stats_min_value, stats_max_value,
                least(coalesce(nullif(dictionary_page_offset, 0), data_page_offset), data_page_offset), total_compressed_size,
                total_uncompressed_size FROM parquet_metadata({literal(str(place))}) ORDER BY ALL"""
            ).fetchall()
        if sum(row[7] for row in told) > UNPACKED * size + 64 * 1024**2:
            raise ValueError("it claims to hold more than its bytes can")
        groups = []
        for number in sorted({row[0] for row in told}):
            mine = [row for row in told if row[0] == number]
            spans = {row[2]: (int(row[3]), int(row[4])) for row in mine if row[2] in COLUMNS[:2] and row[3] and row[4]}
            start, end = min(row[5] for row in mine), max(row[5] + row[6] for row in mine)
            if not 0 < start < end <= size or sorted(row[2] for row in mine) != sorted(COLUMNS):
                raise ValueError("its footer leads out of it, or names other columns")
            groups.append(Group(number, mine[0][1], start, end, spans.get("run_id"), spans.get("metric_id")))
        return groups

    def _begin(self, path: str) -> None:
        """Takes the file's footer; the whole file where the server gives no parts."""
        place = self._place(path)
        try:
            first, size, data = self._folder.part(path, -TAIL)
            footer = int.from_bytes(data[-8:-4], "little") + 8
            if data[-4:] != b"PAR1" or not 8 < footer <= size or size > MOST_BYTES:
                raise ValueError("it is no Parquet file, or too large")
            if footer > len(data):
                first, _, data = self._folder.part(path, size - footer, size)
        except NoRangesError:
            self._whole(path)
            return
        with writing(place) as temporary, temporary.open("wb") as file:
            file.truncate(size)
            file.seek(first)
            file.write(data)
        if first == 0:
            self._note(path, None)

    def _whole(self, path: str) -> None:
        """Takes the whole file."""
        self._folder.take(path, self._place(path), MOST_BYTES)
        self._note(path, None)

    def _take(self, path: str, wanted: Iterable[Group]) -> None:
        """Takes the groups that are not there yet, neighbours together."""
        have = self._have(path)
        missing = [] if have is None else [group for group in wanted if group.number not in have]
        if not missing:
            return
        place = self._place(path)
        for start, end in _spans(missing):
            try:
                _, size, data = self._folder.part(path, start, end)
            except NoRangesError:
                self._whole(path)
                return
            if size != place.stat().st_size:
                raise ValueError("it is not as large as it was: it changed under its name")
            with place.open("rb+") as file:
                file.seek(start)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        self._note(path, sorted({*(have or ()), *(group.number for group in missing)}))

    def whole(self, path: str, to: Path) -> None:
        """Brings a whole file to where it can be read by its name."""
        if not to.exists():
            self._folder.take(path, to, MOST_BYTES)

    def _have(self, path: str) -> set[int] | None:
        """The groups that are there; None for all."""
        try:
            told = json.loads(self._beside(path).read_text())
        except (OSError, ValueError):
            return set()
        return None if told is None else {int(number) for number in told}

    def _note(self, path: str, groups: list[int] | None) -> None:
        """Keeps which groups are there."""
        with writing(self._beside(path)) as temporary:
            temporary.write_text(json.dumps(groups))

    def _forget(self, path: str) -> None:
        """Drops what the cache holds of a file."""
        for one in (self._beside(path), self._place(path)):
            with suppress(OSError):
                one.unlink()

    def _place(self, path: str) -> Path:
        """Where the file is kept."""
        return self._cache / path

    def _beside(self, path: str) -> Path:
        """Where it is kept which groups are there."""
        return self._cache / f"{path}.groups"


def _spans(groups: Iterable[Group]) -> list[tuple[int, int]]:
    """The bytes of some groups, neighbours in one span.

    >>> _spans([Group(number, 1, start, start + 10, None, None) for number, start in enumerate((4, 14, 10**6))])
    [(4, 24), (1000000, 1000010)]
    """
    spans: list[tuple[int, int]] = []
    for group in sorted(groups, key=lambda group: group.start):
        start, end = spans[-1] if spans else (0, -GAP - 1)
        if group.start - end <= GAP and group.end - start <= AT_ONCE:
            spans[-1] = start, max(end, group.end)
        else:
            spans.append((group.start, group.end))
    return spans
