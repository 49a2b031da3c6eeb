"""The whole history of one run, in as few requests as W&B allows: Parquet exports first, then live rows in one page.

W&B's pages are ranges of ``_step``, not of rows, so that 2,000 rows spread over a million steps are a thousand pages of the
default size; here a page is as long as the run. Rows hold only the keys that were logged together, and asking for keys
gives rows that have all of them, so keys are never asked for: every column keeps its own rows.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openrlb.sources.wandb.client import Client, RefusedError, TransientError, is_permanent

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

STEP, RUNTIME, TIMESTAMP = "_step", "_runtime", "_timestamp"
INTERNAL = (STEP, RUNTIME, TIMESTAMP)
MAX_PAGE = 2**31 - 1
"""W&B's page size is a 32-bit number."""
MAX_ROWS = 50_000_000
MAX_PAGES = 200
"""A service that gives fewer rows than were asked for is asked for the rest, this often."""
SMALL_PAGE = 10_000
"""A page that fails is made smaller, down to this many steps."""
PAGE_SECONDS = 300.0
HISTORY_PAGE = """query HistoryPage($entity: String!, $project: String!, $run: String!, $minStep: Int64!, $maxStep: Int64!,
    $pageSize: Int!) {
    project(name: $project, entityName: $entity) {
        run(name: $run) { history(minStep: $minStep, maxStep: $maxStep, samples: $pageSize) }
    }
}"""
EVENT_SAMPLES = 100_000
_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf, "nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_ABSENT = object()


@dataclass(slots=True)
class Part:
    """Some rows of a history, by column.

    Attributes:
        steps: ``_step`` of each row, shape ``(rows,)``, int64.
        columns: For each key the positions of the rows that hold a number, and the numbers, both of shape ``(n,)``.
    """

    steps: NDArray[np.int64]
    columns: dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]] = field(default_factory=dict)


@dataclass(slots=True)
class History(Part):
    """A run's rows in order of ``_step``, with what was noticed.

    Attributes:
        notes: What was noticed.
    """

    notes: list[str] = field(default_factory=list)


def read_history(client: Client, remote: Any, wants: Callable[[str], bool], last_step: int | None) -> History:  # noqa: ANN401
    """Reads every row of a run.

    Args:
        client: The connection.
        remote: The wandb client's run.
        wants: Whether a key is taken; ``_step``, ``_runtime`` and ``_timestamp`` always are.
        last_step: The highest ``_step`` where the listing told it, and the run does not go on.

    Raises:
        TransientError: W&B does not give it for the moment.
        RefusedError: W&B refuses, or the data cannot be read.
    """
    expected = remote.history_line_count
    exported, live = client.step(lambda: _exports(client, remote, wants))
    parts = exported
    if live:
        after = max((int(part.steps.max()) for part in exported if len(part.steps)), default=-1)
        parts = parts + list(_live(client, remote, wants, after + 1, last_step, expected, sum(len(part.steps) for part in parts)))
    history = join(parts)
    rows = len(history.steps)
    if isinstance(expected, int) and rows < expected:
        history.notes.append(f"wandb counts {expected:,} rows and gave {rows:,}: {expected - rows:,} are missing here")
    return history


def _exports(client: Client, remote: Any, wants: Callable[[str], bool]) -> tuple[list[Part], bool]:  # noqa: ANN401
    """What is exported to Parquet, and whether live rows follow."""
    with tempfile.TemporaryDirectory(dir=client.folder) as folder:
        answer = remote.download_history_exports(folder, require_complete_history=False)
        for path, text in (answer.errors or {}).items():
            raise (RefusedError if is_permanent(text) else TransientError)(f"{path.name}: {' '.join(text.split())[:200]}")
        parts = [_parquet(path, wants) for path in sorted(answer.paths, key=_part_number)]
        return parts, bool(answer.contains_live_data)


def _part_number(path: Path) -> tuple[int, str]:
    """The order of exports: ``..._10.runhistory.parquet`` is after ``..._9``."""
    number = path.name.split(".")[0].rsplit("_", 1)[-1]
    return (int(number) if number.isdecimal() else 0, path.name)


def _parquet(path: Path, wants: Callable[[str], bool]) -> Part:
    """One export.

    Raises:
        TransientError: It is torn.
        RefusedError: It has no ``_step``, or more rows than a run has.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            if file.metadata.num_rows > MAX_ROWS:
                raise RefusedError(f"an export has {file.metadata.num_rows:,} rows, more than {MAX_ROWS:,}")
            names = [item.name for item in file.schema_arrow]
            if STEP not in names:
                raise RefusedError(f"an export has no column {STEP}")
            taken = [name for name in names if name in INTERNAL or wants(name) or _wants_inside(file.schema_arrow, name, wants)]
            table = _flat(file.read(columns=taken, use_threads=False))
    except (pa.ArrowException, OSError) as error:
        raise TransientError(f"an export arrived torn: {' '.join(str(error).split())[:150]}") from error
    steps = table[STEP].fill_null(-1).to_numpy().astype(np.int64)
    part = Part(steps)
    for name in table.column_names:
        if name != STEP and (name in INTERNAL or wants(name)):
            found = _numbers(table[name])
            if found is not None and len(found[0]):
                part.columns[name] = found
    return part


def _wants_inside(schema: pa.Schema, name: str, wants: Callable[[str], bool]) -> bool:
    """Whether a nested column holds a wanted key."""
    import pyarrow as pa

    kind = schema.field(name).type
    return pa.types.is_struct(kind) and any(wants(f"{name}.{inner.name}") for inner in kind)


def _flat(table: pa.Table) -> pa.Table:
    """Nested columns as dotted ones."""
    import pyarrow as pa

    for _ in range(5):
        if not any(pa.types.is_struct(kind) for kind in table.schema.types):
            break
        table = table.flatten()
    return table


def _numbers(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
    """The rows of a column that hold numbers, and the numbers; None for a column of something else."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind):
        present = np.flatnonzero(column.is_valid().to_numpy())
        values = pc.cast(column.drop_null(), pa.float64(), safe=False).to_numpy()
        return present.astype(np.int64), values
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        pairs = [(index, _WORDS[text]) for index, text in enumerate(column.to_pylist()) if text in _WORDS]
        return np.array([index for index, _ in pairs], np.int64), np.array([value for _, value in pairs], np.float64)
    return None


def _live(
    client: Client,
    remote: Any,  # noqa: ANN401
    wants: Callable[[str], bool],
    first: int,
    last_step: int | None,
    expected: object,
    have: int,
) -> Iterator[Part]:
    """Rows that are not exported: one page, and more only where W&B gave fewer rows than it counts, or a page is too large."""
    last = client.step(lambda: int(remote.lastHistoryStep)) if last_step is None else last_step
    size = min(max(last + 1 - first, 1), MAX_PAGE)
    for _ in range(MAX_PAGES):
        try:
            part = client.step(partial(_page, remote, first, min(size, MAX_PAGE), wants))
        except TransientError:
            if size <= SMALL_PAGE or not isinstance(expected, int) or expected <= SMALL_PAGE:
                raise
            size //= 8
            continue
        yield part
        have += len(part.steps)
        through = first + size - 1  # the last step that was asked for
        first = int(part.steps.max()) + 1 if len(part.steps) else through + 1
        if first > last or (have >= expected if isinstance(expected, int) else through >= last):
            return


def _page(remote: Any, first: int, size: int, wants: Callable[[str], bool]) -> Part:  # noqa: ANN401
    """The live rows of one range of steps.

    This is the operation that wandb-core sends for ``scan_history``, without the two requests before it and without what
    it does to every single value on the way (three times the CPU), and without fetching the exports a second time.
    """
    variables = {
        "entity": remote.entity, "project": remote.project, "run": remote.id, "minStep": first, "maxStep": first + size,
        "pageSize": size,
    }  # fmt: skip
    data = remote._service_api.execute_graphql(HISTORY_PAGE, variables, timeout=PAGE_SECONDS)
    run = (data.get("project") or {}).get("run")
    if run is None:
        raise RefusedError("the run is gone")
    return collect(json.loads(f"[{','.join(run['history'])}]"), wants)


def collect(rows: Iterable[Mapping[str, Any]], wants: Callable[[str], bool]) -> Part:
    """Rows as columns; each column keeps only the rows that hold a number.

    A number is one that JSON can say, true or false, or one of the words that W&B writes for what JSON cannot.

    >>> rows = [{"_step": 0, "r": "NaN"}, {"_step": 2, "loss": 1}, {"_step": 5, "r": 3.5, "x": {"y": 2}}]
    >>> part = collect(rows, lambda key: True)
    >>> part.steps.tolist(), sorted(part.columns), part.columns["r"][0].tolist(), part.columns["r"][1].tolist()
    ([0, 2, 5], ['loss', 'r', 'x.y'], [0, 2], [nan, 3.5])
    """
    import numpy as np

    steps: list[int] = []
    positions: dict[str, list[int]] = {}
    values: dict[str, list[float]] = {}
    taken: dict[str, bool] = {}
    for position, row in enumerate(rows):
        step = row.get(STEP, _ABSENT)
        steps.append(int(step) if isinstance(step, int | float) and math.isfinite(step) else (steps[-1] if steps else 0))
        for key, value in _pairs(row):
            if key not in taken:
                taken[key] = key != STEP and (key in INTERNAL or wants(key))
            if not taken[key]:
                continue
            number = _number(value)
            if number is not None:
                positions.setdefault(key, []).append(position)
                values.setdefault(key, []).append(number)
    columns = {key: (np.array(positions[key], np.int64), np.array(values[key], np.float64)) for key in positions}
    return Part(np.array(steps, np.int64), columns)


def _pairs(row: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """A row's keys and values; nested mappings become dotted keys, media and histograms (``_type``) stay out."""
    for key, value in row.items():
        if type(value) is dict:
            if depth < 5 and "_type" not in value:
                yield from _pairs(value, f"{prefix}{key}.", depth + 1)
        else:
            yield prefix + key, value


def _number(value: object) -> float | None:
    """A logged value as a number, or None where it is none."""
    if isinstance(value, int | float):  # true and false too
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    return _WORDS.get(value) if isinstance(value, str) else None


def join(parts: list[Part]) -> History:
    """Parts as one history in order of ``_step``; of rows with the same step the first is kept, and the others are counted."""
    import numpy as np

    if not parts:
        return History(np.zeros(0, np.int64))
    offsets = np.cumsum([0, *(len(part.steps) for part in parts)])
    steps = np.concatenate([part.steps for part in parts])
    _, first = np.unique(steps, return_index=True)  # sorted by step; the first of equal ones
    place = np.full(len(steps), -1, np.int64)
    place[first] = np.arange(len(first))
    history = History(steps[first])
    names = dict.fromkeys(name for part in parts for name in part.columns)
    for name in names:
        held = [(offset, part.columns[name]) for offset, part in zip(offsets, parts, strict=False) if name in part.columns]
        rows = place[np.concatenate([positions + offset for offset, (positions, _) in held])]
        values = np.concatenate([numbers for _, (_, numbers) in held])
        kept = rows >= 0
        order = np.argsort(rows[kept], kind="stable")
        history.columns[name] = (rows[kept][order], values[kept][order])
    twice = len(steps) - len(first)
    if twice:
        history.notes.append(f"{twice:,} rows came twice (the same _step), and the first was kept")
    return history


def read_events(client: Client, remote: Any) -> tuple[Part, list[str]]:  # noqa: ANN401
    """The hardware metrics of a run; the part's steps are row numbers, its clock ``_timestamp`` and ``_runtime``."""
    rows = client.step(lambda: remote.history(stream="system", samples=EVENT_SAMPLES, pandas=False))
    numbered = [{**row, STEP: position} for position, row in enumerate(rows)]
    notes = [f"only {len(rows):,} rows of hardware metrics were taken"] if len(rows) >= EVENT_SAMPLES else []
    return collect(numbered, lambda _: True), notes
