"""The result table as LaTeX: booktabs, a row for each group and environment, intervals beside values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from openrlb_analysis.figures.caption import left_out
from openrlb_analysis.figures.citations import citations, source_key
from openrlb_analysis.figures.latex import latex

if TYPE_CHECKING:
    from openrlb_analysis.result import GroupResult, PlotResult

DIGITS = 4
"""Significant digits of the larger end of an interval; every digit is in the other formats."""


def latex_table(results: Sequence[PlotResult]) -> str:
    r"""One ``table`` environment for each metric; it needs ``\usepackage{booktabs}``.

    Environments are blocks with a row for each group: its value, its interval, and how many runs both rest on. The caption
    says how they came about and how many runs were left out; a comment names each of these.

    Args:
        results: One for each metric.
    """
    return "\n".join(_table(result) for result in results)


def _table(result: PlotResult) -> str:
    """One metric's table."""
    level = f"{100 * result.interval.level:g}\\,\\% interval"
    blocks = _blocks(result)
    lines = [
        "% Written by openrlb; it needs \\usepackage{booktabs}.",
        *(f"% left out: {_comment(f'{one.run}: {one.reason}')}" for one in result.excluded),
        "\\begin{table}",
        "  \\centering",
        f"  \\caption{{{_caption(result)}}}",
        f"  \\label{{tab:{''.join(sign if sign.isascii() and sign.isalnum() else '-' for sign in result.metric)}}}",
        "  \\begin{tabular}{llrrr}",
        "    \\toprule",
        f"    Environment & Group & Runs & {_name(result.metric)} & {level} \\\\",
    ]
    for env, rows in blocks:
        lines.append("    \\midrule")
        lines += [f"    {env if number == 0 else ''} & {row} \\\\" for number, row in enumerate(rows)]
    return "\n".join([*lines, "    \\bottomrule", "  \\end{tabular}", "\\end{table}", ""])


def _blocks(result: PlotResult) -> list[tuple[str, list[str]]]:
    """The rows of each environment, the pooled ones first."""
    blocks = []
    pooled = [group for group in result.groups if group.value is not None and len(result.pooled_envs) > 1]
    if pooled:
        rows = [_row(group.label, result.pooled_runs(group), group.value, group.low, group.high) for group in pooled]
        blocks.append((f"{len(result.pooled_envs)} pooled", rows))
    for env in dict.fromkeys(one.env for group in result.groups for one in group.per_env):
        blocks.append((latex(env), [row for group in result.groups for row in _rows(group, env)]))
    return blocks


def _rows(group: GroupResult, env: str) -> list[str]:
    """A group's row in an environment, where it has runs there."""
    return [_row(group.label, one.runs, one.value, one.low, one.high) for one in group.per_env if one.env == env]


def _row(label: str, runs: int, value: float | None, low: float | None, high: float | None) -> str:
    """The cells beside an environment; a dash where there is no number."""
    places = _decimals([number for number in (value, low, high) if number is not None])
    interval = "--" if low is None or high is None else f"[{_number(low, places)}, {_number(high, places)}]"
    return f"{latex(label)} & {runs} & {'--' if value is None else _number(value, places)} & {interval}"


def _decimals(values: Sequence[float]) -> int:
    """Decimal places by which the largest of some numbers has four significant digits.

    >>> _decimals([1234.5]), _decimals([0.12345, 0.9]), _decimals([0.0]), _decimals([21.0])
    (0, 4, 0, 2)
    """
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return 0 if largest == 0 else max(0, min(12, DIGITS - 1 - math.floor(math.log10(largest))))


def _number(value: float, places: int) -> str:
    """A number as LaTeX sets it.

    >>> _number(-1.25, 1), _number(1234.0, 0)
    ('$-1.2$', '$1234$')
    """
    return f"${value:.{places}f}$" if math.isfinite(value) else latex(str(value))


def _caption(result: PlotResult) -> str:
    """How the numbers came about."""
    how = result.interval
    cuts = ", ".join(f"{env} at {step:,}" for env, step in result.step.items())
    said = [f"{_plain(result.metric)} of {result.of} ({result.kind}); score {result.rule}, normalisation {result.normalization}."]
    said.append(f"Intervals: {how.note or how.method}, {how.resamples:,} resamples, seed {how.seed}.")
    said += [f"Cut: {cuts}."] if cuts else []
    said += [f"{left_out(result.excluded)}."] if result.excluded else []
    known = ",".join((*citations(result), "openrlb", *(source_key(source) for source in result.sources)))
    return f"{' '.join(latex(text) for text in said)} \\cite{{{known}}}"


def _plain(metric: str) -> str:
    """A metric's name in a sentence."""
    return metric.upper() if metric in ("iqm", "iqr", "cvar") else metric.capitalize()


def _name(metric: str) -> str:
    """A metric's name as a heading."""
    return latex(_plain(metric))


def _comment(text: str) -> str:
    """A text that stays in its comment: one line, without signs that end it."""
    return "".join(sign if sign.isprintable() else " " for sign in text)
