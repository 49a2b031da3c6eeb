"""A folder that holds one run's logs: monitor files, ``evaluations.npz``, a logger's table, and rl_zoo3's settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from openrlb.sources.identity import iso_time, run_id
from openrlb.sources.monitor import merge, seed_in_name
from openrlb.sources.protocol import Reading, Record
from openrlb.sources.run_identity import ATARI_FRAME_SKIP, Identity, counts_frames, identify
from openrlb.sources.run_logs import Content, Logs, find_logs, is_log, load
from openrlb.sources.zoo import Settings, find_settings
from openrlb.types import MetricBatch, Run, RunBatch, Skipped, StepUnit


class RunFolderSource:
    """Folders of Stable-Baselines3, rl_zoo3, sbx, OpenAI baselines and Spinning Up."""

    name = "run folder"

    def recognises(self, path: Path) -> bool:
        """Whether a folder, or a single file, holds such logs."""
        return bool(find_logs(path)) if path.is_dir() else is_log(path)

    def read(self, path: Path, reading: Reading) -> Iterator[Record]:
        """Reads the runs of one folder, without its sub-folders, and marks the files as taken.

        Where a file was named, only the run that it belongs to is read.

        Raises:
            MapError: The environment is not known, or the map does not fit.
        """
        named = reading.named
        found = [logs for logs in find_logs(path) if named is None or named in logs.files()]
        for logs in found:
            reading.run_folders.add(path)
            reading.taken.update(logs.files())
        for logs in found:
            yield from _read_logs(logs, reading)


def _read_logs(logs: Logs, reading: Reading) -> Iterator[Record]:
    """Reads one run's files, or one run for each environment where they cannot be one."""
    content = load(logs, reading)
    yield from content.problems
    environments = list(dict.fromkeys(file.env for file in content.monitors))
    settings = find_settings(logs.place, [env for env in environments if env]) if logs.place.is_dir() else Settings()
    for file in settings.files:
        reading.taken.add(file)
        reading.on_file(file)
    for file, reason in settings.problems:
        content.notes.append(f"{file.name} was not read: {reason}")
        yield Skipped(reading.location(file), reason, damaged=True)
    if settings.seed is None and len(logs.monitors) == 1:
        settings.seed = seed_in_name(logs.monitors[0])
    if len(environments) < 2:
        yield from _run(logs, content, settings, reading, environments[0] if environments else None)
        return
    rest = replace(content, monitors=[])
    if rest.batches:
        yield from _run(logs, rest, settings, reading, None)
    for env in environments:
        part = Content([file for file in content.monitors if file.env == env])
        part.notes.append("the folder holds monitor files of several environments: each is read as a run")
        yield from _run(logs, part, replace(settings, env=None), reading, env, split=True)


def _run(
    logs: Logs, content: Content, settings: Settings, reading: Reading, env: str | None, *, split: bool = False
) -> Iterator[RunBatch | Skipped]:
    """One run of what was read, or the reason why there is none."""
    if not content.monitors and not content.batches:
        if not content.problems:
            yield Skipped(reading.location(logs.place), "its logs hold no values")
        return
    identity = identify(logs.place, env, settings, content.impl, reading)
    batches, step_unit, frames_per_step = _metrics(content, identity, reading)
    batches = _distinct(batches, content)
    if not batches:
        yield Skipped(reading.location(logs.place), "no episode ended in it: its logs hold no values")
        return
    started = [file.t_start for file in content.monitors]
    yield RunBatch(
        Run(
            source="folder",
            run=run_id(logs.place, *([env] if split else [])),
            project=reading.project,
            name=identity.name or _name(logs.place, reading),
            algo=identity.algo,
            env=identity.env,
            impl=identity.impl,
            seed=identity.seed,
            config=identity.config,
            tags=identity.tags,
            step_unit=step_unit,
            frames_per_step=frames_per_step,
            normalized=reading.options.already_normalized,
            created=iso_time(min(started)) if started else None,
            location=reading.location(logs.place),
            notes=tuple(dict.fromkeys(identity.notes + content.notes)),
        ),
        tuple(batches),
    )


def _distinct(batches: list[MetricBatch], content: Content) -> list[MetricBatch]:
    """The metrics that hold values, each once."""
    kept: dict[tuple[str, str], MetricBatch] = {}
    for batch in batches:
        if len(batch.values) and kept.setdefault((batch.metric.name, batch.metric.kind), batch) is not batch:
            content.notes.append(f"several files log {batch.metric.name}: the first is taken")
    return list(kept.values())


def _metrics(content: Content, identity: Identity, reading: Reading) -> tuple[list[MetricBatch], StepUnit, int | None]:
    """All metrics of a run on one axis of steps, with what the steps count."""
    said, frames = reading.options.step_unit, reading.options.frames_per_step
    if not content.monitors:
        return content.batches, said or "agent_step", frames
    if identity.evaluation and content.batches:
        content.notes.append(
            "its monitor files are left out: their episodes stand at no training step, those of the other logs do"
        )
        return content.batches, said or "agent_step", frames
    batches, notes = merge(content.monitors, "eval" if identity.evaluation else "episode", with_steps=not identity.evaluation)
    content.notes += notes
    if identity.evaluation:
        return batches, "none", frames
    if said is not None or not counts_frames(identity.env):
        return batches + content.batches, said or "agent_step", frames
    skip = frames or ATARI_FRAME_SKIP
    if not content.batches:
        content.notes.append(f"Atari's frame skip stands outside the monitor: the steps are frames, {skip} to an agent step")
        return batches, "frame", skip
    content.notes.append(
        f"the monitor counts frames: its steps are divided by {skip} to stand beside the evaluations' agent steps"
    )
    return [replace(batch, steps=batch.steps // skip) for batch in batches] + content.batches, "agent_step", skip


def _name(place: Path, reading: Reading) -> str:
    """A name for people: the place below the root, or the root's own name."""
    location = reading.location(place)
    return reading.root_name or place.name if location == "." else location
