"""A study as the worker loop takes it: ``take`` reserves the next run, ``finished`` writes down what came of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

from openrlb.errors import OpenrlbError, SourceError, StoreUnwritable, UsageError
from openrlb_hpo import planner
from openrlb_hpo.following import Follower
from openrlb_hpo.ledger import LEASE_SECONDS, Ledger, Transaction
from openrlb_hpo.owners import worker_name
from openrlb_hpo.racing import OVER, rungs_done, value_at, worst_scores
from openrlb_hpo.reading import StudyReader
from openrlb_hpo.records import BASELINE, Reservation, StudyRecord, StudyRole, StudySettings, Trial
from openrlb_hpo.scoring import SOURCE, ending_of
from openrlb_hpo.seeds import seed_of
from openrlb_hpo.space import Space

if TYPE_CHECKING:
    from openrlb.store import Store
    from openrlb_hpo.projection import Projection
    from openrlb_hpo.proposals import Past
    from openrlb_runners.memo import Memo
    from openrlb_runners.request import Outcome, PinnedRunner, TrainingRequest, WorkItem
    from openrlb_runners.worker import Later

COPY_SECONDS = 10.0
"""So far Optuna's copy may be behind while a study runs: writing it takes longer than the step that it shows."""

OUTAGE_SECONDS = 900.0
"""So long a server that does not answer is waited for."""
RETRY_SECONDS = 2.0
BEHIND_SECONDS = 1.0
"""A worker that has not looked for so long reads what others did meanwhile before it keeps them from the study."""
LEFT_SECONDS = 15.0
"""So long the first run of a trial is left to the worker that proposed it: it asks the runner what the trial means. All others
would else ask the same, and find the run taken."""
MOST_SECONDS_BETWEEN_LOOKS = 10.0
"""A worker that waits for others looks again after a quarter of the time that it has waited, and so long at most."""

Resolve = Callable[["TrainingRequest"], Mapping[str, Any]]
"""Gives the effective configuration of a request, or refuses it with a UsageError."""


class StudySource:
    """The runs of a study, for :func:`openrlb_runners.worker.work`. A context manager: while it is open it shows that it lives.

    Args:
        ledger: Where studies are kept.
        record: The study.
        store: The store that its runs go to.
        runner: What trains them.
        resolve: Gives the effective configuration of a request.
        memo: What the store holds, where somebody has looked already.
        projection: Optuna's copy of the study, or None to keep none.
        on_step: Shown the study after each of its steps.
        on_outage: Told when a server that keeps studies does not answer, and is waited for.

    Raises:
        UsageError: The runner is not the one that the study was begun with.
    """

    keeps_order = True

    def __init__(
        self,
        ledger: Ledger,
        record: StudyRecord,
        store: Store,
        runner: PinnedRunner,
        resolve: Resolve,
        *,
        memo: Memo | None = None,
        projection: Projection | None = None,
        on_step: Callable[[StudyRecord], None] | None = None,
        on_outage: Callable[[str], None] | None = None,
    ) -> None:
        check_runner(record.settings, runner)
        self.ledger, self.study, self.store, self.runner = ledger, record.id, store, runner
        self.settings = record.settings
        self.space = Space.from_json(record.settings.space)
        self.problem = ""
        self.worker = worker_name()
        self._reader, self._follower = StudyReader(record.id), Follower()
        self._resolve, self._memo, self._projection, self._on_step = resolve, memo, projection, on_step
        self._effective: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._broke: set[tuple[str, str]] = set()
        self._seen: int | None = None
        self._of_others: dict[int, float] = {}
        self._taken: dict[int, Reservation] = {}
        self._items: dict[int, WorkItem] = {}
        self._copied: float | None = None
        self._unwritten: list[tuple[Reservation, Outcome]] = []
        self._looked = self._waits_since = self._next_look = 0.0
        self._outage = Outage(ledger, on_outage or (lambda text: None))
        self._closed = threading.Event()
        self._alive = threading.Thread(target=self._live, name="lease", daemon=True)

    def __enter__(self) -> StudySource:
        self._alive.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._closed.set()
        self._alive.join()
        with suppress(OpenrlbError):  # what is not written is in the store, where the next worker finds it
            self._write()
        with suppress(OpenrlbError), self.ledger.transaction(self.study) as change:
            for row in self._taken.values():  # reserved, and never begun
                change.uncount(row.number, self.worker)
                change.close(row.number, self.worker, "open")
        with suppress(OpenrlbError):
            self._show(last=True)
        if self._projection is not None:
            self._projection.close()

    def _live(self) -> None:
        """Renews the leases of this worker's runs."""
        while not self._closed.wait(LEASE_SECONDS / 4):
            with suppress(OpenrlbError), self.ledger.transaction() as change:
                change.renew(self.worker, self.study)

    def take(self) -> WorkItem | Later | None:
        """The next run of the study; ``LATER`` where another one has to end first, None where the study is over.

        A server that does not answer is waited for, too, for as long as :data:`OUTAGE_SECONDS`.

        Raises:
            StoreUnwritable: The ledger cannot be written.
            ContractBroken: The study breaks its own rules: somebody else has written to it.
        """
        from openrlb_runners.worker import LATER

        if self._outage.is_early or time.monotonic() < self._next_look:
            return LATER
        try:
            if self._outage.is_on:
                self._give_back()
            self._write()
            taken = self._take()
            self._outage.end()
            return taken
        except StoreUnwritable as error:
            self._reader.forget()
            self._outage.begin(error)
            return LATER

    def _take(self) -> WorkItem | Later | None:
        """The same where the ledger answers."""
        from openrlb_runners.worker import LATER

        if time.monotonic() - self._looked > BEHIND_SECONDS and self.ledger.engine.dialect.name == "postgresql":
            with self.ledger.transaction() as change:
                change.hold_still()
                self._follower.check(self._reader.read(change))
        while True:
            with self.ledger.transaction(self.study) as change:
                before = self._reader.read(change)
                self._follower.check(before)
                record, step, row = self._advance(change, before)
            self._looked = time.monotonic()
            if record is not before or isinstance(step, planner.Freeze | planner.Done):
                self._show()
            if isinstance(step, planner.Done):
                self.problem = step.problem
                return None
            if isinstance(step, planner.Wait):
                self._wait()
                return LATER
            self._waits_since = self._next_look = 0.0
            if row is not None:
                if (item := self._item(record, row)) is not None:
                    return item
            elif isinstance(step, planner.Reserve):
                self._ask(record, step)

    def _wait(self) -> None:
        """Notes when to look again: many that wait for one run would else keep the ledger from who has something to write."""
        now = time.monotonic()
        self._waits_since = self._waits_since or now
        self._next_look = now + min(MOST_SECONDS_BETWEEN_LOOKS, (now - self._waits_since) / 4)

    def _advance(self, change: Transaction, record: StudyRecord) -> tuple[StudyRecord, planner.Step, Reservation | None]:
        """Takes steps until one needs more than the ledger; the study then, that step, and the run that it took.

        What a worker begins and ends on the way is one transaction: each has to wait for all others that claim a run.
        """
        held, left = change.held(self.study), self._left(record)
        while True:
            step = planner.next_step(record, held, left)
            if isinstance(step, planner.Propose):
                trial = next_trial(record, self.space)
                change.add_trial(self.study, trial)
                self._seen = trial.number + 1
                record = replace(record, trials=(*record.trials, trial))
            elif isinstance(step, planner.Finish):
                change.close_trial(self.study, step.number, step.state, step.reason)
                trials = list(record.trials)
                trials[step.number] = replace(trials[step.number], state=step.state, reason=step.reason)
                record = replace(record, trials=tuple(trials))
            elif self._unknown(step):
                return record, step, None
            else:
                return record, step, self._do(change, record, step)

    def _left(self, record: StudyRecord) -> set[int]:
        """Trials that others proposed a moment ago; those that were there at the first look are nobody's."""
        now = time.monotonic()
        if self._seen is not None:
            for trial in record.trials[self._seen :]:
                self._of_others[trial.number] = now
        self._seen = len(record.trials)
        self._of_others = {number: when for number, when in self._of_others.items() if now - when < LEFT_SECONDS}
        return set(self._of_others)

    def finished(self, item: WorkItem, outcome: Outcome) -> None:
        """Writes down what came of a run; while the server does not answer that is kept for later.

        Raises:
            StoreUnwritable: The ledger cannot be written.
        """
        number = next(number for number, one in self._items.items() if one is item)
        self._unwritten.append((self._taken[number], outcome))
        self._waits_since = self._next_look = 0.0
        del self._items[number]
        try:
            self._write()
            self._show()
        except StoreUnwritable as error:
            self._outage.begin(error)

    def _write(self) -> None:
        """Writes down how runs ended."""
        while self._unwritten:
            row, outcome = self._unwritten[0]
            self._close(row, outcome)
            del self._unwritten[0], self._taken[row.number]

    def _give_back(self) -> None:
        """Gives back what was reserved by a transaction whose end was never heard: its lease would be renewed for ever."""
        with self.ledger.transaction(self.study) as change:
            for row in change.read(self.study).reservations:
                if row.state == "open" and row.worker == self.worker and row.number not in self._taken:
                    change.uncount(row.number, self.worker)
                    change.close(row.number, self.worker, "open")

    def _close(self, row: Reservation, outcome: Outcome) -> None:
        """Closes the row of a run."""
        end = ending_of(outcome, self.settings, self.store, row.attempts)
        with self.ledger.transaction(self.study) as change:
            if not end.counts:
                change.uncount(row.number, self.worker)
            words = {"score": end.score, "steps": end.steps, "seconds": end.seconds, "reason": end.reason}
            change.close(row.number, self.worker, end.state, **words)  # type: ignore[arg-type]

    def _show(self, last: bool = False) -> None:
        """Tells whoever watches, and every few seconds brings Optuna's copy up to date."""
        if self._projection is None and self._on_step is None:
            return
        with self.ledger.transaction() as change:
            change.hold_still()
            record = self._reader.read(change)
        if self._projection is not None and (last or self._copied is None or time.monotonic() - self._copied > COPY_SECONDS):
            self._projection.update(record, self.space, wait=last)
            self._copied = time.monotonic()
        if self._on_step is not None:
            self._on_step(record)

    def _unknown(self, step: planner.Step) -> bool:
        """Whether a run's effective configuration has to be asked for before it can be reserved."""
        return isinstance(step, planner.Reserve) and (step.configuration, step.env) not in self._effective

    def _do(self, change: Transaction, record: StudyRecord, step: planner.Step) -> Reservation | None:
        """Takes a step; returns the run that is to be trained, where it is one."""
        if isinstance(step, planner.Retake):
            return change.retake(step.row.number, self.worker)
        if isinstance(step, planner.Reserve):
            seed = seed_of(step.role, step.seed_index, self.settings.test_block if step.role == "test" else 0)
            key = self._work_item(record, step.configuration, step.role, step.env, seed).key.digest
            return change.reserve(record, step.configuration, step.role, step.env, step.seed_index, seed, key, self.worker)
        if isinstance(step, planner.Freeze):
            change.freeze(self.study, step.incumbent)
        return None

    def _item(self, record: StudyRecord, row: Reservation) -> WorkItem | None:
        """The work item of a reserved run; None where it turned out that nothing is to be trained."""
        if (row.configuration, row.env) not in self._effective:
            self._ask(record, planner.Reserve(row.configuration, row.role, row.env, row.seed_index))
        if (row.configuration, row.env) not in self._effective:
            with self.ledger.transaction(self.study) as change:
                change.uncount(row.number, self.worker)
                change.close(row.number, self.worker, "open")
            return None
        item = self._work_item(record, row.configuration, row.role, row.env, row.seed)
        if row.attempts > 1 and (before := self._ended_before(row.run)) is not None:
            self._close(row, before)
            return None
        self._taken[row.number], self._items[row.number] = row, item
        return item

    def _ended_before(self, run: str) -> Outcome | None:
        """What the store holds of a run whose worker was killed between storing it and writing it down here.

        A finished run is no concern here: the worker loop finds it.
        """
        from openrlb.store.schema import literal
        from openrlb.types import Selection
        from openrlb_runners.request import Outcome

        if self._memo is None or self._memo.last(run)[0] not in ("diverged", "failed", "invalid"):
            return None
        rows = self.store.runs(
            Selection(where=f"source = {literal(SOURCE)} AND run = {literal(run)}", role=("tuning", "confirm", "test"))
        )
        return Outcome(rows[0].record, None, None, "", 0.0, stored=True, trained=False)

    def _work_item(self, record: StudyRecord, configuration: str, role: StudyRole, env: str, seed: int) -> WorkItem:
        """One run."""
        from openrlb_runners.request import WorkItem

        request = replace(request_for(record, configuration, env, seed), role=role)
        name = record.name
        tags = (f"baseline-of:{name}", configuration) if configuration.startswith(BASELINE) else (f"study:{name}",)
        return WorkItem(self.runner, request, self._for_seed(configuration, env, seed), tags=tags)

    def _for_seed(self, configuration: str, env: str, seed: int) -> Mapping[str, Any]:
        """The effective configuration with a run's own seed."""
        return {**self._effective[configuration, env], "seed": seed}

    def _ask(self, record: StudyRecord, step: planner.Reserve) -> None:
        """Asks the runner what a configuration means; a trial that it refuses, or that breaks it twice, has failed.

        Raises:
            UsageError, SourceError: It refuses, or breaks on, a baseline or a trial that was trained before.
        """
        request = request_for(record, step.configuration, step.env, seed_of("tuning", 0))
        key = (step.configuration, step.env)
        try:
            self._effective[key] = self._resolve(request)
            return
        except (UsageError, SourceError) as error:
            if (
                step.configuration.startswith(BASELINE)
                or record.trials[int(step.configuration.partition(":")[2])].state != "running"
            ):
                raise
            if isinstance(error, SourceError) and key not in self._broke:
                self._broke.add(key)  # that may have been the machine's fault: it is asked once more
                return
            why = error.why
        number = int(step.configuration.partition(":")[2])
        with self.ledger.transaction(self.study) as change:
            for row in change.read(self.study).reservations:
                if row.configuration == step.configuration and row.state == "open":
                    change.close(row.number, row.worker, "failed", reason=why)
            change.close_trial(self.study, number, "failed", f"the runner refused it: {why}")


class Outage:
    """A server that does not answer: waited for, since it may only be restarted; a file is never waited for.

    Args:
        ledger: Where studies are kept.
        tell: Told once when an outage begins.
    """

    def __init__(self, ledger: Ledger, tell: Callable[[str], None]) -> None:
        self._waits = ledger.engine.dialect.name != "sqlite"
        self._tell = tell
        self._since = self._next = 0.0

    @property
    def is_on(self) -> bool:
        """Whether it did not answer when it was last asked."""
        return self._since > 0

    @property
    def is_early(self) -> bool:
        """Whether it was asked just now."""
        return time.monotonic() < self._next

    def begin(self, error: StoreUnwritable) -> None:
        """Notes that it does not answer.

        Raises:
            StoreUnwritable: It is not, or no longer, waited for.
        """
        now = time.monotonic()
        if not self._waits or (self.is_on and now - self._since > OUTAGE_SECONDS):
            raise error
        if not self.is_on:
            self._since = now
            self._tell(f"{error.what}, and is waited for: {error.why}")
        self._next = now + RETRY_SECONDS

    def end(self) -> None:
        """Notes that it answers."""
        self._since = 0.0


def check_runner(settings: StudySettings, runner: PinnedRunner) -> None:
    """Holds a runner against the one that a study was begun with.

    Raises:
        UsageError: It is another, or another state of it: its runs would not be the study's.
    """
    check_same(settings, runner.name, runner.lock, runner.source)


def check_same(settings: StudySettings, name: str, lock: str, source: str) -> None:
    """The same for a runner whose environment need not be there.

    Args:
        settings: The study's.
        name: The runner's name.
        lock: The hash of its lock.
        source: The hash of its source.

    Raises:
        UsageError: One of them is another.
    """
    from openrlb_runners.request import NeededRunner

    needed = NeededRunner(settings.impl, settings.runner_source, settings.lock, settings.device)
    needed.check(settings.name, name, lock, source, "check out the version that began it, or add --new-study")


def request_for(record: StudyRecord, configuration: str, env: str, seed: int) -> TrainingRequest:
    """What is asked of the runner for a configuration in an environment."""
    from openrlb_runners.request import TrainingRequest

    settings = record.settings
    if configuration.startswith(BASELINE):
        name = configuration.removeprefix(BASELINE)
        baseline = next(one for one in settings.baselines if one.name == name)
        asked = baseline.hyperparameters[env]
    else:
        asked = record.trials[int(configuration.partition(":")[2])].hyperparameters
    return TrainingRequest(
        algo=settings.algo,
        env=env,
        seed=seed,
        steps=settings.steps,
        hyperparameters=asked,
        env_kwargs=settings.env_kwargs,
        evaluation=settings.evaluation,
        threads=settings.threads,
        device=settings.device,
    )


def next_trial(record: StudyRecord, space: Space) -> Trial:
    """The next trial: what was declared first, then what the method proposes."""
    from openrlb_hpo.proposals import propose
    from openrlb_runners.batch import merged

    settings, number = record.settings, len(record.trials)
    if number < len(settings.first):
        declared = settings.first[number]
        params, origin, attributes = dict(declared["params"]), str(declared["origin"]), {}
    else:
        proposal = propose(space, settings.method, settings.study_seed, history(record))
        params, origin, attributes = dict(proposal.params), "sampled", dict(proposal.attributes)
    hyperparameters = merged(space.hyperparameters(params, settings.steps, settings.fixed), settings.fixed)
    return Trial(number, params, hyperparameters, origin, attributes=attributes)


def history(record: StudyRecord) -> list[Past]:
    """A study's trials as the sampler sees them: tuning runs alone, values as they count now."""
    import math

    from openrlb_hpo.proposals import Past

    worst = worst_scores(record)
    past = []
    for trial in record.trials:
        rows = [row for row in record.rows(trial.configuration, "tuning") if row.state in OVER]
        rungs = {
            rung: value
            for rung in range(1, rungs_done(rows, record.settings) + 1)
            if math.isfinite(value := value_at(record, trial, rung, worst))
        }
        known = rungs.get(rungs_done(rows, record.settings)) if trial.state in ("complete", "pruned") else None
        state = "failed" if trial.state != "running" and known is None else trial.state
        past.append(Past(trial.number, trial.params, known, state, rungs, trial.attributes))
    return past
