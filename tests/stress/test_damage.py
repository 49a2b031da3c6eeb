"""Files of the store that are torn, zeroed or overwritten at random: named, set aside or made again, and nothing else is lost."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from builders import batch, held_by, with_load
from stressed import CODES, Tally, assert_named, contents, openrlb
from typer.testing import Result

from openrlb.store import Store, merge
from openrlb.store.generations import KINDS
from openrlb.store.layout import VALUES

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
    for _ in range(6):
        name = chance.choice(files)
        place = store.layout.root / name
        place.write_bytes(torn(chance, place.read_bytes()))
        asked = cli("query", "SELECT count(*), sum(value) FROM points")
        if name.name.startswith("points"):
            assert asked.exit_code in CODES and asked.stderr.startswith("error: "), asked.output
        assert store.health().damaged == (name.relative_to("data").as_posix(),)
        assert "fetch them again" in cli("doctor", "--rebuild").output
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
    """One to four files torn or gone, merged ones and their originals: what some files still hold of a run is there."""
    monkeypatch.setattr(merge, "FILES_PER_PARTITION", 2)
    store = Store()
    for number in range(11):
        made = with_load if number % 3 else batch
        store.write([made(f"r{number % 8}", env="Hopper-v4", points=40 + number)])  # some supersede others
        store.fold()
    with store.reading() as con:
        ids = dict(con.execute("SELECT run, run_id FROM catalog.runs").fetchall())
    whole, kept = rows_of(store), tmp_path / "kept"
    shutil.copytree(store.layout.root, kept)
    for _ in range(24):
        files = {path: held_by(path) for kind in ("runs", *VALUES) for path in store.layout.data_files(kind)}
        hit_files = set(chance.sample(sorted(files), chance.choice((1, 1, 2, 4))))
        for path in hit_files:
            path.unlink() if chance.random() < 0.3 else path.write_bytes(torn(chance, path.read_bytes()))
        there = [path for path in hit_files if path.exists()]
        warnings = " ".join(store.rebuild())
        assert all(f"{path.name} is damaged" in warnings for path in there)
        left = rows_of(store)
        sound = {
            kind: {run_id for path in files.keys() - hit_files if kind in path.name for run_id in files[path]} for kind in KINDS
        }
        for name, run_id in ids.items():
            if run_id in sound["runs"] & sound["points"]:
                assert left[name, False] == whole[name, False], name
                assert run_id not in sound["system"] or left[name, True] == whole[name, True], name
        assert left == whole or "fetch them again" in warnings
        assert store.rebuild() == [] and rows_of(store) == left
        tally.add("torn files of merged stores", remark="what some files hold of a run is there; what is lost is named")
        shutil.rmtree(store.layout.root)
        shutil.copytree(kept, store.layout.root)


def test_files_kept_with_runs(chance: random.Random, tally: Tally) -> None:
    """One to three files that runs brought are torn, changed or gone: named by doctor, and back after a rebuild and a fetch."""
    store = Store()
    texts = [{"config.json": f"{number}".encode() * 50, "requirements.txt": b"gymnasium==1.4.0" * 9} for number in range(RUNS)]
    digests = [{name: hashlib.sha256(text).hexdigest() for name, text in kept.items()} for kept in texts]
    runs = [replace(batch(f"r{number}", seed=number, files=digests[number]), blobs=texts[number]) for number in range(RUNS)]
    store.write(runs)
    store.fold()
    for _ in range(12):
        names = {path: path.read_bytes() for path in store.layout.blobs.glob("[!.]*")}
        for path in chance.sample(sorted(names), chance.choice((1, 2, 3))):
            path.unlink() if chance.random() < 0.4 else path.write_bytes(torn(chance, path.read_bytes()))
        harmed = {path for path in names if not path.exists() or path.read_bytes() != names[path]}
        assert bool(harmed) == bool(store.health().altered or store.health().gone)
        store.rebuild()
        store.write(runs)
        store.fold()
        assert {path: path.read_bytes() for path in store.layout.blobs.glob("[!.]*")} == names
        assert not store.health().altered and not store.health().gone
        tally.add("torn or lost kept file", hit=int(bool(harmed)), remark="named; back after doctor --rebuild and a fetch")


def rows_of(store: Store) -> dict[tuple[str, bool], tuple[int, float]]:
    """The number of a run's values and their sum, hardware series apart."""
    asked = "SELECT run, kind = 'system', count(*), sum(value) FROM points GROUP BY ALL"
    return {(name, system): (count, total) for name, system, count, total in store.query(asked).rows}


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
