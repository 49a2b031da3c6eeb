"""A study's answer, computed from nothing but its ledger: the score on seeds that tuning never saw comes first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from openrlb_hpo.parameters import flattened
from openrlb_hpo.racing import ranking
from openrlb_hpo.records import StudyRecord, StudyRole, Trial
from openrlb_hpo.result_records import (
    Chosen,
    Cost,
    Counts,
    Difference,
    EnvScores,
    Gap,
    HeldOut,
    Missing,
    StudyResult,
    Verdict,
)
from openrlb_hpo.result_scores import SETTLED, Cell, StudyScores, mean_of_tasks
from openrlb_hpo.result_words import INCUMBENT, notes_of, result_lines

if TYPE_CHECKING:
    from openrlb_analysis.result import IntervalMethod

__all__ = ["StudyResult", "result_lines", "study_result"]

_ROLES: tuple[StudyRole, ...] = ("tuning", "confirm", "test")
_WORDS: dict[str, Verdict] = {"better": "better", "worse": "worse", "equivalent": "equivalent", "undecided": "no evidence"}


def study_result(record: StudyRecord, *, resamples: int = 50_000, margin: float | None = None) -> StudyResult:
    """What a study says, finished or not; equal records give equal results.

    The test score is the mean over test seeds (of several environments, of their normalised means), with the calibrated 95 %
    interval of :mod:`openrlb_analysis.intervals`. A diverged run counts at the worst finite score that the study has of its
    environment; lost and failed ones are missing, and named. The verdict is about the incumbent beside the baseline with the
    highest test score, by the one rule :func:`openrlb_analysis.comparison.verdict`, on independent runs. Scores on test seeds
    are given when every test run has its outcome, so that nobody decides anything by half of them.

    Args:
        record: The study as its ledger holds it.
        resamples: Bootstrap resamples of every interval.
        margin: The smallest difference that matters, in the unit of the score; without it nothing is equivalent.

    Raises:
        UsageError: Several environments without a common scale, or a margin or number of resamples that has no meaning.

    >>> from openrlb_hpo.records import StudyRecord, StudySettings
    >>> settings = StudySettings("ppo", "sb3", "s", "l", ("CartPole-v1",), 1000, {}, "zoo", "d")
    >>> found = study_result(StudyRecord(settings, 100, "2026-01-01T00:00:00Z"))
    >>> found.incumbent, found.verdict, found.cost.runs
    (None, None, 0)
    """
    from openrlb_analysis.intervals import interval_method
    from openrlb_analysis.power import checked_margin

    if margin is not None:
        checked_margin(margin)
    method, scores, settings = interval_method("calibrated", 0.95, resamples, 0), StudyScores(record), record.settings
    chosen = None if record.incumbent is None else _chosen(scores, record.trials[record.incumbent])
    test, baselines, finished = None, [], is_tested(record)
    if chosen is not None:
        test = _tested(scores, INCUMBENT, record.trials[chosen.trial].configuration, method, finished)
        baselines = [_tested(scores, one.name, one.configuration, method, finished) for one in settings.baselines]
    same = _same_runs(record)
    counts = [len(env.scores) for one in (test, *baselines) if one is not None for env in one.per_env]
    result = StudyResult(
        study=record.name,
        study_id=record.id,
        algo=settings.algo,
        impl=settings.impl,
        envs=settings.envs,
        steps=settings.steps,
        objective=settings.objective,
        kind=settings.kind,
        normalization=settings.normalization,
        method=settings.method,
        space=settings.space_name,
        budget=record.budget,
        spent=record.spent,
        incumbent=chosen,
        best_so_far=_best(scores),
        test=test,
        baselines=tuple(baselines),
        incumbent_is=same,
        difference=_difference(scores, test, baselines, method, margin, same) if finished else None,
        gap=_gap(scores, chosen, test, method) if finished else None,
        seeds={role: tuple(sorted({row.seed for row in record.reservations if row.role == role})) for role in _ROLES},
        test_peeks=record.test_peeks,
        counts=_counts(record),
        cost=_cost(record),
        interval=_noted(method, counts),
        finished=finished,
        notes=(),
    )
    return replace(result, notes=notes_of(result, record, scores))


def _chosen(scores: StudyScores, trial: Trial) -> Chosen:
    """A trial with its scores."""
    tuned, confirmed = (scores.whole_mean(trial.configuration, role) for role in ("tuning", "confirm"))
    return Chosen(trial.number, trial.origin, flattened(trial.hyperparameters), trial.hyperparameters, tuned, confirmed)


def _best(scores: StudyScores) -> Chosen | None:
    """The trial with the best tuning score of all that have every tuning seed; the first of equal ones."""
    found = ranking(scores.record)
    return _chosen(scores, found[0]) if found else None


def is_tested(record: StudyRecord) -> bool:
    """Whether the test phase of a study is over: every run that it declares has its outcome.

    Args:
        record: The study.
    """
    settled = sum(row.role == "test" and row.state in SETTLED for row in record.reservations)
    return record.incumbent is not None and settled >= record.settings.test_runs


def _same_runs(record: StudyRecord) -> str | None:
    """The baseline whose test runs are the incumbent's: both ask for the same, so that they were trained once."""
    if record.incumbent is None or not is_tested(record):
        return None
    runs: dict[str, set[str]] = {}
    for row in record.reservations:
        if row.role == "test":
            runs.setdefault(row.configuration, set()).add(row.run)
    own = runs.get(record.trials[record.incumbent].configuration)
    return next((one.name for one in record.settings.baselines if runs.get(one.configuration) == own), None)


def _tested(scores: StudyScores, name: str, configuration: str, method: IntervalMethod, finished: bool) -> HeldOut:
    """A configuration on the test seeds; how far it is, where the test phase is not over."""
    from openrlb_hpo.result_intervals import equal_runs, mean_interval

    settings, cells = scores.record.settings, scores.cells(configuration, "test")
    able = finished and all(cell.scores for cell in cells)
    tasks = scores.tasks(cells) if able else []
    ends = mean_interval(tasks, scores.ranges(), method, scores.bounds()) if able else None
    settled = sum(row.state in SETTLED for row in scores.record.rows(configuration, "test"))
    declared = settings.test_seeds * len(settings.envs)
    missing = [Missing(row.run, row.env, row.seed, row.state, row.reason) for cell in cells for row in cell.missing]
    return HeldOut(
        name=name,
        score=mean_of_tasks(tasks) if able else None,
        low=ends[0] if ends else None,
        high=ends[1] if ends else None,
        runs=sum(len(cell.scores) for cell in cells),
        declared=declared,
        diverged=sum(cell.diverged for cell in cells) if finished else 0,
        missing=tuple(missing),
        unfinished=max(declared - settled, 0),
        per_env=tuple(
            _env_scores(scores, cell, settings.test_seeds, method)
            if finished
            else EnvScores(cell.env, None, None, None, (), (), 0, settings.test_seeds)
            for cell in cells
        ),
        ceiling=able and ends is not None and equal_runs(tasks),
    )


def _env_scores(scores: StudyScores, cell: Cell, declared: int, method: IntervalMethod) -> EnvScores:
    """One environment's runs in its own unit."""
    import numpy as np

    from openrlb_analysis.normalize import known_bounds
    from openrlb_hpo.result_intervals import mean_interval

    values = np.array(cell.scores, dtype=np.float64)
    bounds = known_bounds(cell.env)
    ends = mean_interval([values], [scores.extremes(cell.env)], method, bounds) if cell.scores else None
    score = mean_of_tasks([values]) if cell.scores else None
    low, high = ends or (None, None)
    return EnvScores(cell.env, score, low, high, cell.scores, cell.seeds, cell.diverged, declared)


def _difference(
    scores: StudyScores,
    test: HeldOut | None,
    baselines: Sequence[HeldOut],
    method: IntervalMethod,
    margin: float | None,
    same: str | None,
) -> Difference | None:
    """The incumbent beside the stronger baseline; None where either has no score, and where that baseline is the incumbent."""
    from openrlb_analysis.comparison import verdict
    from openrlb_hpo.result_intervals import mean_difference_interval

    scored = [(one.score, one) for one in baselines if one.score is not None]
    if test is None or test.score is None or not scored or scores.record.incumbent is None:
        return None
    best, strongest = max(scored, key=lambda pair: (pair[0], pair[1].name == same))
    if strongest.name == same:
        return None
    configuration = next(one.configuration for one in scores.record.settings.baselines if one.name == strongest.name)
    own = scores.record.trials[scores.record.incumbent].configuration
    first, second = (scores.tasks(scores.cells(which, "test")) for which in (own, configuration))
    ends = mean_difference_interval(first, second, scores.ranges(), method, scores.bounds())
    word = _WORDS[verdict(*ends, margin)] if ends else "no evidence"
    low, high = ends or (None, None)
    return Difference(strongest.name, test.score - best, low, high, method.level, margin, word)


def _gap(scores: StudyScores, chosen: Chosen | None, test: HeldOut | None, method: IntervalMethod) -> Gap | None:
    """The tuning score less the test score, with an interval over both sets of seeds."""
    from openrlb_hpo.result_intervals import mean_difference_interval

    if chosen is None or chosen.tuning_score is None or test is None or test.score is None:
        return None
    configuration = scores.record.trials[chosen.trial].configuration
    tuned, tested = (scores.tasks(scores.cells(configuration, role)) for role in ("tuning", "test"))
    low, high = mean_difference_interval(tuned, tested, scores.ranges(), method, scores.bounds()) or (None, None)
    return Gap(chosen.tuning_score - test.score, low, high)


def _counts(record: StudyRecord) -> Counts:
    """How trials and runs ended."""
    trials = Counter(trial.state for trial in record.trials)
    runs = Counter(row.state for row in record.reservations)
    ended = trials["complete"], trials["pruned"], trials["failed"], trials["running"]
    return Counts(*ended, runs_diverged=runs["diverged"], runs_lost=runs["lost"], runs_failed=runs["failed"])


def _cost(record: StudyRecord) -> Cost:
    """What the study took so far."""
    roles = Counter(row.role for row in record.reservations)
    tried = {row.configuration for row in record.reservations if row.role == "tuning"}
    return Cost(
        runs=len(record.reservations),
        tuning_runs=roles["tuning"],
        confirm_runs=roles["confirm"],
        test_runs=roles["test"],
        steps=sum(row.steps for row in record.reservations),
        process_hours=sum(row.seconds for row in record.reservations) / 3600.0,
        threads=record.settings.threads,
        configurations=len(tried),
        full_configurations=roles["tuning"] / record.settings.full_trial,
    )


def _noted(method: IntervalMethod, counts: Sequence[int]) -> IntervalMethod:
    """The method with what a reader must know of it."""
    from openrlb_analysis.intervals import interval_note

    return replace(method, note=interval_note(method.method, counts))
