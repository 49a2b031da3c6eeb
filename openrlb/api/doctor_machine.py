"""What ``doctor`` looks at outside of the store: file locks, the W&B key, uv, browsers, runner environments, settings."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from openrlb import paths
from openrlb.config import merged, store_lock
from openrlb.errors import OpenrlbError, StoreError, UsageError
from openrlb.store.layout import Layout
from openrlb.store.lock import CURE, FILE, check_lock, exclusion_fails
from openrlb.types import Finding

FREE_GIGABYTES = 1.0
UV_SECONDS = 30
BROWSERS = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge", "firefox"),
    *("Google Chrome", "Microsoft Edge", "Firefox", "Safari"),
)
"""Programs on the path, and the names of macOS's applications."""


def place(what: str, folder: Path) -> Finding:
    """Whether a folder can be written and has space; nothing is left in it."""
    nearest = existing(folder)
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
        free = shutil.disk_usage(nearest).free / 1e9
    except OSError as error:
        reason = error.strerror or str(error)
        return Finding(what, False, f"{folder}: {reason}", "set OPENRLB_HOME to a folder that you can write")
    fix = "" if free >= FREE_GIGABYTES else "free some space, or set OPENRLB_HOME to another disk"
    return Finding(what, free >= FREE_GIGABYTES, f"{folder} ({free:.1f} GB free)", fix)


def existing(folder: Path) -> Path:
    """A folder, or the nearest one above it that is there."""
    return next(parent for parent in (folder, *folder.parents) if parent.exists())


def file_locks() -> Finding:
    """Whether whoever else writes to the store is kept out, where it lies or will lie."""
    what, layout = "file locks", Layout(paths.store_dir())
    try:
        setting = store_lock()
    except UsageError:  # told among the settings
        setting = FILE
    try:
        if setting != FILE:
            check_lock(layout)
        if setting not in (None, FILE):
            return Finding(what, True, "not needed: a PostgreSQL server keeps the store's lock, and it answers")
        why = exclusion_fails(existing(layout.root)) if os.name == "posix" else None
    except StoreError as error:
        return Finding(what, False, error.why, error.fix)
    return Finding(what, why is None, f"the file system {why}" if why else "a second process is kept out", CURE if why else "")


def wandb_key() -> Finding:
    """Whether there is a key for Weights & Biases; its value is never looked at beyond its shape, and never told."""
    from openrlb.sources.wandb import key_available

    what, key = "wandb key", os.environ.get("WANDB_API_KEY", "")
    if any(sign.isspace() for sign in key):
        return Finding(what, False, "WANDB_API_KEY holds a blank or a line's end", "set it again, without them")
    if not key_available():
        return Finding(what, True, "none; only fetching from Weights & Biases needs one (WANDB_API_KEY, or wandb login)")
    return Finding(what, True, "there is one, from " + ("WANDB_API_KEY" if key else "a token or netrc file"))


def uv_program() -> Finding:
    """Whether the uv that builds runner environments starts."""
    from openrlb_runners.uv import binary

    try:
        done = subprocess.run([binary(), "--version"], capture_output=True, text=True, timeout=UV_SECONDS, check=True)
    except OpenrlbError as error:
        return Finding("uv program", False, error.why, error.fix)
    except (OSError, subprocess.SubprocessError) as error:
        return Finding("uv program", False, f"it does not start: {error}", "pip install --force-reinstall uv")
    return Finding("uv program", True, done.stdout.strip())


def browser() -> Finding:
    """Which browser is there to look at pages with; none is no problem, for pages open on any machine."""
    applications = [Path(f"/Applications/{name}.app") for name in BROWSERS]
    found = next((name for name in BROWSERS if shutil.which(name)), None) or next(
        (folder.stem for folder in applications if folder.exists()), None
    )
    none = "none found here; a page is one file, and opens in any browser on any machine"
    return Finding("browser", True, found or none)


def settings() -> Finding:
    """Whether the settings files can be read."""
    files = [path for path in (paths.project_config_file(), paths.user_config_file()) if path is not None and path.is_file()]
    try:
        merged()
        store_lock()
    except OpenrlbError as error:
        return Finding("settings", False, f"{error.what}: {error.why}", error.fix)
    return Finding("settings", True, " and ".join(map(str, files)) or f"defaults (there is no {paths.user_config_file()})")


def runners() -> list[Finding]:
    """The runners that can train, with their environments; and what lies in the cache beside these."""
    from openrlb.api.runner import list_runners

    found = []
    for row in list_runners():
        what = f"runner {row.name}" + ("" if row.torch in ("", "any") else f" ({row.torch})")
        if row.problem:
            found.append(Finding(what, False, row.problem, f"look at it: openrlb runner check {row.name} ({row.folder})"))
        elif row.conformance.startswith("failed"):
            found.append(Finding(what, False, row.conformance, f"openrlb runner check {row.name} --conformance"))
        elif row.built:
            found.append(Finding(what, True, f"built, {row.size_mb or 0:,.0f} MB"))
        else:
            words = "" if row.torch in ("any", "cpu") else f" --torch {row.torch}"
            found.append(Finding(what, True, f"not built; the first run does it, or openrlb runner install {row.name}{words}"))
    return found + _environments()


def _environments() -> list[Finding]:
    """What lies in the folder of environments, and those that cannot be started."""
    from openrlb_runners.environment import MARK, environment_python

    folder = paths.cache_dir() / "environments"
    built = sorted(path.parent for path in folder.glob(f"[!.]*/{MARK}"))
    broken = [path.name for path in built if not environment_python(path).exists()]
    findings = [Finding("environments", True, f"{len(built)} in {folder}")] if built else []
    if broken:
        detail = f"the Python of {_some(broken)} is gone"
        fix = "install that Python again (openrlb runner list names it), or remove the folder: the next run builds it anew"
        findings.append(Finding("environments", False, detail, fix))
    if left := sorted(path.name for path in folder.glob(".building-*")):
        detail = f"{len(left)} that are being built, or that a killed build left: {_some(left)}"
        findings.append(Finding("unfinished environments", True, detail))
    return findings


def _some(names: Sequence[str], shown: int = 3) -> str:
    """The first names, and how many more there are.

    >>> _some(["a", "b", "c", "d"])
    'a, b, c and 1 more'
    """
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
