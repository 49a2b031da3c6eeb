"""A web server for bundles that counts what it is asked for, and fails on demand."""

from __future__ import annotations

import gzip
import hashlib
import re
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from folder_server import FolderServer


class BundleServer(FolderServer):
    """A folder at an address.

    Attributes:
        failures: Answers to give first, one after the other: a status, or ``cut`` for half of the file.
        ranges: Whether parts of files are given.
        packed: Whether files are sent gzipped, asked or not.
        hub: Whether it also answers as the Hugging Face hub does, for the data set ``lab/runs``.
    """

    def __init__(self, folder: Path) -> None:
        self.ranges, self.packed = True, False
        self.failures: list[int | str] = []
        super().__init__(folder)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None: ...

            def do_HEAD(self) -> None:
                self.answer(body=False)

            def do_GET(self) -> None:
                self.answer(body=True)

            def answer(self, body: bool) -> None:
                from urllib.parse import unquote

                path = unquote(self.path.split("?")[0])
                found = re.fullmatch(r"/datasets/lab/runs/resolve/([^/]+)/(.*)", path)
                path = found[2] if found else path.lstrip("/")
                wanted = self.headers.get("Range", "")
                if body:
                    server.asked.append((path, wanted))
                failure = server.failures.pop(0) if server.failures else 0
                if isinstance(failure, int) and failure:
                    self.say(failure, b"", body)
                    return
                file = server.folder / path
                if not file.is_file():
                    headers = {"X-Error-Code": "EntryNotFound"} if found and "lab/runs" in self.path else {}
                    self.say(404, b"", body, headers)
                    return
                data = file.read_bytes()
                status, headers = 200, {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": "c0ffee" * 6 + "c0ff"}
                if wanted and server.ranges:
                    start = int(wanted.removeprefix("bytes=").rstrip("-").split("-")[0])
                    status, headers["Content-Range"] = 206, f"bytes {start}-{len(data) - 1}/{len(data)}"
                    data = data[start:]
                if server.packed:
                    data, headers["Content-Encoding"] = gzip.compress(data), "gzip"
                self.say(status, data, body, headers, cut=failure == "cut")

            def say(self, status: int, data: bytes, body: bool, headers: dict[str, str] | None = None, cut: bool = False) -> None:
                self.send_response(status)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if body:
                    data = data[: len(data) // 2] if cut else data
                    self.wfile.write(data)
                    server.sent += len(data)
                self.close_connection = cut or self.close_connection

        return Handler
