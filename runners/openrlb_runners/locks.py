"""Locks: requirement files in which every line is one version and its hashes, and nothing else.

``base.txt`` holds everything but torch; ``torch-cpu.txt`` and ``torch-cuda.txt`` hold torch and what only it needs. No file
names a place to download from: the hashes decide, so that a lock works with any index, mirror or folder of wheels.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from openrlb.errors import LockError, UsageError
from openrlb_runners.spec import NO_TORCH, RunnerSpec, source_digest

BASE = "base.txt"
WANTED = "in.txt"
MAXIMUM_BYTES = 8_000_000
_PIN = re.compile(
    r"(?P<name>[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?)={2,3}(?P<version>[0-9a-z.+!]+)"
    r"(?: ; (?P<marker>[^#@\\]+?))?(?P<hashes>(?: --hash=sha256:[0-9a-f]{64})+)"
)


@dataclass(frozen=True, slots=True)
class Pin:
    """One line of a lock.

    Attributes:
        name: The package, normalised.
        version: Its one version, with a local part such as ``+cpu`` where it has one.
        marker: Where it is needed (PEP 508), empty for everywhere.
        hashes: The sha256 of every file that may be installed for it, sorted.
    """

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]

    def text(self) -> str:
        """The line as uv and pip read it. ``torch==2.13.0`` would also mean ``2.13.0+cpu`` where a wheel of that is found."""
        equals = "===" if self.name == "torch" and "+" not in self.version else "=="
        where = f" ; {self.marker}" if self.marker else ""
        return (
            f"{self.name}{equals}{self.version}{where}" + "".join(f" \\\n    --hash=sha256:{one}" for one in self.hashes) + "\n"
        )


def read_pins(name: str, data: bytes) -> list[Pin]:
    r"""The pins of a lock file; refuses whatever is more than a version and hashes.

    Args:
        name: The file's name, for the error.
        data: Its bytes.

    Raises:
        LockError: A line without hashes, an address, an option, or something else that is no pin.

    >>> [pin.version for pin in read_pins("base.txt", b"six==1.17.0 \\\n    --hash=sha256:" + b"0" * 64)]
    ['1.17.0']
    """
    fix = "make it again: openrlb runner lock NAME"
    if len(data) > MAXIMUM_BYTES:
        raise LockError(f"{name} is no lock", f"it has {len(data):,} bytes", fix)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LockError(f"{name} is no lock", str(error), fix) from error
    pins = []
    for line in re.sub(r"\s*\\\r?\n\s*", " ", text).splitlines():
        if line.strip() and not line.startswith("#"):
            match = _PIN.fullmatch(line.strip())
            if match is None:
                raise LockError(f"{name} was not understood", f"{line.strip()[:80]!r} is no version with sha256 hashes", fix)
            hashes = re.findall(r"[0-9a-f]{64}", match["hashes"])
            pins.append(Pin(match["name"], match["version"], match["marker"] or "", tuple(sorted(hashes))))
    return pins


def write_pins(pins: Iterable[Pin], head: str) -> bytes:
    """A lock file's bytes: equal pins give equal bytes.

    Args:
        pins: In any order.
        head: The comment of the first line.
    """
    ordered = sorted(pins, key=lambda pin: (pin.name, pin.version, pin.marker))
    return (f"# {head}\n" + "".join(pin.text() for pin in ordered)).encode()


def names_of(spec: RunnerSpec, variant: str) -> tuple[str, ...]:
    """The names of the lock files of a variant.

    Raises:
        UsageError: The runner has no such variant.
    """
    if variant not in spec.variants:
        fix = f"use --torch {spec.variants[0]}" if spec.torch else "leave --torch out"
        raise UsageError(f"{spec.name} has no variant {variant!r}", f"it has: {', '.join(spec.variants)}", fix)
    return (BASE,) if variant == NO_TORCH else (BASE, f"torch-{variant}.txt")


def lock_files(spec: RunnerSpec, variant: str) -> dict[str, bytes]:
    """The lock files of a variant by name, checked; what a run keeps as its ``lock/*`` blobs.

    Raises:
        LockError: A file is missing, or is no lock.
        UsageError: The runner has no such variant.
    """
    files = {}
    for name in names_of(spec, variant):
        try:
            files[name] = (spec.lock_folder / name).read_bytes()
        except OSError as error:
            why = f"lock/{name}: {error.strerror or error}"
            raise LockError(f"the runner {spec.name} has no lock", why, f"make it: openrlb runner lock {spec.name}") from error
        read_pins(name, files[name])
    return files


def pins_of(files: Mapping[str, bytes]) -> list[Pin]:
    """All pins of a variant's files.

    Raises:
        LockError: A file is no lock, or its name is no plain one.
    """
    for name in files:
        if not re.fullmatch(r"[a-z0-9-]+\.txt", name):
            raise LockError(f"{name!r} is no lock file", "its name is no plain one", "restore the run it came from")
    return [pin for name in sorted(files) for pin in read_pins(name, files[name])]


def needed_here(pins: Iterable[Pin], python: str) -> dict[str, str]:
    """The packages that a lock brings on this machine: names and versions.

    Args:
        pins: The lock's.
        python: The Python's version, with or without its last part.

    Raises:
        LockError: A condition in it means nothing.
    """
    from packaging.markers import InvalidMarker, Marker, UndefinedComparison, UndefinedEnvironmentName

    full = python if python.count(".") > 1 else f"{python}.0"
    here = {"python_full_version": full, "python_version": ".".join(python.split(".")[:2])}
    try:
        return {pin.name: pin.version for pin in pins if not pin.marker or Marker(pin.marker).evaluate(here)}
    except (InvalidMarker, UndefinedComparison, UndefinedEnvironmentName, ValueError, RecursionError) as error:
        why = f"a condition in it means nothing: {' '.join(str(error).split())[:200]}"
        raise LockError("the lock was not understood", why, "make it again: openrlb runner lock NAME") from error


def lock_digest(files: Mapping[str, bytes], python: str) -> str:
    """The sha256 that names a lock: its files' names and bytes, and the Python version.

    Args:
        files: Names and bytes, from a runner's folder or from a stored run's blobs.
        python: The minor version, for instance ``3.11``.

    >>> lock_digest({"base.txt": b""}, "3.11") == lock_digest({"base.txt": b""}, "3.12")
    False
    """
    return source_digest({**files, "python": python.encode()})
