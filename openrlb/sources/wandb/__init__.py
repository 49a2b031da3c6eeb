"""Weights & Biases projects, through the genuine client: :func:`plan` what a fetch would do, then :func:`read` it.

Nothing of wandb is imported before :func:`plan` found a key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from openrlb.sources.wandb.client import UnreachableError, key_available, require_key
from openrlb.sources.wandb.query import KnownRun, Plan, WandbQuery, parse_source
from openrlb.types import RunBatch, Skipped

__all__ = [
    "KnownRun", "Plan", "UnreachableError", "WandbQuery", "end_service", "key_available", "parse_source", "plan", "read",
    "require_key",
]  # fmt: skip


def plan(query: WandbQuery, known: Mapping[tuple[str, str], KnownRun]) -> Plan:
    """Lists a project's runs and says what fetching them would take; see :func:`openrlb.sources.wandb.planning.make_plan`.

    Args:
        query: Which runs.
        known: What the store has, by (source, run).

    Raises:
        NetworkError: No key, a refused one, or no connection.
        SourceError: W&B refuses the project, or there is none of that name.
        NothingMatched: No run fits W&B's part of the selection.
        MapError: The algorithm, environment or return of no run can be told.
    """
    from openrlb.sources.wandb.planning import make_plan

    return make_plan(query, known)


def read(query: WandbQuery, plan: Plan, on_run: Callable[[str], None] | None = None) -> Iterator[RunBatch | Skipped]:
    """Fetches the runs of a plan that are new or changed, several at once.

    Args:
        query: The query that the plan was made for.
        plan: The plan; it is used up.
        on_run: Called with each run's name as it is complete, for a progress display.

    Returns:
        An iterator over complete runs, in the order of arrival, and what was left out and why. Stopping it early, or an
        interrupt, loses only runs that are not yet complete: store what it gives as it comes.
    """
    from openrlb.sources.wandb.reading import read_plan

    return read_plan(query, plan, on_run)


def end_service() -> None:
    """Ends wandb's own process (some 40 MB) where no run of the caller's is active; the next plan starts it again.

    For the command line; a notebook may leave it to the end of Python.
    """
    import sys

    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is None:
        wandb.teardown()
