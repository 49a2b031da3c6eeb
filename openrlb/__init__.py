"""What others got, what you get, how good it can get honestly, and which is better.

Each verb of the command line is a function here, with typed results; nothing heavy is imported before it is called.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openrlb.api.compare import CompareOptions, compare
    from openrlb.api.doctor import doctor
    from openrlb.api.fetch import fetch
    from openrlb.api.figure import save_figure
    from openrlb.api.list import list_runs
    from openrlb.api.plot import PlotOptions, plot
    from openrlb.api.power import power
    from openrlb.api.query import query
    from openrlb.api.reproduce import reproduce
    from openrlb.api.run import RunOptions, run
    from openrlb.api.show import show
    from openrlb.api.tune import TuneOptions, tune
    from openrlb.store import Store
    from openrlb.tracking import TrackedRun, track
    from openrlb.types import Run, Selection

_HOMES = {
    "CompareOptions": "openrlb.api.compare",
    "PlotOptions": "openrlb.api.plot",
    "Run": "openrlb.types",
    "RunOptions": "openrlb.api.run",
    "Selection": "openrlb.types",
    "Store": "openrlb.store",
    "compare": "openrlb.api.compare",
    "doctor": "openrlb.api.doctor",
    "fetch": "openrlb.api.fetch",
    "list_runs": "openrlb.api.list",
    "plot": "openrlb.api.plot",
    "power": "openrlb.api.power",
    "query": "openrlb.api.query",
    "reproduce": "openrlb.api.reproduce",
    "TrackedRun": "openrlb.tracking",
    "run": "openrlb.api.run",
    "save_figure": "openrlb.api.figure",
    "show": "openrlb.api.show",
    "track": "openrlb.tracking",
    "TuneOptions": "openrlb.api.tune",
    "tune": "openrlb.api.tune",
}

__all__ = [
    "CompareOptions",
    "PlotOptions",
    "Run",
    "RunOptions",
    "Selection",
    "Store",
    "TrackedRun",
    "TuneOptions",
    "compare",
    "doctor",
    "fetch",
    "list_runs",
    "plot",
    "power",
    "query",
    "reproduce",
    "run",
    "save_figure",
    "show",
    "track",
    "tune",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the verb's module holds
    """Resolves a public name when it is first used, so that ``import openrlb`` stays light."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'openrlb' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names."""
    return sorted([*__all__, "__version__"])
