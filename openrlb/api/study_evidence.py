"""What the store says of a study: whether its ledger's rows are the runs they name, and who has looked at its test seeds.

With every look at test seeds somebody may choose by them. Counted are the studies of the database and whatever else has left
test runs in the store: studies of another database (``--storage``) by their tags, anything else by its configuration. What was
trained in another store is not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from openrlb.errors import NothingMatched
from openrlb.store import Store
from openrlb.types import Role, Run, Selection, stable_hash

if TYPE_CHECKING:
    from openrlb_hpo.ledger import Ledger
    from openrlb_hpo.records import StudyRecord, StudySettings

TAGS = ("study:", "baseline-of:")
"""How tags begin that name a run's study."""


@dataclass(frozen=True, slots=True)
class Look:
    """A look at test seeds.

    Attributes:
        who: The study's name, or the configuration of a run that names none.
        algo: The algorithm.
        env: The environment.
        block: The block of test seeds.
    """

    who: str
    algo: str
    env: str
    block: int

    def is_at(self, settings: StudySettings) -> bool:
        """Whether it is a look at what a study tests on, or will."""
        return self.algo == settings.algo and self.env in settings.envs and self.block == settings.test_block


def stored_looks(store: Store) -> frozenset[Look]:
    """The looks at test seeds that the runs of a store tell of.

    Args:
        store: The store.
    """
    from openrlb_hpo.seeds import BASES, BLOCK, MOST_BLOCKS

    first = BASES["test"]
    chosen = Selection(role=("test",), where=f"seed >= {first} AND seed < {first + MOST_BLOCKS * BLOCK}")
    try:
        found = [row.record for row in store.runs(chosen)]
    except NothingMatched:  # there is no store yet
        return frozenset()
    return frozenset(Look(_who(run), run.algo, run.env, (run.seed - first) // BLOCK) for run in found if run.seed is not None)


def _who(run: Run) -> str:
    """Who trained a test run.

    >>> _who(Run("openrlb", "a", "p", "a", "ppo", "A-v1", tags=("baseline-of:ppo-A-v1-tpe-1a2b3c", "baseline:default")))
    'ppo-A-v1-tpe-1a2b3c'
    """
    names = [tag.removeprefix(word) for tag in run.tags for word in TAGS if tag.startswith(word)]
    return names[0] if names else f"configuration {stable_hash([run.impl, run.config])}"


def with_peeks(records: Sequence[StudyRecord], ledger: Ledger, store: Store) -> list[StudyRecord]:
    """Studies with ``test_peeks`` as far as database and store tell together.

    Args:
        records: Studies.
        ledger: The database that holds them.
        store: The store that holds their runs.
    """
    looks = stored_looks(store)
    with ledger.transaction() as change:
        return [
            replace(
                record,
                test_peeks=len(change.lookers(record.settings) | {one.who for one in looks if one.is_at(record.settings)}),
            )
            for record in records
        ]


def against_store(record: StudyRecord, ledger: Ledger, store: Store) -> StudyRecord:
    """A study that agrees with the runs it names, as far as the store holds them, and its ``test_peeks``.

    Args:
        record: The study.
        ledger: The database that holds it.
        store: The store that holds its runs; a worker elsewhere may have stored others in another store.

    Raises:
        ContractBroken: A row of the study names a run of another seed, role, environment or configuration.
    """
    from openrlb_hpo.contract import check

    check(record, *unlike_the_store([record], store))
    return with_peeks([record], ledger, store)[0]


def unlike_the_store(records: Sequence[StudyRecord], store: Store) -> list[tuple[str, ...]]:
    """What in each study does not agree with its space and with the stored runs that it names, in words.

    Args:
        records: Studies; the store is read once for all of them.
        store: The store that holds their runs.
    """
    from openrlb_hpo.contract import verify_points, verify_runs
    from openrlb_hpo.scoring import score_of, stored_returns

    runs = _named_runs(records, store)
    shown = [_shown_runs(record) & set(runs) for record in records]
    returns = {
        kind: stored_returns(
            {run for one, record in zip(shown, records, strict=True) if record.settings.kind == kind for run in one}, kind, store
        )
        for kind in {record.settings.kind for record in records}
    }
    found = []
    for record, wanted in zip(records, shown, strict=True):
        there = {run: one for run, one in returns[record.settings.kind].items() if run in wanted}
        again = {run: score_of(one.steps, one.values, record.settings)[0] for run, one in there.items()}
        scores = {run: score for run, score in again.items() if score is not None}
        found.append((*verify_points(record), *verify_runs(record, runs, scores)))
    return found


def _shown_runs(record: StudyRecord) -> set[str]:
    """The runs that a result is made of: the incumbent's and the tested ones."""
    if record.incumbent is None:
        return set()
    return {row.run for row in record.reservations if row.role == "test" or row.configuration == f"trial:{record.incumbent}"}


def _named_runs(records: Sequence[StudyRecord], store: Store) -> dict[str, Run]:
    """The stored runs that the rows of studies name, by id, whatever role they have."""
    from openrlb.store.schema import literal

    ids = ", ".join(map(literal, sorted({row.run for record in records for row in record.reservations})))
    if not ids:
        return {}
    roles: tuple[Role, ...] = ("none", "tuning", "confirm", "test", "reproduction")
    try:
        rows = store.runs(Selection(where=f"source = 'openrlb' AND run IN ({ids})", role=roles))
    except NothingMatched:  # there is no store yet
        return {}
    return {row.record.run: row.record for row in rows}
