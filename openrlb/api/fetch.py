"""``fetch``: brings runs from a source into the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openrlb
from openrlb.api.opened import given, opened
from openrlb.api.remote import WANDB, RemoteOptions, every_preset, is_elsewhere, meant, queries, read_remote
from openrlb.api.seeds import Seedless, missing_seeds, whole_numbers
from openrlb.api.shown import FetchShown
from openrlb.errors import NetworkError, NothingMatched, OpenrlbError, SourceError, StoreBusy, UsageError
from openrlb.store import FoldReport, Store, content_digest
from openrlb.store.arrow import release_memory
from openrlb.store.segment import COPIED, origin
from openrlb.types import RunBatch, Selection, Skipped
from openrlb.words import counted

if TYPE_CHECKING:
    from openrlb.sources import ReadOptions
    from openrlb.sources.wandb import Plan, WandbQuery

SAMPLE = "sample"
"""The packaged runs: what a fetch without a source takes."""

RUNS_PER_SEGMENT = 256
REMOTE_RUNS_PER_SEGMENT = 32
"""Runs that cost requests are put into the spool in smaller handfuls: kill -9 loses no more than that."""

VALUES_PER_SEGMENT = 2_000_000
REASONS_TOLD = 3
"""So many reasons why files gave no run are told where none did."""
READ = (
    "openrlb reads .wandb and tensorboard files, monitor.csv, evaluations.npz, progress.csv, rl_zoo3 folders, Optuna databases, "
    "openrlb's runs and bundles, and tables: csv, tsv, json, jsonl, parquet, npy, npz (docs/fetching.md)"
)
"""What a folder may hold, for one in which nothing was recognised."""
PERMISSION = "allow reading it: chmod -R u+rX {path}"
MATCHED = ("env", "algo", "impl", "seed", "tag")
"""The parts of a selection whose words are looked at one by one."""


@dataclass(frozen=True, slots=True)
class FailedSource:
    """A named source that could not be had, beside others that could: its error, part by part."""

    source: str
    what: str
    why: str
    fix: str
    exit_code: int


@dataclass(frozen=True, slots=True, repr=False)
class FetchReport(FetchShown):
    """What a fetch found and did.

    Attributes:
        found: Runs that the sources hold and that fit the selection.
        new: Runs the store did not have.
        changed: Runs whose content differs from what the store had.
        unchanged: Runs the store had already.
        unselected: Runs that the sources hold but the selection leaves out.
        envs: Runs found by environment.
        skipped: Files, folders and tracked runs that were left out, with reasons.
        guesses: The ``--map`` words that were guessed, by file.
        notes: What was noticed in runs that were taken, as (run, note).
        quarantined: Spooled files that could not be read.
        unreached: Projects that a fetch without a source asked in vain, with reasons.
        reread: How many of the changed runs are as they were, but read with another map or other flags.
        projects: What ``--source`` selects the found runs by.
        unmatched: Words of the selection that no run of the folders and files has.
        failed: Named projects that could not be had although other sources could.
        copies: How many of the unchanged runs came in a bundle, and the store has them by themselves.
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
    unreached: tuple[Skipped, ...] = ()
    reread: int = 0
    projects: tuple[str, ...] = ()
    unmatched: tuple[str, ...] = ()
    failed: tuple[FailedSource, ...] = ()
    copies: int = 0


@dataclass(slots=True)
class _Collected:
    """What has come by while reading."""

    found: int = 0
    unchanged: int = 0
    copies: int = 0
    unselected: int = 0
    new: set[tuple[str, str]] = field(default_factory=set)
    changed: set[tuple[str, str]] = field(default_factory=set)
    seen: dict[tuple[str, str], str] = field(default_factory=dict)
    envs: dict[str, int] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    guesses: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    unreached: list[Skipped] = field(default_factory=list)
    reread: set[tuple[str, str]] = field(default_factory=set)
    projects: dict[str, None] = field(default_factory=dict)
    matched: set[tuple[str, str | int]] = field(default_factory=set)
    failed: list[tuple[str, OpenrlbError]] = field(default_factory=list)
    seedless: list[Seedless] = field(default_factory=list)
    others: dict[str, set[str]] = field(default_factory=lambda: {"env": set(), "algo": set(), "impl": set()})


def fetch(
    sources: str | Path | Sequence[str | Path] = (),
    *,
    selection: Selection | None = None,
    options: ReadOptions | None = None,
    store: Store | None = None,
    dry_run: bool = False,
    remote: RemoteOptions | None = None,
    on_file: Callable[[Path], None] | None = None,
    on_ask: Callable[[str], None] | None = None,
    on_plan: Callable[[str, Plan], bool] | None = None,
    on_run: Callable[[str], None] | None = None,
) -> FetchReport:
    """Reads runs from their sources and stores those that are new or changed.

    Args:
        sources: One or several: folders or files, ``wandb:ENTITY/PROJECT``, a preset's name, a bundle's address
            (``https://...``, ``hf://datasets/OWNER/NAME``), or ``sample``. Where none is named: the sample and, with a wandb key,
            every preset; of those, what cannot be had is reported and the rest is kept.
        selection: Which of their runs to take; all by default.
        options: How to read them (``--map`` and its companions).
        store: Where to keep them; the user's own store by default.
        dry_run: Only say what would be stored.
        remote: What to take from tracked runs, and rlops' filters.
        on_file: Called with each file as it is read, for a progress display.
        on_ask: Called with each remote source before it is asked for its runs, which may take a while.
        on_plan: Shown each remote source's plan before anything large is fetched; False stops.
        on_run: Called with each remote run's name as it is complete.

    Raises:
        UsageError: A source that means nothing, reading flags without a source, or a plan that was not agreed to.
        SourceError: A source that does not exist.
        NetworkError: No wandb key, or no connection. Of several sources, one project that cannot be had does not raise: it is
            in the report's ``failed``.
        NothingMatched: No run was found, or none fits the selection.
        StoreError: The store cannot be written.
    """
    from openrlb.sources import ReadOptions
    from openrlb_analysis.normalize import check_name

    sources = (sources,) if isinstance(sources, str | Path) else sources
    check_name(options.already_normalized if options else None)
    store = opened(store, to_write=not dry_run)
    collected = _Collected()
    report = FoldReport()
    selection, options = given(selection, Selection, "selection"), given(options, ReadOptions, "options")
    remote = remote or RemoteOptions()
    asked, local = queries(sources, selection, options, remote)
    whatever = not asked and not local
    if whatever:
        _refuse_reading_flags(options)
    for source in local:
        if not is_elsewhere(source):
            _place(source)
    asked = every_preset(selection, options, remote) if whatever else asked
    known = store.digests()
    tracked = [_tracked(query, store, collected, dry_run, on_ask, on_plan, on_run) for query in asked]
    if whatever:
        tracked = [_as_far_as_it_goes(list(zip([query.source for query in asked], tracked, strict=True)), collected)]
    elif len(asked) + len(local) > 1:
        tracked = [_or_its_error(query.source, batches, collected) for query, batches in zip(asked, tracked, strict=True)]
    batches = chain(_read((SAMPLE,) if whatever else local, options, selection, on_file, collected), *tracked)
    fresh = _fresh(_selected(batches, selection, collected), store, known, collected)
    written: list[Path] = []
    try:
        for chunk in _chunks(fresh, REMOTE_RUNS_PER_SEGMENT if asked else RUNS_PER_SEGMENT):
            if not dry_run:
                written.append(store.write(chunk))
        if not collected.found and collected.failed:
            raise collected.failed[0][1]
        if not collected.found:
            raise _nothing(sources, selection, collected)
        if not dry_run:
            _end_service(asked)  # its memory is not needed while folding
            release_memory()
            report = store.fold()
    except Exception as error:
        # a fetch of files that fails leaves the store as it was; a remote one, or an interrupted one, goes on from there
        if not isinstance(error, StoreBusy) and not asked:
            for path in written:
                path.unlink(missing_ok=True)
        raise
    finally:
        _end_service(asked)
    return FetchReport(
        found=collected.found,
        new=len(collected.new),
        changed=len(collected.changed),
        unchanged=collected.unchanged,
        unselected=collected.unselected,
        envs=dict(sorted(collected.envs.items())),
        skipped=tuple(collected.skipped),
        guesses=tuple(dict.fromkeys(collected.guesses)),
        notes=(*collected.notes, *missing_seeds(collected.seedless)),
        quarantined=(*store.set_aside, *report.quarantined),
        unreached=tuple(collected.unreached),
        reread=len(collected.changed & collected.reread),
        projects=tuple(sorted(collected.projects)),
        unmatched=_unmatched(selection, collected) if local or whatever else (),
        failed=tuple(FailedSource(name, one.what, one.why, one.fix, one.exit_code) for name, one in collected.failed),
        copies=collected.copies,
    )


def _end_service(asked: Sequence[object]) -> None:
    """Ends the wandb client's own process, where there was something to ask it."""
    if asked:
        from openrlb.sources.wandb import end_service

        end_service()


def _read(
    sources: Sequence[str | Path],
    options: ReadOptions,
    selection: Selection,
    on_file: Callable[[Path], None] | None,
    collected: _Collected,
) -> Iterator[RunBatch]:
    """Every run of every source; what is left out is collected."""
    from openrlb.sources import Guess, Unread, read
    from openrlb.sources.bundle.elsewhere import read_elsewhere

    for source in sources:
        if is_elsewhere(source):
            found: Iterator[Any] = read_elsewhere(str(source), selection, on_file)
        else:
            found = read(_place(source), options, on_file, selection)
        for item in found:
            if isinstance(item, Skipped):
                collected.skipped.append(item)
            elif isinstance(item, Unread):
                collected.unselected += item.runs
                collected.others["env"].add(item.env)
                collected.others["algo"].add(item.algo)
            elif isinstance(item, Guess):
                collected.guesses.append((item.location, item.map))
            else:
                yield item


def _place(source: str | Path) -> Path:
    """The folder or file that a source names.

    Raises:
        UsageError: It is empty.
        SourceError: There is nothing; what may have been meant is said.
    """
    text = str(source)
    if not text:
        raise UsageError("a source is empty", "one of the words after fetch is ''", "name a folder; . is this one")
    if text == SAMPLE:  # a folder of that name is ./sample
        return Path(openrlb.__file__).parent / SAMPLE
    path = Path(source).expanduser()
    try:
        there = path.exists()
    except OSError as error:
        raise SourceError(f"{text} cannot be read", error.strerror or str(error), PERMISSION.format(path=text)) from error
    if not there:
        fix = meant(text) or "check the path (openrlb fetch FOLDER)"
        why = "nothing is there" if Path(text).is_absolute() else f"looked in {Path.cwd()}"
        raise SourceError(f"{text} does not exist", why, fix)
    return path


def _refuse_reading_flags(options: ReadOptions) -> None:
    """Makes sure that nobody describes how a source is read without naming one.

    Raises:
        UsageError: Such flags; the sample and the presets need none.
    """
    from openrlb.sources import ReadOptions

    if replace(options, project=None) != ReadOptions():
        why = "--map, --preset and their companions say how a source is read, and without one it is the sample"
        raise UsageError("no source is named", why, "name it: openrlb fetch FOLDER, or wandb:ENTITY/PROJECT, with the same flags")


def _or_its_error(source: str, batches: Iterator[RunBatch], collected: _Collected) -> Iterator[RunBatch]:
    """The runs of one of several named projects; where it cannot be had, the others still can."""
    try:
        yield from batches
    except (NetworkError, SourceError, UsageError, NothingMatched) as error:
        collected.failed.append((source, error))


def _unmatched(selection: Selection, collected: _Collected) -> tuple[str, ...]:
    """Words of the selection that none of the chosen runs of folders and files has, with the nearest name."""
    from openrlb.store.environments import nearest

    found = []
    for name in MATCHED:
        for word in getattr(selection, name):
            if (name, word) not in collected.matched:
                close = nearest(str(word), collected.others.get(name, ()))
                found.append(f"--{name} {word}" + (f" (did you mean {close[0]}?)" if close else ""))
    return tuple(found)


def _tracked(
    query: WandbQuery,
    store: Store,
    collected: _Collected,
    dry_run: bool,
    on_ask: Callable[[str], None] | None,
    on_plan: Callable[[str, Plan], bool] | None,
    on_run: Callable[[str], None] | None,
) -> Iterator[RunBatch]:
    """The new and changed runs of one W&B project; those that are unchanged are counted."""
    from openrlb.sources.wandb import require_key

    require_key()
    if on_ask is not None:
        on_ask(query.source)
    plan, records = read_remote(query, store, on_plan, on_run)
    collected.skipped += plan.excluded
    collected.unselected += plan.unselected
    collected.unchanged += plan.unchanged
    collected.found += plan.unchanged
    collected.guesses += [(query.source, plan.guess)] if plan.guess else []
    collected.projects[query.source] = None
    collected.reread |= {(query.source, run) for run in plan.reread}
    for (_, env), count in plan.counts.items():
        collected.envs[env] = collected.envs.get(env, 0) + count
    if dry_run:
        collected.found += plan.to_fetch
        collected.new |= {(query.source, listed.run.run) for listed in plan.listed}
        return
    for record in records:
        if isinstance(record, Skipped):
            collected.skipped.append(record)
        else:
            yield record


def _as_far_as_it_goes(projects: Sequence[tuple[str, Iterator[RunBatch]]], collected: _Collected) -> Iterator[RunBatch]:
    """The runs of projects that nobody named: one that cannot be had is told, and costs neither the others nor the fetch."""
    from openrlb.sources.wandb import UnreachableError

    for number, (source, batches) in enumerate(projects):
        try:
            yield from batches
        except NothingMatched:
            collected.skipped.append(Skipped(source, "the project has no run that fits"))
        except UnreachableError as error:  # nor can the others be had
            told = f"{error.what}: {error.why}; {error.fix}"
            collected.unreached += [Skipped(name, told, damaged=True) for name, _ in projects[number:]]
            return
        except (NetworkError, SourceError, UsageError) as error:
            collected.unreached.append(Skipped(source, f"{error.what}: {error.why}; {error.fix}", damaged=True))


def _selected(batches: Iterable[RunBatch], selection: Selection, collected: _Collected) -> Iterator[RunBatch]:
    """The runs that fit the selection, counted."""
    import numpy

    from openrlb.store.select import fits
    from openrlb.store.where import meeting

    with meeting(selection.where) as meets:
        for batch in batches:
            run = batch.run
            for name in ("env", "algo", "impl"):
                collected.others[name].add(getattr(run, name))
            if not fits(run, selection) or not meets(batch):
                collected.unselected += 1
                continue
            collected.found += 1
            if not run.source.startswith(WANDB):  # those were counted from the plan, unchanged ones included
                collected.envs[run.env] = collected.envs.get(run.env, 0) + 1
                collected.projects[run.project] = None
                words = [(name, word) for name in MATCHED for word in getattr(selection, name)]
                collected.matched |= {one for one in words if one not in collected.matched and fits(run, _alone(*one))}
            if run.seed is None:
                collected.seedless.append((run.run, (run.algo, run.env), whole_numbers(run.config)))
            collected.notes += [(run.run, note) for note in run.notes]
            if any(not numpy.isfinite(metric.values).all() for metric in batch.metrics):
                collected.notes.append((run.run, "holds NaN or infinite values; they are kept"))
            yield batch


def _alone(name: str, word: str | int) -> Selection:
    """The selection of one word."""
    chosen: dict[str, Any] = {name: (word,)}
    return Selection(**chosen)


def _fresh(
    batches: Iterable[RunBatch], store: Store, known: dict[tuple[str, str], str], collected: _Collected
) -> Iterator[RunBatch]:
    """The runs that the store does not hold in just this form.

    Raises:
        SourceError: Two different runs of one fetch with the same id.
    """
    for batch in batches:
        key = (batch.run.source, batch.run.run)
        digest = content_digest(batch)
        if collected.seen.get(key) == digest:  # the same run by another of the words: a folder and one inside it
            collected.found -= 1
            continue
        if key in collected.seen:
            why = f"{batch.run.location or batch.run.name} gives the id {batch.run.run} a second time"
            raise SourceError("two runs have the same id", why, "tell them apart with --map id=COLUMN")
        collected.seen[key] = digest
        if known.get(key) == digest:
            collected.unchanged += 1
            continue
        if _is_held(batch, digest, store, known):
            collected.unchanged += 1
            collected.copies += 1
            continue
        (collected.changed if key in known else collected.new).add(key)
        yield batch


def _is_held(batch: RunBatch, digest: str, store: Store, known: dict[tuple[str, str], str]) -> bool:
    """Whether a run that came in a bundle is in the store by itself, as it is or as a bundle would have it."""
    key = origin(batch.run.source), batch.run.run
    if not batch.run.source.startswith(COPIED) or key not in known:
        return False
    from openrlb.sources.bundle.write import handed_on

    return known[key] == digest or any(content_digest(one) == digest for one in handed_on(store, [key]))


def _chunks(batches: Iterable[RunBatch], runs: int) -> Iterator[list[RunBatch]]:
    """Runs in handfuls that make segments of a good size."""
    chunk: list[RunBatch] = []
    values = 0
    for batch in batches:
        chunk.append(batch)
        values += sum(len(metric.steps) for metric in batch.metrics)
        if len(chunk) >= runs or values >= VALUES_PER_SEGMENT:
            yield chunk
            chunk, values = [], 0
    if chunk:
        yield chunk


def _nothing(sources: Sequence[str | Path], selection: Selection, collected: _Collected) -> NothingMatched:
    """The error for a fetch that found nothing, with the reason that helps."""
    from openrlb.store.environments import nearest
    from openrlb_analysis.figures.words import listed

    names = ", ".join(map(str, sources)) or "the packaged sample"
    if collected.unselected:
        for field_name in ("env", "algo", "impl"):
            for word in getattr(selection, field_name):
                close = nearest(word, collected.others[field_name])
                if close:
                    hint = f"did you mean --{field_name} {close[0]}?"
                    return NothingMatched("no run fits the selection", f"{collected.unselected} runs are in {names}", hint)
        held = {one: sorted(collected.others[one]) for one in ("env", "algo", "impl") if getattr(selection, one)}
        fix = f"name what is there, for instance {' '.join(f'--{name} {words[0]}' for name, words in held.items() if words)}"
        if not held:
            held, fix = {"env": sorted(collected.others["env"])}, "leave out a flag that narrows the selection"
        there = "; ".join(f"{name} {listed(words, 5)}" for name, words in held.items())
        why = f"{counted(collected.unselected, 'run')} {'is' if collected.unselected == 1 else 'are'} in {names} ({there})"
        return NothingMatched("no run fits the selection", why, fix)
    refused = next((item for item in collected.skipped if "ermission denied" in item.reason), None)
    if refused is not None:
        fix = PERMISSION.format(path=" ".join(map(str, sources)))
        return NothingMatched(f"no run was found in {names}", f"{refused.location}: {refused.reason}", fix)
    damaged = [item for item in collected.skipped if item.damaged] or collected.skipped
    told = [f"{item.location}: {item.reason}" for item in damaged[:REASONS_TOLD]]
    told += [f"and {len(damaged) - REASONS_TOLD} more"] if len(damaged) > REASONS_TOLD else []
    why = "; ".join(told) or "it holds no file that looks like results"
    return NothingMatched(f"no run was found in {names}", why, READ)
