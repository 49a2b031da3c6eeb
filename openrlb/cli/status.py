"""``openrlb status`` and ``openrlb cancel``."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openrlb.cli import options as flag
from openrlb.cli.app import Talk, app, talk
from openrlb.cli.render import chosen_format, emit_rows
from openrlb.cli.study import Storage
from openrlb.errors import UsageError

if TYPE_CHECKING:
    from openrlb.api.status import StatusList

SHOWN = ("name", "kind", "state", "queued", "running", "done", "lost", "failed", "workers", "note")
WATCH_SECONDS = 5.0
"""The controller of a cluster serves many."""

Name = Annotated[str | None, typer.Argument(metavar="[NAME]", help="A batch or a study, or the beginning of its name.")]


@app.command(
    name="status", epilog="Examples: openrlb status   |   openrlb status ppo-CartPole-v1 --watch   |   openrlb status --json"
)
def status_(
    ctx: typer.Context,
    name: Name = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again, until nothing runs or waits any more.")] = False,
    storage: Storage = None,
    as_json: flag.Json = False,
    format_: flag.As = None,
    output: flag.Output = None,
) -> None:
    """Show every batch and study with its queued, running, done, lost and failed runs, and its workers on a batch system.

    Lost runs are those whose worker is gone; another worker begins them again. What is stopped goes on with the same command.
    """
    from openrlb.api.status import status

    if watch and (as_json or output is not None):
        raise UsageError("--watch was given with a file or --json", "it shows one look after another", "leave one of them out")
    said = talk(ctx)
    chosen = chosen_format(as_json, format_, output)
    told = cache(said.warn)  # each once, however often is looked

    def look() -> StatusList:
        return status(name, storage=storage, on_warning=told)

    if watch:
        _watch(said, look, chosen)
        return
    rows = look().records()
    emit_rows(rows, SHOWN if chosen is flag.Format.table else tuple(rows[0]), chosen, output)


def _watch(said: Talk, look: Any, chosen: flag.Format) -> None:  # noqa: ANN401 - a function without arguments
    """Shows each look that differs from the one before; on a terminal in its place."""
    before = None
    while True:
        rows = look().records()
        if rows != before:
            if before is not None and sys.stdout.isatty():
                typer.echo("\x1b[2J\x1b[H", nl=False)
            emit_rows(rows, SHOWN, chosen)
            before = rows
        if all(row["state"] not in ("running", "waiting") for row in rows):
            return
        time.sleep(WATCH_SECONDS)


@app.command(epilog="Example: openrlb cancel batch-ppo-Hopper-v5-1a2b3c4d")
def cancel(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A batch or a study, or the beginning of its name.")],
    storage: Storage = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be ended; end nothing.")] = False,
    as_json: flag.Json = False,
) -> None:
    """End the workers of a batch or a study. What they train is stored as killed, and the same command goes on with it later."""
    from openrlb.api.cancel import cancel as end
    from openrlb.cli.render import emit_json

    row, ended = end(name, storage=storage, dry_run=dry_run)
    if as_json:
        emit_json({**asdict(row), "ended": ended, "dry_run": dry_run})
    words = "would be asked to end" if dry_run else "asked to end"
    talk(ctx).say(f"{row.name}: {', '.join(ended)} {words}")
