"""CI is red for a package that has a known vulnerability, and only for one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

AUDIT = Path(__file__).resolve().parents[1] / ".ci" / "audit"
ADVISORY = {
    "id": "PYSEC-2019-217",
    "details": "A sandbox that can be left.",
    "modified": "2024-01-01T00:00:00Z",
    "affected": [{"package": {"name": "jinja2", "ecosystem": "PyPI"}, "versions": ["2.4.1"], "ranges": []}],
}


class Advisories(BaseHTTPRequestHandler):
    """Answers as OSV does: one package has an advisory."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        hit = asked["package"]["name"] == "jinja2" and asked["version"] == "2.4.1"
        answer = json.dumps({"vulns": [ADVISORY]} if hit else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *words: object) -> None:
        """Nothing."""


@pytest.fixture
def service() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Advisories)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/query"
    server.shutdown()
    server.server_close()


def audit(tmp_path: Path, packages: str, service: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "packages.txt").write_text(packages)
    words = [sys.executable, str(AUDIT), str(tmp_path / "packages.txt"), "-s", "osv", "--osv-url", service]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # Only what uv has fetched before: .ci/run audits before it tests.
    variables = {**os.environ, "PATH": path, "UV_OFFLINE": "1", "NO_PROXY": "127.0.0.1"}
    return subprocess.run(words, capture_output=True, text=True, env=variables, timeout=60, check=False)


def test_a_vulnerable_package_is_named_and_fails_and_others_do_not(tmp_path: Path, service: str) -> None:
    sound = audit(tmp_path, "six==1.17.0\n", service)
    assert sound.returncode == 0, sound.stderr
    if "skipped" in sound.stdout:
        pytest.skip("pip-audit is not in uv's cache: uv tool run pip-audit --version")
    assert sound.stdout == "pip-audit: no advisory against 1 packages, 0 are not known to the index\n"
    found = audit(tmp_path, "six==1.17.0\njinja2==2.4.1\n", service)
    assert found.returncode == 1 and found.stderr == "pip-audit: jinja2 2.4.1: PYSEC-2019-217\n"


def test_where_no_advisory_can_be_had_one_line_says_so(tmp_path: Path) -> None:
    done = audit(tmp_path, "six==1.17.0\n", "http://127.0.0.1:1/v1/query")
    assert done.returncode == 0 and done.stdout.startswith("pip-audit: skipped: no advisories can be had here")
