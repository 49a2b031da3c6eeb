"""The coverage study's tables, as Markdown."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from coverage_populations import CLASSES

METHODS = ("calibrated", "percentile", "basic", "bca", "t")
BOUNDED = ("improvement", "improvement, far apart", "profile")
LOWEST, HIGHEST = 92.0, 98.0

Record = dict[str, Any]

INTRODUCTION = """# How often the intervals cover the truth
Made by
`nice -n 10 python benchmarks/coverage.py --data FOLDER --results coverage.jsonl --report docs/coverage.md`
on {date} with numpy {numpy} and scipy {scipy}: {cells:,} cells of {simulations:,} simulated studies, {resamples} resamples each
(below: more change nothing), seed 0, level 95 %. A coverage of 95 % is known to +-{error:.1f} points (two standard errors).

**What an interval covers**: the statistic of the distributions that the runs' scores are drawn from, one for each
environment, the environments fixed. For the iqm that is the mean of the middle half of these distributions together, not
the average that so many seeds would give on repetition.

**Populations.** {populations}.
They are laid out *alone* (one environment, location 0.9, scale 0.3), *spread* (locations evenly over 0 to 2, scales 0.1 to
0.8, in an order drawn anew for every 100 studies) and *identical* (6 or 26 copies of the first); at a ceiling see there.
`3|10` means 3 and 10 seeds in turns; between two groups of one environment, 3 against 10. The second group of a difference
lies 0.15 higher and varies half as much. Scores above 1 count as 1 in the optimality gap. Real populations are the
published scores themselves, drawn from with replacement: 100 runs in each of 26 games, and 330 standardised final returns.
`t` is the t interval, the reference for widths: Welch and Satterthwaite's degrees of freedom, for the iqm those of Tukey and
McLaughlin's trimmed t. `bca` below 4 runs is the percentile interval.
"""


def write_report(path: Path, records: list[Record], resamples: int, missing: Sequence[str]) -> None:
    """Writes the tables.

    Args:
        path: The Markdown file.
        records: The study's results, of one number of simulations; those with other resamples make the last table.
        resamples: The resamples of the study itself.
        missing: Sentences about populations that could not be had.
    """
    study = [record for record in records if record["resamples"] == resamples]
    named = {record["population"]: record["family"] for record in study}
    head = INTRODUCTION.format(
        date=datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        numpy=version("numpy"),
        scipy=version("scipy"),
        cells=len(study),
        simulations=study[0]["simulations"],
        resamples=resamples,
        error=200 * (0.95 * 0.05 / study[0]["simulations"]) ** 0.5,
        populations="; ".join(
            f"{family}: {', '.join(n for n in named if named[n] == family)}" for family in _unique(named.values())
        ),
    )
    aggregates = [record for record in study if record["statistic"] not in BOUNDED]
    bounded = [record for record in study if record["statistic"] in BOUNDED]
    parts = [head, *(f"{sentence}.\n" for sentence in missing), _methods(aggregates), _outside(aggregates)]
    for name, families in CLASSES.items():
        if name == "ceiling":
            continue
        title = {"must": "Normal, skewed, heavy-tailed", "reported": "Reported as they are", "held out": "Held out"}[name]
        parts.append(_coverage(title, [record for record in aggregates if record["family"] in families]))
    parts += [_ceiling(aggregates), _widths(aggregates), _bounded(bounded), _resamples(records, resamples)]
    path.write_text("\n".join(parts), encoding="utf-8")


def covered(record: Record, method: str) -> float:
    """A method's coverage in per cent."""
    tally = record["methods"][method]
    return 100.0 - 100.0 * (tally["below"] + tally["above"]) / record["simulations"]


def _of(families: Iterable[str]) -> Callable[[Record], bool]:
    """Whether a record's population is of these families."""
    chosen = set(families)
    return lambda record: record["family"] in chosen


def _widening(record: Record, method: str) -> float:
    """A method's mean width over the t interval's."""
    return float(record["methods"][method]["width"] / record["methods"]["t"]["width"])


def _cell(record: Record) -> str:
    """A cell's name for a sentence."""
    layout = "" if record["tasks"] == 1 else f" {record['arrangement']}"
    return f"{record['statistic']}, {record['seeds']} x {record['tasks']}{layout}, {record['population']}"


def _methods(records: list[Record]) -> str:
    """The methods side by side, over the cells that the default must cover."""
    must = [record for record in records if _of(CLASSES["must"])(record)]
    whole = [record for record in must if record["arrangement"] != "identical"]
    rows = []
    for method in METHODS:
        worst = min(whole, key=lambda record: covered(record, method))
        inside = sum(LOWEST <= covered(record, method) <= HIGHEST for record in whole)
        widths = [_widening(record, method) for record in whole]
        lowest = [
            min(covered(record, method) for record in must if record["seeds"] == seeds) for seeds in ("3", "5", "10", "3|10")
        ]
        rows.append(
            [
                method, f"{covered(worst, method):.1f}", _cell(worst), f"{max(covered(record, method) for record in whole):.1f}",
                f"{inside} of {len(whole)}", f"{sum(widths) / len(widths):.2f}", f"{max(widths):.2f}",
                " / ".join(f"{value:.0f}" for value in lowest),
            ]
        )  # fmt: skip
    head = [
        "",
        "worst cell, %",
        "which",
        "highest, %",
        "within 92 to 98 %",
        "width / t",
        "widest",
        "worst of 3 / 5 / 10 / 3\\|10 seeds",
    ]
    text = "Over normal, skewed and heavy-tailed populations, alone and spread; the last column also over identical copies."
    return _section("The methods", text, head, rows)


def _outside(records: list[Record]) -> str:
    """The cells of the default that miss what was asked."""
    must = [record for record in records if _of(CLASSES["must"])(record)]
    missed = sorted(
        (record for record in must if not LOWEST <= covered(record, "calibrated") <= HIGHEST),
        key=lambda record: covered(record, "calibrated"),
    )
    rows = [
        [
            _cell(record),
            f"{covered(record, 'calibrated'):.1f}",
            f"{covered(record, 'percentile'):.1f}",
            f"{covered(record, 't'):.1f}",
        ]
        for record in missed
    ]
    text = f"{len(missed)} of {len(must)} cells of normal, skewed and heavy-tailed populations, identical copies included."
    return _section("Where the default is not within 92 to 98 %", text, ["", "calibrated", "percentile", "t"], rows)


def _coverage(title: str, records: list[Record]) -> str:
    """Coverage of the default, and in brackets of the percentile interval, for each population."""
    columns = _unique(record["population"] for record in records)
    rows: dict[tuple[Any, ...], dict[str, str]] = {}
    for record in records:
        layout = "" if record["tasks"] == 1 else record["arrangement"]
        row = (record["statistic"], f"{record['seeds']} x {record['tasks']} {layout}".strip())
        rows.setdefault(row, {})[record["population"]] = (
            f"{covered(record, 'calibrated'):.1f} ({covered(record, 'percentile'):.0f})"
        )
    ordered = sorted(rows, key=lambda row: row[0])
    body = [[*row, *(rows[row].get(column, "") for column in columns)] for row in ordered]
    text = "Coverage in per cent of `calibrated`, in brackets of `percentile`."
    return _section(title, text, ["statistic", "seeds x environments", *columns], body)


def _ceiling(records: list[Record]) -> str:
    """Coverage and points where runs tie at the highest score there can be, with and without its being known."""
    chosen = [record for record in records if _of(CLASSES["ceiling"])(record)]
    columns = _unique((record["population"], method) for method in ("calibrated", "bounded", "percentile") for record in chosen)
    rows: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
    for record in chosen:
        layout = "" if record["tasks"] == 1 else record["arrangement"]
        row = rows.setdefault((record["statistic"], f"{record['seeds']} x {record['tasks']} {layout}".strip()), {})
        for method in ("calibrated", "bounded", "percentile"):
            points = 100 * record["methods"][method]["points"] / record["simulations"]
            row[record["population"], method] = f"{covered(record, method):.1f}" + (f" ({points:.0f})" if points >= 0.5 else "")
    body = [[*row, *(rows[row].get(column, "") for column in sorted(columns))] for row in sorted(rows, key=lambda row: row[0])]
    heads = [f"{population}: {method}" for population, method in sorted(columns)]
    text = (
        "60 or 80 % of runs have the highest score there can be, 1; the others lie evenly between 0 and 1 (alone), or between "
        "0.2 to 0.9 and 1 (spread); both groups alike. `bounded` is `calibrated` with `bounds=(0, 1)`. Coverage in per cent, in "
        "brackets how often an interval is a point, in per cent: without bounds where all runs are equal, as no spread was seen "
        "and nothing tells how far an unseen run may lie. The median over environments stays the weakest there."
    )
    return _section("At a ceiling", text, ["statistic", "seeds x environments", *heads], body)


def _widths(records: list[Record]) -> str:
    """Mean widths over the t interval's, for each number of seeds and environments."""
    must = [record for record in records if _of(CLASSES["must"])(record)]
    keys = _unique((record["seeds"], record["tasks"], record["arrangement"]) for record in must)
    body = []
    for seeds, tasks, arrangement in keys:
        chosen = [
            record for record in must if (record["seeds"], record["tasks"], record["arrangement"]) == (seeds, tasks, arrangement)
        ]
        shares = [sum(_widening(record, method) for record in chosen) / len(chosen) for method in METHODS[:-1]]
        name = f"{seeds} x {tasks}" if tasks == 1 else f"{seeds} x {tasks} {arrangement}"
        body.append([name, *(f"{share:.2f}" for share in shares)])
    text = "Mean width over that of the t interval, averaged over statistics and normal, skewed and heavy-tailed populations."
    return _section("Widths", text, ["seeds x environments", *METHODS[:-1]], body)


def _bounded(records: list[Record]) -> str:
    """The bounded statistics: lowest coverage over all populations, and how often an interval is a point."""
    body = []
    for statistic in _unique(record["statistic"] for record in records):
        mine = [record for record in records if record["statistic"] == statistic]
        names = list(mine[0]["methods"])
        for seeds, tasks in _unique((record["seeds"], record["tasks"]) for record in mine):
            chosen = [record for record in mine if (record["seeds"], record["tasks"]) == (seeds, tasks)]
            cells = []
            for method in names:
                lowest = min(covered(record, method) for record in chosen)
                total = sum(record["simulations"] for record in chosen)
                points = 100 * sum(record["methods"][method]["points"] for record in chosen) / total
                cells.append(f"{method} {lowest:.0f}" + (f" ({points:.0f} % points)" if points >= 0.5 else ""))
            body.append([statistic, f"{seeds} x {tasks}", "; ".join(cells)])
    text = (
        "Lowest coverage in per cent over all populations and layouts, rare failures included, and how often an interval has no "
        "width. `calibrated` is the wider of the calibrated bootstrap and the binomial or rank-based interval (Wilson, Newcombe)."
    )
    return _section("Bounded statistics", text, ["statistic", "seeds x environments", "lowest coverage"], body)


def _resamples(records: list[Record], resamples: int) -> str:
    """The same cells with more resamples."""
    key = ("statistic", "population", "tasks", "arrangement", "seeds")
    study = {tuple(record[name] for name in key): record for record in records if record["resamples"] == resamples}
    others = [record for record in records if record["resamples"] != resamples and record["statistic"] not in BOUNDED]
    body = []
    for more in _unique(record["resamples"] for record in others):
        pairs = [(study[tuple(one[name] for name in key)], one) for one in others if one["resamples"] == more]
        for method in METHODS:
            apart = [covered(after, method) - covered(before, method) for before, after in pairs]
            mean = sum(apart) / len(apart)
            body.append([f"{more:,}", str(len(apart)), method, f"{mean:+.2f}", f"{min(apart):+.1f} to {max(apart):+.1f}"])
    text = f"Coverage less that of the same simulated studies with {resamples} resamples, in points."
    return _section("More resamples", text, ["resamples", "cells", "method", "mean", "range"], body)


def _section(title: str, text: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A heading, a sentence and a table; the sentence alone where there are no rows."""
    lines = [f"## {title}", text, ""]
    if rows:
        lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        lines += ["| " + " | ".join(cell.replace("3|10", "3\\|10") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _unique(items: Iterable[Any]) -> list[Any]:
    """Each item once, in the order of first sight."""
    return list(dict.fromkeys(items))
