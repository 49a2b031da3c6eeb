"""One score for each stored run, from the coarse means that the catalog keeps: what ``list`` sorts and averages by.

It is a look, not a result: the rule is ``final:10%`` of each run's *own* steps, with no common cut, no normalisation and no
interval. ``plot`` and ``compare`` give those.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from openrlb.store import MetricSummary, RunRow, Store
from openrlb.types import EPISODIC_RETURN

KINDS = ("eval", "episode", "rolling_mean", "other")
"""Kinds of a return in the order in which they are preferred, as ``plot`` prefers them."""

RULE = "final:10% of each run's own steps"

Key = tuple[str, str]


def key_of(row: RunRow) -> Key:
    """What a run is known by: its source and its id."""
    return row.columns["source"], row.columns["run"]


def returns_of(rows: Iterable[RunRow], store: Store, bins: bool = False) -> dict[Key, dict[str, MetricSummary]]:
    """The returns that runs logged, by (source, run) and kind, with their scores: ``final`` of each.

    A kind of which a run logged several returns is left out: which is meant, nobody can tell.

    Args:
        rows: The runs.
        store: Where they are.
        bins: With their coarse means, to draw curves of.
    """
    found: dict[Key, dict[str, MetricSummary]] = {}
    for key, named in store.metrics_of([key_of(row) for row in rows], bins=bins, of=EPISODIC_RETURN).items():
        logged = [item for item in named if item.metric.canonical == EPISODIC_RETURN]
        kinds = [item.metric.kind for item in logged]
        found[key] = {item.metric.kind: item for item in logged if kinds.count(item.metric.kind) == 1}
    return found


def preferred(returns: dict[str, MetricSummary]) -> MetricSummary | None:
    """The return that stands for a run: an evaluation before raw episodes before a rolling mean; None where it has none."""
    return next((returns[kind] for kind in KINDS if kind in returns), None)


def common_kind(runs: Sequence[dict[str, MetricSummary]]) -> str | None:
    """The kind of return that every one of some runs has, the preferred one first; kinds are never mixed.

    Args:
        runs: The returns of each run, by kind.
    """
    return next((kind for kind in KINDS if runs and all(kind in returns for returns in runs)), None)


def is_finite(score: float | None) -> bool:
    """Whether a score is a number that can be averaged."""
    return score is not None and math.isfinite(score)
