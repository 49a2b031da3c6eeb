"""Isolation for every test, and the fixtures that the four packages' tests share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from builders import batch
from hypothesis import HealthCheck, settings
from typer.testing import CliRunner, Result

if TYPE_CHECKING:
    from openrlb.store import Store
    from openrlb_runners.environment import Environment

settings.register_profile("openrlb", deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines are shared
settings.load_profile("openrlb")

SHARED = "OPENRLB_SHARED_DATA"


@pytest.fixture(autouse=True)
def isolation(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Moves everything openrlb keeps into a fresh folder, by environment variables alone."""
    home = tmp_path_factory.mktemp("home")
    for name in [name for name in os.environ if name.startswith(("OPENRLB_", "WANDB_"))]:
        if name != SHARED:
            monkeypatch.delenv(name)
    monkeypatch.setenv("OPENRLB_HOME", str(home))
    monkeypatch.setenv("NETRC", str(home / "netrc"))  # a developer's own wandb key would have every preset asked
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    work = tmp_path_factory.mktemp("work")
    monkeypatch.chdir(work)
    return home


@pytest.fixture
def shared_data() -> Path:
    """The folder of other people's results; the test is skipped where it is missing."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get(SHARED, default))
    if not folder.is_dir():
        pytest.skip(f"real results of other people are not here ({SHARED} names their folder)")
    return folder


@pytest.fixture
def store() -> Store:
    """The store that the verbs use, empty."""
    from openrlb.store import Store

    return Store()


@pytest.fixture
def runs(store: Store) -> Store:
    """The same with three seeds of one algorithm: run0, run1, run2."""
    store.write([batch(f"run{seed}", seed=seed, offset=seed) for seed in range(3)])
    store.fold()
    return store


@pytest.fixture
def cli() -> Callable[..., Result]:
    """Runs the command line in this process: ``cli("list", "--json")``."""

    def invoke(*words: object, input: str | None = None) -> Result:
        from openrlb.cli.app import app

        return CliRunner().invoke(app, [str(word) for word in words], input=input)

    return invoke


@pytest.fixture(scope="session")
def built_sb3(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The sb3 runner's environment, really built once; the test is skipped where torch's CPU wheel cannot be had."""
    from openrlb.errors import BuildError
    from openrlb_runners.environment import build
    from openrlb_runners.spec import find_runner

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENRLB_HOME", str(tmp_path_factory.mktemp("environments")))
        try:
            return build(find_runner("sb3"), "cpu")
        except BuildError as error:
            if "torch" not in error.why:
                raise
            pytest.skip(f"no torch for the sb3 runner: {error.why} (PIP_FIND_LINKS names a folder that has it)")


@pytest.fixture
def sb3_environment(built_sb3: Environment, isolation: Path) -> Environment:
    """The same, where this test's openrlb finds it."""
    cache = isolation / "cache"
    cache.mkdir(exist_ok=True)
    (cache / "environments").symlink_to(built_sb3.folder.parent, target_is_directory=True)
    return built_sb3
