"""``runner``: the implementations that train, their locks and their environments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openrlb.errors import LockError, UsageError
from openrlb.types import Finding

if TYPE_CHECKING:
    from openrlb_runners.environment import Environment
    from openrlb_runners.locking import Change
    from openrlb_runners.spec import RunnerSpec


@dataclass(frozen=True, slots=True)
class RunnerRow:
    """One runner with one of its torch variants.

    Attributes:
        name: The runner's name.
        torch: The variant; ``any`` for a runner without torch.
        algorithms: What it trains.
        python: Its Python version.
        lock: The lock's digest, or None where there is none that can be used.
        packages: How many packages the lock brings on this machine.
        built: Whether its environment is built here.
        size_mb: The megabytes of that environment's files, most of them shared with others.
        hyperparameters: Where its published hyperparameters come from, or None.
        folder: Where the runner lies.
        problem: Why there is no lock, or why it is no runner, else empty.
        conformance: What the suite said of it as its files are now: ``passed``, ``failed: ...`` or ``not checked``.
    """

    name: str
    torch: str
    algorithms: tuple[str, ...]
    python: str
    lock: str | None
    packages: int
    built: bool
    size_mb: float | None
    hyperparameters: str | None
    folder: str
    problem: str
    conformance: str


@dataclass(frozen=True, slots=True)
class Installation:
    """An environment that is built, or would be.

    Attributes:
        name: The runner's name.
        torch: The variant.
        lock: The lock's digest.
        packages: How many packages the lock brings on this machine.
        built: Whether it was built before.
        environment: The environment; None for a dry run of one that is missing.
    """

    name: str
    torch: str
    lock: str
    packages: int
    built: bool
    environment: Environment | None


@dataclass(frozen=True, slots=True)
class Locking:
    """A lock made anew.

    Attributes:
        name: The runner's name.
        changes: What differs from the lock that was there.
        equal: True where every byte is the same.
        written: Whether the files were replaced.
        locks: The digest of each variant.
    """

    name: str
    changes: tuple[Change, ...]
    equal: bool
    written: bool
    locks: dict[str, str]


def list_runners() -> list[RunnerRow]:
    """The reference runners and the user's own, a row for each torch variant; one that cannot be used is a row too."""
    from openrlb_runners.added import NOT_CHECKED
    from openrlb_runners.spec import own_runners, reference_runners

    usable, others = own_runners()
    rows = [_row(spec, variant) for spec in [*reference_runners(), *usable] for variant in spec.variants]
    for folder, error in others.items():
        place = str(folder.readlink() if folder.is_symlink() else folder)
        rows.append(RunnerRow(folder.name, "", (), "", None, 0, False, None, None, place, error.why, NOT_CHECKED))
    return rows


def _row(spec: RunnerSpec, variant: str) -> RunnerRow:
    """One row of the list; a lock that cannot be used is a row too."""
    from openrlb_runners.added import conformance_state
    from openrlb_runners.environment import find
    from openrlb_runners.locks import lock_digest, lock_files, needed_here, pins_of
    from openrlb_runners.published import origin

    lock, packages, environment, problem = None, 0, None, ""
    try:
        files = lock_files(spec, variant)
        lock, environment = lock_digest(files, spec.python), find(spec, variant)
        packages = len(needed_here(pins_of(files), spec.python))
    except LockError as error:
        problem = str(error)
    return RunnerRow(
        name=spec.name,
        torch=variant,
        algorithms=spec.algorithms,
        python=spec.python,
        lock=lock,
        packages=packages,
        built=environment is not None,
        size_mb=environment.size_bytes / 1e6 if environment else None,
        hyperparameters=origin(spec),
        folder=str(spec.folder.resolve()),
        problem=problem,
        conformance=conformance_state(spec, variant),
    )


def install_runner(
    name: str,
    *,
    torch: str | None = None,
    torch_source: str | None = None,
    dry_run: bool = False,
    say: Callable[[str], None] | None = None,
) -> Installation:
    """Builds a runner's environment where it is missing.

    Args:
        name: The runner.
        torch: ``cpu`` or ``cuda``; by default what fits this machine.
        torch_source: A folder or address that has torch's CPU wheels.
        dry_run: Only look.
        say: Takes lines of talk.

    Raises:
        UsageError: No such runner or variant.
        LockError: It has no lock.
        BuildError: The environment cannot be built.
        NetworkError: The index cannot be reached.
    """
    from openrlb_runners.environment import announce, build, default_variant, find
    from openrlb_runners.locks import lock_digest, lock_files, needed_here, pins_of
    from openrlb_runners.spec import find_runner
    from openrlb_runners.uv import silent

    spec = find_runner(name)
    variant = torch or default_variant(spec)
    files = lock_files(spec, variant)
    environment = find(spec, variant)
    built = environment is not None
    if dry_run and not built:
        announce(spec, variant, say or silent)
    elif not built:
        environment = build(spec, variant, torch_source=torch_source, say=say or silent)
    return Installation(
        spec.name, variant, lock_digest(files, spec.python), len(needed_here(pins_of(files), spec.python)), built, environment
    )


def lock_runner(
    name: str,
    *,
    check: bool = False,
    upgrade: bool = False,
    torch_source: str | None = None,
    review: Callable[[tuple[Change, ...]], None] | None = None,
) -> Locking:
    """Makes a runner's lock files from its ``in.txt``.

    Args:
        name: The runner.
        check: Only compare; write nothing.
        upgrade: Take the newest versions instead of those of the present lock.
        torch_source: A folder or address that has torch's CPU wheels.
        review: Sees what changes before anything is written; an error of its own keeps the lock as it was.

    Raises:
        UsageError: No such runner.
        LockError: ``in.txt`` is missing or cannot be resolved.
        NetworkError: The index cannot be reached.
        StoreUnwritable: The runner's folder cannot be written.
    """
    from openrlb_runners import locking
    from openrlb_runners.locks import lock_digest, names_of
    from openrlb_runners.spec import find_runner

    spec = find_runner(name)
    present = locking.present_lock(spec)
    made = locking.make_lock(spec, upgrade=upgrade, torch_source=torch_source)
    changes = tuple(locking.changes(present, made))
    if review:
        review(changes)
    written = made != present and not check
    if written:
        locking.write_lock(spec, made)
    locks = {one: lock_digest({file: made[file] for file in names_of(spec, one)}, spec.python) for one in spec.variants}
    return Locking(spec.name, changes, made == present, written, locks)


def check_runner(
    name: str,
    *,
    torch: str | None = None,
    train: bool = True,
    platforms: bool = False,
    torch_source: str | None = None,
) -> list[Finding]:
    """Looks a runner over: its locks, its environment where that is built, and a tiny training in two processes.

    Args:
        name: The runner.
        torch: The variant whose environment is looked at; by default the one that fits this machine.
        train: Train too.
        platforms: Resolve every variant on every platform too; needs the index.
        torch_source: A folder or address that has torch's CPU wheels, for ``platforms``.

    Raises:
        UsageError: No such runner or variant.
    """
    from openrlb_runners import inspection
    from openrlb_runners.environment import default_variant, find
    from openrlb_runners.spec import find_runner

    spec = find_runner(name)
    variant = torch or default_variant(spec)
    if variant not in spec.variants:
        raise UsageError(f"{name} has no variant {variant!r}", f"it has: {', '.join(spec.variants)}", "leave --torch out")
    findings = [finding for one in spec.variants for finding in inspection.look_at_lock(spec, one)]
    locked = all(finding.ok for finding in findings)
    environment = find(spec, variant) if locked else None
    if environment is not None:
        findings += inspection.look_at_environment(spec, environment)
        if train:
            findings.append(inspection.look_at_training(spec, environment))
    elif locked:
        findings.append(Finding(f"environment {variant}", True, f"not built; openrlb runner install {spec.name} builds it"))
    if platforms:
        findings += inspection.look_at_platforms(spec, torch_source)
    return findings
