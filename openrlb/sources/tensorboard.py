"""TensorBoard event files: a folder with such files is one run; several files in it are joined in time order."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from openrlb.sources.files import listing, open_regular
from openrlb.sources.guess import absent, shown
from openrlb.sources.identity import iso_time, run_id
from openrlb.sources.mapping import Map
from openrlb.sources.metrics import metric
from openrlb.sources.protocol import STEP_LIMIT, Reading, Record, kept
from openrlb.sources.tensorboard_events import Damage, events, starts_as_event_file
from openrlb.sources.tensorboard_log import Events, joined, read_events
from openrlb.sources.tracked import Series, Tracked, implementation, run_of
from openrlb.types import MetricBatch, Skipped

NAME = ".out.tfevents."
HEAD_BYTES = 4096
_CLEANRL = re.compile(r"[^/]+?__[^/]+?__\d+(__\d[\w.:-]*)?")
_SB3 = re.compile(r"[A-Za-z][A-Za-z0-9]*_\d+")
_HPARAMS_FOLDER = re.compile(r"\d+\.\d+")


class TensorboardSource:
    """Folders with TensorBoard event files."""

    name = "tensorboard"

    def recognises(self, path: Path) -> bool:
        """Whether a file is an event file, or a folder holds one."""
        return bool(event_files(path)) if path.is_dir() else is_event_file(path)

    def read(self, path: Path, reading: Reading) -> Iterator[Record]:
        """Reads the event files of one folder as one run.

        Raises:
            MapError: Algorithm or environment are not known, or the map does not fit.
            SourceError: The settings are no settings.
        """
        files = [file for file in event_files(path) if file not in reading.taken]
        if not files:
            return
        beside = _parts(path)
        reading.taken.update((*files, *beside))
        reading.run_folders.add(path)
        found, problems = _read_all([*files, *beside], reading)
        found.files = len(files)
        yield from problems
        if found.tags:
            yield from run_of(_tracked(found, path, reading), reading)
        elif not found.damage:
            only = f", only {shown(sorted(found.others))}" if found.others else ""
            yield Skipped(reading.location(path), f"its TensorBoard event files hold no scalars{only}")


def read_batches(files: Sequence[Path], reading: Reading) -> tuple[list[MetricBatch], list[str], list[Skipped]]:
    """The scalars of event files that lie beside a run's other logs, with notes and what could not be read."""
    read, problems = _read_all(files, reading)
    notes: list[str] = []
    series = _series(read, Map(), notes)
    batches = [MetricBatch(metric(tag), found.steps, found.values, found.times_ms) for tag, found in series.items()]
    return batches, notes, problems


def _read_all(files: Sequence[Path], reading: Reading) -> tuple[Events, list[Skipped]]:
    """Several event files of one run as one, and what could not be read of them."""
    parts: list[Events] = []
    problems: list[Skipped] = []
    for file in files:
        reading.on_file(file)
        try:
            found = read_events(file)
        except OSError as error:
            reason = f"it cannot be read: {error.strerror or error}"
            problems.append(Skipped(reading.location(file), reason, damaged=True))
            continue
        if file.parent != files[0].parent and not found.config:  # add_scalars: the sub-folder's name tells the tags apart
            found.tags = {f"{tag}{file.parent.name[len(tag) :]}": columns for tag, columns in found.tags.items()}
        parts.append(found)
        if found.damage:
            problems.append(Skipped(reading.location(file), f"{found.damage}; {kept(found.count, 'value')}", damaged=True))
    return joined(parts), problems


def is_event_file(path: Path) -> bool:
    """Whether a file is an event file by its first record; a damaged or empty one by its name.

    Raises:
        OSError: The file cannot be opened.
    """
    with open_regular(path) as handle:
        head = handle.read(HEAD_BYTES)
    return starts_as_event_file(head) or (NAME in path.name and (b"\0" in head or not head))


def event_files(folder: Path) -> list[Path]:
    """The event files in a folder, by name.

    Raises:
        OSError: The folder cannot be listed.
    """
    found = []
    for path in listing(folder, folder).files:
        try:
            if is_event_file(path):
                found.append(path)
        except OSError:
            continue  # the walk over the folder's other files names it
    return found


def _parts(folder: Path) -> list[Path]:
    """Event files in sub-folders that torch's writer made for the run itself.

    ``add_hparams`` writes into a sub-folder named by the time, ``add_scalars`` into ``<tag>_<name>``.
    """
    found: list[Path] = []
    for inner in listing(folder, folder).folders:
        files = event_files(inner)
        if _HPARAMS_FOLDER.fullmatch(inner.name) or (files and all(_of_add_scalars(file) for file in files)):
            found += files
    return found


def _of_add_scalars(file: Path) -> bool:
    """Whether all tags of an event file name the folder that it is in; most other files are told by their first tag."""
    seen = False
    try:
        with open_regular(file) as handle:
            for event in events(handle, Damage()):
                for value in event.summary.value:
                    tag = value.tag.decode("utf-8", errors="replace").replace("/", "_")
                    if not file.parent.name.startswith(f"{tag}_"):
                        return False
                    seen = True
    except OSError:
        return False
    return seen


def _tracked(found: Events, folder: Path, reading: Reading) -> Tracked:
    """The run that the events tell of."""
    notes = list(found.notes)
    if found.files > 1:
        notes.append(f"{found.files} event files of the folder are joined in time order")
    if found.others:
        notes.append(f"tags that hold no scalars are not read: {shown(sorted(found.others))}")
    location = reading.location(folder)
    series = _series(found, reading.map, notes)
    cleanrl = _CLEANRL.fullmatch(folder.name) is not None and reading.options.step_unit is None
    if cleanrl and not implementation(series):
        notes.append("the folder is named as CleanRL names it: its steps are taken as agent steps (--step-unit says otherwise)")
    return Tracked(
        run=run_id(folder),
        place=folder,
        location=location,
        config=found.config,
        series=series,
        name=reading.root_name or folder.name if location == "." else location,
        project=reading.project,
        created=iso_time(found.started),
        axis_unit="agent_step" if cleanrl else "unknown",
        path_guess=_path_guess(reading.components(folder)),
        notes=notes,
    )


def _path_guess(components: tuple[str, ...]) -> str | None:
    """A pattern for the names of CleanRL's and rl_zoo3's TensorBoard folders, or None.

    >>> _path_guess(("runs", "Hopper-v4__ppo__1__1700000000")), _path_guess(("tb", "Hopper-v4", "PPO_1"))
    ('{env}__{algo}__{seed}__{_}', '{env}/{algo}_{_}')
    """
    last = components[-1]
    if _CLEANRL.fullmatch(last) and last.count("__") in (2, 3):
        return "{env}__{algo}__{seed}__{_}" if last.count("__") == 3 else "{env}__{algo}__{seed}"
    if _SB3.fullmatch(last) and len(components) > 1 and re.search(r"-v\d+$", components[-2]):
        return "{env}/{algo}_{_}"
    return None


def _series(found: Events, given: Map, notes: list[str]) -> dict[str, Series]:
    """Every tag on the axis of its events' steps, or on that of another tag where the map says so.

    Raises:
        MapError: The map's step names no tag.
    """
    mapped = given.fields.get("step")
    axis = found.tags.get(mapped.text) if mapped is not None else None
    if mapped is not None and axis is None and mapped.text not in ("step", "global_step"):
        raise absent(mapped.text, tuple(found.tags))
    if "time" in given.fields:
        notes.append("the map's time= is not needed here: every event has its own")
    series: dict[str, Series] = {}
    back: list[str] = []
    for tag, (steps_logged, values_logged, seconds) in found.tags.items():
        steps, values = np.array(steps_logged, np.int64), np.array(values_logged, np.float64)
        clock = np.array(seconds, np.float64) - (found.started or 0.0)
        if axis is not None and mapped is not None:
            if tag == mapped.text:
                continue
            steps, kept = _on_axis(steps, axis)
            if not kept.all():
                lost = int((~kept).sum())
                notes.append(f"{tag}: {lost:,} of {len(kept):,} values stand at no whole {mapped.text} and are left out")
            steps, values, clock = steps[kept], values[kept], clock[kept]
        inside = (steps > -STEP_LIMIT) & (steps < STEP_LIMIT)
        if not inside.all():
            lost = int((~inside).sum())
            notes.append(f"{tag}: {lost:,} of {len(inside):,} values stand at steps of 2^62 and more and are left out")
            steps, values, clock = steps[inside], values[inside], clock[inside]
        if np.any(np.diff(steps) < 0):
            back.append(tag)
        sane = bool((np.abs(clock) < 1e12).all())
        series[tag] = Series(steps, values, np.round(clock * 1000).astype(np.int64) if sane else None)
    if back:
        notes.append(f"steps go back, as after a restart; all values are kept ({shown(back)})")
    return series


def _on_axis(steps: Any, axis: tuple[array[int], array[float], array[float]]) -> tuple[Any, Any]:  # noqa: ANN401 -- arrays
    """Steps looked up in another tag that was logged at the same events' steps, and where that was possible."""
    at, values = np.array(axis[0], np.int64), np.array(axis[1], np.float64)
    order = np.argsort(at, kind="stable")
    place = np.clip(np.searchsorted(at[order], steps, side="right") - 1, 0, None)
    found = values[order][place]
    kept = (at[order][place] == steps) & np.isfinite(found) & (np.abs(found) < 2**62)
    kept &= np.equal(found, np.floor(found), where=kept, out=np.zeros(len(steps), bool))
    return np.where(kept, found, 0).astype(np.int64), kept
