"""A store on a web server: read as it lies, no more of it than is needed, and nothing that the server does goes unnoticed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest
from builders import RETURN, batch
from store_server import StoreServer
from typer.testing import Result

import openrlb
from openrlb.errors import (
    NetworkError,
    NothingMatched,
    OpenrlbError,
    QueryRefused,
    SourceError,
    StoreBusy,
    StoreDamaged,
    StoreError,
    StoreTooNew,
    StoreUnwritable,
    UsageError,
)
from openrlb.sources.bundle import web
from openrlb.sources.web_store import WebStore
from openrlb.sources.web_store import store as web_store
from openrlb.store import Store
from openrlb.store.merge import merge_files
from openrlb.store.stored import stored_batches
from openrlb.types import Metric, MetricBatch, RunBatch, Selection

Cli = Callable[..., Result]
EVAL = [("eval/mean_reward", "eval")]
KEPT = b'{"command": ["train.py"]}'
DIGEST = hashlib.sha256(KEPT).hexdigest()


def long_run(name: str, algo: str, seed: int) -> RunBatch:
    """A run with so many values that a partition has several groups of rows."""
    small = batch(name, algo=algo, seed=seed, offset=float(seed), state="finished")
    steps = np.arange(1, 3001, dtype=np.int64) * 100
    noise = np.random.default_rng(seed)
    losses = [MetricBatch(Metric(f"loss/{one}", "other"), steps, noise.normal(size=3000), steps * 3) for one in range(6)]
    run = replace(small.run, files={"wandb-metadata.json": DIGEST})
    return RunBatch(run, (*small.metrics, *losses), {"wandb-metadata.json": KEPT})


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two environments, eight runs in each."""
    kept = Store(tmp_path_factory.mktemp("laid") / "store")
    kept.write([long_run(f"{algo}{seed}", algo, seed) for algo in ("ppo", "sac") for seed in range(4)])
    kept.write([batch(f"walker{seed}", env="Walker2d-v4", seed=seed) for seed in range(8)])
    kept.fold()
    return kept.layout.root


@pytest.fixture
def folder(laid_out: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may spoil."""
    return Path(shutil.copytree(laid_out, tmp_path / "store"))


@pytest.fixture
def server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StoreServer]:
    monkeypatch.setattr(web, "WAIT_SECONDS", 0.001)
    found = StoreServer(folder)
    yield found
    found.stop()


def curves(store: Store, env: str = "Hopper") -> list[tuple[str, bytes, bytes, bytes]]:
    found = store.curves(Selection(env=(env,)), EVAL)
    return [(one.run.run, one.steps.tobytes(), one.values.tobytes(), one.times_ms.tobytes()) for one in found]


def points_of(folder: Path, env: str = "Hopper-v4") -> str:
    (path,) = folder.glob(f"data/project=*/env={env}/points-*.parquet")
    return path.relative_to(folder).as_posix()


@pytest.mark.parametrize(
    "words",
    [
        ("list", "--json"),
        ("show", "ppo1", "--json"),
        ("query", "SELECT run, count(*), sum(value) FROM points GROUP BY run ORDER BY run"),
        ("list", "--json", "--where", "run IN (SELECT run FROM points WHERE metric = 'loss/3')"),
        ("plot", "--table", "--json", "--resamples", "100"),
        ("compare", "ppo", "sac", "--env", "Hopper", "--json", "--resamples", "100"),
        ("export", "--points", "--of", "eval/mean_reward", "--json"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_every_verb_says_what_it_says_where_the_store_lies(
    cli: Cli, server: StoreServer, folder: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    far = cli("--store", server.url, *words)
    assert far.exit_code == 0, far.output
    assert f"{server.url}: " in far.stderr and "request" in far.stderr
    (folder.parent / "home").mkdir()
    (folder.parent / "home" / "store").symlink_to(folder)
    monkeypatch.setenv("OPENRLB_HOME", str(folder.parent / "home"))
    near = cli(*words)
    assert near.exit_code == 0 and far.stdout == near.stdout


def test_a_figure_takes_its_groups_of_rows_and_nothing_twice(server: StoreServer, folder: Path) -> None:
    far = WebStore(server.url)
    assert curves(far) == curves(Store(folder))
    points = (folder / points_of(folder)).stat().st_size
    taken = far.folder.received - (folder / "catalog.duckdb").stat().st_size
    assert taken < 0.5 * points, f"{taken:,} of {points:,} bytes"
    assert set(server.paths()) == {"catalog.duckdb", points_of(folder)}, "of the other environment nothing"
    sent = server.sent
    assert curves(WebStore(server.url)) == curves(Store(folder))
    assert server.sent == sent, "the catalog is as it was, and the rows are here"
    assert len(far.curves(Selection(env=("Hopper",)), [("loss/5", "other")])) == 8 and server.sent > sent


@pytest.mark.parametrize("tags", [True, False])
def test_a_catalog_that_changed_is_taken_again(server: StoreServer, folder: Path, tags: bool) -> None:
    server.tags = tags
    os.utime(folder / "catalog.duckdb", (1_000_000_000, 1_000_000_000))
    before = WebStore(server.url)
    assert len(before.runs()) == 16
    owner = Store(folder)
    owner.write([batch("more")])
    owner.fold()
    assert len(before.runs()) == 16, "one object tells of one moment"
    assert len(WebStore(server.url).runs()) == 17
    sent = server.sent
    assert len(WebStore(server.url).runs()) == 17
    assert (server.sent == sent) is tags, "a date that is just over may stand for two files"


def test_a_server_without_ranges_gives_whole_files(server: StoreServer, folder: Path) -> None:
    server.ranges = False
    assert curves(WebStore(server.url)) == curves(Store(folder))
    asked = len(server.asked)
    assert curves(WebStore(server.url)) == curves(Store(folder))
    assert len(server.asked) == asked + 1, "only for the catalog"


def test_ranges_that_end_while_a_file_is_read(server: StoreServer, folder: Path) -> None:
    path = points_of(folder)
    server.failures[path] = [0, lambda: setattr(server, "ranges", False)]
    assert curves(WebStore(server.url)) == curves(Store(folder))


def test_answers_that_break_off_are_asked_for_again(server: StoreServer, folder: Path) -> None:
    path = points_of(folder)
    server.failures = {"catalog.duckdb": ["cut", 503, "cut"], path: ["cut", 502, 0, "cut", 429]}
    assert curves(WebStore(server.url)) == curves(Store(folder))


@pytest.mark.parametrize("path", ["catalog.duckdb", "points"])
def test_a_server_that_dies_midway_is_named_and_leaves_nothing_half(
    server: StoreServer, folder: Path, cli: Cli, path: str, isolation: Path
) -> None:
    path = points_of(folder) if path == "points" else path
    server.failures[path] = ["cut"] * 20
    with pytest.raises(NetworkError, match="broke off"):
        curves(WebStore(server.url))
    assert not list(isolation.rglob(".tmp-*"))
    server.failures.clear()
    assert curves(WebStore(server.url)) == curves(Store(folder))


@pytest.mark.parametrize(
    ("status", "error", "code"), [(404, NothingMatched, 3), (403, NetworkError, 5), (500, NetworkError, 5), (418, SourceError, 1)]
)
def test_a_catalog_that_is_not_given(server: StoreServer, cli: Cli, status: int, error: type[OpenrlbError], code: int) -> None:
    server.failures["catalog.duckdb"] = [status] * 30
    with pytest.raises(error):
        WebStore(server.url).runs()
    done = cli("--store", server.url, "list")
    assert done.exit_code == code and done.stderr.startswith("error: ") and not done.stdout


def test_no_server_is_no_stale_answer(server: StoreServer, cli: Cli) -> None:
    assert cli("--store", server.url, "list").exit_code == 0
    server.stop()
    done = cli("--store", server.url, "list")
    assert done.exit_code == 5 and not done.stdout and "cannot be reached" in done.stderr
    assert "nothing older is answered" in done.stderr and "fetch" not in done.stderr


def test_points_that_were_merged_while_they_are_read(server: StoreServer, folder: Path) -> None:
    far, owner = WebStore(server.url), Store(folder)
    assert len(far.runs()) == 16
    owner.write([batch("more", points=9)])
    owner.fold()
    files = sorted(folder.glob("data/project=logs/env=Hopper-v4/points-*.parquet"))
    merge_files(owner.layout, "logs", "Hopper-v4", files)
    for path in files:
        path.unlink()
    with pytest.raises(StoreBusy, match="merged since"):
        curves(far)
    assert curves(far) == curves(owner), "typed again it is whole"
    assert len(curves(far)) == 9


def spoiled(path: Path, *statements: str) -> None:
    """A catalog that somebody changed by hand."""
    con = duckdb.connect()
    con.execute(f"ATTACH '{path}' AS catalog (STORAGE_VERSION 'v1.5.0')")
    for one in statements:
        con.execute(one)
    con.close()


HOSTILE = {
    "a view": ("DROP TABLE catalog.params", "CREATE VIEW catalog.params AS SELECT * FROM read_text('/etc/passwd')"),
    "a view of the version": (
        "DROP TABLE catalog.meta",
        "CREATE VIEW catalog.meta AS SELECT 'schema_version' AS key, '2' AS value",
    ),
    "a macro": ("CREATE MACRO catalog.lower(x) AS 'no'",),
    "a table more": ("CREATE TABLE catalog.more (a INTEGER)",),
    "a column computed": ("ALTER TABLE catalog.trials ADD COLUMN more VARCHAR",),
    "an index": ("CREATE INDEX one ON catalog.runs (run)",),
    "a path above": ("UPDATE catalog.files SET path = '../../../../etc/passwd'",),
    "a path in a folder": ("UPDATE catalog.files SET path = 'project=a/env=../points-1.parquet'",),
    "an absolute path": ("UPDATE catalog.files SET path = '/etc/project=a/env=b/points-1.parquet'",),
    "no path": ("UPDATE catalog.files SET path = NULL",),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_catalog_with_anything_else_in_it_is_refused(server: StoreServer, folder: Path, isolation: Path, what: str) -> None:
    spoiled(folder / "catalog.duckdb", *HOSTILE[what])
    with pytest.raises(StoreDamaged, match="catalog is refused"):
        WebStore(server.url).query("SELECT * FROM params")
    assert not list(isolation.rglob("*.duckdb")), "it is not kept"


@pytest.mark.parametrize(
    ("version", "error", "told"),
    [("99", StoreTooNew, "newer openrlb"), ("1", StoreError, "older openrlb"), ("x", StoreDamaged, "catalog is refused")],
)
def test_a_catalog_of_another_version(
    server: StoreServer, folder: Path, version: str, error: type[StoreError], told: str
) -> None:
    spoiled(folder / "catalog.duckdb", f"UPDATE catalog.meta SET value = '{version}'")
    with pytest.raises(error, match=told):
        WebStore(server.url).runs()


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "html"])
def test_a_file_that_is_no_catalog(server: StoreServer, folder: Path, damage: str) -> None:
    path = folder / "catalog.duckdb"
    data = path.read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 255
    path.write_bytes(
        {"cut": data[: len(data) // 2], "flipped": bytes(flipped), "empty": b"", "html": b"<html>log in</html>"}[damage]
    )
    try:
        curves(WebStore(server.url))
    except OpenrlbError as error:
        assert isinstance(error, StoreDamaged)
    else:
        assert damage == "flipped", "a byte that nothing uses"


def test_a_kept_catalog_that_was_torn_is_taken_again(server: StoreServer, folder: Path, isolation: Path) -> None:
    expected = curves(WebStore(server.url))
    (kept,) = (isolation / "stores").glob("*/catalog.duckdb")
    data = bytearray(kept.read_bytes())
    data[20_000::5000] = bytes(one ^ 255 for one in data[20_000::5000])
    kept.write_bytes(data)
    with pytest.raises(StoreDamaged) as raised:
        curves(WebStore(server.url))
    assert "type it again" in raised.value.fix and "doctor" not in raised.value.fix, "the server's store is not ours to rebuild"
    assert curves(WebStore(server.url)) == expected


def test_two_that_take_the_catalog_at_once_do_not_take_it_from_each_other(
    server: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = web_store.check_catalog
    others: list[Future[int]] = []

    def meanwhile(path: Path) -> None:
        """Another process begins as soon as this one's catalog has arrived."""
        if not others:
            others.append(pool.submit(lambda: len(WebStore(server.url).runs())))
            wait(others, timeout=0.3)
        really(path)

    monkeypatch.setattr(web_store, "check_catalog", meanwhile)
    with ThreadPoolExecutor(1) as pool:
        assert len(WebStore(server.url).runs()) == 16
        assert others[0].result() == 16


def test_a_catalog_that_never_ends(server: StoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_store, "MAX_CATALOG_BYTES", 100_000)
    with pytest.raises(SourceError, match="larger than"):
        WebStore(server.url).runs()


@pytest.mark.parametrize("part", ["whole", "rows"])
def test_points_that_are_none(server: StoreServer, folder: Path, isolation: Path, part: str) -> None:
    path = points_of(folder)
    if part == "whole":
        server.garbled.add(path)
    else:
        data = bytearray((folder / path).read_bytes())
        data[4:-12_000] = b"\x5a" * (len(data) - 12_004)  # all but the footer
        (folder / path).write_bytes(data)
    with pytest.raises(StoreDamaged, match="points of this store cannot be read"):
        curves(WebStore(server.url))
    assert not [one for one in (isolation / "cache").rglob("*") if one.is_file()], "it is not kept"


def test_a_cache_that_was_torn_is_mended(server: StoreServer, folder: Path, isolation: Path) -> None:
    expected = curves(WebStore(server.url))
    (kept,) = (isolation / "cache").rglob("points-*.parquet")
    kept.write_bytes(b"\0" * kept.stat().st_size)
    assert curves(WebStore(server.url)) == expected
    groups = kept.with_name(f"{kept.name}.groups")
    groups.write_text(json.dumps(list(range(50))))  # it says that all is there, and zeros are
    kept.write_bytes(kept.read_bytes()[:4] + b"\0" * 1000 + kept.read_bytes()[1004:])
    assert curves(WebStore(server.url)) == expected


def test_a_whole_file_that_came_garbled_is_taken_again(server: StoreServer, folder: Path) -> None:
    sql = "SELECT count(*), sum(value) FROM points"
    server.garbled.add(points_of(folder))
    with pytest.raises(StoreDamaged, match="type it again"):
        WebStore(server.url).query(sql)
    server.garbled.clear()
    assert WebStore(server.url).query(sql).rows == Store(folder).query(sql).rows


def test_kept_files_come_with_their_runs_and_are_what_their_names_say(server: StoreServer, folder: Path) -> None:
    keys = [("folder", "ppo0"), ("folder", "walker1")]
    far, near = (list(stored_batches(one, keys)) for one in (WebStore(server.url), Store(folder)))
    assert [one.run for one in far] == [one.run for one in near]
    assert far[0].blobs == {"wandb-metadata.json": KEPT}
    for one, other in zip(far, near, strict=True):
        for metric, same in zip(one.metrics, other.metrics, strict=True):
            assert metric.metric == same.metric and metric.values.tobytes() == same.values.tobytes()
    shutil.rmtree(openrlb.open_store(server.url).layout.blobs)
    server.garbled.add(f"blobs/{DIGEST}")
    with pytest.raises(StoreDamaged, match="not what its name says"):
        list(stored_batches(WebStore(server.url), keys))


def test_redirects_are_followed_to_web_servers_alone(server: StoreServer, laid_out: Path, folder: Path) -> None:
    other = StoreServer(laid_out)
    try:
        server.redirect = other.url.rstrip("/")
        assert curves(WebStore(server.url)) == curves(Store(folder))
    finally:
        other.stop()
    server.redirect = f"file://{laid_out}"
    with pytest.raises(OpenrlbError):
        WebStore(server.url).runs()
    server.redirect = server.url.rstrip("/")  # in a circle
    with pytest.raises(OpenrlbError):
        WebStore(server.url).runs()


@pytest.mark.parametrize(
    "address",
    [
        "ftp://host/store/",
        "https://me:secret@host/",
        "https://host/?a=b",
        "https://host/#x",
        "https://[::1",
        "/srv/store",
        "https:///x",
    ],
)
def test_an_address_that_is_none(cli: Cli, address: str) -> None:
    done = cli("--store", address, "list")
    assert done.exit_code == 2 and "store's address cannot be read" in done.stderr and "secret" not in done.output


def test_nothing_is_written_and_nothing_is_asked_for_it(server: StoreServer, cli: Cli, folder: Path) -> None:
    far = WebStore(server.url)
    for action in (lambda: far.write([batch("a")]), far.fold, far.rebuild, far.health, far.check_lock):
        with pytest.raises(StoreUnwritable, match="not written to"):
            action()
    with pytest.raises(StoreUnwritable):
        openrlb.fetch("sample", store=far)
    for words in (("fetch", "sample"), ("doctor",), ("run", "ppo", "--env", "CartPole-v1"), ("study", "list"), ("status",)):
        done = cli("--store", server.url, *words)
        assert done.exit_code == 2 and "does not read a store on a web server" in done.stderr, words
    assert not server.asked
    done = cli("--store", server.url, *"plot --normalize minmax:ppo --freeze mine --env Hopper --resamples 100".split())
    assert "NOT frozen" in done.output and not list(folder.parent.rglob("normalizations.parquet"))


def test_studies_are_refused_and_not_empty(server: StoreServer, cli: Cli) -> None:
    for view in ("trials", "studies"):
        with pytest.raises(QueryRefused, match="not read over HTTP"):
            WebStore(server.url).query(f"SELECT * FROM {view}")


def test_points_that_are_asked_for_behind_the_back_are_refused_and_not_fewer(server: StoreServer) -> None:
    far = WebStore(server.url)
    assert len(curves(far)) == 8  # some groups of rows are here
    with pytest.raises(OpenrlbError, match="elsewhere"):
        far.query("SELECT count(*) FROM query_table('poi' || 'nts')")
    assert far.query("SELECT count(*) FROM points").rows == [(8 * (50 + 6 * 3000) + 8 * 50,)]


def test_looks_are_counted_at_home(server: StoreServer, folder: Path, cli: Cli, isolation: Path) -> None:
    words = ("compare", "ppo", "sac", "--env", "Hopper", "--resamples", "100", "--json")
    assert cli("--store", server.url, *words).exit_code == 0
    assert len(list((isolation / "stores").glob("*/looks.jsonl"))) == 1 and not (folder / "looks.jsonl").exists()
    assert "looks.jsonl" not in server.paths()


def test_the_variable_means_what_the_flag_does(
    server: StoreServer, cli: Cli, monkeypatch: pytest.MonkeyPatch, runs: Store
) -> None:
    monkeypatch.setenv("OPENRLB_STORE", server.url)
    assert len(json.loads(cli("list", "--json").stdout)) == 16
    assert cli("fetch", "sample").exit_code == 2
    monkeypatch.delenv("OPENRLB_STORE")
    assert len(json.loads(cli("list", "--json").stdout)) == 3
    assert len(openrlb.runs()) == 3 and len(openrlb.runs(store=openrlb.open_store(server.url))) == 16


def test_names_that_need_quoting(server: StoreServer, folder: Path) -> None:
    owner, env = Store(folder), "ALE/Pong v5?#%2F\u00e9"
    owner.write([batch("odd", env=env, project="lab & co/..")])
    owner.fold()
    assert curves(WebStore(server.url), env) == curves(owner, env) != []


def test_what_a_metric_has_no_rows_of_is_an_empty_answer(server: StoreServer) -> None:
    far = WebStore(server.url)
    assert far.curves(Selection(env=("Walker2d",)), [("loss/1", "other")]) == []
    with pytest.raises(NothingMatched):
        far.runs(Selection(env=("Ant",)))
    assert [one.metric for one in far.curves(Selection(env=("Walker2d",), seed=(3,)), EVAL)] == [RETURN]


def test_an_address_is_a_user_error_in_python_too() -> None:
    with pytest.raises(UsageError):
        openrlb.open_store("ftp://host/store")
