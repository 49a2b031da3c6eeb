"""``openrlb tune``."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from openrlb.cli import options as flag
from openrlb.cli.app import Talk, app, talk
from openrlb.cli.destination import destination
from openrlb.cli.launched import Launcher, Ray, Slurm, cluster_options, tell_launched
from openrlb.cli.render import emit_json, emit_lines
from openrlb.cli.run import assigned, bytes_of, seconds_of
from openrlb.cli.study import Margin, Storage, check_suffix, write_study
from openrlb.cli.tune_progress import study_display
from openrlb.errors import UsageError
from openrlb.words import counted, span

if TYPE_CHECKING:
    from openrlb.api.tune import TunePlan, TuneReport
    from openrlb_hpo.records import StudyRole, StudySettings

SEEDS_SHOWN = 3
NARROWEST = 40
"""Lines are not broken into shorter ones, however narrow the terminal is."""


@app.command(
    epilog="Examples: openrlb tune ppo --budget 100   |   openrlb tune sac --env Pendulum-v1 --budget 60 --steps 20000"
    " --compare-random -o sac.html   |   openrlb tune dqn --env Acrobot-v1 --budget 200 --dry-run"
)
def tune(
    ctx: typer.Context,
    algo: Annotated[str, typer.Argument(help="The algorithm (openrlb runner list names them).", metavar="ALGO")],
    budget: Annotated[
        int | None,
        typer.Option("--budget", help="Runs that tuning may take, seeds and confirmation counted. Needed.", show_default=False),
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(
            "--env", help="Environment, by its full id; CartPole-v1 or Pendulum-v1 by default. Several are tuned together."
        ),
    ] = None,
    impl: Annotated[str | None, typer.Option("--impl", help="The runner, where several have the algorithm.")] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps", parser=flag.whole_number, metavar="N", help="Training steps; the published number or 1e6 by default."
        ),
    ] = None,
    tuning_seeds: Annotated[int, typer.Option("--tuning-seeds", help="Seeds that a configuration is tuned on.")] = 3,
    confirm: Annotated[
        int, typer.Option("--confirm", help="So many of the best are run again on fresh seeds, and chosen by these; 0 for none.")
    ] = 3,
    test_seeds: Annotated[int, typer.Option("--test-seeds", help="Seeds that the result is tested on.")] = 10,
    method: Annotated[str, typer.Option("--method", help="tpe, random, gp, cmaes or qmc.")] = "tpe",
    space: Annotated[str, typer.Option("--space", help="zoo, eimer2023, or a TOML file.")] = "zoo",
    objective: Annotated[
        str, typer.Option("--objective", help="A run's score: final:10%, last, at:STEP, mean, auc.")
    ] = "final:10%",
    racing: Annotated[
        int, typer.Option("--racing", "--eta", help="After each seed the best 1/N of the configurations go on; 1 for no race.")
    ] = 2,
    baseline: Annotated[
        list[str] | None,
        typer.Option("--baseline", help="default, published, a TOML file or a stored run; the first two by default. Repeatable."),
    ] = None,
    normalize: Annotated[
        str | None,
        typer.Option("--normalize", help="For several environments: a table, a file or a frozen name; what fits by default."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            envvar="OPENRLB_TUNE_SET",
            help="A hyperparameter that is set, not searched. Repeatable.",
        ),
    ] = None,
    env_set: Annotated[
        list[str] | None, typer.Option("--env-set", metavar="KEY=VALUE", help="An argument of the environment. Repeatable.")
    ] = None,
    eval_every: Annotated[
        int | None,
        typer.Option(
            "--eval-every", parser=flag.whole_number, metavar="N", help="Evaluate every N steps, and score evaluations."
        ),
    ] = None,
    eval_episodes: Annotated[int, typer.Option("--eval-episodes", min=1, help="Episodes of each evaluation.")] = 10,
    init_from: Annotated[
        str | None, typer.Option("--init-from", metavar="STUDY", help="Try another study's best configurations first.")
    ] = None,
    compare_random: Annotated[
        bool, typer.Option("--compare-random", help="The same once more by random search, tuned and tested too.")
    ] = False,
    study_seed: Annotated[int, typer.Option("--study-seed", help="The seed of the proposals.")] = 0,
    new_study: Annotated[bool, typer.Option("--new-study", help="Begin another study where an equal one is finished.")] = False,
    fresh_test_seeds: Annotated[
        bool, typer.Option("--fresh-test-seeds", help="Test on seeds that no study of the algorithm here has.")
    ] = False,
    margin: Margin = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Runs at a time; as many as physical cores by default.")
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads of each run; more than 1 changes its results.")] = 1,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
    wall_limit: Annotated[str | None, typer.Option("--wall-limit", help="The longest one run may take: 90s, 15m, 2h.")] = None,
    memory_limit: Annotated[
        str | None, typer.Option("--memory-limit", help="The most memory one run may hold: 8G, 500M.")
    ] = None,
    storage: Storage = None,
    launcher: Launcher = "local",
    slurm: Slurm = None,
    ray: Ray = None,
    torch_source: Annotated[
        str | None, typer.Option("--torch-source", help="A folder or address with torch's CPU wheels, to build with.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; train, store and build nothing.")] = False,
    as_json: flag.Json = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            callback=destination,
            help="Write the result: .html (the report), .json, .txt, or the checklist of a paper: .md, .tex.",
        ),
    ] = None,
) -> None:
    """Search hyperparameters on tuning seeds, and say what they are worth on seeds that tuning never saw.

    The result is the incumbent's test score with its interval beside the stronger baseline on the same test seeds. The same
    command again goes on with a study that was interrupted or killed, with the same configurations and seeds; a larger
    budget extends it until its test phase has begun.
    """
    from openrlb.api.tune import TuneOptions
    from openrlb.api.tune import tune as tune_study
    from openrlb_runners.batch import nested

    check_suffix(output)
    if budget is None:
        why = "it is how many runs tuning may train: with 3 seeds for each configuration, 100 try about 30 configurations"
        raise UsageError("no --budget is named", why, f"openrlb tune {algo} --budget 100 --dry-run shows what it would do")
    evaluation = None
    if eval_every is not None:
        evaluation = {"every": eval_every, "episodes": eval_episodes, "deterministic": True}
    options = TuneOptions(
        algo=algo,
        budget=budget,
        envs=tuple(env or ()),
        impl=impl,
        steps=steps,
        tuning_seeds=tuning_seeds,
        confirm=confirm,
        test_seeds=test_seeds,
        method=method,
        space=space,
        objective=objective,
        racing=racing,
        baselines=tuple(baseline) if baseline else None,
        normalize=normalize,
        changes=nested(assigned(set_, "--set")),
        env_kwargs=dict(assigned(env_set, "--env-set")),
        evaluation=evaluation,
        init_from=init_from,
        compare_random=compare_random,
        study_seed=study_seed,
        new_study=new_study,
        fresh_test_seeds=fresh_test_seeds,
        workers=workers,
        threads=threads,
        device=device,
        wall_seconds=seconds_of(wall_limit) if wall_limit else None,
        memory_bytes=bytes_of(memory_limit) if memory_limit else None,
        storage=storage,
        launcher=launcher,
        slurm=cluster_options(slurm, "--slurm"),
        ray=cluster_options(ray, "--ray"),
        torch_source=torch_source,
        margin=margin,
    )
    said = talk(ctx)
    with study_display(said) as view:

        def tell(plan: TunePlan) -> None:
            view.study.workers = plan.workers
            for line in () if dry_run else wrapped(plan_lines(plan, False, said.verbose), sys.stderr):
                said.say(line)

        report = tune_study(options, dry_run=dry_run, say=said.say, on_plan=tell, on_event=view.take, on_step=view.step)
    if report.study is None:
        if dry_run or as_json or output is not None:  # else it was said before the workers were submitted
            _emit_plan(report, dry_run, as_json, output, said.verbose)
        if report.launched is not None and report.launched.launch:
            tell_launched(said, report.launched, "" if as_json else " --storage URL")
        elif report.launched is not None and report.launched.note:
            said.warn(report.launched.note)
    else:
        write_study(report.study, report.random, as_json, output, said)
        _tell_next(said, report, storage)


def _emit_plan(report: TuneReport, dry_run: bool, as_json: bool, output: Path | None, verbose: bool) -> None:
    """The plan of a dry run, or of workers that go on by themselves: JSON or text, on standard output or in a file.

    Raises:
        UsageError: The file's suffix is that of a result.
    """
    if output is not None and output.suffix not in (".json", ".txt"):
        raise UsageError(f"{output.name} cannot be written", "a dry run has no result", "name a .json or .txt file for the plan")
    plan, launched = report.plan, report.launched
    if as_json or (output is not None and output.suffix == ".json"):
        emit_json(plan.to_json() | ({} if launched is None else {"launched": asdict(launched)}), output)
    else:
        lines = plan_lines(plan, dry_run, verbose)
        if launched is not None and not launched.launch:
            lines += [f"{counted(launched.workers, 'worker')} would be submitted by this script:", *launched.script.splitlines()]
        emit_lines(lines if output is not None else wrapped(lines, sys.stdout), output)


def _tell_next(said: Talk, report: TuneReport, storage: str | None) -> None:
    """What can be typed next."""
    name = report.plan.settings.name
    place = " --storage URL" if storage else ""
    said.say(f"next: openrlb study report {name}{place} -o report.html   |   openrlb run --from {name}{place} --seeds 5")


def plan_lines(plan: TunePlan, dry_run: bool, verbose: bool) -> list[str]:
    """What a study will do, in words.

    Args:
        plan: The plan.
        dry_run: Whether nothing is done after it.
        verbose: Leave nothing out, however long.
    """
    settings, lines = plan.settings, []
    if dry_run and not plan.environment.built:  # where it was built, the measured figures were said
        cost = plan.environment
        size = f": {cost.download_mb:,} MB to download, {cost.disk_mb:,} MB on disk" if cost.disk_mb else ""
        lines.append(f"the environment {cost.name} has to be built{size}")
    if plan.resolved:
        on = "would go on" if dry_run else "goes on"
        told = {"new": "would begin" if dry_run else "begins", "finished": "is finished"}
        told["goes on"] = f"{on}: {plan.spent} of {plan.budget} runs are spent"
        lines.append(f"study {settings.name} {told[plan.state]}")
    lines.append(f"{settings.algo} ({settings.impl}) on {', '.join(settings.envs)} ({plan.env_source})")
    lines.append(f"  {settings.steps:,} steps a run ({plan.steps_source})")
    lines.append(f"  score {settings.objective} of {_kind(settings)}")
    if plan.other_impls:
        lines.append(f"  {settings.algo} is in {', '.join(plan.other_impls)} too: --impl {plan.other_impls[0]}")
    if settings.normalization != "none":
        lines.append(f"  scores of the environments are normalised by {settings.normalization}, each counting equally")
    if settings.fixed:
        lines.append(f"  set, not searched: {_values(settings.fixed)}")
    named = "" if verbose else " (-v names them)"
    searched = counted(len(settings.space["parameters"]), "hyperparameter")
    lines.append(f"space {settings.space_name} ({settings.space_digest}): {searched}{named}")
    if verbose:
        lines += [f"  {name}: {json.dumps(entry)}" for name, entry in settings.space["parameters"].items()]
    lines += _method(settings)
    if plan.resolved or settings.baselines:
        lines += [f"baseline {one.name}: {one.source}" for one in settings.baselines]
    lines += [f"note: {note}" for note in plan.notes]
    if not plan.resolved:
        lines.append("not checked yet, as the runner is not built: environment, hyperparameters, baselines")
    lines += ["seeds that are applied", *(f"  {line}" for line in _seeds(settings))]
    lines += budget_lines(settings, plan.budget)
    if plan.random is not None:
        lines.append("the same once more by random search, with as large a budget and a test phase of its own")
    lines.append(f"{counted(plan.workers, 'run')} at a time ({plan.workers_reason})")
    return lines + time_lines(plan)


def wrapped(lines: Sequence[str], stream: TextIO) -> list[str]:
    """Lines as a terminal shows them best: broken between words, what is left indented. Off a terminal they are left as they are.

    Args:
        lines: The lines.
        stream: Where they go.
    """
    if not stream.isatty():
        return list(lines)
    width = max(shutil.get_terminal_size().columns, NARROWEST)
    found: list[str] = []
    for line in lines:
        lead = " " * (len(line) - len(line.lstrip()) + 4)
        found += textwrap.wrap(line, width, subsequent_indent=lead, break_long_words=False, break_on_hyphens=False) or [line]
    return found


def budget_lines(settings: StudySettings, budget: int) -> list[str]:
    """What a budget means, in configurations and beside the convention of papers that do not count seeds.

    Args:
        settings: The study's.
        budget: Its budget in runs.
    """
    tuning = budget - settings.confirm_runs
    each = f"{counted(settings.tuning_seeds, 'seed')} each"
    each += "" if len(settings.envs) == 1 else f" in {len(settings.envs)} environments"
    kept = f"up to {settings.confirm_runs:,} for confirmation + {tuning:,} for tuning = " if settings.confirm else ""
    least = counted(tuning // settings.full_trial, "configuration")
    at_least = f"at least {least} on {each}" if settings.eta > 1 and settings.tuning_seeds > 1 else f"{least} on {each}"
    return [
        f"budget {budget:,} runs = {kept}{at_least}",
        f"  papers that do not count seeds would call this {budget // settings.full_trial:,}",
        f"  the test phase adds {counted(settings.test_runs, 'run')}",
    ]


def _kind(settings: StudySettings) -> str:
    """What is scored, in words."""
    if settings.evaluation is None:
        return "the training episodes' returns"
    return f"evaluations every {settings.evaluation['every']:,} steps"


def _values(values: Any) -> str:  # noqa: ANN401 - any mapping
    """Settings in a few words."""
    return ", ".join(f"{key}={json.dumps(value)}" for key, value in values.items())


def _seeds(settings: StudySettings) -> list[str]:
    """The seeds of each role, as they are applied."""
    from openrlb_hpo.seeds import seed_of

    def listed(role: StudyRole, count: int, block: int = 0) -> str:
        seeds = [str(seed_of(role, index, block)) for index in range(count)]
        return ", ".join(seeds if count <= SEEDS_SHOWN else [*seeds[: SEEDS_SHOWN - 1], "...", seeds[-1]])

    parts = [f"tuning {listed('tuning', settings.tuning_seeds)}"]
    parts += [f"confirm {listed('confirm', settings.tuning_seeds)}"] if settings.confirm else []
    return [*parts, f"test {listed('test', settings.test_seeds, settings.test_block)}"]


def _method(settings: StudySettings) -> list[str]:
    """How configurations are proposed and raced, in words."""
    from openrlb_hpo.methods import METHODS

    first = ", ".join(str(one["origin"]) for one in settings.first)
    race = f"after each seed the best 1/{settings.eta} go on" if settings.eta > 1 else "no race over seeds"
    told = f"; tried first: {first}" if first else ""
    return [
        f"method {settings.method}: {METHODS[settings.method]}",
        f"  study seed {settings.study_seed}; {race}{told}",
    ]


def time_lines(plan: TunePlan) -> list[str]:
    """The expected time, what it is computed from, and what would be shorter where it is long.

    Args:
        plan: The plan.
    """
    from openrlb.api.tune_time import LONG_SECONDS, SUPPOSED_PACE, shorter

    time, settings = plan.time, plan.settings
    if time.runs == 0:
        return ["nothing is left to train"]
    work = f"{counted(time.runs, 'run')} of {settings.steps:,} steps"
    if time.seconds is None:
        total = time.runs * settings.steps
        seconds = total / SUPPOSED_PACE / plan.workers
        supposed = f"at {SUPPOSED_PACE:,.0f} steps a second each they would take {span(seconds)}"
        lines = [
            "expected time: not known, no run of the kind was trained on this processor yet",
            f"  {work} are {total:,} steps; {supposed}",
        ]
    else:
        seconds = time.seconds
        lines = [f"expected time: about {span(seconds)} for {work}, from {time.source}"]
        lines += [f"  that is likely too low: {time.low}"] if time.low else []
    if seconds > LONG_SECONDS and plan.state == "new":
        less = shorter(settings, plan.budget, plan.workers, time.per_run)
        flags = "--steps, --budget and --test-seeds make it shorter"
        if less is not None:
            asked = f"--steps {less.steps} --budget {less.budget} --test-seeds {less.test_seeds}"
            flags += f", for instance {asked}: about {span(less.seconds)}" + (" at that pace" if time.seconds is None else "")
        lines.append(f"  {flags}")
    return lines
