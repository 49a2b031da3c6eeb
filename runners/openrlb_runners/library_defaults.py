"""The defaults of an algorithm's library, where a runner ships what its own code answered to a request for nothing else."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from openrlb.errors import UsageError
from openrlb_runners.spec import RunnerSpec, source_files

FILE = "defaults.json"


def library_defaults(spec: RunnerSpec, algo: str) -> dict[str, Any] | None:
    """An algorithm's defaults by dotted key, but for those that hang on the environment; None where the runner ships none.

    They stand in its ``defaults.json``, with the digests of the code and the lock that answered.

    Args:
        spec: The runner.
        algo: The algorithm.

    Raises:
        UsageError: The file is there, but cannot be read or is not of its shape.
    """
    path = spec.folder / FILE
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_bytes())["algorithms"].get(algo)
        return None if values is None else dict(values)
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        fix = "make it again with runners/make_defaults.py, or remove it"
        raise UsageError(f"the runner {spec.name} has a {FILE} that cannot be read", f"{path}: {error!r}", fix) from error


def code_of(spec: RunnerSpec) -> dict[str, str]:
    """The digests of what decides a runner's defaults, under the names that its runs keep them by.

    Raises:
        UsageError: A file of the runner that cannot be read.
    """
    files = {name: data for name, data in source_files(spec).items() if name.endswith(".py")}
    files |= {f"lock/{path.name}": path.read_bytes() for path in sorted(spec.lock_folder.glob("*.txt")) if path.name != "in.txt"}
    return {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}
