"""Calls of uv, which comes with openrlb: with nothing of the caller's own Python around it."""

from __future__ import annotations

import os
import queue
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from openrlb import paths
from openrlb.errors import BuildError, NetworkError, OpenrlbError, UsageError

Say = Callable[[str], None]

WAIT = 15.0
"""Seconds of silence after which it is said what uv waits for."""

# What a user behind a mirror or a proxy has set; the hashes decide what is installed, wherever it comes from.
_KEPT = re.compile(
    r"UV_(DEFAULT_INDEX|INDEX|INDEX_URL|EXTRA_INDEX_URL|INDEX_\w+_(USERNAME|PASSWORD)|KEYRING_PROVIDER|INSECURE_HOST|OFFLINE"
    r"|NATIVE_TLS|SYSTEM_CERTS|HTTP_TIMEOUT|HTTP_RETRIES|CACHE_DIR|LINK_MODE|CONCURRENT_\w+"
    r"|PYTHON_INSTALL_DIR|PYTHON_INSTALL_MIRROR|PYTHON_DOWNLOADS)"
)
_SCRUBBED = re.compile(r"UV_|PIP_|PYTHON|VIRTUAL_ENV|CONDA_|PYENV_VERSION")
_INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL")
_NETWORK = re.compile(
    r"error sending request|dns error|Failed to fetch|connectivity is disabled|not found in the cache|timed out|\(40[137] "
)


@dataclass(frozen=True, slots=True)
class Finished:
    """How a call of uv ended.

    Attributes:
        code: Its exit code.
        out: What it wrote to standard output.
        err: What it wrote to standard error.
    """

    code: int
    out: str
    err: str


def silent(text: str) -> None:
    """Says nothing."""


def binary() -> str:
    """The uv that came with openrlb.

    Raises:
        BuildError: It is not there.
    """
    from uv import find_uv_bin

    try:
        return find_uv_bin()
    except FileNotFoundError as error:
        raise BuildError("uv is missing", str(error), "install openrlb anew, or: pip install uv") from error


def variables() -> dict[str, str]:
    """The variables uv is called with: the caller's, without those that would choose another Python, package or file.

    An index that is set for pip alone is handed on to uv, which does not read pip's settings. Packages are kept in uv's own
    cache, unless that lies on another disk than openrlb's cache: environments share its files by hard links.
    """
    kept = {name: value for name, value in os.environ.items() if not _SCRUBBED.match(name) or _KEPT.fullmatch(name)}
    index, more = os.environ.get("PIP_INDEX_URL"), os.environ.get("PIP_EXTRA_INDEX_URL")
    if index and not any(kept.get(name) for name in _INDEXES):
        kept["UV_DEFAULT_INDEX"] = index
    if more and not kept.get("UV_INDEX") and not kept.get("UV_EXTRA_INDEX_URL"):
        kept["UV_EXTRA_INDEX_URL"] = more
    if "UV_CACHE_DIR" not in kept:
        usual = Path(
            subprocess.run([binary(), "cache", "dir"], env=kept, capture_output=True, text=True, check=True).stdout.strip()
        )
        if _disk(usual) != _disk(paths.cache_dir()):
            kept["UV_CACHE_DIR"] = str(paths.cache_dir() / "uv")
    kept["COLUMNS"] = "10000"  # its words are read, not shown: no line of them is folded
    return kept


def _disk(folder: Path) -> int:
    """The device that a folder lies on, or will."""
    return next(parent for parent in (folder, *folder.parents) if parent.exists()).stat().st_dev


def wheel_flags(torch_source: str | None = None) -> list[str]:
    """The flags that name further places for wheels: ``torch_source``, and the find-links of pip and uv.

    Args:
        torch_source: A folder of wheels, one wheel, or an address: a page of links (``.html``) or an index.

    Raises:
        UsageError: A folder that is not there.
    """
    places = [*os.environ.get("PIP_FIND_LINKS", "").split(), *filter(None, os.environ.get("UV_FIND_LINKS", "").split(","))]
    if torch_source:
        found = Path(torch_source).expanduser()
        if "://" not in torch_source and not found.exists():
            raise UsageError(
                f"--torch-source {torch_source} is not there", "no such folder or file", "name a folder that holds wheels"
            )
        places.insert(0, str(found.parent) if found.is_file() else torch_source)
    return [word for place in places for word in ("--find-links", _place(place))]


def _place(place: str) -> str:
    """A place for wheels as uv takes it: an absolute folder, or a page of links (an index has one for each package)."""
    if "://" not in place:
        return str(Path(place).expanduser().absolute())
    page = place.endswith(".html") or place.rstrip("/").endswith("/torch")
    return place if page else f"{place.rstrip('/')}/torch/"


def run(words: Sequence[str], *, folder: Path, say: Say = silent, more: Mapping[str, str] | None = None) -> Finished:
    """Runs uv in a folder; its larger downloads are said as they happen, and what it waits for every 15 seconds.

    Args:
        words: uv's own words.
        folder: The working folder; paths in ``words`` are relative to it.
        say: Takes one line of progress.
        more: Further variables.
    """
    command = [binary(), "--color", "never", "--no-progress", *words]
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as out,
        subprocess.Popen(
            command,
            cwd=folder,
            env={**variables(), **(more or {})},
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        ) as process,
    ):
        try:
            err = _told(process, say)
        except BaseException:
            process.kill()
            raise
        process.wait()
        out.seek(0)
        return Finished(process.returncode, out.read(), err)


def _told(process: subprocess.Popen[str], say: Say) -> str:
    """What uv writes to standard error until it ends, its progress said on the way."""
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in process.stderr or ():
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    began = time.monotonic()
    said: list[str] = []
    waiting: dict[str, str] = {}
    while True:
        try:
            line = lines.get(timeout=WAIT)
        except queue.Empty:
            say(f"{time.monotonic() - began:.0f} s: waiting for {', '.join(waiting.values()) or 'uv'}")
            continue
        if not line:
            return "".join(said)
        said.append(line)
        if found := re.match(r" ?(Downloading|Downloaded|Building|Built|Prepared|Installed) (\S+)", line):
            say(line.strip())
            if found[1] in ("Downloading", "Building"):
                waiting[found[2]] = line.strip().partition(" ")[2]
            waiting = {} if found[1] == "Prepared" else waiting
            if found[1] in ("Downloaded", "Built"):
                waiting.pop(found[2], None)


def failure(what: str, finished: Finished) -> OpenrlbError:
    """The error that a failed call of uv means.

    Args:
        what: What did not work.
        finished: The call.
    """
    err = re.sub(r"\{[^{}]*\}", "", finished.err)  # torch{sys_platform == 'linux'}==2.0
    if re.search(r"No space left|os error 28\b|[Qq]uota exceeded", err):
        return BuildError(what, "the disk is full", "free some space, or set OPENRLB_HOME to a folder on another disk")
    if found := re.search(r"Hash mismatch for `([^`]+)`", err):
        fix = "do not install it; check the index or mirror you use, and restore the lock"
        return BuildError(what, f"{found[1]} is not what the lock says: its sha256 differs", fix)
    if found := re.search(r"torch==\S+\+cpu", err):
        fix = "name a folder or an index that has it with --torch-source; with a GPU: openrlb runner install NAME --torch cuda"
        return BuildError(what, f"{found[0].rstrip(',.')} was not found: package indexes carry it rarely", fix)
    if re.search(r"No interpreter found|python-build-standalone", err):
        return BuildError(what, _reason(err), "install this Python, or let uv fetch it: uv python install")
    if _NETWORK.search(err):
        return NetworkError(what, _reason(err), "check the connection, a proxy, and UV_DEFAULT_INDEX or PIP_INDEX_URL")
    if found := re.search(r"no version of ([\w.+=-]+)|Because ([\w.-]+) was not found", err):
        fix = "use an index that has it, or make the lock again: openrlb runner lock NAME"
        return BuildError(what, f"the index does not have {found[1] or found[2]}", fix)
    return BuildError(what, _reason(err), "look at the lock, or report this")


def _reason(err: str) -> str:
    """The error and its last cause, on one line."""
    said = re.findall(r"(?m)^(?:error|\s+cause): (.+)$", err) or err.strip().splitlines()[-1:] or ["uv said nothing"]
    return said[0] if said[0] == said[-1] else f"{said[0]}: {said[-1]}"
