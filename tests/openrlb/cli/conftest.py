"""What the tests of the commands share: a runner of the user's own that misbehaves on demand, with its environment built."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_runner import write_runner


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
    write_runner(isolation / "runners" / "fake")
    (isolation / "cache").mkdir()
    (isolation / "cache" / "environments").symlink_to(built_fake, target_is_directory=True)
    return isolation
