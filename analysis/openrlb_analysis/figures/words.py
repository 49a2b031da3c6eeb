"""How figures and pages say numbers, seeds and names: one way, shared by every painter and by the page."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

METRIC_NAMES = {
    "iqm": "IQM",
    "mean": "mean",
    "median": "median",
    "optimality-gap": "optimality gap",
    "poi": "probability of improvement",
    "cvar": "CVaR",
    "iqr": "interquartile range",
    "profile": "performance profile",
    "rank": "rank frequencies",
    "win-rate": "win rates",
    "critical-difference": "critical difference",
    "interval-width": "interval width",
    "runtime": "run time",
}
UNIT_NAMES = {
    "agent_step": "agent steps",
    "frame": "frames",
    "hours": "hours",
    "unknown": "steps (unit not stated)",
    "none": "steps",
}


def metric_name(metric: str) -> str:
    """The aggregate as people write it.

    >>> metric_name("iqm"), metric_name("steps-to-threshold")
    ('IQM', 'steps to threshold')
    """
    return METRIC_NAMES.get(metric, metric.replace("-", " "))


def unit_name(unit: str) -> str:
    """What steps count, in words.

    >>> unit_name("agent_step")
    'agent steps'
    """
    return UNIT_NAMES.get(unit, unit)


def number(value: float | None) -> str:
    """A number with as many digits as a table needs; the exact one is in the page's JSON.

    >>> number(3564.0712), number(-3.704), number(0.39563), number(1234567.8), number(None), number(0.00001)
    ('3,564.1', '-3.70', '0.396', '1,234,568', '-', '1e-05')
    """
    if value is None:
        return "-"
    if not math.isfinite(value):
        return "not finite"
    size = abs(value)
    if size == 0:
        return "0"
    if size < 0.001:
        return f"{value:.2g}"
    digits = 3 if size < 1 else 2 if size < 100 else 1 if size < 100_000 else 0
    return f"{value:,.{digits}f}"


def duration(hours: float) -> str:
    """A time in the unit that suits it.

    >>> duration(3.456), duration(0.2), duration(0.004), duration(120.0)
    ('3.46 h', '12.0 min', '14.4 s', '120 h')
    """
    size, unit = (hours, "h") if hours >= 1 else (hours * 60, "min") if hours >= 1 / 60 else (hours * 3600, "s")
    return f"{size:.{2 if size < 10 else 1 if size < 100 else 0}f} {unit}"


def bounds_words(bounds: Mapping[str, tuple[float, float]]) -> str:
    """The lowest and highest score of environments, those with the same ones together.

    >>> bounds_words({"CartPole-v1": (0.0, 500.0)}), bounds_words(dict.fromkeys("abcd", (0.0, 1.0)))
    ('0 to 500 in CartPole-v1', '0 to 1 in 4 environments')
    """
    together: dict[tuple[float, float], list[str]] = {}
    for env, ends in bounds.items():
        together.setdefault(ends, []).append(env)
    parts = [
        f"{low:.6g} to {high:.6g} in {', '.join(envs) if len(envs) <= 3 else count(len(envs), 'environment')}"
        for (low, high), envs in together.items()
    ]
    return ", ".join(parts)


def count(amount: int, one: str, many: str = "") -> str:
    """A counted noun.

    >>> count(1, "run"), count(1200, "run"), count(0, "entry", "entries")
    ('1 run', '1,200 runs', '0 entries')
    """
    return f"{amount:,} {one if amount == 1 else many or one + 's'}"


def short_steps(steps: float) -> str:
    """Steps with an SI letter where nothing is lost by it.

    >>> short_steps(1_000_000), short_steps(250_000), short_steps(999_800), short_steps(12)
    ('1M', '250k', '999.8k', '12')
    """
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(steps) >= size and round(steps / size, 3) * size == steps:
            return f"{steps / size:g}{letter}"
    return f"{steps:,.0f}"


def seeds(values: Sequence[int | None]) -> str:
    """A run's seeds as ranges, in rising order.

    >>> seeds((1, 2, 3, 7)), seeds((None, None, 4)), seeds((5, 5)), seeds(())
    ('1-3, 7', '4, 2 not stated', '5, 5', '')
    """
    known = sorted(value for value in values if value is not None)
    parts: list[tuple[int, int]] = []
    for seed in known:
        if parts and seed == parts[-1][1] + 1:
            parts[-1] = (parts[-1][0], seed)
        else:
            parts.append((seed, seed))
    words = [f"{first}" if first == last else f"{first}-{last}" for first, last in parts]
    unstated = len(values) - len(known)
    return ", ".join([*words, *([f"{unstated} not stated"] if unstated else [])])


def listed(words: Iterable[str], most: int = 0) -> str:
    """Words with commas; where there are more than ``most`` (0: no bound), the rest is counted.

    >>> listed(["a", "b", "c"]), listed(["a", "b", "c"], 2)
    ('a, b, c', 'a, b and 1 more')
    """
    every = list(words)
    if not most or len(every) <= most:
        return ", ".join(every)
    return f"{', '.join(every[:most])} and {len(every) - most} more"


def wrapped(text: str, room: float, measure: Callable[[str], float] = len) -> list[str]:
    """A text in lines that fit: broken at spaces; where a word is too long, after a separator; as a last resort anywhere.

    Args:
        text: The text; its own line breaks, and characters that no page shows or that turn others round, count as spaces.
        room: The longest line, in the units of ``measure``.
        measure: The length of a piece of text; without one, its characters are counted.

    >>> wrapped("ppo learning_rate=0.0003", 12)
    ['ppo', 'learning_', 'rate=0.0003']
    >>> wrapped("abcdef", 4), wrapped("", 4)
    (['abcd', 'ef'], [''])
    """
    lines = [""]
    for piece in _pieces("".join(sign if sign.isprintable() else " " for sign in text), room, measure):
        if lines[-1] and measure((lines[-1] + piece).rstrip()) > room:
            lines.append("")
        lines[-1] += piece
    return [line.rstrip() for line in lines]


def _pieces(text: str, room: float, measure: Callable[[str], float]) -> Iterator[str]:
    """Stretches of a text between which a line may break."""
    for word in re.findall(r"\S*\s+|\S+", text):
        parts = re.findall(r"[^_/=,:;-]*[_/=,:;-]+\s*|[^_/=,:;-]+", word) if measure(word.rstrip()) > room else [word]
        for part in parts:
            yield from part if measure(part.rstrip()) > room else [part]


def sentence(text: str) -> str:
    """A text with a capital first letter and a full stop; the rest stays as it is.

    >>> sentence("mean of eval/x"), sentence("Done.")
    ('Mean of eval/x.', 'Done.')
    """
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) or not text else ".")
