"""Writes a new runner's folder: the template, one of the examples, or a wrapping of somebody's script at a commit."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from openrlb.errors import NetworkError, StoreUnwritable, UsageError
from openrlb.paths import asset
from openrlb_runners.added import check_name
from openrlb_runners.spec import MAXIMUM_BYTES, is_name

MODEL = "my_runner"
"""The name that the templates have."""

CONTRACT = "contract.py"
CHECKOUT = "checkout.tar"
_NETWORK = re.compile(r"Could not resolve|unable to access|Could not read from remote|Connection|timed out|Authentication failed")


@dataclass(frozen=True)
class Checkout:
    """A commit of a repository.

    Attributes:
        repository: Its address without user and password; of a folder that has no origin, its name.
        commit: The commit's full hash.
        archive: Its files as ``git archive`` packs them.
        notes: What is not among them.
    """

    repository: str
    commit: str
    archive: bytes
    notes: tuple[str, ...]


def examples() -> list[str]:
    """The names of the examples that ship with openrlb."""
    return sorted(path.parent.name for path in asset("runners", "examples").glob("*/runner.toml"))


def write_runner(name: str, folder: Path, checkout: Checkout | None = None, example: str | None = None) -> list[str]:
    """Writes a runner's folder, whole or not at all; returns its files' names.

    Args:
        name: The runner's name.
        folder: Where it shall lie; not there yet.
        checkout: A commit whose script shall train; None for the template.
        example: The example to copy instead.

    Raises:
        UsageError: The name is none or a reference runner's, the folder is there, or there is no such example.
        StoreUnwritable: It cannot be written.
    """
    if not is_name(name):
        raise UsageError(
            f"a runner cannot be named {name!r}", "a name has small letters, digits, -, _ and .", "choose another name"
        )
    check_name(name)
    if folder.exists():
        raise UsageError(f"{folder} is there already", "a new runner gets a folder of its own", "choose another name or place")
    if example is not None and example not in examples():
        raise UsageError(f"there is no example {example!r}", f"there are: {', '.join(examples())}", "name one of them")
    model = asset("runners", "examples", example) if example else asset("runners", "template", "git" if checkout else "own")
    files = {
        str(path.relative_to(model)): path.read_bytes() for path in model.rglob("*") if path.is_file() and path.suffix != ".pyc"
    }
    files[CONTRACT] = (asset("runners", "template", "own") / CONTRACT).read_bytes()
    for file in ("runner.toml", "README.md", "space.toml"):
        if file in files:
            files[file] = files[file].replace((example or MODEL).encode(), name.encode())
    if checkout:
        text = files["run.py"].decode()
        for key, value in (("REPOSITORY", checkout.repository), ("COMMIT", checkout.commit)):
            text = text.replace(f'{key} = ""', f"{key} = {json.dumps(value)}", 1)
        files |= {"run.py": text.encode(), CHECKOUT: checkout.archive}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            for file, data in files.items():
                (place / file).parent.mkdir(exist_ok=True)
                (place / file).write_bytes(data)
            place.chmod(0o755)
            place.rename(folder)
        finally:
            shutil.rmtree(place, ignore_errors=True)
    except OSError as error:
        fix = "choose a folder that you can write"
        raise StoreUnwritable(f"{folder} cannot be written", f"{error.filename}: {error.strerror}", fix) from error
    return sorted(files)


def check_out(source: str, only: Sequence[str] = ()) -> Checkout:
    """A commit's files, out of a repository.

    Args:
        source: ``URL@COMMIT``, or ``PATH@COMMIT`` of a local repository; a tag or a branch stands for its commit.
        only: Paths to take; everything where none is named.

    Raises:
        UsageError: It names no commit, there is no such repository, commit or path, or there is too much.
        NetworkError: The repository cannot be reached.
    """
    address, _, wanted = source.rpartition("@")
    if not address or not re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z._/-]*", wanted) or address.startswith("-"):
        fix = "write URL@COMMIT, for instance https://example.org/lab/project@1a2b3c4"
        raise UsageError(f"--from-git {source} was not understood", "it names no commit", fix)
    local = Path(address).expanduser()
    place = str(local.absolute()) if local.is_dir() else address
    with tempfile.TemporaryDirectory(prefix="openrlb-git-") as temporary:
        clone = Path(temporary, "clone")
        _git(["clone", "--quiet", "--no-checkout", "--", place, str(clone)], f"{_plain(address)} was not cloned")
        what = f"{wanted} was not found in {_plain(address)}"
        commit = _commit(clone, wanted, what)
        archive = _git(["-C", str(clone), "archive", "--format=tar", commit, "--", *only], what)
        if len(archive) > MAXIMUM_BYTES:
            why = (
                f"its files have {len(archive) / 1e6:,.0f} MB, and each run keeps them; {MAXIMUM_BYTES / 1e6:,.0f} MB are allowed"
            )
            raise UsageError(f"{_plain(source)} is too large", why, "name the paths that the script needs: --only PATH")
        notes = _notes(clone, commit)
        origin = _origin(local) if local.is_dir() else _plain(address)
    return Checkout(origin, commit, archive, notes)


def _git(words: Sequence[str], what: str) -> bytes:
    """What a call of git prints.

    Raises:
        UsageError: It failed.
        NetworkError: It could not reach the repository.
    """
    variables = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(["git", *words], env=variables, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise UsageError(
            what, "git is not installed", "install git, or write a runner of your own: openrlb runner new NAME"
        ) from error
    if done.returncode:
        said = [line for line in _plain(done.stderr.decode("utf-8", "replace")).splitlines() if line.strip()]
        why = " ".join(said[-3:]) or f"git ended with {done.returncode}"
        if _NETWORK.search(why):
            raise NetworkError(what, why, "check the address, the connection, and your right to read it")
        raise UsageError(what, why, "check the address and the commit")
    return done.stdout


def _commit(clone: Path, wanted: str, what: str) -> str:
    """The full hash of a commit, a tag or a branch."""
    for name in (wanted, f"origin/{wanted}"):
        try:
            return _git(["-C", str(clone), "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"], what).decode().strip()
        except UsageError:
            continue
    raise UsageError(what, "no commit, tag or branch has that name", "name the commit by its hash")


def _notes(clone: Path, commit: str) -> tuple[str, ...]:
    """What ``git archive`` leaves out."""
    tree = _git(["-C", str(clone), "ls-tree", "-r", commit], commit).decode("utf-8", "replace").splitlines()
    modules = [line.partition("\t")[2] for line in tree if line.startswith("160000 ")]
    notes = [f"submodules are left out: {', '.join(modules)}"] if modules else []
    has_attributes = any(line.endswith("\t.gitattributes") for line in tree)
    if has_attributes and b"filter=lfs" in _git(["-C", str(clone), "show", f"{commit}:.gitattributes"], commit):
        notes.append("files of Git LFS are pointers, not what they stand for")
    return tuple(notes)


def _origin(folder: Path) -> str:
    """Where a local repository came from; its name where it says nothing. Its place on this machine is nobody's business."""
    try:
        origin = _plain(_git(["-C", str(folder), "remote", "get-url", "origin"], "").decode().strip())
    except UsageError:
        return folder.resolve().name
    return origin if "://" in origin or re.match(r"[\w.-]+@[\w.-]+:", origin) else Path(origin).name


def _plain(text: str) -> str:
    """A text without user names and passwords in addresses.

    >>> _plain("https://me:secret@example.org/lab/project")
    'https://example.org/lab/project'
    """
    return re.sub(r"://[^/@\s]*@", "://", text)
