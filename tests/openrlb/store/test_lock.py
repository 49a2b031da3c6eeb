"""The store's lock on shared folders: looked at before it is trusted, refused by name, or kept by PostgreSQL."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders import batch
from postgresql_server import PostgresqlServer, postgresql_server

from openrlb.api.fetch import fetch
from openrlb.errors import StoreBusy, StoreDamaged, StoreUnreachable, StoreUnwritable, UsageError
from openrlb.store import Store, lease, lock, registry
from openrlb.store.catalog import connection
from openrlb.store.mounts import Mount, mount_of
from openrlb.types import Metric, RunBatch

LOCAL_NFS = Mount("/lab", "nfs4", "rw,vers=4.2,local_lock=all", "server:/lab")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlServer]:
    with postgresql_server() as running:
        yield running


@pytest.fixture
def address(server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty database, named to every process of this test."""
    found = server.fresh()
    monkeypatch.setenv("OPENRLB_STORE_LOCK", found)
    return found


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases of a second."""
    monkeypatch.setattr(lease, "LEASE_SECONDS", 1.0)


@pytest.fixture
def two_places(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """One folder, mounted twice through FUSE: locks taken in one place are not seen in the other, as of two machines."""
    if shutil.which("bindfs") is None or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("to mount a folder twice needs bindfs and FUSE")
    kept, places = tmp_path / "kept", (tmp_path / "here", tmp_path / "there")
    for folder in (kept, *places):
        folder.mkdir()
    for place in places:
        if subprocess.run(["bindfs", kept, place], capture_output=True, check=False).returncode:
            pytest.skip("nothing may be mounted here")
    yield places
    for place in places:
        subprocess.run(["umount", "-l", place], check=False)


def mounted(monkeypatch: pytest.MonkeyPatch, mount: Mount | None) -> None:
    """The store's folder as if it were mounted otherwise: the mount table is the system's, and the one thing that is feigned."""
    monkeypatch.setattr(lock, "_mount_at", lambda folder, device: mount)


def refusal(action: Callable[[], Any]) -> str:
    with pytest.raises(StoreUnwritable) as raised:
        action()
    assert "OPENRLB_HOME" in raised.value.fix and "OPENRLB_STORE_LOCK=postgresql" in raised.value.fix, "both cures are named"
    return raised.value.why


def test_a_local_disk_is_looked_up_and_nothing_is_tried(runs: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert mount_of(runs.layout.root) is not None and mount_of(runs.layout.root).local  # type: ignore[union-attr]
    monkeypatch.setattr(lock, "exclusion_fails", lambda folder: pytest.fail("two processes were started"))
    runs.write([batch("more")])
    assert runs.fold().new == 1


def test_the_mount_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a b")
    place = str(tmp_path / "a b").replace(" ", r"\040")
    table = f"1 0 8:1 / / rw - ext4 /dev/sda rw\n2 1 0:5 / {place} rw,noatime shared:1 - nfs s:/x rw,local_lock=none\nnonsense\n"
    for folder in (tmp_path / "a b" / "store", tmp_path / "link"):
        assert mount_of(folder, table) == Mount(str(tmp_path / "a b"), "nfs", "rw,noatime,rw,local_lock=none", "s:/x")
    assert mount_of(tmp_path, table) == Mount("/", "ext4", "rw,rw", "/dev/sda")
    assert mount_of(tmp_path / "a bc", table).place == "/"  # type: ignore[union-attr]
    over = f"{table}3 1 0:6 / {place} rw - tmpfs none rw\n"
    assert mount_of(tmp_path / "a b", over).kind == "tmpfs", "what was mounted over it is what is seen"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("kind", "options", "named"),
    [
        ("nfs", "rw,vers=3,nolock,local_lock=all", "nolock"),
        ("nfs4", "rw,local_lock=flock", "local_lock=flock"),
        ("nfs4", "rw,local_lock=posix", None),
        ("nfs4", "rw,local_lock=none", None),
        ("lustre", "rw,localflock,lazystatfs", "localflock"),
        ("lustre", "rw,flock", None),
        ("cifs", "rw,nobrl", "nobrl"),
        ("ext4", "rw,nolock", None),
    ],
)
def test_options_that_keep_locks_on_one_machine(kind: str, options: str, named: str | None) -> None:
    assert Mount("/lab", kind, options).here_only == named


def test_locks_of_one_machine_are_refused_before_anything_is_fetched_and_reading_goes_on(
    runs: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted(monkeypatch, LOCAL_NFS)
    runs.write([batch("waits")])
    why = refusal(lambda: fetch("sample"))
    assert "nfs4 file system at /lab" in why and "local_lock=all" in why
    assert {row.columns["run"] for row in runs.runs()} == {"run0", "run1", "run2"}, "what waits is not folded, and reading works"
    refusal(runs.fold)
    monkeypatch.setenv("OPENRLB_STORE_LOCK", "file")  # somebody vouches for it
    assert runs.fold().new == 1


def test_two_processes_are_asked_once_and_the_answer_is_remembered(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    mounted(monkeypatch, Mount("/lab", "nfs4", "rw,local_lock=none"))
    asked: list[Path] = []
    really = lock.exclusion_fails
    monkeypatch.setattr(lock, "exclusion_fails", lambda folder: asked.append(folder) or really(folder))
    for name in ("a", "b", "c"):
        store.write([batch(name)])
        assert store.fold().new == 1
    assert asked == [store.layout.root]
    mounted(monkeypatch, Mount("/lab", "nfs4", "rw,local_lock=none,hard"))  # mounted anew, otherwise
    store.check_lock()
    assert len(asked) == 2


@pytest.mark.parametrize(("error", "told"), [(None, "gives one lock to two processes"), (OSError(38, "no"), "gives no lock: no")])
def test_locks_that_fail_are_seen(store: Store, monkeypatch: pytest.MonkeyPatch, error: OSError | None, told: str) -> None:
    import fcntl

    def flock(*_: object) -> None:
        if error:
            raise error

    mounted(monkeypatch, Mount("/lab", "nfs4", "rw,local_lock=none"))
    monkeypatch.setattr(fcntl, "flock", flock)
    store.write([batch("a")])
    assert told in refusal(store.fold)
    assert told in refusal(store.fold), "what fails is not remembered as if it held"


def fold_elsewhere(home: Path, host: str, **env: str) -> subprocess.CompletedProcess[str]:
    """One fold of another machine: another name, another process, its own settings and cache."""
    code = "from openrlb.store import Store; print(Store().fold().new)"
    words = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', host, sys.executable, "-c", code]
    found = {**os.environ, "OPENRLB_HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path), **env}
    return subprocess.run(words, capture_output=True, text=True, env=found, check=False, timeout=60)


def test_two_machines_on_a_mount_whose_locks_nothing_tells_of(two_places: tuple[Path, Path], address: str) -> None:
    here, there = two_places
    Store(here / "store").write([batch("a")])
    no_lease = {"OPENRLB_STORE_LOCK": ""}
    first = fold_elsewhere(here, "one", **no_lease)
    if "unshare" in first.stderr:
        pytest.skip("another host's name needs the right to unshare")
    assert first.stdout == "1\n", first.stderr
    Store(here / "store").write([batch("b")])
    assert "another machine wrote to it already" in fold_elsewhere(there, "two", **no_lease).stderr
    done = fold_elsewhere(there, "two", OPENRLB_STORE_LOCK=address)
    assert done.stdout == "1\n", done.stderr
    refused = fold_elsewhere(here, "one", **no_lease)
    assert "a PostgreSQL server keeps its lock" in refused.stderr, "who names no server does not write beside those who do"


def test_a_catalog_that_somebody_else_wrote_is_not_overwritten(runs: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left where locks were vouched for and do not hold: the second to finish puts nothing in place."""
    import openrlb.store.fold as folding

    runs.write([batch("a")])
    really = folding.insert_runs

    def meanwhile(*words: Any) -> None:
        really(*words)
        shutil.copyfile(runs.layout.catalog, beside := runs.layout.root / "other")
        beside.replace(runs.layout.catalog)

    with monkeypatch.context() as patch, pytest.raises(StoreBusy, match="file locks there do not keep it out"):
        patch.setattr(folding, "insert_runs", meanwhile)
        runs.fold()
    assert runs.fold().new == 1 and not runs.health().unknown


def test_a_lease_is_held_by_one_at_a_time_and_let_go(store: Store, address: str) -> None:
    store.layout.root.mkdir(parents=True)
    with lock.locked(store.layout, "store.lock", 0, "busy") as still_held:
        still_held()
        with pytest.raises(StoreBusy, match="PostgreSQL"), lock.locked(store.layout, "store.lock", 0.2, "busy"):
            pass
        with lock.locked(store.layout, "looks.lock", 0, "busy"):
            pass
    store.write([batch("a")])
    assert store.fold(wait=0).new == 1
    assert not store.layout.lock.exists(), "no file lock is taken beside it"


def test_a_lease_outlives_itself_by_renewal_and_a_dead_holder_by_the_servers_clock(
    store: Store, address: str, quick: None
) -> None:
    store.layout.root.mkdir(parents=True)
    with lock.locked(store.layout, "store.lock", 0, "busy"):
        time.sleep(1.3)
        with pytest.raises(StoreBusy), lock.locked(store.layout, "store.lock", 0, "busy"):
            pass
    code = (
        "import os, signal; from openrlb.store import Store, lock, lease; lease.LEASE_SECONDS = 1.0; s = Store()\n"
        "with lock.locked(s.layout, 'store.lock', 5, 'busy'): os.kill(os.getpid(), signal.SIGKILL)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    begun = time.monotonic()
    with lock.locked(store.layout, "store.lock", 30, "busy") as still_held:
        still_held()
    assert time.monotonic() - begun < 10


def test_a_writer_whose_lease_was_taken_puts_nothing_in_place(
    runs: Store, server: PostgresqlServer, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import openrlb.store.fold as folding

    runs.check_lock()
    really, folded = folding.insert_runs, []

    def stands_still(*words: Any) -> None:
        """For longer than the lease, while another writer takes it and folds the same segment."""
        really(*words)
        if not folded:
            folded.append(True)
            schema = address.rpartition("%3D")[2]
            server.execute(f"UPDATE {schema}.openrlb_store_leases SET expires = '-infinity'")
            folded.append(Store().fold(wait=5))

    runs.write([batch("a")])
    monkeypatch.setattr(folding, "insert_runs", stands_still)
    with pytest.raises(StoreBusy, match="another writer took the lock"):
        runs.fold()
    assert folded[1].new == 1
    health = runs.health()
    assert (health.runs, health.waiting, health.missing, health.unknown) == (4, 0, (), ()), "stored once, nothing is left over"
    assert runs.query("SELECT count(*) FROM points WHERE run = 'a'").rows == [(50,)]


def logging(name: str, metric: str) -> RunBatch:
    """A run that logs a metric that no other run has."""
    kept = batch(name)
    return RunBatch(kept.run, (*kept.metrics, replace(kept.metrics[0], metric=Metric(metric, "other"))))


def lapse(server: PostgresqlServer, address: str) -> None:
    """As if its holder had stood still for longer than the lease."""
    server.execute(f"UPDATE {address.rpartition('%3D')[2]}.openrlb_store_leases SET expires = '-infinity'")


def test_a_writer_whose_lease_was_taken_takes_no_metric_ids_back(
    runs: Store, server: PostgresqlServer, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else values that the other one has stored would soon have the name of another metric."""
    runs.check_lock()
    really, stood = registry.numbers, []

    def stands_still(*words: Any) -> Any:
        """With its list of metrics made, while another writer adds one."""
        if not stood:
            stood.append(True)
            lapse(server, address)
            runs.write([logging("b", "loss/theirs")])
            Store().fold(wait=5)
        return really(*words)

    runs.write([logging("a", "loss/mine")])
    monkeypatch.setattr(registry, "numbers", stands_still)
    with pytest.raises(StoreBusy, match="another writer took the lock"):
        runs.fold()
    assert stood and {"loss/mine", "loss/theirs"} <= {name for _, name, _, _ in registry.read_metrics(runs.layout)}
    assert not runs.health().waiting


def test_a_writer_whose_lease_was_taken_sweeps_nothing_of_the_next_one(
    runs: Store, server: PostgresqlServer, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from openrlb.store import sweep

    runs.check_lock()
    making = runs.layout.data / "project=p" / "env=e" / "points-1.parquet"

    @contextmanager
    def stands_still() -> Iterator[Any]:
        """With the catalog read, while another writer begins to make a file."""
        with connection() as con:
            yield con
        lapse(server, address)
        with lock.locked(runs.layout, "store.lock", 5, "busy"):
            making.parent.mkdir(parents=True)
            making.write_bytes(b"half")
            runs.layout.journal.write_text(json.dumps([runs.layout.relative(making)]))

    monkeypatch.setattr(sweep, "connection", stands_still)
    with lock.locked(runs.layout, "store.lock", 0, "busy") as still_held:
        mine = replace(runs.layout, still_held=still_held)
        with pytest.raises(StoreBusy, match="another writer took the lock"):
            sweep.sweep(mine)
        assert making.exists() and runs.layout.journal.exists()


def test_a_server_that_is_away_is_waited_for_and_stops_no_reader(runs: Store, server: PostgresqlServer, address: str) -> None:
    runs.check_lock()
    runs.write([batch("a")])
    server.stop(signal.SIGQUIT)
    try:
        assert len(runs.runs()) == 3
        with pytest.raises(StoreUnreachable, match="cannot be asked"):
            runs.fold(wait=0)
    finally:
        server.start()
    assert runs.fold().new == 1


def test_a_full_disk_lets_the_lease_go(small_disk: Path, address: str) -> None:
    full = Store(small_disk / "store")
    full.write([batch("a")])
    (small_disk / "others").write_bytes(b"0" * 700_000)
    with pytest.raises(StoreUnwritable):
        full.fold(wait=0)
    assert [path.name for path in full.layout.spool.iterdir() if not path.name.startswith(".")], "the run waits"
    with lock.locked(full.layout, "store.lock", 0, "busy") as still_held:
        still_held()


def test_another_database_than_that_of_the_other_writers_is_refused(
    runs: Store, server: PostgresqlServer, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.write([batch("a")])
    runs.fold()
    monkeypatch.setenv("OPENRLB_STORE_LOCK", server.fresh())
    runs.write([batch("b")])
    with pytest.raises(StoreUnwritable, match="does not know the store"):
        runs.fold()
    monkeypatch.delenv("OPENRLB_STORE_LOCK")
    with pytest.raises(StoreUnwritable, match="a PostgreSQL server keeps its lock"):
        runs.fold()
    monkeypatch.setenv("OPENRLB_STORE_LOCK", address)
    (runs.layout.root / lease.MARK).write_text("{")
    with pytest.raises(StoreDamaged, match="lock cannot be found"):
        runs.fold()


def test_many_first_writers_agree_on_one_name(store: Store, server: PostgresqlServer, address: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def hold(number: int) -> None:
        with lock.locked(store.layout, f"{number}.lock", 0, "busy") as still_held:
            still_held()

    store.layout.root.mkdir(parents=True)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(hold, range(8)))
    assert len(server.execute(f"SELECT DISTINCT store FROM {address.rpartition('%3D')[2]}.openrlb_store_leases")) == 1
    assert [path.name for path in store.layout.root.iterdir()] == [lease.MARK]


@pytest.mark.parametrize(
    "wrong",
    [
        "mysql://me:hunter2@host/db",
        "postgresql+psycopg://me:hunter2@[::1/db",
        "postgresql://me:hunter2@h/db?nonsense=1",
        "postgresql://me:s@hunter2@127.0.0.1:1/db",
        "postgresql://me:s@c/hunter2@127.0.0.1:1/db",
    ],
)
def test_an_address_that_is_none_is_never_printed(store: Store, monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setenv("OPENRLB_STORE_LOCK", wrong)
    with pytest.raises(UsageError) as raised:
        store.check_lock()
    assert "hunter2" not in str(raised.value)


def test_a_refused_password_is_never_printed(store: Store, monkeypatch: pytest.MonkeyPatch, server: PostgresqlServer) -> None:
    monkeypatch.setenv("OPENRLB_STORE_LOCK", f"postgresql://nobody:hunter2@/postgres?host={server.folder}")
    with pytest.raises(StoreUnreachable) as raised:
        store.check_lock()
    assert "hunter2" not in str(raised.value) and "nobody" in raised.value.why


def test_the_setting_in_a_file(store: Store, isolation: Path, monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Any]) -> None:
    mounted(monkeypatch, LOCAL_NFS)
    (isolation / "config.toml").write_text('[store]\nlock = "file"\n')
    store.write([batch("a")])
    assert store.fold().new == 1 and cli("list").exit_code == 0
    for text in ("[store]\nlock = 3\n", '[store]\nlok = "file"\n', '[store]\nlock = ""\n'):
        (isolation / "config.toml").write_text(text)
        with pytest.raises(UsageError, match=r"\[store\] in .*config.toml was not understood"):
            store.fold()
    done = cli("doctor", "--json")
    assert done.exit_code == 1 and "was not understood" in done.stdout
