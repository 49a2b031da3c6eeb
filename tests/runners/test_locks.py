"""Locks: versions and hashes and nothing else, made the same every time."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from package_index import PackageIndex, write_wheel

from openrlb.errors import LockError, NetworkError, UsageError
from openrlb_runners.inspection import look_at_lock, look_at_platforms
from openrlb_runners.locking import changes, make_lock, present_lock, write_lock
from openrlb_runners.locks import Pin, lock_digest, lock_files, needed_here, pins_of, read_pins, write_pins
from openrlb_runners.spec import RunnerSpec, find_runner, reference_runners

HASH = "sha256:" + "ab" * 32
pins = st.builds(
    Pin,
    name=st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,8}[a-z0-9])?", fullmatch=True),
    version=st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){0,2}(rc1|\.post1)?(\+cpu)?", fullmatch=True),
    marker=st.sampled_from(["", "sys_platform == 'linux'", "(python_full_version < '3.12') and (sys_platform != 'linux')"]),
    hashes=st.sets(st.binary(min_size=32, max_size=32).map(bytes.hex), min_size=1, max_size=3).map(
        lambda many: tuple(sorted(many))
    ),
)


@given(st.lists(pins, max_size=5, unique=True))
def test_what_is_written_is_read_back_and_the_order_does_not_matter(some: list[Pin]) -> None:
    data = write_pins(some, "Made by a test")
    assert set(read_pins("base.txt", data)) == set(some)
    assert write_pins(reversed(some), "Made by a test") == data


@pytest.mark.parametrize(
    "line",
    [
        "six==1.0",
        f"six>=1.0 --hash={HASH}",
        f"six==1.* --hash={HASH}",
        f"six @ https://example.org/six.whl --hash={HASH}",
        f"-e . --hash={HASH}",
        "--index-url https://example.org/simple",
        "--find-links /wheels",
        "-r other.txt",
        "six==1.0 --hash=md5:" + "0" * 32,
        "six==1.0 --hash=sha256:0",
        f"six==1.0 --hash={HASH} # https://example.org",
        f"six[extra]==1.0 --hash={HASH}",
    ],
)
def test_a_line_that_is_more_or_less_than_a_version_and_hashes_is_refused(line: str) -> None:
    with pytest.raises(LockError, match=r"base\.txt was not understood"):
        read_pins("base.txt", f"# a comment\nattrs==1.0 --hash={HASH}\n{line}\n".encode())


def test_bytes_that_are_no_text_and_names_that_leave_the_folder_are_refused() -> None:
    with pytest.raises(LockError, match="is no lock"):
        read_pins("base.txt", b"\xff\xfe")
    with pytest.raises(LockError, match="no plain one"):
        pins_of({"../base.txt": b""})


@pytest.mark.parametrize("spec", reference_runners(), ids=lambda spec: spec.name)
def test_no_lock_of_ours_names_an_address_or_a_machine(spec: RunnerSpec) -> None:
    files = sorted(spec.lock_folder.iterdir())
    assert {path.name for path in files} >= {"in.txt", "base.txt"}
    for path in files:
        text = path.read_text()
        assert "://" not in text, path
        assert not re.search(r"(^|\s)[/~]|\w+\.(org|com|net|io)\b", text), path
        if path.name != "in.txt":
            assert read_pins(path.name, path.read_bytes())


@pytest.mark.parametrize("spec", reference_runners(), ids=lambda spec: spec.name)
def test_our_locks_hold_what_in_txt_asks_for_and_no_cuda_for_the_cpu(spec: RunnerSpec) -> None:
    for variant in spec.variants:
        assert [finding.detail for finding in look_at_lock(spec, variant) if not finding.ok] == []
    names = set(needed_here(pins_of(lock_files(spec, "cpu")), spec.python))
    assert "torch" in names
    assert not {name for name in names if name.startswith(("nvidia", "cuda", "triton"))}
    assert not names & {"wandb", "tensorboard"}


def test_our_locks_resolve_on_linux_with_cuda_and_on_macos() -> None:
    findings = {finding.what: finding for finding in look_at_platforms(find_runner("sb3"))}
    assert {"cuda on Linux x86_64", "cpu on macOS arm64", "cpu on Linux x86_64"} <= set(findings)
    bad = {what: finding.detail for what, finding in findings.items() if not finding.ok}
    if bad.keys() == {"cpu on Linux x86_64"}:
        pytest.skip(f"{bad} (PIP_FIND_LINKS names a folder that has it)")
    assert not bad


def test_equal_wishes_give_equal_bytes_and_a_newer_version_waits_for_upgrade(
    index: PackageIndex, make_runner: Callable[..., RunnerSpec]
) -> None:
    index.add("tool", "1.0", requires=("part>=1",))
    index.add("part", "1.0")
    spec = make_runner("tiny", "tool")
    first = present_lock(spec)
    assert make_lock(spec) == first
    index.add("part", "1.1")
    assert make_lock(spec) == first
    newer = make_lock(spec, upgrade=True)
    (change,) = changes(first, newer)
    assert (change.package, change.before, change.after) == ("part", "1.0", "1.1")
    write_lock(spec, newer)
    assert make_lock(spec) == newer
    assert not list(spec.lock_folder.glob(".*"))


def test_what_is_added_and_removed_is_named(index: PackageIndex, make_runner: Callable[..., RunnerSpec]) -> None:
    for name in ("tool", "other"):
        index.add(name)
    spec = make_runner("tiny", "tool")
    (spec.lock_folder / "in.txt").write_text("other\n")
    found = {(change.package, change.before, change.after) for change in changes(present_lock(spec), make_lock(spec))}
    assert found == {("tool", "1.0", ""), ("other", "", "1.0")}
    (finding,) = [finding for finding in look_at_lock(spec, "any") if not finding.ok]
    assert "asks for other" in finding.detail


def test_a_tampered_hash_does_not_live_on(index: PackageIndex, make_runner: Callable[..., RunnerSpec]) -> None:
    index.add("tool")
    spec = make_runner("tiny", "tool")
    good = present_lock(spec)
    (pin,) = pins_of(good)
    write_lock(spec, {"base.txt": write_pins([replace(pin, hashes=("0" * 64,))], "by hand")})
    made = make_lock(spec)
    assert made == good
    assert [(one.before, one.after) for one in changes(present_lock(spec), made)] == [("1.0", "1.0")]


@pytest.mark.parametrize(
    ("wanted", "why"), [(None, "is not there"), ("absent-thing==1", "absent-thing"), ("x @ https://e.org/x.whl", "an address")]
)
def test_wishes_that_cannot_be_locked(
    index: PackageIndex, make_runner: Callable[..., RunnerSpec], wanted: str | None, why: str
) -> None:
    index.add("tool")
    spec = make_runner("tiny", wanted or "", lock=False)
    if wanted is None:
        (spec.lock_folder / "in.txt").unlink()
    with pytest.raises(LockError, match="tiny was not locked") as caught:
        make_lock(spec)
    assert why in caught.value.why


def test_an_index_that_does_not_answer(
    index: PackageIndex, make_runner: Callable[..., RunnerSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9")
    with pytest.raises(NetworkError):
        make_lock(make_runner("tiny", "tool", lock=False))


def test_a_runner_without_a_lock_and_one_without_the_variant(make_runner: Callable[..., RunnerSpec]) -> None:
    spec = make_runner("tiny", lock=False)
    with pytest.raises(LockError, match="the runner tiny has no lock"):
        lock_files(spec, "any")
    with pytest.raises(UsageError, match="no variant 'cpu'"):
        lock_files(spec, "cpu")


def test_the_digest_hangs_on_names_bytes_and_python_and_not_on_order() -> None:
    files = {"base.txt": b"a", "torch-cpu.txt": b"b"}
    same = lock_digest(dict(reversed(files.items())), "3.11")
    assert lock_digest(files, "3.11") == same
    others = [
        lock_digest({**files, "base.txt": b"c"}, "3.11"),
        lock_digest(files, "3.12"),
        lock_digest({"base.txt": b"a"}, "3.11"),
    ]
    assert len({same, *others}) == 4


def fake_torch(index: PackageIndex, folder: Path) -> Path:
    """A torch whose index wheel needs CUDA packages, and a folder with its CPU wheel."""
    index.add("nvidia-thing")
    index.add("shared")
    requires = ("shared", "nvidia-thing ; sys_platform == 'linux'")
    index.add("torch", "2.0.0", requires=requires)
    folder.mkdir(exist_ok=True)
    tags = "cp311-cp311-manylinux_2_28_x86_64"
    return write_wheel(folder, "torch", "2.0.0+cpu", {"torch.py": "VERSION = '2.0.0+cpu'\n"}, requires[:1], tags)


def test_torch_is_split_so_that_no_cpu_environment_takes_cuda(
    index: PackageIndex, make_runner: Callable[..., RunnerSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hashlib

    wheel = fake_torch(index, tmp_path / "wheels")
    spec = make_runner("tiny", "torch==2.0.0", torch=["cpu", "cuda"], python="3.11", lock=False)
    with pytest.raises(LockError, match=r"no place has torch 2\.0\.0\+cpu") as caught:
        make_lock(spec)
    assert "--torch-source" in caught.value.fix
    write_lock(spec, make_lock(spec, torch_source=str(wheel.parent)))
    cpu, cuda = (pins_of(lock_files(spec, variant)) for variant in ("cpu", "cuda"))
    assert {pin.version for pin in cpu if pin.name == "torch"} == {"2.0.0", "2.0.0+cpu"}
    (local,) = [pin for pin in cpu if pin.version == "2.0.0+cpu"]
    assert local.hashes == (hashlib.sha256(wheel.read_bytes()).hexdigest(),)
    assert {pin.name for pin in cuda} == {"shared", "torch", "nvidia-thing"}
    assert make_lock(spec) == present_lock(spec)  # the hash of a version that is locked needs no wheel again
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    assert make_lock(spec) == present_lock(spec)


def test_the_hash_of_the_cpu_wheel_may_come_from_an_index(
    index: PackageIndex, make_runner: Callable[..., RunnerSpec], tmp_path: Path
) -> None:
    wheel = fake_torch(index, tmp_path / "wheels")
    spec = make_runner("tiny", "torch==2.0.0", torch=["cpu"], python="3.11", lock=False)
    from_folder = make_lock(spec, torch_source=str(wheel.parent))
    (index.folder / "other").mkdir()
    other = PackageIndex(index.folder / "other")
    try:
        (other.folder / "torch").mkdir()
        wheel.rename(other.folder / "torch" / wheel.name)
        other.write_page(other.folder / "torch")
        assert make_lock(spec, torch_source=other.url) == from_folder
        assert set(from_folder) == {"base.txt", "torch-cpu.txt"}
    finally:
        other.stop()
