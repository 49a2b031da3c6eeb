"""``reproduce``: trains a stored run again from its own lock and source, and says whether the result is the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from openrlb.api.opened import opened
from openrlb.api.show import RunDetails, show
from openrlb.api.shown import ReproductionShown
from openrlb.errors import BuildError, CannotReproduce, LockError, SelectionError, UsageError
from openrlb.store import RunRow, Store
from openrlb.words import span
from openrlb_runners.checking import differences, rows_digest
from openrlb_runners.comparison import JUDGED, FirstDifference, Rows, compare, rows_of_batch, rows_of_curves
from openrlb_runners.reproduction import Changed, Record, configuration_changed, disagreements, read_record, remarks, runner_today
from openrlb_runners.run_folder import CHECKED

if TYPE_CHECKING:
    from openrlb.types import RunBatch
    from openrlb_runners.environment import Environment
    from openrlb_runners.equivalence import Equivalence
    from openrlb_runners.launchers.protocol import Launcher
    from openrlb_runners.request import Outcome, PinnedRunner, TrainingRequest, WorkItem
    from openrlb_runners.worker import Event

Verdict = Literal["bit-exact", "equivalent", "not-bit-exact", "different", "impossible"]

MINIMUM_SEEDS = 5
ENDED = ("finished", "diverged")
"""States of runs that came to their own end."""

TAG = "reproduces:"
"""The beginning of a reproduction's tag; the original's id follows."""


@dataclass(frozen=True, slots=True)
class EnvironmentCheck:
    """Whether the machine and the packages are those of the stored run.

    Attributes:
        matches: True where nothing differs that a bit-exact result hangs on.
        differences: What differs, by name: the stored value and today's.
    """

    matches: bool
    differences: Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True, slots=True, repr=False)
class Reproduction(ReproductionShown):
    """What came of a reproduction.

    Attributes:
        run: The stored run's id.
        verdict: ``bit-exact`` and ``not-bit-exact`` compare every episode; ``equivalent`` and ``different`` compare groups of
            seeds; ``impossible`` names in ``reason`` what is missing.
        words: The verdict in a sentence.
        first_difference: The earliest row that differs.
        environment: The machine now and then; None where nothing was trained.
        reproduced: The new runs' ids; they are stored with the role ``reproduction``.
        rows: How many stored rows of each metric were compared.
        until: The last step that was compared, where it was asked for.
        changed: What is not what it was: settings of the new run, or entries of the store that are.
        runner_today: How the installed runner differs from the stored one; that one did not run.
        equivalence: The comparison of the two groups of seeds.
        score: What the groups' scores are: rule, metric and cut.
        notes: What a reader should know.
        reason: What, why and what to do, where the verdict is ``impossible``.
    """

    run: str
    verdict: Verdict
    words: str
    first_difference: FirstDifference | None = None
    environment: EnvironmentCheck | None = None
    reproduced: tuple[str, ...] = ()
    rows: Mapping[str, int] = field(default_factory=dict)
    until: int | None = None
    changed: tuple[Changed, ...] = ()
    runner_today: tuple[Changed, ...] = ()
    equivalence: Equivalence | None = None
    score: str = ""
    notes: tuple[str, ...] = ()
    reason: tuple[str, str, str] | None = None


@dataclass(slots=True)
class _Queue:
    """Work items in order, and what came of them: a work source of the runners."""

    items: list[WorkItem]
    outcomes: list[Outcome] = field(default_factory=list)

    def take(self) -> WorkItem | None:
        """The next item."""
        return self.items.pop(0) if self.items else None

    def finished(self, item: WorkItem, outcome: Outcome) -> None:
        """Keeps an outcome."""
        self.outcomes.append(outcome)


def reproduce(
    run: str,
    *,
    steps: int | None = None,
    seeds: int | None = None,
    margin: float | None = None,
    workers: int = 1,
    torch_source: str | None = None,
    store: Store | None = None,
    say: Callable[[str], None] | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Reproduction:
    """Trains a stored run again, in the environment of its stored lock, from its stored source.

    Args:
        run: The run's id, the beginning of it, or its name.
        steps: Compare up to this step only. The run is trained as it was asked for, so that schedules are the same, and
            ended once it is beyond the step.
        seeds: Train so many fresh seeds instead, 5 or more, and compare their final scores with the stored seeds'.
        margin: The largest difference of mean scores that counts as the same; by default 10 % of the stored mean.
        workers: How many runs to train at a time.
        torch_source: A folder or address that has torch's CPU wheels.
        store: The store; the user's own by default.
        say: Takes lines of talk.
        on_event: Told how the training goes.

    Returns:
        The verdict. It is ``impossible`` where what ran is not known any more, or cannot be made to run here.

    Raises:
        NothingMatched: No such run.
        SelectionError: The word means several runs, or a run that is itself a reproduction.
        UsageError: Arguments without a meaning.
        NetworkError: The package index cannot be reached.
    """
    _check_words(steps, seeds, margin)
    store = opened(store)
    details = show(run, store=store)
    row = details.row
    if row.record.role == "reproduction":
        original = next((tag.removeprefix(TAG) for tag in row.record.tags if tag.startswith(TAG)), "the original")
        raise SelectionError(
            f"run {row.record.run} is itself a reproduction", f"it reproduces {original}", f"reproduce {original}"
        )
    try:
        record = confirmed(row, store)
        if steps is not None and steps > record.request.steps:
            why = f"run {row.record.run} was trained for {record.request.steps}"
            raise UsageError(f"--steps {steps} is more than there is to compare", why, "leave --steps out")
        again = _Again(details, record, store, workers, torch_source, say, on_event)
        return again.once(steps) if seeds is None else again.fresh(seeds, margin)
    except (CannotReproduce, BuildError, LockError) as error:
        reason = (error.what, error.why, error.fix)
        return Reproduction(row.record.run, "impossible", f"impossible: {error.why}", reason=reason)


def _check_words(steps: int | None, seeds: int | None, margin: float | None) -> None:
    """Refuses arguments that have no meaning."""
    if steps is not None and steps < 1:
        raise UsageError(f"--steps {steps} compares nothing", "steps count from 1", "leave it out to compare all of them")
    if seeds is not None and seeds < MINIMUM_SEEDS:
        why = f"fewer than {MINIMUM_SEEDS} seeds tell nothing about a difference of means"
        raise UsageError(f"--seeds {seeds} is too few", why, f"use --seeds {MINIMUM_SEEDS} or more")
    if seeds is not None and steps is not None:
        raise UsageError("--steps and --seeds do not go together", "final scores need whole runs", "leave one of them out")
    if margin is not None and (seeds is None or not 0 < margin < float("inf")):
        raise UsageError(f"--margin {margin:g} has no meaning here", "it is a positive number beside --seeds", "add --seeds 5")


def confirmed(row: RunRow, store: Store) -> Record:
    """What a run was made from, confirmed by its id.

    Raises:
        CannotReproduce: Something is missing, or is not what it was; each is named.
    """
    record = read_record(row.record, store.layout)
    wrong = disagreements(record)
    if wrong:
        why = "what is stored is not what ran: " + "; ".join(one.text for one in wrong)
        fix = "fetch or train the run again; what ran is not known any more"
        raise CannotReproduce(f"run {row.record.run} cannot be reproduced", why, fix)
    return record


@dataclass(slots=True)
class _Again:
    """One reproduction under way."""

    details: RunDetails
    record: Record
    store: Store
    workers: int
    torch_source: str | None
    say: Callable[[str], None] | None
    on_event: Callable[[Event], None] | None

    @property
    def row(self) -> RunRow:
        """The stored run."""
        return self.details.row

    def once(self, until: int | None) -> Reproduction:
        """The same seed, row by row."""
        stored = stored_rows(self.details, self.store)
        cropped = {name: int((steps <= until).sum()) if until is not None else len(steps) for name, (steps, _) in stored.items()}
        if not any(cropped.values()):
            raise self._nothing_to_compare(stored, until)
        partial = self.row.record.state not in ENDED
        enough = until
        if enough is None and partial:
            enough = max(int(steps[-1]) for steps, _ in stored.values() if len(steps))
        self._say_time(1, enough)
        (outcome,) = self._trained([self.record.request], enough)
        batch = self._whole(outcome, enough)
        found = compare(stored, rows_of_batch(batch), until=until, partial=partial)
        environment = self._environment(batch)
        exact = found.first_difference is None
        notes = [f"the stored run is {self.row.record.state}: its rows are compared as far as they go"] if partial else []
        return Reproduction(
            run=self.row.record.run,
            verdict="bit-exact" if exact else "not-bit-exact",
            words=_words(found.rows, found.first_difference, environment),
            first_difference=found.first_difference,
            environment=environment,
            reproduced=(outcome.run.run,),
            rows=found.rows,
            until=until,
            changed=(*remarks(self.record), *self._changed(batch)),
            runner_today=runner_today(self.record),
            notes=tuple(notes),
        )

    def fresh(self, count: int, margin: float | None) -> Reproduction:
        """New seeds against the stored group."""
        from openrlb.api.reproduced_group import Group, judged

        group = Group.stored(self.row, self.record, self.store)
        limit = group.margin(margin)
        self._say_time(count, None)
        outcomes = self._trained([replace(self.record.request, seed=seed) for seed in group.fresh_seeds(count)])
        batches = [self._whole(outcome, None) for outcome in outcomes]
        found = judged(group, batches, limit)
        environment = self._environment(batches[0])
        changed = [one for batch in batches for one in self._changed(batch, but_for=("seed", "seeds"))]
        return Reproduction(
            run=self.row.record.run,
            verdict=found.verdict,
            words=found.words,
            environment=environment,
            reproduced=tuple(outcome.run.run for outcome in outcomes),
            changed=(*remarks(self.record), *{one.text: one for one in changed}.values()),
            runner_today=runner_today(self.record),
            equivalence=found.equivalence,
            score=group.score,
            notes=(*group.notes, *found.notes),
        )

    def _trained(self, requests: Sequence[TrainingRequest], until: int | None = None) -> list[Outcome]:
        """What came of the requests, in their order: trained anew in the rebuilt environment, whatever the store holds.

        Raises:
            CannotReproduce: The stored request does not mean here what it meant then; each key is named.
        """
        from openrlb_runners.launchers.local import LocalLauncher
        from openrlb_runners.request import WorkItem
        from openrlb_runners.worker import work

        runner = self.record.pinned(self._build().python)
        wanted = [replace(request, role="reproduction") for request in requests]
        tags = (f"{TAG}{self.row.record.run}",)
        with LocalLauncher() as launcher:
            effective = self._resolved(runner, wanted, launcher)
            pairs = zip(wanted, effective, strict=True)
            items = [WorkItem(runner, *pair, use_memo=False, tags=tags, stop_after=until) for pair in pairs]
            queue = _Queue(list(items))
            work(queue, workers=self.workers, store=self.store, launcher=launcher, on_event=self.on_event)
        outcomes = {outcome.run.run: outcome for outcome in queue.outcomes}
        return [outcomes[item.key.digest] for item in items]

    def _say_time(self, count: int, until: int | None) -> None:
        """How long training will take, from the times that the stored run logged."""
        from openrlb.store.schema import literal
        from openrlb.tracking.provenance import hardware

        if self.say is None:
            return
        run = self.row.record
        where = (
            f"(run, project, env) = ({', '.join(map(literal, (run.run, run.project, run.env)))}) AND kind IN ('episode', 'eval')"
        )
        cut = "" if until is None else f" AND step <= {int(until)}"
        ((seconds,),) = self.store.query(f"SELECT max(time_s) FROM points WHERE {where}{cut}").rows
        if not seconds:
            self.say(f"expected time: not known: run {run.run} logged no times")
            return
        cpu = run.hardware.get("cpu")
        place = "on this kind of processor" if cpu and cpu == hardware()["cpu"] else f"on {cpu or 'an unknown processor'}"
        runs = f", for {count} runs, {self.workers} at a time" if count > 1 else ""
        rounds = -(-count // self.workers)
        to = "" if until is None else f" to step {until:,}"
        self.say(f"expected time: {span(seconds * rounds)}{runs}: the stored run took {span(seconds)}{to} {place}")

    def _resolved(self, runner: PinnedRunner, wanted: Sequence[TrainingRequest], launcher: Launcher) -> list[dict[str, Any]]:
        """What the requests mean here, which has to be what the stored one meant."""
        from openrlb_runners.resolve import resolve

        try:
            effective = resolve(runner, wanted, launcher)
        except UsageError as error:
            raise self._impossible(f"the stored runner refuses the stored request: {error.what} ({error.why})") from error
        wrong = configuration_changed(*({name: one.get(name) for name in CHECKED} for one in (self.record.config, effective[0])))
        if wrong:
            raise self._impossible("what spec.json asks for is not what ran: " + "; ".join(one.text for one in wrong))
        return effective

    def _build(self) -> Environment:
        """The environment of the stored lock."""
        from openrlb_runners.environment import build_locked

        spec = self.record.spec
        words = {"preload": spec.preload, "torch_source": self.torch_source, "say": self.say or _silent}
        return build_locked(spec.name, spec.python, self.record.variant, self.record.locks, **words)  # type: ignore[arg-type]

    def _whole(self, outcome: Outcome, until: int | None) -> RunBatch:
        """The new run, where it ended as far along as it is needed.

        Raises:
            CannotReproduce: It ended before that, in another way than the stored run did.
        """
        run, batch = outcome.run, outcome.batch
        stopped = until is not None and run.state == "killed" and batch is not None and _beyond(rows_of_batch(batch), until)
        if batch is not None and (run.state in (*ENDED, self.row.record.state) or stopped or run.state == "invalid"):
            return batch
        told = "; ".join(run.notes) or outcome.stderr_tail.strip()[-300:] or "it left no word"
        raise self._impossible(f"training it again ended as {run.state}: {told}", f"openrlb show {run.run}")

    def _environment(self, batch: RunBatch) -> EnvironmentCheck:
        """The machine now and then."""
        now, config = (json.loads(batch.blobs.get(name, b"{}")) for name in ("env.json", "config.json"))
        running = ("threads", "device")
        stored = {**self.record.env, **{name: self.record.config.get(name) for name in running}}
        found = differences(stored, {**now, **{name: config.get(name) for name in running}})
        return EnvironmentCheck(not found, found)

    def _changed(self, batch: RunBatch, but_for: tuple[str, ...] = ()) -> list[Changed]:
        """What the new run applied beside what the stored one did."""
        return configuration_changed(self.record.config, json.loads(batch.blobs.get("config.json", b"{}")), but_for=but_for)

    def _nothing_to_compare(self, stored: Rows, until: int | None) -> Exception:
        """The error for a comparison of no rows."""
        first = min((int(steps[0]) for steps, _ in stored.values() if len(steps)), default=None)
        if first is None:
            return self._impossible("no episode ended in it: there is nothing to compare", "train it for more steps")
        return UsageError(
            f"--steps {until} compares nothing", f"the first episode ended at step {first}", f"use --steps {first} or more"
        )

    def _impossible(self, why: str, fix: str = "fetch or train the run again") -> CannotReproduce:
        """The error for a run that cannot be trained again."""
        return CannotReproduce(f"run {self.row.record.run} cannot be reproduced", why, fix)


def stored_rows(details: RunDetails, store: Store) -> Rows:
    """The episodes and evaluations of a stored run."""
    from openrlb.types import Selection

    run = details.row.record
    pairs = [(one.metric.name, one.metric.kind) for one in details.metrics if one.metric.kind in JUDGED]
    curves = store.curves(Selection(env=(run.env,), source=(run.source,), role=(run.role,)), pairs)
    return rows_of_curves([one for one in curves if (one.run.source, one.run.run) == (run.source, run.run)])


def reproduction_script(run: str, *, store: Store | None = None) -> str:
    """One shell script that trains a stored run again without openrlb and says whether the result is bit-exact.

    Args:
        run: The run's id, the beginning of it, or its name.
        store: The store; the user's own by default.

    Raises:
        NothingMatched: No such run.
        SelectionError: The word means several runs.
        CannotReproduce: Something that it needs is missing or is not what it was, or does not fit in a shell script.
    """
    from openrlb_runners.environment import THREADS
    from openrlb_runners.script import Material, shell_script

    store = opened(store)
    details = show(run, store=store)
    row = details.row
    record = confirmed(row, store)
    episodes, evaluations = _episodes(stored_rows(details, store))
    if not episodes and not evaluations:
        why = "no episode ended in it: there is nothing to compare"
        raise CannotReproduce(f"run {row.record.run} cannot be reproduced", why, "train it for more steps")
    config = {name: record.config.get(name) for name in ("threads", "device")}
    return shell_script(
        Material(
            run=row.record.run,
            python=record.spec.python,
            entry=record.spec.entry,
            sources=record.sources,
            locks=record.locks,
            spec=record.files["spec.json"],
            env=json.dumps({**record.env, **config}, indent=1, sort_keys=True).encode() + b"\n",
            variables={**dict.fromkeys(THREADS, str(record.request.threads)), "PYTHONHASHSEED": "0"},
            digest=rows_digest(episodes, evaluations),
            episodes=len(episodes),
            evaluations=len(evaluations),
        )
    )


def _episodes(rows: Rows) -> tuple[list[tuple[int, float, int]], list[tuple[int, float]]]:
    """The rows as the script's checking program reads them."""
    from openrlb.sources.trained import EVALUATION, LENGTH, RETURN

    steps, values = (one.tolist() for one in rows[RETURN.name]) if RETURN.name in rows else ([], [])
    lengths = rows[LENGTH.name][1].tolist() if LENGTH.name in rows else [0] * len(steps)  # as the program reads rows without
    episodes = [(step, value, int(length)) for step, value, length in zip(steps, values, lengths, strict=True)]
    evaluated = zip(*(one.tolist() for one in rows[EVALUATION.name]), strict=True) if EVALUATION.name in rows else ()
    return episodes, [(step, value) for step, value in evaluated]


def _silent(text: str) -> None:
    """Says nothing."""


def _beyond(rows: Rows, until: int) -> bool:
    """True where rows after a step were seen, so that none up to it is missing."""
    return any(len(steps) and int(steps[-1]) > until for steps, _ in rows.values())


def _words(rows: Mapping[str, int], first: FirstDifference | None, environment: EnvironmentCheck) -> str:
    """The verdict of a row-by-row comparison in a sentence."""
    if first is None:
        counted = ", ".join(f"{count} of {name}" for name, count in rows.items())
        elsewhere = "" if environment.matches else ", although the environment differs"
        return f"every row is the same, bit for bit ({counted}){elsewhere}"
    parted = (
        f"{first.metric} parts in row {first.row} at step {first.step}: stored {_value(first.stored)}, now {_value(first.now)}"
    )
    if first.stored == first.now and first.step_now is not None:
        parted = f"{first.metric} parts in row {first.row}: stored at step {first.step}, now at step {first.step_now}"
    if environment.matches:
        return f"{parted}; the environment is the same, so that the training itself is not deterministic here"
    causes = ", ".join(environment.differences)
    return f"{parted}; what differs and may be the cause: {causes}; --seeds 5 tests whether the scores are equivalent"


def _value(value: float | None) -> str:
    """A value, or that there is none."""
    return "no such row" if value is None else repr(value)
