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
    seeds = f"{_seeds(pair)} seeds"
    where = f" over {len(pair.envs)} environments" if len(pair.envs) > 1 else f" on {pair.envs[0]}" if setting.name_envs else ""
    head = f"{pair.first} vs {pair.second}{where}: {_verdict(pair, setting)}"
    of = f"{setting.statistic.upper() if setting.statistic == 'iqm' else setting.statistic} of {setting.rule}"
    if _too_few(pair, setting):
        return _joined([f"{head} ({of}, {seeds}: an interval needs {setting.fewest})", *remarks])
    how = "Holm" if setting.margin is None or setting.family == 1 else "Bonferroni"
    shared = f"{100 * setting.level:g} % {how} over {setting.family} comparison{'s' if setting.family > 1 else ''}"
    told = [f"{head} ({of}, {shared}, {seeds})", spread_words(pair), *remarks]
    return _joined([*told, *([f"fewer than {FEW_RUNS} seeds"] if _fewest(pair) < FEW_RUNS else [])])


def spread_words(pair: PairResult) -> str:
    """Which runs all gave the same score, so that an interval rests on the others; empty where none did."""
    if pair.low is None or not pair.without_spread:
        return ""
    where = {label: [env for of, env in pair.without_spread if of == label] for label, _ in pair.without_spread}
    told = [label if len(pair.envs) == 1 else f"{label} on {', '.join(envs)}" for label, envs in where.items()]
    return f"no spread seen in {' and '.join(told)}"


def _fewest(pair: PairResult) -> int:
    """The fewest runs of a group in an environment."""
    return min(size for both in pair.runs.values() for size in both)


def _too_few(pair: PairResult, setting: Setting) -> bool:
    """Whether runs are too few for an interval."""
    return _fewest(pair) < setting.fewest


def _verdict(pair: PairResult, setting: Setting) -> str:
    """The verdict with the difference and its interval; of a worse group, how much it lacks."""
    if pair.low is None or pair.high is None:
        why = "" if _too_few(pair, setting) else f": no spread seen in {_seeds(pair)} seeds"
        return f"undecided{why}, difference {_text(pair.difference)}, no interval"
    ends = f"[{_text(pair.low)}, {_text(pair.high)}]"
    if pair.verdict == "undecided":
        return f"undecided, difference {_text(pair.difference)} {ends}"
    if pair.verdict == "equivalent":
        return f"equivalent within {_text(setting.margin or 0.0)}, difference {_text(pair.difference)} {ends}"
    if pair.verdict == "worse":
        ends = f"[{_text(-pair.high)}, {_text(-pair.low)}]"
    return f"{pair.verdict} by {_text(abs(pair.difference))} {ends}{_beside_margin(pair, setting.margin)}"


def _beside_margin(pair: PairResult, margin: float | None) -> str:
    """What a difference that is there says of the margin."""
    if margin is None:
        return ""
    than = ", more than the margin of" if pair.beyond_margin else "; not shown to exceed the margin"
    return f"{than} {_text(margin)}"


def _seeds(pair: PairResult) -> str:
    """How many seeds both groups have."""
    return " v ".join(number(sorted({both[side] for both in pair.runs.values()})) for side in (0, 1))


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
