"""Presets: the packaged ones are complete, and a user's are checked word by word."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrlb.errors import UsageError
from openrlb.sources.metrics import KNOWN
from openrlb.sources.presets import Preset, load_presets
from openrlb.types import EPISODIC_RETURN


def test_every_packaged_preset_names_a_project_and_how_it_logs() -> None:
    presets = load_presets()
    assert {"cleanrl", "sb3", "jaxrl", "baselines", "sbx", "tianshou", "morl-baselines", "sfujim-td3"} <= set(presets)
    for name, preset in presets.items():
        assert preset.name == name and preset.entity and preset.project and preset.env and preset.algo and preset.metrics
        assert preset.step == "global_step" and preset.step_unit in ("agent_step", "frame", "unknown")
    assert len({(preset.entity, preset.project) for preset in presets.values()}) == len(presets)


def test_kinds_agree_with_the_names_that_openrlb_knows() -> None:
    for preset in load_presets().values():
        for metric in preset.metrics:
            if metric.name in KNOWN:
                assert (metric.kind, metric.canonical) == KNOWN[metric.name]
            assert metric.kind in ("episode", "rolling_mean", "eval")
            assert metric.canonical == EPISODIC_RETURN or preset.name == "morl-baselines"


def test_frames_by_environment() -> None:
    presets = load_presets({"mine": {"frames_per_step": 4}, "other": {"frames_per_step": {"Pong*": 2, "*": 1}}})
    assert presets["cleanrl"].frames("BreakoutNoFrameskip-v4") == 4 and presets["cleanrl"].frames("Breakout-v5") is None
    assert presets["cleanrl-envpool"].frames("Breakout-v5") == 4 and presets["mine"].frames("x") == 4
    assert (presets["other"].frames("Pong-v5"), presets["other"].frames("Hopper-v4")) == (2, 1)


def test_a_user_changes_single_keys_and_adds_presets() -> None:
    text = """
[wandb.sb3]
project = "my-sb3"
[wandb.lab]
entity = "lab"
project = "runs"
env = "env.name"
algo = "'PPG'"
step = "frames"
step_unit = "frame"
metrics = { "score" = "eval", "aux" = { kind = "other", canonical = "aux" } }
"""
    presets = load_presets(tomllib.loads(text)["wandb"])
    assert presets["sb3"].project == "my-sb3" and presets["sb3"].algo == ("algo",) and presets["sb3"].metrics
    lab = presets["lab"]
    assert lab == Preset(
        "lab", "lab", "runs", ("env.name",), ("'PPG'",), (), "", "frames", "frame", (), lab.metrics
    )  # fmt: skip
    assert [(item.name, item.kind, item.canonical) for item in lab.metrics] == [
        ("score", "eval", EPISODIC_RETURN),
        ("aux", "other", "aux"),
    ]


@pytest.mark.parametrize(
    ("table", "word"),
    [
        ("text", "table"),
        ({"entty": "x"}, "did you mean entity"),
        ({"zzz": 1}, "zzz"),
        ({"entity": 3}, "entity"),
        ({"env": [1]}, "env"),
        ({"env": [""]}, "env"),
        ({"step_unit": "episodes"}, "step_unit"),
        ({"frames_per_step": 0}, "frames_per_step"),
        ({"frames_per_step": True}, "frames_per_step"),
        ({"frames_per_step": {"*": "4"}}, "frames_per_step"),
        ({"metrics": ["a"]}, "metrics"),
        ({"metrics": {"a": "evaluation"}}, "metrics.a"),
        ({"metrics": {"a": {"kind": "eval", "unit": "x"}}}, "metrics.a"),
    ],
)
def test_a_wrong_preset_is_named_with_its_key(table: Any, word: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_presets({"mine": table})
    said = f"{caught.value.what} {caught.value.why} {caught.value.fix}"
    assert "wandb.mine" in said and word in said


leaf = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
plain = (
    leaf | st.lists(leaf, max_size=3) | st.dictionaries(st.text(max_size=8), leaf | st.dictionaries(st.text(max_size=8), leaf))
)
keys = st.sampled_from(["entity", "env", "algo", "impl", "step", "step_unit", "frames_per_step", "metrics", "x"])


@given(st.dictionaries(keys, plain, max_size=4))
def test_any_table_is_a_preset_or_a_usage_error(table: dict[str, Any]) -> None:
    try:
        assert load_presets({"mine": table})["mine"].name == "mine"
    except UsageError as error:
        assert error.fix
