"""The planner as a pure function: whatever runs do, a study keeps its budget, its roles and its rules."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from hpo.study_builder import StudyBuilder
from hypothesis import given, settings
from hypothesis import strategies as st

from openrlb_hpo import planner
from openrlb_hpo.contract import verify
from openrlb_hpo.planner import Done, Finish, Freeze, Propose, Reserve, Retake, Wait, confirming, has_room, next_step, tuning_left
from openrlb_hpo.racing import OVER, ranking, rungs_done, survives, value_at, worst_scores
from openrlb_hpo.records import Baseline, Reservation, StudyRecord, StudySettings, Trial
from openrlb_hpo.seeds import seed_of

PLAIN = StudySettings("ppo", "sb3", "s", "l", ("A-v1",), 100, {}, "zoo", "d", baselines=(Baseline("default", {"A-v1": {}}, "x"),))


def advance(record: StudyRecord, step: planner.Step) -> StudyRecord:
    """A study after a step, as the ledger would write it."""
    if isinstance(step, Propose):
        return replace(record, trials=(*record.trials, Trial(step.number, {}, {})))
    if isinstance(step, Finish):
        trials = [
            replace(one, state=step.state, reason=step.reason) if one.number == step.number else one for one in record.trials
        ]
        return replace(record, trials=tuple(trials))
    if isinstance(step, Freeze):
        return replace(record, incumbent=step.incumbent, frozen_at="now")
    assert isinstance(step, Reserve)
    number, charge = len(record.reservations) + 1, int(step.role != "test")
    seed = seed_of(step.role, step.seed_index)
    row = Reservation(number, step.configuration, step.role, step.env, step.seed_index, seed, f"r{number}", charge, attempts=1)
    return replace(record, reservations=(*record.reservations, row))


def end(record: StudyRecord, number: int, state: str, score: float | None) -> StudyRecord:
    """A study after a run has ended."""
    rows = [replace(row, state=state, score=score) if row.number == number else row for row in record.reservations]  # type: ignore[arg-type]
    return replace(record, reservations=tuple(rows))


def play(
    record: StudyRecord,
    outcomes: random.Random,
    workers: int,
    odds: dict[str, float],
    see: Callable[[StudyRecord], None] = lambda record: None,
) -> tuple[StudyRecord, list[planner.Step]]:
    """Plays a study to its end with runs that end as chance wills."""
    held: set[int] = set()
    steps: list[planner.Step] = []
    for _ in range(10_000):
        assert verify(record) == ()
        see(record)
        step = next_step(record, held)
        steps.append(step)
        if isinstance(step, Done):
            assert not held or step.problem
            return record, steps
        if isinstance(step, Wait) or (isinstance(step, Reserve | Retake) and len(held) >= workers):
            number = outcomes.choice(sorted(held))
            held.discard(number)
            state = outcomes.choices(list(odds), list(odds.values()))[0]
            if state == "dies":
                continue  # its worker is gone: the row stays open
            record = end(record, number, state, outcomes.gauss(0, 1) if state == "finished" else None)
            continue
        if isinstance(step, Retake):
            held.add(step.row.number)
            continue
        record = advance(record, step)
        if isinstance(step, Reserve):
            held.add(len(record.reservations))
    raise AssertionError("the study does not end")


ODDS = st.sampled_from(
    [
        {"finished": 1.0},
        {"finished": 0.7, "diverged": 0.3},
        {"finished": 0.6, "diverged": 0.1, "lost": 0.1, "failed": 0.1, "dies": 0.1},
        {"diverged": 1.0},
        {"lost": 0.9, "finished": 0.1},
    ]
)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    workers=st.integers(1, 5),
    odds=ODDS,
    envs=st.integers(1, 2),
    tuning=st.integers(1, 4),
    confirm=st.integers(0, 3),
    extra=st.integers(0, 25),
    eta=st.integers(1, 3),
)
def test_a_study_keeps_its_rules_whatever_its_runs_do(
    seed: int, workers: int, odds: dict[str, float], envs: int, tuning: int, confirm: int, extra: int, eta: int
) -> None:
    names = tuple(f"E{number}-v1" for number in range(envs))
    asked = replace(PLAIN, envs=names, tuning_seeds=tuning, confirm=confirm, test_seeds=3, eta=eta)
    budget = asked.confirm_runs + asked.full_trial + extra
    record, _ = play(StudyRecord(asked, budget, "now"), random.Random(seed), workers, odds)
    assert record.spent <= budget
    keys = [(row.configuration, row.role, row.env, row.seed_index) for row in record.reservations]
    assert len(set(keys)) == len(keys)
    assert all(trial.state != "running" for trial in record.trials) or record.incumbent is None
    for trial in record.trials:
        rows = record.rows(trial.configuration, "tuning")
        if trial.state == "complete":
            assert len(rows) == asked.full_trial and all(row.state in OVER for row in rows)
    if record.incumbent is None:
        assert not ranking(record) or any(row.state == "open" for row in record.reservations)
        return
    assert record.incumbent in {trial.number for trial in ranking(record)}
    tested = {row.configuration for row in record.reservations if row.role == "test"}
    assert tested == {f"trial:{record.incumbent}", "baseline:default"}
    assert sum(row.role == "test" for row in record.reservations) == asked.test_runs
    order = [row.role == "test" for row in record.reservations]
    assert order == sorted(order)
    confirmed = {row.configuration for row in record.reservations if row.role == "confirm"}
    best = [trial.configuration for trial in ranking(record)]
    assert confirmed == (set(best[:confirm]) if len(best) > 1 else set())  # also what was confirmed while others still ran


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), stop=st.integers(0, 60))
def test_one_worker_that_dies_anywhere_leaves_the_same_study(seed: int, stop: int) -> None:
    def score(row: Reservation) -> float:
        return random.Random(f"{seed}{row.configuration}{row.role}{row.seed_index}").gauss(0, 1)

    def run(record: StudyRecord, dies_at: int | None) -> StudyRecord:
        for number in range(10_000):
            step = next_step(record)
            if isinstance(step, Done):
                return record
            if not isinstance(step, Retake):
                record = advance(record, step)
            if isinstance(step, Reserve | Retake) and number != dies_at:  # a dead one leaves its row open
                row = next(row for row in record.reservations if row.state == "open")
                record = end(record, row.number, "finished", score(row))
        raise AssertionError

    record = StudyRecord(replace(PLAIN, test_seeds=2), 30, "now")
    assert run(record, stop) == run(record, None)


def test_the_confirmation_decides_not_the_tuning_score() -> None:
    record = StudyRecord(replace(PLAIN, tuning_seeds=1, confirm=2, eta=1, test_seeds=1), 4, "now")
    scores = {("trial:0", "tuning"): 9.0, ("trial:1", "tuning"): 5.0, ("trial:0", "confirm"): 1.0, ("trial:1", "confirm"): 4.0}
    while not isinstance(step := next_step(record), Done):
        record = advance(record, step)
        if isinstance(step, Reserve):
            record = end(record, len(record.reservations), "finished", scores.get((step.configuration, step.role), 0.0))
    assert [trial.number for trial in ranking(record)] == [0, 1]
    assert record.incumbent == 1


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), workers=st.integers(1, 4), diverged=st.sampled_from([0.0, 0.3]), extra=st.integers(0, 25))
def test_the_runs_that_are_left_are_as_many_as_is_said(seed: int, workers: int, diverged: float, extra: int) -> None:
    said: list[tuple[int, int, bool]] = []

    def ended(record: StudyRecord) -> int:
        return sum(row.role != "test" and row.state != "open" for row in record.reservations)

    begun = StudyRecord(replace(PLAIN, test_seeds=1, eta=1), 12 + extra, "now")
    odds = {"finished": 1 - diverged, "diverged": diverged}
    record, _ = play(
        begun, random.Random(seed), workers, odds, lambda one: said.append((tuning_left(one), ended(one), has_room(one)))
    )
    for left, before, room in said:
        assert left >= ended(record) - before if room else left == ended(record) - before


def test_what_is_certain_is_confirmed_while_the_last_trials_run() -> None:
    asked = replace(PLAIN, tuning_seeds=1, eta=1)
    record = StudyBuilder(asked, 7).trial([3.0]).trial([5.0]).trial([4.0]).trial(["open"], state="running").record()
    held = {4}
    for certain in ("trial:1", "trial:2"):
        step = next_step(record, held)
        assert step == Reserve(certain, "confirm", "A-v1", 0)
        record = advance(record, step)
        held.add(len(record.reservations))
    assert next_step(record, held) == Wait()  # trial 0 is the third, and trial 3 may be better


def test_one_that_diverged_is_not_confirmed_before_every_score_is_there() -> None:
    asked = replace(PLAIN, tuning_seeds=1, eta=1)
    record = StudyBuilder(asked, 7).trial(["diverged"]).trial([5.0]).trial([4.0]).trial(["open"], state="running").record()
    assert [trial.number for trial in ranking(record)] == [1, 0, 2]  # it counts 4 like the worst score; less if one is worse
    record = advance(record, next_step(record, {4}))
    assert record.reservations[-1].configuration == "trial:1"
    assert next_step(record, {4, 5}) == Wait()


def test_a_lucky_trial_with_fewer_seeds_is_never_chosen() -> None:
    record = StudyRecord(replace(PLAIN, confirm=0, test_seeds=1), 6, "now")
    while not isinstance(step := next_step(record), Done):
        record = advance(record, step)
        if isinstance(step, Reserve):
            ends = ("lost", None) if (step.configuration, step.seed_index) == ("trial:1", 2) else ("finished", 100.0)
            record = end(record, len(record.reservations), *(("finished", 1.0) if step.configuration == "trial:0" else ends))
    assert record.trials[1].state == "failed" and record.incumbent == 0


def test_a_diverged_run_counts_as_the_worst_score_so_far_never_as_a_constant() -> None:
    rows = [
        Reservation(1, "trial:0", "tuning", "A-v1", 0, 1, "a", 1, "finished", -1500.0),
        Reservation(2, "trial:1", "tuning", "A-v1", 0, 1, "b", 1, "diverged", None),
        Reservation(3, "trial:2", "confirm", "A-v1", 0, 1, "c", 1, "finished", -9000.0),
    ]
    record = StudyRecord(PLAIN, 30, "now", tuple(Trial(number, {}, {}) for number in range(3)), tuple(rows))
    worst = worst_scores(record)
    assert worst == {"A-v1": -1500.0}  # what the confirmation saw says nothing to the sampler
    assert value_at(record, record.trials[1], 1, worst) == -1500.0
    assert rungs_done(record.rows("trial:1", "tuning"), PLAIN) == 1


def test_environments_count_equally_on_their_scales() -> None:
    asked = replace(PLAIN, envs=("A-v1", "B-v1"), scale={"A-v1": (0.0, 500.0), "B-v1": (-500.0, 0.0)})
    rows = [
        Reservation(1, "trial:0", "tuning", "A-v1", 0, 1, "a", 1, "finished", 250.0),
        Reservation(2, "trial:0", "tuning", "B-v1", 0, 1, "b", 1, "finished", -500.0),
    ]
    record = StudyRecord(asked, 30, "now", (Trial(0, {}, {}),), tuple(rows))
    assert value_at(record, record.trials[0], 1, {}) == 0.25


def test_ten_failures_in_a_row_end_a_study_with_the_reason() -> None:
    trials = tuple(Trial(number, {}, {}, state="failed", reason="n_steps must be positive") for number in range(10))
    step = next_step(StudyRecord(PLAIN, 100, "now", trials))
    assert isinstance(step, Done) and "n_steps must be positive" in step.problem


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=30), st.integers(2, 4))
def test_the_race_keeps_the_best_share(values: list[float], eta: int) -> None:
    kept = [value for place, value in enumerate(values) if survives(value, values[:place] + values[place + 1 :], eta)]
    assert max(values) in kept
    assert all(value >= min(kept) for value in kept)
    distinct = len(set(values)) == len(values)
    assert not distinct or len(kept) == max(1, -(-len(values) // eta))


def test_what_the_confirmation_cannot_use_goes_to_further_trials() -> None:
    record, _ = play(StudyRecord(replace(PLAIN, eta=1), 14, "now"), random.Random(0), 1, {"finished": 1.0})
    roles = [row.role for row in record.reservations]
    assert (len(record.trials), roles.count("tuning"), roles.count("confirm")) == (2, 6, 6)


def test_failures_end_a_study_also_while_other_runs_go_on() -> None:
    record, _ = play(StudyRecord(PLAIN, 120, "now"), random.Random(0), 3, {"failed": 1.0})
    assert len(record.trials) <= 10 + 3 and record.spent <= 13


def test_a_larger_budget_may_come_at_any_moment_before_the_test() -> None:
    for stop in range(60):
        record, score = StudyRecord(replace(PLAIN, eta=1), 15, "now"), random.Random(stop)
        for number in range(400):
            if number == stop:
                record = replace(record, budget=record.budget + 7) if record.frozen_at is None else record
            step = next_step(record)
            if isinstance(step, Done):
                break
            record = advance(record, step)
            if isinstance(step, Reserve):
                record = end(record, len(record.reservations), "finished", score.gauss(0, 1))
            assert record.spent <= record.budget
        assert record.incumbent is not None
        assert record.incumbent in [trial.number for trial in ranking(record)[: PLAIN.confirm]]


def scored(record: StudyRecord, score: Callable[[Reserve], float | None]) -> StudyRecord:
    """A study to its end, one run at a time; a run without a score is lost."""
    while not isinstance(step := next_step(record), Done):
        record = advance(record, step)
        if isinstance(step, Reserve):
            value = score(step)
            record = end(record, len(record.reservations), "lost" if value is None else "finished", value)
    return record


def test_what_was_declared_first_is_never_pruned() -> None:
    declared = tuple({"origin": name, "params": {}} for name in ("default", "published"))
    asked = replace(PLAIN, first=declared, confirm=0, test_seeds=1)

    def score(step: Reserve) -> float:
        return {"trial:0": 5.0, "trial:1": -9.0}.get(step.configuration, 0.0)

    record = scored(StudyRecord(asked, 20, "now"), score)
    assert [trial.state for trial in record.trials[:2]] == ["complete", "complete"]  # the second is far worse
    plain = scored(StudyRecord(replace(asked, first=()), 20, "now"), score)
    assert [trial.state for trial in plain.trials[:2]] == ["complete", "pruned"]


def test_only_complete_trials_are_ranked() -> None:
    rows = tuple(
        Reservation(3 * number + seed + 1, f"trial:{number}", "tuning", "A-v1", seed, 1, "r", 1, "finished", float(number))
        for number in range(4)
        for seed in range(3)
    )
    states = ("complete", "running", "failed", "pruned")
    trials = tuple(Trial(number, {}, {}, state=state) for number, state in enumerate(states))  # type: ignore[arg-type]
    record = StudyRecord(PLAIN, 30, "now", trials, rows)
    assert [trial.number for trial in ranking(record)] == [0]
    assert confirming(record) == Freeze(0) and isinstance(confirming(replace(record, trials=trials[1:])), Done)


def test_a_single_whole_trial_is_frozen_without_a_confirmation() -> None:
    asked = replace(PLAIN, tuning_seeds=1, confirm=3, eta=1, test_seeds=1)
    record = scored(
        StudyRecord(asked, 6, "now"), lambda step: 1.0 if step.configuration in ("trial:0", "baseline:default") else None
    )
    assert {row.role for row in record.reservations} == {"tuning", "test"} and record.incumbent == 0
    assert [trial.state for trial in record.trials].count("complete") == 1 and len(record.trials) > 1


def test_a_study_is_not_over_while_a_run_is_trained() -> None:
    asked = replace(PLAIN, tuning_seeds=1, confirm=0, test_seeds=1)
    record = scored(StudyRecord(asked, 1, "now"), lambda step: 1.0)
    assert [row.role for row in record.reservations] == ["tuning", "test", "test"]
    open_again = end(record, 2, "open", None)
    assert next_step(open_again, {2}) == Wait() and next_step(open_again) == Retake(open_again.reservations[1])
    assert next_step(end(open_again, 2, "lost", None), set()) == Done()


def test_a_broken_study_ends_only_when_what_still_runs_has_ended() -> None:
    failed = tuple(Trial(number, {}, {}, state="failed", reason="n_steps") for number in range(1, 11))
    trials = (Trial(0, {}, {}), *failed)
    rows = [Reservation(1, "trial:0", "tuning", "A-v1", 0, seed_of("tuning", 0), "r", 1)]
    record = StudyRecord(replace(PLAIN, tuning_seeds=1), 100, "now", trials, tuple(rows))
    assert next_step(record, {1}) == Wait()
    ended = end(record, 1, "finished", 1.0)
    assert next_step(ended) == Finish(0, "complete")
    assert isinstance(next_step(advance(ended, Finish(0, "complete"))), Done)


def test_a_run_that_is_still_open_is_waited_for_before_the_choice() -> None:
    asked = replace(PLAIN, tuning_seeds=1, confirm=2, eta=1, test_seeds=1)
    record = StudyRecord(asked, 4, "now")
    while not isinstance(step := next_step(record, {4}), Wait):
        record = advance(record, step)
        if isinstance(step, Reserve) and len(record.reservations) < 4:
            record = end(record, len(record.reservations), "finished", float(len(record.reservations)))
    assert [row.role for row in record.reservations] == ["tuning", "tuning", "confirm", "confirm"] and record.frozen_at is None
    assert next_step(end(record, 4, "finished", 0.5)) == Freeze(1)
    assert next_step(end(record, 4, "lost", None)) == Freeze(1)  # the one whose confirmation is whole


def test_a_confirmation_of_one_that_is_no_longer_among_the_best_does_not_count() -> None:
    """A larger budget may bring better ones after the first confirmation."""
    asked = replace(PLAIN, tuning_seeds=1, confirm=1, test_seeds=1)
    scores = [("trial:0", "tuning", 5.0), ("trial:0", "confirm", 9.0), ("trial:1", "tuning", 6.0), ("trial:1", "confirm", 4.0)]
    rows = tuple(
        Reservation(number, name, role, "A-v1", 0, seed_of(role, 0), f"r{number}", 1, "finished", score)  # type: ignore[arg-type]
        for number, (name, role, score) in enumerate(scores, 1)
    )
    record = StudyRecord(asked, 4, "now", tuple(Trial(number, {}, {}, state="complete") for number in range(2)), rows)
    assert next_step(record) == confirming(record) == Freeze(1)
    assert verify(replace(record, incumbent=1, frozen_at="now")) == ()
    (finding,) = verify(replace(record, incumbent=0, frozen_at="now"))
    assert finding == "trial 0 is frozen as the incumbent, and the scores choose trial 1"
