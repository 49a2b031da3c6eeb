"""``list``: what the store holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

from openrlb.api.filtered import filtered
from openrlb.api.opened import given, opened
from openrlb.api.run_scores import key_of, preferred, returns_of
from openrlb.api.shown import Shown
from openrlb.api.sorting import in_order
from openrlb.errors import NothingMatched, SelectionError, UsageError
from openrlb.store import MetricSummary, RunRow, Store
from openrlb.tabular import ROWS_SHOWN, curve, fragment, table
from openrlb.types import Selection
from openrlb.words import counted

REPRODUCTION = "reproduction"
"""The role of a run that repeats another one: in no selection that does not name it."""
SHOWN = ("run", "algo", "impl", "env", "seed", "state", "steps")


class RunList(Shown, list[RunRow]):
    """Stored runs: a list, a frame, and a table with curves in a notebook.

    Args:
        rows: The runs.
        store: Where they are.
        reproductions: How many reproductions fit as well and were left out.
    """

    def __init__(self, rows: Iterable[RunRow], store: Store, reproductions: int = 0) -> None:
        super().__init__(rows)
        self.store = store
        self.reproductions = reproductions

    @property
    def left_out(self) -> str:
        """What fits as well and is not among them, and how to have it; nothing where that is nothing."""
        count = self.reproductions
        one = count == 1
        return (
            f"{counted(count, 'reproduction')} left out: --role {REPRODUCTION} selects {'it' if one else 'them'}" if count else ""
        )

    def scored(self, bins: bool = False) -> list[tuple[RunRow, MetricSummary | None]]:
        """Each run with the return that stands for it, and that return's score; None where it logged none.

        Args:
            bins: With the return's coarse means, to draw a curve of.
        """
        returns = returns_of(self, self.store, bins)
        return [(row, preferred(returns[key_of(row)])) for row in self]

    def records(self) -> list[dict[str, Any]]:
        """A row for each run: the columns of ``openrlb list --json``."""
        return [{**row.columns, **score_columns(logged)} for row, logged in self.scored()]

    def headline(self) -> str:
        """How many runs, of what."""
        counts = {name: len({row.columns[name] for row in self}) for name in ("algo", "env")}
        told = [f"{len(self):,} run{'s' if len(self) != 1 else ''}"]
        told += [f"{counts['algo']} algorithm{'s' if counts['algo'] != 1 else ''}"]
        told += [f"{counts['env']} environment{'s' if counts['env'] != 1 else ''}"]
        return ", ".join(told) + (f" ({self.left_out})" if self.left_out else "")

    def _repr_html_(self) -> str:
        """The first runs with their curves."""
        if not self:
            return fragment(self.headline(), [])
        first = RunList(self[:ROWS_SHOWN], self.store)
        drawn = []
        for row, logged in first.scored(bins=True):
            words = f"{row.record.name}: {logged.metric.name} over {logged.last_step:,} steps" if logged else ""
            drawn.append(curve(logged.bins, words) if logged else "")
        body = table([{name: row.columns[name] for name in SHOWN} for row in first], {"curve": drawn})
        more = len(self) - ROWS_SHOWN
        notes = [f"{more:,} more runs: to_polars() has all {len(self):,}"] if more > 0 else []
        return fragment(self.headline(), [], notes, [body])


def score_columns(logged: MetricSummary | None) -> dict[str, Any]:
    """What ``list`` and ``show`` say of a run's score: the mean of the last tenth of its own steps, and of what it is.

    Args:
        logged: The return that stands for the run.
    """
    score = None if logged is None else logged.final
    known = (None, None) if logged is None else (logged.metric.name, logged.metric.kind)
    return {"score": score, "score_of": known[0], "score_kind": known[1]}


def list_runs(
    selection: Selection | None = None, *, sort: Sequence[str] = (), orlb_filters: Sequence[str] = (), store: Store | None = None
) -> RunList:
    """The selected runs, sorted by project, algorithm, environment, seed and id.

    Args:
        selection: Which runs; all by default. Reproductions are among them only where ``role`` names them.
        sort: What to sort by instead, the first key first: a column of ``list --json``, ``score`` or ``config.KEY``; a minus
            sign turns a key round. What has no value comes last.
        orlb_filters: rlops' filter strings, which narrow the selection.
        store: The user's own store by default.

    Raises:
        NothingMatched: An empty store, or nothing that fits.
        SelectionError: A condition that does not parse, or nothing but reproductions fits, which were not asked for.
        UsageError: A key that there is not.
    """
    store, selection = opened(store), given(selection, Selection, "selection")
    found = store.runs(selection)
    if not found:
        raise nothing_fits(store, selection)
    found = filtered(found, orlb_filters)
    rows = found if selection.role else [row for row in found if row.columns["role"] != REPRODUCTION]
    left = len(found) - len(rows)
    if not rows:
        why = f"{counted(left, 'reproduction')} of other runs {'fits' if left == 1 else 'fit'}, and nothing else does"
        raise SelectionError("no run is left", why, f"add --role {REPRODUCTION}")
    return RunList(in_order(rows, sort, store) if sort else rows, store, left)


def runs(
    *unnamed: object,
    env: str | Sequence[str] = (),
    algo: str | Sequence[str] = (),
    impl: str | Sequence[str] = (),
    seed: int | Sequence[int] = (),
    tag: str | Sequence[str] = (),
    source: str | Sequence[str] = (),
    role: str | Sequence[str] = (),
    where: str | None = None,
    since: str | None = None,
    sort: str | Sequence[str] = (),
    store: Store | None = None,
) -> RunList:
    """:func:`list_runs` with the flags of ``openrlb list`` as words: ``openrlb.runs(env="Hopper", algo="ppo")``.

    Args:
        *unnamed: Nothing: each word has a name.
        env: Environments, as people say them.
        algo: Algorithms.
        impl: Implementations.
        seed: Seeds.
        tag: Tags.
        source: Sources or projects.
        role: Roles; reproductions are among the runs only where they are named here.
        where: A SQL condition over the runs view.
        since: The earliest creation time, or how long ago (``2d``).
        sort: What to sort by.
        store: The user's own store by default.

    Raises:
        NothingMatched: An empty store, or nothing that fits.
        SelectionError: A condition that does not parse, or nothing but reproductions fits, which were not asked for.
        UsageError: A key that there is not.
    """
    if unnamed:
        fix = "name it: openrlb.runs(env=...), or algo=, impl=, seed=, tag=, source=, role=, where=, since=, sort=, store="
        raise UsageError(f"openrlb.runs was given {str(unnamed[0])[:60]!r} without a name", "it selects by name only", fix)
    selection = Selection(env, algo, impl, seed, tag, source, role, where, since)  # type: ignore[arg-type]
    return list_runs(selection, sort=(sort,) if isinstance(sort, str) else sort, store=store)


def nothing_fits(store: Store, selection: Selection) -> NothingMatched:
    """The error for a selection that fits no run: which flag is to blame.

    Args:
        store: The store.
        selection: What was asked for.
    """
    stored = len(store.runs())
    if not stored:
        return NothingMatched(
            "the store is empty",
            f"it holds no run ({store.place})",
            "run: openrlb fetch (the packaged sample), or openrlb fetch FOLDER",
        )
    for part in fields(selection):
        value = getattr(selection, part.name)
        if value and not store.runs(Selection(**{part.name: value})):
            words = ", ".join(map(str, value)) if isinstance(value, tuple) else value
            why = f"none of the {stored:,} stored runs fits --{part.name} {words}"
            return NothingMatched("no run fits the selection", why, "leave it out, or look at openrlb list")
    why = f"each flag fits some of the {stored:,} stored runs, but none fits all of them"
    return NothingMatched("no run fits the selection", why, "leave a flag out")
