"""``doctor``: is everything in its place?"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from openrlb import paths
from openrlb.api.opened import opened
from openrlb.errors import OpenrlbError
from openrlb.store import Store
from openrlb.types import Finding

PACKAGES = (
    "duckdb",
    "polars",
    "pyarrow",
    "pandas",
    "numpy",
    "scipy",
    "rliable",
    "arch",
    "optuna",
    "plotly",
    "wandb",
    "typer",
    "uv",
)
FREE_GIGABYTES = 1.0


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All findings; ``rebuilt`` where the catalog was made again."""

    findings: tuple[Finding, ...]
    rebuilt: bool = False

    @property
    def ok(self) -> bool:
        """True where nothing is wrong."""
        return all(finding.ok for finding in self.findings)


def doctor(*, rebuild: bool = False, store: Store | None = None) -> Diagnosis:
    """Looks at versions, places and the store; makes the catalog again where asked.

    Args:
        rebuild: Make ``catalog.duckdb`` again from the Parquet files and the spool.
        store: The user's own store by default.

    Raises:
        StoreError: The rebuild failed.
    """
    store = opened(store)
    findings = [
        Finding("python", True, f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *(_package(name) for name in PACKAGES),
        _statistics(),
        _place("home", paths.home()),
    ]
    if rebuild:
        warnings = store.rebuild()
        store.fold()
        findings += [Finding("rebuild", False, text, "fetch its runs again") for text in warnings]
        findings.append(Finding("rebuild", True, f"{len(store.runs())} runs from the Parquet files"))
    findings += _store(store)
    return Diagnosis(tuple(findings), rebuild)


def _package(name: str) -> Finding:
    """An installed package's version."""
    try:
        return Finding(name, True, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, False, "not installed", f"pip install {name}, or install openrlb anew")


def _statistics() -> Finding:
    """Whether rliable's half of the pins holds: it imports only with pandas 2 and arch 7."""
    pandas, arch = importlib.metadata.version("pandas"), importlib.metadata.version("arch")
    works = int(pandas.split(".")[0]) < 3 and int(arch.split(".")[0]) < 8
    detail = f"rliable.library with pandas {pandas} and arch {arch}"
    return Finding("rliable pins", works, detail, "" if works else "pip install 'pandas>=2.2,<3' 'arch<8'")


def _place(what: str, folder: Path) -> Finding:
    """Whether a folder can be written and has space; nothing is left in it."""
    import tempfile

    nearest = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        return Finding(what, False, f"{folder}: {reason}", "set OPENRLB_HOME to a folder that you can write")
    free = shutil.disk_usage(nearest).free / 1e9
    fix = "" if free >= FREE_GIGABYTES else "free some space, or set OPENRLB_HOME to another disk"
    return Finding(what, free >= FREE_GIGABYTES, f"{folder} ({free:.0f} GB free)", fix)


def _store(store: Store) -> list[Finding]:
    """The store's own health."""
    if not store.exists:
        return [Finding("store", True, "empty; fill it with: openrlb fetch FOLDER")]
    try:
        health = store.health()
    except OpenrlbError as error:
        return [Finding("store", False, f"{error.what} ({error.why})", error.fix)]
    findings = [Finding("store", True, f"{health.runs} runs, {health.values:,} values, {health.bytes_on_disk / 1e6:.1f} MB")]
    if health.waiting:
        findings.append(Finding("spool", True, f"{health.waiting} segments wait for the next fetch"))
    if health.missing:
        detail = f"the catalog names {len(health.missing)} files that are gone, for instance {health.missing[0]}"
        findings.append(Finding("data files", False, detail, "restore them, or run: openrlb doctor --rebuild"))
    if health.unknown:
        detail = f"{len(health.unknown)} data files are in no catalog, for instance {health.unknown[0]}"
        findings.append(Finding("data files", False, detail, "run: openrlb doctor --rebuild"))
    if health.quarantined:
        detail = f"{len(health.quarantined)} segments could not be read, for instance {health.quarantined[0]}"
        findings.append(Finding("quarantine", False, detail, "fetch their runs again, then remove them"))
    return findings
