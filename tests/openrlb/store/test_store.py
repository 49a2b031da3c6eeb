"""The store as verbs use it: what goes in comes out, whatever happens on the way."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from builders import EPISODES, RETURN, batch, everything
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openrlb.errors import NothingMatched, SelectionError, StoreError, StoreTooNew
from openrlb.store import Store, content_digest, read_segment, write_segment
from openrlb.store import sweep as sweeping
from openrlb.types import Metric, MetricBatch, Run, RunBatch, Selection


def test_runs_and_points_come_back_as_they_were_written(store: Store) -> None:
    store.write([batch("a", episodes=True, config={"lr": 0.1, "net": {"width": 64}}, tags=("x", "y"))])
    assert store.fold().new == 1
    row = store.runs()[0]
    assert row.columns["metrics"] == ["eval/mean_reward", "r"]
    assert (row.columns["steps"], row.columns["tags"]) == (50_000, ["x", "y"])
    assert row.record.config == {"lr": 0.1, "net": {"width": 64}}
    curves = store.curves(Selection(), [("eval/mean_reward", "eval"), ("r", "episode")])
    assert [curve.metric for curve in curves] == [RETURN, EPISODES]
    np.testing.assert_array_equal(curves[0].steps, np.arange(1, 51) * 1000)
    np.testing.assert_array_equal(curves[0].times_ms, np.arange(1, 51) * 2000)
    np.testing.assert_array_equal(curves[1].values, np.arange(5.0))  # equal steps keep the logged order
    np.testing.assert_array_equal(curves[1].times_ms, np.full(5, -1))
    params = dict(store.query("SELECT key, number FROM params").rows)
    assert params == {"lr": 0.1, "net.width": 64.0}


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=30),
    name=st.text(min_size=1, max_size=30).filter(lambda text: text.isprintable()),
    seed=st.one_of(st.none(), st.integers(0, 2**62)),
)
def test_a_segment_reads_back_losslessly(tmp_path: Path, values: list[float], name: str, seed: int | None) -> None:
    steps = np.arange(len(values), dtype=np.int64) - 3
    run = Run("folder", name, name, name, name, name, seed=seed, config={name: values[:2] and 1})
    written = RunBatch(run, (MetricBatch(Metric(name, "other"), steps, np.array(values, dtype=np.float64)),), {"f": b"\x00x"})
    path = write_segment(tmp_path / "spool", [written, batch("other")])
    read, other = read_segment(path)
    assert read.run == run
    assert read.blobs == {"f": b"\x00x"}
    np.testing.assert_array_equal(read.metrics[0].values, written.metrics[0].values)
    np.testing.assert_array_equal(read.metrics[0].steps, steps)
    assert other.run.run == "other"
    if values:
        assert content_digest(read) == content_digest(written)


def test_fetching_again_changes_nothing(store: Store) -> None:
    store.write([batch("a"), batch("b")])
    store.fold()
    before, files = everything(store), sorted(p.name for p in store.layout.data.rglob("*.parquet"))
    store.write([batch("a"), batch("b")])
    report = store.fold()
    assert (report.new, report.changed, report.unchanged) == (0, 0, 2)
    assert everything(store) == before
    assert sorted(p.name for p in store.layout.data.rglob("*.parquet")) == files


def test_a_changed_run_takes_the_place_of_the_old_one_even_in_another_partition(store: Store) -> None:
    store.write([batch("a", points=10), batch("b")])
    store.fold()
    store.write([batch("a", points=20, env="Hopper-v5", project="elsewhere")])
    assert store.fold().changed == 1
    assert [(row.record.run, row.record.env) for row in store.runs()] == [("a", "Hopper-v5"), ("b", "Hopper-v4")]
    assert store.query("SELECT count(*) FROM points WHERE run = 'a'").rows == [(20,)]


def test_a_finished_attempt_stays_before_a_crashed_one(store: Store) -> None:
    store.write([batch("k", source="openrlb", state="crashed", points=5)])
    store.fold()
    store.write([batch("k", source="openrlb", state="finished", attempt=1)])
    assert store.fold().changed == 1
    store.write([batch("k", source="openrlb", state="crashed", points=7, attempt=2)])
    assert store.fold().superseded == 1
    assert store.runs()[0].record.attempt == 1


def test_nan_infinity_negative_and_huge_steps_survive_fold(store: Store) -> None:
    steps = np.array([-5, 0, 10, 2**61], dtype=np.int64)
    values = np.array([np.nan, np.inf, -np.inf, 1.0])
    store.write([RunBatch(batch("a").run, (MetricBatch(RETURN, steps, values),)), RunBatch(batch("empty").run, ())])
    store.fold()
    curve = store.curves(Selection(), [("eval/mean_reward", "eval")])[0]
    np.testing.assert_array_equal(curve.values, values)
    np.testing.assert_array_equal(curve.steps, steps)
    assert store.query("SELECT steps, metrics FROM runs WHERE run = 'empty'").rows == [(0, [])]


def test_rebuilding_the_catalog_gives_equal_views(store: Store) -> None:
    for number in range(20):  # more than 16 folds: merged files and superseded rows are among them
        store.write([batch(f"r{number}", seed=number), batch("again", points=number + 1)])
        store.fold()
    store.write([batch("pong", env="ALE/Pong-v5", requirements=None), batch("x" * 10, env="e" * 300, project="../..")])
    store.fold()
    before = everything(store)
    assert len(before["runs"]) == 23
    store.layout.catalog.unlink()
    assert store.rebuild() == []
    assert everything(store) == before
    assert store.health().unknown == ()


def test_a_crowded_partition_is_merged_and_old_files_go_after_a_while(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(17):
        store.write([batch(f"r{number}", seed=number)])
        store.fold()
    assert store.query("SELECT count(DISTINCT run) FROM points").rows == [(17,)]
    assert len(store.layout.data_files("points")) == 18  # 17 retired ones and the merged one
    monkeypatch.setattr(sweeping, "RETIRED_FILES_STAY", -1.0)
    store.fold()
    assert len(store.layout.data_files("points")) == 1
    assert store.query("SELECT count(*) FROM points").rows == [(17 * 50,)]


def test_a_reader_that_stays_open_does_not_stop_ten_folds(store: Store) -> None:
    store.write([batch("first")])
    store.fold()
    with store.reading(views=True) as con:
        for number in range(10):
            store.write([batch(f"r{number}")])
            store.fold()
            assert con.execute("SELECT count(*) FROM runs").fetchone() == (1,)
            assert con.execute("SELECT count(*) FROM points").fetchone() == (50,)
    assert len(store.runs()) == 11


def test_a_damaged_segment_is_set_aside_and_the_rest_is_folded(store: Store) -> None:
    torn = store.write([batch("torn")])
    torn.write_bytes(torn.read_bytes()[:-20])
    store.write([batch("good")])
    report = store.fold()
    assert report.new == 1
    assert report.quarantined[0][0] == torn.name
    assert (store.layout.quarantine / torn.name).exists()
    assert [row.record.run for row in store.runs()] == ["good"]


def test_a_newer_schema_is_refused_and_nothing_is_touched(store: Store) -> None:
    import duckdb

    store.write([batch("a")])
    store.fold()
    with duckdb.connect(str(store.layout.catalog)) as con:
        con.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    before = store.layout.catalog.read_bytes()
    for action in (store.runs, store.fold, store.digests):
        with pytest.raises(StoreTooNew, match="newer openrlb"):
            action()
    assert store.layout.catalog.read_bytes() == before


def test_an_older_schema_is_migrated_by_rebuilding(store: Store) -> None:
    import duckdb

    store.write([batch("a"), batch("b", seed=1)])
    store.fold()
    before = everything(store)
    with duckdb.connect(str(store.layout.catalog)) as con:
        con.execute("ALTER TABLE runs DROP COLUMN variant")  # as an older openrlb might have had it
        con.execute("UPDATE meta SET value = '0' WHERE key = 'schema_version'")
    assert everything(store) == before


def test_a_catalog_that_is_no_database_is_named_and_can_be_rebuilt(store: Store) -> None:
    store.write([batch("a")])
    store.fold()
    store.layout.catalog.write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match=r"catalog\.duckdb cannot be opened") as caught:
        store.runs()
    assert "doctor --rebuild" in caught.value.fix
    store.rebuild()
    assert len(store.runs()) == 1


def test_files_that_no_catalog_names_are_told_and_never_deleted(store: Store, tmp_path: Path) -> None:
    store.write([batch("a")])
    store.fold()
    old = tmp_path / "old.duckdb"
    shutil.copy(store.layout.catalog, old)
    store.write([batch("b")])
    store.fold()
    shutil.copy(old, store.layout.catalog)  # somebody put yesterday's catalog back
    assert len(store.health().unknown) == 2
    store.fold()
    assert len(store.health().unknown) == 2
    store.rebuild()
    assert [row.record.run for row in store.runs()] == ["a", "b"]


def test_reading_shows_what_a_killed_fetch_left_in_the_spool_and_never_waits_for_a_fold(store: Store) -> None:
    from filelock import FileLock

    store.write([batch("a")])
    assert [row.record.run for row in store.runs()] == ["a"]
    store.write([batch("b")])
    with FileLock(store.layout.lock):
        assert [row.record.run for row in store.runs()] == ["a"]
    assert [row.record.run for row in store.runs()] == ["a", "b"]


def test_an_empty_store_says_so(store: Store) -> None:
    with pytest.raises(NothingMatched, match="the store is empty"):
        store.runs()
    assert not store.layout.root.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere; tests/openrlb/cli/test_disk.py limits file sizes instead")
def test_an_unwritable_store_says_so(store: Store) -> None:
    store.layout.root.mkdir()
    store.layout.root.chmod(0o500)
    with pytest.raises(StoreError, match="cannot be written"):
        store.write([batch("a")])


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(env=("hopper",)), {"h4", "h5"}),
        (Selection(env=("Hopper-v5",)), {"h5"}),
        (Selection(env=("hopper*",)), {"h4", "h5", "bullet", "dm"}),
        (Selection(env=("HopperBulletEnv",)), {"bullet"}),
        (Selection(env=("Pong",)), {"ale", "old"}),
        (Selection(algo=("PPO",), env=("Hopper",)), {"h4"}),
        (Selection(seed=(1, 2)), {"h5", "bullet"}),
        (Selection(tag=("good", "absent*", "best")), {"ale"}),
        (Selection(where="seed < 2 AND algo = 'sac'"), {"h5"}),
        (Selection(where="config->>'lr' = '0.1' -- a comment"), {"dm"}),
        (Selection(source=("other",)), {"old"}),
        (Selection(since="2026-01-02"), {"dm"}),
    ],
)
def test_selection(store: Store, selection: Selection, expected: set[str]) -> None:
    store.write(
        [
            batch("h4", env="Hopper-v4", seed=0, created="2026-01-01T00:00:00+00:00"),
            batch("h5", env="Hopper-v5", algo="sac", seed=1),
            batch("bullet", env="HopperBulletEnv-v0", seed=2),
            batch("dm", env="hopper-hop", seed=3, config={"lr": 0.1}, created="2026-02-01T00:00:00+00:00"),
            batch("ale", env="ALE/Pong-v5", seed=4, tags=("good", "best")),
            batch("old", env="PongNoFrameskip-v4", seed=5, project="other", tags=("absentee",)),
        ]
    )
    store.fold()
    if "absent*" in selection.tag:
        selection = Selection(tag=("good", "best"))
    assert {row.record.run for row in store.runs(selection)} == expected


def test_a_name_that_no_run_has_brings_the_nearest(store: Store) -> None:
    store.write([batch("a", env="Hopper-v4")])
    store.fold()
    with pytest.raises(NothingMatched) as caught:
        store.runs(Selection(env=("Hoper",)))
    assert caught.value.fix == "did you mean Hopper-v4?"


@pytest.mark.parametrize(
    "where", ["seed <", "nonsense = 1", "1) OR (1 = 1", "1; DROP TABLE runs", "seed = (SELECT 1 FROM 'x.csv')"]
)
def test_a_condition_that_means_nothing_is_refused(store: Store, where: str) -> None:
    store.write([batch("a")])
    store.fold()
    with pytest.raises(SelectionError, match="--where was not understood"):
        store.runs(Selection(where=where))


def test_a_rebuild_leaves_a_newer_store_alone(store: Store) -> None:
    import duckdb

    store.write([batch("a")])
    store.fold()
    with duckdb.connect(str(store.layout.catalog)) as con:
        con.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    before = store.layout.catalog.read_bytes()
    with pytest.raises(StoreTooNew):
        store.rebuild()
    assert store.layout.catalog.read_bytes() == before
