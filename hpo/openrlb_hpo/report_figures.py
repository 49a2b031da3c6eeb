"""A study's figures as the specs that painters know; every score that tuning has seen says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from openrlb_analysis.figures.footer import Footer
from openrlb_analysis.figures.spec import (
    CurveLine,
    CurvesFigure,
    CurvesPanel,
    IntervalFigure,
    IntervalPanel,
    Mark,
    curves_figure,
    padded,
)
from openrlb_analysis.figures.theme import DASHES, PALETTE, SYMBOLS, Style
from openrlb_analysis.figures.words import count
from openrlb_analysis.result import PlotResult
from openrlb_hpo.racing import ranking
from openrlb_hpo.records import StudyRecord, StudyRole, Trial
from openrlb_hpo.result_scores import StudyScores, mean_of_tasks
from openrlb_hpo.result_words import INCUMBENT
from openrlb_hpo.trajectory import trajectory

if TYPE_CHECKING:
    from openrlb.types import Values
    from openrlb_analysis.result import CurvesResult, IntervalMethod
    from openrlb_hpo.importance import Importances
    from openrlb_hpo.result_records import HeldOut, StudyResult

SHOWN_TRIALS = 5
RANDOM = "random search"
_COLORS: dict[str, Style] = {
    "tuning": Style(PALETTE[4], "solid", "circle", True),
    "confirm": Style(PALETTE[2], "solid", "diamond", True),
    "test": Style(PALETTE[0], "solid", "square", True),
}
"""One colour for each role of the incumbent's runs in every figure of a study."""
_BASELINES = (PALETTE[6], PALETTE[1], PALETTE[3], PALETTE[5])


@dataclass(frozen=True, slots=True)
class StudyFooter(Footer):
    """Facts below a study's figure, which are not those of an analysis.

    Attributes:
        facts: The sentences.
    """

    facts: tuple[str, ...] = ()

    def sentences(self) -> tuple[str, ...]:
        """The facts."""
        return self.facts


def score_figure(record: StudyRecord, result: StudyResult, random: StudyResult | None = None) -> IntervalFigure | None:
    """The incumbent on tuning, confirm and test seeds, and every baseline on test seeds; None before the test phase.

    Args:
        record: The study.
        result: Its answer.
        random: The answer of a study like it that sampled at random.
    """
    if result.incumbent is None or result.test is None:
        return None
    one_env = len(result.envs) == 1
    scores, trial = StudyScores(record), record.trials[result.incumbent.trial]
    marks: list[tuple[Mark, Style]] = []
    for role in ("tuning", "confirm"):
        cells = scores.cells(trial.configuration, role)
        if all(cell.scores for cell in cells):
            note = f"{count(sum(len(cell.scores) for cell in cells), 'run')}, {'optimistic' if role == 'tuning' else 'confirm'}"
            runs = tuple(cells[0].scores) if one_env else ()
            size, mean = sum(len(cell.scores) for cell in cells), mean_of_tasks(scores.tasks(cells))
            marks.append((Mark(f"{INCUMBENT}, {role} seeds", mean, None, None, size, runs, note), _COLORS[role]))
    marks.append((_mark(f"{INCUMBENT}, test seeds", result.test, one_env), _COLORS["test"]))
    looks = configuration_styles(record)
    marks += [(_mark(f"{one.name}, test seeds", one, one_env), looks[one.name]) for one in result.baselines]
    if random is not None and random.test is not None and random.test.score is not None:
        mark = _mark(f"incumbent of {RANDOM}, test seeds", random.test, len(random.envs) == 1)
        marks.append((mark, Style(PALETTE[6], "dot", "x", False)))
    title = result.envs[0] if one_env else f"{len(result.envs)} environments, normalised by {result.normalization}"
    facts = (
        "Bars are intervals, ticks the means they belong to, dots single runs."
        if one_env
        else "Bars are intervals, ticks the means.",
        "Tuning scores are optimistic: the incumbent was chosen for them, so that they have no interval here.",
        _interval_words(result.interval),
    )
    return _intervals([mark for mark, _ in marks], title, value_title(result), {m.label: s for m, s in marks}, facts)


def environment_figure(record: StudyRecord, result: StudyResult) -> IntervalFigure | None:
    """The incumbent and the baselines on test seeds, a panel for each environment.

    None with one environment, and before the test phase is over.

    Args:
        record: The study.
        result: Its answer.
    """
    every = [one for one in (result.test, *result.baselines) if one is not None]
    if len(result.envs) < 2 or not every or not result.finished:
        return None
    panels, drawn = [], configuration_styles(record)
    for index, env in enumerate(result.envs):
        marks = []
        for one in every:
            cell = one.per_env[index]
            note = _lacking(len(cell.scores), cell.low)
            marks.append(Mark(one.name, cell.score, cell.low, cell.high, len(cell.scores), cell.scores, note))
        panels.append(IntervalPanel(env, tuple(marks), _range(marks)))
    facts = ("Test seeds; bars are intervals, ticks the means, dots single runs.", _interval_words(result.interval))
    title = f"{_return(result)}, not normalised"
    names = tuple(one.name for one in every)
    return IntervalFigure(names, tuple(panels), title, drawn, _footer(facts, result.interval))


def trajectory_figure(record: StudyRecord, result: StudyResult, random: StudyRecord | None = None) -> CurvesFigure | None:
    """The best tuning score so far against the budget spent, beside random search; None before a trial has all its seeds.

    Args:
        record: The study.
        result: Its answer; the incumbent's test score is drawn as a line to compare with.
        random: A study like it that sampled at random.
    """
    import numpy as np

    lines, drawn = [], {}
    looks = (Style(PALETTE[4], "solid", "circle", True), Style(PALETTE[3], "dash", "square", True))
    for one, style in zip([record, *([random] if random is not None else [])], looks, strict=False):
        path = trajectory(one)
        name = path.label if one is record else path.label.replace(one.settings.method, RANDOM, 1)
        if path.spent:
            at, score = _stairs(path.spent, path.score, max(path.end, path.spent[-1]))
            none = np.full(len(at), np.nan)
            lines.append(CurveLine(name, at, score, none, none, np.full(len(at), one.settings.tuning_seeds)))
            drawn[name] = style
    if not lines:
        return None
    end, test = max(float(line.x[-1]) for line in lines), result.test
    if test is not None and test.score is not None:
        name, flat = "test score of the incumbent", np.full(2, test.score)
        low, high = (np.full(2, np.nan if bound is None else bound) for bound in (test.low, test.high))
        lines.append(CurveLine(name, np.array([0.0, end]), flat, low, high, np.full(2, test.runs)))
        drawn[name] = _COLORS["test"]
    ys = np.concatenate([part for line in lines for part in (line.value, line.low, line.high)])
    where = result.envs[0] if len(result.envs) == 1 else f"{len(result.envs)} environments, normalised"
    panel = CurvesPanel(where, where, tuple(lines), (0.0, end * 1.02), padded(ys[np.isfinite(ys)].tolist(), 0.06), None)
    facts = (
        "The best tuning score so far is the best of many: it rises by chance alone, and is no result.",
        "Only trials with all their tuning seeds count; a diverged run counts as the worst finite tuning score.",
        *(("The band is the test score's interval.",) if test is not None and test.low is not None else ()),
    )
    labels = tuple(line.label for line in lines)
    footer = _footer(facts, result.interval)
    lead = "Search trajectories"
    return CurvesFigure(labels, (panel,), False, "tuning runs reserved", value_title(result), drawn, footer, lead)


def trials_figures(record: StudyRecord, result: StudyResult) -> dict[str, IntervalFigure]:
    """Every run of the best five trials, seeds of tuning, confirmation and test told apart; a figure for each environment.

    Args:
        record: The study.
        result: Its answer.
    """
    scores, trials = StudyScores(record), _best_trials(record)
    rows: list[tuple[str, Style, Trial, StudyRole]] = []
    roles: tuple[StudyRole, ...] = ("tuning", "confirm", "test") if result.finished else ("tuning", "confirm")
    for trial in trials:
        for role in roles:
            if any(cell.scores for cell in scores.cells(trial.configuration, role)):
                named = f"trial {trial.number}{' (incumbent)' if trial.number == record.incumbent else ''}, {role}"
                rows.append((named, _COLORS[role], trial, role))
    shown = count(len(trials), "trial")
    facts = (
        f"The {shown} with the best tuning scores"
        + ("; the incumbent is always shown." if record.incumbent is not None else "."),
        "Dots are runs, one for each seed; diamonds their means. Means of tuning seeds are optimistic.",
    )
    figures = {}
    for index, env in enumerate(result.envs if rows else ()):
        marks = []
        for label, _, trial, role in rows:
            cell = scores.cells(trial.configuration, role)[index]
            mean = sum(cell.scores) / len(cell.scores) if cell.scores else None
            note = count(len(cell.scores), "seed") + (f", {cell.diverged} diverged" if cell.diverged else "")
            marks.append(Mark(label, mean, None, None, len(cell.scores), cell.scores, note if cell.scores else "no run"))
        unit = _return(result) + (", not normalised" if len(result.envs) > 1 else "")
        figures[env] = _intervals(marks, env, unit, {label: style for label, style, *_ in rows}, facts)
    return figures


def importance_figure(found: Importances) -> IntervalFigure | None:
    """The importances, the largest on top; None where there are none."""
    if found.values is None:
        return None
    marks = [Mark(name, share, None, None, found.trials, (), f"{share:.0%}") for name, share in found.values.items()]
    panel = IntervalPanel("tuning seeds only", tuple(marks), (-0.02, max(found.values.values()) * 1.08 + 0.02))
    facts = (
        f"{found.evaluator} over {count(found.trials, 'trial')} ({found.pruned} pruned): how unlike the best {found.best} are to "
        "all of them. Shares of the whole, from tuning runs alone, without an interval.",
    )
    names = tuple(found.values)
    return IntervalFigure(names, (panel,), "importance (share)", dict.fromkeys(names, _COLORS["tuning"]), _footer(facts, None))


def learning_figure(record: StudyRecord, curves: CurvesResult) -> CurvesFigure:
    """Learning curves on test seeds, in the style of every other page.

    Args:
        record: The study.
        curves: The curves of the incumbent and the baselines.
    """
    plain = PlotResult(
        metric=curves.metric,
        of=curves.of,
        kind=curves.kind,
        step_unit=curves.x_unit,
        rule=record.settings.objective,
        step={},
        cut_cause={},
        ddof=1,
        normalization=curves.normalization,
        interval=curves.interval,
        groups=(),
        excluded=curves.excluded,
        sources=(f"study {record.name}",),
    )
    figure = curves_figure(curves, plain)
    return replace(figure, styles={**figure.styles, **configuration_styles(record)})


def configuration_styles(record: StudyRecord) -> dict[str, Style]:
    """One style for the incumbent and for each baseline, by name, the same in every figure.

    Args:
        record: The study.
    """
    known = {INCUMBENT: _COLORS["test"]}
    for index, one in enumerate(record.settings.baselines):
        turn, place = divmod(index, len(_BASELINES))
        known[one.name] = Style(_BASELINES[place], DASHES[turn % len(DASHES)], SYMBOLS[(index + 2) % len(SYMBOLS)], turn % 2 == 0)
    return known


def study_figures(
    record: StudyRecord,
    result: StudyResult,
    curves: Sequence[CurvesResult] = (),
    random: StudyRecord | None = None,
    importances: Importances | None = None,
) -> dict[str, IntervalFigure | CurvesFigure]:
    """Every figure that can be drawn of a study, by name.

    Args:
        record: The study.
        result: Its answer.
        curves: Learning curves on test seeds, one entry for each kind of x axis.
        random: A study like it that sampled at random.
        importances: Of its hyperparameters.
    """
    from openrlb_hpo.result import study_result

    beside = None if random is None else study_result(random, resamples=result.interval.resamples)
    found = {
        "scores": score_figure(record, result, beside),
        "environments": environment_figure(record, result),
        "trajectory": trajectory_figure(record, result, random),
        **{f"trials {env}": figure for env, figure in trials_figures(record, result).items()},
        "importances": None if importances is None else importance_figure(importances),
        **{f"curves {index}": learning_figure(record, one) for index, one in enumerate(curves if result.finished else (), 1)},
    }
    return {name: figure for name, figure in found.items() if figure is not None and figure.panels}


def value_title(result: StudyResult) -> str:
    """What a study's scores are."""
    plain = _return(result)
    return plain if len(result.envs) == 1 else f"{plain}, normalised by {result.normalization}, mean over environments"


def _return(result: StudyResult) -> str:
    """The return that is scored, and the rule."""
    kind = "evaluation episodes" if result.kind == "eval" else "training episodes"
    return f"return of {kind} ({result.objective})"


def _best_trials(record: StudyRecord) -> list[Trial]:
    """The best trials by tuning score, and the incumbent where it is not among them."""
    best = ranking(record)[:SHOWN_TRIALS]
    if record.incumbent is not None and record.incumbent not in [trial.number for trial in best]:
        best = [*best[: SHOWN_TRIALS - 1], record.trials[record.incumbent]]
    return best


def _mark(label: str, tested: HeldOut, dots: bool) -> Mark:
    """A row of a configuration on test seeds."""
    runs = tested.per_env[0].scores if dots else ()
    note = _lacking(tested.runs, tested.low) if tested.score is not None else "no test score"
    return Mark(label, tested.score, tested.low, tested.high, tested.runs, runs, note)


def _lacking(runs: int, low: float | None) -> str:
    """Why a row has no interval."""
    return "" if low is not None else "no runs" if not runs else f"{count(runs, 'run')}, no interval"


def _range(marks: Sequence[Mark]) -> tuple[float, float]:
    """The range that holds everything drawn."""
    return padded([n for m in marks for n in (m.value, m.low, m.high, *m.scores) if n is not None], 0.05)


def _intervals(
    marks: Sequence[Mark], title: str, value: str, drawn: Mapping[str, Style], facts: tuple[str, ...]
) -> IntervalFigure:
    """A figure of one panel."""
    panel = IntervalPanel(title, tuple(marks), _range(marks))
    return IntervalFigure(tuple(mark.label for mark in marks), (panel,), value, drawn, _footer(facts, None))


def _stairs(at: Sequence[int], score: Sequence[float], end: int) -> tuple[Values, Values]:
    """A line that holds each score until the next one."""
    import numpy as np

    x, y = np.repeat(np.array([*at, end], dtype=np.float64), 2)[1:-1], np.repeat(np.array(score, dtype=np.float64), 2)
    return x, y


def _interval_words(how: IntervalMethod) -> str:
    """How intervals were computed."""
    note = how.note.removeprefix(how.method).lstrip(", ")
    told = f"{how.level * 100:g} % {how.method} bootstrap intervals ({how.resamples:,} resamples, seed {how.seed})"
    return f"{told}: {note}." if note else f"{told}."


def _footer(facts: tuple[str, ...], interval: IntervalMethod | None) -> StudyFooter:
    """Facts as a figure carries them."""
    return StudyFooter("", (0, 0), "", "agent_step", (), interval, False, 1, "none", 0, (), facts=facts)
