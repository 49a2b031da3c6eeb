"""A finished study that several tests look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from typer.testing import Result

from openrlb_hpo.records import StudySettings

BARE = StudySettings("walk", "fake", "s", "l", ("Line-v0",), 50, {}, "small", "d", test_seeds=1)
"""Settings of a study that no database holds."""


@dataclass(frozen=True)
class Studied:
    """A finished study: tuned, confirmed and tested.

    Attributes:
        home: Where it lies.
        words: The command, typed where its files lie.
        files: The files that it names.
        said: What the command said.
        name: The study's name.
    """

    home: Path
    words: tuple[str, ...]
    files: dict[str, str]
    said: Result
    name: str
