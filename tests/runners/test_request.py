"""Requests, pinned runners and run keys: what makes a run the run it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_runner import ThisPython, fake_runner, item, request, write_runner

from openrlb_runners.request import pin


def test_a_spec_holds_everything_but_the_role() -> None:
    spec = replace(request(seed=3, rate=0.1), role="tuning").to_spec()
    assert spec["format"] == 1 and spec["seed"] == 3 and spec["hyperparameters"] == {"rate": 0.1}
    assert "role" not in spec


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2}, {"steps": 60}, {"env": "Line-v1"}, {"algo": "jump"}, {"hyperparameters": {"rate": 0.6}},
        {"env_kwargs": {"width": 2}}, {"threads": 2}, {"device": "cuda"}, {"role": "test"},
        {"evaluation": {"every": 10, "episodes": 1, "deterministic": True}},
    ],
)  # fmt: skip
def test_whatever_changes_training_gives_another_run_id(tmp_path: Path, change: dict[str, Any]) -> None:
    runner = fake_runner(tmp_path / "fake")
    assert item(runner, replace(request(), **change)).key.digest != item(runner, request()).key.digest


def test_another_source_or_lock_gives_another_run_id(tmp_path: Path) -> None:
    runner = fake_runner(tmp_path / "fake")
    edited = replace(runner, sources={"run.py": runner.sources["run.py"] + b"\n"})
    relocked = replace(runner, lock="1" * 64)
    assert len({item(one, request()).key.digest for one in (runner, edited, relocked)}) == 3


def test_a_default_that_is_asked_for_is_the_same_run(tmp_path: Path) -> None:
    runner = fake_runner(tmp_path / "fake")
    assert item(runner, request(rate=0.5)).key == item(runner, request()).key


def test_an_edit_after_pinning_changes_nothing(tmp_path: Path) -> None:
    spec = write_runner(tmp_path / "fake")
    runner = pin(spec, ThisPython())  # type: ignore[arg-type]
    before = runner.source
    (tmp_path / "fake" / "run.py").write_text("raise SystemExit(1)")
    assert runner.source == before and b"argparse" in runner.sources["run.py"]
    assert pin(spec, ThisPython()).source != before  # type: ignore[arg-type]
