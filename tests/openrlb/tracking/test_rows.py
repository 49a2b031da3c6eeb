"""The row file: what was written comes back, whatever is cut off its end."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrlb.tracking import rows
from openrlb.tracking.rows import RowWriter, read_rows
from openrlb.types import Metric

names = st.sampled_from(["loss", "eval/mean_reward", "größe", "a" * 200])
logged = st.lists(
    st.tuples(
        st.integers(0, 2**63 - 1),
        st.integers(0, 2**40),
        st.dictionaries(names, st.floats(allow_nan=True, allow_infinity=True), min_size=1),
    ),
    max_size=30,
)


def write(path: Path, content: list[tuple[int, int, dict[str, float]]], ends: list[int] | None = None) -> bytes:
    path.unlink(missing_ok=True)
    writer = RowWriter(path)
    for step, time_ms, values in content:
        writer.append(step, time_ms, tuple(values), list(values.values()))
        if ends is not None:
            ends.append(path.stat().st_size)
    writer.close()
    return path.read_bytes()


def series(content: list[tuple[int, int, dict[str, float]]]) -> dict[str, list[tuple[int, int, str]]]:
    found: dict[str, list[tuple[int, int, str]]] = {}
    for step, time_ms, values in content:
        for name, value in values.items():
            found.setdefault(name, []).append((step, time_ms, value.hex()))
    return found


def read_series(data: bytes) -> dict[str, list[tuple[int, int, str]]]:
    found = {}
    for batch in read_rows(data).metrics:
        assert batch.times_ms is not None
        columns = zip(
            batch.steps.tolist(), batch.times_ms.tolist(), [value.hex() for value in batch.values.tolist()], strict=True
        )
        found[batch.metric.name] = list(columns)
    return found


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rows") / "rows.bin"


@given(logged)
def test_rows_come_back_in_logged_order_whatever_they_were_logged_with(path: Path, content: list) -> None:
    data = write(path, content)
    assert read_series(data) == series(content)
    read = read_rows(data)
    assert (read.count, read.torn) == (len(content), 0)
    assert read.backward == sum(a[0] > b[0] for a, b in pairwise(content))


@given(logged, st.data())
def test_a_file_cut_anywhere_gives_all_rows_before_the_cut(path: Path, content: list, data: st.DataObject) -> None:
    ends = [0]
    whole = write(path, content, ends)
    cut = data.draw(st.integers(0, len(whole)))
    expected = max(count for count, end in enumerate(ends) if end <= cut)
    read = read_rows(whole[:cut])
    assert read.count == expected
    assert read_series(whole[:cut]) == series(content[:expected])
    assert (read.torn > 0) <= (cut not in ends)


@given(logged.filter(bool), st.data())
def test_a_damaged_byte_ends_the_reading_and_invents_nothing(path: Path, content: list, data: st.DataObject) -> None:
    whole = bytearray(write(path, content))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    read = read_rows(bytes(whole))
    assert read.torn > 0
    assert read_series(bytes(whole)) == series(content[: read.count])


def test_more_sets_of_names_than_the_limit_are_written_value_by_value(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MAX_SHAPES", 2)
    content = [(step, step, {f"m{step % 4}": 1.0, f"m{(step + 1) % 4}": 2.0}) for step in range(20)]
    assert read_series(write(path, content)) == series(content)


def test_a_declared_metric_keeps_its_kind_and_an_unknown_one_is_other(path: Path) -> None:
    path.unlink(missing_ok=True)
    writer = RowWriter(path)
    writer.append(1, 1, ("mine", "eval/mean_reward", "loss"), (1.0, 2.0, math.nan))
    writer.define(Metric("mine", "eval", "episodic_return"))
    writer.close()
    assert [batch.metric for batch in read_rows(path.read_bytes()).metrics] == [
        Metric("mine", "eval", "episodic_return"),
        Metric("eval/mean_reward", "eval", "episodic_return"),
        Metric("loss"),
    ]
