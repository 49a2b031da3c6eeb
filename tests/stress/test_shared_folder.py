"""Two machines write to one store whose file locks do not reach from one to the other; PostgreSQL keeps the lock."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgresql_server import postgresql_server
from stressed import Tally, check_consistent

from openrlb.store import Store

pytestmark = [pytest.mark.stress, pytest.mark.cluster]
POINTS, WRITERS = 50, 4
LEASE = 2.0

_WRITER = """
import sys
from pathlib import Path
from builders import batch
from openrlb.errors import StoreBusy, StoreUnwritable
from openrlb.store import Store, lease
place, name, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
lease.LEASE_SECONDS = seconds
store, number = Store(Path(place)), 0
while True:
    number += 1
    run = f"{name}-{number}"
    store.write([batch(run, env=f"Env{number % 3}-v0")])
    print(run, flush=True)
    try:
        store.fold(wait=30)
        print("folded", flush=True)
    except (StoreBusy, StoreUnwritable) as error:
        print("lost" if "took the lock" in error.why else f"other {error}", flush=True)
"""


@pytest.fixture
def places(tmp_path: Path) -> Iterator[list[Path]]:
    """One folder, mounted twice: the kernel's locks of one mount say nothing to the other."""
    if shutil.which("bindfs") is None or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("to mount a folder twice needs bindfs and FUSE")
    kept, mounts = tmp_path / "kept", [tmp_path / "one", tmp_path / "two"]
    for folder in (kept, *mounts):
        folder.mkdir()
    for mount in mounts:
        if subprocess.run(["bindfs", kept, mount], capture_output=True, check=False).returncode:
            pytest.skip("nothing may be mounted here")
    yield [mount / "store" for mount in mounts]
    for mount in mounts:
        subprocess.run(["umount", "-l", mount], check=False)


def begin(place: Path, name: str, log: Path, address: str) -> subprocess.Popen[bytes]:
    env = {**os.environ, "OPENRLB_STORE_LOCK": address, "PYTHONPATH": os.pathsep.join(sys.path)}
    with log.open("ab") as said:
        return subprocess.Popen([sys.executable, "-c", _WRITER, place, name, str(LEASE)], stdout=said, stderr=said, env=env)


def test_no_run_is_lost_or_stored_twice(
    places: list[Path], tmp_path: Path, chance: random.Random, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, stopped, killed, generation = tmp_path / "log", 0, 0, WRITERS
    with postgresql_server() as server:
        address = server.fresh()
        writers = [begin(places[number % 2], f"w{number}", log, address) for number in range(WRITERS)]
        until = time.monotonic() + tally.seconds / 3
        while time.monotonic() < until:
            time.sleep(chance.uniform(0.2, 2))
            place = chance.randrange(WRITERS)
            if chance.random() < 0.5:
                writers[place].send_signal(signal.SIGSTOP)
                time.sleep(chance.uniform(0.1, 2 * LEASE))
                writers[place].send_signal(signal.SIGCONT)
                stopped += 1
            else:
                writers[place].kill()
                writers[place].wait()
                writers[place] = begin(places[place % 2], f"w{generation}", log, address)
                generation, killed = generation + 1, killed + 1
        for one in writers:
            one.kill()
            one.wait()
        monkeypatch.setenv("OPENRLB_STORE_LOCK", address)
        store = Store(places[0])
        store.fold(wait=30)
        said = log.read_text().splitlines()
        written = {line for line in said if line.startswith("w")}
        found = {str(run) for (run,) in store.query("SELECT run FROM runs").rows}
        # one that was killed between its segment's rename and its word is stored without having said so
        assert written <= found and len(found - written) <= killed + WRITERS
        assert check_consistent(store, POINTS) == len(found)
        health = store.health()
        assert (health.missing, health.damaged, health.quarantined, health.waiting) == ((), (), (), 0)
        assert not [line for line in said if not line.startswith(("w", "folded", "lost", "other the store is busy"))], said[-20:]
    tally.add("two machines, no locks between them: kill -9", killed, killed, f"{len(found)} runs, each once")
    tally.add("the same: stood still", stopped, said.count("lost"), "hit: the lease was taken, nothing put in place")
    tally.add("the same: files of a fold that nobody sweeps", len(found), len(health.unknown), "named by doctor")
