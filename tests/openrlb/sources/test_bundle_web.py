"""Bundles on a web server and on the hub: only what is needed is asked for, and nothing that is wrong is kept."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from builders import batch
from bundle_server import BundleServer
from typer.testing import Result

from openrlb import paths
from openrlb.api.fetch import FetchReport, fetch
from openrlb.errors import NetworkError, SourceError, StoreUnwritable
from openrlb.sources import write_bundle
from openrlb.sources.bundle import web
from openrlb.sources.bundle.manifest import loaded
from openrlb.store import Store
from openrlb.types import Selection

TEXT = b"torch==2.13.0\n"
ENVS = ("Hopper-v4", "ALE/Pong-v5")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("written")
    fields = {"files": {"lock.txt": hashlib.sha256(TEXT).hexdigest()}}
    runs = [
        batch(f"{env[:3]}{algo}{seed}", env=env, algo=algo, seed=seed, points=400, **fields)
        for env in ENVS
        for algo in ("ppo", "sac")
        for seed in range(3)
    ]
    from openrlb.types import RunBatch

    write_bundle(place, [RunBatch(one.run, one.metrics, {"lock.txt": TEXT}) for one in runs], license_="mit")
    return place


@pytest.fixture
def served(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BundleServer]:
    monkeypatch.setattr(web, "WAIT_SECONDS", 0.0)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = BundleServer(Path(shutil.copytree(written, tmp_path / "served")))
    yield server
    server.stop()


def taken(source: str, **wanted: str) -> FetchReport:
    return fetch([source], selection=Selection(**wanted))  # type: ignore[arg-type]


def test_a_bundle_at_an_address_is_fetched_and_the_cache_left_clean(served: BundleServer) -> None:
    report = taken(f"{served.url}/")
    assert (report.found, report.new) == (12, 12)
    assert taken(f"{served.url}/bundle.json").unchanged == 12
    assert {row.record.source for row in Store().runs()} == {"bundle:folder"}
    assert "README.md" not in served.paths()
    assert not (paths.cache_dir() / "bundles").exists()


def test_only_the_files_of_the_wanted_parts_are_asked_for(served: BundleServer) -> None:
    report = taken(served.url, env="Pong", algo="SAC")
    assert (report.found, report.unselected) == (3, 9)
    part = "data/env=ALE%2FPong-v5/algo=sac"
    assert served.paths() == [
        "bundle.json",
        f"{part}/runs-00003.parquet",
        f"{part}/points-00003.parquet",
        f"{part}/files-00003.parquet",
    ]
    listed = loaded((served.folder / "bundle.json").read_bytes()).files
    assert served.sent == (served.folder / "bundle.json").stat().st_size + sum(listed[path].bytes for path in served.paths()[1:])
    assert len(served.asked) == 4  # each once


@pytest.mark.parametrize("ranges", [True, False])
def test_what_breaks_off_goes_on_where_it_was(served: BundleServer, ranges: bool) -> None:
    served.ranges = ranges
    served.failures = [0, 503, "cut", "cut"]
    assert taken(served.url, env="Hopper", algo="ppo").new == 3
    again = [asked for path, asked in served.asked if path.endswith("runs-00000.parquet")]
    assert again[0] == again[1] == "" and all(one.startswith("bytes=") for one in again[2:]) and len(again) == 4


def test_an_interrupted_fetch_goes_on_from_the_cache(served: BundleServer) -> None:
    gone = served.folder / "data/env=ALE%2FPong-v5/algo=sac/points-00003.parquet"
    data = gone.read_bytes()
    gone.unlink()
    with pytest.raises(SourceError, match=r"the bundle lacks a file.*points-00003"):
        taken(served.url)
    assert not Store().exists or not Store().digests()
    gone.write_bytes(data)
    before = len(served.asked)
    assert taken(served.url).new == 12
    assert len(served.asked) - before == 2  # the manifest, and the one file that was missing


def test_a_flipped_byte_is_refused_named_and_asked_for_again(served: BundleServer) -> None:
    path = "data/env=Hopper-v4/algo=ppo/points-00000.parquet"
    data = (served.folder / path).read_bytes()
    (served.folder / path).write_bytes(data[:50] + bytes([data[50] ^ 1]) + data[51:])
    with pytest.raises(SourceError, match=f"{path}: its sha256 differs.*nothing of the bundle is kept"):
        taken(served.url)
    assert not Store().digests()
    (served.folder / path).write_bytes(data)
    assert taken(served.url).new == 12


def test_a_file_in_the_cache_that_was_changed_is_taken_anew(served: BundleServer) -> None:
    listed = loaded((served.folder / "bundle.json").read_bytes()).files
    folder = paths.cache_dir() / "bundles"
    folder.mkdir(parents=True)
    for one in listed.values():
        (folder / one.sha256).write_bytes(b"x" * one.bytes)
        (folder / f"{one.sha256}.part").write_bytes(b"y" * (one.bytes - 1))
    (folder / f"{listed['README.md'].sha256}").unlink()
    assert taken(served.url, env="Hopper", algo="ppo").new == 3


def test_a_server_that_sends_more_than_the_manifest_says_is_cut_off(served: BundleServer) -> None:
    path = served.folder / "data/env=Hopper-v4/algo=ppo/points-00000.parquet"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + bytes(50_000_000))
    with pytest.raises(SourceError, match=rf"more than {size:,} bytes"):
        taken(served.url, env="Hopper", algo="ppo")
    assert sum(one.stat().st_size for one in (paths.cache_dir() / "bundles").iterdir()) < 1_000_000


def test_files_that_a_server_packs_are_refused(served: BundleServer) -> None:
    served.packed = True
    with pytest.raises(SourceError, match="the server packs it"):
        taken(served.url)


def test_a_manifest_that_does_not_end_is_refused(served: BundleServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "MAX_MANIFEST_BYTES", 1000)
    with pytest.raises(SourceError, match="larger than"):
        taken(served.url)


def test_a_file_for_which_there_is_no_room_is_not_asked_for(served: BundleServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "SPARE_BYTES", 2**62)
    with pytest.raises(StoreUnwritable, match="are needed for its next file"):
        taken(served.url)
    assert served.paths() == ["bundle.json"]


@pytest.mark.parametrize(
    ("status", "error", "why"),
    [(404, SourceError, "no bundle there"), (403, NetworkError, "not given to everybody"), (418, SourceError, "answers 418")],
)
def test_a_refusal_is_told_at_once(served: BundleServer, status: int, error: type[Exception], why: str) -> None:
    served.failures = [status]
    with pytest.raises(error, match=why):
        taken(served.url)
    assert len(served.asked) == 1


def test_a_server_that_is_not_there_exits_5(served: BundleServer, cli: Callable[..., Result]) -> None:
    served.stop()
    done = cli("fetch", served.url)
    assert done.exit_code == 5 and "cannot be reached" in done.stderr and "the same command goes on" in done.stderr


@pytest.mark.parametrize(
    "address", ["http://ann:secret@127.0.0.1/x", "http://127.0.0.1/x?key=1", "http:///x", "hf://lab/runs", "hf://datasets/lab"]
)
def test_an_address_that_is_no_bundles_exits_2_and_repeats_no_secret(cli: Callable[..., Result], address: str) -> None:
    done = cli("fetch", address)
    assert done.exit_code == 2, done.stderr
    assert "secret" not in done.stderr


def test_without_the_hubs_client_the_line_that_installs_it_is_said(
    cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    done = cli("fetch", "hf://datasets/lab/runs")
    assert done.exit_code == 2 and "pip install 'openrlb[hub]'" in done.stderr


def test_a_data_set_of_the_hub_is_read_through_its_client(served: BundleServer, isolation: Path) -> None:
    pytest.importorskip("huggingface_hub", reason="the client of the hub is not installed: pip install 'openrlb[hub]'")

    def fetched(*words: str) -> subprocess.CompletedProcess[str]:
        told = {**os.environ, "HF_ENDPOINT": served.url, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        told |= {"HF_HOME": str(isolation / "hub"), "NO_PROXY": "127.0.0.1"}
        command = [sys.executable, "-m", "openrlb", "fetch", *words]
        return subprocess.run(command, env=told, capture_output=True, text=True, check=False)

    done = fetched("hf://datasets/lab/runs@v2", "--env", "Hopper")
    assert done.returncode == 0 and "6 new" in done.stderr and "6 not selected" in done.stderr, done.stderr
    assert not any("Pong" in path for path in served.paths())
    assert not (paths.cache_dir() / "bundles-hub").exists()
    assert "no bundle there" in fetched("hf://datasets/lab/runs/deeper").stderr
    assert fetched("hf://spaces/lab/runs").returncode == 2
