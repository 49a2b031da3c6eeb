"""A web server for the files of a store that counts what it is asked for, and fails on demand."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from folder_server import FolderServer


class StoreServer(FolderServer):
    """A folder at an address.

    Attributes:
        ranges: Whether parts of files are given.
        tags: Whether files have an ETag; else they have a date.
        failures: By path how the next answers fail: a status, ``cut`` for half a body, or a function that is called first.
        redirect: Where everything is redirected to.
        garbled: Paths whose bytes are replaced by others of that length.
    """

    def __init__(self, folder: Path) -> None:
        self.ranges, self.tags = True, True
        self.failures: dict[str, list[int | str | Callable[[], object]]] = {}
        self.redirect: str | None = None
        self.garbled: set[str] = set()
        super().__init__(folder)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{super().url}/"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None: ...

            def do_GET(self) -> None:
                path, wanted = unquote(self.path).lstrip("/"), self.headers.get("Range", "")
                server.asked.append((path, wanted))
                waiting = server.failures.get(path, [])
                failure = waiting.pop(0) if waiting else 0
                file = server.folder / path
                if callable(failure):
                    failure()
                if isinstance(failure, int) and failure:
                    self.say(failure, b"")
                elif server.redirect is not None:
                    self.say(302, b"", {"Location": server.redirect + self.path})
                elif not file.is_file():
                    self.say(404, b"no such file")
                else:
                    self.give(path, file.read_bytes(), self.tags(file), wanted, cut=failure == "cut")

            def give(self, path: str, data: bytes, headers: dict[str, str], wanted: str, cut: bool) -> None:
                size = len(data)
                if path in server.garbled:
                    data = b"\x5a" * size
                known = {self.headers.get("If-None-Match"), self.headers.get("If-Modified-Since")} - {None}
                if known & set(headers.values()):
                    self.say(304, b"")
                    return
                status = 200
                if wanted and server.ranges:
                    first, last = wanted.removeprefix("bytes=").split("-")
                    start = int(first) if first else max(0, size - int(last))
                    end = min(int(last), size - 1) if first and last else size - 1
                    status, headers["Content-Range"] = 206, f"bytes {start}-{end}/{size}"
                    data = data[start : end + 1]
                self.say(status, data, headers, cut)

            def tags(self, file: Path) -> dict[str, str]:
                if server.tags:
                    return {"ETag": f'"{hashlib.sha256(file.read_bytes()).hexdigest()[:20]}"'}
                return {"Last-Modified": formatdate(file.stat().st_mtime, usegmt=True)}

            def say(self, status: int, data: bytes, headers: dict[str, str] | None = None, cut: bool = False) -> None:
                self.send_response(status)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                if status != 304:
                    self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                data = data[: len(data) // 2] if cut else data
                self.wfile.write(data)
                server.sent += len(data)
                self.close_connection = self.close_connection or cut

        return Handler
