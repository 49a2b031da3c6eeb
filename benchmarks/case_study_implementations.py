"""The tables of docs/case-study-implementations.md, from the runs that docs/single-file.md declares.

    python benchmarks/case_study_implementations.py --report docs/case-study-implementations.md

It trains nothing: the page has the commands. Scores and verdicts come from ``openrlb.plot`` and ``openrlb.compare`` on the store
that OPENRLB_HOME names, margins from the rule that was committed before training (benchmarks/single_file_equivalence.py); what
is not trained yet is said there.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from shlex import join

from case_study_td_lambda import replaced
from single_file_equivalence import CELLS, LEVEL, OURS, RESULTS, SEEDS, THEIRS, Cell

import openrlb
from openrlb.api.compare import CompareAnswer
from openrlb.api.compare_inputs import ScoreOptions
from openrlb.api.recipe import read_recipe
from openrlb_analysis.result import EnvResult, PlotResult

RECIPE = "single-file-ppo"


def cells() -> list[Cell]:
    """The declared comparisons that the recipe draws."""
    algos = read_recipe(RECIPE).flags["algo"]
    assert isinstance(algos, list)
    return [cell for cell in CELLS if cell.algo in algos]


def scored(cell: Cell) -> PlotResult | None:
    """Both implementations' scores in one environment; None where no run is stored."""
    selection = openrlb.Selection(algo=(cell.algo,), impl=(OURS, THEIRS), env=(cell.env,), source=("openrlb",), seed=tuple(SEEDS))
    try:
        return openrlb.plot(selection, openrlb.PlotOptions(metric="mean", level=LEVEL)).result
    except openrlb.NothingMatched:
        return None


def entries(result: PlotResult | None, impl: str) -> list[EnvResult]:
    """What an implementation has: one entry, or none."""
    return [entry for group in result.groups if group.impl == impl for entry in group.per_env] if result else []


def is_whole(result: PlotResult | None) -> bool:
    """Whether every declared seed of both counts."""
    return all(sum(one.runs for one in entries(result, impl)) == len(SEEDS) for impl in (OURS, THEIRS))


def compared(cell: Cell, result: PlotResult) -> CompareAnswer:
    """The declared comparison, with the margin that the rule gives."""
    nothing = json.loads(RESULTS.read_text(encoding="utf-8"))[cell.name]["random"]
    margin = cell.share * (statistics.fmean(entries(result, THEIRS)[0].scores) - nothing)
    options = openrlb.CompareOptions(ScoreOptions(metric="mean", level=LEVEL), margin)
    chosen = openrlb.Selection(env=(cell.env,), source=("openrlb",), seed=tuple(SEEDS))
    return openrlb.compare(cell.groups, chosen, options)


def score_rows(cell: Cell, result: PlotResult | None) -> list[str]:
    """A row for each implementation."""
    rows = []
    for impl in (THEIRS, OURS):
        for one in entries(result, impl):
            ends = "none" if one.low is None else f"{one.low:.1f} to {one.high:.1f}"
            spread = f"{one.mean:.1f}" if one.std is None else f"{one.mean:.1f} ± {one.std:.1f}"
            rows.append(f"| {cell.env} | {cell.steps:,} | {impl} | {one.runs} | {spread} | {ends} |")
        if not entries(result, impl):
            rows.append(f"| {cell.env} | {cell.steps:,} | {impl} | 0 | not trained yet | |")
    return rows


def verdict_row(cell: Cell, answer: CompareAnswer) -> str:
    """The declared comparison in a row."""
    (one,) = answer.comparisons
    ends = "none" if one.low is None else f"{one.low:+.1f} to {one.high:+.1f}"
    poi = one.probability_of_improvement
    often = f"{poi.value:.2f}" + ("" if poi.low is None else f" ({poi.low:.2f} to {poi.high:.2f})")
    margin = f"{answer.margin:.1f} ({cell.share:.0%})"
    return f"| {cell.env} | {one.difference:+.1f} | {ends} | {margin} | {one.verdict} | {often} |"


def tables() -> dict[str, list[str]]:
    """Every marker's lines."""
    scores = ["| environment | steps | implementation | seeds | mean ± standard deviation | 90 % interval |", "| --- " * 6 + "|"]
    verdicts = [
        "| environment | difference of means | 90 % interval | margin | verdict | probability of improvement |",
        "| --- " * 6 + "|",
    ]
    said, commands = [], ["```bash"]
    for cell in cells():
        result = scored(cell)
        scores += score_rows(cell, result)
        commands += [join(cell.command(impl)) for impl in (THEIRS, OURS)]
        if result is None or not is_whole(result):
            verdicts.append(f"| {cell.env} | | | {cell.share:.0%} | not all seeds are trained yet | |")
            said.append(f"- **{cell.env}**: no verdict: not all of the {len(SEEDS)} declared seeds are trained yet.")
            continue
        answer = compared(cell, result)
        verdicts.append(verdict_row(cell, answer))
        said.append(f"- **{cell.env}**: {answer.verdict}. `openrlb compare` says: *{answer.words[0]}*.")
        commands.append(
            f"openrlb compare {join(cell.groups)} --env {cell.env} --metric mean --level {LEVEL} --margin {answer.margin:.4g}"
        )
    return {"words": said, "scores": scores, "verdicts": verdicts, "commands": [*commands, "```"]}


def main() -> None:
    """Writes the tables into the page, or prints them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, help="the page")
    asked = parser.parse_args()
    found = tables()
    if asked.report is None:
        print("\n\n".join("\n".join(lines) for lines in found.values()))
        return
    text = asked.report.read_text(encoding="utf-8")
    for marker, lines in found.items():
        text = replaced(text, marker, lines)
    asked.report.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
