"""``status``: every batch and study with its runs, and the workers that were submitted for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from signal import SIGKILL
from typing import TYPE_CHECKING, Any, Literal

from openrlb.api.launching import cluster_of, launches, launches_dir
from openrlb.api.shown import Shown
from openrlb.errors import LauncherError, NothingMatched, SourceError, StoreError, UsageError
from openrlb.store import Store

if TYPE_CHECKING:
    from openrlb_hpo.records import StudyRecord
    from openrlb_runners.launchers.protocol import TaskState

Kind = Literal["batch", "study", "run"]
State = Literal["running", "waiting", "stopped", "finished", "failed", "broken"]
STORAGE = "name it: --storage URL, or the variable OPENRLB_STORAGE"
OVER = ("finished", "failed", "broken")
NAME_MANY = 3


@dataclass(frozen=True, slots=True)
class StatusRow:
    """A batch, a study, or the runs of one ``openrlb run`` on this or another machine.

    Attributes:
        name: Its name; that of an ``openrlb run`` is its process.
        kind: Which of them it is.
        algo: Its algorithms.
        env: Its environments.
        state: ``running`` while a run of it trains, ``waiting`` while its workers wait in a queue, ``stopped`` where neither is
            so and it is not over: the same command goes on with it.
        queued: Runs that are not begun yet, of a study as many as there may be at most.
        running: Runs that a living worker trains.
        done: Runs that are over with a result, diverged ones included.
        lost: Runs whose worker is gone; another one begins them again.
        failed: Runs that are over without a result.
        workers: Workers that run on the batch system.
        workers_waiting: Workers that wait there.
        job: The batch system's number of the newest array, or None.
        note: What else is to be said.
    """

    name: str
    kind: Kind
    algo: str
    env: str
    state: State
    queued: int
    running: int
    done: int
    lost: int
    failed: int
    workers: int = 0
    workers_waiting: int = 0
    job: int | None = None
    note: str = ""


class StatusList(Shown, list[StatusRow]):
    """What there is: a list, a frame, and a table in a notebook."""

    def records(self) -> list[dict[str, Any]]:
        """A row for each."""
        return [asdict(row) for row in self]

    def headline(self) -> str:
        """How many of them run."""
        states = Counter(row.state for row in self)
        return ", ".join(f"{count} {state}" for state, count in states.items()) or "nothing runs"


@dataclass(frozen=True, slots=True)
class Array:
    """The workers of one launch.

    Attributes:
        running: How many run.
        waiting: How many wait.
        job: The batch system's number.
        note: Why they wait, or how they ended.
    """

    running: int = 0
    waiting: int = 0
    job: int | None = None
    note: str = ""


def status(
    name: str | None = None,
    *,
    storage: str | None = None,
    store: Store | None = None,
    on_warning: Callable[[str], None] | None = None,
) -> StatusList:
    """Every batch and study, the newest last, and the runs that belong to neither.

    Args:
        name: One of them, or the beginning of its name.
        storage: The database of the studies; the file in the store by default.
        store: The user's own store by default; what dead processes left is counted here, not stored as by other verbs.
        on_warning: Told of what cannot be read, which is left out then.

    Raises:
        NothingMatched: There is none, in the databases that were looked into.
        StoreUnwritable: The named database does not answer.
    """
    from openrlb_runners.run_folder import owners

    store, warn = store or Store(), on_warning or (lambda text: None)
    folders = owners(store.layout)
    arrays = _Arrays(store)
    rows = [*_batches(store, folders, arrays, warn, name), *_studies(store, storage, folders, arrays, warn, name)]
    rows += _others(folders) if name is None else []
    what = "nothing was begun yet" if name is None else f"there is no batch or study {name!r}"
    if left_out := studies_elsewhere(store, {row.name for row in rows}, name):
        why, fix = f"workers were submitted for {_names(left_out)}, which is in another database", STORAGE
        if not rows:
            raise NothingMatched(what if name is not None else "nothing that can be shown was begun", why, fix)
        warn(f"{why}: {fix}")
    if not rows:
        raise NothingMatched(what, "neither a batch nor a study is here", "begin one: openrlb tune ppo --budget 100")
    return StatusList(rows)


def studies_elsewhere(store: Store, known: Set[str], name: str | None) -> list[str]:
    """The studies that workers were submitted for, and that no database knows which was looked into.

    Args:
        store: The store.
        known: What is known.
        name: The beginning of their names, or None.
    """
    from openrlb_runners.launchers.job_folder import secret_file

    named = launches_dir(store).glob(str(secret_file(Path("*"), "OPENRLB_STORAGE")))
    found = {path.parent.name.rpartition(".")[0] for path in named} - known
    return sorted(one for one in found if name is None or one.startswith(name))


def _batches(
    store: Store, folders: dict[str, dict[str, Any]], arrays: _Arrays, warn: Callable[[str], None], name: str | None
) -> list[StatusRow]:
    """The batches; their runs are taken out of ``folders``."""
    from openrlb_runners.shared_batch import batch_names, ended_states, read_batch

    stored = cache(lambda: _finished(store))
    rows = []
    for one in batch_names(store.layout):
        try:
            record = read_batch(store.layout, one)
        except (SourceError, StoreError) as error:
            warn(f"the batch {one} is left out: {error.why}")
            continue
        ended, counts = ended_states(store.layout, one), Counter[str]()
        ended |= dict.fromkeys(stored() if any(item.run not in ended for item in record.items) else (), "finished")
        for item in record.items:
            folder = folders.pop(item.run, None)
            if item.run in ended:
                counts[_counted(ended[item.run])] += 1
            elif folder is not None:
                counts["running" if folder["alive"] else "lost"] += 1
            else:
                counts["queued"] += 1
        if name is not None and not one.startswith(name):
            continue
        array = arrays.of(one)
        over = counts["done"] + counts["failed"] == len(record.items)
        state = _state(counts, array, over)
        algo = _names(item.request.algo for item in record.items)
        env = _names(item.request.env for item in record.items)
        rows.append(_row(one, "batch", algo, env, "failed" if over and not counts["done"] else state, counts, array))
    return rows


def _finished(store: Store) -> frozenset[str]:
    """The finished runs of the store: another batch may have trained what one still waits for."""
    from openrlb.store.schema import literal
    from openrlb_runners.memo import SOURCE

    with suppress(NothingMatched, StoreError):
        rows = store.query(f"SELECT run FROM runs WHERE source = {literal(SOURCE)} AND state = 'finished'").rows
        return frozenset(str(run) for (run,) in rows)
    return frozenset()


def _counted(state: str) -> str:
    """What an ended run counts as."""
    return "done" if state in ("finished", "diverged") else "failed"


def _studies(
    store: Store,
    storage: str | None,
    folders: dict[str, dict[str, Any]],
    arrays: _Arrays,
    warn: Callable[[str], None],
    name: str | None,
) -> list[StatusRow]:
    """The studies; their runs are taken out of ``folders``."""
    from openrlb.api.study import existing_ledger

    try:
        ledger = existing_ledger(storage, store)
    except NothingMatched:
        return []
    with ledger:
        standing = ledger.standing(warn)  # before a batch system is asked, which takes seconds
    rows = []
    for record, held in standing:
        for reservation in record.reservations:
            folders.pop(reservation.run, None)
        if name is None or record.name.startswith(name) or record.id.startswith(name):
            rows.append(_study(record, held, arrays))
    return rows


def _study(record: StudyRecord, held: frozenset[int], arrays: _Arrays) -> StatusRow:
    """One study; ``held`` are its open runs that are trained."""
    from openrlb.api.study import phase_of
    from openrlb.api.tune_time import runs_left

    counts = Counter[str]()
    for row in record.reservations:
        if row.state == "open":
            counts["running" if row.number in held else "lost"] += 1
        else:
            counts[_counted(row.state)] += 1
    phase, array = phase_of(record), arrays.of(record.name)
    counts["queued"] = max(0, runs_left(record.settings, record.budget, record) - counts["running"] - counts["lost"])
    state: State = phase if phase in ("finished", "failed", "broken") else _state(counts, array, False)
    if phase in OVER:
        counts["queued"] = 0
    return _row(record.name, "study", record.settings.algo, _names(record.settings.envs), state, counts, array)


def _state(counts: Counter[str], array: Array, over: bool) -> State:
    """How something stands that has such runs and such workers."""
    if over:
        return "finished"
    if counts["running"] or array.running:
        return "running"
    return "waiting" if array.waiting else "stopped"


def _row(name: str, kind: Kind, algo: str, env: str, state: State, counts: Counter[str], array: Array) -> StatusRow:
    """A row."""
    return StatusRow(
        name=name,
        kind=kind,
        algo=algo,
        env=env,
        state=state,
        queued=counts["queued"],
        running=counts["running"],
        done=counts["done"],
        lost=counts["lost"],
        failed=counts["failed"],
        workers=array.running,
        workers_waiting=array.waiting,
        job=array.job,
        note="" if state in OVER else array.note,
    )


def _others(folders: Mapping[str, Mapping[str, Any]]) -> list[StatusRow]:
    """The runs of other commands, by the process that trains them."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for folder in folders.values():
        owner = folder["owner"]
        groups.setdefault((str(owner.get("machine")), str(owner.get("pid"))), []).append(folder)
    rows = []
    for (_, pid), found in groups.items():
        counts = Counter("running" if one["alive"] else "lost" for one in found)
        algo, env = _names(one["algo"] for one in found), _names(one["env"] for one in found)
        rows.append(_row(f"process {pid}", "run", algo, env, _state(counts, Array(), False), counts, Array()))
    return rows


def _names(words: Any) -> str:  # noqa: ANN401 - any iterable of words
    """Different words on one line."""
    found = list(dict.fromkeys(map(str, words)))
    more = f" and {len(found) - NAME_MANY} more" if len(found) > NAME_MANY else ""
    return ", ".join(found[:NAME_MANY]) + more


class _Arrays:
    """The workers that were submitted, asked for when they are first needed.

    Args:
        store: The store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._problems: dict[str, str] = {}

    def of(self, name: str) -> Array:
        """The workers of the newest launch of something."""
        from openrlb_runners.launchers.job_folder import read_record

        there = launches(self._store, name)
        if not there:
            return Array()
        record = read_record(launches_dir(self._store) / there[-1])
        place = f"{record.get('launcher')} {record.get('address')}"
        if place in self._problems:  # each that does not answer is waited for once
            return Array(job=record.get("job"), note=self._problems[place])
        try:
            found = cluster_of(self._store, there[-1])
            tasks = found.tasks(there[-1])
        except (LauncherError, UsageError) as error:
            self._problems[place] = f"{error.what}: {error.why}"
            return Array(job=record.get("job"), note=self._problems[place])
        who = f"the Ray cluster {record.get('address')}" if record.get("launcher") == "ray" else "SLURM"
        last = _last_word(launches_dir(self._store) / there[-1], tasks[0].state.code)
        phases, submitted = Counter(one.state.phase for one in tasks), int(record.get("tasks") or len(tasks))
        return Array(phases["running"], phases["waiting"], found.number(there[-1]), _note(tasks, submitted, who, last))


def _note(tasks: Sequence[TaskState], submitted: int, who: str, last: str) -> str:
    """What is to be said of workers: for what they wait, how many have ended, and why; SLURM forgets some that have.

    >>> from openrlb_runners.launchers.protocol import JobState, TaskState
    >>> gone, runs = TaskState(0, JobState("ended", signal=9)), TaskState(1, JobState("running"))
    >>> _note([gone, runs], 2, "SLURM", "")
    '1 of 2 workers has ended (killed by signal 9)'
    >>> _note([TaskState(0, JobState("waiting"), waiting_for="Priority")], 1, "SLURM", "")
    'SLURM lets it wait behind jobs of higher priority'
    """
    waits = [_waits(word, who) for word in sorted({one.waiting_for for one in tasks if one.waiting_for})]
    over = [one.state for one in tasks if one.state.is_over]
    reasons = {one.reason or (f"killed by signal {one.signal}" if one.signal == SIGKILL else "") for one in over} - {""}
    why = ", ".join(sorted(reasons)) or last
    alive = len(tasks) - len(over)
    if 0 < alive < submitted:
        told = f"{submitted - alive} of {submitted} workers {'has' if submitted - alive == 1 else 'have'} ended"
        return "; ".join([*waits, f"{told} ({why})" if why else told])
    return "; ".join(waits) or why


def _waits(word: str, who: str) -> str:
    """Why a worker waits, as a sentence; ``word`` is the batch system's."""
    known = {
        "Resources": f"{who} has no room yet",
        "Priority": f"{who} lets it wait behind jobs of higher priority",
        "BeginTime": f"{who} begins it later: its time has not come",
        "PartitionDown": f"{who} has its partition down",
    }
    return known.get(word) or (word if " " in word else f"{who} lets it wait: {word}")


def _last_word(folder: Path, code: int | None) -> str:
    """What a worker said that ended badly."""
    from openrlb_runners.run_folder import last_line

    if not code:
        return ""
    with suppress(OSError):
        text = (folder / "task-0.log").read_text(encoding="utf-8", errors="replace")[-4096:]
        why = [line for line in text.splitlines() if line.startswith("error: ")]
        return (why[-1] if why else last_line(text)).removeprefix("error: ")
    return ""
