"""The log files of one run: which files of a folder they are, and what is in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from openrlb.errors import OpenrlbError
from openrlb.sources.evaluations import is_evaluations, read_evaluations
from openrlb.sources.files import listing
from openrlb.sources.monitor import MonitorFile, header_of, is_environment, read_monitor
from openrlb.sources.progress import LoggerFormat, logger_of, read_progress
from openrlb.sources.protocol import Reading
from openrlb.sources.tensorboard import NAME, is_event_file, read_batches
from openrlb.types import MetricBatch, Skipped


@dataclass(slots=True)
class Logs:
    """The log files of one run.

    Attributes:
        place: The folder, or the file where one file is a run of its own.
        monitors: Monitor files.
        evaluations: What ``EvalCallback`` wrote, or None.
        progress: A logger's table and its format, or None.
        events: TensorBoard event files beside the others; alone they are another source's.
    """

    place: Path
    monitors: list[Path] = field(default_factory=list)
    evaluations: Path | None = None
    progress: tuple[Path, LoggerFormat] | None = None
    events: list[Path] = field(default_factory=list)

    def files(self) -> list[Path]:
        """All files of the run."""
        single = [self.evaluations, self.progress[0] if self.progress else None]
        return [*self.monitors, *(path for path in single if path), *self.events]


@dataclass(slots=True)
class Content:
    """What was read of one run's logs.

    Attributes:
        monitors: The monitor files.
        batches: The metrics of the other files; they stand at training steps.
        impl: The implementation whose logs these are.
        notes: What was noticed.
        problems: Files that could not be read, or not whole.
    """

    monitors: list[MonitorFile] = field(default_factory=list)
    batches: list[MetricBatch] = field(default_factory=list)
    impl: str = "sb3"
    notes: list[str] = field(default_factory=list)
    problems: list[Skipped] = field(default_factory=list)


def is_log(path: Path) -> bool:
    """Whether a file is one of a run's logs, by its content."""
    try:
        return _kind(path) not in (None, "events")
    except OSError:
        return False


def _kind(path: Path) -> str | LoggerFormat | None:
    """What kind of log a file is."""
    name = path.name.lower()
    if name.endswith(".npz"):
        return "evaluations" if is_evaluations(path) else None
    if name.endswith(".csv") or name == "progress.txt":
        return "monitor" if header_of(path) is not None else logger_of(path)
    return "events" if NAME in name and is_event_file(path) else None


def find_logs(folder: Path) -> list[Logs]:
    """The runs in one folder: one vector environment's monitor files with a single evaluation file and logger table.

    Of several logger tables or evaluation files, each is a run of its own, unless one has the logger's own name. So is
    every monitor file with a name of its own (``seed0.monitor.csv``) beside others.

    Raises:
        OSError: The folder cannot be listed.
    """
    whole = Logs(folder)
    monitors: list[Path] = []
    evaluations: list[Path] = []
    tables: list[tuple[Path, LoggerFormat]] = []
    events: list[Path] = []
    for path in listing(folder, folder).files:
        try:
            kind = _kind(path)
        except OSError:
            continue  # the walk over the folder's other files names it
        if kind == "monitor":
            monitors.append(path)
        elif kind == "evaluations":
            evaluations.append(path)
        elif kind == "events":
            events.append(path)
        elif isinstance(kind, LoggerFormat):
            tables.append((path, kind))
    whole.monitors = [path for path in monitors if len(monitors) == 1 or is_environment(path)]
    whole.evaluations = next((path for path in evaluations if len(evaluations) == 1 or path.stem == "evaluations"), None)
    whole.progress = next((item for item in tables if len(tables) == 1 or item[0].stem == "progress"), None)
    whole.events = events if whole.files() else []
    found = [whole] if whole.files() else []
    found += [Logs(path, monitors=[path]) for path in monitors if path not in whole.monitors]
    found += [Logs(path, evaluations=path) for path in evaluations if path != whole.evaluations]
    found += [Logs(item[0], progress=item) for item in tables if item != whole.progress]
    return found


def load(logs: Logs, reading: Reading) -> Content:
    """Reads the files of one run; one that cannot be read does not keep the others from being read."""
    content = Content()
    for path in logs.monitors:
        with _problems_of(path, content, reading):
            monitor = read_monitor(path)
            content.monitors.append(monitor)
            if monitor.bad_rows:
                reason = f"{monitor.bad_rows} rows could not be read and are left out"
                content.problems.append(Skipped(reading.location(path), reason, damaged=True))
    if logs.evaluations:
        with _problems_of(logs.evaluations, content, reading):
            batches, beyond = read_evaluations(logs.evaluations)
            content.batches += batches
            if beyond:
                reason = f"{beyond} evaluations left out: timestep is not between -2**62 and 2**62"
                content.problems.append(Skipped(reading.location(logs.evaluations), reason, damaged=True))
    if logs.progress:
        path, logger = logs.progress
        with _problems_of(path, content, reading):
            batches, notes, bad = read_progress(path, logger)
            known = {batch.metric.name for batch in content.batches}
            content.batches += [batch for batch in batches if batch.metric.name not in known]
            twice = [batch.metric.name for batch in batches if batch.metric.name in known]
            content.notes += notes + [f"{name} is in {path.name} too; evaluations.npz is taken" for name in twice]
            content.impl = logger.impl
            if bad:
                content.problems.append(Skipped(reading.location(path), "; ".join(notes), damaged=True))
    if logs.events:
        _add_events(logs.events, content, reading)
    return content


def _add_events(files: list[Path], content: Content, reading: Reading) -> None:
    """What TensorBoard event files log beyond the run's other files."""
    batches, notes, problems = read_batches(files, reading)
    known = {batch.metric.name for batch in content.batches}
    content.batches += [batch for batch in batches if batch.metric.name not in known]
    content.notes += notes
    content.problems += problems


@contextmanager
def _problems_of(path: Path, content: Content, reading: Reading) -> Iterator[None]:
    """Turns a file that cannot be read into a named problem of its run."""
    reading.on_file(path)
    try:
        yield
    except (OpenrlbError, OSError) as error:
        reason = error.why if isinstance(error, OpenrlbError) else f"it cannot be read: {error.strerror or error}"
        content.problems.append(Skipped(reading.location(path), reason, damaged=True))
