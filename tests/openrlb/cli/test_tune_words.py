"""What ``openrlb tune`` says before it begins: its sentences, without a study."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from studied import BARE

from openrlb.api.tune_baselines import _untrained
from openrlb.cli.tune import budget_lines, wrapped


def test_a_budget_in_words() -> None:
    one_seed = replace(BARE, tuning_seeds=1, confirm=0, envs=("a", "b"))
    assert budget_lines(one_seed, 10) == [
        "budget 10 runs = 5 configurations on 1 seed each in 2 environments",
        "  papers that do not count seeds would call this 5",
        "  the test phase adds 2 runs",
    ]
    assert "= 10 configurations on 3 seeds each" in budget_lines(replace(BARE, confirm=0, eta=1), 30)[0]


def test_a_baseline_that_ends_before_its_first_update_is_named() -> None:
    rollout = {"Line-v0": {"n_steps": 2048, "n_envs": 8}, "Line-v1": {"n_steps": 16, "n_envs": 8}}
    assert _untrained("published", rollout, 16384) == (
        "baseline published learns nothing on Line-v0: its first update comes after 16,384 steps, a run has 16,384"
    )
    assert _untrained("published", rollout, 16385) == ""
    replay = {"Line-v0": {"learning_starts": 100, "n_steps": 1}}
    assert "on Line-v0: its first update comes after 100 steps" in _untrained("default", replay, 100)
    assert _untrained("default", replay, 101) == _untrained("default", {"Line-v0": {"gamma": 0.9}}, 1) == ""


def test_lines_are_broken_between_words_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    lines = ["  method tpe: " + "word " * 30, "short"]
    assert wrapped(lines, io.StringIO()) == lines
    monkeypatch.setenv("COLUMNS", "60")
    found = wrapped(lines, Terminal())
    assert max(map(len, found)) <= 60 and " ".join(" ".join(found).split()) == " ".join(" ".join(lines).split())
    assert found[0].startswith("  method") and found[1].startswith("      word") and found[-1] == "short"
