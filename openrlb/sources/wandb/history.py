"""The whole history of one run, in as few requests as W&B allows: Parquet exports first, then live rows in one page.

W&B's pages are ranges of ``_step``, not of rows, so that 2,000 rows spread over a million steps are a thousand pages of the
default size; here a page is as long as the run. Rows hold only the keys that were logged together, and asking for keys
gives rows that have all of them, so keys are never asked for: every column keeps its own rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from openrlb.sources.wandb.client import Client, RefusedError, TransientError
from openrlb.sources.wandb.exports import read_exports
from openrlb.sources.wandb.pages import Wanted, read_page
from openrlb.sources.wandb.rows import STEP, Part, collect
from openrlb.sources.wandb.together import Told
from openrlb.sources.wandb.wanted import shown

MAX_PAGE = 2**31 - 1
"""W&B's page size is a 32-bit number."""
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


@dataclass(slots=True)
class History(Part):
    """A run's rows in order of ``_step``, with what was noticed.

    Attributes:
        notes: What was noticed.
    """

    notes: list[str] = field(default_factory=list)


def read_history(client: Client, remote: Any, wants: Wanted, last_step: int | None, told: Told | None = None) -> History:  # noqa: ANN401
    """Reads every row of a run.

    Args:
        client: The connection.
        remote: The wandb client's run.
        wants: Which keys are taken; ``_step``, ``_runtime`` and ``_timestamp`` always are.
        last_step: The highest ``_step`` where the listing told it, and the run does not go on.
        told: Where its history is, where that was asked already.

    Raises:
        TransientError: W&B does not give it for the moment.
        RefusedError: W&B refuses, or the data cannot be read.
    """
    expected = remote.history_line_count
    exported: list[Part] = []
    live = told is not None and told.live
    if told is None or told.exported or (expected and not live):  # rows that are counted have to be somewhere
        exported, live = client.step(lambda: read_exports(client, remote, wants))
    parts = exported
    if live:
        after = max((int(part.steps.max()) for part in exported if len(part.steps)), default=-1)
        parts = parts + list(_live(client, remote, wants, after + 1, last_step, expected, sum(len(part.steps) for part in parts)))
    history = join(parts)
    rows = len(history.steps)
    if isinstance(expected, int) and rows < expected:
        history.notes.append(f"wandb counts {expected:,} rows and gave {rows:,}: {expected - rows:,} are missing here")
    return history


def _live(
    client: Client,
    remote: Any,  # noqa: ANN401
    wants: Wanted,
    first: int,
    last_step: int | None,
    expected: object,
    have: int,
) -> Iterator[Part]:
    """Rows that are not exported: one page, and more only where W&B gave fewer rows than it counts, or a page is too large."""
    last = client.step(lambda: _last_step(remote)) if last_step is None else last_step
    size = min(last + 1 - first, MAX_PAGE) if last >= first else MAX_PAGE  # it does not say, or says what cannot be
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
        if have >= expected if isinstance(expected, int) else through >= last:
            return
        if first > last and not len(part.steps):
            return
        if first > last:  # rows are missing by W&B's own count: they may follow the last step that it named
            size = MAX_PAGE


def _last_step(remote: Any) -> int:  # noqa: ANN401
    """The highest ``_step`` as W&B says now, or -1."""
    told = remote.lastHistoryStep
    return told if isinstance(told, int) else -1


def _page(remote: Any, first: int, size: int, wants: Wanted) -> Part:  # noqa: ANN401
    """The live rows of one range of steps.

    This is the operation that wandb-core sends for ``scan_history``, without the two requests before it and without what
    it does to every single value on the way (three times the CPU), and without fetching the exports a second time.
    """
    variables = {
        "entity": remote.entity, "project": remote.project, "run": remote.id, "minStep": first, "maxStep": first + size,
        "pageSize": size,
    }  # fmt: skip
    part: Part | None = remote._service_api.execute_graphql(
        HISTORY_PAGE, variables, timeout=PAGE_SECONDS, parse=partial(read_page, wanted=wants)
    )
    if part is None:
        raise RefusedError("the run is gone")
    return part


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
    history.unplaced = sum(part.unplaced for part in parts)
    if history.unplaced:
        history.notes.append(f"{history.unplaced:,} rows without a usable _step were left out")
    for part in parts:
        for name, count in part.texts.items():
            history.texts[name] = history.texts.get(name, 0) + count
    twice = len(steps) - len(first)
    if twice:
        history.notes.append(f"{twice:,} rows came twice (the same _step), and the first was kept")
    return history


def read_events(client: Client, remote: Any) -> tuple[Part, list[str]]:  # noqa: ANN401
    """The hardware metrics of a run; the part's steps are row numbers, its clock ``_timestamp`` and ``_runtime``."""
    rows = client.step(lambda: remote.history(stream="system", samples=EVENT_SAMPLES, pandas=False))
    numbered = [{**row, STEP: position} for position, row in enumerate(rows)]
    notes = [f"only {len(rows):,} rows of hardware metrics were taken"] if len(rows) >= EVENT_SAMPLES else []
    found = collect(numbered, lambda _: True)
    if found.texts:
        notes.append(f"{sum(found.texts.values()):,} hardware values of {shown(found.texts)} are no numbers and were left out")
    return found, notes
