"""Batches and single commands on a real Ray of two nodes; and what is refused before anything is submitted."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from fake_runner import write_runner
from launched import Cli, looked, shape, until
from postgresql_server import postgresql_server
from programs import wait_until
from ray_cluster import RayCluster, ray_cluster

from openrlb.api.study import read_study
from openrlb.errors import LauncherError, StoreUnwritable, UsageError
from openrlb.store import Store
from openrlb_hpo.contract import verify
from openrlb_runners.launchers import ray_launcher, ray_process
from openrlb_runners.launchers.protocol import TaskState, WorkerArray
from openrlb_runners.launchers.ray_launcher import RayLauncher
from openrlb_runners.launchers.ray_options import RayOptions, checked_ray_options
from openrlb_runners.shared_batch import batch_names

BATCH = ("run", "walk", "--env", "Line-v0", "--steps", "50", "--workers", "2")
SECONDS = 90.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with ray_cluster() as running:
        yield running


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """This cluster serves nobody else."""
    monkeypatch.setattr(ray_launcher, "LOOK_SECONDS", 0.2)


@pytest.fixture
def address(cluster: RayCluster, isolation: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The cluster as its user knows it, and a runner that needs no packages."""
    write_runner(isolation / "runners" / "fake")
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    yield cluster.address
    RayLauncher(isolation / "store" / "launches").close()


@pytest.fixture
def place(cluster: RayCluster, tmp_path: Path) -> Iterator[RayLauncher]:
    """A launcher; what it has begun is ended."""
    launcher = RayLauncher(tmp_path / "jobs with % and 'quotes'", RayOptions(cluster.address))
    yield launcher
    for folder in launcher.root.glob("*"):
        launcher.cancel(folder.name, force=True)
        wait_until(lambda: launcher.state(folder.name).is_over, SECONDS)  # noqa: B023 - it is called at once
    launcher.close()


def shell(name: str, text: str, tasks: int = 1, **words: Any) -> WorkerArray:
    return WorkerArray(name, ("/bin/sh", "-c", text), tasks, **words)


def task(place: RayLauncher, job_id: str) -> TaskState:
    return place.tasks(job_id)[0]


@pytest.mark.stress
def test_an_array_of_workers_is_one_job_and_hides_its_secret(place: RayLauncher) -> None:
    array = shell("array", 'echo "$PLAIN $SECRET"; exit 3', 3, variables={"PLAIN": "it's"}, secrets={"SECRET": "hidden word"})
    assert place.check(array) == "" and not place.root.exists()
    place.submit(array)
    wait_until(lambda: RayLauncher(place.root).state("array").is_over, SECONDS)  # as another process sees it
    assert [(one.task, one.state.code) for one in place.tasks("array")] == [(0, 3), (1, 3), (2, 3)]
    folder = place.root / "array"
    assert [(folder / f"task-{number}.log").read_text() for number in range(3)] == ["it's hidden word\n"] * 3
    assert (folder / ".secret").stat().st_mode & 0o777 == 0o600
    assert "hidden" not in "".join(path.read_text() for path in folder.glob("[!.]*[!g]"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray_launcher, "joined", None)
        assert RayLauncher(place.root).state("array").code == 3  # what is over needs no cluster to be told


@pytest.mark.stress
def test_what_waits_says_so_and_when_it_is_cancelled_never_starts(place: RayLauncher, tmp_path: Path) -> None:
    large = RayLauncher(place.root, RayOptions(place.options.address, num_cpus=64, resources={"big": 0.5}))
    array = shell("large", f"touch {tmp_path}/begun")
    told = "no node of the Ray cluster has num_cpus=64, resources.big=0.5"
    assert large.check(array) == f"{told}: what is submitted waits until one joins"
    large.submit(array)
    assert (task(large, "large").state.phase, task(large, "large").waiting_for) == ("waiting", told)
    large.cancel("large")
    wait_until(lambda: task(large, "large").state.signal == signal.SIGTERM, SECONDS)
    large.submit(shell("gone", "true"))
    ray_process.joined(place.options.address or "", large._namespace).ask("stop", names=["gone-0"], number=15)  # not by us
    wait_until(lambda: "ended before it began" in task(large, "gone").state.reason, SECONDS)
    assert large.lost() == ["gone"] and not (tmp_path / "begun").exists()


@pytest.mark.stress
def test_a_task_whose_actor_dies_is_the_same_command_again(place: RayLauncher) -> None:
    place.submit(shell("again", "echo begins; exec sleep 600"))
    log = place.logs("again")[0]
    wait_until(lambda: task(place, "again").state.phase == "running" and log.read_text() == "begins\n", SECONDS)
    (first,) = read(place, "again", 1)
    actor = next(one for one in psutil.process_iter(["name", "cmdline"]) if (one.info["cmdline"] or [""])[0] == "ray::Task")
    actor.kill()
    wait_until(lambda: task(place, "again").restarts == 1 and log.read_text() == "begins\n" * 2, SECONDS)  # in the same log
    wait_until(lambda: is_gone(first["pid"]), SECONDS)  # it went with its actor
    (second,) = read(place, "again", 2)
    told = [(one, (one.info["cmdline"] or [])[4:]) for one in psutil.process_iter(["cmdline"])]
    guard = next(one for one, words in told if words and str(place.root) in words[0])
    guard.kill()
    wait_until(lambda: place.state("again").signal == signal.SIGKILL, SECONDS)
    wait_until(lambda: is_gone(second["pid"]), SECONDS)


def is_gone(pid: int) -> bool:
    """Whether a process runs no more, perhaps unmourned."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def read(place: RayLauncher, job_id: str, attempt: int) -> Iterator[dict[str, Any]]:
    """What a task has written down of an attempt."""
    path = place.root / job_id / f"task-0.{attempt}.json"
    wait_until(lambda: "pid" in path.read_text(), SECONDS)
    yield json.loads(path.read_text())


@pytest.mark.stress
def test_a_submitter_that_died_half_way_is_gone_on_with(place: RayLauncher, tmp_path: Path) -> None:
    place.submit(shell("half", f"echo x >> {tmp_path}/begun; exec sleep 600", 2))
    begun = tmp_path / "begun"
    wait_until(lambda: begun.exists() and begun.read_text() == "x\nx\n", SECONDS)
    record = place.root / "half" / "job.json"
    record.write_text(record.read_text().replace('"submitted": true', '"submitted": false'))
    RayLauncher(place.root, place.options).submit(shell("half", "never", 3))
    wait_until(lambda: len(RayLauncher(place.root).tasks("half")) == 3, SECONDS)
    assert begun.read_text() == "x\nx\n"


@pytest.mark.stress
def test_a_batch_on_ray_leaves_the_store_that_the_local_one_leaves(address: str, cli: Cli, isolation: Path, store: Store) -> None:
    words = (*BATCH, "--seeds", "3")
    dry = cli(*words, "--launcher", "ray", "--ray", "num_gpus=9", "--dry-run")
    assert dry.exit_code == 0 and "# Ray executes it 2 times, each with num_cpus=1, num_gpus=9" in dry.stderr
    assert "warning: no node of the Ray cluster has num_cpus=1, num_gpus=9" in dry.stderr and batch_names(store.layout) == []
    begun = cli(*words, "--launcher", "ray", "--json")
    assert begun.exit_code == 0, begun.stderr
    launched = json.loads(begun.stdout)["launched"]
    assert launched["workers"] == 2 and not launched["already"] and address in launched["where"]
    again = json.loads(cli(*words, "--launcher", "ray", "--json").stdout)
    assert again["launched"] is None or again["launched"]["already"]
    row = until(cli, launched["name"], state="finished", workers=0)
    assert (row["done"], row["failed"], row["lost"], row["queued"]) == (3, 0, 0, 0)
    whole = shape(store)
    assert {row[6] for row in whole[:3]} == {"finished"} and len(whole) == 48
    (isolation / "store").rename(isolation / "on-ray")
    assert cli(*words).exit_code == 0
    assert shape(Store()) == whole


@pytest.mark.stress
def test_workers_that_are_killed_or_cancelled_cost_nothing_but_time(address: str, cli: Cli, store: Store) -> None:
    words = (*BATCH, "--seeds", "3", "--steps", "600", "--set", "pause=0.01", "--launcher", "ray")
    assert cli(*words).exit_code == 0
    name = batch_names(store.layout)[0]
    until(cli, name, running=2)
    killed = next(one for one in psutil.process_iter(["cmdline"]) if name in (one.info["cmdline"] or []))
    killed.kill()
    until(cli, name, workers=1)
    assert "would be asked" in cli("cancel", name, "--dry-run").stderr and looked(cli, name)["workers"] == 1
    ended = cli("cancel", name)
    assert ended.exit_code == 0 and f"{name}.1 on the Ray cluster {address} asked to end" in ended.stderr
    row = until(cli, name, state="stopped")
    assert row["done"] + row["queued"] + row["lost"] == 3 and row["running"] == 0
    assert cli("cancel", name).exit_code == 3
    assert cli(*words).exit_code == 0
    until(cli, name, state="finished", done=3, workers=0)
    assert store.query("SELECT state, count(*) FROM runs GROUP BY state").rows == [("finished", 3)]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--ray", "adress=x:1"), 2, "did you mean address?"),
        (("--ray", "num_cpus=-1"), 2, "not a number"),
        (("--ray", "address=nowhere"), 2, "HOST:PORT"),
        (("--ray", "num_cpus=1", "--ray", "num_cpus=2"), 2, "twice"),
        (("--slurm", "time=5"), 2, "--launcher slurm"),
    ],
)
def test_what_is_refused_leaves_nothing(
    isolation: Path, cli: Cli, store: Store, words: tuple[str, ...], code: int, told: str
) -> None:
    pytest.importorskip("ray")
    write_runner(isolation / "runners" / "fake")
    ended = cli(*BATCH, "--launcher", "ray", *words)
    assert ended.exit_code == code and told in ended.stderr and ended.stderr.count("\n  why: ") == 1
    assert batch_names(store.layout) == [] and not list(store.layout.root.glob("launches/*/"))


def test_a_cluster_that_is_not_there(isolation: Path, cli: Cli, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    write_runner(isolation / "runners" / "fake")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{one.getsockname()[1]}"
    Path("openrlb.toml").write_text(f'[ray]\naddress = "{nobody}"\nresources = {{ big = 1 }}\n')
    ended = cli(*BATCH, "--launcher", "ray")
    assert (
        ended.exit_code == 1 and f"no Ray cluster answers at {nobody}" in ended.stderr and "nothing was submitted" in ended.stderr
    )
    assert batch_names(store.layout) == [] and not list(store.layout.root.glob("launches/*/"))
    monkeypatch.setattr(ray_process, "find_spec", lambda name: None)
    ended = cli(*BATCH, "--launcher", "ray")
    assert ended.exit_code == 2 and "openrlb[ray]" in ended.stderr
    study = cli("tune", "walk", "--budget", "30", "--env", "Line-v0", "--launcher", "ray", "--workers", "2")
    assert study.exit_code == 2 and "--launcher ray needs PostgreSQL" in study.stderr


def test_options_are_read_from_files_and_flags() -> None:
    found = checked_ray_options({"address": "a:1", "resources": {"big": 1}, "--num-cpus": "2", "resources.big": "0.5"})
    assert found == RayOptions("a:1", 2, resources={"big": 0.5})
    assert found.of_task(4) == {"num_cpus": 2, "resources": {"big": 0.5}} and RayOptions().of_task(4) == {"num_cpus": 4}
    for wrong in ({"num_cpus": True}, {"memory": "8G"}, {"resources.a b": 1}, {"num_gpus": "nan"}, {"resources": 3}):
        with pytest.raises(UsageError):
            checked_ray_options(wrong)


@pytest.mark.stress
def test_a_full_disk_submits_nothing(cluster: RayCluster, small_disk: Path) -> None:
    launcher = RayLauncher(small_disk / "launches", RayOptions(cluster.address))
    with pytest.raises(OSError, match="space"), (small_disk / "full").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    with pytest.raises(StoreUnwritable, match="space"):
        launcher.submit(shell("full", "sleep 600", 2))
    assert not (small_disk / "launches" / "full").exists()
    asked = ray_process.joined(cluster.address, launcher._namespace).ask("look", names=["full-0"], begun=[], options={})
    assert asked["there"] == []


OTHER_VERSION = """
import json, sys
from ray._raylet import GcsClient
client = GcsClient(address=sys.argv[1])
told = json.loads(client.internal_kv_get(b"CLUSTER_METADATA", b"cluster"))
client.internal_kv_put(b"CLUSTER_METADATA", json.dumps({**told, "ray_version": sys.argv[2]}).encode(), True, b"cluster")
print(told["ray_version"])
"""


@pytest.mark.stress
def test_a_cluster_of_another_version(address: str, cli: Cli, store: Store) -> None:
    def change(told: str) -> str:
        words = [sys.executable, "-c", OTHER_VERSION, address, told]
        variables = {**os.environ, "PYTHONWARNINGS": "ignore"}
        return subprocess.run(words, check=True, capture_output=True, text=True, env=variables).stdout.splitlines()[-1]

    before = change("2.1.0")
    try:
        ended = cli(*BATCH, "--launcher", "ray")
        assert ended.exit_code == 2 and "another version" in ended.stderr and "Ray: 2.1.0" in ended.stderr
        assert batch_names(store.layout) == []
    finally:
        change(before)


@pytest.mark.stress
def test_a_node_that_is_lost_costs_its_workers_a_restart(cluster: RayCluster, tmp_path: Path) -> None:
    place = RayLauncher(tmp_path / "jobs", RayOptions(cluster.address))
    place.submit(shell("moves", "echo begins; exec sleep 600", 4))
    wait_until(lambda: all(one.state.phase == "running" for one in place.tasks("moves")), SECONDS)
    before = [one.node for one in place.tasks("moves")]
    assert len(set(before)) == 2
    cluster.kill_node("second")
    wait_until(lambda: {one.state.phase for one in place.tasks("moves")} == {"running", "waiting"}, SECONDS)
    cluster.start_node("second")
    wait_until(lambda: all(one.state.phase == "running" for one in place.tasks("moves")), SECONDS)
    assert sorted(one.restarts for one in place.tasks("moves")) == [0, 0, 1, 1]
    place.cancel("moves")
    wait_until(lambda: place.state("moves").is_over, SECONDS)


@pytest.mark.stress
def test_a_cluster_that_dies(isolation: Path, cli: Cli, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What it has trained is there, status goes on, and another cluster takes over."""
    write_runner(isolation / "runners" / "fake")
    words = (*BATCH, "--seeds", "3", "--steps", "600", "--set", "pause=0.02", "--launcher", "ray")
    with ray_cluster() as dying:
        monkeypatch.setenv("RAY_ADDRESS", dying.address)
        place = RayLauncher(tmp_path / "jobs", RayOptions(dying.address))
        place.submit(shell("one", "sleep 600"))
        assert cli(*words).exit_code == 0
        name = batch_names(store.layout)[0]
        until(cli, name, running=1)
        wait_until(lambda: place.state("one").phase == "running", SECONDS)
    assert place.state("one").phase == "running"  # what was known stays
    with pytest.raises(LauncherError, match="answer"):
        RayLauncher(tmp_path / "jobs").state("one")
    row = looked(cli, name)
    assert row["state"] == "stopped" and row["note"]
    ended = cli("cancel", name)
    assert ended.exit_code == 1 and "Ray" in ended.stderr
    assert cli(*words).exit_code == 1  # it is still the one that is asked for
    with ray_cluster() as other:
        assert cli(*words, "--ray", f"address={other.address}").exit_code == 0
        until(cli, name, state="finished", done=3, workers=0)


@pytest.mark.stress
def test_a_machine_that_is_no_node_submits_too(tmp_path: Path) -> None:
    pytest.importorskip("grpc")
    with ray_cluster() as cluster:
        place = RayLauncher(tmp_path / "jobs", RayOptions(cluster.client_address))
        place.submit(shell("short", "exit 3", 2))
        place.submit(shell("long", "exec sleep 600"))
        wait_until(lambda: place.state("short").code == 3 and place.state("long").phase == "running", SECONDS)
        ray_process.joined(cluster.client_address, place._namespace).close()
        again = RayLauncher(tmp_path / "jobs")
        assert again.state("long").phase == "running" and again.where("long").endswith(cluster.client_address)
        again.cancel("long")
        wait_until(lambda: again.state("long").signal == signal.SIGTERM, SECONDS)


@pytest.mark.stress
def test_a_study_on_ray_and_postgresql(address: str, cli: Cli, tmp_path: Path, store: Store) -> None:
    (tmp_path / "space.toml").write_text("[walk]\nrate = { uniform = [0.1, 2.0] }\n")
    seeds = ("--tuning-seeds", "2", "--confirm", "1", "--test-seeds", "2", "--budget", "8")
    with postgresql_server() as server:
        url = server.fresh().replace("postgres@", "postgres:hidden%20word@")
        words = ("tune", "walk", "--env", "Line-v0", "--steps", "50", *seeds, "--space", tmp_path / "space.toml")
        begun = cli(*words, "--storage", url, "--launcher", "ray", "--workers", "2")
        assert begun.exit_code == 0, begun.stderr
        (folder,) = store.layout.root.glob("launches/*/")
        name = folder.name.rpartition(".")[0]
        row = until(cli, name, "--storage", url, state="finished", workers=0)
        record = read_study(name, storage=url).record
        assert verify(record) == () and record.spent <= 8 and row["done"] == len(record.reservations)
        assert "hidden" not in begun.output + "".join(path.read_text() for path in folder.glob("[!.]*"))
