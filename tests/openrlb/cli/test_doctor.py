"""``openrlb doctor``: things are broken one by one, and each is named with what to do about it."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import importlib.metadata
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders import batch
from typer.testing import Result

from openrlb.api.doctor import doctor
from openrlb.store import Store
from openrlb.types import Finding
from openrlb_runners.spec import RunnerSpec

Cli = Callable[..., Result]


def problems() -> dict[str, Finding]:
    """What is wrong, by name; each problem has a fix, and nothing that is well has one."""
    findings = doctor().findings
    assert all(bool(finding.fix) != finding.ok for finding in findings), findings
    return {finding.what: finding for finding in findings if not finding.ok}


@pytest.fixture
def kept(store: Store) -> Store:
    """A store with a run that keeps a file."""
    data = b"train()"
    digest = hashlib.sha256(data).hexdigest()
    store.write([replace(batch("a", files={"run.py": digest}), blobs={"run.py": data})])
    store.fold()
    return store


def test_json_is_a_stable_shape_and_everything_is_looked_at(cli: Cli, kept: Store) -> None:
    done = cli("doctor", "--json")
    assert done.exit_code == 0, done.stdout
    report = json.loads(done.stdout)
    assert list(report) == ["ok", "rebuilt", "findings"] and report["ok"] is True and report["rebuilt"] is False
    assert all(list(finding) == ["what", "ok", "detail", "fix"] for finding in report["findings"])
    looked = [finding["what"] for finding in report["findings"]]
    for what in (
        "python",
        "openrlb",
        "home",
        "cache",
        "file locks",
        "settings",
        "wandb key",
        "uv program",
        "browser",
        "store",
        "studies",
    ):
        assert looked.count(what) == 1, what
    assert any(what.startswith("runner sb3") for what in looked)
    lines = cli("doctor", "--format", "table").stdout.splitlines()
    assert max(map(len, lines)) <= 80 and not any("PROBLEM" in line for line in lines)


def test_a_file_that_is_cut_off_and_one_that_was_exchanged(kept: Store) -> None:
    kept.write([batch("b", env="Ant-v4", points=3)])
    kept.fold()
    points = {path.parent.name: path for path in kept.layout.data.rglob("points-*.parquet")}
    whole = points["env=Hopper-v4"].read_bytes()
    points["env=Hopper-v4"].write_bytes(whole[:-10])
    found = problems()
    assert set(found) == {"data files"} and "cut off, or changed: 1" in found["data files"].detail
    points["env=Hopper-v4"].write_bytes(points["env=Ant-v4"].read_bytes())  # a whole file with other rows
    assert set(problems()) == {"data files"}
    points["env=Hopper-v4"].write_bytes(whole)
    assert problems() == {}


def test_a_kept_file_with_another_byte(kept: Store, cli: Cli) -> None:
    (blob,) = kept.layout.blobs.glob("[!.]*")
    blob.write_bytes(b"Train()")
    assert "not what was stored: 1" in problems()["kept files"].detail
    done = cli("doctor", "--format", "tsv")
    assert done.exit_code == 1 and "problems with kept files" in done.stderr
    assert any(line.startswith("PROBLEM\tkept files\t") for line in done.stdout.splitlines())


def test_a_catalog_that_is_garbage_is_named_and_made_again(kept: Store, cli: Cli) -> None:
    kept.layout.catalog.write_bytes(b"garbage" * 1000)
    assert "doctor --rebuild" in problems()["store"].fix
    assert cli("doctor", "--rebuild").exit_code == 0
    assert [row.record.run for row in kept.runs()] == ["a"]


def test_what_could_not_be_read_and_looks_and_studies_that_are_torn(kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    (kept.layout.spool / "broken.parquet").write_bytes(b"PAR1 no PAR1")
    (kept.layout.root / "looks.jsonl").write_text("{torn\n")
    (kept.layout.root / "hpo.db").write_bytes(b"no database" * 500)
    monkeypatch.setenv("OPENRLB_STORAGE", "sqlite:////nowhere/at/all.db")
    found = problems()
    assert set(found) == {"quarantine", "looks", "studies", "studies of OPENRLB_STORAGE"}
    assert "move it away" in found["studies"].fix and "runs in the store are not" in found["studies"].fix
    assert "running" not in found["studies"].fix, "a file is no server"
    assert "broken.parquet" in found["quarantine"].detail and "looks.jsonl" in found["looks"].detail


@pytest.mark.parametrize(
    ("text", "detail"),
    [("[plot\nlevel", "at line 1, column 6"), ("[plott]\n", "no verb has that name"), ("[plot]\nlevvel = 1\n", "no such option")],
)
def test_settings_that_are_no_settings_are_one_finding_among_the_others(
    cli: Cli, kept: Store, isolation: Path, text: str, detail: str
) -> None:
    everything = [one["what"] for one in json.loads(cli("doctor", "--json").stdout)["findings"]]
    (isolation / "config.toml").write_text(text)
    assert cli("list").exit_code == 2, "every other verb refuses them"
    done = cli("doctor", "--json")
    findings = json.loads(done.stdout)["findings"]
    assert done.exit_code == 1 and [one["what"] for one in findings] == everything
    (wrong,) = [one for one in findings if not one["ok"]]
    assert wrong["what"] == "settings" and detail in wrong["detail"] and wrong["fix"]


def test_a_value_that_its_option_does_not_take_is_a_finding_too(cli: Cli, kept: Store, isolation: Path) -> None:
    (isolation / "config.toml").write_text("[plot]\nlevel = 'high'\n[runner.install]\ntorch = 'cpu'\n[list]\nsort = ['score']\n")
    assert cli("plot").exit_code == 2
    (wrong,) = [one for one in json.loads(cli("doctor", "--json").stdout)["findings"] if not one["ok"]]
    assert wrong["what"] == "settings" and "--level does not take 'high'" in wrong["detail"]
    assert str(isolation / "config.toml") in wrong["detail"]
    (isolation / "config.toml").write_text("[plot]\nlevel = 0.9\nby = ['algo']\n[runner.install]\ntorch = 'cpu'\n")
    assert cli("doctor").exit_code == 0


def test_a_home_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OPENRLB_HOME", str(tmp_path / "file" / "home"))
    done = cli("doctor", "--json")
    report = json.loads(done.stdout)
    wrong = {finding["what"]: finding for finding in report["findings"] if not finding["ok"]}
    assert done.exit_code == 1 and {"home", "cache"} <= set(wrong)
    assert "set OPENRLB_HOME" in wrong["home"]["fix"]


def test_a_disk_that_is_nearly_full(monkeypatch: pytest.MonkeyPatch, small_disk: Path) -> None:
    monkeypatch.setenv("OPENRLB_HOME", str(small_disk))
    found = problems()
    assert set(found) == {"home", "cache"} and "0.0 GB free" in found["home"].detail and "free some space" in found["home"].fix


def test_a_file_system_without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOSYS, "not implemented")

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", none)
        assert "local disk" in problems()["file locks"].fix
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)  # every lock is given to everybody
    assert "gives one lock to two processes" in problems()["file locks"].detail


def test_the_wandb_key_is_there_or_not_and_never_told(monkeypatch: pytest.MonkeyPatch, cli: Cli, isolation: Path) -> None:
    def said() -> str:
        done = cli("doctor", "--json")
        assert secret not in done.output
        return next(str(one["detail"]) for one in json.loads(done.stdout)["findings"] if one["what"] == "wandb key")

    secret = "0123456789abcdef" * 3
    assert said().startswith("none;")
    monkeypatch.setenv("WANDB_API_KEY", secret)
    assert said() == "there is one, from WANDB_API_KEY"
    monkeypatch.setenv("WANDB_API_KEY", f"{secret}\n")
    assert "a line's end" in said() and cli("doctor").exit_code == 1
    monkeypatch.delenv("WANDB_API_KEY")
    (isolation / "netrc").write_text(f"machine api.wandb.ai\n  login user\n  password {secret}\n")
    assert said() == "there is one, from a token or netrc file"


def test_uv_a_browser_a_package_and_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, isolation: Path) -> None:
    def find(path: str | None) -> str:
        if path is None:
            raise FileNotFoundError("no uv anywhere")
        return path

    def version(name: str) -> str:
        if name == "arch":
            raise importlib.metadata.PackageNotFoundError(name)
        return known(name)

    known = importlib.metadata.version
    broken = tmp_path / "uv"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    (isolation / "config.toml").write_text("[plot\n")
    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr("uv.find_uv_bin", lambda: find(None))
    found = problems()
    assert set(found) == {"uv program", "settings", "arch", "rliable pins"}
    assert found["uv program"].detail == "no uv anywhere" and "config.toml" in found["settings"].fix
    monkeypatch.setattr("uv.find_uv_bin", lambda: find(str(broken)))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "does not start" in problems()["uv program"].detail
    chromium = tmp_path / "chromium"
    chromium.write_text("#!/bin/sh\n")
    chromium.chmod(0o755)
    assert {one.what: one.detail for one in doctor().findings}["browser"] == "chromium"


def test_runners_without_a_lock_and_environments_without_a_python(
    make_runner: Callable[..., RunnerSpec], isolation: Path, fake: Path
) -> None:
    make_runner("unlocked", lock=False)
    environments = isolation / "cache" / "environments"
    told = {one.what: one for one in doctor().findings}
    assert told["runner fake"].detail.startswith("built, ") and told["environments"].ok
    assert not told["runner unlocked"].ok and "openrlb runner check unlocked" in told["runner unlocked"].fix
    mine = isolation / "own cache"
    mine.mkdir()
    environments.unlink()
    (isolation / "cache" / "environments").symlink_to(mine, target_is_directory=True)
    (mine / "old-any-0123").mkdir()
    (mine / "old-any-0123" / "openrlb.json").write_text("{}")
    (mine / ".building-x").mkdir()
    found: dict[str, Any] = problems()
    assert "the Python of old-any-0123 is gone" in found["environments"].detail
    assert any(one.what == "unfinished environments" and one.ok for one in doctor().findings)
