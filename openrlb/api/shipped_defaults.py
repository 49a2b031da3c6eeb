"""The defaults that the packaged runner ships of its library, for runs whose own code nobody has asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from openrlb.errors import OpenrlbError
from openrlb.store import Store

if TYPE_CHECKING:
    from openrlb.types import Run
    from openrlb_runners.spec import RunnerSpec

VERSIONS_TOLD = 4
"""So many packages of another version are named; more are counted."""


def shipped_defaults(
    run: Run, values: Mapping[str, Any], asked: Mapping[str, Any], store: Store
) -> tuple[dict[str, Any], str] | None:
    """A run's hyperparameters with the packaged runner's defaults in place of what was asked for, and whose these are; or None.

    What was not asked for is the default already, whatever it is. There is no answer where something asked for has no default
    that holds in every environment, or where a screen is seen, on which the defaults hang.

    Args:
        run: The run.
        values: Its hyperparameters, by dotted key.
        asked: What was asked for, by dotted key.
        store: Where its lock is kept.
    """
    from openrlb_runners.library_defaults import library_defaults
    from openrlb_runners.spec import reference_runners

    spec = next((one for one in reference_runners() if one.name == run.impl), None)
    known = None if spec is None else library_defaults(spec, run.algo)
    if spec is None or known is None or not str(values.get("policy", "")).startswith("Mlp"):
        return None
    default = {key: value for key, value in known.items() if _touches(key, asked)}
    if not all(_touches(key, default) for key in asked):
        return None
    told = f"the defaults of {run.impl} are as the packaged runner states them today, {_versions(run, spec, store)}"
    return {**{key: value for key, value in values.items() if not _touches(key, asked)}, **default}, told


def _touches(key: str, others: Iterable[str]) -> bool:
    """Whether a dotted key is one of some others, a part of one, or has one as its part.

    >>> _touches("normalize", ["normalize.norm_obs"]), _touches("gamma", ["gae_lambda"])
    (True, False)
    """
    return any(key == other or key.startswith(f"{other}.") or other.startswith(f"{key}.") for other in others)


def _versions(run: Run, spec: RunnerSpec, store: Store) -> str:
    """Whether its libraries are those that the run had."""
    from openrlb_runners.locks import pins_of
    from openrlb_runners.reproduction import read_record

    try:
        locks = read_record(run, store.layout).locks
        files = {name: spec.lock_folder / name for name in locks}
        today = pins_of({name: path.read_bytes() for name, path in files.items() if path.is_file()})
        then = {pin.name: pin.version for pin in pins_of(locks)}
    except (OpenrlbError, OSError):
        return "whose libraries may be other versions than this run's"
    now = {pin.name: pin.version for pin in today}
    others = [f"{name} {now.get(name, 'none')} for {version}" for name, version in then.items() if now.get(name) != version]
    if not others:
        return "with the same versions of its libraries as this run"
    more = f" and {len(others) - VERSIONS_TOLD} more" if len(others) > VERSIONS_TOLD else ""
    return f"with other libraries than this run: {', '.join(others[:VERSIONS_TOLD])}{more}"
