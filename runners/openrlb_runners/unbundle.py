"""Unpacks a runner's bundle and builds its environment from it, without a network; nothing in the file is trusted."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, Self

from openrlb import paths
from openrlb.errors import BuildError, SourceError, StoreUnwritable, UsageError
from openrlb_runners import uv
from openrlb_runners.added import registered
from openrlb_runners.bundle import FORMAT, INDEX, PIECE, copy_hashed, machine_of
from openrlb_runners.environment import Environment, build_locked, find
from openrlb_runners.locks import lock_digest, lock_files, pins_of
from openrlb_runners.request import MANIFEST
from openrlb_runners.spec import RunnerSpec, is_name, read_runner, reference_runners, source_digest, source_files

MOST_FILES = 4_000
MOST_BYTES = 32 * 10**9
MOST_SMALL_BYTES = 16_000_000
"""Of the index, and of each file of the runner itself."""
_ALLOWED = re.compile(
    r"bundle\.json|runner/[A-Za-z0-9_][A-Za-z0-9_.-]*|runner/lock/[a-z0-9-]+\.txt|wheels/[A-Za-z0-9_][A-Za-z0-9_.+!-]*\.whl"
)
_LENGTHENED = (
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
)  # fmt: skip
_FIX = "bring the file here again, or make it anew: openrlb runner bundle NAME -o FILE.tar"


class PlainMember(tarfile.TarInfo):
    """A member whose header stands alone: what other headers hold is read into memory whole, however long it is."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """The member that a header tells of.

        Raises:
            tarfile.ReadError: It tells of another header.
        """
        found = super().frombuf(buf, encoding, errors)
        if found.type in _LENGTHENED:
            raise tarfile.ReadError("it has headers of a kind that no bundle has")
        return found


def unbundle(path: Path, *, say: uv.Say = uv.silent) -> tuple[Environment, bool]:
    """Builds a runner's environment from a bundle, and registers the runner where it is not one that ships with openrlb.

    Args:
        path: The file.
        say: Takes lines of talk.

    Returns:
        The environment, and whether it was there before.

    Raises:
        SourceError: The file is no bundle, a damaged one, or one that would write elsewhere; nothing was unpacked.
        UsageError: It is for another kind of machine, or another runner has the name here.
        LockError: Its lock is none.
        BuildError: The environment cannot be built; nothing is left behind.
        StoreUnwritable: The runner cannot be registered.
    """
    try:
        folder = paths.cache_dir() / "bundles"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="unpacking-", dir=folder) as place:
            facts = _unpack(path, Path(place))
            return _use(path, Path(place), facts, say)
    except OSError as error:
        fix = "free some space, or set OPENRLB_HOME to a folder that you can write"
        raise BuildError(
            f"{path.name} was not unpacked", f"{error.filename or folder}: {error.strerror or error}", fix
        ) from error


def _use(path: Path, place: Path, facts: Mapping[str, Any], say: uv.Say) -> tuple[Environment, bool]:
    """Takes what was unpacked: the lock first, then the environment, and the runner's name last."""
    try:
        spec = read_runner(place / "runner")
    except UsageError as error:
        _refuse(path, error.why)
    variant = str(facts.get("variant"))
    locks = lock_files(spec, variant)
    digest, source = lock_digest(locks, spec.python), source_digest(source_files(spec))
    if (spec.name, digest, source) != (facts.get("name"), facts.get("lock"), facts.get("source")):
        _refuse(path, "the runner in it is not the one that it names")
    if facts.get("machine") != machine_of(spec.python):
        why = f"its wheels are for {facts.get('machine')}, and this is {machine_of(spec.python)}"
        raise UsageError(f"{path.name} cannot be used here", why, "make one on a machine like this one")
    hashes = {one for pin in pins_of(locks) for one in pin.hashes}
    wheels = {name: told["sha256"] for name, told in facts["files"].items() if name.startswith("wheels/")}
    if strange := sorted(name for name, sha256 in wheels.items() if sha256 not in hashes):
        _refuse(path, f"{strange[0]} is not in its lock")
    there = _same_runner_here(spec, digest, source)
    if (found := find(spec, variant)) is None:
        environment = build_locked(
            spec.name, spec.python, variant, locks, preload=spec.preload, wheels_only=place / "wheels", say=say
        )
    else:
        environment = found
    if not there:
        _register(place / "runner", spec.name)
    return environment, found is not None


def _same_runner_here(spec: RunnerSpec, lock: str, source: str) -> bool:
    """Whether the runner is here already.

    Raises:
        UsageError: Another one has its name.
    """
    shipped = {one.name: one for one in reference_runners()}
    folder = shipped[spec.name].folder if spec.name in shipped else registered(spec.name)
    if folder is None:
        return False
    here = read_runner(folder)
    variant = next((one for one in here.variants if lock_digest(lock_files(here, one), here.python) == lock), None)
    if variant is not None and source_digest(source_files(here)) == source:
        return True
    if spec.name in shipped:
        fix = "install the openrlb here that made the bundle, or make the bundle with this one"
        raise UsageError(f"{spec.name} cannot be unpacked here", "this openrlb ships another state of that runner", fix)
    fix = f"openrlb runner remove {spec.name}, or give the other one another name"
    raise UsageError(f"there is another runner {spec.name} already", f"it lies in {folder.resolve()}", fix)


def _register(folder: Path, name: str) -> None:
    """Puts an unpacked runner's folder among the user's own."""
    target = paths.home() / "runners" / name
    waiting = target.with_name(f".unbundling-{name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(waiting, ignore_errors=True)
        shutil.copytree(folder, waiting)
        waiting.rename(target)
    except OSError as error:
        fix = "free some space, or make that folder writable"
        raise StoreUnwritable(f"{name} cannot be registered", f"{target}: {error.strerror or error}", fix) from error
    finally:
        shutil.rmtree(waiting, ignore_errors=True)


def _refuse(path: Path, why: str) -> NoReturn:
    """Raises the error for a file that is no sound bundle."""
    raise SourceError(f"{path.name} is no sound bundle of a runner", why, _FIX)


def _unpack(path: Path, place: Path) -> dict[str, Any]:
    """Writes a bundle's files into an empty folder; returns what its index says.

    Every name is looked at before the first byte is written, and no file is written under a name that tar alone vouches for.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for
        _refuse(path, "it is no plain file")
    try:
        with tarfile.open(path, "r:", tarinfo=PlainMember) as archive:  # no compression, and so no bomb
            members = _checked_members(path, archive)
            facts = _index(path, archive, members[0])
            told: Mapping[str, Any] = facts["files"]
            if {one.name for one in members[1:]} != set(told) or f"runner/{MANIFEST}" not in told:
                _refuse(path, "what is in it is not what its index names")
            for member in members[1:]:
                _write(path, archive, member, told[member.name], place)
    except (tarfile.TarError, EOFError) as error:
        _refuse(path, f"it is no tar archive, or ends too early: {error}")
    except FileNotFoundError as error:
        raise UsageError(f"{path} is not there", "no such file", "name the file that openrlb runner bundle wrote") from error
    return facts


def _checked_members(path: Path, archive: tarfile.TarFile) -> list[tarfile.TarInfo]:
    """The archive's members: plain files with plain names, not too many, not too large, each once."""
    members: list[tarfile.TarInfo] = []
    total = 0
    for member in archive:
        if not _ALLOWED.fullmatch(member.name) or not member.isreg() or member.issparse():
            _refuse(path, f"it holds {member.name[:100]!r}, which no bundle has")
        total += member.size
        if len(members) >= MOST_FILES or total > MOST_BYTES:
            _refuse(path, f"it holds more than {MOST_FILES:,} files or {MOST_BYTES / 1e9:,.0f} GB")
        if not member.name.startswith("wheels/") and member.size > MOST_SMALL_BYTES:
            _refuse(path, f"{member.name} has {member.size:,} bytes")
        members.append(member)
    if len({one.name for one in members}) < len(members) or not members or members[0].name != INDEX:
        _refuse(path, f"it does not begin with {INDEX}, or holds a file twice")
    return members


def _index(path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo) -> dict[str, Any]:
    """What the bundle says of itself."""
    source = archive.extractfile(member)
    try:
        facts = json.loads(source.read() if source else b"")
        files = facts["files"]
        for one in files.values():
            if not (isinstance(one["bytes"], int) and re.fullmatch(r"[0-9a-f]{64}", one["sha256"])):
                raise ValueError("a file without size and hash")
        if not is_name(facts["name"]):
            raise ValueError("no runner has such a name")
        if facts["format"] != FORMAT:
            _refuse(path, f"its format is {facts['format']!r}, and this openrlb knows {FORMAT}: update openrlb")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        _refuse(path, f"its {INDEX} was not understood: {error}")
    return dict(facts)


def _write(path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo, told: Mapping[str, Any], place: Path) -> None:
    """Writes one file, and holds it against the index."""
    source = archive.extractfile(member)
    if source is None or member.size != told["bytes"]:
        _refuse(path, f"{member.name} has not the size that the index gives it")
    target = place / member.name
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as handle:
        size, digest = copy_hashed(lambda: source.read(PIECE), handle.write, most=member.size)
    if size != member.size or digest != told["sha256"]:
        _refuse(path, f"{member.name} is damaged: its sha256 differs from that in the index")
