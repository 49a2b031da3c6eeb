"""Files of the store that are torn, zeroed or overwritten at random: named, set aside or made again, and nothing else is lost."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from builders import batch
from stressed import CODES, Tally, assert_named, contents, openrlb
from typer.testing import Result

from openrlb.store import Store, merge
from openrlb.store.generations import beside

pytestmark = pytest.mark.stress
RUNS, POINTS = 12, 300
WHOLE_STORE = ("runs", "points", "system")


def torn(chance: random.Random, data: bytes) -> bytes:
    """What a crash, or a copy that was broken off, leaves of a file: cut off, or zeros from some place on."""
    cut = chance.choice((0, len(data) - 1, chance.randrange(len(data))))
    return data[:cut] + bytes(len(data) - cut if chance.random() < 0.4 and cut < len(data) else 0)


def hit(chance: random.Random, data: bytes) -> bytes:
    """What a bad disk or another program leaves: torn, some bytes changed, a page of zeros, or something else altogether."""
    kind = chance.randrange(5)
    if kind == 0:
        return torn(chance, data)
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 20))):
        place = chance.randrange(len(data))
        changed[place] ^= chance.randrange(1, 256)
    if kind == 1:
        start = chance.randrange(len(data))
        changed[start : start + 4096] = bytes(len(changed[start : start + 4096]))
    return chance.randbytes(chance.choice((1, 100, 5000))) if kind == 2 else bytes(changed)


def fill(store: Store, names: range) -> None:
    """Several folds, two environments, runs that supersede others."""
    for name in names:
        env = ("Hopper-v4", "Ant-v4")[name % 2]
        store.write([batch(f"r{name}", seed=name, env=env, points=POINTS, offset=0.1 * name, config={"lr": name * 0.1})])
        if name % 3 == 0:
            store.fold()
    store.fold()


def test_torn_and_changed_segments(chance: random.Random, tally: Tally) -> None:
    """Twelve rounds of ten segments that are hit, and ten that are not."""
    store, expected = Store(), dict[str, float]()
    for number in range(120):
        name, offset = f"bad{number}", float(chance.randrange(1000))
        path = store.write([batch(name, seed=number, points=POINTS, offset=offset)])
        store.write([batch(f"good{number}", seed=number, points=POINTS)])
        expected |= {f"good{number}": 0.0, name: offset}
        path.write_bytes((torn if number % 2 else hit)(chance, path.read_bytes()))
        if number % 10 < 9:
            continue
        aside = {segment.partition(",")[0]: why for segment, why in store.fold().quarantined}
        kept = {path.name for path in store.layout.quarantine.iterdir()}
        assert set(aside) <= kept and all(aside.values())
        found = store.query("SELECT run, min(value), count(*), count(DISTINCT value) FROM points GROUP BY run").rows
        rows = {run: low for run, low, count, distinct in found if count == distinct == POINTS}
        assert len(rows) == len(found) and rows.items() <= expected.items()  # each whole, and as it was written
        assert set(expected) - set(rows) <= {one for one in expected if one.startswith("bad")}
        lost = len(expected) - len(rows)
        assert len(kept) == lost
        tally.add("torn or changed segment", 10, len(aside), "hit: set aside; else stored as written")


def test_torn_parquet_files(tmp_path: Path, chance: random.Random, tally: Tally, cli: Callable[..., Result]) -> None:
    """Points, records or metric names: a reader names it, doctor --rebuild sets it aside, and fetching again brings all back."""
    store = Store()
    fill(store, range(RUNS))
    whole, kept = contents(store), tmp_path / "kept"
    shutil.copytree(store.layout.root, kept)
    files = [path.relative_to(kept) for kind in WHOLE_STORE for path in (kept / "data").rglob(f"{kind}-*.parquet")]
    for _ in range(12):
        name = chance.choice(files)
        place = store.layout.root / name
        place.write_bytes(torn(chance, place.read_bytes()))
        asked = cli("query", "SELECT count(*), sum(value) FROM points")
        if name.name.startswith("points"):
            assert asked.exit_code in CODES and asked.stderr.startswith("error: "), asked.output
        assert store.health().damaged == (name.relative_to("data").as_posix(),)
        assert "etch its runs again" in cli("doctor", "--rebuild").output
        left = contents(store)
        assert all(set(left[view]) <= set(map(tuple, whole[view])) for view in ("points", "params"))  # nothing made up
        fill(store, range(RUNS))
        assert contents(store)["points"] == whole["points"]
        tally.add("torn Parquet file", remark="named, set aside by doctor --rebuild, back after a fetch")
        shutil.rmtree(store.layout.root)
        shutil.copytree(kept, store.layout.root)


def test_torn_files_of_merged_stores(
    tmp_path: Path, chance: random.Random, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One to three files torn or gone, merged ones and their originals: what some pair of files still holds is there."""
    monkeypatch.setattr(merge, "FILES_PER_PARTITION", 2)
    store = Store()
    for number in range(11):
        store.write([batch(f"r{number % 8}", env="Hopper-v4", points=40 + number)])  # some supersede others
        store.fold()
    with store.reading() as con:
        ids = dict(con.execute("SELECT run, run_id FROM catalog.runs").fetchall())
    rows = "SELECT run, count(*), sum(value) FROM points GROUP BY run"
    whole, kept = {name: tuple(rest) for name, *rest in store.query(rows).rows}, tmp_path / "kept"
    shutil.copytree(store.layout.root, kept)
    for _ in range(24):
        files = [path for kind in ("runs", "points") for path in store.layout.data_files(kind)]
        hit_files = set(chance.sample(files, chance.choice((1, 1, 2, 3))))
        held = {path: held_by(path) for path in store.layout.data_files("runs")}
        for path in hit_files:
            path.unlink() if chance.random() < 0.3 else path.write_bytes(torn(chance, path.read_bytes()))
        pairs = [path for path in held if not {path, beside(path, "runs", "points")} & hit_files]
        sound = {run_id for path in pairs for run_id in held[path]}
        there = [path for path in hit_files if path.exists()]
        warnings = " ".join(store.rebuild())
        assert all(f"{path.name} is damaged" in warnings for path in there)
        left = {name: tuple(rest) for name, *rest in store.query(rows).rows}
        assert {name for name, run_id in ids.items() if run_id in sound} <= {name for name in left if left[name] == whole[name]}
        store.rebuild()
        assert {name: tuple(rest) for name, *rest in store.query(rows).rows} == left
        tally.add("torn files of merged stores", remark="what some pair of files holds is there")
        shutil.rmtree(store.layout.root)
        shutil.copytree(kept, store.layout.root)


def held_by(path: Path) -> list[int]:
    """The runs that a file has rows of."""
    with pq.ParquetFile(path) as file:
        return list(file.read(columns=["run_id"])["run_id"].to_pylist())


def test_corrupt_catalogs(tmp_path: Path, chance: random.Random, tally: Tally) -> None:
    """The answer is right or an error that names the way out; a rebuild gives everything back."""
    store = Store()
    fill(store, range(RUNS))
    whole, data = contents(store), store.layout.catalog.read_bytes()
    for _ in range(12):
        store.layout.catalog.write_bytes(hit(chance, data))
        done = openrlb("query", "SELECT run, algo, env, seed, steps, state FROM runs ORDER BY run", "--json")
        if done.returncode:
            assert_named(done)
        else:
            assert [row["run"] for row in json.loads(done.stdout)] == sorted(f"r{name}" for name in range(RUNS))
        tally.add(
            "corrupt catalog", hit=bool(done.returncode), remark="hit: refused by name; else answered rightly; rebuilt each time"
        )
        assert "doctor --rebuild" in done.stderr or not done.returncode, done.stderr
        store.rebuild()
        assert contents(store) == whole
