"""The runs of a report: a table to search and sort, everything about each run, and rows to save."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from openrlb.api.parameters import ParameterReader
from openrlb.api.report_details import KnownRuns, detail_of, name_of, versions_table
from openrlb.sources.bundle.removal import Remover
from openrlb.store import RunRow, Store
from openrlb.types import Run

if TYPE_CHECKING:
    from openrlb.api.report_origin import Packages
    from openrlb.types import Curve
    from openrlb_analysis.figures.page import Cell, Detail, Table, Trend
    from openrlb_analysis.result import PlotResult

TREND_POINTS = 32
STRETCHES, FEWEST_STRETCHES, STRETCHES_TOGETHER = 100, 20, 30_000
"""Two points are drawn of each of so many stretches of a run's curve; fewer where many runs would make a page too large."""
FILTERED = ("Algorithm", "Implementation", "Environment", "State", "Role", "Counts")


@dataclass(frozen=True, slots=True, eq=False)
class ReportRuns:
    """What a report shows of runs: the table, the details that it leads to, tables that details share, and rows to save."""

    table: Table
    details: tuple[Detail, ...]
    shared: Mapping[str, Table]
    rows: tuple[Mapping[str, Any], ...]


def report_runs(
    rows: Sequence[RunRow], found: Sequence[Curve], result: PlotResult, packages: Packages, store: Store
) -> ReportRuns:
    """The runs of a report.

    Args:
        rows: Every selected run, those that do not count as well.
        found: The values of the quantity, a curve of each run that has any.
        result: The report's answer.
        packages: The packages of requirements files.
        store: Where they lie.
    """
    from openrlb_analysis.figures.page import Column, Table

    keys = [(row.record.source, row.record.run) for row in rows]
    curves = {(curve.run.source, curve.run.run): curve for curve in found}
    stretches = max(FEWEST_STRETCHES, min(STRETCHES, STRETCHES_TOGETHER // max(len(rows), 1)))
    known = KnownRuns(result, curves, store.metrics_of(keys, bins=True), store.digests(), packages, stretches)
    for group in result.groups:
        for entry in group.per_env:
            known.places |= {run: (group.label, score) for run, score in zip(entry.run_ids, entry.scores, strict=True)}
    known.reasons = {one.run: one.reason for one in result.excluded}
    remover = Remover()
    cleaned = [RunRow(row.columns, _cleaned(row.record, remover), row.fetched) for row in rows]
    parameters = ParameterReader(cleaned, store)
    table = Table(
        "Runs; the small curve is the mean of each of 32 equal stretches of the run",
        (
            *(Column(name) for name in ("Run", "Algorithm", "Implementation", "Environment")),
            Column("Seed", True),
            Column("Counts"),
            Column("Score", True),
            Column("Curve"),
            *(Column(name) for name in ("State", "Role", "Group")),
            Column("Steps", True),
        ),
        tuple(_cells(row, known) for row in rows),
        filters=FILTERED,
        sortable=True,
    )
    details = tuple(
        detail_of(row, clean.record, known, parameters.of(clean), store) for row, clean in zip(rows, cleaned, strict=True)
    )
    used = {name for one in details for name in one.shared}
    shared = {name: versions_table(known.packages[name]) for name in sorted(used)}
    return ReportRuns(table, details, shared, tuple(_row(row, known) for row in cleaned))


def _cleaned(run: Run, remover: Remover) -> Run:
    """A run whose settings, machine and notes hold no secret and name nobody, as a bundle of it would have them.

    The writer of pages sees texts alone: here it is known yet what each is called.
    """
    clean = remover.cleaned_run(run)
    return replace(run, config=clean.config, hardware=clean.hardware, notes=clean.notes)


def _cells(row: RunRow, known: KnownRuns) -> tuple[Cell, ...]:
    """A run's row."""
    from openrlb_analysis.figures.page import Link
    from openrlb_analysis.figures.words import number

    run, columns = row.record, row.columns
    label, score = known.places.get(run.run, ("", None))
    return (
        Link(run.run, name_of(run)),
        *(run.algo, run.impl, run.env),
        "" if run.seed is None else str(run.seed),
        "yes" if run.run in known.places else "left out",
        number(score) if score is not None else "-",
        _trend(known.curves.get((run.source, run.run)), known.result.of),
        *(run.state, run.role, label),
        f"{columns['steps']:,}" if columns["steps"] is not None else "-",
    )


def _row(row: RunRow, known: KnownRuns) -> dict[str, Any]:
    """Everything about a run in one row, to save."""
    run = row.record
    label, score = known.places.get(run.run, ("", None))
    columns = {
        name: ",".join(map(str, value)) if isinstance(value, list | tuple) else value for name, value in row.columns.items()
    }
    more = {"group": label, "score": score, "left_out": known.reasons.get(run.run, ""), "fetched": row.fetched}
    kept = {
        "git_commit": run.git_commit,
        "requirements": run.requirements,
        "digest": known.digests.get((run.source, run.run), ""),
    }
    return {**columns, **more, **kept, "config": json.dumps(run.config, sort_keys=True, default=str)}


def _trend(curve: Curve | None, of: str) -> Trend | str:
    """A run's curve as small as a word."""
    import numpy as np

    from openrlb_analysis.figures.page import Trend
    from openrlb_analysis.figures.words import number

    if curve is None or not len(curve.values):
        return f"no {of}"
    known = np.isfinite(curve.values)
    if not known.any():
        return "no finite value"
    steps, values = curve.steps[known], curve.values[known]
    spread = curve.steps if len(curve.steps) and curve.steps[-1] > curve.steps[0] else np.arange(len(curve.values))
    places = spread[known]
    span = int(spread[-1]) - int(spread[0]) or 1
    part = np.minimum((places - int(spread[0])) * TREND_POINTS // span, TREND_POINTS - 1)
    counts = np.bincount(part, minlength=TREND_POINTS)
    sums = np.bincount(part, weights=values, minlength=TREND_POINTS)
    means = tuple(float(total / count) if count else None for total, count in zip(sums, counts, strict=True))
    about = f"{of} from {number(float(values[0]))} at {int(steps[0]):,} to {number(float(values[-1]))} at {int(steps[-1]):,}"
    return Trend(means, f"{about}, highest {number(float(values.max()))}")
