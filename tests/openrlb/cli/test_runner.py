"""``openrlb runner``: what a person types and sees."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from package_index import PackageIndex
from typer.testing import Result

if TYPE_CHECKING:
    from openrlb_runners.environment import Environment
    from openrlb_runners.spec import RunnerSpec

    Cli = Callable[..., Result]
    Maker = Callable[..., RunnerSpec]


def listed(cli: Cli, *words: str) -> Any:
    done = cli("runner", *words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_the_list_names_each_runner_and_variant(cli: Cli, index: PackageIndex, make_runner: Maker) -> None:
    index.add("tool")
    make_runner("tiny", "tool")
    make_runner("lockless", "tool", lock=False)
    rows = {(row["name"], row["torch"]): row for row in listed(cli, "list")}
    reference = {("sb3", "cpu"), ("sb3", "cuda"), ("sbx", "cpu"), ("single_file", "cpu")}
    assert set(rows) == {*reference, ("tiny", "any"), ("lockless", "any")}
    assert {"ppo", "sac", "tqc"} <= set(rows["sb3", "cpu"]["algorithms"])
    assert rows["tiny", "any"]["packages"] == 1
    assert len(rows["tiny", "any"]["lock"]) == 64
    assert not rows["tiny", "any"]["built"]
    assert rows["lockless", "any"]["lock"] is None
    assert "lock/base.txt" in rows["lockless", "any"]["problem"]
    assert cli("runner", "list").stdout.splitlines()[0].split("\t")[:3] == ["name", "torch", "algorithms"]
    assert "has no lock" in " ".join(cli("runner", "list", "--format", "table").stdout.split())


def test_install_says_what_it_builds_and_where_it_is(cli: Cli, index: PackageIndex, make_runner: Maker) -> None:
    index.add("tool")
    make_runner("tiny", "tool", **{"cost.any": {"download_mb": 3, "disk_mb": 9, "seconds": 2}})
    planned = cli("runner", "install", "tiny", "--dry-run", "--json")
    assert json.loads(planned.stdout)["built"] is False
    assert "3 MB to download, 9 MB on disk, 2 s" in planned.stderr
    done = cli("runner", "install", "tiny", "--json")
    assert done.exit_code == 0, done.output
    row = json.loads(done.stdout)
    assert (row["built"], row["built_before"], row["packages"]) == (True, False, 1)
    assert "1 packages from the lock" in done.stderr
    again = cli("runner", "install", "tiny", "--json")
    assert json.loads(again.stdout) == {**row, "built_before": True}
    assert again.stderr == ""
    assert next(row for row in listed(cli, "list") if row["name"] == "tiny")["built"]


def test_lock_shows_the_difference_and_check_only_looks(cli: Cli, index: PackageIndex, make_runner: Maker) -> None:
    for version in ("1.0", "1.1"):
        index.add("tool", version)
    spec = make_runner("tiny", "tool==1.0")
    assert cli("runner", "lock", "tiny", "--check").exit_code == 0
    (spec.lock_folder / "in.txt").write_text("tool==1.1\n")
    checked = cli("runner", "lock", "tiny", "--check")
    assert checked.exit_code == 1
    assert checked.stdout.splitlines() == ["file\tpackage\tbefore\tafter", "base.txt\ttool\t1.0\t1.1"]
    assert cli("runner", "check", "tiny").exit_code == 1
    written = cli("runner", "lock", "tiny", "--json")
    assert written.exit_code == 0
    assert json.loads(written.stdout)["changes"] == [{"package": "tool", "file": "base.txt", "before": "1.0", "after": "1.1"}]
    assert "was replaced: 1 packages differ" in written.stderr
    assert "is up to date" in cli("runner", "lock", "tiny").stderr
    assert cli("runner", "check", "tiny").exit_code == 0


def test_check_counts_what_is_wrong(cli: Cli, index: PackageIndex, make_runner: Maker) -> None:
    index.add("tool")
    spec = make_runner("tiny", "tool", preload=["tool"])
    found = cli("runner", "check", "tiny", "--json")
    assert found.exit_code == 0
    assert "not built" in json.loads(found.stdout)["findings"][-1]["detail"]
    cli("runner", "install", "tiny")
    report = json.loads(cli("runner", "check", "tiny", "--json").stdout)
    assert report["ok"]
    assert [finding["what"] for finding in report["findings"]] == [
        *("lock any", "packages", "files", "dependencies", "imports", "training")
    ]
    (spec.lock_folder / "base.txt").write_text("tool==1.0 --index-url https://example.org\n")
    broken = cli("runner", "check", "tiny")
    assert broken.exit_code == 1
    assert "is no version with sha256 hashes" in broken.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["install", "sb33"], 2, "did you mean sb3?"),
        (["install", "sb3", "--torch", "rocm"], 2, "it has: cpu, cuda"),
        (["check", "sb3", "--torch", "rocm"], 2, "it has: cpu, cuda"),
        (["install", "lockless"], 1, "openrlb runner lock lockless"),
        (["lock", "lockless"], 1, "lock/in.txt"),
        (["check", "lockless"], 1, ""),
        (["lock", "nothing"], 2, "there is no runner 'nothing'"),
        (["list", "-o", "x.pdf"], 2, "names no format"),
    ],
)
def test_errors_are_three_lines_and_an_exit_code(cli: Cli, make_runner: Maker, words: list[str], code: int, said: str) -> None:
    spec = make_runner("lockless", lock=False)
    (spec.lock_folder / "in.txt").unlink()
    done = cli("runner", *words)
    assert done.exit_code == code, done.output
    assert said in done.output
    if words[0] != "check" or code == 2:
        assert [line[:6] for line in done.stderr.splitlines()[-3:]] == ["error:", "  why:", "  fix:"]


def test_a_user_runner_that_is_broken_does_not_harm_ours(cli: Cli, make_runner: Maker) -> None:
    spec = make_runner("mine", lock=False)
    (spec.folder / "runner.toml").write_text("name = \n")
    assert cli("runner", "install", "sb3", "--torch", "cpu", "--dry-run").exit_code == 0
    row = next(one for one in listed(cli, "list") if one["name"] == "mine")
    assert ("line 1" in row["problem"], row["built"], row["conformance"]) == (True, False, "not checked")
    for words in (["check", "mine"], ["install", "mine"]):
        assert cli("runner", *words).exit_code == 2
    planned = cli("run", "ppo", "--env", "CartPole-v1", "--dry-run", "--json")
    assert planned.exit_code == 0
    assert "warning: mine is no runner: runner.toml: Invalid value (at line 1" in planned.stderr


def test_settings_and_variables_reach_the_verbs_of_a_group(
    cli: Cli, make_runner: Maker, index: PackageIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pathlib import Path

    Path("openrlb.toml").write_text('[runner.install]\ntorch = "cuda"\n')
    assert listed(cli, "install", "sb3", "--dry-run")["torch"] == "cuda"
    monkeypatch.setenv("OPENRLB_RUNNER_INSTALL_TORCH", "cpu")
    assert listed(cli, "install", "sb3", "--dry-run")["torch"] == "cpu"
    for text, said in (
        ('[runner.instal]\ntorch = "cpu"', "[runner.install]"),
        ("[runner.install]\ntorc = 1", "did you mean torch"),
    ):
        Path("openrlb.toml").write_text(text)
        done = cli("runner", "list")
        assert done.exit_code == 2
        assert said in done.stderr


def test_the_sb3_runner_passes_its_own_check(cli: Cli, sb3_environment: Environment) -> None:
    rows = {(row["name"], row["torch"]): row for row in listed(cli, "list")}
    assert rows["sb3", "cpu"]["built"]
    assert rows["sb3", "cpu"]["lock"] == sb3_environment.lock
    assert rows["sb3", "cpu"]["size_mb"] > 100
    report = listed(cli, "check", "sb3", "--torch", "cpu")
    assert [finding for finding in report["findings"] if not finding["ok"]] == []
    assert "equal in two processes" in report["findings"][-1]["detail"]
