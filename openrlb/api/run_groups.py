"""``list --group-by``: how many runs, seeds and environments there are of what, and roughly how good they are."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openrlb.api.list import RunList
from openrlb.api.run_scores import RULE, common_kind, is_finite, key_of, returns_of
from openrlb.api.seed_guard import ROLES
from openrlb.api.shown import Shown
from openrlb.api.sorting import column, sorted_by, unknown, words_of
from openrlb.store import MetricSummary, RunRow

COUNTED = ("finished", "unknown")
"""States of runs whose scores are averaged; a diverged one has no last tenth that could be."""

COLUMNS = ("runs", "seeds", "envs", "score", "scored", "metric", "kind", "rule", "left_out")


@dataclass(frozen=True, slots=True)
class RunGroup:
    """Runs that are alike in some columns.

    Attributes:
        by: The columns' values.
        runs: How many runs.
        seeds: How many different seeds; runs without one are not counted here.
        envs: How many environments.
        score: The mean of the scored runs' scores (``final:10%``); None with several environments, whose returns have no common
            unit, and where the runs share no kind of return.
        scored: How many runs that is over.
        metric: What is averaged, as it was logged.
        kind: Its kind, one for all runs of the group.
        left_out: Why the other runs are not in the mean, with how many they are.
    """

    by: Mapping[str, Any]
    runs: int
    seeds: int
    envs: int
    score: float | None
    scored: int
    metric: str
    kind: str | None
    left_out: Mapping[str, int]

    @property
    def columns(self) -> dict[str, Any]:
        """The group as a row."""
        told = [f"{count} {why}" for why, count in self.left_out.items()]
        own = {name: getattr(self, name) for name in COLUMNS if name not in ("rule", "left_out")}
        return {**self.by, **own, "rule": RULE, "left_out": told}


class RunGroups(Shown, list[RunGroup]):
    """Groups of runs: a list, a frame, and a table in a notebook."""

    def records(self) -> list[dict[str, Any]]:
        """A row for each group."""
        return [group.columns for group in self]

    def headline(self) -> str:
        """How many there are, and what the score is."""
        return f"{len(self):,} group{'s' if len(self) != 1 else ''}; score: {RULE}, mean over the scored runs, no interval"


def group_runs(runs: RunList, by: Sequence[str], *, sort: Sequence[str] = ()) -> RunGroups:
    """Counts runs that are alike in some columns, and averages their scores.

    Args:
        runs: The runs.
        by: Columns of ``list --json`` or ``config.KEY``.
        sort: What to sort groups by: their own columns, with a minus sign for the other way; by default the columns that
            they are grouped by.

    Raises:
        UsageError: A column that there is not.
    """
    names, keys = words_of(by), words_of(sort)
    columns = {name: column(runs, name, runs.store) for name in names}
    parts: dict[str, list[int]] = defaultdict(list)
    for index in range(len(runs)):
        parts[repr([columns[name][index] for name in names])].append(index)
    returns = returns_of(runs, runs.store)
    groups = [
        _group({name: columns[name][members[0]] for name in names}, [runs[index] for index in members], returns)
        for members in parts.values()
    ]
    for key in keys:
        if key.lstrip("-") not in (*names, *COLUMNS):
            raise unknown(key.lstrip("-"), [*names, *COLUMNS])
    return RunGroups(sorted_by(groups, keys or names, lambda group, name: group.columns[name]))


def _group(
    by: Mapping[str, Any], rows: Sequence[RunRow], returns: Mapping[tuple[str, str], dict[str, MetricSummary]]
) -> RunGroup:
    """One group with its mean."""
    left: Counter[str] = Counter()
    counted = []
    for row in rows:
        if row.record.state not in COUNTED:
            left[row.record.state] += 1
        elif row.record.role not in ROLES and "role" not in by:
            left[f"of role {row.record.role}"] += 1
        elif not returns[key_of(row)]:
            left["without a return"] += 1
        else:
            counted.append(row)
    envs = {row.record.env for row in rows}
    kind = common_kind([returns[key_of(row)] for row in counted])
    scores: list[float] = []
    metric = ""
    if len(envs) > 1:
        left["in several environments, whose returns have no common unit"] += len(counted)
    elif kind is None and counted:
        left["share no kind of return"] += len(counted)
    elif kind is not None:
        logged = [returns[key_of(row)][kind] for row in counted]
        found = [one.final for one in logged]
        scores = [score for score in found if score is not None and is_finite(score)]
        left["without a number at the end"] += len(found) - len(scores)
        metric = "+".join(sorted({one.metric.name for one in logged}))
    return RunGroup(
        by=by,
        runs=len(rows),
        seeds=len({row.record.seed for row in rows if row.record.seed is not None}),
        envs=len(envs),
        score=sum(scores) / len(scores) if scores else None,
        scored=len(scores),
        metric=metric,
        kind=kind if scores else None,
        left_out={why: count for why, count in left.items() if count},
    )
