"""``runner bundle`` and ``runner unbundle``: a runner in one file, for machines without a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openrlb_runners.bundle import Bundle


@dataclass(frozen=True, slots=True)
class Unbundled:
    """A runner that was unpacked and built.

    Attributes:
        name: Its name.
        torch: The torch variant, or ``any``.
        lock: The lock's digest.
        built_before: Whether its environment was there already.
        size_mb: The megabytes of the environment's files.
        python: The environment's Python.
    """

    name: str
    torch: str
    lock: str
    built_before: bool
    size_mb: float
    python: str


def bundle_runner(
    name: str,
    path: Path,
    *,
    torch: str | None = None,
    torch_source: str | None = None,
    say: Callable[[str], None] | None = None,
) -> Bundle:
    """Writes a runner's source, its lock and every wheel of the lock into one file.

    Args:
        name: The runner.
        path: The file, a tar.
        torch: ``cpu`` or ``cuda``; by default what fits this machine.
        torch_source: A folder or address that has torch's CPU wheels.
        say: Takes lines of talk.

    Raises:
        UsageError: No such runner or variant.
        LockError: It has no lock.
        BuildError: A package has no wheel for this machine, or one is not what the lock says.
        NetworkError: The index cannot be reached.
        StoreUnwritable: The file cannot be written.
    """
    from openrlb_runners.bundle import make_bundle
    from openrlb_runners.environment import default_variant
    from openrlb_runners.spec import find_runner
    from openrlb_runners.uv import silent

    spec = find_runner(name)
    return make_bundle(spec, torch or default_variant(spec), path, torch_source=torch_source, say=say or silent)


def unbundle_runner(path: Path, *, say: Callable[[str], None] | None = None) -> Unbundled:
    """Builds a runner's environment from a bundle, without a network, and registers the runner where it is one of your own.

    Args:
        path: The file.
        say: Takes lines of talk.

    Raises:
        SourceError: The file is no sound bundle; nothing was unpacked.
        UsageError: It is for another kind of machine, or another runner has the name here.
        LockError: Its lock is none.
        BuildError: The environment cannot be built; nothing is left behind.
        StoreUnwritable: The runner cannot be registered.
    """
    from openrlb_runners.unbundle import unbundle
    from openrlb_runners.uv import silent

    environment, before = unbundle(path, say=say or silent)
    size = environment.size_bytes / 1e6
    return Unbundled(environment.name, environment.variant, environment.lock, before, size, str(environment.python))
