"""What reproduce judges by: rows, fingerprints, groups of scores; and the shell script's quoting."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from openrlb.errors import CannotReproduce
from openrlb.types import Curve, Metric, MetricBatch, Run, RunBatch
from openrlb_runners import checking
from openrlb_runners.comparison import Comparison, rows_of_batch, rows_of_curves
from openrlb_runners.comparison import compare as compare_rows
from openrlb_runners.equivalence import equivalence
from openrlb_runners.script import Material, _written, shell_script

RUN = Run("openrlb", "a" * 16, "openrlb", "ppo", "ppo", "CartPole-v1")


def curve(name: str, steps: list[int], values: list[float], kind: str = "episode") -> Curve:
    return Curve(RUN, Metric(name, kind), np.array(steps), np.array(values, float), np.full(len(steps), -1))  # type: ignore[arg-type]


def compare(stored: list[Curve], now: list[Curve], **words: Any) -> Comparison:
    batch = RunBatch(RUN, tuple(MetricBatch(one.metric, one.steps, one.values) for one in now))
    return compare_rows(rows_of_curves(stored), rows_of_batch(batch), **words)


STORED = [curve("return", [3, 7, 7, 9], [3.0, math.nan, 2.0, 1.0]), curve("length", [3, 7, 7, 9], [3, 4, 4, 2])]


def test_equal_rows_are_equal_and_nan_equals_nan() -> None:
    found = compare(STORED, STORED)
    assert found.first_difference is None
    assert found.rows == {"return": 4, "length": 4}


@pytest.mark.parametrize(
    ("now", "seen"),
    [
        (curve("return", [3, 7, 7, 9], [3.0, math.nan, math.nextafter(2.0, 3), 1.0]), (2, 7, 2.0, math.nextafter(2.0, 3), 7)),
        (curve("return", [3, 7, 8, 9], [3.0, math.nan, 2.0, 1.0]), (2, 7, 2.0, 2.0, 8)),
        (curve("return", [3, 7, 7], [3.0, math.nan, 2.0]), (3, 9, 1.0, None, None)),
        (curve("return", [3, 7, 7, 9, 12], [3.0, math.nan, 2.0, 1.0, 5.0]), (4, 12, None, 5.0, 12)),
        (curve("return", [3, 7, 7, 9], [3.0, math.nan, 2.0, 1.0 + 2**-52]), (3, 9, 1.0, 1.0 + 2**-52, 9)),
    ],
)
def test_the_first_difference_is_named(now: Curve, seen: tuple[object, ...]) -> None:
    first = compare(STORED, [now, STORED[1]]).first_difference
    assert first is not None
    assert (first.row, first.step, first.stored, first.now, first.step_now) == seen
    assert first.metric == "return"


def test_the_earliest_metric_is_named_first() -> None:
    now = [curve("return", [3, 7, 7, 9], [3.0, math.nan, 2.0, 0.0]), curve("length", [3, 7, 7, 9], [3, 5, 4, 2])]
    first = compare(STORED, now).first_difference
    assert first is not None
    assert (first.metric, first.step) == ("length", 7)


def test_a_prefix_and_a_run_ended_from_outside_are_compared_as_far_as_they_go() -> None:
    longer = [
        curve("return", [3, 7, 7, 9, 12], [3.0, math.nan, 2.0, 1.0, 5.0]),
        curve("length", [3, 7, 7, 9, 12], [3, 4, 4, 2, 3]),
    ]
    assert compare(STORED, longer, until=9).first_difference is None
    assert compare(longer, STORED, until=9).first_difference is None
    assert compare(STORED, longer, partial=True).first_difference is None
    assert compare(longer, STORED, partial=True).first_difference is not None


def test_scalars_are_not_judged() -> None:
    assert compare(STORED, [*STORED, curve("train/loss", [1], [0.5], "other")]).first_difference is None


def test_digest_of_the_store_and_of_the_file_are_one(tmp_path: Path) -> None:
    rows = [(3, 3.0, 3), (7, 0.1, 4), (7, math.nan, 4)]
    lines = [{"t": "episode", "step": step, "return": value, "length": length, "time": 0.1} for step, value, length in rows]
    lines += [{"t": "eval", "step": 5, "return": -0.0, "length": 9, "episode": 0}, {"t": "scalar", "step": 1, "k": "x", "v": 1}]
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    episodes, evaluations = checking.read_rows(path)
    assert checking.rows_digest(episodes, evaluations) == checking.rows_digest(rows, [(5, -0.0)])
    assert checking.rows_digest(rows, [(5, 0.0)]) != checking.rows_digest(rows, [(5, -0.0)])


def test_fingerprint_differences_have_names() -> None:
    stored = {
        "python": "3.11.4",
        "cpu": "a",
        "torch": {"version": "2.13.0+cpu", "config": "x"},
        "packages": ["gymnasium==1.0", "b==2"],
    }
    now = {"python": "3.11.9", "cpu": "a", "torch": {"version": "2.13.0+cpu", "config": "y"}, "packages": ["gymnasium==1.1"]}
    assert checking.differences(stored, now) == {
        "python": ("3.11.4", "3.11.9"),
        "torch.config": ("x", "y"),
        "packages.b": ("2", None),
        "packages.gymnasium": ("1.0", "1.1"),
    }
    assert checking.differences(stored, stored) == {}


def test_a_graphics_card_counts_only_where_it_trained() -> None:
    assert checking.differences({"device": "cpu", "gpu": {"name": "a"}}, {"device": "cpu", "gpu": None}) == {}
    assert "gpu.name" in checking.differences({"device": "cuda", "gpu": {"name": "a"}}, {"device": "cpu", "gpu": None})


def test_equivalence_equals_scipys_welch() -> None:
    from scipy.stats import ttest_ind

    a, b = [10.0, 12.0, 9.5, 11.0, 10.4], [10.8, 9.9, 13.0, 10.1, 12.2, 11.7]
    found = equivalence(a, b, 1.0)
    expected = ttest_ind(b, a, equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)


@pytest.mark.parametrize(
    ("now", "margin", "verdict"),
    [
        ([10.0, 10.1, 9.9, 10.0, 10.05], 1.0, "equivalent"),
        ([10.5, 10.6, 10.4, 10.5, 10.55], 1.0, "equivalent"),  # it excludes 0, and all of it lies within the margin
        ([13.0, 13.1, 12.9, 13.0, 13.05], 1.0, "different"),
        ([8.0, 13.0, 9.0, 12.0, 10.0], 1.0, "undecided"),
    ],
)
def test_verdicts(now: list[float], margin: float, verdict: str) -> None:
    assert equivalence([10.0, 10.2, 9.8, 10.1, 9.9], now, margin).verdict == verdict


FINITE = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=8)


@given(FINITE, FINITE, st.floats(1e-3, 1e6))
def test_equivalence_is_symmetric(a: list[float], b: list[float], margin: float) -> None:
    one, two = equivalence(a, b, margin), equivalence(b, a, margin)
    assert one.verdict == two.verdict
    assert one.low == pytest.approx(-two.high)
    assert one.low <= one.difference <= one.high


@settings(max_examples=40)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",))))
@example("")
@example("no line break")
@example("$(touch owned) `touch owned` ' \" \\ \\\n'EOF'\nEOF\n$HOME\r\n")
@example("\n\n\n")
@example("é\u2028\x1b[31m")
def test_the_shell_writes_any_text_exactly(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("shell")
    data = text.encode()
    done = subprocess.run(
        ["/bin/sh", "-eu"], input=_written("a/run.py", data).replace("a/", "").encode(), cwd=folder, check=False
    )
    assert done.returncode == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"run.py": data}


def test_the_heredocs_own_delimiter_inside_the_data_does_not_end_it(tmp_path: Path) -> None:
    data = b"a\n"
    for _ in range(3):  # each round holds the delimiter that the round before would have chosen
        found = re.search(r"<<'(\w+)'", _written("run.py", data))
        assert found
        data += found[1].encode() + b"\ntouch owned\n"
    subprocess.run(["/bin/sh", "-eu"], input=_written("run.py", data).encode(), cwd=tmp_path, check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["run.py"]
    assert (tmp_path / "run.py").read_bytes() == data


def material(**changes: object) -> Material:
    values = {
        "run": "ab" * 8,
        "python": "3.11",
        "entry": "run.py",
        "sources": {"run.py": b"print(1)\n"},
        "locks": {"base.txt": b"a==1\n"},
        "spec": b"{}",
        "env": b"{}",
        "variables": {"OMP_NUM_THREADS": "1"},
        "digest": "0" * 64,
        "episodes": 1,
        "evaluations": 0,
    }
    return Material(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"sources": {"run.py": b"\0"}},
        {"sources": {"run.py": b"\xff"}},
        {"sources": {"../run.py": b""}},
        {"sources": {"$(x).py": b""}},
        {"locks": {"-r.txt": b""}},
        {"python": "3.11; touch owned"},
        {"variables": {"A=1; touch": "1"}},
    ],
)
def test_what_a_script_cannot_carry_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(CannotReproduce):
        shell_script(material(**changes))


def test_the_script_names_no_place_and_parses(tmp_path: Path) -> None:
    text = shell_script(material(run="ab'; touch owned; '"))
    assert "://" not in text
    found = set(re.findall(r"(?<![\w.}])/[a-z]\w*(?:/\w+)*", text.split("environment/bin/python checking")[0]))
    assert {place for place in found if Path(place.strip()).parts[:2] in {("/", "home"), ("/", "root"), ("/", "work")}} == set()
    assert str(Path(sys.prefix)) not in text
    subprocess.run(["/bin/sh", "-n"], input=text.encode(), check=True)
