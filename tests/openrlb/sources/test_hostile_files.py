"""Files made to hurt their reader: pickles, bombs, files that are no files, Parquet that ends a process; all bounded."""

from __future__ import annotations

import ast
import gzip
import io
import json
import os
import pickle
import resource
import socket
import sqlite3
import subprocess
import sys
import zipfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fuzzing import corpus
from fuzzing.targets import tracked_files, tracked_folder
from reading import load

import openrlb
from openrlb.config import parsed_toml, read_toml
from openrlb.errors import SourceError
from openrlb.sources.delimited import open_delimited
from openrlb.sources.identity import without_personal
from openrlb.sources.wandb import exports
from openrlb.sources.wandb.client import RefusedError

NAMED = "algo='a',env='E-v0'"


class Boom:
    """Unpickling this would leave a trace."""

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("executed"),)


# --- no pickle is ever opened ----------------------------------------------------------------------------------------------


def test_no_pickle_is_opened_wherever_one_is_planted(tmp_path: Path) -> None:
    bomb, place = pickle.dumps(Boom()), tmp_path / "in"
    place.mkdir()
    for name in (
        "a.pkl",
        "b.pt",
        "c.pth",
        "d.ckpt",
        "e.joblib",
        "f.npy",
        "g.npz",
        "h.csv",
        "i.json",
        "j.parquet",
        "k.db",
        "l.zip",
    ):
        (place / name).write_bytes(bomb)
    np.save(place / "m.npy", np.array([Boom()], dtype=object), allow_pickle=True)
    np.savez(place / "evaluations.npz", timesteps=np.arange(1), results=np.array([[Boom()]], dtype=object))
    with zipfile.ZipFile(place / "n.npz", "w") as archive:  # what torch.save makes, under NumPy's name
        archive.writestr("archive/data.pkl", bomb)
    (place / "args.yml").write_text("!!python/object/apply:pathlib.Path.touch [executed]\n")
    (place / "optuna.db").write_bytes(corpus.optuna_database())
    with closing(sqlite3.connect(place / "optuna.db")) as database:
        for table in ("study_system_attributes", "trial_system_attributes", "trial_user_attributes"):
            number = {"study_system_attributes": "study_id"}.get(table, "trial_id")
            words = f"INSERT INTO {table} ({number}, key, value_json) VALUES (1, 'cma:optimizer:0', ?)"
            database.execute(words, [json.dumps(bomb.hex())])
        database.commit()
    frame = pa.table({"x": [bomb]}).replace_schema_metadata({b"pandas": bomb, b"ARROW:schema": bomb})
    pq.write_table(frame, place / "o.parquet", store_schema=False)
    load(place)
    load(place, NAMED)
    assert (
        not Path("executed").exists() and pickle.loads(bomb) is None and Path("executed").exists()
    )  # it would have left a trace


FORBIDDEN = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
UNSAFE = {"eval", "exec", "compile", "__import__", "unsafe_load", "full_load", "FullLoader", "UnsafeLoader", "read_pickle"}


def test_no_code_of_ours_can_open_a_pickle_or_run_a_text() -> None:
    root = Path(openrlb.__file__).resolve().parents[1]
    files = [path for package in ("openrlb", "hpo/openrlb_hpo", "runners/openrlb_runners", "analysis/openrlb_analysis")
             for path in sorted((root / package).rglob("*.py"))]  # fmt: skip
    found = []
    for path in files:
        for node in ast.walk(ast.parse(path.read_bytes())):
            names = [one.name for one in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if isinstance(node, ast.Name):
                names.append(node.id if node.id in UNSAFE else "")
            if isinstance(node, ast.Attribute) and (node.attr in UNSAFE - {"compile"} or ast.unparse(node) == "torch.load"):
                names.append("eval")
            if (
                isinstance(node, ast.keyword)
                and node.arg in ("allow_pickle", "shell")
                and getattr(node.value, "value", True) is not False
            ):
                names.append("eval")
            if any(name.split(".")[0] in FORBIDDEN | UNSAFE for name in names):
                found.append(f"{path.relative_to(root)}:{getattr(node, 'lineno', 0)}")
    assert len(files) > 300 and found == []
    loaders = [path.name for path in files if "yaml.load(" in path.read_text()]
    assert loaders == ["zoo.py"]  # a SafeLoader with one tag more: tests/openrlb/sources/test_run_folders.py


# --- bombs -----------------------------------------------------------------------------------------------------------------

LIMITED = """
import json, resource, sys, time
from openrlb.sources import ReadOptions, read
began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
from openrlb.errors import OpenrlbError
try:
    found = [str(one)[:300] for one in read(sys.argv[1], ReadOptions(map=tuple(sys.argv[2:])))]
except OpenrlbError as error:
    found = [str(error)[:300]]
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps([found, time.process_time() - began, grown / 1024]))
"""


def zipped_zeros(path: Path) -> None:
    """An npz whose array is 3 GB of zeros: 3 MB on disk."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w", force_zip64=True) as member:
        member.write(buffer.getvalue())
        for _ in range(64):
            member.write(bytes(1024**2))


def bytes_of_npz(path: Path) -> None:
    """An npz whose array is 450,000,000 true zeros: 440 KB on disk."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": (450_000_000,)})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as member:
        member.write(buffer.getvalue())
        for _ in range(450):
            member.write(bytes(1_000_000))


def sparse_array(path: Path) -> None:
    """An npy of 490,000,000 zeros that take no room."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (490_000_000,)})
        file.truncate(file.tell() + 8 * 490_000_000)


def words_of_parquet(path: Path) -> None:
    """A text of half a megabyte that stands in 100,000 rows: 50 GB as rows."""
    rows = 100_000
    one = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["x" * 2**19]))
    steps = pa.array(np.arange(rows))
    pq.write_table(pa.table({"note": one, "step": steps, "return": steps}), path, compression="zstd")


def rows_of_parquet(path: Path) -> None:
    """300,000,000 rows of nulls."""
    table = pa.table({"algo": pa.nulls(1_000_000, pa.string()), "return": pa.nulls(1_000_000, pa.float64())})
    with pq.ParquetWriter(path, table.schema) as writer:
        for _ in range(300):
            writer.write_table(table)


def sparse(path: Path) -> None:
    """10 GB that take no room."""
    with path.open("wb") as file:
        file.truncate(10 * 1024**3)


BOMBS = {
    "zeros.npz": zipped_zeros,
    "bytes.npz": bytes_of_npz,
    "array.npy": sparse_array,
    "words.parquet": words_of_parquet,
    "rows.parquet": rows_of_parquet,
    "sparse.csv": sparse,
    "sparse.json": sparse,
    "sparse.npy": sparse,
    "sparse.parquet": sparse,
    "run-a.wandb": sparse,
    "events.out.tfevents.1.m": sparse,
    "monitor.csv": sparse,
    "deep.json": lambda path: path.write_text("[" * 100_000),
    "deep.jsonl": lambda path: path.write_text('{"a":' * 100_000 + "\n" + '{"step": 1, "return": 2.0}\n'),
    "zeros.json.gz": lambda path: path.write_bytes(gzip.compress(b"[" + b"0," * 200_000_000, 1)),
    "objects.json.gz": lambda path: path.write_bytes(gzip.compress(b"[" + b"{}," * 25_000_000 + b"{}]", 9)),
    "lines.csv.gz": lambda path: path.write_bytes(gzip.compress(b"return,step\n" + b"1,2\n" * 60_000_000, 9)),
}


@pytest.mark.stress
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_bounded(tmp_path: Path, name: str) -> None:
    BOMBS[name](tmp_path / name)
    words = [sys.executable, "-c", LIMITED, str(tmp_path), NAMED]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, preexec_fn=lambda: resource.setrlimit(
        resource.RLIMIT_AS, (8 * 1024**3, 8 * 1024**3)), check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr[-800:]
    found, seconds, grown = json.loads(done.stdout)
    assert seconds < 60 and grown < 3_000 and found
    print(f"{name}: {(tmp_path / name).stat().st_blocks * 512:,} bytes on disk, {seconds:.1f} s, {grown:,.0f} MiB: {found}")


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "torn.csv", "t.parquet", "t.npy", "t.npz"])
def test_a_table_has_only_so_many_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    rows, path = np.arange(1_000.0), tmp_path / name
    text = b"step,return\n" + b"".join(b"%d,1.5\n" % row for row in rows)
    match name.split(".", 1)[1]:
        case "csv":
            path.write_bytes(text + (b"1,2,3\n" if name == "torn.csv" else b""))
        case "csv.gz":
            path.write_bytes(gzip.compress(text))
        case "parquet":
            pq.write_table(pa.table({"step": rows, "return": rows}), path)
        case "npy":
            np.save(path, rows)
        case "npz":
            np.savez(path, rows)
    monkeypatch.setattr("openrlb.sources.files.ROWS_SHARE", 0)
    lines = 2 if name == "torn.csv" else 1
    for most, read_in in ((1_000 + lines, True), (999, False)):
        monkeypatch.setattr("openrlb.sources.files.ROWS", most)
        runs, left_out, _ = load(tmp_path, NAMED)
        assert [len(run.metrics[0].steps) for run in runs] == ([1_000] if read_in else [])
        assert read_in or "rows or entries" in left_out[0].reason


def test_an_export_of_wandb_holds_no_more_than_its_bytes_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text of half a megabyte in 2,000 rows is 1 GB as rows; texts that are numbers stay numbers."""
    rows, path = 2_000, tmp_path / "x_0.runhistory.parquet"
    words = pa.DictionaryArray.from_arrays(pa.array(np.arange(rows) % 2, pa.int32()), pa.array(["x" * 2**19, "Infinity"]))
    some = pa.DictionaryArray.from_arrays(pa.array([0, None, 1] * 600 + [0] * 200, pa.int32()), pa.array(["NaN", "-inf"]))
    pq.write_table(pa.table({"_step": np.arange(rows), "t": words, "n": some}), path, row_group_size=700)
    before = pa.default_memory_pool().max_memory()
    part = exports._parquet(path, lambda key: True)
    assert pa.default_memory_pool().max_memory() < max(500 * 2**20, before + 1)
    assert part.columns["t"][0].tolist() == list(range(1, rows, 2)) and set(part.columns["t"][1]) == {np.inf}
    found = np.full(rows, 7.0)
    found[part.columns["n"][0]] = part.columns["n"][1]
    wanted = np.array([np.nan, 7.0, -np.inf] * 600 + [np.nan] * 200)
    assert np.array_equal(found, wanted, equal_nan=True) and part.texts == {"t": 1_000}
    monkeypatch.setattr(exports, "MAX_VALUES", 3 * rows - 1)
    with pytest.raises(RefusedError, match="2,000 rows of 3 columns"):
        exports._parquet(path, lambda key: True)
    monkeypatch.setattr("openrlb.sources.arrays.UNPACKED_BYTES", -(2**30))
    with pytest.raises(RefusedError, match="more than such a file can hold"):
        exports._parquet(path, lambda key: True)


def test_toml_of_any_depth_length_and_size_is_one_kind_of_error(tmp_path: Path) -> None:
    import tomllib

    for text in ("a = " + "[" * 100_000, "a = " + "9" * 5000, "a" + ".a" * 100_000 + " = 1", "a = {" * 5000):
        with pytest.raises(tomllib.TOMLDecodeError):
            parsed_toml(text)
    with (tmp_path / "a.toml").open("wb") as file:
        file.truncate(10 * 1024**3)
    with pytest.raises(tomllib.TOMLDecodeError, match="larger than 1 MiB"):
        read_toml(tmp_path / "a.toml")


# --- files that are none ---------------------------------------------------------------------------------------------------


def test_a_walk_waits_for_no_pipe_and_follows_no_loop(tmp_path: Path) -> None:
    place = tmp_path / "in"
    place.mkdir()
    for name in (
        "a.csv",
        "b.json",
        "c.npz",
        "monitor.csv",
        "run-x.wandb",
        "events.out.tfevents.1",
        "config.json",
        "study.db",
        "bundle.json",
    ):
        os.mkfifo(place / name)
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(os.path.relpath(place / "s.csv"))
    (place / "loop").symlink_to(place)
    (place / "self.csv").symlink_to(place / "self.csv")
    (place / "zero.csv").symlink_to("/dev/zero")
    (place / "secret.csv").symlink_to("/etc/passwd")
    (place / "d").mkdir()
    (place / "d" / "metrics.jsonl").symlink_to("/etc/passwd")
    (place / "good.csv").write_text(corpus.CSV)
    runs, skipped, _ = load(place)
    assert len(runs) == 4
    told = {item.location: item.reason for item in skipped}
    assert "out of the fetched folder" in told["zero.csv"] and "out of the fetched folder" in told["secret.csv"]


def test_names_of_any_length_and_any_bytes_are_read(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(20):  # a path of 4,000 characters, as long as Linux takes
        deep = deep / ("x" * 190)
    at = os.open(tmp_path, os.O_RDONLY)
    try:
        for part in deep.relative_to(tmp_path).parts:
            os.mkdir(part, dir_fd=at)
            inner = os.open(part, os.O_RDONLY, dir_fd=at)
            os.close(at)
            at = inner
        handle = os.open("t.csv", os.O_WRONLY | os.O_CREAT, dir_fd=at)
        os.write(handle, corpus.CSV.encode())
        os.close(handle)
    finally:
        os.close(at)
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe\n.csv")).write_text(corpus.CSV)
    runs, skipped, _ = load(tmp_path)
    assert len(runs) == 8 and not skipped


# --- what the fuzzer found -------------------------------------------------------------------------------------------------


def test_a_csv_has_the_same_rows_whichever_columns_are_wanted(tmp_path: Path) -> None:
    data = corpus.CSV.encode().replace(b"0.0003", b"0.00\xff3", 1)
    (tmp_path / "t.csv").write_bytes(data)
    table = open_delimited(tmp_path / "t.csv")
    loaded = [table.load(names) for names in (["return"], ["lr"], ["lr", "return"])]
    assert {(one.rows, one.bad_rows) for one in loaded} == {(11, 1)}


def test_a_damaged_chunk_of_parquet_does_not_end_the_process(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"algo": ["a"] * 4, "env": ["E-v0"] * 4, "step": range(4), "return": range(4)}), buffer)
    sound = buffer.getvalue()
    code = (
        "import sys; from openrlb.sources import ReadOptions, read\n"
        "for place in sys.argv[1:]: print(len(list(read(place, ReadOptions()))))"
    )
    footer = len(sound) - 8 - int.from_bytes(sound[-8:-4], "little")
    for number in range(60):  # the first chunk's description: bytes 19 and 20 ended the process with pyarrow 26
        changed = bytearray(sound)
        changed[footer + number] ^= 1
        (tmp_path / f"{number}.parquet").write_bytes(changed)
    places = [str(path) for path in sorted(tmp_path.glob("*.parquet"))]
    done = subprocess.run([sys.executable, "-c", code, *places], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and len(done.stdout.split()) == 60, done.stderr[-500:]


def test_columns_of_lists_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    rows = [{**row, "tags": ["a", "b"]} for row in corpus.ROWS]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    runs, skipped, _ = load(tmp_path)
    assert len(runs) == 2 and not skipped and all("columns that hold lists are not read: tags" in one.run.notes for one in runs)


def test_half_a_character_a_foreign_byte_order_and_a_false_count_of_rows(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text("".join(json.dumps({**row, "note": "\ud800"}) + "\n" for row in corpus.ROWS))
    np.save(tmp_path / "a.npy", np.array([1.5, 2.5], ">f8"))
    runs, _, _ = load(tmp_path / "t.jsonl")
    assert len(runs) == 2 and "\ud800" not in str([one.run.config for one in runs])
    ((run,), _, _) = load(tmp_path / "a.npy", NAMED)
    assert run.metrics[0].values.tolist() == [1.5, 2.5]


def test_an_event_file_is_searched_for_a_sound_record_only_so_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openrlb.sources.tensorboard_events.MAX_GAP_BYTES", 4096)
    sound = corpus.event_files()[0]
    for gap, count in ((1000, 1), (3_000_000, 0)):
        (tmp_path / "events.out.tfevents.1.m").write_bytes(bytes(gap) + sound)
        runs, skipped, _ = load(tmp_path, NAMED)
        assert len(runs) == count and skipped[0].damaged


def test_a_text_of_parquet_that_is_none_is_damage(tmp_path: Path) -> None:
    words = pa.array([b"\xff\xfe", b"b"]).view(pa.binary()).cast(pa.string(), safe=False)
    pq.write_table(pa.table({"algo": words, "env": ["E-v0"] * 2, "step": [1, 2], "return": [1.0, 2.0]}), tmp_path / "t.parquet")
    runs, (skipped,), _ = load(tmp_path)
    assert runs == [] and skipped.damaged and "UTF8" in skipped.reason


@pytest.mark.parametrize(
    "text", ["x" * 10**6, "a@" + "b-" * 10**6, "/home/" * 10**5, "." * 10**6], ids=["word", "host", "home", "dots"]
)
def test_a_long_text_is_looked_through_once_for_what_is_personal(text: str) -> None:
    assert len(without_personal(text)) <= len(text)  # a tenth of a second; each place looked at anew it took hours
    assert without_personal(f"{text[:50]} ann@example.org") == f"{without_personal(text[:50])} [e-mail]"


@pytest.mark.parametrize(("field", "value"), [("hardware", "x"), ("seed", "1"), ("tags", 3), ("notes", None), ("config", [])])
def test_a_tracked_run_whose_record_holds_something_else_is_refused(tmp_path: Path, field: str, value: object) -> None:
    files = tracked_files()
    record = json.loads(files["tracked.json"])
    record["run"][field] = value
    with pytest.raises(SourceError, match="cannot be read"):
        tracked_folder("tracked.json")(json.dumps(record).encode(), tmp_path)
