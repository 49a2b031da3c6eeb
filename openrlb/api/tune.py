"""``tune``: searches hyperparameters on tuning seeds, and says what they are worth on seeds that tuning never saw."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from openrlb.api.launching import (
    Launched,
    Workers,
    check_launcher,
    check_storage,
    cluster,
    launch,
    planned_launch,
    worker_limits,
)
from openrlb.api.opened import opened
from openrlb.api.run_plan import Say
from openrlb.api.shown import TuneShown
from openrlb.api.study import StudyView, storage_url
from openrlb.api.tune_plan import TuneOptions, TunePlan, make_study_plan
from openrlb.api.worker import OnEvent, OnStep, Place, carry_on
from openrlb.errors import StoreBusy, UsageError
from openrlb.store import Store

if TYPE_CHECKING:
    from openrlb_hpo.ledger import Ledger
    from openrlb_runners.launchers.protocol import Cluster

__all__ = ["TuneOptions", "TunePlan", "TuneReport", "tune"]


@dataclass(frozen=True, repr=False)
class TuneReport(TuneShown):
    """A study and what came of it.

    Attributes:
        plan: What was planned.
        study: The study with its result; None for a dry run, and where workers go on by themselves.
        random: The random search beside it, or None.
        launched: The workers on a batch system that train it, or None.
    """

    plan: TunePlan
    study: StudyView | None = None
    random: StudyView | None = None
    launched: Launched | None = None


def tune(
    options: TuneOptions,
    *,
    store: Store | None = None,
    dry_run: bool = False,
    say: Say | None = None,
    on_plan: Callable[[TunePlan], None] | None = None,
    on_event: OnEvent | None = None,
    on_step: OnStep | None = None,
) -> TuneReport:
    """Runs a study to its end: tuning, confirmation, and the test of its incumbent beside the declared baselines.

    The same call goes on with a study that was interrupted or killed; one that is finished is only looked at.

    Args:
        options: What to tune.
        store: Where runs go; the user's own store by default.
        dry_run: Only plan: nothing is trained, stored or built.
        say: Takes lines of talk while an environment is built.
        on_plan: Shown the plan before anything is trained.
        on_event: Told what happens to runs.
        on_step: Shown the study after each of its steps.

    Raises:
        UsageError: A request that has no meaning; nothing was trained then.
        NothingMatched: A run or a study that is named is not there.
        BuildError: The runner's environment cannot be built.
        StoreUnwritable: The store or the studies' database cannot be written.
        StudyFailed: The study ended without a result.
        ContractBroken: The study's ledger breaks the rules of studies.
        KeyboardInterrupt: After Ctrl-C, when what was running is stored.
    """
    from openrlb.api.study import view_of
    from openrlb.api.study_evidence import against_store
    from openrlb_runners.launchers.local import LocalLauncher
    from openrlb_runners.memo import Memo
    from openrlb_runners.supervise import Limits

    store = opened(store, to_write=not dry_run)
    where = _cluster(options, store)
    with ExitStack() as stack:
        launcher = stack.enter_context(LocalLauncher())
        ledger = _ledger(stack, options.storage, store, dry_run)
        plan, runner = make_study_plan(options, store, ledger, launcher, dry_run=dry_run, say=say or _silent)
        if on_plan is not None:
            on_plan(plan)
        if where is not None and (dry_run or plan.state != "finished"):
            return TuneReport(plan, launched=_launched(where, options, store, plan, ledger, dry_run))
        if dry_run or ledger is None or runner is None:
            return TuneReport(plan)
        limits = Limits(options.wall_seconds, options.memory_bytes)
        place = Place(ledger, store, runner, launcher, Memo(store), plan.workers, limits, on_event, on_step)
        try:
            record = carry_on(ledger.begin(plan.settings, options.budget), place)
            beside = None if plan.random is None else carry_on(ledger.begin(plan.random, options.budget), place)
        finally:
            with suppress(StoreBusy):  # it stays in the spool, and the next command folds it
                store.fold()
        ended = [record] if beside is None else [record, beside]  # each has looked at the same test seeds
        views = [view_of(against_store(ledger.read(one.id), ledger, store), options.margin) for one in ended]
        return TuneReport(plan, views[0], views[1] if beside is not None else None)


def _cluster(options: TuneOptions, store: Store) -> Cluster | None:
    """The place that the study's workers are submitted to; None for this machine.

    Raises:
        UsageError: Something is missing that it needs.
    """
    check_launcher(options.launcher, options.workers, store)
    if options.launcher != "local":
        check_storage(options.storage, options.launcher)
    if options.launcher != "local" and options.compare_random:
        why = "its random search would have workers of its own"
        fix = "tune it as a study of its own: the same command with --method random"
        raise UsageError(f"--compare-random cannot be used with --launcher {options.launcher}", why, fix)
    return cluster(options.launcher, store, options.slurm, options.ray)


def _launched(
    place: Cluster, options: TuneOptions, store: Store, plan: TunePlan, ledger: Ledger | None, dry_run: bool
) -> Launched:
    """Workers for a study, which is begun in its ledger when the place has said that it would take them.

    Raises:
        LauncherError, StoreUnwritable: They are not submitted.
    """
    words = worker_limits(options.wall_seconds, options.memory_bytes, options.torch_source)
    workers = Workers(plan.workers, options.threads, words, options.storage)
    planned = planned_launch(place, store, plan.settings.name if plan.resolved else "STUDY", workers)
    if dry_run or ledger is None:
        return planned
    return launch(place, store, ledger.begin(plan.settings, options.budget).name, workers)


def _silent(text: str) -> None:
    """Says nothing."""


def _ledger(stack: ExitStack, storage: str | None, store: Store, dry_run: bool) -> Ledger | None:
    """The studies' database; None for a dry run that would have to make the file.

    Raises:
        UsageError: It is a file in a folder that is not there: a typing error rather than a wish.
    """
    from openrlb_hpo.ledger import open_ledger

    url = storage_url(storage, store)
    path = url.removeprefix("sqlite:///")
    if storage and path not in (url, "", ":memory:") and not Path(path).parent.is_dir():
        fix = "make the folder, or leave --storage out for a file in the store"
        raise UsageError(f"--storage {storage} cannot be used", f"there is no folder {Path(path).parent}", fix)
    if dry_run and path != url and not Path(path).is_file():
        return None
    return stack.enter_context(open_ledger(url))
