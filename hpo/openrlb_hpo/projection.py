"""A study as Optuna's own tables hold it, so that optuna-dashboard and Optuna itself show it as it is.

A copy: the ledger decides. It is brought up to date after each step, by one process at a time, and where that process was
killed, by the next one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from openrlb_hpo.racing import OVER, rungs_done, value_at, worst_scores
from openrlb_hpo.records import StudyRecord, Trial

if TYPE_CHECKING:
    import optuna

    from openrlb_hpo.space import Space


class Projection:
    """Writes studies into Optuna's tables of the same database.

    Args:
        url: The database.
    """

    def __init__(self, url: str) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._storage = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}} if _is_file(url) else {})

    def update(self, record: StudyRecord, space: Space) -> None:
        """Brings Optuna's copy of a study up to date."""
        import optuna

        settings = record.settings
        study = optuna.create_study(
            storage=self._storage, study_name=settings.name, direction="maximize", load_if_exists=True, sampler=_no_sampler()
        )
        if "openrlb" not in study.user_attrs:
            study.set_user_attr("openrlb", {"study": record.id, "algo": settings.algo, "envs": list(settings.envs)})
        there = study.get_trials(deepcopy=False)
        worst = worst_scores(record)
        for trial in record.trials:
            found = there[trial.number] if trial.number < len(there) else None
            if found is not None and found.state.is_finished():
                continue
            if found is None:
                study.add_trial(_created(trial, space))
                found = study.get_trials(deepcopy=False)[trial.number]
            self._go_on(record, trial, found, worst)

    def _go_on(self, record: StudyRecord, trial: Trial, found: optuna.trial.FrozenTrial, worst: dict[str, float]) -> None:
        """Writes what has happened to a trial since."""
        import optuna

        state = optuna.trial.TrialState
        rows = [row for row in record.rows(trial.configuration, "tuning") if row.state in OVER]
        last = None
        for rung in range(1, rungs_done(rows, record.settings) + 1):
            last = value_at(record, trial, rung, worst)
            if rung not in found.intermediate_values and math.isfinite(last):
                self._storage.set_trial_intermediate_value(found._trial_id, rung, last)
        if trial.state == "running":
            return
        if trial.reason:
            self._storage.set_trial_user_attr(found._trial_id, "reason", trial.reason)
        ended = {"complete": state.COMPLETE, "pruned": state.PRUNED, "failed": state.FAIL}[trial.state]
        values = [last] if last is not None and math.isfinite(last) and trial.state != "failed" else None
        if values is None and trial.state == "complete":
            ended = state.FAIL  # every run diverged, and there is no finite score yet that it could count as
        self._storage.set_trial_state_values(found._trial_id, ended, values)


def _created(trial: Trial, space: Space) -> Any:  # noqa: ANN401 - Optuna's FrozenTrial
    """A trial that runs, for Optuna."""
    import optuna

    from openrlb_hpo.distributions import distributions, internal

    ranges = distributions(space)
    params = internal(space, trial.params)
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.RUNNING,
        params=params,
        distributions={name: ranges[name] for name in params},
        user_attrs={"origin": trial.origin, "hyperparameters": dict(trial.hyperparameters)},
    )


def _no_sampler() -> Any:  # noqa: ANN401 - Optuna's BaseSampler
    """A sampler, since a study has one; nothing is sampled with it."""
    import optuna

    return optuna.samplers.RandomSampler(seed=0)


def _is_file(url: str) -> bool:
    """Whether the database is SQLite's, which takes a timeout."""
    return url.startswith("sqlite")
