"""``plot`` beyond aggregates: frozen normalisations, the seed guard, merged versions, and every metric's numbers and page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builders import batch
from typer.testing import Result

from openrlb.store import Store
from openrlb.store.normalizations import read_normalizations

Cli = Callable[..., Result]


def answer(cli: Cli, *words: object) -> dict[str, Any]:
    done = cli("plot", "--json", "--resamples", 200, *words)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@pytest.fixture
def groups(store: Store) -> Store:
    """Three seeds each of ppo, a2c and a random agent in two environments; scores about 52, 62 and 47 in Hopper-v4."""
    offsets = {"ppo": 5.0, "a2c": 15.0, "random": 0.0}
    store.write(
        batch(f"{algo}-{env}-{seed}", algo=algo, env=env, seed=seed, offset=offset + seed + 10 * (env == "Ant-v4"))
        for algo, offset in offsets.items()
        for env in ("Hopper-v4", "Ant-v4")
        for seed in range(3)
    )
    store.fold()
    return store


def test_ref_puts_the_group_at_one_and_the_random_agent_at_zero(cli: Cli, groups: Store) -> None:
    result = answer(cli, "--metric", "mean", "--normalize", "ref:ppo")
    values = {group["label"]: group["value"] for group in result["groups"]}
    assert values == {"ppo": pytest.approx(1.0), "random": pytest.approx(0.0), "a2c": pytest.approx(3.0)}
    assert result["normalization"] == "ref:ppo v1"
    assert result["references"]["Hopper-v4"]["high_runs"] == [f"folder ppo-Hopper-v4-{seed}" for seed in range(3)]
    assert any("frozen" in note and "folder ppo-Hopper-v4-0" in note for note in result["notes"])


def test_what_is_frozen_serves_any_selection_and_never_changes(cli: Cli, groups: Store) -> None:
    answer(cli, "--normalize", "ref:ppo", "--freeze", "paper", "--env", "Hopper")
    frozen = read_normalizations(groups.layout)["paper"]
    groups.write([batch("ppo-more", env="Hopper-v4", seed=9, offset=500.0)])
    alone = answer(cli, "--metric", "mean", "--normalize", "paper", "--algo", "a2c", "--env", "Hopper")
    assert alone["groups"][0]["value"] == pytest.approx(3.0) and alone["normalization"] == "paper v1"
    answer(cli, "--normalize", "ref:ppo", "--freeze", "paper", "--env", "Hopper")
    assert read_normalizations(groups.layout)["paper"] == frozen
    assert cli("doctor", "--rebuild").exit_code == 0
    assert read_normalizations(groups.layout)["paper"] == frozen
    lacking = cli("plot", "--normalize", "paper", "--json")
    assert lacking.exit_code == 2 and "paper cannot normalise Ant-v4" in lacking.stderr
    assert "--normalize ref:ppo --freeze paper" in lacking.stderr
    wider = answer(cli, "--normalize", "ref:ppo", "--freeze", "paper")
    assert wider["normalization"] == "paper v2"
    assert read_normalizations(groups.layout)["paper"].scales["Hopper-v4"] == frozen.scales["Hopper-v4"]


def test_minmax_and_cdf_of_a_group(cli: Cli, groups: Store) -> None:
    low = answer(cli, "--metric", "mean", "--normalize", "minmax:random", "--algo", "random", "--algo", "ppo")
    values = {group["label"]: group["value"] for group in low["groups"]}
    assert values == {"random": pytest.approx(0.5), "ppo": pytest.approx(3.0)}
    share = answer(cli, "--metric", "mean", "--normalize", "cdf:*", "--freeze", "all")
    assert max(group["value"] for group in share["groups"]) == pytest.approx((7 / 9 + 8 / 9 + 1) / 3)
    assert "all" in cli("plot", "--normalize", "nonsense").stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--normalize", "ref:sac"), "finds no such group"),
        (("--normalize", "ref:ppo", "--algo", "ppo"), "no random agent's score is known"),
        (("--freeze", "mine"), "there is nothing to freeze"),
        (("--normalize", "ref:ppo", "--freeze", "dmc"), "cannot be a frozen normalisation's name"),
        (("--normalize", "minmax:ppo", "--random", "a2c"), "--random names what ref:GROUP puts at 0"),
        (("--normalize", "atari57-human"), "atari57-human cannot normalise Ant-v4, Hopper-v4"),
        (("--normalize", "rref:ppo"), "there is no normalisation 'rref:ppo'"),
    ],
)
def test_a_normalisation_that_has_no_meaning_is_told(cli: Cli, groups: Store, words: tuple[str, ...], told: str) -> None:
    done = cli("plot", "--json", "--resamples", 200, *words)
    assert done.exit_code in (2, 3) and told in done.stderr and "fix:" in done.stderr
    assert read_normalizations(groups.layout) == {}


def test_a_contradicting_random_group_is_refused_with_what_is_frozen(cli: Cli, groups: Store) -> None:
    """Silently keeping the first one would print a2c's scores as trpo's."""
    groups.write(batch(f"trpo-{seed}", algo="trpo", env="Hopper-v4", seed=seed, offset=-9.0 + seed) for seed in range(3))
    words = ("--env", "Hopper", "--normalize", "ref:a2c")
    answer(cli, *words, "--random", "ppo")
    frozen = read_normalizations(groups.layout)
    again = answer(cli, *words, "--random", "PPO")
    assert again["normalization"] == "ref:a2c v1" and read_normalizations(groups.layout) == frozen
    other = cli("plot", "--json", *words, "--random", "trpo")
    assert other.exit_code == 2 and "ref:a2c does not put trpo at 0" in other.stderr
    assert "the mean of ppo's score at 0" in other.stderr and "--random trpo --freeze NAME" in other.stderr
    named = answer(cli, *words, "--random", "trpo", "--freeze", "by trpo")
    assert named["normalization"] == "by trpo v1"
    listed = json.loads(cli("plot", "--normalize", "list", "--json").stdout)
    assert [(row["name"], row["envs"]) for row in listed if row["envs"]] == [
        ("ref:a2c", ["Hopper-v4"]), ("by trpo", ["Hopper-v4"]),
    ]  # fmt: skip
    assert any(row["name"] == "dmc" and row["created"] is None for row in listed)


def test_a_pooled_row_counts_runs_and_seeds_apart(cli: Cli, groups: Store) -> None:
    rows = json.loads(cli("plot", "--table", "--json", "--resamples", 200, "--normalize", "ref:ppo").stdout)
    pooled = [row for row in rows if row["env"] == "(2 pooled)"]
    assert {(row["seeds"], row["runs"]) for row in pooled} == {(3, 6)}
    assert {(row["seeds"], row["runs"]) for row in rows if row not in pooled} == {(3, 3)}


def test_what_is_zero_but_for_rounding_is_zero(cli: Cli, groups: Store) -> None:
    rows = json.loads(cli("plot", "--table", "--json", "--resamples", 200, "--normalize", "ref:ppo", "--metric", "mean").stdout)
    assert {row["value"] for row in rows if row["label"] == "random"} == {0.0}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--metric", "iqmm"), "did you mean --metric iqm?"),
        (("--level", "7"), "try --level 0.95"),
        (("--normalize", "cdf"), "--normalize cdf:GROUP"),
        (("--normalize", "mujoco"), "MuJoCo has no agreed reference returns"),
        (("--normalize", "nosuch"), "use one of them, or minmax:GROUP"),
        (("--normalize", "dmc"), "minmax:GROUP"),
    ],
)
def test_hints_lead_somewhere(cli: Cli, groups: Store, words: tuple[str, ...], told: str) -> None:
    done = cli("plot", *words)
    lines = done.stderr.splitlines()
    assert done.exit_code == 2 and len(lines) == 3 and told in lines[2], done.stderr
    assert "did you mean" not in lines[2] or words[1] == "iqmm"


def test_a_narrow_terminal_leaves_columns_out_and_breaks_no_number(
    cli: Cli, groups: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "46")
    done = cli("plot", "--env", "Hopper", "--format", "table", "--resamples", 200, "-o", tmp_path / "page.html")
    assert done.exit_code == 0 and "too narrow for mean, std" in done.stderr
    assert len(done.stdout.splitlines()) == 4 and "63  60.231  65.608" in done.stdout


def test_an_interrupted_plot_says_that_nothing_is_kept(cli: Cli, groups: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("openrlb.api.plot.plot", interrupt)
    done = cli("plot")
    assert done.exit_code == 130 and "nothing was written" in done.stderr and "goes on" not in done.stderr


def test_frozen_scores_of_another_quantity_are_refused(cli: Cli, groups: Store) -> None:
    answer(cli, "--normalize", "ref:ppo", "--freeze", "mine", "--env", "Hopper")
    groups.write([batch("e", env="Hopper-v4", algo="sac", episodes=True)])
    done = cli("plot", "--json", "--algo", "sac", "--of", "r", "--normalize", "mine")
    assert done.exit_code == 2 and "mine is about another quantity" in done.stderr


def test_a_store_that_cannot_be_written_still_answers_and_says_that_nothing_was_frozen(
    cli: Cli, groups: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from openrlb.errors import StoreUnwritable

    def refuse(*_: object) -> None:
        raise StoreUnwritable("x cannot be written", "read-only", "try elsewhere")

    monkeypatch.setattr("openrlb.api.normalization.freeze", refuse)
    result = answer(cli, "--normalize", "ref:ppo")
    assert any("NOT frozen" in note for note in result["notes"])


# The seed guard ------------------------------------------------------------------------------------------------------


def test_tuning_and_confirm_runs_stay_out_unless_asked_for(cli: Cli, groups: Store) -> None:
    groups.write(
        batch(f"{role}-{seed}", env="Hopper-v4", seed=100 + seed, offset=900.0, role=role)
        for role in ("tuning", "confirm", "test")
        for seed in range(2)
    )
    result = answer(cli, "--env", "Hopper", "--algo", "ppo")
    assert result["groups"][0]["runs"] == 5  # three of no role and two of test
    assert {gone["run"] for gone in result["excluded"]} == {"tuning-0", "tuning-1", "confirm-0", "confirm-1"}
    assert any(note.startswith("2 tuning runs are left out") and "--role tuning" in note for note in result["notes"])
    asked = answer(cli, "--env", "Hopper", "--algo", "ppo", "--role", "tuning")
    assert asked["groups"][0]["runs"] == 2 and any("optimistic" in note for note in asked["notes"])


def test_only_tuning_runs_are_an_error_that_says_so(cli: Cli, store: Store) -> None:
    store.write([batch("t", role="tuning")])
    done = cli("plot", "--json")
    assert done.exit_code == 2 and "tuning runs" in done.stderr and "--role tuning" in done.stderr


# Versions, metrics, pages --------------------------------------------------------------------------------------------


def test_merge_versions(cli: Cli, groups: Store) -> None:
    groups.write(batch(f"old-{seed}", algo="ppo", env="Hopper-v2", seed=seed) for seed in range(3))
    assert "Hopper-v2" in answer(cli, "--algo", "ppo", "--env", "Hopper")["step"]
    merged = answer(cli, "--algo", "ppo", "--env", "Hopper", "--merge-versions")
    assert set(merged["step"]) == {"Hopper"} and merged["groups"][0]["runs"] == 6
    assert any("Hopper is Hopper-v2, Hopper-v4" in note for note in merged["notes"])


METRICS = ("poi", "profile", "efficiency", "rank", "steps-to-threshold")


@pytest.mark.parametrize("metric", [*METRICS, "cvar", "iqr"])
def test_every_metric_has_numbers_a_table_and_a_page(cli: Cli, groups: Store, metric: str, tmp_path: Path) -> None:
    words = ("--metric", metric, "--normalize", "ref:ppo", "--threshold", "0.5", "--resamples", 200)
    result = answer(cli, *words)
    assert result["metric"] == metric and result["normalization"] == "ref:ppo v1"
    assert {"rule", "step", "interval", "excluded", "sources", "groups"} <= set(result)
    assert metric not in METRICS or result[metric.replace("-", "_")]["envs"] == ["Ant-v4", "Hopper-v4"]
    table = cli("plot", *words, "--table", "--format", "tsv")
    assert table.exit_code == 0 and len(table.stdout.splitlines()) > 2
    page = cli("plot", *words, "-o", tmp_path / "page.html")
    assert page.exit_code == 0, page.stderr
    html = (tmp_path / "page.html").read_text()
    assert "ref:ppo v1" in html and "final:10%" in html and html.count("<figure") >= 1
    curves = metric in ("efficiency", "steps-to-threshold")
    assert ("score final:10%" in page.stderr) == (not curves) and ("from whole curves" in page.stderr) == curves
    assert "cut:" in page.stderr and "interval:" in page.stderr


def test_poi_values(cli: Cli, groups: Store) -> None:
    pairs = {(pair["first"], pair["second"]): pair["value"] for pair in answer(cli, "--metric", "poi")["poi"]["pairs"]}
    assert pairs == {("a2c", "ppo"): 1.0, ("a2c", "random"): 1.0, ("ppo", "random"): 1.0}


def test_curves_along_one_axis_with_a_simultaneous_band(cli: Cli, groups: Store) -> None:
    wide = answer(cli, "--env", "Hopper", "--curves", "--x", "steps", "--band", "simultaneous")
    thin = answer(cli, "--env", "Hopper", "--curves", "--x", "steps")
    assert [one["x_unit"] for one in wide["curves"]] == ["agent_step"] and wide["curves"][0]["band"] == "simultaneous"
    for a, b in zip(wide["curves"][0]["bands"], thin["curves"][0]["bands"], strict=True):
        assert all(low <= other + 1e-9 for low, other in zip(a["low"], b["low"], strict=True))
    assert any("simultaneous" in note for note in wide["curves"][0]["notes"])


def test_rliable_and_the_task_bootstrap_are_flags(cli: Cli, groups: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rliable")
    words = ("--normalize", "ref:ppo", "--interval", "percentile")
    ours, theirs = answer(cli, *words), answer(cli, *words, "--engine", "rliable")
    assert [group["value"] for group in theirs["groups"]] == pytest.approx([group["value"] for group in ours["groups"]])
    assert any("rliable 1.2.0" in note for note in theirs["notes"])
    monkeypatch.setattr("openrlb.cli.plot.TICK_SECONDS", 0.0)
    told = cli("plot", *words, "--engine", "rliable", "--resamples", 200, "--json").stderr
    assert "rliable's own code takes seconds to minutes" in told and "rliable: 200 resamples in" in told
    refused = cli("plot", "--engine", "rliable", "--json")
    assert refused.exit_code == 2 and "--interval percentile" in refused.stderr
    tasks = answer(cli, *words, "--task-bootstrap")
    assert any("resample environments too" in note for note in tasks["notes"])
    assert "environments fixed" not in tasks["interval"]["note"]
