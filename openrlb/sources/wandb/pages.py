"""Live history rows, which come as one JSON text each, as columns: by Arrow where they are plain, which is most of the time.

Arrow reads the wanted columns alone, makes no Python object of any value, and lets other threads work meanwhile: a third
of the time of ``json``. What it does not take (a "NaN", a number that is true elsewhere) is left to ``json`` and ``collect``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openrlb.sources.wandb.exports import part_of
from openrlb.sources.wandb.rows import INTERNAL, STEP, Part, collect
from openrlb.store.arrow import filled

if TYPE_CHECKING:
    import pyarrow as pa

_DECODING = ThreadPoolExecutor(1, thread_name_prefix="decoding")
"""Pages are decoded one at a time, and by one thread: decoded rows take several times the memory of their text, and C's
allocator keeps for each thread what that one freed."""

EXACT_STEP = 2**53
"""From here on a float does not hold every whole number."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which keys are taken: those named, or all for None."""

    names: frozenset[str] | None = None

    def __call__(self, key: str) -> bool:
        """Whether a key is taken."""
        return self.names is None or key in self.names


def read_rows(texts: Sequence[str], wanted: Wanted) -> Part:
    """Rows that came as JSON texts, by column; see :func:`openrlb.sources.wandb.rows.collect`.

    Raises:
        ValueError: A text is not JSON.

    >>> part = read_rows(['{"_step": 0, "loss": 1.5}', '{"_step": 4, "r": 2, "loss": "NaN"}'], Wanted(frozenset({"r"})))
    >>> part.steps.tolist(), {key: values.tolist() for key, (_, values) in part.columns.items()}
    ([0, 4], {'r': [2.0]})
    """
    table = _plain(texts, wanted)
    return collect(json.loads(f"[{','.join(texts)}]"), wanted) if table is None else part_of(table, wanted)


def read_page(text: str, wanted: Wanted) -> Part | None:
    """The rows of a history page, by its answer; None where the run is gone."""
    return _DECODING.submit(_page, text, wanted).result()


def _page(text: str, wanted: Wanted) -> Part | None:
    """See :func:`read_page`."""
    run = (json.loads(text).get("project") or {}).get("run")
    return None if run is None else read_rows(run["history"], wanted)


def _plain(texts: Sequence[str], wanted: Wanted) -> pa.Table | None:
    """Rows as a table; None where they are nested (too deep a nest ends Arrow's reader, and Python), or of mixed kinds."""
    import pyarrow as pa
    import pyarrow.json

    try:
        data = "\n".join(texts).encode()
    except UnicodeEncodeError:
        return None
    if b"[" in data or data.count(b"{") != len(texts):
        return None
    options: dict[str, object] = {}
    if wanted.names is not None:
        names = sorted({*INTERNAL, *wanted.names} - {STEP})
        schema = pa.schema([(STEP, pa.int64()), *((name, pa.float64()) for name in names)])
        options = {"explicit_schema": schema, "unexpected_field_behavior": "ignore"}
    try:
        table = pa.json.read_json(
            pa.BufferReader(data),
            read_options=pa.json.ReadOptions(use_threads=False, block_size=len(data) + 1),
            parse_options=pa.json.ParseOptions(**options),
            memory_pool=pa.system_memory_pool(),  # the default one keeps a heap for each thread
        )
    except pa.ArrowException:
        return None
    if len(table) != len(texts) or STEP not in table.column_names:
        return None
    if pa.types.is_floating(table[STEP].type) and (filled(table[STEP])[0] >= EXACT_STEP).any():
        return None  # a whole number may have lost its last digits
    return table
