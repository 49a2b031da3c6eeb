"""Hard cases that a reviewer found: nothing lost, nothing doubled, nothing relabelled, nobody else's file read."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from builders import RETURN, batch
from typer.testing import Result

from openrlb.errors import SourceError, StoreDamaged
from openrlb.store import Store, read_segment, write_segment
from openrlb.store import sweep as sweeping
from openrlb.types import Metric, MetricBatch, RunBatch, Selection


def add(store: Store, *names: str, **fields: Any) -> None:
    for name in names:
        store.write([batch(name, **fields)])
        store.fold()


def uneven(store: Store, points: int = 50) -> list[tuple[Any, ...]]:
    return store.query(f"SELECT run, count(*) FROM points GROUP BY run HAVING count(*) <> {points}").rows


def test_rebuilds_between_merges_double_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    add(store, *(f"r{number}" for number in range(17)))  # the 17th fold merges
    store.rebuild()
    add(store, *(f"r{number}" for number in range(17, 34)))  # and merges the merged file again
    monkeypatch.setattr(sweeping, "RETIRED_FILES_STAY", -1.0)
    store.fold()
    assert store.health().unknown == ()
    assert store.rebuild() == []
    assert store.query("SELECT count(DISTINCT run), count(*) FROM points").rows == [(34, 34 * 50)]
    assert uneven(store) == []
    store.fold()
    assert len(store.layout.data_files("points")) <= 18


def test_run_ids_are_never_given_twice(store: Store, tmp_path: Path) -> None:
    add(store, "a")
    old = tmp_path / "old.duckdb"
    shutil.copy(store.layout.catalog, old)
    add(store, "b")
    shutil.copy(old, store.layout.catalog)  # yesterday's catalog is put back
    add(store, "c", points=10)
    store.rebuild()
    sizes = dict(store.query("SELECT run, count(*) FROM points GROUP BY run").rows)
    assert sizes == {"a": 50, "b": 50, "c": 10}


def test_points_whose_run_records_are_lost_are_nobody_elses(store: Store) -> None:
    add(store, "a")
    add(store, "b")
    newest = max(store.layout.data_files("runs"), key=lambda path: path.name)
    newest.write_bytes(b"garbage")
    store.layout.counter.unlink()
    assert any("damaged" in warning for warning in store.rebuild())
    add(store, "c", points=10)
    assert dict(store.query("SELECT run, count(*) FROM points GROUP BY run").rows) == {"a": 50, "c": 10}


def test_a_lost_metrics_file_does_not_relabel_old_points(store: Store) -> None:
    add(store, "a")
    store.layout.metrics.unlink()
    loss = MetricBatch(Metric("train/loss"), np.arange(3, dtype=np.int64), np.arange(3.0))
    store.write([RunBatch(batch("b").run, (loss,))])
    store.fold()
    assert dict(store.query("SELECT run, any_value(metric) FROM points GROUP BY run").rows) == {
        "a": "eval/mean_reward",
        "b": "train/loss",
    }
    store.layout.metrics.unlink()
    store.rebuild()
    assert store.curves(Selection(), [(RETURN.name, RETURN.kind)])[0].run.run == "a"


def test_metric_names_that_nothing_tells_stop_the_fold(store: Store) -> None:
    add(store, "a")
    store.layout.metrics.unlink()
    (points,) = store.layout.data_files("points")
    pq.write_table(pq.read_table(points).replace_schema_metadata({}), points)
    store.write([batch("b")])
    with pytest.raises(StoreDamaged, match="names of the stored metrics are lost"):
        store.fold()


@pytest.mark.parametrize("fields", [{"frames_per_step": 5_000_000_000}, {"seed": 2**63}, {"attempt": -1}])
def test_a_value_out_of_range_never_enters_the_spool(store: Store, fields: dict[str, Any]) -> None:
    with pytest.raises(SourceError, match="cannot be stored"):
        store.write([batch("bad", **fields)])
    add(store, "good")
    assert [row.record.run for row in store.runs()] == ["good"]


def forged(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A segment of two runs, good and bad, with the footer changed by hand."""
    path = write_segment(folder, [batch("good"), batch("bad", seed=1)])
    table = pq.read_table(path)
    footer = json.loads(table.schema.metadata[b"openrlb"])
    change(footer)
    pq.write_table(table.replace_schema_metadata({b"openrlb": json.dumps(footer).encode()}), path)
    return path


CHANGES: dict[str, Callable[[dict[str, Any]], None]] = {
    "env is a number": lambda footer: footer["runs"][1]["run"].update(env=7),
    "config is a list": lambda footer: footer["runs"][1]["run"].update(config=[1]),
    "seed too large": lambda footer: footer["runs"][1]["run"].update(seed=2**70),
    "attempt too large": lambda footer: footer["runs"][1]["run"].update(attempt=2**40),
    "requirements is a path": lambda footer: footer["runs"][1]["run"].update(requirements="/etc/passwd"),
    "a field is missing": lambda footer: footer["runs"][1]["run"].pop("algo"),
    "unknown kind": lambda footer: footer["runs"][1].update(metrics=[["a", "odd", None]]),
    "blob that is none": lambda footer: footer["runs"][1].update(blobs={"f": "0" * 64}),
    "no object": lambda footer: footer["runs"].__setitem__(1, 7),
}


@pytest.mark.parametrize("name", CHANGES)
def test_an_unusable_run_is_set_aside_and_the_others_are_stored(store: Store, name: str) -> None:
    path = forged(store.layout.spool, CHANGES[name])
    report = store.fold()
    assert report.quarantined
    assert (store.layout.quarantine / path.name).exists()
    kept = [row.record.run for row in store.runs()]
    assert kept == ["good"] or (name in ("no object", "unknown kind") and kept in ([], ["good"]))
    add(store, "later")
    assert "later" in [row.record.run for row in store.runs()]


@pytest.mark.parametrize("name", CHANGES)
def test_a_bundle_with_it_is_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match="is damaged"):
        read_segment(forged(tmp_path, CHANGES[name]))


def test_torn_rows_under_a_whole_footer_do_not_stop_the_fold(store: Store) -> None:
    path = store.write([batch("torn", points=5000)])
    data = bytearray(path.read_bytes())
    data[200:3000] = bytes(2800)
    path.write_bytes(data)
    store.write([batch("good")])
    assert store.fold().quarantined
    assert [row.record.run for row in store.runs()] == ["good"]


def test_fetch_says_so_and_exits_1_when_a_run_was_set_aside(store: Store, cli: Callable[..., Result]) -> None:
    forged(store.layout.spool, CHANGES["seed too large"])
    done = cli("fetch", "sample", "--algo", "ppo")
    assert done.exit_code == 1
    assert "was set aside" in done.stderr
    assert len(store.runs()) == 26


def test_kept_files_are_named_by_what_they_hold(store: Store) -> None:
    text = b"torch==2.13.0\n"
    digest = hashlib.sha256(text).hexdigest()
    run = replace(batch("a").run, requirements=digest)
    store.write([RunBatch(run, batch("a").metrics, {"requirements.txt": text})])
    store.fold()
    assert store.query("SELECT hash, packages FROM requirements").rows == [(digest, ["torch==2.13.0"])]


def test_hardware_series_lie_in_files_of_their_own_through_merge_and_rebuild(store: Store) -> None:
    heat = MetricBatch(
        Metric("system/gpu.0.temp", "system"), np.arange(30, dtype=np.int64), np.arange(30.0), np.arange(30) * 1000
    )
    for number in range(18):
        one = batch(f"r{number}", seed=number)
        store.write([RunBatch(one.run, (*one.metrics, heat))])
        store.fold()
    for path in store.layout.data_files("points"):
        assert "system/gpu.0.temp" not in {name for (name,) in _names_in(store, path)}
    expected = [("eval/mean_reward", 18 * 50), ("system/gpu.0.temp", 18 * 30)]
    sql = "SELECT metric, count(*) FROM points GROUP BY metric ORDER BY metric"
    assert store.query(sql).rows == expected
    assert len(store.curves(Selection(), [("system/gpu.0.temp", "system")])) == 18
    store.layout.catalog.unlink()
    assert store.rebuild() == []
    assert store.query(sql).rows == expected
    assert store.health().unknown == ()


def _names_in(store: Store, path: Path) -> list[tuple[str]]:
    ids = set(pq.read_table(path)["metric_id"].to_pylist())
    return [(name,) for number, name, *_ in store.query("SELECT * FROM catalog.metrics").rows if number in ids]


def test_a_first_run_that_was_killed_before_its_first_row_leaves_a_store_that_works(store: Store) -> None:
    store.write([replace(batch("killed", seed=0), metrics=())])
    store.fold()
    add(store, "next", seed=1)
    store.rebuild()
    assert [row.record.run for row in store.runs()] == ["killed", "next"]
    assert uneven(store) == []
