"""What a log-folder source is: what it is asked, what it yields, and the limits that every source keeps."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias

from openrlb.errors import MapError, UsageError
from openrlb.sources.mapping import Map
from openrlb.types import RunBatch, Selection, Skipped, StepUnit
from openrlb.words import counted

MAX_TABLE_BYTES = 4 * 1024**3
"""The largest table that is read, unpacked."""
MAX_DOCUMENT_BYTES = 512 * 1024**2
"""The largest JSON document: it is held in memory as Python objects."""
MAX_SETTINGS_BYTES = 4 * 1024**2
"""The largest settings file (``args.yml``, ``config.json``, a bundle's manifest)."""
MAX_COLUMNS = 10_000
"""More columns than this are not a log."""
MAX_RUNS_PER_TABLE = 200_000
"""A map that makes more runs than this of one table names the wrong column."""
MAX_VALUES = 500_000_000
"""The most values (rows times columns) that are held in memory at once: a small file can claim any number of them."""
MAX_ROWS = 50_000_000
"""The most rows of one table, and entries of one array: telling its runs apart takes some 80 bytes for each."""
STEP_LIMIT = 2**62
"""Steps lie between this and its negative, exclusive."""
MAX_SEED = 2**63 - 1
"""The largest seed; the smallest is 0."""
MAX_FRAMES_PER_STEP = 1_000_000


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How a folder or file is read.

    Attributes:
        map: Every ``--map`` argument as typed; the grammar is in :mod:`openrlb.sources.mapping`.
        project: The runs' project; default the name of the fetched folder.
        already_normalized: The normalisation that the values already carry.
        step_every: The training steps between two entries of an array's ``step`` axis.
        axes: The names of an array's axes, for instance ``("seed", "step")``.
        step_unit: What the steps count, in the user's word; default what the format implies, else ``unknown``.
        frames_per_step: Environment frames for each agent step.
    """

    map: tuple[str, ...] = ()
    project: str | None = None
    already_normalized: str | None = None
    step_every: int | None = None
    axes: tuple[str, ...] = ()
    step_unit: StepUnit | None = None
    frames_per_step: int | None = None


@dataclass(frozen=True, slots=True)
class Guess:
    """The map that was used for a table although the user did not type it, or only in part.

    Attributes:
        location: The first file that it was used for, relative to the fetched root.
        map: The whole map, to paste after ``--map``.
    """

    location: str
    map: str


@dataclass(frozen=True, slots=True)
class Unread:
    """Runs that were not read because none of them is selected.

    Attributes:
        location: The first file that has them.
        env: Their environment.
        algo: Their algorithm.
        runs: How many they are.
    """

    location: str
    env: str
    algo: str
    runs: int


Record: TypeAlias = RunBatch | Skipped | Guess | Unread


@dataclass(slots=True)
class Reading:
    """One fetch of one folder or file: what the sources share while they read it.

    Attributes:
        root: The fetched folder, resolved; for a file, its parent.
        root_name: The root's own name as the user sees it.
        options: How to read.
        map: The parsed ``options.map``.
        project: The project of all runs.
        on_file: Called with each file that is opened for reading.
        named: The file that was named, or None where a folder was.
        taken: Files that a source already used.
        run_folders: Folders that made a run of their own.
        guesses: The guessed maps that were already yielded.
        unfit: Why the map did not fit a file, in the order they were met.
        tracked: Every ``.wandb`` file below the root by its name; None before the first was met.
        tracked_ids: The ids of the tracked runs that were read.
        unread: Files of types that are never opened.
        wanted: Which runs are wanted, for sources that can leave others unread; every run for None.
        unheld: Errors for keys that the user named for a field and a tracked run lacks, by field; they count where no run has it.
    """

    root: Path
    root_name: str
    options: ReadOptions
    map: Map
    project: str
    on_file: Callable[[Path], None]
    named: Path | None = None
    taken: set[Path] = field(default_factory=set)
    run_folders: set[Path] = field(default_factory=set)
    guesses: set[str] = field(default_factory=set)
    unfit: list[MapError] = field(default_factory=list)
    tracked: dict[str, list[Path]] | None = None
    tracked_ids: set[str] = field(default_factory=set)
    unread: list[Path] = field(default_factory=list)
    unheld: dict[str, MapError] = field(default_factory=dict)
    wanted: Selection | None = None

    def location(self, path: Path) -> str:
        """The path relative to the root, with forward slashes; the root itself is ``.``."""
        return path.relative_to(self.root).as_posix()

    def components(self, path: Path) -> tuple[str, ...]:
        """The path's components with the root's own name first: what a ``path:`` pattern is matched against."""
        return (self.root_name, *path.relative_to(self.root).parts)

    def inside_run_folder(self, folder: Path) -> bool:
        """True where the folder, or one above it, made a run of its own."""
        return any(place in self.run_folders for place in (folder, *folder.parents))


def kept(count: int, thing: str) -> str:
    """How much of something damaged is kept.

    >>> kept(1, "row"), kept(4, "value")
    ('1 row is kept', '4 values are kept')
    """
    return f"{counted(count, thing)} {'is' if count == 1 else 'are'} kept"


class Source(Protocol):
    """One kind of place that runs come from."""

    name: str

    def recognises(self, path: Path) -> bool:
        """Whether this source reads the folder or file, judged by its content."""
        ...

    def read(self, path: Path, reading: Reading) -> Iterator[Record]:
        """Reads the folder or file.

        Raises:
            MapError: The map does not fit what is there.
            SourceError: It cannot be read.
            OSError: The system refuses it.
        """
        ...


def start(path: Path, options: ReadOptions, on_file: Callable[[Path], None] | None, wanted: Selection | None = None) -> Reading:
    """Opens a fetch: resolves the root, parses the map, names the project.

    Raises:
        FileNotFoundError: There is nothing at the path.
        MapError: The map is not well formed.
        UsageError: ``frames_per_step`` is out of range.
    """
    frames = options.frames_per_step
    if frames is not None and not 1 <= frames <= MAX_FRAMES_PER_STEP:
        why = f"{frames} frames to an agent step"
        raise UsageError("--frames-per-step is not usable", why, f"give a whole number from 1 to {MAX_FRAMES_PER_STEP:,}")
    resolved = path.resolve(strict=True)
    named = None if resolved.is_dir() else resolved
    root = resolved if named is None else resolved.parent
    visible = Path(os.path.abspath(path))  # noqa: PTH100 -- normalises "..", keeps the name of a linked folder
    root_name = (visible if named is None else visible.parent).name
    meaningless = {"", "tmp", "temp", "data", "log", "logs", "run", "runs", "result", "results", "output", "outputs"}
    project = root_name or "root"
    if root_name.lower() in meaningless:  # every experiment has a folder of that name
        above = (visible if named is None else visible.parent).parent.name
        project = "/".join(part for part in (above, root_name) if part) or "root"
    parsed = Map.parse(options.map)
    return Reading(
        root, root_name, options, parsed, options.project or project, on_file or (lambda _: None), named, wanted=wanted
    )
