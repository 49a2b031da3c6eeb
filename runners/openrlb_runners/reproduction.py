"""What a stored run keeps of its own making, and whether that is still what ran."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from shlex import quote
from typing import Any

from openrlb.errors import CannotReproduce, LockError, UsageError
from openrlb.sources.trained import CONFIG, ENV, settings_of
from openrlb.store.layout import Layout
from openrlb.store.segment import storable
from openrlb.store.variant import flat_config
from openrlb.types import Run, RunKey
from openrlb_runners.locks import lock_digest, read_pins
from openrlb_runners.request import MANIFEST, PinnedRunner, TrainingRequest, run_key
from openrlb_runners.spec import NO_TORCH, RunnerSpec, find_runner, read_runner, source_digest, source_files

SPEC = "spec.json"
LOCK_PREFIX = "lock/"
SHA256 = "the sha256 of "


@dataclass(frozen=True, slots=True)
class Changed:
    """One thing that is not what it was.

    Attributes:
        name: What: a file, or a dotted configuration key.
        stored: What the run's record says.
        now: What is found instead.
    """

    name: str
    stored: Any
    now: Any

    @property
    def text(self) -> str:
        """One sentence.

        >>> Changed("hyperparameters.n_steps", 8, 16).text
        'hyperparameters.n_steps is 16, not 8'
        """
        return f"{self.name} is {_shown(self.now)}, not {_shown(self.stored)}"


@dataclass(frozen=True)
class Record:
    """Everything that a run was made from, as the store keeps it.

    Attributes:
        run: The run.
        spec: Its runner, as the stored ``runner.toml`` describes it; its folder is gone.
        variant: The torch variant of its locks.
        sources: The runner's files by name.
        locks: The lock files by name (``base.txt``).
        manifest: ``runner.toml``.
        request: What was asked for.
        config: What was applied (``config.json``).
        env: What it ran on (``env.json``).
        files: The bytes of every kept file.
        altered: Kept files that are not the bytes they were stored as.
    """

    run: Run
    spec: RunnerSpec
    variant: str
    sources: Mapping[str, bytes]
    locks: Mapping[str, bytes]
    manifest: bytes
    request: TrainingRequest
    config: Mapping[str, Any]
    env: Mapping[str, Any]
    files: Mapping[str, bytes]
    altered: tuple[Changed, ...]

    @property
    def lock(self) -> str:
        """The digest of the stored lock."""
        return lock_digest(self.locks, self.spec.python)

    def pinned(self, python: Path) -> PinnedRunner:
        """The stored runner, to be run by an environment's Python."""
        manifest = {"sources": self.sources, "locks": self.locks, "lock": self.lock, "manifest": self.manifest}
        return PinnedRunner(self.spec.name, self.spec.entry, self.spec.preload, self.spec.fork, python=python, **manifest)  # type: ignore[arg-type]

    @property
    def key(self) -> RunKey:
        """The run's key, computed anew from what is kept."""
        return run_key(self.pinned(Path()), self.request, self.config)


def read_record(run: Run, layout: Layout) -> Record:
    """Reads what the store keeps of a run's making.

    Args:
        run: The run's record.
        layout: The store.

    Raises:
        CannotReproduce: Something is missing; it is named.
    """
    names = set(run.files)
    sources = sorted(name for name in names if name.endswith(".py") and "/" not in name)
    locks = sorted(name for name in names if name.startswith(LOCK_PREFIX))
    missing = [name for name in (SPEC, CONFIG, ENV, MANIFEST) if name not in names]
    missing += [] if locks else ["lock files (lock/base.txt)"]
    missing += [] if sources else ["the runner's source (run.py)"]
    if missing:
        kept = f"it keeps {', '.join(sorted(names))}" if names else "it keeps no files"
        origin = "" if run.source == "openrlb" else f"it came from {run.source}; "
        raise _impossible(run, f"{origin}{kept}, but not {', '.join(missing)}", _anew(run))
    files, altered = _kept(run, layout)
    try:
        documents = {name: _object(files[name]) for name in (SPEC, CONFIG, ENV)}
        request = _request(documents[SPEC], run)
        spec = _spec(files[MANIFEST], sources)
        sources += sorted(set(spec.files) - set(sources))
        return Record(
            run=run,
            spec=spec,
            variant=_variant(locks),
            sources={name: files[name] for name in sources},
            locks={name.removeprefix(LOCK_PREFIX): files[name] for name in locks},
            manifest=files[MANIFEST],
            request=request,
            config=documents[CONFIG],
            env=documents[ENV],
            files=files,
            altered=altered,
        )
    except (ValueError, TypeError, KeyError, RecursionError, UsageError) as error:
        told = "; ".join(one.text for one in altered) or f"{type(error).__name__}: {error}"
        raise _impossible(run, f"what is kept of it cannot be read: {told}", _anew(run)) from error


def _kept(run: Run, layout: Layout) -> tuple[dict[str, bytes], tuple[Changed, ...]]:
    """The bytes of a run's files, and which of them changed since."""
    files, altered = {}, []
    for name, digest in run.files.items():
        try:
            files[name] = layout.blob(str(digest)).read_bytes()
        except OSError as error:
            raise _impossible(run, f"{name} is gone from the store: {error.strerror}", _anew(run)) from error
        found = hashlib.sha256(files[name]).hexdigest()
        if digest is not None and found != digest:
            altered.append(Changed(f"{SHA256}{name}", digest[:12], found[:12]))
    return files, tuple(altered)


def _object(data: bytes) -> dict[str, Any]:
    """A JSON object."""
    value = json.loads(data)
    if not isinstance(value, dict):
        raise TypeError("no JSON object")
    return value


def _request(spec: Mapping[str, Any], run: Run) -> TrainingRequest:
    """What ``spec.json`` asks for."""
    names = ("algo", "env", "seed", "steps", "hyperparameters", "env_kwargs", "evaluation", "threads", "device")
    return TrainingRequest(**{name: spec[name] for name in names}, role=run.role)


def _spec(manifest: bytes, sources: Sequence[str]) -> RunnerSpec:
    """The runner of a stored ``runner.toml``."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / MANIFEST).write_bytes(manifest)
        spec = read_runner(folder)
    if spec.entry not in sources:
        raise ValueError(f"{spec.entry} trains, but is not kept")
    return spec


def _variant(locks: list[str]) -> str:
    """The torch variant that lock files are for."""
    found = [PurePosixPath(name).stem.removeprefix("torch-") for name in locks if PurePosixPath(name).stem.startswith("torch-")]
    return found[0] if found else NO_TORCH


def disagreements(record: Record) -> tuple[Changed, ...]:
    """What is kept of a run but cannot be what ran, by name; empty where the run's id confirms it.

    The id is the hash of the runner's source, the lock and the settings. Settings have a second copy in the run's record, and
    a package of the lock in what the run saw installed; a runner's file that changed is told by the installed runner, where
    it is still the one that ran.
    """
    needed = {*record.sources, *(f"{LOCK_PREFIX}{name}" for name in record.locks), SPEC, CONFIG, ENV, MANIFEST}
    found = [one for one in record.altered if one.name.removeprefix(SHA256) in needed]
    if record.key.digest == record.run.run:
        return tuple(found)
    found += [*_settings(record), *_packages(record)]
    named = found or _unconfirmed(record)
    return tuple(named or [Changed("the hash of its runner files, lock and settings", record.run.run, record.key.digest)])


def remarks(record: Record) -> tuple[Changed, ...]:
    """What changed in the store since the run was stored, but does not matter for training it again."""
    return () if disagreements(record) else (*record.altered, *_settings(record))


def _settings(record: Record) -> list[Changed]:
    """Settings that differ between ``config.json``, the run's record and ``spec.json``."""
    found = configuration_changed(record.run.config, storable(settings_of(record.key)))
    own = record.config.get("hyperparameters") or {}
    found = [replace(one, name=f"hyperparameters.{one.name}") if one.name.split(".")[0] in own else one for one in found]
    asked = record.request.to_spec()
    names = ("algo", "env", "seed", "threads", "device")
    return found + configuration_changed(*({name: one.get(name) for name in names} for one in (record.config, asked)))


def _packages(record: Record) -> list[Changed]:
    """Packages that the lock has in another version than the run saw installed."""
    seen = versions_seen(record.env)
    locked: dict[str, set[str]] = {}
    try:
        for name, data in record.locks.items():
            for pin in read_pins(name, data):
                locked.setdefault(pin.name, set()).add(pin.version)
    except LockError as error:
        return [Changed("the lock", "one that can be read", error.why)]
    return [
        Changed(f"{name} in the lock", seen[name], " or ".join(sorted(versions)))
        for name, versions in locked.items()
        if name in seen and seen[name] not in versions
    ]


def versions_seen(env: Mapping[str, Any]) -> dict[str, str]:
    """The versions of ``env.json``'s packages, by normalised name.

    >>> versions_seen({"packages": ["Farama_Notifications==0.0.4"]})
    {'farama-notifications': '0.0.4'}
    """
    import re

    pairs = [str(item).partition("==") for item in env.get("packages") or []]
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, _, version in pairs}


def _unconfirmed(record: Record) -> list[Changed]:
    """Which of source, lock and settings make the id wrong, as far as the installed runner has the ones that ran."""
    try:
        installed = find_runner(record.spec.name)
        sources = source_files(installed)
        locks = _installed_locks(installed, record.variant)
    except (UsageError, LockError, OSError):
        return []
    key = record.key
    replaced: dict[str, Any] = {"runner_source": source_digest(sources), "lock": lock_digest(locks, installed.python)}
    for parts in (("runner_source",), ("lock",), ("runner_source", "lock")):
        if replace(key, **{part: replaced[part] for part in parts}).digest == record.run.run:
            found = files_changed(sources, record.sources) if "runner_source" in parts else []
            return found + (files_changed(locks, record.locks, LOCK_PREFIX) if "lock" in parts else [])
    return []


def _installed_locks(spec: RunnerSpec, variant: str) -> dict[str, bytes]:
    """The lock files of the installed runner."""
    from openrlb_runners.locks import lock_files

    return lock_files(spec, variant)


def files_changed(stored: Mapping[str, bytes], now: Mapping[str, bytes], prefix: str = "") -> list[Changed]:
    """Files that differ, by the beginning of their sha256; None where there is no such file.

    >>> [one.text for one in files_changed({"run.py": b"1"}, {})]
    ['the sha256 of run.py is null, not "6b86b273ff34"']
    """
    digests = [{name: hashlib.sha256(data).hexdigest()[:12] for name, data in files.items()} for files in (stored, now)]
    names = sorted({*digests[0], *digests[1]})
    pairs = [(name, digests[0].get(name), digests[1].get(name)) for name in names]
    return [Changed(f"{SHA256}{prefix}{name}", before, after) for name, before, after in pairs if before != after]


def configuration_changed(stored: Mapping[str, Any], now: Mapping[str, Any], *, but_for: tuple[str, ...] = ()) -> list[Changed]:
    """Entries of two ``config.json`` that differ, by dotted key.

    >>> configuration_changed({"hyperparameters": {"lr": 0.1}, "seed": 1}, {"hyperparameters": {"lr": 0.2}, "seed": 1})
    [Changed(name='hyperparameters.lr', stored=0.1, now=0.2)]
    """
    before, after = flat_config(stored), flat_config(now)
    names = [name for name in [*before, *(name for name in after if name not in before)] if name.split(".")[0] not in but_for]
    return [
        Changed(name, before.get(name), after.get(name))
        for name in names
        if json.dumps(before.get(name), sort_keys=True) != json.dumps(after.get(name), sort_keys=True)
    ]


def runner_today(record: Record) -> tuple[Changed, ...]:
    """How the installed runner of the same name differs from the stored one: its files, and its locked versions."""
    try:
        installed = find_runner(record.spec.name)
        files = files_changed(record.sources, source_files(installed))
        locks = _installed_locks(installed, record.variant)
    except (UsageError, LockError) as error:
        return (Changed(f"the installed runner {record.spec.name}", "there", error.why),)
    before, after = (_locked_versions(one) for one in (record.locks, locks))
    names = sorted({*before, *after})
    versions = [Changed(f"{name} in the lock", before.get(name), after.get(name)) for name in names]
    return (*files, *(one for one in versions if one.stored != one.now))


def _locked_versions(locks: Mapping[str, bytes]) -> dict[str, str]:
    """The versions of a lock's packages."""
    found: dict[str, set[str]] = {}
    for name, data in locks.items():
        for pin in read_pins(name, data):
            found.setdefault(pin.name, set()).add(pin.version)
    return {name: " or ".join(sorted(versions)) for name, versions in found.items()}


def _impossible(run: Run, why: str, fix: str) -> CannotReproduce:
    """The error for a run whose making is not known any more."""
    return CannotReproduce(f"run {run.run} cannot be reproduced", why, fix)


def _anew(run: Run) -> str:
    """What to do instead."""
    return f"train it anew, and compare: openrlb run {quote(run.algo)} --env {quote(run.env)}"


def _shown(value: object) -> str:
    """A value in a sentence."""
    words = json.dumps(value, default=str)
    return words if len(words) <= 90 else f"{words[:87]}..."
