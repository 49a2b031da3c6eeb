"""sdist -> wheel: every module and every plain file that openrlb needs is in it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "openrlb": ROOT,
    "openrlb_hpo": ROOT / "hpo",
    "openrlb_runners": ROOT / "runners",
    "openrlb_analysis": ROOT / "analysis",
}
ASSETS = ("hpo/spaces", "runners/reference", "runners/template", "runners/examples", "analysis/recipes")


def files_below(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    with zipfile.ZipFile(next(out.glob("*.whl"))) as wheel:
        return set(wheel.namelist())


def test_every_file_of_the_four_packages_is_in_the_wheel(contents: set[str]) -> None:
    for package, parent in PACKAGES.items():
        expected = {f"{package}/{name}" for name in files_below(parent / package)}
        assert expected <= contents, expected - contents
    assert {f"{package}/py.typed" for package in PACKAGES} <= contents


def test_every_plain_file_is_in_the_wheel_once(contents: set[str]) -> None:
    for folder in ASSETS:
        expected = {f"openrlb/_assets/{folder}/{name}" for name in files_below(ROOT / folder)}
        assert expected
        assert expected <= contents
    assert {"openrlb/sample/bundle.json", "openrlb_analysis/figures/page.css"} <= contents


def test_nothing_else_enters_site_packages(contents: set[str]) -> None:
    tops = {name.split("/")[0] for name in contents}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
