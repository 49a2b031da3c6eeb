"""A package index on this machine, with packages that hold what a test needs."""

from __future__ import annotations

import base64
import hashlib
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def write_wheel(
    folder: Path, name: str, version: str, files: dict[str, str], requires: tuple[str, ...] = (), tags: str = "py3-none-any"
) -> Path:
    """A real wheel: its modules, its metadata and their hashes."""
    information = f"{name.replace('-', '_')}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + "".join(
        f"Requires-Dist: {one}\n" for one in requires
    )
    contents = {**files, f"{information}/METADATA": metadata, f"{information}/WHEEL": f"Wheel-Version: 1.0\nTag: {tags}\n"}
    record = ""
    for path, text in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(text.encode())}\n"
    contents[f"{information}/RECORD"] = record + f"{information}/RECORD,,\n"
    wheel = folder / f"{name.replace('-', '_')}-{version}-{tags}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in contents.items():
            archive.writestr(zipfile.ZipInfo(path), text)  # a fixed date: equal contents are equal bytes
    return wheel


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None: ...

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")  # uv would not look again at once
        super().end_headers()


class PackageIndex:
    """Packages at an address, as pip and uv know them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def add(
        self,
        name: str,
        version: str = "1.0",
        source: str = "",
        requires: tuple[str, ...] = (),
        tags: str = "py3-none-any",
        files: dict[str, str] | None = None,
    ) -> Path:
        """A package with one module of its own name."""
        place = self.folder / name
        place.mkdir(exist_ok=True)
        module = f"{name.replace('-', '_')}.py"
        wheel = write_wheel(place, name, version, {module: source or f"VERSION = {version!r}\n", **(files or {})}, requires, tags)
        self.write_page(place)
        return wheel

    def remove(self, name: str, version: str) -> None:
        """Takes a version away."""
        for wheel in (self.folder / name).glob(f"{name.replace('-', '_')}-{version}-*.whl"):
            wheel.unlink()
        self.write_page(self.folder / name)

    def stop(self) -> None:
        """Ends the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @staticmethod
    def write_page(place: Path) -> None:
        """The page of links of a folder of wheels."""
        links = [
            f'<a href="{wheel.name.replace("+", "%2B")}#sha256={hashlib.sha256(wheel.read_bytes()).hexdigest()}">{wheel.name}</a>'
            for wheel in sorted(place.glob("*.whl"))
        ]
        (place / "index.html").write_text("<!DOCTYPE html><html><body>" + "\n".join(links) + "</body></html>")
