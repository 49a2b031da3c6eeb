"""docs/verbs is what the program says of itself."""

from __future__ import annotations

from pathlib import Path

from openrlb.cli.reference import pages, write

ROOT = Path(__file__).resolve().parents[3]


def test_the_reference_is_up_to_date() -> None:
    kept = {path.name: path.read_text() for path in (ROOT / "docs/verbs").glob("*.md")}
    assert kept == pages(), "run: just docs"


def test_pages_of_verbs_that_are_no_more_go(tmp_path: Path) -> None:
    (tmp_path / "gone.md").write_text("old")
    write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(pages())
