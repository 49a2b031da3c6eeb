"""What a run is: the frozen records that every part of openrlb hands to the next.

Nothing here imports a third-party package; arrays are named for the type checker only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Steps = NDArray[np.int64]
    Values = NDArray[np.float64]

MetricKind = Literal["episode", "rolling_mean", "eval", "other", "system"]
"""What one logged value is: a raw episode, a mean over recent episodes, a separate evaluation, anything else, hardware."""

StepUnit = Literal["agent_step", "frame", "unknown", "none"]
"""What ``step`` counts. ``none``: the values carry no training step (a score table, evaluation episodes)."""

RunState = Literal["finished", "running", "crashed", "failed", "killed", "diverged", "invalid", "unknown"]
Role = Literal["none", "tuning", "confirm", "test", "reproduction"]

EPISODIC_RETURN = "episodic_return"
"""The canonical name of a return, whatever its logged name and kind."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One logged quantity.

    Attributes:
        name: The name as it was logged, for instance ``rollout/ep_rew_mean``.
        kind: What one value is.
        canonical: The name openrlb knows the quantity by (``episodic_return``), or None.
    """

    name: str
    kind: MetricKind = "other"
    canonical: str | None = None


@dataclass(frozen=True, slots=True)
class MetricBatch:
    """The logged values of one metric of one run, in the order they were logged.

    Attributes:
        metric: What the values are.
        steps: Training steps, shape ``(n,)``, int64; all 0 where the run's step unit is ``none``.
        values: The values, shape ``(n,)``, float64; NaN is a value.
        times_ms: Milliseconds since the run began, shape ``(n,)``, int64, or None where no time was logged.
    """

    metric: Metric
    steps: Steps
    values: Values
    times_ms: Steps | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One training run, as the store keeps it.

    Attributes:
        source: Where it came from: ``folder``, ``sample``, ``wandb:ENTITY/PROJECT``, ``openrlb``, ``bundle``.
        run: The run's id in that source; (source, run) is unique in a store.
        project: The source's project, or the name of the fetched folder.
        name: A name for people.
        state: How the run ended, as far as the source tells.
        algo: The algorithm, as logged (``ppo``).
        impl: The implementation (``sb3``, ``cleanrl``), or an empty string.
        env: The environment's id with its version (``Hopper-v4``).
        seed: The training seed, or None where the source does not say.
        role: What the run was for in a study.
        config: The full configuration, JSON values.
        tags: The source's tags.
        step_unit: What the steps count.
        frames_per_step: Environment frames for each agent step, where known.
        wrappers: The environment's wrapper stack, outermost first, where known.
        normalized: The normalisation that the values already carry (``--already-normalized NAME``), or None.
        git_commit: The commit of the training code, where known.
        requirements: The hash of the run's requirements file among the store's blobs, where known.
        files: Names of stored files and their sha256 among the store's blobs.
        hardware: A fingerprint of the machine; never a host name.
        attempt: The attempt's number for runs that openrlb trained itself.
        steps: The steps that were trained, where the source tells; else the last row's stand for them.
        created: When the run began, ISO 8601 in UTC, or None.
        line_count: The source's own count of logged rows, where it tells.
        heartbeat: The source's last sign of life, where it tells.
        location: Where the files were read from, relative to the fetched root.
        notes: What was noticed while reading (a truncated file, dropped rows).
    """

    source: str
    run: str
    project: str
    name: str
    algo: str
    env: str
    impl: str = ""
    seed: int | None = None
    state: RunState = "unknown"
    role: Role = "none"
    config: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    step_unit: StepUnit = "unknown"
    frames_per_step: int | None = None
    wrappers: tuple[str, ...] = ()
    normalized: str | None = None
    git_commit: str | None = None
    requirements: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    hardware: Mapping[str, Any] = field(default_factory=dict)
    attempt: int = 0
    steps: int | None = None
    created: str | None = None
    line_count: int | None = None
    heartbeat: str | None = None
    location: str = ""
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values, keys in a fixed order.

        >>> Run("folder", "a1", "logs", "ppo", "ppo", "Hopper-v4").to_json()["env"]
        'Hopper-v4'
        """
        record = asdict(self)
        if self.steps is None:
            del record["steps"]  # as in records of before, so that what was fetched then is known as the same
        record["tags"], record["wrappers"], record["notes"] = list(self.tags), list(self.wrappers), list(self.notes)
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Run:
        """Rebuilds a run from :meth:`to_json`; unknown keys of a newer writer are left out.

        >>> run = Run("folder", "a1", "logs", "ppo", "ppo", "Hopper-v4", tags=("a",))
        >>> Run.from_json(run.to_json()) == run
        True
        """
        known = {name: record[name] for name in cls.__dataclass_fields__ if name in record}
        for name in ("tags", "wrappers", "notes"):
            known[name] = tuple(known.get(name) or ())
        return cls(**known)


@dataclass(frozen=True, slots=True)
class RunBatch:
    """One run with everything a source read for it: what :func:`openrlb.store.write_segment` takes.

    Attributes:
        run: The record.
        metrics: One batch for each logged metric.
        blobs: Files to keep with the run, by name (``requirements.txt``, ``run.py``).
    """

    run: Run
    metrics: tuple[MetricBatch, ...]
    blobs: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something a source came across and left out, with the reason.

    Attributes:
        location: The file or folder, relative to the fetched root.
        reason: Why, in words a person can act on.
        damaged: True where data that should have been readable was lost, so that the reader is warned.
    """

    location: str
    reason: str
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class RunKey:
    """What makes a run of ours the run it is: equal keys train the same run again.

    The digest is the public id of runs that openrlb trained itself; an attempt number tells repeated tries apart.
    """

    algo: str
    runner_source: str
    lock: str
    env: str
    env_kwargs: Mapping[str, Any]
    hyperparameters: Mapping[str, Any]
    steps: int
    role: Role
    seed: int
    threads: int
    device: str
    evaluation: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """A 16-digit hexadecimal hash of the key; the order of hyperparameters does not matter.

        >>> a = RunKey("ppo", "s", "l", "Hopper-v5", {}, {"lr": 0.1, "n": 2}, 1000, "none", 1, 1, "cpu")
        >>> b = RunKey("ppo", "s", "l", "Hopper-v5", {}, {"n": 2, "lr": 0.1}, 1000, "none", 1, 1, "cpu")
        >>> a.digest == b.digest, len(a.digest)
        (True, 16)
        """
        return stable_hash(asdict(self))


def stable_hash(value: object, digits: int = 16) -> str:
    """The leading hexadecimal digits of the sha256 of a JSON value with sorted keys.

    >>> stable_hash({"a": 1, "b": [2]}) == stable_hash({"b": [2], "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which runs a verb is about: values of one field are alternatives, fields are combined.

    Attributes:
        env: Environment names as people say them (``Hopper``), full ids (``Hopper-v4``) or globs (``Hopper*``).
        algo: Algorithm names, case-insensitive, or globs.
        impl: Implementation names, or globs.
        seed: Seeds.
        tag: Tags; a run carrying any of them is taken.
        source: Sources or projects (``td3``, ``wandb:openrlbenchmark/cleanrl``).
        role: Roles.
        where: A SQL condition over the columns of the ``runs`` view.
        since: The earliest creation time: ISO 8601, or how long ago (``12h``, ``2d``, ``3w``).
    """

    env: tuple[str, ...] = ()
    algo: tuple[str, ...] = ()
    impl: tuple[str, ...] = ()
    seed: tuple[int, ...] = ()
    tag: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    role: tuple[str, ...] = ()
    where: str | None = None
    since: str | None = None

    def __post_init__(self) -> None:
        """Takes a single name for a field as well: ``Selection(env="Hopper")``."""
        for name in ("env", "algo", "impl", "seed", "tag", "source", "role"):
            value = getattr(self, name)
            if isinstance(value, str | int):
                object.__setattr__(self, name, (value,))
            elif not isinstance(value, tuple):
                object.__setattr__(self, name, tuple(value))

    @property
    def is_everything(self) -> bool:
        """True where nothing was asked for in particular.

        >>> Selection().is_everything, Selection(env=("Hopper",)).is_everything
        (True, False)
        """
        return self == Selection()


@dataclass(frozen=True, slots=True)
class Curve:
    """One run's values of one metric, read from the store, sorted by step.

    Attributes:
        run: The run's record.
        metric: What the values are.
        steps: Training steps, shape ``(n,)``.
        values: The values, shape ``(n,)``.
        times_ms: Milliseconds since the run began, shape ``(n,)``, -1 where unknown.
        fetched: When the run was stored, ISO 8601: of doubles without a creation time the last fetched counts.
    """

    run: Run
    metric: Metric
    steps: Steps
    values: Values
    times_ms: Steps
    fetched: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a verb looked at.

    Attributes:
        what: What was looked at.
        ok: False for a problem.
        detail: What was found.
        fix: What to do about a problem, else empty.
    """

    what: str
    ok: bool
    detail: str
    fix: str = ""
