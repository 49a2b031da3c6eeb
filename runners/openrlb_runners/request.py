"""What is to be trained, by what, and what came of it: the records that plan, worker and launcher hand to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openrlb.errors import UsageError
from openrlb.types import Role, Run, RunBatch, RunKey, RunState, stable_hash

if TYPE_CHECKING:
    from openrlb_runners.environment import Environment
    from openrlb_runners.spec import RunnerSpec

SPEC_FORMAT = 1
MANIFEST = "runner.toml"


@dataclass(frozen=True)
class TrainingRequest:
    """One training run, as it is asked for.

    Attributes:
        algo: The algorithm (``ppo``).
        env: The environment's id (``Hopper-v5``).
        seed: The training seed.
        steps: Training steps, in the runner's step unit.
        hyperparameters: Those that are asked for; the runner fills in the others.
        env_kwargs: Arguments of the environment.
        evaluation: ``{"every": steps, "episodes": n, "deterministic": true}``, or None for no evaluation.
        threads: Threads of the training process.
        device: ``cpu`` or ``cuda``.
        role: What the run is for.
    """

    algo: str
    env: str
    seed: int
    steps: int
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, Any] | None = None
    threads: int = 1
    device: str = "cpu"
    role: Role = "none"

    def to_spec(self) -> dict[str, Any]:
        """What ``run.py`` reads as ``spec.json``; the role is no business of the runner.

        >>> TrainingRequest("ppo", "Hopper-v5", 1, 1000).to_spec()["format"]
        1
        """
        spec = asdict(self)
        del spec["role"]
        return {"format": SPEC_FORMAT, **spec}

    @property
    def subject(self) -> str:
        """A hash of everything but seed and role: requests of one subject resolve to the same configuration.

        >>> from dataclasses import replace
        >>> one = TrainingRequest("ppo", "Hopper-v5", 1, 1000)
        >>> one.subject == replace(one, seed=2).subject, one.subject == replace(one, steps=2000).subject
        (True, False)
        """
        spec = self.to_spec()
        del spec["seed"]
        return stable_hash(spec, 32)

    @property
    def label(self) -> str:
        """The run's name for people.

        >>> TrainingRequest("ppo", "Hopper-v5", 1, 1000).label
        'ppo-Hopper-v5-1'
        """
        return f"{self.algo}-{self.env}-{self.seed}"


@dataclass(frozen=True)
class PinnedRunner:
    """A runner as it is at one moment, and the environment it runs in: an edit during a batch changes nothing.

    Attributes:
        name: The runner's name; the ``impl`` of its runs.
        entry: The script, relative to the folder of sources.
        preload: Modules to import once before runs are forked.
        fork: False where forking after an import is unsafe.
        sources: The bytes of its ``*.py`` files by name.
        locks: The bytes of its lock files by name (``base.txt``, ``torch-cpu.txt``).
        lock: The hash of the lock, as the run key takes it.
        python: The environment's Python.
        manifest: The bytes of its ``runner.toml``, kept with the run; empty where it is not known.
    """

    name: str
    entry: str
    preload: tuple[str, ...]
    fork: bool
    sources: Mapping[str, bytes]
    locks: Mapping[str, bytes]
    lock: str
    python: Path
    manifest: bytes = b""

    @property
    def source(self) -> str:
        """The hash of the runner's source, as the run key takes it."""
        from openrlb_runners.spec import source_digest

        return source_digest(self.sources)


@dataclass(frozen=True)
class NeededRunner:
    """The runner that something was begun with; whoever goes on with it has to have the same.

    Attributes:
        name: Its name.
        source: The hash of its source.
        lock: The hash of its lock.
        device: ``cpu`` or ``cuda``.
    """

    name: str
    source: str
    lock: str
    device: str = "cpu"

    def check(self, what: str, name: str, lock: str, source: str, fix: str) -> None:
        """Holds a runner against this one; its environment need not be there.

        Args:
            what: What was begun.
            name: The runner's name.
            lock: The hash of its lock.
            source: The hash of its source.
            fix: What can be done where they differ.

        Raises:
            UsageError: It is another, or another state of it.
        """
        pairs = (("runner", name, self.name), ("lock", lock, self.lock), ("runner's source", source, self.source))
        for kind, mine, theirs in pairs:
            if mine != theirs:
                why = f"it was begun with {kind} {theirs[:16]}, here it is {mine[:16]}"
                raise UsageError(f"{what} cannot go on here", why, fix)


def pin(spec: RunnerSpec, environment: Environment) -> PinnedRunner:
    """A runner folder and an environment as they are now.

    Raises:
        UsageError: A file of the runner that cannot be read.
    """
    from openrlb_runners.locks import lock_files
    from openrlb_runners.spec import source_files

    return PinnedRunner(
        name=spec.name,
        entry=spec.entry,
        preload=spec.preload,
        fork=spec.fork,
        sources=source_files(spec),
        locks=lock_files(spec, environment.variant),
        lock=environment.lock,
        python=environment.python,
        manifest=(spec.folder / MANIFEST).read_bytes(),
    )


def run_key(runner: PinnedRunner, request: TrainingRequest, effective: Mapping[str, Any]) -> RunKey:
    """What makes the run the run it is.

    Args:
        runner: What trains.
        request: What is asked for.
        effective: The configuration that :func:`openrlb_runners.resolve.resolve` gave for the request.
    """
    return RunKey(
        algo=request.algo,
        runner_source=runner.source,
        lock=runner.lock,
        env=request.env,
        env_kwargs=effective["env_kwargs"],
        hyperparameters=effective["hyperparameters"],
        steps=request.steps,
        role=request.role,
        seed=request.seed,
        threads=request.threads,
        device=request.device,
        evaluation=effective.get("evaluation") or {},
    )


@dataclass(frozen=True)
class WorkItem:
    """One run that a worker is to train.

    Attributes:
        runner: What trains it.
        request: What is asked for.
        effective: The configuration that the request resolves to (``resolve``); the run is invalid where it applies another.
        use_memo: False to train anew although a finished run of the same key is stored (``reproduce``).
        tags: Tags of the run.
        stop_after: The run is ended (``killed``) once a row beyond this step is seen; None to train all steps.
    """

    runner: PinnedRunner
    request: TrainingRequest
    effective: Mapping[str, Any]
    use_memo: bool = True
    tags: tuple[str, ...] = ()
    stop_after: int | None = None

    @property
    def key(self) -> RunKey:
        """The run's key; its digest is the run's id."""
        return run_key(self.runner, self.request, self.effective)


@dataclass(frozen=True)
class Outcome:
    """What came of a work item.

    Attributes:
        run: The run's record, as stored.
        batch: The record with its metrics and kept files; None where the run was there before.
        exit_code: The process's exit code; None where a signal ended it, or where nothing was trained.
        stderr_tail: The end of what it wrote on standard error.
        seconds: How long the process ran; 0 where nothing was trained.
        stored: True where the run is in the store (or its spool); False where it waits in its folder for the next command.
        trained: False where a finished run of the same key was there before.
    """

    run: Run
    batch: RunBatch | None
    exit_code: int | None
    stderr_tail: str
    seconds: float
    stored: bool
    trained: bool = True

    @property
    def state(self) -> RunState:
        """How the run ended."""
        return self.run.state
