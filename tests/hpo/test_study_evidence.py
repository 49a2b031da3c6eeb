"""What the store says of a study: who has looked at its test seeds, and whether its rows are the runs that they name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from builders import batch
from hpo.study_builder import settings

from openrlb.api.study import list_studies, read_study
from openrlb.api.study_evidence import against_store, stored_looks, with_peeks
from openrlb.api.tune_plan import _next_block
from openrlb.errors import ContractBroken
from openrlb.store import Store
from openrlb.types import RunBatch
from openrlb_hpo.differences import settings_that_differ, unfinished_alike
from openrlb_hpo.ledger import Ledger, default_url
from openrlb_hpo.owners import worker_name
from openrlb_hpo.records import Trial
from openrlb_hpo.seeds import seed_of

SPACE = {"name": "n", "algo": "ppo", "parameters": {"lr": {"uniform": [0.0, 1.0]}}}
MINE = settings(tuning_seeds=1, confirm=0, test_seeds=2, space=SPACE)
ME = worker_name()


@pytest.fixture
def ledger(store: Store) -> Iterator[Ledger]:
    with Ledger(default_url(store.layout.root)) as ledger:
        yield ledger


def stored(run: str, seed: int, *tags: str, role: str = "test", env: str = "CartPole-v1", **config: Any) -> RunBatch:
    """A run that is stored."""
    one = batch(run, seed=seed)
    table = {"source": "openrlb", "env": env, "algo": "ppo", "role": role, "tags": tags, "config": config, "state": "finished"}
    return replace(one, run=replace(one.run, **table))


def test_looks_of_other_databases_and_by_hand_are_counted(store: Store, ledger: Ledger) -> None:
    record = ledger.begin(MINE, 3)
    assert stored_looks(store) == frozenset()  # there is no store yet
    first, second, third = seed_of("test", 0), seed_of("test", 1), seed_of("test", 0, block=1)
    store.write(
        [
            stored("a", first, "study:elsewhere"),
            stored("b", second, "study:elsewhere"),
            stored("c", first, "baseline-of:another", "baseline:default"),
            stored("d", first, lr=0.1),
            stored("e", second, lr=0.1),
            stored("f", first, lr=0.2),
            stored("g", first, "study:acrobot", env="Acrobot-v1"),
            stored("h", third, "study:fresh"),
            stored("i", 5, "study:plain"),
            stored("j", seed_of("tuning", 0), "study:tuner", role="tuning"),
        ]
    )
    store.fold()
    (seen,) = with_peeks([record], ledger, store)
    assert seen.test_peeks == 4  # elsewhere, another, and two configurations
    assert list_studies(store=store)[0].test_peeks == read_study(record.name, store=store).result.test_peeks == 4
    both = replace(record, settings=replace(MINE, envs=("CartPole-v1", "Acrobot-v1")))
    fresh = replace(record, settings=replace(MINE, test_block=1))
    assert [one.test_peeks for one in with_peeks([both, fresh], ledger, store)] == [5, 1]
    assert _next_block(MINE, [record], store) == 2


def test_a_study_is_no_second_look_at_its_own_seeds(store: Store, ledger: Ledger) -> None:
    record = ledger.begin(MINE, 3)
    store.write([stored("t", seed_of("tuning", 0), role="tuning")])
    store.fold()
    with ledger.transaction() as change:
        change.add_trial(record.id, Trial(0, {"lr": 0.5}, {"lr": 0.5}))
        row = change.reserve(record.id, "trial:0", "tuning", "CartPole-v1", 0, seed_of("tuning", 0), "t", ME)
        change.close(row.number, ME, "finished", score=1.0)
        change.close_trial(record.id, 0, "complete")
        change.freeze(record.id, 0)
        change.reserve(record.id, "trial:0", "test", "CartPole-v1", 0, seed_of("test", 0), "a", ME)
    assert against_store(ledger.read(record.id), ledger, store).test_peeks == 1  # it has begun: the database tells
    store.write([stored("a", seed_of("test", 0), f"study:{record.name}")])
    store.fold()
    assert against_store(ledger.read(record.id), ledger, store).test_peeks == 1


def test_a_row_that_names_another_run_is_no_result(store: Store, ledger: Ledger) -> None:
    record = ledger.begin(MINE, 3)
    store.write([stored("mine", seed_of("tuning", 0), role="tuning"), stored("lucky", 7, role="none")])
    store.fold()
    with ledger.transaction() as change:
        change.add_trial(record.id, Trial(0, {"lr": 0.5}, {"lr": 0.5}))
        change.add_trial(record.id, Trial(1, {}, {}))
        for number, run in enumerate(("mine", "lucky")):
            row = change.reserve(record.id, f"trial:{number}", "tuning", "CartPole-v1", 0, seed_of("tuning", 0), run, ME)
            change.close(row.number, ME, "finished", score=1.0)
    ledger.read(record.id)
    with pytest.raises(ContractBroken, match="the stored run lucky has role none and not tuning, seed 7 and not 100000000"):
        read_study(record.name, store=store)


def test_what_makes_it_another_study_is_said_in_words_of_the_command_line() -> None:
    other = replace(
        MINE,
        steps=1000,
        envs=("CartPole-v1", "Acrobot-v1"),
        space_name="mine",
        space={"parameters": {}},
        space_digest="another",
        fixed={"gamma": 0.9},
        eta=1,
        evaluation={"every": 10, "episodes": 1},
        kind="eval",
        baselines=(),
        lock="another",
        repetition=1,
    )
    assert settings_that_differ(MINE, other) == (
        "the lock of the runner's environment",
        "--env: CartPole-v1 and CartPole-v1, Acrobot-v1",
        "--steps: 50000 and 1000",
        "--space: zoo and mine",
        "the ranges of --space",
        "--racing: 2 and 1",
        "--baseline: default and none",
        "--set: none and gamma=0.9",
        "--eval-every or --eval-episodes: None and every=10, episodes=1",
        "--new-study: 0 and 1",
    )
    assert settings_that_differ(MINE, replace(MINE, space={"name": "other"})) == ("what --space declares",)


def test_every_setting_that_differs_is_named() -> None:
    for name in MINE.__dataclass_fields__:
        if name == "kind":  # follows from evaluation
            continue
        value = getattr(MINE, name)
        other = value + 1 if isinstance(value, int) else {"x": (1.0, 2.0)} if isinstance(value, dict) else "other"
        assert settings_that_differ(MINE, replace(MINE, **{name: () if isinstance(value, tuple) else other})) or value == (), name


def test_an_unfinished_study_of_other_settings_is_pointed_out(ledger: Ledger) -> None:
    mine = replace(MINE, space={"name": "n", "algo": "ppo", "parameters": {}})
    ledger.begin(mine, 3)
    ledger.begin(replace(mine, steps=70), 3)
    ledger.begin(replace(mine, steps=80, lock="another"), 3)
    ledger.begin(replace(mine, envs=("Acrobot-v1",)), 3)
    ledger.begin(replace(mine, algo="dqn"), 3)
    done = ledger.begin(replace(mine, steps=90), 1)
    with ledger.transaction() as change:  # no trial will be whole: it is over without a result
        change.add_trial(done.id, Trial(0, {"lr": 0.5}, {"lr": 0.5}))
        row = change.reserve(done.id, "trial:0", "tuning", "CartPole-v1", 0, seed_of("tuning", 0), "t", ME)
        change.close(row.number, ME, "lost")
        change.close_trial(done.id, 0, "failed", "lost")
    told = unfinished_alike(mine, ledger.studies())
    assert len(told) == 2 and "(--steps: 70 and 50000): openrlb worker ppo-CartPole-v1-tpe-" in told[0]
    assert "the lock of the runner's environment; --steps: 80 and 50000): the openrlb that began it" in told[1]
