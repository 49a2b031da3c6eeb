"""Isolation for every test, and the fixtures that the four packages' tests share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer.testing
from builders import batch
from built import built_environment
from hypothesis import HealthCheck, settings
from package_index import PackageIndex
from typer.testing import CliRunner, Result

if TYPE_CHECKING:
    from openrlb.store import Store
    from openrlb_runners.environment import Environment
    from openrlb_runners.spec import RunnerSpec

COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines are shared
settings.register_profile("openrlb", COMMON, derandomize=True)  # the same commit gives the same answer
settings.register_profile("search", COMMON, derandomize=False)  # --hypothesis-profile=search looks for new examples
settings.load_profile("openrlb")

typer.testing._get_command = cache(typer.testing._get_command)  # built once in a process: for each call it takes 0.05 s

SHARED = "OPENRLB_SHARED_DATA"

collect_ignore = [
    "runners/single_file_updates.py",  # a script for the Python of a runner's environment
    "fuzzing/guided.py",  # to import it is to let atheris change every import of openrlb
]


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
    return built_environment("sb3", tmp_path_factory.mktemp("environments"))


@pytest.fixture
def sb3_environment(built_sb3: Environment, isolation: Path) -> Environment:
    """The same, where this test's openrlb finds it."""
    cache = isolation / "cache"
    cache.mkdir(exist_ok=True)
    (cache / "environments").symlink_to(built_sb3.folder.parent, target_is_directory=True)
    return built_sb3


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte, where this machine lets us make one."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("a small file system needs the right to mount one")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageIndex]:
    """A package index of our own, the only one that uv sees; empty."""
    folder = tmp_path / "index"
    folder.mkdir()
    served = PackageIndex(folder)
    for name in ("UV_INDEX_URL", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_FIND_LINKS", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_DEFAULT_INDEX", served.url)
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    yield served
    served.stop()


@pytest.fixture
def make_runner(isolation: Path) -> Callable[..., RunnerSpec]:
    """Writes a user's runner: ``make_runner("tiny", "six==1.0")`` asks for one package."""

    def make(name: str, *wanted: str, run: str = "", lock: bool = True, **settings: object) -> RunnerSpec:
        from openrlb_runners.locking import make_lock, write_lock
        from openrlb_runners.spec import read_runner

        folder = isolation / "runners" / name
        (folder / "lock").mkdir(parents=True, exist_ok=True)
        (folder / "run.py").write_text(run)
        (folder / "lock" / "in.txt").write_text("".join(f"{line}\n" for line in wanted))
        python = ".".join(map(str, sys.version_info[:2]))
        table = {"name": name, "python": python, "entry": "run.py", "algorithms": ["ppo"], "preload": [], "fork": True}
        table |= {"torch": [], "step_unit": "agent_step", **settings}
        lines = [f"{key} = {json.dumps(value)}" for key, value in table.items() if not isinstance(value, dict)]
        lines += ["[metrics]", 'episode = "episodic_return"']
        for key, value in table.items():
            if isinstance(value, dict):
                lines += [f"[{key}]", *(f"{inner} = {json.dumps(one)}" for inner, one in value.items())]
        (folder / "runner.toml").write_text("\n".join(lines))
        spec = read_runner(folder)
        if lock:
            write_lock(spec, make_lock(spec))
        return spec

    return make
