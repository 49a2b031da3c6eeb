"""A web server in a thread of the test's process."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class FolderServer:
    """What the servers of a folder share: they start at a free port, note what they are asked for, and end.

    Attributes:
        folder: What they serve.
        asked: Each path that was asked for with its range, in order.
        sent: How many bytes of bodies went out.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.sent = folder, 0
        self.asked: list[tuple[str, str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who has seen enough hangs up
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        """Where it is, without a slash at its end."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def paths(self) -> list[str]:
        """What was asked for, each once, in order."""
        return list(dict.fromkeys(path for path, _ in self.asked))

    def stop(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        raise NotImplementedError
