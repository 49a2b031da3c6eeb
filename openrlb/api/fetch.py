"""``fetch``: brings runs from a source into the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import openrlb
from openrlb.api.opened import opened
from openrlb.errors import NothingMatched, OpenrlbError, SourceError, StoreBusy, UsageError
from openrlb.store import FoldReport, Store, content_digest
from openrlb.types import RunBatch, Selection, Skipped

if TYPE_CHECKING:
    from openrlb.sources import ReadOptions

SAMPLE = "sample"
"""The packaged runs: what a fetch without a source takes."""

RUNS_PER_SEGMENT = 256
VALUES_PER_SEGMENT = 2_000_000


@dataclass(frozen=True, slots=True)
class FetchReport:
    """What a fetch found and did.

    Attributes:
        found: Runs that the sources hold and that fit the selection.
        new: Runs the store did not have.
        changed: Runs whose content differs from what the store had.
        unchanged: Runs the store had already.
        unselected: Runs that the sources hold but the selection leaves out.
        envs: Runs found by environment.
        skipped: Files and folders that were left out, with reasons.
        guesses: The ``--map`` words that were guessed, by file.
        notes: What was noticed in runs that were taken, as (run, note).
        quarantined: Spooled files that could not be read.
    """

    found: int
    new: int
    changed: int
    unchanged: int
    unselected: int
    envs: dict[str, int]
    skipped: tuple[Skipped, ...]
    guesses: tuple[tuple[str, str], ...]
    notes: tuple[tuple[str, str], ...]
    quarantined: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class _Collected:
    """What has come by while reading."""

    found: int = 0
    unchanged: int = 0
    unselected: int = 0
    new: set[tuple[str, str]] = field(default_factory=set)
    changed: set[tuple[str, str]] = field(default_factory=set)
    seen: set[tuple[str, str]] = field(default_factory=set)
    envs: dict[str, int] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    guesses: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    others: dict[str, set[str]] = field(default_factory=lambda: {"env": set(), "algo": set(), "impl": set()})


def fetch(
    sources: Sequence[str | Path],
    *,
    selection: Selection | None = None,
    options: ReadOptions | None = None,
    store: Store | None = None,
    dry_run: bool = False,
    on_file: Callable[[Path], None] | None = None,
) -> FetchReport:
    """Reads runs from folders or files and stores those that are new or changed.

    Args:
        sources: Folders or files, or ``sample``; the packaged sample where none is named.
        selection: Which of their runs to take; all by default.
        options: How to read them (``--map`` and its companions).
        store: Where to keep them; the user's own store by default.
        dry_run: Only say what would be stored.
        on_file: Called with each file as it is read, for a progress display.

    Raises:
        UsageError: A source of a kind that this version cannot read.
        SourceError: A source that does not exist.
        NothingMatched: No run was found, or none fits the selection.
        StoreError: The store cannot be written.
    """
    from openrlb.sources import ReadOptions
    from openrlb_analysis.normalize import check_name

    check_name(options.already_normalized if options else None)
    store = opened(store)
    collected = _Collected()
    report = FoldReport()
    known = store.digests()
    chosen = _selected(_read(sources, options or ReadOptions(), on_file, collected), selection or Selection(), collected)
    fresh = _fresh(chosen, known, collected)
    written: list[Path] = []
    try:
        for chunk in _chunks(fresh):
            if not dry_run:
                written.append(store.write(chunk))
        if not collected.found:
            raise _nothing(sources, selection or Selection(), collected)
        if not dry_run:
            report = store.fold()
    except OpenrlbError as error:
        if not isinstance(error, StoreBusy):  # a fetch that fails leaves the store as it was; an interrupted one resumes
            for path in written:
                path.unlink(missing_ok=True)
        raise
    return FetchReport(
        found=collected.found,
        new=len(collected.new),
        changed=len(collected.changed),
        unchanged=collected.unchanged,
        unselected=collected.unselected,
        envs=dict(sorted(collected.envs.items())),
        skipped=tuple(collected.skipped),
        guesses=tuple(dict.fromkeys(collected.guesses)),
        notes=tuple(collected.notes),
        quarantined=tuple(report.quarantined),
    )


def _read(
    sources: Sequence[str | Path], options: ReadOptions, on_file: Callable[[Path], None] | None, collected: _Collected
) -> Iterator[RunBatch]:
    """Every run of every source; what is left out is collected."""
    from openrlb.sources import Guess, read

    for source in sources or (SAMPLE,):
        text = str(source)
        if not text:
            raise UsageError("a source is empty", "one of the words after fetch is ''", "name a folder; . is this one")
        path = Path(source).expanduser()
        if text == SAMPLE:  # a folder of that name is ./sample
            path = Path(openrlb.__file__).parent / SAMPLE
        if text.startswith("wandb:"):
            raise UsageError(f"{text} cannot be read", "this version reads log folders and files", "name a folder of logs")
        if not path.exists():
            raise SourceError(f"{text} does not exist", f"looked in {Path.cwd()}", "check the path (openrlb fetch FOLDER)")
        for item in read(path, options, on_file):
            if isinstance(item, Skipped):
                collected.skipped.append(item)
            elif isinstance(item, Guess):
                collected.guesses.append((item.location, item.map))
            else:
                yield item


def _selected(batches: Iterable[RunBatch], selection: Selection, collected: _Collected) -> Iterator[RunBatch]:
    """The runs that fit the selection, counted."""
    import numpy

    from openrlb.store.select import fits
    from openrlb.store.where import meets

    for batch in batches:
        run = batch.run
        for name in ("env", "algo", "impl"):
            collected.others[name].add(getattr(run, name))
        if not fits(run, selection) or (selection.where and not meets(batch, selection.where)):
            collected.unselected += 1
            continue
        collected.found += 1
        collected.envs[run.env] = collected.envs.get(run.env, 0) + 1
        collected.notes += [(run.run, note) for note in run.notes]
        if any(not numpy.isfinite(metric.values).all() for metric in batch.metrics):
            collected.notes.append((run.run, "holds NaN or infinite values; they are kept"))
        yield batch


def _fresh(batches: Iterable[RunBatch], known: dict[tuple[str, str], str], collected: _Collected) -> Iterator[RunBatch]:
    """The runs that the store does not hold in just this form.

    Raises:
        SourceError: Two different runs of one fetch with the same id.
    """
    for batch in batches:
        key = (batch.run.source, batch.run.run)
        if key in collected.seen:
            why = f"{batch.run.location or batch.run.name} gives the id {batch.run.run} a second time"
            raise SourceError("two runs have the same id", why, "tell them apart with --map id=COLUMN")
        collected.seen.add(key)
        if known.get(key) == content_digest(batch):
            collected.unchanged += 1
            continue
        (collected.changed if key in known else collected.new).add(key)
        yield batch


def _chunks(batches: Iterable[RunBatch]) -> Iterator[list[RunBatch]]:
    """Runs in handfuls that make segments of a good size."""
    chunk: list[RunBatch] = []
    values = 0
    for batch in batches:
        chunk.append(batch)
        values += sum(len(metric.steps) for metric in batch.metrics)
        if len(chunk) >= RUNS_PER_SEGMENT or values >= VALUES_PER_SEGMENT:
            yield chunk
            chunk, values = [], 0
    if chunk:
        yield chunk


def _nothing(sources: Sequence[str | Path], selection: Selection, collected: _Collected) -> NothingMatched:
    """The error for a fetch that found nothing, with the reason that helps."""
    from openrlb.store.environments import nearest

    names = ", ".join(map(str, sources)) or "the packaged sample"
    if collected.unselected:
        for field_name in ("env", "algo", "impl"):
            for word in getattr(selection, field_name):
                close = nearest(word, collected.others[field_name])
                if close:
                    hint = f"did you mean --{field_name} {close[0]}?"
                    return NothingMatched("no run fits the selection", f"{collected.unselected} runs are in {names}", hint)
        held = ", ".join(sorted(collected.others["env"])[:5])
        return NothingMatched("no run fits the selection", f"{collected.unselected} runs are in {names} ({held})", "widen it")
    damaged = [item for item in collected.skipped if item.damaged] or collected.skipped
    why = f"{damaged[0].location}: {damaged[0].reason}" if damaged else "it holds no file that looks like results"
    fix = "openrlb reads monitor.csv, evaluations.npz, progress.csv, rl_zoo3 folders and tables (openrlb fetch --help)"
    return NothingMatched(f"no run was found in {names}", why, fix)
