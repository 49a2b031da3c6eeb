"""What happens to a fetch of W&B runs when the service, the network, the key or the power fails."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import wandb
from wandb_fixtures import HISTORY, QUERY, as_known, fetch, fetch_one, rows, server, service, wandb_run
from wandb_server import Fault, WandbServer

from openrlb.api.remote import known_runs
from openrlb.errors import NetworkError, NothingMatched, SourceError
from openrlb.sources.wandb import UnreachableError, key_available, parse_source, plan, reachable, read
from openrlb.store import Store
from openrlb.types import RunBatch, Skipped

__all__ = ["server", "service"]


def test_too_many_requests_waits_as_the_service_says(service: WandbServer) -> None:
    service.projects["lab/runs"] = [wandb_run()]
    service.faults.append(Fault("HistoryPage", status=429, retry_after=1, times=1))
    began = time.monotonic()
    assert len(fetch_one().metrics[0].steps) == 20
    assert time.monotonic() - began >= 1 and service.counts["HistoryPage"] == 2


@pytest.mark.parametrize("operation", ["RunParquetHistory", "HistoryPage", "RunFiles", "Runs"])
def test_a_passing_failure_is_repeated(service: WandbServer, operation: str) -> None:
    service.projects["lab/runs"] = [wandb_run()]
    service.faults.append(Fault(operation, status=503, times=1))
    assert len(fetch_one().metrics[0].steps) == 20
    assert service.counts[operation] == 2


def test_what_wandb_gives_up_on_is_begun_once_more(service: WandbServer) -> None:
    service.projects["lab/runs"] = [wandb_run(live=(), exported=[rows()])]
    service.faults.append(Fault("parquet", status=502, times=2))  # as often as the client's own patience here
    assert len(fetch_one().metrics[0].steps) == 20


def test_a_listing_that_is_begun_once_more_skips_no_run(service: WandbServer) -> None:
    service.projects["lab/runs"] = [wandb_run(f"r{i}", seed=i) for i in range(3)]
    service.faults.append(Fault("Runs", status=502, times=2))
    assert plan(QUERY, {}).runs == 3 and service.counts["Runs"] == 3


def test_an_answer_of_another_shape_is_named(service: WandbServer) -> None:
    service.projects["lab/runs"] = [wandb_run()]
    service.faults.append(Fault("Runs", body=b'{"data": {"project": 7}}'))
    with pytest.raises(NetworkError, match=r"could not be listed .*could not be understood"):
        fetch()


def test_a_refusal_is_named_and_not_repeated(service: WandbServer) -> None:
    service.projects["lab/runs"] = [wandb_run("good"), wandb_run("forbidden", live=(), exported=[rows()])]
    service.faults.append(Fault("parquet", status=403, run="forbidden"))
    found = fetch()
    assert isinstance(found["good"], RunBatch)
    skipped = found["forbidden"]
    assert isinstance(skipped, Skipped) and skipped.damaged and "403" in skipped.reason
    assert skipped.location == "wandb:lab/runs/forbidden" and service.counts["parquet"] == 1


def test_one_poisoned_run_does_not_hold_up_the_others(service: WandbServer) -> None:
    service.projects["lab/runs"] = [wandb_run(f"r{i}", seed=i) for i in range(12)]
    service.faults.append(Fault("RunParquetHistory", status=502, run="r3"))
    came: list[str] = []
    found = {}
    for item in read(QUERY, plan(QUERY, {}), came.append):
        found[item.run.run if isinstance(item, RunBatch) else item.location.rsplit("/", 1)[-1]] = item
    assert sum(isinstance(item, RunBatch) for item in found.values()) == 11
    poisoned = found["r3"]
    assert isinstance(poisoned, Skipped) and "502" in poisoned.reason and poisoned.damaged
    assert len(came) == 12 and came[-1] == "wandb:lab/runs/r3"  # the others did not wait for it
    service.faults.clear()
    known = as_known({name: item for name, item in found.items() if isinstance(item, RunBatch)})
    assert set(fetch(known=known)) == {"r3"}


def test_a_torn_export_is_fetched_again(service: WandbServer) -> None:
    service.projects["lab/runs"] = [wandb_run(live=(), exported=[rows(500)])]
    service.faults.append(Fault("parquet", cut=0.6, times=1))
    assert len(fetch_one().metrics[0].steps) == 500 and service.counts["parquet"] == 2


def test_an_export_that_stays_torn_is_named(service: WandbServer) -> None:
    service.projects["lab/runs"] = [wandb_run("torn", live=(), exported=[rows(500)]), wandb_run("good")]
    service.faults.append(Fault("parquet", cut=0.6))
    found = fetch()
    torn = found["torn"]
    assert isinstance(found["good"], RunBatch) and isinstance(torn, Skipped) and "torn" in torn.reason and torn.damaged


def test_a_file_that_is_not_given_costs_a_note_and_not_the_run(service: WandbServer) -> None:
    service.projects["lab/runs"] = [wandb_run(files={"requirements.txt": b"a==1\n", "wandb-metadata.json": b"{broken"})]
    service.faults.append(Fault("file", status=404, times=1))
    batch = fetch_one()
    assert len(batch.metrics[0].steps) == 20
    assert any("could not be fetched" in note for note in batch.run.notes)


def test_a_slow_service_is_waited_for(service: WandbServer) -> None:
    service.projects["lab/runs"] = [wandb_run(f"r{i}", seed=i) for i in range(8)]
    service.faults.append(Fault("RunParquetHistory", delay=0.4))
    began = time.monotonic()
    assert len(fetch()) == 8
    assert time.monotonic() - began < 8 * 0.4  # side by side


def test_without_a_key_one_sentence_at_once(service: WandbServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.delenv("NETRC")
    assert not key_available()
    began = time.monotonic()
    with pytest.raises(NetworkError) as caught:
        plan(QUERY, {})
    assert time.monotonic() - began < 0.3 and service.counts.total() == 0
    assert "API key" in caught.value.what and "WANDB_API_KEY" in caught.value.why and caught.value.exit_code == 5
    host = service.url.removeprefix("http://")
    (tmp_path / ".netrc").write_text(f"machine {host}\n  login user\n  password {'0' * 40}\n")
    assert key_available()
    (tmp_path / ".netrc").write_text(f"machine elsewhere.example\n  login user\n  password {'0' * 40}\n")
    assert not key_available()
    monkeypatch.setenv("NETRC", str(tmp_path / "gone"))
    assert not key_available()


def test_without_a_key_wandb_is_not_even_imported(tmp_path: Path) -> None:
    script = """
import sys
from openrlb.errors import NetworkError
from openrlb.sources.wandb import WandbQuery, plan
try:
    plan(WandbQuery("a", "b"), {})
except NetworkError as error:
    print(error.what)
assert "wandb" not in sys.modules and "pyarrow" not in sys.modules
"""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB") and name != "NETRC"}
    kept["HOME"] = str(tmp_path)
    words = [sys.executable, "-c", script]
    done = subprocess.run(words, env=kept, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0 and "API key" in done.stdout, done.stderr


@pytest.mark.parametrize(("key", "status"), [("short", 0), ("f" * 40, 401)])
def test_a_wrong_key_is_refused_by_name(service: WandbServer, monkeypatch: pytest.MonkeyPatch, key: str, status: int) -> None:
    monkeypatch.setenv("WANDB_API_KEY", key)
    if status:
        service.faults.append(Fault("Viewer", status=status))
    with pytest.raises(NetworkError, match="refused the API key"):
        plan(QUERY, {})


def test_a_service_that_is_down_is_no_refused_key(service: WandbServer) -> None:
    service.faults.append(Fault("Viewer", status=502))
    with pytest.raises(NetworkError, match="could not be reached"):
        plan(QUERY, {})


def test_no_network_is_told_within_seconds_and_an_odd_answer_is_no_refused_key(
    service: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.faults.append(Fault("Viewer", status=404))
    with pytest.raises(UnreachableError, match="could not be reached"):
        plan(QUERY, {})
    monkeypatch.setattr(reachable, "SECONDS", 0.2)
    with socket.socket() as full:  # takes no connection, as where a firewall drops everything
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        busy = [socket.socket() for _ in range(3)]
        for one in busy:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{full.getsockname()[1]}")
        wandb.teardown()
        began = time.monotonic()
        with pytest.raises(UnreachableError, match="could not be reached"):
            plan(QUERY, {})
        assert time.monotonic() - began < 5
        for one in busy:
            one.close()
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # through a proxy only the client itself can tell
    monkeypatch.setenv("no_proxy", "")
    assert reachable.unreachable("http://example.org") is None
    wandb.teardown()


def test_an_unknown_project_and_an_empty_one(service: WandbServer) -> None:
    with pytest.raises(SourceError, match="could not be listed"):
        plan(QUERY, {})
    service.projects["lab/runs"] = []
    with pytest.raises(NothingMatched):
        plan(QUERY, {})
    service.faults.append(Fault("Runs", status=403))
    with pytest.raises(SourceError) as caught:
        plan(QUERY, {})
    assert "403" in caught.value.why
    for wrong in ("wandb:", "wandb:lab", "wandb:a/b/c", "wandb:a b/c"):
        with pytest.raises(Exception, match="names no W&B project"):
            parse_source(wrong)


def test_an_interrupted_fetch_goes_on_where_it_was(service: WandbServer) -> None:
    service.projects["lab/runs"] = [wandb_run(f"r{i:02d}", seed=i) for i in range(40)]
    kept: dict[str, RunBatch | Skipped] = {}
    with pytest.raises(KeyboardInterrupt):
        for item in read(QUERY, plan(QUERY, {})):
            assert isinstance(item, RunBatch)
            kept[item.run.run] = item
            if len(kept) == 5:
                raise KeyboardInterrupt
    service.counts.clear()
    rest = fetch(known=as_known(kept))
    assert len(rest) == 35 and not set(rest) & set(kept)
    assert service.counts["HistoryPage"] == 35


STORING = """
import sys
from openrlb.sources.presets import load_presets
from openrlb.sources.wandb import WandbQuery, plan, read
from openrlb.store import Store
query = WandbQuery("lab", "runs", preset=load_presets()["cleanrl"])
for item in read(query, plan(query, {})):
    Store().write([item])
    print(item.run.run, flush=True)
"""


def test_kill_9_loses_no_complete_run_and_leaves_no_process(service: WandbServer, tmp_path: Path) -> None:
    service.projects["lab/runs"] = [wandb_run(f"r{i:02d}", seed=i) for i in range(60)]
    service.faults.append(Fault("RunFiles", delay=0.1))
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", STORING], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    said = [process.stdout.readline().strip() for _ in range(6)]
    import psutil

    family = psutil.Process(process.pid).children(recursive=True)
    assert any("wandb-core" in child.name() for child in family)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    _, alive = psutil.wait_procs(family, timeout=15)
    assert not alive
    store = Store()
    store.fold()  # takes what the dead process had spooled
    known = known_runs(store, "wandb:lab/runs")
    assert set(said) <= {run for _, run in known} and len(known) < 60
    service.faults.clear()
    service.counts.clear()
    rest = fetch(known=known)
    assert len(rest) + len(known) == 60 and not {("wandb:lab/runs", run) for run in rest} & set(known)
    store.write([item for item in rest.values() if isinstance(item, RunBatch)])
    store.fold()
    assert len(store.runs()) == 60
    assert service.requests(*HISTORY) == len(rest)


def test_the_service_ends_and_starts_again(service: WandbServer) -> None:
    import psutil

    from openrlb.sources.wandb import end_service

    service.projects["lab/runs"] = [wandb_run()]
    assert fetch_one()
    end_service()
    assert not [child for child in psutil.Process().children(recursive=True) if "wandb-core" in child.name()]
    assert fetch_one()


def test_stored_and_read_back(service: WandbServer) -> None:
    """What the catalog tells of stored runs is what a plan needs to leave them alone."""
    table = rows(20)
    table[4]["charts/episodic_return"] = float("nan")
    service.projects["lab/runs"] = [wandb_run(tags=["b", "a"], live=table, files={"requirements.txt": b"a==1\n"})]
    batch = fetch_one()
    store = Store()
    store.write([batch])
    store.fold()
    [row] = store.runs()
    record = row.record
    assert record == batch.run
    assert plan(QUERY, known_runs(store, record.source)).to_fetch == 0
    values = store.query("SELECT step, value FROM points ORDER BY step").rows
    np.testing.assert_array_equal([value for _, value in values], batch.metrics[0].values)
