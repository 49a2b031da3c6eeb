"""``.wandb`` files: what the genuine client writes, that file torn in every way, and records written here by hand."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import load, metrics

from openrlb.errors import MapError, SourceError
from openrlb.sources import Guess, ReadOptions, read
from openrlb.sources.wandb_log import Log, read_log
from openrlb.sources.wandb_records import Damage, records
from openrlb.types import RunBatch, Skipped

HEADER = b":W&B\xe1\xbe\x00"
BLOCK = 32768

CLIENT = """
import os, sys
import wandb

secrets = wandb.Settings(host="ann-laptop", username="ann-lee", email="ann@example.org", git_commit="c0ffee12")
config = {"algo": "ppo", "env_id": "Hopper-v4", "lr": 3e-4, "net": {"sizes": [64, 64], "act": None}, "save": "/home/ann/models"}
for seed, code in ((1, 0), (2, 3), (3, None)):
    run = wandb.init(project="demo", id=f"run{seed}", name=f"first {seed}", tags=["a", "b"], settings=secrets,
                     config={**config, "seed": seed})
    for i in range(300):
        row = {"global_step": i * 100, "charts/SPS": 1000 + i, "losses": {"value": i / 4, "policy": 1}}
        if i % 3 == 0:
            row["charts/episodic_return"] = float("nan") if i == 9 else i * 0.5
        if i % 50 == 0:
            row["eval/return"] = i
        run.log(row)
    run.log({"no_axis": 1.0, "infinite": float("inf"), "text": "hello", "histogram": wandb.Histogram([1, 2])})
    run.config.update({"late": True})
    run.summary["best"] = 7
    if code is None:
        os.kill(os.getpid(), 9)
    run.finish(exit_code=code)
"""


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three offline runs of the genuine client: one finished, one failed, one killed."""
    folder = tmp_path_factory.mktemp("offline")
    home = tmp_path_factory.mktemp("home")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    places = {f"WANDB_{name}_DIR": str(home / name) for name in ("CACHE", "CONFIG", "DATA")}
    wanted = {"HOME": str(home), "WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
    subprocess.run([sys.executable, "-c", CLIENT], env=kept | wanted | places, cwd=folder, check=False, timeout=120)
    for path in logs_of(folder)[:2]:  # the client's service writes on after the script's end
        waited = time.monotonic() + 10
        while read_log(path).exit_code is None and time.monotonic() < waited:
            time.sleep(0.02)
    killed = logs_of(folder)[2]
    size = -1
    while size != killed.stat().st_size:
        size = killed.stat().st_size
        time.sleep(0.2)
    return folder


def logs_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("wandb/offline-run-*/run-*.wandb"), key=lambda path: path.name)


# A writer of the format, from its description.


def log_bytes(payloads: Iterable[bytes]) -> bytes:
    out = bytearray(HEADER)

    def put(kind: int, piece: bytes) -> None:
        out.extend(struct.pack("<IHB", zlib.crc32(bytes([kind]) + piece), len(piece), kind) + piece)

    for payload in payloads:
        first = True
        while True:
            room = BLOCK - len(out) % BLOCK
            if room < 7:
                out.extend(bytes(room))
                room = BLOCK
            piece, payload = payload[: room - 7], payload[room - 7 :]
            put({(True, True): 1, (True, False): 2, (False, False): 3, (False, True): 4}[first, not payload], piece)
            first = False
            if not payload:
                break
    return bytes(out)


def message(**parts: Any) -> bytes:
    from wandb.proto.wandb_internal_pb2 import Record

    record = Record(**parts)
    return bytes(record.SerializeToString())


def started(config: dict[str, Any], run_id: str = "abc", start: int = 1_700_000_000, **fields: Any) -> bytes:
    update = [{"key": key, "value_json": json.dumps(value)} for key, value in config.items()]
    return message(run={"run_id": run_id, "config": {"update": update}, "start_time": {"seconds": start}, **fields})


def row(number: int, **values: object) -> bytes:
    items = [{"nested_key": name.split("."), "value_json": json.dumps(value)} for name, value in values.items()]
    return message(history={"item": items, "step": {"num": number}})


def log_file(folder: Path, *payloads: bytes, run_id: str = "abc", stamp: str = "20260101_000000") -> Path:
    place = folder / "wandb" / f"offline-run-{stamp}-{run_id}"
    place.mkdir(parents=True)
    path = place / f"run-{run_id}.wandb"
    path.write_bytes(log_bytes(payloads))
    return path


PLAIN = {"algo": "ppo", "env": "Hopper-v4", "seed": 1}
EXIT = message(exit={"exit_code": 0})


# The genuine client's files.


def test_a_finished_run_of_the_genuine_client(offline: Path) -> None:
    runs, skipped, guesses = load(offline)
    assert guesses == ["algo=config.algo,env=config.env_id,seed=config.seed"]
    lost = [item for item in skipped if item.damaged]
    assert all("run-run3" in item.location and "cut inside" in item.reason for item in lost)  # the killed one, mostly
    run, found = runs[0].run, metrics(runs[0])
    assert (run.source, run.run, run.project, run.name) == ("folder", "run1", "demo", "first 1")
    assert (run.algo, run.env, run.seed, run.impl, run.state) == ("ppo", "Hopper-v4", 1, "cleanrl", "finished")
    assert run.config == {"lr": 3e-4, "net": {"sizes": [64, 64], "act": None}, "save": "~/models", "late": True}
    assert (run.tags, run.git_commit, run.step_unit) == (("a", "b"), "c0ffee12", "agent_step")
    assert run.hardware["python"] == ".".join(map(str, sys.version_info[:3])) and run.created
    requirements = runs[0].blobs["requirements.txt"].decode()
    assert "wandb==" in requirements and run.requirements == run.files["requirements.txt"]
    summary = json.loads(runs[0].blobs["wandb-summary.json"])
    assert summary["best"] == 7 and summary["losses"]["value"] == 299 / 4
    assert set(found) == {"charts/SPS", "charts/episodic_return", "eval/return", "infinite", "losses.policy", "losses.value",
                          "no_axis"} - {"infinite", "no_axis"}  # fmt: skip
    every = np.arange(300)
    np.testing.assert_array_equal(found["losses.value"].steps, every * 100)
    np.testing.assert_array_equal(found["losses.value"].values, every / 4)
    returns = np.where(every == 9, np.nan, every * 0.5)[::3]
    np.testing.assert_array_equal(found["charts/episodic_return"].values, returns)
    np.testing.assert_array_equal(found["charts/episodic_return"].steps, every[::3] * 100)
    np.testing.assert_array_equal(found["eval/return"].steps, every[::50] * 100)
    times = found["charts/SPS"].times_ms
    assert times is not None and times[0] >= 0 and (np.diff(times) >= 0).all()
    assert (found["charts/episodic_return"].metric.kind, found["eval/return"].metric.kind) == ("episode", "eval")
    said = " | ".join(run.notes)
    assert "no_axis: 1 of 1 values stand at no whole global_step" in said and "no numbers: histogram" in said and "text" in said


def test_nothing_personal_is_kept(offline: Path) -> None:
    for batch in load(offline)[0]:
        everything = json.dumps(batch.run.to_json()) + str(batch.blobs)
        for secret in ("ann-laptop", "ann-lee", "ann@example.org", "/home/ann"):
            assert secret not in everything


def test_failed_and_killed_runs(offline: Path) -> None:
    fresh = load(offline)[0]
    assert [batch.run.state for batch in fresh] == ["finished", "failed", "running"]
    killed = logs_of(offline)[2]
    os.utime(killed, (time.time() - 3600,) * 2)
    crashed = load(offline)[0][2]
    assert crashed.run.state == "crashed" and any("no exit record" in note for note in crashed.run.notes)
    assert "exit code 3" in " ".join(fresh[1].run.notes)
    rows = metrics(crashed)["charts/SPS"]
    np.testing.assert_array_equal(rows.values, 1000 + np.arange(len(rows.values)))  # a prefix of what was logged


def test_reading_again_and_reading_one_file_give_the_same_run(offline: Path) -> None:
    first, second = load(offline)[0], load(offline / "wandb")[0]
    single = load(logs_of(offline)[0])[0][0]
    for one, other in zip(first, second, strict=True):
        assert (one.run.run, one.run.notes, one.run.config) == (other.run.run, other.run.notes, other.run.config)
    assert single.run.run == first[0].run.run
    for one, other in zip(single.metrics, first[0].metrics, strict=True):
        assert one.metric == other.metric
        np.testing.assert_array_equal(one.values, other.values)


@pytest.fixture(scope="module")
def torn(offline: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, Log]:
    """A place for torn copies, the finished run's bytes, and what they hold."""
    path = logs_of(offline)[0]
    place = tmp_path_factory.mktemp("torn") / "wandb" / "offline-run-20260101_000000-run1" / "run-run1.wandb"
    place.parent.mkdir(parents=True)
    data = path.read_bytes()
    assert len(data) > 3 * BLOCK  # several blocks, so that records lie across their borders
    return place, data, read_log(path)


def pairs(log: Log) -> dict[str, list[tuple[int, float]]]:
    return {name: [*zip(*map(list, columns), strict=True)] for name, columns in log.columns.items()}  # type: ignore[misc]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_truncation_gives_a_prefix_of_the_rows(torn: tuple[Path, bytes, Log], data: st.DataObject) -> None:
    place, whole, log = torn
    near = [BLOCK * block + off for block in range(1, len(whole) // BLOCK + 1) for off in range(-8, 9)]
    cut = data.draw(st.one_of(st.integers(7, len(whole)), st.sampled_from([at for at in near if at <= len(whole)])))
    place.write_bytes(whole[:cut])
    part = read_log(place)
    assert part.rows <= log.rows
    full = json.dumps(pairs(log))
    for name, found in pairs(part).items():
        assert json.dumps(found)[:-1] == json.dumps(pairs(log)[name])[: len(json.dumps(found)) - 1]
    assert bool(part.damage) or cut == len(whole) or part.exit_code is None
    assert full  # the whole is untouched
    for record in read(place.parent.parent.parent, ReadOptions()):
        assert isinstance(record, RunBatch | Skipped | Guess)
        if isinstance(record, RunBatch):
            assert record.run.state != "finished" or part.exit_code == 0


@settings(max_examples=60, deadline=None)
@given(at=st.integers(7, 10**9), flip=st.integers(1, 255), length=st.sampled_from([1, 1, 40, 5000]))
def test_damage_in_the_middle_keeps_only_true_rows(torn: tuple[Path, bytes, Log], at: int, flip: int, length: int) -> None:
    place, whole, log = torn
    at = 7 + at % (len(whole) - 7)
    damaged = bytes(byte ^ flip for byte in whole[at : at + length])
    place.write_bytes(whole[:at] + damaged + whole[at + length :])
    part = read_log(place)
    assert part.damage or part.exit_code is None
    truth = {value: row for row, value in zip(*log.columns["losses.value"], strict=True)}
    values = list(part.columns.get("losses.value", ((), ()))[1])
    assert all(value in truth for value in values) and values == sorted(values)
    lost = log.rows - part.rows
    assert 0 <= lost <= 2 * BLOCK // 200  # no more than the damaged blocks: a row takes over 200 bytes


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.one_of(st.integers(0, 300), st.sampled_from([32746, 32747, 32754, 32761, 32762, 70_000])), max_size=12))
def test_records_of_any_size_come_back_whole(sizes: list[int]) -> None:
    import io

    payloads = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
    damage = Damage()
    assert list(records(io.BytesIO(log_bytes(payloads)), damage)) == payloads
    assert damage.words() == ""


def test_a_damaged_long_record_is_left_out_alone() -> None:
    import io

    data = bytearray(log_bytes([b"a" * 100, b"b" * 100_000, b"c" * 100]))
    data[2 * BLOCK + 500] ^= 1
    damage = Damage()
    assert list(records(io.BytesIO(bytes(data)), damage)) == [b"a" * 100, b"c" * 100]
    assert (damage.places, damage.incomplete, damage.cut) == (1, 1, False)


def test_files_that_hold_no_run_are_named(tmp_path: Path) -> None:
    cut = log_bytes([started(PLAIN)])[:30]
    for name, data in {"empty": b"", "header": HEADER, "other": b"something else", "cut": cut}.items():
        (tmp_path / f"{name}.wandb").write_bytes(data)
    runs, skipped, _ = load(tmp_path)
    reasons = {item.location: item.reason for item in skipped}
    assert runs == [] and len(reasons) == 4 and all(item.damaged for item in skipped)
    assert "ends after its header" in reasons["header.wandb"] and "cut inside" in reasons["cut.wandb"]
    assert "no Weights & Biases log" in reasons["empty.wandb"] and "no Weights & Biases log" in reasons["other.wandb"]


def test_a_wandb_log_is_recognised_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "log.bin").write_bytes(log_bytes([started(PLAIN), row(0, global_step=1, **{"eval/return": 2.0}), EXIT]))
    runs, skipped, _ = load(tmp_path)
    assert skipped == [] and runs[0].run.run == "abc" and runs[0].run.state == "finished"


# Records by hand.


def test_every_kind_of_value(tmp_path: Path) -> None:
    typed = {"item": [{"key": "global_step", "integer": 5}, {"key": "a", "number": 0.5}, {"key": "b", "boolean": True},
                      {"key": "t", "text": "x"}], "step": {"num": 0}}  # fmt: skip
    odd = [{"nested_key": ["global_step"], "value_json": "6"}, {"nested_key": ["a"], "value_json": '"NaN"'},
           {"nested_key": ["b"], "value_json": "Infinity"}, {"nested_key": ["c"], "value_json": '"-Infinity"'},
           {"nested_key": ["d"], "value_json": "{broken"}, {"nested_key": ["e"], "value_json": "null"}]  # fmt: skip
    log_file(tmp_path, started(PLAIN), message(history=typed), message(history={"item": odd, "step": {"num": 1}}), EXIT)
    runs, skipped, _ = load(tmp_path)
    found = metrics(runs[0])
    np.testing.assert_array_equal(found["a"].values, [0.5, np.nan])
    np.testing.assert_array_equal(found["b"].values, [1.0, np.inf])
    np.testing.assert_array_equal(found["c"].values, [-np.inf])
    assert found["a"].steps.tolist() == [5, 6]
    assert "no numbers: d, e, t" in " ".join(runs[0].run.notes)
    assert len(skipped) == 1
    assert "1 record could not be understood and is left out; 2 rows are kept" in skipped[0].reason


def test_settings_change_while_a_run_goes_on(tmp_path: Path) -> None:
    update = [{"nested_key": ["net", "size"], "value_json": "64"}, {"key": "lr", "value_json": "0.2"}]
    log_file(
        tmp_path,
        started({**PLAIN, "lr": 0.1, "old": 1, "_wandb": {"x": 1}, "user": "ann"}),
        message(config={"update": update, "remove": [{"key": "old"}]}),
        message(environment={"host": "ann-laptop", "git": {"commit": "abc123", "remote_url": "git@ann"}, "gpu_type": "H100"}),
        row(0, global_step=1, reward=1.0),
        EXIT,
    )
    (batch,), _, _ = load(tmp_path)
    assert batch.run.config == {"lr": 0.2, "net": {"size": 64}}
    assert (batch.run.git_commit, batch.run.hardware) == ("abc123", {"gpu": "H100"})


@pytest.mark.parametrize(
    ("logged", "maps", "steps", "said"),
    [
        ({"global_step": 70, "eval/return": 1.0}, (), [70], ""),
        ({"eval/return": 1.0}, (), [4], "wandb's count of log calls"),
        ({"env_steps": 30, "eval/return": 1.0}, (), [30], ""),
        ({"iteration": 9, "global_step": 70, "eval/return": 1.0}, ("step=iteration",), [9], ""),
        ({"frames": 8, "eval/return": 1.0}, (), [8], ""),
    ],
)
def test_the_axis(tmp_path: Path, logged: dict[str, object], maps: tuple[str, ...], steps: list[int], said: str) -> None:
    log_file(tmp_path, started(PLAIN), row(4, **logged), EXIT)
    (batch,), _, _ = load(tmp_path, *maps)
    assert metrics(batch)["eval/return"].steps.tolist() == steps
    assert said in " ".join(batch.run.notes)
    assert batch.run.step_unit == ("frame" if "frames" in logged else "unknown")


def test_metrics_of_different_rates_and_axes_are_never_joined(tmp_path: Path) -> None:
    log_file(
        tmp_path,
        started(PLAIN),
        message(metric={"glob_name": "eval/*", "step_metric": "eval/step"}),
        *(row(number, loss=number / 2) for number in range(5)),
        row(5, **{"eval/step": 1000, "eval/return": 3.0}),
        row(6, **{"eval/return": 4.0}),
        EXIT,
    )
    (batch,), _, _ = load(tmp_path)
    found = metrics(batch)
    assert found["loss"].steps.tolist() == [0, 1, 2, 3, 4] and found["eval/return"].steps.tolist() == [1000]
    said = " ".join(batch.run.notes)
    assert "several axes" in said and "eval/return: 1 of 2 values stand at no whole eval/step" in said


def test_where_the_axis_equals_the_row_count_rows_without_it_keep_their_place(tmp_path: Path) -> None:
    """``run.log({"global_step": s, ...}, step=s)`` beside ``run.log({"eval/return": r}, step=s)``."""
    log_file(tmp_path, started(PLAIN), row(100, global_step=100, loss=1.0), row(250, **{"eval/return": 7.0}), EXIT)
    (batch,), _, _ = load(tmp_path)
    assert metrics(batch)["eval/return"].steps.tolist() == [250]


def test_maps_name_settings_metrics_and_parts_of_the_path(tmp_path: Path) -> None:
    config = {"agent": {"kind": "sac"}, "task_spec": {"label": "cheetah"}, "trial": 4, "lr": 1, "group": "g"}
    log_file(tmp_path / "exp-sac" / "s4", started(config), row(0, ticks=100, my_number=5.0, other=1), EXIT)
    unread, skipped, _ = load(tmp_path)
    assert unread == [] and len(skipped) == 1 and not skipped[0].damaged
    assert "not known" in skipped[0].reason and "agent.kind ('sac'), task_spec.label ('cheetah'), trial (4)" in skipped[0].reason
    assert '--map "algo=agent.kind,env=task_spec.label,seed=config.trial,value=METRIC"' in skipped[0].reason
    assert "yours to fill in: value; kinds: eval," in skipped[0].reason and "logged: my_number, other, ticks" in skipped[0].reason
    words = "algo=config.agent.kind,env=config.task_spec.label,seed=config.trial,tag=config.group"
    (batch,), _, _ = load(tmp_path, words, "step=ticks,value=my_number,kind=eval")
    assert (batch.run.algo, batch.run.env, batch.run.seed, batch.run.tags) == ("sac", "cheetah", 4, ("g",))
    assert batch.run.config == {"lr": 1, "group": "g", "agent": {}, "task_spec": {}}
    returned = metrics(batch)["my_number"]
    assert (returned.metric.kind, returned.metric.canonical, returned.steps.tolist()) == ("eval", "episodic_return", [100])
    (batch,), _, _ = load(tmp_path, "path:exp-{algo}/s{seed},env='Cheetah-v4',value=my_number,config.batch=config.lr")
    assert (batch.run.algo, batch.run.env, batch.run.seed) == ("sac", "Cheetah-v4", 4)
    assert batch.run.config["batch"] == 1
    with pytest.raises(MapError, match="my_numbr"):
        load(tmp_path, "algo='x',env='y',value=my_numbr")
    with pytest.raises(MapError, match="nothing"):
        load(tmp_path, "algo=config.nothing,env='y',value=my_number")
    with pytest.raises(MapError, match="'trail'") as caught:
        load(tmp_path, "algo='x',env='y',seed=trail,value=my_number")
    assert "did you mean trial" in caught.value.fix
    with pytest.raises(MapError, match="kind=evl is not usable"):
        load(tmp_path, "algo='x',env='y',value=my_number,kind=evl")


def test_a_run_without_a_known_return_says_how_to_name_it(tmp_path: Path) -> None:
    log_file(tmp_path, started(PLAIN), row(0, global_step=1, **{"train/money": 1.0, "losses/q": 2.0}), EXIT)
    (batch,), _, _ = load(tmp_path)
    assert len(batch.metrics) == 2 and "value=train/money" in " ".join(batch.run.notes)
    assert "--step-unit" in " ".join(batch.run.notes)


def test_a_resumed_run_is_joined_and_a_copy_of_its_log_adds_nothing(tmp_path: Path) -> None:
    def session(rows: int, begin: int, step: int) -> list[bytes]:
        clocks = [{"_runtime": number, "_timestamp": begin + number} for number in range(rows)]
        return [row(n, global_step=step + n * 10, reward=step / 2 + n, **clock) for n, clock in enumerate(clocks)]

    first = [started(PLAIN), *session(3, 1_700_000_000, 0)]
    second = [started(PLAIN, start=1_700_001_000, tags=["resumed"]), *session(2, 1_700_001_000, 20), EXIT]
    log_file(tmp_path, *first, stamp="20260101_000000")
    log_file(tmp_path, *second, stamp="20260102_000000")
    log_file(tmp_path / "backup", *first[:-1], stamp="20260101_000000")
    runs, skipped, _ = load(tmp_path)
    assert skipped == [] and len(runs) == 1
    run, found = runs[0].run, metrics(runs[0])["reward"]
    assert run.state == "finished" and run.tags == ("resumed",)
    assert found.values.tolist() == [0, 1, 2, 10, 11] and found.steps.tolist() == [0, 10, 20, 20, 30]
    assert found.times_ms is not None and found.times_ms.tolist() == [0, 1000, 2000, 2000, 3000], "pauses do not count"
    assert "a pause of 16.6 minutes" in " ".join(run.notes)
    assert "logs of 2 sessions are joined" in " ".join(run.notes) and "another copy" in " ".join(run.notes)


def test_another_run_with_the_same_id_is_named(tmp_path: Path) -> None:
    for project in ("one", "two"):
        log_file(tmp_path / project, started(PLAIN, project=project), row(0, global_step=1, reward=1.0), EXIT)
    (batch,), (skipped,), _ = load(tmp_path)
    assert batch.run.project == "one" and skipped.damaged and "same wandb id (abc)" in skipped.reason


def test_the_clients_other_files_are_not_read_as_tables(tmp_path: Path) -> None:
    path = log_file(tmp_path, started(PLAIN), row(0, global_step=1, reward=1.0), EXIT)
    files = path.parent / "files"
    files.mkdir()
    (files / "wandb-summary.json").write_text('{"algo": "x", "env": "y", "reward": 3}')
    (files / "wandb-metadata.json").write_text('{"host": "ann-laptop", "email": "ann@example.org"}')
    (files / "requirements.txt").write_text("numpy==2.0\nmine @ file:///home/ann/mine\n")
    (files / "config.yaml").write_text("lr: 1\n")
    runs, skipped, _ = load(tmp_path)
    assert skipped == [] and len(runs) == 1
    assert runs[0].blobs["requirements.txt"] == b"numpy==2.0\nmine @ file://~/mine\n"


def test_hostile_settings_are_refused(tmp_path: Path) -> None:
    deep: Any = 1
    for _ in range(60):
        deep = {"a": deep}
    path = log_file(tmp_path, started({**PLAIN, "deep": deep}), row(0, global_step=1, reward=1.0), EXIT)
    runs, skipped, _ = load(tmp_path)
    assert runs == [] and "nested deeper" in skipped[0].reason
    path.write_bytes(b"not a log")
    with pytest.raises(SourceError):
        read_log(path)


def test_from_offline_runs_to_a_figure_in_two_commands(tmp_path: Path, cli: Callable[..., Any]) -> None:
    for algo in ("mine", "theirs"):
        for seed in range(3):
            config = {"agent": {"kind": algo}, "task_spec": "Hopper-v4", "trial": seed}
            rows = [row(n, ticks=n * 1000, my_number=float(n + seed)) for n in range(1, 51)]
            log_file(tmp_path, started(config, f"{algo}{seed}"), *rows, EXIT, run_id=f"{algo}{seed}")
    words = "algo=config.agent.kind,env=config.task_spec,seed=config.trial,step=ticks,value=my_number,kind=eval"
    fetched = cli("fetch", tmp_path, "--map", words)
    assert fetched.exit_code == 0 and "6 runs found in 1 environment: 6 new" in fetched.stderr, fetched.stderr
    plotted = cli("plot", "--metric", "iqm", "--json", "-o", tmp_path / "one.html")
    assert plotted.exit_code == 0, plotted.stderr
    groups = json.loads(plotted.stdout)["groups"]
    assert {(group["algo"], group["runs"], group["value"]) for group in groups} == {("mine", 3, 49.0), ("theirs", 3, 49.0)}
    assert "0 new, 0 changed, 6 unchanged" in cli("fetch", tmp_path, "--map", words).stderr


def test_the_clients_own_logs_beside_a_run_are_no_news(offline: Path) -> None:
    assert list(offline.rglob("logs/debug*.log"))
    assert [item for item in read(offline, ReadOptions()) if isinstance(item, Skipped) and "does not read" in item.reason] == []
