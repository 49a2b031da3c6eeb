"""Normalisation tables: their numbers, which environments they hold, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from openrlb.errors import SelectionError, UsageError
from openrlb_analysis.normalize import normalization, tables


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
    assert "atari57-human" in error.value.why


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
