"""Tracks anyone's training script: rows that survive a kill, in the same store as everything that was fetched.

::

    import openrlb

    with openrlb.track(algo="my-ppo", env="Hopper-v5", seed=1, config={"learning_rate": 3e-4}) as run:
        for step in range(0, 1_000_000, 2048):
            loss = agent.learn(2048)
            run.log(step, loss=loss)
            run.episode(step, episodic_return=evaluate(agent))

Then ``openrlb plot --env Hopper`` shows it beside what others got. A row costs a few microseconds and is on its way to the
disk when ``log`` returns: ``kill -9`` loses none. The next openrlb command stores a killed run as ``crashed``.

Every execution is a run of its own: its id is a key (the same script, settings, environment and seed give the same key) and
an attempt. Nothing that finished is ever replaced by another execution; of equal runs a figure takes the newest finished
one and names the others.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from openrlb.errors import UsageError
from openrlb.store import Store
from openrlb.tracking.mirror import checked_mode
from openrlb.tracking.provenance import capture as capture_provenance
from openrlb.tracking.run import TrackedRun
from openrlb.tracking.sweeping import SweepReport, sweep
from openrlb.tracking.values import settings
from openrlb.types import Run, StepUnit, stable_hash

__all__ = ["SOURCE", "SweepReport", "TrackedRun", "sweep", "track"]

SOURCE = "openrlb"
"""The source of tracked runs."""


def track(
    *,
    algo: str,
    env: str,
    seed: int | None,
    config: Any = None,  # noqa: ANN401 - a mapping, a dataclass or a Namespace
    impl: str = "",
    project: str = "tracked",
    name: str | None = None,
    tags: Sequence[str] = (),
    step_unit: StepUnit = "agent_step",
    frames_per_step: int | None = None,
    wandb: str = "off",
    capture: bool = True,
    store: Store | Path | str | None = None,
) -> TrackedRun:
    """Starts to track one training run.

    Args:
        algo: The algorithm's name (``ppo``).
        env: The environment's id with its version (``Hopper-v5``).
        seed: The training seed, or None where there is none.
        config: Every hyperparameter: a mapping, a dataclass or an ``argparse.Namespace``. What differs in it makes another
            group in a figure, so seeds, names and folders do not belong in it. Personal data is taken out.
        impl: The implementation, to tell it from others of the same algorithm.
        project: What the run belongs to; ``--source`` selects it.
        name: A name for people; algorithm, environment and seed by default.
        tags: For ``--tag``.
        step_unit: What ``step`` counts: ``agent_step`` or ``frame``.
        frames_per_step: Environment frames for each agent step (4 for Atari), where it is known.
        wandb: ``offline`` or ``online`` to mirror the rows to Weights & Biases as well.
        capture: Keep the script, the command, commit and uncommitted changes, installed packages and the hardware. Never
            host or user names.
        store: Another store than the user's own.

    Returns:
        The run, also as a context manager: leaving it finishes the run, with the state that the way of leaving tells.

    Raises:
        UsageError: An argument that makes no sense.
        StoreUnwritable: The store cannot be written; better now than after the training.
    """
    _check(algo, env, seed, step_unit, frames_per_step, [impl, project, *tags, *([] if name is None else [name])])
    mode = checked_mode(wandb)
    provenance = capture_provenance() if capture else None
    record = Run(
        source=SOURCE,
        run="",
        project=project,
        name=name or "-".join([algo, env] if seed is None else [algo, env, str(seed)]),
        algo=algo,
        impl=impl,
        env=env,
        seed=None if seed is None else int(seed),
        state="running",
        config=settings(config),
        tags=tuple(tags),
        step_unit=step_unit,
        frames_per_step=None if frames_per_step is None else int(frames_per_step),
        hardware=provenance.hardware if provenance else {},
        created=datetime.now(UTC).isoformat(timespec="milliseconds"),
        notes=provenance.notes if provenance else (),
    )
    script = provenance.kept.get(provenance.script.name) if provenance and provenance.script else None
    key = run_key(record, hashlib.sha256(script).hexdigest() if script else "")
    attempt = uuid.uuid4().hex[:8]
    layout = (store if isinstance(store, Store) else Store(Path(store) if store is not None else None)).layout
    return TrackedRun(layout, key, attempt, replace(record, run=f"{key}-{attempt}"), provenance, mode)


def run_key(record: Run, script: str) -> str:
    """What executions of one script with one set of arguments share: the first half of their ids.

    Args:
        record: The run's record.
        script: The sha256 of the script, or an empty text.

    >>> run = Run("openrlb", "", "tracked", "a name", "ppo", "Hopper-v5", seed=1, config={"lr": 0.1})
    >>> run_key(run, "") == run_key(replace(run, name="another", created="later"), ""), len(run_key(run, ""))
    (True, 16)
    """
    return stable_hash([record.project, record.algo, record.impl, record.env, record.seed, record.config, script])


def _check(algo: object, env: object, seed: object, step_unit: object, frames_per_step: object, names: Sequence[object]) -> None:
    """Refuses arguments that would only show later that they make no sense."""
    for word, value in (("algo", algo), ("env", env)):
        if not isinstance(value, str) or not value.strip():
            raise UsageError(f"{word}={value!r} names nothing", "it is a text that is not empty", f"give {word}=, in quotes")
    for value in (algo, env, *names):
        if not isinstance(value, str) or not value.isprintable() or len(value) > 500:
            fix = "algo, env, impl, project, name and tags are short printable texts"
            raise UsageError(f"{str(value)[:60]!r} cannot be kept as a name", "it is no short printable text", fix)
    if seed is not None and not (_is_whole(seed) and -(2**63) <= int(seed) < 2**63):  # type: ignore[call-overload]
        raise UsageError(f"seed={seed!r} is no seed", "a seed is a whole number, or None", "give seed=, for instance seed=1")
    if step_unit not in get_args(StepUnit):
        fix = "step_unit='agent_step', or 'frame' where steps count environment frames"
        raise UsageError(f"step_unit={step_unit!r} is no unit", f"it is one of {', '.join(get_args(StepUnit))}", fix)
    if frames_per_step is not None and not (_is_whole(frames_per_step) and 0 < int(frames_per_step) < 2**31):  # type: ignore[call-overload]
        fix = "leave it out, or give for instance frames_per_step=4"
        raise UsageError(f"frames_per_step={frames_per_step!r} makes no sense", "it is a whole number above 0", fix)


def _is_whole(value: object) -> bool:
    """True for Python's and numpy's integers, not for truth values."""
    return hasattr(value, "__index__") and not isinstance(value, bool)
