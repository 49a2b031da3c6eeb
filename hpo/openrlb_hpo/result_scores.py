"""A study's scores as its answer reads them: diverged runs at the worst finite score, several environments on one scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from openrlb.errors import UsageError
from openrlb_hpo.racing import OVER, scaled, worst_scores
from openrlb_hpo.records import Reservation, StudyRecord, StudyRole, StudySettings

if TYPE_CHECKING:
    from openrlb.types import Values

Ends = tuple[float, float]
SETTLED = (*OVER, "failed", "lost")
"""The states of a run that has its outcome."""


@dataclass(frozen=True, slots=True)
class Cell:
    """The runs of one configuration and role in one environment.

    Attributes:
        env: The environment.
        scores: The runs that count, by seed, in the environment's own unit; diverged ones at the worst finite score.
        seeds: Their seeds.
        diverged: How many of them diverged.
        missing: Runs that have an outcome and no score.
        unfinished: Runs that have no outcome yet.
    """

    env: str
    scores: tuple[float, ...]
    seeds: tuple[int, ...]
    diverged: int
    missing: tuple[Reservation, ...]
    unfinished: int


@dataclass(frozen=True)
class StudyScores:
    """Reads scores out of a study's record.

    Attributes:
        record: The record.
    """

    record: StudyRecord
    _seen: dict[str, list[float]] = field(init=False, repr=False, compare=False)
    _worst_tuned: dict[str, float] = field(init=False, repr=False, compare=False)
    _rows: dict[tuple[str, StudyRole], list[Reservation]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_scale(self.record.settings)
        seen: dict[str, list[float]] = {env: [] for env in self.record.settings.envs}
        rows: dict[tuple[str, StudyRole], list[Reservation]] = {}
        for row in self.record.reservations:
            rows.setdefault((row.configuration, row.role), []).append(row)
            if row.state == "finished" and row.score is not None and math.isfinite(row.score):
                seen[row.env].append(row.score)
        object.__setattr__(self, "_seen", seen)
        object.__setattr__(self, "_worst_tuned", worst_scores(self.record))
        object.__setattr__(self, "_rows", rows)

    def cells(self, configuration: str, role: StudyRole) -> list[Cell]:
        """The runs of one configuration and role, one cell for each environment of the study."""
        rows = sorted(self._rows.get((configuration, role), []), key=lambda row: row.seed_index)
        return [self._cell(env, role, [row for row in rows if row.env == env]) for env in self.record.settings.envs]

    def extremes(self, env: str) -> Ends | None:
        """The worst and the best finite score of an environment in the whole study; None where it has none."""
        found = self._seen[env]
        return (min(found), max(found)) if found else None

    def scaled(self, env: str, score: float) -> float:
        """A score on the scale that environments share; the score itself where the study has one environment."""
        return scaled(score, env, self.record.settings)

    def tasks(self, cells: Sequence[Cell]) -> list[Values]:
        """Scores on the shared scale, one array for each environment, each of shape ``(n_e,)``."""
        import numpy as np

        return [np.array([self.scaled(cell.env, score) for score in cell.scores], dtype=np.float64) for cell in cells]

    def ranges(self) -> list[Ends | None]:
        """The extremes of every environment on the shared scale."""
        found = [(env, self.extremes(env)) for env in self.record.settings.envs]
        return [None if ends is None else (self.scaled(env, ends[0]), self.scaled(env, ends[1])) for env, ends in found]

    def bounds(self) -> Ends | None:
        """The worst and the best score that the environments allow, on the shared scale; None where that is not known.

        Environments whose bounds differ on that scale have none together.
        """
        from openrlb_analysis.normalize import known_bounds

        every: set[Ends | None] = set()
        for env in self.record.settings.envs:
            known = known_bounds(env)
            every.add(None if known is None else (self.scaled(env, known[0]), self.scaled(env, known[1])))
        return every.pop() if len(every) == 1 else None

    def whole_mean(self, configuration: str, role: StudyRole) -> float | None:
        """The mean over environments and seeds, None unless each declared tuning or confirm seed has a score.

        Args:
            configuration: ``trial:12``.
            role: ``tuning`` or ``confirm``, which take equally many seeds.
        """
        cells = self.cells(configuration, role)
        whole = all(len(cell.scores) == self.record.settings.tuning_seeds for cell in cells)
        return mean_of_tasks(self.tasks(cells)) if whole else None

    def _cell(self, env: str, role: StudyRole, rows: Sequence[Reservation]) -> Cell:
        """One environment's runs; a diverged one counts as it did for the planner, and on test seeds at the worst of all."""
        of_study = self.extremes(env)
        worst = self._worst_tuned.get(env) if role != "test" else of_study[0] if of_study else None
        counted: list[tuple[Reservation, float]] = []
        missing = []
        for row in rows:
            value = worst if row.state == "diverged" else row.score if row.state == "finished" else None
            if value is not None and math.isfinite(value):
                counted.append((row, value))
            elif row.state in SETTLED:
                missing.append(row)
        return Cell(
            env,
            tuple(value for _, value in counted),
            tuple(row.seed for row, _ in counted),
            sum(row.state == "diverged" for row, _ in counted),
            tuple(missing),
            sum(row.state == "open" for row in rows),
        )


def mean_of_tasks(tasks: Sequence[Values]) -> float:
    """The mean over environments of each environment's mean score."""
    from openrlb_analysis.aggregates import mean

    return mean(tasks)


def check_scale(settings: StudySettings) -> None:
    """Makes sure that scores of several environments can be put together.

    Raises:
        UsageError: An environment of several without a scale, or a scale of no length.

    >>> check_scale(StudySettings("ppo", "sb3", "s", "l", ("CartPole-v1",), 1000, {}, "zoo", "d"))
    """
    scale: Mapping[str, Ends] = settings.scale
    lacking = [env for env in settings.envs if env not in scale] if len(settings.envs) > 1 else []
    flat = [env for env, (zero, one) in scale.items() if not math.isfinite(one - zero) or zero == one]
    if lacking or flat:
        why = f"no scale for {', '.join(lacking)}" if lacking else f"the scale of {', '.join(flat)} has no length"
        raise UsageError("scores of several environments have no common scale", why, "name a --normalization that has them")
