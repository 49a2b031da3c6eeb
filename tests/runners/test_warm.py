"""The server that forks runs: a run is what ``python run.py`` would be, and nothing outlives whom it belongs to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from warm_server import WarmServer, gone, is_alive

from openrlb_runners import warm
from openrlb_runners.spec import find_runner

if TYPE_CHECKING:
    from openrlb_runners.environment import Environment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")

ENTRY = """
import atexit, json, os, signal, subprocess, sys, threading, time
import neighbour
kind = sys.argv[1]
if kind == "look":
    atexit.register(print, "exit functions ran")
    threading.Thread(target=lambda: (time.sleep(0.1), print("threads were joined"))).start()
    left_open = open(sys.argv[2], "w")
    left_open.write("flushed")
    names = ("SIGTERM", "SIGCHLD", "SIGHUP", "SIGINT", "SIGPIPE")
    handlers = {name: getattr(signal.getsignal(getattr(signal, name)), "name", "a function") for name in names}
    print(json.dumps({
        "argv": sys.argv, "path": sys.path[0], "name": __name__, "file": __file__, "variables": sorted(os.environ.items()),
        "stdin": sys.stdin.read(), "handlers": handlers, "files": sorted(os.listdir("/proc/self/fd"))[:-1],
        "leads": os.getpgid(0) == os.getpid() == os.getsid(0), "neighbour": neighbour.__file__,
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])), "tasks": len(os.listdir("/proc/self/task")),
        "main": sys.modules["__main__"].__dict__.get("kind"),
    }))
elif kind == "exit":
    sys.exit({"none": None, "three": 3, "words": "some words", "large": 259, "true": True, "list": [1]}[sys.argv[2]])
elif kind == "raise":
    raise ValueError("it broke")
elif kind == "die":
    os.kill(os.getpid(), signal.SIGKILL)
elif kind == "shout":
    sys.stderr.write("x" * int(sys.argv[2]))
elif kind in ("family", "orphan"):
    if kind == "family":
        signal.signal(signal.SIGTERM, signal.SIG_IGN) if len(sys.argv) > 2 else None
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print(grandchild.pid, flush=True)
    time.sleep(600 if kind == "family" else 0)
"""


@pytest.fixture(scope="module")
def entry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A script with a neighbour that it imports."""
    folder = tmp_path_factory.mktemp("runner")
    (folder / "neighbour.py").write_text("")
    (folder / "run.py").write_text(ENTRY)
    return folder / "run.py"


@pytest.fixture(scope="module", params=["forked", "cold"])
def server(request: pytest.FixtureRequest, entry: Path) -> Iterator[WarmServer]:
    """One server for the tests that leave it as it was."""
    with WarmServer(entry, *(["--cold"] if request.param == "cold" else ["--preload", "json,subprocess"])) as running:
        running.wait("ready")
        yield running


@pytest.fixture
def hasty(tmp_path: Path) -> Path:
    """The server with a shorter patience at its end."""
    script = tmp_path / "hasty.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(Path(warm.__file__).parent)!r})\n"
        "import warm\nwarm.GRACE_SECONDS = 0.3\nwarm.main()\n"
    )
    return script


def pid_in(path: Path) -> int:
    """The process number that a run printed."""
    deadline = time.monotonic() + 30
    while not path.is_file() or not path.read_text().endswith("\n"):
        assert time.monotonic() < deadline, f"nothing was printed to {path}"
        time.sleep(0.01)
    return int(path.read_text())


def test_a_run_sees_what_a_plain_python_would_show_it(server: WarmServer, entry: Path, tmp_path: Path) -> None:
    left_open = tmp_path / "left_open"
    server.start("look", tmp_path, "look", left_open, ONE="1")
    assert server.wait("ended", "look")["code"] == 0, (tmp_path / "stderr").read_text()
    assert (tmp_path / "stderr").read_text() == ""
    assert left_open.read_text() == "flushed"
    words = [sys.executable, "-B", str(entry), "look", str(left_open)]
    variables = server.variables | {"ONE": "1"}
    plain = subprocess.run(
        words, env=variables, capture_output=True, text=True, stdin=subprocess.DEVNULL, start_new_session=True, check=True
    )
    seen, wanted = (
        (json.loads(text.splitlines()[0]), text.splitlines()[1:]) for text in ((tmp_path / "stdout").read_text(), plain.stdout)
    )
    assert seen[1] == wanted[1] == ["threads were joined", "exit functions ran"]
    assert seen[0].pop("handlers") == wanted[0].pop("handlers") | {"SIGINT": "SIG_IGN"}
    assert seen[0] == wanted[0]
    assert not (entry.parent / "__pycache__").exists()


def test_runs_end_with_pythons_exit_codes_and_many_leave_nothing_behind(server: WarmServer, tmp_path: Path) -> None:
    files = Path(f"/proc/{server.process.pid}/fd")
    before = len(list(files.iterdir()))
    wanted = {"none": (0, None), "three": (3, None), "words": (1, None), "large": (3, None), "true": (1, None), "list": (1, None)}
    for name in wanted:
        server.start(name, tmp_path / name, "exit", name)
    wanted |= {"raise": (1, None), "die": (None, signal.SIGKILL)}
    server.start("raise", tmp_path / "raise", "raise")
    server.start("die", tmp_path / "die", "die")
    for index in range(40):
        server.start(f"again {index}", tmp_path / "again", "exit", "none")
        wanted[f"again {index}"] = (0, None)
    for name, (code, number) in wanted.items():
        ended = server.wait("ended", name)
        assert (ended["code"], ended["signal"]) == (code, number), name
        assert ended["max_rss_mb"] > 1
        assert ended["seconds"] > 0
    assert (tmp_path / "words" / "stderr").read_text() == "some words\n"
    assert (tmp_path / "raise" / "stderr").read_text().splitlines()[-1] == "ValueError: it broke"
    assert len(list(files.iterdir())) == before
    assert Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text() == ""  # no zombie either


def test_a_stop_ends_the_whole_group_and_an_end_leaves_no_orphan(server: WarmServer, tmp_path: Path) -> None:
    server.start("family", tmp_path / "family", "family")
    server.start("orphan", tmp_path / "orphan", "orphan")
    assert server.wait("ended", "orphan")["code"] == 0
    assert gone(pid_in(tmp_path / "orphan" / "stdout"))
    grandchild = pid_in(tmp_path / "family" / "stdout")
    assert is_alive(grandchild)
    server.tell({"stop": "family", "signal": signal.SIGTERM})
    assert server.wait("ended", "family")["signal"] == signal.SIGTERM
    assert gone(grandchild)
    server.tell({"stop": "family"})  # it has ended: no word
    server.start("at once", tmp_path / "at once", "family")
    server.tell({"stop": "at once"})
    assert server.wait("ended", "at once")["signal"] == signal.SIGTERM
    assert not [event for event in server.events if event.get("failed") == "family"]


@pytest.mark.parametrize(
    ("line", "name", "reason"),
    [
        ({"stop": "nobody"}, "nobody", "no run nobody"),
        ("no json", None, "JSONDecodeError"),
        ([1], None, "AttributeError"),
        ({"start": 3}, 3, "by its name"),
        ({"start": "bare"}, "bare", "'environment'"),
        (
            {"start": "lost", "arguments": [], "environment": {}, "stdout": "/nowhere/a", "stderr": "/nowhere/b"},
            "lost",
            "/nowhere/a",
        ),
    ],
)
def test_a_line_that_cannot_be_obeyed_is_answered(
    server: WarmServer, line: Any, name: object, reason: str, tmp_path: Path
) -> None:
    before = sum("failed" in event for event in server.events)
    server.tell(line)
    answer = server.wait("failed", count=before + 1)
    assert answer["failed"] == name
    assert reason in answer["reason"]
    server.start(f"after {before}", tmp_path, "exit", "none")
    assert server.wait("ended", f"after {before}")["code"] == 0


def test_a_name_is_taken_while_its_run_lasts_and_much_on_standard_error_is_kept_whole(server: WarmServer, tmp_path: Path) -> None:
    server.start("taken", tmp_path, "family")
    server.wait("started", "taken")
    server.start("taken", tmp_path, "exit", "none")
    assert "is running" in server.wait("failed", "taken")["reason"]
    server.start("loud", tmp_path / "loud", "shout", 20_000_000)
    assert server.wait("ended", "loud")["code"] == 0
    assert (tmp_path / "loud" / "stderr").stat().st_size == 20_000_000
    server.tell({"stop": "taken", "signal": signal.SIGKILL})
    assert server.wait("ended", "taken")["signal"] == signal.SIGKILL


@pytest.mark.parametrize("words", [[], ["--cold"]])
@pytest.mark.parametrize("how", ["end of input", "SIGTERM", "SIGKILL"])
def test_no_run_outlives_the_server(how: str, words: list[str], entry: Path, hasty: Path, tmp_path: Path) -> None:
    with WarmServer(entry, *words, script=hasty) as server:
        server.start("deaf", tmp_path / "deaf", "family", "ignores SIGTERM")
        server.start("plain", tmp_path / "plain", "family")
        runs = [server.wait("started", name)["pid"] for name in ("deaf", "plain")]
        grandchildren = [pid_in(tmp_path / name / "stdout") for name in ("deaf", "plain")]
        if how == "end of input":
            assert server.process.stdin
            server.process.stdin.close()
        else:
            server.process.send_signal(getattr(signal, how))
        server.process.wait(20)
    assert all(gone(pid) for pid in runs)
    if how != "SIGKILL":  # nobody is left to end a run's own children; those of multiprocessing notice by themselves
        assert server.process.returncode == 0
        assert all(gone(pid) for pid in grandchildren)
    for pid in filter(is_alive, grandchildren):
        os.kill(pid, signal.SIGKILL)


def test_interrupts_are_the_parents_to_decide(server: WarmServer, tmp_path: Path) -> None:
    server.start("steady", tmp_path, "family")
    pid_in(tmp_path / "stdout")
    server.process.send_signal(signal.SIGINT)
    server.tell({"stop": "steady", "signal": signal.SIGINT})
    server.tell({"stop": "steady", "signal": signal.SIGTERM})
    assert server.wait("ended", "steady")["signal"] == signal.SIGTERM


def test_a_preload_that_fails_is_said_in_a_sentence_and_one_that_prints_does_not_disturb(entry: Path, tmp_path: Path) -> None:
    with WarmServer(entry, "--preload", "json,no_such_module") as server:
        reason = server.wait("failed")["reason"]
        assert server.process.wait(20) == 1
        assert server.process.stderr
        assert server.process.stderr.read().decode().strip() == reason
    assert reason == "no_such_module cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"
    with WarmServer(entry, "--preload", "this") as server:  # the Zen of Python prints itself
        server.wait("ready")
        assert set(server.events[0]) == {"ready"}


TRAININGS = {
    "ppo on CartPole": {"algo": "ppo", "env": "CartPole-v1", "seed": 1, "steps": 512, "hyperparameters": {"n_steps": 256}},
    "ppo on Hopper": {"algo": "ppo", "env": "Hopper-v5", "seed": 1, "steps": 512, "hyperparameters": {"n_steps": 256}},
    "sac on Hopper": {"algo": "sac", "env": "Hopper-v5", "seed": 1, "steps": 220, "hyperparameters": {"batch_size": 32}},
}


def test_forked_and_cold_runs_are_bit_equal(sb3_environment: Environment, tmp_path: Path) -> None:
    runner = find_runner("sb3")
    script, python, preload = runner.folder / runner.entry, sb3_environment.python, ",".join(runner.preload)
    with WarmServer(script, "--cold", python=python) as cold, WarmServer(script, "--preload", preload, python=python) as forked:
        for name, spec in TRAININGS.items():
            cold.train(name, tmp_path / "cold" / name, spec)
        forked.wait("ready")
        assert (
            len(list(Path(f"/proc/{forked.process.pid}/task").iterdir())) == 1
        )  # forking is safe: no library has begun a thread
        for name, spec in TRAININGS.items():
            forked.train(name, tmp_path / "forked" / name, spec)
        for name in TRAININGS:
            assert cold.wait("ended", name)["code"] == forked.wait("ended", name)["code"] == 0
    for name in TRAININGS:
        one, other = tmp_path / "cold" / name, tmp_path / "forked" / name
        assert (one / "config.json").read_bytes() == (other / "config.json").read_bytes()
        assert (one / "env.json").read_bytes() == (other / "env.json").read_bytes()
        assert timeless(one) == timeless(other)
        assert sum(row["t"] == "episode" for row in timeless(one)) > 3


def timeless(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run, without when they were written."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "time"} for row in rows]
