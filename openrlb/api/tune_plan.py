"""What a study will do, before anything is trained: from what a person asks for to the settings that make it the study it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from openrlb.api.run_plan import PlannedEnvironment, Say, runner_environment
from openrlb.api.tune_time import Expected, expected
from openrlb.errors import UsageError
from openrlb.store import Store
from openrlb_hpo.records import StudyRecord, StudySettings

if TYPE_CHECKING:
    from openrlb_hpo.ledger import Ledger
    from openrlb_hpo.space import Space
    from openrlb_runners.batch import Choice
    from openrlb_runners.launchers.protocol import Launcher
    from openrlb_runners.request import PinnedRunner

State = Literal["new", "goes on", "finished"]

DISCRETE_ENV, CONTINUOUS_ENV = "CartPole-v1", "Pendulum-v1"
SOME_CONFIGURATIONS = 1
"""A suggested budget tries so many more configurations than twice those that are confirmed: there is something to choose."""
CONTINUOUS_ONLY = ("crossq", "ddpg", "sac", "td3", "tqc")
"""Algorithms that have no discrete actions."""


@dataclass(frozen=True)
class TuneOptions:
    """What to tune, and how; the flags of ``openrlb tune``.

    Attributes:
        algo: The algorithm.
        budget: How many runs tuning may take, seeds and confirmation counted.
        envs: Environments; CartPole-v1 or, for algorithms of continuous actions alone, Pendulum-v1 by default.
        impl: The runner, where several have the algorithm.
        steps: Training steps of a run; by default the published number, else a million.
        tuning_seeds: How many seeds a configuration is tuned on.
        confirm: How many of the best configurations are run again on as many fresh seeds; 0 for none.
        test_seeds: How many seeds the incumbent and each baseline are tested on.
        method: How configurations are proposed.
        space: A packaged space, or a TOML file.
        objective: The score rule.
        racing: After each seed the best 1/racing go on; 1 for no race.
        baselines: ``default``, ``published``, TOML files, stored runs; by default the first two, where there is a second.
        normalize: The normalisation of several environments: a table's name, a TOML file, or a frozen name; by default the
            table that holds all of them.
        changes: Hyperparameters that are not searched but set, nested.
        env_kwargs: Arguments of the environments.
        evaluation: ``{"every": steps, "episodes": n, "deterministic": true}`` to score evaluations, or None.
        init_from: A study of the same space whose best configurations are tried first.
        compare_random: Whether the same is done again by random search.
        study_seed: The seed of the proposals.
        new_study: Begin another study where an equal one is finished.
        fresh_test_seeds: Test on seeds that no study of the algorithm in these environments has.
        workers: How many runs at a time.
        threads: Threads of each run.
        device: ``cpu`` or ``cuda``.
        wall_seconds: The longest that one run may take.
        memory_bytes: The most memory that one run may hold.
        storage: The database of the studies; a file in the store by default.
        torch_source: A folder or address that has torch's CPU wheels, for an environment that is to be built.
        margin: The smallest difference that matters, for the verdict; without it nothing is equivalent.
        launcher: Where runs execute: ``local``, or ``slurm`` or ``ray``, whose workers go on by themselves.
        slurm: Options of sbatch by their long names, for that launcher.
        ray: Where the Ray cluster is and what a worker takes of it, for that launcher.
    """

    algo: str
    budget: int
    envs: Sequence[str] = ()
    impl: str | None = None
    steps: int | None = None
    tuning_seeds: int = 3
    confirm: int = 3
    test_seeds: int = 10
    method: str = "tpe"
    space: str = "zoo"
    objective: str = "final:10%"
    racing: int = 2
    baselines: Sequence[str] | None = None
    normalize: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, Any] | None = None
    init_from: str | None = None
    compare_random: bool = False
    study_seed: int = 0
    new_study: bool = False
    fresh_test_seeds: bool = False
    workers: int | None = None
    threads: int = 1
    device: str = "cpu"
    wall_seconds: float | None = None
    memory_bytes: int | None = None
    storage: str | None = None
    torch_source: str | None = None
    margin: float | None = None
    launcher: str = "local"
    slurm: Mapping[str, object] = field(default_factory=dict)
    ray: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class TunePlan:
    """What a study will do.

    Attributes:
        settings: The study's settings.
        resolved: False for a dry run without the runner's environment: what depends on the runner is not known then.
        budget: The budget, which a study that goes on may have had before.
        environment: The runner's environment.
        env_source: Where the environments come from, in words.
        steps_source: Where the number of steps comes from.
        other_impls: Other runners that have the algorithm.
        storage: The database, its password hidden.
        workers: How many runs at a time.
        workers_reason: Why so many.
        state: Whether the study is new, goes on or is finished.
        spent: How many runs of the budget are reserved.
        time: How long what is left will take.
        random: The settings of the random search beside it, or None.
        notes: What else is to be said.
    """

    settings: StudySettings
    resolved: bool
    budget: int
    environment: PlannedEnvironment
    env_source: str
    steps_source: str
    other_impls: tuple[str, ...]
    storage: str
    workers: int
    workers_reason: str
    state: State
    spent: int
    time: Expected
    random: StudySettings | None
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The plan as plain JSON values."""
        table = {name: getattr(self, name) for name in self.__dataclass_fields__}
        table["study"] = self.settings.name if self.resolved else None
        table["settings"], table["environment"] = self.settings.to_json(), asdict(self.environment)
        table["random"] = None if self.random is None else self.random.to_json()
        table["time"], table["seconds"] = asdict(self.time), self.time.seconds
        return table


def make_study_plan(
    options: TuneOptions, store: Store, ledger: Ledger | None, launcher: Launcher, *, dry_run: bool, say: Say
) -> tuple[TunePlan, PinnedRunner | None]:
    """The plan of a study, and the runner that trains it.

    Args:
        options: What is asked for.
        store: Where runs are kept.
        ledger: Where studies are kept; None where a dry run has found no database.
        launcher: Where the runner is asked what requests mean.
        dry_run: Build no environment.
        say: Takes lines of talk.

    Raises:
        UsageError: A request that has no meaning; nothing was trained then.
        NothingMatched: A study or a run that is named is not there.
        LockError, BuildError, NetworkError: The runner's environment cannot be built.
    """
    from openrlb.api.tune_baselines import declared
    from openrlb_hpo.contract import check
    from openrlb_hpo.differences import unfinished_alike
    from openrlb_hpo.planner import Done, next_step
    from openrlb_runners.batch import choose
    from openrlb_runners.capacity import default_workers
    from openrlb_runners.spec import known_runners

    check_options(options)
    choice = choose(options.algo, options.impl, known_runners())
    draft, sources = _draft(options, choice, store)
    environment, runner = runner_environment(choice.spec, options.device, options.torch_source, dry_run=dry_run, say=say)
    found = declared(options, choice, draft, runner, launcher, store, ledger)
    settings = replace(
        draft,
        runner_source="" if runner is None else runner.source,
        lock="" if runner is None else runner.lock,
        baselines=found.baselines,
        first=found.first,
    )
    studies = [] if ledger is None else ledger.studies(on_unreadable=say)
    settings = _chosen(settings, studies, options, store)
    record = next((one for one in studies if one.settings.digest == settings.digest), None)
    if record is not None:
        check(record)
    budget = options.budget if record is None else max(options.budget, record.budget)
    if record is not None and record.frozen_at is not None and options.budget != record.budget:
        why = f"its test phase began with a budget of {record.budget}: tuning is over"
        raise UsageError(f"{record.name} cannot go on with a budget of {options.budget}", why, "add --new-study for another one")
    over = record is not None and isinstance(next_step(record, _open(record)), Done)
    workers, reason = (options.workers, "as asked") if options.workers else default_workers(options.threads, options.memory_bytes)
    random = replace(settings, method="random") if options.compare_random else None
    beside = next((one for one in studies if random is not None and one.settings.digest == random.digest), None)
    if beside is not None and beside.frozen_at is not None and beside.budget != options.budget:
        why = f"the random search {beside.name} was tested with a budget of {beside.budget}, not {options.budget}"
        raise UsageError("--compare-random cannot be fair here", why, f"use --budget {beside.budget}, or add --new-study")
    others = [one for one in studies if random is None or one.settings.digest != random.digest]
    plan = TunePlan(
        settings=settings,
        resolved=runner is not None,
        budget=budget,
        environment=environment,
        env_source=sources[0],
        steps_source=sources[1],
        other_impls=choice.others,
        storage="" if ledger is None else ledger.shown,
        workers=workers,
        workers_reason=reason,
        state="new" if record is None else "finished" if over else "goes on",
        spent=0 if record is None else record.spent,
        time=expected(settings, budget, workers, store, studies, random=random),
        random=random,
        notes=(*found.notes, *_budget_notes(settings, budget), *(unfinished_alike(settings, others) if runner else ())),
    )
    return plan, runner


def check_options(options: TuneOptions) -> None:
    """Refuses what can be refused by looking at it.

    Raises:
        UsageError: A value that has no meaning, or a budget that is too small.
    """
    from openrlb_analysis.power import checked_margin
    from openrlb_analysis.rules import parse_rule
    from openrlb_hpo.seeds import MOST_SEEDS

    for name, least in (("tuning_seeds", 1), ("test_seeds", 1), ("confirm", 0), ("racing", 1), ("study_seed", 0), ("budget", 1)):
        value = getattr(options, name)
        if value < least:
            flag = name.replace("_", "-")
            raise UsageError(f"--{flag} {value} has no meaning", f"the least is {least}", f"write --{flag} {least} or more")
    for name in ("tuning_seeds", "test_seeds"):
        if getattr(options, name) > MOST_SEEDS:
            raise UsageError(
                f"there are no {getattr(options, name)} {name.replace('_', ' ')}", f"the most are {MOST_SEEDS}", "use fewer"
            )
    if options.device not in ("cpu", "cuda"):
        raise UsageError(f"there is no device {options.device!r}", "it is cpu or cuda", "leave --device out for cpu")
    if options.compare_random and options.method == "random":
        raise UsageError("--compare-random has nothing to compare", "the method is random itself", "leave one of the two out")
    if options.margin is not None:
        checked_margin(options.margin)
    allowed = "use final:P% (final:10%), last, at:STEP, mean or auc"
    try:
        rule = parse_rule(options.objective)
    except UsageError as error:
        raise UsageError(f"--objective {options.objective} has no meaning", error.what, allowed) from error
    if rule.optimistic:
        why = "it chooses a run's best point after the fact, and tuning would choose for luck"
        raise UsageError(f"{rule.text} cannot be an objective", why, allowed)


def _draft(options: TuneOptions, choice: Choice, store: Store) -> tuple[StudySettings, tuple[str, str]]:
    """The settings as far as no runner is needed for them, and where environments and steps come from.

    Raises:
        UsageError: Space, method, steps, scales or budget have no meaning.
    """
    from openrlb_analysis.rules import parse_rule

    envs, env_source = _envs(options, choice)
    steps, steps_source = _steps(options, choice, envs)
    rule = parse_rule(options.objective)
    if rule.name == "at" and (rule.argument or 0) > steps:
        raise UsageError(f"--objective {rule.text} looks beyond the end", f"a run has {steps:,} steps", "name an earlier step")
    space = _space(options, choice)
    normalization, scale = _scale(options, envs, store)
    draft = StudySettings(
        algo=choice.algo,
        impl=choice.spec.name,
        runner_source="",
        lock="",
        envs=envs,
        steps=steps,
        space=space.to_json(),
        space_name=space.name,
        space_digest=space.digest,
        method=options.method,
        study_seed=options.study_seed,
        tuning_seeds=options.tuning_seeds,
        confirm=options.confirm,
        test_seeds=options.test_seeds,
        objective=rule.text,
        kind="episode" if options.evaluation is None else "eval",
        normalization=normalization,
        scale=scale,
        eta=options.racing,
        fixed=dict(options.changes),
        env_kwargs=dict(options.env_kwargs),
        evaluation=None if options.evaluation is None else dict(options.evaluation),
        threads=options.threads,
        device=options.device,
    )
    least = draft.full_trial + draft.confirm_runs
    if options.budget < least:
        one = f"one configuration takes {draft.full_trial} runs ({_times(draft)})"
        kept = f", and {draft.confirm_runs} are kept to confirm {draft.confirm} of them" if draft.confirm else ""
        wide = 2 * max(draft.confirm, 1) + SOME_CONFIGURATIONS
        enough = draft.confirm_runs + wide * draft.full_trial
        fix = f"add --budget {enough}, which tries {wide} configurations or more ({least} has room for one)"
        fix += f", or --confirm 0, which needs {draft.full_trial}" if draft.confirm else ""
        raise UsageError(f"a budget of {options.budget} runs is too small", one + kept, fix)
    return draft, (env_source, steps_source)


def _times(settings: StudySettings) -> str:
    """What a whole configuration takes, in words."""
    seeds = f"{settings.tuning_seeds} tuning seed{'s' if settings.tuning_seeds > 1 else ''}"
    return seeds if len(settings.envs) == 1 else f"{seeds} in {len(settings.envs)} environments"


def _envs(options: TuneOptions, choice: Choice) -> tuple[tuple[str, ...], str]:
    """The environments, and where they come from."""
    if options.envs:
        return tuple(dict.fromkeys(options.envs)), "as asked"
    if choice.algo in CONTINUOUS_ONLY:
        return (CONTINUOUS_ENV,), "the default for algorithms of continuous actions"
    return (DISCRETE_ENV,), "the default for algorithms that have discrete actions"


def _steps(options: TuneOptions, choice: Choice, envs: Sequence[str]) -> tuple[int, str]:
    """The training steps of a run, chosen as ``run`` does.

    Raises:
        UsageError: Environments are published with different numbers.
    """
    from openrlb_runners.batch import PUBLISHED, settings_for

    found = {env: settings_for(choice, env, PUBLISHED, options.steps, {}) for env in envs}
    numbers = {one.steps for one in found.values()}
    if len(numbers) > 1:
        told = ", ".join(f"{env} {one.steps:,}" for env, one in found.items())
        raise UsageError("the environments differ in their steps", f"published: {told}", "add --steps N for all of them")
    first = found[envs[0]]
    return first.steps, first.steps_source


def _space(options: TuneOptions, choice: Choice) -> Space:
    """The space, without what ``--set`` fixes.

    Raises:
        UsageError: It has no meaning, or the method cannot work in it.
    """
    from openrlb_hpo.methods import check_method
    from openrlb_hpo.space import Space, load_space

    space = load_space(options.space, choice.algo).without(options.changes)
    check_method(options.method, space)
    return Space.from_json(space.to_json())  # what any worker will read: refused here, not there


def _scale(options: TuneOptions, envs: Sequence[str], store: Store) -> tuple[str, dict[str, tuple[float, float]]]:
    """The normalisation of several environments: its name, and the scores that count as 0 and 1.

    Raises:
        UsageError: No normalisation holds all environments, or it is none that averages.
    """
    if len(envs) == 1:
        if options.normalize not in (None, "none"):
            why = "one environment's scores are compared as they are"
            raise UsageError("--normalize has nothing to do", why, "leave it out, or name a second --env")
        return "none", {}
    from openrlb.api.normalization import stored_normalization
    from openrlb_analysis.normalize import normalization, read_table, tables

    word = options.normalize
    if word is None:  # any table that holds them all, also one that figures take only when it is named
        word = next((name for name, one in tables().items() if all(map(one.references, envs))), None)
    elif word.endswith(".toml"):
        table = read_table(Path(word))
        if lacking := [env for env in envs if table.references(env) is None]:
            raise UsageError(f"{word} cannot normalise {', '.join(lacking)}", "it does not hold them", "add them to its [scores]")
        return f"{table.name} v{table.version}", {env: (one.low, one.high) for env, one in table.scales(envs).items()}
    found = normalization(stored_normalization(store, word), envs)
    scales = found.references
    if not found.pools or any(scale.scores for scale in scales.values()):
        why = f"{found.name} is no linear scale" if found.pools else found.note or "no normalisation table holds all of them"
        fix = "give a table (--normalize FILE), freeze one from stored runs (openrlb plot --normalize ref:GROUP --freeze NAME)"
        raise UsageError("scores of these environments cannot be averaged", why, f"{fix}, or tune one environment at a time")
    return found.text, {env: (float(scale.low), float(scale.high)) for env, scale in scales.items()}


def _chosen(settings: StudySettings, studies: Sequence[StudyRecord], options: TuneOptions, store: Store) -> StudySettings:
    """The settings with their repetition and block of test seeds: those of the equal study that goes on, or of the next one.

    Without a flag it is the one study of these settings. ``fresh_test_seeds`` leaves the first block to others; ``new_study``
    begins another one only where the newest equal one is finished, or breaks its rules, so that the same command again goes on.
    """
    from openrlb_hpo.contract import verify
    from openrlb_hpo.planner import Done, next_step

    alike = [
        one
        for one in studies
        if replace(one.settings, repetition=0, test_block=0) == replace(settings, repetition=0, test_block=0)
    ]
    alike = [one for one in alike if bool(one.settings.test_block) == options.fresh_test_seeds]
    newest = alike[-1] if alike else None
    if newest is not None and not options.new_study:
        return newest.settings if options.fresh_test_seeds else settings
    if newest is not None and not verify(newest) and not isinstance(next_step(newest, _open(newest)), Done):
        return newest.settings
    if options.fresh_test_seeds:
        return replace(settings, test_block=_next_block(settings, studies, store))
    return replace(settings, repetition=len(alike))


def _next_block(settings: StudySettings, studies: Sequence[StudyRecord], store: Store) -> int:
    """The first block of test seeds, after the common one, that no study of the algorithm in these environments has."""
    from openrlb.api.study_evidence import stored_looks

    taken = {look.block for look in stored_looks(store) if look.is_at(replace(settings, test_block=look.block))} | {
        one.settings.test_block
        for one in studies
        if one.settings.algo == settings.algo and {*one.settings.envs} & {*settings.envs}
    }
    return next(block for block in range(1, len(taken) + 2) if block not in taken)


def _open(record: StudyRecord) -> frozenset[int]:
    """The open runs of a study, as if all of them were held: a study with open runs is not over."""
    return frozenset(row.number for row in record.reservations if row.state == "open")


def _budget_notes(settings: StudySettings, budget: int) -> list[str]:
    """What the budget leaves undone."""
    room = (budget - settings.confirm_runs) // settings.full_trial
    if len(settings.first) >= room:
        held = f"{room} whole configuration{'s' if room > 1 else ''}"
        wide = len(settings.first) + 2 * max(settings.confirm, 1) + SOME_CONFIGURATIONS
        more = f"--budget {settings.confirm_runs + wide * settings.full_trial} has room for {wide}"
        return [f"the budget has room for {held}: those that are tried first take it up, and hardly any is sampled; {more}"]
    return []
