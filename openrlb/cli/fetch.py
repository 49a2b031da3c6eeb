"""``openrlb fetch``."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from openrlb.cells import printable
from openrlb.cli import options as flag
from openrlb.cli.app import Talk, app, talk
from openrlb.cli.going_on import tell_going_on
from openrlb.cli.presets import keeper, list_presets
from openrlb.cli.render import emit_json

if TYPE_CHECKING:
    from rich.progress import Progress

    from openrlb.api.fetch import FetchReport
    from openrlb.sources.wandb import Plan
    from openrlb.types import Selection, StepUnit

REASONS_SHOWN = 10
PROJECTS_NAMED = 4
NO_REQUIREMENTS = "wandb keeps no requirements.txt"
"""How a note begins that most projects' runs have: only -v shows it."""
ASK_ABOVE = 500
"""More tracked runs than this are fetched only after a yes."""

MAP_HELP = """How to read a table or path: algo=COLUMN, env=config.env.name, algo='mine' (a constant),
path:{algo}/{env}__{seed}__{_}; commas separate. Repeatable."""


@app.command(
    epilog='Examples: openrlb fetch logs/ --env Hopper   |   openrlb fetch results.csv --map "algo=agent,env=task,'
    'seed=seed,step=step,value=return"   |   openrlb fetch curves/ --map "algo=\'TD3\',path:TD3_{env}_{seed}" --step-every 5000'
)
def fetch(
    ctx: typer.Context,
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            help="Folders, files, wandb:ENTITY/PROJECT, presets, or a bundle's address (https://..., hf://datasets/OWNER/NAME); "
            "if none, the sample and, with a wandb key, every preset.",
            metavar="SOURCE...",
        ),
    ] = None,
    map_: Annotated[list[str] | None, typer.Option("--map", envvar="OPENRLB_FETCH_MAP", help=MAP_HELP)] = None,
    preset: Annotated[str | None, typer.Option("--preset", help="Reading flags kept in openrlb.toml by --save-preset.")] = None,
    save_preset: Annotated[
        str | None,
        typer.Option(
            "--save-preset", help="Keep the map and its companions in openrlb.toml; of a W&B project, also where it is."
        ),
    ] = None,
    presets: Annotated[
        bool, typer.Option("--presets", help="Fetch nothing: list the presets, or those that are named, and how they read.")
    ] = False,
    step_every: Annotated[int | None, typer.Option("--step-every", min=1, help="Steps between the rows of an array.")] = None,
    axes: Annotated[str | None, typer.Option("--axes", help="What an array's axes are, for instance seed,step.")] = None,
    already_normalized: Annotated[
        str | None, typer.Option("--already-normalized", help="The values are scores of this normalisation already.")
    ] = None,
    step_unit: Annotated[str | None, typer.Option("--step-unit", help="What steps count: agent_step or frame.")] = None,
    frames_per_step: Annotated[int | None, typer.Option("--frames-per-step", min=1, help="Frames for each agent step.")] = None,
    project: Annotated[str | None, typer.Option("--project", help="The project's name; the folder's by default.")] = None,
    env: flag.Env = None,
    algo: flag.Algo = None,
    impl: flag.Impl = None,
    seed: flag.Seed = None,
    tag: flag.Tag = None,
    where: flag.Where = None,
    since: flag.Since = None,
    orlb_filter: flag.OrlbFilter = None,
    all_metrics: Annotated[bool, typer.Option("--all-metrics", help="Tracked runs: every logged number.")] = False,
    system: Annotated[bool, typer.Option("--system", help="Tracked runs: hardware metrics too.")] = False,
    keep_personal: Annotated[
        bool, typer.Option("--keep-personal", help="Tracked runs: keep e-mails, host and user names.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Fetch more than 500 tracked runs without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be stored, store nothing.")] = False,
    as_json: flag.Json = False,
) -> None:
    """Bring runs into the store: log folders, tables, and Weights & Biases projects.

    Files are recognised by content, a tree at a time: SB3 monitor.csv, evaluations.npz and progress.csv, rl_zoo3 folders,
    .wandb and tensorboard files, openrlb bundles, and csv, tsv, json, jsonl (also .gz), parquet, npy and npz tables. A
    project is wandb:ENTITY/PROJECT or a preset's name (cleanrl, sb3, ...) and needs a key. Of a bundle (openrlb export
    --bundle), in a folder, at an address or on the Hugging Face hub, only the parts that --env and --algo ask for are read, and
    every checksum is verified. Fetching again stores only what changed.
    """
    from openrlb.api.fetch import fetch as bring
    from openrlb.api.presets import reading
    from openrlb.api.remote import RemoteOptions, with_experiments
    from openrlb.sources import ReadOptions

    if presets:
        list_presets(sources or (), as_json)
        return
    kept = reading(preset) if preset else {}
    typed = {"map": map_, "step_every": step_every, "axes": axes.split(",") if axes else None, "step_unit": step_unit}
    typed |= {"already_normalized": already_normalized, "frames_per_step": frames_per_step}
    kept |= {key: value for key, value in typed.items() if value}
    options = ReadOptions(
        map=tuple(kept.get("map", ())),
        project=project,
        already_normalized=kept.get("already_normalized"),
        step_every=kept.get("step_every"),
        axes=tuple(part.strip() for part in kept.get("axes", ())),
        step_unit=_step_unit(kept.get("step_unit")),
        frames_per_step=kept.get("frames_per_step"),
    )
    selected = flag.selection(env, algo, impl, seed, tag, None, where, since)
    places, filters = with_experiments(sources or (), orlb_filter or ())
    remote = RemoteOptions(all_metrics, system, keep_personal, filters)
    keep = keeper(save_preset, places, kept) if save_preset else None
    tell_going_on(talk(ctx))
    unasked: list[int] = []
    with _progress(talk(ctx)) as line:
        report = bring(
            places,
            selection=selected,
            options=options,
            remote=remote,
            dry_run=dry_run,
            on_file=lambda path: line.on_item(path.name),
            on_ask=lambda source: talk(ctx).say(f"{source}: asking Weights & Biases for its runs"),
            on_plan=lambda source, plan: _agreed(talk(ctx), source, plan, yes or dry_run, unasked, line),
            on_run=line.on_item,
        )
    if keep is not None:
        talk(ctx).say(keep([guess for _, guess in report.guesses]))
    _tell(talk(ctx), report, selected, dry_run)
    _tell_filters(talk(ctx), remote.orlb_filters)
    if as_json:
        emit_json(asdict(report))
    if report.failed or report.quarantined:
        raise typer.Exit(report.failed[0].exit_code if report.failed else 1)


def _step_unit(word: str | None) -> StepUnit | None:
    """A step unit as the user names it.

    Raises:
        UsageError: Another word.
    """
    from openrlb.errors import UsageError

    units: dict[str | None, StepUnit | None] = {None: None, "agent_step": "agent_step", "frame": "frame", "unknown": "unknown"}
    if word not in units:
        raise UsageError(f"--step-unit {word!r} is unknown", "steps are agent_step or frame", "use one of the two")
    return units[word]


class _Line:
    """A line that counts files and runs on a terminal, with a bar where their number is known; silent elsewhere."""

    def __init__(self, bar: Progress | None) -> None:
        self._bar = bar
        self._task = None if bar is None else bar.add_task("reading", total=None)
        self._count = self._expected = 0

    def on_item(self, name: str) -> None:
        """Counts one item."""
        self._count += 1
        self._show(f"read {self._count:,}  {name}")

    def expect(self, runs: int) -> None:
        """Adds runs that a plan is going to fetch."""
        self._expected = max(self._expected, self._count) + runs
        self._show("fetching")

    def ask(self, question: str) -> bool:
        """Asks, with the line out of the way: it would be drawn over the question."""
        if self._bar is None:
            return typer.confirm(question, err=True)
        self._bar.stop()
        try:
            return typer.confirm(question, err=True)
        finally:
            self._bar.start()

    def _show(self, text: str) -> None:
        if self._bar is not None and self._task is not None:
            total = self._expected or None
            self._bar.update(self._task, description=printable(text), completed=self._count, total=total)


@contextmanager
def _progress(said: Talk) -> Iterator[_Line]:
    """The line for one fetch."""
    if not said.progress:
        yield _Line(None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), BarColumn(20), MofNCompleteColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield _Line(bar)


def _agreed(said: Talk, source: str, plan: Plan, yes: bool, unasked: list[int], line: _Line) -> bool:
    """Says what a remote fetch would take, and asks where it is much, together with projects that it did not ask about."""
    size = "" if plan.bytes is None else f", about {plan.bytes / 1e6:,.0f} MB of history"
    to_do = f"{plan.to_fetch:,} to fetch ({plan.requests:,} requests{size})"
    said.say(f"{source}: {_times(plan.runs, 'run')} fit, {plan.unchanged:,} unchanged, {to_do}")
    for words in plan.unmatched:
        said.warn(f"{words}: no run of {source} has that")
    unasked.append(plan.to_fetch)
    if yes or not plan.to_fetch or sum(unasked) <= ASK_ABOVE:
        line.expect(plan.to_fetch)
        return True
    agreed = sys.stdin.isatty() and line.ask(f"Fetch {plan.to_fetch:,} runs?")
    unasked.pop()
    if agreed:
        line.expect(plan.to_fetch)
    return agreed


def _tell(said: Talk, report: FetchReport, selected: Selection, dry_run: bool) -> None:
    """What was found and done, on standard error."""
    for location, guess in report.guesses:
        said.say(f'{location}: read with --map "{guess}"')
    for word in selected.env:
        from openrlb.store.environments import matching

        hits = matching(word, report.envs)
        if hits and hits != [word]:
            counts = [f"{env} ({_times(report.envs[env], 'run')})" for env in hits]
            said.say(f"--env {word} matched {', '.join(counts)}")
    for words in report.unmatched:
        said.warn(f"{words}: no run of the named folders has that")
    notes = [(note, run) for run, note in report.notes if said.verbose or not note.startswith(NO_REQUIREMENTS)]
    for count, (note, example) in _tallied(notes):
        said.say(f"note: {note} ({_times(count, 'run')}, for instance {example})")
    damaged = [item for item in report.skipped if item.damaged]
    for item in damaged:
        said.warn(f"{item.location}: {item.reason}")
    for count, (reason, example) in _tallied([(item.reason, item.location) for item in report.unreached]):
        others = f" and {_times(count - 1, 'other project')}" if count > 1 else ""
        said.warn(f"{example}{others} left out: {reason}")
    left_out = _tallied([(item.reason, item.location) for item in report.skipped if not item.damaged])
    if said.verbose:
        left_out = [(1, (item.reason, item.location)) for item in report.skipped if not item.damaged]
    shown = len(left_out) if said.verbose else REASONS_SHOWN
    for count, (reason, example) in left_out[:shown]:
        said.say(f"skipped {_times(count, _thing([example]))}: {reason} ({example})")
    if len(left_out) > shown:
        said.say(f"skipped files for {len(left_out) - shown} more reasons; --json and openrlb -v name all of them")
    for name, reason in report.quarantined:
        said.warn(f"{name} in the spool could not be read and was set aside: {reason}")
    for failed in report.failed:
        said.warn(f"{failed.source} could not be fetched: {failed.what}: {failed.why}; {failed.fix}")
    of_them = "" if report.reread == report.changed else f"{report.reread:,} of them "
    reread = f" ({of_them}read with another map or other flags)" if report.reread else ""
    parts = [f"{report.new:,} new", f"{report.changed:,} changed{reread}", f"{report.unchanged:,} unchanged"]
    rest = [f"{report.copies:,} of them copies of runs that were there"] if report.copies else []
    rest += [f"{report.unselected:,} not selected"] if report.unselected else []
    kept_out = [item.location for item in report.skipped if not item.damaged]
    rest += [f"{_times(len(kept_out), _thing(kept_out))} skipped"] if kept_out else []
    rest += [f"{_times(len(damaged), _thing([item.location for item in damaged]))} damaged"] if damaged else []
    would = "would store: " if dry_run else ""
    envs = _times(len(report.envs), "environment")
    said.say(f"{would}{_times(report.found, 'run')} found in {envs}: {', '.join(parts + rest)}")
    if 0 < len(report.projects) <= PROJECTS_NAMED and not dry_run:
        said.say(f"select them with {' '.join(f'--source {shlex.quote(name)}' for name in report.projects)}")


def _tell_filters(said: Talk, words: tuple[str, ...]) -> None:
    """The metrics and legends of rlops' filters belong to figures: how to say them there."""
    from openrlb.sources.orlb_filter import parse

    groups = parse(words) if words else ()
    for place, of in dict.fromkeys((f"{group.entity}/{group.project}", metric) for group in groups for metric in group.metrics):
        said.say(f"its figure: openrlb plot --source {shlex.quote(f'wandb:{place}')} --of {shlex.quote(of)}")
    experiments = [one for group in groups for one in group.experiments]
    names = [one.name for one in experiments]
    for one in experiments:
        old = one.name if names.count(one.name) == 1 else " ".join(one.tags) or one.name
        by = " --by tag" if old != one.name else ""
        if one.label:
            said.say(f'cl={one.label} is a legend: openrlb plot{by} --label "{old}={one.label}"'.replace("\n", " "))


def _tallied(pairs: list[tuple[str, str]]) -> list[tuple[int, tuple[str, str]]]:
    """Equal texts once, with their count and first example, most frequent first."""
    counts = Counter(text for text, _ in pairs)
    examples: dict[str, str] = {}
    for text, example in pairs:
        examples.setdefault(text, example)
    return [(count, (text, examples[text])) for text, count in counts.most_common()]


def _thing(locations: list[str]) -> str:
    """What locations are: files, or runs or projects of a tracking service.

    >>> _thing(["logs/a.csv"]), _thing(["wandb:lab/runs/r1"]), _thing(["wandb:lab/runs"]), _thing(["a", "wandb:lab/runs/r1"])
    ('file', 'run', 'project', 'source')
    """
    kinds = {
        ("project" if location.count("/") < 2 else "run") if location.startswith("wandb:") else "file" for location in locations
    }
    return kinds.pop() if len(kinds) == 1 else "source"


def _times(count: int, thing: str) -> str:
    """A count with its noun.

    >>> _times(1, "run"), _times(2000, "run")
    ('1 run', '2,000 runs')
    """
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
