"""A real training, reproduced in its rebuilt environment, and by the script that needs no openrlb."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from typer.testing import Result

from openrlb.store import Store
from openrlb_runners.environment import Environment
from openrlb_runners.launchers.local import LocalLauncher
from openrlb_runners.request import Outcome, TrainingRequest, WorkItem, pin
from openrlb_runners.resolve import resolve
from openrlb_runners.spec import find_runner
from openrlb_runners.worker import work


class One:
    """A work source of one item."""

    def __init__(self, item: WorkItem) -> None:
        self.items, self.outcomes = [item], list[Outcome]()

    def take(self) -> WorkItem | None:
        return self.items.pop() if self.items else None

    def finished(self, item: WorkItem, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


def test_ppo_on_cartpole_is_bit_exact_here_and_by_the_script(
    sb3_environment: Environment, store: Store, cli: Callable[..., Result], tmp_path: Path
) -> None:
    from uv import find_uv_bin

    runner = pin(find_runner("sb3"), sb3_environment)
    evaluation = {"every": 512, "episodes": 1, "deterministic": True}
    asked = TrainingRequest("ppo", "CartPole-v1", 1, 1024, {"n_steps": 256, "n_epochs": 2}, evaluation=evaluation)
    with LocalLauncher() as launcher:
        (effective,) = resolve(runner, [asked], launcher)
        queue = One(WorkItem(runner, asked, effective))
        work(queue, workers=1, store=store, launcher=launcher)
    run = queue.outcomes[0].run
    assert run.state == "finished", run.notes
    result = cli("reproduce", run.run, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["verdict"] == "bit-exact"
    assert found["environment"] == {"matches": True, "differences": {}}
    assert found["rows"]["episodic_return"] > 20
    assert found["rows"]["eval/episodic_return"] == 2

    result = cli("reproduce", run.run, "--script", "-o", tmp_path / "again.sh")
    assert result.exit_code == 0, result.output
    script = (tmp_path / "again.sh").read_text(encoding="utf-8")
    assert "://" not in script
    for place in (Path.home(), tmp_path, sb3_environment.folder, Path(__file__).parents[3]):
        assert str(place) not in script
    needed = ("SSL_CERT_FILE", "PIP_CERT", "PIP_FIND_LINKS", "UV_FIND_LINKS", "UV_CACHE_DIR", "UV_DEFAULT_INDEX", "PIP_INDEX_URL")
    kept = {name: os.environ[name] for name in needed if name in os.environ}
    empty = tmp_path / "empty"
    empty.mkdir()
    variables = {**kept, "PATH": f"{Path(find_uv_bin()).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["/bin/sh", "../again.sh"], cwd=empty, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"bit-exact: {found['rows']['episodic_return']} episodes and 2 evaluation episodes" in done.stdout
    assert "differs" not in done.stdout
    again = subprocess.run(["/bin/sh", "../again.sh"], cwd=empty, env=variables, capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert "already here" in again.stderr

    folder = empty / f"reproduce-{run.run}"
    rows = (folder / "out" / "metrics.jsonl").read_text(encoding="utf-8")
    (folder / "out" / "metrics.jsonl").write_text(re.sub(r'"length": (\d+)', r'"length": 1\1', rows, count=1), encoding="utf-8")
    last = script.rstrip().splitlines()[-1].removeprefix("exec ")
    judged = subprocess.run(["/bin/sh", "-c", last], cwd=folder, capture_output=True, text=True, check=False)
    assert judged.returncode == 1
    assert "not bit-exact" in judged.stdout
