"""Looks a runner over: its lock files, its environment against them, and whether it trains the same twice."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import json
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from openrlb.errors import OpenrlbError
from openrlb.types import Finding
from openrlb_runners import uv
from openrlb_runners.checking import read_rows, rows_digest
from openrlb_runners.environment import Environment, child_variables, imports
from openrlb_runners.locks import WANTED, Pin, lock_digest, lock_files, needed_here, pins_of
from openrlb_runners.spec import RunnerSpec, source_files

PLATFORMS = {
    "Linux x86_64": "x86_64-manylinux_2_28",
    "Linux aarch64": "aarch64-manylinux_2_28",
    "macOS arm64": "aarch64-apple-darwin",
}
"""Where every variant must resolve: uv's names of the platforms."""

MACOS = "14.0"
"""The oldest macOS that torch's wheel is made for."""


def look_at_lock(spec: RunnerSpec, variant: str) -> list[Finding]:
    """The lock of a variant: only versions and hashes, and everything that ``in.txt`` asks for.

    Raises:
        UsageError: The runner has no such variant.
    """
    try:
        source_files(spec)
        files = lock_files(spec, variant)
        pins = pins_of(files)
    except OpenrlbError as error:
        return [Finding(f"lock {variant}", False, str(error), error.fix)]
    detail = f"{lock_digest(files, spec.python)[:12]}: {len(pins)} packages, each with its sha256; no address"
    findings = [Finding(f"lock {variant}", True, detail)]
    missing = [line for line in _wanted(spec) if not _satisfied(line, pins)]
    if missing:
        again = f"openrlb runner lock {spec.name}"
        findings.append(Finding(f"lock {variant}", False, f"lock/{WANTED} asks for {', '.join(missing)}: not in the lock", again))
    return findings


def _wanted(spec: RunnerSpec) -> list[str]:
    """The requirements of ``in.txt``."""
    path = spec.lock_folder / WANTED
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [line for text in lines if (line := text.split("#")[0].strip())]


def _satisfied(line: str, pins: Iterable[Pin]) -> bool:
    """Whether a requirement is met by a lock."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        wanted = Requirement(line)
    except InvalidRequirement:
        return False
    name = _plain(wanted.name)
    return any(pin.name == name and wanted.specifier.contains(pin.version, prereleases=True) for pin in pins)


def look_at_environment(spec: RunnerSpec, environment: Environment) -> Iterator[Finding]:
    """An environment against its lock: versions, files, dependencies, imports. May take seconds.

    Raises:
        LockError: The runner has no lock.
    """
    again = f"remove {environment.folder} and run: openrlb runner install {spec.name}"
    found = {_plain(one.metadata["Name"]): one for one in _installed(environment, spec.python)}
    wanted = needed_here(pins_of(lock_files(spec, environment.variant)), _python_version(environment))
    have = {name: one.version for name, one in found.items()}
    wrong = [
        f"{name} {have.get(name, 'missing')} for {wanted.get(name, 'none')}"
        for name in sorted({*have, *wanted})
        if have.get(name) != wanted.get(name)
    ]
    detail = f"differs from the lock: {', '.join(wrong)}" if wrong else f"{len(have)} packages, the versions of the lock"
    yield Finding("packages", not wrong, detail, again if wrong else "")
    files, bad = _changed_files(found.values())
    detail = (
        f"{len(bad)} of {files:,} files were changed since, for instance {bad[0]}" if bad else f"{files:,} files as installed"
    )
    yield Finding("files", not bad, detail, f"run: uv cache clean; {again}" if bad else "")
    done = uv.run(["pip", "check", "--python", str(environment.python)], folder=environment.folder)
    said = " ".join((done.out + done.err).split()) if done.code else "every package has what it asks for"
    yield Finding("dependencies", not done.code, said, f"mend lock/{WANTED}" if done.code else "")
    why = imports(environment.python, spec.preload)
    yield Finding("imports", not why, why or ", ".join(spec.preload), "mend the runner's lock or its preload" if why else "")


def look_at_training(spec: RunnerSpec, environment: Environment) -> Finding:
    """The smallest training, twice: two processes must log equal episodes."""
    if spec.check is None:
        return Finding("training", True, "not tried: runner.toml has no [check] that names a small one")
    probe = f"{spec.check.algo} on {spec.check.env}, {spec.check.steps:,} steps"
    asked = {name: value for name, value in asdict(spec.check).items() if name != "diverging"}
    request = {"format": 1, **asked, "seed": 1, "env_kwargs": {}, "evaluation": None}
    digests, episodes = set(), 0
    with tempfile.TemporaryDirectory(prefix="openrlb-check-") as place:
        for attempt in ("first", "second"):
            out = Path(place, attempt)
            out.mkdir()
            (out / "spec.json").write_text(json.dumps({**request, "threads": 1, "device": "cpu"}), encoding="utf-8")
            command = [
                str(environment.python),
                str(spec.folder / spec.entry),
                "--spec",
                str(out / "spec.json"),
                "--out",
                str(out),
            ]
            done = subprocess.run(command, env=child_variables(1), cwd=out, capture_output=True, text=True, check=False)
            if done.returncode or not (out / "done.json").is_file():
                last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
                return Finding("training", False, f"{probe}: exit code {done.returncode}: {last}", f"mend {spec.entry}")
            rows = read_rows(out / "metrics.jsonl")
            digests.add(rows_digest(*rows))
            episodes = len(rows[0])
    if len(digests) > 1:
        return Finding("training", False, f"{probe}: two processes differ", f"find what {spec.entry} does not seed")
    return Finding("training", True, f"{probe}: {episodes} episodes, equal in two processes")


def look_at_platforms(spec: RunnerSpec, torch_source: str | None = None) -> Iterator[Finding]:
    """Whether every variant's lock resolves on every platform, without installing: uv's dry run, hashes checked."""
    for variant in spec.variants:
        for platform, name in PLATFORMS.items():
            if variant != "cuda" or platform.startswith("Linux"):
                yield _resolves(spec, variant, platform, name, torch_source)


def _resolves(spec: RunnerSpec, variant: str, platform: str, name: str, torch_source: str | None) -> Finding:
    """One variant on one platform."""
    what = f"{variant} on {platform}"
    try:
        files = lock_files(spec, variant)
        with tempfile.TemporaryDirectory(prefix="openrlb-check-") as place:
            for file, data in files.items():
                Path(place, file).write_bytes(data)
            flags = [
                "--dry-run",
                "--require-hashes",
                "--target",
                "none",
                "--python-platform",
                name,
                "--python-version",
                spec.python,
            ]
            words = ["pip", "sync", *flags, *uv.wheel_flags(torch_source), *sorted(files)]
            done = uv.run(words, folder=Path(place), more={"MACOSX_DEPLOYMENT_TARGET": MACOS})
    except OpenrlbError as error:
        return Finding(what, False, str(error), error.fix)
    if done.code:
        failed = uv.failure(what, done)
        return Finding(what, False, failed.why, failed.fix)
    count = re.search(r"Would install (\d+) package", done.err)
    return Finding(what, True, f"{count[1] if count else 'all'} packages resolve")


def _plain(name: str) -> str:
    """A package's name as locks write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _installed(environment: Environment, python: str) -> list[importlib.metadata.Distribution]:
    """What is installed in an environment; what has no name any more is not."""
    places = [environment.folder / "lib" / f"python{python}" / "site-packages", environment.folder / "Lib" / "site-packages"]
    found = importlib.metadata.distributions(path=[str(place) for place in places if place.is_dir()])
    return [one for one in found if "Name" in one.metadata]


def _python_version(environment: Environment) -> str:
    """The full version of an environment's Python."""
    found = re.search(r"(?m)^version_info = ([\d.]+)", (environment.folder / "pyvenv.cfg").read_text(encoding="utf-8"))
    return found[1] if found else "0"


def _changed_files(distributions: Iterable[importlib.metadata.Distribution]) -> tuple[int, list[str]]:
    """How many installed files have a recorded hash, and which of them are not what was installed.

    Files are hard links that environments share: one that is edited in place is edited in all of them.
    """
    count, bad = 0, []
    for one in distributions:
        for file in one.files or ():
            if file.hash is not None and file.hash.mode == "sha256":
                count += 1
                path = Path(str(file.locate()))
                if not path.is_file() or _sha256(path) != file.hash.value:
                    bad.append(str(file))
    return count, bad


def _sha256(path: Path) -> str:
    """A file's hash as wheels record it."""
    with path.open("rb") as handle:
        return base64.urlsafe_b64encode(hashlib.file_digest(handle, "sha256").digest()).rstrip(b"=").decode()
