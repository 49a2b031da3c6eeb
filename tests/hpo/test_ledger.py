"""The ledger's database refuses what would break a study, whoever writes to it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from openrlb.errors import NothingMatched, StoreUnwritable, UsageError
from openrlb_hpo.ledger import LEASE_SECONDS, Ledger
from openrlb_hpo.owners import worker_name
from openrlb_hpo.records import Baseline, StudySettings, Trial
from openrlb_hpo.seeds import seed_of

SETTINGS = StudySettings(
    algo="ppo",
    impl="sb3",
    runner_source="source",
    lock="lock",
    envs=("CartPole-v1",),
    steps=1000,
    space={},
    space_name="zoo",
    space_digest="digest",
    baselines=(Baseline("default", {"CartPole-v1": {}}, "the library"),),
)
STUDY, ENV, ME = SETTINGS.digest, "CartPole-v1", worker_name()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hpo.db"


@pytest.fixture
def ledger(file: Path) -> Iterator[Ledger]:
    with Ledger(f"sqlite:///{file}") as ledger:
        ledger.begin(SETTINGS, 20)
        with ledger.transaction() as change:
            change.add_trial(STUDY, Trial(0, {"lr": 0.1}, {"learning_rate": 0.1}))
            change.add_trial(STUDY, Trial(1, {"lr": 0.2}, {"learning_rate": 0.2}))
        yield ledger


def reserve(ledger: Ledger, configuration: str, role: str, index: int, seed: int | None = None) -> None:
    with ledger.transaction() as change:
        taken = seed_of(role, index) if seed is None else seed  # type: ignore[arg-type]
        change.reserve(STUDY, configuration, role, ENV, index, taken, f"{configuration}{role}{index}", ME)  # type: ignore[arg-type]


def freeze(ledger: Ledger) -> None:
    with ledger.transaction() as change:
        change.freeze(STUDY, 0)


def test_a_run_is_reserved_once(ledger: Ledger) -> None:
    reserve(ledger, "trial:0", "tuning", 0)
    with pytest.raises(UsageError) as refusal:
        reserve(ledger, "trial:0", "tuning", 0)
    assert refusal.value.why == "this run is reserved already"
    assert ledger.read(STUDY).spent == 1


def test_no_seed_is_seen_under_two_roles(ledger: Ledger) -> None:
    reserve(ledger, "trial:0", "tuning", 0)
    with pytest.raises(UsageError) as refusal:  # the environments of a vector environment are seeded with seed + i
        reserve(ledger, "trial:0", "confirm", 0, seed=seed_of("tuning", 0) + 7)
    assert "two roles might see the same environments" in refusal.value.why


def test_the_budget_is_never_overshot(ledger: Ledger) -> None:
    with ledger.transaction() as change:
        change.connection.exec_driver_sql("UPDATE openrlb_studies SET budget = 4")  # of 20
    for number, index in ((0, 0), (0, 1), (1, 0), (1, 1)):
        reserve(ledger, f"trial:{number}", "tuning", index)
    with pytest.raises(UsageError) as refusal:
        reserve(ledger, "trial:1", "confirm", 0)
    assert refusal.value.why == "the budget of the study is spent"
    ledger.begin(SETTINGS, 5)
    reserve(ledger, "trial:1", "confirm", 0)


def test_nothing_is_tested_before_the_freeze_and_nothing_tuned_after_it(ledger: Ledger) -> None:
    with pytest.raises(UsageError, match="cannot be trained") as early:
        reserve(ledger, "trial:0", "test", 0)
    assert "not frozen yet" in early.value.why
    freeze(ledger)
    with pytest.raises(UsageError) as late:
        reserve(ledger, "trial:0", "tuning", 0)
    assert "nothing is tuned any more" in late.value.why
    with pytest.raises(UsageError) as other:
        reserve(ledger, "trial:1", "test", 0)
    assert "only the frozen incumbent" in other.value.why
    reserve(ledger, "trial:0", "test", 0)
    reserve(ledger, "baseline:default", "test", 0)
    assert ledger.read(STUDY).spent == 0


def test_a_frozen_study_cannot_be_extended(ledger: Ledger) -> None:
    freeze(ledger)
    assert ledger.begin(SETTINGS, 20).incumbent == 0  # the same command shows it again
    with pytest.raises(UsageError) as refusal:
        ledger.begin(SETTINGS, 21)
    assert "--new-study" in refusal.value.fix


ROW = (
    "INTO reservations (study, configuration, role, env, seed_index, seed, seed_end, run, charge, state, attempts, worker, "
    "lease, steps, seconds, reason) VALUES ('{study}', '%s', '%s', '%s', %d, %d, %d, 'r', %d, 'open', 1, '', 0, 0, 0, '')"
)
HAND_MADE = {
    "a charge of its own": "INSERT " + ROW % ("trial:0", "test", ENV, 1, 300_001_000, 300_002_000, 1),
    "a baseline of its own": "INSERT " + ROW % ("baseline:mine", "test", ENV, 1, 300_001_000, 300_002_000, 0),
    "another trial": "INSERT " + ROW % ("trial:1", "test", ENV, 1, 300_001_000, 300_002_000, 0),
    "a tuning seed for a test": "INSERT " + ROW % ("trial:0", "test", ENV, 1, 100_000_000, 100_001_000, 0),
    "an interval of its own": "INSERT " + ROW % ("trial:0", "test", ENV, 1, 300_001_000, 300_001_000, 0),
    "one seed more": "INSERT " + ROW % ("trial:0", "test", ENV, 10, 300_010_000, 300_011_000, 0),
    "an environment of its own": "INSERT " + ROW % ("trial:0", "test", "Other-v1", 1, 300_001_000, 300_002_000, 0),
    "tuning after the freeze": "INSERT " + ROW % ("trial:0", "tuning", ENV, 1, 100_001_000, 100_002_000, 1),
    "the same again": "REPLACE " + ROW % ("trial:0", "tuning", ENV, 0, 100_000_000, 100_001_000, 1),
    "another role": "UPDATE reservations SET role = 'test'",
    "another seed": "UPDATE reservations SET seed = 5",
    "another score": "UPDATE reservations SET score = 5 WHERE state = 'finished'",
    "a deletion": "DELETE FROM reservations",
    "other settings": "UPDATE openrlb_studies SET settings = '{{}}'",
    "another incumbent": "UPDATE openrlb_studies SET incumbent = 1",
    "another budget": "UPDATE openrlb_studies SET budget = 1000",
    "a thaw": "UPDATE openrlb_studies SET frozen_at = NULL",
    "a thaw by replacement": "REPLACE INTO openrlb_studies (study, name, settings, budget, created) "
    "SELECT study, name, settings, budget, created FROM openrlb_studies",
    "other hyperparameters": "UPDATE openrlb_trials SET hyperparameters = '{{}}'",
    "another trial in its place": "REPLACE INTO openrlb_trials SELECT * FROM openrlb_trials",
}


@pytest.mark.parametrize("what", HAND_MADE)
def test_a_hand_made_statement_is_refused_by_the_database(ledger: Ledger, file: Path, what: str) -> None:
    reserve(ledger, "trial:0", "tuning", 0)
    with ledger.transaction() as change:
        change.close(1, ME, "finished", score=1.0)
    freeze(ledger)
    before = ledger.read(STUDY)
    with (
        closing(sqlite3.connect(file, isolation_level=None)) as connection,
        pytest.raises(sqlite3.IntegrityError, match="openrlb: "),
    ):
        connection.execute(HAND_MADE[what].format(study=STUDY))
    assert ledger.read(STUDY) == before


def test_a_run_is_held_while_its_worker_lives_and_shows_it(ledger: Ledger) -> None:
    reserve(ledger, "trial:0", "tuning", 0)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with ledger.transaction() as change:
        change.reserve(STUDY, "trial:0", "tuning", ENV, 1, seed_of("tuning", 1), "r1", worker_name(child.pid))
        change.reserve(STUDY, "trial:0", "tuning", ENV, 2, seed_of("tuning", 2), "r2", "elsewhere:1:0.00")
        assert change.held(STUDY) == {1, 2, 3}
    child.kill()
    child.communicate()
    with ledger.transaction() as change:
        assert change.held(STUDY) == {1, 3}  # another machine's worker is only known by its lease
        table = ledger.engine.dialect.identifier_preparer.quote("reservations")
        change.connection.exec_driver_sql(f"UPDATE {table} SET lease = lease - {LEASE_SECONDS + 1}")
        assert change.held(STUDY) == frozenset()
        change.renew(ME)
        assert change.held(STUDY) == {1}


def test_a_worker_whose_run_was_taken_writes_nothing(ledger: Ledger) -> None:
    reserve(ledger, "trial:0", "tuning", 0)
    with ledger.transaction() as change:
        assert change.retake(1, "elsewhere:1:0.00").attempts == 2
        assert not change.close(1, ME, "finished", score=5.0)
        assert change.close(1, "elsewhere:1:0.00", "finished", score=7.0, seconds=2.0)
        assert not change.close(1, "elsewhere:1:0.00", "finished", score=8.0)
    (row,) = ledger.read(STUDY).reservations
    assert (row.state, row.score, row.seconds) == ("finished", 7.0, 2.0)


def test_peeks_count_studies_that_looked_at_the_same_test_seeds(ledger: Ledger) -> None:
    others = {
        "method": replace(SETTINGS, method="random"),
        "block": replace(SETTINGS, test_block=1),
        "env": replace(SETTINGS, envs=("Acrobot-v1",)),
        "algo": replace(SETTINGS, algo="dqn"),
        "both": replace(SETTINGS, envs=("Acrobot-v1", "CartPole-v1")),
    }
    assert ledger.read(STUDY).test_peeks == 0
    for settings in (SETTINGS, *others.values()):
        ledger.begin(settings, 9)
        with ledger.transaction() as change:
            change.freeze(settings.digest, 0)
    assert {name: ledger.read(settings.digest).test_peeks for name, settings in others.items()} == {
        "method": 3,
        "block": 1,
        "env": 2,
        "algo": 1,
        "both": 4,
    }
    assert ledger.read(STUDY).test_peeks == 3


def test_studies_are_found_by_name_and_by_its_beginning(ledger: Ledger) -> None:
    other = replace(SETTINGS, method="random")
    ledger.begin(other, 9)
    assert ledger.read(SETTINGS.name).settings == SETTINGS
    assert ledger.read("ppo-CartPole-v1-r").settings == other
    with pytest.raises(UsageError, match="several"):
        ledger.read("ppo-")
    with pytest.raises(NothingMatched, match="no study"):
        ledger.read("dqn")
    assert [record.id for record in ledger.studies()] == [STUDY, other.digest]


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("nonsense", UsageError),
        ("oracle+nothing://x", UsageError),
        ("sqlite:////proc/nowhere/hpo.db", StoreUnwritable),
        ("postgresql+psycopg://me:secret@127.0.0.1:1/nothing", (UsageError, StoreUnwritable)),
        ("me:secret@host/db", UsageError),
        ("postgres://h/db?password=secret", UsageError),
        ("postgresql+psycopg//me:secret/host", UsageError),
        ("postgresql+psycopg://127.0.0.1:1/x?user=me&password=secret", (UsageError, StoreUnwritable)),
    ],
)
def test_a_storage_that_cannot_be_used_is_a_sentence_without_its_password(url: str, kind: type[Exception]) -> None:
    with pytest.raises(kind) as refusal:
        Ledger(url)
    assert "secret" not in str(refusal.value) and refusal.value.fix  # type: ignore[attr-defined]


def test_a_file_that_is_no_database_is_left_alone(file: Path) -> None:
    file.write_text("my notes, long enough to be no empty database " * 50)
    with pytest.raises(StoreUnwritable, match="cannot be opened"):
        Ledger(f"sqlite:///{file}")
    assert file.read_text().startswith("my notes")


def test_two_processes_may_begin_the_first_study_at_once(tmp_path: Path) -> None:
    code = "import sys; from openrlb_hpo.ledger import Ledger\nwith Ledger(sys.argv[1]) as ledger: print(len(ledger.studies()))"
    url = f"sqlite:///{tmp_path / 'new.db'}"
    both = [subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    answers = [process.communicate(timeout=60) for process in both]
    assert [out.strip() for out, _ in answers] == [b"0"] * 3, [err[-300:] for _, err in answers]
