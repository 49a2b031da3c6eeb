"""The wandb mirror: the genuine client writes what was logged, and its failures cost nothing but the mirror."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from openrlb.store import Store, read_segment
from openrlb.tracking import track
from openrlb.types import RunBatch


def spooled() -> RunBatch:
    (segment,) = Store().layout.spool.glob("*.parquet")
    (batch,) = read_segment(segment)
    return batch


def test_an_offline_mirror_holds_the_same_rows(cli: Callable[..., Result], tmp_path: Path) -> None:
    """The script runs on its own: the client's service is no guest for the test's process."""
    import os
    import subprocess

    script = """
from openrlb.tracking import track
config = {"lr": 0.1, "env_id": "Hopper-v5"}
with track(algo="ppo", env="Hopper-v5", seed=3, config=config, project="thesis", tags=["a"], wandb="offline") as run:
    for step in range(0, 500, 10):
        run.log(step, {"eval/mean_reward": step / 2})
        run.log(step, loss=float("nan") if step == 20 else 1.0)
"""
    env = {**os.environ, "WANDB_DIR": str(tmp_path), "WANDB_SILENT": "true", "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "openrlb: warning" not in done.stderr
    (log,) = tmp_path.rglob("*.wandb")
    fetched = cli("fetch", log, "--map", "step=global_step")
    assert fetched.exit_code == 0, fetched.stderr
    sql = "SELECT {} FROM points JOIN runs USING (run) WHERE runs.source {} 'openrlb' ORDER BY ALL"
    columns = (
        "metric, kind, points.step, isnan(value), CASE WHEN NOT isnan(value) THEN value END, points.seed, points.env, points.algo"
    )
    ours, mirrored = (Store().query(sql.format(columns, sign)).rows for sign in ("=", "<>"))
    assert len(ours) == 100
    assert [row for row in mirrored if row[0] in ("eval/mean_reward", "loss")] == ours


class FakeRun:
    """A wandb run that fails after some rows."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.logged: list[dict[str, Any]] = []
        self.exit_code: int | None = None

    def define_metric(self, *words: object, **named: object) -> None:
        pass

    def log(self, row: dict[str, Any]) -> None:
        if len(self.logged) == self.rows:
            raise ConnectionError("the service\nwent away")
        self.logged.append(row)

    def finish(self, exit_code: int) -> None:
        self.exit_code = exit_code


def fake(monkeypatch: pytest.MonkeyPatch, rows: int, fails: bool = False) -> FakeRun:
    run = FakeRun(rows)

    def init(**settings: object) -> FakeRun:
        if fails:
            raise RuntimeError("no key")
        return run

    module = types.ModuleType("wandb")
    module.init = init  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", module)
    return run


def ten_rows() -> None:
    with track(algo="ppo", env="Hopper-v5", seed=1, wandb="online", capture=False) as run:
        for step in range(10):
            run.log(step, loss=float(step))


def test_a_mirror_that_fails_is_told_once_and_costs_no_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = fake(monkeypatch, rows=4)
    ten_rows()
    assert [row["global_step"] for row in run.logged] == [0, 1, 2, 3]
    assert capsys.readouterr().err.count("wandb failed (ConnectionError: the service went away)") == 1
    assert spooled().metrics[0].steps.tolist() == list(range(10))
    assert spooled().run.state == "finished"


def test_a_mirror_that_cannot_start_is_told_and_the_run_is_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake(monkeypatch, rows=4, fails=True)
    ten_rows()
    assert "wandb failed (RuntimeError: no key)" in capsys.readouterr().err
    assert len(spooled().metrics[0].steps) == 10


def test_the_mirror_is_told_how_the_run_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    good = fake(monkeypatch, rows=100)
    ten_rows()
    bad = fake(monkeypatch, rows=100)
    with pytest.raises(ValueError, match="no"), track(algo="ppo", env="E-v0", seed=1, wandb="online", capture=False):
        raise ValueError("no")
    assert (good.exit_code, bad.exit_code) == (0, 1)
