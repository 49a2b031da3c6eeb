"""The user's own runners: where they are registered, and what the conformance suite said of them.

A runner is registered by a link, ``home()/runners/NAME``, to the folder it lies in, so that an edit counts with the next run.
That is safe because nothing runs from that folder: a batch reads its files once, they run from a copy in the cache that is named
by their hash, and the hash is part of every run's id. The suite's result is kept under the same hash: an edited runner is one
that was not checked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from openrlb import paths
from openrlb.errors import OpenrlbError, StoreUnwritable, UsageError
from openrlb.store.files import writing
from openrlb.types import Finding, stable_hash
from openrlb_runners.locks import lock_digest, lock_files
from openrlb_runners.request import MANIFEST
from openrlb_runners.spec import RunnerSpec, own_folders, read_runner, reference_runners, source_digest, source_files

NOT_CHECKED = "not checked"


def check_name(name: str) -> None:
    """Refuses the name of a reference runner.

    Raises:
        UsageError: It is one.
    """
    if name in {runner.name for runner in reference_runners()}:
        why = "a reference runner has it, and its runs must not be taken for yours"
        raise UsageError(f"a runner cannot be named {name!r}", why, "choose another name in runner.toml")


def registered(name: str) -> Path | None:
    """The link or folder of a user's runner; None where there is none."""
    for path in own_folders():
        if path.name == name:
            return path
        with suppress(OpenrlbError):
            if read_runner(path).name == name:
                return path
    return None


def check_free(spec: RunnerSpec) -> None:
    """Refuses a name that another folder is registered under.

    Raises:
        UsageError: It is taken.
    """
    check_name(spec.name)
    there = registered(spec.name)
    if there is not None and (there / MANIFEST).is_file() and there.resolve() != spec.folder.resolve():
        fix = f"choose another name in runner.toml, or: openrlb runner remove {spec.name}"
        raise UsageError(f"there is a runner {spec.name} already", f"it lies in {there.resolve()}", fix)


def register(spec: RunnerSpec) -> Path:
    """Links a folder into ``home()/runners``; one that is there already stays as it is.

    Raises:
        UsageError: Its name is taken.
        StoreUnwritable: No link can be made.
    """
    check_free(spec)
    place = paths.home() / "runners" / spec.name
    there = registered(spec.name)
    if there is not None and there.resolve() == spec.folder.resolve():
        return there
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)  # a link whose folder has gone
        place.symlink_to(spec.folder.resolve(), target_is_directory=True)
    except OSError as error:
        fix = f"move the runner's folder itself to {place}"
        raise StoreUnwritable(f"{spec.name} cannot be registered", f"{place}: {error.strerror}", fix) from error
    return place


def unregister(name: str) -> Path:
    """Takes a link away; the folder that it names stays. Returns where that is.

    Raises:
        UsageError: No such runner, a reference runner, or a folder that lies in openrlb's home itself.
    """
    if name in {runner.name for runner in reference_runners()}:
        raise UsageError(f"{name} cannot be removed", "it is a reference runner and ships with openrlb", "leave it be")
    there = registered(name)
    if there is None:
        known = ", ".join(path.name for path in own_folders()) or "none"
        raise UsageError(f"there is no runner {name!r} of your own", f"there are: {known}", "openrlb runner list names them")
    if not there.is_symlink():
        why = f"it is no link but the folder itself, {there}"
        raise UsageError(f"{name} was not removed", why, "move or delete that folder yourself: nothing else has its files")
    folder = Path(os.path.abspath(there.parent / there.readlink()))  # noqa: PTH100 - it may have gone
    there.unlink()
    return folder


def not_part(spec: RunnerSpec) -> list[str]:
    """What lies in a runner's folder and is no part of it: neither hashed nor kept, nor there when it runs."""
    part = {*source_files(spec), MANIFEST, "lock", "__pycache__", "hyperparameters.toml"}
    return sorted(path.name for path in spec.folder.iterdir() if path.name not in part and not path.name.startswith("."))


def conformance_digest(spec: RunnerSpec, variant: str) -> str:
    """The hash that a suite's result is kept under: the runner's files, its lock and its ``runner.toml``.

    Raises:
        LockError: It has no lock.
        UsageError: A file of it cannot be read.
    """
    lock = lock_digest(lock_files(spec, variant), spec.python)
    return stable_hash([source_digest(source_files(spec)), lock, (spec.folder / MANIFEST).read_text(encoding="utf-8")], 32)


def _file(digest: str) -> Path:
    """Where a result is kept."""
    return paths.cache_dir() / "conformance" / f"{digest}.json"


def keep_findings(spec: RunnerSpec, variant: str, findings: Sequence[Finding]) -> None:
    """Keeps what the suite found.

    Raises:
        StoreUnwritable: The cache cannot be written.
    """
    path = _file(conformance_digest(spec, variant))
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path) as temporary:
        temporary.write_text(json.dumps([asdict(one) for one in findings]), encoding="utf-8")


def conformance_state(spec: RunnerSpec, variant: str) -> str:
    """What the suite said of a runner as its files are now: ``passed``, ``failed: ...`` or ``not checked``."""
    try:
        findings = [Finding(**one) for one in json.loads(_file(conformance_digest(spec, variant)).read_bytes())]
    except (OSError, ValueError, TypeError, OpenrlbError):
        return NOT_CHECKED
    wrong = [one.what for one in findings if not one.ok]
    return f"failed: {', '.join(wrong)}" if wrong else "passed"
