"""A real browser for tests, driven over DevTools' pipe: pages at any width, keys, media, console, prints."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SECONDS = 60.0


class Browser:
    """One page of a headless Chromium.

    Args:
        profile: A fresh folder.

    Attributes:
        said: What the page wrote on the console, errors that it raised, and what its policy refused.
        asked: The addresses that it asked for.
    """

    def __init__(self, profile: Path) -> None:
        chromium = shutil.which("chromium")
        if chromium is None:
            pytest.skip("no chromium on this machine, so the page was not opened")
        commands, self._out = os.pipe()
        self._in, answers = os.pipe()
        command = [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank",
        ]  # fmt: skip
        theirs = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 10) for one in (commands, answers)]  # none of them is 3 or 4
        places = [(os.POSIX_SPAWN_DUP2, one, place) for one, place in zip(theirs, (3, 4), strict=True)]
        silent = [(os.POSIX_SPAWN_OPEN, place, os.devnull, os.O_RDWR, 0) for place in (0, 1, 2)]
        self._process = os.posix_spawn(chromium, command, os.environ, file_actions=[*silent, *places])
        for one in (commands, answers, *theirs):
            os.close(one)
        self._buffer, self._number = b"", 0
        self.said: list[str] = []
        self.asked: list[str] = []
        self._session = ""

    def begin(self) -> None:
        """Takes a page."""
        target = self._send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._send(f"{domain}.enable")

    def open(self, path: Path, *, width: int = 1200, height: int = 900, dark: bool = False, fragment: str = "") -> None:
        """Opens a file and waits until every figure that can be seen is drawn."""
        self._send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)
        look = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._send("Emulation.setEmulatedMedia", media="", features=look)
        self._send("Page.navigate", url=path.as_uri() + fragment)
        self.until("document.readyState === 'complete'")
        figures = "[...document.querySelectorAll('.plot')].filter((box) => !box.closest('details:not([open])'))"
        self.until(f"{figures}.every((box) => box.querySelector('.main-svg'))")

    def value(self, script: str) -> Any:
        """What a script gives; promises are awaited."""
        answer = self._send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, script: str) -> None:
        """Waits until a script gives something true."""
        end = time.monotonic() + SECONDS
        while not self.value(f"Boolean({script})"):
            assert time.monotonic() < end, f"never true: {script}; the page said {self.said}"
            time.sleep(0.02)

    def press(self, key: str, *, shift: bool = False) -> None:
        """Presses a key: ``Tab``, ``Enter``, or a letter."""
        codes = {"Tab": 9, "Enter": 13, " ": 32, "ArrowDown": 40, "Escape": 27}
        text = {"Enter": "\r", " ": " "}.get(key, key if len(key) == 1 else "")
        about = {
            "key": key,
            "code": key,
            "windowsVirtualKeyCode": codes.get(key, ord(key[0].upper())),
            "modifiers": 8 if shift else 0,
        }
        self._send("Input.dispatchKeyEvent", type="keyDown", text=text, **about)
        self._send("Input.dispatchKeyEvent", type="keyUp", **about)

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """Saves what the page looks like."""
        found = self._send("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def printed(self) -> bytes:
        """The page as a PDF."""
        return base64.b64decode(self._send("Page.printToPDF", printBackground=False)["data"])

    def close(self) -> None:
        """Ends the browser."""
        os.close(self._out)
        os.close(self._in)
        os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)

    def _send(self, method: str, **params: Any) -> dict[str, Any]:
        """Asks for something and takes the answer; what is told meanwhile is kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        data = json.dumps({**message, "sessionId": self._session} if self._session else message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                found: dict[str, Any] = answer["result"]
                return found
            self._hear(answer)

    def _receive(self) -> Any:
        """The next message."""
        while b"\0" not in self._buffer:
            more = os.read(self._in, 1 << 20)
            assert more, "the browser has gone"
            self._buffer += more
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _hear(self, event: Any) -> None:
        """Keeps what the page said and asked for."""
        params = event.get("params", {})
        if event.get("method") == "Runtime.consoleAPICalled":
            self.said.append(" ".join(str(one.get("value", one.get("description"))) for one in params["args"]))
        elif event.get("method") == "Runtime.exceptionThrown":
            self.said.append(str(params["exceptionDetails"]))
        elif event.get("method") == "Log.entryAdded":
            self.said.append(params["entry"]["text"])
        elif event.get("method") == "Network.requestWillBeSent" and not params["request"]["url"].startswith(("data:", "blob:")):
            self.asked.append(params["request"]["url"])


@contextmanager
def opened_browser(profile: Path) -> Iterator[Browser]:
    """A browser that is ended whatever happens."""
    browser = Browser(profile)
    try:
        browser.begin()
        yield browser
    finally:
        browser.close()
