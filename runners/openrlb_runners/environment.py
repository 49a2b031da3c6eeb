"""Environments: what a lock says, installed once and shared by every run that names the lock."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openrlb import paths
from openrlb.errors import BuildError
from openrlb_runners import uv
from openrlb_runners.locks import lock_digest, lock_files, needed_here, pins_of
from openrlb_runners.spec import RunnerSpec

MARK = "openrlb.json"
"""Written last: a folder without it is no environment."""

LOCKS = "openrlb-lock"
"""Inside an environment: the lock files it was built from."""

KEPT = (
    *("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "LANG", "LC_ALL", "LC_CTYPE", "TZ"),
    *("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "CUBLAS_WORKSPACE_CONFIG"),
    *("MUJOCO_GL", "PYOPENGL_PLATFORM", "DISPLAY", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)
"""The variables of the caller that a runner sees."""

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment that is built.

    Attributes:
        name: The runner's name.
        variant: The torch variant, or ``any``.
        lock: The lock's digest (:func:`~openrlb_runners.locks.lock_digest`).
        folder: Where it lies.
    """

    name: str
    variant: str
    lock: str
    folder: Path

    @property
    def python(self) -> Path:
        """Its Python. Nothing else in it may be run: scripts name the place they were made in."""
        return environment_python(self.folder)

    @property
    def size_bytes(self) -> int:
        """The bytes of its files as built; most are shared with uv's cache and with other environments."""
        return int(_mark(self.folder).get("size_bytes", 0))


def child_variables(threads: int) -> dict[str, str]:
    """The variables a runner is started with: nothing of the caller's Python, and its thread counts.

    Args:
        threads: For OpenMP, MKL and OpenBLAS.

    >>> child_variables(1)["OMP_NUM_THREADS"], "PYTHONPATH" in child_variables(1)
    ('1', False)
    """
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, **dict.fromkeys(THREADS, str(threads)), "PYTHONHASHSEED": "0"}


def default_variant(spec: RunnerSpec) -> str:
    """The variant that fits this machine: CUDA only where an NVIDIA driver is seen."""
    driver = Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None
    return "cuda" if driver and "cuda" in spec.variants else spec.variants[0]


def find(spec: RunnerSpec, variant: str) -> Environment | None:
    """The environment of a runner's lock, where it is built.

    Raises:
        LockError: The runner has no lock.
        UsageError: It has no such variant.
    """
    return _find(spec.name, spec.python, variant, lock_digest(lock_files(spec, variant), spec.python))


def build(spec: RunnerSpec, variant: str, *, torch_source: str | None = None, say: uv.Say = uv.silent) -> Environment:
    """The environment of a runner's lock, built where it is missing.

    Args:
        spec: The runner.
        variant: One of its variants.
        torch_source: A folder or address that has torch's CPU wheels.
        say: Takes lines of talk.

    Raises:
        LockError: The runner has no lock.
        UsageError: It has no such variant, or ``torch_source`` is not there.
        BuildError: It cannot be built; nothing is left behind.
        NetworkError: The index cannot be reached.
    """
    files = lock_files(spec, variant)
    if found := find(spec, variant):
        return found
    announce(spec, variant, say)
    return build_locked(spec.name, spec.python, variant, files, preload=spec.preload, torch_source=torch_source, say=say)


def announce(spec: RunnerSpec, variant: str, say: uv.Say) -> None:
    """Says what a variant's environment costs, where it was measured."""
    if cost := spec.cost.get(variant):
        what = f"{cost.download_mb:,} MB to download, {cost.disk_mb:,} MB on disk, {cost.seconds} s on a fast network"
        say(f"measured for the first {variant} environment on a machine: {what}; further ones share its files")


def build_locked(
    name: str,
    python: str,
    variant: str,
    files: Mapping[str, bytes],
    *,
    preload: Sequence[str] = (),
    torch_source: str | None = None,
    wheels_only: Path | None = None,
    say: uv.Say = uv.silent,
) -> Environment:
    """The environment of lock files, wherever they come from: a runner's folder, or a stored run.

    Safe for several at once: one builds, the others wait for it. A build that is killed leaves nothing that counts as built.

    Args:
        name: The runner's name.
        python: The minor version.
        variant: The variant.
        files: The lock's files.
        preload: Modules whose import ends the build: they must work, and their bytecode is written for the first run.
        torch_source: A folder or address that has torch's CPU wheels.
        wheels_only: A folder that has every wheel; nothing is asked of a network then.
        say: Takes lines of talk.

    Raises:
        LockError: A file is no lock.
        UsageError: ``torch_source`` is not there.
        BuildError: It cannot be built; nothing is left behind.
        NetworkError: The index cannot be reached.
    """
    pins = pins_of(files)
    digest = lock_digest(files, python)
    if found := _find(name, python, variant, digest):
        return found
    wheels = uv.wheel_flags(torch_source)
    if wheels_only is not None:
        wheels = ["--offline", "--no-index", "--find-links", str(wheels_only)]
    folder = _folder(name, python, variant, digest)
    what = f"the environment {folder.name} was not built"
    with _building(folder, what, say):
        if found := _find(name, python, variant, digest):
            return found
        say(f"building {folder.name}: {len(needed_here(pins, python))} packages from the lock {digest[:12]} of {name}")
        began = time.monotonic()
        place = Path(tempfile.mkdtemp(prefix=f".building-{folder.name}-", dir=folder.parent))
        try:
            _install(place, python, files, wheels, what, say)
            if why := imports(environment_python(place), preload):
                raise BuildError(
                    what, f"it cannot import what it is for: {why}", "mend the runner's lock or its preload, or this machine"
                )
            size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file() and not path.is_symlink())
            facts = {"format": 1, "name": name, "variant": variant, "lock": digest, "python": python, "size_bytes": size}
            (place / MARK).write_text(json.dumps(facts, indent=1), encoding="utf-8")
            _replace(place, folder)
        finally:
            shutil.rmtree(place, ignore_errors=True)
        say(f"built {folder.name} in {time.monotonic() - began:.1f} s: {size / 1e6:,.0f} MB, shared with uv's cache")
    return Environment(name, variant, digest, folder)


def _folder(name: str, python: str, variant: str, digest: str) -> Path:
    """Where the environment of a lock lies."""
    return paths.cache_dir() / "environments" / f"{name}-{variant}-{digest[:12]}-py{python.replace('.', '')}"


def environment_python(folder: Path) -> Path:
    """The Python of a virtual environment, whether it is there or not.

    Args:
        folder: The environment.
    """
    return folder / ("Scripts/python.exe" if platform.system() == "Windows" else "bin/python")


def _mark(folder: Path) -> dict[str, Any]:
    """What was written last into an environment; empty where nothing was."""
    try:
        facts = json.loads((folder / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _find(name: str, python: str, variant: str, digest: str) -> Environment | None:
    """The environment of a digest, where it is built and its Python is still there."""
    folder = _folder(name, python, variant, digest)
    built = _mark(folder).get("lock") == digest and environment_python(folder).exists()
    return Environment(name, variant, digest, folder) if built else None


@contextmanager
def _building(folder: Path, what: str, say: uv.Say) -> Iterator[None]:
    """Holds the right to build an environment, and clears away what killed builds of it left."""
    from filelock import FileLock, Timeout

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.parent / f".{folder.name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"another openrlb builds {folder.name}; waiting for it")
            lock.acquire()
        try:
            for left in list(folder.parent.glob(f".building-{folder.name}-*")):
                shutil.rmtree(left)
            yield
        finally:
            lock.release()
    except OSError as error:
        fix = "free some space, or set OPENRLB_HOME to a folder that you can write"
        raise BuildError(what, f"{error.filename or folder.parent}: {error.strerror or error}", fix) from error


def _install(place: Path, python: str, files: Mapping[str, bytes], wheels: list[str], what: str, say: uv.Say) -> None:
    """Makes a virtual environment that can be moved, and installs exactly what the lock says."""
    offline = ["--offline"] if "--offline" in wheels else []  # a Python is not fetched then, either
    made = uv.run(["venv", "--no-project", "--relocatable", *offline, "--python", f"cpython@{python}", "."], folder=place)
    if made.code:
        raise uv.failure(what, made)
    (place / LOCKS).mkdir()
    for name, data in files.items():
        (place / LOCKS / name).write_bytes(data)
    names = [f"{LOCKS}/{name}" for name in sorted(files)]
    flags = ["--python", str(environment_python(place)), "--require-hashes", *wheels]
    done = uv.run(["pip", "sync", *flags, *names], folder=place, say=say)
    if done.code:
        raise uv.failure(what, done)


def imports(python: Path, modules: Sequence[str]) -> str:
    """Imports modules in an environment, which also writes their bytecode; returns what went wrong, or nothing.

    Args:
        python: The environment's Python.
        modules: What to import.
    """
    command = [str(python), "-c", f"import {', '.join(modules) or 'sys'}"]
    done = subprocess.run(command, env=child_variables(1), cwd=python.parent, capture_output=True, text=True, check=False)
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1] if done.returncode else ""


def _replace(place: Path, folder: Path) -> None:
    """Puts a finished environment in its place; a broken one there first loses its name, so that no half of it is found."""
    if folder.exists():
        trash = Path(tempfile.mkdtemp(prefix=f".building-{folder.name}-", dir=folder.parent))
        folder.rename(trash / "old")
        shutil.rmtree(trash)
    place.chmod(0o755)
    place.rename(folder)
