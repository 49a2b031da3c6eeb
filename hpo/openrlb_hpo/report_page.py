"""The page of a study, for the one HTML writer: the test score first, then how it came about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from openrlb_analysis.figures.page import Column, Page, Provenance, Section, Table
from openrlb_analysis.figures.words import count, number, seeds, sentence
from openrlb_hpo.checklist import Facts, checklist, settings_words
from openrlb_hpo.importance import importances
from openrlb_hpo.parameters import flattened
from openrlb_hpo.report_figures import study_figures
from openrlb_hpo.result_scores import StudyScores
from openrlb_hpo.result_words import GAP_NOTE, headline, random_words, signed, verdict_words
from openrlb_hpo.trajectory import trajectory

if TYPE_CHECKING:
    from openrlb_analysis.figures.spec import CurvesFigure, IntervalFigure
    from openrlb_analysis.result import CurvesResult
    from openrlb_hpo.checklist import Checklist
    from openrlb_hpo.importance import Importances
    from openrlb_hpo.records import StudyRecord
    from openrlb_hpo.result_records import HeldOut, StudyResult

    Figures = dict[str, IntervalFigure | CurvesFigure]

NO_RANDOM = "no random search was run beside this study, so that nothing shows what chance alone would have found"


def study_page(
    record: StudyRecord,
    result: StudyResult,
    *,
    curves: Sequence[CurvesResult] = (),
    random: StudyRecord | None = None,
    command: str = "",
    facts: Facts | None = None,
) -> Page:
    """The page of a study; :func:`openrlb_analysis.report.write_page` writes it.

    Args:
        record: The study.
        result: Its answer.
        curves: Learning curves of the incumbent and the baselines on test seeds.
        random: A study like it that sampled at random.
        command: The command line that was typed, for the provenance.
        facts: What the ledger does not hold: hardware, versions, code.
    """
    known, mattered = facts or Facts(), importances(record)
    figures = study_figures(record, result, curves, random, mattered)
    filled = checklist(record, result, known)
    sections = [
        _result(result, figures),
        *_environments(result, figures),
        *_incumbent(result),
        _search(record, figures, random),
        *_trials(record, figures),
        *_curves(result, figures, curves),
        _importances(mattered, figures),
        _seeds(result),
        _cost(result),
        _checklist(filled),
    ]
    runs = tuple(row.run for row in record.reservations)
    provenance = Provenance(command, (f"study {record.id} ({record.name})",), runs, known.versions)
    data = {**result.to_json(), "trajectory": trajectory(record), "importances": mattered, "checklist": filled}
    if random is not None:
        data["random"] = {"study": random.name, "trajectory": trajectory(random)}
    return Page(f"Tuning {settings_words(record)}", sentence(headline(result)), tuple(sections), provenance, None, data)


def _result(result: StudyResult, figures: Figures) -> Section:
    """The answer."""
    figure = figures.get("scores")
    who = "incumbent" if result.incumbent is not None else "best trial so far"
    rows = [_score_row(f"{who}, tuning seeds (optimistic)", result)]
    for one in (result.test, *result.baselines):
        rows += [_held_out(f"{one.name}, test seeds", one, one.name == result.incumbent_is)] if one is not None else []
    if result.difference is not None:
        found = result.difference
        told = f"{verdict_words(found)}; independent runs"
        rows.append((f"incumbent - {found.baseline}", signed(found.value), _interval(found.low, found.high), told))
    if result.gap is not None:
        rows.append(("gap (tuning - test)", signed(result.gap.value), _interval(result.gap.low, result.gap.high), GAP_NOTE))
    columns = (Column(""), Column("Score", True), Column("95 % interval", True), Column("What it is"))
    tables = (Table("Scores", columns, tuple(rows)),)
    return Section("Result", figure, figure.footer.sentences() if figure else (), tables, result.notes)


def _score_row(name: str, result: StudyResult) -> tuple[str, ...]:
    """The tuning score of the incumbent, or of the best trial so far."""
    chosen = result.incumbent or result.best_so_far
    if chosen is None:
        return (name, "-", "none", "no trial has all its tuning seeds yet")
    confirmed = f"; confirmed at {number(chosen.confirm_score)}" if chosen.confirm_score is not None else ""
    return (name, number(chosen.tuning_score), "none", f"trial {chosen.trial}, mean over tuning seeds{confirmed}")


def _held_out(name: str, tested: HeldOut, is_incumbent: bool) -> tuple[str, ...]:
    """A row of a configuration on test seeds."""
    told = [f"{tested.runs} of {tested.declared} test runs" + (", the incumbent's own" if is_incumbent else "")]
    told += [f"{tested.diverged} diverged, at the worst finite score"] if tested.diverged else []
    told += [f"{len(tested.missing)} missing"] if tested.missing else []
    told += [f"{tested.unfinished} not done"] if tested.unfinished else []
    return (name, number(tested.score), _interval(tested.low, tested.high), ", ".join(told))


def _environments(result: StudyResult, figures: Figures) -> list[Section]:
    """The same by environment, where there are several."""
    figure = figures.get("environments")
    if figure is None:
        return []
    rows = []
    for one in (result.test, *result.baselines):
        for env in one.per_env if one is not None else ():
            told = f"{len(env.scores)} of {env.declared}" + (f", {env.diverged} diverged" if env.diverged else "")
            rows.append((one.name if one else "", env.env, number(env.score), _interval(env.low, env.high), told))
    columns = (Column(""), Column("Environment"), Column("Score", True), Column("95 % interval", True), Column("Test runs"))
    table = Table("Test scores by environment, not normalised", columns, tuple(rows))
    return [Section("Test scores by environment", figure, figure.footer.sentences(), (table,))]


def _incumbent(result: StudyResult) -> list[Section]:
    """What was chosen."""
    chosen = result.incumbent or result.best_so_far
    if chosen is None:
        return []
    rows = tuple((name, str(value)) for name, value in chosen.params.items())
    frozen = "Incumbent" if result.incumbent is not None else "Best trial so far"
    table = Table(f"Trial {chosen.trial} ({chosen.origin})", (Column("Hyperparameter"), Column("Value", True)), rows)
    notes = () if rows else ("It has no place in the space: a configuration that was declared first.",)
    return [Section(frozen, tables=(table,) if rows else (), notes=notes)]


def _search(record: StudyRecord, figures: Figures, random: StudyRecord | None) -> Section:
    """How the search went."""
    figure, paths = figures.get("trajectory"), [(record.settings.method, trajectory(record))]
    paths += [("random search", trajectory(random))] if random is not None else []
    rows = [
        (name, f"{spent:,}", number(score), str(trial))
        for name, path in paths
        for spent, score, trial in zip(path.spent, path.score, path.trial, strict=True)
    ]
    columns = (Column("Method"), Column("Tuning runs", True), Column("Best tuning score", True), Column("Trial", True))
    table = Table("Where the best tuning score rose", columns, tuple(rows), folded=len(rows) > 8)
    notes = (sentence(NO_RANDOM if random is None else f"beside it: {random_words(record, random)}"),)
    caption = figure.footer.sentences() if figure else ()
    return Section("Search against budget", figure, caption, (table,) if rows else (), notes)


def _trials(record: StudyRecord, figures: Figures) -> list[Section]:
    """The best trials seed by seed, and a row for every trial."""
    sections, heading = [], "The best trials, seed by seed"
    for env in record.settings.envs:
        figure = figures.get(f"trials {env}")
        if figure is not None:
            named = heading if len(record.settings.envs) == 1 else f"{heading}: {env}"
            sections.append(Section(named, figure, figure.footer.sentences()))
    return [*sections, Section("Trials", tables=(_every_trial(record),))] if record.trials else []


def _every_trial(record: StudyRecord) -> Table:
    """A row for every trial."""
    scores, names = (
        StudyScores(record),
        list(dict.fromkeys(name for trial in record.trials for name in flattened(trial.hyperparameters))),
    )
    rows = []
    for trial in record.trials:
        runs = [score for cell in scores.cells(trial.configuration, "tuning") for score in cell.scores]
        mean = scores.whole_mean(trial.configuration, "tuning")
        ended = trial.state + (f" ({trial.reason})" if trial.reason else "")
        asked = flattened(trial.hyperparameters)
        params = [_cell(asked[name]) if name in asked else "-" for name in names]
        rows.append((str(trial.number), ended, trial.origin, number(mean), f"{len(runs)}", *params))
    columns = (
        Column("Trial"),
        Column("State"),
        Column("Origin"),
        Column("Tuning score", True),
        Column("Tuning runs", True),
        *(Column(name, True) for name in names),
    )
    return Table("Every trial; a score only with all tuning seeds", columns, tuple(rows), folded=True)


def _curves(result: StudyResult, figures: Figures, curves: Sequence[CurvesResult]) -> list[Section]:
    """Learning curves on test seeds, when all test runs are done."""
    made = []
    for index, one in enumerate(curves if result.finished else (), 1):
        figure = figures.get(f"curves {index}")
        heading = "Learning curves on test seeds" + (f" ({index} of {len(curves)})" if len(curves) > 1 else "")
        made.append(Section(heading, figure, figure.footer.sentences() if figure else (), (), one.notes))
    if not made and result.finished:
        made.append(Section("Learning curves on test seeds", notes=("The curves of the test runs were not given.",)))
    return made


def _importances(found: Importances, figures: Figures) -> Section:
    """Which hyperparameters mattered."""
    figure = figures.get("importances")
    notes = (sentence(f"no importances: {found.reason}"), *found.notes) if found.values is None else found.notes
    rows = tuple((name, f"{share:.3f}") for name, share in (found.values or {}).items())
    table = Table(f"{found.evaluator}, {found.trials} trials", (Column("Hyperparameter"), Column("Share", True)), rows)
    caption = figure.footer.sentences() if figure else ()
    return Section("Which hyperparameters mattered", figure, caption, (table,) if rows else (), notes)


def _seeds(result: StudyResult) -> Section:
    """The seeds that were applied."""
    told = {
        "tuning": "choosing among trials",
        "confirm": "choosing among the best trials",
        "test": "the result; nothing was chosen by them",
    }
    rows = [(role, str(len(result.seeds[role])), seeds(result.seeds[role]) or "none", use) for role, use in told.items()]
    columns = (Column("Role"), Column("Seeds", True), Column("The seeds applied"), Column("Used for"))
    looked = f"Studies that have looked at these test seeds: {result.test_peeks}."
    return Section("Seeds", tables=(Table("Seeds by role", columns, tuple(rows)),), notes=(looked,))


def _cost(result: StudyResult) -> Section:
    """What the study took, and how its trials and runs ended."""
    cost, counts = result.cost, result.counts
    rows = [
        ("budget (tuning and confirm runs)", f"{result.spent:,} of {result.budget:,}"),
        ("tuning runs", f"{cost.tuning_runs:,}"),
        ("confirm runs", f"{cost.confirm_runs:,}"),
        ("test runs (apart from the budget)", f"{cost.test_runs:,}"),
        ("environment steps, all runs", f"{cost.steps:,}"),
        (f"hours of processes ({count(cost.threads, 'thread')} each; all runs and attempts)", number(cost.process_hours)),
        ("configurations tried (the budget of papers that do not count seeds)", f"{cost.configurations:,}"),
        ("tuning runs over the runs of a whole trial", number(cost.full_configurations)),
        ("trials complete, pruned, failed, running", f"{counts.complete}, {counts.pruned}, {counts.failed}, {counts.running}"),
        ("runs diverged, lost, failed", f"{counts.runs_diverged}, {counts.runs_lost}, {counts.runs_failed}"),
    ]
    return Section("Cost", tables=(Table("What the study took", (Column(""), Column("Amount", True)), tuple(rows)),))


def _checklist(filled: Checklist) -> Section:
    """The paper's checklist."""
    rows = [
        (str(index), item.question, "yes" if item.known else "open", " ".join(item.answer))
        for index, item in enumerate(filled.items, 1)
    ]
    columns = (Column("Item"), Column("Question"), Column("Answered"), Column("Answer"))
    table = Table("Checklist of arXiv 2306.01324", columns, tuple(rows), folded=True)
    return Section("Reproducibility checklist", tables=(table,))


def _cell(value: object) -> str:
    """A parameter in a table."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _interval(low: float | None, high: float | None) -> str:
    """An interval in a table."""
    return "none" if low is None or high is None else f"{number(low)} to {number(high)}"
