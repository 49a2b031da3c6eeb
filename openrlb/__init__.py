"""What others got, what you get, how good it can get honestly, and which is better.

Each verb of the command line is a function here, with typed results (docs/python.md); nothing heavy is imported before it
is called.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openrlb.api.cancel import cancel
    from openrlb.api.compare import CompareOptions, compare
    from openrlb.api.compare_inputs import ScoreOptions
    from openrlb.api.doctor import doctor
    from openrlb.api.export import export, export_bundle
    from openrlb.api.fetch import fetch
    from openrlb.api.figure import save_figure
    from openrlb.api.final_scores import final_scores
    from openrlb.api.list import list_runs, runs
    from openrlb.api.opened import open_store
    from openrlb.api.plot import PlotOptions, plot
    from openrlb.api.power import power
    from openrlb.api.query import query
    from openrlb.api.report import report
    from openrlb.api.reproduce import reproduce
    from openrlb.api.run import RunOptions, run
    from openrlb.api.run_groups import group_runs
    from openrlb.api.runner import install_runner, list_runners
    from openrlb.api.show import show
    from openrlb.api.status import status
    from openrlb.api.study import list_studies as studies
    from openrlb.api.study import read_study as study
    from openrlb.api.tune import TuneOptions, tune
    from openrlb.errors import OpenrlbError
    from openrlb.store import Store
    from openrlb.tracking import TrackedRun, track
    from openrlb.types import Run, Selection

_HOMES = {
    "CompareOptions": "openrlb.api.compare",
    "OpenrlbError": "openrlb.errors",
    "PlotOptions": "openrlb.api.plot",
    "Run": "openrlb.types",
    "RunOptions": "openrlb.api.run",
    "ScoreOptions": "openrlb.api.compare_inputs",
    "Selection": "openrlb.types",
    "Store": "openrlb.store",
    "TrackedRun": "openrlb.tracking",
    "TuneOptions": "openrlb.api.tune",
    "cancel": "openrlb.api.cancel",
    "compare": "openrlb.api.compare",
    "doctor": "openrlb.api.doctor",
    "export": "openrlb.api.export",
    "export_bundle": "openrlb.api.export",
    "fetch": "openrlb.api.fetch",
    "final_scores": "openrlb.api.final_scores",
    "group_runs": "openrlb.api.run_groups",
    "install_runner": "openrlb.api.runner",
    "list_runners": "openrlb.api.runner",
    "list_runs": "openrlb.api.list",
    "open_store": "openrlb.api.opened",
    "plot": "openrlb.api.plot",
    "power": "openrlb.api.power",
    "query": "openrlb.api.query",
    "report": "openrlb.api.report",
    "reproduce": "openrlb.api.reproduce",
    "run": "openrlb.api.run",
    "runs": "openrlb.api.list",
    "save_figure": "openrlb.api.figure",
    "show": "openrlb.api.show",
    "status": "openrlb.api.status",
    "studies": "openrlb.api.study:list_studies",
    "study": "openrlb.api.study:read_study",
    "track": "openrlb.tracking",
    "tune": "openrlb.api.tune",
}
"""Where each public name is, and what it is called there where that is another name."""

__all__ = [
    "CompareOptions",
    "OpenrlbError",
    "PlotOptions",
    "Run",
    "RunOptions",
    "ScoreOptions",
    "Selection",
    "Store",
    "TrackedRun",
    "TuneOptions",
    "cancel",
    "compare",
    "doctor",
    "export",
    "export_bundle",
    "fetch",
    "final_scores",
    "group_runs",
    "install_runner",
    "list_runners",
    "list_runs",
    "open_store",
    "plot",
    "power",
    "query",
    "report",
    "reproduce",
    "run",
    "runs",
    "save_figure",
    "show",
    "status",
    "studies",
    "study",
    "track",
    "tune",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the verb's module holds
    """Resolves a public name when it is first used, so that ``import openrlb`` stays light."""
    if name in _HOMES:
        module, _, other = _HOMES[name].partition(":")
        return getattr(import_module(module), other or name)
    raise AttributeError(f"module 'openrlb' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names."""
    return sorted([*__all__, "__version__"])
