"""``worker``: trains the runs of a study that was begun elsewhere, beside whoever else does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openrlb.api.opened import opened
from openrlb.api.run_plan import Say
from openrlb.errors import StoreBusy, StudyFailed, UsageError
from openrlb.store import Store

if TYPE_CHECKING:
    from openrlb_hpo.ledger import Ledger
    from openrlb_hpo.records import StudyRecord
    from openrlb_runners.launchers.protocol import Launcher
    from openrlb_runners.memo import Memo
    from openrlb_runners.request import NeededRunner, PinnedRunner
    from openrlb_runners.supervise import Limits
    from openrlb_runners.worker import Event

OnStep = Callable[["StudyRecord"], None]
OnEvent = Callable[["Event"], None]


@dataclass(frozen=True)
class Place:
    """Where a process works on studies, and what it works with.

    Attributes:
        ledger: Where studies are kept.
        store: Where runs go.
        runner: What trains them.
        launcher: Where they execute.
        memo: What the store holds.
        workers: How many runs at a time.
        limits: What ends a run from outside.
        on_event: Told what happens to runs.
        on_step: Shown the study after each of its steps.
    """

    ledger: Ledger
    store: Store
    runner: PinnedRunner
    launcher: Launcher
    memo: Memo
    workers: int
    limits: Limits
    on_event: OnEvent | None = None
    on_step: OnStep | None = None


def carry_on(record: StudyRecord, place: Place) -> StudyRecord:
    """Works on a study until it is over; returns it as it is then.

    Args:
        record: The study.
        place: Where, and with what.

    Raises:
        UsageError: The runner is not the one that the study was begun with.
        StudyFailed: The study ended without a result.
        KeyboardInterrupt: After Ctrl-C, when everything is stored.
    """
    from openrlb_hpo.projection import Projection
    from openrlb_hpo.source import StudySource
    from openrlb_runners.resolve import resolve
    from openrlb_runners.worker import Event, work

    projection = Projection(place.ledger.url)
    source = StudySource(
        place.ledger,
        record,
        place.store,
        place.runner,
        lambda request: resolve(place.runner, [request], place.launcher)[0],
        memo=place.memo,
        projection=projection,
        on_step=place.on_step,
        on_outage=lambda text: None if place.on_event is None else place.on_event(Event("warning", text=text)),
    )
    with source:
        work(
            source,
            workers=place.workers,
            store=place.store,
            launcher=place.launcher,
            limits=place.limits,
            memo=place.memo,
            on_event=place.on_event,
        )
    if projection.problem and place.on_event is not None:
        place.on_event(Event("warning", text=projection.problem))
    if source.problem:
        fix = "look at its runs (openrlb study show), and begin another one with other settings"
        raise StudyFailed(f"{record.name} ended without a result", source.problem, fix)
    return place.ledger.read(record.id)


def runner_as_begun(needed: NeededRunner, what: str, torch_source: str | None, say: Say, fix: str) -> PinnedRunner:
    """The runner that something was begun with; its environment is built only where source and lock here are the same.

    Args:
        needed: That runner.
        what: What was begun.
        torch_source: A folder or address that has torch's CPU wheels.
        say: Takes lines of talk while an environment is built.
        fix: What can be done where the runner here is another one.

    Raises:
        UsageError: The runner here is another one, or there is no such device.
        BuildError: Its environment cannot be built.
    """
    from openrlb_runners.environment import build, default_variant, find
    from openrlb_runners.locks import lock_digest, lock_files
    from openrlb_runners.request import pin
    from openrlb_runners.spec import find_runner, source_digest, source_files

    spec = find_runner(needed.name)
    first = default_variant(spec)
    if needed.device == "cuda" and first != "cuda":
        why = f"it trains on cuda, and here the runner {spec.name} has none"
        raise UsageError(f"{what} cannot go on here", why, "join it on a machine with a GPU")
    locks = {one: lock_digest(lock_files(spec, one), spec.python) for one in (first, *spec.variants)}
    variant = next((one for one, lock in locks.items() if lock == needed.lock), first)
    needed.check(what, spec.name, locks[variant], source_digest(source_files(spec)), fix)
    return pin(spec, find(spec, variant) or build(spec, variant, torch_source=torch_source, say=say))


def worker(
    study: str,
    *,
    storage: str | None = None,
    store: Store | None = None,
    workers: int | None = None,
    wall_seconds: float | None = None,
    memory_bytes: int | None = None,
    torch_source: str | None = None,
    say: Say | None = None,
    on_join: Callable[[StudyRecord, int], None] | None = None,
    on_event: OnEvent | None = None,
    on_step: OnStep | None = None,
) -> StudyRecord:
    """Joins a study, and trains its runs until it is over.

    Args:
        study: Its name, its id, or the beginning of either.
        storage: The database of the studies; the file in the store by default.
        store: Where runs go; the user's own store by default. Workers of one study share it.
        workers: How many runs at a time; by default as many as there are physical cores and memory for.
        wall_seconds: The longest that one run may take.
        memory_bytes: The most memory that one run may hold.
        torch_source: A folder or address that has torch's CPU wheels, for an environment that is to be built.
        say: Takes lines of talk while an environment is built.
        on_join: Shown the study, and how many runs at a time are trained here, before the first one.
        on_event: Told what happens to runs.
        on_step: Shown the study after each of its steps.

    Returns:
        The study as it is at its end.

    Raises:
        NothingMatched: There is no such study.
        UsageError: The runner here is not the one that it was begun with.
        ContractBroken: The study breaks its own rules.
        BuildError: The runner's environment cannot be built.
        KeyboardInterrupt: After Ctrl-C, when everything is stored.
    """
    from openrlb.api.study import existing_ledger
    from openrlb_runners.capacity import default_workers
    from openrlb_runners.launchers.local import LocalLauncher
    from openrlb_runners.memo import Memo
    from openrlb_runners.request import NeededRunner
    from openrlb_runners.supervise import Limits

    store = opened(store, to_write=True)
    with ExitStack() as stack:
        launcher = stack.enter_context(LocalLauncher())
        ledger = stack.enter_context(existing_ledger(storage, store))
        record = ledger.read(study)
        settings = record.settings
        needed = NeededRunner(settings.impl, settings.runner_source, settings.lock, settings.device)
        fix = "check out the version that began it, or add --new-study"
        runner = runner_as_begun(needed, settings.name, torch_source, say or (lambda text: None), fix)
        count = workers or default_workers(settings.threads, memory_bytes)[0]
        if on_join is not None:
            on_join(record, count)
        limits = Limits(wall_seconds, memory_bytes)
        place = Place(ledger, store, runner, launcher, Memo(store), count, limits, on_event, on_step)
        try:
            return carry_on(record, place)
        finally:
            with suppress(StoreBusy):  # it stays in the spool, and the next command folds it
                store.fold()
