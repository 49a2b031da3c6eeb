"""Makes a runner's lock files from its ``in.txt``, and says what became of each package."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from openrlb.errors import LockError, NetworkError, StoreUnwritable
from openrlb_runners import uv
from openrlb_runners.locks import BASE, WANTED, Pin, lock_digest, names_of, pins_of, read_pins, write_pins
from openrlb_runners.spec import RunnerSpec

CUDA = re.compile(r"nvidia-.+|cuda-.+|triton")
"""Packages that only torch's CUDA wheel needs; in no lock that installs its CPU wheel."""

CPU_WHEEL = "sys_platform == 'linux' and platform_machine == 'x86_64'"
"""Where torch's CPU wheel is another file than the index's. macOS's is CPU, and Linux on ARM has no other."""


@dataclass(frozen=True, slots=True)
class Change:
    """One package that differs between two locks.

    Attributes:
        package: Its name, and the lock file it is in.
        before: Its versions before, empty for an added one.
        after: Its versions after, empty for a removed one. Equal to ``before`` where only hashes or markers differ.
    """

    package: str
    file: str
    before: str
    after: str


def make_lock(spec: RunnerSpec, *, upgrade: bool = False, torch_source: str | None = None) -> dict[str, bytes]:
    """The lock files that ``in.txt`` asks for, by name. Writes nothing.

    Versions of the present lock are kept where they still fit. The same ``in.txt`` and index give equal bytes.

    Args:
        spec: The runner.
        upgrade: Take the newest versions instead.
        torch_source: A folder or address that has torch's CPU wheels; needed when torch's version changed.

    Raises:
        LockError: No ``in.txt``, one that cannot be resolved, or a CPU wheel that was not found.
        NetworkError: The index cannot be reached.
    """
    present = {name: data for name in _names(spec) if (data := _read(spec, name)) is not None}
    pins = _resolve(spec, [] if upgrade else _readable(present))
    if not spec.torch:
        return {BASE: write_pins(pins, _head(spec))}
    torch = [pin for pin in pins if pin.name == "torch"]
    if not torch:
        raise LockError(
            f"{spec.name} was not locked", "runner.toml names torch variants, but in.txt brings no torch", "set torch = []"
        )
    cuda = [pin for pin in pins if CUDA.fullmatch(pin.name)]
    files = {BASE: [pin for pin in pins if pin not in torch and pin not in cuda]}
    if "cuda" in spec.torch:
        files["torch-cuda.txt"] = [*torch, *cuda]
    if "cpu" in spec.torch:
        version = f"{torch[0].version}+cpu"
        wheel = Pin("torch", version, CPU_WHEEL, (_cpu_hash(spec, version, present, torch_source),))
        elsewhere = "sys_platform != 'linux' or platform_machine != 'x86_64'"
        rest = [replace(pin, marker=f"({pin.marker}) and ({elsewhere})" if pin.marker else elsewhere) for pin in (*torch, *cuda)]
        files["torch-cpu.txt"] = [wheel, *rest]
    return {name: write_pins(files[name], _head(spec)) for name in sorted(files)}


def changes(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> list[Change]:
    """What differs between two sets of lock files, by file and package.

    Raises:
        LockError: A file of ``after`` is no lock. One of ``before`` counts as empty then.
    """
    found = []
    for name in sorted({*before, *after}):
        old, new = (
            _by_package(_readable({name: before[name]}) if name in before else []),
            _by_package(read_pins(name, after[name]) if name in after else []),
        )
        for package in sorted({*old, *new}):
            if old.get(package) != new.get(package):
                found.append(Change(package, name, _versions(old.get(package, [])), _versions(new.get(package, []))))
    return found


def write_lock(spec: RunnerSpec, files: Mapping[str, bytes]) -> str:
    """Puts lock files in place, each by rename; returns the digest of the first variant.

    Raises:
        StoreUnwritable: The runner's folder cannot be written.
    """
    try:
        for name, data in files.items():
            temporary = spec.lock_folder / f".{name}.tmp"
            temporary.write_bytes(data)
            temporary.replace(spec.lock_folder / name)
        for name in set(_names(spec)) - set(files):
            (spec.lock_folder / name).unlink(missing_ok=True)
    except OSError as error:
        fix = "make a copy of the runner in a folder that you can write"
        raise StoreUnwritable(f"the lock of {spec.name} cannot be written", f"{error.filename}: {error.strerror}", fix) from error
    first = names_of(spec, spec.variants[0])
    return lock_digest({name: files[name] for name in first}, spec.python)


def present_lock(spec: RunnerSpec) -> dict[str, bytes]:
    """The lock files that are there, unchecked."""
    return {name: data for name in _names(spec) if (data := _read(spec, name)) is not None}


def _names(spec: RunnerSpec) -> tuple[str, ...]:
    """The names of all lock files that a runner may have."""
    return (BASE, "torch-cpu.txt", "torch-cuda.txt")


def _head(spec: RunnerSpec) -> str:
    """The first line of a lock file."""
    return f"Made by: openrlb runner lock {spec.name}"


def _read(spec: RunnerSpec, name: str) -> bytes | None:
    """A file of the lock folder, or None."""
    path = spec.lock_folder / name
    return path.read_bytes() if path.is_file() else None


def _readable(files: Mapping[str, bytes]) -> list[Pin]:
    """The pins of files that may be damaged: those are made anew."""
    try:
        return pins_of(files)
    except LockError:
        return []


def _resolve(spec: RunnerSpec, preferred: Iterable[Pin]) -> list[Pin]:
    """The pins for every platform, from ``in.txt``; made in a folder of its own, so that no path of this machine enters."""
    what = f"{spec.name} was not locked"
    wanted = _read(spec, WANTED)
    if wanted is None:
        raise LockError(what, f"{spec.folder.name}/lock/{WANTED} is not there", "write one: a requirement a line")
    if b"://" in wanted or re.search(rb"(?m)^\s*-", wanted):
        raise LockError(what, f"lock/{WANTED} holds an address or an option", "write names and versions only")
    folder = Path(tempfile.mkdtemp(prefix="openrlb-lock-"))
    try:
        (folder / WANTED).write_bytes(wanted)
        # Versions without hashes: what the index has is hashed anew, so that a tampered hash does not live on.
        kept = {
            f"{pin.name}=={pin.version}" + (f" ; {pin.marker}" if pin.marker else "")
            for pin in preferred
            if "+" not in pin.version
        }
        (folder / "out.txt").write_text("".join(f"{line}\n" for line in sorted(kept)))
        flags = (
            "--no-config --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet"
        )
        done = uv.run(["pip", "compile", *flags.split(), "--python-version", spec.python, "-o", "out.txt", WANTED], folder=folder)
        if done.code:
            raise _unresolved(what, done)
        return read_pins("out.txt", (folder / "out.txt").read_bytes())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unresolved(what: str, done: uv.Finished) -> Exception:
    """The error of a resolution that failed."""
    error = uv.failure(what, done)
    return error if isinstance(error, NetworkError) else LockError(what, error.why, f"mend lock/{WANTED}")


def _cpu_hash(spec: RunnerSpec, version: str, present: Mapping[str, bytes], torch_source: str | None) -> str:
    """The sha256 of torch's CPU wheel for Linux: of a place that has it, else the present lock's if it has that version."""
    pattern = re.compile(rf"torch-{re.escape(version)}-cp{spec.python.replace('.', '')}-\S*linux\S*_x86_64\.whl")
    places = uv.wheel_flags(torch_source)[1::2]
    for place in places:
        if found := (_linked(place, pattern) if "://" in place else _lying(Path(place), pattern)):
            return found
    known = [pin for pin in _readable(present) if (pin.name, pin.version) == ("torch", version)]
    if known and not torch_source:
        return known[0].hashes[0]
    raise LockError(
        f"{spec.name} was not locked",
        f"no place has torch {version} for Linux and Python {spec.python}"
        + (f" (looked in {', '.join(places)})" if places else ""),
        "name a folder of wheels or an index that has it: --torch-source",
    )


def _lying(folder: Path, pattern: re.Pattern[str]) -> str | None:
    """The sha256 of a wheel that lies in a folder."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if pattern.fullmatch(path.name):
            with path.open("rb") as handle:
                return hashlib.file_digest(handle, "sha256").hexdigest()
    return None


def _linked(page: str, pattern: re.Pattern[str]) -> str | None:
    """The sha256 that a page of links gives for a wheel."""
    try:
        with urllib.request.urlopen(page, timeout=60) as answer:  # noqa: S310 - an address the user typed
            text = answer.read(50_000_000).decode("utf-8", "replace")
    except (OSError, ValueError) as error:
        raise NetworkError(f"{page} was not read", str(error), "check the address of --torch-source") from error
    for name, digest in re.findall(r"href=[\"'](?:[^\"']*/)?([^\"'/#]+)#sha256=([0-9a-f]{64})", text):
        if pattern.fullmatch(name.replace("%2B", "+")):
            return str(digest)
    return None


def _by_package(pins: Iterable[Pin]) -> dict[str, list[Pin]]:
    """Pins by package."""
    grouped: dict[str, list[Pin]] = {}
    for pin in pins:
        grouped.setdefault(pin.name, []).append(pin)
    return grouped


def _versions(pins: Iterable[Pin]) -> str:
    """The versions of a package's pins."""
    return ", ".join(sorted({pin.version for pin in pins}))
