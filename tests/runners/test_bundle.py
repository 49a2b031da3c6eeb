"""A runner in one file: built where there is no network, and nothing in the file is trusted."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from package_index import PackageIndex
from typer.testing import Result

from openrlb import paths
from openrlb.errors import OpenrlbError, SourceError
from openrlb_runners import unbundle as unpacking
from openrlb_runners.bundle import find_wheels, make_bundle
from openrlb_runners.environment import child_variables
from openrlb_runners.locks import lock_files, pins_of, write_pins
from openrlb_runners.spec import RunnerSpec
from openrlb_runners.unbundle import unbundle

if TYPE_CHECKING:
    Maker = Callable[..., RunnerSpec]
    Cli = Callable[..., Result]


@pytest.fixture
def spec(index: PackageIndex, make_runner: Maker) -> RunnerSpec:
    """A runner of two packages, one of which has a wheel for another kind of machine, too."""
    index.add("part", "1.0")
    index.add("part", "1.0", tags="cp311-cp311-win_arm64")
    index.add("tool", "2.0", source="import part\nVERSION = part.VERSION\n", requires=("part",))
    return make_runner("tiny", "tool", preload=["tool"], run="print('hello')\n")


@pytest.fixture
def packed(spec: RunnerSpec, tmp_path: Path) -> Path:
    make_bundle(spec, "any", tmp_path / "tiny.tar")
    return tmp_path / "tiny.tar"


@pytest.fixture
def elsewhere(tmp_path: Path, index: PackageIndex, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another machine: an empty home, an empty cache of uv, and no network but a proxy that is not there."""

    def go() -> Path:
        index.stop()
        index.stop = lambda: None  # type: ignore[method-assign]
        home = tmp_path / "elsewhere"
        monkeypatch.setenv("OPENRLB_HOME", str(home))
        monkeypatch.setenv("UV_CACHE_DIR", str(home / "uv"))
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        return home

    return go()


def contents(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {one.name: archive.extractfile(one).read() for one in archive}  # type: ignore[union-attr]


def write(path: Path, files: Mapping[str, bytes], *more: tuple[tarfile.TarInfo, bytes]) -> Path:
    """A tar with these files in this order, as anybody could make one."""
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for member, data in more:
            archive.addfile(member, io.BytesIO(data))
    return path


def indexed(files: Mapping[str, bytes], **facts: Any) -> dict[str, bytes]:
    """The files with an index that fits them."""
    told = json.loads(files["bundle.json"]) | facts
    rest = {name: data for name, data in files.items() if name != "bundle.json"}
    told["files"] = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in rest.items()}
    return {"bundle.json": json.dumps(told).encode(), **rest}


def test_a_bundle_is_built_where_there_is_no_network(packed: Path, spec: RunnerSpec, cli: Cli, elsewhere: Path) -> None:
    wheels = {"wheels/part-1.0-py3-none-any.whl", "wheels/tool-2.0-py3-none-any.whl"}
    source = {"runner/run.py", "runner/runner.toml", "runner/lock/in.txt", "runner/lock/base.txt"}
    assert set(contents(packed)) == {"bundle.json", *source, *wheels}
    done = cli("runner", "unbundle", str(packed), "--json")
    assert done.exit_code == 0, done.output
    row = json.loads(done.stdout)
    assert (row["name"], row["torch"], row["built_before"]) == ("tiny", "any", False)
    said = subprocess.run(
        [row["python"], "-c", "import tool; print(tool.VERSION)"], env=child_variables(1), capture_output=True, text=True
    )
    assert said.stdout == "1.0\n"
    (listed,) = [one for one in json.loads(cli("runner", "list", "--json").stdout) if one["name"] == "tiny"]
    assert listed["built"] and Path(listed["folder"]) == (elsewhere / "runners" / "tiny").resolve()
    again = cli("runner", "unbundle", str(packed), "--json")
    assert again.exit_code == 0 and json.loads(again.stdout) == {**row, "built_before": True}
    assert not list((paths.cache_dir() / "bundles").iterdir())
    (elsewhere / "runners" / "tiny" / "run.py").write_text("print('mine')\n")
    other = cli("runner", "unbundle", str(packed))
    assert other.exit_code == 2 and "another runner tiny" in other.stderr


def test_equal_runners_are_equal_bytes(spec: RunnerSpec, tmp_path: Path) -> None:
    first, second = (make_bundle(spec, "any", tmp_path / name) for name in ("a.tar", "b.tar"))
    assert first.path.read_bytes() == second.path.read_bytes() and first.wheels == 2 and first.bytes == first.path.stat().st_size
    assert find_wheels(spec, lock_files(spec, "any"))[0].name == "part-1.0-py3-none-any.whl"


def test_a_wheel_that_is_not_the_locks_is_refused(
    spec: RunnerSpec, index: PackageIndex, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index has the page of before, and other bytes."""
    target = tmp_path / "tiny.tar"
    wheel = index.folder / "part" / "part-1.0-py3-none-any.whl"
    before = wheel.read_bytes()
    wheel.write_bytes(before + b"\0")
    refused = cli("runner", "bundle", "tiny", "-o", str(target))
    assert refused.exit_code == 1 and "sha256 differs" in refused.stderr and not target.exists()
    wheel.write_bytes(before)
    pins = [replace(pin, hashes=("0" * 64,)) if pin.name == "part" else pin for pin in pins_of(lock_files(spec, "any"))]
    (spec.lock_folder / "base.txt").write_bytes(write_pins(pins, "x"))
    refused = cli("runner", "bundle", "tiny", "-o", str(target))
    assert refused.exit_code == 1 and "part 1.0" in refused.stderr and not target.exists()
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "another"))
    index.stop()
    index.stop = lambda: None  # type: ignore[method-assign]
    refused = cli("runner", "bundle", "tiny", "-o", str(target))
    assert refused.exit_code == 5 and not target.exists() and not list(tmp_path.glob("*.tar*"))


LINK, DEVICE = tarfile.TarInfo("wheels/a.whl"), tarfile.TarInfo("wheels/b.whl")
LINK.type, LINK.linkname, DEVICE.type = tarfile.SYMTYPE, "/etc/passwd", tarfile.CHRTYPE


@pytest.mark.parametrize(
    "name",
    [
        "../evil.py",
        "/tmp/evil.py",
        "runner/../../evil.py",
        "runner/a/b.py",
        "wheels/.whl/x",
        "wheels\\evil.whl",
        "runner/..",
        "x",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(packed: Path, tmp_path: Path, elsewhere: Path, name: str) -> None:
    evil = write(tmp_path / "evil.tar", indexed({**contents(packed), name: b"x"}))
    with pytest.raises(SourceError, match="no sound bundle"):
        unbundle(evil)
    assert_nothing_came_of_it(elsewhere)


def assert_nothing_came_of_it(home: Path) -> None:
    left = [path for path in home.rglob("*") if path.is_file() and "uv" not in path.parts]
    assert left == []


def test_links_devices_bombs_and_lies_are_refused(
    packed: Path, tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = contents(packed)
    cases = {
        "a link": write(tmp_path / "1", good, (LINK, b"")),
        "a device": write(tmp_path / "2", good, (DEVICE, b"")),
        "a file twice": write(tmp_path / "3", good, (tarfile.TarInfo("runner/run.py"), b"")),
        "no index": write(tmp_path / "4", {name: data for name, data in good.items() if name != "bundle.json"}),
        "an index that is none": write(tmp_path / "5", {**good, "bundle.json": b"[1]"}),
        "other bytes": write(tmp_path / "6", {**good, "runner/run.py": b"print('other')\n"}),
        "one more wheel": write(tmp_path / "7", indexed({**good, "wheels/six-1.0-py3-none-any.whl": b"x"})),
        "another source": write(tmp_path / "8", indexed({**good, "runner/run.py": b"print('other')\n"})),
        "another lock": write(tmp_path / "9", indexed({**good, "runner/lock/base.txt": b"# nothing\n"})),
        "a name that leads elsewhere": write(tmp_path / "10", indexed(good, name="../tiny")),
        "a newer format": write(tmp_path / "11", indexed(good, format=2)),
        "no manifest": write(tmp_path / "12", indexed({name: data for name, data in good.items() if "toml" not in name})),
        "a compressed archive": compressed(tmp_path / "13", packed),
        "no archive": tmp_path / "14",
    }
    cases["no archive"].write_bytes(b"hello")
    cases["a folder"], cases["a pipe"] = tmp_path, tmp_path / "15"
    os.mkfifo(cases["a pipe"])
    for what, path in cases.items():
        with pytest.raises(SourceError, match="no sound bundle") as refused:
            unbundle(path)
        assert refused.value.exit_code == 1, what
    for name, most in (("MOST_FILES", 3), ("MOST_BYTES", 500), ("MOST_SMALL_BYTES", 100)):
        with monkeypatch.context() as patch, pytest.raises(SourceError, match="no sound bundle"):
            patch.setattr(unpacking, name, most)
            unbundle(packed)
    assert_nothing_came_of_it(elsewhere)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_of_gigabytes_is_not_read(tmp_path: Path, elsewhere: Path, kind: bytes) -> None:
    """``tarfile`` holds such a one in memory whole, and a file of holes costs its maker nothing."""
    path, member = tmp_path / "holes.tar", tarfile.TarInfo("x")
    member.type, member.size = kind, 2**30
    path.write_bytes(member.tobuf(tarfile.USTAR_FORMAT))
    os.truncate(path, 2**30 + 2048)
    with pytest.raises(SourceError, match="headers of a kind"):
        unbundle(path)
    assert_nothing_came_of_it(elsewhere)


def compressed(path: Path, packed: Path) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        archive.add(packed, "bundle.json")
    return path


def test_a_bundle_for_another_machine_or_that_is_not_there_says_so(
    packed: Path, tmp_path: Path, elsewhere: Path, cli: Cli
) -> None:
    other = write(tmp_path / "other.tar", indexed(contents(packed), machine="Plan9 mips, Python 3.11"))
    refused = cli("runner", "unbundle", str(other))
    assert refused.exit_code == 2 and "Plan9 mips" in refused.stderr
    missing = cli("runner", "unbundle", str(tmp_path / "none.tar"))
    assert missing.exit_code == 2 and "no such file" in missing.stderr
    assert_nothing_came_of_it(elsewhere)


def test_a_bundle_without_a_wheel_that_is_needed_builds_nothing(packed: Path, tmp_path: Path, elsewhere: Path, cli: Cli) -> None:
    files = {name: data for name, data in contents(packed).items() if not name.startswith("wheels/part")}
    refused = cli("runner", "unbundle", str(write(tmp_path / "less.tar", indexed(files))))
    assert refused.exit_code in (1, 5) and "tiny" in refused.stderr and "part" in refused.stderr
    assert not (elsewhere / "runners").exists() and not list((paths.cache_dir() / "environments").glob("*tiny-any-*py3*/*"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_refused_or_unharmed(packed: Path, tmp_path: Path, data: st.DataObject) -> None:
    """Cut anywhere, or a byte changed anywhere: a sentence, or it was padding; whatever is written is what was packed."""
    whole, good = packed.read_bytes(), contents(packed)
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = whole[:at] if data.draw(st.booleans()) else whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]
    (tmp_path / "damaged.tar").write_bytes(damaged)
    with tempfile.TemporaryDirectory() as folder:
        try:
            unpacking._unpack(tmp_path / "damaged.tar", Path(folder))
            sound = True
        except OpenrlbError as error:
            sound = False
            assert error.exit_code == 1
        written = {path.relative_to(folder).as_posix(): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}
    wanted = {name: data for name, data in good.items() if name != "bundle.json"}
    assert set(written) <= set(wanted) and (not sound or written == wanted)
