"""New runners: the example, and a script of a git repository whose output, CSV and tensorboard files become rows."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from fake_runner import ThisPython

from openrlb.errors import NetworkError, StoreUnwritable, UsageError
from openrlb.paths import asset
from openrlb_runners.conformance import look_at_contract
from openrlb_runners.launchers.local import LocalLauncher
from openrlb_runners.request import pin
from openrlb_runners.spec import Probe, read_runner, source_files
from openrlb_runners.template import check_out, write_runner

SCRIPT = r"""
import argparse, os, random, struct, sys
from helper import half

parser = argparse.ArgumentParser()
for name in ("env-id", "learning-rate"):
    parser.add_argument("--" + name)
for name in ("seed", "total-timesteps"):
    parser.add_argument("--" + name, type=int)
words = parser.parse_args()
if float(words.learning_rate) > 1:
    print("too fast", file=sys.stderr)
    sys.exit(3)
numbers = random.Random(words.seed)


def field(number, kind, data):
    return bytes([number << 3 | kind]) + (bytes([len(data)]) if kind == 2 else b"") + data


def varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def event(step, tag, value):
    inner = field(1, 2, field(1, 2, tag.encode()) + field(2, 5, struct.pack("<f", value)))
    data = field(1, 1, struct.pack("<d", 1.0)) + field(2, 0, varint(step)) + field(5, 2, inner)
    return struct.pack("<Q", len(data)) + b"cccc" + data + b"cccc"


os.makedirs("runs/one")
table, board = open("runs/one/progress.csv", "w"), open("runs/one/events.out", "wb")
table.write("# made by a script\nsteps,score,note\n")
for step in range(50, words.total_timesteps + 1, 50):
    value = half(numbers.random())
    print(f"global_step={step}, episodic_return=[{value}]")
    table.write(f"{step},{value},x\n")
    board.write(event(step, "charts/test", value) + event(step, "losses/td", 2 * value))
    for file in (table, board):
        file.flush()
"""
HELPER = "import warnings\n\n\ndef half(x):\n    return x / 2\n"


def git(folder: Path, *words: str) -> str:
    told = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(folder), *words]
    return subprocess.run(told, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "docs").mkdir(parents=True)
    (folder / "train.py").write_text(SCRIPT)
    (folder / "helper.py").write_text(HELPER)
    (folder / "docs" / "page.md").write_text("words")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "one")
    git(folder, "tag", "v1")
    (folder / "train.py").write_text("raise SystemExit('the wrong commit')")
    git(folder, "commit", "--quiet", "-a", "-m", "two")
    return folder


def test_the_example_is_a_runner_with_its_own_name(tmp_path: Path) -> None:
    files = write_runner("mine", tmp_path / "mine")
    assert files == ["README.md", "contract.py", "lock/in.txt", "run.py", "runner.toml", "space.toml"]
    spec = read_runner(tmp_path / "mine")
    assert (spec.name, set(source_files(spec))) == ("mine", {"run.py", "contract.py"})
    assert spec.check and spec.check.diverging
    assert all(b"my_runner" not in (tmp_path / "mine" / name).read_bytes() for name in files)
    ours = [line for line in (tmp_path / "mine" / "run.py").read_text().splitlines() if line.strip()]
    assert len(ours) < 45  # what a person has to read, comments counted


def test_the_templates_keep_the_house_rules() -> None:
    for kind in ("own", "git"):
        for path in asset("runners", "template", kind).glob("*.py"):
            assert "openrlb." not in path.read_text().replace("openrlb.\n", ""), path
            assert "import openrlb" not in path.read_text()


@pytest.mark.parametrize(
    ("name", "why"),
    [("sb3", "a reference runner has it"), ("../mine", "small letters"), ("Mine", "small letters"), ("there", "there already")],
)
def test_what_cannot_be_written_is_refused(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "there").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match=why):
        write_runner(name, tmp_path / name)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnwritable):
        write_runner("mine", tmp_path / "file" / "mine")
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "file"])


def test_a_commit_is_packed_and_recorded(repository: Path) -> None:
    commit = git(repository, "rev-parse", "v1")
    for name in (commit, commit[:10], "v1"):
        found = check_out(f"{repository}@{name}")
        assert (found.commit, found.repository, found.notes) == (commit, "project", ())
    with tarfile.open(fileobj=io.BytesIO(found.archive)) as archive:
        assert archive.getnames() == ["docs", "docs/page.md", "helper.py", "train.py"]
        assert archive.pax_headers["comment"] == commit
    with tarfile.open(fileobj=io.BytesIO(check_out(f"{repository}@v1", ["train.py", "helper.py"]).archive)) as archive:
        assert archive.getnames() == ["helper.py", "train.py"]
    git(repository, "remote", "add", "origin", "https://me:secret@example.org/lab/project")
    assert check_out(f"{repository}@v1").repository == "https://example.org/lab/project"
    (repository / ".gitattributes").write_text("*.bin filter=lfs\n")
    git(repository, "add", ".")
    git(repository, "update-index", "--add", "--cacheinfo", f"160000,{commit},part")
    git(repository, "commit", "--quiet", "-m", "three")
    assert check_out(f"{repository}@HEAD").notes == (
        "submodules are left out: part",
        "files of Git LFS are pointers, not what they stand for",
    )


@pytest.mark.parametrize(
    ("source", "kind", "why"),
    [
        ("{}", UsageError, "names no commit"),
        ("{}@--output=x", UsageError, "names no commit"),
        ("--upload-pack=x@v1", UsageError, "names no commit"),
        ("{}@v2", UsageError, "no commit, tag or branch"),
        ("{}/nothing@v1", UsageError, "does not exist"),
        ("https://me:secret@127.0.0.1:9/lab@v1", NetworkError, "unable to access"),
    ],
)
def test_what_cannot_be_checked_out_is_named(repository: Path, source: str, kind: type[Exception], why: str) -> None:
    with pytest.raises(kind, match=why) as caught:
        check_out(source.format(repository))
    assert "secret" not in str(caught.value)


def run_by_hand(folder: Path, out: Path, **spec: Any) -> subprocess.CompletedProcess[str]:
    out.mkdir()
    (out / "spec.json").write_text(json.dumps({"algo": "script", "env": "Line-v0", "seed": 1, "steps": 100, **spec}))
    words = [sys.executable, "-B", folder / "run.py", "--spec", out / "spec.json", "--out", out]
    return subprocess.run(words, capture_output=True, text=True, check=False)


ROWS = {
    "stdout": 'Stdout(episode=r"global_step=(?P<step>\\d+), episodic_return=\\[?(?P<return>[-+.\\deE]+)")',
    "csv": 'Csv("runs/*/progress.csv", step="steps", episode="score")',
    "tensorboard": 'Tensorboard("runs/**/events*", episode="charts/test")',
}


def wrapped(folder: Path, repository: Path, rows: str) -> Path:
    """The script as a runner that knows one environment."""
    assert "checkout.tar" in write_runner("theirs", folder, check_out(f"{repository}@v1"))
    (folder / "lock" / "base.txt").write_text("# nothing\n")
    text = (folder / "run.py").read_text()
    assert f'COMMIT = "{git(repository, "rev-parse", "v1")}"' in text
    start, end = text.index("ROWS = ["), text.index("\n\n\n@dataclass")
    text = text[:start] + f"ROWS = [{rows}]" + text[end:]
    text = text.replace("import Stdout, train_by  # Csv, Tensorboard", "import Csv, Stdout, Tensorboard, train_by")
    (folder / "run.py").write_text(text.replace("FLAG, ROWS)", 'FLAG, ROWS, ["Line-v0"])'))
    return folder


def test_a_script_at_a_commit_becomes_a_runner_that_keeps_the_contract(tmp_path: Path, repository: Path) -> None:
    spec = read_runner(wrapped(tmp_path / "theirs", repository, ROWS["stdout"]))
    runner = pin(spec, ThisPython())  # type: ignore[arg-type]
    assert "checkout.tar" in runner.sources
    with LocalLauncher() as launcher:
        found = list(look_at_contract(runner, spec, Probe("script", "Line-v0", 500), launcher))
    wrong = [finding for finding in found if not finding.ok]
    assert [finding.what for finding in wrong] == ["script: divergence exits 4"]  # it ends with 3, which is no word of ours
    assert "exit code 1: the script ended with exit code 3: too fast" in wrong[0].detail
    assert "10 episodes" in found[0].detail


def test_output_csv_and_tensorboard_say_the_same(tmp_path: Path, repository: Path) -> None:
    logged = {}
    for name, rows in ROWS.items():
        done = run_by_hand(wrapped(tmp_path / name, repository, rows), tmp_path / f"{name}-out", steps=300)
        assert done.returncode == 0, done.stderr
        read = [json.loads(line) for line in (tmp_path / f"{name}-out" / "metrics.jsonl").read_text().splitlines()]
        logged[name] = [(row["step"], row["return"]) for row in read if row["t"] == "episode"]
        if name == "tensorboard":
            others = {(row["k"], row["step"]): row["v"] for row in read if row["t"] == "scalar"}
            assert others == {("losses/td", step): 2 * value for step, value in logged[name]}
    assert [step for step, _ in logged["stdout"]] == [50, 100, 150, 200, 250, 300]
    assert logged["csv"] == logged["stdout"]
    assert [step for step, _ in logged["tensorboard"]] == [step for step, _ in logged["csv"]]
    assert [value for _, value in logged["tensorboard"]] == pytest.approx([value for _, value in logged["csv"]], rel=1e-6)


def test_what_the_script_cannot_be_told_is_refused_and_another_commit_too(tmp_path: Path, repository: Path) -> None:
    folder = wrapped(tmp_path / "theirs", repository, ROWS["stdout"])
    for number, (change, code, said) in enumerate(
        [
            ({"env_kwargs": {"wind": 1}}, 2, "takes no arguments"),
            ({"device": "cuda"}, 2, "trains on the cpu"),
            ({"env": "Plane-v0"}, 3, "the script knows Line-v0"),
        ]
    ):
        done = run_by_hand(folder, tmp_path / str(number), **change)
        assert (done.returncode, said in done.stderr, len(done.stderr.splitlines())) == (code, True, 1), done.stderr
    done = run_by_hand(folder, tmp_path / "good")
    assert done.returncode == 0, done.stderr
    assert "global_step=100" in done.stdout
    assert not (tmp_path / "good" / "checkout").exists()
    assert json.loads((tmp_path / "good" / "done.json").read_text())["steps"] == 100
    (folder / "checkout.tar").write_bytes(check_out(f"{repository}@HEAD").archive)
    done = run_by_hand(folder, tmp_path / "other")
    assert (done.returncode, "checkout.tar is commit" in done.stderr) == (2, True), done.stderr
