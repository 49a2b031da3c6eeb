"""runner.toml: the reference runner's is read, a user's is checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from openrlb.errors import UsageError
from openrlb_runners.spec import read_runner, reference_runners


def test_the_reference_runners_are_found_and_read() -> None:
    runners = {runner.name: runner for runner in reference_runners()}
    assert {"ppo", "sac", "td3", "dqn"} <= set(runners["sb3"].algorithms)
    assert runners["sb3"].folder.name == "sb3"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("fork = true", ""), "fork is missing"),
        (("fork = true", 'fork = "yes"'), "fork is not a bool"),
        (("fork = true", "fork = true\ngpu = 1"), "gpu is not known"),
        (('entry = "run.py"', 'entry = "../run.py"'), "outside the folder"),
        (('step_unit = "agent_step"', 'step_unit = "episodes"'), "step_unit is 'episodes'"),
        (('torch = ["cpu", "cuda"]', 'torch = ["rocm"]'), "torch is ['rocm']"),
        (('name = "sb3"', "name ="), "runner.toml"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: tuple[str, str], why: str) -> None:
    text = (reference_runners()[0].folder / "runner.toml").read_text()
    assert change[0] in text
    (tmp_path / "runner.toml").write_text(text.replace(*change))
    with pytest.raises(UsageError) as caught:
        read_runner(tmp_path)
    assert why in caught.value.why


def test_a_folder_without_one_is_no_runner(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no runner"):
        read_runner(tmp_path)
