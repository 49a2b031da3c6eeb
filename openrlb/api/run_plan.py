"""What a batch of training runs will do, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

from openrlb.errors import UsageError
from openrlb.store import Store
from openrlb.types import Selection
from openrlb.words import counted, span

if TYPE_CHECKING:
    from openrlb_runners.batch import Choice, Settings
    from openrlb_runners.launchers.protocol import Launcher
    from openrlb_runners.memo import Memo
    from openrlb_runners.request import PinnedRunner, TrainingRequest, WorkItem
    from openrlb_runners.spec import RunnerSpec

Say = Callable[[str], None]
Todo = Literal["train", "stored", "elsewhere", "unknown"]
Kind = tuple[str, str, str]
"""Algorithm, runner, environment."""

PACE_RUNS = 5
KINDS_NAMED = 3
"""So many stored runs of a kind tell its pace."""


@dataclass(frozen=True)
class Tuned:
    """What a study has found.

    Attributes:
        study: Its name.
        hyperparameters: Those of its incumbent, nested.
        steps: The steps that its runs trained for.
    """

    study: str
    hyperparameters: Mapping[str, Any]
    steps: int


@dataclass(frozen=True)
class RunOptions:
    """What to train, and how; the flags of ``openrlb run``.

    Attributes:
        algorithms: Algorithms.
        envs: Environments, by their full ids.
        seeds: Training seeds.
        impl: The runner to use, where several have an algorithm.
        steps: Training steps; by default the published number, else a million.
        changes: Single hyperparameters, nested.
        hyperparameters: ``published``, ``library``, or a TOML file.
        env_kwargs: Arguments of the environments.
        evaluation: ``{"every": steps, "episodes": n, "deterministic": true}``, or None.
        workers: How many runs at a time; by default as many as there are physical cores and memory for.
        threads: Threads of each run.
        device: ``cpu`` or ``cuda``.
        wandb: ``off``, ``offline`` or ``online``: where rows are mirrored.
        wall_seconds: The longest that one run may take.
        memory_bytes: The most memory that one run may hold.
        launcher: Where runs execute: ``local``, or ``slurm`` or ``ray``, whose workers go on by themselves.
        slurm: Options of sbatch by their long names, for that launcher.
        ray: Where the Ray cluster is and what a worker takes of it, for that launcher.
        torch_source: A folder or address that has torch's CPU wheels, for an environment that is to be built.
        tuned: What to train with instead of ``hyperparameters``: a study's incumbent.
    """

    algorithms: Sequence[str]
    envs: Sequence[str]
    seeds: Sequence[int] = (1,)
    impl: str | None = None
    steps: int | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    hyperparameters: str = "published"
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, Any] | None = None
    workers: int | None = None
    threads: int = 1
    device: str = "cpu"
    wandb: str = "off"
    wall_seconds: float | None = None
    memory_bytes: int | None = None
    launcher: str = "local"
    slurm: Mapping[str, object] = field(default_factory=dict)
    ray: Mapping[str, object] = field(default_factory=dict)
    torch_source: str | None = None
    tuned: Tuned | None = None


@dataclass(frozen=True)
class PlannedRun:
    """One run of a plan.

    Attributes:
        run: Its id, or None where the environment has to be built before it can be known.
        algo: The algorithm.
        impl: The runner.
        env: The environment.
        seed: The seed.
        steps: Training steps.
        todo: ``train``, ``stored`` (finished already), ``elsewhere`` (another openrlb trains it) or ``unknown``.
        before: How the last try ended, where there was one that did not finish.
        seconds: How long it will take, where a run of its kind on this processor is stored.
    """

    run: str | None
    algo: str
    impl: str
    env: str
    seed: int
    steps: int
    todo: Todo
    before: str | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class PlannedGroup:
    """One algorithm in one environment.

    Attributes:
        algo: The algorithm.
        impl: The runner.
        env: The environment.
        steps: Training steps.
        steps_source: Where that number comes from.
        hyperparameters: Those that are asked for.
        hyperparameters_source: Where they come from.
        effective: Every hyperparameter as it will be applied, or None where the environment has to be built first.
        other_impls: Other runners that have the algorithm.
    """

    algo: str
    impl: str
    env: str
    steps: int
    steps_source: str
    hyperparameters: Mapping[str, Any]
    hyperparameters_source: str
    effective: Mapping[str, Any] | None
    other_impls: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlannedEnvironment:
    """The environment of a runner.

    Attributes:
        name: The runner and its variant.
        built: Whether it is there.
        download_mb: What building it downloads, where it was measured.
        disk_mb: What it then takes on disk, likewise.
        seconds: How long that took, likewise.
    """

    name: str
    built: bool
    download_mb: int | None = None
    disk_mb: int | None = None
    seconds: int | None = None


@dataclass(frozen=True)
class RunPlan:
    """What a batch will do.

    Attributes:
        runs: Every run.
        groups: What each algorithm trains with in each environment.
        environments: The runners' environments.
        workers: How many runs at a time.
        workers_reason: Why so many.
        seconds: How long all of it will take, or None where a run's pace is not known.
    """

    runs: tuple[PlannedRun, ...]
    groups: tuple[PlannedGroup, ...]
    environments: tuple[PlannedEnvironment, ...]
    workers: int
    workers_reason: str
    seconds: float | None

    def count(self, todo: str) -> int:
        """How many runs are to be done so."""
        return sum(run.todo == todo for run in self.runs)

    @property
    def to_train(self) -> tuple[PlannedRun, ...]:
        """The runs that will be trained here."""
        return tuple(run for run in self.runs if run.todo in ("train", "unknown"))

    def todo_words(self) -> str:
        """How many runs are to be trained and how many are there already, as far as that is known.

        >>> known = PlannedRun("a", "ppo", "sb3", "CartPole-v1", 1, 1000, "train")
        >>> RunPlan((known, replace(known, todo="stored")), (), (), 2, "", None).todo_words()
        '1 to train, 1 there already'
        >>> RunPlan((replace(known, todo="unknown"),) * 5, (), (), 2, "", None).todo_words()
        'at most 5 to train (which are there already is known when the runner is built)'
        """
        unknown = self.count("unknown")
        stored = f", {self.count('stored')} there already"
        if not unknown:
            return f"{self.count('train')} to train{stored}"
        told = stored if unknown < len(self.runs) else ""
        of = f" of {unknown} others" if told else ""
        return f"at most {len(self.to_train)} to train{told} (which{of} are there already is known when the runner is built)"

    def time_words(self) -> str:
        """How long it will take, and of which runs that is not known.

        >>> known = PlannedRun("a", "ppo", "sb3", "CartPole-v1", 1, 1000, "train", seconds=60.0)
        >>> plan = RunPlan((known, replace(known, algo="dqn", seconds=None)), (), (), 2, "", None)
        >>> plan.time_words()
        '1 min 0 s for 1 run; not known on this machine for 1 (dqn in sb3 on CartPole-v1): none was trained on its processor yet'
        """
        untimed = [run for run in self.to_train if run.seconds is None]
        timed = len(self.to_train) - len(untimed)
        seconds = _seconds([run for run in self.to_train if run.seconds is not None], self.workers)
        if not untimed:
            return span(seconds)
        kinds = list(dict.fromkeys(f"{run.algo} in {run.impl} on {run.env}" for run in untimed))
        told = ", ".join(kinds[:KINDS_NAMED]) + (f" and {len(kinds) - KINDS_NAMED} more" if len(kinds) > KINDS_NAMED else "")
        why = f"({told}): none was trained on its processor yet"
        if not timed:
            return f"not known yet on this machine {why}"
        return f"{span(seconds)} for {counted(timed, 'run')}; not known on this machine for {len(untimed)} {why}"


@dataclass
class _Group:
    """One algorithm in one environment while it is planned."""

    planned: PlannedGroup
    requests: list[TrainingRequest]
    items: list[WorkItem] = field(default_factory=list)


def make_plan(
    options: RunOptions, store: Store, memo: Memo, launcher: Launcher, dry_run: bool, say: Say
) -> tuple[RunPlan, list[WorkItem]]:
    """The plan of a batch, and its work items.

    Args:
        options: What is asked for.
        store: Where finished runs may be already.
        memo: What it holds of them.
        launcher: Where runners are asked what requests mean.
        dry_run: Build no environment; a runner without one is not asked, and has no items.
        say: Takes lines of talk.

    Raises:
        UsageError: A request that has no meaning.
        LockError, BuildError, NetworkError: An environment cannot be built.
    """
    from openrlb_runners.batch import choose
    from openrlb_runners.capacity import default_workers
    from openrlb_runners.spec import known_runners

    runners = known_runners()
    choices = [choose(algo, options.impl, runners) for algo in dict.fromkeys(options.algorithms)]
    groups = [_group(choice, env, options) for choice in choices for env in dict.fromkeys(options.envs)]
    pinned: dict[str, tuple[PlannedEnvironment, PinnedRunner | None]] = {}
    for choice in choices:
        if choice.spec.name not in pinned:
            pinned[choice.spec.name] = runner_environment(
                choice.spec, options.device, options.torch_source, dry_run=dry_run, say=say
            )
    for name, (_, runner) in pinned.items():
        if runner is not None:
            _resolve(runner, [group for group in groups if group.planned.impl == name], launcher, _tags(options))
    workers, reason = default_workers(options.threads, options.memory_bytes)
    if options.workers is not None:
        workers, reason = options.workers, "as asked"
    runs = _planned_runs(store, memo, groups)
    plan = RunPlan(
        runs=tuple(runs),
        groups=tuple(group.planned for group in groups),
        environments=tuple(environment for environment, _ in pinned.values()),
        workers=workers,
        workers_reason=reason,
        seconds=_seconds(runs, workers),
    )
    return plan, [item for group in groups for item in group.items]


def _seconds(runs: Sequence[PlannedRun], workers: int) -> float | None:
    """How long a batch takes: None where the pace of a run is not known."""
    todo = [run for run in runs if run.todo in ("train", "unknown")]
    known = [run.seconds for run in todo if run.seconds is not None]
    if len(known) < len(todo):
        return None
    return max(max(known), sum(known) / workers) if known else 0.0


def _settings(choice: Choice, env: str, options: RunOptions) -> Settings:
    """What one algorithm is asked to train with in one environment, and where that comes from."""
    from openrlb_runners.batch import Settings, settings_for

    tuned = options.tuned
    if tuned is None:
        return settings_for(choice, env, options.hyperparameters, options.steps, options.changes)
    told = (tuned.steps, f"as in the study {tuned.study}") if options.steps is None else (options.steps, "as asked")
    return Settings(tuned.hyperparameters, told[0], f"the incumbent of the study {tuned.study}", told[1])


def _tags(options: RunOptions) -> tuple[str, ...]:
    """The tags of a batch's runs."""
    return () if options.tuned is None else (f"study:{options.tuned.study}",)


def _group(choice: Choice, env: str, options: RunOptions) -> _Group:
    """One algorithm in one environment, not yet resolved."""
    from openrlb_runners.request import TrainingRequest

    settings = _settings(choice, env, options)
    requests = [
        TrainingRequest(
            algo=choice.algo,
            env=env,
            seed=seed,
            steps=settings.steps,
            hyperparameters=settings.hyperparameters,
            env_kwargs=options.env_kwargs,
            evaluation=options.evaluation,
            threads=options.threads,
            device=options.device,
        )
        for seed in dict.fromkeys(options.seeds)
    ]
    planned = PlannedGroup(
        algo=choice.algo,
        impl=choice.spec.name,
        env=env,
        steps=settings.steps,
        steps_source=settings.steps_source,
        hyperparameters=settings.hyperparameters,
        hyperparameters_source=settings.hyperparameters_source,
        effective=None,
        other_impls=choice.others,
    )
    return _Group(planned, requests)


def runner_environment(
    spec: RunnerSpec, device: str, torch_source: str | None, *, dry_run: bool, say: Say
) -> tuple[PlannedEnvironment, PinnedRunner | None]:
    """A runner's environment, built where it is missing, and the runner pinned to it.

    Args:
        spec: The runner.
        device: ``cpu`` or ``cuda``.
        torch_source: A folder or address that has torch's CPU wheels.
        dry_run: Build nothing; the runner is None where the environment is missing.
        say: Takes lines of talk while it is built.

    Raises:
        UsageError: There is no such device here.
        LockError, BuildError, NetworkError: It cannot be built.
    """
    from openrlb_runners.environment import build, default_variant, find
    from openrlb_runners.request import pin

    wanted = [default_variant(spec)]
    if device == "cuda" and wanted != ["cuda"]:
        why = "no NVIDIA driver is seen" if "cuda" in spec.variants else f"the runner {spec.name} has no CUDA environment"
        raise UsageError("cannot train on cuda", why, "leave --device out to train on the CPU")
    if device == "cpu" and "cpu" in spec.variants:
        wanted = ["cpu", *wanted]  # one that is there already trains on a CPU as well
    built = next((found for variant in wanted if (found := find(spec, variant)) is not None), None)
    variant = built.variant if built else wanted[-1]
    cost = spec.cost.get(variant)
    measured = (cost.download_mb, cost.disk_mb, cost.seconds or None) if cost else (None, None, None)
    planned = PlannedEnvironment(f"{spec.name}-{variant}", built is not None, *measured)
    if built is None:
        if dry_run:
            return planned, None
        built = build(spec, variant, torch_source=torch_source, say=say)
    return planned, pin(spec, built)


def _resolve(runner: PinnedRunner, groups: Sequence[_Group], launcher: Launcher, tags: tuple[str, ...]) -> None:
    """Asks a runner what all its requests mean, and makes the work items.

    Raises:
        UsageError: It refuses one.
    """
    from openrlb_runners.request import WorkItem
    from openrlb_runners.resolve import resolve

    effective = iter(resolve(runner, [request for group in groups for request in group.requests], launcher))
    for group in groups:
        group.items = [WorkItem(runner, request, next(effective), tags=tags) for request in group.requests]
        group.planned = replace(group.planned, effective=group.items[0].effective["hyperparameters"])


def _planned_runs(store: Store, memo: Memo, groups: Sequence[_Group]) -> list[PlannedRun]:
    """Every run: what there is of it, and how long it will take."""
    from openrlb_runners.run_folder import attempts, is_running

    planned = []
    for group in groups:
        digests: list[str | None] = [item.key.digest for item in group.items]
        for request, digest in zip(group.requests, digests or [None] * len(group.requests), strict=True):
            state = memo.last(digest)[0] if digest is not None else ""
            todo: Todo = "unknown" if digest is None else "train"
            if state == "finished":
                todo = "stored"
            elif digest is not None and any(is_running(folder) for folder in attempts(store.layout, digest)):
                todo = "elsewhere"
            before = state if state and todo != "stored" else None
            told = (request.algo, group.planned.impl, request.env, request.seed, request.steps)
            planned.append(PlannedRun(digest, *told, todo, before))
    paces = stored_paces(store, {(run.algo, run.impl, run.env) for run in planned if run.todo in ("train", "unknown")})
    return [_timed(run, paces.get((run.algo, run.impl, run.env))) for run in planned]


def _timed(run: PlannedRun, pace: float | None) -> PlannedRun:
    """A run with the time it will take."""
    return replace(run, seconds=run.steps / pace) if pace and run.todo in ("train", "unknown") else run


def stored_paces(store: Store, kinds: set[Kind]) -> dict[Kind, float]:
    """Steps per second of runs that openrlb trained on a processor like this one's; a kind without such runs is left out.

    Args:
        store: The store.
        kinds: What is asked for.
    """
    from openrlb.errors import NothingMatched
    from openrlb.store.schema import literal
    from openrlb.tracking.provenance import hardware

    wanted = " OR ".join(f"(algo, impl, env) = ({', '.join(map(literal, kind))})" for kind in sorted(kinds))
    if not wanted:
        return {}
    try:
        rows = store.runs(Selection(where=f"source IN ('openrlb', 'sample') AND state = 'finished' AND ({wanted})"))
    except NothingMatched:
        return {}
    cpu = hardware()["cpu"]
    alike: dict[Kind, list[str]] = {}
    for row in rows:
        if row.record.hardware.get("cpu") == cpu:
            alike.setdefault((row.record.algo, row.record.impl, row.record.env), []).append(row.record.run)
    ids = {run: kind for kind, runs in alike.items() for run in runs[-PACE_RUNS:]}
    if not ids:
        return {}
    where = f"run IN ({', '.join(map(literal, sorted(ids)))}) AND kind = 'episode' AND time_s > 0"
    found: dict[Kind, list[float]] = {}
    for run, pace in store.query(f"SELECT run, max(step) / max(time_s) FROM points WHERE {where} GROUP BY run").rows:
        found.setdefault(ids[run], []).append(pace)
    return {kind: median(paces) for kind, paces in found.items()}
