"""The store as verbs use it: what goes in comes out, whatever happens on the way."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from builders import EPISODES, RETURN, batch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openrlb.errors import NothingMatched, SelectionError, StoreError, StoreTooNew
from openrlb.store import Store, content_digest, read_segment, write_segment
from openrlb.store import sweep as sweeping
from openrlb.types import Metric, MetricBatch, Run, RunBatch, Selection

VIEWS = ("runs", "points", "params", "scores", "trials", "requirements")


def everything(store: Store) -> dict[str, list[tuple[object, ...]]]:
    """All views, as comparable rows (NaN equals NaN)."""
    return {view: [tuple(map(repr, row)) for row in store.query(f"SELECT * FROM {view} ORDER BY ALL").rows] for view in VIEWS}


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


def with_load(name: str, **more: int) -> RunBatch:
    """A run with hardware series."""
    one = batch(name, **more)
    load = MetricBatch(Metric("system.cpu", "system"), np.arange(3), np.arange(3.0), np.arange(3))
    return RunBatch(one.run, (*one.metrics, load))


@pytest.mark.parametrize("how", ["torn", "gone"])
@pytest.mark.parametrize("kind", ["points", "runs", "system"])
def test_a_torn_merged_file_leaves_what_it_was_merged_from(store: Store, kind: str, how: str) -> None:
    for number in range(17):
        store.write([with_load(f"r{number}", seed=number)])
        store.fold()
    before = everything(store)
    merged = store.layout.data_files(kind)[-1]
    if how == "torn":
        merged.write_bytes(merged.read_bytes()[:-20])
    else:
        merged.unlink()
    warnings = " ".join(store.rebuild())
    assert f"{merged.name} is damaged" in warnings or how == "gone"
    assert "what it was merged from is used again" in warnings
    assert "fetch" not in warnings  # nothing is lost
    assert everything(store) == before
    assert store.rebuild() == []  # and stays so
    assert everything(store) == before


@pytest.mark.parametrize("how", ["torn", "gone"])
def test_lost_hardware_series_are_named_and_come_back_with_a_fetch(store: Store, how: str) -> None:
    runs = [with_load("a"), batch("b", env="Ant-v4", seed=1)]
    store.write(runs)
    store.fold()
    before = everything(store)
    (series,) = store.layout.data_files("system")
    if how == "torn":
        series.write_bytes(series.read_bytes()[:-20])
    else:
        series.unlink()
    told = store.rebuild()
    assert "hardware series of its runs are lost; fetch its runs again" in told[-1]
    assert sorted(row.record.run for row in store.runs()) == ["a", "b"]
    store.write(runs)
    report = store.fold()
    assert (report.changed, report.unchanged) == (1, 1)
    assert everything(store)["points"] == before["points"]
    assert any("'system.cpu'" in row for row in before["points"])
    assert store.rebuild() == []


def test_a_fold_that_was_killed_at_its_last_moment_is_no_loss(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write([batch("a")])
    store.fold()
    store.write([batch("b", seed=1)])
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", killed_at(store.layout.journal))  # the catalog is in place, the journal still stands
        with pytest.raises(KeyboardInterrupt):
            store.fold()
    assert store.layout.journal.exists()
    assert store.rebuild() == []
    assert len(store.runs()) == 2  # what the spool still holds is folded again


def killed_at(last: Path) -> Callable[..., None]:
    """A Path.unlink that removes everything but one file, and ends there."""
    real = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path == last:
            raise KeyboardInterrupt
        real(path, missing_ok)

    return unlink


def test_run_records_are_made_again_from_those_of_another_file(store: Store) -> None:
    for number in range(17):
        store.write([batch(f"r{number}", seed=number)])
        store.fold()
    before = everything(store)
    merged, original = store.layout.data_files("points")[-1], store.layout.data_files("runs")[3]
    merged.write_bytes(b"")
    original.write_bytes(b"")  # the record of one run is in the merged file alone now, its points in the original alone
    assert "made again from the run records of other files" in " ".join(store.rebuild())
    assert everything(store) == before


def test_an_older_version_comes_back_where_the_newer_one_is_lost(store: Store) -> None:
    for number in range(17):
        store.write([batch("r0", seed=0, offset=100.0), batch("new")] if number == 5 else [batch(f"r{number}", seed=number)])
        store.fold()
    for kind in ("points", "runs"):
        store.layout.data_files(kind)[5].unlink()  # the newer version is in the merged file alone now
    store.layout.data_files("runs")[-1].write_bytes(b"")
    warnings = store.rebuild()
    assert "fetch its runs again" in warnings[-1]
    assert sorted(row.record.run for row in store.runs()) == sorted(f"r{number}" for number in range(17) if number != 5)
    (older,) = [one for one in store.curves(Selection(), [("eval/mean_reward", "eval")]) if one.run.run == "r0"]
    np.testing.assert_array_equal(older.values, batch("r0").metrics[0].values)
    assert store.rebuild() == []


def test_hardware_series_kept_of_a_lost_merged_file_are_not_named_again(store: Store) -> None:
    for number in range(17):
        store.write([with_load(f"r{number}", seed=number)])
        store.fold()
    before = everything(store)
    for path in [store.layout.data_files("points")[-1], store.layout.data_files("system")[3]]:
        path.write_bytes(b"")  # the series of one run are in the merged file alone now, its points in the original alone
    assert "a part of it is lost; other files hold its runs" in store.rebuild()[-1]
    assert everything(store) == before
    assert store.rebuild() == []
    assert everything(store) == before


@pytest.mark.parametrize("kind", ["points", "runs"])
def test_a_column_of_another_name_is_damage(store: Store, kind: str) -> None:
    store.write([batch("a")])
    store.fold()
    store.write([batch("b", seed=1)])
    store.fold()
    path = store.layout.data_files(kind)[0]
    column = {"points": b"metric_id", "runs": b"record"}[kind]
    path.write_bytes(path.read_bytes().replace(column, column[:-1] + b"x"))
    assert f"{path.name} is damaged" in store.rebuild()[0]
    assert [row.record.run for row in store.runs()] == ["b"]
    assert store.rebuild() == []


@pytest.mark.parametrize("kind", ["points", "runs"])
def test_an_old_file_that_is_half_swept_is_no_loss(store: Store, kind: str) -> None:
    for number in range(17):
        store.write([batch(f"r{number}", seed=number)])
        store.fold()
    before = everything(store)
    for path in store.layout.data_files(kind)[:3]:
        path.unlink()  # kill -9 in the middle of the sweep of what was merged
    assert store.rebuild() == []
    assert everything(store) == before


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


@pytest.mark.parametrize("damage", ["deleted", "torn", "garbled"])
def test_lost_points_can_be_fetched_again_after_a_rebuild(store: Store, damage: str) -> None:
    store.write([batch("lost", points=5000)])
    store.fold()
    store.write([batch("kept", env="Ant-v4")])
    store.fold()
    path = next(path for path in store.layout.data_files("points") if "Hopper" in str(path))
    data = path.read_bytes()
    if damage == "deleted":
        path.unlink()
    else:
        path.write_bytes(data[:-30] if damage == "torn" else data[:200] + bytes(len(data) - 400) + data[-200:])
    with pytest.raises(StoreError) as caught:
        store.curves(Selection(), [("eval/mean_reward", "eval")])
    assert "doctor --rebuild" in caught.value.fix
    assert store.rebuild()
    assert [row.record.run for row in store.runs()] == ["kept"]
    assert [item.run.run for item in store.changed([batch("lost", points=5000), batch("kept", env="Ant-v4")])] == ["lost"]
    store.write([batch("lost", points=5000)])
    store.fold()
    assert len(store.curves(Selection(env=("Hopper",)), [("eval/mean_reward", "eval")])[0].steps) == 5000
    health = store.health()
    assert (health.missing, health.unknown) == ((), ())
    assert health.quarantined


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
