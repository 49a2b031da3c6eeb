"""Asking a web server for files, or for parts of them."""

from __future__ import annotations

import hashlib
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

from openrlb.errors import NetworkError, OpenrlbError, SourceError, UsageError
from openrlb.sources.bundle.web import TIMEOUT_SECONDS, PassingError, again, make_room, opener
from openrlb.store.files import writing

PIECE = 1024**2
THEN = "nothing older is answered instead, and the same command takes only what it does not have yet"
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")


class NoRangesError(Exception):
    """The server gives whole files only."""


class MissingError(Exception):
    """The server has no such file."""


class Folder:
    """A folder on a web server.

    Attributes:
        address: Its address, with a slash at the end.
        received: The bytes of all answers so far.
        requests: How many answers there were.

    Args:
        address: Where it is.

    Raises:
        UsageError: The address is no folder's.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/") + "/"
        self.received = self.requests = 0
        try:
            parts = urlsplit(self.address)
            plain = parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment)
        except ValueError:
            plain = False
        if not plain or "@" in parts.netloc or any(sign <= " " for sign in address):
            fix = "name the folder that catalog.duckdb is in: https://example.org/store/; for one on a disk set OPENRLB_HOME"
            raise UsageError("the store's address cannot be read", "it is no http(s) address, or has ?, # or a login in it", fix)

    @property
    def key(self) -> str:
        """A short name for a local folder: the host, and a hash of the whole address."""
        host = re.sub(r"[^a-z0-9.-]", "-", str(urlsplit(self.address).hostname))[:60].lstrip(".")
        return f"{host}-{hashlib.sha256(self.address.encode()).hexdigest()[:16]}"

    def take(self, path: str, to: Path, most: int, known: Mapping[str, str] | None = None) -> dict[str, str] | None:
        """Takes a whole file; it appears by rename, complete or not at all.

        Args:
            path: The file's path in the folder.
            to: Where it shall be.
            most: The most bytes that it may have.
            known: Conditions, such as ``If-None-Match``.

        Returns:
            The answer's headers in small letters; None where the file is as it was known.

        Raises:
            MissingError: There is none.
            SourceError: It is too large, or the server packs it.
            NetworkError: The server does not answer, or refuses.
            StoreUnwritable: The disk has no room for it.
        """

        def ask() -> dict[str, str] | None:
            with self._asked(path, known or {}) as body:
                if body.status == 304:
                    return None
                if (body.length or 0) > most:
                    raise self._too_large(path, most)
                make_room(to.parent, self.address, body.length or 0)
                with writing(to) as temporary:
                    self._pour(body, temporary, path, most)
                return {name.lower(): value for name, value in body.headers.items()}

        return again(self.address, ask, THEN)

    def _pour(self, body: http.client.HTTPResponse, to: Path, path: str, most: int) -> None:
        """Writes an answer to a file.

        Raises:
            PassingError: It broke off.
            SourceError: It is too large.
        """
        size = 0
        with to.open("wb") as file:
            while True:
                try:
                    piece = body.read(PIECE)
                except (OSError, http.client.HTTPException) as error:
                    raise PassingError(f"{path} broke off after {size:,} bytes") from error
                if not piece:
                    break
                size += file.write(piece)
                self.received += len(piece)
                if size > most:
                    raise self._too_large(path, most)
        if body.length:
            raise PassingError(f"{path} broke off after {size:,} bytes")

    def part(self, path: str, start: int, end: int | None = None) -> tuple[int, int, bytes]:
        """Some bytes of a file.

        Args:
            path: The file's path in the folder.
            start: The first byte; below zero so many of the last ones.
            end: The byte after the last one; to the file's end by default.

        Returns:
            Where they begin, how large the file is, and the bytes.

        Raises:
            MissingError: There is no such file.
            NoRangesError: The server gives whole files only.
            NetworkError: The server does not answer, or refuses.
        """
        wanted = f"bytes={start}" if start < 0 else f"bytes={start}-{'' if end is None else end - 1}"

        def ask() -> tuple[int, int, bytes]:
            with self._asked(path, {"Range": wanted}) as body:
                told = _RANGE.fullmatch(body.headers.get("Content-Range", ""))
                if body.status != 206 or told is None:
                    raise NoRangesError(path)
                first, last, size = (int(told[number]) for number in (1, 2, 3))
                if not first <= last < size or (start >= 0 and (first, last + 1) != (start, end or size)):
                    raise NoRangesError(path)
                if start < 0 and last - first >= -start:
                    raise NoRangesError(path)
                try:
                    data = body.read(last + 1 - first)
                except (OSError, http.client.HTTPException) as error:
                    raise PassingError(f"{path} broke off") from error
                self.received += len(data)
                if len(data) != last + 1 - first:
                    raise PassingError(f"{path} broke off after {len(data):,} of {last + 1 - first:,} bytes")
                return first, size, data

        return again(self.address, ask, THEN)

    def _asked(self, path: str, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        """The answer for a file."""
        address = self.address + quote(path)
        told = {"Accept-Encoding": "identity", "User-Agent": "openrlb", **headers}
        request = urllib.request.Request(address, headers=told)  # noqa: S310 - the opener knows http and https alone
        self.requests += 1
        try:
            body: http.client.HTTPResponse = opener().open(request, timeout=TIMEOUT_SECONDS)
        except urllib.error.HTTPError as error:
            if error.code == 304:
                return error  # type: ignore[return-value]  # an answer without a body
            error.close()
            raise self._refusal(path, error.code) from error
        except (OSError, http.client.HTTPException) as error:
            raise PassingError(str(getattr(error, "reason", error)) or type(error).__name__) from error
        if body.headers.get("Content-Encoding", "identity") != "identity":
            body.close()
            why, fix = "the server packs its files, and they were asked for as they are", "have it serve them as they are"
            raise SourceError(f"{self.address} is not read", why, fix)
        return body

    def _refusal(self, path: str, status: int) -> OpenrlbError | PassingError | MissingError:
        """The error for an answer that is no file."""
        if status in (404, 410):
            return MissingError(path)
        if status in (401, 403):
            return NetworkError(f"{self.address} is not given to everybody", f"the server answers {status}", "ask its owner")
        if status in (408, 416, 425, 429) or status >= 500:
            return PassingError(f"the server answers {status}")
        return SourceError(f"{self.address} cannot be read", f"the server answers {status}", "check the address")

    def _too_large(self, path: str, most: int) -> SourceError:
        """The error for a file that nobody expects to be so large."""
        return SourceError(
            f"{self.address} is not read", f"{path} is larger than {most // 1024**2:,} MiB", "check that this is a store"
        )
