"""A study as Optuna's own tables hold it, so that optuna-dashboard and Optuna itself show it as it is.

A copy: the ledger decides. It is brought up to date after each step by whichever worker finds it free, and where that worker
was killed, by the next one. Nothing that is wrong with the copy ends a study.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
        self._url = url
        self._storage: optuna.storages.RDBStorage | None = None
        self.problem = ""

    def update(self, record: StudyRecord, space: Space, *, wait: bool = False) -> None:
        """Brings Optuna's copy of a study up to date; what goes wrong is kept in ``problem``.

        Args:
            record: The study.
            space: Its space.
            wait: Wait for another worker that is at it; else that one, or the next step, does it.
        """
        import optuna
        import sqlalchemy as sa

        try:
            with _alone(self._url, wait) as mine:
                if mine:
                    self._write(record, space)
                    self.problem = ""
        except (optuna.exceptions.OptunaError, sa.exc.SQLAlchemyError, RuntimeError, ValueError, KeyError) as error:
            self.problem = f"Optuna's copy of the study is behind: {type(error).__name__}: {' '.join(str(error).split())[:200]}"

    def close(self) -> None:
        """Lets go of the database; a later update opens it again."""
        if self._storage is not None:
            self._storage.remove_session()
            self._storage.engine.dispose()
            self._storage = None

    def _write(self, record: StudyRecord, space: Space) -> None:
        """Writes what is new."""
        import optuna

        if self._storage is None:
            optuna.logging.set_verbosity(optuna.logging.WARNING)
            arguments = {"connect_args": {"timeout": 60}} if self._url.startswith("sqlite") else {}
            self._storage = optuna.storages.RDBStorage(self._url, engine_kwargs=arguments)
        settings = record.settings
        sampler = optuna.samplers.RandomSampler(seed=0)  # a study has one; nothing is sampled with it
        name = {"study_name": record.name, "direction": "maximize", "load_if_exists": True}
        study = optuna.create_study(storage=self._storage, sampler=sampler, **name)  # type: ignore[arg-type]
        if "openrlb" not in study.user_attrs:
            study.set_user_attr("openrlb", {"study": record.id, "algo": settings.algo, "envs": list(settings.envs)})
        there = study.get_trials(deepcopy=False)
        worst = worst_scores(record)
        for trial in record.trials:
            found = there[trial.number] if trial.number < len(there) else None
            if found is not None and found.state.is_finished():
                continue
            if found is None:
                study.add_trial(_created(trial, space, settings.fixed))
                found = study.get_trials(deepcopy=False)[trial.number]
            self._go_on(record, trial, found, worst, self._storage)

    def _go_on(
        self,
        record: StudyRecord,
        trial: Trial,
        found: optuna.trial.FrozenTrial,
        worst: dict[str, float],
        storage: optuna.storages.RDBStorage,
    ) -> None:
        """Writes what has happened to a trial since."""
        import optuna

        state = optuna.trial.TrialState
        rows = [row for row in record.rows(trial.configuration, "tuning") if row.state in OVER]
        last = None
        for rung in range(1, rungs_done(rows, record.settings) + 1):
            last = value_at(record, trial, rung, worst)
            if rung not in found.intermediate_values and math.isfinite(last):
                storage.set_trial_intermediate_value(found._trial_id, rung, last)
        if trial.state == "running":
            return
        if trial.reason:
            storage.set_trial_user_attr(found._trial_id, "reason", trial.reason)
        ended = {"complete": state.COMPLETE, "pruned": state.PRUNED, "failed": state.FAIL}[trial.state]
        values = [last] if last is not None and math.isfinite(last) and trial.state != "failed" else None
        if values is None and trial.state == "complete":
            ended = state.FAIL  # every run diverged, and there is no finite score yet that it could count as
        storage.set_trial_state_values(found._trial_id, ended, values)


def _created(trial: Trial, space: Space, fixed: Mapping[str, Any]) -> Any:  # noqa: ANN401 - Optuna's FrozenTrial
    """A trial that runs, for Optuna."""
    import optuna

    from openrlb_hpo.distributions import distributions, internal

    ranges = distributions(space)
    params = internal(space, trial.params, fixed)
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.RUNNING,
        params=params,
        distributions={name: ranges[name] for name in params},
        user_attrs={"origin": trial.origin, "hyperparameters": dict(trial.hyperparameters)},
    )


@contextmanager
def _alone(url: str, wait: bool) -> Iterator[bool]:
    """Whether this process alone writes to the copy meanwhile; two at once would create it, or a trial, twice."""
    import sqlalchemy as sa

    address = sa.make_url(url)
    file = address.database if address.get_backend_name() == "sqlite" else None
    if file and file != ":memory:":
        from filelock import FileLock, Timeout

        lock = FileLock(f"{file}.lock", timeout=60 if wait else 0)
        try:
            lock.acquire()
        except (Timeout, OSError):
            yield False
            return
        try:
            yield True
        finally:
            lock.release()
        return
    if address.get_backend_name() != "postgresql":
        yield True
        return
    engine = sa.create_engine(address, poolclass=sa.NullPool)
    with engine.connect() as connection:
        words = "pg_advisory_lock" if wait else "pg_try_advisory_lock"
        mine = connection.execute(sa.text(f"SELECT {words}(7249014)")).scalar() is not False
        yield mine  # the lock goes with the connection
