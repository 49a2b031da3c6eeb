"""What a run was made with: its script, command, commit and changes, packages and hardware. Read once, at the start.

Everything here takes milliseconds but git, which runs beside the training and writes into the run folder by itself: no
thread is started, so that a script may fork its environments afterwards.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openrlb.tracking.values import is_secret, text

MAX_KEPT_BYTES = 1 << 20
"""A script or a diff larger than this is not kept, and the run says so."""

REQUIREMENTS = "requirements.txt"
COMMAND = "command.json"
CHANGES = "changes.diff"
STATUS = "git-status.txt"

_THREAD_VARIABLES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG"),
    *("PYTHONHASHSEED", "XLA_FLAGS", "JAX_PLATFORMS", "MUJOCO_GL"),
)
_INSTALLED = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._]*)-(?P<version>[^-]+)(-.*)?\.(dist|egg)-info")


@dataclass(frozen=True, slots=True)
class Provenance:
    """What was seen of a run's making.

    Attributes:
        script: The script's file, or None in a notebook or an interactive session.
        kept: Files to keep with the run, by name.
        hardware: The machine: system, Python, processor, cores, threads; never its name.
        notes: What could not be kept.
    """

    script: Path | None
    kept: Mapping[str, bytes]
    hardware: Mapping[str, Any]
    notes: tuple[str, ...]


def capture() -> Provenance:
    """Reads everything but git."""
    script = script_file()
    kept = {REQUIREMENTS: installed_packages(), COMMAND: _command(script)}
    notes = []
    if script is not None:
        try:
            if script.stat().st_size > MAX_KEPT_BYTES:
                notes.append(f"the script {script.name} is larger than 1 MiB and was not kept")
            else:
                kept[script.name] = script.read_bytes()
        except OSError as error:
            notes.append(f"the script {script.name} was not kept: {error.strerror}")
    return Provenance(script, kept, hardware(), tuple(notes))


def script_file() -> Path | None:
    """The file that Python was started with, or None where there is none."""
    found = getattr(sys.modules.get("__main__"), "__file__", None)
    if not found or hasattr(sys, "ps1") or "ipykernel" in sys.modules:
        return None
    path = Path(found)
    return path.absolute() if path.is_file() else None


def installed_packages() -> bytes:
    """The installed packages as ``name==version`` lines, from the names of their metadata folders.

    Reading each package's metadata takes a hundred times as long and says the same.
    """
    found: dict[str, str] = {}
    for place in dict.fromkeys(sys.path):
        with suppress(OSError):
            for entry in os.scandir(place or "."):
                match = _INSTALLED.fullmatch(entry.name)
                if match:
                    name = re.sub(r"[-_.]+", "-", match["name"]).lower()
                    found.setdefault(name, match["version"])  # the first on the path is the one that is imported
    return "".join(f"{name}=={version}\n" for name, version in sorted(found.items())).encode()


def hardware() -> dict[str, Any]:
    """The machine's fingerprint, without its name."""
    seen: dict[str, Any] = {
        "system": platform.platform(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "cpu": _cpu_model(),
        "cpus": os.cpu_count(),
        "variables": {name: text(os.environ[name]) for name in _THREAD_VARIABLES if name in os.environ},
    }
    return {**seen, **accelerator()}


def accelerator() -> dict[str, Any]:
    """The GPU that torch uses, where torch uses one. Nothing is imported or initialised for it."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    with suppress(Exception):  # another library's state, and only a name is at stake
        if cuda is not None and cuda.is_initialized():
            torch = sys.modules["torch"]
            return {"gpu": cuda.get_device_name(), "torch": str(torch.__version__), "cuda": str(torch.version.cuda)}
    return {}


def _cpu_model() -> str:
    """The processor's name."""
    with suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def _command(script: Path | None) -> bytes:
    """How the script was called, without the folders of this machine."""
    words = [without_place(word) for word in sys.orig_argv]
    for place, word in enumerate(words[:-1]):
        if is_secret(word):
            words[place + 1] = "[secret]"
    told = {"command": words, "script": script.name if script else None, "python": sys.version}
    return json.dumps(told, indent=1).encode()


def without_place(word: str) -> str:
    """A word of a command line: paths below the working folder relative, elsewhere reduced to their last part.

    >>> without_place("--out=/scratch/ann/runs/a.csv"), without_place("--lr=0.1"), without_place("../data")
    ('--out=a.csv', '--lr=0.1', '../data')
    """
    head, sign, tail = word.partition("=") if word.startswith("-") else ("", "", word)
    if sign and is_secret(head):
        return f"{head}=[secret]"
    path = Path(tail)
    if path.is_absolute():
        here, home = Path(os.path.abspath("")), Path(os.path.expanduser("~"))  # noqa: PTH100, PTH111 - these raise nothing
        if path.is_relative_to(here) and not home.is_relative_to(here):
            tail = str(path.relative_to(here))
        elif not path.is_relative_to(home):
            tail = path.name or "/"
    return text(head + sign + tail)


class Git:
    """git, asked about the script's folder while the training goes on.

    Args:
        folder: Where the script lies.
        into: The folder for the answers: ``git-status.txt`` and ``changes.diff``.
    """

    _LONGEST = 10.0

    def __init__(self, folder: Path, into: Path) -> None:
        words = {
            STATUS: ["status", "--porcelain=v2", "--branch", "--untracked-files=normal"],
            CHANGES: ["diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-color"],
        }
        self._asked: list[subprocess.Popen[bytes]] = []
        environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        for name, question in words.items():
            with suppress(OSError), (into / name).open("wb") as answer:  # no git here is no fault
                self._asked.append(
                    subprocess.Popen(
                        ["git", "-C", str(folder), "-c", "core.fsmonitor=false", "-c", "core.quotepath=false", *question],
                        stdin=subprocess.DEVNULL,
                        stdout=answer,
                        stderr=subprocess.DEVNULL,
                        env=environment,
                        start_new_session=True,
                    )
                )

    def wait(self) -> None:
        """Waits for the answers, 10 seconds at most."""
        for process in self._asked:
            try:
                process.wait(self._LONGEST)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def read_git(folder: Path) -> tuple[str | None, dict[str, bytes], list[str]]:
    """What git answered.

    Args:
        folder: Where :class:`Git` had it written.

    Returns:
        The commit, the files to keep (nothing of a clean tree), and notes.
    """
    found: dict[str, bytes] = {}
    notes = []
    for name in (STATUS, CHANGES):
        with suppress(OSError):
            path = folder / name
            if path.stat().st_size > MAX_KEPT_BYTES:
                notes.append(f"{name} is larger than 1 MiB and was not kept")
            else:
                found[name] = path.read_bytes()
    lines = found.pop(STATUS, b"").decode("utf-8", "replace").splitlines()
    heads = {words[1]: words[2] for words in (line.split(" ", 2) for line in lines) if words[0] == "#" and len(words) == 3}
    commit = heads.get("branch.oid", "")
    changed = [line for line in lines if not line.startswith("#")]
    kept = {name: data for name, data in found.items() if data}
    if changed:
        kept[STATUS] = "".join(f"{line}\n" for line in changed).encode()
    return (commit if re.fullmatch(r"[0-9a-f]{40,64}", commit) else None), kept, notes
