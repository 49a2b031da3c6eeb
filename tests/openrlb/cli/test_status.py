"""What status and cancel say and do of work on this machine; tests of the batch system are in test_launching.py."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_runner import fake_runner, item, request, write_runner
from programs import start, wait_until
from studied import BARE
from typer.testing import Result

from openrlb.api.status import Array, status
from openrlb.cli import status as verb
from openrlb.store import Store
from openrlb_hpo.ledger import default_url, open_ledger
from openrlb_hpo.owners import worker_name
from openrlb_hpo.records import Trial
from openrlb_hpo.seeds import seed_of
from openrlb_runners.memo import Memo
from openrlb_runners.run_folder import RECORD, Ended, claim, mark_ended, store_folders
from openrlb_runners.shared_batch import SharedBatch, write_batch
from openrlb_runners.worker import work

Cli = Callable[..., Result]
COUNTS = ("queued", "running", "done", "lost", "failed")


def rows(cli: Cli, *words: str) -> list[dict[str, Any]]:
    ended = cli("status", *words, "--json")
    assert ended.exit_code == 0, ended.stderr
    found: list[dict[str, Any]] = json.loads(ended.stdout)
    return found


def counts(row: dict[str, Any]) -> tuple[int, ...]:
    return tuple(row[name] for name in COUNTS)


def orphan(folder: Path) -> None:
    """Makes a run folder one whose openrlb has died."""
    record = json.loads((folder / RECORD).read_text())
    (folder / RECORD).write_text(json.dumps({**record, "owner": {**record["owner"], "began": "before"}}))


def test_nothing_was_begun(cli: Cli) -> None:
    ended = cli("status")
    assert ended.exit_code == 3 and "nothing was begun yet" in ended.stderr
    assert cli("cancel", "x").exit_code == 3
    assert cli("status", "--watch", "--json").exit_code == 2


def test_runs_of_a_batch_are_counted_by_how_they_stand(cli: Cli, store: Store, tmp_path: Path) -> None:
    runner = fake_runner(tmp_path / "fake")
    items = [item(runner, request(seed=seed)) for seed in range(5)]
    name = write_batch(store.layout, items, Memo(store), device="cpu", wandb="off").name
    lost, lives, *_ = [claim(store.layout, one, 1) for one in items[:2]]
    assert lost is not None and lives is not None
    orphan(lost)
    ended = store.layout.root / "batches" / name / "ended"
    (ended / f"{items[2].key.digest}.json").write_text('{"state": "diverged", "reason": ""}')
    (ended / f"{items[3].key.digest}.json").write_text('{"state": "crashed", "reason": ""}')
    (row,) = rows(cli)
    assert (row["name"], row["kind"], row["state"], counts(row)) == (name, "batch", "running", (1, 1, 1, 1, 1))
    assert lost.exists()  # it is counted, and left to the others to store
    mark_ended(lives, Ended("killed", ("interrupted",)))
    store_folders(store.layout, [lives, lost])
    (row,) = rows(cli, name[:12])
    assert (row["state"], counts(row)) == ("stopped", (3, 0, 1, 0, 1))
    assert cli("status", "other").exit_code == 3
    nothing = cli("cancel", name)
    assert nothing.exit_code == 3 and "nothing of it runs" in nothing.stderr


def test_what_another_batch_has_trained_is_done(cli: Cli, store: Store, tmp_path: Path) -> None:
    runner = fake_runner(tmp_path / "fake")
    items = [item(runner, request(seed=seed)) for seed in range(2)]
    both, one = (write_batch(store.layout, part, Memo(store), device="cpu", wandb="off") for part in (items, items[:1]))
    work(SharedBatch(store, one, {"fake": runner}, Memo(store)), workers=1, store=store)
    store.fold()
    found = {row["name"]: (row["state"], counts(row)) for row in rows(cli)}
    assert found == {both.name: ("stopped", (1, 0, 1, 0, 0)), one.name: ("finished", (0, 0, 1, 0, 0))}


def test_runs_of_a_plain_run_are_shown_by_their_process(cli: Cli, store: Store, tmp_path: Path) -> None:
    runner = fake_runner(tmp_path / "fake")
    for seed in (1, 2):
        claim(store.layout, item(runner, request(seed=seed)), 1)
    (row,) = rows(cli)
    assert (row["name"], row["kind"], row["state"], counts(row)) == (f"process {os.getpid()}", "run", "running", (0, 2, 0, 0, 0))
    assert (row["algo"], row["env"]) == ("walk", "Line-v0")


def test_watching_ends_when_nothing_runs(cli: Cli, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = fake_runner(tmp_path / "fake")
    one = item(runner, request())
    write_batch(store.layout, [one], Memo(store), device="cpu", wandb="off")
    folder = claim(store.layout, one, 1)
    assert folder is not None
    looks: list[float] = []

    def wait(seconds: float) -> None:
        looks.append(seconds)
        assert len(looks) < 9
        if len(looks) == 2:
            orphan(folder)

    monkeypatch.setattr(verb.time, "sleep", wait)
    ended = cli("status", "--watch")
    assert ended.exit_code == 0 and len(looks) == 2
    lines = [line.split("\t") for line in ended.stdout.splitlines()]
    shown = [dict(zip(lines[0], line, strict=True)) for line in lines if line != lines[0]]
    assert [(one["state"], one["running"], one["lost"]) for one in shown] == [("running", "1", "0"), ("stopped", "0", "1")]


def test_a_study_of_this_machine_is_ended_and_goes_on(cli: Cli, isolation: Path, tmp_path: Path) -> None:
    write_runner(isolation / "runners" / "fake")
    (tmp_path / "space.toml").write_text("[walk]\nrate = { uniform = [0.1, 2.0] }\n")
    words = ("tune", "walk", "--env", "Line-v0", "--steps", "100000", "--set", "pause=0.02", "--budget", "8", "--confirm", "1")
    process = start(*words, "--tuning-seeds", "2", "--test-seeds", "2", "--workers", "1", "--space", tmp_path / "space.toml")
    try:
        wait_until(lambda: cli("status").exit_code == 0 and rows(cli)[0]["running"] == 1, 60)
        (row,) = rows(cli)
        assert (row["kind"], row["state"], row["done"]) == ("study", "running", 0) and row["queued"] >= 7
        dry = cli("cancel", row["name"], "--dry-run")
        assert f"process {process.pid} would be asked to end" in dry.stderr and process.poll() is None
        ended = cli("cancel", row["name"], "--json")
        assert json.loads(ended.stdout)["ended"] == [f"process {process.pid}"]
        assert process.wait(60) == 130
    finally:
        process.kill()
        process.communicate()
    (row,) = rows(cli)
    assert row["state"] == "stopped" and row["running"] == 0


def test_a_run_that_ends_while_a_cluster_is_asked_is_not_lost(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch system takes seconds to answer; meanwhile a worker closes its run and begins another one."""
    url = default_url(store.layout.root)
    with open_ledger(url) as ledger:
        study = ledger.begin(BARE, 40)
        with ledger.transaction(study.id) as change:
            change.add_trial(study.id, Trial(0, {}, {}))
            run = change.reserve(study.id, "trial:0", "tuning", "Line-v0", 0, seed_of("tuning", 0), "run", worker_name())

    def ask(arrays: Any, name: str) -> Array:
        with open_ledger(url) as ledger, ledger.transaction(study.id) as change:
            assert change.close(run.number, run.worker, "finished", score=1.0)
        return Array(running=1)

    monkeypatch.setattr("openrlb.api.status._Arrays.of", ask)
    (row,) = status(store=store)
    assert (row.running, row.lost, row.done) == (1, 0, 0)


def test_a_study_of_another_database_is_named(cli: Cli, store: Store, tmp_path: Path) -> None:
    """Its workers were submitted from here, and their database is in no file of the store."""
    write_batch(store.layout, [item(fake_runner(tmp_path / "fake"), request())], Memo(store), device="cpu", wandb="off")
    launch = store.layout.root / "launches" / "walk-Line-v0-tpe-1a2b3c.1"
    launch.mkdir(parents=True)
    (launch / ".openrlb_storage").write_text("postgresql+psycopg://me:hidden@host/studies")
    shown = cli("status")
    assert shown.exit_code == 0 and "walk-Line-v0-tpe-1a2b3c" in shown.stderr and "--storage URL" in shown.stderr
    for asked in (cli("status", "walk"), cli("cancel", "walk-Line-v0-tpe-1a2b3c")):
        assert asked.exit_code == 3 and "\n  fix: name it: --storage URL" in asked.stderr
    assert "hidden" not in shown.output + asked.output
    assert "--storage" not in cli("status", "batch").stderr
