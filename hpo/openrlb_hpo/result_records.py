"""What a study answers with: frozen records whose JSON form scripts rely on (keys may be added, never renamed)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from openrlb_analysis.result import IntervalMethod

Verdict = Literal["better", "worse", "equivalent", "no evidence", "is a baseline"]
"""The incumbent beside the stronger baseline; ``no evidence`` is what :mod:`openrlb_analysis.comparison` calls undecided, and
``is a baseline`` says that the two are the same runs."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A test run that does not count, because its machine or its runner failed it.

    Attributes:
        run: The run's id.
        env: Its environment.
        seed: Its seed.
        state: ``lost``, ``failed``, or ``diverged`` where the study has no finite score to count it at.
        reason: Why.
    """

    run: str
    env: str
    seed: int
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class EnvScores:
    """One configuration's runs of one role in one environment, in the environment's own unit.

    Attributes:
        env: The environment.
        score: The mean over the runs that count; None where none does.
        low: The interval's lower end; None where there is none.
        high: The upper end.
        scores: The runs that count, diverged ones at the worst finite score.
        seeds: Their seeds, in the same order.
        diverged: How many of them diverged.
        declared: How many the study declares.
    """

    env: str
    score: float | None
    low: float | None
    high: float | None
    scores: tuple[float, ...]
    seeds: tuple[int, ...]
    diverged: int
    declared: int


@dataclass(frozen=True, slots=True)
class HeldOut:
    """One configuration on the test seeds. There are no scores before the whole test phase is over.

    Attributes:
        name: ``incumbent``, or the baseline's name.
        score: The mean over test seeds; of several environments the mean of their normalised means.
        low: The interval's lower end; None where there is none (too few runs, or a spread that is not known).
        high: The upper end.
        runs: Runs that count; before the end of the test phase, runs that have ended.
        declared: Runs that the study declares.
        diverged: Runs among those that count which diverged.
        missing: Runs that do not count, and why.
        unfinished: Runs that have no outcome yet.
        per_env: The same by environment, in each environment's own unit.
        ceiling: All runs are equal, so that the interval shows what an unseen run could do
            (:func:`openrlb_hpo.result_intervals.ceiling_interval`).
    """

    name: str
    score: float | None
    low: float | None
    high: float | None
    runs: int
    declared: int
    diverged: int
    missing: tuple[Missing, ...]
    unfinished: int
    per_env: tuple[EnvScores, ...]
    ceiling: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """The incumbent's test score less that of the stronger baseline; the runs are independent.

    Attributes:
        baseline: The stronger baseline's name.
        value: The difference.
        low: The interval's lower end; None where there is none.
        high: The upper end.
        level: Its nominal coverage.
        margin: The smallest difference that matters, or None.
        verdict: By :func:`openrlb_analysis.comparison.verdict`.
    """

    baseline: str
    value: float
    low: float | None
    high: float | None
    level: float
    margin: float | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Gap:
    """The tuning score less the test score: how optimistic tuning was.

    Attributes:
        value: The gap.
        low: The lower end of its interval, which is over both sets of seeds and ignores the selection; None without one.
        high: The upper end.
    """

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Chosen:
    """A trial with all its tuning seeds.

    Attributes:
        trial: Its number.
        origin: ``sampled``, or where it comes from.
        params: What it asks of the library, under dotted names.
        hyperparameters: The same, nested.
        tuning_score: The mean over tuning seeds: optimistic, as the trial was chosen for it. None where a run has no score.
        confirm_score: The mean over confirm seeds; None without a confirmation.
    """

    trial: int
    origin: str
    params: Mapping[str, Any]
    hyperparameters: Mapping[str, Any]
    tuning_score: float | None
    confirm_score: float | None


@dataclass(frozen=True, slots=True)
class Counts:
    """How trials and runs ended.

    Attributes:
        complete: Trials with all tuning seeds.
        pruned: Trials that the race over seeds ended.
        failed: Trials whose runs failed.
        running: Trials that go on.
        runs_diverged: Runs that diverged, in every role.
        runs_lost: Runs that their machines failed too often.
        runs_failed: Runs that the runner refused, or that trained something else.
    """

    complete: int
    pruned: int
    failed: int
    running: int
    runs_diverged: int
    runs_lost: int
    runs_failed: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What a study took.

    Attributes:
        runs: Runs of every role.
        tuning_runs: Runs on tuning seeds.
        confirm_runs: Runs on confirm seeds.
        test_runs: Runs on test seeds, which the budget does not hold.
        steps: Environment steps of all runs.
        process_hours: How long the runs' processes lasted, added up over all of them and all attempts, in hours: no CPU time.
        threads: Threads of each process.
        configurations: Configurations tried, pruned ones too: what a paper that does not count seeds calls its budget.
        full_configurations: Tuning runs over the runs of a whole trial.
    """

    runs: int
    tuning_runs: int
    confirm_runs: int
    test_runs: int
    steps: int
    process_hours: float
    threads: int
    configurations: int
    full_configurations: float


@dataclass(frozen=True, slots=True)
class StudyResult:
    """The answer of a study; its JSON shape is ``tune --json`` of DESIGN section 8.

    Attributes:
        study: The study's name.
        study_id: Its id.
        algo: The algorithm.
        impl: The runner.
        envs: The environments.
        steps: Training steps of a run.
        objective: The score rule.
        kind: The kind of return that is scored.
        normalization: The table by which scores are comparable, or ``none``.
        method: How trials were proposed.
        space: The search space's name.
        budget: The tuning runs that it may reserve.
        spent: How many of them it did.
        incumbent: The frozen incumbent; None before the test phase.
        best_so_far: The trial with the best tuning score of all that have every tuning seed; None before there is one.
        test: The incumbent on the test seeds; None before the test phase.
        baselines: Every declared baseline on the test seeds, in the order of their declaration; empty before the test phase.
        incumbent_is: The baseline whose test runs are the incumbent's own, as both are one configuration; else None.
        difference: To the stronger baseline; None without one, where it is the incumbent, or before the test phase ended.
        gap: None before the test phase ended.
        seeds: The seeds that were applied, by role.
        test_peeks: How many studies have looked at these test seeds.
        counts: How trials and runs ended.
        cost: What it took.
        interval: How intervals were computed.
        finished: Whether every test run has its outcome.
        notes: What a reader must know, in sentences.
    """

    study: str
    study_id: str
    algo: str
    impl: str
    envs: tuple[str, ...]
    steps: int
    objective: str
    kind: str
    normalization: str
    method: str
    space: str
    budget: int
    spent: int
    incumbent: Chosen | None
    best_so_far: Chosen | None
    test: HeldOut | None
    baselines: tuple[HeldOut, ...]
    incumbent_is: str | None
    difference: Difference | None
    gap: Gap | None
    seeds: Mapping[str, tuple[int, ...]]
    test_peeks: int
    counts: Counts
    cost: Cost
    interval: IntervalMethod
    finished: bool
    notes: tuple[str, ...]

    @property
    def verdict(self) -> Verdict | None:
        """The verdict; None where there is nothing to compare with, or the test phase did not end."""
        if self.difference is not None:
            return self.difference.verdict
        return "is a baseline" if self.finished and self.incumbent_is is not None else None

    def to_json(self) -> dict[str, Any]:
        """The result as plain JSON values; what is not known is None.

        ``gap`` and ``difference`` are objects with ``value``, ``low`` and ``high``; entries of ``test`` have ``score``,
        ``low``, ``high``, ``runs``, ``declared``, ``diverged``, ``missing`` and ``per_env``.
        """
        table = asdict(self)
        table["test"] = {
            "incumbent": table.pop("test"),
            "baselines": {baseline["name"]: baseline for baseline in table.pop("baselines")},
        }
        plain: dict[str, Any] = _plain({**table, "verdict": self.verdict})
        return plain


def _plain(value: object) -> Any:  # noqa: ANN401
    """Tuples as lists, whatever they lie in."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value
