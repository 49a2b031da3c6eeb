"""``run``: trains reference implementations, each in its own pinned environment, and stores what came of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from shlex import quote
from typing import TYPE_CHECKING

from openrlb.api.launching import Launched, Workers, check_launcher, cluster, launch, planned_launch, worker_limits
from openrlb.api.opened import opened
from openrlb.api.run_plan import PlannedRun, RunOptions, RunPlan, Say, Tuned, make_plan
from openrlb.api.shown import RunReportShown
from openrlb.errors import NetworkError, NothingMatched, StoreBusy, UsageError
from openrlb.store import Store
from openrlb.types import Selection

if TYPE_CHECKING:
    from openrlb.tracking.mirror import Mode
    from openrlb_runners.launchers.protocol import Cluster
    from openrlb_runners.memo import Memo
    from openrlb_runners.request import Outcome, WorkItem
    from openrlb_runners.worker import Event

__all__ = ["PlannedRun", "RunLine", "RunOptions", "RunPlan", "RunReport", "run"]

RETURN = ("episodic_return", "episode")


@dataclass(frozen=True)
class RunLine:
    """What came of one run.

    Attributes:
        run: Its id.
        algo: The algorithm.
        impl: The runner.
        env: The environment.
        seed: The seed.
        state: How it ended.
        steps: The steps that were trained; its last row's where it did not end well.
        episodic_return: The mean return of its last 10 training episodes, or None where it had none.
        seconds: How long its process ran; 0 where it was there before.
        trained: False where it was there before.
        attempt: Which attempt it is.
        notes: What else is to be said.
    """

    run: str
    algo: str
    impl: str
    env: str
    seed: int | None
    state: str
    steps: int | None
    episodic_return: float | None
    seconds: float
    trained: bool
    attempt: int
    notes: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class RunReport(RunReportShown):
    """A batch and what came of it.

    Attributes:
        plan: What was planned.
        runs: What came of each run, in the plan's order; nothing for a dry run, and where workers go on by themselves.
        next_command: What to type to see them.
        launched: The workers on a batch system that train it, or None.
    """

    plan: RunPlan
    runs: tuple[RunLine, ...]
    next_command: str
    launched: Launched | None = None

    @property
    def unfinished(self) -> tuple[RunLine, ...]:
        """The runs that did not finish."""
        return tuple(line for line in self.runs if line.state != "finished")


def run(
    options: RunOptions,
    *,
    store: Store | None = None,
    dry_run: bool = False,
    say: Say | None = None,
    on_plan: Callable[[RunPlan], None] | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> RunReport:
    """Trains a batch: every algorithm in every environment with every seed; what is finished already is not trained again.

    With another launcher than ``local`` workers are submitted that train it, and nothing is waited for.

    Args:
        options: What to train.
        store: Where runs go; the user's own store by default.
        dry_run: Only plan: nothing is trained, stored or built.
        say: Takes lines of talk while an environment is built.
        on_plan: Shown the plan before anything is trained.
        on_event: Told what happens to the runs.

    Raises:
        UsageError: A request that has no meaning; nothing was trained then.
        BuildError: An environment that cannot be built.
        StoreUnwritable: The store cannot be written.
        LauncherError: A batch system does not take the workers; nothing is left then.
        KeyboardInterrupt: After Ctrl-C, when what was running is stored as ``killed``.
    """
    from openrlb_runners.batch import Batch
    from openrlb_runners.launchers.local import LocalLauncher
    from openrlb_runners.memo import Memo
    from openrlb_runners.supervise import Limits
    from openrlb_runners.worker import work

    mode = _checked(options)
    store = opened(store, to_write=not dry_run)
    check_launcher(options.launcher, options.workers, store)
    place = cluster(options.launcher, store, options.slurm, options.ray)
    with ExitStack() as stack:
        launcher = stack.enter_context(LocalLauncher())
        memo = Memo(store)
        plan, items = make_plan(options, store, memo, launcher, dry_run, say or _silent)
        if on_plan is not None:
            on_plan(plan)
        if place is not None and (dry_run or plan.count("train") or plan.count("elsewhere")):
            return RunReport(plan, (), _next_command(plan), _launched(place, options, store, items, memo, dry_run))
        if dry_run:
            return RunReport(plan, (), _next_command(plan))
        batch = Batch(deque(items))
        limits = Limits(options.wall_seconds, options.memory_bytes)
        try:
            work(
                batch,
                workers=plan.workers,
                store=store,
                launcher=launcher,
                limits=limits,
                wandb=mode,
                memo=memo,
                on_event=on_event,
            )
        finally:
            with suppress(StoreBusy):  # it stays in the spool, and the next command folds it
                store.fold()
        return RunReport(plan, _lines(store, batch.outcomes, plan), _next_command(plan))


def with_incumbent(options: RunOptions, study: str, storage: str | None = None, *, store: Store | None = None) -> RunOptions:
    """The options of a batch that trains a study's incumbent.

    Args:
        options: What is asked for beside it: seeds, perhaps environments and steps, workers, limits.
        study: The study's name, its id, or the beginning of either.
        storage: The database of the studies; the file in the store by default.
        store: The user's own store by default.

    Raises:
        NothingMatched: There is no such study.
        UsageError: Its incumbent is not frozen yet, or something is asked for that the study has decided.
    """
    from openrlb.api.study import incumbent

    for name, asked in (
        ("an algorithm", options.algorithms),
        ("--impl", options.impl),
        ("--set", options.changes),
        ("--hyperparameters", options.hyperparameters != "published"),
        ("--env-set", options.env_kwargs),
    ):
        if asked:
            fix = f"leave it out, or change the incumbent's command: openrlb study export {study}"
            raise UsageError(f"{name} and --from were both given", "the study has decided it", fix)
    found = incumbent(study, storage=storage, store=store)
    return replace(
        options,
        algorithms=(found.algo,),
        envs=options.envs or found.envs,
        impl=found.impl,
        env_kwargs=found.env_kwargs,
        evaluation=options.evaluation or found.evaluation,
        threads=found.threads if options.threads == 1 else options.threads,
        device=found.device if options.device == "cpu" else options.device,
        tuned=Tuned(found.study, found.hyperparameters, found.steps),
    )


def _launched(
    place: Cluster, options: RunOptions, store: Store, items: Sequence[WorkItem], memo: Memo, dry_run: bool
) -> Launched:
    """Workers for a batch, which is written down for them; for a dry run the script alone.

    Raises:
        LauncherError, StoreUnwritable: They are not submitted.
    """
    from openrlb_runners.shared_batch import PREFIX, batch_name, write_batch

    words = worker_limits(options.wall_seconds, options.memory_bytes, options.torch_source)
    workers = Workers(options.workers or 1, options.threads, words)
    if dry_run:  # without the runner's environment its runs have no ids yet
        return planned_launch(place, store, batch_name(items) if items else f"{PREFIX}NAME", workers)

    def prepare() -> None:
        write_batch(store.layout, items, memo, device=options.device, wandb=options.wandb)

    return launch(place, store, batch_name(items), workers, prepare)


def _silent(text: str) -> None:
    """Says nothing."""


def _checked(options: RunOptions) -> Mode:
    """Refuses what can be refused by looking at it; returns the mirror's mode.

    Raises:
        UsageError: A value that has no meaning.
        NetworkError: Rows are to be mirrored online, and there is no key.
    """
    from openrlb.tracking.mirror import checked_mode
    from openrlb_runners.batch import LARGEST_SEED

    wrong = next((seed for seed in options.seeds if not 0 <= seed <= LARGEST_SEED), None)
    if wrong is not None:
        raise UsageError(f"seed {wrong} cannot be used", f"a seed is from 0 to {LARGEST_SEED}", "choose a smaller one")
    for name, what, fix in (
        ("algorithms", "no algorithm is named", "openrlb run ppo --env Hopper-v5"),
        ("envs", "no environment is named", "add --env, for instance --env Hopper-v5"),
        ("seeds", "no seed is named", "add --seeds 5"),
    ):
        if not getattr(options, name):
            raise UsageError("there is nothing to train", what, fix)
    if options.device not in ("cpu", "cuda"):
        raise UsageError(f"there is no device {options.device!r}", "it is cpu or cuda", "leave --device out for cpu")
    mode = checked_mode(options.wandb)
    if mode == "online":
        from openrlb.sources.wandb.client import key_available

        if not key_available():  # wandb would ask for it at the terminal, in the middle of the batch
            fix = "set WANDB_API_KEY, or mirror to files (--wandb offline) and send them later (wandb sync)"
            raise NetworkError("runs cannot be mirrored to Weights & Biases", "there is no API key", fix)
    return mode


def _lines(store: Store, outcomes: Sequence[tuple[WorkItem, Outcome]], plan: RunPlan) -> tuple[RunLine, ...]:
    """What came of each run, in the plan's order."""
    from openrlb_runners.progress import last_of

    by_id = {outcome.run.run: outcome for _, outcome in outcomes}
    numbers = _stored_numbers(store, [run for run, outcome in by_id.items() if outcome.batch is None])
    numbers |= {run: last_of(outcome.batch) for run, outcome in by_id.items() if outcome.batch is not None}
    lines = []
    for planned in plan.runs:
        outcome = by_id.get(planned.run or "")
        if outcome is not None:
            run, (steps, mean) = outcome.run, numbers.get(outcome.run.run, (None, None))
            told = (run.run, run.algo, run.impl, run.env, run.seed, run.state, steps, mean)
            lines.append(RunLine(*told, outcome.seconds, outcome.trained, run.attempt, run.notes))
    return tuple(lines)


def _stored_numbers(store: Store, runs: Sequence[str]) -> dict[str, tuple[int | None, float | None]]:
    """The steps and the last return of stored runs."""
    from openrlb.store.schema import literal
    from openrlb_runners.progress import EPISODES

    if not runs:
        return {}
    selection = Selection(where=f"source = 'openrlb' AND run IN ({', '.join(map(literal, sorted(runs)))})")
    try:
        steps = {row.record.run: row.columns["steps"] for row in store.runs(selection)}
    except NothingMatched:
        return {}
    means = {curve.run.run: float(curve.values[-EPISODES:].mean()) for curve in store.curves(selection, [RETURN])}
    return {run: (step, means.get(run)) for run, step in steps.items()}


def _next_command(plan: RunPlan) -> str:
    """The command that shows what was trained."""
    words = ["openrlb", "plot", "--source", "openrlb"]
    for flag, names in (("--algo", [group.algo for group in plan.groups]), ("--env", [group.env for group in plan.groups])):
        for name in dict.fromkeys(names):
            words += [flag, quote(name)]
    return " ".join([*words, "--metric", "iqm"])
