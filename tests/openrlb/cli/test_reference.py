"""docs/cli.md is what the program says of itself."""

from __future__ import annotations

from pathlib import Path

from openrlb.cli.reference import reference

ROOT = Path(__file__).resolve().parents[3]


def test_the_reference_is_up_to_date() -> None:
    assert (ROOT / "docs/cli.md").read_text() == reference(), "run: just docs"


def test_the_readme_names_only_flags_that_exist() -> None:
    import re

    known = set(re.findall(r"`(--[a-z-]+)`", reference())) | {"--version", "--json", "--help"}
    used = set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", (ROOT / "README.md").read_text()))
    assert used <= known, used - known
