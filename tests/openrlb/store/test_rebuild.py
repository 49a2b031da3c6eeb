"""Rebuild: whatever became of some files, what the others hold is there, and what is lost is named and can be fetched again."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest
from builders import batch, everything, held_by, with_load

from openrlb.errors import StoreBusy, StoreDamaged, StoreError
from openrlb.store import Store, merge
from openrlb.store.fold import fold
from openrlb.store.stored import stored_batches
from openrlb.types import RunBatch, Selection


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
    assert f"{merged.name} is {'damaged' if how == 'torn' else 'gone'}" in warnings
    assert "other files hold its runs" in warnings
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
    assert told[-1] == "hardware series are lost of 1 run: a (Hopper-v4); fetch them again"
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
    assert "put together again from what is left" in " ".join(store.rebuild())
    assert everything(store) == before


def test_an_older_version_comes_back_where_the_newer_one_is_lost(store: Store) -> None:
    for number in range(17):
        store.write([batch("r0", seed=0, offset=100.0), batch("new")] if number == 5 else [batch(f"r{number}", seed=number)])
        store.fold()
    for kind in ("points", "runs"):
        store.layout.data_files(kind)[5].unlink()  # the newer version is in the merged file alone now
    store.layout.data_files("runs")[-1].write_bytes(b"")
    warnings = store.rebuild()
    assert "lost: 1 run: new (Hopper-v4); fetch them again" in warnings
    assert "only an older version is left of 1 run: r0 (Hopper-v4); fetch them again" in warnings
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
    assert all("damaged" in one or "put together again" in one for one in store.rebuild())
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


def test_a_run_without_rows_is_not_lost_with_the_files_of_others(store: Store) -> None:
    runs = [RunBatch(batch("bare").run, ()), *(batch(f"r{number}", seed=number) for number in range(1, 17))]
    for one in runs:
        store.write([one])
        store.fold()
    before = everything(store)
    for path in [store.layout.data_files("runs")[-1], store.layout.data_files("points")[4]]:
        path.write_bytes(b"")  # the merged file's records and an original's points
    assert not [one for one in store.rebuild() if "fetch" in one]
    assert everything(store) == before


@pytest.mark.parametrize("how", ["torn", "gone"])
def test_a_lost_run_without_rows_is_named(store: Store, how: str) -> None:
    store.write([RunBatch(batch("bare").run, ())])
    store.fold()
    (path,) = store.layout.data_files("runs")
    path.write_bytes(b"") if how == "torn" else path.unlink()
    assert store.rebuild()[-1] == "lost: 1 run: bare (Hopper-v4); fetch them again"


def test_damage_by_chance_loses_nothing_that_some_files_hold(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Versions, merges, hardware series and runs without rows; then files go, are torn, and a catalog is lost, perhaps twice."""
    monkeypatch.setattr(merge, "FILES_PER_PARTITION", 3)
    for case in range(3):
        chance = random.Random(case)
        place = Store(tmp_path / str(case))
        newest: dict[str, RunBatch] = {}
        for number in range(8):
            name = f"r{chance.randrange(5)}"
            made = with_load if chance.random() < 0.5 else batch
            newest[name] = made(name, env=chance.choice(["Hopper-v4", "Ant-v4"]), offset=100.0 * number)
            newest[name] = newest[name] if chance.random() < 0.9 else replace(newest[name], metrics=())
            place.write([newest[name]])
            place.fold()
        whole = rows_by_run(place)
        for _ in range(2):
            harm(place, chance)
            place.write(list(newest.values()))
            place.fold()
            assert rows_by_run(place) == whole, case
            assert place.rebuild() == [], case


def harm(store: Store, chance: random.Random) -> None:
    """Takes some files away, or tears them, rebuilds, and holds what is left against what the others hold."""
    ids = numbered(store)
    before = rows_by_run(store)
    files = [path for kind in ("points", "system", "runs") for path in store.layout.data_files(kind)]
    held = {path: held_by(path) for path in files}
    for path in chance.sample(files, min(len(files), chance.choice([1, 2, 4]))):
        path.unlink() if chance.random() < 0.5 else path.write_bytes(path.read_bytes()[:-9])
        del held[path]
    if forgotten := chance.random() < 0.3:
        store.layout.catalog.write_bytes(b"no database")
    told = " ".join(store.rebuild())
    after = rows_by_run(store)
    for run, run_id in ids.items():
        kinds = {path.name.split("-")[0] for path, there in held.items() if run_id in there}
        if "runs" in kinds and ("points" in kinds or not before[run]["points"]):
            assert after[run]["points"] == before[run]["points"], run
            assert "system" not in kinds or after[run]["system"] == before[run]["system"], run
        if after.get(run) != before[run] and not forgotten:  # without a catalog nothing tells of files that are gone
            assert "fetch" in told, run
    assert store.health().damaged == store.health().missing == ()


def numbered(store: Store) -> dict[str, int]:
    """The runs' ids."""
    with store.reading() as con:
        return dict(con.execute("SELECT run, run_id FROM catalog.runs").fetchall())


def rows_by_run(store: Store) -> dict[str, dict[str, list[object]]]:
    """Every value of every run, hardware series apart."""
    found: dict[str, dict[str, list[object]]] = {run: {"points": [], "system": []} for run in numbered(store)}
    for run, kind, *row in store.query("SELECT run, kind, metric, step, value FROM points ORDER BY ALL").rows:
        found[run]["system" if kind == "system" else "points"].append(row)
    return found


def test_files_kept_with_runs_that_are_lost_or_altered_are_named_and_come_back(store: Store) -> None:
    texts = {"config.json": b"{}", "run.py": b"print()"}
    digests = {name: hashlib.sha256(text).hexdigest() for name, text in texts.items()}
    run = replace(batch("a", files=digests), blobs=texts)
    store.write([run, batch("b", seed=1)])
    store.fold()
    (store.layout.blobs / digests["config.json"]).unlink()
    (store.layout.blobs / digests["run.py"]).write_bytes(b"import os")
    assert store.health().gone == ("config.json of a",)
    assert store.health().altered == (digests["run.py"],)
    with pytest.raises(StoreDamaged, match="kept with a run is"):
        list(stored_batches(store, [("folder", "a")]))
    told = store.rebuild()
    assert "is not what was kept" in told[0]
    assert told[1] == "files kept are lost of 1 run: a (Hopper-v4); fetch them again"
    store.write([run, batch("b", seed=1)])
    report = store.fold()
    assert (report.changed, report.unchanged) == (1, 1)
    assert store.rebuild() == []
    assert store.health().gone == store.health().altered == ()


@pytest.mark.parametrize("text", ["5", "null", "[5]", '[["a"]]', "[" * 100_000, '[""]', '["."]', '["project=logs"]', "{"])
def test_a_journal_that_names_no_files_is_swept(store: Store, text: str) -> None:
    store.write([batch("a")])
    store.fold()
    before = everything(store)
    store.layout.journal.write_text(text)
    assert store.rebuild() == []
    store.layout.journal.write_text(text)
    store.fold()
    assert everything(store) == before and not store.layout.journal.exists()


@pytest.mark.parametrize("outside", ["{}", "../../victim.txt", "project=logs/../../../victim.txt", "../fold.json\0"])
def test_a_store_that_somebody_else_wrote_takes_nothing_outside_of_it(store: Store, tmp_path: Path, outside: str) -> None:
    store.write([batch("a")])
    store.fold()
    victims = [tmp_path / "victim.txt", store.layout.root.parent / "victim.txt", store.layout.root / "hpo.db"]
    for victim in victims:
        victim.write_text("mine")
    named = [outside.format(victims[0]), "../hpo.db"]
    store.layout.journal.write_text(json.dumps(named))
    store.fold()
    with duckdb.connect(str(store.layout.catalog)) as con:
        con.executemany("INSERT INTO files VALUES (?, 'points', '', '', 1, 1.0)", [[name.replace("\0", "")] for name in named])
    store.write([batch("b", seed=1)])
    store.fold()
    with duckdb.connect(str(store.layout.catalog)) as con:
        con.executemany("INSERT INTO files VALUES (?, 'points', '', '', 1, NULL)", [["/etc/hostname"], ["../x"]])
    store.rebuild()
    assert all(victim.read_text() == "mine" for victim in victims)
    assert len(store.runs()) == 2


def test_a_fold_that_loses_the_lock_at_its_end_leaves_its_segments(store: Store) -> None:
    store.write([batch("a")])
    store.fold()
    store.write([batch("b", seed=1)])
    looked = []

    def taken() -> None:
        looked.append(store.layout.catalog.stat().st_mtime_ns)
        if looked[-1] != looked[0]:
            raise StoreBusy("the lock is lost", "another one took it", "try again")

    layout = replace(store.layout, still_held=taken)
    with pytest.raises(StoreBusy):
        fold(layout, lambda _: None)
    store.rebuild()  # of whoever took the lock: it sweeps what the journal names
    store.fold()
    assert sorted(row.record.run for row in store.runs()) == ["a", "b"]
