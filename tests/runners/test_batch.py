"""What an algorithm trains with in an environment: runner, hyperparameters and steps, each with its source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from fake_runner import write_runner
from hypothesis import given
from hypothesis import strategies as st

from openrlb.errors import UsageError
from openrlb_runners import capacity
from openrlb_runners.batch import DEFAULT_STEPS, Choice, choose, merged, nested, read_hyperparameters, settings_for
from openrlb_runners.capacity import default_workers, usable_cores
from openrlb_runners.spec import RunnerSpec, find_runner

HYPERPARAMETERS = """
[source]
name = "A paper"
[stands_for]
"Line-v1" = ["Line-v0"]
[walk."Line-v0"]
steps = 5000
rate = 0.125
net = {arch = [4]}
"""


@pytest.fixture
def runners(isolation: Path) -> Sequence[RunnerSpec]:
    """Two runners with the same algorithms, where openrlb looks for a user's own."""
    return [write_runner(isolation / "runners" / name, name) for name in ("alpha", "beta")]


def test_the_first_runner_with_the_algorithm_is_taken_and_the_others_named(runners: Sequence[RunnerSpec]) -> None:
    choice = choose("WALK", None, runners)
    assert (choice.algo, choice.spec.name, choice.others) == ("walk", "alpha", ("beta",))
    assert choose("walk", "beta", runners).spec.name == "beta"


@pytest.mark.parametrize(
    ("algo", "impl", "words"),
    [
        ("wlak", None, "did you mean walk?"),
        ("zzzz", None, "use one of: jump, walk"),
        ("walk", "sb3", "use --impl alpha"),
        ("walk", "alpa", "did you mean alpha?"),
    ],
)
def test_what_no_runner_can_train_is_refused_with_what_can(
    runners: Sequence[RunnerSpec], algo: str, impl: str | None, words: str
) -> None:
    with pytest.raises(UsageError) as error:
        choose(algo, impl, runners)
    assert words in error.value.fix and error.value.exit_code == 2


def test_published_hyperparameters_come_first_and_single_ones_win(runners: Sequence[RunnerSpec]) -> None:
    (runners[0].folder / "hyperparameters.toml").write_text(HYPERPARAMETERS)
    choice = choose("walk", None, runners)
    found = settings_for(choice, "Line-v1", "published", None, {"net": {"act": "relu"}})
    assert found.hyperparameters == {"rate": 0.125, "net": {"arch": [4], "act": "relu"}}
    assert found.steps == 5000 and "A paper" in found.hyperparameters_source and "--set" in found.hyperparameters_source
    assert "A paper" in found.steps_source
    assert settings_for(choice, "Line-v0", "published", 10, {}).steps_source == "as asked"


def test_without_published_ones_the_library_s_defaults_are_said(runners: Sequence[RunnerSpec]) -> None:
    choice = choose("jump", None, runners)
    found = settings_for(choice, "Line-v0", "published", None, {})
    assert found.hyperparameters == {} and found.steps == DEFAULT_STEPS and found.steps_source == "the default"
    assert "none are published for jump on Line-v0" in found.hyperparameters_source


def test_what_ships_with_sb3_is_found() -> None:
    found = settings_for(Choice("ppo", find_runner("sb3")), "Hopper-v5", "published", None, {})
    assert found.steps == 1_000_000 and found.hyperparameters["n_steps"] == 512
    library = settings_for(Choice("ppo", find_runner("sb3")), "Hopper-v5", "library", None, {})
    assert library.hyperparameters == {} and library.steps == DEFAULT_STEPS


def test_a_file_of_hyperparameters(tmp_path: Path) -> None:
    flat, tables = tmp_path / "flat.toml", tmp_path / "tables.toml"
    flat.write_text("rate = 0.25\nsteps = 70\n")
    tables.write_text('[walk."Line-v0"]\nrate = 0.75\n')
    assert read_hyperparameters(flat, "walk", "Line-v0") == {"rate": 0.25, "steps": 70}
    assert read_hyperparameters(tables, "walk", "Line-v0") == {"rate": 0.75}
    with pytest.raises(UsageError, match="has nothing for walk on Line-v1"):
        read_hyperparameters(tables, "walk", "Line-v1")
    for text in ("steps = 0", "steps = true", "steps = 1.5"):
        flat.write_text(text)
        with pytest.raises(UsageError, match="steps is"):
            read_hyperparameters(flat, "walk", "Line-v0")
    flat.write_text("rate = ")
    with pytest.raises(UsageError, match="cannot be read"):
        read_hyperparameters(flat, "walk", "Line-v0")


KEYS = st.text("abc", min_size=1, max_size=2)
TREES = st.recursive(st.integers(), lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=8)


@given(st.dictionaries(KEYS, TREES), st.dictionaries(KEYS, TREES))
def test_changes_win_and_nothing_else_is_lost(base: dict[str, object], changes: dict[str, object]) -> None:
    result = merged(base, changes)
    assert merged(result, changes) == result and set(result) == {*base, *changes}
    assert merged(base, {}) == base and merged({}, changes) == changes


@pytest.mark.parametrize("keys", [["a", "a"], ["a", "a.b"], ["a.b", "a"], ["a.b", "a.b"]])
def test_a_key_that_is_set_twice_is_refused(keys: list[str]) -> None:
    with pytest.raises(UsageError):
        nested([(key, 1) for key in keys])


def test_workers_fit_cores_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "usable_cores", lambda: 8)
    assert default_workers(1, None)[0] <= 8
    assert default_workers(3, 1)[0] == 2
    count, why = default_workers(1, 10**15)
    assert count == 1 and "memory" in why
    assert usable_cores() >= 1
