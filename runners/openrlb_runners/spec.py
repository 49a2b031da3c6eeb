"""What a runner folder says of itself in ``runner.toml``."""

from __future__ import annotations

import hashlib
import re
import tomllib
import warnings
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from openrlb.config import read_toml
from openrlb.errors import UsageError
from openrlb.paths import asset, home
from openrlb_runners.request import MANIFEST

STEP_UNITS = ("agent_step", "frame")
TORCH_VARIANTS = ("cpu", "cuda")
NO_TORCH = "any"
"""The one variant of a runner without torch."""

RESERVED = ("spec.json", "config.json", "env.json", "metrics.jsonl", "done.json", "requirements.txt", "stderr.txt", MANIFEST)
"""What a run keeps beside its runner's files."""

MAXIMUM_BYTES = 64_000_000
"""A runner's files together are no larger: they are kept with its runs."""


class RunnerWarning(UserWarning):
    """A runner of the user's own cannot be used."""


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
    """The smallest training that ``openrlb runner check`` does.

    Attributes:
        algo: The algorithm.
        env: The environment.
        steps: How many steps.
        hyperparameters: What to ask for, so that it stays small.
        diverging: Hyperparameters that make it diverge; empty where none are known.
    """

    algo: str
    env: str
    steps: int
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    diverging: Mapping[str, Any] = field(default_factory=dict)


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
        files: Other files that it reads: part of its hash, and kept with its runs, as its ``*.py`` are.
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
    files: tuple[str, ...] = ()

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


def own_folders() -> list[Path]:
    """The folders of the user's own runners in ``home()/runners``: real ones, and links that ``runner add`` made."""
    place = home() / "runners"
    return sorted(path for path in place.iterdir() if path.is_symlink() or (path / MANIFEST).is_file()) if place.is_dir() else []


def own_runners() -> tuple[list[RunnerSpec], dict[Path, UsageError]]:
    """The user's own runners, and why the other folders and links are none."""
    usable, others = [], {}
    for folder in own_folders():
        if folder.is_symlink() and not (folder / MANIFEST).is_file():
            why = f"its folder {folder.readlink()} has no {MANIFEST} any more"
            fix = f"openrlb runner add its new place, or: openrlb runner remove {folder.name}"
            others[folder] = UsageError(f"the runner {folder.name} has gone", why, fix)
            continue
        try:
            usable.append(read_runner(folder))
        except UsageError as error:
            others[folder] = error
    return usable, others


def known_runners() -> list[RunnerSpec]:
    """The reference runners and the user's own (the folders in ``home()/runners``), by name.

    One that cannot be used harms no other: it is left out with a :class:`RunnerWarning`.
    """
    usable, others = own_runners()
    for error in others.values():
        warnings.warn(f"{error.what}: {error.why}; the others are not harmed", RunnerWarning, stacklevel=2)
    return [*reference_runners(), *usable]


def find_runner(name: str) -> RunnerSpec:
    """The runner of a name.

    Raises:
        UsageError: There is none, or its ``runner.toml`` was not understood; the nearest name is suggested.
    """
    runners = {runner.name: runner for runner in reference_runners()}
    if name in runners:  # its name cannot be taken, nor can it be harmed by another's folder
        return runners[name]
    usable, others = own_runners()
    runners |= {runner.name: runner for runner in usable}
    if name in runners:
        return runners[name]
    for folder, error in others.items():
        if folder.name == name:
            raise error
    close = get_close_matches(name, runners, n=1)
    fix = f"did you mean {close[0]}?" if close else "openrlb runner list names them"
    raise UsageError(f"there is no runner {name!r}", f"known: {', '.join(sorted(runners))}", fix)


def source_files(spec: RunnerSpec) -> dict[str, bytes]:
    """The runner's own Python files by name, and the other ``files`` that it reads: what trains.

    Raises:
        UsageError: The entry is not among them, one cannot be read, or they are too large.
    """
    names = {path.name for path in spec.folder.glob("*.py")} | set(spec.files)
    if spec.entry not in names:
        _wrong(spec.folder, f"entry {spec.entry!r} is not there", "name a script that lies in the folder", "entry")
    try:
        files = {name: (spec.folder / name).read_bytes() for name in sorted(names)}
    except OSError as error:
        key = "files" if Path(str(error.filename)).name in spec.files else "entry"
        _wrong(spec.folder, f"{Path(str(error.filename)).name}: {error.strerror}", "name files that lie in the folder", key)
    size = sum(map(len, files.values()))
    if size > MAXIMUM_BYTES:
        why = f"its files have {size / 1e6:,.0f} MB, and each run keeps them; {MAXIMUM_BYTES / 1e6:,.0f} MB are allowed"
        _wrong(spec.folder, why, "name fewer files, and let the script fetch what is large", "files")
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
        UsageError: No such file, no TOML, or an entry that is missing, unknown or of the wrong kind; its line is named.
    """
    try:
        table = read_toml(folder / MANIFEST)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        fix = (
            "mend that line" if isinstance(error, tomllib.TOMLDecodeError) else "write one: openrlb runner new NAME makes a model"
        )
        raise UsageError(f"{folder.name} is no runner", f"{MANIFEST}: {error}", fix) from error
    kinds = {"name": str, "python": str, "entry": str, "algorithms": list, "preload": list, "fork": bool, "torch": list}
    kinds |= {"step_unit": str, "metrics": dict}
    kinds |= {name: kind for name, kind in {"cost": dict, "check": dict, "files": list}.items() if name in table}
    for key in (*table, *kinds):  # a misspelt one is told before the one that it should be
        if key not in table:
            _wrong(folder, f"{key} is missing", f"add {key} = ...")
        if key not in kinds:
            close = get_close_matches(key, kinds, n=1)
            _wrong(folder, f"{key} is not known", f"did you mean {close[0]}?" if close else f"use: {', '.join(kinds)}", key)
        if not isinstance(table[key], kinds[key]):
            _wrong(folder, f"{key} is {table[key]!r}, but must be {_IN_WORDS[kinds[key]]}", f"mend the line of {key}", key)
    return _checked(folder, table)


_IN_WORDS = {str: 'a text in "quotes"', list: "a list", bool: "true or false", dict: "a table"}


def _checked(folder: Path, table: dict[str, Any]) -> RunnerSpec:
    """The spec, its values checked."""
    words: dict[str, Any] = {key: tuple(map(str, table.get(key, ()))) for key in ("algorithms", "preload", "torch", "files")}
    if not words["algorithms"]:
        _wrong(folder, "algorithms is empty", "name what the runner trains", "algorithms")
    if table["step_unit"] not in STEP_UNITS:
        _wrong(folder, f"step_unit is {table['step_unit']!r}", f"use one of {', '.join(STEP_UNITS)}", "step_unit")
    if not set(words["torch"]) <= set(TORCH_VARIANTS):
        _wrong(folder, f"torch is {list(words['torch'])}", f"use some of {', '.join(TORCH_VARIANTS)}, or []", "torch")
    entry = Path(table["entry"])
    if entry.is_absolute() or ".." in entry.parts:
        _wrong(folder, f"entry {table['entry']!r} lies outside the folder", "name a script inside it", "entry")
    for name in words["files"]:
        if name in RESERVED:
            _wrong(folder, f"files names {name}, which every run has of its own", "give your file another name", "files")
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
            _wrong(folder, f"files names {name!r}", "name plain files of the folder itself, not of one in it", "files")
    if not re.fullmatch(r"3\.\d+", table["python"]):
        _wrong(folder, f"python is {table['python']!r}", 'write a minor version, such as "3.11"', "python")
    if not is_name(table["name"]):
        _wrong(folder, f"name is {table['name']!r}", "use small letters, digits, -, _ and .", "name")
    words["cost"] = {
        variant: _filled(folder, f"cost.{variant}", Cost, values) for variant, values in table.get("cost", {}).items()
    }
    words["check"] = _filled(folder, "check", Probe, table["check"]) if "check" in table else None
    if words["check"] and words["check"].algo not in words["algorithms"]:
        _wrong(
            folder, f"check names the algorithm {words['check'].algo!r}", f"use one of {', '.join(words['algorithms'])}", "algo"
        )
    rest = {key: table[key] for key in ("name", "python", "entry", "fork", "step_unit", "metrics")}
    return RunnerSpec(folder=folder, **words, **rest)


def is_name(text: str) -> bool:
    """Whether a runner may have this name.

    >>> is_name("mine"), is_name("../mine"), is_name("Mine")
    (True, False, False)
    """
    return re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", text) is not None


def _filled(folder: Path, name: str, kind: type[Any], values: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """A checked optional table as the dataclass it is for: its fields, each of its kind."""
    wanted = {one.name: {"int": int, "str": str}.get(str(one.type), dict) for one in fields(kind)}
    needed = [one.name for one in fields(kind) if one.default_factory is MISSING]
    given = values if isinstance(values, dict) else {}
    if not set(needed) <= set(given) <= set(wanted) or any(type(value) is not wanted[key] for key, value in given.items()):
        fix = ", ".join(f"{key} ({one.__name__})" + ("" if key in needed else " if you like") for key, one in wanted.items())
        wrong = [key for key, value in given.items() if type(value) is not wanted.get(key)]
        _wrong(folder, f"{name} was not understood", f"give exactly {fix}", wrong[0] if wrong else None, name)
    return kind(**values)


def _wrong(folder: Path, why: str, fix: str, key: str | None = None, table: str = "") -> NoReturn:
    """Raises the error for a runner.toml that has no meaning, with the line where there is one."""
    lines = (folder / MANIFEST).read_text(encoding="utf-8").splitlines()
    start = next((number for number, line in enumerate(lines) if line.strip() == f"[{table}]"), 0) if table else 0
    named = rf"\s*(\[{re.escape(key or table)}[\].]|{re.escape(key or table)}\s*=)" if key or table else r"(?!)"
    found = next((number for number, line in enumerate(lines) if number >= start and re.match(named, line)), None)
    where = "" if found is None else f"line {found + 1}: {lines[found].strip()[:80]}: "
    raise UsageError(f"{folder.name}/{MANIFEST} was not understood", f"{where}{why}", fix)
