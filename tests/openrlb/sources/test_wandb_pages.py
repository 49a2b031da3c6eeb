"""Live rows read by Arrow are the rows that json gives, value for value."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from openrlb.sources.wandb import pages
from openrlb.sources.wandb.pages import Wanted, read_rows
from openrlb.sources.wandb.rows import INTERNAL, Part, collect

KEYS = st.sampled_from(["r", "loss", "_runtime", "x.y", "[", "a{"])
NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
NESTED = st.dictionaries(st.text(max_size=2), st.integers(), max_size=2) | st.lists(st.integers(), max_size=2)
ANYTHING = NUMBERS | st.floats() | st.booleans() | st.none() | st.text(max_size=4) | st.sampled_from(["NaN", "Infinity"]) | NESTED
STEPS = st.integers(-3, 2**63) | st.floats(0, 10) | st.none()


def rows_of(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
    rows = st.builds(lambda step, row: {"_step": step, **row}, STEPS, st.dictionaries(KEYS, values, max_size=4))
    return st.lists(rows, max_size=5)


def plain(part: Part) -> tuple[Any, ...]:
    columns = {key: (rows.tolist(), np.array(values).tobytes()) for key, (rows, values) in part.columns.items()}
    return part.steps.tolist(), columns, part.unplaced, {key: n for key, n in part.texts.items() if key not in INTERNAL}


@settings(max_examples=300, deadline=None)
@given(
    rows_of(NUMBERS) | rows_of(ANYTHING), st.sampled_from([None, frozenset[str](), frozenset({"r", "loss"}), frozenset({"x.y"})])
)
@example([{"_step": 2**53 + 1}], None)
@example([{"_step": 2**53 + 1}, {"_step": 0.5}, {"_step": 2**62}], None)
def test_both_readers_give_the_same(rows: list[dict[str, Any]], names: frozenset[str] | None) -> None:
    texts = [json.dumps(row) for row in rows]
    event("by json" if pages._plain(texts, Wanted(names)) is None else "by Arrow")
    assert plain(read_rows(texts, Wanted(names))) == plain(collect(json.loads(json.dumps(rows)), Wanted(names)))


def test_plain_rows_are_read_without_python_objects() -> None:
    texts = [json.dumps({"_step": step, "r": step / 3, "note": "x"}) for step in range(10)]
    assert pages._plain(texts, Wanted(frozenset({"r"}))) is not None
    assert pages._plain([*texts, '{"_step": 10, "r": "NaN"}'], Wanted(frozenset({"r"}))) is None


def test_rows_that_would_end_arrows_reader_do_not_reach_it() -> None:
    deep = '{"_step": 0, "x": ' + "[" * 500_000 + "]" * 500_000 + "}"
    assert pages._plain([deep], Wanted(frozenset({"r"}))) is None
    assert pages._plain(['{"_step": 0, "x": ' + '{"x": ' * 500_000 + "1" + "}" * 500_001], Wanted()) is None


def test_rows_hidden_in_one_text_are_not_taken_for_two() -> None:
    assert pages._plain(['{"_step": 0}{"_step": 1}'], Wanted()) is None
    assert pages._plain(['{"_step": 0,', '"r": 1}'], Wanted()) is None
