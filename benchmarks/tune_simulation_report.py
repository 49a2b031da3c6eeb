"""The tables of the simulated studies, as Markdown."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from openrlb_analysis.bounded import clopper_pearson

Line = dict[str, Any]
CELL = ("truth", "noise", "tuning_seeds", "confirm", "workers", "method", "budget")
MAIN = {"noise": "normal", "tuning_seeds": 3, "confirm": 3, "workers": 1}

HEAD = """# How honest a study's answer is
Made by
`nice -n 10 python benchmarks/tune_simulation.py --results tune_simulation.jsonl --report docs/tuning-evidence.md`
on {date} with optuna {optuna}, numpy {numpy}, scipy {scipy} and Python {python}: {studies:,} simulated studies.
The planner, the ledger, the sampler, the race over seeds, the confirmation and the verdict are the ones that `openrlb tune` has;
a run is a number: what its configuration is really worth plus noise of standard deviation 1. Every study has a budget of 60 runs,
TPE, 10 test seeds, and a default configuration as its baseline, which it tries first. Verdicts at a level of 95 %,
{resamples:,} resamples. Sampler and noise are seeded by the study's number, from 0, within its kind.

**Worlds.** *equal*: every configuration is worth 0. *region*: a twelfth of the space is worth 2, all else, the default included,
0. *hill*: one smooth hill, 1 at the top, the default at 0.20. **Noise.** *normal*; *skewed*: lognormal, skewness 1.75; *bimodal*:
three runs in ten fail. In brackets: 95 % limits of Clopper and Pearson, which is how well so many studies know a share.
"""


def write_report(path: Path, lines: Sequence[Line], missing: int, resamples: int) -> None:
    """Writes the tables.

    Args:
        path: The Markdown file.
        lines: The results.
        missing: How many studies are still to come.
        resamples: Resamples of their intervals.
    """
    from platform import python_version

    text = HEAD.format(
        date=datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        optuna=version("optuna"),
        numpy=version("numpy"),
        scipy=version("scipy"),
        python=python_version(),
        studies=len(lines),
        resamples=resamples,
    )
    if missing:
        text += f"\n**This run is not finished**: {missing:,} studies are still to come.\n"
    cells: dict[tuple[Any, ...], list[Line]] = {}
    for line in lines:
        cells.setdefault(tuple(line[name] for name in CELL), []).append(line)
    parts = (criteria(list(cells.values()), lines), verdicts(cells), optimism(cells), intervals(cells), cost(lines))
    path.write_text("\n".join([text, *parts]), encoding="utf-8")


def criteria(cells: Sequence[Sequence[Line]], lines: Sequence[Line]) -> str:
    """What must be shown to hold."""
    main = {part[0]["truth"]: part for part in cells if all(part[0][name] == value for name, value in MAIN.items())}
    rows = []
    if "equal" in main:
        found = share(main["equal"], is_better)
        rows.append(("all equal: `better`", "at most 5 % plus Monte-Carlo error", *found, found[1][0] <= 0.05))
    if "region" in main:
        selected = [line for line in main["region"] if line["worth"] > line["default_worth"]]
        found = share(selected, is_better)
        rows.append(("2 sd better and selected: `better`", "at least 80 %", *found, found[0] >= 0.8))
    for name, part in (("normal noise", [line for line in lines if line["noise"] == "normal"]), ("every study", lines)):
        found = share(part, covers)
        rows.append((f"the test interval covers the incumbent's worth, {name}", "92 to 98 %", *found, 0.92 <= found[0] <= 0.98))
    told = [
        [what, wanted, shown(rate, ends), f"{count:,}", "yes" if holds else "**no**"]
        for what, wanted, rate, ends, count, holds in rows
    ]
    return "## What must hold\n" + table(["", "wanted", "found", "studies", "holds"], told)


def verdicts(cells: dict[tuple[Any, ...], list[Line]]) -> str:
    """Verdicts, cell by cell, for studies that confirm."""
    rows = []
    for part in cells.values():
        if not part[0]["confirm"]:
            continue
        selected = [line for line in part if line["worth"] > line["default_worth"]] if part[0]["truth"] == "region" else []
        tuned = [line for line in part if line["tuning_verdict"] is not None]
        rows.append(
            [
                *names(part[0]),
                f"{len(part):,}",
                told(part, is_better),
                told(part, lambda line: line["verdict"] == "worse"),
                f"{told(selected, is_better)} of {len(selected)}" if selected else "",
                told(tuned, lambda line: line["tuning_verdict"] == "better") if tuned else "too few seeds",
            ]
        )
    head = [*NAMES, "studies", "better", "worse", "better, of those that selected the region", "tuning seeds alone: better"]
    return (
        "## Verdicts\nPer cent. The last column is what the same rule says of the *tuning* runs of incumbent and default,\n"
        "which is what a paper that reports tuning scores looks at: in the equal world each is false.\n\n" + table(head, rows)
    )


def optimism(cells: dict[tuple[Any, ...], list[Line]]) -> str:
    """How far scores lie above what the incumbent is worth."""
    rows = []
    for part in sorted(
        cells.values(), key=lambda part: (part[0]["confirm"] == 0, list(cells).index(tuple(part[0][n] for n in CELL)))
    ):
        if part[0]["noise"] != "normal" or part[0]["workers"] != 1:
            continue
        confirmed = [line for line in part if line["confirm_score"] is not None]
        rows.append(
            [
                part[0]["truth"],
                str(part[0]["tuning_seeds"]),
                str(part[0]["confirm"]),
                mean_of([line["trials"] for line in part], 0),
                mean_of([line["tuning"] - line["worth"] for line in part]),
                mean_of([line["confirm_score"] - line["worth"] for line in confirmed]) if confirmed else "",
                mean_of([line["test"][0] - line["worth"] for line in part]),
                mean_of([line["worth"] for line in part]),
                mean_of([line["best_worth"] for line in part]),
            ]
        )
    head = ["world", "tuning seeds", "confirmed", "configurations", "tuning - worth", "confirm - worth", "test - worth"]
    return (
        "## Optimism\nScore less what the incumbent is really worth, in standard deviations of a run, with its standard error;\n"
        "the same budget each time. The last columns say what the incumbent is worth, and the best that was tried.\n\n"
        + table([*head, "worth", "best tried"], rows)
    )


def intervals(cells: dict[tuple[Any, ...], list[Line]]) -> str:
    """Coverage, cell by cell."""
    rows = []
    for part in cells.values():
        ends = [line["test"][2] - line["test"][1] for line in part]
        rows.append(
            [
                *names(part[0]),
                str(part[0]["confirm"]),
                told(part, covers),
                told(part, lambda line: line["baseline"][1] <= line["default_worth"] <= line["baseline"][2]),
                told(part, covers_difference),
                mean_of(ends),
            ]
        )
    head = [*NAMES, "confirmed", "incumbent", "default", "difference", "width"]
    return (
        "## Coverage\nHow often the 95 % interval on the test seeds covers the truth, per cent, and how wide it is.\n\n"
        + table(head, rows)
    )


def cost(lines: Sequence[Line]) -> str:
    """What the machinery itself takes."""
    by = {
        seeds: [line["study_seconds"] for line in lines if line["tuning_seeds"] == seeds and line["workers"] == 1]
        for seeds in (1, 3, 5)
    }
    told = "; ".join(f"{mean_of(found, 2)} s with {seeds} tuning seeds" for seeds, found in by.items() if found)
    result = mean_of([line["result_seconds"] for line in lines], 3)
    return (
        "## What planning costs\nProcessor time of a whole study of 60 budget and 20 test runs, sampling included, the ledger\n"
        f"in memory: {told}; its result {result} s with these resamples.\n"
    )


NAMES = ("world", "noise", "tuning seeds", "runs at a time")


def names(line: Line) -> list[str]:
    """What a cell is, for its row."""
    return [line["truth"], line["noise"], str(line["tuning_seeds"]), str(line["workers"])]


def is_better(line: Line) -> bool:
    """Whether the verdict is ``better``."""
    return bool(line["verdict"] == "better")


def covers(line: Line) -> bool:
    """Whether the test interval covers what the incumbent is worth."""
    return bool(line["test"][1] <= line["worth"] <= line["test"][2])


def covers_difference(line: Line) -> bool:
    """Whether the difference's interval covers the true one; it is exactly 0 where the incumbent is the default itself."""
    _, low, high = line["difference"]
    truth = line["worth"] - line["default_worth"]
    return bool(truth == 0 and line["origin"] == "default" if low is None else low <= truth <= high)


def share(lines: Sequence[Line], happened: Callable[[Line], bool]) -> tuple[float, tuple[float, float], int]:
    """A share, its 95 % limits (Clopper and Pearson 1934), and of how many."""
    hits = sum(map(happened, lines))
    low, high = clopper_pearson(hits, len(lines), 0.95)
    return hits / len(lines), (float(low), float(high)), len(lines)


def shown(rate: float, ends: tuple[float, float]) -> str:
    """A share in per cent with its limits."""
    return f"{100 * rate:.1f} [{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]"


def told(lines: Sequence[Line], happened: Callable[[Line], bool]) -> str:
    """The same from the lines."""
    rate, ends, _ = share(lines, happened)
    return shown(rate, ends)


def mean_of(values: Sequence[float], digits: int = 2) -> str:
    """A mean with its standard error."""
    count, middle = len(values), math.fsum(values) / len(values)
    error = math.sqrt(math.fsum((value - middle) ** 2 for value in values) / max(count - 1, 1) / count)
    return f"{middle:.{digits}f} +- {error:.{digits}f}" if error >= 0.5 * 10**-digits else f"{middle:.{digits}f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(row) + " |" for row in rows)]
    return "\n".join(lines) + "\n"
