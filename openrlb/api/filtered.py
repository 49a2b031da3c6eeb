"""rlops' filter strings over stored runs: the same words select online (``fetch``) and offline (``list``, ``plot``)."""

from __future__ import annotations

from collections.abc import Sequence

from openrlb.errors import NothingMatched
from openrlb.store import RunRow


def filtered(rows: Sequence[RunRow], words: Sequence[str]) -> list[RunRow]:
    """The runs that rlops' filter strings mean; all of them where there are no strings.

    Args:
        rows: Stored runs.
        words: Headers and experiments, as ``fetch --orlb-filter`` takes them.

    Raises:
        UsageError: A string that is no filter, or one that only W&B can judge (``user=``).
        NothingMatched: An experiment that no run is one of.
    """
    if not words:
        return list(rows)
    from dataclasses import replace

    from openrlb.sources.orlb_filter import parse

    found: dict[int, RunRow] = {}
    for group in parse(words):
        for experiment in group.experiments:
            alone = replace(group, experiments=(experiment,))
            fitting = [row for row in rows if alone.fits(row.record)]
            if not fitting:
                command = "openrlb fetch " + " ".join(f'--orlb-filter "{word}"' for word in alone.words())
                raise NothingMatched(f"no stored run is {experiment}", f"of {group.entity}/{group.project}", f"run: {command}")
            found |= {id(row): row for row in fitting}
    return [row for row in rows if id(row) in found]
