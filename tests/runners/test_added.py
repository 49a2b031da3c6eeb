"""Where a user's own runner is registered, and whose name it may not have."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from own_runner import write_own

from openrlb.errors import UsageError
from openrlb.types import Finding
from openrlb_runners.added import conformance_state, keep_findings, not_part, register, registered, unregister
from openrlb_runners.spec import (
    RunnerWarning,
    find_runner,
    known_runners,
    own_folders,
    own_runners,
    read_runner,
    source_digest,
    source_files,
)


def registered_names() -> list[str]:
    return [path.name for path in own_folders()]


def test_a_registered_runner_is_found_with_its_files_as_they_are(tmp_path: Path) -> None:
    spec = write_own(tmp_path / "some folder")
    place = register(spec)
    assert (place.is_symlink(), place.name, registered_names()) == (True, "mine", ["mine"])
    assert register(spec) == place
    before = source_digest(source_files(find_runner("mine")))
    with (spec.folder / "contract.py").open("a") as file:
        file.write("# changed\n")
    assert source_digest(source_files(find_runner("mine"))) != before
    assert unregister("mine") == spec.folder
    assert (spec.folder / "run.py").is_file()
    assert registered("mine") is None


def test_files_that_it_reads_are_part_of_its_hash_and_others_are_named(tmp_path: Path) -> None:
    files = [('algorithms = ["walk"]', 'algorithms = ["walk"]\nfiles = ["table.csv"]')]
    spec = write_own(tmp_path / "mine", changes=files)
    with pytest.raises(UsageError, match=r"line 6: files.*table\.csv: No such file"):
        source_files(spec)
    (spec.folder / "table.csv").write_text("1")
    (spec.folder / "notes.txt").write_text("nobody reads this")
    (spec.folder / "package").mkdir()
    before = source_files(spec)
    assert set(before) == {"run.py", "contract.py", "table.csv"}
    (spec.folder / "table.csv").write_text("2")
    assert source_digest(source_files(spec)) != source_digest(before)
    assert not_part(spec) == ["notes.txt", "package"]


def test_names_that_are_taken_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a reference runner has it"):
        register(write_own(tmp_path / "one", name="sb3"))
    register(write_own(tmp_path / "two"))
    with pytest.raises(UsageError, match=r"lies in .*two"):
        register(write_own(tmp_path / "three"))
    with pytest.raises(UsageError, match="reference runner"):
        unregister("single_file")
    with pytest.raises(UsageError, match="there are: mine"):
        unregister("nine")


def test_a_folder_that_has_gone_is_named_and_can_be_replaced(tmp_path: Path, isolation: Path) -> None:
    spec = write_own(tmp_path / "first")
    register(spec)
    spec.folder.rename(tmp_path / "second")
    assert [path.name for path in own_runners()[1]] == ["mine"]
    with pytest.warns(RunnerWarning, match="the others are not harmed"):
        assert "mine" not in [one.name for one in known_runners()]
    with pytest.raises(UsageError, match=r"first has no runner\.toml any more"):
        find_runner("mine")
    register(read_runner(tmp_path / "second"))
    assert find_runner("mine").folder.resolve() == tmp_path / "second"
    shutil.rmtree(tmp_path / "second")
    assert unregister("mine") == tmp_path / "second"
    write_own(isolation / "runners" / "here")
    with pytest.raises(UsageError, match="no link but the folder itself"):
        unregister("here")


def test_what_the_suite_said_holds_until_a_file_changes(tmp_path: Path) -> None:
    spec = write_own(tmp_path / "mine")
    assert conformance_state(spec, "any") == "not checked"
    keep_findings(spec, "any", [Finding("walk: steps", True, "")])
    assert conformance_state(spec, "any") == "passed"
    keep_findings(spec, "any", [Finding("walk: steps", False, "", "mend"), Finding("walk: trains", True, "")])
    assert conformance_state(spec, "any") == "failed: walk: steps"
    for name in ("run.py", "lock/base.txt", "runner.toml"):
        before = (spec.folder / name).read_text()
        (spec.folder / name).write_text(f"{before}# changed\n")
        assert conformance_state(spec, "any") == "not checked", name
        (spec.folder / name).write_text(before)
    assert conformance_state(spec, "any").startswith("failed")
