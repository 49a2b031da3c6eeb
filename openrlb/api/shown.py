"""What results look like in Python: a short word in a terminal, frames, and tables with figures in a notebook.

Each class here is the base of a result of the same verb and reads that result's own entries.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Self

from openrlb.api.result_rows import TABLE_COLUMNS, comparison_rows, power_rows, table_rows
from openrlb.scrubbing import scrubbed
from openrlb.tabular import Tabular, fragment, image
from openrlb.words import counted

if TYPE_CHECKING:
    from openrlb.api.launching import Launched
    from openrlb.api.reproduce import Reproduction
    from openrlb.api.run import RunLine
    from openrlb.api.run_plan import RunPlan
    from openrlb.api.study import StudyView
    from openrlb.api.tune_plan import TunePlan
    from openrlb_analysis.figures.diagram import Drawn
    from openrlb_analysis.measured import Measure
    from openrlb_analysis.result import CurvesResult, Excluded, PlotResult
    from openrlb_hpo.records import StudyRecord
    from openrlb_hpo.result_records import StudyResult

RUNS_NAMED = 8
"""So many excluded runs are named below a table; the result's ``excluded`` has all of them."""


class Shown(Tabular):
    """A result whose word in a terminal is its headline."""

    __slots__ = ()

    def cleaned(self) -> Self:
        """The same without secrets, e-mail addresses and home folders, as it is printed."""
        return scrubbed(self)

    def __repr__(self) -> str:
        """The headline: all that a result holds would fill pages."""
        return f"<{scrubbed(self.headline())}>"


class PlotShown(Shown):
    """The answer of ``plot``: its figures and the numbers behind them."""

    __slots__ = ()
    result: PlotResult
    curves: tuple[CurvesResult, ...]
    measure: Measure | None
    beside: tuple[PlotResult, ...]

    def records(self) -> list[dict[str, Any]]:
        """The rows of ``openrlb plot --table``; of a measure its own."""
        if self.measure is not None:
            from openrlb_analysis.figures.measure_tables import measure_rows

            return measure_rows(self.measure)
        rows = [row for result in (self.result, *self.beside) for row in table_rows(result)]
        return [{name: row.get(name) for name in TABLE_COLUMNS} for row in rows]

    def headline(self) -> str:
        """What was computed of what."""
        result, how = self.result, self.result.interval
        names = ", ".join([result.metric, *(one.metric for one in self.beside)])
        groups = f"{len(result.groups)} group{'s' if len(result.groups) != 1 else ''}"
        told = [
            f"{names} of {result.of} ({result.kind})",
            groups,
            f"score {result.rule}",
            f"normalisation {result.normalization}",
        ]
        return ", ".join([*told, f"{how.level * 100:g} % {how.method} intervals"])

    def remarks(self) -> list[str]:
        """What a reader must know, and the runs left out."""
        interval = [f"intervals: {self.result.interval.note}"] if self.result.interval.note else []
        return [*interval, *self.result.notes, *excluded_words(self.result.excluded)]

    def _repr_html_(self) -> str:
        """The figures, and the numbers that a reader takes in."""
        from openrlb_analysis.report import plot_page

        page = scrubbed(plot_page(self.result, self.curves, "", self.measure, self.beside))
        images = [one for section in page.sections if section.figure is not None for one in _images(section.figure)]
        if self.measure is None:
            kept = ("metric",) * bool(self.beside) + ("label", "env", "runs", "value", "low", "high", "mean", "std")
            rows = [{name: row[name] for name in kept} for row in self.records()]
        else:
            from openrlb_analysis.figures.measure_tables import shown_rows

            rows, _ = shown_rows(self.measure)
        return fragment(self.headline(), rows, self.remarks(), images)


def _images(figure: Drawn) -> list[str]:
    """A figure as it is drawn for print, in parts where it is taller than a page."""
    import tempfile
    from pathlib import Path

    from openrlb_analysis.figures.alternative_text import alternative_text
    from openrlb_analysis.figures.matplotlib_painter import image_parts, write_image
    from openrlb_analysis.figures.size import size_of

    words, found = alternative_text(figure), []
    with tempfile.TemporaryDirectory() as folder:
        for part in image_parts(figure, size_of("page")):
            path = Path(folder) / "figure.svg"
            write_image(part, path, ".svg", {})
            found.append(image(path.read_bytes(), words))
    return found


def excluded_words(excluded: Sequence[Excluded]) -> list[str]:
    """The runs left out: the first by name and reason, the others counted."""
    told = [f"left out: {one.run}: {one.reason}" for one in excluded[:RUNS_NAMED]]
    more = len(excluded) - RUNS_NAMED
    return [*told, *([f"left out: {more} more (excluded names all of them)"] if more > 0 else [])]


class CompareShown(Shown):
    """The answer of ``compare``: the verdicts."""

    __slots__ = ()
    words: tuple[str, ...]
    notes: tuple[str, ...]
    excluded: tuple[Excluded, ...]

    def records(self) -> list[dict[str, Any]]:
        """A row for each comparison."""
        return comparison_rows(self)  # type: ignore[arg-type]

    def headline(self) -> str:
        """The verdict, or the first one and how many more there are."""
        more = len(self.words) - 1
        return self.words[0] + (f" (and {more} more comparisons)" if more > 0 else "")

    def _repr_html_(self) -> str:
        """Every verdict in words, then the numbers."""
        kept = ("first", "second", "env", "verdict", "difference", "low", "high", "first_seeds", "second_seeds")
        rows = [{name: row[name] for name in kept} for row in self.records()]
        return fragment(self.words[0], rows, [*self.words[1:], *self.notes, *excluded_words(self.excluded)])


class PowerShown(Shown):
    """The answer of ``power``: the seeds."""

    __slots__ = ()
    groups: tuple[str, ...]
    statistic: str
    margin: float
    notes: tuple[str, ...]
    excluded: tuple[Excluded, ...]

    def records(self) -> list[dict[str, Any]]:
        """A row for each environment, and one for all of them where they are pooled."""
        return power_rows(self)  # type: ignore[arg-type]

    def headline(self) -> str:
        """What the seeds are for."""
        needed = [str(row["seeds_needed"] or "?") for row in self.records()]
        return f"{' vs '.join(self.groups)}: {', '.join(needed)} seeds each to find {self.margin:g} of {self.statistic}"

    def _repr_html_(self) -> str:
        """The rows that a reader takes in."""
        kept = ("env", "pilot_runs", "margin", "power", "seeds_needed", "seeds_for_equivalence", "spread", "spread_upper")
        rows = [{name: row[name] for name in kept} for row in self.records()]
        return fragment(self.headline(), rows, [*self.notes, *excluded_words(self.excluded)])


class StudyShown(Shown):
    """A study: its headline, and its scores on test seeds."""

    __slots__ = ()
    record: StudyRecord
    result: StudyResult

    def records(self) -> list[dict[str, Any]]:
        """A row for the incumbent and each baseline on the test seeds; none before the test phase."""
        held_out = [*([self.result.test] if self.result.test is not None else []), *self.result.baselines]
        kept = ("name", "score", "low", "high", "runs", "declared", "diverged", "unfinished")
        return [{name: getattr(one, name) for name in kept} | {"missing": len(one.missing)} for one in held_out]

    def headline(self) -> str:
        """What the study says in a line."""
        from openrlb_hpo.result_words import headline

        return f"{self.record.name}: {headline(self.result)}"

    def remarks(self) -> list[str]:
        """The rest of what it says."""
        from openrlb_hpo.result_words import result_lines

        return result_lines(self.result)[1:]


class ReproductionShown(Shown):
    """What came of a reproduction, in a row."""

    __slots__ = ()

    def records(self) -> list[dict[str, Any]]:
        """The verdict."""
        mine: Reproduction = self  # type: ignore[assignment]
        first = asdict(mine.first_difference) if mine.first_difference is not None else None
        row = {"run": mine.run, "verdict": mine.verdict, "reproduced": list(mine.reproduced), "until": mine.until}
        return [{**row, "first_difference": None if first is None else str(first)}]

    def headline(self) -> str:
        """The verdict in a sentence."""
        mine: Reproduction = self  # type: ignore[assignment]
        return f"{mine.run}: {mine.words}"


class RunReportShown(Shown):
    """What came of a batch of runs."""

    __slots__ = ()
    plan: RunPlan
    runs: tuple[RunLine, ...]

    def records(self) -> list[dict[str, Any]]:
        """A row for each run; of a dry run for each that is planned."""
        return [asdict(line) for line in self.runs or self.plan.runs]

    def headline(self) -> str:
        """How many runs, and how they ended; of a dry run what is planned."""
        if not self.runs:
            plan, todo = self.plan, len(self.plan.to_train)
            told = f"{plan.todo_words()}, {plan.workers} at a time"
            return f"a plan of {counted(len(plan.runs), 'run')}: {told}" + (f"; time: {plan.time_words()}" if todo else "")
        states = [line.state for line in self.runs]
        told = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        return f"{len(self.runs)} run{'s' if len(self.runs) != 1 else ''}: {told}"


class TuneShown(Shown):
    """What came of a study; of a dry run what is planned."""

    __slots__ = ()
    plan: TunePlan
    launched: Launched | None
    study: StudyView | None
    random: StudyView | None

    def records(self) -> list[dict[str, Any]]:
        """The study's rows, then those of the random search beside it; of a dry run a row for each searched hyperparameter."""
        if self.study is None:
            searched = self.plan.settings.space["parameters"]
            return [{"hyperparameter": name, "range": json.dumps(entry)} for name, entry in searched.items()]
        return [
            {"study": view.record.name, **row} for view in (self.study, self.random) if view is not None for row in view.records()
        ]

    def headline(self) -> str:
        """What the study says in a line."""
        if self.study is not None:
            return self.study.headline()
        settings = self.plan.settings
        on = f"{settings.algo} ({settings.impl}) on {', '.join(settings.envs)}"
        how = f"{counted(self.plan.budget, 'run')} of {settings.steps:,} steps by {settings.method}"
        if self.launched is not None and self.launched.launch:
            return f"study {settings.name}: {counted(self.launched.workers, 'worker')} train it; {on}, {how}"
        left = f"{self.plan.spent} of {how}" if self.plan.spent else how
        return f"a plan of study {settings.name}: {on}, {left}, {self.plan.workers} at a time; nothing was trained"

    def remarks(self) -> list[str]:
        """The rest of what it says."""
        return list(self.plan.notes) if self.study is None else self.study.remarks()


class FetchShown(Shown):
    """What a fetch found."""

    __slots__ = ()
    found: int
    new: int
    changed: int
    unchanged: int
    unselected: int
    envs: dict[str, int]

    def records(self) -> list[dict[str, Any]]:
        """The runs found by environment."""
        return [{"env": env, "runs": count} for env, count in self.envs.items()]

    def headline(self) -> str:
        """How many runs, and how many of them are new."""
        counts = {name: getattr(self, name) for name in ("new", "changed", "unchanged")}
        told = ", ".join(f"{count} {name}" for name, count in counts.items())
        rest = f", {self.unselected} not selected" if self.unselected else ""
        where = f"{len(self.envs)} environment{'s' if len(self.envs) != 1 else ''}"
        return f"{self.found} run{'s' if self.found != 1 else ''} found in {where}: {told}{rest}"
