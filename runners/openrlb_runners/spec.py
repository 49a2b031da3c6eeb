"""What a runner folder says of itself in ``runner.toml``."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from openrlb.errors import UsageError
from openrlb.paths import asset, home

STEP_UNITS = ("agent_step", "frame")
TORCH_VARIANTS = ("cpu", "cuda")
NO_TORCH = "any"
"""The one variant of a runner without torch."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one variant's environment cost when it was measured, the first on its machine.

    Attributes:
        download_mb: Megabytes of packages.
        disk_mb: Megabytes on disk, uv's cache included, whose files a second environment shares.
        seconds: The time it took, the download included.
    """

    download_mb: int
    disk_mb: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Probe:
    """The smallest training that ``openrlb runner check`` does twice.

    Attributes:
        algo: The algorithm.
        env: The environment.
        steps: How many steps.
    """

    algo: str
    env: str
    steps: int


@dataclass(frozen=True, slots=True)
class RunnerSpec:
    """One runner.

    Attributes:
        name: Its name, and its folder's.
        folder: Where it lies.
        python: The Python version its environment is built with.
        entry: The script that trains, relative to the folder.
        algorithms: What it can train.
        preload: Modules to import once before runs are forked.
        fork: False where forking after an import is unsafe (JAX).
        torch: The torch variants it has locks for; empty where it needs none.
        step_unit: What its steps count.
        metrics: The canonical name of each kind of row it writes.
        cost: What an environment of each variant costs, where it was measured.
        check: What is trained to check it, or None.
    """

    name: str
    folder: Path
    python: str
    entry: str
    algorithms: tuple[str, ...]
    preload: tuple[str, ...]
    fork: bool
    torch: tuple[str, ...]
    step_unit: str
    metrics: Mapping[str, str]
    cost: Mapping[str, Cost] = field(default_factory=dict)
    check: Probe | None = None

    @property
    def lock_folder(self) -> Path:
        """Where ``in.txt`` and the lock files lie."""
        return self.folder / "lock"

    @property
    def variants(self) -> tuple[str, ...]:
        """The environments it can have: its torch variants, or the one of a runner without torch."""
        return self.torch or (NO_TORCH,)


def reference_runners() -> list[RunnerSpec]:
    """The runners that ship with openrlb, by name."""
    folders = sorted(path.parent for path in asset("runners", "reference").glob("*/runner.toml"))
    return [read_runner(folder) for folder in folders]


def known_runners() -> list[RunnerSpec]:
    """The reference runners and the user's own (the folders in ``home()/runners``), by name.

    Raises:
        UsageError: A runner.toml that was not understood.
    """
    own = sorted(path.parent for path in (home() / "runners").glob("*/runner.toml"))
    return [*reference_runners(), *(read_runner(folder) for folder in own)]


def find_runner(name: str) -> RunnerSpec:
    """The runner of a name; the nearest names where there is none.

    Raises:
        UsageError: No runner has that name.
    """
    from difflib import get_close_matches

    for group in (reference_runners, known_runners):  # a reference runner's name cannot be taken, nor harmed by another's folder
        runners = {runner.name: runner for runner in group()}
        if name in runners:
            return runners[name]
    close = get_close_matches(name, runners, n=1)
    fix = f"did you mean {close[0]}?" if close else "openrlb runner list names them"
    raise UsageError(f"there is no runner {name!r}", f"known: {', '.join(sorted(runners))}", fix)


def source_files(spec: RunnerSpec) -> dict[str, bytes]:
    """The runner's own Python files by name: what trains.

    Raises:
        UsageError: The entry is not among them.
    """
    files = {path.name: path.read_bytes() for path in sorted(spec.folder.glob("*.py"))}
    if spec.entry not in files:
        raise _wrong(spec.folder, f"entry {spec.entry!r} is not there", "name a script that lies in the folder")
    return files


def source_digest(files: Mapping[str, bytes]) -> str:
    """The sha256 of named files: sorted names, and the sha256 of each file's bytes.

    >>> source_digest({"a.py": b"1", "b.py": b"2"}) == source_digest({"b.py": b"2", "a.py": b"1"})
    True
    """
    lines = [f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_runner(folder: Path) -> RunnerSpec:
    """Reads and checks a runner folder's ``runner.toml``.

    Raises:
        UsageError: No such file, no TOML, or an entry that is missing, unknown or of the wrong kind.
    """
    path = folder / "runner.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(
            f"{folder.name} is no runner", f"runner.toml: {error}", "write one (runners/reference/sb3 is a model)"
        ) from error
    kinds = {"name": str, "python": str, "entry": str, "algorithms": list, "preload": list, "fork": bool, "torch": list}
    kinds |= {"step_unit": str, "metrics": dict}
    kinds |= {name: dict for name in ("cost", "check") if name in table}
    for key in (*kinds, *table):
        if key not in table:
            raise _wrong(folder, f"{key} is missing", f"add {key} = ...")
        if key not in kinds:
            raise _wrong(folder, f"{key} is not known", f"use: {', '.join(kinds)}")
        if not isinstance(table[key], kinds[key]):
            raise _wrong(folder, f"{key} is not a {kinds[key].__name__}", f"mend the line of {key}")
    return _checked(folder, table)


def _checked(folder: Path, table: dict[str, Any]) -> RunnerSpec:
    """The spec, its values checked."""
    words: dict[str, Any] = {key: tuple(map(str, table[key])) for key in ("algorithms", "preload", "torch")}
    if not words["algorithms"]:
        raise _wrong(folder, "algorithms is empty", "name what the runner trains")
    if table["step_unit"] not in STEP_UNITS:
        raise _wrong(folder, f"step_unit is {table['step_unit']!r}", f"use one of {', '.join(STEP_UNITS)}")
    if not set(words["torch"]) <= set(TORCH_VARIANTS):
        raise _wrong(folder, f"torch is {list(words['torch'])}", f"use some of {', '.join(TORCH_VARIANTS)}, or []")
    entry = Path(table["entry"])
    if entry.is_absolute() or ".." in entry.parts:
        raise _wrong(folder, f"entry {table['entry']!r} lies outside the folder", "name a script inside it")
    if not re.fullmatch(r"3\.\d+", table["python"]):
        raise _wrong(folder, f"python is {table['python']!r}", 'write a minor version, such as "3.11"')
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", table["name"]):
        raise _wrong(folder, f"name is {table['name']!r}", "use small letters, digits, -, _ and .")
    words["cost"] = {
        variant: _filled(folder, f"cost.{variant}", Cost, values) for variant, values in table.get("cost", {}).items()
    }
    words["check"] = _filled(folder, "check", Probe, table["check"]) if "check" in table else None
    rest = {key: table[key] for key in ("name", "python", "entry", "fork", "step_unit", "metrics")}
    return RunnerSpec(folder=folder, **words, **rest)


def _filled(folder: Path, name: str, kind: type[Any], values: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """A checked optional table as the dataclass it is for: exactly its fields, each of its kind."""
    wanted = {one.name: {"int": int, "str": str}[str(one.type)] for one in fields(kind)}
    if not isinstance(values, dict) or {key: type(value) for key, value in values.items()} != wanted:
        fix = ", ".join(f"{key} ({one.__name__})" for key, one in wanted.items())
        raise _wrong(folder, f"{name} was not understood", f"give exactly {fix}")
    return kind(**values)


def _wrong(folder: Path, why: str, fix: str) -> UsageError:
    """The error for a runner.toml that has no meaning."""
    return UsageError(f"{folder.name}/runner.toml was not understood", why, fix)
