"""A worker reads only what has changed, and sees everything that has: also what was altered behind openrlb's back."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from hpo.study_builder import StudyBuilder
from hypothesis import given, settings
from hypothesis import strategies as st

from openrlb.errors import ContractBroken, OpenrlbError, StoreUnwritable
from openrlb_hpo import planner
from openrlb_hpo.contract import verify
from openrlb_hpo.following import Follower
from openrlb_hpo.ledger import Ledger
from openrlb_hpo.reading import StudyReader
from openrlb_hpo.records import Baseline, Reservation, StudyRecord, StudySettings, Trial
from openrlb_hpo.seeds import own_seeds, seed_of

ENV = "A-v1"
SETTINGS = StudySettings(
    "ppo", "sb3", "s", "l", (ENV,), 100, {"name": "n"}, "n", "d",
    tuning_seeds=2, confirm=2, test_seeds=2, baselines=(Baseline("default", {ENV: {}}, "x"),),
)  # fmt: skip
STUDY, BUDGET = SETTINGS.digest, 11


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """A study that has begun, in a database of either kind."""
    postgresql = request.param == "postgresql"
    url = request.getfixturevalue("postgresql_url")() if postgresql else f"sqlite:///{tmp_path / 'hpo.db'}"
    with Ledger(url) as ledger:
        ledger.begin(SETTINGS, BUDGET)
        yield ledger


def take(ledger: Ledger, worker: str, ends: bool) -> None:
    """One step of whoever it is."""
    with ledger.transaction(STUDY) as change:
        record = change.read(STUDY)
        step = planner.next_step(record, {row.number for row in record.reservations if row.state == "open" and not ends})
        if isinstance(step, planner.Propose):
            change.add_trial(STUDY, Trial(step.number, {"lr": step.number / 10}, {"lr": step.number / 10}))
        elif isinstance(step, planner.Finish):
            change.close_trial(STUDY, step.number, step.state, step.reason)
        elif isinstance(step, planner.Freeze):
            change.freeze(STUDY, step.incumbent)
        elif isinstance(step, planner.Reserve):
            seed, run = seed_of(step.role, step.seed_index), f"{step.configuration}{step.role}{step.seed_index}"
            change.reserve(record, step.configuration, step.role, step.env, step.seed_index, seed, run, worker)
        elif isinstance(step, planner.Retake):
            change.close(step.row.number, step.row.worker, "finished", score=float(step.row.number % 5))


def test_what_a_reader_sees_is_always_what_is_there(ledger: Ledger) -> None:
    """Through a whole study, one that looks now and then sees what one that looks for the first time sees."""
    reader, follower = StudyReader(STUDY), Follower()
    for turn in range(200):
        take(ledger, "elsewhere:1:0", ends=turn % 3 == 2)
        if turn % 4:
            continue
        with ledger.transaction(STUDY) as change:
            seen, there = reader.read(change), change.read(STUDY)
        assert seen == there
        follower.check(seen)
        if isinstance(planner.next_step(there, ()), planner.Done):
            break
    assert there.frozen_at is not None and len(there.reservations) == 15
    assert follower.whole_looks <= 5  # the first time, and around the freeze


def test_only_what_has_changed_is_asked_for_and_the_rest_is_the_same_object(postgresql_url: Callable[[], str]) -> None:
    with Ledger(postgresql_url()) as ledger:
        ledger.begin(SETTINGS, BUDGET)
        for _ in range(12):
            take(ledger, "a:1:0", ends=True)
        reader = StudyReader(STUDY)
        with ledger.transaction(STUDY) as change:
            first = reader.read(change)
        asked: list[str] = []
        sa.event.listen(ledger.engine, "before_cursor_execute", lambda *words: asked.append(words[2]))
        with ledger.transaction(STUDY) as change:
            again = reader.read(change)
        assert len(asked) == 2 and all(one is two for one, two in zip(first.reservations, again.reservations, strict=True))
        with ledger.transaction(STUDY) as change:
            change.add_trial(STUDY, Trial(len(again.trials), {}, {}))
        del asked[:]
        with ledger.transaction(STUDY) as change:
            more = reader.read(change)
        assert len(asked) == 3 and len(more.trials) == len(again.trials) + 1 and more.trials[0] is again.trials[0]


def test_what_a_transaction_took_back_is_not_kept(ledger: Ledger) -> None:
    reader = StudyReader(STUDY)
    with suppress(ZeroDivisionError), ledger.transaction(STUDY) as change:
        change.add_trial(STUDY, Trial(0, {}, {}))
        assert len(reader.read(change).trials) == 1
        raise ZeroDivisionError
    with ledger.transaction(STUDY) as change:
        assert reader.read(change).trials == ()
        change.add_trial(STUDY, Trial(0, {"lr": 0.5}, {}))
    with ledger.transaction(STUDY) as change:
        assert reader.read(change).trials[0].params == {"lr": 0.5}


def test_a_row_that_was_altered_by_hand_is_read_again_and_refused(ledger: Ledger) -> None:
    for _ in range(12):
        take(ledger, "a:1:0", ends=True)
    reader, follower = StudyReader(STUDY), Follower()
    with ledger.transaction(STUDY) as change:
        follower.check(reader.read(change))
    sqlite = ledger.engine.dialect.name == "sqlite"
    drop = "DROP TRIGGER openrlb_update_reservations" + ("" if sqlite else " ON reservations")
    with ledger.engine.begin() as connection:
        connection.exec_driver_sql(drop)
        assert connection.exec_driver_sql("UPDATE reservations SET charge = 0 WHERE number = 1").rowcount == 1
    with ledger.transaction(STUDY) as change, pytest.raises(ContractBroken, match="charged 1"):
        follower.check(reader.read(change))
    with ledger.transaction(STUDY) as change, pytest.raises(ContractBroken):  # and it stays so
        follower.check(reader.read(change))


def test_an_outage_makes_a_worker_read_everything_anew(ledger: Ledger) -> None:
    take(ledger, "a:1:0", ends=True)
    reader = StudyReader(STUDY)
    with ledger.transaction(STUDY) as change:
        first = reader.read(change)
    reader.forget()
    with ledger.transaction(STUDY) as change:
        again = reader.read(change)
    assert again == first and again.trials[0] is not first.trials[0]


def test_a_damaged_text_is_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "hpo.db"
    with Ledger(f"sqlite:///{file}") as ledger:
        ledger.begin(SETTINGS, BUDGET)
        take(ledger, "a:1:0", ends=True)
        reader = StudyReader(STUDY)
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute("DROP TRIGGER openrlb_update_openrlb_trials")
            connection.execute("UPDATE openrlb_trials SET params = x'ff00'")
        with pytest.raises(OpenrlbError) as refused, ledger.transaction(STUDY) as change:
            reader.read(change)
        assert isinstance(refused.value, ContractBroken | StoreUnwritable)


def whole() -> StudyRecord:
    """A study with every kind of row: pruned, diverged, lost and open ones, before its test phase."""
    study = StudyBuilder(confirm=2, tuning_seeds=2).trial([4.0, 5.0], confirm=[4.0, 4.5]).trial([1.0]).trial(["diverged", 2.0])
    return study.trial([3.0, "open"], state="running").record()


FIELDS: dict[str, st.SearchStrategy[object]] = {
    "configuration": st.sampled_from(["trial:0", "trial:1", "trial:9", "baseline:default"]),
    "role": st.sampled_from(["tuning", "confirm", "test"]),
    "seed_index": st.integers(0, 3),
    "seed": st.sampled_from([seed_of(role, index) for role in ("tuning", "confirm", "test") for index in (0, 1)]),  # type: ignore[arg-type]
    "run": st.sampled_from(["again", "r1"]),
    "charge": st.sampled_from([0, 1, 7]),
    "state": st.sampled_from(["open", "finished", "diverged", "lost", "won"]),
    "score": st.sampled_from([None, 1.0, float("inf")]),
}


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_follower_refuses_whatever_the_whole_contract_refuses(data: st.DataObject) -> None:
    """One change of any kind after a look at a sound study: the short look and the whole one agree."""
    sound = whole()
    assert verify(sound) == ()
    follower = Follower()
    follower.check(sound)
    kind = data.draw(st.sampled_from(["row", "new row", "trial", "gone", "study"]))
    rows, trials, more = list(sound.reservations), list(sound.trials), {}
    if kind == "gone":
        rows.pop(data.draw(st.integers(0, len(rows) - 1)))
    elif kind == "study":
        more = data.draw(st.sampled_from([{"budget": 3}, {"budget": 1000}, {"incumbent": 0}, {"incumbent": 0, "frozen_at": "x"}]))
    elif kind == "trial":
        at = data.draw(st.integers(0, len(trials) - 1))
        states = st.sampled_from(["running", "complete", "pruned", "failed", "won"])
        trials[at] = replace(trials[at], state=data.draw(states), number=data.draw(st.sampled_from([at, at, 7])))
    else:
        at = data.draw(st.integers(0, len(rows) - 1))
        changed = data.draw(st.fixed_dictionaries({}, optional=FIELDS))
        row = replace(rows[at], **changed)  # type: ignore[arg-type]
        if kind == "row":
            rows[at] = row
        else:
            end = own_seeds(row.seed)[1] if data.draw(st.booleans()) else row.seed_end
            rows.append(replace(row, number=data.draw(st.sampled_from([len(rows) + 1, 0])), seed_end=end))
    altered = replace(sound, trials=tuple(trials), reservations=tuple(rows), **more)  # type: ignore[arg-type]
    broken = bool(verify(altered))
    try:
        follower.check(altered)
        assert not broken
    except ContractBroken:
        assert broken


def test_runs_that_equal_configurations_share_agree_on_their_score() -> None:
    """The second of the two ends after a look at it: the whole contract is asked."""
    sound = whole()
    first: Reservation = sound.reservations[0]
    twin = replace(sound.trials[0], number=len(sound.trials), state="running")
    shared = replace(first, number=99, configuration=twin.configuration, state="open", score=None)
    study = replace(sound, trials=(*sound.trials, twin), reservations=(*sound.reservations, shared))
    follower = Follower()
    follower.check(sound)
    follower.check(study)
    follower.check(replace(study, reservations=(*sound.reservations, replace(shared, state="finished", score=first.score))))
    follower.check(study)
    with pytest.raises(ContractBroken, match="its score is 77"):
        follower.check(replace(study, reservations=(*sound.reservations, replace(shared, state="finished", score=77.0))))
