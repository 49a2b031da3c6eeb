"""``openrlb run``."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openrlb.cli import options as flag
from openrlb.cli.app import Talk, app, talk
from openrlb.cli.launched import Launcher, Ray, Slurm, cluster_options, tell_launched
from openrlb.cli.render import chosen_format, emit_json, emit_rows
from openrlb.cli.run_progress import display
from openrlb.config import is_deep
from openrlb.errors import UsageError
from openrlb.words import counted, span

if TYPE_CHECKING:
    from openrlb.api.run import RunPlan, RunReport

SHOWN = ("run", "algo", "impl", "env", "seed", "state", "steps", "episodic_return", "seconds")
PLANNED = ("run", "algo", "impl", "env", "seed", "steps", "todo", "seconds")
SETTINGS_SHOWN = 8
_LEVELS = 50  # of a hyperparameter
DURATIONS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
SIZES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def seconds_of(text: str) -> float:
    """A duration as people write it: ``90``, ``90s``, ``15m``, ``2h``, ``1.5h``, ``1d``.

    >>> seconds_of("2h"), seconds_of("90")
    (7200.0, 90.0)

    Raises:
        UsageError: Something else, or nothing above 0.
    """
    return _quantity(text, DURATIONS, "duration", "write 90s, 15m, 2h or 1d")


def bytes_of(text: str) -> int:
    """A size as people write it: ``8G``, ``500M``, ``8GB``.

    >>> bytes_of("8G"), bytes_of("500MB")
    (8000000000, 500000000)

    Raises:
        UsageError: Something else, or nothing above 0.
    """
    return int(_quantity(re.sub(r"(?i)i?b$", "", text).upper(), SIZES, "size", "write 8G or 500M"))


def _quantity(text: str, units: dict[str, int], what: str, fix: str) -> float:
    """A positive number with a unit."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*([a-zA-Z]*)\s*", str(text))
    if not match or match[2] not in units or float(match[1]) <= 0:
        raise UsageError(f"{text!r} is no {what}", f"units are {', '.join(unit for unit in units if unit)}", fix)
    return float(match[1]) * units[match[2]]


def assigned(words: list[str] | None, name: str) -> list[tuple[str, Any]]:
    """``key=value`` words; a value that is no JSON is a text.

    >>> assigned(["gamma=0.9", "policy_kwargs.net_arch=[64,64]", "ent_coef=auto"], "--set")
    [('gamma', 0.9), ('policy_kwargs.net_arch', [64, 64]), ('ent_coef', 'auto')]

    Raises:
        UsageError: No ``=``, or an empty key.
    """
    pairs = []
    for word in words or ():
        key, sign, text = word.partition("=")
        if not sign or not all(key.strip().split(".")):
            raise UsageError(f"{name} {word!r} was not understood", "it is no key=value", f"write {name} learning_rate=0.001")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = text
        if key.count(".") > _LEVELS or is_deep(value):
            raise UsageError(
                f"{name} {word[:60]!r}... was not understood", "it is nested too deep", f"write {name} net.arch=[64]"
            )
        pairs.append((key.strip(), value))
    return pairs


@app.command(
    epilog="Examples: openrlb run ppo --env Hopper-v5 --seeds 5   |   openrlb run ppo sac --env Hopper-v5 --env Walker2d-v5"
    " --seeds 3 --steps 1e5 --set gamma=0.98   |   openrlb run dqn --env CartPole-v1 --dry-run"
)
def run(
    ctx: typer.Context,
    algorithms: Annotated[
        list[str] | None, typer.Argument(help="Algorithms (openrlb runner list names them).", metavar="ALGO...")
    ] = None,
    env: Annotated[list[str] | None, typer.Option("--env", help="Environment, by its full id (Hopper-v5). Repeatable.")] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="STUDY",
            envvar="OPENRLB_RUN_FROM",
            help="Train a study's incumbent: its algorithm, environments, steps and values.",
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option("--storage", envvar="OPENRLB_STORAGE", metavar="URL", help="The studies' database, for --from."),
    ] = None,
    impl: Annotated[str | None, typer.Option("--impl", help="The runner, where several have the algorithm.")] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", min=1, max=100_000, help="Seeds 1 to N.")] = None,
    seed: flag.Seed = None,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps", parser=flag.whole_number, metavar="N", help="Training steps; the published number or 1e6 by default."
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            envvar="OPENRLB_RUN_SET",
            help="A hyperparameter; JSON, dots go into mappings. Repeatable.",
        ),
    ] = None,
    hyperparameters: Annotated[
        str, typer.Option("--hyperparameters", help="published, library (its defaults), or a TOML file.")
    ] = "published",
    env_set: Annotated[
        list[str] | None, typer.Option("--env-set", metavar="KEY=VALUE", help="An argument of the environment. Repeatable.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Runs at a time; as many as physical cores by default.")
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads of each run; more than 1 changes its results.")] = 1,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
    wandb: Annotated[str, typer.Option("--wandb", help="Mirror the rows to Weights & Biases: offline, online or off.")] = "off",
    eval_every: Annotated[
        int | None,
        typer.Option("--eval-every", parser=flag.whole_number, metavar="N", help="Evaluate every N steps; never by default."),
    ] = None,
    eval_episodes: Annotated[int, typer.Option("--eval-episodes", min=1, help="Episodes of each evaluation.")] = 10,
    wall_limit: Annotated[str | None, typer.Option("--wall-limit", help="The longest one run may take: 90s, 15m, 2h.")] = None,
    memory_limit: Annotated[
        str | None, typer.Option("--memory-limit", help="The most memory one run may hold: 8G, 500M.")
    ] = None,
    launcher: Launcher = "local",
    slurm: Slurm = None,
    ray: Ray = None,
    torch_source: Annotated[
        str | None, typer.Option("--torch-source", help="A folder or address with torch's CPU wheels, to build with.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be trained; train, store and build nothing.")
    ] = False,
    as_json: flag.Json = False,
    format_: flag.As = None,
    output: flag.Output = None,
) -> None:
    """Train reference implementations, each in its own pinned environment, and keep everything about the runs.

    All algorithms, environments and seeds together are one batch. The same command again trains only what is missing: a
    finished run of the same settings is there already. Ctrl-C stores what was running as killed. With --from STUDY the
    incumbent of openrlb tune is trained further, on seeds that no study uses. With --launcher slurm or ray workers are
    submitted to the cluster, which share this store's folder: openrlb status shows how far they are.
    """
    from openrlb.api.run import RunOptions, with_incumbent
    from openrlb.api.run import run as train
    from openrlb_hpo.seeds import is_of_study
    from openrlb_runners.batch import nested

    if taken := next((one for one in (flag.seeds(seed) if seed else ()) if is_of_study(one)), None):
        why = "it is one of those that tune gives out: a plain run would look at test seeds uncounted"
        raise UsageError(f"seed {taken} cannot be used", why, "use a smaller one")
    if seeds is not None and seed:
        raise UsageError("--seeds and --seed were both given", "--seeds 5 means seeds 1 to 5", "use one of the two")
    evaluation = None
    if eval_every is not None:
        evaluation = {"every": eval_every, "episodes": eval_episodes, "deterministic": True}
    options = RunOptions(
        algorithms=algorithms or (),
        envs=env or (),
        seeds=flag.seeds(seed) if seed else tuple(range(1, (seeds or 1) + 1)),
        impl=impl,
        steps=steps,
        changes=nested(assigned(set_, "--set")),
        hyperparameters=hyperparameters,
        env_kwargs=dict(assigned(env_set, "--env-set")),
        evaluation=evaluation,
        workers=workers,
        threads=threads,
        device=device,
        wandb=wandb,
        wall_seconds=seconds_of(wall_limit) if wall_limit else None,
        memory_bytes=bytes_of(memory_limit) if memory_limit else None,
        launcher=launcher,
        slurm=cluster_options(slurm, "--slurm"),
        ray=cluster_options(ray, "--ray"),
        torch_source=torch_source,
    )
    if from_ is not None:
        options = with_incumbent(options, from_, storage)
    said = talk(ctx)
    chosen = chosen_format(as_json, format_, output)
    with display(said) as on_event:
        report = train(
            options, dry_run=dry_run, say=said.say, on_plan=lambda plan: _tell_plan(said, plan, dry_run), on_event=on_event
        )
    if as_json:
        emit_json({**asdict(report), "unfinished": [line.run for line in report.unfinished]}, output)
    elif dry_run or report.launched is not None:
        emit_rows([asdict(planned) for planned in report.plan.runs], PLANNED, chosen, output)
    else:
        emit_rows([asdict(line) for line in report.runs], SHOWN, chosen, output)
    if report.launched is not None:
        tell_launched(said, report.launched)
    elif not dry_run:
        _tell_end(said, report)
    if report.unfinished:
        raise typer.Exit(1)


def _tell_plan(said: Talk, plan: RunPlan, dry_run: bool) -> None:
    """The plan, on standard error."""
    for environment in plan.environments:
        if dry_run and not environment.built:  # where it was built, the measured figures were said
            size = (
                f": {environment.download_mb:,} MB to download, {environment.disk_mb:,} MB on disk" if environment.disk_mb else ""
            )
            took = f", about {span(environment.seconds)} on a fast network" if environment.seconds else ""
            said.say(f"the environment {environment.name} has to be built{size}{took}")
    for group in plan.groups:
        said.say(f"{group.algo} on {group.env}: {group.steps:,} steps ({group.steps_source})")
        said.say(f"  hyperparameters: {group.hyperparameters_source}{_settings(group.hyperparameters, said.verbose)}")
        if group.other_impls:
            other = group.other_impls[0]
            said.say(
                f"  {group.algo} is in {group.impl}, {', '.join(group.other_impls)}: {group.impl} is taken, --impl {other} is not"
            )
    lengths: dict[str, set[int]] = {}
    for group in plan.groups:
        lengths.setdefault(group.env, set()).add(group.steps)
    for env in (env for env, steps in lengths.items() if len(steps) > 1):
        said.say(f"note: steps differ on {env}, and a comparison is cut at the fewest: --steps makes them equal")
    parts = [plan.todo_words()]
    parts += [f"{plan.count('elsewhere')} being trained by another openrlb"] if plan.count("elsewhere") else []
    tries = sum(run.before is not None for run in plan.runs)
    parts += [f"{tries} tried before without finishing"] if tries else []
    said.say(f"{counted(len(plan.runs), 'run')}: {', '.join(parts)}; {plan.workers} at a time ({plan.workers_reason})")
    if plan.count("unknown"):
        said.say("not checked yet, as the runner is not built: environments, hyperparameters, and which runs are there already")
    elif plan.count("train"):
        said.say(f"expected time: {plan.time_words()}")


def _settings(values: Any, verbose: bool) -> str:  # noqa: ANN401 - any mapping
    """The hyperparameters that are asked for, in a few words."""
    words = [f"{key}={json.dumps(value)}" for key, value in values.items()]
    if len(words) > SETTINGS_SHOWN and not verbose:
        words = [*words[:SETTINGS_SHOWN], f"{len(words) - SETTINGS_SHOWN} more (-v names them)"]
    return f" ({', '.join(words)})" if words else ""


def _tell_end(said: Talk, report: RunReport) -> None:
    """What came of it, on standard error."""
    trained = [line for line in report.runs if line.trained]
    finished = len(report.runs) - len(report.unfinished)
    said.say(f"{counted(finished, 'run')} of {len(report.runs)} finished, {len(trained)} trained now")
    for line in report.unfinished:
        why = line.notes[0] if line.notes else "it left no word"
        said.warn(f"{line.algo}-{line.env}-{line.seed} ({line.run}) is {line.state}: {why}")
    if finished:
        said.say(f"next: {report.next_command}")
