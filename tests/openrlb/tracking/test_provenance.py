"""What a run was made with is kept; who made it, and where, is not."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from openrlb.store import Store, read_segment
from openrlb.tracking.provenance import MAX_KEPT_BYTES, Git, installed_packages, read_git, without_place
from openrlb.types import RunBatch

SCRIPT = """\
import sys
from openrlb.tracking import track

with track(algo="ppo", env="Hopper-v5", seed=1, config={"data": sys.argv[1]}, capture="--blind" not in sys.argv) as run:
    run.log(1, loss=1.0)
"""
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Somebody's home folder, with a script in it."""
    home = tmp_path / "private" / "ann"
    (home / "project").mkdir(parents=True)
    (home / "project" / "train.py").write_text(SCRIPT)
    return home


def train(home: Path, *words: str, **environment: str) -> RunBatch:
    """Runs the script from another folder and gives the run that reached the spool."""
    command = [sys.executable, str(home / "project" / "train.py"), f"{home}/data", *words]
    env = {**os.environ, "HOME": str(home), "OMP_NUM_THREADS": "1", **environment}
    subprocess.run(command, check=True, capture_output=True, env=env, cwd=home.parent, timeout=60)
    (segment,) = Store().layout.spool.glob("*.parquet")
    (batch,) = read_segment(segment)
    return batch


def git(folder: Path, *words: str) -> str:
    names = {f"GIT_{who}_{what}": f"{what.lower()}@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    env = {**os.environ, **names, "GIT_CONFIG_GLOBAL": os.devnull}
    return subprocess.run(["git", *words], cwd=folder, env=env, check=True, capture_output=True, text=True).stdout.strip()


@needs_git
def test_script_command_commit_changes_packages_and_hardware_are_kept(home: Path) -> None:
    project = home / "project"
    (project / "agent.py").write_text("gamma = 0.99\n")
    git(project, "init", "-q")
    git(project, "add", ".")
    git(project, "commit", "-qm", "first")
    (project / "agent.py").write_text("gamma = 0.95\n")
    (project / "new.py").write_text("")
    batch = train(home, "--lr=0.1", "--wandb-api-key", "0123456789", f"--out={home.parent}/elsewhere")
    run, blobs = batch.run, batch.blobs
    assert run.git_commit == git(project, "rev-parse", "HEAD")
    assert b"-gamma = 0.99\n+gamma = 0.95" in blobs["changes.diff"]
    assert blobs["git-status.txt"].decode().splitlines()[-1] == "? new.py"
    assert blobs["train.py"] == SCRIPT.encode()
    assert run.files == {name: hashlib.sha256(data).hexdigest() for name, data in blobs.items()}
    assert run.requirements == run.files["requirements.txt"]
    assert f"duckdb=={importlib.metadata.version('duckdb')}" in blobs["requirements.txt"].decode().splitlines()
    command = json.loads(blobs["command.json"])["command"]
    assert command[-5:] == ["~/data", "--lr=0.1", "--wandb-api-key", "[secret]", "--out=elsewhere"]
    assert run.hardware["python"] == platform.python_version()
    assert run.hardware["variables"]["OMP_NUM_THREADS"] == "1"
    assert run.config == {"data": "~/data"}
    Store().fold()
    ((packages,),) = Store().query("SELECT packages FROM requirements").rows
    assert sorted(packages) == sorted(blobs["requirements.txt"].decode().splitlines())


def test_neither_host_nor_home_is_kept(home: Path) -> None:
    batch = train(home)
    kept = json.dumps(batch.run.to_json()).encode() + b"".join(data for name, data in batch.blobs.items() if name != "train.py")
    assert str(home).encode() not in kept
    assert str(home.parent).encode() not in kept
    assert re.search(rb"\b" + re.escape(platform.node().encode()) + rb"\b", kept) is None


def test_the_same_script_in_another_folder_has_the_same_key_and_a_changed_one_has_not(tmp_path: Path) -> None:
    script = SCRIPT.split("with")[0] + 'print(track(algo="ppo", env="Hopper-v5", seed=1).id.split("-")[0], flush=True)\n'
    texts = {"a": script, "b": script, "c": script + "\n"}
    keys = []
    for name, text in texts.items():
        path = tmp_path / name / "train.py"
        path.parent.mkdir()
        path.write_text(text)
        done = subprocess.run([sys.executable, path], check=True, capture_output=True, text=True, timeout=60)
        keys.append(done.stdout)
    assert keys[0] == keys[1] != keys[2]


def test_nothing_is_kept_where_that_was_asked(home: Path) -> None:
    batch = train(home, "--blind")
    assert (batch.blobs, batch.run.files, batch.run.hardware, batch.run.requirements) == ({}, {}, {}, None)


def test_without_git_or_a_repository_the_rest_is_kept(home: Path) -> None:
    batch = train(home, PATH="/nonexistent")
    assert batch.run.git_commit is None
    assert sorted(batch.blobs) == ["command.json", "requirements.txt", "train.py"]


def test_installed_packages_are_those_that_importlib_finds() -> None:
    expected = {}
    for distribution in importlib.metadata.distributions():
        name = re.sub(r"[-_.]+", "-", distribution.name).lower()
        expected.setdefault(name, distribution.version)
    found = dict(line.split("==") for line in installed_packages().decode().splitlines())
    assert found == expected


@needs_git
def test_changes_that_are_too_large_are_not_kept_and_that_is_said(tmp_path: Path) -> None:
    answers = tmp_path / "answers"
    answers.mkdir()
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "large.txt").write_text("a\n")
    git(repository, "init", "-q")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "first")
    (repository / "large.txt").write_text("b" * 99 + "\n" + "b" * MAX_KEPT_BYTES)
    Git(repository, answers).wait()
    commit, kept, notes = read_git(answers)
    assert commit == git(repository, "rev-parse", "HEAD")
    assert list(kept) == ["git-status.txt"]
    assert notes == ["changes.diff is larger than 1 MiB and was not kept"]


@pytest.mark.parametrize(
    ("word", "kept"),
    [
        ("--lr=1/2", "--lr=1/2"),
        ("/data/ann/atari.hdf5", "atari.hdf5"),
        ("--mail=ann@example.org", "--mail=[e-mail]"),
        ("--auth_token=abc", "--auth_token=[secret]"),
        ("a\udc80", "a?"),
        ("=", "="),
        ("", ""),
    ],
)
def test_words_of_a_command_lose_their_place_and_keep_their_meaning(word: str, kept: str) -> None:
    assert without_place(word) == kept
