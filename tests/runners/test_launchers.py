"""What every launcher promises, tried on this machine's own, on a real SLURM and on a real Ray of two nodes each."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import psutil
import pytest
from fake_runner import fake_runner, item, request
from programs import wait_until
from ray_cluster import RayCluster, ray_cluster
from slurm_cluster import SlurmCluster, slurm_cluster

from openrlb.errors import LauncherError, UsageError
from openrlb.store import Store
from openrlb_runners import worker
from openrlb_runners.batch import Batch
from openrlb_runners.launchers import ray_launcher, slurm
from openrlb_runners.launchers.local import LocalLauncher
from openrlb_runners.launchers.protocol import Job, JobState, Launcher, WorkerArray
from openrlb_runners.launchers.ray_launcher import RayLauncher
from openrlb_runners.launchers.ray_options import RayOptions
from openrlb_runners.launchers.slurm import SlurmLauncher
from openrlb_runners.launchers.slurm_script import Script, checked_options
from openrlb_runners.request import PinnedRunner
from openrlb_runners.supervise import Limits

SECONDS = 60.0
RAY_UNDER_STRESS = pytest.mark.parametrize(
    "place", ["local", "slurm", pytest.param("ray", marks=pytest.mark.stress)], indirect=True
)
"""What takes Ray seconds is not waited for each time."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    with slurm_cluster() as running:
        yield running


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayCluster]:
    with ray_cluster() as running:
        yield running


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """These controllers serve nobody else."""
    monkeypatch.setattr(slurm, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(ray_launcher, "LOOK_SECONDS", 0.2)


@pytest.fixture(params=["local", "slurm", "ray"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Launcher]:
    """A launcher."""
    if request.param == "local":
        with LocalLauncher() as launcher:
            yield launcher
        return
    if request.param == "ray":
        nodes: RayCluster = request.getfixturevalue("nodes")
        place = RayLauncher(tmp_path / "jobs", RayOptions(nodes.address, resources={"second": 1}))
        yield place
        for folder in place.root.glob("*"):
            place.cancel(folder.name, force=True)
        place.close()
        return
    running: SlurmCluster = request.getfixturevalue("cluster")
    yield SlurmLauncher(tmp_path / "jobs")
    running.ask("scancel", "--user=root")


@pytest.fixture
def runner(tmp_path: Path) -> PinnedRunner:
    return fake_runner(tmp_path / "fake")


@pytest.fixture
def job(runner: PinnedRunner, tmp_path: Path) -> Callable[..., Job]:
    """Makes a job of the fake runner."""

    def make(name: str, steps: int = 20, seed: int = 1, **hyperparameters: Any) -> Job:
        folder = tmp_path / f"out-{name}"
        folder.mkdir()
        asked = request(seed=seed, steps=steps, **hyperparameters)
        (folder / "spec.json").write_text(json.dumps(asked.to_spec()))
        return Job(name, runner, ("--spec", str(folder / "spec.json"), "--out", str(folder)), folder)

    return make


def until(place: Launcher, job_id: str, phase: str) -> JobState:
    """Waits until a job is in a phase."""
    deadline = time.monotonic() + SECONDS
    while (state := place.state(job_id)).phase != phase:
        assert time.monotonic() < deadline, state
        assert not state.is_over, state
        place.wait(0.1)
    return state


def until_over(place: Launcher, job_id: str) -> JobState:
    """Waits until a job is over, however it ended."""
    deadline = time.monotonic() + SECONDS
    while not (state := place.state(job_id)).is_over:
        assert time.monotonic() < deadline, state
        place.wait(0.1)
    return state


def processes(folder: Path) -> list[psutil.Process]:
    """The processes that write to a folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "--out" in words and words[words.index("--out") + 1] == str(folder):
            found.append(process)
    return found


def rows(folder: Path) -> list[str]:
    path = folder / "metrics.jsonl"
    return path.read_text().splitlines() if path.exists() else []


@RAY_UNDER_STRESS
def test_a_job_runs_to_its_end_and_its_files_are_there(place: Launcher, job: Callable[..., Job]) -> None:
    one = job("whole", act="talk")
    place.submit(one)
    state = until(place, "whole", "ended")
    assert (state.code, state.signal) == (0, None)
    assert json.loads((one.folder / "done.json").read_text())["steps"] == 20
    out, err = place.logs("whole")
    assert "a warning of no weight" in err.read_text() and out.exists()
    assert place.lost() == []
    place.forget("whole")


@RAY_UNDER_STRESS
def test_how_a_job_fails_is_told(place: Launcher, job: Callable[..., Job]) -> None:
    place.submit(job("refused", rat=1))
    place.submit(job("broken", act="diverge"))
    place.submit(job("dead", act="die"))
    assert until(place, "refused", "ended").code == 2
    assert until(place, "broken", "ended").code == 4
    dead = until(place, "dead", "ended")
    assert dead.signal == signal.SIGSEGV and dead.code is None


def test_what_a_job_writes_is_seen_while_it_runs_and_cancelling_ends_it(place: Launcher, job: Callable[..., Job]) -> None:
    one = job("long", steps=100_000, act="talk", pause=0.02)
    place.submit(one)
    until(place, "long", "running")
    wait_until(lambda: len(rows(one.folder)) > 4 and "no weight" in place.logs("long")[1].read_text())
    assert place.state("long").phase == "running"
    running = processes(one.folder)
    assert len(running) == 1
    place.cancel("long")
    assert until(place, "long", "ended").signal == signal.SIGTERM
    wait_until(lambda: not processes(one.folder), SECONDS)
    place.cancel("long")  # it is over: nothing happens


@RAY_UNDER_STRESS
def test_one_that_does_not_hear_is_forced(place: Launcher, job: Callable[..., Job]) -> None:
    one = job("deaf", steps=100_000, act="hang")
    place.submit(one)
    until(place, "deaf", "running")
    wait_until(lambda: len(rows(one.folder)) >= 2)
    place.cancel("deaf", force=True)
    state = until(place, "deaf", "ended")
    assert state.code != 0
    wait_until(lambda: not processes(one.folder), SECONDS)


def test_a_job_that_is_submitted_twice_runs_once(place: Launcher, job: Callable[..., Job], tmp_path: Path) -> None:
    one = job("twice", steps=100_000, pause=0.02)
    place.submit(one)
    place.submit(one)
    if isinstance(place, SlurmLauncher | RayLauncher):
        type(place)(place.root, place.options).submit(one)  # type: ignore[arg-type] # as after a restart
    until(place, "twice", "running")
    wait_until(lambda: len(rows(one.folder)) > 4, SECONDS)
    assert len(processes(one.folder)) == 1
    if isinstance(place, SlurmLauncher | RayLauncher):
        again = type(place)(place.root, place.options)  # type: ignore[arg-type]
        (tmp_path / "jobs" / "twice" / "job.json").write_text("")  # its submitter died before it noted that it had submitted it
        again.submit(one)
        assert again.state("twice").phase == "running" and len(processes(one.folder)) == 1
    place.cancel("twice", force=True)
    until(place, "twice", "ended")


@RAY_UNDER_STRESS
def test_a_worker_that_is_killed_is_seen_and_others_go_on(place: Launcher, job: Callable[..., Job]) -> None:
    one, two = job("killed", steps=100_000, pause=0.02), job("other", steps=400, seed=2, pause=0.02)
    place.submit(one)
    place.submit(two)
    until(place, "killed", "running")
    wait_until(lambda: len(rows(one.folder)) > 4, SECONDS)
    for process in processes(one.folder):
        process.kill()
    state = until(place, "killed", "ended")
    assert state.signal == signal.SIGKILL
    assert until(place, "other", "ended").code == 0


@RAY_UNDER_STRESS
def test_the_wall_limit_of_openrlb_holds_wherever_a_run_executes(place: Launcher, runner: PinnedRunner, store: Store) -> None:
    source = Batch(deque([item(runner, request(steps=100_000, pause=0.02)), item(runner, request(steps=30))]))
    worker.work(source, workers=2, store=store, launcher=place, limits=Limits(wall_seconds=1.5))
    states = {outcome.run.steps: outcome.run for _, outcome in source.outcomes}
    ended = {outcome.run.state: outcome.run.notes for _, outcome in source.outcomes}
    assert set(ended) == {"finished", "killed"}, states
    assert any("wall limit of 1.5 s" in note for note in ended["killed"])


@RAY_UNDER_STRESS
def test_a_run_whose_place_is_lost_is_lost(place: Launcher, job: Callable[..., Job], request: pytest.FixtureRequest) -> None:
    """It is never taken for done, and nobody but its openrlb begins it again."""
    one = job("on-it", steps=100_000, pause=0.02)
    place.submit(one)
    until(place, one.id, "running")
    wait_until(lambda: len(rows(one.folder)) > 4, SECONDS)
    if isinstance(place, SlurmLauncher):
        with without_node(request.getfixturevalue("cluster"), place.tasks(one.id)[0].node):
            assert not processes(one.folder)
            assert until(place, one.id, "lost").reason == "its node failed"
    elif isinstance(place, RayLauncher):
        nodes: RayCluster = request.getfixturevalue("nodes")
        nodes.kill_node("second")
        assert not processes(one.folder)
        assert until(place, one.id, "lost").reason.startswith("its node failed")
        nodes.start_node("second")
    else:
        psutil.Process(processes(one.folder)[0].pid).parent().kill()  # type: ignore[union-attr]
        assert until(place, one.id, "lost").reason
    assert place.lost() == [one.id]
    wait_until(lambda: not processes(one.folder), SECONDS)
    place.forget(one.id)
    place.submit(job("after-it"))
    assert until(place, "after-it", "ended").code == 0


@contextmanager
def without_node(cluster: SlurmCluster, node: str) -> Iterator[None]:
    """The cluster while one of its nodes is gone."""
    cluster.kill_node(node)
    cluster.ask("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=gone")  # else seen after SlurmdTimeout
    try:
        yield
    finally:
        cluster.start_node(node)
        cluster.ask("scontrol", "update", f"NodeName={node}", "State=RESUME")


@pytest.mark.parametrize("how", ["requeued", pytest.param("node lost", marks=pytest.mark.stress)])
def test_workers_that_are_requeued_are_the_same_command_again(cluster: SlurmCluster, tmp_path: Path, how: str) -> None:
    place = SlurmLauncher(tmp_path / "jobs")
    place.submit(WorkerArray("again", ("/bin/sh", "-c", "echo begins; exec sleep 600"), 1))
    until(place, "again", "running")
    log = place.logs("again")[0]
    wait_until(lambda: log.exists() and log.read_text() == "begins\n")
    number = json.loads((place.root / "again" / "job.json").read_text())["job"]
    node = place.tasks("again")[0].node
    with without_node(cluster, node) if how == "node lost" else nullcontext():
        if how == "requeued":
            assert cluster.ask("scontrol", "requeue", str(number)).returncode == 0
        wait_until(lambda: place.tasks("again")[0].restarts == 1, SECONDS)
        wait_until(lambda: log.read_text().count("begins\n") == 2, SECONDS)  # the same log goes on
        assert place.state("again").phase == "running"
        assert how == "requeued" or place.tasks("again")[0].node != node
    place.cancel("again", force=True)
    until_over(place, "again")


def test_an_array_of_workers_is_one_job(cluster: SlurmCluster, tmp_path: Path) -> None:
    place = SlurmLauncher(tmp_path / "jobs with % and 'quotes'")
    words = ("/bin/sh", "-c", 'echo "task $SLURM_ARRAY_TASK_ID: $PLAIN $SECRET"; exit $((SLURM_ARRAY_TASK_ID / 2))')
    array = WorkerArray("array", words, 3, variables={"PLAIN": "it's"}, secrets={"SECRET": "hidden word"})
    place.check(array)
    assert not place.root.exists()
    place.submit(array)
    until_over(place, "array")
    assert [(one.task, one.state.code) for one in place.tasks("array")] == [(0, 0), (1, 0), (2, 1)]
    assert place.state("array").code == 1
    logs = [(place.root / "array" / f"task-{task}.log").read_text() for task in range(3)]
    assert logs == [f"task {task}: it's hidden word\n" for task in range(3)]
    assert "hidden" not in (place.root / "array" / "script.sh").read_text()
    assert (place.root / "array" / ".secret").stat().st_mode & 0o777 == 0o600
    assert cluster.ask("scontrol", "show", "job", "-dd").stdout.count("hidden") == 0


def test_what_waits_and_is_cancelled_never_starts(cluster: SlurmCluster, tmp_path: Path) -> None:
    place = SlurmLauncher(tmp_path / "jobs", {"nodes": "2", "exclusive": ""})
    first, second = (WorkerArray(name, ("/bin/sh", "-c", f"touch {tmp_path}/{name}; sleep 600"), 1) for name in ("a", "b"))
    place.submit(first)
    until(place, "a", "running")
    place.submit(second)
    until(place, "b", "waiting")
    wait_until(lambda: place.tasks("b")[0].waiting_for in ("Resources", "Priority"), SECONDS)
    place.cancel("b")
    until(place, "b", "ended")
    place.cancel("a")
    until(place, "a", "ended")
    assert (tmp_path / "a").exists() and not (tmp_path / "b").exists()


@pytest.mark.stress
def test_slurms_own_time_limit(cluster: SlurmCluster, tmp_path: Path) -> None:
    """Its smallest is a minute."""
    place = SlurmLauncher(tmp_path / "jobs", {"time": "1"})
    place.submit(WorkerArray("long", ("/bin/sleep", "600"), 1))
    wait_until(lambda: place.state("long").is_over, 180)
    assert place.state("long") == JobState("lost", reason="time limit")


@pytest.mark.stress
def test_jobs_that_slurm_has_forgotten(tmp_path: Path) -> None:
    """With accounting it is remembered how they ended, without they are lost."""
    for accounting in (False, True):
        with slurm_cluster(accounting=accounting, remembered=2):
            root = tmp_path / str(accounting)
            SlurmLauncher(root).submit(WorkerArray("short", ("/bin/sh", "-c", "exit $SLURM_ARRAY_TASK_ID"), 2))
            known = [(0, 0), (1, 1)] if accounting else [(0, None)]
            ended = "ended" if accounting else "lost"
            deadline = time.monotonic() + 200
            while True:  # a look of its own each time: what one has seen to its end it remembers
                place = SlurmLauncher(root)
                if slurm._ask(["scontrol", "show", "job", str(place.number("short"))]).returncode:
                    break
                assert time.monotonic() < deadline
                time.sleep(1)
            place = SlurmLauncher(root)
            told = [(one.task, one.state.code) for one in place.tasks("short")]
            assert told == known and place.state("short").phase == ended


@pytest.mark.parametrize(
    ("options", "why"),
    [({"partition": "nowhere"}, "nowhere"), ({"nodes": "99"}, "node"), ({"mem": "9999999M"}, "emory|node configuration")],
)
def test_what_slurm_refuses_is_told_and_nothing_is_left(
    cluster: SlurmCluster, tmp_path: Path, options: dict[str, str], why: str
) -> None:
    place = SlurmLauncher(tmp_path / "jobs", options)
    array = WorkerArray("refused", ("/bin/true",), 1)
    for attempt in (place.check, place.submit):
        with pytest.raises(LauncherError) as refused:
            attempt(array)
        assert re.search(why, refused.value.why), refused.value
    assert not (tmp_path / "jobs" / "refused").exists()
    assert cluster.ask("squeue", "-h", "--name=openrlb-refused").stdout == ""


def test_a_controller_that_does_not_answer(cluster: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = SlurmLauncher(tmp_path / "jobs")
    place.submit(WorkerArray("one", ("/bin/sleep", "600"), 1))
    until(place, "one", "running")
    elsewhere = tmp_path / "slurm.conf"
    text = cluster.configuration.read_text()
    port = next(line for line in text.splitlines() if line.startswith("SlurmctldPort="))
    elsewhere.write_text(text.replace(port, "SlurmctldPort=1").replace("SlurmctldTimeout=10", "MessageTimeout=1"))
    monkeypatch.setenv("SLURM_CONF", str(elsewhere))
    monkeypatch.setattr(slurm, "LOOK_SECONDS", 0.0)
    assert place.state("one").phase == "running"  # what was known stays
    with pytest.raises(LauncherError, match="controller"):
        SlurmLauncher(tmp_path / "jobs").state("one")
    monkeypatch.setenv("SLURM_CONF", str(cluster.configuration))
    place.cancel("one", force=True)
    until(place, "one", "ended")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"array": "0-9"}, "--workers"),
        ({"wait": True}, "--watch"),
        ({"partitions": "gpu"}, "partition"),
        ({"time=5; rm": "1"}, "names no option"),
        ({"time": "5\n#SBATCH --array=0-9"}, "printed"),
        ({"time": ["1", "2"]}, "no text or number"),
    ],
)
def test_options_that_cannot_be_passed_on(options: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError) as refused:
        checked_options(options)
    assert told in f"{refused.value.why} {refused.value.fix}"


def test_the_script_is_there_to_be_read(tmp_path: Path) -> None:
    secrets = {"OPENRLB_STORAGE": tmp_path / ".storage"}
    options = checked_options({"time": "2:00:00", "exclusive": True, "no-requeue": True})
    script = Script("openrlb-x", (sys.executable, "-c", "print('a b')"), tmp_path, 4, options, {"A": "b c"}, secrets, 2)
    lines = script.text.splitlines()
    assert lines[0] == "#!/bin/bash" and lines[-1] == f"exec {sys.executable} -c 'print('\"'\"'a b'\"'\"')'"
    wanted = ("--array=0-3", "--cpus-per-task=2", "--exclusive", "--no-requeue", "--time=2:00:00", "--open-mode=append")
    assert {f"#SBATCH {word}" for word in wanted} <= set(lines) and "#SBATCH --requeue" not in lines
    assert "export A='b c'" in lines and f"OPENRLB_STORAGE=$(cat {tmp_path}/.storage) || exit 1" in lines
    assert subprocess.run(["bash", "-n"], input=script.text, text=True, check=False).returncode == 0
    other = script.text.replace("!= '3.", "!= '9.").replace("$(cat", "$(echo")
    ended = subprocess.run(["bash"], input=other, text=True, capture_output=True, check=False)
    assert ended.returncode == 127 and ended.stderr.startswith("error: this node has no Python")


def test_a_machine_without_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError) as refused:
        SlurmLauncher(tmp_path / "jobs")
    assert "sbatch" in refused.value.why and not list(tmp_path.iterdir())


def test_what_ray_refuses_leaves_nothing_but_what_was_submitted_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Refuses:
        address = "10.0.0.1:6379"

        def ask(self, what: str, **words: Any) -> dict[str, Any]:
            raise LauncherError("Ray does not answer", what, "")

    monkeypatch.setattr(ray_launcher, "joined", lambda address, namespace: Refuses())
    place, array = RayLauncher(tmp_path, RayOptions("10.0.0.1:6379")), WorkerArray("b.1", ("true",), 2, 1)
    with pytest.raises(LauncherError):
        place.submit(array)
    assert list(tmp_path.iterdir()) == []
    begun = {"format": 1, "launcher": "ray", "address": Refuses.address, "tasks": 2, "options": {}, "submitted": False}
    (tmp_path / "b.1").mkdir()
    (tmp_path / "b.1" / "job.json").write_text(json.dumps(begun))
    (tmp_path / "b.1" / "task-0.1.json").write_text('{"phase": "running", "pid": 1}')
    with pytest.raises(LauncherError):
        place.submit(array)
    assert (tmp_path / "b.1" / "task-0.1.json").exists(), "its worker lives, and cancel has to find it"
