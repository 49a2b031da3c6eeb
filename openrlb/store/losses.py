"""Losses: what a rebuild could not find, told by the names of runs where anything still tells them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from openrlb.store.generations import Generation
from openrlb.store.layout import Layout
from openrlb.store.recovery import Key, Recovery

NAMED = 20
"""So many runs are named in one line; of more the number is told."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the catalog that is replaced told.

    Attributes:
        files: Data files that ought to be there.
        runs: Its runs' keys and environments, by their ids.
        is_readable: Whether it could be read.
    """

    files: set[str] = field(default_factory=set)
    runs: Mapping[int, tuple[Key, str]] = field(default_factory=dict)
    is_readable: bool = False


def losses(layout: Layout, recovery: Recovery, remembered: Remembered) -> list[str]:
    """Says which runs are lost, of which an older version is left, and whose hardware series or kept files are lost.

    Args:
        layout: The store.
        recovery: What could be found.
        remembered: What the old catalog told.
    """
    newest = {stored.key: run_id for run_id, stored in recovery.runs.items()}
    generations = [*recovery.live, *recovery.retired, *recovery.left]
    known = [(run_id, key, env) for run_id, (key, env) in remembered.runs.items()]
    known += [(run_id, stored.key, stored.run.env) for one in generations for run_id, stored in one.records.items()]
    lost = {key: env for _, key, env in known if key not in newest}
    older = {key: env for run_id, key, env in known if newest.get(key, run_id) < run_id}
    gone = {run_id for run_id, key, _ in known if newest.get(key, -1) < run_id}
    ids, apart = {run_id for run_id, _, _ in known}, set(recovery.apart)
    told = []
    for one in recovery.left:
        if one.parts or not remembered.is_readable:
            strangers = set() if remembered.is_readable else one.ids() - ids
            told.append(f"{layout.relative(one.name)}: {_became(one, gone, strangers, apart)}")
    said = {
        "lost:": lost,
        "only an older version is left of": older,
        "hardware series are lost of": _keyed(recovery, recovery.without_series),
        "files kept are lost of": _keyed(recovery, recovery.without_files),
    }
    return told + [f"{what} {_named(runs)}; fetch them again" for what, runs in said.items() if runs]


def _keyed(recovery: Recovery, ids: Iterable[int]) -> dict[Key, str]:
    """The environments of some runs by their keys."""
    return {recovery.runs[run_id].key: recovery.runs[run_id].run.env for run_id in ids}


def _became(one: Generation, gone: set[int], strangers: set[int], apart: set[int]) -> str:
    """What became of a generation that is given up."""
    if not one.parts:
        return "nothing of what it held can be read; fetch again what is not listed any more"
    if strangers:
        return f"the records of {len(strangers):,} runs are lost; fetch again what is not listed any more"
    if one.ids() & gone:
        return "what is left of it does not make every run of it"
    return "its runs were put together again from what is left" if one.ids() & apart else "other files hold its runs"


def _named(runs: Mapping[Key, str]) -> str:
    """Runs by name and environment."""
    named = [f"{run} ({env})" if env else run for (_, run), env in sorted(runs.items())]
    more = f" and {len(named) - NAMED:,} more" if len(named) > NAMED else ""
    return f"{len(named):,} run{'s' if len(named) > 1 else ''}: {', '.join(named[:NAMED])}{more}"
