"""Valid inputs of every format that openrlb reads, made here by the formats' own writers."""

from __future__ import annotations

import gzip
import io
import json
import sqlite3
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from openrlb.types import Metric, MetricBatch, Run, RunBatch

GENUINE = Path(__file__).resolve().parents[1] / "openrlb" / "sources" / "genuine_events"

CSV = "algo,env,seed,step,return,lr\n" + "".join(
    f"{algo},Hopper-v4,{seed},{step},{step / 7:.6f},{3e-4}\n"
    for algo in ("ppo", "sac")
    for seed in (1, 2)
    for step in (0, 1000, 2000)
)
ROWS = [{"algo": "ppo", "env": "Hopper-v4", "seed": seed, "step": step, "return": step / 7} for seed in (1, 2) for step in (0, 5)]
JSONS = [
    json.dumps(ROWS),
    json.dumps({key: [row[key] for row in ROWS] for key in ROWS[0]}),
    json.dumps({"Hopper-v4": {"ppo": [1.0, 2.0], "sac": [3.5, None]}, "Ant-v4": {"ppo": [0.5, 1e300]}}),
]
MONITOR = '#{"t_start": 1000.25, "env_id": "Hopper-v4"}\nr,l,t\n' + "".join(f"{n / 3:.6f},{n + 5},{n * 1.5}\n" for n in range(12))
YAML = "!!python/object/apply:collections.OrderedDict\n- - - algo\n    - ppo\n  - - env\n    - Hopper-v4\n  - - seed\n    - 3\n"
PROGRESS = "time/total_timesteps,rollout/ep_rew_mean,time/time_elapsed\n" + "".join(f"{n * 10},{n / 3},{n}\n" for n in range(8))


def event_files() -> list[bytes]:
    """What genuine writers of TensorBoard files wrote."""
    return [path.read_bytes() for path in sorted(GENUINE.rglob("events.*"))]


def wandb_log() -> bytes:
    """A finished run as the client logs it."""
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    from openrlb.sources.wandb_records import FILE_HEADER, WHOLE, fragment

    def record(**parts: Any) -> bytes:
        return fragment(WHOLE, bytes(Record(**parts).SerializeToString()))

    settings = {"algo": "ppo", "env": "Hopper-v4", "seed": 1, "net": {"sizes": [64, 64]}}
    update = [{"key": key, "value_json": json.dumps(value)} for key, value in settings.items()]
    started = {"seconds": 1_700_000_000}
    parts = [record(run={"run_id": "abc", "project": "p", "config": {"update": update}, "start_time": started})]
    for step in range(20):
        logged = {"global_step": step * 100, "charts/return": step / 3, "_runtime": step, "losses.value": 1.5 if step else "NaN"}
        items = [{"nested_key": name.split("."), "value_json": json.dumps(value)} for name, value in logged.items()]
        parts.append(record(history={"item": items, "step": {"num": step}}))
    parts.append(record(summary={"update": [{"key": "best", "value_json": "7.5"}]}))
    parts.append(record(metric={"name": "charts/return", "step_metric": "global_step"}))
    return FILE_HEADER + b"".join(parts) + record(exit={"exit_code": 0})


def arrays() -> tuple[list[bytes], list[bytes]]:
    """npy and npz files: tables, evaluations, odd kinds."""
    single: list[bytes] = []
    for array in (np.arange(12.0).reshape(3, 4), np.array([], np.float32), np.arange(5, dtype=">i4"), np.array(["a", "bc"])):
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        single.append(buffer.getvalue())
    packed: list[bytes] = []
    steps = np.arange(1, 6) * 100
    several: Sequence[dict[str, Any]] = (
        {"timesteps": steps, "results": np.arange(10.0).reshape(5, 2), "ep_lengths": np.full((5, 2), 7)},
        {"step": steps, "value": steps / 3},
    )
    for members in several:
        for save in (np.savez, np.savez_compressed):
            buffer = io.BytesIO()
            save(buffer, **members)
            packed.append(buffer.getvalue())
    return single, packed


def parquet() -> list[bytes]:
    """Tables, also nested, dictionary-coded and without rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found: list[bytes] = []
    nested = [{**row, "config": {"lr": 0.1, "tags": ["a"]}} for row in ROWS]
    for table in (pa.Table.from_pylist(ROWS), pa.Table.from_pylist(nested), pa.Table.from_pylist(ROWS).slice(0, 0)):
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="none" if found else "zstd")
        found.append(buffer.getvalue())
    return found


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def run(name: str = "a", env: str = "Hopper-v5", **fields: Any) -> RunBatch:
    """A run with values of two kinds and a kept file."""
    import hashlib

    text = b"torch==2.13.0\n"
    steps = np.array([1, 5, 5, 9], np.int64)
    returns = MetricBatch(Metric("r", "episode", "episodic_return"), steps, np.array([1.0, np.nan, -0.0, 1e300]), steps * 10)
    load = MetricBatch(Metric("cpu", "system"), steps, np.array([0.5, 0.25, np.inf, 3.0]))
    kept = {"a.txt": hashlib.sha256(text).hexdigest()}
    fields = {"seed": 1, "state": "finished", "files": kept, "config": {"lr": 0.1}, **fields}
    return RunBatch(Run("openrlb", name, "p", name, "ppo", env, **fields), (returns, load), {"a.txt": text})


RUNS = (run("a"), run("b", seed=None), run("c", env="ALE/Pong-v5"))


@cache
def bundle() -> dict[str, bytes]:
    """The files of a bundle by their paths."""
    from openrlb.sources import write_bundle

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "bundle"
        write_bundle(place, list(RUNS), license_="mit")
        return {path.relative_to(place).as_posix(): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}


def segment() -> bytes:
    """A segment of the spool."""
    from openrlb.store.segment import write_segment

    with tempfile.TemporaryDirectory() as folder:
        return write_segment(Path(folder), RUNS).read_bytes()


@cache
def optuna_database() -> bytes:
    """A small database that Optuna wrote: one study, three trials."""
    import optuna
    from optuna.distributions import FloatDistribution
    from optuna.trial import TrialState, create_trial

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "study.db"
        study = optuna.create_study(storage=f"sqlite:///{path}", study_name="mine", direction="maximize")
        study.set_user_attr("algo", "ppo")
        study.set_user_attr("env", "CartPole-v1")
        for number in range(3):
            study.add_trial(
                create_trial(
                    state=TrialState.COMPLETE,
                    params={"lr": 1e-3},
                    distributions={"lr": FloatDistribution(1e-5, 1e-2, log=True)},
                    value=number / 3,
                    intermediate_values={100: 1.0, 200: 2.5},
                    user_attrs={"seed": number},
                )
            )
        with closing(sqlite3.connect(path)) as database:
            database.execute("VACUUM")
        optuna.logging.set_verbosity(before)
        return path.read_bytes()
