"""What becomes of a study when its PostgreSQL server goes away, stands still, or is another openrlb's."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fake_runner import fake_runner, item
from postgresql_server import PostgresqlServer, postgresql_server
from typer.testing import Result

from openrlb.errors import StoreTooNew, StoreUnwritable
from openrlb.store import Store
from openrlb_hpo import database, source
from openrlb_hpo.ledger import Ledger
from openrlb_hpo.planner import Done, next_step
from openrlb_hpo.records import StudySettings
from openrlb_hpo.source import StudySource
from openrlb_runners.memo import Memo
from openrlb_runners.request import PinnedRunner, TrainingRequest, WorkItem
from openrlb_runners.worker import Event, work


def settings_for(runner: PinnedRunner, **more: object) -> StudySettings:
    space = {"name": "n", "algo": "walk", "parameters": {"rate": {"uniform": [0.1, 2.0]}}}
    words = ("walk", "fake", runner.source, runner.lock, ("Line-v0",), 20, space, "n", "d")
    return StudySettings(*words, method="random", tuning_seeds=2, confirm=1, test_seeds=2, **more)  # type: ignore[arg-type]


def resolving(runner: PinnedRunner) -> Callable[[TrainingRequest], Mapping[str, Any]]:
    return lambda asked: item(runner, asked).effective


@pytest.mark.parametrize("how", [signal.SIGQUIT, pytest.param(signal.SIGINT, marks=pytest.mark.stress)])
def test_a_study_outlives_a_restart_of_its_server(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch, how: signal.Signals
) -> None:
    """The server goes when a run begins, and comes again some turns later: each run is trained once, the budget is spent."""
    runner = fake_runner(tmp_path / "fake")
    monkeypatch.setattr(source, "RETRY_SECONDS", 0.05)
    told: list[str] = []
    begun: list[str] = []
    looks = count()
    with postgresql_server(safe=True) as server, Ledger(server.fresh()) as ledger:
        record = ledger.begin(settings_for(runner), 8)
        study = StudySource(ledger, record, store, runner, resolving(runner), memo=Memo(store), on_outage=told.append)
        down = [False]

        def watch(event: Event) -> None:
            if event.kind == "started" and event.item is not None:
                begun.append(event.item.key.digest)
                if len(begun) in (2, 5):
                    server.stop(how)
                    down[0] = True

        real = StudySource.take

        def take(self: StudySource) -> object:
            if down[0] and next(looks) % 3 == 2:  # some looks in vain, then it is there again
                server.start()
                down[0] = False
            return real(self)

        monkeypatch.setattr(StudySource, "take", take)
        with study:
            work(study, workers=1, store=store, memo=Memo(store), on_event=watch)
        ended = ledger.read(record.id)
    assert isinstance(next_step(ended), Done) and not study.problem
    assert len(begun) == len(set(begun)) == len({row.run for row in ended.reservations})
    assert ended.spent <= ended.budget == 8 and all(row.state == "finished" for row in ended.reservations)
    assert len(told) == 2 and "waited for" in told[0]


def test_a_server_that_stays_away_ends_the_worker(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch, postgresql_url: Callable[[], str]
) -> None:
    runner = fake_runner(tmp_path / "fake")
    monkeypatch.setattr(source, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(source, "OUTAGE_SECONDS", 0.0)
    with Ledger(postgresql_url()) as ledger:
        study = StudySource(ledger, ledger.begin(settings_for(runner), 8), store, runner, resolving(runner))
        ledger.engine.dispose()
        monkeypatch.setattr(ledger, "engine", sa.create_engine("postgresql+psycopg://nobody:word@127.0.0.1:1/nothing"))
        study.take()
        with pytest.raises(StoreUnwritable) as refused:
            study.take()
    assert "word" not in str(refused.value)


def test_what_a_torn_transaction_reserved_is_given_back(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch, postgresql_url: Callable[[], str]
) -> None:
    """The commit came through, its answer did not: the row has a living worker who does not know of it."""
    runner = fake_runner(tmp_path / "fake")
    monkeypatch.setattr(source, "RETRY_SECONDS", 0.0)
    with Ledger(postgresql_url()) as ledger:
        study = StudySource(ledger, ledger.begin(settings_for(runner), 8), store, runner, resolving(runner))
        real = StudySource._item
        torn = iter([True])

        def lost(self: StudySource, *words: object) -> object:
            if next(torn, False):
                raise StoreUnwritable("the studies cannot be opened", "connection lost", "x")
            return real(self, *words)  # type: ignore[arg-type]

        monkeypatch.setattr(StudySource, "_item", lost)
        study.take()
        (row,) = ledger.read(study.study).reservations
        assert row.state == "open" and row.worker == study.worker
        taken = study.take()
        (row,) = ledger.read(study.study).reservations
        assert isinstance(taken, WorkItem) and taken.key.digest == row.run
        assert row.attempts == 1


def test_one_that_stands_still_in_a_transaction_does_not_stop_the_others(
    postgresql: PostgresqlServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(database, "IDLE_SECONDS", 1)
    runner = fake_runner(tmp_path / "fake")
    url = postgresql.fresh()
    with Ledger(url) as still, Ledger(url) as other:
        record = still.begin(settings_for(runner), 8)
        with pytest.raises(StoreUnwritable), still.transaction(record.id) as change:
            with other.transaction(record.id) as theirs:  # waits until the server has ended the first
                theirs.extend(record.id, 9)
            change.extend(record.id, 10)
        assert other.read(record.id).budget == 9


def test_a_database_of_a_newer_openrlb_is_left_as_it_is(tmp_path: Path, postgresql_url: Callable[[], str]) -> None:
    for url in (f"sqlite:///{tmp_path / 'hpo.db'}", postgresql_url()):
        with Ledger(url) as ledger, ledger.engine.begin() as connection:
            assert connection.exec_driver_sql("SELECT version FROM openrlb_schema").scalar() == 1
            connection.exec_driver_sql("INSERT INTO openrlb_schema VALUES (7)")
        with pytest.raises(StoreTooNew) as refused:
            Ledger(url)
        assert "7" in refused.value.why and refused.value.exit_code == 1


def test_many_that_open_an_empty_database_at_once_make_it_once(postgresql: PostgresqlServer) -> None:
    url = postgresql.fresh()
    script = f"from openrlb_hpo.ledger import Ledger; Ledger({url!r}).engine.dispose()"
    at_once = [subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [one.communicate()[1] for one in at_once] == [""] * 4
    with Ledger(url) as ledger, ledger.engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM openrlb_schema").scalar() == 1


def test_a_password_is_never_told(postgresql: PostgresqlServer, cli: Callable[..., Result]) -> None:
    """Whatever is wrong with the address."""
    for address in (
        "postgresql+psycopg://me:hidden@127.0.0.1:1/x",
        f"postgresql+psycopg://me:hidden@/x?host={postgresql.folder}",
    ):
        ended = cli("study", "list", "--storage", address)
        assert ended.exit_code == 5
        assert "hidden" not in ended.output and ended.stderr.count("\n  why: ") == 1
