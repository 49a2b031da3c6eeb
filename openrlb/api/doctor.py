"""``doctor``: is everything in its place?"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from openrlb import paths
from openrlb.api import doctor_machine as machine
from openrlb.api.doctor_store import look_findings, store_findings, study_findings, swept_findings
from openrlb.api.opened import opened
from openrlb.api.shown import Shown
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


@dataclass(frozen=True, slots=True, repr=False)
class Diagnosis(Shown):
    """All findings; ``rebuilt`` where the catalog was made again."""

    findings: tuple[Finding, ...]
    rebuilt: bool = False

    @property
    def ok(self) -> bool:
        """True where nothing is wrong."""
        return all(finding.ok for finding in self.findings)

    def records(self) -> list[dict[str, Any]]:
        """A row for each finding."""
        return [asdict(finding) for finding in self.findings]

    def headline(self) -> str:
        """How many problems there are."""
        problems = dict.fromkeys(finding.what for finding in self.findings if not finding.ok)
        return f"{len(self.findings)} things looked at: " + (
            f"problems with {', '.join(problems)}" if problems else "all is well"
        )


def doctor(*, rebuild: bool = False, store: Store | None = None) -> Diagnosis:
    """Looks at versions, places, the machine, the runners and the store; makes the catalog again where asked.

    What fails while it is looked at is a finding, not an error.

    Args:
        rebuild: Make ``catalog.duckdb`` again from the Parquet files and the spool.
        store: The user's own store by default.

    Raises:
        StoreError: The rebuild failed.
    """
    store = store or Store()
    findings = [
        Finding("python", True, f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *(_package(name) for name in ("openrlb", *PACKAGES)),
        *_looked("rliable pins", lambda: [_statistics()]),
        *_looked("home", lambda: [machine.place("home", paths.home())]),
        *_looked("cache", lambda: [machine.place("cache", paths.cache_dir())]),
        *_looked("file locks", lambda: [machine.file_locks()]),
        *_looked("settings", lambda: [machine.settings()]),
        *_looked("wandb key", lambda: [machine.wandb_key()]),
        *_looked("uv program", lambda: [machine.uv_program()]),
        *_looked("browser", lambda: [machine.browser()]),
        *_looked("runners", machine.runners),
    ]
    if rebuild:
        opened(store)
        warnings = store.rebuild()
        store.fold()
        for text in warnings:
            told, fetch, rest = text.rpartition("; fetch ")  # other words in it may be those of a library
            fix = f"fetch {rest}" if fetch else "nothing is lost by it, unless another line says so"
            findings.append(Finding("rebuild", False, told or text, fix))
        findings.append(Finding("rebuild", True, f"{len(store.runs())} runs from the Parquet files"))
    else:
        findings += _looked("runs that ended", lambda: swept_findings(store))
    findings += _looked("store", lambda: store_findings(store))
    findings += _looked("looks", lambda: look_findings(store))
    findings += _looked("studies", lambda: study_findings(store))
    return Diagnosis(tuple(findings), rebuild)


def _looked(what: str, look: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """What a look found, or that it failed."""
    try:
        return list(look())
    except OpenrlbError as error:
        return [Finding(what, False, f"{error.what} ({error.why})", error.fix)]
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return [Finding(what, False, f"{where}{error.strerror or error}", "look at that file or folder and its permissions")]


def _package(name: str) -> Finding:
    """An installed package's version."""
    try:
        return Finding(name, True, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, False, "not installed", f"pip install {name}, or install openrlb anew")


def _statistics() -> Finding:
    """Whether rliable's half of the pins holds: it imports only with pandas 2 and arch 7."""
    try:
        pandas, arch = importlib.metadata.version("pandas"), importlib.metadata.version("arch")
    except importlib.metadata.PackageNotFoundError as error:
        return Finding("rliable pins", False, str(error), "install openrlb anew")
    works = int(pandas.split(".")[0]) < 3 and int(arch.split(".")[0]) < 8
    detail = f"rliable.library with pandas {pandas} and arch {arch}"
    return Finding("rliable pins", works, detail, "" if works else "pip install 'pandas>=2.2,<3' 'arch<8'")
