"""The traps that decision 12 names: the tests that stand against them are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_trap_has_a_test_that_is_there() -> None:
    page = (ROOT / "docs/adr/0012-launchers.md").read_text(encoding="utf-8").partition("## Traps")[2]
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith("| trap")]
    named = set(re.findall(r"`(test_\w+)`", page))
    written = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"(?m)^def (test_\w+)", path.read_text("utf-8"))
    }
    assert len(rows) == 11 and all(re.search(r"`test_\w+`", row) for row in rows)
    assert named <= written, sorted(named - written)
