"""A study as the worker loop takes it, with a runner that answers, refuses, breaks and diverges as it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openrlb.errors import SourceError, UsageError
from openrlb.store import Store
from openrlb.types import EPISODIC_RETURN, Metric, MetricBatch, Run, RunBatch
from openrlb_hpo import source as source_module
from openrlb_hpo.ledger import Ledger
from openrlb_hpo.records import Baseline, StudyRecord, StudySettings
from openrlb_hpo.result import study_result
from openrlb_hpo.source import StudySource, history
from openrlb_hpo.space import load_space
from openrlb_runners.memo import Memo
from openrlb_runners.request import Outcome, PinnedRunner, TrainingRequest, WorkItem
from openrlb_runners.worker import LATER, Later

RUNNER = PinnedRunner("fake", "run.py", (), False, {"run.py": b"x"}, {}, "lock", Path("python"))
SPACE = load_space("zoo", "ppo")
SETTINGS = StudySettings(
    "ppo", "fake", RUNNER.source, "lock", ("A-v1",), 100, SPACE.to_json(), "zoo", SPACE.digest,
    method="random", tuning_seeds=2, confirm=1, test_seeds=2, eta=1,
    baselines=(Baseline("default", {"A-v1": {}}, "the library"),),
)  # fmt: skip


def effective(request: TrainingRequest) -> dict[str, Any]:
    return {"env_kwargs": {}, "hyperparameters": dict(request.hyperparameters), "seed": request.seed}


def outcome(item: WorkItem, state: str = "finished", value: float = 1.0, note: str = "") -> Outcome:
    """What came of a run, without a process."""
    steps, values = np.arange(10, 110, 10), np.full(10, value)
    run = Run(
        "openrlb", item.key.digest, "openrlb", "x", "ppo", "A-v1", "fake", item.request.seed, state, notes=(note,) if note else ()
    )  # type: ignore[arg-type]
    batch = RunBatch(run, (MetricBatch(Metric("episodic_return", "episode", EPISODIC_RETURN), steps, values),))
    return Outcome(run, batch, 0, "", 2.0, stored=True)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(f"sqlite:///{tmp_path / 'hpo.db'}") as ledger:
        yield ledger


def opened(
    ledger: Ledger, store: Store, budget: int = 8, resolve: Callable[[TrainingRequest], Mapping[str, Any]] = effective
) -> StudySource:
    return StudySource(ledger, ledger.begin(SETTINGS, budget), store, RUNNER, resolve)


def play(source: StudySource, ends: Callable[[WorkItem, int], Outcome]) -> StudyRecord:
    """Takes runs one after the other until there are none."""
    with source:
        for number in range(200):
            item = source.take()
            if item is None:
                return source.ledger.read(source.study)
            assert not isinstance(item, Later)
            source.finished(item, ends(item, number))
    raise AssertionError("no end")


def test_a_study_goes_from_tuning_to_its_test(ledger: Ledger, store: Store) -> None:
    record = play(opened(ledger, store), lambda item, number: outcome(item, value=float(number)))
    assert record.spent <= 8 and record.frozen_at is not None
    roles = [row.role for row in record.reservations]
    assert roles.count("test") == 4 and all(row.state == "finished" for row in record.reservations)
    assert {row.seconds for row in record.reservations} == {2.0} and {row.steps for row in record.reservations} == {100}
    tags = {(row.configuration.split(":")[0], row.role) for row in record.reservations}
    assert ("baseline", "test") in tags and ("baseline", "tuning") not in tags


def test_runs_carry_their_role_and_their_study(ledger: Ledger, store: Store) -> None:
    seen: list[tuple[str, tuple[str, ...]]] = []

    def look(item: WorkItem, number: int) -> Outcome:
        seen.append((item.request.role, item.tags))
        return outcome(item, value=float(number))

    record = play(opened(ledger, store), look)
    name = record.settings.name
    assert {role for role, _ in seen} == {"tuning", "confirm", "test"}
    assert {tags for role, tags in seen if role != "test"} == {(f"study:{name}",)}
    assert {tags for role, tags in seen if role == "test"} == {(f"study:{name}",), (f"baseline-of:{name}", "baseline:default")}


def test_a_trial_that_the_runner_refuses_costs_nothing(ledger: Ledger, store: Store) -> None:
    asked: list[str] = []

    def picky(request: TrainingRequest) -> Mapping[str, Any]:
        asked.append(str(request.hyperparameters))
        if len(set(asked)) == 1:
            raise UsageError("no", "n_steps must be positive", "change it")
        return effective(request)

    record = play(opened(ledger, store, resolve=picky), lambda item, number: outcome(item))
    assert record.trials[0].state == "failed" and "n_steps must be positive" in record.trials[0].reason
    assert not record.rows("trial:0", "tuning") and record.incumbent is not None


def test_a_runner_that_breaks_is_asked_once_more(ledger: Ledger, store: Store) -> None:
    asked: list[str] = []

    def shaky(request: TrainingRequest) -> Mapping[str, Any]:
        asked.append(str(request.hyperparameters))
        if len(asked) == 1:
            raise SourceError("no", "the process was lost", "look")
        return effective(request)

    record = play(opened(ledger, store, resolve=shaky), lambda item, number: outcome(item))
    assert all(trial.state == "complete" for trial in record.trials) and asked[0] == asked[1]


def test_a_baseline_that_the_runner_refuses_ends_the_command(ledger: Ledger, store: Store) -> None:
    def picky(request: TrainingRequest) -> Mapping[str, Any]:
        if not request.hyperparameters:
            raise UsageError("no", "no defaults here", "name another baseline")
        return effective(request)

    with pytest.raises(UsageError, match="no"):
        play(opened(ledger, store, resolve=picky), lambda item, number: outcome(item))


def test_a_crash_is_tried_again_and_then_lost_without_a_charge(ledger: Ledger, store: Store) -> None:
    def crashing(item: WorkItem, number: int) -> Outcome:
        return outcome(item, "crashed", note="SIGSEGV") if number < 3 else outcome(item)

    record = play(opened(ledger, store), crashing)
    first = record.reservations[0]
    assert (first.state, first.attempts, first.seconds, first.charge) == ("lost", 3, 6.0, 1)
    assert "SIGSEGV" in first.reason and record.trials[0].state == "failed"
    assert record.spent <= 8 and record.incumbent is not None


def test_divergence_is_an_outcome_and_a_refusal_at_run_time_is_none(ledger: Ledger, store: Store) -> None:
    ends = {0: ("diverged", 0.0), 1: ("finished", 4.0), 2: ("finished", 2.0), 3: ("invalid", 0.0)}

    def told(item: WorkItem, number: int) -> Outcome:
        state, value = ends.get(number, ("finished", 3.0))
        return outcome(item, state, value, note="" if state == "finished" else f"it {state}")

    record = play(opened(ledger, store), told)
    assert [trial.state for trial in record.trials[:2]] == ["complete", "failed"]
    assert [row.state for row in record.reservations[:4]] == ["diverged", "finished", "finished", "failed"]


def test_a_return_that_is_not_finite_is_a_divergence(ledger: Ledger, store: Store) -> None:
    record = play(opened(ledger, store), lambda item, number: outcome(item, value=np.inf if number == 0 else 1.0))
    assert record.reservations[0].state == "diverged" and record.reservations[0].score is None


def test_a_run_whose_last_episodes_ended_too_early_is_scored_by_them_and_it_is_said(ledger: Ledger, store: Store) -> None:
    def early(item: WorkItem, number: int) -> Outcome:
        one = outcome(item)
        metric = MetricBatch(
            Metric("episodic_return", "episode", EPISODIC_RETURN), np.array([30, 60, 60]), np.array([9.0, 2.0, 4.0])
        )
        return Outcome(one.run, RunBatch(one.run, (metric,)), 0, "", 2.0, stored=True) if number == 1 else one

    record = play(opened(ledger, store), early)
    assert record.reservations[1].state == "finished" and record.reservations[1].score == 3.0
    assert "no episode ended in final:10%" in record.reservations[1].reason and not record.reservations[0].reason
    notes = " ".join(study_result(record, resamples=200).notes)
    assert "1 tuning runs ended no episode where final:10% looks" in notes


def test_a_run_without_any_episode_has_failed(ledger: Ledger, store: Store) -> None:
    def none(item: WorkItem, number: int) -> Outcome:
        one = outcome(item)
        return Outcome(one.run, RunBatch(one.run, ()), 0, "", 2.0, stored=True) if number == 0 else one

    record = play(opened(ledger, store), none)
    assert record.reservations[0].state == "failed" and "train for longer" in record.reservations[0].reason


def test_ctrl_c_gives_a_run_back_uncounted(ledger: Ledger, store: Store) -> None:
    with opened(ledger, store) as source:
        item = source.take()
        assert isinstance(item, WorkItem)
        source.finished(item, outcome(item, "killed", note="interrupted"))
        second = source.take()
        assert isinstance(second, WorkItem) and second.key == item.key
    row = ledger.read(source.study).reservations[0]  # closed with a run in hand: it was never begun
    assert (row.state, row.attempts, row.worker) == ("open", 0, "")
    record = play(opened(ledger, store), lambda item, number: outcome(item))
    assert record.reservations[0].attempts == 1 and record.reservations[0].state == "finished"


def test_another_lock_is_refused(ledger: Ledger, store: Store) -> None:
    record = ledger.begin(SETTINGS, 8)
    for other in (replace(RUNNER, lock="newer"), replace(RUNNER, sources={"run.py": b"y"}), replace(RUNNER, name="sb3")):
        with pytest.raises(UsageError, match="cannot go on here"):
            StudySource(ledger, record, store, other, effective)


def test_a_space_that_is_refused_everywhere_ends_with_the_reason(ledger: Ledger, store: Store) -> None:
    def never(request: TrainingRequest) -> Mapping[str, Any]:
        raise UsageError("no", "batch_size is unknown", "change it")

    source = opened(ledger, store, resolve=never)
    record = play(source, lambda item, number: outcome(item))
    assert "batch_size is unknown" in source.problem and record.spent == 0 and record.frozen_at is None


def test_test_runs_have_the_seeds_of_the_studys_block(ledger: Ledger, store: Store) -> None:
    record = ledger.begin(replace(SETTINGS, test_block=7), 8)
    record = play(StudySource(ledger, record, store, RUNNER, effective), lambda item, number: outcome(item))
    seeds = {row.role: set[int]() for row in record.reservations}
    for row in record.reservations:
        seeds[row.role].add(row.seed)
    assert seeds["test"] == {307_000_000, 307_001_000}
    assert seeds["tuning"] == {100_000_000, 100_001_000} and seeds["confirm"] == {200_000_000, 200_001_000}


@pytest.mark.parametrize("state", ["diverged", "failed"])
def test_a_run_that_was_stored_before_its_worker_died_is_not_trained_again(ledger: Ledger, store: Store, state: str) -> None:
    source = opened(ledger, store)
    item = source.take()  # its worker stores it, and is killed before it writes that down
    assert isinstance(item, WorkItem)
    died = outcome(item, state, note="it ended so")
    assert died.batch is not None
    store.write([replace(died.batch, run=replace(died.run, role="tuning"))])
    with ledger.transaction() as change:
        change.connection.exec_driver_sql("UPDATE reservations SET lease = 0, worker = 'elsewhere:1:0.00'")
    again = StudySource(ledger, ledger.read(source.study), store, RUNNER, effective, memo=Memo(store))
    seen: list[str] = []

    def look(item: WorkItem, number: int) -> Outcome:
        seen.append(item.key.digest)
        return outcome(item)

    record = play(again, look)
    first = record.reservations[0]
    assert first.run == item.key.digest not in seen
    assert (first.state, first.attempts, first.reason) == (state, 2, "it ended so") and first.score is None


def test_the_sampler_sees_nothing_of_the_confirmation(ledger: Ledger, store: Store) -> None:
    record = play(opened(ledger, store, budget=12), lambda item, number: outcome(item, value=float(number)))
    assert any(row.role == "confirm" for row in record.reservations)
    tuned = replace(record, reservations=tuple(row for row in record.reservations if row.role == "tuning"))
    past = history(record)
    assert past == history(tuned) and all(one.value is not None for one in past)
    flattered = replace(
        record,
        reservations=tuple(replace(row, score=1e9) if row.role != "tuning" else row for row in record.reservations),
    )
    assert history(flattered) == past
    told = tuple(replace(row, score=row.score + 1.0 if row.score else 1.0) for row in record.reservations)
    assert history(replace(record, reservations=told)) != past


def test_a_worker_that_is_gone_uncounts_nothing_of_the_one_that_took_its_run(ledger: Ledger, store: Store) -> None:
    with opened(ledger, store) as source:
        item = source.take()
        assert isinstance(item, WorkItem)
        with ledger.transaction() as change:
            change.retake(1, "elsewhere:1:0.00")
        source.finished(item, outcome(item, "killed", note="interrupted"))
        row = ledger.read(source.study).reservations[0]
        assert (row.state, row.attempts, row.worker) == ("open", 2, "elsewhere:1:0.00")


def test_who_waits_for_others_asks_ever_less_often(ledger: Ledger, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """And at once when a run of its own has ended."""
    now = [1000.0]
    monkeypatch.setattr(source_module.time, "monotonic", lambda: now[0])
    busy, waiting = opened(ledger, store), opened(ledger, store)
    waiting.worker = "elsewhere:1:0.00"
    asked: list[float] = []
    real = waiting._advance
    monkeypatch.setattr(waiting, "_advance", lambda *words: [asked.append(now[0]), real(*words)][1])
    mine = [item for _ in range(8) if isinstance(item := busy.take(), WorkItem)]
    theirs = waiting.take()
    assert theirs is LATER or isinstance(theirs, WorkItem)
    while not isinstance(theirs, Later):
        theirs = waiting.take()
    del asked[:]
    for _ in range(600):
        now[0] += 0.2
        assert waiting.take() is LATER
    gaps = np.diff(asked)
    assert len(asked) < 40 and gaps.max() <= source_module.MOST_SECONDS_BETWEEN_LOOKS + 0.4
    assert gaps[-1] >= 9.0 and gaps[0] < 1.0
    for item in mine:
        busy.finished(item, outcome(item))
    now[0] += 11.0
    assert isinstance(waiting.take(), WorkItem)


def test_who_proposed_a_trial_trains_its_first_run(ledger: Ledger, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others go on with a trial of their own; where the proposer was killed, they take it when it has had its time."""
    now = [1000.0]
    monkeypatch.setattr(source_module.time, "monotonic", lambda: now[0])
    asked: list[str] = []

    def counting(request: TrainingRequest) -> Mapping[str, Any]:
        asked.append(str(request.hyperparameters))
        return effective(request)

    first, second = opened(ledger, store, budget=20), opened(ledger, store, budget=20, resolve=counting)
    second.worker = "elsewhere:1:0.00"
    mine = second.take()
    assert isinstance(mine, WorkItem) and len(asked) == 1
    monkeypatch.setattr(first, "_ask", lambda record, step: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):  # killed when it has proposed trial 1, and before it could reserve anything
        while True:
            first.take()
    now[0] += 1.0
    theirs = second.take()
    assert isinstance(theirs, WorkItem) and len(asked) == 2
    record = ledger.read(second.study)
    assert [row.configuration for row in record.reservations] == ["trial:0", "trial:2"]
    now[0] += source_module.LEFT_SECONDS
    assert isinstance(second.take(), WorkItem) and len(asked) == 3
    assert ledger.read(second.study).reservations[-1].configuration == "trial:1"
    again = opened(ledger, store, budget=20)  # what was there when a worker came is nobody's
    again.worker = "elsewhere:2:0.00"
    assert again._left(record) == set()
