"""Score rules: how one run's logged values become the one number that stands for the run."""

from __future__ import annotations

import re
from dataclasses import dataclass

from openrlb.errors import UsageError

DEFAULT_RULE = "final:10%"
RULES = ("final:P%", "last", "at:STEP", "mean", "auc", "best-of-mean-curve", "best-per-run")
"""Every rule as a reader types it."""

_OPTIMISTIC = ("best-of-mean-curve", "best-per-run")
_PLAIN = ("last", "mean", "auc", *_OPTIMISTIC)


@dataclass(frozen=True, slots=True)
class ScoreRule:
    """How a run is scored up to the cut.

    Attributes:
        name: ``final``, ``last``, ``at``, ``mean``, ``auc``, ``best-of-mean-curve`` or ``best-per-run``.
        argument: The percentage of ``final``, the step of ``at``, else None.

    >>> ScoreRule("final", 10).text, ScoreRule("best-per-run").optimistic
    ('final:10%', True)
    """

    name: str
    argument: int | None = None

    @property
    def optimistic(self) -> bool:
        """True where the rule chooses the best point after the fact, so that the score overstates the algorithm."""
        return self.name in _OPTIMISTIC

    @property
    def text(self) -> str:
        """The rule as a reader would type it."""
        if self.name == "final":
            return f"final:{self.argument}%"
        return self.name if self.argument is None else f"{self.name}:{self.argument}"


def parse_rule(text: str) -> ScoreRule:
    """Reads a score rule.

    Args:
        text: One of ``final:P%`` (P a whole number from 1 to 100; ``final`` alone is ``final:10%``), ``last``,
            ``at:STEP`` (``at:1000000``, ``at:1e6``), ``mean``, ``auc``, ``best-of-mean-curve``, ``best-per-run``.

    Raises:
        UsageError: The text is none of these.

    >>> parse_rule("final:10%")
    ScoreRule(name='final', argument=10)
    >>> parse_rule("at:1e6").text
    'at:1000000'
    """
    words = text.strip().lower()
    if words in _PLAIN:
        return ScoreRule(words)
    if words == "final":
        return ScoreRule("final", 10)
    if found := re.fullmatch(r"final:(\d{1,3})%?", words, re.ASCII):
        percent = int(found[1])
        if 1 <= percent <= 100:
            return ScoreRule("final", percent)
        raise UsageError(f"the score rule {text!r} has no window", "P in final:P% runs from 1 to 100", "try final:10%")
    if found := re.fullmatch(r"at:(\d[\d_]*(?:\.\d+)?(?:e\d{1,2})?)", words, re.ASCII):
        step = float(found[1])
        if step.is_integer() and 1 <= step < 2**53:
            return ScoreRule("at", int(step))
    raise UsageError(f"no score rule {text!r}", "the rules are " + ", ".join(RULES), f"try --score {DEFAULT_RULE}")
