"""A run as others may read it: on a terminal, whose text ends in an issue, in a notebook that is pushed, in a table.

What is stored stays as it is; ``openrlb query`` and the results' own values have it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from openrlb.api.parameters import Departure, Parameters
from openrlb.scrubbing import scrubbed
from openrlb.sources.bundle.removal import NOTE, Remover
from openrlb.store import RunRow
from openrlb.types import Run

HIDDEN = "not shown: {}; openrlb query prints what is stored"


def clean_row(row: RunRow, remover: Remover) -> RunRow:
    """A run without secrets and personal data, as a bundle of it would have it; a note of it says what was taken out.

    Args:
        row: The run.
        remover: What takes them out.
    """
    run = remover.cleaned_run(row.record)
    changed = {name: getattr(run, name) for name in row.columns if getattr(run, name, None) != getattr(row.record, name, None)}
    return RunRow({**scrubbed(row.columns), **changed}, run, row.fetched)


def hidden_notes(run: Run, was: Run) -> Run:
    """A cleaned run whose last note says where a reader sees what is not shown.

    Args:
        run: The cleaned run.
        was: The run as it is stored.
    """
    if len(run.notes) == len(was.notes):
        return run
    *notes, told = run.notes
    return replace(run, notes=(*notes, HIDDEN.format(told.removeprefix(NOTE))))


def clean_parameters(found: Parameters, remover: Remover) -> Parameters:
    """What sets a run apart, without secrets and personal data.

    Args:
        found: The parameters.
        remover: What takes them out.
    """
    default = found.from_default
    return replace(
        found,
        from_default=None if default is None else tuple(_departure(one, remover) for one in default),
        asked=None if found.asked is None else remover.value(dict(found.asked)),
        from_others=tuple(_departure(one, remover) for one in found.from_others),
    )


def _departure(one: Departure, remover: Remover) -> Departure:
    """A parameter's two sides; of the runs beside it the values that became equal are counted together."""
    ((key, value),) = remover.value({one.key: one.value}).items()
    if not isinstance(one.other, Mapping):
        ((_, other),) = remover.value({one.key: one.other}).items()
        return Departure(key, value, other)
    counts: Counter[Any] = Counter()
    for text, count in one.other.items():
        counts[next(iter(remover.value({one.key: text}).values()))] += count
    return Departure(key, value, dict(counts))
