"""``worker`` of a batch: trains runs that ``run --launcher`` has planned, beside whoever else does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from openrlb.api.opened import opened
from openrlb.api.run_plan import Say
from openrlb.api.worker import OnEvent, runner_as_begun
from openrlb.errors import StoreBusy
from openrlb.store import Store

if TYPE_CHECKING:
    from openrlb_runners.shared_batch import BatchRecord


def is_batch(name: str) -> bool:
    """Whether a name is that of a batch; else it is a study's.

    >>> is_batch("batch-ppo-Hopper-v5-1a2b3c4d"), is_batch("ppo-Hopper-v5-tpe-1a2b3c")
    (True, False)
    """
    from openrlb_runners.shared_batch import PREFIX

    return name.startswith(PREFIX)


def join_batch(
    name: str,
    *,
    store: Store | None = None,
    workers: int | None = None,
    wall_seconds: float | None = None,
    memory_bytes: int | None = None,
    torch_source: str | None = None,
    say: Say | None = None,
    on_join: Callable[[BatchRecord, int], None] | None = None,
    on_event: OnEvent | None = None,
) -> BatchRecord:
    """Joins a batch, and trains its runs until none is left.

    Args:
        name: Its name, or the beginning of it.
        store: Where the batch and its runs lie; the user's own store by default.
        workers: How many runs at a time; by default as many as there are physical cores and memory for.
        wall_seconds: The longest that one run may take.
        memory_bytes: The most memory that one run may hold.
        torch_source: A folder or address that has torch's CPU wheels, for an environment that is to be built.
        say: Takes lines of talk while an environment is built.
        on_join: Shown the batch, and how many runs at a time are trained here, before the first one.
        on_event: Told what happens to runs.

    Returns:
        The batch.

    Raises:
        NothingMatched: There is no such batch.
        UsageError: A runner here is not the one that it was planned with.
        BuildError: A runner's environment cannot be built.
        StoreUnwritable: The store cannot be written.
        KeyboardInterrupt: After Ctrl-C or SIGTERM, when everything is stored.
    """
    from openrlb.tracking.mirror import checked_mode
    from openrlb_runners.capacity import default_workers
    from openrlb_runners.launchers.local import LocalLauncher
    from openrlb_runners.memo import Memo
    from openrlb_runners.shared_batch import SharedBatch, read_batch
    from openrlb_runners.supervise import Limits
    from openrlb_runners.worker import work

    store = opened(store, to_write=True)
    record = read_batch(store.layout, name)
    told, fix = say or (lambda text: None), "check out the version that planned it, or plan it again: the same openrlb run"
    runners = {one.name: runner_as_begun(one, record.name, torch_source, told, fix) for one in record.runners}
    threads = max((one.request.threads for one in record.items), default=1)
    count = workers or default_workers(threads, memory_bytes)[0]
    if on_join is not None:
        on_join(record, count)
    memo, limits = Memo(store), Limits(wall_seconds, memory_bytes)
    with ExitStack() as stack:
        launcher = stack.enter_context(LocalLauncher())
        source = SharedBatch(store, record, runners, memo)
        try:
            work(
                source,
                workers=count,
                store=store,
                launcher=launcher,
                limits=limits,
                wandb=checked_mode(record.wandb),
                memo=memo,
                on_event=on_event,
            )
        finally:
            with suppress(StoreBusy):  # it stays in the spool, and the next command folds it
                store.fold()
    return record
