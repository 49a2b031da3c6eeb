"""What must be read beside a picture: the rule, the cut and who caused it, the interval, what was left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from openrlb_analysis.figures.words import bounds_words, count, listed, metric_name, sentence, short_steps, unit_name

if TYPE_CHECKING:
    from openrlb_analysis.result import CurvesResult, IntervalMethod, PlotResult

MOST_CUTS = 3
"""More different cuts than these are not spelled out below a picture; the page lists them in a table."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Where scores are read, and who caused that.

    Attributes:
        step: The step.
        cause: Who caused it, in words; empty where nobody says.
        envs: The environments that share step and cause.
    """

    step: int
    cause: str
    envs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Footer:
    """The facts below a figure; :meth:`sentences` puts them in words.

    Attributes:
        shows: What is drawn, as a sentence.
        runs: The smallest and the largest number of runs behind one mark or curve.
        rule: The score rule, empty for learning curves.
        step_unit: What the cuts count.
        cuts: The cuts, environments with the same one together.
        interval: How intervals were computed; None where there is not one.
        pointwise: True for the bands of learning curves.
        ddof: Delta degrees of freedom of standard deviations in the table.
        normalization: Name and version of the normalisation, or ``none``.
        excluded: How many runs were left out.
        sources: Where the runs came from.
        band: What the interval is called, where it is neither of scores nor of learning curves; ``none`` where what is drawn
            has none.
        bounds: The lowest and the highest score that environments allow, where known; intervals lie within.
        clipped: True where a band reaches beyond the axis, which follows curves and values.
        machines: What each group's runs were trained on and how many ran at once, where the picture shows wall time.
    """

    shows: str
    runs: tuple[int, int]
    rule: str
    step_unit: str
    cuts: tuple[Cut, ...]
    interval: IntervalMethod | None
    pointwise: bool
    ddof: int
    normalization: str
    excluded: int
    sources: tuple[str, ...]
    band: str = ""
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    clipped: bool = False
    machines: str = ""

    def sentences(self) -> tuple[str, ...]:
        """Everything a reader must know, one sentence for each fact."""
        facts = [self.shows, self._behind(), self._rule(), self._cut(), self._interval(), self._within()]
        facts.append(f"trained on: {self.machines}" if self.machines else "")
        facts.append("not normalised" if self.normalization in ("", "none") else f"normalised by {self.normalization}")
        if not self.pointwise:
            facts.append(f"standard deviations with ddof {self.ddof}")
        facts.append("no run was left out" if not self.excluded else f"{count(self.excluded, 'run')} left out")
        if self.sources:
            facts.append(
                f"source: {listed(self.sources, 4)}" if len(self.sources) == 1 else f"sources: {listed(self.sources, 4)}"
            )
        return tuple(sentence(fact) for fact in facts if fact)

    def _behind(self) -> str:
        low, high = self.runs
        runs = count(high, "run") if low == high else f"{low} to {count(high, 'run')}"
        return f"{runs} per {'curve' if self.pointwise else 'group and environment'}"

    def _rule(self) -> str:
        return f"one score per run by the rule {self.rule}" if self.rule else ""

    def _cut(self) -> str:
        unit = unit_name(self.step_unit)
        lead = "the dotted line is the cut: " if self.pointwise else "cut: "
        if not self.cuts:
            return ""
        if len(self.cuts) == 1:
            only = self.cuts[0]
            return f"{lead}{short_steps(only.step)} {unit}{_because(only.cause)}"
        if len(self.cuts) > MOST_CUTS:
            steps = [cut.step for cut in self.cuts]
            ends = f"{short_steps(min(steps))} to {short_steps(max(steps))} {unit}"
            return f"{lead}{ends}, chosen for each environment (table of cuts)"
        each = [f"{short_steps(cut.step)} {unit} in {listed(cut.envs, 3)}{_because(cut.cause)}" for cut in self.cuts]
        return lead + "; ".join(each)

    def _within(self) -> str:
        """What bounds intervals, and where a picture does not show all of a band."""
        words = []
        if self.bounds and self.interval is not None and self.band != "none":
            words.append(f"{self.band or 'intervals'} lie within what can be scored: {bounds_words(self.bounds)}")
        if self.clipped:
            words.append("the axis follows curves and values: some band reaches beyond it")
        return "; ".join(words)

    def _interval(self) -> str:
        how = self.interval
        if self.band == "none":
            return ""
        if how is None:
            return f"no interval: {'one run alone has none' if self.runs[1] <= 1 else 'too few runs'}"
        kind = self.band or ("pointwise bands" if self.pointwise else "intervals")
        details = f"{how.resamples:,} resamples, seed {how.seed}" if how.resamples else f"seed {how.seed}"
        text = f"{how.level * 100:g} % {how.method} bootstrap {kind} ({details})"
        note = how.note.removeprefix(how.method).lstrip(", ").rstrip(".")
        return f"{text}: {note}" if note else text


def scores_footer(result: PlotResult, dots: bool) -> Footer:
    """The facts below a figure of scores; ``dots`` says whether single runs are drawn."""
    entries = [entry for group in result.groups for entry in group.per_env]
    sizes = [entry.runs for entry in entries] or [0]
    shows = f"{metric_name(result.metric)} of {result.of}{kind_words(result.kind)}"
    dots = dots and max(sizes) > 1
    return Footer(
        shows=f"{shows}; dots are single runs" if dots else shows,
        runs=(min(sizes), max(sizes)),
        rule=result.rule,
        step_unit=result.step_unit,
        cuts=cuts_of(result.step, result.cut_cause),
        interval=result.interval if any(entry.low is not None for entry in entries) else None,
        pointwise=False,
        ddof=result.ddof,
        normalization=result.normalization,
        excluded=len(result.excluded),
        sources=result.sources,
        bounds=result.bounds,
    )


def curves_footer(result: CurvesResult, plot: PlotResult, with_cut: bool, clipped: bool = False) -> Footer:
    """The facts below learning curves; the cut is named only where it is drawn, ``clipped`` where a band leaves the axis."""
    sizes = [int(size) for band in result.bands if len(band.x) for size in (band.runs.min(), band.runs.max())] or [0]
    return Footer(
        shows=f"{metric_name(result.metric)} of {result.of} over runs at each position, not smoothed",
        runs=(min(sizes), max(sizes)),
        rule="",
        step_unit=plot.step_unit,
        cuts=cuts_of(plot.step, plot.cut_cause) if with_cut else (),
        interval=result.interval if any(size >= result.interval.fewest for size in sizes) else None,
        pointwise=True,
        ddof=plot.ddof,
        normalization=plot.normalization,
        excluded=len(plot.excluded),
        sources=plot.sources,
        band=f"{result.band} bands",
        bounds=result.bounds,
        clipped=clipped,
        machines=machines_words(plot) if result.x_unit == "hours" else "",
    )


def machines_words(result: PlotResult) -> str:
    """What each group's runs were trained on, groups with equal words together."""
    together: dict[str, list[str]] = {}
    for one in result.machines:
        together.setdefault(one.words(), []).append(one.label)
    if len(together) == 1:
        return next(iter(together))
    return "; ".join(f"{listed(labels, 6)}: {words}" for words, labels in together.items())


def cuts_of(step: Mapping[str, int], cause: Mapping[str, str]) -> tuple[Cut, ...]:
    """Environments that share a cut and its cause, together; in the order of their first environment.

    >>> [(cut.step, cut.envs) for cut in cuts_of({"a": 10, "b": 20, "c": 10}, {})]
    [(10, ('a', 'c')), (20, ('b',))]
    """
    together: dict[tuple[int, str], list[str]] = {}
    for env, at in step.items():
        together.setdefault((at, cause.get(env, "")), []).append(env)
    return tuple(Cut(at, why, tuple(envs)) for (at, why), envs in together.items())


def kind_words(kind: str) -> str:
    """The kind of the logged quantity, in brackets.

    >>> kind_words("rolling_mean"), kind_words("other")
    (' (mean over recent episodes)', '')
    """
    words = {"episode": "raw episodes", "rolling_mean": "mean over recent episodes", "eval": "evaluation episodes"}
    return f" ({words[kind]})" if kind in words else ""


def _because(cause: str) -> str:
    return f" ({cause})" if cause else ""
