"""The worker with a runner that misbehaves in every way: each run ends in a named state, stored once, and nothing lives on."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest
from fake_runner import fake_runner, item, request

from openrlb.errors import StoreUnwritable
from openrlb.store import Store
from openrlb.tracking.folder import runs_dir
from openrlb_runners import worker
from openrlb_runners.batch import Batch
from openrlb_runners.launchers import local
from openrlb_runners.launchers.local import LocalLauncher
from openrlb_runners.request import Outcome, PinnedRunner, WorkItem
from openrlb_runners.supervise import Limits
from openrlb_runners.worker import LATER, Event, Later, work

FAULTS = {
    "none": ("finished", 0, None, [5, 5, 5]),
    "diverge": ("diverged", 4, "a weight is not finite at step 20", [2, 2, 3]),
    "crash": ("crashed", 1, "ValueError: the env at ~/env.xml fell over", [2, 2, 2]),
    "die": ("crashed", None, "SIGSEGV", [2, 2, 2]),
    "no memory": ("crashed", 5, "out of memory", [2, 2, 2]),
    "talk": ("finished", 0, None, [5, 5, 5]),
    "garbage": ("finished", 0, "5 rows of metrics.jsonl were torn", [5, 5, 5]),
    "leave": ("finished", 0, "the runner left model.zip", [5, 5, 5]),
    "quit": ("crashed", 0, "wrote no done.json", [2, 2, 2]),
    "other seed": ("invalid", 0, "seed is 10, not 9", [5, 5, 5]),
    "other rate": ("invalid", 0, "hyperparameters.rate is 9, not 0.5", [5, 5, 5]),
    "short": ("invalid", 0, "it ended after 25 of 50 steps", [5, 5, 5]),
    "no word": ("crashed", 0, "wrote no done.json", [5, 5, 5]),
    "garbage config": ("invalid", 0, "config.json cannot be read", [5, 5, 5]),
}


@pytest.fixture
def runner(tmp_path: Path) -> PinnedRunner:
    return fake_runner(tmp_path / "fake")


BEFORE: set[int] = set()
"""Children of this process that were there before a test, for instance the resource tracker of multiprocessing."""


@pytest.fixture(autouse=True)
def _children_before() -> None:
    BEFORE.clear()
    BEFORE.update(child.pid for child in psutil.Process().children(recursive=True))


def new_children(recursive: bool = True) -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=recursive) if child.pid not in BEFORE]


def train(items: Sequence[WorkItem], workers: int = 2, **words: object) -> list[Outcome]:
    batch = Batch(deque(items))
    work(batch, workers=workers, store=Store(), **words)  # type: ignore[arg-type]
    return [outcome for _, outcome in batch.outcomes]


@pytest.fixture(scope="module", params=[False, True], ids=["cold", "forked"])
def faults(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outcome]]:
    """Every fault once, all in one batch, with runs as new processes and as forks."""
    from fake_runner import request as asked

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENRLB_HOME", str(tmp_path_factory.mktemp("faults")))
        runner = fake_runner(tmp_path_factory.mktemp("runner") / "fake", fork=request.param)
        items = [item(runner, asked(seed=seed, act=act, at=20)) for seed, act in enumerate(FAULTS)]
        with pytest.MonkeyPatch.context() as during:
            during.setattr(worker, "LOOK_SECONDS", math.inf)  # a look, the first too, would end "other rate" before its own end
            outcomes = train(items, workers=4)
        stored = {row.record.run: row.record for row in Store().runs()}
        assert all(stored[outcome.run.run] == outcome.run for outcome in outcomes) and len(stored) == len(FAULTS)
        assert [path.name for path in runs_dir(Store().layout).glob("*/*")] == ["1.kept"]  # model.zip
        yield {outcome.run.config["act"]: outcome for outcome in outcomes}


@pytest.mark.parametrize("act", FAULTS)
def test_every_fault_ends_in_its_state_with_its_rows(faults: dict[str, Outcome], act: str) -> None:
    outcome = faults[act]
    state, code, note, rows = FAULTS[act]
    assert (outcome.state, outcome.exit_code, outcome.stored) == (state, code, True)
    assert outcome.batch is not None and [len(metric.values) for metric in outcome.batch.metrics] == rows
    if note is None:
        assert outcome.run.notes == ()
    else:
        assert note in "; ".join(outcome.run.notes)


def test_standard_error_is_kept_where_there_was_some(faults: dict[str, Outcome]) -> None:
    assert faults["talk"].batch is not None and faults["talk"].batch.blobs["stderr.txt"] == b"a warning of no weight\n"
    assert faults["none"].batch is not None and "stderr.txt" not in faults["none"].batch.blobs
    assert "Traceback" in faults["crash"].stderr_tail and str(Path.home()) not in faults["crash"].stderr_tail


def test_no_host_name_comes_in_by_the_fingerprint(faults: dict[str, Outcome]) -> None:
    assert faults["none"].run.hardware["cpu"] == "test" and "host" not in faults["none"].run.hardware


def test_a_nan_is_a_value(faults: dict[str, Outcome]) -> None:
    assert faults["none"].batch is not None
    loss = next(metric for metric in faults["none"].batch.metrics if metric.metric.name == "train/loss")
    assert str(loss.values.tolist()) == str([0.1, float("nan"), 1 / 30, 1 / 40, 1 / 50])


def test_a_run_that_trains_something_else_is_stopped_at_once(runner: PinnedRunner) -> None:
    began = time.monotonic()
    (outcome,) = train([item(runner, request(act="other seed", steps=100_000, pause=0.05))])
    assert outcome.state == "invalid" and "seed is 2, not 1" in outcome.run.notes[0]
    assert time.monotonic() - began < 20


def test_limits_end_a_run_and_all_it_started(runner: PinnedRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first ignores SIGTERM; the second has forked a process."""
    monkeypatch.setattr(worker, "GRACE_SECONDS", 0.5)
    items = [item(runner, request(seed=seed, act=act)) for seed, act in enumerate(("hang", "grandchild"))]
    outcomes = {outcome.run.config["act"]: outcome for outcome in train(items, limits=Limits(wall_seconds=1.5))}
    for outcome in outcomes.values():
        assert (outcome.state, outcome.run.notes[0]) == ("killed", "wall limit of 1.5 s")
        assert len(outcome.batch.metrics[0].values) == 1  # type: ignore[union-attr]
    (kept,) = runs_dir(Store().layout).glob("*/1.kept/pid.txt")
    wait_until(lambda: not psutil.pid_exists(int(kept.read_text())))
    assert not [child for child in new_children() if child.status() != psutil.STATUS_ZOMBIE]


def test_a_run_that_eats_memory_is_ended(runner: PinnedRunner) -> None:
    (outcome,) = train([item(runner, request(act="eat"))], limits=Limits(memory_bytes=150_000_000))
    assert outcome.state == "crashed" and outcome.run.notes[0].startswith("out of memory: 0.") and outcome.seconds < 30


def wait_until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_is_finished_is_not_trained_again(runner: PinnedRunner) -> None:
    first = train([item(runner, request(seed=seed)) for seed in (1, 2)])
    again = train([item(runner, request(seed=seed)) for seed in (1, 2, 3)])
    assert [outcome.trained for outcome in first] == [True, True]
    assert {outcome.run.seed: outcome.trained for outcome in again} == {1: False, 2: False, 3: True}
    assert all(outcome.state == "finished" for outcome in again) and len(Store().runs()) == 3
    (anew,) = train([item(runner, request(seed=1), use_memo=False)])
    assert anew.trained and anew.run.attempt == 2


def test_a_run_that_crashed_is_tried_again_and_the_finished_try_counts(
    runner: PinnedRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    wanted = [item(runner, request(act="die once", at=20))]
    assert [(o.state, o.run.attempt, o.run.notes[0]) for o in train(wanted)] == [("crashed", 1, "ended by SIGKILL")]
    assert [row.record.state for row in Store().runs()] == ["crashed"]
    assert [(outcome.state, outcome.run.attempt) for outcome in train(wanted)] == [("finished", 2)]
    assert [(row.record.state, row.record.attempt) for row in Store().runs()] == [("finished", 2)]
    assert [outcome.trained for outcome in train(wanted)] == [False]


def test_a_server_that_is_killed_costs_what_it_was_running_and_no_more(runner: PinnedRunner) -> None:
    with LocalLauncher() as launcher:
        killed: list[int] = []

        def kill(event: Event) -> None:
            if event.kind == "progress" and event.progress and event.progress.step and not killed:
                (server,) = new_children(recursive=False)
                killed.append(server.pid)
                server.kill()

        items = [item(runner, request(seed=seed, pause=0.1, steps=100)) for seed in range(4)]
        outcomes = train(items, launcher=launcher, on_event=kill)
        states = {outcome.run.seed: outcome.state for outcome in outcomes}
        assert states == {0: "crashed", 1: "crashed", 2: "finished", 3: "finished"}
        assert all("lost: the process that starts runs" in o.run.notes[0] for o in outcomes if o.state == "crashed")
        assert all(outcome.seconds > 0 for outcome in outcomes)
    wait_until(lambda: not new_children(recursive=False))


def test_a_second_ctrl_c_does_not_wait_for_imports(runner: PinnedRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deaf = tmp_path / "deaf.py"
    deaf.write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(local, "WARM", deaf)
    twice = [signal.SIGINT, signal.SIGINT]

    def interrupt(event: Event) -> None:
        while twice:
            os.kill(os.getpid(), twice.pop())

    batch, began = Batch(deque([item(runner, request(seed=1))])), time.monotonic()
    with LocalLauncher() as launcher, pytest.raises(KeyboardInterrupt):
        work(batch, workers=1, store=Store(), launcher=launcher, on_event=interrupt)
    assert time.monotonic() - began < 4
    ((_, outcome),) = batch.outcomes
    assert (outcome.state, outcome.run.notes[0]) == ("killed", "interrupted")
    assert not new_children(recursive=False)


class Racing:
    """Gives the second item only after the first has ended, as a study that races does."""

    def __init__(self, items: list[WorkItem]) -> None:
        self.items, self.open, self.asked, self.order = items, 0, 0, []

    def take(self) -> WorkItem | Later | None:
        self.asked += 1
        if self.open:
            return LATER
        if not self.items:
            return None
        self.open += 1
        return self.items.pop(0)

    def finished(self, item: WorkItem, outcome: Outcome) -> None:
        self.open -= 1
        self.order.append(outcome.run.seed)


def test_a_source_may_have_nothing_yet(runner: PinnedRunner) -> None:
    source = Racing([item(runner, request(seed=seed)) for seed in (5, 6, 7)])
    work(source, workers=3, store=Store())
    assert source.order == [5, 6, 7] and source.asked > 4


def test_a_run_can_end_after_a_step(runner: PinnedRunner) -> None:
    (outcome,) = train([item(runner, request(steps=10_000, pause=0.01), stop_after=100)])
    assert outcome.state == "killed" and outcome.run.notes[0] == "stopped after step 100, as asked"
    assert outcome.batch is not None and outcome.batch.metrics[0].steps[-1] > 100


class Collected:
    """A mirror that keeps what it is told."""

    made: ClassVar[list[Collected]] = []

    def __init__(self, mode: str, item: WorkItem, attempt: int, warnings: object) -> None:
        self.rows: list[Any] = []
        self.state = ""
        Collected.made.append(self)

    def log(self, rows: Sequence[Any]) -> None:
        self.rows += rows

    def finish(self, state: str) -> None:
        self.state = state

    def wait(self, seconds: float | None) -> bool:
        return True


def test_a_mirror_gets_every_row_however_fast_they_come(runner: PinnedRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "RunMirror", Collected)
    monkeypatch.setattr("openrlb_runners.progress.READ_BYTES", 1000)
    items = [item(runner, request(steps=2000)), item(runner, request(seed=2, steps=2000, act="diverge", at=1000))]
    train(items, wandb="offline")
    assert sorted((len(one.rows), one.state) for one in Collected.made) == [(201, "diverged"), (400, "finished")]
    assert [row["step"] for row in Collected.made[0].rows if row["t"] == "episode"] == list(range(10, 2001, 10))


def test_ctrl_c_stores_what_was_running_and_starts_nothing_more(runner: PinnedRunner) -> None:
    batch = Batch(deque(item(runner, request(seed=seed, steps=100_000, pause=0.05)) for seed in range(4)))

    def interrupt(event: Event) -> None:
        if event.kind == "progress" and event.progress and event.progress.step >= 20:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        work(batch, workers=2, store=Store(), on_event=interrupt)
    assert [(o.state, o.run.notes[0]) for _, o in batch.outcomes] == [("killed", "interrupted")] * 2
    assert [row.record.state for row in Store().runs()] == ["killed"] * 2 and len(batch.waiting) == 2


def test_a_failure_of_our_own_leaves_no_process_and_no_row_behind(runner: PinnedRunner) -> None:
    def fail(event: Event) -> None:
        if event.kind == "progress" and event.progress and event.progress.step >= 20:
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        train([item(runner, request(seed=seed, steps=100_000, pause=0.05)) for seed in range(2)], on_event=fail)
    assert {(row.record.state, row.record.notes[0]) for row in Store().runs()} == {
        ("killed", "openrlb itself failed (RuntimeError)")
    }
    assert not new_children(recursive=False)


def test_a_store_that_cannot_be_written_is_said_before_anything_is_trained(runner: PinnedRunner, isolation: Path) -> None:
    (isolation / "store").mkdir()
    (isolation / "store" / "runs").write_text("a file")
    with pytest.raises(StoreUnwritable):
        train([item(runner, request())])


def test_a_disk_that_fills_up_while_runs_train(runner: PinnedRunner, small_disk: Path) -> None:
    """The run crashes, or waits in its folder; nothing is lost silently, and with room again it is stored."""
    store, events = Store(small_disk / "store"), []
    batch = Batch(deque([item(runner, request(steps=100_000, every=1))]))
    try:
        work(batch, workers=1, store=store, on_event=events.append)
    except StoreUnwritable as error:
        assert "No space left" in error.why
    ((_, outcome),) = batch.outcomes
    assert outcome.state == "crashed" and len(outcome.batch.metrics[0].values) > 100  # type: ignore[union-attr]
    if not outcome.stored:
        assert any(event.kind == "warning" and "waits in" in event.text for event in events)
        (folder,) = runs_dir(store.layout).glob("*/1")
        assert json.loads((folder / "ended.json").read_bytes())["state"] == "crashed"
