"""What a row of a study's ledger has to be, and what may be reserved: the rules as the planner's own transaction holds them.

:mod:`openrlb_hpo.triggers` has them once more in the database, for rows that somebody else writes, and
:mod:`openrlb_hpo.contract` holds a whole record against them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from openrlb_hpo.records import TRIAL, Reservation, StudyRecord, StudyRole
from openrlb_hpo.seeds import BASES, MOST_SEEDS, STRIDE, own_seeds, seed_of

STATES = ("open", "finished", "diverged", "failed", "lost")
TUNING_IS_OVER = "the test phase of the study has begun: nothing is tuned any more"


def refusal(record: StudyRecord, configuration: str, role: StudyRole, env: str, seed_index: int, seed: int) -> str:
    """Why a run of a study must not be reserved; an empty text where it may.

    Args:
        record: The study as it is inside the transaction.
        configuration: Which configuration.
        role: What for.
        env: In which environment.
        seed_index: With which seed of the role.
        seed: The seed itself.
    """
    row = Reservation(0, configuration, role, env, seed_index, seed, run="", charge=int(role != "test"))
    if broken := next(broken_rules(record, row), ""):
        return broken
    if any(place(row) == place(one) for one in record.reservations):
        return "this run is reserved already"
    if row.charge and record.frozen_at is not None:
        return TUNING_IS_OVER
    return "the budget of the study is spent" if record.spent + row.charge > record.budget else ""


def place(row: Reservation) -> tuple[str, str, str, int]:
    """What a row is reserved for: configuration, role, environment, number of the seed. A study has it once."""
    return row.configuration, row.role, row.env, row.seed_index


def broken_rules(record: StudyRecord, row: Reservation) -> Iterator[str]:
    """The rules that a row breaks by itself, whatever the other rows are.

    Args:
        record: The study.
        row: A row that it has, or is to have.
    """
    settings, is_test = record.settings, row.role == "test"
    if row.role not in BASES:
        yield "a run of a study is for tuning, confirm or test"
        return
    if row.env not in settings.envs:
        yield "the study has no such environment"
    if not 0 <= row.seed_index < min(settings.test_seeds if is_test else settings.tuning_seeds, MOST_SEEDS):
        yield "the study has fewer seeds of that role"
    elif row.seed != (seed := seed_of(row.role, row.seed_index, settings.test_block if is_test else 0)) or (
        row.seed_end not in (None, own_seeds(seed)[1])
    ):
        yield "the seed is not the one of its role and number, so that two roles might see the same environments"
    if row.charge != int(not is_test):
        yield "tuning and confirm runs are charged 1, test runs 0"
    if row.state not in STATES:
        yield "a run has no such state"
    if (row.state == "finished") != (row.score is not None and math.isfinite(row.score)):
        yield "a finished run has a finite score, and no other has one"
    if is_test:
        yield from _broken_by_test(record, row)
        return
    trial = _trial(record, row.configuration)
    if trial is None:
        yield "only trials of the study are tuned and confirmed"
    elif (n_envs := record.trials[trial].hyperparameters.get("n_envs")) and isinstance(n_envs, int) and n_envs > STRIDE:
        yield f"its {n_envs} environments have seeds of other runs: a run owns {STRIDE}"
    elif row.role == "confirm" and record.trials[trial].state != "complete":
        yield "only a trial that is complete is confirmed"


def _broken_by_test(record: StudyRecord, row: Reservation) -> Iterator[str]:
    """The rules that a test run breaks."""
    if record.frozen_at is None:
        yield "the incumbent of the study is not frozen yet: nothing is tested"
    elif row.configuration not in {f"{TRIAL}{record.incumbent}", *(one.configuration for one in record.settings.baselines)}:
        yield "only the frozen incumbent and the declared baselines are tested"


def _trial(record: StudyRecord, configuration: str) -> int | None:
    """The number of the trial that a configuration names; None where there is no such trial."""
    number = configuration.removeprefix(TRIAL)
    found = int(number) if number != configuration and number.isdecimal() and len(number) < 10 else -1
    return found if 0 <= found < len(record.trials) and record.trials[found].configuration == configuration else None
