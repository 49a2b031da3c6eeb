"""Values out of range, records of wrong types, and files that are not what their names say: refused or left out by name."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openrlb.errors import MapError, SourceError, UsageError
from openrlb.sources import ReadOptions, arrays, read
from openrlb.sources.trained import read_rows
from openrlb.sources.zoo import load_yaml
from openrlb.store.records import check_record
from openrlb.types import Run, RunBatch, Skipped

MONITOR = '#{"t_start": 1000.0, "env_id": "Hopper-v4"}\nr,l,t\n'


def load(path: Path, *maps: str) -> tuple[list[RunBatch], list[Skipped]]:
    records = list(read(path, ReadOptions(map=maps)))
    return [r for r in records if isinstance(r, RunBatch)], [r for r in records if isinstance(r, Skipped)]


@pytest.mark.parametrize("seed", [str(2**63), str(10**30), "-1"])
def test_a_seed_out_of_range_loses_its_rows_only(tmp_path: Path, seed: str) -> None:
    rows = "".join(f"ppo,Hopper-v4,{seed},{step},1\n" for step in range(3))
    (tmp_path / "t.csv").write_text(f"algo,env,seed,step,return\n{rows}ppo,Hopper-v4,{2**63 - 1},0,2.5\n")
    (batch,), (skipped,) = load(tmp_path)
    assert batch.run.seed == 2**63 - 1 and batch.metrics[0].values.tolist() == [2.5]
    assert skipped.damaged and skipped.reason == "3 of 4 rows left out: seed is not from 0 to 2**63 - 1 (column seed)"


def test_a_step_out_of_range_loses_its_row_only(tmp_path: Path) -> None:
    steps = (2**62, -(2**62), 10**30, 7)
    (tmp_path / "t.csv").write_text("algo,env,seed,step,return\n" + "".join(f"ppo,Hopper-v4,1,{step},1\n" for step in steps))
    (batch,), (skipped,) = load(tmp_path)
    assert batch.metrics[0].steps.tolist() == [7]
    assert skipped.damaged and "3 of 4 rows left out: step is not between -2**62 and 2**62" in skipped.reason


def test_an_evaluation_at_a_step_out_of_range_is_left_out_alone(tmp_path: Path) -> None:
    np.savez(tmp_path / "evaluations.npz", timesteps=np.array([1, 2**62, -(2**63)]), results=np.array([[1.0], [2.0], [3.0]]))
    (batch,), (skipped,) = load(tmp_path, "env='Hopper-v4'")
    assert [metric.values.tolist() for metric in batch.metrics] == [[1.0], [1.0]]
    assert skipped.damaged and skipped.reason.startswith("2 evaluations left out")


def test_our_own_rows_out_of_range_count_as_torn(tmp_path: Path) -> None:
    rows = [{"t": "eval", "step": step, "return": 1.0} for step in (1, 2**62, 10**30)]
    rows.append({"t": "eval", "step": 2, "return": 1.0, "time": float("inf")})
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (returns,), notes = read_rows(tmp_path / "metrics.jsonl")
    assert returns.steps.tolist() == [1] and notes == ["3 rows of metrics.jsonl were torn and left out"]


@pytest.mark.parametrize("name", ["algo", "env"])
def test_an_empty_name_in_the_map_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "t.csv").write_text("a,seed,step,return\nppo,1,0,1\n")
    other = "env" if name == "algo" else "algo"
    with pytest.raises(MapError, match="it is empty"):
        load(tmp_path, f"{name}=' ',{other}=a,seed=seed,step=step,value=return")


@pytest.mark.parametrize("frames", [0, -4, 1_000_001, 2**40])
def test_frames_per_step_out_of_range_is_refused_at_once(tmp_path: Path, frames: int) -> None:
    with pytest.raises(UsageError, match="--frames-per-step"):
        read(tmp_path, ReadOptions(frames_per_step=frames))
    assert list(read(tmp_path, ReadOptions(frames_per_step=1_000_000))) == []


def test_every_field_of_a_run_as_written_is_accepted() -> None:
    full = Run(
        "wandb:e/p", "r", "p", "n", "ppo", "Hopper-v4", "sb3", 1, "finished", "tuning", {"a": {"b": [1]}}, ("t",), "frame", 4,
        ("W",), "x", "c0ffee", "a" * 64, {"f": "b" * 64}, {"cpu": "x"}, 2, 100, "2026-01-01", 3, "2026-01-01", "a/b", ("n",),
    )  # fmt: skip
    check_record({"run": full.to_json(), "metrics": [["r", "eval", None], ["s", "system", "x"]], "blobs": {"f": "b" * 64}})


# --- which files make a run ----------------------------------------------------------------------------------------------


def test_monitor_files_named_by_seed_are_runs_of_their_own(tmp_path: Path) -> None:
    for seed in range(3):
        (tmp_path / f"seed{seed}.monitor.csv").write_text(f"{MONITOR}{seed},10,1\n")
    runs, _ = load(tmp_path)
    assert [(batch.run.seed, batch.metrics[0].values.tolist()) for batch in runs] == [(0, [0.0]), (1, [1.0]), (2, [2.0])]
    assert len({batch.run.run for batch in runs}) == 3
    ((named,), _) = load(tmp_path / "seed1.monitor.csv")
    assert named.run.run == runs[1].run.run


def test_environments_of_one_run_are_merged_with_a_note(tmp_path: Path) -> None:
    for rank in range(2):
        (tmp_path / f"{rank}.monitor.csv").write_text(f"{MONITOR}{rank},10,{rank}\n")
    (tmp_path / "other.monitor.csv").write_text(f"{MONITOR}9,10,1\n")
    merged, other = load(tmp_path)[0]
    assert merged.metrics[0].values.tolist() == [0, 1] and "merged 2 environments' monitor files" in merged.run.notes
    assert other.metrics[0].values.tolist() == [9] and other.run.seed is None


def test_a_named_logger_table_stands_for_itself_alone(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("time/total_timesteps,rollout/ep_rew_mean\n10,1\n20,2\n")
    runs, _ = load(tmp_path / "a.csv", "env='Hopper-v4'")
    assert [batch.run.location for batch in runs] == ["a.csv"]


def test_files_of_other_types_are_counted(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt", "c.log", ".secret.csv", "README.txt", "notes.md"):
        (tmp_path / name).write_text("text")
    assert load(tmp_path) == ([], [Skipped(".", "4 files of types openrlb does not read (.log, .txt, hidden)")])
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.log").write_text("text")
    assert load(tmp_path)[1] == [Skipped(".", "6 files in 3 folders of types openrlb does not read (.log, .txt, hidden)")]


# --- collisions ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["eval_seed", "test_seed", "eval_episode", "n_episode"])
def test_evaluation_episodes_at_one_step_are_no_collision(tmp_path: Path, column: str) -> None:
    rows = "".join(f"ppo,Hopper-v4,1,{step},{episode},{step + episode}\n" for step in range(4) for episode in range(2))
    (tmp_path / "t.csv").write_text(f"algo,env,seed,step,{column},return\n{rows}")
    ((batch,), _) = load(tmp_path)
    assert len(batch.metrics[0].values) == 8 and "config." not in str(batch.run.notes[:1])


@pytest.mark.parametrize(("column", "word"), [("lr", "config.lr=lr"), ("run_id", "id=run_id"), ("uuid", "id=uuid")])
def test_runs_that_a_column_keeps_apart_are_still_not_merged(tmp_path: Path, column: str, word: str) -> None:
    rows = "".join(f"ppo,Hopper-v4,1,{step},{trial},{step}\n" for trial in (1, 2) for step in range(4))
    (tmp_path / "t.csv").write_text(f"a,e,s,step,{column},return\n{rows}")
    with pytest.raises(MapError, match="merge different runs") as error:
        load(tmp_path, "algo=a,env=e,seed=s,step=step,value=return")
    assert word in error.value.fix


# --- bombs ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bomb", ["merge", "aliases", "recursive"])
def test_a_yaml_bomb_is_refused_before_it_grows(bomb: str) -> None:
    lists = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
    keys = "a: &a {" + ",".join(f"k{n}: 1" for n in range(20)) + "}\nb:\n  <<: [" + ",".join(["*a"] * 50) + "]\n"
    text, why = {"merge": (keys, "merge keys"), "aliases": (lists, "more than 100,000"), "recursive": ("&a [*a]", "alias")}[bomb]
    started = time.perf_counter()
    with pytest.raises(SourceError) as error:
        load_yaml("x.yml", text.encode())
    assert why in error.value.why and time.perf_counter() - started < 5
    assert load_yaml("x.yml", b"a: &a [1]\nb: *a\n") == {"a": [1], "b": [1]}


def test_a_parquet_file_of_too_many_values_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("algo", "env", "seed", "step", "return")
    columns = dict(zip(names, (["ppo"] * 50, ["Hopper-v4"] * 50, [1] * 50, list(range(50)), [1.0] * 50), strict=True))
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    monkeypatch.setattr(arrays, "MAX_VALUES", 249)
    runs, (skipped,) = load(tmp_path)
    assert runs == [] and "250 values would be read (50 rows), and 249 are the most" in skipped.reason and skipped.damaged
    monkeypatch.setattr(arrays, "MAX_VALUES", 250)
    assert len(load(tmp_path)[0]) == 1
