"""The words that ``plot`` takes, metrics, axes, bands, engines, intervals, formats of numbers; and what was typed, again."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from openrlb.errors import UsageError


class Metric(StrEnum):
    """The statistic over runs."""

    iqm = "iqm"
    mean = "mean"
    median = "median"
    optimality_gap = "optimality-gap"
    cvar = "cvar"
    iqr = "iqr"
    poi = "poi"
    win_rate = "win-rate"
    profile = "profile"
    efficiency = "efficiency"
    rank = "rank"
    critical_difference = "critical-difference"
    slopes = "slopes"
    interval_width = "interval-width"
    steps_to_threshold = "steps-to-threshold"
    runtime = "runtime"


TOGETHER = (Metric.iqm, Metric.mean, Metric.median, Metric.optimality_gap, Metric.cvar, Metric.iqr)
"""Metrics that are one number for each group: several of them can be drawn side by side."""


def metrics(words: str) -> str:
    """One metric or several with commas between them; a misspelt one is told the nearest.

    Args:
        words: What was typed.

    Raises:
        UsageError: There is no such metric, or several that cannot stand side by side.

    >>> metrics("IQM, optimality_gap")
    'iqm,optimality-gap'
    """
    from difflib import get_close_matches

    every = [one.value for one in Metric]
    names = list(dict.fromkeys(word.strip().casefold().replace("_", "-") for word in words.split(",")))
    for name in names:
        if name not in every:
            close = get_close_matches(name, every, n=1)
            fix = f"did you mean --metric {close[0]}?" if close else "use one of them; the default is iqm"
            raise UsageError(f"there is no metric {name!r}", f"they are {', '.join(every)}", fix)
    if len(names) > 1 and (apart := [name for name in names if Metric(name) not in TOGETHER]):
        together = ", ".join(one.value for one in TOGETHER)
        raise UsageError(
            f"{apart[0]} stands alone", f"side by side there can be {together}", f"plot --metric {apart[0]} by itself"
        )
    return ",".join(names)


class Aggregate(StrEnum):
    """What a measure aggregates runs by."""

    iqm = "iqm"
    mean = "mean"
    median = "median"
    optimality_gap = "optimality-gap"


class Axis(StrEnum):
    """What curves run along."""

    steps = "steps"
    frames = "frames"
    time = "time"


class Band(StrEnum):
    """What a curve's band holds."""

    pointwise = "pointwise"
    simultaneous = "simultaneous"


class Engine(StrEnum):
    """Whose code computes."""

    openrlb = "openrlb"
    rliable = "rliable"


class Pairwise(StrEnum):
    """The test of pairs in a critical-difference diagram."""

    wilcoxon = "wilcoxon"
    nemenyi = "nemenyi"


class Interval(StrEnum):
    """The interval method."""

    calibrated = "calibrated"
    percentile = "percentile"
    basic = "basic"
    bca = "bca"


class Numbers(StrEnum):
    """How the numbers beside a figure are written."""

    csv = "csv"
    json = "json"
    parquet = "parquet"


def command_line(words: Sequence[str]) -> str:
    """The command as it can be typed again.

    >>> command_line(["/usr/bin/openrlb", "plot", "--env", "Hopper v4"])
    "openrlb plot --env 'Hopper v4'"
    """
    import shlex

    return shlex.join(["openrlb", *words[1:]])
