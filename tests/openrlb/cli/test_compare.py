"""``openrlb compare`` and ``openrlb power``: names, verdicts, the seed guard, tuning effort, and bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from builders import EPISODES, RETURN
from compared_runs import Cli, compared, fill, group, looked, run

import openrlb
from openrlb.errors import UsageError
from openrlb.store import Store
from openrlb.types import Selection


@pytest.fixture
def two(store: Store) -> Store:
    fill(store, [*group("ppo", 500.0), *group("a2c", 300.0)])
    return store


def test_the_json_is_the_contract_and_the_text_begins_with_the_verdict(cli: Cli, two: Store) -> None:
    answer = compared(cli, "ppo", "a2c", "--margin", 50)
    promised = "statistic difference low high margin verdict looks probability_of_improvement secondary seeds_needed excluded"
    assert list(answer)[:11] == promised.split()
    assert answer["verdict"] == "better" and answer["low"] < answer["difference"] < answer["high"]
    assert 150 < answer["difference"] < 250 and answer["seeds_needed"] >= 3
    result = cli("compare", "ppo", "a2c", "--margin", 50)
    assert result.stdout.startswith("ppo vs a2c: better by ")
    first = result.stdout.splitlines()[0]
    assert "(IQM of final:10%, 95 % Holm over 1 comparison, 5 v 5 seeds)" in first and "fewer than 10 seeds" in first
    assert "secondary: Welch's t test" in result.stdout and "0.0079365 is the least it can be" in result.stdout
    assert "tuning of ppo and of a2c: unknown" in result.stdout
    assert "cut: Hopper-v4 at 50,000" in result.stderr


def test_tables_have_a_row_for_each_comparison(cli: Cli, two: Store, tmp_path: Any) -> None:
    fill(two, group("sac", 310.0))
    result = cli("compare", "ppo", "a2c", "sac", "--format", "tsv", "--resamples", 2000)
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert lines[0][:4] == ["first", "second", "env", "verdict"]
    assert [line[:2] for line in lines[1:]] == [["ppo", "a2c"], ["ppo", "sac"], ["a2c", "sac"]]
    assert [line[3] for line in lines[1:]] == ["better", "better", "undecided"]
    against = compared(cli, "a2c", "ppo", "sac", "--against-first")
    assert [(one["first"], one["second"]) for one in against["comparisons"]] == [("a2c", "ppo"), ("a2c", "sac")]
    assert against["verdict"] is None and against["comparisons"][0]["verdict"] == "worse"
    target = tmp_path / "verdicts.csv"
    assert cli("compare", "ppo", "a2c", "-o", target, "--resamples", 2000).exit_code == 0
    assert target.read_text().startswith("first,second,env,verdict")


def test_groups_are_named_as_plot_prints_them_by_place_by_setting_and_by_glob(cli: Cli, store: Store) -> None:
    fill(store, [*group("ppo", 500.0, impl="sb3"), *group("ppo", 300.0, impl="cleanrl"), *group("td3", 100.0, impl="sb3")])
    fill(store, [*group("sac", 1.0, config={"lr": 1}), *group("sac", 2.0, config={"lr": 2})])
    pair = lambda *words: [(one["first"], one["second"]) for one in compared(cli, *words)["comparisons"]]  # noqa: E731
    assert pair("ppo (sb3)", "ppo (cleanrl)") == pair("ppo@sb3", "PPO@cleanrl") == [("ppo (sb3)", "ppo (cleanrl)")]
    assert pair("sac lr=1", "td3") == [("sac lr=1", "td3")]
    assert pair("ppo*", "td3")[0] == ("ppo (cleanrl)", "ppo (sb3)") and len(pair("ppo*", "td3")) == 3
    result = cli("compare", "ppo", "td3")
    assert (
        result.exit_code == 2
        and "'ppo' means 2 groups" in result.stderr
        and "they are ppo (cleanrl) (5 runs in Hopper-v4), ppo (sb3)" in result.stderr
    )
    assert "--pool or --by algo" in result.stderr and "--env" not in result.stderr, "both are in the same environment"
    assert pair("ppo", "td3", "--by", "algo") == [("ppo", "td3")]
    result = cli("compare", "ppp", "td3")
    assert result.exit_code == 3 and "did you mean ppo" in result.stderr
    result = cli("compare", "ppo@sb4", "td3")
    assert result.exit_code == 3 and "no group is called 'ppo@sb4'" in result.stderr
    result = cli("compare", "ppo@sb3", "ppo (sb3)")
    assert result.exit_code == 2 and "with itself" in result.stderr


def test_a_stray_run_elsewhere_is_told_and_the_environment_is_what_to_choose(cli: Cli, two: Store) -> None:
    """A newcomer's first own run made two groups of ppo: pooling them was advised, where an environment had to be named."""
    fill(two, [run("ppo", 1, 20.0, env="CartPole-v1", source="openrlb")])
    refused = cli("compare", "ppo", "a2c")
    assert refused.exit_code == 2 and "(1 run in CartPole-v1)" in refused.stderr and "(5 runs in Hopper-v4)" in refused.stderr
    assert "--env Hopper-v4" in refused.stderr and "--by" not in refused.stderr
    assert cli("compare", "ppo", "a2c", "--env", "Hopper-v4").exit_code == 0, "what is advised works"


def test_a_group_keeps_its_label_whatever_else_is_compared(cli: Cli, store: Store) -> None:
    """Alone beside another algorithm a variant would be plain ``sac``: the reader named it by its setting."""
    fill(store, [*group("sac", 1.0, config={"lr": 1}), *group("sac", 2.0, config={"lr": 2}), *group("td3", 100.0)])
    answer = compared(cli, "sac lr=2", "td3")
    assert [one["label"] for one in answer["groups"]] == ["sac lr=2", "td3"]
    assert set(answer["groups"][0]["runs"].values()) == {5}


def test_environments_without_a_common_scale_are_judged_apart_and_share_the_error(cli: Cli, store: Store) -> None:
    fill(
        store, [one for env in ("Hopper-v4", "Ant-v4") for one in [*group("ppo", 500.0, env=env), *group("a2c", 300.0, env=env)]]
    )
    answer = compared(cli, "ppo", "a2c")
    assert [one["envs"] for one in answer["comparisons"]] == [["Ant-v4"], ["Hopper-v4"]]
    assert answer["difference"] is None and answer["verdict"] is None and answer["pooled_envs"] == []
    assert {round(one["level"], 4) for one in answer["comparisons"]} == {0.975}
    assert any("2 environments, a verdict for each" in note for note in answer["notes"])
    assert "ppo vs a2c on Ant-v4: better by" in answer["words"][0]


def test_normalised_environments_are_pooled(cli: Cli, store: Store) -> None:
    envs = ("walker-walk", "hopper-hop")
    fill(store, [one for env in envs for one in [*group("ppo", 500.0, env=env), *group("a2c", 300.0, env=env)]])
    fill(store, group("ppo", 500.0, env="cheetah-run"))
    answer = compared(cli, "ppo", "a2c", "--margin", 0.05)
    assert answer["normalization"].startswith("dmc") and sorted(answer["pooled_envs"]) == sorted(envs)
    assert 0.15 < answer["difference"] < 0.25 and "over 2 environments" in answer["words"][0]
    assert any("cheetah-run" in note and "not every group" in note for note in answer["notes"])


def test_a_group_may_be_the_unit_of_the_scores(cli: Cli, store: Store) -> None:
    envs = ("Hopper-v4", "Ant-v4")
    levels = {"random": 0.0, "ppo": 500.0, "a2c": 300.0}
    fill(store, [one for env in envs for algo, level in levels.items() for one in group(algo, level, env=env)])
    answer = compared(cli, "ppo", "a2c", "random", "--normalize", "ref:ppo")
    first = answer["comparisons"][0]
    assert sorted(first["envs"]) == sorted(envs) and first["difference"] == pytest.approx(0.4, abs=0.1)
    again = compared(cli, "ppo", "a2c", "--normalize", "ref:ppo")  # frozen: without the random runs too
    assert again["difference"] == pytest.approx(first["difference"], abs=1e-9)


def test_groups_without_spread_are_undecided_and_a_note_says_why(cli: Cli, store: Store) -> None:
    fill(store, [run(algo, seed, level, noise=0.0) for algo, level in (("ppo", 2.0), ("a2c", 1.0)) for seed in range(3)])
    answer = compared(cli, "ppo", "a2c")
    assert (answer["verdict"], answer["low"], answer["difference"]) == ("undecided", None, 1.0)
    assert answer["words"][0].startswith("ppo vs a2c: undecided: no spread seen in 3 v 3 seeds")
    assert sum("all 3 runs gave the same score; equal scores say nothing" in note for note in answer["notes"]) == 2


def test_reference_groups_need_not_be_compared(store: Store) -> None:
    """R11: --normalize ref:ppo advised --random, which compare did not have, and saw the compared groups only."""
    levels = {"nothing": 0.0, "ppo": 500.0, "a2c": 300.0, "sac": 400.0}
    fill(store, [one for algo, level in levels.items() for one in group(algo, level)])
    answer = looked("a2c", "sac", normalize="ref:ppo", random="nothing")
    assert answer.difference == pytest.approx(-0.2, abs=0.05) and answer.groups[0].label == "a2c"


def test_mixed_kinds_are_compared_on_request_and_each_label_says_its_kind(cli: Cli, store: Store) -> None:
    mixed(store)
    answer = compared(cli, "ppo", "a2c", "--allow-mixed-kinds")
    assert [one["label"] for one in answer["groups"]] == [f"ppo [{RETURN.kind}]", f"a2c [{EPISODES.kind}]"]
    assert answer["words"][0].startswith(f"ppo [{RETURN.kind}] vs a2c [{EPISODES.kind}]: better")
    assert answer["groups"][0]["runs"] == {"Hopper-v4": 5}


def test_versions_are_merged_on_request(cli: Cli, store: Store) -> None:
    apart(store)
    answer = compared(cli, "ppo", "a2c", "--merge-versions")
    assert answer["verdict"] == "better" and any("merged" in note or "one task" in note for note in answer["notes"])


def test_only_environments_in_common_get_a_verdict_and_the_others_are_named(cli: Cli, two: Store) -> None:
    fill(two, group("ppo", 500.0, env="Ant-v4"))
    notes = compared(cli, "ppo", "a2c")["notes"]
    assert "Ant-v4 is left out: no run of a2c" in notes
    assert not any("a verdict for each" in note for note in notes)


def test_one_name_is_no_list_of_letters(two: Store) -> None:
    with pytest.raises(UsageError, match="needs two groups"):
        openrlb.compare("ppo")
    assert openrlb.power("ppo", 20.0).groups == ("ppo",)


def test_settings_of_environments_take_one_line_and_json_names_them(cli: Cli, store: Store) -> None:
    for algo in ("ppo", "a2c"):
        for at, env in enumerate(("Hopper-v4", "Ant-v4")):
            fill(store, group(algo, 300.0, env=env, config={"gamma": at, "batch": at}))
    said = cli("compare", "ppo", "a2c", "--resamples", 300).stderr
    assert said.count("set per environment") == 1 and "2 settings of a2c, 2 settings of ppo (--json names them)" in said
    assert "a2c: set per environment, not variants: batch, gamma" in compared(cli, "ppo", "a2c")["notes"]


def test_power_plans_at_the_level_that_compare_will_use(store: Store) -> None:
    """R9: several environments that are judged apart share the error."""
    both = [one for env in ("Hopper-v4", "Ant-v4") for algo in ("ppo", "a2c") for one in group(algo, 300.0, env=env)]
    fill(store, both)
    answer = openrlb.power(("ppo", "a2c"), 20.0)
    assert [plan.needed.level for plan in answer.plans if plan.needed] == [0.975, 0.975]
    assert any("compare judges 2 environments apart" in note and "level 0.975" in note for note in answer.notes)
    tiny = openrlb.power(("ppo", "a2c"), 1e-6)
    assert tiny.plans[0].needed is not None and tiny.plans[0].needed.difference is None
    assert any("more than 100,000 seeds" in note for note in tiny.notes)
    alone = openrlb.power(("ppo", "a2c"), 20.0, Selection(env=("Hopper",)))
    needed = [plan.needed.difference for plan in (*alone.plans, *answer.plans) if plan.needed]
    assert alone.plans[0].needed is not None and alone.plans[0].needed.level == 0.95
    assert needed[0] is not None and needed[2] is not None and needed[0] < needed[2]


def test_tuning_runs_are_kept_out_unless_asked_for_and_then_it_is_said(cli: Cli, store: Store) -> None:
    fill(store, [*group("ppo", 500.0, role="test", tags=("study:s1",)), *group("a2c", 300.0)])
    tuning = [run("ppo", seed, 900.0, role="tuning", tags=("study:s1",), name=f"tune{seed}") for seed in range(100, 104)]
    fill(store, [*tuning, run("ppo", 200, 900.0, role="confirm", tags=("study:s1",), name="confirm")])
    answer = compared(cli, "ppo", "a2c")
    assert answer["groups"][0]["runs"] == {"Hopper-v4": 5} and answer["difference"] < 250
    assert {item["run"] for item in answer["excluded"]} == {"tune100", "tune101", "tune102", "tune103", "confirm"}
    assert any("4 tuning runs are left out" in note for note in answer["notes"])
    assert answer["groups"][0]["tuning"]["words"] == "tuned with study s1 (5 runs)"
    asked = compared(cli, "ppo", "a2c", "--role", "tuning", "--role", "none")
    assert asked["groups"][0]["runs"] == {"Hopper-v4": 4} and asked["difference"] > 500
    assert any("4 tuning runs are in, as asked" in note for note in asked["notes"])
    alone = cli("compare", "ppo", "a2c", "--where", "role = 'tuning'")
    assert alone.exit_code == 2 and "--role tuning" in alone.stderr


def test_tuned_against_untuned_stands_in_the_verdict(cli: Cli, store: Store) -> None:
    spec = json.dumps({"format": 1, "hyperparameters": {}}).encode()
    fill(
        store,
        [*group("ppo", 500.0, tags=("study:s1",), role="test"), *group("a2c", 300.0, impl="sb3", blobs={"spec.json": spec})],
    )
    answer = compared(cli, "ppo", "a2c")
    assert [one["tuning"]["tuned"] for one in answer["groups"]] == ["tuned", "untuned"]
    assert "untuned: the defaults of sb3's library" in answer["groups"][1]["tuning"]["words"]
    assert "; tuned against untuned" in answer["words"][0]


def test_published_hyperparameters_are_recognised_by_what_was_asked(cli: Cli, store: Store) -> None:
    from openrlb_runners.published import published
    from openrlb_runners.spec import find_runner

    known = published(find_runner("sb3"), "ppo", "Hopper-v5")
    assert known is not None
    spec = json.dumps({"format": 1, "hyperparameters": dict(known.hyperparameters)}).encode()
    other = json.dumps({"format": 1, "hyperparameters": {**known.hyperparameters, "gamma": 0.123}}).encode()
    fill(store, group("ppo", 500.0, impl="sb3", env="Hopper-v5", blobs={"spec.json": spec}))
    fill(store, group("a2c", 300.0, impl="sb3", env="Hopper-v5", blobs={"spec.json": other}))
    tuning = [one["tuning"] for one in compared(cli, "ppo", "a2c")["groups"]]
    assert tuning[0] == {"tuned": "tuned", "words": f"by its publisher ({known.source})", "studies": [], "runs": 0}
    assert tuning[1]["words"] == "unknown"


def test_pairs_are_for_one_implementation_and_the_unmatched_are_named(cli: Cli, store: Store) -> None:
    fill(store, [*group("ppo", 500.0, 6, impl="sb3"), *group("a2c", 300.0, impl="sb3"), *group("sac", 300.0, impl="cleanrl")])
    answer = compared(cli, "ppo", "a2c", "--paired")
    assert answer["paired"] and answer["comparisons"][0]["runs"] == {"Hopper-v4": [5, 5]}
    assert -1 <= answer["secondary"]["seed_correlation"] <= 1
    assert [item["seed"] for item in answer["excluded"]] == [5] and "no partner" in answer["excluded"][0]["reason"]
    assert "correlation over seeds" in cli("compare", "ppo", "a2c", "--paired", "--resamples", 2000).stdout
    result = cli("compare", "ppo", "sac", "--paired")
    assert result.exit_code == 2 and "within one implementation" in result.stderr


def test_every_excluded_run_is_named(cli: Cli, two: Store) -> None:
    fill(two, [run("ppo", 7, 1.0, state="crashed", name="broken"), run("a2c", 8, 1.0, state="running", name="going")])
    excluded = {item["run"]: item["reason"] for item in compared(cli, "ppo", "a2c")["excluded"]}
    assert excluded == {"broken": "crashed", "going": "running"}
    assert "excluded: broken (ppo, Hopper-v4, seed 7): crashed" in cli("compare", "ppo", "a2c", "--resamples", 2000).stderr


def test_many_failed_runs_are_also_counted_at_the_failure_score(cli: Cli, two: Store) -> None:
    fill(two, [run("ppo", seed, 1.0, state="crashed", name=f"broken{seed}") for seed in range(10, 15)])
    (note,) = [note for note in compared(cli, "ppo", "a2c")["notes"] if "failure score" in note]
    assert note.startswith("ppo: 5 of 10 runs failed and are left out; with them at the failure score ppo vs a2c on Hopper-v4 is")
    assert "undecided" in note


def mixed(store: Store) -> None:
    fill(store, [*group("ppo", 500.0), *group("a2c", 300.0, metric=EPISODES)])


def no_quantity(store: Store) -> None:
    fill(store, [*group("ppo", 500.0), *group("a2c", 300.0)])


def one_seed(store: Store) -> None:
    fill(store, [*group("ppo", 500.0), *group("a2c", 300.0, 1)])


def two_seeds(store: Store) -> None:
    fill(store, [*group("ppo", 500.0), *group("a2c", 300.0, 2)])


def apart(store: Store) -> None:
    fill(store, [*group("ppo", 500.0), *group("a2c", 300.0, env="Hopper-v5")])


def disjoint(store: Store) -> None:
    fill(store, [*group("ppo", 500.0), *group("a2c", 300.0, first=500)])


def missing_in_table(store: Store) -> None:
    fill(store, [*group("ppo", 500.0, env="walker-walk"), *group("a2c", 300.0, env="walker-walk")])
    fill(store, [*group("ppo", 500.0, env="Hopper-v4"), *group("a2c", 300.0, env="Hopper-v4")])


@pytest.mark.parametrize(
    ("fix", "words", "code", "said"),
    [
        (mixed, ["ppo", "a2c"], 2, ["share no kind", "--of NAME", "--allow-mixed-kinds"]),
        (mixed, ["ppo", "a2c", "--of", EPISODES.name], 2, [f"ppo never logged {EPISODES.name}", f"ppo logged {RETURN.name}"]),
        (no_quantity, ["ppo", "a2c", "--random", "sac"], 2, ["--random", "--normalize ref:GROUP"]),
        (no_quantity, ["ppo", "a2c", "--of", "nothing"], 3, ["no run logged nothing", "--of NAME"]),
        (one_seed, ["ppo", "a2c"], 2, ["too few seeds", "a2c, Hopper-v4: 1 seed", "--seeds 5"]),
        (two_seeds, ["ppo", "a2c"], 2, ["a2c, Hopper-v4: 2 seeds", "--interval-from 2"]),
        (apart, ["ppo", "a2c"], 2, ["share no environment", "Hopper-v5", "versions of an environment are different tasks"]),
        (disjoint, ["ppo", "a2c"], 2, ["no step in common", "a2c logs Hopper-v4 from 500,000 on", "cut at 50,000", "no --at"]),
        (missing_in_table, ["ppo", "a2c", "--normalize", "dmc"], 2, ["dmc cannot normalise Hopper-v4", "--normalize none"]),
        (no_quantity, ["ppo"], 2, ["a comparison needs two groups", "ppo a2c"]),
        (no_quantity, [], 2, ["a comparison needs two groups", "a2c, ppo"]),
        (no_quantity, ["ppo", "a2c", "--margin", "-3"], 2, ["a margin of -3", "--margin 100"]),
        (no_quantity, ["ppo", "a2c", "--at", "900000"], 2, ["no run reaches step 900000"]),
        (no_quantity, ["ppo", "a2c", "--paired"], 2, ["these runs are no pairs", "unknown"]),
        (no_quantity, ["ppo", "a2c", "--env", "Ant"], 3, ["Ant"]),
    ],
)
def test_bad_input_gets_a_sentence_that_says_what_to_do(
    cli: Cli, store: Store, fix: Callable[[Store], None], words: list[str], code: int, said: list[str]
) -> None:
    fix(store)
    result = cli("compare", *words)
    assert result.exit_code == code, result.output
    for word in said:
        assert word in result.stderr
    assert result.stderr.count("\n  why: ") == result.stderr.count("\n  fix: ") == 1


def test_two_seeds_are_compared_on_request(cli: Cli, store: Store) -> None:
    two_seeds(store)
    assert compared(cli, "ppo", "a2c", "--interval-from", 2)["low"] is not None


def test_power_counts_for_the_margin(cli: Cli, two: Store) -> None:
    result = cli("power", "ppo", "a2c", "--margin", 10, "--json")
    plan = json.loads(result.stdout)["plans"][0]
    closer = [replace(batch, run=replace(batch.run, run=f"x{batch.run.run}", algo="ppo2")) for batch in group("ppo", 301.0)]
    fill(two, closer)
    near = json.loads(cli("power", "ppo2", "a2c", "--margin", 10, "--json").stdout)["plans"][0]
    assert near["needed"]["difference"] == plan["needed"]["difference"]  # the observed difference has no say
    wider = json.loads(cli("power", "ppo", "a2c", "--margin", 20, "--json").stdout)["plans"][0]
    assert wider["needed"]["difference"] < plan["needed"]["difference"] < plan["needed"]["equivalence"]
    alone = cli("power", "ppo", "--margin", 20)
    assert alone.exit_code == 0 and "taken to vary as much as ppo" in alone.stderr
    assert "seeds_needed" in alone.stdout.splitlines()[0]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["ppo", "a2c"], 2, "power needs a margin"),
        (["--margin", "1"], 2, "no group is named"),
        (["ppo", "--margin", "20", "--seed", "1"], 2, "needs two runs"),
        (["ppo", "a2c", "sac", "--margin", "1"], 2, "plans one comparison"),
    ],
)
def test_power_says_what_it_lacks(cli: Cli, two: Store, words: list[str], code: int, said: str) -> None:
    fill(two, group("sac", 1.0))
    result = cli("power", *words)
    assert result.exit_code == code and said in result.stderr
