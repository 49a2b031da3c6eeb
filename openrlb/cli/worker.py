"""``openrlb worker``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from openrlb.cli.app import Talk, app, talk
from openrlb.cli.run import bytes_of, seconds_of
from openrlb.cli.run_progress import display
from openrlb.cli.study import Storage
from openrlb.cli.tune_progress import study_display

if TYPE_CHECKING:
    from openrlb_hpo.records import StudyRecord
    from openrlb_runners.shared_batch import BatchRecord


@app.command(
    epilog="Examples: openrlb worker ppo-CartPole-v1-tpe-1a2b3c --storage postgresql+psycopg://me@host/studies --workers 8"
    "   |   openrlb worker batch-ppo-Hopper-v5-1a2b3c4d"
)
def worker(
    ctx: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The study or the batch (openrlb status), or the beginning of its name.")
    ],
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
    """Train runs of a study or a batch that was begun elsewhere, until it is over.

    Workers share the store's folder and, for a study, the studies' database; the runner has to be the one that it was begun
    with. A batch is what openrlb run --launcher slurm or ray has planned.
    """
    from openrlb.api.batch_worker import is_batch
    from openrlb.api.worker import worker as join

    said = talk(ctx)
    wall_seconds, memory_bytes = seconds_of(wall_limit) if wall_limit else None, bytes_of(memory_limit) if memory_limit else None
    if is_batch(name):
        _batch(said, name, workers, wall_seconds, memory_bytes, torch_source)
        return
    with study_display(said) as view:

        def joined(record: StudyRecord, count: int) -> None:
            view.study.workers = count
            said.say(f"joins {record.name}: {count} at a time")

        record = join(
            name,
            storage=storage,
            workers=workers,
            wall_seconds=wall_seconds,
            memory_bytes=memory_bytes,
            torch_source=torch_source,
            say=said.say,
            on_join=joined,
            on_event=view.take,
            on_step=view.step,
        )
    said.say(f"{record.name} is over: openrlb study show {record.name}")


def _batch(
    said: Talk, name: str, workers: int | None, wall_seconds: float | None, memory_bytes: int | None, torch_source: str | None
) -> None:
    """Joins a batch."""
    from openrlb.api.batch_worker import join_batch

    def joined(record: BatchRecord, count: int) -> None:
        said.say(f"joins {record.name}: {count} at a time")

    with display(said) as on_event:
        record = join_batch(
            name,
            workers=workers,
            wall_seconds=wall_seconds,
            memory_bytes=memory_bytes,
            torch_source=torch_source,
            say=said.say,
            on_join=joined,
            on_event=on_event,
        )
    said.say(f"{record.name} is over: openrlb status {record.name}")
