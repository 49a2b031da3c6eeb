"""``cancel``: ends the workers of a batch or a study."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from openrlb.api.launching import cluster_of, launches
from openrlb.api.status import StatusRow, status
from openrlb.errors import LauncherError, NothingMatched, UsageError
from openrlb.store import Store


def cancel(
    name: str, *, storage: str | None = None, store: Store | None = None, dry_run: bool = False
) -> tuple[StatusRow, list[str]]:
    """Ends the workers of a batch or a study; what they train is stored as ``killed``, and the same command goes on with it.

    Args:
        name: Its name, or the beginning of it.
        storage: The database of the studies; the file in the store by default.
        store: The user's own store by default.
        dry_run: Only say what would be ended.

    Returns:
        How it stood, and what was ended, in words.

    Raises:
        NothingMatched: There is no such batch or study, or nothing of it runs.
        UsageError: There are several.
        LauncherError: The batch system does not answer.
    """
    store = store or Store()
    rows = status(name, storage=storage, store=store)
    exact = [row for row in rows if row.name == name] or list(rows)
    if len(exact) > 1:
        raise UsageError(f"{name!r} names several", ", ".join(row.name for row in exact[:10]), "write more of the name")
    row, ended = exact[0], []
    silent: LauncherError | None = None
    for launch in launches(store, row.name):
        place = cluster_of(store, launch)
        try:
            if not place.state(launch).is_over:
                ended.append(place.where(launch))
                if not dry_run:
                    place.cancel(launch)
        except LauncherError as error:
            silent = error  # a later launch may be elsewhere
    if not ended and silent is not None:
        raise silent
    if not ended:
        ended = [f"process {pid}" for pid in _end_processes(row, storage, store, dry_run)]
    if not ended:
        elsewhere = (
            f"{row.running} of its runs are trained on another machine: end it there" if row.running else "nothing of it runs"
        )
        raise NothingMatched(f"there is nothing to cancel of {row.name}", elsewhere, f"openrlb status {row.name} shows it")
    return row, ended


def _end_processes(row: StatusRow, storage: str | None, store: Store, dry_run: bool) -> list[int]:
    """Asks the workers of this machine to end; returns their processes."""
    found = _study_workers(row, storage, store) if row.kind == "study" else _batch_workers(row, store)
    for pid in found if not dry_run else ():
        with suppress(OSError):
            os.kill(pid, signal.SIGTERM)
    return found


def _study_workers(row: StatusRow, storage: str | None, store: Store) -> list[int]:
    """The processes of this machine that train runs of a study."""
    from openrlb.api.study import existing_ledger
    from openrlb_hpo.owners import is_dead, this_machine

    with existing_ledger(storage, store) as ledger:
        workers = {one.worker for one in ledger.read(row.name).reservations if one.state == "open" and one.worker}
    here = [one for one in workers if one.startswith(f"{this_machine()}:") and not is_dead(one)]
    return sorted(int(one.split(":")[1]) for one in here)


def _batch_workers(row: StatusRow, store: Store) -> list[int]:
    """The processes of this machine that train runs of a batch."""
    from openrlb.tracking.owner import machine
    from openrlb_runners.run_folder import owners
    from openrlb_runners.shared_batch import read_batch

    folders = owners(store.layout)
    mine = [folders[one.run] for one in read_batch(store.layout, row.name).items if one.run in folders]
    return sorted({int(one["owner"]["pid"]) for one in mine if one["alive"] and one["owner"].get("machine") == machine()})
