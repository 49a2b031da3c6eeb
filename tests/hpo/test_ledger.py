"""The ledger's database refuses what would break a study, whoever writes to it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import cache
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


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'hpo.db'}"
    return str(request.getfixturevalue("postgresql_url")())


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    with Ledger(url) as ledger:
        ledger.begin(SETTINGS, 20)
        with ledger.transaction() as change:
            change.add_trial(STUDY, Trial(0, {"lr": 0.1}, {"learning_rate": 0.1}))
            change.add_trial(STUDY, Trial(1, {"lr": 0.2}, {"learning_rate": 0.2}))
        yield ledger


def reserve(ledger: Ledger, configuration: str, role: str, index: int, seed: int | None = None) -> None:
    with ledger.transaction() as change:
        taken = seed_of(role, index) if seed is None else seed  # type: ignore[arg-type]
        change.reserve(STUDY, configuration, role, ENV, index, taken, f"{configuration}{role}{index}", ME)  # type: ignore[arg-type]


def train(ledger: Ledger, settings: StudySettings = SETTINGS, number: int = 0) -> None:
    """Trains a trial on every tuning seed."""
    with ledger.transaction() as change:
        study, name = settings.digest, f"trial:{number}"
        for index in range(settings.tuning_seeds):
            for env in settings.envs:
                row = change.reserve(study, name, "tuning", env, index, seed_of("tuning", index), f"{name}{env}{index}", ME)
                change.close(row.number, ME, "finished", score=1.0)
        change.close_trial(study, number, "complete")


def freeze(ledger: Ledger) -> None:
    """Trains trial 0, and freezes it."""
    train(ledger)
    with ledger.transaction() as change:
        change.close_trial(STUDY, 1, "failed")
        change.freeze(STUDY, 0)


def by_hand(url: str, statement: str) -> None:
    """Sends a statement to a database without openrlb."""
    statement = statement.format(study=STUDY, now="now")
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
            connection.execute(statement)
        return
    import psycopg

    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as server:
        server.execute(statement)  # type: ignore[call-overload]


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


def test_the_budget_is_never_overshot(url: str) -> None:
    with Ledger(url) as ledger:
        ledger.begin(SETTINGS, 4)
        with ledger.transaction() as change:
            change.add_trial(STUDY, Trial(0, {}, {}))
        train(ledger)
        reserve(ledger, "trial:0", "confirm", 0)
        with pytest.raises(UsageError) as refusal:
            reserve(ledger, "trial:0", "confirm", 1)
        assert refusal.value.why == "the budget of the study is spent"
        ledger.begin(SETTINGS, 5)
        reserve(ledger, "trial:0", "confirm", 1)


def test_a_smaller_budget_leaves_a_study_its_own_and_the_database_takes_none_back(ledger: Ledger) -> None:
    assert ledger.begin(SETTINGS, 19).budget == 20
    with pytest.raises(UsageError, match="refused") as refusal, ledger.transaction() as change:
        change.extend(STUDY, 19)
    assert refusal.value.why == "the budget of a study only grows"
    with ledger.transaction() as change:
        change.extend(STUDY, 21)
    assert ledger.read(STUDY).budget == 21


def test_only_a_complete_trial_is_frozen_and_only_a_trained_one_is_complete(ledger: Ledger) -> None:
    with pytest.raises(UsageError) as early, ledger.transaction() as change:
        change.freeze(STUDY, 0)
    assert early.value.why == "only a trial that is complete can be the incumbent"
    with pytest.raises(UsageError) as untrained, ledger.transaction() as change:
        change.close_trial(STUDY, 0, "complete")
    assert "trained on every tuning seed" in untrained.value.why
    train(ledger)
    with pytest.raises(UsageError) as running, ledger.transaction() as change:
        change.freeze(STUDY, 0)
    assert running.value.why == "a trial of the study is still running"
    with ledger.transaction() as change:
        change.close_trial(STUDY, 1, "failed")
    with pytest.raises(UsageError, match="only a trial that is complete"), ledger.transaction() as change:
        change.freeze(STUDY, 1)
    with ledger.transaction() as change:
        change.freeze(STUDY, 0)
    assert ledger.read(STUDY).incumbent == 0


def test_nothing_is_tested_before_the_freeze_and_nothing_tuned_after_it(ledger: Ledger) -> None:
    with pytest.raises(UsageError, match="cannot be trained") as early:
        reserve(ledger, "trial:0", "test", 0)
    assert "not frozen yet" in early.value.why
    freeze(ledger)
    with pytest.raises(UsageError) as late:
        reserve(ledger, "trial:1", "tuning", 0)
    assert "nothing is tuned any more" in late.value.why
    with pytest.raises(UsageError) as other:
        reserve(ledger, "trial:1", "test", 0)
    assert "only the frozen incumbent" in other.value.why
    reserve(ledger, "trial:0", "test", 0)
    reserve(ledger, "baseline:default", "test", 0)
    assert ledger.read(STUDY).spent == 3


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
    "a role of its own": "INSERT " + ROW % ("trial:0", "look", ENV, 1, 300_001_000, 300_002_000, 0),
    "an environment of its own": "INSERT " + ROW % ("trial:0", "test", "Other-v1", 1, 300_001_000, 300_002_000, 0),
    "tuning after the freeze": "INSERT " + ROW % ("trial:1", "tuning", ENV, 1, 100_001_000, 100_002_000, 1),
    "the same again": "INSERT " + ROW % ("trial:0", "tuning", ENV, 0, 100_000_000, 100_001_000, 1),
    "a run that is over before it began": "INSERT "
    + (ROW % ("trial:0", "test", ENV, 1, 300_001_000, 300_002_000, 0)).replace("'open'", "'lost'"),
    "a run of no study": "INSERT "
    + (ROW % ("trial:0", "test", ENV, 1, 300_001_000, 300_002_000, 0)).replace("{study}", "nothing"),
    "another role": "UPDATE reservations SET role = 'test'",
    "another seed": "UPDATE reservations SET seed = 5",
    "another score": "UPDATE reservations SET score = 5 WHERE state = 'finished'",
    "a score without an end": "UPDATE reservations SET score = 5 WHERE state = 'open'",
    "an end without a score": "UPDATE reservations SET state = 'finished' WHERE state = 'open'",
    "a state of its own": "UPDATE reservations SET state = 'won' WHERE state = 'open'",
    "a deletion": "DELETE FROM reservations",
    "other settings": "UPDATE openrlb_studies SET settings = '{{}}'",
    "another beginning": "UPDATE openrlb_studies SET created = '2020'",
    "another incumbent": "UPDATE openrlb_studies SET incumbent = 1",
    "another budget": "UPDATE openrlb_studies SET budget = 1000",
    "a thaw": "UPDATE openrlb_studies SET frozen_at = NULL",
    "a study that begins frozen": "INSERT INTO openrlb_studies (study, name, settings, budget, created, incumbent, frozen_at) "
    "SELECT 'x', 'x', settings, budget, created, incumbent, frozen_at FROM openrlb_studies",
    "a trial after the freeze": "INSERT INTO openrlb_trials (study, number, params, hyperparameters, origin, state, attributes,"
    " reason) SELECT study, 2, params, hyperparameters, origin, 'running', attributes, reason FROM openrlb_trials LIMIT 1",
    "other hyperparameters": "UPDATE openrlb_trials SET hyperparameters = '{{}}'",
    "a trial opened again": "UPDATE openrlb_trials SET state = 'running'",
}
REPLACED = {
    "a run again": "REPLACE " + ROW % ("trial:0", "tuning", ENV, 0, 100_000_000, 100_001_000, 1),
    "a thaw by replacement": "REPLACE INTO openrlb_studies (study, name, settings, budget, created) "
    "SELECT study, name, settings, budget, created FROM openrlb_studies",
    "another trial in its place": "REPLACE INTO openrlb_trials SELECT * FROM openrlb_trials",
}
EMPTIED = {table: f"TRUNCATE {table} CASCADE" for table in ("reservations", "openrlb_trials", "openrlb_studies")}
ALL = [(what, words, kind) for kind in ("sqlite", "postgresql") for what, words in HAND_MADE.items()]
ALL += [(what, words, "sqlite") for what, words in REPLACED.items()]
ALL += [(what, words, "postgresql") for what, words in EMPTIED.items()]


@pytest.fixture(scope="module")
def frozen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Ledger]]:
    """A study of each kind of database whose test has begun: no refused statement changes it."""
    with ExitStack() as stack:

        @cache
        def made(kind: str) -> Ledger:
            if kind == "sqlite":
                url = f"sqlite:///{tmp_path_factory.mktemp('frozen') / 'hpo.db'}"
            else:
                url = request.getfixturevalue("postgresql_url")()
            ledger = stack.enter_context(Ledger(url))
            ledger.begin(SETTINGS, 20)
            with ledger.transaction() as change:
                change.add_trial(STUDY, Trial(0, {"lr": 0.1}, {"learning_rate": 0.1}))
                change.add_trial(STUDY, Trial(1, {"lr": 0.2}, {"learning_rate": 0.2}))
            freeze(ledger)
            reserve(ledger, "trial:0", "test", 0)
            return ledger

        yield made


@pytest.mark.parametrize(("what", "statement", "kind"), ALL, ids=[f"{what} ({kind})" for what, _, kind in ALL])
def test_a_hand_made_statement_is_refused_by_the_database(
    frozen: Callable[[str], Ledger], what: str, statement: str, kind: str
) -> None:
    ledger = frozen(kind)
    before = ledger.read(STUDY)
    with pytest.raises(Exception, match="openrlb: ") as refusal:
        by_hand(ledger.url, statement)
    assert type(refusal.value).__mro__[1].__name__ in ("DatabaseError", "IntegrityError"), what
    assert ledger.read(STUDY) == before


EARLY = {
    "a baseline's test before the freeze": "INSERT " + ROW % ("baseline:default", "test", ENV, 0, 300_000_000, 300_001_000, 0),
    "the confirmation of a trial that runs": "INSERT " + ROW % ("trial:1", "confirm", ENV, 0, 200_000_000, 200_001_000, 1),
    "other words of the sampler": "UPDATE openrlb_trials SET attributes = '{{\"a\": 1}}' WHERE number = 1",
    "other parameters": "UPDATE openrlb_trials SET params = '{{}}' WHERE number = 1",
}


@pytest.mark.parametrize("what", EARLY)
def test_a_hand_made_statement_is_refused_while_a_study_is_tuned(ledger: Ledger, what: str) -> None:
    before = ledger.read(STUDY)
    assert before.trials[1].state == "running"
    with pytest.raises(Exception, match="openrlb: "):
        by_hand(ledger.url, EARLY[what])
    assert ledger.read(STUDY) == before


def statements(ledger: Ledger) -> list[str]:
    """The triggers of a database."""
    catalog = "SELECT sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name"
    if ledger.engine.dialect.name == "postgresql":
        catalog = (
            "SELECT pg_get_triggerdef(t.oid) || p.prosrc || t.tgenabled::text FROM pg_trigger t"
            " JOIN pg_proc p ON p.oid = t.tgfoid WHERE NOT t.tgisinternal"
            " AND p.pronamespace = current_schema()::regnamespace ORDER BY tgname"
        )
    with ledger.transaction() as change:
        return [text for (text,) in change.connection.exec_driver_sql(catalog)]


def test_rules_that_were_altered_or_dropped_are_mended_when_the_database_is_opened(ledger: Ledger) -> None:
    url, rules = ledger.url, statements(ledger)
    name, table = "openrlb_delete_reservations", "reservations"
    if url.startswith("sqlite"):
        ways = [
            [f"DROP TRIGGER {name}"],
            [f"DROP TRIGGER {name}", f"CREATE TRIGGER {name} BEFORE DELETE ON {table} WHEN 0 BEGIN SELECT 1; END"],
            ["CREATE TRIGGER openrlb_of_an_older_one BEFORE DELETE ON reservations BEGIN SELECT RAISE(ABORT, 'no'); END"],
        ]
    else:
        ways = [
            [f"DROP TRIGGER {name} ON {table}"],
            [f"ALTER TABLE {table} DISABLE TRIGGER {name}"],
            [f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'"],
            [
                f"DROP TRIGGER {name} ON {table}",
                f"CREATE TRIGGER {name} AFTER DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()",
            ],
            [
                f"DROP TRIGGER {name} ON {table}",
                f"CREATE TRIGGER {name} BEFORE DELETE ON {table} FOR EACH ROW WHEN (OLD.charge = 9) EXECUTE FUNCTION {name}()",
            ],
        ]
    assert rules
    for way in ways:
        for statement in way:
            by_hand(url, statement)
        with Ledger(url) as again:
            assert statements(again) == rules
            again.read(STUDY)
    reserve(ledger, "trial:0", "tuning", 0)
    with pytest.raises(Exception, match="never deleted"):
        by_hand(url, "DELETE FROM reservations")


def test_a_database_whose_rules_are_there_is_opened_without_changing_it(ledger: Ledger) -> None:
    with ledger.transaction() as change:
        if ledger.engine.dialect.name == "sqlite":
            before = change.connection.exec_driver_sql("PRAGMA schema_version").scalar_one()
        else:
            before = sorted(change.connection.exec_driver_sql("SELECT oid FROM pg_trigger").scalars())
    with Ledger(ledger.url) as again, again.transaction() as change:
        if ledger.engine.dialect.name == "sqlite":
            assert change.connection.exec_driver_sql("PRAGMA schema_version").scalar_one() == before
        else:
            assert sorted(change.connection.exec_driver_sql("SELECT oid FROM pg_trigger").scalars()) == before


def test_two_that_write_by_hand_at_once_cannot_overshoot_a_budget(postgresql_url: Callable[[], str]) -> None:
    import psycopg

    url = postgresql_url()
    with Ledger(url) as ledger:
        ledger.begin(SETTINGS, 1)
        with ledger.transaction() as change:
            change.add_trial(STUDY, Trial(0, {}, {}))
        rows = [
            (
                "INSERT " + ROW % ("trial:0", "tuning", ENV, index, 100_000_000 + 1000 * index, 100_001_000 + 1000 * index, 1)
            ).format(study=STUDY)
            for index in range(2)
        ]
        refused: list[str] = []

        def second() -> None:
            """Waits for the first one's transaction, and sees what it has written."""
            try:
                by_hand(url, rows[1].replace("'r'", "'s'"))
            except psycopg.errors.IntegrityError as error:
                refused.append(str(error))

        with psycopg.connect(url.replace("+psycopg", "")) as first:
            first.execute(rows[0])  # type: ignore[call-overload]
            thread = threading.Thread(target=second)
            thread.start()
            with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as watch:
                while not watch.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'").fetchone()[0]:  # type: ignore[index]
                    assert thread.is_alive()
            first.commit()
            thread.join()
        assert len(refused) == 1 and "the budget of the study is spent" in refused[0]
        assert ledger.read(STUDY).spent == 1


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
        change.connection.exec_driver_sql(f"UPDATE reservations SET lease = lease - {LEASE_SECONDS + 1}")
        assert change.held(STUDY) == frozenset()
        change.renew(ME, STUDY)
        assert change.held(STUDY) == {1}


def test_a_worker_whose_run_was_taken_writes_nothing(ledger: Ledger) -> None:
    reserve(ledger, "trial:0", "tuning", 0)
    with ledger.transaction() as change:
        assert change.retake(1, "elsewhere:1:0.00").attempts == 2
        assert not change.close(1, ME, "finished", score=5.0)
        assert change.close(1, "elsewhere:1:0.00", "finished", score=7.0, seconds=2.0)
        assert not change.close(1, "elsewhere:1:0.00", "finished", score=8.0)
        change.uncount(1, ME)
    (row,) = ledger.read(STUDY).reservations
    assert (row.state, row.score, row.seconds, row.attempts) == ("finished", 7.0, 2.0, 2)


def test_nobody_uncounts_the_attempt_of_another_worker(ledger: Ledger) -> None:
    reserve(ledger, "trial:0", "tuning", 0)
    with ledger.transaction() as change:
        change.retake(1, "elsewhere:1:0.00")
        change.uncount(1, ME)
    assert ledger.read(STUDY).reservations[0].attempts == 2
    with ledger.transaction() as change:
        change.uncount(1, "elsewhere:1:0.00")
    assert ledger.read(STUDY).reservations[0].attempts == 1


def test_peeks_count_studies_that_looked_at_the_same_test_seeds(ledger: Ledger) -> None:
    others = {
        "method": replace(SETTINGS, method="random"),
        "block": replace(SETTINGS, test_block=1),
        "env": replace(SETTINGS, envs=("Acrobot-v1",)),
        "algo": replace(SETTINGS, algo="dqn"),
        "both": replace(SETTINGS, envs=("Acrobot-v1", "CartPole-v1")),
    }
    assert ledger.read(STUDY).test_peeks == 0
    freeze(ledger)
    for settings in others.values():
        ledger.begin(settings, 9)
        with ledger.transaction() as change:
            change.add_trial(settings.digest, Trial(0, {}, {}))
        train(ledger, settings)
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
        ("postgresql+psycopg://me:secret@[::1/db", UsageError),
        ("postgresql+psycopg://me:12@host:secret/db", UsageError),
        ("postgresql+psycopg://me:s@c[secret@127.0.0.1:1/db", UsageError),
        ("postgresql+psycopg://me:s@c/secret@127.0.0.1:1/db", UsageError),
        ("postgres://h/db?password=secret", UsageError),
        ("postgresql+psycopg//me:secret/host", UsageError),
        ("postgresql+psycopg://127.0.0.1:1/x?user=me&password=secret", (UsageError, StoreUnwritable)),
    ],
)
def test_a_storage_that_cannot_be_used_is_a_sentence_without_its_password(url: str, kind: type[Exception]) -> None:
    with pytest.raises(kind) as refusal:
        Ledger(url)
    assert "secret" not in str(refusal.value) and refusal.value.fix  # type: ignore[attr-defined]


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "hpo.db"
    file.write_text("my notes, long enough to be no empty database " * 50)
    with pytest.raises(StoreUnwritable, match="cannot be opened"):
        Ledger(f"sqlite:///{file}")
    assert file.read_text().startswith("my notes")


def test_two_processes_may_begin_the_first_study_at_once(url: str) -> None:
    code = "import sys; from openrlb_hpo.ledger import Ledger\nwith Ledger(sys.argv[1]) as ledger: print(len(ledger.studies()))"
    both = [subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    answers = [process.communicate(timeout=60) for process in both]
    assert [out.strip() for out, _ in answers] == [b"0"] * 3, [err[-300:] for _, err in answers]
