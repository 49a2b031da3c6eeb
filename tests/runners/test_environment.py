"""Environments: built once from a lock, whole or not at all, and what the lock says ever after."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from package_index import PackageIndex, write_wheel

from openrlb import paths
from openrlb.errors import BuildError, NetworkError, OpenrlbError, UsageError
from openrlb_runners.environment import Environment, build, build_locked, child_variables, default_variant, find
from openrlb_runners.inspection import look_at_environment, look_at_training
from openrlb_runners.locking import make_lock, present_lock, write_lock
from openrlb_runners.locks import lock_files, pins_of, write_pins
from openrlb_runners.spec import RunnerSpec, find_runner

if TYPE_CHECKING:
    Maker = Callable[..., RunnerSpec]

SLOW = "import time\ntime.sleep(1.5)\n"
BUILD = """
import sys
from openrlb_runners.environment import build
from openrlb_runners.spec import find_runner
environment = build(find_runner(sys.argv[1]), "any", say=lambda text: print(text, flush=True))
print(environment.folder, flush=True)
"""


def output(environment: Environment, code: str) -> str:
    command = [environment.python, "-c", code]
    return subprocess.run(command, env=child_variables(1), capture_output=True, text=True, check=True).stdout.strip()


def environments() -> list[str]:
    """What lies beside the environments' locks."""
    folder = paths.cache_dir() / "environments"
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock")) if folder.is_dir() else []


def builder(name: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", BUILD, name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_an_environment_holds_what_the_lock_says_and_is_found_again(index: PackageIndex, make_runner: Maker) -> None:
    index.add("part", "1.0")
    index.add("tool", "2.0", source="import part\nVERSION = part.VERSION\n", requires=("part",))
    spec = make_runner("tiny", "tool", preload=["tool"])
    said: list[str] = []
    assert find(spec, "any") is None
    environment = build(spec, "any", say=said.append)
    assert output(environment, "import tool; print(tool.VERSION)") == "1.0"
    assert find(spec, "any") == environment
    assert environment.folder.name == f"tiny-any-{environment.lock[:12]}-py{spec.python.replace('.', '')}"
    assert environment.size_bytes > 1000
    assert said[0].startswith(f"building {environment.folder.name}: 2 packages from the lock {environment.lock[:12]}")
    before = len(said)
    assert build(spec, "any", say=said.append) == environment
    assert len(said) == before
    index.stop = lambda: None  # type: ignore[method-assign]
    assert build_locked("tiny", spec.python, "any", lock_files(spec, "any")) == environment


def test_nothing_of_the_callers_own_python_gets_in(
    index: PackageIndex, make_runner: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add("tool")
    (tmp_path / "tool.py").write_text("VERSION = 'the wrong one'\n")
    for name in ("VIRTUAL_ENV", "UV_PYTHON", "PYTHONHOME", "PYTHONPATH", "UV_PROJECT_ENVIRONMENT", "UV_TARGET", "PIP_TARGET"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("UV_REQUIRE_HASHES", "0")
    environment = build(make_runner("tiny", "tool", preload=["tool"]), "any")
    assert output(environment, "import tool; print(tool.VERSION)") == "1.0"
    assert output(environment, "import os; print(*(name for name in os.environ if name[:3] in ('UV_', 'PIP')))") == ""


def test_an_environment_works_where_it_lies_and_not_where_it_was_built(index: PackageIndex, make_runner: Maker) -> None:
    index.add("tool", files={"tool_main/__main__.py": "import sys; print(sys.prefix)\n"})
    environment = build(make_runner("tiny", "tool"), "any")
    command = [environment.python, "-m", "tool_main"]
    done = subprocess.run(command, env=child_variables(1), capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).samefile(environment.folder)
    texts = [path for path in environment.folder.rglob("*") if path.is_file() and b".building-" in path.read_bytes()]
    assert texts == []


def test_a_second_environment_costs_only_what_it_does_not_share(index: PackageIndex, make_runner: Maker) -> None:
    index.add("big", files={"big_data.py": "# " + "x" * 3_000_000})
    index.add("tool")
    first, second = build(make_runner("one", "big"), "any"), build(make_runner("two", "big", "tool"), "any")

    def own(environment: Environment) -> int:
        files = [path for path in environment.folder.rglob("*") if path.is_file() and not path.is_symlink()]
        return sum(path.stat().st_size for path in files if path.stat().st_nlink == 1)

    assert first.folder != second.folder
    assert min(first.size_bytes, second.size_bytes) > 3_000_000
    assert max(own(first), own(second)) < 100_000


def test_of_two_builders_one_builds_and_the_other_waits_for_it(index: PackageIndex, make_runner: Maker) -> None:
    index.add("slow", source=SLOW)
    make_runner("tiny", "slow", preload=["slow"])
    builders = [builder("tiny") for _ in range(2)]
    said = [one.communicate(timeout=60)[0].splitlines() for one in builders]
    assert [one.returncode for one in builders] == [0, 0], said
    assert said[0][-1] == said[1][-1]
    assert sum("building tiny" in "\n".join(lines) for lines in said) == 1, said
    assert sum("another openrlb builds" in "\n".join(lines) for lines in said) == 1, said
    assert len(environments()) == 1


def test_a_killed_build_leaves_nothing_that_counts_and_the_next_one_clears_it_away(
    index: PackageIndex, make_runner: Maker, tmp_path: Path
) -> None:
    index.add("slow", source=SLOW)
    spec = make_runner("tiny", "slow", preload=["slow"])
    killed = builder("tiny")
    deadline = time.monotonic() + 30
    while not list((paths.cache_dir() / "environments").glob(".building-*/**/slow.py")) and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    (left,) = environments()
    assert left.startswith(".building-tiny-any-")
    assert find(spec, "any") is None
    environment = build(spec, "any")
    assert environments() == [environment.folder.name]


def no_longer(spec: RunnerSpec, index: PackageIndex) -> None:
    index.remove("tool", "1.0")


def tampered(spec: RunnerSpec, index: PackageIndex) -> None:
    (pin,) = pins_of(present_lock(spec))
    write_lock(spec, {"base.txt": write_pins([replace(pin, hashes=("0" * 64,))], "by hand")})


def swapped(spec: RunnerSpec, index: PackageIndex) -> None:
    index.add("tool", source="print('not what was locked')\n")


def unimportable(spec: RunnerSpec, index: PackageIndex) -> None:
    object.__setattr__(spec, "preload", ("tool", "no_such_module"))


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (no_longer, "the index does not have tool==1.0"),
        (tampered, "tool==1.0 is not what the lock says: its sha256 differs"),
        (swapped, "tool==1.0 is not what the lock says: its sha256 differs"),
        (unimportable, "No module named 'no_such_module'"),
    ],
)
def test_what_cannot_be_built_is_named_and_leaves_nothing(
    index: PackageIndex, make_runner: Maker, harm: Callable[[RunnerSpec, PackageIndex], None], why: str
) -> None:
    index.add("tool")
    spec = make_runner("tiny", "tool")
    harm(spec, index)
    with pytest.raises(BuildError, match=r"the environment tiny-any-\w+-py\d+ was not built") as caught:
        build(spec, "any")
    assert why in caught.value.why
    assert environments() == []


def test_an_index_that_cannot_be_reached(index: PackageIndex, make_runner: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    index.add("tool")
    spec = make_runner("tiny", "tool")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9")
    monkeypatch.setenv("UV_CACHE_DIR", str(paths.home() / "empty"))
    with pytest.raises(NetworkError):
        build(spec, "any")
    monkeypatch.delenv("UV_DEFAULT_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", index.url)  # a mirror that is set for pip serves uv too
    assert build(spec, "any").python.exists()


def test_a_folder_of_wheels_is_enough_offline(index: PackageIndex, make_runner: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    wheels = index.add("tool").parent
    spec = make_runner("tiny", "tool")
    monkeypatch.delenv("UV_DEFAULT_INDEX")
    monkeypatch.setenv("UV_CACHE_DIR", str(paths.home() / "empty"))
    monkeypatch.setenv("UV_OFFLINE", "1")
    with pytest.raises(NetworkError):
        build(spec, "any")
    monkeypatch.setenv("PIP_FIND_LINKS", os.path.relpath(wheels))  # relative to the caller's folder, not to uv's
    assert output(build(spec, "any"), "import tool; print(tool.VERSION)") == "1.0"


def test_a_python_that_is_not_there(index: PackageIndex, make_runner: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    index.add("tool")
    spec = make_runner("tiny", "tool")
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    with pytest.raises(BuildError) as caught:
        build(replace(spec, python="3.99"), "any")
    assert "3.99" in caught.value.why
    assert environments() == []


def test_an_environment_whose_python_has_gone_is_built_again(index: PackageIndex, make_runner: Maker) -> None:
    index.add("tool")
    spec = make_runner("tiny", "tool")
    python = build(spec, "any").python
    python.unlink()
    python.symlink_to("/no/such/python")
    assert find(spec, "any") is None
    assert output(build(spec, "any"), "import tool; print(tool.VERSION)") == "1.0"
    assert len(environments()) == 1


def test_a_full_disk(index: PackageIndex, make_runner: Maker, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import random

    index.add("big", files={"big_data.py": "# " + random.Random(0).randbytes(1_500_000).hex()})
    spec = make_runner("tiny", "big")
    monkeypatch.setenv("OPENRLB_HOME", str(small_disk))
    with pytest.raises(BuildError, match="was not built") as caught:
        build(spec, "any")
    assert "disk is full" in caught.value.why
    assert environments() == []


def test_a_place_that_cannot_be_written(
    index: PackageIndex, make_runner: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add("tool")
    spec = make_runner("tiny", "tool")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OPENRLB_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(BuildError, match="was not built"):
        build(spec, "any")


def test_the_caller_sees_threads_and_displays_but_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONPATH", "VIRTUAL_ENV", "UV_INDEX", "PIP_TARGET", "WANDB_API_KEY", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "7")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    seen = child_variables(2)
    assert {"PYTHONPATH", "VIRTUAL_ENV", "UV_INDEX", "PIP_TARGET", "WANDB_API_KEY"} & set(seen) == set()
    assert (seen["OMP_NUM_THREADS"], seen["MKL_NUM_THREADS"], seen["PYTHONHASHSEED"]) == ("2", "2", "0")
    assert seen["CUDA_VISIBLE_DEVICES"] == "1"
    assert seen["PATH"] == os.environ["PATH"]


LINUX = platform.system() == "Linux" and platform.machine() == "x86_64" and sys.version_info[:2] == (3, 11)


@pytest.mark.skipif(
    not LINUX, reason="torch's CPU wheel is another file only on Linux x86_64, and the fake one is for Python 3.11"
)
def test_each_torch_variant_gets_its_own_torch(
    index: PackageIndex, make_runner: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add("nvidia-thing")
    index.add("torch", "2.0.0", requires=("nvidia-thing ; sys_platform == 'linux'",))
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    write_wheel(wheels, "torch", "2.0.0+cpu", {"torch.py": "VERSION = '2.0.0+cpu'\n"}, (), "cp311-cp311-manylinux_2_28_x86_64")
    spec = make_runner("tiny", "torch==2.0.0", torch=["cpu", "cuda"], python="3.11", lock=False)
    write_lock(spec, make_lock(spec, torch_source=str(wheels)))
    with pytest.raises(BuildError) as caught:
        build(spec, "cpu")
    assert "2.0.0+cpu was not found" in caught.value.why
    assert "--torch-source" in caught.value.fix
    assert "--torch cuda" in caught.value.fix
    with pytest.raises(UsageError, match="is not there"):
        build(spec, "cpu", torch_source=str(tmp_path / "nowhere"))
    (index.folder / "cpu").mkdir()
    shutil.copytree(wheels, index.folder / "cpu" / "torch")
    index.write_page(index.folder / "cpu" / "torch")
    cpu = build(spec, "cpu", torch_source=f"{index.url}/cpu")
    shutil.rmtree(cpu.folder)
    assert build(spec, "cpu", torch_source=str(wheels)) == cpu
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))  # 2.0.0+cpu would satisfy torch==2.0.0
    cuda = build(spec, "cuda")
    code = "import torch, importlib.util; print(torch.VERSION, importlib.util.find_spec('nvidia_thing') is not None)"
    assert output(cpu, code) == "2.0.0+cpu False"
    assert output(cuda, code) == "2.0.0 True"


def test_cuda_is_the_default_only_where_a_driver_is_seen(
    make_runner: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_runner("tiny", torch=["cpu", "cuda"], lock=False)
    if Path("/proc/driver/nvidia/version").exists():
        assert default_variant(spec) == "cuda"
        return
    monkeypatch.setenv("PATH", str(tmp_path))
    assert default_variant(spec) == "cpu"
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert default_variant(spec) == "cuda"
    assert default_variant(make_runner("plain", lock=False)) == "any"


def problems(spec: RunnerSpec, environment: Environment) -> dict[str, str]:
    return {finding.what: finding.detail for finding in look_at_environment(spec, environment) if not finding.ok}


def test_a_check_sees_what_was_changed_since(index: PackageIndex, make_runner: Maker) -> None:
    index.add("part", "1.0")
    index.add("tool", requires=("part",))
    spec = make_runner("tiny", "tool", preload=["tool"])
    environment = build(spec, "any")
    assert problems(spec, environment) == {}
    module = next(environment.folder.rglob("site-packages/tool.py"))
    module.write_text("VERSION = 'edited'\n")
    assert "1 of " in problems(spec, environment)["files"]
    assert "tool.py" in problems(spec, environment)["files"]
    information = next(environment.folder.rglob("part-1.0.dist-info"))
    information.rename(information.with_name("part-9.0.dist-info"))
    metadata = information.with_name("part-9.0.dist-info") / "METADATA"
    metadata.write_text(metadata.read_text().replace("1.0", "9.0"))
    assert problems(spec, environment)["packages"] == "differs from the lock: part 9.0 for 1.0"
    for file in information.with_name("part-9.0.dist-info").iterdir():
        file.unlink()
    found = problems(spec, environment)
    assert found["packages"] == "differs from the lock: part missing for 1.0"
    assert "part" in found["dependencies"]
    module.write_text("import no_such_module\n")
    assert "no_such_module" in problems(spec, environment)["imports"]


RUN = """
import json, random, sys
from pathlib import Path
spec, out = json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[4])
random.seed(SEED)
rows = [{"t": "episode", "step": step, "return": random.random(), "length": 1, "time": 0} for step in range(spec["steps"])]
(out / "metrics.jsonl").write_text("".join(json.dumps(row) + "\\n" for row in rows))
(out / "done.json").write_text("{}")
"""


@pytest.mark.parametrize(
    ("run", "detail"),
    [
        (RUN.replace("SEED", "spec['seed']"), "ppo on Any-v0, 3 steps: 3 episodes, equal in two processes"),
        (RUN.replace("SEED", ""), "ppo on Any-v0, 3 steps: two processes differ"),
        ("raise SystemExit('no such thing')", "ppo on Any-v0, 3 steps: exit code 1: no such thing"),
    ],
)
def test_a_check_trains_twice(index: PackageIndex, make_runner: Maker, run: str, detail: str) -> None:
    index.add("tool")
    spec = make_runner("tiny", "tool", run=run, check={"algo": "ppo", "env": "Any-v0", "steps": 3})
    finding = look_at_training(spec, build(spec, "any"))
    assert finding.detail == detail
    assert finding.ok == ("equal" in detail)


def test_the_sb3_environment_is_found_by_every_test_that_asks_for_it(sb3_environment: Environment) -> None:
    spec = find_runner("sb3")
    assert find(spec, "cpu") == replace(sb3_environment, folder=paths.cache_dir() / "environments" / sb3_environment.folder.name)
    assert output(sb3_environment, "import torch; print(torch.get_num_threads(), torch.cuda.is_available())") == "1 False"


def test_stored_bytes_that_are_no_lock_build_nothing(isolation: Path) -> None:
    for files in ({"base.txt": b"--index-url http://example.org\n"}, {"../base.txt": b""}):
        with pytest.raises(OpenrlbError):
            build_locked("tiny", "3.11", "any", files)
    assert environments() == []
