"""What a study does next: one pure function of its record, so that any worker may take the next step at any time.

A study that was killed goes on where its record stands: trials are continued, never repeated, and there is nothing else that
could be left behind.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from openrlb_hpo.racing import OVER, goes_on, ranking, rungs_done, worst_scores
from openrlb_hpo.records import Reservation, StudyRecord, StudyRole, Trial, TrialState

MOST_FAILURES = 10
"""So many trials in a row that failed end a study: its space, or its runner, is broken."""


@dataclass(frozen=True, slots=True)
class Reserve:
    """Train one more run.

    Attributes:
        configuration: Which configuration.
        role: What for.
        env: In which environment.
        seed_index: With which seed of the role.
    """

    configuration: str
    role: StudyRole
    env: str
    seed_index: int


@dataclass(frozen=True, slots=True)
class Retake:
    """Train a run again whose worker is gone, or whose machine failed it."""

    row: Reservation


@dataclass(frozen=True, slots=True)
class Propose:
    """Begin the next trial."""

    number: int


@dataclass(frozen=True, slots=True)
class Finish:
    """Close a trial."""

    number: int
    state: TrialState
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Freeze:
    """Choose the incumbent; nothing is tuned from here on."""

    incumbent: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing before a run has ended."""


@dataclass(frozen=True, slots=True)
class Done:
    """The study is over.

    Attributes:
        problem: Why it ended without a result, else an empty text.
    """

    problem: str = ""


Step = Reserve | Retake | Propose | Finish | Freeze | Wait | Done


def next_step(record: StudyRecord, held: Collection[int] = (), left: Collection[int] = ()) -> Step:
    """The next step of a study.

    Args:
        record: The study.
        held: The numbers of open runs that a living worker trains.
        left: The numbers of trials whose first run is left to the worker that has just proposed them.
    """
    for row in record.reservations:
        if row.state == "open" and row.number not in held:
            return Retake(row)
    if record.frozen_at is not None:
        return _testing(record)
    return _tuning(record, left) or confirming(record)


def has_room(record: StudyRecord) -> bool:
    """Whether the budget has room for one more whole trial, with what running trials may still take and the confirmation.

    The confirmation needs runs for as many trials as can be whole by then: of one alone there is nothing to choose.
    """
    settings = record.settings
    kept = _confirmation(record, more=1)
    running = sum(trial.state == "running" for trial in record.trials)
    kept -= sum(len(record.of(trial.configuration, "confirm")) for trial in _certain(record, running + 1))
    return record.budget - record.spent - _promised(record) - settings.full_trial >= kept


def tuning_left(record: StudyRecord) -> int:
    """How many runs a study still trains before its test phase, open ones included.

    Where there is room for another trial that is at most all that is left of the budget; else it is what its trials still
    need, unless one of them is pruned and makes room.
    """
    rows = [row for row in record.reservations if row.role != "test"]
    is_open = sum(row.state == "open" for row in rows)
    if record.frozen_at is not None:
        return is_open
    if has_room(record):
        return is_open + record.budget - record.spent
    confirmed = sum(len(record.rows(trial.configuration, "confirm")) for trial in ranking(record)[: record.settings.confirm])
    return is_open + _promised(record) + max(0, _confirmation(record) - confirmed)


def _promised(record: StudyRecord) -> int:
    """How many further runs the running trials take if none of them is pruned."""
    running = [trial for trial in record.trials if trial.state == "running"]
    return sum(record.settings.full_trial - len(record.of(trial.configuration, "tuning")) for trial in running)


def _confirmation(record: StudyRecord, more: int = 0) -> int:
    """How many runs the whole confirmation takes if every running trial, and so many more, become whole."""
    settings = record.settings
    whole = more + sum(trial.state in ("running", "complete") for trial in record.trials)
    return min(settings.confirm, whole) * settings.full_trial if whole > 1 else 0


def _certain(record: StudyRecord, joining: int) -> list[Trial]:
    """The trials that will be confirmed even if so many more trials turn out to be better than all there are.

    One with a diverged run is never certain: what it counts as still falls when a worse score comes.
    """
    most = record.settings.confirm - joining
    if most <= 0:
        return []
    best = ranking(record)
    certain = best[:most] if len(best) > 1 else []  # of one alone there is nothing to choose
    return [trial for trial in certain if all(row.state == "finished" for row in record.rows(trial.configuration, "tuning"))]


def _tuning(record: StudyRecord, left: Collection[int]) -> Step | None:
    """The next step of a trial that runs, else a new trial; None where tuning is over.

    While its last trials run and there is no room for another one, what is certain to be confirmed is confirmed already: each
    running trial can push one other from the best at most, since one that is pruned makes room for one more.
    """
    waits = False
    for trial in record.trials:
        if trial.state == "running":
            step = _of_trial(record, trial, left)
            if not isinstance(step, Wait):
                return step
            waits = True
    failures = 0
    ended = [trial for trial in record.trials if trial.state != "running"]  # others may still run beside them
    for trial in reversed(ended):
        if trial.state != "failed":
            break
        failures += 1
    if failures >= MOST_FAILURES:
        return Wait() if waits else Done(f"{failures} trials in a row failed; the last: {ended[-1].reason}")
    if has_room(record):
        return Propose(len(record.trials))
    if not waits:
        return None
    running = sum(trial.state == "running" for trial in record.trials)
    return _missing_confirmation(record, _certain(record, running)) or Wait()


def _of_trial(record: StudyRecord, trial: Trial, left: Collection[int]) -> Step:
    """The next step of one trial."""
    settings = record.settings
    rows = record.of(trial.configuration, "tuning")
    if not rows and trial.number in left:
        return Wait()
    is_open = any(row.state == "open" for row in rows)
    if is_open and len(rows) == len(settings.envs) == 1:
        return Wait()  # the most frequent case by far, and each claim looks at every trial that runs
    broken = next((row for row in rows if row.state in ("failed", "lost")), None)
    if broken is not None:
        return Wait() if is_open else Finish(trial.number, "failed", f"{broken.env}, seed {broken.seed}: {broken.reason}")
    rung = rungs_done(rows, settings)
    if rung == settings.tuning_seeds:
        return Finish(trial.number, "complete")
    begun = {row.env for row in rows if row.seed_index == rung}
    if not begun and not goes_on(record, trial, rung, worst_scores(record)):
        return Finish(
            trial.number, "pruned", f"not among the best 1/{settings.eta} after {rung} of {settings.tuning_seeds} seeds"
        )
    missing = [env for env in settings.envs if env not in begun]
    return Reserve(trial.configuration, "tuning", missing[0], rung) if missing else Wait()


def confirming(record: StudyRecord) -> Step:
    """Trains the best trials on fresh seeds, then freezes the best of them; without a confirmation the best on the tuning seeds.

    Finished studies are held against it, too (:func:`openrlb_hpo.contract.verify`): another rule is for new studies alone.

    Args:
        record: A study whose tuning is over.
    """
    settings = record.settings
    best = ranking(record)
    if not best:
        return Done("no trial was trained on all its seeds, so that there is nothing to test")
    if settings.confirm == 0 or len(best) == 1:
        return Freeze(best[0].number)
    if (step := _missing_confirmation(record, best[: settings.confirm])) is not None:
        return step
    chosen = {trial.number for trial in best[: settings.confirm]}  # a larger budget may have brought better ones since
    confirmed = [trial for trial in ranking(record, "confirm") if trial.number in chosen]
    waits = any(row.state == "open" for trial in best[: settings.confirm] for row in record.rows(trial.configuration, "confirm"))
    return Wait() if waits else Freeze((confirmed or best)[0].number)


def _missing_confirmation(record: StudyRecord, trials: Iterable[Trial]) -> Reserve | None:
    """The first confirm run that trials lack; None where they lack none."""
    for trial in trials:
        begun = {(row.seed_index, row.env) for row in record.rows(trial.configuration, "confirm")}
        for index in range(record.settings.tuning_seeds):
            for env in record.settings.envs:
                if (index, env) not in begun:
                    return Reserve(trial.configuration, "confirm", env, index)
    return None


def _testing(record: StudyRecord) -> Step:
    """Trains the incumbent and the baselines on the test seeds, seed by seed."""
    begun = {(row.configuration, row.env, row.seed_index) for row in record.reservations if row.role == "test"}
    for configuration, env, index in declared_tests(record):
        if (configuration, env, index) not in begun:
            return Reserve(configuration, "test", env, index)
    over = all(row.state in (*OVER, "failed", "lost") for row in record.reservations)
    return Done() if over else Wait()


def declared_tests(record: StudyRecord) -> Iterator[tuple[str, str, int]]:
    """Every test run that a frozen study may train: configuration, environment, number of the seed."""
    configurations = [f"trial:{record.incumbent}", *(one.configuration for one in record.settings.baselines)]
    for index in range(record.settings.test_seeds):
        for env in record.settings.envs:
            for configuration in configurations:
                yield configuration, env, index
