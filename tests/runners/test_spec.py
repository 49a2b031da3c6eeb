"""runner.toml: the reference runner's is read, a user's is checked."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from openrlb.errors import UsageError
from openrlb_runners.spec import find_runner, read_runner, reference_runners, source_digest, source_files


def test_the_reference_runners_are_found_and_read() -> None:
    runners = {runner.name: runner for runner in reference_runners()}
    assert {"ppo", "sac", "td3", "dqn"} <= set(runners["sb3"].algorithms)
    assert runners["sb3"].folder.name == "sb3"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("fork = true", ""), "fork is missing"),
        (("fork = true", 'fork = "yes"'), "fork = \"yes\": fork is 'yes', but must be true or false"),
        (("fork = true", "fork = true\ngpu = 1"), "gpu = 1: gpu is not known"),
        (("fork = true", 'fork = true\nfiles = ["data/x.csv"]'), "files names 'data/x.csv'"),
        (("fork = true", 'fork = true\nfiles = ["config.json"]'), "files names config.json, which every run has"),
        (('entry = "run.py"', 'entry = "../run.py"'), "outside the folder"),
        (('step_unit = "agent_step"', 'step_unit = "episodes"'), "step_unit is 'episodes'"),
        (('torch = ["cpu", "cuda"]', 'torch = ["rocm"]'), "torch is ['rocm']"),
        (('name = "sb3"', "name ="), "runner.toml"),
        (('name = "sb3"', 'name = "../sb3"'), "name is '../sb3'"),
        (('python = "3.11"', 'python = "pypy"'), "python is 'pypy'"),
        (("steps = 2048", "steps = true"), "steps = true: check was not understood"),
        (("steps = 2048", "steps = 2048\nhyperparameters = 3"), "hyperparameters = 3: check was not understood"),
        (('algo = "ppo"', 'algo = "ppoo"'), 'algo = "ppoo": check names the algorithm'),
        (("disk_mb = 1240", ""), "cost.cpu was not understood"),
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


def test_a_runner_is_found_by_name_and_ours_keep_theirs(isolation: Path) -> None:
    shutil.copytree(find_runner("sb3").folder, isolation / "runners" / "sb3")
    own = isolation / "runners" / "mine"
    shutil.copytree(find_runner("sb3").folder, own)
    (own / "runner.toml").write_text((own / "runner.toml").read_text().replace('name = "sb3"', 'name = "mine"'))
    assert find_runner("mine").folder == own
    assert find_runner("sb3").folder == reference_runners()[0].folder
    with pytest.raises(UsageError) as caught:
        find_runner("min")
    assert caught.value.fix == "did you mean mine?"


def test_the_source_is_every_python_file_and_nothing_else(tmp_path: Path) -> None:
    shutil.copytree(find_runner("sb3").folder, tmp_path / "sb3")
    spec = read_runner(tmp_path / "sb3")
    files = source_files(spec)
    assert "run.py" in files
    assert all(name.endswith(".py") for name in files)
    before = source_digest(files)
    (spec.folder / "hyperparameters.toml").write_text("")
    assert source_digest(source_files(spec)) == before
    (spec.folder / "more.py").write_text("")
    assert source_digest(source_files(spec)) != before
    (spec.folder / "run.py").unlink()
    with pytest.raises(UsageError, match=r"entry 'run.py' is not there"):
        source_files(spec)
