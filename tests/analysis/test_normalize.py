"""Normalisation tables: their numbers, which environments they hold, and what is refused."""

from __future__ import annotations

import json
import re
import tomllib
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrlb.errors import SelectionError, UsageError
from openrlb.store.normalizations import FrozenNormalization, Method, Scale
from openrlb_analysis.normalize import normalization, read_table, tables


def test_atari_table_holds_57_games_and_equals_the_published_26(shared_data: Path) -> None:
    table = tables()["atari57-human"]
    assert len(table.scores) == 57
    published = json.loads((shared_data / "atari100k_rliable" / "atari_reference_scores.json").read_text())
    assert len(published["random"]) == 26
    for game, random in published["random"].items():
        assert table.references(game) == (random, published["human"][game])


def test_every_table_goes_up_and_says_where_it_comes_from() -> None:
    for name, table in tables().items():
        assert table.name == name and table.version >= 1 and table.source and table.about
        assert all(low < high for low, high in table.scores.values())


@pytest.mark.parametrize(
    ("env", "name"),
    [
        ("Pong", "atari57-human"), ("ALE/Pong-v5", "atari57-human"), ("PongNoFrameskip-v4", "atari57-human"),
        ("Pong-v5", "atari57-human"), ("PongDeterministic-v4", "atari57-human"), ("ms_pacman", "atari57-human"),
        ("ALE/UpNDown-v5", "atari57-human"), ("walker-walk", "dmc"), ("dm_control/walker-walk-v0", "dmc"),
        ("dmc_ball_in_cup_catch", "dmc"), ("humanoid_CMU-run", "dmc"), ("hopper-medium-v2", "d4rl"),
        ("antmaze-umaze-diverse-v0", "d4rl"), ("maze2d-large-v1", "d4rl"), ("Hopper-v4", "none"), ("hopper-v2", "none"),
        ("CartPole-v1", "none"), ("MinAtar/Breakout-v1", "none"), ("Breakout-MinAtar", "none"), ("pong_v3", "none"),
        ("walker2d-medium-v9", "none"), ("lqr-lqr_2_1", "none"), ("Ant-v4", "none"),
        *((f"Pong-v{number}", "atari57-human") for number in range(6)), ("PongDeterministic", "atari57-human"),
        ("pong", "atari57-human"), ("PONG", "atari57-human"), ("atari_pong", "atari57-human"), ("Pong-ram-v4", "atari57-human"),
        ("ale_py:ALE/Pong-v5", "atari57-human"), ("ALE/MontezumaRevenge-v5", "atari57-human"), ("up_n_down", "atari57-human"),
        ("walker_walk", "dmc"), ("dmc_walker_walk_1-v1", "dmc"), ("gym_dmc:Walker-walk-v1", "dmc"), ("WalkerWalk-v1", "dmc"),
        ("cup-catch", "dmc"), ("BallInCupCatch-v1", "dmc"), ("stacker-stack_2", "dmc"), ("dmc_stacker_stack_2_1-v1", "dmc"),
        ("dmcontrol-cheetah-run", "dmc"), ("HumanoidStandup-v4", "none"), ("Pendulum-v1", "none"), ("Swimmer-v4", "none"),
        ("Reacher-v4", "none"), ("walker-walk-backwards", "none"), ("hopper-medium", "d4rl"), ("pen-human-v1", "d4rl"),
        ("maze2d-open-dense-v0", "d4rl"), ("bullet-ant-random-v0", "d4rl"), ("hopper-full-replay-v0", "none"),
    ],
)  # fmt: skip
def test_the_matching_table_is_the_default(env: str, name: str) -> None:
    assert normalization(None, [env]).name == name


def test_applies_to_numbers_and_arrays() -> None:
    atari = normalization("atari57-human", ["ALE/Pong-v5"])
    assert atari.text == "atari57-human v1"
    assert atari.apply("ALE/Pong-v5", -20.7) == 0.0
    assert atari.apply("ALE/Pong-v5", np.array([-20.7, 14.6])).tolist() == pytest.approx([0.0, 1.0])
    assert atari.failure_score("ALE/Pong-v5") == 0.0
    assert normalization("dmc", ["walker-walk"]).apply("walker-walk", 930.0) == pytest.approx(0.93)
    d4rl = normalization("d4rl", ["hopper-medium-v2"])
    assert d4rl.apply("hopper-medium-v2", 3234.3) == pytest.approx(1.0)


def test_none_changes_nothing_and_pools_nothing() -> None:
    nothing = normalization("none", ["Pong"])
    assert nothing.apply("Pong", 3.0) == 3.0
    assert not nothing.pools and nothing.text == "none" and nothing.failure_score("Pong") is None


def test_a_table_that_holds_only_some_environments_is_not_used_but_named() -> None:
    partly = normalization(None, ["Pong", "Hopper-v4"])
    assert partly.name == "none"
    assert "atari57-human" in partly.note and "Hopper-v4" in partly.note
    with pytest.raises(SelectionError, match="Hopper-v4"):
        normalization("atari57-human", ["Pong", "Hopper-v4"])


def test_mujoco_has_no_table() -> None:
    assert normalization(None, ["Hopper-v4", "Ant-v4"]).name == "none"


def test_unknown_name() -> None:
    with pytest.raises(UsageError, match="no normalisation 'minmax'") as error:
        normalization("minmax", ["Pong"])
    assert "atari57-human" in error.value.why and "minmax:GROUP" in error.value.why


def test_every_game_has_its_gym_and_envpool_ids() -> None:
    table = tables()["atari57-human"]
    for game in tomllib.loads((files("openrlb_analysis") / "normalizations/atari57-human.toml").read_text())["scores"]:
        forms = [f"ALE/{game}-v5", f"{game}-v5", f"{game}NoFrameskip-v4", f"{game}Deterministic-v0", game.lower()]
        forms.append(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", game).lower())
        assert len({table.references(form) for form in forms}) == 1 and table.references(game) is not None


def test_d4rl_holds_what_its_authors_published() -> None:
    table = tables()["d4rl"]
    gym = [f"{env}-{data}" for env in ("halfcheetah", "hopper", "walker2d", "ant") for data in ("random", "medium-replay")]
    for env in gym:
        assert len({table.references(f"{env}-v{number}") for number in (0, 1, 2)}) == 1
        assert table.references(f"{env}-v0") is not None
    assert table.references("door-cloned-v1") == (-56.512833, 2880.5693087298737)
    assert table.references("maze2d-umaze-v1") == (23.85, 161.86)
    assert table.references("maze2d-umaze-dense-v1") == (68.537689, 193.66285642381482)
    assert table.references("kitchen-mixed-v0") == (0.0, 4.0)
    assert table.references("flow-merge-random-v0") == (118.67993, 330.03179)
    assert table.references("bullet-hopper-medium-v0") == (20.058972, 1441.8059623430963)
    versioned = [key for key in table.scores if re.search(r"v\d+$", key)]
    mujoco, adroit, mazes, others, bullet = 20 + 24 + 24, 12 + 12, 8 + 12, 3 + 2 + 4 + 2, 24
    assert len(versioned) == mujoco + adroit + mazes + others + bullet  # as many as d4rl/infos.py lists


# Frozen scores of stored runs ----------------------------------------------------------------------------------------


def frozen(method: Method, **scales: Scale) -> FrozenNormalization:
    return FrozenNormalization(
        "mine", method, "ppo", "the random agent's", "episodic_return", "eval", "final:10%", "2026-01-02T00:00:00+00:00", scales
    )


def test_frozen_ends_scale_linearly_and_say_their_version_and_runs() -> None:
    chosen = normalization(frozen("ref", Hopper=Scale(10.0, 110.0, high_runs=("folder a",), step=1000, version=3)), ["Hopper"])
    assert chosen.apply("Hopper", np.array([10.0, 60.0, np.nan]))[:2].tolist() == [0.0, 0.5]
    assert chosen.text == "mine v3" and chosen.pools and chosen.failure_score("Hopper") == 0.0
    assert "folder a" in chosen.note and "frozen 2026-01-02" in chosen.note
    assert normalization(frozen("minmax", Hopper=Scale(1.0, 2.0)), ["Hopper"]).failure_score("Hopper") is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.lists(st.floats(-2e6, 2e6), min_size=1))
def test_a_cdf_is_the_share_of_reference_runs_that_score_at_most_as_much(reference: list[float], values: list[float]) -> None:
    scale = Scale(min(reference), max(reference), tuple(sorted(reference)))
    chosen = normalization(frozen("cdf", Hopper=scale), ["Hopper"])
    shares = chosen.apply("Hopper", np.array(values))
    expected = [sum(other <= value for other in reference) / len(reference) for value in values]
    assert shares.tolist() == pytest.approx(expected)
    assert chosen.apply("Hopper", values[0]) == pytest.approx(expected[0])
    assert np.isnan(chosen.apply("Hopper", float("nan")))


def test_an_environment_that_is_not_frozen_is_named_with_the_command_that_adds_it() -> None:
    with pytest.raises(SelectionError, match="mine cannot normalise Ant-v4") as error:
        normalization(frozen("ref", Hopper=Scale(0.0, 1.0)), ["Hopper", "Ant-v4"])
    assert "--normalize ref:ppo --freeze mine" in error.value.fix


def test_a_recipe_without_a_store_says_where_it_is_frozen() -> None:
    with pytest.raises(UsageError, match="ref:ppo is not frozen"):
        normalization("ref:ppo", ["Hopper"])


def test_scores_normalised_elsewhere_stay_as_they_are() -> None:
    given = normalization(None, ["Pong", "Alien"], ["atari57-human", "atari57-human"])
    assert given.text == "atari57-human (as given)" and given.pools
    assert given.apply("Pong", 0.4, "atari57-human") == 0.4
    assert given.failure_score("Pong") == 0.0
    own = normalization(None, ["My-v0"], ["lab-2024"])
    assert own.text == "lab-2024 (as given)" and own.pools and own.failure_score("My-v0") is None


def test_raw_returns_meet_normalised_scores_only_through_the_same_table() -> None:
    mixed = normalization(None, ["Pong"], ["atari57-human", None])
    assert mixed.text == "atari57-human v1"
    assert mixed.apply("Pong", 14.6) == pytest.approx(1.0)
    assert mixed.apply("Pong", 0.4, "atari57-human") == 0.4
    for name, already in (
        ("none", ["atari57-human", None]),
        (None, ["lab-2024", None]),
        ("dmc", ["atari57-human"]),
        (None, ["dmc", "lab-2024"]),
    ):
        with pytest.raises(SelectionError):
            normalization(name, ["Pong"], already)
    with pytest.raises(SelectionError, match="Hopper-v4"):
        normalization(None, ["Pong", "Hopper-v4"], ["atari57-human", None])


def test_bounds_of_classic_control_are_used_only_by_name() -> None:
    assert normalization(None, ["CartPole-v1", "Acrobot-v1"]).name == "none"
    chosen = normalization("classic-control", ["CartPole-v1", "Acrobot-v1", "Pendulum-v1"])
    assert chosen.apply("CartPole-v1", 250.0) == 0.5
    assert chosen.apply("Acrobot-v1", -500.0) == 0.0
    assert chosen.apply("Pendulum-v1", -200 * (np.pi**2 + 6.4 + 0.004)) == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(SelectionError, match="CartPole-v2"):
        normalization("classic-control", ["CartPole-v2"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[scores]", "no table"),
        ("scores = 5", "no table"),
        ("[scores]\nA = [1.0, 1.0]", "A has no lower"),
        ("[scores]\nA = [1.0]", "A has no lower"),
        ("[scores]\nA = [1.0, inf]", "A has no lower"),
        ('[scores]\nA = ["a", "b"]', "A has no lower"),
        ("[scores", "TOML|Expected|line"),
    ],
)
def test_a_table_of_ones_own_is_checked(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(UsageError) as refusal:
        read_table(tmp_path / "mine.toml")
    assert re.search(words, refusal.value.why) and "[scores]" in refusal.value.fix


def test_a_table_of_ones_own_is_read(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('[scores]\n"My_Env-v1" = [0, 10]\n')
    table = read_table(tmp_path / "mine.toml")
    assert (table.name, table.references("My_Env-v1"), table.references("My_Env-v2")) == ("mine", (0.0, 10.0), None)
