"""A folder that holds one run's logs: monitor files, ``evaluations.npz`` and a logger's table, with or without rl_zoo3's settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from openrlb.errors import OpenrlbError
from openrlb.sources import monitor
from openrlb.sources.evaluations import is_evaluations, read_evaluations
from openrlb.sources.files import listing
from openrlb.sources.identity import iso_time, run_id
from openrlb.sources.monitor import MonitorFile, header_of, read_monitor
from openrlb.sources.progress import LoggerFormat, logger_of, read_progress
from openrlb.sources.protocol import Reading, Record
from openrlb.sources.run_identity import ATARI_FRAME_SKIP, Layout, UnknownRun, counts_frames, identify, layout_of
from openrlb.sources.zoo import Settings, find_settings
from openrlb.types import MetricBatch, Run, RunBatch, Skipped, StepUnit


@dataclass(slots=True)
class Logs:
    """The log files of one run.

    Attributes:
        place: The folder, or the file where one file is a run of its own.
        monitors: Monitor files.
        evaluations: What ``EvalCallback`` wrote, or None.
        progress: A logger's table and its format, or None.
    """

    place: Path
    monitors: list[Path] = field(default_factory=list)
    evaluations: Path | None = None
    progress: tuple[Path, LoggerFormat] | None = None


@dataclass(slots=True)
class Content:
    """What was read of one run's logs.

    Attributes:
        monitors: The monitor files.
        batches: The metrics of the other files.
        impl: The implementation whose logs these are.
        stepped: Whether ``batches`` stand at training steps.
        notes: What was noticed.
        problems: Files that could not be read, or not whole.
    """

    monitors: list[MonitorFile] = field(default_factory=list)
    batches: list[MetricBatch] = field(default_factory=list)
    impl: str = "sb3"
    stepped: bool = False
    notes: list[str] = field(default_factory=list)
    problems: list[Skipped] = field(default_factory=list)


class RunFolderSource:
    """Folders of Stable-Baselines3, rl_zoo3, sbx, OpenAI baselines and Spinning Up."""

    name = "run folder"

    def recognises(self, path: Path) -> bool:
        """Whether a folder, or a single file, holds such logs."""
        if path.is_dir():
            return bool(find_logs(path))
        return is_log(path)

    def read(self, path: Path, reading: Reading) -> Iterator[Record]:
        """Reads the runs of one folder, without its sub-folders, and marks the files as taken."""
        for logs in find_logs(path):
            reading.run_folders.add(path)
            reading.taken.update(logs.monitors)
            reading.taken.update(file for file in (logs.evaluations, logs.progress and logs.progress[0]) if file)
            yield from _read_logs(logs, reading)


def is_log(path: Path) -> bool:
    """Whether a file is one of a run's logs, by its content."""
    try:
        return _kind(path) is not None
    except OSError:
        return False


def _kind(path: Path) -> str | LoggerFormat | None:
    """What kind of log a file is."""
    name = path.name.lower()
    if name.endswith(".npz"):
        return "evaluations" if is_evaluations(path) else None
    if name.endswith(".csv") or name == "progress.txt":
        return "monitor" if header_of(path) is not None else logger_of(path)
    return None


def find_logs(folder: Path) -> list[Logs]:
    """The runs in one folder. All monitor files are one run; so are they with a single evaluation file and logger table.

    Of several logger tables or evaluation files, each is a run of its own, unless one has the logger's own name.
    """
    whole = Logs(folder)
    evaluations: list[Path] = []
    tables: list[tuple[Path, LoggerFormat]] = []
    for path in listing(folder, folder).files:
        try:
            kind = _kind(path)
        except OSError:
            continue  # the walk names it
        if kind == "monitor":
            whole.monitors.append(path)
        elif kind == "evaluations":
            evaluations.append(path)
        elif isinstance(kind, LoggerFormat):
            tables.append((path, kind))
    own = [path for path in evaluations if len(evaluations) == 1 or path.name == "evaluations.npz"]
    own_tables = [item for item in tables if len(tables) == 1 or item[0].stem == "progress"]
    whole.evaluations = own[0] if own else None
    whole.progress = own_tables[0] if own_tables else None
    found = [whole] if whole.monitors or whole.evaluations or whole.progress else []
    found += [Logs(path, evaluations=path) for path in evaluations if path != whole.evaluations]
    found += [Logs(item[0], progress=item) for item in tables if item != whole.progress]
    return found


def _read_logs(logs: Logs, reading: Reading) -> Iterator[Record]:
    """Reads one run's files; one that cannot be read does not keep the others from being read."""
    content = _load(logs, reading)
    yield from content.problems
    environments = list(dict.fromkeys(file.env for file in content.monitors))
    settings = find_settings(logs.place, [env for env in environments if env]) if logs.place.is_dir() else Settings()
    for file in settings.files:
        reading.taken.add(file)
        reading.on_file(file)
    for file, reason in settings.problems:
        content.notes.append(f"{file.name} was not read: {reason}")
        yield Skipped(reading.location(file), reason, damaged=True)
    if len(environments) < 2:
        yield from _runs(logs, content, settings, reading, environments[0] if environments else None)
        return
    # monitor files of several environments cannot be one run: each environment is one, the other logs are another
    rest = replace(content, monitors=[])
    if rest.batches:
        yield from _runs(logs, rest, settings, reading, None)
    for env in environments:
        part = Content([file for file in content.monitors if file.env == env])
        yield from _runs(logs, part, replace(settings, env=None), reading, env, split=True)


def _load(logs: Logs, reading: Reading) -> Content:
    """Reads the files of one run."""
    content = Content()

    def attempt(path: Path) -> Iterator[Path]:
        reading.on_file(path)
        try:
            yield path
        except (OpenrlbError, OSError) as error:
            reason = error.why if isinstance(error, OpenrlbError) else f"it cannot be read: {error.strerror or error}"
            content.problems.append(Skipped(reading.location(path), reason, damaged=True))

    del attempt
    for path in logs.monitors:
        with _problems(path, content, reading):
            found = read_monitor(path)
            content.monitors.append(found)
            if found.bad_rows:
                content.problems.append(Skipped(reading.location(path), f"{found.bad_rows} rows could not be read", damaged=True))
    if logs.evaluations:
        with _problems(logs.evaluations, content, reading):
            content.batches += read_evaluations(logs.evaluations)
            content.stepped = True
    if logs.progress:
        path, logger = logs.progress
        with _problems(path, content, reading):
            batches, notes, bad = read_progress(path, logger)
            known = {batch.metric.name for batch in content.batches}
            twice = [batch.metric.name for batch in batches if batch.metric.name in known]
            content.batches += [batch for batch in batches if batch.metric.name not in known]
            content.notes += notes
            content.notes += [f"{name} is in {path.name} too; the values of evaluations.npz are taken" for name in twice]
            content.impl, content.stepped = logger.impl, True
            if bad:
                content.problems.append(Skipped(reading.location(path), "; ".join(notes), damaged=True))
    return content
