"""Two users of one machine and one store: with a group that may write, one that may read, and none."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stressed import Tally, assert_named, check_consistent, must, openrlb, write_logs

from openrlb.store import Store

pytestmark = [pytest.mark.stress, pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root may be others")]
ANN, BOB, LAB = 64_001, 64_002, 64_000
RUNS, POINTS = 20, 50


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="openrlb-users-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def as_user(user: int, folder: Path, umask: int) -> dict[str, Any]:
    """How a process is started as somebody else, with a Python that may be read by all."""
    home = folder / str(user)
    if not home.exists():
        home.mkdir()
        os.chown(home, user, LAB)
    env = {"HOME": str(home), "OPENRLB_HOME": str(folder / "home"), "PYTHONDONTWRITEBYTECODE": "1"}
    who: dict[str, Any] = {"user": user, "group": LAB, "extra_groups": [], "umask": umask, "cwd": home}
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        path = env | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        command = [python, "-c", "import openrlb.store, pyarrow, typer"]
        try:
            if subprocess.run(command, capture_output=True, env={**os.environ, **path}, check=False, **who).returncode == 0:
                return {"program": (python, "-m", "openrlb"), "env": path, **who}
        except OSError:
            continue
    pytest.skip("no Python here that another user may run")


def logs_of(folder: Path, user: int, generation: int) -> Path:
    write_logs(folder / f"logs{user}", generation, RUNS, POINTS)
    return folder / f"logs{user}"


def test_two_users_write_to_one_store(shared: Path, chance: random.Random, tally: Tally) -> None:
    home = shared / "home"
    home.mkdir()
    os.chown(home, ANN, LAB)
    home.chmod(0o2775)
    users = {user: as_user(user, shared, 0o002) for user in (ANN, BOB)}
    for trial in range(10):
        user = chance.choice((ANN, BOB)) if trial > 1 else (ANN, BOB)[trial]
        must("fetch", logs_of(shared, user, trial), **users[user])
        assert "Env0" in must("list", "--format", "tsv", **users[BOB if user == ANN else ANN])
        tally.add("two users, both write")
    store = Store(home / "store")
    assert check_consistent(store, POINTS) == 2 * RUNS
    must("doctor", "--rebuild", **users[BOB])
    assert check_consistent(store, POINTS) == 2 * RUNS


@pytest.mark.parametrize(("umask", "reads"), [(0o022, True), (0o077, False)])
def test_another_users_store_is_read_or_refused_by_name(shared: Path, tally: Tally, umask: int, reads: bool) -> None:
    home = shared / "home"
    home.mkdir()
    os.chown(home, ANN, LAB)
    ann, bob = as_user(ANN, shared, umask), as_user(BOB, shared, umask)
    must("fetch", logs_of(shared, ANN, 0), **ann)
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    for words in (("list",), ("query", "SELECT count(*) FROM points"), ("plot", "--metric", "iqm", "--resamples", "100")):
        done = openrlb(*words, **bob)
        if reads:
            assert done.returncode == 0, f"{words}: {done.stderr}"
        else:
            assert_named(done)
        tally.add("another user's store: reading", hit=not reads, remark="hit: unreadable, named")
    for words in (("fetch", logs_of(shared, BOB, 0)), ("doctor", "--rebuild")):
        assert_named(openrlb(*words, **bob))
        tally.add("another user's store: writing", remark="named, exit 1")
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before
