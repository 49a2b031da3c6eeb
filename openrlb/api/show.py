"""``show``: everything about one run."""

from __future__ import annotations

from dataclasses import dataclass

from openrlb.api.opened import opened
from openrlb.errors import NothingMatched, SelectionError
from openrlb.store import MetricSummary, RunRow, Store
from openrlb.store.environments import nearest


@dataclass(frozen=True, slots=True)
class RunDetails:
    """One run with what the catalog knows of it.

    Attributes:
        row: Its line in ``openrlb list`` and its full record.
        metrics: What it logged.
        companions: Other runs of the same variant, by id and seed.
    """

    row: RunRow
    metrics: tuple[MetricSummary, ...]
    companions: tuple[tuple[str, int | None], ...]


def show(run: str, *, store: Store | None = None) -> RunDetails:
    """Finds a run by its id, the beginning of it, or its name.

    Raises:
        NothingMatched: No such run; the nearest ids are given.
        SelectionError: The word means several runs.
    """
    store = opened(store)
    rows = store.runs()
    row = _one(run, rows)
    key = (row.record.source, row.record.run)
    same = ("source", "project", "algo", "impl", "env", "variant")
    companions = [
        (other.record.run, other.record.seed)
        for other in rows
        if other is not row and all(other.columns[name] == row.columns[name] for name in same)
    ]
    return RunDetails(row, tuple(store.metrics_of([key], bins=True)[key]), tuple(companions))


def _one(word: str, rows: list[RunRow]) -> RunRow:
    """The only run that a word means."""
    for fits in (
        [row for row in rows if row.record.run == word],
        [row for row in rows if row.record.name == word],
        [row for row in rows if word and row.record.run.startswith(word)],
    ):
        if len(fits) == 1:
            return fits[0]
        if fits:
            listed = ", ".join(f"{row.record.run} ({row.record.source}, {row.record.env})" for row in fits[:5])
            raise SelectionError(f"{word!r} means {len(fits)} runs", listed, "type more of the run's id")
    close = nearest(word, [row.record.run for row in rows] + [row.record.name for row in rows])
    hint = f"did you mean {' or '.join(close)}?" if close else "openrlb list names the runs"
    raise NothingMatched(f"there is no run {word!r}", f"{len(rows)} runs are stored", hint)
