"""Whether a study as its ledger holds it is one that could have come about: what nobody has to be trusted for.

The database's triggers refuse rows that break a study; they can be dropped. So every record is held against the whole contract
before a worker takes its next step and before anything is said of its result, on any database.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from openrlb.errors import ContractBroken, UsageError
from openrlb.types import stable_hash
from openrlb_hpo.planner import Freeze, confirming
from openrlb_hpo.racing import rungs_done
from openrlb_hpo.records import StudyRecord
from openrlb_hpo.rules import TUNING_IS_OVER, broken_rules, place

if TYPE_CHECKING:
    from openrlb.types import Run
    from openrlb_hpo.records import Reservation, Trial

TRIAL_STATES = ("running", "complete", "pruned", "failed")
MOST_TOLD = 5


def verify(record: StudyRecord) -> tuple[str, ...]:
    """Holds a study against its contract.

    Its settings are those of its id; each row stands for one declared run with the seed that the settings give it; seeds of
    roles do not meet; charges stay within the budget; only whole trials are confirmed and chosen, the one that the scores
    choose is frozen, nothing is tuned after that, and only it and the declared baselines are tested.

    Args:
        record: The study, finished or not.

    Returns:
        What is wrong, in words that name the row; empty for a study as openrlb makes it.
    """
    found = [*_of_study(record), *_of_trials(record)]
    for row in record.reservations:
        found += [f"{name_of(row)}: {sentence}" for sentence in broken_rules(record, row)]
    found += _between_rows(record)
    if record.spent > record.budget:
        found.append(f"{record.spent} runs are charged, and the budget is {record.budget}")
    if not found and record.frozen_at is not None:  # steps can be taken again only where rows are what they should be
        found += _of_the_freeze(record)
    return tuple(found)


def _of_the_freeze(record: StudyRecord) -> Iterator[str]:
    """What is wrong with the incumbent: the step from the study without its test has to be the one that froze it."""
    tuned = tuple(row for row in record.reservations if row.role != "test")
    step = confirming(replace(record, frozen_at=None, incumbent=None, reservations=tuned))
    if not isinstance(step, Freeze):
        yield f"trial {record.incumbent} is frozen as the incumbent, and the best trials were not all confirmed"
    elif step.incumbent != record.incumbent:
        yield f"trial {record.incumbent} is frozen as the incumbent, and the scores choose trial {step.incumbent}"


def verify_runs(record: StudyRecord, runs: Mapping[str, Run], scores: Mapping[str, float] | None = None) -> tuple[str, ...]:
    """Holds the rows of a study against the runs that they name, as far as those are at hand.

    Args:
        record: The study.
        runs: Stored runs by id; a worker elsewhere may have stored others in another store.
        scores: Scores by run id, computed again from the returns that are stored, where that was done.

    Returns:
        What is wrong, in words that name the row.
    """
    found = []
    trained: dict[tuple[str, str], Run] = {}
    for row in record.reservations:
        run = runs.get(row.run)
        if run is None or row.state == "open":
            continue
        pairs: list[tuple[str, object, object]] = [
            ("algorithm", run.algo, record.settings.algo),
            ("environment", run.env, row.env),
            ("role", run.role, row.role),
        ]
        if row.state == "finished":  # one that failed may have applied another seed: that may be why it did
            pairs += [("seed", run.seed, row.seed), ("state", run.state, "finished")]
        unlike = [f"{what} {mine} and not {theirs}" for what, mine, theirs in pairs if mine != theirs]
        if row.state == "finished" and trained.setdefault((row.configuration, row.env), run).config != run.config:
            unlike.append("other hyperparameters or steps than other runs of this configuration")
        again = None if scores is None else scores.get(row.run)
        if row.state == "finished" and again is not None and not _alike(row.score, again):
            unlike.append(f"a score of {again:.6g} and not {row.score}")
        if unlike:
            found.append(f"{name_of(row)}: the stored run {row.run} has {', '.join(unlike)}")
    return tuple(found)


def verify_points(record: StudyRecord) -> tuple[str, ...]:
    """Holds what trials were trained with against the space: each has the hyperparameters that its point there means."""
    from openrlb_hpo.space import Space
    from openrlb_runners.batch import merged

    settings, found = record.settings, []
    if not record.trials:
        return ()
    try:
        space = Space.from_json(settings.space)
        for trial in record.trials:
            meant = merged(space.hyperparameters(trial.params, settings.steps, settings.fixed), settings.fixed)
            if stable_hash(meant) != stable_hash(dict(trial.hyperparameters)):
                found.append(f"trial {trial.number} has other hyperparameters than its point in the space means")
    except UsageError as error:
        found.append(f"a trial is no point of the space: {error.what}")
    return tuple(found)


def check(record: StudyRecord, more: Iterable[str] = ()) -> None:
    """Refuses a study that breaks its contract.

    Args:
        record: The study.
        more: What else is wrong with it (:func:`verify_runs`).

    Raises:
        ContractBroken: Something is wrong; nothing of it is to be believed.
    """
    findings = (*verify(record), *more)
    if not findings:
        return
    told = "; ".join(findings[:MOST_TOLD])
    left = len(findings) - MOST_TOLD
    why = f"{told}; and {left} more" if left > 0 else told
    fix = "restore its database from a copy, or begin another one: openrlb tune ... --new-study"
    raise ContractBroken(f"{record.name} breaks its own rules, so that no result of it holds", why, fix)


def name_of(row: Reservation) -> str:
    """A row, for people.

    >>> from openrlb_hpo.records import Reservation
    >>> name_of(Reservation(7, "trial:2", "tuning", "CartPole-v1", 0, 100_000_000, "a", 1))
    'run 7 (trial:2, tuning, CartPole-v1, seed 100000000)'
    """
    return f"run {row.number} ({row.configuration}, {row.role}, {row.env}, seed {row.seed})"


def _alike(first: float | None, second: float | None) -> bool:
    """Whether two scores are the same but for rounding."""
    return first is not None and second is not None and math.isclose(first, second, rel_tol=1e-9, abs_tol=1e-12)


def _of_study(record: StudyRecord) -> Iterator[str]:
    """What is wrong with the study itself."""
    table = record.settings.to_json()
    del table["format"]
    if record.id not in (record.settings.digest, stable_hash(table, 12)):  # the second was the id before there were formats
        yield f"its settings are not those that it was begun with: its id is {record.id}, theirs is {record.settings.digest}"
    if (record.frozen_at is None) != (record.incumbent is None):
        yield "it has a frozen incumbent without a time, or a time without an incumbent"
    if record.incumbent is not None:
        if not 0 <= record.incumbent < len(record.trials):
            yield f"its incumbent is trial {record.incumbent}, and there is no such trial"
        elif record.trials[record.incumbent].state != "complete":
            yield f"its incumbent, trial {record.incumbent}, was not trained on every tuning seed"


def _of_trials(record: StudyRecord) -> Iterator[str]:
    """What is wrong with its trials."""
    for number, trial in enumerate(record.trials):
        yield from broken_by_trial(record, number, trial)


def broken_by_trial(record: StudyRecord, number: int, trial: Trial) -> Iterator[str]:
    """The rules that a trial breaks.

    Args:
        record: The study.
        number: The place at which it has the trial.
        trial: The trial.
    """
    if trial.number != number:
        yield f"trial {trial.number} stands where trial {number} has to"
    if trial.state not in TRIAL_STATES:
        yield f"trial {trial.number} has the state {trial.state!r}, which is none"
    elif trial.state == "running" and record.frozen_at is not None:
        yield f"trial {trial.number} runs, and the incumbent is frozen"
    elif trial.state == "complete":
        rows = record.of(trial.configuration, "tuning")
        if rungs_done(rows, record.settings) < record.settings.tuning_seeds:
            yield f"trial {trial.number} is complete, and was not trained on every tuning seed"


def _between_rows(record: StudyRecord) -> Iterator[str]:
    """What is wrong between rows."""
    places: dict[tuple[str, str, str, int], Reservation] = {}
    runs: dict[str, Reservation] = {}
    tested = False
    for row in sorted(record.reservations, key=lambda one: one.number):
        if (first := places.setdefault(place(row), row)) is not row:
            yield f"{name_of(row)}: run {first.number} is the same run"
        # configurations that are equal share their runs; a run of another seed, role or environment is another one
        if place(first := runs.setdefault(row.run, row))[1:] != place(row)[1:]:
            yield f"{name_of(row)}: its key {row.run} is that of run {first.number}"
        elif row.state == first.state == "finished" and not _alike(row.score, first.score):
            yield f"{name_of(row)}: it is run {first.number}, and its score is {row.score} here and {first.score} there"
        tested = tested or row.role == "test"
        if tested and row.role != "test":
            yield f"{name_of(row)}: {TUNING_IS_OVER}"
