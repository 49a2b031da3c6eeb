"""Bundles: there and back to the bit, and refused by name whatever was changed in them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openrlb.errors import SourceError, StoreUnwritable, UsageError
from openrlb.sources import ReadOptions, Unread, read, write_bundle
from openrlb.sources.bundle import write
from openrlb.sources.bundle.manifest import NAME, STAGING, dumped, loaded, sealed
from openrlb.store import content_digest
from openrlb.types import Metric, MetricBatch, Run, RunBatch, Selection, Skipped

TEXT, BINARY = b"torch==2.13.0\n", b"\xff\x00\xfe"
KINDS = ("runs", "points", "system", "files")


def run(name: str, *, env: str = "Hopper-v5", algo: str = "ppo", **fields: Any) -> RunBatch:
    steps = np.array([1, 5, 5], np.int64)
    returns = MetricBatch(Metric("r", "episode", "episodic_return"), steps, np.array([1.0, np.nan, -0.0]), steps * 10)
    load = MetricBatch(Metric("cpu", "system"), steps, np.array([0.5, 0.25, np.inf]))
    fields = {"seed": 1, "state": "finished", "files": {"a.txt": hashlib.sha256(TEXT).hexdigest()}, **fields}
    return RunBatch(Run("openrlb", name, "p", name, algo, env, **fields), (returns, load), {"a.txt": TEXT, "b.bin": BINARY})


RUNS = [run("a"), run("b", seed=None), run("c", env="ALE/Pong-v5"), run("d", env="ALE/Pong-v5", algo="dqn")]


def runs_of(place: Path, **wanted: Any) -> list[RunBatch]:
    records = read(place, ReadOptions(), None, Selection(**wanted) if wanted else None)
    return [one for one in records if isinstance(one, RunBatch)]


def same(read: list[RunBatch], written: list[RunBatch]) -> None:
    """The same runs, which now say that they came in a bundle."""
    assert [one.run for one in read] == [replace(one.run, source=f"bundle:{one.run.source}") for one in written]
    assert [content_digest(one) for one in read] == [content_digest(one) for one in written]
    assert [one.blobs for one in read] == [one.blobs for one in written]


def unfinished(place: Path) -> None:
    """A folder is said to be an unfinished bundle, with what to do about it."""
    with pytest.raises(SourceError, match="it is unfinished") as caught:
        list(read(place, ReadOptions()))
    assert "export into it once more" in caught.value.fix and "bundle.json" in caught.value.why


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("written") / "bundle"
    write_bundle(place, RUNS, license_="mit")
    return place


@pytest.fixture
def bundle(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "bundle"))


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_bundle_comes_back_as_it_was_recorded(bundle: Path) -> None:
    same(runs_of(bundle), RUNS)
    same(runs_of(bundle.parent), RUNS)  # as part of a tree too
    assert files(bundle).keys() == {
        *("README.md", NAME),
        *(f"data/env=Hopper-v5/algo=ppo/{kind}-00000.parquet" for kind in KINDS),
        *(f"data/env=ALE%2FPong-v5/algo=ppo/{kind}-00001.parquet" for kind in KINDS),
        *(f"data/env=ALE%2FPong-v5/algo=dqn/{kind}-00002.parquet" for kind in KINDS),
    }


def test_equal_runs_give_equal_bytes_and_a_bundle_replaces_a_bundle(bundle: Path, tmp_path: Path) -> None:
    write_bundle(tmp_path / "second" / "bundle", runs_of(bundle), license_="mit")  # of what came in it
    assert files(tmp_path / "second" / "bundle") == files(bundle)
    (bundle / ".git").mkdir()
    (bundle / ".git" / "config").write_text("kept")
    write_bundle(bundle, [run("other", algo="trpo")])
    same(runs_of(bundle), [run("other", algo="trpo")])
    assert not list(bundle.rglob("*env=ALE*")) and (bundle / ".git" / "config").read_text() == "kept"


def test_kept_files_that_are_large_together_make_several_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "KEPT_PER_PART", 1000)
    runs = []
    for number in range(3):
        data = bytes([number]) * 600
        runs.append(replace(run(f"r{number}", files={"log.bin": hashlib.sha256(data).hexdigest()}), blobs={"log.bin": data}))
    runs.append(replace(runs[2], run=replace(runs[2].run, run="r3")))  # shares the last one's file
    write_bundle(tmp_path / "b", runs)
    assert [part.runs for part in loaded((tmp_path / "b" / NAME).read_bytes()).parts] == [1, 1, 2]
    same(runs_of(tmp_path / "b"), runs)


def test_a_manifest_nested_a_hundred_thousand_deep_is_refused(bundle: Path) -> None:
    for depth in (900, 100_000):
        (bundle / NAME).write_bytes(b'{"format": "openrlb-bundle", "schema": 2, "parts": ' + b"[" * depth + b"]" * depth + b"}")
        with pytest.raises(SourceError, match=NAME):
            list(read(bundle, ReadOptions()))


def test_other_readers_find_plain_tables(bundle: Path) -> None:
    import duckdb
    import polars as pl
    import yaml

    points = pl.scan_parquet(bundle / "data/**/points-*.parquet", hive_partitioning=True).filter(pl.col("env") == "ALE/Pong-v5")
    assert points.select(pl.col("value").count()).collect().item() == 6
    count = duckdb.sql(f"SELECT count(*) FROM '{bundle}/data/*/*/points-*.parquet' WHERE algo = 'dqn' AND run = 'd'").fetchall()
    assert count == [(3,)]
    told = yaml.safe_load((bundle / "README.md").read_text().split("---")[1])
    assert told["license"] == "mit" and told["configs"][0] == {
        "config_name": "points", "data_files": "data/*/*/points-*.parquet", "default": True,
    }  # fmt: skip
    for one in told["configs"]:
        tables = [pq.read_table(path, partitioning=None) for path in sorted(bundle.glob(one["data_files"]))]
        assert pa.concat_tables(tables).num_rows == {"points": 12, "system": 12, "runs": 4, "files": 6}[one["config_name"]]


def test_one_flipped_byte_anywhere_is_refused_and_named(bundle: Path) -> None:
    for name, data in files(bundle).items():
        word = [data.index(b"openrlb-bundle"), data.index(b"schema")] if name == NAME else []
        for place in sorted({0, len(data) // 2, len(data) - 1, *word}):
            changed = bytearray(data)
            changed[place] ^= 1
            (bundle / name).write_bytes(changed)
            with pytest.raises(SourceError) as error:
                list(read(bundle, ReadOptions()))
            assert name in str(error.value), (name, place)
        (bundle / name).write_bytes(data)
    same(runs_of(bundle), RUNS)


def test_every_byte_of_the_manifest_counts(bundle: Path) -> None:
    data = (bundle / NAME).read_bytes()
    for place in range(0, len(data), 7):
        with pytest.raises(SourceError):
            loaded(data[:place] + bytes([data[place] ^ 0x20]) + data[place + 1 :])


def test_a_file_that_is_cut_or_gone_is_named_and_nothing_is_kept(bundle: Path) -> None:
    name = "data/env=ALE%2FPong-v5/algo=dqn/points-00002.parquet"
    data = (bundle / name).read_bytes()
    (bundle / name).write_bytes(data[:-9])
    seen = []
    with pytest.raises(SourceError, match=f"{name}.* nothing of the bundle is kept"):
        seen.extend(read(bundle, ReadOptions()))
    (bundle / name).unlink()
    with pytest.raises(SourceError, match=name):
        seen.extend(read(bundle, ReadOptions()))
    assert seen == []
    same(runs_of(bundle, env="Hopper"), RUNS[:2])  # what is asked for is whole


@pytest.mark.parametrize("left", [b"", b"\n", b"{}", b'{\n "format": "openrlb', bytes(300)])
def test_a_bundle_of_whose_manifest_nothing_is_left_is_refused_and_its_tables_are_nobodys_results(
    bundle: Path, left: bytes
) -> None:
    (bundle / NAME).write_bytes(left)
    with pytest.raises(SourceError, match=r"bundle\.json is not read"):
        list(read(bundle, ReadOptions()))


def test_a_bundle_without_its_manifest_is_unfinished_and_named_among_others(bundle: Path) -> None:
    (bundle / NAME).unlink()
    unfinished(bundle)
    (bundle.parent / "scores.csv").write_text("algo,env,seed,value\nppo,Hopper-v5,1,2.5\n")
    records = list(read(bundle.parent, ReadOptions()))
    assert [one.run.algo for one in records if isinstance(one, RunBatch)] == ["ppo"]
    assert any("it is unfinished" in one.reason for one in records if isinstance(one, Skipped))


def test_inside_another_folder_a_bad_bundle_is_named_and_the_rest_is_read(bundle: Path) -> None:
    (bundle.parent / "t.csv").write_text("algo,env,seed,step,return\nppo,Hopper-v4,1,0,1.5\n")
    (bundle / "README.md").write_text("changed")
    records = list(read(bundle.parent, ReadOptions()))
    assert [one.run.env for one in records if isinstance(one, RunBatch)] == ["Hopper-v4"]
    (skipped,) = [one for one in records if isinstance(one, Skipped)]
    assert skipped.damaged and "README.md" in skipped.reason


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../secret", "a/../../b", "..", "C:\\x", "\\\\host\\x", "", "a\0b", "a//b", "./a", "link"]
)
def test_a_manifest_that_leads_out_is_refused(bundle: Path, path: str) -> None:
    (bundle.parent / "secret").write_bytes(b"s")
    (bundle / "link").symlink_to(bundle.parent / "secret")
    document = json.loads((bundle / NAME).read_text())
    del document["sha256"]
    document["files"][path] = {"sha256": hashlib.sha256(b"s").hexdigest(), "bytes": 1}
    (bundle / NAME).write_bytes(sealed(document))
    with pytest.raises(SourceError, match="leads out of the bundle"):
        list(read(bundle, ReadOptions()))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda it: it.update(schema=3), "schema is 3, and 2 is the one.*install a newer openrlb"),
        (lambda it: it.update(schema=1, openrlb="0.0.9"), "written by openrlb 0.0.9.*export it again with this openrlb"),
        (lambda it: it.update(schema="new"), "schema is 'new'.*get the bundle again"),
        (lambda it: it.update(parts={}), "no manifest|is not read"),
        (lambda it: it.update(files=[]), "no manifest"),
        (lambda it: it.pop("parts"), "parts"),
        (lambda it: it["files"]["README.md"].update(bytes=2**40), "bytes"),
        (lambda it: it["files"]["README.md"].update(bytes=-1), "bytes"),
        (lambda it: it["files"]["README.md"].update(sha256="x"), "sha256"),
        (lambda it: it["parts"][0].update(runs="2"), "no runs"),
        (lambda it: it["parts"][0].update(runs=3), "the manifest says 3"),
        (lambda it: it["parts"][0].update(files=["gone.parquet"]), "gone.parquet"),
        (lambda it: it["parts"][0].update(files=it["parts"][0]["files"][:-1]), "kept file"),
        (lambda it: it["parts"][0].update(env="Ant-v5"), "is not of ppo in Ant-v5"),
        (lambda it: it["parts"][0].update(files=it["parts"][1]["files"]), "the manifest says|is not of"),
        (lambda it: it["parts"][0].update(files=it["parts"][0]["files"][:1]), "its record says 3"),
    ],
)
def test_a_manifest_that_says_something_else_is_refused(
    bundle: Path, change: Callable[[dict[str, Any]], object], why: str
) -> None:
    document = json.loads((bundle / NAME).read_text())
    del document["sha256"]
    change(document)
    (bundle / NAME).write_bytes(sealed(document))
    with pytest.raises(SourceError, match=why):
        list(read(bundle, ReadOptions()))


def rewrite(bundle: Path, kind: str, change: Callable[[pa.Table], pa.Table]) -> None:
    """Changes a table of the first part and makes the manifest fit."""
    manifest = loaded((bundle / NAME).read_bytes())
    name = next(path for path in manifest.parts[0].files if f"/{kind}-" in path)
    pq.write_table(change(pq.read_table(bundle / name, partitioning=None)), bundle / name)
    data = (bundle / name).read_bytes()
    listed = replace(manifest.files[name], sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
    (bundle / NAME).write_bytes(dumped(replace(manifest, files={**manifest.files, name: listed})))


def column(table: pa.Table, name: str, change: Callable[[list[Any]], list[Any]]) -> pa.Table:
    place = table.schema.get_field_index(name)
    return table.set_column(
        place, table.schema.field(name), pa.array(change(table[name].to_pylist()), table.schema.field(name).type)
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("step", None), ("value", None), ("run", "x"), ("run", "b"), ("metric", "x"), ("kind", "eval"), ("step", 2**62),
        ("env", "Ant-v5"), ("algo", "dqn"), ("seed", 7), ("seed", None), ("t_ms", None), ("source", "sample"), ("value", 2.0),
        ("step", 2),
    ],
)  # fmt: skip
def test_values_that_belong_nowhere_refuse_the_bundle(bundle: Path, name: str, value: object) -> None:
    rewrite(bundle, "points", lambda table: column(table, name, lambda cells: [value, *cells[1:]]))
    with pytest.raises(SourceError, match=r"the bundle bundle is not read \(data/env=Hopper-v5"):
        next(iter(read(bundle, ReadOptions())))


def in_record(change: Callable[[dict[str, Any]], object]) -> Callable[[list[Any]], list[Any]]:
    def changed(cells: list[Any]) -> list[Any]:
        record = json.loads(cells[0])
        change(record)
        return [json.dumps(record, sort_keys=True), *cells[1:]]

    return changed


@pytest.mark.parametrize(
    "change",
    [
        *(lambda record, field=field, value=value: record["run"].update({field: value}) for field, value in (
            ("env", 3), ("env", None), ("env", ""), ("config", []), ("tags", 3), ("created", 5), ("attempt", 2**40),
            ("seed", "1"), ("seed", True), ("seed", 2**63), ("frames_per_step", 0), ("state", "done"), ("role", None),
            ("files", {"a": "../x"}),
            ("requirements", "x"), ("line_count", 1.5), ("hardware", None), ("normalized", 1), ("algo", "dqn"), ("seed", 2),
        )),
        lambda record: record["run"].pop("algo"),
        lambda record: record.pop("metrics"),
        lambda record: record.pop("blobs"),
        lambda record: record.update(blobs=[]),
        lambda record: record.update(blobs={"a.txt": "0" * 64}),
        lambda record: record.update(values=[3]),
        lambda record: record.update(values=[4, 3]),
        lambda record: record.update(metrics=[["r", "episode"], ["cpu", "system", None]]),
        lambda record: record.update(metrics=[["r", "strange", None], ["cpu", "system", None]]),
        lambda record: record.update(metrics=[]),
        lambda record: record.update(digest="0" * 32),
        lambda record: record["run"]["config"].update(lr=1),
    ],
)  # fmt: skip
def test_records_that_are_none_refuse_the_bundle(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    rewrite(bundle, "runs", lambda table: column(table, "record", in_record(change)))
    seen = []
    with pytest.raises(SourceError, match=r"the bundle bundle is not read \(data/env=Hopper-v5/algo=ppo/runs-00000.parquet"):
        seen.extend(read(bundle, ReadOptions()))
    assert seen == []


@pytest.mark.parametrize(("name", "value"), [("text", "torch==2.14.0"), ("sha256", "0" * 64), ("sha256", None), ("text", None)])
def test_kept_files_that_are_not_what_their_hash_says_refuse_the_bundle(bundle: Path, name: str, value: object) -> None:
    rewrite(bundle, "files", lambda table: column(table, name, lambda cells: [value] * len(cells)))
    with pytest.raises(SourceError, match=r"files-00000.parquet: the kept file"):
        list(read(bundle, ReadOptions()))


def bomb(kind: str) -> pa.Table:
    """A table of a few kilobytes that is gigabytes once it is unpacked."""
    text = "x" * 80_000_000
    rows = {"one cell": 1, "one text a thousand times": 1000}[kind]
    words = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([text]))
    return pa.table(
        {"sha256": pa.array(["0" * 64] * rows), "name": words, "text": words, "data": pa.array([None] * rows, pa.binary())}
    )


@pytest.mark.parametrize(("table", "kind"), [("files", "one cell"), ("runs", "one text a thousand times")])
def test_a_small_file_that_unpacks_to_gigabytes_is_refused_unread(bundle: Path, kind: str, table: str) -> None:
    manifest = loaded((bundle / NAME).read_bytes())
    name = next(path for path in manifest.parts[0].files if f"/{table}-" in path)
    pq.write_table(bomb(kind), bundle / name, compression="zstd", use_dictionary=True)
    data = (bundle / name).read_bytes()
    assert len(data) < 200_000
    listed = replace(manifest.files[name], sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
    (bundle / NAME).write_bytes(dumped(replace(manifest, files={**manifest.files, name: listed})))
    with pytest.raises(SourceError, match=r"unpacked, more than such a file can hold"):
        list(read(bundle, ReadOptions()))


def test_columns_that_say_something_else_than_the_record_refuse_the_bundle(bundle: Path) -> None:
    rewrite(bundle, "runs", lambda table: column(table, "seed", lambda _: [9, 9]))
    with pytest.raises(SourceError, match="do not say what its records say"):
        list(read(bundle, ReadOptions()))


def test_only_the_wanted_parts_are_opened(bundle: Path) -> None:
    opened: list[str] = []
    records = list(
        read(bundle, ReadOptions(), lambda path: opened.append(path.relative_to(bundle).as_posix()), Selection(env=("Pong",)))
    )
    same([one for one in records if isinstance(one, RunBatch)], RUNS[2:])
    assert [one for one in records if isinstance(one, Unread)] == [
        Unread("data/env=Hopper-v5/algo=ppo/runs-00000.parquet", "Hopper-v5", "ppo", 2)
    ]
    assert NAME in opened and not any("Hopper" in name for name in opened)
    same(runs_of(bundle, env="pong", algo="D*"), RUNS[3:])
    assert runs_of(bundle, algo="sac") == []


def test_what_is_no_bundle_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match=r"thesis.tex"):
        write_bundle(tmp_path / "mine", RUNS)
    (tmp_path / "other" / "data").mkdir(parents=True)
    with pytest.raises(UsageError, match="what it holds is no bundle"):
        write_bundle(tmp_path / "other", RUNS)
    with pytest.raises(UsageError, match="it is a file"):
        write_bundle(tmp_path / "mine" / "thesis.tex", RUNS)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"


def test_an_interrupted_export_leaves_the_old_bundle_and_the_next_one_goes_through(bundle: Path) -> None:
    def interrupted() -> Any:
        yield run("x")
        raise KeyboardInterrupt

    before = files(bundle)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(bundle, interrupted())
    assert files(bundle) == before
    (bundle / STAGING).mkdir()  # killed between the last renames: no manifest, and what was made beside it
    (bundle / NAME).unlink()
    unfinished(bundle)
    write_bundle(bundle, RUNS[:1])
    same(runs_of(bundle), RUNS[:1])


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_an_export_that_fails_between_its_renames_is_begun_again_even_after_a_kill(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, moved: int
) -> None:
    whole = files(bundle)
    batches = [run("a"), run("b", env="Ant-v5")]
    rename, left = Path.rename, [moved]

    def full(old: Path, new: Path) -> Path:
        if old.parent.name == STAGING:
            left[0] -= 1
        if left[0] < 0 and old.parent.name == STAGING:
            raise OSError(28, "No space left on device")
        return rename(old, new)

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(StoreUnwritable):
        write_bundle(bundle, batches)
    assert not (bundle / NAME).exists() and files(bundle) != whole
    unfinished(bundle)

    def killed(*words: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", rename)
    monkeypatch.setattr(write, "_fill", killed)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(bundle, batches)
    monkeypatch.undo()
    write_bundle(bundle, batches)
    same(runs_of(bundle), batches)


def test_two_runs_with_one_id_and_a_license_that_is_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="two runs have the same id"):
        write_bundle(tmp_path / "twice", [run("a"), run("a", seed=2)])
    with pytest.raises(UsageError, match="--license"):
        write_bundle(tmp_path / "bad", RUNS, license_="mit\ntags: x")
    assert not (tmp_path / "bad").exists()


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
WHOLE = st.integers(-(2**62) + 1, 2**62 - 1)


@st.composite
def metrics(draw: st.DrawFn) -> tuple[MetricBatch, ...]:
    names = draw(st.lists(st.tuples(NAMES, st.sampled_from(["episode", "eval", "other", "system"])), max_size=4, unique=True))
    found = []
    for name, kind in names:
        rows = draw(st.lists(st.tuples(WHOLE, WHOLE, NUMBERS), max_size=5))
        steps, times, values = (
            np.array(part, kind) for part, kind in zip(zip(*rows, strict=True) if rows else ([], [], []), "qqd", strict=True)
        )
        found.append(
            MetricBatch(Metric(name, kind, draw(st.none() | NAMES)), steps, values, times if draw(st.booleans()) else None)
        )  # type: ignore[arg-type]
    return tuple(found)


ENVS = st.sampled_from(["Hopper-v5", "../x", "a b", "=CMD()", "x" * 300, "hopper-V5"])
SEEDS = st.none() | st.integers(-(2**63), 2**63 - 1)
SETTINGS = NAMES | st.integers(-(2**63), 2**63 - 1) | NUMBERS | st.lists(NAMES, max_size=2)
RUN = st.tuples(ENVS, NAMES, SEEDS, st.dictionaries(NAMES, SETTINGS, max_size=3), metrics())


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(RUN, min_size=1, max_size=4))
def test_whatever_a_run_holds_comes_back_to_the_bit(tmp_path: Path, made: list[Any]) -> None:
    from openrlb.sources.bundle.removal import Remover

    written = [
        RunBatch(Run("folder", f"run{number}", "p", "n", algo, env, seed=seed, config=config), logged)
        for number, (env, algo, seed, config, logged) in enumerate(made)
    ]
    place = tmp_path / os.urandom(4).hex()
    write_bundle(place, written)
    back = runs_of(place)
    cleaned = [Remover().cleaned(one) for one in written]
    assert [content_digest(one) for one in back] == [content_digest(one) for one in cleaned]
    for one, other in zip(back, cleaned, strict=True):
        mine, its = ({(metric.metric.name, metric.metric.kind): metric for metric in run.metrics} for run in (one, other))
        assert mine.keys() == its.keys() and [*mine] == sorted(mine)
        assert all(mine[key].metric == its[key].metric for key in mine)
        assert all(mine[key].values.tobytes() == its[key].values.tobytes() for key in mine)
