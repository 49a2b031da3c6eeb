"""What a trial is worth, and whether it goes on: pure functions of a study's record."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from openrlb_hpo.records import Reservation, StudyRecord, StudyRole, StudySettings, Trial

OVER = ("finished", "diverged")
"""States of a run that count: a run that diverged is an outcome, one that was lost is none."""


def worst_scores(record: StudyRecord) -> dict[str, float]:
    """The worst finite tuning score so far, by environment: what a diverged run counts as.

    A constant would make a diverged run better than a bad one wherever scores lie below it.
    """
    worst: dict[str, float] = {}
    for row in record.reservations:
        if row.role == "tuning" and row.score is not None and math.isfinite(row.score):
            worst[row.env] = min(row.score, worst.get(row.env, math.inf))
    return worst


def scaled(score: float, env: str, settings: StudySettings) -> float:
    """A score on the scale on which a study's environments are averaged; as it is where the study has one environment."""
    low, high = settings.scale.get(env, (0.0, 1.0))
    return (score - low) / (high - low)


def mean_score(rows: Iterable[Reservation], settings: StudySettings, worst: dict[str, float]) -> float:
    """The mean scaled score of runs that are over, environments counting equally; -inf where a diverged run has no worst.

    Args:
        rows: Runs, as many in each environment.
        settings: The study's.
        worst: What a diverged run counts as, by environment.
    """
    values = []
    for row in rows:
        score = worst.get(row.env, -math.inf) if row.state == "diverged" or row.score is None else row.score
        values.append(scaled(score, row.env, settings))
    return math.fsum(values) / len(values) if values and all(map(math.isfinite, values)) else -math.inf


def rungs_done(rows: Sequence[Reservation], settings: StudySettings) -> int:
    """How many seeds of a role are done in every environment, counted from the first."""
    done = 0
    while len([row for row in rows if row.seed_index == done and row.state in OVER]) == len(settings.envs):
        done += 1
    return done


def value_at(record: StudyRecord, trial: Trial, seeds: int, worst: dict[str, float], role: StudyRole = "tuning") -> float:
    """A trial's mean score over its first seeds of a role."""
    rows = [row for row in record.rows(trial.configuration, role) if row.seed_index < seeds]
    return mean_score(rows, record.settings, worst)


def survives(value: float, others: Sequence[float], eta: int) -> bool:
    """Whether a trial goes on to the next seed: it is among the best 1/eta of those that reached this rung, itself included.

    The asynchronous rule of successive halving (arXiv 1810.05934) with seeds in the place of training steps: nobody waits
    for a rung to fill, and the first trial always goes on.

    >>> survives(5.0, [], 2), survives(5.0, [7.0], 2), survives(5.0, [7.0, 3.0], 2), survives(5.0, [7.0, 6.0, 5.5], 2)
    (True, False, True, False)
    >>> survives(5.0, [9.0, 8.0], 1), survives(5.0, [5.0], 2)
    (True, True)
    """
    better = sum(other > value for other in others)
    return eta <= 1 or better < max(1, math.ceil((len(others) + 1) / eta))


def goes_on(record: StudyRecord, trial: Trial, rung: int, worst: dict[str, float]) -> bool:
    """Whether a trial that has done ``rung`` seeds is trained on the next one; what was declared first always is."""
    if trial.number < len(record.settings.first) or rung == 0:
        return True
    others = []
    for other in record.trials:
        if other.number != trial.number and rungs_done(record.rows(other.configuration, "tuning"), record.settings) >= rung:
            others.append(value_at(record, other, rung, worst))
    return survives(value_at(record, trial, rung, worst), others, record.settings.eta)


def ranking(record: StudyRecord, role: StudyRole = "tuning") -> list[Trial]:
    """The trials with every seed of a role, the best mean first; of equal ones the earlier."""
    worst, seeds = worst_scores(record), record.settings.tuning_seeds
    whole = [
        trial
        for trial in record.trials
        if trial.state == "complete" and rungs_done(record.rows(trial.configuration, role), record.settings) >= seeds
    ]
    return sorted(whole, key=lambda trial: (-value_at(record, trial, seeds, worst, role), trial.number))
