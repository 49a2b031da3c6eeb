"""The one loop that trains: takes work items, starts them on a launcher, watches them, stores what came of them."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Literal, Protocol

from openrlb.errors import OpenrlbError, SourceError, StoreUnwritable
from openrlb.sources.trained import CONFIG, DONE, METRICS
from openrlb.store import Store
from openrlb.tracking.folder import remove_folder
from openrlb.tracking.mirror import Mode
from openrlb.types import RunBatch
from openrlb_runners.interrupts import Interrupts
from openrlb_runners.launchers.protocol import Job, JobState, Launcher
from openrlb_runners.memo import Memo
from openrlb_runners.mirroring import RunMirror
from openrlb_runners.progress import Progress, Tail
from openrlb_runners.request import Outcome, WorkItem
from openrlb_runners.run_folder import (
    RECORD,
    SPEC,
    attempts,
    claim,
    is_running,
    mark_ended,
    misapplied,
    next_attempt,
    read_folder,
    show_life,
    stderr_tail,
    store_folders,
    unstored,
)
from openrlb_runners.supervise import GRACE_SECONDS, Limits, Stopped, ending, interrupted, oom_kills, over_limit

WAIT_SECONDS = 0.2
LOOK_SECONDS = 0.5
ELSEWHERE_SECONDS = 1.0
LIFE_SECONDS = 60.0
HEAR_SECONDS = 1.0
"""How long a signal may take to be heard here that has ended a run already."""
TAKEN = "another openrlb took this one for dead, and has stored the run; interrupted"
MIRROR_SECONDS = 10.0
"""How long wandb may still take after Ctrl-C."""


class Later(Enum):
    """What a source says that has nothing now and may have something later."""

    LATER = "later"


LATER = Later.LATER


class WorkSource(Protocol):
    """Where work comes from: a batch (``run``), a study (``tune``), a reproduction.

    A source with a true attribute ``keeps_order`` is not asked for more in the place of a run that another openrlb trains. One
    with a method ``is_over(item)`` says of a run that was trained elsewhere whether that is all there is to it.
    """

    def take(self) -> WorkItem | Later | None:
        """The next item, ``LATER`` where there is none before another one has ended, or None where there is no more."""

    def finished(self, item: WorkItem, outcome: Outcome) -> None:
        """Told once for each item that was taken, however it ended; after Ctrl-C not for those that were not begun."""


@dataclass(frozen=True)
class Event:
    """Something to tell the user.

    Attributes:
        kind: ``started``, ``progress``, ``ended``, ``elsewhere`` (another openrlb trains that very run) or ``warning``.
        item: What it is about; None for a warning about the whole.
        attempt: The attempt's number.
        progress: How far the run is.
        outcome: What came of it, at its end.
        text: The words of a warning.
    """

    kind: Literal["started", "progress", "ended", "elsewhere", "warning"]
    item: WorkItem | None = None
    attempt: int = 0
    progress: Progress | None = None
    outcome: Outcome | None = None
    text: str = ""


def work(
    source: WorkSource,
    *,
    workers: int,
    store: Store,
    launcher: Launcher | None = None,
    limits: Limits | None = None,
    wandb: Mode = "off",
    memo: Memo | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> None:
    """Trains what a source gives until it gives no more, several runs at a time, in one thread.

    A finished run of the same key is not trained again (its record is the outcome); one that another openrlb is training is
    waited for. Ctrl-C and SIGTERM stop the running ones, store them as ``killed`` and raise; a second one does not wait.

    Args:
        source: Where items come from.
        workers: How many runs to train at a time.
        store: Where runs go.
        launcher: Where they execute; a local one by default, which is closed at the end.
        limits: What ends a run from outside.
        wandb: ``offline`` or ``online`` to mirror the rows to Weights & Biases.
        memo: What the store holds, where the caller has looked already.
        on_event: Told what happens.

    Raises:
        KeyboardInterrupt: After Ctrl-C or SIGTERM, when everything is stored.
        StoreUnwritable: The store cannot be written; what was running has ended before, and waits in its folders.
    """
    from openrlb_runners.launchers.local import LocalLauncher

    with ExitStack() as stack:
        place = launcher or stack.enter_context(LocalLauncher())
        signals = stack.enter_context(Interrupts())
        words = (limits or Limits(), wandb, memo or Memo(store), on_event or _silent, signals)
        _Worker(source, workers, store, place, *words).run()


def _silent(event: Event) -> None:
    """Tells nobody."""


@dataclass
class _Running:
    """One run that is being trained."""

    item: WorkItem
    job: str
    folder: Path
    attempt: int
    tail: Tail
    oom_kills: int
    mirror: RunMirror | None
    began: float | None = None
    looked: float = 0.0
    lived: float = 0.0
    checked: bool = False
    stopped: Stopped | None = None
    stopped_at: float = 0.0
    forced: bool = False


@dataclass
class _Worker:
    """The state of :func:`work`."""

    source: WorkSource
    workers: int
    store: Store
    launcher: Launcher
    limits: Limits
    wandb: Mode
    memo: Memo
    on_event: Callable[[Event], None]
    signals: Interrupts
    running: dict[str, _Running] = field(default_factory=dict)
    elsewhere: list[WorkItem] = field(default_factory=list)
    mirrors: list[RunMirror] = field(default_factory=list)
    warnings: SimpleQueue[str] = field(default_factory=SimpleQueue)
    exhausted: bool = False
    failure: BaseException | None = None
    asked_elsewhere: float = 0.0
    told_stop: bool = False

    def run(self) -> None:
        """The loop."""
        try:
            while self.running or not self._is_over():
                self._turn()
        except BaseException as error:  # whatever it is, no process outlives it and no rows are lost
            self.failure = self.failure or error
            self._abandon(type(error).__name__)
        self._end_mirrors()
        if self.failure is not None:
            raise self.failure
        if self.signals.count:
            raise KeyboardInterrupt

    def _is_over(self) -> bool:
        """Whether nothing more is to be started."""
        return bool(self.signals.count or self.failure) or (self.exhausted and not self.elsewhere)

    def _turn(self) -> None:
        """One turn of the loop."""
        if self.signals.count:
            if self.running and not self.told_stop:
                self.told_stop = True
                self.on_event(Event("warning", text="stopping what is running, to store it; a second Ctrl-C does not wait"))
            for run in self.running.values():
                self._stop(run, interrupted(), force=self.signals.count > 1)
        elif self.failure is None:
            try:
                self._start_more()
            except StoreUnwritable as error:
                self.failure = error  # what runs may go on: it has its files already
        self.launcher.wait(WAIT_SECONDS)
        for run in list(self.running.values()):
            self._watch(run)
        with suppress(Empty):
            while True:
                self.on_event(Event("warning", text=self.warnings.get_nowait()))

    def _start_more(self) -> None:
        """Fills the free places: first with runs that another openrlb gave up, then from the source."""
        now = time.monotonic()
        if self.elsewhere and now - self.asked_elsewhere > ELSEWHERE_SECONDS:
            self.asked_elsewhere = now
            waiting, self.elsewhere = self.elsewhere, []
            is_over = getattr(self.source, "is_over", lambda item: False)
            for item in waiting:
                if is_over(item):
                    continue
                if len(self.running) < self.workers:
                    self._begin(item, again=True)
                else:
                    self.elsewhere.append(item)
        while self._places_taken() < self.workers and not self.exhausted:
            taken = self.source.take()
            if isinstance(taken, Later):
                break
            if taken is None:
                self.exhausted = True
            else:
                self._begin(taken)

    def _places_taken(self) -> int:
        """How many runs are trained, and in a study also those that are trained elsewhere: its next step hangs on them."""
        return len(self.running) + (len(self.elsewhere) if getattr(self.source, "keeps_order", False) else 0)

    def _begin(self, item: WorkItem, again: bool = False) -> None:
        """Trains an item, or takes it from the store, or notes that another openrlb is at it."""
        digest = item.key.digest
        while True:
            done = self.memo.finished(digest) if item.use_memo else None
            if done is not None:
                self._told(item, Outcome(done, None, None, "", 0.0, stored=True, trained=False), done.attempt)
                return
            if self._is_elsewhere(digest) and item.use_memo:
                self.elsewhere.append(item)
                if not again:
                    self.on_event(Event("elsewhere", item))
                return
            attempt = next_attempt(self.store.layout, digest, self.memo.last(digest)[1])
            folder = claim(self.store.layout, item, attempt)
            if folder is None:
                continue
            if item.use_memo and self.memo.finished(digest) is not None:  # stored between the look and the claim
                remove_folder(folder)
                continue
            self._submit(item, folder, attempt)
            return

    def _is_elsewhere(self, digest: str) -> bool:
        """Whether somebody trains a key; folders whose owner is dead are stored."""
        for folder in attempts(self.store.layout, digest):
            try:
                if is_running(folder):
                    return True
                self._keep(folder)
            except FileNotFoundError:
                continue
            except SourceError as error:
                self.on_event(Event("warning", text=str(error)))
        return False

    def _keep(self, folder: Path) -> None:
        """Stores what another openrlb left."""
        for batch in store_folders(self.store.layout, [folder]):
            self.memo.note(batch.run)

    def _submit(self, item: WorkItem, folder: Path, attempt: int) -> None:
        """Starts the process of a claimed attempt."""
        job = f"{item.key.digest}.{attempt}"
        arguments = ("--spec", str(folder / SPEC), "--out", str(folder))
        mirror = None if self.wandb == "off" else RunMirror(self.wandb, item, attempt, self.warnings)
        tail = Tail(folder / METRICS, item.request.steps)
        run = _Running(item, job, folder, attempt, tail, oom_kills(), mirror, lived=time.monotonic())
        self.running[job] = run
        if mirror is not None:
            self.mirrors.append(mirror)
        self.launcher.submit(Job(job, item.runner, arguments, folder, item.request.threads))
        self.on_event(Event("started", item, attempt, run.tail.progress))

    def _watch(self, run: _Running) -> None:
        """Looks after one run: rows, limits, its end."""
        state, now = self.launcher.state(run.job), time.monotonic()
        if state.phase == "running" and run.began is None:
            run.began = now
        if now - run.looked > LOOK_SECONDS and not state.is_over:
            run.looked = now
            self._look(run)
            self.on_event(Event("progress", run.item, run.attempt, run.tail.progress))
            self._restrain(run, state, now)
        if run.stopped is not None and now - run.stopped_at > GRACE_SECONDS:
            self._stop(run, run.stopped, force=True)
        if now - run.lived > LIFE_SECONDS:
            run.lived = now
            if not show_life(run.folder) and run.stopped is None:  # this machine stood still for longer than the lease
                self._stop(run, Stopped("killed", TAKEN))
        if state.is_over:
            self._end(run, state)

    def _look(self, run: _Running) -> None:
        """Takes in new rows."""
        rows = run.tail.look()
        if run.mirror is not None:
            run.mirror.log(rows)

    def _restrain(self, run: _Running, state: JobState, now: float) -> None:
        """Ends a run that is over a limit, or that trains something else than was asked for."""
        if run.stopped is not None:
            return
        seconds = 0.0 if run.began is None else now - run.began
        over = over_limit(self.limits, seconds, state.pid)
        if over is None and not run.checked and (run.folder / CONFIG).is_file():
            run.checked = run.tail.progress.step > 0  # the file is whole once there are rows
            if misapplied(run.folder, run.item.effective, run.item.request.seed):
                over = Stopped("invalid", "stopped: it trained something else")
        enough = run.item.stop_after
        if over is None and enough is not None and run.tail.progress.step > enough:
            over = Stopped("killed", f"stopped after step {enough}, as asked")
        if over is not None:
            self._stop(run, over)

    def _stop(self, run: _Running, why: Stopped, force: bool = False) -> None:
        """Asks a run to end, once; forces it, once."""
        if run.stopped is None:
            run.stopped, run.stopped_at = why, time.monotonic()
            self.launcher.cancel(run.job)
        if force and not run.forced:
            run.forced = True
            self.launcher.cancel(run.job, force=True)

    def _end(self, run: _Running, state: JobState) -> None:
        """Stores a run that is over, and tells everybody."""
        del self.running[run.job]
        self.launcher.forget(run.job)
        self._look(run)
        while run.mirror is not None and run.tail.is_behind:
            self._look(run)
        run.tail.close()
        if state.phase == "lost" and run.began is not None:
            state = replace(state, seconds=time.monotonic() - run.began)
        if run.stopped is None and self._was_asked_to_end(state):
            run.stopped = interrupted()
        tail = stderr_tail(run.folder)
        ended = ending(state, run.stopped, tail, oom_kills() - run.oom_kills, (run.folder / DONE).is_file())
        batch, stored = self._stored(run, lambda: mark_ended(run.folder, ended))
        if run.mirror is not None:
            run.mirror.finish(batch.run.state)
        self.memo.note(batch.run)
        self._told(run.item, Outcome(batch.run, batch, ended.code, tail, ended.seconds, stored), run.attempt)

    def _was_asked_to_end(self, state: JobState) -> bool:
        """Whether it ended because openrlb is to end: a batch system tells both, and the run may be the first to hear."""
        if state.phase != "lost" and state.signal not in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            return False
        deadline = time.monotonic() + HEAR_SECONDS
        while not self.signals.count and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.signals.count > 0

    def _stored(self, run: _Running, mark: Callable[[], None]) -> tuple[RunBatch, bool]:
        """A run as it is read from its folder, and whether it is in the spool; where it is not, it waits in its folder."""
        try:
            mark()
            return store_folders(self.store.layout, [run.folder])[0], True
        except (OpenrlbError, OSError, IndexError) as error:
            name = run.item.request.label
            if not (run.folder / RECORD).exists():
                self.on_event(Event("warning", run.item, text=f"{name} is not stored: {TAKEN}"))
                return unstored(run.item, run.attempt, TAKEN), False
            self.on_event(Event("warning", run.item, text=f"{name} waits in {run.folder} for the next openrlb command: {error}"))
            self.failure = self.failure or (error if isinstance(error, StoreUnwritable) else None)
            return read_folder(run.folder), False

    def _told(self, item: WorkItem, outcome: Outcome, attempt: int) -> None:
        """Tells the source and the user what came of an item."""
        self.source.finished(item, outcome)
        self.on_event(Event("ended", item, attempt, outcome=outcome))

    def _abandon(self, why: str) -> None:
        """After a failure of our own: ends what runs, and stores it."""
        deadline = time.monotonic() + 2 * GRACE_SECONDS
        while self.running and time.monotonic() < deadline:
            for run in list(self.running.values()):
                self._stop(run, Stopped("killed", f"openrlb itself failed ({why})"), force=True)
                if (state := self.launcher.state(run.job)).is_over:
                    with suppress(Exception):  # the failure that is being handled is the one to tell
                        self._end(run, state)
            self.launcher.wait(WAIT_SECONDS)

    def _end_mirrors(self) -> None:
        """Waits for wandb, after an interrupt not for long."""
        for mirror in self.mirrors:
            while not mirror.wait(WAIT_SECONDS if not self.signals.count else MIRROR_SECONDS):
                if self.signals.count:
                    self.on_event(Event("warning", text="wandb did not end in time: rows may be missing there, not in the store"))
                    return
        with suppress(Empty):
            while True:
                self.on_event(Event("warning", text=self.warnings.get_nowait()))
