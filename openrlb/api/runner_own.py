"""``runner new``, ``runner add`` and ``runner remove``: a user's own runners, and the conformance suite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from openrlb.errors import UsageError
from openrlb.types import Finding

if TYPE_CHECKING:
    from openrlb_runners.environment import Environment
    from openrlb_runners.spec import Probe, RunnerSpec

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class NewRunner:
    """A runner's folder that was written.

    Attributes:
        name: The runner's name.
        folder: Where it lies.
        files: What is in it.
        repository: The repository whose script it runs, or None.
        commit: The commit's full hash, or None.
        notes: What of the commit is not in it.
    """

    name: str
    folder: str
    files: tuple[str, ...]
    repository: str | None = None
    commit: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AddedRunner:
    """A runner that was put through the suite.

    Attributes:
        name: Its name.
        folder: Where it lies.
        lock: The digest of the lock of the variant that was built.
        locked: Whether the lock was made anew.
        algorithms: What it trains.
        algo: What its ``[check]`` trains.
        env: What that trains in.
        findings: What the suite found.
        not_part: What lies in its folder and is no part of it.
        registered: Whether ``run`` and ``tune`` now take it.
    """

    name: str
    folder: str
    lock: str
    locked: bool
    algorithms: tuple[str, ...]
    algo: str
    env: str
    findings: tuple[Finding, ...]
    not_part: tuple[str, ...]
    registered: bool


def new_runner(
    name: str,
    *,
    folder: Path | None = None,
    example: str | None = None,
    from_git: str | None = None,
    only: Sequence[str] = (),
) -> NewRunner:
    """Writes the folder of a runner.

    Args:
        name: Its name.
        folder: Where; ``./NAME`` by default.
        example: An example to copy, such as ``stream_x``; by default the template, which trains as it is too.
        from_git: ``URL@COMMIT`` of a repository whose script shall train.
        only: Paths of the repository to take; everything by default.

    Raises:
        UsageError: A name that cannot be, a folder that is there, a commit that is not.
        NetworkError: The repository cannot be reached.
        StoreUnwritable: The folder cannot be written.
    """
    from openrlb_runners.template import check_out, write_runner

    if only and not from_git:
        raise UsageError("--only names paths of a repository", "none is named", "add --from-git URL@COMMIT")
    if example and from_git:
        raise UsageError("--example and --from-git were both given", "each is a runner of its own", "use one of the two")
    checkout = check_out(from_git, only) if from_git else None
    place = folder or Path(name)
    files = tuple(write_runner(name, place, checkout, example))
    if checkout is None:
        return NewRunner(name, str(place), files)
    return NewRunner(name, str(place), files, checkout.repository, checkout.commit, checkout.notes)


def add_runner(
    path: Path,
    *,
    torch: str | None = None,
    torch_source: str | None = None,
    force: bool = False,
    say: Say | None = None,
    on_finding: Callable[[Finding], None] | None = None,
) -> AddedRunner:
    """Locks and builds a runner, puts it through the conformance suite, and registers it where it passes.

    Args:
        path: Its folder; a link to it is registered, so that edits count with the next run.
        torch: The variant to build; by default the one that fits this machine.
        torch_source: A folder or address that has torch's CPU wheels.
        force: Register it although it fails.
        say: Takes lines of talk.
        on_finding: Shown each finding as it comes.

    Raises:
        UsageError: A runner.toml that was not understood, or a name that is taken.
        LockError: It cannot be locked.
        BuildError: Its environment cannot be built.
        NetworkError: The index cannot be reached.
    """
    from openrlb_runners import added
    from openrlb_runners.environment import build, default_variant
    from openrlb_runners.inspection import look_at_lock
    from openrlb_runners.locking import make_lock, write_lock
    from openrlb_runners.spec import read_runner, source_files

    talk = say or _silent
    spec = read_runner(path.absolute())
    added.check_free(spec)
    source_files(spec)
    if spec.check is None:
        why = "the suite has nothing small to train"
        fix = 'add [check] with algo = "...", env = "..." and steps = ...'
        raise UsageError(f"{path.name}/runner.toml has no [check]", why, fix)
    variant = torch or default_variant(spec)
    stale = any(not one.ok for kind in spec.variants for one in look_at_lock(spec, kind))
    if stale:
        talk(f"locking {spec.name}: resolving lock/in.txt for all platforms")
        write_lock(spec, make_lock(spec, torch_source=torch_source))
    environment = build(spec, variant, torch_source=torch_source, say=talk)
    findings = _suite(spec, environment, spec.check, on_finding)
    good = all(one.ok for one in findings)
    if good or force:
        added.register(spec)
    return AddedRunner(
        name=spec.name,
        folder=str(spec.folder),
        lock=environment.lock,
        locked=stale,
        algorithms=spec.algorithms,
        algo=spec.check.algo,
        env=spec.check.env,
        findings=tuple(findings),
        not_part=tuple(added.not_part(spec)),
        registered=good or force,
    )


def remove_runner(name: str) -> Path:
    """Takes a runner off the list; returns where its folder is, which stays.

    Raises:
        UsageError: No such runner, a reference runner, or a folder in openrlb's home itself.
    """
    from openrlb_runners.added import unregister

    return unregister(name)


def check_conformance(
    name: str,
    *,
    algo: str | None = None,
    env: str | None = None,
    steps: int | None = None,
    torch: str | None = None,
    torch_source: str | None = None,
    say: Say | None = None,
    on_finding: Callable[[Finding], None] | None = None,
) -> list[Finding]:
    """Puts a runner through the conformance suite; its environment is built where it is missing.

    Args:
        name: The runner.
        algo: What to train instead of what its ``[check]`` names; likewise ``env`` and ``steps``.
        env: The environment.
        steps: How many steps.
        torch: The variant whose environment trains.
        torch_source: A folder or address that has torch's CPU wheels.
        say: Takes lines of talk.
        on_finding: Shown each finding as it comes.

    Raises:
        UsageError: No such runner, variant or algorithm, or nothing that says what to train.
        LockError, BuildError, NetworkError: Its environment cannot be built.
    """
    from openrlb_runners.environment import build, default_variant
    from openrlb_runners.spec import Probe, find_runner

    spec = find_runner(name)
    if algo is not None and algo not in spec.algorithms:
        raise UsageError(f"{name} has no algorithm {algo!r}", f"it has: {', '.join(spec.algorithms)}", "name one of them")
    probe = spec.check if algo is None or (spec.check and algo == spec.check.algo) else None
    if probe is None:
        if not (algo and env and steps):
            fix = "name --algo, --env and --steps, or add [check] to runner.toml"
            raise UsageError("the conformance suite has nothing to train", f"{name}'s [check] does not say what", fix)
        probe = Probe(algo, env, steps)
    probe = replace(probe, env=env or probe.env, steps=steps or probe.steps)
    environment = build(spec, torch or default_variant(spec), torch_source=torch_source, say=say or _silent)
    return _suite(spec, environment, probe, on_finding)


def _suite(
    spec: RunnerSpec, environment: Environment, probe: Probe, on_finding: Callable[[Finding], None] | None
) -> list[Finding]:
    """The suite's findings; those of the runner's own ``[check]`` are kept."""
    from openrlb_runners.added import keep_findings
    from openrlb_runners.conformance import look_at_contract
    from openrlb_runners.launchers.local import LocalLauncher
    from openrlb_runners.request import pin

    findings = []
    with LocalLauncher() as launcher:
        for finding in look_at_contract(pin(spec, environment), spec, probe, launcher):
            findings.append(finding)
            if on_finding:
                on_finding(finding)
    if probe == spec.check:
        keep_findings(spec, environment.variant, findings)
    return findings


def _silent(text: str) -> None:
    """Says nothing."""
