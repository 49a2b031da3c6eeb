"""What a study is: the frozen records that its ledger holds, and that planner, report and commands hand to each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from functools import cache
from typing import Any, Literal

from openrlb.errors import StoreDamaged, StoreTooNew
from openrlb.types import stable_hash

StudyRole = Literal["tuning", "confirm", "test"]
ReservationState = Literal["open", "finished", "diverged", "failed", "lost"]
"""``failed``: the runner refused it or trained something else; ``lost``: its machine failed it too often."""
TrialState = Literal["running", "complete", "pruned", "failed"]

TRIAL, BASELINE = "trial:", "baseline:"
"""How the names of configurations begin: ``trial:12``, ``baseline:default``."""
FORMAT = 1
"""The format of stored settings. A new field with a default is no new format; a default that changes is one."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """A configuration that is declared before a study begins, and tested beside its incumbent.

    Attributes:
        name: Its name (``default``, ``published``, the name of a file, a run's id).
        hyperparameters: What is asked for, nested, by environment; the library fills in the rest.
        source: Where they come from, in words.
    """

    name: str
    hyperparameters: Mapping[str, Mapping[str, Any]]
    source: str

    @property
    def configuration(self) -> str:
        """The name of the configuration in the ledger.

        >>> Baseline("default", {}, "the defaults of sb3's library").configuration
        'baseline:default'
        """
        return f"{BASELINE}{self.name}"


@dataclass(frozen=True, slots=True)
class StudySettings:
    """Everything that makes a study the study it is; budget, workers and storage are none of it.

    Attributes:
        algo: The algorithm.
        impl: The runner.
        runner_source: The hash of the runner's source.
        lock: The hash of its environment's lock.
        envs: The environments.
        env_kwargs: Their arguments.
        steps: Training steps of a run.
        fixed: Hyperparameters that every trial and the default baseline have (``--set``), nested.
        space: The space as :meth:`openrlb_hpo.space.Space.to_json` writes it.
        space_name: Its name, for people.
        space_digest: Its hash.
        method: How trials are proposed.
        study_seed: The seed of the proposals.
        tuning_seeds: How many seeds a trial is tuned on.
        confirm: How many of the best trials are confirmed on as many fresh seeds; 0 for none.
        test_seeds: How many seeds the incumbent and each baseline are tested on.
        test_block: Which block of test seeds; 0 is the first.
        objective: The score rule (``final:10%``).
        kind: The kind of return that is scored, ``episode`` or ``eval``.
        normalization: The table by which scores of several environments become comparable, or ``none``.
        scale: For each environment the scores that count as 0 and as 1; empty for one environment.
        eta: A rung of the race over seeds keeps the best 1/eta; 1 for no race.
        baselines: What is tested beside the incumbent.
        first: Configurations that are tried first, before any is sampled: ``{"origin": "...", "params": {...}}``.
        evaluation: Evaluations during training, or None.
        threads: Threads of a run.
        device: ``cpu`` or ``cuda``.
        repetition: 0, or how many studies of equal settings were begun before (``--new-study``).
    """

    algo: str
    impl: str
    runner_source: str
    lock: str
    envs: tuple[str, ...]
    steps: int
    space: Mapping[str, Any]
    space_name: str
    space_digest: str
    method: str = "tpe"
    study_seed: int = 0
    tuning_seeds: int = 3
    confirm: int = 3
    test_seeds: int = 10
    test_block: int = 0
    objective: str = "final:10%"
    kind: str = "episode"
    normalization: str = "none"
    scale: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    eta: int = 2
    baselines: tuple[Baseline, ...] = ()
    first: tuple[Mapping[str, Any], ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, Any] | None = None
    threads: int = 1
    device: str = "cpu"
    repetition: int = 0

    @property
    def digest(self) -> str:
        """The id of a study that is begun with these settings: settings that are equal are one study.

        Only what differs from its default is hashed, so that a setting that a later openrlb has renames no study.

        >>> one = StudySettings("ppo", "sb3", "s", "l", ("CartPole-v1",), 1000, {}, "zoo", "d")
        >>> one.digest == StudySettings.from_json(one.to_json()).digest, len(one.digest)
        (True, 12)
        """
        table, plain = self.to_json(), _defaults()
        return stable_hash({name: value for name, value in table.items() if name not in plain or value != plain[name]}, 12)

    @property
    def name(self) -> str:
        """The study's name for people, unique by the beginning of its id.

        >>> StudySettings("ppo", "sb3", "s", "l", ("CartPole-v1",), 1000, {}, "zoo", "d").name[:17]
        'ppo-CartPole-v1-t'
        """
        where = self.envs[0] if len(self.envs) == 1 else f"{len(self.envs)}-environments"
        return f"{self.algo}-{where}-{self.method}-{self.digest[:6]}"

    @property
    def full_trial(self) -> int:
        """How many runs a trial takes that survives every rung."""
        return self.tuning_seeds * len(self.envs)

    @property
    def confirm_runs(self) -> int:
        """How many runs of the budget are kept for the confirmation."""
        return self.confirm * self.full_trial

    @property
    def test_runs(self) -> int:
        """How many runs the test phase takes, charged apart from the budget."""
        return (1 + len(self.baselines)) * self.test_seeds * len(self.envs)

    def to_json(self) -> dict[str, Any]:
        """The settings as plain JSON values, with their format."""
        return {"format": FORMAT, **_plain(asdict(self))}

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> StudySettings:
        """Rebuilds settings from :meth:`to_json`.

        Raises:
            StoreTooNew: They hold what this openrlb does not know.
            StoreDamaged: They are no settings.

        >>> one = StudySettings("ppo", "sb3", "s", "l", ("CartPole-v1",), 1000, {}, "zoo", "d")
        >>> StudySettings.from_json(one.to_json()) == one
        True
        """
        unknown = [name for name in table if name not in cls.__dataclass_fields__ and name != "format"]
        if unknown or table.get("format", FORMAT) not in (FORMAT, 0):
            why = f"its settings hold {', '.join(unknown) or 'another format'}, which this openrlb does not know"
            raise StoreTooNew("a study was begun with a newer openrlb", why, "update openrlb, or name another --storage")
        known = {name: value for name, value in table.items() if name != "format"}
        try:
            for name, rebuilt in _REBUILT.items():
                if name in known:
                    known[name] = rebuilt(known[name])
            return cls(**known)
        except (TypeError, KeyError, ValueError, IndexError, AttributeError) as error:
            why = f"its settings are none: {type(error).__name__}: {error}"
            raise StoreDamaged("a study cannot be read", why, "restore the database from a copy, or name another one") from error


_REBUILT: Mapping[str, Callable[[Any], Any]] = {
    "envs": tuple,
    "first": tuple,
    "baselines": lambda found: tuple(Baseline(**one) for one in found),
    "scale": lambda found: {env: (low, high) for env, (low, high) in found.items()},
}
"""How fields come back from JSON that are no JSON values."""


def _plain(table: dict[str, Any]) -> dict[str, Any]:
    """Fields as plain JSON values."""
    for name in {"envs", "baselines", "first"} & set(table):
        table[name] = list(table[name])
    if "scale" in table:
        table["scale"] = {env: list(ends) for env, ends in table["scale"].items()}
    return table


@cache
def _defaults() -> Mapping[str, Any]:
    """The defaults of settings that have one, as plain JSON values."""
    found = {one.name: one.default for one in fields(StudySettings) if one.default is not MISSING}
    return _plain(
        found | {one.name: one.default_factory() for one in fields(StudySettings) if one.default_factory is not MISSING}
    )


@dataclass(frozen=True, slots=True)
class Reservation:
    """One run of a study: nothing trains without such a row.

    Attributes:
        number: The order in which runs were reserved, from 1.
        configuration: ``trial:12`` or ``baseline:default``.
        role: What the run is for.
        env: The environment.
        seed_index: Which seed of the role, from 0.
        seed: The seed that is applied.
        run: The run's id.
        charge: 1 where it counts against the budget; a test run counts 0.
        state: ``open`` while it trains or waits for a retry.
        score: Its score by the objective, None where it has none.
        attempts: How often it was begun.
        worker: Who trains it, or trained it last.
        steps: Training steps done.
        seconds: How long its process ran, in all attempts; of a run that was stored before, until its last return.
        reason: Why it is lost or failed, or what is to be said of its score; else an empty text.
        seed_end: The first seed beyond those that belong to the run; None in a record that no ledger holds.
    """

    number: int
    configuration: str
    role: StudyRole
    env: str
    seed_index: int
    seed: int
    run: str
    charge: int
    state: ReservationState = "open"
    score: float | None = None
    attempts: int = 0
    worker: str = ""
    steps: int = 0
    seconds: float = 0.0
    reason: str = ""
    seed_end: int | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """One configuration that a study tries.

    Attributes:
        number: Its number, from 0.
        params: Its place in the space, by parameter.
        hyperparameters: What that asks of the library, nested, ``fixed`` included.
        origin: ``sampled``, or where it comes from (``default``, ``published``, ``study NAME``).
        state: How far it is.
        attributes: What the sampler keeps with it.
        reason: Why it failed, else an empty text.
    """

    number: int
    params: Mapping[str, Any]
    hyperparameters: Mapping[str, Any]
    origin: str = "sampled"
    state: TrialState = "running"
    attributes: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""

    @property
    def configuration(self) -> str:
        """The name of the configuration in the ledger.

        >>> Trial(12, {}, {}).configuration
        'trial:12'
        """
        return f"{TRIAL}{self.number}"


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """A study as its ledger holds it at one moment.

    Attributes:
        settings: What it is.
        budget: The tuning runs that it may reserve, confirmation included.
        created: When it was begun, ISO 8601 in UTC.
        trials: Its trials, by number.
        reservations: Its runs, in the order in which they were reserved.
        incumbent: The number of the frozen incumbent, or None before the test phase.
        frozen_at: When it was frozen, ISO 8601 in UTC, or None.
        test_peeks: How many studies of this algorithm in one of these environments have looked at these test seeds, this
            one included where it has.
        stored_id: The id that the ledger has it under; empty in a record that no ledger holds.
        stored_name: The name that the ledger has it under.
    """

    settings: StudySettings
    budget: int
    created: str
    trials: tuple[Trial, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    incumbent: int | None = None
    frozen_at: str | None = None
    test_peeks: int = 0
    stored_id: str = ""
    stored_name: str = ""
    _by_place: dict[tuple[str, str], list[Reservation]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def id(self) -> str:
        """The study's id."""
        return self.stored_id or self.settings.digest

    @property
    def name(self) -> str:
        """The study's name for people; the one that it was begun with, whatever openrlb would call it now."""
        return self.stored_name or self.settings.name

    @property
    def spent(self) -> int:
        """How many runs of the budget are reserved."""
        return sum(row.charge for row in self.reservations)

    def of(self, configuration: str, role: StudyRole) -> Sequence[Reservation]:
        """The runs of one configuration and role, in the order in which they were reserved."""
        if not self._by_place:
            for row in self.reservations:
                self._by_place.setdefault((row.configuration, row.role), []).append(row)
        return self._by_place.get((configuration, role), ())

    def rows(self, configuration: str, role: StudyRole) -> list[Reservation]:
        """The runs of one configuration and role, by environment and seed."""
        return sorted(self.of(configuration, role), key=lambda row: (row.seed_index, self.settings.envs.index(row.env)))
