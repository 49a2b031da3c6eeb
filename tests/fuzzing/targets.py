"""What is fuzzed: each kind of input with the way it enters openrlb, and what must hold of whatever comes out.

An input may be refused by an :class:`OpenrlbError`, or read, in whole or in part. Anything else is a finding: another
exception, a run that the store would not give back as it is, or a number that the input does not hold.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from fuzzing import corpus
from fuzzing.holding import BrokenError, Target, only, read_all, stored, tokens
from fuzzing.words import (
    _config,
    _hyperparameters,
    _recipe,
    _runner,
    _space,
    _table,
    assigned,
    map_words,
    orlb_filter,
    packaged,
    pattern,
    pins,
    query,
    selecting,
    toml,
    where,
)

from openrlb.errors import OpenrlbError
from openrlb.types import RunBatch

NAMED = ("algo='a',env='E-v0'",)
MAPPED = "algo=algo,env=env,seed=seed,step=step,value=return"


# --- files -----------------------------------------------------------------------------------------------------------------


def file_named(name: str, *maps: str, text: bool = False, **options: Any) -> Callable[[bytes, Path], None]:
    """A file in a folder that is fetched; where it is text, no value may come out that is not in it."""

    def take(data: bytes, folder: Path) -> None:
        (folder / "in").mkdir()
        (folder / "in" / name).write_bytes(data)
        found = read_all(folder / "in", folder, maps, **options)
        if text:
            only(found, tokens(data), name)

    return take


def resealed_wandb(data: bytes) -> bytes:
    """Every fragment with the checksum of what it now holds."""
    out, at = bytearray(data), 7
    while at + 7 <= len(out):
        length = struct.unpack_from("<H", out, at + 4)[0]
        end = at + 7 + length
        if end > len(out):
            break
        struct.pack_into("<I", out, at, zlib.crc32(out[at + 6 : end]))
        at = end
    return bytes(out)


def resealed_events(data: bytes) -> bytes:
    """Every record with the checksums of what it now holds."""
    from openrlb.sources.tensorboard_events import checksum

    out, at = bytearray(data), 0
    while at + 12 <= len(out):
        length = struct.unpack_from("<Q", out, at)[0]
        struct.pack_into("<I", out, at + 8, checksum(bytes(out[at : at + 8])))
        end = at + 12 + length
        if end + 4 > len(out):
            break
        struct.pack_into("<I", out, end, checksum(bytes(out[at + 12 : end])))
        at = end + 4
    return bytes(out)


def zip_resealed(data: bytes) -> bytes:
    """Stored members of a zip file with the CRC of what they now hold, in both places."""
    out = bytearray(data)
    at = 0
    while (at := data.find(b"PK\x03\x04", at)) >= 0 and at + 30 <= len(data):
        method, size = struct.unpack_from("<H", out, at + 8)[0], struct.unpack_from("<I", out, at + 18)[0]
        names, extra = struct.unpack_from("<HH", out, at + 26)
        start = at + 30 + names + extra
        if method == 0 and size < len(out):
            crc = struct.pack("<I", zlib.crc32(out[start : start + size]))
            name = bytes(out[at + 30 : at + 30 + names])
            out[at + 14 : at + 18] = crc
            if (central := data.find(b"PK\x01\x02")) >= 0 and (entry := data.find(name, central)) >= 46:
                out[entry - 46 + 16 : entry - 46 + 20] = crc
        at += 4
    return bytes(out)


def npz(data: bytes, folder: Path) -> None:
    (folder / "in").mkdir()
    (folder / "in" / "evaluations.npz").write_bytes(data)
    (folder / "in" / "scores.npz").write_bytes(data)
    read_all(folder / "in", folder, NAMED)
    read_all(folder / "in" / "scores.npz", folder, (*NAMED, "value=results"), axes=("step", "seed"))


def npy(data: bytes, folder: Path) -> None:
    (folder / "scores.npy").write_bytes(data)
    refused: list[OpenrlbError] = []
    for axes in (("seed", "step"), ("step",)):
        try:
            read_all(folder / "scores.npy", folder, NAMED, axes=axes)
        except OpenrlbError as error:
            refused.append(error)
    if len(refused) == 2:
        raise refused[0]


def settings(name: str) -> Callable[[bytes, Path], None]:
    """A settings file beside a monitor file."""

    def take(data: bytes, folder: Path) -> None:
        (folder / "in").mkdir()
        (folder / "in" / "0.monitor.csv").write_text(corpus.MONITOR)
        (folder / "in" / name).write_bytes(data)
        read_all(folder / "in", folder)

    return take


# --- bundles and the store's own files -------------------------------------------------------------------------------------


def bundle_file(kind: str, sealed: bool) -> Callable[[bytes, Path], None]:
    """A bundle with one file changed; where it is sealed, the manifest vouches for the changed file."""

    def take(data: bytes, folder: Path) -> None:
        from openrlb.sources.bundle.manifest import sealed as seal

        files = dict(corpus.bundle())
        path = next(path for path in files if path.rsplit("/", 1)[-1].startswith(kind))
        files[path] = data
        if sealed and path == "bundle.json":
            try:
                document = json.loads(data)
                files[path] = seal({key: value for key, value in document.items() if key != "sha256"})
            except (ValueError, AttributeError, RecursionError):
                return
        elif sealed:
            import hashlib

            document = json.loads(files["bundle.json"])
            document["files"][path] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
            files["bundle.json"] = seal({key: value for key, value in document.items() if key != "sha256"})
        for name, content in files.items():
            (folder / "in" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "in" / name).write_bytes(content)
        before = sorted(path.relative_to(folder) for path in folder.rglob("*"))
        found = read_all(folder / "in", folder / "out")
        after = sorted(path.relative_to(folder) for path in folder.rglob("*") if "out" not in path.parts)
        if before != after:
            raise BrokenError("reading a bundle wrote something")
        if found and not sealed:
            only(found, [v for one in corpus.RUNS for m in one.metrics for v in m.values.tolist()], "the bundle")

    return take


def bundle_seeds(kind: str) -> Callable[[], list[bytes]]:
    return lambda: [data for path, data in corpus.bundle().items() if path.rsplit("/", 1)[-1].startswith(kind)]


def segment(data: bytes, folder: Path) -> None:
    """A segment in the spool of a store that folds it: its runs are those that were written, or it is set aside."""
    from openrlb.store import Store

    store = Store(folder / "store")
    store.layout.spool.mkdir(parents=True)
    (store.layout.spool / "00000000000000000001-1-00000000.parquet").write_bytes(data)
    store.fold()
    if store.layout.catalog.exists():
        store.query("SELECT run, value FROM points")


def rows(data: bytes, folder: Path) -> None:
    from openrlb.tracking.rows import read_rows

    read = read_rows(data)
    stored(folder, [RunBatch(corpus.run().run, read.metrics, {"a.txt": b"torch==2.13.0\n"})])


def row_seeds() -> list[bytes]:
    import tempfile

    from openrlb.tracking.rows import RowWriter

    with tempfile.TemporaryDirectory() as folder:
        writer = RowWriter(Path(folder) / "rows")
        for step in range(10):
            writer.append(step, step * 10, ("loss", "return") if step % 3 else ("loss",), (step / 3, 1.0) if step % 3 else (0.5,))
        writer.close()
        return [(Path(folder) / "rows").read_bytes()]


def resealed_rows(data: bytes) -> bytes:
    out, at = bytearray(data), 0
    while at + 12 <= len(out):
        end = at + 12 + struct.unpack_from("<I", out, at + 4)[0]
        if end > len(out):
            break
        struct.pack_into("<I", out, at, zlib.crc32(out[at + 4 : end]))
        at = end
    return bytes(out)


def tracked_folder(name: str) -> Callable[[bytes, Path], None]:
    """A tracked run's folder in the store, one file of it changed, swept and read."""

    def take(data: bytes, folder: Path) -> None:
        from openrlb.tracking.folder import KEPT, ROWS, is_running, read_folder

        (folder / KEPT).mkdir()
        (folder / ROWS).write_bytes(row_seeds()[0])
        for file, content in tracked_files().items():
            (folder / file).write_bytes(data if file == name else content)
        is_running(folder)
        stored(folder / "out", [read_folder(folder)])

    return take


def tracked_files() -> dict[str, bytes]:
    from openrlb.tracking.folder import END, FORMAT, RECORD

    run = {**corpus.run().run.to_json(), "files": {}}
    owner = {"pid": 1, "started": 1.0, "host": "h", "machine": "m"}
    end = {"state": "finished", "rows": 10, "lost": 0, "notes": [], "hardware": {}}
    return {RECORD: json.dumps({"format": FORMAT, "run": run, "owner": owner}).encode(), END: json.dumps(end).encode()}


def runner_output(name: str) -> Callable[[bytes, Path], None]:
    """What a runner leaves behind, one file of it changed."""

    def take(data: bytes, folder: Path) -> None:
        from openrlb.sources.trained import batch_of, read_output
        from openrlb.types import RunKey

        for file, content in OUTPUT.items():
            (folder / file).write_bytes(data if file == name else content)
        key = RunKey("ppo", "s", "l", "Hopper-v5", {}, {"n_steps": 8}, 1000, "none", 1, 1, "cpu", {"every": 10, "episodes": 2})
        try:
            batch = batch_of(read_output(folder), key, impl="mine", state="finished", source="openrlb", files={})
        except TypeError:
            return  # as its docstring says: the caller names the folder
        stored(folder, [batch])

    return take


OUTPUT = {
    "metrics.jsonl": b"".join(
        json.dumps({"t": "eval", "step": step, "return": step / 3, "length": 7, "time": step / 10}).encode() + b"\n"
        + json.dumps({"t": "scalar", "step": step, "k": "train/loss", "v": 0.5, "time": step / 10}).encode() + b"\n"
        for step in range(0, 50, 10)
    ),
    "config.json": json.dumps({"algo": "ppo", "seed": 1, "hyperparameters": {"n_steps": 8}, "step_unit": "agent_step"}).encode(),
    "env.json": json.dumps({"python": "3.11", "packages": ["torch==2.13.0"], "cpu": "x"}).encode(),
    "done.json": json.dumps({"steps": 1000, "state": "finished"}).encode(),
}  # fmt: skip


# --- a W&B server's answers ------------------------------------------------------------------------------------------------


def wandb_rows(data: bytes, folder: Path) -> None:
    """A page of history rows: what Arrow reads of it is what ``json`` reads of it."""
    from openrlb.sources.wandb.pages import Wanted, read_rows
    from openrlb.sources.wandb.rows import collect

    texts = data.decode("utf-8", errors="replace").split("\n")
    for wanted in (Wanted(), Wanted(frozenset({"r", "loss"}))):
        try:
            part = read_rows(texts, wanted)
            plain = collect(json.loads(f"[{','.join(texts)}]"), wanted)
        except (ValueError, RecursionError):  # the caller says: a malformed answer
            return
        same = part.steps.tolist() == plain.steps.tolist() and part.unplaced == plain.unplaced
        for key in {*part.columns, *plain.columns} if same else ():
            same &= key in part.columns and key in plain.columns
            same = same and all(map(_equal, part.columns[key], plain.columns[key]))
        if not same:
            raise BrokenError("Arrow reads other rows than json does")


def _equal(one: Any, other: Any) -> bool:
    return bool(np.array_equal(one, other, equal_nan=one.dtype.kind == "f"))


def wandb_run(data: bytes, folder: Path) -> None:
    """A run as a server lists it."""
    from openrlb.sources.wandb.provenance import Provenance, _take_metadata
    from openrlb.sources.wandb.query import WandbQuery
    from openrlb.sources.wandb.records import Guesses, UnknownRunError, identify

    _take_metadata(data, Provenance(), False)
    try:
        node = json.loads(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(node, dict) or not isinstance(node.get("config"), dict):
        return  # the client itself gives a mapping
    names = "name id state tags commit created_at heartbeat_at system_metrics history_keys".split()
    fields = {**dict.fromkeys(names), "lastHistoryStep": 0, "history_line_count": 5, "_attrs": {}}
    remote = SimpleNamespace(**fields | node)
    try:
        listed = identify(remote, WandbQuery("e", "p"), Guesses())
    except UnknownRunError:
        return
    stored(folder, [RunBatch(listed.run, (), {})])


def wandb_export(data: bytes, folder: Path) -> None:
    from openrlb.sources.wandb.client import RefusedError, TransientError
    from openrlb.sources.wandb.exports import _parquet

    (folder / "x_0.runhistory.parquet").write_bytes(data)
    try:
        _parquet(folder / "x_0.runhistory.parquet", lambda key: True)
    except (RefusedError, TransientError):
        return


def export_seeds() -> list[bytes]:
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.table({"_step": [0, 5], "r": [1.0, None], "x": [{"y": 1}, {"y": 2}], "t": ["NaN", "b"]}), buffer)
    return [buffer.getvalue()]


NODE = json.dumps(
    {
        "config": {"algo": "ppo", "env_id": "Hopper-v4", "seed": 1, "lr": 0.1, "net": {"a": [1]}},
        "name": "first", "id": "r1", "state": "finished", "tags": ["a"], "commit": "c0ffee", "created_at": "2026-01-01T00:00:00Z",
        "heartbeat_at": "2026-01-01T01:00:00Z", "os": "Linux", "python": "3.11", "git": {"remote": "https://x:y@h/r.git"},
        "history_keys": {"keys": {"r": {"typeCounts": [{"type": "number", "count": 5}]}}, "lastStep": 9},
    }
).encode()  # fmt: skip
PAGE = b'{"_step": 0, "r": 1.5}\n{"_step": 4, "r": 2, "loss": "NaN", "_runtime": 1.25}\n{"_step": 5, "x": 3, "loss": true}'
FILTERS = [b"?we=openrlbenchmark&wpn=sb3&ceik=env&cen=algo&metric=eval/mean_reward\x1fppo?tag=v1&cl=PPO&seed=1&lr='1'"]
SQL = [
    b"SELECT env, count(*) FROM runs GROUP BY env",
    b"WITH a AS (SELECT run, max(value) AS x FROM points GROUP BY ALL) SELECT * FROM a JOIN params USING (run) ORDER BY 1",
    b"SELECT run, rule, value FROM scores WHERE metric = 'r' UNION SELECT study, state, value FROM trials",
]
SQL_WORDS = tuple(
    b"COPY|ATTACH|read_csv('/etc/passwd')|read_text('/etc/hostname')|glob('/*')|getenv('HOME')|SET|PRAGMA|;|INSTALL|LOAD|CALL|"
    b"catalog.runs|FROM|SELECT|'/etc/passwd'|query('SELECT 1')|duckdb_settings()|DESCRIBE|SUMMARIZE|EXPORT DATABASE|INTO|CREATE|"
    b"MACRO|VIEW|parquet_metadata('x')|sniff_csv('x')|query_table('runs')|LATERAL|UNPIVOT|RECURSIVE|MATERIALIZED|TO|(|)".split(
        b"|"
    )
)
SPACE = b'name = "small"\n[ppo]\nrate = { uniform = [0.1, 2.0] }\nact = { choices = ["none", "talk"] }\n' + (
    b'at = { integers = [0, 40], when = { act = "talk" } }\nnet.arch = { choices = [[8], [16]], default = [8] }\n'
)
LOCK = b"# made by hand\nsix==1.17.0 ; python_version < '3.13' \\\n    --hash=sha256:" + b"0" * 64 + b"\n"
RECIPE = b'# about\n[plot]\nmetric = "iqm"\nenv = ["Hopper"]\nlevel = 0.95\n'
CONFIG = b'[plot]\nmetric = "iqm"\nlevel = 0.95\n[run]\nseeds = 3\n[presets.mine]\nentity = "e"\nproject = "p"\n'
NORMAL = b'name = "mine"\nabout = "x"\n[scores]\n"CartPole-v1" = [0.0, 500.0]\n'
HYPER = b'steps = 1000\n[ppo."Hopper-v5"]\nlr = 0.1\npolicy_kwargs = { net_arch = [64, 64] }\n'
TOML_WORDS = (b"[[", b"]]", b"a = " + b"[" * 3000, b"1979-05-27", b'"""', b"'''", b"inf", b"nan", b"true", b"= {", b"a." * 900)

TARGETS = (
    Target("wandb log", lambda: [corpus.wandb_log()], file_named("run-abc.wandb"), repaired=resealed_wandb),
    Target("tensorboard events", corpus.event_files, file_named("events.out.tfevents.1.m", *NAMED), repaired=resealed_events),
    Target("monitor.csv", lambda: [corpus.MONITOR.encode()], file_named("0.monitor.csv", "algo='a'"), (b"#{", b"r,l,t\n")),
    Target("csv", lambda: [corpus.CSV.encode()], file_named("t.csv", text=True), (b"algo", b"return", b"\n\n", b'"\n"')),
    Target("csv, mapped", lambda: [corpus.CSV.encode()], file_named("t.csv", MAPPED, text=True)),
    Target("csv.gz", lambda: [corpus.gzipped(corpus.CSV.encode())], file_named("t.csv.gz")),
    Target("tsv", lambda: [corpus.CSV.replace(",", "\t").encode()], file_named("t.tsv", text=True)),
    Target("json", lambda: [one.encode() for one in corpus.JSONS], file_named("t.json", *NAMED, text=True)),
    Target("jsonl", lambda: [b"\n".join(json.dumps(one).encode() for one in corpus.ROWS)], file_named("t.jsonl")),
    Target("npy", lambda: corpus.arrays()[0], npy, (b"'descr'", b"'|O'", b"'shape': (", b"True", b"'<f8'")),
    Target("npz", lambda: corpus.arrays()[1], npz, (b"PK\x03\x04", b"PK\x05\x06", b".npy", b"'|O'"), zip_resealed),
    Target("parquet", corpus.parquet, file_named("t.parquet", *NAMED, "value=return")),
    Target("settings, yaml", lambda: [corpus.YAML.encode(), b"env: E-v0\nseed: 1\nlr: !!float 1"], settings("args.yml"),
           (b"!!python/object/apply:os.system", b"&a", b"*a", b"<<:", b"!!binary", b"? ", b"- - -")),
    Target("settings, json", lambda: [b'{"algo": "ppo", "seed": 1, "net": {"a": [1]}}'], settings("config.json")),
    Target("progress.csv", lambda: [corpus.PROGRESS.encode()], settings("progress.csv")),
    Target("optuna database", lambda: [corpus.optuna_database()], file_named("study.db")),
    Target("bundle manifest", bundle_seeds("bundle.json"), bundle_file("bundle.json", False)),
    Target("bundle manifest, sealed", bundle_seeds("bundle.json"), bundle_file("bundle.json", True), (b"../", b"/etc", b"C:\\")),
    Target("bundle runs", bundle_seeds("runs"), bundle_file("runs", True)),
    Target("bundle points", bundle_seeds("points"), bundle_file("points", True)),
    Target("bundle points, unsealed", bundle_seeds("points"), bundle_file("points", False)),
    Target("bundle files", bundle_seeds("files"), bundle_file("files", True)),
    Target("segment of the spool", lambda: [corpus.segment()], segment),
    Target("rows of a tracked run", row_seeds, rows, repaired=resealed_rows),
    *(Target(f"tracked {name}", lambda name=name: [tracked_files()[name]], tracked_folder(name)) for name in tracked_files()),
    *(Target(f"{name} of a runner", lambda name=name: [OUTPUT[name]], runner_output(name)) for name in OUTPUT),
    Target("--orlb-filter", lambda: FILTERS, orlb_filter, (b"?we=", b"&tag=", b"%00", b"\x1f", b"1e999", b"1_0", b"lambda:0")),
    Target("--map", lambda: [b"algo='mine', env=config.env.name,seed=`a b`,value=r|s,path:{_}/{seed}"], map_words, (b"path:",)),
    Target("pattern", lambda: [b"{algo}/{env}__{seed}__{_}\x1flogs/ppo/Hopper-v4__3__x"], pattern, (b"{_}", b"{seed}")),
    Target("--set", lambda: [b"gamma=0.9\x1fpolicy_kwargs.net_arch=[64,64]\x1fent_coef=auto"], assigned, (b"\x1f",)),
    Target("--where", lambda: [b"seed < 5 AND algo = 'ppo'"], where, SQL_WORDS),
    Target("query", lambda: SQL, query, SQL_WORDS),
    Target("selecting words", lambda: [b"2026-01-31", b"2d", b"Hopper-v*", b"final:10%", b"1e5", b"1-5", b"[a-"], selecting),
    Target("openrlb.toml", lambda: [CONFIG], toml(_config, "openrlb.toml"), TOML_WORDS),
    Target("space.toml", lambda: [SPACE, *packaged("hpo", "spaces", "*.toml")()], toml(_space), TOML_WORDS),
    Target("recipe.toml", lambda: [RECIPE, *packaged("analysis", "recipes", "*.toml")()], toml(_recipe), TOML_WORDS),
    Target("runner.toml", packaged("runners", "reference", "*", "runner.toml"), toml(_runner, "runner.toml"), TOML_WORDS),
    Target("--hyperparameters", lambda: [HYPER], toml(_hyperparameters), TOML_WORDS),
    Target("normalisation", lambda: [NORMAL], toml(_table), TOML_WORDS),
    Target("lock", lambda: [LOCK], pins, (b"--hash=sha256:", b"@ https://", b"; ")),
    Target("wandb rows", lambda: [PAGE], wandb_rows, (b'"_step": ', b'"NaN"', b"1e400", b"\n{}\n")),
    Target("wandb run", lambda: [NODE], wandb_run),
    Target("wandb export", export_seeds, wandb_export),
)  # fmt: skip
