"""Sweeps of tracked runs: what counts as dead, what is left alone, and what a run that was taken for dead loses: nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from tracked_runs import folders, points, spooled, start, stored

from openrlb.store import Store
from openrlb.tracking import folder as folder_module
from openrlb.tracking import owner, sweep
from openrlb.tracking import run as run_module
from openrlb.tracking.folder import ROWS
from openrlb_hpo.owners import is_dead, worker_name


def test_a_run_that_a_sweep_took_for_dead_goes_on_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a shared folder a pause longer than the lease looks like a death."""
    monkeypatch.setattr(run_module, "_LOOK_AGAIN_MS", -1)
    with start() as run:
        run.log(1, loss=1.0)
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr("openrlb.tracking.owner.machine", lambda: "another")
            assert sweep().running == 1
            elsewhere.setattr("openrlb.tracking.owner.LEASE_SECONDS", -1.0)
            assert sweep().stored == [run.id]
        assert folders() == []
        Store().fold()
        assert [row.columns["state"] for row in Store().runs()] == ["crashed"]
        run.log(2, loss=2.0)
        assert len(folders()) == 1
        run.log(3, loss=3.0)
    assert Store().fold().changed == 1
    assert [(row.columns["run"], row.columns["state"]) for row in Store().runs()] == [(run.id, "finished")]
    assert Store().query("SELECT step, value FROM points ORDER BY step").rows == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_a_run_taken_for_dead_after_its_last_row_is_still_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    with start() as run:
        run.log(1, loss=1.0)
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr("openrlb.tracking.folder.is_alive", lambda owner, last_row: False)
            assert sweep().stored == [run.id]
    assert [batch.run.state for batch in spooled()] == ["crashed", "finished"]
    assert points("loss") == [(1, 1.0)]


def test_a_running_run_is_left_alone_and_counted() -> None:
    with start() as run:
        run.log(1, loss=1.0)
        report = sweep()
        assert (report.running, report.stored) == (1, [])
        assert not list(Store().layout.spool.glob("*")) if Store().layout.spool.exists() else True
        assert run.id in repr(run)


def test_a_damaged_run_folder_is_named_and_kept() -> None:
    run = start()
    run.log(1, loss=1.0)
    (folder,) = folders()
    (folder / "tracked.json").write_text("{")
    ((name, why),) = sweep().damaged
    assert name == folder.name
    assert "cannot be read" in why
    (kept,) = Store().layout.quarantine.iterdir()
    assert (kept / ROWS).stat().st_size > 0
    assert sweep().damaged == []
    run.finish()
    assert stored().state == "finished"


def test_a_folder_that_another_sweep_removes_while_it_is_read_is_not_stored_by_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    with start() as run:
        run.log(1, loss=1.0)
        genuine = folder_module.read_git

        def read_git(answers: Path) -> tuple[str | None, dict[str, bytes], list[str]]:
            folder_module.remove_folder(answers.parent)
            return genuine(answers)

        with monkeypatch.context() as meanwhile:
            meanwhile.setattr("openrlb.tracking.folder.is_alive", lambda owner, last_row: False)
            meanwhile.setattr(folder_module, "read_git", read_git)
            assert sweep().stored == []
        assert not Store().layout.spool.exists()
    assert stored().state == "finished"


def test_an_owner_is_known_by_more_than_its_number() -> None:
    mine = owner.this_process()
    assert owner.is_alive(mine, 0.0)
    assert not owner.is_alive({**mine, "began": f"{mine['began']}0"}, 0.0)  # the number was given to another process
    assert not owner.is_alive({"machine": mine["machine"], "pid": "?"}, 0.0)
    other = {**mine, "machine": "another"}
    assert owner.is_alive(other, time.time() - owner.LEASE_SECONDS / 2)
    assert not owner.is_alive(other, time.time() - owner.LEASE_SECONDS * 2)
    child = subprocess.Popen([sys.executable, "-c", ""])
    entry = {**mine, "pid": child.pid, "began": owner.began(child.pid)}
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert not owner.is_alive(entry, time.time())
    child.wait()
    assert not owner.is_alive(entry, time.time())


def test_a_clock_that_is_set_makes_no_living_owner_another(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, worker = owner.this_process(), worker_name()
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: 1.0)  # what it is computed from was set
    assert owner.is_alive(mine, 0.0) and not is_dead(worker)


def test_a_run_that_ended_at_a_time_which_is_yet_to_come_is_stored() -> None:
    """The clock was set back a day while its process, which could not store it, lives on."""
    run = start()
    run.log(1, loss=1.0)
    (folder,) = folders()
    folder_module.mark_end(folder, folder_module.End("finished", rows=1))
    assert sweep().running == 1
    os.utime(folder / folder_module.END, (time.time() + 86_400,) * 2)
    assert sweep().stored == [run.id]
    assert stored().state == "finished"
    run.finish()


def test_a_folder_of_somebody_else_is_left_alone() -> None:
    other = Store().layout.root / "runs" / "key" / "0"
    other.mkdir(parents=True)
    (other / "metrics.jsonl").write_text("{}\n")
    report = sweep()
    assert (report.stored, report.running, report.damaged) == ([], 0, [])
    assert (other / "metrics.jsonl").exists()
