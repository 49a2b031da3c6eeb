"""A TensorBoard tree beside a fetched baseline in one figure, with one ``fetch`` and one ``plot``."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

from builders import batch
from typer.testing import Result

from openrlb.sources.tensorboard_events import record
from openrlb.store import Store

Cli = Callable[..., Result]
ENVIRONMENTS = ("Hopper-v4", "Walker2d-v4")


def baseline() -> None:
    """A fetched baseline: five seeds of PPO in each environment, evaluations up to 50,000 agent steps."""
    store = Store()
    store.write([batch(f"{env}{seed}", env=env, seed=seed, offset=seed) for env in ENVIRONMENTS for seed in range(5)])
    store.fold()


def tree(root: Path, tag: str) -> Path:
    """``runs/{env}__{algo}__{seed}__{time}``, as CleanRL names them: a point each 1,000 steps."""
    for env in ENVIRONMENTS:
        for seed in (1, 2, 3):
            folder = root / "runs" / f"{env}__mine__{seed}__170000000{seed}"
            folder.mkdir(parents=True)
            events = [b"\x09" + struct.pack("<d", 1.7e9) + b"\x1a\x0dbrain.Event:2"]
            for number in range(1, 51):
                value = b"\x0a" + bytes([len(tag)]) + tag.encode() + b"\x15" + struct.pack("<f", number + seed)
                summary = b"\x0a" + bytes([len(value)]) + value
                step = number * 1000
                varint = bytes([step & 127 | 128, step >> 7 & 127 | 128, step >> 14])
                time = struct.pack("<d", 1.7e9 + number)
                events.append(b"\x09" + time + b"\x10" + varint + b"\x2a" + bytes([len(summary)]) + summary)
            (folder / "events.out.tfevents.1700000000.machine.1.0").write_bytes(b"".join(map(record, events)))
    return root / "runs"


def assert_one_figure(plotted: Result, output: Path) -> None:
    assert plotted.exit_code == 0, plotted.stderr
    answer = json.loads(plotted.stdout)
    groups = {group["algo"]: group for group in answer["groups"]}
    assert set(groups) == {"mine", "ppo"} and answer["step_unit"] == "agent_step" and answer["excluded"] == []
    assert (groups["mine"]["runs"], groups["ppo"]["runs"]) == (6, 10)
    assert answer["step"] == dict.fromkeys(ENVIRONMENTS, 50_000)
    mine = {env["env"]: env["value"] for env in groups["mine"]["per_env"]}
    assert mine == dict.fromkeys(ENVIRONMENTS, 48 + 2.0)  # values 46 ... 50 of the last tenth, and the middle seed
    assert "mine" in output.read_text(encoding="utf-8")


def test_usual_names_need_no_map(cli: Cli, tmp_path: Path) -> None:
    baseline()
    fetched = cli("fetch", tree(tmp_path, "eval/return"))
    assert fetched.exit_code == 0, fetched.stderr
    assert 'read with --map "path:{env}__{algo}__{seed}__{_}"' in fetched.stderr
    assert "6 runs found in 2 environments: 6 new" in fetched.stderr
    assert_one_figure(cli("plot", "--metric", "iqm", "--json", "-o", "one.html"), Path("one.html"))
    assert "steps are taken as agent steps" in fetched.stderr
    again = cli("fetch", tmp_path / "runs")
    assert "0 new, 0 changed, 6 unchanged" in again.stderr


def test_unknown_names_need_one_map(cli: Cli, tmp_path: Path) -> None:
    baseline()
    words = "path:{env}__{algo}__{seed}__{_},value=test/my_score,kind=eval"
    fetched = cli("fetch", tree(tmp_path, "test/my_score"), "--map", words)
    assert fetched.exit_code == 0, fetched.stderr
    assert_one_figure(cli("plot", "--metric", "iqm", "--json", "-o", "one.html"), Path("one.html"))
