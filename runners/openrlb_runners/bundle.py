"""A runner in one file, for machines without a network: its source, its lock, and every wheel of the lock for machines like this.

The file is a plain tar: ``bundle.json`` first, then ``runner/`` and ``wheels/``. Which wheels there are is asked of uv, which
knows the index, its mirrors and folders of wheels; what comes from there is held against the lock's hashes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import ssl
import tarfile
import tempfile
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from openrlb.errors import BuildError, NetworkError
from openrlb.store.files import writing
from openrlb_runners import uv
from openrlb_runners.locks import lock_digest, lock_files, needed_here, pins_of
from openrlb_runners.request import MANIFEST
from openrlb_runners.spec import RunnerSpec, source_digest, source_files

FORMAT = 1
INDEX = "bundle.json"
PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Wheel:
    """A file that an environment is built from.

    Attributes:
        name: Its file name.
        sha256: Its hash, one of those in the lock.
        place: Where it is: an address, or a path.
    """

    name: str
    sha256: str
    place: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """A runner that was put into a file.

    Attributes:
        name: The runner's name.
        variant: Its torch variant, or ``any``.
        lock: The lock's digest.
        source: The source's digest.
        machine: What it is for: system, processor and Python.
        wheels: How many wheels are in it.
        bytes: The file's size.
        path: The file.
    """

    name: str
    variant: str
    lock: str
    source: str
    machine: str
    wheels: int
    bytes: int
    path: Path


def machine_of(python: str) -> str:
    """The kind of machine that wheels are for, with a Python's version.

    >>> machine_of("3.11").endswith("Python 3.11")
    True
    """
    return f"{platform.system()} {platform.machine()}, Python {python}"


def make_bundle(
    spec: RunnerSpec, variant: str, path: Path, *, torch_source: str | None = None, say: uv.Say = uv.silent
) -> Bundle:
    """Writes a runner with everything that its environment is built from.

    Args:
        spec: The runner.
        variant: One of its variants.
        path: The file; one that is there is replaced when the new one is whole.
        torch_source: A folder or address that has torch's CPU wheels.
        say: Takes lines of talk.

    Raises:
        LockError: The runner has no lock.
        UsageError: It has no such variant, or ``torch_source`` is not there.
        BuildError: A package has no wheel for this machine, or a wheel is not what the lock says.
        NetworkError: The index cannot be reached.
        StoreUnwritable: The file cannot be written.
    """
    locks = lock_files(spec, variant)
    source = source_files(spec)
    files = {f"runner/{name}": data for name, data in source.items()}
    for name in (MANIFEST, "hyperparameters.toml"):
        if (spec.folder / name).is_file():
            files[f"runner/{name}"] = (spec.folder / name).read_bytes()
    for file in sorted(spec.lock_folder.glob("*.txt")):
        files[f"runner/lock/{file.name}"] = file.read_bytes()
    wheels = find_wheels(spec, locks, torch_source)
    say(f"{len(wheels)} wheels for {spec.name} on {machine_of(spec.python)}")
    lock, digest = lock_digest(locks, spec.python), source_digest(source)
    facts: dict[str, Any] = {"format": FORMAT, "name": spec.name, "variant": variant, "python": spec.python}
    facts |= {"lock": lock, "source": digest, "machine": machine_of(spec.python)}
    with tempfile.TemporaryDirectory() as folder, writing(path) as temporary:
        sizes = {wheel.name: _fetch(wheel, Path(folder), say) for wheel in wheels}
        told = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}
        told |= {f"wheels/{one.name}": {"bytes": sizes[one.name], "sha256": one.sha256} for one in wheels}
        with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as archive:
            _add(archive, INDEX, json.dumps({**facts, "files": told}, indent=1).encode())
            for name in sorted(files):
                _add(archive, name, files[name])
            for wheel in wheels:
                with (Path(folder) / wheel.name).open("rb") as handle:
                    archive.addfile(_member(f"wheels/{wheel.name}", sizes[wheel.name]), handle)
    return Bundle(spec.name, variant, lock, digest, machine_of(spec.python), len(wheels), path.stat().st_size, path)


def find_wheels(spec: RunnerSpec, locks: Mapping[str, bytes], torch_source: str | None = None) -> list[Wheel]:
    """The best wheel for this machine of each package that a lock brings here.

    Args:
        spec: The runner.
        locks: The lock's files.
        torch_source: A folder or address that has torch's CPU wheels.

    Raises:
        BuildError: A package has none whose hash is in the lock.
        NetworkError: The index cannot be reached.
    """
    what = f"{spec.name} was not bundled"
    pins = pins_of(locks)
    allowed = {(pin.name, pin.version): set(pin.hashes) for pin in pins}
    with tempfile.TemporaryDirectory() as folder:
        for name, data in locks.items():
            (Path(folder) / name).write_bytes(data)
        words = ["pip", "compile", "--quiet", "--no-deps", "--format", "pylock.toml", "--generate-hashes", "--no-header"]
        words += ["--python-version", spec.python, *uv.wheel_flags(torch_source), "-o", "pylock.toml", *sorted(locks)]
        done = uv.run(words, folder=Path(folder))
        if done.code:
            raise uv.failure(what, done)
        packages = tomllib.loads((Path(folder) / "pylock.toml").read_text(encoding="utf-8")).get("packages", [])
    offered = {str(one["name"]): [_wheel(table) for table in one.get("wheels", ())] for one in packages}
    ranks = {tag: rank for rank, tag in enumerate(_tags(spec.python))}
    found = []
    for name, version in sorted(needed_here(pins, spec.python).items()):
        fit = [one for one in offered.get(name, ()) if one.sha256 in allowed[name, version]]
        ranked = [(rank, one) for one in fit if (rank := _rank(one.name, ranks)) is not None]
        if not ranked:
            why = f"{name} {version} has no wheel for {machine_of(spec.python)} whose hash is in the lock"
            raise BuildError(what, why, "use an index that has it, or make the lock again: openrlb runner lock NAME")
        found.append(min(ranked, key=lambda pair: (pair[0], pair[1].name))[1])
    return found


def _wheel(table: Mapping[str, Any]) -> Wheel:
    """One wheel of uv's answer; a file of a folder has a path in the place of an address."""
    place = str(table.get("url") or table.get("path") or "")
    name = str(table.get("name") or unquote(PurePosixPath(urlsplit(place).path).name))
    return Wheel(name, str(table.get("hashes", {}).get("sha256", "")), place)


def _tags(python: str) -> list[Any]:
    """What wheels this machine takes, the best first."""
    from packaging import tags

    version = [int(part) for part in python.split(".")[:2]]
    return [*tags.cpython_tags(version), *tags.compatible_tags(version, f"cp{version[0]}{version[1]}")]


def _rank(name: str, ranks: Mapping[Any, int]) -> int | None:
    """How well a wheel fits; None where it does not."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    try:
        tags = parse_wheel_filename(name)[3]
    except InvalidWheelFilename:
        return None
    return min((ranks[tag] for tag in tags if tag in ranks), default=None)


def _fetch(wheel: Wheel, folder: Path, say: uv.Say) -> int:
    """Brings a wheel into a folder, its hash checked; returns its size."""
    what = f"{wheel.name} was not bundled"
    try:
        with closing(_opened(wheel.place)) as source, (folder / wheel.name).open("wb") as target:
            size, digest = copy_hashed(lambda: source.read(PIECE), target.write)
    except urllib.error.HTTPError as error:
        raise NetworkError(what, f"its address answers {error.code}", "check the index or mirror that you use") from error
    except urllib.error.URLError as error:
        raise NetworkError(what, str(error.reason), "check the connection, a proxy, and the index that you use") from error
    except OSError as error:
        raise BuildError(what, f"{error.strerror or error}", "free some space, or set TMPDIR to another disk") from error
    if digest != wheel.sha256:
        fix = "do not use it; check the index or mirror you use, and restore the lock"
        raise BuildError(what, "it is not what the lock says: its sha256 differs", fix)
    if size > 50 * PIECE:
        say(f"{wheel.name}: {size / 1e6:,.0f} MB")
    return size


def _opened(place: str) -> Any:  # noqa: ANN401 - an answer or a file: something that reads bytes
    """A wheel's bytes; certificates are those that pip or uv were told to use."""
    parts = urlsplit(place)
    if parts.scheme in ("http", "https"):
        own = next(
            (os.environ[name] for name in ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE") if os.environ.get(name)), None
        )
        context = ssl.create_default_context(cafile=own) if parts.scheme == "https" else None
        return urllib.request.urlopen(place, timeout=60, context=context)  # noqa: S310 - http or https
    return Path(urllib.request.url2pathname(parts.path) if parts.scheme == "file" else place).open("rb")


def copy_hashed(read: Callable[[], bytes], write: Callable[[bytes], object], most: int | None = None) -> tuple[int, str]:
    """Copies bytes piece by piece; returns how many there were, and their sha256.

    Args:
        read: Gives the next piece, empty at the end.
        write: Takes a piece.
        most: Stop behind so many bytes.

    >>> pieces, out = [b"one", b""], []
    >>> copy_hashed(lambda: pieces.pop(0), out.append)[0], out
    (3, [b'one'])
    """
    digest, size = hashlib.sha256(), 0
    while (piece := read()) and (most is None or size <= most):
        digest.update(piece)
        size += len(piece)
        write(piece)
    return size, digest.hexdigest()


def _member(name: str, size: int) -> tarfile.TarInfo:
    """A file of the archive, without a date, an owner or anything else of this machine."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """Adds a small file."""
    archive.addfile(_member(name, len(data)), io.BytesIO(data))
