"""Bundles on a web server: only the files of the needed parts are asked for, and an interrupted fetch goes on where it was."""

from __future__ import annotations

import hashlib
import http.client
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, urlsplit

from openrlb import paths
from openrlb.errors import NetworkError, OpenrlbError, SourceError, StoreUnwritable, UsageError
from openrlb.sources.bundle.manifest import FIX, MAX_MANIFEST_BYTES, NAME, Listed
from openrlb.sources.bundle.read import check

TIMEOUT_SECONDS = 60.0
ATTEMPTS = 4
WAIT_SECONDS = 0.5
SPARE_BYTES = 256 * 1024**2
"""What stays free on the disk."""

Answer = TypeVar("Answer")


class PassingError(Exception):
    """A failure that may be none a moment later."""


class WebPlace:
    """A bundle on a web server.

    Files come into the cache by their sha256; who read a bundle to its end clears them.

    Args:
        source: The address of its folder, or of its ``bundle.json``.
        on_file: Called with each file's path before it is asked for.

    Raises:
        UsageError: The address is no folder's.
    """

    def __init__(self, source: str, on_file: Callable[[Path], None]) -> None:
        self.name = source.removesuffix(NAME).rstrip("/") + "/"
        parts = urlsplit(self.name)
        if parts.query or parts.fragment or not parts.hostname or "@" in parts.netloc:
            fix = "name the folder that bundle.json is in, for instance https://example.org/bundle/"
            raise UsageError("the address cannot be read", "a bundle's address has no question mark, # or login in it", fix)
        self._on_file = on_file
        self._folder = paths.cache_dir() / "bundles"
        self._taken: set[Path] = set()

    def manifest(self) -> bytes:
        """The bytes of ``bundle.json``.

        Raises:
            SourceError: There is none, or it is too large.
            NetworkError: The server does not answer.
        """
        self._on_file(Path(NAME))

        def ask() -> bytes:
            with opened(self.name + NAME) as body:
                return body.read(MAX_MANIFEST_BYTES + 1)

        data = again(self.name, ask)
        if len(data) > MAX_MANIFEST_BYTES:
            raise SourceError(f"{self.name} is not read", f"{NAME} is larger than {MAX_MANIFEST_BYTES // 1024**2} MiB", FIX)
        return data

    def data(self, path: str, listed: Listed) -> bytes:
        """The bytes of a file, from the cache or the server.

        Raises:
            SourceError: It is missing, or not what the manifest says.
            NetworkError: The server does not answer.
            StoreUnwritable: The disk has no room for it.
        """
        kept = self._folder / listed.sha256
        data = kept.read_bytes() if kept.is_file() and kept.stat().st_size == listed.bytes else b""
        if not (kept.is_file() and hashlib.sha256(data).hexdigest() == listed.sha256):
            self._on_file(Path(path))
            make_room(self._folder, self.name, listed.bytes)
            data = self._take(path, listed, kept)
        self._taken.add(kept)
        return data

    def _take(self, path: str, listed: Listed, kept: Path) -> bytes:
        """Takes a file from the server; where what an earlier fetch began turns out wrong, once more from the start.

        Raises:
            SourceError: It is not what the manifest says.
        """
        begun = kept.with_suffix(".part")
        while True:
            resumed = begun.is_file()
            again(self.name, lambda: self._go_on(path, listed, begun))
            data = begun.read_bytes()
            try:
                check(path, listed, len(data), hashlib.sha256(data).hexdigest())
            except SourceError:
                begun.unlink()
                if not resumed:
                    raise
            else:
                begun.replace(kept)
                return data

    def _go_on(self, path: str, listed: Listed, begun: Path) -> None:
        """Takes what is lacking of a file; what an attempt brought is kept.

        Raises:
            PassingError: It broke off.
        """
        have = begun.stat().st_size if begun.is_file() else 0
        if have >= listed.bytes:
            have = 0
        with opened(self.name + quote(path), have) as body, begun.open("ab" if have and body.status == 206 else "wb") as handle:
            size = handle.tell()
            try:
                while size <= listed.bytes and (piece := body.read(min(1024**2, listed.bytes + 1 - size))):
                    handle.write(piece)
                    size += len(piece)
            except (OSError, http.client.HTTPException) as error:
                raise PassingError(f"{path} broke off after {size:,} of {listed.bytes:,} bytes") from error
            if size < listed.bytes and body.length:
                raise PassingError(f"{path} broke off after {size:,} of {listed.bytes:,} bytes")

    def clear(self) -> None:
        """Removes from the cache what was read."""
        for path in self._taken:
            path.unlink(missing_ok=True)
        with suppress(OSError):
            self._folder.rmdir()


KEPT = "what was fetched already is kept, and the same command goes on"


def again(name: str, action: Callable[[], Answer], then: str = KEPT) -> Answer:
    """Does something that may fail for a moment, a few times.

    Args:
        name: Whom it asks.
        action: What is done.
        then: What the same command finds later.

    Raises:
        NetworkError: It failed each time.
    """
    for attempt in range(ATTEMPTS):
        try:
            return action()
        except PassingError as error:
            last = error
            if attempt + 1 < ATTEMPTS:
                time.sleep(WAIT_SECONDS * 2**attempt)
    raise NetworkError(f"{name} cannot be reached", str(last), f"try again later: {then}") from last


def opened(address: str, start: int = 0) -> http.client.HTTPResponse:
    """A file on a server from a byte on; a server that gives no ranges answers with all of it (status 200, not 206).

    Raises:
        SourceError: There is no such file, or it is packed.
        NetworkError: Access is refused.
        PassingError: No answer, or one that says to come again.
    """
    headers = {"Accept-Encoding": "identity", "User-Agent": "openrlb"}
    headers |= {"Range": f"bytes={start}-"} if start else {}
    request = urllib.request.Request(address, headers=headers)  # noqa: S310 - the opener knows http and https alone
    try:
        body: http.client.HTTPResponse = opener().open(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        raise _refusal(address, error.code) from error
    except (OSError, http.client.HTTPException) as error:
        raise PassingError(str(getattr(error, "reason", error)) or type(error).__name__) from error
    if body.headers.get("Content-Encoding", "identity") != "identity":
        body.close()
        raise SourceError(f"{address} is not read", "the server packs it, and it was asked for as it is", FIX)
    return body


def opener() -> urllib.request.OpenerDirector:
    """What opens addresses: over HTTP and through the user's proxies alone, whatever a server redirects to."""
    director = urllib.request.OpenerDirector()
    for handler in (
        *(urllib.request.ProxyHandler(), urllib.request.HTTPHandler(), urllib.request.HTTPSHandler()),
        *(urllib.request.HTTPDefaultErrorHandler(), urllib.request.HTTPRedirectHandler(), urllib.request.HTTPErrorProcessor()),
        urllib.request.UnknownHandler(),
    ):
        director.add_handler(handler)
    return director


def _refusal(address: str, status: int) -> OpenrlbError | PassingError:
    """The error for an answer that is no file."""
    if status in (404, 410):
        what = "there is no bundle there" if address.endswith(f"/{NAME}") else "the bundle lacks a file"
        return SourceError(
            what,
            f"the server has no {address}",
            "name the folder that bundle.json is in; of a W&B server of one's own: set WANDB_BASE_URL",
        )
    if status in (401, 403):
        return NetworkError(
            f"{address} is not given to everybody", f"the server answers {status}", "ask its owner, or download it yourself"
        )
    if status in (408, 416, 425, 429) or status >= 500:
        return PassingError(f"the server answers {status}")
    return SourceError(f"{address} cannot be read", f"the server answers {status}", "check the address")


def make_room(folder: Path, name: str, size: int) -> None:
    """Makes sure that the disk has room for a file before it is asked for.

    Raises:
        StoreUnwritable: It has not, or the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        fix = "set OPENRLB_HOME to a folder that you can write"
        raise StoreUnwritable(f"{folder} cannot be written", error.strerror or str(error), fix) from error
    if free < size + SPARE_BYTES:
        why = f"{size:,} bytes are needed for its next file, and {free:,} are free"
        raise StoreUnwritable(f"{name} was not fetched", why, "free some space, or select fewer runs (--env, --algo)")
