"""What may be reserved: the rules of a study, as the planner's own transaction holds them.

:mod:`openrlb_hpo.tables` has them once more as triggers, for rows that somebody else writes.
"""

from __future__ import annotations

from openrlb_hpo.records import TRIAL, StudyRecord, StudyRole
from openrlb_hpo.seeds import seed_of


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
    settings, is_test = record.settings, role == "test"
    taken = {(row.configuration, row.role, row.env, row.seed_index) for row in record.reservations}
    declared = {f"{TRIAL}{record.incumbent}", *(one.configuration for one in settings.baselines)}
    broken = (
        (env not in settings.envs, "the study has no such environment"),
        (
            not 0 <= seed_index < (settings.test_seeds if is_test else settings.tuning_seeds),
            "the study has fewer seeds of that role",
        ),
        (
            seed != seed_of(role, max(seed_index, 0), settings.test_block if is_test else 0),
            "the seed is not the one of its role and number, so that two roles might see the same environments",
        ),
        ((configuration, role, env, seed_index) in taken, "this run is reserved already"),
        (
            not is_test and record.frozen_at is not None,
            "the test phase of the study has begun: nothing is tuned any more",
        ),
        (is_test and record.frozen_at is None, "the incumbent of the study is not frozen yet: nothing is tested"),
        (is_test and configuration not in declared, "only the frozen incumbent and the declared baselines are tested"),
        (
            not is_test and configuration not in {trial.configuration for trial in record.trials},
            "only trials of the study are tuned and confirmed",
        ),
        (not is_test and record.spent + 1 > record.budget, "the budget of the study is spent"),
    )
    return next((sentence for is_broken, sentence in broken if is_broken), "")
