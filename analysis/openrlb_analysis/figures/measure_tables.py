"""The numbers of a measure as rows: what ``plot`` prints, writes as a table, and sets below the figure."""

from __future__ import annotations

import math
from typing import Any

from openrlb_analysis.figures.words import listed
from openrlb_analysis.measured import (
    CriticalDifferences,
    Efficiencies,
    Improvements,
    Measure,
    Profiles,
    Ranks,
    RunTimes,
    Slopes,
    Widths,
)

Rows = list[dict[str, Any]]
SHOWN = 11
"""Of curves so many positions are shown on a page or a terminal; ``--table`` and ``--json`` have all of them."""


def measure_rows(measured: Measure) -> Rows:
    """Every number of a measure, as rows with equal keys.

    Of pairs a row for each and, where several environments are pooled, one for each environment; of curves a row for each
    position.
    """
    if isinstance(measured, Slopes | Widths | CriticalDifferences | RunTimes):
        return _further(measured)
    if isinstance(measured, Improvements):
        return _pairs(measured)
    if isinstance(measured, Profiles):
        return [
            {"label": one.label, "tau": tau, "value": value, "low": _known(low), "high": _known(high), "runs": one.runs}
            for one in measured.profiles
            for tau, value, low, high in zip(one.tau, one.value, one.low, one.high, strict=True)
        ]
    if isinstance(measured, Efficiencies):
        return [
            {"label": one.label, "x": x, "value": value, "low": _known(low), "high": _known(high), "runs": one.runs}
            for one in measured.curves
            for x, value, low, high in zip(one.x, one.value, one.low, one.high, strict=True)
        ]
    if isinstance(measured, Ranks):
        return [
            {"label": one.label, "mean_rank": _known(one.mean_rank)}
            | {f"rank_{place}": _known(share) for place, share in enumerate(one.frequency, start=1)}
            for one in measured.ranks
        ]
    return [
        {
            "label": one.label,
            "reached": sum(one.reached.values()),
            "runs": sum(one.runs.values()),
            "value": one.value,
            "low": one.low,
            "high": one.high,
            "median": _known(one.median),
            "curve": _known(one.curve),
            "curve_low": _known(one.curve_low),
            "curve_high": _known(one.curve_high),
        }
        for one in measured.thresholds
    ]


def shown_rows(measured: Measure) -> tuple[Rows, str]:
    """The rows for a reader's eyes, and what is said where they are not all."""
    if isinstance(measured, Improvements):
        return [
            row for row in measure_rows(measured) if not row["env"] or row["env"].startswith("(") or len(measured.envs) == 1
        ], ""
    if isinstance(measured, CriticalDifferences):
        return _mean_ranks(measured), "pairs and their p-values: --table and --json have them"
    rows = measure_rows(measured)
    if not isinstance(measured, Profiles | Efficiencies):
        return rows, ""
    lengths = [len(one.value) for one in (measured.profiles if isinstance(measured, Profiles) else measured.curves)]
    kept, start = [], 0
    for length in lengths:
        places = sorted({round(place * (length - 1) / (SHOWN - 1)) for place in range(SHOWN)})
        kept += [rows[start + place] for place in places]
        start += length
    note = f"{len(kept)} of {len(rows)} positions are listed; --table and --json have all of them"
    return kept, note if len(kept) < len(rows) else ""


def _pairs(measured: Improvements) -> Rows:
    """Pairs of groups, pooled first."""
    pooled = f"({len(measured.envs)} pooled)" if len(measured.envs) > 1 else measured.envs[0]
    rows: Rows = []
    for one in measured.pairs:
        named = {"first": one.first, "second": one.second}
        counted = {"runs_first": one.runs[0], "runs_second": one.runs[1]}
        rows.append({**named, "env": pooled, "value": one.value, "low": one.low, "high": one.high, **counted})
        if len(measured.envs) > 1:
            bare = {"low": None, "high": None, "runs_first": None, "runs_second": None}
            rows += [{**named, "env": env, "value": value, **bare} for env, value in one.per_env.items()]
    return rows


def _further(measured: Slopes | Widths | CriticalDifferences | RunTimes) -> Rows:
    """The rows of measures about environments, seeds and machines."""
    if isinstance(measured, Slopes):
        named = {"first": measured.first, "second": measured.second}
        return [
            {**named, "env": one.env, "value_first": one.first, "value_second": one.second, "difference": one.difference}
            | {"low": one.low, "high": one.high}
            for one in measured.slopes
        ]
    if isinstance(measured, Widths):
        return [
            {"label": label, "seeds": int(seeds), "width": width, "low": low, "high": high, "subsets": subsets}
            for label, one in measured.widths.items()
            for seeds, width, low, high, subsets in zip(one.seeds, one.width, one.low, one.high, one.subsets, strict=True)
        ]
    if isinstance(measured, CriticalDifferences):
        places = dict(zip(measured.found.groups, measured.found.mean_rank, strict=True))
        return [
            {"first": pair.first, "second": pair.second, "rank_first": places[pair.first], "rank_second": places[pair.second]}
            | {"p": pair.p, "differ": "yes" if pair.differ else "no", "by": measured.found.pairwise}
            for pair in measured.found.pairs
        ]
    machines = {one.label: one for one in measured.machines}
    return [
        {"label": one.label, "env": one.env, "runs": one.time.runs, "hours": one.time.hours, "shortest": one.time.shortest}
        | {"longest": one.time.longest, "steps_per_second": one.time.speed, "low": one.time.low, "high": one.time.high}
        | {"machines": machines[one.label].words()}
        for one in measured.times
    ]


def _mean_ranks(measured: CriticalDifferences) -> Rows:
    """Mean ranks, and from whom each group cannot be told apart."""
    found = measured.found
    alike: dict[str, list[str]] = {label: [] for label in found.groups}
    for pair in found.pairs:
        if not pair.differ:
            alike[pair.first].append(pair.second)
            alike[pair.second].append(pair.first)
    return [
        {"label": label, "mean_rank": rank, "not_told_apart_from": _alike(alike[label], len(found.groups) - 1)}
        for label, rank in zip(found.groups, found.mean_rank, strict=True)
    ]


def _alike(others: list[str], every: int) -> str:
    """From whom a group cannot be told apart, in words."""
    return "all others" if len(others) == every > 2 else listed(others, 8) or "none"


def _known(number: float | None) -> float | None:
    """A finite number, or None."""
    return None if number is None or not math.isfinite(number) else float(number)
