"""Groups: variants, per-environment settings, doubles, explicit grouping and labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from openrlb.errors import SelectionError, UsageError
from openrlb.store.variant import flat_config, is_logging_key
from openrlb.types import Curve, Metric, Run
from openrlb_analysis.variants import FIELDS, group_runs


def curve(run: str, **fields: Any) -> Curve:
    """A run of ppo on Hopper-v4 unless told otherwise."""
    chosen: dict[str, Any] = {
        "source": "folder",
        "project": "logs",
        "name": run,
        "algo": "ppo",
        "env": "Hopper-v4",
        "seed": 0,
        "state": "finished",
    }
    record = Run(run=run, **(chosen | fields))
    return Curve(record, Metric("r", "eval"), np.array([1]), np.array([0.0]), np.array([-1]))


def labels(*curves: Curve, **options: Any) -> dict[str, list[str]]:
    return {group.label: [one.run.run for one in group.curves] for group in group_runs(curves, **options).groups}


def test_seed_name_and_logging_keys_make_no_variants() -> None:
    runs = [
        curve(f"run{seed}", seed=seed, config={
            "seed": seed, "exp_name": f"e{seed}", "wandb_project": f"w{seed}", "wandb": {"mode": str(seed)},
            "eval_seed": seed + 100,
            "agent": {"verbose": seed, "lr": 0.1}, "tensorboard_log": f"/logs/{seed}", "save-freq": seed,
        })
        for seed in range(3)
    ]  # fmt: skip
    grouping = group_runs(runs)
    assert [group.label for group in grouping.groups] == ["ppo"]
    assert len(grouping.groups[0].curves) == 3
    assert grouping.groups[0].variant == "" and grouping.notes == () and grouping.excluded == ()


@pytest.mark.parametrize("key", ["agent.lr", "optimizer.name", "device", "seed_steps", "num_envs", "total_timesteps", "agent.id"])
def test_keys_that_change_training_are_no_logging_keys(key: str) -> None:
    assert not is_logging_key(key)


@pytest.mark.parametrize(
    "key", ["seed", "env_seed", "name", "a.run_name", "wandb.name", "WANDB_MODE", "save-freq", "_wandb", "x.eval_freq"]
)
def test_logging_keys(key: str) -> None:
    assert is_logging_key(key)


def test_three_values_are_three_variants_and_one_when_pooled() -> None:
    runs = [
        curve(f"{lr}-{seed}", seed=seed, config={"agent": {"lr": lr}, "gamma": 0.99})
        for lr in (0.1, 0.01, 0.001)
        for seed in range(2)
    ]
    assert labels(*runs) == {
        "ppo lr=0.001": ["0.001-0", "0.001-1"],
        "ppo lr=0.01": ["0.01-0", "0.01-1"],
        "ppo lr=0.1": ["0.1-0", "0.1-1"],
    }
    assert [group.variant for group in group_runs(runs).groups] == ["lr=0.001", "lr=0.01", "lr=0.1"]
    pooled = group_runs(runs, pool=True)
    assert [(group.label, len(group.curves)) for group in pooled.groups] == [("ppo", 6)]
    assert pooled.notes == ("ppo pools runs that differ in agent.lr",)
    assert pooled.excluded == ()  # equal seeds of different configurations are no doubles
    chosen = group_runs(runs, by=("config.agent.lr",))
    assert [(group.label, len(group.curves)) for group in chosen.groups] == [("lr=0.001", 2), ("lr=0.01", 2), ("lr=0.1", 2)]


def test_equal_numbers_are_equal_and_a_missing_key_is_a_value() -> None:
    assert list(labels(curve("a", seed=1, config={"n": 1}), curve("b", seed=2, config={"n": 1.0}))) == ["ppo"]
    assert list(labels(curve("a", seed=1, config={"n": 1}), curve("b", seed=2))) == ["ppo n=1", "ppo n=(unset)"]


def test_settings_of_environments_make_no_variants_but_are_said() -> None:
    runs = [
        curve(f"{env}{seed}", env=env, seed=seed, config={"lr": lr, "env_id": env})
        for env, lr in (("Hopper-v4", 1), ("Ant-v4", 2))
        for seed in (0, 1)
    ]
    grouping = group_runs(runs)
    assert [(group.label, len(group.curves)) for group in grouping.groups] == [("ppo", 4)]
    assert grouping.notes[0] == "ppo: set per environment, not variants: lr"
    assert "not for variants: env_id (" in grouping.notes[1] and len(grouping.notes) == 2


def test_a_key_that_differs_within_an_environment_splits_everywhere() -> None:
    runs = [
        curve("a", env="A", seed=0, config={"lr": 1}),
        curve("b", env="A", seed=1, config={"lr": 2}),
        curve("c", env="B", config={"lr": 2}),
    ]
    assert labels(*runs) == {"ppo lr=1": ["a"], "ppo lr=2": ["b", "c"]}


def test_keys_that_repeat_the_run_itself_make_no_variants() -> None:
    runs = [
        curve(
            f"id{seed}xyz",
            name=f"ppo__{seed}__17",
            seed=seed,
            config={"path": f"out/ppo__{seed}__17/x", "random_state": seed, "env": {"id": "Hopper-v4"}, "lr": 1},
        )
        for seed in range(4)
    ]
    grouping = group_runs(runs)
    assert [(group.label, len(group.curves)) for group in grouping.groups] == [("ppo", 4)]
    assert len(grouping.notes) == 1 and "not for variants: path, random_state (" in grouping.notes[0]


@pytest.mark.parametrize("seeds", [(0, 0, 0), (1, 2, 3)])
def test_runs_named_after_the_varied_value_are_variants(seeds: tuple[int, ...]) -> None:
    kinds = ("relu", "tanh", "gelu")
    runs = [curve(kind, seed=seed, config={"activation": kind}) for kind, seed in zip(kinds, seeds, strict=True)]
    grouping = group_runs(runs)
    assert [group.label for group in grouping.groups] == [f"ppo activation={kind}" for kind in sorted(kinds)]
    assert grouping.excluded == () and grouping.notes == ()


@pytest.mark.parametrize("key", ["n_layers", "torch_start", "n_seeds", "optimizer.name", "pretrained_path"])
def test_values_that_happen_to_equal_seed_or_name_are_variants(key: str) -> None:
    runs = [curve(f"{seed}", seed=seed, config={key: seed}) for seed in (1, 2, 3)]
    runs += [curve(f"long{seed}", algo="sac", seed=seed, config={key: f"long{seed}"}) for seed in (1, 2, 3)]
    assert [len(group.curves) for group in group_runs(runs).groups] == [1] * 6


@pytest.mark.parametrize("key", ["name", "group", "run_path"])
def test_a_dropped_key_is_said_and_decides_no_double(key: str) -> None:
    runs = [curve(f"{kind}{seed}x", seed=seed, config={key: f"{kind}{seed}x"}) for kind in ("adam", "sgd") for seed in (0, 1)]
    grouping = group_runs(runs)
    assert [len(group.curves) for group in grouping.groups] == [4] and grouping.excluded == ()
    assert len(grouping.notes) == 1 and f"not for variants: {key} (--by config.KEY" in grouping.notes[0]


def test_a_seed_is_a_whole_number() -> None:
    runs = [curve(f"r{fixed}{seed}", seed=seed, config={"fixed_seed": fixed}) for fixed in (False, True) for seed in (0, 1)]
    assert list(labels(*runs)) == ["ppo fixed_seed=false", "ppo fixed_seed=true"]
    assert [is_logging_key("env_seed", value) for value in (3, 3.0, "3", None, [1, 2], True, 0.5, "fixed")] == [True] * 5 + [
        False
    ] * 3


def test_a_shared_name_hides_no_real_difference() -> None:
    runs = [curve(f"r{kind}", name="ppo", seed=0, config={"policy": f"ppo-{kind}"}) for kind in ("mlp", "cnn")]
    assert list(labels(*runs)) == ["ppo policy=ppo-cnn", "ppo policy=ppo-mlp"]


def test_more_than_twelve_variants_are_refused() -> None:
    assert len(labels(*[curve(f"r{n}", config={"lr": n}) for n in range(12)])) == 12
    with pytest.raises(SelectionError) as error:
        group_runs([curve(f"r{n}", config={"agent": {"lr": n}}) for n in range(13)])
    assert error.value.exit_code == 2
    assert "13 variants" in error.value.what and "agent.lr" in error.value.why
    assert "--by config.agent.lr" in error.value.fix and "--pool" in error.value.fix


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({"impl": "sb3"}, {"impl": "cleanrl"}, {"ppo (cleanrl)", "ppo (sb3)"}),
        ({"impl": "sb3"}, {}, {"ppo", "ppo (sb3)"}),
        ({"source": "sample"}, {"source": "wandb:a/b"}, {"ppo (sample)", "ppo (wandb:a/b)"}),
        ({"project": "mine"}, {"project": "theirs"}, {"ppo (mine)", "ppo (theirs)"}),
        ({"algo": "sac", "impl": "x"}, {"impl": "y"}, {"ppo", "sac"}),
    ],
)
def test_labels_are_as_short_as_they_can_be(one: dict[str, str], other: dict[str, str], expected: set[str]) -> None:
    assert set(labels(curve("a", **one), curve("b", **other))) == expected


def test_labels_with_implementation_and_project() -> None:
    runs = [curve(f"{impl}{project}", impl=impl, project=project) for impl in ("x", "y") for project in ("p", "q")]
    assert set(labels(*runs)) == {"ppo (x, p)", "ppo (x, q)", "ppo (y, p)", "ppo (y, q)"}


def test_doubles_keep_the_newest_that_ended_by_itself() -> None:
    runs = [
        curve("old", created="2024-01-01T00:00:00Z"),
        curve("new", created="2024-02-01T00:00:00Z"),
        curve("newest-crashed", created="2024-03-01T00:00:00Z", state="crashed"),
        curve("other-seed", seed=1, created="2023-01-01T00:00:00Z"),
        curve("other-version", env="Hopper-v5"),
    ]
    grouping = group_runs(runs)
    assert [one.run.run for one in grouping.groups[0].curves] == ["new", "other-seed", "other-version"]
    assert {(gone.run, gone.reason) for gone in grouping.excluded} == {
        ("old", "duplicate of new (same variant, environment and seed; the same values)"),
        ("newest-crashed", "duplicate of new (same variant, environment and seed; the same values)"),
    }


def lasting(run: str, end: int, **fields: Any) -> Curve:
    """A run that ends at a step."""
    return replace(curve(run, **fields), steps=np.array([end]))


def test_doubles_prefer_finished_to_unknown_to_diverged_then_the_newest() -> None:
    runs = [
        curve("diverged", state="diverged", created="2024-03-01"),
        curve("unknown", state="unknown", created="2024-02-01"),
        curve("finished", created="2024-01-01"),
        curve("older", created="2023-01-01"),
        curve("reproduced", created="2024-04-01", role="reproduction"),
    ]
    for best in ("finished", "older", "unknown", "diverged"):
        assert labels(*runs) == labels(*runs[::-1]) == {"ppo": [best]}
        runs = [one for one in runs if one.run.run != best]
    newest = [replace(curve("a"), fetched="2024-01-02"), replace(curve("b"), fetched="2024-01-01")]
    assert labels(*newest) == {"ppo": ["a"]}


def test_a_double_that_ends_before_95_percent_of_the_longer_one_does_not_stand_for_it() -> None:
    whole = lasting("whole", 1000, created="2024-01-01")
    assert labels(whole, lasting("new", 949, created="2024-02-01")) == {"ppo": ["whole"]}
    assert labels(whole, lasting("new", 950, created="2024-02-01")) == {"ppo": ["new"]}
    assert labels(lasting("whole", 1000, state="unknown"), lasting("new", 900)) == {"ppo": ["whole"]}
    assert labels(lasting("crash", 1000, state="crashed"), lasting("new", 900)) == {"ppo": ["new"]}


def test_runs_without_a_seed_are_no_doubles() -> None:
    assert labels(curve("a", seed=None), curve("b", seed=None)) == {"ppo": ["a", "b"]}


def test_by_fields() -> None:
    runs = [
        curve("a", algo="ppo", impl="sb3", tags=("v2", "v1"), git_commit="c1"),
        curve("b", algo="sac", impl="sb3", tags=("v1",), git_commit="c1"),
        curve("c", algo="sac", impl="", tags=(), git_commit=None),
    ]
    assert set(labels(*runs, by=("algo",))) == {"ppo", "sac"}
    assert set(labels(*runs, by=("tag",))) == {"v1,v2", "v1", "(none)"}
    assert set(labels(*runs, by=("commit",))) == {"c1", "(none)"}
    assert set(labels(*runs, by=("env",))) == {"Hopper-v4"}
    by_impl = group_runs(runs, by=("impl",))
    assert {group.label: group.algo for group in by_impl.groups} == {"(none)": "sac", "sb3": "ppo+sac"}
    assert by_impl.notes == ("sb3 pools runs that differ in algo",)
    assert by_impl.groups[1].by == {"impl": "sb3"}


def test_by_refuses_what_no_run_has() -> None:
    runs = [curve("a", config={"lr": 1})]
    with pytest.raises(UsageError, match=r"'config\.gamma'") as error:
        group_runs(runs, by=("config.gamma",))
    assert "lr" in error.value.why
    with pytest.raises(UsageError, match="'colour'") as error:
        group_runs(runs, by=("colour",))
    assert all(name in error.value.why for name in FIELDS)
    with pytest.raises(UsageError):
        group_runs(runs, by=("algo",), pool=True)


def test_labels_rename_groups() -> None:
    runs = [curve("a", config={"lr": 1}), curve("b", config={"lr": 2})]
    assert set(labels(*runs, labels=("ppo lr=1=slow=1",))) == {"slow=1", "ppo lr=2"}
    assert set(labels(*runs, labels={"ppo lr=1": "slow"})) == {"slow", "ppo lr=2"}
    for wrong in (("ppo=x",), ("nothing",), ("ppo lr=1=",), ("ppo lr=1=same", "ppo lr=2=same"), ("ppo lr=1=ppo lr=2",)):
        with pytest.raises(UsageError):
            group_runs(runs, labels=wrong)


def test_grouping_does_not_depend_on_the_order_of_runs() -> None:
    runs = [
        curve(f"{algo}{lr}{seed}", algo=algo, seed=seed, config={"lr": lr})
        for algo in "ab"
        for lr in (1, 2)
        for seed in (0, 0, 1)
    ]
    forward, backward = group_runs(runs), group_runs(runs[::-1])
    assert (
        [group.label for group in forward.groups]
        == [group.label for group in backward.groups]
        == ["a lr=1", "a lr=2", "b lr=1", "b lr=2"]
    )


def test_flat_config_keeps_lists_and_empty_mappings() -> None:
    assert flat_config({"a": {"b": {"c": [1, {"d": 2}]}}, "e": {}}) == {"a.b.c": [1, {"d": 2}], "e": {}}


def test_what_is_tuned_is_called_so_and_not_by_its_thirteen_keys() -> None:
    """A tuned run and a default one differ in every hyperparameter, and no reader can tell them apart by these."""
    tuned, default, other = ({f"key{number}": number * factor for number in range(13)} for factor in (1, 2, 3))
    runs = [curve(f"t{seed}", seed=seed, config=tuned, tags=("study:s1",)) for seed in range(2)]
    runs += [curve(f"d{seed}", seed=seed, config=default, tags=("baseline-of:s1", "baseline:default")) for seed in range(2)]
    runs += [curve("d9", seed=9, config=default)]  # the same by hand: one variant
    both = {"ppo tuned (study s1)": ["t0", "t1"], "ppo default": ["d0", "d1", "d9"]}
    assert labels(*runs) == both
    assert labels(*runs, curve("p", config=other)) == {**both, "ppo": ["p"]}
    plain = labels(*runs, curve("p", config=other), curve("q", config={**other, "key3": 0}))
    assert plain == {**both, "ppo key3=9": ["p"], "ppo key3=0": ["q"]}
    longer = [replace(one, run=replace(one.run, run=f"{one.run.run}l", config={**one.run.config, "key3": 50})) for one in runs]
    assert set(labels(*runs, *longer)) == {
        *(f"ppo tuned (study s1) key3={value}" for value in (3, 50)), *(f"ppo default key3={value}" for value in (6, 50))
    }  # fmt: skip
    twice = labels(*runs, curve("u", seed=5, config=other, tags=("study:s1",)))  # two trials of a study: only keys tell
    assert set(twice) - {"ppo default"} == {label for label in twice if "key12=" in label} and len(twice) == 3
    assert labels(*runs[:2]) == {"ppo": ["t0", "t1"]}
    theirs = [curve(f"x{name}", config={"study": name}) for name in "ab"]  # somebody else's setting of that name
    assert set(labels(*theirs)) == {"ppo study=a", "ppo study=b"}


def test_by_study_pools_what_is_the_same_to_a_study() -> None:
    runs = [
        curve("t0", seed=0, config={"lr": 1}, tags=("study:s1",)),
        curve("t1", seed=0, config={"lr": 2}, tags=("study:s2",)),
        curve("d0", seed=0, config={"lr": 3}, tags=("baseline-of:s1", "baseline:default")),
        curve("m0", seed=0, config={"lr": 4}, tags=("baseline-of:s2", "baseline:mine")),
        curve("o0", seed=0, config={"lr": 5}, tags=("baseline-of:s2",)),
        curve("p0", seed=0, config={"lr": 6}),
        curve("a0", seed=0, algo="a2c", config={"lr": 6}),
        curve("x0", seed=0, config={"lr": 7, "study": "theirs"}),
    ]
    words = ["tuned (study s1)", "tuned (study s2)", "default", "mine", "baseline", "theirs"]
    assert set(labels(*runs, by=("study",))) == {"ppo", "a2c", *(f"ppo {word}" for word in words)}
    two = [curve(f"t{n}", config={"lr": n}, impl="sb3", tags=(f"study:s{n}",)) for n in (1, 2)]
    assert set(labels(*two, by=("impl", "study"))) == {"ppo tuned (study s1) (sb3)", "ppo tuned (study s2) (sb3)"}
