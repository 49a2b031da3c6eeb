"""``openrlb worker``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from openrlb.cli.app import app, talk
from openrlb.cli.run import bytes_of, seconds_of
from openrlb.cli.study import Storage, Study
from openrlb.cli.tune_progress import study_display

if TYPE_CHECKING:
    from openrlb_hpo.records import StudyRecord


@app.command(
    epilog="Example: openrlb worker ppo-CartPole-v1-tpe-1a2b3c --storage postgresql+psycopg://me@host/studies --workers 8"
)
def worker(
    ctx: typer.Context,
    study: Study,
    storage: Storage = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Runs at a time; as many as physical cores by default.")
    ] = None,
    wall_limit: Annotated[str | None, typer.Option("--wall-limit", help="The longest one run may take: 90s, 15m, 2h.")] = None,
    memory_limit: Annotated[
        str | None, typer.Option("--memory-limit", help="The most memory one run may hold: 8G, 500M.")
    ] = None,
    torch_source: Annotated[
        str | None, typer.Option("--torch-source", help="A folder or address with torch's CPU wheels, to build with.")
    ] = None,
) -> None:
    """Train runs of a study that openrlb tune has begun, until it is over.

    Workers share the studies' database and the store's folder; the runner has to be the one that the study was begun with.
    """
    from openrlb.api.worker import worker as join

    said = talk(ctx)
    with study_display(said) as view:

        def joined(record: StudyRecord, count: int) -> None:
            view.study.workers = count
            said.say(f"joins {record.name}: {count} at a time")

        record = join(
            study,
            storage=storage,
            workers=workers,
            wall_seconds=seconds_of(wall_limit) if wall_limit else None,
            memory_bytes=bytes_of(memory_limit) if memory_limit else None,
            torch_source=torch_source,
            say=said.say,
            on_join=joined,
            on_event=view.take,
            on_step=view.step,
        )
    said.say(f"{record.name} is over: openrlb study show {record.name}")
