"""What ``openrlb tune`` plans: which study is gone on with, which is begun, what is tried first, and how long it may take."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from studied import BARE
from typer.testing import Result

from openrlb.api.tune_baselines import _first
from openrlb.api.tune_plan import TuneOptions, _chosen
from openrlb.api.tune_time import BESIDE_SECONDS, Expected, expected, shorter
from openrlb.store import Store
from openrlb_hpo.records import Reservation, StudyRecord, StudySettings, Trial
from openrlb_hpo.seeds import seed_of
from openrlb_hpo.space import load_space

Cli = Callable[..., Result]
FREE = TuneOptions("walk", 30)


def studied(settings: StudySettings, created: str, frozen: bool = False, over: bool = False) -> StudyRecord:
    state = "finished" if over else "open"
    tested = Reservation(
        4, "trial:0", "test", settings.envs[0], 0, seed_of("test", 0, settings.test_block), "r", 0, state, 1.0 if over else None
    )  # type: ignore[arg-type]
    tuned = [
        Reservation(
            seed + 1, "trial:0", "tuning", settings.envs[0], seed, seed_of("tuning", seed), f"t{seed}", 1, "finished", 1.0
        )
        for seed in range(3)
    ]
    trial = Trial(0, {}, {}, state="complete")
    rows = (*tuned, tested) if frozen else tuple(tuned)
    return StudyRecord(settings, 30, created, (trial,), rows, 0 if frozen else None, "t" if frozen else None)


def chosen_of(settings: StudySettings, studies: list[StudyRecord], options: TuneOptions) -> StudySettings:
    return _chosen(settings, studies, options, Store())


def test_another_study_begins_only_where_the_newest_equal_one_is_over() -> None:
    again = replace(FREE, new_study=True)
    assert chosen_of(BARE, [], again) == BARE
    assert chosen_of(BARE, [studied(BARE, "1")], again) == BARE
    assert chosen_of(BARE, [studied(BARE, "1", frozen=True)], again) == BARE
    first = studied(BARE, "1", frozen=True, over=True)
    second = replace(BARE, repetition=1)
    assert chosen_of(BARE, [first], FREE) == BARE and chosen_of(BARE, [first], again) == second
    assert chosen_of(BARE, [first, studied(second, "2")], again) == second
    assert chosen_of(BARE, [first, studied(second, "2", frozen=True)], again) == second
    assert chosen_of(BARE, [first, studied(second, "2", frozen=True, over=True)], again).repetition == 2
    assert chosen_of(replace(BARE, steps=60), [first], again).repetition == 0
    assert chosen_of(BARE, [replace(studied(BARE, "1"), budget=1)], again) == second  # one that breaks its rules goes on nowhere


def test_fresh_test_seeds_are_nobody_else_s_and_stay_when_the_command_is_typed_again() -> None:
    fresh = replace(FREE, fresh_test_seeds=True)
    first = studied(BARE, "1", frozen=True, over=True)
    other = studied(replace(BARE, steps=60, test_block=1), "2")
    chosen = chosen_of(BARE, [first, other], fresh)
    assert chosen.test_block == 2
    for frozen, over in ((False, False), (True, False), (True, True)):
        assert chosen_of(BARE, [first, other, studied(chosen, "3", frozen, over)], fresh) == chosen
    over = studied(chosen, "3", frozen=True, over=True)
    assert chosen_of(BARE, [first, other, over], replace(fresh, new_study=True)).test_block == 3
    assert chosen_of(BARE, [first, other, over], FREE) == BARE
    elsewhere = studied(replace(BARE, envs=("Plane-v0",), test_block=1), "2")
    assert chosen_of(BARE, [first, elsewhere], fresh).test_block == 1


def ended(seconds: float, **changed: Any) -> StudyRecord:
    """A study of one run that took so long."""
    row = Reservation(1, "trial:0", "tuning", "Line-v0", 0, 100_000_000, "r", 1, "finished", 1.0, seconds=seconds)
    return StudyRecord(replace(BARE, **changed), 30, "1", (Trial(0, {}, {}),), (row,))


def test_the_expected_time_is_what_runs_really_took(store: Store) -> None:
    mine = replace(BARE, steps=100, test_seeds=5)  # 30 runs of the budget and 5 of the test
    assert expected(mine, 30, 2, store, []) == Expected(None, 35, None, "")
    slow = ended(12.0, steps=200, method="random")  # half of its steps, and what a run takes beside them: 2 + 10 / 2
    found = expected(mine, 30, 2, store, [slow, ended(900.0, envs=("Plane-v0",)), ended(900.0, threads=2)])
    assert (found.seconds, found.runs, found.per_run) == (pytest.approx(35 * (7.0 / 2 + BESIDE_SECONDS)), 35, 7.0)
    assert found.source == "1 run of earlier studies" and not found.low
    begun = replace(ended(30.0), settings=mine)
    own = expected(mine, 30, 1, store, [slow, begun])
    assert own == Expected(pytest.approx(34 * (30.0 + BESIDE_SECONDS)), 34, 30.0, "1 run of this study")
    both = expected(mine, 30, 1, store, [begun], random=replace(mine, method="random"))
    assert both.runs == 34 + 35


def test_a_long_study_is_told_how_it_could_be_shorter(cli: Cli) -> None:
    planned = cli("tune", "ppo", "--budget", 100, "--dry-run", "--workers", 2).stdout
    assert "130 runs of 100,000 steps are 13,000,000 steps; at 500 steps a second each they would take 3 h 36 min" in planned
    example = re.search(r"for instance (--steps \d+ --budget \d+ --test-seeds \d+): about (\d+) min", planned)
    assert example is not None and int(example[2]) < 10
    less = cli("tune", "ppo", *example[1].split(), "--dry-run", "--workers", 2)
    assert less.exit_code == 0 and "make it shorter" not in less.stdout


@pytest.mark.parametrize("per_run", [None, 1.0, 60.0, 3600.0, 1e6])
@pytest.mark.parametrize("workers", [1, 64])
def test_what_is_shorter_can_be_asked_for(per_run: float | None, workers: int) -> None:
    mine = replace(BARE, steps=100_000, test_seeds=10, tuning_seeds=5, confirm=5, envs=("a", "b"))
    found = shorter(mine, 100, workers, per_run)
    assert found is not None and found.budget >= mine.full_trial + mine.confirm_runs
    assert 0 < found.steps <= mine.steps and 0 < found.test_seeds <= mine.test_seeds and found.budget <= 100
    assert shorter(replace(BARE, steps=500, test_seeds=2), 20, 1, 1e4) is None


def test_a_configuration_outside_the_space_is_named_by_its_values_and_one_beside_it_by_what_it_lacks() -> None:
    space = load_space("zoo", "ppo")
    default = {**space.hyperparameters({one.sampled_name: one.at(0.5) for one in space.searched}, 10**6, {}), "n_envs": 1}
    draft = replace(BARE, space=space.to_json())
    notes: list[str] = []
    effective = {"default": {"Line-v0": default}, "published": {"Line-v0": {**default, "gamma": 0.5, "clip_range": "lin_0.1"}}}
    assert [one["origin"] for one in _first(draft, effective, notes)] == ["default"]
    (note,) = notes
    assert "the published configuration lies outside the space (gamma is 0.5, not from 0.97 to 0.9999; clip_range is" in note
    effective["published"] = {"Line-v0": {**default, "gamma": 0.98, "n_envs": 8, "normalize": {"obs": True}}}
    notes.clear()
    assert [one["origin"] for one in _first(draft, effective, notes)] == ["default", "published without n_envs, normalize.obs"]
    assert notes == ["the space does not hold n_envs, normalize.obs: what is tried first is the published configuration without"]
    effective["published"] = {"Line-v0": {**default, "gamma": 0.98}}
    assert [one["origin"] for one in _first(draft, effective, [])] == ["default", "published"]
