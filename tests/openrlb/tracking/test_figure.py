"""A script of one's own reaches a figure beside a fetched baseline in one command."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from typer.testing import Result

SCRIPT = """
import os, signal, sys
import openrlb

seed, end = int(sys.argv[1]), sys.argv[2]
with openrlb.track(algo="mine", env="Hopper-v5", seed=seed, config={"lr": 0.1}) as run:
    for step in range(500, 110_001, 500):
        run.episode(step, 100.0 + seed, length=100)
        if end == "killed" and step == 50_000:
            os.kill(os.getpid(), signal.SIGKILL)
"""

PAGE = Path(__file__).resolve().parents[3] / "docs" / "fetching.md"


def test_the_documented_script_stands_beside_the_sample_as_it_is_printed(tmp_path: Path, cli: Callable[..., Result]) -> None:
    [printed] = re.findall(r"```python\n(import openrlb\n[^`]*openrlb\.track\([^`]*)```", PAGE.read_text())
    script = tmp_path / "train.py"
    script.write_text(printed)
    subprocess.run([sys.executable, script], check=True, timeout=60)
    assert cli("fetch", "sample").exit_code == 0
    done = cli("plot", "--env", "Hopper", "--json", "-o", "figure.html")
    assert done.exit_code == 0, done.stderr
    assert {group["label"] for group in json.loads(done.stdout)["groups"]} == {"a2c", "mine", "ppo", "trpo"}


def test_a_tracked_script_stands_beside_a_fetched_baseline_in_one_command(tmp_path: Path, cli: Callable[..., Result]) -> None:
    assert cli("fetch", "sample").exit_code == 0
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    ends = {1: "finished", 2: "finished", 3: "killed", 4: "killed"}
    processes = {seed: subprocess.Popen([sys.executable, script, str(seed), end]) for seed, end in ends.items()}
    assert {seed: process.wait() == 0 for seed, process in processes.items()} == {1: True, 2: True, 3: False, 4: False}
    subprocess.run([sys.executable, script, "4", "finished"], check=True, timeout=60)  # seed 4 was killed and is run again
    done = cli("plot", "--env", "Hopper", "--algo", "mine", "--algo", "ppo", "--json", "-o", "figure.html")
    assert done.exit_code == 0, done.stderr
    answer = json.loads(done.stdout)
    groups = {group["label"]: group for group in answer["groups"]}
    assert groups.keys() == {"mine", "ppo"}
    assert (groups["mine"]["per_env"][0]["seeds"], groups["ppo"]["per_env"][0]["seeds"]) == ([1, 2, 4], [1, 2, 3, 4, 5])
    assert abs(groups["mine"]["value"] - 100 - 7 / 3) < 1.5
    reasons = sorted(item["reason"] for item in answer["excluded"])
    assert len(reasons) == 2
    assert any("crashed" in reason or "short" in reason for reason in reasons)
    assert any(reason.startswith("duplicate of") for reason in reasons)
    assert "mine" in Path("figure.html").read_text()
