"""Workers on a batch system: what is submitted for a batch or a study, once, and whether it is still there."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from openrlb.errors import LauncherError, UsageError
from openrlb.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openrlb_runners.launchers.protocol import Cluster, WorkerArray

LAUNCHERS = ("local", "slurm", "ray")
RAY_ADDRESS = "RAY_ADDRESS"
"""Ray's own variable."""


@dataclass(frozen=True)
class Launched:
    """Workers that were submitted, or, for a dry run, would be.

    Attributes:
        name: The batch or the study that they train.
        launch: The name of the launch; empty for a dry run that would submit one.
        job: SLURM's number of the array; None for such a dry run, and where there are no numbers.
        workers: How many there are, those that have ended included.
        script: What was submitted, or would be.
        already: True where some of them are alive from before, and nothing is submitted.
        where: The job in words; empty for a dry run that would submit one.
        note: What is to be said of it; mostly empty.
        alive: Where they were there before, how many of them run or wait.
    """

    name: str
    launch: str
    job: int | None
    workers: int
    script: str
    already: bool = False
    where: str = ""
    note: str = ""
    alive: int = 0


@dataclass(frozen=True)
class Workers:
    """What to submit.

    Attributes:
        count: How many workers.
        threads: Threads of each.
        words: Further words of ``openrlb worker``.
        storage: The database of the studies, which the script does not show; None for a batch.
    """

    count: int
    threads: int = 1
    words: tuple[str, ...] = ()
    storage: str | None = None


def launches_dir(store: Store) -> Path:
    """Where a store's launches lie."""
    return store.layout.root / "launches"


def check_launcher(launcher: str, workers: int | None, store: Store) -> None:
    """Refuses what can be refused by looking at it.

    Args:
        launcher: Where runs execute.
        workers: How many at a time.
        store: The store, which workers have to find by themselves.

    Raises:
        UsageError: There is no such launcher, or something is missing that it needs.
    """
    from openrlb import paths

    if launcher not in LAUNCHERS:
        why = f"runs execute on: {', '.join(LAUNCHERS)}"
        raise UsageError(f"there is no launcher {launcher!r}", why, "leave --launcher out")
    if launcher == "local":
        return
    if workers is None:
        why = "how many of a cluster's cores are yours is not for openrlb to guess"
        raise UsageError("no --workers is named", why, "add --workers N: so many runs are trained at a time")
    if store.layout.root.resolve() != paths.store_dir().resolve():
        why = "workers elsewhere find the store by OPENRLB_HOME alone"
        raise UsageError(
            f"{store.layout.root} cannot be used with --launcher {launcher}", why, "set OPENRLB_HOME, and leave store out"
        )


def check_storage(storage: str | None, launcher: str) -> str:
    """The address of a study's database that several machines can share.

    Args:
        storage: The address as it was given.
        launcher: Where runs execute.

    Raises:
        UsageError: It is a file's, or there is none.
    """
    if storage is None or not storage.startswith("postgresql"):
        why = "a study's workers on several machines share a database, and a SQLite file's locks do not hold everywhere"
        raise UsageError(f"--launcher {launcher} needs PostgreSQL", why, "add --storage postgresql+psycopg://USER@HOST/DATABASE")
    return storage


def cluster(launcher: str, store: Store, slurm: Mapping[str, object], ray: Mapping[str, object]) -> Cluster | None:
    """The place that a store's workers are submitted to; None for this machine.

    Args:
        launcher: Its name.
        store: The store.
        slurm: sbatch's options, which go before those of ``[slurm]`` in the settings files.
        ray: Where the Ray cluster is and what a worker takes of it, before ``[ray]`` and the variable RAY_ADDRESS.

    Raises:
        UsageError: There is no such place here, or an option has no meaning.
    """
    from openrlb.config import RAY, SLURM, merged

    for name, given in (("slurm", slurm), ("ray", ray)):
        if given and launcher != name:
            why = f"runs execute on {launcher}"
            raise UsageError(f"--{name} was given without --launcher {name}", why, f"add --launcher {name}, or leave it out")
    if launcher == "slurm":
        from openrlb_runners.launchers.slurm import SlurmLauncher
        from openrlb_runners.launchers.slurm_script import checked_options

        return SlurmLauncher(launches_dir(store), checked_options(merged().get(SLURM, {})) | checked_options(slurm))
    if launcher == "ray":
        from openrlb_runners.launchers.ray_launcher import RayLauncher
        from openrlb_runners.launchers.ray_options import checked_ray_options

        found = {"address": os.environ[RAY_ADDRESS]} if os.environ.get(RAY_ADDRESS) else {}
        return RayLauncher(launches_dir(store), checked_ray_options({**found, **merged().get(RAY, {}), **ray}))
    return None


def cluster_of(store: Store, launch: str) -> Cluster:
    """The place that a launch was submitted to.

    Args:
        store: The store.
        launch: The launch's name.

    Raises:
        UsageError: That place cannot be asked from here.
    """
    from openrlb_runners.launchers.job_folder import read_record
    from openrlb_runners.launchers.ray_launcher import RayLauncher
    from openrlb_runners.launchers.slurm import SlurmLauncher

    root = launches_dir(store)
    return RayLauncher(root) if read_record(root / launch).get("launcher") == "ray" else SlurmLauncher(root)


def worker_limits(wall_seconds: float | None, memory_bytes: int | None, torch_source: str | None) -> tuple[str, ...]:
    """The flags of ``openrlb worker`` that say what ends a run from outside, and where torch comes from.

    Args:
        wall_seconds: The longest that one run may take, or None.
        memory_bytes: The most memory that one run may hold, or None.
        torch_source: A folder or address that has torch's CPU wheels, or None.

    >>> worker_limits(90.0, None, None)
    ('--wall-limit', '90')
    """
    flags = {"--wall-limit": wall_seconds, "--memory-limit": memory_bytes, "--torch-source": torch_source}
    told = {flag: f"{value:.10g}" if isinstance(value, float) else str(value) for flag, value in flags.items() if value}
    return tuple(word for pair in told.items() for word in pair)


def launches(store: Store, name: str) -> list[str]:
    """The names of the launches of a batch or a study, the newest last.

    Args:
        store: The store.
        name: What they train.
    """
    found = []
    for path in launches_dir(store).glob("*"):
        match = re.fullmatch(re.escape(name) + r"\.(\d+)", path.name)
        if match and path.is_dir():
            found.append((int(match[1]), path.name))
    return [launch for _, launch in sorted(found)]


def planned_launch(place: Cluster, store: Store, name: str, workers: Workers) -> Launched:
    """What would be submitted, when the place has said that it would take it; or the workers that are there already.

    Args:
        place: Where.
        store: The store.
        name: What is to be trained.
        workers: What would be submitted.

    Raises:
        LauncherError: It would not.
    """
    if (present := _present(place, store, name)) is not None:
        return present
    array = _array(_next_launch(store, name), name, workers)
    note = place.check(array)
    return Launched(name, "", None, workers.count, place.text(array), note=note)


def launch(place: Cluster, store: Store, name: str, workers: Workers, prepare: Callable[[], object] = lambda: None) -> Launched:
    """Submits workers, unless those of an earlier launch are still there.

    Args:
        place: Where.
        store: The store.
        name: What they train.
        workers: What to submit.
        prepare: Called before they are submitted, when the place has said that it would take them.

    Raises:
        LauncherError: It does not take them; nothing is left then.
        StoreUnwritable: The store's folder cannot be written; nothing is submitted then.
    """
    with _alone(store, name):
        if (present := _present(place, store, name)) is not None:
            return present
        array = _array(_next_launch(store, name), name, workers)
        note = place.check(array)
        prepare()
        place.submit(array)
        told = (name, array.id, place.number(array.id), workers.count, place.text(array))
        return Launched(*told, where=place.where(array.id), note=note)


def _present(place: Cluster, store: Store, name: str) -> Launched | None:
    """The workers of an earlier launch of which some are alive; None where there are none.

    Raises:
        LauncherError: The place that is to be used now does not answer.
    """
    from openrlb_runners.launchers.job_folder import SCRIPT, read_record

    for before in launches(store, name):
        if (found := _still_there(place, store, before)) is not None:
            tasks, text = found.tasks(before), (launches_dir(store) / before / SCRIPT).read_text(encoding="utf-8")
            submitted = int(read_record(launches_dir(store) / before).get("tasks") or len(tasks))  # SLURM forgets some that ended
            told = (name, before, found.number(before), submitted, text)
            alive = sum(not one.state.is_over for one in tasks)
            return Launched(*told, already=True, where=found.where(before), alive=alive)
    return None


def _next_launch(store: Store, name: str) -> str:
    """The name of the next launch of something."""
    there = launches(store, name)
    return f"{name}.{int(there[-1].rpartition('.')[2]) + 1 if there else 1}"


def _still_there(place: Cluster, store: Store, launch: str) -> Cluster | None:
    """The place that has workers of an earlier launch; None where they are gone, or where another place does not answer.

    That one's workers may be alive: claims and leases see to it that no run is trained twice, so nothing has to wait for it.

    Raises:
        LauncherError: The place that is to be used now does not answer.
    """
    try:
        found = cluster_of(store, launch)
        return None if found.state(launch).is_over else found
    except (LauncherError, UsageError):
        if place.holds(launch):
            raise
        return None


def _array(launch: str, name: str, workers: Workers) -> WorkerArray:
    """The array of workers."""
    from openrlb import paths
    from openrlb.config import STORE_LOCK, store_lock
    from openrlb_runners.environment import THREADS
    from openrlb_runners.launchers.job_folder import worker_words
    from openrlb_runners.launchers.protocol import WorkerArray

    variables = dict.fromkeys(THREADS, str(workers.threads))
    if os.environ.get(paths.HOME_VARIABLE):
        variables[paths.HOME_VARIABLE] = str(paths.home())
    told = {
        "OPENRLB_STORAGE": workers.storage,
        STORE_LOCK: store_lock(),
    }  # workers see neither this folder nor, on Ray, variables
    secrets = {variable: value for variable, value in told.items() if value}
    words = worker_words(name, *workers.words)
    return WorkerArray(launch, words, workers.count, workers.threads, variables, secrets)


@contextmanager
def _alone(store: Store, name: str) -> Iterator[None]:
    """Lets no two submit workers for the same at once.

    Raises:
        StoreUnwritable: The store's folder cannot be written.
    """
    from filelock import FileLock

    from openrlb.store.files import unwritable

    root = launches_dir(store)
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(root / f".{name}.lock")
        lock.acquire()
    except OSError as error:
        raise unwritable(root, error) from error
    try:
        yield
    finally:
        lock.release()
