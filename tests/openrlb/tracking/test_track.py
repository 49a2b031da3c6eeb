"""``openrlb.track`` in one process: what it takes, refuses and stores."""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import pickle
import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tracked_runs import folders, points, spooled, start, stored

from openrlb.errors import StoreUnwritable, UsageError
from openrlb.sources import metrics as source_metrics
from openrlb.store import Store
from openrlb.tracking import metrics as tracking_metrics
from openrlb.tracking import run as run_module
from openrlb.tracking import track
from openrlb.types import Selection


def test_a_run_is_stored_with_its_rows_record_and_kinds() -> None:
    with start(config={"lr": 1e-3}, impl="mine", tags=("a", "b"), frames_per_step=4, project="thesis") as run:
        for step in range(10):
            run.log(step * 100, {"eval/mean_reward": step / 2}, loss=1.0)
    assert Store().fold().new == 1
    (row,) = Store().runs()
    found, record = row.columns, row.record
    assert found["run"] == run.id
    assert (found["source"], found["project"], found["impl"], found["state"]) == ("openrlb", "thesis", "mine", "finished")
    assert (found["steps"], found["metrics"], found["tags"]) == (900, ["eval/mean_reward", "loss"], ["a", "b"])
    assert (record.config, record.frames_per_step, record.line_count, record.created is None) == ({"lr": 1e-3}, 4, 10, False)
    values = Store().query("SELECT step, value FROM points WHERE metric = 'eval/mean_reward' ORDER BY step").rows
    assert values == [(step * 100, step / 2) for step in range(10)]
    (curve,) = Store().curves(Selection(), [("eval/mean_reward", "eval")])
    assert (np.diff(curve.times_ms) >= 0).all()
    assert folders() == []


class Tensor:
    """What torch and JAX scalars have in common."""

    def __init__(self, value: object) -> None:
        self.value = value

    def item(self) -> object:
        if isinstance(self.value, list):
            raise RuntimeError("a Tensor with 2 elements cannot be converted to Scalar")
        return self.value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3.0),
        (True, 1.0),
        (np.float32(0.1), float(np.float32(0.1))),
        (np.int64(2**53), 2.0**53),
        (np.array([2.5]), 2.5),
        (np.bool_(True), 1.0),
        (Tensor(1.5), 1.5),
        (Decimal("0.5"), 0.5),
        (math.inf, math.inf),
        (-math.inf, -math.inf),
        (10**400, math.inf),
        (-(10**400), -math.inf),
        (np.float64("nan"), math.nan),
    ],
)
def test_scalars_of_any_library_are_numbers_and_nan_and_infinity_are_values(value: object, expected: float) -> None:
    with start() as run:
        run.log(np.int32(7), metric=value)
    ((step, found),) = points("metric")
    assert step == 7
    assert found == expected or (math.isnan(found) and math.isnan(expected))


@pytest.mark.parametrize(
    "value", ["0.5", b"1", None, [1.0], np.array([1.0, 2.0]), Tensor([1, 2]), Tensor("a"), 1j, np.str_("x"), {}, np.array([])]
)
def test_what_is_no_number_is_refused_by_name_and_the_run_goes_on(value: object) -> None:
    with start() as run:
        with pytest.raises(UsageError, match=r"the metric 'my/metric' was not logged"):
            run.log(1, {"my/metric": value}, other=1.0)
        run.log(2, other=2.0)
    assert points("other") == [(2, 2.0)]


@pytest.mark.parametrize("step", [-1, 1.5, "3", None, math.nan, math.inf, 2**63, 1e30, 10**400, np.array([1, 2])])
def test_what_is_no_step_is_refused(step: Any) -> None:
    with start() as run, pytest.raises(UsageError):
        run.log(step, loss=1.0)


def test_whole_numbers_of_any_type_are_steps() -> None:
    with start() as run:
        for step in (0, 1e6, np.int64(2), np.float32(8), 2**63 - 1, Tensor(5)):
            run.log(step, loss=1.0)  # type: ignore[arg-type]
    assert [step for step, _ in points("loss")] == [0, 10**6, 2, 8, 2**63 - 1, 5]


def test_steps_that_repeat_or_go_back_are_kept_and_noted() -> None:
    with start() as run:
        for step, value in ((5, 1.0), (5, 2.0), (3, 3.0), (9, 4.0)):
            run.log(step, loss=value)
    assert stored().notes == ("the step goes back 1 times",)
    assert points("loss") == [(5, 1.0), (5, 2.0), (3, 3.0), (9, 4.0)]


def test_a_metric_can_be_declared_after_its_first_row() -> None:
    with start() as run:
        run.log(1, score=1.0)
        run.define("score", kind="eval", canonical="episodic_return")
        run.log(2, score=2.0)
        run.episode(3, 7.0, 100)
        with pytest.raises(UsageError, match="no kind of metric"):
            run.define("score", kind="best")  # type: ignore[arg-type]
    kinds = [(batch.metric.name, batch.metric.kind, batch.metric.canonical) for batch in spooled()[0].metrics]
    episodes = [(name, "episode", name) for name in ("episodic_return", "episodic_length")]
    assert kinds == [("score", "eval", "episodic_return"), *episodes]


def test_known_names_mean_what_they_mean_when_fetched() -> None:
    for name, (kind, canonical) in tracking_metrics.KNOWN.items():
        assert source_metrics.KNOWN[name] == (kind, canonical)


@dataclasses.dataclass
class Settings:
    lr: float = 0.1
    layers: tuple[int, ...] = (64, 64)


@pytest.mark.parametrize(
    "config",
    [{"lr": 0.1, "layers": [64, 64]}, Settings(), argparse.Namespace(lr=np.float64(0.1), layers=np.array([64, 64]))],
)
def test_any_usual_form_of_configuration_is_kept_as_plain_values(config: object) -> None:
    start(config=config).finish()
    assert stored().config == {"lr": 0.1, "layers": [64, 64]}


def test_hostile_configurations_neither_break_the_store_nor_keep_personal_data() -> None:
    deep: dict[str, Any] = {}
    for _ in range(60):
        deep = {"deeper": deep}
    with pytest.raises(UsageError, match="nested deeper"):
        start(config=deep)
    with pytest.raises(UsageError, match="not a mapping"):
        start(config=[1, 2])
    home = Path.home()
    config = {
        "nan": math.nan,
        "large": 10**400,
        "bytes": b"\xff",
        "broken": "a\udc80b",
        "key\udc80": 1,
        "logs": f"{home}/logs",
        "other": "/home/ann/x",
        "mail": "ann@example.org",
        "wandb_api_key": "0123",
        "owner": "by ann@example.org",
        "set": {1},
        3: Path("a/b"),
    }
    start(config=config).finish()
    kept = stored().config
    assert Store().fold().new == 1
    assert kept["logs"] == "~/logs"
    assert (kept["other"], kept["owner"], kept["nan"], kept["set"], kept["3"]) == ("~/x", "by [e-mail]", "nan", [1], "a/b")
    assert not {"mail", "wandb_api_key"} & kept.keys()
    assert "ann" not in str(kept)


CONFIG_OF_OBJECTS = """
from openrlb.tracking.values import settings
print(settings({"schedule": lambda x: x, "names": {"a", "b", "c", "d"}, "act": object}))
"""


def test_a_configuration_is_the_same_in_every_execution() -> None:
    """Else each execution would be a variant of its own: objects lie elsewhere in memory, and sets are in another order."""
    words = [sys.executable, "-c", CONFIG_OF_OBJECTS]
    said = {
        subprocess.run(words, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True).stdout
        for seed in ("1", "2", "3")
    }
    assert said == {"{'schedule': '<function <lambda>>', 'names': ['a', 'b', 'c', 'd'], 'act': \"<class 'object'>\"}\n"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"algo": ""},
        {"env": None},
        {"env": "a\udc80"},
        {"algo": "a\x00"},
        {"seed": "1"},
        {"seed": 2**70},
        {"seed": True},
        {"step_unit": "steps"},
        {"frames_per_step": 0},
        {"wandb": "yes"},
        {"tags": [3]},
        {"name": "x" * 501},
    ],
)
def test_arguments_that_make_no_sense_are_refused_before_the_training(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        start(**wrong)
    assert folders() == []


def test_no_seed_and_a_numpy_seed_are_seeds() -> None:
    start(seed=None).finish()
    start(seed=np.int64(3)).finish()
    assert [(batch.run.seed, batch.run.name) for batch in spooled()] == [(None, "ppo-Hopper-v5"), (3, "ppo-Hopper-v5-3")]


def test_a_store_that_cannot_be_written_is_refused_before_the_training(tmp_path: Path) -> None:
    blocked = tmp_path / "store"
    blocked.write_text("a file, not a folder")
    with pytest.raises(StoreUnwritable):
        start(store=blocked)


def test_a_run_goes_to_the_store_that_was_named(tmp_path: Path) -> None:
    start(store=tmp_path / "other").finish()
    assert not Store().exists
    other = Store(tmp_path / "other")
    assert other.fold().new == 1


def test_equal_runs_are_all_kept_and_share_a_key() -> None:
    ids = []
    for _ in range(3):
        with start(config={"lr": 0.1}) as run:
            run.log(1, loss=1.0)
        ids.append(run.id)
    start(config={"lr": 0.2}).finish()
    assert Store().fold().new == 4
    assert len({identity.split("-")[0] for identity in ids}) == 1
    assert {row.columns["run"] for row in Store().runs()} > set(ids)


@pytest.mark.parametrize(
    ("leave", "state", "note"),
    [
        (ValueError("of ann@example.org"), "failed", "ended by ValueError"),
        (KeyboardInterrupt(), "killed", "ended by KeyboardInterrupt"),
        (SystemExit(0), "finished", None),
        (SystemExit(), "finished", None),
        (SystemExit(3), "failed", "ended by SystemExit (3)"),
        (SystemExit("a message"), "failed", "ended by SystemExit (1)"),
    ],
)
def test_the_way_of_leaving_the_block_tells_the_state(leave: BaseException, state: str, note: str | None) -> None:
    with pytest.raises(type(leave)), start() as run:
        run.log(1, loss=1.0)
        raise leave
    assert (stored().state, stored().notes) == (state, (note,) if note else ())
    assert points("loss") == [(1, 1.0)]


def test_finish_says_how_it_ended_only_once_and_nothing_follows_it() -> None:
    run = start()
    run.log(1, loss=math.nan)
    with pytest.raises(UsageError, match="no way to end"):
        run.finish("done")  # type: ignore[arg-type]
    run.finish("diverged", "the loss is NaN")
    run.finish("finished")
    with pytest.raises(UsageError, match="has ended"):
        run.log(2, loss=1.0)
    assert (stored().state, stored().notes) == ("diverged", ("the loss is NaN",))


def test_rows_of_many_threads_are_all_kept() -> None:
    with start() as run:

        def work(number: int) -> None:
            for step in range(300):
                run.log(step, {f"thread{number}": float(step), "shared": 1.0})

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    counts = {batch.metric.name: len(batch.values) for batch in spooled()[0].metrics}
    assert counts == {"shared": 1200, **{f"thread{number}": 300 for number in range(4)}}


def test_two_runs_in_one_process_do_not_mix() -> None:
    with start(seed=1) as one, start(seed=2) as two:
        for step in range(5):
            one.log(step, loss=1.0)
            two.log(step, loss=2.0)
    found = {batch.run.seed: batch.metrics[0].values.tolist() for batch in spooled()}
    assert found == {1: [1.0] * 5, 2: [2.0] * 5}


def test_names_made_anew_in_each_row_do_not_fill_the_store(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(run_module, "MAX_NAMES", 5)
    with start() as run:
        for step in range(20):
            run.log(step, {f"loss_{step}": 1.0, "loss": 2.0})
    assert (len(spooled()[0].metrics), len(points("loss"))) == (5, 20)
    assert stored().notes == ("16 values of metrics beyond the first 5 names were left out",)
    assert capsys.readouterr().err.count("more than 5 different names") == 1


@pytest.mark.parametrize("name", ["", "x" * 201, "a\nb", "a\udc80"])
def test_a_name_that_cannot_be_kept_is_refused(name: str) -> None:
    with start() as run, pytest.raises(UsageError, match="cannot name a metric"):
        run.log(1, {name: 1.0})


def test_values_that_are_no_mapping_or_named_twice_are_refused() -> None:
    with start() as run:
        with pytest.raises(UsageError, match="not a mapping"):
            run.log(1, 3.0)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="'loss' was given twice"):
            run.log(1, {"loss": 1.0}, loss=2.0)


def test_a_run_cannot_be_sent_to_another_process() -> None:
    with start() as run, pytest.raises(UsageError, match="another process"):
        pickle.dumps(run)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process")
def test_a_forked_child_can_neither_log_nor_end_its_parents_run() -> None:
    with start() as run:
        run.log(1, loss=1.0)
        child = os.fork()
        if child == 0:
            refused = 0
            for act in (lambda: run.log(2, loss=2.0), run.finish):
                try:
                    act()
                except UsageError:
                    refused += 1
            run._at_exit()
            os._exit(refused)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
        assert (folders()[0] / "end.json").read_bytes().strip() == b""
        run.log(3, loss=3.0)
    assert stored().state == "finished"
    assert points("loss") == [(1, 1.0), (3, 3.0)]


def test_importing_tracking_loads_nothing_heavy() -> None:
    script = "import sys, openrlb.tracking; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"numpy", "pyarrow", "duckdb", "pandas", "polars", "wandb", "psutil"} & set(done.stdout.split())


def test_a_run_that_is_stored_says_where_unless_it_shall_be_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with track(algo="mine", env="Hopper-v5", seed=1, capture=False) as run:
        run.episode(1, episodic_return=1.0)
    said = capsys.readouterr().err
    assert (
        said == f"openrlb: mine on Hopper-v5, seed 1 is stored (finished, 1 row, run {run.id}): openrlb list --source tracked\n"
    )
    monkeypatch.setenv("OPENRLB_QUIET", "1")
    track(algo="mine", env="Hopper-v5", seed=2, capture=False).finish()
    assert capsys.readouterr().err == ""
