"""``openrlb study list|show|report|export``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openrlb.cli import options as flag
from openrlb.cli.app import Talk, app, talk
from openrlb.cli.destination import destination
from openrlb.cli.render import chosen_format, emit_json, emit_lines, emit_rows, emit_text
from openrlb.cli.tune_progress import describe_study
from openrlb.errors import UsageError

if TYPE_CHECKING:
    from openrlb.api.study import StudyView

group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List, show, report and export studies of openrlb tune.")
app.add_typer(group, name="study")

SHOWN = ("study", "state", "test_score", "spent", "budget", "configurations", "test_peeks", "created")
WRITTEN = (".html", ".json", ".txt", ".md", ".tex")

Study = Annotated[str, typer.Argument(metavar="STUDY", help="Its name, its id, or the beginning of either.")]
Storage = Annotated[
    str | None,
    typer.Option(
        "--storage", envvar="OPENRLB_STORAGE", metavar="URL", help="The studies' database; a file in the store by default."
    ),
]
Margin = Annotated[
    float | None, typer.Option("--margin", help="The smallest difference that matters; without it nothing is equivalent.")
]


@group.command("list", epilog="Example: openrlb study list --json")
def list_(
    ctx: typer.Context,
    storage: Storage = None,
    as_json: flag.Json = False,
    format_: flag.As = None,
    output: flag.Output = None,
) -> None:
    """List the studies, the newest last."""
    from openrlb.api.study import list_studies

    rows = [asdict(row) for row in list_studies(storage=storage, on_warning=talk(ctx).warn)]
    chosen = chosen_format(as_json, format_, output)
    if chosen is flag.Format.table:
        over = ("finished", "failed", "broken")
        rows = [{**row, "state": row["phase"] if row["running"] or row["phase"] in over else "stopped"} for row in rows]
    emit_rows(rows, SHOWN if chosen is flag.Format.table else tuple(rows[0]), chosen, output)


@group.command(epilog="Example: openrlb study show ppo-CartPole-v1 --margin 20")
def show(ctx: typer.Context, study: Study, margin: Margin = None, storage: Storage = None, as_json: flag.Json = False) -> None:
    """Say what a study has found, or how far it is."""
    from openrlb.api.study import progress_of, read_study
    from openrlb.api.study_next import next_commands

    view = read_study(study, margin=margin, storage=storage)
    said = talk(ctx)
    said.say(f"{view.record.name}: {describe_study(progress_of(view.record, 1), stopped=not view.running)}")
    write_study(view, None, as_json, None, said)
    for what, command in next_commands(view.record, storage=storage):
        said.say(f"{what}: {command}")


@group.command(epilog="Example: openrlb study report ppo   |   openrlb study report ppo -o report.html   |   ... -o paper.tex")
def report(
    ctx: typer.Context,
    study: Study,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            callback=destination,
            help="Write a file: .html (everything), .txt, .json, .md or .tex (the checklist).",
        ),
    ] = None,
    random: Annotated[
        str | None, typer.Option("--random", metavar="STUDY", help="A random search to show beside it; an equal one by default.")
    ] = None,
    margin: Margin = None,
    storage: Storage = None,
) -> None:
    """Report a study: its result as text, one HTML page with everything, or the reproducibility checklist of arXiv 2306.01324.

    Without -o the text is printed and nothing is written.
    """
    from openrlb.api.study import check_random, random_beside, read_study

    check_suffix(output)
    view = read_study(study, margin=margin, storage=storage)
    beside = read_study(random, storage=storage) if random else random_beside(view.record, storage=storage)
    if beside is not None:
        check_random(view.record, beside.record)
    write_study(view, beside, False, output, talk(ctx))


@group.command(epilog="Example: openrlb study export ppo-CartPole-v1 -o tuned.toml")
def export(
    ctx: typer.Context,
    study: Study,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Seeds of the command.")] = 5,
    storage: Storage = None,
    as_json: flag.Json = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", callback=destination, help="Write a TOML file for run --hyperparameters.")
    ] = None,
    inputs: Annotated[
        Path | None,
        typer.Option(
            "--inputs",
            metavar="FOLDER",
            help="Write the files that the study was made with, and print its tune command.",
        ),
    ] = None,
) -> None:
    """Give the incumbent as a command that trains with it, or as a TOML file; with --inputs the command that tunes again."""
    from openrlb.api.study import incumbent

    if inputs is not None:
        _export_inputs(ctx, study, storage, inputs)
        return
    if output is not None and output.suffix != ".toml":
        raise UsageError(f"{output.name} cannot be written", "hyperparameters are exported as TOML", "name a file.toml")
    found = incumbent(study, storage=storage)
    if output is not None:
        emit_text(found.to_toml().rstrip("\n"), output)
    elif as_json:
        emit_json({**asdict(found), "command": found.command(seeds), "toml": found.to_toml()})
    else:
        emit_text(found.command(seeds))


def _export_inputs(ctx: typer.Context, study: str, storage: str | None, folder: Path) -> None:
    """Writes the files that a study was made with, and prints the command that makes it again."""
    from openrlb.api.study import read_study
    from openrlb.api.study_command import tune_command, write_inputs

    record = read_study(study, storage=storage).record
    for path in write_inputs(record, folder):
        talk(ctx).say(f"wrote {path}")
    emit_text(tune_command(record, str(folder)))


def check_suffix(output: Path | None) -> None:
    """Makes sure that a study's result can be written to a file, before anything is trained.

    Raises:
        UsageError: Its suffix means nothing here.
    """
    if output is not None and output.suffix.lower() not in WRITTEN:
        why = f"its suffix {output.suffix!r} names no format"
        raise UsageError(f"{output.name} cannot be written", why, f"use one of {', '.join(WRITTEN)}")


def write_study(view: StudyView, random: StudyView | None, as_json: bool, output: Path | None, said: Talk) -> None:
    """A study's result: text on standard output, JSON, or a file by its suffix.

    Args:
        view: The study.
        random: The random search beside it, or None.
        as_json: Whether JSON is asked for.
        output: The file, or None.
        said: Where the file is named.
    """
    from openrlb.api.study_report import checklist_of, write_page
    from openrlb_hpo.result import result_lines
    from openrlb_hpo.result_words import random_words

    suffix = "" if output is None else output.suffix.lower()
    table = view.result.to_json() if random is None else {**view.result.to_json(), "random": random.result.to_json()}
    lines = result_lines(view.result)
    if random is not None:
        lines += ["", f"{random_words(view.record, random.record)}:", *(f"  {line}" for line in result_lines(random.result))]
    if suffix == ".html" and output is not None:
        write_page(view, random, output)
    elif suffix in (".md", ".tex"):
        filled = checklist_of(view)
        emit_text((filled.to_markdown() if suffix == ".md" else filled.to_latex()).rstrip("\n"), output)
    elif suffix == ".json":
        emit_json(table, output)
    elif suffix == ".txt":
        emit_lines(lines, output)
    if output is not None:
        said.say(f"wrote {output}")
    if as_json:
        emit_json(table)
    elif suffix != ".txt":
        emit_lines(lines)
