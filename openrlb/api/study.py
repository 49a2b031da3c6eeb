"""``study``: what studies there are, how far they are, what they found, and how to train with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, Literal

from openrlb.api.shown import Shown, StudyShown
from openrlb.errors import NothingMatched, UsageError
from openrlb.store import Store

if TYPE_CHECKING:
    from openrlb_hpo.ledger import Ledger
    from openrlb_hpo.records import StudyRecord
    from openrlb_hpo.result_records import StudyResult

Phase = Literal["tuning", "confirming", "testing", "finished", "failed", "broken"]
"""``failed``: the study is over, and has no result; ``broken``: its ledger breaks the rules of studies, so that none holds."""


@dataclass(frozen=True, repr=False)
class StudyView(StudyShown):
    """A study and what it says.

    Attributes:
        record: The study as its ledger holds it.
        result: Its answer, finished or not.
        running: Whether a living worker trained a run of it when it was read.
    """

    record: StudyRecord
    result: StudyResult
    running: bool = False


@dataclass(frozen=True, slots=True)
class StudyRow:
    """One study of a list.

    Attributes:
        study: Its name.
        id: Its id.
        algo: The algorithm.
        impl: The runner.
        envs: The environments.
        method: How configurations are proposed.
        phase: How far it is.
        running: Whether a living worker trains a run of it now; one that is not over and not running was stopped, and the
            same command goes on with it.
        budget: The runs that tuning may take.
        spent: How many of them are reserved.
        configurations: How many configurations were tried.
        test_score: The incumbent's mean on the test seeds; None before the test phase is over, or where none counts.
        test_peeks: How many studies have looked at its test seeds.
        created: When it was begun.
    """

    study: str
    id: str
    algo: str
    impl: str
    envs: tuple[str, ...]
    method: str
    phase: Phase
    running: bool
    budget: int
    spent: int
    configurations: int
    test_score: float | None
    test_peeks: int
    created: str


class StudyList(Shown, list[StudyRow]):
    """Studies: a list, a frame, and a table in a notebook."""

    def records(self) -> list[dict[str, Any]]:
        """A row for each study."""
        return [asdict(row) for row in self]

    def headline(self) -> str:
        """How many there are."""
        return f"{len(self)} stud{'y' if len(self) == 1 else 'ies'}"


@dataclass(frozen=True, slots=True)
class StudyProgress:
    """How far a study is.

    Attributes:
        phase: What is being done.
        budget: The runs that tuning may take.
        spent: How many of them are reserved.
        tests: How many runs the test phase takes.
        tested: How many of them are over.
        configurations: How many configurations were tried.
        pruned: How many of them the race has ended.
        failed: How many failed.
        best: The number of the incumbent, before it is frozen of the best configuration with every tuning seed; or None.
        best_score: Its tuning score, which is optimistic.
        runs_left: How many runs are left at most, test runs included.
        seconds_left: How long the rest takes, or None before a run has ended.
        early: Whether only configurations that were declared first have runs that ended: sampled ones often train slower.
    """

    phase: Phase
    budget: int
    spent: int
    tests: int
    tested: int
    configurations: int
    pruned: int
    failed: int
    best: int | None
    best_score: float | None
    runs_left: int
    seconds_left: float | None
    early: bool = False


@dataclass(frozen=True, slots=True)
class Incumbent:
    """What a study has found, ready to be trained with.

    Attributes:
        study: The study's name.
        algo: The algorithm.
        impl: The runner.
        envs: The study's environments.
        steps: Training steps.
        hyperparameters: The incumbent's, nested.
        env_kwargs: Arguments of the environments.
        evaluation: Evaluations during training, or None.
        threads: Threads of a run.
        device: ``cpu`` or ``cuda``.
    """

    study: str
    algo: str
    impl: str
    envs: tuple[str, ...]
    steps: int
    hyperparameters: Mapping[str, Any]
    env_kwargs: Mapping[str, Any]
    evaluation: Mapping[str, Any] | None
    threads: int
    device: str

    def command(self, seeds: int = 5) -> str:
        """The command that trains with it, on seeds that no study uses.

        Args:
            seeds: How many.
        """
        from openrlb_hpo.parameters import flattened

        words = ["openrlb", "run", self.algo, "--impl", self.impl]
        words += [word for env in self.envs for word in ("--env", env)]
        words += ["--steps", str(self.steps), "--seeds", str(seeds), "--hyperparameters", "library"]
        for flag, values in (("--set", flattened(self.hyperparameters)), ("--env-set", self.env_kwargs)):
            words += [word for key, value in values.items() for word in (flag, f"{key}={json.dumps(value)}")]
        if self.evaluation is not None:
            words += ["--eval-every", str(self.evaluation["every"]), "--eval-episodes", str(self.evaluation["episodes"])]
        words += ["--threads", str(self.threads)] if self.threads != 1 else []
        words += ["--device", self.device] if self.device != "cpu" else []
        return " ".join(map(quote, words))

    def to_toml(self) -> str:
        """A file that ``run --hyperparameters`` and ``tune --baseline`` take.

        TOML has no word for null; such a value is named in a comment.
        """
        from openrlb.config import _as_toml as as_toml

        lines = [f"# The incumbent of the study {self.study}; openrlb run {self.algo} --impl {self.impl} --hyperparameters FILE"]
        for env in self.envs:
            lines += ["", f"[{self.algo}.{json.dumps(env)}]", f"steps = {self.steps}"]
            for key, value in self.hyperparameters.items():
                told, lacking = _without_nulls(value, key)
                lines += [f"# {name} is null: add --set {name}=null" for name in lacking]
                lines += [] if told is None else [f"{json.dumps(key)} = {as_toml(told)}"]
        return "\n".join(lines) + "\n"


def _without_nulls(value: Any, name: str) -> tuple[Any, list[str]]:  # noqa: ANN401
    """A value as TOML can say it, and the names of the nulls that it cannot.

    >>> _without_nulls({"a": 1, "b": None}, "net")
    ({'a': 1}, ['net.b'])
    """
    if value is None:
        return None, [name]
    if not isinstance(value, Mapping):
        return value, []
    parts = {key: _without_nulls(one, f"{name}.{key}") for key, one in value.items()}
    told = {key: one for key, (one, _) in parts.items() if one is not None}
    return told or None, [lack for _, lacking in parts.values() for lack in lacking]


def storage_url(storage: str | None, store: Store) -> str:
    """The database of the studies: the named one, else the file in the store."""
    from openrlb_hpo.ledger import default_url

    return storage or default_url(store.layout.root)


def existing_ledger(storage: str | None, store: Store) -> Ledger:
    """The database of the studies, where there is one: looking at studies makes no file.

    Args:
        storage: Its address; the file in the store by default.
        store: The store.

    Raises:
        NothingMatched: There is no such file.
        StoreUnwritable: It does not answer.
    """
    from openrlb_hpo.ledger import open_ledger

    url = storage_url(storage, store)
    path = url.removeprefix("sqlite:///")
    if path != url and not Path(path).is_file():
        raise NothingMatched("there is no study yet", f"{path} is not there", "begin one: openrlb tune ppo --budget 100")
    return open_ledger(url)


def list_studies(
    *, storage: str | None = None, store: Store | None = None, on_warning: Callable[[str], None] | None = None
) -> StudyList:
    """Every study, the newest last.

    Args:
        storage: The database of the studies; the file in the store by default.
        store: The user's own store by default.
        on_warning: Told of each study that cannot be read, which is left out then; without it that is an error.

    Raises:
        NothingMatched: There is none.
    """
    from openrlb.api.study_evidence import unlike_the_store, with_peeks

    store = store or Store()
    with existing_ledger(storage, store) as ledger:
        records = with_peeks(ledger.studies(on_warning), ledger, store)
        running = [is_running(ledger, record) for record in records]
    if not records:
        raise NothingMatched("there is no study yet", f"{ledger.shown} holds none", "begin one: openrlb tune ppo --budget 100")
    unlike = unlike_the_store(records, store)
    together = zip(records, running, unlike, strict=True)
    return StudyList(_row(record, at_it, broken=bool(found)) for record, at_it, found in together)


def read_study(study: str, *, margin: float | None = None, storage: str | None = None, store: Store | None = None) -> StudyView:
    """One study and what it says, finished or not.

    Args:
        study: Its name, its id, or the beginning of either.
        margin: The smallest difference that matters; without it nothing is equivalent.
        storage: The database of the studies; the file in the store by default.
        store: The user's own store by default.

    Raises:
        NothingMatched: There is no such study.
        UsageError: The word means several, or the margin is none.
        ContractBroken: Its ledger breaks the rules of studies, or does not agree with the runs that it names.
    """
    from openrlb.api.study_evidence import against_store

    store = store or Store()
    with existing_ledger(storage, store) as ledger:
        record = against_store(ledger.read(study), ledger, store)
        return replace(view_of(record, margin), running=is_running(ledger, record))


def is_running(ledger: Ledger, record: StudyRecord) -> bool:
    """Whether a living worker trains a run of a study, as far as can be told.

    Args:
        ledger: Where studies are kept.
        record: The study.
    """
    with ledger.transaction() as change:
        return bool(change.held(record.id))


def random_beside(record: StudyRecord, *, storage: str | None = None, store: Store | None = None) -> StudyView | None:
    """The random search that was run beside a study (``--compare-random``), or None.

    Args:
        record: The study.
        storage: The database of the studies; the file in the store by default.
        store: The user's own store by default.
    """
    if record.settings.method == "random":
        return None
    from openrlb.api.study_evidence import against_store

    store = store or Store()
    with existing_ledger(storage, store) as ledger:
        with ledger.transaction() as change:
            found = change.find(replace(record.settings, method="random"))
        return None if found is None else view_of(against_store(ledger.read(found), ledger, store))


def check_random(record: StudyRecord, random: StudyRecord) -> None:
    """Makes sure that a study is a random search which may stand beside another study: it differs in nothing that scores hang on.

    Args:
        record: The study.
        random: What shall stand beside it; its budget and its seeds may be others, and are told then.

    Raises:
        UsageError: It is none, or tuned something else.
    """
    from openrlb_hpo.differences import settings_that_differ

    mine, other = record.settings, random.settings
    if other.method != "random":
        why = f"its method is {other.method}"
        raise UsageError(f"{other.name} is no random search", why, "name a study of --method random, or leave --random out")
    free = ("method", "study_seed", "repetition", "test_block", "test_seeds", "baselines", "first", "space_name")
    if unlike := settings_that_differ(mine, replace(other, **{name: getattr(mine, name) for name in free})):
        why = f"they differ in {'; '.join(unlike)}"
        raise UsageError(f"{other.name} cannot stand beside {mine.name}", why, "name a random search of the same settings")


def incumbent(study: str, *, storage: str | None = None, store: Store | None = None) -> Incumbent:
    """The frozen incumbent of a study.

    Args:
        study: Its name, its id, or the beginning of either.
        storage: The database of the studies; the file in the store by default.
        store: The user's own store by default.

    Raises:
        NothingMatched: There is no such study.
        UsageError: Its incumbent is not frozen yet.
        ContractBroken: Its ledger breaks the rules of studies.
    """
    from openrlb.api.study_evidence import against_store

    store = store or Store()
    with existing_ledger(storage, store) as ledger:
        record = against_store(ledger.read(study), ledger, store)
    if record.incumbent is None:
        why = f"its tuning is not over: {record.spent} of {record.budget} runs are spent"
        raise UsageError(f"{record.name} has no incumbent yet", why, "let it end first: the same openrlb tune goes on")
    settings, trial = record.settings, record.trials[record.incumbent]
    return Incumbent(
        study=record.name,
        algo=settings.algo,
        impl=settings.impl,
        envs=settings.envs,
        steps=settings.steps,
        hyperparameters=trial.hyperparameters,
        env_kwargs=settings.env_kwargs,
        evaluation=settings.evaluation,
        threads=settings.threads,
        device=settings.device,
    )


def view_of(record: StudyRecord, margin: float | None = None) -> StudyView:
    """A study with its answer.

    Args:
        record: The study.
        margin: The smallest difference that matters, or None.

    Raises:
        ContractBroken: Its ledger breaks the rules of studies: nothing that it says holds.
    """
    from openrlb_hpo.contract import check
    from openrlb_hpo.result import study_result

    check(record)
    return StudyView(record, study_result(record, margin=margin))


def phase_of(record: StudyRecord) -> Phase:
    """What a study is doing, or would do next."""
    from openrlb_hpo.contract import verify
    from openrlb_hpo.planner import Done, next_step
    from openrlb_hpo.result import is_tested

    if verify(record):
        return "broken"
    if record.frozen_at is None and isinstance(next_step(record), Done):
        return "failed"
    if record.frozen_at is None:
        return "confirming" if any(row.role == "confirm" for row in record.reservations) else "tuning"
    return "finished" if is_tested(record) else "testing"


def progress_of(record: StudyRecord, workers: int) -> StudyProgress:
    """How far a study is.

    Args:
        record: The study.
        workers: How many runs are trained at a time.
    """
    from openrlb.api.tune_time import runs_left, seconds_of
    from openrlb_hpo.racing import ranking, value_at, worst_scores

    best = next(iter(ranking(record)), None) if record.incumbent is None else record.trials[record.incumbent]
    states = [trial.state for trial in record.trials]
    ended = [row for row in record.reservations if row.state != "open"]
    tested = sum(row.role == "test" for row in ended)
    timed = seconds_of(record, record.settings.steps)
    sampled = {trial.configuration for trial in record.trials if trial.origin == "sampled"}
    left = runs_left(record.settings, record.budget, record)
    return StudyProgress(
        phase=phase_of(record),
        budget=record.budget,
        spent=record.spent,
        tests=record.settings.test_runs,
        tested=tested,
        configurations=len(record.trials),
        pruned=states.count("pruned"),
        failed=states.count("failed"),
        best=None if best is None else best.number,
        best_score=None if best is None else value_at(record, best, record.settings.tuning_seeds, worst_scores(record)),
        runs_left=left,
        seconds_left=left * sum(timed) / len(timed) / workers if timed else None,
        early=all(row.configuration not in sampled for row in ended),
    )


def _row(record: StudyRecord, running: bool, *, broken: bool) -> StudyRow:
    """A study as a list shows it."""
    settings, phase = record.settings, "broken" if broken else phase_of(record)
    return StudyRow(
        study=record.name,
        id=record.id,
        algo=settings.algo,
        impl=settings.impl,
        envs=settings.envs,
        method=settings.method,
        phase=phase,
        running=running,
        budget=record.budget,
        spent=record.spent,
        configurations=len(record.trials),
        test_score=_test_score(record) if phase == "finished" else None,
        test_peeks=record.test_peeks,
        created=record.created,
    )


def _test_score(record: StudyRecord) -> float | None:
    """The mean on the test seeds of a finished study's incumbent; None where a cell has no score that counts."""
    from openrlb_hpo.result_scores import StudyScores, mean_of_tasks

    scores = StudyScores(record)
    cells = scores.cells(f"trial:{record.incumbent}", "test")
    return mean_of_tasks(scores.tasks(cells)) if all(cell.scores for cell in cells) else None
