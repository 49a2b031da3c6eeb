"""A comparison's verdict in one sentence that says how it came about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from openrlb_analysis.comparison import PairResult
from openrlb_analysis.intervals import FEW_RUNS


@dataclass(frozen=True, slots=True)
class Setting:
    """What all sentences of one answer share.

    Attributes:
        statistic: The statistic.
        rule: The score rule.
        level: The level of all comparisons together.
        family: How many comparisons share it.
        margin: The margin, or None.
        fewest: The fewest runs that get an interval.
        name_envs: Whether the sentences must say which environment they are about.
    """

    statistic: str
    rule: str
    level: float
    family: int
    margin: float | None
    fewest: int
    name_envs: bool


def sentence(pair: PairResult, setting: Setting, remarks: Sequence[str] = ()) -> str:
    """The verdict first, then how it came about, then what bears on it.

    Args:
        pair: The comparison.
        setting: What all comparisons share.
        remarks: Further words for its end; empty ones are passed over.
    """
    sizes = [number(sorted({both[side] for both in pair.runs.values()})) for side in (0, 1)]
    seeds = f"{sizes[0]} v {sizes[1]} seeds"
    where = f" over {len(pair.envs)} environments" if len(pair.envs) > 1 else f" on {pair.envs[0]}" if setting.name_envs else ""
    head = f"{pair.first} vs {pair.second}{where}: {_verdict(pair, setting)}"
    of = f"{setting.statistic.upper() if setting.statistic == 'iqm' else setting.statistic} of {setting.rule}"
    if pair.low is None:
        return _joined([f"{head} ({of}, {seeds}: an interval needs {setting.fewest})", *remarks])
    holm = f"{100 * setting.level:g} % Holm over {setting.family} comparison{'s' if setting.family > 1 else ''}"
    few = min(size for both in pair.runs.values() for size in both) < FEW_RUNS
    told = [f"{head} ({of}, {holm}, {seeds})", *remarks, *([f"fewer than {FEW_RUNS} seeds"] if few else [])]
    return _joined(told)


def _verdict(pair: PairResult, setting: Setting) -> str:
    """The verdict with the difference and its interval; of a worse group, how much it lacks."""
    if pair.low is None or pair.high is None:
        return f"undecided, difference {_text(pair.difference)}, no interval"
    ends = f"[{_text(pair.low)}, {_text(pair.high)}]"
    if pair.verdict == "undecided":
        return f"undecided, difference {_text(pair.difference)} {ends}"
    if pair.verdict == "equivalent":
        return f"equivalent within {_text(setting.margin or 0.0)}, difference {_text(pair.difference)} {ends}"
    if pair.verdict == "worse":
        ends = f"[{_text(-pair.high)}, {_text(-pair.low)}]"
    beyond = f", more than the margin of {_text(setting.margin)}" if pair.beyond_margin and setting.margin is not None else ""
    return f"{pair.verdict} by {_text(abs(pair.difference))} {ends}{beyond}"


def number(sizes: Sequence[int]) -> str:
    """One size, or the smallest and largest of several.

    >>> number([5]), number([3, 5])
    ('5', '3-5')
    """
    return str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]}-{sizes[-1]}"


def _text(value: float) -> str:
    """A number for a sentence: four significant digits, never an exponent where none is needed.

    >>> _text(312.44), _text(12345.6), _text(0.01234), _text(-0.0)
    ('312.4', '12,346', '0.01234', '0')
    """
    if abs(value) >= 10_000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if value else "0"


def _joined(parts: Sequence[str]) -> str:
    """The parts of a sentence, empty ones passed over."""
    return "; ".join(part for part in parts if part)
