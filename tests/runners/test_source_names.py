"""Which names a runner's files give a default."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from openrlb_runners.source_names import defaults_in
from openrlb_runners.template import write_runner

WAYS = b"""
import argparse


class Settings:
    rate: float = 0.5
    plain = 3
    late: list = field(default_factory=list)
    none: int


def train(task, steps, noise=-0.25, *, layers=(64, 64), seed):
    momentum = task.given.pop("momentum", 0.9)
    return task.given.get("unknown"), {"decay": 1e-3, "far": far, 5: 6, **task.given}


parser = argparse.ArgumentParser()
parser.add_argument("--batch-size", type=int, default=32)
parser.add_argument("--flag", action="store_true")
limit = 7
"""


def test_every_way_to_write_a_default_is_seen_and_nothing_is_run() -> None:
    found = defaults_in(
        {"run.py": WAYS, "broken.py": b"def (", "data.txt": b"{'no': 1}", "set.py": b"{'no': {1, 2}, 'nor': 1e999}"}
    )
    wanted = {"rate": 0.5, "plain": 3, "noise": -0.25, "layers": (64, 64), "momentum": 0.9, "decay": 1e-3, "batch_size": 32}
    assert dict(found) == wanted and len(found) == len(wanted)


def test_a_name_with_defaults_of_several_kinds_is_told_with_each() -> None:
    files = {"a.py": b"{'rate': 'fast', 'size': 1}", "b.py": b"class H:\n    rate = 0.5\n    size = 2"}
    assert sorted(defaults_in(files), key=str) == [("rate", "fast"), ("rate", 0.5), ("size", 1)]


def test_the_template_s_hyperparameters_are_among_them(tmp_path: Path) -> None:
    write_runner("mine", tmp_path / "mine")
    found = defaults_in({path.name: path.read_bytes() for path in (tmp_path / "mine").glob("*.py")})
    assert ("noise", 0.5) in found and "episodes" in dict(found)


@given(st.one_of(st.binary(max_size=200), st.text(alphabet="f(x=1){}[]:'\"\n .,*-", max_size=200).map(str.encode)))
def test_anything_can_be_read(data: bytes) -> None:
    json.dumps(defaults_in({"run.py": data}))
