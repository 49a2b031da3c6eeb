"""Builds studies for tests: trials with given scores, an incumbent, baselines and their test runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from openrlb_hpo.records import Baseline, Reservation, ReservationState, StudyRecord, StudyRole, StudySettings, Trial, TrialState
from openrlb_hpo.seeds import seed_of

Outcome = float | ReservationState
"""A score, or what became of a run that has none."""
Outcomes = Sequence[Outcome] | Mapping[str, Sequence[Outcome]]
"""By seed, of one environment; or for each environment."""


def settings(**changed: Any) -> StudySettings:
    """Settings of a study of CartPole with ten test seeds and the library's defaults as its baseline."""
    plain: dict[str, Any] = {
        "algo": "ppo",
        "impl": "sb3",
        "runner_source": "source",
        "lock": "lock",
        "envs": ("CartPole-v1",),
        "steps": 50_000,
        "space": {},
        "space_name": "zoo",
        "space_digest": "digest",
        "baselines": (Baseline("default", {}, "the defaults of sb3's library"),),
    }
    return StudySettings(**{**plain, **changed})


class StudyBuilder:
    """Collects a study run by run, in the order in which a planner would reserve them."""

    def __init__(self, study: StudySettings | None = None, budget: int = 100, **changed: Any) -> None:
        self.settings = study or settings(**changed)
        self.budget = budget
        self.trials: list[Trial] = []
        self.rows: list[Reservation] = []
        self.incumbent: int | None = None
        self.peeks = 0

    def trial(
        self,
        tuning: Outcomes,
        confirm: Outcomes = (),
        *,
        state: TrialState | None = None,
        params: Mapping[str, Any] | None = None,
        origin: str = "sampled",
    ) -> StudyBuilder:
        """Adds a trial; without ``state`` it is complete if it has all tuning seeds, else pruned."""
        number = len(self.trials)
        place = {"learning_rate": 1e-3 * (number + 1)} if params is None else params
        trial = Trial(number, place, place, origin)
        least = min(len(scores) for scores in self._by_env(tuning).values())
        ended: TrialState = "complete" if least >= self.settings.tuning_seeds else "pruned"
        self.trials.append(replace(trial, state=state or ended))
        self._runs(trial.configuration, "tuning", tuning)
        self._runs(trial.configuration, "confirm", confirm)
        return self

    def test(self, incumbent: int, scores: Outcomes, *, peeks: int = 1, **baselines: Outcomes) -> StudyBuilder:
        """Freezes the incumbent and adds its test runs and those of the baselines, by name."""
        self.incumbent, self.peeks = incumbent, peeks
        self._runs(self.trials[incumbent].configuration, "test", scores)
        for one in self.settings.baselines:
            self._runs(one.configuration, "test", baselines.get(one.name, ()))
        return self

    def record(self) -> StudyRecord:
        """The study."""
        frozen = None if self.incumbent is None else "2026-01-02T00:00:00Z"
        many = self.settings, self.budget, "2026-01-01T00:00:00Z", tuple(self.trials), tuple(self.rows)
        return StudyRecord(*many, self.incumbent, frozen, self.peeks)

    def _by_env(self, outcomes: Outcomes) -> dict[str, list[Outcome]]:
        if isinstance(outcomes, Mapping):
            return {env: list(outcomes.get(env, ())) for env in self.settings.envs}
        return {env: list(outcomes) for env in self.settings.envs}

    def _runs(self, configuration: str, role: StudyRole, outcomes: Outcomes) -> None:
        given = self._by_env(outcomes)
        for index in range(max((len(scores) for scores in given.values()), default=0)):
            for env, scores in given.items():
                if index < len(scores):
                    self._run(configuration, role, env, index, scores[index])

    def _run(self, configuration: str, role: StudyRole, env: str, index: int, outcome: Outcome) -> None:
        number = len(self.rows) + 1
        state: ReservationState = outcome if isinstance(outcome, str) else "finished"
        self.rows.append(
            Reservation(
                number=number,
                configuration=configuration,
                role=role,
                env=env,
                seed_index=index,
                seed=seed_of(role, index, self.settings.test_block if role == "test" else 0),
                run=f"run{number}",
                charge=0 if role == "test" else 1,
                state=state,
                score=None if isinstance(outcome, str) else float(outcome),
                attempts=1,
                worker="tester",
                steps=self.settings.steps if state == "finished" else 0,
                seconds=36.0,
                reason="its machine went away" if state == "lost" else "",
            )
        )
