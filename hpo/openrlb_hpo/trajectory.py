"""The best tuning score so far against the budget spent: how a search went, never how good its result is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from openrlb_hpo.racing import ranking, value_at, worst_scores
from openrlb_hpo.records import StudyRecord


@dataclass(frozen=True, slots=True)
class Trajectory:
    """Where the best tuning score rose.

    Attributes:
        label: The method, with words that keep a reader from taking it for a result.
        spent: Budget runs reserved up to the last tuning run of each trial that was better than all before it.
        score: The trial's mean over tuning seeds: optimistic, as it is the best of many.
        trial: The trial's number.
        end: Budget runs that the study has spent on tuning; the last score holds up to there.
    """

    label: str
    spent: tuple[int, ...]
    score: tuple[float, ...]
    trial: tuple[int, ...]
    end: int


def trajectory(record: StudyRecord) -> Trajectory:
    """The best tuning score so far against the budget spent.

    Only trials with every tuning seed count, as only they can become the incumbent. A diverged run counts as the worst
    finite tuning score of the whole record, not of the moment.

    Args:
        record: The study.

    >>> from openrlb_hpo.records import StudySettings
    >>> settings = StudySettings("ppo", "sb3", "s", "l", ("CartPole-v1",), 1000, {}, "zoo", "d", method="random")
    >>> trajectory(StudyRecord(settings, 100, "2026-01-01T00:00:00Z")).label
    'random (best tuning score so far)'
    """
    spent_at: dict[str, int] = {}
    spent = 0
    for row in record.reservations:
        if row.role == "tuning":
            spent += row.charge
            spent_at[row.configuration] = spent
    worst, seeds = worst_scores(record), record.settings.tuning_seeds
    trials = sorted(ranking(record), key=lambda trial: spent_at[trial.configuration])
    rises: list[tuple[int, float, int]] = []
    for trial in trials:
        value = value_at(record, trial, seeds, worst)
        if math.isfinite(value) and (not rises or value > rises[-1][1]):
            rises.append((spent_at[trial.configuration], value, trial.number))
    columns = zip(*rises, strict=True) if rises else ((), (), ())
    at, score, number = (tuple(column) for column in columns)
    return Trajectory(f"{record.settings.method} (best tuning score so far)", at, score, number, spent)
