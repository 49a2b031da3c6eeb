"""CSV, JSON, Parquet and NumPy tables: grouping, guessing, damage."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrlb.errors import MapError
from openrlb.sources import Guess, ReadOptions, grouping, guessed_map, read
from openrlb.sources.collisions import distinct_rows
from openrlb.sources.table import numbers
from openrlb.types import MetricBatch, RunBatch, Skipped


def load(path: Path, *maps: str, **options: object) -> tuple[list[RunBatch], list[Skipped], list[Guess]]:
    records = list(read(path, ReadOptions(map=maps, **options)))  # type: ignore[arg-type]
    runs = [record for record in records if isinstance(record, RunBatch)]
    assert len({batch.run.run for batch in runs}) == len(runs)
    return runs, [r for r in records if isinstance(r, Skipped)], [r for r in records if isinstance(r, Guess)]


def only(batch: RunBatch) -> MetricBatch:
    (metric,) = batch.metrics
    return metric


def refusal(path: Path, *maps: str, **options: object) -> MapError:
    with pytest.raises(MapError) as caught:
        load(path, *maps, **options)
    return caught.value


# --- published results -------------------------------------------------------------------------------------------------


def test_td3_curves_give_table_1(shared_data: Path) -> None:
    runs, skipped, _ = load(shared_data / "td3", "algo='TD3',path:TD3_{env}_{seed},kind=eval", step_every=5000)
    assert len(runs) == 70 and skipped == []
    by_env: dict[str, list[np.ndarray]] = defaultdict(list)
    for batch in runs:
        metric = only(batch)
        assert metric.steps.tolist() == list(range(0, 1_000_001, 5000))
        assert (metric.metric.kind, metric.metric.canonical, batch.run.step_unit) == ("eval", "episodic_return", "unknown")
        assert any("--step-every 5000" in note for note in batch.run.notes)
        by_env[batch.run.env].append(metric.values)
    assert sorted({batch.run.seed for batch in runs}) == list(range(10))  # type: ignore[type-var]
    assert "Walker2d-v1" in by_env and len(by_env) == 7
    for env, mean, std in [("Hopper-v1", 3564.07, 114.74), ("Walker2d-v1", 4682.82, 539.64), ("Ant-v1", 4372.44, 1000.33)]:
        curves = np.stack(by_env[env])
        best = curves.mean(0).argmax()
        assert round(float(curves.mean(0)[best]), 2) == mean
        assert abs(float(curves[:, best].std()) - std) < 0.006


def test_atari_scores_from_json(shared_data: Path) -> None:
    folder = shared_data / "atari100k_rliable"
    runs, skipped, _ = load(folder / "atari_100k_SPR.json", "algo='SPR',env=key,seed=index,value=value")
    document = json.loads((folder / "atari_100k_SPR.json").read_text())
    assert skipped == [] and {(b.run.env, b.run.seed): only(b).values.tolist() for b in runs} == {
        (game, seed): [score] for game, scores in document.items() for seed, score in enumerate(scores)
    }
    assert {batch.run.step_unit for batch in runs} == {"none"}
    reference = json.loads((folder / "atari_reference_scores.json").read_text())
    matrix = np.array(
        [[(s - reference["random"][g]) / (reference["human"][g] - reference["random"][g]) for s in document[g]] for g in document]
    )
    assert abs(float(np.median(matrix.mean(1))) - 0.39562938291779215) < 1e-12

    runs, skipped, _ = load(folder / "atari_100k_CURL_10_evals.json", "algo='CURL',env=game,seed=seed,value=HNS")
    records = json.loads((folder / "atari_100k_CURL_10_evals.json").read_text())
    assert skipped == [] and len(runs) == len(records)
    assert [(b.run.env, b.run.seed, only(b).values[0]) for b in runs] == [(r["game"], int(r["seed"]), r["HNS"]) for r in records]
    assert all("Max HNS" in " ".join(batch.run.notes) for batch in runs)


def test_simbav2_needs_no_map(shared_data: Path) -> None:
    runs, skipped, (guess,) = load(shared_data / "simbav2_gym")
    assert guess == Guess("simbav2_gym.parquet", "algo=algo,env=env,seed=seed,step=step,value=ret")
    frame = pq.read_table(shared_data / "simbav2_gym" / "simbav2_gym.parquet").to_pandas()
    expected = dict(list(frame.groupby(["algo", "env", "seed"], observed=True)))
    assert skipped == [] and len(runs) == len(expected)
    for batch in runs:
        part = expected[batch.run.algo, batch.run.env, batch.run.seed]
        np.testing.assert_array_equal(only(batch).steps, part["step"])
        np.testing.assert_array_equal(only(batch).values, part["ret"].astype(float))
    pasted, _, again = load(shared_data / "simbav2_gym", guess.map)
    assert [batch.run for batch in pasted] == [batch.run for batch in runs] and again == []


# --- grouping ----------------------------------------------------------------------------------------------------------

ROWS = (
    "algo,env,seed,step,return\nppo,Hopper-v4,1,0,1.5\nppo,Hopper-v4,1,100,2.5\nppo,Hopper-v4,2,0,3\n"
    "sac,Ant-v4,1,0,\nsac,Ant-v4,1,5,nan\n"
)


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.tsv", "t.json", "t.json.gz", "t.jsonl", "t.ndjson.gz", "t.parquet"])
def test_every_format_gives_the_same_runs(tmp_path: Path, name: str) -> None:
    records = [dict(zip(ROWS.splitlines()[0].split(","), line.split(","), strict=True)) for line in ROWS.splitlines()[1:]]
    typed = [
        {k: None if not v else int(v) if k in ("seed", "step") else float(v) if k == "return" else v for k, v in row.items()}
        for row in records
    ]
    text = ROWS.replace(",", "\t") if "tsv" in name else ROWS
    if "json" in name:
        text = json.dumps(typed) if ".json." in f"{name}." and "jsonl" not in name else "\n".join(map(json.dumps, typed))
    if name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist(typed), tmp_path / name)
    else:
        (tmp_path / name).write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    runs, skipped, (guess,) = load(tmp_path)
    assert guess.map == "algo=algo,env=env,seed=seed,step=step,value=return" and skipped == []
    assert [(b.run.algo, b.run.env, b.run.seed, only(b).steps.tolist()) for b in runs] == [
        ("ppo", "Hopper-v4", 1, [0, 100]),
        ("ppo", "Hopper-v4", 2, [0]),
        ("sac", "Ant-v4", 1, [5]),
    ]
    assert only(runs[0]).values.tolist() == [1.5, 2.5] and np.isnan(only(runs[2]).values).all()
    assert guessed_map(tmp_path / name) == guess.map


cells = st.tuples(
    st.sampled_from(["ppo", " sac ", "Ünï", "a,b", 'q"q']), st.sampled_from(["Hopper-v4", "..", "ALE/Pong-v5"]),
    st.integers(0, 3), st.integers(0, 2**53), st.floats(allow_nan=True, allow_infinity=True),
)  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(st.lists(cells, min_size=1, max_size=30))
def test_no_row_is_lost_or_doubled(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, int, int, float]]
) -> None:
    import csv

    path = tmp_path_factory.mktemp("table") / "t.csv"
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["algo", "env", "seed", "step", "return"])
        writer.writerows(rows)
    expected: dict[tuple[str, str, int], list[tuple[int, float]]] = defaultdict(list)
    for algo, env, seed, step, value in rows:
        expected[algo.strip(), env, seed].append((step, value))
    runs, skipped, _ = load(path)
    found = {(b.run.algo, b.run.env, b.run.seed): (only(b).steps, only(b).values) for b in runs}
    assert skipped == [] and found.keys() == expected.keys()
    for key, values in expected.items():
        assert found[key][0].tolist() == [step for step, _ in values]
        np.testing.assert_array_equal(found[key][1], [value for _, value in values])


def test_long_metric_names_kinds_time_and_config(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "task,agent,lr,what,sort,secs,frames,x\n"
        "Pong,dqn,0.1,eval/mean_reward,eval,1700000000.5,4,1\n"
        "Pong,dqn,0.1,train/loss,other,1700000001.5,8,2\n"
        "Pong,dqn,0.2,eval/mean_reward,eval,1700000002.5,4,3\n"
    )
    mapping = "metric=what,kind=sort,value=x,time=secs,config.lr=lr,tag='a',tag=agent"
    runs, _, (guess,) = load(tmp_path, mapping, frames_per_step=4)
    assert guess.map.startswith("algo=agent,env=task,step=frames,time=secs,")
    assert [batch.run.config for batch in runs] == [{"lr": "0.1"}, {"lr": "0.2"}]
    first = runs[0]
    assert [(m.metric.name, m.metric.kind, m.metric.canonical) for m in first.metrics] == [
        ("eval/mean_reward", "eval", "episodic_return"),
        ("train/loss", "other", None),
    ]
    assert [m.times_ms.tolist() for m in first.metrics if m.times_ms is not None] == [[0], [1000]]
    assert (first.run.step_unit, first.run.frames_per_step, first.run.tags) == ("frame", 4, ("a", "dqn"))


def test_several_value_columns(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("algo,env,step,score,ep_len,actor_loss\nppo,Hopper,1,10,5,0.1\nppo,Hopper,2,20,,0.2\n")
    ((batch,), _, _) = load(tmp_path, "value=score|ep_len|actor_loss,kind=episode")
    assert [(m.metric.name, m.metric.kind, m.metric.canonical, len(m.values)) for m in batch.metrics] == [
        ("score", "episode", "episodic_return", 2),
        ("ep_len", "other", None, 1),
        ("actor_loss", "other", None, 2),
    ]
    ((batch,), _, _) = load(tmp_path, "value=score,metric='success_rate'")
    assert only(batch).metric.canonical is None and only(batch).metric.name == "success_rate"


def test_nested_json_and_struct_columns(tmp_path: Path) -> None:
    rows = [
        {"config": {"agent": "sac", "env": {"name": "Ant-v4"}, "seed": s}, "eval/return": 1.0 * s, "global_step": 10}
        for s in (1, 2)
    ]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "b.parquet")
    mapping = "algo=config.agent,env=config.env.name,seed=config.seed,step=global_step,value=eval/return"
    runs, skipped, guesses = load(tmp_path, mapping)
    assert [(b.run.algo, b.run.env, b.run.seed, only(b).values.tolist()) for b in runs] == [
        ("sac", "Ant-v4", 1, [1.0]),
        ("sac", "Ant-v4", 2, [2.0]),
    ] * 2
    assert skipped == [] and guesses == [] and {only(b).metric.kind for b in runs} == {"eval"}


@pytest.mark.parametrize(
    ("document", "mapping", "expected"),
    [
        ({"Pong": [1, 2], "Qbert": [3, 4]}, "algo='a',env=key,seed=index,value=value",
         {("Pong", 0): 1, ("Pong", 1): 2, ("Qbert", 0): 3, ("Qbert", 1): 4}),
        ({"env": ["Pong", "Qbert"], "score": [1, 2]}, "algo='a'", {("Pong", None): 1, ("Qbert", None): 2}),
        ({"Pong": 1.5, "Qbert": 2.5}, "algo='a',env=key", {("Pong", None): 1.5, ("Qbert", None): 2.5}),
        ({"Pong": {"0": 1, "5": 2}}, "algo='a',env=key,seed=key2", {("Pong", 0): 1, ("Pong", 5): 2}),
        ({"run1": {"env": "Pong", "score": 4}, "run2": {"env": "Pong", "score": 5, "x": [1]}}, "algo='a',id=key",
         {("Pong", None): 5}),
        ({"a": {"Pong": [7, 8]}}, "algo=key,env=key2,seed=index", {("Pong", 0): 7, ("Pong", 1): 8}),
    ],
)  # fmt: skip
def test_json_maps(tmp_path: Path, document: object, mapping: str, expected: dict[tuple[str, int | None], float]) -> None:
    (tmp_path / "t.json").write_text(json.dumps(document))
    runs, skipped, _ = load(tmp_path / "t.json", mapping)
    assert skipped == []
    assert {(b.run.env, b.run.seed): only(b).values[0] for b in runs} == expected


def test_repeated_steps_are_noted(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("algo,env,lr,step,return\nppo,Ant,1,0,1\nppo,Ant,2,0,2\n")
    ((batch,), _, _) = load(tmp_path)
    assert any("tells runs apart" in note for note in batch.run.notes) and any("lr" in note for note in batch.run.notes)
    runs, _, _ = load(tmp_path, "config.lr=lr")
    assert [batch.run.config["lr"] for batch in runs] == ["1", "2"]


def test_ids_do_not_depend_on_the_root(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "t.csv").write_text(ROWS)
    ids = [[batch.run.run for batch in load(place)[0]] for place in (tmp_path, tmp_path / "in", tmp_path / "in" / "t.csv")]
    assert ids[0] == ids[1] == ids[2]
    assert load(tmp_path)[0][0].run.project == tmp_path.name
    assert load(tmp_path, project="mine", already_normalized="human")[0][0].run.normalized == "human"


# --- what does not fit ---------------------------------------------------------------------------------------------------


def test_an_absent_column_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("agent,environment,retrun\nppo,Ant,1\n")
    error = refusal(tmp_path, "value=return")
    assert "'return'" in error.what and "agent, environment, retrun" in error.why and "did you mean retrun?" in error.fix


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ("value=word", "'two'"),
        ("seed=word", "'two'"),
        ("step=half", "whole numbers"),
        ("kind=word", "a kind is one of"),
        ("seed='x'", "whole number"),
        ("path:{env}_{seed}", "does not fit"),
    ],
)
def test_a_wrong_column_says_which_values(tmp_path: Path, mapping: str, says: str) -> None:
    (tmp_path / "t.csv").write_text("algo,env,word,half,return\nppo,Ant,two,0.5,1\nppo,Ant,three,1.5,2\n")
    error = refusal(tmp_path / "t.csv", mapping)
    assert says in f"{error.what} {error.why}"


def test_a_map_may_fit_only_some_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("algo,env,score\nppo,Ant,1\n")
    (tmp_path / "b.csv").write_text("x,y\n1,2\n")
    runs, (skipped,), _ = load(tmp_path, "value=score")
    assert len(runs) == 1 and skipped.location == "b.csv" and "no column 'score'" in skipped.reason and not skipped.damaged


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x,y\n1,2\n", "--map \"algo='NAME',env=COLUMN,value=COLUMN\""),
        ("0,1.5,3\n1,2.5,4\n", "no names"),
        ("algo,env\nppo,Ant\n", "value cannot be guessed"),
        ("", "empty"),
        ("\n\n", "empty"),
        ("algo,env,return\n" + "ppo\n" * 3, "3 of 3 rows left out"),
    ],
)
def test_what_cannot_be_guessed_is_named(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    runs, skipped, _ = load(tmp_path)
    assert runs == [] and says in " ".join(item.reason for item in skipped)
    assert guessed_map(tmp_path / "t.csv") is None or "ppo" in text


def test_garbage_rows_are_counted_and_the_rest_is_kept(tmp_path: Path) -> None:
    good = "".join(f"ppo,Hopper-v4,1,{step},{step / 2}\n" for step in range(50))
    garbage = "ppo,Hopper-v4\nppo,Hopper-v4,1,50,x,y,z\nppo,Hopper-v4,1,oops,1\nppo,Hopper-v4,1,51,bad\n,Hopper-v4,1,5,1\n"
    (tmp_path / "t.csv").write_text("algo,env,seed,step,return\n" + good + garbage)
    ((batch,), (skipped,), _) = load(tmp_path)
    assert only(batch).steps.tolist() == list(range(50)) and skipped.damaged
    for reason in ("2 of 55 rows", "step is no number", "value is no number", "without algo"):
        assert reason in skipped.reason


def test_bytes_that_are_no_text_cost_only_their_rows(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(ROWS.encode() + b"ppo,Hop\xff\xfeper,1,5,1\n" + b"\x00\x01\x02\n")
    runs, (skipped,), _ = load(tmp_path)
    assert len(runs) == 3 and skipped.damaged and "2 of 7 rows" in skipped.reason


def test_a_cut_archive_keeps_its_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = [f"ppo,Hopper-v4,1,{step},{rng.normal()!r}\n" for step in range(20_000)]
    whole = gzip.compress(("algo,env,seed,step,return\n" + "".join(lines)).encode())
    (tmp_path / "t.csv.gz").write_bytes(whole[: len(whole) // 2])
    ((batch,), (skipped,), _) = load(tmp_path)
    kept = len(only(batch).steps)
    assert 8_000 < kept < 12_000 and only(batch).steps.tolist() == list(range(kept))
    assert skipped.damaged and "cut short" in skipped.reason

    records = "".join(json.dumps({"algo": "ppo", "env": "Ant", "step": n, "return": 1.0}) + "\n" for n in range(10))
    (tmp_path / "t.csv.gz").unlink()
    (tmp_path / "t.jsonl").write_text(records[:-20])
    ((batch,), (skipped,), _) = load(tmp_path)
    assert only(batch).steps.tolist() == list(range(9)) and skipped.damaged and "1 of 10 rows" in skipped.reason


@pytest.mark.parametrize("name", ["t.parquet", "t.npy", "t.npz", "t.json", "t.json.gz", "t.csv", "t.bin", "t"])
@pytest.mark.parametrize(
    "content", [b"\x00\x01\x02" * 99, b"PAR1 and then nothing", b"{", b"\x93NUMPY\x01\x00", b"PK\x03\x04zzz", b"\x1f\x8bxx"]
)
def test_nothing_crashes_on_a_file_that_is_not_what_it_says(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    runs, skipped, _ = load(tmp_path)
    assert runs == [] and len(skipped) == 1
    assert load(tmp_path / name)[0] == [] and guessed_map(tmp_path / name) is None


@settings(deadline=None, max_examples=60)
@given(
    st.binary(max_size=200), st.sampled_from(["csv", "json", "jsonl", "tsv", "npy", "npz", "parquet", "monitor.csv", "csv.gz"])
)
def test_any_bytes_are_survived(tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str) -> None:
    folder = tmp_path_factory.mktemp("any")
    prefix = (
        b'#{"t_start": 1, "env_id": "A"}\nr,l,t\n'
        if suffix.startswith("monitor")
        else b"algo,env,return\n"
        if "csv" in suffix
        else b""
    )
    (folder / f"x.{suffix}").write_bytes(prefix + content)
    for record in read(folder, ReadOptions()):
        assert isinstance(record, RunBatch | Skipped | Guess)


def test_a_cut_parquet_file_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"algo": ["a"], "env": ["b"], "return": [1.0]}), tmp_path / "t.parquet")
    data = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "t.parquet").write_bytes(data[: len(data) // 2])
    runs, (skipped,), _ = load(tmp_path)
    assert runs == [] and skipped.damaged


def test_a_million_columns_are_refused(tmp_path: Path) -> None:
    (tmp_path / "wide.csv").write_text(",".join(map(str, range(1_000_000))) + "\n")
    (tmp_path / "wide.json").write_text(json.dumps([{f"c{n}": 1 for n in range(20_000)}]))
    pq.write_table(pa.table({f"c{n}": [1] for n in range(10_001)}), tmp_path / "wide.parquet")
    runs, skipped, _ = load(tmp_path)
    assert runs == [] and len(skipped) == 3
    assert all("columns" in item.reason and len(item.reason) < 400 for item in skipped)


def test_deep_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000 + "]" * 100_000)
    (tmp_path / "deeper.json").write_text('{"a":' * 40 + "1" + "}" * 40)
    runs, skipped, _ = load(tmp_path)
    assert runs == [] and len(skipped) == 2 and all(item.damaged for item in skipped)


# --- arrays --------------------------------------------------------------------------------------------------------------


def test_named_axes(tmp_path: Path) -> None:
    array = np.arange(12.0).reshape(3, 4)
    np.save(tmp_path / "Ant_x.npy", array)
    runs, _, _ = load(tmp_path, "algo='mine',path:{env}_{_}", axes=("seed", "step"), step_every=10, step_unit="frame")
    assert [batch.run.seed for batch in runs] == [0, 1, 2] and {batch.run.step_unit for batch in runs} == {"frame"}
    for number, batch in enumerate(runs):
        assert only(batch).steps.tolist() == [0, 10, 20, 30] and only(batch).values.tolist() == array[number].tolist()
    assert "3 x 4" in refusal(tmp_path, "algo='mine',path:{env}_{_}").why
    assert "3 x 4" in refusal(tmp_path, "algo='mine',path:{env}_{_}", axes=("step",)).why
    assert "share a name" in refusal(tmp_path, "algo='mine',path:{env}_{_}", axes=("step", "step")).why
    assert "above 0" in refusal(tmp_path, "algo='mine',path:{env}_{_}", axes=("seed", "step"), step_every=0).fix


def test_npz_members(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", returns=np.ones((2, 3)), lengths=np.zeros((2, 3)))
    error = refusal(tmp_path, "algo='m',env='Ant'", axes=("seed", "step"))
    assert "returns, lengths" in error.why and "value=NAME" in error.fix
    runs, _, _ = load(tmp_path, "algo='m',env='Ant',value=returns", axes=("seed", "step"))
    assert len(runs) == 2 and only(runs[0]).metric.name == "returns" and only(runs[0]).values.tolist() == [1, 1, 1]
    assert "no column 'retrns'" in refusal(tmp_path, "algo='m',env='Ant',value=retrns", axes=("seed", "step")).what
    (tmp_path / "a.npz").unlink()
    np.savez(tmp_path / "b.npz", env=np.array(["Ant", "Ant"]), steps=np.array([5, 6]), score=np.array([1.0, 2.0]))
    ((batch,), _, _) = load(tmp_path, "algo='m'")
    assert only(batch).steps.tolist() == [5, 6] and only(batch).values.tolist() == [1.0, 2.0]


def test_arrays_that_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "object.npy", np.array([{}], dtype=object))
    np.save(tmp_path / "complex.npy", np.array([1j]))
    np.save(tmp_path / "cut.npy", np.arange(1000.0))
    data = (tmp_path / "cut.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(data[:4000])
    lying = io.BytesIO()
    np.lib.format.write_array_header_1_0(lying, {"descr": "<f8", "fortran_order": False, "shape": (2**33,)})
    (tmp_path / "lying.npy").write_bytes(lying.getvalue())
    with zipfile.ZipFile(tmp_path / "lying.npz", "w") as archive:
        archive.writestr("a.npy", lying.getvalue())
    runs, skipped, _ = load(tmp_path)
    reasons = {item.location: item.reason for item in skipped}
    assert runs == [] and set(reasons) == {"object.npy", "complex.npy", "cut.npy", "lying.npy", "lying.npz"}
    assert "pickles are never opened" in reasons["object.npy"] and "complex" in reasons["complex.npy"]
    assert "8,000 bytes" in reasons["cut.npy"] and "larger than" in reasons["lying.npy"]


def test_our_runners_metrics_are_a_table(tmp_path: Path) -> None:
    rows = [
        {"t": "episode", "step": 10, "return": 1.5, "length": 10},
        {"t": "scalar", "step": 16, "k": "loss", "v": 0.5},
        {"t": "episode", "step": 20, "return": 2.5, "length": 10},
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    ((batch,), skipped, _) = load(tmp_path, "algo='ppo',env='Hopper-v5',seed='1',kind=episode")
    assert only(batch).steps.tolist() == [10, 20] and only(batch).metric.kind == "episode" and skipped == []


def test_nothing_heavy_is_imported_before_reading() -> None:
    import subprocess
    import sys

    code = "import sys, openrlb.sources; print([m for m in ('numpy', 'pyarrow', 'yaml', 'pandas') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@given(st.integers(1, 3).flatmap(lambda width: st.lists(st.tuples(*[st.integers(-2, 2)] * width))))
def test_rows_at_one_place_are_counted_as_numpy_counts_them(rows: list[tuple[int, ...]]) -> None:
    for given_rows in (rows, sorted(rows)):
        keys = np.array(given_rows, np.int64).reshape(len(given_rows), -1).T if given_rows else np.zeros((1, 0), np.int64)
        assert distinct_rows(list(keys)) == np.unique(keys, axis=1).shape[1]


def test_a_text_column_in_many_pieces_is_read_as_in_one() -> None:
    cells = ["1", " 2.5 ", "NA", None, "x", "nan", "-inf", "1e400", "", "7"] * 3
    whole = numbers(pa.array(cells), "v", "value")
    pieces = numbers(pa.chunked_array([cells[:4], [], cells[4:11], cells[11:]], pa.string()), "v", "value")
    for name in ("values", "there", "bad"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(pieces, name))
    assert whole.there.sum() == 18 and whole.bad.sum() == 3


def test_many_columns_that_tell_runs_apart_are_numbered_anew_before_they_overflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["algo,env,seed,lr,step,return"]
    lines += [
        f"a{a},e{e},{s},0.{lr},{step},1" for step in (1, 2) for a in (1, 2) for e in (1, 2, 3) for s in (0, 1) for lr in (1, 2)
    ]
    (tmp_path / "all.csv").write_text("\n".join(lines) + "\n")
    wanted = "algo=algo,env=env,seed=seed,step=step,value=return,config.lr=lr"
    usual, _, _ = load(tmp_path / "all.csv", wanted)
    monkeypatch.setattr(grouping, "MAX_CODE", 8)
    again, _, _ = load(tmp_path / "all.csv", wanted)
    assert len(usual) == 24 and [one.run for one in usual] == [one.run for one in again]
    assert [only(one).steps.tolist() for one in again] == [[1, 2]] * 24
