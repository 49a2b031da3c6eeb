"""Full and unwritable disks: three lines, exit 1, and the store as it was before."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from builders import batch
from typer.testing import Result

from openrlb.store import Store

Cli = Callable[..., Result]

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
from openrlb.cli.app import main
main()
"""


def table(folder: Path, runs: int) -> Path:
    """Values that do not compress, so that files grow with them."""
    import random

    random.seed(0)
    rows = [f"ppo,Hopper-v4,{run},{step},{random.random()}" for run in range(runs) for step in range(1, 400)]
    path = folder / "results.csv"
    path.write_text("algo,env,seed,step,eval_return\n" + "\n".join(rows) + "\n")
    return path


def openrlb(*words: object, limit: int | None = None, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    program = ["-c", LIMITED, str(limit)] if limit else ["-m", "openrlb"]
    env = {**os.environ, **({"OPENRLB_HOME": str(home)} if home else {})}
    return subprocess.run([sys.executable, *program, *map(str, words)], capture_output=True, text=True, env=env, check=False)


def assert_three_lines(done: subprocess.CompletedProcess[str], what: str = "cannot be written") -> None:
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith(("error:", "  why:", "  fix:"))]
    assert len(lines) == 3, done.stderr
    assert what in lines[0]


@pytest.mark.parametrize("limit", [2_000, 40_000, 300_000])
def test_a_disk_that_fills_up_at_any_point_leaves_the_store_as_it_was(tmp_path: Path, limit: int) -> None:
    """2 kB stops the segment, 40 kB the points file, 300 kB the catalog's copy."""
    store = Store()
    store.write([batch("before")])
    store.fold()
    logs = table(tmp_path, 2 if limit < 300_000 else 3)
    if limit == 40_000:
        logs = table(tmp_path, 20)
    before = store.query("SELECT * FROM runs").rows
    assert_three_lines(openrlb("fetch", logs, limit=limit))
    assert store.query("SELECT * FROM runs").rows == before
    assert not list(store.layout.root.rglob(".tmp-*"))
    assert openrlb("fetch", logs).returncode == 0
    assert len(store.query("SELECT * FROM runs").rows) > 1
    assert store.query("SELECT run FROM points GROUP BY run HAVING count(*) NOT IN (399, 50)").rows == []


def test_a_really_full_disk(tmp_path: Path, small_disk: Path) -> None:
    done = openrlb("fetch", table(tmp_path, 400), home=small_disk / "home")
    assert_three_lines(done)
    assert "No space left" in done.stderr


def test_a_home_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = openrlb("fetch", table(tmp_path, 1), home=tmp_path / "file" / "home")
    assert_three_lines(done, "cannot keep anything in")


@pytest.mark.parametrize("words", [("list",), ("plot",), ("fetch", "--env", "Hopper")])
def test_a_home_that_is_a_file_is_not_called_empty(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OPENRLB_HOME", str(tmp_path / "file"))
    done = cli(*words)
    assert done.exit_code == 1 and "file is no folder" in done.stderr and "set OPENRLB_HOME" in done.stderr
    assert len(done.stderr.splitlines()) == 3


def test_a_home_that_is_not_there_is_told_apart_from_an_empty_one(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENRLB_HOME", str(tmp_path / "disk" / "openrlb"))
    missing = cli("list")
    assert missing.exit_code == 3 and "that folder is not there" in missing.stderr
    (tmp_path / "disk" / "openrlb").mkdir(parents=True)
    empty = cli("list")
    assert empty.exit_code == 3 and "nothing was fetched into" in empty.stderr and "not there" not in empty.stderr


def test_an_output_that_cannot_be_written(tmp_path: Path) -> None:
    store = Store()
    store.write([batch("a"), batch("b", seed=1)])
    store.fold()
    (tmp_path / "file").write_text("")
    for words in (["list", "-o", tmp_path / "file/x.json"], ["plot", "-o", tmp_path / "file/x.html"]):
        assert_three_lines(openrlb(*words))
