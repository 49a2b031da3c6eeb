"""What the tests of the commands share: a runner of the user's own that misbehaves on demand, and a study that it has trained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from fake_runner import write_runner
from reported import SECRETS, fill
from studied import Studied
from typer.testing import CliRunner


@pytest.fixture(scope="session")
def built_fake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of environments with that of the fake runner, really built: its lock is empty."""
    from openrlb_runners.environment import build

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENRLB_HOME", str(tmp_path_factory.mktemp("environments")))
        return build(write_runner(tmp_path_factory.mktemp("runner") / "fake"), "any").folder.parent


@pytest.fixture
def fake(isolation: Path, built_fake: Path) -> Path:
    """The fake runner as a user's own, its environment built."""
    return with_fake(isolation, built_fake)


def with_fake(home: Path, built_fake: Path) -> Path:
    """A folder of openrlb's own with the fake runner in it."""
    write_runner(home / "runners" / "fake")
    (home / "cache").mkdir()
    (home / "cache" / "environments").symlink_to(built_fake, target_is_directory=True)
    return home


SPACE = """
name = "small"
[walk]
rate = { uniform = [0.1, 2.0] }
act = { choices = ["none", "talk"] }
at = { integers = [0, 40], when = { act = "talk" } }
net.arch = { choices = [[8], [16]], default = [8] }
"""
BASELINE = '[walk."Line-v0"]\nrate = 0.75\nsteps = 100\n'


@pytest.fixture(scope="session")
def whole_study(tmp_path_factory: pytest.TempPathFactory, built_fake: Path) -> Studied:
    """A study that is trained once for all tests that look at one."""
    from openrlb.cli.app import app

    files = {"space.toml": SPACE, "mine.toml": BASELINE}
    home, work = with_fake(tmp_path_factory.mktemp("studied"), built_fake), tmp_path_factory.mktemp("work")
    for name, text in files.items():
        (work / name).write_text(text)
    words = "tune walk --env Line-v0 --steps 50 --space space.toml --baseline default --baseline mine.toml --set net.act=tanh"
    words += " --budget 8 --tuning-seeds 2 --confirm 1 --test-seeds 3 --workers 1"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENRLB_HOME", str(home))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.chdir(work)
        said = CliRunner().invoke(app, [*words.split(), "--json"])
    assert said.exit_code == 0, said.stderr
    return Studied(home, tuple(words.split()), files, said, json.loads(said.stdout)["study"])


@pytest.fixture
def studied(whole_study: Studied, isolation: Path) -> Studied:
    """The same in this test's own folder, with its files in the current one."""
    shutil.copytree(whole_study.home, isolation, symlinks=True, dirs_exist_ok=True)
    for name, text in whole_study.files.items():
        Path(name).write_text(text)
    return whole_study


@pytest.fixture(scope="session")
def hostile_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of runs that try everything which a page must withstand, made once; its store and its JSON lie beside it."""
    from openrlb.cli.app import app
    from openrlb.store import Store

    home, work = tmp_path_factory.mktemp("reported"), tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENRLB_HOME", str(home))
        patch.setenv("OMP_NUM_THREADS", "1")
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        patch.chdir(work)
        fill(Store())
        key = SECRETS["WANDB_API_KEY"]
        words = [
            "report",
            "--resamples",
            "200",
            "--title",
            f"for carol@example.org: {key}",
            "--where",
            f"name != '{key}'",
            "--json",
        ]
        said = CliRunner().invoke(app, words)
    assert said.exit_code == 0, said.stderr
    (work / "report.json").write_text(said.stdout)
    (work / "store").symlink_to(home / "store", target_is_directory=True)
    return work / "report.html"
