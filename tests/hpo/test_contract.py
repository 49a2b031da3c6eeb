"""A study whose ledger was altered by hand, its rules dropped first: named, and never shown or continued."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hpo.study_builder import StudyBuilder
from typer.testing import Result

from openrlb.api.study import view_of
from openrlb.errors import ContractBroken, StoreDamaged, StoreTooNew
from openrlb.store import Store
from openrlb.types import Run, stable_hash
from openrlb_hpo import planner, records
from openrlb_hpo.contract import check, verify, verify_points, verify_runs
from openrlb_hpo.ledger import Ledger
from openrlb_hpo.owners import worker_name
from openrlb_hpo.records import Baseline, Reservation, StudyRecord, StudySettings, Trial
from openrlb_hpo.seeds import seed_of
from openrlb_hpo.source import StudySource
from openrlb_runners.request import PinnedRunner, WorkItem

ENV, ME = "A-v1", worker_name()
SETTINGS = StudySettings(
    "ppo", "sb3", "s", "l", (ENV,), 100, {"name": "n", "algo": "ppo", "parameters": {"lr": {"uniform": [0.0, 1.0]}}}, "n", "d",
    tuning_seeds=2, confirm=2, test_seeds=2, baselines=(Baseline("default", {ENV: {}}, "x"),),
)  # fmt: skip
STUDY = SETTINGS.digest
EMPTY = {"env_kwargs": {}, "seed": 0}
SCORES = {"trial:0": 5.0, "trial:1": 1.0, "trial:2": 9.0, "trial:3": 7.0, "baseline:default": 5.0}
"""Trial 1 is pruned after its first seed; 2 and 3 are confirmed, and 2 is tested."""


def play(ledger: Ledger) -> StudyRecord:
    """A study from its beginning to its end, each run with the score of its configuration."""
    ledger.begin(SETTINGS, 11)
    while True:
        with ledger.transaction(STUDY) as change:
            record = change.read(STUDY)
            step = planner.next_step(record)
            if isinstance(step, planner.Done):
                return record
            if isinstance(step, planner.Propose):
                change.add_trial(STUDY, Trial(step.number, {"lr": step.number / 10}, {"lr": step.number / 10}))
            elif isinstance(step, planner.Finish):
                change.close_trial(STUDY, step.number, step.state, step.reason)
            elif isinstance(step, planner.Freeze):
                change.freeze(STUDY, step.incumbent)
            else:
                assert isinstance(step, planner.Reserve)
                seed = seed_of(step.role, step.seed_index)
                run = f"{step.configuration}{step.role}{step.seed_index}"
                row = change.reserve(STUDY, step.configuration, step.role, step.env, step.seed_index, seed, run, ME)
                change.close(row.number, ME, "finished", score=SCORES[step.configuration])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a finished study, without its rules."""
    file = tmp_path_factory.mktemp("finished") / "hpo.db"
    with Ledger(f"sqlite:///{file}") as ledger:
        record = play(ledger)
    assert verify(record) == ()
    assert [trial.state for trial in record.trials] == ["complete", "pruned", "complete", "complete"]
    assert record.incumbent == 2 and record.spent == 11 and len(record.reservations) == 15
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
    return file


ROW = (
    "INSERT INTO reservations (study, configuration, role, env, seed_index, seed, seed_end, run, charge, state, score,"
    f" attempts, worker, lease, steps, seconds, reason) VALUES ('{STUDY}', '%s', '%s', '%s', %d, %d, %d, 'r', %d, 'finished',"
    " 9.0, 1, '', 0, 0, 0, '')"
)
RUN, TRIAL = "UPDATE reservations SET ", "UPDATE openrlb_trials SET "
TEST_ROW = " WHERE role = 'test' AND seed_index = 0 AND configuration = 'trial:2'"
OTHER = ROW % ("trial:3", "test", ENV, 0, 300_000_000, 300_001_000, 0)
BROKEN = {
    "a test of another trial": (OTHER, "trial:3, test, A-v1, seed 300000000): only the frozen incumbent"),
    "a baseline of its own": (ROW % ("baseline:mine", "test", ENV, 0, 300_000_000, 300_001_000, 0), "only the frozen incumbent"),
    "a third test seed": (ROW % ("trial:2", "test", ENV, 2, 300_002_000, 300_003_000, 0), "fewer seeds of that role"),
    "another environment": (ROW % ("trial:2", "test", "B-v1", 0, 300_000_000, 300_001_000, 0), "no such environment"),
    "tuning after the test": (ROW % ("trial:1", "tuning", ENV, 1, 100_001_000, 100_002_000, 1), "nothing is tuned any more"),
    "confirming a pruned trial": (ROW % ("trial:1", "confirm", ENV, 0, 200_000_000, 200_001_000, 1), "is confirmed"),
    "a trial that is none": (ROW % ("trial:07", "tuning", ENV, 0, 100_000_000, 100_001_000, 1), "only trials of the study"),
    "a test on a tuning seed": (RUN + "seed = 100000000, seed_end = 100001000" + TEST_ROW, "two roles might see the same"),
    "a test between tuning seeds": (RUN + "seed = 100000500, seed_end = 100001500" + TEST_ROW, "two roles might see the same"),
    "an interval of its own": (RUN + "seed_end = seed + 1" + TEST_ROW, "two roles might see the same"),
    "a tuning run that costs nothing": (RUN + "charge = 0 WHERE number = 1", "run 1 (trial:0, tuning"),
    "a role of its own": (RUN + "role = 'look' WHERE number = 1", "for tuning, confirm or test"),
    "a state of its own": (RUN + "state = 'won' WHERE number = 1", "no such state"),
    "an end without a score": (RUN + "score = NULL WHERE number = 1", "has a finite score"),
    "an infinite score": (RUN + "score = 9e999 WHERE number = 1", "has a finite score"),
    "a score of a lost run": (RUN + "state = 'lost'" + TEST_ROW, "has a finite score"),
    "a score that changes the choice": (
        RUN + "score = 99.0 WHERE role = 'confirm' AND configuration = 'trial:3'",
        "trial 2 is frozen as the incumbent, and the scores choose trial 3",
    ),
    "text among numbers": (RUN + "seed = 'many' WHERE number = 1", "seed of row 1 is 'many'"),
    "the key of another run": (RUN + "run = 'trial:2confirm0' WHERE number = 1", "its key trial:2confirm0 is that of run 1"),
    "a trial's seed undone": (
        RUN + "state = 'lost', score = NULL WHERE configuration = 'trial:3' AND role = 'tuning' AND seed_index = 1",
        "trial 3 is complete, and was not trained on every tuning seed",
    ),
    "another incumbent": ("UPDATE openrlb_studies SET incumbent = 3", "only the frozen incumbent"),
    "a pruned incumbent": ("UPDATE openrlb_studies SET incumbent = 1", "its incumbent, trial 1, was not trained on every"),
    "no such incumbent": ("UPDATE openrlb_studies SET incumbent = 17", "there is no such trial"),
    "an incumbent without a time": ("UPDATE openrlb_studies SET frozen_at = NULL", "a frozen incumbent without a time"),
    "a thaw": ("UPDATE openrlb_studies SET frozen_at = NULL, incumbent = NULL", "is not frozen yet: nothing is tested"),
    "a smaller budget": ("UPDATE openrlb_studies SET budget = 3", "11 runs are charged, and the budget is 3"),
    "other settings": (
        "UPDATE openrlb_studies SET settings = json_set(settings, '$.steps', 200)",
        "its settings are not those that it was begun with",
    ),
    "a trial that still runs": (TRIAL + "state = 'running' WHERE number = 1", "trial 1 runs, and the incumbent is frozen"),
    "a trial's state of its own": (TRIAL + "state = 'won' WHERE number = 1", "the state 'won'"),
    "a trial taken away": ("DELETE FROM openrlb_trials WHERE number = 1", "trial 2 stands where trial 1 has to"),
    "more environments than a run has seeds": (
        TRIAL + "hyperparameters = '{\"n_envs\": 2000}' WHERE number = 2",
        "a run owns 1000",
    ),
}


@pytest.fixture
def alter(finished: Path, tmp_path: Path) -> Iterator[Callable[[str], Ledger]]:
    """Gives the ledger of a copy of the study after a statement that no rule has seen."""
    opened: list[Ledger] = []

    def altered(statement: str) -> Ledger:
        file = tmp_path / f"hpo{len(opened)}.db"
        shutil.copy(finished, file)
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            assert connection.execute(statement).rowcount > 0
        opened.append(Ledger(f"sqlite:///{file}"))
        return opened[-1]

    yield altered
    for ledger in opened:
        ledger.__exit__(None, None, None)


@pytest.mark.parametrize("what", BROKEN)
def test_what_no_study_can_have_come_to_is_refused_and_named(alter: Callable[[str], Ledger], what: str) -> None:
    statement, told = BROKEN[what]
    ledger = alter(statement)
    for act in (lambda: ledger.read(SETTINGS.name), lambda: ledger.begin(SETTINGS, 11)):
        with pytest.raises(ContractBroken, match="breaks its own rules") as refusal:
            act()
        assert told in refusal.value.why and refusal.value.exit_code == 2 and "--new-study" in refusal.value.fix
    if what != "text among numbers":  # that one is no record at all
        (record,) = ledger.studies()  # a list goes on beside it
        assert verify(record)


def test_texts_that_are_no_tables_are_refused(alter: Callable[[str], Ledger]) -> None:
    for column, text in (("params", "[1]"), ("hyperparameters", "{"), ("attributes", "1")):
        with pytest.raises(StoreDamaged, match="cannot be read"):
            alter(f"UPDATE openrlb_trials SET {column} = '{text}' WHERE number = 2").read(STUDY)
    newer = alter("UPDATE openrlb_studies SET settings = json_set(settings, '$.moons', 2)")
    with pytest.raises(StoreTooNew, match="newer openrlb") as refusal:
        newer.read(STUDY)
    assert "moons" in refusal.value.why and "update openrlb" in refusal.value.fix
    assert newer.begin(replace(SETTINGS, steps=300), 11).test_peeks == 1  # its look is a look all the same
    with pytest.raises(StoreTooNew):
        alter("UPDATE openrlb_studies SET settings = json_set(settings, '$.format', 2)").read(STUDY)


def test_a_study_that_cannot_be_read_hides_no_other_and_hinders_none(alter: Callable[[str], Ledger]) -> None:
    ledger = alter("UPDATE openrlb_studies SET settings = 'null'")
    other = ledger.begin(replace(SETTINGS, steps=300), 11)
    assert other.test_peeks == 1  # nobody can tell that it did not look
    told: list[str] = []
    assert [record.id for record in ledger.studies(told.append)] == [other.id]
    assert len(told) == 1 and SETTINGS.name in told[0] and "no JSON" in told[0]
    with pytest.raises(StoreDamaged):
        ledger.studies()


def test_a_worker_takes_no_further_run_of_a_study_that_was_altered(tmp_path: Path) -> None:
    runner = PinnedRunner("sb3", "run.py", (), False, {"run.py": b"x"}, {}, "l", Path("python"))
    settings = replace(SETTINGS, runner_source=runner.source)
    file = tmp_path / "hpo.db"
    with Ledger(f"sqlite:///{file}") as ledger:
        source = StudySource(ledger, ledger.begin(settings, 11), Store(), runner, lambda asked: {"hyperparameters": {}, **EMPTY})
        with source, closing(sqlite3.connect(file, isolation_level=None)) as connection:
            assert isinstance(source.take(), WorkItem)
            connection.execute("DROP TRIGGER openrlb_update_reservations")
            connection.execute("UPDATE reservations SET charge = 0")
            with pytest.raises(ContractBroken, match="charged 1"):
                source.take()
            connection.execute("UPDATE reservations SET charge = 1")
            assert isinstance(source.take(), WorkItem)


def test_the_same_run_twice_is_found_where_a_database_has_no_unique_rows() -> None:
    record = StudyBuilder().trial([1.0, 2.0, 3.0]).test(0, [1.0]).record()
    assert verify(record) == ()
    first, last = record.reservations[0], record.reservations[-1]
    again = replace(first, number=len(record.reservations) + 1, run="again")
    findings = verify(replace(record, reservations=(*record.reservations, again)))
    assert any(told.endswith("run 1 is the same run") for told in findings)
    late = replace(last, number=0)
    assert any("nothing is tuned" in told for told in verify(replace(record, reservations=(late, *record.reservations[:-1]))))


def test_a_long_list_of_findings_says_how_many_more_there_are() -> None:
    record = (
        StudyBuilder(confirm=0).trial([1.0, 2.0, 3.0]).trial([4.0, 5.0, 6.0]).test(1, [1.0] * 10, default=[1.0] * 10).record()
    )
    free = tuple(replace(row, charge=7) for row in record.reservations)
    with pytest.raises(ContractBroken, match="; and 21 more"):
        check(replace(record, reservations=free, budget=1000))
    check(record)
    with pytest.raises(ContractBroken):  # a record that came from anywhere else is not answered either
        view_of(replace(record, incumbent=0))
    with pytest.raises(ContractBroken, match="one more thing"):
        check(record, ["one more thing"])


def test_a_study_that_an_older_openrlb_named_keeps_its_id_and_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "hpo.db"
    table = SETTINGS.to_json()
    del table["format"]
    older = stable_hash(table, 12)  # as ids were before settings had a format
    with Ledger(f"sqlite:///{file}") as ledger, closing(sqlite3.connect(file, isolation_level=None)) as connection:
        words = (older, "ppo-A-v1-tpe-older", json.dumps(table), 11, "2026-01-01")
        connection.execute("INSERT INTO openrlb_studies (study, name, settings, budget, created) VALUES (?, ?, ?, ?, ?)", words)
        record = ledger.begin(SETTINGS, 12)
        assert (record.id, record.name, record.budget) == (older, "ppo-A-v1-tpe-older", 12)
        assert record.settings == SETTINGS and len(ledger.studies()) == 1
        assert ledger.begin(replace(SETTINGS, steps=200), 11).id != older


def test_a_setting_that_a_later_openrlb_has_renames_no_study() -> None:
    @dataclass(frozen=True)
    class Later(StudySettings):
        moons: int = 1

    table = {name: getattr(SETTINGS, name) for name in StudySettings.__dataclass_fields__}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "StudySettings", Later)
        records._defaults.cache_clear()
        assert Later(**table).digest == SETTINGS.digest
        assert Later(**table, moons=2).digest != SETTINGS.digest
    records._defaults.cache_clear()


def stored(row: Reservation, **changed: Any) -> Run:
    """The run of a row, as the store has it."""
    table = {"seed": row.seed, "role": row.role, "state": "finished", "config": {"lr": 0.1, "steps": 50_000}} | changed
    return Run("openrlb", row.run, "openrlb", "x", "ppo", row.env, "sb3", **table)


def test_rows_are_held_against_the_runs_that_they_name() -> None:
    record = StudyBuilder().trial([1.0, 2.0, "lost"], state="failed").trial([4.0, 5.0, 6.0]).record()
    runs = {row.run: stored(row) for row in record.reservations}
    assert verify_runs(record, runs) == verify_runs(record, {}) == ()
    first, second, lost = record.reservations[:3]
    for changed, told in (
        ({"seed": 1}, "seed 1 and not 100000000"),
        ({"role": "none"}, "role none and not tuning"),
        ({"state": "crashed"}, "state crashed and not finished"),
        ({"config": {"lr": 0.2, "steps": 50_000}}, "other hyperparameters or steps"),
    ):
        (finding,) = verify_runs(record, runs | {first.run: stored(first, **changed)})[:1]
        assert told in finding or "config" in changed
    (finding,) = verify_runs(record, runs | {second.run: stored(second, config={"lr": 0.2})})
    assert finding.startswith("run 2 (trial:0, tuning, CartPole-v1, seed 100001000): ") and "other hyperparameters" in finding
    assert verify_runs(record, {lost.run: stored(lost, seed=1, state="crashed")}) == ()
    assert "environment B-v1" in verify_runs(record, {lost.run: replace(stored(lost), env="B-v1")})[0]


def test_an_incumbent_that_was_frozen_before_the_best_were_confirmed_is_refused() -> None:
    """A hand-made freeze of the one trial whose confirmation is there, while a better one waits for its own."""
    study = StudyBuilder(confirm=2).trial([4.0, 5.0, 6.0]).trial([1.0, 2.0, 3.0], confirm=[1.0, 1.0, 1.0])
    (finding,) = verify(study.test(1, [9.0] * 10, default=[1.0] * 10).record())
    assert finding == "trial 1 is frozen as the incumbent, and the best trials were not all confirmed"


def test_scores_are_held_against_the_stored_returns_and_against_each_other() -> None:
    record = StudyBuilder().trial([1.0, 2.0, 3.0]).record()
    first = record.reservations[0]
    runs = {first.run: stored(first)}
    assert verify_runs(record, runs, {first.run: 1.0 + 1e-13}) == ()
    (finding,) = verify_runs(record, runs, {first.run: 1.5})
    assert "has a score of 1.5 and not 1.0" in finding
    apart = replace(record, reservations=(first, replace(first, configuration="trial:1", number=9, score=7.0)))
    assert any("its score is 7.0 here and 1.0 there" in one for one in verify(apart))


def test_hyperparameters_are_held_against_the_space(finished: Path) -> None:
    with Ledger(f"sqlite:///{finished}") as ledger:
        record = ledger.read(STUDY)
    assert verify_points(record) == ()
    trial = record.trials[2]
    for changed, told in (
        (replace(trial, hyperparameters={"lr": 0.9}), "trial 2 has other hyperparameters than its point in the space means"),
        (replace(trial, params={}), "a trial is no point of the space"),
    ):
        (finding,) = verify_points(replace(record, trials=(*record.trials[:2], changed, *record.trials[3:])))
        assert told in finding


def test_no_command_shows_or_goes_on_with_a_study_that_was_altered(
    cli: Callable[..., Result], finished: Path, store: Store
) -> None:
    store.layout.root.mkdir(parents=True)
    file = store.layout.root / "hpo.db"
    shutil.copy(finished, file)
    assert cli("study", "show", SETTINGS.name).exit_code == 0
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER openrlb_update_reservations")
        connection.execute("UPDATE reservations SET score = 99 WHERE role = 'confirm' AND configuration = 'trial:3'")
    for words in (("study", "show"), ("study", "report"), ("study", "export"), ("worker",), ("run", "--from")):
        refused = cli(*words, SETTINGS.name)
        assert refused.exit_code == 2 and not refused.stdout, words
        assert "breaks its own rules" in refused.stderr and "the scores choose trial 3" in " ".join(refused.stderr.split())
    (row,) = json.loads(cli("study", "list", "--json").stdout)
    assert row["test_score"] is None and row["phase"] == "broken"
    assert "broken" in cli("study", "list", "--format", "table").stdout
