"""``-o``: looked at before anything is computed; what was written, made and replaced is said."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from compared_runs import fill, group
from typer.testing import Result

import openrlb
from openrlb.cli.app import Talk
from openrlb.errors import StoreUnwritable
from openrlb.store import Store

Cli = Callable[..., Result]
LITTLE = ("--resamples", 200)


@pytest.fixture
def runs(store: Store) -> Store:
    fill(store, [*group("ppo", 500.0, 3), *group("a2c", 300.0, 3)])
    return store


def test_a_table_of_numbers_names_its_file_the_folder_it_made_and_what_it_replaced(cli: Cli, runs: Store, tmp_path: Path) -> None:
    target = tmp_path / "new" / "x.csv"
    first = cli("plot", "--table", "-o", target, *LITTLE)
    assert first.exit_code == 0 and first.stderr.splitlines()[-2:] == [f"made the folder {target.parent}", f"written: {target}"]
    again = cli("plot", "--table", "-o", target, *LITTLE)
    assert again.stderr.splitlines()[-1] == f"replaced: {target}"
    assert "made the folder" not in again.stderr and "written:" not in again.stderr
    assert "written" not in cli("-q", "plot", "--table", "-o", target, *LITTLE).stderr


def test_every_file_of_a_figure_that_is_replaced_is_named_and_no_other(cli: Cli, runs: Store, tmp_path: Path) -> None:
    (tmp_path / "figure.svg").write_text("of another figure")
    (tmp_path / "fig-notes.txt").write_text("somebody's own, with a name like that")
    first = cli("plot", "-o", tmp_path / "fig.svg", *LITTLE)
    assert first.exit_code == 0 and "replaced" not in first.stderr and "written:" not in first.stderr, (
        "the figure is named anyway"
    )
    again = cli("plot", "-o", tmp_path / "fig.svg", *LITTLE).stderr.splitlines()[-1]
    names = ["fig-caption.tex", "fig-numbers.csv", "fig-sources.bib", "fig.svg"]
    assert again == f"replaced: {', '.join(str(tmp_path / name) for name in names)}"


def test_what_a_shell_or_somebody_else_writes_beside_a_figure_is_not_said_to_be_replaced(
    cli: Cli, runs: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = tmp_path / "fig.txt"
    said.write_text("opened by a shell: openrlb plot -o fig.svg > fig.txt")

    def told(self: Talk, text: str) -> None:
        with said.open("a") as handle:
            handle.write(text)
        lines.append(text)

    lines: list[str] = []
    monkeypatch.setattr(Talk, "say", told)
    assert cli("plot", "-o", tmp_path / "fig.svg", *LITTLE).exit_code == 0
    assert lines and not [line for line in lines if "replaced" in line]


def test_what_a_link_leads_to_is_written_and_the_link_stays(cli: Cli, runs: Store, tmp_path: Path) -> None:
    (tmp_path / "paper").mkdir()
    target, link, loose = tmp_path / "paper" / "x.csv", tmp_path / "x.csv", tmp_path / "y.csv"
    target.write_text("old")
    link.symlink_to(target)
    loose.symlink_to(tmp_path / "paper" / "new.csv")
    assert cli("list", "-o", link).stderr.splitlines()[-1] == f"replaced: {link}"
    assert cli("export", "--runs", "-o", loose).exit_code == 0
    assert link.is_symlink() and loose.is_symlink()
    assert target.read_text().startswith("run,") and (tmp_path / "paper" / "new.csv").read_text().startswith("run,")


def test_no_file_takes_the_place_of_a_pipe_or_a_device(cli: Cli, runs: Store, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.csv")
    (tmp_path / "y.csv").symlink_to("/dev/null")
    for name in ("x.csv", "y.csv"):
        done = cli("list", "-o", tmp_path / name)
        assert done.exit_code == 1 and "it is a device or a pipe" in done.stderr
    assert (tmp_path / "x.csv").is_fifo() and Path("/dev/null").is_char_device()


def test_the_page_that_plot_writes_by_default_is_no_exception(
    cli: Cli, runs: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "replaced" not in cli("plot", *LITTLE).stderr
    assert cli("plot", *LITTLE).stderr.splitlines()[-1] == "replaced: iqm.html"


@pytest.mark.parametrize(
    "words",
    [
        "plot -o {}.html",
        "plot --table -o {}.csv",
        "report -o {}.html",
        "export -o {}.csv",
        "export --bundle {}",
        "list -o {}.csv",
    ],
)
def test_a_place_that_cannot_be_written_is_refused_before_anything_is_read(
    cli: Cli, tmp_path: Path, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(Store, "runs", lambda *_, **__: pytest.fail("the store was read first"))
    done = cli(*words.format(tmp_path / "file" / "x").split())
    lines = done.stderr.splitlines()
    assert (
        done.exit_code == 1 and len(lines) == 3 and "cannot be written" in lines[0] and "a folder that you can write" in lines[2]
    )


def test_a_folder_is_no_file(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "x.csv").mkdir()
    done = cli("list", "-o", tmp_path / "x.csv")
    assert done.exit_code == 1 and "it is a folder" in done.stderr


def test_python_refuses_before_it_computes_too(runs: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for write in (lambda path: openrlb.report(output=path / "x.html"), lambda path: openrlb.export(path / "x.csv")):
        with pytest.raises(StoreUnwritable, match="cannot be written"):
            write(tmp_path / "file")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"], "looking leaves nothing behind"
