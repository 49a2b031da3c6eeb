"""Batches on a real SLURM: submitted once, looked at, ended, gone on with; and what is refused before anything is submitted."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fake_runner import write_runner
from launched import Cli, looked, shape, until
from postgresql_server import PostgresqlServer, postgresql_server
from programs import wait_until
from slurm_cluster import NODES, SlurmCluster, slurm_cluster

from openrlb.api.study import read_study
from openrlb.errors import LauncherError, StoreUnwritable
from openrlb.store import Store
from openrlb_hpo.contract import verify
from openrlb_runners.launchers import slurm
from openrlb_runners.shared_batch import batch_names, read_batch

BATCH = ("run", "walk", "--env", "Line-v0", "--steps", "50", "--workers", "2")


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    with slurm_cluster() as running:
        yield running


@pytest.fixture
def place(cluster: SlurmCluster, isolation: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmCluster]:
    """The cluster with nothing on it, and a runner that needs no packages."""
    write_runner(isolation / "runners" / "fake")
    monkeypatch.setattr(slurm, "LOOK_SECONDS", 0.1)
    yield cluster
    cluster.ask("scancel", "--user=root")
    wait_until(lambda: not cluster.ask("squeue", "--noheader").stdout.strip(), 60)


def test_a_batch_on_slurm_leaves_the_store_that_the_local_one_leaves(
    place: SlurmCluster, cli: Cli, isolation: Path, store: Store
) -> None:
    words = (*BATCH, "--seeds", "3")
    begun = cli(*words, "--launcher", "slurm", "--slurm", "time=10", "--json")
    assert begun.exit_code == 0, begun.stderr
    report = json.loads(begun.stdout)
    assert report["runs"] == [] and report["launched"]["workers"] == 2 and not report["launched"]["already"]
    name, job = report["launched"]["name"], report["launched"]["job"]
    again = json.loads(cli(*words, "--launcher", "slurm", "--json").stdout)
    assert again["launched"]["already"] and again["launched"]["job"] == job
    row = until(cli, name, state="finished", workers=0)
    assert (row["done"], row["failed"], row["lost"], row["queued"]) == (3, 0, 0, 0)
    there = json.loads(cli(*words, "--launcher", "slurm", "--json").stdout)
    assert there["launched"] is None and {line["trained"] for line in there["runs"]} == {False}
    whole = shape(store)
    assert {row[6] for row in whole[:3]} == {"finished"} and len(whole) == 48
    (isolation / "store").rename(isolation / "on-slurm")
    assert cli(*words).exit_code == 0
    assert shape(Store()) == whole


def test_a_dry_run_tells_of_the_workers_that_are_there(
    place: SlurmCluster, cli: Cli, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*BATCH, "--seeds", "2", "--launcher", "slurm")
    place.ask("scontrol", "update", "PartitionName=main", "State=DOWN")  # so that nothing begins
    try:
        assert cli(*words).exit_code == 0
        (name,) = batch_names(store.layout)
        assert looked(cli, name)["note"] == "SLURM has its partition down"
        for told in (cli(*words, "--dry-run").stderr, cli(*words, "--workers", "5").stderr):
            assert f"2 of 2 workers for {name} are there already: SLURM job" in told and "--workers is not used" in told
            assert "would be submitted" not in told and f"openrlb worker {name}" in told
        (root,) = store.layout.root.glob("launches/*/")
        place.ask("scancel", f"{json.loads((root / 'job.json').read_text())['job']}_1")
        until(cli, name, workers_waiting=1)
        assert looked(cli, name)["note"] == "SLURM has its partition down; 1 of 2 workers has ended"
        assert "1 of 2 workers for" in cli(*words).stderr
        with monkeypatch.context() as away:
            away.setenv("SLURM_CONF", "/nowhere/slurm.conf")
            silent = looked(cli, name)
            assert silent["note"].startswith("SLURM does not answer: ") and "fatal" not in silent["note"] and silent["job"]
        assert cli("cancel", name).exit_code == 0
        until(cli, name, state="stopped")
    finally:
        place.ask("scontrol", "update", "PartitionName=main", "State=UP")
    assert f"openrlb-{name}.2" in cli(*words, "--dry-run").stderr


@pytest.mark.stress
def test_workers_that_are_killed_or_cancelled_cost_nothing_but_time(place: SlurmCluster, cli: Cli, store: Store) -> None:
    import psutil

    words = (*BATCH, "--seeds", "4", "--steps", "1500", "--set", "pause=0.02", "--launcher", "slurm")
    assert cli(*words).exit_code == 0
    name = batch_names(store.layout)[0]
    until(cli, name, running=2)
    killed = next(one for one in psutil.process_iter(["cmdline"]) if name in (one.info["cmdline"] or []))
    killed.kill()
    until(cli, name, workers=1)
    dry = cli("cancel", name, "--dry-run")
    assert "would be asked" in dry.stderr and looked(cli, name)["workers"] == 1
    assert cli("cancel", name).exit_code == 0
    row = until(cli, name, state="stopped")
    assert row["done"] + row["queued"] + row["lost"] == 4 and row["running"] == 0
    nothing = cli("cancel", name)
    assert nothing.exit_code == 3 and "nothing of it runs" in nothing.stderr
    assert cli(*words).exit_code == 0
    until(cli, name, state="finished", done=4, workers=0)
    states = store.query("SELECT state, count(*) FROM runs GROUP BY state").rows
    assert states == [("finished", 4)]


@pytest.mark.stress
def test_a_run_that_fails_is_not_tried_by_every_worker(place: SlurmCluster, cli: Cli, store: Store) -> None:
    words = (*BATCH, "--seeds", "3", "--set", "act=crash", "--launcher", "slurm")
    assert cli(*words).exit_code == 0
    name = batch_names(store.layout)[0]
    row = until(cli, name, state="failed", workers=0)
    assert row["failed"] == 3
    assert store.query("SELECT DISTINCT state, attempt FROM runs").rows == [("crashed", 1)]
    assert cli(*words).exit_code == 0  # asked for again it is tried again
    until(cli, name, state="failed", workers=0)
    assert store.query("SELECT DISTINCT state, attempt FROM runs").rows == [("crashed", 2)]


@pytest.mark.stress
def test_a_worker_refuses_another_state_of_the_runner(place: SlurmCluster, cli: Cli, isolation: Path, store: Store) -> None:
    script = isolation / "runners" / "fake" / "run.py"
    place.ask("scontrol", "update", "PartitionName=main", "State=DOWN")  # so that nothing begins yet
    try:
        assert cli(*BATCH, "--seeds", "2", "--launcher", "slurm").exit_code == 0
        name = batch_names(store.layout)[0]
        assert looked(cli, name)["state"] == "waiting"
        script.write_text(script.read_text() + "# changed\n")
    finally:
        place.ask("scontrol", "update", "PartitionName=main", "State=UP")
    row = until(cli, name, state="stopped")
    assert "cannot go on here" in row["note"] and row["queued"] == 2
    ended = cli("worker", name)
    assert ended.exit_code == 2 and "begun with runner's source" in ended.stderr


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--slurm", "partition=nowhere"), 1, "nowhere"),
        (("--slurm", "nonsense=yes"), 1, "why: unrecognized option '--nonsense=yes'\n  fix: mend --slurm"),
        (("--slurm", "time"), 1, "why: option '--time' requires an argument\n  fix: mend --slurm"),
        (("--slurm", "array=0-9"), 2, "--workers"),
        (("--slurm", "partition=a", "--slurm", "partition=b"), 2, "twice"),
        (("--launcher", "cloud"), 2, "there is no launcher"),
    ],
)
def test_what_is_refused_leaves_nothing(
    place: SlurmCluster, cli: Cli, store: Store, words: tuple[str, ...], code: int, told: str
) -> None:
    ended = cli(*BATCH, "--seeds", "2", "--launcher", "slurm", *words)
    assert ended.exit_code == code and told in ended.stderr and ended.stderr.count("\n  why: ") == 1
    assert batch_names(store.layout) == [] and place.ask("squeue", "--noheader").stdout == ""
    assert not list(store.layout.root.glob("launches/*/"))


def test_a_full_disk_submits_nothing(place: SlurmCluster, small_disk: Path) -> None:
    launcher = slurm.SlurmLauncher(small_disk / "launches")
    with pytest.raises(OSError, match="space"), (small_disk / "full").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    with pytest.raises(StoreUnwritable, match="space"):
        launcher.submit(slurm.WorkerArray("full", ("/bin/sleep", "600"), 2))
    assert place.ask("squeue", "--noheader").stdout == "" and not (small_disk / "launches" / "full").exists()


def test_a_dry_run_shows_the_script_and_settings_files_count(place: SlurmCluster, cli: Cli, store: Store) -> None:
    Path("openrlb.toml").write_text(
        '[slurm]\npartition = "main"\ntime = "2:00:00"\nexclusive = true\n[run]\nlauncher = "slurm"\n'
    )
    assert cli("runner", "install", "fake").exit_code == 0
    ended = cli(*BATCH, "--seeds", "2", "--slurm", "time=30", "--wall-limit", "10m", "--threads", "2", "--dry-run", "--json")
    assert ended.exit_code == 0, ended.stderr
    launched = json.loads(ended.stdout)["launched"]
    assert launched["job"] is None and launched["launch"] == ""
    lines = launched["script"].splitlines()
    for word in ("--partition=main", "--time=30", "--exclusive", "--cpus-per-task=2", "--array=0-1"):
        assert f"#SBATCH {word}" in lines
    assert "export OMP_NUM_THREADS=2" in lines
    assert lines[-1] == f"exec {sys.executable} -m openrlb --no-progress worker {launched['name']} --workers 1 --wall-limit 600"
    shown = cli(*BATCH, "--seeds", "2", "--dry-run")
    assert "  #SBATCH --partition=main" in shown.stderr
    assert not store.layout.root.exists() or not list(store.layout.root.glob("batches/*"))


def test_a_machine_without_slurm(cli: Cli, isolation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_runner(isolation / "runners" / "fake")
    monkeypatch.setenv("PATH", str(isolation))
    ended = cli(*BATCH, "--launcher", "slurm")
    assert ended.exit_code == 2 and "sbatch" in ended.stderr
    study = cli("tune", "walk", "--budget", "30", "--env", "Line-v0", "--launcher", "slurm", "--workers", "2")
    assert study.exit_code == 2 and "needs PostgreSQL" in study.stderr
    assert not (isolation / "store").exists()


def test_a_batch_that_cannot_be_read_is_named(cli: Cli, store: Store) -> None:
    folder = store.layout.root / "batches" / "batch-x"
    folder.mkdir(parents=True)
    for text, error in (("{", "JSON"), ('{"format": 99}', "99"), ('{"format": 1, "groups": [1]}', "Error")):
        (folder / "batch.json").write_text(text)
        ended = cli("status")
        assert ended.exit_code == 3 and "the batch batch-x is left out" in ended.stderr and error in ended.stderr
        assert cli("worker", "batch-x").exit_code == 1
    with pytest.raises(Exception, match="there is no batch"):
        read_batch(store.layout, "batch-y")


@pytest.mark.stress
def test_slurm_that_does_not_answer_hides_no_batch(
    place: SlurmCluster, cli: Cli, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli(*BATCH, "--seeds", "1", "--launcher", "slurm").exit_code == 0
    name = batch_names(store.layout)[0]
    until(cli, name, state="finished", workers=0)

    def silent(*words: object) -> None:
        raise LauncherError("x", "the controller does not answer", "y")

    monkeypatch.setattr(slurm.SlurmLauncher, "tasks", silent)
    row = looked(cli, name)
    assert row["state"] == "finished" and row["job"] is not None


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlServer]:
    with postgresql_server() as running:
        yield running


SPACE = "[walk]\nrate = { uniform = [0.1, 2.0] }\n"
STUDY = ("tune", "walk", "--env", "Line-v0", "--steps", "50", "--tuning-seeds", "2", "--confirm", "1", "--test-seeds", "2")


def test_a_study_on_slurm_and_postgresql(
    place: SlurmCluster, server: PostgresqlServer, cli: Cli, tmp_path: Path, store: Store
) -> None:
    (tmp_path / "space.toml").write_text(SPACE)
    url = server.fresh().replace("postgres@", "postgres:hidden%20word@")
    words = (
        *STUDY,
        "--budget",
        "8",
        "--space",
        tmp_path / "space.toml",
        "--storage",
        url,
        "--launcher",
        "slurm",
        "--workers",
        "2",
    )
    dry = cli(*words, "--dry-run")
    assert dry.exit_code == 0 and "#SBATCH --array=0-1" in dry.stdout
    refused = cli(*words, "--slurm", "partition=nowhere")
    assert refused.exit_code == 1 and "nowhere" in refused.stderr
    assert cli("study", "list", "--storage", url).exit_code == 3  # nothing was begun
    begun = cli(*words)
    assert begun.exit_code == 0, begun.stderr
    assert begun.output.count("seeds that are applied") == 1 and "would be" not in begun.output
    (folder,) = store.layout.root.glob("launches/*/")
    name = folder.name.rpartition(".")[0]
    for hidden in (cli("status"), cli("status", name[:9]), cli("cancel", name)):
        assert hidden.exit_code == 3 and name in hidden.stderr and "--storage URL" in hidden.stderr, hidden.output
    row = until(cli, name, "--storage", url, state="finished", workers=0)
    assert (row["kind"], row["queued"], row["lost"], row["failed"]) == ("study", 0, 0, 0)
    record = read_study(name, storage=url).record
    assert verify(record) == () and record.spent <= 8 and row["done"] == len(record.reservations)
    shown = "".join(path.read_text() for path in folder.glob("[!.]*")) + begun.output + dry.output + refused.output
    assert "hidden" not in shown and "hidden" not in place.ask("scontrol", "show", "job", "-dd").stdout
    assert (folder / ".openrlb_storage").stat().st_mode & 0o777 == 0o600
    over = cli(*words)  # it is looked at, and nothing is submitted
    assert over.exit_code == 0 and len(list(store.layout.root.glob("launches/*/"))) == 1


def nothing_submitted(place: SlurmCluster, store: Store) -> bool:
    return place.ask("squeue", "--noheader").stdout == "" and not list(store.layout.root.glob("launches/*/"))


def study_words(tmp_path: Path, url: str) -> tuple[Any, ...]:
    """A study that two workers on SLURM shall train."""
    (tmp_path / "space.toml").write_text(SPACE)
    there = ("--space", tmp_path / "space.toml", "--storage", url, "--launcher", "slurm", "--workers", "2")
    return (*STUDY, "--budget", "8", *there)


def test_wrong_credentials_are_refused_before_anything_is_submitted(
    place: SlurmCluster, server: PostgresqlServer, cli: Cli, tmp_path: Path, store: Store
) -> None:
    """A real refusal of a password, and a name that the server does not know."""
    server.execute("CREATE ROLE guarded LOGIN PASSWORD 'right'")
    rules = server.folder / "data" / "pg_hba.conf"
    rules.write_text("local all guarded scram-sha-256\n" + rules.read_text())
    server.execute("SELECT pg_reload_conf()")
    for who in ("guarded", "nobody"):
        url = f"postgresql+psycopg://{who}:hidden@/postgres?host={server.folder}"
        for words in (study_words(tmp_path, url), ("study", "list", "--storage", url), ("worker", "ppo-x", "--storage", url)):
            ended = cli(*words)
            assert ended.exit_code == 5, (words, ended.output)
            assert "hidden" not in ended.output and ended.stderr.count("\n  why: ") == 1
    assert nothing_submitted(place, store)


def test_a_database_of_a_newer_openrlb_is_told_and_nothing_is_submitted(
    place: SlurmCluster, server: PostgresqlServer, cli: Cli, tmp_path: Path, store: Store
) -> None:
    url = server.fresh()
    assert cli("study", "list", "--storage", url).exit_code == 3
    schema = url.rpartition("%3D")[2]
    server.execute(f"INSERT INTO {schema}.openrlb_schema VALUES (7)")
    for words in (study_words(tmp_path, url), ("study", "list", "--storage", url), ("worker", "ppo-x", "--storage", url)):
        ended = cli(*words)
        assert ended.exit_code == 1 and "newer openrlb" in ended.stderr and "update openrlb" in ended.stderr, ended.output
    assert nothing_submitted(place, store)


@pytest.mark.parametrize("kind", ["none", "another"])
def test_a_node_with_another_python_says_so(
    place: SlurmCluster, cli: Cli, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Real tasks on real nodes, which have no Python where the submitting machine has one, or an older one."""
    assert cli("runner", "install", "fake").exit_code == 0
    python = tmp_path / "python3"
    if kind == "another":
        python.write_text("#!/bin/sh\nexit 1\n")  # as one answers whose version is not the one asked for
        python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    assert cli(*BATCH, "--seeds", "2", "--launcher", "slurm").exit_code == 0
    row = until(cli, batch_names(store.layout)[0], state="stopped", workers=0)
    assert "this node has no Python" in row["note"] and str(python) in row["note"] and row["queued"] == 2


@pytest.mark.stress
def test_a_shared_disk_that_is_full_while_a_worker_trains(place: SlurmCluster, cli: Cli, store: Store) -> None:
    """The worker ends with a sentence; with room again the same command trains what is missing, and nothing twice."""
    assert cli("runner", "install", "fake").exit_code == 0
    root = store.layout.root
    root.mkdir(parents=True)
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(root)], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("a small file system needs the right to mount one")
    words = (*BATCH, "--seeds", "3", "--steps", "600", "--set", "pause=0.01", "--launcher", "slurm")
    try:
        assert cli(*words).exit_code == 0
        name = batch_names(store.layout)[0]
        until(cli, name, running=2)
        with suppress(OSError), (root / "full").open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        row = until(cli, name, workers=0)
        assert row["done"] < 3 and "cannot be written" in (row["note"] or ""), row  # the log lies on that disk, too
        (root / "full").unlink()
        assert cli(*words).exit_code == 0
        until(cli, name, state="finished", done=3, workers=0)
        assert store.query("SELECT state, count(*) FROM runs GROUP BY state").rows == [("finished", 3)]
    finally:
        subprocess.run(["umount", "-l", str(root)], check=True)


@pytest.mark.stress
def test_the_step_daemon_alone_is_killed(place: SlurmCluster, cli: Cli, store: Store) -> None:
    """The job's processes live on, whatever SLURM says of the job meanwhile: no run is begun twice, none is lost."""
    words = (*BATCH, "--seeds", "4", "--steps", "800", "--set", "pause=0.01", "--launcher", "slurm")
    assert cli(*words).exit_code == 0
    name = batch_names(store.layout)[0]
    until(cli, name, running=2)
    assert place.kill_step_daemons() > 0
    row = until(cli, name, state="finished", done=4)
    assert (row["lost"], row["failed"]) == (0, 0)
    store.fold()
    assert store.query("SELECT state, attempt, count(*) FROM runs GROUP BY state, attempt").rows == [("finished", 1, 4)]
    for node in NODES:  # else SLURM believes for a minute that the jobs are still ending
        assert place.ask("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test").returncode == 0
        place.ask("scontrol", "update", f"NodeName={node}", "State=RESUME")  # where it has not come back by itself
    wait_until(lambda: place.states() == {"idle": 2}, 60)
