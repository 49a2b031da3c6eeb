"""Flags that ``compare`` and ``power`` share with each other beside those of how runs are scored, and notes kept short."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

Freeze = Annotated[
    str | None, typer.Option("--freeze", metavar="NAME", help="Freeze ref:, minmax: or cdf: scores by this name, for good.")
]
Random = Annotated[
    str | None,
    typer.Option("--random", metavar="GROUP", help="What ref:GROUP puts at 0; a group called random, or a table's, by default."),
]
MergeVersions = Annotated[
    bool, typer.Option("--merge-versions", help="Make the versions of an environment one task, and say so.")
]
MixedKinds = Annotated[
    bool, typer.Option("--allow-mixed-kinds", help="Let kinds of return be compared, each label naming its kind.")
]
PER_ENVIRONMENT = ": set per environment, not variants: "


def short_notes(notes: Sequence[str]) -> tuple[str, ...]:
    """Notes for people: lists of settings that differ between environments only become one line with their counts.

    >>> short_notes(["a", "ppo: set per environment, not variants: lr, gamma", "a2c: set per environment, not variants: lr"])
    ('a', 'set per environment, not variants: 2 settings of ppo, 1 setting of a2c (--json names them)')
    """
    rest, counts = [], []
    for note in notes:
        label, found, keys = note.partition(PER_ENVIRONMENT)
        if not found:
            rest.append(note)
            continue
        count = len(keys.split(", "))
        counts.append(f"{count} setting{'s' if count > 1 else ''} of {label}")
    return (*rest, *([f"{PER_ENVIRONMENT[2:]}{', '.join(counts)} (--json names them)"] if counts else []))
