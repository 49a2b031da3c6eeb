"""docs/verbs is what the program says of itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import typer
from typer.testing import Result

from openrlb.cli.app import app, verbs
from openrlb.cli.reference import pages, write

ROOT = Path(__file__).resolve().parents[3]


def test_the_reference_is_up_to_date() -> None:
    kept = {path.name: path.read_text() for path in (ROOT / "docs/verbs").glob("*.md")}
    assert kept == pages(), "run: just docs"


def test_choices_and_ranges_are_written_as_help_does(cli: Callable[..., Result]) -> None:
    page, told = pages()["plot.md"], " ".join(cli("plot", "--help").stdout.split())
    for choices in ("<calibrated|percentile|basic|bca>", "<steps|frames|time>", "<table|tsv|csv|json|md>"):
        assert choices in told and choices.replace("|", "\\|") in page
    assert "[0\\<=x\\<=1]" in page and "0<=x<=1]" in told
    assert "`--pool` |" in page, "a flag without a value has neither"


def test_pages_of_verbs_that_are_no_more_go(tmp_path: Path) -> None:
    (tmp_path / "gone.md").write_text("old")
    write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(pages())


def test_the_variable_of_a_flag_is_named_as_the_flag() -> None:
    """A name of Python's own needs an underscore behind it (``license_``); nobody would type that in a variable."""
    flags = [(verb, one) for verb, command in verbs(typer.main.get_command(app)) for one in command.params]
    assert len(flags) > 100
    assert not [(verb, one.name) for verb, one in flags if one.name.endswith("_") and not one.envvar]
    assert not [one.envvar for _, one in flags if (one.envvar or "").endswith("_")]
